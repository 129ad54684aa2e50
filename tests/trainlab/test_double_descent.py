"""Double descent: the exact curves, the filters, the closed-form risks, and the claims."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.double_descent import harmonics, min_norm_curve, relu_features
from trainlab.epoch_wise_risk import best_times, epoch_risk
from trainlab.least_squares_risk import best_penalty, gaussian_risk, min_norm_risk, ridge_risk
from trainlab.spectral_filters import decompose, flow_factors, predict, ridge_factors
from trainlab.sweeps import double_descent_mlp, stored


def sphere_task(seed, *, n, d=20, noise=0.3, most=1000, m=500):
    """ReLU features of points on a sphere, a linear teacher of variance 1, noisy targets."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n + m, d))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    teacher = rng.standard_normal(d)
    truth = np.sqrt(d) * x @ (teacher / np.linalg.norm(teacher))
    phi = relu_features(x, rng.standard_normal((most, d)))
    y = truth[:n] + noise * rng.standard_normal(n)
    return phi[:n], y, phi[n:], truth[n:]


# --- the curve of all widths -------------------------------------------------------------------


def test_harmonics_lie_on_the_unit_sphere_and_repeat():
    x = np.array([-0.7, 0.1, 0.9])
    lifted = harmonics(x, count=4)
    assert lifted.shape == (3, 8)
    assert_close(np.sum(lifted**2, axis=1), np.ones(3))
    assert_close(harmonics(x + 2, count=4), lifted, rtol=1e-12, atol=1e-14)  # sin(π·k) is not 0
    # By hand: count 2, x = 1/2, angles π/2 and π, weights 1 and 1/√2, norm √(3/2).
    assert_close(
        harmonics([0.5], count=2)[0],
        np.array([0, -np.sqrt(0.5), 1, 0]) / np.sqrt(1.5),
        atol=1e-15,  # cos(π/2) and sin(π) are rounding errors
    )


def test_relu_features_of_a_narrow_network_are_those_of_the_wide_one():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((5, 3)), rng.standard_normal((9, 3))
    np.testing.assert_array_equal(relu_features(x, weight)[:, :4], relu_features(x, weight[:4]))


def test_curve_by_hand():
    # One example: w = (2), then the shortest w with 1·w1 + 2·w2 = 2 is (0.4, 0.8).
    curve = min_norm_curve([[1.0, 2.0]], [2.0], test_features=[[3.0, 1.0]], widths=[2, 1])
    assert_close(curve.predictions, np.array([[2.0], [6.0]]))
    assert_close(curve.norms, np.array([np.sqrt(0.8), 2.0]))


@pytest.mark.parametrize("outputs", [(), (3,)])
def test_curve_is_the_pseudo_inverse(outputs):
    rng = np.random.default_rng(1)
    n, most = 40, 300
    phi, test = rng.standard_normal((n, most)), rng.standard_normal((15, most))
    y = rng.standard_normal((n, *outputs))
    widths = [300, 1, 7, 39, 40, 41, 45, 58, 59, 60, 61, 100, 7]  # both sides of each switch
    curve = min_norm_curve(phi, y, test_features=test, widths=widths)
    for p, prediction, norm in zip(widths, *curve, strict=True):
        w = np.linalg.pinv(phi[:, :p]) @ y
        scale = np.abs(test[:, :p] @ w).max()
        # A residual of rounding grows with the condition number, at most 1e4 here.
        assert_close(prediction, test[:, :p] @ w, rtol=1e-9, atol=1e-10 * scale)
        assert_close(norm, np.linalg.norm(w), rtol=1e-9)
        if np.linalg.cond(phi[:, :p]) < 1e3:
            assert np.abs(prediction - test[:, :p] @ w).max() <= 1e-12 * scale


