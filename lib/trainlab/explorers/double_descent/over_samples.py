"""Risk over the number of samples: where more data hurts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers.palette import BACKWARD, FORWARD, HIGHLIGHT, INK, MUTED, TEST
from trainlab.least_squares_risk import best_penalty, gaussian_risk, ridge_risk
from trainlab.spectral_filters import Spectrum, decompose, predict, ridge_factors

Array = NDArray[np.float64]

P, RUNS = 50, 15
CHOICES = (10, 15, 25, 35, 45, 50, 55, 65, 80, 100, 150, 250, 500)
# More than 128 points: from there on matplotlib thins lines out, and the states stay small.
LINE = np.unique(np.round(np.geomspace(8, 600, 160)).astype(int))
LOW, HIGH = 5e-3, 1e2
_DASH_DOT = (0, (5, 1.5, 1, 1.5))


@dataclass(frozen=True)
class RiskOverSamples:
    """Closed forms over LINE and medians of simulated runs over CHOICES."""

    n: int
    noise: float
    lam: float
    ended: Array  # least norm, closed form; infinite at the peak
    ridge: Array
    tuned: Array
    bias: Array  # the two parts of `ended`
    variance: Array
    ended_runs: Array
    ridge_runs: Array
    tuned_runs: Array

    def at(self, runs: Array) -> float:
        """Simulated value at the chosen number of samples."""
        return float(runs[CHOICES.index(self.n)])


@lru_cache(maxsize=1)
def _problems() -> list[tuple[Spectrum, Array, Array]]:
    """For each number of samples: spectra of all runs, noiseless targets, unit noise."""
    rng, problems = np.random.default_rng(5), []
    beta = np.full(P, 1 / np.sqrt(P))
    for n in CHOICES:
        x = rng.standard_normal((RUNS, n, P))
        basis = np.broadcast_to(np.eye(P), (RUNS, P, P))  # predicts the coefficients
        problems.append(
            (decompose(x, test_features=basis), x @ beta, rng.standard_normal((RUNS, n)))
        )
    return problems


@lru_cache(maxsize=64)
def _simulate(noise: float, penalties: tuple[float, ...]) -> Array:
    """Median risk over the runs for each number of samples and its penalty; 0 is none."""
    risks = []
    for (spectrum, clean, unit), n, lam in zip(_problems(), CHOICES, penalties, strict=True):
        s = spectrum.s
        factors = ridge_factors(s, lam, n=n) if lam else np.ones_like(s)
        w = predict(spectrum, clean + np.sqrt(noise) * unit, factors=factors)
        risks.append(np.median(np.sum((w - 1 / np.sqrt(P)) ** 2, axis=1)))
    return np.where(np.array(risks) < 1e-20, 0.0, risks)  # 0 but for rounding


def _compute(n: int, noise: float, lam: float) -> RiskOverSamples:
    gamma = P / LINE
    ended = gaussian_risk(LINE, P, signal=1.0, noise=noise)
    ridge = ridge_risk(gamma, lam, signal=1.0, noise=noise)
    tuned = (
        ridge_risk(gamma, best_penalty(gamma, signal=1.0, noise=noise), signal=1.0, noise=noise)
        if noise > 0
        else ended  # the best penalty is then none
    )
    bias = gaussian_risk(LINE, P, signal=1.0, noise=0.0)
    best = tuple(noise * P / m for m in CHOICES)  # as best_penalty, but 0 without noise
    return RiskOverSamples(
        n=n,
        noise=noise,
        lam=lam,
        ended=ended,
        ridge=ridge,
        tuned=tuned,
        bias=bias,
        variance=ended - bias,
        ended_runs=_simulate(noise, (0.0,) * len(CHOICES)),
        ridge_runs=_simulate(noise, (lam,) * len(CHOICES)),
        tuned_runs=_simulate(noise, best),
    )


def _readout(d: RiskOverSamples) -> Readout:
    mine = d.at(d.ended_runs)
    so_far = d.ended_runs[: CHOICES.index(d.n) + 1]
    fewer, with_fewer = float(so_far.min()), CHOICES[int(so_far.argmin())]
    tuned = d.at(d.tuned_runs)
    values: dict[str, float | Quantity] = {
        "Samples per feature": d.n / P,
        "Risk, no penalty": mine,
        "Risk with the penalty": d.at(d.ridge_runs),
        "Risk with the best penalty": tuned,
        "Least risk, no penalty, with this many samples or fewer": fewer,
    }
    if fewer < mine:
        text = (
            f"Without a penalty {d.n} samples give a risk of {format_number(mine, 2)}, worse than "
            f"{format_number(fewer, 2)} with only {with_fewer}; "
        )
    else:
        text = (
            f"Without a penalty {d.n} samples give a risk of {format_number(mine, 2)}, the least "
            "so far; "
        )
    text += (
        f"with a penalty of {format_number(d.lam)} it is {format_number(d.at(d.ridge_runs), 2)}, "
        f"with the best penalty {format_number(tuned, 2)}."
    )
    return Readout(values, text)


def _draw(left: Any, right: Any) -> dict[str, Any]:
    ax, parts = left.subplots(), right.subplots()
    headings = ("Risk by number of samples", "No penalty: bias and variance")
    for axes, heading in zip((ax, parts), headings, strict=True):
        panel_label(axes, heading)
        log_axis(axes, "x", LINE[0], LINE[-1])
        axes.set_xticks([10, 25, 50, 100, 250, 500], ["10", "25", "50", "100", "250", "500"])
        log_axis(axes, "y", LOW, HIGH)
        axes.set_xlabel("samples n")
        axes.axvline(P, color=MUTED, lw=1, ls=":")
        axes.text(P * 1.15, HIGH * 0.7, "n = p = 50", color=MUTED, va="top")
    (tuned,) = ax.plot([], [], color=FORWARD, ls=_DASH_DOT, label="best penalty")
    (ridge,) = ax.plot([], [], color=BACKWARD, ls="--", label="penalty λ")
    (ended,) = ax.plot([], [], color=TEST, label="no penalty")
    (ridge_dots,) = ax.plot([], [], "s", color=BACKWARD, ms=4.5)
    (ended_dots,) = ax.plot([], [], "o", color=TEST, ms=5)
    ax.legend(handles=[ended, ridge, tuned], loc="upper left", borderpad=0, labelspacing=0.2)
    (bias,) = parts.plot([], [], color=INK, ls="--", label="bias")
    (variance,) = parts.plot([], [], color=TEST, label="variance")
    parts.legend(handles=[variance, bias], loc="upper left", borderpad=0, labelspacing=0.2)
    chosen = [axes.axvline(P, color=HIGHLIGHT, lw=1.4) for axes in (ax, parts)]
    return {
        "tuned": tuned,
        "ridge": ridge,
        "ended": ended,
        "ridge_dots": ridge_dots,
        "ended_dots": ended_dots,
        "bias": bias,
        "variance": variance,
        "chosen": chosen,
    }


def _update(artists: dict[str, Any], d: RiskOverSamples) -> None:
    for name in ("ended", "ridge", "tuned", "bias", "variance"):
        # Beyond the axes, not infinite or 0: the line then leaves the picture.
        artists[name].set_data(LINE, np.clip(getattr(d, name), LOW / 10, 10 * HIGH))
    for dots, runs in (("ended_dots", d.ended_runs), ("ridge_dots", d.ridge_runs)):
        artists[dots].set_data(CHOICES, np.clip(runs, LOW / 10, 10 * HIGH))
    for line in artists["chosen"]:
        line.set_xdata([d.n, d.n])


sample_wise = Explorer(
    name="double_descent.sample_wise",
    title="Double descent over the number of samples",
    caption=(
        "Linear regression with 50 Gaussian features and a signal of 1. Lines: closed forms; dots: "
        "medians of 15 simulated runs. Near n = p a few runs carry the mean, and the medians lie "
        "below it. The best penalty is chosen for each n. Right: the two parts of the line without "
        "penalty. Risk is the squared distance from the noiseless target: predicting 0 has risk 1."
    ),
    controls=(
        Steps("n", "Samples n", CHOICES, 50),
        Steps("noise", "Label noise σ²", (0.0, 0.05, 0.25, 1.0), 0.25, between="linear"),
        Steps("lam", "Penalty λ", (0.001, 0.01, 0.1, 0.3, 1.0), 0.1, between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
