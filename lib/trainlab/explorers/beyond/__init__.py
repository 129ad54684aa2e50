"""Explorers of the chapter on what comes beyond data parallelism."""

from __future__ import annotations

from .pipeline import pipeline
from .planner import planner
from .segments import segments

__all__ = ["EXPLORERS", "pipeline", "planner", "segments"]

EXPLORERS = (segments, pipeline, planner)
