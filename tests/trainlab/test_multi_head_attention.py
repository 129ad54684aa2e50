import functools
import itertools

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.attention import scaled_dot_product_attention
from trainlab.differentiation import Variable, check_grad, vjp
from trainlab.multi_head_attention import (
    KeyValueCache,
    cached_attention,
    multi_head_attention,
    multi_head_attention_init,
)
from trainlab.positions import rotary
from trainlab.trees import tree_leaves, tree_map


def rng(seed=0):
    return np.random.default_rng(seed)


def near(actual, expected, tolerance=1e-10):
    # Relative to the largest entry: small ones are differences of large ones.
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * abs(expected).max())


def make(dim=8, seed=0, **options):
    """Parameters with biases that are not 0."""
    params = multi_head_attention_init(dim, rng=rng(seed), std=0.5, **options)
    return tree_map(
        lambda a: a + rng(seed + 1).standard_normal(a.shape).astype(a.dtype) / 4, params
    )


def test_init():
    params = multi_head_attention_init(200, rng=rng(), out_std=0.005)
    assert list(params) == ["query", "key", "value", "out"]
    for name, layer in params.items():
        std = 0.005 if name == "out" else 0.02
        assert layer["weight"].std() == pytest.approx(std, rel=0.02)  # of 40 000 numbers
        np.testing.assert_array_equal(layer["bias"], np.zeros(200))
    plain = multi_head_attention_init(200, rng=rng(), bias=False, dtype=np.float32)
    assert plain["out"]["weight"].std() == pytest.approx(0.02, rel=0.02)  # std, as the others
    assert all(list(layer) == ["weight"] for layer in plain.values())
    assert {a.dtype for a in tree_leaves(plain)} == {np.dtype(np.float32)}


def test_one_head_is_attention_between_linear_maps():
    params, x = make(), rng(5).standard_normal((2, 4, 8))
    q, k, v = (x @ params[n]["weight"].T + params[n]["bias"] for n in ("query", "key", "value"))
    expected = (
        scaled_dot_product_attention(q, k, v) @ params["out"]["weight"].T + params["out"]["bias"]
    )
    near(multi_head_attention(params, x, num_heads=1), expected)


def test_heads_are_blocks_of_features():
    params, x = make(), rng(5).standard_normal((4, 8))
    q, k, v = (x @ params[n]["weight"].T + params[n]["bias"] for n in ("query", "key", "value"))
    blocks = [np.s_[:, i : i + 2] for i in range(0, 8, 2)]
    heads = [scaled_dot_product_attention(q[b], k[b], v[b], causal=True) for b in blocks]
    expected = np.concatenate(heads, axis=1) @ params["out"]["weight"].T + params["out"]["bias"]
    near(multi_head_attention(params, x, num_heads=4, causal=True), expected)
    turned = [
        scaled_dot_product_attention(rotary(q[b], base=50.0), rotary(k[b], base=50.0), v[b])
        for b in blocks
    ]
    expected = np.concatenate(turned, axis=1) @ params["out"]["weight"].T + params["out"]["bias"]
    near(multi_head_attention(params, x, num_heads=4, rotary_base=50.0), expected)


def test_without_positions_tokens_are_a_set():
    params, x, order = make(), rng(5).standard_normal((6, 8)), rng(6).permutation(6)
    attend = functools.partial(multi_head_attention, params, num_heads=2)
    near(attend(x[order]), attend(x)[order])
    assert not np.allclose(attend(x[order], rotary_base=1e4), attend(x, rotary_base=1e4)[order])
    assert not np.allclose(attend(x[order], causal=True), attend(x, causal=True)[order])


def test_a_bias_of_the_keys_changes_nothing():
    params, x = make(), rng(5).standard_normal((6, 8))
    attend = functools.partial(multi_head_attention, x=x, num_heads=2)
    moved = {**params, "key": {**params["key"], "bias": params["key"]["bias"] + 3.0}}
    near(attend(moved), attend(params))
    _, pullback = vjp(attend, params)
    (grads,) = pullback(rng(6).standard_normal((6, 8)))
    assert abs(grads["key"]["bias"]).max() < 1e-14 * abs(grads["query"]["bias"]).max() * 100


