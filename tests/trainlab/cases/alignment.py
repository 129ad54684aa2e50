"""Contract cases of `trainlab.alignment`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import alignment as A

BAD_ARRAYS = ["text", [[1.0], [1.0, 2.0]], np.full((4, 3), np.nan), 1j, None]
BAD_LIKE = [*BAD_ARRAYS, np.ones((4, 1)), np.ones(3)]
BAD_BETA = [0, -0.1, np.nan, np.inf, "0.1", None]
BAD_REDUCTION = ["average", None, ["mean"]]


def _sequences(scale=1.0):
    def make(rng, dtype):
        return {
            "logits": (scale * rng.standard_normal((2, 3, 5))).astype(dtype),
            "tokens": np.array([[0, 4, 1], [2, 2, 3]]),
            "mask": np.array([[True, False, True], [False, False, False]]),
        }

    return make


def _pairs(*names, scale=1.0, **more):
    def make(rng, dtype):
        numbers = scale * rng.standard_normal((len(names), 4, 3))
        return {**dict(zip(names, numbers.astype(dtype), strict=True)), **more}

    return make


REWARDS = ("chosen_rewards", "rejected_rewards")
LOGS = ("chosen", "rejected", "ref_chosen", "ref_rejected")


def _bad_like(*names):
    return {names[0]: BAD_ARRAYS, **dict.fromkeys(names[1:], BAD_LIKE)}


def _policy(scale=1.0, beta=0.5):
    def make(rng, dtype):
        return {
            "ref_probs": rng.dirichlet(np.ones(3), 4).astype(dtype),
            "rewards": (scale * rng.standard_normal((4, 3))).astype(dtype),
            "beta": beta,
        }

    return make


def _impossible(rng, dtype):
    return {"ref_probs": np.eye(3), "rewards": np.diag([-1e9] * 3), "beta": 1e-9}


def _exact(scale=1.0):
    def make(rng, dtype):
        logits, rewards, ref = (scale * rng.standard_normal((3, 4, 3))).astype(dtype)
        return {"logits": logits, "rewards": rewards, "ref_logits": ref, "beta": 0.5}

    return make


BAD_DISTRIBUTIONS = [np.full((4, 3), 0.5), np.tile([1.5, -0.5, 0], (4, 1)), np.ones((4, 0)), 1.0]
WIDER = [*BAD_ARRAYS, np.ones(2), np.ones((2, 4, 3))]

CASES = [
    Case(
        A.sequence_log_prob,
        _sequences(),
        {
            "logits": [*BAD_ARRAYS, np.ones(5), np.ones((2, 3, 0))],
            "tokens": [np.zeros((2, 2), int), np.full((2, 3), 5), np.full((2, 3), -1),
                       np.zeros((2, 3)), [[0], [1, 2]], None],
            "mask": [np.ones((2, 3)), np.ones((2, 2), bool), [[True], [True, False]], "x"],
        },
        extreme=[_sequences(s) for s in (1e4, 1e300, 0.0)],
    ),
    Case(
        A.bradley_terry_loss,
        _pairs(*REWARDS),
        {**_bad_like(*REWARDS), "reduction": BAD_REDUCTION},
        extreme=[_pairs(*REWARDS, scale=s) for s in (1e4, 1e300, 1e-300, 0.0)],
    ),
    *(
        Case(
            function,
            _pairs(*LOGS, beta=0.3),
            {**_bad_like(*LOGS), "beta": BAD_BETA, "reduction": BAD_REDUCTION},
            extreme=[_pairs(*LOGS, scale=s) for s in (1e4, 1e150, 1e-300, 0.0)],
        )
        for function in (A.dpo_loss, A.ipo_loss)
    ),
    Case(
        A.implicit_reward,
        _pairs("log_probs", "ref_log_probs", beta=0.3),
        {**_bad_like("log_probs", "ref_log_probs"), "beta": BAD_BETA},
        shape_of="log_probs",
    ),
    Case(
        A.kl_regularized_optimum,
        _policy(),
        {"ref_probs": [*BAD_ARRAYS, *BAD_DISTRIBUTIONS], "rewards": BAD_LIKE, "beta": BAD_BETA},
        shape_of="ref_probs",
        extreme=[_policy(1e300), _policy(1e4, 1e-300), _policy(0.0), _impossible],
    ),
    Case(
        A.kl_regularized_reward,
        _exact(),
        {
            "logits": [*BAD_ARRAYS, np.ones((4, 0)), 1.0],
            "rewards": WIDER,
            "ref_logits": WIDER,
            "beta": BAD_BETA[1:],
        },
        extreme=[_exact(s) for s in (1e4, 1e150, 0.0)],
    ),
]  # fmt: skip
