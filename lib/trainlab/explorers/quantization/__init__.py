"""Explorers of the chapter on quantization."""

from .accuracy import accuracy
from .clip import clip
from .sharing import sharing

__all__ = ["EXPLORERS", "accuracy", "clip", "sharing"]

EXPLORERS = (clip, sharing, accuracy)
