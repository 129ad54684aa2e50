"""Mean, variance and second moment, and what one number a layer leaves out.

`trainlab.signal_propagation` follows one number through a random network, the second moment of
each layer, as if layers were infinitely wide and there were a single input. This module starts
before that, with the statistics themselves (`moments`), and goes on after it:

    two inputs     how alike they are, layer by layer   (`correlation_map`, `correlation_by_layer`)
    dead units     ReLU units off for all of a batch    (`dead_share`)
    finite width   how far E[h²] strays from theory     (`log_moment_std`, `random_walks`)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks
from .activations import Activation
from .gelu import normal_cdf
from .signal_propagation import _WEIGHT, _Z, _pair, length_map, mean_field

Array = NDArray[Any]

__all__ = [
    "Moments",
    "correlation_by_layer",
    "correlation_map",
    "dead_share",
    "log_moment_std",
    "moments",
    "random_walks",
]


class Moments(NamedTuple):
    """What `moments` returns."""

    mean: Any
    variance: Any
    second_moment: Any


def moments(x: Any, *, axis: int | tuple[int, ...] | None = None, correction: int = 0) -> Moments:
    """Compute mean, variance and second moment.

    Parameters
    ----------
    x : array
    axis : int or tuple of int, optional
        What to average over; everything if left out.
    correction : int, default 0
        The sum of squared deviations is divided by n - correction, where n numbers are averaged:
        0 for the biased variance, 1 for the unbiased one. Below n.

    Returns
    -------
    Moments
        Mean, variance and mean of the squares, of the shape of x without `axis`.

    Raises
    ------
    TypeError, ValueError
        If x is no floating-point array, or `axis` or `correction` is out of range.

    Notes
    -----
    ``second_moment = mean² + variance`` with correction 0. The variance is not computed from this:
    where the mean is large the difference has no correct digit left.

    ``np.var`` divides by n, ``torch.var`` and pandas by n - 1. Normalization layers divide by n.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 3.0, 6.0])
    >>> tuple(map(float, moments(x)))
    (3.0, 3.5, 12.5)
    >>> float(moments(x, correction=1).variance.round(4))
    4.6667
    """
    x = _checks.array(x, "x")
    over = _checks.axes(axis, x.ndim)
    count = math.prod(x.shape[a] for a in over)
    correction = _checks.integer(correction, "correction", low=0, high=count - 1)
    mean = np.mean(x, axis=over, keepdims=True)
    deviations = np.sum(np.square(x - mean), axis=over)
    return Moments(
        np.squeeze(mean, axis=over),
        np.divide(deviations, count - correction, dtype=x.dtype),
        np.mean(np.square(x), axis=over),
    )


def _nodes(edges: list[float], count: int) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights in each of some neighboring intervals."""
    x, w = np.polynomial.legendre.leggauss(count)
    low, high = np.array(edges[:-1])[:, None], np.array(edges[1:])[:, None]
    return ((high + low) / 2 + (high - low) / 2 * x).ravel(), ((high - low) / 2 * w).ravel()


_R, _R_WEIGHT = _nodes([0.0, 1.0, 2.5, 5.0, 9.0], 8)
_R_WEIGHT = _R_WEIGHT * _R * np.exp(-(_R**2) / 2) / (2 * np.pi)
_ARC, _ARC_WEIGHT = _nodes([0.0, 1.0], 16)


