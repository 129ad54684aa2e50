"""Keep what a book build has baked, until a source that it may depend on changes.

A page whose text was edited runs again; its explorers are the same as before. The Sphinx
extension names a folder in ``EXPLORABLES_CACHE``. Each explorer has one file there: what its cell
put out, and a key made of the sources of its package and of this one and of the versions of
everything installed.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path

from .explorer import Explorer

__all__ = ["CACHE_VARIABLE", "remembered"]

CACHE_VARIABLE = "EXPLORABLES_CACHE"


def remembered(explorer: Explorer, make: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Return what `make` gave for this explorer the last time, or else what it gives now.

    Parameters
    ----------
    explorer : Explorer
        Its package is where `compute` is defined. One that a cell defines is not kept: its source
        is in no file.
    make : callable
        Bakes the explorer and returns what can be written as JSON.

    Returns
    -------
    dict of str
    """
    folder = os.environ.get(CACHE_VARIABLE)
    package = explorer.compute.__module__.partition(".")[0]
    if not folder or package == "__main__":
        return make()
    file = Path(folder) / f"{explorer.name}.json"
    key = _key(package)
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return dict(kept["made"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there yet, or cut short: made anew
    made = make()
    _write(file, json.dumps({"key": key, "made": made}, ensure_ascii=False))
    return made


@cache
def _key(package: str) -> str:
    """Hash the files of two packages and the versions of all that is installed."""
    digest = hashlib.sha256(sys.version.encode())
    for name, version in sorted((d.name, d.version) for d in metadata.distributions()):
        digest.update(f"{name}=={version}\n".encode())
    for name in (package, __name__.partition(".")[0]):
        module = importlib.import_module(name)
        for root in map(Path, getattr(module, "__path__", [module.__file__])):
            files = [p for p in root.rglob("*") if p.is_file()] if root.is_dir() else [root]
            for path in sorted(p for p in files if p.suffix != ".pyc"):
                digest.update(f"{path.relative_to(root.parent)}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _write(file: Path, text: str) -> None:
    # Pages are read side by side, and two of them may show the same explorer.
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=file.parent, suffix=".part", delete=False
    ) as part:
        part.write(text)
    os.replace(part.name, file)
