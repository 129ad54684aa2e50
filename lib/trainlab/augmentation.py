"""Data augmentation: train on changed examples whose labels are still known.

Noise and shifts keep the label. Mixing two examples mixes their labels in the same proportion, so
that targets are distributions (or numbers), never class indices. Label noise is the opposite:
what is wrong with the data, drawn on purpose to study it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import array, generator, integer, one_of, real

__all__ = [
    "AugmentationPenalty",
    "Box",
    "Mixed",
    "augmentation_penalty",
    "cut_box",
    "cutmix",
    "flip_images",
    "flip_matrix",
    "input_noise",
    "label_noise",
    "mixup",
    "noise_ridge",
    "shift_images",
]

Array = NDArray[Any]

MODES = ("batch", "row")


def _images(images: Any) -> Array:
    checked = array(images, "images", ndim=4, nonempty=False)
    if 0 in checked.shape[2:]:
        array(checked, "images")
    return checked


# Noise on the inputs ----------------------------------------------------------------------------


def input_noise(x: ArrayLike, *, std: float, rng: np.random.Generator) -> Array:
    """Add independent Gaussian noise to every entry.

    Parameters
    ----------
    x : array
        Inputs of a batch.
    std : float
        Standard deviation of the noise, ≥ 0.
    rng : np.random.Generator
        Source of randomness.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or `rng` is no generator.

    See Also
    --------
    noise_ridge : what a linear model learns from it.

    Examples
    --------
    >>> input_noise(np.zeros(3), std=0.1, rng=np.random.default_rng(0)).round(3)
    array([ 0.013, -0.013,  0.064])
    """
    x = array(x, "x", nonempty=False)
    std = real(std, "std", low=0)
    draw = np.float32 if x.dtype == np.float32 else np.float64
    noise = generator(rng).standard_normal(x.shape, dtype=draw)
    noise *= std
    return np.asarray(x + noise.astype(x.dtype, copy=False))


def noise_ridge(x: ArrayLike, y: ArrayLike, *, std: float) -> Array:
    """Weights of a linear model that are best on average over all noise on its inputs.

    Parameters
    ----------
    x : array of shape (n, d)
        Inputs without noise.
    y : array of shape (n,) or (n, k)
        Targets.
    std : float
        Standard deviation of `input_noise`, > 0.

    Returns
    -------
    array of shape (d,) or (d, k)
        They minimize the mean over the noise of ``1/(2n) * ‖(x + noise) w − y‖²``.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or the shapes do not fit.

    Notes
    -----
    That mean is ``1/(2n) * ‖x w − y‖² + std²/2 * ‖w‖²``: ridge regression with λ = std², or n·std²
    if the loss is a sum. The cross term has mean 0, and the noise adds std²‖w‖² to the squared
    error of every example. For networks a term in the gradient of the output takes the place of
    ‖w‖², and it holds for small noise only.

    References
    ----------
    Bishop (1995), "Training with noise is equivalent to Tikhonov regularization".

    Examples
    --------
    >>> noise_ridge([[1.0], [3.0]], [2.0, 6.0], std=1.0).round(4)  # x·y / (x·x + 2) = 20/12
    array([1.6667])
    """
    x = array(x, "x", ndim=2)
    y = array(y, "y", ndim=(1, 2))
    if y.shape[0] != x.shape[0]:
        raise ValueError(
            f"noise_ridge: y must have one row for each of x, {x.shape[0]}; got shape {y.shape}"
        )
    std = real(std, "std", low=0, closed="neither")
    # As the least squares of more rows, √n·std times the identity: the matrix is never squared.
    rows = math.sqrt(len(x)) * std * np.eye(x.shape[1], dtype=x.dtype)
    zeros = np.zeros((x.shape[1], *y.shape[1:]), y.dtype)
    weight, *_ = np.linalg.lstsq(np.concatenate([x, rows]), np.concatenate([y, zeros]), rcond=None)
    return np.asarray(weight)


class AugmentationPenalty(NamedTuple):
    """What a linear model sees of augmented examples.

    Attributes
    ----------
    mean : array of shape (n, d)
        Mean copy of each example.
    matrix : array of shape (d, d)
        Covariance of the copies of an example, averaged over the examples.
    """

    mean: Array
    matrix: Array


def augmentation_penalty(copies: ArrayLike) -> AugmentationPenalty:
    """Split equally likely copies of each example into their mean and a penalty.

    Parameters
    ----------
    copies : array of shape (k, n, d)
        ``copies[i]`` are the n examples after the i-th of k changes that keep their targets, such
        as all flips or shifts; or after k random ones.

    Returns
    -------
    AugmentationPenalty

    Raises
    ------
    ValueError, TypeError
        If `copies` is no such array.

    Notes
    -----
    The mean over copies and examples of ``(copy @ w - y)**2`` is exactly that of
    ``(mean @ w - y)**2`` plus ``w @ matrix @ w``: least squares on the mean copies, with a penalty
    on the directions in which copies of one example differ. For `input_noise` these are all
    directions alike, the matrix is std² times the identity, and the penalty that of `noise_ridge`.

    References
    ----------
    Dao, Gu, Ratner, Smith, De Sa & Ré (2019), "A kernel theory of modern data augmentation": mean
    and variance of features, to second order for other losses.

    Examples
    --------
    >>> mean, matrix = augmentation_penalty([[[1.0, 3.0]], [[3.0, 1.0]]])  # an example, mirrored
    >>> mean, matrix
    (array([[2., 2.]]), array([[ 1., -1.],
           [-1.,  1.]]))
    """
    given = array(copies, "copies", ndim=3)
    mean = given.mean(axis=0)
    off = (given - mean).reshape(-1, given.shape[2])  # (k, n, d) -> (k·n, d)
    return AugmentationPenalty(mean, np.asarray(off.T @ off / len(off)))


# Mixing examples --------------------------------------------------------------------------------


class Mixed(NamedTuple):
    """A batch of mixed examples.

    Attributes
    ----------
    x, targets : arrays of the shapes that came
    lam : array of shape (N,)
        Share of each example that is its own.
    partner : array of int of shape (N,)
        Which example the rest is from.
    """

    x: Array
    targets: Array
    lam: Array
    partner: NDArray[np.intp]


def _soft_targets(targets: Any, count: int, func: str) -> Array:
    given = np.asarray(targets)
    if given.dtype.kind in "iub":
        raise TypeError(
            f"{func}: targets must be floating-point, such as one row of probabilities for each "
            f"example, since class indices cannot be mixed; got {given.dtype}"
        )
    soft = array(targets, "targets", nonempty=False)
    if soft.shape[:1] != (count,):
        raise ValueError(
            f"{func}: targets must have one row for each example, {count}; got shape {soft.shape}"
        )
    return soft


def _draw(count: int, alpha: float, rng: np.random.Generator, mode: str) -> tuple[Array, Any]:
    """Share of each example's own, and a partner for each."""
    lam = rng.beta(alpha, alpha, size=count if mode == "row" else 1)
    return np.broadcast_to(lam, (count,)), rng.permutation(count)


