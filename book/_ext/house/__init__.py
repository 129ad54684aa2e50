"""What this book adds to Jupyter Book: a light theme, offline mathematics, fresh pages, notebooks."""

from . import freshness, mathematics, notebooks, theme


def setup(app):
    """Connect the parts."""
    for part in (theme, mathematics, freshness, notebooks):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
