"""What each kind of dropout removes, and how much of its noise an average over a row keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import boxes, panel_label
from trainlab.dropout import dropout, keep_mask
from trainlab.explorers import palette

ROWS, COLUMNS = 9, 25
SAMPLES = 400


class Kind(NamedTuple):
    """One kind of dropout: which axes share a draw, and what rows and columns are."""

    words: str
    shared_axes: tuple[int, ...]
    row: str
    column: str
    image: bool = False


KINDS = {
    "steps": Kind("sequence: a new mask at every step", (), "unit", "time step"),
    "sequence": Kind("sequence: one mask for all steps", (1,), "unit", "time step"),
    "pixels": Kind("image: single pixels", (), "channel", "pixel", image=True),
    "channels": Kind("image: whole channels", (1,), "channel", "pixel", image=True),
    "inputs": Kind("weights: dropout of the inputs", (0,), "output", "input"),
    "weights": Kind("weights: DropConnect", (), "output", "input"),
}


@dataclass(frozen=True)
class Masks:
    """One mask to look at, and statistics over many."""

    kind: str
    p: float
    mask: NDArray[np.bool_]
    row_average: NDArray[Any]
    mean: float
    entry_variance: float
    row_noise: float
    row_noise_theory: float
    row_correlation: float


def _compute(kind: str, p: float, draw: int) -> Masks:
    shared = KINDS[kind].shared_axes
    rng = np.random.default_rng(draw)
    mask = keep_mask((ROWS, COLUMNS), p=p, rng=rng, shared_axes=shared)
    many = keep_mask(
        (SAMPLES, ROWS, COLUMNS),
        p=p,
        rng=np.random.default_rng(99),
        shared_axes=[a + 1 for a in shared],
    )
    scaled = dropout(np.ones(many.shape), many, p=p)
    averages = scaled.mean(axis=2)  # (samples, rows)
    one = p / (1 - p)
    return Masks(
        kind,
        p,
        mask,
        dropout(np.ones(mask.shape), mask, p=p).mean(axis=1),
        float(scaled.mean()),
        float(scaled.var()),
        float(averages.std(axis=0).mean()),
        float(np.sqrt(one if 1 in shared else one / COLUMNS)),
        float(np.corrcoef(averages[:, 0], averages[:, 1])[0, 1]),
    )


def _corners(image: bool) -> NDArray[Any]:
    """Left, bottom, width, height of each cell in the unit square, shape (9, 25, 4)."""
    row, column = np.mgrid[:ROWS, :COLUMNS]
    if image:  # 3 x 3 maps of 5 x 5 pixels, one pixel apart
        across, down = 6 * (row % 3) + column % 5, 6 * (row // 3) + column // 5
        x, y, w, h = across / 17, 1 - (down + 1) / 17, 1 / 17, 1 / 17
    else:
        x, y, w, h = column / COLUMNS, 1 - (row + 1) / ROWS, 1 / COLUMNS, 1 / ROWS
    size = np.broadcast_to(np.array([0.86 * w, 0.86 * h]), (ROWS, COLUMNS, 2))
    return np.concatenate([np.stack([x, y], axis=-1), size], axis=-1)


CORNERS = {image: _corners(image) for image in (False, True)}


def _cells(corners: NDArray[Any]) -> Path:
    """One path of all these cells: a single artist, and little to store."""
    x, y, w, h = corners.reshape(-1, 4).T
    return boxes(x, x + w, y, y + h)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax: Axes = left.subplots()
    panel_label(ax, "One mask: filled cells are kept")
    ax.set(xlim=(-0.07, 1), ylim=(-0.09, 1), xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    empty = Path(np.zeros((1, 2)), [Path.MOVETO])
    kept = ax.add_patch(PathPatch(empty, facecolor=palette.KEPT, lw=0))
    gone = ax.add_patch(PathPatch(empty, facecolor="none", edgecolor=palette.MUTED, lw=0.7))
    across = ax.text(0.5, -0.02, "", ha="center", va="top")
    down = ax.text(-0.02, 0.5, "", ha="right", va="center", rotation=90)

    ax = right.subplots()
    panel_label(ax, "Average of each row, scaled")
    ax.set(xlim=(-0.15, 3.5), ylim=(ROWS - 0.4, -1.6), yticks=range(ROWS))
    ax.set_yticklabels([str(r + 1) for r in range(ROWS)])
    ax.set(xlabel="1 = as without dropout", ylabel="row (unit, channel or output)")
    band = ax.add_patch(Rectangle((0, -0.7), 1, ROWS + 0.3, color=palette.GRID, zorder=0.5))
    # The band moves, so what lies on it must be drawn after it.
    (one,) = ax.plot([1, 1], [-0.7, ROWS - 0.4], color=palette.INK, lw=1)
    (dots,) = ax.plot([], [], "o", color=palette.FORWARD, ms=8)
    ax.text(3.45, -1.15, "band: 1 ± standard deviation", ha="right", va="center")
    return {
        "band": band, "kept": kept, "gone": gone, "across": across, "down": down,
        "one": one, "dots": dots,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Masks) -> None:
    kind = KINDS[data.kind]
    corners = CORNERS[kind.image]
    artists["kept"].set_path(_cells(corners[data.mask]))
    artists["gone"].set_path(_cells(corners[~data.mask]))
    artists["across"].set_text("9 channels of 5 × 5 pixels" if kind.image else f"{kind.column} →")
    artists["down"].set_text("" if kind.image else f"← {kind.row}")
    artists["band"].set_x(1 - data.row_noise_theory)
    artists["band"].set_width(2 * data.row_noise_theory)
    artists["dots"].set_data(data.row_average, np.arange(ROWS))


SEEN = {
    "steps": "every step of the sequence has a mask of its own, and an average over the steps "
    "hardly notices",
    "sequence": "one mask holds for the whole sequence: a unit is on at all steps or at none",
    "pixels": "single pixels are missing, their neighbors are not, and an average over the map "
    "hardly notices",
    "channels": "a channel is there as a whole or missing as a whole, and no average over pixels "
    "brings it back",
    "inputs": "dropping an input removes its whole column of weights, so all outputs are "
    "disturbed alike",
    "weights": "single weights are missing, so each output is disturbed in its own way",
}


def _readout(data: Masks) -> Readout:
    gone = int((~data.mask).sum())
    noise = format_number(data.row_noise, 2)
    return Readout(
        {
            "Dropped here": Quantity(100 * gone / data.mask.size, "%"),
            "Mean of the scaled mask": data.mean,
            "Variance of one entry": data.entry_variance,
            "Formula p / (1 − p)": data.p / (1 - data.p),
            "Scatter of a row's average": data.row_noise,
            "Scatter by the formula": data.row_noise_theory,
            "Correlation of two rows": Quantity(data.row_correlation, digits=2),
        },
        f"With p = {data.p:g}, {gone} of 225 entries are dropped; {SEEN[data.kind]} "
        f"(row averages scatter by {noise} around 1).",
    )


masks = Explorer(
    name="dropout.masks",
    title="Kinds of masks",
    caption="Left: filled cells are kept and multiplied by 1 / (1 − p), hollow ones are set to "
    "zero. Right: the average of the scaled mask along each row, which is what an average over "
    "time steps, pixels or inputs passes on if they carry the same value. Numbers below: over "
    "400 masks.",
    controls=(
        Choice("kind", "What shares a draw", {k: v.words for k, v in KINDS.items()}, "steps"),
        Steps("p", "Drop probability p", (0.1, 0.2, 0.3, 0.5, 0.7), 0.5, between="linear"),
        Steps("draw", "Draw number", (1, 2, 3), 1),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((360, 290), (340, 290)),
)
