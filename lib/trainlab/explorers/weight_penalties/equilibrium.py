"""Weights in front of a batch norm: decay sets how fast they turn, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Explorer, Readout, Steps, format_number
from explorables.style import log_axis, panel_label
from trainlab.differentiation import vjp
from trainlab.explorers import palette
from trainlab.normalization import batch_norm
from trainlab.weight_penalties import decay_equilibrium

Array = NDArray[np.float64]

RATES = (0.02, 0.05, 0.1, 0.2, 0.5)
DECAYS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
STARTS = np.array([0.3, 1.0, 3.0])
FEATURES, BATCH, NOISE, STEPS, WINDOW = 20, 16, 0.5, 2000, 25
LAST = STEPS // 4  # the steps that readouts average over


@dataclass(frozen=True)
class Equilibrium:
    """Course of the weights, one row a window of WINDOW steps, one column a starting norm."""

    lr: float
    decay: float
    norms: Array  # (windows, starts), at the end of each window
    turns: Array  # (windows, starts), root mean square, radians
    norm: float  # means over the LAST steps of the run from norm 1
    turn: float
    loss: float
    predicted_norm: float  # infinite without decay
    predicted_turn: float  # 0 without decay


@lru_cache(maxsize=1)
def _runs() -> dict[str, Array]:
    """Train all weights of the grid at once, on the same batches: (steps, rates, decays, starts).

    Each weight vector is one channel of a batch norm, with a loss of its own.
    """
    rng = np.random.default_rng(3)
    grid = (len(RATES), len(DECAYS), len(STARTS))
    lr, decay, start = (
        np.broadcast_to(v, grid).ravel()[:, None]
        for v in (np.array(RATES)[:, None, None], np.array(DECAYS)[:, None], STARTS)
    )
    teacher, first = rng.standard_normal((2, FEATURES))
    teacher /= np.linalg.norm(teacher)
    w = start * first / np.linalg.norm(first)
    out: dict[str, list[Array]] = {"norm": [], "turn": [], "gradient": [], "loss": []}
    for _ in range(STEPS):
        x = rng.standard_normal((BATCH, FEATURES))
        target = x @ teacher + NOISE * rng.standard_normal(BATCH)
        z, pullback = vjp(batch_norm, x @ w.T)
        error = z - target[:, None]
        grads = pullback(error / BATCH)[0].T @ x
        new = (1 - lr * decay) * w - lr * grads
        before, after = np.linalg.norm(w, axis=1), np.linalg.norm(new, axis=1)
        out["norm"].append(after)
        out["turn"].append(np.arccos(np.minimum(np.sum(w * new, axis=1) / before / after, 1)))
        out["gradient"].append(np.linalg.norm(grads, axis=1) * before)  # as if at norm 1
        out["loss"].append(np.mean(error**2, axis=0) / 2)
        w = new
    return {name: np.array(v).reshape(STEPS, *grid) for name, v in out.items()}


def _compute(lr: float, decay: float) -> Equilibrium:
    runs, at = _runs(), (slice(None), RATES.index(lr), DECAYS.index(decay))
    norms, turns, gradients, loss = (runs[k][at] for k in ("norm", "turn", "gradient", "loss"))
    gradient = float(np.sqrt(np.mean(gradients[-LAST:, 1] ** 2)))
    predicted = decay_equilibrium(lr, decay, gradient_norm=gradient) if decay else None
    windows = turns.reshape(-1, WINDOW, len(STARTS))
    return Equilibrium(
        lr=lr,
        decay=decay,
        norms=norms[WINDOW - 1 :: WINDOW],
        turns=np.sqrt(np.mean(windows**2, axis=1)),
        norm=float(np.mean(norms[-LAST:, 1])),
        turn=float(np.sqrt(np.mean(turns[-LAST:, 1] ** 2))),
        loss=float(np.mean(loss[-LAST:, 1])),
        predicted_norm=predicted.norm if predicted else np.inf,
        predicted_turn=predicted.angle if predicted else 0.0,
    )


STYLES = ((palette.FORWARD, "--"), (palette.TRAIN, "-"), (palette.BACKWARD, (0, (5, 1.5, 1, 1.5))))


def _draw(left: Figure, right: Figure) -> list[dict[str, Any]]:
    panels = []
    for figure, title, low, high in (
        (left, "Length ‖w‖", 0.2, 8),
        (right, "Turn of w a step, radians", 1e-3, 3),
    ):
        ax = figure.subplots()
        panel_label(ax, title)
        log_axis(ax, "y", low, high)
        ax.set_xlim(-20, STEPS)
        ax.set_xticks([0, 1000, 2000])
        ax.set_xlabel("steps")
        lines = [ax.plot([], [], color=c, ls=s, lw=1.8)[0] for c, s in STYLES]
        (theory,) = ax.plot([], [], color=palette.THEORY, lw=1.4, ls=":")
        label = ax.text(STEPS, 0.55 * high, "", color=palette.THEORY, ha="right")
        panels.append({"lines": lines, "theory": theory, "label": label})
        if figure is left:
            ax.set_yticks([0.3, 1, 3], ["0.3", "1", "3"])
            for norm, (color, _) in zip(STARTS, STYLES, strict=True):
                ax.plot([0], [norm], "o", color=color, ms=6)
    return panels


def _update(artists: list[dict[str, Any]], data: Equilibrium) -> None:
    steps = np.arange(1, STEPS // WINDOW + 1) * WINDOW
    left, right = artists
    for k in range(len(STARTS)):
        left["lines"][k].set_data(np.r_[0, steps], np.r_[STARTS[k], data.norms[:, k]])
        right["lines"][k].set_data(steps - WINDOW / 2, np.maximum(data.turns[:, k], 1e-4))
    for panel, level, text in (
        (left, data.predicted_norm, "dotted: predicted"),
        (right, data.predicted_turn, "dotted: √(2·lr·λ)"),
    ):
        panel["theory"].set_data([0, STEPS], [level, level] if data.decay else [np.nan] * 2)
        panel["label"].set_text(text if data.decay else "no decay, no equilibrium")


def _readout(data: Equilibrium) -> Readout:
    norm, turn = format_number(data.norm), format_number(data.turn)
    start = f"With lr {format_number(data.lr)} and λ = {format_number(data.decay)}, "
    return Readout(
        {
            "Length ‖w‖ at the end": data.norm,
            "Predicted length": data.predicted_norm,
            "Turn a step, rad": data.turn,
            "Predicted turn, rad": data.predicted_turn,
            "Effective rate lr/‖w‖²": data.lr / data.norm**2,
            "Loss at the end": data.loss,
        },
        start
        + (
            f"the length that began at 1 is {norm} at the end (predicted "
            f"{format_number(data.predicted_norm)}), and w turns by {turn} radians a step "
            f"(predicted {format_number(data.predicted_turn)})."
            if data.decay
            else f"the length only grows, here from 1 to {norm}, and the turn a step has fallen "
            f"to {turn} radians."
        ),
    )


equilibrium = Explorer(
    name="weight_penalties.equilibrium",
    title="Length and turning of weights in front of a batch norm",
    caption="A linear unit with 20 inputs and a batch norm behind it learns a noisy linear target "
    "by plain SGD with weight decay, in batches of 16, from three lengths: 0.3 (dashed), 1 "
    "(solid), 3 (dash-dotted). Left: its length. Right: the angle between the weights before and "
    "after a step, root mean square over 25 steps. Dotted: where decay and gradient balance, from "
    "the gradient measured in the last 500 steps of the solid run. Readouts: the same 500 steps.",
    controls=(
        Steps("lr", "Learning rate", RATES, 0.1),
        Steps("decay", "Weight decay λ", DECAYS, 0.03),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 290), (350, 290)),
)
