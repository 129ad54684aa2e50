"""The sharpness of a small network along its training with full batches.

A tanh network with 32 hidden units learns 150 digits by gradient descent. Its loss is ½ times the
summed squares, or for comparison cross-entropy, whose curvature falls as the predictions become
certain.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..activations import tanh
from ..classification import cross_entropy
from ..curvature import sharpness
from ..datasets import digits
from ..initialization import xavier_normal
from ..mlp import mlp, mlp_init
from ..regression import mse_loss
from ..training import train
from ..trees import tree_map
from . import Sweep

EXAMPLES, STEPS, EVERY = 150, 2000, 40
LOSS_EVERY = 15  # odd: at the edge the loss goes up and down with period 2
RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
MOMENTA = (0.0, 0.5, 0.9)


def run(objective: str, lr: float, momentum: float) -> dict[str, Any]:
    """Train once; return losses and sharpness along the way."""
    pixels, labels = digits(part="train")
    x = pixels[:EXAMPLES] - pixels[:EXAMPLES].mean(axis=0)
    targets = np.eye(10)[labels[:EXAMPLES]]

    def loss(params: Any) -> Any:
        outputs = mlp(params, x, activation=tanh)
        if objective == "cross-entropy":
            return cross_entropy(outputs, labels[:EXAMPLES])
        return 5.0 * mse_loss(outputs, targets)  # mean over 10 outputs

    rng = np.random.default_rng(0)
    params = mlp_init((64, 32, 10), rng=rng, initializer=xavier_normal)
    last = tree_map(lambda w: rng.standard_normal(w.shape), params)
    found: list[float] = []

    def measure(step: int, now: Any) -> None:
        nonlocal last
        if step % EVERY == 0:
            iterations = 40 if step == 0 else 6  # later it starts from the last direction
            value, last = sharpness(loss, now, direction=last, iterations=iterations)
            found.append(value)

    done = train(loss, params, batches=[()] * STEPS, lr=lr, momentum=momentum, watch=measure)
    losses = done.losses
    return {
        "sharpness": found,
        "losses": losses[::LOSS_EVERY].tolist(),
        "rising": float(np.mean(np.diff(losses[STEPS // 2 :]) > 0)),
        "end_loss": float(losses[-1]),
    }


# Two runs that differ by one rounding come apart at the edge, but stay as near to it: the sharpness
# by 5 % with other matrix kernels, the loss in bursts.
SWEEP = Sweep(
    run=run,
    grid=[
        {"objective": objective, "lr": lr, "momentum": momentum}
        for objective, momenta in (("squares", MOMENTA), ("cross-entropy", (0.0,)))
        for momentum in momenta
        for lr in RATES
    ],
    rtol=0.1,
    bursts=("losses",),
)
