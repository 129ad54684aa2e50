"""Calibration: whether what a classifier calls 80 % certain is right 80 % of the time.

Accuracy looks at the largest probability only; cross-entropy and the Brier score look at its
size too. Of the examples whose confidence lies in one bin, the share that is right is compared
with their mean confidence. One number can repair much of the difference: the *temperature* by
which all logits are divided, fitted on held-out data. It leaves every answer as it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import array, integer
from ._losses import check_distributions, class_indices

Array = NDArray[Any]

__all__ = [
    "ReliabilityTable",
    "brier_score",
    "expected_calibration_error",
    "fit_temperature",
    "reliability_table",
]


class ReliabilityTable(NamedTuple):
    """Confidence against accuracy: one row for each bin that holds an example.

    `lower` and `upper` are the edges of the bin, `examples` how many it holds, `confidence` the
    mean of their largest probabilities and `accuracy` the share of them that is right.
    """

    lower: Array
    upper: Array
    examples: NDArray[np.intp]
    confidence: Array
    accuracy: Array


def _predictions(probs: Any, targets: Any) -> tuple[Array, NDArray[np.intp]]:
    p = array(probs, "probs", ndim=2)
    check_distributions(p, "probs")
    labels, _ = class_indices(targets, "targets", shape=p.shape[:1], classes=p.shape[1])
    return p, labels


def brier_score(probs: Any, targets: Any) -> float:
    """Brier score: the squared distance of the probabilities from the truth.

    Parameters
    ----------
    probs : array of shape (N, C)
        Probabilities of the classes, >= 0 with sum 1 along the last axis.
    targets : integer array of shape (N,)
        The true classes.

    Returns
    -------
    float
        Mean over the examples; 0 for certainty that is right, 2 for certainty that is wrong.

    Raises
    ------
    ValueError, TypeError
        If `probs` does not hold distributions, or a target is no class.

    Notes
    -----
    ``mean_n sum_c (probs[n, c] - onehot(targets[n])[c])**2``, Brier's own sum over all classes. For
    two classes many, scikit-learn among them, take half of it, (probability of class 1 - y)². It
    is a *proper* score: on average the true probabilities, and only they, make it smallest.

    References
    ----------
    Brier (1950), Verification of forecasts expressed in terms of probability.

    Examples
    --------
    >>> round(brier_score(np.array([[0.7, 0.2, 0.1]]), np.array([0])), 6)
    0.14
    """
    p, labels = _predictions(probs, targets)
    error = p.astype(np.float64)
    error[np.arange(len(p)), labels] -= 1
    return float(np.mean(np.sum(error * error, axis=1)))


def reliability_table(probs: Any, targets: Any, *, bins: int = 15) -> ReliabilityTable:
    """Sort examples into bins by their confidence; give confidence and accuracy of each bin.

    Parameters
    ----------
    probs : array of shape (N, C)
        Probabilities of the classes, >= 0 with sum 1 along the last axis. The answer is the class
        of the largest, the first one of equals; the confidence is its probability.
    targets : integer array of shape (N,)
        The true classes.
    bins : int, default 15
        Bins of equal width from 0 to 1, >= 1.

    Returns
    -------
    ReliabilityTable
        Without the bins that hold no example.

    Raises
    ------
    ValueError, TypeError
        If `probs` does not hold distributions, a target is no class, or `bins` is not >= 1.

    Notes
    -----
    Bin m holds the confidences in ((m - 1) / bins, m / bins]: a bin owns its upper edge.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks.

    Examples
    --------
    >>> probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> table = reliability_table(probs, np.array([0, 0, 0]), bins=2)
    >>> table.examples, table.confidence.round(3), table.accuracy.round(3)
    (array([3]), array([0.767]), array([0.667]))
    """
    return _table(probs, targets, bins)


def _table(probs: Any, targets: Any, bins: int) -> ReliabilityTable:
    p, labels = _predictions(probs, targets)
    number = integer(bins, "bins", low=1)
    edges = np.linspace(0, 1, number + 1)
    confidence = np.max(p, axis=1).astype(np.float64)
    right = np.argmax(p, axis=1) == labels
    # A largest probability of 1 + rounding belongs to the last bin.
    place = np.minimum(np.searchsorted(edges, confidence, side="left") - 1, number - 1)
    count = np.bincount(place, minlength=number)
    used = count > 0
    sums = [np.bincount(place, weights=w, minlength=number)[used] for w in (confidence, right)]
    means = [s / count[used] for s in sums]
    return ReliabilityTable(edges[:-1][used], edges[1:][used], count[used], means[0], means[1])


def expected_calibration_error(probs: Any, targets: Any, *, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over the bins of `reliability_table`.

    Parameters
    ----------
    probs, targets, bins
        As in `reliability_table`.

    Returns
    -------
    float
        In [0, 1]; 0 if confidence and accuracy agree in each bin.

    Raises
    ------
    ValueError, TypeError
        As in `reliability_table`.

    Notes
    -----
    ``sum_m examples[m] / N * abs(accuracy[m] - confidence[m])``. It depends on the bins: with one
    bin, errors up and down cancel; with as many as examples it is large by chance. It is 0 for
    a model that always answers with the shares of the classes, and so says nothing of accuracy.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks.

    Examples
    --------
    >>> probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> round(expected_calibration_error(probs, np.array([0, 0, 0]), bins=2), 4)
    0.1
    """
    table = _table(probs, targets, bins)
    share = table.examples / table.examples.sum()
    return float(np.sum(share * np.abs(table.accuracy - table.confidence)))


