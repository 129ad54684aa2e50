"""What augmentation gains and costs on the digits: less data, more data, right and wrong labels.

A seed decides training examples, wrong labels, first weights and batches. These are the same for
all methods, so that their differences are paired: only what is done to a batch differs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..augmentation import (
    cutmix,
    flip_images,
    flip_matrix,
    input_noise,
    label_noise,
    mixup,
    shift_images,
)
from ..classification import cross_entropy
from ..datasets import digits
from ..differentiation import vjp
from ..optimizers import OPTIMIZERS, apply_updates
from ..softmax import softmax
from . import Sweep
from ._side_by_side import _batches, _logits, _losses, _stacked

Array = NDArray[Any]

METHODS = ("none", "noise", "shift", "flip", "rotate", "mixup", "cutmix")
SIZES = (100, 300, 1000)
WRONG = (0.0, 0.2, 0.4)
SEEDS = tuple(range(6))
WIDTH, BATCH, RATE = 64, 50, 0.005
STEPS = {100: 400, 300: 700, 1000: 1500}  # enough to fit right labels; wrong ones take longer
STD, ALPHA = 0.2, 0.4  # of the noise on the pixels; of mixup and cutmix
SIX, NINE = 6, 9


def augmented(
    method: str, x: Array, targets: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return pixels (runs, count, 64) and targets (runs, count, 10) as they are trained on."""
    runs, count, _ = x.shape
    if method == "noise":
        return input_noise(x, std=STD, rng=rng), targets
    if method in ("mixup", "cutmix"):
        # Runs as channels: all mix the same places of their own batches, by the same shares.
        images, mixing = x.swapaxes(0, 1).reshape(count, runs, 8, 8), targets.swapaxes(0, 1)
        mix = mixup if method == "mixup" else cutmix
        mixed = mix(images, mixing, alpha=ALPHA, rng=rng)
        return mixed.x.reshape(count, runs, 64).swapaxes(0, 1), mixed.targets.swapaxes(0, 1)
    images = x.reshape(runs * count, 1, 8, 8)
    if method == "shift":
        images = shift_images(images, pixels=1, rng=rng)
    elif method == "flip":
        images = flip_images(images, rng=rng)
    elif method == "rotate":
        turned = rng.random(len(images)) < 0.5
        images = np.where(turned[:, None, None, None], images[..., ::-1, ::-1], images)
    return images.reshape(x.shape), targets


def _examples(n: int, wrong: float, seed: int) -> tuple[Array, Array, Array]:
    """Draw pixels, labels as observed, and true labels."""
    pixels, labels = digits(part="train")
    rng = np.random.default_rng([seed, 2])
    rows = rng.permutation(len(labels))[:n]
    transition = flip_matrix(10, flip=wrong)
    return pixels[rows], label_noise(labels[rows], transition=transition, rng=rng), labels[rows]


def run(method: str, n: int, wrong: float) -> dict[str, Any]:
    """Train all seeds at once; each list has one number a seed.

    `accuracy`, `loss`, `confidence` (mean probability of the class that is chosen) and `swapped`
    (share of the 6 and 9 that are read as the other) are of 600 held-out digits with true labels;
    `off_center` is the accuracy on the same digits, each moved by up to one pixel.
    `memorized` is the share of the wrongly labeled training examples that are given their wrong
    label; `fitted` the accuracy on the rest.
    """
    runs = len(SEEDS)
    drawn = [_examples(n, wrong, seed) for seed in SEEDS]
    pixels, labels, true = (np.stack(same) for same in zip(*drawn, strict=True))
    rng = np.random.default_rng(3)
    rows = _batches(SEEDS, n, batch_size=BATCH, steps=STEPS[n])
    params, adam = _stacked(SEEDS, (64, WIDTH, 10)), OPTIMIZERS["adam"]
    state, onehot = adam.init(params), np.eye(10)[labels]
    for step in range(STEPS[n]):
        now = (np.arange(runs)[:, None], rows[step])
        x, targets = augmented(method, pixels[now], onehot[now], rng)
        losses, pullback = vjp(_losses, params, x=x, labels=targets)
        (grads,) = pullback(np.full(losses.shape, 1 / BATCH))
        lr = RATE * (1 + math.cos(math.pi * step / STEPS[n])) / 2
        updates, state = adam.update(grads, state, params, lr=lr)
        params = apply_updates(params, updates)
    return _measured(params, pixels, labels, true, runs)


def _measured(params: Any, pixels: Array, labels: Array, true: Array, runs: int) -> dict[str, Any]:
    parts = [digits(part="validation"), digits(part="test")]
    held_out, answers = (np.concatenate(same) for same in zip(*parts, strict=True))
    logits = np.asarray(_logits(params, held_out))
    chances = np.asarray(softmax(logits))
    chosen = logits.argmax(axis=-1)
    both = (answers == SIX) | (answers == NINE)
    losses = cross_entropy(logits, np.broadcast_to(answers, chosen.shape), reduction="none")
    moved = shift_images(held_out.reshape(-1, 1, 8, 8), pixels=1, rng=np.random.default_rng(4))
    off_center = np.asarray(_logits(params, moved.reshape(-1, 64))).argmax(axis=-1)
    own = np.asarray(_logits(params, pixels)).argmax(axis=-1)
    bad = labels != true
    hits, counts = own == labels, np.maximum(bad.sum(axis=1), 1)
    return {
        "accuracy": (chosen == answers).mean(axis=1).tolist(),
        "off_center": (off_center == answers).mean(axis=1).tolist(),
        "loss": np.asarray(losses).mean(axis=1).tolist(),
        "confidence": chances.max(axis=-1).mean(axis=1).tolist(),
        "swapped": (chosen[:, both] == SIX + NINE - answers[both]).mean(axis=1).tolist(),
        "memorized": ((hits & bad).sum(axis=1) / counts).tolist(),
        "fitted": ((hits & ~bad).sum(axis=1) / (~bad).sum(axis=1)).tolist(),
    }


GRID: list[dict[str, Any]] = [
    {"method": m, "n": n, "wrong": w} for m in METHODS for n in SIZES for w in WRONG
]

# Training amplifies rounding, and a share of 20 wrong labels moves by 1/20 at a time.
SWEEP = Sweep(run=run, grid=GRID, rtol=0.06)
