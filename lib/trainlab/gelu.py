"""The Gaussian error linear unit, and the distribution function of the normal numbers in it.

NumPy has no error function. Here the tail of the normal distribution is its density times
*Mills' ratio*, which is smooth and needs no exponential: a polynomial fits it. The density serves
the value and the slope of `gelu` at once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _checks
from ._elementwise import Array, Result, logistic, value_and_pullback, value_and_slope
from .differentiation import differentiable

__all__ = ["gelu", "gelu_derivative", "normal_cdf"]

FORMS = ("none", "tanh")


def _mills_ratio(a: float) -> float:
    """Tail / density, P(z > a) / φ(a) for a >= 0."""
    if a < 2:
        return math.sqrt(math.pi / 2) * math.erfc(a / math.sqrt(2)) * math.exp(a * a / 2)
    fraction = a  # Laplace's continued fraction, 1 / (a + 1 / (a + 2 / (a + 3 / ...)))
    for k in range(200, 0, -1):
        fraction = a + k / fraction
    return 1 / fraction


def _fit(degree: int, last: float) -> tuple[float, ...]:
    """Coefficients of a polynomial in t for (a + 3) · Mills' ratio, where 0 <= a <= last.

    t = (a - 3) / (a + 3) maps a half-line to an interval. Multiplied by a + 3 the ratio runs from
    3.76 to 1.
    """

    def scaled(t: Array) -> Array:
        a = 3 * (1 + t) / (1 - t)
        return np.array([_mills_ratio(v) * (v + 3) for v in a])

    domain = [-1, (last - 3) / (last + 3)]
    fit = np.polynomial.Chebyshev.interpolate(scaled, degree, domain=domain)
    return tuple(fit.convert(kind=np.polynomial.Polynomial).coef.tolist())


# Up to where the density is 0 in float32 and in float64. Relative errors 1e-6 and 4e-15.
_SINGLE, _DOUBLE = _fit(7, 15.0), _fit(20, 50.0)


def _cdf(x: Array) -> tuple[Array, Array]:
    """Return Φ(x) and the density φ(x)."""
    coefficients = _SINGLE if x.dtype == np.float32 else _DOUBLE
    r = np.abs(x)
    r += 3
    np.divide(1, r, out=r)
    t = r * -6
    t += 1
    ratio = t * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        ratio += coefficient
        ratio *= t
    ratio += coefficients[0]
    ratio *= r
    density = np.multiply(x, x, out=r)
    density *= -0.5
    np.exp(density, out=density)
    density *= 1 / math.sqrt(2 * math.pi)
    tail = np.multiply(ratio, density, out=ratio)
    # 1 - tail on the right, tail on the left; np.where would take ten times as long.
    return np.abs((x > 0) - tail), density


def _exact(x: Array) -> tuple[Array, Array]:
    below, density = _cdf(x)
    density *= x
    density += below
    below *= x
    return below, density


def _tanh_form(x: Array) -> tuple[Array, Array]:
    """0.5 (1 + tanh(u)) is sigmoid(2 u), which does not cancel on the left."""
    double = 2 * math.sqrt(2 / math.pi)
    near = np.clip(x, -30, 30)  # beyond, the sigmoid is 0 or 1, and x³ may overflow
    square = near * near
    share, tail = logistic((0.044715 * square + 1) * near * double)
    steep = (3 * 0.044715 * square + 1) * near
    steep *= tail * (1 - tail)
    steep *= double
    return x * share, share + steep


def normal_cdf(x: Any) -> Array:
    """Probability that a standard normal number is below x.

    Parameters
    ----------
    x : array, any shape
        Where to evaluate.

    Returns
    -------
    array of the shape of x
        Values in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers.

    Notes
    -----
    In float64 the relative error is below 1e-12 for x >= -36, the left tail included;
    (1 + erf(x / √2)) / 2, the usual way, loses all digits below -8.

    Examples
    --------
    >>> normal_cdf(np.array([0.0, 1.0])).round(6)
    array([0.5     , 0.841345])
    """
    return value_and_slope(_cdf, _checks.array(x, "x", nonempty=False))[0]


@differentiable("x")
def gelu(x: Any, *, approximate: str = "none") -> Result:
    """Gaussian error linear unit: x times the probability that a normal number is below x.

    Parameters
    ----------
    x : array, any shape
        Pre-activations.
    approximate : {"none", "tanh"}
        "none" is exact, "tanh" the formula that GPT-2 and BERT were trained with.

    Returns
    -------
    array of the shape of x
        x Φ(x).

    Raises
    ------
    TypeError, ValueError
        If x is not a floating-point array of finite numbers, or `approximate` is unknown.

    Notes
    -----
    The slope is Φ(x) + x φ(x), with φ the density. The tanh form is
    0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))); the two differ by at most 4.8e-4. The default is
    PyTorch's; ``jax.nn.gelu`` takes the tanh form unless told otherwise.

    References
    ----------
    Hendrycks and Gimpel (2016), Gaussian error linear units (GELUs).

    Examples
    --------
    >>> x = np.array([-1.0, 0.0, 1.0])
    >>> gelu(x).round(4), gelu(x, approximate="tanh").round(4)
    (array([-0.1587,  0.    ,  0.8413]), array([-0.1588,  0.    ,  0.8412]))
    """
    form = _checks.one_of(approximate, "approximate", FORMS)
    kernel = _exact if form == "none" else _tanh_form
    return value_and_pullback(kernel, _checks.array(x, "x", nonempty=False))


def gelu_derivative(x: Any) -> Array:
    """Return Φ(x) + x exp(-x² / 2) / √(2 π).

    Examples
    --------
    >>> gelu_derivative(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.0833,  0.5   ,  1.0833])
    """
    return value_and_slope(_exact, _checks.array(x, "x", nonempty=False))[1]
