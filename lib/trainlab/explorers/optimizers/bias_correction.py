"""How much too long Adam's early steps are without bias correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.adaptive_optimizers import AdamState, adam_update
from trainlab.explorers import palette

# Dense where the peak is, then by equal factors.
TIMES = np.unique(np.geomspace(1, 10_000, 70).round().astype(int))
WARMUPS: dict[str | int | float, str] = {
    1: "none", 10: "10 steps", 100: "100 steps", 1000: "1000 steps"
}  # fmt: skip
DOTS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)


@dataclass(frozen=True)
class Early:
    """What the averages hold of a constant gradient of 1, and the steps made of them."""

    b1: float
    b2: float
    warmup: int
    mean: NDArray[Any]
    root: NDArray[Any]
    steps: NDArray[Any]
    dots: NDArray[Any]
    longest: float
    at: int


def _ramp(t: Any, warmup: int) -> Any:
    return np.minimum(1.0, t / warmup)


def _compute(b1: float, b2: float, warmup: int) -> Early:
    mean, root = 1 - b1**TIMES, np.sqrt(1 - b2**TIMES)
    dots = []
    for t in DOTS:
        # Step t of the library, whose averages of a constant gradient are known.
        before = AdamState(t - 1, np.full(1, 1 - b1 ** (t - 1)), np.full(1, 1 - b2 ** (t - 1)))
        _, state = adam_update(np.ones(1), before, np.zeros(1), lr=1.0, b1=b1, b2=b2)
        dots.append(float(state.mu[0] / np.sqrt(state.nu[0]) * _ramp(t, warmup)))
    every = np.arange(1, 2001)  # the peak comes before the end of any warm-up offered, or early
    steps = (1 - b1**every) / np.sqrt(1 - b2**every) * _ramp(every, warmup)
    at = int(np.argmax(steps > steps.max() * (1 - 1e-9)))
    shown = mean / root * _ramp(TIMES, warmup)
    return Early(
        b1, b2, warmup, mean, root, shown, np.array(dots), float(steps[at]), int(every[at])
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "What the averages hold")
    log_axis(ax, "x", 1, 10_000)
    ax.set(ylim=(0, 1.3), yticks=[0, 0.5, 1], xlabel="step")
    ax.axhline(1, color=palette.MUTED, lw=1)
    ax.text(1.15, 1.03, "the true value", color=palette.MUTED)
    (mean,) = ax.plot([], [], color=palette.BACKWARD)
    (root,) = ax.plot([], [], "--", color=palette.FORWARD)
    ax.plot([1.2, 2.2], [1.22, 1.22], color=palette.BACKWARD)
    ax.text(2.5, 1.22, "mean", color=palette.BACKWARD, va="center", fontweight="bold")
    ax.plot([25, 46], [1.22, 1.22], "--", color=palette.FORWARD)
    ax.text(55, 1.22, "root of the square", color=palette.FORWARD, va="center", fontweight="bold")

    ax = right.subplots()
    panel_label(ax, "Length of the step / lr")
    log_axis(ax, "x", 1, 10_000)
    ax.set(ylim=(0, 12), xlabel="step")
    (without,) = ax.plot([], [], color=palette.WRONG)
    (right_one,) = ax.plot([], [], color=palette.THEORY, lw=1.6)
    (dots,) = ax.plot([], [], "o", color=palette.WRONG, ms=6)
    (peak,) = ax.plot([], [], "o", mfc="none", mec=palette.HIGHLIGHT, ms=13, mew=2)
    ax.text(9000, 11.2, "without correction", color=palette.WRONG, ha="right", fontweight="bold")
    ax.text(9000, 10.2, "with correction", color=palette.THEORY, ha="right", fontweight="bold")
    label = ax.text(0, 0, "", color=palette.HIGHLIGHT, fontweight="bold", va="bottom")
    return {
        "mean": mean, "root": root, "without": without, "with": right_one,
        "dots": dots, "peak": peak, "label": label,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Early) -> None:
    artists["mean"].set_data(TIMES, data.mean)
    artists["root"].set_data(TIMES, data.root)
    artists["without"].set_data(TIMES, data.steps)
    artists["with"].set_data(TIMES, _ramp(TIMES, data.warmup))
    artists["dots"].set_data(DOTS, data.dots)
    time, longest = data.at, data.longest
    artists["peak"].set_data([time], [longest])
    label = artists["label"]
    label.set_text(f"{format_number(longest)} at step {time}")
    # Above the peak; inside the panel at either end.
    late = time > 200
    label.set_position((time * (0.8 if late else 1.3), longest + 0.5))
    label.set_horizontalalignment("right" if late else "left")


def _readout(data: Early) -> Readout:
    time, longest = data.at, data.longest
    first = float(data.dots[0])
    if longest > 1.01:
        said = (
            f"the longest step is {format_number(longest)} times the learning rate, at step {time}"
        )
    else:
        said = "no step is longer than the learning rate"
    first_said = f"the first step is {format_number(first)} times the learning rate, and {said}"
    ramp = "" if data.warmup == 1 else f" and {data.warmup:g} steps of warm-up"
    return Readout(
        {
            "First step, uncorrected": Quantity(first, "×"),
            "Longest step, uncorrected": Quantity(longest, "×"),
            "Number of the longest step, uncorrected": time,
            "First step, corrected": Quantity(1 / data.warmup, "×"),
        },
        f"Without bias correction, with b1 = {data.b1:g}, b2 = {data.b2:g}{ramp}, {first_said}.",
    )


bias_correction = Explorer(
    name="optimizers.bias_correction",
    title="Adam without bias correction",
    caption="Left: averages that start at 0, of a constant gradient of 1 and of its square. Right: "
    "the length of Adam's step. Lines are the formulas, dots are the library's averages. For any "
    "other gradient the two lines differ by the same factor.",
    controls=(
        Steps("b1", "b1 (mean)", (0.8, 0.9, 0.99), 0.9, between="linear"),
        Steps("b2", "b2 (square)", (0.9, 0.95, 0.99, 0.999), 0.999, between="linear"),
        Choice("warmup", "Warm-up", WARMUPS, 1),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 280), (350, 280)),
)
