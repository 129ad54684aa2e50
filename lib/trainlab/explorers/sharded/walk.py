"""One sharded step, event by event: what each rank holds, and what has been sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.activations import relu
from trainlab.classification import cross_entropy
from trainlab.collectives import bytes_sent
from trainlab.data_parallel import split_batch
from trainlab.datasets import digits
from trainlab.explorers import palette
from trainlab.layers import linear
from trainlab.mlp import mlp_init
from trainlab.optimizers import sgd_init, sgd_update
from trainlab.sharded import Event, sharded_init, sharded_step, traffic_by_stage

SIZES = (64, 32, 32, 10)
UNITS, RANKS, LAST = 3, 4, 22  # a step of stage 3 has 22 events
WORDS = {
    "gather": "gather {}",
    "forward": "forward {}",
    "backward": "backward {}",
    "free": "free {}",
    "reduce-scatter": "reduce-scatter {}",
    "update": "update",
}


@dataclass(frozen=True)
class Walk:
    """State after some of the events of a step."""

    stage: int
    number: int  # events so far
    done: bool
    kind: str
    unit: int
    parameters: NDArray[Any]  # (unit, rank, shard): 1 held
    gradients: NDArray[Any]  # 1: the rank's own, still to be added up; 2: the sum of all
    held: NDArray[Any]  # bytes on one rank, before the step and after each event
    sent: float
    replicated: float  # what data-parallel training sends in a step
    peak: float


def _apply(params: Any, x: Any, unit: int) -> Any:
    z = linear(x, params["weight"], bias=params["bias"])
    return z if unit == UNITS - 1 else relu(z)


@lru_cache(maxsize=4)
def _events(stage: int) -> tuple[float, tuple[Event, ...]]:
    """Bytes of one rank before the step, and its events."""
    units = mlp_init(SIZES, rng=np.random.default_rng(0))
    x, y = digits(part="train")
    model = sharded_init(units, ranks=RANKS, init=sgd_init)
    step = sharded_step(
        model, split_batch((x[:16], y[:16]), ranks=RANKS), units=units, apply=_apply,
        loss=cross_entropy, update=partial(sgd_update, lr=0.1), stage=stage,
    )  # fmt: skip
    return float(sum(shard[0].nbytes for shard in model.shards)), tuple(step.events)


def _compute(stage: int, event: int) -> Walk:
    before, events = _events(stage)
    number = min(int(event), len(events))
    parameters = np.tile(np.eye(RANKS), (UNITS, 1, 1))
    gradients = np.zeros((UNITS, RANKS, RANKS))
    sent = 0.0
    for e in events[:number]:
        if e.kind == "gather":
            parameters[e.unit] = 1
        elif e.kind == "free":
            parameters[e.unit] = np.eye(RANKS)
        elif e.kind == "backward":
            gradients[e.unit] = 1
        elif e.kind == "reduce-scatter":
            gradients[e.unit] = 2 * np.eye(RANKS)
        if e.messages is not None:
            sent += float(bytes_sent(e.messages, ranks=RANKS)[0])
    held = np.array([before, *(e.held for e in events)])
    latest = events[number - 1] if number else Event("", -1, None, 0)
    replicated = traffic_by_stage(before * RANKS, ranks=RANKS, stage=0)
    return Walk(
        stage, number, number == len(events), latest.kind, latest.unit, parameters, gradients,
        held, sent, replicated, float(held[: number + 1].max()),
    )  # fmt: skip


def _cells(ax: Any, top: float) -> list[list[list[Rectangle]]]:
    """Place the shards of each unit (across) on each rank (down), with empty frames."""
    cells = []
    for unit in range(UNITS):
        rows = []
        for rank in range(RANKS):
            x, y = 1.15 * unit, -(rank + top)
            ax.add_patch(Rectangle((x, y), 1, 0.36, facecolor="none", edgecolor=palette.GRID, lw=1))
            row = [Rectangle((x + s / RANKS, y), 1 / RANKS, 0.36) for s in range(RANKS)]
            for shard in row:
                shard.set_edgecolor(palette.PAPER)
                shard.set_linewidth(1)
                ax.add_patch(shard)
            rows.append(row)
        cells.append(rows)
    return cells


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "What each rank holds")
    ax.set(xlim=(-0.85, 3.4), ylim=(-4.15, 0.72))
    ax.set_axis_off()
    frame = Rectangle((-0.07, -4.0), 1.14, 3.94, facecolor="none", edgecolor=palette.HIGHLIGHT)
    frame.set_linewidth(2)
    ax.add_patch(frame)
    for unit in range(UNITS):
        ax.text(1.15 * unit + 0.5, 0.1, f"unit {unit + 1}", ha="center", fontweight="bold")
    for rank in range(RANKS):
        ax.text(-0.82, -rank - 0.55, f"rank {rank}", fontweight="bold")
    parameters, gradients = _cells(ax, 0.5), _cells(ax, 0.9)
    now = ax.text(-0.82, 0.5, "", color=palette.HIGHLIGHT, fontweight="bold")

    ax = right.subplots()
    panel_label(ax, "Held by one rank, kB")
    ax.set(xlim=(-0.8, LAST + 0.8), ylim=(0, 64), xlabel="events of the step")
    whole = 2 * _events(3)[0] * RANKS / 1e3
    ax.axhline(whole, color=palette.WRONG, lw=1.6, ls="--")
    ax.text(0, whole + 1.5, "DDP: all parameters and gradients", color=palette.WRONG)
    (course,) = ax.plot([], [], color=palette.MUTED, lw=1.6, drawstyle="steps-post")
    (so_far,) = ax.plot([], [], color=palette.INK, lw=2.6, drawstyle="steps-post")
    (here,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)
    return {
        "frame": frame, "parameters": parameters, "gradients": gradients, "now": now,
        "course": course, "so_far": so_far, "here": here,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Walk) -> None:
    for unit in range(UNITS):
        for rank in range(RANKS):
            for shard in range(RANKS):
                cell = artists["parameters"][unit][rank][shard]
                cell.set_visible(bool(data.parameters[unit, rank, shard]))
                cell.set_facecolor(palette.TRAIN)
                cell.set_alpha(1.0 if rank == shard else 0.4)
                cell = artists["gradients"][unit][rank][shard]
                value = data.gradients[unit, rank, shard]
                cell.set_visible(bool(value))
                cell.set_facecolor(palette.BACKWARD)
                cell.set_alpha(1.0 if value == 2 else 0.45)
    artists["frame"].set_visible(data.unit >= 0)
    artists["frame"].set_x(1.15 * max(data.unit, 0) - 0.07)
    artists["now"].set_text(_words(data))
    held = data.held / 1e3
    artists["course"].set_data(np.arange(len(held)), held)
    artists["so_far"].set_data(np.arange(data.number + 1), held[: data.number + 1])
    artists["here"].set_data([data.number], [held[data.number]])


def _words(data: Walk) -> str:
    if not data.number:
        return "before the step"
    return WORDS[data.kind].format(f"unit {data.unit + 1}")


def _readout(data: Walk) -> Readout:
    now, start = data.held[data.number] / 1e3, data.held[0] / 1e3
    ratio = data.sent / data.replicated
    end = " The step is over." if data.done else ""
    return Readout(
        {
            "Event": data.number,
            "Held by a rank": Quantity(now, "kB"),
            "Most so far": Quantity(data.peak / 1e3, "kB"),
            "Sent by a rank": Quantity(data.sent / 1e3, "kB"),
            "Of DDP's traffic": Quantity(ratio, "×"),
        },
        f"Stage {data.stage}, {_words(data)}: a rank holds {format_number(now)} kB of parameters "
        f"and gradients, where its shard of the parameters alone is {format_number(start)} kB, and "
        f"has sent {format_number(ratio)} times what data-parallel training sends in a step.{end}",
    )


walk = Explorer(
    name="sharded.walk",
    title="One sharded step, event by event",
    caption="A network with the layers 64-32-32-10, one unit a layer, on 4 ranks, float64. Left: "
    "the four shards of each unit, parameters above (blue), gradients below (purple). In full "
    "color is what a rank keeps: its own shard of the parameters, and its shard of the sum of all "
    "gradients. Faint is what it holds for a while: gathered parameters, and the gradient of its "
    "own examples. Right: bytes of parameters and gradients on one rank after each event. Steps of "
    "stages 1 and 2 have 13 events; optimizer states are not shown.",
    controls=(
        Steps("event", "Event", tuple(range(LAST + 1)), 19),
        Choice(
            "stage",
            "Stage",
            {1: "1: optimizer sharded", 2: "2: and gradients", 3: "3: and parameters (FSDP)"},
            3,
        ),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 300), (345, 300)),
)
