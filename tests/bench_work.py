"""What `tests.bench_library` times: each piece of work in the library and in PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from trainlab.activations import gelu
from trainlab.adaptive_optimizers import adam_init, adam_update
from trainlab.attention import scaled_dot_product_attention
from trainlab.classification import cross_entropy
from trainlab.clipping import clip_by_global_norm
from trainlab.differentiation import value_and_grad, vjp
from trainlab.layers import linear
from trainlab.normalization import batch_norm, layer_norm, rms_norm
from trainlab.optimizers import apply_updates
from trainlab.transformer import TransformerConfig, decoder, decoder_init
from trainlab.trees import tree_leaves, tree_unflatten

try:
    import torch
    from torch.nn import functional as F
except ImportError:  # the extra "torch" is optional
    torch = F = None  # type: ignore[assignment]

Work = Callable[[], Any]
SEQUENCES, LENGTH, HEADS, WIDTHS = 64, 64, 4, (128, 512)
CONFIG = TransformerConfig(256, dim=128, depth=4, num_heads=4, max_length=64)


class Operation(NamedTuple):
    """A differentiable function here and there, its arguments, and a cotangent."""

    name: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    arrays: list[Any]
    cotangent: Any

    def work(self) -> tuple[Work, Work]:
        """Value and all gradients, here and in PyTorch."""

        def ours() -> Any:
            value, pullback = vjp(self.ours, *self.arrays)
            return value, pullback(self.cotangent)

        tensors = [torch.tensor(a, requires_grad=True) for a in self.arrays]
        above = torch.tensor(self.cotangent)

        def theirs() -> Any:
            value = self.theirs(*tensors)
            return value, torch.autograd.grad(value, tensors, above)

        return ours, theirs


def operations(width: int) -> list[Operation]:
    """Layers on 64 sequences of 64 tokens of a width."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Any:
        return rng.standard_normal(shape, np.float32)

    x, c = draw(SEQUENCES, LENGTH, width), draw(SEQUENCES, LENGTH, width)
    weight, bias, matrix = draw(width), draw(width), draw(width, width)
    labels = rng.integers(width, size=(SEQUENCES, LENGTH))
    rows, above, classes = x.reshape(-1, width), c.reshape(-1, width), labels.reshape(-1)
    heads = [draw(SEQUENCES, HEADS, LENGTH, width // HEADS) for _ in range(4)]
    named = (
        ("linear", lambda x, w, b: linear(x, w, bias=b),
         lambda x, w, b: F.linear(x, w, b), [x, matrix, bias], c),
        ("layer norm", lambda x, w, b: layer_norm(x, weight=w, bias=b),
         lambda x, w, b: F.layer_norm(x, (width,), w, b), [x, weight, bias], c),
        ("batch norm", lambda x, w, b: batch_norm(x, weight=w, bias=b),
         lambda x, w, b: F.batch_norm(x, None, None, w, b, True), [rows, weight, bias], above),
        ("RMS norm", lambda x, w: rms_norm(x, weight=w),
         lambda x, w: F.rms_norm(x, (width,), w, 1e-5), [x, weight], c),
        ("GELU", gelu, lambda x: F.gelu(x), [x], c),
        ("softmax cross-entropy", lambda z: cross_entropy(z, classes),
         lambda z: F.cross_entropy(z, torch.tensor(classes)), [rows], np.float32(1)),
        ("causal attention", lambda *a: scaled_dot_product_attention(*a, causal=True),
         lambda *a: F.scaled_dot_product_attention(*a, is_causal=True), heads[:3], heads[3]),
    )  # fmt: skip
    return [Operation(f"{name}, width {width}", *rest) for name, *rest in named]


def steps(count: int) -> Iterator[tuple[str, Work, Work]]:
    """Adam, and the clip by global norm, on a number of parameters in arrays of at most 2¹⁸."""
    rng = np.random.default_rng(0)
    sizes = [2**18] * (count >> 18) + [count % 2**18]
    grads = [rng.standard_normal(size, np.float32) for size in sizes]
    step = _adam_step([np.copy(g) for g in grads])
    leaves = [torch.tensor(g) for g in grads]
    for leaf in leaves:
        leaf.grad = leaf.clone()
    optimizer = torch.optim.Adam(leaves, lr=1e-3)
    yield f"Adam step, {count // 10**6} M parameters", lambda: step(grads), optimizer.step
    own, calls = [np.copy(g) for g in grads], (itertools.count(), itertools.count())
    # A bound that falls with each call, so that each has to shorten.
    yield (
        f"global-norm clip, {count // 10**6} M parameters",
        lambda: clip_by_global_norm(own, max_norm=0.99 ** next(calls[0]), out=own),
        lambda: torch.nn.utils.clip_grad_norm_(leaves, 0.99 ** next(calls[1])),
    )


def _adam_step(params: Any) -> Callable[[Any], None]:
    """Both change the parameters in place: PyTorch always, the library with `donate`."""
    state = adam_init(params)

    def step(grads: Any) -> None:
        nonlocal state
        updates, state = adam_update(grads, state, params, lr=1e-3, donate=True)
        apply_updates(params, updates, donate=True)

    return step


def training_step() -> tuple[str, Work, Work]:
    """Loss, gradient and Adam step of a decoder of four layers on 16 sequences of 64 tokens."""
    rng = np.random.default_rng(0)
    ids = rng.integers(CONFIG.vocab_size, size=(16, CONFIG.max_length + 1))
    params = decoder_init(CONFIG, rng=rng, dtype=np.float32)
    leaves = [torch.tensor(leaf, requires_grad=True) for leaf in tree_leaves(params)]
    tree, tokens = tree_unflatten(params, leaves), torch.tensor(ids)
    optimizer, step = torch.optim.Adam(leaves, lr=1e-3), _adam_step(params)
    gradient = value_and_grad(
        lambda params: cross_entropy(decoder(params, ids[:, :-1], config=CONFIG), ids[:, 1:])
    )

    def ours() -> float:
        loss, grads = gradient(params)
        step(grads)
        return float(loss)

    def theirs() -> float:
        logits = _torch_decoder(tree, tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return "training step of a decoder", ours, theirs


def _torch_decoder(params: Any, ids: Any) -> Any:
    """`trainlab.transformer.decoder` in PyTorch."""

    def dense(p: Any, x: Any) -> Any:
        return F.linear(x, p["weight"], p["bias"])

    def norm(p: Any, x: Any) -> Any:
        return F.layer_norm(x, x.shape[-1:], p["weight"], p["bias"])

    def split(x: Any) -> Any:
        return x.unflatten(-1, (CONFIG.num_heads, -1)).transpose(1, 2)

    h = F.embedding(ids, params["embedding"]) + params["positions"][: ids.shape[-1]]
    for block in params["blocks"]:
        x, layers = norm(block["norm1"], h), block["attention"]
        q, k, v = (split(dense(layers[name], x)) for name in ("query", "key", "value"))
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + dense(layers["out"], heads.transpose(1, 2).flatten(2))
        h = h + dense(block["down"], F.gelu(dense(block["up"], norm(block["norm2"], h))))
    return F.linear(norm(params["norm"], h), params["embedding"])
