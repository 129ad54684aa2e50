"""Gradient descent beside the cliff of a recurrent unit, with and without clipping."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.clipping import clip_per_example
from trainlab.differentiation import vjp
from trainlab.explorers import palette
from trainlab.recurrent import recurrent_unit

LENGTH, UPDATES, TARGET = 20, 100, 0.7
STARTS = 60
SOLVED = 0.01
SHOWN = (18, 34, 27)  # the starts of the path: thrown early, a little later, from farther away
PATH = 60  # updates of it that are drawn
THRESHOLDS = (0.01, 0.1, 0.3, 1.0, 3.0)
RATES = (0.1, 0.3, 1.0, 2.0)
W, B = (3.4, 6.6), (-3.3, -1.3)


@dataclass(frozen=True)
class Cliff:
    """One path without and one with clipping, and the share of solved runs by update."""

    start: int
    lr: float
    threshold: float
    none: NDArray[Any]
    clipped: NDArray[Any]
    solved_none: NDArray[Any]
    solved_clipped: NDArray[Any]
    lost_none: float
    lost_clipped: float
    farthest: float
    steepest: float


@lru_cache(maxsize=1)
def _starts() -> NDArray[Any]:
    """Weights and biases near the cliff, (2, starts)."""
    rng = np.random.default_rng(0)
    w = rng.uniform(4.5, 6.0, STARTS)
    return np.stack([w, -w / 2 + rng.uniform(-0.1, 0.4, STARTS)])


def _loss_and_grads(points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Squared error of the last state, and its gradient; each column is a unit of its own."""
    with np.errstate(over="ignore", under="ignore"):
        h, pullback = vjp(recurrent_unit, points[0], points[1], steps=LENGTH)
        return (h - TARGET) ** 2, np.stack(pullback(2 * (h - TARGET)))


