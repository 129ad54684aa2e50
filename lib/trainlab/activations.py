"""Activation functions and their derivatives.

An activation acts on each element alone, so its vector-Jacobian product is one multiplication:
``cotangent * derivative(x)``, with `x` the input of the activation. `ACTIVATIONS` holds each
function next to its derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks

Array = NDArray[Any]

__all__ = [
    "ACTIVATIONS",
    "SELU_ALPHA",
    "SELU_LAMBDA",
    "Activation",
    "gelu",
    "gelu_derivative",
    "identity",
    "identity_derivative",
    "leaky_relu",
    "leaky_relu_derivative",
    "normal_cdf",
    "relu",
    "relu_derivative",
    "selu",
    "selu_derivative",
    "sigmoid",
    "sigmoid_derivative",
    "tanh",
    "tanh_derivative",
]

# Klambauer et al. (2017): the two numbers for which mean 0 and variance 1 are a
# fixed point of a layer whose weights have variance 1 / fan_in.
SELU_ALPHA = 1.6732632423543772
SELU_LAMBDA = 1.0507009873554805


class Activation(NamedTuple):
    """A function of one number and its derivative, both elementwise."""

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


def identity(x: Array) -> Array:
    """Return x: a layer without an activation is linear.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x
        A copy of x.

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Examples
    --------
    >>> identity(np.array([-1.0, 2.0]))
    array([-1.,  2.])
    """
    return _checks.array(x, "x").copy()


def identity_derivative(x: Array) -> Array:
    """Return 1 for every element of x.

    Examples
    --------
    >>> identity_derivative(np.array([-1.0, 2.0]))
    array([1., 1.])
    """
    return np.ones_like(_checks.array(x, "x"))


def sigmoid(x: Array) -> Array:
    """Squash each number into (0, 1).

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x
        Values in [0, 1]; 0.5 at x = 0.

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Notes
    -----
    sigmoid(x) = 1 / (1 + exp(-x)). Computed from exp(-abs(x)), which cannot overflow. Its slope
    is at most 1/4 and its outputs are not centered: two reasons why deep sigmoid networks are
    hard to start.

    Examples
    --------
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    x = _checks.array(x, "x")
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))


def sigmoid_derivative(x: Array) -> Array:
    """Return s (1 - s) with s = sigmoid(x): at most 1/4, at x = 0.

    Examples
    --------
    >>> sigmoid_derivative(np.array([0.0, 1000.0]))
    array([0.25, 0.  ])
    """
    x = _checks.array(x, "x")
    small = np.exp(-np.abs(x))
    return np.asarray(small / (1 + small) ** 2)


def tanh(x: Array) -> Array:
    """Squash each number into (-1, 1); slope 1 at 0.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x
        Values in [-1, 1].

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Notes
    -----
    tanh(x) = 2 sigmoid(2 x) - 1.

    Examples
    --------
    >>> tanh(np.array([-1000.0, 0.0, 1000.0]))
    array([-1.,  0.,  1.])
    """
    return np.asarray(np.tanh(_checks.array(x, "x")))


def tanh_derivative(x: Array) -> Array:
    """Return 1 - tanh(x)².

    Examples
    --------
    >>> tanh_derivative(np.array([0.0, 1000.0]))
    array([1., 0.])
    """
    return np.asarray(1 - np.tanh(_checks.array(x, "x")) ** 2)


