"""`trainlab.differentiation`: pullbacks composed by the chain rule."""

from __future__ import annotations

import tracemalloc
import weakref

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import arithmetic as A
from trainlab.differentiation import (
    Variable,
    check_grad,
    differentiable,
    unbroadcast,
    value_and_grad,
    vjp,
)


def rng(seed=0):
    return np.random.default_rng(seed)


@differentiable("x", "weight")
def scaled(x, weight=None, *, power=2):
    """weight · x^power; the weight may be left out."""

    def pullback(cotangent):
        dx = power * x ** (power - 1) * (1 if weight is None else weight) * cotangent
        return dx, None if weight is None else np.sum(x**power * cotangent)

    return x**power * (1 if weight is None else weight), pullback


def test_plain_arrays_give_plain_arrays():
    value = scaled(np.array([3.0]), 2.0)
    assert type(value) is np.ndarray
    np.testing.assert_array_equal(value, [18])
    assert isinstance(scaled(Variable(np.array([3.0]))), Variable)
    assert scaled.__name__ == "scaled"
    assert scaled.__doc__.startswith("weight")


def test_only_the_gradients_that_are_wanted():
    x, weight = np.array([3.0, 1.0]), np.array(2.0)
    for arguments, options, expected in [
        ((x, weight), {}, ([12, 4], 10)),
        ((x,), {"weight": 2.0}, ([12, 4],)),
        ((x,), {}, ([6, 2],)),
    ]:
        _, pullback = vjp(scaled, *arguments, **options)
        gradients = pullback(np.ones(2))
        assert len(gradients) == len(expected)
        for g, e in zip(gradients, expected, strict=True):
            np.testing.assert_array_equal(g, e)
    _, pullback = vjp(lambda weight: scaled(x, weight=weight, power=3), weight)
    np.testing.assert_array_equal(pullback(np.ones(2))[0], 28)


def test_a_parameter_without_a_gradient_refuses_a_variable():
    with pytest.raises(TypeError, match=r"scaled: power must be a plain array, .*got a Variable"):
        scaled(np.ones(1), power=Variable(np.ones(())))


def test_chain_rule_by_hand():
    # y = sum((a x + b)²): dy/dx = 2 a (a x + b)
    x, a, b = np.array([1.0, -2.0]), np.array(3.0), np.array(0.5)
    value, pullback = vjp(lambda x, a, b: A.sum((a * x + b) ** 2), x, a, b)
    dx, da, db = pullback(1.0)
    inner = 3 * x + 0.5
    assert_close(value, np.sum(inner**2))
    assert_close(dx, 6 * inner)
    assert_close(da, np.sum(2 * inner * x))
    assert_close(db, np.sum(2 * inner))


OPERATORS = {
    "add": (lambda a, b: a + b, 2),
    "add, other order": (lambda a, b: b + a, 2),
    "subtract": (lambda a, b: a - b, 2),
    "multiply": (lambda a, b: a * b, 2),
    "divide": (lambda a, b: a / b, 2),
    "negative": (lambda a: -a, 1),
    "power": (lambda a: a**3, 1),
    "root": (lambda a: a**0.5, 1),
    "number first": (lambda a: 2 - 3 * a + 1 / a + 4, 1),
    "number last": (lambda a: (a - 2) * 3 + a / 4 + 5, 1),
    "array first": (lambda a: np.array([1.0, 2, 3, 4]) - np.array([2.0]) * a, 1),
    "array divided": (lambda a: np.array([1.0, 2, 3, 4]) / a, 1),
    "row": (lambda a: a[1], 1),
    "slice": (lambda a: a[:, 1:3], 1),
    "new axis": (lambda a: a[None, ..., 0], 1),
    "picked twice": (lambda a: a[np.array([0, 0, 2])], 1),
    "picked pairs": (lambda a: a[np.array([0, 1, 0]), np.array([1, 1, 1])], 1),
    "mask": (lambda a: a[np.array([True, False, True])], 1),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name):
    f, count = OPERATORS[name]
    a = rng().uniform(0.5, 2, (3, 4))
    shapes = [(3, 4), (4,), (1, 4), (3, 1), (), (2, 3, 4)] if count == 2 else [None]
    for shape in shapes:
        b = () if shape is None else (rng(1).uniform(0.5, 2, shape),)
        assert check_grad(f, a, *b, rng=rng(2)) < 1e-7
        value, pullback = vjp(f, a.astype(np.float32), *(v.astype(np.float32) for v in b))
        plain = f(a, *b)
        assert_close(value, plain.astype(np.float32))
        if "array" not in name:  # where the float64 array decides
            assert value.dtype == np.float32
        for g in pullback(np.ones(value.shape)):
            assert g.dtype == np.float32  # a gradient has the dtype of its argument


