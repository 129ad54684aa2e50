"""Normalization layers: one formula, different cells averaged.

Every layer here computes ``x_hat = (x - mean) / sqrt(var + eps)`` and ``y = weight * x_hat +
bias``. They differ only in the cells that share one mean and one variance: batch norm averages
over the examples, layer norm over the features of one token, group and instance norm over
channels and space of one example; RMS norm leaves out the mean.

Batch, group and instance norm take channels first, (N, C, ...); layer and RMS norm take
features last, (..., D). Both as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import array, integer, one_of, real, same_shape

__all__ = [
    "RunningStats",
    "batch_norm",
    "batch_norm_init",
    "batch_norm_update",
    "batch_norm_vjp",
    "group_norm",
    "group_norm_vjp",
    "instance_norm",
    "instance_norm_vjp",
    "layer_norm",
    "layer_norm_vjp",
    "rms_norm",
    "rms_norm_vjp",
]

Array = NDArray[Any]
Axes = tuple[int, ...]


def _standardize(
    x: Array,
    axes: Axes,
    eps: float,
    *,
    center: bool = True,
) -> tuple[Array, Array]:
    """Return x_hat and 1 / sqrt(var + eps), one mean and variance along `axes`."""
    if center:
        x = x - x.mean(axis=axes, keepdims=True)
    # The biased variance: divided by the number of cells.
    var = np.mean(np.square(x), axis=axes, keepdims=True)
    rstd = 1 / np.sqrt(var + eps)
    return x * rstd, rstd


def _standardize_vjp(
    dx_hat: Array,
    x_hat: Array,
    rstd: Array,
    axes: Axes,
    *,
    center: bool = True,
) -> Array:
    """Pull a cotangent of x_hat back to x.

    Moving all cells together, or stretching them about their mean, leaves x_hat
    as it is, so the gradient loses its part along both directions.
    """
    dx: Array = dx_hat - x_hat * np.mean(dx_hat * x_hat, axis=axes, keepdims=True)
    if center:
        dx = dx - dx_hat.mean(axis=axes, keepdims=True)
    return dx * rstd


def _affine(x_hat: Array, weight: Any, bias: Any, own: Axes) -> Array:
    """Return weight * x_hat + bias; both have a value for each index along the axes `own`."""
    lengths = tuple(x_hat.shape[a] for a in own)
    spread = tuple(s if a in own else 1 for a, s in enumerate(x_hat.shape))  # (C,) -> (1, C, 1)
    if weight is not None:
        checked = array(weight, "weight", shape=lengths).astype(x_hat.dtype, copy=False)
        x_hat = x_hat * checked.reshape(spread)
    if bias is not None:
        checked = array(bias, "bias", shape=lengths).astype(x_hat.dtype, copy=False)
        x_hat = x_hat + checked.reshape(spread)
    return x_hat


def _affine_vjp(
    cotangent: Array, x_hat: Array, weight: Any, own: Axes
) -> tuple[Array, Array, Array]:
    """Cotangents of x_hat, weight and bias."""
    shared = tuple(a for a in range(cotangent.ndim) if a not in own)
    dweight = (cotangent * x_hat).sum(axis=shared)
    return _affine(cotangent, weight, None, own), dweight, cotangent.sum(axis=shared)


def _cotangent(cotangent: Any, x: Array) -> Array:
    checked = array(cotangent, "cotangent").astype(x.dtype, copy=False)
    same_shape(x, checked, ("x", "cotangent"))
    return checked


def _eps(eps: float, x: Array) -> float:
    # 0 would turn a constant channel into NaN, and so would an eps that x's dtype rounds to 0.
    return real(eps, "eps", low=float(np.finfo(x.dtype).smallest_subnormal))


# Batch norm ------------------------------------------------------------------------------


class RunningStats(NamedTuple):
    """Running mean and running unbiased variance of each channel, both of shape (C,)."""

    mean: Array
    var: Array


def _batch_axes(x: Any, *, several: bool) -> tuple[Array, Axes]:
    x = array(x, "x", ndim=(2, 3, 4))
    axes = (0, *range(2, x.ndim))
    if several:  # one value has no spread: x_hat would be 0 whatever it is
        integer(x.size // x.shape[1], "number of values of x per channel in training mode", low=2)
    return x, axes


def _running(running: RunningStats, x: Array) -> tuple[Array, Array]:
    """Check running statistics; they take the dtype of x."""
    one_of(type(running).__name__, "type of running", ("RunningStats",))
    own = (x.shape[1],)
    mean = array(running.mean, "running.mean", shape=own).astype(x.dtype, copy=False)
    var = array(running.var, "running.var", shape=own).astype(x.dtype, copy=False)
    real(float(var.min()), "smallest of running.var", low=0)
    return mean, var


def _frozen(x: Array, running: RunningStats, eps: float) -> tuple[Array, Array]:
    """Standardize with stored statistics: x_hat and 1 / sqrt(var + eps)."""
    mean, var = _running(running, x)
    spread = (1, -1) + (1,) * (x.ndim - 2)  # (C,) -> (1, C, 1, 1)
    rstd = 1 / np.sqrt(var.reshape(spread) + eps)
    return (x - mean.reshape(spread)) * rstd, rstd


def batch_norm(
    x: Any,
    *,
    weight: Any = None,
    bias: Any = None,
    running: RunningStats | None = None,
    eps: float = 1e-5,
) -> Array:
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
    x, axes = _batch_axes(x, several=running is None)
    eps = _eps(eps, x)
    x_hat, _ = _standardize(x, axes, eps) if running is None else _frozen(x, running, eps)
    return _affine(x_hat, weight, bias, (1,))


def batch_norm_vjp(
    cotangent: Any,
    x: Any,
    *,
    weight: Any = None,
    running: RunningStats | None = None,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Pull a cotangent of `batch_norm` back to x, weight and bias.

    `cotangent` is the gradient of the loss with respect to the output; the rest is as in
    `batch_norm`.

    Returns
    -------
    dx, dweight, dbias : arrays of the shape of x, (C,) and (C,)

    Notes
    -----
    In training mode ``dx = rstd * (g - mean(g) - x_hat * mean(g * x_hat))`` with
    ``g = weight * cotangent`` and ``rstd = 1 / sqrt(var + eps)``: every example's gradient
    contains its neighbors'. In evaluation mode ``dx = rstd * g``.

    Examples
    --------
    >>> dx, _, _ = batch_norm_vjp([[1.0], [0.0]], [[0.0], [2.0]])
    >>> bool(abs(dx).max() < 1e-5)  # with two examples the output is ±1 whatever x is
    True
    """
    x, axes = _batch_axes(x, several=running is None)
    cotangent, eps = _cotangent(cotangent, x), _eps(eps, x)
    x_hat, rstd = _standardize(x, axes, eps) if running is None else _frozen(x, running, eps)
    dx_hat, dweight, dbias = _affine_vjp(cotangent, x_hat, weight, (1,))
    if running is not None:
        return dx_hat * rstd, dweight, dbias
    return _standardize_vjp(dx_hat, x_hat, rstd, axes), dweight, dbias


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
    x, axes = _batch_axes(x, several=True)
    momentum = real(momentum, "momentum", low=0, high=1)
    mean, var = _running(running, x)
    return RunningStats(
        (1 - momentum) * mean + momentum * x.mean(axis=axes),
        (1 - momentum) * var + momentum * x.var(axis=axes, ddof=1),
    )


