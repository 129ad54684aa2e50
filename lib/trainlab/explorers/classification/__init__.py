"""Explorers of the chapter on classification."""

from explorables import Explorer

from .loss import loss
from .overconfidence import overconfidence
from .stability import stability

__all__ = ["EXPLORERS", "loss", "overconfidence", "stability"]

EXPLORERS: tuple[Explorer, ...] = (loss, stability, overconfidence)
