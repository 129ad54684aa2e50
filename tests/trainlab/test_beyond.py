"""Beyond data parallelism: counts against brute force, parallel sums against plain ones."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import beyond as B
from trainlab import checkpointing as K
from trainlab import collectives as C
from trainlab import layout as L
from trainlab import pipeline as P
from trainlab import tensor_parallel as T
from trainlab import training_flops as F
from trainlab._parameters import dense
from trainlab.activations import gelu, relu, tanh
from trainlab.communication_time import all_reduce_time
from trainlab.differentiation import differentiable, value_and_grad, vjp
from trainlab.dropout import dropout, keep_mask
from trainlab.mlp import mlp, mlp_init
from trainlab.regression import mse_loss
from trainlab.transformer import TransformerConfig, decoder_init
from trainlab.trees import tree_leaves

# --- checkpointing --------------------------------------------------------------------------------


def brute_force_peak(lengths, inside):
    """Hold things by name, one after the other, as the backward pass needs them."""
    ends = np.cumsum([0, *lengths]).tolist()
    checkpoints, peak = set(ends[:-1]), 0
    for start, end in reversed(list(itertools.pairwise(ends))):
        inputs = set(range(start, end)) | {c for c in checkpoints if c <= start}
        peak = max(peak, len(inputs) + inside * (end - start))
    return peak


@pytest.mark.parametrize("inside", [0, 0.5, 16])
def test_peak_against_brute_force(inside):
    for layers in (1, 2, 7, 24, 64):
        for segments in range(1, layers + 1):
            cost = K.checkpoint_cost(layers, segments=segments, inside=inside)
            lengths = K.segment_lengths(layers, segments)
            assert sum(lengths) == layers
            assert lengths == sorted(lengths, reverse=True)
            assert lengths[0] - lengths[-1] <= 1
            assert cost.peak == brute_force_peak(lengths, inside)
            assert cost.recomputed == layers - lengths[-1]


def test_memory_grows_with_the_root_and_compute_by_a_third():
    for root in (4, 8, 16, 32):
        layers = root**2
        cost = K.checkpoint_cost(layers, segments=root)
        assert cost.peak == 2 * root - 1
        assert cost.peak == min(
            K.checkpoint_cost(layers, segments=s).peak for s in range(1, layers + 1)
        )
        assert_close(cost.overhead, (1 - 1 / root) / 3)
    assert K.checkpoint_cost(64, segments=1) == ((64,), 64, 0, 0)
    assert K.checkpoint_cost(64, segments=64).peak == 64
    assert_close(K.checkpoint_cost(64, segments=8, backward=1.0).overhead, 56 / 128)


def test_held_begins_with_the_last_segment():
    assert K.checkpoint_cost(10, segments=4).held == (5, 4, 4, 3)
    assert K.checkpoint_cost(4, segments=2, inside=3).held == (9, 8)


@pytest.mark.parametrize("inside", [0.0, 16.0])
def test_timeline_has_the_peaks_and_the_length(inside):
    for layers, segments, backward in ((10, 4, 2.0), (9, 3, 1.5), (6, 1, 2.0), (8, 3, 2.0)):
        options = {"segments": segments, "inside": inside}
        time, held = K.checkpoint_timeline(layers, **options, backward=backward)
        cost = K.checkpoint_cost(layers, **options, backward=backward)
        assert held.max() == cost.peak
        assert held[-1] == 0
        assert np.all(np.diff(time) >= 0)
        assert time[-1] == layers * (1 + backward) + cost.recomputed
        # The highest point of each segment, as its backward pass begins.
        tops = [h for a, h, b in zip([0, *held], held, [*held[1:], -1], strict=False) if a < h > b]
        assert tops[-segments:] == list(cost.held)
    assert K.checkpoint_timeline(3, segments=1)[0].tolist() == [0, 1, 2, 5, 7, 9]


def test_best_segments_is_the_smallest_of_the_best():
    for layers, inside in itertools.product((1, 5, 36, 100), (0, 3, 16)):
        peaks = [
            brute_force_peak(K.segment_lengths(layers, s), inside) for s in range(1, layers + 1)
        ]
        assert K.best_segments(layers, inside=inside) == int(np.argmin(peaks)) + 1


def network(depth, width, seed=0):
    rng = np.random.default_rng(seed)
    return mlp_init([width] * (depth + 1), rng=rng), rng


def apply(params, x, unit):
    return tanh(dense(params, x))


def head(y):
    return mse_loss(y, np.ones(y.shape))


@pytest.mark.parametrize("segments", [1, 2, 3, 7, 12])
def test_checkpointed_gradient_is_that_of_the_whole(segments):
    layers, rng = network(12, 5)
    x = rng.standard_normal((3, 5))
    done = K.checkpointed_grad(layers, x, apply=apply, loss=head, segments=segments)

    def loss(layers):
        h = x
        for i, layer in enumerate(layers):
            h = apply(layer, h, i)
        return head(h)

    value, grads = value_and_grad(loss)(layers)
    assert done.value == value
    for a, b in zip(tree_leaves(done.grads), tree_leaves(grads), strict=True):
        np.testing.assert_array_equal(a, b)
    cost = K.checkpoint_cost(12, segments=segments)
    assert done.held.max() == cost.peak * x.size
    assert done.held[0] == done.held[-1] == 0
    assert done.forward_calls == 12 + cost.recomputed


@differentiable("x", "weight")
def fused(x, weight):
    """A layer whose pullback needs its input and its output, which is the next one's input."""
    y = np.tanh(x @ weight.T)

    def pullback(c):
        d = c * (1 - y * y)
        return d @ weight, d.T @ x

    return y, pullback