@pytest.mark.parametrize(
    ("left", "right"), [((3, 4), (4, 2)), ((5, 3, 4), (5, 4, 2)), ((5, 3, 4), (4, 2)),
                        ((3, 4), (5, 4, 2)), ((0, 4), (4, 2)), ((2, 1, 3, 4), (5, 4, 2))]
)  # fmt: skip
def test_matmul(left, right):
    a, b = rng().standard_normal(left), rng(1).standard_normal(right)
    assert check_grad(lambda a, b: a @ b, a, b, rng=rng(2)) < 1e-7
    assert check_grad(lambda a: a @ b, a, rng=rng(3)) < 1e-7
    assert check_grad(lambda b: a @ b, b, rng=rng(4)) < 1e-7


def test_matmul_refuses_vectors():
    with pytest.raises(ValueError, match="both factors must have at least 2 dimensions"):
        vjp(lambda a: a @ np.ones(3), np.ones((2, 3)))


def test_attributes_of_a_variable():
    v = Variable(np.ones((2, 3), np.float32))
    assert (v.shape, v.ndim, v.size, v.dtype, len(v)) == ((2, 3), 2, 6, np.float32, 2)
    assert repr(v).startswith("Variable(array(")


def test_a_value_used_twice_gets_both_gradients():
    _, pullback = vjp(lambda x: x * x + x, np.array([3.0]))
    np.testing.assert_array_equal(pullback([1.0])[0], [7])
    # A diamond: the newest first, so that each pullback runs once, with the whole cotangent.
    runs = []

    @differentiable("x")
    def double(x):
        def pullback(c):
            runs.append(c.copy())
            return (2 * c,)

        return 2 * x, pullback

    def diamond(x):
        y = double(x)
        return y * y + double(y)

    _, pullback = vjp(diamond, np.array([3.0]))
    # (2x)² + 4x: 8x + 4
    np.testing.assert_array_equal(pullback([1.0])[0], [28])
    assert [c.item() for c in runs] == [1, 14]


def test_cotangents_are_not_changed():
    kept = np.ones(2)

    @differentiable("x")
    def hands_on(x):
        return x.copy(), lambda c: (kept,)

    _, pullback = vjp(lambda x: hands_on(x) + hands_on(x), np.zeros(2))
    cotangent = np.full(2, 5.0)
    np.testing.assert_array_equal(pullback(cotangent)[0], [2, 2])
    np.testing.assert_array_equal(kept, [1, 1])
    np.testing.assert_array_equal(cotangent, [5, 5])
    np.testing.assert_array_equal(pullback(cotangent)[0], [2, 2])  # and once more


def test_what_the_output_does_not_depend_on():
    _, pullback = vjp(lambda a, b: a * 2, np.ones(2), np.ones(3))
    np.testing.assert_array_equal(pullback(np.ones(2))[1], np.zeros(3))
    value, pullback = vjp(lambda a: 7.0, np.ones(2))
    assert value == 7
    np.testing.assert_array_equal(pullback(1.0)[0], np.zeros(2))
    value, grads = value_and_grad(lambda p: 7.0)(np.ones(2))
    assert value == 7
    np.testing.assert_array_equal(grads, np.zeros(2))
    # The value is the primal itself.
    np.testing.assert_array_equal(vjp(lambda a: a, np.ones(2))[1]([2.0, 3.0])[0], [2, 3])


def test_a_gradient_of_none_stops():
    @differentiable("x")
    def stop(x):
        return x.copy(), lambda c: (None,)

    _, pullback = vjp(lambda x: stop(x * x) + x, np.array([3.0]))
    np.testing.assert_array_equal(pullback([1.0])[0], [1])


def test_a_hundred_thousand_operations():
    @differentiable("x")
    def step(x):
        return x + 1, lambda c: (c,)

    def deep(x):
        for _ in range(100_000):
            x = step(x)
        return x

    value, grad = value_and_grad(deep)(np.zeros(()))
    assert (value, grad) == (100_000, 1)


