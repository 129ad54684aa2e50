"""Signal, memory of the input and gradient by layer, for every kind of residual block."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Seed, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.residual import StackProfile, relu_stack_profile, relu_stack_theory

Array = NDArray[Any]

WIDTH, BATCH, DEEPEST = 128, 16, 48
KINDS: dict[str | int | float, str] = {
    "plain": "plain: F(x)",
    "residual": "residual: x + F(x)",
    "scaled": "scaled: x + F(x)/√L",
    "post": "Post-LN: LN(x + F(x))",
    "pre": "Pre-LN: x + F(LN(x))",
    "rezero": "zero gain: x + 0·F(x)",
}
SHORT = {
    "plain": "plain",
    "residual": "residual",
    "scaled": "scaled",
    "post": "Post-LN",
    "pre": "Pre-LN",
    "rezero": "zero gain",
}
# Quantity, its words, color, limits of the axis, whether that is logarithmic.
PANELS: tuple[tuple[str, str, str, tuple[float, float], bool], ...] = (
    ("variance", "Mean square of the stream x", palette.FORWARD, (0.4, 1e3), True),
    ("cosine", "Cosine between x and the input", palette.FORWARD, (-0.14, 1.08), False),
    ("gradient", "← Squared gradient of x", palette.BACKWARD, (0.01, 1e3), True),
    ("weights", "Squared gradient of the weights", palette.BACKWARD, (0.005, 20.0), True),
)
RIGHT = 63.0  # room for names beside the deepest stack


@dataclass(frozen=True)
class Data:
    """A simulated stack and the theory of all kinds: quantity -> values for layers 0 … L."""

    kind: str
    depth: int
    found: dict[str, Array]
    theory: dict[str, dict[str, Array]]


def _quantities(profile: StackProfile) -> dict[str, Array]:
    # Weights relative to a plain layer, as in `relu_stack_theory`; layer 0 has none.
    weights = profile.param_gradient**2 / (BATCH * WIDTH**2 / 2)
    return {
        "variance": profile.variance,
        "cosine": profile.cosine,
        "gradient": profile.gradient,
        "weights": np.concatenate([[np.nan], weights]),
    }


@lru_cache(maxsize=64)
def _theory(depth: int) -> dict[str, dict[str, Array]]:
    size = {"width": WIDTH, "batch_size": BATCH}
    return {kind: _quantities(relu_stack_theory(kind, depth, **size)) for kind in SHORT}


def _compute(kind: str, depth: int, seed: int) -> Data:
    found = relu_stack_profile(
        kind, depth, rng=np.random.default_rng(seed), width=WIDTH, batch_size=BATCH
    )
    return Data(kind, depth, _quantities(found), _theory(depth))


def _draw(*figures: Figure) -> list[dict[str, Any]]:
    panels = []
    for figure, (_, title, color, limits, logarithmic) in zip(figures, PANELS, strict=True):
        ax = figure.subplots()
        panel_label(ax, title)
        ax.set(xlim=(-0.9, RIGHT), xlabel="layer")
        ax.set_xticks(range(0, 49, 12))
        if logarithmic:
            log_axis(ax, "y", *limits)
        else:
            ax.set_ylim(*limits)
        others = [ax.plot([], [], color=palette.MUTED, lw=1.1, ls=(0, (4, 2)))[0] for _ in SHORT]
        names = [
            ax.text(0, 1, "", color=palette.MUTED, fontsize=11.5, va="center") for _ in range(5)
        ]
        (line,) = ax.plot([], [], color=palette.THEORY, lw=1.6)
        (dots,) = ax.plot([], [], color=color, marker="o", ls="", ms=5)
        name = ax.text(0, 1, "", color=color, weight="bold", fontsize=12, va="center")
        panels.append({"others": others, "names": names, "line": line, "dots": dots, "name": name})
    return panels


def _shown(values: Array, limits: tuple[float, float], logarithmic: bool) -> Array:
    """Leave out what lies far outside; the axes clip the rest."""
    if not logarithmic:
        return values
    known = np.nan_to_num(values, nan=0.0)
    return np.where((known > limits[0] / 10) & (known < limits[1] * 10), known, np.nan)


def _ends(
    name: str, data: Data, limits: tuple[float, float], logarithmic: bool
) -> dict[str, float]:
    """Height of each kind's last value in the panel, from 0 to 1; NaN outside."""
    low, high = np.log(limits) if logarithmic else limits
    heights = {}
    for kind, theory in data.theory.items():
        value = float(theory[name][-1])
        if logarithmic:
            value = float(np.log(value)) if value > 0 else np.nan
        height = (value - low) / (high - low)
        heights[kind] = height if 0 <= height <= 1 else np.nan
    return heights


