"""Numbers that share a scale: what one outlier does to the others."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.explorers.palette import FORWARD, HIGHLIGHT, INK, MUTED, SHADE, WRONG
from trainlab.microscaling import MX_FORMATS, mx_dequantize, mx_quantize

__all__ = ["shared_scale"]

COUNT, OUTLIER = 64, 9  # numbers drawn, and which one is the outlier
MANY = 6400  # for the noise: as many again of blocks like these
SIZES = (3, 10, 30, 100, 300, 1000)
MOST = 3.4  # of the drawing
MOST_DECIBELS = 50
SHORT: dict[str | int | float, str] = {name: name.replace("MX", "") for name in MX_FORMATS}


@dataclass(frozen=True)
class SharedScale:
    """64 numbers, what becomes of them, and noise by format."""

    format: str
    outlier: float
    shared: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    beside: dict[str, float]  # decibels of the numbers that share their scale with the outlier
    apart: dict[str, float]  # of the others; the same as `beside` where there are none
    zeros: int  # numbers, outlier aside, that become 0 in its block
    step: float  # the scale of that block


@functools.cache
def _numbers(outlier: float) -> NDArray[np.float64]:
    x = np.random.default_rng(11).standard_normal((MANY // COUNT, COUNT))
    x = np.clip(x, -3, 3)
    x[:, OUTLIER] = outlier
    return x


def _decibels(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.sum(x**2) / np.sum((x - y) ** 2)))


def _compute(format: str, outlier: float, shared: int) -> SharedScale:
    x = _numbers(float(outlier))
    shared = int(shared)
    inside = np.arange(COUNT) < shared
    inside[OUTLIER] = False
    outside = np.arange(COUNT) >= shared
    beside, apart = {}, {}
    for name, fmt in MX_FORMATS.items():
        blocks = mx_quantize(x, fmt, block_size=shared)
        y = mx_dequantize(blocks)
        beside[name] = _decibels(x[:, inside], y[:, inside])
        apart[name] = _decibels(x[:, outside], y[:, outside]) if outside.any() else beside[name]
        if name == format:
            kept, step = y[0], float(2.0 ** blocks.exponents[0, 0])
    return SharedScale(
        format=format,
        outlier=float(outlier),
        shared=shared,
        x=x[0],
        y=kept,
        beside=beside,
        apart=apart,
        zeros=int(np.sum(kept[inside] == 0)),
        step=step,
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "64 numbers, before and after")
    ax.set(xlim=(-1.5, COUNT + 0.5), ylim=(-MOST, MOST + 0.9), xlabel="number")
    ax.set_xticks([0, 16, 32, 48, 64])
    block = ax.add_patch(Rectangle((-0.5, -MOST), 32, 2 * MOST, color=SHADE))
    ax.plot([OUTLIER, OUTLIER], [2.4, MOST + 0.1], color=HIGHLIGHT, lw=2)
    ax.plot([OUTLIER], [MOST + 0.1], "^", color=HIGHLIGHT, ms=8)
    noise = right.subplots()
    panel_label(noise, "Signal-to-noise ratio, by format")
    noise.set(xlim=(-2, MOST_DECIBELS), ylim=(-5.6, 1.2), xlabel="decibels")
    noise.set_yticks([-i for i in range(len(SHORT))], list(SHORT.values()))
    noise.grid(axis="y", visible=False)
    noise.plot([7], [0.75], "o", color=WRONG, ms=7)
    noise.text(8.5, 0.6, "beside the outlier", color=WRONG, fontsize=11.5)
    noise.plot([32], [0.75], "D", color=FORWARD, ms=6)
    noise.text(33.5, 0.6, "elsewhere", color=FORWARD, fontsize=11.5)
    rows = -np.arange(len(SHORT))
    return {
        "block": block,
        "ways": ax.plot([], [], color=MUTED, lw=1.0)[0],
        "x": ax.plot([], [], "o", mfc="none", mec=INK, ms=4.5, mew=1.0)[0],
        "y": ax.plot([], [], "o", color=FORWARD, ms=4.5)[0],
        "zero": ax.plot([], [], "o", color=WRONG, ms=4.5)[0],
        "name": ax.text(OUTLIER + 2.5, MOST, "", color=HIGHLIGHT),
        "bands": [noise.plot([], [], color=MUTED, lw=1.4)[0] for _ in SHORT],
        "band": noise.plot([], [], color=HIGHLIGHT, lw=5, alpha=0.5)[0],
        "apart": noise.plot([], rows[:0], "D", color=FORWARD, ms=7)[0],
        "beside": noise.plot([], rows[:0], "o", color=WRONG, ms=8)[0],
    }


def _update(artists: dict[str, Any], data: SharedScale) -> None:
    place = np.arange(COUNT)
    usual = place != OUTLIER
    lost = usual & (data.y == 0)
    kept = usual & ~lost
    artists["block"].set_width(data.shared)
    artists["x"].set_data(place[usual], data.x[usual])
    artists["y"].set_data(place[kept], data.y[kept])
    artists["zero"].set_data(place[lost], data.y[lost])
    gaps = np.full(COUNT, np.nan)
    artists["ways"].set_data(
        np.column_stack([place, place, gaps])[usual].ravel(),
        np.column_stack([data.x, data.y, gaps])[usual].ravel(),
    )
    after = format_number(float(data.y[OUTLIER]), 4)
    artists["name"].set_text(f"outlier {format_number(data.outlier)} → {after}")
    rows = -np.arange(len(SHORT))
    beside, apart = (np.array(list(v.values())) for v in (data.beside, data.apart))
    artists["beside"].set_data(beside, rows)
    artists["apart"].set_data(apart if data.shared < COUNT else np.full(6, np.nan), rows)
    for i, line in enumerate(artists["bands"]):
        line.set_data([beside[i], apart[i]], [-i, -i])
    i = list(SHORT).index(data.format)
    artists["band"].set_data([-2, MOST_DECIBELS], [-i, -i])


def _readout(data: SharedScale) -> Readout:
    bits = MX_FORMATS[data.format].bits_per_number(data.shared)
    beside, apart = data.beside[data.format], data.apart[data.format]
    rest = (
        f"the other {COUNT - data.shared} numbers have {format_number(apart, 3)} dB"
        if data.shared < COUNT
        else "there are no other numbers"
    )
    return Readout(
        {
            "Scale of the outlier's block": Quantity(data.step),
            "Numbers beside it that become 0": data.zeros,
            "Beside the outlier": Quantity(beside, "dB"),
            "Elsewhere": Quantity(apart, "dB") if data.shared < COUNT else Quantity(math.nan),
            "Bits for a number": Quantity(bits, digits=4),
        },
        f"{SHORT[data.format]}, one scale for {data.shared} numbers: with an outlier of "
        f"{format_number(data.outlier)}, {data.zeros} of the {data.shared - 1} numbers that share "
        f"its scale become 0 (signal-to-noise ratio {format_number(beside, 3)} dB); {rest}.",
    )


shared_scale = Explorer(
    name="formats.shared_scale",
    title="One scale for a block, and an outlier in it",
    caption="Left: 64 normal numbers, one of them an outlier (circles), and what the format makes "
    "of them (dots, in the other color where a number became 0). Shaded: the numbers "
    "that share a scale with the outlier. Right: signal-to-noise ratio of the numbers other than "
    "the outlier, over a hundred such rows; the format chosen is shaded.",
    controls=(
        Choice("format", "Elements", SHORT, "MXFP4"),
        Steps("outlier", "Outlier", SIZES, 30, between="log"),
        Choice(
            "shared",
            "Numbers that share a scale",
            {16: "16", 32: "32, as in MX", 64: "all 64"},
            32,
        ),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