def correlation_map(
    c: Any,
    *,
    q: float,
    activation: str | Activation,
    weight_variance: float,
    bias_variance: float = 0.0,
) -> Array:
    """Correlation between the pre-activations of two inputs in the next layer.

    Parameters
    ----------
    c : float or array
        Correlation in this layer, of pre-activations u and v, in [-1, 1].
    q : float
        Second moment of both, > 0.
    activation : str or Activation
        A name in `trainlab.activations.ACTIVATIONS`, or a function and its derivative.
    weight_variance : float
        σw² = fan_in · Var(W), > 0.
    bias_variance : float, default 0
        σb², >= 0. The two inputs share the biases.

    Returns
    -------
    array of the shape of c
        (σw² E[φ(u)φ(v)] + σb²) / (σw² E[φ(u)²] + σb²). Without biases it is the cosine between
        the activations of the two.

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Notes
    -----
    u = √q r cos θ and v = √q r cos(θ - arccos c), with r and θ the polar coordinates of two
    independent normal numbers. Kinks of φ at 0 lie at four angles, between which the integrand is
    smooth: seven digits for q up to 4, five up to 12. For ReLU without biases the result is
    (sin a + (π - a) cos a) / π, a = arccos c.

    At a fixed point of the length map the slope at c = 1 is χ, the gradient factor: below 1 two
    inputs become alike, above 1 even close ones part.

    References
    ----------
    Cho and Saul (2009), Kernel methods for deep learning, for ReLU; Poole et al. (2016).

    Examples
    --------
    >>> close = np.array([0.0, 0.9, 1.0])
    >>> correlation_map(close, q=1.0, activation="relu", weight_variance=2.0).round(4)
    array([0.3183, 0.9095, 1.    ])
    """
    pair = _pair(activation)
    c = _checks.array(c, "c").astype(np.float64)
    _checks.real(float(np.abs(c).max()), "size of c", high=1.0)
    root = math.sqrt(_checks.real(q, "q", low=0, closed="neither"))
    weight = _checks.real(weight_variance, "weight_variance", low=0, closed="neither")
    bias = _checks.real(bias_variance, "bias_variance", low=0)
    between = np.arccos(c)[..., None]
    # Four arcs of θ, between the angles where u or v changes its sign.
    start = np.concatenate([0 * between, between, 0 * between + np.pi, between + np.pi], axis=-1)
    length = np.concatenate([between, np.pi - between, between, np.pi - between], axis=-1)
    theta = (start - np.pi / 2)[..., None] + length[..., None] * _ARC  # (..., 4, angles)
    u = root * np.cos(theta)[..., None] * _R  # (..., 4, angles, radii)
    v = root * np.cos(theta - between[..., None])[..., None] * _R
    inner = (pair.function(u) * pair.function(v)) @ _R_WEIGHT
    product = np.sum((inner @ _ARC_WEIGHT) * length, axis=-1)
    square = length_map(q, activation=pair, weight_variance=1.0)
    return np.asarray(np.clip((weight * product + bias) / (weight * square + bias), -1, 1))


def correlation_by_layer(
    depth: int,
    *,
    activation: str | Activation,
    weight_variance: float,
    cosine: Any,
    bias_variance: float = 0.0,
    input_moment: float = 1.0,
) -> Array:
    """Follow two inputs through an infinitely wide network: how alike they are in each layer.

    Parameters
    ----------
    depth : int
        Number of layers L, >= 1.
    activation : str or Activation
        A name in `trainlab.activations.ACTIVATIONS`, or a function and its derivative.
    weight_variance : float
        σw² = fan_in · Var(W), > 0.
    cosine : float or array
        Between the two inputs, or those of several pairs, in [-1, 1].
    bias_variance : float, default 0
        σb², >= 0.
    input_moment : float
        E[x²] of both inputs, > 0.

    Returns
    -------
    array of shape (..., L + 1)
        The cosine, and the correlation of the pre-activations z_l for l = 1 … L. The leading axes
        are those of `cosine`.

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Examples
    --------
    >>> near = {"depth": 30, "activation": "tanh", "cosine": 0.9, "bias_variance": 0.05}
    >>> correlation_by_layer(weight_variance=1.0, **near)[[0, 10, 30]].round(3)
    array([0.9  , 0.985, 1.   ])
    >>> correlation_by_layer(weight_variance=4.0, **near)[[0, 10, 30]].round(3)
    array([0.9  , 0.535, 0.191])
    """
    depth = _checks.integer(depth, "depth", low=1)
    weight = _checks.real(weight_variance, "weight_variance", low=0, closed="neither")
    bias = _checks.real(bias_variance, "bias_variance", low=0)
    pair = _pair(activation)
    moment = _checks.real(input_moment, "input_moment", low=0, closed="neither")
    by_layer = [_checks.array(cosine, "cosine").astype(np.float64)]
    _checks.real(float(np.abs(by_layer[0]).max()), "size of cosine", high=1.0)
    q = weight * moment + bias
    by_layer.append((weight * moment * by_layer[0] + bias) / q)
    setting: dict[str, Any] = {
        "activation": pair,
        "weight_variance": weight,
        "bias_variance": bias,
    }
    for _ in range(depth - 1):
        by_layer.append(correlation_map(by_layer[-1], q=q, **setting))
        q = float(length_map(q, **setting))
    return np.stack(by_layer, axis=-1)


