"""The explorers of the book: for each chapter, what is computed and how it is drawn."""

from __future__ import annotations

import importlib
import pkgutil

from explorables import Explorer

__all__ = ["registry"]


def registry() -> dict[str, Explorer]:
    """Return all explorers of the book by name, in the order of their chapters' names.

    Raises
    ------
    ValueError
        If two explorers have one name, or a name does not begin with its chapter.
    """
    explorers: dict[str, Explorer] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for explorer in getattr(module, "EXPLORERS", ()):
            if explorer.name.split(".")[0] != info.name or explorer.name in explorers:
                raise ValueError(
                    f"registry: explorer names must be unique and begin with {info.name!r}; "
                    f"got {explorer.name!r}"
                )
            explorers[explorer.name] = explorer
    return explorers
