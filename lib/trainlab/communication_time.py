"""How long communication takes: latency, bandwidth, and what hides behind the backward pass.

The model has two numbers. A message of n bytes takes ``latency + n / bandwidth`` seconds, and
messages of one step travel at the same time. Everything else is counting: a ring takes many steps
with little in each, a tree few steps with everything in each. So small arrays are a matter of
latency, and large ones of bandwidth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import _where, array, integer, one_of, real
from .collectives import Messages

__all__ = [
    "Timeline",
    "all_reduce_time",
    "message_time",
    "overlapped_step",
    "ring_tree_crossover",
]

ALGORITHMS = ("ring", "tree", "halving-doubling", "naive")


def _link(latency: Any, bandwidth: Any) -> tuple[float, float]:
    return (
        real(latency, "latency", low=0),
        real(bandwidth, "bandwidth", low=0, closed="neither"),
    )


def _algorithm(algorithm: str, ranks: int) -> None:
    one_of(algorithm, "algorithm", ALGORITHMS)
    if algorithm == "halving-doubling" and ranks & (ranks - 1):
        raise ValueError(
            f"{_where()}: ranks must be a power of two for halving-doubling; got {ranks}"
        )


def message_time(messages: Messages, *, latency: float, bandwidth: float) -> float:
    """Time that counted messages take, step by step.

    Parameters
    ----------
    messages : Messages
        From `trainlab.collectives`.
    latency : float
        Seconds from sending to arriving for a message without content, >= 0.
    bandwidth : float
        Bytes per second that one rank sends, > 0.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    Sum over the steps of ``latency + n / bandwidth``, with n the size of the largest message of
    the step: the others wait for it.

    Examples
    --------
    >>> from trainlab.collectives import ring_all_reduce
    >>> _, messages = ring_all_reduce(np.zeros((4, 8)))  # 6 steps of 16 bytes
    >>> message_time(messages, latency=1.0, bandwidth=16.0)
    12.0
    """
    latency, bandwidth = _link(latency, bandwidth)
    if not isinstance(messages, Messages):
        raise TypeError(f"message_time: messages must be Messages; got {messages!r}")
    largest = [
        messages.nbytes[messages.step == step].max() for step in np.unique(messages.step).tolist()
    ]
    return math.fsum(latency + float(n) / bandwidth for n in largest)


def all_reduce_time(
    nbytes: float, *, ranks: int, latency: float, bandwidth: float, algorithm: str = "ring"
) -> float:
    """Time of an all-reduce by the number of ranks and the size of the array.

    Parameters
    ----------
    nbytes : float
        Size S of the array that each rank holds, in bytes, >= 0.
    ranks : int
        Number of ranks N, >= 2.
    latency : float
        Seconds for a message without content, >= 0.
    bandwidth : float
        Bytes per second that one rank sends, > 0.
    algorithm : {"ring", "tree", "halving-doubling", "naive"}
        See the notes.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the number of ranks is no power of two for
        "halving-doubling".

    Notes
    -----
    ::

        ring              2 (N - 1) latency          + 2 (N - 1)/N S / bandwidth
        tree              2 ceil(log2 N) latency     + 2 ceil(log2 N) S / bandwidth
        halving-doubling  2 log2 N latency           + 2 (N - 1)/N S / bandwidth
        naive             2 (N - 1) latency          + 2 (N - 1) S / bandwidth

    Naive: all send to one rank, one after the other, and it answers one after the other. Halving
    and doubling looks best in every case, because this model knows no contention: its partners are
    far from each other, and real links are shared. A ring needs nothing but neighbors.

    References
    ----------
    Patarasuk, Yuan (2009), Bandwidth optimal all-reduce algorithms for clusters of workstations.
    Thakur, Rabenseifner, Gropp (2005), Optimization of collective communication operations in
    MPICH.

    Examples
    --------
    >>> link = {"latency": 5e-6, "bandwidth": 300e9}
    >>> [round(1e3 * all_reduce_time(1e9, ranks=n, **link), 1) for n in (2, 8, 64, 512)]
    [3.3, 5.9, 7.2, 11.8]
    """
    nbytes = real(nbytes, "nbytes", low=0)
    ranks = integer(ranks, "ranks", low=2)
    latency, bandwidth = _link(latency, bandwidth)
    _algorithm(algorithm, ranks)
    levels = (ranks - 1).bit_length()  # ceil(log2 N)
    steps = 2 * (ranks - 1 if algorithm in ("ring", "naive") else levels)
    whole = algorithm in ("tree", "naive")  # whether each step carries the whole array
    arrays_sent = steps if whole else 2 * (ranks - 1) / ranks
    return steps * latency + arrays_sent * nbytes / bandwidth


def ring_tree_crossover(ranks: int, *, latency: float, bandwidth: float) -> float:
    """Size of the array from which on the ring is faster than the tree.

    Parameters
    ----------
    ranks : int
        Number of ranks N, >= 2.
    latency : float
        Seconds for a message without content, >= 0.
    bandwidth : float
        Bytes per second that one rank sends, > 0.

    Returns
    -------
    float
        Bytes; 0 for two or three ranks, where the ring has no more steps than the tree.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    With L = ceil(log2 N), from setting both lines of `all_reduce_time` equal:
    ``S = latency * bandwidth * (N - 1 - L) / (L - (N - 1)/N)``.

    Examples
    --------
    >>> link = {"latency": 5e-6, "bandwidth": 50e9}
    >>> ring_tree_crossover(2, **link), round(ring_tree_crossover(8, **link))
    (0.0, 470588)
    """
    ranks = integer(ranks, "ranks", low=2)
    latency, bandwidth = _link(latency, bandwidth)
    levels = (ranks - 1).bit_length()
    return latency * bandwidth * (ranks - 1 - levels) / (levels - (ranks - 1) / ranks)


class Timeline(NamedTuple):
    """When the gradient buckets of one training step are ready, sent and received.

    Attributes
    ----------
    ready : array of shape (buckets,)
        Seconds from the start of the step until the backward pass has filled a bucket.
    start, end : array of shape (buckets,)
        When its all-reduce begins and ends.
    total : float
        Length of the step in seconds: the later of the last gradient and the last all-reduce.
    efficiency : float
        Time of the computation divided by `total`, in (0, 1]. With a fixed batch per rank this is
        the speed of N ranks divided by N times that of one.
    """

    ready: NDArray[np.float64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    total: float
    efficiency: float


def overlapped_step(
    bucket_bytes: Sequence[float] | NDArray[Any],
    *,
    forward: float,
    backward: float,
    ranks: int,
    latency: float,
    bandwidth: float,
    algorithm: str = "ring",
    overlap: bool = True,
) -> Timeline:
    """Time of a data-parallel step whose communication starts during the backward pass.

    Parameters
    ----------
    bucket_bytes : array of shape (buckets,)
        Size of each gradient bucket in the order in which they are filled: the last layer first.
    forward, backward : float
        Seconds of computation, >= 0 and > 0.
    ranks : int
        Number of ranks, >= 2.
    latency, bandwidth, algorithm
        As in `all_reduce_time`.
    overlap : bool
        False: all buckets wait for the end of the backward pass.

    Returns
    -------
    Timeline

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    The backward pass is taken to fill the bytes at an even rate, and the all-reduces to run one
    after the other: ``start = max(ready, end of the one before)``. What overlap can never hide is
    the all-reduce of the last bucket. Many small buckets start early and pay the latency each; one
    large bucket has nothing to hide behind. PyTorch's buckets have about 25 MiB.

    References
    ----------
    Li et al. (2020), PyTorch distributed: experiences on accelerating data parallel training.

    Examples
    --------
    >>> link = {"ranks": 2, "latency": 0.0, "bandwidth": 1.0, "forward": 1.0, "backward": 2.0}
    >>> step = overlapped_step([1.0, 1.0], **link)
    >>> step.ready, step.start, step.end, step.total, step.efficiency
    (array([2., 3.]), array([2., 3.]), array([3., 4.]), 4.0, 0.75)
    >>> overlapped_step([1.0, 1.0], **link, overlap=False).efficiency
    0.6
    """
    sizes = array(bucket_bytes, "bucket_bytes", ndim=1).astype(np.float64)
    real(float(sizes.min()), "smallest of bucket_bytes", low=0, closed="neither")
    forward = real(forward, "forward", low=0)
    backward = real(backward, "backward", low=0, closed="neither")
    one_of(overlap, "overlap", (False, True))
    ranks = integer(ranks, "ranks", low=2)
    latency, bandwidth = _link(latency, bandwidth)
    _algorithm(algorithm, ranks)
    compute = forward + backward
    filled = np.cumsum(sizes)
    filled /= filled[-1]
    ready = forward + backward * (filled if overlap else np.ones_like(filled))
    link: dict[str, Any] = {"ranks": ranks, "latency": latency, "bandwidth": bandwidth}
    needed = {n: all_reduce_time(n, **link, algorithm=algorithm) for n in set(sizes.tolist())}
    end = list(
        itertools.accumulate(
            zip(ready.tolist(), sizes.tolist(), strict=True),
            lambda before, bucket: max(before, bucket[0]) + needed[bucket[1]],
            initial=0.0,
        )
    )[1:]
    start = np.maximum(ready, [0.0, *end[:-1]])
    return Timeline(ready, start, np.array(end), end[-1], compute / end[-1])
