"""Number formats: every bit pattern, every midpoint, and the claims about them."""

from __future__ import annotations

import dataclasses
import math
import time

import ml_dtypes
import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.bit_patterns import bit_string, decode, encode, neighbors
from trainlab.explorers.formats import bits, byte
from trainlab.formats import (
    BF16,
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E5M2,
    FORMATS,
    FP16,
    FP32,
    MODES,
    TF32,
    Format,
    round_to,
    spacing,
    stochastic_round,
)
from trainlab.quantization import dequantize, integer_code, quantize
from trainlab.summation import METHODS, running_sum

# The 8-bit format that a reader may take E4M3 for: all of IEEE 754, so its largest number is 240.
E4M3_IEEE = Format("E4M3 (IEEE)", 4, 3, bias=7, flavor="ieee", stored_bits=8)

REFEREES = {  # every format that another implementation knows, with its patterns' integer type
    "FP32": (FP32, np.float32, np.uint32),
    "FP16": (FP16, np.float16, np.uint16),
    "BF16": (BF16, ml_dtypes.bfloat16, np.uint16),
    "E5M2": (E5M2, ml_dtypes.float8_e5m2, np.uint8),
    "E4M3": (E4M3, ml_dtypes.float8_e4m3fn, np.uint8),
    "E4M3 (IEEE)": (E4M3_IEEE, ml_dtypes.float8_e4m3, np.uint8),
}
each_format = pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)
each_referee = pytest.mark.parametrize(
    ("fmt", "dtype", "unsigned"), REFEREES.values(), ids=REFEREES
)
small = {k: v for k, v in REFEREES.items() if k != "FP32"}
# Every pattern is a number: the elements of microscaling blocks.
FINITE = {
    "E3M2": (E3M2, ml_dtypes.float6_e3m2fn),
    "E2M3": (E2M3, ml_dtypes.float6_e2m3fn),
    "E2M1": (E2M1, ml_dtypes.float4_e2m1fn),
}
each_finite = pytest.mark.parametrize(("fmt", "dtype"), FINITE.values(), ids=FINITE)
each_mode = pytest.mark.parametrize("mode", MODES)
each_small = pytest.mark.parametrize(("fmt", "dtype", "unsigned"), small.values(), ids=small)


