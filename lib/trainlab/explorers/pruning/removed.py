"""How much of a layer goes with the weights that are pruned, and what that does to its output."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.explorers import palette
from trainlab.pruning import (
    gaussian_removed_energy,
    magnitude_masks,
    n_m_mask,
    random_masks,
    structured_mask,
)

Array = NDArray[Any]

OUT, IN, INPUTS = 64, 128, 1024
EDGES = np.linspace(-3.6, 3.6, 37)
DOTS = (0.1, 0.3, 0.5, 0.7, 0.9)
CURVE = (1 - np.cos(np.linspace(0, np.pi, 41))) / 2  # dense where the curves are steep
CRITERIA: dict[str | int | float, str] = {
    "magnitude": "smallest |w|",
    "inputs": "smallest |w| · ‖x‖ (Wanda)",
    "rows": "smallest rows, whole",
    "random": "at random",
}
WORDS = {
    "magnitude": "the smallest",
    "inputs": "those with the smallest |w| · ‖x‖",
    "rows": "whole rows of the smallest norms",
    "random": "drawn at random",
}


@dataclass(frozen=True)
class Data:
    """A layer, pruned: what is left where, and its error beside that of other sparsities."""

    criterion: str
    sparsity: float
    share: float  # of the weights that went
    energy: float  # of the sum of squares that went with them
    error: float  # of the output
    dots: Array  # errors at DOTS
    kept: Array  # weights by size, (bins,)
    kept_energy: Array  # sum of their squares by size


@lru_cache(maxsize=2)
def _layer(spread: float) -> tuple[Array, Array, Array]:
    """Weights (OUT, IN), norms of the inputs (IN,), second moments of the inputs (IN, IN)."""
    rng = np.random.default_rng(3)
    # The quantiles of a normal distribution, shuffled: less chance than in a draw.
    quantile, count = NormalDist().inv_cdf, OUT * IN
    weight = rng.permutation([quantile((i + 0.5) / count) for i in range(count)])
    weight = weight.reshape(OUT, IN)  # (OUT · IN,) -> (OUT, IN)
    scale = spread ** rng.permutation(np.linspace(-1, 1, IN))
    x = scale * rng.standard_normal((INPUTS, IN))
    return weight, np.sqrt(np.square(x).mean(axis=0)), x.T @ x / INPUTS


def _mask(criterion: str, sparsity: float, spread: float) -> Array:
    weight, norms, _ = _layer(spread)
    if criterion == "rows":
        return structured_mask(weight, sparsity)
    if criterion == "random":
        mask: Array = random_masks(weight, sparsity, rng=np.random.default_rng(4))
    elif criterion == "inputs":  # each unit ranks its own inputs
        rows = magnitude_masks(list(weight * norms), sparsity, scope="tensor")
        mask = np.stack(rows)
    else:
        mask = magnitude_masks(weight, sparsity)
    return mask


def _error(mask: Array, spread: float) -> float:
    """Root mean square error of the output, relative to the output."""
    weight, _, moments = _layer(spread)
    gone = np.where(mask, 0.0, weight)
    size = [float(np.sum((w @ moments) * w)) for w in (gone, weight)]
    return float(np.sqrt(size[0] / size[1]))


@lru_cache(maxsize=8)
def _errors(criterion: str, spread: float) -> Array:
    return np.array([_error(_mask(criterion, s, spread), spread) for s in DOTS])


def _compute(inputs: float, criterion: str, sparsity: float) -> Data:
    weight = _layer(inputs)[0]
    mask = _mask(criterion, sparsity, inputs)
    kept, squares = weight[mask], np.square(weight)
    return Data(
        criterion,
        sparsity,
        float(1 - mask.mean()),
        float(squares[~mask].sum() / squares.sum()),
        _error(mask, inputs),
        _errors(criterion, inputs),
        np.histogram(kept, EDGES)[0],
        np.histogram(kept, EDGES, weights=kept**2)[0],
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    axes = left.subplots(2, 1, sharex=True)
    weight = _layer(1.0)[0].ravel()
    every = [np.histogram(weight, EDGES, weights=w)[0] for w in (None, weight**2)]
    bars, labels = [], []
    names = ("Number of weights, by size", "Sum of their squares (energy)")
    for ax, all_of_them, name in zip(axes, every, names, strict=True):
        panel_label(ax, name)
        top = float(all_of_them.max())
        ax.set(xlim=(-3.6, 3.6), ylim=(0, 1.42 * top))
        ax.set_yticks([])
        ax.grid(visible=False)
        ax.stairs(all_of_them, EDGES, fill=True, color=palette.HIGHLIGHT)
        bars.append(ax.stairs(0 * all_of_them, EDGES, fill=True, color=palette.KEPT))
        ax.stairs(all_of_them, EDGES, color=palette.MUTED, lw=0.8)
        labels.append(
            ax.text(3.55, 1.2 * top, "", color=palette.HIGHLIGHT, weight="bold", ha="right")
        )
    axes[1].set_xlabel("weight, in standard deviations")

    ax = right.subplots()
    panel_label(ax, "Error of the layer's output, relative")
    ax.set(xlim=(0, 1), ylim=(0, 1.04), xlabel="share of the weights that is pruned")
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    ax.plot(CURVE, np.sqrt(CURVE), color=palette.MUTED, lw=1.6, ls="--")
    theory = [np.sqrt(gaussian_removed_energy(s)) for s in CURVE]
    ax.plot(CURVE, theory, color=palette.THEORY, lw=1.6)
    ax.text(0.03, 0.76, "at random: √s", color=palette.MUTED, weight="bold")
    ax.text(0.09, 0.19, "smallest |w|", color=palette.THEORY, weight="bold")
    pattern = _error(n_m_mask(_layer(1.0)[0]), 1.0)
    ax.plot([0.5], [pattern], color=palette.BACKWARD, marker="D", ms=6, ls="")
    ax.text(0.475, pattern + 0.025, "2:4", color=palette.BACKWARD, weight="bold", ha="right")
    (here,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.4, ls=":")
    (dots,) = ax.plot([], [], color=palette.TRAIN, marker="o", ls="", ms=5)
    (chosen,) = ax.plot([], [], color=palette.HIGHLIGHT, marker="o", ls="", ms=10)
    return {"bars": bars, "labels": labels, "here": here, "dots": dots, "chosen": chosen}


def _update(artists: dict[str, Any], data: Data) -> None:
    for bars, values in zip(artists["bars"], (data.kept, data.kept_energy), strict=True):
        bars.set_data(values)
    for text, share in zip(artists["labels"], (data.share, data.energy), strict=True):
        text.set_text(f"removed: {format_number(100 * share, 3)} %")
    artists["here"].set_data([data.share, data.share], [0, data.error])
    artists["dots"].set_data(DOTS, data.dots)
    artists["chosen"].set_data([data.share], [data.error])


def _readout(data: Data) -> Readout:
    expected = float(np.sqrt(gaussian_removed_energy(data.share)))
    return Readout(
        {
            "Weights removed": Quantity(100 * data.share, "%", digits=3),
            "Energy removed": Quantity(100 * data.energy, "%", digits=3),
            "Output error": Quantity(data.error, digits=3),
            "Theory, smallest |w|": Quantity(expected, digits=3),
            "Theory, at random": Quantity(float(np.sqrt(data.share)), digits=3),
        },
        f"{format_number(100 * data.share, 3)} % of the weights go, {WORDS[data.criterion]}, and "
        f"with them {format_number(100 * data.energy, 3)} % of the sum of squares; the output is "
        f"off by {format_number(data.error, 2)} of its size.",
    )


removed = Explorer(
    name="pruning.removed",
    title="Half of the weights, and what goes with them",
    caption=f"A layer of {OUT} × {IN} normal weights. Left: its weights by size, and the sum of "
    "their squares; what goes has the color of its label. Right: root mean square of the change of "
    f"the output for {INPUTS:,} inputs, relative to the output. Dots: measured, at other "
    "sparsities too; lines: closed forms; diamond: 2 kept of every 4 neighbors. Unequal inputs "
    "have standard deviations from 1/5 to 5.",
    controls=(
        Choice("criterion", "What is pruned", CRITERIA, "magnitude"),
        Choice("inputs", "Inputs", {1.0: "all alike", 5.0: "unequal"}, 1.0),
        Steps(
            "sparsity",
            "Share pruned",
            (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95),
            0.5,
            between="linear",
        ),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 310), (345, 310)),
)
