"""Many small networks trained on the digits at once: one array product serves all of them.

A loop over runs would spend its time in Python. Here the weights of all runs are stacked along a
first axis, so a step of twenty networks costs little more than a step of one. Every run is exactly
what it would be alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..activations import relu
from ..classification import cross_entropy
from ..datasets import digits
from ..differentiation import vjp
from ..mlp import mlp_init
from ..optimizers import OPTIMIZERS, apply_updates
from ..training import minibatch_rows

Array = NDArray[Any]

SIZES = (64, 32, 10)
DIVERGED = 30.0  # nats; a network that guesses is at 2.3


class SideBySide(NamedTuple):
    """Losses of all runs at the steps that were watched; accuracy at the end.

    Attributes
    ----------
    train, validation : array of shape (watched, runs)
        Loss on all training and on all validation examples; infinite once a run has diverged.
    accuracy : array of shape (runs,)
        Share of the validation examples that is right after the last step.
    """

    train: Array
    validation: Array
    accuracy: Array


def _logits(params: Any, x: Any) -> Any:
    """Evaluate all networks, each on its examples; x has the shape (runs, examples, 64)."""
    h = relu(x @ params["in"] + params["b"])
    return h @ params["out"] + params["c"]


def _losses(params: Any, x: Any, labels: Any) -> Any:
    return cross_entropy(_logits(params, x), labels, reduction="none")


def _layer(drawn: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """Put one layer of all networks into arrays: (runs, in, out) and (runs, 1, out)."""
    pairs = [(one["weight"].T, one["bias"][None]) for one in drawn]
    weights, biases = zip(*pairs, strict=True)
    return {"weight": np.stack(weights), "bias": np.stack(biases)}


def _drawn(seeds: Iterable[Any], sizes: Sequence[int]) -> list[dict[str, Array]]:
    """Draw the first weights of all networks, layer by layer; a seed may be a list of numbers."""
    nets = [mlp_init(sizes, rng=np.random.default_rng(seed)) for seed in seeds]
    return [_layer(same) for same in zip(*nets, strict=True)]


def _stacked(seeds: Any, sizes: tuple[int, ...] = SIZES) -> dict[str, Array]:
    first, last = _drawn(seeds, sizes)
    return {"in": first["weight"], "b": first["bias"], "out": last["weight"], "c": last["bias"]}


def _batches(
    seeds: Iterable[int], count: int, *, batch_size: int, steps: int, stream: tuple[int, ...] = (1,)
) -> Array:
    """Draw the rows of each step for all runs, (steps, runs, batch); a seed has its own."""
    rules = (np.random.default_rng([seed, *stream]) for seed in seeds)
    drawn = [minibatch_rows(count, batch_size=batch_size, steps=steps, rng=rng) for rng in rules]
    return np.stack(drawn, axis=1)


def train_side_by_side(
    rates: Array,
    *,
    seeds: Any,
    batch_size: int,
    watched: Any,
    optimizer: str = "sgd",
    **options: Any,
) -> SideBySide:
    """Train one network a column of `rates`, of shape (steps, runs); `seeds` has one a run.

    A seed decides first weights and batches. `watched` are the steps at which losses are
    evaluated, before the update; the number of steps stands for the end.
    """
    steps, runs = rates.shape
    pixels, labels = digits(part="train")
    checks = digits(part="validation")
    rows = _batches(seeds, len(labels), batch_size=batch_size, steps=steps)
    params, chosen = _stacked(seeds), OPTIMIZERS[optimizer]
    state, alive = chosen.init(params), np.ones(runs, bool)
    found: dict[str, list[Array]] = {"train": [], "validation": []}
    for step in range(steps + 1):
        if step in watched:
            for name, (x, y) in {"train": (pixels, labels), "validation": checks}.items():
                losses = _losses(params, x, np.broadcast_to(y, (runs, len(y)))).mean(axis=1)
                found[name].append(np.where(alive, losses, np.inf))
        if step == steps:
            break
        now = rows[step]
        losses, pullback = vjp(_losses, params, x=pixels[now], labels=labels[now])
        alive &= losses.mean(axis=1) < DIVERGED
        (grads,) = pullback(np.full(losses.shape, 1 / batch_size))
        # The learning rate is the last factor of every update, so each run can have its own.
        updates, state = chosen.update(grads, state, params, lr=1.0, **options)
        factor = (rates[step] * alive)[:, None, None]
        params = apply_updates(params, {k: u * factor for k, u in updates.items()})
    right = _logits(params, checks[0]).argmax(axis=-1) == checks[1]
    return SideBySide(
        np.array(found["train"]), np.array(found["validation"]), right.mean(axis=1) * alive
    )
