"""What happens to signals and gradients in a deep network at its start: theory and simulation.

A plain network of L layers, h_l = φ(z_l) with z_l = W_l h_{l-1} + b_l, is wide and its weights are
independent with mean 0. Then every z_l is a sum of many small terms, hence nearly normal, and one
number a layer describes it: q_l = E[z_l²]. Two maps say everything:

    forward   q → σw² E[φ(√q z)²] + σb²     (length map; σw² = fan_in · Var(W), z normal)
    backward  E[(∂L/∂h)²] is multiplied by χ(q) = σw² E[φ'(√q z)²] on its way down a layer

`mean_field` iterates them; `simulate` sends real inputs and gradients through real matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks
from .activations import ACTIVATIONS, Activation

Array = NDArray[Any]

__all__ = [
    "Signal",
    "critical_variance",
    "fixed_point",
    "gradient_factor",
    "length_map",
    "mean_field",
    "simulate",
]


class Signal(NamedTuple):
    """Second moments by layer, of arrays of length depth + 1; entry 0 is the input.

    Attributes
    ----------
    forward : array
        E[h_l²] for l = 0 … L.
    backward : array
        E[(∂L/∂h_l)²] for l = 0 … L, relative to a gradient of second moment 1 at layer L if it
        comes from `mean_field`.
    """

    forward: Array
    backward: Array


def _half_line() -> tuple[Array, Array]:
    """Nodes z > 0 and weights of a Gauss rule for the normal density.

    Activations have kinks at 0, so the two half-lines are integrated apart: across a kink the
    usual Gauss-Hermite rule is wrong in the second digit. Panels shrink toward 0, because
    φ(√q z) changes within z ~ 1 / √q.
    """
    edges = np.concatenate([[0.0], 2.0 ** np.arange(-12, 4), [12.0]])
    x, w = np.polynomial.legendre.leggauss(12)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    z = (middle + half * x).ravel()
    return z, (half * w).ravel() * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


_HALF, _HALF_WEIGHT = _half_line()
_Z = np.concatenate([_HALF, -_HALF])
_WEIGHT = np.concatenate([_HALF_WEIGHT, _HALF_WEIGHT])
_TINY = np.finfo(np.float64).tiny


def _pair(activation: str | Activation) -> Activation:
    if isinstance(activation, Activation):
        return activation
    return ACTIVATIONS[_checks.one_of(activation, "activation", ACTIVATIONS)]


def _spread(q: Any) -> Array:
    """Pre-activations √q z at the nodes, of shape (*q.shape, nodes)."""
    values = _checks.array(q, "q")
    if (values < 0).any():
        raise ValueError(f"{_checks._where()}: q must be >= 0; got {values.min()}")
    return np.asarray(np.sqrt(values)[..., None] * _Z)


def _mean_square(function: Callable[[Array], Array], spread: Array) -> Any:
    return function(spread) ** 2 @ _WEIGHT


def length_map(
    q: Any,
    *,
    activation: str | Activation,
    weight_variance: float,
    bias_variance: float = 0.0,
) -> Array:
    """Second moment of the next layer's pre-activations.

    Parameters
    ----------
    q : float or array
        Second moment of this layer's pre-activations, >= 0.
    activation : str or Activation
        A name in `trainlab.activations.ACTIVATIONS`, or a function and its derivative.
    weight_variance : float
        σw² = fan_in · Var(W), >= 0: 1 for LeCun and for Xavier in square layers, 2 for He.
    bias_variance : float, default 0
        σb², >= 0.

    Returns
    -------
    array of the shape of q
        σw² E[φ(√q z)²] + σb², for z ~ N(0, 1).

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    References
    ----------
    Poole et al. (2016), Exponential expressivity in deep neural networks through transient
    chaos.

    Examples
    --------
    >>> float(length_map(1.0, activation="relu", weight_variance=2.0).round(12))
    1.0
    """
    h = _pair(activation).function(_spread(q))
    scale = _checks.real(weight_variance, "weight_variance", low=0)
    return np.asarray(
        scale * (h**2 @ _WEIGHT) + _checks.real(bias_variance, "bias_variance", low=0)
    )


def gradient_factor(q: Any, *, activation: str | Activation, weight_variance: float) -> Array:
    """Factor on the gradient's second moment when it passes back through a layer.

    Parameters
    ----------
    q : float or array
        Second moment of the layer's pre-activations, >= 0.
    activation : str or Activation
        A name in `trainlab.activations.ACTIVATIONS`, or a function and its derivative.
    weight_variance : float
        Variance of a weight times the fan that counts: fan_out on the way back, which equals
        fan_in in square layers.

    Returns
    -------
    array of the shape of q
        χ = σw² E[φ'(√q z)²]: gradients vanish below 1, explode above.

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Notes
    -----
    At q = 0 this is the limit from above: half of the pre-activations lie on either side of the
    kink that ReLU and SELU have at 0, however small they are.

    References
    ----------
    Schoenholz et al. (2017), Deep information propagation.

    Examples
    --------
    >>> float(gradient_factor(1.0, activation="selu", weight_variance=1.0).round(4))
    1.0716
    """
    weight = _checks.real(weight_variance, "weight_variance", low=0)
    spread = _spread(q)
    spread = np.where(spread == 0, np.copysign(_TINY, _Z), spread)
    return np.asarray(weight * _mean_square(_pair(activation).derivative, spread))


def mean_field(
    depth: int,
    *,
    activation: str | Activation,
    weight_variance: float,
    bias_variance: float = 0.0,
    input_moment: float = 1.0,
) -> Signal:
    """Second moments by layer in an infinitely wide network with square layers.

    Parameters
    ----------
    depth : int
        Number of layers L, >= 1.
    activation : str or Activation
        A name in `trainlab.activations.ACTIVATIONS`, or a function and its derivative.
    weight_variance, bias_variance : float
        σw² = fan_in · Var(W) and σb², >= 0.
    input_moment : float, default 1
        E[x²] of the inputs, >= 0.

    Returns
    -------
    Signal
        forward[l] = E[h_l²]; backward[l] is the product of χ over the layers l + 1 … L.

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Examples
    --------
    >>> signal = mean_field(10, activation="relu", weight_variance=1.0)
    >>> bool(np.allclose(signal.forward[10], 2.0**-10))
    True
    """
    layers = _checks.integer(depth, "depth", low=1)
    weight = _checks.real(weight_variance, "weight_variance", low=0)
    bias = _checks.real(bias_variance, "bias_variance", low=0)
    pair = _pair(activation)
    forward = [_checks.real(input_moment, "input_moment", low=0)]
    factors = []
    for _ in range(layers):
        z = np.sqrt(weight * forward[-1] + bias) * _Z
        forward.append(float(_mean_square(pair.function, z)))
        factors.append(weight * float(_mean_square(pair.derivative, z)))
    return Signal(np.array(forward), np.cumprod([1.0, *factors[::-1]])[::-1].copy())


def fixed_point(
    *,
    activation: str | Activation,
    weight_variance: float,
    bias_variance: float = 0.0,
    q0: float = 1.0,
) -> float:
    """Second moment that the length map approaches from `q0`, layer by layer.

    Parameters
    ----------
    activation : str or Activation
        A name in `trainlab.activations.ACTIVATIONS`, or a function and its derivative.
    weight_variance, bias_variance : float
        σw² and σb², >= 0.
    q0 : float, default 1
        Where to start, > 0.

    Returns
    -------
    float
        The first q on the way for which `length_map(q) == q`; 0.0 if the signal dies out
        (below 1e-9), inf if it grows without bound (above 1e9).

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range.

    Notes
    -----
    A scan in steps of 2 % and then bisection, not iteration of the map: near a critical point
    that would take thousands of layers. The map must increase with q, as it does for every
    activation here.

    Examples
    --------
    >>> round(fixed_point(activation="tanh", weight_variance=1.5), 3)
    0.287
    """
    pair = _pair(activation)
    weight = _checks.real(weight_variance, "weight_variance", low=0)
    bias = _checks.real(bias_variance, "bias_variance", low=0)
    start = _checks.real(q0, "q0", low=0, closed="neither")

    def growth(q: Any) -> Array:
        after = length_map(q, activation=pair, weight_variance=weight, bias_variance=bias)
        return np.asarray(after - q)

    first = float(growth(start))
    if abs(first) <= 1e-12 * start:
        return start
    # Most fixed points are near: a scan that ends where the sign turns is ten times faster.
    ratio, limit = (1.02, 1e9) if first > 0 else (1 / 1.02, 1e-9)
    inside, turned = start, np.zeros(0, dtype=int)
    while not turned.size:
        if (inside - limit) * first >= 0:
            return np.inf if first > 0 else 0.0
        path = inside * ratio ** np.arange(65)
        turned = np.flatnonzero(growth(path[1:]) * np.sign(first) <= 0)
        inside = path[turned[0] if turned.size else -1]
    outside = inside * ratio
    for _ in range(60):
        middle = (inside + outside) / 2
        if growth(middle) * np.sign(first) > 0:
            inside = middle
        else:
            outside = middle
    return float(outside)


def critical_variance(
    *, activation: str | Activation, low: float, high: float, bias_variance: float = 0.0
) -> float:
    """Weight variance at which the gradient turns from vanishing to exploding.

    Parameters
    ----------
    activation : str or Activation
        A name in `trainlab.activations.ACTIVATIONS`, or a function and its derivative.
    low, high : float
        Values of σw² between which to search, 0 <= low < high; χ is below 1 at low and not at
        high.
    bias_variance : float, default 0
        σb², >= 0.

    Returns
    -------
    float
        The σw² where χ, taken at the fixed point that `fixed_point` finds from q = 1, passes 1;
        to four digits.

    Raises
    ------
    TypeError, ValueError
        If a parameter is outside its range, or χ is on the same side of 1 at low and high.

    Notes
    -----
    By bisection. For ReLU this is He's 2. Above and below the value that is found gradients grow
    or shrink in every layer; whether the signal survives there is another question (`fixed_point`).

    References
    ----------
    Schoenholz et al. (2017), Deep information propagation.

    Examples
    --------
    >>> round(critical_variance(activation="relu", low=1, high=4), 4)
    2.0
    >>> round(critical_variance(activation="tanh", low=0.5, high=2), 4)
    1.0
    """
    pair = _pair(activation)
    bias = _checks.real(bias_variance, "bias_variance", low=0)
    below = _checks.real(low, "low", low=0)
    above = _checks.real(high, "high", low=below, closed="neither")

    def chi(weight: float) -> float:
        q = fixed_point(activation=pair, weight_variance=weight, bias_variance=bias)
        q = min(q, 1e9)  # where the signal explodes, χ is that of large pre-activations
        return float(gradient_factor(q, activation=pair, weight_variance=weight))

    if chi(below) >= 1:
        raise ValueError(f"critical_variance: low must give χ < 1; got {low}, χ = {chi(below)}")
    if chi(above) < 1:
        raise ValueError(f"critical_variance: high must give χ >= 1; got {high}, χ = {chi(above)}")
    while above - below > 1e-5 * above:
        middle = (below + above) / 2
        below, above = (middle, above) if chi(middle) < 1 else (below, middle)
    return above


def _matrix(value: Array, inputs: int) -> Array:
    weight = _checks.array(value, "weights")
    if weight.ndim != 2 or weight.shape[1] != inputs:
        raise ValueError(
            f"simulate: weights must be matrices (out, in) that follow x and one another, "
            f"here in = {inputs}; got shape {weight.shape}"
        )
    return weight


def simulate(
    weights: Sequence[Array],
    x: Array,
    *,
    cotangent: Array,
    activation: str | Activation,
    biases: Sequence[Array] | None = None,
) -> Signal:
    """Send inputs forward and a gradient back through a network, and measure every layer.

    Parameters
    ----------
    weights : sequence of arrays
        W_l of shape (out, in), the first layer first.
    x : array of shape (batch, in)
        Inputs h_0.
    cotangent : array of shape (batch, out)
        ∂L/∂h_L.
    activation : str or Activation
        A name in `trainlab.activations.ACTIVATIONS`, or a function and its derivative.
    biases : sequence of arrays of shape (out,), optional
        None means no biases.

    Returns
    -------
    Signal
        Mean squares over batch and units of h_l and of ∂L/∂h_l, for l = 0 … L.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit together.

    Examples
    --------
    >>> W = [np.eye(2), 3 * np.eye(2)]
    >>> ones = np.ones((1, 2))
    >>> simulate(W, ones, cotangent=ones, activation="relu")
    Signal(forward=array([1., 1., 9.]), backward=array([9., 9., 1.]))
    """
    pair = _pair(activation)
    if not isinstance(weights, (list, tuple)) or not weights:
        raise TypeError(
            f"simulate: weights must be a non-empty list or tuple of matrices; got {weights!r:.60}"
        )
    if biases is not None and (
        not isinstance(biases, (list, tuple)) or len(biases) != len(weights)
    ):
        raise ValueError(
            f"simulate: biases must be one vector for each of the {len(weights)} weights; "
            f"got {biases!r:.60}"
        )
    h = _checks.array(x, "x", ndim=2)
    batch, width = h.shape
    pre_activations, forward = [], [np.mean(h**2)]
    for layer, matrix in enumerate(weights):
        weight = _matrix(matrix, width)
        z = h @ weight.T  # (batch, in) @ (in, out) -> (batch, out)
        width = weight.shape[0]
        if biases is not None:
            z = z + _checks.array(biases[layer], "biases", shape=(width,))
        pre_activations.append(z)
        h = pair.function(z)
        forward.append(np.mean(h**2))
    g = _checks.array(cotangent, "cotangent", shape=(batch, width))
    backward = [np.mean(g**2)]
    for z, weight in zip(pre_activations[::-1], weights[::-1], strict=True):
        g = (g * pair.derivative(z)) @ weight  # (batch, out) @ (out, in) -> (batch, in)
        backward.append(np.mean(g**2))
    return Signal(np.array(forward), np.array(backward[::-1]))
