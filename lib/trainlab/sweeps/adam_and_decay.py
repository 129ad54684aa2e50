"""One weight under noisy gradients, with a penalty or with decay: where three optimizers take it.

The weight starts at 1. Either the data pull it to 1 with the curvature 1, or nothing does
(curvature 0) and its gradient is noise alone. The noise comes in pairs of opposite sign, so that
the mean over few runs is exact enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..optimizers import OPTIMIZERS, apply_updates
from . import Sweep

NOISE = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
DECAYS = (0.03, 0.1, 0.3, 1.0)
PAIRS, STEPS, POINTS = 20, 5000, 26
# Long enough to settle where there is a pull; lr · λ · steps = 0.5 at λ = 0.1 where there is none.
RATES = {1.0: 0.02, 0.0: 0.001}
RULES = {"sgd": "l2", "adam": "l2", "adamw": "weight_decay"}


def run(optimizer: str, decay: float, curvature: float) -> dict[str, Any]:
    """Train weights of all noise levels at once; return means over runs."""
    rng = np.random.default_rng(0)
    init, update = OPTIMIZERS[optimizer]
    weight = np.ones((len(NOISE), 2 * PAIRS))
    state = init(weight)
    watched = np.linspace(0, STEPS, POINTS).round().astype(int).tolist()
    path, settled = [weight.mean(axis=1)], []
    for step in range(1, STEPS + 1):
        half = rng.standard_normal(PAIRS)
        noise = np.outer(NOISE, np.concatenate([half, -half]))
        grads = curvature * (weight - 1) + noise
        rate = RATES[curvature]
        updates, state = update(grads, state, weight, lr=rate, **{RULES[optimizer]: decay})
        weight = apply_updates(weight, updates)
        if step in watched:
            path.append(weight.mean(axis=1))
        if step > 0.8 * STEPS:
            settled.append(weight.mean(axis=1))
    # Where there is no pull the weight does not settle: its last value counts.
    end = np.mean(settled, axis=0) if curvature else path[-1]
    return {"steps": watched, "path": np.transpose(path).tolist(), "end": end.tolist()}


SWEEP = Sweep(
    run=run,
    grid=[
        {"optimizer": name, "decay": decay, "curvature": curvature}
        for curvature in RATES
        for name in RULES
        for decay in DECAYS
    ],
)
