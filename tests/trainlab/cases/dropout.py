"""Contract cases of `trainlab.dropout`, `dropout_statistics` and `dropout_study`."""

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import dropout as d
from trainlab import dropout_statistics as statistics
from trainlab import dropout_study as study

BAD_P = [-0.1, 1.0, 1.5, np.nan, "0.5", True]
BAD_SCALING = ["Inverted", None]
NAN = np.full((3, 4), np.nan)
MASK = np.tile([True, False], (3, 2))


def _masked(rng, dtype):
    return {"x": rng.standard_normal((3, 4)).astype(dtype), "mask": MASK, "p": 0.5}


def _huge(rng, dtype):
    return {"x": np.full((3, 4), 1e300, dtype), "mask": MASK, "p": 0.5}


def _connect(rng, dtype):
    return {
        "x": rng.standard_normal((2, 4)).astype(dtype),
        "weight": rng.standard_normal((3, 4)).astype(dtype),
        "mask": MASK,
        "p": 0.3,
    }


def _regression(rng, dtype):
    return {
        "x": rng.standard_normal((9, 4)).astype(dtype),
        "y": rng.standard_normal(9).astype(dtype),
        "p": 0.3,
    }


def _softmax(rng, dtype):
    return {
        "x": rng.standard_normal(5).astype(dtype),
        "weight": rng.standard_normal((3, 5)).astype(dtype),
        "bias": rng.standard_normal(3).astype(dtype),
        "p": 0.5,
    }


def _softmax_extreme(rng, dtype):
    case = _softmax(rng, dtype)
    return {**case, "weight": 1e3 * case["weight"]}


def _training(rng, dtype):
    return {
        "tasks": study.teacher_tasks(20, runs=2, rng=rng, n_test=50),
        "p": 0.2,
        "rng": rng,
        "width": 8,
        "steps": 3,
        "batch": 5,
        "lr": 0.1,
        "momentum": 0.5,
    }


BAD_MASK = [MASK[:2], MASK.astype(float), None]
BAD_X2 = [np.ones(4), NAN, np.array([["a"]])]
BAD_RNG = [0, None, np.random.RandomState(0)]

CASES = [
    Case(
        d.keep_mask,
        lambda rng, _: {"shape": (3, 4), "p": 0.5, "rng": rng, "shared_axes": (1,)},
        bad={
            "shape": [(0, 4), (2.5,), 7, "34"],
            "p": BAD_P,
            "rng": BAD_RNG,
            "shared_axes": [(2,), (-3,), 1, (0.5,)],
        },
    ),
    Case(
        d.dropout,
        _masked,
        bad={"x": [NAN, "x"], "mask": BAD_MASK, "p": BAD_P, "scaling": BAD_SCALING},
        shape_of="x",
        extreme=[_huge],
    ),
    Case(
        d.dropout_test,
        lambda rng, dtype: {"x": rng.standard_normal((3, 4)).astype(dtype), "p": 0.5},
        bad={"x": [NAN, "x"], "p": BAD_P, "scaling": BAD_SCALING},
        shape_of="x",
    ),
    Case(
        d.drop_connect,
        _connect,
        bad={"x": BAD_X2, "weight": [np.ones(4), np.ones((3, 5))], "mask": BAD_MASK, "p": BAD_P},
    ),
    Case(
        statistics.dropout_moments,
        lambda *_: {"mean": 1.0, "var": 2.0, "p": 0.25, "scaling": "standard"},
        bad={"mean": [np.inf, None], "var": [-1.0, "1"], "p": BAD_P, "scaling": BAD_SCALING},
        extreme=[lambda *_: {"mean": 1e100, "var": 0.0, "p": 0.999}],
    ),
    Case(
        statistics.dropout_signal,
        lambda *_: {"depth": 4, "p": 0.2, "training": True},
        bad={
            "depth": [-1, 2.5],
            "p": BAD_P,
            "training": [None, "yes"],
            "scaling": BAD_SCALING,
            "activation": ["tanh", None],
        },
        keeps_dtype=False,  # no array comes in
        extreme=[lambda *_: {"depth": 50, "p": 0.9, "training": True}],
    ),
    Case(
        statistics.expected_dropout_loss,
        lambda rng, dtype: {**_regression(rng, dtype), "weight": np.ones(4, dtype)},
        bad={
            "x": BAD_X2,
            "y": [np.ones(8), np.ones((9, 1))],
            "weight": [np.ones(3), np.ones((4, 1))],
            "p": BAD_P,
        },
    ),
    Case(
        statistics.dropout_ridge,
        _regression,
        bad={"x": BAD_X2, "y": [np.ones(8), 1.0], "p": BAD_P, "l2": [-1.0, np.nan]},
    ),
    Case(
        statistics.softmax_ensemble,
        _softmax,
        bad={
            "x": [np.ones(17), np.ones((5, 1))],
            "weight": [np.ones((3, 4)), np.ones(5)],
            "bias": [np.ones(2), np.ones((3, 1))],
            "p": BAD_P,
        },
        extreme=[_softmax_extreme],
    ),
    Case(
        statistics.variance_shift,
        lambda *_: {"mean": 0.5, "var": 2.0, "p": 0.25},
        bad={"mean": [np.nan, None], "var": [0.0, -1.0], "p": BAD_P},
    ),
    Case(
        study.teacher_tasks,
        lambda rng, _: {"n": 7, "runs": 2, "rng": rng, "label_noise": 0.2, "n_test": 5},
        bad={
            "n": [0, 1.5],
            "runs": [0, None],
            "rng": BAD_RNG,
            "label_noise": [-0.1, 0.6],
            "n_test": [0, None],
        },
        keeps_dtype=False,  # always float32
    ),
    Case(
        study.errors_after_training,
        _training,
        bad={
            "tasks": [None, (1, 2)],
            "p": BAD_P,
            "rng": BAD_RNG,
            "width": [0, 2.5],
            "steps": [0, None],
            "batch": [0, 1.5],
            "lr": [0.0, -1.0],
            "momentum": [-0.1, 1.5],
            "passes": [-1, 1.5],
        },
        keeps_dtype=False,  # shares of examples, float64
    ),
]
