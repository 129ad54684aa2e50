"""Bytes for each parameter by recipe, and what activations add to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.explorers import palette
from trainlab.formats import BF16, FP32
from trainlab.mixed_precision import training_memory

__all__ = ["memory"]

Array = NDArray[Any]

LAYERS, WIDTH = 12, 4096
NAMES = ("FP32", "mixed", "autocast", "all BF16")
PARTS = ("weights", "gradients", "master weights", "moments")
COLORS = (palette.KEPT, palette.BACKWARD, palette.HIGHLIGHT, palette.MUTED)
LEGEND = ((0, 4.35), (9.2, 4.35), (0, 3.75), (9.2, 3.75))
MOMENTS = {"adam": 2, "momentum": 1, "sgd": 0}
OPTIMIZERS: dict[str | int | float, str] = {
    "adam": "Adam",
    "momentum": "momentum",
    "sgd": "plain SGD",
}


@dataclass(frozen=True)
class Memory:
    """By recipe: bytes for each parameter and part; GB of parameters and of activations."""

    optimizer: str
    rows: int
    parts: Array  # (recipes, parts)
    state: Array
    activations: Array


def _compute(optimizer: str, rows: float) -> Memory:
    n = MOMENTS[optimizer]
    wide, narrow = (FP32,) * n, (BF16,) * n
    recipes = (
        training_memory(1, compute=FP32, master=None, moments=wide),
        training_memory(1, compute=BF16, moments=wide),
        training_memory(1, compute=BF16, gradients=FP32, moments=wide),
        training_memory(1, compute=BF16, master=None, moments=narrow),
    )
    inputs = float(LAYERS * int(rows) * WIDTH)  # numbers kept for the backward pass
    return Memory(
        optimizer=optimizer,
        rows=int(rows),
        parts=np.array([tuple(recipe)[:4] for recipe in recipes]),
        state=np.array([recipe.total * LAYERS * WIDTH**2 / 1e9 for recipe in recipes]),
        activations=np.array([4, 2, 2, 2]) * inputs / 1e9,
    )


def _bars(ax: Any, colors: tuple[str, ...]) -> list[list[Rectangle]]:
    ax.set_yticks([3, 2, 1, 0], NAMES)
    ax.set_ylim(-0.6, 5.1)
    ax.grid(visible=False)
    return [
        [
            ax.add_patch(Rectangle((0, y - 0.29), 0, 0.58, fc=color, ec=palette.PAPER, lw=0.8))
            for color in colors
        ]
        for y in (3, 2, 1, 0)
    ]


def _legend(ax: Any, x: float, y: float, name: str, color: str, size: float) -> None:
    ax.add_patch(Rectangle((x, y), 0.6 * size, 0.3, facecolor=color))
    ax.text(x + 0.9 * size, y + 0.02, name)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Bytes for each parameter")
    ax.set(xlim=(0, 21.5), xlabel="bytes", xticks=[0, 4, 8, 12, 16, 20])
    bars = _bars(ax, COLORS)
    for (x, y), name, color in zip(LEGEND, PARTS, COLORS, strict=True):
        _legend(ax, x, y, name, color, 1)
    sums = [ax.text(0, y - 0.12, "", weight="bold") for y in (3, 2, 1, 0)]
    ax = right.subplots()
    panel_label(ax, "Memory with activations, FP32 = 1")
    ax.set(xlim=(0, 1.62), xlabel="share of FP32", xticks=[0, 0.25, 0.5, 0.75, 1, 1.25])
    ax.plot([1, 1], [-0.6, 3.5], color=palette.THEORY, lw=1.2, ls=":", zorder=4)
    totals = _bars(ax, (palette.MUTED, palette.FORWARD))
    _legend(ax, 0, 4.35, "for the parameters", palette.MUTED, 0.08)
    _legend(ax, 0, 3.75, "activations", palette.FORWARD, 0.08)
    sizes = [ax.text(0, y - 0.12, "", weight="bold") for y in (3, 2, 1, 0)]
    return {"bars": bars, "sums": sums, "totals": totals, "sizes": sizes}


def _place(bars: list[Rectangle], parts: Array) -> float:
    ends = np.concatenate([[0.0], np.cumsum(parts)])
    for bar, start, width in zip(bars, ends, parts, strict=False):
        bar.set_x(start)
        bar.set_width(width)
    return float(ends[-1])


def _update(artists: dict[str, Any], data: Memory) -> None:
    whole = data.state[0] + data.activations[0]
    for i in range(len(NAMES)):
        end = _place(artists["bars"][i], data.parts[i])
        artists["sums"][i].set_text(format_number(end))
        artists["sums"][i].set_x(end + 0.4)
        end = _place(artists["totals"][i], np.array([data.state[i], data.activations[i]]) / whole)
        artists["sizes"][i].set_text(f"{format_number(end * whole)} GB")
        artists["sizes"][i].set_x(max(end, 1.0) + 0.04)


def _readout(data: Memory) -> Readout:
    totals = (data.state + data.activations).tolist()
    saved = 100 * (1 - totals[1] / totals[0])
    gigabytes = [Quantity(total, "GB", digits=3) for total in totals]
    return Readout(
        {
            "FP32": gigabytes[0],
            "Mixed precision": gigabytes[1],
            "Autocast": gigabytes[2],
            "All BF16": gigabytes[3],
            "Activations, FP32": Quantity(float(data.activations[0]), "GB", digits=3),
            "Activations, BF16": Quantity(float(data.activations[1]), "GB", digits=3),
        },
        f"With {OPTIMIZERS[data.optimizer]}, FP32 and mixed precision both take "
        f"{format_number(float(data.parts[0].sum()))} bytes for each parameter; with the "
        f"activations of {data.rows:,} rows, mixed precision saves {format_number(saved, 2)} %.",
    )


memory = Explorer(
    name="mixed_precision.memory",
    title="What mixed precision saves",
    caption="Left: what is kept for each parameter in FP32, in mixed precision (BF16 with FP32 "
    "master weights), by autocast (FP32 gradients, too), and all in BF16, rounded at random. "
    f"Right: a network of {LAYERS} layers of width {WIDTH:,}, with the inputs of its layers, which "
    "are kept for the backward pass.",
    controls=(
        Choice("optimizer", "Optimizer", OPTIMIZERS, "adam"),
        Steps("rows", "Rows of the batch", (512, 2048, 8192, 32768, 131072), 8192, between="whole"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 280), (345, 280)),
)
