"""Students of the digits by what they learn from, from a stored sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.explorers import palette
from trainlab.sweeps.distillation_digits import COUNTS, SEEDS, TEMPERATURES, WIDTHS, accuracies

Array = NDArray[Any]

TEACHERS: Mapping[str | int | float, str] = {
    "all": "1,000 labels",
    "same": "the student's labels only",
    "smoothed": "1,000 smoothed labels",
    "shuffled": "1,000 labels, wrong classes shuffled",
}
NAMES = ("label", "ε", *(f"{t:g}" for t in TEMPERATURES))
PLACES = np.array([0, 1, *range(3, 3 + len(TEMPERATURES))])
SHIFTS = np.linspace(-0.22, 0.22, len(SEEDS))
LOW, HIGH = -27.0, 15.0  # points that the right panel shows


@dataclass(frozen=True)
class Data:
    """Accuracies in percent, (ways, seeds): labels, smoothed labels, then each temperature."""

    source: str
    examples: int
    width: int
    temperature: float
    accuracy: Array
    teacher: float

    @property
    def gain(self) -> Array:
        """Points over the student of the same seed that learns from labels."""
        return np.asarray(self.accuracy - self.accuracy[0])


def _compute(source: str, examples: int, width: int, temperature: float) -> Data:
    hard = [accuracies(s, examples, width)[0] for s in ("labels", "smooth labels")]
    taught, teacher = accuracies(source, examples, width)
    rows = np.concatenate([*hard, taught])
    return Data(source, examples, width, temperature, 100 * rows, 100 * teacher)


def _error(values: Array) -> Array:
    """Return the standard error of the mean over seeds."""
    return np.asarray(values.std(axis=-1, ddof=1) / np.sqrt(len(SEEDS)))


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Held-out digits read right, %")
    here = [_axis(ax)]
    ax.set_ylim(48, 102)  # the worst seed is at 49
    (teacher,) = ax.plot([], [], color=palette.THEORY, lw=1.4, ls="--")
    (runs,) = ax.plot([], [], color=palette.TEST, marker="o", ls="", ms=3.2, alpha=0.45)
    (hard,) = ax.plot([], [], color=palette.TEST, marker="s", ls="", ms=7)
    (soft,) = ax.plot([], [], color=palette.TEST, marker="s", ms=6)
    ax.text(-0.35, 49.6, "dashed: teacher", color=palette.THEORY)

    ax = right.subplots()
    panel_label(ax, "Gain over labels, points")
    here.append(_axis(ax))
    ax.set_ylim(LOW, HIGH)
    ax.set_yticks([-20, -10, 0, 10])
    ax.axhline(0, color=palette.MUTED, lw=1.2)
    (bars,) = ax.plot([], [], color=palette.TEST, lw=2.2)
    (gain,) = ax.plot([], [], color=palette.TEST, marker="s", ls="", ms=7)
    ax.text(7.35, 13, "mean of pairs ± 2 standard errors", color=palette.MUTED, ha="right")
    return {"here": here, "teacher": teacher, "runs": runs, "hard": hard, "soft": soft,
            "bars": bars, "gain": gain}  # fmt: skip


def _axis(ax: Any) -> Any:
    ax.set_xlim(-0.5, 7.5)
    ax.set_xticks(PLACES, NAMES)
    ax.set_xlabel("label, smoothed label, temperature")
    return ax.axvline(0, ymax=0.92, color=palette.HIGHLIGHT, lw=1.2, ls=":")


def _update(artists: dict[str, Any], data: Data) -> None:
    at = PLACES[2 + TEMPERATURES.index(data.temperature)]
    for line in artists["here"]:
        line.set_xdata([at, at])
    artists["teacher"].set_data([-0.5, 7.5], [data.teacher] * 2)
    artists["runs"].set_data((PLACES[:, None] + SHIFTS).ravel(), data.accuracy.ravel())
    means = data.accuracy.mean(axis=1)
    artists["hard"].set_data(PLACES[:2], means[:2])
    artists["soft"].set_data(PLACES[2:], means[2:])
    gain, half = data.gain.mean(axis=1)[1:], 2 * _error(data.gain)[1:]
    x = np.stack([PLACES[1:], PLACES[1:], np.full(len(gain), np.nan)]).T.ravel()
    y = np.stack([gain - half, gain + half, np.full(len(gain), np.nan)]).T.ravel()
    artists["bars"].set_data(x, y)
    artists["gain"].set_data(PLACES[1:], gain)


def _readout(data: Data) -> Readout:
    at = 2 + TEMPERATURES.index(data.temperature)
    gain = round(float(data.gain[at].mean()), 1)
    half = round(2 * float(_error(data.gain)[at]), 1)
    mean = data.accuracy.mean(axis=1)
    words = "no clear difference" if abs(gain) <= half else "a gain" if gain > 0 else "a loss"
    spread = data.accuracy[at].std(ddof=1)
    return Readout(
        {
            "Right, from labels": Quantity(float(mean[0]), "%"),
            "Right, from smoothed labels": Quantity(float(mean[1]), "%"),
            "Right, from the teacher": Quantity(float(mean[at]), "%"),
            "Spread between seeds": Quantity(round(float(spread), 1), "points", 2),
            "Gain over labels": Quantity(gain, "points"),
            "2 standard errors of the gain": Quantity(half, "points", 2),
            "Right, the teacher itself": Quantity(data.teacher, "%"),
        },
        f"Students of {data.width} hidden units, {data.examples:,} digits, teacher that learned "
        f"from {TEACHERS[data.source]}: at temperature {data.temperature:g} they read "
        f"{format_number(mean[at])} % right, from labels {format_number(mean[0])} %: {words} "
        f"({format_number(gain)} ± {format_number(half, 2)} points).",
    )


students = Explorer(
    name="distillation.students",
    title="Students of the digits",
    caption="Networks with one hidden layer, tested on 600 held-out digits. Left: mean over "
    f"{len(SEEDS)} seeds (squares) and each seed (dots); what they learn from is on the axis: "
    "labels, smoothed labels (ε = 0.1), or the teacher's probabilities at each temperature, with "
    "no labels. Right: difference between two students with the same first weights, digits and "
    "batches. The teacher is the mean of the logits of five networks of 128 units; the dashed line "
    "is its own accuracy, before any shuffling.",
    controls=(
        Choice("source", "The teacher learned from", TEACHERS, "all"),
        Choice("examples", "Digits that the student sees", {n: f"{n:,}" for n in COUNTS}, 100),
        Choice("width", "Hidden units of the student", {w: str(w) for w in WIDTHS}, WIDTHS[-1]),
        Steps("temperature", "Read off at T", TEMPERATURES, 4.0),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 300), (345, 300)),
)