def same(a, b):
    """Equal in every bit, except that all NaN are alike."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    np.testing.assert_array_equal(a, b)
    numbers = ~np.isnan(a)
    np.testing.assert_array_equal(np.signbit(a[numbers]), np.signbit(b[numbers]))


def cast(x, dtype):
    """Let the referee round; it warns about overflow, which is not what is tested."""
    with np.errstate(all="ignore"):
        return np.asarray(x).astype(dtype).astype(np.float64)


def patterns_of(fmt, rng=None):
    """Every bit pattern, or (FP32) three million, those near the ends of binades among them."""
    if fmt.bits <= 19:
        return np.arange(2**fmt.bits)
    ends = (np.arange(512)[:, None] << 23) + np.arange(-3, 4)
    return np.concatenate([rng.integers(0, 2**32, 3_000_000), ends.ravel() % 2**32])


# ---- bit patterns ---------------------------------------------------------------------------


@pytest.mark.referee
@each_referee
def test_every_pattern_decodes_as_the_referee_says(fmt, dtype, unsigned):
    patterns = patterns_of(fmt, np.random.default_rng(0))
    with np.errstate(invalid="ignore"):  # signaling NaN among the patterns
        expected = patterns.astype(unsigned).view(dtype).astype(np.float64)
    same(decode(patterns, fmt), expected)


@pytest.mark.parametrize("fmt", [*FORMATS.values(), E4M3_IEEE], ids=lambda f: f.name)
def test_every_pattern_survives_the_round_trip(fmt):
    patterns = patterns_of(fmt, np.random.default_rng(1))
    values = decode(patterns, fmt)
    same(round_to(values, fmt), values)
    numbers = ~np.isnan(values)
    np.testing.assert_array_equal(encode(values[numbers], fmt), patterns[numbers])
    assert np.isnan(decode(encode(math.nan, fmt), fmt))
    if fmt.bits <= 19:
        nans = 2 if fmt.flavor == "fn" else 2 * (2**fmt.mantissa_bits - 1)
        assert np.sum(~numbers) == nans
        assert np.sum(np.isinf(values)) == (0 if fmt.flavor == "fn" else 2)


@pytest.mark.referee
@each_referee
def test_encode_gives_the_referee_s_patterns(fmt, dtype, unsigned):
    rng = np.random.default_rng(2)
    x = (rng.standard_normal(100_000) * 2.0 ** rng.uniform(-30, 20, 100_000)).astype(np.float32)
    x = np.append(x, [0.0, -0.0, np.inf, -np.inf]).astype(np.float32)
    with np.errstate(all="ignore"):
        expected = x.astype(dtype).view(unsigned)
    numbers = ~np.isnan(cast(x, dtype))
    np.testing.assert_array_equal(encode(x, fmt)[numbers], expected[numbers])


@each_format
def test_patterns_are_in_the_order_of_the_numbers(fmt):
    values = decode(np.arange(min(2 ** (fmt.bits - 1), 2**18)), fmt)
    values = values[~np.isnan(values)]
    assert (np.diff(values[np.isfinite(values)]) > 0).all()


def test_one_pattern_by_hand():
    # 1 0111 101: sign -, field 7 = exponent 0, 1 + 5/8
    assert decode(0b1_0111_101, E4M3) == -1.625
    # 0 00000 11: no implicit 1, 3/4 * 2^-14
    assert decode(0b0_00000_11, E5M2) == 0.75 * 2**-14
    assert bit_string(encode(-1.625, E4M3), E4M3) == "1 0111 101"


# ---- rounding -------------------------------------------------------------------------------


@pytest.mark.referee
@each_small
def test_rounding_at_every_midpoint(fmt, dtype, unsigned):
    values = decode(np.arange(2 ** (fmt.bits - 1)), fmt)
    values = values[np.isfinite(values)]
    step = np.append(np.diff(values), values[-1] - values[-2])  # the last one: towards infinity
    middle = (values + step / 2).astype(np.float32)
    assert (middle == values + step / 2).all(), "midpoints must be exact in float32"
    inf = np.float32(np.inf)
    x = np.concatenate([middle, np.nextafter(middle, inf), np.nextafter(middle, -inf)])
    x = np.concatenate([x, -x])
    same(round_to(x, fmt), cast(x, dtype))
    same(round_to(x.astype(np.float64), fmt), cast(x, dtype))
    # finer than float32 can say: 2^-52 beside the midpoint decides, too
    above = np.nextafter(values[:-1] + step[:-1] / 2, np.inf)
    same(round_to(above, fmt), values[1:])


@pytest.mark.referee
@each_referee
def test_rounding_of_millions_of_random_patterns(fmt, dtype, unsigned):
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2**32, 2_000_000, dtype=np.uint32).view(np.float32)
    same(round_to(x, fmt), cast(x, dtype))


@pytest.mark.referee
@pytest.mark.parametrize(("fmt", "dtype"), [(FP32, np.float32), (FP16, np.float16)])
def test_rounding_of_float64(fmt, dtype):
    rng = np.random.default_rng(4)
    everywhere = rng.integers(0, 2**64, 500_000, dtype=np.uint64).view(np.float64)
    inside = rng.standard_normal(500_000) * 2.0 ** rng.uniform(-160, 130, 500_000)
    half = decode(encode(inside, fmt), fmt) + spacing(inside, fmt) / 2  # NaN beyond the largest
    x = np.concatenate([everywhere, inside, half, np.nextafter(half, 0)])
    same(round_to(x, fmt), cast(x, dtype))


@pytest.mark.parametrize(("fmt", "dropped"), [(BF16, 16), (TF32, 13)])
def test_rounding_is_the_integer_trick(fmt, dropped):
    """Add half of the last place kept, less one, plus its parity; then cut: what chips do."""
    u = np.random.default_rng(5).integers(0, 2**32, 2_000_000, dtype=np.uint32)
    u = u[(u & 0x7F80_0000) != 0x7F80_0000]  # NaN and infinity need a case of their own
    parity = (u >> dropped) & 1
    cut = (u + (2 ** (dropped - 1) - 1) + parity) & np.uint32(2**32 - 2**dropped)
    same(round_to(u.view(np.float32), fmt), cut.astype(np.uint32).view(np.float32))


def test_rounding_is_nearest_by_definition():
    """No bit tricks: the nearest of all 240 numbers, the even pattern in a tie."""
    values = decode(np.arange(0b0_11110_11 + 1), E5M2)
    x = np.random.default_rng(6).uniform(0, 3, 2000)
    x = np.append(x, (values[1:] + values[:-1]) / 2)
    distance = np.abs(x[:, None] - values)
    tied = distance == distance.min(axis=1, keepdims=True)
    even = np.arange(values.size) % 2 == 0
    best = np.argmax(tied * (1 + even), axis=1)
    same(round_to(x, E5M2), values[best])


@each_format
def test_rounding_keeps_dtype_shape_and_signed_zero(fmt):
    x = np.array([[-0.0, 0.0, -1e-60]])
    y = round_to(x, fmt)
    assert y.shape == (1, 3)
    assert list(np.signbit(y[0])) == [True, False, True]
    assert round_to(np.float32(1), fmt).dtype == np.float32
    assert round_to(np.zeros((0, 3)), fmt).shape == (0, 3)
    many = np.random.default_rng(7).standard_normal((3, 40_001)).T  # more than a block, strided
    same(round_to(many, fmt), round_to(many.copy(), fmt))
    same(round_to(many, fmt)[-1], round_to(many[-1], fmt))


@each_format
def test_overflow_rule(fmt):
    last = spacing(fmt.max, fmt)
    beyond = math.inf if fmt.flavor == "ieee" else math.nan
    # Half a spacing beyond the largest number is a tie. Its even end is the largest number
    # itself only where that one's mantissa is even (E4M3: 448 = 110 in the mantissa).
    tie = fmt.max if encode(fmt.max, fmt) % 2 == 0 else beyond
    same(round_to(fmt.max + last / 2, fmt), tie)
    same(round_to(np.nextafter(fmt.max + last / 2, 0), fmt), fmt.max)
    same(round_to(np.nextafter(fmt.max + last / 2, math.inf), fmt), beyond)
    far = np.array([1e300, -1e300, math.inf, -math.inf])
    np.testing.assert_array_equal(round_to(far, fmt), beyond * np.array([1, -1, 1, -1]))
    np.testing.assert_array_equal(round_to(far, fmt, saturate=True), fmt.max * np.sign(far))
    infinite = np.array([math.inf, -math.inf], np.float32)
    same(round_to(infinite, fmt), [beyond, -beyond])
    same(round_to(infinite, fmt, saturate=True), [fmt.max, -fmt.max])
    assert np.isnan(round_to(math.nan, fmt, saturate=True))


@each_format
def test_largest_relative_error(fmt):
    """It is u / (1 + u) with u = 2^-(m+1), halfway between 1 and its neighbor."""
    u = fmt.eps / 2
    x = np.append(np.random.default_rng(8).uniform(1, 2, 100_000), 1 + u)
    error = np.abs(round_to(x, fmt) - x) / x
    assert error.max() == error[-1]
    assert_close(error[-1], u / (1 + u))


def test_double_rounding_differs():
    x = 1 + 2.0**-8 + 2.0**-40  # just above a midpoint of BF16; FP32 takes it for the midpoint
    assert round_to(x, BF16) == 1.0078125
    assert round_to(round_to(x, FP32), BF16) == 1.0


def test_signal_to_noise_of_normal_data():
    x = np.random.default_rng(9).standard_normal(200_000)
    decibels = {
        f.name: 10 * np.log10(np.mean(x**2) / np.mean((round_to(x, f) - x) ** 2))
        for f in (E5M2, E4M3, BF16, FP16, TF32)
    }
    expected = {"E5M2": 25.6, "E4M3": 31.5, "BF16": 55.6, "FP16": 73.7, "TF32": 73.7}
    for name, value in expected.items():
        assert abs(decibels[name] - value) < 0.1  # the sampling error of 200,000 draws
    # Range against precision: the same data a million times smaller.
    small = {
        f.name: 10 * np.log10(np.mean(x**2) / np.mean((round_to(x * 1e-6, f) * 1e6 - x) ** 2))
        for f in (E4M3, BF16, FP16)
    }
    assert abs(small["BF16"] - decibels["BF16"]) < 0.1
    assert abs(small["FP16"] - 35) < 1
    assert small["E4M3"] == 0


# ---- directed rounding ----------------------------------------------------------------------


def by_definition(x, fmt, mode):
    """The largest number <= x, or the smallest >= x, among all of the format."""
    values = decode(np.arange(2**fmt.bits), fmt)
    values = np.unique(values[~np.isnan(values)])
    below = values[np.searchsorted(values, x, side="right") - 1]
    above = values[np.searchsorted(values, x, side="left")]
    inward = np.where(x > 0, below, above)
    return {"down": below, "up": above, "toward_zero": inward}[mode]


@pytest.mark.parametrize("fmt", [E5M2, E4M3, E3M2, E2M3, E2M1, FP16], ids=lambda f: f.name)
@pytest.mark.parametrize("mode", ["down", "up", "toward_zero"])
def test_directed_rounding_is_the_next_number_in_that_direction(fmt, mode):
    rng = np.random.default_rng(22)
    x = rng.standard_normal(3000) * fmt.max * 2.0 ** rng.uniform(-20, -2.5, 3000)
    x = x[np.abs(x) <= fmt.max]
    for values in (x, x.astype(np.float32), round_to(x, fmt)):
        np.testing.assert_array_equal(
            round_to(values, fmt, mode=mode), by_definition(values, fmt, mode)
        )


@each_format
def test_modes_bracket_the_number(fmt):
    x = np.random.default_rng(23).standard_normal(5000) * 3
    y = {mode: round_to(x, fmt, mode=mode) for mode in MODES}
    assert (y["down"] <= x).all()
    assert (x <= y["up"]).all()
    assert (np.abs(y["toward_zero"]) <= np.abs(x)).all()
    same(y["up"], -round_to(-x, fmt, mode="down"))
    nearer = np.minimum(np.abs(y["up"] - x), np.abs(y["down"] - x))
    np.testing.assert_array_equal(np.abs(y["nearest"] - x), nearer)
    for mode in MODES:  # what is in the format stays
        same(round_to(y[mode], fmt, mode=mode), y[mode])
    zeros = round_to(np.array([0.0, -0.0, 1e-60, -1e-60]), fmt, mode="toward_zero")
    same(zeros, [0.0, -0.0, 0.0, -0.0])
    same(round_to(-1e-60, fmt, mode="up"), -0.0)
    assert round_to(1e-60, fmt, mode="up") == fmt.min_subnormal


@pytest.mark.parametrize("fmt", [FP32, FP16, E4M3, E2M1], ids=lambda f: f.name)
def test_directed_modes_overflow_outwards_only(fmt):
    beyond = {"ieee": math.inf, "fn": math.nan, "finite": fmt.max}[fmt.flavor]
    far = np.array([1e300, -1e300])
    same(round_to(far, fmt, mode="toward_zero"), [fmt.max, -fmt.max])
    same(round_to(far, fmt, mode="up"), [beyond, -fmt.max])
    same(round_to(far, fmt, mode="down"), [fmt.max, -beyond])
    same(round_to(far, fmt, mode="up", saturate=True), [fmt.max, -fmt.max])
    endless = np.array([math.inf, -math.inf])  # exact, so no mode changes it
    for mode in MODES:
        same(round_to(endless, fmt, mode=mode), [beyond, -beyond])
        same(round_to(endless, fmt, mode=mode, saturate=True), [fmt.max, -fmt.max])
    just_above = np.nextafter(fmt.max, math.inf)
    same(round_to(just_above, fmt, mode="up"), beyond)
    assert round_to(just_above, fmt) == round_to(just_above, fmt, mode="down") == fmt.max


def test_cutting_off_has_a_bias_and_to_nearest_has_none():
    """Toward zero loses half a spacing on average; FP16 between 1 and 2."""
    x = np.random.default_rng(24).uniform(1, 2, 200_000)
    q = FP16.eps
    error = {mode: np.mean(round_to(x, FP16, mode=mode) - x) / q for mode in MODES}
    sigma = 1 / math.sqrt(12 * x.size)  # of a mean of uniform errors
    assert abs(error["nearest"]) < 4 * sigma
    assert abs(error["toward_zero"] + 0.5) < 4 * sigma
    assert abs(error["up"] - 0.5) < 4 * sigma


# ---- formats without infinity and NaN -------------------------------------------------------


@pytest.mark.referee
@each_finite
def test_finite_formats_are_the_referee_s(fmt, dtype):
    patterns = np.arange(2**fmt.bits)
    values = decode(patterns, fmt)
    same(values, patterns.astype(np.uint8).view(dtype).astype(np.float64))
    np.testing.assert_array_equal(encode(values, fmt), patterns)
    info = ml_dtypes.finfo(dtype)
    mine = (fmt.max, fmt.eps, fmt.min_normal, fmt.min_subnormal)
    assert mine == tuple(
        float(v) for v in (info.max, info.eps, info.smallest_normal, info.smallest_subnormal)
    )
    line = np.unique(values)
    middle = (line[1:] + line[:-1]) / 2
    x = np.concatenate([middle, np.nextafter(middle, 9e9), np.nextafter(middle, -9e9)])
    x = np.concatenate([x, [fmt.max * 1.01, -fmt.max * 1.01, 1e9, -1e9]]).astype(np.float32)
    same(round_to(x, fmt), cast(x, dtype))
    below, above = neighbors(line, fmt)
    np.testing.assert_array_equal(below, np.append(math.nan, line[:-1]))
    np.testing.assert_array_equal(above, np.append(line[1:], math.nan))


@each_finite
def test_finite_formats_cannot_say_nan(fmt, dtype):
    assert np.isnan(round_to(math.nan, fmt))
    with pytest.raises(ValueError, match=f"encode: x must hold no NaN, which {fmt.name} cannot"):
        encode([1.0, math.nan], fmt)


def test_the_fifteen_numbers_of_four_bits():
    values = np.unique(decode(np.arange(16), E2M1))
    positive = [0.5, 1, 1.5, 2, 3, 4, 6]
    np.testing.assert_array_equal(values, [*(-v for v in positive[::-1]), 0, *positive])


# ---- speed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)
def test_rounding_a_million_numbers_is_fast(fmt):
    """Seconds of the processor, the best of five: 15 ms are asked of FP16 and BF16."""
    x = np.random.default_rng(25).standard_normal(10**6).astype(np.float32)
    times = []
    for _ in range(5):
        start = time.process_time()
        round_to(x, fmt)
        times.append(time.process_time() - start)
    assert min(times) < (0.060 if fmt.bits == 8 else 0.015)  # measured: 0.006


# ---- stochastic rounding --------------------------------------------------------------------


@each_format
def test_stochastic_rounding_chooses_a_neighbor(fmt):
    rng = np.random.default_rng(10)
    x = rng.standard_normal(2000) * 2.0 ** rng.uniform(-15, 5, 2000)
    y = stochastic_round(x, fmt, rng=rng)
    below, above = neighbors(x, fmt)
    kept = round_to(x, fmt) == x
    assert ((y == below) | (y == above) | kept).all()
    same(y[kept], x[kept])
    same(stochastic_round(y, fmt, rng=rng), y)


def test_stochastic_rounding_is_right_on_average():
    tenth = np.full(1_000_000, 0.1)
    y = stochastic_round(tenth, E4M3, rng=np.random.default_rng(11))
    low, high = neighbors(0.1, E4M3)
    sigma = math.sqrt((high - 0.1) * (0.1 - low) / tenth.size)  # of the mean of a two-point law
    assert abs(y.mean() - 0.1) < 4 * sigma
    assert round_to(0.1, E4M3) == 0.1015625
    assert_close(np.mean(y == high), (0.1 - low) / (high - low), rtol=0.01)  # 4 sigma of a share
    minus = stochastic_round(-tenth, E4M3, rng=np.random.default_rng(12))
    assert abs(minus.mean() + 0.1) < 4 * sigma


def test_stochastic_rounding_overflows_as_rounding_does():
    rng = np.random.default_rng(13)
    assert stochastic_round(1e6, FP16, rng=rng) == math.inf
    assert stochastic_round(-1e6, FP16, rng=rng, saturate=True) == -65504
    assert np.isnan(stochastic_round(math.nan, BF16, rng=rng))
    edge = stochastic_round(np.full(4000, 65520.0), FP16, rng=rng)  # between 65504 and 65536
    assert set(edge) == {65504.0, math.inf}
    assert np.signbit(stochastic_round(-0.0, FP16, rng=rng))
    assert np.signbit(stochastic_round(np.full(50, -1e-9), FP16, rng=rng)).all()


# ---- spacing and neighbors ------------------------------------------------------------------


@pytest.mark.referee
@pytest.mark.parametrize(("fmt", "dtype"), [(FP16, np.float16), (FP32, np.float32)])
def test_spacing_is_numpy_s(fmt, dtype):
    x = decode(patterns_of(fmt, np.random.default_rng(14)), fmt)
    x = x[np.isfinite(x) & (np.abs(x) < fmt.max)]  # NumPy's ulp of the largest number is infinite
    # NumPy's float16 spacing looks towards zero at negative powers of two, its float32 does not.
    expected = np.spacing(np.abs(x).astype(dtype)).astype(np.float64)
    np.testing.assert_array_equal(spacing(x, fmt), expected)
    assert np.isnan(spacing([math.inf, math.nan, fmt.max * 1.01], fmt)).all()


@pytest.mark.referee
@each_small
def test_neighbors_are_the_referee_s(fmt, dtype, unsigned):
    values = decode(np.arange(2**fmt.bits), fmt)
    values = values[np.isfinite(values)]
    line = np.unique(values)  # sorted; one zero
    below, above = neighbors(values, fmt)
    place = np.searchsorted(line, values)
    outside = math.inf if fmt.flavor == "ieee" else math.nan
    np.testing.assert_array_equal(below, np.append(-outside, line)[place])
    np.testing.assert_array_equal(above, np.append(line, outside)[place + 1])
    between = (line[1:] + line[:-1]) / 2 + (line[1:] - line[:-1]) / 8
    below, above = neighbors(between, fmt)
    np.testing.assert_array_equal(below, line[:-1])
    np.testing.assert_array_equal(above, line[1:])


def test_neighbors_at_the_ends():
    assert neighbors(math.inf, FP16) == (65504, math.inf)
    assert neighbors(1e9, FP16) == (65504, math.inf)
    assert neighbors(-1e9, FP16) == (-math.inf, -65504)
    assert neighbors(0.0, FP16) == (-(2.0**-24), 2.0**-24)
    assert np.isnan(neighbors(math.nan, FP16)).all()
    assert neighbors(np.float32(3), FP32)[0].dtype == np.float32


# ---- sums -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [E5M2, E4M3, BF16, FP16, TF32], ids=lambda f: f.name)
def test_counting_stalls_at_the_exact_integers(fmt):
    sums = running_sum(np.ones(3000), fmt)
    assert sums[-1] == fmt.exact_integers == 2 ** (fmt.mantissa_bits + 1)
    np.testing.assert_array_equal(sums, np.minimum(np.arange(1, 3001), fmt.exact_integers))
    # FP32 stalls at 2^24: one more is lost, two more are not
    assert list(running_sum([2.0**24, 1, 1], FP32)) == [2.0**24] * 3


def naive_by_definition(terms, fmt, rounded):
    total, sums = np.float64(0), []
    for term in terms:
        total = rounded(total + round_to(term, fmt))
        sums.append(total)
    return np.array(sums)


@each_format
def test_sums_agree_with_the_rounding_of_arrays(fmt):
    terms = np.random.default_rng(15).standard_normal(600) * 20
    same(running_sum(terms, fmt), naive_by_definition(terms, fmt, lambda x: round_to(x, fmt)))
    saturated = running_sum(terms + 60, fmt, saturate=True)
    same(
        saturated,
        naive_by_definition(terms + 60, fmt, lambda x: round_to(x, fmt, saturate=True)),
    )


@pytest.mark.referee
@each_referee
def test_naive_sums_are_the_referee_s(fmt, dtype, unsigned):
    terms = np.random.default_rng(16).random(400).astype(np.float32)
    total, expected = np.zeros((), dtype), []
    for term in terms.astype(dtype):
        total = (total + term).astype(dtype)
        expected.append(float(total))
    np.testing.assert_array_equal(running_sum(terms, fmt), np.array(expected, np.float32))


def pairwise_by_definition(terms, fmt):
    """Split at the largest power of two below the count, add the halves' sums."""
    if len(terms) == 1:
        return round_to(terms[0], fmt)
    cut = 2 ** ((len(terms) - 1).bit_length() - 1)
    left, right = (pairwise_by_definition(part, fmt) for part in (terms[:cut], terms[cut:]))
    return round_to(left + right, fmt)


