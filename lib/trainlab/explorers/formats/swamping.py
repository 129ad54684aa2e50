"""Sums that stall: counting in ones, and a weight whose updates are too small."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers.palette import HIGHLIGHT, INK, MUTED, THEORY
from trainlab.formats import E4M3, FORMATS
from trainlab.summation import running_sum

__all__ = ["swamping"]

COUNT, UPDATES = 10_000, 1000
END = 10 * COUNT  # of the left axis: the labels stand at its end, clear of the curve
METHODS: dict[str | int | float, str] = {
    "naive": "one after the other",
    "kahan": "Kahan's compensation",
    "pairwise": "pairwise",
    "stochastic": "stochastic rounding",
}
SHOWN = np.unique(np.geomspace(1, COUNT, 120).astype(int))  # points of the left curve
STEPS = np.arange(0, UPDATES + 1, 10)  # points of the right curve


@dataclass(frozen=True)
class Swamping:
    """Two sums in one format."""

    format: str
    method: str
    update: float
    counted: NDArray[np.float64]  # after SHOWN ones
    moved: NDArray[np.float64]  # share of the intended way after STEPS updates


@functools.lru_cache(maxsize=64)
def _counting(format: str, method: str) -> NDArray[np.float64]:
    # A sum beyond the largest number stays there: E4M3 could not show 449 in any case.
    rng = np.random.default_rng(1)
    sums = running_sum(np.ones(COUNT), FORMATS[format], method=method, rng=rng, saturate=True)
    return np.asarray(sums[SHOWN - 1])


def _compute(format: str, method: str, update: float) -> Swamping:
    rng = np.random.default_rng(2)
    terms = np.append(1.0, np.full(UPDATES, -update))
    weight = running_sum(terms, FORMATS[format], method=method, rng=rng)
    return Swamping(
        format=format,
        method=method,
        update=update,
        counted=_counting(format, method),
        moved=(1 - weight[STEPS]) / (UPDATES * update),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Artist]:
    ax = left.subplots()
    panel_label(ax, "1 + 1 + 1 + …")
    log_axis(ax, "x", 1, END)
    log_axis(ax, "y", 1, 2 * COUNT)
    ax.set_xlabel("ones added")
    ax.set_ylabel("sum", labelpad=0)
    ax.plot([1, COUNT], [1, COUNT], color=THEORY, lw=1.2)
    ax.text(60, 110, "exact", ha="right", color=INK)
    stalls: dict[int, list[str]] = {}
    for name, fmt in FORMATS.items():
        if fmt.exact_integers < COUNT:
            stalls.setdefault(fmt.exact_integers, []).append(name)
    for level, names in stalls.items():
        ax.plot([level, END], [level, level], ":", color=MUTED, lw=1.5)
        above = level == E4M3.exact_integers  # the two lowest lines leave no room between them
        ax.text(
            END,
            level * (1.1 if above else 0.88),
            f"{', '.join(names)}: {level}",
            ha="right",
            va="bottom" if above else "top",
            fontsize=11.5,
            color=MUTED,
        )

    way = right.subplots()
    panel_label(way, "A weight of 1, 1000 small steps down")
    way.set(xlim=(0, UPDATES), ylim=(-0.1, 2.1), xlabel="updates")
    way.set_ylabel("share of the way gone", labelpad=2)
    way.set_yticks([0, 0.5, 1, 1.5, 2])
    way.plot([0, UPDATES], [0, 1], color=THEORY, lw=1.2)
    way.text(660, 0.6, "exact", va="top", color=INK)
    return {
        "sum": ax.plot([], [], color=HIGHLIGHT, lw=2.6)[0],
        "end": ax.plot([], [], "o", color=HIGHLIGHT, ms=7)[0],
        "way": way.plot([], [], color=HIGHLIGHT, lw=2.6)[0],
        "stop": way.plot([], [], "o", color=HIGHLIGHT, ms=7, clip_on=False)[0],
        "label": way.text(30, 1.97, "", color=HIGHLIGHT, va="top"),
    }


def _update(artists: dict[str, Any], data: Swamping) -> None:
    artists["sum"].set_data(SHOWN, data.counted)
    artists["end"].set_data(SHOWN[-1:], data.counted[-1:])
    artists["way"].set_data(STEPS, data.moved)
    artists["stop"].set_data(STEPS[-1:], data.moved[-1:])
    artists["label"].set_text(f"{data.format}, {METHODS[data.method]}")


def _readout(data: Swamping) -> Readout:
    counted, moved = float(data.counted[-1]), float(data.moved[-1])
    half = FORMATS[data.format].eps / 4  # below 1 the spacing is eps / 2
    exact, reached = 1 - UPDATES * data.update, 1 - moved * UPDATES * data.update
    first = f"10,000 ones add up to {format_number(counted, 5)}"
    if counted < COUNT and data.counted[-2] == counted:
        first += ", where the sum stalls"
    second = f"1000 updates of {format_number(data.update)} take a weight from 1 to "
    second += f"{format_number(reached, 4)} instead of {format_number(exact, 4)}"
    if moved == 0:
        second = f"1000 updates of {format_number(data.update)} leave a weight of 1 where it is"
    return Readout(
        {
            "Sum of 10,000 ones": Quantity(counted, digits=5),
            "Error of the sum": Quantity(100 * (counted / COUNT - 1), "%"),
            "Weight after 1000 updates": Quantity(reached, digits=5),
            "Weight, exact": Quantity(exact, digits=5),
            "Half the spacing below 1": half,
            "Update / half spacing": Quantity(data.update / half),
        },
        f"{data.format}, {METHODS[data.method]}: {first}; {second}.",
    )


swamping = Explorer(
    name="formats.swamping",
    title="Sums that stall",
    caption="Left: the sum of ones, both axes logarithmic; dotted where each format stalls when "
    "it adds one after the other. Right: how far a weight of 1 has come on its way down, 1 at "
    "the end of the thin line being all of it. A sum beyond the largest number stays there.",
    controls=(
        Choice("format", "Format", {name: name for name in list(FORMATS)[::-1]}, "FP16"),
        Choice("method", "Added up", METHODS, "naive"),
        Steps(
            "update", "Size of an update", (1e-5, 1e-4, 2e-4, 3e-4, 5e-4, 1e-3), 1e-4, between="log"
        ),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 280), (350, 280)),
)
