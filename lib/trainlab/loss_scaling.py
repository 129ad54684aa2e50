"""Loss scaling: small gradients times a large number, so that half precision can hold them.

FP16 rounds everything up to 2^-25 to zero, and many gradients are smaller. Multiplying the loss by
a scale multiplies all gradients by it, through the chain rule. They are divided by it again in
float32, before anything looks at their size.

The best scale is the largest that does not overflow, and it changes in training. A dynamic scale
finds it by trying: it is doubled after a long time without overflow, halved after each, and the
step that overflowed is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._checks import _where, integer, one_of, real
from ._checks import function as check_function
from .formats import Format, _is_format, round_to
from .mixed_precision import _float_tree
from .trees import tree_leaves, tree_map

__all__ = [
    "LossScale",
    "LostGradients",
    "ScaledState",
    "all_finite",
    "loss_scale_init",
    "loss_scale_update",
    "lost_gradients",
    "scaled_init",
    "scaled_update",
    "unscale",
]

FLOAT32_MAX = float(np.finfo(np.float32).max)


def _scale(value: Any) -> float:
    return real(value, "scale", low=0, closed="neither")


def unscale(grads: Any, *, scale: float) -> Any:
    """Divide gradients by the scale of the loss.

    Parameters
    ----------
    grads : tree of arrays
        Times `scale`; in float32 or float64, infinities and NaN allowed.
    scale : float
        > 0.

    Returns
    -------
    tree

    Raises
    ------
    TypeError, ValueError
        If a leaf is no floating-point array or the scale not positive.

    Notes
    -----
    Before clipping: the norm of scaled gradients is `scale` times as large, and a limit on it would
    mean another limit after each change of the scale.

    Examples
    --------
    >>> unscale([np.array([2048.0])], scale=1024.0)
    [array([2.])]
    """
    checked, scale = _float_tree(grads, "grads"), _scale(scale)
    # A scale far below 1 can make infinities; they are looked for afterwards.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return tree_map(lambda g: np.asarray(g / scale), checked)


def all_finite(tree: Any) -> bool:
    """Say whether no array of a tree holds an infinity or NaN.

    Parameters
    ----------
    tree : tree of arrays

    Returns
    -------
    bool
        True for a tree without leaves.

    Raises
    ------
    TypeError
        If a leaf is no floating-point array.

    Examples
    --------
    >>> all_finite({"w": np.ones(2)}), all_finite({"w": np.array([1.0, np.inf])})
    (True, False)
    """
    return all(bool(np.isfinite(x).all()) for x in tree_leaves(_float_tree(tree, "tree")))


class LossScale(NamedTuple):
    """A scale that changes in training.

    Attributes
    ----------
    scale : float
        Factor of the loss.
    good_steps : int
        Steps with finite gradients since the scale was changed last.
    """

    scale: float
    good_steps: int


def loss_scale_init(*, init_scale: float = 2.0**16) -> LossScale:
    """Start a dynamic loss scale.

    Parameters
    ----------
    init_scale : float
        The first scale, > 0. Too large is fine: it costs a few steps.

    Returns
    -------
    LossScale

    Raises
    ------
    TypeError, ValueError
        If `init_scale` is not positive.

    Notes
    -----
    The default is that of PyTorch's GradScaler.

    Examples
    --------
    >>> loss_scale_init()
    LossScale(scale=65536.0, good_steps=0)
    """
    return LossScale(real(init_scale, "init_scale", low=0, closed="neither"), 0)


def loss_scale_update(
    state: LossScale,
    *,
    finite: bool,
    growth_factor: float = 2.0,
    backoff_factor: float = 0.5,
    growth_interval: int = 2000,
) -> LossScale:
    """Lower the scale after an overflow, raise it after a long time without.

    Parameters
    ----------
    state : LossScale
        The state before.
    finite : bool
        Whether all gradients of this step were finite.
    growth_factor : float
        Factor of the scale after `growth_interval` good steps in a row, > 1.
    backoff_factor : float
        Factor of the scale after a step with an infinity or NaN, in (0, 1).
    growth_interval : int
        Number of good steps, >= 1.

    Returns
    -------
    LossScale

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    ::

        not finite:                            scale * backoff_factor, count 0
        finite, the growth_interval-th time:   scale * growth_factor,  count 0
        finite otherwise:                      scale,                  count + 1

    As PyTorch's GradScaler, with its defaults. There too a scale that would leave the range of
    float32 stays, and there is no smallest one: a scale far below 1 means that the loss itself is
    not finite. The scale cannot stay where it is best: it climbs until a step is lost, about one
    in `growth_interval`.

    References
    ----------
    Micikevicius et al. (2018), Mixed precision training, for the idea.

    Examples
    --------
    >>> state = loss_scale_init()
    >>> for finite in (False, True, True):
    ...     state = loss_scale_update(state, finite=finite, growth_interval=2)
    ...     print(state)
    LossScale(scale=32768.0, good_steps=0)
    LossScale(scale=32768.0, good_steps=1)
    LossScale(scale=65536.0, good_steps=0)
    """
    _is_loss_scale(state, "state")
    one_of(finite, "finite", (False, True))
    growth_factor = real(growth_factor, "growth_factor", low=1, closed="neither")
    backoff_factor = real(backoff_factor, "backoff_factor", low=0, high=1, closed="neither")
    growth_interval = integer(growth_interval, "growth_interval", low=1)
    if not finite:
        return LossScale(state.scale * backoff_factor, 0)
    if state.good_steps + 1 < growth_interval:
        return LossScale(state.scale, state.good_steps + 1)
    grown = state.scale * growth_factor
    return LossScale(grown if grown <= FLOAT32_MAX else state.scale, 0)


def _is_loss_scale(state: Any, name: str) -> None:
    if not isinstance(state, LossScale):
        raise TypeError(f"{_where()}: {name} must be a LossScale; got {state!r}")
    real(state.scale, f"scale of {name}", low=0, closed="neither")
    integer(state.good_steps, f"good_steps of {name}", low=0)


class ScaledState(NamedTuple):
    """State of an optimizer behind a loss scale.

    Attributes
    ----------
    inner : state of the optimizer
    loss_scale : LossScale
        Its ``scale`` is what the next loss has to be multiplied by.
    """

    inner: Any
    loss_scale: LossScale


def scaled_init(
    params: Any, *, init: Callable[[Any], Any], init_scale: float = 2.0**16
) -> ScaledState:
    """Start an optimizer behind a loss scale.

    Parameters
    ----------
    params : tree of arrays
        The master weights.
    init : callable
        ``init(params)`` gives the optimizer's state.
    init_scale : float
        As in `loss_scale_init`.

    Returns
    -------
    ScaledState

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Examples
    --------
    >>> scaled_init(np.zeros(2), init=lambda params: "momentum", init_scale=8.0)
    ScaledState(inner='momentum', loss_scale=LossScale(scale=8.0, good_steps=0))
    """
    _float_tree(params, "params")
    start = check_function(init, "init")
    real(init_scale, "init_scale", low=0, closed="neither")
    return ScaledState(start(params), loss_scale_init(init_scale=init_scale))


def scaled_update(
    grads: Any,
    state: ScaledState,
    params: Any,
    *,
    update: Callable[..., Any],
    dynamic: bool = True,
    growth_factor: float = 2.0,
    backoff_factor: float = 0.5,
    growth_interval: int = 2000,
) -> tuple[Any, ScaledState]:
    """Unscale gradients and hand them to the optimizer, or skip the step.

    Parameters
    ----------
    grads : tree of arrays
        Times the scale in `state`, as from `mixed_value_and_grad`.
    state : ScaledState
        The state before.
    params : tree of arrays
        The master weights.
    update : callable
        ``update(grads, state, params)`` gives ``(updates, state)``. Clipping belongs in here: it
        gets the gradients unscaled.
    dynamic : bool
        False: a static scale. Steps with infinities are skipped all the same.
    growth_factor, backoff_factor, growth_interval
        As in `loss_scale_update`.

    Returns
    -------
    updates : tree of arrays
        To be added to the master weights; zeros if the step is skipped.
    state : ScaledState
        After a skipped step the optimizer's state is what it was: its moments have not seen the
        infinities, and its step count has not moved.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    The order is: sum over micro-batches and ranks, unscale, look for infinities, clip, update. With
    several ranks all have to skip the same steps; an all-reduce spreads infinities to all of them.

    References
    ----------
    Micikevicius et al. (2018), Mixed precision training.

    Examples
    --------
    >>> sgd = lambda grads, state, params: (-0.5 * grads, state)
    >>> state = scaled_init(np.ones(1), init=lambda params: None, init_scale=4.0)
    >>> scaled_update(np.array([8.0]), state, np.ones(1), update=sgd)[0]
    array([-1.])
    >>> updates, state = scaled_update(np.array([np.inf]), state, np.ones(1), update=sgd)
    >>> updates, state.loss_scale.scale
    (array([0.]), 2.0)
    """
    if not isinstance(state, ScaledState):
        raise TypeError(f"scaled_update: state must be a ScaledState; got {state!r}")
    _is_loss_scale(state.loss_scale, "state")
    step = check_function(update, "update")
    one_of(dynamic, "dynamic", (False, True))
    factors = {
        "growth_factor": real(growth_factor, "growth_factor", low=1, closed="neither"),
        "backoff_factor": real(backoff_factor, "backoff_factor", low=0, high=1, closed="neither"),
    }
    interval = integer(growth_interval, "growth_interval", low=1)
    params, grads = _float_tree(params, "params"), _float_tree(grads, "grads")
    plain = unscale(grads, scale=state.loss_scale.scale)
    finite = all_finite(plain)
    after = state.loss_scale
    if dynamic:
        after = loss_scale_update(after, finite=finite, growth_interval=interval, **factors)
    if not finite:
        return tree_map(np.zeros_like, params), ScaledState(state.inner, after)
    updates, inner = step(plain, state.inner, params)
    return updates, ScaledState(inner, after)


# What is lost without a scale ------------------------------------------------------------------


class LostGradients(NamedTuple):
    """Shares of the non-zero gradients.

    Attributes
    ----------
    zero : float
        Rounded to 0.
    subnormal : float
        Not 0, but below the smallest normal number: fewer significant bits.
    overflow : float
        Rounded to infinity or NaN.
    """

    zero: float
    subnormal: float
    overflow: float


def lost_gradients(grads: Any, fmt: Format, *, scale: float = 1.0) -> LostGradients:
    """Count the gradients that fall out of a format's range.

    Parameters
    ----------
    grads : tree of arrays of float32 or float64
        Unscaled.
    fmt : Format
        The format.
    scale : float
        They are multiplied by it before they are rounded, > 0.

    Returns
    -------
    LostGradients
        Shares of all gradients that are not 0 from the beginning (a ReLU makes many of those);
        0 if there are none.

    Raises
    ------
    TypeError, ValueError
        If a leaf is no such array or not finite, or another argument not of its kind.

    Notes
    -----
    What becomes 0 are numbers up to half of the smallest subnormal: in FP16 ``|g| scale <= 2^-25``,
    the tie included, since 0 is even.

    References
    ----------
    Micikevicius et al. (2018), Mixed precision training.

    Examples
    --------
    >>> from trainlab.formats import FP16
    >>> grads = np.array([0.0, 1e-8, 1e-6, 1.0, 100.0])
    >>> lost_gradients(grads, FP16)
    LostGradients(zero=0.25, subnormal=0.25, overflow=0.0)
    >>> lost_gradients(grads, FP16, scale=1024.0)
    LostGradients(zero=0.0, subnormal=0.25, overflow=0.25)
    """
    fmt, scale = _is_format(fmt), _scale(scale)
    count = np.zeros(4)
    for leaf in tree_leaves(_float_tree(grads, "grads", finite=True)):
        g = leaf[leaf != 0].astype(np.float64)  # so that the scale itself loses nothing
        with np.errstate(over="ignore"):  # counted as such
            size = np.abs(round_to(g * scale, fmt))
        small = (size > 0) & (size < fmt.min_normal)
        over = ~np.isfinite(size)
        count += [np.sum(size == 0), np.sum(small), np.sum(over), g.size]
    zero, subnormal, overflow, total = count.tolist()
    return LostGradients(*(n / max(total, 1.0) for n in (zero, subnormal, overflow)))
