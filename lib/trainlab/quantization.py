"""Quantization: small whole numbers that stand for real ones through a scale and a zero point.

    x is about scale * (q - zero_point),  q in lowest ... highest

The marks of this ruler are evenly spaced over its whole length, those of a floating-point format
are not: the absolute error is bounded, the relative error of small numbers is not. One outlier
stretches the ruler for all; hence scales for each channel or group, and clipping.

`fake_quantize` rounds in the forward pass and lets the gradient through, so that a network can be
trained to bear the rounding. `normal_float_levels` are marks that are not evenly spaced: they lie
dense where normal weights do.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import _where, array, axes, integer, one_of, real
from .differentiation import Pullback, differentiable

__all__ = [
    "IntegerCode",
    "QuantizationError",
    "choose_code",
    "dequantize",
    "fake_quantize",
    "gaussian_quantization",
    "integer_code",
    "nearest_levels",
    "normal_float_levels",
    "quantization_error",
    "quantize",
]

Array = NDArray[Any]


class IntegerCode(NamedTuple):
    """How real numbers are written as small integers.

    Attributes
    ----------
    scale : float, or array that broadcasts with the numbers
        Distance between neighboring representable numbers, > 0.
    zero_point : int, or array of int like scale
        The integer that stands for 0.
    lowest, highest : int
        The integers in use: -128 and 127 for 8 bits, -127 and 127 where the code is symmetric.
    """

    scale: Any
    zero_point: Any
    lowest: int
    highest: int


class QuantizationError(NamedTuple):
    """Mean squared errors of a quantization.

    Attributes
    ----------
    rounding : float
        From numbers whose nearest mark is there; about ``scale**2 / 12`` each.
    clipping : float
        From numbers that lie more than half a step beyond the last mark.
    decibels : float
        Signal-to-noise ratio, ``10 log10(mean(x**2) / (rounding + clipping))``; infinite without
        an error.
    """

    rounding: float
    clipping: float
    decibels: float


def _range(bits: int, symmetric: bool) -> tuple[int, int]:
    """Lowest and highest integer."""
    half = 2 ** (integer(bits, "bits", low=2, high=8) - 1)
    one_of(symmetric, "symmetric", (False, True))
    return (1 - half if symmetric else -half), half - 1


def _cover(low: Array, high: Array, lowest: int, highest: int, symmetric: bool) -> IntegerCode:
    """Code of ranges with low <= 0 <= high."""
    if symmetric:
        scale = np.maximum(-low, high) / highest
    else:
        levels = highest - lowest
        scale = high / levels - low / levels  # high - low may overflow
    # Any scale stands for 0 exactly. A subnormal scale would be too coarse a number itself.
    scale = np.maximum(np.where((low == 0) & (high == 0), 1, scale), np.finfo(scale.dtype).tiny)
    shift = np.zeros_like(scale) if symmetric else lowest - np.rint(low / scale)
    return IntegerCode(scale, shift.astype(np.int64), lowest, highest)


def _large_enough(low: Array, high: Array, name: str, levels: int) -> None:
    largest = np.maximum(-low, high)
    least = float(np.min(largest, initial=np.inf, where=largest > 0))
    real(min(least, 1.0), f"range of {name}", low=levels * float(np.finfo(low.dtype).tiny))


def integer_code(low: Any, high: Any, *, bits: int = 8, symmetric: bool = True) -> IntegerCode:
    """Choose scale and zero point so that a range of real numbers is covered.

    Parameters
    ----------
    low, high : float or arrays of one shape, low <= 0 <= high
        The range. Zero lies in it, because padding and ReLU need it without an error.
    bits : int
        2 to 8.
    symmetric : bool
        True: 0 is the integer 0 and the integers are -127 ... 127, usual for weights. False
        (affine): all of -128 ... 127 is spread over the range, usual for activations.

    Returns
    -------
    IntegerCode
        With a scale of 1 where the range is 0 alone.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    ::

        symmetric:  scale = max(-low, high) / (2**(bits-1) - 1),   zero_point = 0
        affine:     scale = (high - low) / (2**bits - 1),  zero_point = lowest - round(low / scale)

    Others write affine codes with unsigned integers: their zero point is 2**(bits-1) larger.

    References
    ----------
    Jacob et al. (2018), Quantization and training of neural networks for efficient
    integer-arithmetic-only inference, for scale and zero point.

    Examples
    --------
    >>> integer_code(-1.0, 0.5)
    IntegerCode(scale=0.007874015748031496, zero_point=0, lowest=-127, highest=127)
    >>> integer_code(0.0, 25.5, symmetric=False)
    IntegerCode(scale=0.1, zero_point=-128, lowest=-128, highest=127)
    """
    lowest, highest = _range(bits, symmetric)
    low, high = array(low, "low"), array(high, "high")
    if low.shape != high.shape:
        raise ValueError(
            f"integer_code: high must have the shape of low, {low.shape}; got {high.shape}"
        )
    real(float(low.max()), "largest of low", high=0.0)
    real(float(high.min()), "smallest of high", low=0.0)
    _large_enough(low, high, "low and high", highest - lowest)
    code = _cover(low, high, lowest, highest, symmetric)
    if low.ndim == 0:
        return code._replace(scale=code.scale.item(), zero_point=code.zero_point.item())
    return code


def choose_code(
    x: Any,
    *,
    bits: int = 8,
    symmetric: bool = True,
    axis: Any = None,
    group_size: int | None = None,
    clip: str = "max",
) -> IntegerCode:
    """Choose a code for an array: one scale for all of it, for each channel or for each group.

    Parameters
    ----------
    x : array
        Numbers that are typical of what is to be quantized.
    bits : int
        2 to 8.
    symmetric : bool
        As in `integer_code`.
    axis : int, tuple of int or None
        The axes that share a scale. None: all, one scale for the tensor. 1 for W of shape
        (out, in): one for each row, that is for each output channel.
    group_size : int, optional
        Shares a scale only within groups of so many neighbors along `axis`, which must be one axis;
        divides its length.
    clip : {"max", "mse"}
        "max" covers all of x. "mse" takes, of 100 shares of that range, the one with the least
        squared error: a few large numbers are cut off, so that the others get finer steps.

    Returns
    -------
    IntegerCode
        The scale is a number for the whole tensor, else an array that broadcasts with x; a code of
        groups repeats it within each group.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    References
    ----------
    Jacob et al. (2018), Quantization and training of neural networks for efficient
    integer-arithmetic-only inference, for affine codes.
    Frantar, Ashkboos, Hoefler, Alistarh (2022), GPTQ: accurate post-training quantization for
    generative pre-trained transformers, for groups.

    Examples
    --------
    >>> choose_code([[-1.0, 0.5], [20.0, 10.0]], axis=1).scale.round(4)
    array([[0.0079],
           [0.1575]])
    """
    x = array(x, "x")
    lowest, highest = _range(bits, symmetric)
    one_of(clip, "clip", ("max", "mse"))
    shared = axes(axis, x.ndim)
    if group_size is not None:
        size = integer(group_size, "group_size", low=1)
        place = shared[0] if len(shared) == 1 and axis is not None else -1
        integer(place, "axis of group_size, one axis,", low=0)
        if x.shape[place] % size:
            raise ValueError(
                f"choose_code: group_size must divide the length of the axis, {x.shape[place]}; "
                f"got {size}"
            )
        # (..., n, ...) -> (..., n/g, g, ...)
        x = x.reshape(*x.shape[:place], -1, size, *x.shape[place + 1 :])
        shared = (place + 1,)
    low = np.minimum(x.min(axis=shared, keepdims=True), 0)
    high = np.maximum(x.max(axis=shared, keepdims=True), 0)
    _large_enough(low, high, "x", highest - lowest)
    code = _cover(low, high, lowest, highest, symmetric)
    if clip == "mse":
        code = _least_squares(x, low, high, code, shared=shared, symmetric=symmetric)
    if group_size is not None:
        # (..., n/g, 1, ...) -> (..., n, ...)
        scale, shift = (np.repeat(a.squeeze(place + 1), size, axis=place) for a in code[:2])
        return IntegerCode(scale, shift, lowest, highest)
    if axis is None:
        return code._replace(scale=code.scale.item(), zero_point=code.zero_point.item())
    return code


def _least_squares(
    x: Array,
    low: Array,
    high: Array,
    code: IntegerCode,
    *,
    shared: tuple[int, ...],
    symmetric: bool,
) -> IntegerCode:
    """Try shares of the range; keep, for each scale, the one with the least squared error."""
    least = np.full(low.shape, np.inf)
    best = code
    top = np.maximum(np.maximum(-low, high), np.finfo(x.dtype).tiny)  # so that no square overflows
    for percent in range(100, 0, -1):
        part = x.dtype.type(percent / 100)
        tried = _cover(low * part, high * part, code.lowest, code.highest, symmetric)
        error = _restore(_integers(x, tried), tried, x.dtype) / top - x / top
        squares = np.square(error).sum(axis=shared, keepdims=True)
        better = squares < least
        least = np.where(better, squares, least)
        best = best._replace(
            scale=np.where(better, tried.scale, best.scale),
            zero_point=np.where(better, tried.zero_point, best.zero_point),
        )
    return best


def _code(value: Any, shape: tuple[int, ...], name: str) -> IntegerCode:
    """Check a code and that it broadcasts to the shape of the numbers called `name`."""
    if not isinstance(value, IntegerCode):
        raise TypeError(f"{_where()}: code must be an IntegerCode; got {value!r}")
    lowest = integer(value.lowest, "code.lowest", low=-128, high=-1)
    highest = integer(value.highest, "code.highest", low=1, high=127)
    scale = array(value.scale, "code.scale")
    real(float(scale.min()), "smallest of code.scale", low=0.0, closed="right")
    shift = np.asarray(value.zero_point)
    if shift.dtype.kind not in "iu":
        raise TypeError(f"{_where()}: code.zero_point must be whole; got dtype {shift.dtype}")
    integer(int(shift.min()), "smallest of code.zero_point", low=lowest, high=highest)
    integer(int(shift.max()), "largest of code.zero_point", low=lowest, high=highest)
    for part in (scale, shift):
        fits = part.ndim <= len(shape) and all(
            a in (1, b) for a, b in zip(part.shape[::-1], shape[::-1], strict=False)
        )
        if not fits:
            raise ValueError(
                f"{_where()}: code must have a scale that broadcasts to the shape of {name}, "
                f"{shape}; got {part.shape}"
            )
    return value


def _integers(x: Array, code: IntegerCode) -> Array:
    """Nearest integers before clipping, still floating point and possibly infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(np.rint(x / code.scale) + code.zero_point)