def log_moment_std(
    depth: int,
    *,
    width: int,
    activation: str | Activation,
    weight_variance: float,
    input_moment: float = 1.0,
) -> Array:
    """How far ln E[h²] of one input strays from theory in layers of finite width.

    Parameters
    ----------
    depth : int
        Number of layers L, >= 1.
    width : int
        Units in each layer, >= 1.
    activation : str or Activation
        A name in `trainlab.activations.ACTIVATIONS`, or a function and its derivative.
    weight_variance : float
        σw² = fan_in · Var(W), > 0.
    input_moment : float
        Mean square of the input, > 0.

    Returns
    -------
    array of shape (L + 1,)
        Standard deviation over random networks of ln(mean of h_l²), for l = 0 … L, to leading
        order in L / width.

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Notes
    -----
    A layer averages `width` independent squares: relative variance κ/width with
    κ = E[φ⁴] / E[φ²]² - 1. What had come in is multiplied by s, the slope of ln E[φ²] over ln q:

        var_l = s² var_(l-1) + κ / width

    For ReLU s = 1 and κ = 5: a random walk, √(5 l / width). For tanh at its fixed point s < 1:
    the deviation is forgotten and stays bounded.

    References
    ----------
    Hanin and Nica (2020), Products of many large random matrices and gradients in deep neural
    networks, for ReLU.

    Examples
    --------
    >>> log_moment_std(50, width=250, activation="relu", weight_variance=2.0)[[1, 10, 50]].round(3)
    array([0.141, 0.447, 1.   ])
    """
    depth = _checks.integer(depth, "depth", low=1)
    width = _checks.integer(width, "width", low=1)
    weight = _checks.real(weight_variance, "weight_variance", low=0, closed="neither")
    moment = _checks.real(input_moment, "input_moment", low=0, closed="neither")
    pair = _pair(activation)
    signal = mean_field(depth, activation=pair, weight_variance=weight, input_moment=moment)
    variance = [0.0]
    for before, after in zip(signal.forward[:-1], signal.forward[1:], strict=True):
        z = np.sqrt(weight * before) * _Z
        h = pair.function(z)
        kappa = float((h**2 / after) ** 2 @ _WEIGHT) - 1
        slope = float((h * pair.derivative(z) * z) @ _WEIGHT) / after
        variance.append(slope**2 * variance[-1] + kappa / width)
    return np.sqrt(variance)


def random_walks(
    depth: int,
    *,
    width: int,
    networks: int,
    activation: str | Activation,
    weight_variance: float,
    rng: np.random.Generator,
) -> Array:
    """Mean squares by layer of one input in many random networks, without their matrices.

    Parameters
    ----------
    depth : int
        Number of layers L, >= 1.
    width, networks : int
        Units in each layer and how many networks, >= 1.
    activation : str or Activation
        A name in `trainlab.activations.ACTIVATIONS`, or a function and its derivative.
    weight_variance : float
        σw² = width · Var(W), >= 0.
    rng : np.random.Generator

    Returns
    -------
    array of shape (networks, L + 1)
        Mean of h_l² over the units, 1 at l = 0.

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Notes
    -----
    For fixed h and a matrix W of independent normal numbers, W h is a vector of independent normal
    numbers with variance Var(W) ‖h‖². So `width` draws a layer do what width² would: the law is
    the same, exactly.

    Examples
    --------
    >>> ends = random_walks(
    ...     50, width=64, networks=400, activation="relu", weight_variance=2.0,
    ...     rng=np.random.default_rng(0),
    ... )[:, -1]
    >>> float(np.median(ends).round(2)), float(np.std(np.log(ends)).round(1))
    (0.14, 2.0)
    """
    depth = _checks.integer(depth, "depth", low=1)
    width = _checks.integer(width, "width", low=1)
    networks = _checks.integer(networks, "networks", low=1)
    weight = _checks.real(weight_variance, "weight_variance", low=0)
    function = _pair(activation).function
    rng = _checks.generator(rng)
    by_layer = [np.ones(networks)]
    for _ in range(depth):
        z = np.sqrt(weight * by_layer[-1])[:, None] * rng.standard_normal((networks, width))
        by_layer.append(np.mean(function(z) ** 2, axis=1))
    return np.stack(by_layer, axis=1)


def dead_share(c: Any, *, batch_size: int) -> Array:
    """Share of ReLU units that are off for a whole batch of inputs.

    Parameters
    ----------
    c : float or array
        Correlation between the pre-activations of any two of the inputs, in [0, 1].
    batch_size : int
        Number of inputs B, >= 1.

    Returns
    -------
    array of the shape of c
        ∫ φ(u) Φ(-u √(c / (1 - c)))ᴮ du, with φ and Φ the density and distribution function of
        normal numbers; 1/2 at c = 1, where all inputs are one.

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Notes
    -----
    Each pre-activation is √c u + √(1 - c) e_b: u is common to the batch, e_b is not. Given u they
    are independent. In deep layers the correlation follows from `correlation_by_layer`.

    Examples
    --------
    >>> dead_share([0.0, 0.9, 1.0], batch_size=10).round(4)
    array([0.001 , 0.3075, 0.5   ])
    """
    c = _checks.array(c, "c").astype(np.float64)
    _checks.real(float(c.min()), "c", low=0)
    _checks.real(float(c.max()), "c", high=1)
    size = _checks.integer(batch_size, "batch_size", low=1)
    ratio = np.sqrt(c / np.maximum(1 - c, np.finfo(np.float64).tiny))
    below = normal_cdf(-np.minimum(ratio[..., None], 1e12) * _Z)
    with np.errstate(under="ignore"):
        return np.asarray(below**size @ _WEIGHT)
