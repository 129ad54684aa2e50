"""Two small explorers, one that draws and one that returns HTML, used by these tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explorables import Choice, Explorer, Flips, Number, Readout, Seed, Steps, Text, Toggle
from explorables.palette import BLUE, VERMILLION


@dataclass(frozen=True)
class Wave:
    """A sampled wave."""

    x: np.ndarray
    y: np.ndarray
    frequency: float


def compute_wave(frequency, shape, squared, seed):
    """Sample a wave with a little noise of the given seed."""
    x = np.linspace(0.0, 6.0, 40)
    y = {"sine": np.sin, "cosine": np.cos}[shape](frequency * x)
    y = y + 0.01 * np.random.default_rng(seed).standard_normal(x.size)
    return Wave(x, y**2 if squared else y, frequency)


def draw_wave(left, right):
    """Two panels: a line, and dots with a text."""
    a, b = left.subplots(), right.subplots()
    a.set(xlim=(0, 6), ylim=(-1.2, 1.2), xlabel="x", ylabel="σ²")
    b.set(xlim=(0, 6), ylim=(-1.2, 1.2))
    return {
        "line": a.plot([], [], color=BLUE)[0],
        "rest": [b.plot([], [], "o", color=VERMILLION)[0], b.text(0.1, 1.0, "")],
    }


def update_wave(artists, data):
    """Set line, dots and text."""
    artists["line"].set_data(data.x, data.y)
    artists["rest"][0].set_data(data.x, data.y)
    artists["rest"][1].set_text(f"frequency {data.frequency:g}")


def read_wave(data):
    """The highest value."""
    return Readout(
        {"highest": float(data.y.max()), "frequency": data.frequency},
        f"A wave of frequency {data.frequency:g} that reaches {data.y.max():.3f}.",
    )


FREQUENCY = Steps("frequency", "Frequency", (0.5, 1.0, 2.0, 4.0), default=1.0, unit="1/s")
SHAPE = Choice("shape", "Shape", {"sine": "a sine", "cosine": "a cosine"}, default="sine")


def make_wave(**changes):
    """The drawing explorer; keyword arguments replace its parts."""
    parts = {
        "name": "example.wave",
        "title": "A wave",
        "caption": "Left a line, right dots.",
        "controls": (FREQUENCY, SHAPE, Toggle("squared", "Squared"), Seed()),
        "compute": compute_wave,
        "readout": read_wave,
        "draw": draw_wave,
        "update": update_wave,
        "panels": ((350, 270), (350, 270)),
    }
    return Explorer(**{**parts, **changes})


wave = make_wave()


def compute_digits(number, typed, bits, scale):
    """Digits of a number, or of the typed one."""
    value = int(typed) if typed else number
    return (value ^ bits) * round(scale)


digits = Explorer(
    name="example.digits",
    title="Digits",
    caption="A number, digit by digit.",
    controls=(
        Steps("number", "Number", (7, 42, 123), default=42),
        Text("typed", "Any number"),
        Flips("bits", "Flip bits", width=4, follows=("number", {7: 3, 42: 4, 123: 4})),
        Number("scale", "Scale", default=1.0, low=0.0, high=9.0),
    ),
    compute=compute_digits,
    readout=lambda data: Readout({"number": data}, f"The number {data}."),
    view=lambda data: "<table><tr>" + "".join(f"<td>{d}</td>" for d in str(data)) + "</tr></table>",
)

EXPLORERS = (wave, digits)
