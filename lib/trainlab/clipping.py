"""Gradient clipping: bound a gradient before the step, and know which gradient is bounded.

A gradient that is too long is shortened (`clip_by_global_norm`, `clip_by_norm`), or its entries are
cut off (`clip_by_value`). What differs is the set of numbers that share one bound: all parameters
together keep the direction of the whole gradient; each tensor, each row or each entry on its own
turns it. Clipping every example before the mean bounds what a single one can do, and biases the
mean.

Clip once an optimizer step: after unscaling, accumulation and all-reduce.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import array, integer, one_of, real
from ._leafwise import _leaves
from .trees import tree_leaves, tree_map, tree_unflatten

__all__ = [
    "adaptive_clip",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "clip_per_example",
    "global_norm",
]

Array = NDArray[Any]

BLOCK = 1 << 13  # entries whose squares are summed in their own precision


def _safe(dtype: Any) -> tuple[float, float]:
    """Between these bounds a sum of squares has neither overflowed nor lost what it needs."""
    info = np.finfo(dtype)
    return float(info.tiny) / float(info.eps) ** 2, float(info.max)


def _norm(x: Array) -> float:
    """L2 norm of an array in one pass over the memory; a second one only for extreme values."""
    flat = x.ravel(order="K")
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(0, flat.size, BLOCK):
            part = flat[i : i + BLOCK]
            part = part.astype(np.float32) if part.dtype == np.float16 else part
            total += float(np.dot(part, part))
    low, high = _safe(np.float32 if x.dtype == np.float16 else x.dtype)
    if low < total < high or flat.size == 0:
        return math.sqrt(total)
    peak = float(np.abs(flat).max())
    if peak == 0 or not math.isfinite(peak):
        return peak
    return peak * float(np.linalg.norm(flat.astype(np.float64) / peak))


def _norms(x: Array, axes: tuple[int, ...]) -> Array:
    """L2 norms along some axes, which stay with length 1; safe for extreme values."""
    x = x.astype(np.float32) if x.dtype == np.float16 else x
    with np.errstate(over="ignore", invalid="ignore"):
        square = np.sum(np.square(x), axis=axes, keepdims=True)
        low, high = _safe(x.dtype)
        if not bool(((square > low) & (square < high)).all()):
            peak = np.max(np.abs(x), axis=axes, keepdims=True, initial=0)
            unit = np.where((peak > 0) & (peak < np.inf), peak, np.ones_like(peak))
            return np.asarray(unit * np.sqrt(np.sum(np.square(x / unit), axis=axes, keepdims=True)))
        return np.asarray(np.sqrt(square))


def _must_be_finite(norm: float, func: str) -> None:
    if not math.isfinite(norm):
        raise ValueError(
            f"{func}: grads must have a finite norm, or error_if_nonfinite be False; got {norm}"
        )


def _flag(value: Any) -> bool:
    one_of(value, "error_if_nonfinite", (True, False))
    return bool(value)


def _threshold(value: Any, name: str) -> float:
    return real(value, name, low=0, closed="neither")


def _other_leaves(grads: Any, other: Any, func: str, name: str) -> list[Any]:
    """Leaves of a tree that must have the structure of grads."""
    try:
        tree_map(lambda *_: None, grads, other)
    except ValueError as error:
        raise ValueError(
            f"{func}: {name} must have the structure of grads; got another one ({error})"
        ) from None
    return tree_leaves(other)


def _scaled(x: Array, factor: float, out: Array | None = None) -> Array:
    if factor == 1 and (out is None or out is x):
        return x
    with np.errstate(invalid="ignore"):  # infinity times 0, when the caller wants to see the NaN
        return np.multiply(x, factor, out=out, dtype=x.dtype)


def _written_to(out: Any, grads: Any, leaves: list[Array]) -> list[Any]:
    """Leaves of `out`, which must be arrays that can hold the result, or nothing."""
    if out is None:
        return [None] * len(leaves)
    places = _other_leaves(grads, out, "clip_by_global_norm", "out")
    for leaf, place in zip(leaves, places, strict=True):
        if not isinstance(place, np.ndarray) or (place.shape, place.dtype) != (
            leaf.shape,
            leaf.dtype,
        ):
            raise ValueError(
                "clip_by_global_norm: out must have arrays of the shapes and dtypes of grads; got "
                f"{getattr(place, 'dtype', type(place).__name__)} {getattr(place, 'shape', '')}"
            )
    return places


def _factor(norm: float, max_norm: float, eps: float) -> float:
    """min(1, max_norm / (norm + eps)); NaN for NaN."""
    return 1.0 if norm + eps <= max_norm else max_norm / (norm + eps)


def global_norm(grads: Any) -> float:
    """L2 norm of all entries of a tree together.

    Parameters
    ----------
    grads : tree of arrays
        Any shapes; leaves may be empty.

    Returns
    -------
    float
        ``sqrt(sum of all squares)``; NaN or infinite if an entry is.

    Raises
    ------
    TypeError
        If a leaf is no floating-point array.

    Notes
    -----
    Blocks of entries are squared and summed in their own precision, the blocks in float64, so that
    neither millions of float32 entries nor squares beyond the range of the format spoil the sum.
    Log it in every run: a threshold for clipping can only be chosen by looking at it.

    Examples
    --------
    >>> global_norm({"weight": np.array([[3.0, 4.0]]), "bias": np.array([12.0])})
    13.0
    """
    norms = [_norm(leaf) for leaf in _leaves(grads, "grads")]
    return math.nan if any(map(math.isnan, norms)) else math.hypot(*norms)


def clip_by_global_norm(
    grads: Any,
    *,
    max_norm: float,
    eps: float = 1e-6,
    error_if_nonfinite: bool = True,
    out: Any = None,
) -> tuple[Any, float]:
    """Shorten the gradient of all parameters together, if its norm exceeds a threshold.

    Parameters
    ----------
    grads : tree of arrays
    max_norm : float
        Largest norm that passes, > 0.
    eps : float
        Added to the norm in the denominator, ≥ 0.
    error_if_nonfinite : bool
        Whether a norm that is NaN or infinite is an error. If not, one NaN makes every entry NaN,
        and an infinite one all others 0.
    out : tree of arrays, optional
        Where to write, as in NumPy. With ``out=grads`` the gradients themselves change, which saves
        the memory and most of the time.

    Returns
    -------
    clipped : tree of arrays
        Arrays that need no scaling are returned as they are, not copied, unless `out` is given.
    norm : float
        `global_norm` of `grads`, before clipping.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or the norm is not finite.

    Notes
    -----
    ``grads * min(1, max_norm / (norm + eps))``. One factor for all parameters keeps the direction.
    PyTorch's ``clip_grad_norm_`` has eps = 1e-6, changes the gradients in place and by default does
    not raise; optax has eps = 0. With eps > 0 the clipped norm is a little below `max_norm`.

    References
    ----------
    Pascanu, Mikolov & Bengio (2013), "On the difficulty of training recurrent neural networks".

    Examples
    --------
    >>> clip_by_global_norm([np.array([3.0, 4.0]), np.array([12.0])], max_norm=6.5, eps=0.0)
    ([array([1.5, 2. ]), array([6.])], 13.0)
    """
    max_norm = _threshold(max_norm, "max_norm")
    eps = real(eps, "eps", low=0)
    strict = _flag(error_if_nonfinite)
    leaves = _leaves(grads, "grads")
    places = _written_to(out, grads, leaves)
    norm = global_norm(leaves)
    if strict:
        _must_be_finite(norm, "clip_by_global_norm")
    factor = _factor(norm, max_norm, eps)
    clipped = [_scaled(g, factor, place) for g, place in zip(leaves, places, strict=True)]
    return tree_unflatten(grads, clipped), norm


def clip_by_norm(
    grads: Any, *, max_norm: float, eps: float = 1e-6, error_if_nonfinite: bool = True
) -> Any:
    """Shorten the gradient of each tensor by itself, if its norm exceeds a threshold.

    Parameters
    ----------
    grads : tree of arrays
    max_norm : float
        Largest norm of a leaf that passes, > 0.
    eps : float
        Added to the norms in the denominator, ≥ 0.
    error_if_nonfinite : bool
        As in `clip_by_global_norm`, for each leaf.

    Returns
    -------
    tree of arrays

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or a norm is not finite.

    Notes
    -----
    Tensors with long gradients shrink and others do not, so that the gradient of all turns:
    `clip_by_global_norm` is the standard. The name is TensorFlow's; PyTorch has it by calling
    ``clip_grad_norm_`` once for each parameter.

    Examples
    --------
    >>> clip_by_norm([np.array([3.0, 4.0]), np.array([12.0])], max_norm=1.0, eps=0.0)
    [array([0.6, 0.8]), array([1.])]
    """
    max_norm = _threshold(max_norm, "max_norm")
    eps = real(eps, "eps", low=0)
    strict = _flag(error_if_nonfinite)
    clipped = []
    for leaf in _leaves(grads, "grads"):
        norm = _norm(leaf)
        if strict:
            _must_be_finite(norm, "clip_by_norm")
        clipped.append(_scaled(leaf, _factor(norm, max_norm, eps)))
    return tree_unflatten(grads, clipped)


def clip_by_value(grads: Any, *, clip_value: float, error_if_nonfinite: bool = True) -> Any:
    """Cut off every entry at a threshold.

    Parameters
    ----------
    grads : tree of arrays
    clip_value : float
        Largest absolute value that passes, > 0.
    error_if_nonfinite : bool
        Whether NaN or infinite entries are an error. If not, NaN stays, and infinity becomes
        `clip_value`: nothing shows any more that the step has overflowed.

    Returns
    -------
    tree of arrays

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or an entry is not finite.

    Notes
    -----
    ``max(-clip_value, min(grads, clip_value))``, ``clip_grad_value_`` in PyTorch. It turns the
    gradient, toward its signs; far below the typical entry nothing but the signs is left.

    Examples
    --------
    >>> clip_by_value([np.array([10.0, 1.0])], clip_value=1.0)
    [array([1., 1.])]
    """
    clip_value = _threshold(clip_value, "clip_value")
    leaves = _leaves(grads, "grads")
    if _flag(error_if_nonfinite):
        for leaf in leaves:
            _must_be_finite(_norm(leaf), "clip_by_value")
    with np.errstate(over="ignore"):  # a threshold beyond the range of a leaf cuts off nothing
        return tree_unflatten(grads, [np.clip(leaf, -clip_value, clip_value) for leaf in leaves])


def _unit_axes(ndim: int, axis: Any) -> tuple[int, ...]:
    """Axes that one unit's weights lie along: its inputs; a vector is one unit."""
    if ndim < 2 or axis is None:
        return tuple(range(1 if ndim > 1 else 0, ndim))
    given = tuple(axis) if isinstance(axis, Sequence) and not isinstance(axis, str) else (axis,)
    return tuple(integer(a, "axis", low=-ndim, high=ndim - 1) % ndim for a in given)


