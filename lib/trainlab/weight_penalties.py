"""Penalties on the size of the weights: L1, L2, elastic net, groups; and decay without a penalty.

A penalty is added to the loss. What it does is seen best in its *proximal operator*, the answer to
"move as little as possible from x, but pay the penalty":

    prox(x) = argmin over z of 1/2 ||z - x||² + penalty(z)

L2 multiplies x by a number below 1 and never reaches 0; L1 subtracts a constant and stops at 0,
so it removes weights; the norm of a group removes rows or channels as a whole.

The house convention: the loss is a mean over the examples and L2 is (strength/2) ||w||², whose
gradient is strength · w. Other texts use other conventions for the same letter λ;
`convert_strength` translates. Behind a normalization layer the size of w does not change the
function, and decay does something else: see `decay_equilibrium`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import array, axes, integer, one_of, real
from .differentiation import Pullback, differentiable, unbroadcast
from .trees import tree_leaves, tree_map, tree_unflatten

__all__ = [
    "CONVENTIONS",
    "Equilibrium",
    "convert_strength",
    "decay_equilibrium",
    "decoupled_decay",
    "elastic_net_penalty",
    "elastic_net_shrink",
    "group_lasso_penalty",
    "group_soft_threshold",
    "l1_penalty",
    "l2_penalty",
    "ridge_shrink",
    "soft_threshold",
    "steps_to_decay",
]

Array = NDArray[Any]


def _size(value: Any) -> Array:
    """Return a penalty; it can be too large for its dtype although all weights are finite."""
    return array(value, "sum over w, in the dtype of w,", ndim=0)


# Penalties -----------------------------------------------------------------------------------


@differentiable("w")
def l1_penalty(w: Any, *, strength: float) -> tuple[Array, Pullback]:
    """Sum of the absolute weights, the penalty of the lasso.

    Parameters
    ----------
    w : array of any shape
        Weights.
    strength : float
        λ >= 0.

    Returns
    -------
    array of shape ()

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds, or the sum does not fit into the dtype of w.

    Notes
    -----
    ``strength * sum(abs(w))``. The gradient is ``strength * sign(w)``, of the same size however
    small w is. At 0 every number in [-strength, strength] is a subgradient; 0 is taken, as in
    PyTorch. Steps along the subgradient jump across 0 and do not stay there: `soft_threshold` does.

    References
    ----------
    Tibshirani (1996), "Regression shrinkage and selection via the lasso".

    Examples
    --------
    >>> float(l1_penalty([3.0, 0.0, -1.0], strength=0.5))
    2.0
    """
    w, strength = array(w, "w", nonempty=False), real(strength, "strength", low=0)
    with np.errstate(over="ignore"):
        value = _size(strength * np.abs(w).sum())
    return value, lambda cotangent: (np.sign(w) * (strength * cotangent),)


@differentiable("w")
def l2_penalty(w: Any, *, strength: float) -> tuple[Array, Pullback]:
    """Half the sum of the squared weights, the penalty of ridge regression.

    Parameters
    ----------
    w : array of any shape
        Weights.
    strength : float
        λ >= 0.

    Returns
    -------
    array of shape ()

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds, or the sum does not fit into the dtype of w.

    Notes
    -----
    ``strength / 2 * sum(w**2)``, gradient ``strength * w``: what PyTorch's SGD adds as
    ``weight_decay``. Keras' ``L2`` has no 1/2, so its gradient is twice as large.

    Examples
    --------
    >>> float(l2_penalty([3.0, 0.0, -1.0], strength=0.5))
    2.5
    """
    w, strength = array(w, "w", nonempty=False), real(strength, "strength", low=0)
    with np.errstate(over="ignore"):
        value = _size(strength / 2 * np.square(w).sum())
    return value, lambda cotangent: (w * (strength * cotangent),)


@differentiable("w")
def elastic_net_penalty(w: Any, *, l1: float, l2: float) -> tuple[Array, Pullback]:
    """L1 and L2 together: sparse, but correlated weights share instead of one taking all.

    Parameters
    ----------
    w : array of any shape
        Weights.
    l1, l2 : float
        Strengths of the two penalties, >= 0.

    Returns
    -------
    array of shape ()

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds, or the sum does not fit into the dtype of w.

    Notes
    -----
    ``l1 * sum(abs(w)) + l2 / 2 * sum(w**2)``. scikit-learn's ``ElasticNet(alpha, l1_ratio)`` is
    ``l1 = alpha * l1_ratio`` and ``l2 = alpha * (1 - l1_ratio)``.

    References
    ----------
    Zou & Hastie (2005), "Regularization and variable selection via the elastic net".

    Examples
    --------
    >>> float(elastic_net_penalty([3.0, 0.0, -1.0], l1=0.5, l2=0.5))
    4.5
    """
    w = array(w, "w", nonempty=False)
    l1, l2 = real(l1, "l1", low=0), real(l2, "l2", low=0)
    with np.errstate(over="ignore"):
        value = _size(l1 * np.abs(w).sum() + l2 / 2 * np.square(w).sum())
    return value, lambda cotangent: ((l1 * np.sign(w) + l2 * w) * cotangent,)


def _norms(w: Array, axis: tuple[int, ...]) -> Array:
    """Norms along `axis`, kept as axes of length 1; no square overflows or vanishes."""
    largest = np.abs(w).max(axis=axis, keepdims=True, initial=0)
    scale = np.where(largest > 0, largest, 1)
    return np.asarray(scale * np.sqrt(np.square(w / scale).sum(axis=axis, keepdims=True)))


@differentiable("w")
def group_lasso_penalty(w: Any, *, strength: float, axis: Any = -1) -> tuple[Array, Pullback]:
    """Sum of the norms of groups of weights: removes rows, columns or channels as a whole.

    Parameters
    ----------
    w : array
        Weights, such as (out, in) or (out, in, height, width).
    strength : float
        λ >= 0.
    axis : int, tuple of int or None
        The axes the norm runs over, that is the inside of a group. -1 for W of shape (out, in):
        a group is all that one unit reads. 0: all that reads one input. None: one group.

    Returns
    -------
    array of shape ()

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds, or the sum does not fit into the dtype of w.

    Notes
    -----
    ``strength * sum over groups of sqrt(sum(w**2 in the group))``, no square on the norm: that is
    what makes it sparse. The gradient is ``strength * w / norm``; 0 is taken for a group at 0.
    Yuan & Lin weight each norm by the root of the group's size; here all groups have one size,
    so this is a factor in `strength`. Groups of one weight give `l1_penalty`.

    References
    ----------
    Yuan & Lin (2006), "Model selection and estimation in regression with grouped variables".

    Examples
    --------
    >>> float(group_lasso_penalty([[3.0, 4.0], [0.0, 0.0]], strength=2.0))
    10.0
    """
    w, strength = array(w, "w", nonempty=False), real(strength, "strength", low=0)
    inside = axes(axis, w.ndim)
    with np.errstate(over="ignore"):
        norms = _norms(w, inside)
        value = _size(strength * norms.sum())

    def pullback(cotangent: Array) -> tuple[Array]:
        return (w / np.where(norms > 0, norms, 1) * (strength * cotangent),)

    return value, pullback


# Proximal operators --------------------------------------------------------------------------


def _threshold(value: Any, x: Array) -> Array:
    """Check the threshold, a number or an array that broadcasts with x; it takes x's dtype."""
    threshold = array(value, "threshold", nonempty=False)
    real(float(threshold.min(initial=0)), "smallest of threshold", low=0)
    try:
        np.broadcast_shapes(threshold.shape, x.shape)
    except ValueError:
        raise ValueError(
            f"soft_threshold: threshold must have a shape that broadcasts with that of x, "
            f"{x.shape}; got {threshold.shape}"
        ) from None
    return threshold.astype(x.dtype, copy=False)


