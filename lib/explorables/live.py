"""What Python in the page does: find an explorer, and show any state of it.

The worker of a page calls `prepare` once for an explorer and `answer` for each state. Both speak
JSON; what a reader typed is a value in it, never code.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import sys
import traceback
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .controls import Control
from .explorer import Explorer
from .html_picture import HtmlPicture
from .shown import show_state

if TYPE_CHECKING:
    from .picture import Picture

__all__ = ["answer", "list_fonts", "prepare"]

_prepared: dict[str, tuple[Explorer, Picture]] = {}


def _alone(module: str) -> types.ModuleType:
    """Import a module without running its package, whose other explorers may need matplotlib."""
    package = module.rpartition(".")[0]
    if package and package not in sys.modules:
        parent = importlib.import_module(package.rpartition(".")[0]) if "." in package else None
        spec = importlib.machinery.PathFinder.find_spec(
            package, parent.__path__ if parent is not None else None
        )
        if spec is not None and spec.submodule_search_locations is not None:
            bare = types.ModuleType(package)
            bare.__path__ = list(spec.submodule_search_locations)
            sys.modules[package] = bare
            try:
                return importlib.import_module(module)
            finally:
                del sys.modules[package]
    return importlib.import_module(module)


# Faces of the one family that pictures are drawn in; with the list, matplotlib needs not open its
# forty fonts to make one.
FACES = (
    ("DejaVuSans", "normal", 400),
    ("DejaVuSans-Bold", "normal", 700),
    ("DejaVuSans-Oblique", "oblique", 400),
    ("DejaVuSans-BoldOblique", "oblique", 700),
)


def list_fonts() -> None:
    """Leave the list of fonts where matplotlib looks for it; called before its first import."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        return
    fonts = [
        {
            "fname": f"fonts/ttf/{file}.ttf",
            "name": "DejaVu Sans",
            "style": style,
            "variant": "normal",
            "weight": weight,
            "stretch": "normal",
            "size": "scalable",
            "__class__": "FontEntry",
        }
        for file, style, weight in FACES
    ]
    manager = {
        "_version": 330,  # of matplotlib 3.8; another version ignores the list and makes its own
        "_FontManager__default_weight": "normal",
        "default_size": None,
        "defaultFamily": {"ttf": "DejaVu Sans", "afm": "Helvetica"},
        "afmlist": [],
        "ttflist": fonts,
        "__class__": "FontManager",
    }
    place = Path(spec.submodule_search_locations[0]) / "fontlist.json"
    place.write_text(json.dumps(manager), encoding="utf-8")


def prepare(name: str, module: str, layout: str) -> None:
    """Get an explorer ready to answer.

    Parameters
    ----------
    name : str
        Of the explorer.
    module : str
        Where its ``compute`` stands; the explorer stands there too.
    layout : str
        JSON: the places of the axes in the picture that stands in the page.
    """
    if name in _prepared:
        return
    found = [
        thing
        for thing in vars(_alone(module)).values()
        if isinstance(thing, Explorer) and thing.name == name
    ]
    if not found:
        raise LookupError(f"there is no explorer {name} in {module}")
    explorer = found[0]
    if explorer.view is not None:
        _prepared[name] = explorer, HtmlPicture(explorer)
    else:
        from .picture import SvgPicture  # late: it needs matplotlib

        _prepared[name] = explorer, SvgPicture(explorer, layout=json.loads(layout))


def _typed(control: Control, value: Any) -> Any:
    """Undo what JSON does to numbers between those that are declared: 1.0 comes as 1."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and isinstance(control.default, float) else value


def answer(name: str, params: str) -> str:
    """Show a state.

    Parameters
    ----------
    name : str
        Of a prepared explorer.
    params : str
        JSON object: the value of each control.

    Returns
    -------
    str
        JSON: ``entry`` (parts, sentence, numbers) and ``texts`` (the words for each value), or
        ``error`` and ``traceback``.
    """
    explorer, picture = _prepared[name]
    try:
        given = json.loads(params)
        state = {c.name: _typed(c, given.get(c.name, c.default)) for c in explorer.controls}
        shown = show_state(explorer, picture, state)
    except Exception as error:
        cause = error.__cause__ or error
        return json.dumps({"error": str(cause), "traceback": traceback.format_exc()})
    texts = {c.name: c.text(state[c.name]) for c in explorer.stored}
    return json.dumps({"entry": shown.stored(), "texts": texts}, ensure_ascii=False)