def adaptive_clip(
    grads: Any,
    params: Any,
    *,
    clipping: float,
    eps: float = 1e-3,
    axis: int | Sequence[int] | None = None,
) -> Any:
    """Shorten the gradient of each unit that is long compared with the unit's weights.

    Parameters
    ----------
    grads, params : trees of arrays of the same structure and shapes
        Gradients, and the weights that they are for.
    clipping : float
        Largest ratio of the two norms that passes, > 0: about 0.01 for large batches, more for
        small ones.
    eps : float
        Lower bound of a unit's weight norm, > 0: units that start at 0 could never move otherwise.
    axis : int or sequence of int, optional
        Axes along which the weights of one unit lie, in arrays of two or more dimensions. Left out:
        all but the first, since a weight is (out, in, ...). Vectors and numbers are one unit.

    Returns
    -------
    tree of arrays

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, the trees differ, or an entry is not finite.

    Notes
    -----
    ``grads * min(1, clipping * max(norm of params, eps) / norm of grads)`` for each unit. The
    threshold follows the scale of the weights: a step of relative size lr·`clipping` at most, the
    same for large and for small rows. Flax stores weights as (in, out), so optax takes norms along
    axis 0 of a matrix. The paper leaves the last linear layer out.

    References
    ----------
    Brock, De, Smith & Simonyan (2021), "High-performance large-scale image recognition without
    normalization".

    Examples
    --------
    >>> adaptive_clip(np.array([[3.0, 4.0], [3.0, 4.0]]), np.array([[5.0, 0.0], [0.5, 0.0]]),
    ...               clipping=0.1)
    array([[0.3 , 0.4 ],
           [0.03, 0.04]])
    """
    clipping = _threshold(clipping, "clipping")
    eps = _threshold(eps, "eps")
    weights = _other_leaves(grads, params, "adaptive_clip", "params")
    clipped = []
    for grad, weight in zip(tree_leaves(grads), weights, strict=True):
        g = array(grad, "grads", nonempty=False)
        w = array(weight, "params", shape=g.shape, nonempty=False).astype(g.dtype, copy=False)
        axes = _unit_axes(g.ndim, axis)
        norm, limit = _norms(g, axes), clipping * np.maximum(_norms(w, axes), eps)
        long = norm > limit
        if long.any():
            g = g * np.divide(limit, norm, out=np.ones_like(norm), where=long).astype(g.dtype)
        clipped.append(g)
    return tree_unflatten(grads, clipped)


