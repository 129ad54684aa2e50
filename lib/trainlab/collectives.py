"""Collective operations: how ranks that only pass messages agree on a sum.

A *rank* is one process with its own memory. Here all of them live in one process, and every
message between two of them is counted. In a ring each rank sends only to its right neighbor.
The arrays are cut into as many chunks as there are ranks, and in every step all ranks send one
chunk at the same time:

* reduce-scatter, N - 1 steps: a chunk travels round the ring, and each rank that it passes adds
  its own. In the end rank r holds the complete sum of chunk r, and of nothing else.
* all-gather, N - 1 steps: the finished chunks travel round once more and are copied.

One after the other they are the ring all-reduce: every rank sends ``2(N - 1)/N`` times the size
of its array, however many ranks there are. No algorithm sends less, as long as only the ranks add.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import _show, _where, array, integer

__all__ = [
    "Messages",
    "all_gather",
    "broadcast",
    "bytes_received",
    "bytes_sent",
    "reduce_scatter",
    "ring_all_reduce",
    "tree_all_reduce",
]

Array = NDArray[Any]
Ranks = Sequence[Array] | Array


class Messages(NamedTuple):
    """What was sent: four integer arrays with one entry for each message.

    Attributes
    ----------
    step : array
        Number of the step from 0; the messages of one step travel at the same time.
    source, target : array
        Rank that sends, rank that receives.
    nbytes : array
        Size. A chunk of an array shorter than the number of ranks may be empty: 0 bytes.
    """

    step: NDArray[np.int64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    nbytes: NDArray[np.int64]


def _messages(rows: list[tuple[int, int, int, int]]) -> Messages:
    return Messages(*np.array(rows, np.int64).reshape(-1, 4).T)


def _ranks(values: Any, name: str, *, alike: bool = True) -> list[Array]:
    """Check one array for each rank, two ranks or more; not for NaN: that has to spread."""
    if not (isinstance(values, (list, tuple)) or (isinstance(values, np.ndarray) and values.ndim)):
        raise TypeError(
            f"{_where()}: {name} must be an array or a sequence with one entry for each rank; "
            f"got {_show(values)}"
        )
    integer(len(values), f"number of ranks in {name}", low=2)
    checked = [
        array(value, f"{name}[{r}]", finite=False, nonempty=False) for r, value in enumerate(values)
    ]
    for r, value in enumerate(checked):
        if value.dtype != checked[0].dtype:
            raise TypeError(
                f"{_where()}: {name}[{r}] must have the dtype of {name}[0], {checked[0].dtype}; "
                f"got {value.dtype}"
            )
        if alike and value.shape != checked[0].shape:
            raise ValueError(
                f"{_where()}: {name}[{r}] must have the shape of {name}[0], {checked[0].shape}; "
                f"got {value.shape}"
            )
    return checked


def _bounds(size: int, ranks: int) -> list[slice]:
    """Cut `size` elements into chunks; the first ones are one longer if it does not divide."""
    short, longer = divmod(size, ranks)
    ends = [r * short + min(r, longer) for r in range(ranks + 1)]
    return [slice(*pair) for pair in itertools.pairwise(ends)]


def _reduce_scatter(rows: list[Array]) -> tuple[list[Array], list[tuple[int, int, int, int]]]:
    """Let chunk c travel from rank c + 1 round the ring to rank c, adding up on its way."""
    ranks, sent = len(rows), []
    bounds = _bounds(rows[0].size, ranks)
    chunks = [rows[(c + 1) % ranks][bounds[c]].copy() for c in range(ranks)]
    with np.errstate(over="ignore", invalid="ignore"):  # an infinity has to reach all ranks
        for step in range(ranks - 1):
            for source in range(ranks):
                target = (source + 1) % ranks
                c = (source - 1 - step) % ranks
                chunks[c] += rows[target][bounds[c]]
                sent.append((step, source, target, chunks[c].nbytes))
    return chunks, sent


def _all_gather(
    chunks: list[Array], first_step: int
) -> tuple[Array, list[tuple[int, int, int, int]]]:
    """Hand each chunk on to the right, rank by rank; the rows of the result are the ranks'."""
    ranks, sent = len(chunks), []
    ends = np.cumsum([0, *(chunk.size for chunk in chunks)]).tolist()
    bounds = [slice(*pair) for pair in itertools.pairwise(ends)]
    full = np.empty((ranks, ends[-1]), chunks[0].dtype)
    for c, chunk in enumerate(chunks):
        full[c, bounds[c]] = chunk
    for step in range(ranks - 1):
        for source in range(ranks):
            target = (source + 1) % ranks
            c = (source - step) % ranks
            full[target, bounds[c]] = full[source, bounds[c]]
            sent.append((first_step + step, source, target, chunks[c].nbytes))
    return full, sent


