"""axe-core finds nothing on any page, light or dark, wide or narrow."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.book.pages import PAGES

pytestmark = pytest.mark.browser

# What is not laid out until it comes near would be measured against what stands there before.
LAY_OUT = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync('* { content-visibility: visible !important; }');
  document.adoptedStyleSheets = [sheet];
}"""


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing(open_page, page, theme, width):
    window = open_page(page, viewport={"width": width, "height": 900}, color_scheme=theme)
    window.evaluate(LAY_OUT)
    results = Axe().run(
        window,
        # The parts of a formula have the color of the text around it; they are half of all parts.
        context={"exclude": [[".katex"]]},
        options={
            "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
            # The theme's site title stands outside its landmarks.
            "rules": {"region": {"enabled": False}},
            "preload": False,
        },
    )
    found = [
        f"{v['id']}: {v['help']}: {[n['target'] for n in v['nodes']][:3]}"
        for v in results.response["violations"]
    ]
    assert found == []


@pytest.mark.parametrize("page", PAGES)
def test_reduced_motion_moves_nothing(open_page, page):
    window = open_page(page, reduced_motion="reduce")
    # What ends by itself while the page loads is over; nothing goes on moving.
    window.wait_for_function(
        "document.getAnimations().every(a => a.playState !== 'running')", timeout=5000
    )
