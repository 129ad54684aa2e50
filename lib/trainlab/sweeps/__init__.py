"""Training runs that take too long for a page: computed once, stored, and checked by sample.

A sweep is a module of this package with a function that trains for one setting, and the list of
settings. ``python -m trainlab.sweeps NAME`` (or ``make sweeps``) runs them on all cores and writes
``trainlab/data/sweeps/NAME.json`` with the command and the versions that made it. Pages and
explorers read that file with `stored` and `stored_run`.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

__all__ = ["Sweep", "data_file", "names", "stored", "stored_run", "sweep"]


@dataclass(frozen=True)
class Sweep:
    """Which runs there are and how one is made.

    Attributes
    ----------
    run : callable
        ``run(**cell)`` returns a dict of numbers, strings, and lists of numbers. It is pure and
        draws its own generators from a seed in the cell.
    grid : sequence of dict
        The cells: the arguments of each run.
    rtol : float
        How far a run that is made again may be from the stored one, relative. Stored numbers have
        six digits. More than 1e-4 needs a reason: long training amplifies rounding.
    bursts : tuple of str
        Results with bursts, whose places depend on rounding: lists of which the median number is
        to be within `rtol`.
    """

    run: Callable[..., dict[str, Any]]
    grid: Sequence[Mapping[str, Any]]
    rtol: float = 1e-4
    bursts: tuple[str, ...] = ()


def names() -> list[str]:
    """Return the names of all sweeps."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def sweep(name: str) -> Sweep:
    """Return a sweep by its name.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    _known(name, "sweep")
    found: Sweep = importlib.import_module(f"{__name__}.{name}").SWEEP
    return found


def data_file(name: str) -> Path:
    """Return where the runs of a sweep are stored."""
    _known(name, "data_file")
    return Path(str(resources.files("trainlab") / "data" / "sweeps" / f"{name}.json"))


@cache
def stored(name: str) -> tuple[Mapping[str, Any], ...]:
    """Return the stored runs of a sweep: arguments and results of each in one dict.

    They are shared between callers: read them, do not change them.

    Raises
    ------
    ValueError
        If there is no sweep of this name.
    FileNotFoundError
        If it was never run.
    """
    content = json.loads(data_file(name).read_text(encoding="utf-8"))
    return tuple(made["cell"] | made["result"] for made in content["runs"])


def stored_run(name: str, **cell: Any) -> Mapping[str, Any]:
    """Return the one stored run that has these values.

    Raises
    ------
    ValueError
        If no run or several have them.
    """
    found = [made for made in stored(name) if all(made.get(k) == v for k, v in cell.items())]
    if len(found) != 1:
        raise ValueError(
            f"stored_run: cell must select one run of {name!r}; got {cell}, which selects "
            f"{len(found)} of {len(stored(name))}"
        )
    return found[0]


def _known(name: str, where: str) -> None:
    if name not in names():
        raise ValueError(f"{where}: name must be one of {', '.join(names())}; got {name!r}")
