"""A small network on the digits, trained with no, one and two of ten techniques, and some more.

Each set of techniques is trained with ten seeds, once with the right labels and once with a
quarter of the training and validation labels wrong. Early stopping needs no runs of its own: the
weights of the epoch with the smallest validation loss are measured in every run.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..combinations import Interval, paired_interval
from . import Sweep, stored, stored_run
from ._combined import TEST, Outcome, train_combined
from .combination_strengths import NOISES, strengths

SEEDS = tuple(range(10))
EARLY_STOPPING = "early stopping"
TRAINED = (
    "batch norm",
    "layer norm",
    "residual",
    "dropout",
    "weight decay",
    "L1",
    "label smoothing",
    "mixup",
    "Adam",
)
TECHNIQUES = (*TRAINED, EARLY_STOPPING)
MORE = (
    ("L2",),
    ("Adam", "L2"),
    ("batch norm", "dropout at the end"),
    ("dropout", "label smoothing", "mixup"),
    ("layer norm", "dropout", "weight decay", "Adam"),
)


def run(techniques: list[str], noise: float) -> dict[str, Any]:
    """Train with these techniques, each as strong as it was best alone."""
    return outcome(train_combined(techniques, noise=noise, seeds=SEEDS, strengths=strengths(noise)))


def outcome(made: Outcome) -> dict[str, Any]:
    """Return test losses and the number of test examples that are right, of each seed.

    Those that begin with `best` are of the epoch with the smallest validation loss.
    """
    return {
        "right": made.right.tolist(),
        "loss": made.loss.round(4).tolist(),
        "best_right": made.best_right.tolist(),
        "best_loss": made.best_loss.round(4).tolist(),
        "best_epoch": made.best_epoch.tolist(),
    }


PAIRS = ((), *((one,) for one in TRAINED), *itertools.combinations(TRAINED, 2))
SWEEP = Sweep(
    run=run,
    grid=[
        {"techniques": list(chosen), "noise": noise}
        for noise in NOISES
        for chosen in (*PAIRS, *MORE)
    ],
    rtol=0.02,  # training amplifies rounding
)


@cache
def scores(
    techniques: frozenset[str], *, noise: float, metric: str, halved: bool = False
) -> NDArray[np.float64]:
    """Return what each seed reached with these techniques, in any order.

    With `metric` "accuracy" the share of the test examples that are right, in percent; with
    "loss" minus the test loss in nats, so that more is better. With `halved` the strengths are
    half of what is best alone; stored for the noise of `combination_doses` only.
    """
    for chosen in (*PAIRS, *MORE):
        if frozenset(chosen) == techniques - {EARLY_STOPPING}:
            used = list(chosen)
    if halved and any(used == made["techniques"] for made in stored("combination_doses")):
        made = stored_run("combination_doses", techniques=used)
    else:
        made = stored_run("combinations", techniques=used, noise=noise)
    best = "best_" if EARLY_STOPPING in techniques else ""
    if metric == "accuracy":
        return np.asarray(made[best + "right"]) * (100 / TEST)
    return -np.asarray(made[best + "loss"])


def over_best(
    techniques: Collection[str],
    rivals: Collection[Collection[str]],
    *,
    noise: float,
    metric: str,
    halved: bool = False,
) -> Interval:
    """Return the gain of a set of techniques over that rival whose mean is the largest.

    A rival that is one technique has the strength that is best alone, whatever `halved` says.
    """

    def reached(chosen: Collection[str]) -> NDArray[np.float64]:
        halve = halved and len(chosen) > 1
        return scores(frozenset(chosen), noise=noise, metric=metric, halved=halve)

    mine, theirs = reached(techniques), [reached(rival) for rival in rivals]
    return paired_interval(mine - max(theirs, key=np.mean))
