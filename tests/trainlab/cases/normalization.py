"""Contract cases of `trainlab.normalization` and of its studies."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import batch_statistics as S
from trainlab import normalization as N
from trainlab import normalized_depth as D
from trainlab import normalized_training as T

BAD_RNG = [0, None, np.random.RandomState(0)]
BAD_EPS = [0.0, -1e-5, np.nan, "1e-5", None]
BAD_PARAMETER = [np.ones(2), np.ones((4, 1)), np.full(4, np.nan), "gamma"]
BAD_IMAGES = [np.ones(4), np.full((2, 4, 3), np.nan), "x", 1.0]
BAD_FLAG = [None, "yes", 2]
BAD_RUNNING = [
    (np.zeros(4), np.ones(4)),
    N.RunningStats(np.zeros(3), np.ones(3)),
    N.RunningStats(np.zeros(4), -np.ones(4)),
    0.0,
]


def _images(rng, dtype, **more):
    return {"x": rng.standard_normal((6, 4, 3)).astype(dtype), **more}


def _affine(rng, dtype, **more):
    weight, bias = rng.standard_normal((2, 4)).astype(dtype)
    return _images(rng, dtype, weight=weight, bias=bias, **more)


def _running(dtype):
    return N.RunningStats(np.full(4, 0.5, dtype), np.full(4, 2.0, dtype))


def _forward(**more):
    return lambda rng, dtype: _affine(rng, dtype, **more)


def _huge(make):
    """Inputs whose square still fits into float64, and inputs that are all equal."""

    def scaled(factor):
        return lambda rng, dtype: {**make(rng, dtype), "x": factor * make(rng, dtype)["x"]}

    return [scaled(1e150), scaled(1e-200), scaled(0.0)]


def _tokens(forward):
    """Put the features last: (6, 3, 4)."""

    def make(rng, dtype):
        kwargs = forward(rng, dtype)
        kwargs["x"] = np.moveaxis(kwargs["x"], 1, -1)
        return kwargs

    return make


def _without_bias(forward):
    return lambda rng, dtype: {k: v for k, v in forward(rng, dtype).items() if k != "bias"}


NORM = {"x": BAD_IMAGES, "weight": BAD_PARAMETER, "eps": BAD_EPS}
SHIFT = {"bias": BAD_PARAMETER}
GROUPS = {"num_groups": [0, 3, 8, 2.0, None]}
AXIS = {"axis": [3, -4, 1.0, (), (0, 0), "last", None]}
RUNNING = {"running": BAD_RUNNING}
TOKENS = {**NORM, **AXIS, "x": [np.full((2, 4), np.nan), np.ones((3, 0)), "x", 1.0]}
SINGLE = [*BAD_IMAGES, np.ones((1, 4)), np.ones((0, 4, 3))]

forward = _forward(eps=1e-5)


def _training(rng, dtype):
    points, labels = T.gaussian_classes(20, rng=rng)
    return {"points": points.astype(dtype), "labels": labels, "rng": rng, "steps": 2, "depth": 1}


def _trained(rng, dtype):
    kwargs = _training(rng, dtype)
    return {"done": T.train(**kwargs), "points": kwargs["points"], "labels": kwargs["labels"]}


POINTS = {
    "points": [np.ones(20), np.full((20, 20), np.nan), "points"],
    "labels": [np.zeros(19, int), np.zeros(20), np.full(20, -1), None],
}
DEPTH = {
    "depth": [0, 1.5, None],
    "width": [0, 2.0],
    "batch_size": [1, 2.0],
    "normalize": BAD_FLAG,
    "residual": BAD_FLAG,
    "rng": BAD_RNG,
}

CASES = [
    Case(
        N.batch_norm,
        _forward(running=None),
        {**NORM, **SHIFT, **RUNNING, "x": SINGLE},
        shape_of="x",
        extreme=_huge(forward),
    ),
    Case(
        N.batch_norm,
        lambda rng, dtype: _affine(rng, dtype, running=_running(dtype)),
        {**NORM, **SHIFT, **RUNNING},
        shape_of="x",
    ),
    Case(
        N.batch_norm_init,
        lambda rng, dtype: {"num_features": 4, "dtype": dtype},
        {"num_features": [0, 1.5, "4", None], "dtype": ["int32", np.int64, object]},
    ),
    Case(
        N.batch_norm_update,
        lambda rng, dtype: {**_images(rng, dtype), "running": _running(dtype)},
        {"x": SINGLE, "momentum": [-0.1, 1.1, np.nan, "0.1", None], **RUNNING},
    ),
    Case(
        N.layer_norm,
        _tokens(forward),
        {**TOKENS, **SHIFT},
        shape_of="x",
        extreme=_huge(_tokens(forward)),
    ),
    Case(
        N.rms_norm,
        _tokens(_without_bias(forward)),
        TOKENS,
        shape_of="x",
        extreme=_huge(_tokens(_without_bias(forward))),
    ),
    Case(
        N.group_norm,
        _forward(num_groups=2),
        {**NORM, **SHIFT, **GROUPS},
        shape_of="x",
        extreme=_huge(_forward(num_groups=2)),
    ),
    Case(
        N.instance_norm,
        forward,
        {**NORM, **SHIFT, "x": [*BAD_IMAGES, np.ones((6, 4)), np.ones((6, 4, 1))]},
        shape_of="x",
        extreme=_huge(forward),
    ),
    Case(
        S.averaged_cells,
        lambda rng, dtype: {"norm": "group", "shape": (6, 4, 3), "cell": (0, 1, 2)},
        {
            "norm": ["spectral", None],
            "shape": [3, (6,), (6, 4), (6, 0, 3), (6, 4, 3.0), "abc"],
            "cell": [0, (0, 1), (0, 1, 3), (-1, 0, 0), (0, 1, 2.0)],
            "num_groups": [0, 3, 2.0],
        },
        keeps_dtype=False,
    ),
    Case(
        S.batch_noise,
        lambda rng, dtype: {"batch_size": 8},
        {"batch_size": [1, 2.0, None], "std": [0, -1.0, np.nan, "1"]},
        keeps_dtype=False,
    ),
    Case(
        S.running_noise,
        lambda rng, dtype: {"momentum": 0.1, "batch_size": 8},
        {"momentum": [0, 1, np.nan, "0.1"], "batch_size": [1, 2.0], "std": [0, np.inf]},
        keeps_dtype=False,
    ),
    Case(
        S.steps_to_forget,
        lambda rng, dtype: {"momentum": 0.1},
        {"momentum": [0, 1, np.nan, "0.1"], "left": [0, 1, None]},
        keeps_dtype=False,
    ),
    Case(
        D.deep_pass,
        lambda rng, dtype: {
            "depth": 3,
            "width": 8,
            "batch_size": 4,
            "normalize": True,
            "residual": False,
            "rng": rng,
        },
        DEPTH,
        keeps_dtype=False,
    ),
    Case(
        D.deep_pass_theory,
        lambda rng, dtype: {"depth": 3, "normalize": True, "residual": False},
        {k: DEPTH[k] for k in ("depth", "normalize", "residual")},
        keeps_dtype=False,
    ),
    Case(
        T.train,
        _training,
        {
            **POINTS,
            "rng": BAD_RNG,
            "norm": ["spectral", None],
            "noise": [-0.1, 1.5],
            "lr": [0, -1.0, np.nan],
            "steps": [0, 1.5],
            "batch_size": [1, 2.0],
            "width": [0, 2.0],
            "depth": [0, 2.0],
        },
        keeps_dtype=False,
    ),
    Case(
        T.covariate_shift,
        lambda rng, dtype: {"norm": "batch", "noise": 0.5, "rng": rng, "steps": 2, "width": 4},
        {
            "norm": ["spectral", None],
            "noise": [-0.1, 1.5],
            "rng": BAD_RNG,
            "lr": [0, -1.0, np.nan],
            "steps": [0, 1.5],
            "width": [0, 2.0],
        },
        keeps_dtype=False,
    ),
    Case(
        T.accuracy,
        _trained,
        {**POINTS, "done": [None, "net"], "training": BAD_FLAG},
        keeps_dtype=False,
    ),
]
