"""What this book adds to Jupyter Book: a light theme, offline formulas, fresh pages, notebooks,
a policy of what pages may run."""

import os

from . import freshness, lite, mathematics, notebooks, policy, sources, theme

# Many small matrices: threads would only wait for one another. Inherited by the kernels.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


# They number sections when all pages have been read, and prepare LaTeX; neither says that pages
# may be read side by side.
SILENT = ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex")


def _declare_parallel(app, config):
    for name in SILENT:
        if name in app.extensions:
            app.extensions[name].parallel_read_safe = True


def setup(app):
    """Connect the parts."""
    # Pages run while they are read: as many at a time as there are cores.
    app.parallel = os.cpu_count() or 1
    app.connect("config-inited", _declare_parallel)
    for part in (theme, mathematics, sources, freshness, notebooks, lite, policy):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
