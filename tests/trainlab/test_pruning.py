"""Pruning: masks, schedules, and what pruning removes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import pruning as P
from trainlab.trees import tree_leaves


def rng(seed=0):
    return np.random.default_rng(seed)


def params(seed=0):
    source = rng(seed)
    return {"a": source.standard_normal((6, 8)), "b": [0.1 * source.standard_normal(10), None]}


# --- masks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["global", "tensor"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.97, 1.0])
def test_magnitude_keeps_the_largest(scope, sparsity):
    weights = params()
    masks = P.magnitude_masks(weights, sparsity, scope=scope)
    pairs = list(zip(tree_leaves(weights), tree_leaves(masks), strict=True))
    if scope == "global":
        flat = [np.concatenate([a.ravel() for a in leaves]) for leaves in zip(*pairs, strict=True)]
        pairs = [tuple(flat)]
    for w, mask in pairs:
        assert np.count_nonzero(~mask) == round(sparsity * w.size)
        largest_pruned = np.abs(w[~mask]).max(initial=0)
        assert (np.abs(w[mask]) >= largest_pruned).all()
    assert P.magnitude_masks(weights, 0.5)["b"][1] is None


def test_global_scope_takes_from_layers_of_small_weights():
    masks = P.magnitude_masks(params(), 0.3)  # the default
    assert P.sparsity_of(masks["b"]) > P.sparsity_of(masks["a"])
    each = P.magnitude_masks(params(), 0.3, scope="tensor")
    assert_close(P.sparsity_of(each["b"]), 0.3)


def test_of_equal_weights_the_first_are_pruned():
    assert P.magnitude_masks(np.ones(5), 0.4).tolist() == [False, False, True, True, True]
    assert P.magnitude_masks(np.array([-3.0, 1.0, 2.0]), 0.5).tolist() == [True, False, False]
    assert P.magnitude_masks(None, 0.5) is None


@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_what_was_pruned_stays_pruned_and_counts(scope):
    first = P.random_masks(params(), 0.5, rng=rng(1), scope=scope)
    second = P.magnitude_masks(params(), 0.8, scope=scope, previous=first)
    for old, new in zip(tree_leaves(first), tree_leaves(second), strict=True):
        assert not (new & ~old).any()
    assert_close(P.sparsity_of(second), 0.8, rtol=0.02)  # 58 weights
    fewer = P.magnitude_masks(params(), 0.2, scope=scope, previous=first)
    assert all(map(np.array_equal, tree_leaves(fewer), tree_leaves(first)))


def test_random_masks_do_not_look_at_the_weights():
    one = P.random_masks(params(0), 0.25, rng=rng(2))
    two = P.random_masks(params(1), 0.25, rng=rng(2))
    assert all(map(np.array_equal, tree_leaves(one), tree_leaves(two)))
    assert sum(int((~m).sum()) for m in tree_leaves(one)) == round(0.25 * 58)
    # Global by default: the arrays' own counts are random.
    counts = {int(P.random_masks(params(), 0.25, rng=rng(s))["a"].sum()) for s in range(5)}
    assert len(counts) > 1
    again = P.random_masks(params(0), 0.5, rng=rng(3), previous=one, scope="tensor")
    assert not (again["a"] & ~one["a"]).any()


def test_structured_masks_are_whole_rows_or_columns():
    w = np.array([[3.0, 0.0, 1.0], [2.0, 2.0, 2.0], [0.0, 2.5, 0.0]])
    assert P.structured_mask(w, 1 / 3)[:, 0].tolist() == [True, True, False]  # 3.16, 3.46, 2.5
    assert P.structured_mask(w, 2 / 3, order=1)[:, 0].tolist() == [False, True, False]  # 4, 6, 2.5
    assert P.structured_mask(w, 2 / 3, order=np.inf)[:, 0].tolist() == [True, False, False]
    columns = P.structured_mask(w, 1 / 3, axis=1)
    assert columns[0].tolist() == [True, True, False]
    assert (columns == columns[0]).all()
    images = rng().standard_normal((4, 3, 2, 2))
    mask = P.structured_mask(images, 0.5)
    assert mask.sum() == 2 * 12
    assert np.array_equal(P.structured_mask(1e200 * images, 0.5), mask)


def test_n_m_masks_keep_n_of_every_m():
    w = rng(4).standard_normal((8, 12))
    mask = P.n_m_mask(w)  # 2:4
    groups = mask.reshape(8, 3, 4)
    assert (groups.sum(axis=2) == 2).all()
    kept = np.sort(np.abs(w).reshape(8, 3, 4), axis=2)[:, :, 2:].sum()
    assert_close(np.abs(w)[mask].sum(), kept)
    assert np.array_equal(P.n_m_mask(w, axis=0), P.n_m_mask(w.T).T)
    assert (P.n_m_mask(w, keep=1, of=3).reshape(8, 4, 3).sum(axis=2) == 1).all()
    assert P.n_m_mask(w, keep=4).all()
    assert P.n_m_mask(np.ones(4)).tolist() == [False, False, True, True]


def test_masks_are_applied_without_a_trace():
    weights = {"a": np.array([-1.0, 2.0], np.float32)}
    pruned = P.apply_masks(weights, {"a": np.array([False, True])})
    assert pruned["a"].tolist() == [0.0, 2.0]
    assert not np.signbit(pruned["a"][0])
    assert P.sparsity_of(pruned) == 0.5
    assert P.sparsity_of([np.array([True, False, False]), np.ones(1)]) == 0.5


@pytest.mark.referee
def test_torch_prunes_the_same():
    torch = pytest.importorskip("torch")
    from torch.nn.utils import prune

    w = rng(5).standard_normal((6, 8))

    class Layer(torch.nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor(weight))

    for amount in (0.3, 0.51):
        layer = prune.l1_unstructured(Layer(w), "weight", amount)
        mine = P.magnitude_masks(w, amount)
        assert np.array_equal(mine, layer.weight_mask.numpy().astype(bool))
        for axis in (0, 1):
            for order in (1, 2):
                layer = prune.ln_structured(Layer(w), "weight", amount, order, dim=axis)
                mine = P.structured_mask(w, amount, axis=axis, order=order)
                assert np.array_equal(mine, layer.weight_mask.numpy().astype(bool))
    # Its amount is a share of what is left; the sparsity here counts what went before.
    layer = Layer(w)
    prune.l1_unstructured(layer, "weight", 0.5)
    prune.l1_unstructured(layer, "weight", 0.5)
    once = P.magnitude_masks(w, 0.5)
    mine = P.magnitude_masks(w, 0.75, previous=once)
    assert np.array_equal(mine, layer.weight_mask.numpy().astype(bool))
    layers = [Layer(w), Layer(0.3 * rng(6).standard_normal((5, 5)))]
    weights = [layer.weight.detach().numpy().copy() for layer in layers]
    pairs = [(layer, "weight") for layer in layers]
    prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=0.4)
    for mine, layer in zip(P.magnitude_masks(weights, 0.4), layers, strict=True):
        assert np.array_equal(mine, layer.weight_mask.numpy().astype(bool))


# --- schedules and energy ----------------------------------------------------------------------


def test_cubic_schedule():
    def at(step):
        return P.cubic_sparsity(step, final=0.9, start=10, end=30, initial=0.1)

    assert at(0) == at(10) == 0.1
    assert_close(at(20), 0.9 - 0.8 / 8)
    assert at(30) == at(99) == 0.9
    assert_close(P.cubic_sparsity(5, final=0.8, end=10), 0.7)  # from step 0 and sparsity 0
    assert P.cubic_sparsity(0, final=0.8, end=10) == 0


def test_rounds_keep_the_same_share():
    found = P.iterative_sparsities(0.95, rounds=4)
    assert_close((1 - found[1:]) / (1 - found[:-1]), np.full(3, 0.05**0.25))
    assert_close(found[-1], 0.95)
    assert_close(P.iterative_sparsities(0.6, rounds=1), np.array([0.6]))


def test_energy_that_pruning_removes():
    """The relative error of the output: .27, .59, .75; random pruning at 50 %: .71."""
    for sparsity, error in ((0.5, 0.27), (0.8, 0.59), (0.9, 0.75)):
        assert round(math.sqrt(P.gaussian_removed_energy(sparsity)), 2) == error
    assert round(P.gaussian_removed_energy(0.5), 3) == 0.071
    w, x = rng(7).standard_normal((200, 300)), rng(8).standard_normal((100, 300))
    for masks, share in (
        (P.magnitude_masks(w, 0.5), P.gaussian_removed_energy(0.5)),
        (P.random_masks(w, 0.5, rng=rng(9)), 0.5),
    ):
        removed = w - P.apply_masks(w, masks)
        assert_close(np.square(removed).sum() / np.square(w).sum(), share, rtol=0.02)  # 60,000
        error = np.square(x @ removed.T).sum() / np.square(x @ w.T).sum()
        assert_close(error, share, rtol=0.03)  # 100 inputs
    assert P.gaussian_removed_energy(0.0) == 0
    assert P.gaussian_removed_energy(1.0) == 1
    # Both branches: c just above and below 1e-3 where the sparsity is 2 φ(0) c.
    above, below = P.gaussian_removed_energy(8.0e-4), P.gaussian_removed_energy(7.9e-4)
    assert_close(above / below, (8.0 / 7.9) ** 3, rtol=1e-5)  # cancellation in the upper one


# --- what the page shows -----------------------------------------------------------------------


def test_two_of_four_lies_between_free_choice_and_chance():
    w = rng(10).standard_normal((1000, 400))
    share = np.square(w[~P.n_m_mask(w)]).sum() / np.square(w).sum()
    assert P.gaussian_removed_energy(0.5) < share < 0.5
    # The mean of the two smallest of four squares: 0.131; 400,000 weights.
    assert_close(share, 0.131, rtol=0.02)


def test_small_sparsities_remove_its_cube():
    """Of normal weights: π s³/6 of the energy, against s at random."""
    for s in (1e-4, 1e-2):
        assert_close(
            P.gaussian_removed_energy(s), math.pi * s**3 / 6, rtol=1e-3
        )  # next: s² smaller


def test_unequal_inputs_ask_for_another_score():
    """|w| times the norm of the input leaves a smaller error, unless the inputs are alike."""
    w, scale = rng(11).standard_normal((50, 80)), 5.0 ** np.linspace(-1, 1, 80)

    def error(rows, inputs):
        gone = np.where(np.stack(rows), 0, w)
        return np.sum(np.square(gone * inputs)) / np.sum(np.square(w * inputs))

    plain = P.magnitude_masks(list(w), 0.5, scope="tensor")
    aware = P.magnitude_masks(list(w * scale), 0.5, scope="tensor")
    assert error(aware, scale) < 0.5 * error(plain, scale)
    assert_close(error(plain, scale), P.gaussian_removed_energy(0.5), rtol=0.15)  # 4,000 weights
    assert error(plain, 1.0) < error(aware, 1.0)


def test_digits_say_what_the_page_says():
    from trainlab.sweeps.pruning_digits import SPARSITIES, accuracies, kept_units, paired

    at = {m: accuracies(m).mean(axis=1) for m in ("one_shot", "tuned", "random", "ticket")}
    assert (at["tuned"][:6] > at["one_shot"][:6]).all()  # training after pruning repairs
    assert (at["tuned"][:5] > at["random"][:5]).all()  # what is pruned counts
    gain, half = paired("ticket", "redrawn", 0.98)
    assert gain > half  # so do the first values
    gain, half = paired("redrawn", "small", 0.98)
    assert gain > half  # and the mask
    gain, half = paired("ticket", "dense", 0.8)
    assert abs(gain) < half  # a ticket of 20 % is as good as the whole, within noise
    gain, half = paired("by inputs", "by layer", 0.5)
    assert gain > half  # Wanda at 50 %, nothing trained after
    gain, half = paired("by inputs", "by layer", 0.8)
    assert abs(gain) < half  # but not at 80 %
    gain, half = paired("iterative", "long", 0.98)
    assert gain > half  # very sparse: steps win ...
    gain, half = paired("long", "iterative", 0.9)
    assert gain > -half  # ... but not at 90 %, given as many epochs
    for sparsity in SPARSITIES:
        one, two = kept_units(sparsity)
        left = 64 * one + one * two + two * 10
        assert abs(left / 17024 - (1 - sparsity)) < 0.01
