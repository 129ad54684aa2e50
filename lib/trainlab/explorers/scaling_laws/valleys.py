"""Valleys of equal compute: three versions of one fit, and where each puts the best size."""

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
from trainlab.scaling_laws import (
    HOFFMANN_PRINTED,
    HOFFMANN_SOURCE,
    REPLICATION,
    ScalingLaw,
    compute_optimal,
    isoflop_loss,
)

Array = NDArray[np.float64]

LAWS: Mapping[str, ScalingLaw] = {
    "printed": HOFFMANN_PRINTED,
    "unrounded": HOFFMANN_SOURCE,
    "replication": REPLICATION,
}
NAMES: Mapping[str | int | float, str] = {
    "printed": "As printed, exponents rounded",
    "unrounded": "The same fit, unrounded",
    "replication": "Replication",
}
STYLES = {
    "printed": (palette.WRONG, (0, (5, 1.5, 1, 1.5))),
    "unrounded": (palette.BACKWARD, (0, (5, 2))),
    "replication": (palette.TRAIN, "-"),
}
BUDGETS = (1e18, 1e20, 1e21, 1e22, 1e23, 5.76e23, 1.152e24, 1e25, 1e26)
AROUND = np.geomspace(1 / 200, 200, 41)
RULE = 20.0
TOP = 0.1  # of the left panel
MODELS = {"Gopher": (280e9, 300e9), "Chinchilla": (70e9, 1.4e12), "Llama 3 8B": (8e9, 15e12)}


@dataclass(frozen=True)
class Valleys:
    """Loss above each law's best, by size; best sizes; and the size that the reader chose."""

    budget: float
    fit: str
    sizes: Array  # (laws, points)
    above: Array  # (laws, points)
    best: Array  # (laws,), sizes
    size: float
    loss: float
    cost: float  # loss above the best, of that size

    @property
    def tokens(self) -> float:
        """Tokens that the chosen size gets."""
        return self.budget / 6 / self.size

    @property
    def rule(self) -> float:
        """Size with RULE tokens for each parameter."""
        return float(np.sqrt(self.budget / 6 / RULE))


