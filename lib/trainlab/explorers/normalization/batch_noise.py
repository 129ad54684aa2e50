"""What a batch does to one of its examples, and how fast running averages follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from explorables import Explorer, Readout, Seed, Steps, format_number
from explorables.style import panel_label
from trainlab.batch_statistics import batch_noise as closed_form
from trainlab.batch_statistics import running_noise, steps_to_forget
from trainlab.explorers.palette import GRID, HIGHLIGHT, MUTED, TEST, THEORY, TRAIN
from trainlab.normalization import batch_norm

__all__ = ["batch_noise"]

BATCHES = 1000
STEPS = 480
EVERY = 4  # of these steps is drawn
EDGES = (np.arange(-12, 14) - 0.5) / 3  # centers at multiples of 1/3: ±1 stand in the middle
TRUE_MEAN = 1.0


@dataclass(frozen=True)
class Data:
    """Shares of the histogram, and the running mean over training steps."""

    batch_size: int
    value: float
    momentum: float
    share: np.ndarray[Any, Any]
    mean: float
    std: float
    steps: np.ndarray[Any, Any]
    running: np.ndarray[Any, Any]
    expected: np.ndarray[Any, Any]
    noise: np.ndarray[Any, Any]


@lru_cache(maxsize=64)
def _running_mean(batch_size: int, momentum: float, seed: int) -> np.ndarray[Any, Any]:
    # batch_norm_update in plain numbers, the mean only: hundreds of calls would feel slow.
    batches = TRUE_MEAN + np.random.default_rng(seed).standard_normal((STEPS, batch_size))
    trace = [0.0]
    for mean in batches.mean(axis=1).tolist():
        trace.append((1 - momentum) * trace[-1] + momentum * mean)
    return np.array(trace)[::EVERY]


@lru_cache(maxsize=64)
def _normalized(batch_size: int, value: float, seed: int) -> np.ndarray[Any, Any]:
    # Each column is a batch of its own: batch norm treats it as a channel.
    batches = np.random.default_rng(seed).standard_normal((batch_size, BATCHES))
    batches[0] = value
    first: np.ndarray[Any, Any] = batch_norm(batches)[0]
    return first


def _compute(batch_size: int, momentum: float, value: float, seed: int) -> Data:
    normalized = _normalized(batch_size, value, seed)
    steps = np.arange(0, STEPS + 1, EVERY)
    left = (1 - momentum) ** steps
    # At momentum 1 the running mean is the last batch's own.
    lasting = (
        running_noise(momentum, batch_size) if momentum < 1 else closed_form(batch_size).mean_std
    )
    return Data(
        batch_size,
        value,
        momentum,
        share=np.histogram(normalized, EDGES)[0] / BATCHES,
        mean=float(normalized.mean()),
        std=float(normalized.std()),
        steps=steps,
        running=_running_mean(batch_size, momentum, seed),
        expected=TRUE_MEAN * (1 - left),
        noise=lasting * np.sqrt(1 - left**2),
    )


def _forget(momentum: float) -> int:
    return steps_to_forget(momentum) if momentum < 1 else 1


def _readout(data: Data) -> Readout:
    bound = closed_form(data.batch_size).largest
    steps = _forget(data.momentum)
    return Readout(
        {
            "Normalized value, mean over batches": data.mean,
            "Its standard deviation": data.std,
            "Largest possible normalized value": bound,
            "Batches until 1 % of the start is left": steps,
            "Noise of the running mean that stays": float(data.noise[-1]),
        },
        f"In random batches of {data.batch_size}, the value {format_number(data.value)} is "
        f"normalized to {format_number(data.mean, 2)} ± {format_number(data.std, 2)}, never above "
        f"{format_number(bound)}; with momentum {format_number(data.momentum)} the running mean "
        f"needs {steps} {'batch' if steps == 1 else 'batches'} to forget its start.",
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "One example in random batches")
    ax.set(
        xlim=(-4.17, 4.17),
        ylim=(0, 1.15),
        xlabel="its normalized value",
        ylabel="share of the batches",
    )
    bars = ax.stairs(np.zeros(len(EDGES) - 1), EDGES, fill=True, color=TRAIN)
    inference = ax.axvline(0, ymax=0.9, color=TEST, linewidth=2)
    bounds = [ax.axvline(0, ymax=0.84, color=MUTED, linewidth=1.4, ls="--") for _ in range(2)]
    ax.text(
        -4.1,
        1.03,
        "dashed: ±√(m − 1)",
        va="bottom",
        color=MUTED,
        fontsize=11.5,
    )
    word = ax.text(0, 1.03, "", ha="center", va="bottom", color=TEST, fontsize=11.5)

    ax = right.subplots()
    panel_label(ax, "Running mean, started at 0")
    ax.set(
        xlim=(0, STEPS),
        ylim=(-0.4, 2.1),
        xlabel="training batches",
        ylabel="in standard deviations",
    )
    ax.axhline(TRUE_MEAN, color=GRID, linewidth=1.8)
    ax.text(
        STEPS, 2.08, "black: expected, ± 1 s.d.", ha="right", va="top", color=MUTED, fontsize=11.5
    )
    (trace,) = ax.plot([], [], color=TRAIN, linewidth=1.2)
    (expected,) = ax.plot([], [], color=THEORY, linewidth=1.6)
    band = [ax.plot([], [], ":", color=THEORY, linewidth=1.2)[0] for _ in range(2)]
    reached = ax.axvline(0, ymax=0.9, color=HIGHLIGHT, linewidth=1.6)
    steps = ax.text(0, -0.32, "", color=HIGHLIGHT, fontsize=11.5, weight="bold")
    return {
        "bars": bars,
        "inference": inference,
        "bounds": bounds,
        "word": word,
        "trace": trace,
        "expected": expected,
        "band": band,
        "reached": reached,
        "steps": steps,
    }


def _update(artists: dict[str, Any], data: Data) -> None:
    artists["bars"].set_data(data.share)
    artists["inference"].set_xdata([data.value, data.value])
    artists["word"].set_text("evaluation mode")
    artists["word"].set_x(max(1.5, min(data.value, 2.4)))  # clear of the note and of the edge
    bound = math.sqrt(data.batch_size - 1)
    for sign, line in zip((-1, 1), artists["bounds"], strict=True):
        line.set_xdata([sign * bound, sign * bound])
        line.set_visible(bound < EDGES[-1])
    artists["trace"].set_data(data.steps, data.running)
    artists["expected"].set_data(data.steps, data.expected)
    for sign, line in zip((-1, 1), artists["band"], strict=True):
        line.set_data(data.steps, data.expected + sign * data.noise)
    steps = _forget(data.momentum)
    artists["reached"].set_xdata([steps, steps])
    artists["steps"].set_text(f" {steps} " + ("batch" if steps == 1 else "batches"))
    artists["steps"].set_x(steps)
    artists["steps"].set_horizontalalignment("right" if steps > STEPS / 2 else "left")
    artists["reached"].set_visible(steps <= STEPS)


batch_noise = Explorer(
    name="normalization.batch_noise",
    title="What a batch does to one example",
    caption=(
        f"Left: one fixed value among random neighbors from N(0, 1), normalized in {BATCHES} "
        "random batches; the line marked evaluation mode is its value at test time. Right: the "
        "running mean of a channel with true mean 1 and standard deviation 1: one run, its "
        "expectation, one standard deviation around it (dotted), and where 1 % of the start is "
        "left."
    ),
    controls=(
        Steps("batch_size", "Batch size m", (2, 4, 8, 16, 32, 64, 256), default=2, between="whole"),
        Steps("momentum", "Momentum (PyTorch)", (0.01, 0.1, 0.3, 1.0), default=0.1, between="log"),
        Steps("value", "Value of the example", (0.5, 1.0, 3.0), default=0.5, between="linear"),
        Seed(),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 300), (345, 300)),
)
