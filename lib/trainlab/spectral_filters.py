"""Shrink a least-squares fit by its singular directions: ridge and early stopping as filters.

Write the training features as Φ = U diag(s) Vᵀ. Training to the end fits every direction fully;
a ridge penalty or a stop after time t fits direction i by a factor between 0 and 1 that depends
on s_i alone. So one decomposition serves all penalties and all stopping times.

Losses are means over the n examples: gradient flow runs on 1/(2n) ‖Φw − y‖², and ridge adds
(λ/2) ‖w‖².
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import array, integer, real

__all__ = ["Spectrum", "decompose", "flow_factors", "predict", "ridge_factors"]

Array = NDArray[Any]


class Spectrum(NamedTuple):
    """Singular value decomposition of the training features, Φ = U diag(s) Vᵀ.

    Attributes
    ----------
    s : ndarray of shape (..., r)
        Singular values, decreasing; r = min(n, p).
    left : ndarray of shape (..., n, r)
        U: what each direction does on the training examples.
    test_right : ndarray of shape (..., m, r)
        Φ_test V: what each direction does on the test examples.
    """

    s: Array
    left: Array
    test_right: Array


def decompose(features: ArrayLike, *, test_features: ArrayLike) -> Spectrum:
    """Singular value decomposition of the features, kept for every penalty and stopping time.

    Parameters
    ----------
    features : array of shape (..., n, p)
        Φ of the training examples; leading axes are independent problems.
    test_features : array of shape (..., m, p)
        Φ of the test examples.

    Returns
    -------
    Spectrum
        s, U and Φ_test V, for `predict`.

    Raises
    ------
    ValueError, TypeError
        If the shapes do not fit.

    Examples
    --------
    >>> decompose([[3.0, 0.0], [0.0, 2.0]], test_features=[[1.0, 1.0]]).s
    array([3., 2.])
    """
    phi = array(features, "features")
    if phi.ndim < 2:
        raise ValueError(f"decompose: features must be of shape (..., n, p); got {phi.shape}")
    test = array(test_features, "test_features")
    if (
        test.ndim != phi.ndim
        or test.shape[:-2] + test.shape[-1:] != phi.shape[:-2] + phi.shape[-1:]
    ):
        raise ValueError(
            f"decompose: test_features must be of shape (..., m, p) as features, {phi.shape}; "
            f"got {test.shape}"
        )
    n, p = phi.shape[-2:]
    if p > 2 * n:  # rotate the p features into the n directions that the examples span
        basis, upper = np.linalg.qr(np.swapaxes(phi, -1, -2))
        phi, test = np.swapaxes(upper, -1, -2), test @ basis
    u, s, vt = np.linalg.svd(phi, full_matrices=False)
    return Spectrum(s, u, test @ np.swapaxes(vt, -1, -2))


def ridge_factors(s: ArrayLike, lam: ArrayLike, *, n: int) -> Array:
    """Fraction of each singular direction that ridge regression fits.

    Parameters
    ----------
    s : array of shape (..., r)
        Singular values of the training features, ≥ 0.
    lam : float or array of shape (T,)
        Weight decay λ > 0, in the loss 1/(2n) ‖Φw − y‖² + (λ/2) ‖w‖².
    n : int
        Number of training examples.

    Returns
    -------
    ndarray of shape (..., r) or (..., r, T)
        s² / (s² + nλ), between 0 and 1.

    Raises
    ------
    ValueError, TypeError
        If a value is out of its range.

    Notes
    -----
    scikit-learn's ``Ridge(alpha)`` does not divide the loss by n: alpha = nλ.

    Examples
    --------
    >>> ridge_factors([10.0, 1.0, 0.1], 0.01, n=100).round(3)
    array([0.99, 0.5 , 0.01])
    """
    n = integer(n, "n", low=1)
    square = _squares(s)
    lam = array(lam, "lam", ndim=(0, 1))
    real(lam.min(), "lam", low=0, closed="neither")
    if lam.ndim:
        square = square[..., None]
    penalty = n * lam.astype(square.dtype)
    return np.asarray(square / (square + penalty), dtype=square.dtype)


def flow_factors(s: ArrayLike, t: ArrayLike, *, n: int) -> Array:
    """Fraction of each singular direction that gradient flow has fitted by time t.

    Parameters
    ----------
    s : array of shape (..., r)
        Singular values of the training features, ≥ 0.
    t : float or array of shape (T,)
        Time ≥ 0: number of steps times the learning rate, for small learning rates.
    n : int
        Number of training examples.

    Returns
    -------
    ndarray of shape (..., r) or (..., r, T)
        1 − exp(−s² t / n), between 0 and 1.

    Raises
    ------
    ValueError, TypeError
        If a value is out of its range.

    Notes
    -----
    Gradient flow from w = 0 on 1/(2n) ‖Φw − y‖². Gradient descent with learning rate lr has
    1 − (1 − lr·s²/n)^steps instead (Ali, Kolter and Tibshirani, 2019).

    Examples
    --------
    >>> flow_factors([10.0, 1.0, 0.1], 100.0, n=100).round(3)
    array([1.   , 0.632, 0.01 ])
    """
    n = integer(n, "n", low=1)
    square = _squares(s)
    t = array(t, "t", ndim=(0, 1))
    real(t.min(), "t", low=0)
    if t.ndim:
        square = square[..., None]
    return np.asarray(-np.expm1(-square / n * t.astype(square.dtype)), dtype=square.dtype)


def _squares(s: ArrayLike) -> Array:
    """Check singular values; return their squares."""
    s = array(s, "s")
    real(s.min(), "s", low=0)
    return s**2


def predict(spectrum: Spectrum, targets: ArrayLike, *, factors: ArrayLike) -> Array:
    """Predict the test examples when each singular direction is fitted by its factor.

    Parameters
    ----------
    spectrum : Spectrum
        From `decompose`.
    targets : array of shape (..., n)
        Training targets y, one output.
    factors : array of shape (..., r) or (..., r, T)
        From `ridge_factors` or `flow_factors`; all ones is the least-norm solution.

    Returns
    -------
    ndarray of shape (..., m) or (..., m, T)
        Φ_test V diag(factors / s) Uᵀ y.

    Raises
    ------
    ValueError, TypeError
        If the shapes do not fit.

    Notes
    -----
    A direction of singular value 0 is never fitted: its weight stays at 0, where it started.

    Examples
    --------
    >>> spectrum = decompose([[2.0, 0.0], [0.0, 0.1]], test_features=[[1.0, 1.0]])
    >>> predict(spectrum, [2.0, 1.0], factors=[1.0, 1.0])
    array([11.])
    >>> predict(spectrum, [2.0, 1.0], factors=ridge_factors(spectrum.s, 0.1, n=2)).round(3)
    array([1.429])
    """
    if not isinstance(spectrum, Spectrum):
        raise TypeError(
            f"predict: spectrum must be a Spectrum, as decompose returns; got {type(spectrum)}"
        )
    s, left, test_right = spectrum
    y = array(targets, "targets", shape=left.shape[:-1])
    factors = array(factors, "factors", ndim=(s.ndim, s.ndim + 1))
    if factors.shape[: s.ndim] != s.shape:
        raise ValueError(
            f"predict: factors must be of shape {s.shape} or {(*s.shape, 'T')}; got {factors.shape}"
        )
    share = np.divide(np.einsum("...nr,...n->...r", left, y), s, out=np.zeros_like(s), where=s > 0)
    if factors.ndim == s.ndim:
        return np.asarray((test_right @ (factors * share)[..., None])[..., 0])
    return np.asarray(test_right @ (factors * share[..., None]))
