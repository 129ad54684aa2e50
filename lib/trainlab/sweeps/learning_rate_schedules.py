"""Digits under ten schedules: validation loss by step, for each largest rate and each warm-up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import learning_rate as rates
from . import Sweep
from ._side_by_side import train_side_by_side

STEPS, BATCH, MOMENTUM, SEEDS = 400, 8, 0.9, (0, 1, 2)
PEAKS = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.16)
WARMUPS = (0, 40, 120)
WATCHED = tuple(range(0, STEPS + 1, 20))

NAMES: dict[str | int | float, str] = {
    "constant": "constant",
    "step": "step (÷ 10 twice)",
    "linear": "linear",
    "exponential": "exponential (to 1/100)",
    "cosine": "cosine",
    "restarts": "cosine with restarts",
    "polynomial": "polynomial (power 2)",
    "inverse_sqrt": "inverse square root",
    "one_cycle": "one-cycle",
    "wsd": "warm-up, stable, decay",
}


def schedule(shape: str, *, lr: float, warmup: int) -> Callable[[Any], Any]:
    """Return a schedule over `STEPS` steps as a function of the step.

    After the warm-up the shape has the steps that are left; one-cycle brings its own rise and
    ignores `warmup`.
    """
    left = STEPS - warmup
    if shape == "one_cycle":
        return partial(rates.one_cycle, lr=lr, steps=STEPS)
    if shape == "wsd":
        return partial(
            rates.warmup_stable_decay, lr=lr, steps=STEPS, warmup_steps=warmup, decay_steps=80
        )
    after: dict[str, Callable[[Any], Any]] = {
        "constant": partial(rates.constant, lr=lr),
        "step": partial(rates.multistep, lr=lr, milestones=(left // 2, 3 * left // 4)),
        "linear": partial(rates.linear, lr=lr, steps=left),
        "exponential": partial(rates.exponential, lr=lr, gamma=0.01 ** (1 / left)),
        "cosine": partial(rates.cosine, lr=lr, steps=left),
        # Cycles of 1/7, 2/7 and 4/7, so that the last one ends with the training.
        "restarts": partial(rates.cosine_restarts, lr=lr, steps=-(-left // 7), t_mult=2),
        "polynomial": partial(rates.polynomial, lr=lr, steps=left, power=2.0),
        "inverse_sqrt": partial(rates.inverse_sqrt, lr=lr, timescale=40),
    }
    return partial(rates.warmup, schedule=after[shape], warmup_steps=warmup)


def run(shape: str, warmup: int) -> dict[str, Any]:
    """Train three networks for each of the largest rates; give their means."""
    steps = np.arange(STEPS)
    table = np.array([schedule(shape, lr=p, warmup=warmup)(steps) for p in PEAKS])  # (peaks, steps)
    done = train_side_by_side(
        np.repeat(table, len(SEEDS), axis=0).T,
        seeds=SEEDS * len(PEAKS),
        batch_size=BATCH,
        watched=WATCHED,
        momentum=MOMENTUM,
    )
    axes = (-1, len(PEAKS), len(SEEDS))
    losses = done.validation.reshape(axes)  # (watched, runs) -> (watched, peaks, seeds)
    return {
        "validation": losses.mean(axis=2).T.round(4).tolist(),
        "train": done.train.reshape(axes)[-1].mean(axis=1).tolist(),
        "spread": losses[-1].std(axis=1, ddof=1).tolist(),
        "accuracy": done.accuracy.reshape(axes[1:]).mean(axis=1).tolist(),
    }


SWEEP = Sweep(run=run, grid=[{"shape": n, "warmup": w} for n in NAMES for w in WARMUPS])
