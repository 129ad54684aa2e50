import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainlab.closeness import assert_close
from trainlab.attention import attention_weights, scaled_dot_product_attention
from trainlab.differentiation import Variable, check_grad, vjp

jax.config.update("jax_enable_x64", True)


def draw(*shapes, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


def near(actual, expected, tolerance=1e-10):
    # Relative to the largest entry: small ones are differences of large ones.
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * abs(expected).max())


# --- by hand -----------------------------------------------------------------------------------


def test_one_head_by_hand():
    q, k = np.array([[2.0, 0.0]]), np.array([[1.0, 5.0], [0.0, 7.0]])
    v = np.array([[10.0, 1.0], [20.0, 3.0]])
    p = 1 / (1 + math.exp(-2 / math.sqrt(2)))  # scores 2/√2 and 0
    value, pullback = vjp(scaled_dot_product_attention, q, k, v)
    assert_close(value, [[10 * p + 20 * (1 - p), p + 3 * (1 - p)]])
    dq, dk, dv = pullback(np.array([[1.0, 0.0]]))
    ds = p * (1 - p) * (10 - 20)  # and its negative for the other score
    assert_close(dv, [[p, 0], [1 - p, 0]], atol=1e-300)  # exact zeros
    assert_close(dq, ds / math.sqrt(2) * (k[:1] - k[1:]))
    assert_close(dk, [[ds * math.sqrt(2), 0], [-ds * math.sqrt(2), 0]], atol=1e-300)  # as above


def test_equal_scores_average_and_causal_averages_the_past():
    (v,) = draw((5, 3))
    zeros = np.zeros((5, 2))
    assert_close(scaled_dot_product_attention(zeros, zeros, v), np.tile(v.mean(axis=0), (5, 1)))
    past = np.cumsum(v, axis=0) / np.arange(1, 6)[:, None]
    assert_close(scaled_dot_product_attention(zeros, zeros, v, causal=True), past)


def test_causal_queries_are_the_last_positions():
    q, k, v = draw((2, 5, 3), (2, 5, 3), (2, 5, 4))
    full = scaled_dot_product_attention(q, k, v, causal=True)
    near(scaled_dot_product_attention(q[:, 3:], k, v, causal=True), full[:, 3:])
    # More queries than keys: the first see nothing.
    longer = scaled_dot_product_attention(q, k[:, :3], v[:, :3], causal=True)
    np.testing.assert_array_equal(longer[:, :2], 0)
    near(longer[:, 2:3], v[:, :1])


def test_masks_leave_keys_out():
    q, k, v = draw((2, 4, 3), (2, 5, 3), (2, 5, 6))
    mask = np.array([True, True, False, True, False])
    alone = scaled_dot_product_attention(q, k[:, mask], v[:, mask])
    near(scaled_dot_product_attention(q, k, v, mask=mask), alone)
    per_query = np.ones((2, 4, 5), bool)
    per_query[1, 2, :4] = False
    value = scaled_dot_product_attention(q, k, v, mask=per_query)
    near(value[1, 2], v[1, 4])
    both = np.tri(5, dtype=bool) & mask
    q = np.concatenate([q, q[:, :1]], axis=1)
    near(
        scaled_dot_product_attention(q, k, v, mask=mask, causal=True),
        scaled_dot_product_attention(q, k, v, mask=both),
    )


@pytest.mark.parametrize("causal", [False, True])
def test_a_query_that_sees_nothing_gets_zero_and_gives_no_gradient(causal):
    q, k, v, c = draw((3, 4), (3, 4), (3, 2), (3, 2))
    mask = np.array([[True] * 3, [False] * 3, [True] * 3])
    f = functools.partial(scaled_dot_product_attention, mask=mask, causal=causal)
    value, pullback = vjp(f, q, k, v)
    dq, dk, dv = pullback(c)
    np.testing.assert_array_equal(value[1], 0)
    np.testing.assert_array_equal(dq[1], 0)
    assert all(np.isfinite(g).all() for g in (value, dq, dk, dv))
    none = scaled_dot_product_attention(q, k, v, mask=np.zeros((3, 3), bool))
    np.testing.assert_array_equal(none, 0)
    np.testing.assert_array_equal(attention_weights(q, k, mask=mask)[1], 0)


def test_no_keys_no_queries_no_batch():
    q, k, v = draw((2, 3, 4), (2, 0, 4), (2, 0, 5))
    np.testing.assert_array_equal(scaled_dot_product_attention(q, k, v), np.zeros((2, 3, 5)))
    for lead, t in (((2,), 0), ((0,), 3)):
        shape = (*lead, t, 4)
        value, pullback = vjp(scaled_dot_product_attention, *[np.zeros(shape)] * 3)
        assert value.shape == shape
        assert [g.shape for g in pullback(value)] == [shape] * 3


