"""Splits by document, leaks, error bars."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.near_duplicates import near_duplicate_clusters
from trainlab.splits import (
    accuracy_standard_error,
    document_split,
    examples_needed,
    ngram_overlap,
)

DOCUMENTS = [f"document {i}" for i in range(4000)]


def test_every_document_has_one_side():
    split = document_split(DOCUMENTS, validation=0.2, test=0.1)
    np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(4000))
    for side, share in zip(split, (0.7, 0.2, 0.1), strict=True):
        assert (np.diff(side) > 0).all()
        # Four standard errors.
        assert abs(len(side) / 4000 - share) < 4 * accuracy_standard_error(share, count=4000)


def test_five_percent_each_by_default():
    split, explicit = (
        document_split(DOCUMENTS),
        document_split(DOCUMENTS, validation=0.05, test=0.05),
    )
    for a, b in zip(split, explicit, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_side_follows_from_the_hash():
    digests = [hashlib.sha256(f"1:x{text}".encode()).digest() for text in DOCUMENTS[:50]]
    u = [int.from_bytes(d[:8], "big") / 2**64 for d in digests]
    split = document_split(DOCUMENTS[:50], validation=0.3, test=0.2, salt="x")
    assert split.test.tolist() == [i for i in range(50) if u[i] < 0.2]
    assert split.validation.tolist() == [i for i in range(50) if 0.2 <= u[i] < 0.5]


def test_nobody_changes_sides_when_others_come():
    few, all_ = document_split(DOCUMENTS[1000:2000]), document_split(DOCUMENTS)
    for a, b in zip(few, all_, strict=True):
        np.testing.assert_array_equal(a + 1000, b[(b >= 1000) & (b < 2000)])


def test_test_documents_stay_test_documents_when_the_share_grows():
    small, large = document_split(DOCUMENTS, test=0.05), document_split(DOCUMENTS, test=0.2)
    assert set(small.test) < set(large.test)
    assert set(large.train) < set(small.train)


def test_another_salt_is_another_split():
    a, b = document_split(DOCUMENTS), document_split(DOCUMENTS, salt="b")
    assert set(a.test) != set(b.test)
    # Not the same as a salt of "" and a text that begins with it.
    c = document_split(["b" + text for text in DOCUMENTS])
    assert set(b.test) != set(c.test)


def test_all_or_nothing():
    assert len(document_split(DOCUMENTS, validation=0, test=1).test) == 4000
    assert len(document_split(DOCUMENTS, validation=1, test=0).validation) == 4000
    assert len(document_split(DOCUMENTS, validation=0, test=0).train) == 4000
    assert [len(side) for side in document_split([])] == [0, 0, 0]


def test_overlap_by_hand():
    train = ["the cat sat on the mat", "a dog"]
    held_out = ["The cat sat, on a mat", "a dog", "a dog barks", "", "x"]
    # the-cat, cat-sat, sat-on of five pairs; "a dog"; a-dog of two; none; none
    assert ngram_overlap(train, held_out, n=2).tolist() == [0.6, 1.0, 0.5, 0.0, 0.0]
    assert ngram_overlap([], held_out, n=2).tolist() == [0.0] * 5
    assert ngram_overlap(train, []).shape == (0,)


def test_thirteen_words_by_default():
    words = [f"w{i}" for i in range(14)]
    assert ngram_overlap([" ".join(words[:13])], [" ".join(words)]).tolist() == [0.5]


@pytest.mark.claim("DATA-04")
def test_no_common_document_is_not_no_leak():
    """Half of the texts have an edited copy: the split shares no document, and leaks."""
    rng = np.random.default_rng(0)
    documents = []
    for i in range(200):
        words = [f"w{k}" for k in rng.integers(1000, size=80)]
        documents.append(" ".join(words))
        if i % 2:
            words[int(rng.integers(80))] = "edited"
            documents.append(" ".join(words))
    split = document_split(documents, test=0.3)
    train, test = ([documents[i] for i in side] for side in (split.train, split.test))
    assert not set(train) & set(test)
    assert (ngram_overlap(train, test) > 0.5).mean() > 0.3

    clusters = near_duplicate_clusters(documents, rng=rng, threshold=0.7)
    kept = [text for i, text in enumerate(documents) if clusters[i] == i]
    assert len(kept) == 200
    split = document_split(kept, test=0.3)
    train, test = ([kept[i] for i in side] for side in (split.train, split.test))
    assert ngram_overlap(train, test).max() == 0


@pytest.mark.claim("DATA-03")
def test_a_test_set_is_as_large_as_its_error_bar_wants():
    points = [100 * accuracy_standard_error(0.9, count=10**k) for k in (2, 3, 4, 5)]
    assert_close(points, [3.0, 0.9487, 0.3, 0.09487], rtol=1e-4)  # four digits are given
    assert examples_needed(0.9, standard_error=0.003) == 10_000
    # One percent of a large corpus is far more than enough: a tenth of a point.
    assert examples_needed(0.9, standard_error=0.001) == 90_000


def test_standard_error_is_that_of_a_simulation():
    accuracies = np.random.default_rng(0).binomial(50, 0.8, size=20_000) / 50
    # A spread from 20,000 numbers has a relative error of 1/√40,000; four of them.
    assert_close(accuracies.std(), accuracy_standard_error(0.8, count=50), rtol=0.02)


def test_examples_needed_is_the_inverse():
    for accuracy in (0.5, 0.73, 0.99):
        count = examples_needed(accuracy, standard_error=0.004)
        assert accuracy_standard_error(accuracy, count=count) <= 0.004 * (1 + 1e-9)
        assert accuracy_standard_error(accuracy, count=count - 1) > 0.004
    assert examples_needed(1.0, standard_error=0.1) == 1
    assert examples_needed(0.5, standard_error=10) == 1


@pytest.mark.claim("DATA-08")
def test_choosing_on_the_test_set_makes_it_optimistic():
    """The best of 100 equal models reads 2.5 standard errors too high, on other data not."""
    rng = np.random.default_rng(0)
    error = accuracy_standard_error(0.9, count=1000)
    chosen_on, fresh = rng.binomial(1000, 0.9, size=(2, 2000, 100)) / 1000
    best = chosen_on.argmax(axis=1)
    # The largest of 100 normal numbers is 2.508 on average; counts are not quite normal.
    assert_close((chosen_on.max(axis=1).mean() - 0.9) / error, 2.508, rtol=0.05)
    unseen = fresh[np.arange(2000), best].mean()
    assert abs(unseen - 0.9) < 4 * error / 2000**0.5
