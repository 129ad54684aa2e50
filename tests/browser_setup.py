"""Find the Chromium that the browser tests drive, and get one where there is none.

``python -m tests.browser_setup`` prints its path. The order: a Chromium or Chrome of the system,
the one that Playwright keeps, Debian's package (as root).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


def _starts(path: str | None) -> bool:
    """Whether the browser runs: Playwright's needs libraries that a bare system lacks."""
    if path is None or not Path(path).exists():
        return False
    done = subprocess.run([path, "--version"], capture_output=True, check=False)
    return done.returncode == 0


def _playwright_chromium() -> str:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tools:
        return tools.chromium.executable_path


def find() -> str | None:
    """Return the path of a Chromium that starts, or None."""
    system = next((path for name in NAMES if (path := shutil.which(name))), str(MAC))
    return next((path for path in (system, _playwright_chromium()) if _starts(path)), None)


def install() -> None:
    """Get Playwright's Chromium, or where that fails Debian's; progress goes to stderr."""
    print("No Chromium here: getting one for the browser tests.", file=sys.stderr, flush=True)
    subprocess.run(
        [sys.executable, "-m", "playwright", "install", "chromium"],
        stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    is_root = getattr(os, "geteuid", lambda: 1)() == 0
    if find() is None and is_root and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-qq", "-y", "--no-install-recommends", "chromium"],
        ):
            subprocess.run(
                command, env=environment, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                check=True,
            )  # fmt: skip


def main() -> int:
    """Print the path, after an installation if it has to be."""
    path = find()
    if path is None:
        install()
        path = find()
    if path is None:
        print("No Chromium found. Install Chromium or Chrome, then try again.", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
