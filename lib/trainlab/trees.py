"""Nested containers of arrays: what models keep their parameters in.

A *tree* is an array, or a dict, list, tuple or named tuple of trees. None is a tree without
leaves. Optimizers, clipping and differentiation treat all parameters alike, whatever the model:
they map over the leaves. The names are those of JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import _checks

__all__ = ["tree_leaves", "tree_map", "tree_unflatten"]


def _like(tree: Any, items: list[Any]) -> Any:
    """Put new items into a list, tuple or named tuple of the kind of `tree`."""
    if hasattr(tree, "_fields"):
        return type(tree)(*items)
    return type(tree)(items)


def tree_leaves(tree: Any) -> list[Any]:
    """List the leaves of a tree from left to right.

    Parameters
    ----------
    tree : array, or dict, list, tuple, named tuple of trees
        Whatever is none of these containers is a leaf; None has no leaves.

    Returns
    -------
    list of leaves

    Notes
    -----
    A dict keeps its own order; JAX sorts its keys.

    Examples
    --------
    >>> tree_leaves({"weight": 1.0, "layers": [2.0, (3.0, None)]})
    [1.0, 2.0, 3.0]
    """
    if isinstance(tree, np.ndarray):  # the usual case, tested first
        return [tree]
    if tree is None:
        return []
    if isinstance(tree, Mapping):
        return [leaf for item in tree.values() for leaf in tree_leaves(item)]
    if isinstance(tree, (list, tuple)):
        return [leaf for item in tree for leaf in tree_leaves(item)]
    return [tree]


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply a function to every leaf of a tree, and to the same leaf of the other trees.

    Parameters
    ----------
    function : callable
        Called as ``function(leaf, *other_leaves)``.
    tree : tree
    *others : trees of the same structure

    Returns
    -------
    tree
        Of the structure of `tree`.

    Raises
    ------
    TypeError, ValueError
        If `function` cannot be called, or the structures differ.

    Examples
    --------
    >>> tree_map(lambda w, g: w - 0.1 * g, {"w": 1.0, "b": [2.0]}, {"w": 10.0, "b": [0.0]})
    {'w': 0.0, 'b': [2.0]}
    """
    _checks.function(function, "function")
    for other in others:
        _check_structure(tree, other, "tree")
    return _map(function, tree, others)


def _map(function: Callable[..., Any], tree: Any, others: Sequence[Any]) -> Any:
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return {k: _map(function, v, [o[k] for o in others]) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        rows = zip(tree, *others, strict=True)
        return _like(tree, [_map(function, first, rest) for first, *rest in rows])
    return function(tree, *others)


def _check_structure(tree: Any, other: Any, place: str) -> None:
    """Walk two trees side by side; the message says where they part."""

    def kind(item: Any) -> Any:
        if isinstance(item, Mapping):
            return "a dict with keys " + ", ".join(sorted(map(repr, item)))
        if isinstance(item, (list, tuple)):
            return f"a {type(item).__name__} of {len(item)}"
        return "None" if item is None else "a leaf"

    if isinstance(tree, np.ndarray) and isinstance(other, np.ndarray):
        return  # the usual case: two leaves
    if kind(tree) != kind(other):
        raise ValueError(
            f"tree_map: others must have the structure of tree, {kind(tree)} at {place}; "
            f"got {kind(other)}"
        )
    if isinstance(tree, Mapping):
        for key in tree:
            _check_structure(tree[key], other[key], f"{place}[{key!r}]")
    elif isinstance(tree, (list, tuple)):
        for i, (a, b) in enumerate(zip(tree, other, strict=True)):
            _check_structure(a, b, f"{place}[{i}]")


def tree_unflatten(tree: Any, leaves: Sequence[Any]) -> Any:
    """Put other leaves into the structure of a tree: the inverse of `tree_leaves`.

    Parameters
    ----------
    tree : tree
        Gives the structure; its own leaves are not used.
    leaves : sequence
        As many as the tree has, from left to right.

    Returns
    -------
    tree

    Raises
    ------
    TypeError, ValueError
        If `leaves` is no sequence, or has another number of them.

    Examples
    --------
    >>> tree_unflatten({"w": 0, "b": [0, 0]}, [1, 2, 3])
    {'w': 1, 'b': [2, 3]}
    """
    count = len(tree_leaves(tree))
    if isinstance(leaves, (str, bytes, np.generic)) or not hasattr(leaves, "__len__"):
        raise TypeError(f"tree_unflatten: leaves must be a sequence; got {leaves!r}")
    if len(leaves) != count:
        raise ValueError(
            f"tree_unflatten: leaves must be as many as the tree has, {count}; got {len(leaves)}"
        )
    supply: Iterator[Any] = iter(leaves)
    return _map(lambda _: next(supply), tree, ())
