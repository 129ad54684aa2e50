"""Activation functions and their slopes.

An activation acts on each element alone, so its pullback is one multiplication:
``cotangent * slope``, the slope taken at the input of the activation. Value and slope share their
exponentials and are computed together, block by block, so that intermediate results stay in the
cache. `ACTIVATIONS` pairs some of them, by name, with their slopes: for gradients without
Variables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import _checks
from ._elementwise import (
    Array,
    Kernel,
    Result,
    logistic,
    value_and_pullback,
    value_and_slope,
)
from .differentiation import differentiable
from .gelu import gelu, gelu_derivative, normal_cdf

__all__ = [
    "ACTIVATIONS",
    "SELU_ALPHA",
    "SELU_LAMBDA",
    "Activation",
    "elu",
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
    "silu",
    "softplus",
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


# Linear in pieces -----------------------------------------------------------------------------


def _two_slopes(x: Array, below: float) -> Array:
    """Return 1 where x > 0, `below` elsewhere; np.where would take ten times as long."""
    above = (x > 0).astype(x.dtype)
    return np.asarray(above + below * (1 - above))


def _factor(value: float, name: str, x: Array) -> float:
    """Check a finite number that the dtype of x can hold: infinity times 0 would be NaN."""
    largest = float(np.finfo(x.dtype).max)
    return _checks.real(value, name, low=-largest, high=largest)


@differentiable("x")
def identity(x: Any) -> Result:
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
    value: Array = _checks.array(x, "x", nonempty=False).copy()
    return value, lambda cotangent: (cotangent,)


def identity_derivative(x: Any) -> Array:
    """Return 1 for every element of x.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Examples
    --------
    >>> identity_derivative(np.array([-1.0, 2.0]))
    array([1., 1.])
    """
    return np.ones_like(_checks.array(x, "x", nonempty=False))


@differentiable("x")
def relu(x: Any) -> Result:
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

    Notes
    -----
    The slope is 1 where x > 0 and 0 elsewhere. At x = 0 there is none; 0 is the choice of PyTorch
    and JAX. The pullback keeps the value, which the next layer keeps as well: no memory is added.

    Examples
    --------
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    value = np.asarray(np.maximum(_checks.array(x, "x", nonempty=False), 0))
    return value, lambda cotangent: (np.asarray(cotangent * (value > 0)),)


def relu_derivative(x: Any) -> Array:
    """Return 1 where x > 0 and 0 elsewhere.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Examples
    --------
    >>> relu_derivative(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    return _two_slopes(_checks.array(x, "x", nonempty=False), 0.0)


@differentiable("x")
def leaky_relu(x: Any, *, negative_slope: float = 0.01) -> Result:
    """Keep what is positive, multiply the rest by a small slope.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.
    negative_slope : float, default 0.01
        Any finite number of the dtype of x; 0 gives `relu`, 1 gives `identity`.

    Returns
    -------
    array of the shape of x
        x where x > 0, negative_slope * x elsewhere.

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers, or negative_slope no such number.

    Examples
    --------
    >>> leaky_relu(np.array([-1.0, 2.0]), negative_slope=0.1)
    array([-0.1,  2. ])
    """
    x = _checks.array(x, "x", nonempty=False)
    slope = _two_slopes(x, _factor(negative_slope, "negative_slope", x))
    return np.asarray(x * slope), lambda cotangent: (np.asarray(cotangent * slope),)


def leaky_relu_derivative(x: Any, *, negative_slope: float = 0.01) -> Array:
    """Return 1 where x > 0 and negative_slope elsewhere.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.
    negative_slope : float, default 0.01

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers, or negative_slope no such number.

    Examples
    --------
    >>> leaky_relu_derivative(np.array([-1.0, 2.0]), negative_slope=0.1)
    array([0.1, 1. ])
    """
    x = _checks.array(x, "x", nonempty=False)
    return _two_slopes(x, _factor(negative_slope, "negative_slope", x))


# Sigmoids -------------------------------------------------------------------------------------


def _sigmoid(x: Array) -> tuple[Array, Array]:
    value, tail = logistic(x)
    return value, tail * (1 - tail)


@differentiable("x")
def sigmoid(x: Any) -> Result:
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
    sigmoid(x) = 1 / (1 + exp(-x)) with the slope s (1 - s), s = sigmoid(x). The slope is at most
    1/4 and the outputs are not centered: two reasons why deep sigmoid networks are hard to start.

    Examples
    --------
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return value_and_pullback(_sigmoid, _checks.array(x, "x", nonempty=False))


def sigmoid_derivative(x: Any) -> Array:
    """Return s (1 - s) with s = sigmoid(x): at most 1/4, at x = 0.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Examples
    --------
    >>> sigmoid_derivative(np.array([0.0, 1000.0]))
    array([0.25, 0.  ])
    """
    return value_and_slope(_sigmoid, _checks.array(x, "x", nonempty=False))[1]


def _tanh(x: Array) -> tuple[Array, Array]:
    value = np.tanh(x)
    return value, 1 - value * value


@differentiable("x")
def tanh(x: Any) -> Result:
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
    tanh(x) = 2 sigmoid(2 x) - 1, with the slope 1 - tanh(x)².

    Examples
    --------
    >>> tanh(np.array([-1000.0, 0.0, 1000.0]))
    array([-1.,  0.,  1.])
    """
    return value_and_pullback(_tanh, _checks.array(x, "x", nonempty=False))


def tanh_derivative(x: Any) -> Array:
    """Return 1 - tanh(x)².

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Examples
    --------
    >>> tanh_derivative(np.array([0.0, 1000.0]))
    array([1., 0.])
    """
    return value_and_slope(_tanh, _checks.array(x, "x", nonempty=False))[1]


# Smooth relatives of ReLU (gelu has a module of its own) ----------------------------------------


def _exponential_below(alpha: float, scale: float) -> Kernel:
    """Return the kernel of scale · x above 0 and scale · alpha · (exp(x) - 1) below."""

    def kernel(x: Array) -> tuple[Array, Array]:
        below = np.expm1(np.minimum(x, 0))  # 0 on the right
        below *= scale * alpha
        slope = below + scale * alpha
        slope += (x > 0) * x.dtype.type(scale - scale * alpha)
        return np.maximum(x, 0) * scale + below, slope

    return kernel


@differentiable("x")
def elu(x: Any, *, alpha: float = 1.0) -> Result:
    """Exponential linear unit: as ReLU above 0, and bends smoothly to -alpha below.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.
    alpha : float, default 1
        Any finite number of the dtype of x. The slope jumps at 0 unless it is 1.

    Returns
    -------
    array of the shape of x
        x where x > 0, alpha (exp(x) - 1) elsewhere.

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers, or alpha no such number.

    Notes
    -----
    The slope is 1 where x > 0 and alpha exp(x) elsewhere.

    References
    ----------
    Clevert, Unterthiner, Hochreiter (2016), Fast and accurate deep network learning by
    exponential linear units (ELUs).

    Examples
    --------
    >>> elu(np.array([-1000.0, -1.0, 2.0])).round(4)
    array([-1.    , -0.6321,  2.    ])
    """
    x = _checks.array(x, "x", nonempty=False)
    return value_and_pullback(_exponential_below(_factor(alpha, "alpha", x), 1.0), x)


_selu = _exponential_below(SELU_ALPHA, SELU_LAMBDA)


@differentiable("x")
def selu(x: Any) -> Result:
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
    return value_and_pullback(_selu, _checks.array(x, "x", nonempty=False))


def selu_derivative(x: Any) -> Array:
    """Return λ where x > 0, λ α exp(x) elsewhere: it jumps at 0, from λ α = 1.758 to λ = 1.051.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Examples
    --------
    >>> selu_derivative(np.array([0.0, 1.0])).round(4)
    array([1.7581, 1.0507])
    """
    return value_and_slope(_selu, _checks.array(x, "x", nonempty=False))[1]


def _silu(x: Array) -> tuple[Array, Array]:
    s, tail = logistic(x)
    return x * s, s + x * (tail * (1 - tail))


@differentiable("x")
def silu(x: Any) -> Result:
    """Sigmoid linear unit, also called swish: x sigmoid(x).

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Notes
    -----
    The slope is s (1 + x (1 - s)) with s = sigmoid(x). The gate of SwiGLU. The smallest value is
    -0.278, at x = -1.278.

    References
    ----------
    Ramachandran, Zoph, Le (2017), Searching for activation functions.

    Examples
    --------
    >>> silu(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.2689,  0.    ,  0.7311])
    """
    return value_and_pullback(_silu, _checks.array(x, "x", nonempty=False))


def _softplus(x: Array) -> tuple[Array, Array]:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), logistic(x)[0]


@differentiable("x")
def softplus(x: Any) -> Result:
    """Smooth ReLU: log(1 + exp(x)), always positive; its slope is the sigmoid.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Notes
    -----
    Computed as max(x, 0) + log1p(exp(-abs(x))), which is right for all x; PyTorch returns x itself
    above its `threshold` of 20.

    Examples
    --------
    >>> softplus(np.array([-1000.0, 0.0, 50.0])).round(4)
    array([ 0.    ,  0.6931, 50.    ])
    """
    return value_and_pullback(_softplus, _checks.array(x, "x", nonempty=False))


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(identity, identity_derivative),
    "sigmoid": Activation(sigmoid, sigmoid_derivative),
    "tanh": Activation(tanh, tanh_derivative),
    "relu": Activation(relu, relu_derivative),
    "leaky_relu": Activation(leaky_relu, leaky_relu_derivative),
    "selu": Activation(selu, selu_derivative),
    "gelu": Activation(gelu, gelu_derivative),
}