# Layer and RMS norm: over the features of one token ----------------------------------------


def _feature_axes(x: Any, axis: int | Sequence[int]) -> tuple[Array, Axes]:
    x = array(x, "x")
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    integer(len(given), "number of axes in axis", low=1)
    checked: list[int] = []
    for a in given:
        place = integer(a, "axis", low=-x.ndim, high=x.ndim - 1) % x.ndim
        others = [other for other in range(x.ndim) if other not in checked]
        checked.append(one_of(place, "axis, each axis once,", others))
    return x, tuple(sorted(checked))


def layer_norm(
    x: Any,
    *,
    weight: Any = None,
    bias: Any = None,
    axis: int | Sequence[int] = -1,
    eps: float = 1e-5,
) -> Array:
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

    References
    ----------
    Ba, Kiros & Hinton (2016).

    Examples
    --------
    >>> layer_norm([1.0, 2.0, 3.0, 4.0]).round(3)
    array([-1.342, -0.447,  0.447,  1.342])
    """
    x, axes = _feature_axes(x, axis)
    x_hat, _ = _standardize(x, axes, _eps(eps, x))
    return _affine(x_hat, weight, bias, axes)


def layer_norm_vjp(
    cotangent: Any,
    x: Any,
    *,
    weight: Any = None,
    axis: int | Sequence[int] = -1,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Pull a cotangent of `layer_norm` back to x, weight and bias.

    `cotangent` is the gradient of the loss with respect to the output; the rest is as in
    `layer_norm`.

    Returns
    -------
    dx, dweight, dbias : arrays of the shape of x and twice of the lengths along `axis`

    Notes
    -----
    ``dx = rstd * (g - mean(g) - x_hat * mean(g * x_hat))`` with ``g = weight * cotangent``: the
    formula of `batch_norm_vjp` along other axes.

    Examples
    --------
    >>> dx, _, _ = layer_norm_vjp([1.0, 0.0, 0.0], [1.0, 2.0, 4.0])
    >>> bool(abs(dx.sum()) < 1e-12)  # no gradient along (1, 1, 1)
    True
    """
    x, axes = _feature_axes(x, axis)
    cotangent = _cotangent(cotangent, x)
    x_hat, rstd = _standardize(x, axes, _eps(eps, x))
    dx_hat, dweight, dbias = _affine_vjp(cotangent, x_hat, weight, axes)
    return _standardize_vjp(dx_hat, x_hat, rstd, axes), dweight, dbias


