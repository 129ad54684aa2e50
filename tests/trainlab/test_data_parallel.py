"""Data-parallel training: against one process with the whole batch."""

from __future__ import annotations

import inspect
import json
from functools import partial
from importlib import resources

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import collectives as C
from trainlab import data_parallel as D
from trainlab.adaptive_optimizers import adam_init, adam_update
from trainlab.classification import cross_entropy
from trainlab.datasets import digits
from trainlab.differentiation import differentiable, value_and_grad
from trainlab.explorers.data_parallel import overlap, ring, time
from trainlab.mlp import mlp, mlp_init
from trainlab.optimizers import sgd_init, sgd_update
from trainlab.training import minibatch_rows
from trainlab.trees import tree_leaves, tree_map

MIB = 2**20


@differentiable("x")
def mean_square(x):
    return np.mean(np.square(x)), lambda c: (2 * c * x / x.size,)


@differentiable("x")
def tanh(x):
    y = np.tanh(x)
    return y, lambda c: (c * (1 - y * y),)


def loss(params, batch):
    x, target = batch
    hidden = tanh(x @ params["first"]["w"] + params["first"]["b"])
    return mean_square(hidden @ params["second"] - target)


def network(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return {
        "first": {
            "w": rng.standard_normal((3, 5)).astype(dtype),
            "b": rng.standard_normal(5).astype(dtype),
        },
        "second": rng.standard_normal((5, 2)).astype(dtype),
    }


def data(n, seed=1, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((n, 3)).astype(dtype),
        rng.standard_normal((n, 2)).astype(dtype),
    )


def assert_trees(actual, expected, **tolerance):
    for a, b in zip(tree_leaves(actual), tree_leaves(expected), strict=True):
        if tolerance:
            assert_close(a, b, **tolerance)
        else:
            np.testing.assert_array_equal(a, b)


def sgd(grads, state, params):
    return tree_map(lambda g: -0.1 * g, grads), state


def steps_of_one_process(params, state, batches, update):
    for batch in batches:
        _, grads = value_and_grad(loss)(params, batch)
        updates, state = update(grads, state, params)
        params = tree_map(np.add, params, updates)
    return params


# --- who sees what --------------------------------------------------------------------------------


def test_split_keeps_every_example_once():
    batch = {"x": np.arange(14.0).reshape(7, 2), "y": [np.arange(7)]}
    pieces = D.split_batch(batch, ranks=3)
    assert [len(p["x"]) for p in pieces] == [3, 2, 2]
    np.testing.assert_array_equal(np.concatenate([p["x"] for p in pieces]), batch["x"])
    np.testing.assert_array_equal(np.concatenate([p["y"][0] for p in pieces]), batch["y"][0])
    assert pieces[0]["y"][0].dtype == batch["y"][0].dtype  # class indices stay integers


@pytest.mark.parametrize("ranks", [0, 1, 8])
def test_ranks_without_an_example_are_refused(ranks):
    with pytest.raises(
        ValueError, match=f"split_batch: ranks must be .*>= 2 and <= 7; got {ranks}"
    ):
        D.split_batch(np.ones(7), ranks=ranks)


@pytest.mark.claim("DIST-02")
def test_sampler_repeats_examples():
    indices = D.sampler_indices(1001, ranks=4)
    assert indices.shape == (4, 251)
    assert indices.size == 1004
    assert indices.size - np.unique(indices).size == 3
    assert sorted(indices.ravel())[:6] == [0, 0, 1, 1, 2, 2]
    dropped = D.sampler_indices(1001, ranks=4, drop_last=True)
    assert dropped.shape == (4, 250)
    assert np.unique(dropped).size == 1000


def test_sampler_shuffles_by_rng():
    plain = D.sampler_indices(10, ranks=2)
    assert plain.tolist() == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    first, again = (D.sampler_indices(10, ranks=2, rng=np.random.default_rng(0)) for _ in "ab")
    other = D.sampler_indices(10, ranks=2, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert sorted(first.ravel()) == list(range(10))


def test_sampler_with_more_ranks_than_examples():
    assert D.sampler_indices(2, ranks=5).tolist() == [[0], [1], [0], [1], [0]]


@pytest.mark.referee
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("length", "ranks"), [(1001, 4), (8, 4), (7, 3), (10, 9)])
def test_sampler_is_that_of_torch(length, ranks, drop_last):
    distributed = pytest.importorskip("torch.utils.data.distributed")
    expected = [
        list(
            distributed.DistributedSampler(
                range(length), num_replicas=ranks, rank=r, shuffle=False, drop_last=drop_last
            )
        )
        for r in range(ranks)
    ]
    assert D.sampler_indices(length, ranks=ranks, drop_last=drop_last).tolist() == expected


# --- what is sent ---------------------------------------------------------------------------------


@pytest.mark.claim("DIST-01")
def test_all_start_from_one():
    replicas, messages = D.broadcast_params([network(s) for s in range(4)], root=2)
    for replica in replicas:
        assert_trees(replica, network(2))
    size = sum(leaf.nbytes for leaf in tree_leaves(network()))
    assert messages.nbytes.sum() == 3 * size
    assert messages.step.max() + 1 == 3 * 2  # three leaves, two steps each
    assert C.bytes_received(messages, ranks=4).tolist() == [size, size, 0, size]
    assert_trees(D.broadcast_params([network(5), network(6)])[0][1], network(5))


def test_replicas_of_another_structure_are_refused():
    one, other = network(), network()
    other["third"] = other.pop("second")
    with pytest.raises(
        ValueError, match=r"broadcast_params: replicas\[1\] must have the structure"
    ):
        D.broadcast_params([one, other])


def test_order_of_keys_does_not_matter():
    a, b = np.arange(2.0), np.arange(2.0) + 10
    total, _ = D.all_reduce_gradients([{"a": a, "b": b}, {"b": b, "a": a}])
    assert_trees(total[1], {"a": a, "b": b})


@pytest.mark.claim("DIST-01")
def test_buckets_have_25_mib_and_the_first_1_mib():
    layer = np.zeros(MIB // 8)  # 1 MiB of float64
    buckets = D.gradient_buckets([layer] * 60)
    assert [len(b) for b in buckets] == [1, 25, 25, 9]
    assert [i for b in buckets for i in b] == list(range(59, -1, -1))  # last layer first


def test_a_leaf_larger_than_a_bucket_is_not_cut():
    params = [np.zeros(1), np.zeros(100), np.zeros(1), np.zeros(1)]
    assert D.gradient_buckets(params, bucket_bytes=16, first_bucket_bytes=8) == [[3], [2, 1], [0]]


def test_dtypes_get_their_own_buckets():
    params = [np.zeros(2), np.zeros(2, np.float32), np.zeros(2), np.zeros(2, np.float32)]
    assert D.gradient_buckets(params, bucket_bytes=1e9, first_bucket_bytes=1e9) == [[3, 1], [2, 0]]
    assert D.gradient_buckets(params, bucket_bytes=1, first_bucket_bytes=1) == [[3], [2], [1], [0]]


@pytest.mark.referee
def test_buckets_are_those_of_torch():
    torch = pytest.importorskip("torch")
    sizes = np.random.default_rng(0).integers(1, 900, 50).tolist()
    tensors = [torch.zeros(n) for n in reversed(sizes)]  # in the order of the backward pass
    expected, _ = torch._C._distributed_c10d._compute_bucket_assignment_by_size(
        tensors, [1000, 5000]
    )
    found = D.gradient_buckets(
        [np.zeros(n, np.float32) for n in sizes], bucket_bytes=5000, first_bucket_bytes=1000
    )
    assert found == [[49 - i for i in bucket] for bucket in expected]


@pytest.mark.claim("DIST-01")
def test_mean_of_means_is_the_mean_for_equal_counts_only():
    params, (x, y) = network(), data(256)
    _, whole = value_and_grad(loss)(params, (x, y))
    parts = [(x[:200], y[:200]), (x[200:], y[200:])]
    grads = [value_and_grad(loss)(params, part)[1] for part in parts]
    right, _ = D.all_reduce_gradients(grads, counts=[200, 56])
    assert_trees(right[0], whole, rtol=1e-12)  # two sums in another order
    plain, _ = D.all_reduce_gradients(grads)
    error = np.abs(plain[0]["second"] - whole["second"]).max() / np.abs(whole["second"]).max()
    assert error > 0.01
    halves = [(x[:128], y[:128]), (x[128:], y[128:])]
    grads = [value_and_grad(loss)(params, part)[1] for part in halves]
    assert_trees(D.all_reduce_gradients(grads)[0][1], whole, rtol=1e-12)  # as above


@pytest.mark.parametrize("algorithm", ["ring", "tree"])
def test_bytes_of_a_gradient(algorithm):
    grads = [{"w": np.ones((4, 8)), "b": np.ones(8)} for _ in range(4)]
    total, messages = D.all_reduce_gradients(grads, algorithm=algorithm)
    size = 40 * 8
    assert_trees(total[3], grads[0])
    if algorithm == "ring":
        assert C.bytes_sent(messages, ranks=4).tolist() == [2 * 3 / 4 * size] * 4
    else:
        assert set(messages.nbytes) == {size}
    assert messages.nbytes.sum() == 2 * 3 * size


def test_smaller_buckets_send_the_same_in_more_steps():
    grads = [[np.ones(8), np.ones(16)] for _ in range(4)]
    _, one = D.all_reduce_gradients(grads)
    _, two = D.all_reduce_gradients(grads, bucket_bytes=1, first_bucket_bytes=1)
    assert one.nbytes.sum() == two.nbytes.sum()
    assert (one.step.max() + 1, two.step.max() + 1) == (6, 12)
    assert np.unique(two.step).size == 12
    # the last leaf comes first
    assert two.nbytes[0] == 16 * 8 / 4


# --- the step -------------------------------------------------------------------------------------


def run(params, batches, ranks, update, init, **options):
    replicas, states = [params] * ranks, [init(params)] * ranks
    for batch in batches:
        pieces = [[piece] for piece in D.split_batch(batch, ranks=ranks)]
        done = D.data_parallel_step(
            replicas, states, batches=pieces, loss=loss, update=update, **options
        )
        replicas, states = done.replicas, done.states
    return replicas


@pytest.mark.claim("DIST-01")
@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_training_is_that_of_one_process(ranks):
    """50 steps of SGD with ragged shards (20 examples), float64: the order of sums differs."""
    batches = [data(20, seed=s) for s in range(50)]
    replicas = run(network(), batches, ranks, sgd, lambda p: None)
    expected = steps_of_one_process(network(), None, batches, sgd)
    assert_trees(replicas[0], expected, rtol=1e-10)  # rounding of 50 steps
    for replica in replicas[1:]:
        assert_trees(replica, replicas[0])  # equal updates from equal starts: the same bits


def test_training_with_adam_is_that_of_one_process():
    update = partial(adam_update, lr=0.01)
    batches = [data(12, seed=s) for s in range(20)]
    replicas = run(network(), batches, 4, update, adam_init)
    expected = steps_of_one_process(network(), adam_init(network()), batches, update)
    assert_trees(replicas[3], expected, rtol=1e-9)  # Adam divides by the gradient's size


def test_float32_stays_float32():
    batches = [data(12, dtype=np.float32)]
    replicas = run(network(dtype=np.float32), batches, 3, sgd, lambda p: None)
    assert {leaf.dtype.name for leaf in tree_leaves(replicas)} == {"float32"}
    expected = steps_of_one_process(network(dtype=np.float32), None, batches, sgd)
    assert_trees(replicas[0], expected, rtol=1e-5)  # one step of float32


def accumulate(params, micro_batches):
    """The gradient in one process: weighted micro-batches, added in order."""
    total, counts = None, [len(x) for x, _ in micro_batches]
    for count, micro in zip(counts, micro_batches, strict=True):
        _, grads = value_and_grad(loss)(params, micro)
        weight = count / sum(counts)
        part = tree_map(partial(np.multiply, weight), grads)
        total = part if total is None else tree_map(np.add, total, part)
    return total


def test_two_ranks_are_one_process_to_the_last_bit():
    """a + b = b + a: with two terms there is no order of sums."""
    params, micro = network(), [data(5, 1), data(3, 2)]
    done = D.data_parallel_step(
        [params] * 2, [None] * 2, batches=[[m] for m in micro], loss=loss, update=sgd
    )
    updates, _ = sgd(accumulate(params, micro), None, params)
    assert_trees(done.replicas[1], tree_map(np.add, params, updates))


def test_many_ranks_are_one_process_to_the_last_bit_where_sums_are_exact():
    """Whole-numbered gradients, a power of two of examples: no sum is rounded."""

    def squares(w, x):  # gradient of sum(w x)/n: the mean of whole numbers
        return mean(x @ w)

    @differentiable("x")
    def mean(x):
        return x.mean(), lambda c: (np.full_like(x, 1 / x.size) * c,)

    x = np.random.default_rng(0).integers(-50, 50, (32, 7)).astype(float)
    params = np.ones((7, 1))
    _, expected = value_and_grad(squares)(params, x)
    for ranks in (2, 4, 8, 16):
        done = D.data_parallel_step(
            [params] * ranks,
            [None] * ranks,
            batches=[[p] for p in D.split_batch(x, ranks=ranks)],
            loss=squares,
            update=lambda g, s, p: (g - p, s),  # leaves the gradient
        )
        assert_trees(done.replicas[-1], expected)


def test_loss_is_the_mean_over_all_examples():
    params, (x, y) = network(), data(10)
    done = D.data_parallel_step(
        [params] * 2, [None] * 2,
        batches=[[(x[:7], y[:7])], [(x[7:9], y[7:9])]], loss=loss, update=sgd,
    )  # fmt: skip
    assert_close(done.loss, loss(params, (x[:9], y[:9])))


# --- accumulation ---------------------------------------------------------------------------------


def micro_batches():
    """Three ragged micro-batches for each of two ranks."""
    return [[data(n, seed) for seed, n in enumerate(sizes)] for sizes in ((4, 1, 3), (2, 5, 1))]


@pytest.mark.claim("DIST-01")
def test_accumulation_sends_once():
    params = network()
    once, often = (
        D.data_parallel_step(
            [params] * 2, [None] * 2, batches=micro_batches(), loss=loss, update=sgd, no_sync=n
        )
        for n in (True, False)
    )
    default = D.data_parallel_step(
        [params] * 2, [None] * 2, batches=micro_batches(), loss=loss, update=sgd
    )
    assert often.messages.nbytes.sum() == 3 * once.messages.nbytes.sum()
    assert default.messages.nbytes.sum() == once.messages.nbytes.sum()
    size = sum(leaf.nbytes for leaf in tree_leaves(params))
    assert once.messages.nbytes.sum() == 2 * size  # 2 (N - 1) S
    assert_trees(once.replicas[0], often.replicas[0], rtol=1e-10)  # another order of sums
    everything = tuple(
        np.concatenate([m[k] for mine in micro_batches() for m in mine]) for k in (0, 1)
    )
    assert_trees(once.replicas[1], steps_of_one_process(params, None, [everything], sgd),
                 rtol=1e-10)  # as above  # fmt: skip


def test_states_belong_to_the_ranks():
    def counting(grads, state, params):
        return tree_map(np.zeros_like, params), state + 1

    done = D.data_parallel_step(
        [network()] * 2, [10, 20], batches=[[data(2)], [data(2)]], loss=loss, update=counting
    )
    assert done.states == [11, 21]


def test_buckets_of_a_step():
    many, one = (
        D.data_parallel_step(
            [network()] * 2, [None] * 2, batches=[[data(2)], [data(2)]], loss=loss, update=sgd, **b
        ).messages
        for b in ({"bucket_bytes": 1}, {})
    )
    # the first bucket, which may hold 1 MiB, takes all; only what follows it obeys
    assert many.nbytes.sum() == one.nbytes.sum()
    big = [np.zeros(MIB // 8)] * 3

    def flat(params, x):
        return mean_square(params[0] + params[1] + params[2]) * float(x.sum())

    steps = [
        D.data_parallel_step(
            [big] * 2, [None] * 2, batches=[[np.ones(1)], [np.ones(1)]], loss=flat,
            update=lambda g, s, p: (g, s), bucket_bytes=b,
        ).messages.step.max() + 1
        for b in (1, 25 * MIB)
    ]  # fmt: skip
    assert steps == [6, 4]  # three buckets of two steps; one of 1 MiB and one of the rest


@pytest.mark.claim("DIST-09")
def test_what_depends_on_the_whole_batch_breaks_the_illusion():
    """A loss with batch statistics: two ranks see their own mean, and train something else."""

    @differentiable("x")
    def spread(x):  # the biased variance over the batch, as a mean over examples
        centered = x - x.mean(axis=0)
        return np.mean(centered**2), lambda c: (2 * c * centered / x.size,)

    def normed(params, x):
        return spread(x @ params)

    params, x = np.ones((3, 2)), np.random.default_rng(0).standard_normal((4, 3))
    done = D.data_parallel_step(
        [params] * 2, [None] * 2,
        batches=[[p] for p in D.split_batch(x, ranks=2)], loss=normed, update=sgd,
    )  # fmt: skip
    _, grads = value_and_grad(normed)(params, x)
    alone = params - 0.1 * grads
    assert np.abs(done.replicas[0] - alone).max() > 1e-3


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_ranks_are_refused(count):
    with pytest.raises(ValueError, match=r"data_parallel_step: number of ranks in replicas .*>= 2"):
        D.data_parallel_step([network()] * count, [], batches=[], loss=loss, update=sgd)


# --- batch norm -----------------------------------------------------------------------------------


@pytest.mark.claim("DIST-01", "DIST-09")
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_synchronized_statistics_are_those_of_the_whole_batch(shape):
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 3, *shape)) * 2 + n for n in (1, 5, 2)]
    whole = np.concatenate(parts)
    axes = (0, *range(2, whole.ndim))
    found, messages = D.sync_batch_statistics(parts)
    assert_close(found.mean, whole.mean(axis=axes))
    assert_close(found.var, whole.var(axis=axes))
    assert found.number == whole.size // 3
    assert set(messages.nbytes) == {(2 * 3 + 1) * 8}
    # the ranks alone see less spread
    alone = np.mean([p.var(axis=axes) for p in parts], axis=0)
    assert (alone < 0.8 * found.var).all()


@pytest.mark.parametrize("odd", [np.ones((2, 4)), np.ones((2, 3), np.float32)])
def test_the_first_batch_decides_about_channels_and_type(odd):
    with pytest.raises(ValueError, match=r"of batches\[1\] must be"):
        D.sync_batch_statistics([np.ones((2, 3)), odd])


def test_statistics_stay_float32():
    found, _ = D.sync_batch_statistics([np.ones((2, 3), np.float32)] * 2)
    assert found.mean.dtype == found.var.dtype == np.float32
    assert found.var.tolist() == [0.0] * 3


@pytest.mark.parametrize("function", [D.all_reduce_gradients, D.data_parallel_step])
def test_defaults_are_those_of_the_buckets(function):
    defaults = {n: p.default for n, p in inspect.signature(function).parameters.items()}
    assert defaults["bucket_bytes"] == 25 * MIB
    assert defaults.get("first_bucket_bytes", MIB) == MIB
    assert defaults.get("algorithm", "ring") == "ring"


# --- real processes and pictures ------------------------------------------------------------------


@pytest.mark.claim("DIST-01")
@pytest.mark.parametrize("ranks", [2, 4])
def test_simulated_ranks_have_the_stored_losses_of_real_ones(ranks):
    """What examples/distributed/results.py measured, in float64; the page quotes it."""
    file = resources.files("trainlab") / "data" / "distributed_results.json"
    runs = json.loads(file.read_text(encoding="utf-8"))["runs"]
    assert {"none_1", "ddp_2", "ddp_4", "fsdp_2", "fsdp_4"} <= runs.keys()
    assert all(run["largest_difference"] < 1e-13 for run in runs.values())  # sums in another order
    pixels, labels = digits(part="train")
    pixels = pixels - pixels.mean(axis=0)
    plan = minibatch_rows(len(labels), batch_size=96, steps=30, rng=np.random.default_rng(1))
    params, losses = mlp_init((64, 32, 32, 10), rng=np.random.default_rng(0)), []
    replicas, states = [params] * ranks, [sgd_init(params)] * ranks
    for number, rows in enumerate(plan):
        rows = rows[:-3] if number % 5 == 4 else rows
        done = D.data_parallel_step(
            replicas,
            states,
            batches=[[p] for p in D.split_batch((pixels[rows], labels[rows]), ranks=ranks)],
            loss=lambda w, batch: cross_entropy(mlp(w, batch[0]), batch[1]),
            update=partial(sgd_update, lr=0.1, momentum=0.9),
        )
        replicas, states = done.replicas, done.states
        losses.append(done.loss)
    assert_close(losses, runs[f"ddp_{ranks}"]["losses"], rtol=1e-10)  # rounding of 30 steps
    assert_close(losses, runs["none_1"]["losses"], rtol=1e-10)


@pytest.mark.claim("DIST-03")
@pytest.mark.parametrize("ranks", [2, 3, 5, 8])
def test_picture_of_the_ring_is_the_ring(ranks):
    half, end = ring.run(ranks=ranks, step=ranks - 1), ring.run(ranks=ranks, step=2 * (ranks - 1))
    complete = half.terms == ranks  # one chunk on each rank, and no two the same
    assert (complete.sum(axis=0) == 1).all()
    assert (complete.sum(axis=1) == 1).all()
    chunks, _ = C.reduce_scatter(np.arange(ranks * ranks, dtype=float).reshape(ranks, ranks))
    assert complete[np.arange(ranks), np.arange(ranks)].all()  # rank r has chunk r, as here:
    assert [c.tolist() for c in chunks] == [
        [sum(r * ranks + c for r in range(ranks))] for c in range(ranks)
    ]
    assert (end.terms == ranks).all()
    assert_close(end.sent[end.step], 2 * (ranks - 1) / ranks)
    assert_close(half.sent[half.step], (ranks - 1) / ranks)
    assert end.sent[-1] == end.sent[end.step]


@pytest.mark.claim("DIST-07")
def test_picture_of_overlap_hides_what_the_page_says():
    shown, late = overlap.run(), overlap.run(overlap=False)
    single = overlap.run(bucket=400.0)
    assert shown.efficiency > 97 > 75 > single.efficiency > late.efficiency
    # with 512 ranks, the smallest buckets are not the best
    most = [overlap.run(bucket=b, ranks=512).efficiency for b in (1.0, 100.0)]
    assert most[0] < 0.5 * most[1]
    few = [overlap.run(bucket=b, ranks=2).efficiency for b in (1.0, 100.0)]
    assert few[0] > few[1]
    assert overlap.run(ranks=512).efficiency < 70
    # overlap cannot hide what takes longer than the backward pass
    assert overlap.run(bandwidth=5.0).efficiency < 60


@pytest.mark.claim("DIST-07")
def test_picture_of_time_shows_what_the_page_says():
    shown, slow = time.run(), time.run(bandwidth=1.0)
    assert 0.985 < shown.latency < 0.995  # one percent is spent on bytes
    assert 0.7 < 1 - slow.latency < 0.8  # three quarters
    assert shown.here["ring"] > 6 * shown.here["tree"]
    assert time.run(ranks=8).crossover < shown.crossover
    assert time.run(latency=1.0).crossover < shown.crossover
    few, many = (time.run(size=1000.0, ranks=n).here["ring"] for n in (8, 512))
    assert_close(many / few, 2, rtol=0.01)  # 11.8 and 5.9 ms, rounded on the page
    latencies = 2 * (512 - 8) * 5e-6
    assert latencies > 0.8 * (many - few)  # most of the difference


@pytest.mark.claim("DIST-09")
def test_dropout_masks_of_one_seed_do_not_average_out():
    """A unit's factor has the standard deviation 1 at p = 0.5; eight own masks average it."""
    masks = np.random.default_rng(0).random((20_000, 8)) < 0.5
    assert_close(2 * masks[:, 0].std(), 1.0, rtol=0.01)  # sampling
    assert_close(2 * masks.mean(axis=1).std(), 1 / np.sqrt(8), rtol=0.02)  # sampling
