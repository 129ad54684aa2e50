"""Train one small network on any number of processes, always with the same result.

    torchrun --standalone --nproc-per-node 2 examples/distributed/train.py

The data, the batches, and the initial parameters are those of `trainlab`, so the run can be
compared with a single process and with the simulation in NumPy. On GPUs the same command
runs with NCCL.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from setting import batches, initial_params
from torch import nn
from torch.distributed.checkpoint import state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

WHOLE = state_dict.StateDictOptions(full_state_dict=True, cpu_offload=True)
DTYPES = {"float64": torch.float64, "float32": torch.float32}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parallel", choices=["none", "ddp", "fsdp"], default="ddp")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=96, help="of all ranks together")
    parser.add_argument("--micro-batches", type=int, default=1, help="of a rank, accumulated")
    parser.add_argument("--dtype", choices=DTYPES, default="float64")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--checkpoint", type=Path, help="written while training; resumed if there")
    parser.add_argument("--every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--out", type=Path, help="losses and parameters, as .npz")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for a rank")
    parser.add_argument("--die", type=int, nargs=2, metavar=("RANK", "STEP"), help="for the tests")
    return parser.parse_args()


def network(dtype: torch.dtype, device: torch.device) -> nn.Sequential:
    """Build the network of `setting.initial_params` in PyTorch."""
    layers: list[nn.Module] = []
    for layer in initial_params():
        out, into = layer["weight"].shape
        linear = nn.Linear(into, out, dtype=dtype, device=device)
        with torch.no_grad():
            for name, values in layer.items():
                getattr(linear, name).copy_(torch.from_numpy(values))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def parallel(model: nn.Sequential, kind: str) -> nn.Module:
    """Give each rank its replica, or its share of every layer."""
    if kind == "ddp":
        return DistributedDataParallel(model)
    if kind == "fsdp":
        for layer in model:
            if isinstance(layer, nn.Linear):
                fully_shard(layer)
        fully_shard(model)
    return model


@contextlib.contextmanager
def synchronized(model: nn.Module, now: bool) -> Iterator[None]:
    """Let gradients accumulate on each rank; the last micro-batch sends them."""
    if isinstance(model, DistributedDataParallel) and not now:
        with model.no_sync():
            yield
        return
    if hasattr(model, "set_requires_gradient_sync"):  # after fully_shard
        model.set_requires_gradient_sync(now)
    yield


def save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: list[float],
) -> None:
    """Write a checkpoint for any number of ranks; a rank that dies leaves it whole."""
    weights, moments = state_dict.get_state_dict(model, optimizer, options=WHOLE)
    if dist.get_rank() == 0:
        part = path.with_suffix(".part")
        torch.save({"weights": weights, "moments": moments, "losses": losses}, part)
        os.replace(part, path)
    dist.barrier()


def resume(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> list[float]:
    """Take over a checkpoint; return the losses up to it."""
    kept = torch.load(path, weights_only=True)
    state_dict.set_state_dict(
        model,
        optimizer,
        model_state_dict=kept["weights"],
        optim_state_dict=kept["moments"],
        options=WHOLE,
    )
    return list(kept["losses"])


def step(
    model: nn.Module,
    rows: np.ndarray,
    data: tuple,
    micro_batches: int,
    fatal: bool,
) -> float:
    """Accumulate the gradient of the mean over all ranks; return that mean."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    mine = np.array_split(np.array_split(rows, ranks)[rank], micro_batches)
    total = torch.zeros((), dtype=data[0].dtype, device=data[0].device)
    for number, micro in enumerate(mine):
        inputs, labels = (part[micro] for part in data)
        # Summed over the rows and divided by all: parts may differ in size.
        # DDP and FSDP average over ranks: each gives `ranks` times its share.
        with synchronized(model, now=number == len(mine) - 1):
            outputs = model(inputs)
            loss = nn.functional.cross_entropy(outputs, labels, reduction="sum")
            loss /= len(rows)
            if fatal:
                os._exit(13)
            (ranks * loss).backward()
        total += loss.detach()
    dist.all_reduce(total)
    return float(total)


def main() -> None:
    """Train, resuming if there is a checkpoint."""
    given = arguments()
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.set_num_threads(1)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=given.timeout)
    )
    if given.parallel == "none" and dist.get_world_size() > 1:
        raise SystemExit("train.py: --parallel none is for one process; choose ddp or fsdp")
    model = parallel(network(DTYPES[given.dtype], device), given.parallel)
    optimizer = torch.optim.SGD(model.parameters(), lr=given.lr, momentum=given.momentum)
    losses: list[float] = []
    if given.checkpoint and given.checkpoint.exists():
        losses = resume(given.checkpoint, model, optimizer)

    (pixels, labels), plan = batches(given.steps, given.batch_size)
    data = (
        torch.from_numpy(pixels).to(device, DTYPES[given.dtype]),
        torch.from_numpy(labels).to(device, torch.int64),
    )
    for number in range(len(losses), given.steps):
        fatal = given.die == [dist.get_rank(), number]
        losses.append(step(model, plan[number], data, given.micro_batches, fatal))
        optimizer.step()
        optimizer.zero_grad()
        if given.checkpoint and (number + 1) % given.every == 0:
            save(given.checkpoint, model, optimizer, losses)
    weights = state_dict.get_model_state_dict(model, options=WHOLE)
    if dist.get_rank() == 0:
        ranks = dist.get_world_size()
        print(f"{given.parallel} on {ranks}: loss {losses[0]:.4f} -> {losses[-1]:.4f}")
        if given.out:
            np.savez(given.out, losses=losses, **{k: v.numpy() for k, v in weights.items()})
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
