"""Three logits: their probabilities, the loss, and the gradient, which stays within ±1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.classification import cross_entropy, entropy
from trainlab.differentiation import vjp
from trainlab.explorers import palette
from trainlab.softmax import softmax

LEAST = 2e-8  # the left end of the right panel
P = np.geomspace(LEAST, 1, 60)
CLASSES = ("A (true)", "B", "C")
UNITS: dict[str | int | float, str] = {"nats": "nats (natural logarithm)", "bits": "bits (log₂)"}


@dataclass(frozen=True)
class Loss:
    """Probabilities, targets and gradient of one example of class A."""

    unit: str
    per_nat: float
    p: NDArray[Any]
    target: NDArray[Any]
    gradient: NDArray[Any]
    loss: float
    floor: float


def _compute(a: float, b: float, c: float, smoothing: float, unit: str) -> Loss:
    z = np.array([a, b, c], dtype=float)
    value, pullback = vjp(cross_entropy, z, targets=np.array(0), label_smoothing=smoothing)
    target = (1 - smoothing) * np.eye(3)[0] + smoothing / 3
    per_nat = 1 / math.log(2) if unit == "bits" else 1.0
    return Loss(
        unit,
        per_nat,
        softmax(z),
        target,
        pullback(np.ones(()))[0],
        float(value) * per_nat,
        float(entropy(target)) * per_nat,
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Probability (bar) → target (tick)")
    ax.set(xlim=(-0.6, 2.6), ylim=(-0.03, 1.24), yticks=[0, 0.5, 1], xticks=range(3))
    ax.set_xticklabels(CLASSES)
    ax.grid(visible=False, axis="x")
    ax.text(-0.56, 1.21, "gradient p − y", color=palette.BACKWARD, va="top")
    bars = ax.bar(range(3), np.zeros(3), width=0.62, color=palette.FORWARD, alpha=0.4)
    panel = {
        "bars": list(bars),
        "targets": [ax.plot([], [], color=palette.INK, lw=2.6)[0] for _ in CLASSES],
        "arrows": [ax.plot([], [], color=palette.BACKWARD, lw=2.6)[0] for _ in CLASSES],
        "up": ax.plot([], [], "^", color=palette.BACKWARD, ms=9)[0],
        "down": ax.plot([], [], "v", color=palette.BACKWARD, ms=9)[0],
        "gradients": [
            ax.text(i, 1.035, "", color=palette.BACKWARD, ha="center", fontweight="bold")
            for i in range(3)
        ],
    }

    ax = right.subplots()
    panel_label(ax, "Loss, and size of the gradient")
    log_axis(ax, "x", LEAST, 1.6)
    ax.set(ylim=(0, 28), xlabel="probability of the true class A")
    ax.plot(P, 1 - P, color=palette.BACKWARD, lw=2, ls="--")
    ax.text(1.2e-5, 1.5, "gradient: at most 1", color=palette.BACKWARD)
    panel["line"] = ax.plot([], [], color=palette.TRAIN)[0]
    panel["said"] = ax.text(1.4, 26.6, "", color=palette.TRAIN, ha="right", va="top")
    panel["stem"] = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.4)[0]
    panel["dots"] = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)[0]
    panel["value"] = ax.text(1, 1, "", color=palette.HIGHLIGHT, fontweight="bold", va="center")
    return panel


def _update(artists: dict[str, Any], data: Loss) -> None:
    ends: dict[str, list[tuple[float, float]]] = {"up": [], "down": []}
    for i in range(3):
        p, y = float(data.p[i]), float(data.target[i])
        artists["bars"][i].set_height(p)
        artists["targets"][i].set_data([i - 0.38, i + 0.38], [y, y])
        artists["arrows"][i].set_data([i, i], [p, y])
        if abs(y - p) > 0.05:
            ends["up" if y > p else "down"].append((i, y + (-0.035 if y > p else 0.035)))
        shown = f"{abs(data.gradient[i]):.3f}"
        sign = "" if float(shown) == 0 else "−" if data.gradient[i] < 0 else "+"
        artists["gradients"][i].set_text(sign + shown)
    for way, points in ends.items():
        artists[way].set_data([x for x, _ in points], [y for _, y in points])
    true = max(float(data.p[0]), LEAST)
    artists["line"].set_data(P, -np.log(P) * data.per_nat)
    artists["said"].set_text(f"loss −log p, in {data.unit}")
    artists["dots"].set_data([true, true], [data.loss, abs(data.gradient[0])])
    artists["stem"].set_data([true, true], [abs(data.gradient[0]), data.loss])
    artists["value"].set_text(format_number(data.loss, 4))
    late = true > 0.02
    artists["value"].set_position(
        (true * (0.65 if late else 1.6), data.loss + (2.2 if late else 0.9))
    )
    artists["value"].set_horizontalalignment("right" if late else "left")


def _readout(data: Loss) -> Readout:
    size = float(np.abs(data.gradient).max())
    smooth = data.target[0] < 1
    return Readout(
        {
            "Loss": Quantity(data.loss, data.unit, 4),
            "Probability of A": Quantity(float(data.p[0]), digits=5),
            "Largest gradient, in size": size,
            "Sum of the gradient": round(float(data.gradient.sum()), 12),
            "Halving p adds, at ε = 0": Quantity(math.log(2) * data.per_nat, data.unit),
            "Smallest possible loss": Quantity(data.floor, data.unit),
        },
        f"The true class A gets the probability {format_number(float(data.p[0]), 5)}; the loss is "
        f"{format_number(data.loss, 4)} {data.unit}, the largest of the three gradients "
        f"{format_number(size)} in size"
        + (
            f", and no logits reach a loss below {format_number(data.floor)} {data.unit}."
            if smooth
            else ", and however large the loss, none exceeds 1."
        ),
    )


loss = Explorer(
    name="classification.loss",
    title="Logits, probabilities, loss and gradient",
    caption="One example of class A. Left: softmax of the three logits (bars), the target (ticks; "
    "label smoothing moves them), and the gradient of the loss in nats for each logit: the number "
    "is p − y, the arrow goes from p to y, as a step against the gradient does. Right: the loss by "
    "the probability of A (line) and the size of the gradient for A's logit (dashed), both without "
    "smoothing; dots: this state.",
    controls=(
        Steps("a", "Logit of A (true class)", (-12, -8, -4, 0, 4, 8), -8, between="linear"),
        Steps("b", "Logit of B", (-4, 0, 4), 4, between="linear"),
        Steps("c", "Logit of C", (-4, 0, 4), 0, between="linear"),
        Steps("smoothing", "Label smoothing ε", (0.0, 0.1, 0.3), 0.0, between="linear"),
        Choice("unit", "Unit", UNITS, "nats"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((340, 290), (360, 290)),
)
