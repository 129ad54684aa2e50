"""Activation checkpointing: keep few activations, and compute the others a second time.

The backward pass of a layer needs the layer's input. So the forward pass keeps one array for each
of L layers until the backward pass has come back to it. With *checkpointing* the layers are cut
into segments and only the input of each segment is kept. When the backward pass reaches a segment,
its forward pass is repeated from there, and for a moment all its activations are held. Few long
segments make this moment expensive, many short ones the checkpoints: about √L of them is best.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import _show, array, function, integer, real
from .differentiation import value_and_grad, vjp
from .trees import tree_leaves

__all__ = [
    "CheckpointCost",
    "Checkpointed",
    "best_segments",
    "checkpoint_cost",
    "checkpoint_timeline",
    "checkpointed_grad",
    "segment_lengths",
]

Array = NDArray[Any]


class CheckpointCost(NamedTuple):
    """What cutting a network into segments costs.

    Attributes
    ----------
    held : tuple of float
        Activations held when the backward pass begins with segment 1, 2, ...: the last first.
    peak : float
        The largest of them, in units of the input of one layer.
    recomputed : int
        Layers whose forward pass runs a second time.
    overhead : float
        Their share of the computation of a step without checkpoints: 1/3 if it is all of them and
        a backward pass costs as much as two forward passes.
    """

    held: tuple[float, ...]
    peak: float
    recomputed: int
    overhead: float


def segment_lengths(num_layers: int, segments: int) -> list[int]:
    """Cut layers into segments of as equal length as possible, the longer ones first.

    Parameters
    ----------
    num_layers : int
        Number of layers L, >= 1.
    segments : int
        Number of segments K, from 1 to L.

    Returns
    -------
    list of int

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    The longer ones come first because most checkpoints are held when the last segment is redone.

    Examples
    --------
    >>> segment_lengths(10, 4)
    [3, 3, 2, 2]
    """
    return _lengths(num_layers, segments)


def _lengths(num_layers: Any, segments: Any) -> list[int]:
    layers = integer(num_layers, "num_layers", low=1)
    count = integer(segments, "segments", low=1, high=layers)
    short, longer = divmod(layers, count)
    return [short + (k < longer) for k in range(count)]


def _held(lengths: list[int], inside: float) -> list[float]:
    """Activations held in each segment: its checkpoints, its other inputs, what is inside."""
    return [k + s - 1 + s * inside for k, s in enumerate(lengths, start=1)]


def checkpoint_cost(
    num_layers: int, *, segments: int, inside: float = 0.0, backward: float = 2.0
) -> CheckpointCost:
    """Count the activations that are held and the layers that are computed twice.

    Parameters
    ----------
    num_layers : int
        Number of layers L, >= 1, all of one size.
    segments : int
        Number of segments K, from 1 to L. 1 is training without checkpoints.
    inside : float
        What the backward pass of a layer needs besides its input, in units of this input, >= 0.
        0 for a linear layer, about 16 for a transformer block (34 bytes for the 2 of its input).
    backward : float
        Cost of a backward pass in units of a forward pass, > 0.

    Returns
    -------
    CheckpointCost

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    When the backward pass enters segment k of length s, it holds k checkpoints, the other s - 1
    inputs of the segment, and ``s * inside``. With equal lengths the last one is the largest:
    ``K + (1 + inside) L/K - 1``, least at K = √((1 + inside) L), where it is
    ``2 √((1 + inside) L) - 1``.

    The last segment keeps all its activations in the forward pass, since it is needed at once; so
    L - L/K layers are recomputed. PyTorch's `checkpoint_sequential` does the same; `checkpoint`
    around every layer recomputes the last one, too.

    References
    ----------
    Chen, Xu, Zhang, Guestrin (2016), Training deep nets with sublinear memory cost.

    Examples
    --------
    >>> for segments in (1, 2, 8, 32, 64):
    ...     cost = checkpoint_cost(64, segments=segments)
    ...     print(segments, cost.peak, cost.recomputed, round(cost.overhead, 3))
    1 64.0 0 0.0
    2 33.0 32 0.167
    8 15.0 56 0.292
    32 33.0 62 0.323
    64 64.0 63 0.328
    """
    lengths = _lengths(num_layers, segments)
    inside = real(inside, "inside", low=0)
    backward = real(backward, "backward", low=0, closed="neither")
    held = tuple(_held(lengths, inside)[::-1])
    layers = sum(lengths)
    recomputed = layers - lengths[-1]
    return CheckpointCost(held, max(held), recomputed, recomputed / (layers * (1 + backward)))


def checkpoint_timeline(
    num_layers: int, *, segments: int, inside: float = 0.0, backward: float = 2.0
) -> tuple[Array, Array]:
    """Follow through a step how many activations are held.

    Parameters
    ----------
    num_layers, segments, inside, backward
        As in `checkpoint_cost`.

    Returns
    -------
    time : array
        When it changes, in forward passes of one layer; the step ends at ``L (1 + backward)`` plus
        the number of recomputed layers.
    held : array of the same length
        How much is held from then on, in units of the input of one layer.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Examples
    --------
    >>> checkpoint_timeline(2, segments=1)
    (array([0., 1., 4., 6.]), array([1., 2., 1., 0.]))
    >>> checkpoint_timeline(4, segments=2)[1]  # the second peak is the first segment, once more
    array([1., 2., 3., 2., 1., 2., 1., 0.])
    """
    lengths = _lengths(num_layers, segments)
    inside = real(inside, "inside", low=0)
    backward = real(backward, "backward", low=0, closed="neither")
    now, held, changes = 0.0, 0.0, []
    for k, length in enumerate(lengths, start=1):
        for i in range(length):
            kept = (1 + inside) if k == len(lengths) else float(i == 0)
            held += kept
            changes.append((now, kept, held))
            now += 1
    for k, length in reversed(list(enumerate(lengths, start=1))):
        again = k < len(lengths)
        for i in range(length if again else 0):
            kept = (i > 0) + inside
            held += kept
            changes.append((now, kept, held))
            now += 1
        for _ in range(length):
            now += backward
            held -= 1 + inside
            changes.append((now, -1.0, held))
    time, change, level = np.array(changes).T
    return time[change != 0], level[change != 0]


def best_segments(num_layers: int, *, inside: float = 0.0) -> int:
    """Find the number of segments with the lowest peak; the smallest, if several have it.

    Parameters
    ----------
    num_layers : int
        Number of layers L, >= 1.
    inside : float
        As in `checkpoint_cost`.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Examples
    --------
    >>> best_segments(64), best_segments(64, inside=16)
    (6, 40)
    """
    layers = integer(num_layers, "num_layers", low=1)
    inside = real(inside, "inside", low=0)
    return min(
        range(1, layers + 1),
        key=lambda count: max(_held(_lengths(layers, count), inside)),
    )


class Checkpointed(NamedTuple):
    """A loss, its gradients, and what it took to compute them.

    Attributes
    ----------
    value : float
        The loss.
    grads : list of trees
        Its gradient with respect to the parameters of each layer.
    held : array of int
        Numbers in the layers' inputs that are held, after each change.
    forward_calls : int
        How many times a layer's forward pass ran.
    """

    value: float
    grads: list[Any]
    held: NDArray[np.int64]
    forward_calls: int


class _Tape:
    """The layers, and a count of what is held of their inputs."""

    def __init__(self, layers: Sequence[Any], apply: Callable[..., Any]) -> None:
        self.layers, self.apply = layers, apply
        self.held, self.calls = [0], 0

    def keep(self, number: int) -> None:
        self.held.append(self.held[-1] + number)

    def forward(self, h: Any, unit: int) -> Array:
        """Run a layer and keep nothing of it."""
        self.calls += 1
        return np.asarray(self.apply(self.layers[unit], h, unit))

    def forward_kept(self, h: Array, unit: int) -> tuple[Array, Any]:
        """Run a layer and keep what its backward pass needs."""
        self.calls += 1
        return vjp(lambda params, x: self.apply(params, x, unit), self.layers[unit], h)


def checkpointed_grad(
    layers: Sequence[Any],
    x: Any,
    *,
    apply: Callable[..., Any],
    loss: Callable[..., Any],
    segments: int,
) -> Checkpointed:
    """Differentiate a chain of layers that keeps the inputs of its segments only.

    Parameters
    ----------
    layers : sequence of trees
        The parameters of each layer.
    x : array
        Input of the first layer.
    apply : callable
        ``apply(params, x, unit)`` gives the output of layer number `unit`, from 0; made of
        differentiable functions. It runs twice for most layers and has to give the same numbers:
        draw random ones from a generator that is made anew in each call.
    loss : callable
        ``loss(output)`` gives the loss from the output of the last layer.
    segments : int
        Number of segments, from 1 (no checkpoints) to the number of layers.

    Returns
    -------
    Checkpointed

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    The gradients are the same to the last bit for all numbers of segments: the same operations run
    on the same numbers, some of them twice. Counted are the inputs of the layers. What a layer
    keeps inside, as the mask of a ReLU, comes on top.

    References
    ----------
    Chen, Xu, Zhang, Guestrin (2016), Training deep nets with sublinear memory cost.

    Examples
    --------
    >>> layers = [np.array(0.9)] * 9
    >>> def apply(w, x, unit): return w * x
    >>> def loss(y): return y[0]
    >>> for segments in (1, 3):
    ...     done = checkpointed_grad(
    ...         layers, np.ones(1), apply=apply, loss=loss, segments=segments
    ...     )
    ...     print(done.grads[0].round(4), done.held.max(), done.forward_calls)
    0.4305 9 9
    0.4305 5 15
    """
    if not isinstance(layers, (list, tuple)) or not layers:
        raise TypeError(
            "checkpointed_grad: layers must be a sequence with the parameters of each layer; "
            f"got {_show(layers)}"
        )
    for leaf in (leaf for layer in layers for leaf in tree_leaves(layer)):
        array(leaf, "layers", finite=False, nonempty=False)
    h = array(x, "x", nonempty=False)
    function(apply, "apply")
    function(loss, "loss")
    ends = np.cumsum([0, *_lengths(len(layers), segments)])
    pairs = list(itertools.pairwise(ends.tolist()))
    tape = _Tape(layers, apply)
    checkpoints: list[Array] = []
    for start, end in pairs[:-1]:
        checkpoints.append(h)
        tape.keep(h.size)
        for unit in range(start, end):
            h = tape.forward(h, unit)
    checkpoints.append(h)
    tape.keep(h.size)
    grads: list[Any] = [None] * len(layers)
    value, cotangent = 0.0, None
    for start, end in reversed(pairs):
        h = checkpoints.pop()
        pullbacks = []
        for unit in range(start, end):
            if unit > start:
                tape.keep(h.size)
            size = h.size
            h, pullback = tape.forward_kept(h, unit)
            pullbacks.append((size, pullback))
        if cotangent is None:
            value, cotangent = value_and_grad(loss)(h)
        for unit in reversed(range(start, end)):
            size, pullback = pullbacks.pop()
            grads[unit], cotangent = pullback(cotangent)
            tape.keep(-size)
    return Checkpointed(float(value), grads, np.array(tape.held, np.int64), tape.calls)
