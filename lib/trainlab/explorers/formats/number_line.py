"""The numbers around one number: how far apart they are, and to which each mode rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, Toggle, format_number
from explorables.style import log_axis, panel_label
from trainlab.bit_patterns import neighbors
from trainlab.explorers.palette import HIGHLIGHT, INK, KEPT, MUTED, WRONG
from trainlab.formats import BF16, E2M1, E2M3, E4M3, E5M2, FP16, MODES, Format, round_to, spacing

__all__ = ["number_line"]

SHOWN = {f.name: f for f in (BF16, FP16, E5M2, E4M3, E2M3, E2M1)}
LABELS: dict[str | int | float, str] = {
    "BF16": "BF16",
    "FP16": "FP16",
    "E5M2": "FP8, E5M2",
    "E4M3": "FP8, E4M3",
    "E2M3": "FP6, E2M3",
    "E2M1": "FP4, E2M1",
}
SIZES = (
    *(3e-4, 1e-3, 4e-3, 0.013, 0.04, 0.1, 0.3, 0.7, 1.7),
    *(2.3, 5.2, 14.7, 37.4, 100.2, 257.3, 460.5, 3001.5, 70_000),
)
LOW, HIGH = 1e-4, 3e5  # of sizes
ROWS = dict(zip(MODES, (3.2, 2.5, 1.8, 1.1), strict=True))
WORDS = {"nearest": "nearest", "toward_zero": "toward 0", "up": "up", "down": "down"}
FAR = 1.65  # where a number beyond the largest is drawn


@dataclass(frozen=True)
class NumberLine:
    """A number, the two of the format around it, and what each mode makes of it."""

    format: str
    x: float
    below: float  # at position 0; beyond the largest number: minus infinity or NaN
    above: float  # at position 1
    place: float  # position of x
    marks: NDArray[np.float64]  # positions of four numbers of the format
    gap: float  # NaN beyond the largest number
    rounded: dict[str, float]
    ends: dict[str, float]  # positions of `rounded`


def _compute(format: str, size: float, negative: bool) -> NumberLine:
    fmt = SHOWN[format]
    x = -float(size) if negative else float(size)
    below, above = (float(v) for v in neighbors(x, fmt))
    if round_to(x, fmt) == x:
        below = x  # all modes keep it
    largest = fmt.max if x > 0 else -fmt.max
    start, end, place = below, above, FAR if x > 0 else 1 - FAR
    if abs(x) <= fmt.max:
        place = (x - below) / (above - below)
    else:  # the place of infinity, NaN or nothing is one spacing beyond the largest number
        start, end = sorted((largest, math.copysign(fmt.max + float(spacing(fmt.max, fmt)), x)))
        below, above = (largest, above) if x > 0 else (below, largest)
    outer = [float(neighbors(start, fmt)[0]), float(neighbors(end, fmt)[1])]
    marks = (np.array([outer[0], start, end, outer[1]]) - start) / (end - start)
    rounded = {mode: float(round_to(x, fmt, mode=mode)) for mode in MODES}
    lost = 1.0 if x > 0 else 0.0
    return NumberLine(
        format=format,
        x=x,
        below=below,
        above=above,
        place=place,
        marks=np.where(np.abs(marks) < 9, marks, np.nan),
        gap=float(spacing(x, fmt)),
        rounded=rounded,
        ends={
            mode: (y - start) / (end - start) if math.isfinite(y) else lost
            for mode, y in rounded.items()
        },
    )


def _stairs(fmt: Format) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spacing from the smallest number of the axis to the format's largest, as steps."""
    edges = 2.0 ** np.arange(math.floor(math.log2(LOW)), math.log2(min(HIGH, fmt.max)))
    right = np.minimum(2 * edges, min(HIGH, fmt.max))
    return np.column_stack([edges, right]).ravel(), np.repeat(spacing(edges, fmt), 2)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Spacing, by the size of the number")
    log_axis(ax, "x", LOW, 3e7)
    log_axis(ax, "y", 1e-8, 1e6)
    ax.set_xlabel("size of the number")
    ax.set_ylabel("distance to the next", labelpad=0)
    for fmt in SHOWN.values():
        x, y = _stairs(fmt)
        ax.plot(x, y, color=MUTED, lw=1.0)
        if fmt in (E4M3, E2M1):  # where their lines are level
            ax.text(1.5e-4, y[0] * 1.5, fmt.name, color=MUTED, fontsize=11.5)
        elif fmt is not E2M3:
            ax.text(x[-1] * 1.4, y[-1] * 0.6, fmt.name, color=MUTED, fontsize=11.5)
    line = right.subplots()
    panel_label(line, "Around the number, stretched")
    line.set(xlim=(-1.75, 2.1), ylim=(-1.3, 3.9))
    line.set_xticks([])
    line.set_yticks(list(ROWS.values()), list(WORDS.values()))
    line.grid(visible=False)
    line.spines["left"].set_visible(False)
    line.spines["bottom"].set_visible(False)
    line.tick_params(length=0)
    line.axhline(0, color=INK, lw=1.2)
    text: dict[str, Any] = {"ha": "center", "fontsize": 12}
    return {
        "stairs": ax.plot([], [], color=KEPT, lw=3)[0],
        "here": ax.plot([], [], "o", color=HIGHLIGHT, ms=9)[0],
        "marks": line.plot([], [], "|", color=INK, ms=16, mew=1.6)[0],
        "guide": line.plot([], [], ":", color=HIGHLIGHT, lw=1.4)[0],
        "x": line.plot([], [], "o", color=HIGHLIGHT, ms=9)[0],
        "name": line.text(0, 3.55, "", color=HIGHLIGHT, **text),
        "below": line.text(0, -0.8, "", **text),
        "above": line.text(1, -0.8, "", **text),
        "ways": [line.plot([], [], color=KEPT, lw=2.4)[0] for _ in ROWS],
        "heads": [line.plot([], [], "o", color=KEPT, ms=7)[0] for _ in ROWS],
    }


