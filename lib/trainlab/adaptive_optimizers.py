"""Optimizers that give every parameter a step size of its own: AdaGrad, RMSProp, Adam and kin.

All divide the gradient by the root of its own squares, summed (AdaGrad) or averaged over about
``1 / (1 - b2)`` steps (RMSProp, Adam). So a step hardly depends on the scale of the loss: with a
constant gradient it is `lr` long. They differ in how they average, in whether the averages are
corrected for having started at 0, and in where weight decay enters. Two words keep its places
apart, in all optimizers here:

* `l2` is added to the gradient, as the penalty ``l2/2 · ‖w‖²`` does it, and is divided by the root
  too. PyTorch's ``Adam(weight_decay=...)`` and ``RMSprop(weight_decay=...)`` are this.
* `weight_decay` shrinks the weights beside the gradient step, by ``lr · weight_decay``. PyTorch's
  and optax's AdamW are this.

Of each optimizer, as of Adam, ``adam_init(params)`` gives the state, and
``adam_update(grads, state, params, lr=...)`` the updates and the next state. Updates are *added* to
the parameters, by `trainlab.optimizers.apply_updates`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks
from ._checks import real
from ._leafwise import _eps, _leaves, _state, _update_leaves, _zeros
from .trees import tree_leaves, tree_map, tree_unflatten

Array = NDArray[Any]

__all__ = [
    "AdagradState",
    "AdamState",
    "RMSPropState",
    "adagrad_init",
    "adagrad_update",
    "adam_init",
    "adam_update",
    "adamw_init",
    "adamw_update",
    "lamb_init",
    "lamb_update",
    "rmsprop_init",
    "rmsprop_update",
]


class AdagradState(NamedTuple):
    """Steps taken, and the sum of the squared gradients of each parameter."""

    steps: int
    total: Any


class RMSPropState(NamedTuple):
    """Steps taken; averages of the squared gradient and (if centered) of the gradient."""

    steps: int
    nu: Any
    mu: Any


class AdamState(NamedTuple):
    """Steps taken; averages of the gradient and of its square, not yet corrected."""

    steps: int
    mu: Any
    nu: Any


def _decay(value: Any, name: str) -> float:
    return real(value, name, low=0, high=1, closed="left")


def _with_penalty(g: Array, w: Array, l2: float) -> Array:
    return g + l2 * w if l2 else g


def adagrad_init(params: Any, *, initial_accumulator_value: float = 0.0) -> AdagradState:
    """Start AdaGrad.

    Parameters
    ----------
    params : tree of arrays
    initial_accumulator_value : float
        Where the sums start, >= 0. 0 in PyTorch, 0.1 in optax.

    Returns
    -------
    AdagradState

    Raises
    ------
    ValueError, TypeError
        If a parameter is of the wrong kind or range.

    Examples
    --------
    >>> adagrad_init([np.zeros(2)])
    AdagradState(steps=0, total=[array([0., 0.])])
    """
    start = real(initial_accumulator_value, "initial_accumulator_value", low=0)
    return AdagradState(0, tree_map(lambda zero: zero + start, _zeros(params)))


def adagrad_update(
    grads: Any,
    state: AdagradState,
    params: Any,
    *,
    lr: float,
    eps: float = 1e-10,
    l2: float = 0.0,
    donate: bool = False,
) -> tuple[Any, AdagradState]:
    """Divide the gradient by the root of the sum of its squares so far.

    Parameters
    ----------
    grads, state, params
        Trees of one structure and `adagrad_init`'s state.
    lr : float
        Learning rate, >= 0.
    eps : float
        Added to the root, outside; > 0.
    l2 : float
        Penalty ``l2/2 · ‖w‖²``, whose gradient is added to `grads`; >= 0.
    donate : bool
        Whether the arrays of `state` may be overwritten with the new state.

    Returns
    -------
    updates : tree
        To be added to the parameters.
    state : AdagradState

    Raises
    ------
    ValueError, TypeError
        If trees do not fit, a parameter is out of range, or a square overflows.

    Notes
    -----
    ``total += g²``, ``update = -lr · g / (√total + eps)``. The step shrinks like 1/√t under
    steady gradients and never grows again. optax puts eps inside the root and starts at 0.1.

    References
    ----------
    Duchi, Hazan & Singer (2011), "Adaptive subgradient methods for online learning and stochastic
    optimization".

    Examples
    --------
    >>> params, grads = np.zeros(2), np.array([1.0, 100.0])
    >>> state = adagrad_init(params)
    >>> first, state = adagrad_update(grads, state, params, lr=0.1)
    >>> second, _ = adagrad_update(grads, state, params, lr=0.1)
    >>> first, second.round(4)
    (array([-0.1, -0.1]), array([-0.0707, -0.0707]))
    """
    count = _state(state, AdagradState)
    lr, l2, eps = real(lr, "lr", low=0), real(l2, "l2", low=0), _eps(eps, params)

    def step(g: Array, w: Array, update: Array, total: Array) -> None:
        g = _with_penalty(g, w, l2)
        total += g * g
        np.divide(-lr * g, np.sqrt(total) + eps, out=update)

    updates, total = _update_leaves(step, grads, params, state.total, donate=donate)
    return updates, AdagradState(count, total)


def rmsprop_init(params: Any) -> RMSPropState:
    """Start RMSProp: averages of 0.

    Parameters
    ----------
    params : tree of arrays

    Returns
    -------
    RMSPropState

    Raises
    ------
    TypeError
        If a leaf is no floating-point array.

    Examples
    --------
    >>> rmsprop_init(np.ones(1))
    RMSPropState(steps=0, nu=array([0.]), mu=array([0.]))
    """
    return RMSPropState(0, _zeros(params), _zeros(params))


def rmsprop_update(
    grads: Any,
    state: RMSPropState,
    params: Any,
    *,
    lr: float,
    b2: float = 0.99,
    eps: float = 1e-8,
    centered: bool = False,
    bias_correction: bool = False,
    l2: float = 0.0,
    donate: bool = False,
) -> tuple[Any, RMSPropState]:
    """Divide the gradient by the root of the moving average of its square.

    Parameters
    ----------
    grads, state, params
        Trees of one structure and `rmsprop_init`'s state.
    lr : float
        Learning rate, >= 0.
    b2 : float
        Weight of the old average, in [0, 1). PyTorch's ``alpha``; optax's ``decay``, 0.9 there.
    eps : float
        Added to the root, outside; > 0.
    centered : bool
        Whether to divide by the standard deviation: the average square minus the squared average.
    bias_correction : bool
        Whether to divide the averages by ``1 - b2**t``, as Adam does.
    l2 : float
        Penalty ``l2/2 · ‖w‖²``, whose gradient is added to `grads`; >= 0.
    donate : bool
        Whether the arrays of `state` may be overwritten with the new state.

    Returns
    -------
    updates : tree
        To be added to the parameters.
    state : RMSPropState

    Raises
    ------
    ValueError, TypeError
        If trees do not fit, a parameter is out of range, or a square overflows.

    Notes
    -----
    ``nu = b2 · nu + (1 - b2) · g²``, ``update = -lr · g / (√nu + eps)``. Without correction the
    first step is ``lr / √(1 - b2)`` long: ten times lr at 0.99. eps stands outside the root in
    PyTorch, inside by default in optax.

    References
    ----------
    Tieleman & Hinton (2012), lecture 6.5 of "Neural networks for machine learning"; Graves (2013),
    "Generating sequences with recurrent neural networks", for the centered form.

    Examples
    --------
    >>> params = np.zeros(2)
    >>> updates, _ = rmsprop_update(np.array([1.0, 100.0]), rmsprop_init(params), params, lr=0.1)
    >>> updates.round(4)
    array([-1., -1.])
    """
    count = _state(state, RMSPropState)
    lr, b2, l2 = real(lr, "lr", low=0), _decay(b2, "b2"), real(l2, "l2", low=0)
    eps = _eps(eps, params)
    _checks.one_of(centered, "centered", (False, True))
    _checks.one_of(bias_correction, "bias_correction", (False, True))
    share = 1 - b2**count if bias_correction else 1.0

    def step(g: Array, w: Array, update: Array, nu: Array, *mean: Array) -> None:
        g = _with_penalty(g, w, l2)
        nu *= b2
        nu += (1 - b2) * (g * g)
        square = nu / share
        for mu in mean:  # one if centered, else none
            mu *= b2
            mu += (1 - b2) * g
            square -= (mu / share) ** 2
            np.maximum(square, 0, out=square)  # a variance that rounding puts below 0
        np.divide(-lr * g, np.sqrt(square) + eps, out=update)

    if not centered:
        updates, nu = _update_leaves(step, grads, params, state.nu, donate=donate)
        return updates, RMSPropState(count, nu, state.mu)
    updates, nu, mu = _update_leaves(step, grads, params, state.nu, state.mu, donate=donate)
    return updates, RMSPropState(count, nu, mu)


# Adam ------------------------------------------------------------------------------------------


def adam_init(params: Any) -> AdamState:
    """Start Adam: both averages 0.

    Parameters
    ----------
    params : tree of arrays

    Returns
    -------
    AdamState

    Raises
    ------
    TypeError
        If a leaf is no floating-point array.

    Examples
    --------
    >>> adam_init(np.ones(1))
    AdamState(steps=0, mu=array([0.]), nu=array([0.]))
    """
    return AdamState(0, _zeros(params), _zeros(params))


def _adam(
    grads: Any,
    state: AdamState,
    params: Any,
    finish: Callable[[Array, Array], None],
    *,
    scale: float,
    b1: Any,
    b2: Any,
    eps: Any,
    l2: float,
    donate: bool,
) -> tuple[Any, AdamState]:
    """Take ``update = scale · mu_hat / (√nu_hat + eps)``; ``finish(update, w)`` adds to it."""
    count = _state(state, AdamState)
    b1, b2 = _decay(b1, "b1"), _decay(b2, "b2")
    # mu_hat / (√nu_hat + eps) = root / (1 - b1**t) · mu / (√nu + root · eps): two passes fewer
    root = math.sqrt(1 - b2**count)
    scale, eps = scale * root / (1 - b1**count), root * _eps(eps, params, factor=root)

    def step(g: Array, w: Array, update: Array, mu: Array, nu: Array) -> None:
        g = _with_penalty(g, w, l2)
        mu *= b1
        mu += (1 - b1) * g
        nu *= b2
        nu += (1 - b2) * (g * g)
        np.divide(scale * mu, np.sqrt(nu) + eps, out=update)
        finish(update, w)

    updates, mu, nu = _update_leaves(step, grads, params, state.mu, state.nu, donate=donate)
    return updates, AdamState(count, mu, nu)


def adam_update(
    grads: Any,
    state: AdamState,
    params: Any,
    *,
    lr: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    l2: float = 0.0,
    donate: bool = False,
) -> tuple[Any, AdamState]:
    """Divide the average gradient by the root of the average square, both bias-corrected.

    Parameters
    ----------
    grads, state, params
        Trees of one structure and `adam_init`'s state.
    lr : float
        Learning rate, >= 0: about the length of a step in each coordinate.
    b1, b2 : float
        Weights of the old averages of the gradient and its square, in [0, 1).
    eps : float
        Added to the root, outside and after the correction; > 0.
    l2 : float
        Penalty ``l2/2 · ‖w‖²``, whose gradient is added to `grads`; >= 0. PyTorch's Adam calls it
        ``weight_decay``. For decay beside the step see `adamw_update`.
    donate : bool
        Whether the arrays of `state` may be overwritten with the new state. It saves memory and
        a third of the time with millions of parameters.

    Returns
    -------
    updates : tree
        To be added to the parameters.
    state : AdamState

    Raises
    ------
    ValueError, TypeError
        If trees do not fit, a parameter is out of range, or a square overflows.

    Notes
    -----
    At step t = 1, 2, …::

        mu = b1 · mu + (1 - b1) · g         mu_hat = mu / (1 - b1**t)
        nu = b2 · nu + (1 - b2) · g²        nu_hat = nu / (1 - b2**t)
        update = -lr · mu_hat / (√nu_hat + eps)

    Averages that start at 0 are too small at first; dividing by ``1 - b**t``, the sum of their
    weights, corrects that exactly for a constant gradient: the first step is ``-lr · sign(g)``.
    Without the correction steps are up to 6.6 times too long with the default b1 and b2.

    References
    ----------
    Kingma & Ba (2015), "Adam: A method for stochastic optimization".

    Examples
    --------
    >>> params = np.zeros(2)
    >>> updates, _ = adam_update(np.array([1.0, -100.0]), adam_init(params), params, lr=0.1)
    >>> updates.round(6)
    array([-0.1,  0.1])
    """
    lr, l2 = real(lr, "lr", low=0), real(l2, "l2", low=0)
    return _adam(
        grads, state, params, lambda update, w: None,
        scale=-lr, b1=b1, b2=b2, eps=eps, l2=l2, donate=donate,
    )  # fmt: skip


def adamw_init(params: Any) -> AdamState:
    """Start AdamW: its state is Adam's.

    Parameters
    ----------
    params : tree of arrays

    Returns
    -------
    AdamState

    Raises
    ------
    TypeError
        If a leaf is no floating-point array.

    Examples
    --------
    >>> adamw_init(np.ones(1)).steps
    0
    """
    return AdamState(0, _zeros(params), _zeros(params))


def adamw_update(
    grads: Any,
    state: AdamState,
    params: Any,
    *,
    lr: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    independent_decay: float = 0.0,
    donate: bool = False,
) -> tuple[Any, AdamState]:
    """Take Adam's step, and shrink the weights beside it.

    Parameters
    ----------
    grads, state, params, lr, b1, b2, eps, donate
        As in `adam_update`.
    weight_decay : float
        Decay that is multiplied by lr, >= 0, as in PyTorch (default 0.01) and optax (1e-4).
    independent_decay : float
        Decay that is not, in [0, 1], as in the paper, which multiplies it by the schedule alone:
        ``schedule · λ`` is to be passed here and ``schedule · lr`` as lr.

    Returns
    -------
    updates : tree
        To be added to the parameters.
    state : AdamState

    Raises
    ------
    ValueError, TypeError
        If trees do not fit, a parameter is out of range, or a square overflows.

    Notes
    -----
    ``update = -lr · (mu_hat / (√nu_hat + eps) + weight_decay · w) - independent_decay · w`` with
    the weights w before the step. PyTorch writes it as first shrinking w and then stepping, which
    is the same; decaying the *stepped* weights is not.

    Without a gradient a weight halves in ``ln 2 / (lr · weight_decay)`` steps. A penalty inside
    Adam is divided by the root of nu, so weights with large gradients are shrunk less; here all
    are shrunk alike. Biases and the gains of norms are usually left out: they get `adam_update`.

    References
    ----------
    Loshchilov & Hutter (2019), "Decoupled weight decay regularization".

    Examples
    --------
    >>> params = np.array([2.0])
    >>> updates, _ = adamw_update(
    ...     np.array([3.0]), adamw_init(params), params, lr=0.1, weight_decay=0.5
    ... )
    >>> (params + updates).round(6)  # 2 - 0.1 · (1 + 0.5 · 2)
    array([1.8])
    """
    lr, weight_decay = real(lr, "lr", low=0), real(weight_decay, "weight_decay", low=0)
    independent = real(independent_decay, "independent_decay", low=0, high=1)
    shrink = lr * weight_decay + independent

    def finish(update: Array, w: Array) -> None:
        if shrink:
            update -= shrink * w

    return _adam(
        grads, state, params, finish, scale=-lr, b1=b1, b2=b2, eps=eps, l2=0.0, donate=donate
    )


# LAMB ------------------------------------------------------------------------------------------


def lamb_init(params: Any) -> AdamState:
    """Start LAMB: its state is Adam's.

    Parameters
    ----------
    params : tree of arrays

    Returns
    -------
    AdamState

    Raises
    ------
    TypeError
        If a leaf is no floating-point array.

    Examples
    --------
    >>> lamb_init(np.ones(1)).steps
    0
    """
    return AdamState(0, _zeros(params), _zeros(params))


def lamb_update(
    grads: Any,
    state: AdamState,
    params: Any,
    *,
    lr: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    donate: bool = False,
) -> tuple[Any, AdamState]:
    """Take AdamW's direction, in each leaf as long as lr times the leaf's own norm.

    Parameters
    ----------
    grads, state, params, lr, b1, b2, eps, donate
        As in `adam_update`; eps is larger by default, as in optax.
    weight_decay : float
        Added to the direction before its norm is taken, >= 0.

    Returns
    -------
    updates : tree
        To be added to the parameters.
    state : AdamState

    Raises
    ------
    ValueError, TypeError
        If trees do not fit, a parameter is out of range, or a square overflows.

    Notes
    -----
    For each leaf w, ``r = mu_hat / (√nu_hat + eps) + weight_decay · w`` and
    ``update = -lr · ‖w‖ / ‖r‖ · r``: every layer moves by the fraction lr of its own length. The
    *trust ratio* ‖w‖/‖r‖ is 1 where one of the norms is 0, so that zero weights can start. The
    paper leaves a bound on ‖w‖ open; as in optax there is none.

    References
    ----------
    You et al. (2020), "Large batch optimization for deep learning: training BERT in 76 minutes".

    Examples
    --------
    >>> params = [np.array([3.0, 4.0]), np.array([300.0, 400.0])]
    >>> grads = [np.array([1.0, 1.0]), np.array([1.0, 1.0])]
    >>> updates, _ = lamb_update(grads, lamb_init(params), params, lr=0.01)
    >>> [u.round(3) for u in updates]  # each 1 % of its norm, 5 and 500
    [array([-0.035, -0.035]), array([-3.536, -3.536])]
    """
    lr, weight_decay = real(lr, "lr", low=0), real(weight_decay, "weight_decay", low=0)

    def finish(update: Array, w: Array) -> None:
        if weight_decay:
            update += weight_decay * w

    directions, state = _adam(
        grads, state, params, finish, scale=1.0, b1=b1, b2=b2, eps=eps, l2=0.0, donate=donate
    )
    updates = tree_leaves(directions)
    for w, update in zip(_leaves(params, "params"), updates, strict=True):
        norms = _norm(w), _norm(update)
        update *= -lr * (norms[0] / norms[1] if all(norms) else 1.0)
    return tree_unflatten(params, updates), state


def _norm(x: Array) -> float:
    """L2 norm; divided by the largest element first, whose square might overflow."""
    largest = float(np.max(np.abs(x), initial=0))
    return largest * float(np.linalg.norm(x / largest)) if 0 < largest < math.inf else largest
