"""Losses of classification: cross-entropy, its binary form, entropy and divergence.

All are in nats, and the classes are on the last axis. A model's output is a row of *logits* z;
its probabilities are ``p = exp(z) / sum(exp(z))``. Cross-entropy takes the logits and never forms
p for its value: ``-log p[y] = log(sum(exp(z))) - z[y]``, computed from ``z - max(z)``, is exact
where p underflows. Its gradient with respect to the logits is p minus the target: between -1 and 1,
however wrong the answer is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import array, integer, real, same_shape
from ._losses import (
    Targets,
    _like,
    as_array,
    check_broadcasts,
    check_distributions,
    check_range,
    class_indices,
    may_overflow,
    reduce_losses,
    softmax_losses,
)
from .differentiation import Pullback, differentiable, unbroadcast

Array = NDArray[Any]

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "entropy",
    "kl_divergence",
    "nll_loss",
    "perplexity",
]


def _scores(value: Any, name: str) -> Array:
    """Check an array whose last axis holds the classes."""
    z = array(value, name, nonempty=False)
    integer(z.shape[-1] if z.ndim else 0, f"number of classes on the last axis of {name}", low=1)
    return z


def _class_weight(weight: Any, z: Array) -> Array | None:
    if weight is None:
        return None
    w = array(weight, "weight", shape=(z.shape[-1],)).astype(z.dtype, copy=False)
    check_range(w, "weight", 0)
    return w


def _index_targets(
    z: Array, targets: Any, weight: Array | None, smoothing: float, ignore_index: Any
) -> tuple[Targets, float]:
    """Targets of class indices, and what a mean divides by: the weight of all targets."""
    ignore = integer(ignore_index, "ignore_index")
    classes = z.shape[-1]
    index, kept = class_indices(
        targets, "targets", shape=z.shape[:-1], classes=classes, ignore_index=ignore
    )
    index = index.reshape(-1)  # (...) -> (n,)
    keep = np.ones(index.shape, z.dtype) if kept is None else kept.reshape(-1).astype(z.dtype)
    own = keep if weight is None else keep * weight[index]
    total = float(own.sum(dtype=np.float64))
    if smoothing == 0:
        return Targets(own, labels=index, hot=own), total
    share = np.full(classes, smoothing / classes, z.dtype)
    if weight is not None:
        share *= weight
    hot = (1 - smoothing) * own
    mass = hot + keep * float(share.sum())
    return Targets(mass, labels=index, hot=hot, even=keep, spread=share), total


def _soft_targets(z: Array, targets: Any, weight: Array | None, smoothing: float) -> Targets:
    """Targets of class probabilities."""
    q = _like(targets, "targets", z)
    check_distributions(q, "targets")
    q = q.reshape(-1, z.shape[-1])  # (..., C) -> (n, C)
    if smoothing:
        q = (1 - smoothing) * q + smoothing / z.shape[-1]
    if weight is not None:
        q = q * weight
    return Targets(q.sum(axis=1), dense=q)


@differentiable("logits")
@may_overflow
def cross_entropy(
    logits: Any,
    targets: Any,
    *,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> tuple[Array, Pullback]:
    """Cross-entropy between targets and the softmax of logits, in nats.

    Parameters
    ----------
    logits : array of shape (..., C)
        Any finite numbers, *not* probabilities; C >= 1 classes on the last axis.
    targets : integer array of shape (...), or float array of shape (..., C)
        The class of each example; or a distribution over the classes, >= 0 with sum 1.
    weight : array of shape (C,), optional
        Weight of each class, >= 0.
    label_smoothing : float, default 0
        The share ε in [0, 1] of each target that is spread evenly over all C classes.
    ignore_index : int, default -100
        Targets of this class have loss 0 and do not count in the mean.
    reduction : {"mean", "sum", "none"}
        With "none" the losses keep the shape (...).

    Returns
    -------
    array of shape (), or (...) without reduction
        Differentiable with respect to the logits.

    Raises
    ------
    ValueError, TypeError
        If a target is no class or no distribution, a parameter is out of range, a mean is wanted
        of no target at all, or the loss overflows.

    Notes
    -----
    ``loss = sum_c weight[c] * q[c] * (log(sum(exp(logits))) - logits[c])`` with
    ``q = (1 - label_smoothing) * onehot(target) + label_smoothing / C``.
    Without weights the gradient of an example is ``softmax(logits) - q``, which sums to 0.

    As in PyTorch, the mean of weighted class indices divides by the sum of the weights of the
    targets that are not ignored; the mean over distributions divides by the number of examples.
    Unlike PyTorch, the classes are on the last axis, not on axis 1, and a mean of nothing is
    refused where PyTorch gives NaN.

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna (2016), Rethinking the Inception architecture for
    computer vision: label smoothing.

    Examples
    --------
    >>> logits = np.log([[0.7, 0.2, 0.1]])
    >>> cross_entropy(logits, np.array([0])).round(4)
    np.float64(0.3567)
    >>> cross_entropy(logits, np.array([0]), label_smoothing=0.1).round(4)
    np.float64(0.4633)
    """
    z = _scores(logits, "logits")
    w = _class_weight(weight, z)
    smoothing = real(label_smoothing, "label_smoothing", low=0, high=1)
    total: float | None = None
    if as_array(targets).dtype.kind == "f":
        q = _soft_targets(z, targets, w, smoothing)
    else:
        q, total = _index_targets(z, targets, w, smoothing, ignore_index)
    rows, pull_rows = softmax_losses(z.reshape(-1, z.shape[-1]), q)  # (..., C) -> (n, C)
    losses = rows.reshape(z.shape[:-1])  # (n,) -> (...)
    value, spread = reduce_losses(losses, reduction, total_weight=total)

    def pullback(cotangent: Array) -> tuple[Array]:
        scale = np.broadcast_to(spread(cotangent), losses.shape)
        return (pull_rows(scale.reshape(-1)).reshape(z.shape),)  # (n, C) -> (..., C)

    return value, pullback


@differentiable("log_probs")
@may_overflow
def nll_loss(
    log_probs: Any,
    targets: Any,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> tuple[Array, Pullback]:
    """Negative log-likelihood of classes under given log-probabilities, in nats.

    Parameters
    ----------
    log_probs : array of shape (..., C)
        Logarithms of probabilities: finite, classes on the last axis.
    targets : integer array of shape (...)
        The class of each example.
    weight, ignore_index, reduction
        As in `cross_entropy`.

    Returns
    -------
    array of shape (), or (...) without reduction
        Differentiable with respect to the log-probabilities.

    Raises
    ------
    ValueError, TypeError
        As in `cross_entropy`.

    Notes
    -----
    ``loss = -weight[target] * log_probs[target]``. With ``log_softmax(logits)`` this is
    `cross_entropy`. That the numbers are log-probabilities is not checked, as in PyTorch.

    Examples
    --------
    >>> nll_loss(np.log([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]), np.array([0, 1])).round(4)
    np.float64(0.2899)
    """
    x = _scores(log_probs, "log_probs")
    q, total = _index_targets(x, targets, _class_weight(weight, x), 0.0, ignore_index)
    flat = x.reshape(-1, x.shape[-1])  # (..., C) -> (n, C)
    losses = -q.dot(flat, slice(0, len(flat))).reshape(x.shape[:-1])  # (n,) -> (...)
    value, spread = reduce_losses(losses, reduction, total_weight=total)

    def pullback(cotangent: Array) -> tuple[Array]:
        scale = np.broadcast_to(spread(cotangent), losses.shape).reshape(-1)  # (...) -> (n,)
        gradient = np.zeros_like(flat)
        q.subtract(gradient, slice(0, len(flat)), scale)
        return (gradient.reshape(x.shape),)  # (n, C) -> (..., C)

    return value, pullback


@differentiable("logits")
@may_overflow
def binary_cross_entropy_with_logits(
    logits: Any, targets: Any, *, pos_weight: Any = None, reduction: str = "mean"
) -> tuple[Array, Pullback]:
    """Cross-entropy of independent yes-or-no answers, in nats.

    Parameters
    ----------
    logits : array, any shape
        Finite numbers z; the probability of yes is sigmoid(z).
    targets : array of the shape of logits
        0, 1, or a probability between.
    pos_weight : float or array that broadcasts to the shape of logits, optional
        Weight of yes, >= 0; more than 1 trades precision for recall.
    reduction : {"mean", "sum", "none"}
        The mean is over all numbers, labels as well as examples.

    Returns
    -------
    array of shape (), or of the shape of logits without reduction
        Differentiable with respect to the logits.

    Raises
    ------
    ValueError, TypeError
        If a parameter has another shape or is out of range, or the loss overflows.

    Notes
    -----
    ``loss = pos_weight * y * softplus(-z) + (1 - y) * softplus(z)`` where ``softplus(z) =
    log(1 + exp(z))``, computed as ``max(z, 0) + log1p(exp(-abs(z)))``. The gradient is
    ``(1 - y) * sigmoid(z) - pos_weight * y * sigmoid(-z)``, without weight ``sigmoid(z) - y``.
    PyTorch's function of *probabilities*, ``binary_cross_entropy``, clamps logarithms at -100;
    from logits nothing needs a clamp.

    Examples
    --------
    >>> binary_cross_entropy_with_logits(np.array([0.0, -1000.0]), np.array([1.0, 0.0])).round(4)
    np.float64(0.3466)
    """
    z = array(logits, "logits", nonempty=False)
    y = _like(targets, "targets", z)
    check_range(y, "targets", 0, 1)
    yes = y
    if pos_weight is not None:
        w = array(pos_weight, "pos_weight").astype(z.dtype, copy=False)
        check_range(w, "pos_weight", 0)
        check_broadcasts(w, "pos_weight", z, "logits")
        yes = y * w
    small = np.exp(-np.abs(z))
    # softplus(z) and softplus(-z) differ by z alone
    losses = (yes + (1 - y)) * np.log1p(small)
    losses += yes * np.maximum(-z, 0)
    losses += (1 - y) * np.maximum(z, 0)
    value, spread = reduce_losses(losses, reduction)

    def pullback(cotangent: Array) -> tuple[Array]:
        near, far = small / (1 + small), 1 / (1 + small)  # sigmoid(-abs(z)), sigmoid(abs(z))
        positive = z >= 0
        gradient = (1 - y) * np.where(positive, far, near)
        gradient -= yes * np.where(positive, near, far)
        gradient *= spread(cotangent)
        return (gradient,)

    return value, pullback


def _distributions(value: Any, name: str) -> Array:
    p = _scores(value, name)
    check_distributions(p, name)
    return p


@differentiable("p")
def entropy(p: Any) -> tuple[Array, Pullback]:
    """Entropy of distributions, in nats: the smallest cross-entropy that any model can reach.

    Parameters
    ----------
    p : array of shape (..., C)
        Probabilities, >= 0 with sum 1 along the last axis.

    Returns
    -------
    array of shape (...)
        Between 0 and log(C). Differentiable with respect to p.

    Raises
    ------
    ValueError, TypeError
        If p does not hold distributions.

    Notes
    -----
    ``-sum_c p[c] * log(p[c])``; a class with p = 0 adds nothing. Its slope there is infinite; the
    gradient gives 0, as if the class did not exist. Divide by log(2) for bits.

    Examples
    --------
    >>> entropy(np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])).round(4)
    array([0.8018, 0.    ])
    """
    p = _distributions(p, "p")
    log_p = np.log(p, out=np.zeros_like(p), where=p > 0)
    value = np.asarray(0 - np.einsum("...c,...c->...", p, log_p))

    def pullback(cotangent: Array) -> tuple[Array]:
        return (np.where(p > 0, -(log_p + 1), 0) * cotangent[..., None],)

    return value, pullback


@differentiable("p", "q")
def kl_divergence(p: Any, q: Any) -> tuple[Array, Pullback]:
    """Kullback-Leibler divergence KL(p‖q) of q from p, in nats.

    Parameters
    ----------
    p : array of shape (..., C)
        The distribution that the examples are drawn from, >= 0 with sum 1 along the last axis.
    q : array that broadcasts with p
        The distribution that they are compared with.

    Returns
    -------
    array of shape (...)
        >= 0 up to rounding; 0 only where p = q; infinite where q is 0 and p is not.
        Differentiable with respect to both.

    Raises
    ------
    ValueError, TypeError
        If p or q does not hold distributions, or their shapes do not fit.

    Notes
    -----
    ``sum_c p[c] * log(p[c] / q[c])``, which is the cross-entropy of p and q minus the entropy of
    p. It is no distance: KL(p‖q) is not KL(q‖p). PyTorch's ``kl_div(input, target)`` is
    KL(target‖exp(input)): its first argument is log q. A class with p = 0 adds nothing and gets
    no gradient.

    References
    ----------
    Kullback, Leibler (1951), On information and sufficiency.

    Examples
    --------
    >>> kl_divergence(np.array([0.9, 0.1]), np.array([0.5, 0.5])).round(3)
    np.float64(0.368)
    >>> kl_divergence(np.array([0.5, 0.5]), np.array([0.9, 0.1])).round(3)
    np.float64(0.511)
    """
    p = _distributions(p, "p")
    q = _distributions(q, "q").astype(p.dtype, copy=False)
    shapes = p.shape, q.shape
    try:
        p, q = np.broadcast_arrays(p, q)
    except ValueError:
        same_shape(p, q, ("p", "q"))
    some = p > 0
    with np.errstate(divide="ignore"):  # -p log 0 is infinite, and says so
        log_q = np.log(q, out=np.zeros_like(q), where=some)
    log_ratio = np.log(p, out=np.zeros_like(p), where=some) - log_q
    value = np.asarray(np.einsum("...c,...c->...", p, log_ratio))

    def pullback(cotangent: Array) -> tuple[Array, Array]:
        c = cotangent[..., None]
        with np.errstate(divide="ignore"):
            ratio = np.divide(p, q, out=np.zeros_like(p), where=some)
        dp = np.where(some, log_ratio + 1, 0) * c
        return unbroadcast(dp, shapes[0]), unbroadcast(-ratio * c, shapes[1])

    return value, pullback


def perplexity(loss: Any) -> Array:
    """Perplexity of a mean cross-entropy: the number of equally likely choices as hard as this.

    Parameters
    ----------
    loss : array, any shape
        Cross-entropy in nats, averaged over all tokens; >= 0.

    Returns
    -------
    array of the shape of loss
        >= 1.

    Raises
    ------
    ValueError, TypeError
        If the loss is negative, or so large that its exponential overflows.

    Notes
    -----
    ``exp(loss)``; a loss in bits needs ``2**loss``. Average losses, then take the exponential: the
    mean of perplexities is larger. Guessing among K tokens has perplexity K.

    Examples
    --------
    >>> perplexity(np.log(50257.0)).round(6)
    np.float64(50257.0)
    """
    x = array(loss, "loss")
    check_range(x, "loss", 0, math.log(float(np.finfo(x.dtype).max)))
    return np.asarray(np.exp(x))
