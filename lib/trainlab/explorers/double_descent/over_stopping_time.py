"""Test error over the width when every network is stopped at the same time: the peak comes late."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers.palette import BACKWARD, FORWARD, HIGHLIGHT, INK, MUTED, TEST
from trainlab.spectral_filters import flow_factors, predict

from .over_width import WIDTHS, N, _error, _problems, _target

Array = NDArray[np.float64]

STOPS = tuple(float(f"{t:.3g}") for t in np.geomspace(0.1, 1e6, 15))
PATH = np.geomspace(STOPS[0], STOPS[-1], 43)
SHOWN = (8, N, 600)  # widths whose error is followed over time
LOW, TOP = 0.02, 20.0


@dataclass(frozen=True)
class ErrorAtStop:
    """Median test errors over WIDTHS, and of three widths over PATH; `t` is the stopping time."""

    t: float
    stopped: Array
    ended: Array
    paths: Array  # (len(SHOWN), len(PATH))
    pace: float  # gradient steps per unit of time at p = n, half the largest stable learning rate

    def at(self, width: int) -> float:
        """Error of a width, stopped."""
        return float(self.stopped[WIDTHS.index(width)])


@lru_cache(maxsize=8)
def _fixed(noise: float) -> tuple[Array, Array, float]:
    """What the stopping time does not change: errors at the end, and three errors over time."""
    x, unit, spectra = _problems()
    y = _target(x) + noise * unit
    ended = [np.median(_error(predict(s, y, factors=np.ones_like(s.s)))) for s in spectra]
    paths = []
    for width in SHOWN:
        spectrum = spectra[WIDTHS.index(width)]
        path = predict(spectrum, y, factors=flow_factors(spectrum.s, PATH, n=N))
        paths.append(np.median(_error(path), axis=0))
    pace = float(np.median(spectra[WIDTHS.index(N)].s[:, 0] ** 2)) / N
    return np.array(ended), np.array(paths), pace


def _compute(t: float, noise: float) -> ErrorAtStop:
    x, unit, spectra = _problems()
    y = _target(x) + noise * unit
    fits = (predict(s, y, factors=flow_factors(s.s, t, n=N)) for s in spectra)
    stopped = np.array([np.median(_error(fit)) for fit in fits])
    ended, paths, pace = _fixed(noise)
    return ErrorAtStop(t=t, stopped=stopped, ended=ended, paths=paths, pace=pace)


def _readout(d: ErrorAtStop) -> Readout:
    at_n = WIDTHS.index(N)
    narrow = float(d.stopped[: WIDTHS.index(15) + 1].min())
    # The hump: how far the error near p = n stands above what 15 features or fewer reach.
    hump = float(d.stopped[WIDTHS.index(24) : WIDTHS.index(45) + 1].max())
    values: dict[str, float | Quantity] = {
        "Test error at p = 30, stopped": d.at(N),
        "Test error at p = 30, to the end": float(d.ended[at_n]),
        "Best error of up to 15 features, stopped": narrow,
        "Largest error of 24 to 45 features, stopped": hump,
        "Test error at p = 600, stopped": d.at(600),
        "Gradient steps to the stop, at p = 30": Quantity(d.t * d.pace, digits=2),
    }
    shape = (
        "there is no peak: wider is better"
        if (np.diff(d.stopped) < 0.01).all()
        else f"networks near p = 30 reach {format_number(hump, 2)}, which is worse than "
        f"{format_number(narrow, 2)} with at most 15 features"
        if hump > narrow
        else "a small hump stands near p = 30"
    )
    return Readout(
        values,
        f"Stopped at t = {format_number(d.t, 2)}, 30 features have a test error of "
        f"{format_number(d.at(N), 2)} (to the end: {format_number(float(d.ended[at_n]), 2)}); "
        f"{shape}.",
    )


# Of each line on the right: where its name ends, and how it is drawn.
_NAMED = ((8e5, BACKWARD, "--"), (8e3, TEST, "-"), (8e5, INK, (0, (5, 1.5, 1, 1.5))))


def _draw(left: Any, right: Any) -> dict[str, Any]:
    ax, path = left.subplots(), right.subplots()
    panel_label(ax, "Test error by number of features")
    panel_label(path, "Test error by training time")
    for axes in (ax, path):
        log_axis(axes, "y", LOW, TOP)
    log_axis(ax, "x", 2, 700)
    ax.set_xticks([3, 10, 30, 100, 300], ["3", "10", "30", "100", "300"])
    ax.set_xlabel("features p")
    ax.axvline(N, color=MUTED, lw=1, ls=":")
    ax.text(N * 1.1, LOW * 1.15, "p = n", color=MUTED, va="bottom")
    (ended,) = ax.plot([], [], color=TEST, lw=1.4, label="trained to the end")
    (stopped,) = ax.plot([], [], color=FORWARD, lw=2.8, label="stopped at t")
    ax.legend(loc="upper right", borderpad=0, labelspacing=0.25)
    log_axis(path, "x", PATH[0], PATH[-1], most_ticks=5)
    path.set_xlabel("time t (steps × learning rate)")
    lines = [path.plot([], [], color=c, ls=ls)[0] for _, c, ls in _NAMED]
    names = [
        path.text(x, 1, f"p = {width}", color=color, ha="right", va="bottom")
        for width, (x, color, _) in zip(SHOWN, _NAMED, strict=True)
    ]
    now = path.axvline(1, color=HIGHLIGHT, lw=1.6)
    dots = [axes.plot([], [], "o", color=FORWARD, ms=7)[0] for axes in (ax, path) for _ in range(3)]
    return {
        "ended": ended,
        "stopped": stopped,
        "lines": lines,
        "names": names,
        "now": now,
        "dots": dots,
    }


def _update(artists: dict[str, Any], d: ErrorAtStop) -> None:
    artists["ended"].set_data(WIDTHS, np.clip(d.ended, LOW / 10, TOP * 10))
    artists["stopped"].set_data(WIDTHS, d.stopped)
    for line, name, values in zip(artists["lines"], artists["names"], d.paths, strict=True):
        line.set_data(PATH, np.clip(values, LOW / 10, TOP * 10))
        name.set_y(1.15 * max(np.interp(name.get_position()[0], PATH, values), LOW))
    artists["now"].set_xdata([d.t, d.t])
    values = [d.at(width) for width in SHOWN]
    places = [*zip(SHOWN, values, strict=True), *((d.t, value) for value in values)]
    for dot, (where, value) in zip(artists["dots"], places, strict=True):
        dot.set_data([where], [np.clip(value, LOW, TOP)])


stopping_time = Explorer(
    name="double_descent.stopping_time",
    title="One stop for all widths",
    caption=(
        "The networks of the first picture, 30 noisy examples of sin(2πx), all stopped at the same "
        "time t. Left: test error (median of 31 runs) stopped (thick) and trained to the end "
        "(thin). Right: test error over the training time for three widths; the dots are the same "
        "in both panels. Gradient steps are counted at half the largest stable learning rate."
    ),
    controls=(
        Steps("t", "Stop at time t", STOPS, 10.0, between="log"),
        Steps("noise", "Label noise σ", (0.0, 0.2, 0.4), 0.2, between="linear"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