def test_pairwise_sums_are_the_recursion():
    terms = np.random.default_rng(17).standard_normal(37) * 10
    expected = [pairwise_by_definition(terms[:n], BF16) for n in range(1, 38)]
    for n in (1, 2, 32, 37):  # whole blocks, too
        same(running_sum(terms[:n], BF16, method="pairwise"), expected[:n])


def test_kahan_by_hand():
    # BF16 counts in twos from 256. The first 1 is lost and remembered, the second becomes 2;
    # 259 is a tie that goes up to 260, one too many, and is remembered, too.
    terms = [256.0, 1.0, 1.0, 1.0, 1.0]
    assert list(running_sum(terms, BF16, method="kahan")) == [256, 256, 258, 260, 260]
    assert list(running_sum(terms, BF16)) == [256] * 5


@pytest.mark.parametrize("fmt", [E5M2, E4M3], ids=lambda f: f.name)
def test_kahan_stalls_at_the_square(fmt):
    """The compensation is counted in the format, too: up to 2^(m+1), half a spacing of the sum."""
    sums = running_sum(np.ones(2000), fmt, method="kahan")
    assert sums[-1] == fmt.exact_integers**2
    assert (
        np.abs(sums[: fmt.exact_integers**2] / np.arange(1, fmt.exact_integers**2 + 1) - 1)
        <= 2 * fmt.eps
    ).all()  # until then within a spacing or two


