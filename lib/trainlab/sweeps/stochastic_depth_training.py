"""Residual networks trained on few digits, right labels and wrong ones, with and without dropping.

Sixteen residual blocks, no norm, trained as in the paper: a branch is dropped for the whole batch,
nothing is scaled in training, and at test time each branch is multiplied by the probability that it
survived. A seed means the same examples, wrong labels, first weights and batches whatever is
dropped, so runs can be compared in pairs. The networks of all seeds are trained together: their
arrays are stacked along a first axis, and a branch that is dropped is multiplied by zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..activations import relu
from ..classification import cross_entropy
from ..combinations import paired_interval
from ..datasets import digits, flip_labels
from ..mlp import residual_mlp_init
from ..stochastic_depth import drop_schedule, residual_stack
from ..training import minibatch_rows, train
from . import Sweep, stored_run
from ._side_by_side import _layer

Array = NDArray[Any]

DEPTH, WIDTH, BATCH, EPOCHS = 16, 32, 50, 30
LR, MOMENTUM = 0.01, 0.9
SEEDS = tuple(range(10))
COUNTS = (300, 1000)
NOISES = (0.0, 0.3)
DROPS = (0.0, 0.2, 0.5, 0.8)  # of the last branch; the paper's survival 1, 0.8, 0.5, 0.2


class _Task(NamedTuple):
    """Of one seed: examples with the labels that are given, the others, batches, first weights."""

    x: Array
    given: Array
    x_test: Array
    labels_test: Array
    rows: Array
    params: dict[str, Any]


def _task(n: int, noise: float, seed: int) -> _Task:
    pixels, labels = digits()
    order = np.random.default_rng([seed, 0]).permutation(len(labels))
    x = (pixels - 0.3) / 0.37  # about the mean and the standard deviation of a pixel
    seen, rest = order[:n], order[n:]
    flips, draws = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 3])
    given = flip_labels(labels[seen], fraction=noise, classes=10, rng=flips)
    first = residual_mlp_init(
        64, 10, width=WIDTH, depth=DEPTH, rng=np.random.default_rng([seed, 2])
    )
    rows = minibatch_rows(n, batch_size=BATCH, steps=EPOCHS * n // BATCH, rng=draws)
    return _Task(x[seen], given, x[rest], labels[rest], rows, first)


def _logits(params: Any, x: Any, **options: Any) -> Any:
    """Evaluate all networks, each on its examples; `options` are those of `residual_stack`.

    The first axis is that of the networks, so "row" draws one mask a network and batch.
    """

    def dense(layer: Any, h: Any) -> Any:
        return h @ layer["weight"] + layer["bias"]

    branches = [
        lambda h, up=block["up"], down=block["down"]: dense(down, relu(dense(up, h)))
        for block in params["blocks"]
    ]
    return dense(params["out"], residual_stack(dense(params["into"], x), branches, **options))


def _right(logits: Any, labels: Array) -> list[float]:
    return [float(v) for v in np.mean(np.argmax(logits, axis=-1) == labels, axis=1)]


def run(n: int, noise: float, p: float, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Train one network a seed with drop probability `p` of the last branch.

    Each result has one number a seed: `accuracy` and `loss` on the examples not trained on, whose
    labels are right; `train_accuracy` on the labels that were given; `unscaled`, the accuracy if
    the test pass multiplies by nothing.
    """
    tasks = [_task(n, noise, seed) for seed in seeds]
    x, given, x_test, labels_test, rows = (
        np.stack(arrays) for arrays in list(zip(*tasks, strict=True))[:5]
    )
    drawn = [t.params for t in tasks]
    params = {k: _layer([net[k] for net in drawn]) for k in ("into", "out")} | {
        "blocks": [
            {k: _layer([net["blocks"][i][k] for net in drawn]) for k in ("up", "down")}
            for i in range(DEPTH)
        ]
    }
    chances, masks = drop_schedule(DEPTH, p=p), np.random.default_rng(4)
    steps, run = rows.shape[1], np.arange(len(tasks))[:, None]

    def loss(params: Any, x: Array, labels: Array) -> Any:
        logits = _logits(params, x, p=chances, rng=masks, scaling="standard")
        return cross_entropy(logits, labels, reduction="sum") / labels.shape[1]

    done = train(
        loss,
        params,
        batches=((x[run, r], given[run, r]) for r in rows.swapaxes(0, 1)),
        lr=lambda step: LR * 0.5 * (1 + math.cos(math.pi * step / steps)),
        momentum=MOMENTUM,
    ).params
    rule = {"p": chances, "scaling": "standard"}
    logits = _logits(done, x_test, **rule)
    losses = np.asarray(cross_entropy(logits, labels_test, reduction="none")).mean(axis=1)
    return {
        "accuracy": _right(logits, labels_test),
        "loss": losses.tolist(),
        "train_accuracy": _right(_logits(done, x, **rule), given),
        "unscaled": _right(_logits(done, x_test, p=chances), labels_test),
    }


# Some hundred steps amplify the rounding of another processor, and answers may tip over.
SWEEP = Sweep(
    run=run,
    grid=[{"n": n, "noise": f, "p": p} for n in COUNTS[::-1] for f in NOISES for p in DROPS],
    rtol=0.02,
)


def paired(
    key: str, *, n: int, noise: float, p: float, other: str | None = None
) -> tuple[float, float]:
    """Mean difference between seeds' pairs and half its 95 % interval.

    Without `other`: result `key` with drop probability `p` less that with nothing dropped. With
    `other`: result `key` less result `other`, of the same networks.
    """
    made = stored_run("stochastic_depth_training", n=n, noise=noise, p=p)
    base = made if other else stored_run("stochastic_depth_training", n=n, noise=noise, p=0.0)
    gains = np.subtract(made[key], base[other or key])
    interval = paired_interval(gains)
    return interval.mean, interval.high - interval.mean
