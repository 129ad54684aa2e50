"""Contract cases of `trainlab.arithmetic`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import arithmetic as A

BAD = ["text", np.array([1j]), np.array([np.nan]), np.array([np.inf, 1.0])]
BAD_AXIS = [2, -3, 1.0, (0, 0), "last", True]


def _x(rng, dtype, **more):
    return {"x": rng.uniform(0.5, 2, (3, 4)).astype(dtype), **more}


def _ab(rng, dtype, **more):
    a, b = rng.standard_normal((2, 3, 4)).astype(dtype)
    return {"a": a, "b": b[:1], **more}


PAIR = {"a": BAD, "b": [*BAD, np.ones((2, 4))]}

CASES = [
    Case(A.exp, _x, {"x": [*BAD, np.array([1000.0])]}, shape_of="x"),
    Case(A.log, _x, {"x": [*BAD, np.array([0.0]), np.array([-1.0])]}, shape_of="x"),
    Case(A.sqrt, _x, {"x": [*BAD, np.array([-1.0])]}, shape_of="x"),
    Case(A.maximum, _ab, PAIR, shape_of="a"),
    Case(A.minimum, _ab, PAIR, shape_of="a"),
    Case(
        A.where,
        lambda rng, dtype: _ab(rng, dtype, condition=np.array([True, False, True, True])),
        {**PAIR, "condition": [np.ones(4), 1, "yes"]},
        shape_of="a",
    ),
    Case(
        A.sum,
        lambda rng, dtype: _x(rng, dtype, axis=1, keepdims=True),
        {"x": BAD, "axis": BAD_AXIS, "keepdims": [None, 2]},
    ),
    Case(
        A.mean,
        lambda rng, dtype: _x(rng, dtype, axis=1, keepdims=True),
        {"x": [*BAD, np.ones((3, 0))], "axis": BAD_AXIS, "keepdims": [None, 2]},
    ),
    Case(
        A.reshape,
        lambda rng, dtype: _x(rng, dtype, shape=(2, -1)),
        {"x": BAD, "shape": [(5, 2), 5, "ab", (1.5,), (-1, -1)]},
    ),
    Case(
        A.transpose,
        lambda rng, dtype: _x(rng, dtype, axes=(1, 0)),
        {"x": BAD, "axes": [(0,), (0, 0), (0, 2), 1.5]},
    ),
    Case(
        A.swapaxes,
        lambda rng, dtype: _x(rng, dtype, axis1=0, axis2=1),
        {"x": BAD, "axis1": [2, 1.0, None], "axis2": [-3, "1", None]},
    ),
    Case(
        A.broadcast_to,
        lambda rng, dtype: _x(rng, dtype, shape=(2, 3, 4)),
        {"x": BAD, "shape": [(3, 5), 4, "ab", None]},
    ),
    Case(
        A.concatenate,
        lambda rng, dtype: {"arrays": [_x(rng, dtype)["x"]] * 2, "axis": 0},
        {
            "arrays": [[], None, np.ones((2, 2)), [np.ones((2, 2)), np.ones((2, 3))], BAD],
            "axis": [2, -3, 1.0, None],
        },
    ),
]
