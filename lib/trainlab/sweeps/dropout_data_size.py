"""What dropout gains by the number of training examples, for a network with two hidden layers.

The number of updates is fixed: few examples are seen many times, 25,600 examples exactly once.
Runs with the same `n` share teachers, data and first weights, so they can be compared in pairs.
"""

from __future__ import annotations

import math

import numpy as np

from ..dropout_study import errors_after_training, teacher_tasks
from . import Sweep, stored_run

RUNS = 20
COUNTS = (30, 100, 300, 1000, 5000, 25_600)
DROPS = (0.0, 0.1, 0.5)
PASSES = 100


def run(n: int, p: float, passes: int) -> dict[str, list[float]]:
    """Train twenty networks; return their test errors, one a run.

    With `passes` the predictions of so many thinned networks are averaged, else dropout is off.
    """
    tasks = teacher_tasks(n, runs=RUNS, rng=np.random.default_rng(n))
    made = errors_after_training(tasks, p=p, rng=np.random.default_rng(1), passes=passes)
    return {"errors": made.tolist()}


# The networks are float32, and some of 2000 answers may tip over on another processor.
SWEEP = Sweep(
    run=run,
    grid=[{"n": n, "p": p, "passes": 0} for n in COUNTS for p in DROPS]
    + [{"n": 1000, "p": 0.5, "passes": k} for k in (1, PASSES)],
    rtol=0.1,
)


def gain(n: int, p: float) -> tuple[float, float]:
    """Test error without dropout less that with it, in percent, and its standard error."""
    without, dropped = (stored_run("dropout_data_size", n=n, p=q, passes=0) for q in (0.0, p))
    gains = 100 * np.subtract(without["errors"], dropped["errors"])
    return float(gains.mean()), float(gains.std(ddof=1) / math.sqrt(len(gains)))
