"""One small network on the digits, trained with any set of techniques, ten seeds at once.

The weights of all seeds are stacked along a first axis, as in `_side_by_side`. A seed decides the
split of the data, wrong labels, first weights, batches and mixing partners; masks are drawn for all
seeds at once. Every set of techniques meets the same ones, so that runs can be compared in pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..activations import relu
from ..augmentation import mixup
from ..classification import cross_entropy
from ..datasets import digits, flip_labels
from ..differentiation import vjp
from ..dropout import dropout, keep_mask
from ..mlp import mlp_init
from ..normalization import layer_norm
from ..optimizers import OPTIMIZERS, apply_updates
from ..training import minibatch_rows
from ..trees import tree_map
from ..weight_penalties import soft_threshold
from ._side_by_side import _layer

Array = NDArray[Any]

SIZES = (64, 32, 32, 32, 10)  # three hidden layers
TRAIN, VALIDATION, TEST = 300, 200, 1297  # examples
BATCH, EPOCHS = 50, 40
STEPS = EPOCHS * TRAIN // BATCH
BN_MOMENTUM, EPS = 0.1, 1e-5
EVERY, LAST = "dropout", "dropout at the end"  # after each hidden layer; after the last alone


class Outcome(NamedTuple):
    """Of each seed: test examples that are right, losses, at the end and at the best epoch.

    The best epoch is the one with the smallest validation loss; `best_epoch` counts from 1.
    """

    right: Array
    loss: Array
    validation: Array
    best_right: Array
    best_loss: Array
    best_validation: Array
    best_epoch: Array


class Data(NamedTuple):
    """Examples of all seeds, (seeds, examples, 64) and (seeds, examples)."""

    train: tuple[Array, Array]
    validation: tuple[Array, Array]
    test: tuple[Array, Array]


def draw_data(seeds: Sequence[int], *, noise: float) -> Data:
    """Split the digits once a seed; a share of training and validation labels is made wrong."""
    pixels, labels = digits()
    parts: list[tuple[Array, ...]] = []
    for seed in seeds:
        order = np.random.default_rng([seed, 0]).permutation(len(labels))
        wrong = flip_labels(
            labels, fraction=noise, classes=10, rng=np.random.default_rng([seed, 1])
        )
        fit, check, rest = np.split(order, [TRAIN, TRAIN + VALIDATION])
        center, scale = pixels[fit].mean(axis=0), pixels[fit].std()
        x, checks, tests = ((pixels[rows] - center) / scale for rows in (fit, check, rest))
        parts.append((x, wrong[fit], checks, wrong[check], tests, labels[rest]))
    stacked = [np.stack(same) for same in zip(*parts, strict=True)]
    return Data(*((x, y) for x, y in zip(stacked[::2], stacked[1::2], strict=True)))


def first_params(
    seeds: Sequence[int], sizes: Sequence[int], *, norm: bool
) -> list[dict[str, Array]]:
    """Draw the layers of all networks; with a norm, hidden ones have its gain and shift."""
    nets = [mlp_init(list(sizes), rng=np.random.default_rng([seed, 2])) for seed in seeds]
    layers: list[dict[str, Array]] = []
    for same in zip(*nets, strict=True):
        layer = _layer(same)
        if norm and len(layers) < len(nets[0]) - 1:
            layer |= {"gain": np.ones_like(layer["bias"]), "shift": np.zeros_like(layer["bias"])}
        layers.append(layer)
    return layers


class Networks:
    """The forward pass for a set of techniques, and the running statistics of batch norm.

    `met` has the variance over the examples that each batch norm met in the last evaluation.
    """

    def __init__(self, use: frozenset[str], seeds: int, sizes: Sequence[int], p: float) -> None:
        self.use, self.seeds, self.hidden, self.p = use, seeds, sizes[1:-1], p
        self.mean = [np.zeros((seeds, 1, width)) for width in self.hidden]
        self.var = [np.ones((seeds, 1, width)) for width in self.hidden]
        self.met = list(self.var)

    def masks(self, rng: np.random.Generator, batch: int) -> list[Array | None]:
        """Draw those of a training step; None where nothing is dropped."""
        last = len(self.hidden) - 1
        chosen = [EVERY in self.use or (LAST in self.use and k == last) for k in range(last + 1)]
        return [
            keep_mask((self.seeds, batch, width), p=self.p, rng=rng) if drops else None
            for width, drops in zip(self.hidden, chosen, strict=True)
        ]

    def _batch_norm(self, z: Any, k: int, training: bool) -> Any:
        if not training:
            self.met[k] = z.var(axis=1, keepdims=True)
            return (z - self.mean[k]) / np.sqrt(self.var[k] + EPS)
        value = z.value
        for kept, new in ((self.mean, value.mean(1)), (self.var, value.var(1, ddof=1))):
            kept[k] = (1 - BN_MOMENTUM) * kept[k] + BN_MOMENTUM * new[:, None]
        return layer_norm(z, axis=1, eps=EPS)  # over the batch: that is batch norm

    def estimate(self, params: Any, x: Array) -> None:
        """Put the statistics of x, without dropout, in the place of the running ones."""
        for k in range(len(self.hidden)):  # those of a layer depend on all before
            self.mean[k], self.var[k] = self._statistics(params, x, k)

    def _statistics(self, params: Any, x: Array, k: int) -> tuple[Array, Array]:
        z = self._hidden(params, x, None, upto=k)
        return z.mean(axis=1, keepdims=True), z.var(axis=1, ddof=1, keepdims=True)

    def kept(self, params: Any) -> Any:
        """What a checkpoint holds."""
        return params, list(self.mean), list(self.var)

    def _hidden(self, params: Any, h: Any, masks: Any, upto: int | None = None) -> Any:
        """Return the last hidden layer, or what enters the norm of layer `upto`."""
        for k, layer in enumerate(params[:-1]):
            z = h @ layer["weight"] + layer["bias"]
            if k == upto:
                return z
            if "batch norm" in self.use:
                z = self._batch_norm(z, k, masks is not None)
            if "layer norm" in self.use:
                z = layer_norm(z, eps=EPS)
            if "gain" in layer:
                z = z * layer["gain"] + layer["shift"]
            z = relu(z)
            if masks is not None and masks[k] is not None:
                z = dropout(z, masks[k], p=self.p)
            h = h + z if "residual" in self.use and k else z  # the first changes the width
        return h

    def logits(self, params: Any, x: Any, masks: Any = None) -> Any:
        """Evaluate; with masks, as in training."""
        h = self._hidden(params, x, masks)
        return h @ params[-1]["weight"] + params[-1]["bias"]

    def measure(self, params: Any, x: Array, labels: Array) -> tuple[Array, Array]:
        """Return the mean loss and the number of examples that are right, of each seed."""
        logits = np.asarray(self.logits(params, x))
        losses = np.asarray(cross_entropy(logits, labels, reduction="none")).mean(axis=1)
        return losses, (logits.argmax(axis=-1) == labels).sum(axis=1)


def train_combined(
    techniques: Sequence[str],
    *,
    noise: float,
    seeds: Sequence[int],
    strengths: Mapping[str, float],
) -> Outcome:
    """Train one network a seed with these techniques.

    The strengths of weight decay and L1 are those of a step: w is multiplied by 1 - strength, or
    comes nearer to 0 by strength. So they are the same for both optimizers.
    """
    use, count = frozenset(techniques), len(seeds)
    data = draw_data(seeds, noise=noise)
    net = Networks(use, count, SIZES, strengths["dropout"])
    params: Any = first_params(seeds, SIZES, norm=bool(use & {"batch norm", "layer norm"}))
    state = OPTIMIZERS["adam" if "Adam" in use else "sgd"].init(params)
    smoothing = strengths["label smoothing"] if "label smoothing" in use else 0.0

    def losses(params: Any, x: Array, y: Array, masks: Any) -> Any:
        logits = net.logits(params, x, masks)
        return cross_entropy(logits, y, label_smoothing=smoothing, reduction="none")

    rows = [
        minibatch_rows(TRAIN, batch_size=BATCH, steps=STEPS, rng=np.random.default_rng([s, 3]))
        for s in seeds
    ]
    which = np.arange(count)[:, None]
    mask_rng = np.random.default_rng([*seeds, 4])
    pairs = [np.random.default_rng([s, 5]) for s in seeds]
    best, best_loss = net.kept(params), np.full(count, math.inf)
    best_epoch = np.zeros(count, int)
    for step, batch in enumerate(np.stack(rows, axis=1)):  # (seeds, BATCH)
        x, y = data.train[0][which, batch], data.train[1][which, batch]
        if "mixup" in use:
            mixed = [
                mixup(a, b, alpha=strengths["mixup"], rng=draw)
                for a, b, draw in zip(x, np.eye(10)[y], pairs, strict=True)
            ]
            x, y = np.stack([m.x for m in mixed]), np.stack([m.targets for m in mixed])
        masks = net.masks(mask_rng, BATCH)
        value, pullback = vjp(losses, params, x=x, y=y, masks=masks)
        (grads,) = pullback(np.full(value.shape, 1 / BATCH))
        params, state = _step(params, grads, state, use, strengths)
        if (step + 1) % (TRAIN // BATCH) == 0:
            checked, _ = net.measure(params, *data.validation)
            better = checked < best_loss
            best_loss = np.where(better, checked, best_loss)
            best_epoch[better] = (step + 1) // (TRAIN // BATCH)
            best = tree_map(
                lambda new, old, take=better[:, None, None]: np.where(take, new, old),
                net.kept(params),
                best,
            )
    tested, right = net.measure(params, *data.test)
    params, net.mean, net.var = best
    best_tested, best_right = net.measure(params, *data.test)
    return Outcome(right, tested, checked, best_right, best_tested, best_loss, best_epoch)


def _step(
    params: Any,
    grads: Any,
    state: Any,
    use: frozenset[str],
    strengths: Mapping[str, float],
) -> tuple[Any, Any]:
    """Take one step of the optimizer; what acts on weights leaves biases and gains alone."""
    adam = "Adam" in use
    lr = strengths["Adam" if adam else "SGD"]
    decay = strengths["weight decay"] if "weight decay" in use else 0.0
    if "L2" in use:
        pull = strengths["L2 with Adam" if adam else "L2"]
        for layer, grad in zip(params, grads, strict=True):
            grad["weight"] = grad["weight"] + pull * layer["weight"]
    updates, state = OPTIMIZERS["adam" if adam else "sgd"].update(
        grads, state, params, lr=lr, **({} if adam else {"momentum": 0.9})
    )
    decayed = [layer | {"weight": (1 - decay) * layer["weight"]} for layer in params]
    params = apply_updates(decayed, updates)
    if "L1" in use:
        for layer in params:
            layer["weight"] = soft_threshold(layer["weight"], strengths["L1"])
    return params, state
