"""Loss scaling: the state machine, skipped steps, and what is lost without."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainlab.closeness import assert_close
from trainlab import loss_scaling as L
from trainlab.adaptive_optimizers import adam_init, adam_update
from trainlab.formats import BF16, E4M3, E5M2, FP16, FP32
from trainlab.mixed_precision import mixed_value_and_grad
from trainlab.trees import tree_leaves, tree_map


def sgd(grads, state, params):
    return tree_map(lambda g: -g, grads), state


def run(pattern, **options):
    state = L.loss_scale_init()
    scales = []
    for finite in pattern:
        state = L.loss_scale_update(state, finite=finite, **options)
        scales.append(state.scale)
    return scales, state


# --- the scale ------------------------------------------------------------------------------------


@pytest.mark.claim("MP-02")
def test_scale_starts_at_65536_and_doubles_after_2000_good_steps():
    state = L.loss_scale_init()
    assert state == (65536.0, 0)
    scales, state = run([True] * 4001)
    assert set(scales[:1999]) == {2.0**16}
    assert set(scales[1999:3999]) == {2.0**17}
    assert scales[3999:] == [2.0**18] * 2
    assert state.good_steps == 1


@pytest.mark.claim("MP-02")
def test_scale_is_halved_by_an_overflow_and_counts_from_0():
    scales, state = run([True] * 1999 + [False] + [True] * 1999)
    assert scales[1999:] == [2.0**15] * 2000
    assert state == (2.0**15, 1999)
    assert L.loss_scale_update(state, finite=True) == (2.0**16, 0)


def test_other_factors():
    options = {"growth_factor": 3.0, "backoff_factor": 0.1, "growth_interval": 2}
    state = L.LossScale(10.0, 1)
    assert L.loss_scale_update(state, finite=True, **options) == (30.0, 0)
    assert L.loss_scale_update(state, finite=False, **options) == (1.0, 0)
    assert L.loss_scale_update(L.LossScale(10.0, 0), finite=True, **options) == (10.0, 1)
    assert L.loss_scale_update(state, finite=True, growth_interval=1) == (20.0, 0)


def test_scale_stays_in_the_range_of_float32():
    last = L.LossScale(2.0**127, 0)
    assert L.loss_scale_update(last, finite=True, growth_interval=1) == (2.0**127, 0)
    before = L.LossScale(2.0**126, 0)
    assert L.loss_scale_update(before, finite=True, growth_interval=1).scale == 2.0**127
    # downwards there is no end
    assert L.loss_scale_update(L.LossScale(1.0, 0), finite=False).scale == 0.5


@pytest.mark.referee
@pytest.mark.parametrize("interval", [1, 3, 2000])
def test_scale_is_that_of_torch(interval):
    """50 steps in which the gradient overflows now and then, with GradScaler on the CPU."""
    torch = pytest.importorskip("torch")
    scaler = torch.amp.GradScaler("cpu", growth_interval=interval)
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([w], lr=0.125)
    ours, state = (
        np.ones(2, np.float32),
        L.scaled_init(np.ones(2, np.float32), init=lambda p: None),
    )
    bad = set(np.random.default_rng(0).choice(50, 9, replace=False).tolist())
    for step in range(50):
        factor = float("inf") if step in bad else float(step + 1)
        optimizer.zero_grad()
        scaler.scale((w * torch.tensor([factor, 1.0])).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        with np.errstate(invalid="ignore"):
            grads = np.array([factor, 1], np.float32) * np.float32(state.loss_scale.scale)
        updates, state = L.scaled_update(
            grads, state, ours, growth_interval=interval,
            update=lambda g, s, p: (np.float32(-0.125) * g, s),
        )  # fmt: skip
        ours = ours + updates
        np.testing.assert_array_equal(ours, w.detach().numpy())
        assert state.loss_scale.scale == scaler.get_scale()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 5))
def test_scale_is_a_power_of_two_of_what_happened(pattern, interval):
    _, state = run(pattern, growth_interval=interval)
    falls = pattern.count(False)
    runs = "".join("x" if good else " " for good in pattern).split(" ")
    rises = sum(len(good) // interval for good in runs)
    assert state.scale == 2.0 ** (16 + rises - falls)


# --- the step -------------------------------------------------------------------------------------


def tree(value):
    return {"w": np.full(3, value, np.float32), "b": [np.full(1, value, np.float32)]}


def test_unscale_divides():
    found = L.unscale(tree(6.0), scale=4.0)
    assert found["w"].tolist() == [1.5] * 3
    assert found["w"].dtype == np.float32
    assert np.isinf(L.unscale(np.array([np.inf]), scale=2.0))


def test_finite_means_all_of_them():
    assert L.all_finite(tree(1.0))
    for bad in (np.inf, -np.inf, np.nan):
        grads = tree(1.0)
        grads["b"][0][0] = bad
        assert not L.all_finite(grads)
    assert L.all_finite([])


def test_a_good_step_is_that_of_the_optimizer():
    params, update = tree(1.0), partial(adam_update, lr=0.1)
    state = L.scaled_init(params, init=adam_init, init_scale=8.0)
    updates, after = L.scaled_update(tree(16.0), state, params, update=update)
    expected, inner = adam_update(tree(2.0), adam_init(params), params, lr=0.1)
    for a, b in zip(tree_leaves(updates), tree_leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(tree_leaves(after.inner), tree_leaves(inner), strict=True):
        np.testing.assert_array_equal(a, b)
    assert after.loss_scale == (8.0, 1)


@pytest.mark.claim("MP-02")
def test_a_step_with_an_infinity_is_skipped():
    params, update = tree(1.0), partial(adam_update, lr=0.1)
    state = L.scaled_init(params, init=adam_init)
    _, state = L.scaled_update(tree(1.0), state, params, update=update)
    grads = tree(1.0)
    grads["w"][1] = np.inf
    updates, after = L.scaled_update(grads, state, params, update=update)
    assert all((u == 0).all() and u.dtype == np.float32 for u in tree_leaves(updates))
    assert after.inner is state.inner  # the moments have seen nothing
    assert after.loss_scale == (2.0**15, 0)


def test_a_static_scale_skips_and_stays():
    params = tree(1.0)
    state = L.scaled_init(params, init=lambda p: None, init_scale=4.0)
    bad = tree(np.nan)
    updates, after = L.scaled_update(bad, state, params, update=sgd, dynamic=False)
    assert all((u == 0).all() for u in tree_leaves(updates))
    assert after == state
    _, after = L.scaled_update(
        tree(1.0), state, params, update=sgd, dynamic=False, growth_interval=1
    )
    assert after == state


def test_factors_are_handed_on():
    params = tree(1.0)
    state = L.scaled_init(params, init=lambda p: None, init_scale=4.0)
    step = partial(L.scaled_update, state=state, params=params, update=sgd)
    assert step(tree(1.0), growth_interval=1)[1].loss_scale == (8.0, 0)
    grown = step(tree(1.0), growth_interval=1, growth_factor=3.0)[1]
    assert grown.loss_scale.scale == 12
    assert step(tree(np.inf), backoff_factor=0.25)[1].loss_scale.scale == 1
    assert L.scaled_init(params, init=lambda p: None).loss_scale.scale == 65536


def test_clipping_comes_after_unscaling():
    """Clipped before, the gradient is too short by the scale: and by another one tomorrow."""

    def clip(grads, max_norm):
        norm = np.sqrt(sum(np.sum(g * g) for g in tree_leaves(grads)))
        return tree_map(lambda g: g * min(1.0, max_norm / norm), grads)

    def clipped_sgd(grads, state, params):
        return sgd(clip(grads, 1.0), state, params)

    params, grads = np.zeros(2), np.array([0.3, 0.4]) * 1024  # a norm of 0.5: nothing to clip
    state = L.scaled_init(params, init=lambda p: None, init_scale=1024.0)
    right, _ = L.scaled_update(grads, state, params, update=clipped_sgd)
    assert_close(right, -np.array([0.3, 0.4]))
    wrong, _ = L.scaled_update(clip(grads, 1.0), state, params, update=sgd)
    assert_close(np.linalg.norm(wrong), 1 / 1024)


@pytest.mark.referee
def test_skipping_is_that_of_optax():
    optax = pytest.importorskip("optax")
    tx = optax.apply_if_finite(optax.adam(0.1), max_consecutive_errors=1000)
    params = np.ones(3, np.float32)
    theirs, state = params, tx.init(params)
    ours, mine = params, L.scaled_init(params, init=adam_init, init_scale=2.0)
    r = np.random.default_rng(0)
    for step in range(50):
        grads = r.standard_normal(3).astype(np.float32)
        if step % 7 == 3:
            grads[step % 3] = np.nan
        updates, state = tx.update(grads, state, theirs)
        theirs = theirs + np.asarray(updates)
        updates, mine = L.scaled_update(
            2 * grads, mine, ours, update=partial(adam_update, lr=0.1), dynamic=False
        )
        ours = ours + updates
        # weights of size 1 in float32 that pass through 0
        assert_close(ours, theirs, atol=2e-5)


@pytest.mark.claim("MP-02")
def test_dynamic_scale_finds_its_place():
    """A loss 2^-30 times too small for FP16, from a scale that is 2^20 times too large."""

    def loss(w):
        return ((w - 3.0) ** 2) * 2.0**-30

    w = np.array(0.0)
    state = L.scaled_init(w, init=lambda p: None, init_scale=2.0**60)
    history = []
    for _ in range(120):
        scale = state.loss_scale.scale
        history.append(np.log2(scale))
        _, grads = mixed_value_and_grad(loss, FP16, scale=scale)(w)
        updates, state = L.scaled_update(
            grads, state, w, growth_interval=10,
            update=lambda g, s, p: (-0.25 * 2.0**30 * g, s),
        )  # fmt: skip
        w = w + updates
    assert history[:3] == [60, 59, 58]  # too large: halved until it fits
    lowest = history.index(min(history))
    assert 40 < history[lowest] < 50
    assert max(history[lowest:]) > history[lowest]  # and up again, as the gradient gets smaller
    assert_close(w, np.array(3.0), rtol=1e-3)  # FP16 has three digits
    unscaled = mixed_value_and_grad(loss, FP16)(np.array(0.0))[1]
    assert unscaled == 0  # without a scale nothing would have moved


# --- what is lost ---------------------------------------------------------------------------------


@pytest.mark.claim("MP-02")
@pytest.mark.parametrize(
    ("scale", "zero"), [(1.0, 0.4013), (8.0, 0.1587), (128.0, 0.0228), (1024.0, 0.0030)]
)
def test_share_of_gradients_that_become_zero(scale, zero):
    """Log-normal, median 2^-24, four octaves: the share below 2^-25 is Φ((-1 - log2 S)/4)."""
    r = np.random.default_rng(0)
    grads = 2.0 ** (-24 + 4 * r.standard_normal(400_000)) * r.choice([-1, 1], 400_000)
    found = L.lost_gradients(grads, FP16, scale=scale)
    # five standard errors
    assert abs(found.zero - zero) < 5 * np.sqrt(zero * (1 - zero) / 400_000) + 5e-5
    assert found.overflow == 0


@pytest.mark.claim("MP-02")
def test_half_of_the_smallest_number_is_zero():
    edge = np.array([2.0**-25, np.nextafter(2.0**-25, 1)])
    assert L.lost_gradients(edge[:1], FP16).zero == 1
    assert L.lost_gradients(edge[1:], FP16) == (0, 1, 0)


@pytest.mark.claim("MP-05")
def test_bf16_loses_none_of_them():
    grads = 2.0 ** (-24 + 4 * np.random.default_rng(0).standard_normal(10_000))
    assert L.lost_gradients(grads, BF16) == (0, 0, 0)
    assert L.lost_gradients(grads, FP32) == (0, 0, 0)
    assert L.lost_gradients(grads, FP16).zero > 0.3


def test_shares_by_hand():
    grads = {
        "a": np.array([0.0, 2.0**-26, 2.0**-20, 1.0]),
        "b": [np.array([-70000.0, -(2.0**-15)])],
    }
    assert L.lost_gradients(grads, FP16) == (1 / 5, 2 / 5, 1 / 5)
    assert L.lost_gradients(grads, FP16, scale=64.0) == (0, 1 / 5, 1 / 5)
    assert L.lost_gradients(np.array([500.0, 2.0**-6]), E4M3) == (0, 0, 1 / 2)  # NaN counts
    assert L.lost_gradients(np.array([500.0, 2.0**-15]), E5M2) == (0, 1 / 2, 0)
    assert L.lost_gradients(np.zeros(3), FP16) == (0, 0, 0)
    assert L.lost_gradients([], FP16) == (0, 0, 0)


def test_the_smallest_normal_number_is_normal():
    assert L.lost_gradients(np.array([2.0**-14]), FP16) == (0, 0, 0)
    assert L.lost_gradients(np.array([-(2.0**-14) + 2.0**-24]), FP16) == (0, 1, 0)


def test_scaling_itself_loses_nothing_in_float32():
    grads = np.array([1e30], np.float32)
    assert L.lost_gradients(grads, BF16, scale=1e20).overflow == 1
    assert L.lost_gradients(np.array([1e-44], np.float32), FP16, scale=2.0**140) == (0, 0, 0)


def test_a_tiny_scale_overflows_without_a_warning():
    single = np.array([0.0, 1.0, 1e38], np.float32)
    assert_close(L.unscale(single, scale=1e-3), np.array([0.0, 1e3, np.inf], np.float32))
    assert not L.all_finite(L.unscale(single, scale=1e-60))
    assert L.lost_gradients(np.array([1e300]), FP16, scale=1e300).overflow == 1
