"""The simplest law: error on the digits by how many of them were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.scaling_law_fits import PowerLaw, fit_power_law
from trainlab.sweeps import stored
from trainlab.sweeps.scaling_law_digits import COUNTS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DigitsLine:
    """Two measures by training digits, all seeds, with a line through the first points of each."""

    points: int
    errors: Array  # (seeds, counts), share of wrong digits
    losses: Array  # (seeds, counts), squared error
    lines: tuple[PowerLaw, PowerLaw]

    @property
    def predicted(self) -> list[float]:
        """Both measures at the largest count, by the lines."""
        return [float(line.factor * COUNTS[-1] ** line.exponent) for line in self.lines]


def _compute(points: int) -> DigitsLine:
    errors, losses = (np.array([r[k] for r in stored("scaling_law_digits")]) for k in
                      ("errors", "losses"))  # fmt: skip
    k = int(points)
    lines = [fit_power_law(np.array(COUNTS[:k], dtype=float), v.mean(axis=0)[:k])
             for v in (errors, losses)]  # fmt: skip
    return DigitsLine(k, errors, losses, (lines[0], lines[1]))


def _draw(left: Figure, right: Figure) -> list[dict[str, Any]]:
    panels = []
    for figure, title, low, high, ticks in (
        (left, "Share of wrong digits", 0.004, 0.6, (0.01, 0.1, 0.5)),
        (right, "Squared error", 0.05, 1.0, (0.1, 0.3, 1.0)),
    ):
        ax = figure.subplots()
        panel_label(ax, title)
        log_axis(ax, "x", 18, 1700)
        log_axis(ax, "y", low, high)
        ax.set_xticks([25, 100, 400, 1200], ["25", "100", "400", "1200"])
        ax.set_yticks(ticks, [format_number(t) for t in ticks])
        ax.set_xlabel("training digits D")
        (line,) = ax.plot([], [], color=palette.THEORY, lw=1.6, ls="--")
        (seeds,) = ax.plot([], [], ".", color=palette.MUTED, ms=4)
        (seen,) = ax.plot([], [], "o", color=palette.TRAIN, ms=8)
        (unseen,) = ax.plot([], [], "o", mfc="none", mec=palette.TEST, mew=1.8, ms=8)
        label = ax.text(1600, high * 0.8, "", ha="right", va="top", color=palette.THEORY)
        panels.append({"line": line, "seeds": seeds, "seen": seen, "unseen": unseen,
                       "label": label})  # fmt: skip
    return panels


def _update(artists: list[dict[str, Any]], data: DigitsLine) -> None:
    ends = np.array([20.0, 1500.0])
    for panel, values, line in zip(artists, (data.errors, data.losses), data.lines, strict=True):
        mean = values.mean(axis=0)
        panel["line"].set_data(ends, line.factor * ends**line.exponent)
        panel["seeds"].set_data(np.tile(COUNTS, len(values)), values.ravel())
        panel["seen"].set_data(COUNTS[: data.points], mean[: data.points])
        panel["unseen"].set_data(COUNTS[data.points :], mean[data.points :])
        panel["label"].set_text(
            f"slope {format_number(line.exponent)} ± {format_number(line.error, 1)}"
        )


def _readout(data: DigitsLine) -> Readout:
    found = [float(v.mean(axis=0)[-1]) for v in (data.errors, data.losses)]
    (error, loss), (wrong, squared) = data.predicted, found
    return Readout(
        {
            "Slope, wrong digits": data.lines[0].exponent,
            "Predicted wrong digits": Quantity(100 * error, "%"),
            "Measured wrong digits": Quantity(100 * wrong, "%"),
            "Slope, squared error": data.lines[1].exponent,
            "Predicted squared error": loss,
            "Measured squared error": squared,
        },
        f"A line through the first {data.points} points predicts {format_number(100 * error)} % of "
        f"wrong digits after training on 1,200, measured are {format_number(100 * wrong)} %. For "
        f"the squared error it predicts {format_number(loss)}, measured are "
        f"{format_number(squared)}: that curve bends.",
    )


digits_line = Explorer(
    name="scaling_laws.digits_line",
    title="Error on the digits by training data",
    caption="Ridge regression on 1,500 random features of the digits, always the same model. Small "
    "points: 8 seeds; discs: their means, in the fit; circles: means that the fit does not see; "
    "dashed: the power law through the discs.",
    controls=(Steps("points", "Points in the fit", (3, 4, 5, 6, 7), 4),),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 270), (350, 270)),
)
