"""Contract cases of `trainlab.activations`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import activations, gelu

BAD_ARRAYS = ["text", [[1.0], [1.0, 2.0]], np.array([1j]), np.array([np.nan])]


def _make(rng, dtype):
    return {"x": rng.standard_normal((4, 3)).astype(dtype)}


def _huge(rng, dtype):
    return {"x": np.array([-1e300, -1e3, -1e-300, 0.0, 1e-300, 1e3, 1e300], dtype)}


def _plain(name):
    return Case(getattr(activations, name), _make, {"x": BAD_ARRAYS}, shape_of="x", extreme=[_huge])


def _with_slope(name):
    return Case(
        getattr(activations, name),
        lambda rng, dtype: _make(rng, dtype) | {"negative_slope": 0.2},
        {"x": BAD_ARRAYS, "negative_slope": [np.inf, "0.1", None, True]},
        shape_of="x",
        extreme=[_huge],
    )


PLAIN = ["identity", "sigmoid", "tanh", "relu", "selu"]
CASES = [
    *(_plain(name + end) for name in PLAIN for end in ("", "_derivative")),
    *(_plain(name) for name in ("silu", "softplus", "normal_cdf", "gelu_derivative")),
    *(
        Case(
            gelu.gelu,
            lambda rng, dtype, form=form: _make(rng, dtype) | {"approximate": form},
            {"x": BAD_ARRAYS, "approximate": ["erf", None, True]},
            shape_of="x",
            extreme=[lambda rng, dtype, form=form: _huge(rng, dtype) | {"approximate": form}],
        )
        for form in ("none", "tanh")
    ),
    Case(
        activations.elu,
        lambda rng, dtype: _make(rng, dtype) | {"alpha": 0.5},
        {"x": BAD_ARRAYS, "alpha": [np.inf, "1", None, True]},
        shape_of="x",
        extreme=[_huge],
    ),
    _with_slope("leaky_relu"),
    _with_slope("leaky_relu_derivative"),
]
