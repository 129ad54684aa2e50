"""Digits at five batch sizes: loss by step, for ten learning rates and two optimizers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Sweep, stored_run
from ._side_by_side import train_side_by_side

# Batch size -> steps. Small batches need more, and each of theirs costs less.
STEPS = {2: 1000, 8: 600, 32: 300, 128: 200, 512: 150}
RATES = {"sgd": 2.0 ** np.arange(-5, 5), "adam": 2.0 ** np.arange(-9, 1)}
SEEDS = (0, 1)
BASE, GOAL = 8, 0.3  # batch size that the rules start from; training loss to be reached


def watched(batch_size: int) -> list[int]:
    """Return the steps at which the loss is evaluated: closer together at first."""
    places = np.geomspace(1, STEPS[batch_size], 28).round().astype(int)
    return sorted({0, *places.tolist()})


def run(optimizer: str, batch_size: int) -> dict[str, Any]:
    """Train two networks for each learning rate; give the mean losses on all training examples."""
    rates = RATES[optimizer]
    done = train_side_by_side(
        np.tile(np.repeat(rates, len(SEEDS)), (STEPS[batch_size], 1)),
        seeds=SEEDS * len(rates),
        batch_size=batch_size,
        watched=watched(batch_size),
        optimizer=optimizer,
    )
    shape = (-1, len(rates), len(SEEDS))
    losses = done.train.reshape(shape)  # (watched, runs) -> (watched, rates, seeds)
    return {"steps": watched(batch_size), "train": losses.mean(axis=2).T.round(4).tolist()}


SWEEP = Sweep(run=run, grid=[{"optimizer": o, "batch_size": b} for o in RATES for b in STEPS])


def losses(optimizer: str, batch_size: int, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return steps and mean losses of the stored runs with one of the learning rates."""
    made = stored_run("learning_rate_batch_size", optimizer=optimizer, batch_size=batch_size)
    return np.array(made["steps"], float), np.array(made["train"][index])


def to_goal(optimizer: str, batch_size: int, index: int) -> float:
    """Return the steps after which the loss `GOAL` is crossed, infinite if it is not."""
    steps, loss = losses(optimizer, batch_size, index)
    after = int(np.argmax(loss <= GOAL))
    if loss[after] > GOAL:
        return math.inf
    # Between two watched steps the logarithm of the loss is taken as a line.
    drop = np.log(loss[after - 1] / loss[after])
    part = np.log(loss[after - 1] / GOAL) / drop
    return float(steps[after - 1] + part * (steps[after] - steps[after - 1]))


def fitted_noise_scale(optimizer: str) -> tuple[float, float]:
    """Fit ``steps = min_steps · (1 + noise_scale / B)`` to the best runs; return both numbers.

    The steps are a line in 1 / B; each counts relative to itself.
    """
    needed = [min(to_goal(optimizer, b, i) for i in range(len(RATES[optimizer]))) for b in STEPS]
    design = np.array([[1.0, 1.0 / b] for b in STEPS]) / np.array(needed)[:, None]
    least, slope = np.linalg.lstsq(design, np.ones(len(STEPS)), rcond=None)[0]
    return float(least), float(slope / least)
