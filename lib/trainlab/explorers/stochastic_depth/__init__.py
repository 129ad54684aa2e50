"""Explorers of the chapter on stochastic depth."""

from .branches import branches
from .scaling import scaling
from .training import training

__all__ = ["EXPLORERS", "branches", "scaling", "training"]

EXPLORERS = (branches, scaling, training)
