"""Multilayer perceptrons: plain and residual.

A plain network composes layers, ``h = activation(W h + b)``: each replaces what came before. A
residual network adds to it, ``h = h + W_down activation(W_up h)``: the signal and the gradient
have a way past every block, so depth costs neither.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _checks
from ._parameters import _float_type, _floating, dense, dense_init, entries, layers
from .activations import relu
from .initialization import kaiming_normal

Array = NDArray[Any]

__all__ = ["mlp", "mlp_init", "residual_mlp", "residual_mlp_init"]


def mlp_init(
    sizes: Sequence[int],
    *,
    rng: np.random.Generator,
    initializer: Callable[..., Array] = kaiming_normal,
    dtype: DTypeLike = np.float64,
) -> list[dict[str, Array]]:
    """Draw the layers of a multilayer perceptron.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, the width of each hidden layer, outputs: at least two.
    rng : np.random.Generator
    initializer : callable
        Of `trainlab.initialization`: ``initializer((out, in), rng=rng, dtype=dtype)``. The default
        suits ReLU.
    dtype : {float16, float32, float64}

    Returns
    -------
    list of dict
        ``{"weight": (out, in), "bias": (out,)}`` per layer; the biases are 0.

    Raises
    ------
    ValueError, TypeError
        If a size is not a whole number >= 1, or there are fewer than two.

    Examples
    --------
    >>> params = mlp_init((2, 16, 16, 1), rng=np.random.default_rng(0))
    >>> [layer["weight"].shape for layer in params]
    [(16, 2), (16, 16), (1, 16)]
    """
    if not isinstance(sizes, (list, tuple)) or len(sizes) < 2:
        raise TypeError(
            f"mlp_init: sizes must be a sequence of at least two sizes; got {_checks._show(sizes)}"
        )
    widths = [_checks.integer(n, "sizes", low=1) for n in sizes]
    _checks.function(initializer, "initializer")
    _checks.generator(rng)
    kind = _float_type(dtype)
    return [
        {"weight": initializer((out, into), rng=rng, dtype=kind), "bias": np.zeros(out, kind)}
        for into, out in itertools.pairwise(widths)
    ]


def mlp(params: Any, x: Any, *, activation: Callable[[Any], Any] = relu) -> Any:
    """Evaluate a multilayer perceptron.

    Parameters
    ----------
    params : list of dict
        As `mlp_init` makes it.
    x : array of shape (..., in)
    activation : callable
        After every layer but the last.

    Returns
    -------
    array of shape (..., out)

    Raises
    ------
    ValueError, TypeError
        If the parameters are no layers, or x does not fit the first.

    Examples
    --------
    >>> xor = [
    ...     {"weight": np.array([[1.0, 1.0], [1.0, 1.0]]), "bias": np.array([0.0, -1.0])},
    ...     {"weight": np.array([[1.0, -2.0]]), "bias": np.zeros(1)},
    ... ]
    >>> mlp(xor, np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).ravel()
    array([0., 1., 1., 0.])
    """
    *hidden, last = layers(params, "params")
    _checks.function(activation, "activation")
    h = _floating(x, "x", nonempty=False)
    _checks.integer(h.ndim, "number of dimensions of x", low=1)
    for layer in hidden:
        h = activation(dense(layer, h))
    return dense(last, h)


def residual_mlp_init(
    in_features: int,
    out_features: int,
    *,
    width: int,
    depth: int,
    rng: np.random.Generator,
    hidden: int | None = None,
    branch_scale: float | None = None,
    dtype: DTypeLike = np.float64,
) -> dict[str, Any]:
    """Draw a residual multilayer perceptron.

    Parameters
    ----------
    in_features, out_features : int
    width : int
        Of the residual stream, >= 1.
    depth : int
        Number of blocks, >= 0.
    rng : np.random.Generator
    hidden : int, optional
        Width inside a block; `width` if left out.
    branch_scale : float, optional
        Multiplies the first weights of every "down" layer, >= 0; 1/√depth if left out.
    dtype : {float16, float32, float64}

    Returns
    -------
    dict
        "into" and "out", linear layers, and "blocks", a list of ``{"up", "down"}``.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    Each block adds its variance to that of the stream. With ReLU and branches of the scale 1 the
    variance doubles per block; with 1/√depth it grows by a factor below e = 2.718 in all. With 0
    the network starts as a linear map.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> params = residual_mlp_init(2, 3, width=8, depth=4, rng=rng)
    >>> len(params["blocks"]), params["blocks"][0]["up"]["weight"].shape
    (4, (8, 8))
    """
    into = _checks.integer(in_features, "in_features", low=1)
    out = _checks.integer(out_features, "out_features", low=1)
    width = _checks.integer(width, "width", low=1)
    depth = _checks.integer(depth, "depth", low=0)
    inner = width if hidden is None else _checks.integer(hidden, "hidden", low=1)
    if branch_scale is None:
        scale = 1 / math.sqrt(max(depth, 1))
    else:
        scale = _checks.real(branch_scale, "branch_scale", low=0)
    _checks.generator(rng)
    kind = _float_type(dtype)

    def layer(n: int, m: int, std: float) -> dict[str, Array]:
        return dense_init(n, m, std, rng=rng, dtype=kind)

    return {
        "into": layer(into, width, math.sqrt(1 / into)),
        "blocks": [
            {
                "up": layer(width, inner, math.sqrt(2 / width)),
                "down": layer(inner, width, scale * math.sqrt(1 / inner)),
            }
            for _ in range(depth)
        ],
        "out": layer(width, out, math.sqrt(1 / width)),
    }


def residual_mlp(params: Any, x: Any, *, activation: Callable[[Any], Any] = relu) -> Any:
    """Evaluate a residual multilayer perceptron.

    Parameters
    ----------
    params : dict
        As `residual_mlp_init` makes it.
    x : array of shape (..., in)
    activation : callable
        Inside every block.

    Returns
    -------
    array of shape (..., out)

    Raises
    ------
    ValueError, TypeError
        If an entry of the parameters is missing, or x does not fit.

    Notes
    -----
    ``h = W_into x + b``, then ``h = h + W_down activation(W_up h + b_up) + b_down`` for each block,
    then ``W_out h + b_out``. No normalization and nothing after the sum, as in the identity
    mappings of He et al.

    References
    ----------
    He, Zhang, Ren, Sun (2016), Identity mappings in deep residual networks.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> params = residual_mlp_init(2, 3, width=8, depth=50, rng=rng, branch_scale=0.0)
    >>> x = rng.standard_normal((1, 2))
    >>> linear = {**params, "blocks": []}
    >>> bool(np.all(residual_mlp(params, x) == residual_mlp(linear, x)))  # blocks start as identity
    True
    """
    entries(params, "params", "into", "blocks", "out")
    _checks.function(activation, "activation")
    x = _floating(x, "x", nonempty=False)
    _checks.integer(x.ndim, "number of dimensions of x", low=1)
    h = dense(params["into"], x)
    for block in layers(params["blocks"], "params['blocks']", nonempty=False):
        entries(block, "params['blocks']", "up", "down")
        h = h + dense(block["down"], activation(dense(block["up"], h)))
    return dense(params["out"], h)
