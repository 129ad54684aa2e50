"""Policy gradients: REINFORCE, PPO, advantages."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import policy_gradient as P
from trainlab.alignment import kl_regularized_optimum, kl_regularized_reward, sequence_log_prob
from trainlab.classification import kl_divergence
from trainlab.differentiation import check_grad, value_and_grad, vjp

REF = np.array([0.5, 0.3, 0.2])
REWARDS = np.array([0.0, 1.0, 2.0])
BETA = 0.5


def rng(seed=0):
    return np.random.default_rng(seed)


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def log_probs_of(logits, answers):
    n = len(answers)
    return sequence_log_prob(logits + np.zeros((n, 1, logits.shape[-1])), answers[:, None])


def slopes(f, x):
    value, pullback = vjp(f, x)
    return pullback(np.ones_like(value))[0]


# --- REINFORCE ---------------------------------------------------------------------------------


def test_reinforce_by_hand():
    x, r = np.array([-1.0, -2.0]), np.array([3.0, 5.0])
    assert_close(P.reinforce_loss(x, r, reduction="none"), np.array([3.0, 10.0]))
    assert_close(P.reinforce_loss(x, r), 6.5)
    assert_close(P.reinforce_loss(x, r, reduction="sum"), 13.0)
    assert_close(P.reinforce_loss(x, r, baseline=4.0, reduction="none"), np.array([-1.0, 2.0]))
    each = np.array([3.0, 4.0])
    assert_close(slopes(lambda x: P.reinforce_loss(x, r, baseline=each), x), np.array([0, -0.5]))
    column = P.reinforce_loss(np.ones((2, 3)), np.ones((2, 3)), baseline=np.ones((2, 1)))
    assert column == 0


@pytest.mark.parametrize("baseline", [0.0, 1.0, 10.0])
def test_reinforce_estimates_the_exact_gradient_whatever_the_baseline(baseline):
    z, ref = np.array([0.3, -0.2, 0.5]), np.log(REF)
    p = softmax(z)
    exact = value_and_grad(lambda z: kl_regularized_reward(z, REWARDS, ref_logits=ref, beta=BETA))(
        z
    )[1]
    rewards = P.kl_penalized_rewards(REWARDS, np.log(p), ref_log_probs=ref, beta=BETA)
    # each answer as often as the policy gives it
    _, pullback = vjp(
        lambda z: P.reinforce_loss(
            log_probs_of(z, np.arange(3)), rewards, baseline=baseline, reduction="none"
        ),
        z,
    )
    expected = pullback(p)[0]
    assert_close(-expected, exact)


def test_a_baseline_lowers_the_variance():
    z = np.zeros(3)
    rewards = REWARDS + 5
    spread = {}
    for baseline in (0.0, 6.0):
        gradients = [
            slopes(
                lambda z, k=k, b=baseline: P.reinforce_loss(
                    log_probs_of(z, np.array([k])), rewards[k : k + 1], baseline=b
                ),
                z,
            )
            for k in range(3)
        ]
        spread[baseline] = np.var(gradients, axis=0).sum()
    # uniform policy: E|r - b|² |e_k - p|² minus the squared mean, 36.67 * 2/3 - 2/9 and 2/3 - ...
    mean_square = {b: np.mean((rewards - b) ** 2) * 2 / 3 for b in spread}
    exact = -(REWARDS - 1) / 3
    for b, v in spread.items():
        assert_close(v, mean_square[b] - np.sum(exact**2))
    assert spread[0.0] > 50 * spread[6.0]


def test_penalized_rewards():
    log_p, log_ref = np.log([0.4, 0.6]), np.log([0.1, 0.9])
    got = P.kl_penalized_rewards(np.array([1.0, 2.0]), log_p, ref_log_probs=log_ref, beta=0.5)
    assert_close(got, np.array([1 - 0.5 * math.log(4), 2 + 0.5 * math.log(1.5)]))
    p = np.exp(log_p)
    assert_close(p @ got, p @ [1.0, 2.0] - 0.5 * kl_divergence(p, np.exp(log_ref)))
    plain = P.kl_penalized_rewards(np.ones(2), log_p, ref_log_probs=log_ref, beta=0)
    np.testing.assert_array_equal(plain, np.ones(2))


# --- PPO ---------------------------------------------------------------------------------------


def test_ppo_by_hand():
    ratio = np.array([0.5, 1.0, 1.5, 0.5, 1.0, 1.5])
    a = np.array([2.0, 2.0, 2.0, -2.0, -2.0, -2.0])
    old = np.full(6, -3.0)
    new = old + np.log(ratio)
    f = lambda x: P.ppo_clip_loss(x, a, old_log_probs=old, reduction="none")  # noqa: E731
    assert_close(f(new), np.array([-1.0, -2.0, -2.4, 1.6, 2.0, 3.0]))
    # what moved too far the right way has no gradient, what moved the wrong way has
    assert_close(slopes(f, new), np.array([-1.0, -2.0, 0, 0, 2.0, 3.0]))
    wide = P.ppo_clip_loss(new, a, old_log_probs=old, clip_ratio=0.4, reduction="none")
    assert_close(wide, np.array([-1.0, -2.0, -2.8, 1.2, 2.0, 3.0]))
    assert_close(P.ppo_clip_loss(new, a, old_log_probs=old), f(new).mean())
    assert_close(P.ppo_clip_loss(new, a, old_log_probs=old, reduction="sum"), f(new).sum())


def test_ppo_at_the_edges_and_without_advantage():
    # ratios that are exactly at the edges: 1 + 0.5 and 1 - 0.5
    old, a = np.zeros(2), np.array([1.0, -1.0])
    edge = np.log([1.5, 0.5])
    assert np.exp(edge)[1] == 0.5
    f = lambda x: P.ppo_clip_loss(  # noqa: E731
        x, a, old_log_probs=old, clip_ratio=0.5, reduction="none"
    )
    assert slopes(f, edge)[1] == 0.5
    np.testing.assert_array_equal(slopes(f, edge + np.array([1e-9, -1e-9])), [0, 0])
    assert_close(slopes(f, edge - np.array([1e-9, -1e-9])), np.array([-1.5, 0.5]))
    zero = lambda x: P.ppo_clip_loss(  # noqa: E731
        x, np.zeros(3), old_log_probs=np.zeros(3), reduction="none"
    )
    np.testing.assert_array_equal(slopes(zero, np.array([-5.0, 0.0, 5.0])), np.zeros(3))


def test_ppo_of_huge_ratios():
    old, far = np.zeros(1), np.array([1e4])
    assert_close(P.ppo_clip_loss(far, np.ones(1), old_log_probs=old), -1.2)
    assert_close(P.ppo_clip_loss(-far, -np.ones(1), old_log_probs=old), 0.8)
    assert P.ppo_clip_loss(-far, np.ones(1), old_log_probs=old) == 0
    with pytest.raises(ValueError, match="log_probs - old_log_probs where advantages < 0 must be"):
        P.ppo_clip_loss(far, -np.ones(1), old_log_probs=old)


def test_the_first_step_of_ppo_is_reinforce():
    x, a = rng().standard_normal((2, 7))
    ppo = slopes(lambda x: P.ppo_clip_loss(x, a, old_log_probs=x.value * 1.0), x)
    assert_close(ppo, slopes(lambda x: P.reinforce_loss(x, a), x))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(), (1,), (5, 3), (0, 3)])
def test_gradients_against_differences(shape, reduction):
    x, r, old = rng().standard_normal((3, *shape))
    losses = [
        lambda x: P.reinforce_loss(x, r, baseline=0.3, reduction=reduction),
        lambda x: P.ppo_clip_loss(x, r, old_log_probs=old, reduction=reduction),
    ]
    for f in losses:
        if 0 in shape and reduction == "mean":
            with pytest.raises(ValueError, match="mean of nothing"):
                f(x)
        else:
            assert check_grad(f, x, rng=rng(1)) < 1e-7


def test_dtype_of_gradients():
    x, r, old = rng().standard_normal((3, 4)).astype(np.float32)
    for f in (
        lambda x: P.reinforce_loss(x, r, baseline=np.float64(0.5)),
        lambda x: P.ppo_clip_loss(x, r, old_log_probs=old.astype(np.float64)),
    ):
        value, gradient = value_and_grad(f)(x)
        assert value.dtype == gradient.dtype == np.float32


@pytest.mark.referee
def test_losses_against_jax():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    x, a, old = rng(2).standard_normal((3, 40))

    def ppo(x):
        ratio = jnp.exp(x - old)
        return -jnp.minimum(ratio * a, jnp.clip(ratio, 0.8, 1.2) * a).mean()

    theirs = [ppo, lambda x: -((a - 0.3) * x).mean()]
    ours = [
        lambda x: P.ppo_clip_loss(x, a, old_log_probs=old),
        lambda x: P.reinforce_loss(x, a, baseline=0.3),
    ]
    for reference, f in zip(theirs, ours, strict=True):
        with jax.enable_x64(True):
            value, gradient = jax.value_and_grad(reference)(jnp.asarray(x))
        got = value_and_grad(f)(x)
        # float64 against float64
        assert_close(got[0], np.asarray(value), rtol=1e-10)
        assert_close(got[1], np.asarray(gradient), rtol=1e-10)


@pytest.mark.referee
def test_ppo_against_torch():
    torch = pytest.importorskip("torch")
    for dtype in (np.float32, np.float64):
        x, a, old = rng(2).standard_normal((3, 40)).astype(dtype)
        xt = torch.tensor(x, requires_grad=True)
        ratio = (xt - torch.tensor(old)).exp()
        at = torch.tensor(a)
        loss = -torch.minimum(ratio * at, ratio.clamp(0.8, 1.2) * at).mean()
        loss.backward()
        value, gradient = value_and_grad(
            lambda x, a=a, old=old: P.ppo_clip_loss(x, a, old_log_probs=old)
        )(x)
        rtol = 1e-10 if dtype == np.float64 else None  # float64 against float64
        assert_close(value, loss.detach().numpy(), rtol=rtol)
        assert_close(gradient, xt.grad.numpy(), rtol=rtol)


# --- advantages ----------------------------------------------------------------------------------


def test_advantages_by_hand():
    rewards, values = np.array([1.0, 2.0, 4.0]), np.array([10.0, 20.0, 40.0, 80.0])
    got = P.generalized_advantages(rewards, values, gamma=0.5, lam=0.5)
    delta = np.array([1.0, 2.0, 4.0])  # r + 0.5 * next value - value
    assert_close(got, np.array([1 + (2 + 4 / 4) / 4, 2 + 4 / 4, 4.0]))
    assert_close(P.generalized_advantages(rewards, values, gamma=0.5, lam=0.0), delta)
    # lam = 1: the discounted sum of the rewards, minus the value
    returns = np.array([1 + 1 + 1 + 10.0, 2 + 2 + 20.0, 4 + 40.0])
    assert_close(P.generalized_advantages(rewards, values, gamma=0.5, lam=1.0),
                 returns - values[:3])  # fmt: skip
    assert_close(
        P.generalized_advantages(rewards, values),
        P.generalized_advantages(rewards, values, gamma=0.99, lam=0.95),
    )
    one = P.generalized_advantages(np.array([3.0]), np.array([1.0, 2.0]), gamma=1.0)
    assert_close(one, np.array([4.0]))
    assert P.generalized_advantages(np.zeros((2, 0)), np.zeros((2, 1))).shape == (2, 0)


def test_advantages_are_the_discounted_sum_of_the_surprises():
    rewards, values = rng().standard_normal((2, 3, 9)), rng(1).standard_normal((2, 3, 10))
    got = P.generalized_advantages(rewards, values, gamma=0.9, lam=0.7)
    delta = rewards + 0.9 * values[..., 1:] - values[..., :-1]
    powers = np.tril(0.63 ** np.clip(np.subtract.outer(np.arange(9), np.arange(9)), 0, None))
    assert_close(got, delta @ powers)


# --- together ------------------------------------------------------------------------------------


@pytest.mark.claim("ALIGN-02")
@pytest.mark.parametrize("method", ["reinforce", "ppo"])
def test_samples_lead_to_the_optimum_too(method):
    draw, z, ref = rng(0), np.log(REF), np.log(REF)
    best = kl_regularized_optimum(REF, REWARDS, beta=BETA)
    assert kl_divergence(REF, best) > 1

    def loss(z, answers, rewards, old):
        log_probs, gain = log_probs_of(z, answers), rewards - rewards.mean()
        if method == "reinforce":
            return P.reinforce_loss(log_probs, gain)
        return P.ppo_clip_loss(log_probs, gain, old_log_probs=old)

    step = value_and_grad(loss)
    for _ in range(400):
        answers = draw.choice(3, 64, p=softmax(z))
        old = np.log(softmax(z))[answers]
        noisy = REWARDS[answers] + 0.5 * draw.standard_normal(64)
        rewards = P.kl_penalized_rewards(noisy, old, ref_log_probs=ref[answers], beta=BETA)
        for _ in range(3 if method == "ppo" else 1):
            z = z - 0.2 * step(z, answers, rewards, old)[1]
    assert kl_divergence(softmax(z), best) < 0.02  # the noise of 64 samples a step


def test_what_overflows_is_refused_by_name():
    with pytest.raises(ValueError, match="reinforce_loss: loss must be finite"):
        P.reinforce_loss([-1e200], [1e200])
    with pytest.raises(ValueError, match="ppo_clip_loss: loss must be finite"):
        P.ppo_clip_loss([700.0], [-1e100], old_log_probs=[0.0])
    with pytest.raises(ValueError, match=r"kl_penalized_rewards: rewards - beta .* must be finite"):
        P.kl_penalized_rewards([1.0], [-1e308], ref_log_probs=[1e308], beta=1.0)


def test_no_episodes_and_no_steps_have_no_advantages():
    assert P.generalized_advantages(np.zeros((0, 3)), np.zeros((0, 4))).shape == (0, 3)
    assert P.generalized_advantages(np.zeros((2, 0)), np.zeros((2, 1))).shape == (2, 0)
