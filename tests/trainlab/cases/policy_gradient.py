"""Contract cases of `trainlab.policy_gradient`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import policy_gradient as P

BAD_ARRAYS = ["text", [[1.0], [1.0, 2.0]], np.full((4, 3), np.nan), 1j, None]
BAD_LIKE = [*BAD_ARRAYS, np.ones((4, 1)), np.ones(3)]
BAD_REDUCTION = ["average", None, ["mean"]]
BAD_SHARE = [-0.1, 1.1, np.nan, "0.9", None]


def _reinforce(rng, dtype):
    log_probs, rewards = rng.standard_normal((2, 4, 3)).astype(dtype)
    return {"log_probs": log_probs, "rewards": rewards, "baseline": rewards.mean(axis=0)}


def _ppo(scale=1.0):
    def make(rng, dtype):
        old, step, advantages = rng.standard_normal((3, 4, 3))
        if scale > 1:  # the ratio of a bad sample may not overflow
            step = -np.abs(step)
        return {
            "log_probs": (old + scale * step).astype(dtype),
            "advantages": advantages.astype(dtype),
            "old_log_probs": old.astype(dtype),
            "clip_ratio": 0.3,
        }

    return make


def _ppo_too_good(rng, dtype):
    advantages = np.array([0.0, 1.0])
    return {"log_probs": np.full(2, 1e4), "advantages": advantages, "old_log_probs": np.zeros(2)}


def _penalized(rng, dtype):
    rewards, log_probs, ref = rng.standard_normal((3, 4, 3)).astype(dtype)
    return {"rewards": rewards, "log_probs": log_probs, "ref_log_probs": ref, "beta": 0.5}


def _episode(rng, dtype):
    rewards, values = rng.standard_normal((2, 5)), rng.standard_normal((2, 6))
    return {"rewards": rewards.astype(dtype), "values": values.astype(dtype)}


CASES = [
    Case(
        P.reinforce_loss,
        _reinforce,
        {
            "log_probs": BAD_ARRAYS,
            "rewards": BAD_LIKE,
            "baseline": [*BAD_ARRAYS, np.ones(4), np.ones((2, 4, 3))],
            "reduction": BAD_REDUCTION,
        },
    ),
    Case(
        P.ppo_clip_loss,
        _ppo(),
        {
            "log_probs": [*BAD_ARRAYS, np.full((4, 3), 1e4)],
            "advantages": BAD_LIKE,
            "old_log_probs": BAD_LIKE,
            "clip_ratio": [0, 1, *BAD_SHARE],
            "reduction": BAD_REDUCTION,
        },
        extreme=[_ppo(0.0), _ppo(1e-300), _ppo(1e4), _ppo(1e300), _ppo_too_good],
    ),
    Case(
        P.kl_penalized_rewards,
        _penalized,
        {
            "rewards": BAD_ARRAYS,
            "log_probs": BAD_LIKE,
            "ref_log_probs": BAD_LIKE,
            "beta": [-0.1, np.nan, np.inf, "0.1", None],
        },
        shape_of="rewards",
    ),
    Case(
        P.generalized_advantages,
        _episode,
        {
            "rewards": [*BAD_ARRAYS, 1.0],
            "values": [*BAD_ARRAYS, np.ones((2, 5)), np.ones(6)],
            "gamma": BAD_SHARE,
            "lam": BAD_SHARE,
        },
        shape_of="rewards",
    ),
]
