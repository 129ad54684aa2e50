import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainlab.closeness import assert_close
from trainlab.generation import generate, sample_token, sampling_probabilities
from trainlab.transformer import TransformerConfig, decoder, decoder_init, decoder_step
from trainlab.trees import tree_map

CONFIG = TransformerConfig(vocab_size=9, dim=8, depth=2, num_heads=2, max_length=12)
P = np.array([0.05, 0.4, 0.15, 0.1, 0.3])


def rng(seed=0):
    return np.random.default_rng(seed)


def test_temperature():
    assert_close(sampling_probabilities(np.log(P)), P)
    assert_close(sampling_probabilities(np.log(P), temperature=0.5), P**2 / np.sum(P**2))
    np.testing.assert_array_equal(
        sampling_probabilities(np.log(P), temperature=0.0), [0, 1, 0, 0, 0]
    )
    np.testing.assert_array_equal(
        sampling_probabilities(np.log(P), temperature=1e-300), [0, 1, 0, 0, 0]
    )
    assert_close(sampling_probabilities(np.log(P), temperature=1e9), np.full(5, 0.2))


def test_top_k():
    for k, kept in ((1, [1]), (2, [1, 4]), (3, [1, 2, 4]), (5, range(5)), (99, range(5))):
        expected = np.where(np.isin(np.arange(5), list(kept)), P, 0)
        assert_close(sampling_probabilities(np.log(P), top_k=k), expected / expected.sum())


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (1e-9, [1]),
        (0.39, [1]),
        (0.41, [1, 4]),  # 0.4 is not enough: the token that crosses is in
        (0.69, [1, 4]),
        (0.71, [1, 4, 2]),
        (0.86, [1, 4, 2, 3]),
        (0.96, range(5)),
        (1.0, range(5)),
    ],
)
def test_top_p_sets(top_p, kept):
    expected = np.where(np.isin(np.arange(5), list(kept)), P, 0)
    assert_close(sampling_probabilities(np.log(P), top_p=top_p), expected / expected.sum())


def test_top_p_exactly_reached_is_enough():
    half = np.log([0.25, 0.5, 0.25])  # exact in binary
    np.testing.assert_array_equal(sampling_probabilities(half, top_p=0.5) > 0, [False, True, False])


def test_top_p_counts_what_top_k_and_temperature_left():
    # of 0.4 and 0.3 the first has 4/7
    both = sampling_probabilities(np.log(P), top_k=2, top_p=0.55)
    np.testing.assert_array_equal(both > 0, [False, True, False, False, False])
    # squared and normalized the first has 0.16 / 0.285 = 0.56
    cold = sampling_probabilities(np.log(P), temperature=0.5, top_p=0.55)
    np.testing.assert_array_equal(cold > 0, [False, True, False, False, False])


def test_ties_keep_the_first():
    flat = sampling_probabilities(np.zeros((2, 4)), top_k=2)
    np.testing.assert_array_equal(flat, [[0.5, 0.5, 0, 0]] * 2)
    assert sample_token(np.zeros(4), rng=rng(), temperature=0.0) == 0


def test_tiny_tails_survive_top_p_1():
    tail = sampling_probabilities(np.array([0.0, -45.0]), top_p=1.0)
    assert tail[1] == pytest.approx(np.exp(-45.0))


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 999),
    top_k=st.none() | st.integers(1, 8),
    top_p=st.none() | st.floats(0.01, 1.0),
    temperature=st.floats(0.0, 5.0),
)
def test_probabilities_sum_to_one_and_keep_the_order(seed, top_k, top_p, temperature):
    logits = 3 * rng(seed).standard_normal((3, 6))
    options = {"top_k": top_k, "top_p": top_p, "temperature": temperature}
    p = sampling_probabilities(logits, **options)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-12)
    for row, z in zip(p, logits, strict=True):
        assert np.all(np.diff(row[np.argsort(z)]) >= 0)
        assert row[np.argmax(z)] > 0
        assert np.count_nonzero(row) <= (top_k or 6)
    drawn = sample_token(logits, rng=rng(seed), **options)
    assert all(row[i] > 0 for row, i in zip(p, drawn, strict=True))


def test_draws_follow_the_probabilities():
    draws = sample_token(np.tile(np.log(P), (100_000, 1)), rng=rng())
    share = np.bincount(draws, minlength=5) / 100_000
    # four standard deviations of a share
    assert np.all(abs(share - P) < 4 * np.sqrt(P * (1 - P) / 100_000))
    assert draws.dtype == np.int64
    some = sample_token(np.tile(np.log(P), (1000, 1)), rng=rng(), top_p=0.6, temperature=2.0)
    assert set(some.tolist()) == {1, 2, 4}  # roots of P: .63, .55, .39, ... of 2.11 in all


