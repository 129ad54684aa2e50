"""Number formats: what numbers a format has, and to which of them a real number is rounded.

A floating-point format is a ruler. Between two powers of two (a binade) its marks are evenly
spaced, in the next binade they are twice as far apart, and below the smallest normal number the
spacing stays what it is, down to zero. Everything here follows from that one spacing, the quantum

    quantum(x) = 2^(max(floor(log2 |x|), emin) - mantissa_bits).

To round is to count in quanta. What the bits mean is told in `trainlab.bit_patterns`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import _where, array, generator, one_of

__all__ = [
    "BF16", "E2M1", "E2M3", "E3M2", "E4M3", "E5M2", "FORMATS", "FP16", "FP32", "MODES", "TF32",
    "Format", "round_to", "spacing", "stochastic_round",
]  # fmt: skip

FloatArray = NDArray[Any]


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: a sign bit, an exponent field, a mantissa field.

    Attributes
    ----------
    name : str
        Its usual name.
    exponent_bits, mantissa_bits : int
        Width of the two fields; at most 8 and 23, so that float32 holds every number.
    bias : int
        Exponent field minus exponent.
    flavor : {"ieee", "fn", "finite"}
        ``ieee``: an exponent field of all ones means infinity (mantissa 0) or NaN. ``fn``
        (finite, NaN): no infinity, and only the pattern of all ones is NaN. ``finite``: every
        pattern is a number; an overflow has nowhere to go but to the largest.
    stored_bits : int
        What a number takes in memory; more than `bits` for TF32.

    Notes
    -----
    With exponent field E, mantissa field f and m = mantissa_bits::

        normal,    E > 0:  (-1)^sign * (1 + f / 2^m) * 2^(E - bias)
        subnormal, E = 0:  (-1)^sign * (0 + f / 2^m) * 2^(1 - bias)

    References
    ----------
    IEEE 754-2019; Open Compute Project, OFP8 (2023), for E4M3 and E5M2.

    Examples
    --------
    >>> FP16.max, FP16.exact_integers, E4M3.max
    (65504.0, 2048, 448.0)
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    flavor: str
    stored_bits: int

    def __post_init__(self) -> None:
        if not (2 <= self.exponent_bits <= 8 and 1 <= self.mantissa_bits <= 23):
            raise ValueError(
                f"Format: exponent_bits must be in [2, 8] and mantissa_bits in [1, 23]; got "
                f"{self.exponent_bits} and {self.mantissa_bits}"
            )
        if self.flavor not in ("ieee", "fn", "finite"):
            raise ValueError(
                f"Format: flavor must be 'ieee', 'fn' or 'finite'; got {self.flavor!r}"
            )
        if self.emin - self.mantissa_bits < -149 or self.emax > 127:
            raise ValueError(f"Format: bias must keep all numbers in float32; got {self.bias}")
        if self.stored_bits < self.bits:
            raise ValueError(
                f"Format: stored_bits must be >= {self.bits}, the bits used; got {self.stored_bits}"
            )

    @property
    def bits(self) -> int:
        """Bits that carry information: sign, exponent, mantissa."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def emin(self) -> int:
        """Exponent of the smallest normal number, and of all subnormal ones."""
        return 1 - self.bias

    @property
    def emax(self) -> int:
        """Largest exponent of a finite number."""
        reserved = 1 if self.flavor == "ieee" else 0  # the field of all ones is not a number
        return (1 << self.exponent_bits) - 1 - reserved - self.bias

    @property
    def max(self) -> float:
        """Largest finite number."""
        last = 2 if self.flavor == "fn" else 1  # in "fn" the last mantissa is NaN
        return float((2 - last * self.eps) * 2.0**self.emax)

    @property
    def min_normal(self) -> float:
        """Smallest positive number with the full number of significant bits."""
        return float(2.0**self.emin)

    @property
    def min_subnormal(self) -> float:
        """Smallest positive number, and the spacing of all subnormal ones."""
        return self.min_normal * self.eps

    @property
    def eps(self) -> float:
        """Distance from 1 to the next larger number, 2^-mantissa_bits."""
        return float(2.0**-self.mantissa_bits)

    @property
    def digits(self) -> float:
        """Significant decimal digits of a normal number, (mantissa_bits + 1) log10 2."""
        return (self.mantissa_bits + 1) * math.log10(2)

    @property
    def exact_integers(self) -> int:
        """Every whole number up to this one is in the format; the next one is not."""
        return min(1 << (self.mantissa_bits + 1), int(self.max))


def _is_format(value: Any) -> Format:
    if not isinstance(value, Format):
        raise TypeError(f"{_where()}: fmt must be a Format, such as FP16; got {value!r}")
    return value


def _floats(value: Any) -> FloatArray:
    """Check that x holds float32 or float64, infinities and NaN included."""
    x = array(value, "x", finite=False, nonempty=False)
    if x.dtype not in _EXPONENT_FIELD:
        raise TypeError(f"{_where()}: x must be of dtype float32 or float64; got {x.dtype}")
    return x


