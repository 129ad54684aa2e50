"""What dropout does on average: moments, depth, the penalty, the ensemble, the variance shift.

Closed forms, and one enumeration; `trainlab.dropout` draws and applies the masks. As there, `p`
is the probability of dropping.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainlab._checks import array, integer, one_of, real

__all__ = [
    "Ensemble",
    "Moments",
    "Signal",
    "dropout_moments",
    "dropout_ridge",
    "dropout_signal",
    "expected_dropout_loss",
    "softmax_ensemble",
    "variance_shift",
]

Array = NDArray[Any]

SCALINGS = ("inverted", "standard")  # as in `trainlab.dropout.dropout`


class Moments(NamedTuple):
    """Mean, variance and second moment of one unit over the masks and the data."""

    mean: float
    var: float
    second_moment: float


class Signal(NamedTuple):
    """What reaches each depth, relative to the same network without dropout.

    `signal[l]` is E[h̃·h] / E[h²], the part of the clean layer h that the dropped layer h̃ still
    carries; `second_moment[l]` is E[h̃²] / E[h²]. Both start with 1 at depth 0.
    """

    signal: Array
    second_moment: Array


class Ensemble(NamedTuple):
    """Two ways to average the class probabilities of all thinned networks."""

    geometric: Array
    arithmetic: Array


def _drop_probability(p: Any) -> float:
    return real(p, "p", low=0, high=1, closed="left")


def dropout_moments(mean: float, var: float, *, p: float, scaling: str = "inverted") -> Moments:
    """Moments of one unit after `dropout`, from those before.

    Parameters
    ----------
    mean, var : float
        Mean c and variance v >= 0 of the unit over the data.
    p : float in [0, 1)
        Probability of dropping.
    scaling : {"inverted", "standard"}
        As in `dropout`.

    Returns
    -------
    Moments
        "inverted": mean ``c``, second moment ``(c² + v) / (1 - p)``; "standard": mean
        ``(1 - p) c``, second moment ``(1 - p)(c² + v)``; variance = second moment - mean².

    Raises
    ------
    ValueError, TypeError
        If `var` is negative, `p` outside [0, 1), or `scaling` unknown.

    Notes
    -----
    Inverted scaling keeps the mean and nothing else: a constant a (v = 0) gets the variance
    ``a² p / (1 - p)``.

    Examples
    --------
    >>> m = dropout_moments(2.0, 0.0, p=0.2)
    >>> m.mean, round(m.var, 12), m.second_moment
    (2.0, 1.0, 5.0)
    """
    c, v = real(mean, "mean"), real(var, "var", low=0)
    keep = 1 - _drop_probability(p)
    one_of(scaling, "scaling", SCALINGS)
    scale = 1 / keep if scaling == "inverted" else 1.0
    new_mean, second = scale * keep * c, scale**2 * keep * (c**2 + v)
    return Moments(new_mean, second - new_mean**2, second)


def dropout_signal(
    depth: int, *, p: float, training: bool, scaling: str = "inverted", activation: str = "relu"
) -> Signal:
    """Signal and second moment after each of `depth` layers with dropout, in the wide limit.

    Parameters
    ----------
    depth : int
        Number of layers, each linear -> activation -> dropout.
    p : float in [0, 1)
        Probability of dropping in each layer.
    training : bool
        Whether masks are drawn (training) or the test-time rule applies.
    scaling : {"inverted", "standard"}
        As in `dropout`, or in `dropout_test` if not `training`.
    activation : {"relu", "linear"}
        With random weights of variance 2/fan_in or 1/fan_in, which keep E[h²] without dropout.

    Returns
    -------
    Signal
        Two arrays of length depth + 1.

    Raises
    ------
    ValueError, TypeError
        If `depth` is negative, `p` outside [0, 1), or an option is unknown.

    Notes
    -----
    A layer multiplies each unit by a g that is independent of it. With s the signal and r the
    second moment, s ← E[g] s and r ← E[g²] r. A linear layer with independent weights keeps
    both. ReLU keeps r, and turns s = √r cos θ into √r (sin θ + (π - θ) cos θ) / π >= s.

    References
    ----------
    Cho and Saul (2009), the arc-cosine kernel of order 1, for the ReLU step.

    Examples
    --------
    >>> out = dropout_signal(3, p=0.2, training=False, scaling="standard")
    >>> out.signal.round(3)
    array([1.   , 0.8  , 0.64 , 0.512])
    """
    depth = integer(depth, "depth", low=0)
    keep = 1 - _drop_probability(p)
    one_of(training, "training", (False, True))
    one_of(scaling, "scaling", SCALINGS)
    one_of(activation, "activation", ("relu", "linear"))
    g = 1.0 if scaling == "inverted" else keep  # E[g]
    g2 = g**2 / keep if training else g**2  # E[g²]
    s, r = np.ones(depth + 1), np.ones(depth + 1)
    for layer in range(depth):
        s[layer + 1], r[layer + 1] = s[layer], r[layer]
        if activation == "relu":
            root = np.sqrt(r[layer])
            cosine = min(s[layer] / root, 1.0)  # 1 up to rounding in the first layer
            theta = np.arccos(cosine)
            s[layer + 1] = root * (np.sin(theta) + (np.pi - theta) * cosine) / np.pi
        s[layer + 1] *= g
        r[layer + 1] *= g2
    return Signal(s, r)


def expected_dropout_loss(x: Array, y: Array, weight: Array, *, p: float) -> float:
    """Squared error of a linear model under input dropout, averaged over all masks, exactly.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Inputs.
    y : ndarray of shape (n,)
        Targets.
    weight : ndarray of shape (d,)
        Weights w.
    p : float in [0, 1)
        Probability of dropping each input, with inverted scaling.

    Returns
    -------
    float
        ``E‖y - (M∘x / (1 - p)) w‖² = ‖y - x w‖² + p / (1 - p) Σ_j w_j² ‖x_j‖²``, with x_j the
        j-th column: a sum over the examples, not a mean.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit or `p` is outside [0, 1).

    References
    ----------
    Srivastava et al. (2014), section 9.1; Wager et al. (2013).

    Examples
    --------
    >>> import numpy as np
    >>> expected_dropout_loss(np.eye(2), np.array([1.0, 1.0]), np.array([1.0, 0.5]), p=0.5)
    1.5
    """
    x = array(x, "x", ndim=2)
    y, weight = array(y, "y", shape=(len(x),)), array(weight, "weight", shape=(x.shape[1],))
    p = _drop_probability(p)
    residual = y - x @ weight
    return float(residual @ residual + p / (1 - p) * np.sum(weight**2 * np.sum(x**2, axis=0)))


def dropout_ridge(x: Array, y: Array, *, p: float, l2: float = 0.0) -> Array:
    """Weights that minimize `expected_dropout_loss`: ridge with a penalty scaled by the data.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Inputs.
    y : ndarray of shape (n,) or (n, k)
        Targets; each column is a problem of its own.
    p : float in [0, 1)
        Probability of dropping each input. 0 gives least squares, of least norm if n < d.
    l2 : float >= 0
        A further penalty ``l2 ‖w‖²``. Adding noise of variance s² to the inputs is l2 = n s².

    Returns
    -------
    ndarray of shape (d,) or (d, k)
        ``w = (xᵀx + p/(1-p) diag(xᵀx) + l2 I)⁻¹ xᵀ y``.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, `p` is outside [0, 1) or `l2` negative.

    Notes
    -----
    The penalty of weight j is ``p/(1-p) ‖x_j‖²``, which is about n p/(1-p) E[x_j²]: it grows with
    the data, so its effect never fades, and it does not depend on the units of x_j.

    References
    ----------
    Srivastava et al. (2014), section 9.1; Wager et al. (2013).

    Examples
    --------
    >>> import numpy as np
    >>> dropout_ridge(np.eye(2), np.array([1.0, 1.0]), p=0.5)
    array([0.5, 0.5])
    """
    x = array(x, "x", ndim=2)
    y = array(y, "y", ndim=(1, 2))
    if len(y) != len(x):
        raise ValueError(
            f"dropout_ridge: y must have one row for each of the {len(x)} rows of x; got {len(y)}"
        )
    p, l2 = _drop_probability(p), real(l2, "l2", low=0)
    penalty = np.diag(np.sqrt(p / (1 - p) * np.sum(x**2, axis=0) + l2))
    # One row √penalty_j e_j more for each weight, with target 0: better conditioned than xᵀx.
    rows = np.vstack([x, penalty.astype(x.dtype)])
    targets = np.concatenate([y, np.zeros((x.shape[1], *y.shape[1:]), y.dtype)])
    return np.asarray(np.linalg.lstsq(rows, targets, rcond=None)[0])


def softmax_ensemble(x: Array, weight: Array, bias: Array, *, p: float) -> Ensemble:
    """Average one softmax layer over all 2^d masks of its d inputs, by enumeration.

    Parameters
    ----------
    x : ndarray of shape (d,), d <= 16
        Input.
    weight : ndarray of shape (k, d)
        Weights.
    bias : ndarray of shape (k,)
        Biases.
    p : float in [0, 1)
        Probability of dropping each input, with inverted scaling.

    Returns
    -------
    Ensemble
        Class probabilities of shape (k,): the renormalized geometric mean, which equals
        ``softmax(weight @ x + bias)`` exactly, and the arithmetic mean, which does not.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, d > 16, or `p` is outside [0, 1).

    Notes
    -----
    The mean of the logarithms is E[weight @ (m∘x)/(1-p) + bias] - E[log Z]. The first term is the
    full network's logit, and log Z is one number for all classes, which renormalizing removes.
    Behind a hidden non-linearity the first step fails, and the identity with it.

    References
    ----------
    Goodfellow et al. (2016), section 7.12.

    Examples
    --------
    >>> import numpy as np
    >>> out = softmax_ensemble(np.array([1.0, 2.0]), np.eye(2), np.zeros(2), p=0.5)
    >>> out.geometric.round(4), out.arithmetic.round(4)
    (array([0.2689, 0.7311]), array([0.3795, 0.6205]))
    """
    x = array(x, "x", ndim=1)
    if len(x) > 16:
        raise ValueError(f"softmax_ensemble: x must have at most 16 entries; got {len(x)}")
    weight = array(weight, "weight", shape=(None, len(x)))
    bias = array(bias, "bias", shape=(len(weight),))
    keep = 1 - _drop_probability(p)
    masks = (np.arange(2 ** len(x))[:, None] >> np.arange(len(x))) & 1  # (2^d, d)
    kept = masks.sum(axis=1)
    share = (keep**kept * (1 - keep) ** (len(x) - kept)).astype(x.dtype)  # probability of a mask
    logits = (masks.astype(x.dtype) * x / keep) @ weight.T + bias  # (2^d, k)
    logits -= logits.max(axis=1, keepdims=True)
    log_probability = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    mean_log = share @ log_probability
    geometric = np.exp(mean_log - mean_log.max())
    return Ensemble(geometric / geometric.sum(), share @ np.exp(log_probability))


def variance_shift(mean: float, var: float, *, p: float) -> float:
    """Variance at test time over variance in training of what a linear layer sums after dropout.

    Parameters
    ----------
    mean, var : float
        Mean c and variance v > 0 of each feature, the features being independent.
    p : float in [0, 1)
        Probability of dropping, with inverted scaling.

    Returns
    -------
    float
        ``v / ((c² + v) / (1 - p) - c²)``: 1 - p for zero-mean features, less for all others.
        A batch norm behind the layer divides by the training variance at test time too, so its
        output has this variance instead of 1.

    Raises
    ------
    ValueError, TypeError
        If `var` is not positive or `p` outside [0, 1).

    References
    ----------
    Li et al. (2019).

    Examples
    --------
    >>> variance_shift(0.0, 1.0, p=0.5), variance_shift(1.0, 1.0, p=0.5)
    (0.5, 0.3333333333333333)
    """
    v = real(var, "var", low=0, closed="neither")
    _drop_probability(p)
    return v / dropout_moments(real(mean, "mean"), v, p=p).var
