"""The contract of an explorer's HTML, read with a parser."""

import json
from html.parser import HTMLParser

import pytest

from explorables import Steps
from explorables.page import figure_html
from explorables.picture import picture_of
from explorables.shown import show_state
from tests.explorables.example import compute_wave, digits, make_wave, wave


class Elements(HTMLParser):
    """All start tags with their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag, **wanted):
        wanted = {k.replace("_", "-"): v for k, v in wanted.items()}
        return [a for t, a in self.tags if t == tag and wanted.items() <= a.items()]


def html_of(explorer, **state):
    picture = picture_of(explorer)
    shown = show_state(explorer, picture, {**explorer.defaults, **state})
    return figure_html(explorer, picture, shown, states_url="explorers/x.js")


@pytest.fixture(scope="module")
def page():
    return Elements(html_of(wave))


def test_figure_names_explorer_host_and_state(page):
    (figure,) = page.all("figure")
    assert figure["data-explorer"] == "example.wave"
    assert figure["data-host"] == "baked"
    assert figure["data-states"] == "explorers/x.js"
    assert figure["aria-busy"] == "false"
    state = json.loads(figure["data-state"])
    assert state == {"frequency": 1.0, "shape": "sine", "squared": False}


def test_each_control_has_name_label_and_output(page):
    labels = {a["for"] for a in page.all("label")}
    outputs = {a["for"] for a in page.all("output")}
    fields = page.all("input") + page.all("select")
    assert [f["name"] for f in fields] == ["frequency", "squared", "seed", "shape"]
    assert {f["id"] for f in fields} == labels == outputs


def test_range_runs_over_positions_and_says_its_value(page):
    (field,) = page.all("input", type="range")
    assert (field["min"], field["max"], field["step"], field["value"]) == ("0", "3", "1", "1")
    assert field["aria-valuetext"] == "1 1/s"
    assert json.loads(field["data-texts"]) == ["0.5 1/s", "1 1/s", "2 1/s", "4 1/s"]


def test_default_picture_text_alternative_and_numbers_stand_in_the_page(page):
    (picture,) = page.all("div", role="img")
    sentence = wave.readout(wave.run()).sentence
    assert picture["aria-label"] == sentence
    assert sentence in page.text
    assert len(page.all("svg")) == 2
    assert [a["data-value"] for a in page.all("dd")] == [repr(wave.run().y.max().item()), "1.0"]
    assert "Left a line, right dots." in "".join(page.text)


def test_another_state_stands_in_controls_picture_and_numbers():
    state = {"frequency": 4.0, "shape": "cosine", "squared": True}
    page = Elements(html_of(wave, **state))
    assert json.loads(page.all("figure")[0]["data-state"]) == state
    assert page.all("input", type="range")[0]["value"] == "3"
    assert "checked" in page.all("input", type="checkbox")[0]
    assert [o["value"] for o in page.all("option") if "selected" in o] == ["1"]
    readout = wave.readout(wave.run(**state))
    assert page.all("div", role="img")[0]["aria-label"] == readout.sentence
    assert [a["data-value"] for a in page.all("dd")] == [repr(n) for _, n, _ in readout.rows()]


def test_live_only_controls_wait_until_python_can_be_had():
    page = Elements(html_of(digits))
    names = [f["name"] for f in page.all("input")]
    assert names == ["number", "typed", "bits", "scale"]
    (live,) = page.all("div", data_live_only=None)
    assert "hidden" in live
    assert "hidden" in page.all("button", data_action="live")[0]
    assert "hidden" in page.all("button", data_action="stop")[0]
    (note,) = page.all("p", **{"class": "explorer-note"})
    assert "any number, flip bits, scale" in "".join(page.text)
    assert "hidden" not in note
    assert [b["data-bit"] for b in page.all("button", aria_pressed="false")][-1] == "0"


def test_words_are_escaped():
    danger = '<b onclick="x">&'
    explorer = make_wave(title=danger, caption=danger)
    html = html_of(explorer)
    assert danger not in html
    assert "&lt;b onclick=" in html


def test_toggles_of_a_group_stand_in_a_fieldset():
    from explorables import Toggle

    def compute(frequency, b1, b0):
        return compute_wave(frequency, "sine", b1 and b0, 0)

    explorer = make_wave(
        controls=(
            Steps("frequency", "F", (1.0, 2.0), default=1.0),
            Toggle("b1", "bit 1", group="Bits"),
            Toggle("b0", "bit 0", group="Bits"),
        ),
        compute=compute,
    )
    html = html_of(explorer)
    page = Elements(html)
    assert len(page.all("fieldset")) == len(page.all("legend")) == 1
    assert html.index('name="frequency"') < html.index("<fieldset") < html.index('name="b1"')
    assert html.index('name="b0"') < html.index("</fieldset>")
