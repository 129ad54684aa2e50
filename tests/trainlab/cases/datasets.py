"""Contract cases of `trainlab.datasets`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import datasets as D

BAD_RNG = [0, None, np.random.RandomState(0)]
BAD_NOISE = [-0.1, np.nan, np.inf, "0.1", None]
BAD_SHARE = [-0.1, 1.1, np.nan, None]
BAD_COUNT = [0, 1.5, None]
DISTURBED = {"count": BAD_COUNT, "rng": BAD_RNG, "noise": BAD_NOISE, "outliers": BAD_SHARE}
SCATTERED = {"count": [1, 4.0, None], "rng": BAD_RNG, "noise": BAD_NOISE}


def _drawn(**more):
    return lambda rng, dtype: {"count": 6, "rng": rng, **more}


CASES = [
    Case(
        D.digits,
        lambda rng, dtype: {"part": "test", "dtype": dtype},
        {"part": ["all data", None, 0], "dtype": [np.float16, np.int64, None, "f"]},
    ),
    Case(
        D.linear_teacher,
        _drawn(dim=2),
        {**DISTURBED, "dim": BAD_COUNT},
        keeps_dtype=False,
    ),
    Case(
        D.noisy_curve,
        _drawn(),
        {**DISTURBED, "kind": ["cosine", None]},
        keeps_dtype=False,
    ),
    Case(
        D.gaussian_classes,
        _drawn(),
        {
            "count": BAD_COUNT,
            "rng": BAD_RNG,
            "classes": [1, 2.0],
            "dim": [0, 2.0],
            "spread": BAD_NOISE,
        },
        keeps_dtype=False,
    ),
    Case(D.two_moons, _drawn(), SCATTERED, keeps_dtype=False),
    Case(
        D.two_circles,
        _drawn(),
        {**SCATTERED, "factor": [0, 1, np.nan, None]},
        keeps_dtype=False,
    ),
    Case(
        D.spirals,
        _drawn(),
        {
            **SCATTERED,
            "count": [2, 4.0, None],
            "classes": [1, 2.0, None],
            "turns": [0, -1, np.inf, None],
        },
        keeps_dtype=False,
    ),
    Case(
        D.flip_labels,
        lambda rng, dtype: {"labels": [0, 1, 2], "fraction": 0.5, "classes": 3, "rng": rng},
        {
            "labels": [[3], [-1], [0.5], [[1]], None, 1],
            "fraction": BAD_SHARE,
            "classes": [1, 2.0, None],
            "rng": BAD_RNG,
        },
        keeps_dtype=False,
        extreme=[
            lambda rng, dtype: {"labels": [], "fraction": 0.5, "classes": 3, "rng": rng},
        ],
    ),
    # No parameters.
    Case(D.book_corpus, lambda rng, dtype: {}, keeps_dtype=False),
]
