"""Explorers of the chapter on weight penalties."""

from explorables import Explorer

from .conventions import conventions
from .equilibrium import equilibrium
from .zeros import zeros

__all__ = ["EXPLORERS", "conventions", "equilibrium", "zeros"]

EXPLORERS: tuple[Explorer, ...] = (zeros, conventions, equilibrium)