def _update(panels: list[dict[str, Any]], data: Data) -> None:
    layers = np.arange(data.depth + 1)
    some = np.unique(np.rint(np.linspace(0, data.depth, 17)).astype(int))
    for artists, (name, _, _, limits, logarithmic) in zip(panels, PANELS, strict=True):
        form = (limits, logarithmic)
        for line, (kind, theory) in zip(artists["others"], data.theory.items(), strict=True):
            line.set_data(some, _shown(theory[name], *form)[some])
            line.set_visible(kind != data.kind)
        mine = data.theory[data.kind][name]
        artists["line"].set_data(layers, _shown(mine, *form))
        artists["dots"].set_data(some, _shown(data.found[name], *form)[some])
        _label(artists, name, data, *form)


def _label(
    artists: dict[str, Any], name: str, data: Data, limits: tuple[float, float], logarithmic: bool
) -> None:
    """Name the lines where they end; of several that end together only one."""
    low, high = np.log(limits) if logarithmic else limits
    ends = _ends(name, data, limits, logarithmic)
    mine = ends.pop(data.kind)
    value = float(data.theory[data.kind][name][-1])
    if np.isnan(mine):  # at 0 or far above
        text = "exactly 0" if value == 0 else f"{SHORT[data.kind]} ↑ {format_number(value, 2)}"
        mine = 0.05 if value == 0 else 0.95
    else:
        text = SHORT[data.kind]
    taken, place = [mine], data.depth + 1.2
    top = text != SHORT[data.kind]
    beside = 13.0 if name == "variance" else 1.0  # clear of a line that leaves through the top
    heights = [(artists["name"], text, mine, beside if top else place)]
    for kind, text_artist in zip(ends, artists["names"], strict=True):
        height = ends[kind]
        free = not np.isnan(height) and min(abs(height - other) for other in taken) > 0.07
        heights.append((text_artist, SHORT[kind] if free else "", height if free else 0.5, place))
        if free:
            taken.append(height)
    for artist, words, height, x in heights:
        y = low + height * (high - low)
        artist.set_text(words)
        artist.set_position((x, float(np.exp(y) if logarithmic else y)))
    tall = float(np.nanmax(data.theory["residual"][name])) > limits[1]
    if "residual" in ends and tall and name in ("variance", "gradient"):
        # The bare residual stack leaves through the top, 2ˡ or 2ᴸ⁻ˡ: named beside its line.
        artist = artists["names"][list(ends).index("residual")]
        artist.set_text(SHORT["residual"])
        artist.set_position((10.2 if name == "variance" else data.depth - 8.2, 500.0))


def _readout(data: Data) -> Readout:
    found, theory = data.found, data.theory[data.kind]
    variance, cosine = float(found["variance"][-1]), float(found["cosine"][-1])
    last = float(found["weights"][-1])
    return Readout(
        {
            "Mean square of x at the end": Quantity(variance, digits=2),
            "Mean square in theory": Quantity(float(theory["variance"][-1]), digits=2),
            "Cosine to the input at the end": Quantity(cosine, digits=2),
            "Cosine in theory": Quantity(float(theory["cosine"][-1]), digits=2),
            "Squared gradient of x at the input": Quantity(float(found["gradient"][0]), digits=2),
            "Squared gradient of the last weights": Quantity(last, digits=2),
        },
        f"{SHORT[data.kind][0].upper()}{SHORT[data.kind][1:]}, {data.depth} blocks: the mean "
        f"square of x ends at {format_number(variance, 2)}, its cosine to the input at "
        f"{format_number(cosine, 2)}; the squared gradient of the last layer's weights is "
        f"{format_number(last, 2)} times that of a plain layer.",
    )


stacks = Explorer(
    name="residual.stacks",
    title="Six ways to stack a layer",
    caption="Random branches F(x) = W relu(x) with He's variance, before training. Above: the "
    "stream x, from input to output. Below: squared gradients, read from right to left; those of "
    "the weights W are relative to a plain layer. Dots: one network of width "
    f"{WIDTH}. Black: theory. Dashed: theory of the other kinds. A line may leave the picture.",
    controls=(
        Choice("kind", "Block", KINDS, "post"),
        Steps("depth", "Blocks L", (4, 8, 12, 24, 36, 48), 24, between="whole"),
        Seed(),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 235),) * 4,
)
