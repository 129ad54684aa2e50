"""The built files: nothing from elsewhere, nothing missing, and little to load."""

import functools
import gzip
import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

import nbformat
import pytest

from tests.book.pages import PAGES, PLACES, ROOT
from trainlab.explorers import registry

each_page = pytest.mark.parametrize("page", PAGES)
LIMIT_THEME = 450_000  # bytes, gzip: the theme and its scripts before the first touch
LIMIT_PAGE = 1_200_000  # bytes, gzip: everything, stored states included


class Links(HTMLParser):
    """Attributes of elements that load or link something, and all ids."""

    def __init__(self, html):
        super().__init__()
        self.loaded, self.linked, self.ids, self.images = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag in ("script", "img", "iframe", "source") and attrs.get("src"):
            self.loaded.append(attrs["src"])
        if tag == "img":
            self.images.append(attrs)
        if tag == "link" and attrs.get("rel") in ("stylesheet", "preload", "icon", "shortcut icon"):
            self.loaded.append(attrs["href"])
        if tag == "a" and "href" in attrs:
            self.linked.append(attrs["href"])


def read(site, page):
    return (site / page).read_text(encoding="utf-8")


@functools.cache
def links_of(path):
    """What a built page loads, links and names; many pages link the same."""
    return Links(path.read_text(encoding="utf-8"))


@functools.cache
def zipped(path):
    """Bytes of a file, gzip."""
    return len(gzip.compress(path.read_bytes()))


@each_page
def test_nothing_is_loaded_from_another_host(site, page):
    html = read(site, page)
    links = links_of(site / page)
    assert links.loaded
    assert [u for u in links.loaded if u.startswith(("http:", "https:", "//"))] == []
    for word in (
        "requirejs",
        "require.min.js",
        "unpkg",
        "jsdelivr",
        "cdnjs",
        "widget-state",
        "thebe_config",
    ):
        assert word not in html
    assert "fontawesome.js" not in html


@each_page
def test_what_is_loaded_or_linked_inside_the_book_exists(site, page):
    links = links_of(site / page)
    here = (site / page).parent
    for url in links.loaded + links.linked:
        if re.match(r"[a-z]+:|//", url):
            continue
        path, anchor = urldefrag(url)
        target = (here / unquote(path.partition("?")[0])).resolve() if path else site / page
        assert target.exists(), f"{page} points to {url}, which is not there"
        if anchor and target.suffix == ".html":
            assert anchor in links_of(target).ids, f"{page}: {url}"


@each_page
def test_ids_are_unique_and_images_have_words(site, page):
    links = links_of(site / page)
    assert len(set(links.ids)) == len(links.ids), sorted(
        i for i in links.ids if links.ids.count(i) > 1
    )
    assert all("alt" in image for image in links.images)


@each_page
def test_formulas_are_typeset_without_errors(site, page):
    html = read(site, page)
    assert "katex-error" not in html
    body = re.sub(r"<(script|annotation|code|pre)\b.*?</\1>", "", html, flags=re.S)
    assert "MathJax" not in body
    assert not re.search(r"\\\(|\\\[|\$\$", re.sub(r"<[^>]+>", "", body))


@each_page
def test_no_cell_failed_and_no_markup_is_left_over(site, page):
    html = read(site, page)
    assert "Traceback" not in re.sub(r"<pre.*?</pre>", "", html, flags=re.S)
    text = re.sub(r"<[^>]+>", "", re.sub(r"<(script|pre|code)\b.*?</\1>", "", html, flags=re.S))
    assert "{eval}" not in text
    assert "{cite" not in text
    assert "nan" not in re.findall(r"\b\w+\b", text)


def _transferred(site, page):
    """Bytes (gzip) of the page and of what it loads, without the stored states."""
    loaded = {u.partition("?")[0] for u in links_of(site / page).loaded}
    files = {((site / page).parent / url).resolve() for url in loaded}
    return zipped(site / page) + sum(map(zipped, files))


