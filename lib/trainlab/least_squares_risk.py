"""The risk of least squares in closed form: the peak at p = n without a simulation.

`gaussian_risk` is exact for any number of samples and Gaussian features, so its curve over
features and its curve over samples both show the peak. `min_norm_risk` and `ridge_risk` are the
limits for large n and p at a fixed ratio γ = p/n, without and with a penalty.

Every risk here is the squared distance from the noiseless target on a new input, so a perfect
model has risk 0. A test error measured on noisy targets is higher by σ².
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import array, real

__all__ = ["best_penalty", "gaussian_risk", "min_norm_risk", "ridge_risk"]

Array = NDArray[Any]


def gaussian_risk(
    n: ArrayLike, p: ArrayLike, *, signal: float, noise: float, hidden: float = 0.0
) -> Array:
    """Expected risk of least-norm least squares on p Gaussian features and n samples; exact.

    Parameters
    ----------
    n : int or array of int
        Number of training samples, at least 1.
    p : int or array of int
        Number of features that the model uses, at least 1; broadcasts with `n`.
    signal : float
        r² = ‖β‖² of the features that the model uses, ≥ 0.
    noise : float
        Variance σ² of the label noise, ≥ 0.
    hidden : float
        ‖β‖² of the features that the model does not see, ≥ 0. To the model they are noise.

    Returns
    -------
    ndarray
        The risk; infinite where abs(n − p) ≤ 1 and there is any noise or hidden signal.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    Notes
    -----
    With v = noise + hidden: v·p/(n − p − 1) + hidden for p ≤ n − 2, and
    signal·(1 − n/p) + v·n/(p − n − 1) + hidden for p ≥ n + 2.

    The expectation is over the samples too. Near p = n it is carried by rare samples, and
    simulated means jump: within 2 of the peak a median is the honest summary.

    References
    ----------
    Belkin, Hsu and Xu (2020), "Two models of double descent for weak features". They count the
    noise of the new label too, so their risk is higher by σ².

    Examples
    --------
    >>> gaussian_risk([25, 50, 100], 50, signal=1.0, noise=0.25).round(3)
    array([0.76 ,   inf, 0.255])
    """
    n, p = _counts(n, "n"), _counts(p, "p")
    try:
        n, p = np.broadcast_arrays(n, p)
    except ValueError:
        raise ValueError(
            f"gaussian_risk: p must broadcast with n, {n.shape}; got shape {p.shape}"
        ) from None
    signal, noise = real(signal, "signal", low=0), real(noise, "noise", low=0)
    hidden = real(hidden, "hidden", low=0)
    disturbance = noise + hidden
    gap = np.abs(n - p) - 1
    if disturbance == 0:
        variance = np.zeros(n.shape)
    else:
        smaller = np.minimum(n, p)
        variance = np.full(n.shape, np.inf)
        np.divide(disturbance * smaller, gap, out=variance, where=gap > 0)
    return np.asarray(signal * np.maximum(1 - n / p, 0) + variance + hidden)


def _counts(value: ArrayLike, name: str) -> Array:
    """Check whole numbers of at least 1."""
    counts = array(value, name)
    if (counts < 1).any() or (counts != np.floor(counts)).any():
        raise ValueError(
            f"gaussian_risk: {name} must hold whole numbers >= 1; got {counts.ravel()[:5]}"
        )
    return counts.astype(np.float64)


def min_norm_risk(gamma: ArrayLike, *, signal: float, noise: float) -> Array:
    """Limit risk of least-norm least squares with γ = p/n isotropic features a sample.

    Parameters
    ----------
    gamma : float or array
        γ = p/n > 0.
    signal : float
        r² = ‖β‖² ≥ 0.
    noise : float
        Variance σ² of the label noise, ≥ 0.

    Returns
    -------
    ndarray
        σ²γ/(1 − γ) for γ < 1; r²(1 − 1/γ) + σ²/(γ − 1) for γ > 1; infinite at γ = 1.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    References
    ----------
    Hastie, Montanari, Rosset and Tibshirani (2022), "Surprises in high-dimensional ridgeless
    least squares interpolation".

    Examples
    --------
    >>> min_norm_risk([0.5, 0.9, 2.0], signal=1.0, noise=0.25).round(3)
    array([0.25, 2.25, 0.75])
    """
    gamma = _positive(gamma, "gamma")
    signal, noise = real(signal, "signal", low=0), real(noise, "noise", low=0)
    gap = np.abs(1 - gamma)
    variance = np.full(gamma.shape, np.inf if noise else 0.0, gamma.dtype)
    np.divide(noise * np.minimum(gamma, 1), gap, out=variance, where=gap > 0)
    bias = signal * np.maximum(1 - 1 / gamma, 0)
    return np.asarray(bias + variance, dtype=gamma.dtype)


def ridge_risk(gamma: ArrayLike, lam: ArrayLike, *, signal: float, noise: float) -> Array:
    """Limit risk of ridge regression with γ = p/n isotropic features a sample.

    Parameters
    ----------
    gamma : float or array
        γ = p/n > 0.
    lam : float or array
        Penalty λ > 0 in 1/(2n) ‖Xw − y‖² + (λ/2) ‖w‖²; broadcasts with `gamma`.
    signal : float
        r² = ‖β‖² ≥ 0.
    noise : float
        Variance σ² of the label noise, ≥ 0.

    Returns
    -------
    ndarray
        signal·λ²·m′ + noise·γ·(m − λ·m′).

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    Notes
    -----
    m = m(−λ) is the Stieltjes transform of the Marchenko–Pastur law: the positive root of
    γλm² + (1 − γ + λ)m − 1 = 0; m′ its derivative at −λ. λ → 0 gives `min_norm_risk`, and
    `best_penalty` the least value.

    References
    ----------
    Dobriban and Wager (2018), "High-dimensional asymptotics of prediction: ridge regression and
    classification"; Hastie et al. (2022).

    Examples
    --------
    >>> ridge_risk([0.5, 1.0, 2.0], [0.125, 0.25, 0.5], signal=1.0, noise=0.25).round(3)
    array([0.175, 0.39 , 0.64 ])
    """
    gamma, lam = _positive(gamma, "gamma"), _positive(lam, "lam")
    signal, noise = real(signal, "signal", low=0), real(noise, "noise", low=0)
    try:
        gamma, lam = np.broadcast_arrays(gamma, lam)
    except ValueError:
        raise ValueError(
            f"ridge_risk: lam must broadcast with gamma, {gamma.shape}; got shape {lam.shape}"
        ) from None
    linear = 1 - gamma + lam
    root = np.sqrt(linear**2 + 4 * gamma * lam)
    # The positive root, written for the sign of `linear` so that nothing cancels.
    m = np.where(
        linear >= 0, 2 / (root + np.abs(linear)), (root + np.abs(linear)) / (2 * gamma * lam)
    )
    slope = m * (1 + gamma * m) / root
    return np.asarray(signal * lam**2 * slope + noise * gamma * (m - lam * slope))


def best_penalty(gamma: ArrayLike, *, signal: float, noise: float) -> Array:
    """Return the penalty λ = σ²γ/r² of least `ridge_risk`.

    Parameters
    ----------
    gamma : float or array
        γ = p/n > 0.
    signal : float
        r² = ‖β‖² > 0.
    noise : float
        Variance σ² of the label noise, > 0.

    Returns
    -------
    ndarray
        The penalty, in proportion to the features a sample.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    References
    ----------
    Dobriban and Wager (2018). Nakkiran, Venkat, Kakade and Ma (2021) prove that with it the risk
    never rises, neither with n nor with p, for isotropic Gaussian features.

    Examples
    --------
    >>> best_penalty([0.5, 2.0], signal=1.0, noise=0.25)
    array([0.125, 0.5  ])
    """
    gamma = _positive(gamma, "gamma")
    signal = real(signal, "signal", low=0, closed="neither")
    noise = real(noise, "noise", low=0, closed="neither")
    return np.asarray(noise * gamma / signal, dtype=gamma.dtype)


def _positive(value: ArrayLike, name: str) -> Array:
    """Check numbers > 0."""
    checked = array(value, name)
    real(checked.min(), name, low=0, closed="neither")
    return checked
