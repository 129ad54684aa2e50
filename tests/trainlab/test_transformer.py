import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainlab.adaptive_optimizers import adam_init, adam_update
from trainlab.classification import cross_entropy
from trainlab.differentiation import Variable, check_grad, value_and_grad, vjp
from trainlab.normalization import layer_norm
from trainlab.transformer import (
    TransformerConfig,
    decoder,
    decoder_init,
    decoder_step,
    encoder,
    encoder_decoder,
    encoder_decoder_init,
    encoder_init,
)
from trainlab.trees import tree_leaves, tree_map

jax.config.update("jax_enable_x64", True)

CONFIG = TransformerConfig(vocab_size=11, dim=8, depth=2, num_heads=2, max_length=7)
VARIANTS = {
    "gpt": CONFIG,
    "llama": CONFIG._replace(norm="rms", positions="rotary", tied=False, bias=False, hidden=12),
    "mixed": CONFIG._replace(norm="rms", tied=False),
    "no bias": CONFIG._replace(bias=False, positions="rotary"),
}
each_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)


def rng(seed=0):
    return np.random.default_rng(seed)


def near(actual, expected, tolerance=1e-10):
    # Relative to the largest entry: small ones are differences of large ones.
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * abs(expected).max())


def lively(params):
    """Weights of the order of 1/4, so that every part has its say."""
    return tree_map(lambda a: a + (rng(1).standard_normal(a.shape) / 4).astype(a.dtype), params)


def make(config=CONFIG, init=decoder_init, dtype=np.float64):
    return lively(init(config, rng=rng(), dtype=dtype))


def ids(*shape, seed=3):
    return rng(seed).integers(0, 11, shape)


# --- parameters --------------------------------------------------------------------------------


def test_config_defaults():
    assert (
        TransformerConfig(
            vocab_size=11,
            dim=8,
            depth=2,
            num_heads=2,
            max_length=7,
            hidden=None,
            norm="layer",
            positions="learned",
            tied=True,
            bias=True,
        )
        == CONFIG
    )


@pytest.mark.claim("INIT-21")
@pytest.mark.parametrize(
    ("init", "branches"), [(decoder_init, 2), (encoder_init, 2), (encoder_decoder_init, 3)]
)
def test_scales_of_gpt2(init, branches):
    config = TransformerConfig(400, 100, 8, 4, 300, tied=False)
    params = init(config, rng=rng())
    small = 0.02 / np.sqrt(branches * 8)
    half = params["decoder"] if init is encoder_decoder_init else params
    assert half["embedding"].shape == (400, 100)
    assert half["positions"].shape == (300, 100)
    block = half["blocks"][3]
    for weight, std in (
        (half["embedding"], 0.02),
        (half["positions"], 0.02),
        (block["attention"]["query"]["weight"], 0.02),
        (block["attention"]["out"]["weight"], small),
        (block["up"]["weight"], 0.02),
        (block["down"]["weight"], small),
    ):
        assert weight.std() == pytest.approx(std, rel=0.03)  # of 10 000 numbers and more
    if init is not encoder_init:
        assert params["head"]["weight"].shape == (400, 100)
        assert params["head"]["weight"].std() == pytest.approx(0.02, rel=0.03)
    if init is encoder_decoder_init:
        assert block["cross"]["out"]["weight"].std() == pytest.approx(small, rel=0.03)
        narrow = params["encoder"]["blocks"][3]["down"]["weight"].std()
        assert narrow == pytest.approx(0.02 / np.sqrt(2 * 8), rel=0.03)
    assert block["up"]["weight"].shape == (400, 100)  # 4 · dim
    np.testing.assert_array_equal(block["norm1"]["weight"], np.ones(100))
    np.testing.assert_array_equal(block["up"]["bias"], np.zeros(400))


def test_what_a_config_leaves_out():
    params = decoder_init(VARIANTS["llama"], rng=rng(), dtype=np.float32)
    assert list(params) == ["embedding", "blocks", "norm", "head"]
    assert params["blocks"][0]["up"]["weight"].shape == (12, 8)
    assert all(a.ndim == 2 or (a == 1).all() for a in tree_leaves(params))  # no biases
    assert {a.dtype for a in tree_leaves(params)} == {np.dtype(np.float32)}
    assert list(decoder_init(CONFIG, rng=rng())) == ["embedding", "positions", "blocks", "norm"]
    plain = decoder_init(CONFIG._replace(bias=False), rng=rng())
    assert list(plain["norm"]) == ["weight"]
    assert "bias" not in plain["blocks"][0]["down"]


