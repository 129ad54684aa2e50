"""Where a penalty puts its minimum, and which optimizer lands on an exact zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from explorables import Choice, Explorer, Readout, Steps, format_number
from explorables.style import panel_label
from trainlab.explorers import palette
from trainlab.optimizers import OPTIMIZERS, apply_updates
from trainlab.penalized_regression import proximal_gradient
from trainlab.weight_penalties import soft_threshold

Array = NDArray[np.float64]

SHARES = {"l1": (1.0, 0.0), "elastic": (0.5, 0.5), "l2": (0.0, 1.0)}  # of L1 and L2 in λ
NAMES: Mapping[str | int | float, str] = {"l1": "L1", "elastic": "Elastic net", "l2": "L2"}
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0)
CORRELATIONS = (0.0, 0.5, 0.9)
WEIGHTS, EXAMPLES, STEPS = 20, 200, 1200
RATES = {"sgd": 0.05, "adam": 0.01, "proximal": 0.05}
METHODS = ("gradient descent", "Adam", "proximal")
RELEVANT = [0, 2, 4, 6]  # one weight of each of the first four pairs
TWO = np.array([1.0, -0.35])  # the minimum without a penalty, left panel
PATH = tuple(float(s) for s in np.geomspace(3e-3, 10, 25))
ANGLES = np.radians(np.arange(0, 361, 6))
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
FLOOR, ZERO = 1e-6, 1e-7  # of the right panel: the smallest number shown, the place of exact zeros


@dataclass(frozen=True)
class Zeros:
    """Two weights: solution, its path over λ, ball, contours. Twenty: what is left of them."""

    penalty: str
    lam: float
    solution: Array  # (2,)
    path: Array  # (strengths, 2)
    ball: Array  # (points, 2)
    contours: Array  # (levels, points, 2), the first through the solution
    weights: Array  # (methods, 20)

    @property
    def zeros(self) -> list[int]:
        """Exact zeros by method."""
        return [int(n) for n in np.sum(self.weights == 0, axis=1)]

    @property
    def irrelevant(self) -> list[float]:
        """Largest irrelevant weight by method."""
        return [float(v) for v in np.abs(np.delete(self.weights, RELEVANT, axis=1)).max(axis=1)]


def _parts(strengths: tuple[float, ...]) -> tuple[Array, Array]:
    """L1 and L2 of each penalty and strength, to broadcast with (penalty, ρ, strength, weight)."""
    shares = np.array(list(SHARES.values())).T[:, :, None, None, None]
    l1, l2 = shares * np.array(strengths)[:, None]
    return l1, l2


def _proximal(
    curvature: Array, pull: Array, start: Array, strengths: tuple[float, ...], lr: float, steps: int
) -> Array:
    """Run proximal descent on all penalties, correlations and strengths together."""
    l1, l2 = _parts(strengths)
    return proximal_gradient(
        lambda w: np.asarray(w @ curvature - pull[:, None]),
        start,
        prox=lambda v, lr: np.asarray(soft_threshold(v, lr * l1) / (1 + lr * l2)),
        lr=lr,
        steps=steps,
    )


@lru_cache(maxsize=1)
def _problem() -> tuple[Array, Array]:
    """Curvatures (ρ, 20, 20) and xᵀy/n (ρ, 20) of a regression on correlated pairs."""
    rng = np.random.default_rng(9)
    base = rng.standard_normal((EXAMPLES, WEIGHTS))
    noise = 0.3 * rng.standard_normal(EXAMPLES)
    true = np.zeros(WEIGHTS)
    true[RELEVANT] = [1.0, -1.0, 0.8, 0.6]
    curvature, pull = [], []
    for rho in CORRELATIONS:
        x = base.copy()
        x[:, 1::2] = rho * x[:, ::2] + np.sqrt(1 - rho**2) * x[:, 1::2]
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        curvature.append(x.T @ x / EXAMPLES)
        pull.append(x.T @ (x @ true + noise) / EXAMPLES)
    return np.array(curvature), np.array(pull)


@lru_cache(maxsize=16)
def _trained(strengths: tuple[float, ...]) -> Array:
    """Weights (method, penalty, ρ, strength, weight) after STEPS steps."""
    curvature, pull = _problem()
    l1, l2 = _parts(strengths)
    start = np.full((len(SHARES), len(CORRELATIONS), len(strengths), WEIGHTS), 0.5)
    ends = []
    for name in ("sgd", "adam"):
        w, state = start, OPTIMIZERS[name].init(start)
        for _ in range(STEPS):
            grads = w @ curvature - pull[:, None] + l1 * np.sign(w) + l2 * w
            updates, state = OPTIMIZERS[name].update(grads, state, w, lr=RATES[name])
            w = apply_updates(w, updates)
        ends.append(w)
    ends.append(_proximal(curvature, pull, start, strengths, RATES["proximal"], STEPS))
    return np.array(ends)


def _correlation(rho: float) -> Array:
    return np.array([[1.0, rho], [rho, 1.0]])


@lru_cache(maxsize=16)
def _solutions(strengths: tuple[float, ...]) -> Array:
    """Minima of ½(w - TWO)ᵀH(w - TWO) + penalty, (penalty, ρ, strength, 2)."""
    curvature = np.array([_correlation(rho) for rho in CORRELATIONS])
    start = np.broadcast_to(TWO, (len(SHARES), len(CORRELATIONS), len(strengths), 2))
    # The largest curvature is 1.9; the smallest, 0.1, contracts by 0.95 a step.
    return _proximal(curvature, curvature @ TWO, start, strengths, 0.5, 700)


def _ball(penalty: str, w: Array) -> Array:
    """All weights with the penalty of w."""
    one, two = SHARES[penalty]
    size = one * np.abs(w).sum() + two / 2 * np.sum(w**2)
    a = one * np.abs(CIRCLE).sum(axis=1)  # size = a r + two/2 r² along each direction
    r = size / a if two == 0 else (np.sqrt(a**2 + 2 * two * size) - a) / two
    return np.asarray(r[:, None] * CIRCLE)


def _compute(penalty: str, lam: float, rho: float) -> Zeros:
    p, c = list(SHARES).index(penalty), CORRELATIONS.index(rho)
    # A strength of the slider is one of a batch; any other is run alone.
    batch = STRENGTHS if lam in STRENGTHS else (lam,)
    k, curvature = batch.index(lam), _correlation(rho)
    solution = _solutions(batch)[p, c, k]
    loss = (solution - TWO) @ curvature @ (solution - TWO) / 2
    # H^(-1/2) turns circles into contours; both eigenvectors are diagonals.
    near, far = (1 - rho) ** -0.5, (1 + rho) ** -0.5
    root = np.array([[near + far, far - near], [far - near, near + far]]) / 2
    levels = np.array([loss, 0.04, 0.3])
    contours = TWO + np.sqrt(2 * levels)[:, None, None] * (CIRCLE @ root)
    return Zeros(
        penalty=penalty,
        lam=lam,
        solution=solution,
        path=np.concatenate([[TWO], _solutions(PATH)[p, c]]),
        ball=_ball(penalty, solution),
        contours=contours,
        weights=_trained(batch)[:, p, c, k],
    )


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "Two weights")
    ax.set_aspect("equal")
    ax.set_xlim(-0.75, 1.5)
    ax.set_ylim(-1, 0.9)
    ax.set_xticks([0, 1], ["0", "1"])
    ax.set_yticks([0], ["0"])
    ax.text(1.48, 0.03, "w₁", ha="right", va="bottom")
    ax.text(0.04, 0.88, "w₂", va="top")
    (ball,) = ax.fill([0, 0], [0, 0], fc=palette.KEPT, ec=palette.KEPT, alpha=0.35, lw=1.5)
    contours = [ax.plot([], [], color=palette.MUTED, lw=0.9)[0] for _ in range(2)]
    contours.insert(0, ax.plot([], [], color=palette.TRAIN, lw=1.6)[0])
    (path,) = ax.plot([], [], color=palette.HIGHLIGHT, lw=2.2, ls="--")
    ax.plot(*TWO, "x", color=palette.TRAIN, ms=8, mew=2)
    ax.text(0.95, -0.86, "data alone", color=palette.TRAIN, ha="center", va="center")
    ax.plot([0.97, TWO[0]], [-0.77, TWO[1] - 0.07], color=palette.TRAIN, lw=0.8)
    (dot,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=8)
    label = ax.text(-0.7, -0.94, "", color=palette.HIGHLIGHT, fontweight="bold")

    ax = right.subplots()
    panel_label(ax, "Twenty weights after training, |w|")
    ax.set_yscale("log")
    ax.set_xlim(-0.5, 2.5)
    ax.set_ylim(4e-8, 20)
    ax.set_yticks([ZERO, 1e-6, 1e-4, 1e-2, 1], ["exactly 0", "10⁻⁶", "10⁻⁴", "10⁻²", "1"])
    ax.set_yticks([], minor=True)
    ax.set_xticks(range(3), METHODS)
    ax.grid(False, axis="x")
    ax.tick_params(axis="x", length=0)
    ax.axhspan(4e-8, 2.5e-7, color=palette.SHADE, lw=0)
    (step,) = ax.plot([], [], color=palette.THEORY, lw=1.2, ls=":")
    (noise,) = ax.plot([], [], "o", color=palette.TRAIN, ms=5)
    (signal,) = ax.plot([], [], "s", color=palette.FORWARD, ms=5.5)
    counts = [
        ax.text(k, 6, "", ha="center", va="center", fontweight="bold") for k in range(len(METHODS))
    ]
    rate = ax.text(-0.46, 1, "lr·λ", color=palette.THEORY, va="bottom")
    ax.text(-0.08, 0.75, "relevant", color=palette.FORWARD, va="center")
    return {
        "ball": ball, "contours": contours, "path": path, "dot": dot,
        "label": label, "step": step, "noise": noise, "signal": signal, "counts": counts,
        "rate": rate,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Zeros) -> None:
    artists["ball"].set_xy(data.ball)
    for line, points in zip(artists["contours"], data.contours, strict=True):
        line.set_data(*points.T)
    artists["path"].set_data(*data.path.T)
    artists["dot"].set_data(*data.solution[:, None])
    artists["label"].set_text(f"w₂ = {format_number(round(float(data.solution[1]), 4) + 0.0, 2)}")

    spread = np.linspace(-0.36, 0.36, WEIGHTS)
    x = np.arange(len(METHODS))[:, None] + spread
    shown = np.where(data.weights == 0, ZERO, np.maximum(np.abs(data.weights), FLOOR))
    relevant = np.isin(np.arange(WEIGHTS), RELEVANT)
    artists["signal"].set_data(x[:, relevant].ravel(), shown[:, relevant].ravel())
    artists["noise"].set_data(x[:, ~relevant].ravel(), shown[:, ~relevant].ravel())
    hop = RATES["sgd"] * SHARES[data.penalty][0] * data.lam
    artists["step"].set_data([-0.5, 0.5] if hop else [], [hop, hop] if hop else [])
    artists["rate"].set_text("lr·λ" if hop else "")
    artists["rate"].set_position((-0.46, 1.15 * hop or 1))
    for text, count in zip(artists["counts"], data.zeros, strict=True):
        text.set_text(f"{count or 'no'} zero{'s' * (count != 1)}")
        # Wrong only where the minimum has zeros that the method missed.
        text.set_color(palette.WRONG if count < data.zeros[-1] else palette.INK)


def _readout(data: Zeros) -> Readout:
    gradient, adam, proximal = data.zeros
    hop = data.irrelevant[0]
    two = float(data.solution[1])
    return Readout(
        {
            "Exact zeros, gradient descent": gradient,
            "Exact zeros, Adam": adam,
            "Exact zeros, proximal": proximal,
            "Largest irrelevant weight, gradient descent": hop,
            "Largest irrelevant weight, proximal": data.irrelevant[2],
            "w₂ at the minimum": two if abs(two) > 1e-12 else 0.0,
        },
        f"{NAMES[data.penalty]} with λ = {format_number(data.lam)}: of 20 weights gradient descent "
        f"brings {gradient or 'none'} to exactly 0, Adam {adam or 'none'}, proximal steps "
        f"{proximal or 'none'}; of two weights "
        + ("the minimum sets w₂ to 0." if two == 0 else "the minimum keeps both."),
    )


zeros = Explorer(
    name="weight_penalties.zeros",
    title="Corners of a penalty, and who lands on an exact zero",
    caption="Left: contours of a loss of two weights, with its minimum (cross); all weights whose "
    "penalty equals that of the solution (shaded); the solution (dot) and its path over λ "
    "(dashed). Right: a regression with 20 features, 4 relevant (squares), each correlated with "
    "an irrelevant one (16 circles), after 1,200 full-batch steps from 0.5: gradient descent "
    "(lr 0.05; 0 is taken as the slope of |w| at 0), Adam (lr 0.01), proximal steps (lr 0.05). "
    "Dotted: lr·λ, the length of a step that L1 alone makes.",
    controls=(
        Choice("penalty", "Penalty", NAMES, "l1"),
        Steps("lam", "Strength λ", STRENGTHS, 0.2, between="log"),
        Choice("rho", "Correlation of a pair", {r: f"{r:g}" for r in CORRELATIONS}, 0.5),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 300), (350, 300)),
)