def test_curve_near_the_peak_bears_examples_that_are_almost_the_same():
    """The condition number is about 1e6; its square, that of a kernel matrix, would cost 1e-5."""
    rng = np.random.default_rng(2)
    apart, y, test = (rng.standard_normal(shape) for shape in ((40, 80), 40, (5, 80)))
    mix = np.eye(40)
    mix[1] = mix[0] + 1e-5 * mix[1]
    widths = [41, 45, 58]
    curve = min_norm_curve(mix @ apart, mix @ y, test_features=test, widths=widths)
    for p, prediction in zip(widths, curve.predictions, strict=True):
        expected = test[:, :p] @ np.linalg.pinv(apart[:, :p]) @ y
        assert np.abs(prediction - expected).max() < 1e-9 * np.abs(expected).max()


def test_curve_of_wide_features_bears_one_that_is_zero():
    x = np.array([[0.0, 3.0, 4.0]])
    curve = min_norm_curve(x, [5.0], test_features=x, widths=[3])
    assert_close(curve.predictions, np.array([[5.0]]))
    assert_close(curve.norms, np.array([1.0]))


@pytest.mark.referee
def test_curve_agrees_with_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    phi, y, test, _ = sphere_task(3, n=60, most=200)
    curve = min_norm_curve(phi, y, test_features=test, widths=[20, 55, 70, 200])
    for p, prediction in zip([20, 55, 70, 200], curve.predictions, strict=True):
        model = linear_model.LinearRegression(fit_intercept=False).fit(phi[:, :p], y)
        # LAPACK's gelsd against QR and Cholesky at condition numbers to 1e3.
        assert_close(prediction, model.predict(test[:, :p]), rtol=1e-9, atol=1e-10)


def test_curve_is_not_slow():
    """All widths in much less than one pseudo-inverse a width; loose, the machine is shared."""
    phi, y, test, _ = sphere_task(0, n=100)
    widths = np.unique(np.geomspace(5, 1000, 53).round().astype(int)).tolist()
    start = time.process_time()
    min_norm_curve(phi, y, test_features=test, widths=widths)
    fast = time.process_time() - start
    start = time.process_time()
    for p in widths:
        np.linalg.pinv(phi[:, :p])
    assert fast < 0.5 * (time.process_time() - start)


# --- spectral filters ----------------------------------------------------------------------------


def test_all_ones_is_the_minimum_norm_solution():
    rng = np.random.default_rng(2)
    phi, test, y = rng.standard_normal((20, 50)), rng.standard_normal((9, 50)), np.arange(20.0)
    spectrum = decompose(phi, test_features=test)
    curve = min_norm_curve(phi, y, test_features=test, widths=[50])
    assert_close(predict(spectrum, y, factors=np.ones(20)), curve.predictions[0], rtol=1e-9)


def test_batches_are_independent_problems():
    rng = np.random.default_rng(3)
    phi, test, y = (rng.standard_normal(s) for s in [(4, 8, 5), (4, 3, 5), (4, 8)])
    spectrum = decompose(phi, test_features=test)
    factors = ridge_factors(spectrum.s, np.array([0.1, 1.0]), n=8)
    together = predict(spectrum, y, factors=factors)
    assert together.shape == (4, 3, 2)
    one = decompose(phi[2], test_features=test[2])
    for i, lam in enumerate((0.1, 1.0)):
        alone = predict(one, y[2], factors=ridge_factors(one.s, lam, n=8))
        assert_close(together[2, :, i], alone, rtol=1e-10)


@pytest.mark.referee
def test_ridge_agrees_with_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    phi, y, test, _ = sphere_task(4, n=50, most=120)
    spectrum = decompose(phi, test_features=test)
    model = linear_model.Ridge(alpha=50 * 0.03, fit_intercept=False).fit(phi, y)
    ours = predict(spectrum, y, factors=ridge_factors(spectrum.s, 0.03, n=50))
    assert_close(ours, model.predict(test))