def _value(y: float, fmt: Format) -> str:
    """Write a number with the digits that tell it from its neighbors."""
    if math.isnan(y):
        return "NaN" if fmt.flavor == "fn" else "none"
    return format_number(y, math.ceil(fmt.digits) + 2)


def _update(artists: dict[str, Any], data: NumberLine) -> None:
    fmt = SHOWN[data.format]
    artists["stairs"].set_data(*_stairs(fmt))
    inside = not math.isnan(data.gap)
    artists["here"].set_data([abs(data.x)], [data.gap if inside else float(spacing(fmt.max, fmt))])
    artists["marks"].set_data(data.marks, np.zeros(4))
    artists["guide"].set_data([data.place] * 2, [0, 3.45])
    artists["x"].set_data([data.place], [0])
    artists["name"].set(text=format_number(data.x, 6), x=data.place)
    for key, value in (("below", data.below), ("above", data.above)):
        artists[key].set_text(_value(value, fmt))
    for way, head, mode in zip(artists["ways"], artists["heads"], ROWS, strict=True):
        end, y = data.ends[mode], ROWS[mode]
        color = KEPT if math.isfinite(data.rounded[mode]) else WRONG
        way.set_data([data.place, end], [y, y])
        head.set_data([end], [y])
        way.set_color(color)
        head.set_color(color)


def _readout(data: NumberLine) -> Readout:
    fmt = SHOWN[data.format]
    x = format_number(data.x, 6)
    y = {m: _value(v, fmt).replace("NaN", "not-a-number") for m, v in data.rounded.items()}
    nearest = data.rounded["nearest"]
    error = abs(nearest - data.x) / abs(data.x)
    if math.isnan(data.gap):
        story = f"{x} is beyond the largest number of {LABELS[data.format]}, {fmt.max:g}"
    elif data.below == data.x:
        story = f"{LABELS[data.format]} holds {x}"
    else:
        gap = format_number(data.gap, 3)
        story = f"Around {x} the numbers of {LABELS[data.format]} are {gap} apart"
    return Readout(
        {
            "Spacing": data.gap,
            "To nearest": Quantity(nearest, digits=6),
            "Toward zero": Quantity(data.rounded["toward_zero"], digits=6),
            "Up": Quantity(data.rounded["up"], digits=6),
            "Down": Quantity(data.rounded["down"], digits=6),
            "Relative error, to nearest": Quantity(100 * error, "%"),
        },
        f"{story}; to nearest it becomes {y['nearest']}, toward zero {y['toward_zero']}, "
        f"up {y['up']}, down {y['down']}.",
    )


number_line = Explorer(
    name="formats.number_line",
    title="Spacing along the number line, and four ways to round",
    caption="Left: the distance between neighboring numbers of a format doubles from each power of "
    "two to the next, and stays the same among the subnormal numbers. Right: the numbers of the "
    "format (ticks) around the one chosen (dot), and where each rounding mode takes it. FP6 and "
    "FP4 have neither infinity nor NaN: beyond their largest number there is none.",
    controls=(
        Choice("format", "Format", LABELS, "E4M3"),
        Steps("size", "Size of the number", SIZES, 5.2, between="log"),
        Toggle("negative", "Negative", False),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
