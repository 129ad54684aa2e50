"""Augmentation: noise, mixing, label noise, flips and shifts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.augmentation import (
    Box,
    cut_box,
    cutmix,
    flip_images,
    flip_matrix,
    input_noise,
    label_noise,
    mixup,
    noise_ridge,
    shift_images,
)
from trainlab.spectral_filters import ridge_factors


def rng(seed=0):
    return np.random.default_rng(seed)


def one_hot(labels, count):
    return np.eye(count)[labels]


# --- noise --------------------------------------------------------------------------------------


def test_noise_has_the_asked_standard_deviation():
    x = np.full((200, 100), 3.0)
    noisy = input_noise(x, std=0.5, rng=rng())
    assert_close(noisy.mean(), 3.0, rtol=4 * 0.5 / 3 / math.sqrt(x.size))  # 4 standard errors
    assert_close(noisy.std(), 0.5, rtol=4 / math.sqrt(2 * x.size))
    assert np.array_equal(input_noise(x, std=0.0, rng=rng()), x)
    assert_close(input_noise(x, std=1.0, rng=rng()) - x, 2 * (noisy - x), atol=1e-12)  # rounding
    for dtype in (np.float16, np.float32):
        assert input_noise(x.astype(dtype), std=0.1, rng=rng()).dtype == dtype
    assert input_noise(np.zeros((0, 2)), std=1.0, rng=rng()).shape == (0, 2)


def test_noise_on_the_inputs_is_ridge():
    r = rng(1)
    x, y = r.standard_normal((60, 4)), r.standard_normal((60, 2))
    std = 0.7
    weight = noise_ridge(x, y, std=std)
    # the normal equations of 1/(2n)‖xw − y‖² + std²/2 ‖w‖²
    normal = x.T @ x / 60 + std**2 * np.eye(4)
    assert_close(weight, np.linalg.solve(normal, x.T @ y / 60))
    # the filter factors of the same penalty
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    shrunk = ridge_factors(s, std**2, n=60)[:, None] * (u.T @ y) / s[:, None]
    assert_close(weight, vt.T @ shrunk)
    assert_close(noise_ridge(x, y[:, 0], std=std), weight[:, 0])


def test_fitting_noisy_copies_comes_close_to_ridge():
    """2000 noisy copies, far from the fit without noise."""
    r = rng(2)
    x = r.standard_normal((40, 3)) @ np.array([[1.0, 0.9, 0.0], [0.0, 0.3, 0.2], [0.0, 0.0, 0.3]])
    y = x @ np.array([1.0, -1.0, 2.0]) + 0.1 * r.standard_normal(40)
    copies = np.concatenate([input_noise(x, std=0.3, rng=r) for _ in range(2000)])
    fitted = np.linalg.lstsq(copies, np.tile(y, 2000), rcond=None)[0]
    ridge, plain = noise_ridge(x, y, std=0.3), np.linalg.lstsq(x, y, rcond=None)[0]
    assert np.abs(fitted - ridge).max() < 0.01
    assert np.abs(plain - ridge).max() > 0.2


def test_more_features_than_examples():
    x, y = rng(3).standard_normal((3, 8)), rng(4).standard_normal(3)
    weight = noise_ridge(x, y, std=0.1)
    assert_close(x.T @ (y - x @ weight) / 3, 0.01 * weight)


# --- mixing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_mixup_mixes_inputs_and_targets_alike(mode):
    x, labels = rng(5).standard_normal((6, 3, 2)), np.arange(6) % 4
    targets = one_hot(labels, 4)
    mixed = mixup(x, targets, alpha=0.7, rng=rng(6), mode=mode)
    assert sorted(mixed.partner) == list(range(6))
    assert not np.array_equal(mixed.partner, np.arange(6))
    for i, (lam, j) in enumerate(zip(mixed.lam, mixed.partner, strict=True)):
        assert_close(mixed.x[i], lam * x[i] + (1 - lam) * x[j])
        assert_close(mixed.targets[i], lam * targets[i] + (1 - lam) * targets[j])
    assert_close(mixed.targets.sum(axis=1), np.ones(6))
    assert len(set(mixed.lam)) == (1 if mode == "batch" else 6)


def test_mixup_has_one_share_a_batch_unless_asked():
    x = np.arange(8.0)
    assert len(set(mixup(x, x, alpha=1.0, rng=rng()).lam)) == 1
    assert_close(mixup(x, x, alpha=1.0, rng=rng()).x, mixup(x, x, alpha=1.0, rng=rng()).targets)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_of_mixup_have_the_beta_distribution(alpha):
    x = np.zeros(20_000)
    lam = mixup(x, x, alpha=alpha, rng=rng(7), mode="row").lam
    variance = 1 / (4 * (2 * alpha + 1))
    assert_close(lam.mean(), 0.5, rtol=4 * math.sqrt(variance / x.size) / 0.5)  # 4 standard errors
    assert_close(lam.var(), variance, rtol=0.05)  # 20 000 draws


@pytest.mark.parametrize("alpha", [5e-324, 1e-10, 1e300])
def test_extreme_alpha(alpha):
    x = rng(8).standard_normal((4, 2))
    mixed = mixup(x, x, alpha=alpha, rng=rng(9), mode="row")
    assert np.isfinite(mixed.x).all()
    assert ((mixed.lam == 0.5) if alpha > 1 else np.isin(mixed.lam, (0, 1))).all()


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_class_indices_cannot_be_mixed(mix):
    more = {"alpha": 1.0, "rng": rng()}
    x = np.zeros((2, 1, 4, 4))
    for wrong in ([0, 1], np.array([True, False]), np.eye(2, dtype=int)):
        with pytest.raises(TypeError, match="class indices cannot be mixed"):
            mix(x, wrong, **more)
    empty = mix(np.zeros((0, 1, 4, 4)), np.zeros((0, 2)), mode="row", **more)
    assert empty.x.shape == (0, 1, 4, 4)
    assert empty.lam.shape == (0,)
    empty = mix(np.zeros((0, 1, 4, 4)), np.zeros((0, 2)), **more)
    assert empty.targets.shape == (0, 2)


class Fixed(np.random.Generator):
    """Centers that are known beforehand."""

    def __init__(self, *centers):
        super().__init__(np.random.PCG64(0))
        self.centers = iter(centers)

    def integers(self, high):
        center = next(self.centers)
        assert 0 <= center < high
        return center


def test_boxes_by_hand():
    # √(1 − 0.75) = 1/2: sides of 4 and 8, which leave the image at the border
    assert cut_box(8, 16, lam=0.75, rng=Fixed(4, 8)) == Box(2, 6, 4, 12)
    assert cut_box(8, 16, lam=0.75, rng=Fixed(0, 15)) == Box(0, 2, 11, 16)
    # 7 · 0.5 = 3.5 becomes 3, and half of it 1
    assert cut_box(7, 7, lam=0.75, rng=Fixed(3, 6)) == Box(2, 4, 5, 7)
    assert cut_box(8, 8, lam=1.0, rng=Fixed(3, 3)) == Box(3, 3, 3, 3)
    assert cut_box(8, 8, lam=0.0, rng=Fixed(4, 4)) == Box(0, 8, 0, 8)


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_cutmix_mixes_targets_by_the_area_that_was_pasted(mode):
    values = np.arange(8.0) + 1
    images = np.broadcast_to(values[:, None, None, None], (8, 2, 6, 5))
    targets = one_hot(np.arange(8), 8)
    boxes = set()
    for i in range(20):
        mixed = cutmix(images, targets, alpha=1.0, rng=rng(i), mode=mode)
        for own, partner, x, target, lam in zip(
            values, mixed.partner, mixed.x, mixed.targets, mixed.lam, strict=True
        ):
            assert set(np.unique(x)) <= {own, values[partner]}
            if values[partner] != own:
                kept = x == own
                assert_close(kept.mean(), lam)
                assert_close(target[int(own) - 1], lam)
                assert_close(target[partner], 1 - lam, atol=1e-15)  # may be 0
                assert np.array_equal(kept[0], kept[1])  # the same box in all channels
                boxes.add(kept[0].tobytes())
        if mode == "batch":
            assert len(set(mixed.lam)) == 1
        assert_close(mixed.targets.sum(axis=1), np.ones(8))
    assert len(boxes) > 10


def test_cutmix_has_one_box_and_a_uniform_share_unless_asked():
    images = np.zeros((4, 1, 64, 64))
    same = [cutmix(images, np.ones(4), rng=rng(1), **more) for more in ({}, {"alpha": 1.0})]
    assert np.array_equal(same[0].lam, same[1].lam)
    assert len(set(same[0].lam)) == 1
    other = cutmix(images, np.ones(4), rng=rng(1), alpha=0.3)
    assert other.lam[0] != same[0].lam[0]


# --- label noise --------------------------------------------------------------------------------


def test_transition_matrices():
    assert_close(flip_matrix(4, flip=0.3), 0.6 * np.eye(4) + 0.1)
    assert_close(flip_matrix(4, flip=0.4, to="any"), 0.6 * np.eye(4) + 0.1)
    expected = [[0.7, 0.3, 0.0], [0.0, 0.7, 0.3], [0.3, 0.0, 0.7]]
    assert_close(flip_matrix(3, flip=0.3, to="next"), np.array(expected))
    for to in ("others", "any", "next"):
        assert_close(flip_matrix(5, flip=0.9, to=to).sum(axis=1), np.ones(5))
        assert np.array_equal(flip_matrix(5, flip=0.0, to=to), np.eye(5))
    assert_close(np.diag(flip_matrix(10, flip=0.4, to="any")), np.full(10, 0.64))
    assert_close(np.diag(flip_matrix(10, flip=0.4)), np.full(10, 0.6))
    assert_close(flip_matrix(2, flip=1.0), np.array([[0.0, 1.0], [1.0, 0.0]]))


def test_observed_labels_have_the_transition_s_frequencies():
    transition = np.array([[0.5, 0.2, 0.3], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]])
    labels = np.repeat(np.arange(3), 20_000).reshape(3, 200, 100)
    noisy = label_noise(labels, transition=transition, rng=rng(1))
    assert noisy.shape == labels.shape
    assert noisy.dtype == labels.dtype
    found = np.stack([np.bincount(noisy[i].ravel(), minlength=3) for i in range(3)]) / 20_000
    # 4 standard errors at most
    assert_close(found, transition, atol=4 * 0.5 / math.sqrt(20_000), rtol=0)
    assert (found[transition == 0] == 0).all()


def test_classes_of_no_chance_are_never_drawn():
    """The sum of a row may end below 1, and its last classes have no chance."""
    transition = np.array([[0.1] * 10 + [0.0], *[[1.0] + [0.0] * 10] * 10])

    class Last(np.random.Generator):
        def __init__(self):
            super().__init__(np.random.PCG64(0))

        def random(self, size):
            return np.full(size, np.nextafter(1, 0))

    assert label_noise([0, 5], transition=transition, rng=Last()).tolist() == [9, 0]
    labels = np.array([2, 0], np.int8)
    kept = label_noise(labels, transition=np.eye(3), rng=rng())
    assert kept.tolist() == [2, 0]
    assert kept.dtype == np.int8
    assert label_noise(np.zeros(0, int), transition=np.eye(2), rng=rng()).shape == (0,)


# --- images -------------------------------------------------------------------------------------


def test_flips():
    images = rng(2).standard_normal((400, 2, 3, 5))
    flipped = flip_images(images, rng=rng(3))
    mirrored = np.array(
        [np.array_equal(a, b[..., ::-1]) for a, b in zip(flipped, images, strict=True)]
    )
    same = np.array([np.array_equal(a, b) for a, b in zip(flipped, images, strict=True)])
    assert (mirrored ^ same).all()
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / 20  # 4 standard errors
    assert np.array_equal(flip_images(images, rng=rng(), p=0.0), images)
    assert np.array_equal(flip_images(images, rng=rng(), p=1.0), images[..., ::-1])
    assert flip_images(images[:0], rng=rng()).shape == (0, 2, 3, 5)


def test_shifts():
    images = rng(4).standard_normal((300, 2, 4, 3))
    shifted = shift_images(images, pixels=1, rng=rng(5))
    padded = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)])
    found = []
    for i in range(300):
        places = [
            (r, c)
            for r in range(3)
            for c in range(3)
            if np.array_equal(shifted[i], padded[i, :, r : r + 4, c : c + 3])
        ]
        assert len(places) == 1
        found += places
    counts = np.array([found.count((r, c)) for r in range(3) for c in range(3)])
    assert counts.min() > 10  # 33 expected
    assert np.array_equal(shift_images(images, pixels=0, rng=rng()), images)
    assert shift_images(images.astype(np.float32), pixels=2, rng=rng()).dtype == np.float32
    assert shift_images(images[:0], pixels=2, rng=rng()).shape == (0, 2, 4, 3)


# --- referees -----------------------------------------------------------------------------------


@pytest.mark.referee
def test_scikit_learn_s_ridge_agrees():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = rng(1).standard_normal((30, 4)), rng(2).standard_normal((30, 2))
    ridge = linear_model.Ridge(alpha=30 * 0.4**2, fit_intercept=False, solver="svd").fit(x, y)
    assert_close(noise_ridge(x, y, std=0.4), ridge.coef_.T, rtol=1e-10)


@pytest.mark.referee
def test_loss_of_mixed_targets_is_the_mixed_loss_in_torch():
    torch = pytest.importorskip("torch")
    labels, logits = np.array([0, 2, 1, 2]), torch.tensor(rng(1).standard_normal((4, 3)))
    mixed = mixup(np.zeros((4, 1)), one_hot(labels, 3), alpha=1.0, rng=rng(2))
    loss = torch.nn.functional.cross_entropy
    lam, partner = mixed.lam[0], torch.tensor(labels[mixed.partner])
    both = lam * loss(logits, torch.tensor(labels)) + (1 - lam) * loss(logits, partner)
    assert_close(float(loss(logits, torch.tensor(mixed.targets))), float(both), rtol=1e-10)
