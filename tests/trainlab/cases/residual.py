"""Contract cases of `trainlab.residual`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import residual as R
from trainlab.normalization import layer_norm

BAD_X = ["text", np.array([1j]), np.full((3, 4), np.nan)]
BAD_FUNCTION = [None, "relu", lambda x: x[:1]]


def _block(**more):
    return lambda rng, dtype: {
        "x": rng.standard_normal((3, 4)).astype(dtype),
        "branch": lambda x: x * 0.5,
        **more,
    }


def _profile(rng, dtype):
    return {
        "layer": lambda x, p: x * p,
        "params": [np.ones(4), np.full(4, 2.0)],
        "x": rng.standard_normal((3, 4)),
        "cotangent": rng.standard_normal((3, 4)),
        "last": layer_norm,
    }


COMMON = {"x": BAD_X, "branch": BAD_FUNCTION}
NORM = {**COMMON, "norm": BAD_FUNCTION}

CASES = [
    Case(R.plain_block, _block(), COMMON, shape_of="x"),
    Case(
        R.residual_block,
        _block(scale=0.5),
        {**COMMON, "scale": [np.nan, "1", None]},
        shape_of="x",
    ),
    Case(R.pre_norm_block, _block(norm=layer_norm), NORM, shape_of="x"),
    Case(R.post_norm_block, _block(norm=layer_norm), NORM, shape_of="x"),
    Case(
        R.rezero_block,
        _block(gain=0.5),
        {**COMMON, "gain": [np.nan, "1", None, np.ones(4)]},
        shape_of="x",
    ),
    Case(
        R.stack_profile,
        _profile,
        {
            "layer": [None, "relu", lambda x, p: x[:1]],
            "params": [[], None, np.ones(3)],
            "x": [np.ones(4), np.zeros((3, 4)), np.full((3, 4), np.nan)],
            "cotangent": [np.ones(4), np.full((3, 4), np.nan)],
            "last": ["norm", 1],
        },
        keeps_dtype=False,
    ),
    Case(
        R.relu_stack_profile,
        lambda rng, dtype: {
            "kind": "pre",
            "depth": 2,
            "rng": rng,
            "width": 4,
            "batch_size": 3,
        },
        {
            "kind": ["Pre", None],
            "depth": [0, 1.5],
            "rng": [0, None],
            "width": [1, 2.0],
            "batch_size": [0, 2.0],
        },
        keeps_dtype=False,
    ),
    Case(
        R.relu_stack_theory,
        lambda rng, dtype: {"kind": "post", "depth": 3, "width": 4, "batch_size": 3},
        {
            "kind": ["Pre", None],
            "depth": [0, 1.5],
            "width": [1, 2.0],
            "batch_size": [0, 2.0],
        },
        keeps_dtype=False,
    ),
]