def test_ten_thousand_random_terms():
    """The exact sum is near 1000; FP16 stalls at 512, BF16 at 64."""
    terms = np.random.default_rng(18).uniform(0, 0.2, 10_000)
    exact = terms.sum()
    assert running_sum(terms, FP16)[-1] == 512
    assert running_sum(terms, BF16)[-1] == 64
    for fmt, kahan, pairwise, stochastic in ((FP16, 5e-4, 1e-3, 0.05), (BF16, 4e-3, 5e-3, 0.2)):
        limits = {"kahan": kahan, "pairwise": pairwise, "stochastic": stochastic}
        for method, limit in limits.items():  # bands: three times the spread over seeds
            total = running_sum(terms, fmt, method=method, rng=np.random.default_rng(19))[-1]
            assert abs(total / exact - 1) < limit


def test_sums_of_few_exact_terms_are_exact():
    terms = np.arange(1.0, 20)
    for method in METHODS:
        sums = running_sum(terms, FP16, method=method, rng=np.random.default_rng(0))
        np.testing.assert_array_equal(sums, np.cumsum(terms))
    assert running_sum(np.ones(3, np.float32), FP16).dtype == np.float32


def test_sums_overflow_by_the_rule():
    assert running_sum([60000.0, 60000.0, 1.0], FP16)[-1] == math.inf
    assert running_sum([-60000.0, -60000.0, 1e5], FP16, saturate=True)[0] == -60000
    assert running_sum([60000.0, 60000.0, -4.0], FP16, saturate=True)[1] == 65504
    assert np.isnan(running_sum([400.0, 400.0, 1.0], E4M3)[-1])


