"""Six augmentations of the digits beside none: differences of runs that agree in all the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.combinations import t_factor
from trainlab.explorers import palette
from trainlab.sweeps import stored_run
from trainlab.sweeps.data_augmentation import METHODS, SEEDS, SIZES, WRONG

Array = NDArray[np.float64]

WORDS = {
    "none": "none",
    "noise": "noise",
    "shift": "shift",
    "flip": "mirror",
    "rotate": "upside down",
    "mixup": "mixup",
    "cutmix": "CutMix",
}
MEASURES: Mapping[str | int | float, str] = {
    "accuracy": "held-out digits read right",
    "off_center": "moved digits read right",
    "memorized": "wrong labels memorized",
}
TICKS = (-30, -5, -1, 0, 1, 5, 30)


@dataclass(frozen=True)
class Methods:
    """In percent: values (methods, runs); differences from none, and half their intervals."""

    measure: str
    n: int
    wrong: int
    values: Array  # (7, 6)
    gains: Array  # (6,)
    margins: Array  # (6,)


def _compute(measure: str, n: int, wrong: int) -> Methods:
    values = 100 * np.array(
        [
            stored_run("data_augmentation", method=m, n=n, wrong=wrong / 100)[measure]
            for m in METHODS
        ]
    )
    differences = values[1:] - values[0]
    margins = t_factor(len(SEEDS) - 1) * differences.std(axis=1, ddof=1) / np.sqrt(len(SEEDS))
    return Methods(measure, n, wrong, values, differences.mean(axis=1), margins)


def _stretched(points: Any) -> Array:
    """Place differences on the axis: linear below 1, logarithmic above."""
    return np.asarray(np.arcsinh(np.asarray(points, float)))


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    rows = np.arange(len(METHODS))
    ax = left.subplots()
    panel_label(ax, "Share, %")
    ax.set_xlim(0, 101)
    ax.set_yticks(rows, list(WORDS.values()))
    ax.set_ylim(len(METHODS) - 0.4, -0.6)
    dots = [ax.plot([], [], "o", color=palette.TRAIN, ms=4, mew=0, alpha=0.55)[0] for _ in METHODS]
    (means,) = ax.plot([], [], "|", color=palette.INK, ms=15, mew=2)

    ax = right.subplots()
    panel_label(ax, "Difference from none, points")
    ax.set_xlim(*_stretched([-120, 120]).tolist())
    ax.set_xticks(_stretched(TICKS), [str(t).replace("-", "−") for t in TICKS])
    ax.set_yticks(rows[1:], list(WORDS.values())[1:])
    ax.set_ylim(len(METHODS) - 0.4, -0.6)
    ax.axvline(0, color=palette.INK, lw=1.4)
    bars = [ax.plot([], [], color=palette.TRAIN, lw=3)[0] for _ in METHODS[1:]]
    (gains,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=8)
    return {"dots": dots, "means": means, "bars": bars, "gains": gains}


def _update(artists: dict[str, Any], data: Methods) -> None:
    rows = np.arange(len(METHODS))
    for dots, row, values in zip(artists["dots"], rows, data.values, strict=True):
        dots.set_data(values, np.full(len(values), row))
    artists["means"].set_data(data.values.mean(axis=1), rows)
    for bar, row, gain, margin in zip(
        artists["bars"], rows[1:], data.gains, data.margins, strict=True
    ):
        bar.set_data(_stretched([gain - margin, gain + margin]), [row, row])
    artists["gains"].set_data(_stretched(data.gains), rows[1:])


def _readout(data: Methods) -> Readout:
    clear = np.abs(data.gains) > data.margins
    found = ", ".join(
        f"{how} with {' and '.join([', '.join(names[:-1])] * (len(names) > 1) + names[-1:])}"
        for how, chosen in (
            ("higher", clear & (data.gains > 0)),
            ("lower", clear & (data.gains < 0)),
            ("not clearly different", ~clear),
        )
        if (names := [WORDS[m] for m, yes in zip(METHODS[1:], chosen, strict=True) if yes])
    )
    plain = float(data.values[0].mean())
    said = (
        f"the share of {MEASURES[data.measure]} is {format_number(plain)} % without augmentation; "
        f"it is {found}."
        if data.wrong or data.measure != "memorized"
        else "there are none to memorize."
    )
    return Readout(
        {
            "Without augmentation": Quantity(plain, "%"),
            **{
                WORDS[m].capitalize() if m != "cutmix" else "CutMix": Quantity(
                    float(gain), "points", 2
                )
                for m, gain in zip(METHODS[1:], data.gains, strict=True)
            },
        },
        f"With {data.n} examples and {data.wrong} % wrong labels, {said}",
    )


methods = Explorer(
    name="data.methods",
    title="Six augmentations of the digits",
    caption="A network with one hidden layer of 64 is trained on digits of 8 by 8 pixels, six "
    "times for each augmentation: other examples, wrong labels and first weights each time, the "
    "same for all augmentations. Left: each run (dots) and the mean (bar). Right: mean difference "
    "from the run without augmentation, and its 95 % interval (Student's t); the axis is stretched "
    "around 0. Held out are 600 digits with right labels; moved digits are these, each moved by up "
    "to one pixel. Memorized: a training example with a wrong label is given that label.",
    controls=(
        Choice("measure", "Share of", MEASURES, "accuracy"),
        Steps("n", "Training examples", SIZES, 300),
        Steps("wrong", "Wrong labels", tuple(round(100 * w) for w in WRONG), 0, "%"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
