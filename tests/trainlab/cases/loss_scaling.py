"""Contract cases of `trainlab.loss_scaling`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from tests.trainlab.cases.mixed_precision import (
    NO_BOOL,
    NO_FORMAT,
    NO_FUNCTION,
    NO_TREE,
    NOT_POSITIVE,
    _tree,
)
from trainlab import loss_scaling as L
from trainlab.formats import FP16

STATE = L.LossScale(8.0, 3)
BAD_STATE = [None, (8.0, 3), L.LossScale(0.0, 3), L.LossScale(8.0, -1), L.LossScale(np.inf, 0)]
FACTORS = {
    "growth_factor": [1.0, 0.5, np.nan, "2"],
    "backoff_factor": [0.0, 1.0, -0.5, np.nan],
    "growth_interval": [0, 1.5, None],
}


def _sgd(grads, state, params):
    return {"w": -grads["w"], "b": [-grads["b"][0]]}, state


def _scaled(rng, dtype):
    return {
        "grads": _tree(rng, dtype),
        "state": L.ScaledState(None, STATE),
        "params": _tree(rng, dtype),
        "update": _sgd,
    }


def _overflown(rng, dtype):
    kwargs = _scaled(rng, dtype)
    kwargs["grads"]["w"][0, 0] = np.inf
    kwargs["grads"]["w"][0, 1] = np.nan
    return kwargs


CASES = [
    Case(
        L.unscale,
        lambda rng, dtype: {"grads": _tree(rng, dtype), "scale": 8.0},
        {"grads": NO_TREE, "scale": NOT_POSITIVE},
    ),
    Case(L.all_finite, lambda rng, dtype: {"tree": _tree(rng, dtype)}, {"tree": NO_TREE}),
    Case(
        L.loss_scale_init,
        lambda rng, dtype: {"init_scale": 8.0},
        {"init_scale": NOT_POSITIVE},
        keeps_dtype=False,
    ),
    Case(
        L.loss_scale_update,
        lambda rng, dtype: {"state": STATE, "finite": True, "growth_interval": 4},
        {"state": BAD_STATE, "finite": NO_BOOL, **FACTORS},
        keeps_dtype=False,
    ),
    Case(
        L.scaled_init,
        lambda rng, dtype: {"params": _tree(rng, dtype), "init": lambda params: params},
        {"params": NO_TREE, "init": NO_FUNCTION, "init_scale": NOT_POSITIVE},
    ),
    Case(
        L.scaled_update,
        _scaled,
        {
            "grads": NO_TREE,
            "params": NO_TREE,
            "state": [None, STATE, *(L.ScaledState(None, bad) for bad in BAD_STATE)],
            "update": NO_FUNCTION,
            "dynamic": NO_BOOL,
            **FACTORS,
        },
        extreme=[_overflown],
    ),
    Case(
        L.lost_gradients,
        lambda rng, dtype: {"grads": _tree(rng, dtype), "fmt": FP16, "scale": 8.0},
        {"grads": [*NO_TREE, [np.array([np.inf])]], "fmt": NO_FORMAT, "scale": NOT_POSITIVE},
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"grads": [np.zeros(3), np.zeros((0, 2))], "fmt": FP16}],
    ),
]
