"""Errors of dot products by length, for formats of the inputs and of the accumulator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dot_products import running_dot
from ..formats import FORMATS, round_to
from ..summation import METHODS
from . import Sweep

Array = NDArray[Any]

LENGTHS = tuple(2**k for k in range(1, 15))
INPUTS, ACCUMULATORS = ("FP16", "BF16", "E4M3", "E5M2"), ("FP32", "BF16", "FP16")
DATA = {"positive": 0.0, "both signs": -1.0}  # the lower end of uniform numbers up to 1
TRIALS = 16


def factors(data: str, trial: int) -> tuple[Array, Array]:
    """Draw the two vectors of a trial, in float64."""
    rng = np.random.default_rng([trial, 14])
    x, y = rng.uniform(DATA[data], 1, (2, LENGTHS[-1]))
    return x, y


def _run(inputs: str, accumulator: str, data: str, method: str) -> dict[str, Any]:
    places = np.array(LENGTHS) - 1
    squares = np.zeros((2, len(LENGTHS)))
    for trial in range(TRIALS):
        x, y = factors(data, trial)
        a, b = (round_to(v, FORMATS[inputs]) for v in (x, y))
        sums = running_dot(
            x,
            y,
            FORMATS[inputs],
            accumulator=FORMATS[accumulator],
            method=method,
            rng=np.random.default_rng([trial, 15]),
        )
        exact, wanted = np.cumsum(a * b), np.cumsum(x * y)  # products of rounded ones are exact
        errors = np.array([sums - exact, exact - wanted]) / np.cumsum(np.abs(a * b))
        squares += errors[:, places] ** 2 / TRIALS
    accumulated, rounded = np.sqrt(squares)
    return {"accumulator_error": accumulated.tolist(), "input_error": rounded.tolist()}


SWEEP = Sweep(
    run=_run,
    grid=[
        {"inputs": inputs, "accumulator": accumulator, "data": data, "method": method}
        for inputs in INPUTS
        for accumulator in ACCUMULATORS
        for data in DATA
        for method in METHODS
    ],
)
