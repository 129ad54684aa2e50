"""Layers without a choice of normalization or activation: linear, embedding, convolution, pooling.

A linear layer and a convolution are matrix products, and so are both of their gradients: one
product with the weight for the input, one with the input for the weight. A convolution first
copies each patch that a filter sees into a column; the gradient adds the columns back.

Images are channels first, (N, C, H, W), as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks
from .differentiation import Pullback, differentiable

Array = NDArray[Any]
Pair = tuple[int, int]
Size = int | Sequence[int]
Result = tuple[Array, Pullback]

__all__ = [
    "avg_pool2d",
    "conv2d",
    "embedding",
    "global_avg_pool2d",
    "linear",
    "max_pool2d",
]


@differentiable("x", "weight", "bias")
def linear(x: Any, weight: Any, *, bias: Any = None) -> Result:
    """Apply one linear map to each row: x Wᵀ + b.

    Parameters
    ----------
    x : array of shape (..., in)
    weight : array of shape (out, in)
    bias : array of shape (out,), optional

    Returns
    -------
    array of shape (..., out)

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a floating-point array, or the shapes do not fit.

    Notes
    -----
    With the rows of all leading axes below each other: ``dx = dz W``, ``dW = dzᵀ x`` in one
    product, ``db`` the sum of dz over the rows. The weight is stored (out, in), as in PyTorch;
    Flax and Keras store its transpose.

    Examples
    --------
    >>> linear(np.array([1.0, 2.0]), np.array([[1.0, 1.0], [0.0, 3.0]]), bias=np.array([0.5, 0.0]))
    array([3.5, 6. ])
    """
    x = _checks.array(x, "x", nonempty=False)
    _checks.integer(x.ndim, "number of dimensions of x", low=1)
    weight = _checks.array(weight, "weight", shape=(None, x.shape[-1]), nonempty=False)
    width, has_bias = weight.shape[0], bias is not None
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # (..., in) -> (n, in)
    z = rows @ weight.T
    if has_bias:
        z += _checks.array(bias, "bias", shape=(width,), nonempty=False).astype(z.dtype, copy=False)

    def pullback(cotangent: Array) -> tuple[Array, Array, Array | None]:
        dz = cotangent.reshape(len(rows), width)  # (..., out) -> (n, out)
        # A product with ones is a faster sum.
        dbias = np.ones(len(dz), dz.dtype) @ dz if has_bias else None
        return (dz @ weight).reshape(x.shape), dz.T @ rows, dbias

    return z.reshape(*x.shape[:-1], width), pullback


@differentiable("weight")
def embedding(ids: Any, weight: Any) -> Result:
    """Look up one row of a table for each id.

    Parameters
    ----------
    ids : array of integers
        Of any shape, each in [0, vocabulary).
    weight : array of shape (vocabulary, features)

    Returns
    -------
    array of shape (*ids.shape, features)

    Raises
    ------
    TypeError, ValueError
        If an id is no row of the table.

    Notes
    -----
    The product of one-hot rows and the table, without the zeros. The gradient of a row is the sum
    over all places where its id stands, and 0 for ids that do not occur.

    Examples
    --------
    >>> embedding(np.array([2, 0]), np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    array([[4., 5.],
           [0., 1.]])
    """
    weight = _checks.array(weight, "weight", ndim=2, nonempty=False)
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"embedding: ids must be an array of integers; got {_checks._show(ids)}")
    if ids.size:
        _checks.integer(int(ids.min()), "smallest of ids", low=0)
        _checks.integer(int(ids.max()), "largest of ids", high=len(weight) - 1)
    shape = weight.shape

    def pullback(cotangent: Array) -> tuple[Array]:
        rows = cotangent.reshape(ids.size, shape[1])  # (..., D) -> (n, D)
        if shape[0] <= 1024:  # then a product with one-hot columns is faster
            one_hot = np.zeros((shape[0], ids.size), cotangent.dtype)
            one_hot[ids.reshape(-1), np.arange(ids.size)] = 1
            return (one_hot @ rows,)
        gradient = np.zeros(shape, cotangent.dtype)
        np.add.at(gradient, ids.reshape(-1), rows)
        return (gradient,)

    return weight[ids], pullback


# Images ---------------------------------------------------------------------------------------


def _pair(value: Any, name: str, low: int) -> Pair:
    given = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    _checks.integer(len(given), f"length of {name}", low=2, high=2)
    return _checks.integer(given[0], name, low=low), _checks.integer(given[1], name, low=low)


def _output_size(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Places of the kernel along both axes; the last incomplete ones are dropped."""
    size = []
    for length, k, s, p in zip(x.shape[2:], kernel, stride, padding, strict=True):
        _checks.integer(
            length + 2 * p - k, "size of x, padded, minus that of the window (weight)", low=0
        )
        size.append((length + 2 * p - k) // s + 1)
    return size[0], size[1]


def _pad(x: Array, padding: Pair, value: float = 0.0) -> Array:
    if padding == (0, 0):
        return x
    (p, q), (n, c, h, w) = padding, x.shape
    padded = np.full((n, c, h + 2 * p, w + 2 * q), value, x.dtype)
    padded[:, :, p : p + h, q : q + w] = x
    return padded


def _unpad(padded: Array, padding: Pair) -> Array:
    (p, q), (h, w) = padding, padded.shape[2:]
    return padded[:, :, p : h - p, q : w - q]


def _offsets(kernel: Pair, stride: Pair, size: Pair) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """For each cell of the kernel: its number, and what it sees over all places, as an index."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            down = slice(i, i + stride[0] * (size[0] - 1) + 1, stride[0])
            right = slice(j, j + stride[1] * (size[1] - 1) + 1, stride[1])
            yield i * kernel[1] + j, (slice(None), slice(None), down, right)


def _patches(x: Array, kernel: Pair, stride: Pair, size: Pair) -> Array:
    """Copy what each cell of the kernel sees: (N, C, cells, places)."""
    n, c = x.shape[:2]
    columns = np.empty((n, c, kernel[0] * kernel[1], *size), x.dtype)
    for cell, seen in _offsets(kernel, stride, size):
        columns[:, :, cell] = x[seen]
    return columns.reshape(n, c, kernel[0] * kernel[1], size[0] * size[1])


@differentiable("x", "weight", "bias")
def conv2d(
    x: Any,
    weight: Any,
    *,
    bias: Any = None,
    stride: Size = 1,
    padding: Size = 0,
    groups: int = 1,
) -> Result:
    """Slide filters over images.

    Parameters
    ----------
    x : array of shape (N, in, H, W)
    weight : array of shape (out, in / groups, kernel height, kernel width)
    bias : array of shape (out,), optional
    stride : int or pair of int
        Steps of the filter, >= 1.
    padding : int or pair of int
        Zeros added on each side, >= 0.
    groups : int
        Divides both in and out: group g of the outputs sees group g of the inputs only.

    Returns
    -------
    array of shape (N, out, H', W')
        H' = (H + 2 padding - kernel height) // stride + 1.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit, or the filter is larger than the padded image.

    Notes
    -----
    A *cross-correlation*, as in all frameworks: the filter is not flipped. `fan_in` of a filter
    is in / groups · kernel height · kernel width. The copies of the patches are made again on the
    way back, so that between the two passes the layer holds its input only.

    Examples
    --------
    >>> conv2d(np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    x = _checks.array(x, "x", ndim=4, nonempty=False)
    weight = _checks.array(weight, "weight", ndim=4)
    n, channels = x.shape[:2]
    groups = _checks.integer(groups, "groups", low=1)
    both = "groups, which divide the channels of x and the rows of weight,"
    _checks.one_of(groups, both, _divisors(channels, len(weight)))
    out, per_group = len(weight), channels // groups
    weight = _checks.array(weight, "weight", shape=(None, per_group, None, None))
    kernel = (weight.shape[2], weight.shape[3])
    steps, margin = _pair(stride, "stride", 1), _pair(padding, "padding", 0)
    size = _output_size(x, kernel, steps, margin)
    cells, places = kernel[0] * kernel[1], size[0] * size[1]
    # Group by group, a filter is one row: (out, in/G, kh, kw) -> (G, out/G, in/G · cells).
    filters = weight.reshape(groups, out // groups, per_group * cells)

    def columns() -> Array:
        patches = _patches(_pad(x, margin), kernel, steps, size)
        return patches.reshape(n, groups, per_group * cells, places)

    z = np.matmul(filters, columns()).reshape(n, out, *size)
    if bias is not None:
        z += _checks.array(bias, "bias", shape=(out,)).astype(z.dtype, copy=False)[:, None, None]
    has_bias = bias is not None

    def pullback(cotangent: Array) -> tuple[Array, Array, Array | None]:
        dz = cotangent.reshape(n, groups, out // groups, places)
        dfilters = np.matmul(dz, columns().swapaxes(-1, -2)).sum(axis=0)
        dcolumns = np.matmul(filters.swapaxes(-1, -2), dz).reshape(n, channels, cells, *size)
        h, w = x.shape[2] + 2 * margin[0], x.shape[3] + 2 * margin[1]
        padded = np.zeros((n, channels, h, w), dcolumns.dtype)
        for cell, seen in _offsets(kernel, steps, size):
            padded[seen] += dcolumns[:, :, cell]
        dbias = cotangent.sum(axis=(0, 2, 3)) if has_bias else None
        return _unpad(padded, margin), dfilters.reshape(weight.shape), dbias

    return z, pullback


def _divisors(a: int, b: int) -> list[int]:
    return [g for g in range(1, a + 1) if a % g == 0 and b % g == 0]


@differentiable("x")
def max_pool2d(
    x: Any, kernel_size: Size, *, stride: Size | None = None, padding: Size = 0
) -> Result:
    """Keep the largest value of each window.

    Parameters
    ----------
    x : array of shape (N, C, H, W)
    kernel_size : int or pair of int
        Height and width of the window, >= 1.
    stride : int or pair of int, optional
        Steps of the window; its own size if left out, so that windows do not overlap.
    padding : int or pair of int
        Cells of -infinity added on each side, at most half the window.

    Returns
    -------
    array of shape (N, C, H', W')

    Raises
    ------
    TypeError, ValueError
        If a parameter is out of range, or the window larger than the padded image.

    Notes
    -----
    The gradient goes to the largest value; among equal ones to the first in the window, as in
    PyTorch.

    Examples
    --------
    >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """
    x = _checks.array(x, "x", ndim=4, nonempty=False)
    kernel, steps, margin = _window(kernel_size, stride, padding)
    size, shape = _output_size(x, kernel, steps, margin), x.shape
    padded = _pad(x, margin, -np.inf)
    value = padded[next(_offsets(kernel, steps, size))[1]].copy()
    winner = np.zeros(value.shape, np.int32)
    for cell, seen in _offsets(kernel, steps, size):
        larger = padded[seen] > value
        np.copyto(winner, cell, where=larger)
        np.maximum(value, padded[seen], out=value)  # NaN stays

    def pullback(cotangent: Array) -> tuple[Array]:
        h, w = shape[2] + 2 * margin[0], shape[3] + 2 * margin[1]
        gradient = np.zeros((*shape[:2], h, w), cotangent.dtype)
        for cell, seen in _offsets(kernel, steps, size):
            gradient[seen] += cotangent * (winner == cell)
        return (_unpad(gradient, margin),)

    return value, pullback


def _window(kernel_size: Size, stride: Size | None, padding: Size) -> tuple[Pair, Pair, Pair]:
    kernel = _pair(kernel_size, "kernel_size", 1)
    steps = kernel if stride is None else _pair(stride, "stride", 1)
    margin = _pair(padding, "padding", 0)
    for p, k in zip(margin, kernel, strict=True):
        _checks.integer(p, "padding", high=k // 2)  # else a window could see padding only
    return kernel, steps, margin


@differentiable("x")
def avg_pool2d(
    x: Any, kernel_size: Size, *, stride: Size | None = None, padding: Size = 0
) -> Result:
    """Average each window.

    Parameters
    ----------
    x : array of shape (N, C, H, W)
    kernel_size : int or pair of int
        Height and width of the window, >= 1.
    stride : int or pair of int, optional
        Steps of the window; its own size if left out.
    padding : int or pair of int
        Zeros added on each side, at most half the window.

    Returns
    -------
    array of shape (N, C, H', W')

    Raises
    ------
    TypeError, ValueError
        If a parameter is out of range, or the window larger than the padded image.

    Notes
    -----
    The padding counts as values, PyTorch's default (``count_include_pad=True``). Each value gets
    1 / cells of the gradient of each window that sees it.

    Examples
    --------
    >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """
    x = _checks.array(x, "x", ndim=4, nonempty=False)
    kernel, steps, margin = _window(kernel_size, stride, padding)
    size, shape, cells = _output_size(x, kernel, steps, margin), x.shape, kernel[0] * kernel[1]
    padded = _pad(x, margin)
    value = np.zeros((*shape[:2], *size), x.dtype)
    for _, seen in _offsets(kernel, steps, size):
        value += padded[seen]
    value /= cells

    def pullback(cotangent: Array) -> tuple[Array]:
        h, w = shape[2] + 2 * margin[0], shape[3] + 2 * margin[1]
        gradient = np.zeros((*shape[:2], h, w), cotangent.dtype)
        share = cotangent / cells
        for _, seen in _offsets(kernel, steps, size):
            gradient[seen] += share
        return (_unpad(gradient, margin),)

    return value, pullback


@differentiable("x")
def global_avg_pool2d(x: Any) -> Result:
    """Average each channel over the whole image.

    Parameters
    ----------
    x : array of shape (N, C, H, W)

    Returns
    -------
    array of shape (N, C)

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of 4 dimensions, or has no pixel.

    Notes
    -----
    PyTorch's ``adaptive_avg_pool2d(x, 1)`` without the two axes of length 1.

    Examples
    --------
    >>> global_avg_pool2d(np.arange(4.0).reshape(1, 1, 2, 2))
    array([[1.5]])
    """
    x = _checks.array(x, "x", ndim=4, nonempty=False)
    shape, pixels = x.shape, x.shape[2] * x.shape[3]
    _checks.integer(pixels, "number of pixels of x", low=1)

    def pullback(cotangent: Array) -> tuple[Array]:
        return (np.broadcast_to((cotangent / pixels)[:, :, None, None], shape),)

    return x.mean(axis=(2, 3)), pullback
