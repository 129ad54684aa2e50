"""Batch norm alone makes gradients explode; with a skip connection it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from explorables import Explorer, Quantity, Readout, Seed, Steps, Toggle, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers.palette import BACKWARD, FORWARD, MUTED, THEORY
from trainlab.normalized_depth import (
    BATCH_NORM_GRADIENT_GROWTH,
    DeepPass,
    deep_pass,
    deep_pass_theory,
)

__all__ = ["gradient_explosion"]

DEPTHS = (5, 10, 20, 30, 40, 50)
WIDTH = 96


@dataclass(frozen=True)
class Data:
    """One random network and its theory, by layer."""

    normalize: bool
    residual: bool
    batch_size: int
    depth: int
    measured: DeepPass
    theory: DeepPass
    reference: np.ndarray[Any, Any]


def _compute(normalize: bool, residual: bool, depth: int, batch_size: int, seed: int) -> Data:
    rng = np.random.default_rng(seed)
    kind = {"normalize": normalize, "residual": residual}
    return Data(
        **kind,
        batch_size=batch_size,
        depth=depth,
        measured=deep_pass(depth, width=WIDTH, batch_size=batch_size, **kind, rng=rng),
        theory=deep_pass_theory(depth, **kind),
        reference=BATCH_NORM_GRADIENT_GROWTH ** np.arange(depth, -1, -1),
    )


def _two_digits(value: float) -> float:
    """Round: a random network's numbers deserve no more digits."""
    return float(f"{value:.2g}")


def _readout(data: Data) -> Readout:
    total = data.measured.gradient[0]
    kind = {
        (False, False): "neither batch norm nor skip connections",
        (True, False): "batch norm and no skip connections",
        (False, True): "skip connections and no batch norm",
        (True, True): "batch norm and skip connections",
    }[data.normalize, data.residual]
    return Readout(
        {
            "Gradient at the input, relative to the output": Quantity(_two_digits(total), "×"),
            "Growth a layer": Quantity(total ** (1 / data.depth), "×", digits=4),
            "Theory for a wide layer and a large batch": Quantity(
                _two_digits(data.theory.gradient[0]), "×"
            ),
            "Signal at the output, root mean square": _two_digits(data.measured.signal[-1]),
        },
        f"With {kind}, {data.depth} layers multiply the gradient on its way down by "
        f"{format_number(_two_digits(total))}, and the signal on its way up by "
        f"{format_number(_two_digits(data.measured.signal[-1]))}.",
    )


def _axes(figure: Figure, label: str) -> Any:
    ax = figure.subplots()
    panel_label(ax, label)
    ax.set_xlim(-1, DEPTHS[-1] + 1)
    ax.set_xlabel("layer (0 = input)")
    log_axis(ax, "y", 0.1, 1e9, most_ticks=11)
    return ax


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    forward = _axes(left, "Signal: root mean square of x")
    backward = _axes(right, "Gradient: |dL/dx|, output = 1")
    artists: dict[str, Any] = {}
    for name, ax, color in (("signal", forward, FORWARD), ("gradient", backward, BACKWARD)):
        (artists[name + " theory"],) = ax.plot([], [], color=THEORY, linewidth=1.4)
        (artists[name],) = ax.plot([], [], "o", color=color, markersize=4)
        artists[name + " label"] = ax.annotate(
            "", (0, 1), xytext=(0, 14), textcoords="offset points", color=color, weight="bold"
        )
    (artists["reference"],) = backward.plot([], [], "--", color=MUTED, linewidth=1.4)
    forward.text(
        0.03,
        0.95,
        "dots: one random network\nline: theory",
        ha="left",
        va="top",
        transform=forward.transAxes,
        color=MUTED,
        fontsize=11.5,
    )
    backward.text(
        0.97,
        0.95,
        "dashed: 1.211 a layer",
        ha="right",
        va="top",
        transform=backward.transAxes,
        color=MUTED,
        fontsize=11.5,
    )
    return artists


def _update(artists: dict[str, Any], data: Data) -> None:
    layers = np.arange(data.depth + 1)
    for name, at, side in (("signal", -1, "right"), ("gradient", 0, "left")):
        values = getattr(data.measured, name)
        artists[name].set_data(layers, values)
        artists[name + " theory"].set_data(layers, getattr(data.theory, name))
        label = artists[name + " label"]
        label.set_text("×" + format_number(_two_digits(values[at])))
        label.xy = (layers[at], max(values[at], getattr(data.theory, name)[at]))
        label.set_horizontalalignment(side)
    artists["reference"].set_data(layers, data.reference)


gradient_explosion = Explorer(
    name="normalization.gradient_explosion",
    title="Batch norm, skips and the gradient",
    caption=(
        f"A random ReLU network {WIDTH} units wide with He initialization. Left: the signal, from "
        "the input up. Right: the gradient, from the output down to the input, so read it from "
        "right to left. The theory is for wide layers and large batches."
    ),
    controls=(
        Toggle("normalize", "Batch norm", default=True),
        Toggle("residual", "Skip connections"),
        Steps("depth", "Depth", DEPTHS, default=50, unit="layers", between="whole"),
        Steps("batch_size", "Batch size", (8, 16, 64), default=64, between="whole"),
        Seed(),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 300), (345, 300)),
)
