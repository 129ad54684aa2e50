"""One pass over fresh examples against many passes over few of them, in a linear regression.

Features and targets are those of `scaling_law_regression`, with 64 features and more noise. Plain
SGD in batches of 8, its learning rate falling linearly to 0 over each run; every number of epochs
is a run of its own. The fresh run makes as many steps and never sees an example twice. Losses on
new examples are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Sweep

FEATURES, BATCH, RATE, NOISE = 64, 8, 0.3, 1.0
EPOCHS = (1, 2, 4, 8, 16, 32, 64)
UNIQUE = (64, 128, 256)
SEEDS = 40

Array = NDArray[np.float64]


def run(unique: int, epochs: int) -> dict[str, Any]:
    """Train all seeds side by side, on repeated and on fresh examples."""
    rng = np.random.default_rng(0)
    i = np.arange(1, FEATURES + 1, dtype=float)
    scale, truth = i**-0.75, np.ones(FEATURES)  # λw² = i^-1.5
    steps = unique // BATCH * epochs
    pool = rng.standard_normal((SEEDS, unique, FEATURES)) * scale
    labels = pool @ truth + NOISE**0.5 * rng.standard_normal((SEEDS, unique))
    repeated, fresh = np.zeros((2, SEEDS, FEATURES))
    before: list[Array] = []
    for step in range(steps):
        at = step % (unique // BATCH)
        if at == 0:
            order = rng.permutation(unique)
        rows = order[at * BATCH : (at + 1) * BATCH]
        lr = RATE * (1 - step / steps)
        x = rng.standard_normal((SEEDS, BATCH, FEATURES)) * scale
        y = x @ truth + NOISE**0.5 * rng.standard_normal((SEEDS, BATCH))
        repeated = repeated - lr * _gradient(repeated, pool[:, rows], labels[:, rows])
        error = np.einsum("sbf,sf->sb", x, fresh) - y
        if step >= steps - unique // BATCH:  # the last batches, before they are trained on
            before.append(np.mean(error**2, axis=1))
        fresh = fresh - lr * np.einsum("sbf,sb->sf", x, error) / BATCH
    trained = np.mean((np.einsum("sbf,sf->sb", pool, repeated) - labels) ** 2, axis=1)
    return {
        "repeated": _loss(repeated, scale, truth),
        "fresh": _loss(fresh, scale, truth),
        "training": float(trained.mean()),
        "fresh_training": float(np.mean(before)),
    }


def _gradient(w: Array, x: Array, y: Array) -> Array:
    error = np.einsum("sbf,sf->sb", x, w) - y
    return np.asarray(np.einsum("sbf,sb->sf", x, error) / x.shape[1])


def _loss(w: Array, scale: Array, truth: Array) -> list[float]:
    """Mean and standard error over seeds."""
    each = NOISE + np.sum((scale * (w - truth)) ** 2, axis=1)
    return [float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5)]


SWEEP = Sweep(run=run, grid=[{"unique": u, "epochs": e} for u in UNIQUE for e in EPOCHS])
