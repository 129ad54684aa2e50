"""The Sphinx extension: built pages hold explorers with their states, and no widget.

Add ``explorables.sphinx`` to the extensions of a book. Kernels that the build starts then make
page figures; this module writes the stored states beside the pages and adds the script and the
style sheet to the pages that need them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors import EnvironmentCollector
from sphinx.errors import ExtensionError
from sphinx.util import logging

from . import palette, runtime
from .baking_cache import CACHE_VARIABLE
from .hosts import HOST_VARIABLE, MIME

__all__ = ["ExplorerRenderer", "setup"]

STATIC = Path(__file__).parent / "static"
logger = logging.getLogger(__name__)


def _written(env: BuildEnvironment) -> dict[str, set[str]]:
    """Page -> names of the state files on it; kept in the environment."""
    holder: Any = env
    if not hasattr(holder, "explorables"):
        holder.explorables = {}
    states: dict[str, set[str]] = holder.explorables
    return states


def _kept(env: BuildEnvironment) -> Path:
    """Where their texts lie: the environment, which each build reads and writes, stays small."""
    return Path(env.doctreedir) / "explorables"


def _keep(folder: Path, name: str, text: str) -> None:
    # The name holds a hash of the text, and pages are read side by side.
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / name).exists():
        part = folder / f"{name}.{os.getpid()}"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / name)


class ExplorerRenderer:
    """The plugin of MyST-NB that turns a cell's bundle into the figure."""

    mime_priority_overrides = (("html", MIME, 1),)

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[nodes.Node] | None:
        """Return the figure for our MIME type, None for all others.

        Raises
        ------
        ExtensionError
            When the explorer failed; names page, explorer and state, and ends the build.
        """
        if data.mime_type != MIME or inline:
            return None
        env = renderer.renderer.sphinx_env
        content = data.content
        if "error" in content:
            raise ExtensionError(f"{env.docname}: {content['error']}")
        _keep(_kept(env), content["file"], content["script"])
        _written(env).setdefault(env.docname, set()).add(content["file"])
        return [nodes.raw(text=content["html"], format="html", classes=["output"])]


class StatesCollector(EnvironmentCollector):
    """Keep the states of each page in the environment, through partial and parallel builds."""

    def clear_doc(self, app: Sphinx, env: BuildEnvironment, docname: str) -> None:
        """Forget a page that is read again."""
        _written(env).pop(docname, None)

    def merge_other(
        self, app: Sphinx, env: BuildEnvironment, docnames: Iterable[str], other: BuildEnvironment
    ) -> None:
        """Take over what another process has read."""
        theirs = _written(other)
        _written(env).update({d: theirs[d] for d in docnames if d in theirs})

    def process_doc(self, app: Sphinx, doctree: nodes.document) -> None:
        """Nothing to do: the renderer has put the states down."""


def _add_assets(app: Sphinx, pagename: str, _template: str, _context: Any, _tree: Any) -> None:
    if pagename in _written(app.env):
        # Not deferred: figures come to life while the rest of a long page is still read.
        offer: dict[str, Any] = {}
        if app.config.explorables_runtime:
            sizes = runtime.megabytes(Path(app.outdir) / "_static")
            offer = {"data-runtime": runtime.MANIFEST, "data-megabytes": "{} {}".format(*sizes)}
        app.add_js_file("explorables.js", loading_method="async", fetchpriority="high", **offer)


def _find_runtime(app: Sphinx, config: Any) -> None:
    """Forget a runtime that is not whole; pages are written again when that changes."""
    if config.explorables_runtime and not runtime.complete(_folder(app)):
        config.explorables_runtime = ""


def _folder(app: Sphinx) -> Path:
    return Path(app.srcdir) / str(app.config.explorables_runtime)


def _write_runtime(app: Sphinx) -> None:
    # Before the pages, which say how large it is.
    if app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    if not app.config.explorables_runtime:
        shutil.rmtree((static / runtime.MANIFEST).parent, ignore_errors=True)
        logger.info("No Python for the browser: explorers show what was computed ahead.")
        return
    packages = [Path(app.srcdir) / p for p in app.config.explorables_packages]
    size = runtime.install(_folder(app), static, packages)
    logger.info("Python for the browser: %.1f MB, loaded when a reader asks for it.", size / 1e6)


def _write_files(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_static" / "explorers"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = set().union(*_written(app.env).values())
    for place in (folder, _kept(app.env)):
        for stale in {p.name for p in place.glob("*.js*")} - wanted:
            (place / stale).unlink()
    for name in wanted - {p.name for p in folder.iterdir()}:
        part = shutil.copyfile(_kept(app.env) / name, folder / f"{name}.part")
        part.replace(folder / name)  # whole, or not there


def _register_static(app: Sphinx, config: Any) -> None:
    # Appended rather than set in the book's configuration: the files travel with the extension.
    if str(STATIC) not in config.html_static_path:
        config.html_static_path.append(str(STATIC))


def _write_palette(app: Sphinx) -> None:
    if app.builder.format != "html":
        return
    out = Path(app.outdir) / "_static" / "explorables-palette.css"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        palette.stylesheet(app.config.explorables_light, app.config.explorables_dark),
        encoding="utf-8",
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the extension."""
    # Both are inherited by the kernels that execute the pages.
    os.environ[HOST_VARIABLE] = "page"
    os.environ[CACHE_VARIABLE] = str(Path(app.doctreedir).parent / ".explorables")
    app.add_config_value("explorables_light", "html", "html")
    app.add_config_value("explorables_dark", "html[data-theme=dark]", "html")
    app.connect("config-inited", _register_static)
    app.connect("config-inited", _find_runtime)
    app.connect("builder-inited", _write_palette)
    app.connect("builder-inited", _write_runtime)
    app.add_env_collector(StatesCollector)
    app.connect("html-page-context", _add_assets)
    app.add_config_value("explorables_runtime", "", "html")
    app.add_config_value("explorables_packages", [], "html")
    app.connect("build-finished", _write_files)
    app.add_css_file("explorables-palette.css")
    app.add_css_file("explorables.css")
    return {
        "version": "1",
        "env_version": 2,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
