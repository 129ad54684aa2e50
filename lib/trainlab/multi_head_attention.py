"""Multi-head attention: several small attentions side by side, and the cache for generation.

Queries, keys and values are linear maps of the tokens. Their features are divided among the
heads; each head attends on its own, and a last linear map mixes what they found.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _checks
from ._parameters import _float_type, _floating, dense, dense_init, entries
from .attention import scaled_dot_product_attention
from .differentiation import Pullback, Variable, differentiable
from .positions import rotary

Array = NDArray[Any]

__all__ = [
    "KeyValueCache",
    "cached_attention",
    "multi_head_attention",
    "multi_head_attention_init",
]

_LAYERS = ("query", "key", "value", "out")


def multi_head_attention_init(
    dim: int,
    *,
    rng: np.random.Generator,
    std: float = 0.02,
    out_std: float | None = None,
    bias: bool = True,
    dtype: DTypeLike = np.float64,
) -> dict[str, Any]:
    """Draw the four linear maps of a multi-head attention.

    Parameters
    ----------
    dim : int
        Features of a token, >= 1.
    rng : np.random.Generator
    std : float
        Standard deviation of the weights, >= 0.
    out_std : float, optional
        That of the last map, which writes into the residual stream; `std` if left out.
    bias : bool
        Whether the maps have biases; they start at 0.
    dtype : {float16, float32, float64}

    Returns
    -------
    dict
        "query", "key", "value" and "out", each ``{"weight": (dim, dim), "bias": (dim,)}``.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    The number of heads is not in the parameters: the maps are the same for any. PyTorch's module
    keeps the first three weights as one, ``in_proj_weight``, stacked in this order, and draws
    them from Xavier's uniform distribution.

    Examples
    --------
    >>> params = multi_head_attention_init(6, rng=np.random.default_rng(0))
    >>> {name: layer["weight"].shape for name, layer in params.items()}
    {'query': (6, 6), 'key': (6, 6), 'value': (6, 6), 'out': (6, 6)}
    """
    size = _checks.integer(dim, "dim", low=1)
    std = _checks.real(std, "std", low=0)
    out_std = std if out_std is None else _checks.real(out_std, "out_std", low=0)
    _checks.generator(rng)
    _checks.one_of(bias, "bias", (False, True))
    kind = _float_type(dtype)
    return {
        name: dense_init(
            size, size, out_std if name == "out" else std, rng=rng, dtype=kind, bias=bias
        )
        for name in _LAYERS
    }


@differentiable("x")
def _split(x: Any, *, num_heads: int) -> tuple[Array, Pullback]:
    """Give each head its features: (..., T, H·d) -> (..., H, T, d), a view."""
    shape = x.shape
    heads = x.reshape(*shape[:-1], num_heads, shape[-1] // num_heads).swapaxes(-2, -3)
    return heads, lambda cotangent: (cotangent.swapaxes(-2, -3).reshape(shape),)


@differentiable("x")
def _join(x: Any) -> tuple[Array, Pullback]:
    """Put the heads side by side again: (..., H, T, d) -> (..., T, H·d)."""
    spread = x.swapaxes(-2, -3)  # (..., T, H, d)
    shape = spread.shape
    joined = spread.reshape(*shape[:-2], shape[-2] * shape[-1])
    return joined, lambda cotangent: (cotangent.reshape(shape).swapaxes(-2, -3),)


def _heads(x: Any, num_heads: int, params: Any) -> int:
    entries(params, "params", *_LAYERS)
    count = _checks.integer(num_heads, "num_heads", low=1)
    if x.shape[-1] % count:
        raise ValueError(
            f"{_checks._where()}: num_heads must divide the features of x, {x.shape[-1]}; "
            f"got {count}"
        )
    return count


def _for_heads(mask: Any, key_mask: Any, shape: tuple[int, ...]) -> Array | None:
    """Join both masks to one for all heads; `shape` is (..., T, S)."""
    joined: Array | None = None
    for given, name, extent in (
        (mask, "mask", shape),
        (key_mask, "key_mask", (*shape[:-2], shape[-1])),
    ):
        if given is None:
            continue
        m = np.asarray(given)
        if m.dtype != bool:
            raise TypeError(
                f"{_checks._where()}: {name} must be an array of bool; got {_checks._show(given)}"
            )
        try:
            m = np.broadcast_to(m, extent)
        except ValueError:
            raise ValueError(
                f"{_checks._where()}: {name} must broadcast to {extent}; got {m.shape}"
            ) from None
        # (..., T, S) -> (..., 1, T, S), (..., S) -> (..., 1, 1, S)
        m = m[..., None, :, :] if name == "mask" else m[..., None, None, :]
        joined = m if joined is None else joined & m
    return joined


def multi_head_attention(
    params: Any,
    x: Any,
    *,
    num_heads: int,
    memory: Any = None,
    mask: Any = None,
    key_mask: Any = None,
    causal: bool = False,
    rotary_base: float | None = None,
) -> Any:
    """Let tokens attend to one another, or to those of a second sequence.

    Parameters
    ----------
    params : dict
        As `multi_head_attention_init` makes it.
    x : array of shape (..., T, D)
        The tokens that ask.
    num_heads : int
        Divides D.
    memory : array of shape (..., S, D), optional
        The tokens that answer, of another sequence: cross-attention. Left out, they are x.
    mask : array of bool that broadcasts to (..., T, S), optional
        True where a token may attend to another. The same for all heads.
    key_mask : array of bool that broadcasts to (..., S), optional
        True for a token, False for padding, which nobody attends to.
    causal : bool
        Whether a token sees only itself and those before it.
    rotary_base : float, optional
        Turns queries and keys by their positions, see `trainlab.positions.rotary`. Not with
        `memory`, whose positions are others.

    Returns
    -------
    array of shape (..., T, D)
        Only the last bias for a token that may attend to nothing.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, or a parameter is out of range.

    Notes
    -----
    ``concatenate(head_1, ..., head_H) W_outᵀ + b_out`` with ``head_i`` the attention of the i-th
    block of D/H features of q, k and v. The masks of PyTorch's module, ``attn_mask`` and
    ``key_padding_mask``, are the negation of these. Without rotary positions a bias of the keys
    changes nothing: it adds the same number to all scores of a query.

    References
    ----------
    Vaswani et al. (2017), Attention is all you need.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> params = multi_head_attention_init(4, rng=rng, std=1.0)
    >>> x = rng.standard_normal((3, 4))
    >>> y = multi_head_attention(params, x, num_heads=2, causal=True)
    >>> alone = multi_head_attention(params, x[:1], num_heads=2)  # the first sees only itself
    >>> bool(np.allclose(y[:1], alone))
    True
    """
    x = _floating(x, "x", nonempty=False)
    _checks.integer(x.ndim, "number of dimensions of x", low=2)
    count = _heads(x, num_heads, params)
    if memory is None:
        source = x
    else:
        shape = (*x.shape[:-2], None, x.shape[-1])
        source = _floating(memory, "memory", shape=shape, nonempty=False)
        _checks.one_of(rotary_base, "rotary_base, with memory,", (None,))
    joined = _for_heads(mask, key_mask, (*x.shape[:-1], source.shape[-2]))
    q = _split(dense(params["query"], x), num_heads=count)
    k = _split(dense(params["key"], source), num_heads=count)
    v = _split(dense(params["value"], source), num_heads=count)
    if rotary_base is not None:
        base = _checks.real(rotary_base, "rotary_base", low=1, closed="neither")
        q, k = rotary(q, base=base), rotary(k, base=base)
    _checks.one_of(causal, "causal", (False, True))
    heads = scaled_dot_product_attention(q, k, v, mask=joined, causal=causal)
    return dense(params["out"], _join(heads))


class KeyValueCache(NamedTuple):
    """Keys and values of the tokens so far, both of shape (..., num_heads, T, D/num_heads)."""

    key: Array
    value: Array


def cached_attention(
    params: Any,
    x: Any,
    *,
    cache: KeyValueCache | None,
    num_heads: int,
    rotary_base: float | None = None,
) -> tuple[Array, KeyValueCache]:
    """Attend from new tokens to all so far: causal attention without computing the past again.

    Parameters
    ----------
    params : dict
        As `multi_head_attention_init` makes it.
    x : array of shape (..., T, D)
        New tokens: a prompt, or one token.
    cache : KeyValueCache or None
        Of the tokens before; None if there are none. Not changed.
    num_heads : int
        Divides D.
    rotary_base : float, optional
        As in `multi_head_attention`.

    Returns
    -------
    y : array of shape (..., T, D)
    cache : KeyValueCache
        With the new tokens.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, a parameter is out of range, or x is a Variable: no gradient flows
        into a cache.

    Notes
    -----
    A token's key and value never change once it stands, because nobody before it sees what
    comes later. So a step costs one row of scores instead of a square; the price is memory,
    2·D numbers per token and layer.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> params = multi_head_attention_init(4, rng=rng, std=1.0)
    >>> x = rng.standard_normal((3, 4))
    >>> _, cache = cached_attention(params, x[:2], cache=None, num_heads=2)
    >>> last, cache = cached_attention(params, x[2:], cache=cache, num_heads=2)
    >>> full = multi_head_attention(params, x, num_heads=2, causal=True)
    >>> bool(np.allclose(last, full[2:])), cache.key.shape
    (True, (2, 3, 2))
    """
    if isinstance(x, Variable):
        raise TypeError("cached_attention: x must be a plain array; got a Variable")
    x = _checks.array(x, "x", nonempty=False)
    _checks.integer(x.ndim, "number of dimensions of x", low=2)
    count = _heads(x, num_heads, params)
    q, k, v = (_split(dense(params[n], x), num_heads=count) for n in _LAYERS[:3])
    before = 0
    if cache is not None:
        _checks.one_of(type(cache).__name__, "type of cache", ("KeyValueCache",))
        shape = (*k.shape[:-2], None, k.shape[-1])
        old = _checks.array(cache.key, "cache.key", shape=shape, nonempty=False)
        before = old.shape[-2]
    if rotary_base is not None:
        base = _checks.real(rotary_base, "rotary_base", low=1, closed="neither")
        places = np.arange(before, before + x.shape[-2])
        q, k = (rotary(z, positions=places, base=base) for z in (q, k))
    if cache is not None:
        values = _checks.array(cache.value, "cache.value", shape=old.shape, nonempty=False)
        k = np.concatenate([old, k], axis=-2)
        v = np.concatenate([values, v], axis=-2)
    heads = scaled_dot_product_attention(q, k, v, causal=True)
    return dense(params["out"], _join(heads)), KeyValueCache(k, v)
