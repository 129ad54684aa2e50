"""Learning-rate schedules: what the learning rate is at each optimizer step.

Every schedule is a function of the step with the same form, ``cosine(step, lr=0.1, steps=1000)``.
Steps are optimizer steps, counted from 0: with gradient accumulation several batches make one step.
`step` may be an array of steps; then the result is an array. `lr` is the learning rate that a
schedule falls from. A schedule over `steps` steps is at `end` **at step number** `steps`, one after
the last of training, and stays there: the last update, number ``steps - 1``, still gets a little
more. So no update is spent on a learning rate of 0. optax and most of PyTorch's schedulers count
the same way.

`warmup` goes before any of them. To hand a schedule on, fix its parameters:
``functools.partial(cosine, lr=0.1, steps=1000)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks
from ._checks import integer, one_of, real

Array = NDArray[Any]

__all__ = [
    "constant",
    "cosine",
    "cosine_restarts",
    "exponential",
    "inverse_sqrt",
    "linear",
    "multistep",
    "one_cycle",
    "polynomial",
    "step_decay",
    "warmup",
    "warmup_stable_decay",
]


def _steps(step: Any) -> Array:
    """Check steps: whole numbers from 0. As float64."""
    s = np.asarray(step)
    if s.dtype.kind not in "iu" or (s.size and s.min() < 0):
        raise (ValueError if s.dtype.kind in "iu" else TypeError)(
            f"{_checks._where()}: step must be a whole number >= 0, or an array of such; "
            f"got {_checks._show(step)}"
        )
    return s.astype(np.float64)


def _value(values: Any, s: Array) -> Any:
    """Give a float for one step, an array for several."""
    return float(values) if s.ndim == 0 else np.array(np.broadcast_to(values, s.shape))


def _lr(lr: Any, end: Any = 0.0) -> tuple[float, float]:
    return real(lr, "lr", low=0), real(end, "end", low=0)


def _between(start: Any, stop: Any, part: Any) -> Any:
    """Half a cosine from start (part 0) to stop (part 1)."""
    return stop + (start - stop) * 0.5 * (1 + np.cos(np.pi * part))


def constant(step: Any, *, lr: float) -> Any:
    """Keep one learning rate.

    Parameters
    ----------
    step : int or array of int
        Optimizer steps, from 0.
    lr : float
        Learning rate, >= 0.

    Returns
    -------
    float, or array of the shape of step

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Examples
    --------
    >>> constant(7, lr=0.1)
    0.1
    """
    s = _steps(step)
    return _value(_lr(lr)[0], s)


def step_decay(step: Any, *, lr: float, step_size: int, gamma: float = 0.1) -> Any:
    """Multiply the learning rate by gamma every step_size steps.

    Parameters
    ----------
    step : int or array of int
        Optimizer steps, from 0.
    lr : float
        Learning rate at first, >= 0.
    step_size : int
        Steps between two drops, >= 1; the first drop is at step number step_size.
    gamma : float
        Factor, in (0, 1].

    Returns
    -------
    float, or array of the shape of step

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    ``lr · gamma ** (step // step_size)``: PyTorch's StepLR.

    Examples
    --------
    >>> step_decay(np.arange(5), lr=1.0, step_size=2, gamma=0.5)
    array([1.  , 1.  , 0.5 , 0.5 , 0.25])
    """
    s, lr = _steps(step), _lr(lr)[0]
    gamma = real(gamma, "gamma", low=0, high=1, closed="right")
    return _value(lr * gamma ** (s // integer(step_size, "step_size", low=1)), s)


def multistep(step: Any, *, lr: float, milestones: Sequence[int], gamma: float = 0.1) -> Any:
    """Multiply the learning rate by gamma at each of some steps.

    Parameters
    ----------
    step : int or array of int
        Optimizer steps, from 0.
    lr : float
        Learning rate at first, >= 0.
    milestones : sequence of int
        Steps, >= 0 and increasing, from which on one factor more holds.
    gamma : float
        Factor, in (0, 1].

    Returns
    -------
    float, or array of the shape of step

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Examples
    --------
    >>> multistep(np.arange(5), lr=1.0, milestones=[1, 4])
    array([1.  , 0.1 , 0.1 , 0.1 , 0.01])
    """
    s, lr = _steps(step), _lr(lr)[0]
    gamma = real(gamma, "gamma", low=0, high=1, closed="right")
    places = np.asarray(milestones)
    fits = places.ndim == 1 and (not places.size or places.dtype.kind in "iu")
    if not fits or np.any(places < 0) or np.any(np.diff(places) <= 0):
        raise ValueError(
            f"multistep: milestones must be increasing whole numbers >= 0; got {milestones!r}"
        )
    return _value(lr * gamma ** np.searchsorted(places, s, side="right"), s)


def exponential(step: Any, *, lr: float, gamma: float) -> Any:
    """Multiply the learning rate by gamma at every step.

    Parameters
    ----------
    step : int or array of int
        Optimizer steps, from 0.
    lr : float
        Learning rate at step 0, >= 0.
    gamma : float
        Factor a step, > 0; above 1 the rate grows, as in a range test.

    Returns
    -------
    float, or array of the shape of step

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Examples
    --------
    >>> exponential(np.arange(3), lr=1.0, gamma=0.9)
    array([1.  , 0.9 , 0.81])
    """
    s, lr = _steps(step), _lr(lr)[0]
    gamma = real(gamma, "gamma", low=0, closed="neither")
    longest = s.max(initial=0) * math.log(gamma)
    if longest > math.log(np.finfo(float).max):
        raise ValueError(
            f"exponential: gamma must be so small that gamma ** step is finite; got {gamma}"
        )
    return _value(lr * gamma**s, s)


def polynomial(step: Any, *, lr: float, steps: int, power: float = 1.0, end: float = 0.0) -> Any:
    """Let the learning rate fall like a power of the steps that are left.

    Parameters
    ----------
    step : int or array of int
        Optimizer steps, from 0.
    lr : float
        Learning rate at step 0, >= 0.
    steps : int
        Number of steps of training, >= 1.
    power : float
        1 is linear; > 0.
    end : float
        Learning rate from step number `steps` on, >= 0.

    Returns
    -------
    float, or array of the shape of step

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    ``end + (lr - end) · (1 - step / steps) ** power``. The last update gets
    ``end + (lr - end) / steps ** power``.

    Examples
    --------
    >>> polynomial(np.arange(6), lr=1.0, steps=4, power=2.0)
    array([1.    , 0.5625, 0.25  , 0.0625, 0.    , 0.    ])
    """
    s, (lr, end) = _steps(step), _lr(lr, end)
    left = 1 - np.minimum(s / integer(steps, "steps", low=1), 1)
    return _value(end + (lr - end) * left ** real(power, "power", low=0, closed="neither"), s)


def linear(step: Any, *, lr: float, steps: int, end: float = 0.0) -> Any:
    """Let the learning rate fall along a line.

    Parameters
    ----------
    step : int or array of int
        Optimizer steps, from 0.
    lr : float
        Learning rate at step 0, >= 0.
    steps : int
        Number of steps of training, >= 1.
    end : float
        Learning rate from step number `steps` on, >= 0; above `lr` the line rises.

    Returns
    -------
    float, or array of the shape of step

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Examples
    --------
    >>> linear(np.arange(6), lr=1.0, steps=4)
    array([1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ])
    """
    s, (lr, end) = _steps(step), _lr(lr, end)
    part = np.minimum(s / integer(steps, "steps", low=1), 1)
    return _value(end + (lr - end) * (1 - part), s)


def cosine(step: Any, *, lr: float, steps: int, end: float = 0.0) -> Any:
    """Let the learning rate fall along half a cosine: slowly, fast, slowly.

    Parameters
    ----------
    step : int or array of int
        Optimizer steps, from 0.
    lr : float
        Learning rate at step 0, >= 0.
    steps : int
        Number of steps of training, >= 1.
    end : float
        Learning rate from step number `steps` on, >= 0.

    Returns
    -------
    float, or array of the shape of step

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    ``end + (lr - end) · (1 + cos(π step / steps)) / 2``, and `end` afterwards. PyTorch's
    CosineAnnealingLR goes on along the cosine instead, and rises again.

    References
    ----------
    Loshchilov & Hutter (2017), "SGDR: Stochastic gradient descent with warm restarts".

    Examples
    --------
    >>> cosine(np.arange(6), lr=1.0, steps=4).round(3)
    array([1.   , 0.854, 0.5  , 0.146, 0.   , 0.   ])
    """
    s, (lr, end) = _steps(step), _lr(lr, end)
    return _value(_between(lr, end, np.minimum(s / integer(steps, "steps", low=1), 1)), s)


def cosine_restarts(step: Any, *, lr: float, steps: int, t_mult: int = 1, end: float = 0.0) -> Any:
    """Let the learning rate fall along half a cosine again and again.

    Parameters
    ----------
    step : int or array of int
        Optimizer steps, from 0.
    lr : float
        Learning rate at the start of each cycle, >= 0.
    steps : int
        Steps of the first cycle, >= 1.
    t_mult : int
        How many times as long as the one before each cycle is, >= 1.
    end : float
        What each cycle falls toward, >= 0. No step gets it: the next cycle starts in its place.

    Returns
    -------
    float, or array of the shape of step

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    Cycle i has ``steps · t_mult**i`` steps. PyTorch's names are T_0 and T_mult.

    References
    ----------
    Loshchilov & Hutter (2017), "SGDR: Stochastic gradient descent with warm restarts".

    Examples
    --------
    >>> cosine_restarts(np.arange(7), lr=1.0, steps=2, t_mult=2).round(3)
    array([1.   , 0.5  , 1.   , 0.854, 0.5  , 0.146, 1.   ])
    """
    s, (lr, end) = _steps(step), _lr(lr, end)
    steps, t_mult = integer(steps, "steps", low=1), integer(t_mult, "t_mult", low=1)
    starts, length = [0], steps
    while starts[-1] + length <= s.max(initial=0) and t_mult > 1:
        starts.append(starts[-1] + length)
        length *= t_mult
    cycle = np.searchsorted(starts, s, side="right") - 1
    inside = s - np.asarray(starts)[cycle]
    lengths = steps * float(t_mult) ** cycle
    return _value(_between(lr, end, inside % lengths / lengths), s)


def one_cycle(
    step: Any,
    *,
    lr: float,
    steps: int,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Any:
    """Raise the learning rate along half a cosine, then let it fall far below its start.

    Parameters
    ----------
    step : int or array of int
        Optimizer steps, from 0.
    lr : float
        Largest learning rate, >= 0.
    steps : int
        Number of steps of training, >= 1.
    pct_start : float
        Part of the steps in which it rises, in (0, 1).
    div_factor, final_div_factor : float
        It starts at ``lr / div_factor`` and ends at that divided by `final_div_factor`; >= 1.

    Returns
    -------
    float, or array of the shape of step

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    The top is at step ``pct_start · steps``, the end at step `steps`. PyTorch's OneCycleLR puts
    the top one step earlier and the end on the last update, and by default lets the momentum fall
    from 0.95 to 0.85 while lr rises, and back; optax rounds the top down to a step.

    References
    ----------
    Smith & Topin (2017), "Super-convergence: very fast training of neural networks using large
    learning rates".

    Examples
    --------
    >>> one_cycle(np.array([0, 3, 10]), lr=1.0, steps=10)
    array([4.e-02, 1.e+00, 4.e-06])
    """
    s, lr = _steps(step), _lr(lr)[0]
    part = np.minimum(s / integer(steps, "steps", low=1), 1)
    top = real(pct_start, "pct_start", low=0, high=1, closed="neither")
    low = lr / real(div_factor, "div_factor", low=1)
    end = low / real(final_div_factor, "final_div_factor", low=1)
    rising = _between(low, lr, np.minimum(part / top, 1))
    falling = _between(lr, end, np.maximum(part - top, 0) / (1 - top))
    return _value(np.where(part < top, rising, falling), s)


def inverse_sqrt(step: Any, *, lr: float, timescale: int) -> Any:
    """Let the learning rate fall like 1/√step, without an end.

    Parameters
    ----------
    step : int or array of int
        Optimizer steps, from 0.
    lr : float
        Learning rate at step 0, >= 0.
    timescale : int
        After three times as many steps the learning rate has halved; >= 1.

    Returns
    -------
    float, or array of the shape of step

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    ``lr / √(1 + step / timescale)``. After a warm-up of `timescale` steps that is
    ``lr · √(timescale / t)`` at step t of the whole: the schedule of the first transformer, where
    ``lr = 1 / √(model size · timescale)``.

    References
    ----------
    Vaswani et al. (2017), "Attention is all you need".

    Examples
    --------
    >>> inverse_sqrt(np.array([0, 300, 800]), lr=1.0, timescale=100).round(3)
    array([1.   , 0.5  , 0.333])
    """
    s, lr = _steps(step), _lr(lr)[0]
    return _value(lr / np.sqrt(1 + s / integer(timescale, "timescale", low=1)), s)


def warmup(
    step: Any, *, schedule: Callable[[Any], Any], warmup_steps: int, start: float = 0.0
) -> Any:
    """Rise along a line to where another schedule starts, then follow it.

    Parameters
    ----------
    step : int or array of int
        Optimizer steps, from 0.
    schedule : callable
        A function of the step, counted from the end of the warm-up.
    warmup_steps : int
        Steps of the rise, >= 0.
    start : float
        Learning rate at step 0, >= 0.

    Returns
    -------
    float, or array of the shape of step

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    ``start + (schedule(0) - start) · step / warmup_steps``, so update number `warmup_steps` is the
    first with the full learning rate. As in optax the default start 0 makes the very first update
    do nothing; ``start = schedule(0) / warmup_steps`` with one step less avoids that.

    References
    ----------
    Goyal et al. (2017), "Accurate, large minibatch SGD: training ImageNet in 1 hour".

    Examples
    --------
    >>> from functools import partial
    >>> after = partial(linear, lr=1.0, steps=4)
    >>> warmup(np.arange(7), schedule=after, warmup_steps=2)
    array([0.  , 0.5 , 1.  , 0.75, 0.5 , 0.25, 0.  ])
    """
    s, start = _steps(step), real(start, "start", low=0)
    count = integer(warmup_steps, "warmup_steps", low=0)
    if not callable(schedule):
        raise TypeError(
            f"warmup: schedule must be a function of the step; got {_checks._show(schedule)}"
        )
    after = schedule(np.maximum(s - count, 0).astype(np.int64))
    rising = start + (schedule(0) - start) * np.minimum(s / max(count, 1), 1)
    return _value(np.where(s < count, rising, after), s)


def warmup_stable_decay(
    step: Any,
    *,
    lr: float,
    steps: int,
    warmup_steps: int,
    decay_steps: int,
    end: float = 0.0,
    shape: str = "linear",
) -> Any:
    """Rise, stay, and fall only at the end of training (WSD, trapezoid).

    Parameters
    ----------
    step : int or array of int
        Optimizer steps, from 0.
    lr : float
        Learning rate between rise and fall, >= 0.
    steps : int
        Number of steps of training, >= 1.
    warmup_steps, decay_steps : int
        Steps of the rise from 0 and of the fall, >= 0 and together at most `steps`.
    end : float
        Learning rate from step number `steps` on, >= 0.
    shape : {"linear", "cosine", "sqrt"}
        Of the fall; "sqrt" is ``1 - √part``, fast at first.

    Returns
    -------
    float, or array of the shape of step

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    Before the fall nothing depends on `steps`: a run can be prolonged from there, and several falls
    can branch off one run.

    References
    ----------
    Hu et al. (2024), "MiniCPM: Unveiling the potential of small language models with scalable
    training strategies", where the fall is exponential.

    Examples
    --------
    >>> warmup_stable_decay(np.arange(9), lr=1.0, steps=8, warmup_steps=2, decay_steps=4)
    array([0.  , 0.5 , 1.  , 1.  , 1.  , 0.75, 0.5 , 0.25, 0.  ])
    """
    s, (lr, end) = _steps(step), _lr(lr, end)
    steps = integer(steps, "steps", low=1)
    rise = integer(warmup_steps, "warmup_steps", low=0, high=steps)
    fall = integer(decay_steps, "decay_steps", low=0, high=steps - rise)
    one_of(shape, "shape", ("linear", "cosine", "sqrt"))
    part = np.clip((s - (steps - fall)) / max(fall, 1), 0, 1)
    if shape == "cosine":
        part = 0.5 * (1 - np.cos(np.pi * part))
    part = np.where(s < steps, np.sqrt(part) if shape == "sqrt" else part, 1.0)
    rising = lr * np.minimum(s / max(rise, 1), 1) if rise else lr
    return _value(np.where(s < steps - fall, rising, end + (lr - end) * (1 - part)), s)
