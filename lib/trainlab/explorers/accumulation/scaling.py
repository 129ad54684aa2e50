"""The accumulated gradient against that of the whole batch, for each way of scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, format_number
from explorables.style import log_axis, panel_label
from trainlab.accumulation import accumulation_init, accumulation_update, example_weights
from trainlab.differentiation import value_and_grad
from trainlab.explorers import palette
from trainlab.regression import mse_loss

EXAMPLES, FRAME = 8, 2.3
SPLITS = {
    "4+4": (4, 4),
    "2+2+2+2": (2, 2, 2, 2),
    "eight": (1,) * 8,
    "5+3": (5, 3),
    "7+1": (7, 1),
    "4+3+1": (4, 3, 1),
}


@dataclass(frozen=True)
class Scaling:
    """Gradients in units of the length of the whole batch's, and the weight of each example."""

    sizes: tuple[int, ...]
    rule: str
    whole: NDArray[Any]
    parts: NDArray[Any]
    accumulated: NDArray[Any]
    weights: NDArray[Any]
    ratio: float
    angle: float
    error: float


def _data(last: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Eight points of a line y = a·x + b; the last one may disagree with the others."""
    rng = np.random.default_rng(5)
    x = np.stack([rng.uniform(0.2, 1.2, EXAMPLES), np.ones(EXAMPLES)], axis=1)
    y = x @ np.array([[1.0], [1.5]]) + 0.2 * rng.standard_normal((EXAMPLES, 1))
    if last == "unlike":
        x[-1], y[-1] = (-1.6, 1.0), 2.5
    return x, y


def _loss(w: Any, x: NDArray[Any], y: NDArray[Any]) -> Any:
    return mse_loss(x @ w, y)


def _compute(split: str, rule: str, last: str) -> Scaling:
    sizes, both, w = SPLITS[split], value_and_grad(_loss), np.zeros((2, 1))
    x, y = _data(last)
    whole = both(w, x, y)[1].ravel()
    ends = np.cumsum(sizes)
    means = [
        both(w, x[end - n : end], y[end - n : end])[1] for n, end in zip(sizes, ends, strict=True)
    ]
    state = accumulation_init(w)
    for n, mean in zip(sizes, means, strict=True):
        state = accumulation_update(mean, state, weight=n if rule == "size" else 1.0)
    # What backward adds up is a mean, times k or k² where a division is missing.
    k = len(sizes)
    factor = {"size": 1, "divide": 1, "sum": k, "multiply": k * k}[rule]
    accumulated = factor * state.mean.ravel()
    each = example_weights(sizes, weights=sizes if rule == "size" else None)
    unit = float(np.linalg.norm(whole))
    length = float(np.linalg.norm(accumulated))
    cosine = float(np.clip(accumulated @ whole / length / unit, -1, 1))
    angle = math.degrees(math.acos(cosine)) if cosine < 1 - 1e-12 else 0.0
    error = float(np.linalg.norm(accumulated - whole)) / unit
    return Scaling(
        sizes,
        rule,
        -whole / unit,
        -np.array([m.ravel() for m in means]) / unit,
        -accumulated / unit,
        factor * np.repeat(each, sizes),
        length / unit,
        angle,
        error if error > 1e-12 else 0.0,
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Step, 1 = that of the whole batch")
    ax.set(xlim=(-1.1, FRAME), ylim=(-1.1, FRAME), aspect="equal")
    ax.set(xlabel="slope", ylabel="intercept")
    parts = ax.plot([], [], color=palette.MUTED, lw=1.2, marker=".", ms=7)[0]
    accumulated = FancyArrowPatch(
        (0, 0), (1, 1), arrowstyle="-|>", mutation_scale=24, lw=7, color=palette.BACKWARD,
        alpha=0.6, shrinkA=0, shrinkB=0,
    )  # fmt: skip
    whole = FancyArrowPatch(
        (0, 0), (1, 1), arrowstyle="-|>", mutation_scale=12, lw=1.8, color=palette.INK,
        shrinkA=0, shrinkB=0,
    )  # fmt: skip
    ax.add_patch(accumulated)
    ax.add_patch(whole)
    note = ax.text(-1.0, 2.12, "", color=palette.BACKWARD, fontweight="bold", va="center")
    ax.text(2.2, -0.47, "wide: accumulated", color=palette.BACKWARD, ha="right")
    ax.text(2.2, -0.72, "arrow: whole batch", color=palette.INK, ha="right")
    ax.text(2.2, -0.97, "with dots: micro-batches", color=palette.MUTED, ha="right")

    ax = right.subplots()
    panel_label(ax, "Weight of each example")
    log_axis(ax, "y", 0.03, 12)
    ax.set_yticks([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8])
    ax.set_yticklabels(["1/16", "1/8", "1/4", "1/2", "1", "2", "4", "8"])
    ax.set(xlim=(0.4, EXAMPLES + 0.6), xticks=range(1, EXAMPLES + 1), xlabel="example")
    ax.plot([0.4, EXAMPLES + 0.6], [1 / EXAMPLES] * 2, color=palette.THEORY, lw=1.2)
    ax.text(0.5, 0.046, "right: 1/8, the line", color=palette.THEORY, va="top")
    (dots,) = ax.plot([], [], "o", color=palette.BACKWARD, ms=10)
    (cuts,) = ax.plot([], [], color=palette.MUTED, lw=1, ls=":")
    return {
        "parts": parts, "whole": whole, "accumulated": accumulated, "note": note,
        "dots": dots, "cuts": cuts,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Scaling) -> None:
    rays = np.full((3 * len(data.parts), 2), np.nan)
    rays[0::3], rays[1::3] = 0, data.parts
    artists["parts"].set_data(*rays.T)
    artists["whole"].set_positions((0, 0), tuple(data.whole))
    # A longer arrow ends at the frame, and the note says how long it is.
    reach = float(np.max(data.accumulated / (FRAME - 0.05)))
    reach = max(reach, float(np.max(-data.accumulated / 1.05)), 1.0)
    artists["accumulated"].set_positions((0, 0), tuple(data.accumulated / reach))
    artists["note"].set_text(
        "the same" if data.error == 0 else f"×{format_number(data.ratio)}"
        + (f", turned {format_number(data.angle, 2)}°" if data.angle else "")
    )  # fmt: skip
    artists["dots"].set_data(np.arange(1, EXAMPLES + 1), data.weights)
    edges = np.cumsum(data.sizes)[:-1] + 0.5
    lines = np.full((3 * len(edges), 2), np.nan)
    lines[0::3], lines[1::3] = (
        np.stack([edges, edges * 0 + 0.03], 1),
        np.stack([edges, edges * 0 + 12], 1),
    )
    artists["cuts"].set_data(*lines.T)


WORDS = {
    "multiply": "with each loss multiplied by the number of micro-batches",
    "sum": "added up without a division",
    "divide": "with each loss divided by the number of micro-batches",
    "size": "with each loss weighted by the size of its micro-batch",
}


def _readout(data: Scaling) -> Readout:
    if data.error == 0:
        seen = "is that of the whole batch."
    else:
        turned = f" and turned by {format_number(data.angle, 2)}°" if data.angle else ""
        seen = f"is {format_number(data.ratio)} times as long as that of the whole batch{turned}."
    return Readout(
        {
            "Length, accumulated / whole": Quantity(data.ratio, "×"),
            "Angle to the whole batch": Quantity(data.angle, "°", 2),
            "Relative error": Quantity(100 * data.error, "%"),
            "Weight of the first example": float(data.weights[0]),
            "Weight of the last example": float(data.weights[-1]),
            "Sum of the weights": float(data.weights.sum()),
        },
        f"Micro-batches of {' + '.join(map(str, data.sizes))} examples, {WORDS[data.rule]}: the "
        f"accumulated gradient {seen}",
    )


scaling = Explorer(
    name="accumulation.scaling",
    title="Accumulated gradient and that of the whole batch",
    caption="A line is fitted to eight points; what is drawn is the step against the gradient, "
    "with a whole-batch step of length 1. Left: the whole batch, the mean of each micro-batch, and "
    "what is accumulated (it ends at the frame where it is longer). "
    "Right: weight of each example in the accumulated gradient; dotted lines separate the "
    "micro-batches.",
    controls=(
        Choice(
            "rule",
            "Loss of a micro-batch",
            {
                "multiply": "mean × k",
                "sum": "mean, added up",
                "divide": "mean / k",
                "size": "mean × its size / 8",
            },
            "multiply",
        ),
        Choice(
            "split",
            "Micro-batches",
            {
                "4+4": "4 + 4",
                "2+2+2+2": "2 + 2 + 2 + 2",
                "eight": "eight of 1",
                "5+3": "5 + 3",
                "7+1": "7 + 1",
                "4+3+1": "4 + 3 + 1",
            },
            "2+2+2+2",
        ),
        Choice(
            "last",
            "Last example",
            {"like": "like the others", "unlike": "unlike the others"},
            "unlike",
        ),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((340, 320), (340, 320)),
)
