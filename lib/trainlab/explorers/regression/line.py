"""A line through data of which some are wrong: in the middle, or at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.differentiation import vjp
from trainlab.explorers import palette
from trainlab.regression import huber_loss, l1_loss, log_cosh_loss, mse_loss

Array = NDArray[Any]

POINTS, SLOPE, START = 50, 2.0, 1.0
COUNTS = (0, 3, 6, 9, 12, 15, 18)
LOSSES = {
    "mse": ("squared (MSE)", "MSE", mse_loss),
    "mae": ("absolute (MAE)", "MAE", l1_loss),
    "huber": ("Huber, δ = 1", "Huber", huber_loss),
    "log_cosh": ("log-cosh", "log-cosh", log_cosh_loss),
}
CURVATURES: dict[str, Callable[[Array], Array]] = {
    "huber": lambda r: (np.abs(r) < 1) * 1.0,
    "log_cosh": lambda r: 1 - np.tanh(r) ** 2,
}
PLACES: dict[str | int | float, str] = {"end": "at the right end", "middle": "in the middle"}


@dataclass(frozen=True)
class Line:
    """Data, the line fitted with one loss, and the slopes for all losses."""

    loss: str
    place: str
    count: int
    offset: float
    y: Array
    wrong: NDArray[np.bool_]
    lines: dict[str, Array]  # start and slope by number of wrong points

    @property
    def fit(self) -> Array:
        """Start and slope of the line shown."""
        return np.asarray(self.lines[self.loss][self.count])


X = np.linspace(0, 5, POINTS)
MOST = COUNTS[-1]


@lru_cache(maxsize=16)
def _data(place: str, offset: float) -> tuple[Array, NDArray[np.bool_]]:
    """Targets, and which of them are wrong, for each number of wrong points: (counts, points)."""
    noise = np.random.default_rng(4).standard_normal(POINTS)
    count = np.arange(MOST + 1)[:, None]
    first = POINTS - count if place == "end" else (POINTS - count) // 2
    order = np.arange(POINTS)
    wrong = (order >= first) & (order < first + count)
    return START + SLOPE * X + noise + offset * wrong, wrong


def _least_absolute(y: Array) -> Array:
    """The line of least absolute error: one of those through two data is always best."""
    i, j = np.triu_indices(POINTS, 1)
    slope = (y[j] - y[i]) / (X[j] - X[i])
    start = y[i] - slope * X[i]
    errors = np.abs(start[:, None] + slope[:, None] * X - y).sum(axis=1)  # one a line
    best = int(errors.argmin())
    return np.array([start[best], slope[best]])


def _weighted(weight: Array, y: Array) -> Array:
    """Lines of least squares with weights, one a row: (counts, points) -> (counts, 2)."""
    total, wx, wy = weight.sum(axis=1), weight @ X, (weight * y).sum(axis=1)
    slope = ((weight * y) @ X * total - wx * wy) / (weight @ X**2 * total - wx**2)
    return np.stack([(wy - slope * wx) / total, slope], axis=1)


@lru_cache(maxsize=64)
def _fits(loss: str, place: str, offset: float) -> Array:
    """Start and slope for each number of wrong points."""
    y, _ = _data(place, offset)
    if loss == "mae":
        return np.array([_least_absolute(row) for row in y])
    lines = _weighted(np.ones_like(y), y)
    for step in range(0 if loss == "mse" else 32):
        fitted = lines[:, :1] + lines[:, 1:] * X
        _, pullback = vjp(LOSSES[loss][2], fitted, y, reduction="sum")
        slope, residual = pullback(np.ones(()))[0], fitted - y
        if step < 20:  # reweighted least squares comes near from anywhere
            lines = _weighted(slope / residual, y)
        else:  # Newton's method ends it
            lines = lines - _newton(slope, CURVATURES[loss](residual))
    return lines


def _newton(slope: Array, curvature: Array) -> Array:
    """Newton steps, one a row, from the derivatives for the fitted values."""
    c, cx, cxx = curvature.sum(axis=1), curvature @ X, curvature @ X**2
    start, tilt = slope.sum(axis=1), slope @ X
    steps = np.stack([cxx * start - cx * tilt, c * tilt - cx * start], axis=1)
    return np.asarray(steps / (c * cxx - cx * cx)[:, None])


def _compute(loss: str, place: str, count: int, offset: float) -> Line:
    y, wrong = _data(place, offset)
    lines = {name: _fits(name, place, offset) for name in LOSSES}
    k = int(count)
    return Line(loss, place, k, offset, y[k], wrong[k], lines)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Data and fitted line")
    ax.set(xlim=(-0.2, 5.3), ylim=(-26, 14), xlabel="x", yticks=[-20, -10, 0, 10])
    ends = np.array([0, 5])
    ax.plot(ends, START + SLOPE * ends, color=palette.THEORY, lw=1.4, ls="--")
    ax.text(0.1, 9.5, "truth: dashed", color=palette.THEORY, va="bottom")
    artists: dict[str, Any] = {
        "good": ax.plot([], [], "o", color=palette.TRAIN, ms=4)[0],
        "wrong": ax.plot([], [], "X", color=palette.WRONG, ms=7)[0],
        "line": ax.plot([], [], color=palette.HIGHLIGHT, lw=2.8)[0],
        "label": ax.text(0.1, -24, "", color=palette.HIGHLIGHT, fontweight="bold"),
    }
    ax = right.subplots()
    panel_label(ax, "Slope by number of wrong points")
    ax.set(xlim=(-0.5, 25), ylim=(-6, 4), xlabel="wrong points of 50")
    ax.set_xticks(COUNTS)
    ax.axhline(SLOPE, color=palette.THEORY, lw=1.4, ls="--")
    ax.text(0, SLOPE + 0.3, "truth: 2", color=palette.THEORY, va="bottom")
    styles = {"mse": "-", "mae": "--", "huber": "-", "log_cosh": ":"}
    artists["others"] = {
        name: ax.plot([], [], color=palette.MUTED, lw=1.4, ls=styles[name])[0] for name in LOSSES
    }
    artists["chosen"] = ax.plot([], [], color=palette.HIGHLIGHT, lw=2.8)[0]
    artists["dot"] = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)[0]
    artists["names"] = {name: ax.text(18.5, 0, "", va="center") for name in LOSSES}
    return artists


def _update(artists: dict[str, Any], data: Line) -> None:
    artists["good"].set_data(X[~data.wrong], data.y[~data.wrong])
    artists["wrong"].set_data(X[data.wrong], data.y[data.wrong])
    ends = np.array([0, 5])
    artists["line"].set_data(ends, data.fit[0] + data.fit[1] * ends)
    artists["label"].set_text(f"{LOSSES[data.loss][1]}: slope {format_number(data.fit[1], 3)}")
    at = dict.fromkeys(LOSSES, 0.0)
    counts = np.arange(MOST + 1)
    for name, lines in data.lines.items():
        artists["others"][name].set_data(counts, lines[:, 1])
        at[name] = float(lines[-1, 1])
    artists["chosen"].set_data(counts, data.lines[data.loss][:, 1])
    artists["dot"].set_data([data.count], [data.fit[1]])
    # Names stand beside the ends of the lines, at least 0.7 apart.
    order = sorted(LOSSES, key=lambda name: at[name])
    places = [at[name] for name in order]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + 0.7)
    shift = float(np.mean([at[n] for n in order])) - float(np.mean(places))
    for name, place in zip(order, places, strict=True):
        chosen = name == data.loss
        artists["names"][name].set_text(LOSSES[name][1])
        artists["names"][name].set_position((18.6, place + shift))
        artists["names"][name].set_color(palette.HIGHLIGHT if chosen else palette.MUTED)
        artists["names"][name].set_fontweight("bold" if chosen else "normal")


def _verdict(slope: float, level: float) -> str:
    if abs(slope - SLOPE) >= 0.5:
        return ": the wrong points have turned the line."
    if level < -0.5:
        return f"; but the line lies too low, by {format_number(-level)} at x = 2.5."
    return "."


def _readout(data: Line) -> Readout:
    slopes = {name: float(lines[data.count, 1]) for name, lines in data.lines.items()}
    level = float(data.fit[0] + data.fit[1] * 2.5) - START - SLOPE * 2.5
    words = LOSSES[data.loss][0]
    words = words[0].upper() + words[1:]
    return Readout(
        {
            "Wrong points": Quantity(100 * data.count / POINTS, "%"),
            "Slope, MSE": slopes["mse"],
            "Slope, MAE": slopes["mae"],
            "Slope, Huber": slopes["huber"],
            "Slope, log-cosh": slopes["log_cosh"],
            "Error of the line shown, x = 2.5": level,
        },
        f"{words}: with {data.count} of {POINTS} points moved by {format_number(data.offset)} "
        f"{PLACES[data.place]}, the slope of the line is "
        f"{format_number(float(data.fit[1]))}, where the truth is {format_number(SLOPE)}"
        + _verdict(float(data.fit[1]), level),
    )


line = Explorer(
    name="regression.line",
    title="A line through wrong points",
    caption="Left: 50 points around a line of slope 2 with noise of standard deviation 1; crosses "
    "were moved down. Right: fitted slope by the number of points that were moved.",
    controls=(
        Choice("loss", "Loss", {name: words for name, (words, *_) in LOSSES.items()}, "mse"),
        Steps("count", "Wrong points", COUNTS, 3, between="whole"),
        Choice("place", "Where", PLACES, "end"),
        Steps("offset", "Moved by", (-25, -15, -5), -15, between="linear"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
