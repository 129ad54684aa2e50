"""Sharded training (ZeRO, FSDP): every rank keeps a part of the model, and borrows the rest.

In data-parallel training N ranks keep N equal copies of everything. ZeRO removes the copies in
three stages: of the optimizer's state (1), also of the gradients (2), also of the parameters (3,
PyTorch's FSDP). Parameters are needed whole to compute with, so in stage 3 they are
gathered *unit* by unit, a unit being a layer or a block:

    forward   gather a unit, compute, free it
    backward  gather it again, compute, free it; reduce-scatter its gradient
    update    each rank its own shard

An all-reduce is a reduce-scatter and an all-gather. So stages 1 and 2 send what data-parallel
training sends: they scatter gradients and gather parameters instead of all-reducing gradients.
Stage 3 gathers twice, 1.5 times the traffic.

The ranks are simulated in one process, every message is counted, and a unit that is freed is
filled with NaN: whoever needs it must gather it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import _where, array, integer, real, values_unchecked
from ._checks import function as check_function
from .collectives import Messages, all_gather, reduce_scatter
from .data_parallel import _length, _several
from .differentiation import value_and_grad, vjp
from .trees import tree_leaves, tree_map, tree_unflatten

__all__ = [
    "Event",
    "Memory",
    "ShardedModel",
    "ShardedResult",
    "flat_shards",
    "memory_by_stage",
    "sharded_init",
    "sharded_step",
    "traffic_by_stage",
    "unflatten_shards",
]

Array = NDArray[Any]


# A flat parameter and its shards ---------------------------------------------------------------


def _leaves(params: Any, name: str) -> list[Array]:
    leaves = [array(leaf, name, finite=False, nonempty=False) for leaf in tree_leaves(params)]
    kinds = sorted({leaf.dtype.name for leaf in leaves})
    if len(kinds) != 1:
        raise ValueError(
            f"{_where()}: {name} must have leaves, all of one dtype, to be one flat array; "
            f"got {', '.join(kinds) or 'none'}"
        )
    return leaves


def flat_shards(params: Any, *, ranks: int) -> Array:
    """Lay a tree out as one flat array, fill up with zeros, and cut it into equal shards.

    Parameters
    ----------
    params : tree of arrays of one dtype
    ranks : int
        Number of ranks N, >= 2.

    Returns
    -------
    array of shape (N, ceil(n / N))
        Row r is rank r's shard of the n elements. At the end stand fewer than N zeros.

    Raises
    ------
    TypeError, ValueError
        If the leaves differ in dtype, there are none, or fewer than two ranks.

    Notes
    -----
    A shard begins and ends anywhere, in the middle of a matrix too. This is FSDP's FlatParameter;
    PyTorch's newer ``fully_shard`` cuts each tensor along its first axis instead.

    References
    ----------
    Zhao et al. (2023), PyTorch FSDP: experiences on scaling fully sharded data parallel.

    Examples
    --------
    >>> flat_shards({"w": np.array([[1.0, 2.0], [3.0, 4.0]]), "b": np.array([5.0])}, ranks=2)
    array([[1., 2., 3.],
           [4., 5., 0.]])
    """
    leaves = _leaves(params, "params")
    ranks = integer(ranks, "ranks", low=2)
    size = sum(leaf.size for leaf in leaves)
    flat = np.zeros((ranks, -(-size // ranks)), leaves[0].dtype)
    flat.reshape(-1)[:size] = np.concatenate([leaf.reshape(-1) for leaf in leaves])
    return flat


def unflatten_shards(shards: Any, like: Any) -> Any:
    """Put shards together again: the inverse of `flat_shards`.

    Parameters
    ----------
    shards : array of shape (N, shard length)
    like : tree of arrays
        Gives structure and shapes.

    Returns
    -------
    tree
        Of *views* of `shards`: what is later written there is seen here. It has their dtype.

    Raises
    ------
    TypeError, ValueError
        If there is not the number of elements, with less than N for filling up.

    Examples
    --------
    >>> unflatten_shards(np.array([[1.0, 2.0], [3.0, 0.0]]), {"w": np.zeros((1, 2)), "b": 0.0})
    {'w': array([[1., 2.]]), 'b': array(3.)}
    """
    flat = array(shards, "shards", ndim=2, finite=False, nonempty=False)
    shapes = [np.shape(leaf) for leaf in tree_leaves(like)]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)]).tolist()
    if -(-ends[-1] // max(len(flat), 1)) != flat.shape[1]:
        raise ValueError(
            f"unflatten_shards: shards must hold the {ends[-1]} elements of like and as few more "
            f"as needed for equal lengths; got shape {flat.shape}"
        )
    one = np.ascontiguousarray(flat).reshape(-1)
    views = [
        one[begin:end].reshape(shape)
        for begin, end, shape in zip(ends[:-1], ends[1:], shapes, strict=True)
    ]
    return tree_unflatten(like, views)


# The training step ----------------------------------------------------------------------------


class ShardedModel(NamedTuple):
    """What all ranks together keep between two steps.

    Attributes
    ----------
    shards : list with one array of shape (N, shard length) for each unit
        Row r is what rank r keeps of the parameters.
    states : list of N optimizer states
        Of rank r's shards: it is initialized and updated with the list of its rows.
    """

    shards: list[Array]
    states: list[Any]


class Event(NamedTuple):
    """One thing that happens to a unit in a step.

    Attributes
    ----------
    kind : {"gather", "forward", "backward", "free", "reduce-scatter", "update"}
    unit : int
        Number of the unit, or -1 for the update, which is for all.
    messages : Messages or None
        None if nothing is sent.
    held : int
        Bytes of parameters and gradients that one rank holds afterwards.
    """

    kind: str
    unit: int
    messages: Messages | None
    held: int


class ShardedResult(NamedTuple):
    """What a sharded step leaves behind.

    Attributes
    ----------
    model : ShardedModel
    loss : float
        Mean over all examples of all ranks, before the update.
    events : list of Event
        In the order of the step.
    """

    model: ShardedModel
    loss: float
    events: list[Event]


def sharded_init(
    units: Sequence[Any], *, ranks: int, init: Callable[[list[Array]], Any]
) -> ShardedModel:
    """Shard the parameters and initialize the optimizer of each rank.

    Parameters
    ----------
    units : sequence of trees of arrays
        The parameters of each unit, first layer first.
    ranks : int
        Number of ranks N, >= 2.
    init : callable
        ``init(params)`` gives an optimizer's state. It is called once for each rank, with a list
        of its shards, one for each unit.

    Returns
    -------
    ShardedModel

    Raises
    ------
    TypeError, ValueError
        If there is no unit, a unit has leaves of several dtypes, or fewer than two ranks.

    Examples
    --------
    >>> model = sharded_init([{"w": np.arange(4.0)}], ranks=2, init=lambda params: None)
    >>> model.shards
    [array([[0., 1.],
           [2., 3.]])]
    """
    trees = _units(units)
    ranks = integer(ranks, "ranks", low=2)
    start = check_function(init, "init")
    for i, unit in enumerate(trees):
        _leaves(unit, f"units[{i}]")
    shards = [flat_shards(unit, ranks=ranks) for unit in trees]
    return ShardedModel(shards, [start([unit[r] for unit in shards]) for r in range(ranks)])


def _units(units: Any) -> list[Any]:
    if not isinstance(units, (list, tuple)) or not units:
        raise TypeError(f"{_where()}: units must be a list of one tree or more; got {units!r}")
    return list(units)


class _Step:
    """The ranks during one step: what they have gathered, hold and send."""

    def __init__(self, shards: list[Array], units: list[Any]) -> None:
        self.shards, self.units = shards, units
        self.ranks = len(shards[0])
        self.events: list[Event] = []
        self.gradients: list[Array | None] = [None] * len(shards)
        # One buffer for each unit and rank, "allocated" while the unit is gathered. Pullbacks keep
        # views of it, so that a unit that is gathered again is where they look for it.
        self.buffers = [np.full((self.ranks, s.size), np.nan, s.dtype) for s in shards]
        self.gathered: set[int] = set()
        self.whole_gradients = 0

    def note(self, kind: str, unit: int, messages: Messages | None = None) -> None:
        held = sum(shard[0].nbytes for shard in self.shards)
        held += sum(g[0].nbytes for g in self.gradients if g is not None) + self.whole_gradients
        # a gathered unit contains the rank's own shard
        held += sum(self.shards[i].nbytes - self.shards[i][0].nbytes for i in self.gathered)
        self.events.append(Event(kind, unit, messages, held))

    def gather(self, unit: int) -> None:
        if unit not in self.gathered:
            full, messages = all_gather(list(self.shards[unit]))
            self.buffers[unit][...] = full
            self.gathered.add(unit)
            self.note("gather", unit, messages)

    def free(self, unit: int) -> None:
        self.buffers[unit][...] = np.nan
        self.gathered.discard(unit)
        self.note("free", unit)

    def params(self, unit: int, rank: int) -> Any:
        flat = self.buffers[unit][rank].reshape(self.ranks, -1)
        return unflatten_shards(flat, self.units[unit])

    def scatter(self, unit: int, grads: list[Array]) -> None:
        """Sum the ranks' gradients of a unit; each keeps its shard."""
        chunks, messages = reduce_scatter(grads)
        self.gradients[unit] = np.stack(chunks)
        self.whole_gradients -= grads[0].nbytes
        self.note("reduce-scatter", unit, messages)


