"""Explorers of the chapter on pruning."""

from explorables import Explorer

from .accuracy import accuracy
from .pixels import pixels
from .removed import removed

__all__ = ["EXPLORERS", "accuracy", "pixels", "removed"]

EXPLORERS: tuple[Explorer, ...] = (removed, pixels, accuracy)
