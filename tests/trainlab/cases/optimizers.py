"""Contract cases of the optimizers, the averages, the training loop."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import adaptive_optimizers as A
from trainlab import averaging as V
from trainlab import optimizers as O
from trainlab import training as T

BAD_FLAG = [None, "yes", 2]
BAD_RNG = [0, None, np.random.RandomState(0)]
NEGATIVE = [-0.1, np.nan, np.inf, "0.1", None]
DECAY = [-0.1, 1.0, np.nan, "0.9"]


def _tree(rng, dtype):
    return {
        "w": rng.standard_normal((4, 3)).astype(dtype),
        "b": [rng.standard_normal(3).astype(dtype), np.array(rng.standard_normal(), dtype)],
    }


BAD_TREES = [None, [np.ones(3)], {"w": np.ones((4, 3)), "b": [np.ones(3), "x"]}]
BAD_LIKE = [*BAD_TREES, {"w": np.ones((4, 2)), "b": [np.ones(3), np.array(1.0)]}]
BAD_PARAMS = [{"w": "x"}, np.ones(3, complex), [[object()]]]


def _update(init, update, **more):
    def make(rng, dtype):
        params = _tree(rng, dtype)
        _, state = update(_tree(rng, dtype), init(params), params, lr=0.1, **more)
        return {"grads": _tree(rng, dtype), "state": state, "params": params, "lr": 0.1, **more}

    return make


def _scaled(make, factor):
    def scaled(rng, dtype):
        kwargs = make(rng, dtype)
        grads = kwargs["grads"]
        grads = {"w": grads["w"] * factor, "b": [b * factor for b in grads["b"]]}
        return {**kwargs, "grads": grads, "state": _fresh(kwargs)}

    return scaled


def _fresh(kwargs):
    state = kwargs["state"]
    zeros = {"w": np.zeros((4, 3)), "b": [np.zeros(3), np.zeros(())]}
    return type(state)(0, *[zeros] * (len(state) - 1))


def _cases(init, update, bad, **more):
    make = _update(init, update, **more)
    state = {
        "state": [None, (0,), make(np.random.default_rng(0), float)["state"]._replace(steps=-1)]
    }
    shared = {"grads": BAD_LIKE, "params": BAD_TREES, "lr": NEGATIVE, "donate": BAD_FLAG}
    return [
        Case(init, lambda rng, dtype: {"params": _tree(rng, dtype)}, {"params": BAD_PARAMS}),
        Case(
            update,
            make,
            {**shared, **state, **bad},
            extreme=[_scaled(make, f) for f in (0.0, 1e150, 1e-200)],
        ),
    ]


EPS = {"eps": [0.0, -1e-8, np.nan, "1e-8", None]}
MOMENTS = {"b1": DECAY, "b2": DECAY}
L2 = {"l2": NEGATIVE}
WEIGHT_DECAY = {"weight_decay": NEGATIVE}


def _loss(w, x):
    return (x @ w @ np.ones((1, 1)) * (x @ w))[0, 0]


def _training(rng, dtype):
    return {
        "loss": _loss,
        "params": rng.standard_normal((3, 1)).astype(dtype),
        "batches": [(rng.standard_normal((1, 3)).astype(dtype),) for _ in range(3)],
        "optimizer": "sgd",
        "momentum": 0.5,
    }


LOOP = {
    "loss": [None, "mse"],
    "params": [None, "w", {}],
    "batches": [None, 3, [np.ones(3)]],
    "optimizer": ["newton", None, O.sgd_update],
    "options": [1],  # no update has a parameter of this name
}
TEST = T.RangeTest(np.array([0.1, 1.0, 10.0]), np.array([3.0, 2.0, 9.0]), np.array([3.0, 2.0, 9.0]))

CASES = [
    *_cases(
        O.sgd_init,
        O.sgd_update,
        {
            "momentum": DECAY,
            "dampening": [-0.1, 0.5, 1.1, "0"],
            "nesterov": BAD_FLAG,
            **L2,
            **WEIGHT_DECAY,
        },
        momentum=0.9,
        nesterov=True,
    ),
    *_cases(
        O.lion_init,
        O.lion_update,
        {"b1": [-0.1, 1.1, None], "b2": [-0.1, 1.1, None], **WEIGHT_DECAY},
    ),
    Case(
        A.adagrad_init,
        lambda rng, dtype: {"params": _tree(rng, dtype)},
        {"params": BAD_PARAMS, "initial_accumulator_value": NEGATIVE},
    ),
    *_cases(A.adagrad_init, A.adagrad_update, {**EPS, **L2})[1:],
    *_cases(
        A.rmsprop_init,
        A.rmsprop_update,
        {"b2": DECAY, **EPS, "centered": BAD_FLAG, "bias_correction": BAD_FLAG, **L2},
        centered=True,
    ),
    *_cases(A.adam_init, A.adam_update, {**MOMENTS, **EPS, **L2}),
    *_cases(
        A.adamw_init,
        A.adamw_update,
        {**MOMENTS, **EPS, **WEIGHT_DECAY, "independent_decay": [-0.1, 1.1, None]},
    ),
    *_cases(A.lamb_init, A.lamb_update, {**MOMENTS, **EPS, **WEIGHT_DECAY}),
    Case(
        O.apply_updates,
        lambda rng, dtype: {"params": _tree(rng, dtype), "updates": _tree(rng, dtype)},
        {"params": BAD_TREES, "updates": BAD_LIKE, "donate": BAD_FLAG},
    ),
    Case(V.ema_init, lambda rng, dtype: {"params": _tree(rng, dtype)}, {"params": BAD_PARAMS}),
    Case(
        V.ema_update,
        lambda rng, dtype: {"params": _tree(rng, dtype), "state": V.ema_init(_tree(rng, dtype))},
        {
            "params": BAD_TREES,
            "state": [None, V.EMAState(0, np.ones(3)), V.EMAState(-1, None)],
            "decay": [-0.1, 1.1, None],
            "bias_correction": BAD_FLAG,
            "donate": BAD_FLAG,
        },
    ),
    Case(
        T.minibatch_rows,
        lambda rng, dtype: {"count": 5, "batch_size": 2, "steps": 4, "rng": rng},
        {
            "count": [0, 1.0],
            "batch_size": [0, 2.0],
            "steps": [-1, None],
            "rng": BAD_RNG,
        },
        keeps_dtype=False,
    ),
    Case(
        T.train,
        lambda rng, dtype: {**_training(rng, dtype), "lr": 0.01, "watch": None},
        {**LOOP, "lr": [*NEGATIVE, lambda step: -1.0], "watch": [1, "loss"]},
        keeps_dtype=False,
    ),
    Case(
        T.lr_range_test,
        lambda rng, dtype: {**_training(rng, dtype), "steps": 3},
        {
            **LOOP,
            "steps": [1, 2.0],
            "low": [0.0, -1.0, 10.0, None],
            "high": [0.0, -1.0, np.inf, None],
            "smoothing": DECAY,
            "stop": [1.0, 0.5, np.nan],
        },
        keeps_dtype=False,
    ),
    Case(
        T.smoothed_losses,
        lambda rng, dtype: {"losses": rng.random(5).astype(dtype)},
        {"losses": [1.0, np.ones((2, 2)), np.array([np.nan])], "smoothing": DECAY},
        shape_of="losses",
    ),
    Case(
        T.suggested_lr,
        lambda rng, dtype: {"test": TEST, "rule": "steepest"},
        {
            "test": [None, (1, 2, 3), T.RangeTest(*[np.ones(2)] * 3)],
            "rule": ["best", None],
        },
        keeps_dtype=False,
    ),
]
