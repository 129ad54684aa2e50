"""Pruning: which weights to set to 0, as masks of True (kept) and False (pruned).

A mask is a tree like the parameters. Unstructured pruning keeps the largest weights wherever they
stand; it removes the most for a given error, and no time on ordinary hardware. Structured pruning
removes rows or channels as a whole, N:M pruning leaves N of every M neighbors, which some
hardware can use. *Sparsity* is the share of the weights that is 0.

Weights that were pruned stay so only if the masks are applied after every update.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import _where, array, axes, generator, integer, one_of, real
from .trees import tree_leaves, tree_map, tree_unflatten

__all__ = [
    "apply_masks",
    "cubic_sparsity",
    "gaussian_removed_energy",
    "iterative_sparsities",
    "magnitude_masks",
    "n_m_mask",
    "random_masks",
    "sparsity_of",
    "structured_mask",
]

Array = NDArray[Any]
Mask = NDArray[np.bool_]


def _largest(scores: Array, sparsity: float, previous: Mask | None) -> Mask:
    """Mask without the round(sparsity · n) smallest; of equal ones the first go."""
    flat = scores.reshape(-1)  # (any shape) -> (n,)
    if previous is not None:
        flat = np.where(previous.reshape(-1), flat, -1)  # pruned ones first
    mask = np.ones(flat.size, bool)
    mask[np.argsort(flat, kind="stable")[: round(sparsity * flat.size)]] = False
    if previous is not None:
        mask &= previous.reshape(-1)
    return mask.reshape(scores.shape)


def _masks(scores: Any, sparsity: float, scope: str, previous: Any) -> Any:
    """Masks from scores >= 0: one ranking for each leaf, or one for all leaves together."""
    sparsity = real(sparsity, "sparsity", low=0, high=1)
    one_of(scope, "scope", ("global", "tensor"))
    leaves = tree_leaves(scores)
    old = None if previous is None else _like(scores, previous, "previous")
    if scope == "tensor":
        pairs = zip(leaves, old or [None] * len(leaves), strict=True)
        found = [_largest(s, sparsity, o) for s, o in pairs]
        return tree_unflatten(scores, found)
    if not leaves:
        return scores
    flat = np.concatenate([s.reshape(-1) for s in leaves])  # all leaves -> (n,)
    flat_old = None if old is None else np.concatenate([o.reshape(-1) for o in old])
    mask = _largest(flat, sparsity, flat_old)
    parts = np.split(mask, np.cumsum([s.size for s in leaves])[:-1])
    return tree_unflatten(scores, [m.reshape(s.shape) for m, s in zip(parts, leaves, strict=True)])


def _like(tree: Any, masks: Any, name: str) -> list[Any]:
    """Check that masks are a tree like another one, of boolean arrays of the same shapes."""

    def check(leaf: Any, given: Any) -> Mask:
        mask: Mask = np.asarray(given)
        if mask.dtype != np.bool_ or mask.shape != leaf.shape:
            raise ValueError(f"a leaf of shape {mask.shape} and dtype {mask.dtype}")
        return mask

    try:
        return tree_leaves(tree_map(check, tree, masks))
    except ValueError as error:
        raise ValueError(
            f"{_where()}: {name} must be a tree of boolean arrays like the parameters; got {error}"
        ) from None


def magnitude_masks(
    params: Any, sparsity: float, *, scope: str = "global", previous: Any = None
) -> Any:
    """Keep the weights with the largest absolute values.

    Parameters
    ----------
    params : tree of arrays
        Weights, or any other scores whose absolute value says what a weight is worth: w times its
        gradient (first-order), or w times the norm of its input (Wanda).
    sparsity : float
        Share that is pruned, in [0, 1].
    scope : {"global", "tensor"}
        One ranking of all weights together, so that layers of small weights lose more; or each
        array for itself.
    previous : tree of bool arrays, optional
        Masks of earlier rounds; what they pruned stays pruned, and counts.

    Returns
    -------
    tree of bool arrays
        True where a weight is kept.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    ``round(sparsity * n)`` weights are pruned, as in ``torch.nn.utils.prune``; of equal ones those
    that come first. For independent inputs of mean 0 and variance 1 the expected squared error of a
    linear layer's output is the sum of the squares of what was pruned: the least for this sparsity.

    References
    ----------
    Han, Pool, Tran, Dally (2015), Learning both weights and connections for efficient neural
    networks. Sun, Liu, Bair, Kolter (2024), A simple and effective pruning approach for large
    language models, for Wanda.

    Examples
    --------
    >>> magnitude_masks({"a": np.array([3.0, -1.0]), "b": np.array([0.2, 0.1])}, 0.5)
    {'a': array([ True,  True]), 'b': array([False, False])}
    """
    scores = [np.abs(array(w, "params", nonempty=False)) for w in tree_leaves(params)]
    return _masks(tree_unflatten(params, scores), sparsity, scope, previous)


def random_masks(
    params: Any,
    sparsity: float,
    *,
    rng: np.random.Generator,
    scope: str = "global",
    previous: Any = None,
) -> Any:
    """Prune at random: what every criterion has to beat.

    Parameters
    ----------
    params : tree of arrays
        Weights; only their shapes are used.
    sparsity : float
        Share that is pruned, in [0, 1].
    rng : np.random.Generator
    scope : {"global", "tensor"}
        Whether the count is exact over all weights together or in each array.
    previous : tree of bool arrays, optional
        As in `magnitude_masks`.

    Returns
    -------
    tree of bool arrays

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Examples
    --------
    >>> random_masks(np.ones(4), 0.5, rng=np.random.default_rng(0)).sum()
    np.int64(2)
    """
    rng = generator(rng)
    shapes = [array(w, "params", nonempty=False).shape for w in tree_leaves(params)]
    scores = [rng.random(shape) for shape in shapes]
    return _masks(tree_unflatten(params, scores), sparsity, scope, previous)


def structured_mask(weight: Any, sparsity: float, *, axis: int = 0, order: float = 2) -> Mask:
    """Keep the rows, columns or channels with the largest norms, whole.

    Parameters
    ----------
    weight : array of shape (out, in) or (out, in, height, width), at least 1 dimension
        Weights of one layer.
    sparsity : float
        Share of the slices that is pruned, in [0, 1].
    axis : int
        The axis that is thinned out: 0 removes units of the output, 1 of the input.
    order : {1, 2, np.inf}
        Of the norm: sum of absolute values, root of the sum of squares, or the largest one.

    Returns
    -------
    bool array of the shape of weight

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    ``torch.nn.utils.prune.ln_structured`` with ``dim = axis``. The array can then be made smaller
    for good, and with it the neighbors in the next layer.

    References
    ----------
    Li, Kadav, Durdanovic, Samet, Graf (2017), Pruning filters for efficient ConvNets, for filters
    and the 1-norm.

    Examples
    --------
    >>> structured_mask([[3.0, 0.0], [1.0, 1.0]], 0.5)
    array([[ True,  True],
           [False, False]])
    """
    weight = array(weight, "weight", nonempty=False)
    sparsity = real(sparsity, "sparsity", low=0, high=1)
    integer(weight.ndim, "number of dimensions of weight", low=1)
    thinned = axes(integer(axis, "axis"), weight.ndim)[0]
    one_of(order, "order", (1, 2, np.inf))
    inside = tuple(a for a in range(weight.ndim) if a != thinned)
    size = np.abs(weight)
    # Relative to the largest weight, so that no square overflows.
    size = size / max(float(size.max(initial=0)), float(np.finfo(weight.dtype).tiny))
    if order == np.inf:
        norms = size.max(axis=inside, initial=0)
    else:
        norms = (size**order).sum(axis=inside)
    kept = _largest(norms, sparsity, None)
    spread = tuple(-1 if a == thinned else 1 for a in range(weight.ndim))
    return np.broadcast_to(kept.reshape(spread), weight.shape).copy()  # (n,) -> (1, n, 1)


def n_m_mask(weight: Any, *, keep: int = 2, of: int = 4, axis: int = -1) -> Mask:
    """Keep the largest N of every M neighbors: 2:4 sparsity.

    Parameters
    ----------
    weight : array, at least 1 dimension
        Weights; for W of shape (out, in) the inputs are grouped.
    keep, of : int
        N and M, 1 <= N <= M; M divides the length of the axis.
    axis : int
        The axis along which neighbors are grouped.

    Returns
    -------
    bool array of the shape of weight

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds, or M does not divide the length.

    Notes
    -----
    Exactly ``1 - N/M`` of the weights are pruned, half for 2:4. Each group stores N values and
    their places, so the matrix product can skip the rest. Of equal weights the later ones stay.

    References
    ----------
    Mishra et al. (2021), Accelerating sparse deep neural networks.

    Examples
    --------
    >>> n_m_mask([4.0, -3.0, 2.0, 1.0, 0.1, 0.2, 0.3, 0.4])
    array([ True,  True, False, False, False, False,  True,  True])
    """
    weight = array(weight, "weight", nonempty=False)
    integer(weight.ndim, "number of dimensions of weight", low=1)
    of = integer(of, "of", low=1)
    keep = integer(keep, "keep", low=1, high=of)
    grouped = axes(integer(axis, "axis"), weight.ndim)[0]
    last = np.moveaxis(np.abs(weight), grouped, -1)
    if last.shape[-1] % of:
        raise ValueError(
            f"n_m_mask: of must divide the length of the axis of weight, {last.shape[-1]}; got {of}"
        )
    groups = last.reshape(*last.shape[:-1], last.shape[-1] // of, of)  # (..., n) -> (..., n/M, M)
    rank = np.argsort(np.argsort(groups, axis=-1, kind="stable"), axis=-1)
    kept = (rank >= of - keep).reshape(last.shape)  # (..., n/M, M) -> (..., n)
    return np.ascontiguousarray(np.moveaxis(kept, -1, grouped))


def apply_masks(params: Any, masks: Any) -> Any:
    """Set the pruned weights to 0; also for gradients, so that they stay there.

    Parameters
    ----------
    params : tree of arrays
    masks : tree of bool arrays like params

    Returns
    -------
    tree of arrays

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    Momentum and weight decay move a weight whose gradient is 0: apply the masks to the weights
    after the update, not to the gradients alone.

    Examples
    --------
    >>> apply_masks([np.array([3.0, -1.0])], [np.array([True, False])])
    [array([3., 0.])]
    """
    weights = [array(w, "params", nonempty=False) for w in tree_leaves(params)]
    params = tree_unflatten(params, weights)
    checked = tree_unflatten(params, _like(params, masks, "masks"))
    return tree_map(lambda w, m: np.where(m, w, np.zeros((), w.dtype)), params, checked)


def sparsity_of(tree: Any) -> float:
    """Share of the entries of a tree that are 0 (or False).

    Parameters
    ----------
    tree : tree of arrays
        Weights or masks, at least one entry.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError, TypeError
        If the tree holds no numbers.

    Examples
    --------
    >>> sparsity_of({"weight": np.array([0.0, 2.0]), "bias": np.array([1.0, 0.0])})
    0.5
    """
    leaves = [np.asarray(leaf) for leaf in tree_leaves(tree)]
    leaves = [a if a.dtype == np.bool_ else array(a, "tree", nonempty=False) for a in leaves]
    count = integer(sum(a.size for a in leaves), "number of entries of tree", low=1)
    return 1 - sum(int(np.count_nonzero(a)) for a in leaves) / count


# Schedules ------------------------------------------------------------------------------------


def cubic_sparsity(
    step: int, *, final: float, end: int, start: int = 0, initial: float = 0.0
) -> float:
    """Sparsity to prune to at a step: fast at first, slower as less is left.

    Parameters
    ----------
    step : int
        Optimizer step, >= 0.
    final : float
        Sparsity from `end` on, in [0, 1].
    end : int
        Last step of the rise, >= 1.
    start : int
        First step of the rise, in [0, end).
    initial : float
        Sparsity up to `start`, in [0, final].

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    ``final + (initial - final) * (1 - (step - start) / (end - start))**3`` between start and end.

    References
    ----------
    Zhu, Gupta (2017), To prune, or not to prune: exploring the efficacy of pruning for model
    compression.

    Examples
    --------
    >>> [round(cubic_sparsity(s, final=0.8, end=100), 3) for s in (0, 25, 50, 75, 100)]
    [0.0, 0.463, 0.7, 0.788, 0.8]
    """
    step, end = integer(step, "step", low=0), integer(end, "end", low=1)
    start = integer(start, "start", low=0, high=end - 1)
    final = real(final, "final", low=0, high=1)
    initial = real(initial, "initial", low=0, high=final)
    left = min(max((end - step) / (end - start), 0.0), 1.0)
    return initial * left**3 + final * (1 - left**3)


def iterative_sparsities(final: float, *, rounds: int) -> Array:
    """Sparsities for pruning in rounds, with training between: each keeps the same share.

    Parameters
    ----------
    final : float
        Sparsity after the last round, in [0, 1).
    rounds : int
        >= 1. One round is one-shot pruning.

    Returns
    -------
    array of shape (rounds,)

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    ``1 - (1 - final)**(k / rounds)`` for k = 1 ... rounds.

    References
    ----------
    Frankle, Carbin (2019), The lottery ticket hypothesis: finding sparse, trainable neural
    networks.

    Examples
    --------
    >>> iterative_sparsities(0.875, rounds=3)
    array([0.5  , 0.75 , 0.875])
    """
    final = real(final, "final", low=0, high=1, closed="left")
    count = integer(rounds, "rounds", low=1)
    return np.asarray(1 - (1 - final) ** (np.arange(1, count + 1) / count))


def gaussian_removed_energy(sparsity: float) -> float:
    """Share of the sum of squares that the smallest normal weights hold.

    Parameters
    ----------
    sparsity : float
        Share s of the weights that is pruned by magnitude, in [0, 1].

    Returns
    -------
    float
        The relative squared error of a linear layer's output for independent inputs of mean 0 and
        variance 1. Pruning at random removes s itself.

    Raises
    ------
    ValueError, TypeError
        If `sparsity` is no number in [0, 1].

    Notes
    -----
    Pruned is what lies in ±c, where ``c = Φ⁻¹((1 + s)/2)``. The integral of x² φ(x) over that is
    ``s - 2 c φ(c)``.

    Examples
    --------
    >>> [round(gaussian_removed_energy(s) ** 0.5, 2) for s in (0.5, 0.8, 0.9)]
    [0.27, 0.59, 0.75]
    """
    sparsity = real(sparsity, "sparsity", low=0, high=1)
    if sparsity in (0.0, 1.0):
        return sparsity
    c = NormalDist().inv_cdf((1 + sparsity) / 2)
    if c < 1e-3:  # the difference would cancel: 2 φ(0) c³/3
        return math.sqrt(2 / math.pi) * c**3 / 3
    return sparsity - 2 * c * NormalDist().pdf(c)
