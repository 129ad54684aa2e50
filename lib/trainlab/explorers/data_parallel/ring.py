"""A ring all-reduce, step by step: which chunk goes where, and what each rank has sent by then."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from explorables import Explorer, Quantity, Readout, Steps, format_number
from explorables.style import boxes, panel_label
from trainlab.collectives import ring_all_reduce
from trainlab.explorers import palette

Array = NDArray[Any]

MOST, LAST = 8, 14  # ranks; steps of eight ranks


@dataclass(frozen=True)
class Ring:
    """How many ranks' terms are in each chunk, and what moved in the last step."""

    ranks: int
    step: int  # steps made, at most 2(N - 1)
    terms: Array  # (rank, chunk): number of ranks added up in it
    moved: Array  # (N, 3): source, target, chunk; empty before the first step
    sent: Array  # (LAST + 1,): bytes that one rank has sent by a step, 1 = its array


@lru_cache(maxsize=MOST)
def _course(ranks: int) -> tuple[Array, Array, Array]:
    """Terms after each step, the messages of each step, and what was sent by then."""
    arrays = np.zeros((ranks, ranks))  # one number in each chunk
    _, messages = ring_all_reduce(arrays)
    holds = np.zeros((ranks, ranks, ranks), bool)  # rank, chunk, whose term is in it
    holds[np.arange(ranks), :, np.arange(ranks)] = True
    terms, moved = [holds.sum(axis=2)], []
    for step in range(2 * (ranks - 1)):
        now = messages.step == step
        source, target = messages.source[now], messages.target[now]
        chunk = (source - 1 - step) % ranks  # in both phases: see trainlab.collectives
        before = holds.copy()  # all send at the same time
        holds[target, chunk] |= before[source, chunk]
        terms.append(holds.sum(axis=2))
        moved.append(np.stack([source, target, chunk], axis=1))
    mine = messages.source == 0
    steps = messages.step[mine].astype(np.intp)  # 32 bits wide in the browser
    by_step = np.bincount(steps, messages.nbytes[mine], minlength=LAST)
    sent = np.concatenate([[0], np.cumsum(by_step)]) / arrays[0].nbytes
    return np.array(terms), np.array(moved), sent


def _compute(ranks: int, step: int) -> Ring:
    terms, moved, sent = _course(int(ranks))
    made = min(int(step), len(moved))
    last = moved[made - 1] if made else np.zeros((0, 3), np.int64)
    return Ring(int(ranks), made, terms[made], last, sent)


def _boxes(corners: Array) -> Path:
    """One path of rectangles, given as rows of left, bottom, width, height."""
    x, y, w, h = corners.reshape(-1, 4).T
    return boxes(x, x + w, y, y + h)


def _arrows(ranks: int, going: bool) -> Path:
    """Arcs from each rank to the next, with heads."""
    if not going:
        return Path(np.zeros((1, 2)), [Path.MOVETO])
    radius, gap = 0.66, 0.2 * 2 * math.pi / ranks
    points, codes = [], []
    for r in range(ranks):
        turn = np.linspace(2 * math.pi * r / ranks + gap, 2 * math.pi * (r + 1) / ranks - gap, 7)
        arc = radius * np.stack([np.sin(turn), np.cos(turn)], axis=1)
        along = np.array([np.cos(turn[-1]), -np.sin(turn[-1])])
        out = np.array([np.sin(turn[-1]), np.cos(turn[-1])])
        head = [arc[-1] - 0.09 * along + 0.07 * out, arc[-1], arc[-1] - 0.09 * along - 0.07 * out]
        points += [*arc, *head]
        codes += [Path.MOVETO] + [Path.LINETO] * 6 + [Path.MOVETO] + [Path.LINETO] * 2
    return Path(np.array(points), codes)