def clip_per_example(grads: Any, *, max_norm: float) -> tuple[Any, Array]:
    """Shorten the gradient of each example, before they are averaged.

    Parameters
    ----------
    grads : tree of arrays of shape (N, ...)
        One gradient for each of N examples; all leaves have the same N.
    max_norm : float
        Largest norm of one example's gradient, over all leaves, that passes; > 0.

    Returns
    -------
    clipped : tree of arrays of shape (N, ...)
        Their mean over axis 0 is the gradient of the step.
    norms : array of shape (N,)
        Before clipping.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, leaves differ in N, or an entry is not finite.

    Notes
    -----
    ``grads[i] / max(1, norms[i] / max_norm)``. Then no example moves the mean by more than
    max_norm/N, which differential privacy (DP-SGD) builds on. It is not what is meant by gradient
    clipping elsewhere: the mean of clipped gradients has another direction than their mean, with
    skewed noise even another sign.

    References
    ----------
    Abadi et al. (2016), "Deep learning with differential privacy".

    Examples
    --------
    >>> clipped, norms = clip_per_example(np.array([[3.0, 4.0], [0.3, 0.4]]), max_norm=1.0)
    >>> clipped, norms
    (array([[0.6, 0.8],
           [0.3, 0.4]]), array([5. , 0.5]))
    """
    max_norm = _threshold(max_norm, "max_norm")
    leaves = [array(leaf, "grads", nonempty=False) for leaf in tree_leaves(grads)]
    lengths = {leaf.shape[:1] for leaf in leaves}
    if len(lengths) != 1 or lengths == {()}:
        raise ValueError(
            "clip_per_example: grads must have leaves of shape (N, ...) with one N; got shapes "
            f"{[leaf.shape for leaf in leaves]}"
        )
    each = [_norms(leaf, tuple(range(1, leaf.ndim))).reshape(-1) for leaf in leaves]
    stacked = np.stack(each)  # (leaves, N)
    norms = _norms(stacked, (0,))[0]
    long = norms > max_norm
    factors = np.divide(max_norm, norms, out=np.ones_like(norms), where=long)

    def scale(leaf: Array) -> Array:
        spread = factors.astype(leaf.dtype).reshape(-1, *[1] * (leaf.ndim - 1))  # (N, 1, ...)
        return np.asarray(leaf * spread)

    return tree_unflatten(grads, [scale(leaf) for leaf in leaves]), norms
