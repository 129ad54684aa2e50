"""What every test of the project shares: strict floating point and one tolerance policy."""

from __future__ import annotations

import os
import re

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests of one page of the book stay together, for they share its windows; others by file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByPage(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            page = re.search(r"test_(?:accessibility|crawl)\.py.*\[.*?(book/[\w/]+\.html)", nodeid)
            return page[1] if page else nodeid.partition("::")[0]

    return ByPage(config, log)
