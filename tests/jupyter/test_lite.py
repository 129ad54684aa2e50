"""The notebooks that run in the browser: chapters opened, all cells run, a slider moved."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.sites import served

pytestmark = pytest.mark.jupyter

ROOT = Path(__file__).parents[2]
SITE = ROOT / "_build" / "html"
CHAPTERS = ["signal/initialization", "numbers/formats", "generalization/dropout"]


@dataclass
class Notebook:
    """A notebook in which all cells have run."""

    page: Any
    cells: int  # of code, in the file
    loaded: list[str]  # all addresses that were asked for
    missing: list[str]  # those that had no answer

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_inner_texts()


@pytest.fixture(scope="module")
def address():
    if not (ROOT / ".lite" / "site").exists():
        pytest.skip("JupyterLite could not be had: .lite/log says why")
    with served(SITE) as url:
        yield url


def _run_all(page) -> None:
    page.wait_for_selector(
        '.jp-Notebook-ExecutionIndicator[data-status="idle"]', state="attached", timeout=60_000
    )
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator('[data-command="runmenu:run-all"]').click()
    page.wait_for_function(
        """() => { const cells = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
          return cells.length && cells.every(c => /\\d/.test(c.textContent)); }""",
        timeout=240_000,
    )


@pytest.fixture(scope="module", params=CHAPTERS)
def notebook(request, browser, address):
    """A chapter, opened by its address as the launch button does, in a browser without a cache."""
    name = f"book/{request.param}.ipynb"
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    loaded: list[str] = []
    missing: list[str] = []
    context.on("request", lambda asked: loaded.append(asked.url))
    context.on("response", lambda answer: answer.ok or missing.append(answer.url))
    page = context.new_page()
    page.goto(f"{address}/lite/notebooks/index.html?path={name}")
    _run_all(page)
    for worker in page.workers:
        loaded += worker.evaluate("performance.getEntriesByType('resource').map(r => r.name)")
    cells = json.loads((SITE / "lite" / "files" / name).read_text(encoding="utf-8"))["cells"]
    yield Notebook(page, sum(cell["cell_type"] == "code" for cell in cells), loaded, missing)
    context.close()


def test_every_cell_runs_and_none_fails(notebook):
    prompts = notebook.texts(".jp-CodeCell .jp-InputPrompt")
    assert [int(re.sub(r"\D", "", prompt)) for prompt in prompts] == list(
        range(1, notebook.cells + 1)
    )
    for kind in ("stderr", "error"):
        assert notebook.texts(f'[data-mime-type="application/vnd.jupyter.{kind}"]') == []
    assert notebook.texts('.explorer-status[role="alert"]') == []


def test_moving_a_slider_changes_picture_and_words(notebook):
    page = notebook.page
    output = page.locator(".jp-OutputArea-output").filter(has=page.locator(".widget-slider")).first
    slider = output.locator(".widget-slider").first
    shown = "e => [...e.querySelectorAll('svg, .explorer-sentence')].map(p => p.innerHTML).join()"
    before, start = output.evaluate(shown), slider.locator(".widget-readout").inner_text()
    assert slider.locator(".noUi-target").bounding_box()["width"] > 100
    slider.locator(".noUi-handle").click()
    page.keyboard.press("ArrowLeft")
    if slider.locator(".widget-readout").inner_text() == start:
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        f"([output, before]) => ({shown})(output) !== before",
        arg=[output.element_handle(), before],
    )
    assert slider.locator(".widget-readout").inner_text() != start
    assert notebook.texts('.explorer-status[role="alert"]') == []


def test_nothing_is_missing(notebook):
    assert notebook.missing == []


def test_nothing_is_asked_of_another_host(notebook, address):
    assert any("numpy" in url for url in notebook.loaded)
    own = (address, "data:", f"blob:{address}")
    assert [url for url in notebook.loaded if not url.startswith(own)] == []


def test_button_says_how_much_is_loaded(notebook):
    """Where it does not, what JupyterLite loads has changed, and `lite/loaded.txt` has to."""
    page = (SITE / "book" / "signal" / "initialization.html").read_text(encoding="utf-8")
    said = re.search(r"Run in this browser \(about (\d+) MB\)", page)
    assert said, "the launch menu has no entry for notebooks in the browser"
    paths = {SITE / urlsplit(url).path.lstrip("/") for url in notebook.loaded if "://" in url}
    measured = sum(path.stat().st_size for path in paths if path.is_file()) / 1e6
    assert abs(measured - int(said[1])) < 1.5, f"{measured:.1f} MB"


def test_no_source_maps():
    assert [p.name for p in (SITE / "lite").rglob("*.map")] == []
