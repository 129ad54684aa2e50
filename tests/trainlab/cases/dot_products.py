"""Contract cases of dot products in number formats."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab.dot_products import dot_error_bound, running_dot
from trainlab.formats import BF16, E4M3, FP16
from trainlab.summation import METHODS

NO_VECTOR = ["text", None, np.zeros((2, 2)), [np.inf], [], np.ones(7)]
NO_FORMAT = [None, "FP16", 16]

CASES = [
    Case(
        running_dot,
        lambda rng, dtype: {
            "x": rng.random(30).astype(dtype),
            "y": rng.random(30).astype(dtype),
            "fmt": E4M3,
            "accumulator": BF16,
            "method": "stochastic",
            "rng": rng,
            "saturate": False,
        },
        bad={
            "x": [*NO_VECTOR, np.full(30, 1000.0)],  # beyond E4M3
            "y": [*NO_VECTOR, np.full(30, 1000.0)],
            "fmt": NO_FORMAT,
            "accumulator": NO_FORMAT,
            "method": ["sum", None, 3],
            "rng": [None, 0],
            "saturate": ["yes", 2, None],
        },
        shape_of="x",
        extreme=[
            lambda rng, dtype, method=method: {
                "x": np.array([0.0, -0.0, np.finfo(dtype).tiny, 1e300, -1e300], dtype),
                "y": np.array([1.0, 1e300, 5e-324, 1e300, 1e300], dtype),
                "fmt": E4M3,
                "accumulator": FP16,
                "method": method,
                "rng": rng,
                "saturate": True,
            }
            for method in METHODS
        ],
    ),
    Case(
        dot_error_bound,
        lambda rng, dtype: {"n": 100, "accumulator": FP16},
        bad={"n": [0, -1, 2.5, "10", None, True], "accumulator": NO_FORMAT},
        keeps_dtype=False,  # a Python number
    ),
]
