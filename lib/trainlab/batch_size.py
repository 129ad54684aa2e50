"""Batch size: how noisy a gradient is, which batch is worth its examples, and the learning rate.

The gradient of a batch of B examples is the true gradient G plus noise of covariance Σ/B. Their
ratio defines a batch size, the *gradient noise scale* ``tr Σ / |G|²``: far below it twice the batch
halves the number of steps, far above it twice the batch only costs twice the examples.

`noisy_quadratic` is the model behind these laws, solved exactly: SGD on a bowl, with noise.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import array, integer, one_of, real, same_shape

Array = NDArray[Any]

__all__ = [
    "NoiseScale",
    "StepsAndExamples",
    "best_lr",
    "noise_scale",
    "noise_scale_from_norms",
    "noisy_quadratic",
    "scaled_lr",
    "steps_and_examples",
]


class NoiseScale(NamedTuple):
    """Unbiased estimates of ``tr Σ`` and of ``|G|²``, and their ratio.

    The ratio is infinite where the estimate of ``|G|²`` is not positive: then the gradient drowns
    in the noise of as many examples as were looked at.
    """

    trace: float
    squared_norm: float
    scale: float


class StepsAndExamples(NamedTuple):
    """Steps and examples that reach one goal, for each batch size."""

    steps: Array
    examples: Array


def _ratio(trace: float, squared_norm: float) -> NoiseScale:
    scale = trace / squared_norm if squared_norm > 0 else math.inf
    return NoiseScale(trace, squared_norm, scale)


def noise_scale(gradients: Any) -> NoiseScale:
    """Estimate the gradient noise scale from the gradients of single examples.

    Parameters
    ----------
    gradients : array of shape (examples, ...)
        The gradient of each example's loss; 2 examples or more.

    Returns
    -------
    NoiseScale

    Raises
    ------
    ValueError, TypeError
        If there are fewer than 2 examples, or all gradients are 0.

    Notes
    -----
    ``trace`` is the sum of the unbiased variances of all coordinates. The squared norm of the mean
    gradient is too large by ``trace / examples`` on average; that is subtracted. Both estimates are
    unbiased, their ratio is not quite: average each over several batches first.

    References
    ----------
    McCandlish, Kaplan, Amodei & the OpenAI Dota Team (2018), "An empirical model of
    large-batch training".

    Examples
    --------
    >>> noise_scale([[1.0, 0.0], [3.0, 0.0]])  # mean 2, variance 2: |G|² = 4 - 2/2
    NoiseScale(trace=2.0, squared_norm=3.0, scale=0.6666666666666666)
    """
    g = array(gradients, "gradients")
    count = integer(g.shape[0] if g.ndim else 1, "number of examples in gradients", low=2)
    flat = g.reshape(count, -1).astype(np.float64, copy=False)  # (examples, parameters)
    mean = flat.mean(axis=0)
    trace = float(np.sum(np.square(flat - mean))) / (count - 1)
    squared = float(mean @ mean)
    if trace == 0 and squared == 0:
        raise ValueError("noise_scale: gradients must not all be 0; got zeros")
    return _ratio(trace, squared - trace / count)


def noise_scale_from_norms(
    small_squared_norm: Any, big_squared_norm: Any, *, small: int, big: int
) -> NoiseScale:
    """Estimate the gradient noise scale from gradient norms at two batch sizes.

    Parameters
    ----------
    small_squared_norm, big_squared_norm : float or arrays of one shape
        Squared norms of the gradients of batches; of several measurements the mean is taken.
    small, big : int
        The batch sizes, 1 <= small < big. Data-parallel training has both at no cost: one worker's
        gradient and the average of all.

    Returns
    -------
    NoiseScale

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    ``E|G_B|² = |G|² + tr Σ / B`` at two values of B, solved for the two unknowns::

        squared_norm = (big · |G_big|² - small · |G_small|²) / (big - small)
        trace = (|G_small|² - |G_big|²) / (1/small - 1/big)

    References
    ----------
    McCandlish, Kaplan, Amodei & the OpenAI Dota Team (2018), "An empirical model of
    large-batch training".

    Examples
    --------
    >>> noise_scale_from_norms(5.0, 2.0, small=1, big=4)
    NoiseScale(trace=4.0, squared_norm=1.0, scale=4.0)
    """
    few, many = (
        array(small_squared_norm, "small_squared_norm"),
        array(big_squared_norm, "big_squared_norm"),
    )
    same_shape(few, many, ("small_squared_norm", "big_squared_norm"))
    for squares, name in ((few, "small_squared_norm"), (many, "big_squared_norm")):
        real(float(squares.min()), f"smallest of {name}", low=0)
    small = integer(small, "small", low=1)
    big = integer(big, "big", low=small + 1)
    less, more = float(few.mean()), float(many.mean())
    trace = (less - more) / (1 / small - 1 / big)
    return _ratio(trace, (big * more - small * less) / (big - small))


def _batch_sizes(batch_size: Any) -> Array:
    sizes = array(batch_size, "batch_size").astype(np.float64)
    real(float(sizes.min()), "smallest of batch_size", low=0, closed="neither")
    return sizes


def steps_and_examples(
    batch_size: Any, *, noise_scale: float, min_steps: float
) -> StepsAndExamples:
    """Predict how many steps and examples it takes to get as far with another batch size.

    Parameters
    ----------
    batch_size : float or array
        Batch sizes B, > 0.
    noise_scale : float
        The batch size that costs twice the fewest steps and twice the fewest examples, > 0.
    min_steps : float
        Steps with an enormous batch, > 0.

    Returns
    -------
    StepsAndExamples
        Arrays of the shape of batch_size.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    ``steps = min_steps · (1 + noise_scale / B)`` and ``examples = B · steps``, which is
    ``min_examples · (1 + B / noise_scale)`` with ``min_examples = noise_scale · min_steps``. So
    ``(steps / min_steps - 1) · (examples / min_examples - 1) = 1``: a trade between time and
    compute, with its bend, the *critical batch size*, at the noise scale. The learning rate is
    supposed to be tuned for each batch size.

    References
    ----------
    McCandlish, Kaplan, Amodei & the OpenAI Dota Team (2018), "An empirical model of
    large-batch training".

    Examples
    --------
    >>> steps_and_examples([10, 100, 1000], noise_scale=100.0, min_steps=50.0)
    StepsAndExamples(steps=array([550., 100.,  55.]), examples=array([ 5500., 10000., 55000.]))
    """
    sizes = _batch_sizes(batch_size)
    noise = real(noise_scale, "noise_scale", low=0, closed="neither")
    least = real(min_steps, "min_steps", low=0, closed="neither")
    steps = np.asarray(least * (1 + noise / sizes))
    return StepsAndExamples(steps, np.asarray(sizes * steps))


def best_lr(batch_size: Any, *, noise_scale: float, max_lr: float) -> Array:
    """Predict the learning rate that makes most of one noisy step.

    Parameters
    ----------
    batch_size : float or array
        Batch sizes B, > 0.
    noise_scale : float
        Gradient noise scale, > 0.
    max_lr : float
        The best learning rate without noise, > 0.

    Returns
    -------
    array of the shape of batch_size

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    ``max_lr / (1 + noise_scale / B)``: proportional to B far below the noise scale, which is the
    linear scaling rule, and constant far above it.

    References
    ----------
    McCandlish, Kaplan, Amodei & the OpenAI Dota Team (2018), "An empirical model of
    large-batch training".

    Examples
    --------
    >>> best_lr([1.0, 2.0, 100.0, 1e6], noise_scale=100.0, max_lr=1.0).round(4)
    array([0.0099, 0.0196, 0.5   , 0.9999])
    """
    sizes = _batch_sizes(batch_size)
    noise = real(noise_scale, "noise_scale", low=0, closed="neither")
    top = real(max_lr, "max_lr", low=0, closed="neither")
    return np.asarray(top / (1 + noise / sizes))


def scaled_lr(lr: float, *, batch_size: float, base: float, rule: str = "linear") -> float:
    """Carry a learning rate over to another batch size.

    Parameters
    ----------
    lr : float
        Learning rate that was good with batch size `base`, >= 0.
    batch_size, base : float
        New and old batch size, > 0.
    rule : {"linear", "sqrt"}
        "linear" for SGD, "sqrt" for Adam and other methods that divide by the gradient's size.

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range, or the result overflows.

    Notes
    -----
    Both hold while noise dominates, for batches well below the noise scale: k times the batch makes
    1/k of the steps, each to be as far as k small ones together, so k times lr. Where the gradient
    is divided by its root mean square, which the noise makes √k times smaller, √k times lr does it.

    References
    ----------
    Goyal et al. (2017), "Accurate, large minibatch SGD: training ImageNet in 1 hour", for the
    linear rule.

    Examples
    --------
    >>> scaled_lr(0.1, batch_size=1024, base=256), scaled_lr(
    ...     0.1, batch_size=1024, base=256, rule="sqrt"
    ... )
    (0.4, 0.2)
    """
    lr = real(lr, "lr", low=0)
    new = real(batch_size, "batch_size", low=0, closed="neither")
    times = new / real(base, "base", low=0, closed="neither")
    factor = times if one_of(rule, "rule", ("linear", "sqrt")) == "linear" else times**0.5
    return real(lr * factor, "lr for batch_size")


def noisy_quadratic(
    lr: Any,
    *,
    curvature: Any,
    noise: Any,
    steps: int | None = None,
    batch_size: float = 1.0,
    momentum: float = 0.0,
    start: Any = 1.0,
) -> Array:
    """Expected loss of SGD on a bowl with noisy gradients, exactly.

    Parameters
    ----------
    lr : float, or array of shape (steps,)
        Learning rate of each step, >= 0.
    curvature : array of shape (d,)
        Curvature h of each coordinate, >= 0.
    noise : float or array of shape (d,)
        Variance c of one example's gradient in each coordinate, >= 0.
    steps : int, optional
        Number of steps, >= 0; needed if lr is one number.
    batch_size : float
        Examples a step, > 0: the variance of the gradient is ``noise / batch_size``.
    momentum : float
        In [0, 1).
    start : float or array of shape (d,)
        Weights at first; the optimum is 0.

    Returns
    -------
    array of shape (steps + 1,)
        ``Σ h · E[w²] / 2`` before each step, and after the last.

    Raises
    ------
    ValueError, TypeError
        If a parameter is of the wrong kind or range, or the loss overflows.

    Notes
    -----
    The gradient is ``h · w + √(c / B) · ξ`` with new standard normal ξ. Without momentum
    ``E[w²] ← (1 - lr · h)² E[w²] + lr² c / B``. At a constant lr it settles at
    ``lr · c / (B · h · (2 - lr · h))``: a floor proportional to lr / B, which is what falling
    schedules, averaging and larger batches lower. With momentum (as in `sgd_update`) the three
    second moments of weight and trace follow a linear recursion.

    References
    ----------
    Zhang et al. (2019), "Which algorithmic choices matter at which batch sizes? Insights from a
    noisy quadratic model".

    Examples
    --------
    >>> noisy_quadratic(0.5, curvature=[1.0], noise=1.0, steps=3)
    array([0.5     , 0.25    , 0.1875  , 0.171875])
    """
    h = array(curvature, "curvature", ndim=1)
    real(float(h.min()), "smallest of curvature", low=0)
    c, w = (_one_each(value, name, h) for value, name in ((noise, "noise"), (start, "start")))
    real(float(c.min()), "smallest of noise", low=0)
    c = c / real(batch_size, "batch_size", low=0, closed="neither")
    momentum = real(momentum, "momentum", low=0, high=1, closed="left")
    rates = array(lr, "lr", ndim=(0, 1), nonempty=False)
    real(float(rates.min(initial=0)), "smallest of lr", low=0)
    if steps is not None or rates.ndim == 0:
        count = integer(steps, "steps", low=0)
        if rates.ndim and len(rates) != count:
            raise ValueError(f"noisy_quadratic: lr must be {count} rates, steps; got {len(rates)}")
        rates = np.broadcast_to(rates, (count,))
    ww, wv, vv = w * w, np.zeros_like(h), np.zeros_like(h)  # E[w²], E[w·trace], E[trace²]
    losses = [h @ ww / 2]
    try:
        with np.errstate(over="raise", invalid="raise"):
            for rate in rates.tolist():
                # trace ← momentum · trace + h · w + noise
                vv = momentum**2 * vv + 2 * momentum * h * wv + h * h * ww + c
                wv = momentum * wv + h * ww
                # w ← w - rate · trace
                ww, wv = ww - 2 * rate * wv + rate * (rate * vv), wv - rate * vv
                losses.append(h @ ww / 2)
    except FloatingPointError:
        raise ValueError(
            "noisy_quadratic: lr must be so small that the loss stays finite; got overflow"
        ) from None
    return np.array(losses)


def _one_each(value: Any, name: str, h: Array) -> Array:
    given = array(value, name, ndim=(0, 1))
    if given.ndim == 1:
        same_shape(h, given, ("curvature", name))
    return np.broadcast_to(given.astype(h.dtype, copy=False), h.shape)
