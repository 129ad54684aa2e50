"""Contract cases of curvature and its limit for the learning rate."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import curvature as C


def _loss(params):
    w, b = params["w"], params["b"]
    return w[0] * w[0] * w[1] + w[1] * b * b


def _tree(rng, dtype):
    return {
        "w": rng.uniform(1, 2, 2).astype(dtype),
        "b": np.array(rng.uniform(1, 2), dtype),
    }


def _zero(rng, dtype):
    return {"w": np.zeros(2, dtype), "b": np.zeros((), dtype)}


BAD_TREES = [None, np.ones(2), {"w": np.ones(2)}, {"w": np.ones(3), "b": np.array(1.0)}]
ZERO = {"w": np.zeros(2), "b": np.zeros(())}

CASES = [
    Case(
        C.largest_stable_lr,
        lambda rng, dtype: {
            "curvature": rng.uniform(1, 2, (2, 3)).astype(dtype),
            "momentum": 0.5,
            "nesterov": True,
        },
        {
            "curvature": [0.0, -1.0, np.nan, np.array([1.0, 0.0]), "1", None],
            "momentum": [-0.1, 1.0, np.nan, "0.9"],
            "nesterov": [None, "yes", 2],
        },
        shape_of="curvature",
    ),
    Case(
        C.hessian_vector_product,
        lambda rng, dtype: {
            "loss": _loss,
            "params": _tree(rng, dtype),
            "direction": _tree(rng, dtype),
        },
        {
            "loss": [None, "mse"],
            "params": [None, {"w": "x"}],
            "direction": BAD_TREES,
            "step": [0.0, -1e-4, np.nan, "1e-4"],
        },
        extreme=[
            lambda rng, dtype: {
                "loss": _loss,
                "params": _tree(rng, dtype),
                "direction": _zero(rng, dtype),
            }
        ],
    ),
    Case(
        C.sharpness,
        lambda rng, dtype: {
            "loss": _loss,
            "params": _tree(rng, dtype),
            "direction": _tree(rng, dtype),
            "iterations": 3,
        },
        {
            "loss": [None, "mse"],
            "params": [None, {"w": "x"}],
            "direction": [*BAD_TREES, ZERO],
            "iterations": [0, 1.5, None],
        },
        keeps_dtype=False,  # the value is a Python number
    ),
]
