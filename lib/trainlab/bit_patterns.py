"""Bit patterns: sign, exponent field and mantissa field of a number in a format.

The patterns of the numbers from zero upwards are 0, 1, 2, ...: the mantissa is counted through,
and its carry moves the exponent field on by one. So a pattern is a place on the number line, a
neighbor is the pattern plus or minus 1, and nothing needs a case for subnormal numbers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import integer, one_of
from .formats import FloatArray, Format, _floats, _is_format, _quantum, round_to

__all__ = ["bit_string", "decode", "encode", "neighbors"]

IntArray = NDArray[np.int64]


def _last(fmt: Format) -> int:
    """Pattern of the largest finite number; the next one is infinity, NaN in "fn", or none."""
    above = fmt.exponent_bits + fmt.mantissa_bits  # the sign bit's place
    beyond = {"ieee": 1 << fmt.mantissa_bits, "fn": 1, "finite": 0}
    return (1 << above) - 1 - beyond[fmt.flavor]


def decode(pattern: ArrayLike, fmt: Format) -> FloatArray:
    """Return the numbers that bit patterns stand for.

    Parameters
    ----------
    pattern : array_like of int in [0, 2^fmt.bits), any shape
        Sign, exponent and mantissa from the most significant bit down. TF32 has 19 bits here.
    fmt : Format
        The format.

    Returns
    -------
    ndarray of float64, of pattern's shape
        The numbers; infinities and NaN where the pattern says so.

    Raises
    ------
    TypeError, ValueError
        If pattern is no integer or has too many bits, or fmt is no Format.

    Notes
    -----
    The formula is that of `Format`. An exponent field of 0 has no implicit 1 and the exponent
    of field 1: that is all there is to a subnormal number.

    Examples
    --------
    >>> from trainlab.formats import FP16
    >>> decode([0x4100, 0x0001, 0x7C00], FP16)
    array([2.50000000e+00, 5.96046448e-08,            inf])
    """
    fmt = _is_format(fmt)
    bits = np.asarray(pattern)
    if bits.dtype.kind not in "iu":
        raise TypeError(f"decode: pattern must be whole numbers; got dtype {bits.dtype}")
    if bits.size and (bits.min() < 0 or bits.max() >= 2**fmt.bits):
        raise ValueError(
            f"decode: pattern must be in [0, 2^{fmt.bits}) for {fmt.name}; "
            f"got {bits.min()} to {bits.max()}"
        )
    bits = bits.astype(np.int64)
    m = fmt.mantissa_bits
    sign, size = np.where(bits >> (fmt.bits - 1), -1.0, 1.0), bits & (2 ** (fmt.bits - 1) - 1)
    exponent, mantissa = size >> m, size & (2**m - 1)
    significand = np.where(exponent > 0, 2**m + mantissa, mantissa)
    value = sign * np.ldexp(significand.astype(np.float64), np.maximum(exponent, 1) - fmt.bias - m)
    value = np.where(size > _last(fmt), math.nan, value)
    if fmt.flavor == "ieee":
        value = np.where(size == _last(fmt) + 1, sign * math.inf, value)
    return value[()]


def encode(x: ArrayLike, fmt: Format, *, saturate: bool = False) -> IntArray:
    """Round to the nearest number of a format and return the bit patterns.

    Parameters
    ----------
    x : array_like of float32 or float64, any shape
        May hold infinities and NaN.
    fmt : Format
        The format.
    saturate : bool
        As in `round_to`.

    Returns
    -------
    ndarray of int64, of x's shape
        Patterns of `Format.bits` bits. NaN gets one pattern, the quiet one.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds, or x holds NaN and the format, being ``finite``, has
        no pattern for it.

    Notes
    -----
    A pattern is the number's count of quanta, plus 2^mantissa_bits for each binade below.

    Examples
    --------
    >>> from trainlab.formats import FP16
    >>> hex(encode(2.5, FP16)), bit_string(encode(2.5, FP16), FP16)
    ('0x4100', '0 10000 0100000000')
    """
    fmt = _is_format(fmt)
    one_of(saturate, "saturate", (False, True))
    y = np.asarray(round_to(_floats(x).astype(np.float64), fmt, saturate=saturate))
    if fmt.flavor == "finite" and np.isnan(y).any():
        raise ValueError(f"encode: x must hold no NaN, which {fmt.name} cannot say; got NaN in it")
    size = np.where(np.isfinite(y), np.abs(y), 0.0)
    quantum = _quantum(size, fmt)
    binades = np.frexp(quantum / fmt.min_subnormal)[1].astype(np.int64) - 1
    pattern = (binades << fmt.mantissa_bits) + (size / quantum).astype(np.int64)
    pattern = np.where(np.isinf(y), _last(fmt) + 1, pattern)
    quiet = 2 ** (fmt.mantissa_bits - 1) if fmt.flavor == "ieee" else 0
    pattern = np.where(np.isnan(y), _last(fmt) + 1 + quiet, pattern)
    pattern |= np.signbit(y).astype(np.int64) << (fmt.bits - 1)
    return pattern[()]


def bit_string(pattern: int, fmt: Format) -> str:
    """Write a bit pattern as sign, exponent and mantissa with blanks between.

    Parameters
    ----------
    pattern : int in [0, 2^fmt.bits)
        The pattern.
    fmt : Format
        The format.

    Returns
    -------
    str
        Such as ``0 10000 0100000000``.

    Raises
    ------
    TypeError, ValueError
        If pattern is no integer or has too many bits, or fmt is no Format.

    Examples
    --------
    >>> from trainlab.formats import E4M3
    >>> bit_string(0b0_1111_110, E4M3)
    '0 1111 110'
    """
    fmt = _is_format(fmt)
    digits = f"{integer(pattern, 'pattern', low=0, high=2**fmt.bits - 1):0{fmt.bits}b}"
    return f"{digits[0]} {digits[1 : -fmt.mantissa_bits]} {digits[-fmt.mantissa_bits :]}"


def neighbors(x: ArrayLike, fmt: Format) -> tuple[FloatArray, FloatArray]:
    """Return the numbers of a format just below and just above x.

    Parameters
    ----------
    x : array_like of float32 or float64, any shape
        Any numbers, in the format or not.
    fmt : Format
        The format.

    Returns
    -------
    below, above : ndarray of x's shape and dtype
        The largest number < x and the smallest > x. Beyond the largest number stands infinity,
        or NaN in a format without one.

    Raises
    ------
    TypeError
        If an argument is not of these kinds.

    Notes
    -----
    Patterns are in the order of the numbers, so a neighbor is the pattern plus or minus 1.

    Examples
    --------
    >>> from trainlab.formats import FP16
    >>> neighbors(2049.0, FP16)
    (np.float64(2048.0), np.float64(2050.0))
    """
    x, fmt = _floats(x), _is_format(fmt)
    y = round_to(x, fmt, saturate=True)
    pattern = encode(np.where(np.isnan(y), 0, y), fmt)
    size = pattern & (2 ** (fmt.bits - 1) - 1)
    place = np.where(size < pattern, -size, size)  # position on the number line, zero at 0

    def at(where: IntArray) -> FloatArray:
        size, beyond = np.abs(where), _last(fmt) + (fmt.flavor != "finite")
        negative = (where < 0).astype(np.int64) << (fmt.bits - 1)
        value = np.asarray(decode(np.minimum(size, beyond) | negative, fmt)).astype(x.dtype)
        return np.where(np.isnan(y) | (size > beyond), x.dtype.type(math.nan), value)[()]

    return at(place - (y >= x)), at(place + (y <= x))
