"""Every control of every explorer on every built page, moved in a real browser."""

import json

import numpy as np
import pytest

from tests.book.pages import PAGES, PLACES
from tests.sites import SETTLED, Faults, move, shown, state_of, tour
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


def at_rest(window, name):
    """The figure of an explorer, near enough to be loaded, its controls at their defaults."""
    figure = window.locator(f'figure[data-explorer="{name}"]')
    figure.scroll_into_view_if_needed()
    reset = figure.locator("[data-action=reset]")
    if reset.is_enabled():
        reset.click()
        figure.page.wait_for_function(SETTLED, arg=figure.element_handle())
    return figure


def assert_follows(explorer, state, sentence, numbers):
    """Words and numbers in the page are what Python says of the state."""
    readout = explorer.readout(explorer.run(**state))
    assert sentence == readout.sentence
    np.testing.assert_allclose(
        [float(n.replace("inf", "Infinity")) for n in numbers],
        [number for _, number, _ in readout.rows()],
        rtol=1e-6,  # another thread count may sum in another order
    )


@each_place
def test_every_control_answers(look, page, name):
    """Each control runs through all its values; picture, words and numbers are Python's own."""
    explorer = explorer_named(name)
    figure = at_rest(look(page), name)
    start = stored(explorer.defaults, explorer)
    assert state_of(figure) == start
    for control in explorer.stored:
        back = control.values.index(control.default)
        stops = tour(figure, [(control.name, i) for i in [*range(len(control.values)), back]])
        for value, (state, _, sentence, numbers) in zip(control.values, stops, strict=False):
            assert state == {**start, control.name: value}
            assert_follows(explorer, state, sentence, numbers)
        assert stops[-1][0] == start
        if len({picture for _, picture, _, _ in stops}) == 1:  # the default may hide a control
            assert _answers_at_a_corner(figure, explorer, control)
    _walk(figure, explorer)
    assert figure.locator(".explorer-status").inner_text() == ""


def test_a_click_on_a_cell_chooses_its_row_and_column(open_page):
    figure = open_page("book/generalization/combinations.html").locator(
        'figure[data-explorer="combinations.pairs"]'
    )
    figure.locator("tbody tr").nth(6).locator("td").nth(2).click()
    figure.page.wait_for_function(SETTLED, arg=figure.element_handle())
    state = state_of(figure)
    assert (state["first"], state["second"]) == ("6", "2")
    assert figure.locator("select[name=first]").input_value() == "6"
    explorer = EXPLORERS["combinations.pairs"]
    assert shown(figure)[1] == explorer.readout(explorer.run(**state)).sentence


def _walk(figure, explorer):
    """Twenty-five random changes end where the controls stand."""
    rng = np.random.default_rng(0)
    moves = []
    for _ in range(25):
        control = explorer.stored[rng.integers(len(explorer.stored))]
        moves.append((control, int(rng.integers(len(control.values)))))
    stops = tour(figure, [(control.name, position) for control, position in moves])
    for (control, position), (state, *_) in zip(moves, stops, strict=True):
        assert state[control.name] == control.values[position]
    state, _, sentence, numbers = stops[-1]
    assert_follows(explorer, state, sentence, numbers)


def _answers_at_a_corner(figure, explorer, control):
    """Somewhere the control changes the picture, if not at the defaults."""
    for corner in explorer.corners():
        tour(figure, [(c.name, c.values.index(corner[c.name])) for c in explorer.stored])
        stops = tour(figure, [(control.name, i) for i in range(len(control.values))])
        if len({picture for _, picture, _, _ in stops}) > 1:
            figure.locator("[data-action=reset]").click()
            return True
    return False


@each_place
def test_keyboard_reaches_and_moves_every_control(look, page, name):
    explorer = explorer_named(name)
    window = look(page)
    figure = at_rest(window, name)
    figure.locator(".explorer-controls [name]").first.focus()
    for control in explorer.stored:
        kind = window.evaluate("document.activeElement.type")
        before = state_of(figure)[control.name]
        assert window.evaluate("document.activeElement.name") == control.name
        last = before == control.values[-1]
        forth, back = ("ArrowRight", "ArrowLeft") if kind == "range" else ("ArrowDown", "ArrowUp")
        window.keyboard.press("Space" if kind == "checkbox" else back if last else forth)
        window.wait_for_function(
            "([f, n, v]) => f.getAttribute('aria-busy') === 'false' && "
            "JSON.stringify(JSON.parse(f.dataset.state)[n]) !== v",
            arg=[figure.element_handle(), control.name, json.dumps(before)],
        )
        window.keyboard.press("Tab")


@each_page
@pytest.mark.parametrize("how", ["phone", "turned"])
def test_page_fits_a_phone(look, page, how):
    """Dark from the start, or light and narrow after it was wide, as a window is dragged."""
    window = look(page, "phone" if how == "phone" else "wide")
    if how == "turned":
        window.set_viewport_size({"width": 360, "height": 740})
    wide = window.evaluate(
        """() => { const limit = document.documentElement.clientWidth + 1;
          const scrolls = e => { for (let p = e; p; p = p.parentElement) {
            const o = getComputedStyle(p).overflowX;
            if (o === 'auto' || o === 'scroll' || o === 'hidden') return true; } return false; };
          return Array.from(document.querySelectorAll('main *, figure.explorer *'))
            .filter(e => e.getBoundingClientRect().right > limit && !scrolls(e))
            .map(e => e.tagName + '.' + e.className).slice(0, 5); }"""
    )
    window.set_viewport_size({"width": 360 if how == "phone" else 1280, "height": 900})
    assert wide == []
    theme = window.evaluate("document.documentElement.dataset.theme")
    assert theme == ("dark" if how == "phone" else "light")


@each_page
@pytest.mark.parametrize(("how", "least"), [("wide", 11), ("phone", 8)])
def test_text_of_pictures_can_be_read(look, page, how, least):
    """The smallest text of a picture, in CSS pixels."""
    sizes = look(page, how).evaluate(
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
