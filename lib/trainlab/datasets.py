"""Small data sets: handwritten digits, made-up regressions and classifications, this book's text.

Small enough to train on in seconds, in a browser too. The made-up ones are drawn through `rng` from
a rule that is known, so that one can say how far from the truth a fit is.
"""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import generator, integer, one_of, real
from ._text_checks import whole_numbers

__all__ = [
    "Regression",
    "book_corpus",
    "digits",
    "flip_labels",
    "gaussian_classes",
    "linear_teacher",
    "noisy_curve",
    "spirals",
    "two_circles",
    "two_moons",
]

Array = NDArray[Any]
Points = tuple[NDArray[np.float64], NDArray[np.int64]]

DIGITS_HELD_OUT = 300  # validation, and as many for the test
STEPS = np.array([0.5, -1.0, 1.0, -0.5])  # the values of the piecewise curve


@cache
def _stored_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    data = np.load(io.BytesIO((files("trainlab") / "data" / "digits.npz").read_bytes()))
    pixels, labels = data["pixels"], data["labels"]
    # In the order of a hash of the pixels: shuffled, but the same with any release of NumPy.
    order = sorted(range(len(labels)), key=lambda i: hashlib.sha256(pixels[i].tobytes()).digest())
    return pixels, labels, np.array(order)


def digits(*, part: str = "all", dtype: Any = np.float64) -> tuple[Array, NDArray[np.int64]]:
    """Load 1797 handwritten digits of 8 by 8 pixels.

    Parameters
    ----------
    part : {"all", "train", "validation", "test"}
        All in their own order, or 1197, 300 and 300 of them, shuffled, always the same.
    dtype : {float64, float32}
        Of the pixels.

    Returns
    -------
    pixels : array of shape (count, 64)
        In [0, 1], in steps of 1/16, row by row; 0 is paper.
    labels : array of int64, shape (count,)
        0 to 9.

    Raises
    ------
    ValueError
        If `part` or `dtype` is something else.

    Notes
    -----
    These are scikit-learn's `load_digits`, divided by 16: the test data of the original, written by
    13 people. The parts share the writers, so an accuracy on the test part says nothing about the
    hand of somebody else. PyTorch, too, scales pixels to [0, 1].

    References
    ----------
    Alpaydin, Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository (CC BY 4.0).

    Examples
    --------
    >>> pixels, labels = digits(part="train")
    >>> pixels.shape, float(pixels.max()), labels[:5].tolist()
    ((1197, 64), 1.0, [2, 3, 3, 4, 8])
    """
    part = one_of(part, "part", ("all", "train", "validation", "test"))
    if dtype not in ("float32", "float64", np.float32, np.float64):
        raise ValueError(f"digits: dtype must be float32 or float64; got {dtype!r}")
    pixels, labels, order = _stored_digits()
    rows = {
        "all": np.arange(len(labels)),
        "train": order[: -2 * DIGITS_HELD_OUT],
        "validation": order[-2 * DIGITS_HELD_OUT : -DIGITS_HELD_OUT],
        "test": order[-DIGITS_HELD_OUT:],
    }[part]
    return pixels[rows].astype(dtype) / 16, labels[rows].astype(np.int64)