@differentiable("x")
def soft_threshold(x: Any, threshold: Any) -> tuple[Array, Pullback]:
    """Move every number toward 0 by a constant, and stop there: the proximal operator of L1.

    Parameters
    ----------
    x : array of any shape
    threshold : float or array that broadcasts with x
        Distance, >= 0. After a gradient step of size lr it is ``lr * strength``.

    Returns
    -------
    array of the broadcast shape

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    ``sign(x) * max(abs(x) - threshold, 0)``, computed as x minus x cut off at ±threshold: exactly 0
    inside. Its derivative is 1 outside and 0 inside.

    References
    ----------
    Beck & Teboulle (2009), "A fast iterative shrinkage-thresholding algorithm for linear inverse
    problems".

    Examples
    --------
    >>> soft_threshold([3.0, 0.4, -1.5], 0.5)
    array([ 2.5,  0. , -1. ])
    """
    x = array(x, "x", nonempty=False)
    t = _threshold(threshold, x)
    value = np.asarray(x - np.clip(x, -t, t))
    moves = np.abs(x) > t
    return value, lambda cotangent: (unbroadcast(np.asarray(cotangent * moves), x.shape),)


@differentiable("x")
def ridge_shrink(x: Any, *, strength: float) -> tuple[Array, Pullback]:
    """Divide by 1 + strength: the proximal operator of `l2_penalty`.

    Parameters
    ----------
    x : array of any shape
    strength : float
        λ >= 0, times the step size after a gradient step.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    ``x / (1 + strength)``: an implicit step, stable for every strength. The explicit step
    multiplies by ``1 - strength`` and agrees to first order.

    Examples
    --------
    >>> ridge_shrink([3.0, -1.5], strength=0.5)
    array([ 2., -1.])
    """
    x, strength = array(x, "x", nonempty=False), real(strength, "strength", low=0)
    return np.asarray(x / (1 + strength)), lambda c: (np.asarray(c / (1 + strength)),)


