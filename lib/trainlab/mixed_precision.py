"""Mixed precision: compute in 16 bits, and keep in 32 what 16 bits would lose.

Half precision loses in three places, and there is a remedy for each:

* Sums of many products: they are accumulated in float32, and only the result is rounded. Softmax,
  norms and the loss stay in float32 altogether.
* Small gradients become 0 (FP16): the loss is multiplied by a *scale*, and with it all gradients;
  they are divided by it in float32, before they are clipped or used.
* Small updates vanish against large weights: ``w + u`` is rounded back to w if u is below half the
  spacing of the numbers around w. So the optimizer keeps *master weights* in float32, of which the
  forward pass gets a rounded copy. Or the sum is rounded at random, right on average.

Formats are emulated: arrays stay float32 or float64, and hold numbers of the format only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import array, generator, one_of, real
from ._checks import function as check_function
from .bit_patterns import neighbors
from .differentiation import Pullback, Variable, differentiable, value_and_grad
from .formats import FP16, FP32, Format, _is_format, round_to, stochastic_round
from .trees import tree_leaves, tree_map, tree_unflatten

__all__ = [
    "TrainingMemory",
    "cast",
    "cast_tree",
    "low_precision",
    "mixed_value_and_grad",
    "rounded_update",
    "training_memory",
    "update_threshold",
    "vanishing_updates",
]

Array = NDArray[Any]


def _floats(value: Any, name: str, *, finite: bool = False) -> Array:
    """Check an array that a format can be emulated in."""
    x = array(value, name, finite=finite, nonempty=False)
    one_of(x.dtype.name, f"dtype of {name}", ("float32", "float64"))
    return x


def _float_tree(tree: Any, name: str, *, finite: bool = False) -> Any:
    leaves = [_floats(leaf, name, finite=finite) for leaf in tree_leaves(tree)]
    return tree_unflatten(tree, leaves)


# Rounding what flows forward and backward --------------------------------------------------------


@differentiable("x")
def cast(
    x: Any, fmt: Format, *, cotangent_fmt: Format | None = None, saturate: bool = False
) -> tuple[Array, Pullback]:
    """Round to a format, and round the gradient on its way back.

    Parameters
    ----------
    x : array of float32 or float64
        May hold infinities and NaN.
    fmt : Format
        The format of the values.
    cotangent_fmt : Format, optional
        The format of the gradient; `fmt` if left out. FP8 training rounds values to E4M3 and
        gradients, which need more range and less precision, to E5M2.
    saturate : bool
        What becomes of values and gradients beyond the largest number: see `round_to`.

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    The derivative of rounding is 0 almost everywhere, of no use. Here it is taken as 1, so that the
    gradient passes; it is rounded because the arrays of the backward pass have a format too.

    References
    ----------
    Micikevicius et al. (2018), Mixed precision training; Micikevicius et al. (2022), FP8 formats
    for deep learning.

    Examples
    --------
    >>> from trainlab.differentiation import vjp
    >>> value, pullback = vjp(cast, np.array([0.1]), fmt=FP16)
    >>> value, pullback(np.array([1e-8]))  # less than half of FP16's smallest number
    (array([0.09997559]), (array([0.]),))
    """
    back = fmt if cotangent_fmt is None else cotangent_fmt
    if not isinstance(back, Format):
        raise TypeError(f"cast: cotangent_fmt must be a Format; got {back!r}")
    x, fmt = _floats(x, "x"), _is_format(fmt)
    one_of(saturate, "saturate", (False, True))
    value = np.asarray(round_to(x, fmt, saturate=saturate))
    return value, lambda c: (np.asarray(round_to(c, back, saturate=saturate)),)


def cast_tree(tree: Any, fmt: Format, *, saturate: bool = False) -> Any:
    """Round every array of a tree to a format.

    Parameters
    ----------
    tree : tree of arrays of float32 or float64
        Parameters, or Variables in a computation that is differentiated (see `cast`).
    fmt : Format
        The format.
    saturate : bool
        As in `round_to`.

    Returns
    -------
    tree

    Raises
    ------
    TypeError, ValueError
        If a leaf is no such array, or another argument not of its kind.

    Examples
    --------
    >>> cast_tree({"w": np.array([1.001, 2049.0])}, FP16)
    {'w': array([1.00097656e+00, 2.04800000e+03])}
    """
    _is_format(fmt)
    one_of(saturate, "saturate", (False, True))
    for leaf in tree_leaves(tree):
        _floats(leaf.value if isinstance(leaf, Variable) else leaf, "tree")
    return tree_map(lambda leaf: cast(leaf, fmt, saturate=saturate), tree)


def low_precision(function: Callable[..., Any], fmt: Format) -> Callable[..., Any]:
    """Make an operation that reads and writes a format, and computes in between as it did.

    Parameters
    ----------
    function : callable
        Of arrays or Variables, to one of them: a linear layer, say.
    fmt : Format
        The format of its arguments and of its result, and of their gradients.

    Returns
    -------
    callable
        Of the same arguments. Floating-point arrays among them are rounded, everything else is
        handed on as it is.

    Raises
    ------
    TypeError
        If `function` is not a function or `fmt` not a format.

    Notes
    -----
    This is what a matrix product on a tensor core does: factors of 16 bits, sums in float32, one
    rounding at the end. In the backward pass the cotangent of the result is rounded first, and
    each gradient last.

    References
    ----------
    Micikevicius et al. (2018), Mixed precision training.

    Examples
    --------
    >>> product = low_precision(lambda a, b: a @ b, FP16)
    >>> product(np.full((1, 4096), 1.0), np.full((4096, 1), 1.0))  # an FP16 sum stops at 2048
    array([[4096.]])
    """
    inner, fmt = check_function(function, "function"), _is_format(fmt)

    def rounded(argument: Any) -> Any:
        floats = isinstance(argument, (np.ndarray, Variable)) and argument.dtype.kind == "f"
        return cast(argument, fmt) if floats else argument

    @functools.wraps(inner)
    def call(*args: Any, **kwargs: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the gradients
            given = {name: rounded(argument) for name, argument in kwargs.items()}
            return cast(inner(*map(rounded, args), **given), fmt)

    return call


def mixed_value_and_grad(
    function: Callable[..., Any], fmt: Format, *, scale: float = 1.0
) -> Callable[..., tuple[Any, Any]]:
    """Make a function that returns a loss and its *scaled* gradient, computed in a format.

    Parameters
    ----------
    function : callable
        ``function(params, *args, **kwargs)`` gives the loss. It gets the parameters rounded to the
        format; what it rounds inside is its own affair: wrap its layers by `low_precision`, and
        leave softmax and loss alone.
    fmt : Format
        The format.
    scale : float
        The loss is multiplied by it before the backward pass, > 0.

    Returns
    -------
    callable
        Of the same arguments, with `params` the master weights, a tree of float32 or float64.
        Returns ``(value, grads)``: the loss as it is, the gradients times `scale` and rounded to
        the format. They may hold infinities and NaN: see `trainlab.loss_scaling`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    Multiplying the loss multiplies all gradients, by the chain rule. With a power of two it changes
    nothing but the exponents, so it is exact where nothing over- or underflows.

    References
    ----------
    Micikevicius et al. (2018), Mixed precision training.

    Examples
    --------
    >>> loss = lambda w, x: w * x
    >>> master = np.array(0.1)
    >>> mixed_value_and_grad(loss, FP16)(master, 1e-8)
    (np.float64(9.99755859375e-10), array(0.))
    >>> mixed_value_and_grad(loss, FP16, scale=1024.0)(master, 1e-8)[1] / 1024
    np.float64(1.0011717677116394e-08)
    """
    inner, fmt = check_function(function, "function"), _is_format(fmt)
    scale = real(scale, "scale", low=0, closed="neither")

    def scaled(params: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        value = inner(cast_tree(params, fmt), *args, **kwargs)
        return value * scale, getattr(value, "value", value)

    gradient = value_and_grad(scaled, has_aux=True)

    @functools.wraps(inner)
    def call(params: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the gradients
            (_, value), grads = gradient(params, *args, **kwargs)
        return np.asarray(value)[()], grads

    return call


# Updates of weights that are stored in a format ------------------------------------------------


def update_threshold(w: Any, fmt: Format) -> tuple[Array, Array]:
    """Size up to which an update of a weight is lost in a format.

    Parameters
    ----------
    w : array of float32 or float64
        Weights; they are rounded to the format first.
    fmt : Format
        The format.

    Returns
    -------
    down, up : arrays of w's shape and dtype
        Half the distances to the numbers below and above. A smaller update in this direction
        leaves w as it is; an update of exactly this size does if w has an even mantissa. Infinite
        or NaN beyond the largest number.

    Raises
    ------
    TypeError, ValueError
        If w is no such array or not finite, or `fmt` not a format.

    Notes
    -----
    At a power of two the numbers below are twice as close as those above.

    Examples
    --------
    >>> update_threshold(1.0, FP16)
    (np.float64(0.000244140625), np.float64(0.00048828125))
    """
    w, fmt = _floats(w, "w", finite=True), _is_format(fmt)
    held = round_to(w, fmt, saturate=True)
    below, above = neighbors(held, fmt)
    return (held - below) / 2, (above - held) / 2


def rounded_update(
    params: Any, updates: Any, *, fmt: Format, rng: np.random.Generator | None = None
) -> Any:
    """Add updates to weights that are stored in a format, without master weights.

    Parameters
    ----------
    params : tree of arrays of float32 or float64
        Weights.
    updates : tree of arrays
        What is added.
    fmt : Format
        The format of the result.
    rng : np.random.Generator, optional
        Given: rounded up or down at random, so that the mean is right. Left out: to the nearest.

    Returns
    -------
    tree

    Raises
    ------
    TypeError, ValueError
        If the trees differ in structure, or an argument is not of its kind.

    Notes
    -----
    Rounding to the nearest drops an update below `update_threshold` whole, every time. Rounding at
    random lets it through once in spacing/update times.

    References
    ----------
    Gupta, Agrawal, Gopalakrishnan, Narayanan (2015), Deep learning with limited numerical
    precision.

    Examples
    --------
    >>> w, u = np.full(4, 1.0), np.full(4, 2.0**-12)  # a quarter of the spacing in FP16
    >>> rounded_update(w, u, fmt=FP16) - 1
    array([0., 0., 0., 0.])
    >>> (rounded_update(w, u, fmt=FP16, rng=np.random.default_rng(2)) - 1) * 2**10
    array([0., 0., 0., 1.])
    """
    params, updates = _float_tree(params, "params"), _float_tree(updates, "updates")
    fmt = _is_format(fmt)
    if rng is not None:
        generator(rng)

    def add(w: Array, u: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the weights
            moved = np.asarray(w + u.astype(w.dtype, copy=False))
        if rng is None:
            return np.asarray(round_to(moved, fmt))
        return np.asarray(stochastic_round(moved, fmt, rng=rng))

    return tree_map(add, params, updates)


def vanishing_updates(params: Any, updates: Any, *, fmt: Format) -> float:
    """Share of the updates that leave their weight as it was.

    Parameters
    ----------
    params, updates : trees of arrays of float32 or float64
        Weights, rounded to the format first, and what would be added to them.
    fmt : Format
        The format that the sum is rounded to.

    Returns
    -------
    float
        Of those updates that are not 0; 0 if there are none.

    Raises
    ------
    TypeError, ValueError
        If the trees differ in structure, or an argument is not of its kind.

    References
    ----------
    Micikevicius et al. (2018), Mixed precision training.

    Examples
    --------
    >>> w, u = np.array([1.0, 1.0, 0.001]), np.array([0.0, 1e-4, 1e-4])
    >>> vanishing_updates(w, u, fmt=FP16)
    0.5
    """
    params, updates = _float_tree(params, "params"), _float_tree(updates, "updates")
    before = cast_tree(params, _is_format(fmt))
    after = rounded_update(before, updates, fmt=fmt)
    updates = tree_map(lambda _, u: u, before, updates)  # leaves in the same order
    lost = [
        (np.sum((a == b) & (u != 0)), np.sum(np.not_equal(u, 0)))
        for a, b, u in zip(*map(tree_leaves, (before, after, updates)), strict=True)
    ]
    return float(sum(n for n, _ in lost) / max(sum(n for _, n in lost), 1))


# Memory ---------------------------------------------------------------------------------------


class TrainingMemory(NamedTuple):
    """Bytes of what training keeps for the parameters; activations come on top."""

    weights: float
    gradients: float
    master: float
    moments: float
    total: float


def training_memory(
    num_params: float,
    *,
    compute: Format = FP16,
    gradients: Format | None = None,
    master: Format | None = FP32,
    moments: tuple[Format, ...] = (FP32, FP32),
) -> TrainingMemory:
    """Memory that training takes for the parameters.

    Parameters
    ----------
    num_params : float
        Number of parameters, > 0.
    compute : Format
        Of the weights that the forward and the backward pass use.
    gradients : Format, optional
        Of the gradients; `compute` if left out.
    master : Format or None
        Of the master weights; None if there are none.
    moments : tuple of Format
        Of what the optimizer stores: two for Adam, one for momentum, none for plain SGD.

    Returns
    -------
    TrainingMemory
        In bytes, by what a format takes in memory (TF32 takes 4 bytes).

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    Adam in mixed precision takes 2 + 2 + 4 + 8 = 16 bytes per parameter, in pure FP32 4 + 4 + 8:
    the same. What mixed precision halves are activations and what is sent.

    References
    ----------
    Rajbhandari, Rasley, Ruwase, He (2020), ZeRO: memory optimizations toward training trillion
    parameter models.

    Examples
    --------
    >>> training_memory(1)
    TrainingMemory(weights=2.0, gradients=2.0, master=4.0, moments=8.0, total=16.0)
    >>> training_memory(1, compute=FP32, master=None).total
    16.0
    """
    count = real(num_params, "num_params", low=0, closed="neither")
    given = {"compute": compute, "gradients": gradients or compute, "master": master or compute}
    if not isinstance(moments, (tuple, list)):
        raise TypeError(f"training_memory: moments must be a tuple of Formats; got {moments!r}")
    given |= {f"moments[{i}]": moment for i, moment in enumerate(moments)}
    for name, fmt in given.items():
        if not isinstance(fmt, Format):
            raise TypeError(f"training_memory: {name} must be a Format; got {fmt!r}")
    w, g = compute.stored_bits / 8, (gradients or compute).stored_bits / 8
    m = master.stored_bits / 8 if master else 0.0
    v = sum(moment.stored_bits / 8 for moment in moments)
    return TrainingMemory(w * count, g * count, m * count, v * count, (w + g + m + v) * count)
