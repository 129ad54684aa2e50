"""The data that `trainlab` ships, made anew: ``python -m tests.make_data``, or ``make data``.

- ``digits.npz`` from scikit-learn.
- ``book_corpus.txt.gz``: the prose of the pages. Its first line has a checksum of the pages that it
  was made from; a form feed and its name stand before each page.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trainlab.text_cleaning import clean_text

ROOT = Path(__file__).parents[1]
DATA = ROOT / "lib/trainlab/data"
LARGEST_CORPUS = 300_000  # bytes, compressed

# Directives whose content is prose. What is in any other fence is code, or made by a program.
PROSE = {"admonition", "exercise", "exercise-start", "solution", "note", "tip", "warning"}
FENCE = re.compile(r"(`{3,}|:{3,})(?:\{([\w:-]+)\}(.*)|.*)$")
INLINE: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"\{footcite:p\}`[^`]*`", ""),
    (r"\{footcite:t\}`([^`]*)`", lambda m: re.sub(r"([a-z])(\d+)\w?", r"\1 (\2)", m[1]).title()),
    (r"\{eval\}`[^`]*`", "N"),  # a number that the page computes
    (r"\{[\w:-]+\}`([^`<]*?)\s*(?:<[^`]*>)?`", r"\1"),  # other roles: the text that is shown
    (r"`+([^`]*)`+", r"\1"),
    (r"!\[[^\]]*\]\([^)]*\)", ""),
    (r"\[([^\]]*)\]\([^)]*\)", r"\1"),
    (r"\$([^$]*)\$", r"\1"),
    (r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"\2"),
    (r"(?<![\w*])\*(?=[^\s*])(.+?)(?<=[^\s*])\*(?![\w*])", r"\1"),
    (r"</?\w[^>]*>", ""),
    (r"[ \t]+", " "),
    (r" ([.,;:)])", r"\1"),
]


def prose(markdown: str) -> str:
    """Return the sentences and headings of a MyST page, one paragraph a line."""
    text = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)
    lines = re.sub(r"(?m)^\$\$.*?\$\$[^\n]*$", "", "\n".join(_without_code(text)), flags=re.DOTALL)
    paragraphs = re.split(r"\n\s*\n", lines)
    return clean_text("\n".join(filter(None, map(_plain, paragraphs)))) + "\n"


def _without_code(text: str) -> list[str]:
    kept: list[str] = []
    fences: list[tuple[str, bool]] = []  # those that are open, and whether they hold prose
    for line in text.splitlines():
        fence = FENCE.match(line.strip())
        opened = fences[-1][0] if fences else None
        if opened and line.strip().startswith(opened) and not line.strip().strip(opened[0]):
            fences.pop()
            kept.append("")
        elif fence and all(is_prose for _, is_prose in fences):
            fences.append((fence[1], fence[2] in PROSE))
            kept += ["", fence[3].strip() if fence[2] in PROSE and fence[3] else "", ""]
        elif all(is_prose for _, is_prose in fences):
            kept.append(line)
    return kept


def _plain(paragraph: str) -> str:
    sentences = []
    for line in paragraph.splitlines():
        line = line.strip()
        if re.match(r"\||:[\w-]+:|\([\w-]+\)=$|%|\+\+\+|-{3,}$", line):
            continue  # a row of a table, an option, a label, a comment, a break
        sentences.append(re.sub(r"^(?:#+|[*+-]|:|>|\d+\.)\s+", "", line))
    plain = " ".join(sentences)
    for pattern, replacement in INLINE:
        plain = re.sub(pattern, replacement, plain)
    return plain.strip()


def corpus(book: Path) -> bytes:
    """Return the file of the corpus, not yet compressed."""
    pages = sorted(book.rglob("*.md"))
    checksum = hashlib.sha256(b"\f".join(page.read_bytes() for page in pages)).hexdigest()
    parts = [f"book_corpus 1 sha256 {checksum} of {len(pages)} pages\n"]
    for page in pages:
        name = page.relative_to(book).with_suffix("").as_posix()
        parts.append(f"{name}\n{prose(page.read_text(encoding='utf-8'))}")
    return "\f".join(parts).encode()


def digits() -> dict[str, np.ndarray]:
    """Return the arrays of the file of digits."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return {"pixels": data.data.astype(np.uint8), "labels": data.target.astype(np.uint8)}


def main() -> None:
    """Write the files."""
    DATA.mkdir(exist_ok=True)
    np.savez_compressed(DATA / "digits.npz", **digits())
    # Without a time in it the file changes only with the text.
    compressed = gzip.compress(corpus(ROOT / "book"), compresslevel=9, mtime=0)
    if len(compressed) > LARGEST_CORPUS:
        raise SystemExit(f"The corpus has {len(compressed)} bytes; {LARGEST_CORPUS} are allowed.")
    (DATA / "book_corpus.txt.gz").write_bytes(compressed)
    for path in sorted(DATA.iterdir()):
        print(f"{path.stat().st_size:8} {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
