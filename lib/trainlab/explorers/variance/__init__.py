"""Explorers of the chapter on variance."""

from .length_map import length_map
from .two_inputs import two_inputs
from .width import width

__all__ = ["EXPLORERS", "length_map", "two_inputs", "width"]

EXPLORERS = (length_map, two_inputs, width)
