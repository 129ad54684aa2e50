"""Contract cases of `trainlab.accumulation`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import accumulation as A

COUNT = [0, -1, 1.5, "4", None, True]


def _params(rng, dtype, factor=1.0):
    leaves = rng.standard_normal(3), rng.standard_normal((2, 2))
    return {"b": (factor * leaves[0]).astype(dtype), "w": (factor * leaves[1]).astype(dtype)}


def _update(factor=1.0):
    def make(rng, dtype):
        state = A.AccumulationState(_params(rng, dtype, factor), 3.0)
        return {"grads": _params(rng, dtype, factor), "state": state, "weight": 2.0}

    return make


CASES = [
    Case(
        A.accumulation_init,
        lambda rng, dtype: {"params": _params(rng, dtype)},
        {"params": ["w", {"w": np.ones(2, complex)}, [object()]]},
    ),
    Case(
        A.accumulation_update,
        _update(),
        {
            "grads": [
                {"b": np.ones(3)},
                {"b": np.ones(3), "w": np.ones(4)},
                {"b": np.ones(3), "w": np.ones((2, 2), complex)},
                None,
            ],
            "state": [None, 0.0, ({"b": np.ones(3)}, 0.0)],
            "weight": [-1.0, np.nan, np.inf, "1", None],
        },
        extreme=[_update(0.0), _update(1e-310), _update(1e307)],
    ),
    Case(
        A.micro_batches,
        lambda rng, dtype: {"batch": _params(rng, dtype)["w"], "size": 2},
        {"batch": [1.0, [np.ones(2), np.ones(3)], {}, [np.ones(2), 3.0]], "size": COUNT},
    ),
    Case(
        A.accumulated_value_and_grad,
        lambda rng, dtype: {"function": lambda params, batch: 0.0, "size": 2},
        {"function": [None, "loss", 1.0], "size": COUNT, "weight": ["tokens", 1.0]},
    ),
    Case(
        A.example_weights,
        lambda rng, dtype: {"sizes": np.array([3, 1], dtype), "weights": np.array([2, 1], dtype)},
        {
            "sizes": [[0, 1], [-1, 2], [], 3, [np.nan, 1.0], "two"],
            "weights": [[0, 1], [1, 2, 3], 1.0, [np.inf, 1.0], "two"],
        },
        shape_of="sizes",
        extreme=[lambda rng, dtype: {"sizes": np.array([1e-300, 1e300])}],
    ),
    Case(
        A.accumulation_costs,
        lambda rng, dtype: {"examples": 64, "batch_size": 8, "micro_batch_size": 2, "ranks": 2},
        {
            "examples": COUNT,
            "batch_size": [*COUNT, 7],
            "micro_batch_size": COUNT,
            "ranks": [*COUNT, 3],
        },
    ),
]
