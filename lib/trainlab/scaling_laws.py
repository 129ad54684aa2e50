"""Scaling laws: how the loss of a language model falls with its size and with its data.

    L(N, D) = E + A / N**alpha + B / D**beta

E is what no model can predict, the second term what a model of N parameters cannot express, the
third what D tokens did not teach it. Training costs C = 6 N D floating-point operations, so a
budget is a choice between size and data, and the law answers it in closed form.

The constants come from a fit, and the answer depends on them more than one would like: three
versions of one published law disagree by a factor of two about the best size. The fit itself is in
`trainlab.scaling_law_fits`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._checks import _where, array, real

__all__ = [
    "HOFFMANN_PRINTED",
    "HOFFMANN_SOURCE",
    "REPLICATION",
    "Allocation",
    "ScalingLaw",
    "compute_optimal",
    "compute_optimal_exponents",
    "effective_tokens",
    "flops",
    "inference_optimal",
    "isoflop_loss",
    "scaling_loss",
    "tokens_for_loss",
]

Array = NDArray[Any]


class ScalingLaw(NamedTuple):
    """The five constants of ``E + A / N**alpha + B / D**beta``, all > 0; losses in nats a token."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float


# Hoffmann et al. (2022) as printed, with rounded exponents.
HOFFMANN_PRINTED = ScalingLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
# The same fit with the digits that stand in the paper's TeX source.
HOFFMANN_SOURCE = ScalingLaw(E=1.6934, A=406.4, B=410.7, alpha=0.3392, beta=0.2849)
# Besiroglu et al. (2024): a fit to data read off the paper's figure.
REPLICATION = ScalingLaw(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
# Muennighoff et al. (2025): the repetition after which a token counts 1/e of a fresh one.
FADING = 15.39


class Allocation(NamedTuple):
    """A choice of size and data.

    Attributes
    ----------
    num_params, num_tokens : float or array
        N and D.
    loss : float or array
        What the law predicts for them, in nats a token.
    """

    num_params: Any
    num_tokens: Any
    loss: Any


def _law(law: Any) -> ScalingLaw:
    if not isinstance(law, ScalingLaw):
        raise TypeError(f"{_where()}: law must be a ScalingLaw; got {law!r}")
    names = ScalingLaw._fields
    return ScalingLaw(
        *(real(v, f"law.{n}", low=0, closed="neither") for n, v in zip(names, law, strict=True))
    )


def _positive(value: Any, name: str) -> Array:
    checked = array(value, name, nonempty=False)
    # One stands for an empty array, which has no smallest number.
    real(float(checked.min(initial=1)), f"smallest of {name}", low=0, closed="neither")
    return checked


def flops(num_params: Any, num_tokens: Any, *, served_tokens: float = 0.0) -> Array:
    """Count the floating-point operations of training, and of serving if asked.

    Parameters
    ----------
    num_params, num_tokens : arrays that broadcast, > 0
        N and D.
    served_tokens : float
        Tokens that the model will read and write in use, >= 0.

    Returns
    -------
    array of the broadcast shape

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    ``6 N D + 2 N served_tokens``: a multiplication and an addition per weight and token forward,
    twice that backward. N without embeddings where that matters; attention over long contexts
    comes on top.

    References
    ----------
    Kaplan et al. (2020), "Scaling laws for neural language models"; Sardana, Portes, Doubov &
    Frankle (2024), "Beyond Chinchilla-optimal".

    Examples
    --------
    >>> f"{flops(70e9, 1.4e12):.3g}"
    '5.88e+23'
    """
    n, d = _positive(num_params, "num_params"), _positive(num_tokens, "num_tokens")
    return np.asarray(n * (6 * d + 2 * real(served_tokens, "served_tokens", low=0)))[()]


def scaling_loss(num_params: Any, num_tokens: Any, *, law: ScalingLaw) -> Array:
    """Predict the loss of a model of N parameters after D tokens.

    Parameters
    ----------
    num_params, num_tokens : arrays that broadcast, > 0
        N and D.
    law : ScalingLaw

    Returns
    -------
    array of the broadcast shape
        In nats a token.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    References
    ----------
    Hoffmann et al. (2022), "Training compute-optimal large language models"; Besiroglu, Erdil,
    Barnett & You (2024), "Chinchilla scaling: a replication attempt".

    Examples
    --------
    >>> for law in (HOFFMANN_PRINTED, REPLICATION):  # Chinchilla, Gopher
    ...     print(scaling_loss([70e9, 280e9], [1.4e12, 300e9], law=law).round(3))
    [1.937 1.993]
    [1.974 2.   ]
    """
    law = _law(law)
    n, d = _positive(num_params, "num_params"), _positive(num_tokens, "num_tokens")
    return np.asarray(law.E + law.A * n**-law.alpha + law.B * d**-law.beta)[()]


def compute_optimal_exponents(law: ScalingLaw) -> tuple[float, float]:
    """Say how the best size and the best amount of data grow with compute: N ∝ C**a, D ∝ C**b.

    Parameters
    ----------
    law : ScalingLaw

    Returns
    -------
    a, b : float
        ``beta / (alpha + beta)`` and ``alpha / (alpha + beta)``; they sum to 1.

    Raises
    ------
    ValueError, TypeError
        If `law` is no law with positive constants.

    Notes
    -----
    Both near 1/2: twice the compute is 1.4 times the size *and* 1.4 times the data. Twice both
    costs four times as much.

    Examples
    --------
    >>> [round(2**a, 3) for a in compute_optimal_exponents(REPLICATION)]
    [1.427, 1.402]
    """
    law = _law(law)
    return law.beta / (law.alpha + law.beta), law.alpha / (law.alpha + law.beta)


def compute_optimal(budget: Any, *, law: ScalingLaw) -> Allocation:
    """Find the size and the data with the lowest loss for a budget of compute.

    Parameters
    ----------
    budget : array, > 0
        C, in floating-point operations; C = 6 N D.
    law : ScalingLaw

    Returns
    -------
    Allocation
        Arrays of the shape of `budget`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    At the optimum one percent more of either lowers the loss alike, ``alpha A / N**alpha = beta B /
    D**beta``. Together with D = C / (6 N)::

        N = G (C/6)**(beta / (alpha + beta)),    G = (alpha A / (beta B))**(1 / (alpha + beta))

    References
    ----------
    Hoffmann et al. (2022), "Training compute-optimal large language models".

    Examples
    --------
    >>> for law in (HOFFMANN_PRINTED, HOFFMANN_SOURCE, REPLICATION):
    ...     n, d, _ = compute_optimal(5.76e23, law=law)
    ...     print(f"{n / 1e9:.1f} billion parameters, {d / n:.1f} tokens for each")
    32.2 billion parameters, 92.6 tokens for each
    40.3 billion parameters, 59.1 tokens for each
    72.2 billion parameters, 18.4 tokens for each
    """
    law = _law(law)
    pairs = _positive(budget, "budget") / 6  # N · D
    total = law.alpha + law.beta
    balance = (law.alpha * law.A / (law.beta * law.B)) ** (1 / total)
    n = balance * pairs ** (law.beta / total)
    return Allocation(n, pairs / n, scaling_loss(n, pairs / n, law=law))


def isoflop_loss(num_params: Any, *, budget: float, law: ScalingLaw) -> Array:
    """Predict the loss for several sizes that all get the same compute.

    Parameters
    ----------
    num_params : array, > 0
        N; each is trained on C / (6 N) tokens.
    budget : float
        C > 0, in floating-point operations.
    law : ScalingLaw

    Returns
    -------
    array of the shape of num_params

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    A valley: too small a model cannot express enough, too large a one is trained too little. It is
    flat at the bottom.

    References
    ----------
    Hoffmann et al. (2022), "Training compute-optimal large language models".

    Examples
    --------
    >>> n = compute_optimal(1e21, law=REPLICATION).num_params
    >>> isoflop_loss([n / 4, n / 2, n, 2 * n, 4 * n], budget=1e21, law=REPLICATION).round(3)
    array([2.366, 2.32 , 2.306, 2.321, 2.367])
    """
    law, n = _law(law), _positive(num_params, "num_params")
    budget = real(budget, "budget", low=0, closed="neither")
    return scaling_loss(n, budget / 6 / n, law=law)


def tokens_for_loss(num_params: Any, loss: float, *, law: ScalingLaw) -> Array:
    """Find how many tokens a model of N parameters needs to reach a loss.

    Parameters
    ----------
    num_params : array, > 0
        N.
    loss : float
        In nats a token; above ``E + A / N**alpha``, which no amount of data passes.
    law : ScalingLaw

    Returns
    -------
    array of the shape of num_params

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds, or a model is too small for the loss.

    Notes
    -----
    ``D = (B / (loss - E - A / N**alpha))**(1 / beta)``.

    Examples
    --------
    >>> tokens = tokens_for_loss([20e9, 70e9], 1.974, law=REPLICATION)
    >>> [f"{d:.3g}" for d in tokens]
    ['1.61e+13', '1.39e+12']
    """
    law, n = _law(law), _positive(num_params, "num_params")
    left = real(loss, "loss") - law.E - law.A * n**-law.alpha
    if left.size and left.min() <= 0:
        raise ValueError(
            f"tokens_for_loss: loss must be above E + A / N**alpha, which is {loss - left.min():g} "
            f"for the smallest model; got {loss!r}"
        )
    return np.asarray((law.B / left) ** (1 / law.beta))[()]


def inference_optimal(loss: float, *, served_tokens: float, law: ScalingLaw) -> Allocation:
    """Find the size that reaches a loss with the least compute for training *and* use.

    Parameters
    ----------
    loss : float
        Wanted, in nats a token; > E.
    served_tokens : float
        Tokens that the model will read and write in use, >= 0.
    law : ScalingLaw

    Returns
    -------
    Allocation
        Floats.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    Minimizes ``6 N D + 2 N served_tokens`` along the line of equal loss. Serving costs grow with N
    only, so the optimum is a smaller model that is trained for longer. With
    ``ratio = alpha A / N**alpha / (beta B / D**beta)``, how much more size helps than data, it
    is where ``3 D (ratio - 1) = served_tokens``: at 1 without use, as in `compute_optimal`.
    The left side falls with N, so bisection finds the one root.

    References
    ----------
    Sardana, Portes, Doubov & Frankle (2024), "Beyond Chinchilla-optimal: accounting for inference
    in language model scaling laws".

    Examples
    --------
    >>> for served in (0, 2e12, 2e13):
    ...     n, d, _ = inference_optimal(2.0, served_tokens=served, law=REPLICATION)
    ...     print(f"{n / 1e9:.0f} billion, {d / n:.0f} tokens for each")
    47 billion, 19 tokens for each
    30 billion, 52 tokens for each
    17 billion, 253 tokens for each
    """
    law = _law(law)
    loss = real(loss, "loss", low=law.E, closed="neither")
    served = real(served_tokens, "served_tokens", low=0)

    # `share` of the reducible loss is left to size, A / N**alpha = share * (loss - E), and the
    # rest to data. It is beta / (alpha + beta) without use, where the ratio is 1.
    def log_tokens(share: float) -> float:
        return math.log(law.B / (loss - law.E) / (1 - share)) / law.beta

    low, high = law.beta / (law.alpha + law.beta), 1.0
    while low < (share := (low + high) / 2) < high:
        ratio = law.alpha * share / (law.beta * (1 - share))
        if served == 0 or log_tokens(share) + math.log(3 * (ratio - 1)) > math.log(served):
            high = share
        else:
            low = share
    n = math.exp(math.log(law.A / (loss - law.E) / low) / law.alpha)
    return Allocation(n, math.exp(log_tokens(low)), loss)


def effective_tokens(unique_tokens: Any, epochs: Any, *, fading: float = FADING) -> Array:
    """Translate tokens that are read several times into as many fresh ones.

    Parameters
    ----------
    unique_tokens : array, > 0
        U, how many different tokens there are.
    epochs : array that broadcasts with it, > 0
        Passes over them; below 1, the part of them that is read.
    fading : float
        R*, the repetition at which one more token counts 1/e of a fresh one, > 0.

    Returns
    -------
    array of the broadcast shape
        D', to be put into a law in the place of D; at most ``U (1 + R*)``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of these kinds.

    Notes
    -----
    ``U + U R* (1 - exp(-R / R*))`` with ``R = epochs - 1``. The paper has a second constant, 5.31,
    for models that are larger than the unique tokens can use; it is left out here, so for very
    large models this is too hopeful. The formula levels off: it does not know overfitting, where
    more passes make the loss worse.

    References
    ----------
    Muennighoff et al. (2025), "Scaling data-constrained language models", appendix A.

    Examples
    --------
    >>> effective_tokens(1.0, [1, 4, 16, 64]).round(2)
    array([ 1.  ,  3.73, 10.58, 16.13])
    """
    unique, passes = _positive(unique_tokens, "unique_tokens"), _positive(epochs, "epochs")
    fading = real(fading, "fading", low=0, closed="neither")
    repeats = np.maximum(passes - 1, 0)
    worth = np.minimum(passes, 1) - fading * np.expm1(-repeats / fading)
    return np.asarray(unique * worth)[()]