# The integer type that views a float's bits, and which of these are its exponent field.
_EXPONENT_FIELD: dict[Any, Any] = {
    np.dtype(np.float32): np.uint32(0x7F80_0000),
    np.dtype(np.float64): np.uint64(0x7FF0_0000_0000_0000),
}


_BLOCK = 2**14  # elements rounded at a time: three times as fast as a million at once


def _quantum(x: FloatArray, fmt: Format) -> FloatArray:
    """Spacing of the format's numbers around x."""
    field = _EXPONENT_FIELD[x.dtype]
    # A float without its sign and mantissa bits is 2^floor(log2 |x|).
    power: FloatArray = (x.view(field.dtype) & field).view(x.dtype)
    power = np.clip(power, fmt.min_normal, 2.0**fmt.emax)
    quantum: FloatArray = power * x.dtype.type(fmt.eps)
    return quantum


MODES: Mapping[str, Any] = MappingProxyType(
    {"nearest": np.rint, "toward_zero": np.trunc, "up": np.ceil, "down": np.floor}
)  # how a count of quanta becomes whole; rint takes the even one of two that are equally near


def _limited(y: FloatArray, fmt: Format, saturate: bool) -> FloatArray:
    """Apply the overflow rule to rounded values."""
    above = np.abs(y) > fmt.max  # False for NaN
    if above.any():
        beyond = math.inf if fmt.flavor == "ieee" else math.nan
        largest = saturate or fmt.flavor == "finite"
        y = np.where(above, np.copysign(y.dtype.type(fmt.max if largest else beyond), y), y)
    return y


def _held_back(y: FloatArray, x: FloatArray, fmt: Format, mode: str) -> FloatArray:
    """Keep the largest number where a directed mode must not pass it; infinity stays infinity."""
    if mode == "nearest" or not (above := np.abs(y) > fmt.max).any():
        return y
    inward = True if mode == "toward_zero" else (x < 0) == (mode == "up")
    held = above & np.isfinite(x) & inward
    return np.where(held, np.copysign(y.dtype.type(fmt.max), y), y)


def round_to(
    x: ArrayLike, fmt: Format, *, mode: str = "nearest", saturate: bool = False
) -> FloatArray:
    """Round to a number of a format: the nearest, or the next one in a direction.

    Parameters
    ----------
    x : array_like of float32 or float64, any shape
        May hold infinities and NaN.
    fmt : Format
        The format.
    mode : {"nearest", "toward_zero", "up", "down"}
        ``nearest``: a tie goes to the even mantissa. ``toward_zero`` cuts off, ``up`` goes
        towards plus infinity, ``down`` towards minus infinity.
    saturate : bool
        What becomes of a value that rounds beyond `Format.max`, and of an infinity. False:
        infinity, or NaN where the format has none. True: the largest finite number. A ``finite``
        format always saturates.

    Returns
    -------
    ndarray of x's shape and dtype
        Numbers of the format. NaN stays NaN, although a ``finite`` format has no pattern for it.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    ::

        quantum = 2^(max(floor(log2 |x|), emin) - mantissa_bits)
        y       = rint(x / quantum) * quantum    (or trunc, ceil, floor)

    The division by a power of two is exact, so that this is one rounding, not two. A mode that
    looks the other way never overflows: 70000 rounds down to 65504 in FP16. Frameworks
    differ in the overflow of E4M3: ml_dtypes gives NaN, PyTorch saturates; the OFP8 standard
    allows both.

    References
    ----------
    IEEE 754-2019, section 4.3 (roundTiesToEven and the directed roundings).

    Examples
    --------
    >>> round_to(np.array([0.1, 256 + 1, 65519, 65520]), FP16)
    array([9.99755859e-02, 2.57000000e+02, 6.55040000e+04,            inf])
    >>> round_to(1000.0, E4M3), round_to(1000.0, E4M3, saturate=True)
    (np.float64(nan), np.float64(448.0))
    >>> [float(round_to(-2.3, E4M3, mode=mode)) for mode in MODES]
    [-2.25, -2.25, -2.25, -2.5]
    """
    x, fmt = _floats(x), _is_format(fmt)
    one_of(saturate, "saturate", (False, True))
    whole = MODES[one_of(mode, "mode", MODES)]
    flat = x.reshape(-1)
    y = np.empty_like(flat)
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow has its own rule
        for start in range(0, x.size, _BLOCK):  # pieces that fit the cache
            piece = flat[start : start + _BLOCK]
            quantum = _quantum(piece, fmt)
            rounded = _held_back(whole(piece / quantum) * quantum, piece, fmt, mode)
            y[start : start + _BLOCK] = _limited(rounded, fmt, saturate)
    return y.reshape(x.shape)[()]


