"""Who shares a scale: a matrix with an outlier under four granularities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import boxes, panel_label
from trainlab.explorers import palette
from trainlab.quantization import choose_code, dequantize, quantize

Array = NDArray[Any]

ROWS, COLUMNS, GROUP, FACTOR = 8, 16, 4, 20.0
ROW, COLUMN = 2, 9  # where the outliers are
SHARED: dict[str, tuple[str, dict[str, Any]]] = {
    "tensor": ("all weights", {}),
    "row": ("an output (row)", {"axis": 1}),
    "group": (f"{GROUP} weights of a row", {"axis": 1, "group_size": GROUP}),
    "column": ("an input (column)", {"axis": 0}),
}
BOXES = {"tensor": (ROWS, COLUMNS), "row": (1, COLUMNS), "group": (1, GROUP), "column": (ROWS, 1)}
OUTLIERS: dict[str | int | float, str] = {
    "none": "none",
    "weight": "one weight × 20",
    "row": "an output × 20 (row)",
    "column": "an input × 20 (column)",
}
CELLS = {
    "none": (slice(0), slice(0)),
    "weight": (slice(ROW, ROW + 1), slice(COLUMN, COLUMN + 1)),
    "row": (slice(ROW, ROW + 1), slice(None)),
    "column": (slice(None), slice(COLUMN, COLUMN + 1)),
}


@dataclass(frozen=True)
class Data:
    """A weight matrix, its error under one code, and the quality of all codes."""

    bits: int
    shared: str
    outlier: str
    weights: Array
    error: Array
    decibels: dict[str, float]  # of the ordinary weights, by who shares a scale
    lost: float  # share of the ordinary weights that become 0
    scales: int


@lru_cache(maxsize=1)
def _weights() -> Array:
    weights = np.random.default_rng(11).standard_normal((ROWS, COLUMNS))
    weights[ROW, COLUMN] = 1.5  # so that times 20 it is large
    return weights


def _compute(shared: str, bits: int, outlier: str) -> Data:
    weights = _weights().copy()
    weights[CELLS[outlier]] *= FACTOR
    ordinary = np.ones(weights.shape, bool)
    ordinary[CELLS[outlier]] = False
    errors, decibels, lost = {}, {}, {}
    for name, (_, how) in SHARED.items():
        code = choose_code(weights, bits=int(bits), **how)
        written = dequantize(quantize(weights, code), code)
        errors[name] = written - weights
        noise = np.mean(errors[name][ordinary] ** 2)
        decibels[name] = float(10 * np.log10(np.mean(weights[ordinary] ** 2) / noise))
        lost[name] = float(np.mean(written[ordinary] == 0))
    box = BOXES[shared]
    scales = ROWS * COLUMNS // (box[0] * box[1])
    return Data(int(bits), shared, outlier, weights, errors[shared], decibels, lost[shared], scales)


def _squares(values: Array) -> Path:
    """One square a number in its cell, its area the size of the number; full at 2 and above."""
    side = np.sqrt(np.minimum(np.abs(values) / 2, 1)) * 0.46
    y, x = np.nonzero(side > 0.06)  # what is smaller would be a speck
    half = side[y, x]
    return boxes(*(edge.round(2) for edge in (x - half, x + half, y - half, y + half)))


def _frames(height: int, width: int) -> tuple[Array, Array]:
    """Lines between the cells that share a scale, and around all."""
    x, y = [], []
    for edge in np.arange(0, ROWS + 1, height) - 0.5:
        x += [-0.5, COLUMNS - 0.5, np.nan]
        y += [edge, edge, np.nan]
    for edge in np.arange(0, COLUMNS + 1, width) - 0.5:
        x += [edge, edge, np.nan]
        y += [-0.5, ROWS - 0.5, np.nan]
    return np.array(x), np.array(y)


def _around(outlier: str) -> tuple[Array, Array]:
    """A frame around the outliers."""
    rows, columns = (np.arange(n)[s] for n, s in zip((ROWS, COLUMNS), CELLS[outlier], strict=True))
    if not len(rows):
        return np.array([]), np.array([])
    x, y = columns[[0, -1, -1, 0, 0]], rows[[0, 0, -1, -1, 0]]
    return x + 0.5 * np.array([-1, 1, 1, -1, -1]), y + 0.5 * np.array([-1, -1, 1, 1, -1])


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    moving: dict[str, Any] = {}
    axes = left.subplots(2, 1)
    for ax, name, title, color in (
        (axes[0], "weights", "Size of the weights, and who shares a scale", palette.TRAIN),
        (axes[1], "error", "Size of their errors", palette.WRONG),
    ):
        panel_label(ax, title)
        ax.set(xlim=(-0.6, COLUMNS - 0.4), ylim=(ROWS - 0.4, -0.6), xticks=[], yticks=[])
        ax.grid(visible=False)
        for side in ax.spines.values():
            side.set_visible(False)
        moving[name] = ax.add_patch(PathPatch(_squares(np.ones((1, 1))), fc=color, lw=0))
        (moving[f"{name}_frame"],) = ax.plot([], [], color=palette.MUTED, lw=1)
        (moving[f"{name}_outlier"],) = ax.plot([], [], color=palette.HIGHLIGHT, lw=2.6)

    ax = right.subplots()
    panel_label(ax, "Ordinary weights: SNR in dB")
    ax.set(xlim=(0, 52), ylim=(3.9, -0.75), yticks=[])
    ax.set_xlabel("decibels; more is better")
    for i, (words, _) in enumerate(SHARED.values()):
        ax.text(0.8, i - 0.3, f"a scale for {words}", color=palette.INK)
    (bars,) = ax.plot([], [], color=palette.KEPT, lw=9, solid_capstyle="butt")
    (chosen,) = ax.plot([], [], color=palette.HIGHLIGHT, marker="D", ms=9, ls="")
    return moving | {"bars": bars, "chosen": chosen}


def _update(artists: dict[str, Any], data: Data) -> None:
    for name in ("weights", "error"):
        artists[name].set_path(_squares(getattr(data, name)))
        artists[f"{name}_frame"].set_data(*_frames(*BOXES[data.shared]))
        artists[f"{name}_outlier"].set_data(*_around(data.outlier))
    ends = np.maximum(list(data.decibels.values()), 0)
    y = np.arange(len(ends))
    gap = np.full(len(ends), np.nan)
    artists["bars"].set_data(
        np.stack([0 * ends, ends, gap], axis=1).ravel(), np.stack([y, y, gap], axis=1).ravel()
    )
    at = list(SHARED).index(data.shared)
    artists["chosen"].set_data([ends[at]], [at])


def _readout(data: Data) -> Readout:
    best = max(data.decibels, key=lambda k: round(data.decibels[k], 6))
    where = {
        "none": "no outlier",
        "weight": "one large weight",
        "row": "one large output",
        "column": "one large input",
    }[data.outlier]
    now = data.decibels[data.shared]
    end = (
        "no other choice is better"
        if best == data.shared
        else f"a scale for {SHARED[best][0]} gives {data.decibels[best]:.1f} dB"
    )
    return Readout(
        {
            "SNR, ordinary weights": Quantity(now, "dB", 3),
            "Ordinary weights that become 0": Quantity(100 * data.lost, "%", 3),
            "Largest error": Quantity(float(np.abs(data.error).max()), "σ", 3),
            "Scales to store": data.scales,
        },
        f"With {where}, {data.bits} bits and a scale for {SHARED[data.shared][0]}, the ordinary "
        f"weights have a signal-to-noise ratio of {now:.1f} dB and "
        f"{format_number(100 * data.lost, 2)} % of them become 0; {end}.",
    )


sharing = Explorer(
    name="quantization.sharing",
    title="Who shares a scale",
    caption=f"A weight matrix of {ROWS} outputs (rows) and {COLUMNS} inputs (columns), normal with "
    "σ = 1 besides the outlier, which stands in a thick frame. Left: the area of a square is the "
    "size of a number, the whole cell from 2σ on; thin lines part what has scales of its own. All "
    "codes are symmetric and cover all they stand for. Right: signal-to-noise ratio (SNR) under "
    "the four choices, for all weights that are no outlier.",
    controls=(
        Choice("shared", "A scale for", {k: v[0] for k, v in SHARED.items()}, "tensor"),
        Choice("outlier", "Outlier", OUTLIERS, "weight"),
        Steps("bits", "Bits", (2, 3, 4, 6, 8), 4, between="whole"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 340), (340, 300)),
)
