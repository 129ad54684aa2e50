import itertools
import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.plain_network import Network, gradient_descent, logits, loss_and_gradients


def random_network(rng, sizes, stack=()):
    return Network(
        tuple(rng.standard_normal((*stack, m, n)) for n, m in itertools.pairwise(sizes)),
        tuple(rng.standard_normal((*stack, m)) for m in sizes[1:]),
    )


def data(rng, classes, batch=7, inputs=3):
    return rng.standard_normal((batch, inputs)), rng.integers(0, classes, batch)


def test_logits_by_hand():
    net = Network((np.array([[1.0, -1.0]]), np.array([[3.0]])), (np.array([0.5]), np.array([-1.0])))
    out = logits(net, np.array([[2.0, 1.0], [0.0, 1.0]]), activation="relu")
    assert_close(out, [[3 * 1.5 - 1], [-1.0]])


def test_loss_by_hand():
    net = Network((np.array([[1.0], [2.0]]),), (np.zeros(2),))
    loss, gradients = loss_and_gradients(net, np.array([[1.0]]), np.array([0]), activation="relu")
    assert_close(loss, math.log(math.e + math.e**2) - 1)
    p = 1 / (1 + math.e)  # of class 0
    assert_close(gradients.weights[0], [[p - 1], [1 - p]])
    assert_close(gradients.biases[0], [p - 1, 1 - p])


def test_one_logit_is_two_logits_with_the_first_at_zero():
    rng = np.random.default_rng(0)
    x, y = data(rng, 2)
    one = random_network(rng, [3, 4, 1])
    two = Network(
        (one.weights[0], np.vstack([np.zeros((1, 4)), one.weights[1]])),
        (one.biases[0], np.array([0.0, one.biases[1][0]])),
    )
    loss1, grad1 = loss_and_gradients(one, x, y, activation="tanh")
    loss2, grad2 = loss_and_gradients(two, x, y, activation="tanh")
    assert_close(loss1, loss2)
    assert_close(grad1.weights[0], grad2.weights[0])
    assert_close(grad1.weights[1], grad2.weights[1][1:])


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize("out", [1, 3])
def test_gradients_against_central_differences(activation, out):
    rng = np.random.default_rng(1)
    x, y = data(rng, max(out, 2))
    net = random_network(rng, [3, 5, 4, out])
    _, gradients = loss_and_gradients(net, x, y, activation=activation)
    direction = random_network(rng, [3, 5, 4, out])

    def shifted(step):
        moved = [
            tuple(p + step * d for p, d in zip(ps, ds, strict=True))
            for ps, ds in zip(net, direction, strict=True)
        ]
        return float(loss_and_gradients(Network(*moved), x, y, activation=activation)[0])

    numeric = (shifted(1e-6) - shifted(-1e-6)) / 2e-6
    analytic = sum(
        np.sum(g * d)
        for gs, ds in zip(gradients, direction, strict=True)
        for g, d in zip(gs, ds, strict=True)
    )
    assert_close(analytic, numeric, rtol=1e-6)  # central differences in float64


def test_a_stack_is_its_networks_one_by_one():
    rng = np.random.default_rng(2)
    x, y = data(rng, 3)
    stack = random_network(rng, [3, 4, 3], stack=(5,))
    together, losses = gradient_descent(stack, x, y, activation="tanh", lr=0.3, steps=4)
    assert losses.shape == (5, 5)
    for i in range(5):
        alone = Network(tuple(w[i] for w in stack.weights), tuple(b[i] for b in stack.biases))
        after, curve = gradient_descent(alone, x, y, activation="tanh", lr=0.3, steps=4)
        assert_close(losses[:, i], curve)
        assert_close(together.weights[0][i], after.weights[0])


def test_steps_compose_and_zero_steps_change_nothing():
    rng = np.random.default_rng(3)
    x, y = data(rng, 2)
    net = random_network(rng, [3, 4, 1])
    same, losses = gradient_descent(net, x, y, activation="relu", lr=0.1, steps=0)
    assert_close(same.weights[0], net.weights[0])
    assert losses.shape == (1,)
    first, _ = gradient_descent(net, x, y, activation="relu", lr=0.1, steps=3)
    second, _ = gradient_descent(first, x, y, activation="relu", lr=0.1, steps=4)
    at_once, _ = gradient_descent(net, x, y, activation="relu", lr=0.1, steps=7)
    assert_close(second.weights[1], at_once.weights[1])


@pytest.mark.referee
def test_loss_and_gradients_against_jax():
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    rng = np.random.default_rng(4)
    x, y = data(rng, 4)
    net = random_network(rng, [3, 6, 4])

    def loss(weights, biases):
        h = jax.nn.selu(x @ weights[0].T + biases[0])
        out = h @ weights[1].T + biases[1]
        return optax.softmax_cross_entropy_with_integer_labels(out, y).mean()

    with jax.enable_x64(True):
        value, (dw, db) = jax.value_and_grad(loss, argnums=(0, 1))(
            *(tuple(map(jax.numpy.asarray, part)) for part in net)
        )
    ours, gradients = loss_and_gradients(net, x, y, activation="selu")
    assert_close(ours, float(value))
    for mine, theirs in zip((*gradients.weights, *gradients.biases), (*dw, *db), strict=True):
        assert_close(mine, np.asarray(theirs))
