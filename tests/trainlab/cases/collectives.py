"""Contract cases of `trainlab.collectives`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import collectives as C

NO_RANKS = [
    [],
    np.ones((0, 4)),
    [np.ones(4)],
    np.ones((1, 4)),
    1.0,
    None,
    "ranks",
    [np.ones(4), "text"],
    [np.ones(4), np.ones(4, np.float32)],
]
UNLIKE = [*NO_RANKS, [np.ones(4), np.ones(3)], [np.ones(4), np.ones((2, 2))]]
MESSAGES = C.Messages(*np.array([[0, 0], [0, 1], [1, 2], [8, 16]]))


def _values(rng, dtype):
    return {"values": rng.standard_normal((3, 4, 2)).astype(dtype)}


def _huge(rng, dtype):
    return {"values": 1e300 * rng.uniform(-1, 1, (3, 7))}


def _empty(rng, dtype):
    return {"values": np.zeros((3, 0))}


EXTREME = [_huge, _empty]

CASES = [
    Case(C.reduce_scatter, _values, {"values": UNLIKE}, extreme=EXTREME),
    Case(
        C.all_gather,
        lambda rng, dtype: {"values": [rng.random(n).astype(dtype) for n in (3, 0, 2)]},
        {"values": [*NO_RANKS, [np.ones(4), np.ones((2, 2))]]},
        extreme=EXTREME,
    ),
    Case(C.ring_all_reduce, _values, {"values": UNLIKE}, shape_of="values", extreme=EXTREME),
    Case(C.tree_all_reduce, _values, {"values": UNLIKE}, shape_of="values", extreme=EXTREME),
    Case(
        C.broadcast,
        lambda rng, dtype: {**_values(rng, dtype), "root": 2},
        {"values": UNLIKE, "root": [-1, 3, 1.0, None]},
        shape_of="values",
        extreme=EXTREME,
    ),
    *[
        Case(
            count,
            lambda rng, dtype: {"messages": MESSAGES, "ranks": 3},
            {"messages": [None, (1, 2), []], "ranks": [2, 0, -1, 3.0, None]},
            keeps_dtype=False,
        )
        for count in (C.bytes_sent, C.bytes_received)
    ],
]
