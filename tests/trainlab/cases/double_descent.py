"""Contract cases of the double descent chapter: its four modules."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab.double_descent import harmonics, min_norm_curve, relu_features
from trainlab.epoch_wise_risk import best_times, epoch_risk
from trainlab.least_squares_risk import best_penalty, gaussian_risk, min_norm_risk, ridge_risk
from trainlab.spectral_filters import decompose, flow_factors, predict, ridge_factors


def _problem(rng, dtype, *, n=6, p=20, m=4):
    normal = rng.standard_normal
    return normal((n, p)).astype(dtype), normal((m, p)).astype(dtype), normal(n).astype(dtype)


def _curve(rng, dtype):
    phi, test, y = _problem(rng, dtype)
    # Widths below, at, just above and far above n, out of order and repeated.
    return {"features": phi, "targets": y, "test_features": test, "widths": [20, 3, 6, 8, 3, 19]}


def _decompose(rng, dtype):
    phi, test, _ = _problem(rng, dtype)
    return {"features": phi, "test_features": test}


def _predict(rng, dtype):
    phi, test, y = _problem(rng, dtype)
    spectrum = decompose(phi, test_features=test)
    return {"spectrum": spectrum, "targets": y, "factors": flow_factors(spectrum.s, 3.0, n=6)}


def _two_groups(rng, dtype):
    pair = lambda *v: np.array(v, dtype)  # noqa: E731
    return {
        "rates": pair(1, 1e-3),
        "signals": pair(1, 2),
        "sizes": pair(60, 20),
        "n": 100,
        "noise": 1.0,
    }


NOT_COUNTS = [0, -1, 2.5, True, "3", None]
NOT_POSITIVE = [0.0, -1.0, np.nan, np.inf, "1", None]
NEGATIVE = [-1.0, np.nan, np.inf, "1", None]
NOT_ARRAYS = [None, "x", [np.nan], [1j]]

CASES = [
    Case(
        harmonics,
        lambda rng, dtype: {"x": rng.uniform(-1, 1, 5).astype(dtype), "count": 3},
        bad={"x": [*NOT_ARRAYS, np.ones((2, 2)), []], "count": NOT_COUNTS},
        extreme=[lambda rng, dtype: {"x": np.array([-1e9, 0.0, 1e9]), "count": 50}],
    ),
    Case(
        relu_features,
        lambda rng, dtype: {
            "x": rng.standard_normal((5, 3)).astype(dtype),
            "weight": rng.standard_normal((7, 3)).astype(dtype),
        },
        bad={"x": [*NOT_ARRAYS, np.ones(3)], "weight": [*NOT_ARRAYS, np.ones((7, 2))]},
        extreme=[
            lambda rng, dtype: {"x": 1e150 * np.ones((2, 3)), "weight": 1e150 * np.ones((2, 3))}
        ],
    ),
    Case(
        min_norm_curve,
        _curve,
        bad={
            "features": [*NOT_ARRAYS, np.ones(6), np.ones((6, 20))],  # all columns the same
            "targets": [*NOT_ARRAYS, np.ones(5), np.ones((6, 1, 1))],
            "test_features": [*NOT_ARRAYS, np.ones((4, 19))],
            "widths": [[], [0], [21], [2.0]],
        },
        extreme=[lambda rng, dtype: {**_curve(rng, dtype), "targets": 1e150 * np.ones(6)}],
    ),
    Case(
        decompose,
        _decompose,
        bad={
            "features": [*NOT_ARRAYS, np.ones(3)],
            "test_features": [*NOT_ARRAYS, np.ones((4, 19)), np.ones((1, 4, 20))],
        },
        extreme=[
            lambda rng, dtype: {"features": np.zeros((3, 4)), "test_features": np.ones((2, 4))}
        ],
    ),
    Case(
        ridge_factors,
        lambda rng, dtype: {"s": rng.uniform(0, 2, (2, 4)).astype(dtype), "lam": 0.1, "n": 6},
        bad={"s": [*NOT_ARRAYS, [-1.0]], "lam": [*NOT_POSITIVE, [[1.0]]], "n": NOT_COUNTS},
        shape_of="s",
        extreme=[lambda rng, dtype: {"s": np.array([0.0, 1e-150, 1e150]), "lam": 1e-300, "n": 1}],
    ),
    Case(
        flow_factors,
        lambda rng, dtype: {"s": rng.uniform(0, 2, (2, 4)).astype(dtype), "t": 3.0, "n": 6},
        bad={"s": [*NOT_ARRAYS, [-1.0]], "t": [*NEGATIVE, [[1.0]]], "n": NOT_COUNTS},
        shape_of="s",
        extreme=[lambda rng, dtype: {"s": np.array([0.0, 1e-150, 1e100]), "t": 1e100, "n": 1}],
    ),
    Case(
        predict,
        _predict,
        bad={
            "spectrum": [None, (1, 2, 3)],
            "targets": [*NOT_ARRAYS, np.ones(5), np.ones((6, 1))],
            "factors": [*NOT_ARRAYS, np.ones(5), np.ones((6, 2, 2))],
        },
        extreme=[
            lambda rng, dtype: {
                "spectrum": decompose(np.zeros((6, 3)), test_features=np.ones((2, 3))),
                "targets": np.ones(6),
                "factors": np.ones(3),
            }
        ],
    ),
    Case(
        gaussian_risk,
        lambda rng, dtype: {
            "n": np.array([10, 20]),
            "p": 15,
            "signal": 1.0,
            "noise": 0.2,
            "hidden": 0.1,
        },
        bad={
            "n": [[0], [1.5], [-3.0], None, "x"],
            "p": [[0], [1.5], None, np.ones((3, 3))],
            "signal": NEGATIVE,
            "noise": NEGATIVE,
            "hidden": NEGATIVE,
        },
        shape_of="n",
        keeps_dtype=False,  # its arrays are counts
        extreme=[lambda rng, dtype: {"n": [1, 10**9], "p": 10**6, "signal": 1e100, "noise": 1e100}],
    ),
    Case(
        min_norm_risk,
        lambda rng, dtype: {"gamma": np.array([0.5, 2.0], dtype), "signal": 1.0, "noise": 0.2},
        bad={"gamma": [[0.0], [-1.0], [np.nan], None], "signal": NEGATIVE, "noise": NEGATIVE},
        shape_of="gamma",
        extreme=[lambda rng, dtype: {"gamma": np.array([1e-9, 1e9]), "signal": 0.0, "noise": 1e9}],
    ),
    Case(
        ridge_risk,
        lambda rng, dtype: {
            "gamma": np.array([0.5, 1.0, 2.0], dtype),
            "lam": np.array([0.1, 0.2, 0.3], dtype),
            "signal": 1.0,
            "noise": 0.2,
        },
        bad={
            "gamma": [[0.0], [-1.0], [np.nan], None],
            "lam": [[0.0], [-1.0], None, [1.0, 2.0]],
            "signal": NEGATIVE,
            "noise": NEGATIVE,
        },
        shape_of="gamma",
        extreme=[
            lambda rng, dtype: {
                "gamma": np.array([1e-6, 1.0, 1e6]),
                "lam": 1e-12,
                "signal": 1.0,
                "noise": 1.0,
            }
        ],
    ),
    Case(
        best_penalty,
        lambda rng, dtype: {"gamma": np.array([0.5, 2.0], dtype), "signal": 1.0, "noise": 0.2},
        bad={"gamma": [[0.0], [np.nan], None], "signal": NOT_POSITIVE, "noise": NOT_POSITIVE},
        shape_of="gamma",
    ),
    Case(
        epoch_risk,
        lambda rng, dtype: {"t": np.array([0.0, 1.0, 10.0], dtype), **_two_groups(rng, dtype)},
        bad={
            "t": [*NOT_ARRAYS, [-1.0], 3.0],
            "rates": [*NOT_ARRAYS, [0.0, 1.0], 3.0],
            "signals": [[1.0], [-1.0, 1.0], None],
            "sizes": [[1.0], [0.0, 1.0], None],
            "n": NOT_COUNTS,
            "noise": NEGATIVE,
        },
        extreme=[lambda rng, dtype: {"t": np.array([0.0, 1e12]), **_two_groups(rng, dtype)}],
    ),
    Case(
        best_times,
        _two_groups,
        bad={
            "rates": [*NOT_ARRAYS, [0.0, 1.0], 3.0],
            "signals": [[1.0], [-1.0, 1.0], None],
            "sizes": [[1.0], [0.0, 1.0], None],
            "n": NOT_COUNTS,
            "noise": NOT_POSITIVE,
        },
        shape_of="rates",
    ),
]
