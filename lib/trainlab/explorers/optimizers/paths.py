"""Paths of the optimizers on a bowl, in a ravine, and in the same ravine turned by 45°."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.curvature import largest_stable_lr
from trainlab.explorers import palette
from trainlab.optimizers import OPTIMIZERS, apply_updates

STEPS = 50
RATES = (0.1, 0.3, 0.9, 1.05, 2.0)
# Curvatures along the flat and the steep direction, and the angle of the flat one.
LANDSCAPES = {"bowl": (1.0, 2.0, 0.0), "ravine": (0.08, 2.0, 0.0), "turned": (0.08, 2.0, 45.0)}
LANDSCAPE_NAMES: dict[str | int | float, str] = {
    "bowl": "bowl (curvatures 1 and 2)",
    "ravine": "ravine (0.08 and 2)",
    "turned": "the same ravine, turned by 45°",
}
START = (-2.43, 1.07)  # along the flat and the steep direction
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "gd": ("sgd", {}),
    "momentum": ("sgd", {"momentum": 0.9}),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}),
    "adagrad": ("adagrad", {}),
    "rmsprop": ("rmsprop", {}),
    "adam": ("adam", {}),
    "lion": ("lion", {}),
}
NAMES: dict[str | int | float, str] = {
    "gd": "gradient descent",
    "momentum": "momentum 0.9",
    "nesterov": "Nesterov momentum 0.9",
    "adagrad": "AdaGrad",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "lion": "Lion",
}
CONTOURS = 9


@dataclass(frozen=True)
class Path:
    """Where an optimizer goes, and its loss relative to the start."""

    landscape: str
    optimizer: str
    lr: float
    points: NDArray[Any]
    losses: NDArray[Any]
    best: float
    limit: float


def _turn(flat: float, steep: float, angle: float) -> NDArray[Any]:
    """Take coordinates along the ravine to those of the weights."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.array([c * flat - s * steep, s * flat + c * steep])


