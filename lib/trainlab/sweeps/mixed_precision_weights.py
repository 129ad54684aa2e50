"""The digits with weights that are stored in 16 bits: without master weights, and with.

A ReLU network reads and writes a format everywhere. Its weights are kept in FP32 (master weights,
of which the network gets a rounded copy), or in the format itself, with each sum of weight and
update rounded to the nearest or at random. Networks of all seeds and learning rates are trained
together: their arrays are stacked along a first axis, and each is what it would be alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..activations import relu
from ..classification import cross_entropy
from ..datasets import digits
from ..differentiation import vjp
from ..formats import FORMATS, FP32
from ..mixed_precision import cast, cast_tree, rounded_update
from . import Sweep
from ._side_by_side import _batches, _drawn

SIZES, BATCH, STEPS = (64, 32, 32, 10), 32, 320
SEEDS = (0, 1, 2, 3)
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
STORES = ("master", "nearest", "stochastic")


def run(format: str, store: str, steps: int = STEPS) -> dict[str, Any]:
    """Train with SGD at every learning rate from every seed.

    Results: `accuracy` on the validation digits and `loss` on all training digits at the end, a
    list of learning rates each, with one number a seed.
    """
    fmt = FORMATS[format]
    pairs = [(rate, seed) for rate in RATES for seed in SEEDS]
    rates = np.array([rate for rate, _ in pairs])[:, None, None]
    x, labels = digits(part="train")
    x_test, labels_test = digits(part="validation")
    x, x_test = (x - 0.3) / 0.37, (x_test - 0.3) / 0.37
    rows = _batches([seed for _, seed in pairs], len(x), batch_size=BATCH, steps=steps)
    drawn = _drawn((seed for _, seed in pairs), SIZES)
    params = cast_tree(drawn, FP32)
    kept = FP32 if store == "master" else fmt
    params = cast_tree(params, kept)
    rng = np.random.default_rng(1) if store == "stochastic" else None

    def losses(params: Any, x: Any, labels: Any) -> Any:
        h = cast(x, fmt)
        for i, layer in enumerate(params):
            weight, bias = cast(layer["weight"], fmt), cast(layer["bias"], fmt)
            h = cast(h @ weight + bias, fmt)
            h = relu(h) if i < len(params) - 1 else h
        return cross_entropy(h, labels, reduction="none")

    for now in rows:
        values, pullback = vjp(losses, params, x=x[now], labels=labels[now])
        (grads,) = pullback(np.full(values.shape, 1 / BATCH))
        updates = [{k: -rates * g for k, g in layer.items()} for layer in grads]
        params = rounded_update(params, updates, fmt=kept, rng=rng)
    shape = (len(RATES), len(SEEDS))
    h = cast(x_test, fmt)
    final = losses(params, x, np.broadcast_to(labels, (len(pairs), len(labels)))).mean(axis=1)
    for i, layer in enumerate(cast_tree(params, fmt)):
        h = cast(h @ layer["weight"] + layer["bias"], fmt)
        h = relu(h) if i < len(params) - 1 else h
    right = np.mean(np.argmax(h, axis=-1) == labels_test, axis=1)
    return {"accuracy": right.reshape(shape).tolist(), "loss": final.reshape(shape).tolist()}


SWEEP = Sweep(
    run=run,
    grid=[{"format": name, "store": store} for name in ("BF16", "FP16") for store in STORES],
)
