"""Normalization layers: one formula, different cells averaged.

Every layer here computes ``x_hat = (x - mean) / sqrt(var + eps)`` and ``y = weight * x_hat +
bias``. They differ only in the cells that share one mean and one variance: batch norm averages
over the examples, layer norm over the features of one token, group and instance norm over
channels and space of one example; RMS norm leaves out the mean.

Batch, group and instance norm take channels first, (N, C, ...); layer and RMS norm take
features last, (..., D). Both as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import array, axes, integer, one_of, real
from ._normalized_rows import Pull, _blocks, _normalize_rows, _reciprocal_root
from .differentiation import Pullback, Variable, differentiable

__all__ = [
    "RunningStats",
    "batch_norm",
    "batch_norm_init",
    "batch_norm_update",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "rms_norm",
]

Array = NDArray[Any]
Result = tuple[Array, Pullback]


def _eps(eps: float, x: Array) -> float:
    # 0 would turn a constant channel into NaN, and so would an eps that x's dtype rounds to 0.
    return real(eps, "eps", low=float(np.finfo(x.dtype).smallest_subnormal))


def _wide(x: Array) -> Array:
    """Sums of float16 are taken in float32."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def _parameter(value: Any, name: str, lengths: Sequence[int], like: Array) -> Array | None:
    if value is None:
        return None
    checked: Array = array(value, name, shape=lengths, nonempty=False)
    return checked.astype(like.dtype, copy=False)


# Channels ----------------------------------------------------------------------------------------


def _channels(x: Array) -> Array:
    """Put all of space into one axis: (N, C) stays, (N, C, ...) -> (N, C, space)."""
    return x if x.ndim == 2 else x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _spread(per_channel: Array, x: Array) -> Array:
    """Make numbers of shape (C,) broadcast against (N, C) or (N, C, space)."""
    return per_channel if x.ndim == 2 else per_channel[:, None]


def _sums(a: Array, b: Array | None = None) -> Array:
    """Sum a, or a · b, over examples and space: (C,)."""
    if a.ndim == 2:  # a product with a vector is faster than a sum
        return np.asarray(np.ones(len(a), a.dtype) @ (a if b is None else a * b))
    return np.asarray((a.sum(axis=2) if b is None else np.vecdot(a, b)).sum(axis=0))


def _scale_channels(x_hat: Array, weight: Array | None, bias: Array | None) -> tuple[Array, Pull]:
    """Return weight * x_hat + bias, one number a channel, and the pullback to all three."""
    value = x_hat if weight is None else x_hat * _spread(weight, x_hat)
    if bias is not None:
        value = value + _spread(bias, x_hat)
    has_bias = bias is not None

    def pullback(cotangent: Array) -> tuple[Array, Array | None, Array | None]:
        dbias = _sums(cotangent) if has_bias else None
        if weight is None:
            return cotangent, None, dbias
        return cotangent * _spread(weight, x_hat), _sums(cotangent, x_hat), dbias

    return value, pullback


# Batch norm: each channel over the examples ------------------------------------------------------


class RunningStats(NamedTuple):
    """Running mean and running unbiased variance of each channel, both of shape (C,)."""

    mean: Array
    var: Array


def _batch(x: Any, *, several: bool) -> Array:
    checked: Array = array(x, "x", ndim=(2, 3, 4), nonempty=False)
    if several:  # one value has no spread: x_hat would be 0 whatever it is
        count = len(checked) * math.prod(checked.shape[2:])
        integer(count, "number of values of x per channel in training mode", low=2)
    return checked


def _running(running: RunningStats, x: Array) -> tuple[Array, Array]:
    """Check running statistics; they take the dtype of x."""
    one_of(type(running).__name__, "type of running", ("RunningStats",))
    own = (x.shape[1],)
    mean = array(running.mean, "running.mean", shape=own).astype(x.dtype, copy=False)
    var = array(running.var, "running.var", shape=own).astype(x.dtype, copy=False)
    real(float(var.min()), "smallest of running.var", low=0)
    return mean, var


def _own_statistics(x: Array) -> tuple[Array, Array, Array]:
    """Center each channel: its mean, its biased variance, and x minus the mean."""
    count = x.size // max(x.shape[1], 1)
    mean, var = np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    centered = np.empty_like(x)
    for part in _blocks(x):
        mean += _sums(x[part]) / count
    for part in _blocks(x):
        np.subtract(x[part], _spread(mean, x), out=centered[part])
        var += _sums(centered[part], centered[part]) / count
    return mean, var, centered


