"""Learning-rate schedules."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import learning_rate as L

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
