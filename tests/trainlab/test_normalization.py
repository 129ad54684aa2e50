"""Normalization layers, their statistics, and what they do to deep networks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import _normalized_rows
from trainlab import batch_statistics as S
from trainlab import normalization as N
from trainlab import normalized_depth as D
from trainlab import normalized_training as T
from trainlab.differentiation import check_grad, value_and_grad, vjp
from trainlab.trees import tree_leaves, tree_map

TINY = 1e-300  # an eps that no variance here feels


def rng(seed=0):
    return np.random.default_rng(seed)


def images(seed=0, shape=(5, 4, 3, 2)):
    return rng(seed).standard_normal(shape) * 2 + 1


# --- values and identities ---------------------------------------------------------------------


@pytest.mark.claim("LN-01")
def test_layer_norm_of_one_to_four():
    y = N.layer_norm([1.0, 2.0, 3.0, 4.0])
    assert_close(y.round(3), np.array([-1.342, -0.447, 0.447, 1.342]))
    # variance 1.25, eps 1e-5 inside the root
    assert_close(y, (np.arange(1, 5) - 2.5) / math.sqrt(1.25 + 1e-5))


@pytest.mark.claim("LN-01", "LN-03")
def test_layer_norm_has_one_statistic_a_token():
    x = rng().standard_normal((2, 3, 8))  # (B, T, D)
    y = N.layer_norm(x, eps=TINY)
    assert_close(y.mean(axis=-1), np.zeros((2, 3)), atol=1e-12)  # a sum of rounding errors
    assert_close(np.square(y).mean(axis=-1), np.ones((2, 3)))
    # Over (C, H, W) it is group norm with one group.
    x = images()
    assert_close(N.layer_norm(x, axis=(1, 2, 3)), N.group_norm(x, 1))
    # ConvNeXt: over the channels of each pixel.
    assert_close(N.layer_norm(x, axis=1), np.moveaxis(N.layer_norm(np.moveaxis(x, 1, -1)), -1, 1))


@pytest.mark.claim("BN-01")
def test_batch_norm_normalizes_each_channel_over_examples_and_space():
    x = images()
    y = N.batch_norm(x, eps=TINY)
    assert_close(y.mean(axis=(0, 2, 3)), np.zeros(4), atol=1e-12)
    assert_close(np.square(y).mean(axis=(0, 2, 3)), np.ones(4))
    weight, bias = rng(1).standard_normal((2, 4))
    by_hand = np.empty_like(x)
    for c in range(4):
        cells = x[:, c]
        x_hat = (cells - cells.mean()) / np.sqrt(cells.var() + 1e-5)
        by_hand[:, c] = weight[c] * x_hat + bias[c]
    assert_close(N.batch_norm(x, weight=weight, bias=bias), by_hand)


@pytest.mark.claim("BN-01")
def test_a_bias_before_batch_norm_does_nothing():
    x, bias = images(), rng(1).standard_normal(4)
    shifted = x + bias[:, None, None]
    # atol: rounding of values near 0
    assert_close(N.batch_norm(shifted), N.batch_norm(x), atol=1e-12)
    cotangent = rng(2).standard_normal(x.shape)
    (dx,) = vjp(N.batch_norm, x)[1](cotangent)
    assert_close(dx.sum(axis=(0, 2, 3)), np.zeros(4), atol=1e-12)  # the bias' gradient


def test_two_dimensions_are_images_of_one_pixel():
    x = rng().standard_normal((6, 4))
    assert_close(N.batch_norm(x), N.batch_norm(x[:, :, None, None])[:, :, 0, 0])


def test_groups_of_one_channel_are_instance_norm():
    x = images()
    weight, bias = rng(1).standard_normal((2, 4))
    assert_close(
        N.instance_norm(x, weight=weight, bias=bias), N.group_norm(x, 4, weight=weight, bias=bias)
    )
    y = N.instance_norm(x, eps=TINY)
    assert_close(y.std(axis=(2, 3)), np.ones((5, 4)))


def test_batch_norm_of_one_example_is_instance_norm():
    x = images(shape=(1, 4, 3, 2))
    assert_close(N.batch_norm(x), N.instance_norm(x))


def test_group_norm_averages_neighboring_channels():
    y = N.group_norm([[1.0, 3.0, 10.0, 30.0]], 2, weight=[1.0, 2.0, 3.0, 4.0], eps=TINY)
    assert_close(y, np.array([[-1.0, 2.0, -3.0, 4.0]]))


def test_rms_norm_is_layer_norm_of_centered_tokens():
    x = rng().standard_normal((5, 8))
    centered = x - x.mean(axis=-1, keepdims=True)
    assert_close(N.rms_norm(centered), N.layer_norm(x))
    assert_close(N.rms_norm([3.0, 4.0], eps=TINY), np.array([3.0, 4.0]) / math.sqrt(12.5))


def test_running_statistics_take_over_in_evaluation_mode():
    x = images()
    stats = N.RunningStats(x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3)))
    assert_close(N.batch_norm(x, running=stats), N.batch_norm(x))
    assert_close(N.batch_norm(x[:1], running=stats), N.batch_norm(x)[:1])


# --- gradients ---------------------------------------------------------------------------------

RUNNING = N.RunningStats(np.array([0.5, -1.0, 0.0, 2.0]), np.array([1.0, 2.0, 0.5, 4.0]))
WEIGHT = np.array([1.0, -2.0, 0.5, 3.0])
BIAS = np.array([0.5, 1.0, -1.0, 0.0])
LAYERS = {
    "batch": (N.batch_norm, {}),
    "batch, evaluation": (N.batch_norm, {"running": RUNNING}),
    "layer": (N.layer_norm, {"axis": 1}),
    "rms": (N.rms_norm, {"axis": 1}),
    "group": (N.group_norm, {"num_groups": 2}),
    "instance": (N.instance_norm, {}),
}
each_layer = pytest.mark.parametrize("layer", LAYERS)


def _layer(layer):
    """The layer as a function of x, weight and bias, and the parameters that it has."""
    f, more = LAYERS[layer]
    if layer == "rms":
        return lambda x, weight: f(x, weight=weight, **more), (WEIGHT,)
    return lambda x, weight, bias: f(x, weight=weight, bias=bias, **more), (WEIGHT, BIAS)


@each_layer
@pytest.mark.parametrize("shape", [(5, 4, 3, 2), (5, 4, 3), (5, 4), (1, 4, 7)])
def test_gradients(layer, shape):
    if layer == "instance" and len(shape) == 2:
        return  # it needs space
    f, parameters = _layer(layer)
    assert check_grad(f, images(shape=shape), *parameters, rng=rng(3)) < 1e-7
    g, more = LAYERS[layer]
    assert check_grad(lambda x: g(x, **more), images(shape=shape), rng=rng(4)) < 1e-7
    # A gradient for each parameter, whether or not x has one.
    x = images(shape=shape)
    cotangent = rng(5).standard_normal(shape)
    together = vjp(f, x, *parameters)[1](cotangent)[1:]
    alone = vjp(lambda *p: f(x, *p), *parameters)[1](cotangent)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)


@each_layer
def test_gradients_of_the_parameters(layer):
    f, parameters = _layer(layer)
    x, cotangent = images(), rng(4).standard_normal((5, 4, 3, 2))
    base, pullback = vjp(f, x, *parameters)
    _, *gradients = pullback(cotangent)
    # y is linear in both, so a step of 1 is exact.
    for which, gradient in enumerate(gradients):
        for c, step in enumerate(np.eye(4)):
            moved = [p + step * (i == which) for i, p in enumerate(parameters)]
            assert_close(gradient[c], np.sum(cotangent * (f(x, *moved) - base)))


@pytest.mark.parametrize("axis", [-1, 0, (0, 2), (2, 1), (0, 1, 2)])
def test_any_axes_in_any_order(axis):
    x = rng().standard_normal((3, 4, 5))
    own = tuple(sorted(np.atleast_1d(axis) % 3))
    lengths = [x.shape[a] for a in own]
    weight, bias = rng(1).standard_normal((2, *lengths))
    kept = [x.shape[a] if a in own else 1 for a in range(3)]
    centered = x - x.mean(axis=own, keepdims=True)
    x_hat = centered / np.sqrt(np.square(centered).mean(axis=own, keepdims=True) + 1e-5)
    by_hand = x_hat * weight.reshape(kept) + bias.reshape(kept)
    assert_close(N.layer_norm(x, weight=weight, bias=bias, axis=axis), by_hand)
    error = check_grad(
        lambda x, w, b: N.layer_norm(x, weight=w, bias=b, axis=axis), x, weight, bias, rng=rng(2)
    )
    assert error < 1e-7


def test_rows_are_the_same_in_blocks(monkeypatch):
    x, weight, bias = rng().standard_normal((50, 8)), *rng(1).standard_normal((2, 8))

    def both(x):
        y, pullback = vjp(lambda x, w, b: N.layer_norm(x, weight=w, bias=b), x, weight, bias)
        return y, *pullback(np.cos(x))

    whole = both(x)
    for block in (1, 8, 56):  # one row each, one row each, seven rows each
        monkeypatch.setattr(_normalized_rows, "BLOCK", block)
        for a, b in zip(both(x), whole, strict=True):
            assert_close(a, b)
        assert_close(both(x[::-1])[0], whole[0][::-1])  # not contiguous


@pytest.mark.parametrize("f", [N.layer_norm, N.rms_norm])
def test_an_empty_batch_of_tokens(f):
    x, weight = np.zeros((0, 3, 4)), np.ones(4)
    y, pullback = vjp(lambda x, w: f(x, weight=w), x, weight)
    dx, dweight = pullback(y)
    assert y.shape == dx.shape == (0, 3, 4)
    np.testing.assert_array_equal(dweight, np.zeros(4))


def test_an_empty_batch_of_images():
    x = np.zeros((0, 4, 3))
    stored = N.batch_norm_init(4)
    for y in (N.group_norm(x, 2), N.instance_norm(x), N.batch_norm(x, running=stored)):
        assert y.shape == x.shape
    with pytest.raises(ValueError, match="batch_norm: number of values of x per channel"):
        N.batch_norm(x)


@each_layer
def test_dtypes_of_values_and_gradients(layer):
    f, parameters = _layer(layer)
    for dtype in (np.float16, np.float32):
        x, *ps = (a.astype(dtype) for a in (images(), *parameters))
        value, pullback = vjp(f, x, *ps)
        for a in (value, *pullback(np.ones_like(value))):
            assert a.dtype == dtype
    # In half precision the sums are taken in single: 1e-3 is its rounding.
    wide = f(images(), *parameters)
    half = f(images().astype(np.float16), *(p.astype(np.float16) for p in parameters))
    assert_close(half.astype(float), wide, rtol=4e-3, atol=4e-3)


def test_squares_that_overflow_are_refused_by_name():
    x = np.full((3, 4, 2), 1e30, np.float32) * np.arange(4, dtype=np.float32)[:, None]
    for f in (N.layer_norm, N.rms_norm):
        with pytest.raises(ValueError, match=f"{f.__name__}: x, and its squares, must be finite"):
            f(x, axis=1)
    with pytest.raises(ValueError, match="group_norm: x, and its squares, must be finite"):
        N.group_norm(x, 1)
    with pytest.raises(ValueError, match="batch_norm: x, and its squares, must be finite"):
        N.batch_norm(np.swapaxes(x, 0, 1))
    # In training they come through, to be seen in the loss.
    value, _ = vjp(lambda x: N.layer_norm(x * np.inf), np.ones((2, 2)))
    assert np.isnan(value).all()


def test_statistics_of_a_variable():
    def stats(x):
        updated.append(N.batch_norm_update(x, N.batch_norm_init(4)))
        return x

    updated = []
    vjp(stats, images())
    for a, b in zip(updated[0], N.batch_norm_update(images(), N.batch_norm_init(4)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.referee
@each_layer
def test_jax_agrees(layer):
    jax = pytest.importorskip("jax")
    import jax.numpy as jnp

    f, more = LAYERS[layer]
    axes = {"batch": (0, 2, 3), "layer": (1,), "rms": (1,), "instance": (2, 3)}

    def reference(x, weight):
        if layer == "batch, evaluation":
            # In the dtype of x, whatever an earlier test has set for JAX.
            mean, var = (jnp.asarray(a, x.dtype)[:, None, None] for a in RUNNING)
            x_hat = (x - mean) * jax.lax.rsqrt(var + 1e-5)
        elif layer == "rms":
            x_hat = x * jax.lax.rsqrt(jnp.square(x).mean(1, keepdims=True) + 1e-5)
        elif layer == "group":
            x_hat = jax.nn.standardize(x.reshape(5, 2, -1), axis=-1, epsilon=1e-5).reshape(x.shape)
        else:
            x_hat = jax.nn.standardize(x, axis=axes[layer], epsilon=1e-5)
        return weight[:, None, None] * x_hat

    x = images().astype(np.float32)
    cotangent = rng(4).standard_normal(x.shape).astype(np.float32)
    weight = WEIGHT.astype(np.float32)
    y, pull = jax.vjp(reference, x, weight)
    dx, dweight = pull(cotangent)
    # atol: float32 rounding of sums of up to 30 terms of size 1, where the result is near 0
    assert_close(f(x, weight=weight, **more), np.asarray(y), atol=1e-5)
    mine = vjp(lambda x, weight: f(x, weight=weight, **more), x, weight)[1](cotangent)
    assert_close(mine[0], np.asarray(dx), atol=1e-5)
    assert_close(mine[1], np.asarray(dweight), atol=1e-5)


@pytest.mark.referee
def test_torch_agrees():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    x, weight, bias = images(), WEIGHT, np.array([0.5, 1.0, -1.0, 0.0])
    tx, tw, tb = map(torch.tensor, (x, weight, bias))
    stats = tuple(torch.tensor(a.copy()) for a in RUNNING)
    y = F.batch_norm(tx, *stats, tw, tb, training=True, momentum=0.1)
    assert_close(N.batch_norm(x, weight=weight, bias=bias), y.numpy())
    mine = N.batch_norm_update(x, RUNNING, momentum=0.1)
    for own, theirs in zip(mine, stats, strict=True):
        assert_close(own, theirs.numpy())
    theirs = F.group_norm(tx, 2, tw, tb).numpy()
    assert_close(N.group_norm(x, 2, weight=weight, bias=bias), theirs)
    assert_close(N.instance_norm(x), F.instance_norm(tx).numpy())
    assert_close(N.layer_norm(x, axis=(2, 3)), F.layer_norm(tx, (3, 2)).numpy())
    assert_close(N.rms_norm(x, eps=1e-5), F.rms_norm(tx, (2,), eps=1e-5).numpy())


@pytest.mark.referee
def test_scikit_learn_agrees_that_the_variance_is_biased():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x = rng().standard_normal((7, 3))
    assert_close(N.batch_norm(x, eps=TINY), preprocessing.StandardScaler().fit_transform(x))


# --- batch norm's statistics -------------------------------------------------------------------


@pytest.mark.claim("BN-04")
def test_momentum_is_the_weight_of_the_new_value():
    x = np.array([[2.0], [4.0]])  # mean 3, unbiased variance 2
    after = N.batch_norm_update(x, N.batch_norm_init(1), momentum=0.1)
    assert_close(after.mean, np.array([0.3]))
    assert_close(after.var, np.array([0.9 * 1 + 0.1 * 2]))
    gone = N.batch_norm_update(x, N.batch_norm_init(1), momentum=1.0)
    assert_close(gone.mean, np.array([3.0]))


@pytest.mark.claim("BN-04")
@pytest.mark.parametrize(("momentum", "steps"), [(0.1, 44), (0.01, 459), (0.001, 4603)])
def test_steps_until_one_percent_of_the_start_is_left(momentum, steps):
    assert S.steps_to_forget(momentum) == steps
    assert (1 - momentum) ** steps <= 0.01 < (1 - momentum) ** (steps - 1)
    if momentum >= 0.01:  # and the running mean does exactly that
        stats, x = N.batch_norm_init(1), np.array([[0.0], [2.0]])
        for _ in range(steps):
            stats = N.batch_norm_update(x, stats, momentum=momentum)
        assert_close(1 - stats.mean, np.array([(1 - momentum) ** steps]))


def test_the_running_mean_keeps_its_noise():
    m, momentum = 8, 0.1
    stats, source, trace = N.batch_norm_init(500), rng(), []
    for step in range(400):
        stats = N.batch_norm_update(source.standard_normal((m, 500)), stats, momentum=momentum)
        if step >= 100:
            trace.append(stats.mean)
    # 500 channels · 300 correlated steps: about 8,000 independent values, 1 % twice over
    assert_close(np.std(trace), S.running_noise(momentum, m), rtol=0.03)


@pytest.mark.claim("BN-05")
def test_the_running_variance_is_the_unbiased_one():
    x = np.array([[0.0], [2.0]])
    assert x.var() == 1.0
    assert_close(N.batch_norm(x, eps=TINY), np.array([[-1.0], [1.0]]))  # divides by the biased
    after = N.batch_norm_update(x, N.batch_norm_init(1))
    assert_close(after.var, np.array([1.1]))  # 0.9 · 1 + 0.1 · 2


@pytest.mark.claim("BN-05", "INIT-22")
@pytest.mark.parametrize(("m", "expected"), [(2, 0.5), (4, 0.75), (8, 0.875), (32, 0.969)])
def test_expectation_of_the_biased_variance(m, expected):
    closed = S.batch_noise(m)
    assert round(closed.expected_var, 3) == expected
    x = rng(m).standard_normal((m, 40_000))
    # 40,000 batches: 5 standard errors
    error = 5 * closed.var_std / 200
    assert_close(x.var(axis=0).mean(), closed.expected_var, rtol=0, atol=error)
    assert_close(x.var(axis=0).std(), closed.var_std, rtol=0.05)  # heavy tails: 5 %


@pytest.mark.claim("BN-06")
def test_one_value_per_channel_cannot_train_but_can_be_evaluated():
    x = np.array([[3.0, -1.0]])
    with pytest.raises(
        ValueError, match=r"batch_norm: number of values of x per channel .* >= 2; got 1"
    ):
        N.batch_norm(x)
    with pytest.raises(ValueError, match="batch_norm_update: number of values of x per channel"):
        N.batch_norm_update(x, N.batch_norm_init(2))
    assert_close(N.batch_norm(x, running=N.batch_norm_init(2), eps=TINY), x)
    assert N.batch_norm(x.reshape(1, 1, 2)).shape == (1, 1, 2)  # two pixels are enough


@pytest.mark.claim("BN-06")
def test_a_batch_of_two_becomes_plus_and_minus_one():
    x = rng().standard_normal((2, 1000)) * 10.0 ** rng(1).integers(-2, 3, 1000)
    y = N.batch_norm(x, eps=TINY)
    assert_close(np.abs(y), np.ones_like(y))
    (dx,) = vjp(N.batch_norm, x, eps=TINY)[1](rng(2).standard_normal(x.shape))
    # No gradient comes back: the rounding of numbers of the size of 1/std.
    assert (np.abs(dx) * x.std(axis=0)).max() < 1e-12


@pytest.mark.claim("BN-07", "ACC-04")
@pytest.mark.parametrize(("m", "expected"), [(2, 0.71), (8, 0.36), (32, 0.18), (256, 0.06)])
def test_noise_of_the_batch_mean(m, expected):
    assert_close(S.batch_noise(m).mean_std, expected, rtol=0.05)  # the ledger's two digits
    x = rng(m).standard_normal((m, 20_000))
    assert_close(x.mean(axis=0).std(), S.batch_noise(m).mean_std, rtol=0.025)  # 5/sqrt(40,000)
    if m >= 32:  # std(sigma_B) = sigma / sqrt(2 m), for large m
        assert_close(x.std(axis=0).std(), 1 / math.sqrt(2 * m), rtol=0.05)


@pytest.mark.claim("BN-07")
@pytest.mark.parametrize(
    ("m", "mean", "std"), [(2, 0.68, 0.73), (4, 0.95, 0.50), (8, 1.01, 0.41), (128, 1.00, 0.11)]
)
def test_one_example_in_random_company(m, mean, std):
    x = rng(m).standard_normal((m, 40_000))
    x[0] = 1.0
    y = N.batch_norm(x)[0]
    # 40,000 batches; the expected numbers have two digits
    assert_close(y.mean(), mean, rtol=0, atol=0.015)
    assert_close(y.std(), std, rtol=0, atol=0.015)
    assert np.abs(y).max() <= S.batch_noise(m).largest
    if m == 2:  # +1 where the neighbor is smaller: Phi(1)
        share = (1 + math.erf(1 / math.sqrt(2))) / 2
        assert_close(y.mean(), 2 * share - 1, rtol=0, atol=5 * 0.73 / 200)


@pytest.mark.claim("BN-10")
def test_one_large_example_moves_the_others_under_batch_norm_only():
    x = rng().standard_normal((8, 16))
    spoiled = x.copy()
    spoiled[0] *= 100
    moved = np.abs(N.batch_norm(spoiled) - N.batch_norm(x))[1:].max()
    assert moved > 1  # the ledger's draw: 1.37
    assert np.array_equal(N.layer_norm(spoiled)[1:], N.layer_norm(x)[1:])
    assert np.array_equal(N.rms_norm(spoiled)[1:], N.rms_norm(x)[1:])
    # In evaluation mode batch norm leaves the others alone too.
    stats = N.batch_norm_init(16)
    assert np.array_equal(
        N.batch_norm(spoiled, running=stats)[1:], N.batch_norm(x, running=stats)[1:]
    )


@pytest.mark.claim("BN-11")
def test_batch_and_layer_norm_remove_different_things():
    x = rng().standard_normal((64, 16)) * np.linspace(1, 20, 16) + np.linspace(0, 50, 16)
    after_layer = N.layer_norm(x)
    after_both = N.batch_norm(after_layer)
    # Layer norm leaves the differences between channels, batch norm removes them.
    assert np.ptp(after_layer.mean(axis=0)) > 1
    assert np.ptp(after_both.mean(axis=0)) < 1e-12
    # And batch norm leaves the differences between examples, which layer norm removes.
    scaled = x * np.linspace(1, 3, 64)[:, None]
    lengths = np.linalg.norm(N.batch_norm(scaled), axis=1)
    assert lengths.max() / lengths.min() > 1.5
    assert_close(np.linalg.norm(N.layer_norm(scaled, eps=TINY), axis=1), np.full(64, 4.0))


@pytest.mark.claim("BN-12")
def test_output_variance_falls_short_of_one_by_eps():
    x = rng().standard_normal((50, 3)) * np.array([1.0, 1e-2, 1e-4])
    var = x.var(axis=0)
    y = N.batch_norm(x, eps=1e-5)
    assert_close(y.var(axis=0), var / (var + 1e-5))
    assert y.var(axis=0)[2] < 0.01
    # Mean 0 and variance 1 do not make a Gaussian: the shape of the distribution stays.
    skewed = rng(1).exponential(size=(10_000, 1))
    z = N.batch_norm(skewed)
    # eps changes the skewness by 1.5e-5 of itself
    assert_close(np.mean(z**3), np.mean(((skewed - skewed.mean()) / skewed.std()) ** 3), rtol=1e-4)
    assert np.mean(z**3) > 1.5  # 2 for the exponential distribution, 0 for a Gaussian


# --- layer norm's geometry ---------------------------------------------------------------------


@pytest.mark.claim("LN-02")
def test_layer_norm_keeps_the_direction_and_forgets_offset_and_length():
    x = rng().standard_normal((100, 8))
    assert np.abs(N.layer_norm(5 * x + 3) - N.layer_norm(x)).max() < 1e-4  # eps, 3e-5 or so
    # rtol: cancellation of the offset
    assert_close(N.layer_norm(5 * x + 3, eps=TINY), N.layer_norm(x, eps=TINY), rtol=1e-6)
    y = N.layer_norm(x, eps=TINY)
    assert_close(np.linalg.norm(y, axis=1), np.full(100, math.sqrt(8)))
    assert np.abs(y.sum(axis=1)).max() < 1e-12
    pairs = N.layer_norm(rng(1).standard_normal((100, 2)), eps=TINY)
    assert_close(np.abs(pairs), np.ones((100, 2)))
    assert_close(pairs.sum(axis=1), np.zeros(100), atol=1e-12)
    gains = N.layer_norm(x, weight=np.full(8, 3.0), bias=np.full(8, 7.0), eps=TINY)
    assert_close(gains.mean(axis=1), np.full(100, 7.0))
    assert_close(gains.std(axis=1), np.full(100, 3.0))


@pytest.mark.claim("LN-04")
def test_layer_norm_adds_neither_noise_nor_a_penalty():
    x = rng().standard_normal((8, 16))
    y = N.layer_norm(x)
    shuffled = rng(1).permutation(8)
    assert np.array_equal(N.layer_norm(x[shuffled]), y[shuffled])
    assert_close(N.layer_norm(x[:1]), y[:1])
    # Batch norm does add noise: the same example in two batches has two values.
    first, second = N.batch_norm(x)[0], N.batch_norm(x[[0, 1, 2, 3]])[0]
    assert np.abs(first - second).max() > 0.1
    # No penalty either: a weight's size before the norm has no gradient.
    (dx,) = vjp(N.layer_norm, x, eps=TINY)[1](rng(2).standard_normal(x.shape))
    assert np.abs(np.sum(dx * x, axis=1)).max() < 1e-12


@pytest.mark.claim("LN-05")
def test_rms_norm_sees_the_offset():
    x = rng().standard_normal((100, 64))
    assert_close(N.rms_norm(7 * x, eps=TINY), N.rms_norm(x, eps=TINY))
    assert np.abs(N.rms_norm(x + 3) - N.rms_norm(x)).max() > 0.5
    assert_close(np.square(N.rms_norm(x + 3, eps=TINY)).mean(axis=1), np.ones(100))
    # With an offset of 3 most of the output is the offset: 3/sqrt(1 + 9) = 0.949 of mean 0.
    # 100 tokens of 64 features: the standard error is below 0.002
    assert_close(N.rms_norm(x + 3).mean(), 3 / math.sqrt(10), rtol=0, atol=0.005)
    assert np.abs(N.layer_norm(x + 3, eps=TINY) - N.layer_norm(x, eps=TINY)).max() < 1e-12


@pytest.mark.claim("LN-01")
@pytest.mark.parametrize("norm", ["batch", "layer", "group", "instance", "rms"])
def test_averaged_cells_are_those_that_the_output_depends_on(norm):
    layer = {
        "batch": N.batch_norm,
        "layer": lambda x: N.layer_norm(x, axis=1),
        "group": lambda x: N.group_norm(x, 2),
        "instance": N.instance_norm,
        "rms": lambda x: N.rms_norm(x, axis=1),
    }[norm]
    x, cell = images(), (1, 2, 0, 1)
    mask = S.averaged_cells(norm, x.shape, cell=cell, num_groups=2)
    depends = np.zeros_like(mask)
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += 0.5
        depends[index] = abs(layer(moved)[cell] - layer(x)[cell]) > 1e-12
    assert np.array_equal(mask, depends)


# --- deep networks -----------------------------------------------------------------------------


@pytest.mark.claim("BN-03")
def test_batch_norm_makes_gradients_grow():
    assert round(D.BATCH_NORM_GRADIENT_GROWTH, 3) == 1.211
    theory = D.deep_pass_theory(50, normalize=True, residual=False)
    assert_close(theory.gradient[1], D.BATCH_NORM_GRADIENT_GROWTH**49)
    assert 6e3 < theory.gradient[0] < 2e4
    growth = [
        D.deep_pass(50, normalize=True, residual=False, rng=rng(seed)).gradient[0] ** (1 / 49)
        for seed in range(3)
    ]
    assert all(1.19 < g < 1.24 for g in growth)  # the ledger's band, and batches of 64 a bit above
    he = [
        D.deep_pass(50, normalize=False, residual=False, rng=rng(seed)).gradient[0] ** (1 / 50)
        for seed in range(3)
    ]
    assert all(0.9 < g < 1.1 for g in he)


@pytest.mark.claim("BN-03")
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_theory_of_signal_and_gradient(normalize, residual):
    theory = D.deep_pass_theory(30, normalize=normalize, residual=residual)
    runs = [
        D.deep_pass(30, normalize=normalize, residual=residual, rng=rng(seed)) for seed in range(3)
    ]
    for got, expected in (
        (np.mean([np.log(r.signal) for r in runs], axis=0), np.log(theory.signal)),
        (np.mean([np.log(r.gradient) for r in runs], axis=0), np.log(theory.gradient)),
    ):
        # Width 128: without batch norm the logarithm walks at random, sqrt(5 L/n)/2 = 0.5 of one
        # net at the end; with it the finite batch adds up to 1 % a layer.
        assert np.abs(got - expected).max() < 0.7


@pytest.mark.claim("BN-03")
def test_batch_norm_and_a_skip_tame_each_other():
    gradient = {
        (n, r): D.deep_pass(50, normalize=n, residual=r, rng=rng()).gradient[0]
        for n in (False, True)
        for r in (False, True)
    }
    assert gradient[True, True] < 30
    assert gradient[True, False] > 1e3
    assert gradient[False, True] > 1e6


@pytest.mark.claim("BN-03")
def test_small_batches_explode_faster():
    growth = [
        D.deep_pass(30, batch_size=m, normalize=True, residual=False, rng=rng()).gradient[0]
        for m in (8, 64)
    ]
    assert growth[0] > 5 * growth[1]


@pytest.mark.claim("BN-08")
def test_before_or_after_the_activation_differ():
    x = rng().standard_normal((64, 16))
    before = np.maximum(N.batch_norm(x), 0)
    after = N.batch_norm(np.maximum(x, 0))
    assert_close(np.square(before).mean(), 0.5, rtol=0.05)  # half of the second moment is gone
    assert before.mean() > 0.3
    assert_close(after.mean(), 0.0, atol=1e-12)
    assert_close(np.square(after).mean(), 1.0, rtol=1e-4)  # eps


# --- training ----------------------------------------------------------------------------------


def _data(seed=0):
    source = rng(seed)
    return source, T.gaussian_classes(2000, rng=source), T.gaussian_classes(2000, rng=source)


@pytest.fixture(scope="module")
def shifted_runs():
    """Norm and noise -> what `covariate_shift` returns."""
    pairs = [(norm, noise) for norm in ("none", "batch") for noise in (0.0, 0.7)]
    return {pair: T.covariate_shift(*pair, rng=rng()) for pair in pairs}


@pytest.mark.claim("BN-02")
def test_covariate_shift_after_batch_norm_does_little_harm(shifted_runs):
    drift = {k: done.drift for k, done in shifted_runs.items()}
    loss = {k: done.loss for k, done in shifted_runs.items()}
    score = {k: done.accuracy for k, done in shifted_runs.items()}
    assert drift["batch", 0.0] < drift["none", 0.0] / 10  # batch norm does remove drift
    assert drift["batch", 0.7] > 4 * drift["none", 0.0]  # the noise brings more of it back
    assert score["batch", 0.7] > score["none", 0.0] - 0.01  # and the network trains as well
    assert loss["batch", 0.7] < 0.6  # ln 5 = 1.61 for guessing
    assert loss["none", 0.7] > 1.5 * loss["batch", 0.7]  # without batch norm it does not
    assert score["none", 0.7] < score["batch", 0.7] - 0.05


@pytest.mark.claim("BN-02")
def test_the_contrast_depends_on_noise_and_width(shifted_runs):
    """The page says so: 0.7 is where the contrast is clearest, and 64 units are needed."""
    plain = shifted_runs["none", 0.0].accuracy
    assert T.covariate_shift("none", 0.3, rng=rng()).accuracy > plain - 0.02
    assert T.covariate_shift("batch", 0.9, rng=rng()).accuracy < plain - 0.05
    assert T.covariate_shift("batch", 0.7, rng=rng(), width=32).accuracy < plain - 0.1


@pytest.mark.claim("BN-02")
def test_batch_norm_allows_larger_steps():
    with pytest.raises(ValueError, match="lr must be small enough"):
        T.covariate_shift("none", 0.0, rng=rng(), lr=1.0)
    assert T.covariate_shift("batch", 0.0, rng=rng(), lr=1.0, steps=100).accuracy > 0.9


@pytest.mark.claim("BN-09")
def test_forgetting_eval_makes_accuracy_depend_on_the_company(shifted_runs):
    _, _, right, run, (points, labels) = shifted_runs["batch", 0.0]
    assert right > 0.9
    one_class = labels == 2
    alone = T.accuracy(run, points[one_class], labels[one_class], training=True)
    evaluated = T.accuracy(run, points[one_class], labels[one_class])
    assert evaluated > 0.85
    assert alone < 0.5  # the batch's own mean takes the class away
    mixed = T.accuracy(run, points, labels, training=True)
    assert mixed > 0.9  # in mixed company nobody notices


def test_training_lowers_the_loss():
    _, (points, labels), _ = _data()
    for norm in ("none", "batch", "layer"):
        source = rng(1)
        run = T.train(points, labels, rng=source, norm=norm, lr=0.05, steps=40, depth=2)
        assert run.loss[-5:].mean() < run.loss[0] - 0.3


def test_gradients_of_training_by_differences():
    _, (points, labels), _ = _data()
    x, y = points[:10], labels[:10]
    for norm in ("none", "batch", "layer"):
        net = T.train(points, labels, rng=rng(2), norm=norm, steps=3, depth=2, width=7).net
        jitter = [(rng(i).uniform(0.5, 1.5, 7), rng(i).standard_normal(7)) for i in range(2)]

        def loss(net, norm=norm, jitter=jitter):
            logits = T._forward(net, x, norm, jitter).logits
            log_norm = np.log(np.exp(logits).sum(axis=1))
            return np.mean(log_norm - logits[np.arange(10), y])

        (value, before), grads = value_and_grad(T._loss, has_aux=True)(net, x, y, norm, jitter)
        assert_close(value, loss(net))
        assert_close(before[0], x @ net.weights[0].T)
        direction = tree_map(lambda w: rng(3).standard_normal(w.shape), net)
        ahead, behind = (
            loss(tree_map(lambda w, d, h=h: w + h * d, net, direction)) for h in (1e-6, -1e-6)
        )
        pairs = zip(tree_leaves(grads), tree_leaves(direction), strict=True)
        slope = sum(np.sum(g * d) for g, d in pairs)
        assert_close(slope, (ahead - behind) / 2e-6, rtol=1e-6)  # rounding of the difference