def _restore(q: Array, code: IntegerCode, dtype: Any) -> Array:
    clipped = np.clip(q, code.lowest, code.highest) - code.zero_point
    return np.asarray(code.scale * clipped, dtype)


def quantize(x: ArrayLike, code: IntegerCode) -> NDArray[np.int8]:
    """Write numbers as the nearest integers of a code; the last one for what lies outside.

    Parameters
    ----------
    x : array of any shape
        Finite numbers.
    code : IntegerCode
        Scale and zero point.

    Returns
    -------
    array of int8, of x's shape
        ``clip(rint(x / scale) + zero_point, lowest, highest)``; fewer bits are stored as int8 too.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    References
    ----------
    Jacob et al. (2018), Quantization and training of neural networks for efficient
    integer-arithmetic-only inference.

    Examples
    --------
    >>> quantize([-2.0, 0.0, 0.013, 0.5], integer_code(-1.0, 1.0))
    array([-127,    0,    2,   64], dtype=int8)
    """
    numbers = array(x, "x", nonempty=False)
    code = _code(code, numbers.shape, "x")
    clipped = np.clip(_integers(numbers, code), code.lowest, code.highest)
    return np.asarray(clipped, np.int8)


def dequantize(q: ArrayLike, code: IntegerCode) -> Array:
    """Return the real numbers that the integers of a code stand for.

    Parameters
    ----------
    q : array of int, any shape
        Integers from the code's lowest to its highest.
    code : IntegerCode
        Scale and zero point.

    Returns
    -------
    array of q's shape
        ``scale * (q - zero_point)``, in the dtype of the scale; float64 if that is a number.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    References
    ----------
    Jacob et al. (2018), Quantization and training of neural networks for efficient
    integer-arithmetic-only inference.

    Examples
    --------
    >>> dequantize([-127, 0, 64], integer_code(-1.0, 1.0))
    array([-1.        ,  0.        ,  0.50393701])
    """
    integers = np.asarray(q)
    code = _code(code, integers.shape, "q")
    if integers.dtype.kind not in "iu":
        raise TypeError(f"dequantize: q must be whole numbers; got dtype {integers.dtype}")
    if integers.size and (integers.min() < code.lowest or integers.max() > code.highest):
        raise ValueError(
            f"dequantize: q must be in [{code.lowest}, {code.highest}]; got {integers.min()} to "
            f"{integers.max()}"
        )
    dtype = np.asarray(code.scale).dtype
    return _restore(integers.astype(np.int64), code, dtype)


