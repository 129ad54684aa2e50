"""The statistics of a batch: which cells share them, how noisy they are, how fast they are learned.

Closed forms for independent Gaussian values. `trainlab.normalization` has the layers themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import integer, one_of, real

__all__ = ["BatchNoise", "averaged_cells", "batch_noise", "running_noise", "steps_to_forget"]


def averaged_cells(
    norm: str, shape: Sequence[int], *, cell: Sequence[int], num_groups: int = 2
) -> NDArray[np.bool_]:
    """Mark the cells that share one mean and one variance with a given cell.

    Parameters
    ----------
    norm : {"batch", "layer", "group", "instance", "rms"}
        Layer and RMS norm average over the channels of one token or pixel.
    shape : sequence of int
        (N, C, ...), the shape of the activations.
    cell : sequence of int
        The indices of one cell.
    num_groups : int
        For group norm; divides C.

    Returns
    -------
    array of bool, of shape `shape`

    Raises
    ------
    ValueError, TypeError
        If a value is out of range, or `cell` lies outside of `shape`.

    Notes
    -----
    These are also the cells on which the normalized value of `cell` depends, and the only ones.

    References
    ----------
    Wu & He (2018).

    Examples
    --------
    >>> int(averaged_cells("batch", (8, 4, 5), cell=(0, 0, 0)).sum())  # 8 examples · 5 positions
    40
    >>> int(averaged_cells("layer", (8, 4, 5), cell=(0, 0, 0)).sum())  # 4 channels
    4
    """
    one_of(norm, "norm", ("batch", "layer", "group", "instance", "rms"))
    for name, value in (("shape", shape), ("cell", cell)):
        if not isinstance(value, (tuple, list)) or len(value) < 2 or len(value) != len(shape):
            raise ValueError(
                f"averaged_cells: {name} must be whole numbers, two or more, as many in shape as "
                f"in cell; got {value!r}"
            )
    sizes = tuple(integer(s, "shape", low=1) for s in shape)
    at = [integer(i, "cell", low=0, high=s - 1) for i, s in zip(cell, sizes, strict=True)]
    groups = integer(num_groups, "num_groups", low=1)
    if norm == "group" and sizes[1] % groups:
        raise ValueError(
            f"averaged_cells: num_groups must divide the {sizes[1]} channels; got {groups}"
        )
    index = np.indices(sizes, sparse=True)  # index[a] numbers the cells along axis a
    same_example, same_channel = index[0] == at[0], index[1] == at[1]
    if norm == "batch":
        shared = same_channel
    elif norm == "instance":
        shared = same_example & same_channel
    elif norm == "group":
        width = sizes[1] // groups
        shared = same_example & (index[1] // width == at[1] // width)
    else:
        shared = same_example
        for axis in range(2, len(sizes)):
            shared = shared & (index[axis] == at[axis])
    return np.broadcast_to(shared, sizes).copy()


class BatchNoise(NamedTuple):
    """How far the statistics of a random batch stray, in closed form."""

    mean_std: float  # standard deviation of the batch mean
    expected_var: float  # expectation of the biased variance
    var_std: float  # standard deviation of the biased variance
    largest: float  # no normalized value is larger than this


def batch_noise(batch_size: int, *, std: float = 1.0) -> BatchNoise:
    """Give the noise of the statistics of a batch of independent Gaussian values.

    Parameters
    ----------
    batch_size : int
        Values m per channel, >= 2 (for images N·H·W, if they were independent).
    std : float
        Their standard deviation, > 0.

    Returns
    -------
    BatchNoise

    Raises
    ------
    ValueError, TypeError
        If a value is out of range.

    Notes
    -----
    ``mean_std = std/sqrt(m)``, ``expected_var = std² (m - 1)/m``,
    ``var_std = std² sqrt(2 (m - 1))/m``. A normalized value is at most ``sqrt(m - 1)``, whatever
    the distribution: all m of them have mean 0 and mean square 1.

    Examples
    --------
    >>> noise = batch_noise(2)
    >>> noise.expected_var, noise.largest
    (0.5, 1.0)
    """
    m = integer(batch_size, "batch_size", low=2)
    std = real(std, "std", low=0, closed="neither")
    return BatchNoise(
        mean_std=std / math.sqrt(m),
        expected_var=std**2 * (m - 1) / m,
        var_std=std**2 * math.sqrt(2 * (m - 1)) / m,
        largest=math.sqrt(m - 1),
    )


def steps_to_forget(momentum: float, *, left: float = 0.01) -> int:
    """Count the batches until a running average keeps at most `left` of its initial value.

    Parameters
    ----------
    momentum : float
        Weight of the new value, in (0, 1), as in `batch_norm_update`.
    left : float
        Share of the initial value, in (0, 1).

    Returns
    -------
    int

    Raises
    ------
    ValueError, TypeError
        If a value is out of range.

    Notes
    -----
    The smallest t with ``(1 - momentum)**t <= left``.

    Examples
    --------
    >>> steps_to_forget(0.1), steps_to_forget(0.01)
    (44, 459)
    """
    keep = 1 - real(momentum, "momentum", low=0, high=1, closed="neither")
    left = real(left, "left", low=0, high=1, closed="neither")
    return math.ceil(math.log(left) / math.log(keep))


def running_noise(momentum: float, batch_size: int, *, std: float = 1.0) -> float:
    """Give the standard deviation that a running mean keeps however long it averages.

    Parameters
    ----------
    momentum : float
        Weight of the new value, in (0, 1), as in `batch_norm_update`.
    batch_size : int
        Values m per channel, >= 2.
    std : float
        Standard deviation of the values, > 0.

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        If a value is out of range.

    Notes
    -----
    ``std/sqrt(m) * sqrt(momentum / (2 - momentum))``, the price of forgetting fast.

    Examples
    --------
    >>> round(running_noise(0.1, 32), 4)
    0.0406
    """
    momentum = real(momentum, "momentum", low=0, high=1, closed="neither")
    m = integer(batch_size, "batch_size", low=2)
    std = real(std, "std", low=0, closed="neither")
    return std / math.sqrt(m) * math.sqrt(momentum / (2 - momentum))
