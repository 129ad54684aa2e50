"""A measurement: what dropout gains for a small network, by the number of training examples.

A two-hidden-layer ReLU network learns a noisy teacher. The number of updates is fixed, so few
examples are seen many times and ``steps * batch`` examples exactly once, as in the pretraining of
language models.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainlab._checks import generator, integer, real
from trainlab.dropout import dropout, dropout_vjp, keep_mask

__all__ = ["TeacherTask", "error_after_training", "teacher_task"]

Array = NDArray[Any]


class TeacherTask(NamedTuple):
    """Training data with label noise, and clean test data; labels are 0 or 1."""

    x: Array
    y: Array
    x_test: Array
    y_test: Array


def teacher_task(
    n: int, *, rng: np.random.Generator, label_noise: float = 0.1, n_test: int = 2000
) -> TeacherTask:
    """Draw a random teacher and examples that it labels.

    Parameters
    ----------
    n : int
        Number of training examples.
    rng : numpy.random.Generator
        Source of randomness.
    label_noise : float in [0, 0.5]
        Share of the training labels that are flipped.
    n_test : int
        Number of test examples, whose labels are right.

    Returns
    -------
    TeacherTask
        Inputs of shape (n, 20), float32, and labels of shape (n,).

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    Examples
    --------
    >>> task = teacher_task(5, rng=np.random.default_rng(0))
    >>> task.x.shape, task.y_test.shape
    ((5, 20), (2000,))
    """
    n, n_test = integer(n, "n", low=1), integer(n_test, "n_test", low=1)
    generator(rng)
    label_noise = real(label_noise, "label_noise", low=0, high=0.5)
    directions = rng.standard_normal((20, 6)) / np.sqrt(20)
    vote = rng.standard_normal(6)
    x = rng.standard_normal((n + n_test, 20))
    label = np.tanh(2 * x @ directions) @ vote > 0
    flipped = np.concatenate([rng.random(n) < label_noise, np.zeros(n_test, bool)])
    x, y = x.astype(np.float32), (label ^ flipped).astype(np.float32)
    return TeacherTask(x[:n], y[:n], x[n:], y[n:])


def error_after_training(
    task: TeacherTask,
    *,
    p: float,
    rng: np.random.Generator,
    width: int = 64,
    steps: int = 400,
    batch: int = 64,
    lr: float = 0.05,
    momentum: float = 0.9,
) -> float:
    """Train a ReLU network with dropout behind both hidden layers, and return its test error.

    Parameters
    ----------
    task : TeacherTask
        The data.
    p : float in [0, 1)
        Probability of dropping.
    rng : numpy.random.Generator
        Source of randomness.
    width, steps, batch : int
        Units in each hidden layer, number of updates, examples in each.
    lr : float > 0
        Learning rate at the start; it falls to 0 along half a cosine.
    momentum : float in [0, 1)
        Of stochastic gradient descent.

    Returns
    -------
    float
        Share of the test examples that are classified wrongly. Dropout is off at test time.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> task = teacher_task(50, rng=rng)
    >>> 0.0 < error_after_training(task, p=0.5, rng=rng, steps=20) < 0.6
    True
    """
    if not isinstance(task, TeacherTask):
        raise TypeError(f"error_after_training: task must be a TeacherTask; got {type(task)}")
    p = real(p, "p", low=0, high=1, closed="left")
    generator(rng)
    width, steps = integer(width, "width", low=1), integer(steps, "steps", low=1)
    batch = min(integer(batch, "batch", low=1), len(task.x))
    lr, momentum = (
        real(lr, "lr", low=0, closed="neither"),
        real(momentum, "momentum", low=0, high=1),
    )
    sizes = [(width, task.x.shape[1]), (width, width), (1, width)]
    params = [(rng.standard_normal(s) * np.sqrt(2 / s[1])).astype(np.float32) for s in sizes]
    params += [np.zeros(s[0], np.float32) for s in sizes]
    velocity = [np.zeros_like(w) for w in params]
    epochs = -(-steps * batch // len(task.x))  # rounded up
    order = np.concatenate([rng.permutation(len(task.x)) for _ in range(epochs)])
    for step in range(steps):
        rows = order[step * batch : (step + 1) * batch]
        grads = _gradients(params, task.x[rows], task.y[rows], p, rng)
        now = lr * 0.5 * (1 + np.cos(np.pi * step / steps))
        velocity = [momentum * v + g for v, g in zip(velocity, grads, strict=True)]
        params = [w - np.float32(now) * v for w, v in zip(params, velocity, strict=True)]
    h = task.x_test
    for weight, bias in zip(params[:2], params[3:5], strict=True):
        h = np.maximum(h @ weight.T + bias, 0)  # inverted dropout: nothing to do at test time
    predicted = (h @ params[2].T + params[5])[:, 0] > 0
    return float(np.mean(predicted != (task.y_test > 0.5)))


def _gradients(
    params: list[Array], x: Array, y: Array, p: float, rng: np.random.Generator
) -> list[Array]:
    """Gradients of the mean logistic loss under one draw of the masks."""
    weights, biases = params[:3], params[3:]
    inputs, active, masks = [x], [], []
    for weight, bias in zip(weights[:2], biases[:2], strict=True):
        z = inputs[-1] @ weight.T + bias
        active.append(z > 0)
        masks.append(keep_mask(z.shape, p=p, rng=rng))
        inputs.append(dropout(np.maximum(z, 0), masks[-1], p=p))
    logit = inputs[2] @ weights[2].T + biases[2]  # (batch, 1)
    cotangent = (0.5 * (1 + np.tanh(logit / 2)) - y[:, None]) / np.float32(len(x))
    weight_grads: list[Array] = []
    bias_grads: list[Array] = []
    for layer in (2, 1, 0):
        weight_grads.insert(0, cotangent.T @ inputs[layer])
        bias_grads.insert(0, cotangent.sum(axis=0))
        if layer:
            behind = dropout_vjp(cotangent @ weights[layer], masks[layer - 1], p=p)
            cotangent = behind * active[layer - 1]
    return weight_grads + bias_grads
