"""Ridge from no penalty to a constant: the gap shrinks while the validation loss explodes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.spectral_filters import ridge_factors

Array = NDArray[Any]

FEATURES, DATA_SETS, MOST, SEED = 20, 40, 100, 3
STRENGTHS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
PATH = np.geomspace(1e-3, 1e3, 37)


@dataclass(frozen=True)
class Gap:
    """Losses along the path of penalties and at the chosen one; those of guessing 0."""

    lam: float
    train_path: Array
    validation_path: Array
    train: float
    validation: float
    zero_train: float
    zero_validation: float


@lru_cache(maxsize=1)
def _draws() -> tuple[Array, Array, Array]:
    """Features, true weights with ‖w‖² = 20, noise of size 1: data sets along the first axis."""
    rng = np.random.default_rng(SEED)
    w = rng.standard_normal((DATA_SETS, FEATURES, 1))
    w *= np.sqrt(FEATURES / np.sum(w**2, axis=1, keepdims=True))
    x = rng.standard_normal((DATA_SETS, MOST, FEATURES))
    return x, w, rng.standard_normal((DATA_SETS, MOST, 1))


@lru_cache(maxsize=8)
def _directions(examples: int) -> tuple[Array, Array]:
    """Curvatures h of the first examples, and the directions they belong to: XᵀX/n = V diag(h) Vᵀ.

    Far cheaper than a decomposition of X, which matters in the browser.
    """
    x = _draws()[0][:, :examples]
    h, v = np.linalg.eigh(np.swapaxes(x, 1, 2) @ x / examples)
    return h, v


def losses(lam: Any, *, examples: int, noise: float) -> tuple[Array, Array, float]:
    """Return training and validation loss of ridge for some strengths, and the loss of guessing 0.

    Means over all data sets. The validation loss is exact: for independent features of variance 1
    it is the squared distance of the weights from the true ones plus the variance of the noise.
    All weights are written in the directions of `_directions`, in which ridge fits each by itself.
    """
    x, true, disturbance = _draws()
    x = x[:, :examples]
    y = x @ true + noise * disturbance[:, :examples]  # (sets, examples, 1)
    h, v = _directions(examples)
    turned = np.swapaxes(v, 1, 2)
    slope = turned @ (np.swapaxes(x, 1, 2) @ y / examples)  # (sets, features, 1)
    factors = ridge_factors(np.sqrt(h), lam, n=1)  # (sets, features, strengths)
    w = factors * slope / h[..., None]
    zero = float(np.mean(y**2))
    train = zero + np.sum(w * (h[..., None] * w - 2 * slope), axis=1).mean(axis=0)
    validation = np.sum((w - turned @ true) ** 2, axis=1).mean(axis=0) + noise**2
    return train, validation, zero


def _compute(lam: float, examples: int, noise: float) -> Gap:
    train, validation, zero = losses(np.append(PATH, lam), examples=int(examples), noise=noise)
    return Gap(
        lam,
        train[:-1],
        validation[:-1],
        float(train[-1]),
        float(validation[-1]),
        zero,
        FEATURES + noise**2,
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Loss by strength of the penalty")
    log_axis(ax, "x", 1e-3, 1e3)
    log_axis(ax, "y", 0.04, 60)
    ax.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    ax.set_xlabel("λ")
    (train,) = ax.plot([], [], color=palette.TRAIN, ls="--")
    (validation,) = ax.plot([], [], color=palette.TEST)
    (least,) = ax.plot([], [], "*", color=palette.TEST, ms=13)
    (best_bar,) = ax.plot([], [], color=palette.TEST, lw=1.3, ls=":")
    (bar,) = ax.plot([], [], "-o", color=palette.HIGHLIGHT, lw=3, ms=6)
    ax.text(1.3e-3, 42, "solid: validation", color=palette.TEST, va="center")
    ax.text(1.3e-3, 24, "dashed: training", color=palette.TRAIN, va="center")
    ax.text(8e2, 0.055, "bar: the gap at λ, dotted: at the star", color=palette.INK, ha="right")

    ax = right.subplots()
    panel_label(ax, "Validation loss by gap")
    ax.set_xlim(-1, 14)
    log_axis(ax, "y", 0.2, 60)
    ax.set_yticks([1, 10], ["1", "10"])
    ax.set_xlabel("gap: validation loss − training loss")
    ax.plot([0, 0], [0.2, 60], color=palette.MUTED, lw=1)
    (path,) = ax.plot([], [], color=palette.INK, lw=1.6)
    (best,) = ax.plot([], [], "*", color=palette.TEST, ms=13)
    (zero,) = ax.plot([], [], "s", color=palette.MUTED, ms=8)
    (dot,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9, mec=palette.PAPER)
    ax.text(13.7, 42, "square: guess 0 always", color=palette.INK, ha="right", va="center")
    ax.text(13.7, 0.27, "star: least validation loss", color=palette.TEST, ha="right")
    return {
        "train": train, "validation": validation, "least": least, "bar": bar, "path": path,
        "best": best, "best_bar": best_bar, "zero": zero, "dot": dot,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Gap) -> None:
    artists["train"].set_data(PATH, data.train_path)
    artists["validation"].set_data(PATH, data.validation_path)
    k = int(data.validation_path.argmin())
    gaps = data.validation_path - data.train_path
    artists["least"].set_data([PATH[k]], [data.validation_path[k]])
    artists["best_bar"].set_data([PATH[k]] * 2, [data.train_path[k], data.validation_path[k]])
    artists["bar"].set_data([data.lam] * 2, [data.train, data.validation])
    artists["path"].set_data(gaps, data.validation_path)
    artists["best"].set_data([gaps[k]], [data.validation_path[k]])
    artists["zero"].set_data([data.zero_validation - data.zero_train], [data.zero_validation])
    artists["dot"].set_data([data.validation - data.train], [data.validation])


def _readout(data: Gap) -> Readout:
    k = int(data.validation_path.argmin())
    gap, best = data.validation - data.train, float(data.validation_path[k])
    return Readout(
        {
            "Training loss at λ": data.train,
            "Validation loss at λ": data.validation,
            "Gap at λ": gap,
            "Least validation loss (star)": best,
            "Gap at the star": best - float(data.train_path[k]),
            "Guessing 0: validation loss": data.zero_validation,
            "Guessing 0: gap": data.zero_validation - data.zero_train,
        },
        f"With λ = {format_number(data.lam)} the gap is {format_number(gap)} and the validation "
        f"loss {format_number(data.validation)}; the least validation loss is "
        f"{format_number(best)}, with a gap of "
        f"{format_number(best - float(data.train_path[k]))}, and whoever always guesses 0 has a "
        f"gap of {format_number(data.zero_validation - data.zero_train)} and a loss of "
        f"{format_number(data.zero_validation)}.",
    )


gap = Explorer(
    name="early_stopping.gap",
    title="The gap is not the objective",
    caption="Ridge regression with 20 features. Left: training and validation loss over the "
    "strength of the penalty; the bar is the gap between them at the chosen λ, the dotted line "
    "the gap at the least validation loss (star). Right: the same path, drawn by its gap; the dot "
    "is the chosen λ. Means over 40 data sets whose true weights have a squared length of 20; the "
    "validation loss is exact in each.",
    controls=(
        Steps("lam", "Strength λ", STRENGTHS, 30.0, between="log"),
        Steps("examples", "Training examples", (25, 30, 50, 100), 25, "", "whole"),
        Steps("noise", "Label noise σ", (0.5, 1.0, 1.5), 1.0, between="linear"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