def test_flow_is_gradient_descent_with_small_steps():
    rng = np.random.default_rng(5)
    phi, test, y = rng.standard_normal((12, 6)), rng.standard_normal((4, 6)), np.ones(12)
    w, lr = np.zeros(6), 1e-4
    for _ in range(20_000):
        w -= lr * phi.T @ (phi @ w - y) / 12
    spectrum = decompose(phi, test_features=test)
    flow = predict(spectrum, y, factors=flow_factors(spectrum.s, 20_000 * lr, n=12))
    # The two filters differ by about lr/2 times the rates, which go to 4.
    assert_close(test @ w, flow, rtol=1e-3)


def test_filters_of_a_dead_direction():
    s = np.array([2.0, 0.0])
    assert_close(flow_factors(s, 3.0, n=4), np.array([1 - np.exp(-3.0), 0.0]))
    assert_close(ridge_factors(s, 0.5, n=4), np.array([4 / 6, 0.0]))
    spectrum = decompose([[1.0, 0.0], [0.0, 0.0]], test_features=[[1.0, 1.0]])
    assert_close(predict(spectrum, [5.0, 7.0], factors=np.ones(2)), np.array([5.0]))


def test_stopping_and_ridge_are_close_filters():
    """At t = 1/λ the two differ by at most 0.2036, at s²t/n = 2.513."""
    e = np.geomspace(1e-3, 1e3, 20_001)
    gap = flow_factors(np.sqrt(e), 1.0, n=1) - ridge_factors(np.sqrt(e), 1.0, n=1)
    assert_close(gap.max(), 0.2036, rtol=5e-4)  # the constant is printed to 4 digits
    assert_close(e[gap.argmax()], 2.513, rtol=5e-4)


# --- risks in closed form ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "expected", "rtol"),
    [(10, 1.264, 1e-3), (20, 1.724, 1e-3), (60, 1.566, 1e-3), (100, 0.667, 1e-3)],
)
def test_gaussian_risk_of_belkin_hsu_xu(p, expected, rtol):
    """D = 100 features of which p are seen, n = 40; the paper counts the new label's noise too."""
    risk = gaussian_risk(40, p, signal=p / 100, noise=0.04, hidden=1 - p / 100)
    assert_close(risk + 0.04, np.array(expected), rtol=rtol)  # printed to 4 digits


def test_gaussian_risk_agrees_with_simulation():
    rng = np.random.default_rng(6)
    n, d, reps = 40, 100, 500
    for p in (10, 20, 60, 100):  # 20 or more from n, where the mean has a variance
        x = rng.standard_normal((reps, n, d))
        beta = np.full(d, 0.1)
        y = x @ beta + 0.2 * rng.standard_normal((reps, n))
        w = np.zeros((reps, d))
        w[:, :p] = (np.linalg.pinv(x[:, :, :p]) @ y[..., None])[..., 0]
        risks = np.sum((w - beta) ** 2, axis=1)
        theory = gaussian_risk(n, p, signal=p / d, noise=0.04, hidden=1 - p / d)
        error = risks.std() / np.sqrt(reps)
        assert abs(risks.mean() - theory) < 4 * error, (p, risks.mean(), theory)
        assert error < 0.02  # so the line above can fail


def test_gaussian_risk_at_and_beside_the_peak():
    risk = gaussian_risk([48, 49, 50, 51, 52], 50, signal=1.0, noise=0.25)
    assert_close(risk[[0, 4]], np.array([1 - 48 / 50 + 0.25 * 48, 0.25 * 50]))
    assert np.isinf(risk[1:4]).all()
    assert gaussian_risk(50, 50, signal=1.0, noise=0.0) == 0  # no noise: nothing to blow up


@pytest.mark.claim("DD-01")
def test_isotropic_limit_and_its_ridge():
    """Least norm .25, 2.25, 2.5, .75, .83; the best ridge has no peak."""
    gamma = np.array([0.5, 0.9, 1.1, 2.0, 4.0])
    risk = min_norm_risk(gamma, signal=1.0, noise=0.25)
    assert_close(risk, np.array([0.25, 2.25, 1 - 1 / 1.1 + 2.5, 0.75, 0.75 + 0.25 / 3]))
    tuned = ridge_risk(gamma, best_penalty(gamma, signal=1, noise=0.25), signal=1, noise=0.25)
    # The ledger's tuned values were simulated, to two digits.
    assert_close(tuned, np.array([0.17, 0.35, 0.44, 0.65, 0.81]), rtol=0.05)
    assert (np.diff(tuned) > 0).all()  # rises with the features a sample, no peak at γ = 1
    assert np.isinf(min_norm_risk(1.0, signal=1.0, noise=0.25))


