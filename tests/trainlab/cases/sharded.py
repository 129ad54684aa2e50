"""Contract cases of `trainlab.sharded`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from tests.trainlab.cases.data_parallel import NO_FUNCTION, _tree
from trainlab import sharded as S

FEW_RANKS = [1, 0, -1, 2.0, None]
NEGATIVE = [-1.0, np.nan, np.inf, "1", None]
MIXED = {"w": np.ones(2), "b": np.ones(2, np.float32)}
NO_TREE = [{"w": "text"}, MIXED, None, {}, [1j]]


def _apply(params, x, unit):
    return params[:1] * x


def _model(dtype):
    units = [np.ones(3, dtype), np.ones(2, dtype)]
    return units, S.sharded_init(units, ranks=2, init=lambda params: None)


def _step(rng, dtype):
    units, model = _model(dtype)
    pairs = [(rng.random(n).astype(dtype), np.zeros(n, dtype)) for n in (2, 3)]
    return {
        "model": model,
        "batches": pairs,
        "units": units,
        "apply": _apply,
        "loss": lambda y, target: y[0],
        "update": lambda grads, state, params: ([-g for g in grads], state),
        "stage": 3,
    }


PAIR = (np.ones(2), np.ones(2))

CASES = [
    Case(
        S.flat_shards,
        lambda rng, dtype: {"params": _tree(rng, dtype), "ranks": 4},
        {"params": NO_TREE, "ranks": FEW_RANKS},
    ),
    Case(
        S.unflatten_shards,
        lambda rng, dtype: {"shards": rng.random((2, 5)).astype(dtype), "like": _tree(rng, dtype)},
        {
            "shards": [np.ones(9), np.ones((2, 4)), np.ones((2, 6)), "text", None, np.ones((0, 5))],
            "like": [np.ones(8), np.ones(11), None],
        },
    ),
    Case(
        S.sharded_init,
        lambda rng, dtype: {"units": [_tree(rng, dtype)], "ranks": 4, "init": lambda params: None},
        {
            "units": [[], None, np.ones(2), [MIXED], [{"w": "text"}]],
            "ranks": FEW_RANKS,
            "init": NO_FUNCTION,
        },
    ),
    Case(
        S.sharded_step,
        _step,
        {
            "model": [None, [np.ones((2, 2))]],
            "batches": [
                None,
                [],
                [PAIR],
                [PAIR] * 3,
                [PAIR, 1.0],
                [PAIR, (np.ones(0), np.ones(0))],
            ],
            "units": [None, [], [np.ones(3)], [np.ones(5), np.ones(2)], [np.ones(3)] * 3],
            "apply": NO_FUNCTION,
            "loss": NO_FUNCTION,
            "update": NO_FUNCTION,
            "stage": [0, 4, 2.0, None],
        },
    ),
    Case(
        S.memory_by_stage,
        lambda rng, dtype: {"num_params": 7e9, "ranks": 8, "stage": 2},
        {
            "num_params": [0, *NEGATIVE],
            "ranks": FEW_RANKS,
            "stage": [-1, 4, 1.0, None],
            "weight_bytes": NEGATIVE,
            "gradient_bytes": NEGATIVE,
            "optimizer_bytes": NEGATIVE,
        },
        keeps_dtype=False,
    ),
    Case(
        S.traffic_by_stage,
        lambda rng, dtype: {"nbytes": 14e9, "ranks": 8, "stage": 3},
        {"nbytes": NEGATIVE, "ranks": FEW_RANKS, "stage": [-1, 4, 1.0, None]},
        keeps_dtype=False,
    ),
]
