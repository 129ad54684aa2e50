"""Fit scaling laws to measured losses: power laws, valleys of equal compute, the parametric law.

The parametric fit minimizes a Huber loss between the logarithms of the measured and the predicted
losses, so that a few failed runs do not decide. With the exponents fixed the law is linear in E, A
and B; so a grid over the two exponents gives good starts for all five constants, and Gauss-Newton
steps, damped as by Levenberg and Marquardt, do the rest. All starts, and all resamples of the
bootstrap, run side by side as one batch of small linear systems.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import _where, array, generator, integer, real
from .scaling_laws import ScalingLaw, _law, _positive

__all__ = [
    "IsoflopMinimum",
    "PowerLaw",
    "bootstrap_scaling_law",
    "fit_isoflop",
    "fit_power_law",
    "fit_scaling_law",
]

Array = NDArray[Any]

STEPS = 300  # Levenberg-Marquardt steps at most
SCREEN = 15  # steps after which the starts are compared
KEPT = 6  # starts that go on
STARTS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5)  # of both exponents


class PowerLaw(NamedTuple):
    """A fitted ``y = factor * x**exponent``.

    Attributes
    ----------
    factor, exponent : float
    error : float
        Standard error of the exponent.
    """

    factor: float
    exponent: float
    error: float


def _pair(x: Any, y: Any, names: tuple[str, str], fewest: int) -> tuple[Array, Array]:
    """Check two lists of positive numbers; returns their logarithms."""
    first, second = _positive(array(x, names[0], ndim=1), names[0]), array(y, names[1], ndim=1)
    _positive(second, names[1])
    if first.shape != second.shape:
        raise ValueError(
            f"{_where()}: {names[1]} must be as many as {names[0]}, {len(first)}; got {len(second)}"
        )
    _distinct(first, names[0], fewest)
    return np.log(first.astype(np.float64)), np.log(second.astype(np.float64))


def _distinct(values: Array, name: str, fewest: int) -> None:
    integer(len(np.unique(values)), f"number of different values of {name}", low=fewest)


def fit_power_law(x: Any, y: Any) -> PowerLaw:
    """Fit a power law: a straight line through the logarithms.

    Parameters
    ----------
    x, y : array of shape (n,), > 0
        At least 3 different x.

    Returns
    -------
    PowerLaw

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    Least squares on ``log y = log factor + exponent * log x``, so errors count as ratios. A law
    with an irreducible loss, ``E + A x**-alpha``, is not straight in logarithms: subtract E first.

    Examples
    --------
    >>> law = fit_power_law([1.0, 2.0, 4.0], [3.0, 1.5, 0.75])
    >>> round(law.factor, 6), round(law.exponent, 6)
    (3.0, -1.0)
    """
    log_x, log_y = _pair(x, y, ("x", "y"), 3)
    dx, dy = log_x - log_x.mean(), log_y - log_y.mean()
    spread = float(dx @ dx)
    slope = float(dx @ dy) / spread
    rest = dy - slope * dx
    error = math.sqrt(float(rest @ rest) / (len(dx) - 2) / spread)
    return PowerLaw(math.exp(log_y.mean() - slope * log_x.mean()), slope, error)


class IsoflopMinimum(NamedTuple):
    """The bottom of a parabola through the losses of one budget.

    Attributes
    ----------
    num_params : float
        The best size.
    loss : float
        The loss there.
    curvature : float
        Second derivative of the loss with respect to log N (natural logarithm), > 0.
    """

    num_params: float
    loss: float
    curvature: float


def fit_isoflop(num_params: Any, losses: Any) -> IsoflopMinimum:
    """Find the best size among runs of equal compute: a parabola in log N.

    Parameters
    ----------
    num_params : array of shape (n,), > 0
        Sizes, at least 3 different ones.
    losses : array of shape (n,), > 0
        Their losses.

    Returns
    -------
    IsoflopMinimum

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds, or the losses bend downward, so that there is no
        minimum.

    Notes
    -----
    Least squares. The valley of a law with two different exponents is not symmetric, so the
    parabola's bottom is a little off: the more, the wider the range of sizes.

    References
    ----------
    Hoffmann et al. (2022), "Training compute-optimal large language models", approach 2.

    Examples
    --------
    >>> sizes = np.array([1e9, 2e9, 4e9])
    >>> best = fit_isoflop(sizes, [2.1, 2.0, 2.1])
    >>> round(best.num_params / 1e9, 6), round(best.loss, 6)
    (2.0, 2.0)
    """
    log_n, log_losses = _pair(num_params, losses, ("num_params", "losses"), 3)
    center = log_n.mean()
    at = log_n - center
    design = np.stack([np.ones_like(at), at, np.square(at)], axis=1)
    c0, c1, c2 = np.linalg.lstsq(design, np.exp(log_losses))[0].tolist()
    if c2 <= 0:
        raise ValueError(
            f"fit_isoflop: losses must have a minimum over num_params; got curvature {2 * c2:g}"
        )
    return IsoflopMinimum(math.exp(center - c1 / (2 * c2)), c0 - c1 * c1 / (4 * c2), 2 * c2)


# The parametric law --------------------------------------------------------------------------
# theta = (log E, log A', log B', alpha, beta), where A' and B' belong to N and D over their
# geometric means: centered, the constants hardly depend on one another.


def _predict(theta: Array, u: Array, v: Array) -> tuple[Array, Array]:
    """Logarithms of the losses, (S, n), and their derivatives, (S, n, 5)."""
    log_e, log_a, log_b, alpha, beta = theta.T[:, :, None]  # five of (S, 1)
    terms = np.stack(
        [np.broadcast_to(log_e, (len(theta), len(u))), log_a - alpha * u, log_b - beta * v], axis=2
    )
    top = terms.max(axis=2, keepdims=True)
    parts = np.exp(terms - top)
    total = parts.sum(axis=2, keepdims=True)
    shares = parts / total  # what each term contributes to the loss, (S, n, 3)
    slopes = np.concatenate(
        [shares, -shares[:, :, 1:2] * u[:, None], -shares[:, :, 2:] * v[:, None]], axis=2
    )
    return (top + np.log(total))[:, :, 0], slopes


def _huber(residual: Array, weights: Array, delta: float) -> Array:
    size = np.abs(residual)
    inside = np.minimum(size, delta)
    return np.asarray((weights * inside * (size - inside / 2)).sum(axis=1))


def _descend(
    theta: Array,
    u: Array,
    v: Array,
    log_losses: Array,
    weights: Array,
    *,
    delta: float,
    steps: int = STEPS,
) -> tuple[Array, Array]:
    """Levenberg-Marquardt for a batch of starts; returns constants (S, 5) and objectives (S,)."""
    damping = np.full(len(theta), 1e-2)
    predicted, slopes = _predict(theta, u, v)
    objective = _huber(log_losses - predicted, weights, delta)
    diagonal = np.arange(5)
    for _ in range(steps):
        residual = log_losses - predicted
        # Beyond delta a residual counts by its sign only, as if its weight were smaller.
        pull = weights * (delta / np.maximum(np.abs(residual), delta))
        weighted = slopes * pull[:, :, None]
        normal = np.swapaxes(weighted, 1, 2) @ slopes  # (S, 5, 5)
        # A term that has vanished has no slope; the floor keeps its constant where it is.
        scale = normal[:, diagonal, diagonal]
        floor = 1e-12 * scale.max(axis=1, keepdims=True) + 1e-300
        normal[:, diagonal, diagonal] += damping[:, None] * np.maximum(scale, floor) + floor
        downhill = np.swapaxes(weighted, 1, 2) @ residual[:, :, None]  # (S, 5, 1)
        moved = theta + np.clip(np.linalg.solve(normal, downhill)[:, :, 0], -2, 2)
        moved[:, 3:] = np.maximum(moved[:, 3:], 1e-3)  # exponents stay positive
        there, slopes_there = _predict(moved, u, v)
        value = _huber(log_losses - there, weights, delta)
        better = value < objective
        gain = np.max(np.where(better, (objective - value) / np.maximum(objective, 1e-300), 0))
        theta = np.where(better[:, None], moved, theta)
        predicted = np.where(better[:, None], there, predicted)
        slopes = np.where(better[:, None, None], slopes_there, slopes)
        objective = np.where(better, value, objective)
        damping = np.where(better, np.maximum(damping / 5, 1e-9), np.minimum(damping * 4, 1e9))
        if gain < 1e-12 and np.all(better | (damping > 1e3)):
            break
    return theta, objective


def _starts(u: Array, v: Array, losses: Array) -> Array:
    """For each pair of exponents the best E, A', B': a linear least-squares problem."""
    starts = []
    for alpha in STARTS:
        for beta in STARTS:
            columns = np.stack([np.ones_like(u), np.exp(-alpha * u), np.exp(-beta * v)], axis=1)
            linear = np.linalg.lstsq(columns / losses[:, None], np.ones_like(u))[0]
            positive = np.maximum(linear, 1e-2 * losses.min())
            starts.append([*np.log(positive), alpha, beta])
    return np.array(starts)


def _data(
    num_params: Any, num_tokens: Any, losses: Any
) -> tuple[Array, Array, Array, tuple[float, float]]:
    """Check the runs; returns centered log N and log D, log losses and the two centers."""
    log_n, log_losses = _pair(num_params, losses, ("num_params", "losses"), 3)
    log_d, _ = _pair(num_tokens, losses, ("num_tokens", "losses"), 3)
    integer(len(log_n), "number of losses", low=6)
    centers = float(log_n.mean()), float(log_d.mean())
    return log_n - centers[0], log_d - centers[1], log_losses, centers


def _uncentered(theta: Array, centers: tuple[float, float]) -> ScalingLaw:
    log_e, log_a, log_b, alpha, beta = theta.tolist()
    return ScalingLaw(
        E=math.exp(log_e),
        A=math.exp(log_a + alpha * centers[0]),
        B=math.exp(log_b + beta * centers[1]),
        alpha=alpha,
        beta=beta,
    )


def fit_scaling_law(
    num_params: Any, num_tokens: Any, losses: Any, *, delta: float = 1e-3
) -> ScalingLaw:
    """Fit ``E + A / N**alpha + B / D**beta`` to measured losses.

    Parameters
    ----------
    num_params, num_tokens, losses : array of shape (n,), > 0
        N, D and the final loss of each run; at least 6 runs, 3 different N and 3 different D.
    delta : float
        Relative error beyond which a run counts linearly instead of quadratically, > 0.

    Returns
    -------
    ScalingLaw
        The best of 49 starts.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    Minimizes ``sum over runs of huber(log(loss) - log(law(N, D)))``, where ``huber(r)`` is
    ``r²/2`` up to `delta` and ``delta (|r| - delta/2)`` beyond. The paper uses 1e-3 and L-BFGS.
    Mind the *sum*: of the mean, the numbers are so small that an optimizer with a fixed tolerance
    stops early.

    References
    ----------
    Hoffmann et al. (2022), "Training compute-optimal large language models", approach 3; Besiroglu,
    Erdil, Barnett & You (2024), "Chinchilla scaling: a replication attempt".

    Examples
    --------
    >>> from trainlab.scaling_laws import REPLICATION, scaling_loss
    >>> n, d = np.meshgrid([1e8, 1e9, 1e10], [1e10, 1e11, 1e12])
    >>> law = fit_scaling_law(n.ravel(), d.ravel(), scaling_loss(n, d, law=REPLICATION).ravel())
    >>> round(law.E, 4), round(law.alpha, 4), round(law.beta, 4)
    (1.8172, 0.3478, 0.3658)
    """
    u, v, log_losses, centers = _data(num_params, num_tokens, losses)
    delta = real(delta, "delta", low=0, closed="neither")
    starts = _starts(u, v, np.exp(log_losses))
    runs = u, v, log_losses, np.ones((1, len(u)))
    theta, objective = _descend(starts, *runs, delta=delta, steps=SCREEN)
    best = theta[np.argsort(objective)[:KEPT]]
    theta, objective = _descend(best, *runs, delta=delta)
    return _uncentered(theta[np.argmin(objective)], centers)


def bootstrap_scaling_law(
    num_params: Any,
    num_tokens: Any,
    losses: Any,
    *,
    law: ScalingLaw,
    rng: np.random.Generator,
    count: int = 100,
    delta: float = 1e-3,
) -> list[ScalingLaw]:
    """Fit again to resampled runs, to see how far a fit can be trusted.

    Parameters
    ----------
    num_params, num_tokens, losses : array of shape (n,), > 0
        As in `fit_scaling_law`.
    law : ScalingLaw
        The fit to all runs; each resample starts there.
    rng : np.random.Generator
        Draws the resamples.
    count : int
        Resamples, >= 1.
    delta : float
        As in `fit_scaling_law`.

    Returns
    -------
    list of ScalingLaw

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    A resample draws n of the n runs with replacement, which is to weight each run by how often it
    was drawn. Quote the spread of a *result*, such as the best size: the constants themselves
    are strongly correlated.

    Examples
    --------
    >>> from trainlab.scaling_laws import REPLICATION, scaling_loss
    >>> n, d = (a.ravel() for a in np.meshgrid([1e8, 1e9, 1e10], [1e10, 1e11, 1e12]))
    >>> noise = np.random.default_rng(0).normal(0, 0.002, 9)
    >>> losses = scaling_loss(n, d, law=REPLICATION) * np.exp(noise)
    >>> fit = fit_scaling_law(n, d, losses)
    >>> laws = bootstrap_scaling_law(n, d, losses, law=fit, rng=np.random.default_rng(1), count=20)
    >>> len(laws)
    20
    """
    u, v, log_losses, centers = _data(num_params, num_tokens, losses)
    law, rng = _law(law), generator(rng)
    count, delta = integer(count, "count", low=1), real(delta, "delta", low=0, closed="neither")
    log_a = math.log(law.A) - law.alpha * centers[0]
    log_b = math.log(law.B) - law.beta * centers[1]
    start = np.array([[math.log(law.E), log_a, log_b, law.alpha, law.beta]])
    drawn = rng.multinomial(len(u), np.full(len(u), 1 / len(u)), size=count)
    weights = drawn.astype(np.float64)
    theta, _ = _descend(np.repeat(start, count, axis=0), u, v, log_losses, weights, delta=delta)
    return [_uncentered(row, centers) for row in theta]
