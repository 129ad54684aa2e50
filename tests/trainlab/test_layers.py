"""`trainlab.layers`: linear, embedding, convolution, pooling."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import layers as L
from trainlab.differentiation import check_grad, vjp


def rng(seed=0):
    return np.random.default_rng(seed)


def normal(shape, seed=0):
    return rng(seed).standard_normal(shape)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (1, 4), (0, 4), (2, 0, 4)])
def test_linear(shape):
    x, weight, bias = normal(shape), normal((5, 4), 1), normal(5, 2)
    assert_close(L.linear(x, weight, bias=bias), x @ weight.T + bias)
    assert_close(L.linear(x, weight), x @ weight.T)
    assert check_grad(lambda x, w, b: L.linear(x, w, bias=b), x, weight, bias, rng=rng(3)) < 1e-7
    assert check_grad(L.linear, x, weight, rng=rng(3)) < 1e-7
    if x.size:
        turned = np.asfortranarray(x)
        assert check_grad(L.linear, turned, weight, rng=rng(3)) < 1e-7


def test_linear_keeps_float32_and_its_inputs():
    x, weight, bias = (a.astype(np.float32) for a in (normal((3, 4)), normal((5, 4)), normal(5)))
    value, pullback = vjp(lambda x, w, b: L.linear(x, w, bias=b), x, weight, bias)
    c = np.ones_like(value)
    c.flags.writeable = False
    assert [a.dtype for a in (value, *pullback(c))] == [np.float32] * 4


def test_embedding():
    weight, ids = normal((5, 3)), np.array([[4, 0, 4], [1, 4, 0]], np.int32)
    np.testing.assert_array_equal(L.embedding(ids, weight), weight[ids])
    cotangent = normal((2, 3, 3), 1)
    (gradient,) = vjp(lambda w: L.embedding(ids, w), weight)[1](cotangent)
    one_hot = np.eye(5)[ids.reshape(-1)]
    assert_close(gradient, one_hot.T @ cotangent.reshape(6, 3))
    np.testing.assert_array_equal(gradient[[2, 3]], np.zeros((2, 3)))  # do not occur
    assert check_grad(lambda w: L.embedding(ids, w), weight, rng=rng(2)) < 1e-7
    assert L.embedding(np.array(2), weight).shape == (3,)
    empty = np.zeros((0, 2), int)
    value, pullback = vjp(lambda w: L.embedding(empty, w), weight)
    np.testing.assert_array_equal(pullback(value)[0], np.zeros((5, 3)))


@pytest.mark.parametrize("vocabulary", [1024, 1025])
def test_large_vocabularies(vocabulary):
    ids, cotangent = np.array([vocabulary - 1, 3, vocabulary - 1]), normal((3, 2))
    (gradient,) = vjp(lambda w: L.embedding(ids, w), normal((vocabulary, 2)))[1](cotangent)
    expected = np.zeros((vocabulary, 2))
    expected[-1], expected[3] = cotangent[0] + cotangent[2], cotangent[1]
    assert_close(gradient, expected)


CONVOLUTIONS = [
    {},
    {"stride": 2},
    {"padding": 2},
    {"stride": (1, 2), "padding": (2, 1), "groups": 2},
    {"stride": 3, "padding": 1, "groups": 4},
]


def _convolution_by_hand(x, weight, stride=(1, 1), padding=(0, 0), groups=1):
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    (n, _, h, w), (out, per, kh, kw) = x.shape, weight.shape
    y = np.zeros((n, out, (h - kh) // stride[0] + 1, (w - kw) // stride[1] + 1))
    for o in range(out):
        first = o // (out // groups) * per
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                top, left = i * stride[0], j * stride[1]
                seen = x[:, first : first + per, top : top + kh, left : left + kw]
                y[:, o, i, j] = np.sum(seen * weight[o], axis=(1, 2, 3))
    return y


@pytest.mark.parametrize("how", CONVOLUTIONS)
def test_convolution(how):
    groups = how.get("groups", 1)
    x, weight, bias = normal((2, 4, 7, 6)), normal((8, 4 // groups, 3, 2), 1), normal(8, 2)
    pairs = {k: v if isinstance(v, tuple) or k == "groups" else (v, v) for k, v in how.items()}
    by_hand = _convolution_by_hand(x, weight, **pairs)
    # the sums are taken in another order
    assert_close(L.conv2d(x, weight, **how), by_hand, atol=1e-13)
    with_bias = by_hand + bias[:, None, None]
    assert_close(L.conv2d(x, weight, bias=bias, **how), with_bias, atol=1e-13)
    for shape in ((2, 4, 7, 6), (1, 4, 3, 5), (0, 4, 5, 5)):
        error = check_grad(
            lambda x, w, b: L.conv2d(x, w, bias=b, **how), normal(shape), weight, bias, rng=rng(3)
        )
        assert error < 1e-7


def test_a_one_by_one_convolution_is_a_linear_layer_of_each_pixel():
    x, weight = normal((2, 4, 3, 5)), normal((6, 4), 1)
    y = L.conv2d(x, weight[:, :, None, None])
    assert_close(np.moveaxis(y, 1, -1), L.linear(np.moveaxis(x, 1, -1), weight))


POOLS = [
    {"kernel_size": 2},
    {"kernel_size": (2, 3), "stride": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1},
]


@pytest.mark.parametrize("f", [L.max_pool2d, L.avg_pool2d])
@pytest.mark.parametrize("how", POOLS)
def test_pooling_gradients(f, how):
    for shape in ((2, 3, 7, 6), (1, 1, 3, 3), (0, 2, 4, 4)):
        assert check_grad(functools.partial(f, **how), normal(shape), rng=rng(1)) < 1e-7
    x = normal((2, 3, 7, 6)).astype(np.float32)
    value, pullback = vjp(functools.partial(f, **how), x)
    assert value.dtype == pullback(value)[0].dtype == np.float32


def test_pooling_by_hand():
    x = np.array([[[[1.0, 5, 2], [3, 4, 9], [-1, -2, -3]]]])
    np.testing.assert_array_equal(L.max_pool2d(x, 2), [[[[5]]]])
    np.testing.assert_array_equal(L.max_pool2d(x, 2, stride=1), [[[[5, 9], [4, 9]]]])
    np.testing.assert_array_equal(L.avg_pool2d(x, 2), [[[[13 / 4]]]])
    np.testing.assert_array_equal(L.avg_pool2d(x, 2, padding=1), [[[[0.25, 7 / 4], [0.5, 2]]]])
    # The padding of a maximum is -infinity, not 0.
    np.testing.assert_array_equal(L.max_pool2d(-np.ones((1, 1, 2, 2)), 2, padding=1),
                                  -np.ones((1, 1, 2, 2)))  # fmt: skip
    np.testing.assert_array_equal(L.global_avg_pool2d(x), [[2]])
    assert check_grad(L.global_avg_pool2d, normal((2, 3, 4, 5)), rng=rng()) < 1e-7


def test_equal_values_give_the_gradient_to_the_first():
    (gradient,) = vjp(lambda x: L.max_pool2d(x, 2), np.ones((1, 1, 2, 2)))[1](np.ones((1, 1, 1, 1)))
    np.testing.assert_array_equal(gradient, [[[[1, 0], [0, 0]]]])


def test_padding_of_at_most_half_the_window():
    with pytest.raises(ValueError, match="max_pool2d: padding must be a whole number <= 1; got 2"):
        L.max_pool2d(np.ones((1, 1, 5, 5)), 3, padding=2)


@pytest.mark.referee
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_torch(dtype):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    x, bias = normal((2, 4, 7, 6)).astype(dtype), normal(6).astype(dtype)
    ids = rng().integers(0, 6, (3, 5))
    pairs = [
        (lambda x, w: L.linear(x, w, bias=bias), lambda x, w: F.linear(x, w, torch.tensor(bias)),
         (normal((2, 3, 4)), normal((6, 4)))),
        (lambda w: L.embedding(ids, w), lambda w: F.embedding(torch.tensor(ids), w),
         (normal((6, 4)),)),
    ]  # fmt: skip
    for how in CONVOLUTIONS[:4]:
        weight = normal((6, 4 // how.get("groups", 1), 3, 2))
        pairs.append(
            (
                lambda x, w, how=how: L.conv2d(x, w, bias=bias, **how),
                lambda x, w, how=how: F.conv2d(x, w, torch.tensor(bias), **how),
                (x, weight),
            )
        )
    for how in POOLS:
        for name in ("max_pool2d", "avg_pool2d"):
            mine, theirs = (functools.partial(getattr(m, name), **how) for m in (L, F))
            pairs.append((mine, theirs, (x,)))
    rtol, atol = (1e-10, 1e-12) if dtype == np.float64 else (1e-4, 1e-5)  # sums that cancel
    for mine, theirs, arguments in pairs:
        arguments = [a.astype(dtype) for a in arguments]
        tensors = [torch.tensor(a, requires_grad=True) for a in arguments]
        y = theirs(*tensors)
        cotangent = rng(5).standard_normal(tuple(y.shape)).astype(dtype)
        y.backward(torch.tensor(cotangent))
        value, pullback = vjp(mine, *arguments)
        assert_close(value, y.detach().numpy(), rtol=rtol, atol=atol)
        for g, t in zip(pullback(cotangent), tensors, strict=True):
            assert_close(g, t.grad.numpy(), rtol=rtol, atol=atol)
