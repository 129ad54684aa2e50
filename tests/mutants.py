"""Mutation testing: change the library in one place, and see whether a test notices.

``python -m tests.mutants`` takes four places of each module of `trainlab`, always the same ones as
long as the module is the same, and runs the module's doctests, contract cases and tests (where it
has no file of its own, the tests that import it) on a copy. What survives is printed with its
place, and fewer than 90 % killed is a failure. Some survivors change nothing that could be seen;
the others are tests to be written.

Each run is a fork of a process that has loaded NumPy, pytest and the referees. The first run of a
module is without any change and without referees; it shows which tests are quick. These come first
afterwards, and the referees last.

mutmut does not change decorated functions, and most of ours are; it also renames functions, and our
messages name them. cosmic-ray changes the tree itself. Hence these lines.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
WANTED = 0.9
FORKS = multiprocessing.get_context("forkserver")
OPTIONS = "-x -q -p no:cacheprovider --assert=plain --hypothesis-seed=0"
LOADED = ["pytest", "hypothesis.extra.numpy", "jax", "optax", "sklearn.linear_model", "torch"]
PAIRS = "Lt LtE, Gt GtE, Eq NotEq, Is IsNot, In NotIn, And Or"  # codespell:ignore
PAIRS += ", Add Sub, Mult Div, BitAnd BitOr, LShift RShift"
BOTH_WAYS = [tuple(getattr(ast, name) for name in pair.split()) for pair in PAIRS.split(", ")]
SWAPS = dict(BOTH_WAYS) | {b: a for a, b in BOTH_WAYS}
SWAPS |= {ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitXor: ast.BitAnd}


class Mutant(NamedTuple):
    """One change: what stood at a place of the source, and what stands there now."""

    node: ast.stmt | ast.expr
    new: str

    def apply(self, source: str) -> str:
        """Return the changed source; the rest stays as it is, doctests and comments too."""
        node, lines = self.node, source.encode().splitlines(keepends=True)  # the tree counts bytes
        before = [*lines[: node.lineno - 1], lines[node.lineno - 1][: node.col_offset]]
        after = [lines[node.end_lineno - 1][node.end_col_offset :], *lines[node.end_lineno :]]
        return b"".join([*before, self.new.encode(), *after]).decode()

    def show(self, source: str) -> str:
        old = " ".join(ast.get_source_segment(source, self.node).split())
        return f"    - {old}\n    + {' '.join(self.new.split())}"


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through what is computed: no annotations, types, messages or decorators."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            skipped = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)
            if isinstance(child, ast.AST) and not isinstance(child, skipped) and not _type(child):
                yield from _executed(child)


def _type(node: ast.AST) -> bool:
    """Say whether a statement names a type or the public names."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    names = [t.id for t in targets if isinstance(t, ast.Name)]
    return any(name == "__all__" or (name[0].isupper() and not name.isupper()) for name in names)


def _swapped(node: ast.AST, name: str, value: object) -> str:
    """Return the source of a copy of the node in which one field is another."""
    copy = ast.parse(ast.unparse(node)).body[0]
    part = copy if isinstance(node, ast.stmt) else copy.value
    setattr(part, name, value)
    return ast.unparse(part) if isinstance(node, ast.stmt) else f"({ast.unparse(part)})"


def mutants(source: str) -> list[Mutant]:
    """Return all changes of a module that are known, in the order of their places."""
    found = []
    for node in _executed(ast.parse(source)):
        match node:
            case ast.Compare(ops=[op]) if type(op) in SWAPS:
                found.append(Mutant(node, _swapped(node, "ops", [SWAPS[type(op)]()])))
            case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPS:
                found.append(Mutant(node, _swapped(node, "op", SWAPS[type(op)]())))
            case ast.BoolOp(op=op):
                found.append(Mutant(node, _swapped(node, "op", SWAPS[type(op)]())))
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                found.append(Mutant(node, f"({ast.unparse(operand)})"))
            case ast.Constant(value=bool(value)):
                found.append(Mutant(node, str(not value)))
            case ast.Constant(value=int(value)):
                found.append(Mutant(node, str(value + 1)))
            case ast.Constant(value=float(value)):
                found.append(Mutant(node, repr(2 * value if value else 1.0)))
            case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
                found.append(Mutant(node, "return None"))
            case ast.Expr(value=ast.Call()):
                found.append(Mutant(node, "pass"))
        if isinstance(node, (ast.If, ast.IfExp, ast.While)):
            found.append(Mutant(node.test, f"(not ({ast.unparse(node.test)}))"))
    return sorted(found, key=lambda m: (m.node.lineno, m.node.col_offset, m.new))