def test_numpy_sum_hides_the_stall():
    ones = np.ones(10_000, np.float16)
    assert np.cumsum(ones)[-1] == 2048
    assert np.sum(ones) == 10_000


def test_a_weight_that_does_not_move():
    """Updates below half a spacing vanish completely, not partly."""
    start = np.array([1.0])
    for fmt, update, expected in ((FP16, 1e-4, 1.0), (BF16, 1e-3, 1.0)):
        weight = running_sum(np.concatenate([start, np.full(1000, -update)]), fmt)[-1]
        assert weight == expected
    weight = running_sum(np.concatenate([start, np.full(1000, -1e-4)]), FP32)[-1]
    assert_close(weight, 0.89998, rtol=1e-5)  # five digits are published
    assert running_sum(np.full(10_000, 1e-4), FP16)[-1] == 0.25


# ---- INT8 -----------------------------------------------------------------------------------


def test_int8_round_trip_of_every_integer():
    for code in (integer_code(-1.0, 0.4), integer_code(-0.3, 1.7, symmetric=False)):
        q = np.arange(code.lowest, 128)
        np.testing.assert_array_equal(quantize(dequantize(q, code), code), q)
        assert dequantize(code.zero_point, code) == 0


def test_int8_error_is_at_most_half_a_step():
    x = np.random.default_rng(20).uniform(-0.3, 1.7, 10_000)
    code = integer_code(-0.3, 1.7, symmetric=False)
    error = np.abs(dequantize(quantize(x, code), code) - x)
    # The rounded zero point shifts the grid by up to half a step, so the ends may be cut by it.
    assert error.max() <= code.scale
    inner = (x > -0.3 + code.scale) & (x < 1.7 - code.scale)
    assert error[inner].max() <= code.scale / 2 * (1 + 1e-12)  # the last bit of the product
    assert_close(np.mean(error[inner] ** 2), code.scale**2 / 12, rtol=0.05)  # sampling error


