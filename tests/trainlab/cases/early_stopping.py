"""Contract cases of `trainlab.early_stopping`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import early_stopping as E

BAD_RULE = {
    "patience": [0, -1, 2.0, None],
    "min_delta": [-0.1, np.nan, np.inf, "0", None],
    "mode": ["auto", None],
}
STATE = E.EarlyStoppingState(1.0, 0, 2, 1, False, None)
POSITIVE = [0.0, -1.0, np.nan, np.inf, "1", None]

CASES = [
    Case(
        E.early_stopping_init,
        lambda rng, dtype: {"params": rng.standard_normal(2).astype(dtype)},
        free=["params"],  # any object can be kept
    ),
    Case(
        E.early_stopping_update,
        lambda rng, dtype: {
            "score": 0.5,
            "state": STATE,
            "params": rng.standard_normal(2).astype(dtype),
            "patience": 2,
        },
        {
            "score": [np.nan, np.inf, "0.5", None, np.ones(2)],
            "state": [None, (1.0, 0, 2, 1, False, None), STATE._replace(stop=True)],
            **BAD_RULE,
        },
        free=["params"],  # any object can be kept
    ),
    Case(
        E.stopping_points,
        lambda rng, dtype: {"scores": rng.random((2, 9)).astype(dtype), "patience": 2},
        {"scores": [1.0, np.ones((2, 0)), [np.nan, 1.0], "scores"], **BAD_RULE},
        extreme=[lambda rng, dtype: {"scores": np.array([1e308, -1e308]), "patience": 1}],
    ),
    Case(
        E.expected_maximum,
        lambda rng, dtype: {"count": 3},
        {"count": [0, 1.5, None, 10**16]},
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"count": 10**15}],
    ),
    Case(
        E.picked_score,
        lambda rng, dtype: {"values": rng.random(5).astype(dtype), "std": 0.1},
        {
            "values": [1.0, [], [np.nan, 1.0], np.ones((2, 2)), "values"],
            "std": POSITIVE,
            "mode": ["auto", None],
        },
        keeps_dtype=False,
        extreme=[
            lambda rng, dtype: {"values": np.array([1e308, -1e308]), "std": 1e-300},
            lambda rng, dtype: {"values": np.array([0.0, 1e-300]), "std": 1e300},
        ],
    ),
    Case(
        E.descent_factors,
        lambda rng, dtype: {
            "s": rng.random((2, 3)).astype(dtype),
            "steps": np.array([1, 5]),
            "lr": 0.5,
            "n": 2,
        },
        {
            "s": [[-1.0, 0.5], [np.nan], [], "s"],
            "steps": [-1, 1.5, None, [[1]], [], [2, -1]],
            "lr": [*POSITIVE, 1e9],
            "n": [0, 1.5, None],
        },
        extreme=[
            lambda rng, dtype: {"s": np.array([0.0, 1e-320]), "steps": 10**12, "lr": 1e300, "n": 1},
            lambda rng, dtype: {"s": np.array([1e150]), "steps": 10**12, "lr": 1e-301, "n": 1},
        ],
    ),
    Case(
        E.equivalent_weight_decay,
        lambda rng, dtype: {"steps": 10, "lr": 0.1},
        {"steps": [0, -1, 1.5, None], "lr": [*POSITIVE, 1e-320]},
        keeps_dtype=False,
    ),
]
