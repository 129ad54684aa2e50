import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.activations import gelu, identity, tanh
from trainlab.differentiation import check_grad, value_and_grad, vjp
from trainlab.initialization import xavier_uniform
from trainlab.mlp import mlp, mlp_init, residual_mlp, residual_mlp_init
from trainlab.regression import mse_loss
from trainlab.trees import tree_leaves, tree_map

jax.config.update("jax_enable_x64", True)


def rng(seed=0):
    return np.random.default_rng(seed)


def near(actual, expected, tolerance=1e-10):
    # Relative to the largest entry: small ones are differences of large ones.
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * abs(expected).max())


def with_biases(params):
    return tree_map(lambda a: a + rng(1).standard_normal(a.shape) / 4, params)


def test_mlp_by_hand():
    params = [
        {"weight": np.array([[1.0, -1.0], [2.0, 0.0]]), "bias": np.array([0.5, -5.0])},
        {"weight": np.array([[3.0, 1.0]]), "bias": np.array([-1.0])},
    ]
    # hidden: relu(1 - 2 + 0.5, 2 - 5) = (0, 0) and relu(4 - 1 + 0.5, 8 - 5) = (3.5, 3)
    np.testing.assert_array_equal(mlp(params, np.array([[1.0, 2.0], [4.0, 1.0]])), [[-1], [12.5]])
    # the last layer has no activation, and one layer has none at all
    np.testing.assert_array_equal(mlp(params[1:], np.array([1.0, -9.0])), [-7.0])
    np.testing.assert_array_equal(
        mlp(params, np.array([1.0, 2.0]), activation=identity), [3 * -0.5 - 3 - 1]
    )


def test_mlp_init():
    params = mlp_init((300, 400, 2), rng=rng())
    assert [p["weight"].shape for p in params] == [(400, 300), (2, 400)]
    assert params[0]["weight"].var() == pytest.approx(2 / 300, rel=0.02)  # of 120 000 numbers
    assert all(not p["bias"].any() and p["bias"].shape == p["weight"].shape[:1] for p in params)
    xavier = mlp_init([300, 400], rng=rng(), initializer=xavier_uniform, dtype=np.float32)
    assert abs(xavier[0]["weight"]).max() <= np.float32(np.sqrt(6 / 700))
    assert {a.dtype for a in tree_leaves(xavier)} == {np.dtype(np.float32)}


def test_residual_mlp_by_hand():
    one = np.ones((1, 1))
    params = {
        "into": {"weight": 2 * one, "bias": one[0]},
        "blocks": [
            {"up": {"weight": one, "bias": -one[0]}, "down": {"weight": 3 * one, "bias": one[0]}},
            {"up": {"weight": -one, "bias": one[0]}, "down": {"weight": one, "bias": one[0]}},
        ],
        "out": {"weight": one, "bias": -5 * one[0]},
    }
    # h = 7; h += 3 · relu(6) + 1 = 26; h += relu(-25) + 1 = 27
    np.testing.assert_array_equal(residual_mlp(params, np.array([[3.0]])), [[22.0]])
    # h = 7; h += 3 · 6 + 1 = 26; h += -25 + 1 = 2
    np.testing.assert_array_equal(
        residual_mlp(params, np.array([3.0]), activation=identity), [-3.0]
    )


def test_residual_mlp_init():
    params = residual_mlp_init(300, 200, width=400, depth=4, hidden=100, rng=rng())
    blocks = params["blocks"]
    assert len(blocks) == 4
    assert blocks[0]["up"]["weight"].shape == (100, 400)
    for layer, variance in (
        (params["into"], 1 / 300),
        (blocks[1]["up"], 2 / 400),
        (blocks[1]["down"], 1 / 100 / 4),
        (params["out"], 1 / 400),
    ):
        assert layer["weight"].var() == pytest.approx(variance, rel=0.03)  # >= 40 000 numbers
        assert not layer["bias"].any()
    full = residual_mlp_init(3, 2, width=200, depth=4, rng=rng(), branch_scale=1.0)
    assert full["blocks"][0]["down"]["weight"].var() == pytest.approx(1 / 200, rel=0.03)
    assert full["blocks"][0]["down"]["weight"].shape == (200, 200)
    assert residual_mlp_init(3, 2, width=4, depth=0, rng=rng())["blocks"] == []
    single = residual_mlp_init(3, 2, width=4, depth=2, rng=rng(), dtype=np.float32)
    assert {a.dtype for a in tree_leaves(single)} == {np.dtype(np.float32)}


