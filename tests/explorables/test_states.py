import json

import pytest

from explorables import Readout, Seed, Steps, Toggle, states
from explorables.picture import picture_of
from explorables.shown import show_state
from explorables.states import MAX_BYTES, MAX_STATES, BudgetError, bake
from tests.explorables.example import FREQUENCY, SHAPE, compute_wave, make_wave, wave


@pytest.fixture(scope="module")
def baked():
    return bake(wave)


def test_payload_holds_every_state_in_order(baked):
    payload = json.loads(baked.payload)
    assert payload["controls"] == [
        ["frequency", [0.5, 1.0, 2.0, 4.0]],
        ["shape", ["sine", "cosine"]],
        ["squared", [False, True]],
    ]
    assert len(payload["states"]) == 16
    picture = picture_of(wave)
    for stored, state in zip(payload["states"], wave.states(), strict=True):
        assert stored == show_state(wave, picture, state).stored()
    position = list(wave.states()).index(wave.defaults)
    assert payload["states"][position] == baked.default.stored()


def test_states_differ(baked):
    entries = json.loads(baked.payload)["states"]
    assert len({json.dumps(e) for e in entries}) == len(entries)


def test_numbers_of_a_state_keep_all_digits(baked):
    _label, number, text = baked.default.rows[0]
    assert number == pytest.approx(wave.run().y.max(), rel=0, abs=0)
    assert text == "0.993"


def test_too_many_states_name_the_control_to_shrink():
    many = Steps("frequency", "F", tuple(range(1, 402)), default=1)
    with pytest.raises(BudgetError, match=rf"1604 states, at most {MAX_STATES}.*'frequency'"):
        bake(make_wave(controls=(many, SHAPE, Toggle("squared", "S"), Seed())))


def test_too_slow_names_the_control_before_computing_all(monkeypatch):
    calls = []

    def slow(frequency, shape, squared, seed):
        calls.append(frequency)
        return compute_wave(frequency, shape, squared, seed)

    monkeypatch.setattr(states, "MAX_SECONDS", 1e-9)
    with pytest.raises(BudgetError, match=r"s of computing.*'frequency'"):
        bake(make_wave(compute=slow))
    assert len(calls) < 16


def test_too_large_names_the_control(monkeypatch):
    monkeypatch.setattr(states, "MAX_BYTES", 100)
    with pytest.raises(BudgetError, match=r"kB of stored states.*'frequency'"):
        bake(wave)
    assert MAX_BYTES == 120_000


def test_failing_state_is_named():
    def failing(frequency, shape, squared, seed):
        if frequency == 4:
            raise ZeroDivisionError("no such wave")
        return compute_wave(frequency, shape, squared, seed)

    with pytest.raises(RuntimeError, match=r'example\.wave.*"frequency": 4.*ZeroDivisionError'):
        bake(make_wave(compute=failing))


def test_failing_readout_is_named_too():
    with pytest.raises(RuntimeError, match=r"example\.wave.*KeyError"):
        bake(make_wave(readout=lambda data: Readout({}, {}["no sentence"])))
    assert FREQUENCY.default == 1.0
