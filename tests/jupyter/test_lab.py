"""A real JupyterLab with what Binder installs: a page opened, all cells run, a slider moved."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

# One JupyterLab for all of them, also when tests run on several cores.
pytestmark = pytest.mark.jupyter

ROOT = Path(__file__).parents[2]
BINDER = ROOT / ".venv-binder"
PAGE = "book/signal/initialization.md"


@pytest.fixture(scope="module")
def python():
    """The interpreter of an environment with exactly the Binder requirements."""
    path = BINDER / "bin" / "python"
    assert path.exists(), "no environment with the Binder requirements: `make test` makes it"
    return path


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def lab(python, tmp_path_factory):
    """JupyterLab on a copy of the repository, set up as binder/postBuild does."""
    home = tmp_path_factory.mktemp("lab")
    copy = home / "repository"
    shutil.copytree(
        ROOT,
        copy,
        ignore=shutil.ignore_patterns(
            "_build", ".venv*", ".git", ".lite", ".runtime", "__pycache__"
        ),
    )
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("EXPLORABLES_HOST", "PYTHONPATH")},
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "VIRTUAL_ENV": str(BINDER),
    }
    subprocess.run(["bash", "binder/postBuild"], cwd=copy, env=environment, check=True)
    port = _free_port()
    log = (home / "log").open("w")
    server = subprocess.Popen(
        [python, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
         "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password="],
        cwd=copy, env=environment, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            time.sleep(0.5)
            assert server.poll() is None, (home / "log").read_text()
            try:
                urllib.request.urlopen(f"{url}/api/status", timeout=5).close()
                break
            except OSError:
                continue
        else:
            raise AssertionError((home / "log").read_text())
        yield url
    finally:
        server.terminate()
        server.wait(20)
        log.close()


@pytest.fixture(scope="module")
def notebook(lab, browser):
    """The page, opened by its address as the launch button does, with all cells run."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f"{lab}/lab/tree/{PAGE}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=120_000)
    page.wait_for_function(
        # Before the kernel stands, running a cell would ask which one to take.
        """() => { const [name, state] = ['.jp-Toolbar-kernelName',
            '.jp-Notebook-ExecutionIndicator'].map(s => document.querySelector(s));
          return name?.textContent.includes('Python') && state?.dataset.status === 'idle'; }""",
        timeout=120_000,
    )
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator('[data-command="runmenu:run-all"]').click()
    page.wait_for_selector("svg.explorer-panel", state="attached", timeout=180_000)
    # The indicator is idle for a moment between two cells; at the end no prompt has a star.
    page.wait_for_function(
        """() => { const cells = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
          return cells.length && cells.every(c => !c.textContent.includes('*')); }""",
        timeout=180_000,
    )
    yield page
    page.close()


def test_page_opens_as_a_notebook_and_no_cell_fails(notebook):
    assert notebook.locator(".jp-Notebook .jp-CodeCell").count() > 3
    errors = notebook.locator(
        '[data-mime-type="application/vnd.jupyter.stderr"], '
        '[data-mime-type="application/vnd.jupyter.error"]'
    )
    assert errors.all_inner_texts() == []


def test_formulas_and_folds_are_rendered(notebook):
    """jupyterlab-myst shows directives as what they are, not as fenced text."""
    assert (
        notebook.locator(
            ".jp-MarkdownOutput .katex, .jp-RenderedMarkdown .katex, .myst .katex"
        ).count()
        > 0
        or notebook.locator("mjx-container").count() > 0
    )


def test_moving_a_slider_changes_picture_and_words(notebook):
    panel = notebook.locator("svg.explorer-panel").nth(1)
    slider = notebook.locator(".jp-OutputArea .widget-slider").first
    slider.scroll_into_view_if_needed()
    sentence = notebook.locator("p.explorer-sentence").first
    before, words = panel.inner_html(), sentence.inner_text()
    handle = slider.locator(".noUi-handle")
    handle.focus()
    start = slider.locator(".widget-readout").inner_text()
    notebook.keyboard.press("ArrowLeft")
    if slider.locator(".widget-readout").inner_text() == start:
        notebook.keyboard.press("ArrowRight")
    notebook.wait_for_function(
        "words => document.querySelector('p.explorer-sentence').innerText !== words", arg=words
    )
    assert slider.locator(".widget-readout").inner_text() != start
    notebook.wait_for_function(
        "before => document.querySelectorAll('svg.explorer-panel')[1].innerHTML !== before",
        arg=before,
    )
    assert notebook.locator('.explorer-status[role="alert"]').count() == 0


def test_still_and_moving_part_lie_on_each_other(notebook):
    boxes = [notebook.locator("svg.explorer-panel").nth(i).bounding_box() for i in (0, 1)]
    assert all(abs(boxes[0][k] - boxes[1][k]) < 1 for k in ("x", "y", "width", "height")), boxes


def test_binder_environment_has_nothing_but_its_requirements(python):
    """Whatever the pages import comes from binder/requirements.txt."""
    done = subprocess.run(
        [python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True
    )
    names = {p["name"].lower() for p in json.loads(done.stdout)}
    assert {"jupyterlab", "jupytext", "ipywidgets", "training-deep-networks-live"} <= names
    assert not names & {"jax", "torch", "playwright", "pytest"}
    assert sys.version_info >= (3, 11)
