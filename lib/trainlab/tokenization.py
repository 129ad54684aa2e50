"""Byte-level byte-pair encoding: how text becomes token numbers, and back without loss.

A tokenizer starts from the 256 bytes and learns to join the pair of tokens that occurs most often,
again and again. Every text has an encoding, because every byte has one: there is no unknown token,
and nothing has to be lowercased, stemmed or removed first. What was encoded is decoded exactly.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import _show, integer, one_of
from ._text_checks import flag, text_or_bytes, token_ids

__all__ = ["Tokenizer", "bytes_per_token", "decode", "decode_bytes", "encode", "pre_tokenize"]
__all__ += ["train_bpe"]

Pair = tuple[int, int]

REMEMBERED_WORDS = 100_000  # encodings of words that a tokenizer keeps at most


@dataclass(frozen=True)
class Tokenizer:
    """What `train_bpe` learns: a list of merges.

    Token 0 to 255 is that byte; token 256 + i is what merge i joins; special tokens come last.

    Attributes
    ----------
    merges : tuple of pairs of int
        The tokens that are joined, in the order in which they were learned.
    special_tokens : tuple of str
        Names of tokens that stand for no text, such as ``"<|endoftext|>"``.
    """

    merges: tuple[Pair, ...]
    special_tokens: tuple[str, ...] = ()

    @property
    def vocab_size(self) -> int:
        """Number of tokens: 256 + merges + special tokens."""
        return 256 + len(self.merges) + len(self.special_tokens)

    @cached_property
    def tokens(self) -> tuple[bytes, ...]:
        """The bytes of every token; a special token's are its name."""
        tokens = [bytes([byte]) for byte in range(256)]
        for left, right in self.merges:
            tokens.append(tokens[left] + tokens[right])
        return (*tokens, *(name.encode() for name in self.special_tokens))

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """Name of a special token -> its number."""
        return {name: 256 + len(self.merges) + i for i, name in enumerate(self.special_tokens)}

    @cached_property
    def _joined(self) -> dict[Pair, int]:
        return {pair: 256 + i for i, pair in enumerate(self.merges)}

    @cached_property
    def _words(self) -> dict[str, list[int]]:
        return {}


@lru_cache(maxsize=64)
def _pattern(more_numbers: str) -> re.Pattern[str]:
    r"""Return GPT-2's pattern, written for `re`, which knows neither \p{L} nor \p{N}.

    For Python \w is \p{L}, \p{N} and the underscore, but \d only the decimal digits: the other
    numbers (², ½, Ⅷ) are given. \s has four control characters too many.
    """
    letter, number = rf"[^\W\d_{more_numbers}]", rf"[\d{more_numbers}]"
    space, ink = r"[^\S\x1c-\x1f]", r"[\S\x1c-\x1f]"
    return re.compile(
        rf"'(?:[sdmt]|ll|ve|re)| ?{letter}+| ?{number}+| ?(?:[^\w\s]|[_\x1c-\x1f])+"
        rf"|{space}+(?!{ink})|{space}+"
    )


def pre_tokenize(text: str | bytes) -> list[bytes]:
    r"""Cut a text into words, which merges do not cross.

    Parameters
    ----------
    text : str or bytes
        A str must be Unicode without lone surrogates. Bytes may be anything: those that are not
        UTF-8 stay as they are.

    Returns
    -------
    list of bytes
        Joined they are the text, in UTF-8.

    Raises
    ------
    TypeError, ValueError
        If `text` is something else.

    Notes
    -----
    The rule is GPT-2's: a word is a run of letters, of numbers or of other signs, with the space
    before it; English endings such as 's are cut off; of several spaces the last goes to the word
    that follows. Combining marks are neither letters nor numbers, as in GPT-2.

    References
    ----------
    Radford, Wu, Child, Luan, Amodei, Sutskever (2019), Language Models are Unsupervised Multitask
    Learners.

    Examples
    --------
    >>> pre_tokenize("It's 10² m,  or so")
    [b'It', b"'s", b' 10\xc2\xb2', b' m', b',', b' ', b' or', b' so']
    """
    return [_bytes(word) for word in _cut(text_or_bytes(text, "text"))]


def _cut(text: str | bytes) -> list[str]:
    # A byte that is not UTF-8 becomes a lone surrogate for a while, hence an "other sign".
    characters = text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")
    numbers = [c for c in set(characters) if c.isnumeric() and not (c.isalpha() or c.isdecimal())]
    return _pattern("".join(sorted(numbers))).findall(characters)


