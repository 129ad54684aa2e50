"""Python in the page: the same answers as those computed ahead, and no harm when it cannot run."""

from __future__ import annotations

import json
import math
import re

import pytest

from tests.book.asking import PATIENCE, ask, figure_on, go_live, settle
from tests.book.conftest import SITE
from tests.book.pages import PLACES
from tests.sites import Faults, move, shown, state_of
from trainlab.explorers import registry

pytestmark = [pytest.mark.browser]

BITS = ("book/numbers/formats.html", "formats.bits")
WAVES = ("book/signal/initialization.html", "initialization.activation_variance")
RUNTIME = SITE / "_static/runtime/manifest.json"

if not RUNTIME.exists():  # said aloud by pytest's summary, and by `make book` before
    pytest.skip("the book was built without Python for the browser", allow_module_level=True)


def type_into(figure, name, text):
    figure.locator(f'.explorer-live [name="{name}"]').fill(text)
    settle(figure)


def readout(figure):
    return {
        dt.inner_text(): dd.get_attribute("data-value")
        for dt, dd in zip(
            figure.locator("dt").all(), figure.locator("dd").all(), strict=True
        )
    }  # fmt: skip


# The same answers.

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
NAMES = re.compile(r' (?:id|href|clip-path|xlink:href)="[^"]*"')
STYLE = re.compile(r'style="([^"]*)"')


def skeleton(markup):
    """The marks without ids, with the declarations of each style in one order."""
    markup = NAMES.sub("", markup)
    return STYLE.sub(lambda m: "style=" + "; ".join(sorted(m[1].split("; "))), markup)


def assert_alike(ahead, live):
    """Same marks; places to half a pixel, as two releases of matplotlib measure text."""
    ahead, live = skeleton(ahead), skeleton(live)
    assert NUMBER.sub("#", ahead) == NUMBER.sub("#", live)
    for a, b in zip(NUMBER.findall(ahead), NUMBER.findall(live), strict=True):
        assert abs(float(a) - float(b)) <= 0.5


@pytest.fixture(scope="module")
def started(browser, address):
    """A page whose Python answers for the explorers of all pages, and its faults."""
    faults = Faults()
    page = faults.watch(browser.new_page())
    page.goto(f"{address}/{WAVES[0]}")
    yield page, faults
    page.close()


