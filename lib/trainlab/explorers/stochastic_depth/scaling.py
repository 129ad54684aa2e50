"""The test pass against the mean of all thinned networks, under each pairing of rules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.explorers import palette
from trainlab.stochastic_depth import drop_schedule

Array = NDArray[Any]

DEPTH, WIDTH, EXAMPLES = 8, 32, 8

# rule -> scaling in training, scaling at test time
RULES: dict[str, tuple[str, str]] = {
    "none": ("standard", "inverted"),
    "standard": ("standard", "standard"),
    "inverted": ("inverted", "inverted"),
    "double": ("inverted", "standard"),
}
LABELS: dict[str | int | float, str] = {
    "none": "train as is, test as is",
    "standard": "train as is, test × (1 − p) (the paper)",
    "inverted": "train ÷ (1 − p), test as is (timm)",
    "double": "train ÷ (1 − p), test × (1 − p)",
}


@dataclass(frozen=True)
class Data:
    """By block: factors of the branches, and how far streams are from the mean of all networks."""

    rule: str
    p: float
    train: Array  # (L,): mean factor of a branch in training
    test: Array  # (L,): its factor at test time
    error: Array  # (L + 1,): of the test pass
    scatter: Array  # (L + 1,): of single thinned networks, root mean square


@lru_cache(maxsize=1)
def _network() -> tuple[Array, Array]:
    """Input and weights: He's variance, and each branch over √L."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((EXAMPLES, WIDTH))
    weights = rng.standard_normal((DEPTH, WIDTH, WIDTH)) * np.sqrt(2 / WIDTH / DEPTH)
    return x, weights


def _branch(h: Array, weight: Array, kind: str) -> Array:
    if kind == "relu":
        return np.asarray(np.maximum(h, 0) @ weight.T)
    return np.asarray(h @ weight.T / np.sqrt(2))  # as large as with ReLU


def _compute(rule: str, p: float, kind: str) -> Data:
    drop = drop_schedule(DEPTH, p=p)
    in_training, at_test = RULES[rule]
    live = 1 / (1 - drop) if in_training == "inverted" else np.ones(DEPTH)
    factor = 1 - drop if at_test == "standard" else np.ones(DEPTH)
    x, weights = _network()
    # All thinned networks so far, 2ˡ after l blocks, with their probabilities.
    streams, chance, test = x[None], np.ones(1), x
    error, scatter = [0.0], [0.0]
    for l in range(DEPTH):  # noqa: E741
        with_branch = streams + live[l] * _branch(streams, weights[l], kind)
        streams = np.concatenate([streams, with_branch])
        chance = np.concatenate([chance * drop[l], chance * (1 - drop[l])])
        test = test + factor[l] * _branch(test, weights[l], kind)
        mean = np.einsum("k,kij->ij", chance, streams)
        size = np.sum(mean**2)
        off = float(np.sqrt(np.sum((test - mean) ** 2) / size))
        error.append(off if off > 1e-9 else 0.0)  # rounding
        each = np.sum((streams - mean) ** 2, axis=(1, 2))
        scatter.append(float(np.sqrt(chance @ each / size)))
    return Data(rule, p, live * (1 - drop), factor, np.array(error), np.array(scatter))


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "What a branch is multiplied by")
    ax.set(xlim=(0.4, DEPTH + 2.1), ylim=(0, 1.2), xlabel="block")
    ax.set_xticks(range(1, DEPTH + 1))
    (gap,) = ax.plot([], [], color=palette.GRID, lw=9, solid_capstyle="butt")
    (train,) = ax.plot([], [], color=palette.TRAIN, marker="o", ls="", ms=7)
    (test,) = ax.plot([], [], color=palette.TEST, marker="s", ls="", ms=6, fillstyle="none", mew=2)
    names = [
        ax.text(DEPTH + 0.4, 1, text, color=color, weight="bold")
        for text, color in (
            ("training,", palette.TRAIN),
            ("mean", palette.TRAIN),
            ("test", palette.TEST),
        )
    ]
    ax = right.subplots()
    panel_label(ax, "Distance from the mean of all networks")
    ax.set(xlim=(-0.3, DEPTH + 0.3), ylim=(0, 160), xlabel="blocks", ylabel="percent of its size")
    ax.set_xticks(range(0, DEPTH + 1, 2))
    (scatter,) = ax.plot([], [], color=palette.MUTED, lw=1.4, ls="--")
    (error,) = ax.plot([], [], color=palette.TEST, marker="s", ms=6)
    single = ax.text(0.1, 150, "one thinned network, dashed", color=palette.MUTED, va="center")
    whole = ax.text(0.1, 137, "the test pass", color=palette.TEST, weight="bold", va="center")
    return {
        "gap": gap,
        "train": train,
        "test": test,
        "names": names,
        "scatter": scatter,
        "error": error,
        "still": [single, whole],
    }


