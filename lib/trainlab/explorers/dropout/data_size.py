"""What dropout gains and costs a linear model, by the number of examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.dropout_statistics import dropout_ridge
from trainlab.explorers import palette

WEIGHTS, SEEDS = 20, 15
SIZES = np.array([5, 7, 10, 14, 17, 20, 23, 28, 40, 60, 100, 250, 1000])


@dataclass(frozen=True)
class DataSize:
    """Median excess error by number of examples, relative to ‖w*‖²."""

    p: float
    noise: float
    without: NDArray[Any]
    with_dropout: NDArray[Any]


def _triangle(n: int, rng: np.random.Generator) -> NDArray[Any]:
    """The factor R of n standard normal rows, drawn as it is distributed.

    A fit sees its data only through xᵀx and xᵀy, so R does for x, however large n is. Its
    diagonal is chi distributed with n, n - 1, ... degrees of freedom, the rest normal.
    """
    rows = min(n, WEIGHTS)
    r = np.triu(rng.standard_normal((rows, WEIGHTS)), 1)
    r[np.arange(rows), np.arange(rows)] = np.sqrt(rng.chisquare(n - np.arange(rows)))
    return r


@lru_cache(maxsize=16)
def _fits(p: float) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """For each size: what the fit makes of the true weights and of the noise, (seeds, d)."""
    out = []
    rng = np.random.default_rng(1)
    for n in SIZES:
        bias, variance = [], []
        for _ in range(SEEDS):
            r, w = _triangle(int(n), rng), rng.standard_normal(WEIGHTS)
            w /= np.linalg.norm(w)
            # Linear in the targets, so signal and noise are fitted apart, for all noise levels.
            targets = np.stack([r @ w, rng.standard_normal(len(r))], axis=1)
            fit = dropout_ridge(r, targets, p=p)
            bias.append(fit[:, 0] - w)
            variance.append(fit[:, 1])
        out.append((np.array(bias), np.array(variance)))
    return out


def _error(p: float, noise: float) -> NDArray[Any]:
    return np.array(
        [np.median(np.sum((b + noise * v) ** 2, axis=1)) for b, v in _fits(p)], dtype=float
    )


def _compute(p: float, noise: float) -> DataSize:
    return DataSize(p, noise, _error(0.0, noise), _error(p, noise))


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Error (1 = predicting zero)")
    _size_axis(ax)
    log_axis(ax, "y", 1e-3, 1e3)
    (limit,) = ax.plot([], [], color=palette.THEORY, lw=1.2, ls=":")
    (without,) = ax.plot([], [], "s--", color=palette.MUTED, lw=1.8)
    (dropped,) = ax.plot([], [], "o-", color=palette.HIGHLIGHT)
    labels = {
        "without": ax.text(48, 1, "p = 0", color=palette.MUTED, ha="right"),
        "dropped": ax.text(48, 1, "", color=palette.HIGHLIGHT, ha="right", fontweight="bold"),
        "limit": ax.text(0.22, 1, "limit p²", color=palette.THEORY, va="bottom"),
    }

    ax = right.subplots()
    panel_label(ax, "Gain: error without / with dropout")
    _size_axis(ax)
    log_axis(ax, "y", 1e-2, 1e3)
    ax.plot([0.2, 60], [1, 1], color=palette.MUTED, lw=1)
    ax.text(55, 500, "dropout helps", color=palette.FORWARD, ha="right", va="center")
    ax.text(0.22, 0.016, "dropout harms", color=palette.WRONG, va="center")
    (gain,) = ax.plot([], [], "o-", color=palette.HIGHLIGHT)
    return {
        "limit": limit, "without": without, "dropped": dropped, "labels": labels, "gain": gain
    }  # fmt: skip


def _size_axis(ax: Axes) -> None:
    log_axis(ax, "x", 0.2, 60)
    ax.set_xticks([0.25, 1, 5, 50], ["¼", "1", "5", "50"])
    ax.set_xlabel("examples per weight, n / d")


def _update(artists: dict[str, Any], data: DataSize) -> None:
    x = SIZES / WEIGHTS
    artists["without"].set_data(x, data.without)
    artists["dropped"].set_data(x, data.with_dropout)
    artists["gain"].set_data(x, data.without / data.with_dropout)
    artists["limit"].set_data([0.2, 50], [data.p**2] * 2)
    labels = artists["labels"]
    # Above the higher curve and below the lower one, where both end.
    ends = {"without": data.without[-1], "dropped": data.with_dropout[-1]}
    upper = max(ends, key=lambda name: float(ends[name]))
    for name, end in ends.items():
        labels[name].set_position((52, end * (1.6 if name == upper else 0.62)))
        labels[name].set_verticalalignment("bottom" if name == upper else "top")
    labels["dropped"].set_text(f"p = {data.p:g}")
    labels["limit"].set_position((0.22, 1.08 * data.p**2))


def _readout(data: DataSize) -> Readout:
    gain = data.without / data.with_dropout
    at_d = int(np.flatnonzero(SIZES == WEIGHTS)[0])
    lost = np.flatnonzero((gain < 1) & (SIZES > WEIGHTS))
    turn = SIZES[lost[0]] / WEIGHTS if len(lost) else np.inf
    few, many, plenty = (format_number(gain[i], 2) for i in (0, at_d, -1))
    return Readout(
        {
            "Gain at n = d/4": Quantity(gain[0], "×", 2),
            "Gain at n = d": Quantity(gain[at_d], "×", 2),
            "Gain at n = 50 d": Quantity(gain[-1], "×", 2),
            "Error with p, n = 50 d": data.with_dropout[-1],
            "Limit p²": data.p**2,
            "Harmful above n / d of": turn,
        },
        f"Without dropout the error is {few}, {many} and {plenty} times the one with p = "
        f"{data.p:g}, at one example to four weights, one to one, and 50 to one"
        + (
            ": the shrinkage stays, however many examples there are."
            if gain[-1] < 1
            else ", where the noise is still worth the shrinkage."
        ),
    )


data_size = Explorer(
    name="dropout.data_size",
    title="Gain and cost of dropout by the amount of data",
    caption="Linear regression with 20 weights and independent inputs, fitted to the minimum of "
    "the expected dropout loss; median of 15 data sets. Squares: without dropout (of least norm "
    "where n < d). Circles: with dropout of the inputs. Dotted: what dropout still costs with "
    "unlimited data. Right: ratio of the two.",
    controls=(
        Steps("p", "Drop probability p", (0.05, 0.1, 0.2, 0.3, 0.4, 0.5), 0.3, between="linear"),
        Steps("noise", "Noise / signal", (0.3, 0.5, 1.0, 2.0), 0.5, between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
