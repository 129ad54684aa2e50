"""Curvature of a loss: how sharp its steepest direction is, and the learning rate that allows.

A step of gradient descent multiplies the error along a direction of curvature h by ``1 - lr · h``.
Beyond ``lr = 2 / h`` that is less than -1: the error changes its sign and grows. So the largest
curvature, the *sharpness*, decides which learning rates are stable.

The Hessian itself is never formed: two gradients give its product with one direction, and a few
such products find the sharpest one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import array, function, integer, one_of, real
from ._leafwise import _leaves, _leaves_like
from .differentiation import value_and_grad
from .trees import tree_leaves, tree_map, tree_unflatten

Array = NDArray[Any]

__all__ = ["Sharpness", "hessian_vector_product", "largest_stable_lr", "sharpness"]


class Sharpness(NamedTuple):
    """The largest curvature, and the unit direction that has it: a tree like the parameters."""

    value: float
    direction: Any


def largest_stable_lr(curvature: Any, *, momentum: float = 0.0, nesterov: bool = False) -> Any:
    """Return the learning rate beyond which gradient descent diverges.

    Parameters
    ----------
    curvature : float or array
        Largest second derivative of the loss, > 0.
    momentum : float
        As in `trainlab.optimizers.sgd_update`, in [0, 1).
    nesterov : bool
        Whether the momentum is Nesterov's.

    Returns
    -------
    float or array

    Raises
    ------
    ValueError, TypeError
        If a parameter is of the wrong kind or range.

    Notes
    -----
    ``2 (1 + momentum) / curvature``; with `nesterov` divided by ``1 + 2 momentum``. Read the other
    way it is the largest curvature that a learning rate allows, ``2 / lr`` without momentum. Exact
    for a quadratic loss.

    References
    ----------
    Cohen et al. (2021), "Gradient descent on neural networks typically occurs at the edge of
    stability".

    Examples
    --------
    >>> largest_stable_lr(100.0), largest_stable_lr(100.0, momentum=0.9)
    (0.02, 0.038)
    """
    momentum = real(momentum, "momentum", low=0, high=1, closed="left")
    factor = 2 * (1 + momentum)
    if one_of(nesterov, "nesterov", (False, True)):
        factor /= 1 + 2 * momentum
    if np.ndim(curvature) == 0:
        return factor / real(curvature, "curvature", low=0, closed="neither")
    values = array(curvature, "curvature")
    if not np.all(values > 0):
        raise ValueError(f"largest_stable_lr: curvature must be > 0; got {values.min()}")
    return factor / values


def hessian_vector_product(
    loss: Callable[[Any], Any], params: Any, *, direction: Any, step: float = 1e-4
) -> Any:
    """Multiply the Hessian of a loss with a direction.

    Parameters
    ----------
    loss : callable
        ``loss(params)`` gives one number, made of differentiable functions.
    params, direction : trees of one structure
        Parameters in float64: the difference of two gradients loses half of the digits.
    step : float
        How far apart the gradients are taken from the parameters, as an L2 norm, > 0.

    Returns
    -------
    tree
        Like the parameters; zeros if the direction is zero.

    Raises
    ------
    ValueError, TypeError
        If a parameter is of the wrong kind or range.

    Notes
    -----
    ``(∇loss(w + step · d) - ∇loss(w - step · d)) / (2 · step)`` for the unit vector d, times the
    length of the direction. Its error is of order ``step²``. PyTorch and JAX differentiate the
    gradient instead, which is exact; `trainlab.differentiation` has first derivatives only.

    Examples
    --------
    >>> loss = lambda w: w[0] * w[0] * w[1]  # second derivatives 2 w1, 2 w0 and 0
    >>> hessian_vector_product(loss, np.array([3.0, 5.0]), direction=np.array([1.0, 0.0])).round(6)
    array([10.,  6.])
    """
    return _product(loss, params, direction, real(step, "step", low=0, closed="neither"))


def sharpness(
    loss: Callable[[Any], Any], params: Any, *, direction: Any, iterations: int = 20
) -> Sharpness:
    """Find the largest curvature of a loss, by power iteration.

    Parameters
    ----------
    loss : callable
        ``loss(params)`` gives one number, made of differentiable functions.
    params, direction : trees of one structure
        The direction to start from: random numbers, or along a training run the last result.
    iterations : int
        Products with the Hessian, >= 1.

    Returns
    -------
    Sharpness

    Raises
    ------
    ValueError, TypeError
        If a parameter is of the wrong kind or range, or the Hessian takes the direction to zero.

    Notes
    -----
    Repeated multiplication leaves the direction whose curvature is largest *in size*; the value
    is ``dᵀ H d`` for the unit vector d. In trained networks the largest is positive. The error
    falls by the squared ratio of the two largest curvatures with each iteration.

    References
    ----------
    Cohen et al. (2021), "Gradient descent on neural networks typically occurs at the edge of
    stability", for the name.

    Examples
    --------
    >>> loss = lambda w: 0.5 * (w[0] * w[0] + 100.0 * w[1] * w[1])
    >>> found = sharpness(loss, np.array([1.0, 1.0]), direction=np.array([1.0, 1.0]))
    >>> round(found.value, 6), np.abs(found.direction).round(6)
    (100.0, array([0., 1.]))
    """
    value, weights = math.nan, _leaves(params, "params")
    _leaves_like(direction, weights, params, "direction")
    for _ in range(integer(iterations, "iterations", low=1)):
        length = _norm(tree_leaves(direction))
        if length == 0:
            raise ValueError(
                "sharpness: direction must not be one that the Hessian takes to zero; got length 0"
            )
        direction = tree_map(lambda d, length=length: d / length, direction)
        product = _product(loss, params, direction)
        pairs = zip(tree_leaves(direction), tree_leaves(product), strict=True)
        value, direction = sum(float(np.vdot(d, p)) for d, p in pairs), product
    unit = _norm(tree_leaves(direction)) or 1.0
    return Sharpness(value, tree_map(lambda d: d / unit, direction))


def _product(loss: Any, params: Any, direction: Any, step: float = 1e-4) -> Any:
    gradient = value_and_grad(function(loss, "loss"))
    weights = _leaves(params, "params")
    along = _leaves_like(direction, weights, params, "direction")
    length = _norm(along)
    if length == 0:
        return tree_unflatten(params, [np.zeros_like(w) for w in weights])
    sides = []
    for shift in (step / length, -step / length):
        moved = [w + shift * d for w, d in zip(weights, along, strict=True)]
        sides.append(gradient(tree_unflatten(params, moved))[1])
    return tree_map(lambda ahead, behind: (ahead - behind) * (length / (2 * step)), *sides)


def _norm(leaves: list[Any]) -> float:
    return math.sqrt(sum(float(np.vdot(leaf, leaf)) for leaf in leaves))
