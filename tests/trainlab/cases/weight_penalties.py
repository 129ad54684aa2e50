"""Contract cases of the penalties on weights and of penalized regression."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import penalized_regression as R
from trainlab import weight_penalties as P

BAD_ARRAY = [None, "w", 1j, [np.nan], [np.inf], [[1.0], [1.0, 2.0]]]
BAD_STRENGTH = [-0.1, np.nan, np.inf, "0.1", None, True]
BAD_AXIS = [2, -3, 1.0, (0, 0), "rows"]
TOO_LARGE = np.full(3, 1e308)  # finite, its sum is not


def _weights(rng, dtype):
    return rng.standard_normal((3, 4)).astype(dtype)


def _penalty(**more):
    return lambda rng, dtype: {"w": _weights(rng, dtype), **more}


def _prox(**more):
    return lambda rng, dtype: {"x": _weights(rng, dtype), **more}


def _extremes(name, **more):
    """Zeros, subnormals, the largest numbers that fit, and no weights at all."""
    values = [np.zeros((2, 2)), np.full((2, 2), 5e-324), np.full((2, 2), 1e150), np.ones((0, 2))]
    return [lambda rng, dtype, v=v: {name: v, **more} for v in values]


def _params(rng, dtype):
    return {"weight": _weights(rng, dtype), "layers": [np.ones(2, dtype), None]}


def _regression(rng, dtype, **more):
    return {
        "x": rng.standard_normal((8, 3)).astype(dtype),
        "y": rng.standard_normal(8).astype(dtype),
        **more,
    }


MASK = {"weight": True, "layers": [False, None]}
PROBLEM = {
    "x": [np.ones(8), np.ones((0, 3)), np.full((8, 3), np.nan), "x", None],
    "y": [np.ones(7), np.ones((8, 1)), np.full(8, np.inf), None],
}
BAD_PATH = [0.1, [[0.1]], [-0.1], [np.nan], [], "0.1", None]
RATE = [0.0, -0.1, np.nan, "0.1", None]

CASES = [
    Case(
        P.l1_penalty,
        _penalty(strength=0.5),
        {"w": [*BAD_ARRAY, TOO_LARGE], "strength": BAD_STRENGTH},
        extreme=_extremes("w", strength=0.5),
    ),
    Case(
        P.l2_penalty,
        _penalty(strength=0.5),
        {"w": [*BAD_ARRAY, np.array([1e200])], "strength": BAD_STRENGTH},
        extreme=_extremes("w", strength=0.5),
    ),
    Case(
        P.elastic_net_penalty,
        _penalty(l1=0.5, l2=0.3),
        {"w": [*BAD_ARRAY, np.array([1e200])], "l1": BAD_STRENGTH, "l2": BAD_STRENGTH},
        extreme=_extremes("w", l1=0.5, l2=0.3),
    ),
    Case(
        P.group_lasso_penalty,
        _penalty(strength=0.5, axis=-1),
        {"w": [*BAD_ARRAY, TOO_LARGE[:, None]], "strength": BAD_STRENGTH, "axis": BAD_AXIS},
        extreme=[
            *_extremes("w", strength=0.5, axis=1),
            lambda rng, dtype: {"w": np.full((2, 2), 1e300), "strength": 1.0},
        ],
    ),
    Case(
        P.soft_threshold,
        _prox(threshold=0.5),
        {"x": BAD_ARRAY, "threshold": [*BAD_STRENGTH[:-1], [0.1, -0.1], np.ones(3)]},
        shape_of="x",
        extreme=[*_extremes("x", threshold=0.0), *_extremes("x", threshold=1e300)],
    ),
    Case(
        P.ridge_shrink,
        _prox(strength=0.5),
        {"x": BAD_ARRAY, "strength": BAD_STRENGTH},
        shape_of="x",
        extreme=_extremes("x", strength=1e300),
    ),
    Case(
        P.elastic_net_shrink,
        _prox(l1=0.5, l2=0.3),
        {"x": BAD_ARRAY, "l1": BAD_STRENGTH, "l2": BAD_STRENGTH},
        shape_of="x",
        extreme=_extremes("x", l1=1e300, l2=1e300),
    ),
    Case(
        P.group_soft_threshold,
        _prox(threshold=0.5, axis=0),
        {"x": BAD_ARRAY, "threshold": BAD_STRENGTH, "axis": BAD_AXIS},
        shape_of="x",
        extreme=[*_extremes("x", threshold=0.0), *_extremes("x", threshold=1e300)],
    ),
    Case(
        P.decoupled_decay,
        lambda rng, dtype: {
            "params": _params(rng, dtype),
            "lr": 0.1,
            "weight_decay": 0.5,
            "mask": MASK,
        },
        {
            "params": [np.array([np.nan]), "w", {"weight": 1j}],
            "lr": BAD_STRENGTH,
            "weight_decay": BAD_STRENGTH,
            "mask": [True, {"weight": True}, {"weight": 0.5, "layers": [False, None]}],
        },
    ),
    Case(
        P.steps_to_decay,
        lambda rng, dtype: {"lr": 0.1, "weight_decay": 0.5},
        {"lr": [*RATE, 2.0], "weight_decay": [*RATE, 10.0], "left": [0.0, 1.0, np.nan, None]},
    ),
    Case(
        P.decay_equilibrium,
        lambda rng, dtype: {"lr": 0.1, "weight_decay": 0.5},
        {"lr": [*RATE, 2.0], "weight_decay": [*RATE, 10.0], "gradient_norm": RATE},
    ),
    Case(
        P.convert_strength,
        lambda rng, dtype: {
            "strength": 0.1,
            "source": "sum + λ",
            "target": "mean + λ/2n",
            "examples": 50,
        },
        {
            "strength": BAD_STRENGTH,
            "source": ["mean", None, ["sum + λ"]],
            "target": ["mean", None],
            "examples": [0, 1.5, None],
        },
    ),
    Case(
        R.ridge_path,
        lambda rng, dtype: _regression(rng, dtype, l2=np.array([0.0, 0.1, 1.0], dtype)),
        {**PROBLEM, "l2": BAD_PATH},
        extreme=[
            lambda rng, dtype: {"x": np.zeros((3, 2)), "y": np.ones(3), "l2": [0.0, 1.0]},
            lambda rng, dtype: {"x": np.ones((3, 2)), "y": np.ones(3), "l2": [0.0, 1e308]},
            lambda rng, dtype: {"x": np.full((3, 2), 1e-200), "y": np.ones(3), "l2": [0.0, 1.0]},
            lambda rng, dtype: {"x": np.full((3, 2), 1e200), "y": np.ones(3), "l2": [0.0, 1.0]},
        ],
    ),
    Case(
        R.lasso_strengths,
        _regression,
        {
            "x": [*PROBLEM["x"], np.zeros((8, 3))],
            "y": PROBLEM["y"],
            "count": [1, 2.0, None],
            "ratio": [0.0, 1.0, np.nan, None],
        },
    ),
    Case(
        R.lasso_path,
        lambda rng, dtype: _regression(rng, dtype, l1=np.array([0.01, 0.1, 1.0], dtype)),
        {
            **PROBLEM,
            "l1": BAD_PATH,
            "l2": BAD_STRENGTH,
            "tol": RATE,
            "max_sweeps": [0, 1.5, None, 1],
        },
        extreme=[
            lambda rng, dtype: {"x": np.zeros((3, 2)), "y": np.ones(3), "l1": [0.0, 1.0]},
            lambda rng, dtype: {"x": np.ones((3, 2)), "y": np.ones(3), "l1": [0.0, 1e300]},
            lambda rng, dtype: {"x": np.ones((3, 2)), "y": np.zeros(3), "l1": [0.0, 1.0]},
        ],
    ),
    Case(
        R.proximal_gradient,
        lambda rng, dtype: {
            "gradient": lambda w: w - 1,
            "w": np.ones(3, dtype),
            "prox": lambda x, lr: P.soft_threshold(x, lr),
            "lr": 0.5,
            "steps": 3,
        },
        {
            "gradient": [None, "f", np.ones(3)],
            "w": BAD_ARRAY,
            "prox": [None, "f", 0.5],
            "lr": RATE,
            "steps": [-1, 1.5, None],
            "accelerated": [2, "yes", None],
        },
        shape_of="w",
    ),
]
