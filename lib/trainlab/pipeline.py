"""Pipeline parallelism: each rank has some of the layers, and micro-batches pass through.

The layers are cut into *stages*, one a rank. A batch alone would keep one rank busy at a time, so
it is cut into micro-batches that follow each other. Still, the last stage has to wait until the
first micro-batch arrives, and the first until the last gradient comes back: this idle time is the
*bubble*. The gradients are added up over the micro-batches, and the update waits for all of them,
so the result is that of gradient accumulation.

A *schedule* is the order in which each stage does its forward and backward passes. GPipe does all
forward passes first. 1F1B (one forward, one backward) begins with the backward passes as early as
possible. Both have the same bubble; 1F1B holds activations of fewer micro-batches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import array, integer, one_of, real

__all__ = ["SCHEDULES", "PipelineRun", "bubble_fraction", "pipeline_order", "pipeline_run"]

SCHEDULES = ("gpipe", "1f1b")

Task = tuple[str, int]


class PipelineRun(NamedTuple):
    """When each stage works on what, in one step of training.

    Attributes
    ----------
    stage, microbatch : array of shape (tasks,)
        Of each forward or backward pass, from 0.
    backward : array of bool, of shape (tasks,)
        Whether it is a backward pass.
    start, end : array of shape (tasks,)
        When it begins and ends, in seconds (or what the durations were given in).
    total : float
        When the last one ends.
    bubble : float
        Share of all stages' time in which they are idle, in [0, 1).
    held : array of shape (stages,)
        Largest number of micro-batches whose activations a stage holds at once.
    """

    stage: NDArray[np.int64]
    microbatch: NDArray[np.int64]
    backward: NDArray[np.bool_]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    total: float
    bubble: float
    held: NDArray[np.int64]


def bubble_fraction(stages: int, microbatches: int) -> float:
    """Share of the time in which a stage is idle, if all stages take equally long.

    Parameters
    ----------
    stages : int
        Number of stages p, >= 1.
    microbatches : int
        Number of micro-batches m, >= 1.

    Returns
    -------
    float
        ``(p - 1) / (m + p - 1)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    The step takes as long as m + p - 1 micro-batches, and a stage is busy for m of them. The same
    bubble divided by the busy time is (p - 1)/m, which some papers call the bubble fraction: it can
    exceed 1.

    References
    ----------
    Huang et al. (2019), GPipe: efficient training of giant neural networks using pipeline
    parallelism.
    Narayanan et al. (2021), Efficient large-scale language model training on GPU clusters using
    Megatron-LM.

    Examples
    --------
    >>> [round(bubble_fraction(4, m), 3) for m in (1, 4, 16, 64)]
    [0.75, 0.429, 0.158, 0.045]
    """
    p, m = integer(stages, "stages", low=1), integer(microbatches, "microbatches", low=1)
    return (p - 1) / (m + p - 1)


def pipeline_order(stages: int, microbatches: int, *, schedule: str) -> list[list[Task]]:
    """List what each stage does, one after the other.

    Parameters
    ----------
    stages : int
        Number of stages p, >= 1.
    microbatches : int
        Number of micro-batches m, >= 1.
    schedule : {"gpipe", "1f1b"}

    Returns
    -------
    list of p lists
        Pairs ``("F" or "B", number of the micro-batch)``, 2 m for each stage.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    GPipe: all forward passes, then the backward passes, the last micro-batch first. 1F1B: stage s
    (from 0) begins with min(m, p - 1 - s) forward passes; then it alternates, one forward, one
    backward, both in the order of the micro-batches; and the backward passes that are left end it.

    References
    ----------
    Huang et al. (2019), GPipe: efficient training of giant neural networks using pipeline
    parallelism.
    Narayanan et al. (2021), Efficient large-scale language model training on GPU clusters using
    Megatron-LM.

    Examples
    --------
    >>> for order in pipeline_order(2, 3, schedule="1f1b"):
    ...     print(*(kind + str(i) for kind, i in order))
    F0 F1 B0 F2 B1 B2
    F0 B0 F1 B1 F2 B2
    """
    return _order(stages, microbatches, schedule)


def _order(stages: Any, microbatches: Any, schedule: Any) -> list[list[Task]]:
    p, m = integer(stages, "stages", low=1), integer(microbatches, "microbatches", low=1)
    one_of(schedule, "schedule", SCHEDULES)
    if schedule == "gpipe":
        forward, backward = range(m), reversed(range(m))
        return [[*(("F", i) for i in forward), *(("B", i) for i in backward)]] * p
    orders = []
    for s in range(p):
        early = min(m, p - 1 - s)
        order = [("F", i) for i in range(early)]
        for i in range(m - early):
            order += [("F", early + i), ("B", i)]
        orders.append(order + [("B", i) for i in range(m - early, m)])
    return orders


def _durations(value: Any, name: str, stages: int) -> list[float]:
    """Check one duration, or one for each stage."""
    each = np.broadcast_to(array(value, name), (stages,)) if np.ndim(value) == 0 else value
    each = array(each, name, shape=(stages,))
    real(float(each.min()), f"{name}, the smallest of it,", low=0, closed="neither")
    return [float(duration) for duration in each]


def _times(
    orders: list[list[Task]], durations: dict[str, list[float]], transfer: float
) -> dict[tuple[str, int, int], tuple[float, float]]:
    """Start every task as soon as its stage is free and what it needs has arrived."""
    last = len(orders) - 1
    times: dict[tuple[str, int, int], tuple[float, float]] = {}
    free, done = [0.0] * len(orders), [0] * len(orders)
    while any(n < len(order) for n, order in zip(done, orders, strict=True)):
        for s, order in enumerate(orders):
            while done[s] < len(order):
                kind, i = order[done[s]]
                # A forward pass needs the stage before, a backward pass the one behind;
                # the last stage turns round.
                before = s - 1 if kind == "F" else s + 1
                source = ("F", s, i) if kind == "B" and s == last else (kind, before, i)
                first = kind == "F" and s == 0
                if not first and source not in times:
                    break
                arrival = 0.0 if first else times[source][1] + transfer * (source[1] != s)
                start = max(free[s], arrival)
                free[s] = start + durations[kind][s]
                times[kind, s, i] = (start, free[s])
                done[s] += 1
    return times


def pipeline_run(
    stages: int,
    microbatches: int,
    *,
    schedule: str,
    forward: Any = 1.0,
    backward: Any = 2.0,
    transfer: float = 0.0,
) -> PipelineRun:
    """Simulate one step of training in a pipeline.

    Parameters
    ----------
    stages : int
        Number of stages p, >= 1.
    microbatches : int
        Number of micro-batches m, >= 1.
    schedule : {"gpipe", "1f1b"}
        See `pipeline_order`.
    forward, backward : float or array of shape (stages,)
        Duration of one pass of one micro-batch through a stage, > 0.
    transfer : float
        Time that activations and gradients take from stage to stage, >= 0. Sending keeps nobody
        from computing.

    Returns
    -------
    PipelineRun
        The tasks of stage 0 first, each stage's in its order.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    Each task starts as soon as its stage has done the one before and what it needs has arrived. A
    micro-batch's activations are held from the start of its forward to the end of its backward
    pass: by all stages for all m in GPipe, by stage s (from 0) for min(m, p - s) in 1F1B.

    Examples
    --------
    >>> for schedule in SCHEDULES:
    ...     run = pipeline_run(4, 8, schedule=schedule)
    ...     print(schedule, run.total, round(run.bubble, 3), run.held)
    gpipe 33.0 0.273 [8 8 8 8]
    1f1b 33.0 0.273 [4 3 2 1]
    """
    orders = _order(stages, microbatches, schedule)
    p = len(orders)
    durations = {"F": _durations(forward, "forward", p), "B": _durations(backward, "backward", p)}
    times = _times(orders, durations, real(transfer, "transfer", low=0))
    rows = [(s, i, kind == "B", *times[kind, s, i]) for s in range(p) for kind, i in orders[s]]
    stage, microbatch, is_backward, start, end = zip(*rows, strict=True)
    total = max(end)
    busy = sum(durations["F"]) + sum(durations["B"])
    held = [max(np.cumsum([1 if kind == "F" else -1 for kind, _ in order])) for order in orders]
    return PipelineRun(
        np.array(stage, np.int64),
        np.array(microbatch, np.int64),
        np.array(is_backward, np.bool_),
        np.array(start),
        np.array(end),
        total,
        1 - busy * len(orders[0]) / 2 / (p * total),
        np.array(held, np.int64),
    )
