"""INT8: whole numbers that stand for real ones through a scale and a zero point.

    x is about scale * (q - zero_point),  q in -128 .. 127

The marks of this ruler are evenly spaced over its whole length, those of a floating-point format
are not: the absolute error is bounded, the relative error of small numbers is not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import _where, array, integer, one_of, real

__all__ = ["Int8Code", "from_int8", "int8_code", "to_int8"]


class Int8Code(NamedTuple):
    """How real numbers are written as 8-bit integers.

    Attributes
    ----------
    scale : float
        Distance between neighboring representable numbers.
    zero_point : int in [-128, 127]
        The integer that stands for 0.
    lowest : int
        The smallest integer in use: -128, or -127 where the code is symmetric.
    """

    scale: float
    zero_point: int
    lowest: int


def int8_code(low: float, high: float, *, symmetric: bool = True) -> Int8Code:
    """Choose scale and zero point so that a range of real numbers is covered.

    Parameters
    ----------
    low, high : float, low <= 0 <= high, low < high
        The range. Zero lies in it, because padding and ReLU need it without an error.
    symmetric : bool
        True: zero is 0 and the integers are -127 ... 127, usual for weights. False (affine):
        all of -128 ... 127 is spread over the range, usual for activations.

    Returns
    -------
    Int8Code
        The code.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    ::

        symmetric:  scale = max(-low, high) / 127,   zero_point = 0
        affine:     scale = (high - low) / 255,      zero_point = -128 - round(low / scale)

    References
    ----------
    Jacob et al. (2018), for scale and zero point.

    Examples
    --------
    >>> int8_code(-1.0, 0.5)
    Int8Code(scale=0.007874015748031496, zero_point=0, lowest=-127)
    >>> int8_code(0.0, 25.5, symmetric=False)
    Int8Code(scale=0.1, zero_point=-128, lowest=-128)
    """
    low, high = real(low, "low", high=0.0), real(high, "high", low=0.0)
    if low == high:
        raise ValueError(f"int8_code: high must be > low; got {high} and {low}")
    one_of(symmetric, "symmetric", (False, True))
    if symmetric:
        return Int8Code(max(-low, high) / 127, 0, -127)
    scale = (high - low) / 255
    return Int8Code(scale, -128 - round(low / scale), -128)


def _is_code(value: Any) -> Int8Code:
    if not isinstance(value, Int8Code):
        raise TypeError(f"{_where()}: code must be an Int8Code; got {value!r}")
    scale = real(value.scale, "code.scale", low=0.0, closed="right")
    zero_point = integer(value.zero_point, "code.zero_point", low=-128, high=127)
    return Int8Code(scale, zero_point, integer(value.lowest, "code.lowest", low=-128, high=-127))


def to_int8(x: ArrayLike, code: Int8Code) -> NDArray[np.int8]:
    """Quantize: the nearest integer of the code, the last one for what lies outside.

    Parameters
    ----------
    x : array_like of float, any shape
        Finite numbers.
    code : Int8Code
        Scale and zero point.

    Returns
    -------
    ndarray of int8, of x's shape
        ``clip(rint(x / scale) + zero_point, lowest, 127)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    References
    ----------
    Jacob et al. (2018).

    Examples
    --------
    >>> to_int8([-2.0, 0.0, 0.013, 0.5], int8_code(-1.0, 1.0))
    array([-127,    0,    2,   64], dtype=int8)
    """
    x, code = array(x, "x", nonempty=False), _is_code(code)
    q = np.rint(x / code.scale) + code.zero_point
    clipped: NDArray[np.int8] = np.clip(q, code.lowest, 127).astype(np.int8)
    return clipped


def from_int8(q: ArrayLike, code: Int8Code) -> NDArray[np.float64]:
    """Dequantize: the real numbers that the integers of a code stand for.

    Parameters
    ----------
    q : array_like of int in [-128, 127], any shape
        Integers.
    code : Int8Code
        Scale and zero point.

    Returns
    -------
    ndarray of float64, of q's shape
        ``scale * (q - zero_point)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    References
    ----------
    Jacob et al. (2018).

    Examples
    --------
    >>> from_int8([-127, 0, 64], int8_code(-1.0, 1.0))
    array([-1.        ,  0.        ,  0.50393701])
    """
    code = _is_code(code)
    integers = np.asarray(q)
    if integers.dtype.kind not in "iu":
        raise TypeError(f"from_int8: q must be whole numbers; got dtype {integers.dtype}")
    if integers.size and (integers.min() < -128 or integers.max() > 127):
        raise ValueError(
            f"from_int8: q must be in [-128, 127]; got {integers.min()} to {integers.max()}"
        )
    return code.scale * (integers.astype(np.float64) - code.zero_point)
