"""Contract cases of `trainlab.plain_network`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import plain_network as P


def _network(rng, dtype, out):
    sizes = ((4, 3), (out, 4))
    return P.Network(
        tuple(rng.standard_normal(s).astype(dtype) for s in sizes),
        tuple(rng.standard_normal(s[0]).astype(dtype) for s in sizes),
    )


def _make(out=2, **more):
    return lambda rng, dtype: {
        "network": _network(rng, dtype, out),
        "x": rng.standard_normal((5, 3)).astype(dtype),
        "activation": "tanh",
        **more,
    }


def _huge(rng, dtype):
    calm = _make(labels=LABELS)(rng, dtype)
    return {**calm, "x": 1e150 * calm["x"]}


LABELS = np.array([0, 1, 1, 0, 1])
BAD = {
    "network": [
        None,
        ((), ()),
        P.Network((), ()),
        P.Network((np.zeros((4, 3)),), (np.zeros(3),)),
        P.Network((np.zeros((4, 3)), np.zeros((2, 5))), (np.zeros(4), np.zeros(2))),
        P.Network((np.zeros((4, 3)),), (np.zeros(4), np.zeros(4))),
    ],
    "x": [np.zeros(3), np.zeros((5, 2)), np.full((5, 3), np.nan)],
    "activation": ["softmax", None, abs],
}
BAD_LABELS = {"labels": [LABELS[:4], LABELS + 1, LABELS - 1, LABELS.astype(float), None]}
CASES = [
    Case(P.logits, _make(), BAD),
    Case(P.loss_and_gradients, _make(labels=LABELS), {**BAD, **BAD_LABELS}, extreme=[_huge]),
    Case(
        P.gradient_descent,
        _make(out=1, labels=LABELS, lr=0.1, steps=2),
        {**BAD, **BAD_LABELS, "lr": [0.0, -1.0, np.inf, "1", None], "steps": [-1, 1.0, None]},
    ),
]
