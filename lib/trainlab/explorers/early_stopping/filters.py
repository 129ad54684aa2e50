"""A stop and a ridge penalty: what both fit of each direction, and the risk they reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.early_stopping import descent_factors, equivalent_weight_decay
from trainlab.explorers import palette
from trainlab.spectral_filters import ridge_factors

Array = NDArray[Any]

DIRECTIONS, EXAMPLES = 60, 100
STEPS = (1, 5, 20, 50, 100, 1000, 10_000)
PATH = np.unique(np.geomspace(1, 10_000, 33).astype(int))
H = np.geomspace(1e-4, 1, 61)  # curvatures at which the factors are drawn


@dataclass(frozen=True)
class Filters:
    """Factors over the curvature; expected risk along both paths, and at the chosen point."""

    steps: int
    lr: float
    stop: Array  # (curvatures,)
    ridge: Array
    path: Array  # lr·steps along the path
    stop_path: Array
    ridge_path: Array
    stop_risk: float
    ridge_risk: float
    full_risk: float

    @property
    def lam(self) -> float:
        """Penalty with which ridge is compared."""
        return equivalent_weight_decay(self.steps, lr=self.lr)


def _curvatures(decay: float) -> Array:
    """Curvatures of the directions, a power law with the largest at 1."""
    return np.arange(1, DIRECTIONS + 1) ** -decay


def _risk(factors: Array, h: Array, noise: float) -> Array:
    """Mean squared error on new inputs, on average over true weights N(0, 1/60) and over noise.

    Of a direction of curvature h the fit has the share f of the weight, plus noise of variance
    f² noise²/(n h); an error of the weight counts h times.
    """
    bias = ((1 - factors) ** 2 * h[:, None]).sum(axis=0) / DIRECTIONS
    variance = (factors**2).sum(axis=0) * noise**2 / EXAMPLES
    return np.asarray(bias + variance)


def _both(steps: Array, lr: float, h: Array) -> tuple[Array, Array]:
    """Factors of a stop after some steps, and of the equivalent ridge; (curvatures, steps)."""
    s = np.sqrt(h)
    lam = np.array([equivalent_weight_decay(int(t), lr=lr) for t in steps])
    return descent_factors(s, steps, lr=lr, n=1), ridge_factors(s, lam, n=1)


def _compute(steps: int, lr: float, decay: float, noise: float) -> Filters:
    h = _curvatures(decay)
    steps = int(steps)
    stop, ridge = _both(np.array([steps]), lr, H)
    stop_path, ridge_path = (_risk(f, h, noise) for f in _both(PATH, lr, h))
    at_stop, at_ridge = (float(_risk(f, h, noise)[0]) for f in _both(np.array([steps]), lr, h))
    full = DIRECTIONS * noise**2 / EXAMPLES
    return Filters(
        steps,
        lr,
        stop[:, 0],
        ridge[:, 0],
        lr * PATH,
        stop_path,
        ridge_path,
        at_stop,
        at_ridge,
        full,
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Share of a direction that is fitted")
    log_axis(ax, "x", 1e-4, 1)
    ax.set_ylim(-0.03, 1.65)
    ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.set_xlabel("curvature h of the direction")
    (ridge,) = ax.plot([], [], color=palette.BACKWARD, ls="--")
    (stop,) = ax.plot([], [], color=palette.FORWARD)
    (half,) = ax.plot([], [], color=palette.MUTED, lw=1, ls=":")
    label = ax.text(1.3e-4, 1.54, "")

    ax = right.subplots()
    panel_label(ax, "Expected risk")
    log_axis(ax, "x", 0.05, 2e4)
    ax.set_yscale("log")
    ax.set_ylim(0.007, 1.2)
    ax.set_yticks([0.01, 0.03, 0.1, 0.3, 1], ["0.01", "0.03", "0.1", "0.3", "1"])
    ax.set_yticks([], minor=True)
    ax.set_xlabel("lr·t for the stop, 1/λ for ridge")
    (ridge_path,) = ax.plot([], [], color=palette.BACKWARD, ls="--")
    (stop_path,) = ax.plot([], [], color=palette.FORWARD)
    (full,) = ax.plot([], [], color=palette.MUTED, lw=1.3, ls=":")
    note = ax.text(1.7e4, 1, "trained to the end", color=palette.MUTED, ha="right", va="bottom")
    (ridge_dot,) = ax.plot([], [], "s", color=palette.BACKWARD, ms=8)
    (stop_dot,) = ax.plot([], [], "o", color=palette.FORWARD, ms=8)
    ax.text(1.7e4, 1.0, "solid, dot: stop", color=palette.FORWARD, ha="right", va="center")
    ax.text(1.7e4, 0.72, "dashed, square: ridge", color=palette.BACKWARD, ha="right", va="center")
    return {
        "stop": stop, "ridge": ridge, "half": half, "label": label,
        "paths": (stop_path, ridge_path), "dots": (stop_dot, ridge_dot), "full": full,
        "note": note,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Filters) -> None:
    artists["stop"].set_data(H, data.stop)
    artists["ridge"].set_data(H, data.ridge)
    artists["half"].set_data([data.lam, data.lam], [0, 1.02])
    artists["label"].set_text(f"dotted: h = λ = 1/(lr·t) = {format_number(data.lam)}")
    x = data.lr * data.steps
    for line, path in zip(artists["paths"], (data.stop_path, data.ridge_path), strict=True):
        line.set_data(data.path, path)
    for dot, risk in zip(artists["dots"], (data.stop_risk, data.ridge_risk), strict=True):
        dot.set_data([x], [risk])
    artists["full"].set_data([0.05, 2e4], [data.full_risk] * 2)
    artists["note"].set_y(1.13 * data.full_risk)


def _readout(data: Filters) -> Readout:
    best_stop, best_ridge = float(data.stop_path.min()), float(data.ridge_path.min())
    gap = float(np.abs(data.stop - data.ridge).max())
    return Readout(
        {
            "λ = 1/(lr·t)": data.lam,
            "Largest difference of the shares": gap,
            "Risk of the stop": data.stop_risk,
            "Risk of ridge": data.ridge_risk,
            "Least risk, stop": best_stop,
            "Least risk, ridge": best_ridge,
            "Risk when trained to the end": data.full_risk,
        },
        f"After {data.steps} step{'s' * (data.steps > 1)} with lr {format_number(data.lr)} the "
        f"stop has a risk of {format_number(data.stop_risk)}, ridge with "
        f"λ = {format_number(data.lam)} one of {format_number(data.ridge_risk)}; their shares "
        f"differ by {format_number(gap, 2)} at most, and at their best they reach "
        f"{format_number(best_stop)} and "
        f"{format_number(best_ridge)}.",
    )


filters = Explorer(
    name="early_stopping.filters",
    title="A stop and a penalty fit the same directions",
    caption="Left: the share that gradient descent has fitted after t steps, 1 − (1 − lr·h)ᵗ "
    "(solid), and the share that ridge fits, h/(h + λ) with λ = 1/(lr·t) (dashed). Right: the "
    "expected risk of both for a regression with 60 directions and 100 examples, along the path "
    "of all stops and all penalties; dotted: least squares, trained to the end.",
    controls=(
        Steps("steps", "Steps t", STEPS, 50, between="whole"),
        Steps("lr", "Learning rate", (0.1, 0.5, 1.5), 0.5, between="linear"),
        Choice(
            "decay",
            "Curvatures",
            {0.0: "all 1", 1.0: "1/i", 2.0: "1/i²"},
            1.0,
        ),
        Steps("noise", "Label noise σ", (0.2, 0.4, 0.8), 0.4, between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
