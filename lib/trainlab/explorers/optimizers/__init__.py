"""Explorers of the chapter on optimizers."""

from explorables import Explorer

from .adam_and_decay import adam_and_decay
from .bias_correction import bias_correction
from .edge_of_stability import edge_of_stability
from .paths import paths

__all__ = ["EXPLORERS", "adam_and_decay", "bias_correction", "edge_of_stability", "paths"]

EXPLORERS: tuple[Explorer, ...] = (paths, edge_of_stability, bias_correction, adam_and_decay)
