"""Penalties on weights, their proximal operators, decay, and the conventions of its strength."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainlab.closeness import assert_close
from trainlab import weight_penalties as P
from trainlab.differentiation import check_grad, value_and_grad, vjp
from trainlab.explorers.weight_penalties import conventions, equilibrium, zeros
from trainlab.explorers.weight_penalties.zeros import CORRELATIONS, SHARES, TWO
from trainlab.normalization import batch_norm
from trainlab.penalized_regression import ridge_path

PENALTIES = {
    "l1": lambda w: P.l1_penalty(w, strength=0.7),
    "l2": lambda w: P.l2_penalty(w, strength=0.7),
    "elastic net": lambda w: P.elastic_net_penalty(w, l1=0.7, l2=0.3),
    "group, rows": lambda w: P.group_lasso_penalty(w, strength=0.7),
    "group, columns": lambda w: P.group_lasso_penalty(w, strength=0.7, axis=0),
    "group, all": lambda w: P.group_lasso_penalty(w, strength=0.7, axis=None),
}
# The same strengths: prox of PENALTIES of this name.
PROXES = {
    "l1": lambda x: P.soft_threshold(x, 0.7),
    "l2": lambda x: P.ridge_shrink(x, strength=0.7),
    "elastic net": lambda x: P.elastic_net_shrink(x, l1=0.7, l2=0.3),
    "group, rows": lambda x: P.group_soft_threshold(x, 0.7),
    "group, columns": lambda x: P.group_soft_threshold(x, 0.7, axis=0),
    "group, all": lambda x: P.group_soft_threshold(x, 0.7, axis=None),
}
each_penalty = pytest.mark.parametrize("name", PENALTIES)
SHAPES = [(3, 4), (1, 4), (3, 1), (0, 4)]


def rng(seed=0):
    return np.random.default_rng(seed)


def weights(seed=0, shape=(5, 4)):
    return 2 * rng(seed).standard_normal(shape)


# --- values ------------------------------------------------------------------------------------


def test_values_by_hand():
    w = np.array([[3.0, -4.0], [0.0, 2.0]])
    assert_close(P.l1_penalty(w, strength=0.5), 4.5)
    assert_close(P.l2_penalty(w, strength=0.5), 0.25 * 29)
    assert_close(P.elastic_net_penalty(w, l1=0.5, l2=2.0), 4.5 + 29)
    assert_close(P.group_lasso_penalty(w, strength=0.5), 0.5 * (5 + 2))
    assert_close(P.group_lasso_penalty(w, strength=0.5, axis=0), 0.5 * (3 + math.sqrt(20)))
    assert_close(P.group_lasso_penalty(w, strength=0.5, axis=None), 0.5 * math.sqrt(29))


def test_elastic_net_is_the_sum_and_single_groups_are_l1():
    w = weights()
    both = P.l1_penalty(w, strength=0.7) + P.l2_penalty(w, strength=0.3)
    assert_close(P.elastic_net_penalty(w, l1=0.7, l2=0.3), both)
    single = P.group_lasso_penalty(w[:, :, None], strength=0.7)
    assert_close(single, P.l1_penalty(w, strength=0.7))


def test_norms_neither_overflow_nor_vanish():
    w = np.array([[3.0, 4.0]], np.float32)
    for scale in (np.float32(1e-30), np.float32(1e30)):
        assert_close(P.group_lasso_penalty(w * scale, strength=1.0), np.float32(5) * scale)
        shorter = P.group_soft_threshold(w * scale, float(scale))
        assert_close(shorter, w * scale * np.float32(0.8))


def test_views_and_empty_arrays():
    w = weights(shape=(6, 8))[::2, ::-2]
    for name, penalty in PENALTIES.items():
        assert_close(penalty(w), penalty(w.copy()))
        assert_close(penalty(np.ones((0, 4))), 0.0)
        assert PROXES[name](np.ones((0, 4))).shape == (0, 4)


# --- gradients ---------------------------------------------------------------------------------


@each_penalty
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients(name, shape):
    w = weights(1, shape)
    assert check_grad(PENALTIES[name], w, rng=rng(2)) < 1e-7
    assert check_grad(PROXES[name], w, rng=rng(2)) < 1e-7


def test_gradient_of_a_broadcast_threshold():
    x, threshold = weights(3, (4,)), rng(4).uniform(0.1, 1, (3, 1))
    assert P.soft_threshold(x, threshold).shape == (3, 4)
    assert check_grad(lambda x: P.soft_threshold(x, threshold), x, rng=rng(5)) < 1e-7


def test_subgradient_at_zero_is_zero():
    for penalty in PENALTIES.values():
        _, grads = value_and_grad(penalty)(np.zeros((2, 3)))
        assert not grads.any()


@pytest.mark.referee
@each_penalty
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_jax_and_torch_agree(name, dtype, rtol):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    formulas = {
        "l1": lambda w, o: 0.7 * abs(w).sum(),
        "l2": lambda w, o: 0.35 * (w * w).sum(),
        "elastic net": lambda w, o: 0.7 * abs(w).sum() + 0.15 * (w * w).sum(),
        "group, rows": lambda w, o: 0.7 * o.sqrt((w * w).sum(1)).sum(),
        "group, columns": lambda w, o: 0.7 * o.sqrt((w * w).sum(0)).sum(),
        "group, all": lambda w, o: 0.7 * o.sqrt((w * w).sum()),
    }
    w = weights(6).astype(dtype)
    value, grads = value_and_grad(PENALTIES[name])(w)
    theirs, their_grads = jax.value_and_grad(lambda w: formulas[name](w, jnp))(w)
    # 1e-10 in float64: the same few operations, in another order
    assert_close(value, np.asarray(theirs), rtol=rtol)
    assert_close(grads, np.asarray(their_grads), rtol=rtol)
    torch = pytest.importorskip("torch")
    tw = torch.tensor(w, requires_grad=True)
    loss = formulas[name](tw, torch)
    loss.backward()
    assert_close(value, loss.detach().numpy(), rtol=rtol)
    assert_close(grads, tw.grad.numpy(), rtol=rtol)


@pytest.mark.referee
def test_optax_decays_and_torch_shrinks_alike():
    optax = pytest.importorskip("optax")
    w = weights(7)
    mine = P.decoupled_decay(w, lr=0.1, weight_decay=0.3)
    decay = optax.add_decayed_weights(0.3)
    update, _ = decay.update(np.zeros_like(w), decay.init(w), w)
    assert_close(mine, w - 0.1 * np.asarray(update), rtol=1e-6)  # optax may compute in float32
    torch = pytest.importorskip("torch")
    soft = torch.nn.functional.softshrink(torch.tensor(w), 0.7).numpy()
    assert_close(P.soft_threshold(w, 0.7), soft)


# --- proximal operators ------------------------------------------------------------------------


@each_penalty
def test_prox_minimizes_what_it_says(name):
    x = weights(8, (3, 4))
    z = PROXES[name](x)

    def objective(z):
        return float(np.square(z - x).sum()) / 2 + float(PENALTIES[name](z))

    best, source = objective(z), rng(9)
    for size in (1e-3, 0.1, 1.0):
        for _ in range(50):
            moved = z + size * source.standard_normal(z.shape)
            assert objective(moved) > best
            assert objective(np.where(z == 0, 0, moved)) >= best


def test_prox_by_hand():
    assert_close(P.soft_threshold([-3.0, -0.5, 0.2, 2.0], 0.5), np.array([-2.5, 0, 0, 1.5]))
    assert P.soft_threshold([0.5], 0.5) == 0  # the edge belongs to the inside
    _, pullback = vjp(lambda x: P.soft_threshold(x, 0.5), np.array([0.5, -0.6]))
    assert pullback(np.ones(2))[0].tolist() == [0, 1]
    assert_close(P.elastic_net_shrink([3.0, 0.5], l1=1.0, l2=3.0), np.array([0.5, 0.0]))
    assert_close(P.group_soft_threshold([3.0, 4.0], 2.5), np.array([1.5, 2.0]))
    assert not P.group_soft_threshold([3.0, 4.0], 5.0).any()
    assert_close(P.group_soft_threshold([3.0, -4.0], 0.0), np.array([3.0, -4.0]))


def test_an_implicit_step_agrees_with_the_explicit_one_to_first_order():
    x = weights()
    for strength, bound in ((1e-2, 1e-4), (1e-3, 1e-6)):
        gap = P.ridge_shrink(x, strength=strength) / x - (1 - strength)
        assert_close(gap, np.full_like(x, strength**2 / (1 + strength)), rtol=1e-5)  # cancellation
        assert gap.max() < bound


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2), st.floats(0, 100))
def test_proxes_never_lengthen_and_never_spread(pair, strength):
    a, b = (np.array([v]) for v in pair)
    for prox in (
        lambda x: P.soft_threshold(x, strength),
        lambda x: P.ridge_shrink(x, strength=strength),
        lambda x: P.elastic_net_shrink(x, l1=strength, l2=strength),
        lambda x: P.group_soft_threshold(x, strength),
    ):
        assert abs(prox(a)[0]) <= abs(a[0])
        # the last bits of numbers of up to 1e3
        assert abs(prox(a) - prox(b))[0] <= abs(a - b)[0] + 1e-12


@pytest.mark.claim("WD-15")
def test_l1_has_a_corner_at_zero_and_l2_none():
    """From a small weight L1 pulls as hard as from a large one, L2 hardly at all."""
    small, large = np.array([1e-9]), np.array([1.0])
    pull = {
        (name, size): value_and_grad(PENALTIES[name])(w)[1][0]
        for name in ("l1", "l2")
        for size, w in (("small", small), ("large", large))
    }
    assert pull["l1", "small"] == pull["l1", "large"] == 0.7
    assert_close(pull["l2", "small"], 0.7e-9)
    assert value_and_grad(PENALTIES["l1"])(-small)[1][0] == -0.7  # the jump of 2λ
    assert P.soft_threshold(small, 0.7) == 0
    assert P.ridge_shrink(small, strength=0.7) > 0


# --- conventions and decay ---------------------------------------------------------------------


@pytest.mark.claim("WD-01", "WD-02")
def test_three_conventions_of_lambda():
    gradients, left = {}, {}
    for name in ("mean + λ/2n", "mean + λ", "mean + λ/2"):
        strength = P.convert_strength(0.1, name, examples=50)
        _, grad = value_and_grad(lambda w, s=strength: P.l2_penalty(w, strength=s))(np.array(2.0))
        gradients[name] = float(grad)
        w = np.array(1.0)
        for _ in range(1000):
            w = P.decoupled_decay(w, lr=0.1, weight_decay=strength)
        left[name] = float(w)
    assert_close(list(gradients.values()), np.array([0.004, 0.4, 0.2]))
    # the ledger's two digits
    assert_close(list(left.values()), np.array([0.82, 1.7e-9, 4.3e-5]), rtol=0.02)


def test_every_convention_translates_to_every_other():
    n, residual = 7, 1.3
    w = np.array(2.0)

    def ratio(name, strength):
        """Gradient of the penalty over that of the data, both as the convention writes them."""
        factor, beside_sum, divided = P.CONVENTIONS[name]
        penalty = 2 * factor * strength * w / (n if divided else 1)
        return penalty / (n * residual if beside_sum else residual)

    for source in P.CONVENTIONS:
        for target in P.CONVENTIONS:
            strength = P.convert_strength(0.3, source, target=target, examples=n)
            assert_close(ratio(target, strength), ratio(source, 0.3))
        assert_close(
            P.convert_strength(0.3, source, examples=n),
            P.convert_strength(0.3, source, target="mean + λ/2", examples=n),
        )
    assert P.convert_strength(0.3, "mean + λ/2n", examples=n) == P.convert_strength(
        0.3, "sum + λ/2", examples=n
    )


def test_decoupled_decay_is_an_l2_step_of_plain_sgd():
    params = {"a": weights(), "b": [weights(1)]}
    grads = {"a": weights(2), "b": [weights(3)]}
    for w, g in ((params["a"], grads["a"]), (params["b"][0], grads["b"][0])):
        _, pull = value_and_grad(lambda w: P.l2_penalty(w, strength=0.3))(w)
        together = w - 0.1 * (g + pull)
        assert_close(P.decoupled_decay(w, lr=0.1, weight_decay=0.3) - 0.1 * g, together)
    masked = P.decoupled_decay(params, lr=0.1, weight_decay=0.3, mask={"a": False, "b": [True]})
    assert np.array_equal(masked["a"], params["a"])
    assert masked["a"] is not params["a"]
    assert_close(masked["b"][0], 0.97 * params["b"][0])
    everything = P.decoupled_decay(params, lr=0.1, weight_decay=0.3)
    assert_close(everything["a"], 0.97 * params["a"])


@pytest.mark.claim("WD-08")
def test_half_life_of_a_weight_without_gradient():
    assert P.steps_to_decay(1e-3, 0.01) == 69315
    assert P.steps_to_decay(3e-4, 0.1) == 23105
    for left in (0.5, 0.1):
        steps = P.steps_to_decay(0.1, 0.3, left=left)
        assert 0.97**steps <= left < 0.97 ** (steps - 1)
    assert P.steps_to_decay(0.1, 0.3) == P.steps_to_decay(0.1, 0.3, left=0.5)


@pytest.mark.claim("WD-10")
def test_decay_shrinks_used_and_unused_weights_alike():
    """After 100 steps the unused weight is gone; data hold the other at h/(h + λ)."""
    w, lr, decay, curvature = np.array([1.0, 1.0]), 0.1, 0.5, np.array([2.0, 0.0])
    first = P.decoupled_decay(w, lr=lr, weight_decay=decay)
    assert_close(first / w, np.full(2, 0.95))
    for _ in range(400):
        shrunk = P.decoupled_decay(w, lr=lr, weight_decay=decay)
        w = shrunk - lr * curvature * (w - 1)
    assert_close(w[0], 2.0 / 2.5)
    assert w[1] < 1e-8


@pytest.mark.claim("WD-11", "WD-13")
def test_behind_a_norm_the_length_of_w_does_not_matter():
    x, w = weights(10, (16, 6)), weights(11, (1, 6))
    cotangent = rng(12).standard_normal((16, 1))

    def gradient(w):
        y, pull = vjp(lambda z: batch_norm(z, eps=1e-300), x @ w.T)
        return y, (pull(cotangent)[0].T @ x)

    y, g = gradient(w)
    y10, g10 = gradient(10 * w)
    assert_close(y10, y)
    assert_close(g10, g / 10, rtol=1e-9, atol=1e-14)  # differences of numbers of size 1
    assert abs(float(np.sum(w * g))) < 1e-13  # the ledger: 4e-16


@pytest.mark.claim("WD-11")
@pytest.mark.parametrize(
    ("lr", "weight_decay", "norm", "angle"),
    [(0.5, 1e-3, 2.051, 0.0316), (0.5, 1e-2, 1.186, 0.1000), (0.05, 1e-2, 0.646, 0.0316)],
)
def test_equilibrium_of_decay_and_gradient(lr, weight_decay, norm, angle):
    # The gradients that settle at this norm by the first-order formula, norm⁴ = lr g²/(2λ).
    gradient_norm = norm**2 * math.sqrt(2 * weight_decay / lr)
    found = P.decay_equilibrium(lr, weight_decay, gradient_norm=gradient_norm)
    assert_close(found.norm, norm, rtol=2e-3)  # lr λ/8 apart
    assert_close(found.angle, angle, rtol=2e-3)  # three digits
    assert_close(found.effective_lr, lr / found.norm**2)
    # The process itself: gradients of this length at right angles to w, over norm.
    w, source = 1.2 * found.norm * np.eye(4)[0], rng(13)
    for _ in range(4000):
        noise = source.standard_normal(4)
        noise -= noise @ w * w / (w @ w)
        g = gradient_norm * noise / np.linalg.norm(noise) / np.linalg.norm(w)
        old, w = w, P.decoupled_decay(w, lr=lr, weight_decay=weight_decay) - lr * g
    assert_close(np.linalg.norm(w), found.norm, rtol=1e-3)  # (1 - 4 lr λ)^4000 of the start
    cosine = w @ old / np.linalg.norm(w) / np.linalg.norm(old)
    assert_close(math.acos(cosine), found.angle, rtol=1e-3)


@pytest.mark.claim("WD-11")
def test_first_order_formulas_hold_for_small_rates():
    found = P.decay_equilibrium(1e-3, 1e-3)
    assert_close(found.norm**4, 1e-3 / (2 * 1e-3), rtol=1e-6)  # lr λ = 1e-6
    assert_close(found.angle, math.sqrt(2e-6), rtol=1e-6)
    assert_close(math.cos(P.decay_equilibrium(1.0, 0.5).angle), 0.5)
    # and the exact one for large rates: norm² = 0.25 norm² + 1/norm²
    assert_close(P.decay_equilibrium(1.0, 0.5).norm ** 4, 1 / 0.75)
    assert P.decay_equilibrium(0.1, 0.1).norm == P.decay_equilibrium(0.1, 0.1, gradient_norm=1).norm


@pytest.mark.claim("WD-12")
def test_decaying_the_gain_of_a_norm_takes_its_output_to_zero():
    """The gain is not scale-invariant: unlike w, it scales the output."""
    x, gain = weights(14, (8, 3)), np.ones(3)
    before = batch_norm(x, weight=gain)
    for _ in range(100):
        gain = P.decoupled_decay(gain, lr=0.1, weight_decay=1.0)
    assert_close(batch_norm(x, weight=gain), before * 0.9**100)
    kept = P.decoupled_decay(
        {"weight": x, "gain": np.ones(3)},
        lr=0.1,
        weight_decay=1.0,
        mask={"weight": True, "gain": False},
    )
    assert np.array_equal(kept["gain"], np.ones(3))


# --- what the explorers say --------------------------------------------------------------------


@pytest.mark.claim("WD-14")
def test_only_proximal_steps_land_on_zero_and_adam_does_not_either():
    """16 of 20 features are irrelevant; lr·λ = 0.01, the length of the hops around 0."""
    shown = zeros.run()
    assert shown.zeros == [0, 0, 16]
    assert 0.002 < shown.irrelevant[1] < shown.irrelevant[0] < 2 * 0.05 * 0.2
    assert shown.irrelevant[2] == 0
    for lam in (0.03, 1.0):
        assert zeros.run(lam=lam).zeros[:2] == [0, 0]
        assert zeros.run(penalty="l2", lam=lam).zeros == [0, 0, 0]


def test_two_weights_stand_at_the_minimum():
    """Against the closed form of ridge and the optimality conditions of the others."""
    for penalty, (one, two) in SHARES.items():
        for lam in (0.03, 0.2, 1.0):
            for rho in CORRELATIONS:
                w = zeros.run(penalty=penalty, lam=lam, rho=rho).solution
                gradient = np.array([[1, rho], [rho, 1]]) @ (w - TWO) + lam * two * w
                # 1e-12: the smallest curvature contracts by 0.95 a step, 700 times
                held = np.abs(gradient + lam * one * np.sign(w)) < 1e-12
                assert np.all(held | ((w == 0) & (np.abs(gradient) <= lam * one)))


@pytest.mark.claim("WD-01")
def test_the_explorer_of_conventions_shows_the_ledger():
    shown = conventions.run()  # λ = 0.1, n = 50, lr = 0.1; with 1/2n, 1/2, 1
    assert_close(2 * shown.strengths, np.array([0.004, 0.2, 0.4]))
    # the ledger's two digits
    assert_close(shown.left, np.array([0.82, 4.3e-5, 1.7e-9]), rtol=0.02)


@pytest.mark.claim("WD-11")
@pytest.mark.parametrize(("lr", "decay"), [(0.1, 0.03), (0.2, 0.01), (0.02, 0.1), (0.5, 0.01)])
def test_real_weights_before_a_batch_norm_settle_as_predicted(lr, decay):
    shown = equilibrium.run(lr=lr, decay=decay)
    # Means of 500 noisy steps after some multiples of 1/(4·lr·λ).
    assert_close(shown.norm, shown.predicted_norm, rtol=0.02)
    assert_close(shown.turn, shown.predicted_turn, rtol=0.02)
    assert_close(shown.predicted_turn, math.sqrt(2 * lr * decay), rtol=2e-3)  # lr·λ/12 apart
    if lr * decay >= 3e-3:  # the start is forgotten: exp(-4·lr·λ·2000) is small
        assert_close(shown.norms[-1], np.full(3, shown.norms[-1, 1]), rtol=1e-3)


def test_without_decay_the_length_only_grows_and_the_turning_dies_out():
    shown = equilibrium.run(decay=0.0)
    assert np.all(np.diff(shown.norms, axis=0) > 0)
    assert shown.turns[-1, 1] < 0.5 * shown.turns[0, 1]
    assert shown.predicted_norm == math.inf


@pytest.mark.claim("WD-13", "WD-16")
def test_a_penalty_raises_the_training_error_and_can_lower_the_test_error():
    """Thirty weights, forty noisy examples: bias for variance; and fewer steps to get there."""
    source = rng(1)
    true = source.standard_normal(30) / math.sqrt(30)
    x, held_out = source.standard_normal((40, 30)), source.standard_normal((2000, 30))
    y = x @ true + source.standard_normal(40)
    fits = ridge_path(x, y, l2=[0.0, 0.5])
    train = np.mean((fits @ x.T - y) ** 2, axis=1)
    test = 1 + np.mean((fits @ held_out.T - held_out @ true) ** 2, axis=1)  # 1: new noise
    assert_close(train, np.array([0.138, 0.453]), rtol=5e-3)  # the ledger's digits
    assert_close(test, np.array([3.58, 1.53]), rtol=5e-3)
    h = np.linalg.eigvalsh(x.T @ x / 40)
    for strength, fit, count in ((0.0, fits[0], 761), (0.5, fits[1], 35)):
        lr, w, steps = 1 / (h[-1] + strength), np.zeros(30), 0
        flattest = np.linalg.eigh(x.T @ x)[1][:, 0]
        while abs(flattest @ (w - fit)) > 0.01 * abs(flattest @ fit):
            w, steps = w - lr * (x.T @ (x @ w - y) / 40 + strength * w), steps + 1
        assert steps == count
