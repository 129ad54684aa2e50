"""Digits with wrong labels: what a stop keeps of six real runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.early_stopping import stopping_points
from trainlab.explorers import palette
from trainlab.sweeps import stored_run
from trainlab.sweeps.early_stopping import EPOCHS, NOISE

Array = NDArray[Any]

WATCH: Mapping[str | int | float, str] = {"loss": "loss", "accuracy": "accuracy"}
KEEP: Mapping[str | int | float, str] = {"best": "the best copy", "last": "the last copy"}
AT = np.arange(1, EPOCHS + 1)


@dataclass(frozen=True)
class Runs:
    """Curves of six runs, and the epochs at which each stopped and from which it was kept."""

    noise: float
    watch: str
    keep: str
    patience: int
    loss: Array  # (runs, epochs), validation
    accuracy: Array  # (runs, epochs), validation
    test: Array  # (runs, epochs), accuracy on right labels
    stop: Array  # (runs,), indices
    kept: Array

    def at(self, curves: Array, index: Array) -> Array:
        """Value of each run at an epoch of its own."""
        return np.asarray(np.take_along_axis(curves, index[:, None], axis=1)[:, 0])


@lru_cache(maxsize=8)
def curves(noise: float) -> Mapping[str, Array]:
    """Return the stored curves of one share of wrong labels, each of shape (runs, epochs)."""
    made = stored_run("early_stopping", noise=noise)
    return {k: np.array(v) for k, v in made.items() if k != "noise"}


def _compute(noise: float, watch: str, patience: int, keep: str) -> Runs:
    made = curves(noise)
    scores = made[f"validation_{watch}"]
    mode = "min" if watch == "loss" else "max"
    stops = stopping_points(scores, patience=int(patience), mode=mode)
    kept = stops.best if keep == "best" else stops.stop
    return Runs(
        noise,
        watch,
        keep,
        int(patience),
        made["validation_loss"],
        made["validation_accuracy"],
        made["test_accuracy"],
        stops.stop,
        kept,
    )


def _lines(ax: Any, color: str, runs: int) -> dict[str, Any]:
    """Lines of all runs before and after their stops, and the dots of what is kept."""
    return {
        "rest": [ax.plot([], [], color=palette.MUTED, lw=0.8)[0] for _ in range(runs)],
        "seen": [ax.plot([], [], color=color, lw=1.3)[0] for _ in range(runs)],
        "kept": ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=6.5, mec=palette.PAPER)[0],
    }


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    runs = len(curves(NOISE[0])["test_accuracy"])
    panels: dict[str, Any] = {}
    top, bottom = left.subplots(2, 1, sharex=True)
    ax = right.subplots()
    for where in (top, bottom, ax):
        where.set_xlim(0, EPOCHS)
    panel_label(top, "Validation loss above its least (nats)")
    top.set_ylim(-0.03, 0.6)
    top.set_yticks([0, 0.2, 0.4], ["0", "0.2", "0.4"])
    panels["loss"] = _lines(top, palette.TEST, runs)
    panel_label(bottom, "Validation accuracy below its best (points)")
    bottom.set_ylim(-20, 1.5)
    bottom.set_yticks([-15, -10, -5, 0], ["−15", "−10", "−5", "0"])
    bottom.set_xlabel("epoch")
    panels["accuracy"] = _lines(bottom, palette.TEST, runs)
    panels["watched"] = [
        where.text(EPOCHS - 1, y, "", ha="right", va="top", fontweight="bold")
        for where, y in ((top, 0.57), (bottom, -14))
    ]
    panel_label(ax, "Test accuracy of the same runs")
    ax.set_xlabel("epoch")
    ax.set_ylim(60, 100)
    ax.set_yticks([60, 70, 80, 90, 100], ["60", "70", "80", "90", "100 %"])
    (panels["end"],) = ax.plot([], [], color=palette.THEORY, lw=1.3, ls=":")
    ax.text(EPOCHS - 1, 63.2, "dots: kept copies", ha="right", color=palette.HIGHLIGHT)
    ax.text(EPOCHS - 1, 61, "dotted: mean after the last epoch", ha="right")
    panels["test"] = _lines(ax, palette.FORWARD, runs)
    return panels


def _update(artists: dict[str, Any], data: Runs) -> None:
    for text, name in zip(artists["watched"], ("loss", "accuracy"), strict=True):
        text.set_text("watched" if name == data.watch else "")
    for name, runs in (
        ("loss", data.loss - data.loss.min(axis=1, keepdims=True)),
        ("accuracy", 100 * (data.accuracy - data.accuracy.max(axis=1, keepdims=True))),
        ("test", 100 * data.test),
    ):  # fmt: skip
        panel = artists[name]
        for k, (rest, seen) in enumerate(zip(panel["rest"], panel["seen"], strict=True)):
            end = int(data.stop[k])
            seen.set_data(AT[: end + 1], runs[k, : end + 1])
            rest.set_data(AT[end:], runs[k, end:])
        panel["kept"].set_data(AT[data.kept], data.at(runs, data.kept))
    final = 100 * float(data.test[:, -1].mean())
    artists["end"].set_data([0, EPOCHS], [final, final])


def _readout(data: Runs) -> Readout:
    kept = 100 * data.at(data.test, data.kept)
    error = float(kept.std(ddof=1) / np.sqrt(len(kept)))
    final, best = 100 * float(data.test[:, -1].mean()), 100 * float(data.test.max(axis=1).mean())
    spent = float(AT[data.stop].mean())
    return Readout(
        {
            "Test accuracy of what is kept": Quantity(float(kept.mean()), "%", 4),
            "Standard error": Quantity(error, "points", 2),
            "Test accuracy after 80 epochs": Quantity(final, "%", 4),
            "Best test accuracy of any epoch": Quantity(best, "%", 4),
            "Epochs trained": spent,
        },
        f"With {format_number(100 * data.noise)} % wrong labels, watching the validation "
        f"{data.watch} with a patience of {data.patience} and keeping {KEEP[data.keep]}, six runs "
        f"stop after {format_number(spent)} epochs on average and reach "
        f"{format_number(float(kept.mean()))} ± {format_number(error, 2)} % on test digits; after "
        f"80 epochs they reach {format_number(final)} %.",
    )


digits_runs = Explorer(
    name="early_stopping.digits_runs",
    title="Stopping six real runs",
    caption="A network with 128 hidden units learns 400 digits with Adam (rate 0.0015, batches of "
    "40); six runs with examples, labels, weights and batches of their own. A share of the "
    "training and validation labels is wrong; test labels are right. Lines are thin and gray after "
    "the stop; dots are the copies that are kept. Left: loss and accuracy on 300 validation "
    "digits, each run measured from its own best. Right: accuracy on 300 test digits. There is one "
    "evaluation an epoch.",
    controls=(
        Choice("noise", "Wrong labels", {n: f"{100 * n:g} %" for n in NOISE}, 0.4),
        Choice("watch", "Watch the validation", WATCH, "loss"),
        Steps("patience", "Patience", (1, 2, 3, 5, 10, 20, 40), 5, "epochs", "whole"),
        Choice("keep", "Keep", KEEP, "best"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 330), (350, 330)),
)
