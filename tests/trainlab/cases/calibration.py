"""Contract cases of `trainlab.calibration`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import calibration as C

BAD_PROBS = [
    "text",
    np.ones(3) / 3,
    np.full((4, 3), np.nan),
    np.full((4, 3), 0.5),
    np.tile([1.5, -0.5, 0.0], (4, 1)),
    np.ones((0, 3)),
    np.ones((5, 3)) / 3,
]
BAD_TARGETS = [np.zeros(3, int), np.full(4, 3), np.full(4, -1), np.zeros(4), [[0], [1, 2]], None]
BAD = {"probs": BAD_PROBS[:-1], "targets": BAD_TARGETS}
BINS = {"bins": [0, 2.5, None, "15"]}


def _probs(rng, dtype):
    probs = rng.dirichlet(np.ones(3), 4).astype(dtype)
    return {"probs": probs, "targets": np.array([0, 1, 2, 0])}


def _logits(scale):
    def make(rng, dtype):
        logits = np.array([[2.0, 0, 0], [1, 2, 0], [0, 3, 2], [2, 0, 1]], dtype) * scale
        return {"logits": logits, "targets": np.array([0, 1, 2, 0])}

    return make


def _certain(rng, dtype):
    return {"probs": np.eye(3), "targets": np.array([0, 2, 2])}


CASES = [
    # The numbers come out as Python floats, in float64 whatever went in.
    Case(C.brier_score, _probs, BAD, keeps_dtype=False, extreme=[_certain]),
    Case(C.reliability_table, _probs, {**BAD, **BINS}, keeps_dtype=False, extreme=[_certain]),
    Case(
        C.expected_calibration_error,
        _probs,
        {**BAD, **BINS},
        keeps_dtype=False,
        extreme=[_certain],
    ),
    Case(
        C.fit_temperature,
        _logits(1.0),
        {
            "logits": ["text", np.ones(3), np.full((4, 3), np.nan), np.ones((0, 3))],
            # the last two: every answer right; worse than chance
            "targets": [*BAD_TARGETS, np.array([0, 1, 1, 0]), np.array([1, 2, 0, 1])],
        },
        keeps_dtype=False,
        extreme=[_logits(1e300), _logits(1e-300), _logits(1e4)],
    ),
]
