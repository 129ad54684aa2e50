"""LoRA: fine-tuning by a low-rank change of frozen weights.

The pretrained weight W stays as it is; what is learned is a product of two thin matrices,

    W' = W + (alpha / rank) · b a,   a: (rank, in),   b: (out, rank).

It has rank · (in + out) parameters instead of in · out, so gradients and optimizer states shrink
alike. b starts at 0: the adapted model starts as the pretrained one. After training the product
is added to W, and inference costs nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _checks
from ._parameters import _floating, entries
from .layers import linear

Array = NDArray[Any]

__all__ = ["lora_init", "lora_linear", "lora_merge"]


def _weights(tree: Any, targets: Sequence[str], path: str = "") -> Iterator[tuple[str, Any]]:
    """Find the linear layers of a name: their paths, such as blocks/0/attention/query."""
    items = enumerate(tree) if isinstance(tree, (list, tuple)) else ()
    for key, item in tree.items() if isinstance(tree, Mapping) else items:
        here = f"{path}/{key}" if path else str(key)
        if key in targets and isinstance(item, Mapping) and "weight" in item:
            yield here, item["weight"]
        else:
            yield from _weights(item, targets, here)


def lora_init(
    params: Any,
    *,
    rank: int,
    rng: np.random.Generator,
    targets: Sequence[str] = ("query", "value"),
) -> dict[str, dict[str, Array]]:
    """Make adapters for the linear layers of certain names.

    Parameters
    ----------
    params : tree
        Of any model whose linear layers are ``{"weight": (out, in), ...}``. Not changed.
    rank : int
        Of the change, >= 1.
    rng : np.random.Generator
    targets : sequence of str
        Names of the layers to adapt, wherever they are in the tree.

    Returns
    -------
    dict
        Path of the layer -> ``{"a": (rank, in), "b": (out, rank)}``, of the weight's dtype.

    Raises
    ------
    ValueError, TypeError
        If no layer has such a name, or a parameter is out of range.

    Notes
    -----
    a is drawn from N(0, 1/in), b is 0. With both 0 neither would get a gradient. The paper has a
    Gaussian for a too; Microsoft's loralib and Hugging Face's PEFT draw it from a uniform
    distribution. The paper adapts queries and values; later work often adapts all linear layers.

    References
    ----------
    Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen (2021), LoRA: low-rank adaptation of large
    language models, section 4.1.

    Examples
    --------
    >>> params = {"blocks": [{"query": {"weight": np.eye(4)}}, {"query": {"weight": np.eye(4)}}]}
    >>> adapters = lora_init(params, rank=1, rng=np.random.default_rng(0))
    >>> {path: pair["b"].shape for path, pair in adapters.items()}
    {'blocks/0/query': (4, 1), 'blocks/1/query': (4, 1)}
    """
    rank = _checks.integer(rank, "rank", low=1)
    _checks.generator(rng)
    if isinstance(targets, str) or not isinstance(targets, Sequence):
        raise TypeError(
            f"lora_init: targets must be a sequence of names; got {_checks._show(targets)}"
        )
    adapters = {}
    for path, weight in _weights(params, targets):
        w = _checks.array(weight, f"params, {path},", ndim=2)
        out, into = w.shape
        a = (rng.standard_normal((rank, into)) / math.sqrt(into)).astype(w.dtype)
        adapters[path] = {"a": a, "b": np.zeros((out, rank), w.dtype)}
    if not adapters:
        raise ValueError(
            "lora_init: params must have a linear layer named in targets, "
            f"{', '.join(map(str, targets)) or 'which are none'}; got {_checks._show(params)}"
        )
    return adapters


def lora_linear(
    x: Any, weight: Any, *, a: Any, b: Any, alpha: float = 16.0, bias: Any = None
) -> Any:
    """Apply a linear layer with its adapter beside it, not merged.

    Parameters
    ----------
    x : array of shape (..., in)
    weight : array of shape (out, in)
        Frozen.
    a : array of shape (rank, in)
    b : array of shape (out, rank)
    alpha : float
        The change is scaled by alpha / rank, so that another rank needs less tuning anew.
    bias : array of shape (out,), optional

    Returns
    -------
    array of shape (..., out)

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, or a parameter is out of range.

    Notes
    -----
    ``x Wᵀ + bias + (alpha / rank) (x aᵀ) bᵀ``: two thin products instead of one more large
    matrix.

    References
    ----------
    Hu et al. (2021), LoRA: low-rank adaptation of large language models.

    Examples
    --------
    >>> x, a, b = np.array([1.0, 2.0]), np.array([[1.0, 1.0]]), np.array([[1.0], [0.0]])
    >>> lora_linear(x, np.eye(2), a=a, b=b, alpha=2.0)  # (1, 2) + 2 · (3, 0)
    array([7., 2.])
    """
    x = _floating(x, "x", nonempty=False)
    _checks.integer(x.ndim, "number of dimensions of x", low=1)
    weight = _floating(weight, "weight", shape=(None, x.shape[-1]))
    if bias is not None:
        bias = _floating(bias, "bias", shape=weight.shape[:1])
    scale = _scale({"a": a, "b": b}, weight, alpha)
    return linear(x, weight, bias=bias) + scale * linear(linear(x, a), b)


def _scale(adapter: Any, weight: Any, alpha: float) -> float:
    """Check that an adapter fits its weight; return alpha / rank."""
    alpha = _checks.real(alpha, "alpha", low=0, closed="neither")
    shape, a, b = (np.shape(getattr(x, "value", x)) for x in (weight, adapter["a"], adapter["b"]))
    rank = a[0] if len(a) == 2 else 0
    for name, got, wanted in (("a", a, (rank, shape[-1])), ("b", b, (shape[0], rank))):
        if got != wanted or not rank:
            raise ValueError(
                f"{_checks._where()}: {name} must fit the weight {shape}, a (rank, in) and "
                f"b (out, rank); got a {a} and b {b}"
            )
    return alpha / rank


def lora_merge(params: Any, adapters: Any, *, alpha: float = 16.0) -> Any:
    """Add the changes to the weights.

    Parameters
    ----------
    params : tree
        The pretrained parameters. Not changed.
    adapters : dict
        As `lora_init` makes it. With Variables in it the result is differentiable: a training
        loss is ``loss(lora_merge(params, adapters), batch)``, differentiated by the adapters.
    alpha : float
        The change is scaled by alpha / rank, > 0.

    Returns
    -------
    tree
        Like `params`; arrays without a change are the same objects.

    Raises
    ------
    ValueError, TypeError
        If an adapter fits no layer, or a parameter is out of range.

    References
    ----------
    Hu et al. (2021), LoRA: low-rank adaptation of large language models.

    Examples
    --------
    >>> params = {"query": {"weight": np.eye(2)}, "key": {"weight": np.eye(2)}}
    >>> adapters = {"query": {"a": np.array([[1.0, 1.0]]), "b": np.array([[1.0], [0.0]])}}
    >>> lora_merge(params, adapters, alpha=2.0)["query"]["weight"]
    array([[3., 2.],
           [0., 1.]])
    """
    if not isinstance(adapters, Mapping):
        raise TypeError(
            f"lora_merge: adapters must be a dict of paths; got {_checks._show(adapters)}"
        )
    _checks.real(alpha, "alpha", low=0, closed="neither")
    for path, adapter in adapters.items():
        params = _replaced(params, str(path).split("/"), adapter, alpha)
    return params


def _replaced(tree: Any, path: list[str], adapter: Any, alpha: float) -> Any:
    """Copy the containers along a path, with the adapted weight at its end."""
    if not path:
        if not isinstance(tree, Mapping) or "weight" not in tree:
            raise ValueError(
                "lora_merge: params must have a linear layer where adapters has a path; "
                f"got {_checks._show(tree)}"
            )
        entries(adapter, "adapters", "a", "b")
        scale = _scale(adapter, tree["weight"], alpha)
        return {**tree, "weight": tree["weight"] + scale * (adapter["b"] @ adapter["a"])}
    key, *rest = path
    if isinstance(tree, Mapping) and key in tree:
        return {**tree, key: _replaced(tree[key], rest, adapter, alpha)}
    if isinstance(tree, list) and key.isdigit() and int(key) < len(tree):
        n = int(key)
        return [*tree[:n], _replaced(tree[n], rest, adapter, alpha), *tree[n + 1 :]]
    raise ValueError(
        f"lora_merge: params must have the entry {key!r}, from a path in adapters; "
        f"got {_checks._show(tree)}"
    )
