"""Argument checks with one form of message.

Every message names the function that was called, the parameter, what is allowed and what
came. Nothing is clamped, logged or turned into NaN.
"""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

__all__ = [
    "array",
    "axes",
    "function",
    "generator",
    "integer",
    "one_of",
    "real",
    "same_shape",
    "values_unchecked",
]

_look_at_values: ContextVar[bool] = ContextVar("look_at_values", default=True)


@contextmanager
def values_unchecked() -> Iterator[None]:
    """Check types and shapes only: looking for NaN costs a pass over the memory.

    In a training step a NaN has to come through to the loss, where it is seen.
    """
    token = _look_at_values.set(False)
    try:
        yield
    finally:
        _look_at_values.reset(token)


def _where() -> str:
    """Name of the public function whose argument is being checked: the caller's caller."""
    # Private helpers may sit between: the reader called the first name without an underscore.
    frame = sys._getframe(2)
    while frame.f_code.co_name.startswith(("_", "<")) and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_name


def _show(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def real(
    value: Any,
    name: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    closed: str = "both",
) -> float:
    """Check a finite real number in an interval; `closed` is both, left, right or neither."""
    left = "[" if closed in ("both", "left") and low != -math.inf else "("
    right = "]" if closed in ("both", "right") and high != math.inf else ")"
    allowed = f"a finite real number in {left}{low:g}, {high:g}{right}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{_where()}: {name} must be {allowed}; got {_show(value)}")
    number = float(value)
    above = number >= low if left == "[" else number > low
    below = number <= high if right == "]" else number < high
    if not (math.isfinite(number) and above and below):
        raise ValueError(f"{_where()}: {name} must be {allowed}; got {_show(value)}")
    return number


def integer(value: Any, name: str, *, low: int | None = None, high: int | None = None) -> int:
    """Check a whole number between `low` and `high`, both included."""
    allowed = "a whole number"
    if low is not None:
        allowed += f" >= {low}"
    if high is not None:
        allowed += f"{' and' if low is not None else ''} <= {high}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{_where()}: {name} must be {allowed}; got {_show(value)}")
    number = int(value)
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError(f"{_where()}: {name} must be {allowed}; got {_show(value)}")
    return number


def one_of(value: T, name: str, allowed: Collection[T]) -> T:
    """Check that a value is one of the allowed ones."""
    try:
        known = value in allowed
    except TypeError:  # unhashable, so certainly not one of them
        known = False
    if not known:
        choices = ", ".join(repr(a) for a in allowed)
        raise ValueError(f"{_where()}: {name} must be one of {choices}; got {_show(value)}")
    return value


def array(
    value: Any,
    name: str,
    *,
    ndim: int | Sequence[int] | None = None,
    shape: Sequence[int | None] | None = None,
    finite: bool = True,
    nonempty: bool = True,
) -> NDArray[Any]:
    """Check a floating-point array; integers become float64, float32 and float64 stay.

    `shape` may hold None where any length will do.
    """
    kind = "a floating-point array"
    if ndim is not None:
        dims = (ndim,) if isinstance(ndim, int) else tuple(ndim)
        kind += f" of {' or '.join(map(str, dims))} dimension(s)"
    if shape is not None:
        kind += f" of shape ({', '.join('any' if s is None else str(s) for s in shape)})"
    try:
        a = np.asarray(value)
    except ValueError:
        raise TypeError(f"{_where()}: {name} must be {kind}; got {_show(value)}") from None
    if a.dtype.kind in "iu":
        a = a.astype(np.float64)
    if a.dtype.kind != "f":
        raise TypeError(f"{_where()}: {name} must be {kind}; got {_show(value)}")
    wrong = (ndim is not None and a.ndim not in dims) or (
        shape is not None
        and (
            a.ndim != len(shape)
            or any(s is not None and s != n for s, n in zip(shape, a.shape, strict=True))
        )
    )
    if wrong:
        raise ValueError(f"{_where()}: {name} must be {kind}; got shape {a.shape}")
    if nonempty and a.size == 0:
        raise ValueError(f"{_where()}: {name} must not be empty; got shape {a.shape}")
    if finite and _look_at_values.get() and not np.isfinite(a).all():
        raise ValueError(f"{_where()}: {name} must be finite; got NaN or infinity in it")
    return a


def same_shape(a: NDArray[Any], b: NDArray[Any], names: tuple[str, str]) -> None:
    """Check that two arrays have one shape."""
    if a.shape != b.shape:
        raise ValueError(
            f"{_where()}: {names[1]} must have the shape of {names[0]}, {a.shape}; got {b.shape}"
        )


def axes(value: Any, ndim: int, name: str = "axis") -> tuple[int, ...]:
    """Check one axis or several different ones of an array; None is all. Returns them >= 0."""
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if value is None:
        return tuple(range(ndim))
    allowed = f"one or several different axes of an array of {ndim} dimension(s)"
    if any(isinstance(a, (bool, np.bool_)) or not isinstance(a, numbers.Integral) for a in given):
        raise TypeError(f"{_where()}: {name} must be {allowed}; got {_show(value)}")
    found = tuple(int(a) % ndim if -ndim <= a < ndim else -1 for a in given)
    if -1 in found or len(set(found)) < len(found):
        raise ValueError(f"{_where()}: {name} must be {allowed}; got {_show(value)}")
    return found


def function(value: Any, name: str) -> Any:
    """Check something that can be called."""
    if not callable(value):
        raise TypeError(f"{_where()}: {name} must be a function; got {_show(value)}")
    return value


def generator(value: Any, name: str = "rng") -> np.random.Generator:
    """Check a NumPy random generator: seeds and the global state are refused."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(
            f"{_where()}: {name} must be a numpy.random.Generator, such as "
            f"np.random.default_rng(0); got {_show(value)}"
        )
    return value
