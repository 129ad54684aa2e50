"""Contract cases of quantization."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import quantization as Q
from trainlab.quantization import IntegerCode

BAD_ARRAY = [None, "w", 1j, [np.nan], [np.inf], [[1.0], [1.0, 2.0]]]
BAD_BITS = [1, 9, 4.0, None]
BAD_FLAG = ["yes", 2, None]
CODE = IntegerCode(0.01, 3, -128, 127)
BAD_CODE = [
    None,
    (0.1, 0, -128, 127),
    CODE._replace(scale=0.0),
    CODE._replace(scale=np.nan),
    CODE._replace(scale=np.ones(7)),
    CODE._replace(zero_point=0.5),
    CODE._replace(zero_point=200),
    CODE._replace(zero_point=-200),
    CODE._replace(lowest=-200),
    CODE._replace(lowest=0),
    CODE._replace(highest=128),
    CODE._replace(highest=0),
]


def _numbers(name, **more):
    return lambda rng, dtype: {name: rng.standard_normal((3, 4)).astype(dtype), **more}


def _extremes(name, **more):
    values = [np.zeros((4, 4)), np.full((4, 4), 1e150), np.full((4, 4), 5e-324), np.ones((0, 4))]
    return [lambda rng, dtype, v=v: {name: v, **more} for v in values]


CASES = [
    Case(
        Q.integer_code,
        lambda rng, dtype: {"low": -0.5, "high": 2.0, "symmetric": False},
        {
            "low": [0.1, np.nan, -np.inf, "0", [-1.0, 0.1], [-1.0, -2.0]],
            "high": [-0.1, np.nan, np.inf, None, [1.0]],
            "bits": BAD_BITS,
            "symmetric": BAD_FLAG,
        },
        keeps_dtype=False,
        extreme=[
            lambda rng, dtype: {"low": -1e-300, "high": 1e-300},
            lambda rng, dtype: {"low": -1.7e308, "high": 1.7e308, "symmetric": False},
            lambda rng, dtype: {"low": 0.0, "high": 0.0},
        ],
    ),
    Case(
        Q.choose_code,
        _numbers("x", axis=1, group_size=2, symmetric=False),
        {
            "x": [*BAD_ARRAY, np.ones((0, 4)), np.full((3, 4), 1e-320)],
            "bits": BAD_BITS,
            "symmetric": BAD_FLAG,
            "axis": [2, 1.0, (0, 1), None],  # groups need one axis
            "group_size": [0, 3, 2.0],
            "clip": ["percentile", None],
        },
        extreme=[*_extremes("x", clip="mse", axis=0)[:2], *_extremes("x")[:2]],
    ),
    Case(
        Q.quantize,
        _numbers("x", code=CODE),
        {"x": BAD_ARRAY, "code": BAD_CODE},
        shape_of="x",
        keeps_dtype=False,
        extreme=[
            *_extremes("x", code=CODE),
            lambda rng, dtype: {"x": np.array([1.7e308, -1.7e308]), "code": CODE},
        ],
    ),
    Case(
        Q.dequantize,
        lambda rng, dtype: {"q": rng.integers(-128, 128, (3, 4)), "code": CODE},
        {"q": [0.5, "a", 128, [-129]], "code": BAD_CODE},
        shape_of="q",
        keeps_dtype=False,
    ),
    Case(
        Q.fake_quantize,
        _numbers("x", code=CODE),
        {"x": BAD_ARRAY, "code": BAD_CODE},
        shape_of="x",
        extreme=_extremes("x", code=CODE),
    ),
    Case(
        Q.quantization_error,
        _numbers("x", code=CODE),
        {"x": [*BAD_ARRAY, np.zeros(3), np.ones((0, 4)), [1e200]], "code": BAD_CODE},
    ),
    Case(
        Q.gaussian_quantization,
        lambda rng, dtype: {"clip": 3.0, "bits": 4},
        {"clip": [0.0, -1.0, np.nan, "3"], "bits": BAD_BITS},
        extreme=[lambda rng, dtype, c=c: {"clip": c} for c in (1e-300, 1e3)],
    ),
    Case(
        Q.normal_float_levels,
        lambda rng, dtype: {"bits": 4},
        {"bits": BAD_BITS},
        keeps_dtype=False,
    ),
    Case(
        Q.nearest_levels,
        _numbers("x", levels=np.array([-1.0, 0.0, 0.5])),
        {"x": BAD_ARRAY, "levels": [*BAD_ARRAY, 1.0, [0.0, 0.0], [1.0, 0.0], np.ones((1, 2)), []]},
        shape_of="x",
        extreme=_extremes("x", levels=np.array([-1.7e308, 0.0, 1.7e308])),
    ),
]
