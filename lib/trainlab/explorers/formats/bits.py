"""The bits of one number in every format at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

import numpy as np

from explorables import Choice, Explorer, Flips, Quantity, Readout, Text, format_number
from trainlab.bit_patterns import bit_string, decode, encode, neighbors
from trainlab.formats import FORMATS, Format, round_to, spacing

__all__ = ["bits"]

NUMBERS: dict[str, tuple[str, float]] = {
    "257": ("256 + 1", 257.0),
    "2.5": ("2.5", 2.5),
    "0.1": ("0.1", 0.1),
    "third": ("1/3", 1 / 3),
    "pi": ("π", math.pi),
    "-1": ("−1", -1.0),
    "2049": ("2048 + 1", 2049.0),
    "1000": ("1000", 1000.0),
    "65519": ("65,519", 65519.0),
    "65520": ("65,520", 65520.0),
    "1e-4": ("10⁻⁴", 1e-4),
    "1e-8": ("10⁻⁸", 1e-8),
    "1e-40": ("10⁻⁴⁰", 1e-40),
    "1e38": ("10³⁸", 1e38),
    "max": ("largest of the format", math.nan),
    "normal": ("its smallest normal one", math.nan),
    "subnormal": ("its smallest subnormal one", math.nan),
    "zero": ("−0", -0.0),
    "inf": ("infinity", math.inf),
    "nan": ("NaN, not a number", math.nan),
}
WIDEST = 32


@dataclass(frozen=True)
class Row:
    """One number in one format."""

    name: str
    pattern: str  # sign, exponent, mantissa
    value: float
    error: float  # relative; infinite where the number is lost
    spacing: float
    below: float
    above: float


@dataclass(frozen=True)
class Bits:
    """A number in all formats; `focus` is the row looked at."""

    x: float
    focus: str
    rows: tuple[Row, ...]


def _parse(text: str) -> float:
    """Read a number or a fraction; it is never evaluated as code."""
    try:
        parts = [float(p.replace("−", "-")) for p in text.split("/")]
        if len(parts) == 1:
            return parts[0]
        if len(parts) == 2:
            return parts[0] / parts[1]
    except (ValueError, ZeroDivisionError):
        pass
    raise ValueError(
        f"formats.bits: typed must be a number such as 0.1, -3e-5, 1/3, inf or nan; got {text!r}"
    )


def _row(x: float, fmt: Format) -> Row:
    y = float(round_to(x, fmt))
    same = y == x or (math.isnan(x) and math.isnan(y))
    error = 0.0 if same else abs(y - x) / abs(x) if math.isfinite(y) else math.inf
    below, above = neighbors(y if math.isfinite(y) else x, fmt)
    return Row(
        name=fmt.name,
        pattern=bit_string(int(encode(x, fmt)), fmt),
        value=y,
        error=error,
        spacing=float(spacing(y, fmt)),
        below=float(below),
        above=float(above),
    )


def _compute(number: str, format: str, typed: str, flips: int) -> Bits:
    fmt = FORMATS[format]
    special = {"max": fmt.max, "normal": fmt.min_normal, "subnormal": fmt.min_subnormal}
    x = _parse(typed) if typed.strip() else special.get(number, NUMBERS[number][1])
    mask = flips & ((1 << fmt.bits) - 1)
    if mask:
        x = float(decode(int(encode(x, fmt)) ^ mask, fmt))
    with np.errstate(all="ignore"):
        return Bits(x, format, tuple(_row(x, f) for f in FORMATS.values()))


def _exactly(x: float) -> str:
    """Write a value with the digits that tell it from its neighbors in FP32."""
    return "−0" if x == 0 and math.copysign(1, x) < 0 else format_number(x, 8)


def _share(error: float) -> str:
    if error == math.inf:
        return "lost"
    return "exact" if error == 0 else f"off by {format_number(100 * error, 2)}%"


def _neighbor(value: float, fmt: Format) -> str:
    """Write a neighbor with the digits that tell it from the next."""
    return "—" if math.isnan(value) else format_number(value, math.ceil(fmt.digits) + 2)


def _view(data: Bits) -> str:
    def cells(pattern: str) -> str:
        sign, exponent, mantissa = pattern.split()
        return (
            f'<span class="xp-sign">{sign}</span><span class="xp-exponent">{exponent}</span>'
            f'<span class="xp-mantissa">{mantissa}</span>'
        )

    def row(r: Row) -> str:
        fmt = FORMATS[r.name]
        gap = "—" if math.isnan(r.spacing) else format_number(r.spacing, 3)
        focus = ' class="xp-focus"' if r.name == data.focus else ""
        lost = ' class="xp-wrong"' if r.error > 1e-3 else ""
        return (
            f'<tr{focus}><th scope="row">{r.name}</th>'
            f'<td class="xp-bits">{cells(r.pattern)}</td>'
            f"<td><b>{_exactly(r.value)}</b><br><span{lost}>{_share(r.error)}</span></td>"
            f"<td>{_neighbor(r.above, fmt)}<br>{_neighbor(r.below, fmt)}</td>"
            f"<td>{gap}</td></tr>"
        )

    return (
        '<table class="xp-formats"><caption>'
        f"<b>{escape(_exactly(data.x))}</b> in six formats</caption>"
        '<thead><tr><th scope="col">format</th><th scope="col" class="xp-bits">'
        '<span class="xp-sign">sign</span> <span class="xp-exponent">exponent</span> '
        '<span class="xp-mantissa">mantissa</span></th>'
        '<th scope="col">stands for</th><th scope="col">next above<br>next below</th>'
        '<th scope="col">spacing</th></tr></thead>'
        f"<tbody>{''.join(map(row, data.rows))}</tbody></table>"
    )


def _readout(data: Bits) -> Readout:
    r = next(r for r in data.rows if r.name == data.focus)
    kept = sum(other.error == 0 for other in data.rows)
    x, y = _exactly(data.x), _exactly(r.value)
    if math.isnan(data.x):
        story = (
            f"Not-a-number in {r.name} has an exponent field of ones and a mantissa other than 0"
        )
        if r.name == "E4M3":
            story = "Not-a-number in E4M3 is the one pattern of ones only"
    elif r.error == math.inf:
        story = f"{x} has no place in {r.name}: it becomes {y}"
    elif r.error == 0:
        story = f"{r.name} holds {x} exactly"
    elif r.value == 0:
        story = f"{x} is less than half the smallest number of {r.name} and becomes 0"
    else:
        way = "large" if abs(r.value) > abs(data.x) else "small"
        share = format_number(100 * r.error, 2)
        story = f"{r.name} has no {x}; the nearest number it has is {y}, {share}% too {way}"
    bits = r.pattern.replace(" ", "\N{NO-BREAK SPACE}")
    return Readout(
        {
            "Number": Quantity(data.x, digits=8),
            "In the format in focus": Quantity(r.value, digits=8),
            "Relative error": Quantity(100 * r.error, "%"),
            "Spacing there": r.spacing,
            "Formats that hold it exactly": kept,
        },
        f"{story}; its bits are {bits}.",
    )


bits = Explorer(
    name="formats.bits",
    title="One number, six formats",
    caption="Each row: the bits of the number nearest to the one chosen (sign, exponent field, "
    "mantissa field), the value these bits stand for and its relative error, the format's next "
    "numbers above and below that value, and their spacing. The row in focus is shaded.",
    controls=(
        Choice("number", "Number", {k: text for k, (text, _) in NUMBERS.items()}, "257"),
        Choice("format", "Format in focus", {name: name for name in FORMATS}, "BF16"),
        Text("typed", "Any number (wins over the list)"),
        Flips(
            "flips",
            "Flip bits of the format in focus",
            WIDEST,
            follows=("format", {name: fmt.bits for name, fmt in FORMATS.items()}),
        ),
    ),
    compute=_compute,
    readout=_readout,
    view=_view,
)
