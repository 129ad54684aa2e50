"""Lay a transformer's training out on many cards: what fits, and what is fast.

Cards are divided three ways: N = tensor · pipeline · data. Tensor parallel ranks send the most, so
they are neighbors in a node; then come the data parallel ranks, then the stages of the pipeline.

The estimates are those of this book's other modules, put together: bytes for each parameter,
activations for each block, FLOPs for each token, rings with a latency and a bandwidth, a bubble.
They show which layouts are out of the question, and why; a measurement decides among the others.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from ._checks import _where, integer, one_of, real
from .communication_time import all_reduce_time
from .sharded import memory_by_stage, traffic_by_stage
from .training_flops import RECOMPUTE, training_flops_per_token, transformer_params

__all__ = [
    "Cluster",
    "Layout",
    "LayoutCost",
    "ModelShape",
    "activation_bytes",
    "layout_cost",
]

BYTES = 2  # of a weight, an activation or a gradient as it is computed with and sent


class ModelShape(NamedTuple):
    """A decoder-only transformer.

    Attributes
    ----------
    num_layers, width, num_heads : int
        Blocks L, features of the residual stream h, heads a.
    vocab_size, seq_len : int
        Number of different tokens V, tokens of a sequence s.
    """

    num_layers: int
    width: int
    num_heads: int
    vocab_size: int
    seq_len: int


class Cluster(NamedTuple):
    """Cards and the links between them.

    Attributes
    ----------
    cards, cards_per_node : int
        In all; that share the fast links. The second divides the first, or is larger.
    memory : float
        Bytes of one card.
    peak : float
        Floating-point operations per second of one card.
    near, far : float
        Bytes per second that one card sends within its node, and to another.
    latency : float
        Seconds for a message without content.
    efficiency : float
        Share of the peak that matrix products reach, in (0, 1]. An assumption: measure it.
    """

    cards: int
    cards_per_node: int
    memory: float
    peak: float
    near: float
    far: float
    latency: float = 10e-6
    efficiency: float = 0.6


class Layout(NamedTuple):
    """How the cards share the work.

    Attributes
    ----------
    tensor, pipeline, data : int
        Ranks of each kind; their product is the number of cards.
    micro_batch : int
        Sequences that a data parallel rank computes at once.
    stage : {0, 1, 2, 3}
        Of sharding over the data parallel ranks; 0 is none. 2 and 3 without a pipeline only.
    recompute : {"none", "selective", "full"}
    sequence_parallel : bool
    """

    tensor: int
    pipeline: int
    data: int
    micro_batch: int = 1
    stage: int = 1
    recompute: str = "selective"
    sequence_parallel: bool = True


class LayoutCost(NamedTuple):
    """What a layout takes on its fullest card, and for one step.

    Attributes
    ----------
    layout : Layout
    params : float
        Parameters of the fullest card.
    states, activations, gathered : float
        Bytes: weights, gradients and optimizer; activations; what stage 3 has gathered.
    memory : float
        All of them.
    fits : bool
        Whether they are at most the card's.
    microbatches : int
        That each data parallel rank computes one after the other.
    compute : float
        Seconds of arithmetic, recomputation included.
    tensor_time, pipeline_time, data_time : float
        Seconds that computation waits for messages of each kind.
    bubble : float
        Seconds in which a stage waits for others.
    time : float
        Of a step.
    mfu : float
        Model FLOP utilization.
    """

    layout: Layout
    params: float
    states: float
    activations: float
    gathered: float
    memory: float
    fits: bool
    microbatches: int
    compute: float
    tensor_time: float
    pipeline_time: float
    data_time: float
    bubble: float
    time: float
    mfu: float


# Checks -------------------------------------------------------------------------------------------


def _model(model: Any) -> ModelShape:
    if not isinstance(model, ModelShape):
        raise TypeError(f"{_where()}: model must be a ModelShape; got {model!r}")
    for name in model._fields:
        integer(getattr(model, name), f"model.{name}", low=1)
    if model.width % model.num_heads:
        raise ValueError(
            f"{_where()}: model.num_heads must divide the width {model.width}; "
            f"got {model.num_heads}"
        )
    return model


def _cluster(cluster: Any) -> Cluster:
    if not isinstance(cluster, Cluster):
        raise TypeError(f"{_where()}: cluster must be a Cluster; got {cluster!r}")
    cards = integer(cluster.cards, "cluster.cards", low=1)
    node = integer(cluster.cards_per_node, "cluster.cards_per_node", low=1)
    if cards > node and cards % node:
        raise ValueError(
            f"{_where()}: cluster.cards_per_node must divide the {cards} cards; got {node}"
        )
    for name in ("memory", "peak", "near", "far"):
        real(getattr(cluster, name), f"cluster.{name}", low=0, closed="neither")
    real(cluster.latency, "cluster.latency", low=0)
    real(cluster.efficiency, "cluster.efficiency", low=0, high=1, closed="right")
    return cluster


def _layout(layout: Any, model: ModelShape, cluster: Cluster, global_batch: int) -> Layout:
    if not isinstance(layout, Layout):
        raise TypeError(f"{_where()}: layout must be a Layout; got {layout!r}")
    for name in ("tensor", "pipeline", "data", "micro_batch"):
        integer(getattr(layout, name), f"layout.{name}", low=1)
    integer(layout.stage, "layout.stage", low=0, high=3)
    one_of(layout.recompute, "layout.recompute", tuple(RECOMPUTE))
    one_of(layout.sequence_parallel, "layout.sequence_parallel", (False, True))
    t, p, d = layout.tensor, layout.pipeline, layout.data
    if t * p * d != cluster.cards:
        raise ValueError(
            f"{_where()}: layout must have tensor · pipeline · data = {cluster.cards} cards; "
            f"got {t} · {p} · {d} = {t * p * d}"
        )
    if p > 1 and layout.stage > 1:
        raise ValueError(
            f"{_where()}: layout.stage must be 0 or 1 with a pipeline, whose micro-batches would "
            f"gather and scatter again and again; got {layout.stage}"
        )
    for size, of, name, ranks in (
        (model.num_heads, "heads", "tensor", t),
        (model.num_layers, "layers", "pipeline", p),
        (model.seq_len if layout.sequence_parallel else t, "tokens of a sequence", "tensor", t),
        (global_batch, "sequences of a batch", "data · micro_batch", d * layout.micro_batch),
    ):
        if size % ranks:
            raise ValueError(f"{_where()}: layout.{name} must divide the {size} {of}; got {ranks}")
    return layout


# Arithmetic ---------------------------------------------------------------------------------------


def activation_bytes(
    model: ModelShape,
    *,
    micro_batch: int,
    tensor: int = 1,
    recompute: str = "none",
    sequence_parallel: bool = False,
) -> float:
    """Bytes that the backward pass of one block needs of the forward pass, on one card.

    Parameters
    ----------
    model : ModelShape
    micro_batch : int
        Number of sequences b, >= 1.
    tensor : int
        Tensor parallel ranks t; divides the heads.
    recompute : {"none", "selective", "full"}
        "selective": the scores of the attention are computed again, as FlashAttention does, too.
        "full": only the input of the block is kept.
    sequence_parallel : bool
        Whether the ranks share the tokens between the parallel layers.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    With 2 bytes a number, 1 byte for each element of a mask of dropout, and s tokens::

        none        s b h (10 + 24/t + 5 a s / (h t))   or  s b h (34 + 5 a s / h) / t
        selective   s b h (10 + 24/t)                   or  34 s b h / t
        full        2 s b h                             or  2 s b h / t

    On the right those with sequence parallelism.

    References
    ----------
    Korthikanti et al. (2022), Reducing activation recomputation in large transformer models.

    Examples
    --------
    >>> gpt3 = ModelShape(96, 12288, 96, 51200, 2048)
    >>> for options in ({}, {"tensor": 8}, {"tensor": 8, "sequence_parallel": True}):
    ...     print(round(activation_bytes(gpt3, micro_batch=1, **options) / 1e9, 2))
    2.87
    0.58
    0.36
    """
    model = _model(model)
    b = integer(micro_batch, "micro_batch", low=1)
    t = integer(tensor, "tensor", low=1)
    if model.num_heads % t:
        raise ValueError(
            f"activation_bytes: tensor must divide the {model.num_heads} heads; got {t}"
        )
    one_of(recompute, "recompute", tuple(RECOMPUTE))
    one_of(sequence_parallel, "sequence_parallel", (False, True))
    return _activation_bytes(model, b, t, recompute, sequence_parallel)


def _activation_bytes(m: ModelShape, b: int, t: int, recompute: str, sequence: bool) -> float:
    alone = t if sequence else 1  # what divides the part that tensor parallelism leaves whole
    size = m.seq_len * b * m.width
    if recompute == "full":
        return 2 * size / alone
    scores = 5 * m.num_heads * m.seq_len / m.width if recompute == "none" else 0.0
    return size * (10 / alone + (24 + scores) / t)


@lru_cache
def _state_bytes(data: int, stage: int) -> float:
    """Bytes for each parameter: weights, gradients and Adam in mixed precision; 16 on one rank."""
    return memory_by_stage(1, ranks=data, stage=stage).total if data > 1 else 16.0


@lru_cache
def _passes(data: int, stage: int) -> float:
    """How many times its parameters a data parallel rank sends."""
    return traffic_by_stage(1, ranks=data, stage=stage)


def _memory(m: ModelShape, x: Layout, microbatches: int) -> tuple[float, float, float, float]:
    """Parameters, states, activations and gathered bytes of the first stage, the fullest card."""
    blocks = m.num_layers // x.pipeline
    params = (12 * blocks * m.width**2 + m.vocab_size * m.width) / x.tensor
    each = _activation_bytes(m, x.micro_batch, x.tensor, x.recompute, x.sequence_parallel)
    held = min(x.pipeline, microbatches) * blocks * each  # as 1F1B does it
    if x.recompute == "full":  # and one block while it is computed again
        held += _activation_bytes(m, x.micro_batch, x.tensor, "none", x.sequence_parallel)
    # Two blocks: the one that computes, and the next, which is on its way.
    gathered = 2 * BYTES * 12 * m.width**2 / x.tensor if x.stage == 3 and x.data > 1 else 0.0
    return params, params * _state_bytes(x.data, x.stage), held, gathered


def _bandwidth(c: Cluster, ranks: int, apart: int) -> float:
    """Bytes per second of a ring whose neighbors are `apart` cards from each other.

    Where it leaves a node, its cards there share what they send out: one of them sends for all.
    """
    if ranks * apart <= c.cards_per_node:
        return c.near
    return min(c.near, c.far * max(1, min(ranks, c.cards_per_node // apart)))


@lru_cache(maxsize=1024)
def _all_reduce(nbytes: int, *, ranks: int, latency: float, bandwidth: float) -> float:
    return all_reduce_time(nbytes, ranks=ranks, latency=latency, bandwidth=bandwidth)


def _waits(
    m: ModelShape, c: Cluster, x: Layout, params: float, compute: float
) -> tuple[float, float, float, float]:
    """Seconds of waiting for messages: three kinds for each micro-batch, one for each step."""
    t, p, d = x.tensor, x.pipeline, x.data
    blocks = m.num_layers // p
    nbytes = BYTES * m.seq_len * x.micro_batch * m.width
    tensor = pipeline = gather = reduce = 0.0
    if t > 1:
        bandwidth = _bandwidth(c, t, 1)
        sums = 6 if x.recompute == "full" else 4  # in a block: two a pass
        tensor = (
            sums * blocks * _all_reduce(nbytes, ranks=t, latency=c.latency, bandwidth=bandwidth)
        )
    if p > 1:
        link = c.near if c.cards <= c.cards_per_node else c.far
        part = nbytes / (t if x.sequence_parallel else 1)
        pipeline = 2 * (c.latency + part / link)
    if d > 1:
        bandwidth = _bandwidth(c, d, t)
        sent = _passes(d, x.stage) * BYTES * params / bandwidth
        if x.stage == 3:  # each block by itself, and hidden behind all of the computation
            gather = max(0.0, sent + 3 * (d - 1) * c.latency * blocks - compute)
        else:  # hidden behind the backward pass of the last micro-batch
            reduce = max(0.0, sent + 2 * (d - 1) * c.latency - compute * 2 / 3)
    return tensor, pipeline, gather, reduce


def _cost(m: ModelShape, c: Cluster, x: Layout, batch: int, flops: Any) -> LayoutCost:
    microbatches = batch // (x.data * x.micro_batch)
    params, states, activations, gathered = _memory(m, x, microbatches)
    tokens = x.micro_batch * m.seq_len
    one = flops.hardware * tokens / (x.tensor * x.pipeline * c.peak * c.efficiency)
    tensor, pipeline, gather, reduce = _waits(m, c, x, params, one)
    bubble = (x.pipeline - 1) * (one + tensor + pipeline)
    data = microbatches * gather + reduce
    time = microbatches * (one + tensor + pipeline) + bubble + data
    memory = states + activations + gathered
    return LayoutCost(
        layout=x,
        params=params,
        states=states,
        activations=activations,
        gathered=gathered,
        memory=memory,
        fits=memory <= c.memory,
        microbatches=microbatches,
        compute=microbatches * one,
        tensor_time=microbatches * tensor,
        pipeline_time=microbatches * pipeline,
        data_time=data,
        bubble=bubble,
        time=time,
        mfu=flops.model * batch * m.seq_len / (c.cards * c.peak * time),
    )


@lru_cache(maxsize=64)
def _flops(m: ModelShape, recompute: str) -> Any:
    return training_flops_per_token(
        transformer_params(m.num_layers, m.width, vocab_size=m.vocab_size),
        num_layers=m.num_layers,
        width=m.width,
        seq_len=m.seq_len,
        recompute=recompute,
    )


def layout_cost(
    model: ModelShape, cluster: Cluster, *, layout: Layout, global_batch: int
) -> LayoutCost:
    """Estimate memory and time of one way to lay training out.

    Parameters
    ----------
    model : ModelShape
    cluster : Cluster
    layout : Layout
        Its ranks multiply to the number of cards, and divide heads, layers and batch.
    global_batch : int
        Sequences in a step, of all ranks; `data` times `micro_batch` divides it.

    Returns
    -------
    LayoutCost

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds, or does not divide.

    Notes
    -----
    Memory: mixed-precision Adam (`memory_by_stage`), activations (`activation_bytes`) of as many
    micro-batches as the first stage of 1F1B holds, with stage 3 two gathered blocks. Left out:
    logits, buffers, fragments.

    Time, with m micro-batches and p stages: ``(m + p - 1) (compute + tensor + pipeline) + data``.
    Arithmetic runs at `efficiency` times the peak. Nothing hides the all-reduces of tensor
    parallelism, two in a block and pass, nor the messages between stages. Gradients are sent
    during the backward pass of the last micro-batch, stage 3's during all of them: only what is
    longer counts. The cards of a ring that are in one node share its way out.

    References
    ----------
    Narayanan et al. (2021), Efficient large-scale language model training on GPU clusters using
    Megatron-LM.
    Korthikanti et al. (2022), Reducing activation recomputation in large transformer models.

    Examples
    --------
    >>> gpt3 = ModelShape(96, 12288, 96, 51200, 2048)
    >>> cluster = Cluster(1024, 8, memory=80e9, peak=312e12, near=300e9, far=25e9)
    >>> cost = layout_cost(gpt3, cluster, layout=Layout(8, 16, 8), global_batch=1536)
    >>> f"{cost.memory / 1e9:.1f} GB, {cost.time:.1f} s, MFU {cost.mfu:.2f}"
    '18.2 GB, 21.6 s, MFU 0.49'
    """
    model, cluster = _model(model), _cluster(cluster)
    batch = integer(global_batch, "global_batch", low=1)
    layout = _layout(layout, model, cluster, batch)
    return _cost(model, cluster, layout, batch, _flops(model, layout.recompute))
