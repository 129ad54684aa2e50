from dataclasses import replace

import pytest

from explorables import Quantity, Readout, Steps
from explorables.picture import picture_of
from tests.explorables.example import FREQUENCY, SHAPE, digits, make_wave, wave


def test_states_are_the_product_of_the_stored_controls():
    states = list(wave.states())
    assert len(states) == wave.count() == 4 * 2 * 2
    assert len({tuple(s.items()) for s in states}) == 16
    assert states[0] == {"frequency": 0.5, "shape": "sine", "squared": False, "seed": 0}
    assert states[1]["squared"] is True  # the last control changes fastest
    assert wave.defaults in states


def test_corners_are_states():
    corners = list(wave.corners())
    assert corners[0] == wave.defaults
    assert len(corners) == 1 + 2**3
    assert all(c in list(wave.states()) for c in corners)


def test_run_fills_in_defaults_and_refuses_by_name():
    assert wave.run(frequency=4).frequency == 4
    with pytest.raises(ValueError, match=r"frequency must be one of .*; got 3"):
        wave.run(frequency=3)
    with pytest.raises(ValueError, match=r"no control 'speed'"):
        wave.run(speed=3)
    assert digits.run(typed="99") == 99
    assert digits.run(bits=1) == 43


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": "wave"}, "chapter.explorer"),
        ({"name": "example.a wave"}, "chapter.explorer"),
        ({"controls": ()}, "at least one"),
        ({"controls": (FREQUENCY, FREQUENCY)}, "different names"),
        ({"controls": (FREQUENCY, SHAPE)}, "parameters of compute"),
        ({"update": None}, "draw and update, or view"),
        ({"view": str}, "draw and update, or view"),
    ],
)
def test_bad_declaration_is_refused(changes, word):
    with pytest.raises(ValueError, match=word):
        make_wave(**changes)


@pytest.mark.parametrize("follows", [("nothing", {7: 3}), ("number", {7: 3, 42: 4})])
def test_bits_that_follow_no_control_are_refused(follows):
    controls = [replace(c, follows=follows) if c.name == "bits" else c for c in digits.controls]
    with pytest.raises(ValueError, match="follows must give the number of bits"):
        replace(digits, controls=controls)


def test_readout_rows_carry_number_and_text():
    rows = Readout({"a": 0.5, "b": Quantity(2.0, "%")}, "Words.").rows()
    assert rows == [("a", 0.5, "0.5"), ("b", 2.0, "2 %")]


@pytest.mark.parametrize("explorer", [wave, digits], ids=lambda e: e.name)
def test_moved_picture_equals_one_drawn_afresh(explorer):
    moved = picture_of(explorer)
    for state in explorer.states():
        moved.parts(explorer.run(**state))
    for state in explorer.corners():
        data = explorer.run(**state)
        assert moved.parts(data) == picture_of(explorer).parts(data)


def test_one_slider_needs_no_other_control():
    single = make_wave(
        controls=(Steps("frequency", "F", (1, 2), default=1),),
        compute=lambda frequency: wave.run(frequency=frequency),
    )
    assert single.count() == 2
