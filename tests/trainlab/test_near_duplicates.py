"""Shingles, MinHash, banding and clusters."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainlab.closeness import assert_close
from trainlab import near_duplicates
from trainlab.near_duplicates import (
    candidate_pairs,
    estimate_jaccard,
    exact_duplicates,
    jaccard,
    jaccard_standard_error,
    lsh_probability,
    minhash,
    near_duplicate_clusters,
    shingles,
)

WORDS = [f"word{i}" for i in range(60)]


def _document(rng, count=100):
    return [WORDS[i] for i in rng.integers(len(WORDS), size=count)]


def _sets(rng, both, only):
    """Two sets with a Jaccard similarity of both/(both + 2 only)."""
    drawn = rng.integers(2**64, size=both + 2 * only, dtype=np.uint64)
    return np.sort(drawn[: both + only]), np.sort(np.delete(drawn, np.s_[both : both + only]))


@pytest.mark.parametrize(("n", "count"), [(1, 3), (2, 3), (3, 3), (4, 3), (8, 1), (9, 1)])
def test_different_shingles_of_a_rose(n, count):
    """Broder's example has three shingles of four words."""
    assert len(shingles("a rose is a rose is a rose", n=n)) == count


def test_shingles_have_five_words_by_default():
    assert len(shingles(" ".join(WORDS[:7]))) == 3


def test_case_and_punctuation_do_not_count_but_order_does():
    a = shingles("It's a dark, STORMY night!", n=2)
    np.testing.assert_array_equal(a, shingles("it s a dark stormy night", n=2))
    assert jaccard(shingles("a b", n=2), shingles("b a", n=2)) == 0
    assert jaccard(shingles("a b c", n=2), shingles("b c d", n=2)) == 1 / 3
    assert shingles("?! 🙂").shape == (0,)


def test_a_short_text_is_one_shingle_of_its_own_length():
    np.testing.assert_array_equal(shingles("a b", n=5), shingles("a b", n=2))


def test_hashes_are_the_same_in_another_process():
    code = (
        "import numpy as np; from trainlab.near_duplicates import *\n"
        "s = minhash([shingles('one two three', n=2)], num_hashes=2, rng=np.random.default_rng(0))"
        "\nprint(*shingles('one two three', n=2), *s[0])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in ("1", "2")
    ]
    own = shingles("one two three", n=2)
    signature = minhash([own], num_hashes=2, rng=np.random.default_rng(0))
    assert runs[0] == runs[1] == " ".join(map(str, [*own, *signature[0]])) + "\n"


def test_the_bits_of_a_hash_are_balanced_and_independent():
    """SplitMix64 of 0, 1, 2 …: each bit is set in half of 4096 numbers, within 5 sigma."""
    bits = near_duplicates._mix(np.arange(4096, dtype=np.uint64))[:, None] >> np.arange(
        64, dtype=np.uint64
    )
    share = (bits & np.uint64(1)).mean(axis=0)
    assert np.abs(share - 0.5).max() < 5 * 0.5 / 64
    # The first two numbers of the published generator with state 0.
    state = np.array([0, 0x9E3779B97F4A7C15], np.uint64)
    known = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert near_duplicates._mix(state).tolist() == known


def test_jaccard_by_hand():
    a, b = np.array([1, 2, 3], np.uint64), np.array([2, 3, 4, 5], np.uint64)
    assert jaccard(a, b) == 2 / 5
    assert jaccard(a, a) == 1
    empty = np.zeros(0, np.uint64)
    assert jaccard(a, empty) == 0
    assert jaccard(empty, empty) == 1


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
@settings(max_examples=50, deadline=None)
def test_jaccard_is_that_of_python_sets(a, b):
    expected = len(a & b) / len(a | b) if a | b else 1
    assert jaccard(np.array([*a], np.uint64), np.array([*b], np.uint64)) == expected


@pytest.mark.parametrize(("both", "only"), [(90, 5), (50, 25), (10, 45), (0, 20)])
def test_estimate_lies_in_the_binomial_band(both, only):
    """4000 hashes, four standard errors."""
    rng = np.random.default_rng(both)
    a, b = _sets(rng, both, only)
    exact = jaccard(a, b)
    assert_close(exact, both / (both + 2 * only))
    signatures = minhash([a, b], num_hashes=4000, rng=rng)
    error = jaccard_standard_error(exact, num_hashes=4000)
    assert abs(estimate_jaccard(*signatures) - exact) <= 4 * error


def test_the_standard_error_is_that_of_many_estimates():
    rng = np.random.default_rng(0)
    a, b = _sets(rng, 60, 20)
    signatures = minhash([a, b], num_hashes=32 * 500, rng=rng).reshape(2, 500, 32)
    estimates = estimate_jaccard(signatures[0], signatures[1])
    assert estimates.shape == (500,)
    # The relative error of a spread from 500 numbers is 1/√1000; four of them.
    expected = jaccard_standard_error(0.6, num_hashes=32)
    assert_close(estimates.std(), expected, rtol=4 / 1000**0.5)


def test_standard_error_by_hand():
    assert_close(jaccard_standard_error(0.2, num_hashes=16), 0.1)
    assert jaccard_standard_error(1.0, num_hashes=1) == 0


