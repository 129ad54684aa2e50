"""How much arithmetic training is, and how much of the hardware's it uses.

A weight of a matrix takes part in one multiplication and one addition for each token: 2 floating-
point operations (FLOPs) forward, and twice as many backward, for the gradients of inputs and of
weights. So training costs 6 FLOPs for each parameter and token. Attention adds what has no
weights: each query meets all keys, and all values.

*Model FLOP utilization* (MFU) counts what the model needs, and divides by what the hardware could
do in that time. *Hardware FLOP utilization* (HFU) counts what was done: recomputed activations as
well. Only the first says how fast training is.
"""

from __future__ import annotations

from typing import NamedTuple

from ._checks import integer, one_of, real

__all__ = [
    "RECOMPUTE",
    "FlopsPerToken",
    "Utilization",
    "training_flops_per_token",
    "transformer_params",
    "utilization",
]

# What the forward pass repeats: share of the parameters' part, share of the attention's part.
RECOMPUTE = {"none": (0.0, 0.0), "selective": (0.0, 1.0), "full": (1.0, 1.0)}


def transformer_params(num_layers: int, width: int, *, vocab_size: int = 0) -> int:
    """Count the weights of a transformer's matrices.

    Parameters
    ----------
    num_layers : int
        Number of blocks L, >= 1.
    width : int
        Features of the residual stream h, >= 1; the MLP has 4 h hidden units.
    vocab_size : int
        Number of tokens V, >= 0; the embedding table, which is the last layer too.

    Returns
    -------
    int
        ``12 L h² + V h``.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    A block has 4 h² weights in the attention and 8 h² in the MLP. Biases, norms and positions, far
    below one percent in large models, are left out.

    References
    ----------
    Narayanan et al. (2021), Efficient large-scale language model training on GPU clusters using
    Megatron-LM.

    Examples
    --------
    >>> f"{transformer_params(96, 12288, vocab_size=51200):.4g}"  # GPT-3
    '1.746e+11'
    """
    layers, h = integer(num_layers, "num_layers", low=1), integer(width, "width", low=1)
    return 12 * layers * h**2 + integer(vocab_size, "vocab_size", low=0) * h


class FlopsPerToken(NamedTuple):
    """Floating-point operations of training for one token.

    Attributes
    ----------
    params : float
        Of the products with weights, forward and backward: 6 N.
    attention : float
        Of the products of queries with keys and of weights with values: 12 L h T.
    model : float
        Both together: what MFU counts.
    hardware : float
        With what is computed a second time: what HFU counts.
    """

    params: float
    attention: float
    model: float
    hardware: float


def training_flops_per_token(
    num_params: float,
    *,
    num_layers: int,
    width: int,
    seq_len: int,
    recompute: str = "none",
    causal: bool = False,
) -> FlopsPerToken:
    """Count the floating-point operations of training a transformer, for one token.

    Parameters
    ----------
    num_params : float
        Number of parameters N that are multiplied with, > 0. Embedding tables are looked up, not
        multiplied with, except where they are the last layer too.
    num_layers, width : int
        Number of blocks L and features h (number of heads times features of a head), >= 1.
    seq_len : int
        Tokens that attention sees, T >= 1.
    recompute : {"none", "selective", "full"}
        "full" repeats the forward pass, "selective" only the attention without weights: scores,
        softmax and weighted sum.
    causal : bool
        Whether to count attention to earlier tokens only: half of it. By convention MFU counts all
        of it, masked or not.

    Returns
    -------
    FlopsPerToken

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    Forward 2 N + 4 L h T, backward twice as much. The attention's share is
    ``12 L h T / (6 N + 12 L h T)``; with N = 12 L h² it is T / (T + 6 h).

    References
    ----------
    Chowdhery et al. (2022), PaLM: scaling language modeling with Pathways.
    Korthikanti et al. (2022), Reducing activation recomputation in large transformer models.

    Examples
    --------
    >>> shape = {"num_layers": 96, "width": 12288, "seq_len": 2048}
    >>> cost = training_flops_per_token(174e9, **shape, recompute="full")
    >>> f"{cost.params:.3g} {cost.attention:.2g} {cost.hardware / cost.model:.4f}"
    '1.04e+12 2.9e+10 1.3333'
    """
    n = real(num_params, "num_params", low=0, closed="neither")
    layers, h = integer(num_layers, "num_layers", low=1), integer(width, "width", low=1)
    t = integer(seq_len, "seq_len", low=1)
    of_params, of_attention = RECOMPUTE[one_of(recompute, "recompute", tuple(RECOMPUTE))]
    one_of(causal, "causal", (False, True))
    forward, attend = 2 * n, 4.0 * layers * h * t / (2 if causal else 1)
    model = 3 * (forward + attend)
    again = of_params * forward + of_attention * attend
    return FlopsPerToken(3 * forward, 3 * attend, model, model + again)


class Utilization(NamedTuple):
    """Shares of the hardware's peak.

    Attributes
    ----------
    mfu : float
        What the model needs, divided by the peak.
    hfu : float
        What was computed, divided by the peak; at most 1.
    """

    mfu: float
    hfu: float


def utilization(
    tokens_per_second: float, *, flops: FlopsPerToken, cards: int, peak: float
) -> Utilization:
    """Say how much of the hardware's arithmetic training uses.

    Parameters
    ----------
    tokens_per_second : float
        Speed of all cards together, > 0.
    flops : FlopsPerToken
        From `training_flops_per_token`.
    cards : int
        Number of cards, >= 1.
    peak : float
        Floating-point operations per second of one card, > 0, in the format that is used: dense,
        not the doubled number that data sheets give for sparse matrices.

    Returns
    -------
    Utilization

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the speed is more than the hardware could do.

    References
    ----------
    Chowdhery et al. (2022), PaLM: scaling language modeling with Pathways.

    Examples
    --------
    >>> flops = training_flops_per_token(540e9, num_layers=118, width=48 * 256, seq_len=2048)
    >>> round(utilization(238.3e3, flops=flops, cards=6144, peak=275e12).mfu, 3)  # PaLM
    0.462
    """
    speed = real(tokens_per_second, "tokens_per_second", low=0, closed="neither")
    if not isinstance(flops, FlopsPerToken):
        raise TypeError(f"utilization: flops must be FlopsPerToken; got {flops!r}")
    best = integer(cards, "cards", low=1) * real(peak, "peak", low=0, closed="neither")
    if speed * flops.hardware > best:
        raise ValueError(
            "utilization: tokens_per_second must be at most what the cards can do, "
            f"{best / flops.hardware:g}; got {speed:g}"
        )
    return Utilization(speed * flops.model / best, speed * flops.hardware / best)
