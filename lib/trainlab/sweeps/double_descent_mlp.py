"""Small networks of growing width on the digits, trained until nothing changes any more.

Some labels are wrong, in the training and in the validation examples; the test examples have the
right ones. Each network is looked at after the last epoch, and at the epoch with the smallest
validation loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets import digits, flip_labels
from ..differentiation import vjp
from ..mlp import mlp_init
from ..optimizers import OPTIMIZERS, apply_updates
from . import Sweep
from ._side_by_side import _batches, _logits, _losses

Array = NDArray[Any]

EXAMPLES, BATCH, EPOCHS, LR, SEEDS = 500, 100, 500, 5e-3, range(5)
NOISE = (0.0, 0.2, 0.4)
# Narrow networks are trained together: most of a step is then arithmetic.
GROUPS = ((3, 4, 6, 8), (10, 12, 16), (24, 32), (64,), (128,))
WIDTHS = tuple(width for group in GROUPS for width in group)
WATCHED = np.unique(np.geomspace(1, EPOCHS, 40).round().astype(int)).tolist()  # epochs


def _data(seed: int, noise: float) -> dict[str, tuple[Array, Array]]:
    """Centered digits: 500 to train on, 300 to validate with, and the 997 others."""
    pixels, labels = digits(part="train")
    center, scale = pixels.mean(axis=0), pixels.std()
    rng = np.random.default_rng([seed, 2])
    order = rng.permutation(len(pixels))
    held_out, held_out_labels = digits(part="validation")
    kept, kept_labels = digits(part="test")
    mine, rest = order[:EXAMPLES], order[EXAMPLES:]
    parts = {
        "train": (pixels[mine], _flip(labels[mine], noise, rng)),
        "validation": (held_out, _flip(held_out_labels, noise, rng)),
        "test": (np.r_[pixels[rest], kept], np.r_[labels[rest], kept_labels]),
    }
    return {k: (((x - center) / scale).astype(np.float32), y) for k, (x, y) in parts.items()}


def _flip(labels: Array, noise: float, rng: np.random.Generator) -> Array:
    return flip_labels(labels, fraction=noise, classes=10, rng=rng)


def _draw(widths: tuple[int, ...], seeds: Any) -> dict[str, Array]:
    """First weights of all networks, a seed after the other.

    Narrow ones are filled up with units whose weights are 0: these stay 0 in training.
    """
    params: dict[str, list[Array]] = {"in": [], "b": [], "out": [], "c": []}
    for seed in seeds:
        for width in widths:
            rng = np.random.default_rng(seed)
            first, last = mlp_init((64, width, 10), rng=rng, dtype=np.float32)
            more = max(widths) - width
            params["in"].append(np.pad(first["weight"].T, ((0, 0), (0, more))))
            params["b"].append(np.pad(first["bias"], (0, more))[None])
            params["out"].append(np.pad(last["weight"].T, ((0, more), (0, 0))))
            params["c"].append(last["bias"][None])
    return {name: np.stack(each) for name, each in params.items()}


def run(widths: list[int], noise: float) -> dict[str, Any]:
    """Train all widths and seeds at once.

    Lists with an entry a width hold the five networks: training error, test error and test loss
    after the last epoch, the epoch of the smallest validation loss, test error and loss there.
    `train_path` and `path` are the means of training and test error over the networks, at the
    epochs of `WATCHED`.
    """
    params = _draw(tuple(widths), SEEDS)
    sets = [_data(seed, noise) for seed in SEEDS]
    stacked = {
        part: tuple(np.stack([s[part][i] for s in sets for _ in widths]) for i in (0, 1))
        for part in sets[0]
    }
    x, labels = stacked["train"]
    every = EXAMPLES // BATCH
    seeds = [seed for seed in SEEDS for _ in widths]
    rows = _batches(seeds, EXAMPLES, batch_size=BATCH, steps=EPOCHS * every)
    each = np.arange(len(seeds))[:, None]
    adam = OPTIMIZERS["adam"]
    state, found = adam.init(params), []
    for step, now in enumerate(rows, start=1):
        losses, pullback = vjp(_losses, params, x=x[each, now], labels=labels[each, now])
        (grads,) = pullback(np.full(losses.shape, 1 / BATCH, losses.dtype))
        updates, state = adam.update(grads, state, params, lr=LR)
        params = apply_updates(params, updates)
        if step % every == 0 and step // every in WATCHED:
            found.append([_look(params, *stacked[part]) for part in stacked])
    return _summary(np.array(found).reshape(len(found), 3, 2, len(SEEDS), len(widths)))


def _look(params: Any, x: Array, labels: Array) -> list[Array]:
    """Error and loss of each network."""
    wrong = _logits(params, x).argmax(axis=-1) != labels
    return [wrong.mean(axis=1), np.asarray(_losses(params, x, labels)).mean(axis=1)]


def _summary(found: Array) -> dict[str, Any]:
    """From (watched, part, error and loss, seeds, widths)."""
    train, validation, test = found.transpose(1, 2, 4, 3, 0)  # (2, widths, seeds, watched)
    stop = validation[1].argmin(axis=-1)[..., None]
    error, loss = (np.take_along_axis(t, stop, axis=-1)[..., 0] for t in test)
    return {
        "train_error": train[0, ..., -1].tolist(),
        "error": test[0, ..., -1].tolist(),
        "loss": test[1, ..., -1].tolist(),
        "stop": np.array(WATCHED)[stop[..., 0]].tolist(),
        "stopped_error": error.tolist(),
        "stopped_loss": loss.tolist(),
        "train_path": train[0].mean(axis=1).tolist(),
        "path": test[0].mean(axis=1).tolist(),
    }


SWEEP = Sweep(
    run=run,
    grid=[{"widths": list(widths), "noise": noise} for noise in NOISE for widths in GROUPS],
    # Networks that learn wrong labels by heart amplify a difference in rounding.
    rtol=0.1,
)