def test_extreme_logits():
    p = sampling_probabilities(np.array([1e4, -1e4, 1e4]))
    np.testing.assert_array_equal(p, [0.5, 0, 0.5])
    p = sampling_probabilities(np.array([1e300, -1e300]), temperature=1e-10)
    np.testing.assert_array_equal(p, [1, 0])


# --- generate ----------------------------------------------------------------------------------


def _model():
    params = decoder_init(CONFIG, rng=rng())
    params = tree_map(lambda a: a + rng(1).standard_normal(a.shape) / 3, params)
    return params, functools.partial(decoder_step, params, config=CONFIG)


def test_greedy_with_a_cache_equals_greedy_without():
    params, step = _model()
    prompt = np.array([[1, 2, 3], [5, 0, 8]])
    text = generate(step, prompt, count=8, rng=rng(), temperature=0.0)
    slow = prompt
    for _ in range(8):
        logits = decoder(params, slow, config=CONFIG)[:, -1]
        slow = np.concatenate([slow, logits.argmax(axis=-1)[:, None]], axis=1)
    np.testing.assert_array_equal(text, slow)
    assert text.dtype == np.int64


def test_generate_draws_as_sample_token():
    params, step = _model()
    options = {"temperature": 1.5, "top_k": 5, "top_p": 0.9}
    text = generate(step, np.array([4, 2]), count=6, rng=rng(3), **options)
    source, slow = rng(3), np.array([4, 2])
    for _ in range(6):
        logits = decoder(params, slow, config=CONFIG)[-1]
        slow = np.append(slow, sample_token(logits, rng=source, **options))
    np.testing.assert_array_equal(text, slow)


def test_generate_computes_each_position_once():
    lengths = []

    def step(ids, cache):
        lengths.append(ids.shape[-1])
        return np.zeros((*ids.shape, 3)), (cache or 0) + ids.shape[-1]

    text = generate(step, np.zeros((2, 4), int), count=3, rng=rng())
    assert lengths == [4, 1, 1]
    assert text.shape == (2, 7)
    prompt = np.array([1, 2])
    np.testing.assert_array_equal(generate(step, prompt, count=0, rng=rng()), prompt)


def test_no_longer_than_the_model():
    _, step = _model()
    with pytest.raises(ValueError, match="number of tokens must be a whole number <= 12"):
        generate(step, np.zeros(3, int), count=11, rng=rng())


@pytest.mark.referee
def test_truncation_against_torch():
    torch = pytest.importorskip("torch")
    logits = rng(7).standard_normal((50, 20)) * 2
    probabilities = torch.softmax(torch.tensor(logits / 0.8), dim=-1)
    ordered, index = probabilities.sort(dim=-1, descending=True)
    keep = ordered.cumsum(dim=-1) - ordered < 0.7
    kept = torch.zeros_like(ordered).scatter(-1, index, ordered * keep)
    expected = kept / kept.sum(dim=-1, keepdim=True)
    ours = sampling_probabilities(logits, temperature=0.8, top_p=0.7)
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-10)


def test_a_token_can_be_ruled_out():
    z = np.array([[0.0, -np.inf, 0.0], [-np.inf, 5.0, -np.inf]])
    assert_close(sampling_probabilities(z), [[0.5, 0, 0.5], [0, 1, 0]])
    assert_close(sampling_probabilities(z, temperature=0.0), [[1, 0, 0], [0, 1, 0]])
    assert set(sample_token(np.tile(z[0], (50, 1)), rng=rng()).tolist()) == {0, 2}
    for wrong in ([-np.inf, -np.inf], [0.0, np.inf], [0.0, np.nan]):
        with pytest.raises(
            ValueError, match=r"sampling_probabilities: .* of logits must be finite"
        ):
            sampling_probabilities(np.array([[0.0, 0.0], wrong]))


def test_no_rows_and_no_tokens():
    assert sampling_probabilities(np.zeros((0, 3)), top_k=1, top_p=0.5).shape == (0, 3)
    assert sample_token(np.zeros((0, 3)), rng=rng()).shape == (0,)
    with pytest.raises(ValueError, match=r"number of logits in a row must be .* >= 1; got 0"):
        sampling_probabilities(np.zeros((2, 0)))
