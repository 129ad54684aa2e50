"""Cleaning, and the reasons to drop a document."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainlab.datasets import book_corpus
from trainlab.text_cleaning import clean_text, quality_problems

SENTENCE = "The cat sat with the dog that was to be fed and groomed by noon today. "
GOOD = SENTENCE * 4


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Cafe\u0301", "Café"),
        ("a\r\nb\rc\u2028d\u2029e\x85f\x0bg\x0ch", "a\nb\nc\nd\ne\nf\ng\nh"),
        ("a\x00b\x08c\x1bd\x7fe\x9ff\ufeffg\x0eh", "abcdefgh"),
        ("a\tb", "a\tb"),
        ("a  b", "a  b"),
        ("a \t\n b\u00a0\n", "a\n b"),
        ("\n \na\n\n\n\nb\n\nc\n\n", "a\n\nb\n\nc"),
        ("    indented\n    code", "    indented\n    code"),
        ("10² ﬁ Ⅷ", "10² ﬁ Ⅷ"),  # NFKC would write 102 fi VIII
        ("👩🏽\u200d🚀", "👩🏽\u200d🚀"),
        ("a\ud800b\udfffc", "a\ufffdb\ufffdc"),
        ("Łódź, ÇA! don't <b>5 %</b>", "Łódź, ÇA! don't <b>5 %</b>"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_cleaning_by_hand(text, cleaned):
    assert clean_text(text) == cleaned


@given(st.text(st.characters(), max_size=40))
@settings(max_examples=200, deadline=None)
def test_cleaning_twice_changes_nothing(text):
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)
    cleaned.encode()  # there is no lone surrogate
    assert "\n\n\n" not in cleaned
    assert not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in cleaned)


@pytest.mark.claim("DATA-05")
def test_good_text_has_no_problem():
    assert quality_problems(GOOD) == ()
    assert all(quality_problems(page) == () for page in book_corpus().values())


@pytest.mark.claim("DATA-05")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no words"),
        (" \n\t", "no words"),
        (SENTENCE * 3, "48 words"),
        (GOOD + "# " * 8, "# for every 9.0 words"),
        (GOOD + "… " * 8 + "x", "an ellipsis for every 9.1 words"),
        (GOOD + "a... " * 8 + "x", "an ellipsis for every 9.1 words"),
        (GOOD + "1234 " * 17, "only 79 % of the words have a letter"),
        ("cats sleep under tables quietly whenever possible " * 10, "fewer than 2 common words"),
        ("the of " * 30, "words of 2.5 letters"),
        ("the of " + "documented " * 4 + "documenting " * 60, "words of 10.7 letters"),
        ("the of " + "incomprehensible " * 60, "words of 15.6 letters"),
    ],
)
def test_each_rule(text, problem):
    assert quality_problems(text) == (problem,)


def _lines(count, of):
    return "\n".join(f"{of} {i} {SENTENCE}" for i in range(count))


def test_bullets_ellipses_and_repetition_are_shares_of_lines():
    bullets, plain = _lines(19, "-"), _lines(1, "x")
    assert quality_problems(bullets + "\n" + plain) == ("95 % of the lines begin with a bullet",)
    assert quality_problems(_lines(9, "*") + "\n" + plain) == ()  # just 90 %
    ends = "\n".join(f"{i} {SENTENCE}…" for i in range(4)) + "\n" + _lines(6, "x")
    assert quality_problems(ends) == ("40 % of the lines end with an ellipsis",)
    assert quality_problems(ends, max_ellipses=0.4) == ()
    repeated = "\n\n".join([SENTENCE] * 4 + [f"{i} {SENTENCE}" for i in range(6)])
    assert quality_problems(repeated) == ()  # three of ten lines, which is allowed
    assert quality_problems(repeated + "\n" + SENTENCE) == (
        "36 % of the lines repeat an earlier one",
    )


def test_every_bullet_is_one():
    for bullet in "•‣▪●◦*-–":
        assert len(quality_problems(_lines(5, bullet))) == 1
    assert quality_problems(_lines(5, "x")) == ()


def test_limits_are_inclusive():
    words = "the and " + "word " * 48
    assert quality_problems(words) == ()
    assert quality_problems("the and " + "word " * 47) == ("49 words",)
    assert quality_problems("the and " + "word " * 47, min_words=49) == ()
    assert quality_problems(words, max_words=50) == ()
    assert quality_problems(words + "word", max_words=50) == ("51 words",)
    long = "the and " + "word " * 99_998
    assert quality_problems(long) == ()
    assert quality_problems(long + "word") == ("100001 words",)
    assert quality_problems("the and " + "word " * 38 + "1 " * 10) == ()  # 80 % have a letter
    assert quality_problems("the " + "word " * 49) == ("fewer than 2 common words",)
    assert quality_problems("THE " + "word " * 49, min_stop_words=1) == ()
    assert quality_problems("the and " + "word " * 43 + "# " * 5) == ()  # one of ten
    # 3 and 10 characters a word
    assert quality_problems("the and " * 30) == ()
    assert (
        quality_problems("the with " + "length " * 4 + "abcdefghijk " * 37 + "abcdefg " * 7) == ()
    )


def test_several_problems_are_all_named():
    assert len(quality_problems("# ...")) >= 5