def test_int8_signal_to_noise():
    x = np.random.default_rng(21).standard_normal(200_000)

    def decibels(clip):
        code = integer_code(-clip, clip)
        return 10 * np.log10(
            np.mean(x**2) / np.mean((dequantize(quantize(x, code), code) - x) ** 2)
        )

    assert abs(decibels(np.abs(x).max()) - 39.1) < 1.0  # depends on the largest of the sample
    assert abs(decibels(3.9) - 40.7) < 0.2


# ---- the table checks itself ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"flavor": "float"}, "flavor"),
        ({"exponent_bits": 9}, "exponent_bits"),
        ({"mantissa_bits": 0}, "mantissa_bits"),
        ({"stored_bits": 8}, "stored_bits"),
        ({"bias": 200}, "bias"),
    ],
)
def test_a_format_that_contradicts_itself_is_refused(change, word):
    with pytest.raises(ValueError, match=rf"Format: .*{word}.*got"):
        dataclasses.replace(FP16, **change)


def test_the_smallest_format_has_six_numbers_and_their_negatives():
    tiny = Format("E2M1 (IEEE)", 2, 1, bias=1, flavor="ieee", stored_bits=4)
    numbers = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
    same(np.unique(round_to(np.linspace(0, 3.4, 100), tiny)), numbers)
    same(round_to(np.array([-3.4, -3.5, 3.5]), tiny), [-3.0, -math.inf, math.inf])


