"""Gradient clipping: by value, by norm, by global norm, by unit and by example."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainlab.closeness import assert_close
from trainlab.clipping import (
    adaptive_clip,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    clip_per_example,
    global_norm,
)
from trainlab.differentiation import vjp
from trainlab.recurrent import recurrent_unit
from trainlab.trees import tree_leaves


def rng(seed=0):
    return np.random.default_rng(seed)


def tree(seed=0, dtype=np.float64, scale=1.0):
    r = rng(seed)
    return {
        "first": (scale * r.standard_normal((4, 3))).astype(dtype),
        "layers": [(scale * r.standard_normal(5)).astype(dtype), None, (np.ones((), dtype),)],
    }


def flat(grads):
    return np.concatenate([np.ravel(leaf) for leaf in tree_leaves(grads)])


def cosine(a, b):
    a, b = flat(a), flat(b)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


# --- values ------------------------------------------------------------------------------------


@pytest.mark.claim("CLIP-01")
def test_by_value_turns_and_by_norm_does_not():
    g = np.array([10.0, 1.0])
    cut = clip_by_value(g, clip_value=1.0)
    assert_close(cut, np.ones(2))
    assert_close(cosine(g, cut), 11 / math.sqrt(202))
    assert round(math.degrees(math.acos(cosine(g, cut))), 1) == 39.3
    short, _ = clip_by_global_norm(g, max_norm=1.0)
    assert_close(cosine(g, short), 1.0)
    assert_close(clip_by_value(np.array([10.0, 0.1]), clip_value=1.0), np.array([1.0, 0.1]))


@pytest.mark.claim("CLIP-01")
@pytest.mark.parametrize(("threshold", "cos"), [(1.0, 0.950), (0.1, 0.819), (1e-3, 0.798)])
def test_cutting_gaussian_gradients_leaves_their_signs(threshold, cos):
    g = rng().standard_normal((1000, 1000))
    found = np.mean([cosine(row, clip_by_value(row, clip_value=threshold)) for row in g])
    # the standard error is about 1e-4; the numbers have three digits
    assert_close(found, cos, rtol=1.5e-3)


@pytest.mark.claim("CLIP-02")
def test_one_norm_for_all_parameters_or_one_for_each():
    grads = {"a": np.array([3.0, 4.0]), "b": np.array([12.0])}
    together, norm = clip_by_global_norm(grads, max_norm=1.0, eps=0.0)
    assert norm == 13.0
    assert_close(flat(together), np.array([3.0, 4.0, 12.0]) / 13)
    alone = clip_by_norm(grads, max_norm=1.0, eps=0.0)
    assert_close(flat(alone), np.array([0.6, 0.8, 1.0]))
    assert_close(cosine(grads, alone), 17 / 13 / math.sqrt(2))
    assert round(cosine(grads, alone), 3) == 0.925
    assert list(together) == ["a", "b"]


@pytest.mark.claim("CLIP-03")
@pytest.mark.parametrize("clip", [clip_by_norm, lambda *a, **k: clip_by_global_norm(*a, **k)[0]])
def test_factor_is_the_threshold_over_norm_plus_eps(clip):
    g = np.array([3.0, 4.0])
    assert_close(clip(g, max_norm=2.0, eps=3.0), g * 2 / 8)
    assert_close(clip(g, max_norm=2.0, eps=0.0), g * 2 / 5)
    assert_close(clip(g, max_norm=2.0), g * 2 / (5 + 1e-6), rtol=1e-12)  # shows eps, 4e-7
    assert_close(clip(g, max_norm=7.0, eps=3.0), g * 7 / 8)  # 5 < 7 < 5 + 3
    for passes in (8.0, 8.5):
        assert clip(g, max_norm=passes, eps=3.0) is g
    assert clip(g, max_norm=5.0, eps=0.0) is g
    assert clip(np.zeros(3), max_norm=1.0, eps=0.0).tolist() == [0.0, 0.0, 0.0]


def test_a_batch_of_layers_is_clipped_and_nothing_else_changes():
    grads = tree(scale=100.0)
    clipped, norm = clip_by_global_norm(grads, max_norm=1.0, eps=0.0)
    assert_close(norm, np.linalg.norm(flat(grads)))
    assert_close(flat(clipped), flat(grads) / norm)
    assert clipped["layers"][1] is None
    assert isinstance(clipped["layers"][2], tuple)
    assert clipped["layers"][2][0].shape == ()


def test_trees_without_entries():
    assert global_norm({}) == 0.0
    assert global_norm([np.zeros((0, 3))]) == 0.0
    clipped, norm = clip_by_global_norm([np.zeros((0, 3))], max_norm=1.0)
    assert (clipped[0].shape, norm) == ((0, 3), 0.0)
    assert adaptive_clip(np.zeros((0, 3)), np.zeros((0, 3)), clipping=0.1).shape == (0, 3)
    assert adaptive_clip(np.zeros((3, 0)), np.zeros((3, 0)), clipping=0.1).shape == (3, 0)
    clipped, norms = clip_per_example([np.zeros((0, 3)), np.zeros(0)], max_norm=1.0)
    assert (clipped[0].shape, norms.shape) == ((0, 3), (0,))
    assert clip_by_value({}, clip_value=1.0) == {}


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=8),
    st.floats(1e-3, 1e3),
)
def test_clipped_gradients_are_bounded_parallel_and_stay_so(values, bound):
    g = np.array(values)
    clipped, norm = clip_by_global_norm(g, max_norm=bound, eps=0.0)
    assert np.linalg.norm(clipped) <= bound * (1 + 1e-12)  # rounding
    assert np.linalg.norm(clipped) <= norm * (1 + 1e-12)
    assert_close(clipped * np.linalg.norm(g), g * np.linalg.norm(clipped), atol=1e-12)
    assert_close(clip_by_global_norm(clipped, max_norm=bound, eps=0.0)[0], clipped)
    once = clip_by_value(g, clip_value=bound)
    assert np.array_equal(clip_by_value(once, clip_value=bound), once)


# --- adaptive clipping -------------------------------------------------------------------------


def test_adaptive_clipping_follows_the_weights_of_each_row():
    grads = np.full((2, 2), 10.0)
    weight = np.array([[3.0, 4.0], [0.3, 0.4]])
    clipped = adaptive_clip(grads, weight, clipping=0.01)
    assert_close(np.linalg.norm(clipped, axis=1), np.array([0.05, 0.005]))
    assert_close(clipped[:, 0], clipped[:, 1])
    alike, _ = clip_by_global_norm(grads, max_norm=1.0)  # both rows .707, whatever the weights
    assert_close(np.linalg.norm(alike, axis=1), np.full(2, math.sqrt(0.5)))


def test_adaptive_clipping_lets_small_gradients_and_zero_weights_pass():
    grads = np.array([[0.03, 0.04], [0.3, 0.4], [0.0, 0.0]])
    weight = np.array([[5.0, 0.0], [5.0, 0.0], [0.0, 0.0]])
    clipped = adaptive_clip(grads, weight, clipping=0.01)
    assert_close(clipped, np.array([[0.03, 0.04], [0.03, 0.04], [0.0, 0.0]]))
    assert adaptive_clip(grads[:1], weight[:1], clipping=0.01) is not None
    # weights of 0 count as eps = 1e-3
    assert_close(adaptive_clip(np.array([3.0, 4.0]), np.zeros(2), clipping=0.5),
                 np.array([3.0, 4.0]) * 1e-4)  # fmt: skip
    assert_close(adaptive_clip(np.array([3.0, 4.0]), np.zeros(2), clipping=0.5, eps=2.0),
                 np.array([0.6, 0.8]))  # fmt: skip


def test_units_of_adaptive_clipping():
    r = rng(3)
    for shape, default in (((4, 3, 2, 2), (1, 2, 3)), ((4, 3), (1,)), ((5,), (0,)), ((), ())):
        g, w = r.standard_normal(shape) * 10, r.standard_normal(shape)
        by_hand = np.linalg.norm(g.reshape(shape[0], -1) if len(shape) > 1 else g.reshape(1, -1),
                                 axis=1)  # fmt: skip
        clipped = adaptive_clip(g, w, clipping=1e-9)
        assert_close(clipped, adaptive_clip(g, w, clipping=1e-9, axis=list(default)))
        ratio = np.abs(clipped / g).reshape(by_hand.size, -1)
        limit = 1e-9 * np.linalg.norm(w.reshape(by_hand.size, -1), axis=1)
        assert_close(ratio, (limit / by_hand)[:, None] + np.zeros_like(ratio))
    g, w = r.standard_normal((4, 3)) * 10, r.standard_normal((4, 3))
    columns = adaptive_clip(g, w, clipping=0.1, axis=0)
    assert_close(columns, adaptive_clip(g.T.copy(), w.T.copy(), clipping=0.1).T)
    assert_close(columns, adaptive_clip(g, w, clipping=0.1, axis=-2))


def test_no_copy_where_adaptive_clipping_does_nothing():
    g = np.array([0.1, 0.2])
    assert adaptive_clip(g, np.ones(2), clipping=1.0) is g


# --- clipping each example ---------------------------------------------------------------------


@pytest.mark.claim("CLIP-04")
def test_clipping_each_example_is_biased_for_skewed_noise():
    values, chance = np.array([-1.0, 12.0]), np.array([0.9, 0.1])
    assert_close(chance @ values, 0.3)
    clipped, norms = clip_per_example(values, max_norm=1.0)
    assert_close(norms, np.array([1.0, 12.0]))
    assert_close(chance @ clipped, -0.8)  # the mean step goes the wrong way
    # Clipping the mean of 32: how many of them are large is binomial, so this is exact.
    count = np.arange(33)
    means = (-(32 - count) + 12 * count) / 32
    weights = np.array([math.comb(32, k) * 0.1**k * 0.9 ** (32 - k) for k in count])
    after = weights @ np.array([clip_by_value(m, clip_value=1.0) for m in means])
    assert_close(after, 0.2340, rtol=1e-3)  # four digits


def test_each_example_has_one_norm_over_all_leaves():
    grads = {"w": np.array([[3.0, 0.0], [0.3, 0.0]]), "b": np.array([4.0, 0.4])}
    clipped, norms = clip_per_example(grads, max_norm=1.0)
    assert_close(norms, np.array([5.0, 0.5]))
    assert_close(clipped["w"], np.array([[0.6, 0.0], [0.3, 0.0]]))
    assert_close(clipped["b"], np.array([0.8, 0.4]))


@pytest.mark.claim("CLIP-05")
def test_clip_once_after_unscaling_and_averaging():
    examples = rng(1).standard_normal((8, 3)) * 3
    mean = examples.mean(axis=0)
    after, norm = clip_by_global_norm(mean, max_norm=0.5)
    assert_close(cosine(after, mean), 1.0)
    # Before averaging, per micro-batch or per example, it is another direction.
    halves = [clip_by_global_norm(h.mean(axis=0), max_norm=0.5)[0] for h in np.split(examples, 2)]
    assert cosine((halves[0] + halves[1]) / 2, mean) < 0.999
    assert cosine(clip_per_example(examples, max_norm=0.5)[0].mean(axis=0), mean) < 0.999
    # Before unscaling the threshold is a thousand times too small.
    scaled, _ = clip_by_global_norm(1024 * mean, max_norm=0.5)
    assert norm > 0.5
    assert_close(np.linalg.norm(scaled / 1024), 0.5 / 1024, rtol=1e-5)  # eps


@pytest.mark.claim("CLIP-06")
def test_a_spike_freezes_adam_and_clipping_prevents_it():
    def steps(gradients, b1=0.9, b2=0.999, eps=1e-8):
        m = v = 0.0
        for t, g in enumerate(gradients, 1):
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            yield m / (1 - b1**t) / (math.sqrt(v / (1 - b2**t)) + eps)

    # The scale of the gradient cancels, so a clip that is always active changes nothing.
    g = rng(0).standard_normal(100) + 1
    assert_close(np.array(list(steps(g))), np.array(list(steps(g / 1000))), rtol=1e-4)  # eps
    g[50] = 1000.0
    clipped = [float(clip_by_global_norm(np.array([x]), max_norm=5.0)[0][0]) for x in g]
    assert abs(list(steps(g))[-1]) < 0.05
    assert abs(list(steps(clipped))[-1]) > 0.3


@pytest.mark.claim("CLIP-07")
def test_a_threshold_belongs_to_a_loss():
    """The same threshold clips nothing under a mean loss and everything under a sum."""
    means = [rng(i).standard_normal((32, 10)).mean(axis=0) for i in range(50)]
    for scale, clipped in ((1, 0.0), (32, 1.0)):
        norms = [clip_by_global_norm(scale * g, max_norm=1.0)[1] for g in means]
        assert np.mean(np.array(norms) > 1.0) == clipped


def test_clipping_saves_descent_beside_the_cliff_of_a_recurrent_unit():
    """Experiment of Pascanu et al. (2013): without clipping one step throws the weights away."""
    start = rng(0).uniform(4.5, 6.0, 60)
    start = np.stack([start, -start / 2 + rng(1).uniform(-0.1, 0.4, 60)])
    share = {}
    for bound in (math.inf, 0.3):
        points = start
        for _ in range(100):
            h, pullback = vjp(recurrent_unit, *points, steps=20)
            grads = np.stack(pullback(2 * (h - 0.7)))
            if bound < math.inf:
                grads = clip_per_example(grads.T, max_norm=bound)[0].T  # each column is a run
            points = np.round(points - grads, 6)  # rounding errors do not choose the path
        moved = np.linalg.norm(points - start, axis=0)
        share[bound] = np.mean((h - 0.7) ** 2 < 0.01), moved.max()
    assert share[math.inf][0] < 0.4
    assert share[math.inf][1] > 50
    assert share[0.3][0] > 0.9
    assert share[0.3][1] < 5


# --- extreme values ----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e-20, 1.0, 1e18, 1e30, 1e38])
def test_norms_of_extreme_float32_values(scale):
    g = np.array([[0.75], [1.0]], np.float32) * np.float32(scale)
    exact = np.linalg.norm(g.astype(np.float64))
    assert_close(global_norm(g), exact, rtol=1e-6)  # float32
    clipped, norm = clip_by_global_norm(g, max_norm=0.5 * exact, eps=0.0)
    assert_close(norm, exact, rtol=1e-6)
    assert_close(clipped, g / np.float32(2))
    by_example, norms = clip_per_example(g, max_norm=0.5 * scale)
    assert_close(norms, np.abs(g[:, 0]))
    # a row is as long as its weights times 10, so a tenth is left
    assert_close(adaptive_clip(g, g, clipping=0.1, eps=1e-45 if scale < 1 else 1e-3),
                 g * np.float32(0.1), rtol=1e-4 if scale > 1e-39 else 0.1)  # fmt: skip
    assert clipped.dtype == by_example.dtype == np.float32


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e200, 1e307])
def test_norms_of_extreme_float64_values(scale):
    g = np.array([3.0, 4.0]) * scale
    assert_close(global_norm([g[:1], g[1:]]) / scale, 5.0)
    assert_close(clip_by_norm(g, max_norm=scale, eps=0.0) / scale, np.array([0.6, 0.8]))
    rows = clip_per_example(g[None], max_norm=scale)[0]
    assert_close(rows / scale, np.array([[0.6, 0.8]]))


def test_half_precision_sums_in_single():
    g = np.full(3000, 300.0, np.float16)  # the squares and their sum exceed 65504
    assert_close(global_norm(g), 300 * math.sqrt(3000))
    clipped, _ = clip_by_global_norm(g, max_norm=1.0)
    assert clipped.dtype == np.float16
    assert_close(clipped, np.full(3000, 1 / math.sqrt(3000), np.float16))
    again = adaptive_clip(g, np.ones(3000, np.float16), clipping=0.1)
    assert again.dtype == np.float16
    assert_close(again, np.full(3000, 0.1, np.float16))


def test_millions_of_float32_entries_sum_to_full_precision():
    g = np.full(2_000_001, 0.1, np.float32)
    assert_close(global_norm(g), 0.1 * math.sqrt(2_000_001), rtol=1e-6)  # float32 entries
    one = np.zeros(200_000, np.float32)
    one[-1] = 2.0  # in the last block
    assert global_norm(one) == 2.0


def test_layout_in_memory_does_not_matter():
    g = rng(2).standard_normal((6, 5))
    for view in (np.asfortranarray(g), g[::-1, ::-1], g.T):
        assert_close(global_norm(view), np.linalg.norm(g))
        assert_close(clip_by_global_norm(view, max_norm=1.0, eps=0.0)[0],
                     view / np.linalg.norm(g))  # fmt: skip


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    grads = [np.ones(2), np.array([1.0, bad])]
    for clip, bound in (
        (clip_by_global_norm, "max_norm"),
        (clip_by_norm, "max_norm"),
        (clip_by_value, "clip_value"),
    ):
        with pytest.raises(ValueError, match=f"{clip.__name__}: grads must have a finite norm"):
            clip(grads, **{bound: 1.0})
    with pytest.raises(ValueError, match="adaptive_clip: grads must be finite"):
        adaptive_clip(grads, grads, clipping=1.0)
    with pytest.raises(ValueError, match="clip_per_example: grads must be finite"):
        clip_per_example(grads, max_norm=1.0)
    norm = global_norm(grads)
    assert math.isnan(norm) if math.isnan(bad) else norm == math.inf


def test_what_is_not_finite_when_it_may_pass():
    nan, infinite = np.array([1.0, np.nan]), np.array([1.0, np.inf])
    clipped, norm = clip_by_global_norm([nan, np.ones(2)], max_norm=1.0, error_if_nonfinite=False)
    assert math.isnan(norm)
    assert np.isnan(flat(clipped)).all()
    clipped, norm = clip_by_global_norm([infinite, np.ones(2)], max_norm=1.0,
                                        error_if_nonfinite=False)  # fmt: skip
    assert norm == math.inf
    assert_close(flat(clipped), np.array([0.0, np.nan, 0.0, 0.0]))
    assert math.isnan(global_norm([infinite, nan]))
    alone = clip_by_norm([nan, np.ones(2)], max_norm=1.0, eps=0.0, error_if_nonfinite=False)
    assert_close(flat(alone), np.array([np.nan, np.nan, *[math.sqrt(0.5)] * 2]))
    cut = clip_by_value([nan, infinite], clip_value=0.5, error_if_nonfinite=False)
    assert_close(flat(cut), np.array([0.5, np.nan, 0.5, 0.5]))


# --- writing into given arrays -----------------------------------------------------------------


def test_out_is_written_to():
    grads, place = tree(scale=9.0), tree(seed=1)
    expected, _ = clip_by_global_norm(grads, max_norm=1.0)
    for max_norm in (1.0, 1e9):
        clipped, _ = clip_by_global_norm(grads, max_norm=max_norm, out=place)
        assert all(a is b for a, b in zip(tree_leaves(clipped), tree_leaves(place), strict=True))
        assert_close(flat(place), flat(clip_by_global_norm(grads, max_norm=max_norm)[0]))
    clip_by_global_norm(grads, max_norm=1.0, out=grads)
    assert_close(flat(grads), flat(expected))
    clip_by_global_norm(grads, max_norm=2.0, out=grads)
    assert_close(flat(grads), flat(expected))


# --- referees ----------------------------------------------------------------------------------


@pytest.mark.referee
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("max_norm", [0.3, 2.0, 100.0])
def test_optax_agrees(dtype, max_norm):
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    jax.config.update("jax_enable_x64", True)
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    grads, params = tree(dtype=dtype), tree(seed=1, dtype=dtype)

    def by(transform):
        return flat(transform.update(grads, transform.init(params), params)[0])

    ours, norm = clip_by_global_norm(grads, max_norm=max_norm, eps=0.0)
    assert_close(flat(ours), by(optax.clip_by_global_norm(max_norm)), rtol=rtol)
    assert_close(norm, float(optax.tree.norm(grads)), rtol=rtol)
    cut = clip_by_value(grads, clip_value=max_norm)
    assert_close(flat(cut), by(optax.clip(max_norm)), rtol=rtol)
    adaptive = adaptive_clip(grads, params, clipping=max_norm / 4, axis=0)
    assert_close(flat(adaptive), by(optax.adaptive_grad_clip(max_norm / 4)), rtol=rtol)
    by_row = adaptive_clip(grads["first"], params["first"], clipping=max_norm / 4)
    rows = optax.adaptive_grad_clip(max_norm / 4, axis=1)
    theirs, _ = rows.update(grads["first"], rows.init(params["first"]), params["first"])
    assert_close(by_row, np.asarray(theirs), rtol=rtol)
    each = {"w": rng(5).standard_normal((6, 3)).astype(dtype), "b": np.ones(6, dtype)}
    total, count = optax.per_example_global_norm_clip(each, max_norm)
    clipped, norms = clip_per_example(each, max_norm=max_norm)
    assert_close(clipped["w"].sum(axis=0), np.asarray(total["w"]), rtol=rtol)
    assert_close(clipped["b"].sum(axis=0), np.asarray(total["b"]), rtol=rtol)
    assert np.sum(norms > max_norm) == count


@pytest.mark.referee
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("max_norm", [0.3, 2.0, 100.0])
def test_torch_agrees(dtype, max_norm):
    torch = pytest.importorskip("torch")
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    grads = tree(dtype=dtype)

    def parameters():
        found = []
        for leaf in tree_leaves(grads):
            found.append(torch.zeros(leaf.shape, dtype=getattr(torch, np.dtype(dtype).name)))
            found[-1].grad = torch.tensor(leaf)
        return found

    def gradients(found):
        return np.concatenate([p.grad.numpy().ravel() for p in found])

    theirs = parameters()
    total = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    ours, norm = clip_by_global_norm(grads, max_norm=max_norm)
    assert_close(flat(ours), gradients(theirs), rtol=rtol)
    assert_close(norm, float(total), rtol=rtol)
    theirs = parameters()
    for p in theirs:
        torch.nn.utils.clip_grad_norm_([p], max_norm)
    assert_close(flat(clip_by_norm(grads, max_norm=max_norm)), gradients(theirs), rtol=rtol)
    theirs = parameters()
    torch.nn.utils.clip_grad_value_(theirs, max_norm)
    assert_close(flat(clip_by_value(grads, clip_value=max_norm)), gradients(theirs), rtol=rtol)


@pytest.mark.referee
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_torch_agrees_where_the_norm_is_not_finite(bad):
    torch = pytest.importorskip("torch")
    grads = [np.array([1.0, bad]), np.ones(3)]
    theirs = [torch.zeros(g.shape, dtype=torch.float64) for g in grads]
    for p, g in zip(theirs, grads, strict=True):
        p.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    ours, _ = clip_by_global_norm(grads, max_norm=1.0, error_if_nonfinite=False)
    assert_close(flat(ours), np.concatenate([p.grad.numpy() for p in theirs]))


def test_a_threshold_beyond_the_range_of_a_leaf_cuts_off_nothing():
    (clipped,) = clip_by_value([np.array([3e38, -1.0], np.float32)], clip_value=1e300)
    np.testing.assert_array_equal(clipped, np.array([3e38, -1.0], np.float32))
    assert clipped.dtype == np.float32
