"""Running sums in a number format: why they stall, and three ways to keep them going.

A term smaller than half the spacing of the numbers around the sum is rounded away, all of it,
every time: the sum stalls although terms keep coming (swamping). Kahan's method carries the lost
part along, pairwise summation adds only numbers of like size, and stochastic rounding loses a
term or counts it in full, right on average.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ._checks import array, generator, one_of
from .formats import FloatArray, Format, _is_format, round_to

__all__ = ["running_sum"]

METHODS = ("naive", "kahan", "pairwise", "stochastic")


def running_sum(
    terms: ArrayLike,
    fmt: Format,
    *,
    method: str = "naive",
    rng: np.random.Generator | None = None,
    saturate: bool = False,
) -> FloatArray:
    """Partial sums where every number that is stored, and every operation, is in one format.

    Parameters
    ----------
    terms : array_like of float, shape (n,)
        What is added up; each term is rounded to the format first.
    fmt : Format
        The format.
    method : {"naive", "kahan", "pairwise", "stochastic"}
        ``naive`` adds in order, ``kahan`` compensates, ``pairwise`` adds blocks of 1, 2, 4, ...
        terms, ``stochastic`` adds in order and rounds each sum at random.
    rng : numpy.random.Generator
        Needed by ``stochastic`` only.
    saturate : bool
        As in `round_to`.

    Returns
    -------
    ndarray of float, shape (n,)
        The sum of the first 1, 2, ..., n terms.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    With fl(.) for rounding, Kahan's step for a term t, the sum s and its compensation c is::

        y = fl(t - c);  s' = fl(s + y);  c = fl(fl(s' - s) - y);  s = s'

    Sums are formed in float64 and then rounded; with at most 24 significant bits that gives the
    correctly rounded sum.

    ``np.sum`` of a float16 array does not show the stall, because it does not add one after the
    other; ``np.cumsum`` does.

    References
    ----------
    Kahan (1965); Higham (1993), for pairwise summation and the comparison.

    Examples
    --------
    >>> from trainlab.formats import BF16
    >>> ones = np.ones(1000)
    >>> running_sum(ones, BF16)[-1], running_sum(ones, BF16, method="kahan")[-1]
    (np.float64(256.0), np.float64(1000.0))
    """
    terms, fmt = array(terms, "terms", ndim=1), _is_format(fmt)
    one_of(method, "method", METHODS)
    one_of(saturate, "saturate", (False, True))
    rounded = round_to(terms.astype(np.float64), fmt, saturate=saturate)
    if method == "pairwise":
        sums = _pairwise(rounded, fmt, saturate)
    elif method == "kahan":
        sums = _kahan(rounded, _rounding(fmt, saturate))
    else:
        draw = None
        if method == "stochastic":
            draw = iter(generator(rng).random(terms.size).tolist()).__next__
        sums = _in_order(rounded, _rounding(fmt, saturate, draw))
    return sums.astype(terms.dtype)


def _rounding(
    fmt: Format, saturate: bool, draw: Callable[[], float] | None = None
) -> Callable[[float], float]:
    """Return `round_to` (or, with `draw`, `stochastic_round`) for one Python float: 20x faster."""
    m, emin, largest = fmt.mantissa_bits, fmt.emin, fmt.max
    beyond = largest if saturate else math.inf if fmt.flavor == "ieee" else math.nan

    def rounded(x: float) -> float:
        if not math.isfinite(x):
            return x if math.isnan(x) else math.copysign(beyond, x)
        quantum = math.ldexp(1.0, max(math.frexp(x)[1] - 1, emin) - m)
        steps = x / quantum
        y = (round(steps) if draw is None else math.floor(steps + draw())) * quantum
        return y if abs(y) <= largest else math.copysign(beyond, y)

    return rounded


def _in_order(terms: FloatArray, rounded: Callable[[float], float]) -> FloatArray:
    total, sums = 0.0, []
    for term in terms.tolist():
        total = rounded(total + term)
        sums.append(total)
    return np.array(sums)


def _kahan(terms: FloatArray, rounded: Callable[[float], float]) -> FloatArray:
    total, lost, sums = 0.0, 0.0, []
    for term in terms.tolist():
        wanted = rounded(term - lost)
        new = rounded(total + wanted)
        lost = rounded(rounded(new - total) - wanted)  # what was added, minus what should be
        total = new
        sums.append(total)
    return np.array(sums)


def _pairwise(terms: FloatArray, fmt: Format, saturate: bool) -> FloatArray:
    """Sum blocks of 1, 2, 4, ... terms; n terms are the blocks of n's binary digits."""
    count = np.arange(1, terms.size + 1)
    sums = np.zeros(terms.size)
    blocks, size = terms, 1
    while size <= terms.size:
        used = (count & size) > 0  # for these counts a block of this size ends the larger ones
        sums[used] = round_to(blocks[count[used] // size - 1] + sums[used], fmt, saturate=saturate)
        whole = blocks[: blocks.size // 2 * 2]
        blocks = round_to(whole[::2] + whole[1::2], fmt, saturate=saturate)
        size *= 2
    return sums
