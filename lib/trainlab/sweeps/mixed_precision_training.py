"""The digits in three formats, with small gradients, under three kinds of loss scaling.

A ReLU network learns 200 digits by full-batch SGD, once with its loss as it is and then with the
loss times 2^-k and the learning rate times 2^k: the same training, on smaller gradients. What is
small in a large network (long means, deep paths, little weight on a part of the loss) is made
small here by hand, because this network's own gradients fit FP16.

Products read and write the format, loss and master weights are in FP32. Sums are formed in
float64 and then rounded, so that the result does not depend on the order in which a processor adds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..activations import relu
from ..classification import cross_entropy
from ..datasets import digits
from ..differentiation import value_and_grad
from ..formats import BF16, E4M3, E5M2, FP16, FP32, Format, round_to
from ..layers import linear
from ..loss_scaling import (
    LossScale,
    ScaledState,
    all_finite,
    loss_scale_update,
    scaled_update,
)  # fmt: skip
from ..mixed_precision import cast, rounded_update
from ..mlp import mlp_init
from ..trees import tree_map
from . import Sweep

SIZES, COUNT, STEPS, LR = (64, 32, 32, 10), 200, 200, 0.5
EVERY = 5  # losses are kept at each fifth step
INTERVAL = 10  # good steps until a dynamic scale grows; PyTorch's default is 2000
FIRST = 24  # log2 of the first dynamic scale

# Of values, of gradients.
FORMATS: dict[str, tuple[Format, Format]] = {
    "FP32": (FP32, FP32),
    "FP16": (FP16, FP16),
    "BF16": (BF16, BF16),
    "FP8": (E4M3, E5M2),
}
SHRINKS = (0, 8, 12, 16, 20)
SCALERS = ("none", "8", "16", "dynamic")  # numbers: log2 of a static scale


def network(params: Any, x: Any, values: Format, gradients: Format) -> Any:
    """Evaluate the network: what enters a product is rounded, and so are all gradients."""

    def rounded(v: Any) -> Any:
        return cast(v, values, cotangent_fmt=gradients)

    def dense(layer: Any, x: Any) -> Any:
        weight, bias = rounded(layer["weight"]), rounded(layer["bias"])
        return rounded(linear(x, weight, bias=bias))

    h = rounded(x)
    for layer in params[:-1]:
        h = relu(dense(layer, h))
    return dense(params[-1], h)


def _first(seed: int) -> Any:
    drawn = mlp_init(SIZES, rng=np.random.default_rng(seed))
    return tree_map(lambda w: round_to(w, FP32), drawn)


def _first_scale(scaler: str) -> LossScale:
    power = {"none": 0, "dynamic": FIRST}.get(scaler, scaler)
    return LossScale(2.0 ** int(power), 0)


def scales(scaler: str, skipped: Sequence[int]) -> list[float]:
    """Return log2 of the scale at each step, which follows from the steps that were skipped."""
    state, powers = _first_scale(scaler), []
    for step in range(STEPS):
        powers.append(math.log2(state.scale))
        if scaler == "dynamic":
            state = loss_scale_update(state, finite=step not in skipped, growth_interval=INTERVAL)
    return powers


def run(format: str, k: int, scaler: str, seed: int = 0) -> dict[str, Any]:
    """Train one network on a loss 2^-k times as large, with a rate 2^k times as large.

    Results: `loss` at each fifth step, without the factor 2^-k; `skipped`, the steps that
    overflowed; `zero`, the share of the weights whose first gradient is zero; `accuracy` on the
    validation digits.
    """
    values, gradients = FORMATS[format]
    x, labels = digits(part="train")
    x, labels = (x[:COUNT] - 0.3) / 0.37, labels[:COUNT]
    x_test, labels_test = digits(part="validation")
    params, plain = _first(seed), lambda g, state, p: (tree_map(lambda v: -rate * v, g), state)
    rate = LR * 2.0**k
    state = ScaledState(None, _first_scale(scaler))
    losses, skipped, zero = [], [], 0.0

    def loss(params: Any, scale: float) -> Any:
        logits = network(params, x, values, gradients)
        value = cross_entropy(logits, labels)
        return value * (scale * 2.0**-k), value

    gradient = value_and_grad(loss, has_aux=True)
    for step in range(STEPS + 1):
        scale = state.loss_scale.scale
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the gradients
            (_, value), grads = gradient(params, scale)
        if step % EVERY == 0:
            losses.append(float(getattr(value, "value", value)))
        if step == STEPS:
            break
        updates, state = scaled_update(
            grads, state, params, update=plain, dynamic=scaler == "dynamic",
            growth_interval=INTERVAL,
        )  # fmt: skip
        if not all_finite(grads):
            skipped.append(step)
        if step == 0:
            zero = float(np.mean(np.concatenate([g["weight"].ravel() for g in grads]) == 0))
        params = rounded_update(params, updates, fmt=FP32)
    test = network(params, (x_test - 0.3) / 0.37, values, gradients)
    return {
        "loss": losses,
        "skipped": skipped,
        "zero": zero,
        "accuracy": float(np.mean(np.argmax(test, axis=1) == labels_test)),
    }


SWEEP = Sweep(
    run=run,
    grid=[{"format": "FP32", "k": 0, "scaler": "none"}]
    + [
        {"format": name, "k": k, "scaler": scaler}
        for name in ("FP16", "BF16", "FP8")
        for k in SHRINKS
        for scaler in SCALERS
    ],
)
