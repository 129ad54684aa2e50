"""Learning from preferences: reward models, DPO, and the policy that both aim at.

People say which of two answers is better. The Bradley-Terry model explains this by a reward:
``P(first is better) = sigmoid(reward(first) - reward(second))``. RLHF, reinforcement learning from
human feedback, fits a reward model to such pairs and then looks for the policy with the largest
``E[reward] - beta * KL(policy‖reference)``. That policy is known in closed form,
``reference * exp(reward / beta)`` up to a factor. DPO, direct preference optimization, solves this
for the reward, puts it into Bradley-Terry and trains the policy on the pairs at once: no reward
model, no sampling.

An answer is a sequence of tokens, or one of K choices; all that matters here is the logarithm of
its probability, in nats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import array, integer, real
from ._losses import (
    Targets,
    _like,
    as_array,
    check_broadcasts,
    check_distributions,
    class_indices,
    may_overflow,
    reduce_losses,
    softmax_losses,
)
from .differentiation import Pullback, differentiable
from .softmax import log_softmax

Array = NDArray[Any]

__all__ = [
    "bradley_terry_loss",
    "dpo_loss",
    "implicit_reward",
    "ipo_loss",
    "kl_regularized_optimum",
    "kl_regularized_reward",
    "sequence_log_prob",
]


@differentiable("logits")
def sequence_log_prob(logits: Any, tokens: Any, *, mask: Any = None) -> tuple[Array, Pullback]:
    """Log-probability of sequences: the sum over their tokens, in nats.

    Parameters
    ----------
    logits : array of shape (..., T, V)
        ``logits[..., t, :]`` predicts ``tokens[..., t]``: the shift by one is already made.
    tokens : integer array of shape (..., T)
        In [0, V), also where the mask is False.
    mask : boolean array of shape (..., T), optional
        Which tokens count: those of the answer, not the prompt or the padding. All if left out.

    Returns
    -------
    array of shape (...)
        <= 0; 0 where nothing counts. Differentiable with respect to the logits.

    Raises
    ------
    ValueError, TypeError
        If the shapes do not fit, a token is out of range or the mask is not boolean.

    Notes
    -----
    ``sum_t mask[t] * log softmax(logits[t])[tokens[t]]``: a sum, not a mean, as the losses below
    want it. So a long answer has a small probability, and its log-ratios a large spread.

    Examples
    --------
    >>> logits = np.log([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])
    >>> sequence_log_prob(logits, np.array([0, 1, 1]), mask=np.array([True, False, True])).round(4)
    np.float64(-0.5798)
    """
    z = array(logits, "logits", nonempty=False)
    integer(z.ndim, "number of dimensions of logits", low=2)
    integer(z.shape[-1], "number of tokens on the last axis of logits", low=1)
    index, _ = class_indices(tokens, "tokens", shape=z.shape[:-1], classes=z.shape[-1])
    counts = np.ones(index.shape, z.dtype)
    if mask is not None:
        given = as_array(mask)
        if given.dtype != np.bool_ or given.shape != index.shape:
            raise ValueError(
                f"sequence_log_prob: mask must be a boolean array of shape {index.shape}; got "
                f"shape {given.shape} and dtype {given.dtype}"
            )
        counts = given.astype(z.dtype)
    own = counts.reshape(-1)  # (..., T) -> (n,)
    rows, pull_rows = softmax_losses(
        z.reshape(-1, z.shape[-1]),  # (..., T, V) -> (n, V)
        Targets(own, labels=index.reshape(-1), hot=own),  # (..., T) -> (n,)
    )
    value = np.asarray(0 - rows.reshape(index.shape).sum(axis=-1))  # (n,) -> (..., T)

    def pullback(cotangent: Array) -> tuple[Array]:
        scale = np.broadcast_to(-cotangent[..., None], index.shape).reshape(-1)  # (..., T) -> (n,)
        return (pull_rows(scale).reshape(z.shape),)  # (n, V) -> (..., T, V)

    return value, pullback


def _pair(first: Any, second: Any, names: tuple[str, str]) -> tuple[Array, Array]:
    a = array(first, names[0], nonempty=False)
    return a, _like(second, names[1], a)


def _preference_losses(margin: Array) -> tuple[Array, Callable[[], Array]]:
    """Return -log sigmoid(margin) and the function for its slope, -sigmoid(-margin)."""
    small = np.exp(-np.abs(margin))
    losses = np.log1p(small) + np.maximum(-margin, 0)
    return losses, lambda: np.where(margin >= 0, -small, -1) / (1 + small)


@differentiable("chosen_rewards", "rejected_rewards")
@may_overflow
def bradley_terry_loss(
    chosen_rewards: Any, rejected_rewards: Any, *, reduction: str = "mean"
) -> tuple[Array, Pullback]:
    """Train a reward model: cross-entropy of which answer of a pair was preferred.

    Parameters
    ----------
    chosen_rewards, rejected_rewards : arrays of one shape
        Rewards of the answer that was preferred and of the other one.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    array of shape (), or of the shape of the rewards without reduction
        In nats; log(2) where both are equal. Differentiable with respect to both.

    Raises
    ------
    ValueError, TypeError
        If the shapes differ, the mean of no pair is wanted, or the loss overflows.

    Notes
    -----
    ``-log sigmoid(chosen_rewards - rejected_rewards)``. Only differences count: a constant added
    to all rewards of a prompt changes nothing.

    References
    ----------
    Bradley, Terry (1952), Rank analysis of incomplete block designs: I. The method of paired
    comparisons. Ouyang et al. (2022), Training language models to follow instructions with human
    feedback.

    Examples
    --------
    >>> bradley_terry_loss(np.array([2.0]), np.array([0.0])).round(4)
    np.float64(0.1269)
    """
    a, b = _pair(chosen_rewards, rejected_rewards, ("chosen_rewards", "rejected_rewards"))
    losses, slope = _preference_losses(a - b)
    value, spread = reduce_losses(losses, reduction)

    def pullback(cotangent: Array) -> tuple[Array, Array]:
        gradient = np.asarray(slope() * spread(cotangent))
        return gradient, -gradient

    return value, pullback


def _log_ratio(chosen: Any, rejected: Any, ref_chosen: Any, ref_rejected: Any) -> Array:
    """How much more the policy prefers the chosen answer than the reference does, in nats."""
    a, b = _pair(chosen, rejected, ("chosen", "rejected"))
    ref_a, ref_b = _like(ref_chosen, "ref_chosen", a), _like(ref_rejected, "ref_rejected", a)
    # Differences between the two policies first: they are small where the logarithms are large.
    return np.asarray((a - ref_a) - (b - ref_b))


@differentiable("chosen", "rejected")
@may_overflow
def dpo_loss(
    chosen: Any,
    rejected: Any,
    *,
    ref_chosen: Any,
    ref_rejected: Any,
    beta: float = 0.1,
    reduction: str = "mean",
) -> tuple[Array, Pullback]:
    """Train a policy on preferred pairs directly (DPO).

    Parameters
    ----------
    chosen, rejected : arrays of one shape
        Log-probabilities that the policy gives the preferred answer and the other one, in nats:
        see `sequence_log_prob`.
    ref_chosen, ref_rejected : arrays of the same shape
        Those of the frozen reference policy, where training started. They have no gradient.
    beta : float, default 0.1
        Strength of the pull toward the reference, > 0.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    array of shape (), or of the shape of chosen without reduction
        log(2) at the start. Differentiable with respect to `chosen` and `rejected`.

    Raises
    ------
    ValueError, TypeError
        If the shapes differ, beta is not > 0, the mean of no pair is wanted, or the loss overflows.

    Notes
    -----
    ``-log sigmoid(margin)`` with the margin
    ``beta * ((chosen - ref_chosen) - (rejected - ref_rejected))``: the `bradley_terry_loss` of the
    rewards that `implicit_reward` shows. The gradient is ``±beta * sigmoid(-margin)``, of the same
    size for both answers: nothing says that the chosen one must become *likelier*, only that the
    difference grows. Where one answer always wins, it grows without end, whatever beta.

    References
    ----------
    Rafailov, Sharma, Mitchell, Manning, Ermon, Finn (2023), Direct preference optimization: your
    language model is secretly a reward model.

    Examples
    --------
    >>> logs = {"ref_chosen": np.array([-5.0]), "ref_rejected": np.array([-5.0])}
    >>> dpo_loss(np.array([-5.0]), np.array([-5.0]), **logs).round(3)
    np.float64(0.693)
    >>> dpo_loss(np.array([-4.0]), np.array([-14.0]), **logs).round(3)  # 10 nats apart
    np.float64(0.313)
    """
    ratio = _log_ratio(chosen, rejected, ref_chosen, ref_rejected)
    b = real(beta, "beta", low=0, closed="neither")
    losses, slope = _preference_losses(b * ratio)
    value, spread = reduce_losses(losses, reduction)

    def pullback(cotangent: Array) -> tuple[Array, Array]:
        gradient = np.asarray(b * slope() * spread(cotangent))
        return gradient, -gradient

    return value, pullback


@differentiable("chosen", "rejected")
@may_overflow
def ipo_loss(
    chosen: Any,
    rejected: Any,
    *,
    ref_chosen: Any,
    ref_rejected: Any,
    beta: float = 0.1,
    reduction: str = "mean",
) -> tuple[Array, Pullback]:
    """Train a policy on preferred pairs up to a set margin (IPO).

    Parameters
    ----------
    chosen, rejected, ref_chosen, ref_rejected, reduction
        As in `dpo_loss`.
    beta : float, default 0.1
        The margin aimed at is 1 / (2 * beta) nats; > 0. The paper calls it τ.

    Returns
    -------
    array of shape (), or of the shape of chosen without reduction
        In nats². Differentiable with respect to `chosen` and `rejected`.

    Raises
    ------
    ValueError, TypeError
        As in `dpo_loss`.

    Notes
    -----
    ``((chosen - ref_chosen) - (rejected - ref_rejected) - 1 / (2 * beta))**2``. Unlike DPO's, the
    minimum is at a finite margin even where one answer always wins.

    References
    ----------
    Azar, Guo, Piot, Munos, Rowland, Valko, Calandriello (2024), A general theoretical paradigm to
    understand learning from human preferences.

    Examples
    --------
    >>> logs = {"ref_chosen": np.zeros(1), "ref_rejected": np.zeros(1)}
    >>> ipo_loss(np.array([0.0]), np.array([-5.0]), **logs)
    array(0.)
    """
    ratio = _log_ratio(chosen, rejected, ref_chosen, ref_rejected)
    b = real(beta, "beta", low=0, closed="neither")
    short = ratio - 1 / (2 * b)
    value, spread = reduce_losses(short * short, reduction)

    def pullback(cotangent: Array) -> tuple[Array, Array]:
        gradient = np.asarray(2 * short * spread(cotangent))
        return gradient, -gradient

    return value, pullback


@may_overflow
def implicit_reward(log_probs: Any, ref_log_probs: Any, *, beta: float = 0.1) -> Array:
    """Reward for which a policy would be the best one: what DPO has learned.

    Parameters
    ----------
    log_probs, ref_log_probs : arrays of one shape
        Log-probabilities of answers under the policy and the reference, in nats.
    beta : float, default 0.1
        As in `dpo_loss`, > 0.

    Returns
    -------
    array of the shape of log_probs
        Up to a constant for each prompt.

    Raises
    ------
    ValueError, TypeError
        If the shapes differ, beta is not > 0, or a reward overflows.

    Notes
    -----
    ``beta * (log_probs - ref_log_probs)``: `kl_regularized_optimum`, solved for the rewards.

    References
    ----------
    Rafailov et al. (2023).

    Examples
    --------
    >>> implicit_reward(np.log([0.8, 0.2]), np.log([0.5, 0.5]), beta=1.0).round(3)
    array([ 0.47 , -0.916])
    """
    a, b = _pair(log_probs, ref_log_probs, ("log_probs", "ref_log_probs"))
    reward = real(beta, "beta", low=0, closed="neither") * (a - b)
    return array(reward, "beta * (log_probs - ref_log_probs)", nonempty=False)


def kl_regularized_optimum(ref_probs: Any, rewards: Any, *, beta: float) -> Array:
    """Policy with the largest E[reward] - beta * KL(policy‖reference).

    Parameters
    ----------
    ref_probs : array of shape (..., K)
        Probabilities of the K answers under the reference, >= 0 with sum 1.
    rewards : array of shape (..., K)
        Of the answers.
    beta : float
        Price of a nat of divergence, > 0. Small: the best answer alone; large: the reference.

    Returns
    -------
    array of shape (..., K)
        Probabilities. An answer that the reference never gives stays at 0.

    Raises
    ------
    ValueError, TypeError
        If `ref_probs` holds no distributions, the shapes differ, or beta is not > 0.

    Notes
    -----
    ``ref_probs * exp(rewards / beta)``, divided by its sum. The objective it reaches is beta times
    the logarithm of that sum.

    References
    ----------
    Rafailov et al. (2023).

    Examples
    --------
    >>> kl_regularized_optimum([0.5, 0.3, 0.2], [0.0, 1.0, 2.0], beta=0.5).round(4)
    array([0.0367, 0.1626, 0.8008])
    """
    p = array(ref_probs, "ref_probs", nonempty=False)
    integer(p.shape[-1] if p.ndim else 0, "number of answers on the last axis of ref_probs", low=1)
    check_distributions(p, "ref_probs")
    r = _like(rewards, "rewards", p)
    b = real(beta, "beta", low=0, closed="neither")
    some = p > 0
    # Relative to the best answer that can occur, so that its factor is 1.
    best = np.max(r, axis=-1, keepdims=True, where=some, initial=-np.inf)
    with np.errstate(over="ignore"):  # -inf is as good as a very negative number
        gap = np.divide(r - best, b, out=np.full_like(p, -np.inf), where=some)
    weight = np.exp(gap) * p
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


@differentiable("logits")
@may_overflow
def kl_regularized_reward(
    logits: Any, rewards: Any, *, ref_logits: Any, beta: float
) -> tuple[Array, Pullback]:
    """Exact objective of RLHF for a policy over K answers: E[reward] - beta * KL.

    Parameters
    ----------
    logits : array of shape (..., K)
        Of the policy, ``softmax(logits)``.
    rewards : array that broadcasts to the shape of logits
        Of the answers.
    ref_logits : array that broadcasts to the shape of logits
        Of the reference.
    beta : float
        Price of a nat of KL(policy‖reference), >= 0.

    Returns
    -------
    array of shape (...)
        To be made *large*. Differentiable with respect to the logits.

    Raises
    ------
    ValueError, TypeError
        If the shapes do not fit, beta is negative, or the objective overflows.

    Notes
    -----
    ``sum_k p[k] * a[k]`` with ``a = rewards - beta * log(p / ref)``. The gradient with respect to
    logit k is ``p[k] * (a[k] - sum_j p[j] * a[j])``: the policy gradient theorem without sampling,
    the mean as the baseline. It is what `trainlab.policy_gradient` estimates.

    Examples
    --------
    The best value is beta * log(E_ref[exp(reward / beta)]).

    >>> best = np.log(kl_regularized_optimum([0.5, 0.5], [0.0, 1.0], beta=0.5))
    >>> float(kl_regularized_reward(best, [0.0, 1.0], ref_logits=np.zeros(2), beta=0.5).round(6))
    0.71689
    >>> round(0.5 * float(np.log((1 + np.exp(2)) / 2)), 6)
    0.71689
    """
    z = array(logits, "logits", nonempty=False)
    integer(z.shape[-1] if z.ndim else 0, "number of answers on the last axis of logits", low=1)
    b = real(beta, "beta", low=0, closed="left")
    others = []
    for value, name in ((rewards, "rewards"), (ref_logits, "ref_logits")):
        other = array(value, name, nonempty=False).astype(z.dtype, copy=False)
        check_broadcasts(other, name, z, "logits")
        others.append(np.broadcast_to(other, z.shape))
    log_p, log_ref = log_softmax(z), log_softmax(others[1])
    p = np.exp(log_p)
    advantage = others[0] - b * (log_p - log_ref)
    value = array(np.einsum("...k,...k->...", p, advantage), "objective", nonempty=False)

    def pullback(cotangent: Array) -> tuple[Array]:
        return (p * (advantage - value[..., None]) * cotangent[..., None],)

    return value, pullback