def test_long_sets_are_hashed_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    sets = [rng.integers(2**64, size=n, dtype=np.uint64) for n in (0, 1, 7, 8, 100)]
    whole = minhash(sets, num_hashes=5, rng=np.random.default_rng(1))
    monkeypatch.setattr(near_duplicates, "BLOCK", 7)
    parts = minhash(sets, num_hashes=5, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(whole, parts)
    assert (whole[0] == 2**64 - 1).all()
    assert minhash(sets, rng=rng).shape == (5, 128)


def test_s_curve():
    s = np.array([0.0, 0.3, 0.7, 1.0])
    assert_close(lsh_probability(s, bands=4, rows=2), 1 - (1 - s**2) ** 4)
    assert lsh_probability(0.5, bands=1, rows=1) == 0.5
    assert_close(lsh_probability(0.8, bands=2, rows=1), 0.96)
    assert_close(lsh_probability(0.8, bands=1, rows=2), 0.64)


def test_candidates_follow_the_s_curve():
    """2000 pairs of one similarity; four standard errors."""
    rng = np.random.default_rng(0)
    a, b = _sets(rng, 50, 25)
    signatures = minhash([a, b], num_hashes=2000 * 12, rng=rng).reshape(2, 2000, 12)
    found = [len(candidate_pairs(pair, bands=4)) for pair in signatures.swapaxes(0, 1)]
    expected = lsh_probability(0.5, bands=4, rows=3)
    assert abs(np.mean(found) - expected) < 4 * (expected * (1 - expected) / 2000) ** 0.5


def test_candidate_pairs_by_hand():
    rows = [[1, 2, 3, 4], [1, 2, 7, 8], [5, 6, 7, 8], [9, 9, 9, 9], [2, 1, 4, 3]]
    pairs = candidate_pairs(np.array(rows, np.uint64), bands=2)
    assert pairs.tolist() == [[0, 1], [1, 2]]
    assert candidate_pairs(np.array(rows, np.uint64), bands=1).shape == (0, 2)
    assert candidate_pairs(np.array(rows, np.uint64), bands=4).tolist() == [[0, 1], [1, 2]]


def test_exact_duplicates():
    assert exact_duplicates(["x", "y", "x", "y", "X", "x"]).tolist() == [0, 1, 0, 1, 4, 0]
    assert exact_duplicates([]).shape == (0,)
    assert exact_duplicates(["\ud800", "\ud801", "\ud800"]).tolist() == [0, 1, 0]


def test_clusters_are_those_of_all_pairs():
    """Edited copies are found, others are left, as by comparing everything with everything."""
    rng = np.random.default_rng(0)
    documents = []
    for _ in range(12):
        words = _document(rng)
        for edits in (0, 1, 2, 40):
            changed = list(words)
            for i in rng.choice(len(words), edits, replace=False):
                changed[i] = "edited"
            documents.append(" ".join(changed))
    clusters = near_duplicate_clusters(documents, rng=rng, threshold=0.7)
    sets = [shingles(text) for text in documents]
    first = np.arange(len(sets))
    for i in range(len(sets)):
        for j in range(i):
            if jaccard(sets[i], sets[j]) >= 0.7:
                first[first == first[i]] = min(first[i], first[j])
    np.testing.assert_array_equal(clusters, first)
    assert clusters[:4].tolist() == [0, 0, 0, 3]


def test_clusters_are_chains():
    """A ~ B ~ C, though A and C are less alike than the threshold; the first one names them."""
    words = WORDS[:40]
    chain = [" ".join(words[k : k + 30]) for k in (10, 5, 0)]
    other = " ".join(WORDS[40:])
    clusters = near_duplicate_clusters(
        [other, *chain], rng=np.random.default_rng(0), threshold=0.6, n=1, bands=40, rows=2
    )
    assert clusters.tolist() == [0, 1, 1, 1]
    assert jaccard(shingles(chain[0], n=1), shingles(chain[2], n=1)) == 0.5


def test_the_threshold_is_inclusive_and_0_8_by_default():
    nine = " ".join(WORDS[:9])
    more = nine + " x"  # four fifths of the shingles of 6 words are in both: 4 of 5
    assert jaccard(shingles(nine, n=6), shingles(more, n=6)) == 0.8
    wide = {"n": 6, "bands": 100, "rows": 1}
    for threshold, labels in ((0.8, [0, 0]), (0.81, [0, 1])):
        found = near_duplicate_clusters(
            [nine, more], rng=np.random.default_rng(0), threshold=threshold, **wide
        )
        assert found.tolist() == labels
    default = near_duplicate_clusters([nine, more], rng=np.random.default_rng(0), **wide)
    assert default.tolist() == [0, 0]
    seven = " ".join(WORDS[:8])  # 3 of 4
    assert near_duplicate_clusters(
        [nine, seven], rng=np.random.default_rng(0), **wide
    ).tolist() == [0, 1]
    with_defaults = near_duplicate_clusters(
        [" ".join(WORDS), " ".join(WORDS[:59])], rng=np.random.default_rng(0)
    )
    assert with_defaults.tolist() == [0, 0]


def test_documents_without_words_are_alike():
    found = near_duplicate_clusters(["", "a", "?!", "b"], rng=np.random.default_rng(0))
    assert found.tolist() == [0, 1, 0, 3]
