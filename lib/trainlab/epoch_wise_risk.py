"""Risk over training time when parts of a model learn at different speeds.

A group of features alone gives a U: its bias falls while it is learned, its variance rises. Two
groups of different speed give two Us, one after the other, and their sum may fall, rise and fall
again: epoch-wise double descent. Where the Us stand at the same time, the sum is one U, and
its minimum is lower.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import array, integer, real

__all__ = ["EpochRisk", "best_times", "epoch_risk"]

Array = NDArray[Any]


class EpochRisk(NamedTuple):
    """Risk of each group of features over time; the total is the sum of both over the groups.

    Attributes
    ----------
    bias : ndarray of shape (groups, T)
        Signal not learned yet; falls.
    variance : ndarray of shape (groups, T)
        Noise learned by now; rises.
    """

    bias: Array
    variance: Array


def epoch_risk(
    t: ArrayLike, *, rates: ArrayLike, signals: ArrayLike, sizes: ArrayLike, n: int, noise: float
) -> EpochRisk:
    """Risk over training time when groups of features are learned at different speeds.

    Parameters
    ----------
    t : array of shape (T,)
        Times ≥ 0: steps times the learning rate.
    rates : array of shape (groups,)
        Speed of each group, > 0: the variance of its features.
    signals : array of shape (groups,)
        Variance of the target that each group explains, ≥ 0.
    sizes : array of shape (groups,)
        Number of features in each group, > 0.
    n : int
        Number of training samples; the formula is meant for n ≥ the number of features.
    noise : float
        Variance σ² of the label noise, ≥ 0.

    Returns
    -------
    EpochRisk
        Bias and variance of each group at each time.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range or the groups differ in number.

    Notes
    -----
    For a group of `size` features with `rate`: bias = signal·exp(−2·rate·t) and
    variance = noise·size/n·(1 − exp(−rate·t))². Exact for gradient flow from 0 on
    1/(2n) ‖Xw − y‖² when the columns of X are orthogonal; close for random X when n ≫ features.

    References
    ----------
    Heckel and Yilmaz (2021), "Early stopping in deep networks: double descent and how to eliminate
    it", who state it for gradient descent.

    Examples
    --------
    >>> risk = epoch_risk([0.0, 1e9], rates=[1.0], signals=[3.0], sizes=[20], n=100, noise=1.0)
    >>> risk.bias, risk.variance
    (array([[3., 0.]]), array([[0. , 0.2]]))
    """
    t = array(t, "t", ndim=1)
    real(t.min(), "t", low=0)
    rates, signals, spread = _groups(rates, signals, sizes, n, noise)
    left = np.exp(-np.multiply.outer(rates, t)).astype(t.dtype)
    return EpochRisk(
        np.asarray(signals[:, None] * left**2, dtype=t.dtype),
        np.asarray(spread[:, None] * (1 - left) ** 2, dtype=t.dtype),
    )


def best_times(
    *, rates: ArrayLike, signals: ArrayLike, sizes: ArrayLike, n: int, noise: float
) -> Array:
    """Return the time at which each group of `epoch_risk` has its least risk.

    Parameters
    ----------
    rates, signals, sizes : array of shape (groups,)
        As in `epoch_risk`.
    n : int
        Number of training samples.
    noise : float
        Variance σ² of the label noise, > 0.

    Returns
    -------
    ndarray of shape (groups,)
        log(1 + signal/spread) / rate, where spread = noise·size/n. Where these times agree, one
        stop serves all groups.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range or the groups differ in number.

    Examples
    --------
    >>> best_times(rates=[1.0], signals=[0.3], sizes=[30], n=100, noise=1.0).round(4)
    array([0.6931])
    """
    rates, signals, spread = _groups(
        rates, signals, sizes, n, real(noise, "noise", low=0, closed="neither")
    )
    return np.asarray(np.log1p(signals / spread) / rates)


def _groups(
    rates: ArrayLike, signals: ArrayLike, sizes: ArrayLike, n: int, noise: float
) -> tuple[Array, Array, Array]:
    """Check the groups; return rates, signals and the final variance of each."""
    rates = array(rates, "rates", ndim=1)
    real(rates.min(), "rates", low=0, closed="neither")
    signals = array(signals, "signals", shape=rates.shape)
    real(signals.min(), "signals", low=0)
    sizes = array(sizes, "sizes", shape=rates.shape)
    real(sizes.min(), "sizes", low=0, closed="neither")
    spread = real(noise, "noise", low=0) * sizes / integer(n, "n", low=1)
    return rates, signals, spread