@differentiable("x")
def elastic_net_shrink(x: Any, *, l1: float, l2: float) -> tuple[Array, Pullback]:
    """Soft threshold, then shrink: the proximal operator of `elastic_net_penalty`.

    Parameters
    ----------
    x : array of any shape
    l1, l2 : float
        Strengths, >= 0, times the step size after a gradient step.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    ``soft_threshold(x, l1) / (1 + l2)``.

    References
    ----------
    Zou & Hastie (2005), "Regularization and variable selection via the elastic net".

    Examples
    --------
    >>> elastic_net_shrink([3.5, 0.4], l1=0.5, l2=0.5)
    array([2., 0.])
    """
    x = array(x, "x", nonempty=False)
    l1, l2 = real(l1, "l1", low=0), real(l2, "l2", low=0)
    moves = np.abs(x) > l1
    value = np.asarray((x - np.clip(x, -l1, l1)) / (1 + l2))
    return value, lambda cotangent: (np.asarray(cotangent * moves / (1 + l2)),)


@differentiable("x")
def group_soft_threshold(x: Any, threshold: float, *, axis: Any = -1) -> tuple[Array, Pullback]:
    """Shorten every group by a constant, or set it to 0: the proximal operator of group lasso.

    Parameters
    ----------
    x : array
    threshold : float
        Length that is taken off, >= 0. After a gradient step of size lr: ``lr * strength``.
    axis : int, tuple of int or None
        The inside of a group, as in `group_lasso_penalty`.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    ``x * max(1 - threshold / norm, 0)`` with the norm of x's group.

    References
    ----------
    Yuan & Lin (2006), "Model selection and estimation in regression with grouped variables".

    Examples
    --------
    >>> group_soft_threshold([[3.0, 4.0], [0.3, 0.4]], 1.0)
    array([[2.4, 3.2],
           [0. , 0. ]])
    """
    x, threshold = array(x, "x", nonempty=False), real(threshold, "threshold", low=0)
    inside = axes(axis, x.ndim)
    with np.errstate(over="ignore"):
        norms = _norms(x, inside)
    stays = norms > threshold
    direction = x / np.where(stays, norms, 1)
    removed = threshold / np.where(stays, norms, 1)  # the share of the length
    factor = np.where(stays, 1 - removed, 0)

    def pullback(cotangent: Array) -> tuple[Array]:
        along = (cotangent * direction).sum(axis=inside, keepdims=True)
        return (factor * cotangent + np.where(stays, removed * along, 0) * direction,)

    return np.asarray(x * factor), pullback


