"""The ranges of all formats on one ruler, and what falls off it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number, superscript
from explorables.style import log_axis, panel_label
from trainlab.explorers.palette import BACKWARD, FORWARD, KEPT, MUTED, TRAIN, WRONG
from trainlab.formats import FORMATS, Format, round_to

__all__ = ["ruler"]

COUNT = 20_000
KINDS: dict[str | int | float, str] = {
    "gradients": "gradients (median 2⁻²⁴)",
    "weights": "weights (deviation 0.02)",
    "activations": "activations (with outliers)",
}
COLOR = {"gradients": BACKWARD, "weights": TRAIN, "activations": FORWARD}
LOW, HIGH = 1e-17, 1e9  # of the close-up
EDGES = np.linspace(np.log10(LOW), np.log10(HIGH), 105)
BAND = (-5.5, -5.5, 0.75, 0.75)  # the heights of its corners
ROWS = {name: -i for i, name in enumerate(FORMATS)}  # where each format's bar stands


@dataclass(frozen=True)
class Ruler:
    """Numbers of one kind, and the shares of them that each format cannot hold."""

    kind: str
    octaves: int
    histogram: NDArray[np.float64]  # share in each bin
    low: float  # 1% of the numbers are smaller
    high: float  # 1% are larger
    zero: dict[str, float]  # share that becomes 0
    subnormal: dict[str, float]  # share that keeps fewer significant bits
    overflow: dict[str, float]  # share that becomes infinity or NaN


@functools.cache
def _numbers(kind: str) -> NDArray[np.float64]:
    """Draw sizes of numbers; a model of what a tensor holds, not a measurement."""
    rng = np.random.default_rng(24)
    z = rng.standard_normal(COUNT)
    if kind == "gradients":
        return np.exp2(-24 + 4 * z)
    if kind == "weights":
        return 0.02 * np.abs(z)
    return np.abs(z) * np.where(np.arange(COUNT) % 1000 == 0, 60, 1)


def _compute(kind: str, octaves: int) -> Ruler:
    x = _numbers(kind) * 2.0**octaves
    with np.errstate(all="ignore"):
        rounded = {name: round_to(x, fmt) for name, fmt in FORMATS.items()}
    low, high = np.quantile(x, [0.01, 0.99])
    return Ruler(
        kind=kind,
        octaves=octaves,
        histogram=np.histogram(np.log10(x), EDGES)[0] / COUNT,
        low=float(low),
        high=float(high),
        zero={n: float(np.mean(y == 0)) for n, y in rounded.items()},
        subnormal={
            n: float(np.mean((y > 0) & (y < FORMATS[n].min_normal))) for n, y in rounded.items()
        },
        overflow={n: float(np.mean(~np.isfinite(y))) for n, y in rounded.items()},
    )


def _bar(ax: Axes, y: float, fmt: Format, low: float, high: float) -> None:
    """Draw a format's range, thin where numbers are subnormal."""
    a, b, c = (min(max(v, low), high) for v in (fmt.min_subnormal, fmt.min_normal, fmt.max))
    if a < b:
        ax.plot([a, b], [y, y], color=KEPT, lw=2.5, solid_capstyle="butt")
    ax.plot([b, c], [y, y], color=KEPT, lw=9, solid_capstyle="butt")


