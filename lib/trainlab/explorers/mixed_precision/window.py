"""The gradients' sizes in the window of a format, and what a loss scale does to them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.numbers import superscript
from explorables.style import panel_label
from trainlab.explorers import palette
from trainlab.formats import FORMATS, Format
from trainlab.loss_scaling import LostGradients, lost_gradients

__all__ = ["window"]

Array = NDArray[Any]

MEDIAN, COUNT = -24, 4000  # log2 of the median size; gradients
LOW, HIGH, TOP = -48, 32, 11.5  # octaves shown; percent of the gradients in half an octave
EDGES = np.arange(LOW, HIGH + 0.5, 0.5)
POWERS = np.arange(0, 41)  # log2 of the scales of the right panel
OFF, RIGHT = -200.0, 200.0  # far beyond the axes


@dataclass(frozen=True)
class Window:
    """Sizes of the scaled gradients, and the shares lost."""

    fmt: Format
    k: int
    spread: float
    bars: Array  # percent of the gradients in each half octave
    lost: LostGradients
    zero: Array  # percent by log2 of the scale
    over: Array


@functools.lru_cache(maxsize=1)
def _normal() -> Array:
    """Quantiles of the normal distribution: a sample without luck."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse((i + 0.5) / COUNT) for i in range(COUNT)])


def _edges(fmt: Format) -> tuple[float, float, float]:
    """Log2 of sizes: up to the first all is 0, below the second subnormal, from the third lost."""
    return (
        math.log2(fmt.min_subnormal) - 1,
        float(fmt.emin),
        math.log2(fmt.max + 2.0 ** (fmt.emax - fmt.mantissa_bits - 1)),
    )