def _tests(module: str) -> list[str]:
    """Return the doctests, the contracts and the module's test file, or those that import it."""
    imported = re.compile(rf"from trainlab(\.{module} import| import .*\b{module}\b)")
    files = [ROOT / f"tests/trainlab/test_{module}.py"]
    if not files[0].exists():
        every = sorted((ROOT / "tests/trainlab").glob("test_*.py"))
        files = [path for path in every if imported.search(path.read_text(encoding="utf-8"))]
    files += [ROOT / f"lib/trainlab/{module}.py", ROOT / "tests/trainlab/test_contracts.py"]
    return [path.relative_to(ROOT).as_posix() for path in files]


class _Clock:
    """A plugin that notes how long the tests take, or starts with the quickest, where it knows."""

    def __init__(self, known: Path) -> None:
        self.known = known
        self.seconds: Counter[str] = Counter()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.known.exists():
            seconds = json.loads(self.known.read_text(encoding="utf-8"))
            items.sort(key=lambda item: seconds.get(item.nodeid, math.inf))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        if not self.known.exists():
            self.known.write_text(json.dumps(self.seconds), encoding="utf-8")


def _run(module: str, folder: Path) -> None:
    """Run the tests of a module in a copy; this process is a fork and does nothing else."""
    known = folder / f"{module}.json"
    # Byte code is told from its source by size and second: too coarse for mutants.
    sys.dont_write_bytecode = known.exists()
    os.environ |= {"TRAINLAB_CASES": module, "PYTHONPATH": str(folder / "lib")}
    os.chdir(folder)
    sys.path[:0] = [str(folder), str(folder / "lib")]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]  # not those of the copy
    for output in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    hypothesis.settings.register_profile("mutants", deadline=None)  # the machine is busy
    hypothesis.settings.load_profile("mutants")
    chosen = ["-m", "" if known.exists() else "not referee", *_tests(module)]
    sys.exit(pytest.main([*OPTIONS.split(), *chosen], plugins=[_Clock(known)]))


def survives(module: str, folder: Path, timeout: float | None = None) -> bool:
    """Run the tests of a module in a copy, in a process where NumPy and the referees are loaded."""
    process = FORKS.Process(target=_run, args=(module, folder))
    process.start()
    process.join(timeout)
    process.kill()  # what hangs is killed as well
    process.join()
    return process.exitcode == 0


def _measure(module: str, each: int, folders: SimpleQueue[Path]) -> tuple[int, list[Mutant] | None]:
    """Return how many mutants of a module were tested, and those that survived."""
    folder = folders.get()
    path = folder / f"lib/trainlab/{module}.py"
    source = path.read_text(encoding="utf-8")
    known = mutants(source)
    random.Random(module).shuffle(known)
    left = []
    try:
        started = time.monotonic()
        if not survives(module, folder):
            return 0, None
        timeout = 60 + 5 * (time.monotonic() - started)
        for mutant in known[:each]:
            path.write_text(mutant.apply(source), encoding="utf-8")
            if survives(module, folder, timeout):
                left.append(mutant)
    finally:
        path.write_text(source, encoding="utf-8")
        folders.put(folder)
    return len(known[:each]), left


def main() -> int:
    """Print the survivors, a line a module, and the share that was killed."""
    every = sorted(p.stem for p in (ROOT / "lib/trainlab").glob("*.py") if p.name[0] != "_")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=every, help="without trainlab (default: all)")
    parser.add_argument("--each", type=int, default=4, help="mutants of each module")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="modules at once")
    options = parser.parse_args()
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore::RuntimeWarning"}
    FORKS.set_forkserver_preload(LOADED)
    folders: SimpleQueue[Path] = SimpleQueue()
    killed = total = broken = 0
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(options.jobs) as pool:
        for i in range(options.jobs):
            folder = Path(place) / str(i)
            for name in ("lib", "tests"):
                shutil.copytree(ROOT / name, folder / name)
            shutil.copy(ROOT / "pyproject.toml", folder)
            (folder / "book").symlink_to(ROOT / "book")
            folders.put(folder)
        runs = [pool.submit(_measure, m, options.each, folders) for m in options.modules]
        for module, run in zip(options.modules, runs, strict=True):
            tested, left = run.result()
            if left is None:
                print(f"{module:24} its tests fail without any change", flush=True)
                broken += 1
                continue
            killed, total = killed + tested - len(left), total + tested
            print(f"{module:24} {tested - len(left)} of {tested} killed", flush=True)
            source = (ROOT / f"lib/trainlab/{module}.py").read_text(encoding="utf-8")
            for mutant in left:
                print(f"  lib/trainlab/{module}.py:{mutant.node.lineno}\n{mutant.show(source)}")
    share = killed / total if total else 1.0
    print(f"\n{killed} of {total} mutants killed, {share:.0%}; wanted are {WANTED:.0%}.")
    return int(share < WANTED or broken > 0)


if __name__ == "__main__":
    sys.exit(main())
