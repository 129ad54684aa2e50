"""Explorers of the chapter on gradient clipping."""

from explorables import Explorer

from .arrow import arrow
from .cliff import cliff
from .spike import spike

__all__ = ["EXPLORERS", "arrow", "cliff", "spike"]

EXPLORERS: tuple[Explorer, ...] = (arrow, cliff, spike)