def reduce_scatter(values: Ranks) -> tuple[list[Array], Messages]:
    """Add up arrays round a ring; each rank keeps one chunk of the sum.

    Parameters
    ----------
    values : array of shape (N, ...) or sequence of N arrays of one shape
        What each of the N >= 2 ranks holds. Infinity and NaN are added like any number, so that
        all ranks see them.

    Returns
    -------
    chunks : list of N one-dimensional arrays
        Chunk r of the flattened sum, which rank r holds. With n elements the first ``n % N``
        chunks have one more than the others.
    messages : Messages
        Of N - 1 steps.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two ranks, or their arrays differ in shape or dtype.

    Notes
    -----
    Chunk c is added up in the order of the ring, from rank c + 1 on to rank c: every chunk in
    another order. A sum of rounded numbers depends on the order, so two collectives that cut an
    array differently may differ in the last bit; for two ranks, and for numbers whose sums are
    exact, they do not.

    References
    ----------
    Patarasuk, Yuan (2009), Bandwidth optimal all-reduce algorithms for clusters of workstations.

    Examples
    --------
    >>> chunks, messages = reduce_scatter(np.array([[1.0, 2.0], [10.0, 20.0]]))
    >>> chunks, messages.nbytes
    ([array([11.]), array([22.])], array([8, 8]))
    """
    rows = [value.reshape(-1) for value in _ranks(values, "values")]
    chunks, sent = _reduce_scatter(rows)
    return chunks, _messages(sent)


def all_gather(values: Ranks) -> tuple[Array, Messages]:
    """Collect the chunks of all ranks on every rank, round a ring.

    Parameters
    ----------
    values : array of shape (N, n) or sequence of N one-dimensional arrays
        The chunk of each of the N >= 2 ranks; their lengths may differ.

    Returns
    -------
    full : array of shape (N, total length)
        Row r is what rank r holds in the end: all chunks one behind the other.
    messages : Messages
        Of N - 1 steps.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two ranks, or a chunk has another dtype or not one dimension.

    References
    ----------
    Patarasuk, Yuan (2009), Bandwidth optimal all-reduce algorithms for clusters of workstations.

    Examples
    --------
    >>> full, messages = all_gather([np.array([1.0, 2.0]), np.array([3.0])])
    >>> full
    array([[1., 2., 3.],
           [1., 2., 3.]])
    >>> messages.nbytes
    array([16,  8])
    """
    chunks = _ranks(values, "values", alike=False)
    for r, chunk in enumerate(chunks):
        integer(chunk.ndim, f"number of dimensions of values[{r}]", low=1, high=1)
    full, sent = _all_gather(chunks, 0)
    return full, _messages(sent)


def ring_all_reduce(values: Ranks) -> tuple[Array, Messages]:
    """Give every rank the sum of all arrays: reduce-scatter, then all-gather.

    Parameters
    ----------
    values : array of shape (N, ...) or sequence of N arrays of one shape
        What each of the N >= 2 ranks holds. The shape need not divide by N.

    Returns
    -------
    total : array of shape (N, ...)
        Row r is the sum as rank r has it. All rows are the same to the last bit, since each chunk
        is added up once and then copied.
    messages : Messages
        Of 2(N - 1) steps.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two ranks, or their arrays differ in shape or dtype.

    Notes
    -----
    Each rank sends ``2 (N - 1)/N * S`` bytes, where S is the size of its array; exactly so if N
    divides its length. For the order of the sums see `reduce_scatter`. The mean is the sum
    divided by N: collectives of PyTorch and MPI sum unless told otherwise.

    References
    ----------
    Patarasuk, Yuan (2009), Bandwidth optimal all-reduce algorithms for clusters of workstations.

    Examples
    --------
    >>> total, messages = ring_all_reduce(np.ones((4, 8)))
    >>> total[0]
    array([4., 4., 4., 4., 4., 4., 4., 4.])
    >>> bytes_sent(messages, ranks=4), 2 * 3 / 4 * 64
    (array([96, 96, 96, 96]), 96.0)
    """
    arrays = _ranks(values, "values")
    chunks, sent = _reduce_scatter([value.reshape(-1) for value in arrays])
    full, copied = _all_gather(chunks, len(arrays) - 1)
    shape = (len(arrays), *arrays[0].shape)
    return full.reshape(shape), _messages(sent + copied)


def _tree_edges(ranks: int) -> list[list[tuple[int, int]]]:
    """List the (parent, child) pairs of a binomial tree from rank 0, by their step downwards."""
    steps, distance = [], 1
    while distance < ranks:
        steps.append([(r, r + distance) for r in range(min(distance, ranks - distance))])
        distance *= 2
    return steps