@differentiable("x")
def fake_quantize(x: Any, code: IntegerCode) -> tuple[Array, Pullback]:
    """Quantize and dequantize at once, with the gradient of a straight line (QAT).

    Parameters
    ----------
    x : array of any shape
        Weights or activations in training.
    code : IntegerCode
        Scale and zero point.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    The true derivative of rounding is 0 almost everywhere, so nothing could be learned through it.
    The *straight-through estimator* takes 1 where the rounded integer lies within lowest ...
    highest, and 0 where it was clipped, as in PyTorch. The scale has no gradient here.

    References
    ----------
    Bengio, Léonard, Courville (2013), Estimating or propagating gradients through stochastic
    neurons for conditional computation.
    Jacob et al. (2018), Quantization and training of neural networks for efficient
    integer-arithmetic-only inference.

    Examples
    --------
    >>> fake_quantize([0.26, 3.0], integer_code(-1.0, 1.0, bits=3)).round(3)
    array([0.333, 1.   ])
    """
    x = array(x, "x", nonempty=False)
    code = _code(code, x.shape, "x")
    q = _integers(x, code)
    inside = (q >= code.lowest) & (q <= code.highest)
    value = _restore(q, code, x.dtype)
    return value, lambda cotangent: (np.asarray(cotangent * inside),)


