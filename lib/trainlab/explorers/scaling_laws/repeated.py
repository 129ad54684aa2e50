"""What a second, a fourth, a sixty-fourth pass over the same data is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.scaling_laws import FADING, effective_tokens
from trainlab.sweeps import stored_run
from trainlab.sweeps.repeated_data import EPOCHS, NOISE, UNIQUE

Array = NDArray[np.float64]
PASSES = np.geomspace(1, 100, 25)


@dataclass(frozen=True)
class Repeated:
    """Losses of small regressions by passes, and the worth of the passes in fresh ones."""

    unique: int
    epochs: int
    repeated: Array  # (epochs,)
    fresh: Array
    training: Array
    worth: Array  # fresh passes with the same loss

    @property
    def at(self) -> int:
        """Place of the chosen number of passes."""
        return EPOCHS.index(self.epochs)


def _compute(epochs: int, unique: int) -> Repeated:
    runs = [stored_run("repeated_data", unique=int(unique), epochs=e) for e in EPOCHS]
    repeated, fresh = (np.array([r[k][0] for r in runs]) for k in ("repeated", "fresh"))
    # Fresh runs get better with every pass: read their curve backward.
    passes = np.interp(-repeated, -fresh, np.log(EPOCHS))
    return Repeated(
        unique=int(unique),
        epochs=int(epochs),
        repeated=repeated,
        fresh=fresh,
        training=np.array([r["training"] for r in runs]),
        worth=np.exp(passes),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Worth, in passes over fresh data")
    for which in ("x", "y"):
        log_axis(ax, which, 0.9, 100)
    ax.set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
    ax.set_yticks([1, 4, 16, 64], ["1", "4", "16", "64"])
    ax.set_xlabel("passes over the same data")
    ax.plot([1, 90], [1, 90], color=palette.MUTED, lw=1.4, ls="--")
    ax.text(19, 32, "all fresh", color=palette.MUTED, ha="right", fontweight="bold")
    ax.plot(PASSES, effective_tokens(1.0, PASSES), color=palette.THEORY)
    ax.text(90, 18.5, "language\nmodels", color=palette.THEORY, ha="right", fontweight="bold")
    (worth,) = ax.plot([], [], "o-", color=palette.TRAIN, ms=6, lw=1.6)
    ax.text(90, 1.25, "our regression", color=palette.TRAIN, ha="right", fontweight="bold")
    (now,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)

    ax = right.subplots()
    panel_label(ax, "Loss of our regression")
    log_axis(ax, "x", 0.9, 75)
    ax.set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
    ax.set_ylim(0.4, 2.6)
    ax.set_xlabel("passes")
    ax.axhline(NOISE, color=palette.MUTED, lw=1.2, ls=":")
    (fresh,) = ax.plot([], [], "--", color=palette.MUTED)
    (repeated,) = ax.plot([], [], "o-", color=palette.TEST, ms=5)
    (training,) = ax.plot([], [], "-.", color=palette.TRAIN, lw=1.8)
    line = ax.axvline(1, ymax=0.78, color=palette.HIGHLIGHT, lw=1.4)
    for y, text, color in (
        (2.5, "test, repeated", palette.TEST),
        (2.35, "test, fresh", palette.MUTED),
        (2.2, "training", palette.TRAIN),
    ):
        ax.text(18, y, text, color=color, va="center", fontweight="bold")
    return {
        "worth": worth, "now": now, "fresh": fresh, "repeated": repeated, "training": training,
        "line": line,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Repeated) -> None:
    artists["worth"].set_data(EPOCHS, data.worth)
    artists["now"].set_data([data.epochs], [data.worth[data.at]])
    artists["line"].set_xdata([data.epochs, data.epochs])
    for name in ("fresh", "repeated", "training"):
        artists[name].set_data(EPOCHS, getattr(data, name))


def _readout(data: Repeated) -> Readout:
    worth, at = data.worth[data.at], data.at
    formula = float(effective_tokens(1.0, float(data.epochs)))
    return Readout(
        {
            "Worth, language models": Quantity(formula, "passes"),
            "Worth, our regression": Quantity(worth, "passes"),
            "Test loss, repeated": data.repeated[at],
            "Test loss, fresh": data.fresh[at],
            "Training loss, repeated": data.training[at],
        },
        f"{'1 pass' if data.epochs == 1 else f'{data.epochs} passes'} over the same data "
        f"{'is' if data.epochs == 1 else 'are'} worth as much as {format_number(formula)} over "
        f"fresh data by the law of language models, and as much as {format_number(worth)} in our "
        f"regression on {data.unique} examples, where the test loss is "
        f"{format_number(data.repeated[at])} instead of {format_number(data.fresh[at])}.",
    )


repeated = Explorer(
    name="scaling_laws.repeated",
    title="What repeated data are worth",
    caption="Left: what several passes over the same data are worth, in passes over fresh data. "
    f"Black: the law of Muennighoff et al. with R* = {FADING}; dots: our regression with 64 "
    "weights, 40 seeds; dashed: no loss of worth. Right: losses of our regression. Dots: test loss "
    "after passes over the same examples; dashed: as many steps, every example new; dash-dotted: "
    "loss on the repeated examples themselves; dotted: the noise of the labels. Every dot is a run "
    "of its own, with a learning rate that ends at 0.",
    controls=(
        Steps("epochs", "Passes", EPOCHS, 16),
        Steps("unique", "Unique examples", UNIQUE, 64),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
