"""Contract cases of `trainlab.combinations`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import combinations as C

LEVEL = [0, 1, -0.1, 1.5, np.nan, "0.95", None]
SCORES = [[1.0], [1.0, np.nan], [[1.0, 2.0]], "12", None]


def _scores(rng, dtype):
    names = ("neither", "first", "second", "both")
    return {name: rng.standard_normal(6).astype(dtype) for name in names} | {"level": 0.9}


CASES = [
    Case(
        C.t_factor,
        lambda rng, dtype: {"dof": 9, "level": 0.95},
        {"dof": [0, -1, 2.0, None], "level": LEVEL},
        keeps_dtype=False,
    ),
    Case(
        C.paired_interval,
        lambda rng, dtype: {"differences": rng.standard_normal(5).astype(dtype), "level": 0.9},
        {"differences": SCORES, "level": LEVEL},
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"differences": np.array([1e30, -1e30], dtype)}],
    ),
    Case(
        C.two_by_two,
        _scores,
        {"neither": SCORES[1:], "first": SCORES, "second": SCORES, "both": SCORES, "level": LEVEL},
        keeps_dtype=False,
    ),
    Case(
        C.verdict,
        lambda rng, dtype: {"gain": C.Interval(0.5, 0.1, 0.9)},
        {
            "gain": [
                0.5,
                None,
                (0.5, 0.1, 0.9),
                C.Interval(np.nan, 0, 1),
                C.Interval(0.5, 0.6, 0.9),
                C.Interval(0.5, 0.1, 0.4),
            ]
        },
        keeps_dtype=False,
    ),
]
