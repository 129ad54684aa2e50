"""Contract cases of `trainlab.layers`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import layers as L

BAD = ["text", 1.0, np.array([1j])]
BAD_IMAGES = [*BAD, np.ones((2, 3, 4)), np.full((1, 2, 5, 5), np.nan)]
BAD_SIZE = [0, 1.5, (1, 2, 3), None, (2, "2")]
BAD_PADDING = [-1, 0.5, (1,), None]


def _linear(rng, dtype):
    x, weight = rng.standard_normal((2, 3, 4)), rng.standard_normal((5, 4))
    return {k: v.astype(dtype) for k, v in zip("xwb", (x, weight, np.ones(5)), strict=True)}


def _images(rng, dtype, **more):
    return {"x": rng.standard_normal((2, 4, 5, 6)).astype(dtype), **more}


def _convolution(rng, dtype):
    weight, bias = rng.standard_normal((6, 2, 3, 2)), rng.standard_normal(6)
    more = {"stride": 2, "padding": 1, "groups": 2}
    return _images(rng, dtype, weight=weight.astype(dtype), bias=bias.astype(dtype), **more)


POOL = {
    "x": [*BAD_IMAGES, np.ones((1, 2, 1, 1))],
    "kernel_size": BAD_SIZE,
    "stride": [0, 1.5, (1, 2, 3), "2"],
    "padding": [*BAD_PADDING, 3],
}


def _pool(rng, dtype):
    return _images(rng, dtype, kernel_size=4, stride=2, padding=1)


CASES = [
    Case(
        L.linear,
        lambda rng, dtype: dict(
            zip(("x", "weight", "bias"), _linear(rng, dtype).values(), strict=True)
        ),
        {
            "x": [*BAD, np.full((2, 4), np.nan)],
            "weight": [*BAD, np.ones((5, 3)), np.ones(4), np.full((5, 4), np.inf)],
            "bias": [np.ones(4), np.ones((1, 5)), "text", np.full(5, np.nan)],
        },
    ),
    Case(
        L.embedding,
        lambda rng, dtype: {
            "ids": rng.integers(0, 5, (2, 3)),
            "weight": rng.standard_normal((5, 4)).astype(dtype),
        },
        {
            "ids": [np.array([5]), np.array([-1]), np.array([1.0]), "0", None],
            "weight": [*BAD, np.ones(5), np.full((5, 4), np.nan)],
        },
    ),
    Case(
        L.conv2d,
        _convolution,
        {
            "x": [*BAD_IMAGES, np.ones((1, 4, 0, 9)), np.ones((1, 3, 5, 5))],
            "weight": [*BAD, np.ones((6, 4, 3, 2)), np.ones((6, 2, 9, 2)), np.ones((5, 2, 3, 2))],
            "bias": [np.ones(5), "text", np.full(6, np.nan)],
            "stride": BAD_SIZE,
            "padding": BAD_PADDING,
            "groups": [0, 3, 1.0, None],
        },
    ),
    Case(L.max_pool2d, _pool, POOL),
    Case(L.avg_pool2d, _pool, POOL),
    Case(L.global_avg_pool2d, _images, {"x": [*BAD_IMAGES, np.ones((1, 2, 0, 3))]}),
]