def test_padding_is_seen_by_nobody():
    params, x = make(), rng(5).standard_normal((3, 5, 8))
    lengths = np.array([5, 3, 1])
    key_mask = np.arange(5) < lengths[:, None]
    y = multi_head_attention(params, x, num_heads=2, key_mask=key_mask)
    for row, n in enumerate(lengths):
        near(y[row, :n], multi_head_attention(params, x[row, :n], num_heads=2))
    # the same for all of a batch, and together with a mask of pairs
    one = np.array([True, True, False, True, True])
    near(
        multi_head_attention(params, x, num_heads=2, key_mask=one, mask=np.tri(5, dtype=bool)),
        multi_head_attention(params, x, num_heads=2, mask=np.tri(5, dtype=bool) & one),
    )
    near(
        multi_head_attention(params, x, num_heads=2, mask=np.tri(5, dtype=bool)),
        multi_head_attention(params, x, num_heads=2, causal=True),
    )
    pairs = rng(7).random((3, 5, 5)) < 0.7
    y = multi_head_attention(params, x, num_heads=2, mask=pairs)
    near(y[1], multi_head_attention(params, x[1], num_heads=2, mask=pairs[1]))


def test_a_token_that_sees_nothing_gets_the_last_bias():
    params, x = make(), rng(5).standard_normal((2, 3, 8))
    y = multi_head_attention(params, x, num_heads=2, key_mask=np.zeros((2, 3), bool))
    np.testing.assert_array_equal(y, np.broadcast_to(params["out"]["bias"], y.shape))


@pytest.mark.claim("ATT-03")
def test_cross_attention_asks_another_sequence():
    """Queries of one sequence and keys of another; in self-attention both are of the same."""
    params = make()
    x, memory = rng(5).standard_normal((2, 3, 8)), rng(6).standard_normal((2, 5, 8))
    attend = functools.partial(multi_head_attention, params, num_heads=2)
    cross = attend(x, memory=memory)
    assert cross.shape == (2, 3, 8)
    near(attend(x, memory=x), attend(x))
    # the memory is a set, and each query is on its own
    near(attend(x, memory=memory[:, ::-1]), cross)
    near(attend(x[:, :1], memory=memory), cross[:, :1])
    masked = attend(x, memory=memory, key_mask=np.arange(5) < 4)
    near(masked, attend(x, memory=memory[:, :4]))


@pytest.mark.parametrize("options", [{}, {"causal": True, "rotary_base": 20.0}])
@pytest.mark.parametrize("shape", [(4, 8), (2, 3, 8), (0, 3, 8), (1, 1, 8)])
def test_gradient(shape, options):
    params, x = make(), rng(5).standard_normal(shape)
    f = functools.partial(multi_head_attention, num_heads=2, **options)
    if x.size:
        assert check_grad(f, params, x, rng=rng(3)) < 1e-7  # what central differences resolve
    value, pullback = vjp(f, params, x)
    assert value.shape == pullback(value)[1].shape == shape


def test_gradient_of_cross_attention():
    params, x, memory = make(), rng(5).standard_normal((2, 3, 8)), rng(6).standard_normal((2, 4, 8))

    def f(params, x, memory):
        return multi_head_attention(params, x, memory=memory, num_heads=4)

    assert check_grad(f, params, x, memory, rng=rng(3)) < 1e-7  # as above


# --- cache -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotary_base", [None, 30.0])
@pytest.mark.parametrize("cuts", [(0, 6), (0, 1, 2, 3, 4, 5, 6), (0, 3, 4, 6), (0, 0, 6)])
def test_cache_gives_the_full_forward(cuts, rotary_base):
    params, x = make(), rng(5).standard_normal((2, 6, 8))
    full = multi_head_attention(params, x, num_heads=2, causal=True, rotary_base=rotary_base)
    cache, pieces = None, []
    for start, stop in itertools.pairwise(cuts):
        piece, cache = cached_attention(
            params, x[:, start:stop], cache=cache, num_heads=2, rotary_base=rotary_base
        )
        pieces.append(piece)
    near(np.concatenate(pieces, axis=1), full)
    assert cache.key.shape == cache.value.shape == (2, 2, 6, 4)


