"""The timeline of a pipeline: stages, micro-batches, the bubble, and what is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import boxes, panel_label
from trainlab.explorers import palette
from trainlab.pipeline import PipelineRun, pipeline_run

Array = NDArray[Any]

STAGES, MICROBATCHES = (2, 4, 8), (1, 2, 4, 8, 16, 32)
SCHEDULES: dict[str | int | float, str] = {
    "gpipe": "GPipe: all forward first",
    "1f1b": "1F1B: one forward, one backward",
}
LOADS: dict[str | int | float, str] = {
    "even": "all stages take equally long",
    "last": "the last stage takes twice as long",
}


@dataclass(frozen=True)
class Data:
    """A run in which a batch takes each (even) stage three units of time, however it is cut."""

    stages: int
    microbatches: int
    schedule: str
    run: PipelineRun
    held: Array  # share of the batch's activations, by stage
    ideal: float


def _compute(stages: int, microbatches: int, schedule: str, load: str) -> Data:
    slow = np.ones(stages)
    slow[-1] = 2.0 if load == "last" else 1.0
    each = slow / microbatches
    run = pipeline_run(stages, microbatches, schedule=schedule, forward=each, backward=2 * each)
    ideal = 3.0 * float(slow.mean())
    return Data(stages, microbatches, schedule, run, run.held / microbatches, ideal)


def _boxes(x: Array, y: Array, width: Array, height: float) -> Path:
    edges = (np.round(edge, 4) for edge in (x, x + width, y, y + height))
    return boxes(*edges)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "What the stages do: blank is idle")
    ax.set(xlim=(0, 100), ylim=(0, 1.13), xlabel="time, % of the step")
    ax.grid(False)
    ax.text(0, 1.06, "■ forward", color=palette.FORWARD, weight="bold")
    ax.text(28, 1.06, "■ backward", color=palette.BACKWARD, weight="bold")
    empty = Path(np.zeros((1, 2)))
    forward = PathPatch(empty, fc=palette.FORWARD, ec=palette.PAPER, lw=0.6)
    backward = PathPatch(empty, fc=palette.BACKWARD, ec=palette.PAPER, lw=0.6)
    for patch in (forward, backward):
        ax.add_patch(patch)
    bars = right.subplots()
    panel_label(bars, "Activations held at most")
    bars.set(xlim=(0, 108), ylim=(0, 1.13), xlabel="% of those of the batch")
    bars.set_xticks([0, 25, 50, 75, 100])
    held = PathPatch(empty, fc=palette.FORWARD, ec=palette.PAPER, lw=0.6)
    bars.add_patch(held)
    bars.text(0, 1.06, "by stage", color=palette.MUTED)
    for axes in (ax, bars):  # between the rows of the smallest and the largest number of stages
        axes.set_yticks([0.06, 0.91], ["last", "first"])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_ylabel("stage")
    return {"forward": forward, "backward": backward, "held": held}


def _update(artists: dict[str, Any], data: Data) -> None:
    run, height = data.run, 1 / data.stages
    x, width = 100 * run.start / run.total, 100 * (run.end - run.start) / run.total
    y = 1 - (run.stage + 1) * height
    for name, chosen in (("forward", ~run.backward), ("backward", run.backward)):
        artists[name].set_linewidth(0.6 if data.microbatches <= 8 else 0.2)
        artists[name].set_path(_boxes(x[chosen], y[chosen] + 0.01, width[chosen], height - 0.02))
    stage = np.arange(data.stages)
    y = 1 - (stage + 1) * height + 0.01
    artists["held"].set_path(_boxes(np.zeros(data.stages), y, 100 * data.held, height - 0.02))


def _readout(data: Data) -> Readout:
    bubble = round(100 * data.run.bubble, 9)
    longer = data.run.total / data.ideal
    name = {"gpipe": "GPipe", "1f1b": "1F1B"}[data.schedule]
    many = "micro-batches" if data.microbatches > 1 else "micro-batch"
    return Readout(
        {
            "Bubble": Quantity(bubble, "%"),
            "Step takes": Quantity(longer, "×"),
            "Share of the batch that the first stage holds": Quantity(
                100 * float(data.held[0]), "%"
            ),
            "Micro-batches that the first stage holds": Quantity(float(data.run.held[0])),
        },
        f"{name} with {data.stages} stages and {data.microbatches} {many}: the stages are idle "
        f"{format_number(bubble, 3)} % of the time, so the step takes "
        f"{format_number(longer, 3)} times as long as without a bubble; the first stage holds the "
        f"activations of {data.run.held[0]} of {data.microbatches}.",
    )


pipeline = Explorer(
    name="beyond.pipeline",
    title="The bubble of a pipeline",
    caption="A row is a stage, the first on top; a box is one pass of one micro-batch, and a "
    "backward pass takes twice as long as a forward pass. The batch is the same for all numbers of "
    "micro-batches. Right: the most that a stage holds at once of the batch's activations in its "
    "layers.",
    controls=(
        Steps("stages", "Stages p", STAGES, 4),
        Steps("microbatches", "Micro-batches m", MICROBATCHES, 8),
        Choice("schedule", "Schedule", SCHEDULES, "1f1b"),
        Choice("load", "Load", LOADS, "even"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 280), (345, 280)),
)
