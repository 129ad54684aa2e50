"""Optimizers, averages of weights: values, identities, and what they do to weights."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import adaptive_optimizers as A
from trainlab import averaging as V
from trainlab import optimizers as O
from trainlab.sweeps import stored
from trainlab.sweeps.adam_and_decay import DECAYS, NOISE, STEPS
from trainlab.trees import tree_leaves, tree_map

# Fifty steps multiply rounding errors: what is asked of the referees.
REFEREE = 1e-10


def rng(seed=0):
    return np.random.default_rng(seed)


def tree(seed=0):
    r = rng(seed)
    return {
        "b": [r.standard_normal(3), np.array(r.standard_normal())],
        "w": r.standard_normal((4, 3)),
    }


def gradient(params, step):
    """Some gradient that depends on the weights, and on the step."""
    noise = tree(100 + step)
    return tree_map(lambda w, n: w * np.cos(w) + 0.5 * n, params, noise)


def run(name, params, *, steps=50, grad=gradient, lr=0.01, **options):
    init, update = O.OPTIMIZERS[name]
    state = init(params)
    for step in range(steps):
        updates, state = update(grad(params, step), state, params, lr=lr, **options)
        params = O.apply_updates(params, updates)
    return params


def assert_trees_close(actual, expected, **tolerance):
    for a, b in zip(tree_leaves(actual), tree_leaves(expected), strict=True):
        assert_close(a, np.asarray(b), **tolerance)


# --- referees ------------------------------------------------------------------------------------


def optax_run(transformation, params, *, steps=50):
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)
    params = jax.tree.map(jax.numpy.asarray, params)
    state = transformation.init(params)
    for step in range(steps):
        grads = jax.tree.map(jax.numpy.asarray, gradient(jax.tree.map(np.asarray, params), step))
        updates, state = transformation.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


OPTAX = [
    ("sgd", {}, lambda o: o.sgd(0.01)),
    ("sgd", {"momentum": 0.9}, lambda o: o.sgd(0.01, momentum=0.9)),
    ("sgd", {"momentum": 0.9, "nesterov": True}, lambda o: o.sgd(0.01, 0.9, nesterov=True)),
    (
        "sgd",
        {"momentum": 0.9, "weight_decay": 0.3},
        lambda o: o.chain(o.trace(0.9), o.add_decayed_weights(0.3), o.scale(-0.01)),
    ),
    ("rmsprop", {}, lambda o: o.rmsprop(0.01, 0.99, 1e-8, eps_in_sqrt=False)),
    (
        "rmsprop",
        {"b2": 0.8, "centered": True, "eps": 0.1},
        lambda o: o.rmsprop(0.01, 0.8, 0.1, eps_in_sqrt=False, centered=True),
    ),
    (
        "rmsprop",
        {"bias_correction": True},
        lambda o: o.rmsprop(0.01, 0.99, 1e-8, eps_in_sqrt=False, bias_correction=True),
    ),
    ("adam", {}, lambda o: o.adam(0.01)),
    ("adam", {"b1": 0.8, "b2": 0.95, "eps": 0.1}, lambda o: o.adam(0.01, 0.8, 0.95, 0.1)),
    ("adam", {"l2": 0.3}, lambda o: o.chain(o.add_decayed_weights(0.3), o.adam(0.01))),
    ("adamw", {}, lambda o: o.adamw(0.01, weight_decay=0.01)),
    (
        "adamw",
        {"weight_decay": 0.5, "eps": 0.1, "b1": 0.7, "b2": 0.9},
        lambda o: o.adamw(0.01, 0.7, 0.9, 0.1, weight_decay=0.5),
    ),
    ("lion", {}, lambda o: o.lion(0.01, weight_decay=0.0)),
    (
        "lion",
        {"b1": 0.7, "b2": 0.95, "weight_decay": 0.5},
        lambda o: o.lion(0.01, 0.7, 0.95, weight_decay=0.5),
    ),
    ("lamb", {}, lambda o: o.lamb(0.01)),
    ("lamb", {"weight_decay": 0.5, "eps": 0.1}, lambda o: o.lamb(0.01, eps=0.1, weight_decay=0.5)),
]


@pytest.mark.referee
@pytest.mark.parametrize(
    ("name", "options", "make"), OPTAX, ids=lambda v: "optax" if callable(v) else str(v)[:40]
)
def test_fifty_steps_as_in_optax(name, options, make):
    import optax

    expected = optax_run(make(optax), tree())
    assert_trees_close(run(name, tree(), **options), expected, rtol=REFEREE)


TORCH = [
    ("sgd", {}, "SGD", {}),
    ("sgd", {"momentum": 0.9, "dampening": 0.3}, "SGD", {"momentum": 0.9, "dampening": 0.3}),
    (
        "sgd",
        {"momentum": 0.9, "nesterov": True, "l2": 0.3},
        "SGD",
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.3},
    ),
    ("adagrad", {}, "Adagrad", {}),
    ("adagrad", {"l2": 0.3, "eps": 0.1}, "Adagrad", {"weight_decay": 0.3, "eps": 0.1}),
    ("rmsprop", {}, "RMSprop", {}),
    (
        "rmsprop",
        {"centered": True, "l2": 0.3, "b2": 0.8},
        "RMSprop",
        {"centered": True, "weight_decay": 0.3, "alpha": 0.8},
    ),
    ("adam", {}, "Adam", {}),
    ("adam", {"l2": 0.3, "b1": 0.8}, "Adam", {"weight_decay": 0.3, "betas": (0.8, 0.999)}),
    ("adamw", {}, "AdamW", {}),
    ("adamw", {"weight_decay": 0.5, "eps": 0.1}, "AdamW", {"weight_decay": 0.5, "eps": 0.1}),
]


@pytest.mark.referee
@pytest.mark.parametrize(("name", "options", "kind", "theirs"), TORCH, ids=lambda v: str(v)[:40])
def test_fifty_steps_as_in_pytorch(name, options, kind, theirs):
    torch = pytest.importorskip("torch")
    leaves = [torch.nn.Parameter(torch.tensor(w)) for w in tree_leaves(tree())]
    optimizer = getattr(torch.optim, kind)(leaves, lr=0.01, **theirs)
    for step in range(50):
        b0, b1, w = (leaf.detach().numpy() for leaf in leaves)
        grads = tree_leaves(gradient({"b": [b0, b1], "w": w}, step))
        for leaf, grad in zip(leaves, grads, strict=True):
            leaf.grad = torch.tensor(grad)
        optimizer.step()
    expected = [leaf.detach().numpy() for leaf in leaves]
    assert_trees_close(run(name, tree(), **options), expected, rtol=REFEREE)


# --- the machinery -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", O.OPTIMIZERS)
def test_blocks_do_not_show(name, monkeypatch):
    """Leaves that are longer than a block, not contiguous, of no length: all the same."""
    params = {"long": rng(1).standard_normal((50, 7)).T, "none": np.zeros((0, 3))}
    grad = lambda p, step: tree_map(lambda w: np.sin(w + step), p)  # noqa: E731
    expected = run(name, params, steps=5, grad=grad)
    monkeypatch.setattr("trainlab._leafwise.BLOCK", 64 * 8)  # 350 = 5 · 64 + 30
    actual = run(name, params, steps=5, grad=grad)
    assert_close(actual["long"], expected["long"], rtol=1e-13)  # LAMB sums in another order
    assert actual["long"].shape == (7, 50)
    assert actual["none"].shape == (0, 3)


@pytest.mark.parametrize("name", O.OPTIMIZERS)
def test_donated_states_give_the_same_steps(name):
    options = {"momentum": 0.9} if name == "sgd" else {}
    assert_trees_close(
        run(name, tree(), donate=True, **options), run(name, tree(), **options), rtol=0
    )


def test_only_donated_arrays_are_overwritten():
    params, grads = np.ones(3), np.ones(3)
    state = A.adam_init(params)
    _, new = A.adam_update(grads, state, params, lr=0.1)
    assert new.mu is not state.mu
    assert state.mu.tolist() == [0, 0, 0]
    _, new = A.adam_update(grads, state, params, lr=0.1, donate=True)
    assert new.mu is state.mu
    assert_close(state.mu, np.full(3, 0.1))
    assert O.apply_updates(params, grads, donate=True) is params
    assert params.tolist() == [2, 2, 2]
    frozen = A.adam_init(params)
    frozen.mu.flags.writeable = False
    _, new = A.adam_update(grads, frozen, params, lr=0.1, donate=True)
    assert frozen.mu.tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", O.OPTIMIZERS)
def test_state_counts_steps_and_lr_zero_stands_still(name):
    init, update = O.OPTIMIZERS[name]
    state = init(tree())
    assert state.steps == 0
    for count in (1, 2):
        updates, state = update(tree(1), state, tree(), lr=0.0)
        assert state.steps == count
    assert all(not np.any(u) for u in tree_leaves(updates))


@pytest.mark.parametrize("name", O.OPTIMIZERS)
def test_nan_passes_on_to_the_weights(name):
    init, update = O.OPTIMIZERS[name]
    params, grads = np.ones(2), np.array([np.nan, 1.0])
    if name == "sgd":
        updates, _ = update(grads, init(params), params, lr=0.1, momentum=0.9)
    else:
        updates, _ = update(grads, init(params), params, lr=0.1)
    assert np.isnan(updates[0])


@pytest.mark.parametrize("name", ["adagrad", "rmsprop", "adam", "adamw", "lamb"])
@pytest.mark.parametrize("value", [1e30, np.inf])
def test_overflow_is_refused_by_name(name, value):
    init, update = O.OPTIMIZERS[name]
    params = np.ones(2, np.float32)
    grads = np.array([value, 1], np.float32)
    with pytest.raises(ValueError, match=f"{name}_update: grads must .*float32"):
        update(grads, init(params), params, lr=0.1)


def test_eps_that_the_dtype_rounds_to_zero_is_refused():
    params = np.ones(2, np.float16)
    with pytest.raises(ValueError, match="adam_update: eps must"):
        A.adam_update(params, A.adam_init(params), params, lr=0.1)
    updates, _ = A.adam_update(0 * params, A.adam_init(params), params, lr=0.1, eps=1e-4)
    assert updates.tolist() == [0, 0]


def test_structures_must_agree():
    params = {"w": np.ones(2)}
    with pytest.raises(ValueError, match=r"sgd_update: grads must have the structure of params"):
        O.sgd_update([np.ones(2)], O.sgd_init(params), params, lr=0.1)
    with pytest.raises(ValueError, match=r"sgd_update: grads must have the shape of params"):
        O.sgd_update({"w": np.ones(3)}, O.sgd_init(params), params, lr=0.1)
    with pytest.raises(TypeError, match="state must be a AdamState; got SGDState"):
        A.adam_update(params, O.sgd_init(params), params, lr=0.1)


def test_gradients_take_the_dtype_of_the_weights():
    params = np.ones(3, np.float32)
    updates, state = A.adam_update(np.ones(3, np.float16), A.adam_init(params), params, lr=0.1)
    assert updates.dtype == state.mu.dtype == np.float32


# --- gradient descent ----------------------------------------------------------------------------


def test_gradient_descent_without_momentum_is_minus_lr_times_gradient():
    params = tree()
    updates, state = O.sgd_update(tree(1), O.sgd_init(params), params, lr=0.3)
    assert_trees_close(updates, tree_map(lambda g: -0.3 * g, tree(1)))
    assert not np.any(state.trace["w"])  # no sum is kept


def test_momentum_by_hand_and_dampening_spares_the_first_gradient():
    params, grads, state = np.zeros(1), np.ones(1), O.sgd_init(np.zeros(1))
    seen = []
    for _ in range(3):
        updates, state = O.sgd_update(grads, state, params, lr=1.0, momentum=0.5, dampening=0.5)
        seen.append(float(-updates[0]))
    assert seen == [1.0, 1.0, 1.0]  # 0.5 · 1 + 0.5


def test_steady_gradients_make_momentum_a_larger_learning_rate():
    params, state = np.zeros(1), O.sgd_init(np.zeros(1))
    for _ in range(400):
        updates, state = O.sgd_update(np.ones(1), state, params, lr=0.01, momentum=0.9)
    assert_close(updates, [-0.01 / (1 - 0.9)])


def test_nesterov_is_the_gradient_at_the_point_ahead():
    """Sutskever's form, v ← μv - lr ∇f(w + μv), w ← w + v; PyTorch's weights are its w + μv."""
    h, lr, mu = np.array([1.0, 10.0]), 0.05, 0.9
    w, v = np.ones(2), np.zeros(2)
    params, state = np.ones(2), O.sgd_init(np.ones(2))
    for _ in range(30):
        v = mu * v - lr * h * (w + mu * v)
        w = w + v
        updates, state = O.sgd_update(h * params, state, params, lr=lr, momentum=mu, nesterov=True)
        params = params + updates
        assert_close(params, w + mu * v, rtol=1e-9, atol=1e-12)  # values cross 0


def test_nesterov_needs_momentum():
    for options in ({}, {"momentum": 0.9, "dampening": 0.1}):
        with pytest.raises(ValueError, match="sgd_update: nesterov must"):
            O.sgd_update(
                np.ones(1), O.sgd_init(np.ones(1)), np.ones(1), lr=1, nesterov=True, **options
            )


def bowl(params, curvature, name="sgd", *, steps, **options):
    return run(name, params, steps=steps, grad=lambda w, step: curvature * w, **options)


@pytest.mark.claim("HP-01")
def test_descent_on_a_bowl_is_stable_below_two_over_the_curvature():
    # Curvature 10; lr 0.199, 0.2, 0.201 after 2000 steps.
    w = [bowl(np.ones(1), 10.0, steps=2000, lr=lr)[0] for lr in (0.199, 0.2, 0.201)]
    assert_close(w[0], 0.99**2000, rtol=1e-9)  # 1.9e-9: each step rounds
    assert abs(w[1]) == 1
    assert_close(w[2], 1.01**2000, rtol=1e-9)
    assert w[2] > 4e8
    # Two curvatures: lr = 2/(1 + 100), both ends shrink by (κ - 1)/(κ + 1) a step.
    rate = (100 - 1) / (100 + 1)
    h = np.array([1.0, 100.0])
    assert_close(rate, 0.980, rtol=1e-3)  # rounded
    assert_close(np.abs(bowl(np.ones(2), h, steps=1, lr=2 / 101)), [rate, rate])
    assert round(math.log(1000) / -math.log(rate)) == 345
    end = np.abs(bowl(np.ones(2), h, steps=346, lr=2 / 101))
    assert end.max() < 1e-3 < end.max() / rate**2
    worse = [np.abs(bowl(np.ones(2), h, steps=346, lr=lr)).max() for lr in (0.0195, 0.0199)]
    assert min(worse) > end.max()


@pytest.mark.parametrize(
    ("momentum", "nesterov"), [(0.0, False), (0.5, False), (0.9, False), (0.5, True), (0.9, True)]
)
def test_momentum_moves_the_end_of_the_stable_range(momentum, nesterov):
    limit = 2 * (1 + momentum) / (1 + 2 * momentum if nesterov else 1) / 10
    options = {"momentum": momentum, "nesterov": nesterov}
    below, above = (
        abs(bowl(np.ones(1), 10.0, steps=4000, lr=limit * f, **options)[0]) for f in (0.99, 1.01)
    )
    assert below < 1e-3
    assert above > 1e3


# --- Adam ----------------------------------------------------------------------------------------


def test_adam_two_steps_by_hand():
    params, state = np.zeros(1), A.adam_init(np.zeros(1))
    updates, state = A.adam_update(np.array([2.0]), state, params, lr=0.1, b1=0.5, b2=0.75)
    assert (state.steps, state.mu[0], state.nu[0]) == (1, 1.0, 1.0)
    assert_close(updates, [-0.1 * 2 / (2 + 1e-8)])
    updates, state = A.adam_update(np.array([-1.0]), state, params, lr=0.1, b1=0.5, b2=0.75)
    assert (state.steps, state.mu[0], state.nu[0]) == (2, 0.0, 1.0)
    updates, state = A.adam_update(np.array([3.0]), state, params, lr=0.1, b1=0.5, b2=0.75)
    mean, square = 1.5 / (1 - 0.5**3), (0.75 + 9 / 4) / (1 - 0.75**3)
    assert_close(updates, [-0.1 * mean / (math.sqrt(square) + 1e-8)])


def test_first_step_is_the_sign_whatever_the_scale():
    grads = np.array([1e-6, -3.0, 1e6, 0.0])
    updates, _ = A.adam_update(grads, A.adam_init(grads), grads, lr=0.1, eps=1e-20)
    assert_close(updates, -0.1 * np.sign(grads))


def test_adam_without_averaging_is_corrected_rmsprop():
    adam = run("adam", tree(), b1=0.0, b2=0.99)
    assert_trees_close(adam, run("rmsprop", tree(), b2=0.99, bias_correction=True), rtol=1e-10)


def test_adamw_without_decay_is_adam():
    assert_trees_close(run("adamw", tree(), weight_decay=0.0), run("adam", tree()), rtol=0)


def test_decay_that_is_independent_of_lr():
    coupled = run("adamw", tree(), lr=0.01, weight_decay=0.5)
    free = run("adamw", tree(), lr=0.01, weight_decay=0.0, independent_decay=0.005)
    assert_trees_close(coupled, free, rtol=1e-12)
    params = np.array([2.0])
    updates, _ = A.adamw_update(
        np.zeros(1), A.adamw_init(params), params, lr=0.0, weight_decay=9.0, independent_decay=0.1
    )
    assert_close(updates, [-0.2])


def test_centered_rmsprop_of_a_constant_gradient_stays_finite():
    """The variance tends to 0, and rounding would put it below."""
    params, grads, state = np.zeros(1), np.array([0.1]), A.rmsprop_init(np.zeros(1))
    for _ in range(300):
        updates, state = A.rmsprop_update(grads, state, params, lr=1e-9, b2=0.5, centered=True)
        assert np.isfinite(updates).all()


def test_adagrad_starts_where_it_is_told():
    state = A.adagrad_init(np.zeros(1), initial_accumulator_value=3.0)
    updates, state = A.adagrad_update(np.ones(1), state, np.zeros(1), lr=1.0)
    assert_close(updates, [-0.5])
    assert state.total.tolist() == [4.0]


def test_lion_steps_have_one_length():
    params, state = np.zeros(4), O.lion_init(np.zeros(4))
    for step in range(20):
        updates, state = O.lion_update(rng(step).standard_normal(4), state, params, lr=0.1)
        assert_close(np.abs(updates), np.full(4, 0.1))


def test_lion_decides_by_another_average_than_it_keeps():
    state = O.LionState(0, np.array([1.0]))
    updates, state = O.lion_update(np.array([-8.0]), state, np.ones(1), lr=0.1)
    assert_close(updates, [-0.1])  # sign(0.9 - 0.8)
    assert_close(state.mu, [0.99 - 0.08])
    updates, _ = O.lion_update(
        np.zeros(1), O.lion_init(np.ones(1)), np.ones(1), lr=0.1, weight_decay=0.5
    )
    assert_close(updates, [-0.05])


def test_lamb_turns_every_leaf_by_the_same_angle():
    params = tree()
    updates, _ = A.lamb_update(tree(1), A.lamb_init(params), params, lr=0.01)
    for w, u in zip(tree_leaves(params), tree_leaves(updates), strict=True):
        assert_close(np.linalg.norm(u), 0.01 * np.linalg.norm(w))
    # Zero weights, or a zero step: trust ratio 1.
    zero = np.zeros(2)
    updates, _ = A.lamb_update(np.ones(2), A.lamb_init(zero), zero, lr=0.01)
    assert_close(updates, [-0.01, -0.01], rtol=2e-6)  # eps is 1e-6
    updates, _ = A.lamb_update(zero, A.lamb_init(zero), np.ones(2), lr=0.01)
    assert updates.tolist() == [0, 0]
    huge = np.full(2, 1e200)
    updates, _ = A.lamb_update(np.ones(2), A.lamb_init(huge), huge, lr=0.01)
    assert_close(updates, -0.01 * huge)


def multiplier(b1, b2, t):
    """Return how much too long the step is without bias correction, for a constant gradient."""
    params = np.zeros(1)
    state = A.AdamState(t - 1, np.full(1, 1 - b1 ** (t - 1)), np.full(1, 1 - b2 ** (t - 1)))
    updates, state = A.adam_update(np.ones(1), state, params, lr=1.0, b1=b1, b2=b2, eps=1e-20)
    assert_close(updates, [-1.0])  # corrected: exactly the sign
    return float(state.mu[0] / np.sqrt(state.nu[0]))


@pytest.mark.claim("WD-06", "HP-03")
def test_bias_correction_shortens_the_early_steps():
    found = {t: round(multiplier(0.9, 0.999, t), 2) for t in (1, 12, 100, 1000)}
    assert found == {1: 3.16, 12: 6.57, 100: 3.24, 1000: 1.26}
    assert max(range(1, 200), key=lambda t: multiplier(0.9, 0.999, t)) == 12
    assert round(multiplier(0.9, 0.95, 1), 2) == 0.45
    assert round(max(multiplier(0.9, 0.95, t) for t in range(1, 200)), 2) == 1.10


# --- weight decay --------------------------------------------------------------------------------


@pytest.mark.claim("WD-03")
def test_decay_is_a_penalty_for_plain_descent_only():
    plain = run("sgd", tree(), l2=0.3), run("sgd", tree(), weight_decay=0.3)
    assert_trees_close(*plain, rtol=1e-12)
    # Curvature 0.1 around 1, λ = 0.1, momentum 0.9.
    pull = lambda w, step: 0.1 * (w - 1)  # noqa: E731
    ends = [
        run("sgd", np.zeros(1), steps=3000, grad=pull, lr=0.1, momentum=0.9, **options)[0]
        for options in ({"l2": 0.1}, {"weight_decay": 0.1}, {"weight_decay": 0.1 / (1 - 0.9)})
    ]
    assert_close(ends, [0.1 / (0.1 + 0.1), 0.1 / (0.1 + 0.1 * (1 - 0.9)), 0.5])
    assert round(ends[1], 3) == 0.909


def noisy(std, seed=0, mean=0.0):
    r = rng(seed)
    return lambda w, step: mean + std * r.standard_normal(w.shape)


@pytest.mark.claim("WD-04")
def test_a_penalty_in_adam_spares_weights_with_large_gradients():
    start, lr, decay, steps = np.ones((3, 300)), 2e-3, 0.1, 2500
    std = np.array([[0.1], [1.0], [10.0]])
    coupled = run("adam", start, steps=steps, grad=noisy(std), lr=lr, l2=decay).mean(axis=1)
    decoupled = run("adamw", start, steps=steps, grad=noisy(std), lr=lr, weight_decay=decay).mean(
        axis=1
    )
    # Weights of one run scatter by about lr · √steps = 0.1, their mean over 300 by 0.006.
    assert_close(coupled, [0.010, 0.609, 0.953], atol=0.01, rtol=0)
    assert_close(coupled, np.exp(-lr * decay * steps / std[:, 0]), atol=0.01, rtol=0)
    assert_close(decoupled, np.full(3, 0.607), atol=0.01, rtol=0)


@pytest.mark.claim("WD-05")
def test_adamw_without_noise_forgets_its_decay():
    h, decay = np.array([1.0, 100.0]), 0.5
    pull = lambda w, step: h * (w - 1)  # noqa: E731

    def end(name, lr, **options):
        init, update = O.OPTIMIZERS[name]
        params = np.zeros(2)
        state = init(params)
        for step in range(3000):
            now = lr * 0.5 * (1 + math.cos(math.pi * step / 3000))
            updates, state = update(pull(params, step), state, params, lr=now, **options)
            params = params + updates
        return params

    ridge = h / (h + decay)  # (0.667, 0.995)
    # Ends of decaying runs, as close as they get in 3000 steps. AdamW's gap falls by 0.375 in
    # 1 / (1 - b2) steps, the memory of nu.
    assert_close(end("sgd", 0.01, l2=decay), ridge, rtol=1e-4)
    assert_close(end("adam", 0.01, b2=0.99, l2=decay), ridge, rtol=1e-4)
    assert_close(end("adamw", 0.01, b2=0.99, weight_decay=decay), [1.0, 1.0], rtol=1e-3)
    # With noise it shrinks relative to that: w = (h/σ) / (h/σ + λ).
    std, decay = np.array([[1.0], [30.0]]), 0.1

    def jitter(seed):
        r = rng(seed)
        h = np.array([[1.0], [1.0]])
        return lambda w, step: h * (w - 1) + std * r.standard_normal(w.shape)

    start = np.ones((2, 400))
    long = {"steps": 2000, "lr": 0.02}
    coupled = run("adam", start, grad=jitter(1), l2=decay, **long).mean(axis=1)
    decoupled = run("adamw", start, grad=jitter(1), weight_decay=decay, **long).mean(axis=1)
    assert_close(coupled, [0.91, 0.90], atol=0.04, rtol=0)  # 400 runs
    assert_close(decoupled, [0.909, 0.25], atol=0.04, rtol=0)


@pytest.mark.claim("WD-04", "WD-05")
def test_stored_runs_end_where_theory_says():
    """Forty runs in pairs of opposite noise: their mean is nearly exact."""
    ends = {
        (run["optimizer"], run["decay"], run["curvature"]): dict(
            zip(NOISE, run["end"], strict=True)
        )
        for run in stored("adam_and_decay")
    }
    assert_close([ends["adam", 0.1, 0.0][s] for s in (0.1, 1.0, 10.0)], [0.010, 0.609, 0.953],
                 atol=0.002, rtol=0)  # fmt: skip
    assert_close([ends["adamw", 0.1, 1.0][s] for s in (1.0, 30.0)], [0.908, 0.249],
                 atol=0.002, rtol=0)  # fmt: skip
    for decay in DECAYS:
        shrunk = 0.001 * decay * STEPS
        for std in NOISE:
            free = ends["adam", decay, 0.0][std]
            if std > decay:  # else the penalty itself is much of the gradient
                assert_close(free, math.exp(-shrunk / std), atol=0.01, rtol=0)
            for name in ("sgd", "adamw"):
                assert_close(ends[name, decay, 0.0][std], math.exp(-shrunk), rtol=0.01)
            assert_close(ends["sgd", decay, 1.0][std], 1 / (1 + decay), rtol=1e-3)
            # At σ = 30 Adam has not quite settled.
            assert_close(ends["adam", decay, 1.0][std], 1 / (1 + decay), rtol=0.01)
            # AdamW: where (1 - w) / √(σ² + (1 - w)²) falls below λ w.
            w = np.linspace(0, 1, 100_001)
            settled = w[np.argmax((1 - w) / np.hypot(std, 1 - w) < decay * w)]
            assert_close(ends["adamw", decay, 1.0][std], settled, atol=0.003, rtol=0)


@pytest.mark.claim("WD-07")
def test_decay_before_the_step_is_the_formula_and_after_it_is_not():
    w, g = np.array([2.0]), np.array([3.0])
    updates, _ = A.adamw_update(g, A.adamw_init(w), w, lr=0.1, weight_decay=0.5)
    assert_close(w + updates, [1.8])
    step, _ = A.adam_update(g, A.adam_init(w), w, lr=0.1)
    assert_close((1 - 0.1 * 0.5) * w + step, [1.8])
    assert_close((1 - 0.1 * 0.5) * (w + step), [1.805])


@pytest.mark.claim("WD-08")
def test_decay_is_multiplied_by_the_learning_rate():
    for lr, decay, half_life in ((1e-3, 0.01, 69_315), (3e-4, 0.1, 23_105)):
        w = np.ones(1)
        updates, _ = A.adamw_update(np.zeros(1), A.adamw_init(w), w, lr=lr, weight_decay=decay)
        shrink = float(1 + updates[0])
        assert_close(shrink, 1 - lr * decay, rtol=1e-12)
        # ln 2 / (lr · decay) is nearly the exact number.
        assert abs(math.log(0.5) / math.log(shrink) - half_life) < 1.5
    # The default, PyTorch's.
    updates, _ = A.adamw_update(np.zeros(1), A.adamw_init(w), w, lr=1.0)
    assert_close(updates, [-0.01])


@pytest.mark.claim("WD-09")
def test_a_penalty_alone_makes_adam_step_by_lr():
    for penalty in (0.5, 1e-3):
        w = np.array([0.3, -2.0])
        updates, _ = A.adam_update(np.zeros(2), A.adam_init(w), w, lr=0.1, l2=penalty)
        assert_close(updates, [-0.1, 0.1], rtol=1e-4)  # eps against 3e-4
        # The same penalty in the loss of AdamW is filtered alike, on top of its decay.
        both, _ = A.adamw_update(penalty * w, A.adamw_init(w), w, lr=0.1, weight_decay=0.5)
        assert_close(both, updates - 0.1 * 0.5 * w)


@pytest.mark.claim("WD-10")
def test_decay_shrinks_used_and_unused_weights_by_the_same_factor():
    w = np.array([1.0, 1.0])
    used = np.array([0.3, 0.0])  # gradients
    updates, _ = O.sgd_update(used, O.sgd_init(w), w, lr=0.1, weight_decay=0.5)
    bare, _ = O.sgd_update(used, O.sgd_init(w), w, lr=0.1)
    assert_close(updates - bare, [-0.05, -0.05])


@pytest.mark.claim("WD-11")
def test_scale_invariant_weights_reach_a_norm_that_decay_and_noise_agree_on():
    """At unit norm the gradient is noise of norm 1 across w; it is smaller by the norm of w."""

    def descend(lr, decay, steps, dim=200):
        r, w, norms, angles = rng(3), np.ones(dim) / math.sqrt(dim), [], []
        state = O.sgd_init(w)
        for step in range(steps):
            norm = np.linalg.norm(w)
            noise = r.standard_normal(dim)
            noise -= (noise @ w) / norm**2 * w
            grads = noise / (np.linalg.norm(noise) * norm)
            updates, state = O.sgd_update(grads, state, w, lr=lr, weight_decay=decay)
            new = w + updates
            if step > steps * 3 // 4:
                norms.append(np.linalg.norm(new))
                angles.append(math.acos(new @ w / np.linalg.norm(new) / norm))
            w = new
        return np.mean(norms), np.mean(angles)

    for lr, decay, steps in ((0.5, 1e-3, 4000), (0.5, 1e-2, 800), (0.05, 1e-2, 4000)):
        norm, angle = descend(lr, decay, steps)
        assert_close(norm, (lr / (2 * decay)) ** 0.25, rtol=0.01)  # to first order in lr·decay
        assert_close(angle, math.sqrt(2 * lr * decay), rtol=0.01)
    grown, _ = descend(0.5, 0.0, 3000)
    assert grown > 5  # without decay the norm only grows


@pytest.mark.claim("CLIP-06")
def test_one_spike_freezes_adam_and_clipping_saves_it():
    def last_step(spike):
        r, params, state = rng(8), np.zeros(200), A.adam_init(np.zeros(200))
        for step in range(100):
            grads = 1.0 + r.standard_normal(200)
            if step == 50:
                grads = np.full(200, spike)
            updates, state = A.adam_update(grads, state, params, lr=1.0)
        return float(-np.mean(updates))

    assert last_step(1000.0) < 0.05
    assert last_step(5.0) > 0.5
    # A permanent rescaling changes nothing.
    grads = rng(1).standard_normal(50)
    a, b = (A.adam_update(f * grads, A.adam_init(grads), grads, lr=1.0)[0] for f in (1, 1e-3))
    assert np.abs(a - b)[np.abs(grads) > 0.05].max() < 1e-3


# --- averages ------------------------------------------------------------------------------------


def sequence(steps=20):
    return [tree(seed) for seed in range(steps)]


def averaged(**options):
    state = V.ema_init(tree(99))
    for params in sequence():
        state = V.ema_update(params, state, **options)
    assert state.steps == 20
    return state.average


@pytest.mark.parametrize("bias_correction", [True, False])
def test_average_is_the_closed_form(bias_correction):
    weights = 0.1 * 0.9 ** np.arange(19, -1, -1)
    first = 0.9**20 * tree(99)["w"]
    if bias_correction:
        weights, first = weights / (1 - 0.9**20), 0
    expected = first + sum(a * p["w"] for a, p in zip(weights, sequence(), strict=True))
    assert_close(averaged(decay=0.9, bias_correction=bias_correction)["w"], expected)


def test_average_with_decay_one_is_the_mean_and_with_zero_the_last():
    mean = np.mean([p["w"] for p in sequence()], axis=0)
    assert_close(averaged(decay=1.0)["w"], mean, rtol=1e-12, atol=1e-15)
    assert_close(averaged(decay=1 - 1e-9)["w"], mean, rtol=1e-6)  # nearly 1
    assert_close(averaged(decay=0.0)["w"], sequence()[-1]["w"], rtol=1e-12)
    assert_close(averaged(decay=1.0, bias_correction=False)["w"], tree(99)["w"], rtol=0)


def test_average_defaults_and_donation():
    assert_trees_close(averaged(), averaged(decay=0.999, bias_correction=True), rtol=0)
    assert_trees_close(averaged(donate=True), averaged(), rtol=0)
    state = V.ema_init(np.zeros(2))
    assert V.ema_update(np.ones(2), state, donate=True).average is state.average


@pytest.mark.referee
def test_average_as_in_optax():
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)
    average = optax.ema(0.9, debias=True)
    state = average.init(jax.tree.map(jax.numpy.asarray, tree()))
    for params in sequence():
        out, state = average.update(jax.tree.map(jax.numpy.asarray, params), state)
    assert_trees_close(averaged(decay=0.9), out, rtol=REFEREE)


@pytest.mark.referee
def test_adagrad_as_in_optax_where_eps_does_not_matter():
    import optax

    init = lambda p: A.adagrad_init(p, initial_accumulator_value=0.1)  # noqa: E731
    params = tree()
    state = init(params)
    for step in range(50):
        updates, state = A.adagrad_update(gradient(params, step), state, params, lr=0.01, eps=1e-30)
        params = O.apply_updates(params, updates)
    theirs = optax.adagrad(0.01, initial_accumulator_value=0.1, eps=1e-30)
    assert_trees_close(params, optax_run(theirs, tree()), rtol=REFEREE)