@pytest.mark.parametrize(("inside", "segments"), [(0, 1), (0, 8), (0, 64), (2, 1), (2, 8), (2, 16)])
def test_memory_as_the_interpreter_measures_it(inside, segments):
    """With two operations a layer keeps two arrays more: the sums, and tanh's own output."""
    layers, rng = network(64, 8)
    if not inside:
        layers = [layer["weight"] for layer in layers]
    step = apply if inside else lambda weight, h, unit: fused(h, weight)
    x = rng.standard_normal((4000, 8))
    tracemalloc.start()
    K.checkpointed_grad(layers, x, apply=step, loss=head, segments=segments)
    peak = tracemalloc.get_traced_memory()[1] / x.nbytes
    tracemalloc.stop()
    expected = K.checkpoint_cost(64, segments=segments, inside=inside).peak
    # On top come a few arrays of the layer at work and the parameters' gradients.
    assert expected <= peak <= expected + 6


def test_random_layers_need_the_same_numbers_twice():
    layers, rng = network(9, 4)
    x = rng.standard_normal((6, 4))

    def gradient(make, segments):
        def noisy(params, h, unit):
            mask = keep_mask(x.shape, p=0.5, rng=make(unit))
            return dropout(tanh(dense(params, h)), mask, p=0.5)

        return K.checkpointed_grad(layers, x, apply=noisy, loss=head, segments=segments)

    anew = [gradient(np.random.default_rng, s).grads[0]["weight"] for s in (1, 3)]
    np.testing.assert_array_equal(*anew)
    shared = []
    for segments in (1, 3):
        one = np.random.default_rng(0)
        shared.append(gradient(lambda unit, one=one: one, segments).grads[0]["weight"])
    assert np.abs(shared[0] - shared[1]).max() > 0.1 * np.abs(shared[0]).max()


# --- pipeline -------------------------------------------------------------------------------------


