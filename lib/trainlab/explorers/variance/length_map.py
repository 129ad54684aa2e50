"""The length map as a cobweb, and the gradient factor at every place it visits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab import signal_propagation as theory
from trainlab.explorers import palette

Array = NDArray[Any]

SHOWN, DEEP = 12, 50  # layers in the picture, and of the numbers under it
WIDTH, BATCH = 128, 8
TOP, TOP_FACTOR = 4.0, 2.2
GRID = np.concatenate([np.geomspace(1e-4, 0.3, 16)[:-1], np.linspace(0.3, TOP, 38)])

ACTIVATIONS: dict[str | int | float, str] = {
    "tanh": "tanh",
    "relu": "ReLU",
    "gelu": "GELU",
    "selu": "SELU",
    "sigmoid": "sigmoid",
}


@dataclass(frozen=True)
class Data:
    """The map, the way through it, and what a simulated network does."""

    activation: str
    weight_variance: float
    after: Array  # the map at GRID
    factor: Array  # χ at GRID
    path: Array  # q of layers 1 … SHOWN + 1
    path_factor: Array
    simulated: Array  # the same in one network
    deep: float  # q after DEEP layers more
    deep_factor: float
    gradient: float  # product of χ over DEEP layers


@lru_cache(maxsize=1)
def _weights() -> list[Array]:
    rng = np.random.default_rng(5)
    return [rng.standard_normal((WIDTH, WIDTH)) / math.sqrt(WIDTH) for _ in range(SHOWN)]


def _compute(activation: str, weight_variance: float, start: float) -> Data:
    setting: dict[str, Any] = {"activation": activation, "weight_variance": weight_variance}
    # The first pre-activations have the second moment `start`.
    signal = theory.mean_field(DEEP, input_moment=start / weight_variance, **setting)
    q = weight_variance * signal.forward
    x = math.sqrt(start / weight_variance) * np.random.default_rng(6).standard_normal(
        (BATCH, WIDTH)
    )
    simulated = theory.simulate(
        [math.sqrt(weight_variance) * w for w in _weights()],
        x,
        cotangent=np.zeros((BATCH, WIDTH)),
        activation=activation,
    )
    return Data(
        activation,
        weight_variance,
        theory.length_map(GRID, **setting),
        theory.gradient_factor(GRID, **setting),
        q[: SHOWN + 1],
        theory.gradient_factor(q[: SHOWN + 1], **setting),
        weight_variance * simulated.forward,
        float(q[-1]),
        float(theory.gradient_factor(q[-1], **setting)),
        float(signal.backward[0]),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Length map: q → next q")
    ax.set(xlim=(0, TOP), ylim=(0, TOP), xlabel="q of this layer", ylabel="q of the next layer")
    ax.set_xticks(range(5))
    ax.set_yticks(range(5))
    ax.plot([0, TOP], [0, TOP], color=palette.MUTED, lw=1.2, ls=(0, (3, 2)))
    ax.text(3.05, 3.2, "unchanged", color=palette.MUTED, rotation=45, ha="center", va="center")
    (curve,) = ax.plot([], [], color=palette.THEORY, lw=1.6)
    (stairs,) = ax.plot([], [], color=palette.FORWARD, lw=1.6)
    (dots,) = ax.plot([], [], color=palette.FORWARD, marker="o", ls="", ms=5)
    (start,) = ax.plot([], [], color=palette.HIGHLIGHT, marker="^", ls="", ms=9, clip_on=False)

    ax = right.subplots()
    panel_label(ax, "Gradient factor χ at that q")
    ax.set(xlim=(0, TOP), ylim=(0, TOP_FACTOR), xlabel="q", ylabel="factor on the squared gradient")
    ax.set_xticks(range(5))
    ax.set_yticks([0, 0.5, 1, 1.5, 2])
    ax.axhspan(1, TOP_FACTOR, color=palette.SHADE, zorder=0)
    ax.axhline(1, color=palette.MUTED, lw=1.2, ls=(0, (3, 2)))
    ax.text(TOP, 1.04, "gradients grow", color=palette.MUTED, ha="right", va="bottom")
    ax.text(TOP, 0.96, "gradients shrink", color=palette.MUTED, ha="right", va="top")
    (factor,) = ax.plot([], [], color=palette.THEORY, lw=1.6)
    (visited,) = ax.plot([], [], color=palette.BACKWARD, marker="o", ls="", ms=5)
    (settled,) = ax.plot([], [], color=palette.BACKWARD, marker="D", ls="", ms=9)
    label = ax.text(0, 0, "", color=palette.BACKWARD, weight="bold", fontsize=13, va="center")
    return {
        "curve": curve,
        "stairs": stairs,
        "dots": dots,
        "start": start,
        "factor": factor,
        "visited": visited,
        "settled": settled,
        "label": label,
    }


def _inside(x: Array, y: Array, top: float) -> tuple[Array, Array]:
    """Drop what lies far outside of the picture; the axes clip the rest."""
    keep = (x <= 1.5 * TOP) & (y <= 1.5 * top)
    return x[keep], y[keep]


def _update(artists: dict[str, Any], data: Data) -> None:
    artists["curve"].set_data(*_inside(GRID, data.after, TOP))
    # (q0, 0), (q0, q1), (q1, q1), (q1, q2), …: up to the map, across to the diagonal.
    x = np.repeat(data.path, 2)[:-1]
    y = np.concatenate([[0.0], np.repeat(data.path[1:], 2)])
    corners = 2 * int(np.searchsorted(data.path > TOP, True)) + 1  # the first outside ends the way
    artists["stairs"].set_data(np.minimum(x[:corners], 9.0), np.minimum(y[:corners], 9.0))
    artists["dots"].set_data(
        *_inside(np.asarray(data.simulated[:-1]), np.asarray(data.simulated[1:]), TOP)
    )
    artists["start"].set_data([data.path[0]], [0.0])
    artists["factor"].set_data(*_inside(GRID, data.factor, TOP_FACTOR))
    artists["visited"].set_data(*_inside(data.path, data.path_factor, TOP_FACTOR))
    q, chi = data.deep, data.deep_factor
    seen = q <= TOP and chi <= TOP_FACTOR
    artists["settled"].set_data([q] if seen else [], [chi] if seen else [])
    artists["label"].set_text(f"χ = {format_number(chi)}")
    right = min(q, TOP) > TOP / 2
    height = min(max(chi + (0.2 if chi > 1 else -0.2), 0.3), 1.9)
    artists["label"].set_position((min(q, TOP) + (-0.1 if right else 0.25), height))
    artists["label"].set_ha("right" if right else "left")


def _readout(data: Data) -> Readout:
    q, chi, gradient = data.deep, data.deep_factor, data.gradient
    start = format_number(float(data.path[0]))
    if q < 0.05:
        signal = f"falls from {start} to {format_number(q, 2)}"
    elif q > 20:
        signal = f"grows from {start} to {format_number(q, 2)}"
    else:
        signal = f"goes from {start} to {format_number(q)}"
    return Readout(
        {
            "q 1 layer later": float(data.path[1]),
            f"q {SHOWN} layers later": Quantity(float(data.path[-1])),
            f"q {SHOWN} layers later, one network of width {WIDTH}": Quantity(
                float(data.simulated[-1]), digits=2
            ),
            f"q {DEEP} layers later": Quantity(q),
            f"χ {DEEP} layers later": Quantity(chi, "×"),
            f"Squared gradient, back through {DEEP} layers": Quantity(gradient, "×", digits=2),
        },
        f"{ACTIVATIONS[data.activation]} with σw² = {format_number(data.weight_variance)}: over "
        f"{DEEP} layers q {signal}, where χ is {format_number(chi)}, and the squared gradient "
        f"is multiplied by {format_number(gradient, 2)}.",
    )


length_map = Explorer(
    name="variance.length_map",
    title="The length map and the gradient factor",
    caption="Left: the second moment q of the pre-activations, from layer to layer. The staircase "
    f"goes up to the map (black) and across to the diagonal, {SHOWN} times; where they cross, q "
    f"stays. Dots: one random network, {WIDTH} units wide. Right: what each layer does to the "
    "squared gradient, at every q that was visited; the diamond is where the signal settles.",
    controls=(
        Choice("activation", "Activation", ACTIVATIONS, "tanh"),
        Steps(
            "weight_variance",
            "σw² = n · Var(W)",
            (0.5, 1.0, 1.5, 2.0, 25 / 9, 4.0),
            25 / 9,
            between="linear",
        ),
        Steps("start", "q of the first layer", (0.1, 0.5, 1.0, 2.0, 3.5), 3.5, between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 310), (345, 310)),
)
