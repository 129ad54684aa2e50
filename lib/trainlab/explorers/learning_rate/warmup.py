"""A warm-up that is slow enough lowers the curvature; a faster one diverges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.curvature import largest_stable_lr
from trainlab.explorers import palette
from trainlab.learning_rate import constant
from trainlab.learning_rate import warmup as warmup_schedule
from trainlab.sweeps import stored_run
from trainlab.sweeps.learning_rate_warmup import EVERY, RATES, SEEDS, STEPS, WARMUPS

SWEEP = "learning_rate_warmup"
TOP = 16.0  # of the curvature axis


@dataclass(frozen=True)
class Survival:
    """Curvature of the first network, what the learning rate allows, and who survives."""

    lr: float
    warmup: int
    sharpness: NDArray[Any]
    limit: NDArray[Any]  # largest curvature that is stable, at each step
    steps: int  # until the first network stopped
    diverged: NDArray[Any]  # networks, by length of the warm-up


def _compute(lr: float, warmup: int) -> Survival:
    made = stored_run(SWEEP, lr=lr, warmup_steps=warmup)
    schedule = partial(constant, lr=lr)
    rates = warmup_schedule(np.arange(1, STEPS), schedule=schedule, warmup_steps=warmup)
    return Survival(
        lr,
        warmup,
        np.array(made["sharpness"]),
        largest_stable_lr(rates),  # 2 / lr, read the other way round
        made["steps"],
        np.array([stored_run(SWEEP, lr=lr, warmup_steps=w)["diverged"] for w in WARMUPS]),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Largest curvature")
    ax.set_xlim(0, STEPS)
    ax.set_ylim(0, TOP)
    ax.set_xlabel("optimizer step")
    (limit,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.8, ls="--")
    (curve,) = ax.plot([], [], "o-", color=palette.BACKWARD, ms=4)
    (end,) = ax.plot([], [], "X", color=palette.WRONG, ms=12)
    labels = (
        ax.text(STEPS - 3, 1, "limit 2 / lr", color=palette.HIGHLIGHT, ha="right", va="top"),
        ax.text(0, 0, "diverged", color=palette.WRONG, fontweight="bold", va="center"),
    )

    ax = right.subplots()
    panel_label(ax, f"Networks of {len(SEEDS)} that diverge")
    ax.set_xlim(-0.6, len(WARMUPS) - 0.4)
    ax.set_ylim(0, len(SEEDS) + 0.4)
    ax.set_xticks(range(len(WARMUPS)), [str(w) for w in WARMUPS])
    ax.set_xlabel("warm-up steps")
    stems = [ax.plot([], [], color=palette.WRONG, lw=14, solid_capstyle="butt")[0] for _ in WARMUPS]
    (chosen,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=10, clip_on=False)
    return {
        "limit": limit, "curve": curve, "end": end, "labels": labels, "stems": stems,
        "chosen": chosen,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Survival) -> None:
    steps = np.arange(1, STEPS)
    artists["limit"].set_data(steps, data.limit)
    places = np.arange(len(data.sharpness)) * EVERY
    artists["curve"].set_data(places, data.sharpness)
    label, gone = artists["labels"]
    label.set_y(float(data.limit[-1]) - 0.2)
    stopped = data.steps < STEPS
    height = min(float(data.sharpness[-1]), TOP - 1)
    artists["end"].set_data([data.steps] if stopped else [], [height] if stopped else [])
    gone.set_text("diverged" if stopped else "")
    gone.set_position((data.steps + 10, height))
    for stem, place, count in zip(
        artists["stems"], range(len(WARMUPS)), data.diverged, strict=True
    ):
        stem.set_data([place, place], [0, count])
    index = WARMUPS.index(data.warmup)
    artists["chosen"].set_data([index], [data.diverged[index]])


def _readout(data: Survival) -> Readout:
    count = int(data.diverged[WARMUPS.index(data.warmup)])
    start, stopped = float(data.sharpness[0]), data.steps < STEPS
    rise = f"a warm-up of {data.warmup} steps" if data.warmup else "no warm-up"
    return Readout(
        {
            "Curvature at the start": start,
            "Full learning rate allows": 2 / data.lr,
            "Curvature when last measured": float(data.sharpness[-1]),
            "First network trains for": Quantity(data.steps, "steps"),
            "Networks that diverge": count,
        },
        f"With {rise} to a learning rate of {data.lr:g}, {count} of {len(SEEDS)} networks diverge; "
        f"the first starts with a curvature of {format_number(start)}, where {data.lr:g} allows "
        f"{format_number(2 / data.lr)}, and "
        + (
            f"is lost after {data.steps} steps."
            if stopped
            else f"ends with {format_number(float(data.sharpness[-1]))}."
        ),
    )


warmup = Explorer(
    name="learning_rate.warmup",
    title="Warm-up slow enough to lower the curvature",
    caption="A tanh network with two hidden layers of 32 units learns 300 digits in steps of "
    "150, with half the summed squares as its loss. Left: the largest curvature of the first "
    "network, and the curvature up to which the learning rate of that step is stable. "
    "Right: how many of five networks end above the loss they started from, for each warm-up; the "
    "dot is the chosen one.",
    controls=(
        Steps("lr", "Learning rate after warm-up", RATES, 1.2),
        Steps("warmup", "Warm-up", WARMUPS, 200, unit="steps"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
