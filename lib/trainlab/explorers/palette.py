"""What each colour means, the same on every page of the book."""

from explorables.palette import (
    BLUE,
    GREEN,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    SHADE,
    SKY,
    VERMILLION,
)

__all__ = [
    "BACKWARD",
    "BATCH",
    "FORWARD",
    "GRID",
    "HIGHLIGHT",
    "INK",
    "KEPT",
    "MUTED",
    "PAPER",
    "SHADE",
    "TEST",
    "THEORY",
    "TRAIN",
    "WRONG",
]

TRAIN = BLUE  # training data, training loss, training mode
TEST = VERMILLION  # test or validation data, test mode
FORWARD = GREEN  # signals, activations
BACKWARD = PURPLE  # gradients
THEORY = INK  # closed forms, drawn as a line; simulations are dots in their own colour
KEPT = SKY  # units, weights, samples that take part
BATCH = SKY  # what is averaged together
HIGHLIGHT = ORANGE  # the state chosen by the reader, a threshold, a marker
WRONG = VERMILLION  # what breaks: overflow, divergence, a wrong rule
