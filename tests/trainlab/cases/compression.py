"""Contract cases of pruning, quantization and distillation."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import distillation as D
from trainlab import pruning as P
from trainlab import quantization as Q
from trainlab.quantization import IntegerCode

BAD_ARRAY = [None, "w", 1j, [np.nan], [np.inf], [[1.0], [1.0, 2.0]]]
BAD_SHARE = [-0.1, 1.1, np.nan, "0.5", None]
BAD_RNG = [None, 0, np.random]
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


def _logits(rng, dtype, **more):
    return {
        "logits": rng.standard_normal((2, 3, 5)).astype(dtype),
        "teacher_logits": rng.standard_normal((2, 3, 5)).astype(dtype),
        **more,
    }


def _distill(rng, dtype):
    return _logits(rng, dtype, temperature=2.0, alpha=0.3, labels=rng.integers(0, 5, (2, 3)))


# Their distance, and so the loss, is larger than the largest number.
FAR_APART = np.where(np.arange(30).reshape(2, 3, 5) % 5, 1.7e308, -1.7e308)
BAD_LOGITS = [*BAD_ARRAY, 1.0, np.ones((0, 5)), np.ones((3, 0))]
EXTREME_LOGITS = [
    lambda rng, dtype, s=s: {
        "logits": s * np.array([[1.0, 0.0, -1.0]]),
        "teacher_logits": s * np.array([[-1.0, 0.0, 1.0]]),
    }
    for s in (0.0, 1e4, 1e100)
]

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
        D.soft_targets,
        lambda rng, dtype: {"logits": _logits(rng, dtype)["logits"], "temperature": 2.0},
        {
            "logits": [*BAD_ARRAY, 1.0, np.ones((3, 0))],
            "temperature": [0.0, 1e-4, np.nan, np.inf, "2"],
        },
        shape_of="logits",
        extreme=[
            lambda rng, dtype: {"logits": np.array([1e308, -1e308]), "temperature": 1e-3},
            lambda rng, dtype: {"logits": np.ones((0, 3)), "temperature": 1.0},
        ],
    ),
    Case(
        D.distillation_loss,
        _distill,
        {
            "logits": [*BAD_LOGITS, FAR_APART],
            "teacher_logits": [*BAD_LOGITS, np.ones((3, 5))],
            "temperature": [0.0, 1e-4, np.nan, np.inf, "2"],
            "alpha": BAD_SHARE,
            "labels": [None, np.zeros((2, 3)), np.full((2, 3), 5), np.full((2, 3), -1), [0, 1]],
        },
        extreme=[
            lambda rng, dtype, e=e, t=t: {**e(rng, dtype), "temperature": t}
            for e in EXTREME_LOGITS
            for t in (1e-3, 1.0, 1e6)
        ],
    ),
    Case(
        D.logit_matching_loss,
        _logits,
        {
            "logits": [*BAD_LOGITS, 1e200 * np.eye(5)[:3] * np.ones((2, 1, 1))],
            "teacher_logits": [*BAD_LOGITS, np.ones((3, 5))],
        },
        extreme=EXTREME_LOGITS,
    ),
]
