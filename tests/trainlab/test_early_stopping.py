"""Early stopping: the rule, the optimism of what is picked, and the penalty it amounts to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainlab.closeness import assert_close
from trainlab.early_stopping import (
    EarlyStoppingState,
    descent_factors,
    early_stopping_init,
    early_stopping_update,
    equivalent_weight_decay,
    expected_maximum,
    picked_score,
    stopping_points,
)
from trainlab.explorers.early_stopping.gap import _draws as gap_draws
from trainlab.explorers.early_stopping.gap import losses as gap_losses
from trainlab.penalized_regression import ridge_path
from trainlab.spectral_filters import flow_factors, ridge_factors
from trainlab.sweeps import stored_run


def rng(seed=0):
    return np.random.default_rng(seed)


def run(scores, **rule):
    state = early_stopping_init("start")
    for step, score in enumerate(scores):
        state = early_stopping_update(score, state, f"params {step}", **rule)
        if state.stop:
            break
    return state


# --- the rule -----------------------------------------------------------------------------------


@pytest.mark.claim("ES-02")
def test_stops_after_patience_scores_without_improvement_and_restores_the_best():
    scores = [3.0, 2.0, 2.5, 2.1, 1.5, 1.6, 1.7, 1.8, 0.1]
    state = run(scores, patience=3)
    assert state == EarlyStoppingState(1.5, 4, 8, 3, True, "params 4")
    assert run(scores, patience=2).params == "params 1"  # stops at 2.5, 2.1
    assert run(scores, patience=1).step == 3
    state = run(scores, patience=4)
    assert (state.best, state.best_step, state.wait, state.stop) == (0.1, 8, 0, False)
    assert state.params == "params 8"
    assert early_stopping_init("start").params == "start"
    assert early_stopping_init().params is None


@pytest.mark.claim("ES-02")
def test_what_is_watched_is_validation_not_training():
    """A training loss always improves, and never stops a run."""
    t = np.arange(300)
    training = np.exp(-t / 50)
    validation = 0.3 + np.exp(-t / 25) + 0.001 * np.maximum(t - 100, 0)
    assert not stopping_points(training, patience=5).stopped
    stops = stopping_points(validation, patience=5)
    assert stops.stopped
    assert int(stops.best) == int(np.argmin(validation)) == 100
    assert int(stops.stop) == int(stops.best) + 5


def test_an_equal_score_is_no_improvement():
    assert run([1.0, 1.0], patience=1).stop
    assert run([1.0, 1.0], patience=1).best_step == 0
    state = run([0.0, 0.0, -1.0], patience=2)
    assert (state.best, state.stop) == (-1.0, False)


def test_min_delta_is_absolute_and_exclusive():
    assert run([1.0, 0.75], patience=1, min_delta=0.25).stop
    assert not run([1.0, 0.74], patience=1, min_delta=0.25).stop
    assert run([1.0, 0.74], patience=1, min_delta=0.25).best == 0.74
    # the best moves with counted improvements only, so that small steps add up
    state = run([1.0, 0.9, 0.8, 0.7], patience=4, min_delta=0.25)
    assert (state.best, state.best_step, state.wait) == (0.7, 3, 0)
    assert run([1.0, 0.9, 0.8, 0.7], patience=2, min_delta=0.25).best == 1.0


def test_larger_is_better_for_metrics():
    state = run([0.5, 0.7, 0.6, 0.69], patience=2, mode="max")
    assert state == EarlyStoppingState(0.7, 1, 4, 2, True, "params 1")
    assert not run([0.5, 0.8], patience=1, min_delta=0.25, mode="max").stop
    assert run([0.5, 0.75], patience=1, min_delta=0.25, mode="max").stop
    assert run([0.5, 0.4], patience=1).best == 0.4  # "min" if nothing is said


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=20),
    st.integers(1, 5),
    st.sampled_from([0.0, 1.0, 1.5]),
    st.sampled_from(["min", "max"]),
)
def test_whole_curves_stop_where_the_rule_does(scores, patience, min_delta, mode):
    rule = {"patience": patience, "min_delta": min_delta, "mode": mode}
    state = run([float(s) for s in scores], **rule)
    stops = stopping_points(np.array([scores, scores[::-1]], float), **rule)
    assert (stops.stop[0] + 1, stops.best[0], stops.stopped[0]) == (
        state.step,
        state.best_step,
        state.stop,
    )
    alone = stopping_points(np.array(scores, np.float32), **rule)
    assert (int(alone.stop), int(alone.best)) == (stops.stop[0], stops.best[0])


def test_curves_of_any_number_of_axes():
    curves = rng().standard_normal((2, 3, 30))
    stops = stopping_points(curves, patience=4)
    assert stops.stop.shape == stops.best.shape == stops.stopped.shape == (2, 3)
    assert int(stops.stop[1, 2]) == int(stopping_points(curves[1, 2], patience=4).stop)
    assert stopping_points(np.zeros((2, 1)), patience=1).stop.tolist() == [0, 0]


def valley(steps=200):
    """A validation loss that is lowest at 100."""
    t = np.arange(steps)
    return 0.3 + np.exp(-t / 25) + 0.001 * np.maximum(t - 100, 0)


@pytest.mark.claim("ES-03")
@pytest.mark.parametrize(
    ("noise", "patience", "early", "excess"),
    [
        (0.03, 2, 1.00, 0.606),
        (0.03, 5, 0.56, 0.180),
        (0.03, 10, 0.02, 0.057),
        (0.03, 20, 0.00, 0.014),
        (0.1, 10, 0.53, 0.233),
        (0.01, 2, 0.83, 0.204),
    ],
)
def test_patience_has_to_exceed_the_noise(noise, patience, early, excess):
    true = valley()
    curves = true + noise * rng(1).standard_normal((2000, 200))
    stops = stopping_points(curves, patience=patience)
    # 2000 runs: 4 standard errors of a share are 0.045 at most
    assert abs(np.mean(stops.stop < 50) - early) < 0.045
    assert abs(np.mean(true[stops.best] - true.min()) - excess) < 0.015


@pytest.mark.claim("ES-03")
def test_small_steady_gains_look_like_none():
    true = valley()
    stops = stopping_points(true, patience=2, min_delta=0.01)
    assert int(stops.stop) == 53
    assert round(true[stops.best] - true.min(), 3) == 0.112


# --- optimism -----------------------------------------------------------------------------------


@pytest.mark.claim("ES-04")
@pytest.mark.parametrize(("count", "mean"), [(10, 1.54), (100, 2.51), (1000, 3.24)])
def test_the_best_of_equals_looks_better_than_they_are(count, mean):
    assert round(expected_maximum(count), 2) == mean
    picked = picked_score(np.full(count, 0.4), std=0.1)
    assert_close(picked.optimism, 0.1 * expected_maximum(count))
    assert_close(picked.value, 0.4)
    assert_close(picked.score, 0.4 - 0.1 * expected_maximum(count))
    assert_close(picked.chances, np.full(count, 1 / count))


def test_expected_maxima_in_closed_form():
    assert_close(expected_maximum(1), 0.0, atol=1e-14)  # an odd function
    assert_close(expected_maximum(2), 1 / math.sqrt(math.pi), rtol=1e-12)
    assert_close(expected_maximum(3), 1.5 / math.sqrt(math.pi), rtol=1e-12)
    four = 3 / math.sqrt(math.pi) * (0.5 + math.asin(1 / 3) / math.pi)
    assert_close(expected_maximum(4), four, rtol=1e-12)
    assert expected_maximum(10**15) < math.sqrt(2 * math.log(10**15))
    assert expected_maximum(10**15) > 7.9


def test_two_candidates_in_closed_form():
    gap, std = 0.3, 0.2
    picked = picked_score([1.0, 1.0 + gap], std=std)
    spread = std * math.sqrt(2)
    wrong = math.erfc(gap / spread / math.sqrt(2)) / 2
    density = math.exp(-((gap / spread) ** 2) / 2) / math.sqrt(2 * math.pi)
    assert_close(picked.chances, np.array([1 - wrong, wrong]))
    assert_close(picked.value, 1.0 + gap * wrong)
    assert_close(picked.score, 1.0 + gap * wrong - spread * density)
    assert_close(picked.optimism, spread * density)


def test_metrics_are_losses_with_the_other_sign():
    values = np.array([0.7, 0.9, 0.88])
    largest, smallest = picked_score(values, std=0.05, mode="max"), picked_score(-values, std=0.05)
    assert_close(largest.score, -smallest.score)
    assert_close(largest.value, -smallest.value)
    assert_close(largest.optimism, smallest.optimism)
    assert_close(largest.chances, smallest.chances)
    assert largest.score > largest.value > 0


@pytest.mark.claim("ES-04")
def test_the_picked_score_agrees_with_simulated_runs():
    true, noise = valley(), 0.03
    scores = true + noise * rng(2).standard_normal((4000, 200))
    chosen = scores.argmin(axis=1)
    picked = picked_score(true, std=noise)
    assert abs(scores.min(axis=1).mean() - picked.score) < 4 * 0.012 / math.sqrt(4000)
    assert abs(true[chosen].mean() - picked.value) < 4 * 0.02 / math.sqrt(4000)
    assert round(picked.optimism, 3) == 0.070
    # a fresh test set has no part in the choice
    test = true + noise * rng(3).standard_normal((4000, 200))
    unbiased = np.take_along_axis(test, chosen[:, None], axis=1).mean()
    assert abs(unbiased - picked.value) < 4 * 0.04 / math.sqrt(4000)


@pytest.mark.parametrize("values", [[1.0], [0.0, 1e300], [-1e308, 1e308], [5.0, 5.0 + 1e-9]])
def test_clear_choices(values):
    picked = picked_score(values, std=1e-10)
    assert_close(picked.chances[0], 1.0)
    assert_close(picked.value, values[0], atol=1e-14)
    assert_close(picked.optimism, 0.0, atol=1e-12)


# --- a stop as a penalty ------------------------------------------------------------------------


@pytest.mark.claim("ES-05")
def test_few_steps_and_a_penalty_shrink_the_same_directions():
    curvature = np.array([0.01, 0.1, 1.0])
    stop = descent_factors(np.sqrt(curvature), 40, lr=0.5, n=1)
    assert stop.round(3).tolist() == [0.182, 0.871, 1.0]
    lam = equivalent_weight_decay(40, lr=0.5)
    assert_close(lam, 0.05)
    ridge = ridge_factors(np.sqrt(curvature), lam, n=1)
    assert ridge.round(3).tolist() == [0.167, 0.667, 0.952]
    assert (stop > ridge).all()


@pytest.mark.claim("ES-05")
def test_flow_and_ridge_differ_by_a_fifth_at_most():
    h = np.linspace(0.001, 20, 200_001)
    gap = np.abs(flow_factors(np.sqrt(h), 1.0, n=1) - ridge_factors(np.sqrt(h), 1.0, n=1))
    assert_close(gap.max(), 0.2036, rtol=5e-4)  # four digits
    assert_close(h[gap.argmax()], 2.513, rtol=5e-4)


@pytest.mark.claim("ES-05")
def test_descent_factors_are_what_descent_does():
    r = rng(4)
    x, y, lr = r.standard_normal((12, 5)), r.standard_normal(12), 0.3
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    w = np.zeros(5)
    for step in range(1, 51):
        w -= lr * x.T @ (x @ w - y) / 12
        if step in (1, 7, 50):
            factors = descent_factors(s, step, lr=lr, n=12)
            assert_close(w, vt.T @ (factors / s * (u.T @ y)), atol=1e-12)  # cancellation
    # small steps are the flow
    assert_close(descent_factors(s, 10_000, lr=1e-4, n=12), flow_factors(s, 1.0, n=12), rtol=1e-3)


def test_descent_factors_of_many_steps():
    s = np.array([[0.5, 1.0], [1.2, 0.0]])
    steps = np.array([0, 1, 2, 3])
    factors = descent_factors(s, steps, lr=1.0, n=1)
    assert factors.shape == (2, 2, 4)
    by_hand = 1 - (1 - s[..., None] ** 2) ** steps
    assert_close(factors, by_hand)
    assert_close(factors[0, 1], np.array([0.0, 1.0, 1.0, 1.0]))  # one step fits it
    assert factors[1, 0, 1] > 1 > factors[1, 0, 2]  # too far, and back
    for i in range(4):
        assert_close(descent_factors(s, i, lr=1.0, n=1), by_hand[..., i])
    assert_close(descent_factors([2.0], 3, lr=0.2, n=4), np.array([1 - 0.8**3]))


def test_tiny_factors_keep_their_digits():
    assert_close(descent_factors([1e-9], 1000, lr=0.5, n=1), np.array([5e-16]))
    assert descent_factors(np.array([0.5, 1.0], np.float32), 3, lr=0.5, n=1).dtype == np.float32


def test_steps_that_diverge_are_refused():
    with pytest.raises(ValueError, match="lr must be below 2n/s"):
        descent_factors([0.1, 2.0], 5, lr=0.5, n=1)
    assert np.isfinite(descent_factors([0.1, 2.0], 5, lr=0.4999, n=1)).all()
    with pytest.raises(ValueError, match="lr must be below"):
        descent_factors([1e200], 5, lr=0.5, n=1)


# --- referees -----------------------------------------------------------------------------------


@pytest.mark.referee
def test_scikit_learn_s_ridge_has_the_equivalent_penalty():
    linear_model = pytest.importorskip("sklearn.linear_model")
    r = rng(5)
    x, y = r.standard_normal((40, 6)) * np.geomspace(1, 0.1, 6), r.standard_normal(40)
    lam = equivalent_weight_decay(200, lr=0.1)
    ridge = linear_model.Ridge(alpha=40 * lam, fit_intercept=False, solver="svd").fit(x, y).coef_
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    stopped = vt.T @ (descent_factors(s, 200, lr=0.1, n=40) / s * (u.T @ y))
    plain = vt.T @ (u.T @ y / s)
    assert np.linalg.norm(stopped - ridge) < 0.3 * np.linalg.norm(ridge)
    assert np.linalg.norm(plain - ridge) > np.linalg.norm(ridge)


# --- the gap between training and validation is not the objective ---------------------------------


def ridge_losses(strengths, *, seed, n=25, features=20, noise=1.0):
    """Training loss, exact validation loss; the last column is the loss of guessing 0."""
    r = rng(seed)
    w = r.standard_normal(features)
    w *= math.sqrt(features / np.sum(w**2))
    x = r.standard_normal((n, features))
    y = x @ w + noise * r.standard_normal(n)
    fits = np.vstack([ridge_path(x, y, l2=strengths), np.zeros(features)])
    return np.mean((fits @ x.T - y) ** 2, axis=1), np.sum((fits - w) ** 2, axis=1) + noise**2


@pytest.mark.claim("CURVE-01")
def test_guessing_a_constant_has_no_gap_and_the_worst_loss():
    """Constant 21.0, 17.4, gap −3.6; least squares .23, 2.57, 2.34; ridge .25, 1.97, 1.72.

    Those are one data set; the gap of a constant is the luck of the training sample, 0 on average.
    """
    strengths = np.geomspace(1e-3, 1, 13)
    made = [ridge_losses(np.append([0.0], strengths), seed=seed, n=30) for seed in range(200)]
    train, validation = np.mean(made, axis=0)  # (strengths,)
    gap = validation - train
    # ‖w‖² + σ²; the training loss of 200 sets of 30 has a standard error of 0.4
    assert_close(validation[-1], 21.0)
    assert abs(gap[-1]) < 1.6
    assert validation[-1] == validation.max()
    assert_close(train[0], 1 - 20 / 30, rtol=0.1)  # σ²(1 − p/n)
    assert_close(validation[0], 1 + 20 / 9, rtol=0.15)  # σ²(1 + p/(n − p − 1)), heavy-tailed
    best = validation.argmin()
    assert 0 < best < len(strengths)
    assert gap[best] > 1.5
    # one sample of the constant's gap is as large as 3.6 in many cases
    single = np.array([v[-1] - t[-1] for t, v in made])
    assert 0.3 < np.mean(np.abs(single) > 3.6) < 0.7


@pytest.mark.claim("CURVE-02")
def test_the_gap_goes_to_zero_while_the_validation_loss_explodes():
    strengths = np.geomspace(1e-3, 1e3, 25)
    made = [ridge_losses(strengths, seed=seed) for seed in range(200)]
    train, validation = np.mean(made, axis=0)[:, :-1]
    gap = validation - train
    best = validation.argmin()
    assert 0.01 < strengths[best] < 0.1
    assert gap[best] > 2.5
    assert gap[-1] < 1  # the rest is sampling
    assert gap.argmin() == len(strengths) - 1
    assert validation[-1] > 5.5 * validation[best]
    assert (np.diff(validation[best:]) > 0).all()


@pytest.mark.parametrize("examples", [25, 100])
def test_the_losses_of_the_picture_are_those_of_ridge(examples):
    x, w, disturbance = (made[:, :examples] for made in gap_draws())
    y = x @ w + 0.7 * disturbance
    strengths = np.array([0.01, 1.0, 100.0])
    fits = [ridge_path(a, b[:, 0], l2=strengths).T for a, b in zip(x, y, strict=True)]
    train, validation, zero = gap_losses(strengths, examples=examples, noise=0.7)
    assert_close(train, np.mean((x @ np.stack(fits) - y) ** 2, axis=(0, 1)), rtol=1e-9)
    assert_close(validation, np.mean(np.sum((fits - w) ** 2, axis=1), axis=0) + 0.49, rtol=1e-9)
    assert_close(zero, np.mean(y**2))


# --- the stored runs on digits --------------------------------------------------------------------


def digits_curves(noise):
    made = stored_run("early_stopping", noise=noise)
    return {name: np.array(curves) for name, curves in made.items() if name != "noise"}


@pytest.mark.claim("ES-02")
def test_stopped_networks_beat_those_that_learn_the_wrong_labels():
    runs = np.arange(6)
    for noise, gain in ((0.2, 3.0), (0.4, 8.0)):
        made = digits_curves(noise)
        test = 100 * made["test_accuracy"]
        stops = stopping_points(made["validation_loss"], patience=5)
        assert stops.stopped.all()
        kept = test[runs, stops.best]
        assert (kept - test[:, -1]).mean() > gain
        assert np.sum(kept > test[:, -1]) >= 5  # of six runs
        # the longer the wait, the more it matters to go back
        late = stopping_points(made["validation_loss"], patience=40)
        assert np.sum(late.best == stops.best) >= 5
        assert (kept - test[runs, late.stop]).mean() > gain / 2
        # watching the training loss never stops
        assert not stopping_points(made["train_loss"], patience=5).stopped.any()


def test_with_right_labels_there_is_next_to_nothing_to_stop():
    made = digits_curves(0.0)
    assert (made["validation_loss"].argmin(axis=1) > 75).all()
    gain = made["test_accuracy"].max(axis=1) - made["test_accuracy"][:, -1]
    assert gain.max() < 0.02


def test_least_loss_and_largest_accuracy_are_at_different_epochs():
    for noise in (0.2, 0.4):
        made = digits_curves(noise)
        at = made["validation_loss"].argmin(axis=1), made["validation_accuracy"].argmax(axis=1)
        assert 2 < np.abs(at[0] - at[1]).mean() < 8
