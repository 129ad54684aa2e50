"""Contract cases of `trainlab.clipping`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import clipping as C

NO_TREE = [["a"], np.ones(2, complex), [np.ones(2), object()]]
NOT_FINITE = [np.array([1.0, np.nan]), {"w": np.array([np.inf])}]
POSITIVE = [0.0, -1.0, np.nan, np.inf, "1", None, True]
EPS = [-1e-6, np.nan, np.inf, "0", None]
FLAG = ["yes", None, 2]


def _tree(rng, dtype):
    return {
        "w": rng.standard_normal((3, 4)).astype(dtype),
        "b": rng.standard_normal(3).astype(dtype),
    }


def _with(**more):
    return lambda rng, dtype: {"grads": _tree(rng, dtype), **more}


def _scaled(factor, **more):
    def make(rng, dtype):
        return {"grads": {k: factor * v for k, v in _tree(rng, dtype).items()}, **more}

    return make


def _extreme(**more):
    return [_scaled(f, **more) for f in (0.0, 1e-320, 1e-200, 1e200, 1e306)]


def _adaptive(rng, dtype):
    return {"grads": _tree(rng, dtype), "params": _tree(rng, dtype), "clipping": 0.1}


def _adaptive_scaled(gradient, weight):
    def make(rng, dtype):
        grads, params = _tree(rng, dtype), _tree(rng, dtype)
        return {
            "grads": {k: gradient * v for k, v in grads.items()},
            "params": {k: weight * v for k, v in params.items()},
            "clipping": 0.1,
        }

    return make


CASES = [
    Case(C.global_norm, _with(), {"grads": NO_TREE}, extreme=_extreme()),
    Case(
        C.clip_by_global_norm,
        _with(max_norm=0.5),
        {
            "grads": NO_TREE + NOT_FINITE,
            "max_norm": POSITIVE,
            "eps": EPS,
            "error_if_nonfinite": FLAG,
            "out": [
                {"w": np.ones((3, 4))},
                {"w": np.ones((3, 4)), "b": np.ones(4)},
                {"w": np.ones((3, 4)), "b": np.ones(3, np.float32)},
                {"w": np.ones((3, 4)), "b": [1.0, 2.0, 3.0]},
                0.0,
            ],
        },
        extreme=_extreme(max_norm=0.5),
    ),
    Case(
        C.clip_by_norm,
        _with(max_norm=0.5),
        {
            "grads": NO_TREE + NOT_FINITE,
            "max_norm": POSITIVE,
            "eps": EPS,
            "error_if_nonfinite": FLAG,
        },
        extreme=_extreme(max_norm=0.5),
    ),
    Case(
        C.clip_by_value,
        _with(clip_value=0.5),
        {"grads": NO_TREE + NOT_FINITE, "clip_value": POSITIVE, "error_if_nonfinite": FLAG},
        extreme=_extreme(clip_value=0.5),
    ),
    Case(
        C.adaptive_clip,
        _adaptive,
        {
            "grads": NO_TREE + NOT_FINITE,
            "params": [
                {"w": np.ones((3, 4))},
                {"w": np.ones((3, 4)), "b": np.ones(4)},
                {"w": np.ones((3, 4)), "b": np.full(3, np.nan)},
                None,
            ],
            "clipping": POSITIVE,
            "eps": POSITIVE,
            "axis": [2, -3, 0.5, "rows", (0, 1.0)],
        },
        extreme=[
            _adaptive_scaled(*scales)
            for scales in ((0, 1), (1, 0), (0, 0), (1e300, 1e300), (1e300, 1e-300), (1e-300, 1e300))
        ],
    ),
    Case(
        C.clip_per_example,
        _with(max_norm=0.5),
        {
            "grads": [*NO_TREE, *NOT_FINITE, [np.ones(3), np.ones(2)], np.ones(()), {}],
            "max_norm": POSITIVE,
        },
        extreme=_extreme(max_norm=0.5),
    ),
]
