"""Where a weight ends under noise, with a penalty or with decay, by the size of the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.explorers import palette
from trainlab.sweeps import stored_run
from trainlab.sweeps.adam_and_decay import DECAYS, NOISE, RATES, STEPS

PULLS: dict[str | int | float, str] = {
    1.0: "data pull it to 1 (curvature 1)",
    0.0: "nothing pulls (pure noise)",
}
NAMES = {"sgd": "SGD + penalty", "adam": "Adam + penalty", "adamw": "AdamW"}
LOOKS: dict[str, dict[str, Any]] = {
    "sgd": {"color": palette.MUTED, "marker": "s", "ls": ":"},
    "adam": {"color": palette.WRONG, "marker": "^", "ls": "--"},
    "adamw": {"color": palette.TRAIN, "marker": "o", "ls": "-"},
}
GRID = np.geomspace(NOISE[0], NOISE[-1], 41)


@dataclass(frozen=True)
class Ends:
    """Stored runs of the three optimizers, and what theory says, for one λ."""

    pull: float
    decay: float
    noise: float
    steps: NDArray[Any]
    paths: dict[str, NDArray[Any]]
    ends: dict[str, NDArray[Any]]
    theory: dict[str, NDArray[Any]]


def _settled(decay: float, noise: NDArray[Any]) -> NDArray[Any]:
    """Where AdamW's step and its decay cancel: (1 - w) / √(σ² + (1 - w)²) = λ w, by bisection."""
    low, high = np.zeros_like(noise), np.ones_like(noise)
    for _ in range(60):
        w = (low + high) / 2
        pulled = (1 - w) / np.hypot(noise, 1 - w) > decay * w
        low, high = np.where(pulled, w, low), np.where(pulled, high, w)
    return low


def _theory(pull: float, decay: float, noise: NDArray[Any]) -> dict[str, NDArray[Any]]:
    if pull:
        ridge = np.full_like(noise, 1 / (1 + decay))
        return {"sgd": ridge, "adam": ridge, "adamw": _settled(decay, noise)}
    shrunk = RATES[0.0] * decay * STEPS
    same = np.full_like(noise, np.exp(-shrunk))
    return {"sgd": same, "adam": np.exp(-shrunk / noise), "adamw": same}


def _compute(pull: float, decay: float, noise: float) -> Ends:
    made = {
        name: stored_run("adam_and_decay", optimizer=name, decay=decay, curvature=pull)
        for name in NAMES
    }
    at = NOISE.index(noise)
    return Ends(
        pull,
        decay,
        noise,
        np.array(made["sgd"]["steps"]),
        {name: np.array(run["path"][at]) for name, run in made.items()},
        {name: np.array(run["end"]) for name, run in made.items()},
        _theory(pull, decay, GRID),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "The weight, mean of 40 runs")
    ax.set(xlim=(0, STEPS), ylim=(0, 1.18), yticks=[0, 0.5, 1], xlabel="step")
    ax.set_xticks([0, 2500, 5000], ["0", "2500", "5000"])
    said = ax.text(STEPS * 0.98, 1.11, "", color=palette.HIGHLIGHT, ha="right", va="center",
                   fontweight="bold")  # fmt: skip
    paths = {
        name: ax.plot([], [], color=look["color"], ls=look["ls"])[0] for name, look in LOOKS.items()
    }

    ax = right.subplots()
    panel_label(ax, "Where it ends, by gradient noise σ")
    log_axis(ax, "x", 0.08, 40)
    ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    ax.set(ylim=(0, 1.18), yticks=[0, 0.5, 1], xlabel="standard deviation σ of the gradient")
    (mark,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=9, alpha=0.3)
    theory, ends = {}, {}
    for place, (name, look) in zip((0.095, 0.85, 8.5), LOOKS.items(), strict=True):
        (theory[name],) = ax.plot([], [], color=look["color"], ls=look["ls"], lw=1.6)
        (ends[name],) = ax.plot([], [], look["marker"], color=look["color"], ms=6)
        ax.plot([place], [1.11], look["marker"], color=look["color"], ms=6)
        ax.text(place * 1.2, 1.11, NAMES[name], color=look["color"], va="center")
    return {"said": said, "paths": paths, "mark": mark, "theory": theory, "ends": ends}


def _update(artists: dict[str, Any], data: Ends) -> None:
    artists["said"].set_text(f"σ = {format_number(data.noise)}")
    artists["mark"].set_data([data.noise] * 2, [0, 1.04])
    for name in NAMES:
        artists["paths"][name].set_data(data.steps, data.paths[name])
        artists["theory"][name].set_data(GRID, data.theory[name])
        artists["ends"][name].set_data(NOISE, data.ends[name])


def _readout(data: Ends) -> Readout:
    at = NOISE.index(data.noise)
    end = {name: float(values[at]) for name, values in data.ends.items()}
    expected = {
        name: float(values[0])
        for name, values in _theory(data.pull, data.decay, np.array([data.noise])).items()
    }
    sgd, adam, adamw = (format_number(end[name]) for name in NAMES)
    pulled = (
        f"The data pull the weight to 1. With λ = {data.decay:g} and gradient noise "
        f"{data.noise:g}, SGD and Adam with a penalty hold it at {sgd} and {adam}, AdamW at {adamw}"
        + (": here noise makes its decay strong." if end["adamw"] < end["sgd"] - 0.05 else
           ": with little noise its decay is weak." if end["adamw"] > end["sgd"] + 0.05 else ".")
    )  # fmt: skip
    free = (
        f"Nothing pulls the weight. With λ = {data.decay:g} and gradient noise {data.noise:g}, "
        f"SGD with a penalty and AdamW shrink it from 1 to {sgd} and {adamw} in {STEPS} steps, "
        f"Adam with a penalty to {adam}."
    )
    return Readout(
        {
            "SGD + penalty": end["sgd"],
            "Adam + penalty": end["adam"],
            "Adam + penalty, theory": expected["adam"],
            "AdamW": end["adamw"],
            "AdamW, theory": expected["adamw"],
        },
        pulled if data.pull else free,
    )


adam_and_decay = Explorer(
    name="optimizers.adam_and_decay",
    title="Adam with a penalty, or AdamW",
    caption="One weight starts at 1; its gradient has normal noise of standard deviation σ, drawn "
    "in pairs of opposite sign. Stored runs. Left: along training. Right: after it, for six σ; "
    "marks are measured, lines theory. "
    "With a pull the optimum without decay is 1 and a penalty moves it to 1 / (1 + λ); the runs "
    "are long enough to settle. Without a pull, lr · steps is 5.",
    controls=(
        Choice("pull", "The weight", PULLS, 1.0),
        Steps("decay", "λ", DECAYS, 0.1),
        Steps("noise", "Gradient noise σ", NOISE, 10.0),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((340, 290), (360, 290)),
)
