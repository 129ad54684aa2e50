"""Contract cases of `trainlab.stochastic_depth`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import stochastic_depth as D

BAD_P = [-0.1, 1.0, 1.5, np.nan, "0.5", None]
BAD_RNG = [0, "seed", np.random.RandomState(0)]
BAD_X = [np.full((3, 2), np.nan), np.array([["a", "b"]] * 3), np.ones((3, 2), complex)]
BAD_MASK = [None, np.ones(3), np.ones(2, bool), np.ones((3, 2), bool), [True, False, True]]
BAD_SCALING = ["both", None, 1]
BAD_CHANCES = [[-0.1, 0.5], [0.5, 1.1], [np.nan, 0.5], [], 0.5, "half"]


def _path(factor=1.0):
    def make(rng, dtype):
        x = (factor * rng.standard_normal((3, 2))).astype(dtype)
        return {"x": x, "mask": np.array([True, False, True]), "p": 0.25}

    return make


def _test(factor=1.0, scaling="standard"):
    def make(rng, dtype):
        x = (factor * rng.standard_normal((3, 2))).astype(dtype)
        return {"x": x, "p": 0.25, "scaling": scaling}

    return make


def _stack(rng, dtype):
    return {
        "x": rng.standard_normal((3, 2)).astype(dtype),
        "branches": [np.sin, np.cos],
        "p": np.array([0.25, 0.5]),
        "rng": rng,
    }


CASES = [
    Case(
        D.drop_schedule,
        lambda rng, dtype: {"depth": 3, "p": 0.5},
        {"depth": [0, 1.5, None], "p": BAD_P, "rule": ["cosine", None]},
        keeps_dtype=False,
    ),
    Case(
        D.expected_depth, lambda rng, dtype: {"p": rng.random(4).astype(dtype)}, {"p": BAD_CHANCES}
    ),
    Case(
        D.depth_distribution,
        lambda rng, dtype: {"p": rng.random(4).astype(dtype)},
        {"p": BAD_CHANCES},
        extreme=[lambda rng, dtype: {"p": np.array([0.0, 1.0])}],
    ),
    Case(
        D.compute_saved,
        lambda rng, dtype: {"p": rng.random(2).astype(dtype), "cost": np.ones(2, dtype)},
        {"p": BAD_CHANCES, "cost": [[-1.0, 2.0], [0.0, 0.0], [1.0], [np.inf, 1.0], "cost"]},
        extreme=[lambda rng, dtype: {"p": rng.random(2), "cost": np.array([1e308, 1e308])}],
    ),
    Case(
        D.path_mask,
        lambda rng, dtype: {"batch_size": 5, "p": 0.5, "rng": rng},
        {
            "batch_size": [-1, 2.0, None],
            "p": BAD_P,
            "rng": [*BAD_RNG, None],
            "mode": ["sample", None],
        },
    ),
    Case(
        D.drop_path,
        _path(),
        {"x": [*BAD_X, 1.0], "mask": BAD_MASK, "p": BAD_P, "scaling": BAD_SCALING},
        shape_of="x",
        extreme=[_path(1e300), _path(1e-320), _path(0.0)],
    ),
    Case(
        D.drop_path_test,
        _test(),
        {"x": BAD_X, "p": BAD_P, "scaling": BAD_SCALING},
        shape_of="x",
        extreme=[_test(1e300), _test(1e-320), _test(0.0, "inverted")],
    ),
    Case(
        D.residual_stack,
        _stack,
        {
            "x": [*BAD_X, 1.0],
            "branches": [None, [np.sin], [np.sin, "cos"], np.sin],
            "p": [*BAD_CHANCES, [0.5, 1.0], [0.5]],
            "rng": BAD_RNG,
            "mode": ["sample", None],
            "scaling": BAD_SCALING,
        },
        shape_of="x",
    ),
]
