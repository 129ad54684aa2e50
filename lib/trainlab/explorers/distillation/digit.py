"""What a real teacher thinks of one handwritten digit, from a stored sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import boxes, panel_label
from trainlab.distillation import soft_targets
from trainlab.explorers import palette
from trainlab.sweeps import stored
from trainlab.sweeps.distillation_digits import held_out

Array = NDArray[Any]

DIGITS: Mapping[str | int | float, str] = {d: str(d) for d in range(10)}
KINDS: Mapping[str | int | float, str] = {0: "a typical one", 1: "the least sure one"}
BLANK = 0.03  # lighter pixels are not drawn


@dataclass(frozen=True)
class Data:
    """Pixels of one digit and the probabilities of the teacher, at T and at 1."""

    digit: int
    temperature: float
    pixels: Array  # (64,)
    soft: Array  # (10,)
    plain: Array  # (10,)


@lru_cache(maxsize=1)
def _images() -> Array:
    """Pixels of the kept digits, (10, 2, 64)."""
    return np.asarray(held_out()[0][np.array(stored("distillation_teacher")[0]["rows"])])


def _compute(digit: int, kind: int, temperature: float) -> Data:
    logits = np.array(stored("distillation_teacher")[0]["logits"][digit][kind])
    return Data(
        digit,
        temperature,
        _images()[digit, kind],
        soft_targets(logits, temperature=temperature),
        soft_targets(logits, temperature=1.0),
    )


def _squares(pixels: Array) -> Path:
    """One path of a square for each pixel, of an area that grows with its ink."""
    chosen = np.flatnonzero(pixels > BLANK)
    x, y, half = chosen % 8, chosen // 8, 0.98 * np.sqrt(pixels[chosen]) / 2
    return boxes(*(edge.round(2) for edge in (x - half, x + half, y - half, y + half)))


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "The digit")
    ax.set_aspect("equal")
    ax.set(xlim=(-0.6, 7.6), ylim=(7.6, -0.6), xticks=[], yticks=[])
    ax.grid(False)
    ax.set_facecolor(palette.SHADE)
    ax.spines[:].set_visible(False)
    ink = PathPatch(Path([[0, 0]], [Path.MOVETO]), fc=palette.INK, ec="none", lw=0)
    ax.add_patch(ink)

    ax = right.subplots()
    panel_label(ax, "Probability that the teacher gives, %")
    ax.set(xlim=(-0.6, 9.6), ylim=(0, 120), yticks=[0, 25, 50, 75, 100])
    ax.set_xticks(range(10))
    ax.set_xlabel("class")
    ax.grid(axis="x", visible=False)
    bars = list(ax.bar(range(10), 1, 0.72, fc=palette.FORWARD).patches)
    (plain,) = ax.plot([], [], color=palette.HIGHLIGHT, marker="D", ls="", ms=6)
    names = [ax.text(c, 0, "", color=palette.FORWARD, ha="center") for c in range(10)]
    ax.text(9.5, 111.5, "bars: at T", color=palette.FORWARD, ha="right")
    ax.text(6.6, 111.5, "diamonds: at T = 1", color=palette.HIGHLIGHT, ha="right")
    return {"ink": ink, "bars": bars, "plain": plain, "names": names}


def _update(artists: dict[str, Any], data: Data) -> None:
    artists["ink"].set_path(_squares(data.pixels))
    seen = np.flatnonzero(data.plain >= 0.02)
    artists["plain"].set_data(seen, 100 * data.plain[seen])
    for c, (bar, name) in enumerate(zip(artists["bars"], artists["names"], strict=True)):
        height = 100 * float(data.soft[c])
        bar.set_height(height)
        show = height >= 2 and c != data.digit
        name.set_text(f"{height:.0f}" if show else "")
        name.set_y(height + 2.5)


def _readout(data: Data) -> Readout:
    wrong = data.soft.copy()
    wrong[data.digit] = 0
    second, third = (int(c) for c in np.argsort(-wrong)[:2])
    rest = float(wrong.sum())
    warm = f" and {_percent(data.soft[data.digit])} at {format_number(data.temperature)}"
    warm = "" if data.temperature == 1 else warm
    return Readout(
        {
            "Right class": Quantity(100 * float(data.soft[data.digit]), "%"),
            "Right class at T = 1": Quantity(100 * float(data.plain[data.digit]), "%"),
            "Nearest wrong class": Quantity(second),
            "Nearest wrong class gets": Quantity(100 * float(wrong[second]), "%"),
            "Nearest among wrong ones": Quantity(100 * float(wrong[second]) / rest, "%"),
        },
        f"For this {data.digit} the teacher gives its class {_percent(data.plain[data.digit])} at "
        f"temperature 1{warm}. Of the "
        f"wrong classes {second} is the nearest with {_percent(wrong[second])}, then {third} "
        f"with {_percent(wrong[third])}.",
    )


def _percent(share: Any) -> str:
    return f"{format_number(100 * float(share), 3)} %"


digit = Explorer(
    name="distillation.digit",
    title="What the teacher thinks of a digit",
    caption="A handwritten digit that the teacher has not seen and reads right, and the "
    "probabilities of the ten classes. The teacher is the mean of the logits of five networks, "
    "trained on 1,000 digits with their labels only. A typical digit has the median margin of its "
    "class; the least sure one has the smallest.",
    controls=(
        Choice("digit", "Digit", DIGITS, 5),
        Choice("kind", "Which", KINDS, 0),
        Steps("temperature", "Temperature T", (1.0, 2.0, 4.0, 8.0, 20.0), 4.0, between="log"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 300), (345, 300)),
)
