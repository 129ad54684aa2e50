"""The reference library beside PyTorch: time of each operation, bytes that it keeps.

``make bench`` prints this too; alone it is ``python -m tests.bench_library``, with one BLAS thread.
With ``--store`` the result goes to the file that the page "How fast is the reference library"
shows. Float32, one thread each. Our calls and PyTorch's take turns, and time is that of the
processor in them: what else the machine does hardly changes the ratio.
"""

from __future__ import annotations

import datetime
import functools
import gc
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from tests.bench_work import WIDTHS, Operation, operations, steps, torch, training_step
from trainlab.collectives import ring_all_reduce
from trainlab.differentiation import Variable
from trainlab.formats import BF16, E4M3, E5M2, FP16, round_to
from trainlab.tokenization import train_bpe

STORED = Path(__file__).parents[1] / "book" / "about" / "library_speed.json"
MOST, MEAN, TRAINING = 5.0, 2.0, 1.6  # times PyTorch: any row, all of them, a training step
Row = dict[str, Any]


def interleaved(ours: Callable[[], Any], theirs: Callable[[], Any], seconds: float) -> list[Any]:
    """Time two pieces of work in turns, five times or for some seconds, after one run each."""
    ours(), theirs()
    gc.collect()
    times: list[list[float]] = [[], []]
    end = time.perf_counter() + seconds
    while len(times[0]) < 5 or time.perf_counter() < end:
        for work, row in zip((ours, theirs), times, strict=True):
            start = time.process_time()
            work()
            row.append(1000 * (time.process_time() - start))
    return times


def beside_torch(seconds: float = 2.0) -> Iterator[Row]:
    """Milliseconds of each operation, the median of its runs, and the shortest run."""
    torch.set_num_threads(1)

    def row(name: str, ours: Any, theirs: Any, budget: float = MOST) -> Row:
        ms, torch_ms = interleaved(ours, theirs, seconds)
        return {
            "name": name,
            "ms": statistics.median(ms),
            "torch_ms": statistics.median(torch_ms),
            "ratio": statistics.median(ms) / statistics.median(torch_ms),
            "ratio_of_shortest": min(ms) / min(torch_ms),
            "budget": budget,
        }

    for width in WIDTHS:
        for operation in operations(width):
            yield row(operation.name, *operation.work())
    for count in (10**6, 10**7):
        for work in steps(count):
            yield row(*work)
    yield row(*training_step(), TRAINING)


def alone() -> Iterator[Row]:
    """Seconds of work that PyTorch has no counterpart for, the median of three runs."""
    sources = sorted((STORED.parents[2] / "lib").rglob("*.py"))
    text = "".join(path.read_text(encoding="utf-8") for path in sources).encode()[: 10**6]
    ranks = np.random.default_rng(0).standard_normal((64, 10**6), np.float32)
    rows: list[tuple[str, Callable[[], Any], float]] = [
        ("BPE, 1,000 merges learned from 1 MB of source", lambda: train_bpe(text, merges=1000), 20),
        ("ring all-reduce, 64 ranks of 10⁶ numbers", lambda: ring_all_reduce(ranks), 0.5),
    ]
    for fmt, budget in ((FP16, 0.015), (BF16, 0.015), (E4M3, 0.06), (E5M2, 0.06)):
        work = functools.partial(round_to, ranks[0], fmt)
        rows.append((f"rounding of 10⁶ floats to {fmt.name}", work, budget))
    for name, run, budget in rows:
        times = []
        for _ in range(3):
            start = time.process_time()
            run()
            times.append(time.process_time() - start)
        yield {"name": name, "s": statistics.median(times), "budget": budget}


def arrays_in(item: Any, seen: set[int]) -> Iterator[np.ndarray]:
    """Find all arrays that a function holds: in its closure, its defaults, and what they hold."""
    if id(item) in seen:
        return
    seen.add(id(item))
    if isinstance(item, np.ndarray):
        yield item
    elif isinstance(item, FunctionType):
        for cell in (*(item.__closure__ or ()), *(item.__defaults__ or ())):
            yield from arrays_in(getattr(cell, "cell_contents", cell), seen)
    elif isinstance(item, (list, tuple)):
        for part in item:
            yield from arrays_in(part, seen)


def _owner(a: np.ndarray) -> np.ndarray:
    return _owner(a.base) if isinstance(a.base, np.ndarray) else a


def kept(operation: Operation) -> Row:
    """Bytes that stay alive for the pullback; memory that several arrays share counts once."""
    inputs = {id(_owner(a)): a.nbytes for a in operation.arrays}
    output = operation.ours(*[Variable(a) for a in operation.arrays])
    held = {id(a): a.nbytes for a in map(_owner, arrays_in(output.pullback, set()))}
    return {
        "name": operation.name,
        "inputs": sum(inputs.values()),
        "kept_inputs": sum(n for key, n in held.items() if key in inputs),
        "kept_beside": sum(n for key, n in held.items() if key not in inputs),
    }


def machine() -> Row:
    """Where and when this ran."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((n.partition(": ")[2] for n in lines if n.startswith("model name")), model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__ if torch else None,
        "date": datetime.date.today().isoformat(),
    }


def main(store: bool = False) -> int:
    """Print the tables; returns how many budgets are exceeded."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        sys.exit("bench_library: set OPENBLAS_NUM_THREADS=1, as make does: one thread each")
    result: Row = {"machine": machine(), "rows": [], "alone": [], "bytes": [], "mean": None}
    verdicts = []

    def show(name: str, measured: float, budget: float, unit: str, more: str = "") -> None:
        verdicts.append(measured > budget)
        mark = "  OVER" if verdicts[-1] else ""
        print(f"{name:<64}{measured:>9.3g} of {budget:>5g} {unit}{more}{mark}", flush=True)

    if torch is None:
        print("PyTorch is not installed (the extra `torch`): nothing to compare the library with.")
    else:
        for row in beside_torch():
            more = f"   {row['ms']:.2f} ms, PyTorch {row['torch_ms']:.2f} ms"
            show(row["name"], row["ratio"], row["budget"], "×", more)
            result["rows"].append(row)
        result["mean"] = math.exp(statistics.fmean(math.log(r["ratio"]) for r in result["rows"]))
        show("geometric mean", result["mean"], MEAN, "×")
    for row in alone():
        show(row["name"], row["s"], row["budget"], "s")
        result["alone"].append(row)
    for operation in operations(WIDTHS[0]):
        row = kept(operation)
        inputs, own, beside = (row[n] / 1e6 for n in ("inputs", "kept_inputs", "kept_beside"))
        print(f"{row['name']:<34} keeps {own:.2f} of {inputs:.2f} MB of inputs, {beside:.2f} more")
        result["bytes"].append(row)
    if store and torch:
        STORED.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return sum(verdicts)


if __name__ == "__main__":
    sys.exit(int(main("--store" in sys.argv) > 0))
