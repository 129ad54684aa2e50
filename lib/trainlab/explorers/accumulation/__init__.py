"""Explorers of the chapter on gradient accumulation."""

from explorables import Explorer

from .neighbors import neighbors
from .scaling import scaling
from .tokens import tokens

__all__ = ["EXPLORERS", "neighbors", "scaling", "tokens"]

EXPLORERS: tuple[Explorer, ...] = (scaling, tokens, neighbors)
