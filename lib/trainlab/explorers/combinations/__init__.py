"""Explorers of the chapter on combining techniques."""

from explorables import Explorer

from .pairs import pairs
from .shift import shift

__all__ = ["EXPLORERS", "pairs", "shift"]

EXPLORERS: tuple[Explorer, ...] = (pairs, shift)
