"""Where a token stands: sinusoidal and rotary positions.

Attention treats its inputs as a set: permuting the tokens permutes the outputs and changes
nothing else. Order has to be put in. Sinusoidal (and learned) positions are vectors added to the
embeddings. Rotary positions turn queries and keys by an angle proportional to the position, so
that their product depends on the distance alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _checks
from ._parameters import _float_type
from .differentiation import Pullback, differentiable

Array = NDArray[Any]

__all__ = ["rotary", "sinusoidal_positions"]


def _frequencies(dim: int, base: float) -> Array:
    """Angle per position of each pair of features: 1 for the first, almost 1/base at the end."""
    return np.asarray(base ** (-np.arange(0, dim, 2) / dim))


def sinusoidal_positions(
    length: int, dim: int, *, base: float = 10000.0, dtype: DTypeLike = np.float64
) -> Array:
    """Make the table of sines and cosines that is added to the embeddings.

    Parameters
    ----------
    length : int
        Number of positions, >= 0.
    dim : int
        Features of a token; even.
    base : float
        The slowest wave has almost 2π·base positions; > 1.
    dtype : {float16, float32, float64}

    Returns
    -------
    array of shape (length, dim)

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range, or `dim` odd.

    Notes
    -----
    ``table[t, 2i] = sin(t / base**(2i/dim))``, and ``table[t, 2i + 1]`` is the cosine of the same
    angle. Other code puts all sines before all cosines: a permutation of the features, which a
    model trained from scratch does not notice.

    References
    ----------
    Vaswani et al. (2017), Attention is all you need.

    Examples
    --------
    >>> sinusoidal_positions(2, 4).round(4)
    array([[0.    , 1.    , 0.    , 1.    ],
           [0.8415, 0.5403, 0.01  , 1.    ]])
    """
    count = _checks.integer(length, "length", low=0)
    pairs = _half(_checks.integer(dim, "dim", low=2), "dim")
    base = _checks.real(base, "base", low=1, closed="neither")
    kind = _float_type(dtype)
    angles = np.arange(count)[:, None] * _frequencies(2 * pairs, base)
    # (length, dim/2, 2) -> (length, dim)
    waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(count, 2 * pairs)
    return waves.astype(kind)


def _half(size: int, name: str) -> int:
    if size % 2:
        raise ValueError(f"{_checks._where()}: {name} must be even, two a pair; got {size}")
    return size // 2


@differentiable("x")
def rotary(
    x: Any, *, positions: Any = None, base: float = 10000.0, interleaved: bool = False
) -> tuple[Array, Pullback]:
    """Turn each pair of features by an angle proportional to the position.

    Parameters
    ----------
    x : array of shape (..., T, d)
        Queries or keys of one head; d even.
    positions : array of shape (T,), optional
        Where each token stands; 0, 1, ..., T - 1 if left out.
    base : float
        Pair i turns by base**(-2i/d) a position; > 1.
    interleaved : bool
        Which features are a pair: 2i and 2i + 1, or (the default) i and i + d/2.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    ValueError, TypeError
        If d is odd, or a parameter has another shape or is out of range.

    Notes
    -----
    ``(a, b) -> (a cos - b sin, a sin + b cos)`` with the angle ``positions[t] * base**(-2i/d)``.
    A rotation keeps lengths, and the product of a query at position m and a key at position n
    depends on m - n only. It is applied to queries and keys, not to values. The pullback turns
    back by the same angle.

    The paper and GPT-J pair neighbors; GPT-NeoX and Llama's weights as published by Hugging Face
    pair the halves. With trained weights the convention must match; a model trained from
    scratch learns as well with either, which differ by a permutation of the features.

    References
    ----------
    Su, Lu, Pan, Murtadha, Wen, Liu (2021), RoFormer: enhanced transformer with rotary position
    embedding.

    Examples
    --------
    >>> rotary(np.array([[1.0, 0.0], [1.0, 0.0]])).round(4)  # positions 0 and 1: one radian
    array([[1.    , 0.    ],
           [0.5403, 0.8415]])
    """
    x = _checks.array(x, "x", nonempty=False)
    _checks.integer(x.ndim, "dimensions of x", low=2)
    count, dim = x.shape[-2:]
    half = _half(_checks.integer(dim, "features of x", low=2), "number of features of x")
    base = _checks.real(base, "base", low=1, closed="neither")
    _checks.one_of(interleaved, "interleaved", (False, True))
    places = (
        np.arange(count)
        if positions is None
        else _checks.array(positions, "positions", shape=(count,), nonempty=False)
    )
    angles = places[:, None] * _frequencies(dim, base)  # in float64, whatever x is
    cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    if interleaved:
        first, second = (..., slice(0, None, 2)), (..., slice(1, None, 2))
    else:
        first, second = (..., slice(0, half)), (..., slice(half, None))

    def turned(z: Array, sin: Array) -> Array:
        out = np.empty_like(z)
        a, b, spare = z[first], z[second], np.empty_like(z[first])
        np.multiply(a, cos, out=out[first])
        out[first] -= np.multiply(b, sin, out=spare)
        np.multiply(a, sin, out=out[second])
        out[second] += np.multiply(b, cos, out=spare)
        return out

    return turned(x, sin), lambda cotangent: (turned(cotangent, -sin),)
