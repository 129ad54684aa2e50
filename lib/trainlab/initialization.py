"""How the weights of a network are drawn before training.

A weight matrix W has shape (out, in) and acts on rows: z = x Wᵀ. With independent weights of mean
0 the second moments obey

    E[z²] = fan_in  · Var(W) · E[x²]         on the way forward,
    E[g²] = fan_out · Var(W) · E[(∂L/∂z)²]   for the gradient g = ∂L/∂x on the way back.

Every scheme below is a choice of Var(W): LeCun keeps the first factor at 1, Xavier compromises
between the two, Kaiming (He) keeps one of them and makes up for what the activation removes. What
then happens over many layers is worked out in `trainlab.signal_propagation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _checks

Array = NDArray[Any]

__all__ = [
    "calculate_gain",
    "constant",
    "fans",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "linear_default",
    "normal",
    "orthogonal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "leaky_relu": math.sqrt(2 / (1 + 0.01**2)),
    "selu": 3 / 4,
}


def _shape(shape: Sequence[int], *, least: int = 1) -> tuple[int, ...]:
    if isinstance(shape, (str, int)) or not isinstance(shape, Sequence):
        raise TypeError(f"{_checks._where()}: shape must be a sequence of sizes; got {shape!r}")
    sizes = tuple(_checks.integer(n, "shape", low=1) for n in shape)
    if len(sizes) < least:
        raise ValueError(
            f"{_checks._where()}: shape must have at least {least} dimensions; got {sizes}"
        )
    return sizes


def _dtype(dtype: DTypeLike) -> np.dtype[Any]:
    names = ("float16", "float32", "float64")
    try:
        return np.dtype(_checks.one_of(np.dtype(dtype).name, "dtype", names))
    except TypeError:
        raise TypeError(
            f"{_checks._where()}: dtype must be one of {names}; got {dtype!r}"
        ) from None


def _draw_normal(
    shape: Sequence[int], rng: np.random.Generator, std: float, dtype: DTypeLike
) -> Array:
    sizes, kind = _shape(shape), _dtype(dtype)
    return (std * _checks.generator(rng).standard_normal(sizes)).astype(kind)


def _draw_uniform(
    shape: Sequence[int], rng: np.random.Generator, std: float, dtype: DTypeLike
) -> Array:
    sizes, kind = _shape(shape), _dtype(dtype)
    bound = math.sqrt(3) * std  # U(-b, b) has variance b² / 3
    return (bound * _checks.generator(rng).uniform(-1.0, 1.0, sizes)).astype(kind)


def fans(shape: Sequence[int], *, groups: int = 1) -> tuple[int, int]:
    """Count the inputs of an output unit and the outputs of an input unit.

    Parameters
    ----------
    shape : sequence of int
        Shape of the weights: (out, in) for a dense layer, (out, in / groups, *kernel) for a
        convolution.
    groups : int, default 1
        Groups of a convolution; divides out.

    Returns
    -------
    fan_in, fan_out : int
        in · k and out · k, each divided by groups, with k the number of kernel positions.

    Raises
    ------
    TypeError, ValueError
        If shape has fewer than two sizes >= 1, or groups does not divide the first.

    Notes
    -----
    The shape already holds in / groups, so fan_in needs no division. PyTorch sees only the
    tensor, knows nothing of groups, and reports a fan_out too large by the factor groups.

    Examples
    --------
    >>> fans((256, 1024))
    (1024, 256)
    >>> fans((64, 32, 3, 3))
    (288, 576)
    """
    out, inputs, *kernel = _shape(shape, least=2)
    groups = _checks.integer(groups, "groups", low=1)
    if out % groups:
        raise ValueError(f"fans: groups must divide the {out} output channels; got {groups}")
    positions = math.prod(kernel)
    return inputs * positions, out // groups * positions


def calculate_gain(nonlinearity: str, *, param: float | None = None) -> float:
    """Factor on the standard deviation 1 / √fan that PyTorch recommends for an activation.

    Parameters
    ----------
    nonlinearity : str
        "linear", "conv1d", "conv2d", "conv3d", "sigmoid", "tanh", "relu", "leaky_relu" or "selu".
    param : float, optional
        Negative slope of "leaky_relu", 0.01 unless given; no other takes one.

    Returns
    -------
    float
        The gain.

    Raises
    ------
    TypeError, ValueError
        If the activation is unknown, or param is given to one that has none.

    Notes
    -----
    The values do not follow from one rule. √2 (ReLU) and √(2 / (1 + param²)) keep E[h²] exactly.
    5/3 (tanh) keeps it at a fixed point where gradients grow. 3/4 (SELU) is not the 1 that self-
    normalization needs. 1 (sigmoid) keeps nothing.

    References
    ----------
    PyTorch, ``torch.nn.init.calculate_gain``. He, Zhang, Ren, Sun (2015), Delving deep into
    rectifiers, for √2 and the leaky ReLU.

    Examples
    --------
    >>> round(calculate_gain("relu") ** 2, 12)
    2.0
    >>> round(calculate_gain("leaky_relu", param=0.1) ** 2, 4)
    1.9802
    """
    gain = _GAINS[_checks.one_of(nonlinearity, "nonlinearity", _GAINS)]
    if param is None:
        return gain
    if nonlinearity != "leaky_relu":
        raise ValueError(f"calculate_gain: param must be None for {nonlinearity!r}; got {param!r}")
    return math.sqrt(2 / (1 + _checks.real(param, "param") ** 2))


def zeros(shape: Sequence[int], *, dtype: DTypeLike = np.float64) -> Array:
    """All weights 0: right for biases, wrong for hidden layers, whose gradient is then 0 too.

    Examples
    --------
    >>> zeros((2,))
    array([0., 0.])
    """
    return np.zeros(_shape(shape), _dtype(dtype))


def constant(shape: Sequence[int], *, value: float, dtype: DTypeLike = np.float64) -> Array:
    """All weights equal: the hidden units of a layer stay copies of one another for ever.

    Examples
    --------
    >>> constant((2,), value=0.5)
    array([0.5, 0.5])
    """
    return np.full(_shape(shape), _checks.real(value, "value"), _dtype(dtype))


def normal(
    shape: Sequence[int],
    *,
    rng: np.random.Generator,
    std: float = 1.0,
    dtype: DTypeLike = np.float64,
) -> Array:
    """Draw weights from N(0, std²), whatever the fans are.

    Parameters
    ----------
    shape : sequence of int
        Shape of the weights.
    rng : numpy.random.Generator
        Source of randomness.
    std : float, default 1
        Standard deviation, >= 0.
    dtype : float16, float32 or float64
        Type of the result.

    Returns
    -------
    array of the given shape

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Examples
    --------
    >>> normal((1000, 1000), rng=np.random.default_rng(0), std=0.01).std().round(4)
    np.float64(0.01)
    """
    return _draw_normal(shape, rng, _checks.real(std, "std", low=0), dtype)


def uniform(
    shape: Sequence[int],
    *,
    rng: np.random.Generator,
    bound: float = 1.0,
    dtype: DTypeLike = np.float64,
) -> Array:
    """Draw weights from U(-bound, bound): variance bound² / 3.

    Parameters
    ----------
    shape : sequence of int
        Shape of the weights.
    rng : numpy.random.Generator
        Source of randomness.
    bound : float, default 1
        Half the width of the interval, >= 0.
    dtype : float16, float32 or float64
        Type of the result.

    Returns
    -------
    array of the given shape

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Examples
    --------
    >>> uniform((1000, 1000), rng=np.random.default_rng(0)).var().round(2)
    np.float64(0.33)
    """
    return _draw_uniform(shape, rng, _checks.real(bound, "bound", low=0) / math.sqrt(3), dtype)


def _xavier_std(shape: Sequence[int], gain: float) -> float:
    fan_in, fan_out = fans(_shape(shape, least=2))
    return _checks.real(gain, "gain", low=0) * math.sqrt(2 / (fan_in + fan_out))


def xavier_normal(
    shape: Sequence[int],
    *,
    rng: np.random.Generator,
    gain: float = 1.0,
    dtype: DTypeLike = np.float64,
) -> Array:
    """Draw weights from N(0, 2 gain² / (fan_in + fan_out)).

    Parameters
    ----------
    shape : sequence of int
        (out, in, *kernel).
    rng : numpy.random.Generator
        Source of randomness.
    gain : float, default 1
        Extra factor on the standard deviation, >= 0.
    dtype : float16, float32 or float64
        Type of the result.

    Returns
    -------
    array of the given shape

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Notes
    -----
    1 / fan_in would keep E[z²], 1 / fan_out the gradient; this is one over their mean. Both
    fans enter one formula, so there is no `mode` to choose.

    References
    ----------
    Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural
    networks.

    Examples
    --------
    >>> W = xavier_normal((256, 1024), rng=np.random.default_rng(0))
    >>> (W.var() * (256 + 1024)).round(2)
    np.float64(2.0)
    """
    return _draw_normal(shape, rng, _xavier_std(shape, gain), dtype)


def xavier_uniform(
    shape: Sequence[int],
    *,
    rng: np.random.Generator,
    gain: float = 1.0,
    dtype: DTypeLike = np.float64,
) -> Array:
    """Draw weights from U(-a, a) with a = gain √(6 / (fan_in + fan_out)).

    The variance a² / 3 is that of `xavier_normal`, whose parameters it shares.

    References
    ----------
    Glorot and Bengio (2010), who call it normalized initialization.

    Examples
    --------
    >>> W = xavier_uniform((256, 1024), rng=np.random.default_rng(0))
    >>> (W.var() * (256 + 1024)).round(2)
    np.float64(2.0)
    """
    return _draw_uniform(shape, rng, _xavier_std(shape, gain), dtype)


def _kaiming_std(shape: Sequence[int], mode: str, nonlinearity: str, a: float) -> float:
    fan_in, fan_out = fans(_shape(shape, least=2))
    _checks.one_of(mode, "mode", ("fan_in", "fan_out"))
    _checks.one_of(nonlinearity, "nonlinearity", _GAINS)
    slope = _checks.real(a, "a") if nonlinearity == "leaky_relu" else None
    gain = calculate_gain(nonlinearity, param=slope)
    return gain / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def kaiming_normal(
    shape: Sequence[int],
    *,
    rng: np.random.Generator,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    dtype: DTypeLike = np.float64,
) -> Array:
    """Draw weights from N(0, gain² / fan): He initialization.

    Parameters
    ----------
    shape : sequence of int
        (out, in, *kernel).
    rng : numpy.random.Generator
        Source of randomness.
    a : float, default 0
        Negative slope of a leaky ReLU; 0 is ReLU. Ignored for another nonlinearity.
    mode : {"fan_in", "fan_out"}
        Keep the forward signal, or the gradient.
    nonlinearity : str, default "leaky_relu"
        See `calculate_gain`.
    dtype : float16, float32 or float64
        Type of the result.

    Returns
    -------
    array of the given shape

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Notes
    -----
    For z symmetric around 0, E[relu(z)²] = E[z²] / 2: the factor 2 in Var(W) = 2 / fan_in makes
    up for it, so that E[h²] stays (the second moment; the outputs of a ReLU have no zero mean).

    References
    ----------
    He, Zhang, Ren, Sun (2015), Delving deep into rectifiers.

    Examples
    --------
    >>> W = kaiming_normal((256, 1024), rng=np.random.default_rng(0))
    >>> (W.var() * 1024).round(2)
    np.float64(2.0)
    """
    return _draw_normal(shape, rng, _kaiming_std(shape, mode, nonlinearity, a), dtype)


def kaiming_uniform(
    shape: Sequence[int],
    *,
    rng: np.random.Generator,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    dtype: DTypeLike = np.float64,
) -> Array:
    """Draw weights from U(-b, b) with b = gain √(3 / fan), which is √(6 / fan) for ReLU.

    The variance b² / 3 is that of `kaiming_normal`, whose parameters it shares.

    Examples
    --------
    >>> W = kaiming_uniform((256, 1024), rng=np.random.default_rng(0), mode="fan_out")
    >>> (W.var() * 256).round(2)
    np.float64(2.0)
    """
    return _draw_uniform(shape, rng, _kaiming_std(shape, mode, nonlinearity, a), dtype)


def lecun_normal(
    shape: Sequence[int], *, rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> Array:
    """Draw weights from N(0, 1 / fan_in): keeps E[z²], and is what SELU needs.

    References
    ----------
    LeCun, Bottou, Orr, Müller (1998), Efficient BackProp.

    Examples
    --------
    >>> (lecun_normal((256, 1024), rng=np.random.default_rng(0)).var() * 1024).round(2)
    np.float64(1.0)
    """
    return _draw_normal(shape, rng, 1 / math.sqrt(fans(_shape(shape, least=2))[0]), dtype)


def lecun_uniform(
    shape: Sequence[int], *, rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> Array:
    """Draw weights from U(-√(3 / fan_in), √(3 / fan_in)): variance 1 / fan_in.

    Examples
    --------
    >>> (lecun_uniform((256, 1024), rng=np.random.default_rng(0)).var() * 1024).round(2)
    np.float64(1.0)
    """
    return _draw_uniform(shape, rng, 1 / math.sqrt(fans(_shape(shape, least=2))[0]), dtype)


def orthogonal(
    shape: Sequence[int],
    *,
    rng: np.random.Generator,
    gain: float = 1.0,
    dtype: DTypeLike = np.float64,
) -> Array:
    """Draw a matrix whose rows, or columns if these are fewer, are orthonormal.

    Parameters
    ----------
    shape : sequence of int
        (out, in, *kernel); the matrix has out rows and the rest as columns.
    rng : numpy.random.Generator
        Source of randomness.
    gain : float, default 1
        All singular values of the result; >= 0.
    dtype : float16, float32 or float64
        Type of the result.

    Returns
    -------
    array of the given shape

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Notes
    -----
    The QR factor of a normal matrix, with the signs of R's diagonal moved into Q: without them
    the draw would depend on the sign convention of the routine, and not be uniform. A square
    one keeps the length of every vector exactly, however deep the linear network is.

    References
    ----------
    Saxe, McClelland, Ganguli (2014), Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks.

    Examples
    --------
    >>> W = orthogonal((2, 5), rng=np.random.default_rng(0))
    >>> bool(np.allclose(W @ W.T, np.eye(2)))
    True
    """
    sizes, kind = _shape(shape, least=2), _dtype(dtype)
    gain = _checks.real(gain, "gain", low=0)
    rows, columns = sizes[0], math.prod(sizes[1:])
    tall = _checks.generator(rng).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
    matrix = q if rows >= columns else q.T
    return (gain * matrix).reshape(sizes).astype(kind)  # (out, in * kernel) -> (out, in, *kernel)


def linear_default(
    out_features: int,
    in_features: int,
    *,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float64,
) -> tuple[Array, Array]:
    """Draw weight and bias as PyTorch's ``nn.Linear`` does when nobody says otherwise.

    Parameters
    ----------
    out_features, in_features : int
        Sizes of the layer, >= 1.
    rng : numpy.random.Generator
        Source of randomness.
    dtype : float16, float32 or float64
        Type of the results.

    Returns
    -------
    weight : array of shape (out_features, in_features)
    bias : array of shape (out_features,)

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Notes
    -----
    The code calls ``kaiming_uniform_(a=√5)``, which suggests He initialization. But the slope √5
    gives gain √(2 / 6), so both tensors are U(-1/√in, 1/√in) with variance 1 / (3 in): a sixth
    of what a ReLU layer needs.

    Examples
    --------
    >>> weight, bias = linear_default(256, 1024, rng=np.random.default_rng(0))
    >>> (weight.var() * 1024).round(3)
    np.float64(0.333)
    """
    out = _checks.integer(out_features, "out_features", low=1)
    inputs = _checks.integer(in_features, "in_features", low=1)
    std = _kaiming_std((out, inputs), "fan_in", "leaky_relu", math.sqrt(5))  # 1 / √(3 inputs)
    return _draw_uniform((out, inputs), rng, std, dtype), _draw_uniform((out,), rng, std, dtype)
