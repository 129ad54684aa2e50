"""Signal and gradient through deep random networks, with and without batch norm and skips.

`deep_pass` sends a batch through and a gradient back; `deep_pass_theory` is its closed form for
wide layers and large batches.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import generator, integer, one_of
from .activations import relu
from .differentiation import vjp
from .layers import linear
from .normalization import batch_norm

__all__ = ["BATCH_NORM_GRADIENT_GROWTH", "DeepPass", "deep_pass", "deep_pass_theory"]

Array = NDArray[Any]

# Per layer, of the gradient's norm, in a wide plain ReLU network with batch norm and large
# batches. ReLU halves the squared gradient, as it halves E[x²]; but of that E[x²] the part 1/π is
# the same for all examples, and batch norm rescales only what is left, 1 - 1/π, to 1.
BATCH_NORM_GRADIENT_GROWTH = math.sqrt(math.pi / (math.pi - 1))


class DeepPass(NamedTuple):
    """Root mean square of x_l and of dL/dx_l at l = 0 (the input) ... depth, (depth + 1,) each.

    The gradient is relative to the one that comes in at the output, so its last value is 1.
    """

    signal: Array
    gradient: Array


def deep_pass(
    depth: int,
    *,
    width: int = 128,
    batch_size: int = 64,
    normalize: bool,
    residual: bool,
    rng: np.random.Generator,
) -> DeepPass:
    """Send Gaussian inputs forward and a Gaussian gradient backward through a random network.

    Parameters
    ----------
    depth : int
        Layers, >= 1.
    width : int
        Units of each layer, >= 1.
    batch_size : int
        Examples, >= 2.
    normalize : bool
        Whether batch norm (training mode) stands before each ReLU.
    residual : bool
        Whether each layer adds its input to its output.
    rng : numpy.random.Generator
        Draws inputs, weights and the gradient at the output.

    Returns
    -------
    DeepPass

    Raises
    ------
    ValueError, TypeError
        If a value is out of range.

    Notes
    -----
    ``f(x) = W relu(batch_norm(x))`` with He's Var W = 2/width, or ``W relu(x)`` without batch norm;
    ``x_{l+1} = f(x_l)`` or, with skips, ``x_{l+1} = x_l + f(x_l)``: the order of ResNet-v2.

    References
    ----------
    Yang et al. (2019); He et al. (2016), whose "full pre-activation" is the order with skips.

    Examples
    --------
    >>> done = deep_pass(20, normalize=True, residual=False, rng=np.random.default_rng(0))
    >>> bool(done.gradient[0] > 20)  # the gradient grows on its way down
    True
    """
    depth, width = integer(depth, "depth", low=1), integer(width, "width", low=1)
    batch_size = integer(batch_size, "batch_size", low=2)
    one_of(normalize, "normalize", (False, True))
    one_of(residual, "residual", (False, True))
    generator(rng)
    x = rng.standard_normal((batch_size, width))
    # Batch norm needs a spread over the batch and gets one: no two examples are equal.
    weights = rng.standard_normal((depth, width, width)) * math.sqrt(2 / width)

    def layer(x: Any, weight: Array) -> Any:
        branch = linear(relu(batch_norm(x) if normalize else x), weight)
        return x + branch if residual else branch

    pullbacks, signal = [], [_rms(x)]
    for weight in weights:
        x, pullback = vjp(layer, x, weight=weight)
        pullbacks.append(pullback)
        signal.append(_rms(x))

    dx = rng.standard_normal(x.shape)
    dx /= _rms(dx)
    gradient = [1.0]
    while pullbacks:
        (dx,) = pullbacks.pop()(dx)
        gradient.append(_rms(dx))
    return DeepPass(np.array(signal), np.array(gradient[::-1]))


def _rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def deep_pass_theory(depth: int, *, normalize: bool, residual: bool) -> DeepPass:
    """Give the expectation of `deep_pass` for wide layers and large batches.

    Parameters
    ----------
    depth : int
        Layers, >= 1.
    normalize, residual : bool
        As in `deep_pass`.

    Returns
    -------
    DeepPass

    Raises
    ------
    ValueError, TypeError
        If a value is out of range.

    Notes
    -----
    Squared gradient, per layer going down: 1 for the plain network; ``1/v`` with batch norm, where
    v is the variance of x_l over the batch (1 at the input, then ``1 - 1/π``); with skips 1 is
    added: 2 without batch norm, ``1 + 1/v`` with it, and v grows, ``v = 1 + l (1 - 1/π)``.
    Mean square of the signal: 1, 1, ``2**l`` and ``1 + l``.

    References
    ----------
    Yang et al. (2019), for the plain network with batch norm.

    Examples
    --------
    >>> deep_pass_theory(50, normalize=True, residual=False).gradient[:2].round(-2)
    array([11900., 11900.])
    >>> deep_pass_theory(50, normalize=True, residual=True).gradient[:2].round(1)
    array([12.4,  8.8])
    """
    layer = np.arange(integer(depth, "depth", low=1) + 1)
    one_of(normalize, "normalize", (False, True))
    one_of(residual, "residual", (False, True))
    varying = 1 - 1 / math.pi  # share of E[(W relu)²] that differs among the examples
    if residual:
        signal = np.sqrt(1.0 + layer) if normalize else np.sqrt(2.0) ** layer
        variance = 1 + layer[:-1] * varying
    else:
        signal = np.ones(depth + 1)
        variance = np.where(layer[:-1] == 0, 1, varying)
    factor = (1 / variance if normalize else np.ones(depth)) + residual
    below = np.cumprod(factor[::-1])[::-1]
    return DeepPass(signal, np.sqrt(np.append(below, 1.0)))
