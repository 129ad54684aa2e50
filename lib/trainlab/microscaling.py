"""Microscaling (MX): blocks of 32 narrow numbers that share one power of two.

Four or six bits cannot hold both the large and the small numbers of a tensor. But 32 neighbors
are often of similar size: let a byte say where they are, their common exponent, and the few bits
of each say the rest. One outlier then spoils its own block, not the tensor.

    x is about scale * element,    scale = 2^k, k in -127 ... 127 (the format E8M0)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import _where, array, integer, one_of
from .formats import E2M1, E2M3, E3M2, E4M3, E5M2, Format, round_to

__all__ = [
    "BLOCK_SIZE", "MX_FORMATS", "MXBlocks", "MXFormat", "mx_dequantize", "mx_quantize",
]  # fmt: skip

Array = NDArray[Any]

BLOCK_SIZE = 32
_HIGHEST = 127  # exponent of E8M0: its pattern is the exponent plus 127, and 255 is NaN


@dataclass(frozen=True)
class MXFormat:
    """What the elements of a block are.

    Attributes
    ----------
    name : str
        As the specification has it, with the element format where there are two.
    element : Format or None
        A floating-point format, or None for INT8, whole numbers of 1/64.

    Examples
    --------
    >>> [(f.name, f.max, f.bits_per_number()) for f in MX_FORMATS.values()][-2:]
    [('MXFP4', 6.0, 4.25), ('MXINT8', 1.984375, 8.25)]
    """

    name: str
    element: Format | None

    @property
    def max(self) -> float:
        """Largest element."""
        return self.element.max if self.element else 127 / 64

    @property
    def emax(self) -> int:
        """Exponent of the largest element, floor(log2 max)."""
        return self.element.emax if self.element else 0

    def bits_per_number(self, block_size: int = BLOCK_SIZE) -> float:
        """Bits that a number takes, its share of the scale included."""
        return (self.element.bits if self.element else 8) + 8 / block_size


MX_FORMATS: Mapping[str, MXFormat] = MappingProxyType(
    {
        f.name: f
        for f in (
            MXFormat("MXFP8 E5M2", E5M2),
            MXFormat("MXFP8 E4M3", E4M3),
            MXFormat("MXFP6 E3M2", E3M2),
            MXFormat("MXFP6 E2M3", E2M3),
            MXFormat("MXFP4", E2M1),
            MXFormat("MXINT8", None),
        )
    }
)


class MXBlocks(NamedTuple):
    """An array in blocks.

    Attributes
    ----------
    exponents : ndarray of int, shape (..., blocks)
        Of the scales: each is 2^exponent.
    elements : ndarray of float, shape (..., blocks, block_size)
        Numbers of the element format.
    """

    exponents: Any
    elements: Any


def mx_quantize(
    x: ArrayLike, fmt: MXFormat, *, block_size: int = BLOCK_SIZE, scale_rounding: str = "down"
) -> MXBlocks:
    """Cut the last axis into blocks; give each a scale, and round its numbers to elements.

    Parameters
    ----------
    x : array_like of float32 or float64, shape (..., n)
        Finite numbers; n must be a multiple of `block_size`.
    fmt : MXFormat
        One of `MX_FORMATS`.
    block_size : int >= 1
        The specification's formats have 32.
    scale_rounding : {"down", "up"}
        Which power of two. ``down`` is what the specification proposes; elements between the
        largest one and the next power of two saturate. With ``up`` none does.

    Returns
    -------
    MXBlocks
        Exponents of the scales, and elements of x's dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    ::

        down:  k = floor(log2(max |x|)) - emax        up:  k = ceil(log2(max |x| / max element))
        element = nearest of the format to x / 2^k, at most the largest

    with k kept in -127 ... 127, and -127 for a block of zeros. INT8 elements are kept symmetric,
    -127/64 ... 127/64, as the specification allows.

    References
    ----------
    Open Compute Project, Microscaling Formats (MX) specification 1.0 (2023); Rouhani et al.
    (2023); Mishra et al. (2025), for rounding the scale up.

    Examples
    --------
    >>> blocks = mx_quantize([0.11, -0.3, 0.8, 7.0], MX_FORMATS["MXFP4"], block_size=4)
    >>> int(blocks.exponents[0]), blocks.elements
    (0, array([[ 0. , -0.5,  1. ,  6. ]]))
    """
    x, fmt = array(x, "x"), _is_mx_format(fmt)
    if x.dtype not in (np.float32, np.float64) or x.ndim == 0:
        raise TypeError(
            f"mx_quantize: x must be float32 or float64 with an axis; got {x.ndim}-d {x.dtype}"
        )
    integer(block_size, "block_size", low=1)
    one_of(scale_rounding, "scale_rounding", ("down", "up"))
    if x.shape[-1] % block_size:
        raise ValueError(
            f"mx_quantize: block_size must divide the last axis, {x.shape[-1]}; got {block_size}"
        )
    blocks = x.reshape(*x.shape[:-1], -1, block_size)
    largest = np.max(np.abs(blocks), axis=-1)
    if scale_rounding == "down":
        exponents = np.frexp(largest)[1] - 1 - fmt.emax  # frexp: largest = f * 2^e, f in [1/2, 1)
    else:
        fraction, exponents = np.frexp(largest / x.dtype.type(fmt.max))
        exponents = exponents - (fraction == 0.5)  # a power of two is its own ceiling
    exponents = np.where(largest > 0, np.clip(exponents, -_HIGHEST, _HIGHEST), -_HIGHEST)
    scaled = np.ldexp(blocks.astype(np.float64), -exponents[..., None])
    if fmt.element is None:
        elements = np.clip(np.rint(scaled * 64), -127, 127) / 64
    else:
        elements = round_to(scaled, fmt.element, saturate=True)
    return MXBlocks(exponents.astype(np.int64), elements.astype(x.dtype))


def mx_dequantize(blocks: MXBlocks) -> Array:
    """Multiply elements by their scales and put the blocks together again.

    Parameters
    ----------
    blocks : MXBlocks
        From `mx_quantize`.

    Returns
    -------
    ndarray, shape (..., n)
        The numbers that the blocks stand for, in the elements' dtype.

    Raises
    ------
    TypeError
        If it is not an MXBlocks.

    Examples
    --------
    >>> mx_dequantize(mx_quantize([0.11, -0.3, 0.8, 7.0], MX_FORMATS["MXFP4"], block_size=2))
    array([ 0.125, -0.25 ,  1.   ,  6.   ])
    """
    if not isinstance(blocks, MXBlocks):
        raise TypeError(f"mx_dequantize: blocks must be an MXBlocks; got {blocks!r}")
    elements = np.asarray(blocks.elements)
    y: Array = np.ldexp(elements, np.asarray(blocks.exponents)[..., None])
    return y.reshape(*elements.shape[:-2], elements.shape[-2] * elements.shape[-1])


def _is_mx_format(value: Any) -> MXFormat:
    if not isinstance(value, MXFormat):
        names = ", ".join(MX_FORMATS)
        raise TypeError(
            f"{_where()}: fmt must be an MXFormat, one of MX_FORMATS ({names}); got {value!r}"
        )
    return value
