"""Explorers of the chapter on regression."""

from explorables import Explorer

from .line import line
from .outlier import outlier

__all__ = ["EXPLORERS", "line", "outlier"]

EXPLORERS: tuple[Explorer, ...] = (outlier, line)