# --- who sees whom (claims) ----------------------------------------------------------------------


def _influence(function, embeddings):
    """Which outputs change with which embedded token: (T, S) of bool."""
    seen = []
    base = function(embeddings)
    for s in range(embeddings.shape[0]):
        moved = embeddings.copy()
        moved[s] += rng(9).standard_normal(8)
        seen.append(np.any(function(moved) != base, axis=-1))
    return np.array(seen).T


@pytest.mark.claim("ATT-01")
@each_variant
def test_three_architectures_differ_in_who_sees_whom(config):
    """GPT's decoder is causal, BERT's encoder sees all, T5's decoder also sees the source."""
    tokens = np.arange(6)  # each its own row of the table, so moving a row moves one token
    params = make(config._replace(tied=False))
    config = config._replace(tied=False)

    def through(function, params, **more):
        return lambda table: function({**params, "embedding": table}, tokens, config=config, **more)

    causal = _influence(through(decoder, params), params["embedding"][:6])
    np.testing.assert_array_equal(causal, np.tri(6, dtype=bool))
    params = make(config, encoder_init)
    full = _influence(through(encoder, params), params["embedding"][:6])
    np.testing.assert_array_equal(full, np.ones((6, 6), bool))
    mask = np.arange(6) != 2
    padded = _influence(through(encoder, params, key_mask=mask), params["embedding"][:6])
    np.testing.assert_array_equal(padded[mask], np.broadcast_to(mask, (5, 6)))
    both = make(config, encoder_decoder_init)

    def translate(half):
        def function(table):
            params = {**both, half: {**both[half], "embedding": table}}
            return encoder_decoder(params, tokens, target_ids=tokens[:4], config=config)

        return function

    source = _influence(translate("encoder"), both["encoder"]["embedding"][:6])
    np.testing.assert_array_equal(source, np.ones((4, 6), bool))
    target = _influence(translate("decoder"), both["decoder"]["embedding"][:6])
    np.testing.assert_array_equal(target[:, :4], np.tri(4, dtype=bool))


def test_padding_changes_nothing():
    params = make(init=encoder_init)
    tokens, key_mask = ids(2, 5), np.arange(5) < np.array([[5], [3]])
    h = encoder(params, tokens, config=CONFIG, key_mask=key_mask)
    near(h[1, :3], encoder(params, tokens[1, :3], config=CONFIG))
    both = make(init=encoder_decoder_init)
    translate = functools.partial(encoder_decoder, both, config=CONFIG)
    masked = translate(tokens, target_ids=ids(2, 4, seed=4), source_mask=key_mask)
    near(masked[1], translate(tokens[1, :3], target_ids=ids(2, 4, seed=4)[1]))
    near(masked[0], translate(tokens[0], target_ids=ids(2, 4, seed=4)[0]))


def test_blocks_are_pre_norm():
    """Without branches the logits are the normed sum of both tables."""
    params = make()
    for block in params["blocks"]:
        for layer in (block["attention"]["out"], block["down"]):
            layer["weight"], layer["bias"] = 0 * layer["weight"], 0 * layer["bias"]
    tokens = ids(2, 5)
    h = layer_norm(params["embedding"][tokens] + params["positions"][:5], **params["norm"])
    near(decoder(params, tokens, config=CONFIG), h @ params["embedding"].T)


def test_a_head_of_its_own():
    config = CONFIG._replace(tied=False)
    params = make(config)
    logits = decoder(params, ids(2, 5), config=config)
    tied = decoder({**params, "embedding": params["embedding"]}, ids(2, 5), config=CONFIG)
    head = {**params, "head": {"weight": params["embedding"]}}
    near(decoder(head, ids(2, 5), config=config), tied)
    assert not np.allclose(logits, tied)


# --- cache -------------------------------------------------------------------------------------


@each_variant
@pytest.mark.parametrize("cuts", [(0, 7), (0, 4, 5, 6, 7), (0, 1, 3, 7)])
def test_prefill_and_steps_give_the_full_forward(config, cuts):
    params, tokens = make(config), ids(2, 7)
    full = decoder(params, tokens, config=config)
    cache, pieces = None, []
    for start, stop in itertools.pairwise(cuts):
        piece, cache = decoder_step(params, tokens[:, start:stop], cache=cache, config=config)
        pieces.append(piece)
    near(np.concatenate(pieces, axis=1), full)
    assert len(cache) == 2
    assert cache[1].key.shape == (2, 2, 7, 4)


