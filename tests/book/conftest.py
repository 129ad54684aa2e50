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


@pytest.fixture
def open_page(browser, address):
    """Open a page of the book in a new window of its own; its faults are asserted at the end."""
    contexts = []
    faults = Faults()

    def opened(name: str, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = faults.watch(context.new_page())
        page.goto(f"{address}/{name}")
        page.wait_for_load_state("networkidle")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []
