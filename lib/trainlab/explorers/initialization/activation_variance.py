"""Second moments of activations and gradients by layer, for every initialization and activation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Seed, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.activations import ACTIVATIONS, Activation
from trainlab.explorers import palette
from trainlab.initialization import normal, uniform
from trainlab.signal_propagation import Signal, mean_field, simulate

WIDTH, BATCH, DEEPEST = 128, 8, 50
LOW, HIGH = 1e-20, 1e12
HALF_LOW, HALF_HIGH = (2.0**-24) ** 2, 65504.0**2  # squares of float16's smallest and largest

INITS: dict[str | int | float, str] = {
    "small": "normal, std 0.01",
    "default": "nn.Linear default, 1/(3n)",
    "xavier": "Xavier or LeCun, 1/n",
    "he": "He, 2/n",
    "large": "normal, std 1",
}
SPOKEN = {
    "small": "normal weights of std 0.01",
    "default": "the nn.Linear default",
    "xavier": "Xavier initialization",
    "he": "He initialization",
    "large": "normal weights of std 1",
}
ACTIVATION_NAMES: dict[str | int | float, str] = {
    "identity": "none (linear)",
    "relu": "ReLU",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "gelu": "GELU",
    "selu": "SELU",
}
# n · Var(W) in square layers of width n
WEIGHT_VARIANCE = {
    "small": 1e-4 * WIDTH,
    "default": 1 / 3,
    "xavier": 1.0,
    "he": 2.0,
    "large": 1.0 * WIDTH,
}


SPOKEN_ACTIVATION = {**ACTIVATION_NAMES, "identity": "linear"}


@dataclass(frozen=True)
class ActivationVariance:
    """Theory and simulation of the chosen network, and theory of He as a reference."""

    init: str
    activation: str
    gain: float
    theory: Signal
    simulated: Signal
    reference: Signal | None


@lru_cache(maxsize=4)
def _draws(kind: str, seed: int) -> list[NDArray[Any]]:
    """Matrices of variance 1: the same draws serve every scale."""
    rng = np.random.default_rng(seed)
    shape = (WIDTH, WIDTH)
    if kind == "uniform":
        return [uniform(shape, rng=rng, bound=math.sqrt(3)) for _ in range(DEEPEST)]
    return [normal(shape, rng=rng) for _ in range(DEEPEST)]


def _scaled(activation: str, std: float) -> Activation:
    """X → φ(std x): weights std W under φ are weights W under this, without fifty new matrices."""
    function, derivative = ACTIVATIONS[activation]
    return Activation(lambda x: function(std * x), lambda x: std * derivative(std * x))


@lru_cache(maxsize=2)
def _inputs(seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed + 1_000_003)
    return rng.standard_normal((BATCH, WIDTH)), rng.standard_normal((BATCH, WIDTH))


@lru_cache(maxsize=512)
def _deepest(activation: str, weight_variance: float) -> Signal:
    return mean_field(DEEPEST, activation=activation, weight_variance=weight_variance)


def _theory(activation: str, weight_variance: float, depth: int) -> Signal:
    whole = _deepest(activation, weight_variance)
    return Signal(whole.forward[: depth + 1], whole.backward[: depth + 1] / whole.backward[depth])


def _compute(init: str, activation: str, gain: float, depth: int, seed: int) -> ActivationVariance:
    x, g = _inputs(seed)
    weights = _draws("uniform" if init == "default" else "normal", seed)[:depth]
    scaled = _scaled(activation, gain * math.sqrt(WEIGHT_VARIANCE[init] / WIDTH))
    simulated = simulate(weights, x, cotangent=g, activation=scaled)
    simulated = Signal(
        simulated.forward / simulated.forward[0], simulated.backward / simulated.backward[-1]
    )
    same = init == "he" and gain == 1
    return ActivationVariance(
        init,
        activation,
        gain,
        _theory(activation, WEIGHT_VARIANCE[init] * gain**2, depth),
        simulated,
        None if same else _theory(activation, 2.0, depth),
    )


def _draw(left: Figure, right: Figure) -> list[dict[str, Any]]:
    panels = []
    for figure, title, color, quiet in (
        (left, "Signal E[h²], forward →", palette.FORWARD, "left"),
        (right, "← Gradient E[g²], backward", palette.BACKWARD, "right"),
    ):
        ax = figure.subplots()
        panel_label(ax, title)
        log_axis(ax, "y", LOW, HIGH)
        ax.yaxis.set_major_locator(FixedLocator([1e-20, 1e-16, 1e-12, 1e-8, 1e-4, 1, 1e4, 1e8]))
        ax.set_xlim(-1, DEEPEST + 1)
        ax.set_xlabel("layer")
        for low, high in ((LOW, HALF_LOW), (HALF_HIGH, HIGH)):
            ax.axhspan(low, high, color=palette.SHADE, zorder=0)
        # The notes stand on the side where the curve begins, away from the label of its end.
        at = 0 if quiet == "left" else DEEPEST
        note: dict[str, Any] = {"color": palette.MUTED, "fontsize": 11.5, "ha": quiet}
        ax.text(at, HIGH / 4, "too large for half precision", va="top", **note)
        ax.text(at, LOW * 6, "too small for it", va="bottom", **note)
        (reference,) = ax.plot([], [], color=palette.MUTED, lw=2.2, ls=(0, (3, 2)))
        he = ax.text(
            0, 1, "He" if figure is left else "", color=palette.MUTED, ha="center", va="center"
        )
        (line,) = ax.plot([], [], color=palette.THEORY, lw=1.4)
        (dots,) = ax.plot([], [], color=color, marker="o", ls="", ms=5.5)
        end = ax.text(0, 1, "", color=color, fontweight="bold", fontsize=13, va="center")
        panels.append({"reference": reference, "he": he, "line": line, "dots": dots, "end": end})
    return panels


def _corners(values: NDArray[Any]) -> NDArray[Any]:
    """Layers that a polyline needs to stay within 0.03 decades (a quarter of a pixel)."""
    log = np.log10(values)
    keep, waiting = {0, len(log) - 1}, [(0, len(log) - 1)]
    while waiting:
        a, b = waiting.pop()
        off = np.abs(log[a : b + 1] - np.linspace(log[a], log[b], b - a + 1))
        if off.max() > 0.03:
            middle = a + int(off.argmax())
            keep.add(middle)
            waiting += [(a, middle), (middle, b)]
    return np.array(sorted(keep))


def _visible(values: NDArray[Any]) -> NDArray[Any]:
    return np.where((values > LOW) & (values < HIGH), values, np.nan)


def _beside(value: float, other: float) -> float:
    """Height of a label: two and a half decades off the line, away from `other`, in the panel."""
    up = value >= other
    exponent = float(np.clip(np.log10(value) + (2.2 if up else -2.2), -18.8, 10.8))
    return float(10.0**exponent)


def _update(panels: list[dict[str, Any]], data: ActivationVariance) -> None:
    depth = len(data.theory.forward) - 1
    layers = np.arange(depth + 1)
    shown = np.unique([*layers[:: max(depth // 12, 1)], depth])
    for index, panel in enumerate(panels):
        theory, simulated = data.theory[index], data.simulated[index]
        at = depth if index == 0 else 0  # where the story ends: the last layer, or the input
        corners = _corners(theory)
        panel["line"].set_data(corners, theory[corners])
        panel["dots"].set_data(shown, _visible(simulated[shown]))
        end = float(theory[at])
        panel["end"].set_text(format_number(end, 2))
        reference, he = data.reference, 1.0
        panel["reference"].set_visible(reference is not None)
        if reference is not None:
            values, middle = reference[index], depth // 2
            he = float(values[at])
            corners = _corners(values)
            panel["reference"].set_data(corners, values[corners])
        if index == 0:  # one label is enough for both panels
            panel["he"].set_visible(reference is not None)
            if reference is not None:
                height = _beside(float(values[middle]), float(theory[middle]))
                panel["he"].set_position((middle, height))
        if index == 0 and depth < DEEPEST:  # room to the right of the curve
            place, side = (depth + 1.5, float(np.clip(end, 1e-19, 1e11))), "left"
        else:
            place, side = (at, _beside(end, he)), "right" if index == 0 else "left"
        panel["end"].set_position(place)
        panel["end"].set_ha(side)


def _fate(last: float) -> str:
    if last < 1e-3:
        return "dies out"
    if last > 1e3:
        return "explodes"
    return "survives"


def _readout(data: ActivationVariance) -> Readout:
    theory, simulated = data.theory, data.simulated
    depth = len(theory.forward) - 1
    forward, backward = float(theory.forward[-1]), float(theory.backward[0])
    scale = "" if data.gain == 1 else f" times {format_number(data.gain)}"
    return Readout(
        {
            "E[h²] at the last layer": Quantity(forward, digits=2),
            "E[g²] at the input": Quantity(backward, digits=2),
            "Simulated E[h²]": Quantity(float(simulated.forward[-1]), digits=2),
            "Simulated E[g²]": Quantity(float(simulated.backward[0]), digits=2),
            "Per layer, forward": Quantity(forward ** (1 / depth), "×"),
            "Per layer, backward": Quantity(backward ** (1 / depth), "×"),
        },
        f"A {depth}-layer {SPOKEN_ACTIVATION[data.activation]} network with {SPOKEN[data.init]}"
        f"{scale}: the signal {_fate(forward)}, E[h²] goes from 1 to {format_number(forward, 2)}; "
        f"the gradient {_fate(backward)}, E[g²] at the input is {format_number(backward, 2)} times "
        "what it is at the output.",
    )


activation_variance = Explorer(
    name="initialization.activation_variance",
    title="Signal and gradient by depth",
    caption="A random network of 128-unit layers without biases. Left: second moment of the "
    "activations h, from input to output. Right: second moment of the gradient g = ∂L/∂h, from "
    "output back to input. Dots: one simulated network. Line: theory for infinite width. Dashed: "
    "the same network with He initialization. Shaded: typical values lie outside half precision.",
    controls=(
        Choice("init", "Initialization, Var(W)", INITS, "xavier"),
        Choice("activation", "Activation", ACTIVATION_NAMES, "relu"),
        Steps("gain", "Extra gain on the weights", (1.0, 1.1, 5 / 3), 1.0, "×", between="linear"),
        Steps("depth", "Depth", (10, 25, 50), 50, "layers", between="whole"),
        Seed(),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
