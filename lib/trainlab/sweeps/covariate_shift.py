"""Batch norm under random shifts of its outputs: the runs behind the page on normalization."""

from __future__ import annotations

import numpy as np

from ..normalized_training import accuracy
from ..normalized_training import covariate_shift as train_and_test
from . import Sweep

__all__ = ["SWEEP"]


def run(norm: str, noise: float, lr: float, steps: int, width: int) -> dict[str, float]:
    """Train one network; with batch norm also test it on points of one class alone."""
    done = train_and_test(
        norm, noise, rng=np.random.default_rng(0), lr=lr, steps=steps, width=width
    )
    points, labels = done.test
    one = labels == 2
    return {
        "drift": done.drift,
        "loss": done.loss,
        "accuracy": done.accuracy,
        "one_class": accuracy(done.run, points[one], labels[one]),
        "one_class_training": accuracy(done.run, points[one], labels[one], training=True),
        "all_training": accuracy(done.run, points, labels, training=True),
    }


USUAL = {"norm": "batch", "noise": 0.0, "lr": 0.1, "steps": 200, "width": 64}
CHANGES: tuple[dict[str, str | float], ...] = (
    {"norm": "none"},
    {"norm": "none", "noise": 0.7},
    {},
    {"noise": 0.7},
    {"norm": "none", "noise": 0.3},
    {"noise": 0.9},
    {"noise": 0.7, "width": 32},
    {"norm": "none", "lr": 0.01},
    {"noise": 0.7, "lr": 0.01},
    {"lr": 1.0, "steps": 100},
)
# Two hundred large steps amplify the rounding of another processor to the third digit.
SWEEP = Sweep(run=run, grid=[USUAL | change for change in CHANGES], rtol=0.02)
