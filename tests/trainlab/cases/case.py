"""One entry of the contract registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """How to call a public function, and what it must refuse.

    Attributes
    ----------
    func : callable
        The public function.
    make : callable
        ``make(rng, dtype) -> dict``: keyword arguments of a valid call; arrays of `dtype`.
    bad : mapping
        Parameter name -> values that must be refused with a ValueError or TypeError whose
        message names the function and the parameter.
    free : sequence of str
        Parameters that no value can be wrong for (say why in a comment beside the case).
    shape_of : str or None
        The parameter whose shape the result must have.
    keeps_dtype : bool
        Whether a float32 call must give float32 results (and float64 float64).
    extreme : sequence of callable
        ``make``-like functions with extreme inputs; the results must be finite.
    """

    func: Callable[..., Any]
    make: Callable[[np.random.Generator, Any], dict[str, Any]]
    bad: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    free: Sequence[str] = ()
    shape_of: str | None = None
    keeps_dtype: bool = True
    extreme: Sequence[Callable[[np.random.Generator, Any], dict[str, Any]]] = ()

    @property
    def id(self) -> str:
        """Module and function name, for test ids."""
        return f"{self.func.__module__.removeprefix('trainlab.')}.{self.func.__name__}"
