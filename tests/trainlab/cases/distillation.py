"""Contract cases of `trainlab.distillation`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import distillation as D

BAD_ARRAY = [None, "w", 1j, [np.nan], [np.inf], [[1.0], [1.0, 2.0]]]
BAD_SHARE = [-0.1, 1.1, np.nan, "0.5", None]


def _logits(rng, dtype, **more):
    return {
        "logits": rng.standard_normal((2, 3, 5)).astype(dtype),
        "teacher_logits": rng.standard_normal((2, 3, 5)).astype(dtype),
        **more,
    }


def _distill(rng, dtype):
    return _logits(rng, dtype, temperature=2.0, alpha=0.3, labels=rng.integers(0, 5, (2, 3)))


# Their distance, and so the loss, is larger than the largest number.
FAR_APART = np.where(np.arange(30).reshape(2, 3, 5) % 5, 1.7e308, -1.7e308)
BAD_LOGITS = [*BAD_ARRAY, 1.0, np.ones((0, 5)), np.ones((3, 0))]
EXTREME_LOGITS = [
    lambda rng, dtype, s=s: {
        "logits": s * np.array([[1.0, 0.0, -1.0]]),
        "teacher_logits": s * np.array([[-1.0, 0.0, 1.0]]),
    }
    for s in (0.0, 1e4, 1e100)
]

CASES = [
    Case(
        D.soft_targets,
        lambda rng, dtype: {"logits": _logits(rng, dtype)["logits"], "temperature": 2.0},
        {
            "logits": [*BAD_ARRAY, 1.0, np.ones((3, 0))],
            "temperature": [0.0, 1e-4, np.nan, np.inf, "2"],
        },
        shape_of="logits",
        extreme=[
            lambda rng, dtype: {"logits": np.array([1e308, -1e308]), "temperature": 1e-3},
            lambda rng, dtype: {"logits": np.ones((0, 3)), "temperature": 1.0},
        ],
    ),
    Case(
        D.distillation_loss,
        _distill,
        {
            "logits": [*BAD_LOGITS, FAR_APART],
            "teacher_logits": [*BAD_LOGITS, np.ones((3, 5))],
            "temperature": [0.0, 1e-4, np.nan, np.inf, "2"],
            "alpha": BAD_SHARE,
            "labels": [None, np.zeros((2, 3)), np.full((2, 3), 5), np.full((2, 3), -1), [0, 1]],
        },
        extreme=[
            lambda rng, dtype, e=e, t=t: {**e(rng, dtype), "temperature": t}
            for e in EXTREME_LOGITS
            for t in (1e-3, 1.0, 1e6)
        ],
    ),
    Case(
        D.logit_matching_loss,
        _logits,
        {
            "logits": [*BAD_LOGITS, 1e200 * np.eye(5)[:3] * np.ones((2, 1, 1))],
            "teacher_logits": [*BAD_LOGITS, np.ones((3, 5))],
        },
        extreme=EXTREME_LOGITS,
    ),
]
