"""Gradient accumulation: one step of a large batch from the gradients of small ones.

A batch that does not fit into memory is split into micro-batches. Their gradients are averaged, and
one step is taken. The result is the gradient of the whole batch if the loss is a mean over examples
(or tokens), every micro-batch counts by the number of those it has, and no example sees another:
batch norm breaks the last condition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _checks
from ._checks import array, integer, real
from ._leafwise import _leaves, _zeros
from .differentiation import value_and_grad
from .trees import tree_leaves, tree_map, tree_unflatten

__all__ = [
    "AccumulationCosts",
    "AccumulationState",
    "accumulated_value_and_grad",
    "accumulation_costs",
    "accumulation_init",
    "accumulation_update",
    "example_weights",
    "micro_batches",
]

Array = NDArray[Any]


class AccumulationState(NamedTuple):
    """Mean of the gradients so far.

    Attributes
    ----------
    mean : tree of arrays
        Weighted mean; zeros at the start.
    weight : float
        Sum of the weights so far, such as the number of examples or tokens.
    """

    mean: Any
    weight: float


def accumulation_init(params: Any) -> AccumulationState:
    """Start an accumulation.

    Parameters
    ----------
    params : tree of arrays
        Gives shapes and dtypes.

    Returns
    -------
    AccumulationState
        Mean 0 and weight 0.

    Raises
    ------
    TypeError
        If a leaf is no floating-point array.

    Examples
    --------
    >>> accumulation_init({"w": np.ones(2)})
    AccumulationState(mean={'w': array([0., 0.])}, weight=0.0)
    """
    return AccumulationState(_zeros(params), 0.0)


def accumulation_update(
    grads: Any, state: AccumulationState, *, weight: float = 1.0
) -> AccumulationState:
    """Add the gradient of a micro-batch to the mean.

    Parameters
    ----------
    grads : tree of arrays
        Gradient of the *mean* loss of the micro-batch.
    state : AccumulationState
        Unchanged.
    weight : float
        Number of examples or tokens in that mean, ≥ 0. With 1 for all, the result is the mean of
        means, which equals the mean of all examples for micro-batches of equal size only.

    Returns
    -------
    AccumulationState

    Raises
    ------
    ValueError, TypeError
        If the trees differ, or `weight` is negative.

    Notes
    -----
    ``mean += (grads - mean) * weight / (sum of weights)``: a mean at any time, so nothing has to be
    divided at the end. In PyTorch ``backward`` adds gradients up: there each loss is divided
    before, by the number k of equal micro-batches, or its *sum* by the number of all tokens.
    Multiplying by k instead makes the gradient k² times too large. A weight of 0, a micro-batch
    without tokens, changes nothing, whatever its gradient.

    Examples
    --------
    >>> state = accumulation_update(np.array([8.0]), accumulation_init(np.zeros(1)), weight=7)
    >>> accumulation_update(np.array([0.0]), state, weight=1)
    AccumulationState(mean=array([7.]), weight=8.0)
    """
    if not isinstance(state, AccumulationState):
        raise TypeError(
            "accumulation_update: state must be an AccumulationState, from accumulation_init; "
            f"got {type(state).__name__}"
        )
    weight = real(weight, "weight", low=0)
    leaves, means = _leaves(grads, "grads"), tree_leaves(state.mean)  # NaN passes, to be seen
    try:
        tree_map(lambda *_: None, grads, state.mean)
    except ValueError as error:
        raise ValueError(
            f"accumulation_update: grads must be a tree like state.mean; got another one ({error})"
        ) from None
    for leaf, mean in zip(leaves, means, strict=True):
        if leaf.shape != mean.shape:
            raise ValueError(
                f"accumulation_update: grads must have the shapes of state.mean, {mean.shape}; "
                f"got {leaf.shape}"
            )
    if weight == 0:
        return state
    total = state.weight + weight
    old, new = state.weight / total, weight / total
    mixed = [np.asarray(m * old + g * new) for g, m in zip(leaves, means, strict=True)]
    return AccumulationState(tree_unflatten(grads, mixed), total)


def _length(batch: Any) -> int:
    """Number of examples: the common length of the first axis of all leaves."""
    lengths = {np.shape(leaf)[:1] for leaf in tree_leaves(batch)}
    if len(lengths) != 1 or () in lengths:
        shapes = [np.shape(leaf) for leaf in tree_leaves(batch)]
        raise ValueError(
            f"micro_batches: batch must be arrays of shape (N, ...) with one N; got shapes {shapes}"
        )
    return int(lengths.pop()[0])


def micro_batches(batch: Any, *, size: int) -> list[Any]:
    """Split a batch along its first axis.

    Parameters
    ----------
    batch : tree of arrays of shape (N, ...)
        Inputs, labels, masks, of any dtype; all have the same N.
    size : int
        Examples of a micro-batch, ≥ 1. The last one has fewer if N is no multiple of it.

    Returns
    -------
    list of trees
        Views, not copies; none for N = 0.

    Raises
    ------
    ValueError, TypeError
        If leaves differ in N, or `size` is no whole number ≥ 1.

    Examples
    --------
    >>> micro_batches({"x": np.arange(5)}, size=2)
    [{'x': array([0, 1])}, {'x': array([2, 3])}, {'x': array([4])}]
    """
    size = integer(size, "size", low=1)
    starts = range(0, _length(batch), size)
    return [tree_map(lambda a, i=i: np.asarray(a)[i : i + size], batch) for i in starts]


def accumulated_value_and_grad(
    function: Callable[..., Any], *, size: int, weight: Callable[[Any], float] | None = None
) -> Callable[..., tuple[Any, Any]]:
    """Make a function like that of `value_and_grad`, which runs on one micro-batch at a time.

    Parameters
    ----------
    function : callable
        ``function(params, batch, *args, **kwargs)`` gives the mean loss of a batch.
    size : int
        Examples of a micro-batch, ≥ 1.
    weight : callable, optional
        Of a micro-batch, returns what its loss is a mean over: for a mean over the tokens of a mask
        ``lambda batch: batch["mask"].sum()``. Left out: the number of examples.

    Returns
    -------
    callable
        Of the same arguments; returns ``(value, gradients)`` of the whole batch.

    Raises
    ------
    ValueError, TypeError
        If `size` is no whole number ≥ 1; from the returned function, if a weight is negative or all
        are 0.

    Notes
    -----
    ``sum(weight_j * loss_j) / sum(weight_j)``. Equal to the loss of the whole batch if each
    `weight_j` is the number that `loss_j` has been divided by. With ``weight=lambda batch: 1.0`` it
    is the mean of means, in which a token of a short sequence counts more than one of a long
    sequence: the error of several trainers of language models until October 2024.

    Examples
    --------
    >>> from trainlab.arithmetic import mean
    >>> both = accumulated_value_and_grad(lambda w, x: mean(w * x), size=2)
    >>> value, grad = both(np.array([1.0]), np.array([1.0, 2.0, 6.0]))
    >>> float(value), grad
    (3.0, array([3.]))
    """
    size = integer(size, "size", low=1)
    _checks.function(function, "function")
    if weight is not None:
        _checks.function(weight, "weight")
    both = value_and_grad(function)

    def call(params: Any, batch: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        state, loss = accumulation_init(params), 0.0
        for part in micro_batches(batch, size=size):
            share = float(_length(part) if weight is None else weight(part))
            if share == 0:  # nothing to average: a loss of 0/0 that must not count
                continue
            value, grads = both(params, part, *args, **kwargs)
            state = accumulation_update(grads, state, weight=share)
            loss = loss + (value - loss) * (share / state.weight)
        if state.weight == 0:
            raise ValueError(
                "accumulated_value_and_grad: batch must have an example of weight > 0; got none"
            )
        return loss, state.mean

    return call


def example_weights(sizes: ArrayLike, *, weights: ArrayLike | None = None) -> Array:
    """Share of one example in the accumulated mean, for each micro-batch.

    Parameters
    ----------
    sizes : array of shape (k,)
        Examples or tokens of each micro-batch, > 0.
    weights : array of shape (k,), optional
        What the means of the micro-batches are weighted by, > 0. Left out: all alike, the mean of
        means.

    Returns
    -------
    array of shape (k,)
        ``weights / sum(weights) / sizes``. Right is 1/sum(sizes) for all: `weights` = `sizes`.

    Raises
    ------
    ValueError, TypeError
        If a number is not positive, or the shapes differ.

    Examples
    --------
    >>> example_weights([7, 1]), example_weights([7, 1], weights=[7, 1])
    (array([0.07142857, 0.5       ]), array([0.125, 0.125]))
    """
    counts = array(sizes, "sizes", ndim=1)
    real(float(counts.min()), "smallest of sizes", low=0, closed="neither")
    if weights is None:
        return np.asarray(1 / (counts * counts.size))
    parts = array(weights, "weights", shape=counts.shape).astype(counts.dtype, copy=False)
    real(float(parts.min()), "smallest of weights", low=0, closed="neither")
    return np.asarray(parts / parts.sum() / counts)


class AccumulationCosts(NamedTuple):
    """What an epoch costs.

    Attributes
    ----------
    updates : int
        Optimizer steps.
    passes : int
        Forward and backward passes of each rank, one a micro-batch.
    examples : int
        That went forward and backward, on all ranks together.
    in_memory : int
        Examples whose activations one rank holds at a time.
    syncs : int
        All-reduces of the gradient, if only the last pass of a step makes one.
    eager_syncs : int
        If every pass makes one.
    """

    updates: int
    passes: int
    examples: int
    in_memory: int
    syncs: int
    eager_syncs: int


def accumulation_costs(
    examples: int, *, batch_size: int, micro_batch_size: int, ranks: int = 1
) -> AccumulationCosts:
    """Count what accumulation changes in an epoch, and what it does not.

    Parameters
    ----------
    examples : int
        In the training set, ≥ 1; what does not fill a batch is left out.
    batch_size : int
        Examples of an optimizer step on all ranks, a multiple of `ranks`.
    micro_batch_size : int
        Examples that one rank passes at a time, ≥ 1.
    ranks : int
        Devices that share a batch, ≥ 1.

    Returns
    -------
    AccumulationCosts

    Raises
    ------
    ValueError, TypeError
        If a number is no whole number ≥ 1, or `batch_size` no multiple of `ranks`.

    Notes
    -----
    The number of examples, and with it the work, does not depend on `micro_batch_size`; memory
    does, and how well a device is used. Every pass of PyTorch's DDP makes an all-reduce unless it
    runs under ``no_sync()``.

    Examples
    --------
    >>> accumulation_costs(1024, batch_size=256, micro_batch_size=32, ranks=2)
    AccumulationCosts(updates=4, passes=16, examples=1024, in_memory=32, syncs=4, eager_syncs=16)
    """
    examples = integer(examples, "examples", low=1)
    micro = integer(micro_batch_size, "micro_batch_size", low=1)
    ranks = integer(ranks, "ranks", low=1)
    batch = integer(batch_size, "batch_size", low=1)
    if batch % ranks:
        raise ValueError(
            f"accumulation_costs: batch_size must be a multiple of ranks, {ranks}; got {batch}"
        )
    share = batch // ranks
    updates = examples // batch
    passes = updates * -(-share // micro)
    return AccumulationCosts(
        updates=updates,
        passes=passes,
        examples=updates * batch,
        in_memory=min(micro, share),
        syncs=updates if ranks > 1 else 0,
        eager_syncs=passes if ranks > 1 else 0,
    )
