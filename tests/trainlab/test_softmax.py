"""`trainlab.softmax`: exact for logits of any size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainlab.closeness import assert_close
from trainlab.differentiation import check_grad, vjp
from trainlab.softmax import log_softmax, logsumexp, softmax


def rng(seed=0):
    return np.random.default_rng(seed)


ALL = (softmax, log_softmax, logsumexp)


def test_by_hand():
    x = np.log([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]])
    p = np.array([[1, 2, 5], [3, 3, 2]]) / 8
    assert_close(softmax(x), p)
    assert_close(log_softmax(x), np.log(p))
    assert_close(logsumexp(x), np.full(2, math.log(8)))
    assert_close(logsumexp(x, keepdims=True), np.full((2, 1), math.log(8)))
    assert_close(softmax(x.T, axis=0), p.T)
    assert_close(log_softmax(x.T, axis=0), np.log(p).T)
    assert_close(logsumexp(x.T, axis=-2, keepdims=True), np.full((1, 2), math.log(8)))


def test_extreme_logits():
    x = np.array([[1e4, -1e4, 1e4], [-1e4, -1e4, -2e4]])
    np.testing.assert_array_equal(softmax(x), [[0.5, 0, 0.5], [0.5, 0.5, 0]])
    assert_close(logsumexp(x), np.array([1e4, -1e4]) + math.log(2))
    assert_close(log_softmax(x)[:, 1], np.array([-2e4, 0]) - math.log(2))
    assert_close(log_softmax(np.array([0.0, -1e4]))[1], -1e4)
    big = np.array([1e308, -1e308])
    np.testing.assert_array_equal(softmax(np.array([1e308, 0.0])), [1, 0])
    assert logsumexp(big[:1]) == 1e308


def test_masked_logits():
    x = np.array([0.0, -np.inf, 0.0])
    np.testing.assert_array_equal(softmax(x), [0.5, 0, 0.5])
    assert_close(log_softmax(x), np.array([-math.log(2), -np.inf, -math.log(2)]))
    assert_close(logsumexp(x), math.log(2))
    mask = np.array([0.0, -np.inf, 0.0])
    for f in (softmax, lambda v: log_softmax(v)[:, 2], logsumexp):
        x = rng().standard_normal((4, 3))
        assert check_grad(lambda v, f=f: f(v + mask), x, rng=rng(1)) < 1e-7
    (gradient,) = vjp(lambda v: softmax(v + mask), np.zeros(3))[1](np.array([1.0, 9.0, 0.0]))
    np.testing.assert_array_equal(gradient, [0.25, 0, -0.25])


@pytest.mark.parametrize("f", ALL)
def test_a_row_of_nothing_is_refused(f):
    for bad in (-np.inf, np.inf, np.nan):
        with pytest.raises(ValueError, match=f"{f.__name__}: the largest value of each row of x"):
            f(np.array([[bad, bad], [0.0, 1.0]]))
    value, _ = vjp(lambda v: f(v - np.inf), np.zeros((2, 3)))
    assert np.isnan(value).all()


@pytest.mark.parametrize("f", ALL)
def test_a_number_is_refused_for_its_dimensions(f):
    with pytest.raises(ValueError, match=f"{f.__name__}: number of dimensions of x must be .*>= 1"):
        f(1.0)


@pytest.mark.parametrize("f", ALL)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((5,), 0), ((3, 4), -1), ((3, 4), 0), ((2, 3, 4), 1), ((0, 4), 1), ((3, 1), 1)],
)
def test_gradients(f, shape, axis):
    x = rng().standard_normal(shape)
    assert check_grad(lambda v: f(v, axis=axis), x, rng=rng(1)) < 1e-7
    if f is logsumexp:
        assert check_grad(lambda v: f(v, axis=axis, keepdims=True), x, rng=rng(1)) < 1e-7
    value, pullback = vjp(lambda v: f(v, axis=axis), x.astype(np.float32))
    assert value.dtype == pullback(np.ones(value.shape))[0].dtype == np.float32
    cotangent = np.ones(value.shape, np.float32)
    cotangent.flags.writeable = False
    pullback(cotangent)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=6), st.floats(-1e3, 1e3))
def test_properties(row, shift):
    x = np.array(row)
    p = softmax(x)
    assert_close(p.sum(), 1.0)
    assert (p >= 0).all()
    # rounding of x + shift, whose size is up to 1.1e4
    assert_close(softmax(x + shift), p, atol=1e-10)
    assert_close(logsumexp(x + shift), logsumexp(x) + shift, atol=1e-10)
    assert x.max() <= logsumexp(x) <= x.max() + math.log(len(x)) + 1e-12
    assert_close(log_softmax(x), x - logsumexp(x), atol=1e-10)
    assert_close(np.exp(log_softmax(x)), p, atol=1e-12)


@pytest.mark.referee
@pytest.mark.parametrize("f", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_jax_and_torch(f, dtype):
    jax = pytest.importorskip("jax")
    x = (5 * rng().standard_normal((6, 7))).astype(dtype)
    c = rng(1).standard_normal(f(x, axis=1).shape).astype(dtype)
    value, pullback = vjp(lambda v: f(v, axis=1), x)
    (gradient,) = pullback(c)
    reference = {softmax: jax.nn.softmax, log_softmax: jax.nn.log_softmax}.get(f, jax.nn.logsumexp)
    rtol, atol = (1e-10, 1e-12) if dtype == np.float64 else (1e-4, 1e-6)  # sums that cancel
    with jax.enable_x64(True):
        expected, pull = jax.vjp(lambda v: reference(v, axis=1), x)
        assert_close(value, np.asarray(expected), rtol=rtol, atol=atol)
        assert_close(gradient, np.asarray(pull(c)[0]), rtol=rtol, atol=atol)
    torch = pytest.importorskip("torch")
    t = torch.tensor(x, requires_grad=True)
    y = getattr(torch, f.__name__)(t, dim=1)
    y.backward(torch.tensor(c))
    assert_close(value, y.detach().numpy(), rtol=rtol, atol=atol)
    assert_close(gradient, t.grad.numpy(), rtol=rtol, atol=atol)
