"""axe-core finds nothing on any page, light or dark, wide or narrow."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.book.pages import PAGES

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing(open_page, page, theme, width):
    window = open_page(page, viewport={"width": width, "height": 900}, color_scheme=theme)
    results = Axe().run(
        window,
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