def test_limit_risk_is_that_of_many_gaussian_features():
    for gamma in (0.5, 0.9, 1.1, 3.0):
        exact = gaussian_risk(10**6, round(gamma * 10**6), signal=1.0, noise=0.25)
        assert_close(exact, min_norm_risk(gamma, signal=1.0, noise=0.25), rtol=2e-5)  # 1/n·(1−γ)


def test_ridge_risk_without_penalty_is_the_minimum_norm_risk():
    gamma = np.array([0.2, 0.8, 1.3, 5.0])
    limit = min_norm_risk(gamma, signal=2.0, noise=0.3)
    assert_close(ridge_risk(gamma, 1e-9, signal=2.0, noise=0.3), limit, rtol=1e-6)  # error ~ λ/gap²
    assert_close(ridge_risk(gamma, 1e9, signal=2.0, noise=0.3), np.full(4, 2.0), rtol=1e-6)


@pytest.mark.parametrize("p", [100, 200, 400])
def test_ridge_risk_agrees_with_simulation(p):
    n, lam, rng = 200, 0.3, np.random.default_rng(p)
    risks = []
    for _ in range(20):
        x, beta = rng.standard_normal((n, p)), rng.standard_normal(p) / np.sqrt(p)
        y = x @ beta + 0.5 * rng.standard_normal(n)
        w = np.linalg.solve(x.T @ x / n + lam * np.eye(p), x.T @ y / n)
        risks.append(np.sum((w - beta) ** 2))
    theory = ridge_risk(p / n, lam, signal=1.0, noise=0.25)
    # Corrections of order 1/n and the sampling error of 20 runs.
    assert_close(np.mean(risks), theory, rtol=0.05)


def test_best_penalty_is_the_minimum():
    for gamma in (0.5, 1.0, 3.0):
        best = best_penalty(gamma, signal=1.0, noise=0.25)
        nearby = ridge_risk(gamma, best * np.array([0.9, 1.0, 1.1]), signal=1.0, noise=0.25)
        assert nearby.argmin() == 1


# --- claims --------------------------------------------------------------------------------------

WIDTHS = [20, 60, 80, 100, 320, 1000]


@pytest.fixture(scope="module")
def es01():
    """Test error at n = 80 for 40 seeds: to the end, and at the best stop. Shape (40, 6)."""
    n, times = 80, np.geomspace(1e-2, 1e8, 61)
    ended, stopped = [], []
    for seed in range(40):
        phi, y, test, truth = sphere_task(seed, n=n)
        curve = min_norm_curve(phi, y, test_features=test, widths=WIDTHS)
        ended.append(np.mean((curve.predictions - truth) ** 2, axis=1))
        errors = []
        for p in WIDTHS:
            spectrum = decompose(phi[:, :p], test_features=test[:, :p])
            path = predict(spectrum, y, factors=flow_factors(spectrum.s, times, n=n))
            errors.append(np.mean((path - truth[:, None]) ** 2, axis=0).min())
        stopped.append(errors)
    return np.array(ended), np.array(stopped)


@pytest.mark.claim("ES-01")
def test_early_stopping_removes_the_peak(es01):
    """To the end .57 .80 2.3e3 .79 .13 .080; best stop .53 .23 .18 .16 .079 .054, monotone."""
    ended, stopped = es01
    # Those are means of 10 runs of a task whose input dimension and noise are not recorded; 20 and
    # 0.3 give them. Beside the peak 40 runs still leave 10 %, hence medians and a wide band.
    assert_close(
        np.median(ended, axis=0)[[0, 1, 3, 4, 5]],
        np.array([0.57, 0.80, 0.79, 0.13, 0.080]),
        rtol=0.2,
    )
    mean = stopped.mean(axis=0)
    assert_close(mean, np.array([0.53, 0.23, 0.18, 0.16, 0.079, 0.054]), rtol=0.15)
    assert (np.diff(mean) < 0).all()
    assert (stopped <= 1.05 * ended).all()  # stopping times on a grid