def test_trees_of_parameters():
    params = {"w": np.array([1.0, 2.0]), "deep": [(np.array(3.0), None)], "n": np.array(4)}

    def loss(params, x, *, factor):
        return factor * A.sum(params["w"] * x) * params["deep"][0][0] + params["n"]

    value, grads = value_and_grad(loss)(params, np.array([10.0, 20.0]), factor=2.0)
    assert value == 2 * 50 * 3 + 4
    assert isinstance(value, np.float64)
    np.testing.assert_array_equal(grads["w"], [60, 120])
    assert grads["deep"] == [(np.array(100.0), None)]
    assert grads["n"] == 1
    assert list(grads) == list(params)
    value, pullback = vjp(loss, params, np.array([10.0, 20.0]), factor=2.0)
    dparams, dx = pullback(1.0)
    np.testing.assert_array_equal(dx, [6, 12])
    np.testing.assert_array_equal(dparams["w"], grads["w"])


def test_auxiliary_results():
    def loss(w):
        return w * w, {"w": w.value}

    (value, aux), grad = value_and_grad(loss, has_aux=True)(np.array(3.0))
    assert (value, aux, grad) == (9, {"w": 3}, 6)


def test_memory_is_freed_on_the_way_back():
    alive, seen = [], []

    @differentiable("x")
    def step(x):
        value = x + 1

        def pullback(c):
            seen.append(sum(ref() is not None for ref in alive))
            return (c * np.sign(value),)

        alive.append(weakref.ref(value))
        return value, pullback

    def loss(x):
        for _ in range(10):
            x = step(x)
        return A.sum(x)

    value_and_grad(loss)(np.ones(3))
    # When the k-th pullback from the end runs, the values behind it are gone.
    assert seen == list(range(10, 0, -1))


