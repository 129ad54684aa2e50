"""The tolerance policy: the relative tolerance follows from the dtypes, the absolute one is 0."""

from __future__ import annotations

import numpy as np

RTOL = {np.dtype(np.float16): 1e-3, np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-7}


def assert_close(actual, expected, *, rtol=None, atol=0.0):
    """Assert closeness; any `rtol` or `atol` given by hand needs a comment with its reason."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    if rtol is None:
        rtol = max(RTOL.get(a.dtype, 1e-7) for a in (actual, expected))
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def projected_gradient_error(f, vjp, x, rng, *, step=1e-6):
    """Relative error of a vector-Jacobian product along one random direction, in float64.

    `f` maps an array to an array, `vjp` maps an output cotangent to an input cotangent.
    """
    y = f(x)
    cotangent, direction = rng.standard_normal(y.shape), rng.standard_normal(x.shape)
    numeric = np.sum(cotangent * (f(x + step * direction) - f(x - step * direction))) / (2 * step)
    analytic = np.sum(vjp(cotangent) * direction)
    return abs(numeric - analytic) / max(abs(numeric), abs(analytic), 1e-12)
