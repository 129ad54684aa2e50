"""A network for the digits with fewer and fewer weights: which go, and what training comes after.

A perceptron 64-128-64-10 learns from 1,000 digits and is tested on the other 797. Biases are not
pruned. A seed decides the split, the first weights, the batches and random masks, whatever the
method, so networks can be compared in pairs. Those of all seeds are trained together, stacked
along a first axis. A pruned weight is multiplied by 0 in the loss: its gradient is 0, and the
optimizer, which starts anew after each pruning, leaves it where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..activations import relu
from ..classification import cross_entropy
from ..combinations import paired_interval
from ..datasets import digits
from ..differentiation import value_and_grad
from ..pruning import apply_masks, magnitude_masks, n_m_mask, random_masks, structured_mask
from ..training import train
from ..trees import tree_map
from . import Sweep, stored_run
from ._side_by_side import _batches, _drawn

Array = NDArray[Any]
Masks = list[Array]  # of each layer, (seeds, in, out)

SIZES = (64, 128, 64, 10)
COUNT, BATCH = 1000, 50
EPOCHS, MORE = 20, 5  # of training from first weights; of training after pruning
LR = 2e-3
SEEDS = tuple(range(6))
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
METHODS = (
    "one_shot",  # the smallest weights go; nothing is trained after
    "tuned",  # ... trained for MORE epochs after
    "long",  # ... trained as long as "iterative" was altogether
    "iterative",  # from one sparsity to the next, MORE epochs each
    "random",  # any weights, MORE epochs
    "units",  # whole units, MORE epochs
    "small",  # as few units from the start, EPOCHS
    "ticket",  # the kept ones start again from their first values, EPOCHS, and so on
    "redrawn",  # the ticket's masks with new first weights, EPOCHS
)
CRITERIA = ("magnitude", "layer", "inputs", "gradient", "random", "n_m")


class _Task(NamedTuple):
    """Examples, batches and first weights, stacked over seeds."""

    x: Array
    labels: Array
    x_test: Array
    labels_test: Array
    params: list[dict[str, Array]]


def _draw(seeds: Sequence[int], sizes: Sequence[int], stream: int) -> list[dict[str, Array]]:
    return _drawn(([seed, stream] for seed in seeds), sizes)


def _task(seeds: Sequence[int]) -> _Task:
    pixels, labels = digits()
    orders = [np.random.default_rng([seed, 0]).permutation(len(labels)) for seed in seeds]
    order = np.stack(orders)
    seen, rest = order[:, :COUNT], order[:, COUNT:]
    return _Task(pixels[seen], labels[seen], pixels[rest], labels[rest], _draw(seeds, SIZES, 1))


def _weights(params: Any) -> list[Array]:
    return [layer["weight"] for layer in params]


def _logits(params: Any, x: Any, masks: Masks) -> Any:
    for k, (layer, mask) in enumerate(zip(params, masks, strict=True)):
        x = (relu(x) if k else x) @ (layer["weight"] * mask) + layer["bias"]
    return x


def _trained(
    task: _Task, seeds: Sequence[int], params: Any, masks: Masks, epochs: int, stream: int
) -> Any:
    """Train all networks with their masks; `stream` names the batches."""
    steps, run = epochs * COUNT // BATCH, np.arange(len(seeds))[:, None]
    rows = _batches(seeds, COUNT, batch_size=BATCH, steps=steps, stream=(2, stream))

    def loss(params: Any, x: Array, labels: Array) -> Any:
        return cross_entropy(_logits(params, x, masks), labels, reduction="sum") / BATCH

    batches = ((task.x[run, r], task.labels[run, r]) for r in rows)
    return train(loss, params, batches=batches, lr=LR, optimizer="adam").params


def _accuracy(task: _Task, params: Any, masks: Masks) -> list[float]:
    right = np.argmax(_logits(params, task.x_test, masks), axis=-1) == task.labels_test
    return [float(v) for v in right.mean(axis=1)]


def _each(weights: list[Array], rule: Any) -> Masks:
    """Apply a rule to the weights of each network alone; stack its masks."""
    seeds = range(len(weights[0]))
    found = [rule([w[i] for w in weights], i) for i in seeds]
    return [np.stack(same) for same in zip(*found, strict=True)]


def _dense(params: Any) -> Masks:
    return [np.ones(w.shape, bool) for w in _weights(params)]


@lru_cache(maxsize=1)
def _start(seeds: tuple[int, ...]) -> tuple[_Task, Any]:
    """Draw the data and train the networks that are pruned."""
    task = _task(seeds)
    return task, _trained(task, seeds, task.params, _dense(task.params), EPOCHS, 0)


def kept_units(sparsity: float) -> tuple[int, int]:
    """Units of both hidden layers, in equal shares, that leave this sparsity of the weights."""
    a, b, c, d = SIZES
    left = (1 - sparsity) * (a * b + b * c + c * d)
    # With the share k of the units, a·b·k + b·c·k² + c·d·k weights are left.
    linear, square = a * b + c * d, b * c
    k = (np.sqrt(linear**2 + 4 * square * left) - linear) / (2 * square)
    return max(1, round(float(k) * b)), max(1, round(float(k) * c))


def _unit_masks(weights: list[Array], sparsity: float) -> Masks:
    """Keep the hidden units with the largest weights that come in, and their weights out."""

    def rule(layers: list[Array], _: int) -> list[Array]:
        masks = [np.ones(w.shape, bool) for w in layers]
        for k, kept in enumerate(kept_units(sparsity)):
            mask = structured_mask(layers[k], 1 - kept / layers[k].shape[1], axis=1)
            masks[k] &= mask
            masks[k + 1] &= np.any(mask, axis=0, keepdims=True).T
        return masks

    return _each(weights, rule)


def _one(method: str, sparsity: float, rung: int, seeds: tuple[int, ...]) -> list[float]:
    """Accuracies at one sparsity, of a method that needs no others."""
    task, dense = _start(seeds)
    if method == "small":
        params = _draw(seeds, (SIZES[0], *kept_units(sparsity), SIZES[-1]), 3)
        masks = _dense(params)
        return _accuracy(task, _trained(task, seeds, params, masks, EPOCHS, 0), masks)
    weights = _weights(dense)
    if method == "units":
        masks = _unit_masks(weights, sparsity)
    elif method == "random":
        masks = _each(
            weights,
            lambda w, i: random_masks(w, sparsity, rng=np.random.default_rng([seeds[i], 4])),
        )
    else:
        masks = _each(weights, lambda w, i: magnitude_masks(w, sparsity))
    epochs = {"one_shot": 0, "long": MORE * (rung + 1)}.get(method, MORE)
    return _accuracy(task, _trained(task, seeds, _pruned(dense, masks), masks, epochs, 1), masks)


def _pruned(params: Any, masks: Masks) -> Any:
    return [
        layer | {"weight": apply_masks(layer["weight"], mask)}
        for layer, mask in zip(params, masks, strict=True)
    ]


def _ladder(method: str, seeds: tuple[int, ...]) -> list[list[float]]:
    """Accuracies at all sparsities of a method that goes from one to the next."""
    task, params = _start(seeds)
    masks, found = _dense(params), []
    for rung, sparsity in enumerate(SPARSITIES):
        old = masks

        def rule(w: list[Array], i: int, s: float = sparsity, old: Masks = old) -> Any:
            return magnitude_masks(w, s, previous=[m[i] for m in old])

        masks = _each(_weights(params), rule)
        if method == "iterative":
            params = _trained(task, seeds, _pruned(params, masks), masks, MORE, rung + 1)
            found.append(_accuracy(task, params, masks))
            continue
        params = _trained(task, seeds, _pruned(task.params, masks), masks, EPOCHS, 0)
        if method == "ticket":
            found.append(_accuracy(task, params, masks))
        else:
            drawn = _pruned(_draw(seeds, SIZES, 5), masks)
            found.append(_accuracy(task, _trained(task, seeds, drawn, masks, EPOCHS, 0), masks))
    return found


def _scores(task: _Task, dense: Any, criterion: str) -> list[Array]:
    """Say what each weight is worth, (seeds, in, out)."""
    weights = [np.abs(w) for w in _weights(dense)]
    if criterion == "inputs":  # |w| times the norm of its input
        x, found = task.x, []
        for layer, w in zip(dense, weights, strict=True):
            found.append(w * np.sqrt(np.square(x).mean(axis=1))[:, :, None])
            x = relu(x @ layer["weight"] + layer["bias"])
        return found
    if criterion == "gradient":  # w² times the mean square of its gradient (diagonal Fisher)
        squares = [np.zeros(w.shape) for w in weights]
        masks, groups = _dense(dense), 100

        def loss(params: Any, x: Array, labels: Array) -> Any:
            return cross_entropy(_logits(params, x, masks), labels, reduction="sum") * groups

        for rows in np.array_split(np.arange(COUNT), groups):
            _, grads = value_and_grad(loss)(dense, task.x[:, rows], task.labels[:, rows])
            squares = tree_map(lambda s, g: s + g * g, squares, _weights(grads))
        return [w * w * s for w, s in zip(weights, squares, strict=True)]
    return weights


def _criterion(criterion: str, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Prune at once by a criterion, train nothing; also where in the image weights are left."""
    task, dense = _start(seeds)
    scores = _scores(task, dense, criterion)
    accuracy, pixels = [], []
    for sparsity in SPARSITIES:

        def rule(s: list[Array], i: int, sparsity: float = sparsity) -> Any:
            if criterion == "random":
                return random_masks(s, sparsity, rng=np.random.default_rng([seeds[i], 4]))
            if criterion == "n_m":  # 2 of 4 inputs of each unit
                return [n_m_mask(w, axis=0) for w in s]
            if criterion == "inputs":  # each unit ranks its own inputs
                return [np.stack([magnitude_masks(c, sparsity) for c in w.T], axis=1) for w in s]
            scope = "tensor" if criterion == "layer" else "global"
            return magnitude_masks(s, sparsity, scope=scope)

        masks = _each(scores, rule)
        accuracy.append(_accuracy(task, dense, masks))
        pixels.append(masks[0].mean(axis=(0, 2)).tolist())
        if criterion == "n_m":  # that is half of the weights, always
            tuned = _trained(task, seeds, _pruned(dense, masks), masks, MORE, 1)
            return {
                "accuracy": accuracy,
                "pixels": pixels,
                "tuned": _accuracy(task, tuned, masks),
            }
    return {"accuracy": accuracy, "pixels": pixels}


