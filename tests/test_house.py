"""The house itself: files stand where they are looked for, and the rules about text are kept."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import unicodedata
from functools import cache
from pathlib import Path

import pytest

from tests import claims

ROOT = Path(__file__).parents[1]
LIB = ROOT / "lib"
BOOK = ROOT / "book"
LONGEST_CELL = 25
# Lines without docstrings: those may be long, they are the lesson; the code has to be seen whole.
LONGEST_FUNCTION = 60
LONGEST_MODULE = 300


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


MODULES = sorted(LIB.rglob("*.py"))
PAGES = sorted(BOOK.rglob("*.md"))
each_module = pytest.mark.parametrize("path", MODULES, ids=_relative)
each_page = pytest.mark.parametrize("path", PAGES, ids=_relative)


def _chapters() -> list[str]:
    """A chapter is a module of `trainlab.explorers` that declares explorers."""
    entries = [p for p in (LIB / "trainlab/explorers").iterdir() if p.name[0] not in "_."]
    return sorted(p.stem for p in entries if p.is_dir() or "EXPLORERS" in p.read_text("utf-8"))


FENCE = re.compile(r"^(`{3,}|:{3,})\{code-cell\}[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
OPTIONS = re.compile(r"(?::[\w-]+:[^\n]*\n|---\n.*?\n---\n|\s*\n)*", re.DOTALL)
SOLUTION = re.compile(r"\{solution-start\}.*?\{solution-end\}", re.DOTALL)


def _cells(page: Path, *, solutions: bool = True) -> list[str]:
    """Return the code of each cell that the build executes, without its options."""
    text = page.read_text(encoding="utf-8")
    if not solutions:
        text = SOLUTION.sub("", text)
    return [OPTIONS.sub("", m.group(2), count=1).rstrip() for m in FENCE.finditer(text)]


def _code(cells: list[str]) -> ast.Module:
    """Parse cells, without their magics."""
    return ast.parse(re.sub(r"(?m)^%.*$", "", "\n".join(cells)))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(tree: ast.AST) -> set[str]:
    """Return the packages that are imported by their full names."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _git_files() -> list[Path]:
    """Return the files that are, or would be, in git; skip where this is no work tree."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git work tree")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def _is_text(path: Path) -> bool:
    return b"\0" not in path.read_bytes()[:8192]


# One name runs through the house.


def test_there_are_chapters():
    assert len(_chapters()) >= 5


@pytest.mark.parametrize("chapter", _chapters())
def test_chapter_has_all_its_files(chapter):
    pages = [_relative(p) for p in BOOK.glob(f"*/{chapter}.md")]
    assert len(pages) == 1, f"one page book/<part>/{chapter}.md wanted, found {pages}"
    module = LIB / "trainlab" / chapter
    assert module.is_dir() or module.with_suffix(".py").is_file(), f"no {_relative(module)}.py"
    for test in (f"test_{chapter}.py", f"cases/{chapter}.py"):
        assert (ROOT / "tests/trainlab" / test).is_file(), f"no tests/trainlab/{test}"


@each_page
def test_page_with_explorers_is_a_chapter(path):
    """Whoever reads a page finds its code by the page's name (the opening page shows any)."""
    shown = [c for c in _cells(path) if "from trainlab.explorers." in c]
    if shown and path.parent != BOOK:
        assert path.stem in _chapters()


@each_page
def test_page_is_in_the_contents(path):
    document = path.relative_to(ROOT).with_suffix("").as_posix()
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert re.search(rf"\b{re.escape(document)}\b", contents), f"{document} is not in _toc.yml"


# Imports run one way: trainlab <- trainlab.explorers <- pages; explorables knows no subject.


@each_module
def test_imports_run_one_way(path):
    packages = {name.split(".")[0] for name in _imports(_tree(path))}
    where = _relative(path)
    if where.startswith("lib/explorables/"):
        assert "trainlab" not in packages
    elif not where.startswith("lib/trainlab/explorers/"):
        assert not packages & {"matplotlib", "ipywidgets", "IPython", "explorables"}
    else:
        assert "ipywidgets" not in packages


