"""The picture of an explorer that returns semantic HTML: one part, no background."""

from __future__ import annotations

import re
from typing import Any

from . import palette
from .explorer import Explorer

__all__ = ["HtmlPicture"]

_SPACE = re.compile(r">\s+<")


class HtmlPicture:
    """A picture without matplotlib, so that Python in the page starts without it, too."""

    kind = "html"
    layout: tuple[()] = ()

    def __init__(self, explorer: Explorer) -> None:
        assert explorer.view is not None
        self.explorer = explorer
        self._view = explorer.view

    def parts(self, data: Any) -> list[str]:
        """Return the HTML for a state."""
        return [_SPACE.sub("><", palette.to_css(self._view(data)).strip())]

    def markup(self, parts: list[str]) -> str:
        """Return the HTML in the element that a host replaces."""
        return f'<div class="explorer-part">{parts[0]}</div>'
