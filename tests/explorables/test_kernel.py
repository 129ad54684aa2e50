"""The kernel host without a front end: what the widgets hold after a change."""

import subprocess
import sys

import ipywidgets as w
import pytest

from explorables import Steps
from explorables.hosts import HOST_VARIABLE, MIME, PageBundle, show
from explorables.kernel import KernelExplorer
from tests.explorables.example import compute_wave, digits, make_wave, wave


@pytest.fixture
def shown():
    return KernelExplorer(wave)


def parts(explorer):
    return [field.value for field in explorer._parts]


def test_each_control_becomes_a_widget(shown):
    kinds = {name: type(field) for name, field in shown.controls.items()}
    assert kinds == {
        "frequency": w.SelectionSlider, "shape": w.Dropdown, "squared": w.Checkbox,
        "seed": w.BoundedIntText,
    }  # fmt: skip
    assert shown.controls["frequency"].options[0] == ("0.5 1/s", 0.5)


@pytest.mark.parametrize(
    ("name", "value"), [("frequency", 4.0), ("shape", "cosine"), ("squared", True), ("seed", 5)]
)
def test_a_change_moves_picture_sentence_and_numbers(shown, name, value):
    before = (parts(shown), shown._sentence.value, shown._readout.value)
    still = [box.children[0].value for box in shown.children[1].children]
    shown.controls[name].value = value
    after = (parts(shown), shown._sentence.value, shown._readout.value)
    assert shown.state[name] == value
    assert all(a != b for a, b in zip(before, after, strict=True))
    # Only the moving part travels.
    assert still == [box.children[0].value for box in shown.children[1].children]


def test_shows_what_the_page_shows(shown):
    from explorables.picture import picture_of

    expected = picture_of(wave).parts(wave.run(frequency=2.0))
    shown.controls["frequency"].value = 2.0
    for field, part in zip(shown._parts, expected, strict=True):
        assert part in field.value


def test_an_error_reaches_the_reader_and_the_picture_stays():
    def failing(frequency, shape, squared, seed):
        if squared:
            raise ValueError("squared must be <off>; got on")
        return compute_wave(frequency, shape, squared, seed)

    shown = KernelExplorer(make_wave(compute=failing))
    before = parts(shown)
    shown.controls["squared"].value = True
    assert "squared must be &lt;off&gt;; got on" in shown._error.value
    assert "Traceback" in shown._error.value
    assert parts(shown) == before
    shown.controls["squared"].value = False
    assert shown._error.value == ""


def test_typed_text_numbers_and_flipped_bits():
    shown = KernelExplorer(digits)
    shown.controls["typed"].value = "987"
    assert ">987<" in shown._readout.value
    shown.controls["scale"].value = 2.0
    assert ">1974<" in shown._readout.value
    shown.controls["scale"].value = 1.0
    lowest = shown.controls["bits"]._buttons[-1]
    lowest.value = True
    assert shown.state["bits"] == 1
    assert ">986<" in shown._readout.value
    highest = shown.controls["bits"]._buttons[0]
    assert highest.layout.display is None
    shown.controls["number"].value = 7  # of three bits
    assert highest.layout.display == "none"
    assert lowest.layout.display is None
    shown.controls["typed"].value = "nonsense"
    assert "nonsense" in shown._error.value


def test_a_slow_explorer_waits_for_the_slider_to_be_let_go(monkeypatch):
    from explorables import kernel

    monkeypatch.setattr(kernel, "SLOW", 60.0)  # however busy the machine is
    assert KernelExplorer(wave).controls["frequency"].continuous_update
    monkeypatch.setattr(kernel, "SLOW", 0.0)
    assert not KernelExplorer(wave).controls["frequency"].continuous_update


def test_host_follows_the_environment(monkeypatch):
    monkeypatch.delenv(HOST_VARIABLE, raising=False)
    assert isinstance(show(wave), KernelExplorer)
    monkeypatch.setenv(HOST_VARIABLE, "page")
    bundle = wave.show()
    assert isinstance(bundle, PageBundle)
    assert set(bundle._repr_mimebundle_()) == {MIME, "text/plain"}


def test_a_page_build_makes_no_widget():
    code = (
        "import os, sys; os.environ['EXPLORABLES_HOST'] = 'page'\n"
        "from tests.explorables.example import wave\n"
        "wave.show(); sys.exit('ipywidgets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_one_value_more_is_one_option_more():
    explorer = make_wave(
        controls=(Steps("frequency", "F", (1, 2, 3), default=1),),
        compute=lambda frequency: wave.run(frequency=1.0, seed=frequency),
    )
    assert len(KernelExplorer(explorer).controls["frequency"].options) == 3
