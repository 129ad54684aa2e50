"""Range tests of several lengths on the digits, and what training at each fixed rate gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..classification import cross_entropy
from ..datasets import digits
from ..mlp import mlp, mlp_init
from ..training import lr_range_test, minibatch_rows
from . import Sweep
from ._side_by_side import SIZES, train_side_by_side

BATCH, FIXED_STEPS = 32, 200
SEEDS = (0, 1, 2)
# Optimizer -> lowest and highest rate of the tests, and its options.
TESTS: dict[str, tuple[float, float, dict[str, float]]] = {
    "sgd": (1e-3, 30.0, {}),
    "momentum": (1e-4, 3.0, {"momentum": 0.9}),
    "adam": (1e-5, 3.0, {}),
}
RATES_A_DECADE = 4


def fixed_rates(optimizer: str) -> list[float]:
    """Return the fixed learning rates that are tried."""
    low, high, _ = TESTS[optimizer]
    powers = np.arange(np.log10(low), np.log10(high) + 0.01, 1 / RATES_A_DECADE)
    return [float(f"{rate:.3g}") for rate in 10.0**powers]


def _loss(params: Any, x: Any, y: Any) -> Any:
    return cross_entropy(mlp(params, x), y)


def run(optimizer: str, kind: str, steps: int) -> dict[str, Any]:
    """Run one range test ("test"), or train at all fixed rates ("fixed")."""
    low, high, options = TESTS[optimizer]
    name = "sgd" if optimizer == "momentum" else optimizer
    if kind == "fixed":
        rates = fixed_rates(optimizer)
        done = train_side_by_side(
            np.tile(np.repeat(rates, len(SEEDS)), (steps, 1)),
            seeds=SEEDS * len(rates),
            batch_size=BATCH,
            watched=[steps],
            optimizer=name,
            **options,
        )
        losses = np.median(done.train[-1].reshape(-1, len(SEEDS)), axis=1)  # (runs,) -> (rates, 3)
        return {"lr": rates, "losses": losses.tolist()}
    x, y = digits(part="train")
    rows = minibatch_rows(len(y), batch_size=BATCH, steps=steps, rng=np.random.default_rng([0, 1]))
    found = lr_range_test(
        _loss,
        mlp_init(SIZES, rng=np.random.default_rng(0)),
        batches=((x[r], y[r]) for r in rows),
        steps=steps,
        low=low,
        high=high,
        optimizer=name,
        smoothing=0.0,
        stop=100.0,
        **options,
    )
    return {"lr": found.lr.tolist(), "losses": found.losses.tolist()}


SWEEP = Sweep(
    run=run,
    grid=[
        {"optimizer": o, "kind": k, "steps": s}
        for o in TESTS
        for k, s in (("test", 50), ("test", 100), ("test", 200), ("test", 400), ("fixed", 200))
    ],
)
