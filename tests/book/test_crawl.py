"""Every control of every explorer on every built page, moved in a real browser."""

import json

import numpy as np
import pytest

from tests.book.pages import PAGES, PLACES
from tests.sites import move, shown, state_of
from trainlab.explorers import registry

pytestmark = pytest.mark.browser

EXPLORERS = registry()
each_place = pytest.mark.parametrize(("page", "name"), PLACES)
each_page = pytest.mark.parametrize("page", PAGES)


def explorer_named(name):
    if name in EXPLORERS:
        return EXPLORERS[name]
    from explorables import example

    return getattr(example, name.partition(".")[2])


def stored(state, explorer):
    return {c.name: state[c.name] for c in explorer.stored}


@each_place
def test_every_control_answers(open_page, page, name):
    """Each control runs through all its values; picture, words and numbers are Python's own."""
    explorer = explorer_named(name)
    figure = open_page(page).locator(f'figure[data-explorer="{name}"]')
    figure.scroll_into_view_if_needed()
    assert state_of(figure) == stored(explorer.defaults, explorer)
    for control in explorer.stored:
        pictures = set()
        for position, value in enumerate(control.values):
            move(figure, control.name, position)
            wanted = {**stored(explorer.defaults, explorer), control.name: value}
            assert state_of(figure) == wanted
            picture, sentence, numbers = shown(figure)
            pictures.add(picture)
            readout = explorer.readout(explorer.run(**wanted))
            assert sentence == readout.sentence
            np.testing.assert_allclose(
                [float(n.replace("inf", "Infinity")) for n in numbers],
                [number for _, number, _ in readout.rows()],
                rtol=1e-6,  # another thread count may sum in another order
            )
        move(figure, control.name, control.values.index(control.default))
        if len(pictures) == 1:  # the default may hide a control; a corner must not
            assert _answers_at_a_corner(figure, explorer, control)
    _walk(figure, explorer)
    assert figure.locator(".explorer-status").inner_text() == ""


def test_a_click_on_a_cell_chooses_its_row_and_column(open_page):
    figure = open_page("book/generalization/combinations.html").locator(
        'figure[data-explorer="combinations.pairs"]'
    )
    figure.locator("tbody tr").nth(6).locator("td").nth(2).click()
    figure.page.wait_for_function(
        "f => f.getAttribute('aria-busy') === 'false'", arg=figure.element_handle()
    )
    state = state_of(figure)
    assert (state["first"], state["second"]) == ("6", "2")
    assert figure.locator("select[name=first]").input_value() == "6"
    explorer = EXPLORERS["combinations.pairs"]
    assert shown(figure)[1] == explorer.readout(explorer.run(**state)).sentence


def _walk(figure, explorer):
    """Twenty-five random changes end where the controls stand."""
    rng = np.random.default_rng(0)
    for _ in range(25):
        control = explorer.stored[rng.integers(len(explorer.stored))]
        position = int(rng.integers(len(control.values)))
        move(figure, control.name, position)
        assert state_of(figure)[control.name] == control.values[position]
    final = state_of(figure)
    assert shown(figure)[1] == explorer.readout(explorer.run(**final)).sentence


def _answers_at_a_corner(figure, explorer, control):
    for corner in explorer.corners():
        for c in explorer.stored:
            move(figure, c.name, c.values.index(corner[c.name]))
        first = shown(figure)[0]
        for position in range(len(control.values)):
            move(figure, control.name, position)
            if shown(figure)[0] != first:
                figure.locator("[data-action=reset]").click()
                return True
    return False


@each_place
def test_keyboard_reaches_and_moves_every_control(open_page, page, name):
    explorer = explorer_named(name)
    window = open_page(page)
    figure = window.locator(f'figure[data-explorer="{name}"]')
    figure.scroll_into_view_if_needed()
    figure.locator(".explorer-controls [name]").first.focus()
    for control in figure.locator(".explorer-controls [name]").all():
        field = control.get_attribute("name")
        assert window.evaluate("document.activeElement.name") == field
        before = state_of(figure)[field]
        key = "Space" if control.get_attribute("type") == "checkbox" else None
        last = explorer.stored[[c.name for c in explorer.stored].index(field)].values[-1]
        window.keyboard.press(key or ("ArrowLeft" if before == last else "ArrowRight")
                              if control.get_attribute("type") in ("range", "checkbox")
                              else ("ArrowUp" if before == last else "ArrowDown"))  # fmt: skip
        window.wait_for_function(
            "([f, n, v]) => f.getAttribute('aria-busy') === 'false' && "
            "JSON.stringify(JSON.parse(f.dataset.state)[n]) !== v",
            arg=[figure.element_handle(), field, json.dumps(before)],
        )
        window.keyboard.press("Tab")


@each_page
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_fits_a_phone(open_page, page, theme):
    window = open_page(page, viewport={"width": 360, "height": 740}, color_scheme=theme)
    wide = window.evaluate(
        """() => { const limit = document.documentElement.clientWidth + 1;
          const scrolls = e => { for (let p = e; p; p = p.parentElement) {
            const o = getComputedStyle(p).overflowX;
            if (o === 'auto' || o === 'scroll' || o === 'hidden') return true; } return false; };
          return Array.from(document.querySelectorAll('main *, figure.explorer *'))
            .filter(e => e.getBoundingClientRect().right > limit && !scrolls(e))
            .map(e => e.tagName + '.' + e.className).slice(0, 5); }"""
    )
    assert wide == []
    assert window.evaluate("document.documentElement.dataset.theme") == theme


@each_page
@pytest.mark.parametrize(("width", "least"), [(1280, 11), (360, 8)])
def test_text_of_pictures_can_be_read(open_page, page, width, least):
    """The smallest text of a picture, in CSS pixels."""
    window = open_page(page, viewport={"width": width, "height": 800})
    sizes = window.evaluate(
        """() => Array.from(document.querySelectorAll('.explorer-picture svg')).flatMap(svg => {
          const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
          return Array.from(svg.querySelectorAll('text')) // a row of dots is not read
            .filter(t => /[\\p{L}\\p{N}]/u.test(t.textContent))
            .map(t => [parseFloat(getComputedStyle(t).fontSize) * scale, t.textContent]); })"""
    )
    assert [s for s in sizes if s[0] < least] == []


@each_page
def test_without_javascript_the_page_stands(open_page, page):
    window = open_page(page, java_script_enabled=False)
    assert window.locator("article h1").first.is_visible()
    for figure in window.locator("figure.explorer").all():
        assert figure.locator(".explorer-sentence").is_visible()
        assert not figure.locator(".explorer-controls").is_visible()
        assert figure.locator(".explorer-picture").bounding_box()["height"] > 100


@each_page
def test_from_a_file(browser, site, page):
    from tests.sites import Faults

    faults = Faults()
    context = browser.new_context()
    window = faults.watch(context.new_page())
    window.goto((site / page).as_uri())
    for figure in window.locator("figure.explorer").all():
        figure.scroll_into_view_if_needed()
        control = figure.locator(".explorer-controls [name]").first
        name = control.get_attribute("name")
        before = state_of(figure)[name]
        at_start = control.evaluate("c => c.value === '0' && c.type !== 'checkbox'")
        on = control.evaluate("c => c.checked === true")
        move(
            figure,
            name,
            1 if at_start else 0 if control.get_attribute("type") != "checkbox" else int(not on),
        )
        assert state_of(figure)[name] != before
    context.close()
    assert faults == []
