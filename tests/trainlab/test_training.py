"""The training loop and the learning-rate range test."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import learning_rate as L
from trainlab import optimizers as O
from trainlab import training as T


def rng(seed=0):
    return np.random.default_rng(seed)


def bowl(w):
    """Curvature 10."""
    return 5.0 * w * w


ONE = np.array(1.0)


def test_every_epoch_shows_each_example_once():
    rows = T.minibatch_rows(10, batch_size=4, steps=8, rng=rng())
    assert rows.shape == (8, 4)
    epochs = rows.ravel()[:30].reshape(3, 10)
    assert (np.sort(epochs) == np.arange(10)).all()
    assert (epochs[0] != epochs[1]).any()
    assert T.minibatch_rows(3, batch_size=7, steps=1, rng=rng()).shape == (1, 7)
    assert T.minibatch_rows(3, batch_size=2, steps=0, rng=rng()).shape == (0, 2)


def test_training_is_the_optimizer_step_by_step():
    done = T.train(bowl, ONE, batches=[()] * 5, lr=0.01, optimizer="sgd", momentum=0.9)
    w, state, losses = ONE, O.sgd_init(ONE), []
    for _ in range(5):
        losses.append(5 * float(w) ** 2)
        updates, state = O.sgd_update(10 * w, state, w, lr=0.01, momentum=0.9)
        w = O.apply_updates(w, updates)
    assert_close(done.params, w)
    assert_close(done.losses, losses)
    assert done.state.steps == 5
    assert done.watched == []
    pair = O.Optimizer(O.sgd_init, O.sgd_update)
    same = T.train(bowl, ONE, batches=[()] * 5, lr=0.01, optimizer=pair, momentum=0.9)
    assert same.params == done.params


def test_default_optimizer_is_plain_descent():
    done = T.train(bowl, ONE, batches=[()] * 3, lr=0.01)
    assert_close(done.params, np.asarray(0.9**3))


def test_schedule_counts_from_zero_and_watch_sees_all_weights():
    done = T.train(
        bowl,
        ONE,
        batches=[()] * 2,
        lr=partial(L.linear, lr=0.1, steps=2),
        watch=lambda step, w: (step, float(w)),
    )
    assert done.watched == [(0, 1.0), (1, 0.0), (2, 0.0)]  # lr 0.1 reaches the bottom at once
    assert done.losses.tolist() == [5.0, 0.0]


def test_batches_are_the_arguments_of_the_loss():
    def loss(params, x, y):
        return ((x @ params["w"] - y) ** 2)[0, 0]

    x, y = rng().standard_normal((40, 1, 3)), rng(1).standard_normal((40, 1, 1))
    start = {"w": np.zeros((3, 1))}
    batches = ((x[i], y[i]) for i in range(40))
    done = T.train(loss, start, batches=batches, lr=0.05)
    w = np.zeros((3, 1))
    for xi, yi in zip(x, y, strict=True):
        w = w - 0.05 * 2 * xi.T @ (xi @ w - yi)
    assert_close(done.params["w"], w)
    assert not start["w"].any()


def test_divergence_ends_with_the_loss_that_shows_it():
    done = T.train(bowl, ONE.astype(np.float32), batches=[()] * 1000, lr=2.0)
    assert len(done.losses) < 20
    assert np.isinf(done.losses[-1])
    assert np.isfinite(done.losses[:-1]).all()
    assert done.params.dtype == np.float32
    assert abs(done.params) > 1e18


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match=r"train: options must be among .*momentum.*; got 'beta'"):
        T.train(bowl, ONE, batches=[()], lr=0.1, beta=0.9)
    with pytest.raises(ValueError, match="train: optimizer must be one of 'sgd'"):
        T.train(bowl, ONE, batches=[()], lr=0.1, optimizer="newton")


def test_smoothing_of_a_ramp_lags_by_its_memory():
    smoothed = T.smoothed_losses(np.arange(400.0), smoothing=0.9)
    assert_close(np.arange(400.0)[-1] - smoothed[-1], 0.9 / 0.1)
    assert_close(T.smoothed_losses(np.full(5, 3.0)), np.full(5, 3.0))
    assert_close(T.smoothed_losses([1.0, 3.0]), [1.0, (0.09 + 0.3) / 0.19])
    assert T.smoothed_losses([4.0, 2.0], smoothing=0.0).tolist() == [4.0, 2.0]


def test_range_test_runs_from_low_to_high():
    test = T.lr_range_test(bowl, ONE, batches=[()] * 9, steps=5, low=1e-4, high=1e-2, smoothing=0.5)
    assert_close(test.lr, np.geomspace(1e-4, 1e-2, 5))
    shrink = np.concatenate([[1.0], np.cumprod(1 - 10 * test.lr)[:-1]])
    assert_close(test.losses, 5 * shrink**2)
    assert_close(test.smoothed, T.smoothed_losses(test.losses, smoothing=0.5))
    shortest = T.lr_range_test(bowl, ONE, batches=[(), ()], steps=2, low=1e-4, high=1e-2)
    assert_close(shortest.lr, [1e-4, 1e-2])


def test_range_test_finds_the_blow_up_late():
    """The limit of a bowl of curvature 10 is 0.2; what the test shows comes after it."""
    found = {}
    for steps in (50, 100, 200, 400):
        test = T.lr_range_test(bowl, ONE, batches=[()] * steps, steps=steps, smoothing=0.0)
        assert test.losses[-1] > 4 * test.losses[0] >= test.losses[-2]
        found[steps] = test.lr[-1]
    assert all(0.2 < lr < 10 for lr in found.values())
    assert found[100] > 2 * 0.2
    assert T.suggested_lr(test, rule="minimum") > 0.1
    # Smoothing delays it further.
    lag = T.lr_range_test(bowl, ONE, batches=[()] * 400, steps=400).lr[-1]
    assert lag > found[400]


def test_range_test_defaults():
    given = {"low": 1e-4, "high": 10.0, "optimizer": "sgd", "smoothing": 0.9, "stop": 4.0}
    run = partial(T.lr_range_test, bowl, ONE, batches=[()] * 60, steps=60)
    for a, b in zip(run(), run(**given), strict=True):
        assert_close(a, b, rtol=0)
    assert len(run(stop=1e6).lr) > len(run().lr)
    adam = run(optimizer="adam", b1=0.0)
    assert len(adam.lr) > len(run().lr)  # a step has the length lr


def test_suggestions_of_a_test():
    lr = np.array([0.01, 0.1, 1.0, 10.0, 100.0])
    smoothed = np.array([5.0, 4.9, 2.0, 1.0, 9.0])
    test = T.RangeTest(lr, smoothed[::-1], smoothed)
    assert T.suggested_lr(test) == T.suggested_lr(test, rule="minimum/10") == 1.0
    assert T.suggested_lr(test, rule="minimum") == 10.0
    assert T.suggested_lr(test, rule="steepest") == 1.0  # (1 - 4.9) / 2 is the lowest slope


def test_range_test_refuses_a_loss_that_is_infinite_at_once():
    with pytest.raises(ValueError, match="lr_range_test: loss must be finite"):
        T.lr_range_test(bowl, np.array(1e300), batches=[()] * 3, steps=3)
