"""Run the example on one, two and four processes, and store the losses that the book quotes.

    python examples/distributed/results.py

writes `lib/trainlab/data/distributed_results.json`: for each run the loss of every step, and the
largest difference between its final parameters and those of one process. It takes a few minutes.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
STORED = Path(str(resources.files("trainlab") / "data" / "distributed_results.json"))
COMMON = ("--steps", "30", "--batch-size", "96", "--lr", "0.1", "--momentum", "0.9")
RUNS: dict[str, tuple[int, tuple[str, ...]]] = {  # the first is what the others are compared with
    "none_1": (1, ("--parallel", "none")),
    "ddp_2": (2, ("--parallel", "ddp")),
    "ddp_4": (4, ("--parallel", "ddp")),
    "ddp_2_accumulated": (2, ("--parallel", "ddp", "--micro-batches", "3")),
    "fsdp_2": (2, ("--parallel", "fsdp")),
    "fsdp_4": (4, ("--parallel", "fsdp")),
}


def launch(ranks: int, options: tuple[str, ...]) -> dict[str, Any]:
    """Train with torchrun on this machine; return the losses and the final parameters."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.npz"
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(ranks), str(HERE / "train.py"), *COMMON, *options),
            *("--out", str(out)),
        ]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        with np.load(out) as kept:
            return {name: kept[name] for name in kept.files}


def main() -> None:
    """Make all runs, one after the other, and write the file."""
    made = {name: launch(*how) for name, how in RUNS.items()}
    alone = made["none_1"]
    runs = {
        name: {
            "ranks": RUNS[name][0],
            "options": " ".join((*COMMON, *RUNS[name][1])),
            "losses": run["losses"].tolist(),
            "largest_difference": max(
                float(np.abs(run[key] - alone[key]).max()) for key in alone if key != "losses"
            ),
        }
        for name, run in made.items()
    }
    versions = {name: version(name) for name in ("torch", "numpy")}
    content = {
        "command": "python examples/distributed/results.py",
        "versions": {"python": platform.python_version(), **versions},
        "backend": "gloo",
        "dtype": "float64",
        "runs": runs,
    }
    STORED.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name, run in runs.items():
        print(f"{name:18} last loss {run['losses'][-1]:.6f}, ", end="")
        print(f"parameters differ by at most {run['largest_difference']:.1e}")


if __name__ == "__main__":
    main()
