"""Explorers of the chapter on number formats."""

from .bits import bits
from .byte import byte
from .ruler import ruler
from .swamping import swamping

__all__ = ["EXPLORERS", "bits", "byte", "ruler", "swamping"]

EXPLORERS = (bits, byte, ruler, swamping)
