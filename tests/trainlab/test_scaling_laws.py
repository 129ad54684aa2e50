"""Scaling laws: what they predict, the best use of a budget, and fits to measured losses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import scaling_law_fits as F
from trainlab import scaling_laws as S
from trainlab.explorers.scaling_laws import digits_line, isoflop, measured, repeated, valleys
from trainlab.sweeps import repeated_data, scaling_law_regression, stored_run

LAWS = {"printed": S.HOFFMANN_PRINTED, "source": S.HOFFMANN_SOURCE, "replication": S.REPLICATION}
each_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


def runs(count=80, noise=0.0, seed=0, law=S.REPLICATION):
    """Return N, D and the losses of random runs, with relative noise."""
    source = np.random.default_rng(seed)
    n = np.exp(source.uniform(np.log(5e7), np.log(1e10), count))
    d = np.exp(source.uniform(np.log(1e9), np.log(3e11), count))
    return n, d, S.scaling_loss(n, d, law=law) * np.exp(noise * source.standard_normal(count))


# --- the law -----------------------------------------------------------------------------------


def test_loss_and_flops_by_hand():
    law = S.ScalingLaw(E=1.0, A=8.0, B=27.0, alpha=0.5, beta=1 / 3)
    assert_close(S.scaling_loss(16.0, 27.0, law=law), 1 + 2 + 9)
    assert S.flops(2.0, 5.0) == 60
    assert S.flops(2.0, 5.0, served_tokens=7.0) == 60 + 28
    assert_close(S.isoflop_loss(16.0, budget=6 * 16 * 27.0, law=law), 12.0)
    assert_close(S.tokens_for_loss(16.0, 12.0, law=law), 27.0)
    with pytest.raises(ValueError, match=r"loss must be above .* which is 3 for the smallest"):
        S.tokens_for_loss([100.0, 16.0], 3.0, law=law)


@pytest.mark.claim("CHIN-04")
def test_predicted_losses_of_gopher_and_chinchilla():
    expected = {"printed": (1.993, 1.937), "source": (1.967, 1.921), "replication": (2.000, 1.974)}
    for name, losses in expected.items():
        found = S.scaling_loss([280e9, 70e9], [300e9, 1.4e12], law=LAWS[name])
        assert_close(found, np.array(losses), rtol=0, atol=5e-4)  # the ledger's digits


@each_law
@pytest.mark.claim("CHIN-04")
def test_a_wrong_size_costs_little(law):
    best = S.compute_optimal(5.76e23, law=law)
    cost = {
        k: S.isoflop_loss(k * best.num_params, budget=5.76e23, law=law) - best.loss
        for k in (0.25, 0.5, 2, 4)
    }
    for k, about in ((0.25, 0.02), (0.5, 0.005), (2, 0.005), (4, 0.02)):
        assert_close(cost[k], about, rtol=0.2)  # the ledger: about


@each_law
def test_optimum_is_the_lowest_point_of_the_valley(law):
    for budget in (1e18, 1e24):
        best = S.compute_optimal(budget, law=law)
        assert_close(S.flops(best.num_params, best.num_tokens), budget)
        sizes = best.num_params * np.geomspace(0.5, 2, 2001)
        losses = S.isoflop_loss(sizes, budget=budget, law=law)
        assert np.argmin(losses) == 1000
        assert_close(losses[1000], best.loss)
    a, b = S.compute_optimal_exponents(law)
    assert_close(best.num_params, S.compute_optimal(1.0, law=law).num_params * 1e24**a)
    assert_close(best.num_tokens, S.compute_optimal(1.0, law=law).num_tokens * 1e24**b)


@pytest.mark.claim("CHIN-01")
def test_twice_the_compute_is_not_twice_of_both():
    expected = {"printed": (1.368, 1.462), "replication": (1.427, 1.402)}
    for name, factors in expected.items():
        once, twice = (S.compute_optimal(c, law=LAWS[name]) for c in (1e22, 2e22))
        # the ledger's digits
        assert_close(twice.num_params / once.num_params, factors[0], rtol=0, atol=5e-4)
        assert_close(twice.num_tokens / once.num_tokens, factors[1], rtol=0, atol=5e-4)
        assert_close(factors[0] * factors[1], 2.0, rtol=1e-3)
    assert S.flops(2 * 70e9, 2 * 1.4e12) == 4 * S.flops(70e9, 1.4e12)


@pytest.mark.claim("CHIN-02")
def test_chinchilla_had_the_budget_of_gopher():
    assert_close(S.flops(70e9, 1.4e12), 5.88e23)
    assert_close(S.flops(280e9, 300e9) / S.flops(70e9, 1.4e12), 0.857, rtol=1e-3)


@pytest.mark.claim("CHIN-03")
def test_three_versions_of_one_law():
    expected = {
        "printed": (32.2e9, 2.98e12, 93),
        "source": (40.3e9, 2.38e12, 59),
        "replication": (72.2e9, 1.33e12, 18.4),
    }
    for name, (n, d, ratio) in expected.items():
        best = S.compute_optimal(5.76e23, law=LAWS[name])
        assert_close(best.num_params, n, rtol=2e-3)  # three digits
        assert_close(best.num_tokens, d, rtol=3e-3)
        assert_close(best.num_tokens / best.num_params, ratio, rtol=5e-3)
    assert S.HOFFMANN_SOURCE == (1.6934, 406.4, 410.7, 0.3392, 0.2849)
    assert S.HOFFMANN_PRINTED == (1.69, 406.4, 410.7, 0.34, 0.28)
    assert S.REPLICATION == (1.8172, 482.01, 2085.43, 0.3478, 0.3658)


@pytest.mark.claim("CHIN-05")
def test_twenty_tokens_for_each_parameter_is_one_point():
    ratio = {}
    for budget in (1e18, 5.76e23):
        for name in ("printed", "replication"):
            best = S.compute_optimal(budget, law=LAWS[name])
            ratio[name, budget] = best.num_tokens / best.num_params
    assert_close(ratio["replication", 1e18], 25.7, rtol=2e-3)  # three digits
    assert_close(ratio["replication", 5.76e23], 18.4, rtol=2e-3)
    assert ratio["printed", 5.76e23] > 3 * ratio["printed", 1e18]
    # A small model that is trained for long, on purpose.
    assert_close(S.flops(8e9, 15e12), 7.2e23)
    assert 15e12 / 8e9 == 1875
    best = S.compute_optimal(7.2e23, law=S.HOFFMANN_SOURCE)
    assert_close(S.scaling_loss(8e9, 15e12, law=S.HOFFMANN_SOURCE), 1.944, rtol=0, atol=5e-4)
    assert_close(best.loss, 1.911, rtol=0, atol=5e-4)


@each_law
@pytest.mark.claim("CHIN-05")
def test_serving_makes_the_best_model_smaller(law):
    plain = S.inference_optimal(2.0, served_tokens=0, law=law)
    same = S.compute_optimal(float(S.flops(plain.num_params, plain.num_tokens)), law=law)
    assert_close(plain.num_params, same.num_params)
    assert_close(same.loss, 2.0)
    last = plain
    for served in (1e11, 1e12, 1e13):
        best = S.inference_optimal(2.0, served_tokens=served, law=law)
        assert best.num_params < last.num_params
        assert best.num_tokens > last.num_tokens
        assert best.loss == 2.0
        assert_close(S.scaling_loss(best.num_params, best.num_tokens, law=law), 2.0)
        sizes = best.num_params * np.geomspace(0.8, 1.25, 2001)
        cost = S.flops(sizes, S.tokens_for_loss(sizes, 2.0, law=law), served_tokens=served)
        assert abs(int(np.argmin(cost)) - 1000) <= 1
        last = best


# --- fits --------------------------------------------------------------------------------------


def test_power_law_by_hand_and_its_error():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    law = F.fit_power_law(x, 5 * x**-0.5)
    assert_close(law.factor, 5.0)
    assert_close(law.exponent, -0.5)
    assert law.error < 1e-12
    source, slopes, errors = np.random.default_rng(0), [], []
    for _ in range(400):
        fit = F.fit_power_law(x, x**-0.5 * np.exp(0.1 * source.standard_normal(4)))
        slopes.append(fit.exponent)
        errors.append(fit.error**2)
    # 400 draws: 4 % for a standard deviation, more for a mean of squares of 2 degrees of freedom
    assert_close(np.std(slopes), math.sqrt(np.mean(errors)), rtol=0.15)


def test_isoflop_parabola():
    at = np.log([1e9, 2e9, 5e9, 9e9])
    losses = 2.0 + 0.03 * (at - math.log(3e9)) ** 2
    best = F.fit_isoflop(np.exp(at), losses)
    assert_close(best, np.array([3e9, 2.0, 0.06]))
    law = S.REPLICATION
    exact = S.compute_optimal(1e21, law=law)
    sizes = exact.num_params * np.geomspace(0.5, 2, 9)
    best = F.fit_isoflop(sizes, S.isoflop_loss(sizes, budget=1e21, law=law))
    assert_close(best.num_params, exact.num_params, rtol=0.02)  # it is not a parabola
    assert_close(best.loss, exact.loss, rtol=1e-3)
    # L'' = alpha² A/N^alpha + beta² B/D^beta in log N, for D = C/(6N)
    curved = law.alpha**2 * law.A * exact.num_params**-law.alpha
    curved += law.beta**2 * law.B * exact.num_tokens**-law.beta
    assert_close(best.curvature, curved, rtol=0.05)


@each_law
def test_fit_finds_the_law_without_noise(law):
    n, d, losses = runs(law=law)
    assert_close(
        F.fit_scaling_law(n, d, losses), np.array(law), rtol=1e-6
    )  # of A, by its logarithm


def _objective(law, n, d, losses, delta):
    r = np.abs(np.log(losses) - np.log(S.scaling_loss(n, d, law=law)))
    return float(np.where(r <= delta, r * r / 2, delta * (r - delta / 2)).sum())


@pytest.mark.parametrize("delta", [1e-3, 0.1])
def test_fit_is_a_minimum_and_a_robust_one(delta):
    n, d, losses = runs(noise=0.005)
    spoiled = losses.copy()
    spoiled[:3] *= 1.5
    for data in (losses, spoiled):
        law = F.fit_scaling_law(n, d, data, delta=delta)
        best = _objective(law, n, d, data, delta)
        assert best < _objective(S.REPLICATION, n, d, data, delta)
        source = np.random.default_rng(1)
        for _ in range(200):
            near = S.ScalingLaw(*(np.array(law) * np.exp(1e-3 * source.standard_normal(5))))
            assert _objective(near, n, d, data, delta) >= best
    if delta == 1e-3:  # three bad runs of 80 hardly matter
        assert abs(law.alpha - S.REPLICATION.alpha) < 0.05
        assert law == F.fit_scaling_law(n, d, spoiled)  # the default


@pytest.mark.referee
def test_scipy_finds_no_lower_point():
    optimize = pytest.importorskip("scipy.optimize")
    n, d, losses = runs(noise=0.005, seed=2)
    law = F.fit_scaling_law(n, d, losses)

    def objective(t):
        return 1e3 * _objective(S.ScalingLaw(*np.exp(t[:3]), *t[3:]), n, d, losses, 1e-3)

    start = np.array([*np.log(law[:3]), *law[3:]])
    options = {"maxiter": 4000, "maxfev": 4000, "xatol": 1e-9, "fatol": 1e-13}
    found = optimize.minimize(objective, start * 1.01, method="Nelder-Mead", options=options)
    assert objective(start) <= found.fun * (1 + 1e-6)  # where the search stops


def test_bootstrap_has_the_spread_of_fresh_data():
    alphas = []
    for seed in range(12):
        n, d, losses = runs(count=40, noise=0.005, seed=seed)
        fit = F.fit_scaling_law(n, d, losses)
        alphas.append(fit.alpha)
    rng = np.random.default_rng(0)
    laws = F.bootstrap_scaling_law(n, d, losses, law=fit, rng=rng, count=50)
    assert len(laws) == 50
    again = np.random.default_rng(0)
    same = F.bootstrap_scaling_law(n, d, losses, law=fit, rng=again, count=50, delta=1e-3)
    assert same == laws  # the default
    spread = np.std([law.alpha for law in laws])
    # 12 fits give a standard deviation to 20 %, and one bootstrap depends on its data
    assert 0.5 < spread / np.std(alphas) < 2


def test_bootstrap_of_exact_data_is_the_law():
    laws = F.bootstrap_scaling_law(*runs(count=20), law=S.REPLICATION, rng=np.random.default_rng(0))
    assert len(laws) == 100
    for law in laws:
        assert_close(law, np.array(S.REPLICATION), rtol=1e-6)  # of A, by its logarithm


# --- repeated data -----------------------------------------------------------------------------


@pytest.mark.claim("CURVE-04")
def test_what_passes_over_the_same_tokens_are_worth():
    found = S.effective_tokens(1e9, np.array([0.5, 1, 4, 16, 64, 1e6]))
    # U + U R* (1 - exp(-R/R*)), with R* = 15.39 and R = 0, 3, 15, 63
    exact = [1 + 15.39 * (1 - math.exp(-r / 15.39)) for r in (0, 3, 15, 63)]
    assert_close(found, 1e9 * np.array([0.5, *exact, 16.39]))
    assert_close(found[[2, 4]], np.array([3.73e9, 16.1e9]), rtol=3e-3)  # the ledger's digits
    # One more repetition at R = R* counts 1/e, and passes add up over unique tokens.
    step = 1e-6
    ends = S.effective_tokens(1.0, 1 + S.FADING + np.array([-step, step]))
    assert_close((ends[1] - ends[0]) / (2 * step), math.exp(-1), rtol=1e-6)  # a difference
    assert_close(S.effective_tokens(5.0, 3.0, fading=2.0), 5 * (1 + 2 * (1 - math.exp(-1))))


@pytest.mark.claim("CHIN-06")
@pytest.mark.parametrize("unique", repeated_data.UNIQUE)
def test_one_pass_leaves_nothing_to_stop(unique):
    runs = [stored_run("repeated_data", unique=unique, epochs=e) for e in repeated_data.EPOCHS]
    fresh, again = ([r[k][0] for r in runs] for k in ("fresh", "repeated"))
    assert np.all(np.diff(fresh) < 0)
    assert np.argmin(again) == repeated_data.EPOCHS.index(32)
    # Each seed has its own data, so a loss of 64 passes is compared with that of its own 32.
    assert again[-1] > 1.01 * min(again)
    assert runs[-1]["training"] < 0.7 * again[-1]  # learned by heart
    # On fresh examples the loss before training on them is the test loss, while lr falls.
    assert_close(runs[-1]["fresh_training"], fresh[-1], rtol=0.05)  # 40 batches of 8 at a time


@pytest.mark.claim("CHIN-07")
def test_small_valleys_predict_the_best_size_of_a_larger_budget():
    data = isoflop.run(fitted=4, around=3)
    assert_close(data.predicted, 151, rtol=5e-3)  # the ledger's digits
    assert_close(data.best[-1], 157, rtol=5e-3)
    for fitted in (3, 4, 5, 6):
        data = isoflop.run(fitted=fitted, around=3)
        assert abs(math.log(data.predicted / data.best[-1])) < 0.1


def test_our_own_regression_has_the_exact_loss():
    m = scaling_law_regression
    assert_close(m.tail(0, 1.0), math.pi**2 / 6, rtol=1e-6)  # ζ(2); the rest is an integral
    for spectrum, (_, c) in m.SPECTRA.items():
        made = stored_run("scaling_law_regression", spectrum=spectrum, corner=7)
        losses = np.array(made["losses"]).reshape(len(m.SIZES), len(m.COUNTS))
        floor = m.NOISE + np.array([m.tail(n, c) for n in m.SIZES])
        assert np.all(losses > floor[:, None])
        # N of 4 and 32,768 examples: what is left is nearly the floor alone.
        assert_close(losses[0, -1], floor[0], rtol=1e-3)
        slope = F.fit_power_law(np.array(m.SIZES), floor - m.NOISE).exponent
        assert_close(-slope, m.exact_alpha(spectrum), rtol=0.04)  # a sum is not yet its integral


def test_a_fit_is_wrong_by_more_than_resampling_says():
    """The range of the bootstrap need not hold the truth: the law is not the true form."""
    data = measured.run(spectrum="slow", corner=6)
    low, alpha, high = data.alphas[2]
    assert 0.5 < low <= alpha <= high
    assert data.fars[2, 0] > data.losses[-1, -1]
    assert data.law.E > 0.1  # exactly 0.09


def test_own_pictures_agree_with_the_law():
    data = valleys.run(budget=5.76e23, fit="replication", off=2.0)
    best = S.compute_optimal(5.76e23, law=S.REPLICATION)
    assert_close(data.size, 2 * best.num_params)
    assert_close(data.best[2], best.num_params)
    assert_close(data.budget / 6 / data.rule**2, 20.0)
    assert repeated.run(epochs=1, unique=64).worth[0] >= 1
    assert digits_line.run(points=7).lines[0].exponent < -0.8
