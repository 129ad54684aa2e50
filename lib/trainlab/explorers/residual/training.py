"""What depth does to training: plain and residual networks on the digits, from a stored sweep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.sweeps import stored_run
from trainlab.sweeps.residual_depth import DEPTHS, RATES, best_run

Array = NDArray[Any]

KINDS: dict[str | int | float, str] = {
    "plain": "plain",
    "scaled": "residual, scaled",
    "post": "Post-LN",
    "pre": "Pre-LN",
}
SPOKEN = {
    "plain": "Plain network",
    "scaled": "Residual network, scaled branches",
    "post": "Post-LN",
    "pre": "Pre-LN",
}
LABELS: dict[str | int | float, str] = {"best": "the best for each network"} | {
    rate: f"{rate:g} for all" for rate in RATES
}
# Where a line's name stands: beside which of its points, how much higher, at which x.
NAMES = {
    "plain": (2, 1.5, 15.0, "right"),
    "post": (2, 0.65, 17.5, "left"),
    "pre": (3, 1.6, 45.0, "center"),
    "scaled": (3, 0.55, 45.0, "center"),
}
TOP = 3.0  # diverged runs are drawn here


@dataclass(frozen=True)
class Data:
    """Means over three seeds at each depth; NaN where training diverged."""

    kind: str
    lr: str | float
    depth: int
    train_loss: dict[str, Array]
    train_error: Array
    error: Array


def _mean(made: Any, key: str) -> float:
    return float(np.mean(made[key])) if made[key] else math.nan


def _run(kind: str, depth: int, lr: str | float) -> Any:
    if lr == "best":
        return best_run(kind, depth)
    return stored_run("residual_depth", kind=kind, depth=depth, lr=lr, warmup=0)


def _compute(kind: str, lr: str | float, depth: int) -> Data:
    runs = {other: [_run(str(other), d, lr) for d in DEPTHS] for other in KINDS}
    return Data(
        kind,
        lr,
        depth,
        {str(k): np.array([_mean(m, "train_loss") for m in made]) for k, made in runs.items()},
        np.array([100 * (1 - _mean(m, "train_accuracy")) for m in runs[kind]]),
        np.array([100 * (1 - _mean(m, "accuracy")) for m in runs[kind]]),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Training loss after 200 steps")
    log_axis(ax, "y", 0.003, 4.5)
    log_axis(ax, "x", 3.4, 76)
    ax.set_xticks(DEPTHS, [str(d) for d in DEPTHS])
    ax.set_xlabel("layers")
    ax.axhline(math.log(10), color=palette.MUTED, lw=1.2, ls=(0, (3, 2)))
    ax.text(3.6, 2.45, "guessing: ln 10", color=palette.MUTED, va="bottom", fontsize=11.5)
    others = [
        ax.plot([], [], color=palette.MUTED, marker=m, ms=4.5, lw=1.1)[0] for m in ("s", "^", "D")
    ]
    names = [ax.text(0, 0, "", color=palette.MUTED, fontsize=11.5, va="center") for _ in range(3)]
    (mine,) = ax.plot([], [], color=palette.TRAIN, marker="o", ms=6)
    here = [ax.axvline(4, color=palette.HIGHLIGHT, lw=1.2, ls=":")]

    ax = right.subplots()
    panel_label(ax, "The chosen kind: errors in percent")
    log_axis(ax, "x", 3.4, 76)
    ax.set_xticks(DEPTHS, [str(d) for d in DEPTHS])
    ax.set(ylim=(-3, 103), xlabel="layers")
    (train,) = ax.plot([], [], color=palette.TRAIN, marker="o", ms=6)
    (held_out,) = ax.plot([], [], color=palette.TEST, marker="s", ms=5, ls="--")
    ax.text(3.6, 97, "training", color=palette.TRAIN, weight="bold", va="top")
    ax.text(3.6, 89, "validation, dashed", color=palette.TEST, weight="bold", va="top")
    here.append(ax.axvline(4, color=palette.HIGHLIGHT, lw=1.2, ls=":"))
    return {
        "others": others,
        "names": names,
        "mine": mine,
        "train": train,
        "held_out": held_out,
        "here": here,
    }


def _update(artists: dict[str, Any], data: Data) -> None:
    others = [k for k in data.train_loss if k != data.kind]
    for line, kind in zip(artists["others"], others, strict=True):
        loss = np.where(np.isnan(data.train_loss[kind]), TOP, data.train_loss[kind])
        line.set_data(DEPTHS, loss)
    for text, kind in zip(artists["names"], others, strict=True):
        index, factor, x, side = NAMES[kind]
        text.set_text(str(KINDS[kind]))
        text.set_position((x, np.nan_to_num(data.train_loss[kind][index], nan=TOP) * factor))
        text.set_ha(side)
    loss = data.train_loss[data.kind]
    artists["mine"].set_data(DEPTHS, np.where(np.isnan(loss), TOP, loss))
    artists["train"].set_data(DEPTHS, data.train_error)
    artists["held_out"].set_data(DEPTHS, data.error)
    for line in artists["here"]:
        line.set_xdata([data.depth, data.depth])


def _readout(data: Data) -> Readout:
    at = DEPTHS.index(data.depth)
    loss, train, error = data.train_loss[data.kind][at], data.train_error[at], data.error[at]
    rate = "the best rate" if data.lr == "best" else f"rate {format_number(float(data.lr))}"
    if math.isnan(loss):
        words = "training diverges"
    else:
        words = (
            f"training ends at loss {format_number(float(loss), 2)} with "
            f"{format_number(float(train), 2)} % of the training and "
            f"{format_number(float(error), 2)} % of the validation examples wrong"
        )
    return Readout(
        {
            "Training loss": Quantity(float(loss), digits=2),
            "Training error": Quantity(float(train), "%", digits=2),
            "Validation error": Quantity(float(error), "%", digits=2),
            "Training loss at 4 layers": Quantity(float(data.train_loss[data.kind][0]), digits=2),
        },
        f"{SPOKEN[data.kind]}, {data.depth} layers, {rate}: {words}.",
    )


training = Explorer(
    name="residual.training",
    title="Depth and training error",
    caption="Networks of width 32 learn the digits: 200 steps of SGD with momentum 0.9 and batches "
    "of 50, means over three seeds. Left: loss on all training examples; the chosen kind in blue, "
    "a point at 3 is a run that diverged. Right: share of wrong answers of the chosen kind.",
    controls=(
        Choice("kind", "Network", KINDS, "plain"),
        Choice("lr", "Learning rate", LABELS, "best"),
        Steps("depth", "Read off at", DEPTHS, 64, "layers"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 300), (345, 300)),
)
