"""`trainlab.arithmetic`: NumPy's functions with their pullbacks."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import arithmetic as A
from trainlab.differentiation import check_grad, vjp


def rng(seed=0):
    return np.random.default_rng(seed)


def _x(shape=(3, 4)):
    return rng().uniform(0.5, 2, shape)


ONE = {
    "exp": (A.exp, np.exp),
    "log": (A.log, np.log),
    "sqrt": (A.sqrt, np.sqrt),
    "sum": (A.sum, np.sum),
    "sum of rows": (lambda x: A.sum(x, 1), lambda x: np.sum(x, 1)),
    "sum, kept": (lambda x: A.sum(x, (0, -1), keepdims=True),
                  lambda x: np.sum(x, (0, -1), keepdims=True)),
    "sum over nothing": (lambda x: A.sum(x, ()), lambda x: np.sum(x, ())),
    "mean": (A.mean, np.mean),
    "mean of columns": (lambda x: A.mean(x, 0), lambda x: np.mean(x, 0)),
    "mean, kept": (lambda x: A.mean(x, -1, keepdims=True), lambda x: np.mean(x, -1, keepdims=True)),
    "reshape": (lambda x: A.reshape(x, (2, -1)), lambda x: np.reshape(x, (2, -1))),
    "flat": (lambda x: A.reshape(x, -1), np.ravel),
    "transpose": (A.transpose, np.transpose),
    "axes": (lambda x: A.transpose(A.reshape(x, (2, 3, 2)), (1, -1, 0)),
             lambda x: np.transpose(np.reshape(x, (2, 3, 2)), (1, 2, 0))),
    "swapaxes": (lambda x: A.swapaxes(x, 0, -1), lambda x: np.swapaxes(x, 0, -1)),
    "broadcast_to": (lambda x: A.broadcast_to(x, (2, 3, 4)),
                     lambda x: np.broadcast_to(x, (2, 3, 4))),
    "concatenate": (lambda x: A.concatenate([x, _x(), 2 * x], 1),
                    lambda x: np.concatenate([x, _x(), 2 * x], 1)),
    "concatenate rows": (lambda x: A.concatenate((_x(), x)), lambda x: np.concatenate((_x(), x))),
    "maximum": (lambda x: A.maximum(x, 1.0), lambda x: np.maximum(x, 1.0)),
    "minimum": (lambda x: A.minimum(1.0, x), lambda x: np.minimum(1.0, x)),
    "where": (lambda x: A.where(_x() > 1, x, 0.0), lambda x: np.where(_x() > 1, x, 0.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_value_and_gradient(name):
    mine, numpys = ONE[name]
    assert_close(mine(_x()), numpys(_x()))
    assert type(mine(_x())) is np.ndarray
    assert check_grad(mine, _x(), rng=rng(1)) < 1e-7
    assert check_grad(mine, np.asfortranarray(_x()), rng=rng(1)) < 1e-7
    if "concatenate" not in name:  # whose other arrays are float64
        value, pullback = vjp(mine, _x().astype(np.float32))
        assert value.dtype == np.float32
        assert pullback(np.ones(value.shape))[0].dtype == np.float32


@pytest.mark.parametrize("f", [A.maximum, A.minimum])
@pytest.mark.parametrize("shape", [(3, 4), (4,), (3, 1), (), (2, 3, 4), (0, 3, 4)])
def test_choices_broadcast(f, shape):
    a, b = rng(1).standard_normal((3, 4)), rng(2).standard_normal(shape)
    assert_close(f(a, b), getattr(np, f.__name__)(a, b))
    assert check_grad(f, a, b, rng=rng(3)) < 1e-7
    assert check_grad(lambda a, b: f(b, a), a, b, rng=rng(4)) < 1e-7
    condition = rng(5).random((3, 4)) < 0.5
    assert check_grad(lambda a, b: A.where(condition, a, b), a, b, rng=rng(6)) < 1e-7


def test_equal_numbers_share_the_gradient():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    for f, first in ((A.maximum, [0, 0.5, 1]), (A.minimum, [1, 0.5, 0])):
        da, db = vjp(f, a, b)[1](np.ones(3))
        np.testing.assert_array_equal(da, first)
        np.testing.assert_array_equal(db, 1 - da)


def test_python_numbers_take_the_dtype_of_the_other():
    x = np.ones(3, np.float32)
    for value in (A.maximum(x, 0), A.minimum(2.0, x), A.where(x > 0, x, 0.0), A.where(x > 0, 1, x)):
        assert value.dtype == np.float32


def test_reductions_and_shapes_of_empty_arrays():
    x = np.zeros((0, 3))
    np.testing.assert_array_equal(A.sum(x, 0), np.zeros(3))
    np.testing.assert_array_equal(vjp(lambda x: A.sum(x, 0), x)[1](np.ones(3))[0], x)
    assert A.mean(x, 1).shape == (0,)
    with pytest.raises(ValueError, match=r"mean: number of values of x along axis must be .*>= 1"):
        A.mean(x)
    for f in (A.exp, A.log, A.sqrt):
        assert f(x).shape == x.shape
    assert A.concatenate([x, np.ones((1, 3))]).shape == (1, 3)
    assert A.swapaxes(x, 0, 1).shape == A.transpose(x).shape == A.reshape(x, (3, 0)).shape == (3, 0)
    assert A.broadcast_to(x, (2, 0, 3)).shape == (2, 0, 3)
    assert A.where(x > 0, x, x).shape == A.maximum(x, 0).shape == (0, 3)


def test_results_that_are_not_finite_are_refused_when_plain_and_seen_when_differentiated():
    for f, bad in ((A.exp, 1000.0), (A.log, 0.0), (A.log, -1.0), (A.sqrt, -1.0)):
        with pytest.raises(ValueError, match=rf"{f.__name__}: x, and {f.__name__}\(x\), must be"):
            f(np.array([bad]))
        value, pullback = vjp(f, np.array([bad]))
        assert not np.isfinite(value).all()
        pullback(np.ones(1))
    np.testing.assert_array_equal(A.sqrt(np.zeros(2)), np.zeros(2))
    assert np.isinf(vjp(A.sqrt, np.zeros(2))[1](np.ones(2))[0]).all()
    assert A.exp(np.array([-1e4])) == 0


def test_views_are_not_copied():
    x = _x()
    wide = A.broadcast_to(x, (2, 3, 4))
    for value in (A.reshape(x, -1), A.transpose(x), A.swapaxes(x, 0, 1), wide):
        assert np.shares_memory(value, x)
    (gradient,) = vjp(A.sum, x)[1](1.0)
    assert gradient.strides == (0, 0)  # one number


def test_pieces_of_concatenate():
    a, b = np.ones((2, 1)), np.full((2, 3), 2.0)
    value, pullback = vjp(lambda a, b: A.concatenate([a, np.zeros((2, 2)), b], -1), a, b)
    assert value.shape == (2, 6)
    da, db = pullback(np.arange(12.0).reshape(2, 6))
    np.testing.assert_array_equal(da, [[0], [6]])
    np.testing.assert_array_equal(db, [[3, 4, 5], [9, 10, 11]])
    value, _ = vjp(lambda a: A.concatenate([a * np.nan, b], 1), a)  # NaN passes
    assert np.isnan(value[:, 0]).all()
    with pytest.raises(ValueError, match=r"but along axis 0; got \(2, 1\), \(2, 3\)"):
        A.concatenate([a, b])
