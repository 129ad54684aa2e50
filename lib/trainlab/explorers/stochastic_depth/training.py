"""What stochastic depth does for residual networks on few digits, from a stored sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.explorers import palette
from trainlab.stochastic_depth import compute_saved, drop_schedule
from trainlab.sweeps import stored_run
from trainlab.sweeps.stochastic_depth_training import DEPTH, DROPS, SEEDS, paired

Array = NDArray[Any]

SHARES = [1 - compute_saved(drop_schedule(DEPTH, p=p)) for p in DROPS]
PLACES = np.arange(len(DROPS))
SHIFTS = np.linspace(-0.14, 0.14, len(SEEDS))
LOW, HIGH = -4.0, 18.5  # points that the right panel shows


@dataclass(frozen=True)
class Data:
    """Accuracies in percent, (probabilities, seeds), and gains with half their intervals."""

    noise: float
    n: int
    rule: str
    p: float
    test: Array
    train: Array
    gain: Array
    half: Array


def _compute(noise: float, n: int, rule: str, p: float) -> Data:
    key = "accuracy" if rule == "scaled" else "unscaled"
    made = [stored_run("stochastic_depth_training", n=n, noise=noise, p=q) for q in DROPS]
    gains = [paired(key, n=n, noise=noise, p=q) for q in DROPS]
    return Data(
        noise,
        n,
        rule,
        p,
        100 * np.array([m[key] for m in made]),
        100 * np.array([m["train_accuracy"] for m in made]),
        100 * np.array([g for g, _ in gains]),
        100 * np.array([h for _, h in gains]),
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Accuracy in percent")
    here = [ax.axvline(0, color=palette.HIGHLIGHT, lw=1.2, ls=":")]
    _axis(ax)
    ax.set_ylim(58, 104)
    (runs,) = ax.plot([], [], color=palette.TEST, marker="o", ls="", ms=3.2, alpha=0.45)
    (test,) = ax.plot([], [], color=palette.TEST, marker="s", ms=6)
    (train,) = ax.plot([], [], color=palette.TRAIN, marker="o", ms=6, ls="--")
    names = [
        ax.text(3.24, 1, text, color=color, weight="bold", va="center")
        for text, color in (("test", palette.TEST), ("train", palette.TRAIN))
    ]
    ax = right.subplots()
    panel_label(ax, "Gain in test accuracy, points")
    here.append(ax.axvline(0, ymax=0.9, color=palette.HIGHLIGHT, lw=1.2, ls=":"))
    ax.axhline(0, color=palette.MUTED, lw=1.2)
    _axis(ax)
    ax.set_ylim(LOW, HIGH)
    ax.set_yticks([0, 5, 10, 15])
    (bars,) = ax.plot([], [], color=palette.TEST, lw=2.2)
    (gain,) = ax.plot([], [], color=palette.TEST, marker="s", ls="", ms=7)
    ax.text(-0.3, HIGH - 1.2, "mean of pairs, 95 % interval", color=palette.MUTED, va="center")
    return {
        "here": here,
        "runs": runs,
        "test": test,
        "train": train,
        "names": names,
        "bars": bars,
        "gain": gain,
    }


def _axis(ax: Any) -> None:
    ax.set_xlim(-0.4, 3.95)
    ax.set_xticks(PLACES, [f"{p:g}\n{100 * s:.0f} %" for p, s in zip(DROPS, SHARES, strict=True)])
    ax.set_xlabel("p of the last branch; below, work if skipped")


def _update(artists: dict[str, Any], data: Data) -> None:
    for line in artists["here"]:
        at = DROPS.index(data.p)
        line.set_xdata([at, at])
    artists["runs"].set_data((PLACES[:, None] + SHIFTS).ravel(), data.test.ravel())
    test, train = data.test.mean(axis=1), data.train.mean(axis=1)
    artists["test"].set_data(PLACES, test)
    artists["train"].set_data(PLACES, train)
    ends = [float(test[-1]), float(train[-1])]
    if abs(ends[0] - ends[1]) < 4:
        middle, sign = sum(ends) / 2, 1 if ends[0] > ends[1] else -1
        ends = [middle + 2 * sign, middle - 2 * sign]
    for name, end in zip(artists["names"], ends, strict=True):
        name.set_position((3.24, end))
    x = np.stack([PLACES, PLACES, np.full(len(PLACES), np.nan)]).T.ravel()
    y = np.stack([data.gain - data.half, data.gain + data.half, np.full(len(PLACES), np.nan)])
    artists["bars"].set_data(x[3:], y.T.ravel()[3:])  # nothing to compare at p = 0
    artists["gain"].set_data(PLACES[1:], data.gain[1:])


def _readout(data: Data) -> Readout:
    at = DROPS.index(data.p)
    test, train = float(data.test[at].mean()), float(data.train[at].mean())
    gain, half = (round(float(v), 1) for v in (data.gain[at], data.half[at]))
    labels = f"{100 * data.noise:g} % wrong labels" if data.noise else "right labels"
    if at == 0:
        words = "nothing is dropped"
    elif abs(data.gain[at]) <= data.half[at]:
        words = f"no clear gain, {format_number(gain, 2)} ± {format_number(half, 2)} points"
    else:
        kind = "a gain" if gain > 0 else "a loss"
        words = f"{kind} of {format_number(abs(gain), 3)} ± {format_number(half, 2)} points"
    rule = "" if data.rule == "scaled" else ", branches not scaled at test time"
    return Readout(
        {
            "Test accuracy": Quantity(test, "%", digits=3),
            "Train accuracy": Quantity(train, "%", digits=3),
            "Gain over p = 0": Quantity(gain, "points", digits=3),
            "95 % interval, ±": Quantity(half, "points", digits=2),
            "Work, if skipped": Quantity(100 * SHARES[at], "%", digits=3),
        },
        f"{data.n:,} digits, {labels}{rule}: with p = {data.p:g}, {format_number(test, 3)} % of "
        f"new digits are right: {words}.",
    )


training = Explorer(
    name="stochastic_depth.training",
    title="What it gains",
    caption=f"Residual networks of {DEPTH} blocks learn from few digits and are tested on the "
    f"others. Left: means over {len(SEEDS)} seeds, and each seed's test accuracy as a dot; "
    "training accuracy is that on the labels given. Right: difference between two networks of the "
    "same seed, with and without dropped branches.",
    controls=(
        Choice("noise", "Labels", {0.3: "30 % wrong", 0.0: "all right"}, 0.3),
        Choice("n", "Digits to learn from", {300: "300", 1000: "1,000"}, 300),
        Choice(
            "rule",
            "Test pass",
            {"scaled": "branches × (1 − p)", "as is": "branches as they are"},
            "scaled",
        ),
        Steps("p", "Read off at p", DROPS, 0.8),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 300), (345, 300)),
)
