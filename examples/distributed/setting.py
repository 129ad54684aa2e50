"""What is trained, for every engine the same: data, batches, initial parameters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainlab.datasets import digits
from trainlab.mlp import mlp_init
from trainlab.training import minibatch_rows

SIZES = (64, 32, 32, 10)


def initial_params() -> list[dict[str, NDArray[np.float64]]]:
    """Draw the parameters of the network."""
    return mlp_init(SIZES, rng=np.random.default_rng(0))


def batches(
    steps: int, batch_size: int
) -> tuple[tuple[NDArray[np.float64], NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Return the digits, and the rows of each step; every fifth batch is ragged."""
    pixels, labels = digits(part="train")
    plan = minibatch_rows(
        len(labels), batch_size=batch_size, steps=steps, rng=np.random.default_rng(1)
    )
    rows = [r[:-3] if number % 5 == 4 else r for number, r in enumerate(plan)]
    return (pixels - pixels.mean(axis=0), labels), rows