def test_the_published_table():
    rows = {  # min subnormal, min normal, max, eps, digits, exact integers
        FP32: (1.40e-45, 1.175e-38, 3.4028e38, 1.19e-7, 7.22, 16_777_216),
        TF32: (1.15e-41, 1.175e-38, 3.401e38, 9.77e-4, 3.31, 2048),
        BF16: (9.18e-41, 1.175e-38, 3.3895e38, 7.81e-3, 2.41, 256),
        FP16: (5.96e-8, 6.104e-5, 65504, 9.77e-4, 3.31, 2048),
        E5M2: (1.53e-5, 6.104e-5, 57344, 0.25, 0.90, 8),
        E4M3: (1.95e-3, 0.015625, 448, 0.125, 1.20, 16),
    }
    for f, row in rows.items():
        mine = (f.min_subnormal, f.min_normal, f.max, f.eps, f.digits, f.exact_integers)
        assert_close(mine, row, rtol=5e-3)  # the table is rounded to three digits
    assert (E4M3_IEEE.max, E4M3_IEEE.emax) == (240, 7)


@pytest.mark.referee
@each_referee
def test_properties_are_the_referee_s(fmt, dtype, unsigned):
    info = ml_dtypes.finfo(dtype)
    assert (fmt.max, fmt.eps) == (float(info.max), float(info.eps))
    assert fmt.min_normal == float(info.smallest_normal)
    assert fmt.min_subnormal == float(info.smallest_subnormal)


# ---- the ledger of claims -------------------------------------------------------------------


@pytest.mark.claim("FP-01")
def test_two_and_a_half_in_fp16():
    pattern = encode(2.5, FP16)
    assert pattern == 0x4100 == int(np.float16(2.5).view(np.uint16))
    assert bit_string(pattern, FP16) == "0 10000 0100000000"


@pytest.mark.claim("FP-02")
def test_bias_and_range_formulas():
    for f in (FP32, TF32, BF16, FP16, E5M2):
        assert f.bias == 2 ** (f.exponent_bits - 1) - 1
        assert (f.emin, f.emax) == (1 - f.bias, f.bias)
        assert f.max == (2 - 2.0**-f.mantissa_bits) * 2.0**f.emax
    assert (E4M3.bias, E4M3.emin, E4M3.emax) == (7, -6, 8)
    assert E4M3.max == 448 != (2 - 2.0**-3) * 2.0**E4M3.bias == 240
    assert not np.isinf(decode(np.arange(256), E4M3)).any()


@pytest.mark.claim("FP-03")
def test_smallest_positive_number_is_subnormal():
    for f in FORMATS.values():
        assert decode(1, f) == f.min_subnormal == 2.0 ** (f.emin - f.mantissa_bits)
        assert f.min_normal / f.min_subnormal == 2**f.mantissa_bits
        assert round_to(f.min_subnormal / 2, f) == 0  # the tie goes to zero
        assert round_to(f.min_subnormal * 0.501, f) == f.min_subnormal
    assert FP16.min_normal / FP16.min_subnormal == 1024
    assert_close([FP16.min_subnormal, FP16.min_normal], [5.96e-8, 6.10e-5], rtol=1e-3)  # 3 digits


@pytest.mark.claim("FP-04")
@each_format
def test_implicit_one_of_normal_numbers_only(fmt):
    m = fmt.mantissa_bits
    mantissas = np.arange(min(2**m, 2**12))
    fraction = mantissas / 2**m
    subnormal = decode(mantissas, fmt)
    np.testing.assert_array_equal(subnormal, (0 + fraction) * 2.0**fmt.emin)
    for field in range(1, 2**fmt.exponent_bits - 1):
        normal = decode((field << m) + mantissas, fmt)
        np.testing.assert_array_equal(normal, (1 + fraction) * 2.0 ** (field - fmt.bias))


@pytest.mark.claim("FP-05")
def test_range_of_fp16():
    assert round_to(65519.0, FP16) == 65504
    assert round_to(65520.0, FP16) == math.inf
    with np.errstate(over="ignore"):
        assert np.float16(65519.0) == 65504
        assert np.float16(65520.0) == np.inf
    assert_close([FP16.min_subnormal, FP16.min_normal], [5.96e-8, 6.10e-5], rtol=1e-3)  # 3 digits


