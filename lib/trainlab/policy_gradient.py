"""Policy gradients: make likelier what was rewarded more than expected.

``E[reward]`` of samples from a policy has the gradient ``E[(reward - baseline) * grad log p]``: an
average over the samples, however the reward came about. REINFORCE follows it. PPO takes several
steps on the same samples, weighs them by the ratio of new to old probability, and stops
pulling where the ratio has left [1 - clip_ratio, 1 + clip_ratio].

All losses are to be made small, and take log-probabilities, which carry the gradient to the
policy; `trainlab.alignment.sequence_log_prob` makes them from logits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import array, real
from ._losses import _like, check_broadcasts, check_range, may_overflow, reduce_losses
from .differentiation import Pullback, differentiable

Array = NDArray[Any]

__all__ = [
    "generalized_advantages",
    "kl_penalized_rewards",
    "ppo_clip_loss",
    "reinforce_loss",
]


@differentiable("log_probs")
@may_overflow
def reinforce_loss(
    log_probs: Any, rewards: Any, *, baseline: Any = 0.0, reduction: str = "mean"
) -> tuple[Array, Pullback]:
    """Loss whose gradient is an unbiased estimate of minus that of the expected reward.

    Parameters
    ----------
    log_probs : array, any shape
        Log-probabilities of samples *from this policy*, in nats.
    rewards : array of the shape of log_probs
        What the samples earned.
    baseline : float or array that broadcasts to the shape of log_probs, default 0
        The expected reward; must not depend on the sample that it is subtracted from.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    array of shape (), or of the shape of log_probs without reduction
        Only its gradient means something. Differentiable with respect to `log_probs`.

    Raises
    ------
    ValueError, TypeError
        If the shapes do not fit, the mean of no sample is wanted, or the loss overflows.

    Notes
    -----
    ``-(rewards - baseline) * log_probs``. A baseline leaves the mean of the gradient as it is,
    since the expectation of grad log p is 0, and can lower its variance a lot: without one, all
    samples are pushed up when all rewards are positive.

    References
    ----------
    Williams (1992), Simple statistical gradient-following algorithms for connectionist
    reinforcement learning.

    Examples
    --------
    >>> float(reinforce_loss(np.log([0.5, 0.25]), np.array([1.0, 0.0]), baseline=0.5).round(4))
    -0.1733
    """
    x = array(log_probs, "log_probs", nonempty=False)
    r = _like(rewards, "rewards", x)
    b = array(baseline, "baseline", nonempty=False).astype(x.dtype, copy=False)
    check_broadcasts(b, "baseline", x, "log_probs")
    advantage = r - b
    value, spread = reduce_losses(np.asarray(-advantage * x), reduction)
    return value, lambda cotangent: (np.asarray(-advantage * spread(cotangent)),)


@differentiable("log_probs")
@may_overflow
def ppo_clip_loss(
    log_probs: Any,
    advantages: Any,
    *,
    old_log_probs: Any,
    clip_ratio: float = 0.2,
    reduction: str = "mean",
) -> tuple[Array, Pullback]:
    """Clipped surrogate loss of proximal policy optimization (PPO).

    Parameters
    ----------
    log_probs : array, any shape
        Log-probabilities of the samples under the policy that is trained, in nats.
    advantages : array of the shape of log_probs
        By how much each sample was better than expected.
    old_log_probs : array of the shape of log_probs
        Under the policy that drew the samples.
    clip_ratio : float, default 0.2
        How far the ratio of the probabilities is rewarded to leave 1, in (0, 1).
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    array of shape (), or of the shape of log_probs without reduction
        Differentiable with respect to `log_probs`.

    Raises
    ------
    ValueError, TypeError
        If the shapes differ, `clip_ratio` is not in (0, 1), the ratio of a sample with a negative
        advantage overflows, or the mean of no sample is wanted.

    Notes
    -----
    ``-min(ratio * A, clip(ratio, 1 - clip_ratio, 1 + clip_ratio) * A)`` with
    ``ratio = exp(log_probs - old_log_probs)``. The gradient is ``-ratio * A``, or 0 where the
    minimum is the clipped one: where A > 0 and the ratio is above the range, or A < 0 and it is
    below. A sample that moved the *wrong* way keeps its gradient. At the edge itself it is kept,
    too. At ratio 1 it is that of `reinforce_loss`. Clipping stops the pull, it does not bound the
    ratio: other samples may move it further.

    References
    ----------
    Schulman, Wolski, Dhariwal, Radford, Klimov (2017), Proximal policy optimization algorithms.

    Examples
    --------
    >>> new, old = np.log([0.6, 0.6]), np.log([0.4, 0.4])  # ratio 1.5
    >>> ppo_clip_loss(new, [1.0, -1.0], old_log_probs=old, reduction="none").round(3)
    array([-1.2,  1.5])
    """
    x = array(log_probs, "log_probs", nonempty=False)
    a = _like(advantages, "advantages", x)
    e = real(clip_ratio, "clip_ratio", low=0, high=1, closed="neither")
    difference = x - _like(old_log_probs, "old_log_probs", x)
    # Where A >= 0 whatever is beyond the range is clipped anyway: exp need not overflow.
    difference = np.where(a >= 0, np.minimum(difference, 1 + math.log1p(e)), difference)
    limit = math.log(float(np.finfo(x.dtype).max))
    check_range(difference, "log_probs - old_log_probs where advantages < 0", -np.inf, limit)
    ratio = np.exp(difference)
    clipped = ((a > 0) & (ratio > 1 + e)) | ((a < 0) & (ratio < 1 - e))
    losses = np.asarray(-a * np.where(clipped, np.clip(ratio, 1 - e, 1 + e), ratio))
    value, spread = reduce_losses(losses, reduction)

    def pullback(cotangent: Array) -> tuple[Array]:
        return (np.where(clipped, 0, -a * ratio) * spread(cotangent),)

    return value, pullback


@may_overflow
def kl_penalized_rewards(rewards: Any, log_probs: Any, *, ref_log_probs: Any, beta: float) -> Array:
    """Subtract from each sampled reward its share of the divergence from the reference.

    Parameters
    ----------
    rewards : array, any shape
        Of samples from the policy.
    log_probs, ref_log_probs : arrays of the shape of rewards
        Log-probabilities of the samples under the policy and the reference, in nats.
    beta : float
        Price of a nat, >= 0.

    Returns
    -------
    array of the shape of rewards

    Raises
    ------
    ValueError, TypeError
        If the shapes differ, beta is negative, or a reward overflows.

    Notes
    -----
    ``rewards - beta * (log_probs - ref_log_probs)``, whose mean over samples is
    E[reward] - beta * KL(policy‖reference). It is used as a reward, a plain number: no gradient
    goes through these log-probabilities (it would have mean 0).

    References
    ----------
    Ouyang et al. (2022), Training language models to follow instructions with human feedback.

    Examples
    --------
    >>> kl_penalized_rewards([1.0], np.log([0.4]), ref_log_probs=np.log([0.1]), beta=0.5).round(3)
    array([0.307])
    """
    r = array(rewards, "rewards", nonempty=False)
    gap = _like(log_probs, "log_probs", r) - _like(ref_log_probs, "ref_log_probs", r)
    reward = r - real(beta, "beta", low=0, closed="left") * gap
    return array(reward, "rewards - beta * (log_probs - ref_log_probs)", nonempty=False)


def generalized_advantages(
    rewards: Any, values: Any, *, gamma: float = 0.99, lam: float = 0.95
) -> Array:
    """Generalized advantage estimate (GAE) of each step of an episode.

    Parameters
    ----------
    rewards : array of shape (..., T)
        ``rewards[t]`` follows the action of step t.
    values : array of shape (..., T + 1)
        Expected return from the state of each step on; the last one from where the rewards end,
        0 if the episode ends there.
    gamma : float, default 0.99
        Discount of a step, in [0, 1].
    lam : float, default 0.95
        λ in [0, 1]: 0 trusts the values (one step, biased), 1 the rewards (noisy).

    Returns
    -------
    array of shape (..., T)

    Raises
    ------
    ValueError, TypeError
        If the shapes do not fit, or a parameter is not in [0, 1].

    Notes
    -----
    ``A[t] = delta[t] + gamma * lam * A[t + 1]`` with
    ``delta[t] = rewards[t] + gamma * values[t + 1] - values[t]``. With lam = 1 it is the discounted
    sum of the rewards minus the value. A language model's answer has one reward, at its end, and
    often gamma = 1.

    References
    ----------
    Schulman, Moritz, Levine, Jordan, Abbeel (2015), High-dimensional continuous control using
    generalized advantage estimation.

    Examples
    --------
    >>> generalized_advantages([0.0, 1.0], [0.5, 0.5, 0.0], gamma=1.0, lam=0.5)
    array([0.25, 0.5 ])
    """
    r = array(rewards, "rewards", nonempty=False)
    if r.ndim == 0:
        raise ValueError("generalized_advantages: rewards must have an axis of steps; got a number")
    steps = r.shape[-1]
    v = array(values, "values", shape=(*r.shape[:-1], steps + 1), nonempty=False)
    v = v.astype(r.dtype, copy=False)
    g = real(gamma, "gamma", low=0, high=1)
    decay = g * real(lam, "lam", low=0, high=1)
    advantages = r + g * v[..., 1:] - v[..., :-1]
    for t in range(steps - 2, -1, -1):
        advantages[..., t] += decay * advantages[..., t + 1]
    return np.asarray(advantages)
