"""The built book, served, and a browser to look at it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tests.sites import Faults, served

ROOT = Path(__file__).parents[2]
SITE = ROOT / "_build" / "html"


@pytest.fixture(scope="session")
def house():
    """Import a module of the book's own extension by its name."""

    def imported(name: str):
        folder = str(ROOT / "book" / "_ext")
        sys.path.insert(0, folder)
        try:
            return importlib.import_module(f"house.{name}")
        finally:
            sys.path.remove(folder)

    return imported


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built book; `make test` builds it first."""
    assert (SITE / "book" / "index.html").exists(), "the book is not built: run `make book`"
    return SITE


@pytest.fixture(scope="session")
def address(site):
    """The address under which the book is served."""
    with served(site) as url:
        yield url


def _open(browser, address, faults, name, options):
    """Open a page in a window of its own; it is there when its fonts and its figures are."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page = faults.watch(context.new_page())
    page.goto(f"{address}/{name}")
    if options.get("java_script_enabled", True):
        page.evaluate("document.fonts.ready.then(() => true)")
    return page


@pytest.fixture
def open_page(browser, address):
    """Open a page of the book in a new window of its own; its faults are asserted at the end."""
    contexts = []
    faults = Faults()

    def opened(name: str, **options):
        page = _open(browser, address, faults, name, options)
        contexts.append(page.context)
        return page

    yield opened
    found = list(faults)  # what a closing window leaves unfinished is no fault
    for context in contexts:
        context.close()
    assert found == []


LOOKS = {
    "wide": {"color_scheme": "light"},
    "phone": {
        "viewport": {"width": 360, "height": 740},
        "color_scheme": "dark",
        "reduced_motion": "reduce",
    },
}


@pytest.fixture(scope="session")
def _kept():
    """The windows of the page that was looked at last, with their faults."""
    windows = {}
    yield windows
    _close(windows)


def _close(windows):
    for window, _ in windows.values():
        window.context.close()
    windows.clear()


@pytest.fixture
def look(browser, address, _kept):
    """Look at a page, "wide" or on a "phone", in a window that stays open for the page's next test.

    For tests that leave the page as they found it, but for where the controls stand.
    """
    used = []

    def looked(name: str, how: str = "wide"):
        if any(page != name for page, _ in _kept):
            _close(_kept)
        if (name, how) not in _kept:
            faults = Faults()
            _kept[name, how] = _open(browser, address, faults, name, LOOKS[how]), faults
        used.append(_kept[name, how][1])
        return _kept[name, how][0]

    yield looked
    found = [fault for faults in used for fault in faults]
    for faults in used:
        faults.clear()
    assert found == []
