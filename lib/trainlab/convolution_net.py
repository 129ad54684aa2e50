"""A small convolution network: filters that look everywhere, then an average over places.

Each stage is a 3 × 3 convolution, an activation and a pooling that halves the image. What is
left is averaged over all places, and a linear layer reads the classes off the channels. The
filters are shared by all places, so a shifted image gives shifted feature maps.
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
from .layers import conv2d, global_avg_pool2d, max_pool2d

Array = NDArray[Any]

__all__ = ["convolution_net", "convolution_net_init"]


def convolution_net_init(
    channels: Sequence[int],
    classes: int,
    *,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float64,
) -> dict[str, Any]:
    """Draw a small convolution network.

    Parameters
    ----------
    channels : sequence of int
        Of the image and after each stage: at least two.
    classes : int
        Outputs, >= 1.
    rng : np.random.Generator
    dtype : {float16, float32, float64}

    Returns
    -------
    dict
        "stages", a list of ``{"weight": (out, in, 3, 3), "bias": (out,)}``, and "out", a
        linear layer.

    Raises
    ------
    ValueError, TypeError
        If a number is not a whole number >= 1, or there are fewer than two channels.

    Examples
    --------
    >>> params = convolution_net_init((1, 8, 16), 10, rng=np.random.default_rng(0))
    >>> [stage["weight"].shape for stage in params["stages"]], params["out"]["weight"].shape
    ([(8, 1, 3, 3), (16, 8, 3, 3)], (10, 16))
    """
    if not isinstance(channels, (list, tuple)) or len(channels) < 2:
        raise TypeError(
            "convolution_net_init: channels must be a sequence of at least two numbers; "
            f"got {_checks._show(channels)}"
        )
    widths = [_checks.integer(n, "channels", low=1) for n in channels]
    count = _checks.integer(classes, "classes", low=1)
    _checks.generator(rng)
    kind = _float_type(dtype)
    stages = [
        {
            "weight": kaiming_normal((out, into, 3, 3), rng=rng, dtype=kind),
            "bias": np.zeros(out, kind),
        }
        for into, out in itertools.pairwise(widths)
    ]
    std = math.sqrt(1 / widths[-1])
    return {"stages": stages, "out": dense_init(widths[-1], count, std, rng=rng, dtype=kind)}


def convolution_net(params: Any, x: Any, *, activation: Callable[[Any], Any] = relu) -> Any:
    """Evaluate a small convolution network.

    Parameters
    ----------
    params : dict
        As `convolution_net_init` makes it.
    x : array of shape (N, C, H, W)
        Images; H and W at least 2 to the power of the number of stages.
    activation : callable
        After every convolution.

    Returns
    -------
    array of shape (N, classes)
        Logits.

    Raises
    ------
    ValueError, TypeError
        If an entry of the parameters is missing, or the images do not fit.

    Notes
    -----
    A stage is ``max_pool2d(activation(conv2d(x, weight, bias=bias, padding=1)), 2)``. A last row
    or column of an odd size is dropped by the pooling.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> params = convolution_net_init((1, 8, 16), 10, rng=rng)
    >>> convolution_net(params, rng.standard_normal((5, 1, 8, 8))).shape
    (5, 10)
    """
    stages = layers(entries(params, "params", "stages", "out")["stages"], "params['stages']")
    _checks.function(activation, "activation")
    h = _floating(x, "x", ndim=4, nonempty=False)
    smallest = min(h.shape[2:])
    _checks.integer(smallest, "height and width of x", low=2 ** len(stages))
    for stage in stages:
        entries(stage, "params['stages']", "weight", "bias")
        h = activation(conv2d(h, stage["weight"], bias=stage["bias"], padding=1))
        h = max_pool2d(h, 2)
    return dense(params["out"], global_avg_pool2d(h))
