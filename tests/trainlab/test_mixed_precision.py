"""Mixed precision: rounding forward and backward, master weights, vanishing updates, memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import datasets
from trainlab import mixed_precision as M
from trainlab.differentiation import differentiable, value_and_grad, vjp
from trainlab.explorers.mixed_precision.memory import memory
from trainlab.explorers.mixed_precision.window import _edges as edges
from trainlab.explorers.mixed_precision.window import window
from trainlab.formats import BF16, E4M3, E5M2, FP16, FP32, TF32, round_to
from trainlab.sweeps import stored_run
from trainlab.sweeps.mixed_precision_training import SCALERS, SHRINKS, scales
from trainlab.sweeps.mixed_precision_weights import STORES
from trainlab.trees import tree_leaves, tree_map


def rng(seed=0):
    return np.random.default_rng(seed)


def numbers(seed=0, shape=(7, 5), low=-10, high=6):
    """Floats of both signs over many binades."""
    r = rng(seed)
    return (r.choice([-1, 1], shape) * 2.0 ** r.uniform(low, high, shape)).astype(np.float32)


# --- cast -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [FP16, BF16, E4M3, E5M2, TF32], ids=lambda f: f.name)
def test_cast_rounds_both_ways(fmt):
    x, g = numbers(0), numbers(1)
    value, pullback = vjp(M.cast, x, fmt=fmt)
    np.testing.assert_array_equal(value, round_to(x, fmt))
    np.testing.assert_array_equal(M.cast(x, fmt), round_to(x, fmt))
    (dx,) = pullback(g)
    np.testing.assert_array_equal(dx, round_to(g, fmt))
    assert dx.dtype == np.float32
    assert (dx != g).any()


def test_gradients_may_have_a_format_of_their_own():
    x = np.array([1.1], np.float32)
    value, pullback = vjp(M.cast, x, fmt=E4M3, cotangent_fmt=E5M2)
    assert value == 1.125
    assert pullback(np.array([1.1], np.float32))[0] == 1.0
    # 2^-16 is in E5M2's range, and not in E4M3's
    assert pullback(np.array([2.0**-16], np.float32))[0] == 2.0**-16
    assert vjp(M.cast, x, fmt=E4M3)[1](np.array([2.0**-16], np.float32))[0] == 0


def test_cast_overflows_as_round_to_does():
    x = np.array([1e6, np.inf, np.nan, -1e6])
    np.testing.assert_array_equal(M.cast(x, FP16), [np.inf, np.inf, np.nan, -np.inf])
    _, pullback = vjp(M.cast, np.ones(4), fmt=FP16, saturate=True)
    np.testing.assert_array_equal(pullback(x)[0], [65504, 65504, np.nan, -65504])
    np.testing.assert_array_equal(M.cast(x, FP16, saturate=True), [65504, 65504, np.nan, -65504])


def test_cotangent_stays_untouched():
    g = numbers(1)
    before = g.copy()
    vjp(M.cast, numbers(0), fmt=FP16)[1](g)
    np.testing.assert_array_equal(g, before)


@pytest.mark.referee
@pytest.mark.parametrize(("fmt", "name"), [(FP16, "float16"), (BF16, "bfloat16")])
def test_cast_is_that_of_jax(fmt, name):
    jax = pytest.importorskip("jax")
    x, g = numbers(0), numbers(1)
    value, pullback = jax.vjp(lambda v: v.astype(name).astype("float32"), x)
    ours, back = vjp(M.cast, x, fmt=fmt)
    np.testing.assert_array_equal(ours, np.asarray(value))
    np.testing.assert_array_equal(back(g)[0], np.asarray(pullback(g)[0]))


def test_cast_tree_rounds_every_leaf():
    tree = {"w": numbers(0), "b": [numbers(1), None], "n": np.float32(0.1)}
    found = M.cast_tree(tree, BF16)
    for a, b in zip(tree_leaves(found), tree_leaves(tree), strict=True):
        np.testing.assert_array_equal(a, round_to(b, BF16))
        assert a.dtype == np.float32
    assert found["b"][1] is None
    assert M.cast_tree([np.array([1e6])], FP16, saturate=True)[0] == 65504
    assert np.isinf(M.cast_tree([np.array([1e6])], FP16)[0])


# --- operations in low precision ------------------------------------------------------------------


def product(a, b):
    return a @ b


@pytest.mark.claim("MP-01")
def test_products_are_summed_in_float32():
    """4096 ones: FP16 cannot count beyond 2048, a float32 accumulator can."""
    ones = np.ones((1, 4096), np.float32)
    assert M.low_precision(product, FP16)(ones, ones.T) == 4096
    running = np.float16(0)
    for _ in range(4096):
        running = np.float16(running + np.float16(1))
    assert running == 2048


def test_low_precision_rounds_arguments_result_and_gradients():
    a, b, c = numbers(0, (4, 5)), numbers(1, (5, 3)), numbers(2, (4, 3))
    value, pullback = vjp(M.low_precision(product, BF16), a, b)
    low_a, low_b, low_c = (round_to(v, BF16) for v in (a, b, c))
    np.testing.assert_array_equal(value, round_to(low_a @ low_b, BF16))
    da, db = pullback(c)
    np.testing.assert_array_equal(da, round_to(low_c @ low_b.T, BF16))
    np.testing.assert_array_equal(db, round_to(low_a.T @ low_c, BF16))


def test_low_precision_rounds_keywords_and_leaves_the_rest():
    def scaled(x, *, weight, index, factor):
        assert index.dtype.kind == "i"
        assert factor == 0.1
        return x * weight

    x, w = np.array([0.1]), np.array([0.3])
    found = M.low_precision(scaled, FP16)(x, weight=w, index=np.array([1]), factor=0.1)
    assert found == round_to(round_to(x, FP16) * round_to(w, FP16), FP16)


def test_overflow_of_an_operation_is_infinite_without_a_warning():
    big = np.full((1, 1), 60000.0)
    assert np.isinf(M.low_precision(product, FP16)(big, big))
    assert np.isnan(M.low_precision(lambda a, b: a - b, FP16)(np.inf * big, np.inf * big))


# --- the gradient in low precision ----------------------------------------------------------------


@differentiable("z")
def cross_entropy(z, labels):
    """Mean over the rows, in float32."""
    rows = np.arange(len(z))
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    def pullback(c):
        p = np.exp(log_p)
        p[rows, labels] -= 1
        return (p * (c / np.float32(len(z))),)

    return -log_p[rows, labels].mean(), pullback


@differentiable("x")
def relu(x):
    y = np.maximum(x, 0)
    return y, lambda c: (c * (y > 0),)


def digits(count=60):
    x, y = datasets.digits(dtype=np.float32)
    return x[:count], y[:count]


def weights(seed=0):
    r = rng(seed)
    sizes = [64, 64, 64, 10]
    return [
        (r.standard_normal((m, n)) * np.sqrt(2 / m)).astype(np.float32)
        for m, n in itertools.pairwise(sizes)
    ]


def network_loss(fmt, shrink=1.0):
    """A ReLU network whose products are in the format, its loss in float32."""
    multiply = M.low_precision(product, fmt)

    def loss(params, x, labels):
        for w in params[:-1]:
            x = relu(multiply(x, w))
        return cross_entropy(multiply(x, params[-1]), labels) * shrink

    return loss


def train(fmt, *, k=0, scale=1.0, steps=10, count=60):
    """SGD on loss · 2^-k with learning rate 0.5 · 2^k: the same training, smaller gradients."""
    params, batch = weights(), digits(count)
    losses = []
    for _ in range(steps):
        loss = network_loss(fmt, 2.0**-k)
        value, grads = M.mixed_value_and_grad(loss, fmt, scale=scale)(params, *batch)
        params = tree_map(lambda w, g: w - np.float32(0.5 * 2**k / scale) * g, params, grads)
        losses.append(float(value) * 2**k)
    return np.array(losses), params


def test_values_and_gradients_in_fp32_are_those_without():
    x, y = digits(50)
    plain = value_and_grad(network_loss(FP32))(weights(), x, y)
    mixed = M.mixed_value_and_grad(network_loss(FP32), FP32)(weights(), x, y)
    assert mixed[0] == plain[0]
    for a, b in zip(mixed[1], plain[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_loss_is_unscaled_and_gradients_are_scaled():
    x, y = digits(50)
    value, grads = M.mixed_value_and_grad(network_loss(FP32), FP32)(weights(), x, y)
    scaled, more = M.mixed_value_and_grad(network_loss(FP32), FP32, scale=8.0)(weights(), x, y)
    assert scaled == value
    for a, b in zip(grads, more, strict=True):
        np.testing.assert_array_equal(8 * a, b)
        assert b.dtype == np.float32


def test_function_sees_rounded_parameters_and_gradients_are_rounded():
    def loss(w):
        return w * 3.1  # the weight's rounding shows, its gradient is rounded too

    value, grads = M.mixed_value_and_grad(loss, BF16)(np.array(0.1))
    assert value == round_to(0.1, BF16) * 3.1
    assert grads == round_to(3.1, BF16)


def test_overflow_of_the_scaled_loss_shows_in_the_gradients():
    value, grads = M.mixed_value_and_grad(lambda w: w * 3.0, FP16, scale=2.0**16)(
        np.array([1.0])[0]
    )
    assert value == 3
    assert np.isinf(grads)
    # in float32 the scaled loss itself overflows, and the gradient is still what it is
    loss = M.mixed_value_and_grad(lambda w: w * np.float32(1e38), FP32, scale=2.0)
    value, grads = loss(np.float32(3))
    assert value == np.float32(3e38)
    assert_close(grads, np.float32(2e38))


@pytest.mark.claim("MP-05")
def test_bf16_needs_no_loss_scale():
    """Losses shrunk by 2^-24 change nothing in BF16 or FP32: their range is the same."""
    for fmt in (FP32, BF16):
        losses, params = train(fmt)
        for k in (8, 24):
            again, shrunk = train(fmt, k=k)
            np.testing.assert_array_equal(again, losses)
            for a, b in zip(shrunk, params, strict=True):
                np.testing.assert_array_equal(a, b)
        assert losses[-1] < 0.5 * losses[0]


@pytest.mark.claim("MP-01", "MP-02")
def test_fp16_loses_small_gradients_and_a_loss_scale_restores_them():
    losses, params = train(FP16)
    assert losses[-1] < 0.5 * losses[0]
    nothing, same = train(FP16, k=20)
    assert (nothing == nothing[0]).all()  # every gradient is 0, nothing moves
    for a, b in zip(same, weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for k in (12, 20):  # multiplied by 2^k they are what they were, bit for bit
        restored, again = train(FP16, k=k, scale=2.0**k)
        np.testing.assert_array_equal(restored, losses)
        for a, b in zip(again, params, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.claim("MP-02")
def test_a_gradient_of_1e_8():
    loss = lambda w: w * 1e-8  # noqa: E731
    _, lost = M.mixed_value_and_grad(loss, FP16)(np.float64(1))
    _, kept = M.mixed_value_and_grad(loss, FP16, scale=1024.0)(np.float64(1))
    assert lost == 0
    assert_close(kept / 1024, 1.0012e-8, rtol=1e-4)  # quoted to five digits


# --- updates that vanish --------------------------------------------------------------------------


@pytest.mark.claim("MP-03")
def test_thresholds_near_one():
    down, up = M.update_threshold(np.float32(1), FP16)
    assert (down, up) == (2.0**-12, 2.0**-11)  # 2.4e-4 and 4.9e-4
    assert M.update_threshold(1.0, BF16) == (2.0**-9, 2.0**-8)  # 2.0e-3 and 3.9e-3
    down, up = M.update_threshold(np.array([-1.0, 1.5, 0.0, 65504.0]), FP16)
    assert down.tolist() == [2.0**-11, 2.0**-11, 2.0**-25, 16.0]
    assert up.tolist() == [2.0**-12, 2.0**-11, 2.0**-25, np.inf]


@pytest.mark.parametrize("fmt", [FP16, BF16, E5M2], ids=lambda f: f.name)
def test_thresholds_are_where_rounding_begins_to_move(fmt):
    w = round_to(numbers(3, (200,), -6, 6).astype(np.float64), fmt)
    down, up = M.update_threshold(w, fmt)
    np.testing.assert_array_equal(round_to(w + 0.99 * up, fmt), w)
    np.testing.assert_array_equal(round_to(w - 0.99 * down, fmt), w)
    assert (round_to(w + 1.01 * up, fmt) > w).all()
    assert (round_to(w - 1.01 * down, fmt) < w).all()


@pytest.mark.claim("MP-03")
@pytest.mark.parametrize(
    ("fmt", "update", "stored", "truth"),
    [(FP16, -1e-4, 1.0, 0.9), (BF16, -1e-3, 1.0, 0.0), (FP32, -1e-4, 0.89998, 0.9)],
)
def test_a_thousand_small_updates(fmt, update, stored, truth):
    w, u = np.ones(1, np.float32), np.full(1, update, np.float32)
    for _ in range(1000):
        w = M.rounded_update(w, u, fmt=fmt)
    assert_close(float(w[0]), stored, rtol=1e-5)  # quoted to five digits
    assert abs(1 + 1000 * update - truth) < 1e-12


@pytest.mark.claim("MP-03")
def test_a_sum_in_fp16_stops_at_a_quarter():
    total, term = np.zeros(1, np.float32), np.full(1, 1e-4, np.float32)
    for _ in range(2600):
        total = M.rounded_update(total, term, fmt=FP16)
    assert total == 0.25
    assert M.rounded_update(total, term, fmt=FP16) == total  # so 10,000 terms make 0.25, not 1


@pytest.mark.claim("MP-05")
def test_rounding_at_random_is_right_on_average():
    """BF16, 1000 updates of -1e-4 to 2000 weights of 1: the nearest stays, the mean moves."""
    w, u, r = np.ones(2000, np.float32), np.full(2000, -1e-4, np.float32), rng()
    for _ in range(1000):
        w = M.rounded_update(w, u, fmt=BF16, rng=r)
    np.testing.assert_array_equal(round_to(w, BF16), w)
    assert w.std() > 0.01
    # variance of a sum of 1000 roundings, each at most 2^-9 · 1e-4: five standard errors
    assert abs(w.mean() - 0.9) < 5 * np.sqrt(1000 * 2**-8 * 1e-4 / 2000)


def test_rounded_update_draws_from_its_rng():
    w, u = np.ones(50, np.float32), np.full(50, 1e-4, np.float32)
    a, b, c = (M.rounded_update(w, u, fmt=BF16, rng=rng(s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@pytest.mark.claim("MP-03")
def test_weights_without_a_master_stay_where_they_are():
    """Digits, BF16, a small learning rate: with master weights the loss falls, without it hangs."""
    batch, gradient = digits(), M.mixed_value_and_grad(network_loss(BF16), BF16)
    start = float(gradient(weights(), *batch)[0])
    last, r = {}, rng()
    for kind in ("master", "none", "random"):
        params = weights() if kind == "master" else M.cast_tree(weights(), BF16)
        for _ in range(30):
            _, grads = gradient(params, *batch)
            updates = tree_map(lambda g: np.float32(-0.003) * g, grads)
            if kind == "master":
                params = tree_map(np.add, params, updates)
            else:
                params = M.rounded_update(
                    params, updates, fmt=BF16, rng=r if kind == "random" else None
                )
        last[kind] = start - float(gradient(params, *batch)[0])
    assert last["master"] > 0.1
    assert last["none"] < 0.5 * last["master"]
    assert abs(last["random"] - last["master"]) < 0.2 * last["master"]


def test_vanishing_updates_are_counted():
    params = [np.array([1.0, 1.0, 2.0]), np.array([1e-3])]
    updates = [np.array([0.0, 4e-4, 4e-4]), np.array([4e-4])]
    assert M.vanishing_updates(params, updates, fmt=FP16) == 2 / 3
    assert M.vanishing_updates(params, updates, fmt=FP32) == 0
    assert M.vanishing_updates([], [], fmt=FP16) == 0
    assert M.vanishing_updates([np.ones(2)], [np.zeros(2)], fmt=FP16) == 0
    # the weight is rounded first: 0.1 is no number of FP16, and stays where it is rounded to
    assert M.vanishing_updates([np.array([0.1])], [np.array([1e-6])], fmt=FP16) == 1


def test_vanishing_updates_go_by_keys():
    params = {"a": np.ones(1), "b": np.full(1, 1e-3)}
    updates = {"b": np.full(1, 1e-4), "a": np.zeros(1)}
    assert M.vanishing_updates(params, updates, fmt=FP16) == 0


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.claim("MP-04")
def test_mixed_precision_with_adam_takes_as_much_as_fp32():
    mixed = M.training_memory(1, compute=BF16)
    assert mixed == (2, 2, 4, 8, 16)
    assert M.training_memory(1) == mixed  # the defaults: 16 bits, FP32 master and moments
    pure = M.training_memory(1, compute=FP32, master=None)
    assert pure == (4, 4, 0, 8, 16)


def test_other_recipes():
    assert M.training_memory(1, compute=BF16, master=None, moments=(BF16, BF16)).total == 8
    assert M.training_memory(1, gradients=FP32).total == 2 + 4 + 4 + 8
    assert M.training_memory(1, moments=()).total == 8
    assert M.training_memory(1, moments=(FP32,)).moments == 4
    assert M.training_memory(1, compute=E4M3, gradients=E5M2, master=FP16).total == 1 + 1 + 2 + 8
    assert M.training_memory(1, compute=TF32, master=None).weights == 4  # stored in 32 bits
    assert M.training_memory(7e9).total == 112e9


def test_an_update_may_overflow_without_a_warning():
    assert M.rounded_update(np.array([1e308]), np.array([1e308]), fmt=FP32).tolist() == [np.inf]


# --- stored training runs, as the page shows them -------------------------------------------------


def stored_training(**cell):
    return stored_run("mixed_precision_training", **cell)


@pytest.mark.claim("MP-05")
def test_stored_bf16_runs_are_one():
    runs = [stored_training(format="BF16", k=k, scaler=s)["loss"] for k in SHRINKS for s in SCALERS]
    assert all(losses == runs[0] for losses in runs)


@pytest.mark.claim("MP-02")
def test_stored_fp16_runs_need_a_scale_where_gradients_are_small():
    natural = stored_training(format="FP16", k=0, scaler="none")
    exact = stored_training(format="FP32")["loss"]
    # the honest part: at their natural scale these networks do not need one
    assert_close(natural["loss"][-1], exact[-1], rtol=0.1)
    stuck = stored_training(format="FP16", k=20, scaler="none")
    assert set(stuck["loss"]) == {stuck["loss"][0]}
    assert stuck["zero"] == 1
    # a static scale of 2^k is k = 0 bit for bit; so stored results are equal
    for k in (8, 16):
        restored = stored_training(format="FP16", k=k, scaler=str(k))
        assert {key: restored[key] for key in ("loss", "zero", "accuracy")} == {
            key: natural[key] for key in ("loss", "zero", "accuracy")
        }
    for k in SHRINKS:
        found = stored_training(format="FP16", k=k, scaler="dynamic")
        assert found["loss"][-1] < 1.5 * exact[-1]


@pytest.mark.claim("MP-02")
def test_stored_dynamic_scale_is_a_sawtooth():
    skipped = stored_training(format="FP16", k=0, scaler="dynamic")["skipped"]
    powers = scales("dynamic", skipped)
    assert powers[:3] == [24, 23, 22]
    assert skipped[:8] == list(range(8))
    ceiling = np.array(skipped[-6:])
    # ten good steps, and the next is lost, or the one after it
    assert set(np.diff(ceiling)) <= {11, 12}
    assert set(scales("16", [])) == {16.0}
    assert set(scales("none", [])) == {0.0}


@pytest.mark.claim("MP-03", "MP-05")
def test_stored_weights_without_a_master_learn_less_where_steps_are_small():
    found = {
        store: np.mean(
            stored_run("mixed_precision_weights", format="BF16", store=store)["accuracy"], axis=1
        )
        for store in STORES
    }
    gap = found["master"] - found["nearest"]
    assert gap[1] > 0.15  # at a learning rate of 0.003
    assert abs(gap[-1]) < 0.03  # at 0.1
    assert np.abs(found["master"] - found["stochastic"]).max() < 0.03


@pytest.mark.claim("MP-02")
@pytest.mark.parametrize(("k", "zero"), [(0, 0.4013), (3, 0.1587), (7, 0.0228), (10, 0.0030)])
def test_window_shows_the_shares_of_theory(k, zero):
    data = window.run(format="FP16", k=k, spread=4)
    assert_close(data.lost.zero, zero, rtol=0.02)  # of 4,000 gradients
    assert_close(data.zero[k] / 100, zero, rtol=0.01)  # quoted to two digits


@pytest.mark.parametrize("fmt", [FP16, E5M2, E4M3], ids=lambda f: f.name)
def test_window_ends_where_numbers_are_lost(fmt):
    first, second, last = edges(fmt)
    assert round_to(2.0**first, fmt) == 0
    assert round_to(np.nextafter(2.0**first, 1), fmt) == fmt.min_subnormal
    assert 2.0**second == fmt.min_normal
    assert np.isfinite(round_to(2.0**last * (1 - 1e-12), fmt))
    assert not np.isfinite(round_to(2.0**last * (1 + 1e-12), fmt))


@pytest.mark.claim("MP-04")
@pytest.mark.parametrize(("optimizer", "total"), [("adam", 16), ("momentum", 12), ("sgd", 8)])
def test_memory_shows_that_only_activations_are_halved(optimizer, total):
    data = memory.run(optimizer=optimizer, rows=8192)
    full, mixed, autocast, narrow = data.parts.sum(axis=1)
    assert (full, mixed, autocast, narrow) == (total, total, total + 2, total / 2)
    assert_close(data.activations[0], 12 * 8192 * 4096 * 4 / 1e9)
    assert (data.activations[1:] == data.activations[0] / 2).all()
