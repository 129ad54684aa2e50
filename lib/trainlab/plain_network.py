"""A plain fully connected network, its gradients, and gradient descent: enough to watch one learn.

Weights may carry leading axes: then every array is a stack of networks, trained side by side on
the same data, which is how one call compares many initializations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks
from .activations import ACTIVATIONS

Array = NDArray[Any]

__all__ = ["Network", "gradient_descent", "logits", "loss_and_gradients"]


class Network(NamedTuple):
    """Weights and biases of a network, or their gradients, the first layer first.

    Attributes
    ----------
    weights : tuple of arrays of shape (..., out, in)
    biases : tuple of arrays of shape (..., out)
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]


def _checked(network: Network) -> Network:
    if not isinstance(network, Network) or not network.weights:
        raise TypeError(
            f"{_checks._where()}: network must be a Network with one layer or more; "
            f"got {type(network).__name__}"
        )
    weights = tuple(_checks.array(w, "network") for w in network.weights)
    biases = tuple(_checks.array(b, "network") for b in network.biases)
    width = weights[0].shape[-1] if weights[0].ndim > 1 else None
    fits = len(weights) == len(biases)
    for w, b in zip(weights, biases, strict=False):
        fits = fits and w.ndim > 1 and w.shape[-1] == width and b.shape == w.shape[:-1]
        width = b.shape[-1] if b.ndim else None
    if not fits:
        raise ValueError(
            f"{_checks._where()}: network must have weights (..., out, in) and biases (..., out) "
            f"that follow one another; got {[w.shape for w in weights]} and "
            f"{[b.shape for b in biases]}"
        )
    return Network(weights, biases)


def _inputs(x: Array, network: Network) -> Array:
    return _checks.array(x, "x", shape=(None, network.weights[0].shape[-1]))


def _labels(labels: Array, x: Array, classes: int) -> Array:
    y = np.asarray(labels)
    high = max(classes, 2) - 1  # one output stands for two classes
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1] or y.min() < 0 or y.max() > high:
        raise ValueError(
            f"{_checks._where()}: labels must be {len(x)} whole numbers in 0 … {high}; "
            f"got {labels!r:.60}"
        )
    return y


def _forward(network: Network, x: Array, activation: str) -> tuple[Array, list[Array], list[Array]]:
    """Return the logits, each layer's input h, and each hidden layer's pre-activation z."""
    h, inputs, hidden = x, [x], []
    for layer, (weight, bias) in enumerate(zip(*network, strict=True)):
        z = h @ np.swapaxes(weight, -1, -2) + bias[..., None, :]  # (..., batch, out)
        if layer == len(network.weights) - 1:
            break
        hidden.append(z)
        h = ACTIVATIONS[activation].function(z)
        inputs.append(h)
    return z, inputs, hidden


def _loss(z: Array, y: Array) -> tuple[Array, Array]:
    """Mean cross-entropy and its gradient in the logits."""
    if z.shape[-1] == 1:  # one logit: put the other class's logit, 0, beside it
        loss, gradient = _loss(np.concatenate([np.zeros_like(z), z], axis=-1), y)
        return loss, gradient[..., 1:]
    shifted = z - z.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    target = np.eye(z.shape[-1], dtype=z.dtype)[y]
    return -(target * log_p).sum(axis=-1).mean(axis=-1), (np.exp(log_p) - target) / len(y)


def logits(network: Network, x: Array, *, activation: str) -> Array:
    """Outputs of the network; the last layer has no activation.

    Parameters
    ----------
    network : Network
        Weights and biases.
    x : array of shape (batch, in)
        Inputs.
    activation : str
        Of the hidden layers; a name in `trainlab.activations.ACTIVATIONS`.

    Returns
    -------
    array of shape (..., batch, out)

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong kind or shape.

    Examples
    --------
    >>> one = Network((np.array([[2.0]]),), (np.array([1.0]),))
    >>> logits(one, np.array([[3.0]]), activation="relu")
    array([[7.]])
    """
    network = _checked(network)
    _checks.one_of(activation, "activation", ACTIVATIONS)
    return _forward(network, _inputs(x, network), activation)[0]


