"""Losses of regression: which number they ask the model to predict.

Each loss depends on the residual ``r = prediction - target``. The squared loss is smallest at the
conditional mean, the absolute one at the median, the quantile loss at a quantile; Huber's and
log-cosh are squares near 0 and absolute values far out, so that no example pulls harder than a
set amount. The gradient with respect to the prediction stands next to each; that with respect to
the target is its negative.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import array, real
from ._losses import _like, may_overflow, reduce_losses
from .differentiation import Pullback, differentiable

Array = NDArray[Any]

__all__ = [
    "huber_loss",
    "l1_loss",
    "log_cosh_loss",
    "mse_loss",
    "quantile_loss",
    "rmse",
]


def _residual(prediction: Any, target: Any) -> Array:
    # One shape for both: (N,) against (N, 1) would broadcast to N² residuals, silently.
    x = array(prediction, "prediction", nonempty=False)
    return np.asarray(x - _like(target, "target", x))


def _reduced(losses: Array, slope: Any, reduction: str) -> tuple[Array, Pullback]:
    """Reduce the losses; `slope()` is the derivative of each with respect to its residual."""
    value, spread = reduce_losses(losses, reduction)

    def pullback(cotangent: Array) -> tuple[Array, Array]:
        gradient = np.asarray(slope() * spread(cotangent))
        return gradient, -gradient

    return value, pullback


@differentiable("prediction", "target")
@may_overflow
def mse_loss(prediction: Any, target: Any, *, reduction: str = "mean") -> tuple[Array, Pullback]:
    """Squared error; its mean is smallest where the prediction is the conditional mean.

    Parameters
    ----------
    prediction : array, any shape
        Finite numbers.
    target : array of the shape of prediction
        In the same units. It takes the dtype of the prediction.
    reduction : {"mean", "sum", "none"}
        The mean is over all numbers; its unit is that of the target, squared.

    Returns
    -------
    array of shape (), or of the shape of prediction without reduction
        Differentiable with respect to both arguments.

    Raises
    ------
    ValueError, TypeError
        If the shapes differ (nothing is broadcast), the mean of no number is wanted, or the loss
        overflows: in float32 from residuals of 1.8e19 on.

    Notes
    -----
    ``r**2`` with gradient ``2 * r``, as in PyTorch. Textbooks often write ``r**2 / 2``, whose
    gradient has no 2: the same learning rate then makes half the step. It is convex in the
    prediction, and so in the weights of a linear model, but not in those of a network.

    Examples
    --------
    >>> mse_loss(np.array([1.0, -0.5, 0.0, -1.0]), np.zeros(4))
    array(0.5625)
    """
    r = _residual(prediction, target)
    return _reduced(r * r, lambda: 2 * r, reduction)


@differentiable("prediction", "target")
@may_overflow
def l1_loss(prediction: Any, target: Any, *, reduction: str = "mean") -> tuple[Array, Pullback]:
    """Absolute error; its mean is smallest where the prediction is the conditional median.

    Parameters
    ----------
    prediction, target, reduction
        As in `mse_loss`.

    Returns
    -------
    array of shape (), or of the shape of prediction without reduction
        In the units of the target.

    Raises
    ------
    ValueError, TypeError
        As in `mse_loss`.

    Notes
    -----
    ``abs(r)`` with gradient ``sign(r)``; at the kink r = 0 the gradient is 0, as in PyTorch. The
    gradient does not shrink near the minimum: steps have to.

    Examples
    --------
    >>> l1_loss(np.array([1.0, -0.5, 0.0, -1.0]), np.zeros(4))
    array(0.625)
    """
    r = _residual(prediction, target)
    return _reduced(np.abs(r), lambda: np.sign(r), reduction)


@differentiable("prediction", "target")
@may_overflow
def rmse(prediction: Any, target: Any) -> tuple[Array, Pullback]:
    """Root of the mean squared error: the squared loss in the units of the target.

    Parameters
    ----------
    prediction, target : arrays of one shape
        As in `mse_loss`, with at least one number.

    Returns
    -------
    array of shape ()

    Raises
    ------
    ValueError, TypeError
        As in `mse_loss`.

    Notes
    -----
    ``sqrt(mean(r**2))`` with gradient ``r / (n * rmse)``; where all residuals are 0, the tip of a
    cone, the gradient is 0. The minimizer is that of `mse_loss`. Average squared errors and take
    the root last: the mean of the RMSE of batches is smaller than the RMSE.

    Examples
    --------
    >>> rmse(np.array([1.0, -0.5, 0.0, -1.0]), np.zeros(4))
    array(0.75)
    """
    r = array(_residual(prediction, target), "prediction", finite=False)
    largest = float(np.abs(r).max())
    scale = largest if largest > 0 else 1.0
    unit = r / scale  # its squares neither overflow nor all underflow
    root = math.sqrt(float(np.mean(unit * unit)))

    def pullback(cotangent: Array) -> tuple[Array, Array]:
        gradient = np.asarray(unit * (cotangent / (r.size * root if root > 0 else 1.0)))
        return gradient, -gradient

    value = array(scale * root, "root of the mean square of prediction - target", ndim=0)
    return value.astype(r.dtype), pullback


@differentiable("prediction", "target")
@may_overflow
def huber_loss(
    prediction: Any, target: Any, *, delta: float = 1.0, reduction: str = "mean"
) -> tuple[Array, Pullback]:
    """Half the squared error up to delta, and a straight line beyond.

    Parameters
    ----------
    prediction, target, reduction
        As in `mse_loss`.
    delta : float, default 1
        Where the line begins, in the units of the target; > 0.

    Returns
    -------
    array of shape (), or of the shape of prediction without reduction

    Raises
    ------
    ValueError, TypeError
        As in `mse_loss`, or if delta is not > 0.

    Notes
    -----
    ``r**2 / 2`` where ``abs(r) <= delta``, else ``delta * (abs(r) - delta / 2)``; the gradient is
    r, clipped to ±delta. Note the half: for large delta this is half of `mse_loss`. PyTorch's
    ``smooth_l1_loss`` with ``beta = delta`` is this divided by delta.

    References
    ----------
    Huber (1964), Robust estimation of a location parameter.

    Examples
    --------
    >>> huber_loss(np.array([0.5, 3.0]), np.zeros(2), reduction="none")
    array([0.125, 2.5  ])
    """
    r = _residual(prediction, target)
    d = real(delta, "delta", low=0, closed="neither")
    clipped = np.clip(r, -d, d)
    return _reduced(clipped * (r - clipped / 2), lambda: clipped, reduction)


@differentiable("prediction", "target")
@may_overflow
def log_cosh_loss(
    prediction: Any, target: Any, *, reduction: str = "mean"
) -> tuple[Array, Pullback]:
    """Logarithm of the hyperbolic cosine: a Huber loss without a corner in its slope.

    Parameters
    ----------
    prediction, target, reduction
        As in `mse_loss`. The unit matters: the bend is at residuals of about 1.

    Returns
    -------
    array of shape (), or of the shape of prediction without reduction

    Raises
    ------
    ValueError, TypeError
        As in `mse_loss`.

    Notes
    -----
    ``log(cosh(r))``, about ``r**2 / 2`` near 0 and ``abs(r) - log(2)`` far out; the gradient is
    ``tanh(r)``. Computed as ``abs(r) + log1p(exp(-2 * abs(r))) - log(2)``, since cosh overflows
    at 711, and below 1 as ``log1p(2 * sinh(r / 2)**2)``, which keeps its digits near 0.

    Examples
    --------
    >>> log_cosh_loss(np.array([1e-3, 1000.0]), np.zeros(2), reduction="none").round(10)
    array([5.00000000e-07, 9.99306853e+02])
    """
    r = _residual(prediction, target)
    size = np.abs(r)
    near = np.sinh(np.minimum(size, 1) / 2)
    far = size + np.log1p(np.exp(-2 * size)) - math.log(2)
    losses = np.where(size < 1, np.log1p(2 * near * near), far)
    return _reduced(losses, lambda: np.tanh(r), reduction)


@differentiable("prediction", "target")
@may_overflow
def quantile_loss(
    prediction: Any, target: Any, *, quantile: float, reduction: str = "mean"
) -> tuple[Array, Pullback]:
    """Quantile (pinball) loss; its mean is smallest at a quantile of the target.

    Parameters
    ----------
    prediction, target, reduction
        As in `mse_loss`.
    quantile : float
        The share of targets that shall lie below the prediction, in (0, 1).

    Returns
    -------
    array of shape (), or of the shape of prediction without reduction

    Raises
    ------
    ValueError, TypeError
        As in `mse_loss`, or if `quantile` is not in (0, 1).

    Notes
    -----
    ``quantile * -r`` where the prediction is too low, r < 0, and ``(1 - quantile) * r`` where it is
    too high. The gradient is ``-quantile`` and ``1 - quantile``; at the kink r = 0 it is 0. With
    0.5 it is half of `l1_loss`.

    References
    ----------
    Koenker, Bassett (1978), Regression quantiles.

    Examples
    --------
    >>> quantile_loss(np.array([0.0, 2.0]), np.ones(2), quantile=0.9, reduction="none")
    array([0.9, 0.1])
    """
    r = _residual(prediction, target)
    q = real(quantile, "quantile", low=0, high=1, closed="neither")
    losses = np.maximum((1 - q) * r, -q * r)

    def slope() -> Array:
        return np.where(r > 0, 1 - q, np.where(r < 0, -q, 0)).astype(r.dtype)

    return _reduced(losses, slope, reduction)
