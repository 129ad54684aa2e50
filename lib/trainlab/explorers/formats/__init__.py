"""Explorers of the chapter on number formats."""

from .bits import bits
from .byte import byte
from .dot_error import dot_error
from .number_line import number_line
from .ruler import ruler
from .shared_scale import shared_scale
from .swamping import swamping

__all__ = [
    "EXPLORERS",
    "bits",
    "byte",
    "dot_error",
    "number_line",
    "ruler",
    "shared_scale",
    "swamping",
]

EXPLORERS = (bits, byte, ruler, number_line, swamping, dot_error, shared_scale)
