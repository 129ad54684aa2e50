"""Dropout in front of a batch norm: the variance that it stores is not the one it meets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.dropout import dropout, keep_mask
from trainlab.dropout_statistics import variance_shift as shift
from trainlab.explorers import palette

EXAMPLES, FEATURES, UNITS = 4000, 64, 16
EDGES = np.linspace(-4, 4, 41)
DROPS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
RELU = "relu"
# Mean over standard deviation of a feature; "relu" is max(0, N(0, 1)).
FEATURE_MEANS: dict[str | int | float, str] = {
    "0": "mean 0 (standard deviation 1)",
    "0.5": "mean 0.5",
    RELU: "ReLU of a normal variable",
    "1": "mean 1",
    "2": "mean 2",
}


def _moments(feature: str) -> tuple[float, float]:
    if feature == RELU:
        return 1 / np.sqrt(2 * np.pi), 0.5 - 1 / (2 * np.pi)
    return float(feature), 1.0


@dataclass(frozen=True)
class Shift:
    """Histograms of a batch norm's output, and the ratio of variances by drop probability."""

    feature: str
    p: float
    train: NDArray[Any]
    test: NDArray[Any]
    ratio: float
    theory: float
    curve: NDArray[Any]


@lru_cache(maxsize=1)
def _normals() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(5)
    return (
        rng.standard_normal((EXAMPLES, FEATURES)),
        rng.standard_normal((UNITS, FEATURES)) / np.sqrt(FEATURES),
        np.linspace(0, 0.7, 36),
    )


@lru_cache(maxsize=8)
def _clean(feature: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features, and the linear layer's output, without dropout."""
    normals, weights, _ = _normals()
    x = np.maximum(normals, 0) if feature == RELU else normals + _moments(feature)[0]
    return x, x @ weights.T


def _density(z: NDArray[Any]) -> NDArray[Any]:
    counts, _ = np.histogram(z, EDGES)
    return np.asarray(counts / (z.size * (EDGES[1] - EDGES[0])))


def _compute(p: float, feature: str) -> Shift:
    _, weights, drops = _normals()
    mean, var = _moments(feature)
    x, z_test = _clean(feature)
    mask = keep_mask(x.shape, p=p, rng=np.random.default_rng(6))
    z_train = dropout(x, mask, p=p) @ weights.T
    # What batch norm keeps from training: one mean and one variance a unit.
    kept_mean, kept_std = z_train.mean(axis=0), z_train.std(axis=0)
    train, test = (z_train - kept_mean) / kept_std, (z_test - kept_mean) / kept_std
    return Shift(
        feature,
        p,
        _density(train),
        _density(test),
        float(test.var(axis=0).mean()),
        shift(mean, var, p=p),
        np.array([shift(mean, var, p=float(q)) for q in drops]),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Output of the batch norm")
    ax.set(xlim=(-4, 4), ylim=(0, 1.4), yticks=[], xlabel="normalized value")
    ax.spines["left"].set_visible(False)
    shade = ax.stairs(np.zeros(len(EDGES) - 1), EDGES, color=palette.GRID, fill=True)
    train = ax.stairs(np.zeros(len(EDGES) - 1), EDGES, color=palette.TRAIN, lw=2.2)
    test = ax.stairs(
        np.zeros(len(EDGES) - 1), EDGES, color=palette.TEST, lw=2.2, linestyle=(0, (4, 1.5))
    )
    said = {
        "train": ax.text(-3.9, 1.26, "", color=palette.TRAIN, fontweight="bold"),
        "test": ax.text(-3.9, 1.12, "", color=palette.TEST, fontweight="bold"),
    }

    ax = right.subplots()
    panel_label(ax, "Variance at test time / in training")
    ax.set(xlim=(0, 0.74), ylim=(0, 1.05), xlabel="drop probability p")
    ax.plot([0, 0.7], [1, 0.3], color=palette.MUTED, lw=1.4, ls=":")
    ax.text(0.41, 0.62, "1 − p (zero mean)", color=palette.MUTED)
    ax.axhline(1, color=palette.MUTED, lw=1)
    (curve,) = ax.plot([], [], color=palette.THEORY, lw=1.6)
    (dot,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=10)
    label = ax.text(0, 0, "", fontweight="bold", color=palette.HIGHLIGHT)
    return {
        "shade": shade,
        "train": train,
        "test": test,
        "said": said,
        "curve": curve,
        "dot": dot,
        "label": label,
    }


def _update(artists: dict[str, Any], data: Shift) -> None:
    artists["shade"].set_data(data.train)
    artists["train"].set_data(data.train)
    artists["test"].set_data(data.test)
    artists["said"]["train"].set_text("training: variance 1")
    artists["said"]["test"].set_text(f"test: variance {format_number(data.ratio, 3)}")
    artists["curve"].set_data(_normals()[2], data.curve)
    artists["dot"].set_data([data.p], [data.ratio])
    artists["label"].set_text(format_number(data.ratio, 3))
    low = data.ratio < 0.15  # no room below the dot
    artists["label"].set_position(
        (data.p + 0.035, data.ratio + 0.06)
        if low
        else (max(data.p - 0.015, 0.02), data.ratio - 0.03)
    )
    artists["label"].set_horizontalalignment("right" if data.p > 0.1 else "left")
    artists["label"].set_verticalalignment("bottom" if low else "top")


def _readout(data: Shift) -> Readout:
    mean, var = _moments(data.feature)
    return Readout(
        {
            "Variance ratio, measured": data.ratio,
            "Variance ratio, formula": data.theory,
            "Feature mean c": mean,
            "Feature variance v": var,
            "Standard deviation at test time": np.sqrt(data.theory),
        },
        f"With p = {data.p:g} in front of it, the batch norm gives variance 1 in training and "
        f"{format_number(data.ratio)} at test time; the formula says {format_number(data.theory)}"
        + (
            "."
            if data.p == 0
            else f", against 1 − p = {format_number(1 - data.p)} for features of zero mean."
        ),
    )


variance_shift = Explorer(
    name="dropout.variance_shift",
    title="Variance shift in front of a batch norm",
    caption="Features pass inverted dropout, a linear layer of 64 inputs and a batch norm that "
    "keeps its training statistics. Left: distribution of its output over 16 units, solid in "
    "training, dashed at test time. Right: variance ratio; dot measured, line the formula "
    "v / ((c² + v) / (1 − p) − c²), dotted its value for features of zero mean.",
    controls=(
        Steps("p", "Drop probability p", DROPS, 0.5, between="linear"),
        Choice("feature", "Features", FEATURE_MEANS, RELU),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 280), (350, 280)),
)
