"""Explorers of the chapter on scaling laws."""

from explorables import Explorer

from .digits import digits_line
from .isoflop import isoflop
from .measured import measured
from .repeated import repeated
from .serving import serving
from .valleys import valleys

__all__ = [
    "EXPLORERS",
    "digits_line",
    "isoflop",
    "measured",
    "repeated",
    "serving",
    "valleys",
]

EXPLORERS: tuple[Explorer, ...] = (valleys, serving, repeated, measured, isoflop, digits_line)
