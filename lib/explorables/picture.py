"""Draw the still part of a figure once and the moving part for every state, as SVG.

A whole matplotlib figure costs hundreds of milliseconds and tens of kilobytes. The moving
artists alone, handed to matplotlib's own SVG renderer one by one, cost a few of each. So a
panel is one background, rendered with the moving artists hidden, and a ``<g>`` of moving
artists that lies on top: blitting, in SVG.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import re
from collections.abc import Iterator
from typing import Any, cast

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.figure import Figure

from . import palette
from .explorer import Explorer
from .html_picture import HtmlPicture
from .style import STYLE

__all__ = ["HtmlPicture", "Panel", "Picture", "SvgPicture", "picture_of", "styled"]

Places = list[list[float]]  # of each axes of a figure: left, bottom, width, height
Layout = list[Places]

_HEADER = re.compile(r"^.*?</metadata>\s*<defs>\s*<style.*?</style>\s*</defs>", re.S)
_SPACE = re.compile(r">\s+<")
_FONT_FAMILY = re.compile(r"font-family: [^;\"]*;? ?")
_FONT = re.compile(r"font: (?:(italic|oblique) )?(?:(\d+|bold) )?([\d.]+)px [^;\"]*")
_TAG = re.compile(r"<[^>]+>")
_DECIMALS = re.compile(r"(\d+\.\d\d)\d+")
_PATH = re.compile(r'(?<= d=")[^"]{120,}')
_ONE_DECIMAL = re.compile(r"-?\d+\.\d+")
_UPRIGHT = re.compile(r' transform="rotate\(-?0 [^"]*"')
_USES = re.compile(r"<g([^>]*)>((?:<use [^>]*/>)+)</g>")
_STYLE = re.compile(r' style="([^"]*)"')
_POINT = re.compile(r'(?<= [xy]=")(-?\d+\.\d+)')


_inside = False


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw in the house style. Nested uses cost nothing; matplotlib's own context copies it all."""
    global _inside
    if _inside:
        yield
        return
    with mpl.rc_context(cast(Any, STYLE)):  # its type is a list of all names
        _inside = True
        try:
            yield
        finally:
            _inside = False


class _Renderer(RendererSVG):
    """matplotlib's renderer, with ids that do not clash on a page: no groups, and salted hashes."""

    salt = ""

    def _make_id(self, type: str, content: Any) -> str:
        digest = hashlib.sha256(f"{self.salt}{content}".encode()).hexdigest()
        return f"{type}{digest[:10]}"

    def open_group(self, s: str, gid: str | None = None) -> None:
        pass

    def close_group(self, s: str) -> None:
        pass


def _one_decimal(match: re.Match[str]) -> str:
    return f"{float(match[0]):.1f}".removesuffix(".0")


def _hoist(match: re.Match[str]) -> str:
    """Write a style that all markers share once, on their group."""
    styles = set(_STYLE.findall(match[2]))
    if len(styles) != 1:
        return match[0]
    return f'<g{match[1]} style="{styles.pop()}">{_STYLE.sub("", match[2])}</g>'


def _tidy(svg: str) -> str:
    """Drop what matplotlib writes for a file of its own, and digits below a tenth of a pixel."""
    svg = _HEADER.sub("", svg, count=1).removesuffix("</svg>\n")
    svg = _SPACE.sub("><", svg.strip())
    svg = _FONT_FAMILY.sub("", svg)
    svg = _FONT.sub(
        lambda m: (f"font-weight: {m[2]}; " if m[2] else "") + f"font-size: {m[3]}px", svg
    )
    svg = _PATH.sub(lambda m: _ONE_DECIMAL.sub(_one_decimal, m[0].replace("\n", "")), svg)
    svg = _UPRIGHT.sub("", _USES.sub(_hoist, svg))
    svg = _POINT.sub(_one_decimal, svg)
    # Inside tags only: the digits of a text are for the reader.
    svg = _TAG.sub(lambda m: _DECIMALS.sub(r"\1", m[0]), svg).replace("\n", "")
    return palette.to_css(svg)


def _artists_in(thing: Any) -> Iterator[Artist]:
    """All artists in a nesting of sequences, mappings, dataclasses and namespaces."""
    if isinstance(thing, Artist):
        yield thing
    elif isinstance(thing, dict):
        for item in thing.values():
            yield from _artists_in(item)
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        for f in dataclasses.fields(thing):
            yield from _artists_in(getattr(thing, f.name))
    elif isinstance(thing, (list, tuple, set)):
        for item in thing:
            yield from _artists_in(item)
    elif hasattr(thing, "__dict__") and type(thing).__name__ == "SimpleNamespace":
        yield from _artists_in(vars(thing))
    elif hasattr(thing, "flat"):  # an array of artists, as subplots returns
        for item in thing.flat:
            yield from _artists_in(item)


