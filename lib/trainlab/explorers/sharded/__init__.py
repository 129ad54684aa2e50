"""Explorers of the chapter on sharded training."""

from explorables import Explorer

from .memory import memory
from .timeline import timeline
from .walk import walk

__all__ = ["EXPLORERS", "memory", "timeline", "walk"]

EXPLORERS: tuple[Explorer, ...] = (memory, walk, timeline)