# Decay ---------------------------------------------------------------------------------------


def decoupled_decay(params: Any, *, lr: float, weight_decay: float, mask: Any = None) -> Any:
    """Shrink all weights by one factor, beside the gradient step instead of inside it.

    Parameters
    ----------
    params : tree of arrays
    lr : float
        Learning rate of this step, >= 0.
    weight_decay : float
        λ >= 0.
    mask : tree of bool like params, optional
        False where nothing decays; usual for biases and the gains of norms. All decay if left out.

    Returns
    -------
    tree of arrays

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    ``w * (1 - lr * weight_decay)``, as in PyTorch and optax; the paper multiplies λ by the schedule
    only, so its λ is lr times this one. With plain SGD this and `l2_penalty` are the same step;
    with momentum or Adam, where the penalty's gradient is averaged or divided, they are not.

    References
    ----------
    Loshchilov & Hutter (2019), "Decoupled weight decay regularization".

    Examples
    --------
    >>> decoupled_decay({"weight": np.array([2.0]), "bias": np.array([2.0])}, lr=0.1,
    ...                 weight_decay=0.5, mask={"weight": True, "bias": False})
    {'weight': array([1.9]), 'bias': array([2.])}
    """
    lr, weight_decay = real(lr, "lr", low=0), real(weight_decay, "weight_decay", low=0)
    leaves = [array(w, "params", nonempty=False) for w in tree_leaves(params)]
    params = tree_unflatten(params, leaves)
    factor = 1 - lr * weight_decay
    if mask is None:
        return tree_map(lambda w: w * factor, params)
    for leaf in tree_leaves(mask):
        one_of(leaf, "leaves of mask", (False, True))
    try:
        return tree_map(lambda w, decays: w * factor if decays else w.copy(), params, mask)
    except ValueError as error:
        raise ValueError(f"decoupled_decay: mask must be a tree like params; got {error}") from None


def steps_to_decay(lr: float, weight_decay: float, *, left: float = 0.5) -> int:
    """Count the steps after which decay alone leaves a given share of a weight.

    Parameters
    ----------
    lr : float
        Learning rate, > 0.
    weight_decay : float
        λ > 0 with ``lr * weight_decay < 1``.
    left : float
        The share, in (0, 1); 1/2 gives the half-life.

    Returns
    -------
    int
        The smallest number of steps with ``(1 - lr * weight_decay)**steps <= left``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Examples
    --------
    >>> steps_to_decay(1e-3, 0.01), steps_to_decay(3e-4, 0.1)
    (69315, 23105)
    """
    lr = real(lr, "lr", low=0, closed="neither")
    weight_decay = real(weight_decay, "weight_decay", low=0, closed="neither")
    left = real(left, "left", low=0, high=1, closed="neither")
    rate = real(lr * weight_decay, "lr * weight_decay", low=0, high=1, closed="neither")
    return math.ceil(math.log(left) / math.log1p(-rate))


class Equilibrium(NamedTuple):
    """Where weights before a normalization layer settle.

    Attributes
    ----------
    norm : float
        Length of w.
    angle : float
        Turn of w in one step, in radians.
    effective_lr : float
        ``lr / norm**2``, the learning rate of the direction of w.
    """

    norm: float
    angle: float
    effective_lr: float


