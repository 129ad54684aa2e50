"""Look at an explorer without building a book, or check all explorers of a module.

``python -m explorables.preview package.module:explorer out.png --state '{"depth": 50}'``
``python -m explorables.preview --check package.module``
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import time
from pathlib import Path

from . import palette
from .explorer import Explorer, State
from .page import figure_html
from .picture import picture_of
from .shown import show_state
from .states import bake

__all__ = ["check", "document", "main"]

STATIC = Path(__file__).parent / "static"


def document(explorer: Explorer, state: State, *, dark: bool = False) -> str:
    """Return a page that holds the explorer in one state and nothing else."""
    picture = picture_of(explorer)
    shown = show_state(explorer, picture, {**explorer.defaults, **state})
    css = palette.stylesheet("html", "html[data-theme=dark]")
    css += (STATIC / "explorables.css").read_text(encoding="utf-8")
    extra = Path("book/_static")
    css += "".join(p.read_text(encoding="utf-8") for p in sorted(extra.glob("*.css")))
    body = figure_html(explorer, picture, shown, states_url="")
    theme = "dark" if dark else "light"
    return (
        f'<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">'
        f"<style>body{{font:16px system-ui,sans-serif;background:var(--xp-paper);margin:8px}}{css}"
        f"</style><body>{body}<p>{json.dumps(state)}</p></body></html>"
    )


def screenshot(html: str, out: Path, width: int) -> None:
    """Save a picture of the page, taken with the system's Chromium."""
    from playwright.sync_api import sync_playwright

    browser = next(
        (p for n in ("chromium", "google-chrome", "chromium-browser") if (p := shutil.which(n))),
        None,
    )
    with sync_playwright() as tools:
        chromium = tools.chromium.launch(
            executable_path=browser,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = chromium.new_page(viewport={"width": width, "height": 600})
        page.set_content(html)
        page.screenshot(path=out, full_page=True)
        chromium.close()


def check(explorer: Explorer) -> str:
    """Compute all states within the budgets, and compare moving with drawing afresh."""
    start = time.perf_counter()
    baked = bake(explorer)
    fresh_picture = picture_of(explorer)
    for state in list(explorer.corners())[:8]:
        moved = show_state(explorer, baked.picture, state)
        fresh = show_state(explorer, fresh_picture, state)
        if moved != fresh:
            raise AssertionError(f"{explorer.name}: the picture of {state} depends on history")
    return (
        f"{explorer.name}: {explorer.count()} states, {baked.seconds:.1f} s of computing, "
        f"{baked.gzipped / 1000:.1f} kB gzip, {time.perf_counter() - start:.1f} s in all"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="explorables.preview", description=__doc__)
    parser.add_argument("target", help="package.module:explorer, or package.module with --check")
    parser.add_argument("out", nargs="?", type=Path, help="the PNG to write")
    parser.add_argument("--state", type=json.loads, default={}, help="a JSON object")
    parser.add_argument("--width", type=int, default=760, help="of the window, in pixels")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--check", action="store_true", help="all states of all explorers")
    options = parser.parse_args(arguments)
    module, _, name = options.target.partition(":")
    module = importlib.import_module(module)
    if options.check:
        for explorer in module.EXPLORERS:
            print(check(explorer), flush=True)
        return 0
    html = document(getattr(module, name), options.state, dark=options.dark)
    if options.out.suffix == ".html":
        options.out.write_text(html, encoding="utf-8")
    else:
        screenshot(html, options.out, options.width)
    return 0


if __name__ == "__main__":
    sys.exit(main())