def rms_norm(
    x: Any, *, weight: Any = None, axis: int | Sequence[int] = -1, eps: float = 1e-5
) -> Array:
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

    References
    ----------
    Zhang & Sennrich (2019).

    Examples
    --------
    >>> rms_norm([3.0, 4.0]).round(3)
    array([0.849, 1.131])
    """
    x, axes = _feature_axes(x, axis)
    x_hat, _ = _standardize(x, axes, _eps(eps, x), center=False)
    return _affine(x_hat, weight, None, axes)


def rms_norm_vjp(
    cotangent: Any,
    x: Any,
    *,
    weight: Any = None,
    axis: int | Sequence[int] = -1,
    eps: float = 1e-5,
) -> tuple[Array, Array]:
    """Pull a cotangent of `rms_norm` back to x and weight.

    `cotangent` is the gradient of the loss with respect to the output; the rest is as in
    `rms_norm`.

    Returns
    -------
    dx, dweight : arrays of the shape of x and of the lengths along `axis`

    Notes
    -----
    ``dx = rstd * (g - x_hat * mean(g * x_hat))``: one subtraction, for the scale. The one for the
    mean is gone with the centering.

    Examples
    --------
    >>> dx, _ = rms_norm_vjp([1.0, 0.0], [3.0, 4.0])
    >>> bool(abs(dx @ [3.0, 4.0]) < 1e-5)  # no gradient along x itself, up to eps
    True
    """
    x, axes = _feature_axes(x, axis)
    cotangent = _cotangent(cotangent, x)
    x_hat, rstd = _standardize(x, axes, _eps(eps, x), center=False)
    dx_hat, dweight, _ = _affine_vjp(cotangent, x_hat, weight, axes)
    return _standardize_vjp(dx_hat, x_hat, rstd, axes, center=False), dweight


# Group and instance norm: over channels and space of one example ---------------------------


def _grouped(x: Array, num_groups: int) -> Array:
    channels = x.shape[1]
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]
    groups = one_of(integer(num_groups, "num_groups"), "num_groups", divisors)
    return x.reshape(x.shape[0], groups, -1)  # (N, C, ...) -> (N, G, C/G · space)


def _group_norm(x: Array, num_groups: int, weight: Any, bias: Any, eps: float) -> Array:
    x_hat, _ = _standardize(_grouped(x, num_groups), (2,), _eps(eps, x))
    return _affine(x_hat.reshape(x.shape), weight, bias, (1,))


def _group_norm_vjp(
    cotangent: Any, x: Array, num_groups: int, weight: Any, eps: float
) -> tuple[Array, Array, Array]:
    cotangent = _cotangent(cotangent, x)
    x_hat, rstd = _standardize(_grouped(x, num_groups), (2,), _eps(eps, x))
    dx_hat, dweight, dbias = _affine_vjp(cotangent, x_hat.reshape(x.shape), weight, (1,))
    dx = _standardize_vjp(dx_hat.reshape(x_hat.shape), x_hat, rstd, (2,))
    return dx.reshape(x.shape), dweight, dbias


def group_norm(
    x: Any, num_groups: int, *, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Array:
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

    References
    ----------
    Wu & He (2018).

    Examples
    --------
    >>> group_norm([[1.0, 3.0, 10.0, 30.0]], 2).round(3)
    array([[-1.,  1., -1.,  1.]])
    """
    return _group_norm(array(x, "x", ndim=(2, 3, 4)), num_groups, weight, bias, eps)


def group_norm_vjp(
    cotangent: Any, x: Any, *, num_groups: int, weight: Any = None, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Pull a cotangent of `group_norm` back to x, weight and bias.

    `cotangent` is the gradient of the loss with respect to the output; the rest is as in
    `group_norm`.

    Returns
    -------
    dx, dweight, dbias : arrays of the shape of x, (C,) and (C,)

    Notes
    -----
    The formula of `batch_norm_vjp` within each group.

    Examples
    --------
    >>> dx, _, _ = group_norm_vjp([[1.0, 0.0]], [[1.0, 3.0]], num_groups=1)
    >>> bool(abs(dx).max() < 1e-5)  # two values: the output is ±1 whatever x is
    True
    """
    return _group_norm_vjp(cotangent, array(x, "x", ndim=(2, 3, 4)), num_groups, weight, eps)


def _spatial(x: Any) -> Array:
    checked = array(x, "x", ndim=(3, 4))
    count = checked.size // (checked.shape[0] * checked.shape[1])
    integer(count, "number of values of x per channel of an example", low=2)
    return checked


def instance_norm(x: Any, *, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
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
    x = _spatial(x)
    return _group_norm(x, x.shape[1], weight, bias, eps)


def instance_norm_vjp(
    cotangent: Any, x: Any, *, weight: Any = None, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Pull a cotangent of `instance_norm` back to x, weight and bias.

    `cotangent` is the gradient of the loss with respect to the output; the rest is as in
    `instance_norm`.

    Returns
    -------
    dx, dweight, dbias : arrays of the shape of x, (C,) and (C,)

    Examples
    --------
    >>> dx, _, _ = instance_norm_vjp([[[1.0, 0.0, 0.0]]], [[[1.0, 2.0, 4.0]]])
    >>> bool(abs(dx.sum()) < 1e-12)
    True
    """
    x = _spatial(x)
    return _group_norm_vjp(cotangent, x, x.shape[1], weight, eps)
