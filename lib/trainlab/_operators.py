"""The operators of a `Variable`: each gives its value and its pullback.

Infinity and NaN pass without a warning, both ways: what blows up in training is seen in the loss.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks

Array = NDArray[Any]
Pullback = Callable[[Array], tuple[Array | None, ...]]


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the axes along which an argument was broadcast.

    Parameters
    ----------
    gradient : array
        Of the broadcast shape.
    shape : tuple of int
        Of the argument.

    Returns
    -------
    array of shape `shape`

    Raises
    ------
    ValueError
        If `shape` cannot be broadcast to the shape of the gradient.

    Notes
    -----
    Copying a number to n places multiplies its effect; so its gradient is the sum of n gradients.

    Examples
    --------
    >>> unbroadcast(np.ones((4, 3)), (3,))
    array([4., 4., 4.])
    """
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    fits = extra >= 0 and all(
        n in (1, m) for n, m in zip(shape, gradient.shape[max(extra, 0) :], strict=False)
    )
    if not fits:
        raise ValueError(
            f"unbroadcast: shape must be one that broadcasts to that of gradient, "
            f"{gradient.shape}; got {shape}"
        )
    one = [i + extra for i, n in enumerate(shape) if n == 1]
    return np.asarray(gradient.sum(axis=(*range(extra), *one))).reshape(shape)


def _unwarned(operation: Callable[..., tuple[Any, Pullback]]) -> Callable[..., Any]:
    @functools.wraps(operation)
    def call(*args: Any, **kwargs: Any) -> tuple[Any, Pullback]:
        quiet = np.errstate(over="ignore", divide="ignore", invalid="ignore")
        value, pullback = quiet(operation)(*args, **kwargs)
        return value, quiet(pullback)

    return call


@_unwarned
def add(a: Any, b: Any) -> tuple[Any, Pullback]:
    shapes = np.shape(a), np.shape(b)
    return np.asarray(a + b), lambda c: (unbroadcast(c, shapes[0]), unbroadcast(c, shapes[1]))


@_unwarned
def multiply(a: Any, b: Any) -> tuple[Any, Pullback]:
    shapes = np.shape(a), np.shape(b)
    return np.asarray(a * b), lambda c: (
        unbroadcast(np.asarray(c * b), shapes[0]),
        unbroadcast(np.asarray(c * a), shapes[1]),
    )


@_unwarned
def divide(a: Any, b: Any) -> tuple[Any, Pullback]:
    shapes = np.shape(a), np.shape(b)
    value = np.asarray(a / b)
    return value, lambda c: (
        unbroadcast(np.asarray(c / b), shapes[0]),
        unbroadcast(np.asarray(-c * value / b), shapes[1]),
    )


@_unwarned
def power(x: Any, *, exponent: float) -> tuple[Any, Pullback]:
    exponent = _checks.real(exponent, "exponent")

    def pullback(c: Array) -> tuple[Array]:
        if exponent == 0:  # 0 · x⁻¹ would be NaN where x is 0
            return (np.zeros_like(x),)
        return (np.asarray(c * exponent * x ** (exponent - 1)),)

    return np.asarray(x**exponent), pullback


@_unwarned
def matmul(a: Any, b: Any) -> tuple[Any, Pullback]:
    def pullback(c: Array) -> tuple[Array, Array]:
        da = c @ np.swapaxes(b, -1, -2)
        db = np.swapaxes(a, -1, -2) @ c
        return unbroadcast(da, a.shape), unbroadcast(db, b.shape)

    if np.ndim(a) < 2 or np.ndim(b) < 2:
        raise ValueError(
            f"matmul: both factors must have at least 2 dimensions; got {np.shape(a)} and "
            f"{np.shape(b)}"
        )
    return a @ b, pullback


def take(x: Any, *, index: Any) -> tuple[Any, Pullback]:
    def pullback(c: Array) -> tuple[Array]:
        gradient = np.zeros_like(x)
        np.add.at(gradient, index, c)  # an element taken twice gets both gradients
        return (gradient,)

    def pullback_basic(c: Array) -> tuple[Array]:
        gradient = np.zeros_like(x)
        gradient[index] = c
        return (gradient,)

    parts = index if isinstance(index, tuple) else (index,)
    basic = all(p is None or p is Ellipsis or isinstance(p, (int, slice)) for p in parts)
    return np.asarray(x[index]), pullback_basic if basic else pullback
