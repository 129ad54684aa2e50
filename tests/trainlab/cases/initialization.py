"""Contract cases of `trainlab.initialization`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import initialization as I

BAD_SHAPES = [3, "ab", (2.0, 3), (0, 2), (-1, 2), (True, 2)]
BAD_RNG = [0, None, np.random.RandomState(0)]
BAD_DTYPES = ["int32", "nonsense", object]
BAD_SCALES = [-1.0, np.inf, np.nan, "1", True]
MATRIX = {"shape": [*BAD_SHAPES, (3,)], "rng": BAD_RNG, "dtype": BAD_DTYPES}


def _make(**more):
    return lambda rng, dtype: {"shape": (4, 3, 2), "rng": rng, "dtype": dtype, **more}


KAIMING = {
    **MATRIX,
    "a": [np.nan, "0", None],
    "mode": ["fan_avg", "", None, ["fan_in"]],
    "nonlinearity": ["softmax", "", None],
}

CASES = [
    Case(
        I.fans,
        lambda rng, dtype: {"shape": (4, 3), "groups": 2},
        {"shape": [*BAD_SHAPES, (3,)], "groups": [0, 3, 1.0, None]},
        keeps_dtype=False,
    ),
    Case(
        I.calculate_gain,
        lambda rng, dtype: {"nonlinearity": "relu", "param": None},
        {"nonlinearity": ["softmax", None, ["relu"]], "param": [0.1, "0.1"]},
        keeps_dtype=False,
    ),
    Case(
        I.zeros,
        lambda rng, dtype: {"shape": (4, 3), "dtype": dtype},
        {"shape": BAD_SHAPES, "dtype": BAD_DTYPES},
    ),
    Case(
        I.constant,
        lambda rng, dtype: {"shape": (4, 3), "value": 0.5, "dtype": dtype},
        {"shape": BAD_SHAPES, "value": [np.nan, "0", None], "dtype": BAD_DTYPES},
    ),
    Case(
        I.normal,
        _make(std=0.5),
        {"shape": BAD_SHAPES, "rng": BAD_RNG, "dtype": BAD_DTYPES, "std": BAD_SCALES},
    ),
    Case(
        I.uniform,
        _make(bound=0.5),
        {"shape": BAD_SHAPES, "rng": BAD_RNG, "dtype": BAD_DTYPES, "bound": BAD_SCALES},
    ),
    Case(I.xavier_normal, _make(gain=2.0), {**MATRIX, "gain": BAD_SCALES}),
    Case(I.xavier_uniform, _make(gain=2.0), {**MATRIX, "gain": BAD_SCALES}),
    Case(I.kaiming_normal, _make(a=0.1, mode="fan_out"), KAIMING),
    Case(I.kaiming_uniform, _make(a=0.1, mode="fan_out"), KAIMING),
    Case(I.lecun_normal, _make(), MATRIX),
    Case(I.lecun_uniform, _make(), MATRIX),
    Case(I.orthogonal, _make(gain=2.0), {**MATRIX, "gain": BAD_SCALES}),
    Case(
        I.linear_default,
        lambda rng, dtype: {"out_features": 4, "in_features": 3, "rng": rng, "dtype": dtype},
        {
            "out_features": [0, 2.0, "4", None],
            "in_features": [0, 2.0, "4", None],
            "rng": BAD_RNG,
            "dtype": BAD_DTYPES,
        },
    ),
]
