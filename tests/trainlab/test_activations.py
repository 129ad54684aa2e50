import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close, projected_gradient_error
from trainlab import _elementwise
from trainlab import activations as A
from trainlab.differentiation import check_grad, vjp

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


SMOOTH = {
    "sigmoid": A.sigmoid,
    "tanh": A.tanh,
    "elu": A.elu,
    "elu, 0.5": lambda x: A.elu(x, alpha=0.5),
    "selu": A.selu,
    "silu": A.silu,
    "softplus": A.softplus,
    "gelu": A.gelu,
    "gelu, tanh": lambda x: A.gelu(x, approximate="tanh"),
    "relu": A.relu,
    "leaky_relu": lambda x: A.leaky_relu(x, negative_slope=0.3),
    "identity": A.identity,
}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients(name):
    f = SMOOTH[name]
    for shape in ((40, 5), (1,), (), (0, 3)):
        x = _away_from_the_kink(np.random.default_rng(0), shape)
        assert check_grad(f, x, rng=np.random.default_rng(1)) < 1e-7
        assert f(x).shape == x.shape
    x = _away_from_the_kink(np.random.default_rng(0), (40, 5))
    np.testing.assert_array_equal(f(x.T), f(x).T)  # not contiguous
    for dtype in (np.float16, np.float32):
        value, pullback = vjp(f, x.astype(dtype))
        assert value.dtype == pullback(np.ones_like(value))[0].dtype == dtype
        # half precision: its rounding is 1e-3 of the size of the argument
        tolerance = {"rtol": 1e-3, "atol": 2e-3} if dtype == np.float16 else {}
        assert_close(value, f(x.astype(dtype).astype(np.float64)).astype(dtype), **tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_the_derivative_is_that_of_the_pullback(name):
    f, df = A.ACTIVATIONS[name]
    x = np.array([-3.0, -1e-9, 0.0, 1e-9, 0.7, 40.0])
    np.testing.assert_array_equal(vjp(f, x)[1](np.ones(6))[0], df(x))


def test_more_values_by_hand():
    x = np.array([-2.0, 0.0, 3.0])
    assert_close(A.elu(x), [math.exp(-2) - 1, 0, 3])
    assert_close(A.elu(x, alpha=0.5), [0.5 * (math.exp(-2) - 1), 0, 3])
    assert_close(A.silu(x), x / (1 + np.exp(-x)))
    assert_close(A.softplus(x), np.log(1 + np.exp(x)))
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    assert_close(A.gelu(x, approximate="tanh"), 0.5 * x * (1 + np.tanh(inner)))
    z = np.linspace(-6, 6, 4001)
    gap = np.abs(A.gelu(z) - A.gelu(z, approximate="tanh")).max()
    assert 4.7e-4 < gap < 4.8e-4
    lowest = z[A.silu(z).argmin()]
    assert_close([lowest, A.silu(z).min()], [-1.278, -0.278], rtol=0, atol=2e-3)  # three digits
    assert_close(A.sigmoid_derivative(np.array([30.0, -30.0])), np.full(2, math.exp(-30)))


def test_far_tails_in_single_precision():
    x = np.linspace(-12, 12, 2001).astype(np.float32)
    exact = A.gelu(x.astype(np.float64))
    assert_close(A.gelu(x).astype(np.float64), exact, rtol=3e-5)  # x² is rounded before exp
    slope = vjp(A.gelu, x)[1](np.ones_like(x))[0]
    assert_close(slope.astype(np.float64), A.gelu_derivative(x.astype(float)), rtol=0, atol=5e-6)


def test_blocks_make_no_difference(monkeypatch):
    x = np.random.default_rng(0).standard_normal((7, 9))
    whole = A.gelu(x), A.gelu_derivative(x)
    monkeypatch.setattr(_elementwise, "BLOCK", 5)
    for a, b in zip((A.gelu(x), A.gelu_derivative(x)), whole, strict=True):
        assert_close(a, b)


def test_infinity_and_nan_come_through_in_a_differentiated_computation():
    for f in SMOOTH.values():
        value, pullback = vjp(lambda x, f=f: f(x * np.array([np.nan, 1.0])), np.ones(2))
        assert np.isnan(value[0])
        pullback(np.ones(2))
    value, _ = vjp(lambda x: A.gelu(x * np.inf), np.ones(1))
    assert not np.isfinite(value[0])


@pytest.mark.referee
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_torch(dtype):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    theirs = {
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "elu": F.elu,
        "elu, 0.5": lambda x: F.elu(x, alpha=0.5),
        "selu": F.selu,
        "silu": F.silu,
        "softplus": lambda x: F.softplus(x, threshold=1000),
        "gelu": F.gelu,
        "gelu, tanh": lambda x: F.gelu(x, approximate="tanh"),
        "relu": F.relu,
        "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
        "identity": lambda x: x * 1,
    }
    x = _away_from_the_kink(np.random.default_rng(2), (100,)).astype(dtype)
    for name, f in SMOOTH.items():
        t = torch.tensor(x, requires_grad=True)
        y = theirs[name](t)
        y.sum().backward()
        value, pullback = vjp(f, x)
        # differences that cancel in the left tail, in their formula or in ours
        rtol, atol = (1e-10, 1e-13) if dtype == np.float64 else (1e-4, 5e-6)
        assert_close(value, y.detach().numpy(), rtol=rtol, atol=atol)
        assert_close(pullback(np.ones_like(x))[0], t.grad.numpy(), rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (A.leaky_relu, "negative_slope"),
        (A.leaky_relu_derivative, "negative_slope"),
        (A.elu, "alpha"),
    ],
)
def test_a_slope_beyond_the_dtype_is_refused(function, name):
    function(np.ones(1), **{name: 1e300})
    for slope in (1e300, -1e300):
        with pytest.raises(ValueError, match=f"{function.__name__}: {name} must be .*e[+]38"):
            function(np.ones(1, np.float32), **{name: slope})
