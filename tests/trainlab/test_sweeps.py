"""Stored training runs are those that the code makes today."""

import json

import numpy as np
import pytest

from trainlab import sweeps
from trainlab.sweeps import __main__ as runner

NAMES = sweeps.names()
SECONDS = 6.0  # of computing again, for each sweep


def content(name):
    return json.loads(sweeps.data_file(name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_of_the_grid_is_stored_and_no_other(name):
    stored = [run["cell"] for run in content(name)["runs"]]
    assert stored == json.loads(json.dumps([dict(cell) for cell in sweeps.sweep(name).grid]))


@pytest.mark.parametrize("name", NAMES)
def test_the_file_says_what_made_it_and_stays_small(name):
    made = content(name)
    assert made["command"] == f"python -m trainlab.sweeps {name}"
    assert {"python", "numpy", "joblib"} <= made["versions"].keys()
    assert sweeps.data_file(name).stat().st_size <= 150_000


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_made_again_is_the_same(name):
    """One run is always made again, however long; more as far as the time goes."""
    runs = content(name)["runs"]
    order = np.random.default_rng(len(runs)).permutation(len(runs))
    left = SECONDS
    for run in [runs[order[0]], *sorted((runs[i] for i in order[1:]), key=lambda r: r["seconds"])]:
        if left < 0:
            break
        left -= max(run["seconds"], 0.01)
        sweep = sweeps.sweep(name)
        result = sweep.run(**run["cell"])
        assert result.keys() == run["result"].keys()
        for key, value in run["result"].items():
            message = f"{key} of {run['cell']}"
            if isinstance(value, (str, bool)) or value is None:
                assert result[key] == value, message
            elif key in sweep.bursts:
                difference = np.abs(np.divide(result[key], value) - 1)
                assert np.median(difference) <= sweep.rtol, message
            else:
                np.testing.assert_allclose(
                    result[key], value, sweep.rtol, sweep.rtol, err_msg=message
                )


def test_unknown_sweeps_and_cells_are_refused():
    for ask in (sweeps.sweep, sweeps.data_file, sweeps.stored):
        with pytest.raises(ValueError, match=r"name must be one of .*; got 'nothing'"):
            ask("nothing")
    with pytest.raises(ValueError, match="cell must select one run"):
        sweeps.stored_run(NAMES[0], nothing=1)
    with pytest.raises(SystemExit):
        runner.main(["nothing"])


def test_what_is_stored_has_six_digits():
    assert runner._short({"a": [1.23456789, 3], "b": "x"}) == {"a": [1.23457, 3], "b": "x"}


def test_the_runner_stores_what_the_reader_reads(monkeypatch, tmp_path):
    name = NAMES[0]
    one = sweeps.Sweep(run=lambda depth: {"loss": depth / 3}, grid=[{"depth": 2}, {"depth": 4}])
    monkeypatch.setattr(runner, "sweep", lambda name: one)
    monkeypatch.setattr(runner, "data_file", lambda name: tmp_path / "kept.json")
    assert runner.main([name, "--backend", "threading", "--jobs", "1"]) == 0
    monkeypatch.setattr(sweeps, "data_file", lambda name: tmp_path / "kept.json")
    sweeps.stored.cache_clear()
    assert sweeps.stored(name) == ({"depth": 2, "loss": 0.666667}, {"depth": 4, "loss": 1.33333})
    sweeps.stored.cache_clear()