@pytest.mark.claim("DD-01", "ES-01")
def test_the_peak_stands_at_the_number_of_samples(es01):
    ended, _ = es01
    median = np.median(ended, axis=0)
    assert median.argmax() == WIDTHS.index(80)
    assert (ended[:, 2] > ended[:, [1, 3]].max(axis=1)).all()  # in every seed
    assert median[2] > 10 * median[[1, 3]].max()
    # Heavy tails: the least singular value may be as small as it likes, and the error is its
    # inverse square. Means of ten runs (the ledger's is 2.3e3) differ by more than a factor of ten.
    tens = ended[:, 2].reshape(4, 10)
    assert tens.mean(axis=1).max() > 10 * tens.mean(axis=1).min()
    assert np.ptp(np.log(np.median(tens, axis=1))) < np.ptp(np.log(tens.mean(axis=1)))
    assert ended[:, 2].mean() > 10 * median[2]


@pytest.mark.claim("DD-01")
def test_a_tiny_penalty_removes_the_peak():
    phi, y, test, truth = sphere_task(0, n=80)
    errors = {}
    for lam in (1e-10, 0.01):
        found = []
        for p in WIDTHS:
            spectrum = decompose(phi[:, :p], test_features=test[:, :p])
            prediction = predict(spectrum, y, factors=ridge_factors(spectrum.s, lam, n=80))
            found.append(np.mean((prediction - truth) ** 2))
        errors[lam] = np.array(found)
    assert errors[1e-10].argmax() == WIDTHS.index(80)
    assert (np.diff(errors[0.01]) < 0).all()


@pytest.mark.claim("DD-01")
def test_more_samples_can_hurt():
    """Sample-wise: linear, d = 50, σ² = .25: n = 25 .760, 45 2.91, 55 3.13, 100 .255."""
    n = np.array([25, 45, 55, 100])
    risk = gaussian_risk(n, 50, signal=1.0, noise=0.25)
    assert_close(risk, np.array([0.760, 2.91, 3.13, 0.255]), rtol=2e-3)  # printed to 3 digits
    penalties = best_penalty(50 / n, signal=1.0, noise=0.25)
    tuned = ridge_risk(50 / n, penalties, signal=1.0, noise=0.25)
    assert (np.diff(tuned) < 0).all()
    # As a median over samples, too: 25 samples beat 50.
    rng = np.random.default_rng(0)
    median = {}
    for size in (25, 50, 100):
        x, beta = rng.standard_normal((50, size, 50)), np.full(50, np.sqrt(1 / 50))
        y = x @ beta + 0.5 * rng.standard_normal((50, size))
        w = (np.linalg.pinv(x) @ y[..., None])[..., 0]
        median[size] = np.median(np.sum((w - beta) ** 2, axis=1))
    assert median[100] < median[25] < 0.1 * median[50]


@pytest.mark.claim("DD-01")
def test_digits_with_label_noise():
    """Classification with resampled labels: worst at p = n; clean labels end best at p = 10 n."""
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    data, labels = load_digits(return_X_y=True)
    data = (data - data.mean(axis=0)) / 16
    data /= np.sqrt(np.mean(np.sum(data**2, axis=1)))
    n, widths = 100, [10, 20, 40, 60, 80, 95, 100, 105, 150, 300, 1000]
    errors = {0.0: [], 0.2: []}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(data))
        train, test = order[:n], order[n : n + 500]
        weight = rng.standard_normal((1000, 64))
        phi, phi_test = (relu_features(data[i], weight) for i in (train, test))
        for noise, found in errors.items():
            noisy = np.where(rng.random(n) < noise, rng.integers(10, size=n), labels[train])
            curve = min_norm_curve(
                phi, np.eye(10)[noisy] - 0.1, test_features=phi_test, widths=widths
            )
            found.append(np.mean(curve.predictions.argmax(axis=2) != labels[test], axis=1))
    clean, noisy = (np.median(errors[k], axis=0) for k in (0.0, 0.2))
    assert widths[clean.argmax()] == widths[noisy.argmax()] == n
    assert clean[-1] < clean[: widths.index(n)].min()  # clean labels: the far right wins
    assert noisy[-1] < 0.5 * noisy.max()
    assert (noisy > clean).all()


