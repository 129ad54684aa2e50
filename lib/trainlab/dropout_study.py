"""A measurement: what dropout gains for a small network, by the number of training examples.

A two-hidden-layer ReLU network learns a noisy teacher. The number of updates is fixed, so few
examples are seen many times and ``steps * batch`` examples exactly once, as in the pretraining of
language models. Independent runs, each with a teacher, data and weights of its own, stand along
the first axis of every array and are trained together: that is what makes the table on the page
cheap.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainlab._checks import generator, integer, real
from trainlab.dropout import dropout, keep_mask

__all__ = ["TeacherTasks", "errors_after_training", "teacher_tasks"]

Array = NDArray[Any]


class TeacherTasks(NamedTuple):
    """Training data with label noise, and clean test data, of several runs; labels are 0 or 1."""

    x: Array
    y: Array
    x_test: Array
    y_test: Array


def teacher_tasks(
    n: int, *, runs: int, rng: np.random.Generator, label_noise: float = 0.1, n_test: int = 2000
) -> TeacherTasks:
    """Draw random teachers and examples that they label.

    Parameters
    ----------
    n : int
        Number of training examples of each run.
    runs : int
        Number of independent runs.
    rng : numpy.random.Generator
        Source of randomness.
    label_noise : float in [0, 0.5]
        Probability with which a training label is flipped.
    n_test : int
        Number of test examples of each run, whose labels are right.

    Returns
    -------
    TeacherTasks
        Inputs of shape (runs, n, 20), float32, and labels of shape (runs, n).

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    Notes
    -----
    The teacher is a network too: ``label = tanh(2 x D) v > 0`` with a random (20, 6) matrix D
    and a random vector v.

    Examples
    --------
    >>> tasks = teacher_tasks(5, runs=3, rng=np.random.default_rng(0))
    >>> tasks.x.shape, tasks.y_test.shape
    ((3, 5, 20), (3, 2000))
    """
    n, n_test = integer(n, "n", low=1), integer(n_test, "n_test", low=1)
    runs = integer(runs, "runs", low=1)
    generator(rng)
    label_noise = real(label_noise, "label_noise", low=0, high=0.5)
    directions = rng.standard_normal((runs, 20, 6)) / np.sqrt(20)
    vote = rng.standard_normal((runs, 6, 1))
    x = rng.standard_normal((runs, n + n_test, 20))
    label = (np.tanh(2 * x @ directions) @ vote)[..., 0] > 0
    label[:, :n] ^= rng.random((runs, n)) < label_noise
    x, y = x.astype(np.float32), label.astype(np.float32)
    return TeacherTasks(x[:, :n], y[:, :n], x[:, n:], y[:, n:])


def errors_after_training(
    tasks: TeacherTasks,
    *,
    p: float,
    rng: np.random.Generator,
    width: int = 64,
    steps: int = 400,
    batch: int = 64,
    lr: float = 0.05,
    momentum: float = 0.9,
    passes: int = 0,
) -> Array:
    """Train ReLU networks with dropout behind both hidden layers; return their test errors.

    Parameters
    ----------
    tasks : TeacherTasks
        The data of all runs.
    p : float in [0, 1)
        Probability of dropping.
    rng : numpy.random.Generator
        Source of randomness.
    width, steps, batch : int
        Units in each hidden layer, number of updates, examples in each (all of them if there
        are fewer than `batch`).
    lr : float > 0
        Learning rate at the start; it falls to 0 along half a cosine.
    momentum : float in [0, 1]
        Of stochastic gradient descent.
    passes : int
        0: one test pass with dropout off. Else so many passes with dropout on, each with masks of
        its own; their probabilities are averaged.

    Returns
    -------
    ndarray of shape (runs,)
        Share of the test examples that are classified wrongly.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> tasks = teacher_tasks(50, runs=2, rng=rng)
    >>> errors = errors_after_training(tasks, p=0.5, rng=rng, steps=20)
    >>> errors.shape, bool(np.all(errors < 0.6))
    ((2,), True)
    """
    if not isinstance(tasks, TeacherTasks):
        raise TypeError(f"errors_after_training: tasks must be TeacherTasks; got {type(tasks)}")
    p = real(p, "p", low=0, high=1, closed="left")
    generator(rng)
    width, steps = integer(width, "width", low=1), integer(steps, "steps", low=1)
    runs, n, fan_in = tasks.x.shape
    batch = min(integer(batch, "batch", low=1), n)
    lr = real(lr, "lr", low=0, closed="neither")
    momentum = real(momentum, "momentum", low=0, high=1)
    passes = integer(passes, "passes", low=0)
    sizes = [(width, fan_in), (width, width), (1, width)]
    params = [(rng.standard_normal((runs, *s)) * np.sqrt(2 / s[1])).astype("f") for s in sizes]
    params += [np.zeros((runs, 1, s[0]), np.float32) for s in sizes]
    velocity = [np.zeros_like(w) for w in params]
    epochs = -(-steps * batch // n)  # rounded up
    order = rng.permuted(np.tile(np.arange(n), (runs, epochs, 1)), axis=2).reshape(runs, -1)
    run = np.arange(runs)[:, None]
    for step in range(steps):
        rows = order[:, step * batch : (step + 1) * batch]
        grads = _gradients(params, tasks.x[run, rows], tasks.y[run, rows], p, rng)
        now = np.float32(lr * 0.5 * (1 + np.cos(np.pi * step / steps)))
        velocity = [momentum * v + g for v, g in zip(velocity, grads, strict=True)]
        params = [w - now * v for w, v in zip(params, velocity, strict=True)]
    # Inverted dropout: nothing to do at test time, which is p = 0.
    made = [
        _probabilities(params, tasks.x_test, p if passes else 0.0, rng)
        for _ in range(max(passes, 1))
    ]
    probability = np.mean(made, axis=0)
    return np.asarray(np.mean((probability > 0.5) != (tasks.y_test > 0.5), axis=1))


def _probabilities(params: list[Array], x: Array, p: float, rng: np.random.Generator) -> Array:
    """Probability of label 1 for all examples, (runs, examples), under one draw of the masks."""
    for weight, bias in zip(params[:2], params[3:5], strict=True):
        x = np.maximum(x @ weight.mT + bias, 0)
        if p:
            x = dropout(x, keep_mask(x.shape, p=p, rng=rng), p=p)
    return 0.5 * (1 + np.tanh((x @ params[2].mT + params[5])[..., 0] / 2))


def _gradients(
    params: list[Array], x: Array, y: Array, p: float, rng: np.random.Generator
) -> list[Array]:
    """Gradients of each run's mean logistic loss under one draw of the masks."""
    weights, biases = params[:3], params[3:]  # (runs, out, in), (runs, 1, out)
    inputs, active, masks = [x], [], []
    for weight, bias in zip(weights[:2], biases[:2], strict=True):
        z = inputs[-1] @ weight.mT + bias  # (runs, batch, out)
        active.append(z > 0)
        masks.append(keep_mask(z.shape, p=p, rng=rng))
        inputs.append(dropout(np.maximum(z, 0), masks[-1], p=p))
    logit = inputs[2] @ weights[2].mT + biases[2]  # (runs, batch, 1)
    probability = 0.5 * (1 + np.tanh(logit / 2))
    cotangent = (probability - y[..., None]) / np.float32(y.shape[1])
    weight_grads: list[Array] = []
    bias_grads: list[Array] = []
    for layer in (2, 1, 0):
        weight_grads.insert(0, cotangent.mT @ inputs[layer])
        bias_grads.insert(0, cotangent.sum(axis=1, keepdims=True))
        if layer:
            # Dropout multiplies each number by itself, and so does its pullback.
            behind = dropout(cotangent @ weights[layer], masks[layer - 1], p=p)
            cotangent = behind * active[layer - 1]
    return weight_grads + bias_grads
