"""Residual blocks: a layer that adds to its input instead of replacing it.

A block is put together from a *branch*, any function of the stream that keeps its shape: a linear
layer, a convolution, attention. The blocks differ in where a norm stands and in how large the
branch is at the start, and this decides how the signal grows with depth and what gradient
reaches the early layers:

=====================  ==============================  ==============================
block                  y                               variance after l layers, at
                                                       first, with branches that keep it
=====================  ==============================  ==============================
plain                  branch(x)                       1
residual               x + branch(x)                   2ˡ
residual, scaled       x + branch(x) / √L              (1 + 1/L)ˡ, at most e
Pre-LN                 x + branch(norm(x))             1 + l
Post-LN                norm(x + branch(x))             1
zero gain (ReZero)     x + gain · branch(x), gain 0    1
=====================  ==============================  ==============================

`stack_profile` measures this for any block; `relu_stack_profile` for random ReLU branches, for
which `relu_stack_theory` has the closed forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _checks
from .activations import relu
from .differentiation import Variable, vjp
from .layers import linear
from .normalization import layer_norm
from .trees import tree_leaves

Array = NDArray[Any]
Function = Callable[[Any], Any]

__all__ = [
    "KINDS",
    "StackProfile",
    "plain_block",
    "post_norm_block",
    "pre_norm_block",
    "relu_stack_profile",
    "relu_stack_theory",
    "residual_block",
    "rezero_block",
    "stack_profile",
]

KINDS = ("plain", "residual", "scaled", "pre", "post", "rezero")


def _stream(x: Any) -> Any:
    return x if isinstance(x, Variable) else _checks.array(x, "x", nonempty=False)


def _apply(branch: Any, name: str, x: Any) -> Any:
    """Call a branch or a norm, which must keep the shape."""
    y = _checks.function(branch, name)(x)
    if np.shape(getattr(y, "value", y)) != x.shape:
        raise ValueError(
            f"{_checks._where()}: {name} must keep the shape of x, {x.shape}; "
            f"got {np.shape(getattr(y, 'value', y))}"
        )
    return y


def plain_block(x: Any, branch: Function) -> Any:
    """Replace x by branch(x): a layer without a skip, for comparison.

    Parameters
    ----------
    x : array of shape (..., D)
        The stream; here and in all blocks a Variable may come, as in all differentiable functions.
    branch : callable
        Of x, keeps its shape.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is no floating-point array, or `branch` no function that keeps its shape.

    Examples
    --------
    >>> plain_block(np.array([1.0, -2.0]), relu)
    array([1., 0.])
    """
    return _apply(branch, "branch", _stream(x))


def residual_block(x: Any, branch: Function, *, scale: float = 1.0) -> Any:
    """Add the branch to the stream: x + scale · branch(x).

    Parameters
    ----------
    x : array of shape (..., D)
        The stream.
    branch : callable
        Of x, keeps its shape.
    scale : float
        1/√L in a stack of L blocks keeps the variance below e times that of the input.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is no floating-point array, `branch` no function that keeps its shape, or `scale` not
        finite.

    Notes
    -----
    The derivative is the identity plus that of the branch, so that a gradient reaches the input
    also where the branch has none. GPT-2 puts the factor into the initial weights of the branch,
    with L the number of residual *layers*, two a block (Radford et al., 2019).

    References
    ----------
    He, Zhang, Ren and Sun (2016), Deep residual learning for image recognition.

    Examples
    --------
    >>> residual_block(np.array([1.0, -2.0]), relu, scale=0.5)
    array([ 1.5, -2. ])
    """
    scale = _checks.real(scale, "scale")
    x = _stream(x)
    y = _apply(branch, "branch", x)
    return x + (y if scale == 1 else scale * y)


def pre_norm_block(x: Any, branch: Function, *, norm: Function = layer_norm) -> Any:
    """Normalize what the branch sees, not the stream: x + branch(norm(x)).

    Parameters
    ----------
    x : array of shape (..., D)
        The stream.
    branch : callable
        Of norm(x), keeps its shape.
    norm : callable
        Such as `layer_norm` or a function that calls `rms_norm` with a weight.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is no floating-point array, or `branch` or `norm` no function that keeps its shape.

    Notes
    -----
    Pre-LN, the block of most large language models. The stream itself grows, so a stack ends with
    one more norm.

    References
    ----------
    Xiong et al. (2020), On layer normalization in the transformer architecture.

    Examples
    --------
    >>> pre_norm_block(np.array([10.0, 20.0]), relu).round(3)
    array([10., 21.])
    """
    x = _stream(x)
    return x + _apply(branch, "branch", _apply(norm, "norm", x))


def post_norm_block(x: Any, branch: Function, *, norm: Function = layer_norm) -> Any:
    """Normalize the sum: norm(x + branch(x)).

    Parameters
    ----------
    x : array of shape (..., D)
        The stream.
    branch : callable
        Of x, keeps its shape.
    norm : callable
        Such as `layer_norm`.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is no floating-point array, or `branch` or `norm` no function that keeps its shape.

    Notes
    -----
    Post-LN, the block of the transformer of 2017. Every norm rescales the skip path too: the input
    is not carried through, its share of the stream falls by 1/√2 a layer at first.

    References
    ----------
    Vaswani et al. (2017), Attention is all you need; Xiong et al. (2020).

    Examples
    --------
    >>> post_norm_block(np.array([10.0, 20.0]), relu).round(3)
    array([-1.,  1.])
    """
    x = _stream(x)
    return _apply(norm, "norm", x + _apply(branch, "branch", x))


def rezero_block(x: Any, branch: Function, *, gain: Any) -> Any:
    """Add the branch times a trained number that starts at 0: x + gain · branch(x).

    Parameters
    ----------
    x : array of shape (..., D)
        The stream.
    branch : callable
        Of x, keeps its shape.
    gain : array of shape ()
        Trained along; 0 at first, when the block is the identity.

    Returns
    -------
    array of the shape of x

    Raises
    ------
    TypeError, ValueError
        If x is no floating-point array, `branch` no function that keeps its shape, or `gain` not
        one number.

    Notes
    -----
    At gain 0 the branch's weights have no gradient, only the gain has one, and moves first. The
    same is done by a weight of 0 in the last norm of a ResNet's branch ("zero gamma"), or by zeros
    in the branch's last layer.

    References
    ----------
    Bachlechner et al. (2020), ReZero is all you need: fast convergence at large depth.

    Examples
    --------
    >>> rezero_block(np.array([1.0, -2.0]), relu, gain=0.0)
    array([ 1., -2.])
    """
    x = _stream(x)
    if not isinstance(gain, Variable):
        gain = _checks.array(gain, "gain", shape=()).astype(x.dtype)
    return x + gain * _apply(branch, "branch", x)


class StackProfile(NamedTuple):
    """What `stack_profile` returns.

    Of L layers, from the input, l = 0, to the output, l = L. All gradients are those of the sum of
    cotangent · output.
    """

    variance: Array
    """Mean square of the stream, (L + 1,)."""
    cosine: Array
    """Cosine between the stream and the input, averaged over the examples, (L + 1,)."""
    gradient: Array
    """Mean square of the gradient with respect to the stream, (L + 1,)."""
    param_gradient: Array
    """Norm of the gradient with respect to the parameters of each layer, (L,)."""


def stack_profile(
    layer: Callable[[Any, Any], Any],
    params: Sequence[Any],
    *,
    x: Any,
    cotangent: Any,
    last: Function | None = None,
) -> StackProfile:
    """Send a signal through a stack of layers and a gradient back, and measure both.

    Parameters
    ----------
    layer : callable
        ``layer(x, params[l])`` is the next stream, of the shape of x.
    params : sequence of L trees of arrays
        Of the layers, in order.
    x : array of shape (N, D)
        The input, one example a row, none all zero.
    cotangent : array of shape (N, D)
        The gradient that comes in at the output.
    last : callable, optional
        A norm after the stack, as Pre-LN needs it. The profile is of the stream before it.

    Returns
    -------
    StackProfile

    Raises
    ------
    TypeError, ValueError
        If an argument is no array or of another shape, or `params` is empty.

    Examples
    --------
    >>> double = stack_profile(
    ...     lambda x, p: residual_block(x, lambda h: p * h), [np.ones(()), np.ones(())],
    ...     x=np.ones((1, 2)), cotangent=np.ones((1, 2)),
    ... )
    >>> double.variance, double.cosine.round(3)
    (array([ 1.,  4., 16.]), array([1., 1., 1.]))
    """
    x = _checks.array(x, "x", ndim=2)
    _checks.real(float(np.abs(x).max(axis=1).min()), "size of the smallest row of x", low=1e-300)
    cotangent = _checks.array(cotangent, "cotangent", shape=x.shape)
    if not isinstance(params, (list, tuple)) or not params:
        raise TypeError(
            f"stack_profile: params must be a list or tuple of trees; got {_checks._show(params)}"
        )
    _checks.function(layer, "layer")
    stream, pullbacks = [x], []
    for tree in params:
        value, pullback = vjp(layer, stream[-1], tree)
        _checks.array(value, "layer, its output", shape=x.shape)
        stream.append(value)
        pullbacks.append(pullback)
    if last is not None:
        (cotangent,) = vjp(_checks.function(last, "last"), stream[-1])[1](cotangent)
    gradient, param_gradient = [cotangent], []
    while pullbacks:
        cotangent, tree = pullbacks.pop()(cotangent)
        gradient.append(cotangent)
        param_gradient.append(math.sqrt(sum(float(np.vdot(g, g)) for g in tree_leaves(tree))))
    return StackProfile(
        np.array([_mean_square(h) for h in stream]),
        np.array([_cosine(h, x) for h in stream]),
        np.array([_mean_square(g) for g in gradient[::-1]]),
        np.array(param_gradient[::-1]),
    )


def _mean_square(x: Array) -> float:
    return float(np.mean(np.square(x)))


def _cosine(a: Array, b: Array) -> float:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean(np.vecdot(a, b) / np.where(norms > 0, norms, 1)))


def relu_stack_profile(
    kind: str, depth: int, *, rng: np.random.Generator, width: int = 256, batch_size: int = 64
) -> StackProfile:
    """Measure a stack of blocks with random branches W relu(h) and Var W = 2 / width.

    Parameters
    ----------
    kind : {"plain", "residual", "scaled", "pre", "post", "rezero"}
        The block. "scaled" multiplies the branch by 1/√depth; "pre" ends with a layer norm.
    depth : int
        Blocks L, >= 1.
    rng : np.random.Generator
        Draws weights, inputs and the gradient at the output: normal, with variance 1 except for W.
    width, batch_size : int
        Features, >= 2, and examples, >= 1.

    Returns
    -------
    StackProfile
        In float64, since bare residual blocks reach 2ᴸ.

    Raises
    ------
    TypeError, ValueError
        If a parameter is out of range.

    Notes
    -----
    A branch keeps the variance of its input, and is not correlated with it. So in wide layers the
    variances are those of the table above; the cosine with the input is 1/√variance, and 2^(-l/2)
    with Post-LN. The gradient of the last W is √((1 + L)/2) times as large with
    Post-LN as with Pre-LN, whose last norm divides it by √(1 + L).

    Examples
    --------
    >>> for kind in ("pre", "post"):
    ...     done = relu_stack_profile(kind, 12, rng=np.random.default_rng(0))
    ...     print(kind, done.variance[-1].round(1), done.cosine[-1].round(2))
    pre 13.4 0.26
    post 1.0 0.01
    """
    kind = _checks.one_of(kind, "kind", KINDS)
    depth = _checks.integer(depth, "depth", low=1)
    width = _checks.integer(width, "width", low=2)
    batch_size = _checks.integer(batch_size, "batch_size", low=1)
    rng = _checks.generator(rng)
    blocks: dict[str, Callable[[Any, Function], Any]] = {
        "plain": plain_block,
        "residual": residual_block,
        "scaled": lambda x, branch: residual_block(x, branch, scale=1 / math.sqrt(depth)),
        "pre": pre_norm_block,
        "post": post_norm_block,
        "rezero": lambda x, branch: rezero_block(x, branch, gain=0.0),
    }
    return stack_profile(
        lambda x, weight: blocks[kind](x, lambda h: linear(relu(h), weight)),
        [rng.standard_normal((width, width)) * math.sqrt(2 / width) for _ in range(depth)],
        x=rng.standard_normal((batch_size, width)),
        cotangent=rng.standard_normal((batch_size, width)),
        last=layer_norm if kind == "pre" else None,
    )


def relu_stack_theory(
    kind: str, depth: int, *, width: int = 256, batch_size: int = 64
) -> StackProfile:
    """Give what `relu_stack_profile` approaches in wide layers, in closed form.

    Parameters
    ----------
    kind : {"plain", "residual", "scaled", "pre", "post", "rezero"}
        The block.
    depth : int
        Blocks L, >= 1.
    width, batch_size : int
        Features, >= 2, and examples, >= 1: the norms of the weights' gradients grow with both.

    Returns
    -------
    StackProfile

    Raises
    ------
    TypeError, ValueError
        If a parameter is out of range.

    Notes
    -----
    With q_l the variance of the stream, E[g_l²] the gradient with respect to it, and G_l the
    squared gradient of a weight, relative to a plain layer:

    ==========  ============  ============  ==============  ==================
    block       q_l           cosine        E[g_l²]         G_l
    ==========  ============  ============  ==============  ==================
    plain       1             0 for l > 0   1               1
    residual    2ˡ            1/√q_l        2ᴸ⁻ˡ            2ᴸ⁻¹
    scaled      (1 + 1/L)ˡ    1/√q_l        (1 + 1/L)ᴸ⁻ˡ    (1 + 1/L)ᴸ⁻¹ / L
    Pre-LN      1 + l         1/√q_l        1 / (1 + l)     1 / (1 + l)
    Post-LN     1             2^(-l/2)      1               1/2
    zero gain   1             1             1               0
    ==========  ============  ============  ==============  ==================

    Examples
    --------
    >>> relu_stack_theory("pre", 3).gradient.round(3)
    array([1.   , 0.5  , 0.333, 0.25 ])
    >>> ratio = [relu_stack_theory(k, 15).param_gradient[-1] for k in ("post", "pre")]
    >>> float((ratio[0] / ratio[1]).round(3))  # √((1 + 15) / 2)
    2.828
    """
    kind = _checks.one_of(kind, "kind", KINDS)
    depth = _checks.integer(depth, "depth", low=1)
    width = _checks.integer(width, "width", low=2)
    batch_size = _checks.integer(batch_size, "batch_size", low=1)
    layer = np.arange(depth + 1.0)
    one = np.ones(depth + 1)
    growth = {"residual": 2.0, "scaled": 1 + 1 / depth}.get(kind, 1.0)
    q = 1 + layer if kind == "pre" else growth**layer
    gradient = 1 / q if kind == "pre" else growth ** (depth - layer)
    cosine = {"plain": np.where(layer == 0, 1.0, 0.0), "post": 2 ** (-layer / 2), "rezero": one}
    weight = {
        "residual": one * growth ** (depth - 1),
        "scaled": one * growth ** (depth - 1) / depth,
        "pre": gradient,
        "post": one / 2,
        "rezero": 0 * one,
    }.get(kind, one)
    # A weight's gradient sums batch_size products of a gradient and of relu(h), E[relu(h)²] = 1/2.
    norms = np.sqrt(weight[1:] * batch_size * width**2 / 2)
    return StackProfile(q, cosine.get(kind, 1 / np.sqrt(q)), gradient, norms)
