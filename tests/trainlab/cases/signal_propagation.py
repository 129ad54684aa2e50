"""Contract cases of `trainlab.signal_propagation`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import signal_propagation as S

BAD_Q = [-1.0, np.nan, np.inf, "1", None]
BAD_VARIANCE = [-1.0, np.nan, np.inf, "1", None, True]
BAD_ACTIVATION = ["softmax", None, ["relu"], abs]
SETTING = {"activation": "tanh", "weight_variance": 1.5, "bias_variance": 0.1}
BAD_SETTING = {
    "activation": BAD_ACTIVATION,
    "weight_variance": BAD_VARIANCE,
    "bias_variance": BAD_VARIANCE,
}


def _networks(rng, dtype):
    return {
        "weights": [rng.standard_normal(s).astype(dtype) for s in ((4, 3), (2, 4))],
        "x": rng.standard_normal((5, 3)).astype(dtype),
        "cotangent": rng.standard_normal((5, 2)).astype(dtype),
        "activation": "gelu",
        "biases": [rng.standard_normal(n).astype(dtype) for n in (4, 2)],
    }


# Theory is computed in float64 whatever q is: quadrature in half precision would be of no use.
CASES = [
    Case(
        S.length_map,
        lambda rng, dtype: {"q": rng.random(3), **SETTING},
        {"q": BAD_Q, **BAD_SETTING},
        shape_of="q",
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"q": np.array([0.0, 1e-300, 1e100]), **SETTING}],
    ),
    Case(
        S.gradient_factor,
        lambda rng, dtype: {"q": rng.random(3), "activation": "selu", "weight_variance": 2.0},
        {"q": BAD_Q, "activation": BAD_ACTIVATION, "weight_variance": BAD_VARIANCE},
        shape_of="q",
        keeps_dtype=False,
        extreme=[
            lambda rng, dtype: {
                "q": np.array([0.0, 1e-300, 1e200]),
                "activation": "gelu",
                "weight_variance": 1.0,
            }
        ],
    ),
    Case(
        S.mean_field,
        lambda rng, dtype: {"depth": 5, **SETTING, "input_moment": 2.0},
        {"depth": [0, 2.0, "5", None], **BAD_SETTING, "input_moment": BAD_VARIANCE},
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"depth": 40, "activation": "relu", "weight_variance": 1024.0}],
    ),
    Case(
        S.fixed_point,
        lambda rng, dtype: {**SETTING, "q0": 0.5},
        {**BAD_SETTING, "q0": [0.0, *BAD_VARIANCE]},
        keeps_dtype=False,
    ),
    Case(
        S.critical_variance,
        lambda rng, dtype: {"activation": "tanh", "low": 0.5, "high": 2.0, "bias_variance": 0.0},
        {
            "activation": BAD_ACTIVATION,
            "low": [1.5, *BAD_VARIANCE],
            "high": [0.5, 0.75, *BAD_VARIANCE],
            "bias_variance": BAD_VARIANCE,
        },
        keeps_dtype=False,
    ),
    Case(
        S.simulate,
        _networks,
        {
            "weights": [[], np.zeros((2, 2)), "ab", [np.zeros((2, 2))], [np.zeros(3)]],
            "x": [np.zeros(3), np.zeros((5, 4)), np.array([[np.nan] * 3])],
            "cotangent": [np.zeros((5, 3)), np.zeros((4, 2)), None],
            "activation": BAD_ACTIVATION,
            "biases": [[np.zeros(4)], [np.zeros(4), np.zeros(3)], np.zeros((2, 4))],
        },
    ),
]
