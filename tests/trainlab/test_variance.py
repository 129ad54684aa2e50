"""`trainlab.variance`: sample moments, two inputs, dead units, finite width."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import signal_propagation as S
from trainlab import variance as V
from trainlab.activations import ACTIVATIONS, relu
from trainlab.initialization import kaiming_normal


def rng(seed=0):
    return np.random.default_rng(seed)


# --- moments -----------------------------------------------------------------------------------


def test_moments_by_hand():
    x = np.array([[1.0, 2.0], [3.0, 6.0]])
    whole = V.moments(x)
    assert_close(np.array(whole), np.array([3.0, 3.5, 12.5]))
    rows = V.moments(x, axis=1, correction=1)
    assert_close(rows.mean, np.array([1.5, 4.5]))
    assert_close(rows.variance, np.array([0.5, 4.5]))
    assert_close(rows.second_moment, np.array([2.5, 22.5]))
    assert_close(V.moments(x, axis=(0, -1)).variance, np.array(3.5))
    assert V.moments(x.astype(np.float32), axis=0).variance.dtype == np.float32


def test_moments_are_numpys():
    x = 3 + rng().standard_normal((4, 5, 6))
    for axis in (None, 0, (1, 2)):
        found = V.moments(x, axis=axis, correction=1)
        assert_close(found.mean, np.mean(x, axis=axis))
        assert_close(found.variance, np.var(x, axis=axis, ddof=1))
        biased = V.moments(x, axis=axis)
        assert_close(biased.second_moment, biased.mean**2 + biased.variance)


def test_variance_survives_a_large_mean():
    x = (1e4 + rng().standard_normal(10_000)).astype(np.float32)
    exact = np.var(x.astype(np.float64))
    # float32 numbers near 1e4 are 1e-3 apart: enough for the deviations, not for their squares.
    assert_close(V.moments(x).variance, np.float32(exact), rtol=1e-4)
    naive = V.moments(x).second_moment - V.moments(x).mean ** 2
    assert abs(naive - exact) > 1


@pytest.mark.claim("INIT-22")
def test_the_biased_variance_is_too_small_on_average():
    x = rng().standard_normal((32, 200_000))
    for n, expected in ((2, 0.5), (4, 0.75), (8, 0.875), (32, 0.96875)):
        biased = V.moments(x[:n], axis=0).variance.mean()
        unbiased = V.moments(x[:n], axis=0, correction=1).variance.mean()
        # The mean of 200,000 variances has a standard deviation below 0.0032.
        assert_close(biased, expected, rtol=0, atol=0.01)
        assert_close(unbiased, 1.0, rtol=0, atol=0.015)


@pytest.mark.claim("INIT-05")
def test_he_keeps_the_second_moment_and_not_the_variance():
    z = math.sqrt(2) * rng().standard_normal(1_000_000)  # He: fan_in · Var(W) = 2
    found = V.moments(relu(z))
    assert_close(found.second_moment, 1.0, rtol=0.01)  # a million draws
    assert_close(found.variance, 1 - 1 / math.pi, rtol=0.01)
    assert_close(found.mean, 1 / math.sqrt(math.pi), rtol=0.01)


# --- two inputs --------------------------------------------------------------------------------


def test_relu_has_the_arc_cosine_map():
    c = np.array([-1.0, -0.5, 0.0, 0.5, 0.9, 0.9999, 1.0])
    a = np.arccos(c)
    for q in (1e-3, 1.0, 100.0):
        found = V.correlation_map(c, q=q, activation="relu", weight_variance=1.7)
        assert_close(found, (np.sin(a) + (np.pi - a) * c) / np.pi, atol=1e-12)  # 0 at c = -1
    # (1.7 q · arc cosine / 2 + 0.3) / (1.7 q / 2 + 0.3) at q = 1, c = 0
    biased = V.correlation_map(
        0.0, q=1.0, activation="relu", weight_variance=1.7, bias_variance=0.3
    )
    assert_close(biased, (0.85 / np.pi + 0.3) / 1.15)


def test_a_linear_layer_keeps_the_correlation():
    c = np.array([-0.7, 0.0, 0.3, 1.0])
    found = V.correlation_map(c, q=2.0, activation="identity", weight_variance=1.0)
    assert_close(found, c, atol=1e-14)  # zero


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_correlation_map_against_random_numbers(activation):
    u, other = rng().standard_normal((2, 400_000))
    v = 0.6 * u + 0.8 * other
    function = ACTIVATIONS[activation].function
    a, b = function(math.sqrt(1.5) * u), function(math.sqrt(1.5) * v)
    expected = (2 * np.mean(a * b) + 0.1) / (2 * np.mean(a * a) + 0.1)
    found = V.correlation_map(
        0.6, q=1.5, activation=activation, weight_variance=2.0, bias_variance=0.1
    )
    assert_close(found, expected, rtol=0.01)  # 400,000 draws


@pytest.mark.claim("INIT-09")
@pytest.mark.parametrize(("activation", "weight_variance"), [("tanh", 25 / 9), ("selu", 1.0)])
def test_the_slope_at_1_is_the_gradient_factor(activation, weight_variance):
    setting = {"activation": activation, "weight_variance": weight_variance}
    q = S.fixed_point(**setting)
    step = 1e-4
    near = V.correlation_map(1 - step, q=q, **setting)
    chi = S.gradient_factor(q, **setting)
    assert_close((1 - near) / step, chi, rtol=2e-3)  # a one-sided difference
    if activation == "tanh":
        assert_close(chi, 1.21, rtol=5e-3)  # the ledger's digits
        ends = S.mean_field(50, **setting, input_moment=q / weight_variance)
        assert_close(ends.forward[-1], 0.4243, rtol=5e-4)


def test_two_inputs_on_either_side_of_the_edge():
    setting = {"activation": "tanh", "bias_variance": 0.05}
    edge = S.critical_variance(low=0.5, high=4.0, **setting)
    assert_close(edge, 1.761, rtol=5e-4)  # found by bisection to four digits
    for cosine in (0.0, 0.5, 0.99):
        ordered = V.correlation_by_layer(300, weight_variance=1.2, cosine=cosine, **setting)
        chaotic = V.correlation_by_layer(300, weight_variance=3.0, cosine=cosine, **setting)
        assert_close(ordered[-1], 1.0, rtol=1e-5)  # approached exponentially
        q = S.fixed_point(weight_variance=3.0, **setting)  # one limit for all
        stays = V.correlation_map(chaotic[-1], q=q, weight_variance=3.0, **setting)
        assert_close(chaotic[-1], stays)
        assert_close(chaotic[-1], 0.2993, rtol=1e-4)
    first = V.correlation_by_layer(1, weight_variance=1.5, cosine=0.2, **setting)
    assert_close(first, np.array([0.2, (0.3 + 0.05) / 1.55]))


def test_two_inputs_in_a_real_network():
    weights = [kaiming_normal((400, 400), rng=rng(i)) for i in range(10)]
    one, other = rng(99).standard_normal((2, 16, 400))
    pair, found = [one, 0.5 * one + math.sqrt(0.75) * other], []
    for weight in weights:
        z = [h @ weight.T for h in pair]
        found.append(np.mean(np.sum(z[0] * z[1], 1) / np.prod(np.linalg.norm(z, axis=2), 0)))
        pair = [relu(a) for a in z]
    theory = V.correlation_by_layer(10, activation="relu", weight_variance=2.0, cosine=0.5)
    assert_close(np.array(found), theory[1:], rtol=0, atol=0.05)  # width 400


# --- dead units --------------------------------------------------------------------------------


def test_dead_share_in_closed_form():
    assert_close(V.dead_share(np.array([0.0, 1.0]), batch_size=10), np.array([2.0**-10, 0.5]))
    assert_close(V.dead_share(0.3, batch_size=1), np.array(0.5))
    # Two inputs: an orthant, 1/4 + arcsin(c) / 2π. B of them at c = 1/2: 1 / (B + 1).
    assert_close(V.dead_share(0.7, batch_size=2), np.array(0.25 + math.asin(0.7) / (2 * math.pi)))
    assert_close(V.dead_share(0.5, batch_size=64), np.array(1 / 65))


def test_dead_units_appear_with_depth():
    dead = np.zeros((6, 50))
    for network in range(6):
        source = rng(network)
        h = source.standard_normal((64, 256))
        for layer in range(50):
            h = relu(h @ kaiming_normal((256, 256), rng=source).T)
            dead[network, layer] = np.mean((h == 0).all(axis=0))
    c = V.correlation_by_layer(50, activation="relu", weight_variance=2.0, cosine=0.0)
    theory = V.dead_share(c, batch_size=64)[1:]
    layers = np.array([1, 5, 10, 20, 50]) - 1
    # Six networks of width 256; the theory takes all pairs of inputs for equally correlated.
    assert_close(dead.mean(axis=0)[layers], theory[layers], rtol=0, atol=0.05)
    assert dead[:, 0].max() == 0.0
    assert theory[49] > 0.39


# --- finite width ------------------------------------------------------------------------------


def test_relu_is_a_random_walk():
    std = V.log_moment_std(50, width=250, activation="relu", weight_variance=2.0)
    assert_close(std, np.sqrt(5 * np.arange(51) / 250))
    # One layer, by hand: identity has κ = E[z⁴] − 1 = 2.
    linear = V.log_moment_std(1, width=8, activation="identity", weight_variance=3.0)
    assert_close(linear, np.array([0.0, 0.5]))


@pytest.mark.claim("INIT-05")
@pytest.mark.parametrize("width", [64, 256])
def test_relu_with_he_strays_by_the_root_of_depth_over_width(width):
    walks = V.random_walks(
        50, width=width, networks=1000, activation="relu", weight_variance=2.0, rng=rng()
    )
    std = V.log_moment_std(50, width=width, activation="relu", weight_variance=2.0)
    ends = np.log(walks[:, [10, 50]])
    # 1000 networks: ± 2 % in a standard deviation; leading order in 1/width: 2 % more.
    assert_close(ends.std(axis=0), std[[10, 50]], rtol=0.07)
    # The mean is that of the theory, so the mean logarithm is half a variance below.
    shift = -0.5 * std[[10, 50]] ** 2
    assert_close(ends.mean(axis=0), shift, rtol=0, atol=4 * std[50] / math.sqrt(1000))
    assert_close(walks[:, 10].mean(), 1.0, rtol=0.15)


@pytest.mark.claim("INIT-08")
@pytest.mark.parametrize(
    ("activation", "weight_variance"), [("tanh", 25 / 9), ("tanh", 1.0), ("sigmoid", 1.0)]
)
def test_deviations_are_forgotten_where_the_map_is_flat(activation, weight_variance):
    setting = {"activation": activation, "weight_variance": weight_variance}
    walks = V.random_walks(50, width=256, networks=400, rng=rng(), **setting)
    std = V.log_moment_std(50, width=256, **setting)
    logs = np.log(walks / S.mean_field(50, **setting).forward)
    # 400 networks, ± 3.5 %; tanh at σw² = 1 strays 10 % more than to leading order
    assert_close(logs[:, 50].std(), std[50], rtol=0.15)
    assert_close(logs[:, 10].std(), std[10], rtol=0.1)
    if weight_variance > 1:  # an attracting fixed point: no random walk
        assert_close(std[50], std[20], rtol=1e-3)


def test_walks_have_the_law_of_real_matrices():
    weights = np.sqrt(2 / 32) * rng(3).standard_normal((500, 5, 32, 32))
    h = np.ones((500, 32))
    for layer in range(5):
        h = relu(np.einsum("kij,kj->ki", weights[:, layer], h))
    real = np.log(np.mean(h**2, axis=1))
    walks = V.random_walks(
        5, width=32, networks=500, activation="relu", weight_variance=2.0, rng=rng(4)
    )
    ours = np.log(walks[:, -1])
    spread = real.std() * math.sqrt(2 / 500)
    assert abs(real.mean() - ours.mean()) < 4 * spread
    assert_close(real.std(), ours.std(), rtol=0.15)  # two samples of 500
