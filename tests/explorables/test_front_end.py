"""The script of the built page in a real browser: it answers, and it fails well."""

import json

import pytest

from explorables import palette
from explorables.hosts import MIME, PageBundle
from explorables.sphinx import STATIC
from tests.explorables.example import digits, wave
from tests.sites import Faults, move, served, shown, state_of

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page with both example explorers, far enough down to be loaded late."""
    root = tmp_path_factory.mktemp("site")
    (root / "explorers").mkdir()
    body = ""
    for explorer in (wave, digits):
        content = PageBundle(explorer)._repr_mimebundle_()[MIME]
        (root / "explorers" / content["file"]).write_text(content["script"], encoding="utf-8")
        body += content["html"]
    css = palette.stylesheet("html", ".dark") + (STATIC / "explorables.css").read_text()
    (root / "explorables.js").write_bytes((STATIC / "explorables.js").read_bytes())
    for name, gap in (("index", 0), ("deep", 4000)):
        (root / f"{name}.html").write_text(
            f"<!doctype html><html lang=en><meta charset=utf-8><link rel=icon href=data:,>"
            f"<title>Page</title><style>{css}</style><div style='height:{gap}px'></div>{body}"
            "<script src=explorables.js defer></script></html>",
            encoding="utf-8",
        )
    return root


@pytest.fixture(scope="module")
def address(folder):
    with served(folder) as url:
        yield url


@pytest.fixture
def page(browser):
    context = browser.new_context()
    page = context.new_page()
    page.faults = Faults()
    page.faults.watch(page)
    yield page
    context.close()


def figure_on(page, url, explorer=wave):
    page.goto(url)
    return page.locator(f'figure[data-explorer="{explorer.name}"]')


def test_every_state_is_the_one_that_python_made(page, address):
    figure = figure_on(page, address)
    from explorables.picture import picture_of

    picture = picture_of(wave)
    for i, frequency in enumerate((0.5, 1.0, 2.0, 4.0)):
        move(figure, "frequency", i)
        for j, shape in enumerate(("sine", "cosine")):
            move(figure, "shape", j)
            for squared in (False, True):
                move(figure, "squared", int(squared))
                state = {"frequency": frequency, "shape": shape, "squared": squared}
                assert state_of(figure) == state
                data = wave.run(**state)
                markup, sentence, numbers = shown(figure)
                assert sentence == wave.readout(data).sentence
                assert float(numbers[0]) == data.y.max()
                assert f"frequency {frequency:g}" in markup
                assert markup.count("<path") == "".join(picture.parts(data)).count("<path")
    assert page.faults == []


def test_labels_follow_the_control(page, address):
    figure = figure_on(page, address)
    move(figure, "frequency", 3)
    slider = figure.locator("[name=frequency]")
    assert slider.get_attribute("aria-valuetext") == "4 1/s"
    assert figure.locator("output").first.inner_text() == "4 1/s"


def test_keyboard_alone_moves_everything(page, address):
    figure = figure_on(page, address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "frequency"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('figure').ariaBusy === 'false'")
    page.wait_for_timeout(300)
    assert state_of(figure) == {"frequency": 2.0, "shape": "cosine", "squared": True}
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.action") == "reset"
    page.keyboard.press("Enter")
    assert state_of(figure) == {"frequency": 1.0, "shape": "sine", "squared": False}


def test_reset_is_offered_only_away_from_the_default(page, address):
    figure = figure_on(page, address)
    reset = figure.locator("[data-action=reset]")
    first = shown(figure)
    assert reset.is_disabled()
    move(figure, "frequency", 3)
    assert reset.is_enabled()
    reset.click()
    assert reset.is_disabled()
    assert shown(figure)[1:] == first[1:]


def test_states_load_only_near_the_viewport(page, address):
    asked = []
    page.on("request", lambda r: asked.append(r.url) if "/explorers/" in r.url else None)
    figure = figure_on(page, address + "/deep.html")
    page.wait_for_timeout(300)
    assert asked == []
    figure.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    assert len(asked) == 2


def test_two_hundred_changes_end_on_the_last(page, address):
    """Faster than pictures arrive: the states are held back while the slider moves."""
    page.route("**/explorers/*", lambda route: (page.wait_for_timeout(400), route.continue_()))
    figure = figure_on(page, address)
    figure.evaluate(
        """f => { const s = f.querySelector('[name=frequency]');
          const move = to => { s.value = String(to); s.dispatchEvent(new Event('input')); };
          for (let i = 0; i <= 200; i++) move(i % 4);
          move(3); }"""
    )
    page.wait_for_function("document.querySelector('figure').ariaBusy === 'false'")
    assert state_of(figure)["frequency"] == 4
    assert "frequency 4" in shown(figure)[0]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda route: route.abort(), "could not be loaded"),
        (lambda route: route.fulfill(status=404, body="no"), "could not be loaded"),
        (lambda route: route.fulfill(body="", content_type="text/javascript"), "holds no states"),
        (
            lambda route: route.fulfill(
                body='explorables.receive("example.wave",{"controls":[["other",[1]]],"states":[]});',
                content_type="text/javascript",
            ),
            "another version",
        ),
    ],
    ids=["unreachable", "missing", "empty", "other version"],
)
def test_states_that_cannot_be_loaded_leave_the_default(page, address, fault, words):
    page.route("**/example.wave*", fault)
    figure = figure_on(page, address)
    first = shown(figure)
    move(figure, "frequency", 3)
    assert shown(figure) == first
    assert state_of(figure)["frequency"] == 1.0
    assert figure.locator("[name=frequency]").input_value() == "1"
    assert words in figure.locator(".explorer-status").inner_text()
    other = page.locator('figure[data-explorer="example.digits"]')
    move(other, "number", 2)
    assert state_of(other) == {"number": 123}
    assert other.locator("td").count() == 3


def test_a_failed_load_is_tried_again(page, address):
    page.route("**/example.wave*", lambda route: route.abort())
    figure = figure_on(page, address)
    move(figure, "frequency", 3)
    page.unroute("**/example.wave*")
    move(figure, "frequency", 3)
    assert state_of(figure)["frequency"] == 4.0
    assert figure.locator(".explorer-status").inner_text() == ""


@pytest.mark.parametrize(
    "spoil", ["null", "[]", '[["a"],"b",[]]', '[[1,2],"b",[["1","1"],["1","1"]]]']
)
def test_a_malformed_state_keeps_the_picture(page, address, folder, spoil):
    file = next((folder / "explorers").glob("example.wave*"))
    text = file.read_text(encoding="utf-8")
    payload = json.loads(
        text.removeprefix('explorables.receive("example.wave",').removesuffix(");\n")
    )
    payload["states"][12] = json.loads(spoil)  # frequency 4, sine, not squared
    broken = f'explorables.receive("example.wave",{json.dumps(payload)});'
    page.route(
        "**/example.wave*",
        lambda route: route.fulfill(body=broken, content_type="text/javascript; charset=utf-8"),
    )
    figure = figure_on(page, address)
    move(figure, "frequency", 2)
    before = shown(figure)
    move(figure, "frequency", 3)
    assert shown(figure) == before
    assert state_of(figure)["frequency"] == 2.0
    assert "could not be read" in figure.locator(".explorer-status").inner_text()
    move(figure, "shape", 1)
    assert state_of(figure) == {"frequency": 2.0, "shape": "cosine", "squared": False}
    assert page.faults == []


def test_works_from_a_file(page, folder):
    figure = figure_on(page, (folder / "index.html").as_uri())
    move(figure, "frequency", 3)
    assert state_of(figure)["frequency"] == 4.0
    assert page.faults == []


def test_without_javascript_the_default_stands_and_nothing_dead_is_offered(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("figure").first.locator("svg").count() == 2
    assert page.locator(".explorer-sentence").first.is_visible()
    assert not page.locator(".explorer-controls").first.is_visible()
    context.close()


def test_remembered_form_fields_do_not_contradict_the_picture(page, address):
    figure = figure_on(page, address)
    move(figure, "frequency", 3)
    page.reload()
    assert figure.locator("[name=frequency]").input_value() == "1"
    assert state_of(figure)["frequency"] == 1.0


def test_print_shows_picture_and_numbers_without_controls(page, address):
    figure = figure_on(page, address)
    page.emulate_media(media="print")
    assert not figure.locator(".explorer-controls").is_visible()
    assert figure.locator(".explorer-readout").is_visible()