def _blend(a: Array, partner: Any, lam: Array) -> Array:
    share = lam.astype(a.dtype).reshape(-1, *[1] * (a.ndim - 1))  # (N,) -> (N, 1, ...)
    return np.asarray(share * a + (1 - share) * a[partner])


def mixup(
    x: ArrayLike, targets: ArrayLike, *, alpha: float, rng: np.random.Generator, mode: str = "batch"
) -> Mixed:
    """Replace each example by a mean of itself and another one, and its target alike.

    Parameters
    ----------
    x : array of shape (N, ...)
        Inputs.
    targets : floating-point array of shape (N, ...)
        Numbers, or probabilities of the classes: one-hot rows at first.
    alpha : float
        The share is drawn from Beta(alpha, alpha), > 0: near 0 or 1 for small alpha, near one half
        for large, uniform for 1.
    rng : np.random.Generator
        Source of randomness.
    mode : {"batch", "row"}
        Whether the batch has one share, as in the paper's code, or each example its own.

    Returns
    -------
    Mixed
        ``lam * x + (1 - lam) * x[partner]``, and the same of the targets.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or targets are class indices.

    Notes
    -----
    Partners are a permutation of the batch: an example may be its own. Mixing the two losses
    instead of the targets is the same for cross-entropy, which is linear in the target.

    References
    ----------
    Zhang, Cisse, Dauphin & Lopez-Paz (2018), "mixup: Beyond empirical risk minimization".

    Examples
    --------
    >>> mixed = mixup([[0.0], [10.0]], [[1.0, 0.0], [0.0, 1.0]], alpha=1.0,
    ...               rng=np.random.default_rng(1))
    >>> mixed.lam.round(2), mixed.partner
    (array([0.42, 0.42]), array([1, 0]))
    >>> mixed.targets.round(2)
    array([[0.42, 0.58],
           [0.58, 0.42]])
    """
    x = array(x, "x", nonempty=False)
    if x.ndim == 0:
        raise ValueError("mixup: x must have the examples as its first axis; got a number")
    targets = _soft_targets(targets, len(x), "mixup")
    alpha = real(alpha, "alpha", low=0, closed="neither")
    one_of(mode, "mode", MODES)
    lam, partner = _draw(len(x), alpha, generator(rng), mode)
    return Mixed(
        _blend(x, partner, lam), _blend(targets, partner, lam), lam.astype(x.dtype), partner
    )