def total(risk):
    return risk.bias.sum(axis=0) + risk.variance.sum(axis=0)


def turning_points(t, values):
    """Times and values at which the slope changes its sign."""
    slope = np.diff(values)
    moving = np.flatnonzero(np.abs(slope) > 1e-12)  # the end is flat up to rounding
    signs = np.sign(slope[moving])
    at = moving[1:][signs[1:] != signs[:-1]]
    return t[at], values[at]


# 100 weak fast features and 20 strong slow ones.
GROUPS = {"signals": [1.0, 2.0], "sizes": [100, 20], "n": 100, "noise": 1.0}


@pytest.mark.claim("DD-02")
def test_two_groups_of_different_speed_give_double_descent():
    """Risk 2.98 → 2.50 (t≈68) → 2.97 (t≈630) → 1.18 (t≈2.4e5)."""
    t = np.geomspace(1, 1e7, 4001)
    risk = total(epoch_risk(t, rates=[1e-2, 1e-5], **GROUPS))
    assert_close(risk[0], 2.98, rtol=2e-3)  # the ledger prints three digits
    when, values = turning_points(t, risk)
    assert_close(values, np.array([2.50, 2.97, 1.18]), rtol=3e-3)
    assert_close(when, np.array([68, 630, 2.4e5]), rtol=0.03)  # the ledger's grid is coarser


@pytest.mark.claim("DD-02")
def test_equal_speeds_give_one_deeper_minimum():
    """One U with minimum .857 at t≈120; minima at the same time: .682."""
    t = np.geomspace(1, 1e7, 4001)
    risk = total(epoch_risk(t, rates=[1e-2, 1e-2], **GROUPS))
    when, values = turning_points(t, risk)
    assert len(values) == 1
    assert_close(values[0], 6 / 7, rtol=1e-4)  # on a grid
    assert_close(when[0], 120, rtol=0.05)
    # Equal speeds are not the best: the groups want to stop at different times.
    own = best_times(rates=[1e-2, 1e-2], **GROUPS)
    assert_close(own, 100 * np.log([2, 11]))
    aligned = [1e-2, 1e-2 * np.log(11) / np.log(2)]
    assert np.ptp(best_times(rates=aligned, **GROUPS)) < 1e-12
    lowest = total(epoch_risk(own[:1], rates=aligned, **GROUPS))[0]
    assert_close(lowest, 1 / 2 + 2 / 11)
    assert lowest < 6 / 7


def test_epoch_risk_of_the_experiment():
    """60 fast weak and 20 slow strong: 2.49 → 2.27 (t=.6) → 2.585 (6.4) → 1.767 (1760)."""
    t = np.geomspace(1e-2, 1e5, 4001)
    parts = epoch_risk(t, rates=[1, 1e-3], signals=[0.5, 1], sizes=[60, 20], n=100, noise=1.0)
    when, values = turning_points(t, total(parts) + 1.0)  # those numbers count the label noise
    assert_close(total(parts)[0] + 1, 2.49, rtol=2e-3)  # printed to three digits
    assert_close(values, np.array([2.27, 2.585, 1.767]), rtol=2e-3)
    assert_close(when, np.array([0.6, 6.4, 1760]), rtol=0.03)


