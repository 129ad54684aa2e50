"""Contract cases of `trainlab.augmentation`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import augmentation as A

BAD_RNG = [0, None, np.random.RandomState(0)]
BAD_X = [np.full((4, 2), np.nan), np.array([["a", "b"]] * 4), np.ones((4, 2), complex)]
BAD_IMAGES = [np.ones((4, 3, 3)), np.full((4, 1, 3, 3), np.inf), np.ones((4, 1, 0, 3)), "x", 1.0]
BAD_TARGETS = [np.arange(4), np.ones(3), 1.0, np.full(4, np.nan), "classes"]
POSITIVE = [0.0, -1.0, np.nan, np.inf, "1", None]
SHARE = [-0.1, 1.1, np.nan, "0.5", None]
BAD_MODE = ["sample", None, 1]


def _noise(factor=1.0):
    return lambda rng, dtype: {
        "x": (factor * rng.standard_normal((4, 2))).astype(dtype),
        "std": 0.5 * factor,
        "rng": rng,
    }


def _ridge(factor=1.0, std=0.5):
    return lambda rng, dtype: {
        "x": (factor * rng.standard_normal((4, 2))).astype(dtype),
        "y": rng.standard_normal(4).astype(dtype),
        "std": std,
    }


def _mixup(factor=1.0, mode="batch"):
    return lambda rng, dtype: {
        "x": (factor * rng.standard_normal((4, 2))).astype(dtype),
        "targets": rng.random((4, 3)).astype(dtype),
        "alpha": 0.5,
        "rng": rng,
        "mode": mode,
    }


def _cutmix(factor=1.0, mode="batch"):
    return lambda rng, dtype: {
        "images": (factor * rng.standard_normal((4, 1, 5, 3))).astype(dtype),
        "targets": rng.random((4, 3)).astype(dtype),
        "rng": rng,
        "mode": mode,
    }


def _images(**more):
    return lambda rng, dtype: {
        "images": rng.standard_normal((4, 1, 3, 3)).astype(dtype),
        "rng": rng,
        **more,
    }


CASES = [
    Case(
        A.input_noise,
        _noise(),
        {"x": BAD_X, "std": [-1.0, np.nan, np.inf, "1", None], "rng": BAD_RNG},
        shape_of="x",
        extreme=[_noise(0.0), _noise(1e-310), _noise(1e300)],
    ),
    Case(
        A.noise_ridge,
        _ridge(),
        {
            "x": [*BAD_X, np.ones(4), np.ones((0, 2))],
            "y": [np.ones(3), np.full(4, np.nan), 1.0, np.ones((4, 1, 1))],
            "std": POSITIVE,
        },
        extreme=[_ridge(0.0), _ridge(1e-300), _ridge(1e100), _ridge(1.0, 1e-12), _ridge(1.0, 1e12)],
    ),
    Case(
        A.mixup,
        _mixup(),
        {
            "x": [*BAD_X, 1.0],
            "targets": BAD_TARGETS,
            "alpha": POSITIVE,
            "rng": BAD_RNG,
            "mode": BAD_MODE,
        },
        shape_of="x",
        extreme=[_mixup(1e300, "row"), _mixup(0.0)],
    ),
    Case(
        A.cut_box,
        lambda rng, dtype: {"height": 4, "width": 5, "lam": 0.5, "rng": rng},
        {"height": [0, 4.0, None], "width": [0, 5.0, None], "lam": SHARE, "rng": BAD_RNG},
    ),
    Case(
        A.cutmix,
        _cutmix(),
        {
            "images": BAD_IMAGES,
            "targets": BAD_TARGETS,
            "rng": BAD_RNG,
            "alpha": POSITIVE,
            "mode": BAD_MODE,
        },
        shape_of="images",
        extreme=[_cutmix(1e300, "row"), _cutmix(0.0)],
    ),
    Case(
        A.flip_matrix,
        lambda rng, dtype: {"num_classes": 4, "flip": 0.2},
        {"num_classes": [1, 4.0, None], "flip": SHARE, "to": ["previous", None]},
        keeps_dtype=False,
    ),
    Case(
        A.label_noise,
        lambda rng, dtype: {
            "labels": np.array([0, 2, 1]),
            "transition": A.flip_matrix(3, flip=0.4).astype(dtype),
            "rng": rng,
        },
        {
            "labels": [np.array([0, 3]), np.array([-1, 0]), np.zeros(3), None],
            "transition": [
                np.ones((3, 3)),
                np.full((3, 2), 0.5),
                np.eye(3) * 2 - np.roll(np.eye(3), 1, axis=1),
                np.full((3, 3), np.nan),
                np.ones(3),
            ],
            "rng": BAD_RNG,
        },
        shape_of="labels",
    ),
    Case(
        A.flip_images,
        _images(),
        {"images": BAD_IMAGES, "rng": BAD_RNG, "p": SHARE},
        shape_of="images",
    ),
    Case(
        A.shift_images,
        _images(pixels=1),
        {"images": BAD_IMAGES, "rng": BAD_RNG, "pixels": [-1, 1.0, None]},
        shape_of="images",
    ),
]
