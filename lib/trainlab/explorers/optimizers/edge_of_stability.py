"""Sharpness of a network along its training: it rises to what the learning rate allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.curvature import largest_stable_lr
from trainlab.explorers import palette
from trainlab.sweeps import stored_run
from trainlab.sweeps.edge_of_stability import EVERY, LOSS_EVERY, RATES, STEPS

TOP = 9.0  # of the axis; no run gets there
TRAININGS: dict[str | int | float, str] = {
    "squares": "squared error",
    "squares 0.5": "squared error, momentum 0.5",
    "squares 0.9": "squared error, momentum 0.9",
    "cross-entropy": "cross-entropy",
}


@dataclass(frozen=True)
class Run:
    """A stored training run, and the sharpness that its learning rate allows."""

    lr: float
    training: str
    sharpness: NDArray[Any]
    losses: NDArray[Any]
    rising: float
    limit: float
    others: list[NDArray[Any]]


def _stored(lr: float, training: str) -> Mapping[str, Any]:
    objective, _, momentum = training.partition(" ")
    return stored_run(
        "edge_of_stability", objective=objective, lr=lr, momentum=float(momentum or 0)
    )


def _compute(lr: float, training: str) -> Run:
    made = _stored(lr, training)
    return Run(
        lr,
        training,
        np.array(made["sharpness"]),
        np.array(made["losses"]),
        made["rising"],
        # Curvature and learning rate change places: which curvature does this rate allow?
        largest_stable_lr(lr, momentum=made["momentum"]),
        [np.array(_stored(rate, training)["sharpness"]) for rate in RATES],
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Sharpness (largest curvature)")
    ax.set(xlim=(0, STEPS), xlabel="step")
    ax.set(ylim=(0, TOP))
    # Not `axhspan`, which makes a polygon in older matplotlibs, that has no height to set.
    shade = ax.add_patch(Rectangle((0, 0), STEPS, 1, color=palette.SHADE))
    others = [ax.plot([], [], color=palette.MUTED, lw=0.9, alpha=0.7)[0] for _ in RATES]
    (limit,) = ax.plot([], [], "--", color=palette.THEORY, lw=1.8)
    (sharp,) = ax.plot([], [], "o-", color=palette.TRAIN, ms=3, lw=1.8)
    label = ax.text(STEPS * 0.98, 0.94 * TOP, "", ha="right", va="center")

    ax = right.subplots()
    panel_label(ax, "Training loss")
    ax.set(xlim=(0, STEPS), xlabel="step")
    log_axis(ax, "y", 1e-5, 3)
    (loss,) = ax.plot([], [], color=palette.TRAIN, lw=1.6)
    said = ax.text(STEPS * 0.98, 1.5, "", ha="right", va="center")
    return {
        "shade": shade, "limit": limit, "sharp": sharp, "label": label, "others": others,
        "loss": loss, "said": said,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Run) -> None:
    limit = data.limit
    artists["shade"].set(y=min(limit, TOP), height=max(TOP - limit, 0))
    artists["limit"].set_data([0, STEPS], [limit] * 2)
    steps = EVERY * np.arange(len(data.sharpness))
    artists["sharp"].set_data(steps, data.sharpness)
    for line, other in zip(artists["others"], data.others, strict=True):
        line.set_data(steps, other)
    above = " ↑" if limit > TOP else ""
    artists["label"].set_text(f"unstable above {format_number(limit)}{above}")
    artists["loss"].set_data(LOSS_EVERY * np.arange(len(data.losses)), data.losses)
    artists["said"].set_text(f"rises in {100 * data.rising:.0f} % of the late steps")


def _readout(data: Run) -> Readout:
    late = data.sharpness[len(data.sharpness) * 3 // 4 :]
    ratio = float(np.median(late) / data.limit)
    started = float(data.sharpness[0] / data.limit)
    rate, limit = format_number(data.lr), format_number(data.limit)
    end = format_number(float(np.median(late)))
    verb = "rises" if np.median(late) > data.sharpness[0] else "falls"
    said = (
        f"With a learning rate of {rate} and {TRAININGS[data.training]}, a sharpness up to "
        f"{limit} is stable. It {verb} from {format_number(data.sharpness[0])} to {end}"
    )
    if ratio > 0.97 and data.rising < 0.2:
        said += ", and has come up to the limit."
    elif ratio > 0.97:
        said += ", and stays at the limit while the loss goes on falling."
    elif ratio > 0.85:
        said += ", just below the limit."
    else:
        said += ", well below the limit."
    return Readout(
        {
            "Stable up to a sharpness of": data.limit,
            "Sharpness at the start / limit": started,
            "Late sharpness / limit": ratio,
            "Late steps in which the loss rises": Quantity(100 * data.rising, "%", 2),
            "Loss at the end": float(data.losses[-1]),
        },
        said,
    )


edge_of_stability = Explorer(
    name="optimizers.edge_of_stability",
    title="Edge of stability",
    caption="A tanh network learns 150 digits with full batches; stored runs of "
    f"{STEPS} steps. Left: the largest eigenvalue of the Hessian every {EVERY} steps, thin lines "
    "for the other learning rates; dashed, 2 (1 + momentum) / lr, beyond which a quadratic loss "
    f"diverges. Right: the loss every {LOSS_EVERY} steps. Late means the last quarter of the steps "
    "for the sharpness, the last half for the loss.",
    controls=(
        Steps("lr", "Learning rate", RATES, 0.5),
        Choice("training", "Trained with", TRAININGS, "squares"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
