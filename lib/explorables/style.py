"""The look of every figure: one matplotlib style, and helpers for axes.

Figures are drawn at 72 dots an inch, so that a point is a CSS pixel. Text stays text, in the
page's own font; mathtext would be placed glyph by glyph for a font the reader lacks, so labels
use Unicode (σ², 10⁻³) and `log_axis` writes the ticks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike

from . import palette
from .numbers import superscript

__all__ = ["STYLE", "boxes", "log_axis", "panel_label"]

STYLE: dict[str, Any] = {
    "figure.dpi": 72,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 12,
    "axes.labelsize": 12,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "legend.fontsize": 11.5,
    "legend.frameon": False,
    "text.color": palette.INK,
    "axes.labelcolor": palette.INK,
    "axes.edgecolor": palette.MUTED,
    "xtick.color": palette.MUTED,
    "ytick.color": palette.MUTED,
    "xtick.labelcolor": palette.INK,
    "ytick.labelcolor": palette.INK,
    "axes.grid": True,
    "grid.color": palette.GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 2.2,
    "lines.markersize": 5,
    "lines.solid_capstyle": "round",
    "patch.linewidth": 0,
    "axes.unicode_minus": True,
    "svg.fonttype": "none",
    "path.simplify": True,
}


def _power_of_ten(value: float, _position: int | None = None) -> str:
    power = round(math.log10(value))
    return {0: "1", 1: "10", 2: "100"}.get(power, f"10{superscript(power)}")


def log_axis(ax: Axes, which: str, low: float, high: float, *, most_ticks: int = 6) -> None:
    """Make the x or y axis logarithmic from `low` to `high`, ticks at powers of ten.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The axes.
    which : {"x", "y"}
        The axis.
    low, high : float
        Its fixed limits.
    most_ticks : int
        No more labelled ticks than this.
    """
    if which not in ("x", "y"):
        raise ValueError(f"log_axis: which must be 'x' or 'y'; got {which!r}")
    getattr(ax, f"set_{which}scale")("log")
    getattr(ax, f"set_{which}lim")(low, high)
    axis = getattr(ax, f"{which}axis")
    axis.set_major_locator(LogLocator(numticks=most_ticks))
    axis.set_major_formatter(FuncFormatter(_power_of_ten))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def boxes(left: ArrayLike, right: ArrayLike, bottom: ArrayLike, top: ArrayLike) -> Path:
    """Return one path of many rectangles: a single artist to move, and little to store.

    Parameters
    ----------
    left, right, bottom, top : array_like of shape (n,), or one number for all
        Their edges.

    Returns
    -------
    Path
        For a `PathPatch`; nothing is drawn if there are none.
    """
    x0, x1, y0, y1 = np.broadcast_arrays(*np.atleast_1d(left, right, bottom, top))
    if not len(x0):
        return Path(np.zeros((1, 2)), [Path.MOVETO])
    around = np.stack([x0, y0, x1, y0, x1, y1, x0, y1, x0, y0], axis=1).astype(float)
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    return Path(around.reshape(-1, 2), codes * len(x0))


def panel_label(ax: Axes, text: str) -> None:
    """Write the panel's statement above it, left-aligned."""
    ax.set_title(text, pad=10)
