"""Linear regression with a penalty: all strengths of ridge and lasso, and proximal gradient steps.

    minimize   1/(2n) ||X w - y||² + l1 ||w||₁ + (l2/2) ||w||²

The laboratory of regularization: ridge has a closed form, the lasso a solution that can be checked
by its optimality conditions, and the proximal gradient method is gradient descent that can stop at
exactly 0. There is no intercept: center X and y first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import array, function, integer, one_of, real
from .weight_penalties import soft_threshold

__all__ = ["lasso_path", "lasso_strengths", "proximal_gradient", "ridge_path"]

Array = NDArray[Any]


def _problem(x: Any, y: Any) -> tuple[Array, Array]:
    features = array(x, "x", ndim=2)
    return features, array(y, "y", shape=(len(features),)).astype(features.dtype, copy=False)


def _strengths(value: Any, name: str) -> Array:
    strengths = array(value, name, ndim=1)
    real(float(strengths.min()), f"smallest of {name}", low=0)
    return strengths.astype(np.float64, copy=False)


def ridge_path(x: Any, y: Any, *, l2: Any) -> Array:
    """Solve ridge regression for many strengths with one singular value decomposition.

    Parameters
    ----------
    x : array of shape (n, p)
        Features.
    y : array of shape (n,)
        Targets.
    l2 : array of shape (k,)
        Strengths, >= 0. With 0: least squares, the shortest solution if there are several.

    Returns
    -------
    array of shape (k, p)
        The weights for each strength.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    Minimizes ``1/(2n) ||x w - y||² + l2/2 ||w||²``. With x = U diag(s) Vᵀ::

        w = V diag(s / (s² + n l2)) Uᵀ y

    Directions with large s are hardly touched, those with small s are switched off; no weight
    becomes exactly 0. scikit-learn's ``Ridge(alpha)`` has ``alpha = n * l2``.

    References
    ----------
    Hoerl & Kennard (1970), "Ridge regression: biased estimation for nonorthogonal problems".

    Examples
    --------
    >>> ridge_path([[1.0], [1.0]], [2.0, 4.0], l2=[0.0, 1.0, 2.0])
    array([[3. ],
           [1.5],
           [1. ]])
    """
    x, y = _problem(x, y)
    strengths = _strengths(l2, "l2").astype(x.dtype)
    left, s, right = np.linalg.svd(x, full_matrices=False)
    kept = s > s[0] * max(x.shape) * float(np.finfo(x.dtype).eps)  # the rest is rounding
    s, along = s[kept], (y @ left)[kept]
    # Divided by the largest s, so that no square overflows: s / (s² + n l2) for s = top · t.
    top = s[0] if s.size else np.ones((), x.dtype)
    t = s / top
    with np.errstate(over="ignore"):  # infinitely strong: weights of 0
        pull = strengths[:, None] / top / top * len(x)
    factors = t / (np.square(t) + pull) / top  # (k, r)
    return np.asarray((factors * along) @ right[kept])


def lasso_strengths(x: Any, y: Any, *, count: int = 60, ratio: float = 1e-3) -> Array:
    """Choose strengths for `lasso_path`, evenly spaced in their logarithm.

    Parameters
    ----------
    x : array of shape (n, p)
    y : array of shape (n,)
    count : int
        How many, >= 2.
    ratio : float
        The last divided by the first, in (0, 1).

    Returns
    -------
    array of shape (count,)
        Falling from the smallest strength at which all weights are 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds, or no feature is correlated with y.

    Notes
    -----
    At w = 0 the gradient is ``-xᵀy / n``; if none of its entries is larger than l1, 0 is optimal.
    So the first is ``max(abs(xᵀy)) / n``.

    Examples
    --------
    >>> lasso_strengths([[1.0], [1.0]], [2.0, 4.0], count=3, ratio=0.01)
    array([3.  , 0.3 , 0.03])
    """
    x, y = _problem(x, y)
    count = integer(count, "count", low=2)
    ratio = real(ratio, "ratio", low=0, high=1, closed="neither")
    top = float(np.max(np.abs(y @ x))) / len(x)
    real(top, "largest correlation of x with y", low=0, closed="neither")
    return np.asarray(top * ratio ** (np.arange(count) / (count - 1)), x.dtype)


def lasso_path(
    x: Any, y: Any, *, l1: Any, l2: float = 0.0, tol: float = 1e-8, max_sweeps: int = 10_000
) -> Array:
    """Solve the lasso (or elastic net) for many strengths at once, by coordinate descent.

    Parameters
    ----------
    x : array of shape (n, p)
        Features.
    y : array of shape (n,)
        Targets.
    l1 : array of shape (k,)
        Strengths, >= 0.
    l2 : float
        Strength of the additional ridge penalty, >= 0.
    tol : float
        Largest violation of the optimality conditions, relative to the largest ``abs(xᵀy)/n``; > 0.
    max_sweeps : int
        Sweeps over all weights after which to give up, >= 1.

    Returns
    -------
    array of shape (k, p)
        The weights for each strength, with exact zeros.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds, or `max_sweeps` was not enough.

    Notes
    -----
    Minimizes ``1/(2n) ||x w - y||² + l1 ||w||₁ + l2/2 ||w||²``, scikit-learn's convention too. With
    all other weights fixed, the best w_j is one soft threshold of what x_j still has to explain::

        w_j = soft_threshold(x_jᵀ(y - x w + x_j w_j) / n, l1) / (x_jᵀx_j / n + l2)

    All strengths are columns of one matrix, so a sweep costs p products of a row and a matrix.
    It stops when the gradient is ``-l1 sign(w)`` at weights and within ±l1 at zeros. Computed
    in float64.

    References
    ----------
    Tibshirani (1996), "Regression shrinkage and selection via the lasso"; Friedman, Hastie &
    Tibshirani (2010), "Regularization paths for generalized linear models via coordinate descent".

    Examples
    --------
    >>> lasso_path([[1.0, 0.0], [0.0, 1.0]], [2.0, 4.0], l1=[0.5, 1.5])
    array([[1., 3.],
           [0., 1.]])
    """
    x, y = _problem(x, y)
    strengths = _strengths(l1, "l1")
    l2, tol = real(l2, "l2", low=0), real(tol, "tol", low=0, closed="neither")
    sweeps = integer(max_sweeps, "max_sweeps", low=1)
    wide, target = x.astype(np.float64), y.astype(np.float64)
    gram = wide.T @ wide / len(x)  # (p, p)
    explain = target @ wide / len(x)  # (p,)
    allowed = tol * float(np.max(np.abs(explain)))
    w = np.zeros((x.shape[1], len(strengths)))  # (p, k)
    used = [j for j in range(len(w)) if gram[j, j] > 0]  # a feature that is 0 keeps the weight 0
    for _ in range(sweeps):
        for j in used:
            rest = explain[j] - gram[j] @ w + gram[j, j] * w[j]
            w[j] = soft_threshold(rest, strengths) / (gram[j, j] + l2)
        gradient = gram @ w - explain[:, None] + l2 * w
        # Optimal where the gradient, cut off at ±l1 at the zeros, is -l1 sign(w).
        slack = np.where(w == 0, np.clip(gradient, -strengths, strengths), -strengths * np.sign(w))
        if np.max(np.abs(gradient - slack)) <= allowed:
            return np.ascontiguousarray(w.T.astype(x.dtype))
    raise ValueError(
        f"lasso_path: max_sweeps must be enough to reach tol = {tol:g}; got {sweeps}, where the "
        f"violation is {np.max(np.abs(gradient - slack)) / max(allowed / tol, 1e-300):.2g}"
    )


def proximal_gradient(
    gradient: Callable[[Array], Array],
    w: Any,
    *,
    prox: Callable[[Array, float], Array],
    lr: float,
    steps: int,
    accelerated: bool = False,
) -> Array:
    """Minimize a smooth loss plus a penalty: a gradient step, then the proximal operator (ISTA).

    Parameters
    ----------
    gradient : callable
        Of w; the gradient of the smooth loss.
    w : array
        Start.
    prox : callable
        ``prox(x, lr)``, the proximal operator of lr times the penalty, such as
        ``lambda x, lr: soft_threshold(x, lr * 0.1)``.
    lr : float
        Step size, > 0; at most 1 / (largest curvature of the loss), or the method may diverge.
    steps : int
        >= 0.
    accelerated : bool
        Take the gradient a little ahead, as Nesterov's momentum does (FISTA).

    Returns
    -------
    array of the shape of w

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    ``w = prox(w - lr * gradient(w), lr)``. Accelerated, with t = 1 at first: the step is taken from
    ``v = w + (t_old - 1) / t * (w - w_old)`` where ``t = (1 + sqrt(1 + 4 t_old²)) / 2``. The error
    of the loss falls as 1/steps, and as 1/steps² accelerated.

    References
    ----------
    Beck & Teboulle (2009), "A fast iterative shrinkage-thresholding algorithm for linear inverse
    problems".

    Examples
    --------
    >>> toward = np.array([2.0, 0.3])
    >>> proximal_gradient(lambda w: w - toward, np.zeros(2), lr=0.5, steps=40,
    ...                   prox=lambda x, lr: soft_threshold(x, lr * 0.5)).round(6)
    array([1.5, 0. ])
    """
    function(gradient, "gradient")
    function(prox, "prox")
    w, lr = array(w, "w", nonempty=False), real(lr, "lr", low=0, closed="neither")
    steps = integer(steps, "steps", low=0)
    one_of(accelerated, "accelerated", (False, True))
    now: Array = w.copy()
    v, t = now, 1.0
    for _ in range(steps):
        new = prox(v - lr * gradient(v), lr)
        ahead, t = t - 1, (1 + math.sqrt(1 + 4 * t * t)) / 2
        v = new + ahead / t * (new - now) if accelerated else new
        now = new
    return now