def _draw(left: Figure, right: Figure) -> dict[str, Any]:
    ax = left.subplots()
    panel_label(ax, "What each rank holds")
    ax.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.36), aspect="equal")
    ax.axis("off")
    none = Path(np.zeros((1, 2)), [Path.MOVETO])
    paths = {
        "empty": PathPatch(none, facecolor=palette.GRID),
        "part": PathPatch(none, facecolor=palette.BACKWARD),
        "done": PathPatch(none, facecolor=palette.FORWARD),
        "frame": PathPatch(none, facecolor="none", edgecolor=palette.HIGHLIGHT, lw=2),
        "arrows": PathPatch(none, facecolor="none", edgecolor=palette.MUTED, lw=1.4),
    }
    for patch in paths.values():
        ax.add_patch(patch)
    names = [ax.text(0, 0, "", ha="center", color=palette.MUTED) for _ in range(MOST)]
    phase = ax.text(0, 0.02, "", ha="center", fontweight="bold")
    count = ax.text(0, -0.16, "", ha="center", color=palette.MUTED)

    ax = right.subplots()
    panel_label(ax, "Sent by one rank, in sizes of its array")
    ax.set(xlim=(0, LAST + 0.4), ylim=(0, 2.35), xlabel="step", xticks=range(0, LAST + 1, 2))
    ax.plot([0, LAST + 0.4], [2, 2], color=palette.THEORY, lw=1.4, ls="--")
    ax.text(0.2, 2.07, "2: the limit for many ranks", color=palette.THEORY)
    for ranks in (2, 4):
        ax.plot(range(LAST + 1), _course(ranks)[2], color=palette.GRID, lw=1.6)
        ax.text(LAST + 0.3, _course(ranks)[2][-1] - 0.13, f"{ranks} ranks", ha="right",
                color=palette.MUTED)  # fmt: skip
    (whole,) = ax.plot([], [], color=palette.MUTED, lw=1.4, ls=":")
    (part,) = ax.plot([], [], color=palette.BACKWARD, lw=2.6)
    (done,) = ax.plot([], [], color=palette.FORWARD, lw=2.6)
    (here,) = ax.plot([], [], "o", color=palette.HIGHLIGHT, ms=9)
    ax.text(LAST + 0.3, 0.32, "reduce-scatter", color=palette.BACKWARD, ha="right", weight="bold")
    ax.text(LAST + 0.3, 0.14, "all-gather", color=palette.FORWARD, ha="right", weight="bold")
    return {
        **paths, "names": names, "phase": phase, "count": count,
        "whole": whole, "sent": part, "copied": done, "here": here,
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Ring) -> None:
    n = data.ranks
    turn = 2 * np.pi * np.arange(n) / n
    width, height = min(0.16, 0.74 / n), 0.26
    left = 1.06 * np.sin(turn) - width * n / 2
    bottom = 1.15 * np.cos(turn) - height / 2
    corner = np.empty((n, n, 4))  # (rank, chunk) of left, bottom, width, height
    corner[:, :, 0] = left[:, None] + width * np.arange(n)
    corner[:, :, 1] = bottom[:, None]
    corner[:, :, 2:] = 0.86 * width, height
    filled = corner.copy()
    filled[:, :, 3] *= data.terms / n
    whole = data.terms == n
    artists["empty"].set_path(_boxes(corner.reshape(-1, 4)))
    artists["part"].set_path(_boxes(filled[~whole]))
    artists["done"].set_path(_boxes(filled[whole]))
    artists["frame"].set_path(_boxes(corner[data.moved[:, 1], data.moved[:, 2]]))
    artists["arrows"].set_path(_arrows(n, len(data.moved) > 0))
    for r, name in enumerate(artists["names"]):
        name.set_text(f"rank {r}" if r < n else "")
        if r < n:
            name.set_position((1.06 * math.sin(turn[r]), bottom[r] - 0.15))
    names = ("before", "reduce-scatter", "all-gather", "finished")
    artists["phase"].set_text(names[_phase(data)])
    artists["count"].set_text(f"step {data.step} of {2 * (n - 1)}")
    steps = np.arange(len(data.sent))
    artists["whole"].set_data(steps, data.sent)
    turned = min(data.step, n - 1) + 1
    artists["sent"].set_data(steps[:turned], data.sent[:turned])
    artists["copied"].set_data(
        steps[turned - 1 : data.step + 1], data.sent[turned - 1 : data.step + 1]
    )
    artists["here"].set_data([data.step], [data.sent[data.step]])


def _phase(data: Ring) -> int:
    """0 before, 1 reduce-scatter, 2 all-gather, 3 finished."""
    if data.step == 2 * (data.ranks - 1):
        return 3
    return 0 if data.step == 0 else 1 if data.step <= data.ranks - 1 else 2


def _readout(data: Ring) -> Readout:
    n, done = data.ranks, int((data.terms[0] == data.ranks).sum())
    sent = float(data.sent[data.step])
    seen = (
        "each has its own array and nothing else.",
        f"each has {done} of {n} chunks complete; the others are sums of some ranks only."
        if done
        else f"no chunk is complete; the longest sum has {int(data.terms.max())} of {n} terms.",
        f"each has {done} of {n} chunks complete, and now they are only copied.",
        "all have the same sum of all arrays.",
    )[_phase(data)]
    return Readout(
        {
            "Step": data.step,
            "Steps in all": 2 * (n - 1),
            "Chunks complete on a rank": done,
            "Sent by a rank, in arrays": Quantity(sent, digits=4),
            "Sent in the end, in arrays": Quantity(2 * (n - 1) / n, digits=4),
            "A center would send, in arrays": n - 1,
        },
        f"After {data.step} of {2 * (n - 1)} steps each of {n} ranks has sent "
        f"{format_number(sent, 3)} times the size of its array, and {seen}",
    )


ring = Explorer(
    name="data_parallel.ring",
    title="A ring all-reduce, step by step",
    caption="Left: the array of each rank, cut into as many chunks as there are ranks. The height "
    "of the colored part says how many ranks are added up in it; green: all of them. Framed: "
    "what just arrived. In every step all ranks send one chunk to the next. Right: what one rank "
    "has sent by then; dotted: what is to come. With fewer ranks the ring is finished earlier.",
    controls=(
        Steps("step", "Steps made", tuple(range(LAST + 1)), 7),
        Steps("ranks", "Ranks N", (2, 3, 4, 6, 8), 8, between="whole"),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((345, 330), (345, 330)),
)
