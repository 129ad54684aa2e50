"""Near-duplicate documents: MinHash signatures and locality-sensitive hashing.

Two documents are nearly the same if the sets of their shingles (runs of n words) are. Comparing all
sets takes too long. The smallest hash of a set is the same for two sets with probability J, their
Jaccard similarity: a few hundred such minima are a signature that estimates J, and documents that
share one *band* of it are the only ones compared.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import array, generator, integer, real
from ._text_checks import documents as check_documents
from ._text_checks import hashes, string

__all__ = [
    "candidate_pairs",
    "estimate_jaccard",
    "exact_duplicates",
    "jaccard",
    "jaccard_standard_error",
    "lsh_probability",
    "minhash",
    "near_duplicate_clusters",
    "shingles",
]

Hashes = NDArray[np.uint64]

BLOCK = 4096  # shingles hashed at once: a long document does not fill the memory


def shingles(text: str, *, n: int = 5) -> Hashes:
    """Hash each run of n words of a text.

    Parameters
    ----------
    text : str
        Case and everything between words is ignored.
    n : int
        Words in a shingle, >= 1. A text of fewer words is one shingle.

    Returns
    -------
    array of uint64
        The different hashes, sorted; empty if the text has no word.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Notes
    -----
    The hashes are the same in every process and on every machine; those of Python's `hash` are not.
    Different shingles share a hash with probability 2⁻⁶⁴.

    References
    ----------
    Broder (1997), On the resemblance and containment of documents.

    Examples
    --------
    >>> len(shingles("a rose is a rose is a rose", n=4))
    3
    """
    n = integer(n, "n", low=1)
    words = re.findall(r"\w+", string(text, "text").casefold())
    if not words:
        return np.zeros(0, np.uint64)
    known = {word: _digest(word) for word in set(words)}
    hashed = np.array([known[word] for word in words], np.uint64)
    n = min(n, len(words))
    count = len(words) - n + 1
    mixed = np.zeros(count, np.uint64)
    for i in range(n):  # the position counts: "a b" is not "b a"
        mixed = _mix(mixed + hashed[i : i + count])
    return np.unique(mixed)


def _digest(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _mix(x: Hashes) -> Hashes:
    """Scramble 64 bits so that every bit of the result depends on every bit of x (SplitMix64)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def jaccard(a: Any, b: Any) -> float:
    """Jaccard similarity of two sets of shingles: what both have over what either has.

    Parameters
    ----------
    a, b : arrays of uint64
        Sets, as `shingles` returns them.

    Returns
    -------
    float
        In [0, 1]; two empty sets are alike, 1.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Examples
    --------
    >>> jaccard(shingles("one two three", n=1), shingles("two three four", n=1))
    0.5
    """
    a, b = hashes(a, "a", ndim=1), hashes(b, "b", ndim=1)
    both = len(np.intersect1d(a, b))
    either = len(np.union1d(a, b))
    return both / either if either else 1.0


def minhash(sets: Sequence[Any], *, num_hashes: int = 128, rng: np.random.Generator) -> Hashes:
    """Compute the MinHash signature of each set of shingles.

    Parameters
    ----------
    sets : sequence of arrays of uint64
        One set for each document, as `shingles` returns them.
    num_hashes : int
        Length of a signature, >= 1.
    rng : numpy.random.Generator
        Draws the hash functions: only signatures of one call can be compared, or of calls with
        generators in the same state.

    Returns
    -------
    array of uint64, shape (documents, num_hashes)
        An empty set has the largest number everywhere.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Notes
    -----
    Entry k is the minimum of h_k over the set. The element of A ∪ B with the smallest h_k is any of
    them with the same probability, and A and B agree in entry k just if it belongs to both:
    P(agree) = |A ∩ B| / |A ∪ B|.

    References
    ----------
    Broder (1997), On the resemblance and containment of documents.

    Examples
    --------
    >>> sets = [shingles("one two three", n=1), shingles("three two one", n=1)]
    >>> signatures = minhash(sets, num_hashes=4, rng=np.random.default_rng(0))
    >>> signatures.shape, bool((signatures[0] == signatures[1]).all())
    ((2, 4), True)
    """
    checked = [hashes(a, "sets", ndim=1) for a in _sequence(sets)]
    num_hashes = integer(num_hashes, "num_hashes", low=1)
    generator(rng)
    salts = rng.integers(2**64, size=num_hashes, dtype=np.uint64)
    signatures = np.full((len(checked), num_hashes), 2**64 - 1, np.uint64)
    for row, a in zip(signatures, checked, strict=True):
        for start in range(0, len(a), BLOCK):
            hashed = _mix(salts[:, np.newaxis] ^ a[start : start + BLOCK])  # (num_hashes, block)
            np.minimum(row, hashed.min(axis=1), out=row)
    return signatures


