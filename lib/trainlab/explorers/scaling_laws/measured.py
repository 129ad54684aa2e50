"""A law that we measured: a fit to small runs, its error, and the truth that it is to predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.scaling_laws import ScalingLaw, scaling_loss
from trainlab.sweeps import stored_run
from trainlab.sweeps.scaling_law_regression import CORNERS, COUNTS, NOISE, SIZES, exact_alpha

Array = NDArray[np.float64]

NAMES: Mapping[str | int | float, str] = {
    "slow": "Slow: α = 0.5",
    "fast": "Fast: α = 1",
}
SHOWN = (0, 3, 6, 8)  # counts of examples that the left panel draws
FINE = np.geomspace(SIZES[0], SIZES[-1], 25)


@dataclass(frozen=True)
class Measured:
    """Losses of the runs, the fit to a corner of them, and what resampling the seeds changes."""

    spectrum: str
    corner: int
    losses: Array  # (N, D)
    lines: Array  # (shown, points), of the fit
    law: ScalingLaw
    alphas: Array  # (corners, 3): 5 %, fit, 95 %
    fars: Array  # (corners, 3): predicted loss of the largest run
    betas: Array  # (3,)


def _range(resampled: Any, fit: float) -> list[float]:
    low, high = np.quantile(resampled, [0.05, 0.95])
    return [float(low), fit, float(high)]


def _compute(spectrum: str, corner: int) -> Measured:
    runs = {k: stored_run("scaling_law_regression", spectrum=spectrum, corner=k) for k in CORNERS}
    made = runs[int(corner)]
    law = ScalingLaw(*made["law"])
    lines = [scaling_loss(FINE, float(COUNTS[k]), law=law) for k in SHOWN]
    return Measured(
        spectrum=spectrum,
        corner=int(corner),
        losses=np.array(made["losses"]).reshape(len(SIZES), len(COUNTS)),
        lines=np.array(lines),
        law=law,
        alphas=np.array([_range(r["alphas"], r["law"][3]) for r in runs.values()]),
        fars=np.array([_range(r["fars"], r["far"]) for r in runs.values()]),
        betas=np.array(_range(made["betas"], law.beta)),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Loss by size")
    log_axis(ax, "x", 3, 400)
    log_axis(ax, "y", 0.08, 1.3)
    ax.set_xticks([4, 16, 64, 256], ["4", "16", "64", "256"])
    ax.set_yticks([0.1, 0.2, 0.5, 1], ["0.1", "0.2", "0.5", "1"])
    ax.set_xlabel("parameters N")
    ax.axhline(NOISE, color=palette.MUTED, lw=1.2, ls=":")
    lines = [ax.plot([], [], color=palette.TRAIN, lw=1.3)[0] for _ in SHOWN]
    (seen,) = ax.plot([], [], "o", color=palette.TRAIN, ms=6)
    (unseen,) = ax.plot([], [], "o", mfc="none", mec=palette.TEST, mew=1.6, ms=6)
    ax.text(350, 0.99, "discs: in the fit", ha="right")
    ax.text(350, 0.83, "circles: not", ha="right")
    ax.text(3.3, 0.094, "noise of the labels", color=palette.MUTED, va="bottom")

    top, bottom = right.subplots(2, 1)
    panel_label(top, "α of the fit, minus the exact one")
    panel_label(bottom, "Predicted largest run, off by %")
    for axis in (top, bottom):
        axis.set_xlim(3.5, 7.5)
        axis.set_xticks(CORNERS, [f"{k}×{k}" for k in CORNERS])
    bottom.set_xlabel("runs in the fit")
    top.set_ylim(-0.1, 0.1)
    bottom.set_ylim(-20, 30)
    panels = []
    for axis in (top, bottom):
        bars = [axis.plot([], [], color=palette.TRAIN, lw=2)[0] for _ in CORNERS]
        (dots,) = axis.plot([], [], "o", color=palette.TRAIN, ms=6)
        (now,) = axis.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)
        axis.axhline(0, color=palette.THEORY, lw=1.5, ls="--")
        panels.append({"bars": bars, "dots": dots, "now": now})
    return {
        "lines": lines, "seen": seen, "unseen": unseen, "panels": panels,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Measured) -> None:
    for line, values in zip(artists["lines"], data.lines, strict=True):
        line.set_data(FINE, values)
    points: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for column in SHOWN:
        for row, n in enumerate(SIZES):
            inside = row < data.corner and column < data.corner
            points[inside].append((n, data.losses[row, column]))
    artists["seen"].set_data(*zip(*points[True], strict=True))
    artists["unseen"].set_data(*zip(*points[False], strict=True))
    off = data.alphas - exact_alpha(data.spectrum), 100 * (data.fars / data.losses[-1, -1] - 1)
    at = CORNERS.index(data.corner)
    for panel, ranges in zip(artists["panels"], off, strict=True):
        for bar, corner, (low, _, high) in zip(panel["bars"], CORNERS, ranges, strict=True):
            bar.set_data([corner, corner], [low, high])
        panel["dots"].set_data(CORNERS, ranges[:, 1])
        panel["now"].set_data([data.corner], [ranges[at, 1]])


def _readout(data: Measured) -> Readout:
    at, truth = CORNERS.index(data.corner), float(data.losses[-1, -1])
    (low, alpha, high), (worst, far, most) = data.alphas[at], data.fars[at]
    off = 100 * (far / truth - 1)
    return Readout(
        {
            "Exponent α of the fit": alpha,
            "Width of the range of α": Quantity(high - low),
            "Exact α": exact_alpha(data.spectrum),
            "Fitted E (exact 0.09)": data.law.E,
            "Exponent β of the fit": data.betas[1],
            "Predicted largest run": far,
            "Measured largest run": truth,
            "Prediction too high by": Quantity(off, "%"),
        },
        f"From the {data.corner}×{data.corner} smallest runs the fit has α = "
        f"{format_number(alpha)} ({format_number(low)} to {format_number(high)}), exactly it is "
        f"{format_number(exact_alpha(data.spectrum))}. It predicts a loss of {format_number(far)} "
        f"({format_number(worst)} to {format_number(most)}) for the largest run, which has "
        f"{format_number(truth)}.",
    )


measured = Explorer(
    name="scaling_laws.measured",
    title="A law measured by ourselves",
    caption="Ridge regressions on N features of falling variance and D examples, 5 seeds; their "
    "losses are exact. Left: losses for D = 128, 1,024, 8,192 and 32,768 (from above), and the law "
    "that was fitted to a corner of small runs. Right: how far the exponent of the fit is from the "
    "exact one, and the loss that it predicts for N = 256 and D = 32,768 from the measured one; "
    "bars: from 5 % to 95 % of the fits to resampled seeds.",
    controls=(
        Steps("corner", "Sizes (and counts) in the fit", CORNERS, 5),
        Choice("spectrum", "Features", NAMES, "slow"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 330), (350, 330)),
)
