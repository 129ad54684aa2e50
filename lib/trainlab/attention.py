"""Attention: each query takes a weighted average of values, the weights chosen by its keys.

    attention(q, k, v) = softmax(scale · q kᵀ) v,   scale = 1/√d

A mask says which keys a query may see; it decides the architecture. A decoder's queries see what
came before (causal), an encoder's see all tokens that are not padding, and in cross-attention
the queries of one sequence see the keys of another. Without positions attention knows no order:
see `trainlab.positions`.

In every mask here True means "may attend", as in PyTorch's function of the same name. The masks
of PyTorch's *module* ``nn.MultiheadAttention`` mean the opposite, True is left out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks
from .differentiation import Pullback, differentiable, unbroadcast

Array = NDArray[Any]

__all__ = ["attention_weights", "scaled_dot_product_attention"]


def _inputs(scale: float | None, **given: Any) -> tuple[list[Array], float]:
    """Check queries, keys (and values): their shapes fit, their dtypes are one."""
    arrays = {name: _checks.array(x, name, nonempty=False) for name, x in given.items()}
    q, k, *v = arrays.values()
    for name, x in arrays.items():
        _checks.integer(x.ndim, f"number of dimensions of {name}", low=2)
        _checks.one_of(x.dtype.name, f"dtype of {name}, like that of q,", (q.dtype.name,))
    _checks.integer(q.shape[-1], "number of features of q", low=1)
    if k.shape[-1] != q.shape[-1]:
        raise ValueError(
            f"{_checks._where()}: k must have the features of q, {q.shape[-1]}; got {k.shape[-1]}"
        )
    if v and v[0].shape[-2] != k.shape[-2]:
        raise ValueError(
            f"{_checks._where()}: v must have a row for each of k, {k.shape[-2]}; "
            f"got {v[0].shape[-2]}"
        )
    try:
        np.broadcast_shapes(*(x.shape[:-2] for x in arrays.values()))
    except ValueError:
        name = "v" if v else "k"
        raise ValueError(
            f"{_checks._where()}: {name} must have leading axes that broadcast with the others; "
            f"got {', '.join(f'{x.shape} in {n}' for n, x in arrays.items())}"
        ) from None
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else _checks.real(scale, "scale")
    return list(arrays.values()), scale


def _hidden(mask: Any, causal: bool, shape: tuple[int, ...], dtype: Any) -> Array | None:
    """What is added to the scores: -inf where a query may not see a key; keys first, (S, T)."""
    *batch, seen, asking = shape
    allowed: Any = None
    if mask is not None:
        allowed = np.asarray(mask)
        wanted = (*batch, asking, seen)
        fits = allowed.ndim <= len(wanted) and all(
            n in (1, m) for n, m in zip(allowed.shape[::-1], wanted[::-1], strict=False)
        )
        if allowed.dtype != bool:
            kind = allowed.dtype
            raise TypeError(f"{_checks._where()}: mask must be an array of bool; got {kind}")
        if not fits:
            raise ValueError(
                f"{_checks._where()}: mask must broadcast to (..., T, S), {wanted}; "
                f"got {allowed.shape}"
            )
        allowed = np.swapaxes(np.atleast_2d(allowed), -1, -2)
    if _checks.one_of(causal, "causal", (False, True)):
        # The queries are the last T of S positions: query t sees the keys up to t + S - T.
        past = ~np.tri(seen, asking, asking - seen - 1, dtype=bool)
        allowed = past if allowed is None else allowed & past
    return None if allowed is None else np.where(allowed, dtype.type(0), dtype.type(-math.inf))


def _exponentials(q: Array, k: Array, scale: float, mask: Any, causal: bool) -> tuple[Array, Array]:
    """Numerators of the softmax, keys first (..., S, T), and their sums (..., 1, T).

    Scores lie transposed because NumPy finds maxima faster along the first axis of a matrix. A
    query that sees no key has numerators 0 and, in place of the sum, 1.
    """
    # Products that overflow are refused below, or in training seen as NaN in the loss.
    with np.errstate(over="ignore", invalid="ignore"):
        scores = k @ np.swapaxes(q * scale, -1, -2)
        hidden = _hidden(mask, causal, scores.shape, scores.dtype)
        if hidden is not None:
            scores += hidden
        # The lowest number, not -inf, for those that see nothing: -inf - -inf would be NaN.
        low = np.finfo(scores.dtype).min
        peaks = np.max(scores, axis=-2, keepdims=True, initial=low)
        _checks.array(peaks, "every product of q and k", nonempty=False)
        scores -= peaks
        np.exp(scores, out=scores)
    # The largest numerator is exp(0) = 1, so a sum below 1 is an empty one.
    sums = np.maximum(np.add.reduce(scores, axis=-2, keepdims=True), 1)
    return scores, sums


def _product(a: Array, b: Array, like: Array) -> Array:
    """Multiply matrices; the result lies in memory as `like` does.

    The heads of one token are neighbors in memory, queries of one head are not. Keeping that
    order makes joining the heads free of copies.
    """
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    if len(shape) != like.ndim:
        return np.asarray(a @ b)
    return np.matmul(a, b, out=np.empty_like(like, shape=shape))


@differentiable("q", "k", "v")
def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    mask: Any = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Array, Pullback]:
    """Average values, weighted by how well their keys match a query.

    Parameters
    ----------
    q : array of shape (..., T, d)
        Queries. The leading axes (batch, heads) of q, k and v broadcast.
    k : array of shape (..., S, d)
        Keys.
    v : array of shape (..., S, e)
        Values.
    mask : array of bool that broadcasts to (..., T, S), optional
        True where a query may attend to a key. Left out: everywhere.
    causal : bool
        Whether a query sees only keys up to its own position, the queries being the last T of the
        S positions.
    scale : float, optional
        Factor on the products; 1/√d if left out.

    Returns
    -------
    array of shape (..., T, e)
        0 for a query that may attend to nothing.

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit, the mask is not boolean, or a product of queries and keys
        is too large for the dtype.

    Notes
    -----
    ``softmax(scale * q @ kᵀ + (0 where mask, else -inf)) @ v``, the softmax over the keys. For
    independent entries of variance 1 a product of d terms has variance d, and its softmax becomes
    one-hot, with vanishing gradients, as d grows; 1/√d keeps the variance at 1.

    With the weights p and the cotangent c, ``dv = pᵀ c``, and as for any softmax
    ``ds = p * (c vᵀ - rowsum(p * c vᵀ))`` for the scores s. The row sum equals
    ``rowsum(c * value)``, which needs no second T × S array. Then ``dq = scale ds k`` and
    ``dk = scale dsᵀ q``. One array of scores is kept per head: memory grows with T·S.

    With T < S, PyTorch and JAX align causal masks at the first key instead of the last; then the
    first token of a continued sequence would see only the oldest. A query without keys gives
    NaN in a plain softmax.

    References
    ----------
    Vaswani et al. (2017), Attention is all you need. Dao, Fu, Ermon, Rudra, Ré (2022),
    FlashAttention: fast and memory-efficient exact attention with IO-awareness, for the row sum.

    Examples
    --------
    >>> q, k = np.array([[1.0, 0.0]]), np.eye(2)
    >>> scaled_dot_product_attention(q, k, np.array([[1.0], [0.0]])).round(4)
    array([[0.6698]])
    >>> v = np.array([[1.0], [2.0], [3.0]])  # equal scores: the mean of what came before
    >>> scaled_dot_product_attention(np.zeros((3, 2)), np.zeros((3, 2)), v, causal=True)
    array([[1. ],
           [1.5],
           [2. ]])
    """
    (q, k, v), scale = _inputs(scale, q=q, k=k, v=v)
    weights, sums = _exponentials(q, k, scale, mask, causal)
    inverse = np.swapaxes(1 / sums, -1, -2)  # (..., T, 1)
    # Dividing after the product: e columns instead of S.
    value = _product(np.swapaxes(weights, -1, -2), v, q)
    value *= inverse

    def pullback(cotangent: Array) -> tuple[Array, Array, Array]:
        cotangent = cotangent * inverse
        dv = _product(weights, cotangent, v)
        ds = v @ np.swapaxes(cotangent, -1, -2)  # (..., S, T)
        ds -= np.einsum("...te,...te->...t", cotangent, value)[..., None, :]
        ds *= weights
        dq, dk = _product(np.swapaxes(ds, -1, -2), k, q), _product(ds, q, k)
        dq *= scale
        dk *= scale
        return unbroadcast(dq, q.shape), unbroadcast(dk, k.shape), unbroadcast(dv, v.shape)

    return value, pullback


def attention_weights(
    q: Any, k: Any, *, mask: Any = None, causal: bool = False, scale: float | None = None
) -> Array:
    """Give the weights that `scaled_dot_product_attention` averages with, to look at.

    Parameters
    ----------
    q, k, mask, causal, scale
        As in `scaled_dot_product_attention`.

    Returns
    -------
    array of shape (..., T, S)
        Rows sum to 1, or are 0 where a query may attend to nothing.

    Raises
    ------
    ValueError, TypeError
        As in `scaled_dot_product_attention`.

    Examples
    --------
    >>> attention_weights(np.zeros((3, 2)), np.zeros((3, 2)), causal=True).round(3)
    array([[1.   , 0.   , 0.   ],
           [0.5  , 0.5  , 0.   ],
           [0.333, 0.333, 0.333]])
    """
    (q, k), scale = _inputs(scale, q=q, k=k)
    weights, sums = _exponentials(q, k, scale, mask, causal)
    return np.swapaxes(weights / sums, -1, -2)
