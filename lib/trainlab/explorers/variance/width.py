"""How far networks of finite width stray from the theory of infinite width."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Seed, Steps, format_number
from explorables.style import panel_label
from trainlab.explorers import palette
from trainlab.signal_propagation import mean_field
from trainlab.variance import log_moment_std, random_walks

Array = NDArray[Any]

DEEPEST, NETWORKS, PATHS = 50, 200, 8
WIDTHS = (16, 32, 64, 128, 256, 512)
SETTINGS: dict[str, tuple[str, str, float]] = {
    "relu": ("ReLU with He, σw² = 2", "relu", 2.0),
    "tanh": ("tanh with gain 5/3", "tanh", 25 / 9),
    "tanh1": ("tanh with Xavier, σw² = 1", "tanh", 1.0),
}
EDGES = np.linspace(-8.0, 4.0, 37)


@dataclass(frozen=True)
class Data:
    """ln E[h²] minus theory: of some networks by layer, of all at the end."""

    setting: str
    width: int
    depth: int
    paths: Array  # (PATHS, depth + 1)
    std: Array  # (depth + 1,), theory
    ends: Array  # (NETWORKS,)


@lru_cache(maxsize=24)
def _walks(setting: str, width: int, seed: int) -> Array:
    _, activation, weight_variance = SETTINGS[setting]
    rule: dict[str, Any] = {"activation": activation, "weight_variance": weight_variance}
    walks = random_walks(
        DEEPEST, width=width, networks=NETWORKS, rng=np.random.default_rng(seed), **rule
    )
    return np.asarray(np.log(walks / mean_field(DEEPEST, **rule).forward))


def _compute(setting: str, width: int, depth: int, seed: int) -> Data:
    walks = _walks(setting, width, seed)[:, : depth + 1]
    _, activation, weight_variance = SETTINGS[setting]
    std = log_moment_std(depth, width=width, activation=activation, weight_variance=weight_variance)
    return Data(setting, width, depth, walks[:PATHS], std, walks[:, -1])


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, f"{PATHS} networks: ln E[h²] − theory")
    ax.set(xlim=(0, DEEPEST), ylim=(EDGES[0], EDGES[-1]), xlabel="layer")
    ax.axhline(0, color=palette.THEORY, lw=1.6)
    paths = [ax.plot([], [], color=palette.FORWARD, lw=1.1)[0] for _ in range(PATHS)]
    band = [ax.plot([], [], color=palette.HIGHLIGHT, lw=1.8, ls="--")[0] for _ in range(2)]
    ax.text(1, 3.75, "dashed: ± 1 s.d. in theory", color=palette.HIGHLIGHT, va="top")

    ax = right.subplots()
    panel_label(ax, f"{NETWORKS} networks, last layer")
    ax.set(xlim=(0, 1.5), ylim=(EDGES[0], EDGES[-1]), xlabel="how many networks")
    ax.set_xticks([])
    ax.axhline(0, color=palette.THEORY, lw=1.6)
    ax.text(1.48, 0.15, "theory", color=palette.THEORY, ha="right", va="bottom")
    bars = ax.stairs(
        np.zeros(len(EDGES) - 1), EDGES, orientation="horizontal", fill=True, color=palette.FORWARD
    )
    (median,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=2.4)
    label = ax.text(
        1.48, 0, "", color=palette.HIGHLIGHT, weight="bold", ha="right", va="top", fontsize=12
    )
    return {"paths": paths, "band": band, "bars": bars, "median": median, "label": label}


def _update(artists: dict[str, Any], data: Data) -> None:
    layers = np.arange(data.depth + 1)
    shown = layers[:: max(1, data.depth // 25)]
    for line, path in zip(artists["paths"], data.paths, strict=True):
        line.set_data(shown, path[shown])
    for sign, line in zip((-1, 1), artists["band"], strict=True):
        line.set_data(shown, sign * data.std[shown])
    ends = np.clip(data.ends, EDGES[0] + 1e-9, EDGES[-1] - 1e-9)
    counts = np.histogram(ends, EDGES)[0]
    artists["bars"].set_data(counts / counts.max())
    middle = float(np.median(data.ends))
    artists["median"].set_data([0, 1.5], [middle, middle])
    artists["label"].set_text(f"median ×{format_number(float(np.exp(middle)), 2)}")
    artists["label"].set_position((1.48, min(max(middle, EDGES[0] + 1), 4) - 0.12))


def _readout(data: Data) -> Readout:
    middle, spread = float(np.median(data.ends)), float(data.ends.std())
    low, high = np.exp(np.quantile(data.ends, [0.05, 0.95]))
    return Readout(
        {
            "Depth / width": Quantity(data.depth / data.width, digits=2),
            "Standard deviation of ln E[h²]": Quantity(spread, digits=2),
            "Standard deviation in theory": Quantity(float(data.std[-1]), digits=2),
            "Median network / theory": Quantity(float(np.exp(middle)), "×", digits=2),
            "5 % of the networks are below": Quantity(float(low), "×", digits=2),
            "5 % of the networks are above": Quantity(float(high), "×", digits=2),
        },
        f"{SETTINGS[data.setting][0]}, {data.width} units wide, {data.depth} layers: E[h²] of "
        f"the median network is {format_number(float(np.exp(middle)), 2)} times the theory, and "
        f"nine of ten networks lie between {format_number(float(low), 2)} and "
        f"{format_number(float(high), 2)} times.",
    )


width = Explorer(
    name="variance.width",
    title="Finite width",
    caption="Random networks of finite width and one input. Left: natural logarithm of E[h²], the "
    "mean square over the units of a layer, minus theory for infinite width. Right: the same at "
    "the last layer. The longest bar always has the same length; what lies outside of the "
    "picture is counted in the last bar.",
    controls=(
        Choice("setting", "Activation and weights", {k: v[0] for k, v in SETTINGS.items()}, "relu"),
        Steps("width", "Width", WIDTHS, 64, "units", between="whole"),
        Steps("depth", "Depth", (10, 25, 50), 50, "layers", between="whole"),
        Seed(),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 300), (345, 300)),
)
