"""Activations held through a training step, by the number of checkpointed segments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.checkpointing import checkpoint_cost, checkpoint_timeline
from trainlab.explorers import palette

Array = NDArray[Any]

LAYERS = (16, 64, 256)
SEGMENTS = (1, 2, 4, 8, 16, 32, 64, 256)
INSIDE: dict[str | int | float, str] = {
    0: "its input",
    2: "3 times its input",
    16: "17 times its input (a transformer block)",
}


@dataclass(frozen=True)
class Data:
    """Shares of a step without checkpoints: of its memory, and of its time."""

    layers: int
    segments: int
    time: Array
    held: Array
    peaks: Array  # by number of segments, 1 to L
    overheads: Array
    peak: float
    overhead: float
    numbers: tuple[float, float]  # held at most, and without checkpoints


@lru_cache(maxsize=16)
def _all_segments(layers: int, inside: float) -> tuple[Array, Array]:
    costs = [checkpoint_cost(layers, segments=k, inside=inside) for k in _tried(layers)]
    whole = layers * (1 + inside)
    return np.array([c.peak for c in costs]) / whole, np.array([c.overhead for c in costs])


def _tried(layers: int) -> list[int]:
    """All numbers of segments, or those up to 16 and the divisors where there are many."""
    return [k for k in range(1, layers + 1) if k <= 16 or layers % k == 0]


def _compute(layers: int, segments: int, inside: int) -> Data:
    count = min(segments, layers)
    whole = layers * (1 + inside)
    cost = checkpoint_cost(layers, segments=count, inside=inside)
    time, held = checkpoint_timeline(layers, segments=count, inside=inside)
    peaks, overheads = _all_segments(layers, inside)
    return Data(
        layers,
        count,
        time / (3 * layers),
        held / whole,
        peaks,
        overheads,
        cost.peak / whole,
        cost.overhead,
        (cost.peak, float(whole)),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Activations held during a step")
    ax.set(xlim=(0, 136), ylim=(0, 108), xlabel="time, % of a step without checkpoints")
    ax.set(ylabel="% of all activations", xticks=[0, 33, 67, 100, 133], yticks=[0, 25, 50, 75, 100])
    ax.plot([0, 100 / 3, 100], [0, 100, 0], color=palette.MUTED, lw=1.4, ls="--")
    ax.text(45, 98, "without checkpoints", color=palette.MUTED)
    (held,) = ax.plot([], [], color=palette.FORWARD, lw=1.8, drawstyle="steps-post")
    ax = right.subplots()
    panel_label(ax, "Memory against computation")
    ax.set(xlim=(-2, 38), ylim=(0, 108), xlabel="extra computation, %")
    ax.set(ylabel="peak, % of all activations", yticks=[0, 25, 50, 75, 100])
    (curve,) = ax.plot([], [], "o-", color=palette.FORWARD, lw=1.2, ms=4)
    (chosen,) = ax.plot([], [], "D", color=palette.HIGHLIGHT, ms=10)
    name = ax.text(0, 0, "", color=palette.INK, weight="bold", ha="right")
    return {"held": held, "curve": curve, "chosen": chosen, "name": name}


def _update(artists: dict[str, Any], data: Data) -> None:
    artists["held"].set_data(100 * data.time, 100 * data.held)
    artists["curve"].set_data(100 * data.overheads, 100 * data.peaks)
    artists["chosen"].set_data([100 * data.overhead], [100 * data.peak])
    artists["name"].set_text(f"K = {data.segments}")
    left = data.overhead < 0.05  # beside the diamond, else above or below it
    artists["name"].set_ha("left" if left else "right" if data.peak > 0.9 else "center")
    shift = 2.0 if left else -1.6 if data.peak > 0.9 else 0.0
    above = 98 if data.peak > 0.9 else 100 * data.peak + (13 if data.peak < 0.15 else -12)
    artists["name"].set_position((100 * data.overhead + shift, above))


def _readout(data: Data) -> Readout:
    peak, whole = data.numbers
    if data.segments == 1:
        words = (
            f"Without checkpoints the step holds {format_number(whole)} arrays at its peak: all "
            f"that the backward pass of {data.layers} layers needs."
        )
    else:
        words = (
            f"{data.segments} segments of {data.layers} layers: at most {format_number(peak)} "
            f"arrays are held instead of {format_number(whole)}, "
            f"{format_number(100 * data.peak, 3)} %, and the step computes "
            f"{format_number(100 * data.overhead, 3)} % more."
        )
    return Readout(
        {
            "Segments K": Quantity(float(data.segments)),
            "Peak": Quantity(peak, "arrays"),
            "Peak, of all activations": Quantity(100 * data.peak, "%"),
            "Extra computation": Quantity(100 * data.overhead, "%"),
        },
        words,
    )


segments = Explorer(
    name="beyond.segments",
    title="Segments: memory against computation",
    caption="An array is as large as the input of a layer; a backward pass costs two forward "
    "passes. Left: what is held from the first forward to the last backward pass; each hump is a "
    "segment that is computed again. Right: numbers of segments K, from 1 (no checkpoints, top "
    "left) to L (one for each layer); the diamond is the chosen one.",
    controls=(
        Choice("layers", "Layers L", {n: str(n) for n in LAYERS}, 64),
        Steps("segments", "Segments K, at most L", SEGMENTS, 8),
        Choice("inside", "The backward pass of a layer needs", INSIDE, 0),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 300), (345, 300)),
)
