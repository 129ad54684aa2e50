"""Explorers of the double descent chapter: over width, over training time, over samples."""

from .over_samples import sample_wise
from .over_time import epoch_wise
from .over_width import model_wise

__all__ = ["EXPLORERS", "epoch_wise", "model_wise", "sample_wise"]

EXPLORERS = (model_wise, epoch_wise, sample_wise)
