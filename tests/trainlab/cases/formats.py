"""Contract cases of the chapter on number formats."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab.bit_patterns import bit_string, decode, encode, neighbors
from trainlab.formats import (
    BF16,
    E2M1,
    E4M3,
    E5M2,
    FP16,
    FP32,
    MODES,
    round_to,
    spacing,
    stochastic_round,
)
from trainlab.summation import running_sum

NO_FLOATS = ["text", None, 1j, np.zeros(2, dtype=np.float16)]
NO_FORMAT = [None, "FP16", 16]
NO_BOOL = ["yes", 2, None]


def _numbers(rng, dtype):
    return (10.0 ** rng.uniform(-8, 4, (3, 5))).astype(dtype)


def _extremes(dtype):
    info = np.finfo(dtype)
    return np.array([0.0, -0.0, info.tiny, info.smallest_subnormal, info.max, -info.max], dtype)


CASES = [
    Case(
        round_to,
        lambda rng, dtype: {
            "x": _numbers(rng, dtype),
            "fmt": FP16,
            "mode": "down",
            "saturate": False,
        },
        bad={
            "x": NO_FLOATS,
            "fmt": NO_FORMAT,
            "mode": ["even", None, 1],
            "saturate": NO_BOOL,
        },
        shape_of="x",
        extreme=[
            lambda rng, dtype: {"x": _extremes(np.float32), "fmt": BF16, "saturate": True},
            *(
                lambda rng, dtype, fmt=fmt, mode=mode: {
                    "x": _extremes(dtype),
                    "fmt": fmt,
                    "mode": mode,
                    "saturate": True,
                }
                for fmt in (E4M3, E2M1)
                for mode in MODES
            ),
        ],
    ),
    Case(
        stochastic_round,
        lambda rng, dtype: {"x": _numbers(rng, dtype), "fmt": E5M2, "rng": rng, "saturate": False},
        bad={"x": NO_FLOATS, "fmt": NO_FORMAT, "saturate": NO_BOOL, "rng": [None, 0]},
        shape_of="x",
        extreme=[
            lambda rng, dtype: {"x": _extremes(dtype), "fmt": E4M3, "rng": rng, "saturate": True}
        ],
    ),
    Case(
        spacing,
        lambda rng, dtype: {"x": _numbers(rng, dtype), "fmt": FP16},
        bad={"x": NO_FLOATS, "fmt": NO_FORMAT},
        shape_of="x",
        extreme=[lambda rng, dtype: {"x": np.array([0.0, -0.0, 5e-324, 1e-300]), "fmt": E4M3}],
    ),
    Case(
        neighbors,
        lambda rng, dtype: {"x": _numbers(rng, dtype), "fmt": FP16},
        bad={"x": NO_FLOATS, "fmt": NO_FORMAT},
        shape_of="x",
        extreme=[lambda rng, dtype: {"x": np.array([0.0, -0.0, 5e-324, 1e-300]), "fmt": FP32}],
    ),
    Case(
        encode,
        lambda rng, dtype: {"x": _numbers(rng, dtype), "fmt": BF16, "saturate": True},
        bad={"x": NO_FLOATS, "fmt": NO_FORMAT, "saturate": NO_BOOL},
        shape_of="x",
    ),
    Case(
        decode,
        lambda rng, dtype: {"pattern": rng.integers(0, 256, (4, 2)), "fmt": E5M2},
        bad={"pattern": [256, -1, 1.0, "1", [0, 256]], "fmt": NO_FORMAT},
        shape_of="pattern",
        keeps_dtype=False,  # patterns are integers, numbers float64
    ),
    Case(
        bit_string,
        lambda rng, dtype: {"pattern": 0x41, "fmt": E4M3},
        bad={"pattern": [256, -1, 1.0, "1"], "fmt": NO_FORMAT},
        keeps_dtype=False,
    ),
    Case(
        running_sum,
        lambda rng, dtype: {
            "terms": rng.random(30).astype(dtype),
            "fmt": BF16,
            "method": "stochastic",
            "rng": rng,
            "saturate": False,
        },
        bad={
            "terms": ["text", None, np.zeros((2, 2)), [np.inf], []],
            "fmt": NO_FORMAT,
            "method": ["sum", None, 3],
            "rng": [None, 0],
            "saturate": NO_BOOL,
        },
        shape_of="terms",
        extreme=[
            lambda rng, dtype, method=method: {
                "terms": _extremes(dtype),
                "fmt": E4M3,
                "method": method,
                "rng": rng,
                "saturate": True,
            }
            for method in ("naive", "kahan", "pairwise", "stochastic")
        ],
    ),
]