def _pull_batch(
    cotangent: Array, x: Array, mean: Array, rstd: Array, gain: Array, *, training: bool
) -> tuple[Array, Array, Array]:
    """Pull a gradient back to x, weight and bias; x_hat is computed again, block by block."""
    dweight, dbias, dx = np.zeros_like(mean), np.zeros_like(mean), np.empty_like(x)
    count = x.size // max(x.shape[1], 1)
    for part in _blocks(x):
        np.subtract(x[part], _spread(mean, x), out=dx[part])
        dweight += _sums(cotangent[part], dx[part])
        dbias += _sums(cotangent[part])
    dweight *= rstd
    stretch, shift = _spread(rstd * (dweight / count), x), _spread(dbias / count, x)
    for part in _blocks(x):
        g = dx[part]
        if training:
            g *= stretch
            np.subtract(cotangent[part], g, out=g)
            g -= shift
        np.multiply(g if training else cotangent[part], _spread(gain, x), out=g)
    return dx, dweight, dbias


@differentiable("x", "weight", "bias")
def batch_norm(
    x: Any,
    *,
    weight: Any = None,
    bias: Any = None,
    running: RunningStats | None = None,
    eps: float = 1e-5,
) -> Result:
    """Normalize each channel over the examples (and over space).

    Parameters
    ----------
    x : array of shape (N, C), (N, C, L) or (N, C, H, W)
        Activations.
    weight, bias : array of shape (C,), optional
        Gain (gamma) and shift (beta) of each channel; 1 and 0 if left out.
    running : RunningStats, optional
        Left out: training mode, the batch's own statistics. Given: evaluation mode, these
        statistics, so that an example no longer depends on its neighbors.
    eps : float
        Added to the variance, inside the root; > 0.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    ValueError
        If a channel holds one value only in training mode, or a parameter is out of range.

    Notes
    -----
    ``y = weight * (x - mean) / sqrt(var + eps) + bias`` with ``var = mean((x - mean)**2)``,
    the *biased* variance over the m = N (or N·L, N·H·W) values of a channel. PyTorch and Keras
    agree on this; eps is 1e-5 in PyTorch and 1e-3 in Keras.

    The gradient in training mode is ``dx = rstd * (g - mean(g) - x_hat * mean(g * x_hat))`` with
    ``g = weight * cotangent`` and ``rstd = 1 / sqrt(var + eps)``: every example's gradient
    contains its neighbors'. In evaluation mode it is ``dx = rstd * g``.

    References
    ----------
    Ioffe & Szegedy (2015), algorithm 1.

    Examples
    --------
    >>> batch_norm([[0.0], [2.0]]).round(4)
    array([[-1.],
           [ 1.]])
    >>> batch_norm([[2.0]], running=RunningStats(np.zeros(1), np.ones(1))).round(4)
    array([[2.]])
    """
    x = _batch(x, several=running is None)
    eps, shape, dtype, training = _eps(eps, x), x.shape, x.dtype, running is None
    cells = _channels(_wide(x))
    weight = _parameter(weight, "weight", shape[1:2], cells)
    bias = _parameter(bias, "bias", shape[1:2], cells)
    with np.errstate(over="ignore", invalid="ignore"):
        if running is None:
            mean, var, value = _own_statistics(cells)
        else:
            mean, var = _running(running, x)
            mean, var = mean.astype(cells.dtype), var.astype(cells.dtype)
            value = cells - _spread(mean, cells)
        rstd = _reciprocal_root(var, eps)
        gain = rstd if weight is None else rstd * weight
        for part in _blocks(value):
            value[part] *= _spread(gain, cells)
            if bias is not None:
                value[part] += _spread(bias, cells)

    def pullback(cotangent: Array) -> tuple[Array, Array, Array]:
        c = _channels(cotangent)
        with np.errstate(invalid="ignore"):  # infinity in x was let through
            dx, dweight, dbias = _pull_batch(c, cells, mean, rstd, gain, training=training)
        return dx.reshape(shape), dweight, dbias

    return value.reshape(shape).astype(dtype, copy=False), pullback


def batch_norm_init(num_features: int, *, dtype: Any = np.float64) -> RunningStats:
    """Start the running statistics: mean 0 and variance 1.

    Parameters
    ----------
    num_features : int
        Channels C, >= 1.
    dtype : {np.float16, np.float32, np.float64}
        Of the statistics.

    Returns
    -------
    RunningStats

    Raises
    ------
    ValueError, TypeError
        If `num_features` is not a whole number >= 1, or `dtype` no NumPy float type.

    Examples
    --------
    >>> batch_norm_init(2)
    RunningStats(mean=array([0., 0.]), var=array([1., 1.]))
    """
    count = integer(num_features, "num_features", low=1)
    one_of(dtype, "dtype", (np.float16, np.float32, np.float64))
    return RunningStats(np.zeros(count, dtype), np.ones(count, dtype))


