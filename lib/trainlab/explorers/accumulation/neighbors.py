"""Layers that see their neighbors: where accumulation gives another gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.accumulation import accumulation_init, accumulation_update, micro_batches
from trainlab.activations import relu
from trainlab.clipping import clip_by_global_norm
from trainlab.differentiation import value_and_grad
from trainlab.dropout import keep_mask
from trainlab.explorers import palette
from trainlab.normalization import batch_norm, layer_norm
from trainlab.regression import mse_loss

BATCH, FEATURES, HIDDEN = 64, 6, 8
SIZES = (2, 4, 8, 16, 32, 64)
DROP = 0.2
FLOOR = 1e-3  # where no difference is drawn


class Kind(NamedTuple):
    """One network or habit, and what becomes of its gradient."""

    words: str
    short: str


KINDS = {
    "plain": Kind("no normalization", "plain network"),
    "layer_norm": Kind("layer norm", "layer norm"),
    "batch_norm": Kind("batch norm", "batch norm"),
    "same_masks": Kind("dropout, one mask for each example", "dropout, the same masks"),
    "new_masks": Kind("dropout, masks drawn anew", "dropout with new masks"),
    "clip": Kind("clipping each micro-batch", "clipping each micro-batch"),
}


@dataclass(frozen=True)
class Neighbors:
    """Gradient entries of the whole batch and accumulated, and the error by size."""

    kind: str
    size: int
    whole: NDArray[Any]
    accumulated: NDArray[Any]
    errors: dict[str, NDArray[Any]]


def _loss(params: Any, batch: Any, kind: str) -> Any:
    """Squared error of a network with one hidden layer."""
    z = batch["x"] @ params["first"]
    if kind == "batch_norm":
        z = batch_norm(z)
    elif kind == "layer_norm":
        z = layer_norm(z)
    h = relu(z)
    if kind.endswith("masks"):
        h = h * (batch["mask"] / (1 - DROP))
    return mse_loss(h @ params["second"], batch["y"])


def _accumulated(params: Any, batch: Any, kind: str, size: int, masks: Any) -> Any:
    """Mean of the micro-batches' gradients; all have the same size."""
    if kind == "new_masks":
        batch = {**batch, "mask": keep_mask((BATCH, HIDDEN), p=DROP, rng=masks)}
    both: Callable[..., Any] = value_and_grad(_loss)
    state = accumulation_init(params)
    for part in micro_batches(batch, size=size):
        grads = both(params, part, kind)[1]
        if kind == "clip":
            grads, _ = clip_by_global_norm(grads, max_norm=1.0, eps=0.0)
        state = accumulation_update(grads, state)
    return state.mean


def _flat(grads: Any) -> NDArray[Any]:
    return np.concatenate([grads["first"].ravel(), grads["second"].ravel()])


@lru_cache(maxsize=1)
def _gradients() -> dict[tuple[str, int], NDArray[Any]]:
    """All gradients, accumulated in micro-batches of each size; 0 is the whole batch."""
    rng = np.random.default_rng(0)
    params = {
        "first": rng.standard_normal((FEATURES, HIDDEN)) * np.sqrt(2 / FEATURES),
        "second": rng.standard_normal((HIDDEN, 2)) / np.sqrt(HIDDEN),
    }
    batch = {
        "x": rng.standard_normal((BATCH, FEATURES)),
        "y": rng.standard_normal((BATCH, 2)),
        "mask": keep_mask((BATCH, HIDDEN), p=DROP, rng=rng),
    }
    out = {}
    for kind in KINDS:
        whole = value_and_grad(_loss)(params, batch, kind)[1]
        if kind == "clip":
            whole, _ = clip_by_global_norm(whole, max_norm=1.0, eps=0.0)
        out[kind, 0] = _flat(whole)
        for size in SIZES:
            masks = np.random.default_rng(size)
            out[kind, size] = _flat(_accumulated(params, batch, kind, size, masks))
    return out


def _error(kind: str, size: int) -> float:
    found = _gradients()
    whole = found[kind, 0]
    error = float(np.linalg.norm(found[kind, size] - whole) / np.linalg.norm(whole))
    return error if error > 1e-12 else 0.0  # rounding


