"""Show an explorer in whatever runs the cell: a book build, or a Jupyter kernel."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from .baking_cache import remembered
from .explorer import Explorer

__all__ = ["HOST_VARIABLE", "MIME", "PageBundle", "PageFailure", "show"]

HOST_VARIABLE = "EXPLORABLES_HOST"  # the Sphinx extension sets it to "page" for its kernels
MIME = "application/vnd.explorables.v1+json"


class PageBundle:
    """What a cell puts out during a book build: the figure and its states, no widget."""

    def __init__(self, explorer: Explorer) -> None:
        self._made = remembered(explorer, lambda: _page_content(explorer))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        content = {key: self._made[key] for key in ("name", "html", "file", "script")}
        return {MIME: content, "text/plain": self._made["sentence"]}


def _page_content(explorer: Explorer) -> dict[str, str]:
    # Here, because matplotlib takes a second, and who knows the figure already needs none.
    from .page import figure_html
    from .states import bake

    baked = bake(explorer)
    file = f"{explorer.name}.{hashlib.sha256(baked.payload.encode()).hexdigest()[:12]}.js"
    return {
        "name": explorer.name,
        "html": figure_html(explorer, baked.picture, baked.default, states_url=f"explorers/{file}"),
        "file": file,
        "script": f'explorables.receive("{explorer.name}",{baked.payload});\n',
        "sentence": baked.default.sentence,
    }


class PageFailure:
    """What a cell puts out when an explorer fails: the extension stops the build with it.

    An exception would stop it too, but MyST-NB then names only the page.
    """

    def __init__(self, error: Exception) -> None:
        self._words = str(error)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {MIME: {"error": self._words}, "text/plain": self._words}


def show(explorer: Explorer) -> Any:
    """Return the explorer for the host that runs this cell.

    In a book build that is its picture with all pre-computed states, in a kernel a widget that
    computes each state when it is asked for.
    """
    if os.environ.get(HOST_VARIABLE) == "page":
        try:
            return PageBundle(explorer)
        except (RuntimeError, ValueError) as error:
            return PageFailure(error)
    from .kernel import KernelExplorer  # late: a book build must not make a single widget

    return KernelExplorer(explorer)
