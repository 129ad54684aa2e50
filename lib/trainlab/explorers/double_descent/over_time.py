"""Risk over training time for two groups of features that are learned at different speeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.epoch_wise_risk import best_times, epoch_risk
from trainlab.explorers.palette import BACKWARD, FORWARD, HIGHLIGHT, MUTED, TEST, THEORY
from trainlab.spectral_filters import flow_factors

Array = NDArray[np.float64]

N, SIZES, WEAK = 200, (100, 20), 1.0  # examples; features of the weak and strong group
T = np.geomspace(0.01, 1e6, 193)
RATIOS = (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
_DASH_DOT = (0, (5, 1.5, 1, 1.5))
DOTS = np.geomspace(0.02, 5e5, 24)


@dataclass(frozen=True)
class RiskOverTime:
    """Risk of each group and in total over T, of one training run at DOTS, and its low points."""

    groups: Array  # (2, len(T))
    run: Array
    equal: Array  # total at equal speeds
    equal_least: float
    minima: list[int]  # positions in T of all local minima
    floor: float  # least risk any two step sizes reach
    best_ratio: float

    @property
    def total(self) -> Array:
        """Sum of the groups."""
        return np.asarray(self.groups.sum(axis=0))


def _one_run(rates: Array, signals: Array, noise: float) -> Array:
    """Risk of one gradient-flow run on orthogonal features: each coefficient is on its own."""
    rng = np.random.default_rng(3)
    each = np.repeat(np.arange(2), SIZES)
    target = np.sqrt(signals / SIZES)[each] * rng.choice([-1.0, 1.0], each.size)
    noisy = target + np.sqrt(noise / N) * rng.standard_normal(each.size)
    fitted = flow_factors(np.sqrt(N * rates[each]), DOTS, n=N) * noisy[:, None]
    return np.asarray(np.sum((fitted - target[:, None]) ** 2, axis=0))


def _groups(ratio: float, noise: float, strong: float) -> Array:
    """Risk (2, len(T)) of the weak and of the strong group."""
    bias, variance = epoch_risk(
        T, rates=[1.0, ratio], signals=[WEAK, strong], sizes=SIZES, n=N, noise=noise
    )
    return np.asarray(bias + variance)


def _compute(ratio: float, noise: float, strong: float) -> RiskOverTime:
    groups = _groups(ratio, noise, strong)
    equal = _groups(1.0, noise, strong).sum(axis=0)
    weak_stop, strong_stop = best_times(
        rates=[1.0, 1.0], signals=[WEAK, strong], sizes=SIZES, n=N, noise=noise
    )
    aligned = strong_stop / weak_stop
    all_features, all_signal = [sum(SIZES)], [WEAK + strong]  # equal speeds: one group
    stop = best_times(rates=[1.0], signals=all_signal, sizes=all_features, n=N, noise=noise)
    together = epoch_risk(
        stop, rates=[1.0], signals=all_signal, sizes=all_features, n=N, noise=noise
    )
    floor = epoch_risk(
        [weak_stop], rates=[1.0, aligned], signals=[WEAK, strong], sizes=SIZES, n=N, noise=noise
    )
    slope = np.diff(groups.sum(axis=0))
    slope[np.abs(slope) < 1e-9] = 0  # flat, but for rounding
    minima = [int(i) + 1 for i in np.flatnonzero((slope[:-1] < 0) & (slope[1:] > 0))]
    return RiskOverTime(
        groups=groups,
        run=_one_run(np.array([1.0, ratio]), np.array([WEAK, strong]), noise),
        equal=equal,
        equal_least=float(together.bias.sum() + together.variance.sum()),
        minima=minima,
        floor=float(floor.bias.sum() + floor.variance.sum()),
        best_ratio=float(aligned),
    )


def _readout(d: RiskOverTime) -> Readout:
    total = d.total
    first, last = d.minima[0], d.minima[-1]
    least = float(total.min())
    values: dict[str, float | Quantity] = {
        "Risk at the first minimum": total[first],
        "Highest risk after it": total[first:].max(),
        "Risk at the best stop": least,
        "Risk at the end": total[-1],
        "Best stop at equal speeds": d.equal_least,
        "Best stop with aligned minima": d.floor,
        "Speed ratio that aligns them": d.best_ratio,
    }
    if len(d.minima) > 1:
        peak = float(total[first:last].max())
        text = (
            f"Two minima: risk falls to {format_number(total[first])}, rises to "
            f"{format_number(peak)} and falls again to {format_number(total[last])}; "
            f"with equal speeds one stop would reach {format_number(d.equal_least)}."
        )
    else:
        text = (
            f"One minimum, {format_number(least)}; the least that any two speeds reach is "
            f"{format_number(d.floor)}, at a speed ratio of {format_number(d.best_ratio)}."
        )
    return Readout(values, text)


def _draw(left: Any, right: Any) -> dict[str, Any]:
    ax, parts = left.subplots(), right.subplots()
    for axes, label, top in ((ax, "Risk by training time", 5.2), (parts, "Its two parts", 3.4)):
        panel_label(axes, label)
        log_axis(axes, "x", T[0], T[-1], most_ticks=6)
        axes.set_ylim(0, top)
        axes.set_xlabel("time t (steps × learning rate)")
    (equal,) = ax.plot([], [], color=MUTED, lw=1.6, ls=":", label="total at equal speeds")
    (total,) = ax.plot([], [], color=THEORY, lw=2.6, label="total, closed form")
    (run,) = ax.plot([], [], "o", color=TEST, ms=4.5, label="total, one training run")
    (minima,) = ax.plot([], [], "v", color=HIGHLIGHT, ms=9, label="minimum")
    ax.legend(handles=[total, run, equal, minima], loc="upper right", borderpad=0, labelspacing=0.2)
    styles = ((FORWARD, "--", "100 weak features"), (BACKWARD, _DASH_DOT, "20 strong features"))
    groups = [parts.plot([], [], color=c, ls=ls, label=word)[0] for c, ls, word in styles]
    lows = [parts.plot([], [], "v", color=c, ms=8)[0] for c, _, _ in styles]
    parts.legend(handles=groups, loc="upper right", borderpad=0, labelspacing=0.2)
    return {
        "equal": equal,
        "total": total,
        "run": run,
        "minima": minima,
        "groups": groups,
        "lows": lows,
    }


def _update(artists: dict[str, Any], d: RiskOverTime) -> None:
    total = d.total
    for line, low, values in zip(artists["groups"], artists["lows"], d.groups, strict=True):
        line.set_data(T, values)
        low.set_data([T[values.argmin()]], [values.min() + 0.11])
    artists["total"].set_data(T, total)
    artists["equal"].set_data(T, d.equal)
    artists["run"].set_data(DOTS, d.run)
    artists["minima"].set_data(T[d.minima], total[d.minima] + 0.2)


epoch_wise = Explorer(
    name="double_descent.epoch_wise",
    title="Double descent over training time",
    caption=(
        "200 examples; 100 weak features with a total signal of 1, and 20 strong ones. Left: risk "
        "of the whole model, with its minima; dots are one training run, the dotted line is the "
        "total if both groups had one speed. Right: the U of each group; the total is their sum. "
        "Time is counted with the learning rate of the weak group."
    ),
    controls=(
        Steps("ratio", "Speed of the strong group ÷ weak", RATIOS, 1e-3, between="log"),
        Steps("noise", "Label noise σ²", (0.25, 0.5, 1.0, 2.0, 3.0), 2.0, between="log"),
        Steps("strong", "Signal of the strong group", (0.5, 1.0, 2.0), 2.0, between="linear"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