def relu(x: Array) -> Array:
    """Keep what is positive, replace the rest by 0.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x
        max(x, 0).

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Examples
    --------
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return np.asarray(np.maximum(_checks.array(x, "x"), 0))


def relu_derivative(x: Array) -> Array:
    """Return 1 where x > 0 and 0 elsewhere.

    Notes
    -----
    At x = 0 there is no derivative; 0 is the choice of PyTorch and JAX.

    Examples
    --------
    >>> relu_derivative(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    x = _checks.array(x, "x")
    return (x > 0).astype(x.dtype)


def leaky_relu(x: Array, *, negative_slope: float = 0.01) -> Array:
    """Keep what is positive, multiply the rest by a small slope.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.
    negative_slope : float, default 0.01
        Any finite number; 0 gives `relu`, 1 gives `identity`.

    Returns
    -------
    array of the shape of x
        x where x > 0, negative_slope * x elsewhere.

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers, or negative_slope no finite number.

    Examples
    --------
    >>> leaky_relu(np.array([-1.0, 2.0]), negative_slope=0.1)
    array([-0.1,  2. ])
    """
    x = _checks.array(x, "x")
    slope = _checks.real(negative_slope, "negative_slope")
    return np.where(x > 0, x, slope * x)


def leaky_relu_derivative(x: Array, *, negative_slope: float = 0.01) -> Array:
    """Return 1 where x > 0 and negative_slope elsewhere.

    Examples
    --------
    >>> leaky_relu_derivative(np.array([-1.0, 2.0]), negative_slope=0.1)
    array([0.1, 1. ])
    """
    x = _checks.array(x, "x")
    slope = _checks.real(negative_slope, "negative_slope")
    return np.where(x > 0, 1, slope).astype(x.dtype)


def selu(x: Array) -> Array:
    """Scaled exponential linear unit: keeps mean 0 and variance 1 from layer to layer.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x
        λ x where x > 0, λ α (exp(x) - 1) elsewhere.

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Notes
    -----
    λ = `SELU_LAMBDA` and α = `SELU_ALPHA` solve E[selu(z)] = 0 and E[selu(z)²] = 1 for
    z ~ N(0, 1), which is what a layer sees if its weights have variance 1 / fan_in.

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter (2017), Self-normalizing neural networks.

    Examples
    --------
    >>> selu(np.array([-1000.0, 1.0])).round(4)
    array([-1.7581,  1.0507])
    """
    x = _checks.array(x, "x")
    below = SELU_ALPHA * np.expm1(np.minimum(x, 0))  # the minimum keeps exp from overflowing
    return SELU_LAMBDA * np.where(x > 0, x, below)


def selu_derivative(x: Array) -> Array:
    """Return λ where x > 0, λ α exp(x) elsewhere: it jumps at 0, from λ α = 1.758 to λ = 1.051.

    Examples
    --------
    >>> selu_derivative(np.array([0.0, 1.0])).round(4)
    array([1.7581, 1.0507])
    """
    x = _checks.array(x, "x")
    below = SELU_ALPHA * np.exp(np.minimum(x, 0))
    return SELU_LAMBDA * np.where(x > 0, 1, below)


# NumPy has no error function. For y >= 0, exp(y²) erfc(y) (1 + 2 y) is smooth from 1 to 2/√π, and
# a polynomial in t = (y - 3.75) / (y + 3.75) fits it (Shepherd and Laframboise 1981). Its
# coefficients are interpolated here from math.erfc; beyond y = 26 exp(-y²) underflows.
_ERFC_LAST, _ERFC_MIDDLE = 26.0, 3.75


def _erfc_coefficients(degree: int) -> Array:
    last = (_ERFC_LAST - _ERFC_MIDDLE) / (_ERFC_LAST + _ERFC_MIDDLE)

    def scaled(t: Array) -> Array:
        y = _ERFC_MIDDLE * (1 + t) / (1 - t)
        return np.array([math.exp(v * v) * math.erfc(v) * (1 + 2 * v) for v in y])

    fit = np.polynomial.Chebyshev.interpolate(scaled, degree, domain=[-1, last])
    return np.asarray(fit.convert(kind=np.polynomial.Polynomial).coef)


_ERFC = _erfc_coefficients(20)


def normal_cdf(x: Array) -> Array:
    """Probability that a standard normal number is below x.

    Parameters
    ----------
    x : array, any shape
        Where to evaluate.

    Returns
    -------
    array of the shape of x
        Values in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Notes
    -----
    Φ(x) = erfc(-x / √2) / 2, by a fit to math.erfc with a relative error below 1e-12 for
    x >= -36, the left tail included; 1 + erf(x / √2), the usual way, loses all digits below -8.

    References
    ----------
    Shepherd and Laframboise (1981), Chebyshev approximation of (1 + 2x) exp(x²) erfc x.

    Examples
    --------
    >>> normal_cdf(np.array([0.0, 1.0])).round(6)
    array([0.5     , 0.841345])
    """
    x = _checks.array(x, "x")
    y = np.abs(x.astype(np.float64)) / math.sqrt(2)
    inside = np.minimum(y, _ERFC_LAST)
    t = (inside - _ERFC_MIDDLE) / (inside + _ERFC_MIDDLE)
    fit = np.full_like(t, _ERFC[-1])
    for coefficient in _ERFC[-2::-1]:
        fit *= t
        fit += coefficient
    tail = 0.5 * np.exp(-(np.minimum(y, 40.0) ** 2)) * fit / (1 + 2 * y)
    return np.asarray(np.where(x > 0, 1 - tail, tail), x.dtype)


def gelu(x: Array) -> Array:
    """Gaussian error linear unit: x times the probability that a normal number is below x.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x
        x Φ(x).

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Notes
    -----
    This is the exact form, PyTorch's default (``approximate="none"``); ``jax.nn.gelu`` uses the
    tanh approximation unless told otherwise.

    References
    ----------
    Hendrycks and Gimpel (2016), Gaussian error linear units (GELUs).

    Examples
    --------
    >>> gelu(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    x = _checks.array(x, "x")
    return np.asarray(x * normal_cdf(x))


def gelu_derivative(x: Array) -> Array:
    """Return Φ(x) + x exp(-x² / 2) / √(2 π).

    Examples
    --------
    >>> gelu_derivative(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.0833,  0.5   ,  1.0833])
    """
    x = _checks.array(x, "x")
    clipped = np.clip(x, -50, 50)  # the density is 0 beyond, and x² may overflow
    density = np.exp(-(clipped**2) / 2) / math.sqrt(2 * math.pi)
    return np.asarray(normal_cdf(x) + clipped * density)


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(identity, identity_derivative),
    "sigmoid": Activation(sigmoid, sigmoid_derivative),
    "tanh": Activation(tanh, tanh_derivative),
    "relu": Activation(relu, relu_derivative),
    "leaky_relu": Activation(leaky_relu, leaky_relu_derivative),
    "selu": Activation(selu, selu_derivative),
    "gelu": Activation(gelu, gelu_derivative),
}