def test_scale():
    q, k, v = draw((4, 9), (5, 9), (5, 2))
    near(
        scaled_dot_product_attention(q, k, v, scale=1 / 3),
        scaled_dot_product_attention(q, k, v),
    )
    near(
        scaled_dot_product_attention(q, k, v, scale=1.0),
        scaled_dot_product_attention(3 * q, k, v),
    )
    near(scaled_dot_product_attention(q, k, v, scale=0.0)[0], v.mean(axis=0))


def test_weights_are_what_the_values_are_averaged_with():
    q, k, v = draw((2, 3, 4, 6), (2, 3, 5, 6), (2, 3, 5, 2))
    mask = np.random.default_rng(1).random((4, 5)) < 0.6
    for options in ({}, {"causal": True}, {"mask": mask}, {"scale": 2.0}):
        weights = attention_weights(q, k, **options)
        assert weights.shape == (2, 3, 4, 5)
        sums = weights.sum(axis=-1)
        assert np.all((abs(sums - 1) < 1e-12) | (sums == 0))
        near(weights @ v, scaled_dot_product_attention(q, k, v, **options))


# --- identities --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), count=st.integers(1, 7))
def test_permuted_tokens_give_permuted_outputs(seed, count):
    q, k, v = draw((count, 3), (count, 3), (count, 2), seed=seed)
    order = np.random.default_rng(seed).permutation(count)
    value = scaled_dot_product_attention(q, k, v)
    near(scaled_dot_product_attention(q[order], k[order], v[order]), value[order])
    near(scaled_dot_product_attention(q, k[order], v[order]), value)  # keys are a set


def test_two_keys_are_a_sigmoid():
    q, k = draw((6, 4), (2, 4))
    first = attention_weights(q, k, scale=1.0)[:, 0]
    assert_close(first, 1 / (1 + np.exp(-q @ (k[0] - k[1]))))


def test_the_same_vector_added_to_all_keys_changes_nothing():
    q, k, v = draw((4, 3), (5, 3), (5, 2))
    near(
        scaled_dot_product_attention(q, k + np.array([1.0, -2.0, 3.0]), v),
        scaled_dot_product_attention(q, k, v),
    )


# --- extreme inputs ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_scores_pick_one_key(dtype):
    q = np.array([[1e4, 0.0], [-1e4, 0.0]], dtype)
    k = np.array([[1e4, 1.0], [-1e4, 1.0]], dtype)
    v = np.array([[1.0], [2.0]], dtype)
    value, pullback = vjp(scaled_dot_product_attention, q, k, v)
    np.testing.assert_array_equal(value, v)
    assert all(np.isfinite(g).all() and g.dtype == dtype for g in pullback(np.ones_like(v)))


def test_products_that_overflow_are_refused_by_name_and_seen_in_training():
    q, v = np.full((2, 2), 1e30, np.float32), np.ones((2, 1), np.float32)
    with pytest.raises(ValueError, match=r"scaled_dot_product_attention: every product of q and k"):
        scaled_dot_product_attention(q, q, v)
    assert np.isnan(scaled_dot_product_attention(Variable(q), q, v).value).all()


def test_no_mask_of_numbers():
    q, k, v = draw((2, 3), (2, 3), (2, 1))
    with pytest.raises(TypeError, match="mask must be an array of bool"):
        scaled_dot_product_attention(q, k, v, mask=np.zeros((2, 2)))


# --- gradients ---------------------------------------------------------------------------------

SHAPES = [
    ((4, 3), (4, 3), (4, 3)),
    ((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 2)),
    ((1, 1), (1, 1), (1, 1)),
    ((2, 4, 3, 5), (2, 1, 3, 5), (2, 1, 3, 5)),  # queries of several heads share keys
    ((3, 2), (4, 5, 2), (4, 5, 3)),
    ((4, 3, 2), (5, 2), (4, 5, 3)),
]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shapes", SHAPES)
def test_gradient(shapes, causal):
    rng = np.random.default_rng(2)
    q, k, v = draw(*shapes, seed=1)
    mask = rng.random((q.shape[-2], k.shape[-2])) < 0.8
    f = functools.partial(scaled_dot_product_attention, causal=causal, mask=mask, scale=0.7)
    assert check_grad(f, q, k, v, rng=rng) < 1e-7  # what central differences resolve
    plain = functools.partial(scaled_dot_product_attention, causal=causal)
    assert check_grad(plain, q, k, v, rng=rng) < 1e-7


def test_gradients_of_views_lie_in_memory_as_the_views():
    """Joining the heads again must not copy."""
    x, c = draw((2, 6, 4, 3), (2, 6, 4, 3))
    heads = x.swapaxes(1, 2)
    value, pullback = vjp(scaled_dot_product_attention, heads, heads.copy(), heads)
    copied = scaled_dot_product_attention(*[heads.copy()] * 3)
    np.testing.assert_array_equal(value, copied)
    assert value.swapaxes(1, 2).flags.c_contiguous
    dq, dk, dv = pullback(c.swapaxes(1, 2))
    assert dq.swapaxes(1, 2).flags.c_contiguous
    assert dv.swapaxes(1, 2).flags.c_contiguous
    assert dk.flags.c_contiguous


