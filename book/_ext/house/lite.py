"""The pages as notebooks that run in the reader's browser: JupyterLite, on the site's own Python.

`make book` leaves a JupyterLite without notebooks in `.lite/site`, where it can be had. Here it
gets the pages, and a list of packages in the form of Pyodide's lock file. What the explorers
compute with is not stored twice: the list leads to the files that they load, too.
"""

import hashlib
import io
import json
import shutil
import zipfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import nbformat
from sphinx.util import logging

from explorables import runtime

from .notebooks import write_notebook
from .prose import is_notebook

KERNEL = ("ipython", "jedi", "micropip")  # packages of Pyodide that its kernel needs
# Wheels that JupyterLite brings or `lite/wheels.txt` names -> what they need.
WHEELS = {
    "comm": ["traitlets"],
    "ipykernel": [],
    "ipywidgets": ["comm", "ipython"],
    "piplite": ["micropip"],
    "pyodide_kernel": ["comm", "ipykernel", "ipython"],
}
# The kernel asks for it, two megabytes with its library, and no page of a browser can use it.
EMPTY = "ssl"
SITE = ".lite/site"
PLACE = "../../lite"  # as seen from the folder of the runtime, where Pyodide looks for packages

logger = logging.getLogger(__name__)


def _find_site(app, config):
    """Say where the JupyterLite is, if all is there; pages are written again when that changes."""
    root = Path(app.srcdir)
    whole = runtime.complete(root / ".runtime", (*runtime.WANTED, *KERNEL))
    if whole and (root / SITE / "index.html").exists():
        config.lite_site = SITE


def _package(name, file_name, content, depends, imports=()):
    return {
        "name": name,
        "version": "1",
        "file_name": file_name,
        "install_dir": "site",
        "sha256": hashlib.sha256(content).hexdigest(),
        "package_type": "package",
        "imports": list(imports) or [name],
        "depends": depends,
        "unvendored_tests": False,
    }


def _pyodide_packages(lock, folder, out, static):
    """Packages of Pyodide; those that the explorers do not load are copied."""
    shared = json.loads((static / runtime.MANIFEST).read_text(encoding="utf-8"))["files"]
    for name, file in runtime.needed(lock, (*runtime.WANTED, *KERNEL)).items():
        package = lock["packages"][name]
        package["depends"] = [d for d in package["depends"] if d not in runtime.UNUSED]
        if file in shared:
            package["sha256"] = shared[file]["sha256"]
        else:
            shutil.copy(folder / file, out / "python" / file)
            package["file_name"] = f"{PLACE}/python/{file}"
        yield name, package


def _other_packages(out, own):
    """The wheels, this book's library, and what is empty."""
    wheels = {path.name.split("-")[0]: path for path in sorted(out.rglob("pypi/*.whl"))}
    for name, depends in WHEELS.items():
        place = f"{PLACE}/{wheels[name].relative_to(out).as_posix()}"
        yield name, _package(name, place, wheels[name].read_bytes(), depends)
    needs = ["numpy", "matplotlib", "ipywidgets"]
    imports = ["trainlab", "explorables"]
    yield "trainlab", _package("trainlab", own.name, own.read_bytes(), needs, imports)
    nothing = io.BytesIO()
    zipfile.ZipFile(nothing, "w").close()
    (out / "python" / "nothing.zip").write_bytes(nothing.getvalue())
    yield EMPTY, _package(EMPTY, f"{PLACE}/python/nothing.zip", nothing.getvalue(), [])


def _write_packages(folder, out, static):
    """Write the list of packages, and the files it names that are not there yet."""
    (out / "python").mkdir()
    lock = json.loads((folder / runtime.LOCK).read_text(encoding="utf-8"))
    own = (static / runtime.MANIFEST).with_name(runtime.OWN)
    packages = [*_pyodide_packages(lock, folder, out, static), *_other_packages(out, own)]
    lock["packages"] = {name.replace("_", "-"): package for name, package in packages}
    (out / runtime.LOCK).write_text(json.dumps(lock), encoding="utf-8")


def _model(path, kind, time, content=None):
    """What Jupyter says of a file or a folder."""
    return {
        "name": path.rpartition("/")[2],
        "path": path,
        "type": kind,
        "format": None if content is None else "json",
        "content": content,
        "created": time,
        "last_modified": time,
        "mimetype": None,
        "size": None,
        "writable": True,
    }