def estimate_jaccard(signature: Any, other: Any) -> Any:
    """Estimate the Jaccard similarity by the share of equal entries of two signatures.

    Parameters
    ----------
    signature, other : arrays of uint64, shape (..., num_hashes)
        From `minhash`; the leading axes broadcast.

    Returns
    -------
    float or array of float64
        In [0, 1]; `jaccard_standard_error` says how exact.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Examples
    --------
    >>> a, b = np.array([[1, 2, 3, 4], [1, 2, 7, 8]], np.uint64)
    >>> estimate_jaccard(a, b)
    0.5
    """
    a, b = hashes(signature, "signature"), hashes(other, "other")
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1:] != b.shape[-1:] or a.shape[-1] == 0:
        raise ValueError(
            "estimate_jaccard: other must be a signature as long as signature, "
            f"{a.shape}; got {b.shape}"
        )
    share = (a == b).mean(axis=-1)
    return float(share) if share.ndim == 0 else share


def jaccard_standard_error(similarity: float, *, num_hashes: int) -> float:
    """Standard error of the estimate: that of a coin thrown num_hashes times.

    Parameters
    ----------
    similarity : float
        The true Jaccard similarity, in [0, 1].
    num_hashes : int
        Length of the signature, >= 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.

    Notes
    -----
    √(s(1 − s)/num_hashes).

    Examples
    --------
    >>> jaccard_standard_error(0.5, num_hashes=100)
    0.05
    """
    similarity = real(similarity, "similarity", low=0, high=1)
    num_hashes = integer(num_hashes, "num_hashes", low=1)
    return math.sqrt(similarity * (1 - similarity) / num_hashes)


def lsh_probability(similarity: Any, *, bands: int, rows: int) -> Any:
    """Probability that two documents become candidates: the S-curve.

    Parameters
    ----------
    similarity : float or array
        Jaccard similarity, in [0, 1].
    bands, rows : int
        The signature of bands · rows entries is cut into bands of so many rows; >= 1.

    Returns
    -------
    float or array of float64

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.

    Notes
    -----
    All rows of a band agree with probability s^r, so none of the b bands does with (1 − s^r)^b:
    P = 1 − (1 − s^r)^b. It rises most steeply near s = (1/b)^(1/r).

    References
    ----------
    Leskovec, Rajaraman, Ullman (2014), Mining of Massive Datasets, chapter 3.

    Examples
    --------
    >>> [round(float(p), 4) for p in lsh_probability([0.2, 0.5, 0.8], bands=20, rows=5)]
    [0.0064, 0.4701, 0.9996]
    """
    s = array(similarity, "similarity", nonempty=False)
    bands, rows = integer(bands, "bands", low=1), integer(rows, "rows", low=1)
    if s.size and not (s.min() >= 0 and s.max() <= 1):
        raise ValueError(
            f"lsh_probability: similarity must be in [0, 1]; got {s.min():g} to {s.max():g}"
        )
    probability = 1 - (1 - s**rows) ** bands
    return float(probability) if probability.ndim == 0 else probability