class Box(NamedTuple):
    """Rows top … bottom − 1 and columns left … right − 1."""

    top: int
    bottom: int
    left: int
    right: int


def cut_box(height: int, width: int, *, lam: float, rng: np.random.Generator) -> Box:
    """Draw a rectangle of about the share ``1 - lam`` of an image.

    Parameters
    ----------
    height, width : int
        Of the image, ≥ 1.
    lam : float in [0, 1]
        Share of the image that is to stay outside.
    rng : np.random.Generator
        Source of randomness.

    Returns
    -------
    Box
        Sides ``√(1 - lam)`` times those of the image, rounded down to even numbers, around a center
        drawn uniformly. What leaves the image is cut off, so that the real share outside is larger.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or `rng` is no generator.

    References
    ----------
    Yun et al. (2019), the function ``rand_bbox`` of their code.

    Examples
    --------
    >>> cut_box(8, 8, lam=0.75, rng=np.random.default_rng(0))
    Box(top=4, bottom=8, left=3, right=7)
    """
    height = integer(height, "height", low=1)
    width = integer(width, "width", low=1)
    lam = real(lam, "lam", low=0, high=1)
    rng = generator(rng)
    side = math.sqrt(1 - lam)
    sides = []
    for length in (height, width):
        center, half = int(rng.integers(length)), int(length * side) // 2
        sides += [max(center - half, 0), min(center + half, length)]
    return Box(*sides)


