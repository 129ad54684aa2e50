"""Python in the page, measured: from asking to the first picture, from a control to its picture."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import numpy as np

from tests.book.asking import ask, figure_on, go_live
from tests.book.conftest import SITE
from tests.book.pages import PLACES
from tests.sites import chromium, served
from trainlab.explorers import registry

RUNS = 3  # of each start, in a browser that has nothing stored
STATES = 12  # of each explorer
CLOCK = """figure => new Promise((resolve) => {
  const start = performance.now();
  new MutationObserver((_, observer) => {
    if (figure.dataset.host !== 'live') return;
    observer.disconnect();
    resolve(performance.now() - start);
  }).observe(figure, {attributes: true});
  figure.querySelector('[data-action=live]').click();
})"""


def starts(address: str, browser: object) -> Iterator[tuple[str, float, float, str]]:
    """From the first question to the first live picture."""
    for what, name, budget in (
        ("a figure", "initialization.activation_variance", 6),
        ("an HTML view", "formats.bits", 3.5),
    ):
        page_name = next(page for page, other in PLACES if other == name and "index" not in page)
        times = []
        for _ in range(RUNS):
            context = browser.new_context()
            page = context.new_page()
            page.goto(f"{address}/{page_name}")
            times.append(figure_on(page, name).evaluate(CLOCK) / 1000)
            context.close()
        yield f"ask to first live picture, {what}", statistics.median(times), budget, "s"


def reactions(address: str, browser: object) -> Iterator[tuple[str, float, float, str]]:
    """From a control to its picture, over all explorers, each once warm."""
    times: list[float] = []
    slowest = ("", 0.0)
    for page_name in dict.fromkeys(name for name, _ in PLACES if "index" not in name):
        page = browser.new_page()
        page.goto(f"{address}/{page_name}")
        for name in [n for p, n in PLACES if p == page_name and n in registry()]:
            explorer = registry()[name]
            go_live(figure_on(page, name))
            states = list(explorer.states())[:: max(1, explorer.count() // STATES)][:STATES]
            taken = [ms for _, _, ms in ask(page, SITE, (page_name, name), states)]
            times += taken
            slowest = max(slowest, (name, statistics.median(taken)), key=lambda pair: pair[1])
        page.close()
    yield "control to picture by Python in the page, median", statistics.median(times), 40, "ms"
    yield (
        f"the same, 95th percentile (slowest: {slowest[0]}, {slowest[1]:.0f} ms)",
        float(np.quantile(times, 0.95)),
        120,
        "ms",
    )


def in_the_page() -> Iterator[tuple[str, float, float, str]]:
    """All rows; none when the book was built without Python for the browser."""
    if not (SITE / "_static/runtime/manifest.json").exists():
        print("The book was built without Python for the browser: nothing to measure there.")
        return
    with served(SITE) as address, chromium() as browser:
        yield from starts(address, browser)
        yield from reactions(address, browser)
