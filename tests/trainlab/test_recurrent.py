import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.differentiation import check_grad, vjp
from trainlab.recurrent import (
    LSTMState,
    gru,
    gru_init,
    lstm,
    lstm_init,
    recurrent_unit,
    rnn,
    rnn_init,
)

jax.config.update("jax_enable_x64", True)
INITS = {"rnn": rnn_init, "lstm": lstm_init, "gru": gru_init}
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def rng(seed=0):
    return np.random.default_rng(seed)


def near(actual, expected, tolerance=1e-10):
    # Relative to the largest entry: small ones are differences of large ones.
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * abs(expected).max())


def run(kind):
    """All of one network as a function of arrays: outputs and the last states, side by side."""

    def flat(outputs, *states):
        pieces = [outputs[:, t] for t in range(outputs.shape[1])] + list(states)
        return sum(piece * (i + 1.0) for i, piece in enumerate(pieces))

    def function(params, x, h0, c0):
        if kind == "lstm":
            outputs, state = lstm(params, x, initial=LSTMState(h0, c0))
            return flat(outputs, state.h, state.c)
        outputs, h = (rnn if kind == "rnn" else gru)(params, x, h0=h0)
        return flat(outputs, h)

    return function


@pytest.mark.parametrize("kind", INITS)
def test_init(kind):
    params = INITS[kind](30, 64, rng=rng())
    rows = 64 * GATES[kind]
    assert {k: v.shape for k, v in params.items()} == {
        "weight_ih": (rows, 30),
        "weight_hh": (rows, 64),
        "bias_ih": (rows,),
        "bias_hh": (rows,),
    }
    for value in params.values():
        assert 0.11 < abs(value).max() <= 1 / 8
        assert abs(value.mean()) < 0.03
    single = INITS[kind](3, 2, rng=rng(), dtype=np.float32)
    assert {v.dtype for v in single.values()} == {np.dtype(np.float32)}


def test_forget_bias():
    plain, shifted = (lstm_init(3, 5, rng=rng(), forget_bias=b) for b in (0.0, 1.5))
    difference = shifted["bias_ih"] - plain["bias_ih"]
    assert_close(difference, np.repeat([0.0, 1.5, 0.0, 0.0], 5), atol=1e-15)  # exact zeros
    np.testing.assert_array_equal(plain["bias_ih"], lstm_init(3, 5, rng=rng())["bias_ih"])
    np.testing.assert_array_equal(plain["bias_hh"], shifted["bias_hh"])


def test_lstm_step_by_hand():
    x, h, c = 0.5, 0.2, -0.3
    ih, hh = np.array([1.0, -2.0, 3.0, 0.5]), np.array([0.3, 0.4, -0.5, 2.0])
    b, d = np.array([0.1, 0.2, 0.3, 0.4]), np.array([-0.4, 0.3, 0.2, 0.1])
    params = {"weight_ih": ih[:, None], "weight_hh": hh[:, None], "bias_ih": b, "bias_hh": d}
    i, f, g, o = ih * x + hh * h + b + d
    i, f, o = (1 / (1 + np.exp(-z)) for z in (i, f, o))
    cell = f * c + i * np.tanh(g)
    start = LSTMState(np.array([[h]]), np.array([[c]]))
    outputs, state = lstm(params, np.array([[[x]]]), initial=start)
    assert_close(state.c, [[cell]])
    assert_close(state.h, [[o * np.tanh(cell)]])
    assert_close(outputs, [[[o * np.tanh(cell)]]])


def test_gru_step_by_hand():
    x, h = 0.5, 0.2
    ih, hh = np.array([1.0, -2.0, 3.0]), np.array([0.3, 0.4, -0.5])
    b, d = np.array([0.1, 0.2, 0.3]), np.array([-0.4, 0.3, 0.2])
    params = {"weight_ih": ih[:, None], "weight_hh": hh[:, None], "bias_ih": b, "bias_hh": d}
    r, z = (1 / (1 + np.exp(-(ih * x + b + hh * h + d)[k])) for k in (0, 1))
    n = np.tanh(3 * x + 0.3 + r * (-0.5 * h + 0.2))
    outputs, state = gru(params, np.array([[[x]]]), h0=np.array([[h]]))
    assert_close(state, [[(1 - z) * n + z * h]])
    assert_close(outputs[:, 0], state)


