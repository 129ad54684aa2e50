"""Losses of regression."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import regression as R
from trainlab.differentiation import check_grad, value_and_grad, vjp

NOTE = np.array([1.0, -0.5, 0.0, -1.0])  # residuals
LOSSES = {
    "mse": R.mse_loss,
    "l1": R.l1_loss,
    "huber": lambda x, y, **more: R.huber_loss(x, y, delta=0.7, **more),
    "log-cosh": R.log_cosh_loss,
    "quantile": lambda x, y, **more: R.quantile_loss(x, y, quantile=0.8, **more),
}
each_loss = pytest.mark.parametrize("name", LOSSES)


def rng(seed=0):
    return np.random.default_rng(seed)


def gradient(function, *primals):
    value, pullback = vjp(function, *primals)
    return pullback(np.ones_like(value))


def slopes(function, residuals):
    return gradient(lambda x: function(x, np.zeros_like(residuals), reduction="none"), residuals)[0]


# --- values ------------------------------------------------------------------------------------


def test_values_and_slopes_by_hand():
    r = np.array([-3.0, -0.5, 0.0, 0.5, 3.0])
    zero = np.zeros(5)
    none = {"reduction": "none"}
    assert_close(R.mse_loss(r, zero, **none), np.array([9, 0.25, 0, 0.25, 9]))
    assert_close(slopes(R.mse_loss, r), 2 * r)
    assert_close(R.l1_loss(r, zero, **none), np.array([3, 0.5, 0, 0.5, 3]))
    assert_close(slopes(R.l1_loss, r), np.array([-1.0, -1, 0, 1, 1]))
    assert_close(R.huber_loss(r, zero, **none), np.array([2.5, 0.125, 0, 0.125, 2.5]))
    assert_close(slopes(R.huber_loss, r), np.array([-1, -0.5, 0, 0.5, 1]))
    assert_close(R.huber_loss(r, zero, delta=2.0, **none), np.array([4, 0.125, 0, 0.125, 4]))
    cosh = [math.log(math.cosh(v)) for v in r]
    assert_close(R.log_cosh_loss(r, zero, **none), np.array(cosh))
    assert_close(slopes(R.log_cosh_loss, r), np.tanh(r))
    pinball = lambda x, y, **m: R.quantile_loss(x, y, quantile=0.9, **m)  # noqa: E731
    assert_close(pinball(r, zero, **none), np.array([2.7, 0.45, 0, 0.05, 0.3]))
    assert_close(slopes(pinball, r), np.array([-0.9, -0.9, 0, 0.1, 0.1]))


@each_loss
def test_reductions(name):
    f = LOSSES[name]
    x, y = rng().standard_normal((2, 4, 3))
    each = f(x, y, reduction="none")
    assert each.shape == (4, 3)
    assert_close(f(x, y, reduction="sum"), each.sum())
    assert_close(f(x, y, reduction="mean"), each.mean())
    assert_close(f(x, y), each.mean())
    assert_close(f(x, y, reduction="none"), f(x - y, np.zeros_like(x), reduction="none"))


def test_identities():
    x, y = rng().standard_normal((2, 40))
    assert_close(R.rmse(x, y) ** 2, R.mse_loss(x, y))
    assert_close(R.huber_loss(x, y, delta=100.0), R.mse_loss(x, y) / 2)
    # a narrow bend: absolute errors, times delta
    assert_close(R.huber_loss(x, y, delta=1e-12) / 1e-12, R.l1_loss(x, y))
    assert_close(R.quantile_loss(x, y, quantile=0.5), R.l1_loss(x, y) / 2)
    assert_close(R.quantile_loss(x, y, quantile=0.2), R.quantile_loss(y, x, quantile=0.8))


def test_huber_is_smooth_where_the_line_begins():
    edge = np.array([-0.7, 0.7])
    for side in (1 - 1e-12, 1.0, 1 + 1e-12):
        losses = R.huber_loss(side * edge, np.zeros(2), delta=0.7, reduction="none")
        assert_close(losses, np.full(2, 0.245))
        f = lambda x, y, **more: R.huber_loss(x, y, delta=0.7, **more)  # noqa: E731
        assert_close(slopes(f, side * edge), edge)


def test_log_cosh_keeps_its_digits_near_zero_and_far_out():
    r = np.array([1e-150, 1e-8, 0.1, 0.999, 1.0, 1.001, 20.0, 1e300])
    expected = [0.5e-300, 0.5e-16, *(math.log(math.cosh(v)) for v in r[2:7]), 1e300]
    assert_close(R.log_cosh_loss(r, np.zeros(8), reduction="none"), np.array(expected))
    assert_close(R.log_cosh_loss(-r, np.zeros(8), reduction="none"), np.array(expected))


def test_rmse_neither_overflows_nor_underflows():
    for scale in (1e-320, 1e-200, 1.0, 1e300):
        x = scale * np.array([3.0, -4.0])
        # a subnormal has few digits
        assert_close(R.rmse(x, np.zeros(2)), scale * math.sqrt(12.5), rtol=1e-3)
        direction = gradient(R.rmse, x, np.zeros(2))[0]
        assert_close(direction, np.array([3, -4]) / 2 / math.sqrt(12.5), rtol=1e-3)
    for g in gradient(R.rmse, np.ones(3), np.ones(3)):
        np.testing.assert_array_equal(g, np.zeros(3))


@each_loss
def test_shapes_are_not_broadcast_and_empty_batches_have_no_mean(name):
    f = LOSSES[name]
    with pytest.raises(ValueError, match="target must be a floating-point array of shape"):
        f(np.ones((4, 1)), np.ones(4))
    empty = np.ones((0, 3))
    assert f(empty, empty, reduction="none").shape == (0, 3)
    assert f(empty, empty, reduction="sum") == 0
    with pytest.raises(ValueError, match="mean of nothing"):
        f(empty, empty)
    assert f(np.array(2.0), np.array(1.0)).shape == ()


def test_the_root_of_an_empty_mean_is_refused():
    with pytest.raises(ValueError, match="rmse: prediction must not be empty"):
        R.rmse(np.ones(0), np.ones(0))


@pytest.mark.parametrize(
    "loss",
    [
        R.mse_loss,
        R.l1_loss,
        R.huber_loss,
        R.log_cosh_loss,
        lambda x, y: R.quantile_loss(x, y, quantile=0.5),
        R.rmse,
        lambda x, y: R.mse_loss(x, y, reduction="none"),
    ],
)
def test_a_loss_that_overflows_is_refused_but_seen_in_training(loss):
    far, y = np.array([3e38], np.float32), np.array([-3e38], np.float32)
    with pytest.raises(ValueError, match="must be finite"):
        loss(far, y)
    with np.errstate(over="ignore", invalid="ignore"):
        value, _ = vjp(loss, far, y)
    assert not np.isfinite(value).any()


# --- gradients ---------------------------------------------------------------------------------


@each_loss
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(), (1,), (5, 3), (0, 3)])
def test_gradients_against_differences(name, reduction, shape):
    if shape == (0, 3) and reduction == "mean":
        return  # refused
    x, y = rng(1).standard_normal((2, *shape))
    f = lambda x, y: LOSSES[name](x, y, reduction=reduction)  # noqa: E731
    assert check_grad(f, x, y, rng=rng(2)) < 1e-7


def test_gradient_of_the_root():
    x, y = rng(1).standard_normal((2, 5, 3))
    assert check_grad(R.rmse, x, y, rng=rng(2)) < 1e-7
    assert check_grad(lambda x: R.rmse(x, y) * 3.0, x, rng=rng(2)) < 1e-7


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_of_gradients(dtype):
    x, y = rng().standard_normal((2, 4)).astype(dtype)
    for f in [*LOSSES.values(), R.rmse]:
        value, (dx, dy) = value_and_grad(lambda p, f=f: f(p[0], p[1]))((x, y))
        assert value.dtype == dx.dtype == dy.dtype == dtype
        np.testing.assert_array_equal(dx, -dy)
        assert f(x, y.astype(np.float64)).dtype == dtype


# --- referees ----------------------------------------------------------------------------------


@pytest.mark.referee
@each_loss
def test_against_jax(name):
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    theirs = {
        "mse": lambda r: r**2,
        "l1": jnp.abs,
        "huber": lambda r: jnp.where(jnp.abs(r) <= 0.7, r**2 / 2, 0.7 * (jnp.abs(r) - 0.35)),
        "log-cosh": lambda r: jnp.log(jnp.cosh(r)),
        "quantile": lambda r: jnp.maximum(-0.8 * r, 0.2 * r),
    }[name]
    x, y, cotangent = 3 * rng(3).standard_normal((3, 8, 2))
    with jax.enable_x64(True):
        value, pull = jax.vjp(lambda x, y: theirs(x - y), jnp.asarray(x), jnp.asarray(y))
        expected = [np.asarray(g) for g in pull(jnp.asarray(cotangent))]
    ours, pullback = vjp(lambda x, y: LOSSES[name](x, y, reduction="none"), x, y)
    # float64 against float64
    assert_close(ours, np.asarray(value), rtol=1e-10)
    for got, want in zip(pullback(cotangent), expected, strict=True):
        assert_close(got, want, rtol=1e-10)


@pytest.mark.referee
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_against_torch(reduction, dtype):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x, y = (3 * rng(4).standard_normal((2, 6, 3))).astype(dtype)
    x[0], y[1] = y[0], x[1]  # residuals of 0: the kinks
    x[2, 0] = y[2, 0] + dtype(0.5)
    pairs = [
        (f.mse_loss, R.mse_loss, {}),
        (f.l1_loss, R.l1_loss, {}),
        (f.huber_loss, R.huber_loss, {}),
        (f.huber_loss, R.huber_loss, {"delta": 0.5}),
    ]
    tight = {"rtol": 1e-10} if dtype == np.float64 else {}  # float64 against float64
    for theirs, ours, options in pairs:
        xt = torch.tensor(x, requires_grad=True)
        expected = theirs(xt, torch.tensor(y), reduction=reduction, **options)
        expected.backward(torch.ones_like(expected))
        value, pullback = vjp(lambda x, o=ours, m=options: o(x, y, reduction=reduction, **m), x)
        assert_close(value, expected.detach().numpy(), **tight)
        assert_close(pullback(np.ones_like(value))[0], xt.grad.numpy(), **tight)
    smooth = f.smooth_l1_loss(torch.tensor(x), torch.tensor(y), beta=0.5).numpy()
    assert_close(R.huber_loss(x, y, delta=0.5) / dtype(0.5), smooth, **tight)


@pytest.mark.referee
def test_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    x, y = rng(5).standard_normal((2, 30))
    assert_close(R.mse_loss(x, y), metrics.mean_squared_error(y, x))
    assert_close(R.rmse(x, y), metrics.root_mean_squared_error(y, x))
    assert_close(R.l1_loss(x, y), metrics.mean_absolute_error(y, x))
    for q in (0.1, 0.9):
        theirs = metrics.mean_pinball_loss(y, x, alpha=q)
        assert_close(R.quantile_loss(x, y, quantile=q), theirs)


# --- claims ------------------------------------------------------------------------------------


def minimizer(loss, data):
    """Where the mean loss of one number for all data is smallest: bisection on its gradient."""
    low, high = data.min(), data.max()
    for _ in range(50):
        middle = (low + high) / 2
        slope = gradient(lambda x: loss(x, data, reduction="sum"), np.full_like(data, middle))[0]
        low, high = (middle, high) if slope.sum() < 0 else (low, middle)
    return (low + high) / 2


@pytest.mark.claim("MSE-01")
def test_the_example_of_four_residuals():
    zero = np.zeros(4)
    assert R.mse_loss(NOTE, zero) == 0.5625
    assert R.rmse(NOTE, zero) == 0.75
    assert R.l1_loss(NOTE, zero) == 0.625
    assert R.mse_loss(NOTE, zero, reduction="sum") == 2.25


@pytest.mark.claim("MSE-02")
def test_gradient_of_a_line_and_the_factor_of_two():
    x, y = rng().standard_normal((7, 1)), rng(1).standard_normal((7, 1))
    line = {"weight": np.array([[0.3]]), "bias": np.array([[-0.2]])}
    predict = lambda p: x @ p["weight"] + p["bias"]  # noqa: E731
    _, grads = value_and_grad(lambda p: R.mse_loss(predict(p), y))(line)
    r = y - predict(line)
    assert_close(grads["weight"], [[-2 / 7 * (r * x).sum()]])
    assert_close(grads["bias"], [[-2 / 7 * r.sum()]])
    _, half = value_and_grad(lambda p: R.mse_loss(predict(p), y) * 0.5)(line)
    assert_close(half["weight"] * 2, grads["weight"])


@pytest.mark.claim("MSE-03")
def test_convex_in_the_prediction_but_not_in_the_weights():
    target = np.array([1.0])
    for a, b in rng().standard_normal((20, 2, 1)):
        ends = (R.mse_loss(a, target) + R.mse_loss(b, target)) / 2
        assert R.mse_loss((a + b) / 2, target) <= ends
    # two weights in a row: (1, 1) and (-1, -1) fit, (0, 0) between them does not
    losses = [R.mse_loss(np.array([u * v]), target) for u, v in ((1, 1), (0, 0), (-1, -1))]
    assert losses == [0, 1, 0]


@pytest.mark.claim("MSE-04")
def test_squares_weigh_errors_below_one_less():
    r, zero = np.array([0.1, 1.0, 10.0]), np.zeros(3)
    ratio = R.mse_loss(r, zero, reduction="none") / R.l1_loss(r, zero, reduction="none")
    assert_close(ratio, np.array([0.1, 1.0, 10.0]))


@pytest.mark.claim("MSE-05")
def test_what_each_loss_predicts():
    data = np.array([1.0, 2, 3, 4, 100])
    assert_close(minimizer(R.mse_loss, data), 22.0)
    assert_close(minimizer(R.l1_loss, data), 3.0)
    assert_close(minimizer(R.huber_loss, data), 3.0)
    assert_close(minimizer(lambda *a, **m: R.huber_loss(*a, delta=5.0, **m), data), 3.75)
    assert round(minimizer(R.log_cosh_loss, data), 2) == 3.02
    data = rng().standard_normal(1001)
    for q in (0.1, 0.5, 0.9):
        found = minimizer(lambda *a, q=q, **m: R.quantile_loss(*a, quantile=q, **m), data)
        assert_close(found, np.quantile(data, q))


@pytest.mark.claim("MSE-05")
def test_bias_of_a_location_under_outliers():
    # 100 numbers from N(0, 1), of which 20 are 20 instead; the mean of 25 samples
    found = {}
    for name, loss in (("mse", R.mse_loss), ("l1", R.l1_loss), ("huber", R.huber_loss)):
        draw = rng(1)
        samples = [np.append(draw.standard_normal(80), np.full(20, 20.0)) for _ in range(25)]
        found[name] = np.mean([minimizer(loss, s) for s in samples])
    # bands of about three standard errors
    assert abs(found["mse"] - 4.0) < 0.07
    assert abs(found["l1"] - 0.314) < 0.1
    assert abs(found["huber"] - 0.370) < 0.1


@pytest.mark.claim("MSE-06")
def test_the_mean_of_batch_roots_is_not_the_root_of_the_mean():
    batches = np.array([[0.1, -0.1], [2.0, -2.0]])
    roots = [R.rmse(b, np.zeros(2)) for b in batches]
    assert_close(np.mean(roots), 1.05)
    assert_close(R.rmse(batches, np.zeros((2, 2))).round(3), 1.416)
    # one minimizer
    assert_close(gradient(R.rmse, batches, np.zeros((2, 2)))[0] * 2 * 1.4159802258506296,
                 gradient(lambda x: R.mse_loss(x, np.zeros((2, 2))), batches)[0])  # fmt: skip


# --- explorers ---------------------------------------------------------------------------------


@pytest.mark.claim("MSE-05")
def test_the_explorer_of_one_outlier_finds_the_closed_forms():
    from trainlab.explorers.regression import outlier

    found = {name: outlier.run(loss=name).best for name in outlier.controls[1].values}
    # absolute: rounded to nine digits; log-cosh: the root of a sum of tanh, by bisection
    data = np.array([1.0, 2, 3, 4, 100])
    assert_close(found.pop("log_cosh"), minimizer(R.log_cosh_loss, data), atol=1e-8)
    exact = {"mse": 22, "mae": 3, "huber1": 3, "huber5": 3.75, "huber20": 7.5, "q25": 2, "q90": 100}
    assert_close(np.array(list(found.values())), np.array(list(exact.values()), float), atol=1e-8)
    assert list(found) == list(exact)
    for name in ("mse", "huber5", "huber20", "log_cosh"):  # smooth: the pulls cancel
        assert abs(outlier.run(loss=name).pulls.sum()) < 1e-6  # nine digits of the minimizer


@pytest.mark.parametrize("place", ["end", "middle"])
@pytest.mark.parametrize("offset", [-25, -15, -5])
def test_the_explorer_of_a_line_has_converged(place, offset):
    from trainlab.explorers.regression import line

    x = np.linspace(0, 5, 50)
    for count in (0, 3, 12, 18):
        data = line.run(place=place, offset=offset, count=count)
        for name, loss in (("mse", R.mse_loss), ("huber", R.huber_loss),
                           ("log_cosh", R.log_cosh_loss)):  # fmt: skip
            start, slope = data.lines[name][count]
            pull = gradient(loss, start + slope * x, data.y)[0] * 50
            # absolute: rounding of sums of 50 numbers
            assert np.abs([pull.sum(), pull @ x]).max() < 1e-9
        # least absolute errors: no line close by is better
        start, slope = data.lines["mae"][count]
        least = np.abs(start + slope * x - data.y).sum()
        for step in rng(count).standard_normal((200, 2)) * 0.05:
            assert np.abs(start + step[0] + (slope + step[1]) * x - data.y).sum() > least
