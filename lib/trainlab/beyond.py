"""Beyond data parallelism: which combination of techniques fits, and which is fastest.

The techniques have modules of their own: `trainlab.checkpointing` keeps fewer activations,
`trainlab.pipeline` puts layers on different ranks, `trainlab.tensor_parallel` cuts layers and
tokens. `trainlab.training_flops` counts the work, and `trainlab.layout` says what one combination
takes in memory and time. Here all combinations are tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ._checks import integer
from .layout import (
    Cluster,
    Layout,
    LayoutCost,
    ModelShape,
    _cluster,
    _cost,
    _flops,
    _memory,
    _model,
)
from .training_flops import RECOMPUTE

__all__ = ["plan_layouts"]


def _candidates(m: ModelShape, c: Cluster, batch: int) -> Iterator[Layout]:
    """All layouts that divide, the simplest first."""
    for t, p in itertools.product(range(1, c.cards_per_node + 1), range(1, m.num_layers + 1)):
        if m.num_heads % t or m.seq_len % t or m.num_layers % p or c.cards % (t * p):
            continue
        d = c.cards // (t * p)
        stages = (0,) if d == 1 else (0, 1, 2, 3) if p == 1 else (0, 1)
        for b, stage, recompute in itertools.product((1, 2, 4, 8), stages, RECOMPUTE):
            if batch % (d * b) == 0:
                yield Layout(t, p, d, b, stage, recompute, t > 1)


def plan_layouts(
    model: ModelShape, cluster: Cluster, *, global_batch: int, most: int = 5
) -> list[LayoutCost]:
    """Try all layouts and list the fastest of those that fit.

    Parameters
    ----------
    model : ModelShape
    cluster : Cluster
    global_batch : int
        Sequences in a step, of all ranks.
    most : int
        Length of the list, >= 1.

    Returns
    -------
    list of LayoutCost
        The fastest first; the simpler one, where two are equally fast. Empty if none fits.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of these kinds.

    Notes
    -----
    Tried are tensor parallel ranks within a node, with sequence parallelism; stages that divide
    the layers; 1, 2, 4 or 8 sequences a micro-batch; all stages of sharding and all kinds of
    recomputation. Estimates of a few percent's difference decide nothing: see `layout_cost`.

    Examples
    --------
    >>> model = ModelShape(32, 4096, 32, 32000, 2048)  # 6.6 billion parameters
    >>> cluster = Cluster(8, 8, memory=80e9, peak=312e12, near=300e9, far=25e9)
    >>> plan_layouts(model, cluster, global_batch=64)[0].layout[:6]
    (1, 1, 8, 1, 1, 'none')
    """
    model, cluster = _model(model), _cluster(cluster)
    batch = integer(global_batch, "global_batch", low=1)
    most = integer(most, "most", low=1)
    flops = {recompute: _flops(model, recompute) for recompute in RECOMPUTE}
    work = batch * model.seq_len / (cluster.cards * cluster.peak * cluster.efficiency)
    alone = {recompute: flops[recompute].hardware * work for recompute in RECOMPUTE}
    best: list[LayoutCost] = []
    for layout in _candidates(model, cluster, batch):
        microbatches = batch // (layout.data * layout.micro_batch)
        # No layout is faster than its arithmetic and its bubble.
        least = alone[layout.recompute] * (microbatches + layout.pipeline - 1) / microbatches
        if len(best) == most and least >= best[-1].time:
            continue
        if sum(_memory(model, layout, microbatches)[1:]) <= cluster.memory:
            cost = _cost(model, cluster, layout, batch, flops[layout.recompute])
            if len(best) < most or cost.time < best[-1].time:
                best = sorted([*best, cost], key=lambda c: c.time)[:most]
    return best
