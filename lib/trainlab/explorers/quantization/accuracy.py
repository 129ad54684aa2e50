"""A digits network in few bits, from a stored sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.sweeps import stored_run
from trainlab.sweeps.quantization_digits import BITS, GROUP, SEEDS, SHARED

Array = NDArray[Any]

NAME = "quantization_digits"
FORMS: dict[str | int | float, str] = {
    "trained": "as trained",
    "rescaled": "hidden channels rescaled",
    "equalized": "rescaled, then equalized",
}
WHAT: dict[str | int | float, str] = {
    "weights": "weights only",
    "both": "weights and activations",
}
SUBJECT = {"weights": "only the weights", "both": "weights and activations"}
WHOSE = {
    "trained": "the network as trained",
    "rescaled": "the network with rescaled channels",
    "equalized": "the equalized network",
}
SHARES: dict[str | int | float, str] = {
    "tensor": "a layer",
    "channel": "an output channel",
    "group": f"{GROUP} weights",
}
METHODS = ("covered", "clipped", "tuned")
LOOKS = {
    "covered": ("o", "--", palette.WRONG),
    "clipped": ("s", "-.", palette.TRAIN),
    "tuned": ("^", "-", palette.FORWARD),
}
SHIFTS = {"covered": -0.22, "clipped": 0.0, "tuned": 0.22}
LEGEND = {"covered": "○ covering all", "clipped": "□ least squares", "tuned": "△ QAT"}


@dataclass(frozen=True)
class Data:
    """Test errors in percent, and what was chosen."""

    form: str
    what: str
    shared: str
    bits: int
    by_bits: dict[str, Array]  # method -> (bits, networks)
    by_shared: dict[str, Array]  # method -> (granularities, networks)
    before: float


def _errors(method: str, **cell: Any) -> Array:
    return 100 * (1 - np.array(stored_run(NAME, **cell)[method]))


def _compute(form: str, what: str, shared: str, bits: int) -> Data:
    by_bits = {
        m: np.array([_errors(m, form=form, what=what, shared=shared, bits=b) for b in BITS])
        for m in METHODS
    }
    by_shared = {
        m: np.array([_errors(m, form=form, what=what, shared=s, bits=bits) for s in SHARED])
        for m in METHODS
    }
    before = _errors("covered", form=form, bits=64)
    return Data(form, what, shared, int(bits), by_bits, by_shared, float(before.mean()))


def _axis(ax: Axes) -> None:
    log_axis(ax, "y", 0.28, 110)
    ax.set_yticks(
        [1, 2, 5, 10, 20, 50, 100], ["1 %", "2 %", "5 %", "10 %", "20 %", "50 %", "100 %"]
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    moving: dict[str, Any] = {"lines": {}, "dots": {}, "means": {}}
    ax = left.subplots()
    panel_label(ax, "Test error by bits")
    _axis(ax)
    places = np.arange(len(BITS))
    ax.set(xlim=(-0.4, len(BITS) - 0.6), xlabel="bits")
    ax.set_xticks(places, [str(b) for b in BITS])
    (moving["here"],) = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.4, ls=":")
    (moving["before"],) = ax.plot([], [], color=palette.THEORY, lw=1)
    for row, (method, (marker, style, color)) in enumerate(LOOKS.items()):
        (moving["lines"][method],) = ax.plot(
            [], [], color=color, ls=style, marker=marker, fillstyle="none", mew=1.8, ms=6
        )
        ax.text((-0.3, 2.1, -0.3)[row], (0.56, 0.56, 0.36)[row], LEGEND[method], color=color)
    ax.text(2.1, 0.36, "line: not quantized", color=palette.THEORY)

    ax = right.subplots()
    panel_label(ax, f"The {len(SEEDS)} networks, by who shares a scale")
    _axis(ax)
    ax.set(xlim=(-0.55, 2.55))
    ax.set_xticks(range(3), ["layer", "output", f"{GROUP} weights"])
    ax.set_xlabel("a scale for each")
    (moving["chosen"],) = ax.plot([], [], color=palette.HIGHLIGHT, lw=1.4, ls=":")
    for method, (marker, _, color) in LOOKS.items():
        (moving["dots"][method],) = ax.plot(
            [], [], color=color, ls="", marker=marker, fillstyle="none", mew=1.2, ms=5
        )
        (moving["means"][method],) = ax.plot([], [], color=color, lw=3, solid_capstyle="butt")
    return moving


def _update(artists: dict[str, Any], data: Data) -> None:
    places = np.arange(len(BITS))
    here = BITS.index(data.bits)
    artists["here"].set_data([here] * 2, [0.8, 100])
    artists["before"].set_data([-0.4, len(BITS) - 0.6], [data.before] * 2)
    chosen = list(SHARED).index(data.shared)
    artists["chosen"].set_data([chosen] * 2, [0.8, 100])
    for method in METHODS:
        artists["lines"][method].set_data(places, data.by_bits[method].mean(axis=1))
        errors = data.by_shared[method]
        x = np.arange(len(SHARED)) + SHIFTS[method]
        artists["dots"][method].set_data(np.repeat(x, len(SEEDS)), errors.ravel())
        mean, gap = errors.mean(axis=1), np.full(len(SHARED), np.nan)
        artists["means"][method].set_data(
            np.stack([x - 0.1, x + 0.1, gap], axis=1).ravel(),
            np.stack([mean, mean, gap], axis=1).ravel(),
        )


def _readout(data: Data) -> Readout:
    at = BITS.index(data.bits)
    errors = {m: data.by_bits[m][at] for m in METHODS}
    mean = {m: float(e.mean()) for m, e in errors.items()}
    spread = float(errors["covered"].std(ddof=1))
    return Readout(
        {
            "Error, not quantized": Quantity(data.before, "%", 3),
            "Error, covering all": Quantity(mean["covered"], "%", 3),
            "Spread, covering all": Quantity(spread, "%", 2),
            "Error, least squares": Quantity(mean["clipped"], "%", 3),
            "Error, QAT": Quantity(mean["tuned"], "%", 3),
        },
        f"With {SUBJECT[data.what]} in {data.bits} bits and a scale for {SHARES[data.shared]}, the "
        f"test error of {WHOSE[data.form]} goes from {format_number(data.before)} % to "
        f"{format_number(mean['covered'])} % if the code covers all weights, to "
        f"{format_number(mean['clipped'])} % if it has the least squared error, and to "
        f"{format_number(mean['tuned'])} % after training through the rounding.",
    )


accuracy = Explorer(
    name="quantization.accuracy",
    title="A digits network in few bits",
    caption="Five networks of 64-128-64-10 units, each trained on 1,197 digits and tested on the "
    "600 others; a stored training run. Left: mean test error. Right: each network at the chosen "
    "bits, bars are means. Rescaled: each hidden channel times a random factor from 1/10 to 10, "
    "which the next layer divides by, so the network computes the same. Training through the "
    "rounding (QAT): five more epochs, scales fixed at those of least squares. Activations have "
    "affine codes that cover what occurs on the training digits, one a layer.",
    controls=(
        Choice("form", "Network", FORMS, "trained"),
        Choice("shared", "A scale for each", SHARES, "tensor"),
        Choice("what", "In few bits", WHAT, "weights"),
        Steps("bits", "Bits", BITS, 2),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 320), (350, 320)),
)
