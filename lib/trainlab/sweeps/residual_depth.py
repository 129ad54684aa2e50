"""Plain and residual networks of 4 to 64 layers, trained on the digits.

All layers are alike, a branch W relu(h) + b of width 32 with He's variance; only how it is joined
to the stream differs. Each is trained with several learning rates, since the kinds want different
ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..activations import relu
from ..classification import cross_entropy
from ..datasets import digits
from ..normalization import layer_norm
from ..residual import plain_block, post_norm_block, pre_norm_block, residual_block
from ..training import minibatch_rows, train
from . import Sweep, stored_run

WIDTH, BATCH, STEPS, SEEDS = 32, 50, 200, (0, 1, 2)
KINDS = ("plain", "scaled", "pre", "post")
DEPTHS = (4, 8, 16, 32, 64)
RATES = (0.003, 0.01, 0.03)
LARGE_RATES = (0.1, 0.3)  # for the comparison of the two norms
SMALL_RATE = 0.001  # to see whether the two kinds that fail at 64 layers want a smaller one
WARMUP = 100
DIVERGED = 30.0  # nats, of three networks together; guessing gives 6.9


def _logits(kind: str, params: Any, x: Any) -> Any:
    """Evaluate the networks of all seeds; x has the shape (examples, 64)."""
    scale = 1 / math.sqrt(len(params["blocks"]))
    h = x @ params["into"]
    for weight, bias in params["blocks"]:

        def branch(z: Any, weight: Any = weight, bias: Any = bias) -> Any:
            return relu(z) @ weight + bias

        if kind == "plain":
            h = plain_block(h, branch)
        elif kind == "scaled":
            h = residual_block(h, branch, scale=scale)
        else:
            h = (pre_norm_block if kind == "pre" else post_norm_block)(h, branch)
    if kind == "pre":
        h = layer_norm(h)
    return relu(h) @ params["out"] + params["bias"]


def _draw(seed: int, depth: int) -> list[NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal((n, m)) * math.sqrt(gain / n)
        for n, m, gain in [(64, WIDTH, 1), *[(WIDTH, WIDTH, 2)] * depth, (WIDTH, 10, 1)]
    ]


def _accuracy(kind: str, params: Any, x: Any, labels: Any) -> NDArray[Any]:
    logits = np.asarray(_logits(kind, params, x))
    return np.asarray((logits.argmax(axis=-1) == labels).mean(axis=-1))


def run(kind: str, depth: int, lr: float, warmup: int) -> dict[str, Any]:
    """Train three seeds at once; return their losses and accuracies at the end.

    `accuracy` is on the validation examples, the others are on all training examples.
    """
    drawn = [np.stack(same) for same in zip(*(_draw(s, depth) for s in SEEDS), strict=True)]
    runs = len(SEEDS)
    params = {
        "into": drawn[0],
        "blocks": [(weight, np.zeros((runs, 1, WIDTH))) for weight in drawn[1:-1]],
        "out": drawn[-1],
        "bias": np.zeros((runs, 1, 10)),
    }
    pixels, labels = digits(part="train")
    center, scale = pixels.mean(axis=0), pixels.std()
    held_out, held_out_labels = digits(part="validation")
    x, held_out = (pixels - center) / scale, (held_out - center) / scale

    def loss(params: Any, x: Any, labels: Any, reduction: str = "sum") -> Any:
        """With "sum" that of all seeds, each a mean over its examples."""
        targets = np.broadcast_to(labels, (runs, len(labels)))
        total = cross_entropy(_logits(kind, params, x), targets, reduction=reduction)
        return total / len(labels) if reduction == "sum" else total

    rows = minibatch_rows(len(x), batch_size=BATCH, steps=STEPS, rng=np.random.default_rng(9))
    with np.errstate(all="ignore"):  # some runs diverge; they end at once
        done = train(
            loss,
            params,
            batches=((x[r], labels[r]) for r in rows),
            lr=lambda step: lr * min(1.0, (step + 1) / (warmup + 1)),
            momentum=0.9,
        )
        if len(done.losses) < STEPS or not done.losses[-1] < DIVERGED:
            return {"diverged": True, "train_loss": [], "train_accuracy": [], "accuracy": []}
        ends = np.asarray(loss(done.params, x, labels, "none")).mean(axis=1)
        right = _accuracy(kind, done.params, x, labels)
        held_out_right = _accuracy(kind, done.params, held_out, held_out_labels)
    return {
        "diverged": False,
        "train_loss": ends.tolist(),
        "train_accuracy": right.tolist(),
        "accuracy": held_out_right.tolist(),
    }


ALL: list[dict[str, Any]] = [
    {"kind": k, "depth": d, "lr": lr, "warmup": 0} for k in KINDS for d in DEPTHS for lr in RATES
]
NORMS: list[dict[str, Any]] = [
    {"kind": k, "depth": 16, "lr": lr, "warmup": 0} for k in ("pre", "post") for lr in LARGE_RATES
] + [{"kind": "post", "depth": 16, "lr": r, "warmup": WARMUP} for r in RATES + LARGE_RATES]
SMALL: list[dict[str, Any]] = [
    {"kind": k, "depth": 64, "lr": SMALL_RATE, "warmup": 0} for k in ("plain", "post")
]

# Deep plain networks amplify a difference in rounding.
SWEEP = Sweep(run=run, grid=ALL + NORMS + SMALL, rtol=0.05)


def best_run(kind: str, depth: int) -> Mapping[str, Any]:
    """Return the stored run of a network whose learning rate gave the smallest training loss."""
    runs = [stored_run("residual_depth", kind=kind, depth=depth, lr=r, warmup=0) for r in RATES]
    return min(runs, key=lambda made: np.mean(made["train_loss"] or math.inf))
