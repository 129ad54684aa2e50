"""Contract cases of `trainlab.sharded_timeline`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from tests.trainlab.cases.communication_time import BAD_LINK, BAD_RANKS, LINK, NEGATIVE
from trainlab import sharded_timeline as T

CASES = [
    Case(
        T.sharded_timeline,
        lambda rng, dtype: {
            "unit_bytes": rng.uniform(1, 9, 4).astype(dtype),
            "forward": 1.0,
            "backward": 2.0,
            "ranks": 6,
            **LINK,
            "prefetch": 2,
        },
        {
            "unit_bytes": [[], [0.0], [-1.0, 2.0], [np.nan], 1.0, "1"],
            "forward": NEGATIVE,
            "backward": [0, *NEGATIVE],
            **BAD_RANKS,
            **BAD_LINK,
            "prefetch": [-1, 1.5, None],
        },
        keeps_dtype=False,
    ),
]
