"""What every test of the project shares: strict floating point and one tolerance policy."""

from __future__ import annotations

import os

# Small matrices on a busy machine are up to twenty times slower when BLAS threads wait for one
# another. Takes effect only before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def strict_floating_point():
    """Overflow, division by zero and NaN are errors unless a test opts out with errstate."""
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        yield


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all tests: Playwright allows no second one in a process."""
    from tests.sites import chromium

    with chromium() as started:
        yield started
