"""An explorer: controls, what is computed, how it is drawn, what it says in words."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .controls import Control, Flips, Value
from .numbers import Quantity

__all__ = ["Explorer", "Readout", "State"]

State = dict[str, Value]


@dataclass(frozen=True)
class Readout:
    """The numbers under a picture and the sentence that is its text alternative.

    Attributes
    ----------
    values : mapping
        Ordered label -> number, or `Quantity` where a unit or other digits are wanted.
        The labels are the same for all states of an explorer.
    sentence : str
        What is seen, in one sentence, for a reader who does not see the picture.
    """

    values: Mapping[str, float | Quantity]
    sentence: str

    def rows(self) -> list[tuple[str, float, str]]:
        """Label, number and text of each value."""
        quantities = (
            (label, v if isinstance(v, Quantity) else Quantity(float(v)))
            for label, v in self.values.items()
        )
        return [(label, float(q.value), q.text) for label, q in quantities]


@dataclass(frozen=True)
class Explorer:
    """A picture that answers its controls, in every host.

    Attributes
    ----------
    name : str
        ``chapter.explorer``; unique.
    title : str
        A few words, for lists and error messages.
    caption : str
        Stands under the picture: what the axes, marks and colours are. Plain text.
    controls : sequence of Control
        In the order in which they stand on the page.
    compute : callable
        ``compute(**params)`` -> a frozen dataclass. Pure and seeded; does not draw.
    readout : callable
        ``readout(data)`` -> `Readout`.
    draw : callable, for a figure
        ``draw(*figures)`` is called once, with one empty matplotlib figure a panel: axes,
        labels, fixed limits, and the artists that will move. Returns these in any nesting of
        tuples, lists, dicts, dataclasses.
    update : callable, for a figure
        ``update(artists, data)`` sets them for a state, the first included. The result may not
        depend on the states before.
    panels : sequence of (width, height), for a figure
        CSS pixels of each panel at its natural size. Panels stand side by side where there is
        room, below each other where there is not.
    view : callable, for an HTML picture
        ``view(data)`` -> semantic HTML, instead of `draw` and `update`.
    """

    name: str
    title: str
    caption: str
    controls: Sequence[Control]
    compute: Callable[..., Any]
    readout: Callable[[Any], Readout]
    draw: Callable[..., Any] | None = None
    update: Callable[[Any, Any], None] | None = None
    panels: Sequence[tuple[int, int]] = ((640, 380),)
    view: Callable[[Any], str] | None = None
    defaults: State = field(init=False)

    def __post_init__(self) -> None:
        where = f"explorer {self.name}"
        parts = self.name.split(".")
        if len(parts) != 2 or not all(p.isidentifier() for p in parts):
            raise ValueError(f"{where}: name must be chapter.explorer, two identifiers")
        names = [c.name for c in self.controls]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"{where}: controls must be at least one, with different names")
        wanted = set(inspect.signature(self.compute).parameters)
        if wanted != set(names):
            raise ValueError(
                f"{where}: the parameters of compute must be the controls {sorted(names)}; "
                f"got {sorted(wanted)}"
            )
        if (self.view is None) == (self.draw is None or self.update is None):
            raise ValueError(f"{where}: give either draw and update, or view")
        ours = {c.name: list(c.values) for c in self.stored}
        for name, counts in (
            c.follows for c in self.controls if isinstance(c, Flips) and c.follows
        ):
            if ours.get(name) != list(counts):
                raise ValueError(
                    f"{where}: follows must give the number of bits for each value of a stored "
                    f"control, in its order; got {list(counts)} for {name!r}"
                )
        object.__setattr__(self, "defaults", {c.name: c.default for c in self.controls})

    @property
    def stored(self) -> tuple[Control, ...]:
        """The controls whose values are pre-computed."""
        return tuple(c for c in self.controls if not c.live_only)

    def count(self) -> int:
        """Return how many states are pre-computed."""
        total = 1
        for control in self.stored:
            total *= len(control.values)
        return total

    def states(self) -> Iterator[State]:
        """All pre-computed states; the last control changes fastest."""
        for values in itertools.product(*(c.values for c in self.stored)):
            yield {**self.defaults, **dict(zip((c.name for c in self.stored), values, strict=True))}

    def corners(self) -> Iterator[State]:
        """The states in which every control stands at one of its ends, and the default."""
        yield dict(self.defaults)
        ends = ((c.values[0], c.values[-1]) for c in self.stored)
        for values in itertools.product(*ends):
            yield {**self.defaults, **dict(zip((c.name for c in self.stored), values, strict=True))}

    def run(self, **params: Value) -> Any:
        """Check the parameters, fill in the defaults and compute."""
        known = {c.name: c for c in self.controls}
        given = {**self.defaults}
        for name, value in params.items():
            if name not in known:
                raise ValueError(
                    f"explorer {self.name}: no control {name!r}; it has {sorted(known)}"
                )
            given[name] = known[name].check(value)
        return self.compute(**given)

    def show(self) -> Any:
        """Return the explorer for the host that runs this cell, which then shows it."""
        from .hosts import show  # late: the hosts need IPython, the explorer does not

        return show(self)
