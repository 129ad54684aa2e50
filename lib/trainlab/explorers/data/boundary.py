"""Where mixup puts the decision boundary of two toy problems, and how sure it is beside it."""

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
from trainlab.explorers import palette
from trainlab.sweeps import stored_run
from trainlab.sweeps.mixup_boundary import ALPHAS, AXES, COUNT, SEEDS, SHARES, examples

from ._contour import contour_lines

Array = NDArray[np.float64]

NAMES: Mapping[str | int | float, str] = {"moons": "two moons", "circles": "circle in a circle"}
CHANCES = (0.05, 0.25, 0.5, 0.75, 0.95)
BOX = {"moons": (-1.75, 2.75, -1.4, 1.9), "circles": (-1.95, 1.95, -1.43, 1.43)}
BREAK = np.array([[np.nan, np.nan]])


@dataclass(frozen=True)
class Boundary:
    """Contours of the probability of class 1; means over the runs at SHARES of the way."""

    data: str
    alpha: float
    points: Array  # (60, 2), scaled to the unit square of the picture
    labels: NDArray[np.int64]
    contours: list[Array]  # one (points, 2) for each of CHANCES, parts separated by NaN
    plain: Array  # (points, 2), the decision boundary without mixup
    across: Array
    within: Array
    accuracy: float
    confidence: float
    loss: float


def _unit(points: Array, data: str) -> Array:
    left, right, bottom, top = BOX[data]
    return (points - [left, bottom]) / [right - left, top - bottom]


@lru_cache(maxsize=64)
def _contour(data: str, alpha: float, chance: float) -> Array:
    odds = np.array(stored_run("mixup_boundary", data=data, alpha=alpha)["log_odds"])
    x, y = AXES[data]
    grid, level = odds.reshape(len(y), len(x)), float(np.log(chance / (1 - chance)))
    parts: list[Array] = [BREAK]
    for part in contour_lines(x, y, grid, level):
        parts += [_unit(part, data).round(3), BREAK]
    return np.concatenate(parts)


def _compute(data: str, alpha: float) -> Boundary:
    made = stored_run("mixup_boundary", data=data, alpha=alpha)
    points, labels = examples(data, COUNT, SEEDS[0])
    return Boundary(
        data=data,
        alpha=alpha,
        points=_unit(points, data),
        labels=labels,
        contours=[_contour(data, alpha, chance) for chance in CHANCES],
        plain=_contour(data, 0.0, 0.5),
        across=np.array(made["across"]),
        within=np.array(made["within"]),
        accuracy=float(np.mean(made["accuracy"])),
        confidence=float(np.mean(made["confidence"])),
        loss=float(np.mean(made["loss"])),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Probability of the classes")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    colors = (palette.TRAIN, palette.TRAIN, palette.INK, palette.TEST, palette.TEST)
    lines = [
        ax.plot([], [], color=color, ls=style, lw=width)[0]
        for color, style, width in zip(
            colors, (":", "--", "-", "--", ":"), (1.4, 1.4, 2.6, 1.4, 1.4), strict=True
        )
    ]
    (plain,) = ax.plot([], [], color=palette.MUTED, lw=1)
    (zero,) = ax.plot([], [], "o", color=palette.TRAIN, ms=5.5)
    (one,) = ax.plot([], [], "s", mfc=palette.PAPER, mec=palette.TEST, mew=1.6, ms=5.5)

    ax = right.subplots()
    panel_label(ax, "Probability of the far end's class")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.06)
    ax.set_xticks([0, 0.5, 1], ["near end", "half way", "far end"])
    ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.plot([0, 1], [0, 1], color=palette.THEORY, ls=":", lw=1.4)
    ax.text(0.53, 0.1, "dotted: mixup's target", color=palette.THEORY, va="bottom")
    (across,) = ax.plot([], [], "o-", color=palette.TRAIN, ms=4)
    (within,) = ax.plot([], [], "s--", color=palette.FORWARD, ms=4, lw=1.8)
    ax.text(0.53, 0.28, "ends of two classes", color=palette.TRAIN, va="bottom")
    ax.text(0.53, 0.19, "ends of one class", color=palette.FORWARD, va="bottom")
    return {
        "lines": lines,
        "plain": plain,
        "zero": zero,
        "one": one,
        "across": across,
        "within": within,
    }


def _update(artists: dict[str, Any], data: Boundary) -> None:
    for line, contour in zip(artists["lines"], data.contours, strict=True):
        line.set_data(contour[:, 0], contour[:, 1])
    artists["plain"].set_data(data.plain[:, 0], data.plain[:, 1])
    for name, label in (("zero", 0), ("one", 1)):
        chosen = data.points[data.labels == label]
        artists[name].set_data(chosen[:, 0], chosen[:, 1])
    artists["across"].set_data(SHARES, data.across)
    artists["within"].set_data(SHARES, data.within)


def _readout(data: Boundary) -> Readout:
    middle = len(SHARES) // 2
    alpha = f"mixup with α = {format_number(data.alpha)}" if data.alpha else "no mixup"
    accuracy, confidence = format_number(100 * data.accuracy), format_number(100 * data.confidence)
    return Readout(
        {
            "Accuracy on new points": Quantity(100 * data.accuracy, "%"),
            "Confidence on new points": Quantity(100 * data.confidence, "%"),
            "Loss on new points": data.loss,
            "Half way, ends of one class": data.within[middle],
            "A fifth of the way, two classes": data.across[middle - 3],
        },
        f"On {NAMES[data.data]}, {alpha}: {accuracy} % of new points are right, at a mean "
        f"confidence of {confidence} %, with a loss of {format_number(data.loss)} (means of "
        f"{len(SEEDS)} runs).",
    )


boundary = Explorer(
    name="data.boundary",
    title="The decision boundary after mixup",
    caption="A network with two hidden layers of 32 is trained on 60 points. Left, one run: its "
    "decision boundary (thick), and where it gives one of the classes 75 % (dashed) and 95 % "
    "(dotted); thin gray is the boundary without mixup. Right, mean of 5 runs: straight lines join "
    "two training examples, and the curves are the probability of the class of the far one; dots: "
    "examples of two classes, squares: of one. Accuracy, confidence (probability of the class that "
    "is chosen) and loss: 2,000 new points, means of 5 runs.",
    controls=(
        Steps("alpha", "α of mixup (0: none)", ALPHAS, 0.2),
        Choice("data", "Data", NAMES, "moons"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
