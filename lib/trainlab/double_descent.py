"""Double descent in a model small enough to solve exactly: least squares on random features.

The first layer of a two-layer ReLU network is drawn once and kept; only the last layer is
trained, to the end. Then every width has a closed-form solution, and `min_norm_curve` finds the
solutions of all widths in about the time of one.

Holding the fit back (a penalty, an early stop) is in `trainlab.spectral_filters`; the risk without
a simulation in `trainlab.least_squares_risk` (over width and samples) and in
`trainlab.epoch_wise_risk` (over training time).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import array, integer

__all__ = ["MinNormCurve", "harmonics", "min_norm_curve", "relu_features"]

Array = NDArray[Any]
Solved = dict[int, tuple[Any, Any]]  # width -> predictions, norm of the weights


class MinNormCurve(NamedTuple):
    """What `min_norm_curve` finds for each width.

    Attributes
    ----------
    predictions : ndarray of shape (widths, m) or (widths, m, k)
        Of the test examples.
    norms : ndarray of shape (widths,)
        Euclidean norm ‖w‖ of the trained weights.
    """

    predictions: Array
    norms: Array


def harmonics(x: ArrayLike, *, count: int) -> Array:
    """Lift numbers onto a closed curve in 2·count dimensions: cos and sin of kπx over √k.

    Parameters
    ----------
    x : array of shape (n,)
        Numbers; x and x + 2 are the same point.
    count : int
        Number of frequencies, at least 1. More of them let a network see finer detail.

    Returns
    -------
    ndarray of shape (n, 2·count)
        Each row has unit length.

    Raises
    ------
    ValueError, TypeError
        If `x` is not a finite vector or `count` not a positive whole number.

    Notes
    -----
    u(x) = (cos(kπx)/√k, sin(kπx)/√k for k = 1 … count) / √(Σ 1/k).

    Examples
    --------
    >>> harmonics([0.0, 0.5], count=1).round(3)
    array([[1., 0.],
           [0., 1.]])
    """
    x = array(x, "x", ndim=1)
    k = np.arange(1, integer(count, "count", low=1) + 1, dtype=x.dtype)
    angle = np.pi * x[:, None] * k
    lifted = np.concatenate([np.cos(angle) / np.sqrt(k), np.sin(angle) / np.sqrt(k)], axis=1)
    return np.asarray(lifted / np.sqrt(np.sum(1 / k)), dtype=x.dtype)


def relu_features(x: ArrayLike, weight: ArrayLike) -> Array:
    """Random ReLU features: the hidden layer of a two-layer network whose first layer is fixed.

    Parameters
    ----------
    x : array of shape (n, d)
        Inputs, a row each.
    weight : array of shape (p, d)
        First-layer weights (out, in), drawn once. The first q rows give the features of the
        network of width q: a wider network contains the narrower ones.

    Returns
    -------
    ndarray of shape (n, p)
        max(x Wᵀ, 0), not scaled by the width.

    Raises
    ------
    ValueError, TypeError
        If the arrays are not matrices with the same number of columns.

    Notes
    -----
    Belkin, Hsu, Ma and Mandal (2019) use random Fourier features too. What
    matters is only that the features do not depend on the targets.

    Examples
    --------
    >>> relu_features([[1.0, -1.0]], [[2.0, 0.0], [0.0, 3.0]])
    array([[2., 0.]])
    """
    x = array(x, "x", ndim=2)
    weight = array(weight, "weight", shape=(None, x.shape[1]))
    return np.asarray(np.maximum(x @ weight.T, 0), dtype=x.dtype)


def min_norm_curve(
    features: ArrayLike,
    targets: ArrayLike,
    *,
    test_features: ArrayLike,
    widths: Sequence[int],
) -> MinNormCurve:
    """Least squares at many widths at once, the solution of least norm where there are many.

    The limit of gradient descent from zero, at every width p: uses the first p features.

    Parameters
    ----------
    features : array of shape (n, P)
        Φ, nested: width p uses the first p columns. Any n of them must be independent.
    targets : array of shape (n,) or (n, k)
        y, one or k outputs.
    test_features : array of shape (m, P)
        Features of the test examples.
    widths : sequence of int
        The widths p, each in [1, P], in any order.

    Returns
    -------
    MinNormCurve
        Predictions for the test examples and ‖w‖, for each width.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, a width is not in [1, P], or the first columns are dependent.

    Notes
    -----
    For p ≤ n one QR of the first n columns serves all widths, because the leading p × p block of
    R⁻¹ is the inverse of R's: the prediction at p is a cumulative sum over columns. For p > n,
    w = Φᵀ(ΦΦᵀ)⁻¹y, and ΦΦᵀ only grows by the columns that are new. It squares the condition
    number, so just above n, where that is large, a QR of Φᵀ takes its place.

    Examples
    --------
    >>> curve = min_norm_curve([[1.0, 1.0]], [2.0], test_features=[[1.0, 0.0]], widths=[1, 2])
    >>> curve.predictions.ravel(), curve.norms.round(3)
    (array([2., 1.]), array([2.   , 1.414]))
    """
    phi = array(features, "features", ndim=2)
    n, most = phi.shape
    y = array(targets, "targets", ndim=(1, 2))
    if len(y) != n:
        raise ValueError(f"min_norm_curve: targets must have {n} rows; got shape {y.shape}")
    test = array(test_features, "test_features", shape=(None, most))
    wanted = [integer(p, "widths", low=1, high=most) for p in widths]
    if not wanted:
        raise ValueError("min_norm_curve: widths must hold at least one width; got none")
    columns = y.reshape(n, -1)  # (n,) or (n, k) -> (n, k)
    solved = _narrow(phi, columns, test, wanted) | _wide(phi, columns, test, wanted)
    predictions = np.stack([solved[p][0] for p in wanted]).reshape(len(wanted), len(test), -1)
    if y.ndim == 1:
        predictions = predictions[:, :, 0]
    return MinNormCurve(predictions, np.stack([solved[p][1] for p in wanted]))


def _narrow(phi: Array, y: Array, test: Array, widths: Sequence[int]) -> Solved:
    """Solve all widths p <= n by one QR factorization."""
    last = max((p for p in widths if p <= len(phi)), default=0)
    if last == 0:
        return {}
    q, r = np.linalg.qr(phi[:, :last])
    diagonal = np.abs(np.diagonal(r))
    if diagonal.min() <= np.finfo(r.dtype).eps * diagonal.max():
        raise ValueError(
            f"min_norm_curve: features must have independent columns; got a dependent one "
            f"among the first {last}"
        )
    inverse = np.linalg.inv(r)
    coefficients = q.T @ y
    on_test = test[:, :last] @ inverse
    found: Solved = {}
    for p in {p for p in widths if p <= last}:
        w = inverse[:p, :p] @ coefficients[:p]
        found[p] = on_test[:, :p] @ coefficients[:p], np.linalg.norm(w)
    return found


def _wide(phi: Array, y: Array, test: Array, widths: Sequence[int]) -> Solved:
    """Solve the widths p > n: QR of the transpose near n, the growing kernel matrix beyond."""
    n = len(phi)
    found: Solved = {}
    kernel, test_kernel = np.zeros((n, n), phi.dtype), np.zeros((len(test), n), phi.dtype)
    done = 0
    for p in sorted({p for p in widths if p > n}):
        if p <= n + n // 5 + 10:  # near n: the kernel matrix is too ill-conditioned
            q, r = np.linalg.qr(phi[:, :p].T)
            inside = np.linalg.solve(r.T, y)  # w = Q R⁻ᵀ y
            found[p] = test[:, :p] @ q @ inside, np.linalg.norm(inside)
            continue
        kernel = kernel + phi[:, done:p] @ phi[:, done:p].T
        test_kernel = test_kernel + test[:, done:p] @ phi[:, done:p].T
        done = p
        lower = np.linalg.cholesky(kernel)
        half = np.linalg.solve(lower, y)
        found[p] = test_kernel @ np.linalg.solve(lower.T, half), np.linalg.norm(half)
    return found
