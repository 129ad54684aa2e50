"""What each stage keeps on one rank, against the memory of its card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from explorables import Choice, Explorer, Number, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.sharded import memory_by_stage

STAGES = (0, 1, 2, 3)
NAMES = ("0: DDP", "1", "2", "3: FSDP")
PARTS = ("parameters", "gradients", "optimizer", "activations", "gathered")
COLORS = (palette.KEPT, palette.BACKWARD, palette.MUTED, palette.FORWARD, palette.INK)
LEGEND = ((0.02, 4.85), (0.92, 4.85), (1.72, 4.85), (0.02, 4.3), (0.92, 4.3))
RANKS = np.geomspace(2, 1024, 10).round().astype(int)
END = 2.0  # bars longer than two cards are cut off
ACTIVATION_BYTES = 34  # of a token, times layers and width; attention scores are left out


@dataclass(frozen=True)
class Stages:
    """Bytes of one rank by stage and part; the largest models by stage and number of ranks."""

    num_params: float
    ranks: int
    stage: int
    card: float
    parts: NDArray[Any]
    totals: NDArray[Any]
    largest: NDArray[Any]  # at RANKS
    here: float


def _shape(num_params: float) -> tuple[int, int]:
    """Layers and width of a transformer: 12 L h² parameters, with h = 128 L."""
    layers = max(round((num_params / (12 * 128**2)) ** (1 / 3)), 1)
    return layers, 128 * layers


def _largest(card: float, ranks: int, stage: int) -> float:
    return card / memory_by_stage(1, ranks=ranks, stage=stage).total


def _compute(params: float, ranks: int, stage: int, card: float, tokens: float) -> Stages:
    num_params, layers = params * 1e9, _shape(params * 1e9)
    activations = ACTIVATION_BYTES * tokens * layers[0] * layers[1]
    # two units of a layer each, and their gradients, two bytes a number
    gathered = 4 * 2 * num_params / layers[0]
    rows = []
    for s in STAGES:
        kept = memory_by_stage(num_params, ranks=int(ranks), stage=s)
        extra = [activations, gathered if s == 3 else 0.0]
        rows.append([kept.weights, kept.gradients, kept.optimizer, *extra])
    largest = [[_largest(card * 1e9, n, s) for n in RANKS.tolist()] for s in STAGES]
    parts = np.array(rows)
    return Stages(
        num_params, int(ranks), stage, card * 1e9, parts, parts.sum(axis=1), np.array(largest),
        _largest(card * 1e9, int(ranks), stage),
    )  # fmt: skip


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Memory of one rank")
    ax.set(xlim=(0, 2.62), ylim=(-0.6, 5.2), xticks=[0, 0.5, 1, 1.5, 2])
    ax.set_yticks([3, 2, 1, 0], NAMES)
    ax.grid(visible=False)
    ax.set_xlabel("in cards")
    ax.plot([1, 1], [-0.6, 3.8], color=palette.WRONG, lw=2, ls="--", zorder=4)
    ax.set_ylabel("stage")
    ax.text(1.04, 3.55, "card full", color=palette.WRONG, fontweight="bold")
    for (x, y), name, color in zip(LEGEND, PARTS, COLORS, strict=True):
        ax.add_patch(Rectangle((x, y), 0.07, 0.28, facecolor=color))
        ax.text(x + 0.11, y + 0.02, name)
    frame = Rectangle((0, 0), 2.6, 0.84, facecolor=palette.SHADE, edgecolor="none", zorder=0)
    ax.add_patch(frame)
    bars = [
        [
            ax.add_patch(
                Rectangle((0, y - 0.29), 0, 0.58, facecolor=color, edgecolor=palette.PAPER, lw=0.8)
            )
            for color in COLORS
        ]
        for y in (3, 2, 1, 0)
    ]
    totals = [ax.text(2.05, y - 0.12, "", fontweight="bold") for y in (3, 2, 1, 0)]

    ax = right.subplots()
    panel_label(ax, "Largest model by ranks")
    log_axis(ax, "x", 1.7, 6000)
    ax.set_xticks([2, 8, 64, 512], ["2", "8", "64", "512"])
    log_axis(ax, "y", 1e9, 3e13)
    ax.set(xlabel="ranks", ylabel="parameters")
    wanted = ax.axhline(1e9, color=palette.MUTED, lw=1.4, ls=(0, (2, 2)))
    lines = [ax.plot([], [], color=palette.MUTED, lw=1.6)[0] for _ in STAGES]
    labels = [ax.text(1250, 1e9, f"stage {s}", va="center", color=palette.INK) for s in STAGES]
    (chosen,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=3)
    (here,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)
    return {
        "frame": frame, "bars": bars, "totals": totals, "wanted": wanted,
        "lines": lines, "labels": labels, "chosen": chosen,
        "here": here,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Stages) -> None:
    artists["frame"].set_y(3 - data.stage - 0.42)
    for stage in STAGES:
        ends = np.minimum(np.cumsum(data.parts[stage]) / data.card, END)
        starts = np.concatenate([[0.0], ends[:-1]])
        for bar, x, end in zip(artists["bars"][stage], starts, ends, strict=True):
            bar.set_x(x)
            bar.set_width(end - x)
        total = artists["totals"][stage]
        total.set_text(f"{format_number(data.totals[stage] / 1e9)} GB")
        total.set_color(palette.WRONG if data.totals[stage] > data.card else palette.INK)
        artists["lines"][stage].set_data(RANKS, data.largest[stage])
        artists["labels"][stage].set_y(data.largest[stage, -1])
    artists["wanted"].set_ydata([data.num_params, data.num_params])
    artists["chosen"].set_data(RANKS, data.largest[data.stage])
    artists["here"].set_data([data.ranks], [data.here])


def _readout(data: Stages) -> Readout:
    fits = [str(s) for s in STAGES if data.totals[s] <= data.card]
    who = "No stage fits"
    if fits:
        who = f"Stages {', '.join(fits)} fit" if len(fits) > 1 else f"Only stage {fits[0]} fits"
    mine = data.totals[data.stage] / 1e9
    held = dict(zip(PARTS, (data.parts[data.stage] / 1e9).tolist(), strict=True))
    return Readout(
        {
            "Parameters kept": Quantity(held["parameters"], "GB"),
            "Gradients": Quantity(held["gradients"], "GB"),
            "Optimizer state": Quantity(held["optimizer"], "GB"),
            "Activations": Quantity(held["activations"], "GB"),
            "Units gathered": Quantity(held["gathered"], "GB"),
            "Largest model": Quantity(data.here / 1e9, "billion"),
        },
        f"Training {format_number(data.num_params / 1e9)} billion parameters on {data.ranks} ranks "
        f"in stage {data.stage} takes {format_number(mine)} GB on each card of "
        f"{format_number(data.card / 1e9)} GB. {who}. Activations and gathered units aside, the "
        f"largest model for these cards has {format_number(data.here / 1e9)} billion parameters.",
    )


memory = Explorer(
    name="sharded.memory",
    title="What one rank keeps, by stage",
    caption="Left: memory of one rank, in units of its card, for mixed precision with Adam (the "
    "optimizer's state includes master weights). Bars are cut off at two cards; their totals stand "
    "beside them. Gathered are, in stage 3, up to two units with their gradients, a unit being a "
    "layer. The model is a transformer whose width is 128 times its depth; 2,048 tokens a rank, "
    "each with 34 · depth · width bytes of activations. Right: the largest model "
    "whose parameters, gradients and optimizer state alone fill the card; the chosen stage in "
    "color, the chosen size dotted.",
    controls=(
        Steps("params", "Parameters", (1.5, 7.0, 13.0, 70.0), 7.0, "billion", between="log"),
        Steps("ranks", "Ranks", (8, 64, 512), 8, between="whole"),
        Choice(
            "stage",
            "Stage",
            dict(
                zip(
                    STAGES,
                    (
                        "0: replicas (DDP)",
                        "1: optimizer sharded",
                        "2: and gradients",
                        "3: and parameters (FSDP)",
                    ),
                    strict=True,
                )
            ),
            3,
        ),
        Steps("card", "Memory of a card", (24.0, 80.0, 192.0), 80.0, "GB", between="log"),
        Number("tokens", "Tokens per rank", 2048, 0, 65_536),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 290), (345, 290)),
)
