"""Real processes over gloo: one, two and four ranks train the network that NumPy trains."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from functools import cache, partial
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.classification import cross_entropy
from trainlab.collectives import bytes_sent
from trainlab.data_parallel import broadcast_params, data_parallel_step, split_batch
from trainlab.differentiation import value_and_grad
from trainlab.mlp import mlp
from trainlab.optimizers import apply_updates, sgd_init, sgd_update

pytestmark = [pytest.mark.distributed]
if not os.environ.get("CI"):  # where every change is tested, nothing is skipped
    pytest.importorskip("torch", reason="the distributed example needs `make torch`")

STORED = Path(str(resources.files("trainlab") / "data" / "distributed_results.json"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "distributed"
STEPS, BATCH = 20, 96
UPDATE = partial(sgd_update, lr=0.1, momentum=0.9)


def _load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setting = _load("setting")


def launch(parallel, ranks, out, *options):
    """Run the example under torchrun; its exit code and what it said."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(ranks), str(EXAMPLE / "train.py")),
        *("--parallel", parallel, "--steps", str(STEPS), "--batch-size", str(BATCH)),
        *("--out", str(out), *map(str, options)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Losses and parameters of a run, each made once."""
    folder = tmp_path_factory.mktemp("runs")

    @cache
    def run(parallel, ranks, *options):
        out = folder / f"{len(list(folder.iterdir()))}.npz"
        code, said = launch(parallel, ranks, out, *options)
        assert code == 0, said
        with np.load(out) as kept:
            return {name: kept[name] for name in kept.files}

    return run


def loss(params, batch):
    inputs, labels = batch
    return cross_entropy(mlp(params, inputs), labels)


@cache
def numpy_run(ranks, micro_batches=1, dtype=np.float64):
    """The same training by `trainlab`: one process, or simulated ranks."""
    (pixels, labels), plan = setting.batches(STEPS, BATCH)
    pixels = pixels.astype(dtype)
    params = [{k: v.astype(dtype) for k, v in layer.items()} for layer in setting.initial_params()]
    losses = []
    if ranks == 1:
        state = sgd_init(params)
        for rows in plan:
            value, grads = value_and_grad(loss)(params, (pixels[rows], labels[rows]))
            updates, state = UPDATE(grads, state, params)
            params = apply_updates(params, updates)
            losses.append(float(value))
    else:
        replicas = broadcast_params([params] * ranks)[0]
        states = [sgd_init(params)] * ranks
        for rows in plan:
            parts = split_batch((pixels[rows], labels[rows]), ranks=ranks)
            mine = [
                split_batch(p, ranks=micro_batches) if micro_batches > 1 else [p] for p in parts
            ]
            done = data_parallel_step(replicas, states, batches=mine, loss=loss, update=UPDATE)
            replicas, states = done.replicas, done.states
            losses.append(done.loss)
        params = replicas[0]
    arrays = {f"{2 * i}.{k}": v for i, layer in enumerate(params) for k, v in layer.items()}
    return {"losses": np.array(losses), **arrays}


def assert_same(run, other, **tolerance):
    assert run.keys() == other.keys()
    for name in run:
        assert_close(run[name], other[name], **tolerance)


# Sums in another order: about 1e-16 a step in float64, and the last bits of weights near 0.
CLOSE = {"rtol": 1e-10, "atol": 1e-13}


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_many_processes_are_one(trained, parallel, ranks):
    assert_same(trained(parallel, ranks), trained("none", 1), **CLOSE)


def test_one_process_is_numpy(trained):
    assert_same(trained("none", 1), numpy_run(1), **CLOSE)


@pytest.mark.parametrize("ranks", [2, 4])
def test_real_ranks_are_the_simulated_ones(trained, ranks):
    assert_same(trained("ddp", ranks), numpy_run(ranks), **CLOSE)


@pytest.mark.parametrize(
    ("name", "run"), [("none_1", ("none", 1)), ("ddp_2", ("ddp", 2)), ("fsdp_4", ("fsdp", 4))]
)
def test_the_book_quotes_such_runs(trained, name, run):
    kept = json.loads(STORED.read_text(encoding="utf-8"))["runs"][name]
    assert_close(trained(*run)["losses"], np.array(kept["losses"])[:STEPS], **CLOSE)
    assert kept["largest_difference"] <= 1e-12


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_simulated_ring_sends_what_it_must(ranks):
    """Of the gradient, 2(N - 1)/N a rank and step, whatever its size."""
    (pixels, labels), plan = setting.batches(1, BATCH)
    params = setting.initial_params()
    replicas, states = broadcast_params([params] * ranks)[0], [sgd_init(params)] * ranks
    parts = split_batch((pixels[plan[0]], labels[plan[0]]), ranks=ranks)
    done = data_parallel_step(
        replicas, states, batches=[[p] for p in parts], loss=loss, update=UPDATE
    )
    size = sum(array.nbytes for layer in params for array in layer.values())
    sent = bytes_sent(done.messages, ranks=ranks)
    assert_close(sum(sent), ranks * 2 * (ranks - 1) / ranks * size)
    assert max(sent) - min(sent) <= 2 * ranks * 8  # shares of a length that ranks do not divide


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_accumulation_of_ragged_batches_gives_the_full_gradient(trained, parallel):
    # Every fifth batch has 93 rows: parts of 47 and 46, micro-batches of 16, 16, 15 and so on.
    assert_same(trained(parallel, 2, "--micro-batches", 3), numpy_run(1), **CLOSE)
    assert_same(trained(parallel, 2, "--micro-batches", 3), numpy_run(2, 3), **CLOSE)


def test_float32_stays_close(trained):
    # Twenty steps with momentum enlarge float32's rounding of 6e-8 about a hundredfold.
    assert_same(trained("ddp", 2, "--dtype", "float32"), numpy_run(1), rtol=1e-4, atol=1e-5)


def resumed(parallel, ranks, checkpoint, out):
    code, said = launch(parallel, ranks, out, "--checkpoint", checkpoint, "--every", 5)
    assert code == 0, said
    with np.load(out) as run:
        return {name: run[name] for name in run.files}


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_rank_that_dies_ends_the_job_which_then_resumes(trained, tmp_path, parallel):
    options = ("--checkpoint", tmp_path / "kept.pt", "--every", 5, "--timeout", 20)
    started = time.monotonic()
    code, said = launch(parallel, 2, tmp_path / "out.npz", *options, "--die", 1, 12)
    assert code != 0
    assert "exitcode  : 13" in said  # torchrun names the first rank that failed, and how
    assert "rank      : 1" in said
    assert not (tmp_path / "out.npz").exists()
    assert time.monotonic() - started < 120
    # What was kept after ten steps goes on as if nothing had happened, also on other ranks.
    shutil.copy(tmp_path / "kept.pt", tmp_path / "copy.pt")
    run = resumed(parallel, 2, tmp_path / "kept.pt", tmp_path / "out.npz")
    for name, values in trained(parallel, 2).items():
        np.testing.assert_array_equal(run[name], values)
    if parallel == "fsdp":
        run = resumed(parallel, 4, tmp_path / "copy.pt", tmp_path / "four.npz")
        assert_same(run, trained(parallel, 2), **CLOSE)


def test_several_processes_without_a_way_to_share_are_refused(tmp_path):
    code, said = launch("none", 2, tmp_path / "out.npz")
    assert code != 0
    assert "--parallel none is for one process" in said
