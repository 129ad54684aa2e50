"""One training step as a timeline: the backward pass, and the all-reduces that it hides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, Toggle, format_number
from explorables.style import boxes, log_axis, panel_label
from trainlab.communication_time import Timeline, overlapped_step
from trainlab.data_parallel import MIB, gradient_buckets
from trainlab.explorers import palette

Array = NDArray[Any]

LAYERS, WIDTH = 100, 1_000_000  # layers of a million parameters, in FP32: 400 MB of gradients
FORWARD, BACKWARD, LATENCY = 0.030, 0.060, 5e-6  # seconds
RANKS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
END = 260  # ms, the right edge of the timeline


@dataclass(frozen=True)
class Step:
    """The timeline in ms, and the efficiency by ranks with and without overlap."""

    ranks: int
    bucket: float
    overlap: bool
    buckets: int
    first_ready: float
    start: Array
    end: Array
    total: float
    exposed: float
    efficiency: float
    by_ranks: Array
    waiting: Array


@lru_cache(maxsize=16)
def _buckets(bucket: float) -> tuple[float, ...]:
    layer = np.broadcast_to(np.float32(0), WIDTH)
    groups = gradient_buckets([layer] * LAYERS, bucket_bytes=bucket * MIB)
    return tuple(float(len(group) * layer.nbytes) for group in groups)


def _timeline(bucket: float, ranks: int, bandwidth: float, overlap: bool) -> Timeline:
    return overlapped_step(
        _buckets(bucket),
        forward=FORWARD,
        backward=BACKWARD,
        ranks=ranks,
        latency=LATENCY,
        bandwidth=1e9 * bandwidth,
        overlap=overlap,
    )


@lru_cache(maxsize=64)
def _efficiency(bucket: float, bandwidth: float, overlap: bool) -> Array:
    return np.array([_timeline(bucket, n, bandwidth, overlap).efficiency for n in RANKS])


def _compute(bucket: float, ranks: int, bandwidth: float, overlap: bool) -> Step:
    ranks = int(ranks)
    line = _timeline(bucket, ranks, bandwidth, overlap)
    return Step(
        ranks,
        bucket,
        overlap,
        len(line.start),
        1e3 * float(line.ready[0]),
        1e3 * line.start,
        1e3 * line.end,
        1e3 * line.total,
        1e3 * (line.total - FORWARD - BACKWARD),
        100 * line.efficiency,
        100 * _efficiency(bucket, bandwidth, True),
        100 * _efficiency(bucket, bandwidth, False),
    )


def _bars(start: Array, end: Array, low: float, high: float) -> Path:
    """One path of bars, cut off at the edge of the picture."""
    seen = start < END
    return boxes(start[seen], np.minimum(end[seen], END), low, high)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "One step of one rank")
    ax.set(xlim=(0, END), ylim=(-0.55, 3.35), xlabel="ms", yticks=[])
    ax.set_xticks([0, 30, 90, 150, 200, 250])
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.fill([0, 30, 30, 0], [2.1, 2.1, 2.7, 2.7], color=palette.FORWARD)
    ax.fill([30, 90, 90, 30], [2.1, 2.1, 2.7, 2.7], color=palette.BACKWARD)
    ax.text(1, 2.82, "forward", color=palette.FORWARD, fontweight="bold")
    ax.text(62, 2.82, "backward", color=palette.BACKWARD, fontweight="bold")
    ax.text(1, 1.62, "all-reduces", color=palette.TRAIN, fontweight="bold")
    none = Path(np.zeros((1, 2)), [Path.MOVETO])
    sends = PathPatch(none, facecolor=palette.TRAIN, edgecolor=palette.PAPER, lw=0.8)
    bare = PathPatch(none, facecolor=palette.WRONG)
    ax.add_patch(sends)
    ax.add_patch(bare)
    (edge,) = ax.plot([], [], color=palette.MUTED, lw=1.2, ls=":")
    wait = ax.text(0, 0.02, "", color=palette.WRONG, fontweight="bold")
    more = ax.text(END, 1.62, "", color=palette.TRAIN, ha="right")
    edge.set_data([90, 90], [-0.2, 2.75])

    ax = right.subplots()
    panel_label(ax, "Scaling efficiency")
    log_axis(ax, "x", RANKS[0] / 1.2, RANKS[-1] * 1.2)
    ax.set_xticks([2, 8, 64, 512], ["2", "8", "64", "512"])
    ax.set(ylim=(0, 108), xlabel="ranks", yticks=[0, 25, 50, 75, 100])
    ax.set_yticklabels(["0", "25 %", "50 %", "75 %", "100 %"])
    (waiting,) = ax.plot([], [], color=palette.MUTED, ls="--", marker=".", ms=6)
    (hidden,) = ax.plot([], [], color=palette.TRAIN, marker=".", ms=6)
    (here,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)
    ax.text(1.9, 13, "with overlap", color=palette.TRAIN, fontweight="bold")
    ax.text(1.9, 4, "without (dashed)", color=palette.MUTED)
    return {
        "sends": sends, "bare": bare, "wait": wait, "more": more, "edge": edge,
        "hidden": hidden, "waiting": waiting, "here": here,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Step) -> None:
    artists["sends"].set_path(_bars(data.start, data.end, 0.9, 1.5))
    done = 1e3 * (FORWARD + BACKWARD)
    artists["bare"].set_path(_bars(np.array([done]), np.array([data.total]), 0.4, 0.62))
    artists["wait"].set_text(f"waits {format_number(data.exposed, 3)} ms")
    artists["wait"].set_position((done + 3, 0.02))
    artists["more"].set_text(
        f"until {format_number(data.total, 3)} ms →" if data.total > END else ""
    )
    artists["hidden"].set_data(RANKS, data.by_ranks)
    artists["waiting"].set_data(RANKS, data.waiting)
    artists["here"].set_data([data.ranks], [data.efficiency])


def _readout(data: Step) -> Readout:
    how = "during the backward pass" if data.overlap else "after the backward pass"
    return Readout(
        {
            "Step": Quantity(data.total, "ms"),
            "Waits for messages": Quantity(data.exposed, "ms"),
            "Efficiency": Quantity(data.efficiency, "%"),
            "Speedup over one rank": Quantity(data.efficiency / 100 * data.ranks, "×"),
            "Buckets": data.buckets,
        },
        f"{data.buckets} bucket{'s' * (data.buckets > 1)}, sent {how} by {data.ranks} ranks: "
        f"a step takes {format_number(data.total, 3)} ms, of which "
        f"{format_number(data.exposed, 3)} ms are waiting; "
        f"{format_number(data.efficiency, 3)} % of the speed of {data.ranks} independent ranks.",
    )


overlap = Explorer(
    name="data_parallel.overlap",
    title="What the backward pass hides",
    caption="A network of 100 layers with a million parameters each, gradients in FP32 (400 MB), "
    "30 ms forward and 60 ms backward on each rank, a ring with 5 µs latency; a model, not a "
    "measurement. Left: when each bucket is sent; orange-red, where the rank only waits. Right: "
    "speed divided by that of as many ranks without messages, the batch of each rank fixed.",
    controls=(
        Toggle("overlap", "Send during the backward pass", True),
        Steps("bucket", "Size of a bucket", (1.0, 25.0, 100.0, 400.0), 25.0, "MiB", between="log"),
        Steps("ranks", "Ranks N", (2, 8, 64, 512), 8, between="whole"),
        Steps("bandwidth", "Bandwidth of a rank", (5.0, 20.0, 100.0), 20.0, "GB/s", between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 310), (345, 310)),
)
