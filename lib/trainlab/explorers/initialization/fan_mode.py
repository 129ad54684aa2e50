"""Fan-in, fan-out or both, in networks whose layers differ in width."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.initialization import kaiming_normal, xavier_normal
from trainlab.signal_propagation import Signal, simulate

WIDE, NARROW, DEEPEST = 512, 32, 12
LOW, HIGH = 1e-6, 1e3

MODES: dict[str | int | float, str] = {
    "fan_in": "He, fan_in: 2/n",
    "fan_out": "He, fan_out: 2/m",
    "both": "Xavier × √2: 4/(n+m)",
    "xavier": "Xavier: 2/(n+m)",
}
SHAPES: dict[str | int | float, str] = {
    "funnel": "narrowing, 512 → 32",
    "horn": "widening, 32 → 512",
    "hourglass": "hourglass, 512 → 32 → 512",
    "barrel": "barrel, 32 → 512 → 32",
    "even": "even, 128",
}


@dataclass(frozen=True)
class FanMode:
    """Widths, theory and simulation."""

    mode: str
    shape: str
    widths: NDArray[Any]
    theory: Signal
    simulated: Signal


def _widths(shape: str, layers: int) -> NDArray[Any]:
    t = np.linspace(0, 1, layers + 1)
    narrow = {
        "funnel": t,
        "horn": 1 - t,
        "hourglass": 1 - abs(2 * t - 1),
        "barrel": abs(2 * t - 1),
        "even": np.full(layers + 1, 0.5),
    }[shape]
    return np.rint(WIDE * (NARROW / WIDE) ** narrow).astype(int)


def _weight(mode: str, n: int, m: int, rng: np.random.Generator) -> NDArray[Any]:
    if mode in ("fan_in", "fan_out"):
        return kaiming_normal((m, n), rng=rng, mode=mode)
    return xavier_normal((m, n), rng=rng, gain=math.sqrt(2) if mode == "both" else 1.0)


def _compute(mode: str, shape: str, layers: int) -> FanMode:
    widths = _widths(shape, layers)
    n, m = widths[:-1].astype(float), widths[1:].astype(float)
    variance = {"fan_in": 2 / n, "fan_out": 2 / m, "both": 4 / (n + m), "xavier": 2 / (n + m)}[mode]
    # A ReLU halves E[z²] on the way forward and E[g²] on the way back.
    forward = np.cumprod([1.0, *(variance * n / 2)])
    backward = np.cumprod([1.0, *(variance * m / 2)[::-1]])[::-1]
    rng = np.random.default_rng(11)
    weights = [_weight(mode, a, b, rng) for a, b in itertools.pairwise(widths.tolist())]
    signal = simulate(
        weights,
        rng.standard_normal((16, widths[0])),
        cotangent=rng.standard_normal((16, widths[-1])),
        activation="relu",
    )
    simulated = Signal(signal.forward / signal.forward[0], signal.backward / signal.backward[-1])
    return FanMode(mode, shape, widths, Signal(forward, backward), simulated)


def _draw(left: Figure, right: Figure) -> list[dict[str, Any]]:
    panels = []
    for figure, title, color in (
        (left, "Signal E[h²], forward →", palette.FORWARD),
        (right, "← Gradient E[g²], backward", palette.BACKWARD),
    ):
        ax, strip = figure.subplots(2, 1, sharex=True, height_ratios=[3.6, 1])
        panel_label(ax, title)
        log_axis(ax, "y", LOW, HIGH)
        ax.yaxis.set_major_locator(FixedLocator([1e-6, 1e-4, 1e-2, 1, 1e2]))
        ax.set_xlim(-0.8, DEEPEST + 0.8)
        ax.axhline(1, color=palette.MUTED, lw=1)
        (line,) = ax.plot([], [], color=palette.THEORY, lw=1.4)
        (dots,) = ax.plot([], [], color=color, marker="o", ls="", ms=6)
        end = ax.text(0, 1, "", color=color, fontweight="bold", fontsize=13)
        strip.set(ylim=(0, 600), xlabel="layer", yticks=[0, 512])
        strip.set_ylabel("units")
        strip.set_xticks(range(0, DEEPEST + 1, 2))
        bars = strip.vlines([], [], [], color=palette.MUTED, lw=5)
        panels.append({"line": line, "dots": dots, "end": end, "bars": bars})
    return panels


def _update(panels: list[dict[str, Any]], data: FanMode) -> None:
    layers = np.arange(len(data.widths))
    for index, panel in enumerate(panels):
        theory = data.theory[index]
        at = layers[-1] if index == 0 else 0
        end = float(theory[at])
        panel["line"].set_data(layers, theory)
        panel["dots"].set_data(layers, data.simulated[index])
        panel["end"].set_text(format_number(end, 2))
        height = 10.0 ** float(np.clip(np.log10(end) + (0.9 if end >= 0.99 else -0.9), -5.5, 2.5))
        panel["end"].set_position((at, height))
        panel["end"].set_ha("right" if index == 0 and len(layers) > 6 else "left")
        panel["end"].set_va("center")
        panel["bars"].set_segments([[(i, 0), (i, w)] for i, w in enumerate(data.widths)])


def _farthest(values: NDArray[Any]) -> str:
    return format_number(float(values[np.abs(np.log(values)).argmax()]))


def _readout(data: FanMode) -> Readout:
    forward, backward = float(data.theory.forward[-1]), float(data.theory.backward[0])
    ratio = float(data.widths[0] / data.widths[-1])
    layers = len(data.widths) - 1
    return Readout(
        {
            "E[h²] at the last layer": forward,
            "E[g²] at the input": Quantity(backward),
            "Simulated E[h²]": Quantity(float(data.simulated.forward[-1]), digits=2),
            "Simulated E[g²]": Quantity(float(data.simulated.backward[0]), digits=2),
            "First width / last width": ratio,
            "Narrowest / widest layer": float(data.widths.min() / data.widths.max()),
        },
        f"{MODES[data.mode]} in a ReLU network of {layers} layers ({SHAPES[data.shape]}): E[h²] "
        f"ends at {format_number(forward)} and E[g²] at {format_number(backward)}; on the way "
        f"they reach {_farthest(data.theory.forward)} and {_farthest(data.theory.backward)}.",
    )


fan_mode = Explorer(
    name="initialization.fan_mode",
    title="Fan-in, fan-out or both",
    caption="A ReLU network whose layers differ in width (bars). Left: second moment of the "
    "activations, input to output. Right: second moment of the gradient, output back to input. "
    "Lines: theory. Dots: one simulated network.",
    controls=(
        Choice("mode", "Var(W), from n to m units", MODES, "fan_in"),
        Choice("shape", "Shape of the network", SHAPES, "hourglass"),
        Steps("layers", "Layers", (4, 8, 12), 12, between="whole"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 320), (350, 320)),
)
