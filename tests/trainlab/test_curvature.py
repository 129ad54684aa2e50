"""Curvature: the sharpest direction, and the learning rate that it allows."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import curvature as C
from trainlab.activations import tanh
from trainlab.mlp import mlp, mlp_init
from trainlab.optimizers import sgd_init, sgd_update
from trainlab.regression import mse_loss
from trainlab.sweeps import stored, stored_run
from trainlab.trees import tree_leaves, tree_map, tree_unflatten

# Differences of gradients over 1e-4: the error is of order 1e-8, and rounding of 1e-16 / 1e-4.
DIFFERENCE = 1e-6


def rng(seed=0):
    return np.random.default_rng(seed)


def network():
    r = rng(1)
    x, y = r.standard_normal((7, 3)), r.standard_normal((7, 2))
    return mlp_init((3, 4, 2), rng=r), lambda p: mse_loss(mlp(p, x, activation=tanh), y), x, y


def hessian(params, loss):
    """Column by column, from products with the unit vectors."""
    leaves = tree_leaves(params)
    sizes = [leaf.size for leaf in leaves]
    columns = []
    for unit in np.eye(sum(sizes)):
        parts = np.split(unit, np.cumsum(sizes)[:-1])
        shaped = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        direction = tree_unflatten(params, shaped)
        product = C.hessian_vector_product(loss, params, direction=direction)
        columns.append(np.concatenate([leaf.ravel() for leaf in tree_leaves(product)]))
    return np.stack(columns, axis=1)


def test_product_by_hand():
    # w0² w1 + w1³: second derivatives 2 w1, 2 w0, 6 w1.
    loss = lambda w: w[0] * w[0] * w[1] + w[1] * w[1] * w[1]  # noqa: E731
    w = np.array([3.0, 5.0])
    for direction, expected in (([1, 0], [10, 6]), ([0, 1], [6, 30]), ([-2, 3], [-2, 78])):
        found = C.hessian_vector_product(loss, w, direction=np.array(direction, float))
        assert_close(found, np.array(expected, float), rtol=DIFFERENCE)


def test_product_with_zero_is_zero():
    params, loss, *_ = network()
    found = C.hessian_vector_product(loss, params, direction=tree_map(np.zeros_like, params))
    assert not any(np.any(leaf) for leaf in tree_leaves(found))


def test_length_of_the_direction_multiplies_the_product_only():
    params, loss, *_ = network()
    along = tree_map(lambda w: rng(2).standard_normal(w.shape), params)
    once = C.hessian_vector_product(loss, params, direction=along)
    far = C.hessian_vector_product(loss, params, direction=tree_map(lambda d: 1e6 * d, along))
    for a, b in zip(tree_leaves(once), tree_leaves(far), strict=True):
        assert_close(b, 1e6 * a, rtol=DIFFERENCE, atol=1e-3)  # atol: 1e-9 before the factor


@pytest.mark.referee
def test_hessian_of_a_network_as_in_jax():
    import jax

    jax.config.update("jax_enable_x64", True)
    params, loss, x, y = network()
    leaves = tree_leaves(params)
    cuts = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def theirs(flat):
        parts = jax.numpy.split(flat, cuts)
        parts = [p.reshape(leaf.shape) for p, leaf in zip(parts, leaves, strict=True)]
        tree = tree_unflatten(params, parts)
        h = jax.numpy.tanh(x @ tree[0]["weight"].T + tree[0]["bias"])
        return jax.numpy.mean((h @ tree[1]["weight"].T + tree[1]["bias"] - y) ** 2)

    flat = np.concatenate([leaf.ravel() for leaf in leaves])
    expected = np.asarray(jax.jit(jax.hessian(theirs))(flat))
    # Elements that are 0 come out as what rounding leaves of the difference.
    assert_close(hessian(params, loss), expected, rtol=DIFFERENCE, atol=1e-8)


def test_sharpness_is_the_largest_eigenvalue():
    params, loss, *_ = network()
    full = hessian(params, loss)
    values, vectors = np.linalg.eigh((full + full.T) / 2)
    start = tree_map(lambda w: rng(3).standard_normal(w.shape), params)
    found = C.sharpness(loss, params, direction=start, iterations=200)
    assert_close(found.value, values[-1], rtol=DIFFERENCE)
    along = np.concatenate([leaf.ravel() for leaf in tree_leaves(found.direction)])
    assert_close(np.linalg.norm(along), 1.0)
    assert abs(along @ vectors[:, -1]) > 1 - 1e-6
    again = C.sharpness(loss, params, direction=found.direction, iterations=1)
    assert_close(again.value, found.value, rtol=DIFFERENCE)


def test_sharpness_refuses_a_direction_that_is_lost():
    with pytest.raises(ValueError, match="sharpness: direction must not be one that the Hessian"):
        C.sharpness(lambda w: w[0] * w[0], np.ones(2), direction=np.array([0.0, 1.0]))


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.5, True)])
def test_the_limit_separates_convergence_from_divergence(momentum, nesterov):
    limit = C.largest_stable_lr(10.0, momentum=momentum, nesterov=nesterov)
    ends = []
    for lr in (0.99 * limit, 1.01 * limit):
        w, state = np.ones(1), sgd_init(np.ones(1))
        for _ in range(1500):
            updates, state = sgd_update(
                10 * w, state, w, lr=lr, momentum=momentum, nesterov=nesterov
            )
            w = w + updates
        ends.append(abs(w[0]))
    assert ends[0] < 1e-3 < 1e3 < ends[1]


def test_limits_by_hand_and_of_arrays():
    assert_close(C.largest_stable_lr(100.0), 0.02)
    assert_close(C.largest_stable_lr(100.0, momentum=0.9), 0.038)
    assert_close(C.largest_stable_lr(1.0, momentum=0.5, nesterov=True), 1.5)
    assert_close(C.largest_stable_lr([1.0, 4.0]), np.array([2.0, 0.5]))
    with pytest.raises(ValueError, match=r"curvature must be > 0; got 0\.0"):
        C.largest_stable_lr([1.0, 0.0])


# --- what the stored runs say --------------------------------------------------------------------


def late_ratio(run):
    late = run["sharpness"][len(run["sharpness"]) * 3 // 4 :]
    return np.median(late) / C.largest_stable_lr(run["lr"], momentum=run["momentum"])


def test_sharpness_of_a_network_rises_or_falls_to_the_limit_and_stays():
    for run in stored("edge_of_stability"):
        if run["objective"] == "squares" and run["momentum"] == 0 and run["lr"] >= 0.5:
            assert 0.98 < late_ratio(run) < 1.04
            assert run["rising"] > 0.4
            assert run["end_loss"] < run["losses"][40] < run["losses"][0]
        else:
            assert late_ratio(run) < 1.05
    above = stored_run("edge_of_stability", objective="squares", lr=1.0, momentum=0.0)
    below = stored_run("edge_of_stability", objective="squares", lr=0.5, momentum=0.0)
    assert above["sharpness"][0] > 1.7 * 2 / 1.0
    assert below["sharpness"][0] < 0.9 * 2 / 0.5
    heavy = stored_run("edge_of_stability", objective="squares", lr=0.6, momentum=0.5)
    assert late_ratio(heavy) > 0.97


def test_cross_entropy_does_not_go_to_the_edge():
    for run in stored("edge_of_stability"):
        if run["objective"] == "cross-entropy":
            assert run["sharpness"][-1] < 0.25 * run["sharpness"][0]
            assert late_ratio(run) < 0.1