def _bytes(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")


def train_bpe(
    text: str | bytes | Sequence[str | bytes],
    *,
    merges: int,
    min_frequency: int = 2,
    special_tokens: Sequence[str] = (),
) -> Tokenizer:
    """Learn a byte-level tokenizer by joining the most frequent pair of tokens again and again.

    Parameters
    ----------
    text : str or bytes, or a list or tuple of them
        One document or several. The names of special tokens in it are skipped.
    merges : int
        Joins to learn, >= 0: the vocabulary has 256 + merges tokens besides the special ones.
    min_frequency : int
        Pairs that are rarer, >= 1, are not joined: then the tokenizer has fewer merges.
    special_tokens : list or tuple of str
        Tokens without text, all different and not empty.

    Returns
    -------
    Tokenizer

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Notes
    -----
    A pair counts once for each place where it stands inside a word, also where places overlap
    ("aaa" has two of "aa"). Of pairs that are equally frequent the one with the smaller token
    numbers is joined, the first token deciding before the second. Other implementations decide
    ties otherwise, and so learn other merges from the same text.

    The counts are kept up to date instead of counted again: only words that hold the pair change,
    and a heap gives the most frequent pair. Counting everything anew takes time proportional to
    text times merges.

    References
    ----------
    Sennrich, Haddow, Birch (2016), Neural Machine Translation of Rare Words with Subword Units.

    Examples
    --------
    >>> tokenizer = train_bpe("low lower lowest low", merges=3)
    >>> tokenizer.tokens[256:]
    (b'lo', b'low', b' low')
    """
    documents = _documents(text)
    merges = integer(merges, "merges", low=0)
    min_frequency = integer(min_frequency, "min_frequency", low=1)
    names = _special_names(special_tokens)
    count: Counter[str] = Counter()
    for document in documents:
        for piece, name in _split_special(document, names):
            if name is None:
                count.update(_cut(piece))
    return Tokenizer(tuple(_learn(count, merges, min_frequency)), names)


def _learn(count: Counter[str], merges: int, min_frequency: int) -> Iterator[Pair]:
    words, times = [list(_bytes(word)) for word in count], list(count.values())
    frequency: defaultdict[Pair, int] = defaultdict(int)
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for i, word in enumerate(words):
        for pair in pairwise(word):
            frequency[pair] += times[i]
            where[pair].add(i)
    heap = [(-n, pair) for pair, n in frequency.items()]
    heapq.heapify(heap)
    for token in range(256, 256 + merges):
        # Entries whose count has changed since are stale: the current one is in the heap as well.
        while heap and -heap[0][0] != frequency[heap[0][1]]:
            heapq.heappop(heap)
        if not heap or -heap[0][0] < min_frequency:
            return
        best = heap[0][1]
        changed = set()
        for i in where.pop(best):
            for pair in pairwise(words[i]):
                frequency[pair] -= times[i]
                changed.add(pair)
            words[i] = _join(words[i], best, token)
            for pair in pairwise(words[i]):
                frequency[pair] += times[i]
                where[pair].add(i)
                changed.add(pair)
        for pair in changed:
            heapq.heappush(heap, (-frequency[pair], pair))
        yield best


def _join(word: list[int], pair: Pair, token: int) -> list[int]:
    """Replace a pair by a token wherever it stands, from left to right."""
    left, right = pair
    joined, i, last = [], 0, len(word) - 1
    while i <= last:
        if word[i] == left and i < last and word[i + 1] == right:
            joined.append(token)
            i += 2
        else:
            joined.append(word[i])
            i += 1
    return joined


def encode(tokenizer: Tokenizer, text: str | bytes, *, special: bool = False) -> NDArray[np.int64]:
    """Turn a text into token numbers.

    Parameters
    ----------
    tokenizer : Tokenizer
    text : str or bytes
        As in `pre_tokenize`.
    special : bool
        Whether the name of a special token in the text stands for that token. By default it is
        text like any other, so that nobody can end a document by writing so.

    Returns
    -------
    array of int64, shape (tokens,)

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Notes
    -----
    In each word the merge that was learned first is made first, everywhere from left to right,
    until no merge applies: encoding repeats the training. It is not the encoding with the fewest
    tokens. Words that came before are looked up.

    Examples
    --------
    >>> tokenizer = train_bpe("low lower lowest low", merges=3)
    >>> encode(tokenizer, "slow low").tolist()
    [115, 257, 258]
    """
    _tokenizer(tokenizer, "encode")
    text = text_or_bytes(text, "text")
    special = flag(special, "special")
    ids: list[int] = []
    known = tokenizer._words
    for piece, name in _split_special(text, tokenizer.special_tokens if special else ()):
        if name is not None:
            ids.append(tokenizer.special_ids[name])
            continue
        for word in _cut(piece):
            if word not in known:
                if len(known) >= REMEMBERED_WORDS:
                    known.clear()
                known[word] = _encode_word(_bytes(word), tokenizer._joined)
            ids += known[word]
    return np.array(ids, dtype=np.int64)


def _encode_word(word: bytes, joined: dict[Pair, int]) -> list[int]:
    tokens = list(word)
    while len(tokens) > 1:
        # A joined token is younger than its parts: the smallest number is the earliest merge.
        found = [joined[pair] for pair in pairwise(tokens) if pair in joined]
        if not found:
            break
        token = min(found)
        pair = next(p for p in pairwise(tokens) if joined.get(p) == token)
        tokens = _join(tokens, pair, token)
    return tokens


def decode_bytes(tokenizer: Tokenizer, ids: Any) -> bytes:
    r"""Turn token numbers back into bytes: exactly those that were encoded.

    Parameters
    ----------
    tokenizer : Tokenizer
    ids : sequence or array of int, shape (tokens,)
        Numbers in [0, vocab_size). A special token becomes its name.

    Returns
    -------
    bytes

    Raises
    ------
    TypeError, ValueError
        If a number is no token.

    Examples
    --------
    >>> tokenizer = train_bpe("low lower lowest low", merges=3)
    >>> decode_bytes(tokenizer, [115, 257, 258, 240])
    b'slow low\xf0'
    """
    _tokenizer(tokenizer, "decode_bytes")
    numbers = token_ids(ids, "ids", vocab_size=tokenizer.vocab_size)
    tokens = tokenizer.tokens
    return b"".join([tokens[i] for i in numbers.tolist()])


def decode(tokenizer: Tokenizer, ids: Any, *, errors: str = "replace") -> str:
    """Turn token numbers back into text.

    Parameters
    ----------
    tokenizer : Tokenizer
    ids : sequence or array of int, shape (tokens,)
        Numbers in [0, vocab_size).
    errors : {"replace", "strict"}
        What happens to bytes that are not UTF-8, for a model may stop within a character: they
        become U+FFFD, as in GPT-2, or raise UnicodeDecodeError.

    Returns
    -------
    str

    Raises
    ------
    TypeError, ValueError
        If a number is no token, or the bytes are no text and `errors` is "strict".

    Examples
    --------
    >>> tokenizer = train_bpe("", merges=0)
    >>> ids = encode(tokenizer, "🙂")
    >>> len(ids), decode(tokenizer, ids), decode(tokenizer, ids[:3])
    (4, '🙂', '�')
    """
    _tokenizer(tokenizer, "decode")
    errors = one_of(errors, "errors", ("replace", "strict"))
    numbers = token_ids(ids, "ids", vocab_size=tokenizer.vocab_size)
    return decode_bytes(tokenizer, numbers).decode("utf-8", errors)


def bytes_per_token(tokenizer: Tokenizer, text: str | bytes) -> float:
    """Measure how well a tokenizer compresses a text.

    Parameters
    ----------
    tokenizer : Tokenizer
    text : str or bytes
        Not empty; a str is counted in UTF-8.

    Returns
    -------
    float
        Bytes a token, >= 1. Losses of models with different tokenizers are compared by the byte:
        divide the loss per token by this.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Examples
    --------
    >>> text = "low lower lowest low"
    >>> round(bytes_per_token(train_bpe(text, merges=3), text), 3)
    2.222
    """
    _tokenizer(tokenizer, "bytes_per_token")
    text = text_or_bytes(text, "text")
    size = len(text if isinstance(text, bytes) else text.encode())
    if size == 0:
        raise ValueError("bytes_per_token: text must not be empty; got ''")
    return size / len(encode(tokenizer, text))


def _tokenizer(value: Any, where: str) -> None:
    if not isinstance(value, Tokenizer):
        raise TypeError(f"{where}: tokenizer must be a Tokenizer; got {_show(value)}")


def _documents(text: Any) -> list[str | bytes]:
    several = text if isinstance(text, (list, tuple)) else [text]
    return [text_or_bytes(document, "text") for document in several]


def _special_names(special_tokens: Any) -> tuple[str, ...]:
    fine = isinstance(special_tokens, (list, tuple)) and all(
        isinstance(name, str) and name for name in special_tokens
    )
    if not fine or len(set(special_tokens)) != len(special_tokens):
        raise ValueError(
            "train_bpe: special_tokens must be a list or tuple of different, not empty strings; "
            f"got {_show(special_tokens)}"
        )
    return tuple(special_tokens)


def _split_special(
    text: str | bytes, names: tuple[str, ...]
) -> Iterator[tuple[str | bytes, str | None]]:
    """Yield pieces of text with None, and the special tokens between them with their names."""
    if not names:
        yield text, None
        return
    # The longer name first: one may begin with another.
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    pieces: list[Any]
    if isinstance(text, bytes):
        pieces = re.split(f"({either})".encode(), text)
    else:
        pieces = re.split(f"({either})", text)
    for i, piece in enumerate(pieces):
        if i % 2 == 0:
            yield piece, None
        else:
            yield piece, piece if isinstance(piece, str) else piece.decode()
