"""Cleaning text for a language model: mend the encoding, leave the language alone.

A model has to write capital letters, punctuation, code and emoji, so none of it is removed, and no
word is stemmed. What goes is what no author meant: control characters, mixed line ends, two ways to
encode the same letter. Documents that are no prose at all are dropped whole, each with the reason.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from ._checks import integer, real
from ._text_checks import string

__all__ = ["clean_text", "quality_problems"]

STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
BULLETS = ("•", "‣", "▪", "●", "◦", "*", "-", "–")


def clean_text(text: str) -> str:
    r"""Normalize characters and white space; the words stay as they are.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        In Unicode's normal form NFC, with line ends ``"\n"``, no other control character than the
        tab, no white space before a line end, no empty line at the start or the end, and
        never two in a row. Cleaning it again changes nothing.

    Raises
    ------
    TypeError
        If `text` is no str.

    Notes
    -----
    NFC gives a letter with its accent one encoding where Unicode has one. NFKC would change text
    for the reader too: 10² becomes 102. Indentation stays, it is meaning in code. The zero-width
    joiner stays, it holds emoji together; the byte order mark goes. A lone surrogate, which has no
    encoding in UTF-8, becomes U+FFFD.

    References
    ----------
    Unicode Consortium (2025), Unicode Normalization Forms, Unicode Standard Annex 15.

    Examples
    --------
    >>> clean_text("\ufeffCafe\u0301 \r\n\x00\n\n\n  10² 🙂")
    'Café\n\n  10² 🙂'
    """
    text = re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", string(text, "text"))
    text = re.sub(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff]", "", text)
    text = re.sub(r"[\ud800-\udfff]", "\ufffd", text)
    text = unicodedata.normalize("NFC", text)
    lines = [line.rstrip() for line in text.split("\n")]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    # White space that begins the first line goes only with a whole empty line: it may be code.
    return text.strip("\n")


def quality_problems(
    text: str,
    *,
    min_words: int = 50,
    max_words: int = 100_000,
    max_symbols: float = 0.1,
    max_bullets: float = 0.9,
    max_ellipses: float = 0.3,
    min_alphabetic: float = 0.8,
    min_stop_words: int = 2,
    max_repeated: float = 0.3,
) -> tuple[str, ...]:
    """Say why a document should not be trained on.

    Parameters
    ----------
    text : str
        One document in English.
    min_words, max_words : int
        Words are what stands between white space; >= 1.
    max_symbols : float
        Signs # and ellipses, each divided by the number of words, >= 0.
    max_bullets, max_ellipses : float
        Share of lines that begin with a bullet, or end with an ellipsis, in [0, 1].
    min_alphabetic : float
        Share of words with a letter in them, in [0, 1].
    min_stop_words : int
        How many of the, be, to, of, and, that, have, with occur at least, in [0, 8].
    max_repeated : float
        Share of lines that have occurred before, in [0, 1].

    Returns
    -------
    tuple of str
        One reason for each rule that is broken; empty if the document is to be kept.

    Raises
    ------
    TypeError, ValueError
        If a value is out of range.

    Notes
    -----
    The rules and the default values are those of Gopher's web data, as far as they need no language
    model; besides, the mean length of a word is to be between 3 and 10 characters. They are crude:
    a poem, a table or a page in another language breaks them. Each rule is an assumption about what
    the model should write, so the reasons are counted and read before anything is deleted.

    References
    ----------
    Rae et al. (2021), Scaling Language Models: Methods, Analysis & Insights from Training Gopher.

    Examples
    --------
    >>> quality_problems("# # # to be", min_words=4)
    ('# for every 1.7 words', 'only 40 % of the words have a letter', 'words of 1.4 letters')
    """
    string(text, "text")
    min_words = integer(min_words, "min_words", low=1)
    max_words = integer(max_words, "max_words", low=min_words)
    max_symbols = real(max_symbols, "max_symbols", low=0)
    max_bullets = real(max_bullets, "max_bullets", low=0, high=1)
    max_ellipses = real(max_ellipses, "max_ellipses", low=0, high=1)
    min_alphabetic = real(min_alphabetic, "min_alphabetic", low=0, high=1)
    min_stop_words = integer(min_stop_words, "min_stop_words", low=0, high=len(STOP_WORDS))
    max_repeated = real(max_repeated, "max_repeated", low=0, high=1)

    words = text.split()
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not words:
        return ("no words",)
    problems = []
    if not min_words <= len(words) <= max_words:
        problems.append(f"{len(words)} words")
    ellipsis = text.count("...") + text.count("…")
    for name, count in (("#", text.count("#")), ("an ellipsis", ellipsis)):
        if count > max_symbols * len(words):
            problems.append(f"{name} for every {len(words) / count:.1f} words")
    for share, most, what in (
        (_share(lines, lambda x: x.startswith(BULLETS)), max_bullets, "begin with a bullet"),
        (_share(lines, lambda x: x.endswith(("...", "…"))), max_ellipses, "end with an ellipsis"),
        ((len(lines) - len(set(lines))) / len(lines), max_repeated, "repeat an earlier one"),
    ):
        if share > most:
            problems.append(f"{100 * share:.0f} % of the lines {what}")
    alphabetic = _share(words, lambda word: any(c.isalpha() for c in word))
    if alphabetic < min_alphabetic:
        problems.append(f"only {100 * alphabetic:.0f} % of the words have a letter")
    if len(STOP_WORDS & {word.lower() for word in words}) < min_stop_words:
        problems.append(f"fewer than {min_stop_words} common words")
    length = sum(map(len, words)) / len(words)
    if not 3 <= length <= 10:
        problems.append(f"words of {length:.1f} letters")
    return tuple(problems)


def _share(items: list[str], holds: Callable[[str], bool]) -> float:
    return sum(map(holds, items)) / len(items)
