"""Noise on the inputs of a linear model: fits to noisy copies, and the ridge they come close to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.augmentation import input_noise, noise_ridge
from trainlab.explorers import palette

Array = NDArray[np.float64]

EXAMPLES, TARGET_NOISE = 20, 1.0
TRUE = np.array([1.0, 0.3, -0.8, 0.0])
COPIES = (1, 3, 10, 30, 100, 300, 1000, 3000)
STDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
PATH = np.geomspace(0.03, 3, 41)
STYLES = (
    (palette.TRAIN, "-"),
    (palette.FORWARD, "--"),
    (palette.BACKWARD, "-."),
    (palette.TEST, ":"),
)


@dataclass(frozen=True)
class Noise:
    """Weights of the fits to the chosen copies and of ridge; distance of the two for all copies."""

    std: float
    copies: int
    fitted: Array  # (4,)
    ridge: Array  # (4,)
    distances: Array  # (numbers of copies,), largest difference between fit and ridge
    plain: float  # largest difference between least squares and ridge
    forgotten: float  # largest difference between the fit and a ridge without n
    error: float  # of the fit, on new examples without noise on the targets
    plain_error: float


@lru_cache(maxsize=1)
def _problem() -> tuple[Array, Array]:
    """Two pairs of correlated inputs, and noisy targets."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((EXAMPLES, 4))
    x[:, 1::2] = 0.9 * x[:, ::2] + 0.44 * x[:, 1::2]
    return x, x @ TRUE + TARGET_NOISE * rng.standard_normal(EXAMPLES)


@lru_cache(maxsize=1)
def _sums() -> tuple[Array, Array, Array]:
    """Mean xᵀE, EᵀE and Eᵀy over the first copies of unit noise E, for each number of copies."""
    x, y = _problem()
    blank = np.zeros((COPIES[-1], *x.shape))
    noise = input_noise(blank, std=1.0, rng=np.random.default_rng(5))
    last, counts = np.array(COPIES) - 1, np.array(COPIES, float)
    each = (x.T @ noise, noise.swapaxes(1, 2) @ noise, noise.swapaxes(1, 2) @ y)
    cross, square, pull = (np.cumsum(v, axis=0)[last] for v in each)
    return cross / counts[:, None, None], square / counts[:, None, None], pull / counts[:, None]


def _compute(std: float, copies: int) -> Noise:
    x, y = _problem()
    cross, square, pull = _sums()
    # The normal equations of all copies x + std·E stacked, divided by the number of copies.
    normal = x.T @ x + std * (cross + cross.swapaxes(1, 2)) + std**2 * square
    fits = np.linalg.solve(normal, (x.T @ y + std * pull)[..., None])[..., 0]
    ridge, plain = noise_ridge(x, y, std=std), np.linalg.lstsq(x, y, rcond=None)[0]
    without_n = noise_ridge(x, y, std=std / np.sqrt(EXAMPLES))
    fitted = fits[COPIES.index(copies)]
    pair = np.array([[1.0, 0.9], [0.9, 0.81 + 0.44**2]])
    covariance = np.kron(np.eye(2), pair)
    return Noise(
        std=std,
        copies=copies,
        fitted=fitted,
        ridge=ridge,
        distances=np.abs(fits - ridge).max(axis=1),
        plain=float(np.abs(plain - ridge).max()),
        forgotten=float(np.abs(fitted - without_n).max()),
        error=float((fitted - TRUE) @ covariance @ (fitted - TRUE)),
        plain_error=float((plain - TRUE) @ covariance @ (plain - TRUE)),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    x, y = _problem()
    ax = left.subplots()
    panel_label(ax, "Weights")
    log_axis(ax, "x", 0.03, 3)
    ax.set_xticks([0.03, 0.1, 0.3, 1, 3], ["0.03", "0.1", "0.3", "1", "3"])
    ax.set_ylim(-2.1, 1.5)
    ax.set_xlabel("standard deviation σ of the noise")
    path = np.array([noise_ridge(x, y, std=float(s)) for s in PATH])
    for k, (color, style) in enumerate(STYLES):
        ax.plot(PATH, path[:, k], color=color, ls=style, lw=1.8)
    ax.text(0.033, 1.42, "lines: ridge with λ = σ²", va="top")
    ax.text(0.033, -2.0, "dots: fit to noisy copies", va="bottom")
    (marker,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.2)
    dots = [ax.plot([], [], "o", color=color, ms=8)[0] for color, _ in STYLES]

    ax = right.subplots()
    panel_label(ax, "Largest difference from ridge")
    log_axis(ax, "x", 0.7, 5000)
    log_axis(ax, "y", 3e-4, 10)
    ax.set_xlabel("copies of each example")
    guide = np.array([1.0, 3000.0])
    ax.plot(guide, 0.03 / np.sqrt(guide), color=palette.THEORY, ls=":", lw=1.4)
    ax.text(0.9, 6e-4, "dotted: 1/√copies", color=palette.THEORY, ha="left", va="bottom")
    (plain,) = ax.plot([], [], color=palette.WRONG, ls="--", lw=1.6)
    label = ax.text(4500, 1, "", color=palette.WRONG, ha="right", va="bottom")
    (curve,) = ax.plot([], [], "o-", color=palette.TRAIN, lw=1.8, ms=4.5)
    (chosen,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)
    return {
        "marker": marker,
        "dots": dots,
        "plain": plain,
        "label": label,
        "curve": curve,
        "chosen": chosen,
    }


def _update(artists: dict[str, Any], data: Noise) -> None:
    artists["marker"].set_data([data.std, data.std], [-1.75, 1.15])
    for dot, weight in zip(artists["dots"], data.fitted, strict=True):
        dot.set_data([data.std], [weight])
    artists["plain"].set_data([0.7, 5000], [data.plain, data.plain])
    artists["label"].set_position((4500, data.plain * 1.15))
    artists["label"].set_text("least squares without noise")
    artists["curve"].set_data(COPIES, data.distances)
    k = COPIES.index(data.copies)
    artists["chosen"].set_data([data.copies], [data.distances[k]])


def _readout(data: Noise) -> Readout:
    distance = float(data.distances[COPIES.index(data.copies)])
    many = "copy" if data.copies == 1 else "copies"
    return Readout(
        {
            "Largest difference from ridge": distance,
            "Least squares from ridge": data.plain,
            "Fit from a ridge without n": data.forgotten,
            "Penalty n·σ² on the sum": EXAMPLES * data.std**2,
            "Error of the fit": data.error,
            "Error of least squares": data.plain_error,
        },
        f"With noise of σ = {format_number(data.std)} and {data.copies} {many} of each of "
        f"{EXAMPLES} examples, no weight is farther than {format_number(distance)} from ridge "
        f"regression with λ = σ²; without noise the largest difference is "
        f"{format_number(data.plain)}.",
    )


noise = Explorer(
    name="data.noise",
    title="Noisy copies of the examples and ridge regression",
    caption="A linear model with four inputs, two correlated pairs, is fitted by least squares to "
    "noisy copies of 20 examples. Left: its weights (dots), and those of ridge regression with "
    "λ = σ² beside the mean squared error (lines). Right: the largest difference between the two, "
    "over the number of copies; dashed, that between ridge and least squares without noise. "
    "Error: mean squared, on new inputs without noise.",
    controls=(
        Steps("std", "Standard deviation σ of the noise", STDS, 0.3, between="log"),
        Steps("copies", "Copies of each example", COPIES, 1000),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
