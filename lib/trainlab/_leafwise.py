"""What all optimizers share: checks of trees, and one formula applied to every element.

An optimizer's formula touches each parameter once, with about ten operations that are each limited
by memory. So `_update_leaves` evaluates it block by block: while one block of the gradient, the
weights and the moments is in the cache, all operations run on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks
from .trees import tree_leaves, tree_map, tree_unflatten

Array = NDArray[Any]

__all__: list[str] = []

BLOCK = 2**17  # bytes: gradient, weights, two moments and temporaries fit a cache of 1 MB


def _leaf(value: Any, name: str) -> Array:
    # Values are not looked at: what becomes NaN in training has to be seen in the loss.
    return _checks.array(value, name, finite=False, nonempty=False)


def _leaves(tree: Any, name: str) -> list[Array]:
    return [_leaf(leaf, name) for leaf in tree_leaves(tree)]


def _leaves_like(tree: Any, weights: list[Array], params: Any, name: str) -> list[Array]:
    """Check a tree of the structure and the shapes of params; its leaves take their dtypes."""
    try:
        tree_map(lambda *_: None, params, tree)
    except ValueError as error:
        reason = str(error).partition("tree_map: others ")[2]
        reason = reason.replace("of tree,", "of params,").replace(" at tree", " at params")
        raise ValueError(f"{_checks._where()}: {name} {reason}") from None
    leaves = []
    for weight, leaf in zip(weights, tree_leaves(tree), strict=True):
        checked = _leaf(leaf, name)
        _checks.same_shape(weight, checked, ("params", name))
        leaves.append(checked.astype(weight.dtype, copy=False))
    return leaves


def _zeros(params: Any) -> Any:
    return tree_unflatten(params, [np.zeros_like(w) for w in _leaves(params, "params")])


def _state(state: Any, kind: type[Any]) -> int:
    """Check the type of a state; return the number of the step that comes, from 1."""
    if not isinstance(state, kind):
        raise TypeError(
            f"{_checks._where()}: state must be a {kind.__name__}; got {type(state).__name__}"
        )
    return _checks.integer(state.steps, "steps of state", low=0) + 1


def _eps(eps: Any, params: Any, *, factor: float = 1.0) -> float:
    # It keeps 0 / 0 away; so factor · eps, which is what gets added, must not be rounded to 0.
    kinds = {w.dtype for w in _leaves(params, "params")}
    least = max((float(np.finfo(kind).smallest_subnormal) for kind in kinds), default=5e-324)
    return _checks.real(eps, "eps", low=least / factor)


def _update_leaves(
    step: Callable[..., None], grads: Any, params: Any, *moments: Any, donate: bool
) -> tuple[Any, ...]:
    """Run ``step(g, w, update, *moments)`` on blocks of all leaves.

    The step writes the update and changes the moments in place: they are copies, or with `donate`
    the state's own arrays. Returns the trees of updates and of the new moments.
    """
    _checks.one_of(donate, "donate", (False, True))
    weights = _leaves(params, "params")
    others = [_leaves_like(grads, weights, params, "grads")]
    others += [_leaves_like(moment, weights, params, "state") for moment in moments]
    results: list[list[Array]] = [[] for _ in others]
    for weight, grad, *old in zip(weights, *others, strict=True):
        new = [m if donate and m.flags.carray else np.empty(m.shape, m.dtype) for m in old]
        update = np.empty(weight.shape, weight.dtype)
        try:
            # NaN passes on; overflow would stall Adam, or turn into NaN without a trace.
            with np.errstate(over="raise", invalid="raise", divide="raise", under="ignore"):
                _blocks(step, grad, weight, update, old, new)
        except FloatingPointError as error:
            raise ValueError(
                f"{_checks._where()}: grads must keep the step within the range of "
                f"{weight.dtype}, squares included; got {error}"
            ) from None
        for row, result in zip(results, [update, *new], strict=True):
            row.append(result)
    return tuple(tree_unflatten(params, row) for row in results)


def _blocks(
    step: Callable[..., None],
    grad: Array,
    weight: Array,
    update: Array,
    old: list[Array],
    new: list[Array],
) -> None:
    g, w, u = grad.reshape(-1), weight.reshape(-1), update.reshape(-1)  # views, where possible
    targets = [m.reshape(-1) for m in new]
    copies = [(t, o.reshape(-1)) for t, o, n in zip(targets, old, new, strict=True) if n is not o]
    length = BLOCK // weight.itemsize
    for start in range(0, g.size, length):
        block = slice(start, start + length)
        for target, source in copies:
            target[block] = source[block]
        step(g[block], w[block], u[block], *(target[block] for target in targets))
