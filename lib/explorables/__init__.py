"""Explorable pictures for Jupyter Book: sliders that answer on a static page.

Declare an explorer once (controls, what is computed, how it is drawn, what it says) and show
it in a notebook as widgets, on a built page from pre-computed states, and on paper as its
default picture. Knows nothing of any book's subject.
"""

from .controls import Choice, Flips, Number, Seed, Steps, Text, Toggle
from .explorer import Explorer, Readout, State
from .numbers import Quantity, format_number, num, superscript

__all__ = [
    "Choice",
    "Explorer",
    "Flips",
    "Number",
    "Quantity",
    "Readout",
    "Seed",
    "State",
    "Steps",
    "Text",
    "Toggle",
    "format_number",
    "num",
    "superscript",
]
