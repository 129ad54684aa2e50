"""One loss, three ways to compute it, and the logit from which each of them breaks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Steps, format_number
from trainlab.formats import BF16, FP16, FP32, round_to

Array = NDArray[np.float64]
Rounding = Callable[[Any], Array]

DOUBLE = "FP64"
FORMATS = {DOUBLE: None, "FP32": FP32, "BF16": BF16, "FP16": FP16}
WAYS = ("naive", "shifted", "direct")
HEADS = {
    "naive": "exp, sum, divide, log",
    "shifted": "subtract the largest first",
    "direct": "log-sum-exp: no division, no p",
}


@dataclass(frozen=True)
class Way:
    """What one way of computing meets: all in the format."""

    exponentials: Array
    total: float
    p: Array | None
    right: float  # loss if the class of the large logit is true
    wrong: float  # loss if another one is


@dataclass(frozen=True)
class Stability:
    """The three ways for the logits (size, 0, 0)."""

    format: str
    size: float
    ways: dict[str, Way]
    right: float
    wrong: float
    overflow: float
    underflow: float


def _rounding(name: str) -> Rounding:
    fmt = FORMATS[name]
    return np.asarray if fmt is None else lambda x: np.asarray(round_to(np.asarray(x), fmt))


def _with_softmax(z: Array, shift: float, r: Rounding) -> Way:
    e = r(np.exp(r(z - shift)))
    total = float(r(e.sum()))
    p = r(e / total)
    losses = r(-np.log(p))
    return Way(e, total, p, float(losses[0]) + 0, float(losses[1]))


def _with_log_sum_exp(z: Array, shift: float, r: Rounding) -> Way:
    e = r(np.exp(r(z - shift)))
    total = float(r(e.sum()))
    losses = r(r(np.log(total)) - r(z - shift))
    return Way(e, total, None, float(losses[0]), float(losses[1]))


def _limits(name: str) -> tuple[float, float]:
    """Logits from which exp(z) overflows, and from which exp(-z) is 0."""
    fmt = FORMATS[name]
    if fmt is None:
        return math.log(float(np.finfo(np.float64).max)), 1075 * math.log(2)
    # exp(-z) rounds to 0 from half the smallest number on
    return math.log(fmt.max), -math.log(fmt.min_subnormal / 2)


def _compute(format: str, size: float) -> Stability:
    r = _rounding(format)
    z = r(np.array([size, 0.0, 0.0]))
    largest = float(z.max())
    with np.errstate(all="ignore"):
        ways = {
            "naive": _with_softmax(z, 0.0, r),
            "shifted": _with_softmax(z, largest, r),
            "direct": _with_log_sum_exp(z, largest, r),
        }
    rest = math.log1p(2 * math.exp(-size))
    return Stability(format, size, ways, rest, size + rest, *_limits(format))


def _cell(value: float, exact: float | None = None) -> str:
    text = format_number(value, 4)
    lost = not math.isfinite(value)
    # One rounding is at most 0.4 % off in any of these formats.
    if exact is not None and not lost:
        lost = abs(value - exact) > 0.05 * max(exact, 1e-3)
    return f'<td><span class="xp-wrong">{text} ✗</span></td>' if lost else f"<td>{text}</td>"


def _row(head: str, cells: list[str], note: str = "", kind: str = "") -> str:
    small = f" <small>{note}</small>" if note else ""
    mark = f' class="{kind}"' if kind else ""
    return f'<tr{mark}><th scope="row">{head}{small}</th>{"".join(cells)}</tr>'


def _view(data: Stability) -> str:
    ways = [data.ways[name] for name in WAYS]
    heads = "".join(f'<th scope="col">{HEADS[name]}</th>' for name in WAYS)
    large, small = "exp of the large logit", "exp of the other two"
    rows = [
        _row(large, [_cell(float(w.exponentials[0])) for w in ways]),
        _row(small, [_cell(float(w.exponentials[1])) for w in ways]),
        _row("their sum", [_cell(w.total) for w in ways]),
        _row("p, large logit", ["<td>–</td>" if w.p is None else _cell(w.p[0]) for w in ways]),
        _row("p, another", ["<td>–</td>" if w.p is None else _cell(w.p[1]) for w in ways]),
        _row(
            "loss, answer right",
            [_cell(w.right, data.right) for w in ways],
            f"exact {format_number(data.right, 4)}",
            "xp-focus",
        ),
        _row(
            "loss, answer wrong",
            [_cell(w.wrong, data.wrong) for w in ways],
            f"exact {format_number(data.wrong, 4)}",
            "xp-focus",
        ),
    ]
    return (
        f'<table class="xp-stability"><caption>Logits {format_number(data.size, 4)}, 0, 0 in '
        f'{data.format}</caption><thead><tr><th scope="col">step</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _readout(data: Stability) -> Readout:
    naive, shifted, direct = (data.ways[name] for name in WAYS)
    said = (
        f"In {data.format} with the logits {format_number(data.size, 4)}, 0, 0 a wrong answer "
        f"costs {format_number(data.wrong, 4)}: the naive way says "
        f"{format_number(naive.wrong, 4)}, with the largest logit subtracted "
        f"{format_number(shifted.wrong, 4)}, by log-sum-exp {format_number(direct.wrong, 4)}"
    )
    end = "; for a right answer the naive way says NaN." if math.isnan(naive.right) else "."
    return Readout(
        {
            "Wrong answer, exact": Quantity(data.wrong, "nats", 4),
            "Wrong answer, naive": Quantity(naive.wrong, "nats", 4),
            "Wrong answer, max subtracted": Quantity(shifted.wrong, "nats", 4),
            "Wrong answer, log-sum-exp": Quantity(direct.wrong, "nats", 4),
            "exp(z) overflows from": Quantity(data.overflow, digits=4),
            "exp(−z) vanishes from": Quantity(data.underflow, digits=4),
        },
        said + end,
    )


SIZES = (1, 2, 5, 8, 10, 12, 16, 20, 50, 80, 90, 100, 110, 200, 500, 700, 720, 750, 1000)

stability = Explorer(
    name="classification.stability",
    title="Naive and stable cross-entropy",
    caption="Each step is rounded to the format. One logit is large, two are 0. The answer is "
    "right if the class of the large logit is the true one. A cross marks a number that is "
    "infinite, no number (NaN), or off by more than 5 % (of a loss below 0.001: by 0.00005).",
    controls=(
        Choice(
            "format",
            "Number format",
            {"FP64": "FP64", "FP32": "FP32", "BF16": "BF16", "FP16": "FP16"},
            "FP32",
        ),
        Steps("size", "Large logit", SIZES, 200),
    ),
    compute=_compute,
    readout=_readout,
    view=_view,
)
