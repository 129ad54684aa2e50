"""Each page as a notebook without outputs, to download or to open on Colab.

The theme would offer the executed notebook, with all stored pictures in it, and would send
Colab to the Markdown file, which Colab cannot open.
"""

import re
from collections import defaultdict
from pathlib import Path

import jupytext
import nbformat
from docutils import nodes
from myst_nb.ext.eval import EvalRoleAny

from .prose import is_notebook, plain

INSTALL = """\
try:
    import trainlab
except ImportError:  # a kernel without the book's library, as on Colab
    %pip install -q "git+{url}@{branch}"
"""


QUOTE = re.compile(r"(?<!`)\{eval\}`([^`]+)`")  # one in backticks is shown, not computed


class _Quote(EvalRoleAny):
    """A value in prose, which keeps the expression that it is the value of."""

    def run(self):
        found, messages = super().run()
        return [nodes.inline("", "", *found, expression=self.text)], messages


def notebook_of(docname, env, doctree):
    """Convert a page to a notebook whose prose quotes the values that the build computed."""
    notebook = jupytext.read(env.doc2path(docname))
    values, cited = defaultdict(list), []
    for quote in doctree.findall(nodes.inline):
        if "expression" in quote:
            values[quote["expression"]].append(quote.astext())
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = QUOTE.sub(lambda match: values[match[1]].pop(0), cell.source)
            cell.source = plain(cell.source, docname, env, cited)
    return notebook


def write_notebook(notebook, target):
    """Write a notebook; the same page gives the same file."""
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # otherwise random
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)


def _write_copy(app, pagename, templatename, context, doctree):
    if not is_notebook(app.env, pagename):
        return
    options = app.config.html_theme_options
    url, branch = options["repository_url"], options["repository_branch"]
    colab = options["launch_buttons"]["colab_url"]
    notebook = notebook_of(pagename, app.env, doctree)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(INSTALL.format(url=url, branch=branch)))
    place = f"_sources/{pagename}.ipynb"
    write_notebook(notebook, Path(app.outdir) / place)
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("text") == "Colab":
                repository = url.removeprefix("https://github.com/")
                button["url"] = f"{colab}/github/{repository}/blob/gh-pages/{place}"


def setup(app):
    """Connect the part."""
    app.add_role("eval", _Quote(), override=True)
    # The theme's own handlers make the buttons at priorities up to 501.
    app.connect("html-page-context", _write_copy, priority=900)
