"""Loss by steps and loss by examples, for each batch size, on the digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.batch_size import scaled_lr
from trainlab.explorers import palette
from trainlab.sweeps.learning_rate_batch_size import BASE, GOAL, RATES, STEPS, losses, to_goal

SIZES = tuple(STEPS)
LOW, HIGH = 0.06, 4.0  # of the loss axis
CLEAR = {"facecolor": palette.PAPER, "edgecolor": "none", "pad": 1.0}  # behind a label

RULES: dict[str | int | float, str] = {
    "best": "best of the grid",
    "same": "the same as for 8",
    "linear": "linear rule from 8",
    "sqrt": "square-root rule from 8",
}


@dataclass(frozen=True)
class Batches:
    """The chosen run, the best run of each batch size, and what each takes to the goal."""

    optimizer: str
    batch_size: int
    rule: str
    lr: float
    steps: NDArray[Any]
    losses: NDArray[Any]
    best: list[tuple[NDArray[Any], NDArray[Any]]]
    needed: float  # steps, of the chosen run
    fewest_steps: float
    fewest_examples: float
    best_lr: float


@lru_cache(maxsize=16)
def _best(optimizer: str, batch_size: int) -> int:
    """Index of the learning rate that is first at the goal."""
    needed = [to_goal(optimizer, batch_size, i) for i in range(len(RATES[optimizer]))]
    return int(np.argmin(needed))


def _compute(optimizer: str, batch_size: int, rule: str) -> Batches:
    rates = RATES[optimizer]
    own, base = _best(optimizer, batch_size), float(rates[_best(optimizer, BASE)])
    if rule in ("linear", "sqrt"):
        base = scaled_lr(base, batch_size=batch_size, base=BASE, rule=rule)
    index = own if rule == "best" else int(np.argmin(np.abs(np.log(rates / base))))
    least = [to_goal(optimizer, b, _best(optimizer, b)) for b in SIZES]
    return Batches(
        optimizer,
        batch_size,
        rule,
        float(rates[index]),
        *losses(optimizer, batch_size, index),
        [losses(optimizer, b, _best(optimizer, b)) for b in SIZES],
        to_goal(optimizer, batch_size, index),
        min(least),
        min(s * b for s, b in zip(least, SIZES, strict=True)),
        float(rates[own]),
    )


def _draw(left: Figure, right: Figure) -> list[dict[str, Any]]:
    panels = []
    for figure, title, low, high in (
        (left, "Loss by steps", 0.8, 3000),
        (right, "Loss by examples", 6, 1.5e5),
    ):
        ax = figure.subplots()
        panel_label(ax, title)
        log_axis(ax, "x", low, high)
        log_axis(ax, "y", LOW, HIGH)
        ax.set_yticks([0.1, GOAL, 1, 2], ["0.1", f"{GOAL:g}", "1", "2"])
        ax.set_xlabel("optimizer steps" if figure is left else "examples seen")
        ax.plot([low, high], [GOAL, GOAL], color=palette.INK, lw=1.1, ls=":")
        others = [
            ax.plot([], [], color=palette.MUTED, lw=1.1, ls="--" if b in (2, 512) else "-")[0]
            for b in SIZES
        ]
        names = [
            ax.text(1, 1, f"B = {b}", color=palette.MUTED, ha="center", va="center", bbox=CLEAR)
            for b in (2, 512)
        ]
        (chosen,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=2.8)
        (mark,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)
        panels.append({"others": others, "names": names, "chosen": chosen, "mark": mark})
    return panels


def _update(artists: list[dict[str, Any]], data: Batches) -> None:
    for panel, by_examples in zip(artists, (False, True), strict=True):
        for line, size, (steps, loss) in zip(panel["others"], SIZES, data.best, strict=True):
            line.set_data(steps[1:] * (size if by_examples else 1), np.minimum(loss[1:], HIGH))
        for name, index in zip(panel["names"], (0, -1), strict=True):
            steps, loss = data.best[index]
            end = int(np.argmax(loss < 0.09)) if loss.min() < 0.09 else len(loss) - 1
            scale = SIZES[index] if by_examples else 1
            name.set_position((steps[end] * scale, max(loss[end] * 0.84, 0.068)))
        size = data.batch_size if by_examples else 1
        panel["chosen"].set_data(data.steps[1:] * size, np.minimum(data.losses[1:], HIGH))
        reached = np.isfinite(data.needed)
        panel["mark"].set_data([data.needed * size] if reached else [], [GOAL] if reached else [])


def _readout(data: Batches) -> Readout:
    examples = data.needed * data.batch_size
    what = f"Batches of {data.batch_size} with a learning rate of {data.lr:.3g}"
    if np.isfinite(data.needed):
        ratios = data.needed / data.fewest_steps, examples / data.fewest_examples
        sentence = (
            f"{what} reach the loss {GOAL:g} after {format_number(round(data.needed))} steps and "
            f"{format_number(round(examples))} examples: {ratios[0]:.1f} times the fewest steps "
            f"and {ratios[1]:.1f} times the fewest examples."
        )
    else:
        sentence = f"{what} do not reach the loss {GOAL:g} in {STEPS[data.batch_size]} steps."
    return Readout(
        {
            "Learning rate": data.lr,
            "Best learning rate of the grid": data.best_lr,
            "Steps to the goal": round(data.needed) if np.isfinite(data.needed) else np.inf,
            "Examples to the goal": round(examples) if np.isfinite(examples) else np.inf,
            "Steps / fewest": Quantity(data.needed / data.fewest_steps, "×", 2),
            "Examples / fewest": Quantity(examples / data.fewest_examples, "×", 2),
        },
        sentence,
    )


batch_size = Explorer(
    name="learning_rate.batch_size",
    title="What a larger batch saves, and what it costs",
    caption="Loss on all training digits of a network with 32 hidden units, mean of two runs. "
    "Thick: the chosen batch size and learning rate; thin: batch sizes B = 2, 8, 32, 128 and 512, "
    "each with the learning rate, of a grid of factors of 2, that is first at the goal, a loss "
    "of 0.3 (dotted). Left and right are the same runs. ∞: not reached.",
    controls=(
        Choice("optimizer", "Optimizer", {"sgd": "SGD", "adam": "Adam"}, "sgd"),
        Steps("batch_size", "Batch size", SIZES, 32, unit="examples"),
        Choice("rule", "Learning rate", RULES, "best"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
