"""Contract cases of `trainlab.data_parallel`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import data_parallel as D

FEW_RANKS = [1, 0, -1, 2.0, None]
SIZES = [0, -1.0, np.nan, "25", None]
NO_FUNCTION = [None, "loss", 1.0]


def _tree(rng, dtype):
    return {
        "w": rng.standard_normal((2, 3)).astype(dtype),
        "b": rng.standard_normal(3).astype(dtype),
    }


def _trees(rng, dtype):
    return [_tree(rng, dtype) for _ in range(3)]


def _no_trees(good=None):
    one = _tree(np.random.default_rng(0), np.float64)
    return [None, [], [one], [one, {"w": one["w"]}], [one, {**one, "b": "text"}], one, [None, None]]


def _linear(params, x):
    return (params[:1] * float(x.mean()))[0]


def _step(rng, dtype):
    return {
        "replicas": [np.ones(2, dtype), np.ones(2, dtype)],
        "states": [None, None],
        "batches": [[rng.random((3, 2)).astype(dtype)], [rng.random((2, 2)).astype(dtype)]],
        "loss": _linear,
        "update": lambda g, s, p: (-g, s),
    }


CASES = [
    Case(
        D.split_batch,
        lambda rng, dtype: {"batch": {"x": rng.random((5, 2)).astype(dtype)}, "ranks": 3},
        {
            "batch": [[np.ones(5), np.ones(4)], np.ones((0, 2)), np.float64(1.0), None, {}],
            "ranks": [6, *FEW_RANKS],
        },
    ),
    Case(
        D.sampler_indices,
        lambda rng, dtype: {"length": 7, "ranks": 3, "rng": rng},
        {
            "length": [0, 1.5, None],
            "ranks": FEW_RANKS,
            "rng": [0, np.random.RandomState(0)],
            "drop_last": [None, "yes"],
        },
    ),
    Case(
        D.sampler_indices,
        lambda rng, dtype: {"length": 7, "ranks": 3, "rng": rng, "drop_last": True},
        {
            "length": [0, 1.5],
            "ranks": [8, *FEW_RANKS],
            "rng": [0],
            "drop_last": [None],
        },
    ),
    Case(
        D.broadcast_params,
        lambda rng, dtype: {"replicas": _trees(rng, dtype), "root": 1},
        {"replicas": _no_trees(), "root": [-1, 3, 1.0, None]},
    ),
    Case(
        D.gradient_buckets,
        lambda rng, dtype: {"params": _tree(rng, dtype)},
        {"params": [{"w": "text"}, "w"], "bucket_bytes": SIZES, "first_bucket_bytes": SIZES},
        keeps_dtype=False,
    ),
    Case(
        D.all_reduce_gradients,
        lambda rng, dtype: {"grads": _trees(rng, dtype), "counts": [3, 1, 2]},
        {
            "grads": _no_trees(),
            "counts": [[1, 2], [1, 2, 0], [1, 2, -1], "abc", [1, 2, np.nan]],
            "bucket_bytes": SIZES,
            "first_bucket_bytes": SIZES,
            "algorithm": ["star", None],
        },
    ),
    Case(
        D.data_parallel_step,
        _step,
        {
            "replicas": [None, [], [np.ones(2)], [np.ones(2), np.ones(3)], np.ones(2)],
            "states": [None, [], [None], [None] * 3],
            "batches": [None, [], [[np.ones(2)]], [[np.ones(2)], []], [[], []], [1.0, 2.0],
                        [[np.ones(2)], [np.ones((0, 2))]], [[np.ones(2)]] * 3],
            "loss": NO_FUNCTION,
            "update": NO_FUNCTION,
            "no_sync": [None, "yes"],
            "bucket_bytes": SIZES,
        },
    ),
    Case(
        D.sync_batch_statistics,
        lambda rng, dtype: {"batches": [rng.random((n, 3, 2)).astype(dtype) for n in (4, 1, 2)]},
        {
            "batches": [
                None,
                [],
                [np.ones((2, 3))],
                [np.ones((2, 3)), np.ones((2, 4))],
                [np.ones((2, 3)), np.ones(3)],
                [np.ones((2, 3)), np.ones((0, 3))],
                [np.ones((2, 3)), np.ones((2, 3), np.float32)],
                [np.ones((2, 3), np.float16)] * 2,
                [np.ones((2, 3)), np.full((2, 3), np.nan)],
            ]
        },
        extreme=[lambda rng, dtype: {"batches": [np.full((3, 2), 1e150), np.full((1, 2), -1e150)]}],
    ),
]  # fmt: skip
