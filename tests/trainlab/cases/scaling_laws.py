"""Contract cases of scaling laws and their fits."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import scaling_law_fits as F
from trainlab import scaling_laws as S

LAW = S.REPLICATION
BAD_LAW = [None, (1.8, 480.0, 2085.0, 0.35, 0.37), LAW._replace(A=0.0), LAW._replace(beta=np.nan)]
BAD_SIZES = [0.0, [-1.0], [np.nan], [np.inf], "1", None]
BAD_COUNT = [-1.0, np.nan, np.inf, "1", None]
POSITIVE = [0.0, -1.0, np.nan, np.inf, "1", None]
HUGE = [lambda rng, dtype: {"num_params": 1e18, "num_tokens": 1e20}]


def _sizes(rng, dtype):
    return {
        "num_params": rng.uniform(1e8, 1e10, (3, 1)).astype(dtype),
        "num_tokens": rng.uniform(1e9, 1e12, 4).astype(dtype),
    }


def _runs(rng, dtype):
    n, d = (a.ravel() for a in np.meshgrid([1e8, 1e9, 1e10], [1e10, 1e11, 1e12]))
    return {"num_params": n, "num_tokens": d, "losses": S.scaling_loss(n, d, law=LAW)}


FEW = np.array([1e8, 1e8, 1e8, 1e9, 1e9, 1e9, 1e8, 1e9, 1e8])
BAD_RUNS = [np.ones((3, 3)), np.ones(9), FEW, np.full(9, np.nan), np.zeros(9), np.ones(4), None]
RUNS = {
    "num_params": BAD_RUNS,
    "num_tokens": BAD_RUNS,
    "losses": [np.ones((3, 3)), np.zeros(9), np.ones(8), np.full(9, np.inf), None],
}

CASES = [
    Case(
        S.flops,
        _sizes,
        {"num_params": BAD_SIZES, "num_tokens": BAD_SIZES, "served_tokens": BAD_COUNT},
        extreme=HUGE,
    ),
    Case(
        S.scaling_loss,
        lambda rng, dtype: {**_sizes(rng, dtype), "law": LAW},
        {"num_params": BAD_SIZES, "num_tokens": BAD_SIZES, "law": BAD_LAW},
        extreme=[lambda rng, dtype: {"num_params": 1e-3, "num_tokens": 1e30, "law": LAW}],
    ),
    Case(S.compute_optimal_exponents, lambda rng, dtype: {"law": LAW}, {"law": BAD_LAW}),
    Case(
        S.compute_optimal,
        lambda rng, dtype: {"budget": rng.uniform(1e18, 1e24, 4).astype(dtype), "law": LAW},
        {"budget": BAD_SIZES, "law": BAD_LAW},
        shape_of="budget",
        extreme=[lambda rng, dtype: {"budget": np.array([6.0, 1e40]), "law": LAW}],
    ),
    Case(
        S.isoflop_loss,
        lambda rng, dtype: {
            "num_params": _sizes(rng, dtype)["num_params"],
            "budget": 1e21,
            "law": LAW,
        },
        {"num_params": BAD_SIZES, "budget": POSITIVE, "law": BAD_LAW},
        shape_of="num_params",
    ),
    Case(
        S.tokens_for_loss,
        lambda rng, dtype: {
            "num_params": _sizes(rng, dtype)["num_params"],
            "loss": 3.0,
            "law": LAW,
        },
        {"num_params": BAD_SIZES, "loss": [1.8, np.nan, "2", None], "law": BAD_LAW},
        shape_of="num_params",
    ),
    Case(
        S.inference_optimal,
        lambda rng, dtype: {"loss": 2.0, "served_tokens": 1e12, "law": LAW},
        {"loss": [1.8172, 1.0, np.nan, "2"], "served_tokens": BAD_COUNT, "law": BAD_LAW},
        extreme=[lambda rng, dtype: {"loss": 2.0, "served_tokens": 1e30, "law": LAW}],
    ),
    Case(
        S.effective_tokens,
        lambda rng, dtype: {
            "unique_tokens": rng.uniform(1e9, 1e11, (3, 1)).astype(dtype),
            "epochs": rng.uniform(0.5, 50, 4).astype(dtype),
        },
        {"unique_tokens": BAD_SIZES, "epochs": BAD_SIZES, "fading": POSITIVE},
        extreme=[lambda rng, dtype: {"unique_tokens": 1e20, "epochs": 1e6}],
    ),
    Case(
        F.fit_power_law,
        lambda rng, dtype: {"x": np.arange(1.0, 6.0), "y": rng.uniform(1, 2, 5)},
        {
            "x": [[1.0, 2.0], np.ones(5), [1.0, 1.0, 2.0, 2.0, 1.0], -np.arange(5.0), None],
            "y": [np.ones(4), np.zeros(5), np.ones((5, 1)), None],
        },
    ),
    Case(
        F.fit_isoflop,
        lambda rng, dtype: {"num_params": [1e8, 1e9, 1e10], "losses": [3.0, 2.0, 3.0]},
        {
            "num_params": [[1e8, 1e8, 1e9], [1e8, 1e9], [0.0, 1.0, 2.0], None],
            "losses": [[2.0, 3.0, 2.0], [1.0, 2.0], [3.0, 0.0, 3.0], None],
        },
    ),
    Case(F.fit_scaling_law, _runs, {**RUNS, "delta": POSITIVE}),
    Case(
        F.bootstrap_scaling_law,
        lambda rng, dtype: {**_runs(rng, dtype), "law": LAW, "rng": rng, "count": 3},
        {**RUNS, "law": BAD_LAW, "rng": [None, 0], "count": [0, 1.5, None], "delta": POSITIVE},
    ),
]