def tick_by_tick(orders, forward, backward):
    """Play the schedule second by second, with whole durations: the last second, and held."""
    p, done, now = len(orders), set(), 0
    place, busy = [0] * p, [None] * p
    held = [0] * p
    while any(place[s] < len(orders[s]) for s in range(p)):
        for s in range(p):
            if busy[s] and busy[s][0] == now:
                done.add(busy[s][1])
                busy[s] = None
                place[s] += 1
        for s in range(p):
            if busy[s] is None and place[s] < len(orders[s]):
                kind, i = orders[s][place[s]]
                needs = {
                    ("F", True): [("F", s - 1, i)] if s else [],
                    ("B", True): [("B", s + 1, i)] if s < p - 1 else [("F", s, i)],
                }[kind, True]
                if all(n in done for n in needs):
                    busy[s] = (now + (forward if kind == "F" else backward)[s], (kind, s, i))
        active = [
            sum(
                (("F", s, i) in done or (busy[s] is not None and busy[s][1] == ("F", s, i)))
                and ("B", s, i) not in done
                for i in range(len(orders[s]) // 2)
            )
            for s in range(p)
        ]
        held = [max(a, b) for a, b in zip(held, active, strict=True)]
        now += 1
    return now - 1, held


@pytest.mark.parametrize("schedule", P.SCHEDULES)
@pytest.mark.parametrize(("stages", "micro"), [(1, 1), (1, 4), (2, 1), (3, 2), (4, 8), (5, 3)])
def test_pipeline_against_ticks(schedule, stages, micro):
    rng = np.random.default_rng(stages * micro)
    for forward, backward in (
        ([1] * stages, [2] * stages),
        (rng.integers(1, 4, stages).tolist(), rng.integers(1, 6, stages).tolist()),
    ):
        run = P.pipeline_run(stages, micro, schedule=schedule, forward=forward, backward=backward)
        orders = P.pipeline_order(stages, micro, schedule=schedule)
        total, held = tick_by_tick(orders, forward, backward)
        assert run.total == total
        assert run.held.tolist() == held
        busy = micro * (sum(forward) + sum(backward))
        assert_close(1 - run.bubble, busy / (stages * total))
        assert_close((run.end - run.start).sum(), busy)


@pytest.mark.parametrize("schedule", P.SCHEDULES)
@pytest.mark.parametrize("backward", [1.0, 2.0, 3.0])
def test_bubble_is_the_formula_for_both_schedules(schedule, backward):
    for p, m in itertools.product((1, 2, 4, 8), (1, 2, 3, 8, 20)):
        run = P.pipeline_run(p, m, schedule=schedule, backward=backward)
        # 1 - busy/total rounds where the formula is 0.
        assert_close(run.bubble, P.bubble_fraction(p, m), atol=1e-14)
        assert_close(run.total, (m + p - 1) * (1 + backward))
        expected = [m] * p if schedule == "gpipe" else [min(m, p - s) for s in range(p)]
        assert run.held.tolist() == expected


def test_bubble_numbers():
    assert P.bubble_fraction(4, 1) == 0.75
    assert P.bubble_fraction(1, 9) == 0
    assert_close(P.bubble_fraction(8, 32), 7 / 39)
    # Four times as many micro-batches as stages: below a fifth, whatever their number.
    assert all(P.bubble_fraction(p, 4 * p) < 0.2 for p in range(1, 200))


def test_pipeline_defaults_orders_and_transfer():
    one = P.pipeline_run(3, 2, schedule="gpipe")
    assert (one.end - one.start)[~one.backward].tolist() == [1.0] * 6
    assert (one.end - one.start)[one.backward].tolist() == [2.0] * 6
    assert (
        P.pipeline_order(2, 2, schedule="gpipe") == [[("F", 0), ("F", 1), ("B", 1), ("B", 0)]] * 2
    )
    # One micro-batch through three stages and back: four transfers.
    for schedule in P.SCHEDULES:
        late = P.pipeline_run(3, 1, schedule=schedule, transfer=0.25)
        assert late.total == 9 + 4 * 0.25
    order = P.pipeline_order(3, 4, schedule="1f1b")
    assert order[0][:3] == [("F", 0), ("F", 1), ("F", 2)]
    assert order[2][:4] == [("F", 0), ("B", 0), ("F", 1), ("B", 1)]


def test_the_slowest_stage_sets_the_pace():
    even = P.pipeline_run(4, 16, schedule="1f1b")
    slow = P.pipeline_run(4, 16, schedule="1f1b", forward=[1, 1, 1, 2], backward=[2, 2, 2, 4])
    assert even.total == 57
    assert slow.total == 16 * 6 + 9


# --- tensor parallelism ---------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("sequence", [False, True])
@pytest.mark.parametrize("activation", [relu, gelu])
def test_tensor_parallel_mlp_is_the_mlp(ranks, sequence, activation):
    rng = np.random.default_rng(ranks)
    layers = mlp_init((6, 16, 5), rng=rng)
    layers = [{**layer, "bias": rng.standard_normal(layer["bias"].shape)} for layer in layers]
    x, cotangent = rng.standard_normal((8, 6)), rng.standard_normal((8, 5))
    done = T.tensor_parallel_mlp(
        layers,
        x,
        ranks=ranks,
        cotangent=cotangent,
        activation=activation,
        sequence_parallel=sequence,
    )
    y, pullback = vjp(lambda p, v: mlp(p, v, activation=activation), layers, x)
    grads, x_grad = pullback(cotangent)
    # Sums in another order: absolute, since elements may be near 0.
    near = {"atol": 1e-12}
    if sequence:
        assert_close(np.concatenate(done.y), y, **near)
        assert_close(np.concatenate(done.x_grad), x_grad, **near)
    else:
        for r in range(ranks):
            assert_close(done.y[r], y, **near)
            assert_close(done.x_grad[r], x_grad, **near)
    for name in ("weight", "bias"):
        whole = np.concatenate([g["up"][name] for g in done.grads])
        assert_close(whole, grads[0][name], **near)
        for g in done.grads:
            shard = g["down"][name]
            if name == "bias":
                assert_close(shard, grads[1]["bias"], **near)
    whole = np.concatenate([g["down"]["weight"] for g in done.grads], axis=1)
    assert_close(whole, grads[1]["weight"], **near)


def sent(messages, ranks):
    return sum(C.bytes_sent(part, ranks=ranks) for part in messages)


@pytest.mark.parametrize("ranks", [2, 4])
def test_one_all_reduce_a_pass_and_the_same_bytes_with_sequence_parallel(ranks):
    rng = np.random.default_rng(0)
    layers = mlp_init((8, 16, 8), rng=rng)
    x = rng.standard_normal((12, 8))
    size = 2 * (ranks - 1) / ranks * x.nbytes
    plain, sequence = (
        T.tensor_parallel_mlp(layers, x, ranks=ranks, cotangent=x, sequence_parallel=on)
        for on in (False, True)
    )
    assert len(plain.forward) == len(plain.backward) == 1
    assert len(sequence.forward) == 2
    assert len(sequence.backward) == 3
    for messages in (plain.forward, plain.backward, sequence.forward):
        assert_close(sent(messages, ranks), np.full(ranks, size))
    # The input is gathered once more, instead of being kept.
    assert_close(sent(sequence.backward, ranks), np.full(ranks, 1.5 * size))
    assert plain.kept == 2 * x.size
    assert sequence.kept == 2 * x.size // ranks


def test_wrong_way_round_needs_a_message_between():
    """Row parallel first: the activation of a partial sum is not part of the activation."""
    rng = np.random.default_rng(0)
    layer = {"weight": rng.standard_normal((4, 6)), "bias": np.zeros(4)}
    x = rng.standard_normal((3, 6))
    shards = T.row_shards(layer, ranks=2)
    parts = np.split(x, 2, axis=1)
    early = sum(relu(p @ s["weight"].T) for p, s in zip(parts, shards, strict=True))
    late, _ = T.row_parallel_linear(parts, shards)
    assert_close(relu(late[0]), relu(dense(layer, x)))
    assert np.abs(early - relu(late[0])).max() > 0.5


def test_shards_make_up_the_layer():
    rng = np.random.default_rng(0)
    layer = {"weight": rng.standard_normal((4, 6)), "bias": rng.standard_normal(4)}
    x = rng.standard_normal((3, 6))
    columns = T.column_parallel_linear(x, T.column_shards(layer, ranks=2))
    assert [c.shape for c in columns] == [(3, 2), (3, 2)]
    assert_close(np.concatenate(columns, axis=1), dense(layer, x))
    z, messages = T.row_parallel_linear(np.split(x, 3, axis=1), T.row_shards(layer, ranks=3))
    assert_close(z[2], dense(layer, x))
    assert C.bytes_sent(messages, ranks=3).sum() == 2 * 2 * z[0].nbytes
    assert T.column_shards(layer, ranks=2)[1]["bias"].tolist() == layer["bias"][2:].tolist()


# --- FLOPs ----------------------------------------------------------------------------------------


def test_parameters_against_a_transformer():
    config = TransformerConfig(vocab_size=50, dim=32, depth=3, num_heads=4, max_length=16)
    params = decoder_init(config, rng=np.random.default_rng(0))
    matrices = sum(leaf.size for leaf in tree_leaves(params) if leaf.ndim >= 2)
    positions = 16 * 32
    assert F.transformer_params(3, 32, vocab_size=50) == matrices - positions


def test_flops_against_a_count_of_products():
    layers, h, t, vocab, heads = 3, 32, 20, 50, 4

    def product(m, k, n):
        return 2 * m * k * n

    block = 4 * product(t, h, h) + product(t, h, 4 * h) + product(t, 4 * h, h)
    scores = heads * (product(t, h // heads, t) + product(t, t, h // heads))
    forward = layers * (block + scores) + product(t, h, vocab)
    n = F.transformer_params(layers, h, vocab_size=vocab)
    shape = {"num_layers": layers, "width": h, "seq_len": t}
    flops = F.training_flops_per_token(n, **shape)
    assert_close(flops.model * t, 3.0 * forward)
    assert_close(flops.params, 6.0 * n)
    assert flops.hardware == flops.model
    full = F.training_flops_per_token(n, **shape, recompute="full")
    assert_close(full.hardware * t, 4.0 * forward)
    selective = F.training_flops_per_token(n, **shape, recompute="selective")
    assert_close(selective.hardware * t, 3.0 * forward + layers * scores)
    half = F.training_flops_per_token(n, **shape, causal=True)
    assert_close(half.attention, flops.attention / 2)
    assert full.model == selective.model == flops.model


def test_share_of_attention():
    for h, t in ((4096, 2048), (128, 8192)):
        flops = F.training_flops_per_token(12 * 6 * h**2, num_layers=6, width=h, seq_len=t)
        assert_close(flops.attention / flops.model, t / (t + 6 * h))


def test_utilization_of_palm():
    """46.2 % with attention, as reported; 45.7 % without."""
    shape = {"num_layers": 118, "width": 48 * 256, "seq_len": 2048}
    flops = F.training_flops_per_token(540e9, **shape)
    machine = {"cards": 6144, "peak": 275e12}
    # The paper's three digits.
    assert_close(F.utilization(238.3e3, flops=flops, **machine).mfu, 0.462, rtol=2e-3)
    without = flops._replace(model=flops.params, hardware=flops.params)
    assert_close(F.utilization(238.3e3, flops=without, **machine).mfu, 0.457, rtol=2e-3)


def test_recomputing_raises_hfu_not_mfu():
    shape = {"num_layers": 4, "width": 64, "seq_len": 8}
    rates = [
        F.utilization(
            1e4,
            flops=F.training_flops_per_token(1e9, **shape, recompute=recompute),
            cards=2,
            peak=1e14,
        )
        for recompute in ("none", "full")
    ]
    assert rates[0].mfu == rates[0].hfu == rates[1].mfu
    assert_close(rates[1].hfu, rates[1].mfu * 4 / 3)


# --- layouts --------------------------------------------------------------------------------------

GPT3 = L.ModelShape(96, 12288, 96, 51200, 2048)
A100 = L.Cluster(1024, 8, memory=80e9, peak=312e12, near=300e9, far=25e9)


def test_activation_bytes_are_the_papers():
    s, h, a = 2048, 12288, 96
    for b, t in ((1, 1), (2, 8)):
        size = s * b * h
        scores = 5 * a * s / h
        for recompute, whole, shared in (
            ("none", 10, 24 + scores),
            ("selective", 10, 24),
            ("full", 2, 0),
        ):
            options = {"micro_batch": b, "tensor": t, "recompute": recompute}
            assert_close(L.activation_bytes(GPT3, **options), size * (whole + shared / t))
            assert_close(
                L.activation_bytes(GPT3, **options, sequence_parallel=True),
                size * (whole + shared) / t,
            )
    # Selective recomputation and sequence parallelism: a fifth, as the paper's abstract has it.
    before = L.activation_bytes(GPT3, micro_batch=1, tensor=8)
    after = L.activation_bytes(
        GPT3, micro_batch=1, tensor=8, recompute="selective", sequence_parallel=True
    )
    assert 4 < before / after < 6


def test_layout_cost_by_hand():
    layout = L.Layout(8, 16, 8, 1, 1, "full", True)
    cost = L.layout_cost(GPT3, A100, layout=layout, global_batch=1536)
    m, blocks = 1536 // 8, 6
    params = (12 * blocks * 12288**2 + 51200 * 12288) / 8
    assert cost.microbatches == m
    assert_close(cost.params, params)
    assert_close(cost.states, params * (4 + 12 / 8))
    sbh = 2048 * 12288
    assert_close(
        cost.activations, 16 * blocks * 2 * sbh / 8 + sbh * (34 + 5 * 96 * 2048 / 12288) / 8
    )
    assert cost.gathered == 0
    assert_close(cost.memory, cost.states + cost.activations)
    n = 12 * 96 * 12288**2 + 51200 * 12288
    model = 6 * n + 12 * 96 * 12288 * 2048
    one = model * 4 / 3 * 2048 / (128 * 312e12 * 0.6)
    tensor = 6 * blocks * all_reduce_time(2 * sbh, ranks=8, latency=10e-6, bandwidth=300e9)
    pipe = 2 * (10e-6 + 2 * sbh / 8 / 25e9)
    data = max(0, 2 * 7 / 8 * 2 * params / 25e9 + 14 * 10e-6 - one * 2 / 3)
    assert_close(cost.compute, m * one)
    assert_close(cost.tensor_time, m * tensor)
    assert_close(cost.pipeline_time, m * pipe)
    assert_close(cost.bubble, 15 * (one + tensor + pipe))
    assert_close(cost.data_time, data)
    assert_close(cost.time, (m + 15) * (one + tensor + pipe) + data)
    assert_close(cost.mfu, model * 1536 * 2048 / (1024 * 312e12 * cost.time))
    assert_close(cost.bubble / (cost.time - data), P.bubble_fraction(16, m))
    assert cost.fits


def test_fully_sharded_by_hand():
    cluster = A100._replace(cards=64, far=1e9)
    cost = L.layout_cost(
        GPT3, cluster, layout=L.Layout(1, 1, 64, 1, 3, "full", False), global_batch=128
    )
    n = 12 * 96 * 12288**2 + 51200 * 12288
    assert_close(cost.states, 16 * n / 64)
    assert_close(cost.gathered, 2 * 2 * 12 * 12288**2)
    one = cost.compute / 2
    # Eight cards of a node share its way out: 8 GB/s.
    wait = 3 * 63 / 64 * 2 * n / 8e9 + 3 * 63 * 96 * 10e-6 - one
    assert wait > 0
    assert_close(cost.data_time, 2 * wait)
    assert_close(cost.time, cost.compute + cost.data_time)


def test_links_by_distance():
    alone = A100._replace(cards=8)
    for cluster, near in ((alone, True), (A100._replace(cards=16), False)):
        layout = L.Layout(2, 2, cluster.cards // 4)
        cost = L.layout_cost(GPT3, cluster, layout=layout, global_batch=64)
        link = 300e9 if near else 25e9
        nbytes = 2 * 2048 * 12288 / 2
        assert_close(cost.pipeline_time, cost.microbatches * 2 * (10e-6 + nbytes / link))
    # A tensor parallel ring over two nodes leaves them by eight cards at 25 GB/s.
    wide = L.layout_cost(GPT3, A100, layout=L.Layout(16, 1, 64, 1, 1), global_batch=64)
    ring = all_reduce_time(2 * 2048 * 12288, ranks=16, latency=10e-6, bandwidth=200e9)
    assert_close(wide.tensor_time, 4 * 96 * ring)


def test_planner_finds_the_fastest_of_all():
    model = L.ModelShape(24, 4096, 32, 50304, 2048)
    cluster = A100._replace(cards=16, memory=40e9, far=2e9)
    found = B.plan_layouts(model, cluster, global_batch=64, most=3)
    assert len(found) == 3
    every = []
    for t, p, b, stage, recompute in itertools.product(
        (1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8), range(4), F.RECOMPUTE
    ):
        if 16 % (t * p) or (p > 1 and stage > 1):
            continue
        d = 16 // (t * p)
        if 64 % (d * b) or (d == 1 and stage):
            continue
        layout = L.Layout(t, p, d, b, stage, recompute, t > 1)
        every.append(L.layout_cost(model, cluster, layout=layout, global_batch=64))
    fitting = sorted((cost for cost in every if cost.fits), key=lambda cost: cost.time)
    assert len(fitting) < len(every)
    assert_close([c.time for c in found], [c.time for c in fitting[:3]])
    assert all(c.fits for c in found)
    assert len(B.plan_layouts(model, cluster, global_batch=64)) == 5
    assert B.plan_layouts(GPT3, cluster._replace(cards=8), global_batch=64) == []


def test_planner_follows_the_links_and_the_model():
    """Small models need no more than data parallelism; large ones need every kind."""
    small = L.ModelShape(24, 2048, 16, 50304, 2048)
    best = B.plan_layouts(small, A100._replace(cards=8), global_batch=64)[0].layout
    assert best[:3] == (1, 1, 8)
    slow = B.plan_layouts(GPT3, A100._replace(cards=512, far=1.5e9), global_batch=1024)[0].layout
    assert slow.tensor == 8
    assert slow.pipeline > 1
    assert slow.data > 1
