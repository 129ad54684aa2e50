"""Arithmetic that can be differentiated: NumPy's functions, for arrays and Variables alike.

Names, broadcasting and `axis` are NumPy's; each function has its pullback beside it. With the
operators of a `Variable` (``+ - * / ** @`` and indexing) this is what losses and blocks
are put together from. Import the module, not its names, as some are those of built-in functions:
``from trainlab import arithmetic``.

Given arrays, a function refuses what has no finite result, by name. Inside a differentiated
computation infinity and NaN pass through: a training that blows up must be seen to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks
from .differentiation import Pullback, Variable, differentiable, unbroadcast

Array = NDArray[Any]
Axis = int | Sequence[int] | None
Result = tuple[Array, Pullback]

__all__ = [
    "broadcast_to",
    "concatenate",
    "exp",
    "log",
    "maximum",
    "mean",
    "minimum",
    "reshape",
    "sqrt",
    "sum",
    "swapaxes",
    "transpose",
    "where",
]


# Element by element ---------------------------------------------------------------------------


@differentiable("x")
def exp(x: Any) -> Result:
    """Raise e to each number.

    Parameters
    ----------
    x : array

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array, or exp(x) is too large for its dtype.

    Notes
    -----
    The derivative is exp(x) itself; nothing else is kept.

    Examples
    --------
    >>> exp(np.array([0.0, 1.0])).round(4)
    array([1.    , 2.7183])
    """
    x = _checks.array(x, "x", nonempty=False)
    with np.errstate(over="ignore", under="ignore"):
        value = np.asarray(np.exp(x))
    _checks.array(value, "x, and exp(x),", nonempty=False)
    return value, lambda cotangent: (np.asarray(cotangent * value),)


@differentiable("x")
def log(x: Any) -> Result:
    """Take the natural logarithm of each number.

    Parameters
    ----------
    x : array
        Positive numbers.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of positive numbers.

    Notes
    -----
    The derivative is 1 / x.

    Examples
    --------
    >>> log(np.array([1.0, 10.0])).round(4)
    array([0.    , 2.3026])
    """

    def pullback(cotangent: Array) -> tuple[Array]:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            return (np.asarray(cotangent / x),)

    x = _checks.array(x, "x", nonempty=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.asarray(np.log(x))
    _checks.array(value, "x, and log(x),", nonempty=False)
    return value, pullback


@differentiable("x")
def sqrt(x: Any) -> Result:
    """Take the square root of each number.

    Parameters
    ----------
    x : array
        Numbers >= 0.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of numbers >= 0.

    Notes
    -----
    The derivative 1 / (2 √x) is infinite at 0: add a small number *inside* the root.

    Examples
    --------
    >>> sqrt(np.array([4.0, 9.0]))
    array([2., 3.])
    """

    def pullback(cotangent: Array) -> tuple[Array]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.asarray(cotangent / (2 * value)),)

    x = _checks.array(x, "x", nonempty=False)
    with np.errstate(invalid="ignore"):
        value = np.asarray(np.sqrt(x))
    _checks.array(value, "x, and sqrt(x),", nonempty=False)
    return value, pullback


def _operand(value: Any, name: str) -> Any:
    """Check an operand; a Python number stays one, so that it takes the dtype of the other."""
    if type(value) in (int, float):
        return _checks.real(value, name)
    return _checks.array(value, name, nonempty=False)


def _fit(**operands: Any) -> None:
    """Check that shapes broadcast; the message is about the last one."""
    shapes = {name: np.shape(a) for name, a in operands.items()}
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError:
        *others, last = shapes
        raise ValueError(
            f"{_checks._where()}: {last} must have a shape that broadcasts with "
            f"{' and '.join(f'{n} {shapes[n]}' for n in others)}; got {shapes[last]}"
        ) from None


def _select(a: Any, b: Any, sign: int) -> Result:
    a, b = _operand(a, "a"), _operand(b, "b")
    _fit(a=a, b=b)
    value = np.asarray(np.maximum(a, b) if sign > 0 else np.minimum(a, b))

    def pullback(cotangent: Array) -> tuple[Array, Array]:
        half = (cotangent * 0.5) * (np.equal(a, b))
        chosen = np.greater(a, b) if sign > 0 else np.less(a, b)
        da = cotangent * chosen + half
        return unbroadcast(da, np.shape(a)), unbroadcast(cotangent - da, np.shape(b))

    return value, pullback


@differentiable("a", "b")
def maximum(a: Any, b: Any) -> Result:
    """Take the larger of two numbers, element by element.

    Parameters
    ----------
    a, b : arrays or numbers
        Broadcast against each other.

    Returns
    -------
    array

    Raises
    ------
    TypeError, ValueError
        If one is not a floating-point array, or the shapes do not broadcast.

    Notes
    -----
    The gradient goes to the larger one. Where both are equal each gets half, as in PyTorch and
    JAX; `relu` gives 0 at 0.

    Examples
    --------
    >>> maximum(np.array([-1.0, 2.0]), 0.0)
    array([0., 2.])
    """
    return _select(a, b, 1)


@differentiable("a", "b")
def minimum(a: Any, b: Any) -> Result:
    """Take the smaller of two numbers, element by element; otherwise as `maximum`.

    Parameters
    ----------
    a, b : arrays or numbers
        Broadcast against each other.

    Returns
    -------
    array

    Raises
    ------
    TypeError, ValueError
        If one is not a floating-point array, or the shapes do not broadcast.

    Examples
    --------
    >>> minimum(np.array([-1.0, 2.0]), 0.0)
    array([-1.,  0.])
    """
    return _select(a, b, -1)


@differentiable("a", "b")
def where(condition: Any, a: Any, b: Any) -> Result:
    """Take a where the condition holds, else b.

    Parameters
    ----------
    condition : array of bool
    a, b : arrays or numbers
        All three are broadcast against each other.

    Returns
    -------
    array

    Raises
    ------
    TypeError, ValueError
        If the condition is not boolean, a or b not floating point, or the shapes do not broadcast.

    Notes
    -----
    The gradient of what is not taken is 0. But if its own pullback makes infinity of that 0, the
    result is NaN: in ``where(x > 0, log(x), 0)`` replace x, not the result.

    Examples
    --------
    >>> where(np.array([True, False]), np.array([1.0, 2.0]), 0.0)
    array([1., 0.])
    """
    condition = np.asarray(condition)
    if condition.dtype != np.bool_:
        got = _checks._show(condition)
        raise TypeError(f"where: condition must be an array of bool; got {got}")
    a, b = _operand(a, "a"), _operand(b, "b")
    _fit(condition=condition, a=a, b=b)
    shapes = np.shape(a), np.shape(b)

    def pullback(cotangent: Array) -> tuple[Array, Array]:
        da = np.asarray(np.where(condition, cotangent, 0))
        db = np.asarray(np.where(condition, 0, cotangent))
        return unbroadcast(da, shapes[0]), unbroadcast(db, shapes[1])

    return np.asarray(np.where(condition, a, b)), pullback


# Reductions -----------------------------------------------------------------------------------


def _spread(cotangent: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Give the cotangent of a sum to each of its terms: a view, no copy."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return np.broadcast_to(cotangent.reshape(kept), shape)


@differentiable("x")
def sum(x: Any, axis: Axis = None, *, keepdims: bool = False) -> Result:
    """Add numbers along axes.

    Parameters
    ----------
    x : array
    axis : int, sequence of int, or None
        The axes to sum over; None is all.
    keepdims : bool
        Whether these axes stay, with length 1.

    Returns
    -------
    array

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array, or has no such axis.

    Examples
    --------
    >>> sum(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=1)
    array([3., 7.])
    """
    x = _checks.array(x, "x", nonempty=False)
    axes = _checks.axes(axis, x.ndim)
    shape = x.shape
    value = np.asarray(x.sum(axis=axes, keepdims=_flag(keepdims)))
    return value, lambda cotangent: (_spread(cotangent, shape, axes),)


@differentiable("x")
def mean(x: Any, axis: Axis = None, *, keepdims: bool = False) -> Result:
    """Average numbers along axes.

    Parameters
    ----------
    x : array
    axis : int, sequence of int, or None
        The axes to average over; None is all.
    keepdims : bool
        Whether these axes stay, with length 1.

    Returns
    -------
    array

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array, has no such axis, or nothing along it.

    Examples
    --------
    >>> mean(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=1)
    array([1.5, 3.5])
    """
    x = _checks.array(x, "x", nonempty=False)
    axes = _checks.axes(axis, x.ndim)
    shape, count = x.shape, math.prod(x.shape[a] for a in axes)
    _checks.integer(count, "number of values of x along axis", low=1)
    value = np.asarray(x.sum(axis=axes, keepdims=_flag(keepdims)) / count)
    return value, lambda cotangent: (_spread(np.asarray(cotangent / count), shape, axes),)


def _flag(keepdims: bool) -> bool:
    return _checks.one_of(keepdims, "keepdims", (False, True))


# Shapes ---------------------------------------------------------------------------------------


@differentiable("x")
def reshape(x: Any, shape: int | Sequence[int]) -> Result:
    """Give an array another shape, its elements in the same order.

    Parameters
    ----------
    x : array
    shape : int or sequence of int
        One length may be -1: whatever is left.

    Returns
    -------
    array
        A view of x where NumPy can make one.

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array, or its elements do not fill the shape.

    Examples
    --------
    >>> reshape(np.array([1.0, 2.0, 3.0, 4.0]), (2, -1))
    array([[1., 2.],
           [3., 4.]])
    """
    x = _checks.array(x, "x", nonempty=False)
    try:
        value = x.reshape(shape)
    except (TypeError, ValueError):
        raise ValueError(
            f"reshape: shape must be one that the {x.size} elements of x fill; got {shape!r}"
        ) from None
    before = x.shape
    return value, lambda cotangent: (cotangent.reshape(before),)


@differentiable("x")
def transpose(x: Any, axes: Sequence[int] | None = None) -> Result:
    """Put the axes into another order.

    Parameters
    ----------
    x : array
    axes : sequence of int, optional
        A permutation of the axes of x; reversed if left out.

    Returns
    -------
    array
        A view of x.

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array, or `axes` no permutation of its axes.

    Examples
    --------
    >>> transpose(np.ones((2, 3, 4)), (0, 2, 1)).shape
    (2, 4, 3)
    """
    x = _checks.array(x, "x", nonempty=False)
    order = tuple(reversed(range(x.ndim)))
    if axes is not None:
        order = _checks.axes(axes, x.ndim, "axes")
        _checks.one_of(len(order), "number of axes", (x.ndim,))
    back = tuple(np.argsort(order))
    return x.transpose(order), lambda cotangent: (cotangent.transpose(back),)


@differentiable("x")
def swapaxes(x: Any, axis1: int, axis2: int) -> Result:
    """Exchange two axes.

    Parameters
    ----------
    x : array
    axis1, axis2 : int

    Returns
    -------
    array
        A view of x.

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array, or has no such axis.

    Examples
    --------
    >>> swapaxes(np.ones((2, 3, 4)), -1, -2).shape
    (2, 4, 3)
    """
    x = _checks.array(x, "x", nonempty=False)
    one = _checks.integer(axis1, "axis1", low=-x.ndim, high=x.ndim - 1)
    two = _checks.integer(axis2, "axis2", low=-x.ndim, high=x.ndim - 1)
    return x.swapaxes(one, two), lambda cotangent: (cotangent.swapaxes(one, two),)


@differentiable("x")
def broadcast_to(x: Any, shape: int | Sequence[int]) -> Result:
    """Repeat an array along new axes and along axes of length 1.

    Parameters
    ----------
    x : array
    shape : int or sequence of int

    Returns
    -------
    array
        A read-only view of x.

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array, or does not broadcast to the shape.

    Examples
    --------
    >>> broadcast_to(np.array([1.0, 2.0]), (2, 2))
    array([[1., 2.],
           [1., 2.]])
    """
    x = _checks.array(x, "x", nonempty=False)
    try:
        value = np.broadcast_to(x, shape)
    except (TypeError, ValueError):
        raise ValueError(
            f"broadcast_to: shape must be one that x, {x.shape}, broadcasts to; got {shape!r}"
        ) from None
    before = x.shape
    return value, lambda cotangent: (unbroadcast(cotangent, before),)


def concatenate(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Join arrays along an axis.

    Parameters
    ----------
    arrays : sequence of arrays
        At least one; of equal lengths but along `axis`. Variables and plain arrays may mix.
    axis : int

    Returns
    -------
    array

    Raises
    ------
    TypeError, ValueError
        If one is not a floating-point array, or the shapes do not fit.

    Notes
    -----
    The pullback cuts the cotangent into the pieces again.

    Examples
    --------
    >>> concatenate([np.array([1.0]), np.array([2.0, 3.0])])
    array([1., 2., 3.])
    """
    if not isinstance(arrays, (list, tuple)) or not arrays:
        raise TypeError(
            f"concatenate: arrays must be a list or tuple of arrays; got {_checks._show(arrays)}"
        )
    parents = tuple(a for a in arrays if isinstance(a, Variable))
    # In a differentiated computation NaN passes, as everywhere.
    values = [
        _checks.array(getattr(a, "value", a), "arrays", nonempty=False, finite=not parents)
        for a in arrays
    ]
    place = _checks.integer(axis, "axis", low=-values[0].ndim, high=values[0].ndim - 1)
    try:
        value = np.concatenate(values, place)
    except ValueError:
        raise ValueError(
            f"concatenate: arrays must have equal lengths but along axis {axis}; "
            f"got {', '.join(str(v.shape) for v in values)}"
        ) from None
    if not parents:
        return value
    ends = np.cumsum([v.shape[place] for v in values]).tolist()
    del values
    wanted = [i for i, a in enumerate(arrays) if isinstance(a, Variable)]

    def pullback(cotangent: Array) -> tuple[Array, ...]:
        pieces = np.split(cotangent, ends[:-1], axis=place)
        return tuple(pieces[i] for i in wanted)

    return Variable(value, parents, pullback)
