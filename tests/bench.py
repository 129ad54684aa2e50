"""What a reader waits for, measured: ``make bench`` prints each budget and what it came to.

Medians over runs unless a row says otherwise; the browser is headless, the machine is named. With
``--store`` the tables that pages show are written anew.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from tests import bench_library
from tests.bench_live import in_the_page
from tests.book.pages import PAGES, PLACES
from tests.sites import chromium, move, served

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"
STORED = ROOT / "book" / "about" / "host_speed.json"  # for the page "How this book works"
Row = tuple[str, float, float, str]  # what, measured, budget, unit

CHANGES = """figure => {
  const times = [];
  for (const field of figure.querySelectorAll('.explorer-controls [name]')) {
    const n = JSON.parse(field.dataset.texts).length;
    for (let i = 0; i < 20; i++) {
      if (field.type === 'checkbox') field.checked = !field.checked;
      else field.value = String((Number(field.value) + 1) % n);
      const start = performance.now();
      field.dispatchEvent(new Event('input', {bubbles: true}));
      times.push(performance.now() - start);
      if (figure.getAttribute('aria-busy') !== 'false') throw new Error('busy');
    }
  }
  return times;
}"""

FIRST_CONTROL = """(() => {
  const timer = setInterval(() => {
    const field = document.querySelector('figure.explorer .explorer-controls [name]');
    if (!field || !window.explorables) return;
    const figure = field.closest('figure'), before = figure.dataset.state;
    if (field.type === 'checkbox') field.checked = !field.checked;
    else field.value = field.value === '0' ? '1' : '0';
    field.dispatchEvent(new Event('input', {bubbles: true}));
    if (figure.dataset.state !== before) {
      window.firstControl = performance.now(); clearInterval(timer);
    }
  }, 4);
})()"""


def in_the_browser() -> Iterator[Row]:
    """Control to picture over all explorers, and page to first working control."""
    times: list[float] = []
    firsts: list[float] = []
    with served(SITE) as address, chromium() as browser:
        for page, name in PLACES:
            window = browser.new_page(viewport={"width": 1280, "height": 900})
            window.goto(f"{address}/{page}")
            figure = window.locator(f'figure[data-explorer="{name}"]')
            figure.scroll_into_view_if_needed()
            first = figure.locator(".explorer-controls [name]").first.get_attribute("name")
            move(figure, first or "", 0)  # waits until the states are there
            times += figure.evaluate(CHANGES)
            window.close()
        for page in dict(PLACES):
            for _ in range(3):
                context = browser.new_context()  # nothing cached
                window = context.new_page()
                window.add_init_script(FIRST_CONTROL)
                window.goto(f"{address}/{page}")
                window.wait_for_function("window.firstControl > 0")
                firsts.append(window.evaluate("window.firstControl"))
                context.close()
    yield (
        "control to picture in the page, 95th percentile",
        float(np.quantile(times, 0.95)),
        8,
        "ms",
    )
    yield "control to picture in the page, median", statistics.median(times), 8, "ms"
    yield "page to first working control", statistics.median(firsts), 1000, "ms"


SETUP = """
from explorables.kernel import KernelExplorer
from trainlab.explorers import registry
shown = [KernelExplorer(e) for e in registry().values()]
for s in shown:
    c = next(iter(s.controls.values()))
    print(c.model_id, len(getattr(c, "options", (0, 1))))