def test_the_peak_is_that_of_the_forward_pass():
    size = 100_000 * 8

    def loss(x):
        for _ in range(20):
            x = A.exp(x * 0.1)
        return A.sum(x)

    tracemalloc.start()
    value_and_grad(loss)(np.zeros(100_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Each step keeps two arrays (x·0.1 is kept by its Variable, exp by its pullback).
    assert peak < 46 * size


def test_values_are_not_looked_at_inside():
    with np.errstate(all="ignore"):
        value, grad = value_and_grad(lambda x: A.sum(A.log(x - 1)))(np.array([1.0, 0.5]))
    assert np.isnan(value)
    assert np.isinf(grad[0])
    with pytest.raises(ValueError, match="log: x, and log"):  # and a plain call is checked again
        A.log(np.array([0.0]))


def test_errors_by_name():
    with pytest.raises(TypeError, match="vjp: primals must be a floating-point array"):
        vjp(lambda a: a, "text")
    with pytest.raises(ValueError, match="vjp: primals must be finite"):
        vjp(lambda a: a, {"w": [np.array([np.nan])]})
    with pytest.raises(TypeError, match="value_and_grad: params must be a floating-point array"):
        value_and_grad(lambda a: a)({"w": 1j})
    with pytest.raises(TypeError, match=r"function must return one number; got shape \(2,\)"):
        value_and_grad(lambda a: a)(np.ones(2))
    with pytest.raises(TypeError, match=r"function must return one number; got shape \(2,\)"):
        value_and_grad(lambda a: np.ones(2))(np.ones(2))
    _, pullback = vjp(lambda a: a * 2, np.ones(2))
    with pytest.raises(ValueError, match=r"cotangent must have the shape.*\(2,\); got \(3,\)"):
        pullback(np.ones(3))
    with pytest.raises(TypeError, match="check_grad: primals must be a floating-point"):
        check_grad(lambda a: a, "text", rng=rng())


@pytest.mark.parametrize("factor", [1 + 1e-5, -1.0, 2.0, 0.0])
def test_check_grad_finds_a_wrong_gradient(factor):
    @differentiable("x")
    def wrong(x):
        return x**2, lambda c: (factor * 2 * x * c,)

    error = check_grad(wrong, rng().standard_normal((5, 3)), rng=rng(1))
    # relative to the larger one of both: 1 if the gradient is missing, 2 if the sign is wrong
    assert_close(error, abs(1 - factor) / max(1, abs(factor)), rtol=1e-3)  # the difference's


def test_check_grad_of_a_right_gradient():
    x = rng().standard_normal((5, 3))
    assert 0 < check_grad(lambda x: x**2, x, rng=rng(1)) < 1e-8
    assert check_grad(lambda x: x**3, x, rng=rng(1), step=0.1) > 1e-4  # too long a step
    assert check_grad(lambda p: p["a"] * p["b"][0], {"a": x, "b": [x]}, rng=rng(1)) < 1e-8
    assert check_grad(lambda x: x**2, x.astype(np.float32), rng=rng(1)) < 1e-8  # in float64
    assert check_grad(lambda x: x * 0, x, rng=rng(1)) == 0


def test_unbroadcast():
    g = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(unbroadcast(g, (4,)), g.sum(axis=(0, 1)))
    np.testing.assert_array_equal(unbroadcast(g, (3, 1)), g.sum(axis=(0, 2))[:, None])
    np.testing.assert_array_equal(unbroadcast(g, (1, 3, 4)), g.sum(axis=0)[None])
    np.testing.assert_array_equal(unbroadcast(g, ()), g.sum())
    assert unbroadcast(g, (2, 3, 4)) is g
    assert unbroadcast(np.ones((0, 3)), (3,)).tolist() == [0, 0, 0]
    for shape in [(3,), (2, 4), (1, 2, 3, 4), (2, 3, 5)]:
        with pytest.raises(ValueError, match="unbroadcast: shape must be one that broadcasts"):
            unbroadcast(g, shape)


@pytest.mark.referee
def test_against_jax():
    jax = pytest.importorskip("jax")
    x, w = rng().uniform(0.5, 2, (3, 4)), rng(1).standard_normal((4, 2))

    def mine(x, w):
        h = A.exp((x - A.mean(x, 1, keepdims=True)) @ w)
        return A.sum(A.log(h + 1) / A.sqrt(A.maximum(h, 0.5)) * x[:, :2])

    def theirs(x, w):
        np_ = jax.numpy
        h = np_.exp((x - np_.mean(x, 1, keepdims=True)) @ w)
        return np_.sum(np_.log(h + 1) / np_.sqrt(np_.maximum(h, 0.5)) * x[:, :2])

    value, pullback = vjp(mine, x, w)
    with jax.enable_x64(True):
        expected, grads = jax.value_and_grad(theirs, (0, 1))(x, w)
    assert_close(value, np.asarray(expected), rtol=1e-10)  # tighter than the policy
    for a, b in zip(pullback(1.0), grads, strict=True):
        assert_close(a, np.asarray(b), rtol=1e-10)


def test_operators_let_infinity_and_nan_pass_without_a_warning():
    assert_array = np.testing.assert_array_equal
    zero = np.array([0.0])
    assert_array(vjp(lambda x: 1 / x, zero)[0], [np.inf])
    assert_array(vjp(lambda x: 1 / x, zero)[1](np.ones(1))[0], [-np.inf])
    assert_array(vjp(lambda x: x**0.5, zero)[1](np.ones(1))[0], [np.inf])
    assert_array(vjp(lambda x: x**0.5, -1 + zero)[0], [np.nan])
    huge = np.array([[1e300]])
    assert_array(vjp(lambda x: x * x, huge)[0], [[np.inf]])
    assert_array(vjp(lambda x: x @ x, huge)[0], [[np.inf]])
    assert_array(vjp(lambda x: x + x, 1e8 * huge)[0], [[np.inf]])
    with np.errstate(over="raise"):
        assert np.geterr()["over"] == "raise"  # what the caller has set stays


def test_zeroth_power_has_no_slope_even_at_zero():
    value, pullback = vjp(lambda x: x**0, np.array([0.0, 2.0]))
    assert value.tolist() == [1.0, 1.0]
    assert pullback(np.ones(2))[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("returned", [None, "loss", (1.0, 2.0), {"loss": 1.0}, [1.0]])
def test_a_function_must_return_numbers(returned):
    with pytest.raises(TypeError, match="vjp: function must return one array; got"):
        vjp(lambda x: returned, np.ones(2))
    with pytest.raises(TypeError, match="value_and_grad: function must return one number; got"):
        value_and_grad(lambda x: returned)(np.ones(2))


@pytest.mark.parametrize("returned", [None, 1.0, (1.0,), (1.0, 2.0, 3.0)])
def test_has_aux_wants_a_pair(returned):
    with pytest.raises(TypeError, match="value_and_grad: function must return a pair"):
        value_and_grad(lambda x: returned, has_aux=True)(np.ones(2))