def cutmix(
    images: ArrayLike,
    targets: ArrayLike,
    *,
    rng: np.random.Generator,
    alpha: float = 1.0,
    mode: str = "batch",
) -> Mixed:
    """Replace a rectangle of each image by that of another one, and mix their targets by area.

    Parameters
    ----------
    images : array of shape (N, C, H, W)
    targets : floating-point array of shape (N, ...)
        Numbers, or probabilities of the classes: one-hot rows at first.
    rng : np.random.Generator
        Source of randomness.
    alpha : float
        The share of the own image is drawn from Beta(alpha, alpha), > 0.
    mode : {"batch", "row"}
        Whether the batch has one rectangle, as in the paper's code, or each image its own.

    Returns
    -------
    Mixed
        Its `lam` is the *real* share of the pixels that stayed, after rounding and cutting off at
        the border, not the one that was drawn.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or targets are class indices.

    References
    ----------
    Yun et al. (2019), "CutMix: Regularization strategy to train strong classifiers with localizable
    features".

    Examples
    --------
    >>> images = np.stack([np.zeros((1, 4, 4)), np.ones((1, 4, 4))])
    >>> mixed = cutmix(images, [0.0, 1.0], rng=np.random.default_rng(0))
    >>> mixed.x[0, 0]
    array([[1., 0., 0., 0.],
           [0., 0., 0., 0.],
           [0., 0., 0., 0.],
           [0., 0., 0., 0.]])
    >>> mixed.lam, mixed.targets
    (array([0.9375, 0.9375]), array([0.0625, 0.9375]))
    """
    images = _images(images)
    targets = _soft_targets(targets, len(images), "cutmix")
    alpha = real(alpha, "alpha", low=0, closed="neither")
    one_of(mode, "mode", MODES)
    lam, partner = _draw(len(images), alpha, generator(rng), mode)
    height, width = images.shape[2:]
    shares = lam if mode == "row" else lam[:1]
    drawn = [cut_box(height, width, lam=float(share), rng=rng) for share in shares]
    box = np.array(drawn, dtype=np.intp).reshape(-1, 4)
    top, bottom, left, right = (side[:, None, None, None] for side in box.T)  # (N or 1, 1, 1, 1)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    area = (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])
    lam = np.broadcast_to(1 - area / (height * width), lam.shape)
    return Mixed(
        np.where(inside, images[partner], images),
        _blend(targets, partner, lam),
        lam.astype(images.dtype),
        partner,
    )


# Wrong labels -----------------------------------------------------------------------------------


def flip_matrix(num_classes: int, *, flip: float, to: str = "others") -> Array:
    """Probability of each observed label, given the true one.

    Parameters
    ----------
    num_classes : int
        K ≥ 2.
    flip : float in [0, 1]
        Fraction of the labels that are drawn anew.
    to : {"others", "any", "next"}
        "others": each of the K − 1 wrong classes, so that `flip` is the fraction of wrong labels.
        "any": each of all K, so that flip·(K − 1)/K of the labels become wrong. "next": class i
        becomes i + 1, as classes that are mistaken for one another.

    Returns
    -------
    array of shape (K, K)
        Rows are true classes and sum to 1.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range.

    Notes
    -----
    "40 % label noise" means either of the first two in the literature: with K = 10 and "any" only
    36 % of the labels are wrong.

    References
    ----------
    Patrini et al. (2017), "Making deep neural networks robust to label noise: a loss correction
    approach", for the matrix.

    Examples
    --------
    >>> flip_matrix(3, flip=0.3)
    array([[0.7 , 0.15, 0.15],
           [0.15, 0.7 , 0.15],
           [0.15, 0.15, 0.7 ]])
    """
    count = integer(num_classes, "num_classes", low=2)
    flip = real(flip, "flip", low=0, high=1)
    one_of(to, "to", ("others", "any", "next"))
    own = np.eye(count)
    if to == "others":
        wrong = (1 - own) / (count - 1)
    elif to == "any":
        wrong = np.full((count, count), 1 / count)
    else:
        wrong = np.roll(own, 1, axis=1)
    return np.asarray((1 - flip) * own + flip * wrong)


