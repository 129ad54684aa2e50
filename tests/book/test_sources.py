"""Sources that are remembered between builds read as pybtex formats them."""

import pytest
from pybtex import plugin
from pybtex.database import parse_file
from pybtex.style.formatting import BaseStyle

from tests.book.conftest import ROOT


@pytest.fixture
def sources(house, monkeypatch):
    module = house("sources")
    monkeypatch.setattr(module, "_texts", {})
    # What its set-up puts in their place, taken back at the end.
    monkeypatch.setattr(plugin, "_load_entry_point", module._find)
    monkeypatch.setattr(BaseStyle, "format_entry", module._format)
    return module


def test_each_source_is_formatted_once_and_as_before(sources):
    entries = list(parse_file(ROOT / "book/references.bib").entries.values())[:40]
    style = plugin.find_plugin("pybtex.style.formatting", "plain")()
    for entry in entries:
        plain = style.format_entry("a", entry)
        first = sources._format_once(style, "b", entry)
        again = sources._format_once(style, "c", entry)
        assert first.text == plain.text
        assert again.text is first.text
        assert (first.key, first.label, again.label) == (plain.key, "b", "c")


def test_a_changed_source_is_formatted_anew(sources):
    entry = next(iter(parse_file(ROOT / "book/references.bib").entries.values()))
    style = plugin.find_plugin("pybtex.style.formatting", "plain")()
    before = sources._format_once(style, "", entry).text
    entry.fields["title"] = "Quite another title"
    after = sources._format_once(style, "", entry).text
    assert before != after
    assert "Quite another title" in str(after)


def test_plugins_are_looked_for_once(sources, monkeypatch):
    asked = []

    def find(*arguments, use_aliases=False):
        asked.append(arguments)
        return object

    monkeypatch.setattr(sources, "_find", find)
    connected = []
    sources.setup(type("App", (), {"connect": lambda _, *what: connected.append(what)})())
    for _ in range(2):
        plugin.find_plugin("pybtex.style.formatting", "plain")
    assert len(asked) == 1
    assert [event for event, _ in connected] == ["env-before-read-docs"]
