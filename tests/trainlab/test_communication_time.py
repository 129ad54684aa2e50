"""The time model: against counted messages, closed forms and hand-made timelines."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab import collectives as C
from trainlab import communication_time as T

FAST = {"latency": 5e-6, "bandwidth": 300e9}
SLOW = {"latency": 5e-6, "bandwidth": 50e9}


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize(
    ("algorithm", "collective"), [("ring", C.ring_all_reduce), ("tree", C.tree_all_reduce)]
)
def test_model_is_the_time_of_counted_messages(ranks, algorithm, collective):
    x = np.zeros((ranks, 8 * ranks))
    _, messages = collective(x)
    link = {"latency": 3e-6, "bandwidth": 7e6}
    counted = T.message_time(messages, **link)
    assert_close(counted, T.all_reduce_time(x[0].nbytes, ranks=ranks, **link, algorithm=algorithm))


def test_a_step_waits_for_its_largest_message():
    messages = C.Messages(*np.array([[0, 0, 1], [0, 1, 0], [1, 0, 1], [10, 30, 20]]))
    assert T.message_time(messages, latency=1.0, bandwidth=10.0) == (1 + 3) + (1 + 2)


@pytest.mark.claim("DIST-07")
def test_large_arrays_are_bandwidth_and_small_ones_latency():
    large = [T.all_reduce_time(1e9, ranks=n, **FAST) * 1e3 for n in (2, 8, 64, 512)]
    small = [T.all_reduce_time(1e6, ranks=n, **FAST) * 1e3 for n in (2, 8, 64, 512)]
    assert np.round(large, 1).tolist() == [3.3, 5.9, 7.2, 11.8]
    assert np.round(small, 3).tolist() == [0.013, 0.076, 0.637, 5.117]
    latency = 2 * 511 * 5e-6 * 1e3
    assert latency / small[-1] > 0.99
    assert latency / large[-1] < 0.45


def test_formulas_by_hand():
    """10 bytes, 4 ranks, 1 s a message, 5 bytes/s: 3 or 2 steps each way."""
    link = {"ranks": 4, "latency": 1.0, "bandwidth": 5.0}
    times = {a: T.all_reduce_time(10.0, **link, algorithm=a) for a in T.ALGORITHMS}
    assert times == {
        "ring": 6 + 1.5 * 2,
        "tree": 4 + 4 * 2,
        "halving-doubling": 4 + 1.5 * 2,
        "naive": 6 + 6 * 2,
    }
    assert T.all_reduce_time(10.0, **link) == times["ring"]
    # five ranks need three levels
    assert T.all_reduce_time(0, ranks=5, latency=1, bandwidth=1, algorithm="tree") == 6


def test_ring_and_tree_and_naive_at_64_ranks():
    def time(nbytes, algorithm):
        return T.all_reduce_time(nbytes, ranks=64, **SLOW, algorithm=algorithm)

    assert round(time(1e3, "ring") * 1e6) == 630
    assert round(time(1e3, "tree") * 1e6) == 60
    assert [round(time(1e9, a) * 1e3) for a in ("ring", "tree", "naive")] == [40, 240, 2521]


@pytest.mark.parametrize(("ranks", "megabytes"), [(8, 0.471), (64, 2.84), (512, 15.7)])
def test_crossover(ranks, megabytes):
    size = T.ring_tree_crossover(ranks, **SLOW)
    assert_close(size / 1e6, megabytes, rtol=3e-3)  # quoted to three digits
    ring, tree = (
        T.all_reduce_time(size, ranks=ranks, **SLOW, algorithm=a) for a in ("ring", "tree")
    )
    assert_close(ring, tree)


@pytest.mark.parametrize("ranks", [2, 3])
def test_few_ranks_never_need_a_tree(ranks):
    assert T.ring_tree_crossover(ranks, **SLOW) == 0


def test_halving_doubling_wants_a_power_of_two():
    with pytest.raises(ValueError, match=r"all_reduce_time: ranks must be a power of two .* got 6"):
        T.all_reduce_time(1.0, ranks=6, **SLOW, algorithm="halving-doubling")
    with pytest.raises(ValueError, match=r"overlapped_step: ranks must be a power of two .* got 6"):
        T.overlapped_step(
            [1.0], forward=1, backward=1, ranks=6, **SLOW, algorithm="halving-doubling"
        )


# --- overlap --------------------------------------------------------------------------------------

# two ranks without latency: an all-reduce of n bytes takes n seconds
UNIT = {"ranks": 2, "latency": 0.0, "bandwidth": 1.0}


def test_timeline_by_hand():
    step = T.overlapped_step([1.0, 1.0, 2.0], forward=1.0, backward=8.0, **UNIT)
    assert step.ready.tolist() == [3, 5, 9]
    assert step.start.tolist() == [3, 5, 9]
    assert step.end.tolist() == [4, 6, 11]
    assert step.total == 11
    assert step.efficiency == 9 / 11


def test_buckets_wait_for_each_other():
    step = T.overlapped_step([4.0, 2.0, 2.0], forward=0.0, backward=4.0, **UNIT)
    assert step.ready.tolist() == [2, 3, 4]
    assert step.start.tolist() == [2, 6, 8]
    assert step.end.tolist() == [6, 8, 10]


def test_without_overlap_all_wait_for_the_end():
    step = T.overlapped_step([1.0, 1.0], forward=1.0, backward=2.0, **UNIT, overlap=False)
    assert step.ready.tolist() == [3, 3]
    assert step.start.tolist() == [3, 4]
    assert step.total == 5
    assert step.efficiency == 0.6


@pytest.mark.claim("DIST-01", "DIST-07")
def test_overlap_hides_all_but_the_last_bucket():
    """100 MiB of gradients in buckets of 25: the backward pass hides three quarters."""
    mib = 2.0**20
    link = {"ranks": 8, "latency": 0.0, "bandwidth": 10e9}
    times = {"forward": 0.05, "backward": 0.1}
    one = T.overlapped_step([100 * mib], **times, **link)
    four = T.overlapped_step([25 * mib] * 4, **times, **link)
    late = T.overlapped_step([25 * mib] * 4, **times, **link, overlap=False)
    exposed = [step.total - 0.15 for step in (one, four, late)]
    assert_close(exposed[0] / exposed[1], 4.0)
    assert_close(exposed[0], exposed[2])
    assert four.efficiency > one.efficiency
    # too many: each pays the latency
    slow = {**link, "latency": 1e-3}
    many = T.overlapped_step([mib] * 100, **times, **slow)
    assert many.total > T.overlapped_step([25 * mib] * 4, **times, **slow).total


def test_efficiency_falls_with_ranks():
    sizes = [25 * 2.0**20] * 4
    found = [
        T.overlapped_step(sizes, forward=1e-3, backward=2e-3, ranks=n, **SLOW).efficiency
        for n in (2, 8, 64, 512)
    ]
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < found[0] < 1


def test_tree_can_be_chosen():
    link = {"ranks": 4, "latency": 1.0, "bandwidth": 1.0}
    step = T.overlapped_step([1.0], forward=0.0, backward=1.0, **link, algorithm="tree")
    assert step.total == 1 + 4 * 2
