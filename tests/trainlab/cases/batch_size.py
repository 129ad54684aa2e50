"""Contract cases of `trainlab.batch_size`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import batch_size as B

POSITIVE = [0.0, -1.0, np.nan, "1", None]
RATE = [-0.1, np.nan, np.inf, "0.1", None]
SIZES = [0.0, [1.0, -1.0], np.nan, "8", []]


def _case(func, bad, extreme=(), **kwargs):
    return Case(
        func,
        lambda rng, dtype: dict(kwargs),
        bad,
        keeps_dtype=False,
        extreme=[lambda rng, dtype, more=more: {**kwargs, **more} for more in extreme],
    )


NORM = [-1.0, np.nan, np.array([1.0, -1.0]), "1", []]
CASES = [
    _case(
        B.noise_scale,
        {"gradients": [1.0, np.ones((1, 3)), np.zeros((4, 3)), np.full((2, 2), np.nan), "g"]},
        [{"gradients": 1e150 * np.ones((3, 2))}, {"gradients": np.ones((3, 2), np.float32)}],
        gradients=np.arange(12.0).reshape(4, 3),
    ),
    _case(
        B.noise_scale_from_norms,
        {
            "small_squared_norm": [*NORM, np.ones(2)],
            "big_squared_norm": NORM,
            "small": [0, 1.0, None],
            "big": [1, 4.0, None],
        },
        small_squared_norm=5.0,
        big_squared_norm=2.0,
        small=1,
        big=4,
    ),
    _case(
        B.steps_and_examples,
        {"batch_size": SIZES, "noise_scale": POSITIVE, "min_steps": POSITIVE},
        batch_size=[1.0, 8.0],
        noise_scale=10.0,
        min_steps=5.0,
    ),
    _case(
        B.best_lr,
        {"batch_size": SIZES, "noise_scale": POSITIVE, "max_lr": POSITIVE},
        [{"batch_size": 1e-300}],
        batch_size=[1.0, 8.0],
        noise_scale=10.0,
        max_lr=0.5,
    ),
    _case(
        B.scaled_lr,
        {"lr": RATE, "batch_size": POSITIVE, "base": POSITIVE, "rule": ["cubic", None]},
        lr=0.1,
        batch_size=64.0,
        base=16.0,
    ),
    _case(
        B.noisy_quadratic,
        {
            "lr": [-0.1, np.nan, "0.1", 1e200, np.ones((2, 2))],
            "curvature": [1.0, [-1.0, 1.0], [np.nan, 1.0], []],
            "noise": [-1.0, [1.0, 1.0, 1.0], np.nan, None],
            "steps": [-1, 1.5, None],
            "batch_size": POSITIVE,
            "momentum": [-0.1, 1.0, None],
            "start": [[1.0, 1.0, 1.0], np.inf, None],
        },
        lr=0.1,
        curvature=[1.0, 2.0],
        noise=1.0,
        steps=4,
    ),
]
