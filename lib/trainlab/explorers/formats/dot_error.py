"""The error of a dot product: by length, by the format of the factors, by the accumulator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.dot_products import dot_error_bound
from trainlab.explorers.palette import HIGHLIGHT, INK, MUTED, THEORY, TRAIN
from trainlab.formats import FORMATS
from trainlab.summation import METHODS
from trainlab.sweeps import stored_run
from trainlab.sweeps.dot_products import ACCUMULATORS, DATA, INPUTS, LENGTHS

__all__ = ["dot_error"]

WORDS = {
    "naive": "in order",
    "pairwise": "pairwise",
    "kahan": "Kahan",
    "stochastic": "stochastic",
}
KINDS: dict[str | int | float, str] = {
    "positive": "from 0 to 1",
    "both signs": "from −1 to 1",
}
LOWEST, HIGHEST = 1e-10, 10.0
FINE = np.unique(np.geomspace(2, LENGTHS[-1], 60).astype(int))
CHOSEN = LENGTHS[3::2]  # 16, 64, ...


@dataclass(frozen=True)
class DotError:
    """Root mean square errors relative to the sum of the sizes of the products."""

    inputs: str
    accumulator: str
    data: str
    length: int
    accumulated: NDArray[np.float64]  # at LENGTHS, added up in order
    rounded: NDArray[np.float64]  # at LENGTHS, by rounding the factors
    methods: dict[str, float]  # at the length chosen


def _compute(inputs: str, accumulator: str, data: str, length: int) -> DotError:
    runs = {
        method: stored_run(
            "dot_products", inputs=inputs, accumulator=accumulator, data=data, method=method
        )
        for method in METHODS
    }
    here = LENGTHS.index(int(length))
    return DotError(
        inputs=inputs,
        accumulator=accumulator,
        data=data,
        length=int(length),
        accumulated=np.array(runs["naive"]["accumulator_error"]),
        rounded=np.array(runs["naive"]["input_error"]),
        methods={method: runs[method]["accumulator_error"][here] for method in WORDS},
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Relative error, added up in order")
    log_axis(ax, "x", 2, 2e4)
    log_axis(ax, "y", LOWEST, HIGHEST)
    ax.set_xlabel("length of the dot product, n")
    bars = right.subplots()
    panel_label(bars, "At the length chosen, by method")
    log_axis(bars, "x", LOWEST, HIGHEST, most_ticks=6)
    bars.set(ylim=(-3.6, 1.1), xlabel="relative error")
    bars.set_yticks([-i for i in range(len(WORDS))], list(WORDS.values()))
    bars.grid(axis="y", visible=False)
    return {
        "here": ax.plot([], [], color=MUTED, lw=1.2)[0],
        "bound": ax.plot(FINE, FINE, color=THEORY, lw=1.4)[0],
        "rule": ax.plot(FINE, FINE, "--", color=THEORY, lw=1.4)[0],
        "inputs": ax.plot(LENGTHS, LENGTHS, "s-", color=TRAIN, ms=4, lw=1.4)[0],
        "sum": ax.plot(LENGTHS, LENGTHS, "o-", color=HIGHLIGHT, ms=6, lw=2.2)[0],
        "bound name": ax.text(2.6, 1, "worst case", color=INK, fontsize=11.5),
        "rule name": ax.text(250, 1, "√n · u", color=INK, fontsize=11.5),
        "level": bars.plot([], [], color=TRAIN, lw=1.6)[0],
        "level name": bars.text(1, 0.62, "rounding the factors", color=TRAIN, fontsize=11.5),
        "dots": bars.plot([], [], "o", color=HIGHLIGHT, ms=9)[0],
        "lines": [bars.plot([], [], color=HIGHLIGHT, lw=2)[0] for _ in WORDS],
    }


def _update(artists: dict[str, Any], data: DotError) -> None:
    accumulator = FORMATS[data.accumulator]
    unit = accumulator.eps / 2
    bound = np.array([dot_error_bound(int(n), accumulator) for n in FINE])
    artists["bound"].set_ydata(np.where(bound < 100, bound, 100.0))
    artists["rule"].set_ydata(np.sqrt(FINE) * unit)
    artists["sum"].set_ydata(np.maximum(data.accumulated, LOWEST / 10))
    artists["inputs"].set_ydata(data.rounded)
    artists["here"].set_data([data.length] * 2, [LOWEST, HIGHEST])
    artists["bound name"].set_y(60 * unit)
    artists["rule name"].set_y(48 * unit)
    errors = np.maximum(np.array(list(data.methods.values())), LOWEST * 1.2)
    level = float(data.rounded[LENGTHS.index(data.length)])
    artists["level"].set_data([level, level], [-3.6, 0.5])
    inner = level < 1e-5
    artists["level name"].set(x=level, ha="left" if inner else "right")
    artists["dots"].set_data(errors, -np.arange(len(WORDS)))
    for i, line in enumerate(artists["lines"]):
        line.set_data([LOWEST, errors[i]], [-i, -i])


def _readout(data: DotError) -> Readout:
    bound = dot_error_bound(data.length, FORMATS[data.accumulator])
    unit = FORMATS[data.accumulator].eps / 2
    naive = data.methods["naive"]
    level = float(data.rounded[LENGTHS.index(data.length)])
    ratio = float(f"{naive / level:.1e}")  # two digits, large ones too
    compared = (
        f"{format_number(ratio)} times" if ratio >= 1 else f"{format_number(100 * ratio)}% of"
    )
    loses = (
        f"the accumulator's error is {format_number(naive, 2)}, {compared} that of rounding the "
        "factors"
        if naive
        else "the accumulator loses nothing"
    )
    says = (
        "the worst case says nothing"
        if math.isinf(bound)
        else f"the worst case is {format_number(bound, 2)}"
    )
    return Readout(
        {
            "Error of the accumulator": Quantity(naive),
            "Error of rounding the factors": Quantity(level),
            "Worst case": Quantity(bound),
            "√n · u": Quantity(math.sqrt(data.length) * unit),
            "Pairwise": Quantity(data.methods["pairwise"]),
            "Kahan": Quantity(data.methods["kahan"]),
            "Stochastic rounding": Quantity(data.methods["stochastic"]),
        },
        f"{format_number(data.length)} products of {data.inputs} numbers {KINDS[data.data]}, added "
        f"up in {data.accumulator} in order: {loses}; {says}.",
    )


dot_error = Explorer(
    name="formats.dot_error",
    title="The error of a dot product",
    caption="Root mean square over 16 pairs of vectors of uniform numbers, relative to the sum of "
    "the sizes of the products. Circles: what the accumulator loses. Squares: what rounding the "
    "factors has lost before. Solid line: the worst case for the accumulator; dashed: the rule of "
    "the root, with u half the spacing above 1. Errors below 10⁻¹⁰ stand at the edge.",
    controls=(
        Choice("inputs", "Factors", {name: name for name in INPUTS}, "FP16"),
        Choice("accumulator", "Accumulator", {name: name for name in ACCUMULATORS}, "FP16"),
        Choice("data", "Numbers", {k: KINDS[k] for k in DATA}, "positive"),
        Steps("length", "Length", CHOSEN, 4096),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