@pytest.mark.parametrize(
    ("page_name", "name"), [place for place in PLACES if place[1] in registry()]
)
def test_corner_states_are_those_computed_ahead(started, site, page_name, name):
    page, faults = started
    explorer = registry()[name]
    corners = list(explorer.corners())[:: max(1, explorer.count() // 200)][:6]
    for stored, answer, _ in ask(page, site, (page_name, name), corners):
        assert "error" not in answer, answer
        parts, sentence, numbers = answer["entry"]
        assert sentence == stored[1]
        for (a, _), (b, _) in zip(stored[2], numbers, strict=True):
            a, b = float(a), float(b)
            assert math.isclose(a, b, rel_tol=1e-6) or (math.isnan(a) and math.isnan(b))
        for ahead, live in zip(stored[0], parts, strict=True):
            assert_alike(ahead, live)
    assert faults == []


@pytest.mark.parametrize(("page_name", "name"), [BITS, WAVES])
def test_button_says_how_much_is_loaded(open_page, page_name, name):
    page = open_page(page_name)
    figure = figure_on(page, name)
    said = re.search(r"about (\d+) MB", figure.locator("[data-action=live]").inner_text())
    assert said
    go_live(figure)
    loaded = "performance.getEntriesByType('resource').map(r => new URL(r.name).pathname)"
    paths = {SITE / path.lstrip("/") for path in page.workers[0].evaluate(loaded)}
    measured = sum(path.stat().st_size for path in paths if "runtime" in path.parts) / 1e6
    assert abs(measured - int(said[1])) < 0.6


# What only Python can compute.


def test_any_number_and_any_bit(open_page):
    figure = figure_on(open_page(BITS[0]), BITS[1])
    go_live(figure)
    type_into(figure, "typed", "0.7")
    assert state_of(figure)["typed"] == "0.7"
    assert float(readout(figure)["Number"]) == 0.7
    before = shown(figure)
    assert figure.locator("[data-bit]:visible").count() == 16  # of BF16, the format in focus
    figure.locator('[data-bit="15"]').click()
    settle(figure)
    assert figure.locator('[data-bit="15"]').get_attribute("aria-pressed") == "true"
    assert state_of(figure)["flips"] == 2**15
    assert float(readout(figure)["In the format in focus"]) == -0.69921875
    assert shown(figure) != before
    figure.locator("[data-action=reset]").click()
    settle(figure)
    assert "flips" not in state_of(figure)  # a state that was computed ahead
    assert figure.locator('[name="typed"]').input_value() == ""


def test_free_text_is_data(open_page):
    figure = figure_on(open_page(BITS[0]), BITS[1])
    go_live(figure)
    good = shown(figure)
    type_into(figure, "typed", '"); import js; js.document.title = "owned"; ("')
    trouble = figure.locator(".explorer-trouble")
    assert "number" in trouble.locator("p").inner_text()
    assert trouble.locator("details").get_attribute("open") is None
    assert shown(figure) == good
    assert "owned" not in figure.page.title()
    type_into(figure, "typed", "1")
    assert trouble.inner_text() == ""


def test_another_seed_and_a_value_in_between(open_page):
    figure = figure_on(open_page(WAVES[0]), WAVES[1])
    go_live(figure)
    before = shown(figure)
    type_into(figure, "seed", "7")
    assert state_of(figure)["seed"] == 7
    assert shown(figure) != before
    depth = figure.locator('.explorer-controls [name="depth"]')
    depth.evaluate("f => { f.value = '1.5'; f.dispatchEvent(new Event('input')); }")
    settle(figure)
    assert 25 < state_of(figure)["depth"] < 50
    assert depth.get_attribute("aria-valuetext") == f"{state_of(figure)['depth']} layers"
    assert (
        figure.locator('output[for$="-depth"]').inner_text()
        == f"{state_of(figure)['depth']} layers"
    )


def test_many_changes_end_on_the_last(open_page):
    figure = figure_on(open_page(WAVES[0]), WAVES[1])
    go_live(figure)
    figure.locator('.explorer-live [name="seed"]').evaluate(
        """async f => { for (let i = 0; i < 200; i++) {
          f.value = String(i); f.dispatchEvent(new Event('input'));
          await new Promise((r) => setTimeout(r, 10)); } }"""
    )
    settle(figure)
    assert state_of(figure)["seed"] == 199


def test_python_is_shared_and_kept(open_page):
    page = open_page(BITS[0])
    asked = []
    page.on("request", lambda r: asked.append(r.url) if "/runtime/" in r.url else None)
    go_live(figure_on(page, BITS[1]))
    assert asked
    workers = len(page.workers)
    go_live(figure_on(page, "formats.swamping"))
    assert len(page.workers) == workers == 1


# When it cannot run, what was computed ahead goes on answering.

SHORTEN = """async (limits) => {
  const script = document.querySelector('script[src*="explorables.js"]').src;
  const module = await import(script.replace(/explorables[.]js.*/, 'explorables-live.js'));
  Object.assign(module.LIMITS, limits);
}"""
HEAP = "explorablesHeap()"


def assert_still_answers(figure):
    name = next(iter(state_of(figure)))
    fields = figure.locator(".explorer-controls [name]")
    name = fields.first.get_attribute("name")
    before = shown(figure)
    position = 0 if fields.first.evaluate("f => Number(f.value)") else 1
    move(figure, name, position)
    assert shown(figure) != before


def without(route, change):
    response = route.fetch()
    route.fulfill(response=response, body=change(response.body()))


@pytest.mark.parametrize(
    ("file", "answer"),
    [
        ("pyodide.asm.wasm", lambda route: route.fulfill(status=404)),
        ("python_stdlib.zip", lambda route: without(route, lambda body: body[:-100])),
        ("packages.zip", lambda route: without(route, lambda body: body[:-1] + b"!")),
        ("manifest.json", lambda route: route.abort()),
    ],
    ids=["missing", "truncated", "altered", "unreachable"],
)
def test_broken_runtime(browser, address, file, answer):
    context = browser.new_context()
    context.route(re.compile(rf"/runtime/{re.escape(file)}"), answer)
    page = context.new_page()
    page.goto(f"{address}/{BITS[0]}")
    figure = figure_on(page, BITS[1])
    figure.locator("[data-action=live]").click()
    status = figure.locator(".explorer-status")
    page.wait_for_function(
        "s => s.textContent !== ''", arg=status.element_handle(), timeout=PATIENCE
    )
    assert "goes on answering" in status.inner_text()
    assert figure.get_attribute("data-host") == "baked"
    assert_still_answers(figure)
    context.close()


def test_worker_that_dies(open_page):
    page = open_page(BITS[0])
    figure = figure_on(page, BITS[1])
    go_live(figure)
    page.evaluate(SHORTEN, {"compute": 500})
    page.evaluate("async () => (await window.explorables.python.live).worker.terminate()")
    figure.locator('.explorer-live [name="typed"]').fill("3")
    status = figure.locator(".explorer-status")
    page.wait_for_function(
        "s => s.textContent !== ''", arg=status.element_handle(), timeout=PATIENCE
    )
    assert "did not answer" in status.inner_text()
    assert figure.locator('[name="typed"]').input_value() == "3"  # nothing of the reader's is lost
    figure.locator("[data-action=reset]").click()
    assert_still_answers(figure)


def test_worker_that_dies_while_it_starts(open_page):
    page = open_page(BITS[0])
    page.evaluate(SHORTEN, {"silent": 3000})
    figure = figure_on(page, BITS[1])
    figure.locator("[data-action=live]").click()
    figure.locator(".explorer-progress").wait_for(state="visible")
    page.evaluate("async () => (await window.explorables.python.live).worker.terminate()")
    status = figure.locator(".explorer-status")
    page.wait_for_function("s => s.textContent !== ''", arg=status.element_handle())
    assert "did not answer" in status.inner_text()
    assert_still_answers(figure)


def test_stopped_by_the_reader(open_page):
    page = open_page(WAVES[0])
    figure = figure_on(page, WAVES[1])
    figure.locator("[data-action=live]").click()
    stop = figure.locator("[data-action=stop]")
    stop.wait_for(state="visible")
    assert figure.locator(".explorer-progress").is_visible()
    stop.click()
    settle(figure)
    assert "Stopped" in figure.locator(".explorer-status").inner_text()
    assert_still_answers(figure)
    go_live(figure)  # and starts again when asked


def test_page_from_a_file_offers_nothing_it_cannot_do(browser):
    page = browser.new_page()
    page.goto((SITE / BITS[0]).as_uri())
    figure = figure_on(page, BITS[1])
    assert not figure.locator("[data-action=live]").is_visible()
    assert not figure.locator(".explorer-live").is_visible()
    assert figure.locator(".explorer-note").is_visible()
    assert_still_answers(figure)
    page.close()


def test_manifest_lists_every_file():
    listed = json.loads(RUNTIME.read_text(encoding="utf-8"))["files"]
    there = {p.name: p.stat().st_size for p in RUNTIME.parent.iterdir() if p != RUNTIME}
    assert there == {name: described["size"] for name, described in listed.items()}
    assert sum(there.values()) <= 27e6


def test_memory_does_not_grow_with_the_states(open_page, site):
    page = open_page(WAVES[0])
    figure = figure_on(page, WAVES[1])
    go_live(figure)
    states = [dict(registry()[WAVES[1]].defaults, seed=seed) for seed in range(200)]
    ask(page, site, WAVES, states[:50])
    before = page.workers[0].evaluate(HEAP)
    ask(page, site, WAVES, states)
    assert page.workers[0].evaluate(HEAP) - before <= 20e6


def test_hidden_tab_gets_its_time_again(open_page):
    """A browser slows hidden tabs down; that must not look like a Python that died."""
    page = open_page(BITS[0])
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.evaluate(SHORTEN, {"silent": 50})
    figure = figure_on(page, BITS[1])
    go_live(figure)
    assert figure.locator(".explorer-status").inner_text() == ""
