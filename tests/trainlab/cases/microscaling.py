"""Contract cases of microscaling."""

from __future__ import annotations

import numpy as np

from tests.trainlab.cases.case import Case
from trainlab.formats import E2M1
from trainlab.microscaling import MX_FORMATS, MXBlocks, mx_dequantize, mx_quantize


def _extremes(dtype):
    info = np.finfo(dtype)
    return np.array([0.0, -0.0, info.tiny, info.smallest_subnormal, info.max, -info.max] * 2, dtype)


CASES = [
    Case(
        mx_quantize,
        lambda rng, dtype: {
            "x": rng.standard_normal((3, 64)).astype(dtype),
            "fmt": MX_FORMATS["MXFP4"],
            "block_size": 32,
            "scale_rounding": "down",
        },
        bad={
            "x": ["text", None, 1.0, [], np.full(32, np.inf), [np.nan] * 32],
            "fmt": [None, "MXFP4", E2M1, 4],
            "block_size": [0, -32, 32.0, 48, "32", None],
            "scale_rounding": ["nearest", None, 1],
        },
        extreme=[
            lambda rng, dtype, fmt=fmt, scale_rounding=scale_rounding: {
                "x": _extremes(dtype),
                "fmt": fmt,
                "block_size": 4,
                "scale_rounding": scale_rounding,
            }
            for fmt in MX_FORMATS.values()
            for scale_rounding in ("down", "up")
        ],
    ),
    Case(
        mx_dequantize,
        lambda rng, dtype: {
            "blocks": mx_quantize(
                rng.standard_normal((3, 64)).astype(dtype), MX_FORMATS["MXFP8 E4M3"]
            )
        },
        bad={"blocks": [None, np.zeros((2, 32)), (np.zeros(2), np.zeros((2, 32)))]},
        extreme=[
            lambda rng, dtype: {
                "blocks": MXBlocks(np.array([-127, 127]), np.array([[0.0, 448.0], [448.0, -448.0]]))
            }
        ],
    ),
]