def quantization_error(x: Any, code: IntegerCode) -> QuantizationError:
    """Measure what rounding and what clipping cost.

    Parameters
    ----------
    x : array
        At least one number that is not 0.
    code : IntegerCode
        Scale and zero point.

    Returns
    -------
    QuantizationError

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds, or x is all 0, or its squares do not fit.

    Examples
    --------
    >>> error = quantization_error([0.1, 0.2, 2.0], integer_code(-1.0, 1.0, bits=3))
    >>> round(error.rounding, 4), round(error.clipping, 4)
    (0.0093, 0.3333)
    """
    x = array(x, "x")
    code = _code(code, x.shape, "x")
    q = _integers(x, code)
    error = _restore(q, code, np.float64) - x
    outside = (q < code.lowest) | (q > code.highest)
    with np.errstate(over="ignore"):
        squares = array(np.square(error), "squared errors of x")
        signal = float(array(np.mean(np.square(x, dtype=np.float64)), "mean square of x"))
    real(signal, "mean square of x", low=0, closed="neither")
    rounding = float(np.sum(squares, where=~outside)) / x.size
    clipping = float(np.sum(squares, where=outside)) / x.size
    noise = rounding + clipping
    return QuantizationError(rounding, clipping, _decibels(signal, noise))


def _decibels(signal: float, noise: float) -> float:
    return 10 * (math.log10(signal) - math.log10(noise)) if noise > 0 else math.inf


