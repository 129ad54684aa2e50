"""Updates that vanish: half the spacing around a weight, and a thousand updates of one size."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.formats import BF16, FP16, FP32
from trainlab.mixed_precision import update_threshold
from trainlab.summation import running_sum

__all__ = ["vanishing"]

Array = NDArray[Any]

UPDATES = 1000
STEPS = np.arange(0, UPDATES + 1, 20)  # points of the right panel
SHOWN = {"FP32": FP32, "FP16": FP16, "BF16": BF16}
LOOKS = {  # color, line style, marker
    "FP32": (palette.INK, "-", "s"),
    "FP16": (palette.TRAIN, "--", "o"),
    "BF16": (palette.TEST, "-", "^"),
}
SMALLEST, LARGEST = 1e-3, 100.0  # weights of the left panel


@dataclass(frozen=True)
class Vanishing:
    """One weight in three formats, and where in each an update of this size vanishes."""

    weight: float
    update: float
    rounding: str
    thresholds: dict[str, float]
    paths: dict[str, Array]  # share of the way gone after STEPS updates
    ends: dict[str, float]  # the weight at the end


@functools.lru_cache(maxsize=1)
def _stairs() -> tuple[Array, dict[str, Array]]:
    """Half the spacing below each weight: a staircase, a step at each power of two."""
    powers = 2.0 ** np.arange(-10, 8)
    sizes = np.sort(np.r_[powers, powers * (1 + 2.0**-6)])  # each side of a step
    return sizes, {name: update_threshold(sizes, fmt)[0] for name, fmt in SHOWN.items()}


def _compute(weight: float, update: float, rounding: str) -> Vanishing:
    rng = np.random.default_rng(3)
    terms = np.append(weight, np.full(UPDATES, -update))
    paths, ends, thresholds = {}, {}, {}
    for name, fmt in SHOWN.items():
        method = "stochastic" if rounding == "random" and name != "FP32" else "naive"
        sums = running_sum(terms, fmt, method=method, rng=rng)
        paths[name] = (sums[0] - sums[STEPS]) / (UPDATES * update)
        ends[name] = float(sums[-1])
        thresholds[name] = float(update_threshold(sums[0], fmt)[0])
    return Vanishing(weight, update, rounding, thresholds, paths, ends)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Smaller updates vanish")
    log_axis(ax, "x", SMALLEST, LARGEST)
    log_axis(ax, "y", 1e-10, 1, most_ticks=6)
    ax.set(xlabel="size of the weight", ylabel="size of the update")
    sizes, stairs = _stairs()
    for name, heights in stairs.items():
        color, style, _ = LOOKS[name]
        ax.plot(sizes, heights, color=color, ls=style, lw=1.8)
    for name, x, y in (("FP32", 0.01, 5e-9), ("FP16", 0.04, 1.3e-6), ("BF16", 0.0014, 2e-4)):
        ax.text(x, y, name, color=LOOKS[name][0], weight="bold")
    (dot,) = ax.plot([], [], color=palette.HIGHLIGHT, marker="o", ms=10, ls="", zorder=5)
    ax = right.subplots()
    panel_label(ax, "How far 1000 updates get")
    ax.set(xlim=(0, UPDATES), ylim=(-0.12, 2.12), xlabel="updates", ylabel="share of the way")
    ax.set_xticks([0, 250, 500, 750, 1000])
    ax.set_yticks([0, 0.5, 1, 1.5, 2])
    lines = {}
    for name, (color, style, marker) in LOOKS.items():
        (lines[name],) = ax.plot(
            [], [], color=color, ls=style, marker=marker, ms=6, markevery=[-1], clip_on=False
        )
    keys = [
        ax.text(40, 2.12 - 0.19 * i, name, color=LOOKS[name][0], weight="bold", va="center")
        for i, name in enumerate(SHOWN)
    ]
    return {"dot": dot, "lines": lines, "keys": keys}


def _update(artists: dict[str, Any], data: Vanishing) -> None:
    artists["dot"].set_data([data.weight], [data.update])
    for name, line in artists["lines"].items():
        line.set_data(STEPS, data.paths[name])
    for i, (name, text) in enumerate(zip(SHOWN, artists["keys"], strict=True)):
        text.set_text(f"{name}: {format_number(100 * float(data.paths[name][-1]), 3)} %")
        text.set_position((40, 2.0 - 0.19 * i))


def _words(data: Vanishing, name: str) -> str:
    path, end = data.paths[name], format_number(data.ends[name], 4)
    if not path.any():
        return "loses every one"
    last = STEPS.size // 10
    stalls = data.rounding == "nearest" and np.ptp(path[-last:]) == 0
    return f"stalls at {end}" if stalls else f"ends at {end}"


def _readout(data: Vanishing) -> Readout:
    exact = data.weight - UPDATES * data.update
    values = {
        "Weight, exact": Quantity(exact if abs(exact) > 1e-12 else 0.0, digits=4),
        **{f"In {name}": Quantity(end, digits=5) for name, end in data.ends.items()},
        "Half spacing, FP16": Quantity(data.thresholds["FP16"], digits=2),
        "Half spacing, BF16": Quantity(data.thresholds["BF16"], digits=2),
    }
    start, size = format_number(data.weight, 3), format_number(data.update, 3)
    if not (data.paths["FP16"].any() or data.paths["BF16"].any()):
        lose = "happen to lose" if data.rounding == "random" else "lose"
        words = f"FP16 and BF16 {lose} every one of them, and the weight stays where it is"
    else:
        words = "; ".join(f"{name} {_words(data, name)}" for name in ("FP16", "BF16"))
    how = "rounded at random, " if data.rounding == "random" else ""
    return Readout(
        values,
        f"A weight of {start} gets 1000 updates of −{size}, which should take it to "
        f"{format_number(values['Weight, exact'].value, 4)}: {how}{words}.",
    )


vanishing = Explorer(
    name="mixed_precision.vanishing",
    title="Updates that vanish",
    caption="Left: half the spacing of the numbers below a weight, in three formats; an update "
    "under the line of its format changes nothing. The large dot is the update chosen. Right: "
    "share of the way that 1000 such updates have gone, with the weight stored in each format.",
    controls=(
        Steps(
            "update", "Size of an update", (1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3), 1e-4, between="log"
        ),
        Steps("weight", "The weight at first", (0.01, 0.1, 1, 10), 1, between="log"),
        Choice(
            "rounding", "Rounding", {"nearest": "to the nearest", "random": "at random"}, "nearest"
        ),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 290), (345, 290)),
)
