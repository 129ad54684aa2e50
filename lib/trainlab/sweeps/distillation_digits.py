"""Small networks that learn the digits from labels, or from the probabilities of a large teacher.

The teacher is the mean of the logits of five networks of 128 hidden units. A student has one hidden
layer of 8 or 32 units and sees 100, 300 or 1,000 of the training digits. Students of all seeds
are trained at once; a seed has the same first weights, examples and batches whatever it learns
from, so that students can be compared in pairs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classification import cross_entropy
from ..datasets import digits
from ..differentiation import vjp
from ..distillation import distillation_loss
from ..optimizers import OPTIMIZERS, apply_updates
from . import Sweep, stored_run
from ._side_by_side import _batches, _logits, _stacked

Array = NDArray[Any]

SEEDS = tuple(range(8))
MEMBERS, TEACHER_WIDTH, TEACHER_LR, TEACHER_STEPS = 5, 128, 3e-3, 300
LR, BATCH, STEPS, SMOOTHING = 5e-3, 50, 400, 0.1
ALL = 1000  # digits that the teacher is trained on
COUNTS, WIDTHS, TEMPERATURES = (100, 300, ALL), (8, 32), (1.0, 2.0, 4.0, 8.0, 20.0)

# What a student learns from: labels, smoothed labels, or a teacher. The teacher learned from 1,000
# labels ("all"), from those of the student's own digits ("same"), from smoothed ones ("smoothed"),
# or from 1,000 labels, and then its logits of the wrong classes were shuffled ("shuffled").
LABELS, TEACHERS = ("labels", "smooth labels"), ("all", "same", "smoothed", "shuffled")


def _train(
    params: Any, x: Array, targets: Array, loss: Any, *, rows: Array, lr: float
) -> dict[str, Array]:
    """Train networks side by side; x and targets have the shape (runs, examples, ...)."""
    each, adam = np.arange(len(x))[:, None], OPTIMIZERS["adam"]
    state = adam.init(params)
    for row in rows:
        logits, pull = vjp(_logits, params, x=x[each, row])
        _, pull_loss = vjp(loss, logits, targets=targets[each, row])
        (grads,) = pull(pull_loss(float(len(x)))[0])  # the loss is a mean over runs, too
        updates, state = adam.update(grads, state, params, lr=lr)
        params = apply_updates(params, updates)
    return dict(params)


def _chosen(seed: int, count: int) -> Array:
    return np.random.default_rng([seed, 31]).permutation(ALL)[:count]


def _rows(seeds: Any, count: int, steps: int) -> Array:
    return _batches(seeds, count, batch_size=BATCH, steps=steps, stream=(32,))


@lru_cache(maxsize=1)
def teacher(rows: tuple[int, ...], smoothing: float) -> dict[str, Array]:
    """Train five networks on these rows of the training digits."""
    x, y = digits(part="train")
    x, y = x[list(rows)], y[list(rows)]
    return _train(
        _stacked(range(100, 100 + MEMBERS), (64, TEACHER_WIDTH, 10)),
        np.broadcast_to(x, (MEMBERS, *x.shape)),
        np.broadcast_to(y, (MEMBERS, *y.shape)),
        lambda z, targets: cross_entropy(z, targets, label_smoothing=smoothing),
        rows=_rows(range(100, 100 + MEMBERS), len(x), TEACHER_STEPS),
        lr=TEACHER_LR,
    )


def teacher_logits(params: Any, x: Array) -> Array:
    """Return the mean of the members' logits."""
    return np.asarray(np.asarray(_logits(params, x)).mean(axis=0))


def shuffle_wrong(logits: Array, labels: Array, rng: np.random.Generator) -> Array:
    """Give each example the logits of its wrong classes in another order."""
    out = logits.copy()
    wrong = np.arange(logits.shape[1]) != labels[:, None]
    out[wrong] = rng.permuted(logits[wrong].reshape(len(logits), -1), axis=1).ravel()
    return out


def held_out() -> tuple[Array, Array]:
    """Return pixels and labels of the 600 digits that no network is trained on."""
    (x, y), (more, more_labels) = digits(part="validation"), digits(part="test")
    return np.concatenate([x, more]), np.concatenate([y, more_labels])


def _accuracy(logits: Any, labels: Array) -> Array:
    return np.asarray((np.asarray(logits).argmax(axis=-1) == labels).mean(axis=-1))


def _taught(source: str, seed: int, rows: Array) -> tuple[Array, float]:
    """Return the teacher's logits for the student's digits, and its held-out accuracy."""
    x, y = digits(part="train")
    learned = tuple(sorted(rows.tolist())) if source == "same" else tuple(range(ALL))
    params = teacher(learned, SMOOTHING if source == "smoothed" else 0.0)
    pixels, labels = held_out()
    logits = teacher_logits(params, x[rows])
    if source == "shuffled":
        logits = shuffle_wrong(logits, y[rows], np.random.default_rng([seed, 33]))
    return logits, float(_accuracy(teacher_logits(params, pixels), labels))


def run(source: str, examples: int) -> dict[str, Any]:
    """Train students of all widths, temperatures and seeds; return their held-out accuracies.

    `w8` and `w32` have the shape (temperatures, seeds), with one row where there is no temperature.
    """
    x, y = digits(part="train")
    chosen = np.stack([_chosen(seed, examples) for seed in SEEDS])
    pixels, labels = held_out()
    taught = source in TEACHERS
    targets, accuracies = y[chosen], [0.0]
    if taught:
        made = [_taught(source, s, rows) for s, rows in zip(SEEDS, chosen, strict=True)]
        targets, accuracies = np.stack([m[0] for m in made]), [m[1] for m in made]
    rows, found = _rows(SEEDS, examples, STEPS), dict[str, Any]()
    for width in WIDTHS:
        found[f"w{width}"] = []
        for temperature in TEMPERATURES if taught else (1.0,):

            def loss(z: Any, targets: Any, temperature: float = temperature) -> Any:
                if taught:
                    return distillation_loss(z, targets, temperature=temperature)
                return cross_entropy(z, targets, label_smoothing=SMOOTHING * (source != "labels"))

            params = _train(
                _stacked(SEEDS, (64, width, 10)), x[chosen], targets, loss, rows=rows, lr=LR
            )
            found[f"w{width}"].append(_accuracy(_logits(params, pixels), labels).round(4).tolist())
    return found | {"teacher": round(float(np.mean(accuracies)), 4)}


SWEEP = Sweep(run=run, grid=[{"source": s, "examples": n} for s in LABELS + TEACHERS for n in COUNTS
                             if not (s == "same" and n == ALL)])  # fmt: skip


def accuracies(source: str, examples: int, width: int) -> tuple[Array, float]:
    """Return stored accuracies, (temperatures, seeds), and that of the teacher or 0.

    With all of the digits, the student's own labels are those of the teacher.
    """
    if source == "same" and examples == ALL:
        source = "all"
    made = stored_run("distillation_digits", source=source, examples=examples)
    return np.array(made[f"w{width}"]), float(made["teacher"])
