"""Dropout: multiply by random zeros in training, and keep test time consistent with it.

Everywhere `p` is the probability of *dropping*, as in PyTorch and Keras; the 2014 paper writes p
for the probability of keeping, here ``1 - p``. A mask is drawn once (`keep_mask`) and then
applied, so that whoever needs the same mask again, in the backward pass or at the next time step,
has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainlab._checks import array, generator, integer, one_of, real
from trainlab.differentiation import Pullback, differentiable

__all__ = ["drop_connect", "dropout", "dropout_test", "keep_mask"]

Array = NDArray[Any]
Result = tuple[Array, Pullback]
Mask = NDArray[np.bool_]

SCALINGS = ("inverted", "standard")


def _drop_probability(p: Any) -> float:
    return real(p, "p", low=0, high=1, closed="left")


def _same_mask(mask: Any, like: Array, name: str, func: str) -> Mask:
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != like.shape:
        raise ValueError(
            f"{func}: mask must be a boolean array with the shape of {name}, {like.shape}, as "
            f"keep_mask draws it; got {getattr(mask, 'dtype', type(mask).__name__)} "
            f"{getattr(mask, 'shape', '')}"
        )
    return mask


def keep_mask(
    shape: Sequence[int], *, p: float, rng: np.random.Generator, shared_axes: Sequence[int] = ()
) -> Mask:
    """Draw which entries are kept: True with probability ``1 - p``.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array that will be masked.
    p : float in [0, 1)
        Probability of dropping. PyTorch also takes 1 and then returns zeros.
    rng : numpy.random.Generator
        Source of randomness.
    shared_axes : sequence of int
        Axes along which one draw holds for all. ``()`` drops single units. The time axis of
        (batch, time, units) gives one mask a sequence (variational dropout); the pixel axes of
        (batch, channel, height, width) drop whole channels (spatial dropout).

    Returns
    -------
    ndarray of bool
        The mask, of shape `shape`.

    Raises
    ------
    ValueError, TypeError
        If `p` is outside [0, 1), or an axis does not exist, or `rng` is no generator.

    Notes
    -----
    ``nn.Dropout`` is ``shared_axes=()`` and draws a new mask at every call, so in a loop over
    time it never shares one; ``nn.Dropout2d`` is ``shared_axes=(2, 3)``.

    References
    ----------
    Srivastava et al. (2014), section 4; Tompson et al. (2015) for channels; Gal and Ghahramani
    (2016) for sequences.

    Examples
    --------
    >>> import numpy as np
    >>> mask = keep_mask((3, 5), p=0.5, rng=np.random.default_rng(1), shared_axes=(1,))
    >>> mask.astype(int)
    array([[1, 1, 1, 1, 1],
           [1, 1, 1, 1, 1],
           [0, 0, 0, 0, 0]])
    """
    p = _drop_probability(p)
    generator(rng)
    for name, value in (("shape", shape), ("shared_axes", shared_axes)):
        if not isinstance(value, Sequence):
            raise TypeError(f"keep_mask: {name} must be a sequence of whole numbers; got {value!r}")
    sizes = [integer(s, "shape", low=1) for s in shape]
    drawn = list(sizes)
    for axis in shared_axes:
        drawn[integer(axis, "shared_axes", low=-len(sizes), high=len(sizes) - 1)] = 1
    return np.broadcast_to(rng.random(drawn) >= p, sizes).copy()


def _masked(x: Array, mask: Mask, divisor: float) -> Array:
    kept = np.multiply(x, mask)
    kept += 0  # turns -0 into 0; np.where is much slower
    if divisor != 1:
        kept /= divisor
    return np.asarray(kept)


@differentiable("x")
def dropout(x: Any, mask: Mask, *, p: float, scaling: str = "inverted") -> Result:
    """Set the dropped entries to zero, as in training.

    Parameters
    ----------
    x : ndarray
        Activations.
    mask : ndarray of bool, shape of x
        True where an entry is kept.
    p : float in [0, 1)
        Probability of dropping that the mask was drawn with.
    scaling : {"inverted", "standard"}
        "inverted" divides what is kept by ``1 - p``, so that nothing is left to do at test time
        (PyTorch, Keras, JAX). "standard" does not: the 2014 paper scales at test time instead.

    Returns
    -------
    ndarray
        ``x * mask / (1 - p)`` or ``x * mask``, with the shape and dtype of `x`.

    Raises
    ------
    ValueError, TypeError
        If `p` is outside [0, 1), the mask does not fit, or `scaling` is unknown.

    See Also
    --------
    dropout_test : the other half; the two must be called with the same `scaling`.

    Notes
    -----
    The gradient passes through the same mask and the same scale; a new mask would be a wrong
    gradient.

    References
    ----------
    Srivastava et al. (2014), section 4 ("standard") and section 10 (the inverted variant).

    Examples
    --------
    >>> import numpy as np
    >>> x, mask = np.array([1.0, 2.0, 3.0]), np.array([True, False, True])
    >>> dropout(x, mask, p=0.5), dropout(x, mask, p=0.5, scaling="standard")
    (array([2., 0., 6.]), array([1., 0., 3.]))
    """
    x = array(x, "x", nonempty=False)
    p = _drop_probability(p)
    mask = _same_mask(mask, x, "x", "dropout")
    divisor = 1 - p if one_of(scaling, "scaling", SCALINGS) == "inverted" else 1.0
    return _masked(x, mask, divisor), lambda cotangent: (_masked(cotangent, mask, divisor),)


@differentiable("x")
def dropout_test(x: Any, *, p: float, scaling: str = "inverted") -> Result:
    """Apply dropout's rule for test time: nothing if it was inverted, else scale by ``1 - p``.

    Parameters
    ----------
    x : ndarray
        Activations.
    p : float in [0, 1)
        Probability of dropping in training.
    scaling : {"inverted", "standard"}
        How the network was trained. "standard" after training with "inverted" is the
        double-scaling error: each such layer loses a factor ``1 - p``.

    Returns
    -------
    ndarray
        ``x`` or ``(1 - p) * x``, a new array with the shape and dtype of `x`.

    Raises
    ------
    ValueError, TypeError
        If `p` is outside [0, 1) or `scaling` is unknown.

    References
    ----------
    Srivastava et al. (2014), figure 2.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0])
    >>> dropout_test(x, p=0.2), dropout_test(x, p=0.2, scaling="standard")
    (array([1.]), array([0.8]))
    """
    x = array(x, "x", nonempty=False)
    p = _drop_probability(p)
    one_of(scaling, "scaling", SCALINGS)
    if scaling == "inverted":
        value: Array = x.copy()
        return value, lambda cotangent: (cotangent,)
    return np.asarray(x * (1 - p)), lambda cotangent: (np.asarray(cotangent * (1 - p)),)


@differentiable("x", "weight")
def drop_connect(x: Any, weight: Any, mask: Mask, *, p: float) -> Result:
    """Apply a linear layer that drops single weights, not units: ``x (W∘M / (1 - p))ᵀ``.

    Parameters
    ----------
    x : ndarray of shape (n, fan_in)
        Inputs, one a row.
    weight : ndarray of shape (fan_out, fan_in)
        Weights W.
    mask : ndarray of bool, shape of weight
        True where a connection is kept. Dropout of input unit j is the special case in which
        column j is dropped as a whole.
    p : float in [0, 1)
        Probability of dropping.

    Returns
    -------
    ndarray of shape (n, fan_out)
        The layer's output.

    Raises
    ------
    ValueError, TypeError
        If the shapes do not fit or `p` is outside [0, 1).

    Notes
    -----
    One mask serves the whole batch here; Wan et al. draw one for each example, and average at
    test time by sampling from a Gaussian with the right two moments. The gradient with respect to
    W passes through the same mask and the same scale.

    References
    ----------
    Wan et al. (2013).

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.array([[True, False], [False, True]])
    >>> drop_connect(np.ones((1, 2)), np.array([[1.0, 2.0], [3.0, 4.0]]), mask, p=0.5)
    array([[2., 8.]])
    """
    x = array(x, "x", ndim=2, nonempty=False)
    weight = array(weight, "weight", ndim=2)
    if x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"drop_connect: weight must have one column for each of the {x.shape[1]} inputs; "
            f"got shape {weight.shape}"
        )
    p = _drop_probability(p)
    mask = _same_mask(mask, weight, "weight", "drop_connect")
    thinned = _masked(weight, mask, 1 - p)

    def pullback(cotangent: Array) -> tuple[Array, Array]:
        return cotangent @ thinned, _masked(cotangent.T @ x, mask, 1 - p)

    return x @ thinned.T, pullback  # (n, in) @ (in, out) -> (n, out)
