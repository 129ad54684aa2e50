"""Contract cases of `trainlab.variance`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import variance as V

BAD_COUNT = [0, -1, 2.0, "5", None, True]
BAD_WEIGHT = [0.0, -1.0, np.nan, np.inf, "1", None, True]
BAD_BIAS = [-1.0, np.nan, np.inf, "1", None, True]
BAD_ACTIVATION = ["softmax", None, ["relu"], abs]
SETTING = {"activation": "tanh", "weight_variance": 1.5}
BAD_SETTING = {"activation": BAD_ACTIVATION, "weight_variance": BAD_WEIGHT}

# Theory and simulation are in float64 whatever comes in.
CASES = [
    Case(
        V.moments,
        lambda rng, dtype: {
            "x": rng.standard_normal((3, 4)).astype(dtype),
            "axis": (1,),
            "correction": 1,
        },
        {
            "x": [np.zeros((3, 0)), "ab", None, np.array([[np.nan]])],
            "axis": [2, (0, 0), 0.0, "x"],
            "correction": [4, -1, 0.5, None],
        },
        extreme=[lambda rng, dtype: {"x": np.array([1e18, -1e18], dtype=dtype)}],
    ),
    Case(
        V.correlation_map,
        lambda rng, dtype: {
            "c": rng.uniform(-1, 1, 3).astype(dtype),
            "q": 1.3,
            **SETTING,
            "bias_variance": 0.1,
        },
        {
            "c": [1.1, -1.1, np.nan, "0", None],
            "q": BAD_WEIGHT,
            **BAD_SETTING,
            "bias_variance": BAD_BIAS,
        },
        shape_of="c",
        keeps_dtype=False,
        extreme=[
            lambda rng, dtype: {"c": np.array([-1.0, 0.0, 1.0]), "q": 1e-12, **SETTING},
            lambda rng, dtype: {"c": np.array([-1.0, 0.0, 1.0]), "q": 1e12, **SETTING},
        ],
    ),
    Case(
        V.correlation_by_layer,
        lambda rng, dtype: {
            "depth": 3,
            **SETTING,
            "cosine": 0.5,
            "bias_variance": 0.1,
            "input_moment": 2.0,
        },
        {
            "depth": BAD_COUNT,
            **BAD_SETTING,
            "cosine": [1.1, -1.1, np.nan, "0", None],
            "bias_variance": BAD_BIAS,
            "input_moment": BAD_WEIGHT,
        },
        keeps_dtype=False,
    ),
    Case(
        V.log_moment_std,
        lambda rng, dtype: {"depth": 4, "width": 32, **SETTING, "input_moment": 2.0},
        {"depth": BAD_COUNT, "width": BAD_COUNT, **BAD_SETTING, "input_moment": BAD_WEIGHT},
        keeps_dtype=False,
        extreme=[
            lambda rng, dtype: {
                "depth": 40,
                "width": 1,
                "activation": "relu",
                "weight_variance": 1024.0,
            }
        ],
    ),
    Case(
        V.random_walks,
        lambda rng, dtype: {"depth": 4, "width": 8, "networks": 3, **SETTING, "rng": rng},
        {
            "depth": BAD_COUNT,
            "width": BAD_COUNT,
            "networks": BAD_COUNT,
            "activation": BAD_ACTIVATION,
            "weight_variance": BAD_BIAS,
            "rng": [0, None, np.random],
        },
        keeps_dtype=False,
    ),
    Case(
        V.dead_share,
        lambda rng, dtype: {"c": rng.random(3).astype(dtype), "batch_size": 10},
        {"c": [1.1, -0.1, np.nan, "0", None], "batch_size": BAD_COUNT},
        shape_of="c",
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"c": np.array([0.0, 1.0]), "batch_size": 100_000}],
    ),
]
