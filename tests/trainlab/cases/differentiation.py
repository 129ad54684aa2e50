"""Contract cases of `trainlab.differentiation` and `trainlab.trees`.

Functions of functions are called with arguments that make them return arrays where they can.
"""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import differentiation as D
from trainlab import trees

BAD_FUNCTION = [None, "f", 1.0]


def _constant():
    """A function of no primals: those are positional, which a case cannot pass."""
    return np.ones(2)


def _tree(rng, dtype):
    return {"w": rng.standard_normal(3).astype(dtype), "b": [rng.standard_normal(2).astype(dtype)]}


CASES = [
    Case(D.differentiable, lambda rng, dtype: {}, free=("names",)),  # positional
    Case(
        D.vjp,
        lambda rng, dtype: {"function": _constant},
        {"function": BAD_FUNCTION},
        free=("primals", "options"),
        keeps_dtype=False,
    ),
    Case(
        D.value_and_grad,
        lambda rng, dtype: {"function": _constant, "has_aux": False},
        {"function": BAD_FUNCTION, "has_aux": [None, 2]},
    ),
    Case(
        D.check_grad,
        lambda rng, dtype: {"function": _constant, "rng": rng, "step": 1e-6},
        {"function": BAD_FUNCTION, "rng": [0, None], "step": [0, -1.0, np.nan, "1"]},
        free=("primals",),
    ),
    Case(
        D.unbroadcast,
        lambda rng, dtype: {"gradient": rng.standard_normal((4, 3)).astype(dtype), "shape": (3,)},
        {"shape": [(4,), (2, 3), (1, 4, 3)]},
        free=("gradient",),  # comes from a pullback, never from a reader
    ),
    Case(
        trees.tree_leaves,
        lambda rng, dtype: {"tree": _tree(rng, dtype)},
        free=("tree",),  # what is no container is a leaf
    ),
    Case(
        trees.tree_map,
        lambda rng, dtype: {"function": np.negative, "tree": _tree(rng, dtype)},
        {"function": BAD_FUNCTION},
        free=("tree", "others"),
    ),
    Case(
        trees.tree_unflatten,
        lambda rng, dtype: {"tree": {"w": 0, "b": [0]}, "leaves": [np.ones(1, dtype)] * 2},
        {"leaves": [[], [1], [1, 2, 3], None, 2, "ab"]},
        free=("tree",),
    ),
]
