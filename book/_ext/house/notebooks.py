"""Each page as a notebook without outputs, to download or to open on Colab.

The theme would offer the executed notebook, with all stored pictures in it, and would send
Colab to the Markdown file, which Colab cannot open.
"""

from pathlib import Path

import jupytext
import nbformat

INSTALL = """\
try:
    import trainlab
except ImportError:  # a kernel without the book's library, as on Colab
    %pip install -q "git+{url}@{branch}"
"""


def _is_notebook(app, pagename):
    return "kernelspec" in app.env.metadata.get(pagename, {})


def notebook_of(page, url, branch):
    """Convert a page to a notebook that installs what it needs where it is missing."""
    notebook = jupytext.read(page)
    install = nbformat.v4.new_code_cell(INSTALL.format(url=url, branch=branch))
    notebook.cells.insert(0, install)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # random ids would make two builds of one page differ
    return notebook


def _point_buttons(app, pagename, templatename, context, doctree):
    if not _is_notebook(app, pagename):
        return
    options = app.config.html_theme_options
    url, branch = options["repository_url"], options["repository_branch"]
    colab = options["launch_buttons"]["colab_url"]
    place = f"_sources/{pagename}.ipynb"
    target = Path(app.outdir) / place
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook_of(app.env.doc2path(pagename), url, branch), target)
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("text") == "Colab":
                repository = url.removeprefix("https://github.com/")
                button["url"] = f"{colab}/github/{repository}/blob/gh-pages/{place}"


def setup(app):
    """Connect the part."""
    # The theme's own handlers make the buttons at priorities up to 501.
    app.connect("html-page-context", _point_buttons, priority=900)
