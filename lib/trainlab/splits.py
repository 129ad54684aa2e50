"""Splitting documents into training, validation and test data, and looking for leaks.

A document's side is decided by its own text, so it never changes when others come or go, and exact
copies stay together. Near-duplicates do not: they are removed first, and n-grams that training and
held-out data share are counted afterwards.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import integer, real
from ._text_checks import documents as check_documents
from ._text_checks import string
from .near_duplicates import shingles

__all__ = ["Split", "accuracy_standard_error", "document_split", "examples_needed", "ngram_overlap"]


class Split(NamedTuple):
    """Indices of the documents on each side, in their order."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def document_split(
    documents: Sequence[str],
    *,
    validation: float = 0.05,
    test: float = 0.05,
    salt: str = "",
) -> Split:
    """Split documents by a hash of their text.

    Parameters
    ----------
    documents : list or tuple of str
        The texts, or names of what has to stay together: all pages of one site, all of one author.
    validation, test : float
        Expected shares, in [0, 1]; together at most 1.
    salt : str
        Another salt gives another split.

    Returns
    -------
    Split

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.

    Notes
    -----
    The SHA-256 digest of salt and text gives u in [0, 1). The document is test data if u < test,
    validation data if u < test + validation, training data otherwise. Test data stay test data
    when `test` grows. The shares hold on average: with n documents their standard error is
    √(f(1 − f)/n).

    Examples
    --------
    >>> split = document_split([f"document {i}" for i in range(1000)], test=0.1)
    >>> [len(side) for side in split]
    [845, 53, 102]
    """
    texts = check_documents(documents, "documents")
    validation = real(validation, "validation", low=0, high=1)
    test = real(test, "test", low=0, high=1)
    if validation + test > 1:
        raise ValueError(
            "document_split: validation and test must not exceed 1 together; "
            f"got {validation:g} + {test:g}"
        )
    salt = string(salt, "salt")
    u = np.array([_uniform(salt, text) for text in texts], np.float64)
    held_out = u < test + validation
    return Split(
        np.flatnonzero(~held_out), np.flatnonzero(held_out & (u >= test)), np.flatnonzero(u < test)
    )


def _uniform(salt: str, text: str) -> float:
    # The length of the salt is hashed too: salt "a" with text "b" is not salt "" with text "ab".
    data = f"{len(salt)}:{salt}{text}".encode("utf-8", "surrogatepass")
    # 53 bits are a float64 below 1, and exact.
    return (int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 11) / 2**53


def ngram_overlap(
    train: Sequence[str], held_out: Sequence[str], *, n: int = 13
) -> NDArray[np.float64]:
    """Measure for each held-out document how much of it stands in the training data.

    Parameters
    ----------
    train, held_out : list or tuple of str
    n : int
        Words in an n-gram, >= 1. Case and punctuation are ignored.

    Returns
    -------
    array of float64, shape (held-out documents,)
        Share of its different n-grams that occur in some training document; 0 if it has no word.
        A document of fewer than n words is one n-gram, found only in one that is equally short.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Notes
    -----
    GPT-3 looked for common runs of 13 words to find benchmarks in its training data.

    References
    ----------
    Brown et al. (2020), Language Models are Few-Shot Learners.

    Examples
    --------
    >>> ngram_overlap(["the cat sat on the mat"], ["The cat sat!", "a dog sat on"], n=2).tolist()
    [1.0, 0.3333333333333333]
    """
    seen, asked = check_documents(train, "train"), check_documents(held_out, "held_out")
    n = integer(n, "n", low=1)
    known = [shingles(text, n=n) for text in seen]
    union = np.unique(np.concatenate(known)) if known else np.zeros(0, np.uint64)
    overlap = np.zeros(len(asked))
    for i, text in enumerate(asked):
        own = shingles(text, n=n)
        overlap[i] = np.isin(own, union).mean() if len(own) else 0.0
    return overlap


def accuracy_standard_error(accuracy: float, *, count: int) -> float:
    """Standard error of an accuracy that was measured on `count` examples.

    Parameters
    ----------
    accuracy : float
        In [0, 1].
    count : int
        Independent examples of the held-out set, >= 1.

    Returns
    -------
    float
        In the units of `accuracy`: 0.01 is one percentage point.

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.

    Notes
    -----
    √(a(1 − a)/count). The size of a test set follows from the error bar that one wants, not from a
    share of the data.

    Examples
    --------
    >>> [round(100 * accuracy_standard_error(0.9, count=10**k), 3) for k in (2, 3, 4, 5)]
    [3.0, 0.949, 0.3, 0.095]
    """
    accuracy = real(accuracy, "accuracy", low=0, high=1)
    count = integer(count, "count", low=1)
    return math.sqrt(accuracy * (1 - accuracy) / count)


def examples_needed(accuracy: float, *, standard_error: float) -> int:
    """Count the held-out examples that give an accuracy the wanted standard error.

    Parameters
    ----------
    accuracy : float
        The accuracy that is expected, in [0, 1].
    standard_error : float
        > 0.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.

    Examples
    --------
    >>> examples_needed(0.9, standard_error=0.001)
    90000
    """
    accuracy = real(accuracy, "accuracy", low=0, high=1)
    standard_error = real(standard_error, "standard_error", low=0, closed="neither")
    # 0.9 is not exact in binary: without the margin 90000 would become 90001.
    return max(1, math.ceil(accuracy * (1 - accuracy) / standard_error**2 * (1 - 1e-12)))
