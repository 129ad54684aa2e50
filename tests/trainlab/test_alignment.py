"""Learning from preferences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import alignment as A
from trainlab.classification import cross_entropy, kl_divergence
from trainlab.differentiation import check_grad, value_and_grad, vjp

REF = np.array([0.5, 0.3, 0.2])
REWARDS = np.array([0.0, 1.0, 2.0])
PAIR = {"ref_chosen": np.array([-5.0]), "ref_rejected": np.array([-6.0])}


def rng(seed=0):
    return np.random.default_rng(seed)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_probs_of(logits):
    """Log-probabilities of all K answers of one token each, from K logits."""
    k = logits.shape[0]
    return A.sequence_log_prob(logits + np.zeros((k, 1, k)), np.arange(k)[:, None])


def total(losses, weights):
    return ((losses * weights)[None, :] @ np.ones((len(weights), 1)))[0, 0]


def descend(loss, start, *, lr, steps):
    step = value_and_grad(loss)
    x = start
    for _ in range(steps):
        x = x - lr * step(x)[1]
    return x


# --- sequences ---------------------------------------------------------------------------------


def test_log_probability_of_a_sequence_by_hand():
    logits = np.log([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])
    tokens = np.array([0, 1, 0])
    assert_close(A.sequence_log_prob(logits, tokens), math.log(0.7 * 0.5 * 0.2))
    mask = np.array([False, True, True])
    assert_close(A.sequence_log_prob(logits, tokens, mask=mask), math.log(0.1))
    nothing = A.sequence_log_prob(logits, tokens, mask=np.zeros(3, bool))
    assert str(nothing) == "0.0"  # and not -0.0
    z, t = rng().standard_normal((2, 4, 5, 7)), rng(1).integers(0, 7, (2, 4, 5))
    values = A.sequence_log_prob(z + 100, t)
    assert_close(values, -cross_entropy(z, t, reduction="none").sum(axis=-1))


def test_probabilities_of_all_sequences_sum_to_one():
    z = rng().standard_normal((3, 2))
    every = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    log_probs = A.sequence_log_prob(np.broadcast_to(z, (8, 3, 2)), every)
    assert_close(np.exp(log_probs).sum(), 1.0)


def test_sequences_without_tokens_or_examples():
    assert_close(A.sequence_log_prob(np.zeros((2, 0, 3)), np.zeros((2, 0), int)), np.zeros(2))
    assert A.sequence_log_prob(np.zeros((0, 4, 3)), np.zeros((0, 4), int)).shape == (0,)


@pytest.mark.parametrize("shape", [(3, 5), (1, 3, 5), (2, 4, 3, 5)])
def test_gradient_of_a_sequence(shape):
    z, tokens = rng().standard_normal(shape), rng(1).integers(0, 5, shape[:-1])
    mask = rng(2).random(shape[:-1]) < 0.6
    for m in (None, mask):
        f = lambda z, m=m: A.sequence_log_prob(z, tokens, mask=m)  # noqa: E731
        assert check_grad(f, z, rng=rng(3)) < 1e-7
    dz = vjp(A.sequence_log_prob, z, tokens=tokens, mask=mask)[1](np.ones(shape[:-2]))[0]
    np.testing.assert_array_equal(dz[~mask], 0)
    assert vjp(A.sequence_log_prob, z.astype(np.float32), tokens=tokens)[1](
        np.ones(shape[:-2])
    )[0].dtype == np.float32  # fmt: skip


@pytest.mark.referee
def test_sequences_against_jax():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    z, tokens = rng().standard_normal((4, 3, 5)), rng(1).integers(0, 5, (4, 3))
    mask, cotangent = rng(2).random((4, 3)) < 0.6, rng(3).standard_normal(4)

    def reference(z):
        picked = jnp.take_along_axis(jax.nn.log_softmax(z), tokens[..., None], axis=-1)[..., 0]
        return (picked * mask).sum(axis=-1)

    with jax.enable_x64(True):
        expected, pull = jax.vjp(reference, jnp.asarray(z))
        expected_gradient = np.asarray(pull(jnp.asarray(cotangent))[0])
    value, pullback = vjp(A.sequence_log_prob, z, tokens=tokens, mask=mask)
    # float64 against float64
    assert_close(value, np.asarray(expected), rtol=1e-10)
    assert_close(pullback(cotangent)[0], expected_gradient, rtol=1e-10, atol=1e-15)


# --- losses of pairs ---------------------------------------------------------------------------


def test_bradley_terry_by_hand():
    a, b = np.array([1.0, 0.0, 500.0, -500.0]), np.array([0.0, 0.0, -500.0, 500.0])
    losses, pullback = vjp(lambda a, b: A.bradley_terry_loss(a, b, reduction="none"), a, b)
    assert_close(losses, np.array([math.log1p(math.exp(-1)), math.log(2), 0, 1000]))
    da, db = pullback(np.ones(4))
    assert_close(da, np.array([-1 / (1 + math.e), -0.5, 0, -1]))
    np.testing.assert_array_equal(db, -da)
    assert_close(A.bradley_terry_loss(a, b), losses.mean())
    assert_close(A.bradley_terry_loss(a, b, reduction="sum"), losses.sum())
    assert_close(A.bradley_terry_loss(a + 7, b + 7), losses.mean())
    # the cross-entropy of two classes
    pairs = np.stack([a, b], axis=1)
    assert_close(A.bradley_terry_loss(a, b), cross_entropy(pairs, np.zeros(4, int)))


def test_dpo_and_ipo_by_hand():
    # the ratio is (-4 + 5) - (-7 + 6) = 2 nats
    chosen, rejected = np.array([-4.0]), np.array([-7.0])
    assert_close(A.dpo_loss(chosen, rejected, **PAIR), math.log1p(math.exp(-0.2)))
    assert_close(A.dpo_loss(chosen, rejected, beta=2.0, **PAIR), math.log1p(math.exp(-4)))
    assert_close(A.ipo_loss(chosen, rejected, **PAIR), 9.0)
    assert_close(A.ipo_loss(chosen, rejected, beta=0.5, **PAIR), 1.0)
    dc, dr = vjp(lambda c, r: A.dpo_loss(c, r, beta=2.0, **PAIR), chosen, rejected)[1](1.0)
    assert_close(dc, np.array([-2 / (1 + math.exp(4))]))
    np.testing.assert_array_equal(dr, -dc)
    dc, dr = vjp(lambda c, r: A.ipo_loss(c, r, **PAIR), chosen, rejected)[1](1.0)
    assert_close(dc, np.array([-6.0]))
    np.testing.assert_array_equal(dr, -dc)


def test_dpo_is_bradley_terry_of_implicit_rewards():
    c, r, rc, rr = rng().standard_normal((4, 6))
    for beta in (0.05, 1.0):
        rewards = [A.implicit_reward(x, ref, beta=beta) for x, ref in ((c, rc), (r, rr))]
        expected = A.bradley_terry_loss(*rewards, reduction="none")
        assert_close(
            A.dpo_loss(c, r, ref_chosen=rc, ref_rejected=rr, beta=beta, reduction="none"), expected
        )
    assert_close(A.implicit_reward(c, rc), 0.1 * (c - rc))


PAIR_LOSSES = {
    "bradley-terry": lambda c, r, refs, **m: A.bradley_terry_loss(c, r, **m),
    "dpo": lambda c, r, refs, **m: A.dpo_loss(
        c, r, ref_chosen=refs[0], ref_rejected=refs[1], beta=0.7, **m
    ),
    "ipo": lambda c, r, refs, **m: A.ipo_loss(
        c, r, ref_chosen=refs[0], ref_rejected=refs[1], beta=0.7, **m
    ),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_gradients_of_pair_losses(name, reduction):
    for shape in ((1,), (4, 3), (0, 2), ()):
        if 0 in shape and reduction == "mean":
            with pytest.raises(ValueError, match="mean of nothing"):
                PAIR_LOSSES[name](*np.zeros((2, *shape)), np.zeros((2, *shape)))
            continue
        c, r, *refs = rng().standard_normal((4, *shape))
        f = lambda c, r, q=refs: PAIR_LOSSES[name](c, r, q, reduction=reduction)  # noqa: E731
        assert check_grad(f, c, r, rng=rng(1)) < 1e-7
    x = np.ones(3, np.float32)
    value, (dc, dr) = value_and_grad(lambda p: PAIR_LOSSES[name](p[0], p[1], (x, x)))((x, x))
    assert value.dtype == dc.dtype == dr.dtype == np.float32


@pytest.mark.referee
def test_pair_losses_against_jax():
    jax = pytest.importorskip("jax")
    c, r, rc, rr = 3 * rng().standard_normal((4, 6))
    theirs = {
        "bradley-terry": lambda c, r: -jax.nn.log_sigmoid(c - r),
        "dpo": lambda c, r: -jax.nn.log_sigmoid(0.7 * (c - rc) - 0.7 * (r - rr)),
        "ipo": lambda c, r: (c - r - rc + rr - 1 / 1.4) ** 2,
    }
    for name, reference in theirs.items():
        with jax.enable_x64(True):
            value, grads = jax.value_and_grad(lambda c, r, f=reference: f(c, r).mean(), (0, 1))(
                c, r
            )
        ours, pullback = vjp(lambda c, r, n=name: PAIR_LOSSES[n](c, r, (rc, rr)), c, r)
        # float64 against float64
        assert_close(ours, np.asarray(value), rtol=1e-10)
        for got, want in zip(pullback(1.0), grads, strict=True):
            assert_close(got, np.asarray(want), rtol=1e-10)


# --- the policy that RLHF and DPO aim at ---------------------------------------------------------


def test_optimum_by_hand_and_in_the_extremes():
    best = A.kl_regularized_optimum(REF, REWARDS, beta=0.5)
    weight = REF * np.exp(REWARDS / 0.5)
    assert_close(best, weight / weight.sum())
    assert_close(A.kl_regularized_optimum(REF, REWARDS + 1e3, beta=0.5), best)
    np.testing.assert_array_equal(A.kl_regularized_optimum(REF, REWARDS, beta=1e-300), [0, 0, 1])
    # absolute: beta = 1e12 is not infinity
    assert_close(A.kl_regularized_optimum(REF, REWARDS, beta=1e12), REF, atol=1e-12)
    # the best answer of all is one that the reference never gives
    never = A.kl_regularized_optimum([0.5, 0.5, 0.0], [0.0, 1.0, 1e6], beta=1.0)
    assert_close(never, np.array([1, math.e, 0]) / (1 + math.e))
    many = A.kl_regularized_optimum(np.stack([REF, REF[::-1]]), np.zeros((2, 3)), beta=1.0)
    assert_close(many, np.stack([REF, REF[::-1]]))


def test_the_optimum_has_the_largest_objective_and_no_gradient():
    for beta in (0.1, 0.5, 3.0):
        f = lambda z, b=beta: A.kl_regularized_reward(  # noqa: E731
            z, REWARDS, ref_logits=np.log(REF) + 2, beta=b
        )
        best = np.log(A.kl_regularized_optimum(REF, REWARDS, beta=beta))
        value, gradient = value_and_grad(f)(best)
        assert_close(value, beta * math.log(np.sum(REF * np.exp(REWARDS / beta))))
        assert_close(gradient, np.zeros(3), atol=1e-14)  # rounding
        others = best + rng().standard_normal((20, 3))
        assert (A.kl_regularized_reward(others, REWARDS, ref_logits=np.log(REF), beta=beta)
                < value).all()  # fmt: skip


def test_objective_is_reward_minus_divergence():
    z = rng().standard_normal((4, 2, 3))
    p = softmax(z)
    for beta in (0.0, 0.7):
        value = A.kl_regularized_reward(z, REWARDS, ref_logits=np.log(REF), beta=beta)
        assert_close(value, p @ REWARDS - beta * kl_divergence(p, REF))


def test_gradient_of_the_objective():
    z, rewards, ref = rng().standard_normal((3, 4, 2, 3))
    f = lambda z: A.kl_regularized_reward(z, rewards, ref_logits=ref, beta=0.7)  # noqa: E731
    assert check_grad(f, z, rng=rng(1)) < 1e-7
    f = lambda z: A.kl_regularized_reward(z, REWARDS, ref_logits=REF, beta=0.0)  # noqa: E731
    assert check_grad(f, z[0, 0], rng=rng(1)) < 1e-7
    _, gradient = value_and_grad(f)(z[0, 0].astype(np.float32))
    assert gradient.dtype == np.float32
    empty = vjp(f, np.zeros((0, 3)))[1](np.zeros(0))[0]
    assert empty.shape == (0, 3)


@pytest.mark.parametrize("shape", [(), (4, 0)])
def test_objective_needs_an_answer(shape):
    nothing = np.zeros(shape)
    with pytest.raises(ValueError, match="number of answers"):
        A.kl_regularized_reward(nothing, nothing, ref_logits=nothing, beta=1.0)


@pytest.mark.referee
def test_objective_against_jax():
    jax = pytest.importorskip("jax")
    z, ref = rng().standard_normal((2, 3))

    def reference(z):
        p, gap = jax.nn.softmax(z), jax.nn.log_softmax(z) - jax.nn.log_softmax(ref)
        return (p * REWARDS).sum() - 0.7 * (p * gap).sum()

    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(reference)(jax.numpy.asarray(z))
    ours = value_and_grad(lambda z: A.kl_regularized_reward(z, REWARDS, ref_logits=ref, beta=0.7))(
        z
    )
    # float64 against float64
    assert_close(ours[0], np.asarray(value), rtol=1e-10)
    assert_close(ours[1], np.asarray(gradient), rtol=1e-10)


# --- claims ------------------------------------------------------------------------------------


@pytest.mark.claim("ALIGN-01")
def test_dpo_needs_log_probabilities_of_pairs_and_nothing_else():
    none = np.zeros(1)
    refs = {"ref_chosen": none, "ref_rejected": none}
    margins = {0: 0.693, 1: 0.644, 10: 0.313, 30: 0.049}
    for nats, loss in margins.items():
        got = A.dpo_loss(none + nats / 2, none - nats / 2, **refs)
        assert round(float(got), 3) == loss


@pytest.mark.claim("ALIGN-02")
def test_optimum_of_three_answers_and_its_frontier():
    best = A.kl_regularized_optimum(REF, REWARDS, beta=0.5)
    np.testing.assert_array_equal(best.round(4), [0.0367, 0.1626, 0.8008])
    for beta, reward, nats in ((10, 0.76, 0.003), (1, 1.35, 0.32), (0.5, 1.76, 0.92),
                               (0.1, 2.0, 1.61)):  # fmt: skip
        p = A.kl_regularized_optimum(REF, REWARDS, beta=beta)
        assert round(float(p @ REWARDS), 2) == reward
        assert round(float(kl_divergence(p, REF)), 3 if beta == 10 else 2) == nats


def dpo_on_all_pairs(rewards, ref, beta, steps):
    """Train a table of logits on all pairs, each as often as Bradley and Terry say."""
    k = len(rewards)
    i, j = (a for a in np.nonzero(~np.eye(k, dtype=bool)))
    wins = 1 / (1 + np.exp(rewards[j] - rewards[i])) / (k * (k - 1))
    log_ref = np.log(ref)

    def loss(logits):
        log_probs = log_probs_of(logits)
        losses = A.dpo_loss(
            log_probs[i], log_probs[j], ref_chosen=log_ref[i], ref_rejected=log_ref[j],
            beta=beta, reduction="none",
        )  # fmt: skip
        return total(losses, wins)

    return softmax(descend(loss, log_ref, lr=k / beta**2, steps=steps))


@pytest.mark.claim("ALIGN-02")
@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_dpo_on_bradley_terry_data_finds_the_optimum_of_rlhf(beta):
    found = dpo_on_all_pairs(REWARDS, REF, beta, 300)
    best = A.kl_regularized_optimum(REF, REWARDS, beta=beta)
    assert_close(found, best, atol=1e-7)  # what 300 steps leave


@pytest.mark.claim("ALIGN-02")
def test_the_policy_gradient_finds_it_too():
    def loss(z):
        return -A.kl_regularized_reward(z, REWARDS, ref_logits=np.log(REF), beta=0.5)

    found = softmax(descend(loss, np.log(REF), lr=2.0, steps=400))
    best = A.kl_regularized_optimum(REF, REWARDS, beta=0.5)
    assert_close(found, best, atol=1e-7)  # what 400 steps leave


@pytest.mark.claim("ALIGN-04")
def test_dpo_can_make_both_answers_less_likely():
    # logits are features @ theta; chosen and rejected share most of their features
    features = np.array([[1, 0.1], [1, -0.1], [0, 2.0], [0, -2.0]])
    start = np.array([[2.0], [0.0]])
    log_ref = log_probs_of((features @ start)[:, 0])

    def loss(theta):
        log_probs = log_probs_of((features @ theta)[:, 0])
        return A.dpo_loss(
            log_probs[0], log_probs[1], ref_chosen=log_ref[0], ref_rejected=log_ref[1], beta=0.5
        )

    theta, steps = start, 0
    while value_and_grad(loss)(theta)[0] > 0.054:
        theta = descend(loss, theta, lr=20.0, steps=1)
        steps += 1
        assert steps < 1000
    log_probs = log_probs_of((features @ theta)[:, 0])
    assert round(float(log_ref[0]), 2) == -0.82
    assert -55 < log_probs[0] < -50
    assert log_probs[1] < log_probs[0]
    assert np.exp(log_probs[2]) > 0.999
    # with a table of logits, one answer each, this cannot happen
    f = lambda z: A.dpo_loss(  # noqa: E731
        log_probs_of(z)[0], log_probs_of(z)[1], ref_chosen=log_ref[0], ref_rejected=log_ref[1]
    )
    before = log_probs_of((features @ start)[:, 0])[0]
    assert log_probs_of(descend(f, (features @ start)[:, 0], lr=1.0, steps=1))[0] > before


@pytest.mark.claim("ALIGN-04")
def test_where_one_answer_always_wins_dpo_never_stops_and_ipo_does():
    log_ref = np.log([0.1, 0.9])

    def margin(loss, beta, lr, steps):
        f = lambda z: loss(  # noqa: E731
            log_probs_of(z)[0], log_probs_of(z)[1],
            ref_chosen=log_ref[0], ref_rejected=log_ref[1], beta=beta,
        )  # fmt: skip
        z = descend(f, log_ref, lr=lr, steps=steps) - log_ref
        return z[0] - z[1]

    growth = [margin(A.dpo_loss, 1.0, 1.0, n) for n in (10, 100, 1000)]
    assert growth[0] < growth[1] - 2 < growth[2] - 4
    for beta, stop in ((0.1, 5.0), (0.5, 1.0)):
        assert_close(margin(A.ipo_loss, beta, 0.1, 200), stop)


def test_what_overflows_is_refused_by_name():
    far, logs = np.array([1e308]), {"ref_chosen": np.zeros(1), "ref_rejected": np.zeros(1)}
    with pytest.raises(ValueError, match="bradley_terry_loss: loss must be finite"):
        A.bradley_terry_loss(-far, far)
    with pytest.raises(ValueError, match="dpo_loss: loss must be finite"):
        A.dpo_loss(-far, far, **logs)
    with pytest.raises(ValueError, match="ipo_loss: loss must be finite"):
        A.ipo_loss(np.zeros(1), np.zeros(1), beta=1e-320, **logs)
    with pytest.raises(ValueError, match=r"implicit_reward: beta \* .* must be finite"):
        A.implicit_reward(far, -far)
    with pytest.raises(ValueError, match="kl_regularized_reward: objective must be finite"):
        A.kl_regularized_reward([1e4, 0.0], [0.0, 0.0], ref_logits=[0.0, 1e4], beta=1e308)
