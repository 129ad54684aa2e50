"""A digits network in few bits: scales for what, which range, weights or activations too.

Five networks of 64-128-64-10 units are trained in float64, and then quantized: with codes that
cover all weights, with codes of the least squared error, and with the latter after five more epochs
of training through the rounding. The same networks stand in three forms that compute the same
function: as trained; with each hidden channel multiplied by a random factor between 1/10 and 10,
which the next layer divides by; and with the ranges of neighboring layers made equal again.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import integer, one_of
from ..activations import relu
from ..classification import cross_entropy
from ..datasets import digits
from ..quantization import IntegerCode, choose_code, fake_quantize
from ..training import train
from . import Sweep
from ._side_by_side import _batches, _drawn

Array = NDArray[Any]
Params = list[dict[str, Array]]

SIZES, SEEDS, TRAINED_ON = (64, 128, 64, 10), (0, 1, 2, 3, 4), 1197
BATCH, EPOCHS, LR = 50, 20, 0.003
MORE_EPOCHS, MORE_LR = 5, 0.001
GROUP = 16
FORMS = ("trained", "rescaled", "equalized")
WHAT = ("weights", "both")
# The axes of weights (networks, in, out) that share a scale, and within groups of how many.
SHARED: dict[str, dict[str, Any]] = {
    "tensor": {"axis": (1, 2)},
    "channel": {"axis": 1},
    "group": {"axis": 1, "group_size": GROUP},
}
BITS = (2, 3, 4, 6, 8)


@lru_cache(maxsize=1)
def _data() -> tuple[Array, Array, Array, Array]:
    """Pixels and labels to train on and the others, (networks, examples, ...)."""
    pixels, labels = digits()
    orders = [np.random.default_rng([seed, 0]).permutation(len(labels)) for seed in SEEDS]
    seen = np.stack([order[:TRAINED_ON] for order in orders])
    rest = np.stack([order[TRAINED_ON:] for order in orders])
    return pixels[seen], labels[seen], pixels[rest], labels[rest]


def _forward(params: Params, x: Any, codes: list[Any], inputs: list[Any]) -> tuple[Any, list[Any]]:
    """Logits, and what went into each layer; None for a code leaves the numbers as they are."""
    into = []
    for i, (layer, code, code_in) in enumerate(zip(params, codes, inputs, strict=True)):
        x = relu(x) if i else x
        into.append(x)
        x = x if code_in is None else fake_quantize(x, code_in)
        weight = layer["weight"] if code is None else fake_quantize(layer["weight"], code)
        x = x @ weight + layer["bias"]
    return x, into


NONE: list[Any] = [None] * (len(SIZES) - 1)


def _fit(params: Params, *, codes: Any, inputs: Any, epochs: int, lr: float, draw: int) -> Params:
    x, labels, _, _ = _data()
    steps, run = epochs * TRAINED_ON // BATCH, np.arange(len(SEEDS))[:, None]
    rows = _batches(SEEDS, TRAINED_ON, batch_size=BATCH, steps=steps, stream=(draw,))

    def loss(params: Any, x: Array, labels: Array) -> Any:
        logits, _ = _forward(params, x, codes, inputs)
        return cross_entropy(logits, labels, reduction="sum") / BATCH

    done: Params = train(
        loss,
        params,
        batches=((x[run, r], labels[run, r]) for r in rows),
        lr=lambda step: lr * 0.5 * (1 + math.cos(math.pi * step / steps)),
        optimizer="adam",
    ).params
    return done


def _multiplied(params: Params, i: int, factor: Array) -> Params:
    """Multiply the outputs of layer i by factors > 0, (networks, channels); the next divides."""
    out = [dict(layer) for layer in params]
    out[i] = {k: v * factor[:, None] for k, v in out[i].items()}
    out[i + 1]["weight"] = out[i + 1]["weight"] / factor[..., None]
    return out


def _rescaled(params: Params) -> Params:
    rng = np.random.default_rng(3)
    for i, size in enumerate(SIZES[1:-1]):
        params = _multiplied(params, i, 10 ** rng.uniform(-1, 1, (len(SEEDS), size)))
    return params


def _equalized(params: Params) -> Params:
    """Give each hidden channel the same largest weight on both sides."""
    for _ in range(30):  # a layer has two neighbors, so again and again
        for i in range(len(SIZES) - 2):
            into = np.abs(params[i]["weight"]).max(axis=1)
            out_of = np.abs(params[i + 1]["weight"]).max(axis=2)
            params = _multiplied(params, i, np.sqrt(out_of / into))
    return params


@lru_cache(maxsize=len(FORMS))
def _network(form: str) -> Params:
    if form == "trained":
        start = _drawn(([seed, 1] for seed in SEEDS), SIZES)
        return _fit(start, codes=NONE, inputs=NONE, epochs=EPOCHS, lr=LR, draw=2)
    return (
        _rescaled(_network("trained")) if form == "rescaled" else _equalized(_network("rescaled"))
    )


def _accuracy(params: Params, codes: list[Any], inputs: list[Any]) -> list[float]:
    _, _, x, labels = _data()
    logits, _ = _forward(params, x, codes, inputs)
    return [float(v) for v in np.mean(np.argmax(logits, axis=-1) == labels, axis=1)]


def _input_codes(params: Params, bits: int) -> list[IntegerCode]:
    """Affine codes that cover what goes into each layer on the examples trained on."""
    _, into = _forward(params, _data()[0], NONE, NONE)
    return [choose_code(x, bits=bits, symmetric=False, axis=(1, 2)) for x in into]


def run(form: str, what: str, shared: str, bits: int) -> dict[str, Any]:
    """Quantize the five networks; each result has one accuracy a network, on 600 other digits.

    `covered` with codes that cover all weights, `clipped` with those of the least squared error,
    `tuned` after more training through the latter. 64 bits stand for no quantization.
    """
    one_of(form, "form", FORMS)
    one_of(what, "what", WHAT)
    one_of(shared, "shared", tuple(SHARED))
    bits = bits if bits == 64 else integer(bits, "bits", low=2, high=8)
    params = _network(form)
    codes, clipped, inputs = NONE, NONE, NONE
    if bits != 64:
        weights = [layer["weight"] for layer in params]
        codes = [choose_code(w, bits=bits, **SHARED[shared]) for w in weights]
        clipped = [choose_code(w, bits=bits, clip="mse", **SHARED[shared]) for w in weights]
        inputs = _input_codes(params, bits) if what == "both" else NONE
    tuned = _fit(params, codes=clipped, inputs=inputs, epochs=MORE_EPOCHS, lr=MORE_LR, draw=4)
    return {
        "covered": _accuracy(params, codes, inputs),
        "clipped": _accuracy(params, clipped, inputs),
        "tuned": _accuracy(tuned, clipped, inputs),
    }


# Some hundred steps amplify the rounding of another processor, and answers may tip over.
SWEEP = Sweep(
    run=run,
    grid=[{"form": f, "what": "weights", "shared": "tensor", "bits": 64} for f in FORMS]
    + [
        {"form": f, "what": what, "shared": shared, "bits": bits}
        for f in FORMS
        for what in WHAT
        for shared in SHARED
        for bits in BITS
    ],
    rtol=0.02,
)
