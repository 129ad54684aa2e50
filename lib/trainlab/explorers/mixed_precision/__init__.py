"""Explorers of the chapter on mixed precision."""

from .memory import memory
from .stored_weights import stored_weights
from .training import training
from .vanishing import vanishing
from .window import window

__all__ = ["EXPLORERS", "memory", "stored_weights", "training", "vanishing", "window"]

EXPLORERS = (window, training, vanishing, stored_weights, memory)