def gaussian_quantization(clip: float, *, bits: int = 8) -> QuantizationError:
    """Calculate the expected errors for standard normal numbers and a symmetric code.

    Parameters
    ----------
    clip : float
        The largest representable number, in standard deviations; > 0.
    bits : int
        2 to 8.

    Returns
    -------
    QuantizationError

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    The sum over all levels a of the integral of ``(x - a)² φ(x)`` over the numbers that are rounded
    to a; its antiderivative is ``(1 + a²) Φ(x) - (x - 2a) φ(x)``. A small clip wastes no levels
    but cuts off the tail, a large one has coarse steps: in between lies an optimum.

    Examples
    --------
    >>> [round(gaussian_quantization(c, bits=4).decibels, 1) for c in (1.5, 2.45, 4.0)]
    [13.1, 18.9, 15.7]
    """
    clip = real(clip, "clip", low=0, closed="neither")
    _, highest = _range(bits, True)
    scale = clip / highest

    levels = scale * np.arange(highest + 1)
    edges = np.append(0.0, levels + scale / 2)  # of the numbers that are rounded to each level
    tail = np.array([math.erfc(v) for v in (edges / math.sqrt(2)).tolist()]) / 2  # 1 - Φ
    density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)

    def antiderivative(level: Any, at: slice) -> Array:
        # Less 1 + level²: exact where Φ is near 1, and 0 at infinity.
        return np.asarray(-(1 + level**2) * tail[at] - (edges[at] - 2 * level) * density[at])

    below, above = (antiderivative(levels, at) for at in (slice(0, -1), slice(1, None)))
    rounding = 2 * float(np.sum(above - below))
    clipping = -2 * float(antiderivative(levels[-1], slice(-1, None))[0])
    return QuantizationError(rounding, clipping, _decibels(1.0, rounding + clipping))


def normal_float_levels(*, bits: int = 4) -> Array:
    """Return the numbers that NormalFloat can write, NF4 for 4 bits.

    Parameters
    ----------
    bits : int
        2 to 8.

    Returns
    -------
    array of shape (2**bits,)
        Increasing, from -1 to 1, with 0 among them. Weights are first divided by the largest size
        in their block.

    Raises
    ------
    TypeError, ValueError
        If `bits` is none of these.

    Notes
    -----
    Quantiles of the normal distribution at evenly spaced probabilities, from 1/2 outward, divided
    by the largest: 2**(bits-1) above 0 and one less below. The outermost probability is the mean of
    ``1 - 1/(2 n)`` for n = 2**bits and n = 2**bits - 1: for 4 bits it is the 0.9677083 of the
    authors' code.

    References
    ----------
    Dettmers, Pagnoni, Holtzman, Zettlemoyer (2023), QLoRA: efficient finetuning of quantized LLMs.

    Examples
    --------
    >>> normal_float_levels(bits=3).round(3)
    array([-1.   , -0.535, -0.247,  0.   ,  0.183,  0.382,  0.623,  1.   ])
    """
    count = 2 ** integer(bits, "bits", low=2, high=8)
    outermost = 1 - (1 / count + 1 / (count - 1)) / 4
    quantile = NormalDist().inv_cdf
    above, below = (
        [quantile(p) for p in np.linspace(0.5, outermost, n + 1)[1:].tolist()]
        for n in (count // 2, count // 2 - 1)
    )
    return np.array([-v for v in below[::-1]] + [0.0] + above) / above[-1]


def nearest_levels(x: Any, levels: Any) -> Array:
    """Replace each number by the nearest level.

    Parameters
    ----------
    x : array of any shape
        Finite numbers.
    levels : array of shape (n,)
        Increasing.

    Returns
    -------
    array of x's shape and dtype
        The lower level where both are equally near.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Examples
    --------
    >>> nearest_levels([-3.0, 0.2, 0.8], [-1.0, 0.0, 1.0])
    array([-1.,  0.,  1.])
    """
    x, levels = array(x, "x", nonempty=False), array(levels, "levels", ndim=1)
    if np.any(levels[1:] <= levels[:-1]):
        raise ValueError(f"nearest_levels: levels must increase; got {levels}")
    middles = levels[:-1] / 2 + levels[1:] / 2
    return np.asarray(levels[np.searchsorted(middles, x)], x.dtype)
