"""Learning-rate schedules."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import adaptive_optimizers as A
from trainlab import batch_size as B
from trainlab import learning_rate as L
from trainlab import training as T
from trainlab.classification import cross_entropy
from trainlab.datasets import digits
from trainlab.mlp import mlp, mlp_init
from trainlab.sweeps import learning_rate_batch_size as S
from trainlab.sweeps import stored, stored_run
from trainlab.sweeps._side_by_side import SIZES, train_side_by_side

STEPS = np.arange(40)


def optax_values(schedule):
    import jax

    jax.config.update("jax_enable_x64", True)
    return np.array([float(schedule(int(s))) for s in STEPS])


def _optax(make):
    import optax

    return optax_values(make(optax))


OPTAX = {
    "constant": (partial(L.constant, lr=0.3), lambda o: o.constant_schedule(0.3)),
    "linear": (
        partial(L.linear, lr=0.3, steps=30, end=0.1),
        lambda o: o.linear_schedule(0.3, 0.1, 30),
    ),
    "polynomial": (
        partial(L.polynomial, lr=0.3, steps=30, power=2.5, end=0.1),
        lambda o: o.polynomial_schedule(0.3, 0.1, 2.5, 30),
    ),
    "cosine": (
        partial(L.cosine, lr=0.3, steps=30, end=0.1),
        lambda o: o.cosine_decay_schedule(0.3, 30, 1 / 3),
    ),
    "exponential": (
        partial(L.exponential, lr=0.3, gamma=0.9),
        lambda o: o.exponential_decay(0.3, 1, 0.9),
    ),
    "step_decay": (
        partial(L.step_decay, lr=0.3, step_size=7),
        lambda o: o.exponential_decay(0.3, 7, 0.1, staircase=True),
    ),
    "multistep": (
        partial(L.multistep, lr=0.3, milestones=[5, 20], gamma=0.5),
        lambda o: o.piecewise_constant_schedule(0.3, {5: 0.5, 20: 0.5}),
    ),
    "one_cycle": (
        partial(L.one_cycle, lr=0.3, steps=30),
        lambda o: o.cosine_onecycle_schedule(30, 0.3),
    ),
    "warmup": (
        partial(
            L.warmup,
            schedule=partial(L.cosine, lr=0.3, steps=25, end=0.1),
            warmup_steps=5,
            start=0.05,
        ),
        lambda o: o.warmup_cosine_decay_schedule(0.05, 0.3, 5, 30, 0.1),
    ),
}


@pytest.mark.referee
@pytest.mark.parametrize("name", OPTAX)
def test_as_in_optax(name):
    ours, theirs = OPTAX[name]
    # atol: where a schedule is at 0, optax is at a rounding error
    assert_close(ours(STEPS), _optax(theirs), rtol=1e-10, atol=1e-15)


TORCH = {
    "StepLR": (partial(L.step_decay, step_size=7, gamma=0.3), {"step_size": 7, "gamma": 0.3}, 40),
    "MultiStepLR": (
        partial(L.multistep, milestones=[5, 20]),
        {"milestones": [5, 20]},
        40,
    ),
    "ExponentialLR": (partial(L.exponential, gamma=0.9), {"gamma": 0.9}, 40),
    "LinearLR": (
        partial(L.linear, steps=30, end=0.0),
        {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 30},
        40,
    ),
    "PolynomialLR": (
        partial(L.polynomial, steps=30, power=2.0),
        {"total_iters": 30, "power": 2.0},
        40,
    ),
    # PyTorch's cosine rises again after T_max.
    "CosineAnnealingLR": (
        partial(L.cosine, steps=30, end=0.1),
        {"T_max": 30, "eta_min": 0.1},
        31,
    ),
    "CosineAnnealingWarmRestarts": (
        partial(L.cosine_restarts, steps=3, t_mult=2, end=0.1),
        {"T_0": 3, "T_mult": 2, "eta_min": 0.1},
        40,
    ),
    # The top is one step earlier and the end on the last update: another way to count.
    "OneCycleLR": (
        partial(L.one_cycle, steps=39, pct_start=(0.3 * 40 - 1) / 39),
        {"max_lr": 0.3, "total_steps": 40},
        40,
    ),
}


@pytest.mark.referee
@pytest.mark.parametrize("name", TORCH)
def test_as_in_pytorch(name):
    torch = pytest.importorskip("torch")
    ours, options, count = TORCH[name]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
    theirs = []
    for step in range(count):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < count - 1:
            scheduler.step()
    # PyTorch multiplies step by step; atol: rounding errors at 0
    assert_close(ours(np.arange(count), lr=0.3), theirs, rtol=1e-10, atol=1e-15)


def test_one_step_gives_a_float_and_several_an_array():
    for name in L.__all__:
        options = {
            "step_decay": {"step_size": 2},
            "multistep": {"milestones": [2]},
            "exponential": {"gamma": 0.5},
            "constant": {},
            "inverse_sqrt": {"timescale": 4},
            "warmup_stable_decay": {"steps": 8, "warmup_steps": 2, "decay_steps": 2},
        }.get(name, {"steps": 8})
        f = partial(getattr(L, name), lr=0.5, **options)
        if name == "warmup":
            f = partial(L.warmup, schedule=partial(L.linear, lr=0.5, steps=8), warmup_steps=3)
        several = f(np.arange(6).reshape(2, 3))
        assert several.shape == (2, 3)
        assert several.dtype == np.float64
        assert type(f(4)) is float
        assert_close(several[1, 1], f(4), rtol=1e-14)
        assert f(np.int64(4)) == f(4)
        assert f(np.array([], int)).shape == (0,)


@pytest.mark.parametrize("name", ["linear", "polynomial", "cosine"])
def test_the_end_comes_one_step_after_training_and_stays(name):
    f = partial(getattr(L, name), lr=1.0, steps=10, end=0.25)
    assert f(0) == 1.0
    assert f(9) > 0.25
    assert f(10) == f(11) == f(10**9) == 0.25
    assert np.all(np.diff(f(np.arange(11))) < 0)
    assert getattr(L, name)(10, lr=1.0, steps=10) == 0.0  # the default end


def test_polynomial_of_power_one_is_linear():
    assert_close(L.polynomial(STEPS, lr=0.3, steps=30), L.linear(STEPS, lr=0.3, steps=30))


def test_restarts_without_growth_repeat_the_cosine_forever():
    cycle = L.cosine(np.arange(8), lr=0.3, steps=8, end=0.1)
    assert_close(L.cosine_restarts(STEPS, lr=0.3, steps=8, end=0.1), np.tile(cycle, 5))
    assert L.cosine_restarts(8 * 10**9, lr=0.3, steps=8) == 0.3
    grown = L.cosine_restarts(np.arange(3 + 9), lr=0.3, steps=3, t_mult=3)
    assert_close(grown[3:], L.cosine(np.arange(9), lr=0.3, steps=9))


def test_one_cycle_defaults():
    assert_close(L.one_cycle(0, lr=1.0, steps=10), 1 / 25)
    assert_close(L.one_cycle(3, lr=1.0, steps=10), 1.0)
    assert_close(L.one_cycle(10, lr=1.0, steps=10), 1 / 25 / 1e4)
    flat = L.one_cycle(np.arange(11), lr=0.5, steps=10, div_factor=1, final_div_factor=1)
    assert_close(flat, np.full(11, 0.5))


def test_inverse_root_after_warmup_is_the_transformers_schedule():
    model, count = 512, 10
    after = partial(L.inverse_sqrt, lr=model**-0.5 * count**-0.5, timescale=count)
    ours = L.warmup(STEPS[1:], schedule=after, warmup_steps=count)
    t = STEPS[1:]
    assert_close(ours, model**-0.5 * np.minimum(t**-0.5, t * count**-1.5))


def test_warmup_of_no_steps_is_the_schedule_itself():
    after = partial(L.cosine, lr=0.3, steps=10)
    assert_close(L.warmup(STEPS, schedule=after, warmup_steps=0), after(STEPS))
    assert L.warmup(0, schedule=after, warmup_steps=4) == 0.0
    assert_close(L.warmup(3, schedule=after, warmup_steps=4), 0.225)
    assert L.warmup(4, schedule=after, warmup_steps=4) == 0.3


@pytest.mark.parametrize("shape", ["linear", "cosine", "sqrt"])
def test_warmup_stable_decay_in_its_parts(shape):
    values = L.warmup_stable_decay(
        np.arange(13), lr=1.0, steps=12, warmup_steps=4, decay_steps=4, end=0.2, shape=shape
    )
    assert_close(values[:9], [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1])
    middle = {"linear": 0.6, "cosine": 0.6, "sqrt": 1 - 0.8 * math.sqrt(0.5)}[shape]
    assert_close(values[10], middle)
    quarter = {"linear": 0.8, "cosine": 0.2 + 0.4 * (1 + math.sqrt(0.5)), "sqrt": 0.6}[shape]
    assert_close(values[9], quarter)
    assert values[12] == 0.2


def test_warmup_stable_decay_without_rise_or_fall():
    f = partial(L.warmup_stable_decay, lr=1.0, steps=4, warmup_steps=0)
    assert_close(f(np.arange(6), decay_steps=0), [1, 1, 1, 1, 0, 0])
    assert_close(f(np.arange(6), decay_steps=4), L.linear(np.arange(6), lr=1.0, steps=4))
    linear = f(np.arange(6), decay_steps=2, shape="linear")
    assert_close(f(np.arange(6), decay_steps=2), linear)


# --- what the page shows ----------------------------------------------------------------------


def test_range_test_of_a_bowl_is_back_at_its_start_at_a_fixed_multiple_of_the_limit():
    """Where ∫ ln|1 - u| / u du from 0 is 0 again: at 12.6 / curvature, whatever the length."""
    u = np.exp(np.linspace(math.log(1e-6), math.log(20), 400_001))
    area = np.cumsum(np.log(np.abs(1 - u))) * math.log(u[1] / u[0])
    root = u[np.flatnonzero((area > 0) & (u > 2))[0]]
    assert_close(root, 12.595, rtol=1e-3)  # a sum of 400 000 terms
    for steps, band in ((200, 0.06), (1000, 0.015)):  # the last step goes beyond by 12.6^(1/steps)
        test = T.lr_range_test(
            lambda w: 5.0 * w * w,
            np.array(1.0),
            batches=[()] * steps,
            steps=steps,
            smoothing=0.0,
            stop=1.0001,
        )
        assert_close(test.lr[-1] * 10, root, rtol=band)
        assert_close(T.suggested_lr(test, rule="minimum"), 0.2, rtol=band)


@pytest.mark.claim("HP-03")
def test_adam_makes_its_longest_steps_first():
    """On pure noise: lr at the first step, then lr · √((1 - b1) / (1 + b1))."""
    rng, w = np.random.default_rng(0), np.zeros(20_000)
    state, lengths = A.adam_init(w), []
    for _ in range(300):
        updates, state = A.adam_update(rng.standard_normal(w.shape), state, w, lr=1.0)
        lengths.append(math.sqrt(np.mean(updates**2)))
    assert_close(lengths[0], 1.0)
    assert np.all(np.diff(lengths[:10]) < 0)
    assert_close(np.mean(lengths[100:]), math.sqrt(0.1 / 1.9), rtol=0.02)  # the mean of 1/√v̂


@pytest.mark.claim("HP-03")
def test_warm_up_lets_the_curvature_fall_first():
    """Stored runs at lr 1.2: the curvature at the start allows 0.23."""
    runs = {w: stored_run("learning_rate_warmup", lr=1.2, warmup_steps=w) for w in (0, 25, 200)}
    assert [runs[w]["diverged"] for w in runs] == [5, 5, 0]
    start, end = runs[200]["sharpness"][0], np.mean(runs[200]["sharpness"][-10:])
    assert 2 / start < 0.25
    assert end < start / 3
    assert 1 < end * 1.2 / 2 < 1.3  # it stays a little above the limit
    slow = stored_run("learning_rate_warmup", lr=0.4, warmup_steps=0)
    assert slow["diverged"] == 0
    assert 2 / start < 0.4
    # The edge of stability; the curvature hovers about it.
    assert_close(np.mean(slow["sharpness"][-10:]) * 0.4 / 2, 1.0, rtol=0.05)


@pytest.mark.claim("HP-02")
def test_steps_on_the_digits_follow_the_noise_scale():
    """The formula, with two numbers fitted, gives the steps at five batch sizes within a third."""
    for optimizer in S.RATES:
        least, scale = S.fitted_noise_scale(optimizer)
        for size in S.STEPS:
            needed = min(S.to_goal(optimizer, size, i) for i in range(len(S.RATES[optimizer])))
            expected = B.steps_and_examples(size, noise_scale=scale, min_steps=least).steps
            assert_close(needed, float(expected), rtol=1 / 3)
    # Adam can use larger batches than descent.
    assert S.fitted_noise_scale("adam")[1] > 2 * S.fitted_noise_scale("sgd")[1]


def test_every_falling_schedule_beats_the_best_constant_rate_on_the_digits():
    best = {}
    for run in stored("learning_rate_schedules"):
        end = min(losses[-1] for losses in run["validation"])
        best[run["shape"]] = min(end, best.get(run["shape"], np.inf))
    constant = best.pop("constant")
    assert max(best.values()) < 0.8 * constant
    assert max(best.values()) < 1.5 * min(best.values())


def test_networks_side_by_side_are_what_each_would_be_alone():
    """The stacked training of the sweeps against `trainlab.training.train`."""
    x, y = digits(part="train")
    rates = np.array([[0.1, 0.3]] * 5)
    both = train_side_by_side(rates, seeds=(0, 3), batch_size=8, watched=(0, 5), momentum=0.9)
    for run, seed in enumerate((0, 3)):
        rows = T.minibatch_rows(len(y), batch_size=8, steps=5, rng=np.random.default_rng([seed, 1]))
        done = T.train(
            lambda params, x, y: cross_entropy(mlp(params, x), y),
            mlp_init(SIZES, rng=np.random.default_rng(seed)),
            batches=((x[r], y[r]) for r in rows),
            lr=float(rates[0, run]),
            momentum=0.9,
        )
        assert_close(both.train[-1, run], float(cross_entropy(mlp(done.params, x), y)), rtol=1e-9)
