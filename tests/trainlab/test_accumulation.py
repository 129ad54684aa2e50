"""Gradient accumulation: what equals the gradient of the whole batch, and what does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainlab.closeness import assert_close
from trainlab.accumulation import (
    AccumulationCosts,
    AccumulationState,
    accumulated_value_and_grad,
    accumulation_costs,
    accumulation_init,
    accumulation_update,
    example_weights,
    micro_batches,
)
from trainlab.adaptive_optimizers import adam_init, adam_update
from trainlab.clipping import clip_by_global_norm
from trainlab.differentiation import value_and_grad
from trainlab.formats import BF16
from trainlab.summation import running_sum
from trainlab.trees import tree_leaves

EXACT = 1e-12  # the same sums in another order


def rng(seed=0):
    return np.random.default_rng(seed)


def mean_of(x):
    """Mean of a column of shape (n, 1), of arrays and Variables."""
    return (np.full((1, x.shape[0]), 1 / x.shape[0], x.dtype) @ x)[0, 0]


def squared_error(params, batch):
    hidden = batch["x"] @ params["w"] + params["b"]
    return mean_of((hidden - batch["y"]) ** 2)


def token_loss(w, batch):
    """Mean over the tokens of the mask: sequences of different lengths, (N, T)."""
    errors = (batch["x"] * w - batch["y"]) ** 2 * batch["mask"]
    ones = np.ones((1, batch["x"].shape[0])), np.ones((batch["x"].shape[1], 1))
    return (ones[0] @ errors @ ones[1])[0, 0] / batch["mask"].sum()


def regression(n=12, seed=0, dtype=np.float64):
    r = rng(seed)
    batch = {"x": r.standard_normal((n, 3)), "y": r.standard_normal((n, 1))}
    params = {"w": r.standard_normal((3, 1)), "b": r.standard_normal(1)}
    return [{k: v.astype(dtype) for k, v in tree.items()} for tree in (params, batch)]


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in tree_leaves(tree)])


# --- the mean -----------------------------------------------------------------------------------


def test_the_state_holds_the_weighted_mean():
    state = accumulation_init({"w": np.ones(2, np.float32)})
    assert_close(state.mean["w"], np.zeros(2, np.float32))
    assert state.weight == 0.0
    state = accumulation_update({"w": np.array([1.0, 2.0], np.float32)}, state, weight=3)
    state = accumulation_update({"w": np.array([5.0, -2.0], np.float32)}, state)  # weight 1
    assert_close(state.mean["w"], np.array([2.0, 1.0], np.float32))
    assert state.weight == 4.0
    assert state.mean["w"].dtype == np.float32


def test_a_micro_batch_without_tokens_changes_nothing():
    state = accumulation_update(np.ones(2), accumulation_init(np.zeros(2)), weight=5.0)
    assert accumulation_update(np.full(2, np.nan), state, weight=0.0) is state
    start = accumulation_init(np.zeros(2))
    assert accumulation_update(np.full(2, np.nan), start, weight=0) is start


def test_a_nan_is_seen():
    state = accumulation_update(np.array([np.nan, 1.0]), accumulation_init(np.zeros(2)))
    state = accumulation_update(np.ones(2), state)
    assert_close(state.mean, np.array([np.nan, 1.0]))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(-10, 10), st.integers(1, 9)), min_size=1, max_size=8))
def test_the_mean_is_that_of_all_examples(parts):
    state = accumulation_init(np.zeros(()))
    for value, count in parts:
        state = accumulation_update(np.asarray(value), state, weight=count)
    everything = np.concatenate([[value] * count for value, count in parts])
    assert_close(state.mean, everything.mean(), atol=1e-12)  # cancellation
    assert state.weight == len(everything)


def test_means_of_huge_gradients_do_not_overflow():
    state = accumulation_init(np.zeros(1))
    for _ in range(3):
        state = accumulation_update(np.array([1.5e308]), state, weight=1e6)
    assert_close(state.mean, np.array([1.5e308]))


# --- micro-batches ------------------------------------------------------------------------------


def test_micro_batches_cover_the_batch_once():
    batch = {"x": np.arange(14.0).reshape(7, 2), "labels": [np.arange(7)]}
    parts = micro_batches(batch, size=3)
    assert [len(p["x"]) for p in parts] == [3, 3, 1]
    assert np.array_equal(np.concatenate([p["x"] for p in parts]), batch["x"])
    assert np.array_equal(np.concatenate([p["labels"][0] for p in parts]), np.arange(7))
    assert parts[0]["labels"][0].dtype == batch["labels"][0].dtype
    assert np.shares_memory(parts[0]["x"], batch["x"])
    assert micro_batches(np.zeros((0, 2)), size=3) == []
    assert len(micro_batches(np.zeros((6, 2)), size=6)) == 1


@pytest.mark.claim("ACC-02")
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, EXACT), (np.float32, 1e-4)])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 12, 100])
def test_accumulated_gradient_is_that_of_the_whole_batch(size, dtype, rtol):
    params, batch = regression(dtype=dtype)
    value, grads = value_and_grad(squared_error)(params, batch)
    found, accumulated = accumulated_value_and_grad(squared_error, size=size)(params, batch)
    assert_close(found, value, rtol=rtol)
    assert_close(flat(accumulated), flat(grads), rtol=rtol)
    assert flat(accumulated).dtype == dtype
    assert list(accumulated) == list(params)


@pytest.mark.claim("ACC-01")
@pytest.mark.parametrize("k", [2, 16])
def test_the_sum_is_k_times_too_large_and_times_k_is_k_squared(k):
    params, batch = regression(n=32)
    value_grad = value_and_grad(squared_error)
    whole = flat(value_grad(params, batch)[1])
    total = sum(flat(value_grad(params, part)[1]) for part in micro_batches(batch, size=32 // k))
    assert_close(total / k, whole, rtol=EXACT)
    assert_close(np.linalg.norm(total) / np.linalg.norm(whole), float(k))
    assert_close(np.linalg.norm(k * total) / np.linalg.norm(whole), float(k * k))
    equal = accumulated_value_and_grad(squared_error, size=32 // k, weight=lambda batch: 1.0)
    assert_close(flat(equal(params, batch)[1]), whole, rtol=EXACT)


@pytest.mark.claim("ACC-01")
def test_adam_hides_a_factor_but_an_added_penalty_does_not():
    r = rng(3)
    params, grads = r.standard_normal(5), r.standard_normal((4, 5))

    def steps(factor, eps, l2=0.0):
        state, out = adam_init(params), []
        for g in grads:
            update, state = adam_update(factor * g, state, params, lr=0.1, eps=eps, l2=l2)
            out.append(update)
        return np.array(out)

    assert_close(steps(16.0, 16e-8), steps(1.0, 1e-8))  # k·g with k·ε is g with ε
    assert_close(steps(16.0, 1e-8), steps(1.0, 1e-8), rtol=1e-5)  # what ε is worth here
    assert np.abs(steps(16.0, 1e-8, l2=0.5) - steps(1.0, 1e-8, l2=0.5)).max() > 1e-3


@pytest.mark.claim("ACC-01")
def test_a_sum_in_bf16_stalls_at_a_quarter():
    assert running_sum(np.full(1024, 1 / 1024), BF16)[-1] == 0.25


@pytest.mark.claim("ACC-02")
def test_mean_of_means_gives_a_lone_example_half_the_weight():
    assert_close(example_weights([7, 1]), np.array([1 / 14, 1 / 2]))
    assert_close(example_weights([7, 1], weights=[7, 1]), np.full(2, 1 / 8))
    assert_close(example_weights([2, 2], weights=[3.0, 1.0]), np.array([0.375, 0.125]))
    params, batch = regression(n=8)
    equal = accumulated_value_and_grad(squared_error, size=7, weight=lambda batch: 1.0)
    whole = flat(value_and_grad(squared_error)(params, batch)[1])
    seven, one = (flat(value_and_grad(squared_error)(params, part)[1])
                  for part in micro_batches(batch, size=7))  # fmt: skip
    assert_close(flat(equal(params, batch)[1]), (seven + one) / 2, rtol=EXACT)
    assert np.linalg.norm(flat(equal(params, batch)[1]) - whole) > 0.1 * np.linalg.norm(whole)


@pytest.mark.claim("ACC-02")
def test_tokens_not_sequences_are_what_the_loss_is_a_mean_over():
    # 100 tokens of loss 2 and 10 tokens of loss 5
    state = accumulation_init(np.zeros(()))
    for loss, tokens in ((2.0, 100), (5.0, 10)):
        state = accumulation_update(np.asarray(loss), state, weight=tokens)
    assert_close(state.mean, 250 / 110)
    assert_close(sum(example_weights([100, 10]) * [100, 10] * [2.0, 5.0]), 3.5)
    # a token of a sequence of 10 weighs 100 times one of a sequence of 1000
    weights = example_weights([10, 1000])
    assert_close(weights[0] / weights[1], 100.0)


@pytest.mark.claim("ACC-02")
def test_accumulation_over_sequences_of_different_lengths():
    r = rng(4)
    mask = (np.arange(6) < np.array([1, 2, 6, 5, 0])[:, None]).astype(float)
    batch = {"x": r.standard_normal((5, 6)), "y": r.standard_normal((5, 6)), "mask": mask}
    w = np.array(0.5)
    value, grad = value_and_grad(token_loss)(w, batch)
    tokens = accumulated_value_and_grad(token_loss, size=1, weight=lambda b: b["mask"].sum())
    found = tokens(w, batch)  # the last sequence has no token, its loss would be 0/0
    assert_close(found[0], value, rtol=EXACT)
    assert_close(found[1], grad, rtol=EXACT)
    batch = {k: v[:4] for k, v in batch.items()}
    means = accumulated_value_and_grad(token_loss, size=1, weight=lambda b: 1.0)(w, batch)
    assert abs(means[0] - value) > 0.01 * value
    examples = accumulated_value_and_grad(token_loss, size=1)(w, batch)
    assert_close(examples[0], means[0], rtol=EXACT)


def test_further_arguments_are_handed_on():
    def loss(w, x, power, *, scale):
        return mean_of(x * w) ** power * scale

    x = np.array([[1.0], [3.0]])
    both = accumulated_value_and_grad(loss, size=2)
    value, grad = both(np.array([[2.0]]), x, 2, scale=10.0)
    assert_close(value, 160.0)
    assert_close(grad, np.array([[160.0]]))


def test_nothing_to_average_is_refused():
    params, batch = regression(n=4)
    with pytest.raises(ValueError, match="batch must have an example of weight > 0; got none"):
        accumulated_value_and_grad(squared_error, size=2, weight=lambda b: 0.0)(params, batch)
    empty = {k: v[:0] for k, v in batch.items()}
    with pytest.raises(ValueError, match="batch must have an example"):
        accumulated_value_and_grad(squared_error, size=2)(params, empty)
    with pytest.raises(ValueError, match="weight must be"):
        accumulated_value_and_grad(squared_error, size=2, weight=lambda b: -1.0)(params, batch)


# --- what is not the same -----------------------------------------------------------------------


@pytest.mark.claim("ACC-04")
def test_batch_norm_sees_the_micro_batch():
    def loss(w, batch):
        z = batch["x"] @ w
        averaging = np.full((1, len(batch["x"])), 1 / len(batch["x"]))
        z = z - averaging @ z
        normal = z / (averaging @ z**2 + 1e-5) ** 0.5
        return mean_of((normal - batch["y"]) ** 2)

    params, batch = regression(n=12)
    _, whole = value_and_grad(loss)(params["w"], batch)
    for size, least in ((6, 0.01), (2, 0.1)):
        _, accumulated = accumulated_value_and_grad(loss, size=size)(params["w"], batch)
        assert np.linalg.norm(accumulated - whole) > least * np.linalg.norm(whole)
    _, same = accumulated_value_and_grad(loss, size=12)(params["w"], batch)
    assert_close(same, whole, rtol=EXACT)


@pytest.mark.claim("ACC-04")
def test_dropout_needs_no_care():
    """Masks are independent anyway: drawn before the split, they give the same gradient."""
    params, batch = regression(n=12)
    batch["x"] = batch["x"] * (rng(9).random(batch["x"].shape) >= 0.5) / 0.5
    whole = value_and_grad(squared_error)(params, batch)[1]
    accumulated = accumulated_value_and_grad(squared_error, size=4)(params, batch)[1]
    assert_close(flat(accumulated), flat(whole), rtol=EXACT)


@pytest.mark.claim("CLIP-05")
def test_clipping_each_micro_batch_is_another_gradient():
    params, batch = regression(n=12)
    value_grad = value_and_grad(squared_error)
    right, _ = clip_by_global_norm(flat(value_grad(params, batch)[1]), max_norm=0.5)
    state = accumulation_init(right)
    for part in micro_batches(batch, size=3):
        clipped, _ = clip_by_global_norm(flat(value_grad(params, part)[1]), max_norm=0.5)
        state = accumulation_update(clipped, state, weight=3)
    assert np.linalg.norm(state.mean - right) > 1e-3


# --- costs --------------------------------------------------------------------------------------


@pytest.mark.claim("ACC-03")
def test_accumulation_costs_no_further_passes_over_the_examples():
    large = accumulation_costs(6400, batch_size=64, micro_batch_size=64)
    split = accumulation_costs(6400, batch_size=64, micro_batch_size=16)
    small = accumulation_costs(6400, batch_size=16, micro_batch_size=16)
    assert large.examples == split.examples == small.examples == 6400
    assert (large.updates, split.updates, small.updates) == (100, 100, 400)
    assert (large.passes, split.passes, small.passes) == (100, 400, 400)
    assert (large.in_memory, split.in_memory, small.in_memory) == (64, 16, 16)
    assert split.syncs == split.eager_syncs == 0


@pytest.mark.claim("ACC-04")
def test_all_reduces_of_accumulation():
    costs = accumulation_costs(1000, batch_size=96, micro_batch_size=7, ranks=4)
    # 10 full batches; 24 examples a rank are passes of 7, 7, 7 and 3
    assert costs == AccumulationCosts(10, 40, 960, 7, 10, 40)
    assert accumulation_costs(100, batch_size=8, micro_batch_size=64, ranks=2) == AccumulationCosts(
        12, 12, 96, 4, 12, 12
    )
    assert accumulation_costs(5, batch_size=8, micro_batch_size=2).updates == 0
    assert math.prod(accumulation_costs(1, batch_size=1, micro_batch_size=1)[:4]) == 1


# --- referees -----------------------------------------------------------------------------------


@pytest.mark.referee
def test_torch_agrees():
    torch = pytest.importorskip("torch")
    params, batch = regression(n=11)
    tensors = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
    for part in micro_batches(batch, size=4):
        x, y = torch.tensor(part["x"]), torch.tensor(part["y"])
        error = torch.nn.functional.mse_loss(x @ tensors["w"] + tensors["b"], y, reduction="sum")
        (error / 11).backward()
    _, ours = accumulated_value_and_grad(squared_error, size=4)(params, batch)
    for name, tensor in tensors.items():
        assert_close(ours[name], tensor.grad.numpy(), rtol=1e-10)


@pytest.mark.referee
def test_optax_agrees():
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    jax.config.update("jax_enable_x64", True)
    params, batch = regression(n=12)
    steps = optax.MultiSteps(optax.identity(), every_k_schedule=3)
    theirs = steps.init(params)
    ours: AccumulationState = accumulation_init(params)
    for part in micro_batches(batch, size=4):
        _, grads = value_and_grad(squared_error)(params, part)
        updates, theirs = steps.update(grads, theirs, params)
        ours = accumulation_update(grads, ours, weight=4)
    for name in params:
        # optax forms the weight of the new gradient in float32
        assert_close(ours.mean[name], np.asarray(updates[name]), rtol=1e-6)