def batch_norm_update(x: Any, running: RunningStats, *, momentum: float = 0.1) -> RunningStats:
    """Move the running statistics toward those of a training batch.

    Parameters
    ----------
    x : array of shape (N, C), (N, C, L) or (N, C, H, W)
        The batch that `batch_norm` saw.
    running : RunningStats
        The statistics before; unchanged.
    momentum : float
        Weight of the *new* value, in [0, 1].

    Returns
    -------
    RunningStats

    Raises
    ------
    ValueError
        If a channel holds one value only, or a parameter is out of range.

    Notes
    -----
    ``running = (1 - momentum) * running + momentum * new`` for the mean and for the variance.
    The new variance is the *unbiased* one, ``m/(m - 1)`` times the one `batch_norm` divides by.
    PyTorch's momentum 0.1 is what Keras would call 0.9, the weight of the old value; Keras'
    default 0.99 is PyTorch's 0.01.

    References
    ----------
    Ioffe & Szegedy (2015).

    Examples
    --------
    >>> batch_norm_update([[0.0], [2.0]], batch_norm_init(1))
    RunningStats(mean=array([0.1]), var=array([1.1]))
    """
    x = _batch(x.value if isinstance(x, Variable) else x, several=True)
    momentum = real(momentum, "momentum", low=0, high=1)
    mean, var = _running(running, x)
    over = (0, *range(2, x.ndim))
    return RunningStats(
        (1 - momentum) * mean + momentum * x.mean(axis=over),
        (1 - momentum) * var + momentum * x.var(axis=over, ddof=1),
    )


# Layer and RMS norm: over the features of one token ----------------------------------------------