def _compute(format: str, k: float, spread: float) -> Window:
    fmt, sizes = FORMATS[format], MEDIAN + spread * _normal()
    bars, _ = np.histogram(sizes + k, EDGES)
    first, _, last = _edges(fmt)
    chance = NormalDist(MEDIAN, spread).cdf
    return Window(
        fmt=fmt,
        k=int(k),
        spread=spread,
        bars=100 * bars / COUNT,
        lost=lost_gradients(2.0**sizes, fmt, scale=2.0**k),
        zero=np.array([100 * chance(first - p) for p in POWERS]),
        over=np.array([100 * (1 - chance(last - p)) for p in POWERS]),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Sizes of the gradients × S")
    ax.grid(False)
    ax.set(xlim=(LOW, HIGH), ylim=(0, TOP), xlabel="size", yticks=[])
    ticks = (-40, -24, -8, 8, 24)
    ax.set_xticks(ticks, [f"2{superscript(t)}" for t in ticks])
    normal = ax.add_patch(Rectangle((0, 0), 1, TOP, color=palette.SHADE, zorder=0))
    few = ax.add_patch(Rectangle((0, 0), 1, TOP, color=palette.GRID, zorder=0))
    colors = {
        "zero": palette.WRONG,
        "subnormal": palette.HIGHLIGHT,
        "normal": palette.BACKWARD,
        "over": palette.WRONG,
    }
    bars = {
        name: ax.add_patch(Polygon(np.zeros((3, 2)), closed=True, color=color, zorder=2))
        for name, color in colors.items()
    }
    lines = [ax.axvline(0, color=palette.INK, lw=1.2, ls="--", zorder=3) for _ in range(2)]
    names = {
        "zero": ax.text(0, TOP - 0.85, "→ 0", color=palette.WRONG, weight="bold", ha="right"),
        "over": ax.text(0, TOP - 0.85, "→ ∞", color=palette.WRONG, weight="bold", ha="left"),
        "format": ax.text(0, TOP - 0.85, "", color=palette.INK, weight="bold", ha="center"),
    }
    ax = right.subplots()
    panel_label(ax, "Lost gradients by scale, percent")
    ax.set(xlim=(0, 40), ylim=(-3, 103), xlabel="S")
    ticks = (0, 10, 20, 30, 40)
    ax.set_xticks(ticks, [f"2{superscript(t)}" for t in ticks])
    here = ax.axvline(0, color=palette.HIGHLIGHT, lw=1.2, ls=":")
    (zero,) = ax.plot([], [], color=palette.THEORY, lw=1.6)
    (over,) = ax.plot([], [], color=palette.THEORY, lw=1.6, ls="--")
    (dots,) = ax.plot([], [], color=palette.WRONG, marker="o", ms=7, ls="", clip_on=False)
    ax.text(13, 88, "solid: become 0", color=palette.INK)
    ax.text(13, 78, "dashed: overflow", color=palette.INK)
    return {
        "normal": normal,
        "few": few,
        "bars": bars,
        "lines": lines,
        "names": names,
        "here": here,
        "zero": zero,
        "over": over,
        "dots": dots,
    }


def _outline(heights: Array, keep: Array) -> Array:
    """Corners of the bars that are kept, as one outline above zero."""
    steps = np.repeat(np.where(keep, heights, 0.0), 2)
    x = np.repeat(EDGES, 2)[1:-1]
    return np.column_stack([np.r_[LOW, x, HIGH], np.r_[0, steps, 0]])


def _update(artists: dict[str, Any], data: Window) -> None:
    first, second, last = _edges(data.fmt)
    middles = (EDGES[1:] + EDGES[:-1]) / 2
    kinds = {
        "zero": middles < first,
        "subnormal": (middles > first) & (middles < second),
        "normal": (middles > second) & (middles < last),
        "over": middles > last,
    }
    for name, keep in kinds.items():
        artists["bars"][name].set_xy(_outline(data.bars, keep))
    for artist, low, high in (("few", first, second), ("normal", second, last)):
        artists[artist].set_bounds(low, 0, high - low, TOP)
    for line, x in zip(artists["lines"], (first, last), strict=True):
        line.set_xdata([x, x])
    low, high = max(first, LOW), min(last, HIGH)
    names = artists["names"]
    names["format"].set_text(data.fmt.name)
    names["over"].set_text("→ ∞" if data.fmt.flavor == "ieee" else "→ NaN")
    names["format"].set_x((low + high) / 2)
    names["zero"].set_x(first - 1 if first > LOW + 8 else OFF)
    names["over"].set_x(last + 1 if last < HIGH - 8 else RIGHT)
    for text in (names["zero"], names["over"]):
        text.set_visible(LOW < text.get_position()[0] < HIGH)
    artists["here"].set_xdata([data.k, data.k])
    artists["zero"].set_data(POWERS, data.zero)
    artists["over"].set_data(POWERS, data.over)
    artists["dots"].set_data([data.k] * 2, [100 * data.lost.zero, 100 * data.lost.overflow])


def _readout(data: Window) -> Readout:
    zero, few, over = (100 * share for share in data.lost)
    scale = f"S = 2{superscript(data.k)}" if data.k else "S = 1, no loss scaling"
    gone = f"{format_number(zero, 3)} % become zero" if zero else "none becomes zero"
    lost = f"{gone}, {format_number(over, 3)} % overflow" if over else f"{gone}, none overflows"
    beyond = "infinity" if data.fmt.flavor == "ieee" else "NaN"
    tail = f"; one {beyond} costs the whole step" if over else ""
    return Readout(
        {
            "Become zero": Quantity(zero, "%", digits=3),
            "Subnormal, few bits": Quantity(few, "%", digits=3),
            "Overflow": Quantity(over, "%", digits=3),
            "Scale S": Quantity(2.0**data.k, digits=4),
        },
        f"Gradients of median size 2⁻²⁴ in {data.fmt.name}, {scale}: {lost}{tail}.",
    )


window = Explorer(
    name="mixed_precision.window",
    title="Gradients in the window of a format",
    caption="Left: sizes of 4,000 gradients after multiplication by S, log-normal with median "
    "2⁻²⁴ before. Between the dashed lines is what the format holds; the band at its lower end has "
    "subnormal numbers, with fewer significant bits. Right: shares that are lost, for each S; dots "
    "are counted, lines theory.",
    controls=(
        Choice("format", "Format", {n: n for n in ("FP16", "BF16", "E5M2", "E4M3")}, "FP16"),
        Steps("k", "k, scale S = 2ᵏ", (0, 3, 7, 10, 15, 20, 25, 30, 35, 40), 0, between="whole"),
        Steps("spread", "Spread, octaves", (2, 4, 6), 4, between="linear"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 280), (345, 280)),
)
