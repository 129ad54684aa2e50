"""Explorers of the chapter on data-parallel training."""

from explorables import Explorer

from .overlap import overlap
from .ring import ring
from .time import time

__all__ = ["EXPLORERS", "overlap", "ring", "time"]

EXPLORERS: tuple[Explorer, ...] = (ring, time, overlap)
