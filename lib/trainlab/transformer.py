"""Transformers: attention moves information between tokens, an MLP works on each.

A block adds both to a residual stream, each behind a normalization (pre-norm):

    h = h + attention(norm(h))
    h = h + mlp(norm(h))

Three architectures differ in who may attend to whom. `decoder` is causal, the architecture of
GPT: every position predicts the next token. `encoder` sees the whole sequence, as BERT does.
`encoder_decoder`, the original one, encodes a source, and its causal decoder also attends to
that.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _checks
from ._parameters import _float_type, dense, dense_init, entries, tokens
from .activations import gelu
from .differentiation import Variable
from .layers import embedding, linear
from .multi_head_attention import (
    KeyValueCache,
    cached_attention,
    multi_head_attention,
    multi_head_attention_init,
)
from .normalization import layer_norm, rms_norm

Array = NDArray[Any]

__all__ = [
    "TransformerConfig",
    "decoder",
    "decoder_init",
    "decoder_step",
    "encoder",
    "encoder_decoder",
    "encoder_decoder_init",
    "encoder_init",
]


class TransformerConfig(NamedTuple):
    """The shape of a transformer: everything but its parameters.

    Attributes
    ----------
    vocab_size : int
        Number of different tokens.
    dim : int
        Features of a token in the residual stream.
    depth : int
        Number of blocks (of the encoder and of the decoder each, where there are both).
    num_heads : int
        Divides dim.
    max_length : int
        The longest sequence.
    hidden : int, optional
        Features inside the MLP; 4 · dim if left out.
    norm : {"layer", "rms"}
    positions : {"learned", "rotary"}
    tied : bool
        Whether the embedding table is the last layer's weight too.
    bias : bool
        Whether linear layers and layer norms have biases.
    """

    vocab_size: int
    dim: int
    depth: int
    num_heads: int
    max_length: int
    hidden: int | None = None
    norm: str = "layer"
    positions: str = "learned"
    tied: bool = True
    bias: bool = True


ROTARY_BASE = 10000.0


def _checked(config: Any) -> TransformerConfig:
    _checks.one_of(type(config).__name__, "type of config", ("TransformerConfig",))
    for name in ("vocab_size", "dim", "depth", "num_heads", "max_length"):
        _checks.integer(getattr(config, name), f"config.{name}", low=1)
    heads = [n for n in range(1, config.dim + 1) if config.dim % n == 0]
    _checks.one_of(config.num_heads, "config.num_heads, a divisor of dim,", heads)
    if config.hidden is not None:
        _checks.integer(config.hidden, "config.hidden", low=1)
    _checks.one_of(config.norm, "config.norm", ("layer", "rms"))
    _checks.one_of(config.positions, "config.positions", ("learned", "rotary"))
    _checks.one_of(config.tied, "config.tied", (False, True))
    _checks.one_of(config.bias, "config.bias", (False, True))
    return config  # type: ignore[no-any-return]


# Parameters -----------------------------------------------------------------------------------


def _norm_init(config: TransformerConfig, kind: np.dtype[Any]) -> dict[str, Array]:
    weight = np.ones(config.dim, kind)
    if config.norm == "rms" or not config.bias:
        return {"weight": weight}
    return {"weight": weight, "bias": np.zeros(config.dim, kind)}


def _block_init(
    config: TransformerConfig, branches: int, cross: bool, rng: np.random.Generator, kind: Any
) -> dict[str, Any]:
    """Draw a block; what writes into the stream is smaller by the root of all that do."""
    dim, std = config.dim, 0.02
    small = std / math.sqrt(branches)
    attention = functools.partial(
        multi_head_attention_init,
        dim,
        rng=rng,
        std=std,
        out_std=small,
        bias=config.bias,
        dtype=kind,
    )
    hidden = 4 * dim if config.hidden is None else config.hidden
    block = {"norm1": _norm_init(config, kind), "attention": attention()}
    if cross:
        block |= {"norm_cross": _norm_init(config, kind), "cross": attention()}
    layer = functools.partial(dense_init, rng=rng, dtype=kind, bias=config.bias)
    return block | {
        "norm2": _norm_init(config, kind),
        "up": layer(dim, hidden, std),
        "down": layer(hidden, dim, small),
    }


def _stack_init(
    config: TransformerConfig, rng: np.random.Generator, kind: Any, *, cross: bool = False
) -> dict[str, Any]:
    """Draw embeddings, blocks and the last norm."""
    branches = (3 if cross else 2) * config.depth

    def table(rows: int) -> Array:
        return (0.02 * rng.standard_normal((rows, config.dim))).astype(kind)

    params: dict[str, Any] = {"embedding": table(config.vocab_size)}
    if config.positions == "learned":
        params["positions"] = table(config.max_length)
    params["blocks"] = [
        _block_init(config, branches, cross, rng, kind) for _ in range(config.depth)
    ]
    params["norm"] = _norm_init(config, kind)
    return params


def _head_init(config: TransformerConfig, rng: np.random.Generator, kind: Any) -> dict[str, Any]:
    if config.tied:
        return {}
    return {
        "head": dense_init(config.dim, config.vocab_size, 0.02, rng=rng, dtype=kind, bias=False)
    }


def decoder_init(
    config: TransformerConfig, *, rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> dict[str, Any]:
    """Draw the parameters of a `decoder`.

    Parameters
    ----------
    config : TransformerConfig
    rng : np.random.Generator
    dtype : {float16, float32, float64}

    Returns
    -------
    dict
        "embedding" (vocab_size, dim), "positions" (max_length, dim) if they are learned, "blocks",
        "norm", and "head" unless tied. A block has "norm1", "attention", "norm2", "up", "down".

    Raises
    ------
    ValueError, TypeError
        If an entry of the config is out of range.

    Notes
    -----
    As GPT-2: weights and tables from N(0, 0.02²), biases 0, gains 1; the two layers of a block that
    write into the residual stream smaller by ``1/√(2 · depth)``, the root of their number, so that
    the stream's variance does not grow with depth. GPT-2 draws its positions with 0.01.

    References
    ----------
    Radford et al. (2019), Language models are unsupervised multitask learners, section 2.3, for the
    factor.

    Examples
    --------
    >>> config = TransformerConfig(vocab_size=65, dim=8, depth=2, num_heads=2, max_length=16)
    >>> params = decoder_init(config, rng=np.random.default_rng(0))
    >>> list(params), list(params["blocks"][0])
    (['embedding', 'positions', 'blocks', 'norm'], ['norm1', 'attention', 'norm2', 'up', 'down'])
    """
    config = _checked(config)
    _checks.generator(rng)
    kind = _float_type(dtype)
    return _stack_init(config, rng, kind) | _head_init(config, rng, kind)


def encoder_init(
    config: TransformerConfig, *, rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> dict[str, Any]:
    """Draw the parameters of an `encoder`: those of a decoder without "head".

    Parameters
    ----------
    config : TransformerConfig
    rng : np.random.Generator
    dtype : {float16, float32, float64}

    Returns
    -------
    dict

    Raises
    ------
    ValueError, TypeError
        If an entry of the config is out of range.

    Examples
    --------
    >>> config = TransformerConfig(vocab_size=65, dim=8, depth=2, num_heads=2, max_length=16)
    >>> list(encoder_init(config, rng=np.random.default_rng(0)))
    ['embedding', 'positions', 'blocks', 'norm']
    """
    config = _checked(config)
    _checks.generator(rng)
    return _stack_init(config, rng, _float_type(dtype))


def encoder_decoder_init(
    config: TransformerConfig, *, rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> dict[str, Any]:
    """Draw the parameters of an `encoder_decoder`.

    Parameters
    ----------
    config : TransformerConfig
        Of both halves.
    rng : np.random.Generator
    dtype : {float16, float32, float64}

    Returns
    -------
    dict
        "encoder", "decoder", whose blocks also have "norm_cross" and "cross", and "head" unless
        tied. Source and target have tables of their own.

    Raises
    ------
    ValueError, TypeError
        If an entry of the config is out of range.

    Examples
    --------
    >>> config = TransformerConfig(vocab_size=65, dim=8, depth=2, num_heads=2, max_length=16)
    >>> params = encoder_decoder_init(config, rng=np.random.default_rng(0))
    >>> list(params["decoder"]["blocks"][0])
    ['norm1', 'attention', 'norm_cross', 'cross', 'norm2', 'up', 'down']
    """
    config = _checked(config)
    _checks.generator(rng)
    kind = _float_type(dtype)
    params = {
        "encoder": _stack_init(config, rng, kind),
        "decoder": _stack_init(config, rng, kind, cross=True),
    }
    return params | _head_init(config, rng, kind)


# Forward --------------------------------------------------------------------------------------


def _norm(params: Any, x: Any, config: TransformerConfig) -> Any:
    if config.norm == "rms":
        return rms_norm(x, weight=params["weight"])
    return layer_norm(x, weight=params["weight"], bias=params.get("bias"))


def _embed(params: Any, ids: Array, config: TransformerConfig, *, start: int = 0) -> Any:
    """Look up tokens and positions; `start` is the number of tokens before."""
    stop = start + ids.shape[-1]
    _checks.integer(stop, "number of tokens", high=config.max_length)
    h = embedding(ids, params["embedding"])
    return h + params["positions"][start:stop] if config.positions == "learned" else h


def _mlp(block: Any, h: Any, config: TransformerConfig) -> Any:
    return h + dense(block["down"], gelu(dense(block["up"], _norm(block["norm2"], h, config))))


def _stack(params: Any, ids: Array, config: TransformerConfig, **masks: Any) -> Any:
    """Embed the tokens and send them through all blocks.

    `memory` and `memory_mask` are for cross-attention, the rest for self-attention.
    """
    memory, memory_mask = masks.pop("memory", None), masks.pop("memory_mask", None)
    attend = functools.partial(multi_head_attention, num_heads=config.num_heads)
    base = ROTARY_BASE if config.positions == "rotary" else None
    h = _embed(params, ids, config)
    for block in params["blocks"]:
        x = _norm(block["norm1"], h, config)
        h = h + attend(block["attention"], x, rotary_base=base, **masks)
        if memory is not None:
            x = _norm(block["norm_cross"], h, config)
            h = h + attend(block["cross"], x, memory=memory, key_mask=memory_mask)
        h = _mlp(block, h, config)
    return _norm(params["norm"], h, config)


def _logits(params: Any, h: Any, table: Any, config: TransformerConfig) -> Any:
    return linear(h, table) if config.tied else dense(params["head"], h)


def _needed(config: TransformerConfig) -> tuple[str, ...]:
    return ("embedding", "blocks", "norm", *(["positions"] * (config.positions == "learned")))


def decoder(params: Any, token_ids: Any, *, config: TransformerConfig) -> Any:
    """Predict the next token at every position: a causal language model.

    Parameters
    ----------
    params : dict
        As `decoder_init` makes it.
    token_ids : array of integers, shape (..., T)
        Each in [0, vocab_size); T at most max_length.
    config : TransformerConfig

    Returns
    -------
    array of shape (..., T, vocab_size)
        Logits. Those at position t depend on the tokens up to t.

    Raises
    ------
    ValueError, TypeError
        If the parameters or the tokens do not fit the config.

    Notes
    -----
    Embeddings (plus learned positions, or rotary ones inside attention), pre-norm blocks with
    exact GELU, a last norm, and the product with the embedding table (tied) or a head of its own.
    GPT-2 has the tanh approximation of GELU. There is no dropout: a model that sees each token once
    does not need it.

    References
    ----------
    Vaswani et al. (2017), Attention is all you need. Radford et al. (2019), Language models are
    unsupervised multitask learners, section 2.3, for the place of the norms.

    Examples
    --------
    >>> config = TransformerConfig(vocab_size=65, dim=8, depth=2, num_heads=2, max_length=16)
    >>> params = decoder_init(config, rng=np.random.default_rng(0))
    >>> decoder(params, np.arange(12).reshape(2, 6), config=config).shape
    (2, 6, 65)
    """
    config = _checked(config)
    entries(params, "params", *_needed(config), *([] if config.tied else ["head"]))
    ids = tokens(token_ids, "token_ids", config.vocab_size)
    h = _stack(params, ids, config, causal=True)
    return _logits(params, h, params["embedding"], config)


def decoder_step(
    params: Any,
    token_ids: Any,
    *,
    cache: list[KeyValueCache] | None,
    config: TransformerConfig,
) -> tuple[Array, list[KeyValueCache]]:
    """Continue a sequence: the logits of new tokens, the past kept in a cache.

    Parameters
    ----------
    params : dict
        As `decoder_init` makes it; arrays, no Variables.
    token_ids : array of integers, shape (..., T)
        New tokens: a prompt at first, then one at a time.
    cache : list of KeyValueCache, or None
        One per block, of the tokens before; None at the start. Not changed.
    config : TransformerConfig

    Returns
    -------
    logits : array of shape (..., T, vocab_size)
        What `decoder` gives at these positions of the whole sequence.
    cache : list of KeyValueCache
        With the new tokens.

    Raises
    ------
    ValueError, TypeError
        If the parameters, the tokens or the cache do not fit the config.

    Examples
    --------
    >>> config = TransformerConfig(vocab_size=65, dim=8, depth=2, num_heads=2, max_length=16)
    >>> params = decoder_init(config, rng=np.random.default_rng(0))
    >>> ids = np.arange(6)
    >>> _, cache = decoder_step(params, ids[:5], cache=None, config=config)
    >>> last, cache = decoder_step(params, ids[5:], cache=cache, config=config)
    >>> bool(np.allclose(last, decoder(params, ids, config=config)[5:]))
    True
    """
    config = _checked(config)
    entries(params, "params", *_needed(config), *([] if config.tied else ["head"]))
    ids = tokens(token_ids, "token_ids", config.vocab_size)
    if isinstance(params["embedding"], Variable):
        raise TypeError("decoder_step: params must be plain arrays; got a Variable")
    blocks = params["blocks"]
    if cache is None:
        old: list[KeyValueCache | None] = [None] * len(blocks)
    else:
        _checks.one_of(type(cache).__name__, "type of cache", ("list",))
        _checks.integer(len(cache), "number of blocks in cache", low=len(blocks), high=len(blocks))
        old = list(cache)
    start = 0 if old[0] is None else old[0].key.shape[-2]
    base = ROTARY_BASE if config.positions == "rotary" else None
    h, new = _embed(params, ids, config, start=start), []
    for block, past in zip(blocks, old, strict=True):
        x = _norm(block["norm1"], h, config)
        y, now = cached_attention(
            block["attention"], x, cache=past, num_heads=config.num_heads, rotary_base=base
        )
        new.append(now)
        h = _mlp(block, h + y, config)
    return _logits(params, _norm(params["norm"], h, config), params["embedding"], config), new


def encoder(params: Any, token_ids: Any, *, config: TransformerConfig, key_mask: Any = None) -> Any:
    """Give each token a vector that depends on the whole sequence.

    Parameters
    ----------
    params : dict
        As `encoder_init` makes it.
    token_ids : array of integers, shape (..., T)
        Each in [0, vocab_size); T at most max_length.
    config : TransformerConfig
    key_mask : array of bool that broadcasts to (..., T), optional
        True for a token, False for padding. What comes out at padding means nothing.

    Returns
    -------
    array of shape (..., T, dim)
        After the last norm. Scores for masked tokens are its product with a table,
        ``linear(h, params["embedding"])``.

    Raises
    ------
    ValueError, TypeError
        If the parameters, the tokens or the mask do not fit.

    Notes
    -----
    `decoder` without the causal mask and without the head. BERT (Devlin et al., 2019) has its norms
    after the sums instead.

    Examples
    --------
    >>> config = TransformerConfig(vocab_size=65, dim=8, depth=2, num_heads=2, max_length=16)
    >>> params = encoder_init(config, rng=np.random.default_rng(0))
    >>> h = encoder(params, [1, 2, 0], config=config, key_mask=np.array([True, True, False]))
    >>> bool(np.allclose(h[:2], encoder(params, [1, 2], config=config)))  # padding changes nothing
    True
    """
    config = _checked(config)
    entries(params, "params", *_needed(config))
    ids = tokens(token_ids, "token_ids", config.vocab_size)
    return _stack(params, ids, config, key_mask=_key_mask(key_mask, ids, "key_mask"))


def _key_mask(mask: Any, ids: Array, name: str) -> Array | None:
    if mask is None:
        return None
    checked = np.asarray(mask)
    if checked.dtype != bool:
        got = _checks._show(mask)
        raise TypeError(f"{_checks._where()}: {name} must be an array of bool; got {got}")
    try:
        return np.broadcast_to(checked, ids.shape)
    except ValueError:
        raise ValueError(
            f"{_checks._where()}: {name} must broadcast to {ids.shape}; got {checked.shape}"
        ) from None


def encoder_decoder(
    params: Any,
    source_ids: Any,
    *,
    target_ids: Any,
    config: TransformerConfig,
    source_mask: Any = None,
) -> Any:
    """Predict a target sequence token by token, given a source sequence.

    Parameters
    ----------
    params : dict
        As `encoder_decoder_init` makes it.
    source_ids : array of integers, shape (..., S)
    target_ids : array of integers, shape (..., T)
        The target so far, beginning with a start token; its leading axes are those of the source.
    config : TransformerConfig
    source_mask : array of bool that broadcasts to (..., S), optional
        True for a token, False for padding.

    Returns
    -------
    array of shape (..., T, vocab_size)
        Logits. Those at position t depend on the source and on target tokens up to t.

    Raises
    ------
    ValueError, TypeError
        If the parameters, the tokens or the mask do not fit.

    Notes
    -----
    As Vaswani et al. (2017), with the norms before instead of after the branches, and with learned
    or rotary positions. The queries of "cross" come from the target, its keys and values from the
    encoder's output; the source is encoded once, and has no causal mask.

    Examples
    --------
    >>> config = TransformerConfig(vocab_size=65, dim=8, depth=2, num_heads=2, max_length=16)
    >>> params = encoder_decoder_init(config, rng=np.random.default_rng(0))
    >>> encoder_decoder(params, [5, 6, 7], target_ids=[0, 5], config=config).shape
    (2, 65)
    """
    config = _checked(config)
    entries(params, "params", "encoder", "decoder", *([] if config.tied else ["head"]))
    for half in ("encoder", "decoder"):
        entries(params[half], f"params[{half!r}]", *_needed(config))
    source = tokens(source_ids, "source_ids", config.vocab_size)
    target = tokens(target_ids, "target_ids", config.vocab_size)
    if source.shape[:-1] != target.shape[:-1]:
        raise ValueError(
            "encoder_decoder: target_ids must have the leading axes of source_ids, "
            f"{source.shape[:-1]}; got {target.shape[:-1]}"
        )
    seen = _key_mask(source_mask, source, "source_mask")
    memory = _stack(params["encoder"], source, config, key_mask=seen)
    h = _stack(params["decoder"], target, config, causal=True, memory=memory, memory_mask=seen)
    return _logits(params, h, params["decoder"]["embedding"], config)
