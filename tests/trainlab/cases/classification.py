"""Contract cases of `trainlab.classification`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import classification as C

BAD_SCORES = ["text", [[1.0], [1.0, 2.0]], np.full((4, 3), np.nan), 1.0, np.ones((4, 0)), 1j]
BAD_INDICES = [
    np.array([0, 1, 2]),
    np.array([0, 1, 2, 3]),
    np.array([0, 1, 2, -1]),
    np.array([0.0, 1.0, 2.0, 0.0]),
    np.array([True, False, True, True]),
    [[0], [1, 2]],
    None,
]
BAD_DISTRIBUTIONS = [
    np.full((4, 3), np.nan),
    np.full((4, 3), 0.5),
    np.tile([1.5, -0.5, 0.0], (4, 1)),
    np.ones((4, 2)) / 2,
]
BAD_WEIGHT = [np.ones(2), -np.ones(3), np.full(3, np.nan), "even"]
BAD_REDUCTION = ["average", None, ["mean"]]
MORE = {"weight": BAD_WEIGHT, "ignore_index": [1.5, None, True], "reduction": BAD_REDUCTION}
SMOOTHING = {"label_smoothing": [-0.1, 1.1, np.nan, "0.1", None]}


def _indices(rng, dtype):
    logits = rng.standard_normal((4, 3)).astype(dtype)
    return {"logits": logits, "targets": np.array([0, 2, -100, 1])}


def _weighted(rng, dtype):
    weight = np.array([1.0, 2.0, 0.5], dtype)
    return _indices(rng, dtype) | {"weight": weight, "label_smoothing": 0.1, "reduction": "sum"}


def _distribution(rng, dtype, shape=(4, 3)):
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1]).astype(dtype)


def _soft(rng, dtype):
    return _indices(rng, dtype) | {"targets": _distribution(rng, dtype)}


def _scaled(make, factor):
    def scaled(rng, dtype):
        return {k: v * factor if k == "logits" else v for k, v in make(rng, dtype).items()}

    return scaled


EXTREME = [_scaled(make, f) for make in (_indices, _weighted, _soft) for f in (1e4, 1e300, 0.0)]


def _binary(rng, dtype):
    logits = rng.standard_normal((4, 3)).astype(dtype)
    targets = (rng.random((4, 3)) < 0.5).astype(dtype)
    return {"logits": logits, "targets": targets, "pos_weight": np.array([1.0, 2.0, 5.0], dtype)}


def _log_probs(rng, dtype):
    return {"log_probs": np.log(_distribution(rng, dtype)), "targets": np.array([0, 2, -100, 1])}


CASES = [
    Case(
        C.cross_entropy,
        _indices,
        {
            "logits": BAD_SCORES,
            "targets": BAD_INDICES,
            **MORE,
            **SMOOTHING,
        },
        extreme=EXTREME,
    ),
    Case(
        C.cross_entropy,
        _soft,
        {"logits": BAD_SCORES, "targets": BAD_DISTRIBUTIONS, **MORE, **SMOOTHING}
        # the class to ignore means nothing for distributions
        | {"ignore_index": []},
    ),
    Case(
        C.cross_entropy,
        _weighted,
        {"logits": BAD_SCORES, "targets": BAD_INDICES, **MORE, **SMOOTHING},
    ),
    Case(
        C.nll_loss,
        _log_probs,
        {"log_probs": BAD_SCORES, "targets": BAD_INDICES, **MORE},
    ),
    Case(
        C.binary_cross_entropy_with_logits,
        _binary,
        {
            "logits": ["text", np.full((4, 3), np.inf), np.ones((0, 3))],
            "targets": [np.ones(3), np.full((4, 3), 1.1), np.full((4, 3), -0.1), "x", None],
            "pos_weight": [np.ones(2), -1.0, np.nan, "x", np.ones((2, 4, 3))],
            "reduction": BAD_REDUCTION,
        },
        extreme=[_scaled(_binary, f) for f in (1e4, 1e300, 0.0)],
    ),
    Case(
        C.entropy,
        lambda rng, dtype: {"p": _distribution(rng, dtype)},
        {"p": [*BAD_SCORES, *BAD_DISTRIBUTIONS[:3]]},
        extreme=[lambda rng, dtype: {"p": np.eye(3)}],
    ),
    Case(
        C.kl_divergence,
        lambda rng, dtype: {"p": _distribution(rng, dtype), "q": _distribution(rng, dtype)},
        {"p": [*BAD_SCORES, *BAD_DISTRIBUTIONS], "q": [*BAD_SCORES, *BAD_DISTRIBUTIONS]},
        extreme=[lambda rng, dtype: {"p": np.eye(3), "q": np.full((3, 3), 1 / 3)}],
    ),
    Case(
        C.perplexity,
        lambda rng, dtype: {"loss": rng.random((2, 3)).astype(dtype)},
        {"loss": [-0.1, 710.0, np.float32(89.0), np.nan, "x", np.ones(0), None]},
        shape_of="loss",
        extreme=[lambda rng, dtype: {"loss": np.array([0.0, 1e-300, 709.0])}],
    ),
]
