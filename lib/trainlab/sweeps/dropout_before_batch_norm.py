"""Dropout in front of batch norms of a trained network: the shift of the variance, and its price.

Each hidden layer is linear, batch norm, ReLU and dropout, so every batch norm but the first stands
behind a dropout. In the other placement only the last hidden layer has dropout, behind all batch
norms. After training, the statistics are taken again without dropout: what the test gains by that
is the price of the shift.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..classification import cross_entropy
from ..datasets import digits
from ..differentiation import vjp
from ..optimizers import OPTIMIZERS, apply_updates
from ..training import minibatch_rows
from . import Sweep
from ._combined import EVERY, LAST, Networks, first_params

SEEDS = (0, 1, 2, 3, 4)
WIDTH, BATCH, STEPS, LR = 48, 50, 240, 0.02
DROPS = (0.0, 0.1, 0.3, 0.5)
DEPTHS = (2, 4, 8)
PLACES = (EVERY, LAST)
HELD_OUT = 600


def run(depth: int, place: str, p: float) -> dict[str, Any]:
    """Train five seeds at once on 1,197 digits.

    Returns the ratio of variances at each batch norm, test over stored, averaged over units and
    seeds; and of each seed loss and right ones of the 600 others, with the running statistics and
    with those taken again.
    """
    sizes = (64, *[WIDTH] * depth, 10)
    net = Networks(frozenset(["batch norm", place]), len(SEEDS), sizes, p)
    params: Any = first_params(SEEDS, sizes, norm=True)
    pixels, labels = digits(part="train")
    parts = [digits(part=part) for part in ("validation", "test")]
    center, scale = pixels.mean(axis=0), pixels.std()
    x = np.broadcast_to((pixels - center) / scale, (len(SEEDS), *pixels.shape))
    held_out = (np.concatenate([part[0] for part in parts]) - center) / scale
    truth = np.concatenate([part[1] for part in parts])

    def losses(params: Any, x: Any, y: Any, masks: Any) -> Any:
        return cross_entropy(net.logits(params, x, masks), y, reduction="none")

    rows = [
        minibatch_rows(len(labels), batch_size=BATCH, steps=STEPS, rng=np.random.default_rng(s))
        for s in SEEDS
    ]
    draw, (init, update) = np.random.default_rng([*SEEDS, 4]), OPTIMIZERS["sgd"]
    state = init(params)
    for batch in np.stack(rows, axis=1):  # (seeds, BATCH)
        masks = net.masks(draw, BATCH)
        value, pullback = vjp(losses, params, x=x[0][batch], y=labels[batch], masks=masks)
        (grads,) = pullback(np.full(value.shape, 1 / BATCH))
        updates, state = update(grads, state, params, lr=LR, momentum=0.9)
        params = apply_updates(params, updates)
    tests = np.broadcast_to(held_out, (len(SEEDS), *held_out.shape))
    targets = np.broadcast_to(truth, (len(SEEDS), len(truth)))
    loss, right = net.measure(params, tests, targets)
    ratios = [(met / kept).mean() for met, kept in zip(net.met, net.var, strict=True)]
    net.estimate(params, x)
    again, right_again = net.measure(params, tests, targets)
    return {
        "ratios": [float(ratio) for ratio in ratios],
        "loss": loss.tolist(),
        "right": right.tolist(),
        "loss_again": again.tolist(),
        "right_again": right_again.tolist(),
    }


SWEEP = Sweep(
    run=run,
    grid=[
        {"depth": depth, "place": place, "p": p}
        for depth in DEPTHS
        for place in PLACES
        for p in DROPS
    ],
    rtol=0.02,  # training amplifies rounding
)