def decay_equilibrium(lr: float, weight_decay: float, *, gradient_norm: float = 1.0) -> Equilibrium:
    """Find the length at which decay and gradient steps balance for scale-invariant weights.

    Parameters
    ----------
    lr : float
        Learning rate of plain SGD, > 0.
    weight_decay : float
        λ > 0 with ``lr * weight_decay < 1``.
    gradient_norm : float
        Root mean square of the length of the gradient at norm 1, > 0.

    Returns
    -------
    Equilibrium

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    If a normalization follows, f(c w) = f(w): the gradient is at right angles to w and is
    proportional to 1/norm. A step then gives ``norm_new**2 = (1 - lr λ)**2 norm**2 +
    (lr gradient_norm / norm)**2``, which stands still at::

        norm**4 = lr * gradient_norm**2 / (λ (2 - lr λ)),    cos(angle) = 1 - lr λ

    For small lr λ these are the published ``norm**4 = lr gradient_norm**2 / (2 λ)`` and
    ``angle = sqrt(2 lr λ)``. So λ sets the speed of turning and not the size of the function.

    References
    ----------
    van Laarhoven (2017), "L2 regularization versus batch and weight normalization"; Wan, Zhu, Zhang
    & Sun (2020), "Spherical motion dynamics".

    Examples
    --------
    >>> decay_equilibrium(0.5, 0.01).angle.__round__(4)  # sqrt(2 · 0.005) = 0.1
    0.1
    """
    lr = real(lr, "lr", low=0, closed="neither")
    weight_decay = real(weight_decay, "weight_decay", low=0, closed="neither")
    gradient_norm = real(gradient_norm, "gradient_norm", low=0, closed="neither")
    rate = real(lr * weight_decay, "lr * weight_decay", low=0, high=1, closed="neither")
    norm = math.sqrt(gradient_norm) * (lr / (weight_decay * (2 - rate))) ** 0.25
    # acos(1 - rate) without the cancellation
    angle = 2 * math.asin(math.sqrt(rate / 2))
    return Equilibrium(norm, angle, lr / norm / norm)


# Conventions ---------------------------------------------------------------------------------

# Name -> (factor of ||w||², whether it stands beside a sum, whether it is divided by n itself).
CONVENTIONS = {
    "mean + λ/2": (0.5, False, False),
    "mean + λ": (1.0, False, False),
    "mean + λ/2n": (0.5, False, True),
    "sum + λ/2": (0.5, True, False),
    "sum + λ": (1.0, True, False),
}


def _per_mean(name: str, examples: int) -> float:
    """Return the house strength of λ = 1: the gradient of the penalty beside a mean, over w."""
    factor, beside_sum, divided = CONVENTIONS[name]
    return 2 * factor / (examples if beside_sum or divided else 1)


def convert_strength(
    strength: float, source: str, *, target: str = "mean + λ/2", examples: int
) -> float:
    """Translate λ from one convention of the L2 penalty to another, for the same minimizer.

    Parameters
    ----------
    strength : float
        λ >= 0 in the convention `source`.
    source, target : str
        ``"mean + λ/2"``: mean loss + (λ/2) ||w||², gradient λw (this library; ``weight_decay`` of
        PyTorch's SGD). ``"mean + λ"``: λ ||w||², gradient 2λw (Keras). ``"mean + λ/2n"``:
        (λ/2n) ||w||², gradient (λ/n)w. ``"sum + λ/2"`` and ``"sum + λ"``: beside the *sum* of the
        losses. The keys of `CONVENTIONS`.
    examples : int
        n, what the mean or sum runs over: the data set, not the mini-batch.

    Returns
    -------
    float
        λ in the convention `target`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    The loss of an example is the same in all of them. scikit-learn's ``Ridge(alpha)`` is
    ``"sum + λ"`` with the loss r², or ``"sum + λ/2"`` with the loss r²/2: the same number. Beside a
    *sum*, and with λ/2n, the penalty loses weight as the data grow.

    Examples
    --------
    >>> [convert_strength(0.1, name, examples=50) for name in ("mean + λ/2n", "mean + λ")]
    [0.002, 0.2]
    """
    strength = real(strength, "strength", low=0)
    one_of(source, "source", CONVENTIONS)
    one_of(target, "target", CONVENTIONS)
    count = integer(examples, "examples", low=1)
    return strength * _per_mean(source, count) / _per_mean(target, count)
