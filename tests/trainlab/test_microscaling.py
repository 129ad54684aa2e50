"""Microscaling blocks: the specification's formats, by hand, by the referee, and one outlier."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.formats import E2M1, E4M3, round_to
from trainlab.microscaling import BLOCK_SIZE, MX_FORMATS, MXFormat, mx_dequantize, mx_quantize

ELEMENTS = {
    "MXFP8 E5M2": ml_dtypes.float8_e5m2,
    "MXFP8 E4M3": ml_dtypes.float8_e4m3fn,
    "MXFP6 E3M2": ml_dtypes.float6_e3m2fn,
    "MXFP6 E2M3": ml_dtypes.float6_e2m3fn,
    "MXFP4": ml_dtypes.float4_e2m1fn,
}
each_format = pytest.mark.parametrize("fmt", MX_FORMATS.values(), ids=lambda f: f.name)


def tensor(rng, shape=(40, 128)):
    """Normal numbers, with blocks of very different size."""
    return rng.standard_normal(shape) * 2.0 ** rng.uniform(-20, 20, (shape[0], 1))


def test_the_specification_s_table():
    table = {f.name: (f.bits_per_number(), f.max, f.emax) for f in MX_FORMATS.values()}
    assert table == {
        "MXFP8 E5M2": (8.25, 57344, 15),
        "MXFP8 E4M3": (8.25, 448, 8),
        "MXFP6 E3M2": (6.25, 28, 4),
        "MXFP6 E2M3": (6.25, 7.5, 2),
        "MXFP4": (4.25, 6, 2),
        "MXINT8": (8.25, 1 + 63 / 64, 0),
    }
    assert BLOCK_SIZE == 32


def test_one_block_by_hand():
    # The largest is 7: floor(log2 7) = 2, less emax = 2, so the scale is 1 and 7 saturates at 6.
    x = np.zeros(32)
    x[:5] = [7.0, -2.4, 0.2, 0.25, 2.5]
    down = mx_quantize(x, MX_FORMATS["MXFP4"])
    assert down.exponents.tolist() == [0]
    assert down.elements[0, :5].tolist() == [6, -2, 0, 0, 2]  # 0.25 and 2.5 are ties, to even
    up = mx_quantize(x, MX_FORMATS["MXFP4"], scale_rounding="up")
    assert up.exponents.tolist() == [1]
    assert mx_dequantize(up)[:5].tolist() == [8, -2, 0, 0, 2]  # 3.5 is a tie, to 4
    int8 = mx_quantize(x, MX_FORMATS["MXINT8"])
    assert int8.exponents.tolist() == [2]
    assert_close(mx_dequantize(int8)[:2], [7.0, -38 / 16])  # steps of 4/64


@pytest.mark.referee
@pytest.mark.parametrize("name", ELEMENTS)
@pytest.mark.parametrize("scale_rounding", ["down", "up"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_are_the_referee_s(name, scale_rounding, dtype):
    fmt = MX_FORMATS[name]
    x = tensor(np.random.default_rng(0)).astype(dtype)
    blocks = mx_quantize(x, fmt, scale_rounding=scale_rounding)
    parts = x.reshape(40, 4, 32).astype(np.float64)
    largest = np.abs(parts).max(axis=-1, keepdims=True)
    if scale_rounding == "down":
        exponent = np.floor(np.log2(largest)) - fmt.emax
    else:
        exponent = np.ceil(np.log2(largest / fmt.max))
    scale = (2.0**exponent).astype(ml_dtypes.float8_e8m0fnu)
    np.testing.assert_array_equal(blocks.exponents, exponent[..., 0])
    np.testing.assert_array_equal(2.0**blocks.exponents, scale[..., 0].astype(np.float64))
    scaled = np.clip(parts / scale.astype(np.float64), -fmt.max, fmt.max).astype(np.float32)
    expected = scaled.astype(ELEMENTS[name]).astype(np.float64)
    np.testing.assert_array_equal(blocks.elements, expected)
    assert blocks.elements.dtype == dtype


@each_format
def test_numbers_of_the_format_stay(fmt):
    once = mx_dequantize(mx_quantize(tensor(np.random.default_rng(1)), fmt))
    np.testing.assert_array_equal(mx_dequantize(mx_quantize(once, fmt)), once)


@each_format
def test_a_power_of_two_changes_only_the_scales(fmt):
    x = tensor(np.random.default_rng(2))
    one, other = mx_quantize(x, fmt), mx_quantize(x * 2.0**-7, fmt)
    np.testing.assert_array_equal(one.elements, other.elements)
    np.testing.assert_array_equal(one.exponents - 7, other.exponents)


@each_format
def test_a_scale_that_is_rounded_up_saturates_nothing(fmt):
    x = tensor(np.random.default_rng(3), (400, 32))
    top = np.abs(x).max(axis=1)
    kept = np.abs(mx_dequantize(mx_quantize(x, fmt, scale_rounding="up"))).max(axis=1)
    # Half a spacing at the largest number; INT8 has steps of 1/64 up to nearly 2.
    half = fmt.element.eps / 2 if fmt.element else 1 / 64
    assert np.all(np.abs(kept / top - 1) <= half)
    lost = 1 - np.abs(mx_dequantize(mx_quantize(x, fmt))).max(axis=1) / top
    # Rounded down, the worst block holds a number just below a power of two: all but the largest
    # element of that binade is cut.
    worst = 1 - fmt.max / 2.0 ** (fmt.emax + 1)
    assert lost.max() <= worst + 1e-12
    if fmt.name == "MXFP4":
        assert worst == 0.25
        assert lost.max() > 0.2


@each_format
def test_exponents_stay_in_their_byte(fmt):
    for size, exponent in ((0.0, -127), (1e-300, -127), (1e300, 127)):
        blocks = mx_quantize(np.full(32, size), fmt)
        assert blocks.exponents.tolist() == [exponent]
        assert np.isfinite(mx_dequantize(blocks)).all()
    assert (mx_quantize(np.full(32, 1e-300), fmt).elements == 0).all()
    assert (mx_quantize(np.full(32, 1e300), fmt).elements == fmt.max).all()


def decibels(x, y):
    return 10 * math.log10(np.mean(x**2) / np.mean((y - x) ** 2))


def test_an_outlier_spoils_its_own_block_only():
    x = np.random.default_rng(4).standard_normal(1024)
    spoiled = x.copy()
    spoiled[5] = 100.0
    fmt = MX_FORMATS["MXFP4"]
    y, z = mx_dequantize(mx_quantize(x, fmt)), mx_dequantize(mx_quantize(spoiled, fmt))
    np.testing.assert_array_equal(y[32:], z[32:])
    rest = np.delete(np.arange(32), 5)
    assert (z[rest] == 0).all()  # 100 / 6 per step of ... half a smallest element is 4
    whole = mx_dequantize(mx_quantize(spoiled, fmt, block_size=1024))
    assert np.mean(np.delete(whole, 5) == 0) > 0.99


def test_noise_of_normal_numbers():
    """Six formats, 200,000 normal numbers: bits buy decibels, and blocks help the narrow ones."""
    x = np.random.default_rng(5).standard_normal(200_000)
    noise = {f.name: decibels(x, mx_dequantize(mx_quantize(x, f))) for f in MX_FORMATS.values()}
    assert noise["MXINT8"] > noise["MXFP8 E4M3"] > noise["MXFP8 E5M2"]
    assert noise["MXFP6 E2M3"] > noise["MXFP6 E3M2"] > noise["MXFP4"]
    # A block scale is no gain where the format's range is wide enough anyway.
    assert abs(noise["MXFP8 E4M3"] - decibels(x, round_to(x, E4M3))) < 1
    assert noise["MXFP4"] > decibels(x, round_to(x, E2M1)) + 1


def test_unknown_formats_are_refused_by_name():
    for wrong in ("MXFP4", E2M1, None):
        with pytest.raises(
            TypeError, match=r"mx_quantize: fmt must be an MXFormat, .*MXFP4.*; got"
        ):
            mx_quantize(np.ones(32), wrong)
    with pytest.raises(ValueError, match="mx_quantize: block_size must divide the last axis, 33"):
        mx_quantize(np.ones(33), MX_FORMATS["MXFP4"])
    assert MXFormat("four bits", E2M1).bits_per_number(16) == 4.5
