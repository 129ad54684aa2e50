"""Which test shows which row of the ledger of claims: ``python -m tests.claims``.

The tests are read, not run, so this is cheap and needs no fixture.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent


def ledger() -> dict[str, str]:
    """Return id -> claim of all rows, in the ledger's order."""
    rows = (TESTS / "ledger.txt").read_text(encoding="utf-8").splitlines()
    return dict(row.split(maxsplit=1) for row in rows if row and not row.startswith("#"))


def _claims(node: ast.AST) -> Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.claim":
            yield from (argument.value for argument in call.args)


def shown() -> dict[str, list[str]]:
    """Return claim id -> the tests that are marked with it."""
    tests: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            where = f"{path.relative_to(TESTS).as_posix()}::{getattr(node, 'name', '(all)')}"
            for claim in _claims(node):
                tests.setdefault(claim, []).append(where)
    return tests


def main() -> int:
    """Print the table; the exit code says whether a row has no test."""
    rows, tests = ledger(), shown()
    for claim, text in rows.items():
        print(f"{claim:8} {text}", *tests.get(claim, ["NO TEST"]), sep="\n           ")
    missing = [claim for claim in rows if claim not in tests]
    print(f"\n{len(rows) - len(missing)} of {len(rows)} claims have a test.")
    if missing:
        print(f"Without one: {', '.join(missing)}.")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
