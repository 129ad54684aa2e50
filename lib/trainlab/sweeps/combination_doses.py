"""The pairs of `combinations` again, with half the strengths, where a quarter of labels is wrong.

A strength that is right for a technique alone may be too much beside another one. Only sets with a
technique that has a strength are here; the others are what they were.
"""

from __future__ import annotations

from typing import Any

from . import Sweep
from ._combined import train_combined
from .combination_strengths import NOISES, RATES, STRENGTHS, strengths
from .combinations import MORE, PAIRS, SEEDS, outcome

SHARE = 0.5
NOISE = NOISES[1]


def run(techniques: list[str]) -> dict[str, Any]:
    """Train with every strength halved but the learning rate; as `combinations.run`."""
    halved = {
        name: value * (1.0 if name in RATES else SHARE) for name, value in strengths(NOISE).items()
    }
    return outcome(train_combined(techniques, noise=NOISE, seeds=SEEDS, strengths=halved))


SWEEP = Sweep(
    run=run,
    grid=[
        {"techniques": list(chosen)}
        for chosen in (*PAIRS, *MORE)
        if set(chosen) & (STRENGTHS.keys() | {"dropout at the end"})
    ],
    rtol=0.02,  # training amplifies rounding
)
