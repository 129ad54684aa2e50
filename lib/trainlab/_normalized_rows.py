"""Rows of a matrix, each normalized by its own mean and variance: the core of most norms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import array

Array = NDArray[Any]
# A pullback to x, weight and bias.
Pull = Callable[[Array], tuple[Array, Array | None, Array | None]]

# Rows are treated in blocks of so many numbers, which stay in the cache from one operation to the
# next. Whole arrays would go through the memory each time: three times as slow.
BLOCK = 32768


def _reciprocal_root(var: Array, eps: float) -> Array:
    array(var, "x, and its squares,", nonempty=False)
    return np.asarray(1 / np.sqrt(var + eps))


def _blocks(x: Array) -> Iterator[slice]:
    """Cut the first axis so that a block of all other axes fits the cache."""
    height = max(1, BLOCK * len(x) // max(x.size, 1))
    return (slice(start, start + height) for start in range(0, len(x), height))


def _normalize_rows(
    x: Array,
    eps: float,
    *,
    center: bool = True,
    weight: Array | None = None,
    bias: Array | None = None,
) -> tuple[Array, Pull]:
    """Normalize the rows of a matrix, then scale and shift its columns.

    Sums are products with a vector, several times as fast as ``sum``. Of the forward pass only two
    numbers a row are kept beside x: computing x_hat again costs less than storing it.
    """
    value, width = np.empty_like(x), x.shape[1]
    rstd = np.empty((len(x), 1), x.dtype)
    mean = np.empty_like(rstd) if center else None
    average = np.full((width, 1), 1 / width, x.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in _blocks(x):
            x_hat, cells = value[rows], x[rows]
            if mean is not None:
                np.matmul(cells, average, out=mean[rows])
                cells = np.subtract(cells, mean[rows], out=x_hat)
            # The biased variance: divided by the number of cells.
            var = np.vecdot(cells, cells)[:, None] / width
            rstd[rows] = _reciprocal_root(var, eps)
            np.multiply(cells, rstd[rows], out=x_hat)
            if weight is not None:
                x_hat *= weight
            if bias is not None:
                x_hat += bias
    shares = average if weight is None else average * weight[:, None]
    has_bias = bias is not None

    def pullback(cotangent: Array) -> tuple[Array, Array | None, Array | None]:
        dx, dweight, dbias = np.empty_like(x), np.zeros(width, x.dtype), np.zeros(width, x.dtype)
        for rows in _blocks(x):
            c, g, cells = cotangent[rows], dx[rows], x[rows]
            if mean is not None:
                with np.errstate(invalid="ignore"):  # infinity was let through on the way forward
                    cells = cells - mean[rows]
            product = np.multiply(c, cells, out=g)
            dweight += rstd[rows, 0] @ product
            dbias += np.ones(len(c), x.dtype) @ c
            # With g = weight * c: moving all cells together, or stretching them about their mean,
            # leaves x_hat as it is, so the gradient loses its part along both directions.
            along = cells * (product @ shares * rstd[rows] * rstd[rows])
            np.subtract(c if weight is None else np.multiply(c, weight, out=g), along, out=g)
            if mean is not None:
                g -= c @ shares
            g *= rstd[rows]
        return dx, None if weight is None else dweight, dbias if has_bias else None

    return value, pullback
