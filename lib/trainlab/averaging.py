"""Averages of the weights over training, to evaluate with.

With noisy gradients and a learning rate that does not fall, the weights keep jumping around a
minimum. Their average lies closer to it than the last of them, and costs one copy of the weights.
The optimizer does not see the average: training goes on from the last weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from ._checks import one_of, real
from ._leafwise import _leaves, _state, _update_leaves
from .trees import tree_unflatten

Array = NDArray[Any]

__all__ = ["EMAState", "ema_init", "ema_update"]


class EMAState(NamedTuple):
    """Steps averaged over, and the average: weights to evaluate with."""

    steps: int
    average: Any


def ema_init(params: Any) -> EMAState:
    """Start an average at given weights.

    Parameters
    ----------
    params : tree of arrays

    Returns
    -------
    EMAState

    Raises
    ------
    TypeError
        If a leaf is no floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> ema_init(np.ones(2))
    EMAState(steps=0, average=array([1., 1.]))
    """
    return EMAState(0, tree_unflatten(params, [w.copy() for w in _leaves(params, "params")]))


def ema_update(
    params: Any,
    state: EMAState,
    *,
    decay: float = 0.999,
    bias_correction: bool = True,
    donate: bool = False,
) -> EMAState:
    """Move an exponential moving average toward new weights, once an optimizer step.

    Parameters
    ----------
    params : tree of arrays
        The weights after the step.
    state : EMAState
        The average before.
    decay : float
        Weight of the old average, in [0, 1].
    bias_correction : bool
        Whether the start is forgotten: the weights of all `params` seen add up to 1.
    donate : bool
        Whether the arrays of `state` may be overwritten with the new state.

    Returns
    -------
    EMAState

    Raises
    ------
    ValueError, TypeError
        If trees do not fit or a parameter is out of range.

    Notes
    -----
    ``average += share · (params - average)``. Without correction ``share = 1 - decay``, and
    ``decay**t`` of the start is left after t steps. With it the share is divided by
    ``1 - decay**t``: exactly the average that starts at 0 and is divided by that (optax's debias).
    That share is 1 at t = 1, and tends to 1/t as decay → 1; so decay 1 is the plain mean. PyTorch's
    ``AveragedModel`` with ``get_ema_multi_avg_fn`` copies the first weights and has no correction.

    References
    ----------
    Polyak & Juditsky (1992), "Acceleration of stochastic approximation by averaging", for the plain
    mean.

    Examples
    --------
    >>> import numpy as np
    >>> state = ema_init(np.array([0.0]))
    >>> for w in (3.0, 5.0):
    ...     state = ema_update(np.array([w]), state, decay=0.5)
    >>> state.average.round(4)  # (1/4 · 3 + 1/2 · 5) / (1/4 + 1/2)
    array([4.3333])
    """
    count = _state(state, EMAState)
    decay = real(decay, "decay", low=0, high=1)
    share = 1 - decay
    if one_of(bias_correction, "bias_correction", (False, True)):
        share = 1 / count if decay == 1 else share / (1 - decay**count)

    def step(w: Array, _: Array, __: Array, average: Array) -> None:
        average += share * (w - average)

    _, average = _update_leaves(step, params, params, state.average, donate=donate)
    return EMAState(count, average)