def test_epoch_risk_is_exact_for_orthogonal_columns():
    """Flow on a design with orthogonal columns, averaged over the label noise in closed form."""
    rng = np.random.default_rng(7)
    n, sizes, rates, noise = 60, np.array([20, 10]), np.array([1.0, 0.01]), 2.0
    scale = np.repeat(np.sqrt(rates), sizes)
    x = np.sqrt(n) * np.linalg.qr(rng.standard_normal((n, 30)))[0] * scale
    w = rng.standard_normal(30)
    signals = np.array([np.sum((scale * w)[:20] ** 2), np.sum((scale * w)[20:] ** 2)])
    t = np.array([0.1, 3.0, 200.0])
    # Population risk: test "examples" are the features themselves, each with its scale.
    spectrum = decompose(x, test_features=np.diag(scale))
    factors = flow_factors(spectrum.s, t, n=n)
    bias = np.sum((predict(spectrum, x @ w, factors=factors) - (scale * w)[:, None]) ** 2, axis=0)
    variance = sum(
        np.sum(predict(spectrum, np.sqrt(noise) * e, factors=factors) ** 2, axis=0)
        for e in np.eye(n)
    )
    parts = epoch_risk(t, rates=rates, signals=signals, sizes=sizes, n=n, noise=noise)
    assert_close(bias, parts.bias.sum(axis=0), rtol=1e-9)
    assert_close(variance, parts.variance.sum(axis=0), rtol=1e-9)


@pytest.mark.claim("DD-02")
def test_random_features_of_two_scales_give_double_descent_too():
    """n=200, 100 fast (scale 1) and 10 slow (.03): 4.44 → 3.31 → 4.74 → 2.10 with label noise."""
    n, t = 200, np.geomspace(1e-2, 1e6, 161)
    runs = []
    for seed, slow in [(s, k) for s in range(8) for k in (0.03, 1.0)]:
        rng = np.random.default_rng(seed)
        scale = np.r_[np.ones(100), np.full(10, slow)]
        signal = np.r_[np.full(100, np.sqrt(2 / 100)), np.full(10, np.sqrt(2 / 10))]
        x = rng.standard_normal((n, 110)) * scale
        y = x @ (signal / scale) + rng.standard_normal(n)
        spectrum = decompose(x, test_features=np.diag(scale))
        path = predict(spectrum, y, factors=flow_factors(spectrum.s, t, n=n))
        runs.append(1 + np.sum((path - signal[:, None]) ** 2, axis=0))  # 1: the label's noise
    apart, equal = np.array(runs[::2]), np.array(runs[1::2])
    peak = np.argmax(np.where(t > 1, apart, 0)[:, :120], axis=1)
    for risk, at in zip(apart, peak, strict=True):
        assert risk[0] > 1.1 * risk[:at].min()  # falls by 10 %
        assert risk[at] > 1.1 * risk[:at].min()  # rises by 10 %
        assert risk[at:].min() < 0.9 * risk[at]  # falls again
    middle = np.median(apart, axis=0)
    assert_close(middle[0], 4.95, rtol=0.05)  # t = 0.01 has learned 2 % of the fast group
    assert_close(np.median(equal.min(axis=1)), 1.81, rtol=0.1)  # 20 other seeds in the ledger
    assert np.median(equal.min(axis=1)) < np.median(apart.min(axis=1))


# --- stopping all widths at once, and networks whose layers are all trained ----------------------


@pytest.mark.claim("ES-01")
def test_one_stop_for_all_widths_leaves_no_peak_and_a_late_one_does():
    """t = 10 is the same for every width and every seed; medians of 20 runs."""
    n, times = 80, np.array([10.0, 1e8])
    errors = []
    for seed in range(20):
        phi, y, test, truth = sphere_task(seed, n=n)
        found = []
        for p in WIDTHS:
            spectrum = decompose(phi[:, :p], test_features=test[:, :p])
            path = predict(spectrum, y, factors=flow_factors(spectrum.s, times, n=n))
            found.append(np.mean((path - truth[:, None]) ** 2, axis=0))
        errors.append(found)
    early, late = np.median(errors, axis=0).T
    assert (np.diff(early) < 0).all()
    assert late.argmax() == WIDTHS.index(80)
    assert late.max() > 50 * early[WIDTHS.index(80)]


