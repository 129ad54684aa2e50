"""Digits with wrong labels: losses and accuracies after every epoch, for runs that go on too long.

Validation labels are wrong as often as training labels, as they are where both come from one
source. Test labels are right. The networks of all seeds are stacked along a first axis and trained
at once; each is what it would be alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..datasets import digits, flip_labels
from ..differentiation import vjp
from ..optimizers import OPTIMIZERS, apply_updates
from ..training import minibatch_rows
from . import Sweep
from ._side_by_side import _logits, _losses, _stacked

EXAMPLES, WIDTH, BATCH, LR, SEEDS = 400, 128, 40, 1.5e-3, (0, 1, 2, 3, 4, 5)
NOISE = (0.0, 0.2, 0.4)  # share of wrong labels
EPOCHS = 80


def run(noise: float) -> dict[str, Any]:
    """Train all seeds; return curves of shape (seeds, epochs), one value after each epoch.

    A seed decides the training examples, the wrong labels, the first weights and the batches.
    """
    runs = len(SEEDS)
    x, y = digits(part="train")
    held_out, held_out_labels = digits(part="validation")
    test, test_labels = digits(part="test")
    drawn: dict[str, list[Any]] = {"chosen": [], "train": [], "validation": [], "rows": []}
    for seed in SEEDS:
        rng = np.random.default_rng([seed, 7])
        chosen = rng.permutation(len(y))[:EXAMPLES]
        drawn["chosen"].append(chosen)
        for part, truth in (("train", y[chosen]), ("validation", held_out_labels)):
            drawn[part].append(flip_labels(truth, fraction=noise, classes=10, rng=rng))
        steps = EPOCHS * EXAMPLES // BATCH
        drawn["rows"].append(minibatch_rows(EXAMPLES, batch_size=BATCH, steps=steps, rng=rng))
    x, labels = x[np.stack(drawn["chosen"])], np.stack(drawn["train"])  # (runs, examples, ...)
    batches = np.stack(drawn["rows"], axis=1)  # (steps, runs, batch)
    each = np.arange(runs)[:, None]
    watched = {
        "validation": (held_out, np.stack(drawn["validation"])),
        "test": (test, np.broadcast_to(test_labels, (runs, len(test_labels)))),
    }
    params, adam = _stacked(SEEDS, (64, WIDTH, 10)), OPTIMIZERS["adam"]
    state = adam.init(params)
    curves: dict[str, list[Any]] = {"train_loss": []}
    for step, row in enumerate(batches):
        _, pullback = vjp(_losses, params, x=x[each, row], labels=labels[each, row])
        (grads,) = pullback(np.full((runs, BATCH), 1 / BATCH))
        updates, state = adam.update(grads, state, params, lr=LR)
        params = apply_updates(params, updates)
        if (step + 1) % (EXAMPLES // BATCH):
            continue
        curves["train_loss"].append(_losses(params, x, labels).mean(axis=1))
        for name, (pixels, truth) in watched.items():
            losses = _losses(params, pixels, truth).mean(axis=1)
            curves.setdefault(f"{name}_loss", []).append(losses)
            hits = _logits(params, pixels).argmax(axis=-1) == truth
            curves.setdefault(f"{name}_accuracy", []).append(hits.mean(axis=1))
    return {k: np.array(v).T.round(4).tolist() for k, v in curves.items()}


SWEEP = Sweep(run=run, grid=[{"noise": n} for n in NOISE])
