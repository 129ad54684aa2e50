"""A small book of somebody else: one explorer, no line of this project's own subject."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONF = """
project = "Small"
extensions = ["myst_nb", "explorables.sphinx"]
html_theme = "alabaster"
nb_execution_mode = "inline"
nb_execution_raise_on_error = True
nb_ipywidgets_js = {}
exclude_patterns = ["_build", "jupyter_execute"]
"""

HEADER = """\
---
file_format: mystnb
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""

PAGE = (
    HEADER
    + """
# A page

```{code-cell} ipython3
from example import wave
wave.show()
```

```{code-cell} ipython3
from explorables import num
x = num(8.88e-16)
```

The number is {eval}`x`.
"""
)


def build(folder, *, ok=True):
    """Run Sphinx with warnings as errors; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-b", "html", ".", "_build"],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, text
    return text


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The built book."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "conf.py").write_text(CONF, encoding="utf-8")
    example = Path(__file__).with_name("example.py").read_text(encoding="utf-8")
    (folder / "example.py").write_text(example, encoding="utf-8")
    (folder / "index.md").write_text(
        "# Small\n\n```{toctree}\npage\nplain\n```\n", encoding="utf-8"
    )
    (folder / "page.md").write_text(PAGE, encoding="utf-8")
    (folder / "plain.md").write_text("# No explorer here\n", encoding="utf-8")
    build(folder)
    return folder


def read(book, name):
    return (book / "_build" / name).read_text(encoding="utf-8")


def test_page_holds_the_figure_and_its_numbers(book):
    html = read(book, "page.html")
    assert html.count('<figure class="explorer"') == 1
    assert "The number is 8.88·10⁻¹⁶." in re.sub(r"<[^>]+>", "", html)


def test_states_lie_where_the_page_says(book):
    (place,) = re.findall(r'data-states="([^"]+)"', read(book, "page.html"))
    script = read(book, f"_static/{place}")
    assert script.startswith('explorables.receive("example.wave",{"controls":')
    assert [p.name for p in (book / "_build/_static/explorers").iterdir()] == [Path(place).name]


def test_script_only_where_it_is_needed(book):
    assert "explorables.js" in read(book, "page.html")
    assert "explorables.js" not in read(book, "plain.html")
    assert "explorables.css" in read(book, "page.html")
    assert "--xp-blue" in read(book, "_static/explorables-palette.css")


def test_no_widget_state_and_no_foreign_script(book):
    html = read(book, "page.html")
    for word in ("widget", "require", "unpkg", "jsdelivr", "cdnjs"):
        assert word not in html


def test_a_failing_state_fails_the_build_and_is_named(book, tmp_path):
    for name in ("conf.py", "example.py", "plain.md"):
        (tmp_path / name).write_bytes((book / name).read_bytes())
    spoilt = (
        (tmp_path / "example.py")
        .read_text(encoding="utf-8")
        .replace(
            "    x = np.linspace(0.0, 6.0, 40)\n",
            "    x = np.linspace(0.0, 6.0, 40)\n    assert frequency < 4, 'too fast'\n",
        )
    )
    (tmp_path / "example.py").write_text(spoilt, encoding="utf-8")
    (tmp_path / "index.md").write_text(PAGE + "\n```{toctree}\nplain\n```\n", encoding="utf-8")
    text = build(tmp_path, ok=False)
    assert "explorer example.wave failed in the state" in text
    assert '"frequency": 4' in text


def test_a_changed_page_leaves_no_old_states(book):
    page = book / "page.md"
    page.write_text(PAGE.replace("import wave\nwave", "import digits\ndigits"), encoding="utf-8")
    build(book)
    names = [p.name.rsplit(".", 2)[0] for p in (book / "_build/_static/explorers").iterdir()]
    assert names == ["example.digits"]
    page.write_text(PAGE, encoding="utf-8")
