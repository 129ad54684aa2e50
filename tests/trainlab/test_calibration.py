"""Calibration of classifiers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import calibration as C
from trainlab.classification import cross_entropy


def rng(seed=0):
    return np.random.default_rng(seed)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def drawn(n=2000, classes=4, seed=0):
    """Logits, and labels drawn from them: calibrated at temperature 1."""
    z = 2 * rng(seed).standard_normal((n, classes))
    edges = softmax(z).cumsum(axis=1)
    return z, np.minimum((rng(seed + 1).random((n, 1)) > edges).sum(axis=1), classes - 1)


def test_brier_score_by_hand():
    p = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    assert_close(C.brier_score(p, [0, 1]), (0.09 + 0.04 + 0.01) / 2)
    assert C.brier_score(np.eye(2), [0, 1]) == 0
    assert C.brier_score(np.eye(2), [1, 0]) == 2
    assert type(C.brier_score(p.astype(np.float32), [0, 1])) is float


@pytest.mark.claim("CE-12")
def test_brier_score_is_proper():
    truth = np.array([0.5, 0.3, 0.2])

    def expected(p):
        return sum(w * C.brier_score(p[None], [k]) for k, w in enumerate(truth))

    best = expected(truth)
    assert_close(best, 1 - np.sum(truth**2))
    for other in rng().dirichlet(np.ones(3), 20):
        assert_close(expected(other) - best, np.sum((other - truth) ** 2))


@pytest.mark.referee
def test_brier_score_of_two_classes_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    p = rng().random(50)
    y = (rng(1).random(50) < 0.4).astype(int)
    ours = C.brier_score(np.stack([1 - p, p], axis=1), y)
    assert_close(ours / 2, metrics.brier_score_loss(y, p))


def test_reliability_table_by_hand():
    confidence = np.array([0.55, 0.6, 0.65, 0.75, 0.8, 1.0, 0.5])
    probs = np.stack([confidence, 1 - confidence], axis=1)
    targets = np.array([0, 1, 0, 0, 1, 0, 0])
    table = C.reliability_table(probs, targets, bins=4)
    # 0.5 and 0.75 are upper edges; a tie is answered by the first class
    assert_close(table.lower, np.array([0.25, 0.5, 0.75]))
    assert_close(table.upper, np.array([0.5, 0.75, 1.0]))
    np.testing.assert_array_equal(table.examples, [1, 4, 2])
    assert_close(table.confidence, np.array([0.5, 2.55 / 4, 0.9]))
    assert_close(table.accuracy, np.array([1.0, 0.75, 0.5]))
    error = (1 * 0.5 + 4 * (0.75 - 2.55 / 4) + 2 * 0.4) / 7
    assert_close(C.expected_calibration_error(probs, targets, bins=4), error)
    # 15 bins: 0.55 and 0.6 share (8/15, 9/15]
    np.testing.assert_array_equal(C.reliability_table(probs, targets).examples, [1, 2, 1, 2, 1])
    # one bin: errors up and down cancel
    assert_close(
        C.expected_calibration_error(probs, targets, bins=1), abs(5 / 7 - confidence.mean())
    )


def test_the_default_is_fifteen_bins():
    z, y = drawn()
    p = softmax(z)
    assert C.expected_calibration_error(p, y) == C.expected_calibration_error(p, y, bins=15)
    assert C.expected_calibration_error(p, y) != C.expected_calibration_error(p, y, bins=14)


def test_probabilities_a_rounding_above_one_belong_to_the_last_bin():
    table = C.reliability_table(np.array([[1 + 1e-7, 0.0]], np.float32), [0], bins=3)
    assert_close(table.upper, np.array([1.0]))


def test_an_honest_model_is_calibrated_and_a_sharpened_one_is_not():
    z, y = drawn(20000)
    # the error of 20000 examples in 15 bins is about 0.01 by chance
    assert C.expected_calibration_error(softmax(z), y) < 0.015
    assert C.expected_calibration_error(softmax(2 * z), y) > 0.08
    # shares of the classes as the only answer: useless, and calibrated
    shares = np.tile(np.bincount(y) / len(y), (len(y), 1))
    assert C.expected_calibration_error(shares, y) < 1e-12


def test_two_classes_have_a_temperature_in_closed_form():
    z = np.array([[3.0, 0.0]] * 4)
    assert_close(C.fit_temperature(z, [0, 0, 0, 1]), 3 / math.log(3))
    assert_close(C.fit_temperature(z.astype(np.float32), [0, 0, 0, 1]), 3 / math.log(3))


@pytest.mark.parametrize("scale", [1e-300, 1e-6, 0.3, 1.0, 40.0, 1e300])
def test_temperature_makes_the_loss_smallest_and_scales_with_the_logits(scale):
    z, y = drawn(500)
    t = C.fit_temperature(z, y)
    losses = [cross_entropy(z / s, y) for s in (t * 0.99, t, t * 1.01)]
    assert losses[1] < min(losses[0], losses[2])
    assert_close(C.fit_temperature(scale * z, y), scale * t, rtol=1e-12)  # Newton converges
    # a constant added to the logits of an example changes nothing
    assert_close(C.fit_temperature(z + np.arange(500)[:, None], y), t)


def test_temperature_needs_few_steps_from_any_start():
    # one wrong answer among many: the best inverse temperature is large
    z = np.zeros((1000, 3))
    z[:, 0] = 1e-3
    z[0, 1] = 1.0
    y = np.zeros(1000, int)
    t = C.fit_temperature(z, y)
    slope = cross_entropy(z / (t * 1.001), y) - cross_entropy(z / (t * 0.999), y)
    assert abs(slope) < 1e-8


def test_temperature_repairs_calibration():
    z, y = drawn(4000)
    sharp = 3 * z
    t = C.fit_temperature(sharp[:2000], y[:2000])
    assert abs(t - 3) < 0.3  # about three standard errors
    before, after = (
        C.expected_calibration_error(softmax(v), y[2000:]) for v in (sharp[2000:], sharp[2000:] / t)
    )
    assert before > 0.12
    assert after < 0.04


def test_temperatures_that_do_not_exist_are_refused():
    z = np.array([[1.0, 0.0], [0.0, 1.0]])
    for y in ([0, 1], [1, 0]):
        with pytest.raises(ValueError, match="better than chance, but not all right"):
            C.fit_temperature(z, y)
    with pytest.raises(ValueError, match="better than chance"):
        C.fit_temperature(np.zeros((2, 2)), [0, 1])
    with pytest.raises(ValueError, match="better than chance"):  # as good as chance
        C.fit_temperature(z, [0, 0])


def test_newton_has_the_slope_and_the_curvature_of_the_loss():
    z, y = drawn(50)
    z = z - z.max(axis=1, keepdims=True)
    correct = z[np.arange(50), y]
    slope, curvature = C._slope_and_curvature(z, correct, 0.7)
    losses = [cross_entropy(a * z, y) for a in (0.7 - 1e-4, 0.7, 0.7 + 1e-4)]
    # central differences
    assert_close(slope, (losses[2] - losses[0]) / 2e-4, rtol=1e-5)
    assert_close(curvature, (losses[2] - 2 * losses[1] + losses[0]) / 1e-8, rtol=1e-5)


@pytest.mark.referee
def test_temperature_against_jax():
    jax = pytest.importorskip("jax")
    z, y = drawn(300)
    t = C.fit_temperature(z, y)

    def loss(a):
        return -jax.nn.log_softmax(a * z)[np.arange(300), y].mean()

    with jax.enable_x64(True):
        slope = float(jax.grad(loss)(jax.numpy.asarray(1 / t)))
    assert abs(slope) < 1e-12  # of terms of the size 1
