"""Weights in 16 bits, with and without master weights, from a stored sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.sweeps import stored_run
from trainlab.sweeps.mixed_precision_weights import RATES, SEEDS, STEPS, STORES

__all__ = ["stored_weights"]

Array = NDArray[Any]

LOOKS = {  # color, line style, marker, words
    "master": (palette.INK, "-", "s", "FP32 master weights"),
    "stochastic": (palette.TRAIN, "--", "o", "16 bits, at random"),
    "nearest": (palette.WRONG, "-", "^", "16 bits, to the nearest"),
}
SHIFTS = {"master": 0.93, "stochastic": 1.0, "nearest": 1.075}  # so that dots stand side by side


@dataclass(frozen=True)
class Data:
    """By way of storing: percent right and training loss, (learning rates, seeds)."""

    format: str
    at: int
    accuracy: dict[str, Array]
    loss: dict[str, Array]


def _compute(format: str, lr: float) -> Data:
    made = {s: stored_run("mixed_precision_weights", format=format, store=s) for s in STORES}
    return Data(
        format=format,
        at=RATES.index(lr),
        accuracy={s: 100 * np.array(r["accuracy"]) for s, r in made.items()},
        loss={s: np.array(r["loss"]) for s, r in made.items()},
    )


def _panel(figure: Figure, title: str) -> tuple[Any, dict[str, Any]]:
    ax = figure.subplots()
    panel_label(ax, title)
    log_axis(ax, "x", RATES[0] / 1.6, RATES[-1] * 1.6)
    ax.set_xlabel("learning rate")
    marks: dict[str, Any] = {"here": ax.axvline(1, color=palette.HIGHLIGHT, lw=1.2, ls=":")}
    for store, (color, style, marker, _) in LOOKS.items():
        (marks[store],) = ax.plot([], [], color=color, ls=style, marker=marker, ms=6, lw=1.8)
        (marks[f"{store} seeds"],) = ax.plot([], [], color=color, marker=marker, ls="", ms=3)
    return ax, marks


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax, accuracy = _panel(left, "Validation accuracy, percent")
    ax.set_ylim(0, 104)
    for i, (color, _, _, words) in enumerate(LOOKS.values()):
        ax.text(RATES[-1] * 1.4, 30 - 11 * i, words, color=color, weight="bold", ha="right")
    ax, loss = _panel(right, "Training loss")
    log_axis(ax, "y", 0.02, 5)
    return {"accuracy": accuracy, "loss": loss}


def _update(artists: dict[str, Any], data: Data) -> None:
    for panel, values in (("accuracy", data.accuracy), ("loss", data.loss)):
        marks = artists[panel]
        marks["here"].set_xdata([RATES[data.at]] * 2)
        for store, shift in SHIFTS.items():
            marks[store].set_data(RATES, values[store].mean(axis=1))
            x = np.repeat(np.array(RATES) * shift, len(SEEDS))
            marks[f"{store} seeds"].set_data(x, values[store].ravel())


def _readout(data: Data) -> Readout:
    right = {s: float(v[data.at].mean()) for s, v in data.accuracy.items()}
    loss = {s: float(v[data.at].mean()) for s, v in data.loss.items()}
    lost = right["master"] - right["nearest"]
    if lost > 3:
        words = f"costs {format_number(lost, 2)} points; rounding at random gives "
        words += f"{format_number(right['stochastic'], 3)} %"
    else:
        words = (
            f"changes little: {format_number(right['nearest'], 3)} % right, and a training loss of "
            f"{format_number(loss['nearest'], 2)}, with master weights "
            f"{format_number(loss['master'], 2)}"
        )
    return Readout(
        {
            "Right, master weights": Quantity(right["master"], "%", digits=3),
            "Loss, master weights": Quantity(loss["master"], digits=2),
            "Right, at random": Quantity(right["stochastic"], "%", digits=3),
            "Loss, at random": Quantity(loss["stochastic"], digits=2),
            "Right, to the nearest": Quantity(right["nearest"], "%", digits=3),
            "Loss, to the nearest": Quantity(loss["nearest"], digits=2),
        },
        f"At a learning rate of {format_number(RATES[data.at])}, {STEPS} steps with master weights "
        f"get {format_number(right['master'], 3)} % right; storing the weights in {data.format}, "
        f"rounded to the nearest, {words}.",
    )


stored_weights = Explorer(
    name="mixed_precision.stored_weights",
    title="Training without master weights",
    caption="A ReLU network learns the digits in 16 bits, with weights kept in FP32 (squares), in "
    "the format and rounded at random (circles), or in the format and rounded to the nearest "
    f"(triangles). Large marks are means of {len(SEEDS)} seeds, small ones the seeds.",
    controls=(
        Choice("format", "Format", {"BF16": "BF16", "FP16": "FP16"}, "BF16"),
        Steps("lr", "Read off at learning rate", RATES, RATES[1]),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 290), (345, 290)),
)
