"""The scatter of batch gradients, and the trade of steps for examples that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.batch_size import best_lr, steps_and_examples
from trainlab.batch_size import noise_scale as estimated_noise_scale
from trainlab.explorers import palette
from trainlab.sweeps.learning_rate_batch_size import RATES, STEPS, fitted_noise_scale, to_goal

DRAWS = 150
GRADIENT = np.array([1.0, 0.0])  # the true one


@dataclass(frozen=True)
class Noise:
    """Batch gradients, and steps and examples relative to the fewest."""

    batch_size: float
    noise_scale: float
    gradients: NDArray[Any]  # (draws, 2)
    radius: float  # root mean square distance from the true gradient
    steps: float
    examples: float
    share: float  # best learning rate / the best without noise
    estimate: float


@lru_cache(maxsize=1)
def _normals() -> NDArray[Any]:
    return np.random.default_rng(4).standard_normal((DRAWS, 2))


def _compute(batch_size: float, noise_scale: float) -> Noise:
    radius = (noise_scale / batch_size) ** 0.5
    # Two coordinates share the variance tr Σ / B; the true gradient has the length 1.
    gradients = GRADIENT + radius * _normals() / 2**0.5
    # With min_steps 1 the steps come out relative to the fewest.
    steps, examples = steps_and_examples(batch_size, noise_scale=noise_scale, min_steps=1.0)
    share = best_lr(batch_size, noise_scale=noise_scale, max_lr=1.0)
    return Noise(
        batch_size,
        noise_scale,
        gradients,
        radius,
        float(steps),
        float(examples) / noise_scale,
        float(share),
        # Each gradient shown is the mean of a batch.
        estimated_noise_scale(gradients).scale * batch_size,
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Gradients of single batches")
    ax.set_aspect("equal")
    ax.set_xlim(-2.2, 4.2)
    ax.set_ylim(-2.6, 2.6)
    ax.set_xticks([])
    ax.set_yticks([])
    (dots,) = ax.plot([], [], "o", color=palette.BACKWARD, ms=3.5)
    (circle,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.8)
    # In the moving part, so that the arrow lies above the dots.
    arrow = ax.annotate(
        "",
        xy=(1, 0),
        xytext=(0, 0),
        arrowprops={"arrowstyle": "-|>", "color": palette.INK, "lw": 2.4, "shrinkA": 0},
    )
    ax.text(-2.1, -2.45, "arrow: true gradient", va="bottom")
    label = ax.text(-2.1, 2.45, "", color=palette.HIGHLIGHT, va="top", fontweight="bold")

    ax = right.subplots()
    panel_label(ax, "Cost, relative to the least")
    log_axis(ax, "x", 0.01, 100)
    ax.set_xticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
    log_axis(ax, "y", 0.8, 150)
    ax.set_yticks([1, 2, 10, 100], ["1", "2", "10", "100"])
    ax.set_xlabel("batch size / noise scale")
    x = np.geomspace(0.01, 100, 60)
    steps, examples = steps_and_examples(x, noise_scale=1.0, min_steps=1.0)
    ax.plot(x, steps, color=palette.THEORY, lw=1.3)
    ax.plot(x, examples, color=palette.THEORY, lw=1.3, ls="--")
    ax.text(0.055, 30, "steps", color=palette.FORWARD)
    ax.text(19, 30, "examples", color=palette.TEST, ha="right")
    for optimizer, marker in (("sgd", "s"), ("adam", "^")):
        least, scale = fitted_noise_scale(optimizer)
        for size in STEPS:
            needed = min(to_goal(optimizer, size, i) for i in range(len(RATES[optimizer])))
            style: dict[str, Any] = {"marker": marker, "ms": 5.5, "ls": "", "mfc": "none"}
            ax.plot(size / scale, needed / least, color=palette.FORWARD, **style)
            cost = needed * size / (least * scale)
            ax.plot(size / scale, cost, color=palette.TEST, **style)
    (line,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.2, ls=":")
    (marks,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)
    return {
        "dots": dots, "circle": circle, "arrow": arrow, "label": label, "line": line, "marks": marks
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Noise) -> None:
    artists["dots"].set_data(data.gradients[:, 0], data.gradients[:, 1])
    turn = np.linspace(0, 2 * np.pi, 61)
    artists["circle"].set_data(1 + data.radius * np.cos(turn), data.radius * np.sin(turn))
    artists["label"].set_text(f"noise / gradient = {format_number(data.radius, 2)}")
    ratio = data.batch_size / data.noise_scale
    artists["line"].set_data([ratio, ratio], [0.8, 150])
    artists["marks"].set_data([ratio, ratio], [data.steps, data.examples])


def _readout(data: Noise) -> Readout:
    size, ratio = format_number(data.batch_size, 3), data.batch_size / data.noise_scale
    where = "at" if ratio == 1 else "below" if ratio < 1 else "above"
    return Readout(
        {
            "Noise / gradient": data.radius,
            "Steps / fewest": Quantity(data.steps, "×"),
            "Examples / fewest": Quantity(data.examples, "×"),
            "Best learning rate / largest": data.share,
            "Noise scale, estimated from the dots": data.estimate,
        },
        f"With {size} examples a batch, {where} the noise scale of "
        f"{format_number(data.noise_scale)}, the noise is {format_number(data.radius, 2)} times as "
        f"long as the gradient; training takes {format_number(data.steps)} times the fewest steps "
        f"and {format_number(data.examples)} times the fewest examples.",
    )


noise_scale = Explorer(
    name="learning_rate.noise_scale",
    title="Noise of a gradient, and the price of a batch size",
    caption="Left: gradients of 150 batches in a plane; the circle has their root mean square "
    "distance from the true gradient as its radius. Right: steps (solid) and examples (dashed) to "
    "reach one goal, by the formulas below. Squares (SGD) and triangles (Adam): the same, measured "
    "on the digits at batch sizes 2 to 512, with the fewest steps and the noise scale fitted.",
    controls=(
        Steps(
            "batch_size",
            "Batch size",
            (2, 4, 8, 16, 32, 64, 128, 256, 512),
            32,
            unit="examples",
            between="whole",
        ),
        Steps("noise_scale", "Noise scale", (8, 16, 32, 64, 128), 32, between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
