import functools

import numpy as np
import pytest

from trainlab.activations import identity, tanh
from trainlab.convolution_net import convolution_net, convolution_net_init
from trainlab.differentiation import check_grad, vjp
from trainlab.trees import tree_leaves, tree_map


def rng(seed=0):
    return np.random.default_rng(seed)


def make(channels=(2, 3, 4), classes=5, dtype=np.float64):
    params = convolution_net_init(channels, classes, rng=rng(), dtype=dtype)
    return tree_map(lambda a: a + (rng(1).standard_normal(a.shape) / 4).astype(dtype), params)


def test_init():
    params = convolution_net_init((50, 100), 30, rng=rng())
    weight = params["stages"][0]["weight"]
    assert weight.shape == (100, 50, 3, 3)
    assert weight.var() == pytest.approx(2 / 450, rel=0.03)  # of 45 000 numbers
    assert params["out"]["weight"].shape == (30, 100)
    assert params["out"]["weight"].var() == pytest.approx(1 / 100, rel=0.1)  # of 3 000
    assert not params["out"]["bias"].any()
    assert not params["stages"][0]["bias"].any()
    single = convolution_net_init((1, 2), 3, rng=rng(), dtype=np.float32)
    assert {a.dtype for a in tree_leaves(single)} == {np.dtype(np.float32)}


def test_by_hand():
    """A filter that copies its center: the average over windows of their largest pixel."""
    weight = np.zeros((1, 1, 3, 3))
    weight[0, 0, 1, 1] = 2.0
    params = {
        "stages": [{"weight": weight, "bias": np.array([-3.0])}],
        "out": {"weight": np.array([[1.0], [-1.0]]), "bias": np.array([0.0, 10.0])},
    }
    x = np.array([[0.0, 1, 2, 3], [4, 5, 6, 7]])[None, None]
    # the largest of each window are 5 and 7: 2 · 5 - 3 = 7 and 11, on average 9
    np.testing.assert_array_equal(convolution_net(params, x), [[9.0, 1.0]])
    below = {**params, "stages": [{"weight": -weight, "bias": np.array([1.0])}]}
    # 1 - 2x is 1 at most, in the first window, and -3 in the second: relu(1), relu(-3)
    np.testing.assert_array_equal(convolution_net(below, x), [[0.5, 9.5]])
    np.testing.assert_array_equal(convolution_net(below, x, activation=identity), [[-1.0, 11.0]])


def test_a_shifted_image_gives_the_same_classes():
    # Biases of 0 keep an empty background empty, as the padding is.
    params, x = convolution_net_init((2, 3, 4), 5, rng=rng()), np.zeros((1, 2, 16, 16))
    x[:, :, 4:8, 4:8] = rng(2).standard_normal((1, 2, 4, 4))
    moved = np.roll(x, 4, axis=3)  # two poolings make one place of 4
    np.testing.assert_allclose(
        convolution_net(params, moved), convolution_net(params, x), rtol=1e-12
    )


@pytest.mark.parametrize("shape", [(2, 2, 4, 5), (1, 2, 8, 8), (0, 2, 4, 4)])
def test_gradient(shape):
    params, x = make(), rng(3).standard_normal(shape)
    f = functools.partial(convolution_net, activation=tanh)
    assert f(params, x).shape == (shape[0], 5)
    if x.size:
        assert check_grad(f, params, x, rng=rng(4)) < 1e-6  # maxima next to one another


@pytest.mark.referee
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_against_torch(dtype, tolerance):
    torch = pytest.importorskip("torch")
    params = make(dtype=dtype)
    x, c = (rng(s).standard_normal(n).astype(dtype) for s, n in ((3, (4, 2, 9, 8)), (4, (4, 5))))
    leaves = [torch.tensor(a, requires_grad=True) for a in tree_leaves(params)]
    h = torch.tensor(x)
    for weight, bias in (leaves[:2], leaves[2:4]):
        h = torch.nn.functional.conv2d(h, weight, bias, padding=1)
        h = torch.nn.functional.max_pool2d(torch.relu(h), 2)
    expected = torch.nn.functional.linear(h.mean(dim=(2, 3)), *leaves[4:])
    expected.backward(torch.tensor(c))
    value, pullback = vjp(convolution_net, params, x)
    pairs = [(value, expected.detach())]
    pairs += zip(tree_leaves(pullback(c)[0]), (t.grad for t in leaves), strict=True)
    for ours, theirs in pairs:
        assert ours.dtype == dtype
        scale = abs(theirs.numpy()).max()
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(
    ("stages", "message"), [(3, "must be a list"), ([{}], "must have an entry 'weight'")]
)
def test_stages_are_refused_by_name(stages, message):
    params = {"stages": stages, "out": {"weight": np.eye(2)}}
    with pytest.raises((TypeError, ValueError), match=f"convolution_net: params.*{message}"):
        convolution_net(params, np.ones((1, 1, 4, 4)))
