"""Eight bits, each of them a button: the value, its parts, its place among all 256."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from explorables import Choice, Explorer, Quantity, Readout, Toggle, format_number, superscript
from explorables.style import panel_label
from trainlab.bit_patterns import decode, neighbors
from trainlab.explorers.palette import FORWARD, GRID, HIGHLIGHT, INK, MUTED, PAPER, TRAIN
from trainlab.formats import E4M3, E5M2, FORMATS, Format, spacing

__all__ = ["byte"]

BITS = "Bits, with their place values"

FIELDS = {"sign": HIGHLIGHT, "exponent": TRAIN, "mantissa": FORWARD}
HERE = HIGHLIGHT
SMALLEST = E5M2.min_subnormal


@dataclass(frozen=True)
class Byte:
    """One 8-bit pattern."""

    fmt: Format
    bits: tuple[bool, ...]  # from the sign down
    value: float
    kind: str
    exponent: int  # the exponent that counts; that of field 1 for a subnormal number
    powers: tuple[float, ...]  # what the implicit bit and each mantissa bit is worth
    below: float
    above: float


def _compute(
    format: str,
    b7: bool,
    b6: bool,
    b5: bool,
    b4: bool,
    b3: bool,
    b2: bool,
    b1: bool,
    b0: bool,
) -> Byte:
    fmt, bits = FORMATS[format], (b7, b6, b5, b4, b3, b2, b1, b0)
    value = float(decode(sum(bit << (7 - i) for i, bit in enumerate(bits)), fmt))
    field = sum(
        bit << (fmt.exponent_bits - 1 - i) for i, bit in enumerate(bits[1 : -fmt.mantissa_bits])
    )
    exponent = max(field, 1) - fmt.bias
    if math.isnan(value) or math.isinf(value):
        kind = "NaN" if math.isnan(value) else "infinity"
    else:
        kind = "normal" if field else "subnormal" if value else "zero"
    below, above = neighbors(value, fmt)
    return Byte(
        fmt=fmt,
        bits=bits,
        value=value,
        kind=kind,
        exponent=exponent,
        powers=tuple(2.0 ** (exponent - i) for i in range(fmt.mantissa_bits + 1)),
        below=float(below),
        above=float(above),
    )


def _power(value: float) -> str:
    """Write a power of two as people read it: 4, 1/8, 2⁻¹²."""
    if value >= 1:
        return format_number(value)
    return (
        f"1/{round(1 / value)}" if value >= 1 / 512 else f"2{superscript(round(math.log2(value)))}"
    )


def _kind(data: Byte) -> str:
    """Say what kind of number it is; of a number, the significand and the power of two."""
    if data.kind == "infinity":
        return "infinity: exponent all ones, mantissa 0"
    if data.kind == "NaN":
        return "NaN: all ones" if data.fmt is E4M3 else "NaN: exponent all ones, mantissa not 0"
    digits = "".join(str(int(b)) for b in data.bits[-data.fmt.mantissa_bits :])
    implicit, bias = int(data.kind == "normal"), data.fmt.bias
    power = f"{superscript(data.exponent + bias)}{superscript(-bias)}"  # field minus bias
    return f"{data.kind}: {implicit}.{digits} in binary × 2{power}"


def _terms(data: Byte) -> list[str]:
    ones = (data.kind == "normal", *data.bits[-data.fmt.mantissa_bits :])
    return [_power(p) for p, one in zip(data.powers, ones, strict=True) if one]


def _value(data: Byte) -> str:
    return "−0" if data.kind == "zero" and data.bits[0] else format_number(data.value, 8)


def _sum(data: Byte) -> str:
    """Write the value as a sum of powers of two."""
    if data.kind not in ("normal", "subnormal"):
        return f"= {_value(data)}"
    terms = _terms(data)
    total = " + ".join(terms)
    if data.bits[0]:
        total = f"−({total})" if len(terms) > 1 else f"−{total}"
    return total if total == _value(data) else f"{total} = {_value(data)}"


def _place(value: float | NDArray[np.float64]) -> Any:
    """Place on a number line that is logarithmic on both sides of zero."""
    return np.sign(value) * np.log2(1 + np.abs(value) / SMALLEST)


def _glyph(text: str) -> Path:
    """Return a digit as a marker: quicker to draw than text, hundreds of times."""
    path = TextPath((0, 0), text, size=1, prop=FontProperties(weight="bold"))
    box = path.get_extents()
    return Path(
        (np.asarray(path.vertices) - np.add(box.min, box.max) / 2) * (0.55 / box.height), path.codes
    )


END = float(_place(E5M2.max)) + 1.5  # where infinity is drawn
# In points around the place of a bit: a lit cell, its digit, the line between two fields.
CELL = Path([(-17, -17), (17, -17), (17, 17), (-17, 17), (-17, -17)], closed=True)
ONE = Path(31 * np.asarray(_glyph("1").vertices), _glyph("1").codes)
BORDER = Path([(-1, -27), (1, -27), (1, 43), (-1, 43), (-1, -27)], closed=True)


def _draw(left: Figure, right: Figure) -> dict[str, Artist | list[Artist]]:
    ax = left.subplots()
    panel_label(ax, "The bits")
    ax.set(xlim=(-0.55, 7.55), ylim=(-3.1, 1.4))
    ax.axis("off")
    places = np.arange(8)
    ax.plot(places, 0 * places, "s", ms=34, mfc="none", mec=MUTED, mew=1)
    ax.plot(places, 0 * places, ls="", marker=_glyph("0"), ms=17, color=MUTED, mew=0)
    text: dict[str, Any] = {"fontsize": 12, "ha": "center", "va": "bottom"}
    for x, word, color in zip((0, 2.5, 6.5), FIELDS, FIELDS.values(), strict=True):
        ax.text(x, 0.8, word, color=color, **text)
    # One collection is quicker to draw, hundreds of times, than an artist for each color.
    lit = PathCollection([BORDER], offset_transform=ax.transData, transform=Affine2D())
    ax.add_collection(lit, autolim=False)

    above, below = right.subplots(2, 1, height_ratios=(1.6, 1))
    panel_label(above, "Among all numbers of its format")
    above.set(xlim=(-END - 0.5, END + 0.5), ylim=(-0.3, 2.2))
    for y, fmt in ((1.2, E5M2), (0, E4M3)):
        numbers = decode(np.arange(256), fmt)
        numbers = numbers[np.isfinite(numbers)]
        above.vlines(_place(numbers), y, y + 0.5, color=MUTED, lw=0.7)
        above.text(-END, y + 0.55, fmt.name, fontsize=11.5, va="bottom", color=MUTED)
    ticks = np.array([-1e4, -1, -0.01, 0, 0.01, 1, 1e4])
    above.set_xticks(_place(ticks), ["−10⁴", "−1", "−0.01", "0", "0.01", "1", "10⁴"])
    above.set_yticks([])
    above.grid(False)
    above.spines["left"].set_visible(False)
    below.set(xlim=(-0.05, 4.1), ylim=(-0.7, 1))
    below.set_title("Around it, to scale", fontsize=12, pad=4, fontweight="normal")
    below.axis("off")
    below.plot([0, 4], [0, 0], color=GRID, lw=1)
    below.text(0, -0.15, "0", fontsize=11.5, ha="center", va="top")
    return {
        "lit": lit,
        "kind": ax.text(-0.45, -1.5, "", fontsize=12, va="center"),
        "sum": ax.text(-0.45, -2.6, "", fontsize=13, fontweight="bold", va="center"),
        "here": above.plot([], [], "v-", color=HERE, lw=3, ms=8, markevery=[0])[0],
        "marks": below.plot([], [], color=MUTED, lw=1.1)[0],
        "chosen": below.plot([], [], color=HERE, lw=4)[0],
        "labels": [below.text(x, -0.15, "", fontsize=11.5, ha="center", va="top") for x in (1, 2)],
    }  # fmt: skip


def _update(artists: dict[str, Any], data: Byte) -> None:
    finite = math.isfinite(data.value)
    minus = "−" if data.bits[0] else ""
    last = 7 - data.fmt.mantissa_bits  # the place of the exponent field's last bit
    color = [FIELDS["sign"]] + [FIELDS["exponent"]] * last + [FIELDS["mantissa"]] * (7 - last)
    on = [i for i, bit in enumerate(data.bits) if bit]
    lit = artists["lit"]
    lit.set_paths([BORDER, BORDER, *(path for _ in on for path in (CELL, ONE))])
    lit.set_offsets([(0.5, 0), (last + 0.5, 0), *((i, 0) for i in on for _ in range(2))])
    lit.set_facecolor([INK, INK, *(c for i in on for c in (color[i], PAPER))])
    artists["kind"].set_text(_kind(data))
    artists["sum"].set_text(_sum(data))

    base = 1.2 if data.fmt is E5M2 else 0
    x = math.nan if data.kind == "NaN" else np.clip(_place(data.value), -END, END)
    artists["here"].set_data([x, x], [base + 0.72, base])
    unit = 2.0**data.exponent
    marks = decode(np.arange(128), data.fmt) / unit
    # Those nearer to zero than 1/16 of a binade could not be told apart.
    marks = marks[((marks == 0) | (marks >= 1 / 16)) & (marks <= 4)] if finite else marks[:0]
    ends = np.tile([0.0, 0.55, np.nan], marks.size)
    artists["marks"].set_data(np.repeat(marks, 3), ends)
    here = abs(data.value) / unit if finite else math.nan
    artists["chosen"].set_data([here, here], [0, 0.85])
    for label, place in zip(artists["labels"], (1, 2), strict=True):
        label.set_text(minus + format_number(place * unit, 3) if finite else "")


def _readout(data: Byte) -> Readout:
    pattern = "".join(str(int(b)) for b in data.bits)
    m = data.fmt.mantissa_bits
    pattern = f"{pattern[0]} {pattern[1:-m]} {pattern[-m:]}"
    step = float(spacing(data.value, data.fmt))
    pattern = pattern.replace(" ", "\N{NO-BREAK SPACE}")
    what = f"the {data.kind} number {_sum(data)}"
    if data.kind not in ("normal", "subnormal"):
        what = _value(data)
    story = f"{pattern} in {data.fmt.name} is {what}"
    around = [format_number(v, 6) for v in (data.below, data.above) if math.isfinite(v)]
    if math.isfinite(data.value) and len(around) == 2:
        story += f"; its neighbors are {around[0]} and {around[1]}"
    elif math.isfinite(data.value):
        story += f", the last of the format; the one before is {around[0]}"
    elif data.kind == "NaN":
        story += ", which equals nothing, not even itself"
    else:
        story += f", what lies beyond {'−' if data.bits[0] else ''}{format_number(data.fmt.max)}"
    return Readout(
        {
            "Value": Quantity(data.value, digits=8),
            "Spacing there": step,
            "Sum of the place values": sum(b << (7 - i) for i, b in enumerate(data.bits) if i),
        },
        f"{story}.",
    )


byte = Explorer(
    name="formats.byte",
    title="An 8-bit number, bit by bit",
    caption="Above: a bit's place value is what it counts in the pattern read as a whole number. "
    "Left: the eight bits, the number in binary (the power of two is the exponent field "
    "less the bias, the digit before the point is not stored), and as a sum of powers of two. "
    "Right: its place among all 256 patterns, logarithmic on both sides of zero; below, the "
    "numbers around it, to scale.",
    controls=(
        Choice("format", "Format", {"E4M3": "E4M3", "E5M2": "E5M2"}, "E4M3"),
        *(
            # The place value in the pattern read as a whole number: the same in both formats.
            Toggle(f"b{7 - i}", str(2 ** (7 - i)) if i else "sign", default, group=BITS)
            for i, default in enumerate((False, True, False, False, True, True, False, True))
        ),
    ),
    compute=_compute,
    readout=_readout,
    draw=_draw,
    update=_update,
    panels=((350, 210), (350, 210)),
)
