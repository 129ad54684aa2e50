"""Do two techniques go together? Four sets of paired runs, and what can be said from them.

Train with neither of two techniques, with one, with the other, and with both, each with the same
seeds. A seed that drew hard data is hard for all four, so look at the differences of each seed,
not at the differences of the means: they vary much less. Student's t says how far their mean may be
from the truth.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

from numpy.typing import ArrayLike, NDArray

from ._checks import array, integer, real

__all__ = [
    "Interval",
    "TwoByTwo",
    "paired_interval",
    "t_factor",
    "two_by_two",
    "verdict",
]


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


class TwoByTwo(NamedTuple):
    """What `two_by_two` returns; all are gains, so that more is better.

    Attributes
    ----------
    first, second, both : Interval
        Gain over the runs with neither technique.
    over_better : Interval
        Gain of both over the better one alone.
    interaction : Interval
        ``both - first - second``: 0 where gains add up.
    """

    first: Interval
    second: Interval
    both: Interval
    over_better: Interval
    interaction: Interval


def _inside(angle: float, dof: int) -> float:
    """Probability that |T| is at most √dof · tan(angle)."""
    cos, sin = math.cos(angle), math.sin(angle)
    odd = dof % 2
    term, total = (cos, 0.0) if odd else (1.0, 0.0)
    for k in range(2 + odd, dof + 1, 2):
        total += term
        term *= cos * cos * (k - 1) / k
    if odd:
        return 2 / math.pi * (angle + sin * total)
    return sin * total


def t_factor(dof: int, *, level: float = 0.95) -> float:
    """Half the width of a confidence interval, in standard errors.

    Parameters
    ----------
    dof : int
        Degrees of freedom, >= 1: the number of differences, minus 1.
    level : float
        Probability that the interval covers the true mean, in (0, 1).

    Returns
    -------
    float
        The t for which Student's variable obeys P(|T| <= t) = level.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    With t = √dof · tan θ the probability is a finite sum: for even dof
    ``sin θ (1 + 1/2 cos² θ + (1·3)/(2·4) cos⁴ θ + ...)``, up to the power dof - 2. It grows with
    θ, so halving intervals finds the θ.

    References
    ----------
    Abramowitz and Stegun (1964), "Handbook of mathematical functions", chapter 26.

    Examples
    --------
    >>> round(t_factor(9), 3), round(t_factor(1000), 3)
    (2.262, 1.962)
    """
    dof = integer(dof, "dof", low=1)
    level = real(level, "level", low=0, high=1, closed="neither")
    return _factor(dof, level)


@cache
def _factor(dof: int, level: float) -> float:
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, dof) < level else (low, middle)
    return math.sqrt(dof) * math.tan(low)


def paired_interval(differences: ArrayLike, *, level: float = 0.95) -> Interval:
    """Mean of paired differences, with its confidence interval.

    Parameters
    ----------
    differences : array of shape (seeds,)
        One a seed, at least two.
    level : float
        Probability that the interval covers the true mean, in (0, 1).

    Returns
    -------
    Interval
        ``mean ± t · s / √seeds``, with s the standard deviation (divided by seeds - 1) and t
        from `t_factor`.

    Raises
    ------
    ValueError, TypeError
        If there is one difference only, or a parameter is out of range.

    Notes
    -----
    It is exact for independent differences with a normal distribution. Runs that share examples
    between their training and test sets are not independent, and the interval is too short
    for a statement about new data.

    References
    ----------
    Student (1908), "The probable error of a mean".

    Examples
    --------
    >>> found = paired_interval([1.0, 2.0, 3.0])
    >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3)
    (2.0, -0.484, 4.484)
    """
    d = array(differences, "differences", ndim=1)
    integer(d.size, "number of differences", low=2)
    return _interval(d, real(level, "level", low=0, high=1, closed="neither"))


def _interval(differences: NDArray[Any], level: float) -> Interval:
    count, mean = differences.size, float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    half = _factor(count - 1, level) * error
    return Interval(mean, mean - half, mean + half)


def two_by_two(
    neither: ArrayLike, first: ArrayLike, second: ArrayLike, both: ArrayLike, *, level: float = 0.95
) -> TwoByTwo:
    """Compare runs with neither, one, the other and both of two techniques.

    Parameters
    ----------
    neither, first, second, both : array of shape (seeds,)
        Scores of which more is better, such as an accuracy or minus a loss; the same seeds in the
        same order.
    level : float
        Of the intervals, in (0, 1).

    Returns
    -------
    TwoByTwo

    Raises
    ------
    ValueError, TypeError
        If the numbers of seeds differ, or there is one only.

    Notes
    -----
    "The better one alone" is the one with the larger mean here. Which one that is was seen in the
    same runs, so `over_better` is slightly too strict with the pair.

    Examples
    --------
    >>> found = two_by_two([80.0, 82.0], [84.0, 86.0], [83.0, 84.0], [85.0, 86.0])
    >>> found.first.mean, found.second.mean, found.both.mean
    (4.0, 2.5, 4.5)
    >>> found.over_better.mean, found.interaction.mean
    (0.5, -2.0)
    """
    none = array(neither, "neither", ndim=1)
    integer(none.size, "number of scores in neither", low=2)
    a = array(first, "first", shape=none.shape)
    b = array(second, "second", shape=none.shape)
    ab = array(both, "both", shape=none.shape)
    level = real(level, "level", low=0, high=1, closed="neither")
    better = a if a.mean() >= b.mean() else b
    of = [a - none, b - none, ab - none, ab - better, ab - a - b + none]
    return TwoByTwo(*(_interval(d, level) for d in of))


def verdict(gain: Any) -> str:
    """Say in words what an interval of a gain says.

    Parameters
    ----------
    gain : Interval

    Returns
    -------
    {"helps", "no difference seen", "hurts"}
        Whether the interval is above 0, contains it, or is below.

    Raises
    ------
    ValueError, TypeError
        If it is no interval.

    Notes
    -----
    "No difference seen" is not "no difference": the interval says how large one could be.

    Examples
    --------
    >>> verdict(Interval(0.4, 0.1, 0.7)), verdict(Interval(0.4, -0.1, 0.9))
    ('helps', 'no difference seen')
    """
    if not isinstance(gain, Interval):
        raise TypeError(f"verdict: gain must be an Interval; got {type(gain).__name__}")
    mean = real(gain.mean, "gain")
    low, high = real(gain.low, "gain", high=mean), real(gain.high, "gain", low=mean)
    if low > 0:
        return "helps"
    return "hurts" if high < 0 else "no difference seen"
