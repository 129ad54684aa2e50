"""What this book adds to Jupyter Book: a light theme, offline formulas, fresh pages, notebooks."""

import os

from . import freshness, mathematics, notebooks, theme

# Many small matrices: threads would only wait for one another. Inherited by the kernels.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def setup(app):
    """Connect the parts."""
    for part in (theme, mathematics, freshness, notebooks):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
