"""How long an all-reduce takes: by size, ranks, latency and bandwidth, for a ring and a tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.communication_time import all_reduce_time, ring_tree_crossover
from trainlab.explorers import palette

Array = NDArray[Any]

SIZES = np.geomspace(1e3, 1e10, 29)  # bytes
RANKS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
LOW, HIGH = 5e-7, 30.0  # seconds
SIZE_TICKS = ((1e3, "1 kB"), (1e6, "1 MB"), (1e9, "1 GB"))
TIME_TICKS = ((1e-6, "1 µs"), (1e-3, "1 ms"), (1.0, "1 s"))


@dataclass(frozen=True)
class Times:
    """Seconds by size for the chosen ranks, by ranks for the chosen size."""

    size: float  # bytes
    ranks: int
    by_size: dict[str, Array]
    by_ranks: dict[str, Array]
    here: dict[str, float]
    latency: float  # the part of the ring's time that is latency, in (0, 1]
    bandwidth: float  # seconds for 2 S
    crossover: float  # bytes


def _compute(size: float, ranks: int, latency: float, bandwidth: float) -> Times:
    link: dict[str, Any] = {"latency": 1e-6 * latency, "bandwidth": 1e9 * bandwidth}
    nbytes, ranks = 1e6 * size, int(ranks)
    ends = SIZES[[0, -1]]
    by_size, by_ranks, here = {}, {}, {}
    for name in ("ring", "tree"):
        # The time is linear in the size: two of them give the line.
        low, high = (all_reduce_time(float(n), ranks=ranks, **link, algorithm=name) for n in ends)
        by_size[name] = low + (high - low) * (SIZES - ends[0]) / (ends[1] - ends[0])
        by_ranks[name] = np.array(
            [all_reduce_time(nbytes, ranks=n, **link, algorithm=name) for n in RANKS]
        )
        here[name] = all_reduce_time(nbytes, ranks=ranks, **link, algorithm=name)
    waiting = all_reduce_time(0, ranks=ranks, **link) / here["ring"]
    return Times(
        nbytes, ranks, by_size, by_ranks, here, waiting, 2 * nbytes / link["bandwidth"],
        ring_tree_crossover(ranks, **link),
    )  # fmt: skip


COLORS = {"ring": palette.BACKWARD, "tree": palette.FORWARD}
STYLES = {"ring": "-", "tree": "--"}


def _seconds(ax: Any) -> None:
    log_axis(ax, "y", LOW, HIGH)
    ax.set_yticks([t for t, _ in TIME_TICKS], [name for _, name in TIME_TICKS])


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    artists: dict[str, Any] = {}
    ax = left.subplots()
    panel_label(ax, "Time by size")
    log_axis(ax, "x", SIZES[0], SIZES[-1])
    ax.set_xticks([t for t, _ in SIZE_TICKS], [name for _, name in SIZE_TICKS])
    _seconds(ax)
    ax.set_xlabel("array of each rank")
    artists["cross"] = ax.plot([], [], color=palette.MUTED, lw=1.3, ls=":")[0]
    artists["equal"] = ax.text(1, 1, "", color=palette.MUTED)
    for name in ("tree", "ring"):
        artists[f"{name} size"] = ax.plot([], [], color=COLORS[name], ls=STYLES[name])[0]
    artists["here size"] = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=8)[0]
    ax.text(8e9, 3.2e-5, "ring", ha="right", color=COLORS["ring"], fontweight="bold")
    ax.text(8e9, 8e-6, "tree (dashed)", ha="right", color=COLORS["tree"], fontweight="bold")

    ax = right.subplots()
    panel_label(ax, "Time by number of ranks, this size")
    log_axis(ax, "x", RANKS[0] / 1.2, RANKS[-1] * 1.2)
    ax.set_xticks([2, 8, 64, 512], ["2", "8", "64", "512"])
    _seconds(ax)
    ax.set_xlabel("ranks")
    artists["floor"] = ax.plot([], [], color=palette.THEORY, lw=1.3, ls=":")[0]
    artists["floor name"] = ax.text(1, 1, "bandwidth alone: 2 S", ha="right")
    for name in ("tree", "ring"):
        artists[f"{name} ranks"] = ax.plot(
            [], [], color=COLORS[name], ls=STYLES[name], marker=".", ms=6
        )[0]
    artists["here ranks"] = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=8)[0]
    return artists


def _update(artists: dict[str, Any], data: Times) -> None:
    for name in ("ring", "tree"):
        artists[f"{name} size"].set_data(SIZES, data.by_size[name])
        artists[f"{name} ranks"].set_data(RANKS, data.by_ranks[name])
    artists["here size"].set_data([data.size], [data.here["ring"]])
    artists["here ranks"].set_data([data.ranks], [data.here["ring"]])
    low = max(data.bandwidth, LOW)
    artists["floor"].set_data([RANKS[0] / 1.2, RANKS[-1] * 1.2], [low, low])
    artists["floor name"].set_position((1150, max(low * 0.28, 7e-7)))
    cross = data.crossover
    inside = SIZES[0] < cross < SIZES[-1]
    artists["cross"].set_data([cross, cross] if inside else [], [LOW, HIGH] if inside else [])
    artists["equal"].set_text(f"equal at {_bytes(cross)}" if inside else "ring never slower")
    to_the_left = inside and cross > 1e6
    artists["equal"].set_ha("right" if to_the_left else "left")
    at = cross / 1.3 if to_the_left else cross * 1.3 if inside else 3e6
    artists["equal"].set_position((at, 8e-7))


def _bytes(n: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n >= unit:
            return f"{format_number(n / unit, 2)} {name}"
    return f"{format_number(n, 2)} B"


def _time(seconds: float) -> str:
    for unit, name in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= unit:
            return f"{format_number(seconds / unit, 3)} {name}"
    return f"{format_number(seconds * 1e6, 3)} µs"


def _readout(data: Times) -> Readout:
    ring_time, tree_time = data.here["ring"], data.here["tree"]
    ratio = tree_time / ring_time
    longer = f"{format_number(max(ratio, 1 / ratio), 2)} times as long"
    compared = (
        "a tree about as long"
        if 0.95 < ratio < 1.05
        else f"a tree {_time(tree_time)}, {longer}"
        if ratio > 1
        else f"{longer} as a tree, {_time(tree_time)}"
    )
    return Readout(
        {
            "Ring": Quantity(1e3 * ring_time, "ms"),
            "Tree": Quantity(1e3 * tree_time, "ms"),
            "Of the ring's time, latency": Quantity(100 * data.latency, "%"),
            "Steps of the ring": 2 * (data.ranks - 1),
            "Ring and tree equal at": Quantity(data.crossover / 1e6, "MB"),
        },
        f"{_bytes(data.size)} on {data.ranks} ranks: a ring takes {_time(ring_time)}, "
        f"{format_number(100 * data.latency, 2)} % of it latency; {compared}.",
    )


time = Explorer(
    name="data_parallel.time",
    title="Time of an all-reduce",
    caption="A message of n bytes takes latency + n / bandwidth. Left: the time of an all-reduce "
    "by the size S of the array that each rank holds; dotted, where ring and tree take equally "
    "long. Right: by the number of ranks, for the chosen size; dotted, the time to send 2 S and "
    "nothing else. The dot is the chosen state of the ring.",
    controls=(
        Steps("size", "Array S", (0.01, 1.0, 25.0, 1000.0), 1.0, "MB", between="log"),
        Steps("ranks", "Ranks N", (2, 8, 64, 512), 64, between="whole"),
        Steps("latency", "Latency", (1.0, 5.0, 50.0), 5.0, "µs", between="log"),
        Steps("bandwidth", "Bandwidth of a rank", (1.0, 50.0, 300.0), 300.0, "GB/s", between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 310), (345, 310)),
)
