import math

import pytest

from explorables import Choice, Flips, Number, Quantity, Seed, Steps, Text, Toggle, format_number
from explorables.numbers import num


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Steps("a b", "Label", (1, 2), default=1), "identifier"),
        (lambda: Steps("a", " ", (1, 2), default=1), "label"),
        (lambda: Steps("a", "A", (1,), default=1), "two or more"),
        (lambda: Steps("a", "A", (2, 1), default=1), "increase"),
        (lambda: Steps("a", "A", (1, 1), default=1), "increase"),
        (lambda: Steps("a", "A", (1, math.nan), default=1), "finite"),
        (lambda: Steps("a", "A", (1, 2), default=3), "default"),
        (lambda: Choice("a", "A", {"x": "X"}, default="x"), "two or more"),
        (lambda: Choice("a", "A", {"x": "X", "y": "Y"}, default="z"), "default"),
        (lambda: Number("a", "A", default=3.0, low=0.0, high=1.0), "default"),
        (lambda: Seed(default=-1), "default"),
        (lambda: Flips("a", "A", width=2, default=4), "default"),
    ],
)
def test_bad_declaration_is_refused(make, word):
    with pytest.raises(ValueError, match=word):
        make()


@pytest.mark.parametrize(
    ("control", "good", "bad"),
    [
        (Steps("a", "A", (1, 2.5), default=1), [1, 1.0, 2.5], [2, "1", True]),
        (Choice("a", "A", {"x": "X", 2: "two"}, default="x"), ["x", 2], ["y", 2.5, None]),
        (Toggle("a", "A"), [True, False], [1, 0, "on"]),
        (Text("a", "A"), ["", "1e-3"], [1, "x" * 10_001]),
        (Number("a", "A", default=0.5, low=0.0, high=1.0), [0, 1, 0.3], [-0.1, math.nan, "0.3"]),
        (Seed(), [0, 2**31], [-1, 1.5, True]),
        (Flips("a", "A", width=3), [0, 7], [8, -1, 0.5, False]),
    ],
)
def test_values_are_checked_by_name(control, good, bad):
    for value in good:
        control.check(value)
    for value in bad:
        with pytest.raises(ValueError, match=rf"{control.name} must be .*; got"):
            control.check(value)


def test_words_for_values():
    assert Steps("a", "A", (1, 1000), default=1, unit="layers").text(1000) == "1000 layers"
    assert Steps("a", "A", (1e-7, 1), default=1).text(1e-7) == "10⁻⁷"
    assert Steps("a", "A", (0.5, 1), default=1, unit="×").text(0.5) == "×0.5"
    assert Choice("a", "A", {"x": "an X", "y": "a Y"}, default="x").text("y") == "a Y"
    assert [Toggle("a", "A").text(v) for v in (False, True)] == ["off", "on"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (-0.0, "0"), (2, "2"), (-3, "−3"), (999_999, "999999"), (1e6, "10⁶"),
        (0.5, "0.5"), (0.1234, "0.123"), (12.345, "12.3"), (1234.5, "1234"),
        (0.00012345, "0.000123"),
        (8.88e-16, "8.88·10⁻¹⁶"), (-8.88e-16, "−8.88·10⁻¹⁶"), (1.5e12, "1.5·10¹²"),
        (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "NaN"), (True, "yes"),
    ],
)  # fmt: skip
def test_numbers_read_well(value, text):
    assert format_number(value) == text


def test_quantities_and_numbers_in_sentences():
    assert Quantity(12.5, "%").text == "12.5 %"
    assert Quantity(2.0, "×").text == "×2"
    assert Quantity(0.25, "nats", digits=1).text == "0.2 nats"
    assert repr(num(0.123456, 2)) == "0.12"


def test_a_browser_has_one_kind_of_number():
    weight = Choice("weight", "Weight", {0.0: "none", 0.5: "half"}, 0.5)
    assert weight.allows(0)  # JSON knows no 0.0
    assert not weight.allows(False)
    assert not weight.allows("0")
    assert Choice("kind", "Kind", {0: "no", 1: "yes"}, 0).allows(1.0)
    for control in (weight, Steps("weight", "Weight", (0.0, 0.5), 0.5)):
        assert type(control.check(0)) is float
