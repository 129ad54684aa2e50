"""Contract cases of `trainlab.attention`, `positions` and `multi_head_attention`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import attention as A
from trainlab import multi_head_attention as M
from trainlab import positions as P

BAD_FLAG = [1.5, "yes", None]
BAD_RNG = [0, None, np.random.RandomState(0)]
BAD_DTYPES = ["int32", "nonsense", object]
BAD_SCALE = [np.nan, np.inf, "1", True]
BAD_STD = [-0.1, np.nan, "1"]
BAD_BASE = [1.0, 0.0, -2.0, np.inf, "1"]
BAD_ARRAY = [np.full((2, 4, 6), np.nan), "x", None, np.ones(6), 1.0, np.ones((2, 4, 6), complex)]


def _qkv(rng, dtype, *, factor=1.0):
    q, k, v = ((factor * rng.standard_normal((2, n, 6))).astype(dtype) for n in (4, 5, 5))
    mask = rng.random((4, 5)) < 0.7
    return {"q": q, "k": k, "v": v, "mask": mask, "causal": False, "scale": None}


def _qk(rng, dtype, *, factor=1.0):
    kwargs = _qkv(rng, dtype, factor=factor)
    del kwargs["v"]
    return kwargs


def _dark(make):
    """Scores of 1e4 and more, tiny ones, and queries that see nothing."""

    def nothing(rng, dtype):
        return {**make(rng, dtype), "mask": np.zeros((4, 5), bool)}

    return [
        lambda rng, dtype: make(rng, dtype, factor=1e4),
        lambda rng, dtype: make(rng, dtype, factor=1e-160),
        lambda rng, dtype: make(rng, dtype, factor=0.0),
        nothing,
    ]


MASK = {
    "mask": [np.ones((4, 5)), np.ones((3, 5), bool), np.ones((2, 1, 4, 5), bool), "mask", 1],
    "causal": BAD_FLAG,
    "scale": BAD_SCALE,
}
QK = {
    "q": [*BAD_ARRAY, np.ones((2, 4, 7)), np.ones((3, 4, 6)), np.ones((2, 4, 0))],
    "k": [*BAD_ARRAY, np.ones((2, 5, 7)), np.ones((3, 5, 6)), np.ones((2, 5, 6), np.float32)],
}


def _heads(**more):
    def make(rng, dtype):
        params = M.multi_head_attention_init(8, rng=rng, std=0.5, dtype=dtype)
        return {"params": params, "x": rng.standard_normal((2, 4, 8)).astype(dtype), **more}

    return make


def _cross(rng, dtype):
    kwargs = _heads(num_heads=2, mask=None, key_mask=np.array([True, True, False]))(rng, dtype)
    return {**kwargs, "memory": rng.standard_normal((2, 3, 8)).astype(dtype)}


def _cached(rng, dtype):
    kwargs = _heads(num_heads=2, rotary_base=None)(rng, dtype)
    cache = M.KeyValueCache(*rng.standard_normal((2, 2, 2, 3, 4)).astype(dtype))
    return {**kwargs, "cache": cache}


BAD_PARAMS = [None, {}, {"query": {"weight": np.eye(8)}}, "params", np.eye(8)]
BAD_TOKENS = [np.full((2, 4, 8), np.nan), "x", None, np.ones(8)]
SELF = {"params": BAD_PARAMS, "x": BAD_TOKENS, "num_heads": [0, 3, 2.0, None]}

CASES = [
    Case(
        A.scaled_dot_product_attention,
        _qkv,
        {**QK, "v": [*BAD_ARRAY, np.ones((2, 4, 6)), np.ones((3, 5, 6))], **MASK},
        shape_of="q",
        extreme=_dark(_qkv),
    ),
    Case(A.attention_weights, _qk, {**QK, **MASK}, extreme=_dark(_qk)),
    Case(
        P.rotary,
        lambda rng, dtype: {
            "x": rng.standard_normal((2, 4, 6)).astype(dtype),
            "positions": np.array([3.0, 0.0, 1e6, 2.5]),
            "base": 100.0,
            "interleaved": True,
        },
        {
            "x": [*BAD_ARRAY, np.ones((2, 4, 5)), np.ones((2, 4, 0))],
            "positions": [np.arange(3), np.full(4, np.nan), "0123", 1.0],
            "base": BAD_BASE,
            "interleaved": BAD_FLAG,
        },
        shape_of="x",
    ),
    Case(
        P.sinusoidal_positions,
        lambda rng, dtype: {"length": 5, "dim": 6, "base": 100.0, "dtype": dtype},
        {
            "length": [-1, 2.0, None],
            "dim": [0, 5, 6.0, None],
            "base": BAD_BASE,
            "dtype": BAD_DTYPES,
        },
    ),
    Case(
        M.multi_head_attention_init,
        lambda rng, dtype: {"dim": 6, "rng": rng, "bias": True, "dtype": dtype},
        {
            "dim": [0, 2.0, None],
            "rng": BAD_RNG,
            "std": BAD_STD,
            "out_std": BAD_STD,
            "bias": BAD_FLAG,
            "dtype": BAD_DTYPES,
        },
    ),
    Case(
        M.multi_head_attention,
        _heads(num_heads=2, causal=True, rotary_base=100.0),
        {
            **SELF,
            "memory": [np.ones((2, 3, 8))],  # not with rotary positions
            "mask": [np.ones((4, 4)), np.ones((3, 4), bool), "mask"],
            "key_mask": [np.ones(4), np.ones(3, bool), np.ones((3, 4), bool), "mask"],
            "causal": BAD_FLAG,
            "rotary_base": BAD_BASE,
        },
        shape_of="x",
    ),
    Case(
        M.multi_head_attention,
        _cross,
        {
            **SELF,
            "memory": ["x", np.ones((3, 3, 8)), np.ones((2, 3, 7)), np.ones(8)],
            "mask": [np.ones((4, 3)), np.ones((4, 4), bool)],
            "key_mask": [np.ones(3), np.ones(4, bool)],
            "causal": BAD_FLAG,
            "rotary_base": [100.0],
        },
        shape_of="x",
        extreme=[lambda rng, dtype: {**_cross(rng, dtype), "key_mask": np.zeros(3, bool)}],
    ),
    Case(
        M.cached_attention,
        _cached,
        {
            **SELF,
            "cache": [
                (),
                {},
                "cache",
                M.KeyValueCache(np.ones((2, 2, 3, 3)), np.ones((2, 2, 3, 3))),
            ],
            "rotary_base": BAD_BASE,
        },
        shape_of="x",
    ),
]
