"""Reverse-mode differentiation: vector-Jacobian products and how they compose.

A differentiable function computes its value and, next to it, its *pullback*: the function that
takes the gradient of a loss with respect to the value (the *cotangent*) and returns the gradients
with respect to the arguments, ``cotangent @ Jacobian``, without ever forming the Jacobian.
The pullback is written by hand and keeps only the arrays that it needs. `differentiable` turns
such a pair into a function that takes arrays and gives an array. Called with a `Variable` it gives
a `Variable`, which remembers the pullback and the arguments; walking back from the loss, newest
first, composes the pullbacks by the chain rule.

The operations are coarse, a whole layer norm or attention at a time: a training step has tens
of them, not thousands.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

import numpy as np

from . import _checks, _operators
from ._operators import Array, Pullback, unbroadcast
from .trees import tree_leaves, tree_unflatten

P = ParamSpec("P")

if sys.platform == "linux":
    # Once an array of 32 MB was freed, the allocator of Linux (glibc) keeps up to 64 MB of freed
    # memory for the next arrays. Else a training step would give its memory back at every step and
    # ask for it again: a sixth of the time of a small one.
    np.empty(2**25 - 2**16, np.uint8)

__all__ = [
    "Pullback",
    "Variable",
    "check_grad",
    "differentiable",
    "unbroadcast",
    "value_and_grad",
    "vjp",
]


class Variable:
    """An array that remembers how it was computed.

    Attributes
    ----------
    value : array
    parents : tuple of Variable
        The arguments that were Variables; none for an input.
    pullback : callable or None
        Maps the cotangent of the value to those of the parents.
    made : int
        Counts all Variables: parents have smaller numbers than what is made of them.

    Notes
    -----
    It has the shape, ndim, size and dtype of its value, and the operators ``+ - * / ** @`` and
    indexing. Comparisons and NumPy's functions do not take it: see `trainlab.arithmetic`.
    """

    __slots__ = ("made", "parents", "pullback", "value")
    __array_ufunc__ = None  # so that `array + variable` is left to the Variable
    _clock = itertools.count()

    def __init__(
        self, value: Array, parents: tuple[Variable, ...] = (), pullback: Any = None
    ) -> None:
        self.value, self.parents, self.pullback = value, parents, pullback
        # A value is made after its parents, so this number is a topological order.
        self.made = next(Variable._clock)

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    dtype = property(lambda self: self.value.dtype)

    def __repr__(self) -> str:
        return f"Variable({self.value!r})"

    def __len__(self) -> int:
        return len(self.value)

    def __add__(self, other: Any) -> Any:
        return _add(self, other)

    def __radd__(self, other: Any) -> Any:
        return _add(other, self)

    def __sub__(self, other: Any) -> Any:
        return _add(self, -other)

    def __rsub__(self, other: Any) -> Any:
        return _add(other, -self)

    def __mul__(self, other: Any) -> Any:
        return _multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return _multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return _divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _divide(other, self)

    def __neg__(self) -> Any:
        return _multiply(-1.0, self)

    def __pow__(self, exponent: float) -> Any:
        return _power(self, exponent=exponent)

    def __matmul__(self, other: Any) -> Any:
        return _matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _matmul(other, self)

    def __getitem__(self, index: Any) -> Any:
        return _take(self, index=index)


def differentiable(
    *names: str,
) -> Callable[[Callable[P, tuple[Any, Pullback]]], Callable[P, Any]]:
    """Make a differentiable function of one that returns its value and its pullback.

    Parameters
    ----------
    *names : str
        The parameters with a gradient. The pullback takes a cotangent of the shape of the value
        and returns a tuple: one gradient for each name, in this order, None for an argument that
        was left out. It must not change the cotangent.

    Returns
    -------
    decorator
        The decorated function gives the value alone when no argument is a `Variable`, else a
        `Variable`.

    Raises
    ------
    TypeError
        From the decorated function, if a Variable comes in a parameter without a gradient.

    Notes
    -----
    Arguments are checked in full when arrays come. In a differentiated computation their types and
    shapes are, their values are not: a loss that becomes NaN in training must be seen as NaN.

    Examples
    --------
    >>> @differentiable("x")
    ... def square(x):
    ...     return x * x, lambda cotangent: (2 * x * cotangent,)
    >>> square(np.array([3.0]))
    array([9.])
    >>> value, pullback = vjp(square, np.array([3.0]))
    >>> pullback(np.array([1.0]))
    (array([6.]),)
    """

    def decorate(function: Callable[P, tuple[Any, Pullback]]) -> Callable[P, Any]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            if not any(isinstance(a, Variable) for a in itertools.chain(args, kwargs.values())):
                return function(*args, **kwargs)[0]
            given = signature.bind(*args, **kwargs).arguments
            places = {n: v for n, v in given.items() if isinstance(v, Variable)}
            for name in places.keys() - set(names):
                raise TypeError(
                    f"{function.__name__}: {name} must be a plain array, it has no gradient; "
                    "got a Variable"
                )
            given.update({name: variable.value for name, variable in places.items()})
            with _checks.values_unchecked(), _quiet():
                value, pullback = function(**given)  # type: ignore[call-arg]
            wanted = [i for i, name in enumerate(names) if name in places]
            parents = tuple(places[names[i]] for i in wanted)
            return Variable(value, parents, _only(pullback, wanted, len(names)))

        return call

    return decorate


def _quiet() -> np.errstate:
    """A loss that overflows shows itself as inf or NaN; NumPy need not warn as well."""
    return np.errstate(over="ignore", divide="ignore", invalid="ignore")


def _only(pullback: Pullback, wanted: list[int], count: int) -> Pullback:
    """Leave out the gradients of arguments that were plain arrays."""
    if len(wanted) == count:
        return pullback

    def partial(cotangent: Array) -> tuple[Array | None, ...]:
        gradients = pullback(cotangent)
        return tuple(gradients[i] for i in wanted)

    return partial


def _backward(output: Variable, cotangent: Array, inputs: list[Variable]) -> list[Array]:
    """Compose the pullbacks from the output to the inputs, newest value first."""
    found, waiting = {id(output): output}, [output]
    while waiting:
        for parent in waiting.pop().parents:
            if id(parent) not in found:
                found[id(parent)] = parent
                waiting.append(parent)
    order = sorted(found.values(), key=lambda v: v.made)
    cotangents = {id(output): cotangent}
    # From here on `order` alone keeps the values alive: what has been passed is freed.
    del found, output
    while order:
        node = order.pop()
        if node.pullback is None or id(node) not in cotangents:
            continue
        with _quiet():
            gradients = node.pullback(cotangents.pop(id(node)))
        for parent, gradient in zip(node.parents, gradients, strict=True):
            if gradient is not None:
                key, gradient = id(parent), np.asarray(gradient, parent.value.dtype)
                # Not in place: a pullback may hand on an array that someone else holds.
                cotangents[key] = cotangents[key] + gradient if key in cotangents else gradient
    return [cotangents.get(id(v), np.zeros_like(v.value)) for v in inputs]


def _variables(tree: Any, name: str) -> Any:
    """Wrap each leaf; integers become float64, everything else must be floating point."""
    leaves = [Variable(_checks.array(leaf, name, nonempty=False)) for leaf in tree_leaves(tree)]
    return tree_unflatten(tree, leaves)


def _numbers(output: Any, what: str) -> Array:
    """Get the value of what a function returned; a forgotten ``return`` gives None."""
    # Not np.asarray of a tuple of Variables: it would index them element by element.
    several = isinstance(output, (list, tuple, dict))
    value = None if several else np.asarray(getattr(output, "value", output))
    if value is None or value.dtype.kind not in "fiub":
        raise TypeError(
            f"{_checks._where()}: function must return {what}; got {_checks._show(output)}"
        )
    return value


def vjp(
    function: Callable[..., Any], *primals: Any, **options: Any
) -> tuple[Array, Callable[[Any], tuple[Any, ...]]]:
    """Evaluate a function and get its vector-Jacobian product.

    Parameters
    ----------
    function : callable
        Of arrays (or trees of arrays), to one array, made of differentiable functions.
    *primals : arrays or trees of arrays
        Where to evaluate; the gradients are with respect to these.
    **options
        Handed on to the function, not differentiated.

    Returns
    -------
    value : array
    pullback : callable
        Takes a cotangent of the shape of the value, returns a tuple with one gradient for each
        primal. It can be called several times.

    Raises
    ------
    TypeError, ValueError
        If a primal is not a floating-point array, the function does not return one array, or a
        cotangent has another shape than the value.

    Examples
    --------
    >>> value, pullback = vjp(lambda a, b: a * b, np.array([2.0, 3.0]), 10.0)
    >>> pullback(np.ones(2))
    (array([10., 10.]), array(5.))
    """
    _checks.function(function, "function")
    variables = tuple(_variables(p, "primals") for p in primals)
    output = function(*variables, **options)
    value = _numbers(output, "one array")
    inputs = tree_leaves(variables)

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        cotangent = np.asarray(cotangent, value.dtype)
        if cotangent.shape != value.shape:
            raise ValueError(
                f"vjp: cotangent must have the shape of the value, {value.shape}; "
                f"got {cotangent.shape}"
            )
        if isinstance(output, Variable):
            gradients = _backward(output, cotangent, inputs)
        else:  # it does not depend on the primals
            gradients = [np.zeros_like(v.value) for v in inputs]
        return tuple(tree_unflatten(variables, gradients))

    return value, pullback


def value_and_grad(
    function: Callable[..., Any], *, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """Make a function that returns a loss together with its gradient.

    Parameters
    ----------
    function : callable
        ``function(params, *args, **kwargs)`` gives one number, or with `has_aux` a pair of it and
        anything else. `params` is a tree of floating-point arrays.
    has_aux : bool
        Whether the function returns such a pair.

    Returns
    -------
    callable
        Of the same arguments; returns ``(value, gradients)``, or ``((value, aux), gradients)``.
        The value is a NumPy number, the gradients are a tree like `params`.

    Raises
    ------
    TypeError
        From the returned function, if the loss is not one number, or with `has_aux` no pair.

    Notes
    -----
    Only first derivatives. Compared with calling `vjp`, intermediate arrays are freed on the way
    back, as soon as nothing needs them.

    Examples
    --------
    >>> loss = value_and_grad(lambda params, x: (params["w"] * x) ** 2)
    >>> value, grads = loss({"w": np.array(3.0)}, 2.0)
    >>> float(value), grads
    (36.0, {'w': array(24.)})
    """
    _checks.function(function, "function")
    _checks.one_of(has_aux, "has_aux", (False, True))

    @functools.wraps(function)
    def value_and_grad(params: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        variables = _variables(params, "params")  # a message names the function that checks
        output = function(variables, *args, **kwargs)
        if has_aux and not (isinstance(output, (list, tuple)) and len(output) == 2):
            raise TypeError(
                "value_and_grad: function must return a pair, with has_aux; "
                f"got {_checks._show(output)}"
            )
        output, aux = output if has_aux else (output, None)
        shape = _numbers(output, "one number").shape
        if shape != ():
            raise TypeError(f"value_and_grad: function must return one number; got shape {shape}")
        inputs = tree_leaves(variables)
        if isinstance(output, Variable):
            value = output.value[()]
            one = np.ones((), output.dtype)
            holder = [output]
            del output  # so that _backward holds the only reference
            gradients = _backward(holder.pop(), one, inputs)
        else:
            value, gradients = output, [np.zeros_like(v.value) for v in inputs]
        grads = tree_unflatten(variables, gradients)
        return ((value, aux) if has_aux else value), grads

    return value_and_grad


def check_grad(
    function: Callable[..., Any], *primals: Any, rng: np.random.Generator, step: float = 1e-6
) -> float:
    """Compare a gradient with central differences along one random direction.

    Parameters
    ----------
    function : callable
        As in `vjp`; checked in float64.
    *primals : arrays or trees of arrays
    rng : np.random.Generator
        Draws the direction and the cotangent.
    step : float
        Half the distance of the two evaluations, > 0.

    Returns
    -------
    float
        Relative error: about 1e-9 if the gradient is right, about 1 if it is wrong.

    Raises
    ------
    TypeError, ValueError
        If the primals are no floating-point arrays, or `rng` or `step` is unfit.

    Notes
    -----
    ``u · (f(x + step·v) - f(x - step·v)) / (2·step)`` against ``(u J) · v`` with random u and v:
    two evaluations, whatever the number of parameters. A kink within a step spoils it.

    Examples
    --------
    >>> check_grad(lambda x: x * x, np.array([1.0, 2.0]), rng=np.random.default_rng(0)) < 1e-8
    True
    """
    _checks.function(function, "function")
    rng = _checks.generator(rng)
    step = _checks.real(step, "step", low=0, closed="neither")
    leaves = [np.asarray(_checks.array(p, "primals", nonempty=False), np.float64)
              for p in tree_leaves(primals)]  # fmt: skip
    directions = [rng.standard_normal(leaf.shape) for leaf in leaves]

    def moved(by: float) -> tuple[Any, ...]:
        pairs = zip(leaves, directions, strict=True)
        return tuple(tree_unflatten(primals, [leaf + by * d for leaf, d in pairs]))

    value, pullback = vjp(function, *moved(0.0))
    cotangent = rng.standard_normal(value.shape)
    ahead, behind = (vjp(function, *moved(by))[0] for by in (step, -step))
    numeric = float(np.sum(cotangent * (ahead - behind))) / (2 * step)
    gradients = tree_leaves(pullback(cotangent))
    exact = float(sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True)))
    return abs(numeric - exact) / max(abs(numeric), abs(exact), 1e-12)


# The operators of a Variable.
_add = differentiable("a", "b")(_operators.add)
_multiply = differentiable("a", "b")(_operators.multiply)
_divide = differentiable("a", "b")(_operators.divide)
_power = differentiable("x")(_operators.power)
_matmul = differentiable("a", "b")(_operators.matmul)
_take = differentiable("x")(_operators.take)