class Panel:
    """One figure: its background, and the artists of it that move."""

    def __init__(self, figure: Figure, salt: str) -> None:
        self.figure = figure
        self._salt = salt
        self.moving: list[Artist] = []

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in CSS pixels."""
        width, height = self.figure.get_size_inches() * 72
        return round(width), round(height)

    def element(self, inner: str) -> str:
        """Return the SVG element around what `freeze` or `part` returned."""
        width, height = self.size
        # A quarter above its natural size text is as large as a heading: no larger.
        return (
            f'<svg class="explorer-panel" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" style="max-width:{round(1.25 * width)}px" '
            'xmlns:xlink="http://www.w3.org/1999/xlink" aria-hidden="true" focusable="false">'
            f"{inner}</svg>"
        )

    def _render(self, which: str, *artists: Artist) -> str:
        out = io.StringIO()
        width, height = self.size
        with styled():
            # The date would make two builds of one book differ.
            make: Any = _Renderer  # matplotlib has no types for it
            renderer = make(width, height, out, image_dpi=72, metadata={"Date": None})
            renderer.salt = f"{self._salt}/{which}"
            for artist in artists:
                artist.draw(renderer)
            renderer.finalize()
        return _tidy(out.getvalue())

    def lay_out(self) -> Places:
        """Let matplotlib place the axes, without what moves; they then stay where they are."""
        for artist in self.moving:
            artist.set_visible(False)
        with styled():
            self.figure.draw_without_rendering()
        # From here on the layout stands, whatever the moving artists do.
        self.figure.set_layout_engine("none")
        for artist in self.moving:
            artist.set_visible(True)
        return [[round(v, 6) for v in ax.get_position().bounds] for ax in self.figure.axes]

    def place(self, places: Places) -> None:
        """Put the axes where they stand in a picture that was laid out elsewhere."""
        self.figure.set_layout_engine("none")
        for ax, (left, bottom, width, height) in zip(self.figure.axes, places, strict=True):
            ax.set_position((left, bottom, width, height))

    def still(self) -> str:
        """Return the background: the figure without what moves."""
        for artist in self.moving:
            artist.set_visible(False)
        background = self._render("still", self.figure)
        for artist in self.moving:
            artist.set_visible(True)
        return background

    def part(self) -> str:
        """Return the moving artists as they are now."""
        return self._render("part", *sorted(self.moving, key=lambda a: a.get_zorder()))


class SvgPicture:
    """The picture of an explorer that draws: panels of a background and a moving part.

    With a `layout` (of each panel, the places of its axes) it belongs to a background that was
    drawn before, perhaps by another matplotlib; then it draws what moves and nothing else.
    """

    kind = "svg"

    def __init__(self, explorer: Explorer, *, layout: Layout | None = None) -> None:
        assert explorer.draw is not None
        assert explorer.update is not None
        self.explorer = explorer
        self._update = explorer.update
        with styled():
            figures = [
                Figure(figsize=(w / 72, h / 72), dpi=72, layout="constrained")
                for w, h in explorer.panels
            ]
            self.artists = explorer.draw(*figures)
        self.panels = [Panel(f, f"{explorer.name}/{i}") for i, f in enumerate(figures)]
        for artist in _artists_in(self.artists):
            owner = artist.get_figure()
            panel = next((p for p in self.panels if p.figure is owner), None)
            if panel is None:
                raise ValueError(
                    f"explorer {explorer.name}: draw must return artists that stand in its "
                    f"figures; got {artist!r}, which stands in none"
                )
            panel.moving.append(artist)
        if not any(p.moving for p in self.panels):
            raise ValueError(
                f"explorer {explorer.name}: draw must return the artists that move; got none"
            )
        if layout is None:
            self.layout = [p.lay_out() for p in self.panels]
            self.backgrounds = [p.still() for p in self.panels]
        else:  # the background stands in the page
            self.layout, self.backgrounds = layout, []
            for panel, places in zip(self.panels, layout, strict=True):
                panel.place(places)

    def parts(self, data: Any) -> list[str]:
        """Return the moving part of each panel for a state."""
        with styled():
            self._update(self.artists, data)
            return [p.part() for p in self.panels]

    def markup(self, parts: list[str]) -> str:
        """Return the panels with their moving parts in them."""
        return "".join(
            panel.element(
                f'<g class="explorer-still">{still}</g><g class="explorer-part">{part}</g>'
            )
            for panel, still, part in zip(self.panels, self.backgrounds, parts, strict=True)
        )


Picture = SvgPicture | HtmlPicture


def picture_of(explorer: Explorer) -> Picture:
    """Draw the still part of an explorer, once."""
    return HtmlPicture(explorer) if explorer.view is not None else SvgPicture(explorer)
