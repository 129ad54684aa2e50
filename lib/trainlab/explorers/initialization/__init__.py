"""Explorers of the initialization chapter."""

from .activation_variance import activation_variance
from .fan_mode import fan_mode
from .symmetry import symmetry

__all__ = ["EXPLORERS", "activation_variance", "fan_mode", "symmetry"]

EXPLORERS = (activation_variance, symmetry, fan_mode)
