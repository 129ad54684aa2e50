"""Dot products in formats: exact references, referees, bounds, and how errors grow."""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from tests.trainlab.closeness import assert_close
from trainlab.dot_products import dot_error_bound, running_dot
from trainlab.formats import BF16, E4M3, E5M2, FORMATS, FP16, FP32, TF32, round_to
from trainlab.summation import METHODS

each_format = pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)


def exact(x, y):
    """No rounding anywhere: fractions."""
    return sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, y, strict=True))


def numbers(count, rng, low=-1.0):
    return rng.uniform(low, 1, (2, count))


def test_by_hand():
    # BF16: 256 + 1 is 256; in FP32 nothing is lost.
    x, y = [256.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]
    assert list(running_dot(x, y, BF16, accumulator=BF16)) == [256] * 4
    assert list(running_dot(x, y, BF16)) == [256, 257, 258, 259]
    # The product is rounded to the accumulator too: 1.25 * 1.25 = 1.5625 is a tie, to the even 1.5.
    assert list(running_dot([1.25], [1.25], E4M3, accumulator=E4M3)) == [1.5]
    assert list(running_dot([1.25], [1.25], E4M3)) == [1.5625]
    # The inputs are rounded first: 257 is 256 in BF16.
    assert list(running_dot([257.0], [2.0], BF16)) == [512]


@each_format
def test_one_rounding_for_each_product_and_each_sum_by_fractions(fmt):
    x, y = numbers(60, np.random.default_rng(0))
    for accumulator in (FP32, FP16, E5M2):
        total = Fraction(0)
        for a, b in zip(round_to(x, fmt), round_to(y, fmt), strict=True):
            product = round_to(float(Fraction(a) * Fraction(b)), accumulator)
            total = Fraction(float(round_to(float(total + Fraction(float(product))), accumulator)))
        assert running_dot(x, y, fmt, accumulator=accumulator)[-1] == float(total)


@pytest.mark.referee
@pytest.mark.parametrize(
    ("fmt", "dtype"),
    [(FP32, np.float32), (FP16, np.float16), (BF16, ml_dtypes.bfloat16)],
    ids=lambda v: getattr(v, "name", None),
)
def test_the_referee_s_arithmetic_gives_the_same(fmt, dtype):
    x, y = numbers(500, np.random.default_rng(1))
    a, b, total, expected = x.astype(dtype), y.astype(dtype), np.zeros((), dtype), []
    for product in a * b:
        total = (total + product).astype(dtype)
        expected.append(float(total))
    np.testing.assert_array_equal(running_dot(x, y, fmt, accumulator=fmt), expected)


@pytest.mark.referee
@pytest.mark.parametrize(
    ("fmt", "dtype"),
    [(FP16, np.float16), (E4M3, ml_dtypes.float8_e4m3fn), (E5M2, ml_dtypes.float8_e5m2)],
    ids=lambda v: getattr(v, "name", None),
)
def test_narrow_inputs_and_a_float32_sum_are_the_referee_s(fmt, dtype):
    x, y = numbers(500, np.random.default_rng(2))
    a, b = (v.astype(dtype).astype(np.float32) for v in (x, y))
    np.testing.assert_array_equal(running_dot(x, y, fmt), np.cumsum(a * b, dtype=np.float32))


def test_products_of_half_precision_are_exact_in_fp32():
    x, y = numbers(2000, np.random.default_rng(3))
    a, b = round_to(x, FP16), round_to(y, FP16)
    np.testing.assert_array_equal(round_to(a * b, FP32), a * b)


