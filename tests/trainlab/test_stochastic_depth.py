"""Stochastic depth: schedules, masks, scaling, expected depth, and a residual stack."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.differentiation import check_grad, value_and_grad, vjp
from trainlab.stochastic_depth import (
    compute_saved,
    depth_distribution,
    drop_path,
    drop_path_test,
    drop_schedule,
    expected_depth,
    path_mask,
    residual_stack,
)
from trainlab.sweeps import stochastic_depth_training as study
from trainlab.sweeps.stochastic_depth_training import paired


def rng(seed=0):
    return np.random.default_rng(seed)


# --- schedules and depth ------------------------------------------------------------------------


def test_schedules():
    assert_close(drop_schedule(4, p=0.4), np.array([0.1, 0.2, 0.3, 0.4]))
    assert_close(drop_schedule(4, p=0.3, rule="from_zero"), np.array([0.0, 0.1, 0.2, 0.3]))
    assert_close(drop_schedule(3, p=0.3, rule="uniform"), np.full(3, 0.3))
    assert_close(drop_schedule(2), np.array([0.25, 0.5]))
    assert_close(drop_schedule(1, p=0.3), np.array([0.3]))
    with pytest.raises(ValueError, match="depth must be a whole number >= 2"):
        drop_schedule(1, rule="from_zero")
    assert len(drop_schedule(2, rule="from_zero")) == 2


@pytest.mark.claim("SD-01")
def test_linear_schedule_is_the_papers_survival_probability():
    last = 0.3  # the paper's p_L, of survival
    survival = [1 - layer / 7 * (1 - last) for layer in range(1, 8)]
    assert_close(1 - drop_schedule(7, p=1 - last), np.array(survival))


@pytest.mark.claim("SD-01")
@pytest.mark.parametrize(("depth", "expected"), [(54, 40.25), (110, 82.25)])
def test_expected_depth_with_half_of_the_last_blocks(depth, expected):
    p = drop_schedule(depth)
    assert expected_depth(p) == expected == (3 * depth - 1) / 4
    for last in (0.1, 0.8):
        exact = depth - last * (depth + 1) / 2
        assert_close(expected_depth(drop_schedule(depth, p=last)), exact)
    runs = rng(1).random((4000, depth)) >= p
    spread = math.sqrt(np.sum(p * (1 - p)))
    assert abs(runs.sum(axis=1).mean() - expected) < 4 * spread / math.sqrt(4000)
    assert_close(compute_saved(p), 1 - expected / depth)


@pytest.mark.claim("SD-01")
def test_a_quarter_of_the_computation_is_saved():
    assert round(compute_saved(drop_schedule(54)), 3) == 0.255
    assert_close(compute_saved([0.1, 0.5], cost=[3.0, 1.0]), 0.2)
    assert_close(compute_saved([0.1, 0.5], cost=[0.0, 1.0]), 0.5)
    assert_close(compute_saved([1.0, 0.0]), 0.5)
    assert_close(compute_saved([0.1, 0.5], cost=[1.5e308, 1.5e308]), 0.3)


def test_distribution_of_the_depth():
    p = drop_schedule(20, p=0.7)
    chances, depth = depth_distribution(p), np.arange(21)
    assert_close(chances.sum(), 1.0)
    assert_close(chances @ depth, expected_depth(p))
    assert_close(chances @ (depth - expected_depth(p)) ** 2, np.sum(p * (1 - p)))
    coins = depth_distribution(np.full(5, 0.25))
    assert_close(coins, np.array([math.comb(5, k) * 0.75**k * 0.25 ** (5 - k) for k in range(6)]))
    assert depth_distribution(p.astype(np.float32)).dtype == np.float32


# --- masks and paths ----------------------------------------------------------------------------


def test_masks_of_rows_and_of_batches():
    rows = np.stack([path_mask(50, p=0.2, rng=rng(i)) for i in range(200)])
    assert abs(rows.mean() - 0.8) < 4 * 0.4 / 100  # 4 standard errors of 10 000 draws
    assert 0 < rows[0].mean() < 1
    batches = np.stack([path_mask(50, p=0.2, rng=rng(i), mode="batch") for i in range(1000)])
    assert np.array_equal(batches.min(axis=1), batches.max(axis=1))
    assert abs(batches[:, 0].mean() - 0.8) < 4 * 0.4 / math.sqrt(1000)
    assert path_mask(3, p=0.0, rng=rng()).all()
    assert path_mask(0, p=0.5, rng=rng()).shape == (0,)
    assert path_mask(0, p=0.5, rng=rng(), mode="batch").shape == (0,)


def test_paths_by_hand():
    x, mask = np.array([[1.0, -2.0], [3.0, 4.0]]), np.array([True, False])
    assert_close(drop_path(x, mask, p=0.2), np.array([[1.25, -2.5], [0.0, 0.0]]))
    assert_close(drop_path(x, mask, p=0.2, scaling="standard"), np.array([[1.0, -2.0], [0.0, 0.0]]))
    assert drop_path_test(x, p=0.2) is x
    assert_close(drop_path_test(x, p=0.2, scaling="standard"), 0.8 * x)
    assert drop_path(np.zeros((0, 3)), np.zeros(0, bool), p=0.5).shape == (0, 3)


@pytest.mark.claim("SD-01")
@pytest.mark.parametrize("scaling", ["inverted", "standard"])
def test_test_time_is_the_mean_of_training(scaling):
    x = rng(2).standard_normal((3, 4))
    p = 0.3
    both = [drop_path(x, np.full(3, kept), p=p, scaling=scaling) for kept in (False, True)]
    mean = p * both[0] + (1 - p) * both[1]
    assert_close(mean, drop_path_test(x, p=p, scaling=scaling))


@pytest.mark.parametrize("scaling", ["inverted", "standard"])
@pytest.mark.parametrize("shape", [(5,), (4, 3), (1, 2), (3, 2, 4), (0, 3)])
def test_gradients(shape, scaling):
    x, mask = rng(3).standard_normal(shape), rng(4).random(shape[0]) < 0.5
    options = {"p": 0.4, "scaling": scaling}
    error = check_grad(lambda x: drop_path(x, mask, **options), x, rng=rng(5))
    assert error < 1e-6  # central differences
    assert check_grad(lambda x: drop_path_test(x, **options), x, rng=rng(5)) < 1e-6
    cotangent = rng(6).standard_normal(shape)
    for function in (
        lambda x: drop_path(x, mask, **options),
        lambda x: drop_path_test(x, **options),
    ):
        _, pullback = vjp(function, x)  # linear, and its matrix is diagonal
        assert_close(pullback(cotangent)[0], function(cotangent))


# --- the stack ----------------------------------------------------------------------------------


def branches(weights):
    return [lambda x, w=w: (x @ w) ** 2 for w in weights]


def test_stack_at_test_time_adds_all_branches():
    x, weights = rng(7).standard_normal((4, 3)), 0.3 * rng(8).standard_normal((3, 3, 3))
    h, scaled = x, x
    p = [0.1, 0.2, 0.5]
    for w, drop in zip(weights, p, strict=True):
        h = h + (h @ w) ** 2
        scaled = scaled + (1 - drop) * (scaled @ w) ** 2
    assert_close(residual_stack(x, branches(weights), p=p), h)
    assert_close(residual_stack(x, branches(weights), p=p, scaling="standard"), scaled)


def test_stack_in_training_draws_one_mask_a_branch():
    x, weights = rng(7).standard_normal((4, 3)), 0.3 * rng(8).standard_normal((3, 3, 3))
    p = [0.5, 0.6, 0.7]
    for mode in ("row", "batch"):
        draws, h = rng(9), x
        for w, drop in zip(weights, p, strict=True):
            mask = path_mask(4, p=drop, rng=draws, mode=mode)
            h = h + mask[:, None] * (h @ w) ** 2
        found = residual_stack(x, branches(weights), p=p, rng=rng(9), mode=mode, scaling="standard")
        assert_close(found, h)
    h, draws = x, rng(9)
    for w, drop in zip(weights, p, strict=True):
        h = h + path_mask(4, p=drop, rng=draws)[:, None] * (h @ w) ** 2 / (1 - drop)
    assert_close(residual_stack(x, branches(weights), p=p, rng=rng(9)), h)


@pytest.mark.claim("SD-01")
def test_time_is_saved_where_a_branch_is_not_called():
    calls = []

    def branch(x):
        calls.append(1)
        return x

    p = drop_schedule(54)
    blocks = [branch] * 54
    x = np.zeros((8, 1))
    for i in range(50):
        residual_stack(x, blocks, p=p, rng=rng(i), mode="batch")
    spread = math.sqrt(np.sum(p * (1 - p)) / 50)
    assert abs(len(calls) / 50 - 40.25) < 4 * spread
    calls.clear()
    residual_stack(x, blocks, p=p, rng=rng(), mode="row")
    assert len(calls) >= 53  # of 8 examples hardly ever all drop the same branch


def test_gradient_of_the_stack():
    x, weights = rng(7).standard_normal((4, 3)), list(0.3 * rng(8).standard_normal((3, 3, 3)))
    for draw in (None, 9):
        for mode in ("row", "batch"):

            def loss(x, *weights, draw=draw, mode=mode):
                masks = None if draw is None else rng(draw)
                return residual_stack(x, branches(weights), p=[0.1, 0.5, 0.5], rng=masks, mode=mode)

            assert check_grad(loss, x, *weights, rng=rng(1)) < 1e-6  # central differences


@pytest.mark.claim("SD-01")
def test_a_dropped_branch_has_no_gradient_and_the_skip_keeps_its_own():
    def loss(params):
        blocks = [lambda x: x @ params["w"]]
        out = residual_stack(params["x"], blocks, p=[0.9], rng=rng(1), mode="batch")
        return (np.ones((1, 2)) @ out @ np.ones((3, 1)))[0, 0]

    assert not path_mask(2, p=0.9, rng=rng(1), mode="batch").any()
    _, grads = value_and_grad(loss)({"w": np.ones((3, 3)), "x": np.ones((2, 3))})
    assert_close(grads["w"], np.zeros((3, 3)))
    assert_close(grads["x"], np.ones((2, 3)))


def test_float32_stays():
    x = np.ones((4, 2), np.float32)
    found = residual_stack(x, [lambda x: x] * 5, p=drop_schedule(5), rng=rng())
    assert found.dtype == np.float32


# --- referees -----------------------------------------------------------------------------------


@pytest.mark.referee
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_jax_agrees(dtype, rtol):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    x, w = (rng(i).standard_normal((5, 5)).astype(dtype) for i in (1, 2))
    mask = path_mask(5, p=0.3, rng=rng(3))

    def ours(x, w):
        return x + drop_path((x @ w) ** 2, mask, p=0.3)

    def theirs(x, w):
        keep = jax.numpy.asarray(mask)[:, None]
        return x + jax.numpy.where(keep, (x @ w) ** 2 / 0.7, 0)

    value, pullback = vjp(ours, x, w)
    expected, their_pullback = jax.vjp(theirs, x, w)
    # atol: sums of numbers of both signs in another order
    assert_close(value, np.asarray(expected), rtol=rtol, atol=rtol)
    for a, b in zip(pullback(value), their_pullback(expected), strict=True):
        assert_close(a, np.asarray(b), rtol=rtol, atol=10 * rtol)


# --- what it gains: the stored sweep -------------------------------------------------------------


@pytest.mark.claim("SD-01")
def test_it_gains_with_wrong_labels_and_hardly_with_right_ones():
    """300 digits; the page's numbers: differences between ten pairs, and 95 % intervals."""
    gain, half = paired("accuracy", n=300, noise=0.3, p=0.8)
    assert gain > 2 * half
    assert gain > 0.05
    clean, _ = paired("accuracy", n=300, noise=0.0, p=0.8)
    assert abs(clean) < gain / 4
    fitted, _ = paired("train_accuracy", n=300, noise=0.3, p=0.8)
    assert fitted < -0.05  # wrong labels are not memorized as closely


@pytest.mark.claim("SD-01")
def test_trained_networks_need_the_scaled_test_pass():
    for p in (0.5, 0.8):
        lost, half = paired("accuracy", n=300, noise=0.3, p=p, other="unscaled")
        assert lost > half > 0
    same, _ = paired("accuracy", n=300, noise=0.3, p=0.0, other="unscaled")
    assert same == 0  # nothing to scale


def test_paired_differences_by_hand(monkeypatch):
    made = {0.0: [0.5, 0.25, 0.75, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 0.5: [0.75] * 10}
    monkeypatch.setattr(study, "stored_run", lambda name, *, p, **cell: {"accuracy": made[p]})
    mean, half = paired("accuracy", n=300, noise=0.3, p=0.5)
    gains = 0.75 - np.array(made[0.0])
    assert_close(mean, gains.mean())
    # 2.262157 is the 97.5 % quantile of Student's t with 9 degrees of freedom; stored as 2.262
    assert half == pytest.approx(2.262157 * gains.std(ddof=1) / math.sqrt(10), rel=1e-4)