def _update(artists: dict[str, Any], data: Data) -> None:
    blocks = np.arange(1, DEPTH + 1)
    # A bar between the two factors of each block.
    x = np.stack([blocks, blocks, np.full(DEPTH, np.nan)]).T.ravel()
    y = np.stack([data.train, data.test, np.full(DEPTH, np.nan)]).T.ravel()
    artists["gap"].set_data(x, y)
    artists["train"].set_data(blocks, data.train)
    artists["test"].set_data(blocks, data.test)
    # "training" takes two lines, so names need some distance.
    ends = [float(data.train[-1]), float(data.test[-1])]
    middle, sign = sum(ends) / 2, 1 if ends[0] >= ends[1] else -1
    if abs(ends[0] - ends[1]) < 0.16:
        ends = [middle + sign * 0.08, middle - sign * 0.08]
    places = (ends[0] + 0.016, ends[0] - 0.06, ends[1] - 0.02)
    for name, height in zip(artists["names"], places, strict=True):
        name.set_position((DEPTH + 0.4, height))
    artists["scatter"].set_data(range(DEPTH + 1), 100 * data.scatter)
    artists["error"].set_data(range(DEPTH + 1), 100 * data.error)


VERDICTS = {
    "none": "Scaled nowhere, each branch weighs more at test time than it did in training",
    "standard": "The paper's pair agrees, branch by branch",
    "inverted": "The inverted pair agrees, branch by branch",
    "double": "Scaled twice, each branch weighs less at test time than it did in training",
}


def _readout(data: Data) -> Readout:
    error, scatter = 100 * float(data.error[-1]), 100 * float(data.scatter[-1])
    return Readout(
        {
            "Last branch, training": Quantity(float(data.train[-1]), digits=3),
            "Last branch, test": Quantity(float(data.test[-1]), digits=3),
            "Test pass off by": Quantity(error, "%", digits=3),
            "A thinned network off by": Quantity(scatter, "%", digits=3),
        },
        f"{VERDICTS[data.rule]}: with p = {data.p:g}, the output of the test pass is "
        f"{format_number(error, 2)} % away from the mean of all {2**DEPTH} thinned networks; "
        f"a single one is {format_number(scatter, 2)} % away.",
    )


scaling = Explorer(
    name="stochastic_depth.scaling",
    title="Training and test have to agree",
    caption=f"A random residual network of {DEPTH} blocks, drop probability p·l/L, and all "
    f"{2**DEPTH} networks that dropping makes of it, averaged by their probabilities: no sampling. "
    "Left: factor of each branch, its mean in training and at test time. Right: how far the test "
    "pass is from that average, and how far a single thinned network is.",
    controls=(
        Choice("rule", "Rule", LABELS, "none"),
        Steps("p", "p, of the last branch", (0.1, 0.2, 0.3, 0.5, 0.8), 0.5, between="linear"),
        Choice("kind", "Branches", {"relu": "ReLU", "linear": "linear"}, "relu"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 290), (345, 290)),
)
