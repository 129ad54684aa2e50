import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainlab.closeness import assert_close
from trainlab.differentiation import check_grad, vjp
from trainlab.positions import rotary, sinusoidal_positions

jax.config.update("jax_enable_x64", True)


def draw(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def test_sinusoidal_by_hand():
    table = sinusoidal_positions(4, 6)
    for t in range(4):
        angles = [t, t / 10000 ** (2 / 6), t / 10000 ** (4 / 6)]
        assert_close(table[t, 0::2], np.sin(angles))
        assert_close(table[t, 1::2], np.cos(angles))
    assert sinusoidal_positions(0, 2).shape == (0, 2)
    assert sinusoidal_positions(3, 2, dtype=np.float32).dtype == np.float32
    assert_close(sinusoidal_positions(2, 4, base=100.0)[1, 2], math.sin(0.1))


def test_sinusoidal_products_depend_on_the_distance():
    table = sinusoidal_positions(20, 8)
    products = table @ table.T
    for distance in range(20):
        diagonal = np.diagonal(products, distance)
        assert_close(diagonal, np.full_like(diagonal, diagonal[0]))
    assert_close(products[0, 0], 4.0)  # sin² + cos² of four pairs


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_by_hand(interleaved):
    x = np.array([[1.0, 2.0, 3.0, 4.0]])
    y = rotary(x, positions=[2.0], base=100.0, interleaved=interleaved)[0]
    pairs = ((0, 1), (2, 3)) if interleaved else ((0, 2), (1, 3))
    for (i, j), angle in zip(pairs, (2.0, 0.2), strict=True):
        a, b = x[0, i], x[0, j]
        assert_close(y[i], a * math.cos(angle) - b * math.sin(angle))
        assert_close(y[j], a * math.sin(angle) + b * math.cos(angle))


def test_rotary_defaults():
    x = draw(2, 3, 4)
    np.testing.assert_array_equal(
        rotary(x), rotary(x, positions=np.arange(3), base=10000.0, interleaved=False)
    )
    np.testing.assert_array_equal(rotary(x)[:, 0], x[:, 0])  # position 0 is not turned
    assert not np.allclose(rotary(x), rotary(x, interleaved=True))


def test_the_conventions_differ_by_a_permutation():
    x = draw(5, 6)
    order = [0, 2, 4, 1, 3, 5]
    np.testing.assert_allclose(
        rotary(x, interleaved=True)[:, order], rotary(x[:, order]), rtol=1e-14
    )


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 1000),
    m=st.integers(0, 500),
    n=st.integers(0, 500),
    shift=st.integers(-300, 300),
    interleaved=st.booleans(),
)
def test_products_depend_on_the_distance_only(seed, m, n, shift, interleaved):
    q, k = draw(1, 8, seed=seed), draw(1, 8, seed=seed + 1)

    def product(m, n):
        turn = functools.partial(rotary, interleaved=interleaved)
        return (turn(q, positions=[m]) @ turn(k, positions=[n]).T).item()

    # Angles of hundreds lose three digits, and products of random signs another one.
    assert product(m, n) == pytest.approx(product(m + shift, n + shift), abs=1e-10)
    assert product(m, m) == pytest.approx((q @ k.T).item(), abs=1e-10)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 5, 8), (0, 4), (1, 2)])
def test_gradient_turns_back(shape, interleaved):
    x, c = draw(*shape), draw(*shape, seed=1)
    f = functools.partial(rotary, interleaved=interleaved, base=50.0)
    value, pullback = vjp(f, x)
    (dx,) = pullback(c)
    assert_close(np.linalg.norm(value), np.linalg.norm(x))
    if x.size:
        assert check_grad(f, x, rng=np.random.default_rng(0)) < 1e-7  # central differences
    (back,) = pullback(value)
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-14)  # a rotation's inverse
    assert dx.shape == shape


def test_views_and_float32():
    x = draw(2, 5, 3, 4, dtype=np.float32).swapaxes(1, 2)
    y = rotary(x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, rotary(x.copy()))
    # float32 angles would be off by 1e-4 at position 5000
    late = rotary(x, positions=np.arange(5000, 5005))
    assert_close(late, rotary(x.astype(np.float64), positions=np.arange(5000, 5005)), atol=1e-6)


@pytest.mark.referee
def test_against_complex_numbers_in_jax():
    x, c = draw(2, 7, 6), draw(2, 7, 6, seed=1)

    def reference(x):
        z = x[..., 0::2] + 1j * x[..., 1::2]
        turn = jnp.exp(1j * jnp.arange(7)[:, None] * 10000.0 ** (-jnp.arange(3) / 3))
        return jnp.stack([(z * turn).real, (z * turn).imag], axis=-1).reshape(x.shape)

    expected, pull = jax.vjp(reference, jnp.array(x))
    value, pullback = vjp(functools.partial(rotary, interleaved=True), x)
    # A few units in the last place of numbers of order 1.
    np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(pullback(c)[0], pull(jnp.array(c))[0], rtol=1e-10, atol=1e-14)
