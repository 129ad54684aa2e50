"""A state as it is shown: what moves in the picture, the sentence, the numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .explorer import Explorer, State

if TYPE_CHECKING:  # drawing needs matplotlib, an HTML picture does without
    from .picture import Picture

__all__ = ["Shown", "show_state"]


@dataclass(frozen=True)
class Shown:
    """What stands in the page for a state: moving parts, sentence, (label, number, text) rows."""

    state: State
    parts: list[str]
    sentence: str
    rows: list[tuple[str, float, str]]

    def stored(self) -> list[Any]:
        """Return what the script of a page needs to show it; it has the labels already."""
        return [self.parts, self.sentence, [[repr(number), text] for _, number, text in self.rows]]


def show_state(explorer: Explorer, picture: Picture, state: State) -> Shown:
    """Compute a state, draw what moves and say what is seen.

    Raises
    ------
    RuntimeError
        When the explorer fails; names it and the state.
    """
    try:
        data = explorer.run(**state)
        parts = picture.parts(data)
        readout = explorer.readout(data)
        rows = readout.rows()
    except Exception as error:
        raise RuntimeError(
            f"explorer {explorer.name} failed in the state {json.dumps(state)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return Shown(state, parts, readout.sentence, rows)
