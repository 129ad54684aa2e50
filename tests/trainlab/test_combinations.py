"""Combining techniques: paired intervals, and what the stored runs say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.combinations import (
    Interval,
    paired_interval,
    t_factor,
    two_by_two,
    verdict,
)
from trainlab.sweeps import stored, stored_run
from trainlab.sweeps.combination_strengths import (
    CHOSEN_RATES,
    NOISES,
    RATES,
    STRENGTHS,
    strengths,
)
from trainlab.sweeps.combination_strengths import SEEDS as OTHER_SEEDS
from trainlab.sweeps.combinations import SEEDS, TECHNIQUES, over_best, scores

METRICS = ("accuracy", "loss")


def rng(seed=0):
    return np.random.default_rng(seed)


def compared(*techniques, noise, metric="accuracy"):
    """The comparison of a pair in the stored runs."""
    a, b = techniques
    return two_by_two(
        *(scores(frozenset(s), noise=noise, metric=metric) for s in ((), (a,), (b,), (a, b)))
    )


# --- intervals ----------------------------------------------------------------------------------


def test_t_factor_in_closed_form():
    for level in (0.5, 0.9, 0.95, 0.99):
        assert_close(t_factor(1, level=level), math.tan(math.pi * level / 2))  # Cauchy
        assert_close(t_factor(2, level=level), math.sqrt(2 * level**2 / (1 - level**2)))
    assert t_factor(9) == pytest.approx(2.262157, abs=1e-6)  # any table
    assert t_factor(4) == pytest.approx(2.776445, abs=1e-6)


@pytest.mark.referee
def test_t_factor_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    for dof, level in itertools.product((1, 2, 3, 4, 5, 8, 9, 30, 501), (0.5, 0.9, 0.95, 0.999)):
        assert_close(t_factor(dof, level=level), stats.t.ppf((1 + level) / 2, dof))


@pytest.mark.referee
def test_paired_interval_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    a, b = rng(1).standard_normal((2, 12))
    found = paired_interval(a - b, level=0.9)
    ends = stats.ttest_rel(a, b).confidence_interval(0.9)
    assert_close(np.array([found.low, found.high]), np.array([ends.low, ends.high]))


def test_paired_interval_by_hand():
    found = paired_interval([1.0, 3.0], level=0.5)
    assert_close(np.array(found), np.array([2.0, 1.0, 3.0]))  # t = 1 for one degree of freedom
    assert paired_interval(np.full(4, 0.5)) == (0.5, 0.5, 0.5)


def test_paired_interval_covers_as_often_as_it_says():
    draws = 0.3 + rng(2).standard_normal((2000, 5))
    inside = [i.low <= 0.3 <= i.high for i in map(paired_interval, draws)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)  # 4 standard errors


def test_pairing_removes_what_the_seeds_have_in_common():
    hard = 10 * rng(3).standard_normal(10)
    gain = 1 + 0.1 * rng(4).standard_normal(10)
    paired, apart = paired_interval(gain), paired_interval(hard + gain)
    assert verdict(paired) == "helps"
    assert verdict(apart) == "no difference seen"


def test_two_by_two_is_symmetric_and_knows_gains_that_add_up():
    none, a, b = rng(5).standard_normal((3, 8))
    found = two_by_two(none, none + a, none + b, none + a + b)
    assert abs(found.interaction.mean) < 1e-12
    swapped = two_by_two(none, none + b, none + a, none + a + b)
    assert swapped.first == found.second
    assert swapped.both == found.both
    assert swapped.over_better == found.over_better
    assert_close(found.over_better.mean, found.both.mean - max(found.first.mean, found.second.mean))
    shifted = two_by_two(*(s + none for s in (none, none + a, none + b, none + a + b)))
    assert_close(np.array(shifted.first), np.array(found.first))


def test_verdict():
    assert verdict(Interval(1.0, 0.5, 1.5)) == "helps"
    assert verdict(Interval(-1.0, -1.5, -0.5)) == "hurts"
    assert verdict(Interval(0.1, 0.0, 0.2)) == "no difference seen"


# --- how the stored runs were chosen ------------------------------------------------------------


def test_strengths_are_those_of_the_smallest_validation_loss():
    for noise in NOISES:
        chosen = strengths(noise)
        for name, values in STRENGTHS.items():
            losses = [
                stored_run("combination_strengths", technique=name, value=v, noise=noise)[
                    "validation"
                ]
                for v in values
            ]
            assert chosen[name] == values[int(np.argmin(losses))]
        assert {name: chosen[name] for name in RATES} == CHOSEN_RATES
    assert len(stored("combination_strengths")) == 2 * sum(map(len, STRENGTHS.values())) + 6


def test_no_seed_serves_for_the_choice_and_for_the_result():
    assert not set(SEEDS) & set(OTHER_SEEDS)
    assert len(SEEDS) == 10


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("metric", METRICS)
def test_every_pair_has_ten_finite_scores(noise, metric):
    for pair in itertools.combinations(TECHNIQUES, 2):
        for used in ((), pair[:1], pair):
            found = scores(frozenset(used), noise=noise, metric=metric)
            assert found.shape == (10,)
            assert np.isfinite(found).all()
            assert np.array_equal(found, scores(frozenset(used[::-1]), noise=noise, metric=metric))


# --- what they say ------------------------------------------------------------------------------


@pytest.mark.claim("COMB-01")
def test_gains_rarely_add_up_and_fall_short_more_often_than_they_exceed():
    found = [
        verdict(compared(*pair, noise=0.0).interaction)
        for pair in itertools.combinations(TECHNIQUES, 2)
    ]
    assert (found.count("hurts"), found.count("helps")) == (16, 6)
    in_loss = [
        verdict(compared(*pair, noise=0.0, metric="loss").interaction)
        for pair in itertools.combinations(TECHNIQUES, 2)
    ]
    assert (in_loss.count("hurts"), in_loss.count("helps")) == (28, 1)


@pytest.mark.claim("COMB-02")
@pytest.mark.claim("DROP-12")
def test_strengths_that_are_best_alone_are_an_overdose_together():
    found = compared("dropout", "weight decay", noise=0.25)
    assert found.first.mean == pytest.approx(3.4, abs=0.05)
    assert found.second.mean == pytest.approx(8.6, abs=0.05)
    assert found.both.mean == pytest.approx(-3.1, abs=0.05)
    assert verdict(found.over_better) == "hurts"
    three = [("dropout",), ("mixup",), ("label smoothing",)]
    names = tuple(name for (name,) in three)
    full, half = (
        over_best(names, three, noise=0.25, metric="accuracy", halved=h) for h in (False, True)
    )
    assert verdict(full) == "hurts"
    assert half.mean > full.mean + 5


@pytest.mark.claim("BN-11")
@pytest.mark.claim("COMB-03")
def test_two_norms_on_one_tensor_do_little_harm():
    right, wrong = (compared("batch norm", "layer norm", noise=noise) for noise in NOISES)
    assert verdict(right.over_better) == "hurts"
    assert right.over_better.mean == pytest.approx(-0.61, abs=0.01)
    assert verdict(wrong.over_better) == "no difference seen"


@pytest.mark.claim("DROP-11")
@pytest.mark.claim("COMB-04")
def test_the_variance_shift_grows_with_depth_and_new_statistics_lower_the_loss():
    for depth in (2, 4, 8):
        every, last = (
            stored_run("dropout_before_batch_norm", depth=depth, place=place, p=0.3)
            for place in ("dropout", "dropout at the end")
        )
        assert np.all(np.diff(every["ratios"]) < 0)
        assert every["ratios"][0] == pytest.approx(1, abs=0.02)  # no dropout in front of it
        assert min(last["ratios"]) > 0.95
        assert np.mean(every["loss_again"]) < np.mean(every["loss"])
        assert np.mean(last["loss"]) < np.mean(every["loss"])
    ends = [
        stored_run("dropout_before_batch_norm", depth=depth, place="dropout", p=0.5)["ratios"][-1]
        for depth in (2, 4, 8)
    ]
    assert np.round(ends, 2) == pytest.approx([0.63, 0.34, 0.01])
    # In the shallow network it costs loss, not accuracy.
    made = stored_run("dropout_before_batch_norm", depth=2, place="dropout", p=0.5)
    fall = paired_interval(np.array(made["loss"]) - made["loss_again"])
    change = paired_interval((np.array(made["right"]) - made["right_again"]) / 6)
    assert verdict(fall) == "helps"
    assert verdict(change) == "no difference seen"


def test_batch_norm_over_stacked_networks_is_the_librarys():
    from trainlab.normalization import batch_norm, layer_norm

    z = rng(6).standard_normal((3, 20, 4))  # (networks, batch, features)
    for network, found in zip(z, layer_norm(z, axis=1, eps=1e-5), strict=True):
        assert_close(found, batch_norm(network, eps=1e-5))
