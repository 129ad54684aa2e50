"""Data-parallel training: every rank has the whole model and a part of the batch.

All ranks start from the parameters of one of them. In each step a rank computes the gradient of
the mean loss over its own examples; an all-reduce turns these into the gradient of the mean over
all examples; then every rank makes the same update. Since they start equal and add equal updates,
the replicas stay equal to the last bit, though no rank ever sends its parameters again.

The ranks are simulated in one process, and every message is counted. The mean of the ranks' means
is the mean over all only if all have equally many examples: here each is weighted by its number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import _where, array, generator, integer, one_of, real
from ._checks import function as check_function
from .collectives import Messages, all_gather, broadcast, ring_all_reduce, tree_all_reduce
from .differentiation import value_and_grad
from .trees import tree_leaves, tree_map, tree_unflatten

__all__ = [
    "BatchStatistics",
    "StepResult",
    "all_reduce_gradients",
    "broadcast_params",
    "data_parallel_step",
    "gradient_buckets",
    "sampler_indices",
    "split_batch",
    "sync_batch_statistics",
]

Array = NDArray[Any]
MIB = 2**20
ALL_REDUCE = {"ring": ring_all_reduce, "tree": tree_all_reduce}


def _several(items: Any, name: str) -> list[Any]:
    """Check a sequence with one entry for each of two ranks or more."""
    if not isinstance(items, (list, tuple)):
        raise TypeError(f"{_where()}: {name} must be a list with one entry a rank; got {items!r}")
    integer(len(items), f"number of ranks in {name}", low=2)
    return list(items)


# Who sees which examples ----------------------------------------------------------------------


def _length(batch: Any, name: str) -> int:
    """Number of examples in a tree of arrays: the common length of their first axes."""
    lengths = {len(leaf) if np.ndim(leaf) else 0 for leaf in tree_leaves(batch)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"{_where()}: {name} must hold arrays with the same number >= 1 of examples along "
            f"axis 0; got {sorted(lengths)}"
        )
    return lengths.pop()


def split_batch(batch: Any, *, ranks: int) -> list[Any]:
    """Cut a batch into one piece for each rank.

    Parameters
    ----------
    batch : tree of arrays
        Examples along axis 0.
    ranks : int
        Number of ranks, >= 2 and at most the number of examples.

    Returns
    -------
    list of trees
        Views, in order, without a repeated or a lost example. If the number does not divide, the
        first ranks have one more than the others.

    Raises
    ------
    TypeError, ValueError
        If the arrays differ in length, or a rank would be left without an example.

    Examples
    --------
    >>> split_batch(np.arange(5.0), ranks=2)
    [array([0., 1., 2.]), array([3., 4.])]
    """
    length = _length(batch, "batch")
    ranks = integer(ranks, "ranks", low=2, high=length)
    pieces = [np.array_split(np.asarray(leaf), ranks) for leaf in tree_leaves(batch)]
    return [tree_unflatten(batch, [piece[r] for piece in pieces]) for r in range(ranks)]


def sampler_indices(
    length: int,
    *,
    ranks: int,
    rng: np.random.Generator | None = None,
    drop_last: bool = False,
) -> NDArray[np.int64]:
    """Deal out the examples of an epoch as PyTorch's DistributedSampler does.

    Parameters
    ----------
    length : int
        Number of examples, >= 1.
    ranks : int
        Number of ranks, >= 2.
    rng : np.random.Generator, optional
        Shuffles the examples; left out, they stay in order. All ranks have to draw the same order,
        and another one in each epoch: that is what ``set_epoch`` is for.
    drop_last : bool
        What happens if the number of ranks does not divide `length`. False: examples from the
        beginning are *repeated*, so that all ranks have equally many. True: the last are dropped.

    Returns
    -------
    array of shape (ranks, examples per rank)
        Row r are the indices for rank r: every `ranks`-th, beginning with the r-th.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or nothing is left after dropping.

    Notes
    -----
    Repeated examples count twice in an evaluation. `split_batch` repeats none and leaves the ranks
    with unequal numbers instead.

    Examples
    --------
    >>> sampler_indices(5, ranks=2)
    array([[0, 2, 4],
           [1, 3, 0]])
    """
    length = integer(length, "length", low=1)
    one_of(drop_last, "drop_last", (False, True))
    ranks = integer(ranks, "ranks", low=2, high=length if drop_last else None)
    indices = np.arange(length) if rng is None else generator(rng).permutation(length)
    each = length // ranks if drop_last else -(-length // ranks)
    dealt: NDArray[np.int64] = np.resize(indices, each * ranks).reshape(each, ranks).T
    return dealt  # resize repeats from the beginning


# What is sent ---------------------------------------------------------------------------------


def broadcast_params(replicas: Sequence[Any], *, root: int = 0) -> tuple[list[Any], Messages]:
    """Give all ranks the parameters of one, once before training.

    Parameters
    ----------
    replicas : sequence of N trees of arrays
        The parameters that each of the N >= 2 ranks was initialized with.
    root : int
        Rank whose parameters all get, from 0.

    Returns
    -------
    replicas : list of N trees
    messages : Messages
        The leaves one after the other.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two ranks, or their trees differ in structure, shape or dtype.

    Notes
    -----
    PyTorch's DistributedDataParallel does this when it wraps a model, from rank 0.

    Examples
    --------
    >>> replicas, messages = broadcast_params([{"w": np.zeros(2)}, {"w": np.ones(2)}])
    >>> replicas[1], int(messages.nbytes.sum())
    ({'w': array([0., 0.])}, 16)
    """
    trees = _several(replicas, "replicas")
    root = integer(root, "root", low=0, high=len(trees) - 1)
    trees, leaves = _alike(trees, "replicas")
    done = [broadcast(column, root=root) for column in zip(*leaves, strict=True)]
    copies = [
        tree_unflatten(trees[0], [column[r] for column, _ in done]) for r in range(len(trees))
    ]
    return copies, _one_after_another([messages for _, messages in done])


def _alike(trees: list[Any], name: str) -> tuple[list[Any], list[list[Array]]]:
    """Check that the trees of all ranks are alike; return them and their leaves in one order."""
    aligned = []
    for r, tree in enumerate(trees):
        try:
            aligned.append(tree_map(lambda _, leaf: leaf, trees[0], tree))
        except ValueError as error:
            raise ValueError(
                f"{_where()}: {name}[{r}] must have the structure of {name}[0]; {error}"
            ) from None
    leaves = [
        [array(leaf, f"{name}[{r}]", finite=False, nonempty=False) for leaf in tree_leaves(tree)]
        for r, tree in enumerate(aligned)
    ]
    for r, mine in enumerate(leaves):
        kinds = [[(leaf.shape, leaf.dtype.name) for leaf in each] for each in (leaves[0], mine)]
        if kinds[0] != kinds[1] or not mine:
            raise ValueError(
                f"{_where()}: {name}[{r}] must have leaves of the shapes and dtypes of {name}[0]; "
                f"got {kinds[1]} and {kinds[0]}"
            )
    return aligned, leaves


def _one_after_another(parts: Sequence[Messages]) -> Messages:
    """Join messages; the steps of each part come after those of the one before."""
    steps, before = [], 0
    for part in parts:
        steps.append(part.step + before)
        before += int(part.step.max()) + 1
    rest = [np.concatenate(field) for field in list(zip(*parts, strict=True))[1:]]
    return Messages(np.concatenate(steps), *rest)


def gradient_buckets(
    params: Any, *, bucket_bytes: float = 25 * MIB, first_bucket_bytes: float = MIB
) -> list[list[int]]:
    """Group the gradients that are sent together, last layer first.

    Parameters
    ----------
    params : tree of arrays
        The parameters, in the order in which the forward pass uses them.
    bucket_bytes : float
        A bucket is closed as soon as it holds this many bytes, > 0.
    first_bucket_bytes : float
        The same for the first bucket: a small one, so that communication starts early.

    Returns
    -------
    list of lists of int
        The places of the leaves in ``tree_leaves(params)``, in the order in which the backward
        pass makes their gradients: from the last to the first.

    Raises
    ------
    TypeError, ValueError
        If a size is not positive, or a leaf no floating-point array.

    Notes
    -----
    A leaf is never cut, so a bucket may be larger. Leaves of different dtype get buckets of their
    own. 25 MiB and 1 MiB are PyTorch's defaults.

    References
    ----------
    Li et al. (2020), PyTorch distributed: experiences on accelerating data parallel training.

    Examples
    --------
    >>> layers = [np.zeros(4), np.zeros(2), np.zeros(3)]  # 32, 16 and 24 bytes
    >>> gradient_buckets(layers, bucket_bytes=40, first_bucket_bytes=1)
    [[2], [1, 0]]
    """
    leaves = [array(leaf, "params", finite=False, nonempty=False) for leaf in tree_leaves(params)]
    later = real(bucket_bytes, "bucket_bytes", low=0, closed="neither")
    limit = real(first_bucket_bytes, "first_bucket_bytes", low=0, closed="neither")
    buckets: list[list[int]] = []
    open_ones: dict[Any, list[int]] = {}
    limits = {leaf.dtype: limit for leaf in leaves}
    for place in reversed(range(len(leaves))):
        dtype = leaves[place].dtype
        bucket = open_ones.setdefault(dtype, [])
        bucket.append(place)
        if sum(leaves[i].nbytes for i in bucket) >= limits[dtype]:
            buckets.append(open_ones.pop(dtype))
            limits[dtype] = later
    return buckets + list(open_ones.values())


def all_reduce_gradients(
    grads: Sequence[Any],
    *,
    counts: Sequence[float] | None = None,
    bucket_bytes: float = 25 * MIB,
    first_bucket_bytes: float = MIB,
    algorithm: str = "ring",
) -> tuple[list[Any], Messages]:
    """Turn the gradients of the ranks' mean losses into that of the mean over all examples.

    Parameters
    ----------
    grads : sequence of N trees of arrays
        The gradient of each of the N >= 2 ranks, of the mean loss over its own examples.
    counts : sequence of N numbers, optional
        Examples (or tokens) of each rank, > 0. Left out: equally many.
    bucket_bytes, first_bucket_bytes : float
        As in `gradient_buckets`.
    algorithm : {"ring", "tree"}
        Of the all-reduce.

    Returns
    -------
    grads : list of N trees
        The same on all ranks, to the last bit.
    messages : Messages
        Bucket after bucket.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two ranks, their trees differ, or a count is not positive.

    Notes
    -----
    ``g = sum over r of counts[r] / sum(counts) * grads[r]``. PyTorch's DistributedDataParallel
    always weights by 1/N, which is this only for equal counts. It weights before the sum, as is
    done here, so that a sum in half precision does not overflow.

    References
    ----------
    Li et al. (2020), PyTorch distributed: experiences on accelerating data parallel training.

    Examples
    --------
    >>> means, _ = all_reduce_gradients([[np.array([1.0])], [np.array([5.0])]], counts=[3, 1])
    >>> means[0]
    [array([2.])]
    """
    trees = _several(grads, "grads")
    trees, leaves = _alike(trees, "grads")
    weights = _weights(np.ones(len(trees)) if counts is None else counts, len(trees))
    one_of(algorithm, "algorithm", tuple(ALL_REDUCE))
    buckets = gradient_buckets(
        leaves[0],
        bucket_bytes=real(bucket_bytes, "bucket_bytes", low=0, closed="neither"),
        first_bucket_bytes=real(first_bucket_bytes, "first_bucket_bytes", low=0, closed="neither"),
    )
    weighted = [
        [leaf * weight for leaf in mine] for mine, weight in zip(leaves, weights, strict=True)
    ]
    reduced, messages = _sum_buckets(weighted, buckets, algorithm)
    return [tree_unflatten(trees[0], mine) for mine in reduced], messages


def _sum_buckets(
    leaves: list[list[Array]], buckets: list[list[int]], algorithm: str
) -> tuple[list[list[Array]], Messages]:
    """All-reduce the leaves of all ranks, those of one bucket as one array."""
    reduced: list[list[Array]] = [[np.empty(0)] * len(mine) for mine in leaves]
    sent = []
    for bucket in buckets:
        ends = np.cumsum([leaves[0][i].size for i in bucket])[:-1]
        flat = [np.concatenate([mine[i].reshape(-1) for i in bucket]) for mine in leaves]
        total, messages = ALL_REDUCE[algorithm](flat)
        sent.append(messages)
        for row, mine in zip(total, reduced, strict=True):
            for i, part in zip(bucket, np.split(row, ends), strict=True):
                mine[i] = part.reshape(leaves[0][i].shape)
    return reduced, _one_after_another(sent)


def _weights(counts: Any, ranks: int) -> list[float]:
    checked = array(counts, "counts", shape=(ranks,)).astype(np.float64)
    real(float(checked.min()), "smallest of counts", low=0, closed="neither")
    return (checked / checked.sum()).tolist()  # type: ignore[no-any-return]


# The training step ----------------------------------------------------------------------------


class StepResult(NamedTuple):
    """What a data-parallel step leaves behind.

    Attributes
    ----------
    replicas : list of N trees
        Parameters of each rank after the update.
    states : list of N optimizer states
    loss : float
        Mean over all examples of all ranks, before the update.
    messages : Messages
        Everything that was sent.
    """

    replicas: list[Any]
    states: list[Any]
    loss: float
    messages: Messages


def data_parallel_step(
    replicas: Sequence[Any],
    states: Sequence[Any],
    *,
    batches: Sequence[Sequence[Any]],
    loss: Callable[..., Any],
    update: Callable[..., Any],
    no_sync: bool = True,
    bucket_bytes: float = 25 * MIB,
) -> StepResult:
    """Make one optimizer step on all ranks.

    Parameters
    ----------
    replicas : sequence of N trees of arrays
        Parameters of each of the N >= 2 ranks; equal ones, from `broadcast_params`.
    states : sequence of N optimizer states
    batches : sequence of N sequences of micro-batches
        What each rank computes on: one micro-batch, or several whose gradients are accumulated. A
        micro-batch is a tree of arrays with examples along axis 0. The numbers of examples may
        differ, among the ranks and among micro-batches; all ranks have equally many micro-batches.
    loss : callable
        ``loss(params, micro_batch)`` gives the mean loss over the examples, made of differentiable
        functions.
    update : callable
        ``update(grads, state, params)`` gives ``(updates, state)``; the updates are added.
    no_sync : bool
        True: accumulate on each rank, and all-reduce once. False: all-reduce after every
        micro-batch, to the same result with several times the traffic.
    bucket_bytes : float
        As in `gradient_buckets`.

    Returns
    -------
    StepResult

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two ranks, or the arguments do not have one entry for each.

    Notes
    -----
    A micro-batch of n examples counts ``n / total``, with the total over all ranks: the gradient is
    that of the full batch, up to the order of sums. In one process with the same micro-batches it
    is so to the last bit if there are two ranks with one micro-batch each, or if all sums are
    exact. PyTorch's DistributedDataParallel all-reduces in every backward pass outside of its
    ``no_sync()``. Layers that look at the whole batch, such as batch norm, still see their own
    part only: see `sync_batch_statistics`.

    References
    ----------
    Li et al. (2020), PyTorch distributed: experiences on accelerating data parallel training.

    Examples
    --------
    >>> done = data_parallel_step(
    ...     [np.array(1.0), np.array(1.0)], [None, None],
    ...     batches=[[np.array([0.0, 1.0])], [np.array([5.0])]],
    ...     loss=lambda w, x: 0.5 * (w - x.mean()) ** 2,
    ...     update=lambda g, state, w: (-g, state),
    ... )
    >>> done.replicas  # one step of length 1 leads to the mean of all three
    [array(2.), array(2.)]
    """
    params, inner, pieces = _aligned(replicas, states, batches)
    gradient, update = (
        value_and_grad(check_function(loss, "loss")),
        check_function(update, "update"),
    )
    one_of(no_sync, "no_sync", (False, True))
    size = real(bucket_bytes, "bucket_bytes", low=0, closed="neither")

    buckets = gradient_buckets(params[0], bucket_bytes=size)
    total = sum(_length(micro, "batches") for mine in pieces for micro in mine)
    mean_loss, sent = 0.0, []
    waiting: list[list[Array]] = [[] for _ in params]  # accumulated, not yet sent
    reduced: list[list[Array]] = [[] for _ in params]
    for m in range(len(pieces[0])):
        for r, mine in enumerate(pieces):
            weight = _length(mine[m], "batches") / total
            value, grads = gradient(params[r], mine[m])
            mean_loss += weight * float(value)
            waiting[r] = _add(waiting[r], [weight * g for g in tree_leaves(grads)])
        if m == len(pieces[0]) - 1 or not no_sync:
            summed, messages = _sum_buckets(waiting, buckets, "ring")
            sent.append(messages)
            reduced = [_add(before, new) for before, new in zip(reduced, summed, strict=True)]
            waiting = [[] for _ in params]
    moved, after = [], []
    for r, leaves in enumerate(reduced):
        updates, state = update(tree_unflatten(params[r], leaves), inner[r], params[r])
        moved.append(tree_map(lambda p, u: np.asarray(p + u), params[r], updates))
        after.append(state)
    return StepResult(moved, after, mean_loss, _one_after_another(sent))


def _add(before: list[Array], new: list[Array]) -> list[Array]:
    return [a + b for a, b in zip(before, new, strict=True)] if before else new


def _aligned(
    replicas: Any, states: Any, batches: Any
) -> tuple[list[Any], list[Any], list[list[Any]]]:
    """Check that there is an entry for each rank, and equally many micro-batches on all."""
    params, inner, pieces = (
        _several(replicas, "replicas"),
        _several(states, "states"),
        _several(batches, "batches"),
    )
    params, _ = _alike(params, "replicas")
    for name, entries in (("states", inner), ("batches", pieces)):
        integer(len(entries), f"number of ranks in {name}", low=len(params), high=len(params))
    for r, mine in enumerate(pieces):
        if not isinstance(mine, (list, tuple)) or len(mine) != len(pieces[0]) or not mine:
            raise ValueError(
                f"{_where()}: batches[{r}] must be a list of micro-batches, as many as "
                f"batches[0] has; got {type(mine).__name__} of {np.size(mine)}"
            )
    return params, inner, pieces


# Layers that look at the whole batch ----------------------------------------------------------


class BatchStatistics(NamedTuple):
    """Statistics of each channel over the examples of all ranks.

    Attributes
    ----------
    mean, var : array of shape (C,)
        Mean, and biased variance.
    number : int
        How many values are behind each.
    """

    mean: Array
    var: Array
    number: int


def sync_batch_statistics(batches: Sequence[Any]) -> tuple[BatchStatistics, Messages]:
    """Compute the statistics that batch norm needs over the examples of all ranks.

    Parameters
    ----------
    batches : sequence of N arrays of shape (n, C) or (n, C, ...)
        Activations of each of the N >= 2 ranks, float32 or float64; n may differ.

    Returns
    -------
    statistics : BatchStatistics
        What one process would find in all examples together.
    messages : Messages
        An all-gather of 2C + 1 numbers a rank: mean, variance, count.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two ranks, or their arrays differ in dtype or in channels.

    Notes
    -----
    With n, m and v the count, mean and biased variance of each rank::

        mean = sum(n m) / sum(n)
        var  = sum(n (v + (m - mean)^2)) / sum(n)

    The mean of the variances alone is too small by the variance of the means. PyTorch's
    SyncBatchNorm does the same in each forward pass of every layer, and all-reduces two sums in
    the backward pass: it costs latency.

    Examples
    --------
    >>> statistics, _ = sync_batch_statistics([np.array([[0.0], [2.0]]), np.array([[4.0]])])
    >>> statistics  # of 0, 2 and 4
    BatchStatistics(mean=array([2.]), var=array([2.66666667]), number=3)
    """
    arrays = [
        array(x, f"batches[{r}]", ndim=(2, 3, 4))
        for r, x in enumerate(_several(batches, "batches"))
    ]
    channels, dtype = arrays[0].shape[1], arrays[0].dtype
    one_of(dtype.name, "dtype of batches[0]", ("float32", "float64"))  # else 2049 is no count
    local = []
    for r, x in enumerate(arrays):
        integer(x.shape[1], f"number of channels of batches[{r}]", low=channels, high=channels)
        one_of(x.dtype.name, f"dtype of batches[{r}]", (dtype.name,))
        axes = (0, *range(2, x.ndim))
        count = np.full(1, x.size // channels, dtype)
        local.append(np.concatenate([x.mean(axis=axes), x.var(axis=axes), count]))
    gathered, messages = all_gather(local)
    table = gathered[0].reshape(len(arrays), -1)  # (ranks, 2C + 1)
    means, variances, n = table[:, :channels], table[:, channels:-1], table[:, -1:]
    share = n / n.sum()
    mean = np.sum(share * means, axis=0)
    var = np.sum(share * (variances + np.square(means - mean)), axis=0)
    return BatchStatistics(mean, var, int(n.sum())), messages
