"""Controls as data: one declaration makes the widgets, the HTML, the states and the tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .numbers import format_number

__all__ = ["Choice", "Control", "Flips", "Number", "Seed", "Steps", "Text", "Toggle", "Value"]

Value = str | int | float | bool
BETWEEN = ("", "linear", "log", "whole")


def _same(one: Value, other: Value) -> bool:
    # 2 and 2.0 are one number: a browser knows one kind only. True is none.
    kinds = {float if type(value) is int else type(value) for value in (one, other)}
    return len(kinds) == 1 and one == other


@dataclass(frozen=True)
class Control:
    """What every control has: a parameter of ``compute``, a label, a default.

    A control with a finite, ordered list of `values` is pre-computed. A *live only* control has
    none: hosts that run Python offer it, and elsewhere ``compute`` gets its default.
    """

    name: str
    label: str

    live_only: ClassVar[bool] = False

    if TYPE_CHECKING:  # each kind of control declares these as fields of its own

        @property
        def default(self) -> Value:  # noqa: D102
            ...

    @property
    def values(self) -> tuple[Value, ...]:
        """The values that can be chosen, in their order."""
        return ()

    def text(self, value: Value) -> str:
        """Return the words for a value, its unit included."""
        shown = value if isinstance(value, str) else format_number(value, 4)
        unit = getattr(self, "unit", "")
        return f"×{shown}" if unit == "×" else f"{shown} {unit}".strip()

    def allows(self, value: Value) -> bool:
        """Tell whether the control can take this value; 2 and 2.0 are one number, True is none."""
        return any(_same(value, known) for known in self.values)

    def allowed(self) -> str:
        """Say in words which values the control takes."""
        return f"one of {', '.join(map(repr, self.values))}"

    def check(self, value: Value) -> Value:
        """Return the value as it was declared; raise a ValueError if it is not allowed."""
        if not self.allows(value):
            raise ValueError(f"{self.name} must be {self.allowed()}; got {value!r}")
        return next((known for known in self.values if _same(value, known)), value)

    def _check_declaration(self) -> None:
        where = f"control {self.name!r}"
        if not self.name.isidentifier():
            raise ValueError(f"{where}: name must be a Python identifier")
        if not self.label.strip():
            raise ValueError(f"{where}: label must not be empty")
        few = len(self.values) < 2 or len(set(self.values)) < len(self.values)
        if few and not self.live_only:
            raise ValueError(
                f"{where}: values must be two or more that differ; got {self.values!r}"
            )
        if not self.allows(self.default):
            raise ValueError(f"{where}: default must be {self.allowed()}; got {self.default!r}")


@dataclass(frozen=True)
class Steps(Control):
    """Increasing numbers, shown as a slider that moves from one to the next.

    `between` says what Python in the page, and a kernel, may compute besides the numbers listed:
    nothing (""), any number in between ("linear", or "log" where they grow by factors), or any
    whole number ("whole").
    """

    steps: Sequence[float]
    default: float
    unit: str = ""
    between: str = ""

    def __post_init__(self) -> None:
        if self.between not in BETWEEN:
            raise ValueError(
                f"control {self.name!r}: between must be one of {BETWEEN}; got {self.between!r}"
            )
        if any(isinstance(v, bool) or not math.isfinite(v) for v in self.steps) or any(
            b <= a for a, b in zip(self.steps, self.steps[1:], strict=False)
        ):
            raise ValueError(
                f"control {self.name!r}: steps must be finite numbers that increase; "
                f"got {self.steps!r}"
            )
        self._check_declaration()

    @property
    def values(self) -> tuple[Value, ...]:
        """The numbers, in their order."""
        return tuple(self.steps)

    def allows(self, value: Value) -> bool:
        """Tell whether the control can take this value; 2 and 2.0 are one number."""
        if isinstance(value, (str, bool)):
            return False
        inside = self.steps[0] <= value <= self.steps[-1]
        fits = self.between != "whole" or float(value).is_integer()
        return value in self.steps or (bool(self.between) and inside and fits)

    def allowed(self) -> str:
        """Say in words which values the control takes."""
        if not self.between:
            return super().allowed()
        kind = "whole number" if self.between == "whole" else "number"
        return f"a {kind} in [{self.steps[0]:g}, {self.steps[-1]:g}]"


@dataclass(frozen=True)
class Choice(Control):
    """Named alternatives, value -> words, shown as a drop-down list."""

    options: Mapping[str | int | float, str]
    default: str | int | float

    def __post_init__(self) -> None:
        self._check_declaration()

    @property
    def values(self) -> tuple[Value, ...]:
        """The values, in their order."""
        return tuple(self.options)

    def text(self, value: Value) -> str:
        """Return the words for a value."""
        return self.options[value]


@dataclass(frozen=True)
class Toggle(Control):
    """On or off, shown as a checkbox; toggles of one `group` stand together under its name."""

    default: bool = False
    group: str = ""

    def __post_init__(self) -> None:
        self._check_declaration()

    @property
    def values(self) -> tuple[Value, ...]:
        """Off and on."""
        return (False, True)

    def text(self, value: Value) -> str:
        """Return "on" or "off"."""
        return "on" if value else "off"


@dataclass(frozen=True)
class Text(Control):
    """Free text typed by the reader, live only. It is data, never code."""

    default: str = ""
    live_only = True

    def __post_init__(self) -> None:
        self._check_declaration()

    def allows(self, value: Value) -> bool:
        """Tell whether the value is a short text."""
        return isinstance(value, str) and len(value) <= 10_000

    def allowed(self) -> str:
        """Say in words which values the control takes."""
        return "a text of at most 10,000 characters"


@dataclass(frozen=True)
class Number(Control):
    """A number field with bounds, live only."""

    default: float
    low: float
    high: float
    unit: str = ""
    live_only = True

    def __post_init__(self) -> None:
        self._check_declaration()

    def allows(self, value: Value) -> bool:
        """Tell whether the value lies between the bounds."""
        return not isinstance(value, (str, bool)) and self.low <= value <= self.high

    def allowed(self) -> str:
        """Say in words which values the control takes."""
        return f"a number in [{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Seed(Control):
    """The seed of the random generator, live only."""

    name: str = "seed"
    label: str = "Random seed"
    default: int = 0
    live_only = True

    def __post_init__(self) -> None:
        self._check_declaration()

    def allows(self, value: Value) -> bool:
        """Tell whether the value is a whole number from 0."""
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32

    def allowed(self) -> str:
        """Say in words which values the control takes."""
        return "a whole number in [0, 2**32)"


@dataclass(frozen=True)
class Flips(Control):
    """A row of buttons, one a bit, most significant first; its value is a bit mask. Live only.

    `follows` names a stored control, with the number of bits that there are for each of its
    values; buttons of higher bits are hidden, and `compute` has to leave such bits alone.
    """

    width: int
    default: int = 0
    follows: tuple[str, Mapping[Value, int]] | None = None
    live_only = True

    def __post_init__(self) -> None:
        self._check_declaration()

    def count(self, state: Mapping[str, Value]) -> int:
        """Return how many bits there are in a state."""
        if self.follows is None:
            return self.width
        control, counts = self.follows
        return counts[state[control]]

    def allows(self, value: Value) -> bool:
        """Tell whether the value is a mask of `width` bits."""
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**self.width

    def allowed(self) -> str:
        """Say in words which values the control takes."""
        return f"a whole number in [0, 2**{self.width})"
