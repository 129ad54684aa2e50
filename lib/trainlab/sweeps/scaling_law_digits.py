"""The loss of one model on the digits, by how many of them it was trained on.

1,500 random ReLU features and a ridge regression on the labels, always with the same strength; so
nothing is chosen, and the digits that were not trained on are the test.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..datasets import digits
from ..double_descent import relu_features
from . import Sweep

COUNTS = (25, 50, 100, 200, 400, 800, 1200)
SEEDS = tuple(range(8))
FEATURES, STRENGTH = 1500, 30.0


def run(seed: int) -> dict[str, Any]:
    """Return squared error and share of wrong digits for each number of training digits."""
    rng = np.random.default_rng(seed)
    pixels, labels = digits()
    order = rng.permutation(len(labels))
    weight = rng.standard_normal((FEATURES, pixels.shape[1]))
    phi, labels = relu_features(pixels, weight)[order], labels[order]
    targets = np.eye(10)[labels] - 0.1
    held_out = slice(COUNTS[-1], None)
    errors, losses = [], []
    for count in COUNTS:
        seen = phi[:count]
        scores = phi[held_out] @ (
            seen.T @ np.linalg.solve(seen @ seen.T + STRENGTH * np.eye(count), targets[:count])
        )
        errors.append(float(np.mean(scores.argmax(axis=1) != labels[held_out])))
        losses.append(float(np.mean(np.sum((scores - targets[held_out]) ** 2, axis=1))))
    return {"errors": errors, "losses": losses}


SWEEP = Sweep(run=run, grid=[{"seed": s} for s in SEEDS])
