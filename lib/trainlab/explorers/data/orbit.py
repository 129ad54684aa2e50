"""A linear classifier of two digits: augmentation acts on its weights as a mean and a penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from explorables.style import boxes, panel_label
from trainlab.augmentation import augmentation_penalty, flip_images, input_noise, shift_images
from trainlab.datasets import digits
from trainlab.explorers import palette

Array = NDArray[np.float64]

PAIRS: Mapping[str | int | float, str] = {"69": "6 or 9", "38": "3 or 8"}
CHANGES: Mapping[str | int | float, str] = {
    "none": "none",
    "noise": "noise, σ = 0.3",
    "shift": "shift by up to one pixel",
    "flip": "mirror left to right",
    "rotate": "turn upside down",
}
COPIES = (1, 3, 10, 30)
EXAMPLES, STD, RIDGE = 20, 0.3, 0.01
BLANK = 0.05  # smaller weights, relative to the largest, are not drawn


@dataclass(frozen=True)
class Orbit:
    """Weights of the fit to random copies and of mean and penalty; shares of held-out right."""

    change: str
    pair: str
    copies: int
    fitted: Array  # (64,)
    exact: Array  # (64,)
    accuracy: float
    exact_accuracy: float
    plain_accuracy: float
    moved: float  # of mean and penalty, on digits moved by up to one pixel
    plain_moved: float


@lru_cache(maxsize=2)
def _data(pair: str) -> tuple[Array, Array, Array, Array, Array]:
    """Training pixels and targets, held-out pixels as they are and moved, targets; these are ±1."""
    out: list[Array] = []
    for parts in (("train",), ("validation", "test")):
        sets = [digits(part=part) for part in parts]
        pixels, labels = (np.concatenate(same) for same in zip(*sets, strict=True))
        rows = np.isin(labels, [int(c) for c in pair])
        out += [pixels[rows], np.where(labels[rows] == int(pair[0]), 1.0, -1.0)]
    images = out[2].reshape(-1, 1, 8, 8)
    moved = shift_images(images, pixels=1, rng=np.random.default_rng(7)).reshape(-1, 64)
    return out[0][:EXAMPLES], out[1][:EXAMPLES], out[2], moved, out[3]


def _random_copies(change: str, x: Array, copies: int) -> Array:
    rng = np.random.default_rng(6)
    many = np.tile(x, (copies, 1))
    images = many.reshape(-1, 1, 8, 8)
    if change == "noise":
        many = input_noise(many, std=STD, rng=rng)
    elif change == "shift":
        images = shift_images(images, pixels=1, rng=rng)
    elif change == "flip":
        images = flip_images(images, rng=rng)
    elif change == "rotate":
        images = np.where(rng.random((len(images), 1, 1, 1)) < 0.5, images[..., ::-1, ::-1], images)
    return np.asarray(many if change == "noise" else images, float).reshape(copies, *x.shape)


def _all_copies(change: str, x: Array) -> Array:
    images = x.reshape(-1, 8, 8)
    if change == "shift":
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
        made = [padded[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    else:
        made = [images]
        made += {"flip": [images[..., ::-1]], "rotate": [images[:, ::-1, ::-1]]}.get(change, [])
    return np.stack(made).reshape(-1, *x.shape)


def _solved(mean: Array, matrix: Array, y: Array) -> Array:
    """Minimize the mean of (mean @ w - y)² plus w @ (matrix + RIDGE·I) @ w."""
    normal = mean.T @ mean / len(y) + matrix + RIDGE * np.eye(64)
    return np.asarray(np.linalg.solve(normal, mean.T @ y / len(y)), np.float64)


@lru_cache(maxsize=16)
def _exact(change: str, pair: str) -> Array:
    x, y, *_ = _data(pair)
    mean, matrix = augmentation_penalty(_all_copies(change, x))
    if change == "noise":
        matrix = STD**2 * np.eye(64)
    return _solved(mean, matrix, y)


def _accuracy(w: Array, pair: str, moved: bool = False) -> float:
    *_, here, there, y = _data(pair)
    score = (there if moved else here) @ w
    # A score that is rounding, as on an upside-down 6 that is a 9, is not counted.
    return float(np.mean((score * y) > 1e-9))


def _compute(change: str, pair: str, copies: int) -> Orbit:
    x, y, *_ = _data(pair)
    many = _random_copies(change, x, copies).reshape(-1, 64)
    fitted = _solved(many, np.zeros((64, 64)), np.tile(y, copies))
    exact = _exact(change, pair)
    return Orbit(
        change=change,
        pair=pair,
        copies=copies,
        fitted=fitted,
        exact=exact,
        accuracy=_accuracy(fitted, pair),
        exact_accuracy=_accuracy(exact, pair),
        plain_accuracy=_accuracy(_exact("none", pair), pair),
        moved=_accuracy(exact, pair, moved=True),
        plain_moved=_accuracy(_exact("none", pair), pair, moved=True),
    )


def _squares(w: Array, sign: int) -> Path:
    """One path of a square for each weight of this sign, of an area that grows with its size."""
    size = np.abs(w) / np.abs(w).max()
    chosen = np.nonzero((w * sign > 0) & (size > BLANK))[0]
    x, y, half = chosen % 8, chosen // 8, 0.96 * np.sqrt(size[chosen]) / 2
    return boxes(*(edge.round(2) for edge in (x - half, x + half, y - half, y + half)))


def _draw(left: Figure, right: Figure) -> list[tuple[PathPatch, PathPatch]]:
    panels = []
    for figure, title in ((left, "Fit to random copies"), (right, "Mean copies and penalty")):
        ax = figure.subplots()
        panel_label(ax, title)
        ax.set_aspect("equal")
        ax.set_xlim(-0.6, 7.6)
        ax.set_ylim(7.6, -0.6)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
        ax.set_facecolor(palette.SHADE)
        ax.spines[:].set_visible(False)
        blank = Path([[0, 0]], [Path.MOVETO])
        first = PathPatch(blank, fc=palette.TRAIN, ec="none", lw=0)
        second = PathPatch(blank, fc=palette.PAPER, ec=palette.TEST, lw=1.6)
        ax.add_patch(first)
        ax.add_patch(second)
        panels.append((first, second))
    return panels


def _update(artists: list[tuple[PathPatch, PathPatch]], data: Orbit) -> None:
    for (positive, negative), w in zip(artists, (data.fitted, data.exact), strict=True):
        positive.set_path(_squares(w, 1))
        negative.set_path(_squares(w, -1))


def _readout(data: Orbit) -> Readout:
    difference = float(np.abs(data.fitted - data.exact).max() / np.abs(data.exact).max())
    gap = 0.0 if data.change == "none" else difference
    many = "copy" if data.copies == 1 else "copies"
    return Readout(
        {
            "Correct, fit to copies": Quantity(100 * data.accuracy, "%"),
            "Correct, formula": Quantity(100 * data.exact_accuracy, "%"),
            "Correct, no augmentation": Quantity(100 * data.plain_accuracy, "%"),
            "Moved digits, formula": Quantity(100 * data.moved, "%"),
            "Moved digits, no augmentation": Quantity(100 * data.plain_moved, "%"),
            "Difference of the weights": Quantity(100 * gap, "%"),
        },
        f"{PAIRS[data.pair]}, augmentation: {CHANGES[data.change]}. The formula reads "
        f"{format_number(100 * data.exact_accuracy)} % of the held-out digits right, without "
        f"augmentation it is {format_number(100 * data.plain_accuracy)} %. A fit to "
        f"{data.copies} random {many} of each example reads {format_number(100 * data.accuracy)} % "
        f"right; its weights are up to {format_number(100 * gap)} % of the largest away from the "
        "formula's.",
    )


orbit = Explorer(
    name="data.orbit",
    title="Augmentation of a linear classifier as mean and penalty",
    caption="Weights of a linear model that tells two digits apart, one square a pixel: filled "
    "speaks for the first digit, outlined for the second, and the area is the size. Left: fitted "
    "by least squares to random copies of 20 examples. Right: fitted to the mean of all copies of "
    "each example, with the penalty of their covariance (the formula). Both have a small ridge "
    "penalty, 0.01. Correct: share of the held-out digits of the pair that is read as such, as "
    "they are and moved by up to one pixel. Difference: the largest, relative to the largest "
    "weight.",
    controls=(
        Choice("change", "Augmentation", CHANGES, "rotate"),
        Choice("pair", "Digits", PAIRS, "69"),
        Steps("copies", "Random copies of each example", COPIES, 30),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((300, 300), (300, 300)),
)
