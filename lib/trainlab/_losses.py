"""What all losses share: checks of targets, the reduction to one number, a fused softmax.

`softmax_losses` is the cross-entropy of the rows of a matrix together with its gradient. It takes
a block of rows at a time, small enough for the processor's cache, so that the logits are read
from memory once for the value and once for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks

Array = NDArray[Any]

__all__ = [
    "Targets",
    "as_array",
    "check_broadcasts",
    "check_distributions",
    "check_range",
    "class_indices",
    "may_overflow",
    "reduce_losses",
    "softmax_losses",
]

BLOCK = 1 << 16  # numbers in a block of rows: 256 kB of float32

# Decorates losses, whose infinite values `reduce_losses` refuses by name.
may_overflow = np.errstate(over="ignore", invalid="ignore")


def as_array(value: Any) -> Array:
    """Make an array; what cannot be one becomes one of objects, which every check refuses."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.asarray(None)


def _like(value: Any, name: str, a: Array) -> Array:
    """Check an array of the shape of a; it takes a's dtype."""
    return _checks.array(value, name, shape=a.shape, nonempty=False).astype(a.dtype, copy=False)


def class_indices(
    value: Any, name: str, *, shape: tuple[int, ...], classes: int, ignore_index: int | None = None
) -> tuple[NDArray[np.intp], NDArray[np.bool_] | None]:
    """Check class indices; return them, 0 if ignored, and which are kept (None: all)."""
    allowed = f"integers of shape {shape} in [0, {classes})"
    if ignore_index is not None:
        allowed += f" or {ignore_index}"
    index = as_array(value)
    if index.dtype.kind not in "iu":
        got = f"dtype {index.dtype}" if index.dtype.kind != "O" else repr(value)
        raise TypeError(f"{_checks._where()}: {name} must be {allowed}; got {got}")
    if index.shape != shape:
        raise ValueError(f"{_checks._where()}: {name} must be {allowed}; got shape {index.shape}")
    kept = None
    if ignore_index is not None and (index == ignore_index).any():
        kept = index != ignore_index
        index = np.where(kept, index, 0)
    wrong = (index < 0) | (index >= classes)
    if wrong.any():
        raise ValueError(f"{_checks._where()}: {name} must be {allowed}; got {index[wrong][0]}")
    return index.astype(np.intp, copy=False), kept


def check_range(a: Array, name: str, low: float, high: float = np.inf) -> None:
    """Check that all numbers are in [low, high], unless values go unchecked as in training."""
    if not _checks._look_at_values.get() or a.size == 0:
        return
    least, most = a.min(), a.max()
    if not (least >= low and most <= high):
        allowed = f">= {low:g}" if high == np.inf else f"in [{low:g}, {high:g}]"
        raise ValueError(
            f"{_checks._where()}: {name} must be {allowed}; got numbers from {least:g} to {most:g}"
        )


def check_broadcasts(a: Array, name: str, to: Array, to_name: str) -> None:
    """Check that the shape of one array broadcasts to that of another."""
    pairs = zip(a.shape[::-1], to.shape[::-1], strict=False)
    if a.ndim > to.ndim or any(m not in (1, n) for m, n in pairs):
        raise ValueError(
            f"{_checks._where()}: {name} must broadcast to the shape of {to_name}, {to.shape}; got "
            f"shape {a.shape}"
        )


def check_distributions(p: Array, name: str) -> None:
    """Check that p has no negative number and sums to 1 along the last axis."""
    if not _checks._look_at_values.get() or p.size == 0:
        return
    off = np.abs(p.sum(axis=-1) - 1).max()
    # the rounding of a sum, and of numbers that were printed with three digits
    if not (p.min() >= 0 and off <= 2e-3):
        raise ValueError(
            f"{_checks._where()}: {name} must be >= 0 and sum to 1 along the last axis; got a "
            f"smallest number of {p.min():g} and sums up to {off:g} away from 1"
        )


