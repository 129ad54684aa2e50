"""When a sharded step sends and computes: by hand, by bounds, and against counted messages."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from tests.trainlab.test_sharded import data, network, no_state, sgd, sharded_step
from trainlab import communication_time as C
from trainlab import data_parallel as D
from trainlab import sharded as S
from trainlab.sharded_timeline import sharded_timeline

BY_HAND = {"ranks": 2, "latency": 0.0, "bandwidth": 1.0, "forward": 2.0, "backward": 4.0}
LINK = {"ranks": 8, "latency": 5e-6, "bandwidth": 50e9}


def test_by_hand_without_prefetch():
    step = sharded_timeline([2.0, 2.0], **BY_HAND, prefetch=0)
    assert step.gather.tolist() == [[0, 1], [2, 3], [4, 5], [8, 9]]
    assert step.compute.tolist() == [[1, 2], [3, 4], [5, 7], [9, 11]]
    assert step.scatter.tolist() == [[7, 8], [11, 12]]
    assert (step.total, step.waiting, step.peak) == (12, 6, 4)


def test_by_hand_with_prefetch():
    """The gather of unit 0 goes before the scatter of unit 1."""
    step = sharded_timeline([2.0, 2.0], **BY_HAND, prefetch=1)
    assert step.gather.tolist() == [[0, 1], [1, 2], [3, 4], [4, 5]]
    assert step.compute.tolist() == [[1, 2], [2, 3], [4, 6], [6, 8]]
    assert step.scatter.tolist() == [[6, 7], [8, 9]]
    assert (step.total, step.waiting, step.peak) == (9, 3, 6)


def test_units_of_different_size():
    """Sizes 2 and 6: the last unit computes three quarters, and is gathered in three seconds."""
    step = sharded_timeline([2.0, 6.0], **BY_HAND, prefetch=0)
    assert step.gather[:, 1].tolist() == [1, 4.5, 9, 16]
    assert step.compute[:, 1].tolist() == [1.5, 6, 12, 17]
    assert step.scatter[:, 1].tolist() == [15, 18]
    assert step.peak == 12


@pytest.mark.claim("DIST-04")
@pytest.mark.parametrize("ranks", [2, 4])
def test_the_link_is_as_long_at_work_as_the_counted_messages(ranks):
    units = network()
    model = S.sharded_init(units, ranks=ranks, init=no_state)
    events = sharded_step(model, D.split_batch(data(8), ranks=ranks), units, sgd).events
    link = {"latency": 1e-3, "bandwidth": 1e5}
    counted = sum(C.message_time(e.messages, **link) for e in events if e.messages is not None)
    sizes = [s.nbytes for s in model.shards]
    step = sharded_timeline(sizes, forward=1.0, backward=2.0, ranks=ranks, **link)
    busy = sum(np.ptp(times, axis=1).sum() for times in (step.gather, step.scatter))
    assert_close(busy, counted)


@pytest.mark.parametrize("prefetch", [0, 1, 2, 9])
@pytest.mark.parametrize("bandwidth", [5e9, 50e9, 500e9])
def test_nothing_overlaps_that_may_not(prefetch, bandwidth):
    link = LINK | {"bandwidth": bandwidth}
    sizes = np.random.default_rng(0).uniform(1e8, 1e9, 7)
    step = sharded_timeline(sizes, forward=0.1, backward=0.2, **link, prefetch=prefetch)
    sent = np.concatenate([step.gather, step.scatter])
    sent = sent[np.argsort(sent[:, 0])]
    for times in (sent, step.compute):
        assert (times[1:, 0] >= times[:-1, 1] - 1e-12).all()
    assert (step.compute[:, 0] >= step.gather[:, 1]).all()
    assert (step.scatter[:, 0] >= step.compute[7:, 1]).all()
    assert_close(step.total, step.scatter[-1, 1])
    assert_close(step.waiting, step.total - 0.3)
    assert (step.gather[7:, 0] >= step.compute[6, 1]).all()
    later = np.arange(prefetch + 1, 7)  # no more than `prefetch` units ahead
    assert (step.gather[later, 0] >= step.compute[later - 1 - prefetch, 1]).all()


@pytest.mark.claim("DIST-05")
def test_prefetch_holds_one_more_unit_and_saves_time():
    sizes = np.full(8, 14e9 / 8)
    steps = [
        sharded_timeline(sizes, forward=0.3, backward=0.6, **LINK, prefetch=n) for n in (0, 1, 2)
    ]
    assert steps[0].total > steps[1].total >= steps[2].total
    assert_close(steps[0].peak, 2 * sizes[0])  # a unit and its gradient
    assert_close(steps[1].peak, 4 * sizes[0])  # and the next unit, and the gradient on its way
    one = sharded_timeline([14e9], forward=0.3, backward=0.6, **LINK)
    assert_close(one.peak, 28e9)  # one unit: the whole model, and nothing hides
    assert_close(one.waiting, 3 * C.all_reduce_time(14e9, **LINK) / 2)


@pytest.mark.claim("DIST-07")
def test_data_parallel_is_no_slower_where_the_model_fits():
    """The same batch and link: sharding never wins, and costs least where the link is fast."""
    for bandwidth in (5e9, 50e9, 500e9):
        link = LINK | {"bandwidth": bandwidth}
        sizes = np.full(16, 3e9 / 16)
        sharded = sharded_timeline(sizes, forward=0.1, backward=0.2, **link).total
        replicated = C.overlapped_step(sizes, forward=0.1, backward=0.2, **link).total
        assert replicated < sharded
        assert sharded / replicated <= 1.5 + 1e-9 or bandwidth > 5e9
    assert 1 < sharded / replicated < 1.05
    slow = [
        f(sizes, forward=1e-6, backward=2e-6, **LINK).total
        for f in (sharded_timeline, C.overlapped_step)
    ]
    assert_close(slow[0] / slow[1], 1.5, rtol=1e-4)  # nothing but traffic


@pytest.mark.claim("DIST-07")
@pytest.mark.parametrize(
    ("bandwidth", "expected"), [(25e9, (7525, 16287, 13077)), (300e9, (16568, 16633, 16644))]
)
def test_saved_memory_buys_larger_batches(bandwidth, expected):
    """Tokens a second of full cards: replicas, shards, and replicas that accumulate as many.

    4 billion parameters, 8 cards of 80 GB. On a slow link shards win, by less if the replicas
    accumulate the same batch; on a fast one there is nothing to win.
    """
    count, layers, per_second = 4e9, 27, 4e14
    of_a_token = 34 * layers * 128 * layers
    few = (80e9 - 16 * count) / of_a_token
    many = (80e9 - 16 * count / 8 - 4 * 2 * count / layers) / of_a_token
    sizes = np.full(layers, 2 * count / layers)
    link = LINK | {"bandwidth": bandwidth}
    forward, backward = 2 * count / per_second, 4 * count / per_second
    alone = C.overlapped_step(sizes, forward=forward * few, backward=backward * few, **link)
    full = sharded_timeline(sizes, forward=forward * many, backward=backward * many, **link)
    before = (forward + backward) * many - backward * few  # up to the last backward pass
    summed = C.overlapped_step(sizes, forward=before, backward=backward * few, **link)
    found = few / alone.total, many / full.total, many / summed.total
    assert_close(found, expected, rtol=1e-4)  # written with five digits