def test_steps_refuse_what_does_not_fit():
    params, tokens = make(), ids(1, 7)
    _, cache = decoder_step(params, tokens, cache=None, config=CONFIG)
    with pytest.raises(ValueError, match="number of tokens must be a whole number <= 7; got 8"):
        decoder_step(params, tokens[:, :1], cache=cache, config=CONFIG)
    with pytest.raises(ValueError, match="number of blocks in cache"):
        decoder_step(params, tokens, cache=cache[:1], config=CONFIG)
    with pytest.raises(TypeError, match="decoder_step: params must be plain arrays"):
        decoder_step(tree_map(Variable, params), tokens, cache=None, config=CONFIG)


# --- gradients and training --------------------------------------------------------------------


@each_variant
def test_gradient(config):
    params = make(config)
    f = functools.partial(decoder, token_ids=ids(2, 5), config=config)
    # Central differences through two blocks of weights of order 1/4 resolve this much.
    assert check_grad(lambda p: f(p), params, rng=rng(4)) < 1e-6
    both = make(config, encoder_decoder_init)

    def g(params):
        mask = np.arange(4) < 3
        source = ids(2, 4)
        return encoder_decoder(
            params, source, target_ids=ids(2, 3), config=config, source_mask=mask
        )

    assert check_grad(g, both, rng=rng(4)) < 1e-6  # as above


def test_gradient_of_an_empty_batch():
    value, pullback = vjp(lambda p: decoder(p, ids(0, 5), config=CONFIG), make())
    assert value.shape == (0, 5, 11)
    assert all(not g.any() for g in tree_leaves(pullback(value)))


@each_variant
def test_a_decoder_learns_one_small_batch_by_heart(config):
    config = config._replace(dim=16)
    params = decoder_init(config, rng=rng(), dtype=np.float32)
    tokens = ids(3, 6)
    x, y = tokens[:, :-1], tokens[:, 1:]
    loss = value_and_grad(lambda p: cross_entropy(decoder(p, x, config=config), y))
    state = adam_init(params)
    start = loss(params)[0]
    assert start == pytest.approx(np.log(11), abs=0.1)  # it knows nothing yet
    for _ in range(60):
        value, grads = loss(params)
        updates, state = adam_update(grads, state, params, lr=2e-2)
        params = tree_map(np.add, params, updates)
    assert value.dtype == np.float32
    assert value < 0.15  # two beginnings that agree cannot both be continued


def test_one_dtype_throughout():
    params = make(dtype=np.float32)
    f = functools.partial(decoder, token_ids=ids(2, 5), config=CONFIG)
    value, pullback = vjp(lambda p: f(p), params)
    assert value.dtype == np.float32
    assert {g.dtype for g in tree_leaves(pullback(value))} == {np.dtype(np.float32)}


# --- referees ----------------------------------------------------------------------------------


def _torch_decoder(torch, p, tokens, config):
    """A decoder of PyTorch's own operations."""
    functional = torch.nn.functional
    norm = {
        "layer": lambda n, h: functional.layer_norm(h, (config.dim,), n["weight"], n.get("bias")),
        "rms": lambda n, h: functional.rms_norm(h, (config.dim,), n["weight"], eps=1e-5),
    }[config.norm]

    def dense(layer, h):
        return functional.linear(h, layer["weight"], layer.get("bias"))

    def heads(layer, h):
        return dense(layer, h).unflatten(-1, (config.num_heads, -1)).transpose(1, 2)

    def turn(z):  # as complex numbers, the halves being real and imaginary part
        half = z.shape[-1] // 2
        angle = torch.arange(z.shape[-2])[:, None] * 10000.0 ** (-torch.arange(half) / half)
        w = torch.complex(z[..., :half], z[..., half:]) * torch.polar(torch.ones_like(angle), angle)
        return torch.cat([w.real, w.imag], dim=-1)

    h = functional.embedding(tokens, p["embedding"])
    if config.positions == "learned":
        h = h + p["positions"][: tokens.shape[1]]
    for block in p["blocks"]:
        x = norm(block["norm1"], h)
        q, k, v = (heads(block["attention"][n], x) for n in ("query", "key", "value"))
        if config.positions == "rotary":
            q, k = turn(q), turn(k)
        a = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + dense(block["attention"]["out"], a.transpose(1, 2).flatten(-2))
        h = h + dense(block["down"], functional.gelu(dense(block["up"], norm(block["norm2"], h))))
    h = norm(p["norm"], h)
    return h @ p["embedding"].T if config.tied else dense(p["head"], h)


