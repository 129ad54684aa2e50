"""Explorers of the chapter on distillation."""

from explorables import Explorer

from .digit import digit
from .students import students
from .temperature import temperature

__all__ = ["EXPLORERS", "digit", "students", "temperature"]

EXPLORERS: tuple[Explorer, ...] = (temperature, digit, students)
