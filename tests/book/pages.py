"""Which pages the book has, and which explorers stand on them, read from the sources."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = sorted(
    p.relative_to(ROOT).with_suffix(".html").as_posix() for p in ROOT.glob("book/**/*.md")
)


def explorers_of(page: str) -> list[str]:
    """Names of the explorers that a page shows, in their order."""
    text = (ROOT / page).with_suffix(".md").read_text(encoding="utf-8")
    line = r"^from ((?:trainlab\.explorers|explorables)\.[\w.]+) import (.+)$"
    modules = {
        name.strip(): module.rpartition(".")[2]
        for module, names in re.findall(line, text, re.MULTILINE)
        for name in names.split(",")
    }
    return [f"{modules[n]}.{n}" for n in re.findall(r"^(\w+)\.show\(\)$", text, re.M)]


PLACES = [(page, name) for page in PAGES for name in explorers_of(page)]