def test_the_pullback_leaves_its_cotangent_and_can_be_called_twice():
    q, k, v, c = draw((4, 3), (4, 3), (4, 3), (4, 3))
    kept = c.copy()
    _, pullback = vjp(scaled_dot_product_attention, q, k, v)
    for a, b in zip(pullback(c), pullback(c), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(c, kept)


# --- referees ----------------------------------------------------------------------------------


@pytest.mark.referee
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("kind", ["plain", "causal", "mask", "scale"])
def test_against_torch(kind, dtype, tolerance):
    torch = pytest.importorskip("torch")
    q, k, v, c = draw((2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 6), (2, 3, 5, 6), dtype=dtype)
    mask = np.random.default_rng(3).random((2, 1, 5, 5)) < 0.7
    ours = {
        "plain": {},
        "causal": {"causal": True},
        "mask": {"mask": mask},
        "scale": {"scale": 0.3},
    }
    theirs = {
        "plain": {},
        "causal": {"is_causal": True},
        "mask": {"attn_mask": torch.tensor(mask)},
        "scale": {"scale": 0.3},
    }
    value, pullback = vjp(functools.partial(scaled_dot_product_attention, **ours[kind]), q, k, v)
    tensors = [torch.tensor(a, requires_grad=True) for a in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*tensors, **theirs[kind])
    expected.backward(torch.tensor(c))
    assert value.dtype == dtype
    near(value, expected.detach().numpy(), tolerance)
    for gradient, tensor in zip(pullback(c), tensors, strict=True):
        assert gradient.dtype == dtype
        near(gradient, tensor.grad.numpy(), tolerance)


@pytest.mark.referee
def test_torch_gives_zero_to_a_query_that_sees_nothing_too():
    torch = pytest.importorskip("torch")
    q = torch.ones(1, 1, 2, 4)
    mask = torch.tensor([[True, True], [False, False]])
    value = torch.nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=mask)
    assert value[0, 0, 1].tolist() == [0, 0, 0, 0]


@pytest.mark.referee
@pytest.mark.parametrize("causal", [False, True])
def test_against_jax(causal):
    # jax.nn.dot_product_attention takes its softmax in float32, whatever comes.
    def reference(q, k, v):
        scores = q @ k.swapaxes(-1, -2) / 2
        if causal:
            scores = jnp.where(jnp.tri(5, dtype=bool), scores, -jnp.inf)
        return jax.nn.softmax(scores) @ v

    q, k, v, c = draw((2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4))
    expected, pull = jax.vjp(jax.jit(reference), *map(jnp.array, (q, k, v)))
    f = functools.partial(scaled_dot_product_attention, causal=causal)
    value, pullback = vjp(f, q, k, v)
    near(value, expected)
    for ours, theirs in zip(pullback(c), pull(jnp.array(c)), strict=True):
        near(ours, theirs)


# --- the ledger --------------------------------------------------------------------------------


def _entropy(p):
    return -np.sum(p * np.log(np.maximum(p, 1e-300)), axis=-1).mean()


@pytest.mark.claim("ATT-02")
@pytest.mark.parametrize(
    ("d", "entropy", "largest"),
    [(4, 3.38, 0.20), (16, 1.67, 0.51), (64, 0.71, 0.76), (256, 0.32, 0.88), (1024, 0.11, 0.96)],
)
def test_unscaled_scores_saturate(d, entropy, largest):
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((400, 1, d)), rng.standard_normal((400, 128, d))
    scores = np.einsum("nd,nsd->ns", q[:, 0], k)
    assert scores.var() == pytest.approx(d, rel=0.1)  # Var(q·k) = d
    unscaled, scaled = attention_weights(q, k, scale=1.0), attention_weights(q, k)
    # Simulations with 400 queries: the bands are three standard errors and more.
    assert _entropy(unscaled) == pytest.approx(entropy, abs=0.12)
    assert unscaled.max(axis=-1).mean() == pytest.approx(largest, abs=0.06)
    assert _entropy(scaled) == pytest.approx(4.37, abs=0.08)  # of at most ln 128 = 4.85

    def slope(p):  # what a score's gradient is multiplied with, Σ p (1 - p)
        return np.sum(p * (1 - p), axis=-1).mean()

    assert slope(scaled) > 0.9
    assert slope(unscaled) < 1.25 * (1 - largest) + 0.1


@pytest.mark.claim("ATT-04")
def test_memory_of_the_scores_grows_with_the_square():
    x = np.zeros((2048, 1), np.float16)
    assert attention_weights(x, x).nbytes == 2 * 2048**2
    megabytes = [2 * t**2 / 1e6 for t in (2048, 8192, 32768)]
    assert_close(megabytes, [8.388608, 134.217728, 2147.483648])
