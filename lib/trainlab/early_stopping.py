"""Early stopping: end training when validation no longer improves, and go back to the best.

A validation score is noisy. Patience waits out the noise; what is picked as the best of many scores
was partly lucky, so its score is optimistic, and a test set has to tell the rest. For least squares
a stop is a penalty: few steps shrink the directions that ridge regression shrinks.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import array, integer, one_of, real

__all__ = [
    "EarlyStoppingState",
    "Picked",
    "Stops",
    "descent_factors",
    "early_stopping_init",
    "early_stopping_update",
    "equivalent_weight_decay",
    "expected_maximum",
    "picked_score",
    "stopping_points",
]

Array = NDArray[Any]

MODES = ("min", "max")


# The rule ---------------------------------------------------------------------------------------


class EarlyStoppingState(NamedTuple):
    """What is remembered between two validations.

    Attributes
    ----------
    best : float
        Best score so far; NaN before the first.
    best_step : int
        When it came, counted from 0; −1 before the first.
    step : int
        Number of scores so far.
    wait : int
        Number of scores since the best.
    stop : bool
        Whether to stop now.
    params : tree
        What came with the best score: the parameters to go back to.
    """

    best: float
    best_step: int
    step: int
    wait: int
    stop: bool
    params: Any


def early_stopping_init(params: Any = None) -> EarlyStoppingState:
    """Start before the first validation.

    Parameters
    ----------
    params : tree, optional
        Initial parameters, kept until a score comes.

    Returns
    -------
    EarlyStoppingState

    Examples
    --------
    >>> early_stopping_init()
    EarlyStoppingState(best=nan, best_step=-1, step=0, wait=0, stop=False, params=None)
    """
    return EarlyStoppingState(math.nan, -1, 0, 0, False, params)


def _rule(patience: Any, min_delta: Any, mode: Any) -> tuple[int, float, float]:
    """Check the parameters of the rule; the sign turns scores into losses."""
    patience = integer(patience, "patience", low=1)
    min_delta = real(min_delta, "min_delta", low=0)
    return patience, min_delta, 1.0 if one_of(mode, "mode", MODES) == "min" else -1.0


def early_stopping_update(
    score: float,
    state: EarlyStoppingState,
    params: Any = None,
    *,
    patience: int,
    min_delta: float = 0.0,
    mode: str = "min",
) -> EarlyStoppingState:
    """Take in a validation score, and decide whether to stop.

    Parameters
    ----------
    score : float
        Validation loss or metric, finite: a run that has diverged is no matter of patience.
    state : EarlyStoppingState
        Unchanged; not stopped yet.
    params : tree, optional
        Parameters that have this score. They are kept, not copied: whoever updates them in place
        has to copy them before.
    patience : int
        Stop after this many scores in a row without an improvement, ≥ 1.
    min_delta : float
        Only a score better than the best by more than this is an improvement, ≥ 0; absolute.
    mode : {"min", "max"}
        Whether small scores (losses) or large ones (accuracies) are better.

    Returns
    -------
    EarlyStoppingState
        When `stop` is set, go on with its `params`.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or training has been stopped before.

    Notes
    -----
    An improvement is ``score < best - min_delta``, and only then the best moves. So small steps
    down count as none, until their sum exceeds `min_delta`. Keras and Lightning have the same rule
    and stop when wait ≥ patience; Keras goes back to the best only with
    ``restore_best_weights=True``, Lightning leaves it to a checkpoint.

    References
    ----------
    Prechelt (1998), "Early stopping — but when?", compares other rules.

    Examples
    --------
    >>> state = early_stopping_init()
    >>> for epoch, loss in enumerate([3.0, 1.0, 1.5, 2.0, 0.5]):
    ...     state = early_stopping_update(loss, state, f"epoch {epoch}", patience=2)
    ...     if state.stop:
    ...         break
    >>> epoch, state.params, state.best
    (3, 'epoch 1', 1.0)
    """
    if not isinstance(state, EarlyStoppingState):
        raise TypeError(
            "early_stopping_update: state must be an EarlyStoppingState, from early_stopping_init; "
            f"got {type(state).__name__}"
        )
    if state.stop:
        raise ValueError(
            "early_stopping_update: state must not have stopped; got one that stopped after "
            f"{state.step} scores"
        )
    patience, min_delta, sign = _rule(patience, min_delta, mode)
    score = real(score, "score")
    if state.best_step < 0 or sign * score < sign * state.best - min_delta:
        return EarlyStoppingState(score, state.step, state.step + 1, 0, False, params)
    wait = state.wait + 1
    return state._replace(step=state.step + 1, wait=wait, stop=wait >= patience)


class Stops(NamedTuple):
    """Where runs stop.

    Attributes
    ----------
    stop : array of int
        Index of the last score that was looked at.
    best : array of int
        Index of the best of these by the rule, to go back to.
    stopped : array of bool
        Whether the rule stopped the run, not the end of the scores.
    """

    stop: NDArray[np.intp]
    best: NDArray[np.intp]
    stopped: NDArray[np.bool_]


def stopping_points(
    scores: ArrayLike, *, patience: int, min_delta: float = 0.0, mode: str = "min"
) -> Stops:
    """Apply the rule of `early_stopping_update` to whole curves at once.

    Parameters
    ----------
    scores : array of shape (..., T)
        Validation curves, one score an epoch.
    patience, min_delta, mode
        As in `early_stopping_update`.

    Returns
    -------
    Stops
        Of arrays of shape (...).

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    Examples
    --------
    >>> stopping_points([3.0, 1.0, 1.5, 2.0, 0.5], patience=2)
    Stops(stop=array(3), best=array(1), stopped=array(True))
    """
    curves = array(scores, "scores")
    if curves.ndim == 0:
        raise ValueError("stopping_points: scores must have an axis of epochs; got one number")
    patience, min_delta, sign = _rule(patience, min_delta, mode)
    # float64 as in the update, which counts in Python's numbers
    losses = np.moveaxis(sign * curves.astype(np.float64), -1, 0)
    lowest = np.array(losses[0])
    best = np.zeros(lowest.shape, np.intp)
    stop = np.full(lowest.shape, len(losses) - 1, np.intp)
    stopped = np.zeros(lowest.shape, bool)
    for step, loss in enumerate(losses[1:], start=1):
        better = ~stopped & (loss < lowest - min_delta)
        np.copyto(lowest, loss, where=better)
        np.copyto(best, step, where=better)
        ends = ~stopped & (step - best >= patience)
        np.copyto(stop, step, where=ends)
        stopped |= ends
        if stopped.all():
            break
    return Stops(stop, best, stopped)


# The optimism of the best -----------------------------------------------------------------------


def _upper_tail(z: Array) -> Array:
    """Probability that a standard normal number exceeds z."""
    return np.asarray(np.vectorize(math.erfc, otypes=[float])(z / math.sqrt(2)) / 2)


@lru_cache(maxsize=1)
def _normal_grid() -> tuple[float, Array, Array, Array]:
    """Width of a grid, its points z, the logarithms of the density and of Φ there."""
    width = 1 / 64  # the integrand is smooth, so that the sum is exact to rounding
    z = np.arange(-12, 12, width)
    log_density = -(z**2) / 2 - math.log(2 * math.pi) / 2
    below = np.log1p(-_upper_tail(np.maximum(z, 0)))
    return width, z, log_density, np.where(z < 0, np.log(_upper_tail(-np.minimum(z, 0))), below)


def expected_maximum(count: int) -> float:
    """Mean of the largest of some independent standard normal numbers.

    Parameters
    ----------
    count : int
        K, from 1 to 10^15.

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        If `count` is out of its range.

    Notes
    -----
    ``∫ z d(Φ(z)^count)``, below √(2 ln K) and near it only for very large K. Scores of K equally
    good checkpoints, each with noise σ, have a best that looks better by σ times this.

    Examples
    --------
    >>> [round(expected_maximum(k), 2) for k in (1, 2, 10, 100, 1000)]
    [0.0, 0.56, 1.54, 2.51, 3.24]
    """
    count = integer(count, "count", low=1, high=10**15)
    width, z, log_density, below = _normal_grid()
    return float(width * np.sum(z * count * np.exp(log_density + (count - 1) * below)))


class Picked(NamedTuple):
    """What to expect of the checkpoint with the best noisy score.

    Attributes
    ----------
    score : float
        Mean of its score.
    value : float
        Mean of its true value.
    optimism : float
        How much better the score is than the value; ≥ 0.
    chances : array of shape (T,)
        Probability of being picked, for each checkpoint.
    """

    score: float
    value: float
    optimism: float
    chances: Array


def picked_score(values: ArrayLike, *, std: float, mode: str = "min") -> Picked:
    """Compare the best noisy score with the true value of the checkpoint that has it.

    Parameters
    ----------
    values : array of shape (T,)
        True validation losses (or metrics) of the checkpoints.
    std : float
        Standard deviation of the independent Gaussian noise of each score, > 0.
    mode : {"min", "max"}
        Whether small or large scores are better.

    Returns
    -------
    Picked

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    Notes
    -----
    Checkpoint i is picked at score x with density ``φ(z_i) ∏_{j≠i} (1 − Φ(z_j)) / std``, where
    ``z_i = (x − values[i]) / std``; integrated numerically. For equal values the optimism is
    ``std * expected_maximum(T)``. Scores of neighboring epochs share their validation set, so that
    their noise is correlated: then there are fewer independent ones, and less optimism.

    Examples
    --------
    >>> picked = picked_score([0.30, 0.31, 0.40], std=0.02)
    >>> round(picked.score, 4), round(picked.value, 4), picked.chances.round(2)
    (0.293, 0.3036, array([0.64, 0.36, 0.  ]))
    """
    true = array(values, "values", ndim=1).astype(np.float64)
    std = real(std, "std", low=0, closed="neither")
    sign = 1.0 if one_of(mode, "mode", MODES) == "min" else -1.0
    losses = sign * true
    lowest = float(losses.min())
    with np.errstate(over="ignore"):
        behind = (losses - lowest) / std
    near = behind < 25  # who is further behind wins with a probability below 1e-60
    width = 1 / 32
    z = np.arange(-12, 12, width)[:, None] - behind[near]  # (points, candidates)
    log_above = np.log(_upper_tail(z))
    others = log_above.sum(axis=1, keepdims=True) - log_above
    density = np.exp(others - z**2 / 2) * (width / math.sqrt(2 * math.pi))
    chances = np.zeros(len(true))
    chances[near] = density.sum(axis=0)
    gain = -float(np.sum(density * z)) * std  # the mean of the noise of whom is picked
    value = lowest + float(chances[near] @ behind[near]) * std
    return Picked(sign * (value - gain), sign * value, gain, chances)


# A stop as a penalty ----------------------------------------------------------------------------


def descent_factors(s: ArrayLike, steps: ArrayLike, *, lr: float, n: int) -> Array:
    """Fraction of each singular direction that gradient descent has fitted after some steps.

    Parameters
    ----------
    s : array of shape (..., r)
        Singular values of the training features, ≥ 0.
    steps : int or array of int of shape (T,)
        Number of steps from w = 0, ≥ 0.
    lr : float
        Learning rate, > 0 and below 2n/s² for all s, above which the steps diverge.
    n : int
        Number of training examples.

    Returns
    -------
    array of shape (..., r) or (..., r, T)
        ``1 - (1 - lr * s**2 / n) ** steps``.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    Notes
    -----
    Gradient descent on 1/(2n) ‖Φw − y‖². For small `lr` these are the `flow_factors` of
    `trainlab.spectral_filters` at time lr·steps, and close to its `ridge_factors` with
    ``equivalent_weight_decay(steps, lr=lr)``: the same order of directions, a sharper cut.

    References
    ----------
    Ali, Kolter & Tibshirani (2019), "A continuous-time view of early stopping for least squares",
    for the comparison of flow and ridge.

    Examples
    --------
    >>> descent_factors(np.sqrt([0.01, 0.1, 1.0]), 40, lr=0.5, n=1).round(3)
    array([0.182, 0.871, 1.   ])
    """
    s = array(s, "s")
    real(float(s.min()), "s", low=0)
    n = integer(n, "n", low=1)
    lr = real(lr, "lr", low=0, closed="neither")
    given = np.asarray(steps)
    if given.dtype.kind not in "iu" or given.ndim > 1 or given.size == 0:
        raise TypeError(f"descent_factors: steps must be whole numbers; got {steps!r}")
    integer(int(given.min()), "steps", low=0)
    top = float(s.max())
    pace = top * (lr / n) * top
    if not pace < 2:
        raise ValueError(
            f"descent_factors: lr must be below 2n/s² of the largest s, so that it converges; "
            f"got lr s²/n = {pace:.3g}"
        )
    # each factor once, so that the square of a small s does not vanish before its time
    rate = (s.astype(np.float64) * math.sqrt(lr / n)) ** 2
    if given.ndim:
        rate = rate[..., None]
    slow = np.minimum(rate, 0.5)
    small = -np.expm1(given * np.log1p(-slow))  # keeps the digits of tiny factors
    return np.asarray(np.where(rate < 0.5, small, 1 - (1 - rate) ** given), dtype=s.dtype)


def equivalent_weight_decay(steps: int, *, lr: float) -> float:
    """Ridge penalty that shrinks about as much as stopping does.

    Parameters
    ----------
    steps : int
        Of gradient descent, ≥ 1.
    lr : float
        Learning rate, > 0.

    Returns
    -------
    float
        λ = 1/(lr·steps), in the loss 1/(2n) ‖Φw − y‖² + (λ/2) ‖w‖².

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    Notes
    -----
    Of one direction with curvature h = s²/n gradient flow has fitted ``1 - exp(-h/λ)`` when ridge
    fits ``h/(h + λ)``. The two differ by 0.2036 at most, where h = 2.513 λ.

    Examples
    --------
    >>> equivalent_weight_decay(40, lr=0.5)
    0.05
    """
    steps = integer(steps, "steps", low=1)
    lr = real(lr, "lr", low=0, closed="neither")
    return real(1 / steps / lr, "1 / lr", low=0)