def broadcast(values: Ranks, *, root: int = 0) -> tuple[Array, Messages]:
    """Copy the array of one rank to all others, down a tree.

    Parameters
    ----------
    values : array of shape (N, ...) or sequence of N arrays of one shape
        What each of the N >= 2 ranks holds before. Only the root's array is used.
    root : int
        Rank whose array is copied, from 0.

    Returns
    -------
    copies : array of shape (N, ...)
        Row r is what rank r holds in the end.
    messages : Messages
        N - 1 of them in ceil(log2 N) steps: who has the array sends it on, so that the number of
        those who have it doubles.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two ranks, their arrays differ in shape or dtype, or the root is
        none of them.

    Examples
    --------
    >>> copies, messages = broadcast(np.array([[1.0], [2.0], [3.0]]), root=1)
    >>> copies.ravel(), messages.step, messages.source, messages.target
    (array([2., 2., 2.]), array([0, 1]), array([1, 1]), array([2, 0]))
    """
    arrays = _ranks(values, "values")
    ranks = len(arrays)
    root = integer(root, "root", low=0, high=ranks - 1)
    copies = np.empty((ranks, *arrays[0].shape), arrays[0].dtype)
    copies[root] = arrays[root]
    sent = []
    for step, edges in enumerate(_tree_edges(ranks)):
        for parent, child in edges:
            source, target = (root + parent) % ranks, (root + child) % ranks
            copies[target] = copies[source]
            sent.append((step, source, target, copies[source].nbytes))
    return copies, _messages(sent)


def tree_all_reduce(values: Ranks) -> tuple[Array, Messages]:
    """Give every rank the sum of all arrays: add up a tree, then copy down again.

    Parameters
    ----------
    values : array of shape (N, ...) or sequence of N arrays of one shape
        What each of the N >= 2 ranks holds.

    Returns
    -------
    total : array of shape (N, ...)
        Row r is the sum as rank r has it; all rows are the same to the last bit.
    messages : Messages
        Of 2 ceil(log2 N) steps; each carries the whole array.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two ranks, or their arrays differ in shape or dtype.

    Notes
    -----
    Fewer steps than the ring's 2(N - 1), but whole arrays: better for small ones, whose time is
    latency. The sum is that of pairs, of pairs of pairs, and so on. NCCL's tree is another one,
    a double binary tree that cuts the array into pieces and so keeps all links busy.

    Examples
    --------
    >>> total, messages = tree_all_reduce(np.ones((4, 8)))
    >>> total[3, :2], messages.step.max() + 1, bytes_sent(messages, ranks=4)
    (array([4., 4.]), np.int64(4), array([128, 128,  64,  64]))
    """
    arrays = _ranks(values, "values")
    partial = np.stack(arrays)
    edges = _tree_edges(len(arrays))
    size, sent = arrays[0].nbytes, []
    with np.errstate(over="ignore", invalid="ignore"):  # an infinity has to reach all ranks
        for step, pairs in enumerate(reversed(edges)):
            for parent, child in pairs:
                partial[parent] += partial[child]
                sent.append((step, child, parent, size))
    for step, pairs in enumerate(edges, start=len(edges)):
        for parent, child in pairs:
            partial[child] = partial[parent]
            sent.append((step, parent, child, size))
    return partial, _messages(sent)


def _per_rank(messages: Messages, end: str, ranks: int) -> NDArray[np.int64]:
    if not isinstance(messages, Messages):
        raise TypeError(f"{_where()}: messages must be Messages; got {messages!r}")
    highest = max([1, *messages.source.tolist(), *messages.target.tolist()])
    ranks = integer(ranks, "ranks", low=highest + 1)
    count = np.zeros(ranks, np.int64)
    np.add.at(count, getattr(messages, end), messages.nbytes)
    return count


def bytes_sent(messages: Messages, *, ranks: int) -> NDArray[np.int64]:
    """Add up what each rank sent.

    Parameters
    ----------
    messages : Messages
        From one of the collectives.
    ranks : int
        Number of ranks, at least 2 and more than the highest in the messages.

    Returns
    -------
    array of shape (ranks,)
        In bytes.

    Raises
    ------
    TypeError, ValueError
        If `messages` are none, or there are fewer ranks than they name.

    Examples
    --------
    >>> _, messages = broadcast(np.zeros((4, 10)))
    >>> bytes_sent(messages, ranks=4)
    array([160,  80,   0,   0])
    """
    return _per_rank(messages, "source", ranks)


def bytes_received(messages: Messages, *, ranks: int) -> NDArray[np.int64]:
    """Add up what each rank received.

    Parameters
    ----------
    messages : Messages
        From one of the collectives.
    ranks : int
        Number of ranks, at least 2 and more than the highest in the messages.

    Returns
    -------
    array of shape (ranks,)
        In bytes.

    Raises
    ------
    TypeError, ValueError
        If `messages` are none, or there are fewer ranks than they name.

    Examples
    --------
    >>> _, messages = broadcast(np.zeros((4, 10)))
    >>> bytes_received(messages, ranks=4)
    array([ 0, 80, 80, 80])
    """
    return _per_rank(messages, "target", ranks)
