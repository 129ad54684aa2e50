"""A classifier trained for too long: nearly as many right answers, and far too sure of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.calibration import (
    ReliabilityTable,
    expected_calibration_error,
    fit_temperature,
    reliability_table,
)
from trainlab.classification import cross_entropy
from trainlab.datasets import gaussian_classes
from trainlab.explorers import palette
from trainlab.softmax import softmax

EXAMPLES, VALIDATION, CLASSES, SPREAD, BINS, LR = 100, 1000, 5, 0.5, 10, 0.5
MARKS = (5, 10, 20, 50, 100, 200, 500, 1000, 2000)
CURVE = np.unique(np.geomspace(1, MARKS[-1], 40).round().astype(int))
TEMPERATURES = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)


@dataclass(frozen=True)
class Overconfidence:
    """Losses along training, and the reliability of one moment, at one temperature."""

    steps: int
    temperature: float
    train: NDArray[Any]
    validation: NDArray[Any]
    raw: float
    loss: float
    best_loss: float
    best_steps: int
    accuracy: float
    best_accuracy: float
    confidence: float
    error: float
    fitted: float
    table: ReliabilityTable


@lru_cache(maxsize=1)
def _data() -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    x, y = gaussian_classes(EXAMPLES, rng=rng, spread=SPREAD)
    xv, yv = gaussian_classes(VALIDATION, rng=rng, spread=SPREAD)
    return np.c_[x, np.ones(EXAMPLES)], y, np.c_[xv, np.ones(VALIDATION)], yv


@lru_cache(maxsize=1)
def _path() -> dict[int, NDArray[Any]]:
    """Weights along plain gradient descent, one class a row: the gradient is (P - Y)ᵀX / N."""
    x, y, *_ = _data()
    targets = np.eye(CLASSES)[y]
    weight = np.zeros((CLASSES, x.shape[1]))
    kept = {}
    for step in range(1, MARKS[-1] + 1):
        weight = weight - LR / EXAMPLES * (softmax(x @ weight.T) - targets).T @ x
        if step in MARKS or step in CURVE:
            kept[step] = weight
    return kept


@lru_cache(maxsize=64)
def _losses(temperature: float) -> tuple[NDArray[Any], NDArray[Any]]:
    x, y, xv, yv = _data()
    pairs = [
        (
            float(cross_entropy(x @ _path()[s].T / temperature, y)),
            float(cross_entropy(xv @ _path()[s].T / temperature, yv)),
        )
        for s in CURVE
    ]
    train, validation = zip(*pairs, strict=True)
    return np.array(train), np.array(validation)


@lru_cache(maxsize=64)
def _moment(steps: int) -> tuple[NDArray[Any], float, float, float]:
    """Validation logits, their loss, the accuracy and the best temperature."""
    _, _, xv, yv = _data()
    z = xv @ _path()[steps].T
    right = float(np.mean(z.argmax(axis=1) == yv))
    return z, float(cross_entropy(z, yv)), right, fit_temperature(z, yv)


def _compute(steps: int, temperature: float) -> Overconfidence:
    yv = _data()[3]
    z, raw, right, fitted = _moment(steps)
    train, validation = _losses(temperature)
    best = min(MARKS, key=lambda s: _moment(s)[1])
    p = softmax(z / temperature)
    return Overconfidence(
        steps,
        temperature,
        train,
        validation,
        raw,
        float(cross_entropy(z / temperature, yv)),
        _moment(best)[1],
        best,
        right,
        _moment(best)[2],
        float(p.max(axis=1).mean()),
        expected_calibration_error(p, yv, bins=BINS),
        fitted,
        reliability_table(p, yv, bins=BINS),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Cross-entropy while training")
    log_axis(ax, "x", 1, 3000)
    ax.set(ylim=(0, 3), xlabel="steps of gradient descent")
    artists: dict[str, Any] = {
        "train": ax.plot([], [], color=palette.TRAIN, ls="--")[0],
        "validation": ax.plot([], [], color=palette.TEST)[0],
        "dot": ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)[0],
    }
    ax.text(1.15, 2.86, "validation", color=palette.TEST, va="top", fontweight="bold")
    ax.text(1.15, 2.62, "training (dashed)", color=palette.TRAIN, va="top", fontweight="bold")
    artists["loss"] = ax.text(1, 1, "", color=palette.HIGHLIGHT, ha="center", fontweight="bold")

    ax = right.subplots()
    panel_label(ax, "Share of right answers by confidence")
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the answer given")
    ax.plot([0, 1], [0, 1], color=palette.MUTED, lw=1.2, ls=":")
    ax.text(0.03, 0.95, "more often right\nthan claimed", color=palette.FORWARD, va="top")

    artists["bins"] = ax.bar(
        (np.arange(BINS) + 0.5) / BINS, np.zeros(BINS), width=0.9 / BINS, color=palette.GRID
    ).patches
    artists["worse"] = ax.text(
        0.97, 0.05, "less often right than claimed", color=palette.WRONG, ha="right"
    )
    artists["line"] = ax.plot([], [], "o-", color=palette.TEST, lw=1.4, ms=6)[0]
    artists["gap"] = ax.plot([], [], color=palette.WRONG, lw=1)[0]
    return artists


def _update(artists: dict[str, Any], data: Overconfidence) -> None:
    artists["train"].set_data(CURVE, data.train)
    artists["validation"].set_data(CURVE, np.minimum(data.validation, 3.5))
    artists["dot"].set_data([data.steps], [min(data.loss, 2.96)])
    artists["loss"].set_text(format_number(data.loss))
    artists["loss"].set_position((min(data.steps, 1200), min(data.loss, 2.65) + 0.15))
    table = data.table
    heights = np.zeros(BINS)
    heights[np.rint(table.lower * BINS).astype(int)] = table.examples / VALIDATION
    for bar, height in zip(artists["bins"], heights, strict=True):
        bar.set_height(float(height))
    artists["line"].set_data(table.confidence, table.accuracy)
    # From each dot up or down to the diagonal; NaN lifts the pen.
    x = np.repeat(table.confidence, 3)
    y = np.stack([table.accuracy, table.confidence, np.full(len(table.accuracy), np.nan)], axis=1)
    artists["gap"].set_data(x, y.reshape(-1))  # (bins, 3) -> (3 bins,)


def _readout(data: Overconfidence) -> Readout:
    more = data.loss / data.best_loss
    too = data.confidence - data.accuracy
    side = "more sure than right" if too > 0 else "less sure than right"
    return Readout(
        {
            "Validation loss": Quantity(data.loss, "nats"),
            "Loss over the least at T = 1": Quantity(more, "×"),
            "Right answers": Quantity(100 * data.accuracy, "%"),
            "Mean confidence": Quantity(100 * data.confidence, "%"),
            "Calibration error": Quantity(100 * data.error, "%"),
            "Best temperature": data.fitted,
        },
        f"After {data.steps} steps, with logits divided by {data.temperature:g}, the classifier "
        f"is right in {format_number(100 * data.accuracy)} % of {VALIDATION} cases and claims "
        f"{format_number(100 * data.confidence)} %: {side} by "
        f"{format_number(abs(100 * too), 2)} points, at a loss of {format_number(data.loss)} nats "
        f"({format_number(data.best_loss)} at best, after {data.best_steps} steps).",
    )


overconfidence = Explorer(
    name="classification.overconfidence",
    title="Over-confidence and temperature",
    caption="Softmax regression on 100 points of 5 classes in 20 dimensions, by gradient descent. "
    "Left: loss of the training points and of 1000 others, all logits divided by the temperature. "
    "Right, for the steps chosen: validation points sorted by confidence into ten bins; dots: "
    "share of right answers, thin lines: distance from the diagonal where confidence is honest, "
    "bars: share of all points in the bin. Calibration error: length of the thin lines, averaged "
    "with the bars as weights.",
    controls=(
        Steps("steps", "Steps of training", MARKS, 2000),
        Steps("temperature", "Temperature T", TEMPERATURES, 1.0, between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
