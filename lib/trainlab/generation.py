"""Generation: drawing text from a language model, token by token.

The logits of the last position become probabilities, one token is drawn, appended, and the model
is asked again. Temperature, top-k and top-p change the probabilities: they trade variety for
safety. With a cache of keys and values each step computes one position instead of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks

Array = NDArray[Any]
Rules = tuple[float, int | None, float | None]  # temperature, top_k, top_p

__all__ = ["generate", "sample_token", "sampling_probabilities"]


def sampling_probabilities(
    logits: Any,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Array:
    """Turn logits into the probabilities that are drawn from.

    Parameters
    ----------
    logits : array of shape (..., V)
        -infinity is allowed, for a token that is ruled out; not for all V of them.
    temperature : float
        Divides the logits, >= 0. Below 1 sharper, above 1 flatter, 0 the most likely token alone.
    top_k : int, optional
        Keep the k most likely tokens, >= 1.
    top_p : float, optional
        Keep the fewest most likely tokens that together have at least this probability, in
        (0, 1]: the nucleus.

    Returns
    -------
    array of shape (..., V)
        Probabilities; 0 for what was left out.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range, or a row holds NaN, +infinity or nothing but -infinity.

    Notes
    -----
    In this order: temperature, top-k, top-p on what is left, each followed by a softmax over what
    is left. Of equally likely tokens the first ones are kept, so k are never more than k; Hugging
    Face's top-k keeps all that tie with the k-th. The token that crosses `top_p` is in the nucleus.

    References
    ----------
    Fan, Lewis, Dauphin (2018), Hierarchical neural story generation, for top-k.
    Holtzman, Buys, Du, Forbes, Choi (2020), The curious case of neural text degeneration, for
    top-p.

    Examples
    --------
    >>> logits = np.log([0.5, 0.3, 0.15, 0.05])
    >>> sampling_probabilities(logits, top_k=2).round(3)
    array([0.625, 0.375, 0.   , 0.   ])
    >>> sampling_probabilities(logits, top_p=0.75).round(3)
    array([0.625, 0.375, 0.   , 0.   ])
    >>> sampling_probabilities(logits, temperature=0.5).round(3)
    array([0.685, 0.247, 0.062, 0.007])
    """
    return _probabilities(logits, *_rules(temperature, top_k, top_p))


def _rules(temperature: float, top_k: int | None, top_p: float | None) -> Rules:
    temperature = _checks.real(temperature, "temperature", low=0)
    if top_k is not None:
        top_k = _checks.integer(top_k, "top_k", low=1)
    if top_p is not None:
        top_p = _checks.real(top_p, "top_p", low=0, high=1, closed="right")
    return temperature, top_k, top_p


def _probabilities(
    logits: Any, temperature: float, top_k: int | None, top_p: float | None
) -> Array:
    z = _checks.array(logits, "logits", finite=False, nonempty=False)
    _checks.integer(z.ndim, "number of dimensions of logits", low=1)
    _checks.integer(z.shape[-1], "number of logits in a row", low=1)
    # +infinity and NaN would be the largest as well.
    _checks.array(z.max(axis=-1), "largest of each row of logits", nonempty=False)
    order = np.argsort(-z, axis=-1, kind="stable")  # most likely first, ties as they come
    z = np.take_along_axis(z, order, axis=-1)
    if temperature == 0:
        temperature, top_k = 1.0, 1
    with np.errstate(over="ignore", under="ignore"):  # far below the first: exp gives 0
        p = np.exp((z - z[..., :1]) / temperature)
    if top_k is not None:
        p[..., top_k:] = 0
    p /= p.sum(axis=-1, keepdims=True)
    if top_p is not None and top_p < 1:
        before = np.cumsum(p, axis=-1) - p
        p[before >= top_p] = 0
        p /= p.sum(axis=-1, keepdims=True)
    result: Array = np.empty_like(p)
    np.put_along_axis(result, order, p, axis=-1)
    return result


def sample_token(
    logits: Any,
    *,
    rng: np.random.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> NDArray[np.int64]:
    """Draw one token for each row of logits.

    Parameters
    ----------
    logits : array of shape (..., V)
    rng : np.random.Generator
    temperature, top_k, top_p
        As in `sampling_probabilities`.

    Returns
    -------
    array of int64, shape (...)

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.

    Notes
    -----
    A race: token i arrives after an exponential waiting time of rate p_i, and the first wins; it
    is i with probability p_i. A token of probability 0 never arrives.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> draws = sample_token(np.zeros((3000, 3)), rng=rng, top_k=2)
    >>> np.bincount(draws, minlength=3) // 100
    array([14, 15,  0])
    >>> int(sample_token(np.array([0.0, 2.0, 1.0]), rng=rng, temperature=0.0))  # greedy
    1
    """
    _checks.generator(rng)
    return _draw(logits, rng, _rules(temperature, top_k, top_p))


def _draw(logits: Any, rng: np.random.Generator, rules: Rules) -> NDArray[np.int64]:
    p = _probabilities(logits, *rules)
    waiting = np.maximum(rng.standard_exponential(p.shape), np.finfo(np.float64).tiny)
    return np.asarray(np.argmax(p / waiting, axis=-1))


def generate(
    step: Callable[..., tuple[Any, Any]],
    prompt: Any,
    *,
    count: int,
    rng: np.random.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> NDArray[np.int64]:
    """Continue a prompt.

    Parameters
    ----------
    step : callable
        ``step(ids, cache=cache) -> (logits, cache)`` for new tokens ids of shape (..., T), with
        cache None at first: `trainlab.transformer.decoder_step` with its parameters filled in.
    prompt : array of integers, shape (..., T)
        T >= 1. All prompts of a batch have one length.
    count : int
        How many tokens to add, >= 0.
    rng : np.random.Generator
    temperature, top_k, top_p
        As in `sampling_probabilities`; temperature 0 is greedy.

    Returns
    -------
    array of int64, shape (..., T + count)
        The prompt and what follows.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range, or the model refuses a sequence of this length.

    Examples
    --------
    >>> def count_up(ids, cache):  # a "model" of 10 tokens that is sure of the next number
    ...     return 99.0 * np.eye(10)[(np.asarray(ids) + 1) % 10], cache
    >>> generate(count_up, [7], count=5, rng=np.random.default_rng(0))
    array([7, 8, 9, 0, 1, 2])
    """
    _checks.function(step, "step")
    ids = np.asarray(prompt)
    if ids.dtype.kind not in "iu" or ids.ndim == 0 or ids.shape[-1] == 0:
        raise TypeError(
            "generate: prompt must be an array of integers with at least one token; "
            f"got {_checks._show(prompt)}"
        )
    count = _checks.integer(count, "count", low=0)
    _checks.generator(rng)
    rules = _rules(temperature, top_k, top_p)
    text, new, cache = [ids.astype(np.int64)], ids, None
    for _ in range(count):
        logits, cache = step(new, cache=cache)
        new = _draw(logits[..., -1, :], rng, rules)[..., None]
        text.append(new)
    return np.concatenate(text, axis=-1)
