"""A small isoFLOP study: valleys of measured runs, their lowest points, a line through those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.scaling_law_fits import PowerLaw, fit_isoflop, fit_power_law
from trainlab.sweeps import stored_run
from trainlab.sweeps.scaling_law_regression import COUNTS, SIZES

Array = NDArray[np.float64]

POWERS = tuple(range(13, 20))  # budgets N·D = 2^power whose valleys have a lowest point inside
BUDGETS = np.array([2.0**p for p in POWERS])


@dataclass(frozen=True)
class Isoflop:
    """Valleys of equal N·D, the bottoms of their parabolas, and a power law through some."""

    fitted: int
    valleys: list[tuple[Array, Array]]  # sizes and losses of each budget
    parabolas: list[tuple[Array, Array]]
    best: Array  # (budgets,), sizes
    losses: Array  # (budgets,), at the bottoms
    line: PowerLaw

    @property
    def predicted(self) -> float:
        """Best size at the largest budget, by the line."""
        return float(self.line.factor * BUDGETS[-1] ** self.line.exponent)


def _compute(fitted: int, around: int) -> Isoflop:
    made = stored_run("scaling_law_regression", spectrum="fast", corner=7)
    grid = np.array(made["losses"]).reshape(len(SIZES), len(COUNTS))
    valleys, parabolas, best, bottoms = [], [], [], []
    for budget in BUDGETS:
        cells = [
            (n, grid[row, COUNTS.index(int(budget) // n)])
            for row, n in enumerate(SIZES)
            if int(budget) // n in COUNTS
        ]
        sizes, losses = np.array(cells).T
        lowest, half = int(losses.argmin()), int(around) // 2
        near = slice(max(lowest - half, 0), lowest + half + 1)
        found = fit_isoflop(sizes[near], losses[near])
        fine = np.geomspace(sizes[near][0], sizes[near][-1], 15)
        curve = found.loss + found.curvature / 2 * np.log(fine / found.num_params) ** 2
        valleys.append((sizes, losses))
        parabolas.append((fine, curve))
        best.append(found.num_params)
        bottoms.append(found.loss)
    line = fit_power_law(BUDGETS[: int(fitted)], np.array(best[: int(fitted)]))
    return Isoflop(int(fitted), valleys, parabolas, np.array(best), np.array(bottoms), line)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Loss at equal compute")
    log_axis(ax, "x", 3, 400)
    ax.set_xticks([4, 16, 64, 256], ["4", "16", "64", "256"])
    ax.set_ylim(0.093, 0.16)
    ax.set_xlabel("parameters N")
    dots = [ax.plot([], [], "o", color=palette.TRAIN, ms=5)[0] for _ in POWERS]
    curves = [ax.plot([], [], color=palette.TRAIN, lw=1.6)[0] for _ in POWERS]
    (bottoms,) = ax.plot([], [], "v", color=palette.HIGHLIGHT, ms=7)
    for n, at, text in ((7.5, 0.1425, "2¹³"), (160, 0.0955, "2¹⁹")):
        ax.text(n, at, f"N·D = {text}", color=palette.TRAIN, ha="center", va="center")

    ax = right.subplots()
    panel_label(ax, "Best size by compute")
    log_axis(ax, "x", 5e3, 1e6)
    log_axis(ax, "y", 20, 300)
    ax.set_yticks([30, 100, 300], ["30", "100", "300"])
    ax.set_xlabel("compute N·D")
    (line,) = ax.plot([], [], color=palette.THEORY, lw=1.6, ls="--")
    (seen,) = ax.plot([], [], "v", color=palette.HIGHLIGHT, ms=9)
    (unseen,) = ax.plot([], [], "v", mfc="none", mec=palette.TEST, mew=1.8, ms=9)
    label = ax.text(9e5, 24, "", ha="right", va="center", color=palette.THEORY)
    return {
        "dots": dots, "curves": curves, "bottoms": bottoms, "line": line, "seen": seen,
        "unseen": unseen, "label": label,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Isoflop) -> None:
    for k in range(len(POWERS)):
        artists["dots"][k].set_data(*data.valleys[k])
        artists["curves"][k].set_data(*data.parabolas[k])
    artists["bottoms"].set_data(data.best, data.losses)
    ends = np.array([5e3, 1e6])
    artists["line"].set_data(ends, data.line.factor * ends**data.line.exponent)
    artists["seen"].set_data(BUDGETS[: data.fitted], data.best[: data.fitted])
    artists["unseen"].set_data(BUDGETS[data.fitted :], data.best[data.fitted :])
    exponent, error = format_number(data.line.exponent), format_number(data.line.error, 1)
    artists["label"].set_text(f"exponent {exponent} ± {error}")


def _readout(data: Isoflop) -> Readout:
    found, predicted = float(data.best[-1]), data.predicted
    ratios = BUDGETS / data.best**2
    return Readout(
        {
            "Exponent of the best size": data.line.exponent,
            "Error of that exponent": Quantity(data.line.error, digits=2),
            "Best size at 2¹⁹, predicted": predicted,
            "Best size at 2¹⁹, found": found,
            "D/N of the best size, 2¹³": ratios[0],
            "D/N of the best size, 2¹⁹": ratios[-1],
        },
        f"From {data.fitted} small budgets the best size grows like compute to the power "
        f"{format_number(data.line.exponent)} ± {format_number(data.line.error, 1)}. For the "
        f"largest budget that means {format_number(predicted)} parameters; the valley measured "
        f"there has its lowest point at {format_number(found)}.",
    )


isoflop = Explorer(
    name="scaling_laws.isoflop",
    title="A small isoFLOP study",
    caption="The same regressions, with the fast features, sorted by compute N·D, each twice "
    "the one before. Left: losses of all sizes with one budget (dots), a parabola in log N through "
    "those around the lowest, and its bottom (triangles). Right: the bottoms by compute: filled in "
    "the fit of the dashed line, hollow not. D/N: examples for each parameter.",
    controls=(
        Steps("fitted", "Budgets in the fit", (3, 4, 5, 6), 4),
        Steps("around", "Sizes per parabola", (3, 5), 3),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