def _removed_energy(weights: list[Array], sparsity: float) -> float:
    """Share of the sum of squares that magnitude pruning removes, mean over seeds."""
    masks = _each(weights, lambda w, i: magnitude_masks(w, sparsity))
    gone = sum(np.where(m, 0, w * w).sum(axis=(1, 2)) for w, m in zip(weights, masks, strict=True))
    return float(np.mean(gone / sum(np.square(w).sum(axis=(1, 2)) for w in weights)))


def run(method: str, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Accuracy of each sparsity and seed: of a method, or ``"by ..."`` a criterion at once.

    Criteria also give `pixels`: the share of the weights on each of 64 pixels that is left, mean
    over the seeds; ``"by n_m"`` the accuracies `tuned` with MORE epochs. ``"dense"`` gives what was
    there before, and the share `removed` of the sum of squares by sparsity.
    """
    chosen = tuple(seeds)
    if method.startswith("by "):
        return _criterion(method.removeprefix("by "), chosen)
    if method == "dense":
        task, dense = _start(chosen)
        return {
            "accuracy": [_accuracy(task, dense, _dense(dense))],
            "removed": [_removed_energy(_weights(dense), s) for s in SPARSITIES],
        }
    if method in ("iterative", "ticket", "redrawn"):
        return {"accuracy": _ladder(method, chosen)}
    return {"accuracy": [_one(method, s, rung, chosen) for rung, s in enumerate(SPARSITIES)]}


# Some hundred steps amplify the rounding of another processor, and answers may tip over.
SWEEP = Sweep(
    run=run,
    grid=[{"method": m} for m in ("dense", *METHODS, *(f"by {c}" for c in CRITERIA))],
    rtol=0.02,
)


def accuracies(method: str) -> Array:
    """Stored accuracies of a method, (sparsities, seeds)."""
    return np.array(stored_run("pruning_digits", method=method)["accuracy"])


def paired(method: str, other: str, sparsity: float) -> tuple[float, float]:
    """Mean gain in accuracy of a method over another, and half its 95 % interval."""
    at = SPARSITIES.index(sparsity)
    gains = accuracies(method)[at] - accuracies(other)[0 if other == "dense" else at]
    interval = paired_interval(gains)
    return interval.mean, interval.high - interval.mean