def candidate_pairs(signatures: Any, *, bands: int) -> NDArray[np.int64]:
    """Find the pairs of documents that share at least one band of their signatures.

    Parameters
    ----------
    signatures : array of uint64, shape (documents, num_hashes)
        From `minhash`.
    bands : int
        Divides num_hashes; >= 1.

    Returns
    -------
    array of int64, shape (pairs, 2)
        Pairs i < j, sorted.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Examples
    --------
    >>> signatures = np.array([[1, 2, 3, 4], [1, 2, 7, 8], [1, 9, 7, 9]], np.uint64)
    >>> candidate_pairs(signatures, bands=2).tolist()
    [[0, 1]]
    """
    signatures = hashes(signatures, "signatures", ndim=2)
    bands = integer(bands, "bands", low=1)
    count, length = signatures.shape
    if length % bands:
        raise ValueError(
            f"candidate_pairs: bands must divide the length of the signatures, {length}; "
            f"got {bands}"
        )
    found: set[tuple[int, int]] = set()
    rows = length // bands
    for start in range(0, length, rows):
        buckets: dict[bytes, list[int]] = {}
        for i in range(count):
            bucket = buckets.setdefault(signatures[i, start : start + rows].tobytes(), [])
            found.update((j, i) for j in bucket)
            bucket.append(i)
    return np.array(sorted(found), np.int64).reshape(-1, 2)  # (pairs, 2), also without any


def exact_duplicates(documents: Sequence[str]) -> NDArray[np.int64]:
    """For each document, find the first one that is the same, character by character.

    Parameters
    ----------
    documents : list or tuple of str

    Returns
    -------
    array of int64, shape (documents,)
        Index of the first one alike: a document is new if it is its own.

    Raises
    ------
    TypeError
        If `documents` holds something else.

    Notes
    -----
    Compares SHA-256 digests, so the texts need not stay in memory.

    Examples
    --------
    >>> exact_duplicates(["a", "b", "a", "a "]).tolist()
    [0, 1, 0, 3]
    """
    first: dict[bytes, int] = {}
    texts = check_documents(documents, "documents")
    digests = (hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest() for t in texts)
    return np.array([first.setdefault(d, i) for i, d in enumerate(digests)], np.int64)


def near_duplicate_clusters(
    documents: Sequence[str],
    *,
    rng: np.random.Generator,
    threshold: float = 0.8,
    n: int = 5,
    bands: int = 20,
    rows: int = 10,
) -> NDArray[np.int64]:
    """Put documents that are nearly the same into clusters.

    Parameters
    ----------
    documents : list or tuple of str
    rng : numpy.random.Generator
        Draws the hash functions.
    threshold : float
        Smallest Jaccard similarity of near-duplicates, in (0, 1].
    n : int
        Words in a shingle, >= 1.
    bands, rows : int
        Of the signatures; >= 1. They decide which pairs are looked at, see `lsh_probability`.

    Returns
    -------
    array of int64, shape (documents,)
        Index of the first document of the cluster; keep those that are their own.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Notes
    -----
    The similarity of candidate pairs is computed exactly, so that chance can miss a pair but never
    invent one. Clusters are chains of near-duplicates: their ends may be less alike than the
    threshold.

    References
    ----------
    Lee, Ippolito, Nystrom, Zhang, Eck, Callison-Burch, Carlini (2022), Deduplicating Training Data
    Makes Language Models Better.

    Examples
    --------
    >>> documents = ["It was a dark and stormy night.", "Call me Ishmael, please.",
    ...              "it was a dark and stormy NIGHT"]
    >>> near_duplicate_clusters(documents, rng=np.random.default_rng(0)).tolist()
    [0, 1, 0]
    """
    texts = check_documents(documents, "documents")
    threshold = real(threshold, "threshold", low=0, high=1, closed="right")
    bands, rows = integer(bands, "bands", low=1), integer(rows, "rows", low=1)
    n = integer(n, "n", low=1)
    generator(rng)
    sets = [shingles(text, n=n) for text in texts]
    signatures = minhash(sets, num_hashes=bands * rows, rng=rng)
    first = np.arange(len(texts))
    for i, j in candidate_pairs(signatures, bands=bands):
        if first[i] != first[j] and jaccard(sets[i], sets[j]) >= threshold:
            low, high = sorted((first[i], first[j]))
            first[first == high] = low
    return first


def _sequence(sets: Any) -> Sequence[Any]:
    if not isinstance(sets, (list, tuple)):
        raise TypeError(
            f"minhash: sets must be a list or tuple of arrays of uint64; got {type(sets).__name__}"
        )
    return sets
