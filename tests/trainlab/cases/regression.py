"""Contract cases of `trainlab.regression`."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab import regression as R

BAD_VALUES = ["text", [[1.0], [1.0, 2.0]], np.full((4, 3), np.nan), 1j, None]
BAD = {
    "prediction": BAD_VALUES,
    "target": [*BAD_VALUES, np.ones((4, 1)), np.ones(3), 1.0],
}
REDUCTION = {"reduction": ["average", None, ["mean"]]}


def _pair(scale=1.0, **more):
    def make(rng, dtype):
        prediction, target = scale * rng.standard_normal((2, 4, 3))
        return {"prediction": prediction.astype(dtype), "target": target.astype(dtype), **more}

    return make


def _case(function, bad, largest, **more):
    # `largest`: beyond, the loss itself overflows
    return Case(
        function,
        _pair(**more),
        {**BAD, **bad},
        extreme=[_pair(scale, **more) for scale in (largest, 1e-200, 5e-324, 0.0)],
    )


CASES = [
    _case(R.mse_loss, REDUCTION, 1e150),
    _case(R.l1_loss, REDUCTION, 1e300),
    _case(R.rmse, {}, 1e300),
    _case(R.huber_loss, {**REDUCTION, "delta": [0, -1.0, np.nan, np.inf, "1", None]}, 1e300),
    _case(R.log_cosh_loss, REDUCTION, 1e300),
    _case(
        R.quantile_loss,
        {**REDUCTION, "quantile": [0, 1, -0.1, 1.5, np.nan, "0.5", None]},
        1e300,
        quantile=0.9,
    ),
]
