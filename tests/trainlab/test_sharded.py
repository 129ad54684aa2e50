"""Sharded training: against data-parallel training and one process, with every byte counted."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from tests.trainlab.test_data_parallel import assert_trees, data, mean_square, sgd, tanh
from trainlab import collectives as C
from trainlab import data_parallel as D
from trainlab import sharded as S
from trainlab.adaptive_optimizers import adam_init, adam_update
from trainlab.differentiation import value_and_grad
from trainlab.trees import tree_leaves, tree_map


def network(seed=0, dtype=np.float64):
    """Three units of 20, 30 and 12 parameters."""
    rng = np.random.default_rng(seed)
    shapes = [((3, 5), (5,)), ((5, 5), (5,)), ((5, 2), (2,))]
    return [
        {"w": rng.standard_normal(w).astype(dtype), "b": rng.standard_normal(b).astype(dtype)}
        for w, b in shapes
    ]


def apply(params, x, unit):
    z = x @ params["w"] + params["b"]
    return z if unit == 2 else tanh(z)


def head(output, target):
    return mean_square(output - target)


def loss(units, batch):
    x, target = batch
    for i, params in enumerate(units):
        x = apply(params, x, i)
    return head(x, target)


def sharded_step(model, batches, units, update, **options):
    return S.sharded_step(
        model, batches, units=units, apply=apply, loss=head, update=update, **options
    )


def whole(model, units):
    return [S.unflatten_shards(s, u) for s, u in zip(model.shards, units, strict=True)]


def no_state(params):
    return None


# --- flat parameters ------------------------------------------------------------------------------


@pytest.mark.claim("DIST-05")
@pytest.mark.parametrize("ranks", [2, 3, 4, 7, 20, 64])
def test_shards_are_padded_and_come_back(ranks):
    tree = {"w": np.arange(15.0).reshape(3, 5), "b": [np.arange(5.0), np.array(7.0)]}
    shards = S.flat_shards(tree, ranks=ranks)
    assert shards.shape == (ranks, -(-21 // ranks))
    assert shards.ravel()[:15].tolist() == list(range(15))
    assert (shards.ravel()[21:] == 0).all()
    back = S.unflatten_shards(shards, tree)
    assert_trees(back, tree)
    assert back["b"][1].shape == ()


@pytest.mark.claim("DIST-05")
def test_a_shard_may_begin_in_the_middle_of_a_matrix():
    """Cut by units and not by tensors: rank 1 of 2 has a part of the first row and no whole one."""
    shards = S.flat_shards([np.arange(6.0).reshape(2, 3), np.arange(2.0)], ranks=2)
    assert shards.tolist() == [[0, 1, 2, 3], [4, 5, 0, 1]]


def test_unflattened_leaves_are_views():
    shards = np.zeros((2, 2))
    tree = S.unflatten_shards(shards, {"w": np.zeros(3)})
    shards[1, 0] = 5
    assert tree["w"].tolist() == [0, 0, 5]


def test_dtypes_of_a_unit_may_not_differ():
    with pytest.raises(
        ValueError, match=r"params must have leaves, all of one .* float32, float64"
    ):
        S.flat_shards([np.ones(2), np.ones(2, np.float32)], ranks=2)
    assert S.flat_shards([np.ones(2, np.float32)], ranks=2).dtype == np.float32


def test_the_optimizer_starts_on_shards():
    units = network()
    model = S.sharded_init(units, ranks=4, init=lambda params: [p.copy() for p in params])
    assert len(model.states) == 4
    for r, state in enumerate(model.states):
        assert_trees(state, [shards[r] for shards in model.shards])
    assert [s.shape for s in model.shards] == [(4, 5), (4, 8), (4, 3)]


# --- the same numbers -----------------------------------------------------------------------------


@pytest.mark.claim("DIST-04")
@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_training_is_that_of_one_process(ranks, stage):
    """20 steps of Adam on ragged shards (10 examples), float64: the order of sums differs."""
    update = partial(adam_update, lr=0.01)
    units = network()
    model = S.sharded_init(units, ranks=ranks, init=adam_init)
    params, state = units, adam_init(units)
    for seed in range(20):
        batch = data(10, seed)
        done = sharded_step(model, D.split_batch(batch, ranks=ranks), units, update, stage=stage)
        value, grads = value_and_grad(loss)(params, batch)
        updates, state = update(grads, state, params)
        params = tree_map(np.add, params, updates)
        assert_close(done.loss, value)
        model = done.model
    assert_trees(whole(model, units), params, rtol=1e-8)  # Adam divides by the gradient's size
    for shards, unit in zip(model.shards, units, strict=True):  # the padding stays 0
        assert (shards.ravel()[sum(leaf.size for leaf in tree_leaves(unit)) :] == 0).all()


@pytest.mark.parametrize("ranks", [2, 5])
def test_stages_compute_the_same_bits(ranks):
    units = network()
    model = S.sharded_init(units, ranks=ranks, init=no_state)
    batches = D.split_batch(data(11), ranks=ranks)
    stages = [
        sharded_step(model, batches, units, update=sgd, stage=stage).model for stage in (1, 2, 3)
    ]
    assert_trees(stages[0].shards, stages[1].shards)
    assert_trees(stages[1].shards, stages[2].shards)


@pytest.mark.parametrize("update", [sgd, partial(adam_update, lr=0.01)])
def test_two_ranks_are_data_parallel_to_the_last_bit(update):
    """With two terms there is no order of sums, and the optimizer looks at single elements."""
    units = network()
    init = adam_init if update is not sgd else no_state
    model = S.sharded_init(units, ranks=2, init=init)
    replicas, states = [units] * 2, [init(units)] * 2
    for seed in range(3):
        batches = D.split_batch(data(7, seed), ranks=2)
        model = sharded_step(model, batches, units, update).model
        done = D.data_parallel_step(
            replicas, states, batches=[[b] for b in batches], loss=loss, update=update
        )
        replicas, states = done.replicas, done.states
    assert_trees(whole(model, units), replicas[0])


def test_float32_stays_float32():
    units = network(dtype=np.float32)
    model = S.sharded_init(units, ranks=3, init=adam_init)
    batches = D.split_batch(data(7, dtype=np.float32), ranks=3)
    done = sharded_step(model, batches, units, partial(adam_update, lr=0.01))
    assert {s.dtype.name for s in done.model.shards} == {"float32"}
    _, grads = value_and_grad(loss)(units, data(7, dtype=np.float32))
    updates, _ = adam_update(grads, adam_init(units), units, lr=0.01)
    moved = tree_map(np.add, units, updates)
    assert_trees(whole(done.model, units), moved, rtol=1e-4)  # one step of float32


def test_first_inputs_may_be_integers():
    table = np.arange(8.0).reshape(4, 2)

    def embed(params, x, unit):
        return params[x]

    model = S.sharded_init([table], ranks=2, init=no_state)
    done = S.sharded_step(
        model, [(np.array([0, 1]), np.zeros((2, 2))), (np.array([3]), np.zeros((1, 2)))],
        units=[table], apply=embed, loss=head, update=lambda g, s, p: (g, s),
    )  # fmt: skip
    moved = whole(done.model, [table])[0]
    _, grads = value_and_grad(lambda t: head(t[np.array([0, 1, 3])], np.zeros((3, 2))))(table)
    assert_close(moved, table + grads)


# --- every message --------------------------------------------------------------------------------


def sent(events, ranks):
    return sum(C.bytes_sent(e.messages, ranks=ranks) for e in events if e.messages is not None)


@pytest.mark.claim("DIST-04")
@pytest.mark.parametrize("ranks", [2, 4, 5])
def test_traffic_is_counted(ranks):
    units = network()
    model = S.sharded_init(units, ranks=ranks, init=no_state)
    size = sum(s.nbytes for s in model.shards)  # with padding
    batches = D.split_batch(data(10), ranks=ranks)
    counted = []
    for stage in (1, 2, 3):
        events = sharded_step(model, batches, units, sgd, stage=stage).events
        counted.append(sent(events, ranks))
        expected = S.traffic_by_stage(size, ranks=ranks, stage=stage)
        assert_close(counted[-1], np.full(ranks, expected))
    assert (2 * counted[2] == 3 * counted[0]).all()  # 1.5 times
    assert (counted[1] == counted[0]).all()


@pytest.mark.claim("DIST-04")
def test_traffic_of_data_parallel_is_that_of_stages_1_and_2():
    units = [{"w": np.ones((4, 8))}, {"w": np.ones(16)}]  # nothing to pad on 4 ranks
    grads = [units] * 4
    _, messages = D.all_reduce_gradients(grads)
    size = 48 * 8
    expected = S.traffic_by_stage(size, ranks=4, stage=0)
    assert C.bytes_sent(messages, ranks=4).tolist() == [expected] * 4
    assert expected == S.traffic_by_stage(size, ranks=4, stage=1)
    assert expected == S.traffic_by_stage(size, ranks=4, stage=2)


@pytest.mark.claim("DIST-04")
def test_traffic_of_seven_billion_parameters():
    assert S.traffic_by_stage(14e9, ranks=8, stage=0) == 24.5e9
    assert S.traffic_by_stage(14e9, ranks=8, stage=3) == 36.75e9


@pytest.mark.claim("DIST-04")
def test_order_of_a_fully_sharded_step():
    units = network()
    model = S.sharded_init(units, ranks=2, init=no_state)
    events = sharded_step(model, D.split_batch(data(4), ranks=2), units, sgd).events  # stage 3
    forward = [(kind, i) for i in range(3) for kind in ("gather", "forward", "free")]
    backward = [
        (kind, i) for i in (2, 1, 0) for kind in ("gather", "backward", "free", "reduce-scatter")
    ]
    assert [(e.kind, e.unit) for e in events] == [*forward, *backward, ("update", -1)]
    assert {e.kind for e in events if e.messages is None} == {
        "forward", "backward", "free", "update",
    }  # fmt: skip


def test_order_of_stages_1_and_2():
    units = network()
    model = S.sharded_init(units, ranks=2, init=no_state)
    batches = D.split_batch(data(4), ranks=2)
    steps = {s: sharded_step(model, batches, units, sgd, stage=s) for s in (1, 2)}
    kinds = {s: [(e.kind, e.unit) for e in step.events] for s, step in steps.items()}
    start = [("gather", i) for i in range(3)] + [("forward", i) for i in range(3)]
    assert kinds[1] == [
        *start,
        *[("backward", i) for i in (2, 1, 0)],
        *[("reduce-scatter", i) for i in (2, 1, 0)],
        ("update", -1),
    ]
    assert kinds[2] == [
        *start,
        *[(kind, i) for i in (2, 1, 0) for kind in ("backward", "reduce-scatter")],
        ("update", -1),
    ]


def test_a_freed_unit_cannot_be_used(monkeypatch):
    """Without the second gather the backward pass finds NaN where the parameters were."""
    units = network()
    model = S.sharded_init(units, ranks=2, init=no_state)
    batches = D.split_batch(data(4), ranks=2)
    gather, seen = S._Step.gather, []

    def once(self, unit):
        seen.append(unit)
        if seen.count(unit) == 1:
            gather(self, unit)

    monkeypatch.setattr(S._Step, "gather", once)
    done = sharded_step(model, batches, units, sgd)
    assert np.isnan(done.model.shards[0]).any()


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.claim("DIST-05")
def test_peak_is_the_shard_and_the_largest_unit():
    """4 ranks, units of 5, 8 and 3 numbers a shard: while computing, one unit is whole."""
    units = network()
    model = S.sharded_init(units, ranks=4, init=no_state)
    batches = D.split_batch(data(4), ranks=4)
    events = sharded_step(model, batches, units, sgd).events
    shards = [5 * 8, 8 * 8, 3 * 8]
    own = sum(shards)
    forward = [e.held for e in events if e.kind == "forward"]
    assert forward == [own + 3 * s for s in shards]  # the other ranks' three quarters
    assert max(forward) == own + 3 * max(shards)
    # backward: also the whole gradient of the unit, and the shards of those behind it
    backward = [e.held for e in events if e.kind == "backward"]
    behind = [0, shards[2], shards[2] + shards[1]]
    assert backward == [
        own + 3 * s + 4 * s + b for s, b in zip(reversed(shards), behind, strict=True)
    ]
    assert events[-1].held == 2 * own  # in the end a shard of everything


def test_what_the_stages_hold():
    units = network()
    model = S.sharded_init(units, ranks=4, init=no_state)
    batches = D.split_batch(data(4), ranks=4)
    own = sum(s[0].nbytes for s in model.shards)
    held = {
        stage: sharded_step(model, batches, units, sgd, stage=stage).events for stage in (1, 2, 3)
    }
    assert max(e.held for e in held[1]) == 8 * own  # parameters and gradients whole
    assert held[1][-1].held == held[2][-1].held == 5 * own  # parameters whole, gradients a shard
    assert max(e.held for e in held[2]) < 8 * own
    assert max(e.held for e in held[3]) < max(e.held for e in held[2])


@pytest.mark.claim("DIST-06")
@pytest.mark.parametrize(
    ("num_params", "ranks", "gigabytes"),
    [(7.5e9, 64, [120.0, 31.4, 16.6, 1.9]), (7e9, 8, [112.0, 38.5, 26.25, 14.0])],
)
def test_memory_by_stage(num_params, ranks, gigabytes):
    found = [S.memory_by_stage(num_params, ranks=ranks, stage=s) for s in range(4)]
    assert_close([m.total / 1e9 for m in found], gigabytes, rtol=0.02)  # quoted to two digits
    n = ranks
    factors = [16, 4 + 12 / n, 2 + 14 / n, 16 / n]
    assert_close([m.total / num_params for m in found], factors)
    for m in found:
        assert_close(m.weights + m.gradients + m.optimizer, m.total)


def test_memory_by_its_parts():
    def parts(stage):
        return S.memory_by_stage(8, ranks=4, stage=stage)

    assert parts(0) == (16, 16, 96, 128)
    assert parts(1) == (16, 16, 24, 56)
    assert parts(2) == (16, 4, 24, 44)
    assert parts(3) == (4, 4, 24, 32)
    full = S.memory_by_stage(
        1, ranks=2, stage=0, weight_bytes=4, gradient_bytes=8, optimizer_bytes=16
    )
    assert full == (4, 8, 16, 28)


@pytest.mark.claim("DIST-08")
def test_data_parallel_scales_speed_and_sharding_the_size_of_the_model():
    """On cards of 80 GB: how many parameters fit, activations aside."""
    card = 80e9

    def largest(ranks, stage):
        return card / S.memory_by_stage(1, ranks=ranks, stage=stage).total

    assert largest(8, 0) == largest(512, 0) == 5e9  # more cards, the same model
    assert largest(8, 3) == 8 * 5e9  # the model grows with them
    assert_close(largest(512, 3) / largest(8, 3), 64.0)
    # while stages 1 and 2 are bounded by what they do not shard
    assert largest(10**9, 1) < 20e9 < largest(10**9, 2) < 40e9


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [0, 1])
def test_fewer_than_two_ranks_are_refused(ranks):
    for function in (
        partial(S.flat_shards, np.ones(3)),
        partial(S.sharded_init, [np.ones(3)], init=no_state),
        partial(S.memory_by_stage, 1e9, stage=3),
        partial(S.traffic_by_stage, 1e9, stage=3),
    ):
        name = function.func.__name__
        with pytest.raises(
            ValueError, match=f"{name}: ranks must be a whole number >= 2; got {ranks}"
        ):
            function(ranks=ranks)


def test_infinities_come_through_to_the_loss():
    units = [np.ones(2), np.ones(2)]
    model = S.sharded_init(units, ranks=2, init=no_state)
    pair = (np.full(2, 1e200), np.zeros(2))
    with np.errstate(over="ignore", invalid="ignore"):
        done = S.sharded_step(
            model, [pair, pair], units=units, apply=lambda p, x, unit: p * x * 1e200, loss=head,
            update=lambda g, s, p: (g, s),
        )  # fmt: skip
    assert np.isinf(done.loss)


def test_units_of_another_model_are_refused():
    units = network()
    model = S.sharded_init(units, ranks=2, init=no_state)
    with pytest.raises(ValueError, match=r"sharded_step: units must be those of model"):
        sharded_step(model, D.split_batch(data(4), ranks=2), units[:2], sgd)
    with pytest.raises(ValueError, match=r"sharded_step: number of ranks in batches .*; got 3"):
        sharded_step(model, D.split_batch(data(4), ranks=3), units, sgd)
