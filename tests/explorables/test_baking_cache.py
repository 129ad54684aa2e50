"""What was baked is used again exactly as long as nothing that it depends on has changed."""

import importlib
import sys
from dataclasses import replace

import pytest

from explorables import baking_cache
from explorables.baking_cache import CACHE_VARIABLE, remembered
from tests.explorables.example import wave


class Baker:
    """Counts how often it was asked."""

    times = 0

    def __call__(self):
        self.times += 1
        return {"html": f"<p>σ² {self.times}</p>"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "kept"))
    baking_cache._key.cache_clear()
    yield tmp_path / "kept"
    baking_cache._key.cache_clear()


@pytest.fixture
def explorer(tmp_path, monkeypatch):
    """The wave, with a `compute` from a package of its own that can be edited."""
    package = tmp_path / "wavepackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "made.py").write_text("def compute(frequency, shape, squared, seed): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield replace(wave, compute=importlib.import_module("wavepackage.made").compute)
    for name in ("wavepackage", "wavepackage.made"):
        sys.modules.pop(name)


def test_the_second_build_bakes_nothing(folder, explorer):
    baker = Baker()
    first = remembered(explorer, baker)
    assert remembered(explorer, baker) == first == {"html": "<p>σ² 1</p>"}
    assert baker.times == 1
    assert [p.name for p in folder.iterdir()] == [f"{explorer.name}.json"]


@pytest.mark.parametrize("changed", ["made.py", "other.py", "data/table.csv"])
def test_a_changed_or_new_file_of_the_package_bakes_again(folder, explorer, tmp_path, changed):
    baker = Baker()
    remembered(explorer, baker)
    file = tmp_path / "wavepackage" / changed
    file.parent.mkdir(exist_ok=True)
    file.write_text("changed = True\n")
    baking_cache._key.cache_clear()  # the next build has processes of its own
    remembered(explorer, baker)
    assert baker.times == 2


def test_another_version_of_a_dependency_bakes_again(folder, explorer, monkeypatch):
    baker = Baker()
    remembered(explorer, baker)
    baking_cache._key.cache_clear()
    monkeypatch.setattr(baking_cache.metadata, "distributions", list)
    remembered(explorer, baker)
    assert baker.times == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', "null"])
def test_a_damaged_file_is_written_anew(folder, explorer, text):
    baker = Baker()
    remembered(explorer, baker)
    (folder / f"{explorer.name}.json").write_text(text)
    remembered(explorer, baker)
    remembered(explorer, baker)
    assert baker.times == 2


def test_nothing_is_kept_of_what_a_cell_defines_or_without_a_folder(folder, explorer, monkeypatch):
    baker = Baker()
    explorer.compute.__module__ = "__main__"
    remembered(explorer, baker)
    remembered(explorer, baker)
    monkeypatch.delenv(CACHE_VARIABLE)
    explorer.compute.__module__ = "wavepackage.made"
    remembered(explorer, baker)
    assert baker.times == 3
    assert not folder.exists()
