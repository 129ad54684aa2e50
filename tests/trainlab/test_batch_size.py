"""Gradient noise, critical batch size, and how the learning rate scales."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import adaptive_optimizers as A
from trainlab import batch_size as B
from trainlab import learning_rate as L


def rng(seed=0):
    return np.random.default_rng(seed)


def gradients(count, seed=0):
    """True gradient (3, 4), |G|² = 25; variances 1 and 9, tr Σ = 10; noise scale 0.4."""
    return np.array([3.0, 4.0]) + rng(seed).standard_normal((count, 2)) * np.array([1.0, 3.0])


def test_noise_scale_estimates_are_unbiased():
    found = np.array([B.noise_scale(gradients(4, seed))[:2] for seed in range(8000)])
    # Standard errors over 8000 draws: about 0.08 and 0.2.
    assert_close(found.mean(axis=0), [10.0, 25.0], rtol=0.02)


def test_noise_scale_of_many_examples_and_of_any_shape():
    many = gradients(400_000)
    assert_close(B.noise_scale(many).scale, 0.4, rtol=0.02)  # statistical
    assert B.noise_scale(many.reshape(-1, 1, 2)) == B.noise_scale(many)
    assert B.noise_scale(gradients(10).astype(np.float32)).scale > 0


def test_noise_scale_where_the_gradient_drowns():
    assert B.noise_scale([[1.0], [-1.0]]) == (2.0, -1.0, math.inf)
    assert B.noise_scale([[2.0], [2.0]]) == (0.0, 4.0, 0.0)


def test_two_batch_sizes_give_the_same_as_single_examples():
    """Batches of 1 and of all: the same estimators, exactly."""
    g = gradients(6)
    single = np.sum(g**2, axis=1)
    all_of_them = np.full(6, np.sum(g.mean(axis=0) ** 2))
    pair = B.noise_scale_from_norms(single, all_of_them, small=1, big=6)
    assert_close(pair, B.noise_scale(g))
    few = np.mean([np.sum(gradients(3, s).mean(axis=0) ** 2) for s in range(8000)])
    more = np.mean([np.sum(gradients(12, s).mean(axis=0) ** 2) for s in range(8000)])
    # E|G_B|² = 25 + 10/B; standard errors of trace and norm are about 1 %.
    assert_close(B.noise_scale_from_norms(few, more, small=3, big=12)[:2], [10, 25], rtol=0.1)


@pytest.mark.claim("CURVE-07")
def test_the_variance_of_a_gradient_falls_like_one_over_the_batch():
    g = gradients(512 * 400).reshape(-1, 512, 2)
    for size in (1, 8, 64, 512):
        means = g.reshape(-1, size, 2).mean(axis=1)
        assert_close(means.var(axis=0).sum() * size, 10.0, rtol=0.15)  # 400 batches at least


@pytest.mark.claim("HP-02")
def test_at_the_noise_scale_steps_and_examples_are_twice_the_least():
    steps, examples = B.steps_and_examples(100.0, noise_scale=100.0, min_steps=50.0)
    assert (steps, examples) == (2 * 50, 2 * 100 * 50)
    sizes = np.geomspace(1, 1e5, 11)
    steps, examples = B.steps_and_examples(sizes, noise_scale=100.0, min_steps=50.0)
    assert_close((steps / 50 - 1) * (examples / 5000 - 1), np.ones(11))
    assert_close(steps * B.best_lr(sizes, noise_scale=100.0, max_lr=0.5), np.full(11, 25.0))
    assert_close(B.best_lr(100.0, noise_scale=100.0, max_lr=0.5), np.asarray(0.25))


def test_scaling_rules():
    assert B.scaled_lr(0.1, batch_size=64, base=16) == 0.4
    assert_close(B.scaled_lr(0.1, batch_size=64, base=16, rule="sqrt"), 0.2)
    assert_close(B.scaled_lr(0.1, batch_size=4, base=16), 0.025)


# --- the noisy quadratic -------------------------------------------------------------------------


def test_noisy_quadratic_is_the_mean_of_runs():
    h, c = np.array([1.0, 4.0]), np.array([0.5, 2.0])
    for momentum in (0.0, 0.8):
        r, w, trace, losses = rng(), np.ones((2, 20_000)), np.zeros((2, 20_000)), []
        for _ in range(12):
            losses.append(np.mean(h @ w**2) / 2)
            noise = np.sqrt(c / 4)[:, None] * r.standard_normal(w.shape)
            trace = momentum * trace + h[:, None] * w + noise
            w = w - 0.1 * trace
        exact = B.noisy_quadratic(
            0.1, curvature=h, noise=c, steps=11, batch_size=4, momentum=momentum
        )
        assert_close(exact, losses, rtol=0.04)  # 20 000 runs


def test_noisy_quadratic_without_noise_is_gradient_descent():
    losses = B.noisy_quadratic(0.3, curvature=[2.0], noise=0.0, steps=5, start=3.0)
    assert_close(losses, 9 * (1 - 0.6) ** (2 * np.arange(6)))
    rates = np.array([0.1, 0.2, 0.3])
    scheduled = B.noisy_quadratic(rates, curvature=[2.0], noise=0.0)
    assert_close(scheduled, np.concatenate([[1], np.cumprod((1 - 2 * rates) ** 2)]))
    assert len(B.noisy_quadratic(rates, curvature=[2.0], noise=0.0, steps=3)) == 4
    with pytest.raises(ValueError, match="noisy_quadratic: lr must be 2 rates"):
        B.noisy_quadratic(rates, curvature=[2.0], noise=0.0, steps=2)


def floor(lr, **options):
    return B.noisy_quadratic(lr, curvature=[2.0], noise=0.5, steps=4000, **options)[-1]


def test_noise_floor_is_its_closed_form():
    for lr in (0.01, 0.1, 0.6):
        assert_close(floor(lr), 0.5 * 2 * lr * 0.5 / (2 * (2 - 2 * lr)))
        # Linear scaling keeps the floor, to first order; momentum is a larger learning rate.
    assert_close(floor(0.04, batch_size=4), floor(0.01), rtol=0.04)
    assert_close(floor(0.001, momentum=0.9), floor(0.01), rtol=0.02)


@pytest.mark.claim("HP-02")
def test_linear_scaling_holds_for_descent_and_root_scaling_for_adam():
    """Four times the batch, as many examples: the same expected loss on the way."""
    small = B.noisy_quadratic(0.002, curvature=[1.0], noise=100.0, steps=800)
    linear = B.noisy_quadratic(0.008, curvature=[1.0], noise=100.0, steps=200, batch_size=4)
    root = B.noisy_quadratic(0.004, curvature=[1.0], noise=100.0, steps=200, batch_size=4)
    assert_close(linear, small[::4], rtol=0.02)  # to first order in the learning rate
    assert abs(root[-1] / small[-1] - 1) > 0.3

    def adam(lr, size, steps):
        r, w, memory = rng(1), np.full(4000, 1.0), 4 / size / 4
        state = A.adam_init(w)
        for _ in range(steps):
            grads = w + 10 / math.sqrt(size) * r.standard_normal(4000)
            updates, state = A.adam_update(
                grads, state, w, lr=lr, b1=0.0, b2=0.99 ** (1 / memory), donate=True
            )
            w = w + updates
        return np.mean(w**2)

    base = adam(0.02, 1, 800)
    assert_close(adam(0.04, 4, 200), base, rtol=0.1)  # 4000 runs, noise 5 times the signal
    assert abs(adam(0.08, 4, 200) / base - 1) > 0.3


def test_best_schedules_on_a_noisy_quadratic():
    """Curvature 0.01 … 1, noise equal to it, 1000 steps, the best learning rate for each."""
    h, s = np.geomspace(1e-2, 1, 100), np.arange(1000)
    shapes = {
        "constant": L.constant(s, lr=1.0),
        "linear": L.linear(s, lr=1.0, steps=1000),
        "cosine": L.cosine(s, lr=1.0, steps=1000),
        "exponential": L.exponential(s, lr=1.0, gamma=0.01 ** (1 / 1000)),
    }
    best = {
        name: min(
            B.noisy_quadratic(lr * shape, curvature=h, noise=h)[-1]
            for lr in np.geomspace(0.0311, 0.43, 10)
        )
        for name, shape in shapes.items()
    }
    known = {"constant": 0.263, "linear": 0.121, "cosine": 0.115, "exponential": 0.088}
    assert best.keys() == known.keys()
    assert_close([best[name] for name in known], list(known.values()), rtol=0.02)  # a coarse grid


def test_a_scaled_learning_rate_beyond_the_range_is_refused():
    with pytest.raises(ValueError, match="scaled_lr: lr for batch_size must be a finite"):
        B.scaled_lr(1e308, batch_size=2, base=1)