@pytest.mark.claim("ATT-05")
def test_a_cache_grows_with_every_token():
    params, x = make(), rng(5).standard_normal((1, 64, 8))
    sizes = []
    for count in (16, 32, 64):
        _, cache = cached_attention(params, x[:, :count], cache=None, num_heads=2)
        sizes.append(cache.key.size + cache.value.size)
    assert sizes == [2 * 8 * 16, 2 * 8 * 32, 2 * 8 * 64]  # the state of an LSTM has 2 · 8 at any T


def test_a_cache_is_not_changed_and_not_differentiated():
    params, x = make(), rng(5).standard_normal((3, 8))
    _, cache = cached_attention(params, x, cache=None, num_heads=2)
    before = cache.key.copy()
    one, _ = cached_attention(params, x[:1], cache=cache, num_heads=2)
    two, _ = cached_attention(params, x[:1], cache=cache, num_heads=2)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(cache.key, before)
    with pytest.raises(TypeError, match="x must be a plain array; got a Variable"):
        cached_attention(params, Variable(x), cache=None, num_heads=2)
    with pytest.raises(ValueError, match=r"cache\.key must be"):
        cached_attention(params, x, cache=KeyValueCache(before[:1], before), num_heads=2)


def test_rotary_and_memory_are_refused_together():
    params, x = make(), rng(5).standard_normal((3, 8))
    with pytest.raises(ValueError, match="rotary_base, with memory"):
        multi_head_attention(params, x, num_heads=2, memory=x, rotary_base=10.0)


# --- referee -----------------------------------------------------------------------------------


@pytest.mark.referee
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("kind", ["self", "causal", "padding", "cross"])
def test_against_torch(kind, dtype, tolerance):
    torch = pytest.importorskip("torch")
    params = make(12, dtype=dtype)
    x, memory, c = (rng(s).standard_normal((2, 5, 12)).astype(dtype) for s in (5, 6, 7))
    key_mask = np.arange(5) < np.array([[5], [3]])
    module = torch.nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.tensor(x).dtype)
    stacked = {
        part: np.concatenate([params[n][part] for n in ("query", "key", "value")])
        for part in ("weight", "bias")
    }
    module.load_state_dict(
        {
            "in_proj_weight": torch.tensor(stacked["weight"]),
            "in_proj_bias": torch.tensor(stacked["bias"]),
            "out_proj.weight": torch.tensor(params["out"]["weight"]),
            "out_proj.bias": torch.tensor(params["out"]["bias"]),
        }
    )
    ours, theirs = {
        "self": ({}, {}),
        # In the module True means "left out".
        "causal": ({"causal": True}, {"attn_mask": torch.tensor(~np.tri(5, dtype=bool))}),
        "padding": ({"key_mask": key_mask}, {"key_padding_mask": torch.tensor(~key_mask)}),
        "cross": ({}, {}),
    }[kind]
    tx, tm = (torch.tensor(a, requires_grad=True) for a in (x, memory))
    source = tm if kind == "cross" else tx
    expected, _ = module(tx, source, source, need_weights=False, **theirs)
    expected.backward(torch.tensor(c))

    def f(params, x, memory):
        other = memory if kind == "cross" else None
        return multi_head_attention(params, x, memory=other, num_heads=3, **ours)

    value, pullback = vjp(f, params, x, memory)
    dparams, dx, dmemory = pullback(c)
    assert value.dtype == dtype
    near(value, expected.detach().numpy(), tolerance)
    near(dx, tx.grad.numpy(), tolerance)
    if kind == "cross":
        near(dmemory, tm.grad.numpy(), tolerance)
    for part, tensor in (("weight", module.in_proj_weight), ("bias", module.in_proj_bias)):
        gradient = np.concatenate([dparams[n][part] for n in ("query", "key", "value")])
        near(gradient, tensor.grad.numpy(), tolerance)
    near(dparams["out"]["weight"], module.out_proj.weight.grad.numpy(), tolerance)
    near(dparams["out"]["bias"], module.out_proj.bias.grad.numpy(), tolerance)
    assert_close(dparams["out"]["bias"], c.sum(axis=(0, 1)))