def sharded_step(
    model: ShardedModel,
    batches: Sequence[Any],
    *,
    units: Sequence[Any],
    apply: Callable[..., Any],
    loss: Callable[..., Any],
    update: Callable[..., Any],
    stage: int = 3,
) -> ShardedResult:
    """Make one optimizer step on sharded parameters.

    Parameters
    ----------
    model : ShardedModel
        From `sharded_init`; unchanged.
    batches : sequence of N pairs (inputs, targets)
        What each of the N ranks computes on, both with examples along axis 0. The ranks may have
        different numbers of examples.
    units : sequence of trees
        As in `sharded_init`; only their structure and shapes are used.
    apply : callable
        ``apply(params, x, unit)`` gives the output of a unit by its number, from its parameters
        and the output of the one before; made of differentiable functions.
    loss : callable
        ``loss(output, targets)`` gives the mean loss over the examples.
    update : callable
        ``update(grads, state, params)`` gives ``(updates, state)``; the updates are added. All
        three are lists of flat shards, so it has to treat each element by itself, as SGD and Adam
        do. A norm over all parameters, as in clipping or LAMB, needs a sum over the ranks first.
    stage : {1, 2, 3}
        1: parameters whole during the step, gradients whole until its end. 2: gradients of a unit
        scattered as soon as they are there. 3: also parameters whole only while a unit computes.

    Returns
    -------
    ShardedResult

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit each other, or the stage is another.

    Notes
    -----
    All stages compute the same numbers to the last bit. They are those of one process up to the
    order of the sum over the ranks: to the last bit for two ranks, or where sums are exact.

    With S the bytes of the padded parameters, a rank sends ``2 (N - 1)/N S`` in stages 1 and 2,
    ``3 (N - 1)/N S`` in stage 3. Here stages 1 and 2 gather at the beginning of a step; DeepSpeed
    does so at the end of the one before, with the same messages. In stage 3 the last unit could
    stay gathered between its forward and backward pass, as in PyTorch.

    References
    ----------
    Rajbhandari, Rasley, Ruwase, He (2020), ZeRO: memory optimizations toward training trillion
    parameter models.
    Zhao et al. (2023), PyTorch FSDP: experiences on scaling fully sharded data parallel.

    Examples
    --------
    >>> units = [np.array([2.0]), np.array([3.0])]
    >>> model = sharded_init(units, ranks=2, init=lambda params: None)
    >>> done = sharded_step(
    ...     model, [(np.array([1.0]), np.array([0.0])), (np.array([2.0]), np.array([0.0]))],
    ...     units=units, apply=lambda w, x, unit: w * x,
    ...     loss=lambda y, target: (y - target)[0], update=lambda g, s, p: (g, s),
    ... )
    >>> done.loss, [event.kind for event in done.events][:4]
    (9.0, ['gather', 'forward', 'free', 'gather'])
    >>> [unflatten_shards(s, u) for s, u in zip(done.model.shards, units)]  # plus 4.5 and 3
    [array([6.5]), array([6.])]
    """
    trees = _units(units)
    integer(stage, "stage", low=1, high=3)
    _check_model(model, trees)
    pairs = _several(batches, "batches")
    ranks = integer(len(pairs), "number of ranks in batches", low=len(model.states),
                    high=len(model.states))  # fmt: skip
    weights = _shares(pairs)
    forward, update = check_function(apply, "apply"), check_function(update, "update")
    head = value_and_grad(check_function(loss, "loss"))

    step = _Step(model.shards, trees)
    order = range(len(trees))
    for unit in order if stage < 3 else ():
        step.gather(unit)
    streams = [x for x, _ in pairs]  # activations, later their cotangents, of each rank
    pullbacks = []
    for unit in order:
        step.gather(unit)
        done = [_vjp(forward, step.params(unit, r), streams[r], unit) for r in range(ranks)]
        streams, pulls = [list(column) for column in zip(*done, strict=True)]
        pullbacks.append(pulls)
        step.note("forward", unit)
        if stage == 3:
            step.free(unit)

    with values_unchecked():
        heads = [head(y, targets) for y, (_, targets) in zip(streams, pairs, strict=True)]
    mean = sum(w * float(value) for w, (value, _) in zip(weights, heads, strict=True))
    streams = [g for _, g in heads]
    late: list[tuple[int, list[Array]]] = []
    for unit in reversed(order):
        step.gather(unit)
        pulled = [pull(c) for pull, c in zip(pullbacks.pop(), streams, strict=True)]
        streams = [dx for _, *rest in pulled for dx in rest]  # the first unit has no dx
        grads = [flat_shards(g, ranks=ranks).reshape(-1) * w
                 for w, (g, *_) in zip(weights, pulled, strict=True)]  # fmt: skip
        step.whole_gradients += grads[0].nbytes
        step.note("backward", unit)
        if stage == 3:
            step.free(unit)
        late.append((unit, grads))
        while late and stage > 1:
            step.scatter(*late.pop())
    for unit, grads in late:
        step.scatter(unit, grads)
    new = _update(model, [g for g in step.gradients if g is not None], update)
    step.note("update", -1)
    return ShardedResult(new, mean, step.events)


