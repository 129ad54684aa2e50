"""Run sweeps on all cores and store them: ``python -m trainlab.sweeps [NAME ...]``.

With ``--backend dask`` the same runs go to a cluster; ``--scheduler`` says where it is. That needs
the package ``distributed`` and this project on every worker.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import sys
import time
from typing import Any

from . import data_file, names, sweep

MAKERS = ("numpy", "joblib")


def main(arguments: list[str] | None = None) -> int:
    """Run the sweeps that are named, or all."""
    parser = argparse.ArgumentParser(prog="trainlab.sweeps", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names()) + " (or all)")
    parser.add_argument("--backend", choices=("loky", "threading", "dask"), default="loky")
    parser.add_argument("--jobs", type=int, default=-1, help="runs at a time (all cores)")
    parser.add_argument("--scheduler", help="address of a Dask scheduler (else one of its own)")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - set(names()):
        parser.error(f"no sweep is called {', '.join(sorted(unknown))}; there are {names()}")
    if asked.backend == "dask":
        from distributed import Client

        Client(asked.scheduler)  # joblib finds it
    for name in asked.names or names():
        start = time.perf_counter()
        runs = _run(name, asked.backend, asked.jobs)
        _store(name, runs)
        print(f"{name}: {len(runs)} runs in {time.perf_counter() - start:.0f} s")
    return 0


def _run(name: str, backend: str, jobs: int) -> list[dict[str, Any]]:
    from joblib import Parallel, delayed, parallel_config

    chosen = sweep(name)
    with parallel_config(backend=backend, n_jobs=jobs):
        results = Parallel(batch_size=1)(delayed(_timed)(name, dict(c)) for c in chosen.grid)
    return [
        {"cell": dict(cell), "result": _short(result), "seconds": round(seconds, 2)}
        for cell, (result, seconds) in zip(chosen.grid, results, strict=True)
    ]


def _timed(name: str, cell: dict[str, Any]) -> tuple[dict[str, Any], float]:
    start = time.process_time()
    return sweep(name).run(**cell), time.process_time() - start


def _short(value: Any) -> Any:
    """Round to the six digits that are stored."""
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _store(name: str, runs: list[dict[str, Any]]) -> None:
    versions = {package: importlib.metadata.version(package) for package in MAKERS}
    head = {
        "command": f"python -m trainlab.sweeps {name}",
        "versions": {"python": platform.python_version(), **versions},
    }
    lines = ",\n".join(json.dumps(run, ensure_ascii=False) for run in runs)
    opening = json.dumps(head, ensure_ascii=False)[:-1]
    file = data_file(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'{opening}, "runs": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
