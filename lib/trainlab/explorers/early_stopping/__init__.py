"""Explorers of the chapter on early stopping."""

from explorables import Explorer

from .digits import digits_runs
from .filters import filters
from .gap import gap
from .patience import patience
from .selection import selection

__all__ = ["EXPLORERS", "digits_runs", "filters", "gap", "patience", "selection"]

EXPLORERS: tuple[Explorer, ...] = (patience, digits_runs, selection, gap, filters)
