"""The gradient of two layers as an arrow, and what each way of clipping makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Polygon
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.clipping import (
    adaptive_clip,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    global_norm,
)
from trainlab.explorers import palette

# Layer 1 is one weight; layer 2 has 16, with equal gradients: its norm is 4 times an entry.
ENTRIES = 16
WEIGHT_NORMS = (200.0, 50.0)
THRESHOLDS = np.geomspace(0.1, 10, 25)
RULES = ("value", "layer", "global", "adaptive")


@dataclass(frozen=True)
class Arrow:
    """Norms of both layers before and after, and the angle by threshold for each rule."""

    rule: str
    threshold: float
    before: NDArray[Any]
    after: NDArray[Any]
    bound: NDArray[Any]
    angle: float
    angles: dict[str, NDArray[Any]]


def _grads(norms: tuple[float, float]) -> list[NDArray[Any]]:
    return [np.array([[norms[0]]]), np.full((1, ENTRIES), norms[1] / math.sqrt(ENTRIES))]


def _clip(rule: str, grads: list[NDArray[Any]], threshold: float) -> NDArray[Any]:
    """Norms of the two layers after clipping."""
    if rule == "value":
        clipped = clip_by_value(grads, clip_value=threshold)
    elif rule == "layer":
        clipped = clip_by_norm(grads, max_norm=threshold, eps=0.0)
    elif rule == "global":
        clipped, _ = clip_by_global_norm(grads, max_norm=threshold, eps=0.0)
    else:
        clipped = adaptive_clip(grads, _grads(WEIGHT_NORMS), clipping=threshold / 100)
    return np.array([global_norm(layer) for layer in clipped])


def _angle(a: NDArray[Any], b: NDArray[Any]) -> float:
    return math.degrees(abs(math.atan2(a[1], a[0]) - math.atan2(b[1], b[0])))


def _bound(rule: str, c: float) -> NDArray[Any]:
    """Outline of what passes, in the quadrant that is shown."""
    if rule == "global":
        turn = np.linspace(0, math.pi / 2, 31)
        rim = c * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        return np.concatenate([[[0.0, 0.0]], rim])
    w, h = {
        "value": (c, c * math.sqrt(ENTRIES)),
        "layer": (c, c),
        "adaptive": (c / 100 * WEIGHT_NORMS[0], c / 100 * WEIGHT_NORMS[1]),
    }[rule]
    return np.array([[0.0, 0.0], [w, 0.0], [w, h], [0.0, h]])


@lru_cache(maxsize=32)
def _angles(first: float, second: float) -> dict[str, NDArray[Any]]:
    grads, before = _grads((first, second)), np.array([first, second])
    return {
        name: np.array([_angle(before, _clip(name, grads, c)) for c in THRESHOLDS])
        for name in RULES
    }


def _compute(rule: str, threshold: float, first: float, second: float) -> Arrow:
    before = np.array([first, second])
    after = _clip(rule, _grads((first, second)), threshold)
    angle, angles = _angle(before, after), _angles(first, second)
    return Arrow(rule, threshold, before, after, _bound(rule, threshold), angle, angles)


STYLES = {"value": "-", "layer": "--", "global": "-", "adaptive": ":"}
NAMES = {"value": "value", "layer": "each layer", "global": "global", "adaptive": "adaptive"}


def _arrow(color: str, width: float, style: str = "-") -> FancyArrowPatch:
    return FancyArrowPatch(
        (0, 0), (1, 1), arrowstyle="-|>", mutation_scale=13, lw=width, color=color, ls=style,
        shrinkA=0, shrinkB=0,
    )  # fmt: skip


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Gradient before and after")
    ax.set(xlim=(0, 4.6), ylim=(0, 4.6), aspect="equal")
    ax.set(xlabel="norm of layer 1 (1 weight)", ylabel="norm of layer 2 (16 weights)")
    box = Polygon(np.zeros((3, 2)), closed=True, facecolor=palette.GRID, edgecolor=palette.MUTED)
    bound = ax.add_patch(box)
    bound.set_linewidth(1)
    before = ax.add_patch(_arrow(palette.MUTED, 1.6))
    after = ax.add_patch(_arrow(palette.BACKWARD, 3))
    labels = {
        "before": ax.text(0, 0, "before", color=palette.MUTED),
        "after": ax.text(0, 0, "after", color=palette.BACKWARD, fontweight="bold"),
    }

    ax = right.subplots()
    panel_label(ax, "Angle to the gradient")
    log_axis(ax, "x", 0.1, 10)
    ax.set_xticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
    ax.set(ylim=(-3, 88), yticks=[0, 30, 60], yticklabels=["0°", "30°", "60°"])
    ax.set_xlabel("threshold")
    lines = {
        name: ax.plot([], [], color=palette.MUTED, ls=STYLES[name], lw=1.6, label=NAMES[name])[0]
        for name in RULES
        if name != "global"  # zero at all thresholds: the chosen line shows it
    }
    ax.legend(loc="upper right", handlelength=1.8, borderaxespad=0.1)
    ax.text(9.6, 56, "global: always 0°", ha="right", color=palette.INK)
    (chosen,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=2.6)
    (here,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)
    return {
        "bound": bound, "before": before, "after": after, "labels": labels, "lines": lines,
        "chosen": chosen, "here": here,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Arrow) -> None:
    artists["bound"].set_xy(data.bound)
    for name, end in (("before", data.before), ("after", data.after)):
        artists[name].set_positions((0, 0), tuple(end))
    # Each label stands beyond its tip, the one of the shorter arrow below it.
    x, y = data.before
    artists["labels"]["before"].set_position((min(x + 0.1, 3.75), min(y + 0.15, 4.35)))
    x, y = data.after
    steep = y > 0.6 * x
    artists["labels"]["after"].set_position((x + 0.14, y - 0.28 if steep else max(y - 0.36, 0.08)))
    for name, line in artists["lines"].items():
        line.set_data(THRESHOLDS, data.angles[name])
    artists["chosen"].set_data(THRESHOLDS, data.angles[data.rule])
    artists["chosen"].set_linestyle(STYLES[data.rule])
    artists["here"].set_data([data.threshold], [data.angle])


def _readout(data: Arrow) -> Readout:
    before, after = (float(np.linalg.norm(v)) for v in (data.before, data.after))
    how = {
        "value": f"Every entry cut off at {data.threshold:g}",
        "layer": f"Each layer shortened to at most {data.threshold:g}",
        "global": f"Both layers shortened together to at most {data.threshold:g}",
        "adaptive": f"Each layer shortened to at most {data.threshold:g} % of its weights' norm",
    }[data.rule]
    x, y = (format_number(float(v), 3) for v in data.after)
    if after >= before * (1 - 1e-12):
        seen = "changes nothing: the gradient is within the bound."
    elif data.angle < 1e-6:
        seen = "shortens the gradient and keeps its direction."
    else:
        seen = f"turns the gradient by {format_number(data.angle, 3)}°."
    return Readout(
        {
            "Layer 1 after": float(data.after[0]),
            "Layer 2 after": float(data.after[1]),
            "Length before": before,
            "Length after": after,
            "Angle turned": Quantity(round(data.angle, 9), "°"),
        },
        f"{how}, the norms of the two layers go from ({data.before[0]:g}, {data.before[1]:g}) to "
        f"({x}, {y}), which {seen}",
    )


arrow = Explorer(
    name="clipping.arrow",
    title="A gradient before and after clipping",
    caption="Left: the gradient of a network with two layers; its horizontal part is the norm of "
    "layer 1, a single weight, its vertical part the norm of layer 2, 16 weights with equal "
    "gradients. Shaded: what passes unchanged. For the adaptive rule the weights have norms 200 "
    "and 50, and the threshold is in percent of them. Right: how far each rule turns the gradient, "
    "by threshold; the chosen rule in color.",
    controls=(
        Choice(
            "rule",
            "Clip",
            {
                "value": "by value: each entry",
                "layer": "by norm: each layer",
                "global": "by norm: all together (global)",
                "adaptive": "adaptive: each unit by its weights",
            },
            "value",
        ),
        Steps("threshold", "Threshold", (0.25, 0.5, 1.0, 2.0, 4.0), 1.0, between="log"),
        Steps("first", "Gradient, layer 1", (1.0, 2.0, 4.0), 4.0, between="linear"),
        Steps("second", "Gradient, layer 2", (1.0, 2.0, 4.0), 2.0, between="linear"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((340, 320), (340, 320)),
)
