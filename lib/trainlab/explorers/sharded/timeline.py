"""When a sharded step gathers, computes and scatters, beside a data-parallel one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, Toggle, format_number
from explorables.style import boxes, log_axis, panel_label
from trainlab.communication_time import Timeline, overlapped_step
from trainlab.explorers import palette
from trainlab.sharded_timeline import ShardedTimeline, sharded_timeline

PARAMETERS, RANKS, LATENCY = 7e9, 8, 5e-6
SPEED = 4e14  # operations per second of one card, as reached in training
LINKS = np.array([5, 10, 17, 25, 35, 50, 70, 100, 170, 300, 500.0])
# kind -> (bottom and height of its lane, color, place in the legend)
KINDS = {
    "forward": (3.25, 0.6, palette.FORWARD, (0.02, 5.35)),
    "backward": (3.25, 0.6, palette.BACKWARD, (0.33, 5.35)),
    "gather": (2.45, 0.6, palette.KEPT, (0.69, 5.35)),
    "reduce-scatter": (2.45, 0.3, palette.HIGHLIGHT, (0.02, 4.75)),
    "all-reduce": (0.1, 0.6, palette.MUTED, (0.52, 4.75)),
}


@dataclass(frozen=True)
class Course:
    """Both steps, and what share of them is computing by link speed."""

    units: int
    prefetch: bool
    link: float
    tokens: float
    computing: float
    sharded: ShardedTimeline
    replicated: Timeline
    efficiency: NDArray[Any]  # sharded and replicated, at LINKS


def _step(
    units: int, ahead: bool, link: float, tokens: float
) -> tuple[ShardedTimeline, Timeline, float]:
    sizes = np.full(units, 2 * PARAMETERS / units)
    forward = 2 * PARAMETERS * tokens / SPEED
    common: dict[str, Any] = {
        "forward": forward, "backward": 2 * forward, "ranks": RANKS, "latency": LATENCY,
        "bandwidth": link * 1e9,
    }  # fmt: skip
    sharded = sharded_timeline(sizes, **common, prefetch=int(ahead))
    return sharded, overlapped_step(sizes, **common), 3 * forward


@lru_cache(maxsize=128)
def _efficiency(units: int, ahead: bool, tokens: float) -> NDArray[Any]:
    steps = [_step(units, ahead, float(link), tokens) for link in LINKS]
    return np.array([[work / s.total, r.efficiency] for s, r, work in steps]).T


def _compute(units: int, prefetch: bool, link: float, tokens: float) -> Course:
    sharded, replicated, computing = _step(int(units), prefetch, link, tokens)
    efficiency = _efficiency(int(units), prefetch, tokens)
    return Course(int(units), prefetch, link, tokens, computing, sharded, replicated, efficiency)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "One step")
    ax.set(xlim=(0, 1.02), ylim=(-0.3, 5.85), xlabel="time, in sharded steps")
    ax.set_yticks([3.55, 2.75, 1.2, 0.4], ["compute", "link", "compute", "link"])
    ax.grid(visible=False)
    boxes = {}
    for name, (_, height, color, (x, y)) in KINDS.items():
        ax.add_patch(Rectangle((x, y), 0.03, 0.3 if height > 0.4 else 0.15, facecolor=color))
        ax.text(x + 0.045, y, name)
        patch = PathPatch(Path([(0, 0), (0, 0)]), facecolor=color, edgecolor=palette.PAPER, lw=0.5)
        boxes[name] = ax.add_patch(patch)
    for name in ("forward", "backward"):  # of the data-parallel step
        patch = PathPatch(Path([(0, 0), (0, 0)]), facecolor=KINDS[name][2])
        patch.set(edgecolor=palette.PAPER, lw=0.5)
        boxes[f"{name} below"] = ax.add_patch(patch)
    texts = [ax.text(0.01, y, "", fontweight="bold") for y in (3.98, 1.66)]

    ax = right.subplots()
    panel_label(ax, "Share of the step that computes")
    log_axis(ax, "x", 4, 620)
    ax.set_xticks([5, 10, 50, 100, 500], ["5", "10", "50", "100", "500"])
    ax.set(ylim=(0, 1.05), xlabel="link, GB/s", yticks=[0, 0.25, 0.5, 0.75, 1])
    ax.set_yticklabels(["0", "25 %", "50 %", "75 %", "100 %"])
    (ddp,) = ax.plot([], [], color=palette.MUTED, lw=2, ls="--", label="DDP")
    (fsdp,) = ax.plot([], [], color=palette.INK, lw=2.4, label="sharded")
    ax.legend(loc="lower right", handlelength=2.2)
    (here,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)
    return {"boxes": boxes, "texts": texts, "ddp": ddp, "fsdp": fsdp, "here": here}


def _update(artists: dict[str, Any], data: Course) -> None:
    sharded, total = data.sharded, data.sharded.total
    forward = data.computing / 3
    ddp = data.replicated
    shown = {
        "forward": sharded.compute[: data.units],
        "backward": sharded.compute[data.units :],
        "gather": sharded.gather,
        "reduce-scatter": sharded.scatter,
        "all-reduce": np.stack([ddp.start, ddp.end], axis=1),
    }
    for name, times in shown.items():
        bottom, height = KINDS[name][:2]
        left, right = (times / total).T
        artists["boxes"][name].set_path(boxes(left, right, bottom, bottom + height))
        # No gaps between boxes that are hardly wider than a gap.
        artists["boxes"][name].set_linewidth(0.5 if np.ptp(times[0]) > 0.01 * total else 0.0)
    for name, start, end in (("forward", 0.0, forward), ("backward", forward, data.computing)):
        edges = np.linspace(start, end, data.units + 1) / total
        artists["boxes"][f"{name} below"].set_path(boxes(edges[:-1], edges[1:], 0.9, 1.5))
        artists["boxes"][f"{name} below"].set_linewidth(0.5 if edges[1] - edges[0] > 0.01 else 0.0)
    artists["texts"][0].set_text(f"sharded: {format_number(total)} s")
    artists["texts"][1].set_text(f"DDP: {format_number(ddp.total)} s")
    artists["fsdp"].set_data(LINKS, data.efficiency[0])
    artists["ddp"].set_data(LINKS, data.efficiency[1])
    artists["here"].set_data([data.link], [data.computing / total])


def _readout(data: Course) -> Readout:
    total, ddp = data.sharded.total, data.replicated.total
    waiting = round(100 * data.sharded.waiting / total, 6)
    units = "one unit" if data.units == 1 else f"{data.units} units"
    how = "with" if data.prefetch else "without"
    return Readout(
        {
            "Step, sharded": Quantity(total, "s"),
            "Step, DDP": Quantity(ddp, "s"),
            "Compute alone": Quantity(data.computing, "s"),
            "Waiting, sharded": Quantity(waiting, "%"),
            "Gathered, and whole gradients": Quantity(data.sharded.peak / 1e9, "GB"),
            "Sharded to DDP": Quantity(total / ddp, "×"),
        },
        f"Cut into {units}, {how} prefetch, over {format_number(data.link)} GB/s, the sharded step "
        f"takes {format_number(total)} s, {format_number(waiting)} % of it waiting, and holds up "
        f"to {format_number(data.sharded.peak / 1e9)} GB beside its shards; DDP would take "
        f"{format_number(ddp)} s for the same batch.",
    )


timeline = Explorer(
    name="sharded.timeline",
    title="A sharded step and a data-parallel one in time",
    caption="7 billion parameters in BF16 on 8 cards, each reaching 4·10¹⁴ operations a second; "
    "latency 5 µs. Left: what the card computes and what its link sends, above with sharding, "
    "below with replicas; gradients are all-reduced in as many buckets as there are units. Right: "
    "time of the computation divided by that of the step, by link speed. The replicas need 112 GB: "
    "their time is shown as if they fitted.",
    controls=(
        Steps("units", "Units", (1, 4, 8, 16), 8, between="whole"),
        Toggle("prefetch", "Prefetch the next unit", True),
        Steps("link", "Link", (10.0, 25.0, 50.0, 300.0), 50.0, "GB/s", between="log"),
        Steps("tokens", "Tokens per rank", (2048, 8192, 32768), 8192, between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 300), (345, 300)),
)
