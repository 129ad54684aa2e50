"""Softmax, its logarithm, and the logarithm of a sum of exponentials.

All three subtract the largest logit of a row first. That changes neither softmax nor log-softmax,
and after it no exponential can overflow, however large the logits are.

A logit of -infinity is allowed, for what is masked: its probability is 0, its log-probability
-infinity. A row must hold at least one finite logit; a row with none is no distribution and is
refused by name. Inside a differentiated computation such a row becomes NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks
from .differentiation import Pullback, differentiable

Array = NDArray[Any]
Result = tuple[Array, Pullback]

__all__ = ["log_softmax", "logsumexp", "softmax"]


def _logits(x: Any, axis: int) -> tuple[Array, int, Array]:
    """Check the logits; return them, the axis and the largest of each row."""
    x = _checks.array(x, "x", nonempty=False, finite=False)
    _checks.integer(x.ndim, "number of dimensions of x", low=1)
    axis = _checks.integer(axis, "axis", low=-x.ndim, high=x.ndim - 1)
    _checks.integer(x.shape[axis], "number of logits of x along axis", low=1)
    largest = x.max(axis=axis, keepdims=True)
    # +infinity and NaN would be the largest as well.
    _checks.array(largest, "the largest value of each row of x", nonempty=False)
    return x, axis, largest


def _exponentials(x: Array, largest: Array, axis: int) -> tuple[Array, Array]:
    """Return exp(x - largest) and its sum."""
    with np.errstate(under="ignore", invalid="ignore"):
        e = x - largest
        np.exp(e, out=e)
    return e, e.sum(axis=axis, keepdims=True)


@differentiable("x")
def softmax(x: Any, *, axis: int = -1) -> Result:
    """Make probabilities of logits: positive numbers that sum to 1.

    Parameters
    ----------
    x : array of shape (..., K)
        Logits; -infinity is allowed and gives the probability 0.
    axis : int
        The axis that sums to 1.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is no floating-point array, has no such axis, or a row holds NaN, +infinity or nothing
        but -infinity.

    Notes
    -----
    s = exp(x) / sum(exp(x)). The gradient is ``s * (c - sum(s * c))`` with the cotangent c: adding
    the same number to all logits changes nothing, so the gradient sums to 0.

    Examples
    --------
    >>> softmax(np.array([1e4, 1e4, -np.inf]))
    array([0.5, 0.5, 0. ])
    """
    x, axis, largest = _logits(x, axis)
    value, total = _exponentials(x, largest, axis)
    value /= total

    def pullback(cotangent: Array) -> tuple[Array]:
        gradient = cotangent * value
        inner = gradient.sum(axis=axis, keepdims=True)
        gradient -= value * inner
        return (gradient,)

    return value, pullback


@differentiable("x")
def log_softmax(x: Any, *, axis: int = -1) -> Result:
    """Take the logarithm of `softmax`, exact where softmax itself underflows to 0.

    Parameters
    ----------
    x : array of shape (..., K)
        Logits; -infinity is allowed and stays.
    axis : int
        The axis along which the probabilities sum to 1.

    Returns
    -------
    array of the shape of x
        Numbers <= 0, in nats.

    Raises
    ------
    TypeError, ValueError
        As `softmax`.

    Notes
    -----
    x - logsumexp(x). The gradient is ``c - softmax(x) * sum(c)`` with the cotangent c.

    Examples
    --------
    >>> log_softmax(np.array([0.0, -1e4]))
    array([     0., -10000.])
    """
    x, axis, largest = _logits(x, axis)
    e, total = _exponentials(x, largest, axis)
    value = np.subtract(x, largest + np.log(total), out=e)

    def pullback(cotangent: Array) -> tuple[Array]:
        with np.errstate(under="ignore"):
            gradient = np.exp(value)
        gradient *= cotangent.sum(axis=axis, keepdims=True)
        return (np.subtract(cotangent, gradient, out=gradient),)

    return value, pullback


@differentiable("x")
def logsumexp(x: Any, *, axis: int = -1, keepdims: bool = False) -> Result:
    """Take the logarithm of the sum of exponentials: a smooth maximum.

    Parameters
    ----------
    x : array of shape (..., K)
        Logits; -infinity is allowed and adds nothing.
    axis : int
        The axis summed over.
    keepdims : bool
        Whether this axis stays, with length 1.

    Returns
    -------
    array of the shape of x without `axis`
        Between the largest logit and that plus log K.

    Raises
    ------
    TypeError, ValueError
        As `softmax`.

    Notes
    -----
    max(x) + log(sum(exp(x - max(x)))). The gradient is the softmax.

    Examples
    --------
    >>> logsumexp(np.array([1e4, 1e4])).round(4)
    np.float64(10000.6931)
    """
    _checks.one_of(keepdims, "keepdims", (False, True))
    x, axis, largest = _logits(x, axis)
    e, total = _exponentials(x, largest, axis)
    value = largest + np.log(total)
    probabilities = np.divide(e, total, out=e)

    def pullback(cotangent: Array) -> tuple[Array]:
        above = cotangent if keepdims else np.expand_dims(cotangent, axis)
        return (np.asarray(above * probabilities),)

    return value if keepdims else np.squeeze(value, axis), pullback