def reduce_losses(
    losses: Array, reduction: str, *, total_weight: float | None = None
) -> tuple[Array, Callable[[Array], Array]]:
    """Reduce losses; return the value and the map from its cotangent to that of each loss.

    A mean divides by `total_weight`, or the number of losses. What the map returns broadcasts to
    the shape of the losses. An infinite loss is refused, unless values go unchecked as in training.
    """
    if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
        raise ValueError(
            f"{_checks._where()}: reduction must be 'mean', 'sum' or 'none'; got {reduction!r}"
        )
    divisor = 1.0
    if reduction == "mean":
        divisor = float(losses.size if total_weight is None else total_weight)
        if divisor == 0:
            raise ValueError(
                f"{_checks._where()}: reduction must be 'sum' or 'none' where no loss counts, the "
                "mean of nothing is not defined; got 'mean'"
            )
    value = losses
    if reduction != "none":  # sums of float32 are kept in float64: one pass over few numbers
        value = np.asarray(losses.sum(dtype=np.float64) / divisor, losses.dtype)
    if _checks._look_at_values.get() and not np.isfinite(value).all():
        raise ValueError(
            f"{_checks._where()}: loss must be finite in {losses.dtype}; got NaN or infinity in it"
        )
    if reduction == "none":
        return value, lambda cotangent: cotangent
    return value, lambda cotangent: np.asarray(cotangent / divisor)


class Targets(NamedTuple):
    """What each of n rows should say, as weights q of its c classes.

    Either `dense` holds q, (n, c). Or the class `labels`, (n,), has the weight `hot`, (n,), and
    where `even`, (n,), is not 0, each class has `even * spread` in addition, `spread` (c,).
    `mass`, (n,), is the sum of q.
    """

    mass: Array
    dense: Array | None = None
    labels: Array | None = None
    hot: Array | None = None
    even: Array | None = None
    spread: Array | None = None

    def dot(self, block: Array, rows: slice) -> Array:
        """Sum q * block over the classes."""
        if self.dense is not None:
            return np.asarray(np.einsum("nc,nc->n", self.dense[rows], block))
        assert self.labels is not None and self.hot is not None  # noqa: PT018
        result: Array = block[np.arange(len(block)), self.labels[rows]] * self.hot[rows]
        if self.even is not None:
            result += self.even[rows] * (block @ self.spread)
        return result

    def subtract(self, block: Array, rows: slice, scale: Array) -> None:
        """Subtract scale * q from the block, in place."""
        if self.dense is not None:
            block -= self.dense[rows] * scale[:, None]
            return
        assert self.labels is not None and self.hot is not None  # noqa: PT018
        block[np.arange(len(block)), self.labels[rows]] -= self.hot[rows] * scale
        if self.even is not None:
            assert self.spread is not None
            block -= (self.even[rows] * scale)[:, None] * self.spread


def _blocks(z: Array) -> Iterator[slice]:
    height = max(1, BLOCK // z.shape[1])
    for start in range(0, len(z), height):
        yield slice(start, min(start + height, len(z)))


def softmax_losses(z: Array, targets: Targets) -> tuple[Array, Callable[[Array], Array]]:
    """Sum -q log softmax(z) over each row, and the map from the losses' cotangent to that of z.

    The loss of a row is ``mass * log(total) - q · s`` with ``s = z - max(z)`` and ``total =
    sum(exp(s))``; its gradient is ``mass * exp(s) / total - q``. The exponentials are computed
    again for the gradient: that costs less than to store them.
    """
    n, c = z.shape
    top, total, losses = np.empty((n, 1), z.dtype), np.empty(n, z.dtype), np.empty(n, z.dtype)
    ones = np.ones(c, z.dtype)
    scratch = np.empty((min(n, max(1, BLOCK // c)), c), z.dtype)
    for rows in _blocks(z):
        block = scratch[: rows.stop - rows.start]
        np.max(z[rows], axis=1, keepdims=True, out=top[rows])
        np.subtract(z[rows], top[rows], out=block)
        losses[rows] = targets.dot(block, rows)
        np.exp(block, out=block)
        np.matmul(block, ones, out=total[rows])
    np.subtract(targets.mass * np.log(total), losses, out=losses)

    def pullback(cotangent: Array) -> Array:
        scale = np.broadcast_to(cotangent, (n,))
        factor = (targets.mass * scale / total)[:, None]
        gradient = np.empty((n, c), z.dtype)
        for rows in _blocks(z):
            block = gradient[rows]
            np.subtract(z[rows], top[rows], out=block)
            np.exp(block, out=block)
            block *= factor[rows]
            targets.subtract(block, rows, scale[rows])
        return gradient

    return losses, pullback
