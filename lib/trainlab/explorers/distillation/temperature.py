"""Soft targets of a teacher of three classes, and the gradient that they send to a student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.differentiation import value_and_grad
from trainlab.distillation import distillation_loss, logit_matching_loss, soft_targets
from trainlab.explorers import palette

Array = NDArray[Any]

CLASSES = ("cat", "dog", "truck")
STUDENT = np.array([[1.0, 2.0, 0.0]])  # takes it for a dog
TEACHERS: Mapping[str | int | float, str] = {
    "9 5 1": "9, 5, 1: rather a dog than a truck",
    "9 3 3": "9, 3, 3: both alike",
    "9 8 1": "9, 8, 1: nearly a dog",
}
TEMPERATURES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0)
CURVE = np.geomspace(1, 20, 33)
WIDTH = 0.36


@dataclass(frozen=True)
class Data:
    """Targets of shape (3,); sizes of the gradient with the factor T², at T and along `CURVE`."""

    temperature: float
    smoothing: float
    soft: Array
    smooth: Array
    size: float
    sizes: Array
    limit: float


def _sizes(teacher: Array, temperatures: Array) -> Array:
    """Return the norm of the gradient with respect to the student's logits, at each temperature.

    All temperatures at once: the loss at T is T² times the loss at 1 of the logits over T.
    """
    t = temperatures[:, None]
    both = value_and_grad(lambda z: distillation_loss(z, teacher / t, temperature=1.0))
    difference = len(t) * both(STUDENT / t)[1]  # the loss is a mean over the rows
    return np.asarray(temperatures * np.linalg.norm(difference, axis=1))


def _compute(teacher: str, temperature: float, smoothing: float) -> Data:
    logits = np.array([[float(v) for v in teacher.split()]])
    matched = value_and_grad(lambda z: logit_matching_loss(z, logits))(STUDENT)[1]
    return Data(
        temperature,
        smoothing,
        soft_targets(logits, temperature=temperature)[0],
        (1 - smoothing) * np.eye(3)[0] + smoothing / 3,
        float(_sizes(logits, np.array([temperature]))[0]),
        _sizes(logits, CURVE),
        float(np.linalg.norm(matched)),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Targets for a picture of a cat")
    ax.set(xlim=(-0.55, 2.55), ylim=(0, 1.24), yticks=[0, 0.25, 0.5, 0.75, 1])
    ax.set_xticks(range(3), CLASSES)
    ax.grid(axis="x", visible=False)
    bars, numbers = [], []
    for side, color, filled in ((-1, palette.MUTED, False), (1, palette.FORWARD, True)):
        face = color if filled else palette.PAPER
        bars += ax.bar(
            np.arange(3) + side * WIDTH / 2, 1, WIDTH * 0.94, fc=face, ec=color, lw=1.6
        ).patches
        numbers += [
            ax.text(c + side * WIDTH / 2, 0, "", color=color, ha="center") for c in range(3)
        ]
    ax.text(2.5, 1.155, "outlined: smoothed label", color=palette.MUTED, ha="right")
    ax.text(2.5, 1.075, "filled: teacher at T", color=palette.FORWARD, ha="right")

    ax = right.subplots()
    panel_label(ax, "Size of the soft gradient")
    log_axis(ax, "y", 1e-3, 10)
    ax.set(xscale="log", xlim=(0.93, 21.5), xlabel="temperature T")
    ax.set_xticks([1, 2, 4, 8, 20], ["1", "2", "4", "8", "20"])
    ax.set_xticks([], minor=True)
    (limit,) = ax.plot([], [], color=palette.THEORY, lw=1.4, ls=":")
    (kept,) = ax.plot([], [], color=palette.BACKWARD)
    (bare,) = ax.plot([], [], color=palette.WRONG, ls="--")
    (dots,) = ax.plot([], [], color=palette.HIGHLIGHT, marker="o", ls="", ms=8)
    ax.text(20, 4.6, "dotted: logits matched, ‖Δz‖ / K", color=palette.THEORY, ha="right")
    ax.text(20, 0.47, "solid: with T²", color=palette.BACKWARD, ha="right")
    ax.text(1.05, 0.0022, "dashed: without", color=palette.WRONG)
    return {"bars": bars, "numbers": numbers, "limit": limit, "kept": kept, "bare": bare,
            "dots": dots}  # fmt: skip


def _update(artists: dict[str, Any], data: Data) -> None:
    heights = np.concatenate([data.smooth, data.soft])
    for bar, number, height in zip(artists["bars"], artists["numbers"], heights, strict=True):
        bar.set_height(height)
        number.set_y(height + 0.02)
        number.set_text(f"{height:.2f}")
    artists["limit"].set_data([0.93, 21.5], [data.limit] * 2)
    artists["kept"].set_data(CURVE, data.sizes)
    artists["bare"].set_data(CURVE, data.sizes / CURVE**2)
    t = data.temperature
    artists["dots"].set_data([t, t], [data.size, data.size / t**2])


def _readout(data: Data) -> Readout:
    t, dog, truck = data.temperature, float(data.soft[1]), float(data.soft[2])
    bare = data.size / t**2
    if round(dog / truck, 6) == 1:
        words = "dog and truck are equally likely, as in a smoothed label"
    else:
        words = f"dog is {format_number(dog / truck)} times as likely as truck"
    return Readout(
        {
            "Teacher, cat": float(data.soft[0]),
            "Teacher, dog": dog,
            "Teacher, truck": truck,
            "Smoothed label, dog and truck": float(data.smooth[1]),
            "Gradient with T²": data.size,
            "Gradient without T²": bare,
            "Logit matching, ‖Δz‖ / K": data.limit,
        },
        f"At temperature {format_number(t)} the teacher gives cat {format_number(data.soft[0])}, "
        f"dog {format_number(dog)} and truck {format_number(truck)}: {words}. The gradient of the "
        f"divergence is {format_number(bare)} long, and {format_number(data.size)} with the factor "
        f"T²; matching logits gives {format_number(data.limit)}.",
    )


temperature = Explorer(
    name="distillation.temperature",
    title="What a temperature does to targets and gradients",
    caption="A teacher of three classes. Left: its probabilities at temperature T, and the label "
    "with its share ε spread evenly. Right: the norm of the gradient with respect to the logits of "
    "a student that is at (1, 2, 0), with and without the factor T²; both axes are logarithmic. "
    "Dotted: the gradient of half the squared distance of the centered logits, over the number of "
    "classes K = 3. All three teachers are at the same such distance from the student.",
    controls=(
        Choice("teacher", "Teacher's logits", TEACHERS, "9 5 1"),
        Steps("temperature", "Temperature T", TEMPERATURES, 4.0, between="log"),
        Steps("smoothing", "Label smoothing ε", (0.0, 0.1, 0.3, 0.5), 0.1, between="linear"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 300), (345, 300)),
)
