"""Hidden units that start alike: what tells them apart, and how long it takes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.plain_network import Network, gradient_descent

UNITS, LR, LAST = 8, 0.5, 2000
CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
XOR = np.array([0, 1, 1, 0])
BASES = (0.0, 0.5)
NOISES = (0.0, 1e-6, 1e-3, 0.01, 0.1, 1.0)
STEPS = (0, 10, 30, 60, 100, 200, 400, 700, 1000, 2000)
# Trails and curves bend most in the beginning: stops in nearly equal ratios, the slider's among
# them.
STOPS = tuple(
    sorted({0, 2, 3, 5, 7, 15, 20, 40, 80, 130, 160, 250, 300, 500, 600, 850, 1400, *STEPS})
)
# One hidden unit can cut off one corner of the square; of the other three, 2/3 are of one class.
ONE_UNIT = 0.75 * (math.log(3) - 2 / 3 * math.log(2))


@dataclass(frozen=True)
class Symmetry:
    """Hidden weight vectors and loss up to a step of training."""

    base: float
    noise: float
    step: int
    weights: NDArray[Any]  # (stops so far, units, 2)
    steps: NDArray[Any]  # (stops so far,)
    losses: NDArray[Any]  # (stops so far,)


@lru_cache(maxsize=4)
def _runs(activation: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights and losses at the stops, for all starts at once: one stack of networks."""
    rng = np.random.default_rng(1)
    first, last = rng.standard_normal((UNITS, 2)), rng.standard_normal((1, UNITS))
    starts = [(base, noise) for base in BASES for noise in NOISES]
    stack = len(starts)
    net = Network(
        tuple(np.array([b + e * draw for b, e in starts]) for draw in (first, last)),
        (np.zeros((stack, UNITS)), np.zeros((stack, 1))),
    )
    weights, losses = [net.weights[0]], []
    for before, after in itertools.pairwise(STOPS):
        net, loss = gradient_descent(
            net, CORNERS, XOR, activation=activation, lr=LR, steps=after - before
        )
        losses.append(loss[0])
        weights.append(net.weights[0])
    losses.append(loss[-1])
    shape = (len(STOPS), len(BASES), len(NOISES))
    return np.array(weights).reshape(*shape, UNITS, 2), np.array(losses).reshape(shape)


def _compute(base: float, noise: float, activation: str, step: int) -> Symmetry:
    weights, losses = _runs(activation)
    upto = STOPS.index(step) + 1
    start = (BASES.index(base), NOISES.index(noise))
    return Symmetry(
        base,
        noise,
        step,
        weights[:upto, *start],
        np.array(STOPS[:upto]),
        losses[:upto, *start],
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    plane = left.subplots()
    panel_label(plane, "Weights of the 8 hidden units")
    plane.set(xlim=(-3.6, 3.6), ylim=(-2.9, 2.9), xlabel="weight of x₁", ylabel="weight of x₂")
    plane.set_xticks(range(-3, 4))
    plane.set_yticks(range(-2, 3))
    plane.axhline(0, color=palette.MUTED, lw=1)
    plane.axvline(0, color=palette.MUTED, lw=1)
    trails = [plane.plot([], [], color=palette.MUTED, lw=1)[0] for _ in range(UNITS)]
    arrows = [plane.plot([], [], color=palette.FORWARD, lw=2)[0] for _ in range(UNITS)]
    (tips,) = plane.plot(
        [], [], color=palette.FORWARD, marker="o", ms=8, ls="", markeredgecolor=palette.PAPER
    )
    together = plane.text(0, 0, "", color=palette.WRONG, fontweight="bold", va="center")

    ax = right.subplots()
    panel_label(ax, "Loss on XOR")
    log_axis(ax, "x", 1, LAST * 1.2)
    ax.set_xticks([1, 10, 100, 1000], ["start", "10", "100", "1000"])
    ax.set(ylim=(0, 1.6), xlabel="gradient steps", yticks=np.arange(0, 1.7, 0.4))
    for level, text in ((math.log(2), "guessing: 0.693"), (ONE_UNIT, "one unit at best: 0.477")):
        ax.axhline(level, color=palette.MUTED, lw=1.2, ls=(0, (3, 2)))
        ax.text(LAST, level + 0.045, text, color=palette.MUTED, ha="right", fontsize=11.5)
    (curve,) = ax.plot([], [], color=palette.TRAIN)
    (now,) = ax.plot([], [], color=palette.TRAIN, marker="o", ms=8)
    return {
        "trails": trails,
        "arrows": arrows,
        "tips": tips,
        "together": together,
        "curve": curve,
        "now": now,
    }


def _spread(weights: NDArray[Any]) -> float:
    return float(np.ptp(weights, axis=0).max())


def _update(artists: dict[str, Any], data: Symmetry) -> None:
    current = data.weights[-1]
    for unit in range(UNITS):
        artists["trails"][unit].set_data(*data.weights[:, unit].T)
        artists["arrows"][unit].set_data([0, current[unit, 0]], [0, current[unit, 1]])
    artists["tips"].set_data(*current.T)
    close = _spread(current) < 0.15
    x, y = current.mean(axis=0)
    artists["together"].set_text("all 8 units" if close else "")
    artists["together"].set_position((x + 0.25, y))
    shown = np.maximum(data.steps, 1)
    artists["curve"].set_data(shown, data.losses)
    artists["now"].set_data(shown[-1:], data.losses[-1:])


def _readout(data: Symmetry) -> Readout:
    current = data.weights[-1]
    first, second = np.linalg.svd(current, compute_uv=False)
    spread, loss = _spread(current), float(data.losses[-1])
    start = f"constant {format_number(data.base)}" if data.base else "zero"
    noise = f" plus noise of size {format_number(data.noise)}" if data.noise else ""
    if spread == 0:
        fate = "the 8 hidden units are exact copies of one another"
    elif spread < 0.15:
        fate = f"the 8 hidden units still differ by at most {format_number(spread, 2)}"
    else:
        fate = f"the 8 hidden units have spread over a range of {format_number(spread, 2)}"
    return Readout(
        {
            "Loss": loss,
            "Units differ by up to": Quantity(spread, digits=2),
            "Second / first singular value": Quantity(
                float(second / first) if first else 0.0, digits=2
            ),
            "Longest weight vector": float(np.linalg.norm(current, axis=1).max()),
        },
        f"Start at {start}{noise}, {data.step} steps: {fate}; the loss is "
        f"{format_number(loss)}, where guessing gives 0.693 and one hidden unit at best 0.477.",
    )


symmetry = Explorer(
    name="initialization.symmetry",
    title="Symmetry breaking",
    caption="A 2-8-1 network learns XOR of the four corners of a square by gradient descent "
    "(rate 0.5). Left: an arrow for each hidden unit's incoming weights; gray, the way it came. "
    "Right: cross-entropy in nats so far. All weights start at the constant plus the same normal "
    "numbers times the noise.",
    controls=(
        Choice("base", "All weights start at", {0.0: "zero", 0.5: "a constant, 0.5"}, 0.5),
        Choice(
            "noise",
            "plus noise of size",
            {0.0: "0", 1e-6: "10⁻⁶", 1e-3: "10⁻³", 0.01: "0.01", 0.1: "0.1", 1.0: "1"},
            1e-3,
        ),
        Choice("activation", "Activation", {"relu": "ReLU", "tanh": "tanh"}, "relu"),
        Steps("step", "Gradient steps", STEPS, LAST),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
