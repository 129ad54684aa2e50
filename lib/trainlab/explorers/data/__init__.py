"""Explorers of the chapter on data."""

from explorables import Explorer

from .boundary import boundary
from .methods import methods
from .noise import noise
from .orbit import orbit

__all__ = ["EXPLORERS", "boundary", "methods", "noise", "orbit"]

EXPLORERS: tuple[Explorer, ...] = (noise, orbit, boundary, methods)