def _lines_of_docstrings(tree: ast.AST) -> int:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [n for n in ast.walk(tree) if isinstance(n, documented) and ast.get_docstring(n)]
    return sum(n.body[0].end_lineno - n.body[0].lineno + 1 for n in nodes)


@each_module
def test_code_is_of_a_size_to_be_read(path):
    tree = _tree(path)
    lines = len(path.read_text(encoding="utf-8").splitlines()) - _lines_of_docstrings(tree)
    assert lines <= LONGEST_MODULE, f"{lines} lines of code: split the module"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            lines = node.end_lineno - node.lineno + 1 - _lines_of_docstrings(node)
            assert lines <= LONGEST_FUNCTION, f"{node.name} has {lines} lines of code"


# One concept has one name: CONTRIBUTING.md has the table.
OTHER_NAMES = {
    "learning_rate": "lr",
    "eta": "lr",
    "beta1": "b1",
    "beta2": "b2",
    "epsilon": "eps",
    "wd": "weight_decay",
    "seed": "rng",
    "random_state": "rng",
    "keep_prob": "p",
    "n_in": "fan_in",
    "n_out": "fan_out",
    "dy": "cotangent",
    "grad_output": "cotangent",
}


@pytest.mark.parametrize("path", sorted(LIB.glob("trainlab/*.py")), ids=_relative)
def test_parameters_have_the_house_names(path):
    found = {}
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef):
            for argument in [*node.args.args, *node.args.kwonlyargs]:
                if argument.arg in OTHER_NAMES:
                    found[f"{node.name}({argument.arg})"] = OTHER_NAMES[argument.arg]
    assert found == {}


# Pages are text, and their cells short.


def test_git_holds_no_notebook_and_no_output():
    bad = {".ipynb", ".pyc"}
    assert [_relative(p) for p in _git_files() if p.suffix in bad or "_build" in p.parts] == []


@each_page
def test_cells_are_short(path):
    for code in _cells(path):
        assert code, "an empty cell, or its options were not understood"
        lines = [line for line in code.splitlines() if line.strip()]
        assert len(lines) <= LONGEST_CELL, f"a cell of {len(lines)} lines:\n{code}"