"""


def in_a_kernel() -> Iterator[Row]:
    """Moving the first slider of each explorer: message out, computed, all messages back."""
    from jupyter_client.manager import start_new_kernel

    environment = {k: v for k, v in os.environ.items() if k != "EXPLORABLES_HOST"}
    manager, client = start_new_kernel(env=environment)
    try:
        out: list[str] = []
        client.execute_interactive(
            SETUP, timeout=120, output_hook=lambda m: out.append(m["content"].get("text", ""))
        )
        times = []
        for line in "".join(out).split("\n")[:-1]:
            model, options = line.split()
            for i in range(8):
                state = {"index": i % int(options)}
                content = {"comm_id": model, "data": {"method": "update", "state": state}}
                start = time.perf_counter()
                message = client.session.msg("comm_msg", content)
                client.shell_channel.send(message)
                while True:
                    reply = client.get_iopub_msg(timeout=30)
                    ours = reply["parent_header"].get("msg_id") == message["header"]["msg_id"]
                    if ours and reply["content"].get("execution_state") == "idle":
                        break
                times.append(1000 * (time.perf_counter() - start))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    yield "kernel round trip", statistics.median(times), 60, "ms"


def sizes() -> Iterator[Row]:
    """Stored states of each explorer; what a page loads before it is touched."""
    largest = 0.0
    for script in sorted((SITE / "_static" / "explorers").glob("*.js")):
        size = len(gzip.compress(script.read_bytes())) / 1000
        largest = max(largest, size)
        yield f"stored states of {script.name.rsplit('.', 2)[0]} (gzip)", size, 120, "kB"
    for page in PAGES:
        html = (SITE / page).read_text(encoding="utf-8")
        theme = 0
        for url in set(re.findall(r'<(?:script|link)\b[^>]*?(?:src|href)="([^":]+)"', html)):
            path = (SITE / page).parent / url.partition("?")[0]
            if path.suffix in (".js", ".css"):
                theme += len(gzip.compress(path.read_bytes()))
        yield f"theme and scripts of {page} (gzip)", theme / 1000, 450, "kB"


def build() -> Iterator[Row]:
    """A cold build of the book in a copy, then one with a page edited."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "book"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("_build", ".venv*", ".git"))
        command = [sys.executable, "-m", "jupyter_book", "build", "."]

        def timed() -> float:
            start = time.perf_counter()
            subprocess.run(command, cwd=copy, check=True, capture_output=True)
            return time.perf_counter() - start

        yield "cold build of the book (one run)", timed(), 300, "s"
        page = copy / "book/signal/normalization.md"
        page.write_text(page.read_text(encoding="utf-8") + "\nEdited.\n", encoding="utf-8")
        yield "build after one page was edited (one run)", timed(), 15, "s"


def library() -> Iterator[Row]:
    """The computations that pages lean on."""
    from trainlab.double_descent import min_norm_curve, relu_features
    from trainlab.explorers import registry

    rng = np.random.default_rng(0)
    # 100 examples of 64 inputs, ten outputs, 500 test points, 53 widths with the peak among them.
    x, test = rng.standard_normal((100, 64)) / 8, rng.standard_normal((500, 64)) / 8
    weight, targets = rng.standard_normal((1000, 64)), rng.standard_normal((100, 10))
    features, test_features = relu_features(x, weight), relu_features(test, weight)
    widths = np.unique(np.append(np.geomspace(5, 1000, 55).astype(int), 100))[:53].tolist()
    took = _median(
        lambda: min_norm_curve(features, targets, test_features=test_features, widths=widths)
    )
    yield f"double-descent curve of {len(widths)} widths", took, 50, "ms"
    for name, explorer in registry().items():
        states = list(explorer.states())[:: max(explorer.count() // 12, 1)]
        explorer.run()
        times = []
        for state in states:
            start = time.perf_counter()
            explorer.run(**state)
            times.append(1000 * (time.perf_counter() - start))
        yield f"computing a state of {name}", statistics.median(times), 50, "ms"


def _median(work: Callable[[], Any], runs: int = 7) -> float:
    """Milliseconds of a piece of work, the median over runs."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


HOSTS = {
    "Built page": in_the_browser,
    "Python in the page": in_the_page,
    "Notebook": in_a_kernel,
}
OTHERS = (sizes, library, build)


def _measure(part: Callable[[], Iterator[Row]]) -> Iterator[dict[str, Any]]:
    for what, measured, budget, unit in part():
        mark = "" if measured <= budget else "  OVER"
        print(f"{what:<64}{measured:>9.1f} of {budget:>5g} {unit}{mark}", flush=True)
        yield {"what": what, "measured": measured, "budget": budget, "unit": unit}


def main() -> int:
    """Print the tables, store those that pages show; the exit code is 1 over any budget."""
    here = bench_library.machine()
    print(f"{here['processor']}, {here['cores']} cores, Python {here['python']}, "
          f"NumPy {here['numpy']}\n")  # fmt: skip
    hosts = {host: list(_measure(part)) for host, part in HOSTS.items()}
    if "--store" in sys.argv:
        content = {"machine": here, "hosts": hosts}
        STORED.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    rows = [*chain(*hosts.values()), *chain(*map(_measure, OTHERS))]
    print()
    over = sum(row["measured"] > row["budget"] for row in rows)
    over += bench_library.main("--store" in sys.argv)
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
