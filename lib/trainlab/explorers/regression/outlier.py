"""One number for five data, by each loss: where the loss is least, and what each datum pulls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.differentiation import vjp
from trainlab.explorers import palette
from trainlab.regression import huber_loss, l1_loss, log_cosh_loss, mse_loss, quantile_loss

Array = NDArray[Any]

LOSSES: dict[str, tuple[str, Callable[..., Any]]] = {
    "mse": ("squared (MSE)", mse_loss),
    "mae": ("absolute (MAE)", l1_loss),
    "huber1": ("Huber, δ = 1", partial(huber_loss, delta=1.0)),
    "huber5": ("Huber, δ = 5", partial(huber_loss, delta=5.0)),
    "huber20": ("Huber, δ = 20", partial(huber_loss, delta=20.0)),
    "log_cosh": ("log-cosh", log_cosh_loss),
    "q25": ("quantile 0.25", partial(quantile_loss, quantile=0.25)),
    "q90": ("quantile 0.9", partial(quantile_loss, quantile=0.9)),
}
CLEAN = np.array([1.0, 2.0, 3.0, 4.0])
C = np.geomspace(0.8, 130, 90)
PULLS = (-100, -10, -1, 0, 1, 10, 100)


@dataclass(frozen=True)
class Outlier:
    """The loss of each prediction, the best one, and the pulls there."""

    name: str
    data: Array
    curve: Array
    best: float
    pulls: Array


def _pulls(function: Callable[..., Any], c: Array, data: Array) -> Array:
    """Minus the derivative of each datum's loss for each prediction c: (predictions, data)."""
    shape = (len(c), len(data))
    each = np.broadcast_to(data, shape)
    _, pullback = vjp(lambda x: function(x, each, reduction="none"), c[:, None] + np.zeros(shape))
    return np.asarray(-pullback(np.ones(shape))[0])


def _minimizer(function: Callable[..., Any], data: Array) -> float:
    """Left of the minimum the pulls add up to more than 0: cut what is left in 32, ten times."""
    low, high = float(data.min()), float(data.max())
    for _ in range(10):
        cuts = np.linspace(low, high, 33)
        left = int((_pulls(function, cuts, data).sum(axis=1) > 0).sum())
        low, high = float(cuts[max(left - 1, 0)]), float(cuts[min(left, 32)])
    return round((low + high) / 2, 9)


def _compute(loss: str, place: float) -> Outlier:
    function = LOSSES[loss][1]
    data = np.append(CLEAN, place)
    grid = np.repeat(C[:, None], len(data), axis=1)  # (predictions, data)
    curve = function(grid, np.broadcast_to(data, grid.shape), reduction="none").mean(axis=1)
    best = _minimizer(function, data)
    above = curve - float(function(np.full_like(data, best), data))
    # The lower of the two ends reaches a quarter of the height, so that the valley is seen.
    height = min(float(above.max()), 4 * float(min(above[0], above[-1])))
    shown = np.minimum(above / height, 1.2)
    return Outlier(loss, data, shown, best, _pulls(function, np.array([best]), data)[0])


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Mean loss of one prediction for all")
    log_axis(ax, "x", 0.8, 130)
    ax.set_xticks([1, 2, 5, 10, 22, 50, 100], ["1", "2", "5", "10", "22", "50", "100"])
    ax.set(ylim=(-0.16, 1.05), yticks=[], xlabel="prediction (logarithmic)")
    ax.axhline(0, color=palette.GRID, lw=1)
    artists: dict[str, Any] = {
        "median": ax.axvline(3, color=palette.MUTED, lw=1.2, ls=":"),
        "mean": ax.plot([], [], color=palette.MUTED, lw=1.2, ls=":")[0],
        "mean_label": ax.text(1, 0.87, "mean", color=palette.MUTED, ha="center"),
        "curve": ax.plot([], [], color=palette.TRAIN)[0],
        "data": ax.plot([], [], "o", color=palette.INK, ms=8)[0],
        "best": ax.plot([], [], "v", color=palette.HIGHLIGHT, ms=11)[0],
        "label": ax.text(1, 1, "", color=palette.HIGHLIGHT, ha="center", fontweight="bold"),
    }
    ax.text(3, 0.97, "median", color=palette.MUTED, ha="center")

    ax = right.subplots()
    panel_label(ax, "Pull of each datum at the minimum")
    ax.set(xlim=(-0.6, 4.6), ylim=(-6.3, 6.6), xlabel="datum")
    ax.set_xticks(range(5), ["1", "2", "3", "4", "outlier"])
    ax.set_yticks([float(np.arcsinh(p)) for p in PULLS], [f"{p}".replace("-", "−") for p in PULLS])
    ax.grid(visible=False, axis="x")
    ax.axhline(0, color=palette.MUTED, lw=1)
    artists["bars"] = list(ax.bar(range(5), np.zeros(5), width=0.6, color=palette.BACKWARD))
    artists["values"] = [
        ax.text(i, 0, "", color=palette.BACKWARD, ha="center", fontweight="bold") for i in range(5)
    ]
    return artists


def _update(artists: dict[str, Any], data: Outlier) -> None:
    mean = float(data.data.mean())
    artists["mean"].set_data([mean, mean], [-0.16, 1.05])
    artists["mean_label"].set_position((mean, 0.87))
    artists["curve"].set_data(C, data.curve)
    artists["data"].set_data(data.data, np.full(5, -0.08))
    artists["best"].set_data([data.best], [0.05])
    artists["label"].set_position((data.best, 0.11))
    artists["label"].set_text(format_number(data.best, 3))
    for bar, value, pull in zip(artists["bars"], artists["values"], data.pulls, strict=True):
        pull = 0.0 if abs(pull) < 1e-6 else float(pull)
        height = float(np.arcsinh(pull))
        bar.set_height(height)
        value.set_text(format_number(pull, 3))
        value.set_position((value.get_position()[0], height + (0.15 if pull >= 0 else -0.2)))
        value.set_verticalalignment("bottom" if pull >= 0 else "top")


def _readout(data: Outlier) -> Readout:
    place, pull = float(data.data[-1]), float(data.pulls[-1])
    pull = 0.0 if abs(pull) < 1e-6 else pull
    words = LOSSES[data.name][0]
    words = words[0].upper() + words[1:]
    return Readout(
        {
            "Best prediction": Quantity(data.best, digits=4),
            "Mean": float(data.data.mean()),
            "Median": float(np.median(data.data)),
            "Pull of the outlier": pull,
            "Largest other pull": float(np.abs(data.pulls[:-1]).max()),
        },
        f"{words}: the best prediction for 1, 2, 3, 4 and {format_number(place)} is "
        f"{format_number(data.best, 4)}; there the outlier pulls with {format_number(pull)}, "
        f"the largest of the others with {format_number(float(np.abs(data.pulls[:-1]).max()))}.",
    )


PLACES = (4, 5, 6, 8, 10, 15, 20, 30, 40, 50, 70, 100)

outlier = Explorer(
    name="regression.outlier",
    title="One outlier under each loss",
    caption="Left: mean loss of the five data (dots) by the one number that is predicted for all, "
    "drawn from its least value upward; the triangle is the minimum. Right: minus the "
    "derivative of each datum's loss there: positive pulls up, and all five add up to 0, save at a "
    "kink, where the datum that sits on it holds the balance (its own derivative is shown as 0).",
    controls=(
        Steps("place", "Place of the outlier", PLACES, 100, between="log"),
        Choice("loss", "Loss", {name: words for name, (words, _) in LOSSES.items()}, "mse"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((360, 290), (340, 290)),
)
