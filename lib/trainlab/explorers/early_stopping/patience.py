"""A noisy validation loss, a rule that stops, and what it costs over 400 runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.early_stopping import stopping_points
from trainlab.explorers import palette

Array = NDArray[Any]

EPOCHS, RUNS = 200, 400
LOWEST = 100  # epoch of the lowest true loss
BINS = np.geomspace(1e-3, 1, 25)  # of the excess loss; what is below counts in the first
STRIP = 0.16  # height of the strip with the stops, in units of the loss


def true_loss(epochs: Any) -> Array:
    """Loss without noise: it falls, and from epoch 100 on it rises slowly."""
    t = np.asarray(epochs)
    return np.asarray(0.3 + np.exp(-t / 25) + 0.001 * np.maximum(t - LOWEST, 0))


@dataclass(frozen=True)
class Patience:
    """One run, epoch by epoch; of all runs the stops, and the excess of the true loss."""

    noise: float
    patience: int
    every: int
    epochs: Array  # evaluated
    scores: Array  # of the first run
    stop: int
    best: int  # both epochs of the first run
    stops: Array  # (runs,) epochs
    restored: Array  # (runs,) excess of the best by its score
    last: Array  # (runs,) excess of the last
    attainable: Array  # (runs,) excess of the best score of all epochs

    @property
    def early(self) -> float:
        """Share of the runs that stopped before half of the way to the lowest loss."""
        return float(np.mean(self.stops < LOWEST / 2))


@lru_cache(maxsize=1)
def _noise() -> Array:
    return np.random.default_rng(1).standard_normal((RUNS, EPOCHS))


def _compute(noise: float, patience: int, min_delta: float, every: int) -> Patience:
    epochs, whole = np.arange(0, EPOCHS, int(every)), true_loss(np.arange(EPOCHS))
    true = whole[epochs]
    scores = true + noise * _noise()[:, :: int(every)]
    stops = stopping_points(scores, patience=int(patience), min_delta=min_delta)
    excess = true - whole[LOWEST]
    return Patience(
        noise=noise,
        patience=int(patience),
        every=int(every),
        epochs=epochs,
        scores=scores[0],
        stop=int(epochs[stops.stop[0]]),
        best=int(epochs[stops.best[0]]),
        stops=epochs[stops.stop],
        restored=excess[stops.best],
        last=excess[stops.stop],
        attainable=excess[scores.argmin(axis=1)],
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Validation loss of one run")
    ax.set_xlim(-2, EPOCHS)
    ax.set_ylim(0, 1.5)
    ax.set_yticks([0.3, 0.6, 0.9, 1.2], ["0.3", "0.6", "0.9", "1.2"])
    ax.set_xlabel("epoch")
    (rest,) = ax.plot([], [], color=palette.MUTED, lw=0.9)
    (seen,) = ax.plot([], [], color=palette.TEST, lw=1.5)
    ax.plot(np.arange(EPOCHS), true_loss(np.arange(EPOCHS)), color=palette.THEORY, lw=1.3, ls="--")
    (stop,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=2)
    (best,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=8, mec=palette.PAPER)
    # Line by line: releases of matplotlib set the lines of one text in different places.
    labels = [ax.text(EPOCHS - 3, y, "", ha="right") for y in (1.36, 1.24)]
    ax.text(EPOCHS - 3, 0.63, "without noise", ha="right", color=palette.THEORY)
    ax.plot([EPOCHS - 30, EPOCHS - 38], [0.61, 0.41], color=palette.THEORY, lw=0.7)
    (strip,) = ax.fill([0, 0], [0, 0], fc=palette.HIGHLIGHT, alpha=0.6)
    ax.text(EPOCHS - 3, 0.19, "where 400 runs stop", ha="right", fontsize=11.5)

    ax = right.subplots()
    panel_label(ax, "True loss above the lowest, 400 runs")
    log_axis(ax, "x", 1e-3, 1.05)
    ax.set_xticks([0.001, 0.01, 0.1, 1], ["≤ 0.001", "0.01", "0.1", "1"])
    ax.set_ylim(0, 108)
    ax.set_yticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
    ax.set_xlabel("excess of the kept copy")
    ax.set_ylabel("runs with at most this", labelpad=1)
    (attainable,) = ax.plot([], [], color=palette.MUTED, ls=":", lw=1.8)
    (last,) = ax.plot([], [], color=palette.WRONG, ls="--", lw=1.8)
    (restored,) = ax.plot([], [], color=palette.FORWARD, lw=2.2)
    ax.plot([0.0012, 0.0023], [104, 104], color=palette.FORWARD, lw=2.2)
    ax.text(0.0027, 104, "best restored", color=palette.FORWARD, va="center")
    ax.plot([0.035, 0.067], [104, 104], color=palette.WRONG, ls="--", lw=1.8)
    ax.text(0.078, 104, "last kept", color=palette.WRONG, va="center")
    ax.text(0.0012, 90, "dotted: never", color=palette.INK, va="center")
    ax.text(0.0012, 82, "stop, take best", color=palette.INK, va="center")
    return {
        "rest": rest, "seen": seen, "stop": stop, "best": best, "labels": labels, "strip": strip,
        "last": last, "restored": restored, "attainable": attainable,
    }  # fmt: skip


def _share(excess: Array) -> Array:
    """Percentage of the runs with an excess of at most each edge."""
    return np.asarray(100 * np.mean(excess[:, None] <= BINS * (1 + 1e-9), axis=0))


def _update(artists: dict[str, Any], data: Patience) -> None:
    seen = data.epochs <= data.stop
    artists["rest"].set_data(data.epochs[~seen], data.scores[~seen])
    artists["seen"].set_data(data.epochs[seen], data.scores[seen])
    artists["stop"].set_data([data.stop, data.stop], [STRIP, 1.15])
    artists["best"].set_data([data.best], [data.scores[data.epochs == data.best][0]])
    words = f"stops at epoch {data.stop},", f"best score at {data.best} (dot)"
    for label, line in zip(artists["labels"], words, strict=True):
        label.set_text(line)
    counts = np.histogram(data.stops, np.arange(0, EPOCHS + 1, 10))[0]
    edges = np.repeat(np.arange(0, EPOCHS + 1, 10), 2)
    heights = np.concatenate([[0], np.repeat(counts / RUNS, 2), [0]])
    artists["strip"].set_xy(np.column_stack([edges, STRIP * np.sqrt(heights)]))
    for name, excess in (
        ("restored", data.restored),
        ("last", data.last),
        ("attainable", data.attainable),
    ):
        artists[name].set_data(BINS, _share(excess))


def _readout(data: Patience) -> Readout:
    restored, last = float(data.restored.mean()), float(data.last.mean())
    middle = float(np.median(data.stops))
    return Readout(
        {
            "Epoch of the stop, median": middle,
            "Stopped before epoch 50": Quantity(100 * data.early, "%"),
            "Mean excess loss, best restored": restored,
            "Mean excess loss, last kept": last,
            "Never stopped, best restored": float(data.attainable.mean()),
            "Never stopped, last kept": float(true_loss(EPOCHS - 1) - true_loss(LOWEST)),
        },
        f"With noise {format_number(data.noise)} and a patience of {data.patience} evaluations "
        f"the middle one of 400 runs stops at epoch {format_number(middle)}, where the lowest true "
        f"loss is at epoch {LOWEST}; the copy with the best score is "
        f"{format_number(restored, 2)} above it on average, the last copy "
        f"{format_number(last, 2)}.",
    )


patience = Explorer(
    name="early_stopping.patience",
    title="Patience against noise",
    caption="Left: the validation loss of one run (solid up to its stop, thin what would have come "
    "after), the loss without noise (dashed), the stop (vertical line) and the best score so far "
    "(dot). The strip shows where 400 runs stop; its height is the root of their share. Right: "
    "the share of the 400 runs whose kept copy has a true loss at most this much above the lowest; "
    "dotted: the best score of all 200 epochs. Up and to the left is better.",
    controls=(
        Steps("noise", "Noise of a score", (0.0, 0.01, 0.03, 0.1), 0.03, between="linear"),
        Steps("patience", "Patience", (1, 2, 3, 5, 10, 20, 40), 2, "evaluations", "whole"),
        Steps("min_delta", "min_delta", (0.0, 0.01, 0.03), 0.0, between="linear"),
        Steps("every", "Epochs between evaluations", (1, 5, 10), 1, "", "whole"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
