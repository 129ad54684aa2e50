"""Mean over tokens and mean of means: what micro-batches of sequences report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.accumulation import example_weights
from trainlab.explorers import palette

SEQUENCES, SHUFFLES = 64, 40
COUNTS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Tokens:
    """Lengths and losses of the sequences, and the loss of the batch by micro-batches."""

    count: int
    lengths: NDArray[Any]
    losses: NDArray[Any]
    true: float
    means: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]
    heaviest: float


def _batch(slope: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Lengths, geometric around 100 tokens, and the mean loss of each sequence's tokens."""
    rng = np.random.default_rng(3)
    lengths = rng.geometric(1 / 100, SEQUENCES).astype(float)
    noise = 0.1 * rng.standard_normal(SEQUENCES)
    return lengths, 1.6 - slope * np.log10(lengths / 100) + noise


def _mean_of_means(
    lengths: NDArray[Any], losses: NDArray[Any], count: int, orders: NDArray[Any]
) -> NDArray[Any]:
    """Average of the micro-batches' token means, for each order of the sequences."""
    n, total = lengths[orders], (lengths * losses)[orders]  # (shuffles, sequences)
    shape = (len(orders), count, SEQUENCES // count)
    out: NDArray[Any] = (total.reshape(shape).sum(2) / n.reshape(shape).sum(2)).mean(axis=1)
    return out


def _compute(count: int, slope: float) -> Tokens:
    lengths, losses = _batch(slope)
    rng = np.random.default_rng(4)
    orders = rng.permuted(np.tile(np.arange(SEQUENCES), (SHUFFLES, 1)), axis=1)
    found = np.array([_mean_of_means(lengths, losses, k, orders) for k in COUNTS])
    tokens = lengths[orders[0]].reshape(count, -1).sum(axis=1)
    weights = example_weights(tokens)
    return Tokens(
        count,
        lengths,
        losses,
        float(lengths @ losses / lengths.sum()),
        found.mean(axis=1),
        found.min(axis=1),
        found.max(axis=1),
        float(weights.max() / weights.min()),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Loss per token of 64 sequences")
    log_axis(ax, "x", 0.7, 1500)
    ax.set(ylim=(0.3, 3.5), xlabel="tokens of the sequence")
    (dots,) = ax.plot([], [], "o", color=palette.TRAIN, ms=4.5, alpha=0.8)
    (level,) = ax.plot([], [], color=palette.THEORY, lw=1.4)
    (wrong,) = ax.plot([], [], color=palette.WRONG, lw=2, ls="--")
    labels = {
        "level": ax.text(0.85, 1, "mean of tokens", color=palette.THEORY, va="top"),
        "wrong": ax.text(0.85, 1, "", color=palette.WRONG, va="bottom"),
    }

    ax = right.subplots()
    panel_label(ax, "Mean of means, by micro-batches")
    ax.set_xscale("log", base=2)
    ax.set(xlim=(0.85, 76), ylim=(1.15, 2.15), xlabel="micro-batches k")
    ax.set_xticks(COUNTS, [str(k) for k in COUNTS])
    ax.minorticks_off()
    (true,) = ax.plot([], [], color=palette.THEORY, lw=1.4)
    (band_low,) = ax.plot([], [], color=palette.WRONG, lw=0.9, ls=":")
    (band_high,) = ax.plot([], [], color=palette.WRONG, lw=0.9, ls=":")
    (means,) = ax.plot([], [], "s--", color=palette.WRONG)
    (here,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=10)
    return {
        "dots": dots, "level": level, "wrong": wrong, "labels": labels, "true": true,
        "band_low": band_low, "band_high": band_high, "means": means, "here": here,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Tokens) -> None:
    here = data.means[COUNTS.index(data.count)]
    artists["dots"].set_data(data.lengths, data.losses)
    artists["level"].set_data([0.7, 1500], [data.true] * 2)
    artists["wrong"].set_data([0.7, 1500], [here] * 2)
    above = here >= data.true * (1 - 1e-9)  # one micro-batch: equal up to rounding
    for name, value, up in (("level", data.true, not above), ("wrong", here, above)):
        artists["labels"][name].set_position((0.85, value + (0.05 if up else -0.05)))
        artists["labels"][name].set_verticalalignment("bottom" if up else "top")
    artists["labels"]["wrong"].set_text("mean of means" if data.count > 1 else "")
    artists["true"].set_data([0.85, 76], [data.true] * 2)
    artists["means"].set_data(COUNTS, data.means)
    artists["band_low"].set_data(COUNTS, data.low)
    artists["band_high"].set_data(COUNTS, data.high)
    artists["here"].set_data([data.count], [here])


def _readout(data: Tokens) -> Readout:
    here = float(data.means[COUNTS.index(data.count)])
    off = 100 * (here / data.true - 1)
    off = 0.0 if abs(off) < 1e-9 else off
    return Readout(
        {
            "Mean over all tokens": data.true,
            "Mean of means": here,
            "Difference of the two means": Quantity(off, "%", 2),
            "Weight of a token, largest / smallest": Quantity(data.heaviest, "×"),
        },
        f"With {data.count} micro-batch{'es' if data.count > 1 else ''} the mean of means is "
        f"{format_number(here)}, the mean over all tokens {format_number(data.true)}"
        + (
            "; one micro-batch makes no difference."
            if data.count == 1
            else f": {format_number(abs(off), 2)} % {'more' if off > 0 else 'less'}; a token in "
            f"the lightest micro-batch counts {format_number(data.heaviest, 3)} times one in the "
            "heaviest."
        ),
    )


tokens = Explorer(
    name="accumulation.tokens",
    title="Mean over tokens and mean of means",
    caption="A batch of 64 sequences with lengths around 100 tokens. Left: the mean loss of each "
    "sequence's tokens, the mean over all tokens of the batch (solid), and the mean of the "
    "micro-batches' means (dashed). Right: that mean of means by the number of micro-batches, "
    "average and range of 40 shuffles. Light and heavy: few and many tokens, "
    "in the first shuffle.",
    controls=(
        Steps("count", "Micro-batches k", COUNTS, 64),
        Steps(
            "slope",
            "Short ones harder by",
            (-0.5, -0.25, 0.0, 0.25, 0.5, 0.75),
            0.5,
            unit="per factor of 10",
            between="linear",
        ),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
