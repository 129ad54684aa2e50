"""Contract cases of checkpointing, pipelines, tensor parallelism, FLOPs and layouts."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from tests.trainlab.cases.data_parallel import NO_FUNCTION
from trainlab import beyond as B
from trainlab import checkpointing as K
from trainlab import layout as L
from trainlab import pipeline as P
from trainlab import tensor_parallel as T
from trainlab import training_flops as F
from trainlab.mlp import mlp_init

COUNT = [0, -1, 1.5, "2", None, True]
POSITIVE = [0.0, -1.0, np.nan, np.inf, "1", None]
NEGATIVE = [-1.0, np.nan, np.inf, "1", None]
NO_CHOICE = ["all", None, 1]
NO_BOOL = ["yes", None, 2]

SHAPE = L.ModelShape(8, 64, 4, 100, 32)
CLUSTER = L.Cluster(16, 8, memory=80e9, peak=312e12, near=300e9, far=25e9)
BAD_SHAPES = [
    None,
    (8, 64, 4, 100, 32),
    SHAPE._replace(num_layers=0),
    SHAPE._replace(width=-64),
    SHAPE._replace(num_heads=3),
    SHAPE._replace(vocab_size=1.5),
    SHAPE._replace(seq_len=0),
]
BAD_CLUSTERS = [
    None,
    CLUSTER._replace(cards=0),
    CLUSTER._replace(cards_per_node=0),
    CLUSTER._replace(cards_per_node=3),
    CLUSTER._replace(memory=0),
    CLUSTER._replace(peak=np.nan),
    CLUSTER._replace(near=0.0),
    CLUSTER._replace(far=-1.0),
    CLUSTER._replace(latency=-1.0),
    CLUSTER._replace(efficiency=0.0),
    CLUSTER._replace(efficiency=1.1),
]
LAYOUT = L.Layout(2, 2, 4)
BAD_LAYOUTS = [
    None,
    L.Layout(0, 2, 4),
    L.Layout(2, 0, 4),
    L.Layout(2, 2, 0),
    L.Layout(2, 2, 2),
    L.Layout(8, 1, 2),
    L.Layout(1, 16, 1),
    L.Layout(2, 2, 4, micro_batch=0),
    L.Layout(2, 2, 4, micro_batch=3),
    L.Layout(2, 2, 4, stage=4),
    L.Layout(2, 2, 4, stage=2),
    L.Layout(2, 2, 4, recompute="some"),
    L.Layout(2, 2, 4, sequence_parallel=2),
]


def _layer(rng, dtype, out=4, into=6):
    return {
        "weight": rng.random((out, into)).astype(dtype),
        "bias": rng.random(out).astype(dtype),
    }


BAD_LAYERS = [
    None,
    np.ones((4, 6)),
    {"weight": np.ones((4, 6))},
    {"weight": np.ones((4, 6)), "bias": np.ones(6)},
    {"weight": np.ones(6), "bias": np.ones(6)},
]


def _shards(rng, dtype):
    return T.column_shards(_layer(rng, dtype), ranks=2)


def _mlp(rng, dtype):
    layers = mlp_init((3, 8, 2), rng=rng, dtype=dtype)
    return {
        "layers": layers,
        "x": rng.random((4, 3)).astype(dtype),
        "ranks": 2,
        "cotangent": rng.random((4, 2)).astype(dtype),
    }


def _apply(params, x, unit):
    return params * x


CASES = [
    Case(
        K.segment_lengths,
        lambda rng, dtype: {"num_layers": 10, "segments": 4},
        {"num_layers": COUNT, "segments": [11, *COUNT]},
        keeps_dtype=False,
    ),
    Case(
        K.checkpoint_cost,
        lambda rng, dtype: {"num_layers": 10, "segments": 4},
        {
            "num_layers": COUNT,
            "segments": [11, *COUNT],
            "inside": NEGATIVE,
            "backward": POSITIVE,
        },
        keeps_dtype=False,
    ),
    Case(
        K.checkpoint_timeline,
        lambda rng, dtype: {"num_layers": 10, "segments": 4},
        {
            "num_layers": COUNT,
            "segments": [11, *COUNT],
            "inside": NEGATIVE,
            "backward": POSITIVE,
        },
        keeps_dtype=False,
    ),
    Case(
        K.best_segments,
        lambda rng, dtype: {"num_layers": 10},
        {"num_layers": COUNT, "inside": NEGATIVE},
        keeps_dtype=False,
    ),
    Case(
        K.checkpointed_grad,
        lambda rng, dtype: {
            "layers": [rng.random(3).astype(dtype) for _ in range(4)],
            "x": rng.random(3).astype(dtype),
            "apply": _apply,
            "loss": lambda y: y[0],
            "segments": 2,
        },
        {
            "layers": [None, [], np.ones(3), ["text"]],
            "x": ["text", None, np.array([np.nan])],
            "apply": NO_FUNCTION,
            "loss": NO_FUNCTION,
            "segments": [5, *COUNT],
        },
    ),
    Case(
        P.bubble_fraction,
        lambda rng, dtype: {"stages": 4, "microbatches": 8},
        {"stages": COUNT, "microbatches": COUNT},
        keeps_dtype=False,
    ),
    Case(
        P.pipeline_order,
        lambda rng, dtype: {"stages": 4, "microbatches": 8, "schedule": "1f1b"},
        {"stages": COUNT, "microbatches": COUNT, "schedule": NO_CHOICE},
        keeps_dtype=False,
    ),
    Case(
        P.pipeline_run,
        lambda rng, dtype: {"stages": 4, "microbatches": 8, "schedule": "1f1b"},
        {
            "stages": COUNT,
            "microbatches": COUNT,
            "schedule": NO_CHOICE,
            "forward": [0.0, [1.0, 1.0], [1.0, 1.0, 1.0, -1.0], np.nan, "1", None],
            "backward": [0.0, [1.0, 1.0], [1.0, 1.0, 1.0, -1.0], np.nan, "1", None],
            "transfer": NEGATIVE,
        },
        keeps_dtype=False,
    ),
    Case(
        T.column_shards,
        lambda rng, dtype: {"layer": _layer(rng, dtype), "ranks": 2},
        {"layer": BAD_LAYERS, "ranks": [1, 3, *COUNT]},
    ),
    Case(
        T.row_shards,
        lambda rng, dtype: {"layer": _layer(rng, dtype), "ranks": 3},
        {"layer": BAD_LAYERS, "ranks": [1, 4, *COUNT]},
    ),
    Case(
        T.column_parallel_linear,
        lambda rng, dtype: {"x": rng.random((5, 6)).astype(dtype), "shards": _shards(rng, dtype)},
        {
            "x": [np.ones(6), np.ones((5, 7)), np.full((5, 6), np.nan), None],
            "shards": [None, [], [BAD_LAYERS[0]] * 2, _shards(np.random.default_rng(0), float)[:1]],
        },
    ),
    Case(
        T.row_parallel_linear,
        lambda rng, dtype: {
            "parts": [rng.random((5, 3)).astype(dtype) for _ in range(2)],
            "shards": T.row_shards(_layer(rng, dtype), ranks=2),
        },
        {
            "parts": [None, [np.ones((5, 3))], [np.ones((5, 2))] * 2, [np.ones(3)] * 2],
            "shards": [None, [], BAD_LAYERS[:1] * 2, BAD_LAYERS[1:3]],
        },
    ),
    Case(
        T.tensor_parallel_mlp,
        _mlp,
        {
            "layers": [
                None,
                mlp_init((3, 8), rng=np.random.default_rng(0)),
                [BAD_LAYERS[3]] * 2,
                [_layer(np.random.default_rng(0), float, 8, 3)] * 2,
            ],
            "x": [np.ones(3), np.ones((4, 5)), np.full((4, 3), np.nan), None],
            "ranks": [1, 3, *COUNT],
            "cotangent": [np.ones((4, 3)), np.ones((3, 2)), np.full((4, 2), np.inf), None],
            "activation": NO_FUNCTION,
            "sequence_parallel": NO_BOOL,
        },
    ),
    Case(
        F.transformer_params,
        lambda rng, dtype: {"num_layers": 4, "width": 64},
        {"num_layers": COUNT, "width": COUNT, "vocab_size": [-1, 1.5, None]},
        keeps_dtype=False,
    ),
    Case(
        F.training_flops_per_token,
        lambda rng, dtype: {"num_params": 7e9, "num_layers": 32, "width": 4096, "seq_len": 2048},
        {
            "num_params": POSITIVE,
            "num_layers": COUNT,
            "width": COUNT,
            "seq_len": COUNT,
            "recompute": NO_CHOICE,
            "causal": NO_BOOL,
        },
        keeps_dtype=False,
    ),
    Case(
        F.utilization,
        lambda rng, dtype: {
            "tokens_per_second": 1e3,
            "flops": F.training_flops_per_token(1e9, num_layers=4, width=64, seq_len=8),
            "cards": 8,
            "peak": 1e14,
        },
        {
            "tokens_per_second": [1e9, *POSITIVE],
            "flops": [None, 6e9],
            "cards": COUNT,
            "peak": POSITIVE,
        },
        keeps_dtype=False,
    ),
    Case(
        L.activation_bytes,
        lambda rng, dtype: {"model": SHAPE, "micro_batch": 2},
        {
            "model": BAD_SHAPES,
            "micro_batch": COUNT,
            "tensor": [3, *COUNT],
            "recompute": NO_CHOICE,
            "sequence_parallel": NO_BOOL,
        },
        keeps_dtype=False,
    ),
    Case(
        L.layout_cost,
        lambda rng, dtype: {
            "model": SHAPE,
            "cluster": CLUSTER,
            "layout": LAYOUT,
            "global_batch": 64,
        },
        {
            "model": BAD_SHAPES,
            "cluster": BAD_CLUSTERS,
            "layout": BAD_LAYOUTS,
            "global_batch": COUNT,
        },
        keeps_dtype=False,
    ),
    Case(
        B.plan_layouts,
        lambda rng, dtype: {"model": SHAPE, "cluster": CLUSTER, "global_batch": 64},
        {"model": BAD_SHAPES, "cluster": BAD_CLUSTERS, "global_batch": COUNT, "most": COUNT},
        keeps_dtype=False,
    ),
]
