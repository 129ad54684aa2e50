"""One λ, three gradients: what the way of writing the penalty makes of the same number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.weight_penalties import convert_strength

Array = NDArray[np.float64]

WRITTEN = {"mean + λ/2n": "(λ/2n)‖w‖²", "mean + λ/2": "(λ/2)‖w‖²", "mean + λ": "λ‖w‖²"}
STEPS = 1000
COUNTS = (1, 1_000_000)  # both panels show straight lines, so ends are enough
LOW = 1e-12  # of the left panel


@dataclass(frozen=True)
class Conventions:
    """By way of writing, in the order of WRITTEN: gradient over w, its course in n, and decay."""

    lam: float
    n: int
    lr: float
    strengths: Array  # (3,)
    by_count: Array  # (3, 2)
    log_left: Array  # (3,), natural logarithm of what STEPS steps leave of a weight

    @property
    def left(self) -> Array:
        """What is left after all steps."""
        return np.asarray(np.exp(self.log_left))


def _compute(lam: float, n: int, lr: float) -> Conventions:
    strengths = np.array([convert_strength(lam, name, examples=int(n)) for name in WRITTEN])
    by_count = np.array(
        [[convert_strength(lam, name, examples=c) for c in COUNTS] for name in WRITTEN]
    )
    return Conventions(lam, int(n), lr, strengths, by_count, STEPS * np.log1p(-lr * strengths))


STYLES = ((palette.TRAIN, "-"), (palette.FORWARD, "--"), (palette.WRONG, (0, (5, 1.5, 1, 1.5))))


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "What is left of a weight without data")
    log_axis(ax, "y", LOW, 10)
    ax.set_xlim(0, STEPS)
    ax.set_xticks([0, 500, 1000])
    ax.set_xlabel("steps")
    decays = [ax.plot([], [], color=c, ls=s)[0] for c, s in STYLES]

    ax = right.subplots()
    panel_label(ax, "Gradient of the penalty / w")
    log_axis(ax, "x", 1, 1e6)
    log_axis(ax, "y", 1e-10, 1e2)
    ax.set_xlabel("n that the penalty is divided by")
    courses = [ax.plot([], [], color=c, ls=s)[0] for c, s in STYLES]
    chosen = ax.axvline(10, color=palette.HIGHLIGHT, lw=1.4)
    dots = [ax.plot([], [], "o", color=c, ms=7)[0] for c, _ in STYLES]
    label = ax.text(1, 25, "", color=palette.HIGHLIGHT, fontweight="bold")
    names = [
        ax.text(x, 1, text, color=c, ha=ha, va="center", fontweight="bold")
        for text, (c, _), x, ha in zip(
            WRITTEN.values(), STYLES, (2e5, 8e5, 8e5), ("right",) * 3, strict=True
        )
    ]
    return {
        "decays": decays, "names": names, "courses": courses, "chosen": chosen, "dots": dots,
        "label": label,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Conventions) -> None:
    floor = np.log(LOW / 100)
    for k in range(len(WRITTEN)):
        seen = min(1.0, floor / data.log_left[k])  # the share of the steps above the floor
        artists["decays"][k].set_data([0, seen * STEPS], [1, np.exp(seen * data.log_left[k])])
        artists["courses"][k].set_data(COUNTS, data.by_count[k])
        # Below the falling line, below the lower level, above the upper one.
        artists["names"][k].set_y(data.lam * (8e-7, 0.22, 8.0)[k])
        artists["dots"][k].set_data([data.n], [data.strengths[k]])
    artists["chosen"].set_xdata([data.n, data.n])
    artists["label"].set_text(f"n = {data.n}")
    on_left = data.n > 1000
    artists["label"].set_position((data.n / 1.2 if on_left else data.n * 1.2, 25))
    artists["label"].set_ha("right" if on_left else "left")


def _readout(data: Conventions) -> Readout:
    gradients, left = 2 * data.strengths, data.left
    ends = [format_number(v, 2) for v in left]
    values: dict[str, float | Quantity] = {
        f"Gradient at w = 2, {text}": g for text, g in zip(WRITTEN.values(), gradients, strict=True)
    }
    values |= {
        f"Share left, {text}": Quantity(v, digits=2)
        for text, v in zip(WRITTEN.values(), left, strict=True)
    }
    return Readout(
        values,
        f"The same λ = {format_number(data.lam)} with n = {data.n} and lr = "
        f"{format_number(data.lr)}: after 1,000 steps without data {ends[0]} of a weight is left "
        f"under (λ/2n)‖w‖², {ends[1]} under (λ/2)‖w‖² and {ends[2]} under λ‖w‖².",
    )


conventions = Explorer(
    name="weight_penalties.conventions",
    title="Three meanings of one λ",
    caption="Plain gradient descent on a penalty that stands beside a mean loss, written in three "
    "ways: (λ/2n)‖w‖² (solid), (λ/2)‖w‖² (dashed), λ‖w‖² (dash-dotted). Left: a weight that the "
    "data do not pull at. Right: how strongly each pulls, by the number n in the first. Numbers: "
    "the gradient at w = 2, and the share of a weight that 1,000 steps leave.",
    controls=(
        Steps("lam", "λ", (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0), 0.1, between="log"),
        Steps("n", "Examples n", (1, 10, 50, 300, 1000, 10_000), 50, between="whole"),
        Steps("lr", "Learning rate", (0.01, 0.03, 0.1), 0.1, between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
