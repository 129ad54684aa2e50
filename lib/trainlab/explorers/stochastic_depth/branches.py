"""Which residual branches are there in each of some passes, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Seed, Steps, format_number
from explorables.style import panel_label
from trainlab.explorers import palette
from trainlab.stochastic_depth import (
    compute_saved,
    depth_distribution,
    drop_schedule,
    expected_depth,
)

Array = NDArray[Any]

SHOWN, PASSES = 9, 400
RULES: dict[str | int | float, str] = {
    "linear": "p·l/L (the paper)",
    "from_zero": "p·(l − 1)/(L − 1) (timm)",
    "uniform": "p for all",
}
WORDS = {"linear": "rising to", "from_zero": "rising from 0 to", "uniform": "equal to"}


@dataclass(frozen=True)
class Data:
    """Survival of L branches in some passes, with what the rule says on average."""

    depth: int
    p: float
    rule: str
    kept: Array  # (PASSES, L) of bool
    survival: Array  # (L,)
    chances: Array  # of 0 … L survivors
    mean: float
    spread: float
    saved: float


def _compute(rule: str, p: float, depth: int, seed: int) -> Data:
    depth = int(depth)
    drop = drop_schedule(depth, p=p, rule=rule)
    kept = np.random.default_rng(seed).random((PASSES, depth)) >= drop
    return Data(
        depth,
        p,
        rule,
        kept,
        1 - drop,
        depth_distribution(drop),
        expected_depth(drop),
        float(np.sqrt(np.sum(drop * (1 - drop)))),
        compute_saved(drop),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    top, bottom = left.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    panel_label(top, f"Branches that live, in {SHOWN} passes")
    top.set(xlim=(0, 1), ylim=(SHOWN + 0.7, 0.3))
    top.set_yticks([1, SHOWN], ["first", "last"])
    top.tick_params(length=0, labelbottom=False)
    top.grid(visible=False)
    (bars,) = top.plot([], [], color=palette.KEPT, lw=8, solid_capstyle="butt")
    (cuts,) = top.plot([], [], color=palette.PAPER, lw=1)
    panel_label(bottom, f"Share of {PASSES} passes in which a branch lives")
    bottom.set(ylim=(0, 1.08), xlabel="from input to output")
    bottom.set_xticks([0, 0.5, 1], ["0", "L/2", "L"])
    bottom.set_yticks([0, 0.5, 1])
    (dots,) = bottom.plot([], [], color=palette.TRAIN, marker="o", ls="", ms=4)
    (line,) = bottom.plot([], [], color=palette.THEORY, lw=1.6)

    ax = right.subplots()
    panel_label(ax, "How many live in one pass")
    ax.set(xlim=(0, 1.02), ylim=(0, 1.66), xlabel="branches that live, of L")
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "L/4", "L/2", "3L/4", "L"])
    ax.set_yticks([])
    ax.set_ylabel("share of passes (peak of theory = 1)")
    (counts,) = ax.plot([], [], color=palette.TRAIN, marker="o", ls="", ms=4.5)
    (theory,) = ax.plot([], [], color=palette.THEORY, lw=1.6)
    (mean,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.6, ls="--")
    label = ax.text(0, 1.58, "", color=palette.HIGHLIGHT, weight="bold", va="center", ha="center")
    return {
        "bars": bars,
        "cuts": cuts,
        "dots": dots,
        "line": line,
        "counts": counts,
        "theory": theory,
        "mean": mean,
        "label": label,
    }


def _update(artists: dict[str, Any], data: Data) -> None:
    depth = data.depth
    # A bar is a run of branches that live (few points, so a small page); cuts part the branches.
    edges = np.diff(data.kept[:SHOWN].astype(int), axis=1, prepend=0, append=0)
    row, start = np.nonzero(edges > 0)
    end = np.nonzero(edges < 0)[1]
    gap = np.full(len(row), np.nan)
    y = np.tile(row + 1.0, (3, 1))
    artists["bars"].set_data(np.stack([start, end, gap]).T.ravel() / depth, y.T.ravel())
    inner = np.repeat(np.arange(1, depth) / depth, 2)  # one line, up and down
    artists["cuts"].set_data(inner, np.resize([0.5, SHOWN + 0.5, SHOWN + 0.5, 0.5], len(inner)))
    center = (np.arange(depth) + 0.5) / depth
    artists["dots"].set_data(center, data.kept.mean(axis=0))
    artists["line"].set_data(center[[0, -1]], data.survival[[0, -1]])  # straight, for each rule

    share, peak = np.arange(depth + 1) / depth, data.chances.max()
    found = np.bincount(data.kept.sum(axis=1), minlength=depth + 1) / PASSES
    seen = found > 0
    artists["counts"].set_data(share[seen], found[seen] / peak)
    curve = data.chances / peak
    curved = np.concatenate([[True], curve[:-1] > 1e-3]) | np.append(curve[1:] > 1e-3, True)
    artists["theory"].set_data(share[curved], curve[curved])
    at = data.mean / depth
    artists["mean"].set_data([at, at], [0, 1.5])
    artists["label"].set_text(f"mean {format_number(data.mean, 4)} of {depth}")
    artists["label"].set_position((min(max(at, 0.24), 0.76), 1.58))


def _readout(data: Data) -> Readout:
    all_live = float(np.prod(data.survival))
    lives = int(data.kept[0].sum())
    half = data.depth // 2
    return Readout(
        {
            "Expected depth": Quantity(data.mean, digits=4),
            "Depth, standard deviation": Quantity(data.spread, digits=3),
            "Work saved, if skipped": Quantity(100 * data.saved, "%", digits=3),
            "Live in the first pass": lives,
            "Live in second half, mean": Quantity(float(data.survival[half:].sum()), digits=3),
            "All live, chance": Quantity(all_live, digits=2),
        },
        f"{data.depth} branches with a drop probability {WORDS[data.rule]} {data.p:g}: "
        f"{format_number(data.mean, 4)} live on average, give or take "
        f"{format_number(data.spread, 2)}; {lives} in the first pass. If dropped branches are not "
        f"computed, {format_number(100 * data.saved, 3)} % of the work is saved.",
    )


branches = Explorer(
    name="stochastic_depth.branches",
    title="A network of random depth",
    caption="Left, above: a row is one pass in training, each bar a branch that lives; a gap is a "
    "branch that is dropped, where the block hands its input on. Below and right: dots are "
    f"{PASSES} passes, solid lines theory.",
    controls=(
        Choice("rule", "Drop probability of branch l", RULES, "linear"),
        Steps("p", "p, of the last branch", (0.2, 0.5, 0.8), 0.5, between="linear"),
        Steps("depth", "Branches L", (12, 54, 110), 54, between="whole"),
        Seed(),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 330), (345, 330)),
)
