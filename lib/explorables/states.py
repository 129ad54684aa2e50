"""Compute every state of an explorer ahead of time, within budgets.

The budgets are checked on a sample first, so that an explorer that is too large fails at once,
with the name of the control to shrink.
"""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import dataclass

from .explorer import Explorer
from .picture import Picture, picture_of, styled
from .shown import Shown, show_state

__all__ = ["MAX_BYTES", "MAX_SECONDS", "MAX_STATES", "Baked", "BudgetError", "bake"]

MAX_STATES = 600
MAX_BYTES = 120_000  # gzip, all stored states of an explorer
MAX_SECONDS = 10.0  # processor time, so that a busy machine does not fail a build
_SAMPLE = 6


class BudgetError(ValueError):
    """An explorer that would be too large or too slow."""


@dataclass(frozen=True)
class Baked:
    """A pre-computed explorer: its picture, the default state, all states, what they cost."""

    explorer: Explorer
    picture: Picture
    default: Shown
    payload: str
    seconds: float

    @property
    def gzipped(self) -> int:
        """Bytes that a reader's browser transfers for the stored states."""
        return len(gzip.compress(self.payload.encode(), 6))


def _too_much(explorer: Explorer, what: str) -> BudgetError:
    largest = max(explorer.stored, key=lambda c: len(c.values))
    return BudgetError(
        f"explorer {explorer.name}: {what}; shrink the control {largest.name!r}, "
        f"which has {len(largest.values)} of the {explorer.count()} states' values"
    )


def bake(explorer: Explorer) -> Baked:
    """Pre-compute all states of an explorer.

    Raises
    ------
    BudgetError
        When there are more than 600 states, more than 120 kB of them (gzip), or when computing
        them would take more than 10 s.
    RuntimeError
        When a state fails.
    """
    count = explorer.count()
    if count > MAX_STATES:
        raise _too_much(explorer, f"{count} states, at most {MAX_STATES} are allowed")
    picture = picture_of(explorer)
    states = list(explorer.states())
    default = show_state(explorer, picture, explorer.defaults)  # also warms what is cached

    start = time.process_time()
    step = max(count // _SAMPLE, 1)
    with styled():
        done = {i: show_state(explorer, picture, states[i]) for i in range(0, count, step)}
        estimate = (time.process_time() - start) / len(done) * count
        if estimate > MAX_SECONDS:
            raise _too_much(
                explorer,
                f"about {estimate:.0f} s of computing, at most {MAX_SECONDS:.0f} s are allowed",
            )
        for i, state in enumerate(states):
            if i not in done:
                done[i] = show_state(explorer, picture, state)
    payload = {
        "controls": [[c.name, list(c.values)] for c in explorer.stored],
        "live": {
            "module": explorer.compute.__module__,
            "layout": picture.layout,
            "draws": picture.kind == "svg",
        },
        "states": [done[i].stored() for i in range(count)],
    }
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    baked = Baked(explorer, picture, default, text, time.process_time() - start)
    if baked.gzipped > MAX_BYTES:
        raise _too_much(
            explorer,
            f"{baked.gzipped / 1000:.0f} kB of stored states (gzip), "
            f"at most {MAX_BYTES // 1000} kB are allowed",
        )
    return baked