def _backward(network: Network, x: Array, y: Array, activation: str) -> tuple[Array, Network]:
    z, inputs, hidden = _forward(network, x, activation)
    loss, g = _loss(z, y)
    weights, biases = [], []
    for layer in reversed(range(len(network.weights))):
        weights.append(np.swapaxes(g, -1, -2) @ inputs[layer])  # (..., out, in)
        biases.append(g.sum(axis=-2))
        if layer:
            g = (g @ network.weights[layer]) * ACTIVATIONS[activation].derivative(hidden[layer - 1])
    return loss, Network(tuple(weights[::-1]), tuple(biases[::-1]))


def loss_and_gradients(
    network: Network, x: Array, labels: Array, *, activation: str
) -> tuple[Array, Network]:
    """Mean cross-entropy in nats, and its gradient in every weight and bias.

    Parameters
    ----------
    network : Network
        With K >= 2 outputs they are softmax logits; a single output is the logit of class 1
        against class 0.
    x : array of shape (batch, in)
        Inputs.
    labels : array of int of shape (batch,)
        Classes.
    activation : str
        Of the hidden layers; a name in `trainlab.activations.ACTIVATIONS`.

    Returns
    -------
    loss : array of the stack's shape
        Mean over the batch.
    gradients : Network
        In the shapes of network.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong kind or shape.

    Notes
    -----
    Units with equal incoming and equal outgoing weights get equal gradients: nothing here could
    ever tell them apart. That is the symmetry that random weights break.

    Examples
    --------
    >>> zero = Network((np.zeros((1, 2)),), (np.zeros(1),))
    >>> loss, _ = loss_and_gradients(zero, np.ones((1, 2)), np.array([1]), activation="relu")
    >>> float(loss.round(4))
    0.6931
    """
    network = _checked(network)
    x = _inputs(x, network)
    y = _labels(labels, x, network.weights[-1].shape[-2])
    return _backward(network, x, y, _checks.one_of(activation, "activation", ACTIVATIONS))


def gradient_descent(
    network: Network, x: Array, labels: Array, *, activation: str, lr: float, steps: int
) -> tuple[Network, Array]:
    """Take full-batch steps w ← w - lr ∂loss/∂w.

    Parameters
    ----------
    network, x, labels, activation
        As in `loss_and_gradients`.
    lr : float
        Learning rate, > 0.
    steps : int
        Number of steps, >= 0.

    Returns
    -------
    network : Network
        After the last step.
    losses : array of shape (steps + 1, ...)
        Loss before each step, and after the last.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong kind, shape or range.

    Examples
    --------
    >>> zero = Network((np.zeros((1, 1)),), (np.zeros(1),))
    >>> x, y = np.array([[-1.0], [1.0]]), np.array([0, 1])
    >>> gradient_descent(zero, x, y, activation="relu", lr=1.0, steps=2)[1].round(3)
    array([0.693, 0.474, 0.348])
    """
    network = _checked(network)
    x = _inputs(x, network)
    y = _labels(labels, x, network.weights[-1].shape[-2])
    _checks.one_of(activation, "activation", ACTIVATIONS)
    rate = _checks.real(lr, "lr", low=0, closed="neither")
    losses = []
    for _ in range(_checks.integer(steps, "steps", low=0)):
        loss, gradients = _backward(network, x, y, activation)
        losses.append(loss)
        moved = [
            tuple(p - rate * g for p, g in zip(*pair, strict=True))
            for pair in zip(network, gradients, strict=True)
        ]
        network = Network(*moved)
    losses.append(_backward(network, x, y, activation)[0])
    return network, np.array(losses)