def label_noise(
    labels: ArrayLike, *, transition: ArrayLike, rng: np.random.Generator
) -> NDArray[Any]:
    """Draw an observed label for each true one.

    Parameters
    ----------
    labels : array of int
        True classes, 0 … K − 1.
    transition : array of shape (K, K)
        ``transition[i, j]`` is the probability of observing j where i is true; see `flip_matrix`.
    rng : np.random.Generator
        Source of randomness.

    Returns
    -------
    array of the shape and dtype of labels

    Raises
    ------
    ValueError, TypeError
        If labels are no integers of the range, or a row of `transition` is no distribution.

    Notes
    -----
    A model trained on such labels learns ``probabilities @ transition``.

    References
    ----------
    Patrini et al. (2017).

    Examples
    --------
    >>> label_noise([0, 0, 1, 1], transition=[[0.0, 1.0], [0.0, 1.0]], rng=np.random.default_rng(0))
    array([1, 1, 1, 1])
    """
    chances = array(transition, "transition", ndim=2)
    count = len(chances)
    array(chances, "transition", shape=(count, count))
    real(float(chances.min()), "smallest of transition", low=0)
    sums = chances.sum(axis=1)
    if not np.allclose(sums, 1, rtol=0, atol=float(np.sqrt(np.finfo(chances.dtype).eps))):
        raise ValueError(f"label_noise: transition must have rows that sum to 1; got {sums}")
    given = np.asarray(labels)
    if given.dtype.kind not in "iu":
        raise TypeError(f"label_noise: labels must be whole numbers; got {given.dtype}")
    if given.size and not 0 <= given.min() <= given.max() < count:
        raise ValueError(
            f"label_noise: labels must be in 0 … {count - 1}; got {given.min()} … {given.max()}"
        )
    steps = np.cumsum(chances.astype(np.float64), axis=1)
    # Ends at 1 exactly, so that no draw lies beyond, or in a class of chance 0.
    steps /= steps[:, -1:]
    drawn = generator(rng).random(given.shape)
    return np.asarray((drawn[..., None] >= steps[given]).sum(axis=-1), dtype=given.dtype)


# Images -----------------------------------------------------------------------------------------


def flip_images(images: ArrayLike, *, rng: np.random.Generator, p: float = 0.5) -> Array:
    """Mirror each image left to right with some probability.

    Parameters
    ----------
    images : array of shape (N, C, H, W)
    rng : np.random.Generator
        Source of randomness.
    p : float in [0, 1]
        Probability of mirroring, as in torchvision.

    Returns
    -------
    array of the shape of images

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or `rng` is no generator.

    Notes
    -----
    Keeps the label of photographs, not of digits and letters.

    Examples
    --------
    >>> flip_images(np.array([[[[1.0, 2.0, 3.0]]]]), rng=np.random.default_rng(0), p=1.0)
    array([[[[3., 2., 1.]]]])
    """
    checked = _images(images)
    p = real(p, "p", low=0, high=1)
    mirrored = generator(rng).random(len(checked)) < p
    return np.where(mirrored[:, None, None, None], checked[..., ::-1], checked)


def shift_images(images: ArrayLike, *, pixels: int, rng: np.random.Generator) -> Array:
    """Move each image by some pixels, and fill with zeros.

    Parameters
    ----------
    images : array of shape (N, C, H, W)
    pixels : int
        Largest shift along each axis, ≥ 0; all from −pixels to pixels are equally likely.
    rng : np.random.Generator
        Source of randomness.

    Returns
    -------
    array of the shape of images

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or `rng` is no generator.

    Notes
    -----
    The same as padding by `pixels` and cutting at a random place, torchvision's
    ``RandomCrop(H, padding=pixels)``.

    Examples
    --------
    >>> shift_images(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), pixels=1, rng=np.random.default_rng(3))
    array([[[[0., 3.],
             [0., 0.]]]])
    """
    checked = _images(images)
    pixels = integer(pixels, "pixels", low=0)
    count, _, height, width = checked.shape
    places = generator(rng).integers(2 * pixels + 1, size=(2, count))
    border = [(0, 0), (0, 0), (pixels, pixels), (pixels, pixels)]
    padded = np.pad(checked, border)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    # (N, C, 2·pixels + 1, 2·pixels + 1, H, W): one view of all shifts, of which one is copied
    return np.asarray(windows[np.arange(count), :, places[0], places[1]])