class Regression(NamedTuple):
    """A made-up regression.

    Attributes
    ----------
    x : array of shape (count, dim)
        Inputs.
    y : array of shape (count,)
        Targets.
    clean : array of shape (count,)
        The targets without noise.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    clean: NDArray[np.float64]


def linear_teacher(
    count: int,
    *,
    rng: np.random.Generator,
    dim: int = 5,
    noise: float = 0.1,
    outliers: float = 0.0,
) -> Regression:
    """Draw a linear regression: y = x · w + noise, with a random teacher w.

    Parameters
    ----------
    count : int
        Examples, >= 1.
    rng : numpy.random.Generator
    dim : int
        Features, >= 1: standard normal. The weights are normal with variance 1/dim, so that the
        clean targets have variance 1 on average.
    noise : float
        Standard deviation of the normal noise, >= 0.
    outliers : float
        Share of the targets, in [0, 1], that are moved by 10 up or down besides.

    Returns
    -------
    Regression

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.

    Examples
    --------
    >>> data = linear_teacher(100, rng=np.random.default_rng(0), noise=0.0)
    >>> weight = np.linalg.lstsq(data.x, data.y)[0]
    >>> bool(np.allclose(data.x @ weight, data.clean))
    True
    """
    count, dim = integer(count, "count", low=1), integer(dim, "dim", low=1)
    noise = real(noise, "noise", low=0)
    outliers = real(outliers, "outliers", low=0, high=1)
    generator(rng)
    weight = rng.standard_normal(dim) / dim**0.5
    x = rng.standard_normal((count, dim))
    clean = x @ weight
    return Regression(x, _disturbed(clean, noise, outliers, rng), clean)


def noisy_curve(
    count: int,
    *,
    rng: np.random.Generator,
    kind: str = "sine",
    noise: float = 0.1,
    outliers: float = 0.0,
) -> Regression:
    """Draw points of a curve over one input.

    Parameters
    ----------
    count : int
        Examples, >= 1.
    rng : numpy.random.Generator
    kind : {"sine", "piecewise"}
        sin(πx), or a step function with the values 0.5, −1, 1, −0.5 on the quarters of [−1, 1).
    noise : float
        Standard deviation of the normal noise, >= 0.
    outliers : float
        Share of the targets, in [0, 1], that are moved by 10 up or down besides.

    Returns
    -------
    Regression
        x is uniform in [−1, 1).

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.

    Examples
    --------
    >>> data = noisy_curve(4, rng=np.random.default_rng(0), kind="piecewise", noise=0.0)
    >>> data.x[:, 0].round(2).tolist(), data.y.tolist()
    ([0.27, -0.46, -0.92, -0.97], [1.0, -1.0, 0.5, 0.5])
    """
    count = integer(count, "count", low=1)
    kind = one_of(kind, "kind", ("sine", "piecewise"))
    noise = real(noise, "noise", low=0)
    outliers = real(outliers, "outliers", low=0, high=1)
    generator(rng)
    x = rng.uniform(-1, 1, count)
    steps = STEPS[np.floor(2 * (x + 1)).astype(int)]
    clean = np.sin(np.pi * x) if kind == "sine" else steps
    return Regression(x[:, np.newaxis], _disturbed(clean, noise, outliers, rng), clean)


def _disturbed(clean: Array, noise: float, outliers: float, rng: np.random.Generator) -> Array:
    y = clean + noise * rng.standard_normal(clean.shape)
    chosen = rng.random(clean.shape) < outliers
    return np.where(chosen, y + 10 * rng.choice([-1, 1], clean.shape), y)


def gaussian_classes(
    count: int, *, rng: np.random.Generator, classes: int = 5, dim: int = 20, spread: float = 0.75
) -> tuple[Array, NDArray[np.int64]]:
    """Draw labeled points from one Gaussian ball a class.

    Parameters
    ----------
    count : int
        Points, >= 1.
    rng : numpy.random.Generator
        Draws the points; the centers of the classes are always the same.
    classes, dim : int
        Classes, >= 2, and features, >= 1.
    spread : float
        Standard deviation of the centers' coordinates, >= 0; that of the points is 1.

    Returns
    -------
    points, labels : arrays of shape (count, dim) and (count,)

    Raises
    ------
    ValueError, TypeError
        If a value is out of range.

    Examples
    --------
    >>> points, labels = gaussian_classes(6, rng=np.random.default_rng(0))
    >>> points.shape, labels.shape
    ((6, 20), (6,))
    """
    count, dim = integer(count, "count", low=1), integer(dim, "dim", low=1)
    classes = integer(classes, "classes", low=2)
    spread = real(spread, "spread", low=0)
    generator(rng)
    centers = spread * np.random.default_rng(0).standard_normal((classes, dim))
    labels = rng.integers(classes, size=count)
    return centers[labels] + rng.standard_normal((count, dim)), labels


def two_moons(count: int, *, rng: np.random.Generator, noise: float = 0.1) -> Points:
    """Draw two half circles that reach into one another.

    Parameters
    ----------
    count : int
        Points, >= 2.
    rng : numpy.random.Generator
    noise : float
        Standard deviation of each coordinate around the half circle of radius 1, >= 0.

    Returns
    -------
    points, labels : arrays of shape (count, 2) and (count,)
        As scikit-learn's `make_moons`: class 0 is (cos t, sin t), class 1 is
        (1 − cos t, 1/2 − sin t), with t in [0, π); here t is random. The classes differ by at most
        one point in size.

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.

    Examples
    --------
    >>> points, labels = two_moons(4, rng=np.random.default_rng(0), noise=0.0)
    >>> np.linalg.norm(points[labels == 0], axis=1).tolist()
    [1.0, 1.0]
    """
    count, noise = integer(count, "count", low=2), real(noise, "noise", low=0)
    generator(rng)
    labels = rng.permutation(np.arange(count) % 2)
    t = np.pi * rng.random(count)
    upper, lower = (np.cos(t), np.sin(t)), (1 - np.cos(t), 0.5 - np.sin(t))
    points = np.where(labels == 0, upper, lower).T  # (count, 2)
    return points + noise * rng.standard_normal(points.shape), labels


def two_circles(
    count: int, *, rng: np.random.Generator, noise: float = 0.1, factor: float = 0.5
) -> Points:
    """Draw a circle within a circle: no straight line separates them.

    Parameters
    ----------
    count : int
        Points, >= 2.
    rng : numpy.random.Generator
    noise : float
        Standard deviation of each coordinate, >= 0.
    factor : float
        Radius of the inner circle, in (0, 1); that of the outer one is 1.

    Returns
    -------
    points, labels : arrays of shape (count, 2) and (count,)
        Class 0 is the outer circle, as in scikit-learn's `make_circles`. The classes differ by at
        most one point in size.

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.

    Examples
    --------
    >>> points, labels = two_circles(4, rng=np.random.default_rng(0), noise=0.0)
    >>> np.linalg.norm(points[labels == 1], axis=1).tolist()
    [0.5, 0.5]
    """
    count, noise = integer(count, "count", low=2), real(noise, "noise", low=0)
    factor = real(factor, "factor", low=0, high=1, closed="neither")
    generator(rng)
    labels = rng.permutation(np.arange(count) % 2)
    t = 2 * np.pi * rng.random(count)
    radius = np.where(labels == 0, 1.0, factor)
    points = np.stack([radius * np.cos(t), radius * np.sin(t)], axis=1)
    return points + noise * rng.standard_normal(points.shape), labels


def spirals(
    count: int,
    *,
    rng: np.random.Generator,
    classes: int = 3,
    turns: float = 0.75,
    noise: float = 0.02,
) -> Points:
    """Draw spirals that wind around one another, one a class.

    Parameters
    ----------
    count : int
        Points, >= classes.
    rng : numpy.random.Generator
    classes : int
        Arms, >= 2.
    turns : float
        Turns of an arm, > 0: more are harder.
    noise : float
        Standard deviation of each coordinate, >= 0.

    Returns
    -------
    points, labels : arrays of shape (count, 2) and (count,)
        An arm goes from the center to radius 1: at radius r its angle is
        2π(turns · r + label/classes). The classes differ by at most one point in size.

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.

    Examples
    --------
    >>> points, labels = spirals(300, rng=np.random.default_rng(0))
    >>> points.shape, np.bincount(labels).tolist()
    ((300, 2), [100, 100, 100])
    """
    classes = integer(classes, "classes", low=2)
    count = integer(count, "count", low=classes)
    turns = real(turns, "turns", low=0, closed="neither")
    noise = real(noise, "noise", low=0)
    generator(rng)
    labels = rng.permutation(np.arange(count) % classes)
    radius = rng.random(count)
    angle = 2 * np.pi * (turns * radius + labels / classes)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return points + noise * rng.standard_normal(points.shape), labels


def flip_labels(
    labels: Any, *, fraction: float, classes: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Give some examples a wrong label.

    Parameters
    ----------
    labels : array of int, shape (count,)
        In [0, classes).
    fraction : float
        Probability that a label changes, in [0, 1]. Every other class is as likely.
    classes : int
        >= 2.
    rng : numpy.random.Generator

    Returns
    -------
    array of int64, shape (count,)

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.

    Notes
    -----
    A changed label is always wrong. Where papers draw the new label from *all* classes, a share of
    1/classes stays right: their noise f is f(1 − 1/classes) here.

    Examples
    --------
    >>> flip_labels([0, 1, 1, 0], fraction=1.0, classes=2, rng=np.random.default_rng(0)).tolist()
    [1, 0, 0, 1]
    """
    clean = whole_numbers(labels, "labels")
    fraction = real(fraction, "fraction", low=0, high=1)
    classes = integer(classes, "classes", low=2)
    generator(rng)
    if clean.max(initial=0) >= classes:
        raise ValueError(
            f"flip_labels: labels must be below classes, {classes}; got {clean.max(initial=0)}"
        )
    wrong = (clean + rng.integers(1, classes, clean.shape)) % classes
    return np.where(rng.random(clean.shape) < fraction, wrong, clean)


def book_corpus() -> Mapping[str, str]:
    """Load the text of this book: prose without code, formulas, tables and markup.

    Returns
    -------
    mapping of str to str
        Name of a page, such as "generalization/dropout" -> its text; read-only.

    Notes
    -----
    The text is stored with the library, so that it is there without the book, as in a browser. It
    is made by `make data` from the pages as they were then, and follows them only when it is made
    again: a corpus that changed with every page would change every result.

    Examples
    --------
    >>> corpus = book_corpus()
    >>> corpus["generalization/dropout"].splitlines()[0]
    'Dropout'
    """
    return _stored_corpus()


@cache
def _stored_corpus() -> Mapping[str, str]:
    stored = gzip.decompress((files("trainlab") / "data" / "book_corpus.txt.gz").read_bytes())
    _, *pages = stored.decode().split("\f")
    return MappingProxyType(dict(page.split("\n", 1) for page in pages))
