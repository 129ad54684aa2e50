"""Rounding against clipping: where the last mark of a code should lie, and what an outlier does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.quantization import (
    QuantizationError,
    gaussian_quantization,
    integer_code,
    quantization_error,
    quantize,
)

Array = NDArray[Any]

COUNT, OUTLIER, SHOWN = 4096, 60.0, 4.6
BITS = (2, 3, 4, 6, 8)
CLIPS = (0.8, 1.25, 1.8, 2.45, 3.1, 3.9, 6.0, 15.0, 60.0)
LOW, HIGH = 0.7, 80.0
CURVE = np.geomspace(LOW, HIGH, 45)
# Where the expected squared error of normal numbers is least.
BEST = {2: 1.224, 3: 1.952, 4: 2.474, 5: 2.899, 6: 3.27, 7: 3.607, 8: 3.921}


@dataclass(frozen=True)
class Data:
    """Weights in units of their standard deviation under one code."""

    bits: int
    clip: float
    outlier: bool
    levels: Array  # the numbers that can be written
    share: Array  # of the ordinary weights that become each
    curve: Array  # (clips, 2): expected rounding and clipping error, the outlier included
    all: QuantizationError  # of all weights
    ordinary: QuantizationError  # of all but the outlier


@lru_cache(maxsize=1)
def _weights() -> Array:
    return np.random.default_rng(7).standard_normal(COUNT)


@lru_cache(maxsize=8)
def _curve(bits: int) -> Array:
    return np.array([gaussian_quantization(c, bits=bits)[:2] for c in CURVE.tolist()])


def _outlier_errors(bits: int) -> Array:
    """Squared rounding and clipping error of the outlier alone, (clips, 2)."""
    highest = 2 ** (bits - 1) - 1
    scale = CURVE / highest
    q = np.rint(OUTLIER / scale)
    square = (scale * np.minimum(q, highest) - OUTLIER) ** 2
    return np.stack([np.where(q <= highest, square, 0), np.where(q > highest, square, 0)], axis=1)


def _compute(bits: int, clip: float, outlier: str) -> Data:
    bits = int(bits)
    code = integer_code(-clip, clip, bits=bits)
    weights, curve = _weights(), _curve(bits)
    everything = weights
    if outlier == "yes":
        everything = np.append(weights, OUTLIER)
        curve = (COUNT * curve + _outlier_errors(bits)) / (COUNT + 1)
    q = quantize(weights, code)
    counts = np.bincount(q.astype(int) - code.lowest, minlength=code.highest - code.lowest + 1)
    return Data(
        bits,
        clip,
        outlier == "yes",
        code.scale * np.arange(code.lowest, code.highest + 1),
        counts / COUNT,
        curve,
        quantization_error(everything, code),
        quantization_error(weights, code),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, f"{COUNT} weights, and what they become")
    ax.set(xlim=(-SHOWN, SHOWN), ylim=(0, 0.64), yticks=[], xlabel="weight, in σ")
    ax.set_xticks([-4, -2, 0, 2, 4])
    height, edges = np.histogram(_weights(), bins=46, range=(-SHOWN, SHOWN), density=True)
    ax.stairs(height, edges, fill=True, color=palette.SHADE)
    ax.plot(edges, np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi), color=palette.MUTED, lw=1)
    (stems,) = ax.plot([], [], color=palette.TRAIN, lw=1.4, solid_capstyle="butt")
    (marks,) = ax.plot([], [], color=palette.TRAIN, ls="", marker="o", ms=4)
    step = ax.text(-SHOWN + 0.1, 0.595, "", color=palette.TRAIN, weight="bold")
    far = ax.text(SHOWN, 0.595, "", color=palette.WRONG, ha="right", weight="bold")

    ax = right.subplots()
    panel_label(ax, "Mean squared error, in σ²")
    log_axis(ax, "x", LOW, HIGH)
    log_axis(ax, "y", 1e-5, 10)
    ax.set_xticks([1, 2, 5, 10, 20, 60], ["1", "2", "5", "10", "20", "60"])
    ax.set_xlabel("largest number that can be written, in σ")
    (here,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.4, ls=":")
    (rounding,) = ax.plot([], [], color=palette.TRAIN, lw=1.6, ls="--")
    (clipping,) = ax.plot([], [], color=palette.WRONG, lw=1.6, ls="-.")
    (total,) = ax.plot([], [], color=palette.THEORY, lw=2.2)
    (dot,) = ax.plot([], [], color=palette.HIGHLIGHT, marker="D", ms=8, ls="")
    ax.text(0.76, 4.4, "dashed: rounding", color=palette.TRAIN)
    ax.text(78, 4.4, "dash-dot: cut off", color=palette.WRONG, ha="right")
    return {
        "stems": stems, "marks": marks, "step": step, "far": far, "here": here,
        "rounding": rounding, "clipping": clipping, "total": total, "dot": dot,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Data) -> None:
    inside = np.abs(data.levels) < SHOWN
    x = data.levels[inside]
    step = data.levels[1] - data.levels[0]
    top = np.minimum(data.share[inside] / step, 0.56)
    gap = np.full(len(x), np.nan)
    artists["stems"].set_data(
        np.stack([x, x, gap], axis=1).ravel(), np.stack([0 * x, top, gap], axis=1).ravel()
    )
    few = len(x) <= 40
    artists["marks"].set_data(x[: len(x) * few], top[: len(x) * few])
    artists["step"].set_text(f"step {format_number(step, 2)}σ")
    written = format_number(_becomes(data), 3)
    artists["far"].set_text(f"60σ → {written}σ" if data.outlier else "")
    artists["here"].set_data([data.clip] * 2, [1e-5, 2.5])
    artists["rounding"].set_data(CURVE, np.maximum(data.curve[:, 0], 1e-9))
    # Lines that leave the frame below end there: fewer points, so a smaller page.
    seen = np.append(data.curve[1:, 1] > 0, False) | (data.curve[:, 1] > 1e-7)
    artists["clipping"].set_data(CURVE[seen], np.maximum(data.curve[seen, 1], 1e-7))
    artists["total"].set_data(CURVE, data.curve.sum(axis=1))
    artists["dot"].set_data([data.clip], [data.all.rounding + data.all.clipping])


def _becomes(data: Data) -> float:
    """What the outlier is written as."""
    return float(data.levels[np.argmin(np.abs(data.levels - OUTLIER))])


def _readout(data: Data) -> Readout:
    lost = float(data.share[len(data.levels) // 2])
    best = gaussian_quantization(BEST[data.bits], bits=data.bits).decibels
    decibels = data.ordinary.decibels
    if data.outlier:
        end = (
            f"the outlier of 60σ becomes {format_number(_becomes(data), 3)}σ, and "
            f"{format_number(100 * lost, 2)} % of the others become 0"
        )
    else:
        end = (
            f"over all normal weights {best:.1f} dB are to be expected at best, with an end at "
            f"{format_number(BEST[data.bits])}σ"
        )
    return Readout(
        {
            "Step": Quantity(float(data.levels[1] - data.levels[0]), "σ", 3),
            "Rounding error, all weights": Quantity(data.all.rounding, "σ²", 2),
            "Cut-off error, all weights": Quantity(data.all.clipping, "σ²", 2),
            "SNR, ordinary weights": Quantity(decibels, "dB", 3),
            "SNR, all weights": Quantity(data.all.decibels, "dB", 3),
            "Ordinary weights that become 0": Quantity(100 * lost, "%", 2),
        },
        f"With {data.bits} bits that end at {format_number(data.clip)}σ, the signal-to-noise ratio "
        f"of the ordinary weights is {decibels:.1f} dB; {end}.",
    )


clip = Explorer(
    name="quantization.clip",
    title="Rounding against clipping",
    caption="Left: the histogram of normal weights, and the numbers that the code can write; a "
    "stem's height is the share of weights that become this number, over the step (cut at the "
    "top). Right: the mean squared error by the largest number that can be written, expected "
    "(lines; solid: both together) and of these weights (diamond). The outlier, if there is one, "
    "counts as one of 4097 weights on the right.",
    controls=(
        Steps("bits", "Bits", BITS, 4, between="whole"),
        Steps("clip", "Largest number that can be written", CLIPS, 3.9, unit="σ", between="log"),
        Choice("outlier", "Outlier", {"no": "none", "yes": "one weight of 60σ"}, "no"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