def _draw(left: Figure, right: Figure) -> dict[str, Artist | list[Artist]]:
    whole = left.subplots()
    panel_label(whole, "Smallest, smallest normal, largest")
    log_axis(whole, "x", 1e-47, 1e42, most_ticks=7)
    whole.set(ylim=(-5.5, 1))
    for name, y in ROWS.items():
        fmt = FORMATS[name]
        _bar(whole, y, fmt, 1e-47, 1e42)
        ends = " · ".join(
            format_number(v, 3).replace("·", "×")
            for v in (fmt.min_subnormal, fmt.min_normal, fmt.max)
        )
        # Written where the bar leaves room, always inside the panel.
        whole.text(1e-46, y + 0.2, ends, fontsize=11.5, va="bottom", color=MUTED)
    whole.set_yticks(list(ROWS.values()), list(ROWS))
    whole.grid(axis="y", visible=False)
    whole.set_xlabel("size of the number")

    close = right.subplots()
    panel_label(close, "Close-up, and what does not fit")
    log_axis(close, "x", LOW, HIGH, most_ticks=6)
    close.set(ylim=(-5.5, 3.4))
    for name, y in ROWS.items():
        _bar(close, y, FORMATS[name], LOW, HIGH)
    close.set_yticks(list(ROWS.values()), list(ROWS))
    close.grid(axis="y", visible=False)
    close.axhline(0.9, color=MUTED, lw=0.8)
    close.set_xlabel("size of the number")
    text: dict[str, Any] = {"fontsize": 11.5, "va": "bottom"}
    return {
        "band": whole.fill([1, 10, 10, 1], BAND, color=BACKWARD, alpha=0.3)[0],
        "name": whole.text(1, 0.75, "", ha="center", **text),
        "histogram": close.plot([], [], lw=1.8)[0],
        "lost": [close.text(LOW * 1.5, y + 0.17, "", color=WRONG, **text) for y in ROWS.values()],
        "over": [
            close.text(HIGH / 1.5, y + 0.17, "", color=WRONG, ha="right", **text)
            for y in ROWS.values()
        ],
    }


def _percent(share: float) -> str:
    return f"{format_number(100 * share, 2)}%" if share >= 1e-3 else "under 0.1%"


def _update(artists: dict[str, Any], data: Ruler) -> None:
    color = COLOR[data.kind]
    ends = np.clip([data.low, data.high], 1e-47, 1e42)
    artists["band"].set_xy(np.column_stack([ends[[0, 1, 1, 0]], BAND]))
    artists["band"].set_facecolor(color)
    artists["name"].set(text=data.kind, x=np.sqrt(ends[0] * ends[1]), color=color)
    heights = 1.0 + 2.2 * data.histogram / data.histogram.max()
    artists["histogram"].set_data(10 ** EDGES.repeat(2)[1:-1], heights.repeat(2))
    artists["histogram"].set_color(color)
    for text, share in zip(artists["lost"], data.zero.values(), strict=True):
        text.set_text(f"{_percent(share)} → 0" if share else "")
    for text, name in zip(artists["over"], FORMATS, strict=True):
        share, to = data.overflow[name], "∞" if FORMATS[name].flavor == "ieee" else "NaN"
        text.set_text(f"{_percent(share)} → {to}" if share else "")


def _readout(data: Ruler) -> Readout:
    def percent(share: float) -> Quantity:
        return Quantity(100 * share, "%", 2)

    factor = f" times 2{superscript(data.octaves)}" if data.octaves else ""
    lost = {n: data.zero[n] + data.overflow[n] for n in ("FP16", "BF16", "E5M2", "E4M3")}
    words = ", ".join(f"{n} {format_number(100 * v, 2)}%" for n, v in lost.items())
    return Readout(
        {
            "FP16: become 0": percent(data.zero["FP16"]),
            "FP16: become ∞": percent(data.overflow["FP16"]),
            "FP16: subnormal": percent(data.subnormal["FP16"]),
            "BF16: become 0": percent(data.zero["BF16"]),
            "E5M2: become 0": percent(data.zero["E5M2"]),
            "E4M3: become 0": percent(data.zero["E4M3"]),
            "E5M2: become ∞": percent(data.overflow["E5M2"]),
            "E4M3: become NaN": percent(data.overflow["E4M3"]),
        },
        f"Of the {data.kind}{factor}, these shares are lost to zero or overflow: {words}.",
    )


ruler = Explorer(
    name="formats.ruler",
    title="The ranges of six formats",
    caption="Thick bars: normal numbers, with all their significant bits. Thin bars: subnormal "
    "numbers. Left: the whole of each range, and the band that holds 98% of the data. Right: the "
    "middle, the distribution of the data above it, and the shares that a format rounds to zero "
    "or cannot reach. The data are models. Gradients: their log2 is normal with "
    "deviation 4; weights: normal; activations: normal with deviation 1, one in 1000 is 60 times "
    "larger.",
    controls=(
        Choice("kind", "Data", KINDS, "gradients"),
        Steps("octaves", "Multiplied by 2 to the power", tuple(range(-24, 25, 2)), 0),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 330), (350, 330)),
)
