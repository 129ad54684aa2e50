"""Explorers of the chapter on dropout."""

from explorables import Explorer

from .conventions import conventions
from .data_size import data_size
from .masks import masks
from .variance_shift import variance_shift

__all__ = ["EXPLORERS", "conventions", "data_size", "masks", "variance_shift"]

EXPLORERS: tuple[Explorer, ...] = (conventions, masks, variance_shift, data_size)
