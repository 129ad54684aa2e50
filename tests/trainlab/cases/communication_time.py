"""Contract cases of `trainlab.communication_time`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from tests.trainlab.cases.collectives import MESSAGES
from trainlab import communication_time as T

NEGATIVE = [-1.0, np.nan, np.inf, "1", None]
LINK = {"latency": 5e-6, "bandwidth": 50e9}
BAD_LINK = {"latency": NEGATIVE, "bandwidth": [0, *NEGATIVE]}
BAD_RANKS = {"ranks": [1, 0, -2, 2.0, None]}
BAD_ALGORITHM = {"algorithm": ["star", None]}
STEP = {"forward": 1.0, "backward": 2.0, "ranks": 6, **LINK}

CASES = [
    Case(
        T.message_time,
        lambda rng, dtype: {"messages": MESSAGES, **LINK},
        {"messages": [None, 3.0], **BAD_LINK},
        keeps_dtype=False,
    ),
    Case(
        T.all_reduce_time,
        lambda rng, dtype: {"nbytes": 1e6, "ranks": 6, **LINK, "algorithm": "tree"},
        {"nbytes": NEGATIVE, **BAD_RANKS, **BAD_LINK, **BAD_ALGORITHM},
        keeps_dtype=False,
        extreme=[lambda rng, dtype: {"nbytes": 0, "ranks": 10**6, "latency": 0, "bandwidth": 1}],
    ),
    Case(
        T.all_reduce_time,
        lambda rng, dtype: {"nbytes": 1e6, "ranks": 8, **LINK, "algorithm": "halving-doubling"},
        {"nbytes": NEGATIVE, "ranks": [1, 6, 12], **BAD_LINK, **BAD_ALGORITHM},
        keeps_dtype=False,
    ),
    Case(
        T.ring_tree_crossover,
        lambda rng, dtype: {"ranks": 8, **LINK},
        {**BAD_RANKS, **BAD_LINK},
        keeps_dtype=False,
    ),
    Case(
        T.overlapped_step,
        lambda rng, dtype: {"bucket_bytes": rng.uniform(1, 9, 4).astype(dtype), **STEP},
        {
            "bucket_bytes": [[], [0.0], [-1.0, 2.0], [np.nan], 1.0, "1"],
            "forward": NEGATIVE,
            "backward": [0, *NEGATIVE],
            **BAD_RANKS,
            **BAD_LINK,
            **BAD_ALGORITHM,
            "overlap": [None, "yes"],
        },
        keeps_dtype=False,
    ),
]
