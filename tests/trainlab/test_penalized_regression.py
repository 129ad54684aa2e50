"""Paths of ridge and lasso, and the proximal gradient method."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import penalized_regression as R
from trainlab.weight_penalties import elastic_net_shrink, soft_threshold


def rng(seed=0):
    return np.random.default_rng(seed)


def problem(seed=0, n=40, p=6, relevant=3, noise=0.3):
    source = rng(seed)
    x = source.standard_normal((n, p))
    w = np.where(np.arange(p) < relevant, source.standard_normal(p) + 1, 0)
    return x, x @ w + noise * source.standard_normal(n)


def test_ridge_solves_the_normal_equations():
    x, y = problem()
    path = R.ridge_path(x, y, l2=[0.0, 0.1, 3.0])
    for w, l2 in zip(path, (0.0, 0.1, 3.0), strict=True):
        assert_close((x.T @ x / 40 + l2 * np.eye(6)) @ w, x.T @ y / 40)
    assert (path != 0).all()


def test_ridge_without_a_penalty_is_the_shortest_solution():
    x, y = problem(1, n=4, p=9)
    assert_close(R.ridge_path(x, y, l2=[0.0])[0], np.linalg.pinv(x) @ y)
    doubled = np.concatenate([x, x], axis=1)  # rank 4 of 18
    assert_close(R.ridge_path(doubled, y, l2=[0.0])[0], np.linalg.pinv(doubled) @ y)
    assert not R.ridge_path(np.zeros((3, 2)), np.ones(3), l2=[0.0, 1.0]).any()


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_orthonormal_features_are_one_soft_threshold(l2):
    q = np.linalg.qr(rng(2).standard_normal((12, 5)))[0] * np.sqrt(12)  # xᵀx / n = 1
    y = rng(3).standard_normal(12)
    strengths = np.array([0.05, 0.2, 0.5])
    path = R.lasso_path(q, y, l1=strengths, l2=l2)
    for w, l1 in zip(path, strengths, strict=True):
        # atol: numbers of size 0.1, computed by other sums
        assert_close(w, elastic_net_shrink(q.T @ y / 12, l1=l1, l2=l2), atol=1e-12)


def test_duplicated_features_share_in_the_elastic_net_only():
    source = rng(4)
    x = source.standard_normal((50, 1))
    y = x[:, 0] + 0.1 * source.standard_normal(50)
    twice = np.concatenate([x, x], axis=1)
    lasso = R.lasso_path(twice, y, l1=[0.1])[0]
    elastic = R.lasso_path(twice, y, l1=[0.1], l2=0.5)[0]
    assert lasso[0] > 0.5
    assert lasso[1] == 0
    assert_close(elastic[0], elastic[1], rtol=1e-6)  # tol of the path


@pytest.mark.referee
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_scikit_learn_has_the_same_paths(ratio):
    datasets = pytest.importorskip("sklearn.datasets")
    linear = pytest.importorskip("sklearn.linear_model")
    data = datasets.load_diabetes()
    x = data.data - data.data.mean(axis=0)
    x /= x.std(axis=0)
    y = (data.target - data.target.mean()) / data.target.std()
    strengths = R.lasso_strengths(x, y, count=12)
    mine = R.lasso_path(x, y, l1=strengths * ratio, l2=0.0 if ratio == 1 else 0.01)
    for w, l1 in list(zip(mine, strengths * ratio, strict=True))[::4]:
        alpha = l1 + (0.0 if ratio == 1 else 0.01)
        model = linear.ElasticNet(
            alpha=alpha, l1_ratio=l1 / alpha, tol=1e-12, max_iter=100_000, fit_intercept=False
        ).fit(x, y)
        assert_close(w, model.coef_, rtol=1e-6, atol=1e-7)  # two stopping rules
    if ratio == 1:
        assert not mine[0].any()
        assert np.count_nonzero(mine[1]) > 0
        assert np.count_nonzero(mine[-1]) == 10
    model = linear.Ridge(alpha=len(x) * 0.1, fit_intercept=False).fit(x, y)
    assert_close(R.ridge_path(x, y, l2=[0.1])[0], model.coef_)


def test_first_strength_is_where_the_first_weight_appears():
    x, y = problem(5)
    strengths = R.lasso_strengths(x, y)
    assert len(strengths) == 60
    assert_close(strengths[-1] / strengths[0], 1e-3)
    assert_close(strengths[1:] / strengths[:-1], np.full(59, 1e-3 ** (1 / 59)))
    path = R.lasso_path(x, y, l1=[strengths[0] * (1 + 1e-9), strengths[0] * 0.99])
    assert not path[0].any()
    assert np.count_nonzero(path[1]) == 1


def test_optimality_conditions_hold_to_the_tolerance():
    x, y = problem(6, n=30, p=10)
    top = np.abs(x.T @ y).max() / 30
    for tol in (1e-3, 1e-8):
        strengths = R.lasso_strengths(x, y, count=7)
        path = R.lasso_path(x, y, l1=strengths, tol=tol)
        for w, l1 in zip(path, strengths, strict=True):
            gradient = x.T @ (x @ w - y) / 30
            active = w != 0
            assert np.abs(gradient + l1 * np.sign(w))[active].max(initial=0) <= tol * top * 1.01
            assert np.abs(gradient)[~active].max(initial=0) <= l1 + tol * top * 1.01
    assert np.array_equal(R.lasso_path(x, y, l1=strengths), path)  # the default is 1e-8
    with pytest.raises(ValueError, match=r"lasso_path: max_sweeps must be enough .* got 2, where"):
        R.lasso_path(x, y, l1=[0.01], max_sweeps=2)


def test_float32_is_kept_and_as_good():
    x, y = problem(7)
    narrow = R.lasso_path(x.astype(np.float32), y.astype(np.float32), l1=[0.1])
    assert narrow.dtype == np.float32
    assert_close(narrow, R.lasso_path(x, y, l1=[0.1]), rtol=1e-4, atol=1e-6)  # rounded data
    assert R.ridge_path(x.astype(np.float32), y, l2=[0.1]).dtype == np.float32


@pytest.mark.parametrize("accelerated", [False, True])
def test_proximal_gradient_finds_the_lasso_solution(accelerated):
    x, y = problem(8)
    lr = 1 / np.linalg.eigvalsh(x.T @ x / 40).max()
    w = R.proximal_gradient(
        lambda w: x.T @ (x @ w - y) / 40,
        np.zeros(6),
        prox=lambda v, lr: soft_threshold(v, lr * 0.2),
        lr=lr,
        steps=400,
        accelerated=accelerated,
    )
    # atol: the lasso path's own tolerance
    assert_close(w, R.lasso_path(x, y, l1=[0.2])[0], rtol=1e-6, atol=1e-7)


def test_acceleration_pays_where_curvatures_differ():
    curvature = np.array([1.0, 1e-3])

    def loss(steps, accelerated):
        w = R.proximal_gradient(
            lambda w: curvature * w,
            np.ones(2),
            prox=lambda v, lr: v,
            lr=1.0,
            steps=steps,
            accelerated=accelerated,
        )
        return float(curvature @ np.square(w)) / 2

    assert_close(loss(100, False), 0.5e-3 * 0.999**200)
    assert loss(100, True) < 0.05 * loss(100, False)
    plain = R.proximal_gradient(
        lambda w: curvature * w, np.ones(2), prox=lambda v, lr: v, lr=1.0, steps=100
    )
    assert float(curvature @ np.square(plain)) / 2 == loss(100, False)  # the default
    assert loss(0, False) == loss(0, True) == float(curvature.sum()) / 2
    # By hand: t = 1, 1.618, 2.194; the first two steps are plain, then w is carried on.
    w1, w2 = 0.999, 0.999**2
    ahead = w2 + (1.618033988749895 - 1) / 2.193527085331054 * (w2 - w1)
    assert_close(2e3 * loss(3, True), (0.999 * ahead) ** 2)


@pytest.mark.claim("WD-14")
def test_only_proximal_steps_reach_exact_zeros():
    """16 of 20 features are irrelevant; lr·λ = 0.01."""
    source = rng(9)
    x = source.standard_normal((200, 20))
    y = x[:, :4] @ np.array([1.0, -2.0, 1.5, 0.5]) + 0.3 * source.standard_normal(200)
    lr, strength = 0.05, 0.2

    def gradient(w):
        return x.T @ (x @ w - y) / 200

    sparse = R.proximal_gradient(
        gradient,
        np.zeros(20) + 0.1,
        prox=lambda v, lr: soft_threshold(v, lr * strength),
        lr=lr,
        steps=2000,
    )
    assert np.flatnonzero(sparse).tolist() == [0, 1, 2, 3]
    w = np.full(20, 0.1)
    for _ in range(2000):
        w = w - lr * (gradient(w) + strength * np.sign(w))
    assert np.count_nonzero(w) == 20
    assert 1e-4 < np.abs(w[4:]).max() < 1.1 * lr * strength  # it hops over 0
    assert np.count_nonzero(R.ridge_path(x, y, l2=[strength])) == 20
