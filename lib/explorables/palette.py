"""One palette for light and dark pages, safe for the common colour-vision deficiencies.

The hues are those of Okabe and Ito (2008). Their orange, sky blue and purple fall below the
contrast that WCAG 2 asks on white (3:1 of graphics, 4.5:1 of text), so the light values here
are darker, and the dark page has lighter ones. A picture is drawn with the light values;
`to_css` then turns each into a CSS variable, so that the same picture serves both pages.
"""

from __future__ import annotations

import re

__all__ = [
    "BLUE",
    "GREEN",
    "GRID",
    "INK",
    "LIGHT_AND_DARK",
    "MUTED",
    "ORANGE",
    "PAPER",
    "PURPLE",
    "SHADE",
    "SKY",
    "VERMILLION",
    "stylesheet",
    "to_css",
]

INK = "#1b1f24"  # text, axes, theory
MUTED = "#5f6771"  # what is there but not the point
GRID = "#d9dde2"
SHADE = "#eef1f4"  # filled areas behind data
PAPER = "#fefefe"  # the page itself; not pure white, so that it can be told from "white"
BLUE = "#0072b2"
VERMILLION = "#b54700"
GREEN = "#007552"
PURPLE = "#a8478a"
ORANGE = "#8c5b00"
SKY = "#2a87bd"  # areas and lines only: too light for small text

LIGHT_AND_DARK: dict[str, tuple[str, str]] = {
    "ink": (INK, "#e6e8eb"),
    "muted": (MUTED, "#9aa3ad"),
    "grid": (GRID, "#3a4048"),
    "shade": (SHADE, "#262b31"),
    "paper": (PAPER, "#14181e"),
    "blue": (BLUE, "#5cb3ea"),
    "vermillion": (VERMILLION, "#ff8b4d"),
    "green": (GREEN, "#35c798"),
    "purple": (PURPLE, "#e39ccb"),
    "orange": (ORANGE, "#f0b440"),
    "sky": (SKY, "#8fd0f5"),
}

_NAME = {light: name for name, (light, _) in LIGHT_AND_DARK.items()}
_HEX = re.compile(r"#[0-9a-f]{6}\b")


def to_css(markup: str) -> str:
    """Replace every palette colour in SVG or HTML by its CSS variable."""
    return _HEX.sub(
        lambda m: f"var(--xp-{_NAME[m[0]]})" if m[0] in _NAME else m[0],
        markup,
    )


def stylesheet(light: str, dark: str) -> str:
    """CSS that gives the variables their values under a light and a dark selector."""

    def rule(selector: str, which: int) -> str:
        body = "".join(f"--xp-{k}:{v[which]};" for k, v in LIGHT_AND_DARK.items())
        return f"{selector}{{{body}}}"

    # Paper is light, whatever the screen was.
    return rule(light, 0) + rule(dark, 1) + f"@media print{{{rule(dark, 0)}}}"
