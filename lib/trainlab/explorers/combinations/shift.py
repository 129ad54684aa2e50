"""Dropout in front of batch norms in trained networks: the variance shift and its price."""

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
from trainlab.sweeps.dropout_before_batch_norm import DEPTHS, DROPS, HELD_OUT, PLACES

PLACE: dict[str | int | float, str] = {
    PLACES[0]: "after every hidden layer",
    PLACES[1]: "after the last one only",
}
GUESSING = math.log(10)


@dataclass(frozen=True)
class Data:
    """Variance ratios of the chosen network, and losses by p: means over five seeds."""

    depth: int
    place: str
    p: float
    ratios: NDArray[Any]
    every: NDArray[Any]
    again: NDArray[Any]
    last: NDArray[Any]
    wrong: float
    loss: float
    wrong_again: float
    loss_again: float


def _run(depth: int, place: str, p: float) -> Any:
    return stored_run("dropout_before_batch_norm", depth=depth, place=place, p=p)


def _compute(depth: int, place: str, p: float) -> Data:
    chosen = _run(depth, place, p)
    every, last = ([_run(depth, str(other), q) for q in DROPS] for other in PLACE)

    def errors(key: str) -> float:
        return 100 - 100 / HELD_OUT * float(np.mean(chosen[key]))

    return Data(
        depth,
        place,
        p,
        np.array(chosen["ratios"]),
        np.array([np.mean(run["loss"]) for run in every]),
        np.array([np.mean(run["loss_again"]) for run in every]),
        np.array([np.mean(run["loss"]) for run in last]),
        errors("right"),
        float(np.mean(chosen["loss"])),
        errors("right_again"),
        float(np.mean(chosen["loss_again"])),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Variance at test time / stored")
    ax.set(xlim=(0.6, 8.4), ylim=(0, 1.12), xlabel="batch norm, from the input on")
    ax.set_xticks(range(1, 9))
    ax.axhline(1, color=palette.MUTED, lw=1.2)
    ax.text(8.3, 1.02, "no shift", color=palette.MUTED, ha="right", va="bottom")
    (ratios,) = ax.plot([], [], "o-", color=palette.TEST, ms=7)
    label = ax.text(0, 0, "", color=palette.TEST, weight="bold", va="top", ha="right")

    ax = right.subplots()
    panel_label(ax, "Test loss, nats")
    log_axis(ax, "y", 0.05, 30)
    ax.set(xlim=(-0.02, 0.52), xlabel="drop probability p")
    ax.set_xticks(DROPS)
    ax.axhline(GUESSING, color=palette.MUTED, lw=1.2, ls=(0, (3, 2)))
    ax.text(0.0, GUESSING * 0.92, "guessing: ln 10", color=palette.MUTED, va="top")
    here = ax.axvline(0, color=palette.HIGHLIGHT, lw=1.4, ls=":")
    (every,) = ax.plot([], [], "o-", color=palette.TEST, ms=6)
    (again,) = ax.plot([], [], "s--", color=palette.TEST, ms=5, lw=1.6)
    (last,) = ax.plot([], [], "^-", color=palette.TRAIN, ms=6, lw=1.8)
    (ring,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=13, fillstyle="none", mew=2.2)
    for y, color, words in (
        (19.0, palette.TEST, "●  after every layer"),
        (11.0, palette.TEST, "■  the same, statistics taken again"),
        (6.4, palette.TRAIN, "▲  after the last layer only"),
    ):
        ax.text(0.0, y, words, color=color, va="center", fontsize=11.5)
    return {
        "ratios": ratios,
        "label": label,
        "here": here,
        "every": every,
        "again": again,
        "last": last,
        "ring": ring,
    }


def _update(artists: dict[str, Any], data: Data) -> None:
    artists["ratios"].set_data(np.arange(1, data.depth + 1), data.ratios)
    end = float(data.ratios[-1])
    artists["label"].set_text(f"last: {format_number(end, 2)}")
    low = end < 0.15
    artists["label"].set_position((data.depth + 0.3, end + 0.1 if low else end - 0.06))
    artists["label"].set_va("bottom" if low else "top")
    for name in ("every", "again", "last"):
        artists[name].set_data(DROPS, getattr(data, name))
    artists["here"].set_xdata([data.p, data.p])
    artists["ring"].set_data([data.p], [data.loss])


def _readout(data: Data) -> Readout:
    change = 100 * (data.loss_again / data.loss - 1)
    where = PLACE[data.place]
    return Readout(
        {
            "Variance ratio, last batch norm": Quantity(float(data.ratios[-1]), digits=2),
            "Test loss": Quantity(data.loss, "nats", digits=2),
            "Test loss, statistics taken again": Quantity(data.loss_again, "nats", digits=2),
            "Test error": Quantity(data.wrong, "%", digits=2),
            "Test error, statistics taken again": Quantity(data.wrong_again, "%", digits=2),
        },
        f"{data.depth} hidden layers, dropout with p = {data.p:g} {where}: the last batch norm "
        f"meets {format_number(float(data.ratios[-1]), 2)} of the variance that it stored; the "
        f"test loss is {format_number(data.loss, 2)} nats, and statistics taken again without "
        f"dropout change it by {format_number(change, 2)} %.",
    )


shift = Explorer(
    name="combinations.shift",
    title="Dropout and batch norm in trained networks",
    caption="Networks of 2 to 8 hidden layers, each linear, batch norm, ReLU and dropout, trained "
    "on the digits; means over five seeds. Left: for each batch norm, the variance of its input "
    "at test time over the one it stored in training. Right: test loss over p; dashed, after the "
    "statistics were taken again on the training data without dropout. The ring is the network "
    "on the left.",
    controls=(
        Steps("depth", "Hidden layers", DEPTHS, 4),
        Choice("place", "Dropout", PLACE, PLACES[0]),
        Steps("p", "Drop probability p", DROPS, 0.5),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
