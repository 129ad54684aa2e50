"""All pairs of ten techniques: what both gain over the better one, and whether gains add up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, format_number
from trainlab.combinations import Interval, TwoByTwo, two_by_two, verdict
from trainlab.sweeps.combinations import TECHNIQUES, scores

COUNT = len(TECHNIQUES)
UNITS = {"accuracy": "points", "loss": "nats"}
# value -> words, metric, noise of the labels, whether pairs have half the strengths
MEASURED: dict[str, tuple[str, str, float, bool]] = {
    "right": ("accuracy, labels all right", "accuracy", 0.0, False),
    "wrong": ("accuracy, a quarter wrong", "accuracy", 0.25, False),
    "half": ("accuracy, a quarter wrong, half doses", "accuracy", 0.25, True),
    "loss right": ("loss, labels all right", "loss", 0.0, False),
    "loss wrong": ("loss, a quarter wrong", "loss", 0.25, False),
}
CHOICES: dict[str | int | float, str] = {str(k): name for k, name in enumerate(TECHNIQUES)}
SHORT = {"label smoothing": "smoothing", "weight decay": "decay", "early stopping": "stopping"}
# Ticks of the drawing, and those for pairs with runs beyond; its limits lie a little outside.
TICKS: dict[str, tuple[float, ...]] = {
    "right": (-6, -4, -2, 0, 2, 4),
    "wrong": (-20, -10, 0, 10, 20),
    "half": (-20, -10, 0, 10, 20),
    "loss right": (-0.2, -0.1, 0, 0.1),
    "loss wrong": (-1, -0.5, 0, 0.5),
}
FAR_TICKS: dict[str, tuple[float, ...]] = {
    "right": (-15, -10, -5, 0, 5),
    "wrong": (-60, -40, -20, 0, 20),
    "half": (-60, -40, -20, 0, 20),
    "loss right": (-0.4, -0.2, 0, 0.2),
    "loss wrong": (-1.5, -1, -0.5, 0, 0.5),
}
WIDTH, BOTTOM = 340, 318  # of the drawing of runs
HEIGHTS = (36, 92, 148, 220, 276)  # first, second, both; over the better one, interaction
GRID = 4  # pixels between places of dots: finer is not seen, and longer to store
DIAMOND = "m-4 0l4-4 4 4-4 4zm4 0"  # around where the pen is


@dataclass(frozen=True)
class Data:
    """The means of all cells and whether they differ from 0; all runs of the chosen pair.

    `means` and `clear` have the shape (10, 10): on the diagonal gains alone, below it gains over
    the better one, above it interactions. `gains` has a row of one number a seed for each of the
    five comparisons, and `intervals` their means and ends.
    """

    measured: str
    pair: tuple[int, int]
    means: NDArray[Any]
    clear: NDArray[Any]
    gains: NDArray[Any]
    intervals: NDArray[Any]


def _runs(measured: str, *chosen: int) -> NDArray[Any]:
    _, metric, noise, halved = MEASURED[measured]
    used = frozenset(TECHNIQUES[k] for k in chosen)
    # Half doses are for pairs: alone, each technique has the strength that is best for it.
    return scores(used, noise=noise, metric=metric, halved=halved and len(used) == 2)


@lru_cache(maxsize=600)
def _compared(measured: str, i: int, j: int) -> TwoByTwo:
    return two_by_two(*(_runs(measured, *used) for used in ((), (i,), (j,), (i, j))))


@lru_cache(maxsize=5)
def _cells(measured: str) -> tuple[NDArray[Any], NDArray[Any]]:
    means, clear = np.zeros((COUNT, COUNT)), np.zeros((COUNT, COUNT), bool)
    for i in range(COUNT):
        for j in range(i, COUNT):
            found = _compared(measured, i, j)
            cells = {(j, i): found.over_better, (i, j): found.interaction}
            for place, shown in ({(i, i): found.first} if i == j else cells).items():
                means[place] = shown.mean
                clear[place] = verdict(shown) != "no difference seen"
    return means, clear


def _compute(measured: str, first: str, second: str) -> Data:
    i, j = int(first), int(second)
    none, a, b, ab = (_runs(measured, *used) for used in ((), (i,), (j,), (i, j)))
    better = a if a.mean() >= b.mean() else b
    gains = np.array([a - none, b - none, ab - none, ab - better, ab - a - b + none])
    # Without the last decimals, which are rounding: no noise, and no ties in what is read out.
    found = np.round(_compared(measured, i, j), 9)
    if i == j:  # no pair: nothing is added
        gains[3:], found[3:] = 0, 0
    return Data(measured, (i, j), *_cells(measured), gains, found)


def _short(k: int) -> str:
    return SHORT.get(TECHNIQUES[k], TECHNIQUES[k])


def _number(value: float, metric: str) -> str:
    """Write the size of a number for a cell: at most three signs."""
    size = abs(value)
    if metric == "accuracy":
        return f"{size:.0f}" if size >= 9.95 else f"{size:.1f}"
    return f"{size:.1f}" if size >= 0.995 else f"{size:.2f}"[1:]


@lru_cache(maxsize=8)
def _marks(measured: str) -> list[list[str]]:
    """Return the text of each cell of the table, marked as a gain or a loss."""
    means, clear = _cells(measured)
    metric = MEASURED[measured][1]
    rows: list[list[str]] = [["·"] * COUNT for _ in range(COUNT)]
    for i, j in np.argwhere(clear):
        tag = "ins" if means[i, j] > 0 else "del"
        rows[i][j] = f"<{tag}>{_number(float(means[i, j]), metric)}</{tag}>"
    return rows


@lru_cache(maxsize=8)
def _head(metric: str) -> str:
    names = "".join(f"<th scope=col><span>{_short(k)}</span>" for k in range(COUNT))
    return (
        '<table class="xp-matrix" data-rows="first" data-columns="second">'
        "<caption>↙ both − the better one<span>↗ interaction</span>"
        f"</caption><thead><tr><th scope=col>{UNITS[metric]}{names}<tbody>"
    )


def _matrix(data: Data) -> str:
    chosen = {data.pair, data.pair[::-1]}
    rows = []
    for i, cells in enumerate(_marks(data.measured)):
        written = "".join(
            f"<td{' class=xp-focus' if (i, j) in chosen else ''}>{cell}"
            for j, cell in enumerate(cells)
        )
        rows.append(f"<tr><th scope=row>{_short(i)}{written}")
    return f"{_head(MEASURED[data.measured][1])}{''.join(rows)}</table>"


@lru_cache(maxsize=10)
def _scale(measured: str, far: bool) -> tuple[float, float, str]:
    """Lowest and highest gain that are drawn, and the ticks."""
    ticks, metric = (FAR_TICKS if far else TICKS)[measured], MEASURED[measured][1]
    pad = (ticks[-1] - ticks[0]) * 0.07
    low, high = ticks[0] - pad, ticks[-1] + pad
    rules, parts = "", []
    for tick in ticks:
        x = round(WIDTH * (tick - low) / (high - low))
        if tick:
            rules += f"M{x} 8V{BOTTOM}"
        else:
            parts.append(f'<path class="xp-zero" d="M{x} 8V{BOTTOM}"/>')
        parts.append(f'<text x="{x}" y="{BOTTOM + 16}">{format_number(tick)}</text>')
    parts.append(f'<path class="xp-rule" d="{rules}"/>')
    unit = f"gain in {metric}, {UNITS[metric]}: more is better"
    parts.append(f'<text x="{WIDTH // 2}" y="{BOTTOM + 36}">{unit}</text>')
    return low, high, "".join(parts)


def _runs_drawn(data: Data) -> str:
    """Draw the gains of the chosen pair: a row a comparison, a dot a seed."""
    values = np.hstack([data.intervals, data.gains])
    low, high, ticks = _scale(data.measured, False)
    if values.min() < low or values.max() > high:
        low, high, ticks = _scale(data.measured, True)
    shown = 3 if data.pair[0] == data.pair[1] else 5
    places = np.rint(WIDTH * (values - low) / (high - low)).astype(int)[:shown]
    names = (*(TECHNIQUES[k] for k in data.pair), "both", "both − the better one", "interaction")
    words, bars, dots = "", "", ""
    for name, y, (mean, _, right, *seeds) in zip(names, HEIGHTS, places.tolist(), strict=False):
        words += f'<text class="xp-name" x="4" y="{y - 11}">{name}</text>'
        half = right - mean
        bars += f"M{mean - half} {y}h{half}{DIAMOND}h{half}"
        at = " ".join(str(round(x / GRID)) for x in sorted(seeds))
        dots += f'<text x="{at}" y="{(y + 13) / GRID:g}">{"•" * len(seeds)}</text>'
    parts = [
        f'<path class="xp-bars" d="{bars}"/>{words}'
        f'<g class="xp-seeds" transform="scale({GRID})">{dots}</g>'
    ]
    if shown == 5:
        total = min(round(WIDTH * (sum(data.intervals[:2, 0]) - low) / (high - low)), WIDTH - 4)
        end, y = total > 0.6 * WIDTH, HEIGHTS[2]
        parts.append(
            f'<path class="xp-sum" d="M{total} {y - 16}v38"/>'
            f'<text class="xp-{"end" if end else "start"}" x="{total + (-5 if end else 5)}" '
            f'y="{y - 11}">if gains added up</text>'
        )
    box = f"0 0 {WIDTH} {BOTTOM + 44}"
    return f'<svg class="xp-runs" viewBox="{box}" aria-hidden="true">{ticks}{"".join(parts)}</svg>'


def _view(data: Data) -> str:
    return f'<div class="xp-pairs">{_matrix(data)}{_runs_drawn(data)}</div>'


def _readout(data: Data) -> Readout:
    i, j = data.pair
    unit = UNITS[MEASURED[data.measured][1]]
    found = [Interval(*(float(v) for v in row)) for row in data.intervals]
    means = [Quantity(float(f"{gain.mean:.2g}"), unit) for gain in found]  # short to store
    a, b = TECHNIQUES[i], TECHNIQUES[j]

    def said(shown: Interval) -> str:
        ends = f"{format_number(shown.low, 2)} to {format_number(shown.high, 2)}"
        return f"{format_number(shown.mean, 2)} ({ends})"

    if i == j:
        words = f"{a} alone gains {said(found[0])} {unit}: {verdict(found[0])}."
    else:
        over = {"helps": "better than", "hurts": "worse than"}.get(
            verdict(found[3]), "not seen to differ from"
        )
        words = (
            f"{a} gains {format_number(found[0].mean, 2)} {unit}, {b} "
            f"{format_number(found[1].mean, 2)}, both {format_number(found[2].mean, 2)}; the pair "
            f"is {over} the better one alone: {said(found[3])}; and the interaction is "
            f"{said(found[4])}."
        )
    return Readout(
        {
            "First alone": means[0],
            "Second alone": means[1],
            "Both": means[2],
            "Both over the better one": means[3],
            "Interaction": means[4],
        },
        words[0].upper() + words[1:],
    )


pairs = Explorer(
    name="combinations.pairs",
    title="Ten techniques in pairs",
    caption="Gains over a small network without any of them, on test digits, means over ten seeds. "
    "Left: on the framed diagonal each technique alone; below it, both over the better one; above "
    "it, the interaction: both minus the sum of the two gains. Blue with a bar above: a gain; red "
    "with a bar below: a loss; ·: the 95 % interval contains 0. Thick frames: the chosen pair (in "
    "the built book a click on a cell chooses it). Right: its runs, a dot a seed, with the mean "
    "and its interval; the axis is longer for pairs that lose much.",
    controls=(
        Choice("measured", "Measured", {k: v[0] for k, v in MEASURED.items()}, "wrong"),
        Choice("first", "First technique", CHOICES, "3"),
        Choice("second", "Second technique", CHOICES, "4"),
    ),
    compute=_compute,
    readout=_readout,
    view=_view,
)