@pytest.mark.parametrize("accumulator", [FP32, TF32, FP16, BF16, E4M3], ids=lambda f: f.name)
@pytest.mark.parametrize("low", [-1.0, 0.5])
def test_higham_s_bound_holds_in_any_order(accumulator, low):
    rng = np.random.default_rng(4)
    for n in (2, 5, 15, 100):
        bound = dot_error_bound(n, accumulator)
        for _ in range(5):
            # Rounded before: the bound is about the sum. Of a size that nothing underflows.
            x, y = (round_to(v, E4M3) for v in numbers(n, rng, low=low))
            size = float(exact(np.abs(x), np.abs(y)))
            for method in ("naive", "pairwise"):
                got = running_dot(x, y, E4M3, accumulator=accumulator, method=method)[-1]
                underflow = n * accumulator.min_subnormal
                assert abs(Fraction(float(got)) - exact(x, y)) <= bound * size + underflow


def test_the_bound_by_hand():
    u = 2.0**-8
    assert_close(dot_error_bound(10, BF16), 10 * u / (1 - 10 * u))
    assert dot_error_bound(256, BF16) == math.inf
    assert dot_error_bound(255, BF16) == 255
    assert dot_error_bound(1, FP32) == pytest.approx(2.0**-24, rel=1e-6)


def rms_errors(low, accumulator, lengths, method="naive", trials=12, n=4096):
    """Root mean square of the accumulator's error, relative to sum |x y|."""
    total = np.zeros(len(lengths))
    places = np.array(lengths) - 1
    for trial in range(trials):
        x, y = numbers(n, np.random.default_rng([5, trial]), low=low)
        sums = running_dot(
            x, y, FP16, accumulator=accumulator, method=method, rng=np.random.default_rng(trial)
        )
        products = round_to(x, FP16) * round_to(y, FP16)
        error = (sums - np.cumsum(products)) / np.cumsum(np.abs(products))
        total += error[places] ** 2 / trials
    return np.sqrt(total)


def test_errors_grow_with_the_root_of_the_length_not_with_the_length():
    """Positive terms: 64 times the length, 8 times the error; the worst case would be 64."""
    short, long = rms_errors(0.0, FP32, (64, 4096))
    assert 4 < long / short < 11  # between 5 and 6 for 6 to 24 trials: few of the first errors
    # And far below the bound at every length.
    assert long < dot_error_bound(4096, FP32) / 50


def test_errors_of_terms_of_both_signs_do_not_grow():
    """The sum itself grows with the root of n only, and its errors with it."""
    short, long = rms_errors(-1.0, FP16, (64, 4096))
    assert 0.5 < long / short < 2


def test_a_stall_beats_the_rule_of_the_root():
    """Rounding errors of a sum that stalls all have one sign: the rule needs n u well below 1."""
    rule = math.sqrt(4096) * BF16.eps / 2
    assert rms_errors(0.0, BF16, (4096,))[0] > 3 * rule
    assert rms_errors(0.0, BF16, (4096,), method="stochastic")[0] < rule
    assert rms_errors(0.0, BF16, (4096,), method="pairwise")[0] < rule / 10
    assert rms_errors(0.0, BF16, (4096,), method="kahan")[0] < rule / 10


def test_exact_sums_stay_exact():
    x = np.arange(1.0, 12)
    for method in METHODS:
        got = running_dot(x, x, FP16, accumulator=FP16, method=method, rng=np.random.default_rng(0))
        np.testing.assert_array_equal(got, np.cumsum(x * x))
    assert running_dot(np.ones(3, np.float32), np.ones(3, np.float32), FP16).dtype == np.float32
    assert running_dot(np.ones(3, np.float32), np.ones(3), FP16).dtype == np.float64


def test_overflow_by_the_rule_of_the_accumulator():
    x = np.full(4, 200.0)
    assert running_dot(x, x, FP16)[-1] == 160_000
    assert running_dot(x, x, FP16, accumulator=FP16)[-1] == math.inf
    assert running_dot(x, x, FP16, accumulator=FP16, saturate=True)[-1] == 65504
    with pytest.raises(ValueError, match="running_dot: x and y must fit FP16, at most 65504; got"):
        running_dot([1e6], [1.0], FP16)
    assert running_dot([1e6], [1.0], FP16, saturate=True)[-1] == 65504
