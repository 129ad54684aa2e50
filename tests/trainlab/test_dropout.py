"""`trainlab.dropout`: hand-computed values, identities, referees, and the ledger's DROP rows."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.differentiation import check_grad, vjp
from trainlab.dropout import drop_connect, dropout, dropout_test, keep_mask
from trainlab.dropout_statistics import (
    dropout_moments,
    dropout_ridge,
    dropout_signal,
    expected_dropout_loss,
    softmax_ensemble,
    variance_shift,
)
from trainlab.dropout_study import _gradients, errors_after_training, teacher_tasks
from trainlab.sweeps import stored_run
from trainlab.sweeps.dropout_data_size import gain

RELU_MEAN, RELU_VAR = 1 / math.sqrt(2 * math.pi), 0.5 - 1 / (2 * math.pi)  # of max(0, N(0, 1))


def rng(*seed):
    return np.random.default_rng(seed or 0)


# The mask


def test_mask_keeps_the_right_share():
    mask = keep_mask((200, 500), p=0.3, rng=rng())
    # 4 standard deviations of the share of 10^5 draws
    assert abs(mask.mean() - 0.7) < 4 * math.sqrt(0.3 * 0.7 / mask.size)


def test_no_dropping_and_identity():
    x = rng().standard_normal((3, 4))
    mask = keep_mask(x.shape, p=0.0, rng=rng())
    assert mask.all()
    assert_close(dropout(x, mask, p=0.0), x)


@pytest.mark.parametrize("axes", [(), (0,), (1,), (-1,), (1, 2), (0, 1, 2)])
def test_shared_axes_hold_one_draw(axes):
    mask = keep_mask((3, 4, 5), p=0.5, rng=rng(1), shared_axes=axes)
    for axis in range(3):
        constant = bool((mask == mask.take([0], axis=axis)).all())
        assert constant == (axis in {a % 3 for a in axes})


def test_mask_is_a_fresh_writable_array():
    mask = keep_mask((2, 3), p=0.5, rng=rng(), shared_axes=(1,))
    before = mask[0, 1]
    mask[0, 0] = ~mask[0, 0]
    assert mask[0, 1] == before


# Forward, backward, test time


def test_hand_computed_values():
    x, mask = np.array([[1.0, -2.0, 3.0]]), np.array([[True, True, False]])
    assert_close(dropout(x, mask, p=0.2), np.array([[1.25, -2.5, 0.0]]))
    assert_close(dropout(x, mask, p=0.2, scaling="standard"), np.array([[1.0, -2.0, 0.0]]))
    assert_close(dropout_test(x, p=0.2), x)
    assert_close(dropout_test(x, p=0.2, scaling="standard"), np.array([[0.8, -1.6, 2.4]]))
    assert dropout_test(x, p=0.2) is not x


def test_inverted_is_standard_over_keep():
    x = rng(2).standard_normal((4, 5))
    mask = keep_mask(x.shape, p=0.4, rng=rng(3))
    assert_close(dropout(x, mask, p=0.4), dropout(x, mask, p=0.4, scaling="standard") / 0.6)


@pytest.mark.parametrize("scaling", ["inverted", "standard"])
def test_mean_over_all_masks_is_the_test_rule_of_the_standard_scaling(scaling):
    """Enumerate every mask of three units: E[train] = (1 - p)·scale·x, exactly."""
    x, p = np.array([1.0, -2.0, 0.5]), 0.3
    mean, second = np.zeros(3), np.zeros(3)
    for kept in itertools.product([True, False], repeat=3):
        share = (1 - p) ** sum(kept) * p ** (3 - sum(kept))
        y = dropout(x, np.array(kept), p=p, scaling=scaling)
        mean, second = mean + share * y, second + share * y**2
    assert_close(mean, dropout_test(x, p=p, scaling=scaling))
    for value, m, s in zip(x, mean, second, strict=True):
        moments = dropout_moments(value, 0.0, p=p, scaling=scaling)
        assert_close(np.array(moments), np.array([m, s - m**2, s]))


@pytest.mark.parametrize("scaling", ["inverted", "standard"])
def test_dropout_gradient(scaling):
    x = rng(4).standard_normal((6, 7))
    mask = keep_mask(x.shape, p=0.4, rng=rng(5))
    # linear maps: only rounding is left
    training = functools.partial(dropout, mask=mask, p=0.4, scaling=scaling)
    assert check_grad(training, x, rng=rng(6)) < 1e-8
    value, pullback = vjp(training, x)
    np.testing.assert_array_equal(pullback(x)[0], value)  # the same mask, the same scale
    after = functools.partial(dropout_test, p=0.4, scaling=scaling)
    assert check_grad(after, x, rng=rng(6)) < 1e-8


def test_drop_connect_gradients():
    x, w = rng(7).standard_normal((5, 4)), rng(8).standard_normal((3, 4))
    mask = keep_mask(w.shape, p=0.3, rng=rng(9))
    connect = functools.partial(drop_connect, mask=mask, p=0.3)
    assert check_grad(connect, x, w, rng=rng(10)) < 1e-7  # bilinear: rounding of the difference
    assert check_grad(connect, np.zeros((0, 4)), w, rng=rng(10)) == 0


@pytest.mark.referee
def test_against_jax():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        x, w = rng(7).standard_normal((5, 4)), rng(8).standard_normal((3, 4))
        cotangent, mask = rng(9).standard_normal((5, 3)), keep_mask((3, 4), p=0.3, rng=rng(9))
        y, pull = jax.vjp(lambda x, w: x @ (w * mask / 0.7).T, x, w)
        assert_close(drop_connect(x, w, mask, p=0.3), np.asarray(y))
        _, pullback = vjp(functools.partial(drop_connect, mask=mask, p=0.3), x, w)
        grads = pullback(cotangent)
        for ours, theirs in zip(grads, pull(cotangent), strict=True):
            assert_close(ours, np.asarray(theirs))
        out = softmax_ensemble(x[0], w, np.arange(3.0), p=0.3)
        assert_close(out.geometric, np.asarray(jax.nn.softmax(w @ x[0] + np.arange(3.0))))


@pytest.mark.referee
def test_study_gradient_against_jax():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    with jax.enable_x64(True):
        tasks = teacher_tasks(12, runs=2, rng=rng(1), n_test=1)
        x, y = tasks.x.astype(float), tasks.y.astype(float)
        sizes = [(6, 20), (6, 6), (1, 6), (1, 6), (1, 6), (1, 1)]
        params = [rng(2, i).standard_normal((2, *s)) for i, s in enumerate(sizes)]
        draws = rng(3)
        masks = [keep_mask((2, 12, 6), p=0.4, rng=draws) for _ in range(2)]

        def loss(params):
            h = x
            for layer in range(2):
                z = jnp.einsum("rbi,roi->rbo", h, params[layer]) + params[3 + layer]
                h = jnp.maximum(z, 0) * masks[layer] / 0.6
            z = (jnp.einsum("rbi,roi->rbo", h, params[2]) + params[5])[..., 0]
            return jnp.sum(jnp.mean(jnp.logaddexp(0, z) - y * z, axis=1))  # runs do not mix

        ours = _gradients(params, x, y, 0.4, rng(3))
        for a, b in zip(ours, jax.grad(loss)(params), strict=True):
            # The library divides by a float32 batch size; atol: where the logistic is 1 up to
            # rounding, its difference from the label cancels.
            assert_close(a, np.asarray(b), rtol=1e-6, atol=1e-12)


@pytest.mark.referee
def test_against_torch():
    torch = pytest.importorskip("torch")
    x = torch.ones(1, 40, 30, 30)
    for layer, axes in ((torch.nn.Dropout(0.2), ()), (torch.nn.Dropout2d(0.2), (2, 3))):
        y = layer.train()(x).numpy()
        ours = dropout(
            np.ones(x.shape), keep_mask(x.shape, p=0.2, rng=rng(), shared_axes=axes), p=0.2
        )
        assert_close(np.unique(y), np.unique(ours).astype(np.float32))
        assert (y[0] == y[0, :, :1, :1]).all() == bool(axes)
        assert_close(layer.eval()(x).numpy(), x.numpy())


# The ledger


@pytest.mark.claim("DROP-01")
def test_p_is_the_probability_of_dropping():
    """A keep probability of 0.8 copied from the 2014 paper keeps 20 %, scaled by five."""
    mask = keep_mask((100_000,), p=0.8, rng=rng())
    # 4 standard deviations of the share of 10^5 draws
    assert abs(mask.mean() - 0.2) < 4 * math.sqrt(0.16 / mask.size)
    assert_close(np.unique(dropout(np.ones(mask.shape), mask, p=0.8)), np.array([0.0, 5.0]))


@pytest.mark.claim("DROP-02")
def test_double_scaling_loses_a_factor_a_layer():
    signal = np.ones(1)
    for layer in range(1, 13):
        signal = dropout_test(signal, p=0.2, scaling="standard")
        if layer == 3:
            assert_close(signal, np.array([0.512]))
    assert signal[0] == pytest.approx(0.0687194767, rel=1e-9)
    out = dropout_signal(12, p=0.2, training=False, scaling="standard", activation="linear")
    assert_close(out.signal[-1], signal[0])
    assert_close(out.second_moment[-1], signal[0] ** 2)
    # the right pairs: what a layer gives on average in training, it gives at test time
    for scaling, expected in (("inverted", 1.0), ("standard", signal[0])):
        pair = [
            dropout_signal(12, p=0.2, training=t, scaling=scaling, activation="linear").signal[-1]
            for t in (True, False)
        ]
        assert_close(np.array(pair), np.array([expected, expected]))


@pytest.mark.claim("DROP-03")
def test_only_the_mean_of_a_unit_is_kept():
    moments = dropout_moments(2.0, 0.0, p=0.2)
    assert_close(np.array(moments), np.array([2.0, 1.0, 5.0]))
    x = rng(1).normal(0.5, 1, 200_000)
    for p, variance, tol in (
        (0.1, 1.1389, 0.01),
        (0.3, 1.5357, 0.01),
        (0.5, 2.25, 0.01),
        (0.8, 6.0, 0.05),
    ):
        y = dropout(x, keep_mask(x.shape, p=p, rng=rng(2)), p=p)
        theory = dropout_moments(0.5, 1.0, p=p)
        assert theory.var == pytest.approx(variance, abs=1e-3)
        assert y.var() == pytest.approx(theory.var, rel=tol)  # 4 sampling errors or more
        assert y.mean() == pytest.approx(0.5, abs=4 * math.sqrt(theory.var / x.size))


@pytest.mark.claim("DROP-03")
@pytest.mark.parametrize(("keep", "narrow"), [(0.9, 1.05), (0.8, 1.11), (0.5, 1.39)])
def test_behind_a_relu_not_even_the_mean_is_kept(keep, narrow):
    """The mean of a ReLU unit grows by 1/√(1-p) if it is wide, a little less with 20 inputs."""
    p = 1 - keep
    wide = math.sqrt(dropout_signal(1, p=p, training=True).second_moment[1])
    assert wide == pytest.approx(1 / math.sqrt(keep), rel=1e-12)
    n, draws = 20, 200_000
    x, w = rng(1).standard_normal((draws, n)), rng(2).standard_normal((draws, n))
    dropped = dropout(x, keep_mask(x.shape, p=p, rng=rng(3)), p=p)
    ratio = (
        np.maximum(np.sum(dropped * w, axis=1), 0).mean()
        / np.maximum(np.sum(x * w, axis=1), 0).mean()
    )
    assert ratio == pytest.approx(narrow, abs=0.02)  # rounding of the ledger and sampling error
    assert ratio < wide


@pytest.mark.claim("DROP-04")
def test_weight_scaling_is_the_geometric_mean_for_one_softmax_layer():
    worst = []
    for seed in range(5):
        x, w = rng(seed).standard_normal(10), rng(seed, 1).standard_normal((4, 10))
        bias = rng(seed, 2).standard_normal(4)
        out = softmax_ensemble(x, w, bias, p=0.5)
        logits = w @ x + bias
        full = np.exp(logits - logits.max())
        full /= full.sum()
        assert_close(out.geometric, full)
        # the paper's form: unscaled masks, and the weights halved afterwards
        assert_close(softmax_ensemble(x / 2, w, bias, p=0.5).geometric, _softmax(w @ x / 2 + bias))
        worst.append(np.abs(out.arithmetic - full).max())
        assert out.arithmetic.sum() == pytest.approx(1, rel=1e-12)
    assert min(worst) > 0.005
    assert max(worst) < 0.5
    assert max(worst) > 0.05


def _softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


@pytest.mark.claim("DROP-04")
def test_behind_a_hidden_layer_it_is_an_approximation():
    """All 2^10 masks of ten hidden tanh-free ReLU inputs: the geometric mean misses the net."""
    x, w1 = rng(1).standard_normal(10), rng(2).standard_normal((12, 10)) * 0.5
    w2 = rng(3).standard_normal((4, 12)) * 0.5
    masks = ((np.arange(1024)[:, None] >> np.arange(10)) & 1).astype(bool)
    hidden = np.maximum(dropout(np.tile(x, (1024, 1)), masks, p=0.5) @ w1.T, 0)
    logits = hidden @ w2.T
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    geometric = np.exp(log_p.mean(axis=0))
    geometric /= geometric.sum()
    full = _softmax(w2 @ np.maximum(w1 @ x, 0))
    assert np.abs(geometric - full).max() > 0.01


@pytest.mark.claim("DROP-05")
@pytest.mark.parametrize("p", [0.2, 0.5])
def test_linear_dropout_is_a_ridge_scaled_by_the_data(p):
    x, w = rng(1).standard_normal((40, 8)) * np.arange(1, 9), rng(2).standard_normal(8)
    y = x @ rng(3).standard_normal(8) + rng(4).standard_normal(40)
    exact = expected_dropout_loss(x, y, w, p=p)
    losses = [
        np.sum((y - dropout(x, keep_mask(x.shape, p=p, rng=generator), p=p) @ w) ** 2)
        for generator in itertools.repeat(rng(5), 4000)
    ]
    standard_error = np.std(losses, ddof=1) / math.sqrt(len(losses))
    assert abs(np.mean(losses) - exact) < 4 * standard_error
    # the penalty is no small correction here
    assert exact > np.sum((y - x @ w) ** 2) + 40 * standard_error
    solution = dropout_ridge(x, y, p=p)
    gram = x.T @ x
    closed = np.linalg.solve(gram + p / (1 - p) * np.diag(np.diag(gram)), x.T @ y)
    assert_close(solution, closed)
    for step in 1e-4 * rng(6).standard_normal((10, 8)):
        assert expected_dropout_loss(x, y, solution + step, p=p) > expected_dropout_loss(
            x, y, solution, p=p
        )


@pytest.mark.claim("DROP-05")
def test_the_penalty_ignores_the_units_of_a_feature():
    x, y = rng(1).standard_normal((30, 5)), rng(2).standard_normal(30)
    scale = np.array([1e-3, 0.1, 1.0, 10.0, 1e3])
    assert_close(x @ dropout_ridge(x, y, p=0.5), x * scale @ dropout_ridge(x * scale, y, p=0.5))
    # plain ridge is not indifferent
    plain = [a @ dropout_ridge(a, y, p=0.0, l2=10.0) for a in (x, x * scale)]
    assert np.abs(plain[0] - plain[1]).max() > 0.1


def test_least_squares_is_the_limit_and_l2_is_ridge():
    x, y = rng(1).standard_normal((30, 5)), rng(2).standard_normal((30, 2))
    assert_close(dropout_ridge(x, y, p=0.0), np.linalg.pinv(x) @ y)
    wide = rng(3).standard_normal((3, 5))
    assert_close(dropout_ridge(wide, y[:3], p=0.0), np.linalg.pinv(wide) @ y[:3])
    ridge = np.linalg.solve(x.T @ x + 2 * np.eye(5), x.T @ y)
    assert_close(dropout_ridge(x, y, p=0.0, l2=2.0), ridge)
    for k in range(2):
        assert_close(dropout_ridge(x, y, p=0.3)[:, k], dropout_ridge(x, y[:, k], p=0.3))


@pytest.mark.referee
@pytest.mark.claim("DROP-05")
def test_dropout_ridge_against_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = rng(1).standard_normal((30, 5)) * np.arange(1, 6), rng(2).standard_normal(30)
    norms = np.linalg.norm(x, axis=0)
    model = linear.Ridge(alpha=0.4 / 0.6, fit_intercept=False).fit(x / norms, y)
    assert_close(dropout_ridge(x, y, p=0.4), model.coef_ / norms)


def linear_risk(n, p, noise, *, d=20, seeds=20):
    """Excess test error of dropout_ridge on isotropic data, relative to ‖w*‖²."""
    risks = []
    for seed in range(seeds):
        draws = rng(seed, n)
        x, w = draws.standard_normal((n, d)), draws.standard_normal(d)
        y = x @ w + noise * math.sqrt(d) * draws.standard_normal(n)
        risks.append(np.sum((dropout_ridge(x, y, p=p) - w) ** 2) / np.sum(w**2))
    return float(np.mean(risks))


@pytest.mark.claim("DROP-06")
def test_the_gain_of_a_linear_model_peaks_at_medium_data():
    """None with far too few examples, most around n = d, a loss p² with unlimited data."""
    gain = {n: linear_risk(n, 0.0, 0.5) - linear_risk(n, 0.5, 0.5) for n in (5, 20, 2000)}
    assert abs(gain[5]) < 0.1
    assert gain[20] > 1
    assert gain[2000] == pytest.approx(-0.25, abs=0.02)  # the limit -p², less d/n σ²


@pytest.fixture(scope="module")
def one_pass():
    """Errors in percent by p when each of 25,600 examples is seen once, three runs."""
    tasks = teacher_tasks(400 * 64, runs=3, rng=rng(7))
    return {p: 100 * errors_after_training(tasks, p=p, rng=rng(8)) for p in (0.0, 0.1, 0.5)}


@pytest.mark.claim("DROP-06")
def test_the_gain_of_a_network_is_gone_when_each_example_is_seen_once(one_pass):
    tasks = teacher_tasks(1000, runs=3, rng=rng(1))  # each seen 25 times
    without, dropped = (errors_after_training(tasks, p=p, rng=rng(2)) for p in (0.0, 0.5))
    # the page's twenty runs: 6.1 ± 0.4 points and -0.6 ± 0.1 points
    assert 100 * np.mean(without - dropped) > 3
    assert -2 < np.mean(one_pass[0.0] - one_pass[0.5]) < 1


@pytest.mark.claim("DROP-07")
def test_a_tenth_gains_nothing_in_one_pass(one_pass):
    """The usual 0.1 of older language models moves the one-pass error by less than a point."""
    assert abs(np.mean(one_pass[0.0] - one_pass[0.1])) < 1


@pytest.mark.claim("DROP-06")
def test_the_stored_gain_rises_and_falls_with_the_data():
    few, medium, once = (gain(n, 0.5) for n in (30, 1000, 25_600))
    assert medium[0] > few[0] + 4 * few[1]
    assert few[0] > 4 * few[1]
    assert -1 < once[0] < 0


@pytest.mark.claim("DROP-04")
def test_the_scaled_network_and_the_average_of_thinned_ones_err_alike_when_trained():
    """Of networks with two hidden layers; a single thinned one is far worse than either."""
    scaled, one, average = (
        100 * np.mean(stored_run("dropout_data_size", n=1000, p=0.5, passes=k)["errors"])
        for k in (0, 1, 100)
    )
    assert abs(scaled - average) < 1
    assert one > scaled + 4


def test_passes_average_probabilities():
    """With p = 0 all passes are the one without dropout."""
    tasks = teacher_tasks(20, runs=2, rng=rng(1), n_test=50)
    plain, three = (
        errors_after_training(tasks, p=0.0, rng=rng(2), steps=5, passes=k) for k in (0, 3)
    )
    assert_close(three, plain)
    one, many = (errors_after_training(tasks, p=0.9, rng=rng(2), steps=5, passes=k) for k in (1, 2))
    assert not np.array_equal(one, many)


def test_teachers_differ_and_only_training_labels_are_flipped():
    clean, noisy = (
        teacher_tasks(4000, runs=2, rng=rng(5), label_noise=noise) for noise in (0.0, 0.3)
    )
    assert_close(clean.x, noisy.x)
    assert_close(clean.y_test, noisy.y_test)
    flipped = np.mean(clean.y != noisy.y, axis=1)
    assert np.all(np.abs(flipped - 0.3) < 0.03)  # 4 standard deviations of 4000 draws
    assert not (clean.x[0] == clean.x[1]).any()


@pytest.mark.claim("DROP-08")
def test_averaging_over_pixels_removes_unit_noise_but_not_channel_noise():
    shape, p = (4000, 25), 0.5  # maps, pixels
    noise = {}
    for name, axes in (("unit", ()), ("channel", (1,))):
        mask = keep_mask(shape, p=p, rng=rng(1), shared_axes=axes)
        noise[name] = dropout(np.ones(shape), mask, p=p).mean(axis=1).var()
    theory = p / (1 - p)
    assert noise["unit"] == pytest.approx(theory / 25, rel=0.1)  # 4 sampling errors of 4000 maps
    assert noise["channel"] == pytest.approx(theory, rel=0.1)


@pytest.mark.claim("DROP-09")
def test_a_new_call_is_a_new_mask_and_a_shared_axis_is_not():
    generator = rng(1)
    calls = np.array([keep_mask((1000,), p=0.5, rng=generator) for _ in range(25)])
    # nearly no unit stays on for 25 steps: (1 - p)^25 = 3e-8
    assert calls.all(axis=0).sum() == 0
    assert (calls[0] != calls[1]).mean() == pytest.approx(0.5, abs=0.07)  # 4 sampling errors
    sequence = keep_mask((25, 1000), p=0.5, rng=generator, shared_axes=(0,))
    assert sequence.all(axis=0).mean() == pytest.approx(0.5, abs=0.07)  # 4 sampling errors
    assert (sequence == sequence[0]).all()


@pytest.mark.claim("DROP-10")
def test_dropout_removes_columns_of_weights_and_drop_connect_single_weights():
    x, w = rng(1).standard_normal((1, 9)), rng(2).standard_normal((9, 9))
    units = keep_mask((1, 9), p=0.5, rng=rng(3))
    columns = np.broadcast_to(units, w.shape).copy()
    assert_close(dropout(x, units, p=0.5) @ w.T, drop_connect(x, w, columns, p=0.5))
    single = keep_mask(w.shape, p=0.5, rng=rng(3))
    assert not (single == single[0]).all()


@pytest.mark.claim("DROP-11")
def test_variance_shift_closed_form():
    for keep, zero_mean, relu in ((0.9, 0.9, 0.860), (0.8, 0.8, 0.732), (0.5, 0.5, 0.405)):
        assert variance_shift(0.0, 3.0, p=1 - keep) == pytest.approx(zero_mean, rel=1e-12)
        assert variance_shift(RELU_MEAN, RELU_VAR, p=1 - keep) == pytest.approx(relu, abs=5e-4)
    assert variance_shift(1.0, 1.0, p=0.5) == pytest.approx(1 / 3)
    assert variance_shift(2.0, 1.0, p=0.0) == 1.0


@pytest.mark.claim("DROP-11")
@pytest.mark.parametrize("keep", [0.9, 0.8, 0.5])
def test_variance_shift_in_a_linear_layer(keep):
    x = np.maximum(rng(1).standard_normal((4000, 200)), 0)
    w = rng(2).standard_normal((50, 200))
    dropped = dropout(x, keep_mask(x.shape, p=1 - keep, rng=rng(3)), p=1 - keep)
    ratio = np.mean((x @ w.T).var(axis=0) / (dropped @ w.T).var(axis=0))
    theory = variance_shift(RELU_MEAN, RELU_VAR, p=1 - keep)
    assert ratio == pytest.approx(theory, rel=0.02)  # 50 units, 4000 examples


@pytest.mark.claim("DROP-11")
def test_variance_shift_is_the_ridge_penalty():
    """What dropout adds to the variance of a sum is what it adds to the loss."""
    x, w, p = rng(1).standard_normal((50, 6)) + 0.7, rng(2).standard_normal(6), 0.3
    added = expected_dropout_loss(x, x @ w, w, p=p) / len(x)
    per_feature = [
        w[j] ** 2 * (dropout_moments(x[:, j].mean(), x[:, j].var(), p=p).var - x[:, j].var())
        for j in range(6)
    ]
    assert_close(added, np.sum(per_feature))


@pytest.mark.claim("DROP-12")
def test_regularizers_add_up_and_the_sum_can_be_too_much_or_just_right():
    """Dropout on top of noisy copies: one more penalty; whether it helps depends on the data."""

    def risk(n, noise, p, augmentation):
        total, d = 0.0, 20
        for seed in range(20):
            draws = rng(seed, n)
            x, w = draws.standard_normal((n, d)), draws.standard_normal(d)
            y = x @ w + noise * math.sqrt(d) * draws.standard_normal(n)
            fit = dropout_ridge(x, y, p=p, l2=n * augmentation)
            total += np.sum((fit - w) ** 2) / np.sum(w**2)
        return total / 20

    for n, noise, helps in ((15, 1.0, True), (400, 0.3, False)):
        either = min(risk(n, noise, 0.5, 0.0), risk(n, noise, 0.0, 0.5))
        both = risk(n, noise, 0.5, 0.5)
        assert (both < either) == helps
        assert abs(both - either) > 0.01


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2.0), ("linear", 1.0)])
def test_signal_theory_agrees_with_wide_networks(activation, gain):
    width, depth, p, nets = 256, 6, 0.3, 6
    measured = []
    for seed in range(nets):
        draws = rng(seed)
        clean = noisy = draws.standard_normal((32, width))
        for _ in range(depth):
            w = draws.standard_normal((width, width)) * math.sqrt(gain / width)
            clean, noisy = clean @ w.T, noisy @ w.T
            if activation == "relu":
                clean, noisy = np.maximum(clean, 0), np.maximum(noisy, 0)
            noisy = dropout(noisy, keep_mask(noisy.shape, p=p, rng=draws), p=p)
        measured.append([np.sum(noisy * clean), np.sum(noisy**2)] / np.sum(clean**2))
    theory = dropout_signal(depth, p=p, training=True, activation=activation)
    signal, second_moment = np.mean(measured, axis=0)
    # One net of this width scatters by 6 % and 8 %; six of them and a finite-width bias of 1 %.
    assert signal == pytest.approx(theory.signal[-1], rel=0.08)
    assert second_moment == pytest.approx(theory.second_moment[-1], rel=0.12)


def test_relu_raises_the_signal():
    out = dropout_signal(1, p=0.5, training=True)
    assert_close(out.signal, np.ones(2))  # the first mask comes after the first ReLU
    theta = math.pi / 4  # cos θ = 1/√2
    step = math.sqrt(2) * (math.sin(theta) + (math.pi - theta) * math.cos(theta)) / math.pi
    assert_close(dropout_signal(2, p=0.5, training=True).signal[2], step)
    assert step == pytest.approx(1.0683, abs=1e-4)
