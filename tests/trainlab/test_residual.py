"""`trainlab.residual`: blocks, and what depth does to their signal and gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import residual as R
from trainlab.activations import tanh
from trainlab.differentiation import check_grad, vjp
from trainlab.layers import linear
from trainlab.normalization import layer_norm, rms_norm


def rng(seed=0):
    return np.random.default_rng(seed)


X, W = rng().standard_normal((5, 8)), rng(1).standard_normal((8, 8))


def branch(x):
    return tanh(linear(x, W))


@pytest.mark.claim("RES-01")
def test_blocks_by_their_formulas():
    f = np.tanh(X @ W.T)
    assert_close(R.plain_block(X, branch), f)
    assert_close(R.residual_block(X, branch), X + f)
    assert_close(R.residual_block(X, branch, scale=0.25), X + f / 4)
    assert_close(R.post_norm_block(X, branch), layer_norm(X + f))
    assert_close(R.pre_norm_block(X, branch), X + np.tanh(layer_norm(X) @ W.T))
    assert_close(R.pre_norm_block(X, branch, norm=rms_norm), X + np.tanh(rms_norm(X) @ W.T))
    assert_close(R.post_norm_block(X, branch, norm=rms_norm), rms_norm(X + f))
    np.testing.assert_array_equal(R.rezero_block(X, branch, gain=0.0), X)
    assert_close(R.rezero_block(X, branch, gain=0.5), X + f / 2)


@pytest.mark.parametrize(
    "block", [R.plain_block, R.residual_block, R.pre_norm_block, R.post_norm_block]
)
def test_gradients(block):
    f = lambda x, w: block(x, lambda h: tanh(linear(h, w)))  # noqa: E731
    assert check_grad(f, X, W, rng=rng(2)) < 1e-7
    assert check_grad(f, X[:0], W, rng=rng(2)) < 1e-7
    assert f(X.astype(np.float32), W.astype(np.float32)).dtype == np.float32


def test_at_gain_0_only_the_gain_learns():
    def block(x, w, gain):
        return R.rezero_block(x, lambda h: tanh(linear(h, w)), gain=gain)

    assert check_grad(block, X, W, np.array(0.3), rng=rng(2)) < 1e-7
    dx, dw, dgain = vjp(block, X, W, np.array(0.0))[1](np.ones(X.shape))
    np.testing.assert_array_equal(dx, np.ones(X.shape))  # the identity
    np.testing.assert_array_equal(dw, np.zeros(W.shape))
    assert_close(dgain, np.sum(np.tanh(X @ W.T)))
    assert R.rezero_block(X.astype(np.float32), lambda h: h, gain=0.5).dtype == np.float32


def test_a_profile_by_hand():
    x, c = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 2.0]])
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])  # by 90°
    done = R.stack_profile(linear, [2 * turn, 3 * turn], x=x, cotangent=c)
    assert_close(done.variance, np.array([1.0, 4.0, 36.0]) * 26 / 4)
    assert_close(done.cosine, np.array([1.0, 0.0, -1.0]), atol=1e-15)
    assert_close(done.gradient, np.array([36.0, 9.0, 1.0]) * 5 / 4)
    # d(c · 3 T h)/d(3 T) = cᵀ h with h = 2 T x
    h = x @ (2 * turn).T
    assert_close(done.param_gradient[1], np.linalg.norm(c.T @ h))
    assert_close(done.param_gradient[0], np.linalg.norm((c @ (3 * turn)).T @ x))
    scaled = R.stack_profile(linear, [turn], x=x, cotangent=c, last=lambda y: 5 * y)
    assert_close(scaled.gradient, np.array([25.0, 25.0]) * 5 / 4)
    assert_close(scaled.variance[1], 26 / 4)  # before the last function


def _profiles(kind, depth, seeds=6, **size):
    done = [R.relu_stack_profile(kind, depth, rng=rng(seed), **size) for seed in range(seeds)]
    return R.StackProfile(*(np.mean(parts, axis=0) for parts in zip(*done, strict=True)))


def _log_variance(kind, depth, seeds=6):
    done = [R.relu_stack_profile(kind, depth, rng=rng(s)).variance for s in range(seeds)]
    return np.mean(np.log(done), axis=0)


@pytest.mark.claim("RES-02")
def test_the_input_survives_in_pre_norm_and_not_in_post_norm():
    post, pre = _profiles("post", 12), _profiles("pre", 48, seeds=3)
    layers = np.arange(49)
    # Widths of 256: a cosine of independent rows has the spread 1/16, averaged over 64 rows that
    # share the weights.
    assert_close(post.cosine, 2 ** (-layers[:13] / 2), rtol=0, atol=0.02)
    assert_close(pre.cosine, 1 / np.sqrt(1 + layers), rtol=0, atol=0.03)
    assert pre.cosine[48] > 0.1 > post.cosine[12]


@pytest.mark.claim("RES-03")
def test_growth_of_the_variance():
    layers = np.arange(49)
    growth = _log_variance("residual", 48)
    # 2ˡ, up to the variance of a product of random widths: √(5 l / 256) in the logarithm
    assert np.abs(growth - layers * math.log(2)).max() < 1.0
    assert 1.9 < math.exp(growth[1]) < 2.1
    pre = _profiles("pre", 48, seeds=3).variance
    assert_close(pre, 1 + layers, rtol=0.05)  # sums of 48 independent branches
    post = _profiles("post", 12, seeds=1).variance
    assert_close(post[1:], np.ones(12), rtol=1e-4)  # eps
    assert_close(_profiles("rezero", 12, seeds=1).variance[1:] / post[1], np.ones(12), rtol=0.05)
    # Plain layers keep it, on average.
    assert np.abs(_log_variance("plain", 12)).max() < 0.5


@pytest.mark.claim("RES-04")
def test_the_last_block_has_a_large_gradient_in_post_norm():
    for depth, expected in ((4, 1.58), (16, 2.92), (64, 5.70)):
        last = [
            R.relu_stack_profile(kind, depth, rng=rng(0), width=128).param_gradient[-1]
            for kind in ("post", "pre")
        ]
        assert round(math.sqrt((1 + depth) / 2), 2) == expected
        assert_close(last[0] / last[1], expected, rtol=0.12)  # one draw of width 128
    # Post-LN: the same at any depth.
    ends = [R.relu_stack_profile("post", d, rng=rng(0)).param_gradient[-1] for d in (4, 32)]
    assert_close(ends[0], ends[1], rtol=0.1)


@pytest.mark.claim("RES-05")
def test_a_factor_of_one_over_the_root_of_depth_bounds_the_variance():
    for depth, limit in ((12, 2.61), (48, 2.69)):
        assert round((1 + 1 / depth) ** depth, 2) == limit < math.e
        assert_close(_profiles("scaled", depth).variance[-1], limit, rtol=0.07)  # six draws
    first = _profiles("scaled", 12).variance[1]
    assert_close(first, 1 + 1 / 12, rtol=0.02)


@pytest.mark.claim("RES-02", "RES-03", "RES-04", "RES-05")
@pytest.mark.parametrize("kind", R.KINDS)
def test_theory_of_wide_stacks(kind):
    depth = 12
    theory = R.relu_stack_theory(kind, depth)
    found = _profiles(kind, depth, seeds=8)
    # Width 256: logarithms stray by √(5 l / 256), 0.48 at l = 12, in a bare product; means over 8.
    for name in ("variance", "gradient", "param_gradient"):
        expected, got = getattr(theory, name), getattr(found, name)
        if kind == "rezero" and name == "param_gradient":
            np.testing.assert_array_equal(expected, np.zeros(depth))
            np.testing.assert_array_equal(got, np.zeros(depth))
        else:
            assert_close(got, expected, rtol=0.35 if kind in ("plain", "residual") else 0.1)
    assert_close(found.cosine, theory.cosine, rtol=0, atol=0.04)
    post, pre = (R.relu_stack_theory(k, 64).param_gradient[-1] for k in ("post", "pre"))
    assert_close(post / pre, math.sqrt(65 / 2))


@pytest.mark.claim("RES-06")
def test_plain_networks_degrade_in_training_and_residual_ones_do_not():
    """From the stored runs, which tests/trainlab/test_sweeps.py makes again by sample."""
    from trainlab.sweeps import stored_run
    from trainlab.sweeps.residual_depth import DEPTHS, SMALL_RATE, best_run

    loss = {
        kind: [np.mean(best_run(kind, depth)["train_loss"]) for depth in DEPTHS]
        for kind in ("plain", "scaled", "pre", "post")
    }
    assert DEPTHS == (4, 8, 16, 32, 64)
    # Means over three seeds, the best of three learning rates.
    assert [float(f"{loss['plain'][i]:.2g}") for i in (0, 2, 4)] == [0.0083, 0.60, 1.8]
    for kind in ("scaled", "pre"):
        assert max(loss[kind]) < 0.03
    assert loss["post"][-1] > 1.5
    # A smaller rate does not help the two that fail.
    for kind in ("plain", "post"):
        small = stored_run("residual_depth", kind=kind, depth=64, lr=SMALL_RATE, warmup=0)
        assert np.mean(small["train_loss"]) > 1.5
    # No overfitting: the training digits are as wrong as the others.
    deep = best_run("plain", 64)
    assert np.mean(deep["train_accuracy"]) < 0.5
    assert abs(np.mean(deep["train_accuracy"]) - np.mean(deep["accuracy"])) < 0.1