@each_page
def test_page_is_light(site, page):
    html = zipped(site / page)
    theme = _transferred(site, page) - html
    states = sum(
        zipped(site / "_static" / s) for s in re.findall(r'data-states="([^"]+)"', read(site, page))
    )
    assert theme <= LIMIT_THEME
    assert theme + html + states <= LIMIT_PAGE


def test_every_registered_explorer_stands_on_a_page():
    assert set(registry()) - {name for _, name in PLACES} == set()


@pytest.mark.parametrize(("page", "name"), PLACES)
def test_page_shows_its_explorers(site, page, name):
    html = read(site, page)
    assert f'data-explorer="{name}"' in html
    (states,) = re.findall(rf'data-explorer="{re.escape(name)}".*?data-states="([^"]+)"', html)
    script = (site / "_static" / states).read_text(encoding="utf-8")
    payload = json.loads(script.partition(",")[2].removesuffix(");\n"))
    assert len(payload["states"]) > 1


@each_page
def test_page_can_be_taken_along(site, page):
    """Downloads as .md and .ipynb; the notebook has no outputs and runs elsewhere."""
    source = (ROOT / page).with_suffix(".md").read_text(encoding="utf-8")
    if "kernelspec" not in source:
        pytest.skip("not a notebook")
    html = read(site, page)
    name = page.removesuffix(".html")
    assert f"_sources/{name}.md" in html
    assert f"_sources/{name}.ipynb" in html
    notebook = nbformat.read(site / "_sources" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    codes = [c for c in notebook.cells if c.cell_type == "code"]
    assert all(not c.outputs for c in codes)
    assert "%pip install" in codes[0].source
    assert len(codes) == 1 + source.count("```{code-cell}")
    # Its prose quotes values as the page does; an expression in backticks is an example.
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert re.findall(r"(?<!`)\{(?:eval|ref|term|footcite:[pt])\}`", prose) == []
    for other in re.findall(r"\]\(([^):]+\.ipynb)\)", prose):
        assert (site / "_sources" / name).parent.joinpath(other).exists()


def test_notebook_quotes_the_values_of_the_page(site):
    name = "book/signal/initialization"
    text = (site / "_sources" / f"{name}.ipynb").read_text(encoding="utf-8")
    quoted = re.search(r"is (\S+) after 10 layers", text)
    shown = re.sub(r"</?span[^>]*>", "", read(site, f"{name}.html"))
    assert quoted
    assert f"is {quoted[1]} after 10 layers" in shown


@each_page
def test_launch_and_edit_buttons_point_to_this_page(site, page):
    if "kernelspec" not in (ROOT / page).with_suffix(".md").read_text(encoding="utf-8"):
        pytest.skip("not a notebook")
    linked = links_of(site / page).linked
    name = page.removesuffix(".html")
    assert any(
        u.startswith("https://mybinder.org/") and u.endswith(f"lab/tree/{name}.md") for u in linked
    )
    assert any(
        u.startswith("https://colab.") and u.endswith(f"_sources/{name}.ipynb") for u in linked
    )
    assert any(u.endswith(f"/edit/main/{name}.md") for u in linked)


def test_search_knows_the_pages(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for page in PAGES:
        assert f'"{page.removesuffix(".html")}"' in index


@each_page
def test_page_states_its_policy_first(site, page):
    head = read(site, page).partition("<head>")[2].lstrip()
    policy = re.match(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)"', head)
    assert policy
    assert "'unsafe-inline'" not in policy[1].partition("style-src")[0]


def test_page_runs_only_what_it_came_with(browser, address):
    window = browser.new_page()
    window.goto(f"{address}/{PAGES[0]}")
    window.evaluate(
        """() => { const script = document.createElement('script');
          script.textContent = 'window.intruder = true'; document.body.append(script); }"""
    )
    assert window.evaluate("window.intruder") is None
    window.close()
