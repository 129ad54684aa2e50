"""Test error over the width of a random-feature network, and the function it has learned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.double_descent import harmonics, relu_features
from trainlab.explorers.palette import (
    BACKWARD,
    FORWARD,
    HIGHLIGHT,
    INK,
    MUTED,
    TEST,
    TRAIN,
)
from trainlab.spectral_filters import Spectrum, decompose, flow_factors, predict, ridge_factors

Array = NDArray[np.float64]

N, RUNS, FREQUENCIES = 30, 31, 24
CHOICES = (3, 8, 15, 24, 30, 36, 60, 120, 250, 600)
WIDTHS = tuple(sorted({*CHOICES, 2, 5, 11, 19, 27, 29, 31, 33, 45, 85, 180, 400}))
GRID = np.linspace(-1, 1, 133)
TIMES = np.geomspace(1e-2, 1e7, 55)
FLOOR, TOP = 1e-2, 1e2


@dataclass(frozen=True)
class ErrorOverWidth:
    """Median test errors over WIDTHS, and one run at the chosen width.

    `noise` is the standard deviation σ, `lam` the penalty λ.
    """

    width: int
    noise: float
    lam: float
    train: Array  # training error of the fit to the end
    ended: Array
    ridge: Array
    stopped: Array
    x: Array  # training inputs and targets of the run shown
    y: Array
    fits: tuple[Array, Array]  # on GRID: to the end, at the best stop

    def at(self, curve: Array) -> float:
        """Value of a curve at the chosen width."""
        return float(curve[WIDTHS.index(self.width)])


def _target(x: Array) -> Array:
    return np.sin(2 * np.pi * x)


def _features(x: Array, weight: Array) -> Array:
    return relu_features(harmonics(x, count=FREQUENCIES), weight)


@lru_cache(maxsize=1)
def _problems() -> tuple[Array, Array, list[Spectrum]]:
    """Inputs, unit noise, and for each width the spectra of all runs, tested on GRID and inputs."""
    rng = np.random.default_rng(0)
    # One input somewhere in each of N equal cells, so that no gap is left to extrapolate into.
    x = -1 + 2 * (np.arange(N) + rng.random((RUNS, N))) / N
    unit = rng.standard_normal((RUNS, N))
    weight = rng.standard_normal((RUNS, WIDTHS[-1], 2 * FREQUENCIES))
    train = np.stack([_features(v, w) for v, w in zip(x, weight, strict=True)])
    test = np.stack([_features(np.r_[GRID, v], w) for v, w in zip(x, weight, strict=True)])
    return x, unit, [decompose(train[..., :p], test_features=test[..., :p]) for p in WIDTHS]


def _error(predictions: Array) -> Array:
    """Mean squared distance from the noiseless target on GRID, for predictions (runs, m, ...)."""
    truth = _target(GRID).reshape(1, -1, *[1] * (predictions.ndim - 2))
    return np.asarray(np.mean((predictions[:, : len(GRID)] - truth) ** 2, axis=1))


@lru_cache(maxsize=1)
def _shown() -> int:
    """The run whose function is drawn: the median one at p = n with noise 0.2."""
    x, unit, spectra = _problems()
    spectrum = spectra[WIDTHS.index(N)]
    fit = predict(spectrum, _target(x) + 0.2 * unit, factors=np.ones_like(spectrum.s))
    return int(np.argsort(_error(fit))[RUNS // 2])


@lru_cache(maxsize=8)
def _unpenalized(noise: float) -> tuple[Array, Array, Array, list[tuple[Array, Array]]]:
    """Train, test and best-stop errors over WIDTHS, and both fits of the run shown."""
    x, unit, spectra = _problems()
    y, shown = _target(x) + noise * unit, _shown()
    train, ended, stopped, fits = [], [], [], []
    for spectrum in spectra:
        fit = predict(spectrum, y, factors=np.ones_like(spectrum.s))
        path = predict(spectrum, y, factors=flow_factors(spectrum.s, TIMES, n=N))
        errors = _error(path)
        train.append(np.median(np.mean((fit[:, len(GRID) :] - y) ** 2, axis=1)))
        ended.append(np.median(_error(fit)))
        stopped.append(np.median(errors.min(axis=1)))
        at_best = path[shown, : len(GRID), errors[shown].argmin()]
        fits.append((fit[shown, : len(GRID)], at_best))
    return np.array(train), np.array(ended), np.array(stopped), fits


@lru_cache(maxsize=64)
def _penalized(noise: float, lam: float) -> Array:
    """Test errors over WIDTHS with a penalty."""
    x, unit, spectra = _problems()
    y = _target(x) + noise * unit
    fits = (predict(s, y, factors=ridge_factors(s.s, lam, n=N)) for s in spectra)
    return np.array([np.median(_error(fit)) for fit in fits])


def _compute(width: int, noise: float, lam: float) -> ErrorOverWidth:
    x, unit, _ = _problems()
    train, ended, stopped, fits = _unpenalized(noise)
    shown = _shown()
    return ErrorOverWidth(
        width=width,
        noise=noise,
        lam=lam,
        train=train,
        ended=ended,
        ridge=_penalized(noise, lam),
        stopped=stopped,
        x=x[shown],
        y=_target(x[shown]) + noise * unit[shown],
        fits=fits[WIDTHS.index(width)],
    )


def _readout(d: ErrorOverWidth) -> Readout:
    ended, ridge, stopped = d.at(d.ended), d.at(d.ridge), d.at(d.stopped)
    narrow = d.ended[: WIDTHS.index(N)].min()
    values: dict[str, float | Quantity] = {
        "Test error, trained to the end": ended,
        "Test error with the penalty": ridge,
        "Test error at the best stop": stopped,
        # From N features on it is 0 but for rounding.
        "Training error, to the end": d.at(d.train) if d.width < N else 0.0,
        "Peak, trained to the end": d.ended.max(),
        "Best error of a width below 30": narrow,
    }
    where = (
        f"{d.width} features are fewer than the 30 examples"
        if d.width < N
        else "At 30 features for 30 examples the fit just reaches every example"
        if d.width == N
        else f"{d.width} features pass through all 30 examples"
    )
    return Readout(
        values,
        f"{where}: test error {format_number(ended, 2)} when trained to the end, "
        f"{format_number(ridge, 2)} with a penalty of {format_number(d.lam)}, "
        f"{format_number(stopped, 2)} when stopped at the best time.",
    )


_STYLES = ((TEST, "-"), (BACKWARD, "--"), (FORWARD, (0, (5, 1.5, 1, 1.5))))


def _draw(left: Any, right: Any) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Test error by number of features")
    log_axis(ax, "x", 2, WIDTHS[-1])
    ax.set_xticks([3, 10, 30, 100, 300], ["3", "10", "30", "100", "300"])
    log_axis(ax, "y", FLOOR, TOP)
    ax.set_xlabel("features p")
    ax.axvline(N, color=MUTED, lw=1, ls=":")
    ax.text(N * 0.9, TOP * 0.8, "p = n", color=MUTED, va="top", ha="right")
    (train,) = ax.plot([], [], color=TRAIN, lw=1.4, ls=":")
    curves = [ax.plot([], [], color=c, ls=ls)[0] for c, ls in _STYLES]
    chosen = ax.axvline(N, color=HIGHLIGHT, lw=1.4)
    dots = [ax.plot([], [], "o", color=c, ms=7)[0] for c, _ in _STYLES]
    words = ("trained to the end", "with the penalty", "best stop", "training error")
    for line, word in zip([*curves, train], words, strict=True):
        line.set_label(word)
    ax.legend(loc="upper right", handlelength=2.2, borderpad=0, labelspacing=0.25)

    fx = right.subplots()
    panel_label(fx, "What one run has learned")
    fx.set_xlim(-1, 1)
    fx.set_ylim(-2.5, 2.5)
    fx.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−0.5", "0", "0.5", "1"])
    fx.set_xlabel("input x")
    fx.plot(GRID, _target(GRID), color=INK, lw=1, ls=":")
    (wild,) = fx.plot([], [], color=_STYLES[0][0], ls=_STYLES[0][1], lw=1.3)
    (calm,) = fx.plot([], [], color=_STYLES[2][0], ls=_STYLES[2][1], lw=2.6)
    (points,) = fx.plot([], [], "o", color=TRAIN, ms=4.5)
    label = fx.text(1, 1.035, "", transform=fx.transAxes, ha="right", weight="bold")
    return {
        "curves": curves,
        "train": train,
        "chosen": chosen,
        "dots": dots,
        "fits": [wild, calm],
        "points": points,
        "label": label,
    }


def _update(artists: dict[str, Any], d: ErrorOverWidth) -> None:
    curves = (d.ended, d.ridge, d.stopped)
    for line, dot, curve in zip(artists["curves"], artists["dots"], curves, strict=True):
        line.set_data(WIDTHS, np.clip(curve, FLOOR / 10, None))
        dot.set_data([d.width], [np.clip(d.at(curve), FLOOR, TOP)])
    artists["train"].set_data(WIDTHS, np.clip(d.train, FLOOR / 10, None))
    artists["chosen"].set_xdata([d.width, d.width])
    for line, fit in zip(artists["fits"], d.fits, strict=True):
        line.set_data(GRID, np.clip(fit, -3, 3))
    artists["points"].set_data(d.x, d.y)
    artists["label"].set_text(f"p = {d.width}")


model_wise = Explorer(
    name="double_descent.model_wise",
    title="Double descent over the width",
    caption=(
        "A network with p random ReLU features learns sin(2πx) from 30 noisy examples. Left: test "
        "error (median of 31 runs) of the output weights trained to the end, with an L2 penalty, "
        "and stopped at the best time; dotted: training error of the first. Right, one run: its "
        "examples, the target (dotted), and the same network trained to the end (solid) and "
        "stopped at the best time (dash-dotted)."
    ),
    controls=(
        Steps("width", "Features p", CHOICES, N),
        Steps("noise", "Label noise σ", (0.0, 0.2, 0.4), 0.2, between="linear"),
        Steps("lam", "Penalty λ", (1e-3, 1e-2, 1e-1, 1.0), 1e-1, between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
