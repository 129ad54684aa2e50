"""Every explorer of the book: all corners compute, within budgets, and no picture has a memory."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re

import numpy as np
import pytest

from explorables.picture import SvgPicture, picture_of
from explorables.shown import show_state
from explorables.states import MAX_BYTES, MAX_SECONDS, bake
from trainlab.explorers import registry

EXPLORERS = registry()
each = pytest.mark.parametrize("explorer", EXPLORERS.values(), ids=EXPLORERS.keys())


def test_there_are_explorers():
    assert len(EXPLORERS) >= 15


@each
def test_all_states_bake_within_the_budgets(explorer):
    baked = bake(explorer)  # raises beyond a budget, naming the control to shrink
    assert baked.gzipped <= MAX_BYTES
    assert baked.seconds <= 1.5 * MAX_SECONDS  # the estimate from the sample was not far off
    entries = json.loads(baked.payload)["states"]
    assert len(entries) == explorer.count()
    for _parts, sentence, numbers in entries:
        assert len(sentence) > 30
        assert sentence.rstrip()[-1] in ".!?"
        assert all(text for _, text in numbers)
        assert not re.search(r"\bnan\b", sentence)  # a float's; NaN is a word of its own
    # A sentence that never changes is not an alternative to a picture that does.
    assert len({e[1] for e in entries}) > 1


@each
def test_every_control_changes_picture_and_words(explorer):
    """From the default, or from a corner where the default hides the control's effect."""
    picture = picture_of(explorer)
    for control in explorer.stored:
        found = set()
        for start in explorer.corners():
            entries = [
                show_state(explorer, picture, {**start, control.name: value}).stored()
                for value in (control.values[0], control.values[-1], control.default)
            ]
            if len({json.dumps(e[0]) for e in entries}) > 1:
                found.add("picture")
            if len({json.dumps(e[1:]) for e in entries}) > 1:
                found.add("words")
            if len(found) == 2:
                break
        assert found == {"picture", "words"}, (
            f"control {control.name!r} changes {found or 'nothing'}"
        )


@each
def test_values_between_the_stored_ones_compute(explorer):
    """What a slider offers once Python runs in the page."""
    picture = picture_of(explorer)
    for control in explorer.stored:
        kind = getattr(control, "between", "")
        for low, high in itertools.pairwise(control.values) if kind else ():
            value = math.sqrt(low * high) if kind == "log" else (low + high) / 2
            value = round(value) if kind == "whole" else value
            shown = show_state(explorer, picture, {**explorer.defaults, control.name: value})
            assert all(math.isfinite(number) for _, number, _ in shown.rows if number == number)
            assert all(shown.parts)
            assert "nan" not in shown.sentence.lower()


@each
def test_moved_equals_drawn_afresh(explorer):
    moved = picture_of(explorer)
    corners = list(explorer.corners())
    chosen = corners[:: max(1, len(corners) // 4)]
    for state in corners[:6]:
        moved.parts(explorer.run(**state))
    for state in chosen:
        data = explorer.run(**state)
        assert moved.parts(data) == picture_of(explorer).parts(data), state


@each
def test_compute_is_pure(explorer):
    """The same state gives the same arrays, whatever was computed in between."""
    first = explorer.run()
    for state in list(explorer.corners())[:4]:
        explorer.run(**state)
    assert type(first).__dataclass_params__.frozen
    for field in dataclasses.fields(first):
        a, b = getattr(first, field.name), getattr(explorer.run(), field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)


@each
def test_readout_labels_are_the_same_for_all_states(explorer):
    labels = {
        tuple(label for label, _, _ in explorer.readout(explorer.run(**s)).rows())
        for s in explorer.corners()
    }
    assert len(labels) == 1


@each
def test_pictures_hold_no_mathtext_and_no_foreign_colour(explorer):
    """Mathtext needs fonts a reader lacks; a colour outside the palette ignores the dark page."""
    picture = picture_of(explorer)
    parts = picture.parts(explorer.run())
    markup = picture.markup(parts)
    assert not re.search(
        r"#[0-9a-fA-F]{6}\b|<style|<script|<tspan| style=\"[^\"]*font-family", markup
    )
    if isinstance(picture, SvgPicture):
        sizes = [float(s) for s in re.findall(r"font-size: ([\d.]+)px", markup)]
        assert sizes
        assert min(sizes) >= 11
    else:
        assert " style=" not in markup
        assert " id=" not in markup


@each
def test_words_say_what_is_there(explorer):
    assert len(explorer.title) > 5
    assert len(explorer.caption) > 40
    assert "$" not in explorer.caption
