"""Dot products in number formats: what the factors lose, and what the accumulator loses.

A matrix unit takes its factors in a narrow format and adds their products up in a wider one, the
accumulator. Rounding the factors costs at most the same relative error at any length, and less the
longer the sum, as far as the errors average out. What the accumulator loses may grow with the
length n: in the worst case with n, for independent errors and terms of one sign with the root of
n; and a sum that stalls loses everything that is still to come.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ._checks import array, generator, integer, one_of, same_shape
from .formats import FP32, FloatArray, Format, _is_format, round_to
from .summation import METHODS, running_sum

__all__ = ["dot_error_bound", "running_dot"]


def _is_accumulator(value: object) -> Format:
    if not isinstance(value, Format):
        raise TypeError(f"running_dot: accumulator must be a Format, such as FP32; got {value!r}")
    return value


def running_dot(
    x: ArrayLike,
    y: ArrayLike,
    fmt: Format,
    *,
    accumulator: Format = FP32,
    method: str = "naive",
    rng: np.random.Generator | None = None,
    saturate: bool = False,
) -> FloatArray:
    """Partial dot products of numbers in one format, added up in another.

    Parameters
    ----------
    x, y : array_like of float, shape (n,)
        The factors; each is rounded to the format first.
    fmt : Format
        Format of the factors.
    accumulator : Format
        Format of the products and of the sum.
    method : {"naive", "kahan", "pairwise", "stochastic"}
        How the products are added up, as in `running_sum`.
    rng : numpy.random.Generator
        Needed by ``stochastic`` only.
    saturate : bool
        As in `round_to`.

    Returns
    -------
    ndarray of float, shape (n,)
        The dot product of the first 1, 2, ..., n numbers.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    With fl(.) for rounding to the accumulator, ``s' = fl(s + fl(x * y))``. Products of two numbers
    in FP8 or FP16 have at most 22 significant bits: FP32 holds them exactly (but for its range),
    and the step is that of a fused multiply-add. Matrix units sum several products at a time and
    do not say in which order.

    References
    ----------
    Higham (2002), Accuracy and Stability of Numerical Algorithms.

    Examples
    --------
    >>> from trainlab.formats import BF16
    >>> ones = np.ones(1000)
    >>> running_dot(ones, ones, BF16)[-1], running_dot(ones, ones, BF16, accumulator=BF16)[-1]
    (np.float64(1000.0), np.float64(256.0))
    """
    x, y = array(x, "x", ndim=1), array(y, "y", ndim=1)
    same_shape(x, y, ("x", "y"))
    fmt, accumulator = _is_format(fmt), _is_accumulator(accumulator)
    one_of(saturate, "saturate", (False, True))
    one_of(method, "method", METHODS)
    if method == "stochastic":
        rng = generator(rng)
    a, b = (round_to(v.astype(np.float64), fmt, saturate=saturate) for v in (x, y))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(
            f"running_dot: x and y must fit {fmt.name}, at most {fmt.max:g}; got larger numbers"
        )
    # Two significands of at most 24 bits: the product is exact in float64.
    sums = running_sum(a * b, accumulator, method=method, rng=rng, saturate=saturate)
    return sums.astype(np.result_type(x, y))


def dot_error_bound(n: int, accumulator: Format) -> float:
    """Bound the error that an accumulator adds to a dot product of n terms, in any order.

    Parameters
    ----------
    n : int >= 1
        Number of terms.
    accumulator : Format
        Format of the products and of the sum.

    Returns
    -------
    float
        Higham's constant gamma_n; infinite where the bound says nothing, ``n * u >= 1``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    With the unit roundoff u = eps / 2, computed sum s', exact sum s, and no under- or overflow::

        |s' - s| <= gamma_n * sum(|x_i * y_i|),   gamma_n = n u / (1 - n u)

    It is the worst case: every rounding error of full size and of one sign.

    References
    ----------
    Higham (2002), Accuracy and Stability of Numerical Algorithms.

    Examples
    --------
    >>> from trainlab.formats import FP16
    >>> dot_error_bound(1024, FP16), dot_error_bound(2048, FP16)
    (1.0, inf)
    """
    integer(n, "n", low=1)
    if not isinstance(accumulator, Format):
        raise TypeError(
            f"dot_error_bound: accumulator must be a Format, such as FP32; got {accumulator!r}"
        )
    roundings = n * accumulator.eps / 2
    return roundings / (1 - roundings) if roundings < 1 else math.inf
