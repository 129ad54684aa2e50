"""Contract cases of the learning-rate schedules."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import learning_rate as L

BAD_STEP = [-1, 1.5, None, "1", np.array([0.0, 1.0]), np.array([2, -2])]
RATE = [-0.1, np.nan, np.inf, "0.1", None]
COUNT = [0, -1, 1.5, None]
FACTOR = [0.0, -0.5, 1.1, np.nan, None]


def _case(func, bad, **more):
    return Case(
        func,
        lambda rng, dtype: {"step": np.arange(12).reshape(3, 4), "lr": 0.1, **more},
        {"step": BAD_STEP, "lr": RATE, **bad},
        shape_of="step",
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"step": np.array([0, 10**15]), "lr": 1e300, **more}],
    )


OVER = {"steps": COUNT, "end": RATE}
CASES = [
    _case(L.constant, {}),
    _case(L.step_decay, {"step_size": COUNT, "gamma": FACTOR}, step_size=3),
    _case(
        L.multistep,
        {"milestones": [3, [3, 3], [4, 2], [-1], [0.5], "ab", None], "gamma": FACTOR},
        milestones=[2, 5],
    ),
    _case(L.exponential, {"gamma": [0.0, -1.0, 1e300, np.nan, None]}, gamma=0.9),
    _case(L.polynomial, {**OVER, "power": [0.0, -1.0, None]}, steps=9),
    _case(L.linear, OVER, steps=9),
    _case(L.cosine, OVER, steps=9),
    _case(L.cosine_restarts, {**OVER, "t_mult": COUNT}, steps=2),
    _case(
        L.one_cycle,
        {
            "steps": COUNT,
            "pct_start": [0.0, 1.0, None],
            "div_factor": [0.5, None],
            "final_div_factor": [0.5, None],
        },
        steps=9,
    ),
    _case(L.inverse_sqrt, {"timescale": COUNT}, timescale=3),
    Case(
        L.warmup,
        lambda rng, dtype: {
            "step": np.arange(9),
            "schedule": lambda step: L.linear(step, lr=1.0, steps=5),
            "warmup_steps": 3,
        },
        {
            "step": BAD_STEP,
            "schedule": [0.1, None],
            "warmup_steps": [-1, 1.5, None],
            "start": RATE,
        },
        shape_of="step",
        keeps_dtype=False,
    ),
    _case(
        L.warmup_stable_decay,
        {
            **OVER,
            "steps": [0, 1.5, 2, None],
            "warmup_steps": [-1, 1.5, 10],
            "decay_steps": [-1, 1.5, 8],
            "shape": ["square", None],
        },
        steps=9,
        warmup_steps=3,
        decay_steps=4,
    ),
]