def test_narrow_networks_train_beside_wide_ones_as_they_would_alone(monkeypatch):
    """The units that fill them up have weights of 0, and keep them."""
    monkeypatch.setattr(double_descent_mlp, "EPOCHS", 4)
    monkeypatch.setattr(double_descent_mlp, "WATCHED", [1, 2, 4])
    alone = double_descent_mlp.run(widths=[4], noise=0.2)
    beside = double_descent_mlp.run(widths=[4, 9], noise=0.2)
    for name, value in alone.items():
        # Sums of float32 in another order; an example or two near the border change sides.
        np.testing.assert_allclose(beside[name][:1], value, atol=3e-3, err_msg=name)


def test_test_digits_are_unseen_and_labels_as_wrong_as_said():
    parts = [double_descent_mlp._data(seed, 0.4) for seed in (0, 1)]
    right = double_descent_mlp._data(0, 0.0)
    sizes = {part: len(y) for part, (_, y) in right.items()}
    assert sizes == {"train": 500, "validation": 300, "test": 997}
    for part, share in (("train", 0.4), ("validation", 0.4), ("test", 0.0)):
        np.testing.assert_array_equal(parts[0][part][0], right[part][0])
        # Binomial, 4 standard deviations.
        assert abs(np.mean(parts[0][part][1] != right[part][1]) - share) <= 4 * np.sqrt(
            share * (1 - share) / sizes[part]
        )
    assert (parts[0]["train"][0] != parts[1]["train"][0]).any()
    seen = {x.tobytes() for part in ("train", "validation") for x in right[part][0]}
    assert sum(x.tobytes() in seen for x in right["test"][0]) == 0


def mlp_runs(noise):
    """Means over seeds for each width, of the stored runs."""
    runs = [r for r in stored("double_descent_mlp") if r["noise"] == noise]
    names = ("train_error", "error", "loss", "stopped_error")
    means = {k: np.concatenate([np.mean(r[k], axis=1) for r in runs]) for k in names}
    return means, np.concatenate([r["path"] for r in runs])


@pytest.mark.claim("DD-01")
def test_trained_networks_peak_with_wrong_labels_only():
    """Where the last wrong labels are learned by heart; not with right labels."""
    noisy, _ = mlp_runs(0.4)
    widths = np.array(double_descent_mlp.WIDTHS)
    able = int(np.argmax(noisy["train_error"] < 0.01))  # the first width that fits nearly all
    peak = noisy["loss"].argmax()
    assert abs(able - peak) <= 1
    assert 8 <= widths[peak] <= 24
    assert noisy["loss"][peak] > 1.8 * max(noisy["loss"][0], noisy["loss"][-1])
    hill = 2 + noisy["error"][2:].argmax()
    assert noisy["error"][hill] > noisy["error"][:hill].min() + 0.03
    assert noisy["error"][hill] > noisy["error"][-1] + 0.08
    clean, _ = mlp_runs(0.0)
    # No more than noise of five seeds.
    assert (np.diff(clean["error"]) < 0.01).all()


@pytest.mark.claim("ES-01")
def test_the_best_checkpoint_of_trained_networks_has_no_peak():
    noisy, _ = mlp_runs(0.4)
    assert (np.diff(noisy["stopped_error"]) < 0.015).all()  # five seeds leave as much
    beyond = np.array(double_descent_mlp.WIDTHS) >= 6
    assert (noisy["stopped_error"][beyond] < noisy["error"][beyond] - 0.05).all()
    assert noisy["stopped_error"][-1] < 0.6 * noisy["error"].min()


def test_trained_networks_show_no_second_descent_over_the_epochs():
    for noise in double_descent_mlp.NOISE:
        for path in mlp_runs(noise)[1]:
            after = path[path.argmin() :]
            assert (np.maximum.accumulate(after) - after).max() < 0.03