def _write_contents(out, names):
    """List each folder with notebooks, as a Jupyter server would answer."""
    time = datetime.now(UTC).isoformat()
    folders = {"": {}}
    for name in names:
        path, kind = f"{name}.ipynb", "notebook"
        while path:
            parent = path.rpartition("/")[0]
            folders.setdefault(parent, {})[path] = _model(path, kind, time)
            path, kind = parent, "directory"
    for folder, entries in folders.items():
        target = out / "api/contents" / folder / "all.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        model = _model(folder, "directory", time, list(entries.values()))
        target.write_text(json.dumps(model), encoding="utf-8")


def _write_site(app):
    # Before the pages, which say how large it is.
    if app.builder.format != "html":
        return
    out, made_of = Path(app.outdir) / "lite", Path(app.doctreedir) / "lite.txt"
    if not app.config.lite_site:
        shutil.rmtree(out, ignore_errors=True)
        logger.info("No notebooks in the browser: pages open on Binder and Colab only.")
        return
    site, static = Path(app.srcdir) / app.config.lite_site, Path(app.outdir) / "_static"
    sources = "\n".join(_sources(site, static))
    if out.exists() and made_of.exists() and made_of.read_text(encoding="utf-8") == sources:
        return
    made_of.unlink(missing_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(site, out)
    # Jupyter changes its icon while a cell runs, and leaves the icons out.
    (out / "static" / "favicons").mkdir(parents=True)
    for name in ("busy-1", "notebook"):
        icon = out / "static" / "favicons" / f"favicon-{name}.ico"
        shutil.copy(out / "notebooks" / "favicon.ico", icon)
    _write_packages(Path(app.srcdir) / ".runtime", out, static)
    made_of.write_text(sources, encoding="utf-8")


def _sources(site, static):
    """What the site is made of: where any of it has changed, it is made again."""
    yield (static / runtime.MANIFEST).read_text(encoding="utf-8")  # has a digest of each file
    for path in [Path(__file__), *sorted(site.rglob("*"))]:
        yield f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}"


@cache
def _megabytes(root, out):
    """Return what a first notebook loads: Python with all packages, and the page around it."""
    folder, site = (out / "_static" / runtime.MANIFEST).parent, out / "lite"
    lock = json.loads((site / runtime.LOCK).read_text(encoding="utf-8"))
    files = [folder / package["file_name"] for package in lock["packages"].values()]
    files += [folder / name for name in runtime.CORE if name != runtime.LOCK]
    listed = (root / "lite/loaded.txt").read_text(encoding="utf-8").splitlines()
    files += [site / name for name in listed if not name.startswith("#")]
    return round(sum(file.stat().st_size for file in files if file.exists()) / 1e6)


def _add_button(app, pagename, templatename, context, doctree):
    if not is_notebook(app.env, pagename) or not app.config.lite_site:
        return
    size = _megabytes(Path(app.srcdir), Path(app.outdir))
    place = context["pathto"]("lite/notebooks/index.html", 1)
    button = {
        "type": "link",
        "text": f"Run in this browser (about {size} MB)",
        "tooltip": "JupyterLite: nothing is installed, and nothing leaves this machine",
        "icon": "_static/images/logo_jupyterlite.svg",
        "url": f"{place}?path={pagename}.ipynb",
    }
    for group in context.get("header_buttons", []):
        if any(other.get("text") == "Colab" for other in group.get("buttons", [])):
            group["buttons"].append(button)


def _write_notebooks(app, exception):
    """Take over the copies of all pages, without the cell that installs what is here already."""
    if exception is not None or app.builder.format != "html" or not app.config.lite_site:
        return
    out = Path(app.outdir)
    names = sorted(name for name in app.env.found_docs if is_notebook(app.env, name))
    targets = {out / f"lite/files/{name}.ipynb": out / f"_sources/{name}.ipynb" for name in names}
    for stale in {*(out / "lite/files/book").rglob("*.ipynb")} - set(targets):
        stale.unlink()
    for target, source in targets.items():
        if target.exists() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns:
            continue
        notebook = nbformat.read(source, as_version=4)
        del notebook.cells[0]
        notebook.metadata.kernelspec = {"name": "python", "display_name": "Python"}
        write_notebook(notebook, target)
    _write_contents(out / "lite", names)
    size = sum(path.stat().st_size for path in (out / "lite").rglob("*") if path.is_file())
    logger.info("Notebooks in the browser: %d pages, %.1f MB.", len(names), size / 1e6)


def setup(app):
    """Connect the part."""
    app.add_config_value("lite_site", "", "html")
    app.connect("config-inited", _find_site)
    app.connect("builder-inited", _write_site, priority=900)  # the runtime is there
    app.connect("html-page-context", _add_button, priority=901)  # the other buttons are there
    app.connect("build-finished", _write_notebooks)