@lru_cache(maxsize=16)
def _descents(
    lr: float, thresholds: tuple[float, ...]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Descend from all starts, once without a bound and once with each.

    Returns positions (updates + 1, 2, bounds, starts), losses and norms (updates + 1, bounds,
    starts).
    """
    bounds = (np.inf, *thresholds)
    points = np.repeat(_starts()[:, None], len(bounds), axis=1)
    places, losses, norms = [], [], []
    for _ in range(UPDATES + 1):
        loss, grads = _loss_and_grads(points.reshape(2, -1))  # (2, bounds · starts)
        places.append(points)
        losses.append(loss.reshape(points.shape[1:]))
        norms.append(np.hypot(*grads).reshape(points.shape[1:]))
        grads = grads.reshape(points.shape)
        clipped = [grads[:, 0]]
        for i, bound in enumerate(thresholds, 1):
            # Each start is a run of its own, with a norm of its own.
            clipped.append(clip_per_example(grads[:, i].T, max_norm=bound)[0].T)
        # Six decimals are kept, so that rounding errors do not choose the path at the cliff.
        points = np.round(points - lr * np.stack(clipped, axis=1), 6)
    return np.array(places), np.array(losses), np.array(norms)


def _compute(threshold: float, lr: float, start: int) -> Cliff:
    thresholds = THRESHOLDS if threshold in THRESHOLDS else (threshold,)
    places, losses, norms = _descents(lr, thresholds)
    which = 1 + thresholds.index(threshold)
    # Lost: the gradient has vanished, but not the loss.
    lost = (norms[-1] < 1e-3) & (losses[-1] > 0.05)
    moved = np.hypot(*(places[-1, :, 0] - places[0, :, 0]))
    return Cliff(
        start,
        lr,
        threshold,
        places[:, :, 0, SHOWN[start - 1]],
        places[:, :, which, SHOWN[start - 1]],
        np.mean(losses[:, 0] < SOLVED, axis=1),
        np.mean(losses[:, which] < SOLVED, axis=1),
        float(lost[0].mean()),
        float(lost[which].mean()),
        float(moved.max()),
        float(norms[:, 0].max()),
    )


def _landscape(ax: Axes) -> None:
    """Contours of the loss: still, the same for all states."""
    w, b = np.meshgrid(np.linspace(*W, 140), np.linspace(*B, 140))
    h = recurrent_unit(w, b, steps=LENGTH)
    loss = (h - TARGET) ** 2
    ax.contourf(w, b, loss, levels=[0.1, 1], colors=[palette.SHADE])
    ax.contour(w, b, loss, levels=[0.02, 0.05, 0.1, 0.3], colors=[palette.GRID], linewidths=1)
    ax.contour(w, b, h, levels=[TARGET], colors=[palette.INK], linewidths=1.4)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "One run in the plane of w and b")
    ax.grid(False)
    _landscape(ax)
    ax.set(xlim=W, ylim=B, xlabel="weight w", ylabel="bias b", yticks=[-3, -2.5, -2, -1.5])
    ax.text(3.5, -2.95, "plateau:\nloss above 0.1", color=palette.MUTED, va="center")
    ax.text(5.95, -3.2, "line: loss 0", color=palette.INK, ha="right", va="center")
    (none,) = ax.plot([], [], "o-", color=palette.WRONG, lw=1.2, ms=4)
    (clipped,) = ax.plot([], [], "s-", color=palette.FORWARD, lw=1.2, ms=3.5)
    (start,) = ax.plot([], [], "D", color=palette.HIGHLIGHT, ms=8)

    ax = right.subplots()
    panel_label(ax, "Runs with a loss below 0.01")
    ax.set(xlim=(0, UPDATES + 1), ylim=(-0.03, 1.16), xlabel="update", yticks=[0, 0.5, 1])
    ax.set_yticklabels(["0", "50 %", "100 %"])
    (share_none,) = ax.plot([], [], color=palette.WRONG)
    (share_clipped,) = ax.plot([], [], color=palette.FORWARD, ls="--")
    ax.text(2, 1.13, "dashed: clipped", color=palette.FORWARD, va="top")
    ax.text(UPDATES, 1.13, "solid: no clipping", color=palette.WRONG, va="top", ha="right")
    return {
        "none": none, "clipped": clipped, "start": start,
        "share_none": share_none, "share_clipped": share_clipped,
    }  # fmt: skip


def _shown(path: NDArray[Any]) -> NDArray[Any]:
    """Cut a path behind the first point that is far outside of the frame; (2, points)."""
    low, high = np.array([W[0], B[0]]), np.array([W[1], B[1]])
    size = high - low
    far = np.any((path < low - 3 * size) | (path > high + 3 * size), axis=1)
    end = min(int(np.argmax(far)) + 1 if far.any() else PATH, PATH)
    kept: NDArray[Any] = np.clip(path[:end], low - 3 * size, high + 3 * size).T
    return kept


def _update(artists: dict[str, Any], data: Cliff) -> None:
    artists["none"].set_data(*_shown(data.none))
    artists["clipped"].set_data(*_shown(data.clipped))
    artists["start"].set_data(*data.none[0][:, None])
    updates = np.arange(UPDATES + 1)
    artists["share_none"].set_data(updates, data.solved_none)
    artists["share_clipped"].set_data(updates, data.solved_clipped)


def _readout(data: Cliff) -> Readout:
    none, clipped = 100 * data.solved_none[-1], 100 * data.solved_clipped[-1]
    own = float(np.hypot(*(data.none[-1] - data.none[0])))
    where = (
        f"without clipping the run shown ends {format_number(own)} away from its start"
        if own > 3
        else f"the run shown stays within {format_number(own)} of its start even without clipping"
    )
    return Readout(
        {
            "Solved without clipping": Quantity(none, "%"),
            "Solved with clipping": Quantity(clipped, "%"),
            "Lost without clipping": Quantity(100 * data.lost_none, "%"),
            "Lost with clipping": Quantity(100 * data.lost_clipped, "%"),
            "Largest gradient, no clipping": data.steepest,
            "Thrown farthest, no clipping": data.farthest,
        },
        f"With a learning rate of {data.lr:g}, {format_number(none)} % of 60 runs are solved after "
        f"100 updates without clipping and {format_number(clipped)} % with a threshold of "
        f"{data.threshold:g}; {where}.",
    )


cliff = Explorer(
    name="clipping.cliff",
    title="Descent beside the cliff of a recurrent unit",
    caption="A unit that feeds itself for 20 steps, h ← sigmoid(w h + b) from h = 0.5, is to end "
    "at 0.7. Left: contours of the squared error, and gradient descent from one start (diamond), "
    "circles without clipping, squares with clipping by the norm of (w, b), up to 60 updates. "
    "Right: 60 runs from starts near the cliff. Lost: the gradient has vanished where the loss has "
    "not. Weights are rounded to six decimals after each update, so that every computer takes the "
    "same path.",
    controls=(
        Steps("threshold", "Threshold", THRESHOLDS, 0.3, between="log"),
        Steps("lr", "Learning rate", RATES, 1.0, between="log"),
        Steps("start", "Start", (1, 2, 3), 1),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 310), (340, 310)),
)
