"""Contract cases of `trainlab.pruning`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import pruning as P

BAD_ARRAY = [None, "w", 1j, [np.nan], [np.inf], [[1.0], [1.0, 2.0]]]
BAD_SHARE = [-0.1, 1.1, np.nan, "0.5", None]
BAD_RNG = [None, 0, np.random]


def _params(rng, dtype):
    return {"weight": rng.standard_normal((3, 4)).astype(dtype), "b": [np.ones(2, dtype), None]}


def _masks(rng, dtype):
    return {"weight": rng.random((3, 4)) < 0.5, "b": [np.array([True, False]), None]}


BAD_MASKS = [
    {"weight": np.ones((3, 4)), "b": [np.array([True, False]), None]},
    {"weight": np.ones((3, 3), bool), "b": [np.array([True, False]), None]},
    {"weight": np.ones((3, 4), bool)},
    True,
]
BAD_PARAMS = [np.array([np.nan]), "w", {"weight": 1j}]
ZEROS = {"a": np.zeros((2, 2)), "b": np.zeros((0, 3))}
PRUNE = {"params": BAD_PARAMS, "sparsity": BAD_SHARE, "scope": ["layer", None]}


def _numbers(name, **more):
    return lambda rng, dtype: {name: rng.standard_normal((3, 4)).astype(dtype), **more}


def _extremes(name, **more):
    values = [np.zeros((4, 4)), np.full((4, 4), 1e150), np.full((4, 4), 5e-324), np.ones((0, 4))]
    return [lambda rng, dtype, v=v: {name: v, **more} for v in values]


CASES = [
    Case(
        P.magnitude_masks,
        lambda rng, dtype: {"params": _params(rng, dtype), "sparsity": 0.5},
        {**PRUNE, "previous": BAD_MASKS},
        extreme=[lambda rng, dtype: {"params": ZEROS, "sparsity": 0.5}],
    ),
    Case(
        P.random_masks,
        lambda rng, dtype: {"params": _params(rng, dtype), "sparsity": 0.5, "rng": rng},
        {**PRUNE, "previous": BAD_MASKS, "rng": BAD_RNG},
    ),
    Case(
        P.structured_mask,
        _numbers("weight", sparsity=0.5),
        {
            "weight": [*BAD_ARRAY, 1.0],
            "sparsity": BAD_SHARE,
            "axis": [2, -3, 0.0, None],
            "order": [0, 3, "2", None],
        },
        shape_of="weight",
        extreme=[
            e for order in (1, 2, np.inf) for e in _extremes("weight", sparsity=0.5, order=order)
        ],
    ),
    Case(
        P.n_m_mask,
        _numbers("weight"),
        {
            "weight": [*BAD_ARRAY, 1.0, np.ones((2, 6))],
            "keep": [0, 5, 1.0, None],
            "of": [3, 0, 4.0, None],
            "axis": [2, -3, 0.0, None],
        },
        shape_of="weight",
        extreme=_extremes("weight"),
    ),
    Case(
        P.apply_masks,
        lambda rng, dtype: {"params": _params(rng, dtype), "masks": _masks(rng, dtype)},
        {"params": BAD_PARAMS, "masks": [*BAD_MASKS, None]},
    ),
    Case(
        P.sparsity_of,
        lambda rng, dtype: {"tree": _masks(rng, dtype)},
        {"tree": [None, [], np.ones(0), "w", {"w": [np.nan]}]},
    ),
    Case(
        P.cubic_sparsity,
        lambda rng, dtype: {"step": 30, "final": 0.8, "end": 100},
        {
            "step": [-1, 1.5, None],
            "final": [*BAD_SHARE],
            "end": [0, 1.5, None],
            "start": [-1, 100, 1.5],
            "initial": [*BAD_SHARE[:-1], 0.9],
        },
    ),
    Case(
        P.iterative_sparsities,
        lambda rng, dtype: {"final": 0.9, "rounds": 3},
        {"final": [*BAD_SHARE, 1.0], "rounds": [0, 1.5, None]},
        keeps_dtype=False,
    ),
    Case(
        P.gaussian_removed_energy,
        lambda rng, dtype: {"sparsity": 0.5},
        {"sparsity": BAD_SHARE},
        extreme=[lambda rng, dtype, s=s: {"sparsity": s} for s in (0.0, 1e-300, 1.0)],
    ),
]
