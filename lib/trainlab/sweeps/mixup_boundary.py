"""The decision boundary that mixup leaves on two toy problems, and the confidence beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..augmentation import mixup
from ..classification import cross_entropy
from ..datasets import two_circles, two_moons
from ..mlp import mlp, mlp_init
from ..training import train
from . import Sweep

Array = NDArray[Any]

DATA = ("moons", "circles")
ALPHAS = (0.0, 0.1, 0.2, 0.4, 1.0, 2.0)  # 0 is no mixup
SEEDS = (0, 1, 2, 3, 4)
COUNT, TESTED, NOISE = 60, 2000, {"moons": 0.2, "circles": 0.15}
LAYERS, STEPS, RATE = (2, 32, 32, 2), 500, 0.01
HIGHEST = 6.0  # of the log-odds that are stored
SHARES = np.linspace(0, 1, 11)
AXES = {
    "moons": (np.linspace(-1.75, 2.75, 25), np.linspace(-1.4, 1.9, 21)),
    "circles": (np.linspace(-1.75, 1.75, 25), np.linspace(-1.5, 1.5, 21)),
}


def examples(data: str, count: int, seed: int) -> tuple[Array, Array]:
    """Draw points (count, 2) and labels."""
    rng = np.random.default_rng(seed)
    return (two_moons if data == "moons" else two_circles)(count, rng=rng, noise=NOISE[data])


def _log_odds(params: Any, x: Array) -> Array:
    logits = np.asarray(mlp(params, x))
    return np.asarray(logits[..., 1] - logits[..., 0])


def _trained(data: str, alpha: float, seed: int) -> Any:
    x, labels = examples(data, COUNT, seed)
    targets = np.eye(2)[labels]
    rng = np.random.default_rng([seed, 1])
    mixes = (mixup(x, targets, alpha=alpha or 1.0, rng=rng, mode="row") for _ in range(STEPS))
    batches = ((m.x, m.targets) for m in mixes) if alpha else [(x, targets)] * STEPS
    return train(
        lambda params, x, targets: cross_entropy(mlp(params, x), targets),
        mlp_init(LAYERS, rng=np.random.default_rng([seed, 2])),
        batches=batches,
        lr=lambda step: RATE * (1 - step / STEPS),
        optimizer="adam",
    ).params


def _between(params: Any, x: Array, labels: Array, other: bool) -> Array:
    """Mean probability of the class at the far end, along the lines that join pairs of points."""
    one, two = np.nonzero((labels[:, None] != labels) == other)
    one, two = one[one != two], two[one != two]
    path = (1 - SHARES[:, None, None]) * x[one] + SHARES[:, None, None] * x[two]
    chance = 1 / (1 + np.exp(-_log_odds(params, path)))
    return np.asarray(np.where(labels[two] == 1, chance, 1 - chance).mean(axis=1))


def run(data: str, alpha: float) -> dict[str, Any]:
    """Train one network a seed; `log_odds` are of the first, row by row over AXES.

    `across` and `within` are mean probabilities at SHARES of the way from one training point to
    another, of the class of the latter: of another and of the same class.
    """
    found: dict[str, list[Any]] = {k: [] for k in ("accuracy", "loss", "confidence")}
    across, within, odds = [], [], np.empty(0)
    for seed in SEEDS:
        params = _trained(data, alpha, seed)
        x, labels = examples(data, TESTED, 1000 + seed)
        z = np.where(labels == 1, 1, -1) * _log_odds(params, x)
        found["accuracy"].append(float((z > 0).mean()))
        found["loss"].append(float(np.logaddexp(0, -z).mean()))
        found["confidence"].append(float((1 / (1 + np.exp(-np.abs(z)))).mean()))
        mine = examples(data, COUNT, seed)
        across.append(_between(params, *mine, other=True))
        within.append(_between(params, *mine, other=False))
        if seed == SEEDS[0]:
            grid = np.stack(np.meshgrid(*AXES[data]), axis=-1).reshape(-1, 2)
            odds = np.clip(_log_odds(params, grid), -HIGHEST, HIGHEST)
    return {
        **found,
        "across": np.mean(across, axis=0).round(4).tolist(),
        "within": np.mean(within, axis=0).round(4).tolist(),
        "log_odds": odds.round(1).tolist(),
    }


# Training amplifies rounding, and log-odds are stored with one decimal.
SWEEP = Sweep(run=run, grid=[{"data": d, "alpha": a} for d in DATA for a in ALPHAS], rtol=0.2)