@each_page
def test_page_defines_nothing(path):
    """What another page or test could want belongs into a module; solutions are the reader's."""
    nodes = ast.walk(_code(_cells(path, solutions=False)))
    found = [n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    assert found == []


PART = re.compile(
    r"\{literalinclude\} (\S+)\n:language: python\n:pyobject: (\w+)\n:lines: (\d+)-(\d+)"
)


@each_page
def test_included_lines_are_the_end_of_a_function(path):
    """Lines are counted from its first; a longer docstring would move them unseen."""
    for file, name, first, last in PART.findall(path.read_text(encoding="utf-8")):
        tree = ast.parse((path.parent / file).read_text(encoding="utf-8"))
        (function,) = (n for n in tree.body if getattr(n, "name", "") == name)
        top = min([function.lineno, *(d.lineno for d in function.decorator_list)]) - 1
        code = function.body[1:]  # without the docstring
        assert top + int(first) in {statement.lineno for statement in code}
        assert top + int(last) == function.end_lineno


@each_page
def test_page_opens_as_a_notebook(path):
    """A page with cells carries the header that makes it a notebook in JupyterLab."""
    if _cells(path):
        header = path.read_text(encoding="utf-8").partition("\n---\n")[0]
        for needed in ("format_name: myst", "formats: md:myst", "name: python3"):
            assert needed in header


# Claims and explorers: none is left out.


def test_every_claim_of_the_ledger_has_a_test():
    shown = claims.shown()
    missing = [claim for claim in claims.ledger() if claim not in shown]
    assert missing == [], f"claims without a test: {', '.join(missing)}"


def test_no_test_shows_a_claim_that_is_not_in_the_ledger():
    rows = claims.ledger()
    unknown = {c: tests for c, tests in claims.shown().items() if c not in rows}
    assert unknown == {}


def _shown_explorers() -> set[str]:
    """Return the names of the explorers that some page shows."""
    names = set()
    for page in PAGES:
        tree = _code(_cells(page))
        shows = {
            node.func.value.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "show"
            and isinstance(node.func.value, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("trainlab.explorers"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if (alias.asname or alias.name) in shows:
                        names.add(getattr(module, alias.name).name)
    return names


def test_every_explorer_stands_on_a_page():
    from trainlab.explorers import registry

    missing = sorted(set(registry()) - _shown_explorers())
    assert missing == [], f"explorers that no page shows: {', '.join(missing)}"


# Sources: none stands in the bibliography for decoration.

ENTRY = re.compile(r"^@\w+\{([\w-]+),(.*?)^\}", re.MULTILINE | re.DOTALL)
CITED = re.compile(r"\{footcite:[pt]\}`([^`]*)`")


def _plain(text: str) -> str:
    """Return lower-case letters without accents, with single spaces."""
    letters = unicodedata.normalize("NFKD", re.sub(r"\s+", " ", text)).lower()
    return "".join(c for c in letters if not unicodedata.combining(c))


def test_every_source_is_cited():
    """On a page, or by author and year in a docstring of the library."""
    keys = {k.strip() for page in PAGES for m in CITED.findall(page.read_text("utf-8"))
            for k in m.split(",")}  # fmt: skip
    library = _plain("\n".join(p.read_text("utf-8") for p in MODULES))
    missing = []
    for key, fields in ENTRY.findall((BOOK / "references.bib").read_text("utf-8")):
        author = re.search(r"author = \{+(.*?)(?:,| and |\})", fields)[1]
        year = re.search(r"year = \{(\d+)", fields)[1]
        named = re.search(rf"{re.escape(_plain(author))}\b.{{0,90}}{year}", library)
        if key not in keys and not named:
            missing.append(key)
    assert missing == [], f"sources that nothing cites: {', '.join(missing)}"


# What is installed is pinned, and what is said can be done.


def _pins(name: str) -> dict[str, str]:
    """Return package -> version; every line has to pin one."""
    pins = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        requirement = line.split("#")[0].strip()
        if requirement:
            match = re.fullmatch(r"([a-z0-9-]+)==([\w.+]+)(?: ; .+)?", requirement)
            assert match, f"{name}: {requirement!r} is not a pinned release"
            assert match.group(1) not in pins, f"{name}: {match.group(1)} is pinned twice"
            pins[match.group(1)] = match.group(2)
    return pins


def test_requirements_are_pinned_and_agree():
    book, dev = _pins("requirements.txt"), _pins("requirements-dev.txt")
    assert {package: dev.get(package) for package in book} == book
    assert "jupyterlite-core" in _pins("lite/requirements.txt")


def test_requirements_cover_what_pyproject_asks_for():
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = {
        "requirements.txt": project["dependencies"] + extras["book"],
        "requirements-dev.txt": extras["dev"],
    }
    for name, requirements in asked.items():
        pins = _pins(name)
        for requirement in map(Requirement, requirements):
            version = pins.get(canonicalize_name(requirement.name))
            assert version is not None, f"{requirement.name} is not in {name}: make lock"
            assert version in requirement.specifier, f"{requirement} but {version}: make lock"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_commands_that_are_named_exist(name):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z]+)|^make ([a-z]+)", text, re.MULTILINE))
    named = {a or b for a, b in named}
    assert named
    assert named - targets == set()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_files_that_are_linked_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_no_file_names_a_path_outside_the_project():
    homes = "|".join(["home", "root", "Users", "work", "mnt", "tmp"])
    absolute = re.compile(rf"(?<![\w.:/}}-])/(?:{homes})/\w")
    upward = re.compile(r"(?<![\w./])(?:\.\./)+[\w.-]+")
    found = []
    for path in _git_files():
        if path.suffix == ".svg" or not _is_text(path):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            outside = absolute.search(line) or next(
                (
                    climb
                    for climb in upward.finditer(line)
                    if not (path.parent / climb.group()).resolve().is_relative_to(ROOT)
                ),
                None,
            )
            if outside:
                found.append(f"{_relative(path)}:{number}: {outside.group()}")
    assert found == []
