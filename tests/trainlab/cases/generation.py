"""Contract cases of `trainlab.generation`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import generation as G

SAMPLING = {
    "temperature": [-0.1, np.nan, np.inf, "1", None],
    "top_k": [0, -1, 2.0, "2"],
    "top_p": [0.0, 1.1, -0.5, np.nan, "1"],
}
BAD_LOGITS = [1.0, np.zeros((2, 0)), np.array([0.0, np.nan]), np.full(2, -np.inf), "x", None]
BAD_RNG = [0, None, np.random.RandomState(0)]


def _logits(rng, dtype):
    logits = rng.standard_normal((3, 6)).astype(dtype)
    return {"logits": logits, "temperature": 0.7, "top_k": 5, "top_p": 0.9}


def _steps(ids, *, cache):
    return np.eye(6)[(np.asarray(ids) + 1) % 6], cache


def _text(rng, dtype):
    return {
        "step": _steps,
        "prompt": np.array([[1, 2], [3, 4]]),
        "count": 3,
        "rng": rng,
        "temperature": 0.7,
        "top_k": 5,
        "top_p": 0.9,
    }


CASES = [
    Case(
        G.sampling_probabilities,
        _logits,
        {"logits": BAD_LOGITS, **SAMPLING},
        shape_of="logits",
        extreme=[
            lambda rng, dtype: {"logits": np.array([1e4, -1e4, 0.0]), "temperature": 1e-3},
            lambda rng, dtype: {"logits": np.zeros(4), "top_p": 1e-9},
            lambda rng, dtype: {"logits": np.full(4, -1e4)},
        ],
    ),
    Case(
        G.sample_token,
        lambda rng, dtype: {**_logits(rng, dtype), "rng": rng},
        {"logits": BAD_LOGITS, "rng": BAD_RNG, **SAMPLING},
    ),
    Case(
        G.generate,
        _text,
        {
            "step": [None, "step", 1],
            "prompt": [3, "text", np.zeros((2, 0), int), np.zeros(2), None],
            "count": [-1, 2.0, None],
            "rng": BAD_RNG,
            **SAMPLING,
        },
    ),
]
