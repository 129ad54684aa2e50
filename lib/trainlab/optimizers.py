"""Optimizers: gradient descent with momentum, Lion, and a table of all.

Every optimizer is a pair of pure functions, as in optax::

    state = sgd_init(params)
    updates, state = sgd_update(grads, state, params, lr=0.1, momentum=0.9)
    params = apply_updates(params, updates)

Updates are *added*: the minus sign is in them. `params`, `grads` and the parts of the state are
trees of one structure. Step counts start at 1 with the first update. NaN in a gradient passes on to
the parameters and so to the next loss, where it is seen; what overflows is refused.

`OPTIMIZERS` holds all, by name; the adaptive ones are in `trainlab.adaptive_optimizers`, which also
says what distinguishes `l2` and `weight_decay`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import adaptive_optimizers
from ._checks import one_of, real
from ._leafwise import _leaves, _leaves_like, _state, _update_leaves, _zeros
from .trees import tree_unflatten

Array = NDArray[Any]

__all__ = [
    "OPTIMIZERS",
    "LionState",
    "Optimizer",
    "SGDState",
    "apply_updates",
    "lion_init",
    "lion_update",
    "sgd_init",
    "sgd_update",
]


class Optimizer(NamedTuple):
    """How to start, ``init(params)``, and to go on, ``update(grads, state, params, lr=...)``."""

    init: Callable[..., Any]
    update: Callable[..., tuple[Any, Any]]


class SGDState(NamedTuple):
    """Steps taken, and the decaying sum of the gradients (0 without momentum)."""

    steps: int
    trace: Any


class LionState(NamedTuple):
    """Steps taken, and the average of the gradient."""

    steps: int
    mu: Any


def apply_updates(params: Any, updates: Any, *, donate: bool = False) -> Any:
    """Add updates to parameters.

    Parameters
    ----------
    params, updates : trees of one structure
    donate : bool
        Whether the arrays of `params` may be overwritten with the result.

    Returns
    -------
    tree
        ``params + updates``, in the dtype of the parameters.

    Raises
    ------
    ValueError, TypeError
        If the trees do not fit.

    Examples
    --------
    >>> apply_updates({"w": np.array([1.0, 2.0])}, {"w": np.array([-0.5, 0.5])})
    {'w': array([0.5, 2.5])}
    """
    one_of(donate, "donate", (False, True))
    weights = _leaves(params, "params")
    pairs = zip(weights, _leaves_like(updates, weights, params, "updates"), strict=True)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite weights are seen in the loss
        moved = [np.add(w, u, out=w if donate else None) for w, u in pairs]
    return tree_unflatten(params, [np.asarray(w) for w in moved])


def sgd_init(params: Any) -> SGDState:
    """Start stochastic gradient descent.

    Parameters
    ----------
    params : tree of arrays

    Returns
    -------
    SGDState

    Raises
    ------
    TypeError
        If a leaf is no floating-point array.

    Examples
    --------
    >>> sgd_init(np.ones(2))
    SGDState(steps=0, trace=array([0., 0.]))
    """
    return SGDState(0, _zeros(params))


def sgd_update(
    grads: Any,
    state: SGDState,
    params: Any,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    donate: bool = False,
) -> tuple[Any, SGDState]:
    """Step against the gradient, or against a decaying sum of gradients.

    Parameters
    ----------
    grads, state, params
        Trees of one structure and `sgd_init`'s state.
    lr : float
        Learning rate, >= 0.
    momentum : float
        What is left of the sum at the next step, in [0, 1).
    dampening : float
        New gradients enter the sum with weight ``1 - dampening``, the very first with 1; in [0, 1].
    nesterov : bool
        Whether to step by ``g + momentum · trace``; needs momentum > 0 and dampening 0.
    l2 : float
        Penalty ``l2/2 · ‖w‖²``, whose gradient is added to `grads`; >= 0. PyTorch's SGD calls it
        ``weight_decay``.
    weight_decay : float
        Decay beside the step (SGDW), multiplied by lr; >= 0.
    donate : bool
        Whether the arrays of `state` may be overwritten with the new state.

    Returns
    -------
    updates : tree
        To be added to the parameters.
    state : SGDState

    Raises
    ------
    ValueError, TypeError
        If trees do not fit, a parameter is out of range, or the sum overflows.

    Notes
    -----
    ``trace = momentum · trace + (1 - dampening) · g`` and ``update = -lr · trace``, as in PyTorch:
    lr stands outside, so a change of lr acts at once. With lr inside the sum, as in the textbook
    form ``v = momentum · v - lr · g``, the steps are the same while lr is constant.

    Under steady gradients the sum is ``g / (1 - momentum)``: the effective learning rate is
    ``lr / (1 - momentum)``. On a curvature h descent is stable for ``lr < 2 (1 + momentum) / h``,
    with `nesterov` for ``lr < 2 (1 + momentum) / (1 + 2 momentum) / h``.
    `l2` and `weight_decay` are the same without momentum; with it, `l2` grows with the sum and
    `weight_decay` does not.

    References
    ----------
    Polyak (1964), "Some methods of speeding up the convergence of iteration methods"; Sutskever,
    Martens, Dahl & Hinton (2013), "On the importance of initialization and momentum in deep
    learning", for Nesterov's form; Loshchilov & Hutter (2019), "Decoupled weight decay
    regularization".

    Examples
    --------
    >>> params, grads = np.array([1.0]), np.array([2.0])
    >>> state = sgd_init(params)
    >>> for _ in range(3):
    ...     updates, state = sgd_update(grads, state, params, lr=0.1, momentum=0.5)
    ...     print(updates)
    [-0.2]
    [-0.3]
    [-0.35]
    """
    count = _state(state, SGDState)
    lr, momentum = real(lr, "lr", low=0), real(momentum, "momentum", low=0, high=1, closed="left")
    dampening = real(dampening, "dampening", low=0, high=1)
    l2, weight_decay = real(l2, "l2", low=0), real(weight_decay, "weight_decay", low=0)
    if one_of(nesterov, "nesterov", (False, True)) and (momentum == 0 or dampening):
        raise ValueError(
            "sgd_update: nesterov must be False unless momentum > 0 and dampening is 0; "
            f"got momentum {momentum} and dampening {dampening}"
        )
    share = 1.0 if count == 1 else 1 - dampening

    def step(g: Array, w: Array, update: Array, *traces: Array) -> None:
        direction = g + l2 * w if l2 else g
        for trace in traces:  # one with momentum, else none
            trace *= momentum
            trace += share * direction
            direction = direction + momentum * trace if nesterov else trace
        np.multiply(direction, -lr, out=update)
        if weight_decay:
            update -= (lr * weight_decay) * w

    if momentum == 0:
        (updates,) = _update_leaves(step, grads, params, donate=donate)
        return updates, SGDState(count, state.trace)
    updates, trace = _update_leaves(step, grads, params, state.trace, donate=donate)
    return updates, SGDState(count, trace)


def lion_init(params: Any) -> LionState:
    """Start Lion.

    Parameters
    ----------
    params : tree of arrays

    Returns
    -------
    LionState

    Raises
    ------
    TypeError
        If a leaf is no floating-point array.

    Examples
    --------
    >>> lion_init(np.ones(2))
    LionState(steps=0, mu=array([0., 0.]))
    """
    return LionState(0, _zeros(params))


def lion_update(
    grads: Any,
    state: LionState,
    params: Any,
    *,
    lr: float,
    b1: float = 0.9,
    b2: float = 0.99,
    weight_decay: float = 0.0,
    donate: bool = False,
) -> tuple[Any, LionState]:
    """Step by the sign of an average of the gradient.

    Parameters
    ----------
    grads, state, params
        Trees of one structure and `lion_init`'s state.
    lr : float
        Learning rate, >= 0: the length of every step in every coordinate.
    b1, b2 : float
        Weights of the old average in the step and in the average that is kept, in [0, 1].
    weight_decay : float
        Decay beside the step, multiplied by lr; >= 0. The default of optax is 1e-3.
    donate : bool
        Whether the arrays of `state` may be overwritten with the new state.

    Returns
    -------
    updates : tree
        To be added to the parameters.
    state : LionState

    Raises
    ------
    ValueError, TypeError
        If trees do not fit or a parameter is out of range.

    Notes
    -----
    ``update = -lr · (sign(b1 · mu + (1 - b1) · g) + weight_decay · w)``, and only then
    ``mu = b2 · mu + (1 - b2) · g``. It keeps one average where Adam keeps two. sign(0) is 0.

    References
    ----------
    Chen et al. (2023), "Symbolic discovery of optimization algorithms".

    Examples
    --------
    >>> params = np.zeros(3)
    >>> updates, state = lion_update(np.array([5.0, -0.1, 0.0]), lion_init(params), params, lr=0.1)
    >>> updates + 0.0, state.mu  # + 0.0 turns -0. into 0.
    (array([-0.1,  0.1,  0. ]), array([ 0.05 , -0.001,  0.   ]))
    """
    count = _state(state, LionState)
    lr, weight_decay = real(lr, "lr", low=0), real(weight_decay, "weight_decay", low=0)
    b1, b2 = real(b1, "b1", low=0, high=1), real(b2, "b2", low=0, high=1)

    def step(g: Array, w: Array, update: Array, mu: Array) -> None:
        np.sign(b1 * mu + (1 - b1) * g, out=update)
        update *= -lr
        if weight_decay:
            update -= (lr * weight_decay) * w
        mu *= b2
        mu += (1 - b2) * g

    updates, mu = _update_leaves(step, grads, params, state.mu, donate=donate)
    return updates, LionState(count, mu)


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(sgd_init, sgd_update),
    "adagrad": Optimizer(adaptive_optimizers.adagrad_init, adaptive_optimizers.adagrad_update),
    "rmsprop": Optimizer(adaptive_optimizers.rmsprop_init, adaptive_optimizers.rmsprop_update),
    "adam": Optimizer(adaptive_optimizers.adam_init, adaptive_optimizers.adam_update),
    "adamw": Optimizer(adaptive_optimizers.adamw_init, adaptive_optimizers.adamw_update),
    "lion": Optimizer(lion_init, lion_update),
    "lamb": Optimizer(adaptive_optimizers.lamb_init, adaptive_optimizers.lamb_update),
}
