"""Distillation: a small network learns the probabilities of a large one, not only the labels.

A temperature T > 1 flattens both networks' probabilities, so that what the teacher thinks of the
wrong classes can be seen: which are nearly right. The gradient of the softened loss shrinks as
1/T²; the factor T² makes up for it. For large T all that is left is to match the logits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import _where, array, real
from .differentiation import Pullback, differentiable

__all__ = ["distillation_loss", "logit_matching_loss", "soft_targets"]

Array = NDArray[Any]


def _log_softmax(logits: Array, temperature: float) -> Array:
    with np.errstate(over="ignore"):  # infinitely unlikely is a right answer
        shifted = (logits - logits.max(axis=-1, keepdims=True)) / temperature
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def soft_targets(logits: Any, *, temperature: float) -> Array:
    """Turn logits into probabilities, flattened by a temperature.

    Parameters
    ----------
    logits : array of shape (..., K)
    temperature : float
        T, at least 1e-3; 1 is softmax, larger ones are flatter.

    Returns
    -------
    array of the shape of logits
        ``softmax(logits / T)`` over the last axis.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    References
    ----------
    Hinton, Vinyals & Dean (2015), "Distilling the knowledge in a neural network".

    Examples
    --------
    >>> soft_targets([9.0, 5.0, 1.0], temperature=1).round(4)
    array([9.817e-01, 1.800e-02, 3.000e-04])
    >>> soft_targets([9.0, 5.0, 1.0], temperature=4).round(3)
    array([0.665, 0.245, 0.09 ])
    """
    checked = _logits(logits, "logits")
    temperature = real(temperature, "temperature", low=1e-3)
    return np.exp(_log_softmax(checked, temperature))


def _logits(value: Any, name: str) -> Array:
    """Check logits of at least one class; the batch may be empty."""
    logits = array(value, name, nonempty=False)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(
            f"{_where()}: {name} must have a last axis of at least one class; got shape "
            f"{logits.shape}"
        )
    return logits


def _pair(logits: Any, teacher_logits: Any) -> tuple[Array, Array]:
    student = array(_logits(logits, "logits"), "logits")
    teacher = array(teacher_logits, "teacher_logits", shape=student.shape)
    return student, teacher.astype(student.dtype, copy=False)


def _labels(value: Any, logits: Array) -> NDArray[np.intp]:
    labels = np.asarray(value)
    classes = logits.shape[-1]
    fits = labels.dtype.kind in "iu" and labels.shape == logits.shape[:-1]
    if not fits or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"distillation_loss: labels must be whole numbers from 0 to {classes - 1} of shape "
            f"{logits.shape[:-1]}, given where alpha > 0; got {value!r}"
        )
    return labels.astype(np.intp, copy=False)


@differentiable("logits")
def distillation_loss(
    logits: Any,
    teacher_logits: Any,
    *,
    temperature: float,
    alpha: float = 0.0,
    labels: Any = None,
) -> tuple[Array, Pullback]:
    """Divergence from a teacher's softened probabilities, and cross-entropy with the labels.

    Parameters
    ----------
    logits : array of shape (..., K)
        Of the student, for K classes.
    teacher_logits : array of the same shape
        Of the teacher; not differentiated.
    temperature : float
        T, at least 1e-3; typically 2 to 10.
    alpha : float
        Weight of the labels, in [0, 1].
    labels : int array of shape (...), optional
        True classes; needed where alpha > 0.

    Returns
    -------
    array of shape ()
        Mean over the examples, in nats.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds, or there is no example.

    Notes
    -----
    ``alpha * CE(labels, softmax(z)) + (1 - alpha) * T² * KL(softmax(v/T) || softmax(z/T))`` with
    the student's logits z and the teacher's v. With respect to z the soft part has the gradient
    ``(1 - alpha) * T * (softmax(z/T) - softmax(v/T))``, over the number of examples. The softened
    probabilities differ by about (z - v)/(K T), so without the factor T² the whole would shrink as
    1/T² and alpha would mean something else at each T. Texts differ in which part alpha weighs,
    and some leave T² out. PyTorch's ``kl_div`` needs ``reduction="batchmean"`` for this mean.

    References
    ----------
    Hinton, Vinyals & Dean (2015), "Distilling the knowledge in a neural network".

    Examples
    --------
    >>> round(float(distillation_loss([[2.0, 1.0, 0.0]], [[9.0, 5.0, 1.0]], temperature=4)), 4)
    2.2902
    """
    z, v = _pair(logits, teacher_logits)
    temperature = real(temperature, "temperature", low=1e-3)
    alpha = real(alpha, "alpha", low=0, high=1)
    count = z.size // z.shape[-1]
    soft, teacher = _log_softmax(z, temperature), _log_softmax(v, temperature)
    target = np.exp(teacher)
    with np.errstate(over="ignore", invalid="ignore"):  # the value is checked below
        kl = (target * (teacher - soft)).sum() / count
        value = (1 - alpha) * temperature**2 * kl
    gradient = np.exp(soft, out=soft)
    gradient -= target
    gradient *= (1 - alpha) * temperature / count
    if alpha > 0 or labels is not None:
        index = _labels(labels, z)[..., None]
        hard = _log_softmax(z, 1.0)
        value = value - alpha / count * np.take_along_axis(hard, index, axis=-1).sum()
        hard = np.exp(hard, out=hard)
        np.put_along_axis(hard, index, np.take_along_axis(hard, index, axis=-1) - 1, axis=-1)
        gradient += alpha / count * hard
    return array(value, "loss of logits"), lambda cotangent: (gradient * cotangent,)


@differentiable("logits")
def logit_matching_loss(logits: Any, teacher_logits: Any) -> tuple[Array, Pullback]:
    """Squared distance of the centered logits: `distillation_loss` at an infinite temperature.

    Parameters
    ----------
    logits : array of shape (..., K)
        Of the student.
    teacher_logits : array of the same shape
        Of the teacher; not differentiated.

    Returns
    -------
    array of shape ()
        Mean over the examples.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds, or there is no example.

    Notes
    -----
    ``sum(d²) / (2 K)`` with ``d = (z - mean(z)) - (v - mean(v))``; gradient ``d / K``. The paper
    assumes centered logits; softmax does not see the mean, so it has to be taken off.

    References
    ----------
    Hinton, Vinyals & Dean (2015), "Distilling the knowledge in a neural network".

    Examples
    --------
    >>> float(logit_matching_loss([[2.0, 1.0, 0.0]], [[9.0, 5.0, 1.0]]))
    3.0
    """
    z, v = _pair(logits, teacher_logits)
    with np.errstate(over="ignore", invalid="ignore"):
        d = z - v
        d -= d.mean(axis=-1, keepdims=True)
        value = array(np.square(d).sum() / (2 * z.size), "mean square of logits")
    return value, lambda cotangent: (d * (cotangent / z.size),)
