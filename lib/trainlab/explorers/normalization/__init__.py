"""Explorers of the chapter on normalization."""

from .axes import axes
from .batch_noise import batch_noise
from .gradient_explosion import gradient_explosion

__all__ = ["EXPLORERS", "axes", "batch_noise", "gradient_explosion"]

EXPLORERS = (gradient_explosion, axes, batch_noise)
