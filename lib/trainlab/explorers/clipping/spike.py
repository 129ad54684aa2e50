"""One bad batch under Adam: what it does to all steps that follow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.adaptive_optimizers import adam_init, adam_update
from trainlab.clipping import clip_by_value
from trainlab.explorers import palette

STEPS, BAD, RUNS = 110, 50, 200
MEAN_SQUARE = 2.0  # of a gradient with mean 1 and standard deviation 1
SIZES = (3.0, 10.0, 100.0, 1e3, 1e4)
THRESHOLDS = (1e-3, 1.0, 5.0, 20.0, 200.0)


@dataclass(frozen=True)
class Spike:
    """Gradients of one run, and Adam's mean step over all runs, in units of lr."""

    size: float
    threshold: float
    b2: float
    gradient: NDArray[Any]
    none: NDArray[Any]
    clipped: NDArray[Any]
    clean: NDArray[Any]
    slow_for: int


@lru_cache(maxsize=1)
def _gradients() -> NDArray[Any]:
    """One weight in 200 runs: (steps, runs)."""
    return 1 + np.random.default_rng(8).standard_normal((STEPS, RUNS))


def _steps(gradients: NDArray[Any], b2: float) -> NDArray[Any]:
    """Mean step of Adam over the runs, (steps, kinds) from (steps, kinds, runs)."""
    params = np.zeros(gradients.shape[1:])
    state, out = adam_init(params), []
    for grads in gradients:
        updates, state = adam_update(grads, state, params, lr=1.0, b2=b2)
        out.append(-updates.mean(axis=-1))
    return np.array(out)


@lru_cache(maxsize=16)
def _all_steps(
    sizes: tuple[float, ...], thresholds: tuple[float, ...], b2: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean steps without a bad batch, (steps,), and for each size with and without clipping.

    The second array has shape (steps, sizes, 1 + thresholds); its first column is not clipped.
    """
    kinds = [_gradients()]
    for size in sizes:
        bad = _gradients().copy()
        bad[BAD] = size
        kinds += [bad, *(clip_by_value(bad, clip_value=c) for c in thresholds)]
    steps = _steps(np.stack(kinds, axis=1), b2)  # one pass for all: (steps, kinds)
    return steps[:, 0], steps[:, 1:].reshape(STEPS, len(sizes), 1 + len(thresholds))


def _slow_for(size: float, b2: float) -> int:
    """Steps after the spike until the expected step is half as long as without it."""
    after = np.arange(1, 40_000)
    extra = (1 - b2) * size**2 * b2**after / (1 - b2 ** (BAD + 1 + after))
    # The step is half as long where the second moment is four times as large.
    return int(np.count_nonzero(extra > 3 * MEAN_SQUARE))


def _compute(size: float, threshold: float, b2: float) -> Spike:
    sizes = SIZES if size in SIZES else (size,)
    thresholds = THRESHOLDS if threshold in THRESHOLDS else (threshold,)
    clean, steps = _all_steps(sizes, thresholds, b2)
    of_size = steps[:, sizes.index(size)]
    none, clipped = of_size[:, 0], of_size[:, 1 + thresholds.index(threshold)]
    gradient = _gradients()[:, 0].copy()
    gradient[BAD] = size
    return Spike(size, threshold, b2, gradient, none, clipped, clean, _slow_for(size, b2))


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Size of the gradient, one run")
    ax.set(xlim=(-3, STEPS + 3), xlabel="step")
    log_axis(ax, "y", 1e-3, 1e5)
    good = np.arange(STEPS) != BAD  # the same in all states, so these do not move
    size = np.maximum(np.abs(_gradients()[:, 0]), 1.2e-3)
    ax.plot(np.arange(STEPS)[good], size[good], "o", color=palette.BACKWARD, ms=3)
    (bad,) = ax.plot([], [], "D", color=palette.WRONG, ms=8)
    (line,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.6, ls="--")
    label = ax.text(STEPS, 1, "threshold", color=palette.HIGHLIGHT, ha="right", va="bottom")
    ax.text(BAD + 6, 2.5e4, "bad batch", color=palette.WRONG, va="center")

    ax = right.subplots()
    panel_label(ax, "Adam's step / lr, mean of 200 runs")
    ax.set(xlim=(-3, STEPS + 3), ylim=(-0.03, 1.12), xlabel="step", yticks=[0, 0.5, 1])
    (clean,) = ax.plot([], [], color=palette.MUTED, lw=1.4, ls=":")
    (clipped,) = ax.plot([], [], color=palette.FORWARD, ls="--")
    (none,) = ax.plot([], [], color=palette.WRONG)
    kinds = (("solid: no clipping", palette.WRONG), ("dashed: clipped", palette.FORWARD),
             ("dotted: no bad batch", palette.MUTED))  # fmt: skip
    for row, (words, color) in enumerate(kinds):
        ax.text(STEPS, 1.09 - 0.075 * row, words, color=color, ha="right", va="top")
    return {
        "bad": bad, "line": line, "label": label,
        "none": none, "clipped": clipped, "clean": clean,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Spike) -> None:
    steps = np.arange(STEPS)
    artists["bad"].set_data([BAD], [data.size])
    artists["line"].set_data([-3, STEPS + 3], [data.threshold] * 2)
    artists["label"].set_position((STEPS, data.threshold * 1.25))
    for name in ("none", "clipped", "clean"):
        artists[name].set_data(steps, getattr(data, name))


def _readout(data: Spike) -> Readout:
    last = BAD + 49
    none, clipped, clean = (float(v[last]) for v in (data.none, data.clipped, data.clean))
    harm = none < 0.7 * clean
    saved = clipped > 0.7 * clean
    if not harm:
        seen = "so small a one does little harm"
    elif saved:
        seen = f"clipped at {data.threshold:g} it is {format_number(clipped, 2)}"
    else:
        seen = f"clipped at {data.threshold:g}, too high a threshold, {format_number(clipped, 2)}"
    return Readout(
        {
            "Step at the bad batch": float(data.none[BAD]),
            "49 steps later, no clipping": none,
            "49 steps later, clipped": clipped,
            "49 steps later, no bad batch": clean,
            "Gradients above the threshold": Quantity(
                100 * float(np.mean(np.abs(data.gradient) > data.threshold)), "%", 2
            ),
            "Unclipped step below half for": Quantity(data.slow_for, "steps"),
        },
        f"After one gradient of {data.size:g} among gradients near 1, Adam's step 49 steps later "
        f"is {format_number(none, 2)} of the learning rate instead of {format_number(clean, 2)}; "
        f"{seen}.",
    )


spike = Explorer(
    name="clipping.spike",
    title="One bad batch under Adam",
    caption="One weight whose gradient has mean 1 and standard deviation 1, except at step 50. "
    "Left: its size in one of 200 runs, and the threshold. Right: the step that Adam takes, in "
    "units of the learning rate: without clipping, with clipping, and without the bad batch. "
    "With a single weight, clipping by value and by norm are the same. The last number is computed "
    "from the expected second moment, without clipping.",
    controls=(
        Steps("size", "Bad gradient", SIZES, 1e3, between="log"),
        Steps("threshold", "Threshold", THRESHOLDS, 5.0, between="log"),
        Steps("b2", "b2", (0.95, 0.99, 0.999), 0.999),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
