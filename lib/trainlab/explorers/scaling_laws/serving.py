"""The cheapest model that reaches a loss, when it is not only trained but also used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.scaling_laws import (
    HOFFMANN_SOURCE,
    REPLICATION,
    ScalingLaw,
    flops,
    inference_optimal,
    tokens_for_loss,
)

Array = NDArray[np.float64]

LAWS: Mapping[str, ScalingLaw] = {"replication": REPLICATION, "unrounded": HOFFMANN_SOURCE}
NAMES: Mapping[str | int | float, str] = {
    "replication": "Replication",
    "unrounded": "Chinchilla's fit, unrounded",
}
SERVED = (1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15)
POINTS = np.geomspace(1e9, 1e15, 13)  # of the right panel
TOP = 40.0  # of the curves on the left
CONVEX = np.concatenate(
    [np.geomspace(1e-3, 0.1, 7), np.linspace(0.13, 0.95, 20), [0.97, 0.985, 0.995]]
)


@dataclass(frozen=True)
class Serving:
    """Cost by size, to reach one loss; and the best choice without and with use."""

    loss: float
    served: float
    sizes: Array
    training: Array  # operations
    use: Array
    plain: tuple[float, float]  # N and D of the cheapest training
    best: tuple[float, float]
    costs: tuple[float, float]  # of both, training and use
    ratios: Array  # tokens for each parameter at POINTS


@lru_cache(maxsize=64)
def _ratios(loss: float, fit: str) -> Array:
    best = [inference_optimal(loss, served_tokens=float(s), law=LAWS[fit]) for s in POINTS]
    return np.array([c.num_tokens / c.num_params for c in best])


def _compute(loss: float, served: float, fit: str) -> Serving:
    law = LAWS[fit]
    # Sizes by the share of the reducible loss that is left to them, from large to small.
    sizes = (law.A / (CONVEX * (loss - law.E))) ** (1 / law.alpha)
    tokens = tokens_for_loss(sizes, loss, law=law)
    choices = [inference_optimal(loss, served_tokens=s, law=law) for s in (0.0, served)]
    (plain, best) = ((float(c.num_params), float(c.num_tokens)) for c in choices)
    costs = [float(flops(n, d, served_tokens=served)) for n, d in (plain, best)]
    return Serving(
        loss=loss,
        served=served,
        sizes=sizes,
        training=flops(sizes, tokens),
        use=2 * sizes * served,
        plain=plain,
        best=best,
        costs=(costs[0], costs[1]),
        ratios=_ratios(loss, fit),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Operations (1: fewest in all)")
    log_axis(ax, "x", 1e7, 1e12)
    log_axis(ax, "y", 0.01, 200)
    ax.set_xlabel("parameters N")
    (training,) = ax.plot([], [], color=palette.TRAIN, lw=1.8, ls="--")
    (use,) = ax.plot([], [], color=palette.TEST, lw=1.8, ls=":")
    (total,) = ax.plot([], [], color=palette.INK, lw=2.6)
    (plain,) = ax.plot([], [], "s", color=palette.TRAIN, ms=8)
    (best,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=10)
    for x, text, color in (
        (1.3e7, "training and use", palette.INK),
        (2e9, "training", palette.TRAIN),
        (1.2e11, "use", palette.TEST),
    ):
        ax.text(x, 100, text, color=color, fontweight="bold", va="center")

    ax = right.subplots()
    panel_label(ax, "Tokens for each parameter, cheapest in all")
    log_axis(ax, "x", 6e8, 1.7e15)
    log_axis(ax, "y", 5, 1e6)
    ax.set_xlabel("tokens served")
    ax.axhline(20, color=palette.MUTED, lw=1.6, ls=(0, (2, 2)))
    ax.text(9e14, 12, "20 : 1", color=palette.MUTED, ha="right", va="center", fontweight="bold")
    ax.axhline(15e12 / 8e9, color=palette.MUTED, lw=1.2)
    ax.text(8e8, 3e3, "Llama 3 8B", color=palette.MUTED, va="center", fontweight="bold")
    (course,) = ax.plot([], [], color=palette.INK)
    (now,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=10)
    return {
        "training": training, "use": use, "total": total, "plain": plain, "best": best,
        "course": course, "now": now,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Serving) -> None:
    least = data.costs[1]
    for name, cost in (
        ("training", data.training),
        ("use", data.use),
        ("total", data.training + data.use),
    ):
        shown = cost < TOP * least  # the labels stand above
        artists[name].set_data(data.sizes[shown], cost[shown] / least)
    artists["plain"].set_data([data.plain[0]], [data.costs[0] / least])
    artists["best"].set_data([data.best[0]], [1.0])
    artists["course"].set_data(POINTS, data.ratios)
    artists["now"].set_data([data.served], [data.best[1] / data.best[0]])


def _readout(data: Serving) -> Readout:
    saved = round(100 * (1 - data.costs[1] / data.costs[0]), 2)
    sizes = [format_number(n / 1e9) for n, _ in (data.plain, data.best)]
    ratio = data.best[1] / data.best[0]
    return Readout(
        {
            "Cheapest to train, N": Quantity(data.plain[0] / 1e9, "billion"),
            "Cheapest to train, D/N": data.plain[1] / data.plain[0],
            "Cheapest in all, N": Quantity(data.best[0] / 1e9, "billion"),
            "Cheapest in all, D/N": ratio,
            "Compute saved in all": Quantity(saved, "%"),
        },
        f"To reach {format_number(data.loss)} nats, {sizes[0]} billion parameters are the cheapest "
        f"to train. With {format_number(data.served)} tokens served {sizes[1]} billion are the "
        f"cheapest in all, trained on {format_number(ratio)} tokens for each parameter: "
        f"{format_number(saved)} % less compute.",
    )


serving = Explorer(
    name="scaling_laws.serving",
    title="Training- or inference-optimal",
    caption="Left: operations to train a model of N parameters until it reaches the loss, 6ND "
    "(dashed), to serve the tokens, 2N each (dotted), and both (solid), in units of the lowest. "
    "Square: the size that is cheapest to train, with its cost in all; disc: the size that is "
    "cheapest in all. Right: tokens for each parameter of that size, D/N, by tokens served; 20 : 1 "
    "(dotted) and a model that was trained for use (thin).",
    controls=(
        Steps("served", "Tokens served", SERVED, 1e13, between="log"),
        Steps("loss", "Loss to reach", (1.95, 2.0, 2.1, 2.3, 2.6), 2.0, between="linear"),
        Choice("fit", "Version of the law", NAMES, "replication"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
