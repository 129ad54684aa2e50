"""Stochastic depth: leave out whole residual branches in training.

A residual block adds a branch to what passes by: x + F(x). Without the branch the block is the
identity, so a network can be trained with a random part of its blocks, and used with all of them.

Everywhere `p` is the probability of *dropping* a branch; the paper writes p for the probability
that it survives, here ``1 - p``. As for dropout a mask is drawn first and then applied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import array, generator, integer, one_of, real
from .differentiation import Pullback, differentiable

__all__ = [
    "compute_saved",
    "depth_distribution",
    "drop_path",
    "drop_path_test",
    "drop_schedule",
    "expected_depth",
    "path_mask",
    "residual_stack",
]

Array = NDArray[Any]
Mask = NDArray[np.bool_]

SCALINGS = ("inverted", "standard")
RULES = ("linear", "from_zero", "uniform")
MODES = ("row", "batch")


def drop_schedule(depth: int, *, p: float = 0.5, rule: str = "linear") -> Array:
    """Probability of dropping each branch.

    Parameters
    ----------
    depth : int
        Number L of residual blocks, ≥ 1.
    p : float in [0, 1)
        Of the last block.
    rule : {"linear", "from_zero", "uniform"}
        "linear" is the paper's: block l of 1…L has p·l/L, so the first may be dropped too.
        "from_zero" rises from exactly 0 at the first block, as in timm: p·(l - 1)/(L - 1).
        "uniform" gives p to all.

    Returns
    -------
    array of shape (depth,)

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or "from_zero" has less than 2 blocks.

    Notes
    -----
    The paper states the probability of survival, ``1 - (l/L)·(1 - p_L)``; its p_L is ``1 - p``.
    Early blocks make the features that all others need, so they are dropped least.

    References
    ----------
    Huang, Sun, Liu, Sedra & Weinberger (2016), "Deep networks with stochastic depth".

    Examples
    --------
    >>> drop_schedule(4), drop_schedule(3, p=0.2, rule="from_zero")
    (array([0.125, 0.25 , 0.375, 0.5  ]), array([0. , 0.1, 0.2]))
    """
    rule = one_of(rule, "rule", RULES)
    depth = integer(depth, "depth", low=2 if rule == "from_zero" else 1)
    p = real(p, "p", low=0, high=1, closed="left")
    if rule == "uniform":
        return np.full(depth, p)
    if rule == "from_zero":
        return p * np.arange(depth) / (depth - 1)
    return p * np.arange(1, depth + 1) / depth


def _probabilities(p: ArrayLike) -> Array:
    """Check one probability of dropping for each block."""
    checked = array(p, "p", ndim=1)
    real(float(checked.min()), "smallest of p", low=0, high=1)
    real(float(checked.max()), "largest of p", low=0, high=1)
    return checked


def expected_depth(p: ArrayLike) -> float:
    """Mean number of branches that survive.

    Parameters
    ----------
    p : array of shape (L,)
        Probability of dropping each branch, in [0, 1].

    Returns
    -------
    float
        ``sum(1 - p)``.

    Raises
    ------
    ValueError, TypeError
        If a probability is out of its range.

    Notes
    -----
    For the linear schedule ``L - p·(L + 1)/2``: with p = 0.5 this is (3L - 1)/4.

    References
    ----------
    Huang et al. (2016).

    Examples
    --------
    >>> expected_depth(drop_schedule(54))
    40.25
    """
    checked = _probabilities(p)
    return checked.size - math.fsum(checked)


def depth_distribution(p: ArrayLike) -> Array:
    """Probability of each number of surviving branches.

    Parameters
    ----------
    p : array of shape (L,)
        Probability of dropping each branch, in [0, 1].

    Returns
    -------
    array of shape (L + 1,)
        Of 0, 1, … L survivors. Its mean is `expected_depth`, its variance ``sum(p * (1 - p))``.

    Raises
    ------
    ValueError, TypeError
        If a probability is out of its range.

    Notes
    -----
    One block after another: a distribution moves up by one with probability ``1 - p``.

    Examples
    --------
    >>> depth_distribution([0.5, 0.5, 0.0])
    array([0.  , 0.25, 0.5 , 0.25])
    """
    checked = _probabilities(p)
    chances = np.ones(1, checked.dtype)
    for drop in checked:
        chances = np.convolve(chances, np.array([drop, 1 - drop]))
    return chances


def compute_saved(p: ArrayLike, *, cost: ArrayLike | None = None) -> float:
    """Fraction of the branches' computation that is left out on average.

    Parameters
    ----------
    p : array of shape (L,)
        Probability of dropping each branch, in [0, 1].
    cost : array of shape (L,), optional
        Operations of each branch, ≥ 0 and not all 0; all alike if left out.

    Returns
    -------
    float
        ``sum(p * cost) / sum(cost)``, of the forward and of the backward pass.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    Notes
    -----
    Only where a dropped branch is not computed: one mask for the whole batch, as in the paper. With
    a mask for each example, as in timm, the branch is computed for all and multiplied by zeros.

    Examples
    --------
    >>> round(compute_saved(drop_schedule(54)), 4)
    0.2546
    """
    checked = _probabilities(p)
    if cost is None:
        return float(checked.mean())
    weights = array(cost, "cost", shape=checked.shape)
    real(float(weights.min()), "smallest of cost", low=0)
    peak = real(float(weights.max()), "largest of cost", low=0, closed="neither")
    weights = weights / peak
    return float(np.sum(checked * weights) / np.sum(weights))


def path_mask(batch_size: int, *, p: float, rng: np.random.Generator, mode: str = "row") -> Mask:
    """Draw for which examples a branch survives: True with probability ``1 - p``.

    Parameters
    ----------
    batch_size : int
        Number N of examples, ≥ 0.
    p : float in [0, 1)
        Probability of dropping the branch.
    rng : np.random.Generator
        Source of randomness.
    mode : {"row", "batch"}
        "row" draws for each example, "batch" once for all. The names are torchvision's.

    Returns
    -------
    array of bool of shape (N,)

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or `rng` is no generator.

    Examples
    --------
    >>> path_mask(4, p=0.5, rng=np.random.default_rng(1))
    array([ True,  True, False,  True])
    >>> path_mask(4, p=0.5, rng=np.random.default_rng(2), mode="batch")
    array([False, False, False, False])
    """
    count = integer(batch_size, "batch_size", low=0)
    p = real(p, "p", low=0, high=1, closed="left")
    rng = generator(rng)
    if one_of(mode, "mode", MODES) == "batch":
        return np.full(count, rng.random() >= p)
    return np.asarray(rng.random(count) >= p)


@differentiable("x")
def drop_path(x: Any, mask: Mask, *, p: float, scaling: str = "inverted") -> tuple[Array, Pullback]:
    """Set the branch of dropped examples to zero, as in training.

    Parameters
    ----------
    x : array of shape (N, ...)
        What the branch has computed, before it is added.
    mask : array of bool of shape (N,)
        True where the branch survives, from `path_mask`.
    p : float in [0, 1)
        Probability of dropping that the mask was drawn with.
    scaling : {"inverted", "standard"}
        "inverted" divides the survivors by ``1 - p`` and does nothing at test time (timm,
        torchvision). "standard" does not: the paper scales at test time.

    Returns
    -------
    array of the shape of x
        ``x * mask / (1 - p)`` or ``x * mask``. Differentiable in x.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or the mask does not fit.

    See Also
    --------
    drop_path_test : the other half; call both with the same `scaling`.

    References
    ----------
    Huang et al. (2016), who have "standard".

    Examples
    --------
    >>> x, mask = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([True, False])
    >>> drop_path(x, mask, p=0.5)
    array([[2., 4.],
           [0., 0.]])
    """
    x = array(x, "x", nonempty=False)
    p = real(p, "p", low=0, high=1, closed="left")
    one_of(scaling, "scaling", SCALINGS)
    if x.ndim == 0:
        raise ValueError("drop_path: x must have the examples as its first axis; got a number")
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != x.shape[:1]:
        raise ValueError(
            f"drop_path: mask must be boolean, of shape {x.shape[:1]}, as path_mask draws it; "
            f"got {getattr(mask, 'dtype', type(mask).__name__)} {getattr(mask, 'shape', '')}"
        )
    scale = mask.astype(x.dtype)
    if scaling == "inverted":
        scale /= 1 - p
    scale = scale.reshape(-1, *[1] * (x.ndim - 1))  # (N,) -> (N, 1, ...)
    return x * scale, lambda cotangent: (cotangent * scale,)


@differentiable("x")
def drop_path_test(x: Any, *, p: float, scaling: str = "inverted") -> tuple[Array, Pullback]:
    """Apply the rule for test time: nothing if it was inverted, else scale by ``1 - p``.

    Parameters
    ----------
    x : array
        What the branch has computed, before it is added.
    p : float in [0, 1)
        Probability of dropping in training.
    scaling : {"inverted", "standard"}
        As in training.

    Returns
    -------
    array of the shape of x
        x itself, or ``x * (1 - p)``. Differentiable in x.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    References
    ----------
    Huang et al. (2016), who have "standard".

    Examples
    --------
    >>> drop_path_test([1.0, 2.0], p=0.25, scaling="standard")
    array([0.75, 1.5 ])
    """
    x = array(x, "x", nonempty=False)
    p = real(p, "p", low=0, high=1, closed="left")
    if one_of(scaling, "scaling", SCALINGS) == "inverted":
        return x, lambda cotangent: (cotangent,)
    return x * (1 - p), lambda cotangent: (cotangent * (1 - p),)


def residual_stack(
    x: Any,
    branches: Sequence[Callable[[Any], Any]],
    *,
    p: ArrayLike,
    rng: np.random.Generator | None = None,
    mode: str = "row",
    scaling: str = "inverted",
) -> Any:
    """Add residual branches one after another, and drop some of them in training.

    Parameters
    ----------
    x : array or Variable of shape (N, ...)
        Input of the first block.
    branches : sequence of L callables
        Each maps an array of the shape of x to one of this shape.
    p : array of shape (L,)
        Probability of dropping each branch, in [0, 1); see `drop_schedule`.
    rng : np.random.Generator, optional
        Given: training, masks are drawn. Left out: test time, all branches are there.
    mode : {"row", "batch"}
        Whether an example or the whole batch has its own mask.
    scaling : {"inverted", "standard"}
        As in `drop_path`.

    Returns
    -------
    array or Variable of the shape of x
        Differentiable in x and in what the branches are made of.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or branches and p differ in number.

    Notes
    -----
    ``x = x + drop_path(branch(x))``. A branch that no example needs is not called: with "batch"
    this saves `compute_saved` of the work.

    Examples
    --------
    >>> blocks = [lambda x: 0.5 * x] * 2
    >>> residual_stack(np.ones((1, 1)), blocks, p=[0.2, 0.2])
    array([[2.25]])
    >>> residual_stack(np.ones((1, 1)), blocks, p=[0.2, 0.2], scaling="standard").round(2)
    array([[1.96]])
    """
    chances = _probabilities(p).tolist()
    real(max(chances), "largest of p", low=0, high=1, closed="left")
    one_of(mode, "mode", MODES)
    one_of(scaling, "scaling", SCALINGS)
    if not isinstance(branches, Sequence) or not all(callable(b) for b in branches):
        raise TypeError(
            f"residual_stack: branches must be a sequence of functions; got {branches!r}"
        )
    if len(branches) != len(chances):
        raise ValueError(
            f"residual_stack: branches must be as many as p has numbers, {len(chances)}; "
            f"got {len(branches)}"
        )
    array(getattr(x, "value", x), "x", nonempty=False)
    if np.ndim(getattr(x, "value", x)) == 0:
        raise ValueError("residual_stack: x must have the examples as its first axis; got a number")
    if rng is not None:
        generator(rng)
    for branch, drop in zip(branches, chances, strict=True):
        if rng is None:
            x = x + drop_path_test(branch(x), p=drop, scaling=scaling)
            continue
        mask = path_mask(len(x), p=drop, rng=rng, mode=mode)
        if mask.any():
            x = x + drop_path(branch(x), mask, p=drop, scaling=scaling)
    return x
