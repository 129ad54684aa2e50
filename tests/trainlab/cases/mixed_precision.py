"""Contract cases of `trainlab.mixed_precision`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import mixed_precision as M
from trainlab.formats import BF16, E4M3, E5M2, FP16, FP32

NO_FLOATS = ["text", 1j, np.zeros(2, np.float16)]
NO_TREE = [{"w": "text"}, [np.zeros(2, np.float16)], 1j]
NO_FORMAT = [None, "FP16", 16]
NO_BOOL = ["yes", 2, None]
NO_FUNCTION = [None, "update", 1.0]
NOT_POSITIVE = [0, -1.0, np.nan, np.inf, "1", None]


def _tree(rng, dtype):
    w, b = rng.standard_normal((4, 3)).astype(dtype), rng.standard_normal(3).astype(dtype)
    return {"w": w, "b": [b]}


def _weights(rng, dtype):
    return {"w": rng.standard_normal((4, 3)).astype(dtype), "fmt": FP16}


def _update(rng, dtype):
    return {"params": _tree(rng, dtype), "updates": _tree(rng, dtype), "fmt": BF16}


def _extremes(rng, dtype):
    info = np.finfo(dtype)
    return np.array([0.0, -0.0, info.tiny, info.smallest_subnormal, info.max, -info.max], dtype)


CASES = [
    Case(
        M.cast,
        lambda rng, dtype: {
            "x": rng.standard_normal((3, 5)).astype(dtype),
            "fmt": E4M3,
            "cotangent_fmt": E5M2,
        },
        {
            "x": NO_FLOATS,
            "fmt": NO_FORMAT,
            "cotangent_fmt": ["E5M2", 8],
            "saturate": NO_BOOL,
        },
        shape_of="x",
        extreme=[lambda rng, dtype: {"x": _extremes(rng, dtype), "fmt": E4M3, "saturate": True}],
    ),
    Case(
        M.cast_tree,
        lambda rng, dtype: {"tree": _tree(rng, dtype), "fmt": FP16},
        {"tree": NO_TREE, "fmt": NO_FORMAT, "saturate": NO_BOOL},
        extreme=[
            lambda rng, dtype: {"tree": [_extremes(rng, dtype)], "fmt": BF16, "saturate": True}
        ],
    ),
    Case(
        M.low_precision,
        lambda rng, dtype: {"function": np.multiply, "fmt": FP16},
        {"function": NO_FUNCTION, "fmt": NO_FORMAT},
    ),
    Case(
        M.mixed_value_and_grad,
        lambda rng, dtype: {"function": np.sum, "fmt": FP16, "scale": 8.0},
        {"function": NO_FUNCTION, "fmt": NO_FORMAT, "scale": NOT_POSITIVE},
    ),
    Case(
        M.update_threshold,
        _weights,
        {"w": [*NO_FLOATS, np.array([np.nan])], "fmt": NO_FORMAT},
        shape_of="w",
        extreme=[lambda rng, dtype: {"w": np.array([0.0, -0.0, 5e-324, 1e-300]), "fmt": FP16}],
    ),
    Case(
        M.rounded_update,
        lambda rng, dtype: {**_update(rng, dtype), "rng": rng},
        {"params": NO_TREE, "updates": NO_TREE, "fmt": NO_FORMAT, "rng": [0, np.random]},
    ),
    Case(
        M.vanishing_updates,
        _update,
        {"params": NO_TREE, "updates": NO_TREE, "fmt": NO_FORMAT},
    ),
    Case(
        M.training_memory,
        lambda rng, dtype: {"num_params": 7e9, "gradients": FP32, "master": None},
        {
            "num_params": NOT_POSITIVE,
            "compute": NO_FORMAT,
            "gradients": ["FP16", 16],
            "master": ["FP32", 32],
            "moments": [None, FP32, ("FP32",)],
        },
        keeps_dtype=False,
    ),
]
