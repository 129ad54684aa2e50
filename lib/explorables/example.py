"""The smallest explorer: a parabola whose curvature and place the reader moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .controls import Steps
from .explorer import Explorer, Readout
from .palette import BLUE

__all__ = ["EXPLORERS", "parabola"]


@dataclass(frozen=True)
class Curve:
    """Points of a curve."""

    x: np.ndarray
    y: np.ndarray


def compute(curvature: float, center: float) -> Curve:
    """Pure: the same values give the same arrays."""
    x = np.linspace(-3, 3, 121)
    return Curve(x, curvature * (x - center) ** 2)


def draw(figure: Figure) -> Any:
    """Once: axes with fixed limits, and the line that will move."""
    ax = figure.subplots()
    ax.set(xlim=(-3, 3), ylim=(0, 8), xlabel="x", ylabel="y")
    return ax.plot([], [], color=BLUE)


def update(artists: Any, curve: Curve) -> None:
    """For every state: move the line."""
    artists[0].set_data(curve.x, curve.y)


def readout(curve: Curve) -> Readout:
    """The numbers under the picture and its text alternative."""
    lowest = float(curve.x[curve.y.argmin()])
    return Readout(
        {"minimum at x": lowest, "y at x = 0": float(curve.y[60])},
        f"A parabola that is lowest at x = {lowest:.2g}.",
    )


parabola = Explorer(
    name="example.parabola",
    title="A parabola",
    caption="y = curvature · (x − center)².",
    controls=(
        Steps("curvature", "Curvature", (0.25, 0.5, 1.0, 2.0), default=1.0),
        Steps("center", "Center", (-1.0, -0.5, 0.0, 0.5, 1.0), default=0.0),
    ),
    compute=compute,
    draw=draw,
    update=update,
    readout=readout,
    panels=((400, 280),),
)

EXPLORERS = (parabola,)
