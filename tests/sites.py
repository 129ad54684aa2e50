"""Serve a folder, and drive it with a real Chromium that reports every fault."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.browser_setup import find

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        pass  # a browser that closes a page drops its connections


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine; yields its address."""
    server = _Server(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Start the browser."""
    from playwright.sync_api import sync_playwright

    path = find()
    assert path is not None, "no Chromium; `make test` gets one"
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Faults(list):
    """What must not happen on a page: console errors, exceptions, requests to other hosts."""

    def watch(self, page: Any) -> Any:
        """Collect the faults of a page."""
        page.on(
            "console", lambda m: self.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.append(f"exception: {error}"))
        page.on("request", self._foreign)
        page.on(
            "response", lambda r: self.append(f"{r.status}: {r.url}") if r.status >= 400 else None
        )
        page.on("requestfailed", lambda r: self.append(f"failed: {r.url}"))
        return page

    def _foreign(self, request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1", "file:", "data:", "blob:")):
            self.append(f"another host: {request.url}")


SETTLED = "figure => figure.getAttribute('aria-busy') === 'false'"
# Set a control as a reader would, by position, and wait until the picture has followed.
SET = """async (figure, name, position) => {
  const field = figure.querySelector(`.explorer-controls [name="${name}"]`);
  if (field.type === 'checkbox') field.checked = position === 1;
  else field.value = String(position);
  field.dispatchEvent(new Event('input', {bubbles: true}));
  field.dispatchEvent(new Event('change', {bubbles: true}));
  const end = Date.now() + 30000;
  while (figure.getAttribute('aria-busy') !== 'false') {
    if (Date.now() > end) throw new Error(`${name} = ${position} was not answered`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}"""
SHOWN = """(figure) => [
  Array.from(figure.querySelectorAll('.explorer-part')).map(p => p.innerHTML).join('|'),
  figure.querySelector('.explorer-picture').getAttribute('aria-label'),
  Array.from(figure.querySelectorAll('.explorer-readout dd')).map(d => d.dataset.value)]"""
# One trip to the browser for many moves; of the pictures, only which were seen before.
TOUR = f"""async (figure, moves) => {{
  const set = {SET}, shown = {SHOWN}, pictures = [], stops = [];
  for (const [name, position] of moves) {{
    await set(figure, name, position);
    const [picture, sentence, numbers] = shown(figure);
    if (!pictures.includes(picture)) pictures.push(picture);
    stops.push([JSON.parse(figure.dataset.state), pictures.indexOf(picture), sentence, numbers]);
  }}
  return stops;
}}"""


def state_of(figure: Any) -> dict[str, Any]:
    """The state that an explorer says it shows."""
    return figure.evaluate("f => JSON.parse(f.dataset.state)")


def move(figure: Any, name: str, position: int) -> None:
    """Set a control, by position, and wait until the picture has followed."""
    figure.evaluate(
        f"(figure, [name, position]) => ({SET})(figure, name, position)", [name, position]
    )


def tour(
    figure: Any, moves: list[tuple[str, int]]
) -> list[tuple[dict[str, Any], int, str, list[str]]]:
    """Set one control after another; of each the state, picture (by number), sentence, numbers."""
    return figure.evaluate(TOUR, moves)


def shown(figure: Any) -> tuple[str, str, tuple[str, ...]]:
    """Picture, sentence and numbers as they stand in the page."""
    return figure.evaluate(SHOWN)
