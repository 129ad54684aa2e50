"""The training loop: for each batch a gradient and an optimizer step.

`train` takes any loss, any optimizer of `trainlab.optimizers` and any schedule of
`trainlab.learning_rate`; `minibatch_rows` shuffles the examples into batches. `lr_range_test`
raises the learning rate at every step until the loss blows up: one short run that says where to
look for a good one.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks
from ._checks import array, generator, integer, one_of, real
from ._leafwise import _leaves
from .differentiation import value_and_grad
from .optimizers import OPTIMIZERS, Optimizer, apply_updates

Array = NDArray[Any]

__all__ = [
    "RangeTest",
    "Trained",
    "lr_range_test",
    "minibatch_rows",
    "smoothed_losses",
    "suggested_lr",
    "train",
]


class Trained(NamedTuple):
    """What `train` returns.

    Attributes
    ----------
    params : tree
        After the last step.
    losses : array of shape (steps,)
        Of each batch, before its step.
    state : the optimizer's state
    watched : list
        What `watch` returned.
    """

    params: Any
    losses: Array
    state: Any
    watched: list[Any]


def minibatch_rows(
    count: int, *, batch_size: int, steps: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the rows of each batch without replacement, epoch after epoch.

    Parameters
    ----------
    count : int
        Examples, >= 1.
    batch_size : int
        Rows of a batch, >= 1.
    steps : int
        Batches, >= 0.
    rng : numpy.random.Generator
        Shuffles each epoch anew.

    Returns
    -------
    array of int of shape (steps, batch_size)

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    The epochs are laid end to end and cut into batches: all batches are full, one that crosses the
    end of an epoch takes its other rows from the next. PyTorch's DataLoader makes a smaller batch
    there, or drops it.

    Examples
    --------
    >>> rows = minibatch_rows(4, batch_size=2, steps=2, rng=np.random.default_rng(0))
    >>> sorted(rows.ravel().tolist())
    [0, 1, 2, 3]
    """
    count, size = integer(count, "count", low=1), integer(batch_size, "batch_size", low=1)
    steps = integer(steps, "steps", low=0)
    generator(rng)
    epochs = -(-steps * size // count)  # rounded up
    order = rng.permuted(np.tile(np.arange(count), (epochs, 1)), axis=1)
    return order.reshape(-1)[: steps * size].reshape(steps, size)


def train(
    loss: Callable[..., Any],
    params: Any,
    *,
    batches: Iterable[Any],
    lr: float | Callable[[int], float],
    optimizer: str | Optimizer = "sgd",
    watch: Callable[[int, Any], Any] | None = None,
    **options: Any,
) -> Trained:
    """Minimize a loss: one optimizer step for each batch.

    Parameters
    ----------
    loss : callable
        ``loss(params, *batch)`` gives one number, made of differentiable functions.
    params : tree of arrays
        Where to start; not changed.
    batches : iterable
        Of tuples: the further arguments of the loss. ``[()] * 100`` takes 100 steps without data.
    lr : float or callable
        Learning rate, or a schedule: a function of the step, from 0.
    optimizer : str or Optimizer
        A name in `trainlab.optimizers.OPTIMIZERS`, or such a pair.
    watch : callable, optional
        ``watch(step, params)`` is called before each step and after the last.
    **options
        Parameters of the optimizer's update, such as ``momentum=0.9``.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError, TypeError
        If a parameter is of the wrong kind or range.

    Notes
    -----
    Training ends at the first loss that is infinite or NaN; that is then the last of `losses`, and
    `params` are those that gave it.

    Examples
    --------
    >>> from trainlab.regression import mse_loss
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((64, 3))
    >>> y = x @ np.array([[1.0], [2.0], [3.0]])
    >>> rows = minibatch_rows(64, batch_size=16, steps=200, rng=rng)
    >>> done = train(
    ...     lambda w, x, y: mse_loss(x @ w, y), np.zeros((3, 1)),
    ...     batches=((x[r], y[r]) for r in rows), lr=0.1,
    ... )
    >>> done.params.ravel().round(3)
    array([1., 2., 3.])
    """
    if watch is not None and not callable(watch):
        raise TypeError(f"train: watch must be a function or None; got {_checks._show(watch)}")
    chosen = _optimizer(optimizer, options)
    losses: list[float] = []
    watched: list[Any] = []
    steps = _training_steps(loss, params, _batches(batches), chosen, _schedule(lr), options)
    for value, *now in steps:
        if watch is not None:
            watched.append(watch(len(losses), now[0]))
        if value is not None:
            losses.append(value)
    return Trained(now[0], np.array(losses), now[1], watched)


def _training_steps(
    loss: Callable[..., Any],
    params: Any,
    batches: Iterable[Any],
    optimizer: Optimizer,
    schedule: Callable[[int], Any],
    options: dict[str, Any],
) -> Iterator[tuple[float | None, Any, Any]]:
    """Give the loss of each batch, and parameters and state before its step.

    After the last step come its parameters, without a loss.
    """
    _checks.function(loss, "loss")
    if not _leaves(params, "params"):
        raise ValueError(f"{_checks._where()}: params must have a leaf; got {params!r}")
    both = value_and_grad(loss)
    state = optimizer.init(params)
    for step, batch in enumerate(batches):
        if not isinstance(batch, tuple):
            raise TypeError(
                f"{_checks._where()}: batches must be tuples of arguments; got {type(batch)}"
            )
        rate = real(schedule(step), "lr", low=0)
        # An infinite loss ends training below; the way there is no error.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value, grads = both(params, *batch)
        yield float(value), params, state
        if not math.isfinite(value):
            return
        updates, state = optimizer.update(grads, state, params, lr=rate, **options)
        params = apply_updates(params, updates)
    yield None, params, state


def _optimizer(optimizer: Any, options: dict[str, Any]) -> Optimizer:
    chosen = (
        optimizer
        if isinstance(optimizer, Optimizer)
        else OPTIMIZERS[one_of(optimizer, "optimizer", OPTIMIZERS)]
    )
    known = inspect.signature(chosen.update).parameters
    own = {name for name, p in known.items() if p.kind is p.KEYWORD_ONLY} - {"lr"}
    for name in options:
        if name not in own:
            raise TypeError(
                f"{_checks._where()}: options must be among {', '.join(sorted(own))}; got {name!r}"
            )
    return chosen


def _schedule(lr: Any) -> Callable[[int], Any]:
    if callable(lr):
        return lr  # type: ignore[no-any-return]
    rate = real(lr, "lr", low=0)
    return lambda step: rate


def _batches(batches: Any) -> Iterable[Any]:
    if not isinstance(batches, Iterable):
        raise TypeError(
            f"{_checks._where()}: batches must be an iterable of tuples; "
            f"got {_checks._show(batches)}"
        )
    return batches


# The range test --------------------------------------------------------------------------------


class RangeTest(NamedTuple):
    """What `lr_range_test` returns: learning rate and loss of each step, raw and smoothed."""

    lr: Array
    losses: Array
    smoothed: Array


def smoothed_losses(losses: Any, *, smoothing: float = 0.9) -> Array:
    """Average losses exponentially, corrected for the start.

    Parameters
    ----------
    losses : array of shape (steps,)
    smoothing : float
        Weight of the old average, in [0, 1).

    Returns
    -------
    array of shape (steps,)

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    The average lags behind by ``smoothing / (1 - smoothing)`` steps: a curve moves to the right.

    Examples
    --------
    >>> smoothed_losses([1.0, 2.0, 3.0], smoothing=0.5).round(3)
    array([1.   , 1.667, 2.429])
    """
    values = array(losses, "losses", ndim=1)
    smoothing = real(smoothing, "smoothing", low=0, high=1, closed="left")
    total, out = 0.0, np.empty_like(values)
    for i, value in enumerate(values):
        total = smoothing * total + (1 - smoothing) * float(value)
        out[i] = total / (1 - smoothing ** (i + 1))
    return out


def lr_range_test(
    loss: Callable[..., Any],
    params: Any,
    *,
    batches: Iterable[Any],
    steps: int,
    low: float = 1e-4,
    high: float = 10.0,
    optimizer: str | Optimizer = "sgd",
    smoothing: float = 0.9,
    stop: float = 4.0,
    **options: Any,
) -> RangeTest:
    """Train with a learning rate that grows by one factor each step, until the loss blows up.

    Parameters
    ----------
    loss, params, batches, optimizer, **options
        As in `train`.
    steps : int
        Steps from `low` to `high`, >= 2; at least as many batches are needed.
    low, high : float
        Learning rate of the first and the last step, 0 < low < high.
    smoothing : float
        Of the smoothed losses, in [0, 1).
    stop : float
        The test ends when the smoothed loss is more than `stop` times the first; > 1.

    Returns
    -------
    RangeTest
        Of the steps taken.

    Raises
    ------
    ValueError, TypeError
        If a parameter is of the wrong kind or range.

    Notes
    -----
    It shows a learning rate at which training blows up *at once*, later than the one at which it
    is unstable: when the limit is crossed, the error has shrunk for many steps and first has to
    grow again. So divide: see `suggested_lr`.

    References
    ----------
    Smith (2017), "Cyclical learning rates for training neural networks".

    Examples
    --------
    >>> bowl = lambda w: 5.0 * w * w  # curvature 10: unstable above 0.2
    >>> test = lr_range_test(bowl, np.array(1.0), batches=[()] * 100, steps=100)
    >>> float(test.lr[-1].round(2)) > 0.4
    True
    """
    high = real(high, "high", low=0, closed="neither")
    low = real(low, "low", low=0, high=high, closed="neither")
    stop, count = real(stop, "stop", low=1, closed="neither"), integer(steps, "steps", low=2)
    smoothing = real(smoothing, "smoothing", low=0, high=1, closed="left")
    rates = low * (high / low) ** (np.arange(count) / (count - 1))
    chosen = _optimizer(optimizer, options)
    enough = (batch for batch, _ in zip(_batches(batches), rates, strict=False))
    losses: list[float] = []
    total, schedule = 0.0, rates.tolist().__getitem__
    for value, _, _ in _training_steps(loss, params, enough, chosen, schedule, options):
        if value is None or not math.isfinite(value):
            break
        losses.append(value)
        total = smoothing * total + (1 - smoothing) * value
        if total > stop * losses[0] * (1 - smoothing ** len(losses)):
            break
    if not losses:
        raise ValueError("lr_range_test: loss must be finite at params; got NaN or infinity")
    smoothed = smoothed_losses(losses, smoothing=smoothing)
    return RangeTest(rates[: len(losses)], np.array(losses), smoothed)


def suggested_lr(test: RangeTest, *, rule: str = "minimum/10") -> float:
    """Read a learning rate off a range test.

    Parameters
    ----------
    test : RangeTest
    rule : {"minimum", "minimum/10", "steepest"}
        Where the smoothed loss is smallest; a tenth of that; where it falls most steeply against
        the logarithm of the learning rate (noisy).

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        If a parameter is of the wrong kind, or "steepest" is asked of fewer than 3 steps.

    Examples
    --------
    >>> lr, losses = np.array([0.01, 0.1, 1.0, 10.0]), np.array([2.0, 1.5, 0.5, 4.0])
    >>> suggested_lr(RangeTest(lr, losses, losses))
    0.1
    """
    if not isinstance(test, RangeTest):
        raise TypeError(f"suggested_lr: test must be a RangeTest; got {_checks._show(test)}")
    one_of(rule, "rule", ("minimum", "minimum/10", "steepest"))
    if rule != "steepest":
        best = float(test.lr[np.argmin(test.smoothed)])
        return best if rule == "minimum" else best / 10
    if len(test.lr) < 3:
        raise ValueError(f"suggested_lr: test must have 3 steps or more; got {len(test.lr)}")
    slope = np.gradient(test.smoothed, np.log(test.lr))
    return float(test.lr[np.argmin(slope)])
