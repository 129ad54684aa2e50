"""Explorers of the double descent chapter: over width, stopping and training time, samples."""

from .digits_network import digits_network
from .over_samples import sample_wise
from .over_stopping_time import stopping_time
from .over_time import epoch_wise
from .over_width import model_wise

__all__ = [
    "EXPLORERS",
    "digits_network",
    "epoch_wise",
    "model_wise",
    "sample_wise",
    "stopping_time",
]

EXPLORERS = (model_wise, stopping_time, digits_network, epoch_wise, sample_wise)