def test_the_smallest_networks():
    assert [p["weight"].shape for p in mlp_init((1, 1), rng=rng())] == [(1, 1)]
    params = residual_mlp_init(1, 1, width=1, depth=1, hidden=1, rng=rng())
    assert {a.size for a in tree_leaves(params)} == {1}
    still = residual_mlp_init(1, 1, width=1, depth=1, rng=rng(), branch_scale=0)
    assert not still["blocks"][0]["down"]["weight"].any()


@pytest.mark.parametrize(("branch_scale", "growth"), [(1.0, 2**8), (None, (1 + 1 / 8) ** 8)])
def test_the_stream_grows_by_the_branches(branch_scale, growth):
    params = residual_mlp_init(64, 64, width=400, depth=8, rng=rng(), branch_scale=branch_scale)
    params["out"] = {"weight": np.eye(400)}
    x = rng(2).standard_normal((200, 64))
    ratio = np.mean(residual_mlp(params, x) ** 2) / np.mean(mlp([params["into"]], x) ** 2)
    assert ratio == pytest.approx(growth, rel=0.25)  # widths of 400 fluctuate by some percent


@pytest.mark.parametrize("shape", [(5, 3), (3,), (2, 4, 3), (1, 3), (0, 3)])
@pytest.mark.parametrize("activation", [tanh, gelu])
def test_gradient(shape, activation):
    x = rng(3).standard_normal(shape)
    plain = with_biases(mlp_init((3, 6, 5, 2), rng=rng()))
    residual = with_biases(residual_mlp_init(3, 2, width=4, depth=3, hidden=5, rng=rng()))
    for function, params in ((mlp, plain), (residual_mlp, residual)):
        f = functools.partial(function, activation=activation)
        assert f(params, x).shape == (*shape[:-1], 2)
        if x.size:
            assert check_grad(f, params, x, rng=rng(4)) < 1e-7  # what central differences resolve


def test_gradient_descent_learns_xor():
    x, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [1], [0]])
    params = mlp_init((2, 16, 1), rng=rng())
    loss = value_and_grad(lambda params: mse_loss(mlp(params, x, activation=tanh), y))
    for _ in range(400):
        value, grads = loss(params)
        params = tree_map(lambda p, g: p - 0.2 * g, params, grads)
    assert value < 1e-2


@pytest.mark.referee
def test_against_jax():
    x = rng(3).standard_normal((5, 3))
    params = with_biases(mlp_init((3, 6, 5, 2), rng=rng()))
    blocks = with_biases(residual_mlp_init(3, 2, width=4, depth=3, hidden=5, rng=rng()))

    def layer(p, h):
        return h @ p["weight"].T + p["bias"]

    def plain(params, x):
        for p in params[:-1]:
            x = jax.nn.relu(layer(p, x))
        return jnp.sum(jnp.sin(layer(params[-1], x)))

    def residual(params, x):
        h = layer(params["into"], x)
        for block in params["blocks"]:
            h += layer(block["down"], jax.nn.relu(layer(block["up"], h)))
        return jnp.sum(jnp.sin(layer(params["out"], h)))

    for function, reference, p in ((mlp, plain, params), (residual_mlp, residual, blocks)):
        # the cotangent of a sum of sines are cosines
        value, theirs = jax.jit(jax.value_and_grad(reference))(p, x)
        z = function(p, x)
        assert_close(np.sin(z).sum(), np.asarray(value), rtol=1e-10)
        _, pullback = vjp(function, p, x)
        ours = pullback(np.cos(z))[0]
        for a, b in zip(tree_leaves(ours), tree_leaves(dict_order(p, theirs)), strict=True):
            near(a, b)


def dict_order(like, tree):
    """JAX sorts the keys of dicts."""
    if isinstance(like, dict):
        return {k: dict_order(v, tree[k]) for k, v in like.items()}
    if isinstance(like, list):
        return [dict_order(v, t) for v, t in zip(like, tree, strict=True)]
    return tree


LINEAR = {"weight": np.eye(2)}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"into": {}, "blocks": [], "out": LINEAR}, "params must hold a linear layer"),
        ({"into": {"weight": np.ones((2, 3))}, "blocks": [], "out": LINEAR}, "params must hold"),
        ({"into": LINEAR, "blocks": [], "out": np.eye(2)}, "params must hold a linear layer"),
        ({"into": LINEAR, "blocks": 3, "out": LINEAR}, r"params\['blocks'\] must be a list"),
        ({"into": LINEAR, "blocks": [{"up": LINEAR}], "out": LINEAR}, "must have an entry 'down'"),
    ],
)
def test_residual_mlp_refuses_parameters_by_name(params, message):
    with pytest.raises((TypeError, ValueError), match=f"residual_mlp: .*{message}"):
        residual_mlp(params, np.ones((1, 2)))
