"""Numbers as a reader wants to see them, the same in every host."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Quantity", "format_number", "num", "superscript"]

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def superscript(exponent: int) -> str:
    """Write a whole number in superscript digits.

    >>> "10" + superscript(-3)
    '10⁻³'
    """
    return str(exponent).translate(_SUPERSCRIPT)


def format_number(value: float, digits: int = 3) -> str:
    """Write a number with `digits` significant digits, as 8.9·10⁻¹⁶ where it is very small.

    Whole numbers below a million are written in full; a real minus sign is used.

    >>> format_number(8.88e-16), format_number(-0.25), format_number(1024), format_number(0.5, 2)
    ('8.88·10⁻¹⁶', '−0.25', '1024', '0.5')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    sign, size = ("−" if value < 0 else ""), abs(value)
    if size == int(size) and size < 1e6:
        return f"{sign}{int(size)}"
    mantissa, _, exponent = f"{size:.{digits - 1}e}".partition("e")
    power = int(exponent)
    if -4 <= power < 6:
        text = f"{size:.{max(digits - 1 - power, 0)}f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        return sign + text
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    head = "" if mantissa == "1" else mantissa + "·"
    return f"{sign}{head}10{superscript(power)}"


@dataclass(frozen=True)
class Quantity:
    """A number with its unit and the digits worth showing."""

    value: float
    unit: str = ""
    digits: int = 3

    @property
    def text(self) -> str:
        """The number and the unit, in words for the reader."""
        gap = " " if self.unit else ""
        if self.unit == "×":
            return f"×{format_number(self.value, self.digits)}"
        return f"{format_number(self.value, self.digits)}{gap}{self.unit}"


class _Shown:
    """A number that prints as the text a reader wants to see, without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def num(value: float, digits: int = 3, unit: str = "") -> _Shown:
    """Return a number for use in a sentence: it prints formatted.

    >>> num(8.88e-16)
    8.88·10⁻¹⁶
    """
    return _Shown(Quantity(float(value), unit, digits).text)
