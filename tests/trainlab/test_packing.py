"""Packing documents into rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainlab.closeness import assert_close
from trainlab.packing import best_fit, document_mask, pack, pack_stream, useful_share

END = 99
some_documents = st.lists(st.lists(st.integers(0, 50), max_size=12), max_size=8)
few = settings(max_examples=100, deadline=None)


def _shapes(packed, length):
    for name, a in packed._asdict().items():
        assert a.shape == packed.tokens.shape
        assert a.dtype == (bool if name == "loss_mask" else np.int64)
    assert packed.tokens.shape[1] == length


def test_pack_by_hand():
    packed = pack([[1, 2, 3, 4, 5], [], [6, 7], [8]], length=3, end_of_text=END)
    assert packed.tokens.tolist() == [[1, 2, 3], [4, 5, END], [6, 7, 8]]
    assert packed.targets.tolist() == [[2, 3, 4], [5, END, END], [7, END, END]]
    assert packed.loss_mask.tolist() == [[True] * 3, [True, True, False], [True] * 3]
    assert packed.document_ids.tolist() == [[0, 0, 0], [0, 0, -1], [2, 2, 3]]
    assert packed.positions.tolist() == [[0, 1, 2], [0, 1, 0], [0, 1, 0]]


def test_stream_by_hand():
    packed = pack_stream([[1, 2, 3, 4, 5], [], [6]], length=3, end_of_text=END)
    assert packed.tokens.tolist() == [[1, 2, 3], [4, 5, END], [END, 6, END]]
    assert packed.targets.tolist() == [[2, 3, 4], [5, END, END], [6, END, END]]
    assert packed.loss_mask.tolist() == [[True] * 3, [True] * 3, [True, True, False]]
    assert packed.document_ids.tolist() == [[0, 0, 0], [0, 0, 0], [1, 2, -1]]
    assert packed.positions.tolist() == [[0, 1, 2], [0, 1, 2], [0, 0, 0]]


@pytest.mark.claim("DATA-06")
@given(some_documents, st.integers(1, 7))
@few
def test_packing_keeps_every_token(documents, length):
    """The targets are the text itself, one token later: nobody labels anything."""
    packed = pack(documents, length=length, end_of_text=END)
    _shapes(packed, length)
    mask = packed.loss_mask
    np.testing.assert_array_equal(mask, packed.document_ids >= 0)
    for a in (packed.tokens, packed.targets):
        assert (a[~mask] == END).all()
    assert (packed.positions[~mask] == 0).all()
    assert mask.sum() == sum(map(len, documents))
    for i, document in enumerate(documents):
        # A document is cut into pieces of the row's length; only the last may be shorter.
        pieces = [document[k : k + length] for k in range(0, len(document), length)]
        after = [document[k + 1 : k + 1 + length] for k in range(0, len(document), length)]
        if after:
            after[-1] = [*after[-1], END]
        own = packed.document_ids == i
        found = []
        for row in np.flatnonzero(own.any(axis=1)):
            # Two pieces of one document may share a row only if one is the short last one.
            places = np.flatnonzero(own[row])
            for piece in np.split(places, np.flatnonzero(packed.positions[row, places] == 0)[1:]):
                np.testing.assert_array_equal(packed.positions[row, piece], np.arange(len(piece)))
                np.testing.assert_array_equal(np.diff(piece), 1)
                found.append((packed.tokens[row, piece], packed.targets[row, piece]))
        expected = sorted(zip(pieces, after, strict=True))
        assert sorted((a.tolist(), b.tolist()) for a, b in found) == expected


@given(some_documents, st.integers(1, 7))
@few
def test_streaming_keeps_every_token(documents, length):
    packed = pack_stream(documents, length=length, end_of_text=END)
    _shapes(packed, length)
    stream = [token for document in documents for token in [*document, END]]
    mask = packed.loss_mask.ravel()
    assert packed.tokens.ravel()[mask].tolist() == stream[:-1]
    assert packed.targets.ravel()[mask].tolist() == stream[1:]
    assert not mask[mask.sum() :].any()
    assert mask.size - mask.sum() < length
    owner = [i for i, document in enumerate(documents) for _ in [*document, END]]
    assert packed.document_ids.ravel()[mask].tolist() == owner[:-1]
    for ids, positions in zip(packed.document_ids, packed.positions, strict=True):
        for i in np.unique(ids[ids >= 0]):
            np.testing.assert_array_equal(positions[ids == i], np.arange((ids == i).sum()))


@given(st.lists(st.integers(0, 10), max_size=30))
@few
def test_best_fit_fits_and_leaves_no_room_for_a_whole_row(lengths):
    rows = best_fit(lengths, length=10)
    filled = np.bincount(rows, weights=lengths)
    assert (filled <= 10).all()
    assert len(np.unique(rows)) == len(filled)
    if len(filled) > 1:
        # Any two rows together hold more than one: else the later one would not have been begun.
        assert np.sort(filled)[:2].sum() > 10 or 0 in lengths


def test_best_fit_takes_the_tightest_row():
    """6 and 5 begin two rows; 4 fills the first exactly, though the second has room as well."""
    assert best_fit([5, 4, 6], length=10).tolist() == [1, 0, 0]
    assert best_fit([7, 6, 3, 4], length=10).tolist() == [0, 1, 0, 1]
    # Equal rooms: the row that got its room last.
    assert best_fit([6, 6, 2], length=10).tolist() == [0, 1, 1]
    assert best_fit([10, 10, 1], length=10).tolist() == [0, 1, 2]


def test_best_fit_is_that_of_a_search_through_all_rows():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 40, size=300)
    rooms = []
    for size in sorted(lengths, reverse=True):
        fitting = [(room, i) for i, room in enumerate(rooms) if room >= size]
        if fitting:
            rooms[min(fitting)[1]] -= size
        else:
            rooms.append(40 - size)
    rows = best_fit(lengths, length=40)
    filled = np.bincount(rows, weights=lengths)
    assert sorted(filled) == sorted(40 - np.array(rooms))


def test_mask_is_causal_and_within_documents():
    ids = np.array([[4, 4, 7, 7, 7, -1, -1]])
    mask = document_mask(ids)
    for q in range(7):
        for k in range(7):
            assert mask[0, q, k] == (k <= q and ids[0, q] == ids[0, k])
    assert mask.any(axis=-1).all()
    assert document_mask(np.zeros((0, 3), int)).shape == (0, 3, 3)


def _outputs(tokens, positions, mask):
    """A small causal attention with positions, to see what a token can see."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 8))[tokens] + rng.standard_normal((50, 8))[positions]
    scores = np.where(mask, x @ x.swapaxes(-1, -2), -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights @ x / weights.sum(axis=-1, keepdims=True)


@pytest.mark.claim("DATA-02")
def test_packed_rows_compute_what_single_documents_do():
    """With the mask and the positions no token notices its neighbors; without the mask it does."""
    rng = np.random.default_rng(0)
    documents = [rng.integers(90, size=n) for n in (5, 3, 4, 8, 1)]
    packed = pack(documents, length=8, end_of_text=END)
    mask = document_mask(packed.document_ids)
    out = _outputs(packed.tokens, packed.positions, mask)
    for i, document in enumerate(documents):
        alone = _outputs(document, np.arange(len(document)), np.tri(len(document), dtype=bool))
        assert_close(out[packed.document_ids == i], alone)
    mixed = _outputs(packed.tokens, packed.positions, np.tri(8, dtype=bool))
    assert not np.allclose(mixed, out)


@pytest.mark.claim("DATA-02")
def test_padding_wastes_what_packing_uses():
    """Log-normal lengths, median 256, sigma 1, rows of 2048 tokens."""
    drawn = np.random.default_rng(0).lognormal(np.log(256), 1, 10_000)
    lengths = np.clip(drawn.astype(int), 1, 2048)
    share = {
        method: useful_share(lengths, length=2048, method=method)
        for method in ("pad_to_length", "pad_to_batch", "sorted_batches", "best_fit", "stream")
    }
    # Two digits of what is said; the draw decides the third.
    assert_close(share["pad_to_length"], 0.19, rtol=0.04)
    assert_close(share["pad_to_batch"], 0.24, rtol=0.04)
    assert share["sorted_batches"] > 0.98
    assert share["best_fit"] > 0.999
    assert share["stream"] > 0.999


def test_shares_by_hand():
    lengths = [4, 1, 2, 1, 3]
    assert useful_share(lengths, length=4) == 11 / 12
    assert useful_share(lengths, length=5, method="pad_to_length") == 11 / 25
    assert useful_share(lengths, length=4, method="stream") == 15 / 16
    assert useful_share(lengths, length=4, method="pad_to_batch", batch_size=2) == 11 / 15
    assert useful_share(lengths, length=4, method="sorted_batches", batch_size=2) == 11 / 12
    # 1,1 | 2,3 | 4
    assert useful_share([1] * 32 + [2], length=4, method="pad_to_batch") == 1  # 32 by default


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=9))
@few
def test_shares_are_those_of_the_packers(documents):
    lengths = list(map(len, documents))
    packed = pack(documents, length=6, end_of_text=END)
    assert packed.loss_mask.mean() == useful_share(lengths, length=6)
    packed = pack_stream(documents, length=6, end_of_text=END)
    assert packed.loss_mask.mean() == useful_share(lengths, length=6, method="stream")