def stochastic_round(
    x: ArrayLike, fmt: Format, *, rng: np.random.Generator, saturate: bool = False
) -> FloatArray:
    """Round up or down at random, so that the mean over many draws is x.

    Parameters
    ----------
    x : array_like of float32 or float64, any shape
        May hold infinities and NaN.
    fmt : Format
        The format.
    rng : numpy.random.Generator
        One uniform number is drawn for each element.
    saturate : bool
        As in `round_to`.

    Returns
    -------
    ndarray of x's shape and dtype
        One of the two numbers of the format beside x, or x itself where it is one.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    With the quantum of `round_to` and s = x / quantum, s is rounded up with probability
    s - floor(s): ``E[y] = x`` as long as nothing overflows.

    References
    ----------
    Gupta et al. (2015).

    Examples
    --------
    >>> tenth = np.full(100_000, 0.1)
    >>> round_to(0.1, E4M3), stochastic_round(tenth, E4M3, rng=np.random.default_rng(0)).mean()
    (np.float64(0.1015625), np.float64(0.100014375))
    """
    x, fmt, rng = _floats(x), _is_format(fmt), generator(rng)
    one_of(saturate, "saturate", (False, True))
    with np.errstate(over="ignore", invalid="ignore"):
        quantum = _quantum(x, fmt)
        steps = x / quantum
        below = np.floor(steps)
        up = rng.random(x.shape) < steps - below
        y = np.asarray(np.copysign((below + up) * quantum, x))
    return _limited(y, fmt, saturate)[()]


def spacing(x: ArrayLike, fmt: Format) -> FloatArray:
    """Distance between neighboring numbers of a format around x (the ulp).

    Parameters
    ----------
    x : array_like of float32 or float64, any shape
        Where.
    fmt : Format
        The format.

    Returns
    -------
    ndarray of x's shape and dtype
        ``2^(max(floor(log2 |x|), emin) - mantissa_bits)``; NaN where abs(x) > fmt.max. At a power
        of two it is the distance upwards: downwards it is half as long.

    Raises
    ------
    TypeError
        If an argument is not of these kinds.

    References
    ----------
    Goldberg (1991), for the unit in the last place.

    Examples
    --------
    >>> spacing([1.0, 2049.0, 1e-8], FP16)
    array([9.76562500e-04, 2.00000000e+00, 5.96046448e-08])
    """
    x, fmt = _floats(x), _is_format(fmt)
    inside = np.abs(x) <= fmt.max  # False for NaN
    return np.where(inside, _quantum(x, fmt), x.dtype.type(math.nan))[()]


FP32 = Format("FP32", 8, 23, bias=127, flavor="ieee", stored_bits=32)
TF32 = Format("TF32", 8, 10, bias=127, flavor="ieee", stored_bits=32)
BF16 = Format("BF16", 8, 7, bias=127, flavor="ieee", stored_bits=16)
FP16 = Format("FP16", 5, 10, bias=15, flavor="ieee", stored_bits=16)
E5M2 = Format("E5M2", 5, 2, bias=15, flavor="ieee", stored_bits=8)
E4M3 = Format("E4M3", 4, 3, bias=7, flavor="fn", stored_bits=8)
# Elements of microscaling blocks, too narrow to stand alone: see trainlab.microscaling.
E3M2 = Format("E3M2", 3, 2, bias=3, flavor="finite", stored_bits=6)
E2M3 = Format("E2M3", 2, 3, bias=1, flavor="finite", stored_bits=6)
E2M1 = Format("E2M1", 2, 1, bias=1, flavor="finite", stored_bits=4)

FORMATS: Mapping[str, Format] = MappingProxyType(
    {f.name: f for f in (FP32, TF32, BF16, FP16, E5M2, E4M3)}
)


def _check_table() -> None:
    """Compare the formulas, the published values and the rounding, each made on its own."""
    published = {  # bits used, largest, smallest normal, smallest subnormal, exact integers
        FP32: (32, 3.4028234663852886e38, 2.0**-126, 2.0**-149, 16_777_216),
        TF32: (19, 3.4011621342146535e38, 2.0**-126, 2.0**-136, 2048),
        BF16: (16, 3.3895313892515355e38, 2.0**-126, 2.0**-133, 256),
        FP16: (16, 65504.0, 2.0**-14, 2.0**-24, 2048),
        E5M2: (8, 57344.0, 2.0**-14, 2.0**-16, 8),
        E4M3: (8, 448.0, 2.0**-6, 2.0**-9, 16),
        E3M2: (6, 28.0, 0.25, 0.0625, 8),
        E2M3: (6, 7.5, 1.0, 0.125, 7),  # 8 is beyond the largest
        E2M1: (4, 6.0, 1.0, 0.5, 4),
    }
    for fmt, expected in published.items():
        formulas = (fmt.bits, fmt.max, fmt.min_normal, fmt.min_subnormal, fmt.exact_integers)
        marks = np.array(expected[1:])
        kept = np.array_equal(round_to(marks, fmt), marks)
        lost = round_to(expected[4] + 1.0, fmt) != expected[4] + 1
        ieee_bias = 2 ** (fmt.exponent_bits - 1) - 1
        if not (formulas == expected and kept and lost and fmt.bias == ieee_bias):
            raise ArithmeticError(f"the constants of {fmt.name} contradict each other: {formulas}")


_check_table()
