"""A learning-rate schedule, and the loss that it gives on the digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.sweeps import stored, stored_run
from trainlab.sweeps.learning_rate_schedules import (
    NAMES,
    PEAKS,
    STEPS,
    WARMUPS,
    WATCHED,
    schedule,
)

SWEEP = "learning_rate_schedules"
LOW, HIGH = 0.07, 4.0  # of the loss axis


@dataclass(frozen=True)
class Course:
    """Learning rate and validation loss by step, of the chosen and of the constant schedule."""

    shape: str
    peak: float
    warmup: int
    rates: NDArray[Any]
    losses: NDArray[Any]
    constant_losses: NDArray[Any]
    ends: NDArray[Any]  # last loss by peak
    accuracy: float
    best_constant: float


@lru_cache(maxsize=1)
def _best_constant() -> float:
    """Lowest last loss of a constant rate, over all peaks and warm-ups."""
    return min(
        float(np.min(np.array(made["validation"])[:, -1]))
        for made in stored(SWEEP)
        if made["shape"] == "constant"
    )


def _compute(shape: str, peak: float, warmup: int) -> Course:
    made, plain = (
        stored_run(SWEEP, shape=s, warmup=w) for s, w in ((shape, warmup), ("constant", 0))
    )
    losses, index = np.array(made["validation"]), PEAKS.index(peak)
    return Course(
        shape,
        peak,
        warmup,
        schedule(shape, lr=peak, warmup=warmup)(np.arange(STEPS + 1)),
        losses[index],
        np.array(plain["validation"])[index],
        losses[:, -1],
        made["accuracy"][index],
        _best_constant(),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Learning rate")
    ax.set_xlim(0, STEPS)
    ax.set_ylim(0, 0.175)
    ax.set_xlabel("optimizer step")
    ax.set_yticks([0, 0.04, 0.08, 0.12, 0.16])
    (flat,) = ax.plot([], [], color=palette.MUTED, ls="--", lw=1.5)
    (rate,) = ax.plot([], [], color=palette.HIGHLIGHT)

    ax = right.subplots()
    panel_label(ax, "Validation loss (nats)")
    ax.set_xlim(0, STEPS * 1.3)
    ax.set_xticks([0, 100, 200, 300, 400])
    log_axis(ax, "y", LOW, HIGH)
    ax.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    ax.set_xlabel("optimizer step")
    best = _best_constant()
    ax.plot([0, STEPS], [best, best], color=palette.INK, lw=1.2, ls=":")
    ax.text(4, best * 0.95, "best constant rate", va="top", fontsize=11.5)
    (plain,) = ax.plot([], [], color=palette.MUTED, ls="--", lw=1.5)
    (loss,) = ax.plot([], [], color=palette.TEST, marker="o", ms=4)
    labels = [
        ax.text(STEPS + 8, 1, "constant", color=palette.MUTED, va="center"),
        ax.text(STEPS + 8, 1, "chosen", color=palette.TEST, va="center", fontweight="bold"),
    ]
    return {"flat": flat, "rate": rate, "plain": plain, "loss": loss, "labels": labels}


def _update(artists: dict[str, Any], data: Course) -> None:
    steps = np.arange(STEPS + 1)
    artists["flat"].set_data([0, STEPS], [data.peak] * 2)
    # The value at the end belongs to no update; the curve of a restart would jump there.
    artists["rate"].set_data(steps[:-1], data.rates[:-1])
    artists["plain"].set_data(WATCHED, np.minimum(data.constant_losses, HIGH))
    artists["loss"].set_data(WATCHED, np.minimum(data.losses, HIGH))
    ends = np.log(np.clip([data.constant_losses[-1], data.losses[-1]], LOW, HIGH))
    gap = 0.075 * np.log(HIGH / LOW)
    if abs(ends[0] - ends[1]) < gap:
        side = gap / 2 if ends[0] >= ends[1] else -gap / 2
        ends = ends.mean() + np.array([side, -side])
    for label, end in zip(artists["labels"], ends, strict=True):
        label.set_y(float(np.exp(end)))


def _readout(data: Course) -> Readout:
    best = int(np.argmin(data.ends))
    end, plain = data.losses[-1], data.constant_losses[-1]
    words = NAMES[data.shape].split(" (")[0]
    rise = f" after a warm-up of {data.warmup} steps" if data.warmup else ""
    if data.shape == "one_cycle":
        rise = " with its own rise"
    sentence = (
        f"{words.capitalize()} from {data.peak:g}{rise}: the validation loss ends at "
        f"{format_number(end)}; at a constant {data.peak:g} without warm-up it ends at "
        f"{format_number(plain)}, at the best constant rate at {format_number(data.best_constant)}."
    )
    return Readout(
        {
            "Last validation loss": end,
            "Validation accuracy": Quantity(100 * data.accuracy, "%"),
            "Constant rate of this peak: last loss": plain,
            "This schedule: best peak": PEAKS[best],
            "This schedule: last loss from best peak": data.ends[best],
            "Best constant rate: last loss": data.best_constant,
        },
        sentence,
    )


schedules = Explorer(
    name="learning_rate.schedules",
    title="Ten schedules, and the loss each gives",
    caption="A network with 32 hidden units learns the digits in 400 steps of 8 examples, with "
    "momentum 0.9; mean of three runs. Left: the learning rate of each step. Right: loss on 300 "
    "validation digits, solid for the chosen schedule, dashed for a constant rate of the same "
    "height without warm-up. Dotted: the best end of all constant rates. One-cycle has a rise of "
    "its own and ignores the warm-up.",
    controls=(
        Choice("shape", "Schedule", NAMES, "cosine"),
        Steps("peak", "Largest learning rate", PEAKS, 0.08),
        Steps("warmup", "Warm-up", WARMUPS, 0, unit="steps"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
