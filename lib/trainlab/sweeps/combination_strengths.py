"""How strong each technique of `combinations` is made: several values, each tried alone.

The choice is by validation loss at the end of training, on splits of the digits that
`combinations` does not use. Learning rates are chosen with the right labels, everything else once
for the right labels and once for labels of which a quarter is wrong.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from . import Sweep, stored
from ._combined import train_combined

SEEDS = (100, 101, 102, 103, 104)
NOISES = (0.0, 0.25)
RATES = {"SGD": (0.003, 0.01, 0.03), "Adam": (0.0003, 0.001, 0.003)}
STRENGTHS: dict[str, tuple[float, ...]] = {
    "dropout": (0.1, 0.2, 0.3, 0.5),
    "weight decay": (0.001, 0.003, 0.01, 0.03),
    "L1": (0.0001, 0.0003, 0.001, 0.003),
    "label smoothing": (0.03, 0.1, 0.3, 0.6),
    "mixup": (0.1, 0.5, 2.0, 8.0),
    "L2": (0.01, 0.03, 0.1, 0.3),
    "L2 with Adam": (0.003, 0.01, 0.03, 0.1),
}
USED = {"SGD": [], "Adam": ["Adam"], "L2 with Adam": ["Adam", "L2"]}
CHOSEN_RATES = {"SGD": 0.01, "Adam": 0.001}  # by the first runs; the others use them


def run(technique: str, value: float, noise: float) -> dict[str, Any]:
    """Train with one technique alone; return the mean validation loss over the seeds."""
    strengths = {name: values[0] for name, values in STRENGTHS.items()} | CHOSEN_RATES
    strengths[technique] = value
    used = USED.get(technique, [technique])
    made = train_combined(used, noise=noise, seeds=SEEDS, strengths=strengths)
    return {"validation": float(made.validation.mean())}


SWEEP = Sweep(
    run=run,
    grid=[
        {"technique": technique, "value": value, "noise": noise}
        for technique, values in (RATES | STRENGTHS).items()
        for value in values
        for noise in (NOISES if technique in STRENGTHS else NOISES[:1])
    ],
    rtol=0.01,  # training amplifies rounding
)


@cache
def strengths(noise: float) -> dict[str, float]:
    """Return the values with the smallest validation loss."""
    runs = stored("combination_strengths")
    chosen = {}
    for technique in RATES | STRENGTHS:
        found = [r for r in runs if r["technique"] == technique]
        own = [r for r in found if r["noise"] == noise] or found
        chosen[technique] = float(min(own, key=lambda r: r["validation"])["value"])
    return chosen
