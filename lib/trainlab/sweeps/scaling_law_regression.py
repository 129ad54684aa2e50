"""A scaling law of our own: regression on features of falling variance, over N and D.

Feature i has the variance λ = i^-a, and its true weight w explains λw² = i^-2c of the target, for
i from 1 on without end; the label noise has the variance 0.09. A model of size N sees the first N
features; the rest are noise to it. It is fitted to D examples by ridge regression with the best of
13 strengths, and its loss on new examples is computed exactly. With endless data that loss would be
0.09 plus what the missing features explain, which falls like N^-(2c - 1).

The law is then fitted to a corner of small runs, and to resamples of the seeds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scaling_law_fits import fit_scaling_law
from ..scaling_laws import scaling_loss
from . import Sweep

Array = NDArray[np.float64]

SIZES = (4, 8, 16, 32, 64, 128, 256)  # N
COUNTS = (128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768)  # D
NOISE = 0.09  # variance of the labels around the truth: the E of the law
SEEDS = tuple(range(5))
RESAMPLES = 30
STRENGTHS = np.geomspace(1e-6, 1e2, 13)
SPECTRA = {"slow": (1.5, 0.75), "fast": (2.0, 1.0)}  # a, c
CORNERS = (4, 5, 6, 7)  # the fit sees as many of the smallest N and of the smallest D


def exact_alpha(spectrum: str) -> float:
    """Return the exponent of N, from the formula of the targets."""
    return 2 * SPECTRA[spectrum][1] - 1


def tail(n: int, c: float, terms: int = 4096) -> float:
    """Sum i^-2c over i > n: the terms one by one, and the rest as an integral."""
    i = np.arange(n + 1, n + terms + 1, dtype=float)
    return float(np.sum(i ** (-2 * c)) + (n + terms + 0.5) ** (1 - 2 * c) / (2 * c - 1))


@lru_cache(maxsize=16)
def risks(spectrum: str, seed: int) -> Array:
    """Return the exact losses of one seed, of shape (N, D)."""
    a, c = SPECTRA[spectrum]
    rng = np.random.default_rng(seed)
    i = np.arange(1, SIZES[-1] + 1, dtype=float)
    variance, weight = i**-a, i ** (a / 2 - c)
    beyond = tail(SIZES[-1], c)
    gram, pull = np.zeros((len(i), len(i))), np.zeros(len(i))
    found, seen = np.zeros((len(SIZES), len(COUNTS))), 0
    for column, count in enumerate(COUNTS):
        new = rng.standard_normal((count - seen, len(i))) * np.sqrt(variance)
        noise = rng.standard_normal(count - seen) * np.sqrt(NOISE + beyond)
        gram += new.T @ new
        pull += new.T @ (new @ weight + noise)
        seen = count
        for row, n in enumerate(SIZES):
            missing = NOISE + beyond + np.sum((variance * weight**2)[n:])
            h, v = np.linalg.eigh(gram[:n, :n] / count)
            along = v.T @ (pull[:n] / count)
            fits = v @ (along[:, None] / (np.maximum(h, 0)[:, None] + STRENGTHS))
            wrong = variance[:n] @ (fits - weight[:n, None]) ** 2
            found[row, column] = missing + wrong.min()
    return found


def run(spectrum: str, corner: int) -> dict[str, Any]:
    """Fit the law to the mean losses of a corner; and again to resampled seeds."""
    every = np.stack([risks(spectrum, seed) for seed in SEEDS])
    n, d = (g.ravel() for g in np.meshgrid(SIZES[:corner], COUNTS[:corner], indexing="ij"))
    rng = np.random.default_rng(0)
    chosen = [np.arange(len(SEEDS))]
    chosen += [rng.integers(0, len(SEEDS), len(SEEDS)) for _ in range(RESAMPLES)]
    laws = [
        fit_scaling_law(n, d, every[rows, :corner, :corner].mean(axis=0).ravel()) for rows in chosen
    ]
    far = [float(scaling_loss(SIZES[-1], COUNTS[-1], law=law)) for law in laws]
    return {
        "losses": every.mean(axis=0).ravel().tolist(),
        "errors": (every.std(axis=0, ddof=1) / len(SEEDS) ** 0.5).ravel().tolist(),
        "law": list(laws[0]),
        "alphas": [law.alpha for law in laws[1:]],
        "betas": [law.beta for law in laws[1:]],
        "floors": [law.E for law in laws[1:]],
        "far": far[0],
        "fars": far[1:],
    }


# A fit amplifies rounding.
SWEEP = Sweep(
    run=run,
    grid=[{"spectrum": s, "corner": k} for s in SPECTRA for k in CORNERS],
    rtol=2e-3,
)