@pytest.mark.parametrize("kind", INITS)
def test_a_sequence_can_be_cut(kind):
    """The state carries everything: the second half continues from it."""
    params, x = INITS[kind](3, 4, rng=rng()), rng(1).standard_normal((2, 7, 3))
    function = {"rnn": rnn, "lstm": lstm, "gru": gru}[kind]
    name = "initial" if kind == "lstm" else "h0"
    outputs, state = function(params, x)
    first, middle = function(params, x[:, :3])
    second, last = function(params, x[:, 3:], **{name: middle})
    near(np.concatenate([first, second], axis=1), outputs)
    for a, b in zip(np.atleast_3d(last), np.atleast_3d(state), strict=True):
        near(a, b)


@pytest.mark.claim("ATT-05")
@pytest.mark.parametrize("steps", [10, 1000])
def test_the_state_of_an_lstm_has_one_size_at_any_length(steps):
    params = lstm_init(3, 8, rng=rng())
    _, state = lstm(params, rng(1).standard_normal((1, steps, 3)))
    assert state.h.size + state.c.size == 16


@pytest.mark.parametrize("kind", INITS)
@pytest.mark.parametrize("shape", [(2, 4, 3), (1, 1, 1), (3, 2, 5)])
def test_gradient(kind, shape):
    n, _, width = shape
    params = INITS[kind](width, 4, rng=rng())
    x, h0, c0 = (rng(s).standard_normal(z) for s, z in ((1, shape), (2, (n, 4)), (3, (n, 4))))
    assert check_grad(run(kind), params, x, h0, c0, rng=rng(4)) < 1e-7  # central differences


@pytest.mark.parametrize("kind", INITS)
def test_empty_batch_and_missing_state(kind):
    params = INITS[kind](3, 4, rng=rng())
    function = {"rnn": rnn, "lstm": lstm, "gru": gru}[kind]
    outputs, _ = function(params, np.zeros((0, 5, 3)))
    assert outputs.shape == (0, 5, 4)
    value, pullback = vjp(run(kind), params, np.zeros((0, 5, 3)), *[np.zeros((0, 4))] * 2)
    assert all(not g.any() for g in pullback(value)[0].values())
    x = rng(1).standard_normal((2, 3, 3))
    zero = LSTMState(*[np.zeros((2, 4))] * 2) if kind == "lstm" else np.zeros((2, 4))
    given = {"initial": zero} if kind == "lstm" else {"h0": zero}
    np.testing.assert_array_equal(function(params, x)[0], function(params, x, **given)[0])


@pytest.mark.parametrize("kind", INITS)
def test_saturated_gates_are_finite(kind):
    params = INITS[kind](3, 4, rng=rng())
    x = 1e4 * rng(1).standard_normal((2, 3, 3))
    value, pullback = vjp(run(kind), params, x, *[np.zeros((2, 4))] * 2)
    dparams, dx, *_ = pullback(np.ones_like(value))
    assert all(np.isfinite(a).all() for a in (value, dx, *dparams.values()))


@pytest.mark.referee
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("kind", INITS)
def test_against_torch(kind, dtype, tolerance):
    torch = pytest.importorskip("torch")
    params = INITS[kind](3, 4, rng=rng(), dtype=dtype)
    x, h0, c0, c = (
        rng(s).standard_normal(z).astype(dtype)
        for s, z in enumerate([(2, 6, 3), (2, 4), (2, 4), (2, 4)])
    )
    module = getattr(torch.nn, kind.upper())(3, 4, batch_first=True, dtype=torch.tensor(x).dtype)
    module.load_state_dict({f"{k}_l0": torch.tensor(v) for k, v in params.items()})
    tx, th, tc = (torch.tensor(a, requires_grad=True) for a in (x, h0, c0))
    start = (th[None], tc[None]) if kind == "lstm" else th[None]
    outputs, last = module(tx, start)
    states = [s[0] for s in last] if kind == "lstm" else [last[0]]
    pieces = [*outputs.unbind(dim=1), *states]
    expected = sum(piece * (i + 1.0) for i, piece in enumerate(pieces))
    expected.backward(torch.tensor(c))
    value, pullback = vjp(run(kind), params, x, h0, c0)
    dparams, dx, dh, dc = pullback(c)
    assert {a.dtype for a in (value, dx, dh, *dparams.values())} == {np.dtype(dtype)}
    near(value, expected.detach().numpy(), tolerance)
    near(dx, tx.grad.numpy(), tolerance)
    near(dh, th.grad.numpy(), tolerance)
    if kind == "lstm":
        near(dc, tc.grad.numpy(), tolerance)
    for name, gradient in dparams.items():
        near(gradient, getattr(module, f"{name}_l0").grad.numpy(), tolerance)


