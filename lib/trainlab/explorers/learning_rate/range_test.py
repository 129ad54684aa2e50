"""A range test, and what training at each fixed rate really gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.sweeps import stored_run
from trainlab.training import RangeTest, lr_range_test, smoothed_losses, suggested_lr

SWEEP = "learning_rate_range_test"
CURVATURE, START, FIXED_STEPS = 10.0, 2.4, 200
LOW, HIGH = 0.02, 20.0  # of the loss axis
CLEAR = {"facecolor": palette.PAPER, "edgecolor": "none", "pad": 1.0}  # behind a label

PROBLEMS: dict[str | int | float, str] = {
    "bowl": "a bowl of curvature 10, gradient descent",
    "sgd": "digits, SGD",
    "momentum": "digits, SGD with momentum 0.9",
    "adam": "digits, Adam",
}


@dataclass(frozen=True)
class Test:
    """Losses by learning rate: of the test, raw and smoothed, and after training at fixed rates."""

    problem: str
    steps: int
    lr: NDArray[Any]
    raw: NDArray[Any]
    smoothed: NDArray[Any]
    fixed_lr: NDArray[Any]
    fixed: NDArray[Any]
    minimum: float
    back: float  # where the smoothed loss is above the first again
    best: float
    largest: float  # fixed rate that still halves the loss


def _bowl(steps: int) -> tuple[NDArray[Any], ...]:
    start = np.array((2 * START / CURVATURE) ** 0.5)
    test = lr_range_test(
        lambda w: 0.5 * CURVATURE * w * w,
        start,
        batches=[()] * steps,
        steps=steps,
        low=1e-3,
        high=10.0,
        smoothing=0.0,
        stop=100.0,
    )
    rates = np.geomspace(1e-3, 10, 161)
    # Each step multiplies w by 1 - lr · h, the loss by its square.
    factor = np.maximum(np.abs(1 - rates * CURVATURE), 1e-3)
    powers = np.clip(2 * FIXED_STEPS * np.log(factor), -100, 100)
    return test.lr, test.losses, rates, START * np.exp(powers)


def _compute(problem: str, steps: int, smoothing: float) -> Test:
    if problem == "bowl":
        lr, raw, fixed_lr, fixed = _bowl(steps)
    else:
        made = stored_run(SWEEP, optimizer=problem, kind="test", steps=steps)
        known = stored_run(SWEEP, optimizer=problem, kind="fixed")
        lr, raw = np.array(made["lr"]), np.array(made["losses"])
        fixed_lr, fixed = np.array(known["lr"]), np.array(known["losses"])
    smoothed = smoothed_losses(raw, smoothing=smoothing)
    lowest = int(np.argmin(smoothed))
    above = np.flatnonzero(smoothed[lowest:] > raw[0])
    return Test(
        problem,
        steps,
        lr,
        raw,
        smoothed,
        fixed_lr,
        fixed,
        suggested_lr(RangeTest(lr, raw, smoothed), rule="minimum"),
        float(lr[lowest + above[0]]) if len(above) else np.inf,
        float(fixed_lr[np.argmin(fixed)]) if problem != "bowl" else 1 / CURVATURE,
        float(fixed_lr[fixed < raw[0] / 2].max()) if problem != "bowl" else 2 / CURVATURE,
    )


def _draw(left: Figure, right: Figure) -> list[dict[str, Any]]:
    panels = []
    for figure, title, color in (
        (left, "Range test: loss of one run", palette.HIGHLIGHT),
        (right, f"Loss after {FIXED_STEPS} steps at one rate", palette.TRAIN),
    ):
        ax = figure.subplots()
        panel_label(ax, title)
        log_axis(ax, "x", 1e-4, 50)
        log_axis(ax, "y", LOW, HIGH)
        ax.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
        ax.set_xlabel("learning rate")
        (raw,) = ax.plot([], [], color=palette.MUTED, lw=0.9)
        (curve,) = ax.plot([], [], color=color, lw=2.4, marker="o", ms=4)
        marks = [
            ax.plot([], [], color=palette.HIGHLIGHT, lw=1.4, ls="--")[0],
            ax.plot([], [], color=palette.HIGHLIGHT, lw=1.4, ls=":")[0],
            ax.plot([], [], color=palette.WRONG, lw=1.4, ls="-.")[0],
        ]
        labels = [
            ax.text(
                1, 0.03, "minimum", color=palette.HIGHLIGHT, ha="left", va="center", bbox=CLEAR
            ),
            ax.text(1, 0.03, "a tenth", color=palette.HIGHLIGHT, ha="right", va="center"),
            ax.text(1, 13, "limit", color=palette.WRONG, ha="left", va="center", bbox=CLEAR),
        ]
        panels.append({"raw": raw, "curve": curve, "marks": marks, "labels": labels})
    return panels


def _update(artists: list[dict[str, Any]], data: Test) -> None:
    places = (data.minimum, data.minimum / 10, data.largest)
    for panel in artists:
        for mark, label, place in zip(panel["marks"], panel["labels"], places, strict=True):
            mark.set_data([place, place], [LOW, HIGH])
            label.set_x(place * (1.2 if label.get_ha() == "left" else 0.83))
    test, fixed = artists
    test["raw"].set_data(data.lr, np.clip(data.raw, LOW, HIGH))
    test["curve"].set_data(data.lr, np.clip(data.smoothed, LOW, HIGH))
    test["curve"].set_marker("")
    fixed["curve"].set_data(data.fixed_lr, np.clip(data.fixed, LOW, HIGH))
    fixed["curve"].set_marker("" if data.problem == "bowl" else "o")


def _readout(data: Test) -> Readout:
    minimum, back, best, largest = (
        format_number(v, 2) for v in (data.minimum, data.back, data.best, data.largest)
    )
    late = (
        f"and it is back at its first loss only at {back}"
        if np.isfinite(data.back)
        else "and it never gets back to its first loss"
    )
    return Readout(
        {
            "Test: loss is smallest at": data.minimum,
            "A tenth of the test's minimum": data.minimum / 10,
            "Test: back at its first loss at": data.back,
            "Fixed rate: best": data.best,
            "Fixed rate: largest that works": data.largest,
            "Test's minimum / best fixed": data.minimum / data.best,
        },
        f"The loss of this test of {data.steps} steps is smallest at a learning rate of {minimum} "
        f"{late}; at a fixed rate, {best} is best and {largest} the largest that works.",
    )


range_test = Explorer(
    name="learning_rate.range_test",
    title="A range test reacts late",
    caption="Left: a run whose learning rate grows at every step; thick: smoothed, thin: raw loss. "
    "Right: loss on all training examples after 200 steps at one fixed rate (digits: median of "
    "three runs). Dashed in both: where the smoothed loss on the left is smallest; dotted: a tenth "
    "of that; dash-dotted: the largest fixed rate that still halves the loss, on the bowl 2 / 10. "
    "Losses in nats, on the bowl its height; what lies beyond an axis is drawn at its edge. ∞: not "
    "within the test.",
    controls=(
        Choice("problem", "Problem", PROBLEMS, "bowl"),
        Steps("steps", "Length of the test", (50, 100, 200, 400), 100, unit="steps"),
        Steps("smoothing", "Smoothing", (0.0, 0.8, 0.9, 0.95), 0.9, between="linear"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
