"""Tensor parallelism: several ranks compute one layer together.

A linear layer Z = XWᵀ + b can be cut in two ways. *Column parallel*: each rank has some of the
outputs (rows of W, shape (out, in); columns of Wᵀ, which give the way its name). It needs all of X
and has some columns of Z. *Row parallel*: each rank has some of the inputs. It needs its columns of
X, and its product is one term of a sum: all ranks add theirs up.

A column parallel layer leaves what a row parallel one needs, and an elementwise activation in
between does not mind. So an MLP of both costs one all-reduce in the forward pass, and one in the
backward pass, for the gradient of X. Attention goes the same way, with heads in place of hidden
units.

*Sequence parallel*: between two such layers every rank would hold and normalize the same tokens.
Instead each holds some of them. The all-reduce becomes a reduce-scatter and, before the next
layer, an all-gather: the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import _show, _where, array, function, integer, one_of
from ._parameters import dense
from .activations import relu
from .collectives import Messages, all_gather, reduce_scatter, ring_all_reduce
from .differentiation import vjp

__all__ = [
    "TensorParallelResult",
    "column_parallel_linear",
    "column_shards",
    "row_parallel_linear",
    "row_shards",
    "tensor_parallel_mlp",
]

Array = NDArray[Any]
Layer = dict[str, Array]


def _layer(layer: Any, name: str) -> Layer:
    """Check a linear layer with a bias."""
    if not isinstance(layer, Mapping) or set(layer) != {"weight", "bias"}:
        raise TypeError(
            f"{_where()}: {name} must be a linear layer {{'weight', 'bias'}}; got {_show(layer)}"
        )
    weight = array(layer["weight"], f"{name}['weight']", ndim=2)
    bias = array(layer["bias"], f"{name}['bias']", shape=weight.shape[:1])
    return {"weight": weight, "bias": bias}


def _divided(size: int, ranks: Any, name: str) -> int:
    count = integer(ranks, "ranks", low=2)
    if size % count:
        raise ValueError(f"{_where()}: ranks must divide the {size} {name}; got {count}")
    return count


def column_shards(layer: Any, *, ranks: int) -> list[Layer]:
    """Give each rank some of a linear layer's outputs.

    Parameters
    ----------
    layer : dict
        ``{"weight": (out, in), "bias": (out,)}``.
    ranks : int
        Number of ranks N, >= 2; divides out.

    Returns
    -------
    list of N layers
        ``{"weight": (out / N, in), "bias": (out / N,)}``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Examples
    --------
    >>> layer = {"weight": np.arange(8.0).reshape(4, 2), "bias": np.zeros(4)}
    >>> column_shards(layer, ranks=2)[1]["weight"]
    array([[4., 5.],
           [6., 7.]])
    """
    layer = _layer(layer, "layer")
    ranks = _divided(len(layer["bias"]), ranks, "outputs of the layer")
    weights, biases = np.split(layer["weight"], ranks), np.split(layer["bias"], ranks)
    return [{"weight": w.copy(), "bias": b.copy()} for w, b in zip(weights, biases, strict=True)]


def row_shards(layer: Any, *, ranks: int) -> list[Layer]:
    """Give each rank some of a linear layer's inputs.

    Parameters
    ----------
    layer : dict
        ``{"weight": (out, in), "bias": (out,)}``.
    ranks : int
        Number of ranks N, >= 2; divides in.

    Returns
    -------
    list of N layers
        ``{"weight": (out, in / N), "bias": (out,)}``; every rank has the whole bias.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Examples
    --------
    >>> layer = {"weight": np.arange(8.0).reshape(2, 4), "bias": np.zeros(2)}
    >>> row_shards(layer, ranks=2)[1]["weight"]
    array([[2., 3.],
           [6., 7.]])
    """
    layer = _layer(layer, "layer")
    ranks = _divided(layer["weight"].shape[1], ranks, "inputs of the layer")
    weights = np.split(layer["weight"], ranks, axis=1)
    return [{"weight": w.copy(), "bias": layer["bias"].copy()} for w in weights]


def _shards(shards: Any, name: str) -> list[Layer]:
    if not isinstance(shards, (list, tuple)) or len(shards) < 2:
        raise TypeError(
            f"{_where()}: {name} must be a sequence of two layers or more, one for each rank; "
            f"got {_show(shards)}"
        )
    return [_layer(shard, f"{name}[{r}]") for r, shard in enumerate(shards)]


def column_parallel_linear(x: Any, shards: Sequence[Layer]) -> list[Array]:
    """Apply a linear layer whose outputs are shared out: nothing is sent.

    Parameters
    ----------
    x : array of shape (tokens, in)
        Every rank has it.
    shards : sequence of N layers
        From `column_shards`.

    Returns
    -------
    list of N arrays
        Of shape (tokens, out / N): columns of the output.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds, or x does not fit the layers.

    References
    ----------
    Shoeybi et al. (2019), Megatron-LM: training multi-billion parameter language models using model
    parallelism.

    Examples
    --------
    >>> layer = {"weight": np.arange(8.0).reshape(4, 2), "bias": np.zeros(4)}
    >>> column_parallel_linear(np.ones((1, 2)), column_shards(layer, ranks=2))
    [array([[1., 5.]]), array([[ 9., 13.]])]
    """
    x = array(x, "x", ndim=2, nonempty=False)
    layers = _shards(shards, "shards")
    for layer in layers:
        _fits(x, layer, "x")
    return [np.asarray(dense(layer, x)) for layer in layers]


def _fits(x: Array, layer: Layer, name: str) -> None:
    wanted = layer["weight"].shape[1]
    if x.shape[1] != wanted:
        raise ValueError(
            f"{_where()}: {name} must have {wanted} columns, the inputs of the layer; "
            f"got {x.shape[1]}"
        )


def row_parallel_linear(parts: Sequence[Any], shards: Sequence[Layer]) -> tuple[Array, Messages]:
    """Apply a linear layer whose inputs are shared out: the ranks add up what they have.

    Parameters
    ----------
    parts : sequence of N arrays of shape (tokens, in / N)
        The columns of the input that each rank has.
    shards : sequence of N layers
        From `row_shards`.

    Returns
    -------
    z : array of shape (N, tokens, out)
        Row r is the output as rank r has it; all rows are the same.
    messages : Messages
        Of one all-reduce.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds, or parts and layers do not fit.

    Notes
    -----
    The bias is added once, after the sum.

    References
    ----------
    Shoeybi et al. (2019), Megatron-LM: training multi-billion parameter language models using model
    parallelism.

    Examples
    --------
    >>> layer = {"weight": np.arange(8.0).reshape(2, 4), "bias": np.array([0.0, 100.0])}
    >>> z, messages = row_parallel_linear([np.ones((1, 2))] * 2, row_shards(layer, ranks=2))
    >>> z[0], messages.nbytes
    (array([[  6., 122.]]), array([8, 8, 8, 8]))
    """
    layers = _shards(shards, "shards")
    if not isinstance(parts, (list, tuple)) or len(parts) != len(layers):
        raise TypeError(
            f"row_parallel_linear: parts must be a sequence of {len(layers)} arrays, one for each "
            f"rank; got {_show(parts)}"
        )
    arrays = [array(part, f"parts[{r}]", ndim=2) for r, part in enumerate(parts)]
    for r, (part, layer) in enumerate(zip(arrays, layers, strict=True)):
        _fits(part, layer, f"parts[{r}]")
    terms = [
        part @ layer["weight"].T for part, layer in zip(arrays, layers, strict=True)
    ]  # each (tokens, out)
    total, messages = ring_all_reduce(terms)
    return total + layers[0]["bias"], messages


class TensorParallelResult(NamedTuple):
    """What the ranks have after a forward and a backward pass.

    Attributes
    ----------
    y : list of N arrays
        The output as each rank has it: all tokens, or its own with `sequence_parallel`.
    x_grad : list of N arrays
        The gradient of the input, likewise.
    grads : list of N dict
        The gradient of each rank's shards: "up" and "down".
    forward, backward : tuple of Messages
        Of each collective: one all-reduce a pass, or an all-gather and a reduce-scatter (in the
        backward pass two all-gathers).
    kept : int
        Numbers that a rank holds of the block's input and output.
    """

    y: list[Array]
    x_grad: list[Array]
    grads: list[dict[str, Layer]]
    forward: tuple[Messages, ...]
    backward: tuple[Messages, ...]
    kept: int


def tensor_parallel_mlp(
    layers: Any,
    x: Any,
    *,
    ranks: int,
    cotangent: Any,
    activation: Callable[[Any], Any] = relu,
    sequence_parallel: bool = False,
) -> TensorParallelResult:
    """Send tokens forward and a gradient backward through an MLP that several ranks share.

    Parameters
    ----------
    layers : sequence of two layers
        "up" ``{"weight": (hidden, in), "bias": (hidden,)}`` and "down", (out, hidden), as
        `trainlab.mlp.mlp_init` makes them.
    x : array of shape (tokens, in)
    ranks : int
        Number of ranks N, >= 2; divides hidden, and the number of tokens with `sequence_parallel`.
    cotangent : array of shape (tokens, out)
        Gradient of the loss with respect to the output.
    activation : callable
        Elementwise and differentiable, of `trainlab.activations`.
    sequence_parallel : bool
        Whether each rank begins and ends with N-th of the tokens instead of all of them.

    Returns
    -------
    TensorParallelResult

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds, or ranks does not divide.

    Notes
    -----
    The up layer is column parallel, the down layer row parallel. Forward, the outputs are partial
    sums; backward, the gradients of the input are, since each rank's hidden units contribute. The
    gradients of the shards are whole: no rank needs another's.

    With `sequence_parallel` the backward pass gathers the input again, as in Megatron-LM, so that
    no rank keeps more of it than its own tokens; this all-gather can run while the gradient of the
    activation is computed.

    References
    ----------
    Shoeybi et al. (2019), Megatron-LM: training multi-billion parameter language models using model
    parallelism.
    Korthikanti et al. (2022), Reducing activation recomputation in large transformer models.

    Examples
    --------
    >>> from trainlab.mlp import mlp, mlp_init
    >>> rng = np.random.default_rng(0)
    >>> layers, x = mlp_init((8, 32, 8), rng=rng), rng.standard_normal((6, 8))
    >>> done = tensor_parallel_mlp(layers, x, ranks=2, cotangent=np.ones((6, 8)))
    >>> bool(np.allclose(done.y[1], mlp(layers, x))), len(done.forward), len(done.backward)
    (True, 1, 1)
    """
    if not isinstance(layers, (list, tuple)) or len(layers) != 2:
        raise TypeError(
            f"tensor_parallel_mlp: layers must be a sequence of two layers; got {_show(layers)}"
        )
    up, down = _layer(layers[0], "layers[0]"), _layer(layers[1], "layers[1]")
    hidden = len(up["bias"])
    if down["weight"].shape[1] != hidden:
        raise ValueError(
            f"tensor_parallel_mlp: layers[1]['weight'] must have {hidden} columns, one for each "
            f"output of layers[0]; got {down['weight'].shape[1]}"
        )
    x = array(x, "x", ndim=2)
    _fits(x, up, "x")
    cotangent = array(cotangent, "cotangent", shape=(len(x), len(down["bias"])))
    function(activation, "activation")
    one_of(sequence_parallel, "sequence_parallel", (False, True))
    ranks = _divided(hidden, ranks, "hidden units")
    if sequence_parallel:
        _divided(len(x), ranks, "tokens")
    group = _Group(ranks, sequence_parallel)

    ups, downs = column_shards(up, ranks=ranks), row_shards(down, ranks=ranks)
    whole, forward = group.begin(x)
    hiddens, backs = [], []
    for xr, layer in zip(whole, ups, strict=True):
        h, back = vjp(lambda p, v: activation(dense(p, v)), layer, xr)
        hiddens.append(h)
        backs.append(back)
    y, sent = group.sum_up([h @ d["weight"].T for h, d in zip(hiddens, downs, strict=True)])
    y = [part + down["bias"] for part in y]

    gathered, received = group.begin(cotangent)
    again = group.begin(x)[1]  # the input once more, where a rank has kept its tokens only
    grads, terms = [], []
    for back, h, layer, c in zip(backs, hiddens, downs, gathered, strict=True):
        of_up, of_x = back(c @ layer["weight"])
        grads.append({"up": of_up, "down": {"weight": c.T @ h, "bias": c.sum(axis=0)}})
        terms.append(of_x)
    x_grad, scattered = group.sum_up(terms)
    kept = (x.size + cotangent.size) // (ranks if sequence_parallel else 1)
    return TensorParallelResult(
        y, x_grad, grads, forward + sent, received + again + scattered, kept
    )


class _Group:
    """The ranks: how they come to have all tokens, and how they leave with a sum."""

    def __init__(self, ranks: int, sequence_parallel: bool) -> None:
        self.ranks, self.sequence = ranks, sequence_parallel

    def begin(self, x: Array) -> tuple[list[Array], tuple[Messages, ...]]:
        """Have all tokens on all ranks: they are, or each rank hands its own round."""
        if not self.sequence:
            return [x] * self.ranks, ()
        full, messages = all_gather([part.reshape(-1) for part in np.split(x, self.ranks)])
        return [row.reshape(x.shape) for row in full], (messages,)

    def sum_up(self, terms: list[Array]) -> tuple[list[Array], tuple[Messages, ...]]:
        """Add up the ranks' terms; all ranks get the sum, or each the one of its tokens."""
        if not self.sequence:
            total, messages = ring_all_reduce(terms)
            return list(total), (messages,)
        chunks, messages = reduce_scatter(terms)
        width = terms[0].shape[1]
        return [chunk.reshape(-1, width) for chunk in chunks], (messages,)