@pytest.mark.referee
@each_variant
def test_decoder_against_torch(config):
    torch = pytest.importorskip("torch")
    params, tokens, c = make(config), ids(2, 6), rng(5).standard_normal((2, 6, 11))
    copied = tree_map(lambda a: torch.tensor(a, requires_grad=True), params)
    torch.set_default_dtype(torch.float64)
    try:
        expected = _torch_decoder(torch, copied, torch.tensor(tokens), config)
    finally:
        torch.set_default_dtype(torch.float32)
    expected.backward(torch.tensor(c))
    value, pullback = vjp(lambda p: decoder(p, tokens, config=config), params)
    near(value, expected.detach().numpy())
    theirs = [t.grad.numpy() for t in tree_leaves(copied)]
    largest = max(abs(g).max() for g in theirs)
    for ours, g in zip(tree_leaves(pullback(c)[0]), theirs, strict=True):
        # The gradient of a bias of keys is 0 up to rounding: relative to the largest of all.
        np.testing.assert_allclose(ours, g, rtol=0, atol=1e-10 * largest)


@pytest.mark.referee
def test_encoder_decoder_against_jax():
    config = CONFIG._replace(positions="rotary", depth=1)  # compiling more takes long
    params = make(config, encoder_decoder_init)
    source, target = ids(2, 5), ids(2, 4, seed=4)
    mask = np.arange(5) < np.array([[5], [3]])

    def norm(n, h):
        h = h - h.mean(-1, keepdims=True)
        return h / jnp.sqrt((h**2).mean(-1, keepdims=True) + 1e-5) * n["weight"] + n["bias"]

    def dense(layer, h):
        return h @ layer["weight"].T + layer["bias"]

    def turn(z):
        angle = jnp.arange(z.shape[1])[:, None, None] * jnp.array([1.0, 0.01])  # d = 4
        w = (z[..., :2] + 1j * z[..., 2:]) * jnp.exp(1j * angle)
        return jnp.concatenate([w.real, w.imag], -1)

    def attend(p, x, y, allowed, rotate):
        q, k, v = (
            dense(p[n], z).reshape(*z.shape[:2], 2, 4)
            for n, z in (("query", x), ("key", y), ("value", y))
        )
        if rotate:
            q, k = turn(q), turn(k)
        scores = jnp.einsum("nthd,nshd->nhts", q, k) / 2
        weights = jax.nn.softmax(jnp.where(allowed, scores, -jnp.inf))
        return dense(p["out"], jnp.einsum("nhts,nshd->nthd", weights, v).reshape(*x.shape))

    def stack(p, tokens, allowed, memory=None):
        h = p["embedding"][tokens]
        for block in p["blocks"]:
            x = norm(block["norm1"], h)
            h += attend(block["attention"], x, x, allowed, True)
            if memory is not None:
                x = norm(block["norm_cross"], h)
                h += attend(block["cross"], x, memory, mask[:, None, None, :], False)
            up = dense(block["up"], norm(block["norm2"], h))
            h += dense(block["down"], jax.nn.gelu(up, approximate=False))
        return norm(p["norm"], h)

    def reference(p):
        memory = stack(p["encoder"], source, mask[:, None, None, :])
        h = stack(p["decoder"], target, np.tri(4, dtype=bool), memory)
        return h @ p["decoder"]["embedding"].T

    c = rng(6).standard_normal((2, 4, 11))
    expected, pull = jax.vjp(jax.jit(reference), tree_map(jnp.array, params))
    value, pullback = vjp(
        lambda p: encoder_decoder(p, source, target_ids=target, config=config, source_mask=mask),
        params,
    )
    near(value, expected)
    theirs = pull(jnp.array(c))[0]
    largest = max(abs(np.asarray(g)).max() for g in tree_leaves(theirs))

    def compare(ours, theirs):
        if isinstance(ours, dict):
            assert ours.keys() == theirs.keys()
            for key in ours:
                compare(ours[key], theirs[key])
        elif isinstance(ours, list):
            for a, b in zip(ours, theirs, strict=True):
                compare(a, b)
        else:  # relative to the largest of all, as above
            np.testing.assert_allclose(ours, np.asarray(theirs), rtol=0, atol=1e-10 * largest)

    compare(pullback(c)[0], theirs)