def _compute(budget: float, fit: str, off: float) -> Valleys:
    sizes, above, best = [], [], []
    for law in LAWS.values():
        optimum = compute_optimal(budget, law=law)
        best.append(float(optimum.num_params))
        sizes.append(best[-1] * AROUND)
        above.append(isoflop_loss(sizes[-1], budget=budget, law=law) - optimum.loss)
    law = LAWS[fit]
    optimum = compute_optimal(budget, law=law)
    size = off * float(optimum.num_params)
    loss = float(isoflop_loss(size, budget=budget, law=law))
    cost = 0.0 if off == 1 else loss - float(optimum.loss)
    return Valleys(budget, fit, np.array(sizes), np.array(above), np.array(best), size, loss, cost)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Loss above the best, nats a token")
    log_axis(ax, "x", 1e7, 1e13)
    ax.set_ylim(-0.004, TOP)
    ax.set_xlabel("parameters N, at equal compute")
    (rule,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.6, ls=(0, (2, 2)))
    rule_label = ax.text(1, 0.094, "20 : 1", color=palette.HIGHLIGHT, fontweight="bold", va="top")
    curves = {k: ax.plot([], [], color=c, ls=s, lw=1.6)[0] for k, (c, s) in STYLES.items()}
    bests = {k: ax.plot([], [], "v", color=c, ms=8)[0] for k, (c, _) in STYLES.items()}
    (dot,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)

    ax = right.subplots()
    panel_label(ax, "Tokens for each parameter at the best size")
    log_axis(ax, "x", 5e17, 2e26)
    log_axis(ax, "y", 0.5, 5e3)
    ax.set_xlabel("compute C = 6ND, operations")
    ax.axhline(RULE, color=palette.HIGHLIGHT, lw=1.6, ls=(0, (2, 2)))
    ends = np.array([1e18, 1e26])
    for name, law in LAWS.items():
        n, d, _ = compute_optimal(ends, law=law)
        ax.plot(ends, d / n, color=STYLES[name][0], ls=STYLES[name][1], lw=1.8)
    for at, height, text, key in (
        (1.5e18, 75.0, "printed", "printed"),
        (6e23, 33.0, "unrounded", "unrounded"),
        (1.5e18, 9.0, "replication", "replication"),
    ):
        ax.text(at, height, text, color=STYLES[key][0], fontweight="bold", va="center")
    for name, (n, d) in MODELS.items():
        ax.plot([6 * n * d], [d / n], "x", color=palette.INK, ms=7, mew=2)
        near = 4.5 if name == "Chinchilla" else d / n
        ax.text(6 * n * d / 2.5, near, name, color=palette.INK, ha="right", va="center")
        ax.plot([6 * n * d, 6 * n * d / 2.2], [d / n, near], color=palette.INK, lw=0.8)
    (now,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)
    return {
        "rule": rule, "rule_label": rule_label, "curves": curves, "bests": bests, "dot": dot,
        "now": now,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Valleys) -> None:
    artists["rule"].set_data([data.rule, data.rule], [-0.004, TOP])
    # Beside the line where the valleys are wide, and beside the valleys where they are narrow.
    arms = data.sizes[data.above < TOP]
    free = data.rule / arms.min() > 10  # to the left, between the line and the falling curves
    artists["rule_label"].set_x(data.rule / 1.15 if free else 1.3 * arms.max())
    artists["rule_label"].set_ha("right" if free else "left")
    for k, name in enumerate(LAWS):
        chosen = name == data.fit
        artists["curves"][name].set_data(data.sizes[k], data.above[k])
        artists["curves"][name].set_linewidth(3.0 if chosen else 1.4)
        artists["bests"][name].set_data([data.best[k]], [0.0])
    artists["dot"].set_data([data.size], [min(data.cost, TOP)])
    artists["now"].set_data([data.budget], [data.tokens / data.size])


def _readout(data: Valleys) -> Readout:
    billions = data.best / 1e9
    values: dict[str, float | Quantity] = {
        f"Best size, {name}": Quantity(v, "billion") for name, v in zip(LAWS, billions, strict=True)
    }
    values |= {
        "Size at 20 : 1": Quantity(data.rule / 1e9, "billion"),
        "Chosen size": Quantity(data.size / 1e9, "billion"),
        "Tokens for each parameter": data.tokens / data.size,
        "Loss of the chosen size": Quantity(data.loss, "nats", 4),
        "Loss above the best": Quantity(data.cost, "nats"),
    }
    small, middle, large = (format_number(v) for v in billions)
    return Readout(
        values,
        f"With {format_number(data.budget)} operations the best size is {small} billion parameters "
        f"by the law as printed, {middle} unrounded and {large} by the replication. A model of "
        f"{format_number(data.size / 1e9)} billion gets "
        f"{format_number(data.tokens / data.size)} tokens for each parameter and loses "
        f"{format_number(data.cost)} nats against the best of its law.",
    )


valleys = Explorer(
    name="scaling_laws.valleys",
    title="Valleys of equal compute",
    caption="Left: predicted loss above the lowest one, for models of different sizes that all get "
    "the same compute. Three versions of the law: as printed in the paper (dash-dotted), the same "
    "fit with the digits of the paper's source (dashed), a replication (solid); triangles: their "
    "best sizes. Dotted: 20 tokens for each parameter. Disc: the chosen size, on the chosen curve. "
    "Right: tokens for each parameter at the best size, and three models that were trained "
    "(crosses).",
    controls=(
        Steps("budget", "Compute C", BUDGETS, 5.76e23, between="log"),
        Choice("fit", "Version of the law", NAMES, "printed"),
        Steps(
            "off",
            "Size / best",
            (0.25, 0.5, 1.0, 2.0, 4.0),
            1.0,
            unit="×",
            between="log",
        ),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
