"""Contract cases of cleaning, near-duplicates, splits, tokenization and packing."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import near_duplicates as D
from trainlab import packing as P
from trainlab import splits as S
from trainlab import text_cleaning as C
from trainlab import tokenization as T

BAD_RNG = [0, None, np.random.RandomState(0)]
BAD_TEXT = [None, 1, "\ud800", ["a", 1], ["\udfff"]]
BAD_WORDS = [0, -1, 1.5, None]
BAD_SHARE = [-0.1, 1.1, np.nan, "0.1", None]
BAD_LENGTH = [0, 2.0, None]
BAD_TOKENIZER = [None, (), "low"]
BAD_IDS = [[258], [-1], [[1]], [0.5], ["a"], 3, [[1], [1, 2]], None]
BAD_HASHES = [None, [1, 2], np.arange(3), np.zeros((2, 2), np.int32)]
BAD_DOCUMENTS = ["text", None, [1], ["a", b"b"], 3]

TEXT = "low lower lowest low, and a café 🙂"
TOKENIZER = T.train_bpe(TEXT, merges=1, special_tokens=["<|end|>"])
DOCUMENTS = ["one two three four five", "six seven eight", "One two three four five!", ""]


def _signatures():
    sets = [D.shingles(text, n=2) for text in DOCUMENTS]
    return D.minhash(sets, num_hashes=8, rng=np.random.default_rng(0))


CASES = [
    Case(
        C.clean_text,
        lambda rng, dtype: {"text": "Cafe\u0301 \r\n\r\n\r\n\x00 10²"},
        {"text": [None, b"bytes", 1, ["a"]]},
        keeps_dtype=False,
    ),
    Case(
        C.quality_problems,
        lambda rng, dtype: {"text": TEXT},
        {
            "text": [None, b"bytes", 1],
            "min_words": BAD_WORDS,
            "max_words": [*BAD_WORDS, 49],
            "max_symbols": [-0.1, np.nan, "0.1"],
            "max_bullets": BAD_SHARE,
            "max_ellipses": BAD_SHARE,
            "min_alphabetic": BAD_SHARE,
            "min_stop_words": [-1, 9, 2.0],
            "max_repeated": BAD_SHARE,
        },
        keeps_dtype=False,
    ),
    Case(
        D.shingles,
        lambda rng, dtype: {"text": TEXT, "n": 2},
        {"text": [None, b"bytes", 1], "n": BAD_WORDS},
        keeps_dtype=False,
    ),
    Case(
        D.jaccard,
        lambda rng, dtype: {"a": D.shingles("a b c", n=1), "b": D.shingles("b c d", n=1)},
        {"a": [*BAD_HASHES, _signatures()], "b": [*BAD_HASHES, _signatures()]},
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"a": np.zeros(0, np.uint64), "b": np.zeros(0, np.uint64)}],
    ),
    Case(
        D.minhash,
        lambda rng, dtype: {"sets": [D.shingles(TEXT, n=2)], "num_hashes": 4, "rng": rng},
        {
            "sets": [None, "text", [[1]], [_signatures()], 3],
            "num_hashes": BAD_WORDS,
            "rng": BAD_RNG,
        },
        keeps_dtype=False,
    ),
    Case(
        D.estimate_jaccard,
        lambda rng, dtype: {"signature": _signatures(), "other": _signatures()[0]},
        {
            "signature": [*BAD_HASHES, np.uint64(1)],
            "other": [*BAD_HASHES, np.zeros((4, 3), np.uint64), np.zeros(0, np.uint64)],
        },
        keeps_dtype=False,
    ),
    Case(
        D.jaccard_standard_error,
        lambda rng, dtype: {"similarity": 0.5, "num_hashes": 4},
        {"similarity": BAD_SHARE, "num_hashes": BAD_WORDS},
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"similarity": 0.0, "num_hashes": 1}],
    ),
    Case(
        D.lsh_probability,
        lambda rng, dtype: {"similarity": rng.random(5), "bands": 3, "rows": 2},
        {"similarity": [-0.1, 1.1, np.nan, "0.1", None], "bands": BAD_WORDS, "rows": BAD_WORDS},
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"similarity": [0, 1], "bands": 1000, "rows": 1000}],
    ),
    Case(
        D.candidate_pairs,
        lambda rng, dtype: {"signatures": _signatures(), "bands": 4},
        {"signatures": [*BAD_HASHES, np.zeros(3, np.uint64)], "bands": [*BAD_WORDS, 3, 16]},
        keeps_dtype=False,
    ),
    Case(
        D.exact_duplicates,
        lambda rng, dtype: {"documents": DOCUMENTS},
        {"documents": BAD_DOCUMENTS},
        keeps_dtype=False,
    ),
    Case(
        D.near_duplicate_clusters,
        lambda rng, dtype: {"documents": DOCUMENTS, "rng": rng},
        {
            "documents": BAD_DOCUMENTS,
            "rng": BAD_RNG,
            "threshold": [0, *BAD_SHARE],
            "n": BAD_WORDS,
            "bands": BAD_WORDS,
            "rows": BAD_WORDS,
        },
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"documents": [], "rng": rng}],
    ),
    Case(
        S.document_split,
        lambda rng, dtype: {"documents": DOCUMENTS, "validation": 0.3, "test": 0.3},
        {
            "documents": BAD_DOCUMENTS,
            "validation": [*BAD_SHARE, 0.71],
            "test": [*BAD_SHARE, 0.71],
            "salt": [None, 1, b"salt"],
        },
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"documents": []}],
    ),
    Case(
        S.ngram_overlap,
        lambda rng, dtype: {"train": DOCUMENTS[:2], "held_out": DOCUMENTS[2:], "n": 2},
        {"train": BAD_DOCUMENTS, "held_out": BAD_DOCUMENTS, "n": BAD_WORDS},
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"train": [], "held_out": ["", "a"]}],
    ),
    Case(
        S.accuracy_standard_error,
        lambda rng, dtype: {"accuracy": 0.9, "count": 100},
        {"accuracy": BAD_SHARE, "count": BAD_WORDS},
        keeps_dtype=False,
    ),
    Case(
        S.examples_needed,
        lambda rng, dtype: {"accuracy": 0.9, "standard_error": 0.01},
        {"accuracy": BAD_SHARE, "standard_error": [0, -0.1, np.inf, None]},
        keeps_dtype=False,
    ),
    Case(
        T.pre_tokenize,
        lambda rng, dtype: {"text": TEXT},
        {"text": [None, 1, "\ud800", ["a"]]},
        keeps_dtype=False,
    ),
    Case(
        T.train_bpe,
        lambda rng, dtype: {"text": [TEXT, b"\xff\xff low"], "merges": 5},
        {
            "text": BAD_TEXT,
            "merges": [-1, 1.5, None],
            "min_frequency": BAD_WORDS,
            "special_tokens": ["<|end|>", [""], ["a", "a"], [1], None, b"end"],
        },
        keeps_dtype=False,
    ),
    Case(
        T.encode,
        lambda rng, dtype: {"tokenizer": TOKENIZER, "text": TEXT},
        {
            "tokenizer": BAD_TOKENIZER,
            "text": [None, 1, "a\udfff", ["a"]],
            "special": [None, 1, "yes"],
        },
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"tokenizer": TOKENIZER, "text": ""}],
    ),
    Case(
        T.decode_bytes,
        lambda rng, dtype: {"tokenizer": TOKENIZER, "ids": rng.integers(258, size=9)},
        {"tokenizer": BAD_TOKENIZER, "ids": BAD_IDS},
        keeps_dtype=False,
    ),
    Case(
        T.decode,
        lambda rng, dtype: {"tokenizer": TOKENIZER, "ids": rng.integers(258, size=9)},
        {"tokenizer": BAD_TOKENIZER, "ids": BAD_IDS, "errors": ["ignore", None, []]},
        keeps_dtype=False,
    ),
    Case(
        T.bytes_per_token,
        lambda rng, dtype: {"tokenizer": TOKENIZER, "text": TEXT},
        {"tokenizer": BAD_TOKENIZER, "text": ["", b"", None, "\ud800"]},
        keeps_dtype=False,
    ),
    *[
        Case(
            func,
            lambda rng, dtype: {
                "documents": [rng.integers(9, size=n) for n in (3, 0, 5, 1)],
                "length": 4,
                "end_of_text": 9,
            },
            {
                "documents": [None, "text", [1], [[0.5]], [[-1]], [["a"]], [[[1]]], 3],
                "length": BAD_LENGTH,
                "end_of_text": [-1, 1.5, None],
            },
            keeps_dtype=False,
            extreme=[lambda rng, dtype: {"documents": [], "length": 1, "end_of_text": 0}],
        )
        for func in (P.pack, P.pack_stream)
    ],
    Case(
        P.best_fit,
        lambda rng, dtype: {"lengths": rng.integers(9, size=5), "length": 8},
        {"lengths": [[9], [-1], [[1]], [0.5], "ab", None, 3], "length": BAD_LENGTH},
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"lengths": [], "length": 1}],
    ),
    Case(
        P.document_mask,
        lambda rng, dtype: {"document_ids": [[0, 0, 1, -1]]},
        {"document_ids": [[0, 1], [[-2]], [[0.5]], None, "ab"]},
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"document_ids": np.zeros((0, 4), int)}],
    ),
    Case(
        P.useful_share,
        lambda rng, dtype: {"lengths": [3, 8, 1], "length": 8},
        {
            "lengths": [[], [0], [9], [-1], [[1]], [0.5], None],
            "length": BAD_LENGTH,
            "method": ["pad", None],
            "batch_size": BAD_LENGTH,
        },
        keeps_dtype=False,
    ),
]
