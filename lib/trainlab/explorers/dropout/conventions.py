"""How much signal is left at each depth under each pairing of a training and a test rule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.dropout import dropout, dropout_test, keep_mask
from trainlab.dropout_statistics import Signal, dropout_signal
from trainlab.explorers import palette

# Sixteen examples keep each product below the size at which BLAS starts threads.
DEPTH, WIDTH, EXAMPLES = 12, 128, 16

# rule -> scaling in training, scaling at test time ("standard" training divides by nothing,
# "inverted" testing does nothing)
RULES = {
    "double": ("inverted", "standard"),
    "inverted": ("inverted", "inverted"),
    "standard": ("standard", "standard"),
    "none": ("standard", "inverted"),
}


@dataclass(frozen=True)
class Conventions:
    """Measured and predicted signal of both modes."""

    p: float
    rule: str
    train: Signal
    test: Signal
    train_theory: Signal
    test_theory: Signal


@lru_cache(maxsize=2)
def _clean(activation: str) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Weights, and the layers of the network without dropout."""
    rng = np.random.default_rng(3)
    variance = {"relu": 2.0, "linear": 1.0}[activation] / WIDTH
    weights = rng.standard_normal((DEPTH, WIDTH, WIDTH), dtype=np.float32) * np.float32(
        np.sqrt(variance)
    )
    layers = [rng.standard_normal((EXAMPLES, WIDTH), dtype=np.float32)]
    for weight in weights:
        z = layers[-1] @ weight.T
        layers.append(np.maximum(z, 0) if activation == "relu" else z)
    return weights, layers


@lru_cache(maxsize=64)
def _trained(p: float, activation: str, scaling: str) -> Signal:
    """One run with masks, against the layers without."""
    rng = np.random.default_rng(7)
    weights, clean = _clean(activation)
    h, signal, power = clean[0], [1.0], [1.0]
    for weight, reference in zip(weights, clean[1:], strict=True):
        h = h @ weight.T
        if activation == "relu":
            h = np.maximum(h, 0)
        h = dropout(h, keep_mask(h.shape, p=p, rng=rng), p=p, scaling=scaling)
        signal.append(float(np.sum(h * reference) / np.sum(reference**2)))
        power.append(float(np.sum(h**2) / np.sum(reference**2)))
    return Signal(np.array(signal), np.array(power))


@lru_cache(maxsize=64)
def _tested(p: float, scaling: str) -> Signal:
    """The factor that the rule for test time leaves; both activations pass a factor on."""
    factors = [np.ones(1)]
    for _ in range(DEPTH):
        factors.append(dropout_test(factors[-1], p=p, scaling=scaling))
    signal = np.concatenate(factors)
    return Signal(signal, signal**2)


def _compute(rule: str, p: float, activation: str) -> Conventions:
    train, test = RULES[rule]
    return Conventions(
        p,
        rule,
        _trained(p, activation, train),
        _tested(p, test),
        dropout_signal(DEPTH, p=p, training=True, scaling=train, activation=activation),
        dropout_signal(DEPTH, p=p, training=False, scaling=test, activation=activation),
    )


def _draw(left: Figure, right: Figure) -> list[Any]:
    artists = []
    for figure, title, low, high in (
        (left, "Signal that is left", 1e-4, 1e2),
        (right, "E[h²], with / without dropout", 1e-8, 1e4),
    ):
        ax = figure.subplots()
        panel_label(ax, title)
        log_axis(ax, "y", low, high)
        ax.set_xlim(-0.3, DEPTH + 3.4)
        ax.set_xticks(range(0, DEPTH + 1, 3))
        ax.set_xlabel("layers with dropout")
        ax.plot([0, DEPTH], [1, 1], color=palette.MUTED, lw=1)
        panel = {}
        for mode, color, marker in (
            ("train", palette.TRAIN, "o"),
            ("test", palette.TEST, "s"),
        ):
            (line,) = ax.plot(
                [], [], color=palette.THEORY, lw=1.2, ls="-" if mode == "train" else "--"
            )
            (dots,) = ax.plot([], [], color=color, marker=marker, ls="", ms=5.5)
            label = ax.text(DEPTH + 0.5, 1, mode, color=color, va="center", fontweight="bold")
            panel[mode] = (line, dots, label)
        artists.append((ax, panel))
    # The axes themselves do not move; only what is drawn on them does.
    return [panel for _, panel in artists]


def _update(artists: Any, data: Conventions) -> None:
    layers = np.arange(DEPTH + 1)
    for index, panel in enumerate(artists):
        ends = {}
        for mode in ("train", "test"):
            line, dots, _ = panel[mode]
            theory = getattr(data, f"{mode}_theory")[index]
            line.set_data(layers, theory)
            dots.set_data(layers, getattr(data, mode)[index])
            ends[mode] = np.log10(theory[-1])
        # Labels keep a distance of 7 % of the axis, training on its own side.
        low, high = (-4, 2) if index == 0 else (-8, 4)
        gap, middle = 0.09 * (high - low), (ends["train"] + ends["test"]) / 2
        if abs(ends["train"] - ends["test"]) < gap:
            sign = 1 if ends["train"] >= ends["test"] else -1
            ends = {"train": middle + sign * gap / 2, "test": middle - sign * gap / 2}
        for mode, end in ends.items():
            panel[mode][2].set_position((DEPTH + 0.5, 10.0**end))


VERDICTS = {
    "double": "Scaling in training and again at test time counts twice",
    "inverted": "Scaled in training, left alone at test time, a consistent pair",
    "standard": "Left alone in training, scaled at test time, a consistent pair",
    "none": "Scaled nowhere, test time has more signal than training had",
}


def _readout(data: Conventions) -> Readout:
    train, test = data.train_theory.signal, data.test_theory.signal
    spread = data.test_theory.second_moment[-1] / data.train_theory.second_moment[-1]
    consistent = data.rule in ("inverted", "standard")
    drifts = consistent and abs(test[-1] / train[-1] - 1) > 1e-9
    return Readout(
        {
            "Signal in training, 3 layers": train[3],
            "Signal at test time, 3 layers": test[3],
            "Signal in training, 12 layers": train[-1],
            "Signal at test time, 12 layers": test[-1],
            "Test / training, signal": test[-1] / train[-1],
            "Test / training, E[h²]": Quantity(spread),
        },
        f"{VERDICTS[data.rule]}: with p = {data.p:g}, the signal after twelve layers is "
        f"{format_number(train[-1])} in training and {format_number(test[-1])} at test time"
        + (
            "; the means of single units agree, but ReLUs turn the noise of training into signal."
            if drifts
            else f", and E[h²] at test time is {format_number(spread)} times that in training."
        ),
    )


conventions = Explorer(
    name="dropout.conventions",
    title="Signal through depth under each scaling rule",
    caption="Left: what the layer with dropout, d, still carries of the same layer without "
    "dropout, h: E[d·h] / E[h²]. Right: its second moment, E[d²] / E[h²]. Dots: a random "
    "network, 128 units wide, dropout behind each of 12 layers; circles training, squares test. "
    "Lines: theory for infinite width, solid for training, dashed for test.",
    controls=(
        Choice(
            "rule",
            "Rule",
            {
                "double": "train ÷ (1 − p), test × (1 − p)",
                "inverted": "train ÷ (1 − p), test as is (inverted)",
                "standard": "train as is, test × (1 − p) (2014)",
                "none": "train as is, test as is",
            },
            "double",
        ),
        Steps("p", "Drop probability p", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5), 0.2, between="linear"),
        Choice("activation", "Layers", {"linear": "linear", "relu": "ReLU"}, "linear"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
