"""Accuracy of a network for digits with fewer and fewer weights, from a stored sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.explorers import palette
from trainlab.sweeps.pruning_digits import SEEDS, SPARSITIES, accuracies

Array = NDArray[Any]

COMPARED: dict[str, dict[str, str]] = {
    "after": {
        "one_shot": "at once, no training",
        "tuned": "at once, 5 epochs",
        "long": "at once, longer",
        "iterative": "in steps, 5 epochs each",
    },
    "what": {
        "random": "random weights",
        "units": "whole units",
        "tuned": "smallest weights",
        "small": "a small network instead",
    },
    "start": {
        "iterative": "go on from there",
        "ticket": "rewind (lottery ticket)",
        "redrawn": "same mask, new weights",
        "small": "a small network instead",
    },
}
TITLES: dict[str | int | float, str] = {
    "after": "What comes after the pruning",
    "what": "What is pruned, 5 epochs after",
    "start": "Where training starts again",
}
COLORS = (palette.TRAIN, palette.FORWARD, palette.BACKWARD, palette.WRONG)
MARKERS, LINES = ("o", "s", "^", "D"), ("-", "--", "-.", (0, (7, 2, 1, 2, 1, 2)))
PLACES = np.arange(len(SPARSITIES))
ROWS = (3.0, 2.0, 1.0, 0.0)
FLOOR, CEILING = 1.5, 110.0  # percent wrong that the right panel shows


@dataclass(frozen=True)
class Data:
    """Accuracies in percent of four methods, (methods, sparsities, seeds), and of the whole net."""

    compared: str
    sparsity: float
    runs: Array
    dense: Array


def _compute(compared: str, sparsity: float) -> Data:
    runs = np.array([accuracies(method) for method in COMPARED[compared]])
    return Data(compared, sparsity, 100 * runs, 100 * accuracies("dense")[0])


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    dense = float(100 * accuracies("dense").mean())
    ax = left.subplots()
    panel_label(ax, "Test accuracy in percent")
    ax.set(xlim=(-0.4, 6.4), ylim=(0, 106), xlabel="percent of the weights that is pruned")
    ax.set_xticks(PLACES, [f"{100 * s:.0f}" for s in SPARSITIES])
    (here,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.4, ls=":")
    ax.axhline(dense, color=palette.MUTED, lw=1.2)
    ax.text(6.35, dense + 2.2, "all weights", color=palette.MUTED, ha="right")
    curves = [
        ax.plot([], [], color=c, marker=m, ls=line, lw=1.8, ms=5.5)[0]
        for c, m, line in zip(COLORS, MARKERS, LINES, strict=True)
    ]
    ax = right.subplots()
    panel_label(ax, "Wrong answers in percent, by seed")
    ax.set(xlim=(FLOOR, CEILING), ylim=(-0.35, 3.75), xscale="log", xlabel="percent (log scale)")
    ax.set_xticks([2, 5, 10, 20, 50, 90], ["2", "5", "10", "20", "50", "90"])
    ax.set_xticks([], minor=True)
    ax.set_yticks([])
    ax.grid(visible=False, axis="y")
    ax.plot([100 - dense] * 2, [-0.35, 3.5], color=palette.MUTED, lw=1.2)
    seeds, means, names = [], [], []
    for color, marker, row in zip(COLORS, MARKERS, ROWS, strict=True):
        seeds.append(ax.plot([], [], color=color, marker=marker, ls="", ms=4, alpha=0.45)[0])
        means.append(ax.plot([], [], color=color, marker="|", ls="", ms=18, mew=2.4)[0])
        names.append(
            ax.text(CEILING * 0.97, row + 0.27, "", color=color, weight="bold", ha="right")
        )
    return {"here": here, "curves": curves, "seeds": seeds, "means": means, "names": names}


def _update(artists: dict[str, Any], data: Data) -> None:
    at = SPARSITIES.index(data.sparsity)
    artists["here"].set_data([at, at], [0, 100])
    texts = list(COMPARED[data.compared].values())
    for k, (row, text) in enumerate(zip(ROWS, texts, strict=True)):
        artists["curves"][k].set_data(PLACES, data.runs[k].mean(axis=1))
        wrong = 100 - data.runs[k, at]
        artists["seeds"][k].set_data(wrong, np.full(len(SEEDS), row))
        artists["means"][k].set_data([wrong.mean()], [row])
        artists["names"][k].set_text(text)


def _readout(data: Data) -> Readout:
    at = SPARSITIES.index(data.sparsity)
    means = [float(v) for v in data.runs[:, at].mean(axis=1)]
    order = ("First row", "Second row", "Third row", "Fourth row")
    texts = list(COMPARED[data.compared].values())
    parts = [f"{format_number(m, 3)} % ({text})" for text, m in zip(texts, means, strict=True)]
    return Readout(
        {label: Quantity(m, "%", digits=3) for label, m in zip(order, means, strict=True)}
        | {"All weights": Quantity(float(data.dense.mean()), "%", digits=3)},
        f"{TITLES[data.compared]}, with {100 * data.sparsity:.0f} % of the weights pruned. "
        f"Test digits that are right: {', '.join(parts[:3])} and {parts[3]}.",
    )


accuracy = Explorer(
    name="pruning.accuracy",
    title="Digits with fewer and fewer weights",
    caption="A network 64-128-64-10 trained on 1,000 digits for 20 epochs, pruned, tested on the "
    f"other 797; {len(SEEDS)} seeds. Left: means. Right: each seed at the sparsity chosen, bars "
    "their means; colors and marks as on the left; gray line: all weights. Longer: as many epochs "
    "as all steps together. Rewound, redrawn and small networks train for 20 epochs. Small: as few "
    "units as “whole units” leaves, trained from scratch.",
    controls=(
        Choice("compared", "Compare", TITLES, "after"),
        Steps("sparsity", "Read off at", SPARSITIES, 0.9),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 310), (345, 310)),
)
