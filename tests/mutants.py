"""Mutation testing: change the library in one place, and see whether a test notices.

``python -m tests.mutants`` takes ten places of each module of `trainlab`, always the same ones as
long as the module is the same, and runs the module's doctests, the tests that import it and its
contract cases, on a copy. What survives is printed with its place, and fewer than 90 % killed is a
failure. Some survivors change nothing that could be seen; the others are tests to be written.

mutmut does not change decorated functions, and most of ours are; it also renames functions, and our
messages name them. cosmic-ray changes the tree itself. Hence these lines.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
WANTED = 0.9
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,  # codespell:ignore
    ast.NotIn: ast.In,  # codespell:ignore
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


class Mutant(NamedTuple):
    """One change: what stood at a place of the source, and what stands there now."""

    node: ast.stmt | ast.expr
    new: str

    def apply(self, source: str) -> str:
        """Return the changed source; the rest stays as it is, doctests and comments too."""
        lines = source.encode().splitlines(keepends=True)  # the tree counts bytes
        node = self.node
        before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
        after = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(
            lines[node.end_lineno :]
        )
        return (before + self.new.encode() + after).decode()

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
    """Return the test files that import the module."""
    files = []
    for path in sorted((ROOT / "tests/trainlab").glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = {a.name for a in node.names} if isinstance(node, ast.ImportFrom) else set()
            if names and (
                node.module == f"trainlab.{module}"
                or (node.module == "trainlab" and module in names)
            ):
                files.append(path.relative_to(ROOT).as_posix())
                break
    return files


def _copy(folder: Path) -> None:
    for name in ("lib", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "book").symlink_to(ROOT / "book")


def survives(module: str, folder: Path, timeout: float | None) -> bool:
    """Run the tests of a module in a copy, the slow collection of the contracts last."""
    # Byte code is told from its source by size and second: too coarse for mutants.
    env = os.environ | {
        "PYTHONPATH": str(folder / "lib"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    pytest += ["--hypothesis-seed=0"]
    contracts = ["tests/trainlab/test_contracts.py", "-k", f"{module}."]
    for chosen in ([f"lib/trainlab/{module}.py", *_tests(module)], contracts):
        try:
            done = subprocess.run(
                [*pytest, *chosen], cwd=folder, env=env, capture_output=True, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            return False
        if done.returncode not in (0, 5):  # 5: nothing to run, such as no doctest
            return False
    return True


def main() -> int:
    """Print the survivors, a line a module, and the share that was killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help="names without trainlab (default: all)")
    parser.add_argument("--count", type=int, default=10, help="mutants of each module")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="tested at once")
    options = parser.parse_args()
    every = sorted(p.stem for p in (ROOT / "lib/trainlab").glob("*.py") if p.name[0] != "_")
    folders: SimpleQueue[Path] = SimpleQueue()

    def test(module: str, source: str, timeout: float | None) -> tuple[bool, float]:
        folder, started = folders.get(), time.monotonic()
        path = folder / "lib/trainlab" / f"{module}.py"
        original = path.read_text(encoding="utf-8")
        try:
            path.write_text(source, encoding="utf-8")
            return survives(module, folder, timeout), time.monotonic() - started
        finally:
            path.write_text(original, encoding="utf-8")
            folders.put(folder)

    killed = total = 0
    broken = []
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(options.jobs) as pool:
        for i in range(options.jobs):
            _copy(Path(place) / str(i))
            folders.put(Path(place) / str(i))
        for module in options.modules or every:
            source = (ROOT / f"lib/trainlab/{module}.py").read_text(encoding="utf-8")
            green, seconds = test(module, source, None)
            if not green:
                print(f"{module:24} its tests fail without any change", flush=True)
                broken.append(module)
                continue
            known = mutants(source)
            sample = random.Random(module).sample(known, min(options.count, len(known)))
            # What hangs is killed as well.
            runs = [pool.submit(test, module, m.apply(source), 10 + 5 * seconds) for m in sample]
            left = [m for m, run in zip(sample, runs, strict=True) if run.result()[0]]
            killed, total = killed + len(sample) - len(left), total + len(sample)
            print(f"{module:24} {len(sample) - len(left)} of {len(sample)} killed", flush=True)
            for mutant in left:
                print(f"  lib/trainlab/{module}.py:{mutant.node.lineno}\n{mutant.show(source)}")
    share = killed / total if total else 1.0
    print(f"\n{killed} of {total} mutants killed, {share:.0%}; wanted are {WANTED:.0%}.")
    return int(share < WANTED or bool(broken))


if __name__ == "__main__":
    sys.exit(main())
