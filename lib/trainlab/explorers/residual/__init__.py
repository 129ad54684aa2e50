"""Explorers of the chapter on residual connections."""

from .stacks import stacks
from .training import training

__all__ = ["EXPLORERS", "stacks", "training"]

EXPLORERS = (training, stacks)
