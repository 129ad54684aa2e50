"""Explorers of the chapter on learning rates."""

from explorables import Explorer

from .batch_size import batch_size
from .noise_scale import noise_scale
from .range_test import range_test
from .schedules import schedules
from .warmup import warmup

__all__ = ["EXPLORERS", "batch_size", "noise_scale", "range_test", "schedules", "warmup"]

EXPLORERS: tuple[Explorer, ...] = (schedules, warmup, range_test, noise_scale, batch_size)
