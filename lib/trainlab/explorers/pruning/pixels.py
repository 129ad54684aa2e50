"""Which inputs of a network for digits keep their weights, by criterion, from a stored sweep."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.datasets import digits
from trainlab.explorers import palette
from trainlab.sweeps import stored_run
from trainlab.sweeps.pruning_digits import SPARSITIES

Array = NDArray[Any]

CRITERIA: dict[str | int | float, str] = {
    "magnitude": "|w|, all layers together",
    "layer": "|w|, each layer for itself",
    "inputs": "|w| · ‖x‖ (Wanda)",
    "gradient": "w² · E[g²] (as OBD)",
    "random": "at random",
}
FAINT = 0.05  # a pixel with less ink than this is as good as blank


@dataclass(frozen=True)
class Data:
    """Share of the first layer's weights that is left by pixel, and accuracies in percent."""

    criterion: str
    sparsity: float
    left: Array  # (64,)
    accuracy: Array  # (seeds,)
    blank: float  # share left at faint pixels


@lru_cache(maxsize=1)
def _ink() -> Array:
    """Root mean square of each pixel over all digits."""
    return np.asarray(np.sqrt(np.square(digits()[0]).mean(axis=0)))


def _compute(criterion: str, sparsity: float) -> Data:
    made = stored_run("pruning_digits", method=f"by {criterion}")
    at = SPARSITIES.index(sparsity)
    left = np.array(made["pixels"][at])
    accuracy = 100 * np.array(made["accuracy"][at])
    return Data(criterion, sparsity, left, accuracy, float(left[_ink() < FAINT].mean()))


def _squares(shares: Array) -> list[Array]:
    """One square a pixel; its area is the share."""
    half = 0.46 * np.sqrt(np.maximum(shares, 1e-4))
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return [np.array([i % 8, i // 8]) + h * corner for i, h in enumerate(half)]


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    axes = left.subplots(1, 2)
    for ax, name in zip(axes, ("Ink of a pixel", "Weights left"), strict=True):
        panel_label(ax, name)
        ax.set(xlim=(-0.6, 7.6), ylim=(7.6, -0.6), aspect="equal")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
    axes[0].add_collection(PolyCollection(_squares(_ink() / _ink().max()), facecolors=palette.INK))
    map_ = axes[1].add_collection(PolyCollection([], facecolors=palette.TRAIN))
    ax = right.subplots()
    panel_label(ax, "Share of a pixel's weights that is left")
    ax.set(xlim=(-0.03, 0.85), ylim=(-0.04, 1.04), xlabel="ink of the pixel, root mean square")
    ax.axvline(FAINT, color=palette.MUTED, lw=1, ls=":")
    ax.text(FAINT + 0.012, 0.97, "almost blank to the left", color=palette.MUTED)
    (line,) = ax.plot([], [], color=palette.MUTED, lw=1.4, ls="--")
    (dots,) = ax.plot([], [], color=palette.TRAIN, marker="o", ls="", ms=5, alpha=0.7)
    return {"map": map_, "dots": dots, "line": line}


def _update(artists: dict[str, Any], data: Data) -> None:
    artists["map"].set_verts(_squares(data.left))
    artists["dots"].set_data(_ink(), data.left)
    mean = float(data.left.mean())
    artists["line"].set_data([-0.03, 0.85], [mean, mean])


def _readout(data: Data) -> Readout:
    right, mean = float(data.accuracy.mean()), float(data.left.mean())
    return Readout(
        {
            "Accuracy, not trained after": Quantity(right, "%", digits=3),
            "Left of the first layer": Quantity(100 * mean, "%", digits=3),
            "Left at almost blank pixels": Quantity(100 * data.blank, "%", digits=3),
        },
        f"{100 * data.sparsity:.0f} % of the weights pruned by {CRITERIA[data.criterion]}: "
        f"{format_number(right, 3)} % of the test digits are right without further training; "
        f"{format_number(100 * mean, 3)} % of the first layer's weights are left, "
        f"{format_number(100 * data.blank, 3)} % of those at almost blank pixels.",
    )


pixels = Explorer(
    name="pruning.pixels",
    title="Which pixels keep their weights",
    caption="The first layer of a trained network for digits, pruned at once; means over seeds. "
    "Squares, by area: root mean square of a pixel over all digits, and the share of the pixel's "
    "128 weights that is left. Right: one against the other, a dot for each pixel; dashed: the "
    "mean. The weights at blank pixels are still random first values, and change nothing.",
    controls=(
        Choice("criterion", "Score of a weight", CRITERIA, "magnitude"),
        Steps("sparsity", "Share pruned", SPARSITIES, 0.8),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 250), (345, 250)),
)
