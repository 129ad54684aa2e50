"""Contract cases of `trainlab.softmax`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import softmax as S

BAD = {
    "x": ["text", 1.0, np.array([np.nan, 0]), np.array([np.inf, 0]), np.full(3, -np.inf),
          np.ones((2, 0))],
    "axis": [2, -3, 1.0, None],
}  # fmt: skip


def _make(rng, dtype):
    return {"x": rng.standard_normal((3, 4)).astype(dtype), "axis": -1}


def _huge(rng, dtype):
    return {"x": np.array([[1e4, -1e4, 0.0], [1e300, -1e300, 1e-300], [5.0, 5.0, 5.0]], dtype)}


CASES = [
    Case(S.softmax, _make, BAD, shape_of="x", extreme=[_huge]),
    Case(S.log_softmax, _make, BAD, shape_of="x", extreme=[_huge]),
    Case(
        S.logsumexp,
        lambda rng, dtype: {**_make(rng, dtype), "keepdims": False},
        {**BAD, "keepdims": [None, 2]},
        extreme=[_huge],
    ),
]