def _vjp(apply: Callable[..., Any], params: Any, x: Any, unit: int) -> tuple[Any, Any]:
    """Differentiate one unit; the first one's inputs are data and may be integers."""
    with values_unchecked():  # as inside of any differentiated computation
        if unit == 0:
            return vjp(lambda p: apply(p, x, unit), params)
        return vjp(lambda p, h: apply(p, h, unit), params, x)


def _check_model(model: Any, trees: list[Any]) -> None:
    if not isinstance(model, ShardedModel):
        raise TypeError(f"{_where()}: model must be a ShardedModel; got {model!r}")
    sizes = [sum(np.size(leaf) for leaf in tree_leaves(tree)) for tree in trees]
    wanted = [(len(model.states), -(-size // len(model.states))) for size in sizes]
    if [shard.shape for shard in model.shards] != wanted:
        raise ValueError(
            f"{_where()}: units must be those of model, with shards of the shapes "
            f"{[shard.shape for shard in model.shards]}; got {wanted}"
        )


def _shares(pairs: list[Any]) -> list[float]:
    """Share of each rank in the examples."""
    for r, pair in enumerate(pairs):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise TypeError(f"{_where()}: batches[{r}] must be (inputs, targets); got {pair!r}")
    counts = [_length(pair, "batches") for pair in pairs]
    return [count / sum(counts) for count in counts]


def _update(
    model: ShardedModel, gradients: list[Array], update: Callable[..., Any]
) -> ShardedModel:
    """Let each rank update its own shards."""
    shards, states = [np.empty_like(s) for s in model.shards], []
    for r, state in enumerate(model.states):
        mine = [s[r] for s in model.shards]
        updates, after = update([g[r] for g in gradients], state, mine)
        states.append(after)
        for place, moved in zip(shards, tree_map(np.add, mine, updates), strict=True):
            place[r] = moved
    return ShardedModel(shards, states)


# Arithmetic -----------------------------------------------------------------------------------


class Memory(NamedTuple):
    """Bytes on one rank."""

    weights: float
    gradients: float
    optimizer: float
    total: float


def memory_by_stage(
    num_params: float,
    *,
    ranks: int,
    stage: int,
    weight_bytes: float = 2,
    gradient_bytes: float = 2,
    optimizer_bytes: float = 12,
) -> Memory:
    """Memory of one rank for weights, gradients and optimizer state.

    Parameters
    ----------
    num_params : float
        Number of parameters Ψ, > 0.
    ranks : int
        Number of ranks N, >= 2.
    stage : {0, 1, 2, 3}
        0 is data-parallel training without sharding.
    weight_bytes, gradient_bytes, optimizer_bytes : float
        Bytes per parameter, >= 0. The defaults are mixed precision with Adam: weights and
        gradients of 16 bits, and in float32 a master copy and two moments.

    Returns
    -------
    Memory
        In bytes; 1 GB is 10⁹ of them.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    ::

        stage 0  (2 + 2 + 12) Ψ
        stage 1  (2 + 2 + 12/N) Ψ
        stage 2  (2 + (2 + 12)/N) Ψ
        stage 3  (2 + 2 + 12)/N Ψ

    Activations are not in it, nor the units that stage 3 has gathered, nor buffers.

    References
    ----------
    Rajbhandari, Rasley, Ruwase, He (2020), ZeRO: memory optimizations toward training trillion
    parameter models.

    Examples
    --------
    >>> [round(memory_by_stage(7.5e9, ranks=64, stage=s).total / 1e9, 1) for s in range(4)]
    [120.0, 31.4, 16.6, 1.9]
    """
    count = real(num_params, "num_params", low=0, closed="neither")
    ranks, stage = integer(ranks, "ranks", low=2), integer(stage, "stage", low=0, high=3)
    each = [
        real(weight_bytes, "weight_bytes", low=0),
        real(gradient_bytes, "gradient_bytes", low=0),
        real(optimizer_bytes, "optimizer_bytes", low=0),
    ]
    # stage 1 shards the last of the three, stage 2 the last two, stage 3 all
    w, g, o = (n * count / (ranks if i + stage >= 3 else 1) for i, n in enumerate(each))
    return Memory(w, g, o, w + g + o)


def traffic_by_stage(nbytes: float, *, ranks: int, stage: int) -> float:
    """Bytes that one rank sends in a training step.

    Parameters
    ----------
    nbytes : float
        Size S of the parameters as they are sent (gradients have the same), in bytes, >= 0.
    ranks : int
        Number of ranks N, >= 2.
    stage : {0, 1, 2, 3}
        0 is data-parallel training without sharding.

    Returns
    -------
    float
        ``2 (N - 1)/N S`` in stages 0 to 2, ``3 (N - 1)/N S`` in stage 3.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    A reduce-scatter and an all-gather send ``(N - 1)/N S`` each. Stage 0 has one of both, which
    together are its all-reduce; stages 1 and 2 have them apart, before and after the update; stage
    3 has one more all-gather, since it frees the parameters between forward and backward.

    References
    ----------
    Rajbhandari, Rasley, Ruwase, He (2020), ZeRO: memory optimizations toward training trillion
    parameter models.

    Examples
    --------
    >>> [traffic_by_stage(14e9, ranks=8, stage=s) / 1e9 for s in range(4)]
    [24.5, 24.5, 24.5, 36.75]
    """
    nbytes = real(nbytes, "nbytes", low=0)
    ranks, stage = integer(ranks, "ranks", low=2), integer(stage, "stage", low=0, high=3)
    passes = 3 if stage == 3 else 2
    return passes * (ranks - 1) / ranks * nbytes
