"""Contract cases of what the chapter on data added to `trainlab.augmentation`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import augmentation as A


def _copies(factor=1.0):
    return lambda rng, dtype: {"copies": (factor * rng.standard_normal((3, 4, 2))).astype(dtype)}


CASES = [
    Case(
        A.augmentation_penalty,
        _copies(),
        {
            "copies": [
                np.ones((4, 2)),
                np.ones((0, 4, 2)),
                np.ones((3, 4, 0)),
                np.full((3, 4, 2), np.nan),
                np.ones((3, 4, 2), complex),
                "x",
                None,
            ]
        },
        extreme=[_copies(0.0), _copies(1e-150), _copies(1e150)],
    ),
]