@pytest.mark.claim("FP-06")
def test_digits_of_bf16():
    assert_close([BF16.digits, FP16.digits, FP32.digits], [2.41, 3.31, 7.22], rtol=3e-3)
    assert round_to(256.0 + 1, BF16) == 256
    assert round_to(1 + 0.003, BF16) == 1
    assert round_to(math.pi, BF16) == 3.140625
    assert round_to(2048.0 + 1, FP16) == 2048

    def lost(digits):
        """Share of the numbers of so many decimal digits that do not come back from BF16."""
        head = np.arange(10 ** (digits - 1), 10**digits)
        texts = [f"{h}e{power}" for power in range(-20, 20) for h in head]
        values = np.array([float(t) for t in texts])
        back = [float(f"{v:.{digits - 1}e}") for v in round_to(values, BF16)]
        return np.mean(back != values)

    assert lost(2) == 0
    assert 0.3 < lost(3) < 0.7


@pytest.mark.claim("FP-07")
def test_int8_is_a_code_with_a_uniform_step():
    q = np.arange(-128, 128)
    code = integer_code(-1.0, 1.0, symmetric=False)
    values = dequantize(q, code)
    assert_close(np.diff(values), np.full(255, 2 / 255))
    assert_close(values.max() - values.min(), 2.0)  # whatever the scale says, not 255
    assert integer_code(-1.0, 1.0).lowest == -127
    assert dequantize(-127, integer_code(-1.0, 1.0)) == -1
    # Relative precision depends on size: near 1 it beats E4M3, near 0 it is useless.
    code = integer_code(-1.0, 1.0)

    def worst(x, rounded):
        return np.max(np.abs(rounded - x) / x)

    near_one, near_zero = np.linspace(0.9, 1, 1001), np.linspace(0.016, 0.02, 1001)
    assert worst(near_one, dequantize(quantize(near_one, code), code)) < 0.005
    assert worst(near_zero, dequantize(quantize(near_zero, code), code)) > 0.19
    assert worst(near_one, round_to(near_one, E4M3)) < 0.07
    assert worst(near_zero, round_to(near_zero, E4M3)) < 0.07


@pytest.mark.claim("FP-08")
def test_int8_is_not_the_smallest():
    """What is testable of a row on common practice: FP8 takes no more room, 4-bit codes half."""
    assert E4M3.stored_bits == E5M2.stored_bits == 8 == 8 * np.dtype(np.int8).itemsize
    assert 8 * np.dtype(np.int8).itemsize == 2 * np.dtype(ml_dtypes.int4).itemsize * 4


@pytest.mark.claim("FP-09")
def test_bytes_of_each_format():
    stored = {name: f.stored_bits // 8 for name, f in FORMATS.items()}
    assert stored == {"FP32": 4, "TF32": 4, "BF16": 2, "FP16": 2, "E5M2": 1, "E4M3": 1}
    assert (TF32.bits, TF32.stored_bits) == (19, 32)
    for fmt, dtype, _ in REFEREES.values():
        assert np.dtype(dtype).itemsize == fmt.stored_bits // 8


@pytest.mark.claim("MP-06")
@pytest.mark.referee
def test_fp8_overflow_depends_on_the_cast():
    assert np.isnan(round_to(1000.0, E4M3))
    assert round_to(1000.0, E4M3, saturate=True) == 448
    assert round_to(1e6, E5M2) == math.inf
    assert round_to(1e6, E5M2, saturate=True) == 57344
    assert round_to(464.0, E4M3) == 448  # a tie, to the even mantissa
    assert np.isnan(round_to(np.nextafter(464.0, 500), E4M3))
    assert np.isnan(float(ml_dtypes.float8_e4m3fn(1000.0)))
    assert float(ml_dtypes.float8_e5m2(1e6)) == math.inf


# ---- the explorers' own rules ---------------------------------------------------------------


def test_bits_explorer_reads_numbers_and_refuses_the_rest():
    assert bits.run(typed=" 1/3 ").x == 1 / 3
    assert bits.run(typed="−2.5e3").x == -2500
    assert bits.run(typed="inf").x == math.inf
    for nonsense in ("abc", "1/0", "1/2/3", "__import__('os')", "1 2"):
        with pytest.raises(ValueError, match="typed must be a number"):
            bits.run(typed=nonsense)


def test_bits_explorer_flips_the_bits_of_its_format():
    flipped = bits.run(typed="2.5", format="FP16", flips=1 << 15)
    assert flipped.x == -2.5
    assert bits.run(typed="2.5", format="FP16", flips=1).x == round_to(2.5, FP16) + 2**-9
    assert bits.run(typed="2.5", format="FP16", flips=1 << 16).x == 2.5  # FP16 has no 17th bit


@pytest.mark.parametrize("name", ["E5M2", "E4M3"])
def test_byte_explorer_shows_every_pattern(name):
    fmt = FORMATS[name]
    for pattern in range(256):
        buttons = {f"b{i}": bool(pattern >> i & 1) for i in range(8)}
        data = byte.run(format=name, **buttons)
        same(data.value, decode(pattern, fmt))
        if data.kind in ("normal", "subnormal"):
            ones = (data.kind == "normal", *data.bits[-fmt.mantissa_bits :])
            total = sum(p for p, one in zip(data.powers, ones, strict=True) if one)
            assert total == abs(data.value)
