"""Training small normalized networks, their activations shifted at random if wanted.

The experiment of Santurkar et al. (2018) in miniature: random shifts after batch norm create the
"internal covariate shift" that batch norm was said to remove. Also the place to see what happens
when batch norm is left in training mode at test time.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import array, generator, integer, one_of, real
from .activations import relu
from .arithmetic import mean
from .datasets import gaussian_classes
from .differentiation import value_and_grad
from .layers import linear
from .normalization import RunningStats, batch_norm, batch_norm_init, batch_norm_update, layer_norm
from .softmax import log_softmax
from .trees import tree_map

__all__ = [
    "Net",
    "Shifted",
    "Training",
    "accuracy",
    "covariate_shift",
    "train",
]

Array = NDArray[Any]

PROBE_EVERY = 25  # steps; looking for drift costs a forward pass


class Net(NamedTuple):
    """A multilayer perceptron: arrays layer by layer, weights (out, in).

    `gains` and `shifts` follow each normalization; the last shift is the bias of the output.
    """

    weights: list[Array]
    gains: list[Array]
    shifts: list[Array]


class Training(NamedTuple):
    """What `train` returns."""

    net: Net
    running: list[RunningStats]  # one for each hidden layer
    loss: Array  # (steps,), training loss in nats
    drift: Array  # at every 25th step, how far the inputs of the layers move in one step
    norm: str


def train(
    points: Any,
    labels: Any,
    *,
    rng: np.random.Generator,
    norm: str = "batch",
    noise: float = 0.0,
    lr: float = 0.1,
    steps: int = 200,
    batch_size: int = 64,
    width: int = 64,
    depth: int = 8,
) -> Training:
    """Train a multilayer ReLU network by SGD, its activations shifted at random if wanted.

    Parameters
    ----------
    points : array of shape (N, D)
        Training points.
    labels : array of int of shape (N,)
        Their classes, from 0.
    rng : numpy.random.Generator
        Draws He weights, batches and noise.
    norm : {"none", "batch", "layer"}
        Stands before each ReLU.
    noise : float
        Size s of the shifts, in [0, 1]: at each step each hidden unit's value y before the ReLU
        becomes ``a y + b`` with new ``a ~ U(1 - s, 1 + s)`` and ``b ~ N(0, s²)``.
    lr : float
        Step size of SGD, > 0.
    steps, batch_size, width, depth : int
        Updates, examples an update (>= 2), units a hidden layer, hidden layers.

    Returns
    -------
    Training

    Raises
    ------
    ValueError, TypeError
        If a value is out of range.

    Notes
    -----
    Drift is the mean over hidden units of ``|mean_t - mean_{t-1}|``: how far the mean of the unit's
    value before the ReLU, over 128 fixed training points, moves from one step to the next. It is
    what the next layer sees change.

    References
    ----------
    Santurkar et al. (2018), who draw the noise anew for each example too.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points, labels = gaussian_classes(500, rng=rng)
    >>> done = train(points, labels, rng=rng, steps=60, depth=2)
    >>> bool(done.loss[-10:].mean() < done.loss[0] / 2)
    True
    """
    points = array(points, "points", ndim=2)
    labels = _labels(labels, points)
    generator(rng)
    one_of(norm, "norm", ("none", "batch", "layer"))
    noise, lr = real(noise, "noise", low=0, high=1), real(lr, "lr", low=0, closed="neither")
    steps, depth = integer(steps, "steps", low=1), integer(depth, "depth", low=1)
    batch_size, width = integer(batch_size, "batch_size", low=2), integer(width, "width", low=1)

    sizes = [points.shape[1], *[width] * depth, int(labels.max()) + 1]
    net = Net(
        [rng.standard_normal((o, i)) * math.sqrt(2 / i) for i, o in pairwise(sizes)],
        [np.ones(width) for _ in range(depth)],
        [np.zeros(o) for o in sizes[1:]],
    )
    running = batch_norm_init(depth * width)  # all hidden layers side by side
    losses, means, gradient = [], [], value_and_grad(_loss, has_aux=True)
    for step in range(steps):
        jitter = [
            (rng.uniform(1 - noise, 1 + noise, width), noise * rng.standard_normal(width))
            for _ in range(depth)
        ]
        pick = rng.integers(len(points), size=batch_size)
        if step % PROBE_EVERY < 2:  # two steps in a row
            probe = _forward(net, points[:128], norm, jitter)
            means.append([y.mean(axis=0) for y in probe.shifted])
        (loss, before), grads = gradient(net, points[pick], labels[pick], norm, jitter)
        losses.append(float(loss))
        net = tree_map(lambda w, g: w - lr * g, net, grads)
        if max(np.abs(w).max() for w in net.weights) > 1e6:
            raise ValueError(
                f"train: lr must be small enough to converge; got {lr}, which diverges"
            )
        if norm == "batch":
            running = batch_norm_update(np.hstack(before), running)
    pairs = zip(means[::2], means[1::2], strict=False)
    drift = np.array([np.abs(np.subtract(after, before)).mean() for before, after in pairs])
    layers = zip(np.split(running.mean, depth), np.split(running.var, depth), strict=True)
    stats = [RunningStats(mean, var) for mean, var in layers]
    return Training(net, stats, np.array(losses), drift, norm)


class Shifted(NamedTuple):
    """A network of `covariate_shift`: what it went through and what it came to."""

    drift: float  # mean of `Training.drift`
    loss: float  # training loss in nats, mean of the last 30 steps, noise on
    accuracy: float  # on 2000 test points, noise off
    run: Training
    test: tuple[Array, NDArray[np.int64]]  # those points and their labels


def covariate_shift(
    norm: str,
    noise: float,
    *,
    rng: np.random.Generator,
    lr: float = 0.1,
    steps: int = 200,
    width: int = 64,
) -> Shifted:
    """Train on `gaussian_classes`, 2000 points, and test on 2000 others.

    Parameters
    ----------
    norm : {"none", "batch", "layer"}
        Stands before each ReLU.
    noise : float
        Size of the random shifts, in [0, 1].
    rng : numpy.random.Generator
        Draws points, weights, batches and noise.
    lr : float
        Step size of SGD, > 0.
    steps, width : int
        Updates, and units a hidden layer.

    Returns
    -------
    Shifted

    Raises
    ------
    ValueError, TypeError
        If a value is out of range, or training diverges.

    References
    ----------
    Santurkar et al. (2018).

    Examples
    --------
    >>> done = covariate_shift("batch", 0.7, rng=np.random.default_rng(0), steps=2)
    >>> bool(done.drift > 0.5)  # the noise moves all layers' inputs
    True
    """
    one_of(norm, "norm", ("none", "batch", "layer"))
    noise, lr = real(noise, "noise", low=0, high=1), real(lr, "lr", low=0, closed="neither")
    steps, width = integer(steps, "steps", low=1), integer(width, "width", low=1)
    generator(rng)
    points, test = gaussian_classes(2000, rng=rng), gaussian_classes(2000, rng=rng)
    run = train(*points, rng=rng, norm=norm, noise=noise, lr=lr, steps=steps, width=width)
    drift, loss = float(run.drift.mean()), float(run.loss[-30:].mean())
    return Shifted(drift, loss, accuracy(run, *test), run, test)


def accuracy(done: Training, points: Any, labels: Any, *, training: bool = False) -> float:
    """Count the share of points that a trained network classifies correctly.

    Parameters
    ----------
    done : Training
        From `train`. The random shifts are off.
    points, labels : arrays of shape (N, D) and (N,)
        Test points and their classes.
    training : bool
        Whether batch norm wrongly stays in training mode: each point is then normalized with the
        statistics of all points that are passed with it.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError, TypeError
        If points and labels do not fit each other.
    """
    if not isinstance(done, Training):
        raise TypeError(f"accuracy: done must be what train returns; got {done!r}")
    points = array(points, "points", shape=(None, done.net.weights[0].shape[1]))
    labels = _labels(labels, points)
    one_of(training, "training", (False, True))
    running = None if training else done.running
    logits = _forward(done.net, points, done.norm, None, running).logits
    return float(np.mean(logits.argmax(axis=1) == labels))


def _labels(labels: Any, points: Array) -> NDArray[np.int64]:
    array(labels, "labels", shape=points.shape[:1])
    classes = np.asarray(labels)
    one_of(classes.dtype.kind, "kind of labels, signed or unsigned whole numbers,", ("i", "u"))
    integer(classes.min(), "smallest of labels", low=0)
    return classes.astype(np.int64)


class _Pass(NamedTuple):
    """What the layers hold: before the norm, after norm and jitter; and the logits."""

    linear: list[Array]
    shifted: list[Array]
    logits: Array


def _forward(
    net: Net,
    h: Array,
    norm: str,
    jitter: list[tuple[Array, Array]] | None,
    running: list[RunningStats] | None = None,
) -> _Pass:
    before, shifted = [], []
    for i, (gain, shift) in enumerate(zip(net.gains, net.shifts, strict=False)):
        z = linear(h, net.weights[i])
        before.append(z)
        if norm == "batch":
            y = batch_norm(z, weight=gain, bias=shift, running=running[i] if running else None)
        else:
            y = layer_norm(z, weight=gain, bias=shift) if norm == "layer" else z + shift
        if jitter is not None:
            y = jitter[i][0] * y + jitter[i][1]
        shifted.append(y)
        h = relu(y)
    return _Pass(before, shifted, linear(h, net.weights[-1], bias=net.shifts[-1]))


def _loss(
    net: Any,
    points: Array,
    labels: NDArray[np.int64],
    norm: str,
    jitter: list[tuple[Array, Array]],
) -> tuple[Any, list[Array]]:
    """Mean cross-entropy of a differentiated network, and what came before each norm."""
    done = _forward(net, points, norm, jitter)
    own = log_softmax(done.logits)[np.arange(len(labels)), labels]
    return -mean(own), [z.value for z in done.linear]  # type: ignore[attr-defined]
