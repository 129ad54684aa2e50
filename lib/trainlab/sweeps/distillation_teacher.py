"""What the teacher of `distillation_digits` thinks of digits that it has not seen.

Of each class two held-out digits are kept: of those that the teacher reads right, the one that it
is least sure of, and a typical one, whose margin over the second class is the median.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..distillation import soft_targets
from . import Sweep
from .distillation_digits import ALL, TEMPERATURES, held_out, teacher, teacher_logits


def run(temperatures: tuple[float, ...]) -> dict[str, Any]:
    """Return the logits of the kept digits, and the mean probabilities of each class.

    `rows` are places among the held-out digits, (10, 2): typical, least sure. `means` has the
    shape (temperatures, 10, 10): for each true class.
    """
    pixels, labels = held_out()
    logits = teacher_logits(teacher(tuple(range(ALL)), 0.0), pixels)
    ordered = np.sort(logits, axis=1)
    margins, right = ordered[:, -1] - ordered[:, -2], logits.argmax(axis=1) == labels
    rows = []
    for digit in range(10):
        own = np.flatnonzero(right & (labels == digit))
        own = own[np.argsort(margins[own])]
        rows.append([int(own[len(own) // 2]), int(own[0])])
    soft = [soft_targets(logits, temperature=t) for t in temperatures]
    means = [[s[labels == digit].mean(axis=0) for digit in range(10)] for s in soft]
    return {
        "rows": rows,
        "logits": logits[np.array(rows)].tolist(),
        "means": np.array(means).tolist(),
    }


SWEEP = Sweep(run=run, grid=[{"temperatures": TEMPERATURES}])