def _compute(kind: str, size: int) -> Neighbors:
    found = _gradients()
    return Neighbors(
        kind,
        size,
        found[kind, 0],
        found[kind, size],
        {name: np.array([_error(name, s) for s in SIZES]) for name in KINDS},
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Each entry of the gradient")
    ax.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
    ax.set(xlabel="whole batch", ylabel="accumulated", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    ax.plot([-1, 1], [-1, 1], color=palette.THEORY, lw=1.2)
    (dots,) = ax.plot([], [], "o", color=palette.BACKWARD, ms=4.5, alpha=0.8)

    ax = right.subplots()
    panel_label(ax, "Relative error of the gradient")
    ax.set_xscale("log", base=2)
    log_axis(ax, "y", FLOOR / 1.6, 3)
    ax.set_yticks([FLOOR, 1e-2, 1e-1, 1], ["0", "1 %", "10 %", "100 %"])
    ax.set(xlim=(1.8, 71), xlabel="micro-batch size (batch 64)")
    ax.set_xticks(SIZES, [str(s) for s in SIZES])
    ax.minorticks_off()
    for name in KINDS:
        errors = np.maximum([_error(name, s) for s in SIZES], FLOOR)
        ax.plot(SIZES, errors, color=palette.MUTED, lw=1)
    (chosen,) = ax.plot([], [], "o-", color=palette.HIGHLIGHT)
    (here,) = ax.plot([], [], "o", color=palette.BACKWARD, ms=11)
    label = ax.text(2, 1.9, "", color=palette.HIGHLIGHT, va="center", fontweight="bold")
    return {"dots": dots, "chosen": chosen, "here": here, "label": label}


def _update(artists: dict[str, Any], data: Neighbors) -> None:
    scale = 0.95 / max(float(np.abs(data.whole).max()), float(np.abs(data.accumulated).max()))
    artists["dots"].set_data(scale * data.whole, scale * data.accumulated)
    errors = np.maximum(data.errors[data.kind], FLOOR)
    artists["chosen"].set_data(SIZES, errors)
    artists["here"].set_data([data.size], [errors[SIZES.index(data.size)]])
    artists["label"].set_text(KINDS[data.kind].short)


REASONS = {
    "plain": "no example sees another.",
    "layer_norm": "each example is normalized by itself.",
    "batch_norm": "each micro-batch is normalized by its own statistics.",
    "same_masks": "the masks belong to the examples.",
    "new_masks": "other masks make another sample, for the whole batch as well.",
    "clip": "the mean of clipped gradients is not the clipped mean.",
}


def _readout(data: Neighbors) -> Readout:
    here = 100 * float(data.errors[data.kind][SIZES.index(data.size)])
    cosine = float(
        data.whole
        @ data.accumulated
        / np.linalg.norm(data.whole)
        / np.linalg.norm(data.accumulated)
    )
    found = "the same gradient" if here == 0 else f"a gradient {format_number(here, 2)} % off"
    reason = REASONS[data.kind]
    if data.size == BATCH and here == 0:
        reason = "it is the whole batch."
    return Readout(
        {
            "Micro-batches": BATCH // data.size,
            "Relative error": Quantity(here, "%"),
            "Cosine to the whole batch": Quantity(round(cosine, 9), digits=4),
        },
        f"{KINDS[data.kind].words[0].upper()}{KINDS[data.kind].words[1:]}: accumulating over "
        f"{BATCH // data.size} micro-batch{'es' if data.size < BATCH else ''} of {data.size} gives "
        f"{found}; {reason}",
    )


neighbors = Explorer(
    name="accumulation.neighbors",
    title="Layers that see their neighbors",
    caption="A network with one hidden layer and a batch of 64 examples in equal micro-batches, "
    "correctly averaged. Left: entries of the gradient, scaled to the frame; on the line they are "
    "the same. Right: distance to the gradient of the whole batch, relative to its length; pale "
    "lines are the other cases. Zero is drawn at the bottom. Clipping is to length 1.",
    controls=(
        Choice("kind", "Case", {k: v.words for k, v in KINDS.items()}, "batch_norm"),
        Steps("size", "Micro-batch size", SIZES, 4),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((330, 310), (350, 310)),
)