def _slope_and_curvature(z: Array, correct: Array, a: float) -> tuple[float, float]:
    """First and second derivative of the mean cross-entropy of the logits a * z for a."""
    p = np.exp(a * z)  # z <= 0
    p /= p.sum(axis=1, keepdims=True)
    mean = np.sum(p * z, axis=1)
    return float(np.mean(mean - correct)), float(np.mean(np.sum(p * z * z, axis=1) - mean**2))


def fit_temperature(logits: Any, targets: Any) -> float:
    """Find the temperature that makes the cross-entropy of held-out examples smallest.

    Parameters
    ----------
    logits : array of shape (N, C)
        Finite logits of examples that the model was *not* trained on.
    targets : integer array of shape (N,)
        The true classes.

    Returns
    -------
    float
        T > 0: the calibrated probabilities are ``softmax(logits / T)``. T > 1 says that the model
        was too sure of itself.

    Raises
    ------
    ValueError, TypeError
        If a target is no class; or if no T is best, since every answer is right (T would be 0) or
        the logits are no better than chance (T would be infinite or negative).

    Notes
    -----
    The mean cross-entropy of ``a * logits`` is convex in a = 1 / T: its slope is the mean of
    E_p[z] - z[target], its curvature the mean variance of z under p. Newton's method finds the
    zero of the slope; a step that leaves the interval known to hold it becomes a bisection.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks.

    Examples
    --------
    Logits of ±3 claim 95 % where three of four answers are right: log(3) would be honest.

    >>> logits = np.array([[3.0, 0.0]] * 4)
    >>> round(fit_temperature(logits, np.array([0, 0, 0, 1])), 4), round(3 / float(np.log(3)), 4)
    (2.7307, 2.7307)
    """
    z = array(logits, "logits", ndim=2).astype(np.float64)
    labels, _ = class_indices(targets, "targets", shape=z.shape[:1], classes=z.shape[1])
    z -= z.max(axis=1, keepdims=True)
    scale = float(-z.min()) or 1.0
    z /= scale  # in [-1, 0]
    correct = z[np.arange(len(z)), labels]
    if not (_slope_and_curvature(z, correct, 0.0)[0] < 0 and correct.min() < 0):
        raise ValueError(
            "fit_temperature: targets must be better than chance, but not all right, under the "
            f"logits; got mean logits of {correct.mean() * scale:.3g} (target) and "
            f"{z.mean() * scale:.3g} (all) below the largest"
        )
    low, high, a = 0.0, np.inf, 1.0
    for _ in range(200):
        slope, curvature = _slope_and_curvature(z, correct, a)
        low, high = (a, high) if slope < 0 else (low, a)
        step = -slope / curvature if curvature > 0 else np.inf
        if not low <= a + step <= high or (high == np.inf and step > a):
            step = a if high == np.inf else (low + high) / 2 - a
        a += step
        if abs(step) <= 1e-14 * a:
            break
    return scale / a
