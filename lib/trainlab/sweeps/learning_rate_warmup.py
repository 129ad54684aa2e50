"""Large-batch descent of a tanh network: which warm-up survives, and how the curvature follows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..activations import tanh
from ..curvature import sharpness
from ..datasets import digits
from ..initialization import xavier_normal
from ..learning_rate import constant, warmup
from ..mlp import mlp, mlp_init
from ..regression import mse_loss
from ..training import minibatch_rows, train
from ..trees import tree_leaves, tree_map
from . import Sweep

SIZES = (64, 32, 32, 10)
STEPS, EVERY, SEEDS = 300, 10, range(5)
# Batches of half the data. With all of it there would be no noise: while the learning rate is small
# the error along the steepest direction shrinks to a rounding error, so rounding would decide when
# the overshoot has grown again, and which network survives.
EXAMPLES, BATCH = 300, 150
RATES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
BLOWN_UP = 20.0  # a weight of this size ends the training; they start below 1
WARMUPS = (0, 10, 25, 50, 100, 200)


def _data() -> tuple[NDArray[Any], NDArray[Any]]:
    """Centered digits, scaled to 0.15, and their classes as 0 and 1."""
    x, labels = (a[:EXAMPLES] for a in digits(part="train"))
    x = x - x.mean(axis=0)
    return 0.15 * x / np.sqrt(np.mean(x**2)), np.eye(10)[labels]


def run(lr: float, warmup_steps: int) -> dict[str, Any]:
    """Train five networks; give how many end above their start, and what becomes of the first."""
    schedule = partial(warmup, schedule=partial(constant, lr=lr), warmup_steps=warmup_steps)
    first, *others = (_train(seed, schedule, measured=seed == 0) for seed in SEEDS)
    return {
        "diverged": sum(not losses[-1] < losses[0] for losses, _ in (first, *others)),
        "steps": len(first[0]),
        "sharpness": np.round(first[1], 4).tolist(),
    }


def _train(
    seed: int, schedule: Callable[[Any], Any], *, measured: bool
) -> tuple[NDArray[Any], list[float]]:
    """Return the loss of each batch, and every 10 steps the sharpness if it is measured."""
    x, targets = _data()
    rng = np.random.default_rng(seed)
    params = mlp_init(SIZES, rng=rng, initializer=xavier_normal)
    direction = tree_map(lambda w: rng.standard_normal(w.shape), params)
    found: list[float] = []
    blown_up = False

    def loss(params: Any, x: Any = x, targets: Any = targets) -> Any:
        return 5 * mse_loss(mlp(params, x, activation=tanh), targets)  # ½ Σ over the ten outputs

    def watch(step: int, now: Any) -> None:
        nonlocal direction, blown_up
        blown_up = max(float(np.abs(w).max()) for w in tree_leaves(now)) > BLOWN_UP
        if measured and step % EVERY == 0 and step < STEPS and not blown_up:
            value, direction = sharpness(
                loss, now, direction=direction, iterations=6 if found else 40
            )
            found.append(value)

    rows = minibatch_rows(
        len(x), batch_size=BATCH, steps=STEPS, rng=np.random.default_rng([seed, 1])
    )
    batches = ((x[r], targets[r]) for r in itertools.takewhile(lambda _: not blown_up, rows))
    done = train(loss, params, batches=batches, lr=schedule, watch=watch)
    return done.losses, found


SWEEP = Sweep(run=run, grid=[{"lr": r, "warmup_steps": w} for r in RATES for w in WARMUPS])
