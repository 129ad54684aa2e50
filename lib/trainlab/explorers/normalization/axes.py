"""Which cells share one mean, and who moves when one sample changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from explorables import Choice, Explorer, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab import normalization as norms
from trainlab.batch_statistics import averaged_cells
from trainlab.explorers.palette import BATCH, GRID, HIGHLIGHT, MUTED, PAPER, SHADE

__all__ = ["axes"]

SAMPLES, CHANNELS, POSITIONS = SHAPE = (4, 4, 5)
Array = np.ndarray[Any, Any]

# name -> the words for it, the layer, and how averaged_cells is asked
NORMS: dict[str, tuple[str, Callable[[Array], Array], dict[str, Any]]] = {
    "batch": ("Batch norm", norms.batch_norm, {"norm": "batch"}),
    "layer": (
        "Layer norm, each token",
        lambda x: norms.layer_norm(x, axis=1),
        {"norm": "layer"},
    ),
    "rms": ("RMS norm, each token", lambda x: norms.rms_norm(x, axis=1), {"norm": "rms"}),
    "sample": (
        "Layer norm, whole sample",
        lambda x: norms.group_norm(x, 1),
        {"norm": "group", "num_groups": 1},
    ),
    "group": (
        "Group norm, 2 groups",
        lambda x: norms.group_norm(x, 2),
        {"norm": "group", "num_groups": 2},
    ),
    "instance": ("Instance norm", norms.instance_norm, {"norm": "instance"}),
}
# name -> the words for it, factor, offset, sign in the picture
CHANGES: dict[str, tuple[str, float, float, str]] = {
    "none": ("left as it is", 1, 0, ""),
    "scale": ("multiplied by 100", 100, 0, "×100"),
    "shift": ("raised by 3", 1, 3, "+3"),
}

PLACES = {
    "batch": "one channel of all samples",
    "layer": "all channels at one position of one sample",
    "rms": "all channels at one position of one sample",
    "sample": "all of one sample",
    "group": "two channels of one sample",
    "instance": "one channel of one sample",
}


@dataclass(frozen=True)
class Data:
    """The lit cells, and all outputs before and after sample 1 changes, (N, C, T)."""

    norm: str
    change: str
    cell: tuple[int, int, int]
    lit: Array
    inputs: Array
    before: Array
    after: Array


@lru_cache(maxsize=32)
def _outputs(norm: str, change: str) -> tuple[Array, Array, Array]:
    """Inputs with sample 1 changed, outputs before and outputs after."""
    rng = np.random.default_rng(3)
    spread = np.array([0.6, 1.0, 0.8, 1.4])[:, None]
    offset = np.array([1.0, 0.0, -1.0, 0.5])[:, None]
    x = offset + spread * rng.standard_normal(SHAPE)
    _, factor, shift, _ = CHANGES[change]
    changed = x.copy()
    changed[0] = factor * x[0] + shift
    layer = NORMS[norm][1]
    return changed, layer(x), layer(changed)


def _compute(norm: str, change: str, sample: int, channel: int) -> Data:
    cell = (sample - 1, channel - 1, 2)
    lit = averaged_cells(shape=SHAPE, cell=cell, **NORMS[norm][2])
    inputs, before, after = _outputs(norm, change)
    return Data(norm, change, cell, lit, inputs, before, after)


def _readout(data: Data) -> Readout:
    before, after = data.inputs[data.lit], data.after[data.lit]
    moved = float(np.abs(data.after - data.before)[1:].max())
    count = int(data.lit.sum())
    words, change = NORMS[data.norm][0], CHANGES[data.change][0]
    effect = f"move by up to {format_number(moved)}" if moved else "stay where they are"
    return Readout(
        {
            "Cells that share one mean": count,
            "Mean of these inputs": float(before.mean()),
            "Mean of these outputs": round(float(after.mean()), 12) + 0.0,
            "Standard deviation of these inputs": float(before.std()),
            "Standard deviation of these outputs": float(after.std()),
            "Largest move of samples 2 to 4": moved,
        },
        f"{words}: {count} cells, {PLACES[data.norm]}, share one mean; with sample 1 {change}, the "
        f"outputs of samples 2 to 4 {effect}.",
    )


# One sheet a sample, channels downward, positions running back to the right.
RIGHT, BACK, DOWN, APART = 0.42, 0.17, 1.0, 2.75


def _corner(sample: int, channel: float, position: float) -> tuple[float, float]:
    return sample * APART + position * RIGHT, -channel * DOWN + position * BACK


def _polygon(sample: int, channel: int, position: int) -> list[tuple[float, float]]:
    sides = ((0, 0), (0, 1), (1, 1), (1, 0))
    return [_corner(sample, channel + c, position + p) for c, p in sides]


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Cells that share one mean")
    ax.set_axis_off()
    ax.set(xlim=(-0.9, 10.9), ylim=(-4.9, 1.75))
    every = [_polygon(*index) for index in np.ndindex(*SHAPE)]
    ax.add_collection(PolyCollection(every, facecolors=SHADE, edgecolors=MUTED, linewidths=0.7))
    for n in range(SAMPLES):
        x, y = _corner(n, CHANNELS, 0)
        ax.text(x + 0.9, y - 0.2, f"sample {n + 1}", ha="center", va="top", fontsize=11.5)
    for c in range(CHANNELS):
        ax.text(-0.15, -c - 0.5, f"c{c + 1}", ha="right", va="center", fontsize=11.5)
    ax.text(
        *_corner(3, -0.25, 1.6),
        "time →",
        rotation=22,
        ha="center",
        va="bottom",
        color=MUTED,
        fontsize=11.5,
    )
    changed = ax.text(*_corner(0, -0.25, 2), "", ha="center", va="bottom", weight="bold")
    lit = PolyCollection([], facecolors=BATCH, edgecolors=PAPER, linewidths=0.9)
    chosen = PolyCollection([], facecolors="none", edgecolors=HIGHLIGHT, linewidths=2.6)
    ax.add_collection(lit)
    ax.add_collection(chosen)

    ax = right.subplots()
    panel_label(ax, "Outputs: ring before, dot after")
    ax.set(xlim=(-4.6, 4.6), ylim=(SAMPLES - 0.42, -0.58), xlabel="normalized value")
    ax.set_yticks(range(SAMPLES), [f"sample {n + 1}" for n in range(SAMPLES)])
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    for n in range(SAMPLES - 1):
        ax.axhline(n + 0.5, color=GRID, linewidth=0.8)
    moves = LineCollection([], colors=MUTED, linewidths=0.8)
    ax.add_collection(moves)
    (before,) = ax.plot([], [], "o", color=MUTED, markersize=5, fillstyle="none", markeredgewidth=1)
    (after,) = ax.plot([], [], "o", color=BATCH, markersize=3.6)
    return {
        "lit": lit,
        "chosen": chosen,
        "moves": moves,
        "before": before,
        "after": after,
        "changed": changed,
    }


def _update(artists: dict[str, Any], data: Data) -> None:
    artists["lit"].set_verts([_polygon(*index) for index in np.argwhere(data.lit)])
    artists["chosen"].set_verts([_polygon(*data.cell)])
    n, c, _ = np.indices(SHAPE)
    rows = n + (c - (CHANNELS - 1) / 2) * 0.2
    artists["before"].set_data(data.before.ravel(), rows.ravel())
    artists["after"].set_data(data.after.ravel(), rows.ravel())
    ends = np.stack([data.before, data.after], axis=-1).reshape(-1, 2)
    artists["moves"].set_segments(
        [[(a, y), (b, y)] for (a, b), y in zip(ends, rows.ravel(), strict=True) if a != b]
    )
    artists["changed"].set_text(CHANGES[data.change][3])


axes = Explorer(
    name="normalization.axes",
    title="Which cells share one mean",
    caption=(
        "Left: activations of 4 samples, 4 channels (c1 to c4) and 5 positions; lit are the cells "
        "that share one mean and one variance with the outlined one. Right: all normalized "
        "values, one line a channel; rings as they were before sample 1 changed, dots after."
    ),
    controls=(
        Choice("norm", "Normalization", {k: v[0] for k, v in NORMS.items()}, default="batch"),
        Choice("change", "Sample 1 is", {k: v[0] for k, v in CHANGES.items()}, default="scale"),
        Steps("sample", "Outlined cell: sample", (1, 2), default=2),
        Steps("channel", "Outlined cell: channel", (2, 3), default=2),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 290), (345, 290)),
)
