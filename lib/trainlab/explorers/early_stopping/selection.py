"""The best of many noisy scores: how much of it is luck, and what a test set says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.early_stopping import expected_maximum
from trainlab.explorers import palette

Array = NDArray[Any]

MEAN = 80.0  # true accuracy of a candidate in percent, on average
REPEATS = 1000
CANDIDATES = (1, 2, 5, 10, 30, 100, 300, 1000)
LOW, HIGH = 68.0, 100.0
EDGES = np.arange(LOW, HIGH + 0.25, 0.5)


@dataclass(frozen=True)
class Selection:
    """Expected accuracies of the pick, over the number of candidates; simulated scores of picks."""

    candidates: int
    examples: int
    spread: float
    noise: float  # of one score, in points
    scores: Array  # by number of candidates: expected validation score of the pick
    values: Array  # expected true accuracy
    score: float
    value: float
    picked: Array  # (REPEATS,) validation scores
    tested: Array  # (REPEATS,) test scores of the same

    @property
    def optimism(self) -> float:
        """How much the expected score of the pick is above its true accuracy."""
        return self.score - self.value


@lru_cache(maxsize=64)
def _expected(count: int) -> float:
    return expected_maximum(count)


@lru_cache(maxsize=8)
def _draws(count: int) -> tuple[Array, Array, Array]:
    """Largest of `count` standard normal numbers, 1000 times; two further normal numbers each.

    The largest of K uniform numbers is distributed as the K-th root of one, so that a thousand
    candidates cost no more than one.
    """
    rng = np.random.default_rng(5)
    largest = rng.random(REPEATS) ** (1 / count)
    normal = NormalDist()
    highest = np.array([normal.inv_cdf(float(u)) for u in largest])
    return highest, rng.standard_normal(REPEATS), rng.standard_normal(REPEATS)


def _compute(candidates: int, examples: int, spread: float) -> Selection:
    candidates, examples = int(candidates), int(examples)
    noise = float(np.sqrt(MEAN * (100 - MEAN) / examples))
    # Scores scatter by both; of what lies above the mean the share of the spread is real.
    both = float(np.hypot(noise, spread))
    real = (spread / both) ** 2
    expected = np.array([_expected(k) for k in CANDIDATES])
    highest, rest, fresh = _draws(candidates)
    picked = MEAN + both * highest
    value = MEAN + real * both * highest + noise * spread / both * rest
    here = _expected(candidates)
    return Selection(
        candidates,
        examples,
        spread,
        noise,
        MEAN + both * expected,
        MEAN + real * both * expected,
        MEAN + both * here,
        MEAN + real * both * here,
        picked,
        value + noise * fresh,
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Scores of the pick, 1000 times")
    ax.set_xlim(LOW, HIGH)
    ax.set_ylim(0, 1.25)
    ax.set_yticks([])
    ax.set_xlabel("accuracy (%)")
    ax.grid(False, axis="y")
    (validation,) = ax.fill([0, 0], [0, 0], fc=palette.TEST, ec=palette.TEST, alpha=0.45, lw=1)
    (test,) = ax.plot([], [], color=palette.FORWARD, lw=2)
    lines = [
        ax.plot([], [], color=c, lw=1.6, ls=s)[0]
        for c, s in ((palette.TEST, "-"), (palette.THEORY, "--"))
    ]
    ax.text(HIGH, 1.23, "its validation score", color=palette.TEST, ha="right", va="top")
    ax.text(LOW + 0.3, 1.23, "its test score", color=palette.FORWARD, va="top")

    ax = right.subplots()
    panel_label(ax, "Accuracy of the pick, on average (%)")
    ax.set_xscale("log")
    ax.set_xlim(0.9, 1300)
    ax.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
    ax.set_xticks([], minor=True)
    ax.set_ylim(78, HIGH)
    ax.set_yticks([80, 85, 90, 95, 100])
    ax.set_xlabel("candidates to choose from")
    (scores,) = ax.plot([], [], color=palette.TEST)
    (values,) = ax.plot([], [], color=palette.THEORY, ls="--", lw=1.8)
    (tested,) = ax.plot([], [], "D", color=palette.FORWARD, ms=8)
    (bar,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=3)
    label = ax.text(1.1, HIGH - 0.6, "", color=palette.HIGHLIGHT, va="top", fontweight="bold")
    ax.text(1.1, HIGH - 2.4, "solid: validation score", color=palette.TEST, va="top")
    ax.text(1.1, HIGH - 4.0, "dashed: true accuracy", color=palette.THEORY, va="top")
    ax.text(1.1, HIGH - 5.6, "diamond: mean test score", color=palette.FORWARD, va="top")
    return {
        "validation": validation, "test": test, "lines": lines, "scores": scores,
        "values": values, "tested": tested, "bar": bar, "label": label,
    }  # fmt: skip


def _outline(values: Array) -> tuple[Array, Array]:
    """Histogram as an outline, its highest bar at 1."""
    counts = np.histogram(values, EDGES)[0]
    return np.repeat(EDGES, 2), np.r_[0, np.repeat(counts / counts.max(), 2), 0]


def _update(artists: dict[str, Any], data: Selection) -> None:
    artists["validation"].set_xy(np.column_stack(_outline(data.picked)))
    artists["test"].set_data(*_outline(data.tested))
    for line, level in zip(artists["lines"], (data.score, data.value), strict=True):
        line.set_data([level, level], [0, 1.06])
    artists["scores"].set_data(CANDIDATES, data.scores)
    artists["values"].set_data(CANDIDATES, data.values)
    artists["tested"].set_data([data.candidates], [data.tested.mean()])
    artists["bar"].set_data([data.candidates] * 2, [data.value, data.score])
    artists["label"].set_text(f"optimism {format_number(round(data.optimism, 6), 2)} points")


def _sentence(data: Selection, optimism: float) -> str:
    if data.candidates == 1:
        return (
            f"A single validation score, from {data.examples} examples, is right on average: "
            f"nothing was picked, and there is no optimism."
        )
    return (
        f"The best of {data.candidates} validation scores, each from {data.examples} examples, is "
        f"{format_number(data.score, 4)} % on average; the model that has it is right in "
        f"{format_number(data.value, 4)} % of new cases, so the score promises "
        f"{format_number(optimism, 2)} points too much, and a test set shows it."
    )


def _readout(data: Selection) -> Readout:
    optimism = round(data.optimism, 9) + 0.0
    return Readout(
        {
            "Noise of one score": Quantity(data.noise, "points"),
            "Validation score of the pick": Quantity(data.score, "%", 4),
            "True accuracy of the pick": Quantity(data.value, "%", 4),
            "Optimism": Quantity(optimism, "points"),
            "Mean test score of 1000 picks": Quantity(float(data.tested.mean()), "%", 4),
        },
        _sentence(data, optimism),
    )


selection = Explorer(
    name="early_stopping.selection",
    title="The best of many scores is too good",
    caption="Candidates are checkpoints or settings, with true accuracies around 80 %. Each is "
    "scored on validation examples (independent noise), the best score is picked, and the pick is "
    "tested once on as many new examples. Left: validation scores (filled) and test scores "
    "(outline) of 1000 picks; lines: expected validation score (solid), expected true accuracy "
    "(dashed). Right: both expectations over the number of candidates, computed, not simulated; "
    "the diamond is the mean of the test scores on the left.",
    controls=(
        Steps("candidates", "Candidates", CANDIDATES, 100, between="whole"),
        Steps("examples", "Validation examples", (100, 300, 1000, 3000, 10_000), 300, "", "whole"),
        Steps("spread", "True spread", (0.0, 0.5, 1.0, 2.0), 0.0, "points", "linear"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
