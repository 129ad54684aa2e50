"""What augmentation does to a linear model, and what the stored runs on the digits show."""

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.augmentation import augmentation_penalty, input_noise, noise_ridge
from trainlab.datasets import digits
from trainlab.explorers.data._contour import contour_lines
from trainlab.sweeps import stored_run
from trainlab.sweeps.data_augmentation import METHODS, augmented


def rng(seed=0):
    return np.random.default_rng(seed)


# --- augmentation of a linear model -------------------------------------------------------------


def test_penalty_by_hand():
    mean, matrix = augmentation_penalty([[[0.0, 2.0], [1.0, 1.0]], [[4.0, 2.0], [1.0, 3.0]]])
    assert_close(mean, [[2.0, 2.0], [1.0, 2.0]])
    assert_close(matrix, [[2.0, 0.0], [0.0, 0.5]])


def test_mean_and_penalty_are_the_loss_over_all_copies():
    r = rng(1)
    copies, y, w = r.standard_normal((5, 7, 3)), r.standard_normal(7), r.standard_normal(3)
    mean, matrix = augmentation_penalty(copies)
    over_copies = np.mean((copies @ w - y) ** 2)
    assert_close(over_copies, np.mean((mean @ w - y) ** 2) + w @ matrix @ w)


def test_a_full_orbit_makes_the_weights_invariant():
    """Half turns of 6 and 9: the part of the weights that could tell them apart is 0."""
    pixels, labels = digits(part="train")
    rows = np.isin(labels, (6, 9))
    x, y = pixels[rows][:100], np.where(labels[rows] == 6, 1.0, -1.0)[:100]
    mean, matrix = augmentation_penalty(np.stack([x, x[:, ::-1]]))
    normal = mean.T @ mean / len(x) + matrix + 0.01 * np.eye(64)
    w = np.linalg.solve(normal, mean.T @ y / len(x))
    assert_close(w, w[::-1], atol=1e-12)  # of weights of size 0.1: rounding of a solution


def test_noise_has_the_penalty_of_ridge():
    r = rng(2)
    x, y = r.standard_normal((20, 3)), r.standard_normal(20)
    copies = np.stack([input_noise(x, std=0.5, rng=r) for _ in range(4000)])
    mean, matrix = augmentation_penalty(copies)
    assert np.abs(matrix - 0.25 * np.eye(3)).max() < 0.01  # 80,000 draws: error 0.001
    w = np.linalg.solve(mean.T @ mean / 20 + matrix, mean.T @ y / 20)
    assert np.abs(w - noise_ridge(x, y, std=0.5)).max() < 0.02


# --- stored runs: what the page says of them ----------------------------------------------------


def gains(measure, method, n, wrong):
    """Paired differences from the run without augmentation, one a seed."""
    one, none = (
        np.array(stored_run("data_augmentation", method=m, n=n, wrong=wrong)[measure])
        for m in (method, "none")
    )
    return one - none


@pytest.mark.parametrize("n", [100, 300, 1000])
def test_wrong_bets_cost_accuracy_with_right_labels(n):
    for method in ("shift", "flip", "rotate"):
        assert gains("accuracy", method, n, 0.0).mean() < -0.01


@pytest.mark.parametrize("n", [100, 300, 1000])
def test_a_shift_pays_where_the_test_data_are_shifted(n):
    assert (gains("off_center", "shift", n, 0.0) > 0.35).all()


def test_with_wrong_labels_even_wrong_bets_help():
    for n in (300, 1000):
        for method in ("noise", "shift", "flip", "rotate", "mixup", "cutmix"):
            assert gains("accuracy", method, n, 0.4).mean() > 0.03
            assert (gains("memorized", method, n, 0.4) < 0).all()


def test_a_wrong_label_is_not_a_wrong_answer():
    """40 % wrong labels leave far more than 60 % right answers."""
    run = stored_run("data_augmentation", method="none", n=1000, wrong=0.4)
    assert min(run["accuracy"]) > 0.8


def test_mixup_on_clean_digits_lowers_confidence_and_not_the_error():
    for n in (300, 1000):
        assert abs(gains("accuracy", "mixup", n, 0.0).mean()) < 0.005
        assert (gains("confidence", "mixup", n, 0.0) < -0.05).all()
        assert (gains("loss", "mixup", n, 0.0) > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_batches_keep_their_runs_apart(method):
    """What is done to one run does not depend on the examples of another."""
    r = rng(3)
    x, targets = r.random((3, 4, 64)), np.eye(10)[r.integers(10, size=(3, 4))]
    other = x.copy()
    other[1:] = r.random((2, 4, 64))
    first, labels = augmented(method, x, targets, rng(4))
    second, _ = augmented(method, other, targets, rng(4))
    assert first.shape == x.shape
    assert labels.shape == targets.shape
    assert_close(first[0], second[0])
    assert_close(labels.sum(axis=-1), np.ones((3, 4)))


def test_some_mixup_lowers_the_loss_of_the_toys_and_much_costs_accuracy():
    for data in ("moons", "circles"):
        none, some, much = (
            {
                k: np.mean(stored_run("mixup_boundary", data=data, alpha=a)[k])
                for k in ("loss", "accuracy", "confidence")
            }
            for a in (0.0, 0.2, 2.0)
        )
        assert some["loss"] < none["loss"] / 2
        assert some["loss"] < much["loss"]
        assert much["accuracy"] < none["accuracy"] - 0.02
        # too sure without, not sure enough with much
        assert none["confidence"] > none["accuracy"] + 0.02
        assert much["confidence"] < much["accuracy"] - 0.02


# --- lines of the picture of the decision boundary ----------------------------------------------


def test_a_contour_by_hand():
    """One corner of a cell is above: the line cuts it off, at the interpolated places."""
    (line,) = contour_lines([0.0, 1.0], [0.0, 2.0], [[0.0, 4.0], [0.0, 0.0]], 1.0)
    assert_close(line[np.argsort(line[:, 0])], [[0.25, 0.0], [1.0, 1.5]])


@pytest.mark.parametrize("high", [True, False])
def test_the_mean_decides_a_saddle(high):
    """Lines cut off the two corners that the mean of the cell is not like."""
    z = [[3.0, -1.0], [-1.0, 3.0]] if high else [[1.0, -3.0], [-3.0, 1.0]]
    lines = contour_lines([0.0, 1.0], [0.0, 1.0], z, 0.0)
    cut_off = {tuple(np.round(line.mean(axis=0)).astype(int).tolist()) for line in lines}
    assert cut_off == ({(1, 0), (0, 1)} if high else {(0, 0), (1, 1)})


def test_a_closed_contour_ends_where_it_starts():
    axis = np.linspace(-2, 2, 41)
    (line,) = contour_lines(axis, axis, axis**2 + axis[:, None] ** 2, 1.0)
    assert_close(line[0], line[-1])
    assert np.abs(np.hypot(*line.T) - 1).max() < 0.002  # a chord of 0.1: curvature·0.1²/8


@pytest.mark.referee
def test_contours_are_those_of_matplotlib():
    contourpy = pytest.importorskip("contourpy")
    x, y = np.arange(12.0), np.linspace(0, 3, 9)
    z = rng(5).standard_normal((9, 12)).round(1)
    for level in (-0.73, 0.0, 0.41):
        one, other = (
            sorted(float(np.hypot(*np.diff(line, axis=0).T).sum()) for line in lines)
            for lines in (
                contour_lines(x, y, z, level),
                contourpy.contour_generator(x, y, z).lines(level),
            )
        )
        assert_close(one, other)
