"""Two inputs and one gradient on either side of the edge of chaos."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.activations import ACTIVATIONS
from trainlab.explorers import palette
from trainlab.signal_propagation import critical_variance, mean_field, simulate
from trainlab.variance import correlation_by_layer

Array = NDArray[Any]

DEPTH, WIDTH, PAIRS = 30, 128, 8
STARTS = (0.0, 0.5, 0.9, 0.99)
NAMES: dict[str | int | float, str] = {"tanh": "tanh", "relu": "ReLU"}
BIASES: dict[str | int | float, str] = {0.0: "0, no biases", 0.05: "0.05"}
LOW, HIGH = 1e-10, 1e6


@dataclass(frozen=True)
class Data:
    """Correlations and gradients by layer."""

    activation: str
    weight_variance: float
    bias_variance: float
    edge: float
    theory: Array  # (starts, DEPTH + 1)
    simulated: Array  # (starts, DEPTH + 1)
    gradient: Array  # (DEPTH + 1,), theory
    measured: Array  # (DEPTH + 1,), in the same network


@lru_cache(maxsize=8)
def _edge(activation: str, bias_variance: float) -> float:
    return critical_variance(activation=activation, low=0.4, high=5.0, bias_variance=bias_variance)


@lru_cache(maxsize=1)
def _draws() -> tuple[list[Array], list[Array], Array]:
    rng = np.random.default_rng(2)
    weights = [rng.standard_normal((WIDTH, WIDTH)) / math.sqrt(WIDTH) for _ in range(DEPTH)]
    biases = [rng.standard_normal(WIDTH) for _ in range(DEPTH)]
    one, other = rng.standard_normal((2, PAIRS, WIDTH))
    inputs = [one] + [c * one + math.sqrt(1 - c**2) * other for c in STARTS]
    return weights, biases, np.concatenate(inputs)  # (pairs · (1 + starts), width)


def _simulate(activation: str, weight_variance: float, bias_variance: float) -> tuple[Array, Array]:
    """Correlations of the inputs with their partners by layer, and squared gradients."""
    weights, biases, h = _draws()
    measured = simulate(
        [math.sqrt(weight_variance) * w for w in weights],
        h[:PAIRS],
        cotangent=np.random.default_rng(4).standard_normal((PAIRS, WIDTH)),
        activation=activation,
        biases=[math.sqrt(bias_variance) * b for b in biases],
    ).backward
    function = ACTIVATIONS[activation].function
    found = []
    for layer in range(DEPTH + 1):
        z = h
        if layer:
            z = math.sqrt(weight_variance) * (h @ weights[layer - 1].T)
            z = z + math.sqrt(bias_variance) * biases[layer - 1]
            h = function(z)
        rows = z.reshape(1 + len(STARTS), PAIRS, WIDTH)
        length = np.sqrt(np.sum(rows**2, axis=2))
        products = np.sum(rows[1:] * rows[0], axis=2)
        found.append(np.mean(products / (length[1:] * length[0]), axis=1))
    return np.array(found).T, measured / measured[-1]


def _compute(activation: str, weight_variance: float, bias_variance: float) -> Data:
    setting = (activation, weight_variance, bias_variance)
    signal = mean_field(
        DEPTH,
        activation=activation,
        weight_variance=weight_variance,
        bias_variance=bias_variance,
    )
    simulated, measured = _simulate(*setting)
    return Data(
        *setting,
        _edge(activation, bias_variance),
        correlation_by_layer(
            DEPTH,
            activation=activation,
            weight_variance=weight_variance,
            bias_variance=bias_variance,
            cosine=STARTS,
        ),
        simulated,
        signal.backward,
        measured,
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Two inputs: how alike, by layer")
    ax.set(xlim=(-0.7, DEPTH + 0.7), ylim=(-0.12, 1.06), xlabel="layer", ylabel="correlation")
    lines = [ax.plot([], [], color=palette.THEORY, lw=1.4)[0] for _ in STARTS]
    dots = [
        ax.plot([], [], color=palette.FORWARD, marker=m, ls="", ms=4.5)[0]
        for m in ("o", "s", "^", "D")
    ]
    ax = right.subplots()
    panel_label(ax, "← Gradient E[g²], backward")
    log_axis(ax, "y", LOW, HIGH)
    ax.set(xlim=(-0.7, DEPTH + 0.7), xlabel="layer")
    ax.axhline(1, color=palette.MUTED, lw=1.2, ls=(0, (3, 2)))
    (gradient,) = ax.plot([], [], color=palette.THEORY, lw=1.4)
    (measured,) = ax.plot([], [], color=palette.BACKWARD, marker="o", ls="", ms=4.5)
    phase = ax.text(
        DEPTH,
        HIGH / 4,
        "",
        color=palette.HIGHLIGHT,
        weight="bold",
        fontsize=13,
        ha="right",
        va="top",
    )
    edge = ax.text(DEPTH, HIGH / 60, "", color=palette.MUTED, ha="right", va="top")
    return {
        "lines": lines,
        "dots": dots,
        "gradient": gradient,
        "measured": measured,
        "phase": phase,
        "edge": edge,
    }


def _phase(data: Data) -> str:
    ratio = data.weight_variance / data.edge
    if abs(ratio - 1) < 0.01:
        return "at the edge"
    if data.activation == "relu" and ratio > 1:
        return "exploding"  # q has no fixed point, and neighbors do not part
    return "chaotic" if ratio > 1 else "ordered"


def _update(artists: dict[str, Any], data: Data) -> None:
    layers = np.arange(DEPTH + 1)
    for line, dots, expected, found in zip(
        artists["lines"], artists["dots"], data.theory, data.simulated, strict=True
    ):
        line.set_data(layers, expected)
        dots.set_data(layers[::2], found[::2])
    artists["gradient"].set_data(layers, np.clip(data.gradient, LOW / 10, HIGH * 10))
    artists["measured"].set_data(layers[::2], np.clip(data.measured[::2], LOW / 10, HIGH * 10))
    artists["phase"].set_text(_phase(data))
    artists["edge"].set_text(f"edge: σw² = {format_number(data.edge, 4)}")


def _readout(data: Data) -> Readout:
    first, near = float(data.theory[1, -1]), float(data.theory[3, -1])
    gradient = float(data.gradient[0])
    return Readout(
        {
            f"Correlation at layer {DEPTH}, from 0.5": first,
            f"Correlation at layer {DEPTH}, from 0.99": near,
            f"Correlation at layer {DEPTH}, from 0.99, in the network": Quantity(
                float(data.simulated[3, -1]), digits=2
            ),
            "Squared gradient at the input": Quantity(gradient, "×", digits=2),
            "σw² at the edge": Quantity(data.edge, digits=4),
        },
        f"{NAMES[data.activation]} with σw² = {format_number(data.weight_variance)} and σb² = "
        f"{format_number(data.bias_variance)} ({_phase(data)}): after {DEPTH} layers inputs with "
        f"correlation 0.5 are at {format_number(first)} and those with 0.99 at "
        f"{format_number(near)}; squared gradients change by ×{format_number(gradient, 2)}.",
    )


two_inputs = Explorer(
    name="variance.two_inputs",
    title="The edge of chaos",
    caption=f"Random networks of {DEPTH} layers. Left: correlation between the pre-activations of "
    "two inputs that start at 0, 0.5, 0.9 or 0.99. Lines: theory. Dots: one network of width "
    f"{WIDTH}, {PAIRS} pairs of inputs each. Right: second moment of the gradient, from the "
    "output back to the input.",
    controls=(
        Choice("activation", "Activation", NAMES, "tanh"),
        Steps(
            "weight_variance",
            "σw² = n · Var(W)",
            (0.5, 1.0, 1.5, 1.76, 2.0, 2.5, 3.0, 4.0),
            4.0,
            between="linear",
        ),
        Choice("bias_variance", "Variance of the biases σb²", BIASES, 0.05),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 300), (345, 300)),
)
