"""What the models share: checks of parameter trees, and linear layers kept in a dict.

Names with an underscore call another check, so messages name the function above them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _checks
from .differentiation import Variable
from .layers import linear

Array = NDArray[Any]

__all__ = ["dense", "dense_init", "entries", "layers", "tokens"]


def entries(params: Any, name: str, *needed: str) -> Mapping[str, Any]:
    """Check that a tree of parameters is a dict that has certain entries."""
    if not isinstance(params, Mapping):
        raise TypeError(
            f"{_checks._where()}: {name} must be a dict with entries {', '.join(needed)}; "
            f"got {_checks._show(params)}"
        )
    for key in needed:
        if key not in params:
            raise ValueError(
                f"{_checks._where()}: {name} must have an entry {key!r}; "
                f"got {', '.join(map(repr, params)) or 'an empty dict'}"
            )
    return params


def layers(params: Any, name: str, *, nonempty: bool = True) -> list[Any] | tuple[Any, ...]:
    """Check that a tree of parameters is a list with one entry per layer."""
    if not isinstance(params, (list, tuple)) or (nonempty and not params):
        raise TypeError(
            f"{_checks._where()}: {name} must be a list with one entry per layer; "
            f"got {_checks._show(params)}"
        )
    return params


def _floating(x: Any, name: str, **rules: Any) -> Any:
    """Check an array as `_checks.array` does; a Variable stays one, its values unchecked."""
    if isinstance(x, Variable):
        _checks.array(x.value, name, finite=False, **rules)
        return x
    return _checks.array(x, name, **rules)


def tokens(ids: Any, name: str, vocab_size: int) -> NDArray[np.integer[Any]]:
    """Check an array (..., T) of token numbers."""
    wanted = f"an array of integers in [0, {vocab_size}) with at least one axis"
    if isinstance(ids, Variable):
        raise TypeError(f"{_checks._where()}: {name} must be {wanted}; got a Variable")
    checked = np.asarray(ids)
    if checked.dtype.kind not in "iu":
        raise TypeError(f"{_checks._where()}: {name} must be {wanted}; got {_checks._show(ids)}")
    if checked.ndim == 0 or (checked.size and not 0 <= checked.min() <= checked.max() < vocab_size):
        raise ValueError(f"{_checks._where()}: {name} must be {wanted}; got {_checks._show(ids)}")
    return checked


def _float_type(dtype: DTypeLike) -> np.dtype[Any]:
    """Check that a dtype is a floating-point one of NumPy."""
    allowed = ("float16", "float32", "float64")
    try:
        return np.dtype(_checks.one_of(np.dtype(dtype).name, "dtype", allowed))
    except TypeError:
        raise TypeError(
            f"{_checks._where()}: dtype must be one of {allowed}; got {dtype!r}"
        ) from None


def dense_init(
    in_features: int,
    out_features: int,
    std: float,
    *,
    rng: np.random.Generator,
    dtype: DTypeLike,
    bias: bool = True,
) -> dict[str, Array]:
    """Draw the weight (out, in) of a linear layer from N(0, std²); the bias starts at 0."""
    weight = (std * rng.standard_normal((out_features, in_features))).astype(dtype)
    return {"weight": weight, "bias": np.zeros(out_features, dtype)} if bias else {"weight": weight}


def dense(params: Any, x: Any) -> Any:
    """Apply a linear layer kept as {"weight", "bias"}; the bias may be left out."""
    weight: Any = params.get("weight") if isinstance(params, Mapping) else None
    shape = np.shape(getattr(weight, "value", weight))
    if len(shape) != 2 or shape[1] != x.shape[-1]:
        raise ValueError(
            f"{_checks._where()}: params must hold a linear layer, {{'weight': (out, in), ...}}, "
            f"that fits the {x.shape[-1]} features of x here; got a weight of shape {shape}"
        )
    return linear(x, params["weight"], bias=params.get("bias"))
