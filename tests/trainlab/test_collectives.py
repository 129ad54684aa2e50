"""Collective operations: their sums, and every message."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainlab.closeness import assert_close
from trainlab import collectives as C

ALL_REDUCE = [C.ring_all_reduce, C.tree_all_reduce]
each_all_reduce = pytest.mark.parametrize("all_reduce", ALL_REDUCE)


def values(ranks, shape=(7,), dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal((ranks, *shape)).astype(dtype)


def whole_numbers(ranks, size, seed=0):
    return np.random.default_rng(seed).integers(-1000, 1000, (ranks, size)).astype(np.float64)


# --- the ring -------------------------------------------------------------------------------------


def test_reduce_scatter_by_hand():
    x = np.array([[1.0, 2, 3], [10, 20, 30], [100, 200, 300]])
    chunks, messages = C.reduce_scatter(x)
    assert [c.tolist() for c in chunks] == [[111], [222], [333]]
    # step 0: rank r starts chunk r - 1; step 1: it hands on chunk r - 2, from its left neighbor
    assert messages.step.tolist() == [0, 0, 0, 1, 1, 1]
    assert messages.source.tolist() == [0, 1, 2, 0, 1, 2]
    assert messages.target.tolist() == [1, 2, 0, 1, 2, 0]
    assert messages.nbytes.tolist() == [8] * 6


def test_chunks_differ_by_one_element_at_most():
    chunks, messages = C.reduce_scatter(whole_numbers(4, 10))
    assert [c.size for c in chunks] == [3, 3, 2, 2]
    # chunk (r - 1 - step) mod 4 leaves rank r
    assert messages.nbytes.reshape(3, 4).tolist() == [[16, 24, 24, 16], [16, 16, 24, 24],
                                                      [24, 16, 16, 24]]  # fmt: skip


def test_reduce_scatter_adds_in_the_order_of_the_ring():
    """Chunk c is summed from rank c + 1 to rank c: seen where the order matters."""
    x = values(5, (20,), np.float32)
    chunks, _ = C.reduce_scatter(x)
    for c, chunk in enumerate(chunks):
        expected = np.zeros(4, np.float32)
        for k in range(5):
            expected = expected + x[(c + 1 + k) % 5, 4 * c : 4 * c + 4]
        np.testing.assert_array_equal(chunk, expected)


def test_all_gather_by_hand():
    full, messages = C.all_gather([np.array([1.0]), np.array([2.0, 3.0]), np.array([])])
    assert full.tolist() == [[1, 2, 3]] * 3
    assert messages.step.tolist() == [0, 0, 0, 1, 1, 1]
    assert messages.source.tolist() == [0, 1, 2] * 2
    assert messages.target.tolist() == [1, 2, 0] * 2
    # first each its own, then what it got from the left
    assert messages.nbytes.tolist() == [8, 16, 0, 0, 8, 16]


def test_all_gather_takes_an_array():
    full, _ = C.all_gather(np.arange(6.0).reshape(3, 2))
    assert full.tolist() == [[0, 1, 2, 3, 4, 5]] * 3


@pytest.mark.claim("DIST-03")
def test_a_rank_of_the_ring_needs_what_it_was_sent():
    """Replay the messages on separate memories: nothing else is used."""
    ranks, size = 4, 8
    x = whole_numbers(ranks, size)
    total, messages = C.ring_all_reduce(x)
    memory = [{(r, c) for c in range(ranks)} for r in range(ranks)]  # which terms of which chunk
    for step in range(2 * (ranks - 1)):
        now = messages.step == step
        sent = {}
        for source, target in zip(messages.source[now], messages.target[now], strict=True):
            first_phase = step < ranks - 1
            chunk = (source - 1 - step) % ranks if first_phase else (source - step + 3) % ranks
            sent[int(target)] = {term for term in memory[source] if term[1] == chunk}
        for target, terms in sent.items():
            memory[target] = memory[target] | terms
    assert all(len(m) == ranks * ranks for m in memory)  # each chunk complete on each rank
    np.testing.assert_array_equal(total[0], x.sum(axis=0))


@pytest.mark.claim("DIST-03")
@pytest.mark.parametrize(("ranks", "factor"), [(2, 1.0), (4, 1.5), (8, 1.75), (64, 1.96875)])
def test_bytes_of_the_ring(ranks, factor):
    x = np.zeros((ranks, 3 * ranks), np.float32)
    _, messages = C.ring_all_reduce(x)
    size = x[0].nbytes
    assert C.bytes_sent(messages, ranks=ranks).tolist() == [factor * size] * ranks
    assert C.bytes_received(messages, ranks=ranks).tolist() == [factor * size] * ranks
    assert factor == 2 * (ranks - 1) / ranks
    assert messages.step.max() + 1 == 2 * (ranks - 1)  # 2, 6, 14, 126 steps
    assert set((messages.target - messages.source) % ranks) == {1}


@pytest.mark.claim("DIST-03")
def test_bytes_of_seven_billion_gradients():
    """7e9 numbers of 2 bytes on 8 ranks, 24.5 GB: counted on a millionth of them."""
    _, messages = C.ring_all_reduce(np.zeros((8, 7_000), np.float16))
    assert C.bytes_sent(messages, ranks=8)[0] * 1e6 == 24.5e9


def test_bytes_where_the_length_does_not_divide():
    _, messages = C.ring_all_reduce(np.zeros((3, 64)))
    sent = C.bytes_sent(messages, ranks=3)
    assert sent.sum() == 2 * 2 * 64 * 8  # 2 (N - 1) S in total, exactly
    assert sent.max() / (64 * 8) == 1.34375


@pytest.mark.claim("DIST-03")
@each_all_reduce
@pytest.mark.parametrize("ranks", [2, 3, 8, 17])
def test_all_reduce_is_the_sum_on_every_rank(all_reduce, ranks):
    x = values(ranks, (5, 3))
    total, _ = all_reduce(x)
    assert total.shape == x.shape
    # the sum may cancel, so the error is measured against the size of what is added
    assert np.abs(total - x.sum(axis=0)).max() < 2e-14 * np.abs(x).max()
    for row in total[1:]:
        np.testing.assert_array_equal(row, total[0])  # the same bits everywhere


@each_all_reduce
@settings(deadline=None, max_examples=40)
@given(ranks=st.integers(2, 9), size=st.integers(0, 20), seed=st.integers(0, 99))
def test_whole_numbers_are_summed_exactly(all_reduce, ranks, size, seed):
    x = whole_numbers(ranks, size, seed)
    total, messages = all_reduce(x)
    np.testing.assert_array_equal(total, np.broadcast_to(x.sum(axis=0), x.shape))
    assert messages.nbytes.sum() == 2 * (ranks - 1) * size * 8
    sent, received = (f(messages, ranks=ranks) for f in (C.bytes_sent, C.bytes_received))
    assert sent.sum() == received.sum()


def test_all_reduce_is_reduce_scatter_then_all_gather():
    x = values(4, (10,))
    chunks, first = C.reduce_scatter(x)
    full, second = C.all_gather(chunks)
    total, messages = C.ring_all_reduce(x)
    np.testing.assert_array_equal(total, full)
    np.testing.assert_array_equal(messages.nbytes, [*first.nbytes, *second.nbytes])
    np.testing.assert_array_equal(messages.step, [*first.step, *(second.step + 3)])


# --- trees ----------------------------------------------------------------------------------------


def test_tree_by_hand():
    total, messages = C.tree_all_reduce(np.array([[1.0], [2], [3], [4], [5]]))
    assert total.ravel().tolist() == [15.0] * 5
    rows = list(zip(*(field.tolist() for field in messages[:3]), strict=True))
    assert rows == [
        (0, 4, 0), (1, 2, 0), (1, 3, 1), (2, 1, 0),  # up
        (3, 0, 1), (4, 0, 2), (4, 1, 3), (5, 0, 4),  # down
    ]  # fmt: skip
    assert set(messages.nbytes) == {8}


@pytest.mark.parametrize("ranks", [2, 3, 4, 5, 8, 64])
def test_tree_takes_a_logarithm_of_steps(ranks):
    x = np.zeros((ranks, 4))
    levels = math.ceil(math.log2(ranks))
    assert C.tree_all_reduce(x)[1].step.max() + 1 == 2 * levels
    copies = C.broadcast(x)[1]
    assert copies.step.max() + 1 == levels
    assert len(copies.step) == ranks - 1
    assert sorted(copies.target) == list(range(1, ranks))


@pytest.mark.parametrize("root", range(5))
def test_broadcast_gives_all_the_roots_array(root):
    x = values(5, (2, 2))
    copies, messages = C.broadcast(x, root=root)
    np.testing.assert_array_equal(copies, np.broadcast_to(x[root], x.shape))
    assert root not in messages.target
    have = {root}
    for source, target in zip(messages.source, messages.target, strict=True):
        assert source in have  # nobody sends what it has not got yet
        have.add(int(target))
    assert have == set(range(5))
    assert set(messages.nbytes) == {32}


def test_broadcast_begins_at_rank_0():
    assert C.broadcast([np.zeros(1), np.ones(1)])[0].tolist() == [[0.0], [0.0]]


# --- values and types -----------------------------------------------------------------------------


@each_all_reduce
def test_infinity_reaches_all_ranks(all_reduce):
    x = np.ones((3, 6))
    x[1, 4] = np.inf
    x[2, 5] = np.nan
    total, _ = all_reduce(x)
    assert np.isinf(total[:, 4]).all()
    assert np.isnan(total[:, 5]).all()
    assert (total[:, :4] == 3).all()


@each_all_reduce
def test_overflow_is_infinity_without_a_warning(all_reduce):
    total, _ = all_reduce(np.full((2, 2), 3e38, np.float32))
    assert np.isinf(total).all()
    total, _ = all_reduce([np.full(2, np.inf), np.full(2, -np.inf)])
    assert np.isnan(total).all()


@each_all_reduce
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_is_kept_and_counted(all_reduce, dtype):
    total, messages = all_reduce(np.ones((4, 8), dtype))
    assert total.dtype == dtype
    assert messages.nbytes.sum() == 2 * 3 * 8 * np.dtype(dtype).itemsize


@each_all_reduce
def test_arrays_that_are_not_contiguous(all_reduce):
    x = values(3, (6, 4))
    total, _ = all_reduce([row.T for row in x])
    assert_close(total[2], x.sum(axis=0).T, rtol=1e-12)  # three numbers, without much cancellation


def test_numbers_of_no_dimension():
    assert C.ring_all_reduce([1.0, 2.0, 3.0])[0].tolist() == [6.0, 6.0, 6.0]


def test_fields_of_messages_are_integers():
    messages = C.ring_all_reduce(np.ones((2, 2)))[1]
    assert all(field.dtype == np.int64 for field in messages)


@pytest.mark.parametrize("ranks", [0, 1])
@pytest.mark.parametrize(
    "function",
    [C.reduce_scatter, C.all_gather, C.ring_all_reduce, C.tree_all_reduce, C.broadcast],
)
def test_fewer_than_two_ranks_are_refused(function, ranks):
    with pytest.raises(ValueError, match=f"{function.__name__}: number of ranks in values .*>= 2"):
        function(np.ones((ranks, 4)))


def test_ranks_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"values\[1\] must have the shape of values\[0\], \(4,\)"):
        C.ring_all_reduce([np.ones(4), np.ones(5)])
    with pytest.raises(TypeError, match=r"values\[1\] must have the dtype of values\[0\], float64"):
        C.tree_all_reduce([np.ones(4), np.ones(4, np.float32)])


def test_counting_needs_all_ranks():
    _, messages = C.broadcast(np.zeros((3, 1)))
    assert C.bytes_received(messages, ranks=4).tolist() == [0, 8, 8, 0]
    with pytest.raises(ValueError, match="bytes_received: ranks must be a whole number >= 3"):
        C.bytes_received(messages, ranks=2)


def test_counting_no_message():
    nothing = C.Messages(*np.zeros((4, 0), np.int64))
    assert C.bytes_sent(nothing, ranks=2).tolist() == [0, 0]


@pytest.mark.parametrize("values", [3.0, "ab", np.array(1.0), None])
def test_one_value_is_no_sequence_of_ranks(values):
    with pytest.raises(TypeError, match="reduce_scatter: values must be an array or a sequence"):
        C.reduce_scatter(values)
