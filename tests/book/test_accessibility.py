"""axe-core finds nothing on any page, light or dark, wide or narrow."""

from importlib import resources

import pytest

from tests.book.pages import PAGES

pytestmark = pytest.mark.browser

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    # The theme's site title stands outside its landmarks.
    "rules": {"region": {"enabled": False}},
    "preload": False,
    # Naming thousands of elements with which nothing is wrong would take half of the time.
    "resultTypes": ["violations"],
}

# Contrast is most of the time. What looks alike (color, size, weight, what lies behind) has
# the same contrast: three of a kind are measured. Pages have thirty to sixty kinds.
MARK_ALIKE = """() => {
  // What is not laid out until it comes near would be measured against what stands there before.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync('* { content-visibility: visible !important; }');
  document.adoptedStyleSheets = [sheet];
  const grounds = new Map(), counts = new Map();
  const ground = (element) => {
    if (!element) return '';
    if (!grounds.has(element)) {
      const style = getComputedStyle(element), below = ground(element.parentElement);
      const own = [style.backgroundColor, style.backgroundImage, style.opacity].join();
      grounds.set(element, own === 'rgba(0, 0, 0, 0),none,1' ? below : own + below);
    }
    return grounds.get(element);
  };
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const style = getComputedStyle(element);
    const kind = [style.color, style.fontSize, style.fontWeight, ground(element)].join();
    counts.set(kind, (counts.get(kind) || 0) + 1);
    if (counts.get(kind) > 3) element.dataset.alike = '';
  }
  return counts.size;
}"""
UNMARK = """() => {
  document.adoptedStyleSheets = [];
  document.querySelectorAll('[data-alike]').forEach(e => e.removeAttribute('data-alike'));
}"""
RUN = """options => {
  axe.configure({rules: [{id: 'color-contrast', selector: '*:not([data-alike])'}]});
  return axe.run(document, options);
}"""


def found(window):
    """What axe-core has against a page."""
    assert window.evaluate(MARK_ALIKE) > 5
    window.evaluate(AXE)
    violations = window.evaluate(RUN, OPTIONS)["violations"]
    window.evaluate(UNMARK)
    return [f"{v['id']}: {v['help']}: {[n['target'] for n in v['nodes']][:3]}" for v in violations]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("how", ["wide", "phone"])
def test_axe_finds_nothing(look, page, how):
    """Light and wide, dark and narrow."""
    assert found(look(page, how)) == []


def test_axe_finds_what_is_hard_to_read(open_page):
    """One pale word among thousands, and a picture without words."""
    window = open_page(PAGES[0])
    window.evaluate(
        """() => { const word = document.createElement('p');
          word.textContent = 'pale'; word.style.color = '#bbb';
          document.querySelector('article p').after(word, document.createElement('img')); }"""
    )
    assert [fault.partition(":")[0] for fault in found(window)] == ["color-contrast", "image-alt"]


@pytest.mark.parametrize("page", PAGES)
def test_reduced_motion_moves_nothing(look, page):
    window = look(page, "phone")  # which asks for it
    # What ends by itself while the page loads is over; nothing goes on moving.
    window.wait_for_function(
        "() => document.getAnimations().every(a => a.playState !== 'running')", timeout=30_000
    )
