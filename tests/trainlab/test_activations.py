import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close, projected_gradient_error
from trainlab import activations as A

NAMES = list(A.ACTIVATIONS)


def _away_from_the_kink(rng, shape=(40, 5)):
    x = 3 * rng.standard_normal(shape)
    return x + 0.01 * np.sign(x)


def test_hand_computed_values():
    x = np.array([-2.0, 0.0, 3.0])
    np.testing.assert_array_equal(A.identity(x), x)
    np.testing.assert_array_equal(A.relu(x), [0, 0, 3])
    np.testing.assert_array_equal(A.relu_derivative(x), [0, 0, 1])
    np.testing.assert_array_equal(A.leaky_relu(x), [-0.02, 0, 3])
    assert_close(A.sigmoid(x), [1 / (1 + math.e**2), 0.5, 1 / (1 + math.e**-3)])
    assert_close(A.sigmoid_derivative(x)[1], 0.25)
    assert_close(A.tanh(x), [math.tanh(-2), 0, math.tanh(3)])
    assert_close(
        A.selu(x),
        [1.0507009873554805 * 1.6732632423543772 * (math.e**-2 - 1), 0, 3 * 1.0507009873554805],
    )
    # 0.9772... is the probability of a normal number below 2
    assert_close(A.gelu(x), [-2 * (1 - 0.9772498680518208), 0, 3 * 0.9986501019683699])


def test_normal_cdf_equals_math_erfc_in_the_far_tail_too():
    x = np.linspace(-36, 36, 4001)
    expected = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    # promised in the docstring; tighter than the policy
    assert_close(A.normal_cdf(x), expected, rtol=1e-12)
    near = np.abs(x) < 8
    # the fit itself is good to a few units in the last place
    assert_close(A.normal_cdf(x)[near], expected[near], rtol=2e-14)


def test_normal_cdf_outside_the_fit():
    # exp(-800) is a normal number, exp(-40² / 2 - ...) underflows to 0 and not below
    assert A.normal_cdf(np.array([-40.0]))[0] >= 0
    np.testing.assert_array_equal(A.normal_cdf(np.array([-60.0, 60.0])), [0, 1])


@pytest.mark.parametrize("name", NAMES)
def test_derivative_against_central_differences(name):
    rng = np.random.default_rng(0)
    f, df = A.ACTIVATIONS[name]
    x = _away_from_the_kink(rng)
    # central differences in float64 resolve about 1e-9 of the gradient
    assert projected_gradient_error(f, lambda g: g * df(x), x, rng) < 1e-7


def test_leaky_slope_reaches_value_and_derivative():
    x = np.array([-2.0, 3.0])
    np.testing.assert_array_equal(A.leaky_relu(x, negative_slope=0.5), [-1, 3])
    np.testing.assert_array_equal(A.leaky_relu_derivative(x, negative_slope=0.5), [0.5, 1])
    np.testing.assert_array_equal(A.leaky_relu(x, negative_slope=1.0), A.identity(x))
    np.testing.assert_array_equal(A.leaky_relu(x, negative_slope=0.0), A.relu(x))


def test_identities_between_activations():
    x = 4 * np.random.default_rng(1).standard_normal(200)
    # the two sides round differently near tanh = 0
    assert_close(A.tanh(x), 2 * A.sigmoid(2 * x) - 1, atol=1e-15)
    assert_close(A.sigmoid(x) + A.sigmoid(-x), np.ones(200))
    # gelu(x) - gelu(-x) = x because Φ(x) + Φ(-x) = 1
    assert_close(A.gelu(x) - A.gelu(-x), x)
    assert_close(A.relu(x) - A.relu(-x), x)


def test_selu_constants_make_mean_0_and_variance_1_a_fixed_point():
    z = (np.arange(2_000_000) + 0.5) * 1e-5  # midpoints of (0, 20), each half-line apart
    weight = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * 1e-5
    up, down = A.selu(z), A.selu(-z)
    # absolute: the mean is a difference of two numbers near 0.4
    assert_close(np.sum((up + down) * weight), 0.0, atol=1e-9)
    assert_close(np.sum((up**2 + down**2) * weight), 1.0)


def test_slope_jumps_of_selu():
    left, right = A.selu_derivative(np.array([-1e-12, 1e-12]))
    assert_close(left, A.SELU_LAMBDA * A.SELU_ALPHA)
    assert_close(right, A.SELU_LAMBDA)


@pytest.mark.referee
@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives_against_jax(name):
    jax = pytest.importorskip("jax")
    reference = {
        "identity": lambda v: v,
        "sigmoid": jax.nn.sigmoid,
        "tanh": jax.numpy.tanh,
        "relu": jax.nn.relu,
        "leaky_relu": lambda v: jax.nn.leaky_relu(v, 0.01),
        "selu": jax.nn.selu,
        "gelu": lambda v: jax.nn.gelu(v, approximate=False),
    }[name]
    x = np.append(_away_from_the_kink(np.random.default_rng(2), (100,)), 0.0)
    with jax.enable_x64(True):
        value, slope = jax.vmap(jax.value_and_grad(reference))(jax.numpy.asarray(x))
    # JAX computes gelu's left tail as a difference that cancels, so absolutely
    atol = 1e-14 if name == "gelu" else 0.0
    f, df = A.ACTIVATIONS[name]
    assert_close(f(x), np.asarray(value), atol=atol)
    if name in ("selu", "leaky_relu"):  # at the kink JAX takes the right-hand slope
        x, slope = x[:-1], slope[:-1]
    assert_close(df(x), np.asarray(slope), atol=atol)