@pytest.mark.referee
def test_lstm_against_jax():
    params, x = lstm_init(3, 4, rng=rng()), rng(1).standard_normal((2, 6, 3))

    def reference(params):
        def step(state, xt):
            h, c = state
            a = xt @ params["weight_ih"].T + params["bias_ih"]
            i, f, g, o = jnp.split(a + h @ params["weight_hh"].T + params["bias_hh"], 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((2, 4))
        _, outputs = jax.lax.scan(step, (zeros, zeros), jnp.array(x).swapaxes(0, 1))
        return outputs.swapaxes(0, 1)

    c = rng(2).standard_normal((2, 6, 4))
    expected, pull = jax.vjp(jax.jit(reference), params)
    value, pullback = vjp(lambda p: lstm(p, x)[0], params)
    near(value, expected)
    for name, gradient in pullback(c)[0].items():
        near(gradient, pull(jnp.array(c))[0][name])


def test_options_reach_the_functions():
    f = functools.partial(lstm_init, 3, 4)
    with pytest.raises(ValueError, match="dtype of params"):
        lstm(f(rng=rng(), dtype=np.float32), np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match=r"initial\.h must be"):
        lstm(
            f(rng=rng()), np.zeros((1, 2, 3)), initial=LSTMState(np.zeros((2, 4)), np.zeros((1, 4)))
        )
    with pytest.raises(ValueError, match=r"initial\.c must be"):
        lstm(
            f(rng=rng()), np.zeros((1, 2, 3)), initial=LSTMState(np.zeros((1, 4)), np.zeros((2, 4)))
        )


# One unit


def test_a_unit_fed_with_its_output():
    w, b = np.array([6.0, 2.0, 0.0]), np.array([-3.0, 1.0, 0.7])
    once = 1 / (1 + np.exp(-(w * 0.25 + b)))
    twice = 1 / (1 + np.exp(-(w * once + b)))
    assert_close(recurrent_unit(w, b, steps=1, h0=0.25), once)
    assert_close(recurrent_unit(w, b, steps=2, h0=0.25), twice)
    # It is the tanh network of one unit: sigmoid(z) = (1 + tanh(z/2)) / 2.
    params = {
        "weight_ih": np.zeros((1, 1)),
        "weight_hh": np.array([[6.0 / 4]]),
        "bias_ih": np.array([6.0 / 4 - 3.0 / 2]),
        "bias_hh": np.zeros(1),
    }
    _, h = rnn(params, np.zeros((1, 7, 1)), h0=np.array([[2 * 0.25 - 1]]))
    found = recurrent_unit(w[:1], b[:1], steps=7, h0=0.25)
    assert_close(found, (1 + h[0]) / 2)


@pytest.mark.parametrize("steps", [1, 2, 20])
def test_gradient_of_a_unit(steps):
    w, b = rng(1).uniform(-3, 5, (2, 4, 3))
    check_grad(lambda w, b: recurrent_unit(w, b, steps=steps), w, b, rng=rng())


def test_the_cliff_of_a_unit_grows_with_the_steps():
    """On the unstable state 1/2 each step multiplies by w/4."""
    w, b = np.array([6.0]), np.array([-3.0])
    one = np.ones(1)
    db = [vjp(recurrent_unit, w, b, steps=steps)[1](one)[1] for steps in (1, 10, 50)]
    # dh/db = 1/4 · (1 + q + ... + q^(steps - 1)) with q = 6/4
    assert_close(np.concatenate(db), np.array([0.25 * (1.5**n - 1) / 0.5 for n in (1, 10, 50)]))
