"""When a fully sharded step gathers, computes and scatters, and what it holds meanwhile.

A rank has two things that work at the same time: what computes, and the link. Each does one thing
after the other. A unit computes when it is gathered and the one before is done. How early it may be
gathered is *prefetch*: 0, once the unit before is done and freed; 1, while the unit before
computes, which then lies in memory beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import array, integer, real
from .communication_time import _link, all_reduce_time

__all__ = ["ShardedTimeline", "sharded_timeline"]

Times = NDArray[np.float64]
Spans = list[tuple[float, float]]  # start and end


class ShardedTimeline(NamedTuple):
    """When a step of U units does what, in seconds, and what one rank holds.

    Attributes
    ----------
    gather, compute : array of shape (2U, 2)
        Start and end. Rows 0 to U - 1 are the forward pass, first unit first; the others are the
        backward pass, last unit first.
    scatter : array of shape (U, 2)
        Of the gradients, last unit first.
    total : float
        Length of the step without its update.
    waiting : float
        Part of it in which nothing is computed.
    peak : float
        Most bytes of gathered parameters and of whole gradients at one time.
    """

    gather: Times
    compute: Times
    scatter: Times
    total: float
    waiting: float
    peak: float


def sharded_timeline(
    unit_bytes: Sequence[float] | NDArray[Any],
    *,
    forward: float,
    backward: float,
    ranks: int,
    latency: float,
    bandwidth: float,
    prefetch: int = 1,
) -> ShardedTimeline:
    """Time of a fully sharded step (ZeRO stage 3, FSDP).

    Parameters
    ----------
    unit_bytes : array of shape (U,)
        Size of the parameters of each unit, first layer first; its gradients have the same.
    forward, backward : float
        Seconds of computation of all units, >= 0 and > 0, shared out by size.
    ranks : int
        Number of ranks N, >= 2.
    latency, bandwidth : float
        Seconds for a message without content, >= 0; bytes per second that one rank sends, > 0.
    prefetch : int
        How many units may be gathered ahead of the one that computes, >= 0.

    Returns
    -------
    ShardedTimeline

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    To gather or to scatter n bytes takes ``(N - 1) latency + (N - 1)/N n / bandwidth``, half of
    an all-reduce by a ring. Every unit is gathered in both passes; the backward pass begins to
    gather when the forward pass is done. Where a gather and a scatter could begin at the same
    time, the gather goes first with prefetch, and last without: then the next unit waits for both.
    PyTorch never frees the root unit between the passes, so that the backward pass can begin.

    References
    ----------
    Zhao et al. (2023), PyTorch FSDP: experiences on scaling fully sharded data parallel.

    Examples
    --------
    >>> link = {"ranks": 2, "latency": 0.0, "bandwidth": 1.0, "forward": 2.0, "backward": 4.0}
    >>> step = sharded_timeline([2.0, 2.0], **link, prefetch=0)  # 1 s each, nothing overlaps
    >>> step.total, step.waiting, step.peak
    (12.0, 6.0, 4.0)
    >>> step = sharded_timeline([2.0, 2.0], **link, prefetch=1)
    >>> step.total, step.waiting, step.peak
    (9.0, 3.0, 6.0)
    """
    sizes = array(unit_bytes, "unit_bytes", ndim=1).astype(np.float64)
    real(float(sizes.min()), "smallest of unit_bytes", low=0, closed="neither")
    forward = real(forward, "forward", low=0)
    backward = real(backward, "backward", low=0, closed="neither")
    ahead = integer(prefetch, "prefetch", low=0)
    ranks = integer(ranks, "ranks", low=2)
    latency, bandwidth = _link(latency, bandwidth)
    link: dict[str, Any] = {"ranks": ranks, "latency": latency, "bandwidth": bandwidth}
    needed = {n: all_reduce_time(n, **link) / 2 for n in set(sizes.tolist())}
    sends = [needed[n] for n in sizes.tolist()]

    units = len(sizes)
    order = [*range(units), *reversed(range(units))]
    share = sizes / sizes.sum()
    works = np.concatenate([forward * share, (backward * share)[::-1]]).tolist()
    # Lists and not arrays: they are written and read one number at a time.
    gathers, computes, scatters = ([(0.0, 0.0)] * n for n in (2 * units, 2 * units, units))
    # What the link is asked to do after each part, -1 being the beginning; it keeps the order.
    asked: dict[int, list[tuple[Spans, int, int]]] = {k: [] for k in range(-1, 2 * units)}
    for k, unit in enumerate(order):
        first = -1 if k < units else units - 1  # no pass gathers for the next one
        asked[max(k - 1 - ahead, first)].append((gathers, k, unit))
    for k in range(units, 2 * units):
        asked[k].insert(0 if ahead == 0 else len(asked[k]), (scatters, k - units, order[k]))

    link_free, done = 0.0, 0.0
    for k, parts in asked.items():
        if k >= 0:
            start = max(gathers[k][1], done)
            done = start + works[k]
            computes[k] = start, done
        for times, row, unit in parts:
            start = max(done, link_free)
            link_free = start + sends[unit]
            times[row] = start, link_free
    gather, compute, scatter = (np.array(times) for times in (gathers, computes, scatters))
    peak = _peak(sizes[order], gather, compute, scatter)
    return ShardedTimeline(gather, compute, scatter, link_free, link_free - sum(works), peak)


def _peak(sizes: Times, gather: Times, compute: Times, scatter: Times) -> float:
    """Parameters from gather to compute, gradients from compute to scatter."""
    units = len(scatter)
    begin = np.concatenate([gather[:, 0], compute[units:, 0]])
    end = np.concatenate([compute[:, 1], scatter[:, 1]])
    held = np.concatenate([sizes, sizes[units:]])
    there = (begin <= begin[:, np.newaxis]) & (begin[:, np.newaxis] < end)  # at each beginning
    return float((there * held).sum(axis=1).max())