def _hessian(flat: float, steep: float, angle: float) -> tuple[float, float, float]:
    """Second derivatives: of the first weight, mixed, of the second."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return flat * c * c + steep * s * s, (flat - steep) * c * s, flat * s * s + steep * c * c


@lru_cache(maxsize=64)
def _walk(optimizer: str, lr: float) -> NDArray[Any]:
    """Weights along all landscapes at once, of shape (steps + 1, 2, landscapes)."""
    rule, options = RULES[optimizer]
    init, update = OPTIMIZERS[rule]
    first, mixed, second = np.transpose([_hessian(*place) for place in LANDSCAPES.values()])
    weights = np.transpose([_turn(*START, angle) for _, _, angle in LANDSCAPES.values()])
    state = init(weights)
    points = [weights]
    for _ in range(STEPS):
        x, y = weights
        grads = np.array([first * x + mixed * y, mixed * x + second * y])
        updates, state = update(grads, state, weights, lr=lr, **options)
        weights = apply_updates(weights, updates)
        points.append(weights)
    return np.array(points)


def _compute(landscape: str, optimizer: str, lr: float) -> Path:
    flat, steep, angle = LANDSCAPES[landscape]
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    walked = _walk(optimizer, lr)[:, :, list(LANDSCAPES).index(landscape)]
    along, across = c * walked[:, 0] + s * walked[:, 1], c * walked[:, 1] - s * walked[:, 0]
    losses = flat * along**2 + steep * across**2
    losses /= losses[0]
    losses[losses < 1e-12] = 0  # what rounding leaves, not what the optimizer does
    best = (steep - flat) / (steep + flat)
    limit = largest_stable_lr(steep)
    return Path(landscape, optimizer, lr, walked, losses, best, limit)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Path of two weights")
    ax.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[-2, 0, 2], yticks=[-2, 0, 2], aspect="equal")
    ax.set(xlabel="first weight", ylabel="second weight")
    ax.grid(visible=False)
    contours = [
        ax.add_patch(Ellipse((0, 0), 1, 1, fill=False, ec=palette.GRID, lw=1.2))
        for _ in range(CONTOURS)
    ]
    ax.plot([0], [0], "+", color=palette.THEORY, ms=11, mew=2)
    (path,) = ax.plot([], [], "o-", color=palette.HIGHLIGHT, lw=1.6, ms=3.4)
    (start,) = ax.plot([], [], "s", color=palette.THEORY, ms=7)
    said = ax.text(-2.8, -2.75, "", color=palette.HIGHLIGHT, fontweight="bold")

    ax = right.subplots()
    panel_label(ax, "Loss, relative to the start")
    ax.set(xlim=(0, STEPS), xlabel="step")
    log_axis(ax, "y", 1e-8, 1e3)
    (best,) = ax.plot([], [], "--", color=palette.THEORY, lw=1.6)
    (loss,) = ax.plot([], [], color=palette.HIGHLIGHT)
    ax.plot([11, 16], [230, 230], "--", color=palette.THEORY, lw=1.6)
    ax.text(
        17, 230, "gradient descent at its\nbest lr, worst start", color=palette.THEORY, va="center"
    )
    return {
        "contours": contours, "path": path, "start": start, "said": said,
        "best": best, "loss": loss,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Path) -> None:
    flat, steep, angle = LANDSCAPES[data.landscape]
    widest = 5.0
    for k, ellipse in enumerate(artists["contours"]):
        semi = widest * 0.62**k * (1.0 if data.landscape == "bowl" else 2.2)
        ellipse.set(width=2 * semi, height=2 * semi * math.sqrt(flat / steep), angle=angle)
    # What has left the frame far behind is not drawn.
    gone = np.flatnonzero(np.abs(data.points).max(axis=1) > 12)
    shown = data.points[: gone[0] + 1] if len(gone) else data.points
    artists["path"].set_data(*np.clip(shown, -12, 12).T.round(3))
    artists["start"].set_data(data.points[:1, 0], data.points[:1, 1])
    artists["said"].set_text(f"{NAMES[data.optimizer]}, lr {format_number(data.lr)}")
    steps = np.arange(STEPS + 1)
    seen = (data.losses < 1e6) & (data.losses > 0)
    last = STEPS + 1 if seen.all() else int(np.argmin(seen))
    artists["loss"].set_data(steps[:last], data.losses[:last])
    artists["best"].set_data([0, STEPS], [1, data.best ** (2 * STEPS)])


def _readout(data: Path) -> Readout:
    there = np.flatnonzero(data.losses < 0.01)
    steps = float(there[0]) if len(there) else math.inf
    best = math.ceil(math.log(0.01) / (2 * math.log(data.best)))
    first = float(np.hypot(*(data.points[1] - data.points[0])))
    name, rate = NAMES[data.optimizer], format_number(data.lr)
    end = float(data.losses[-1])
    said = f"With a learning rate of {rate}, {name} "
    if end > 10:
        said += f"diverges: after {STEPS} steps the loss is {format_number(end, 2)} times the first"
    elif math.isinf(steps):
        said += (
            f"does not come down to 1 % of the loss in {STEPS} steps; at the end it is at "
            f"{format_number(100 * end, 2)} %"
        )
    else:
        said += (
            f"first comes down to 1 % of the loss after {int(steps)} steps, and is at "
            f"{format_number(100 * end, 2)} % after {STEPS}"
        )
    return Readout(
        {
            f"Steps to 1 % ({STEPS}: not reached)": min(steps, STEPS),
            "Gradient descent at its best lr, at most": Quantity(best, "steps"),
            "Largest stable lr of gradient descent": data.limit,
            "Length of the first step": Quantity(first, digits=3),
            f"Loss after {STEPS} steps / first": Quantity(end, digits=2),
        },
        f"{said}. With its best constant learning rate, gradient descent needs {best} steps at "
        "most, from any start.",
    )


paths = Explorer(
    name="optimizers.paths",
    title="Paths of seven optimizers",
    caption="A quadratic loss of two weights. Left: contours, the minimum (+), the start (square) "
    f"and {STEPS} steps. Right: the loss; below 10⁻¹² it counts as 0. Dashed: gradient "
    "descent with its best learning rate, 2 / (sum of the curvatures), from the worst start. Other "
    "constants are the library's defaults.",
    controls=(
        Choice("landscape", "Loss", LANDSCAPE_NAMES, "ravine"),
        Choice("optimizer", "Optimizer", NAMES, "gd"),
        Steps("lr", "Learning rate", RATES, 0.9, between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((340, 330), (350, 330)),
)