def _normalize_features(
    x: Any, axis: Any, eps: float, *, center: bool = True, weight: Any = None, bias: Any = None
) -> Result:
    """Normalize along any axes, as rows of a matrix."""
    x = array(x, "x", nonempty=False)
    # A tuple of no axes would leave x as it is, and None does not say what the weight's shape is.
    own = tuple(sorted(axes((axis,) if axis is None else axis, x.ndim)))
    integer(len(own), "number of axes in axis", low=1)
    eps, lengths, dtype = _eps(eps, x), tuple(x.shape[a] for a in own), x.dtype
    cells = integer(math.prod(lengths), "number of values of x along axis", low=1)
    last = tuple(range(x.ndim - len(own), x.ndim))
    moved = np.moveaxis(x, own, last)
    wide = _wide(moved.reshape(x.size // cells, cells))  # (..., *lengths) -> (tokens, features)
    weight = _parameter(weight, "weight", lengths, wide)
    bias = _parameter(bias, "bias", lengths, wide)
    between = moved.shape
    value, pull = _normalize_rows(
        wide,
        eps,
        center=center,
        weight=None if weight is None else weight.reshape(cells),
        bias=None if bias is None else bias.reshape(cells),
    )

    def pullback(cotangent: Array) -> tuple[Array | None, ...]:
        rows = np.moveaxis(cotangent, own, last).reshape(-1, cells)  # as x above
        dx, dweight, dbias = pull(rows)
        dx = np.moveaxis(dx.reshape(between), last, own)
        return (dx, *(None if d is None else d.reshape(lengths) for d in (dweight, dbias)))

    return np.moveaxis(value.reshape(between), last, own).astype(dtype, copy=False), pullback


@differentiable("x", "weight", "bias")
def layer_norm(
    x: Any,
    *,
    weight: Any = None,
    bias: Any = None,
    axis: int | Sequence[int] = -1,
    eps: float = 1e-5,
) -> Result:
    """Normalize each token over its own features.

    Parameters
    ----------
    x : array of shape (..., D)
        Activations, such as (batch, time, features).
    weight, bias : array of the lengths of x along `axis`, optional
        Gain and shift of each feature; 1 and 0 if left out.
    axis : int or sequence of int
        The axes averaged over.
    eps : float
        Added to the variance, inside the root; > 0.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    ValueError, TypeError
        If a parameter has another shape, or is out of range.

    Notes
    -----
    ``y = weight * (x - mean) / sqrt(var + eps) + bias`` with the biased variance. Nothing is
    stored, training and evaluation do the same, and no example sees another. PyTorch names the
    last axes by their lengths, ``normalized_shape``. For images "layer norm" may mean all of
    (C, H, W), which is `group_norm` with one group, or the channels of each pixel (ConvNeXt).

    The gradient has the formula of `batch_norm` along other axes.

    References
    ----------
    Ba, Kiros & Hinton (2016).

    Examples
    --------
    >>> layer_norm([1.0, 2.0, 3.0, 4.0]).round(3)
    array([-1.342, -0.447,  0.447,  1.342])
    """
    return _normalize_features(x, axis, eps, weight=weight, bias=bias)


@differentiable("x", "weight")
def rms_norm(
    x: Any, *, weight: Any = None, axis: int | Sequence[int] = -1, eps: float = 1e-5
) -> Result:
    """Divide each token by the root mean square of its features.

    Parameters
    ----------
    x : array of shape (..., D)
        Activations.
    weight : array of the lengths of x along `axis`, optional
        Gain of each feature; 1 if left out. There is no shift.
    axis : int or sequence of int
        The axes averaged over.
    eps : float
        Added to the mean square, inside the root; > 0.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    ValueError, TypeError
        If a parameter has another shape, or is out of range.

    Notes
    -----
    ``y = weight * x / sqrt(mean(x**2) + eps)``: `layer_norm` without centering. Equal to it where
    the mean is 0. PyTorch's default eps is the machine epsilon of x's dtype.

    The gradient is ``dx = rstd * (g - x_hat * mean(g * x_hat))``: one subtraction, for the scale.
    The one for the mean is gone with the centering.

    References
    ----------
    Zhang & Sennrich (2019).

    Examples
    --------
    >>> rms_norm([3.0, 4.0]).round(3)
    array([0.849, 1.131])
    """
    value, pullback = _normalize_features(x, axis, eps, center=False, weight=weight)
    return value, lambda cotangent: pullback(cotangent)[:2]


# Group and instance norm: over channels and space of one example ---------------------------------


def _normalize_groups(x: Array, num_groups: int, weight: Any, bias: Any, eps: float) -> Result:
    n, channels, dtype, shape = *x.shape[:2], x.dtype, x.shape
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]
    groups = one_of(integer(num_groups, "num_groups"), "num_groups", divisors)
    count = channels // groups * math.prod(shape[2:])
    integer(count, "number of values of x per group", low=1)
    wide = _wide(x.reshape(n * groups, count))  # (N, C, ...) -> (N · G, C/G · space)
    weight = _parameter(weight, "weight", (channels,), wide)
    bias = _parameter(bias, "bias", (channels,), wide)
    x_hat, pull_rows = _normalize_rows(wide, _eps(eps, x))
    value, pull_affine = _scale_channels(_channels(x_hat.reshape(shape)), weight, bias)

    def pullback(cotangent: Array) -> tuple[Array | None, ...]:
        g, dweight, dbias = pull_affine(_channels(cotangent))
        return pull_rows(g.reshape(n * groups, count))[0].reshape(shape), dweight, dbias

    return value.reshape(shape).astype(dtype, copy=False), pullback


@differentiable("x", "weight", "bias")
def group_norm(
    x: Any, num_groups: int, *, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Result:
    """Normalize each group of channels of each example.

    Parameters
    ----------
    x : array of shape (N, C, ...)
        Activations.
    num_groups : int
        Groups G of C/G neighboring channels; divides C.
    weight, bias : array of shape (C,), optional
        Gain and shift of each *channel*; 1 and 0 if left out.
    eps : float
        Added to the variance, inside the root; > 0.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    ValueError, TypeError
        If G does not divide C, or a parameter is out of range.

    Notes
    -----
    The formula of `batch_norm` with the mean over the C/G channels and the space of one example.
    One group is layer norm over (C, ...); C groups are instance norm.

    The gradient has the formula of `batch_norm` within each group.

    References
    ----------
    Wu & He (2018).

    Examples
    --------
    >>> group_norm([[1.0, 3.0, 10.0, 30.0]], 2).round(3)
    array([[-1.,  1., -1.,  1.]])
    """
    x = array(x, "x", ndim=(2, 3, 4), nonempty=False)
    return _normalize_groups(x, num_groups, weight, bias, eps)


@differentiable("x", "weight", "bias")
def instance_norm(x: Any, *, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Result:
    """Normalize each channel of each example over space.

    Parameters
    ----------
    x : array of shape (N, C, L) or (N, C, H, W)
        Activations.
    weight, bias : array of shape (C,), optional
        Gain and shift of each channel; 1 and 0 if left out, PyTorch's default.
    eps : float
        Added to the variance, inside the root; > 0.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    ValueError, TypeError
        If a channel of an example holds one value only, or a parameter is out of range.

    Notes
    -----
    `group_norm` with one channel a group. It removes the contrast of each single image, which is
    why it comes from style transfer.

    References
    ----------
    Ulyanov, Vedaldi & Lempitsky (2016).

    Examples
    --------
    >>> instance_norm([[[1.0, 3.0], [10.0, 30.0]]]).round(3)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """
    x = array(x, "x", ndim=(3, 4), nonempty=False)
    integer(math.prod(x.shape[2:]), "number of values of x per channel of an example", low=2)
    return _normalize_groups(x, x.shape[1], weight, bias, eps)
