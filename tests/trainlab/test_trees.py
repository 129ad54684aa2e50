"""`trainlab.trees`: structure in, structure out."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import pytest

from trainlab.trees import tree_leaves, tree_map, tree_unflatten


class Pair(NamedTuple):
    left: object
    right: object


TREE = {"a": 1, "b": [2, (3, None)], "c": Pair(4, {"d": 5}), "e": (), "f": {}}


def test_leaves_from_left_to_right():
    assert tree_leaves(TREE) == [1, 2, 3, 4, 5]
    assert tree_leaves(None) == []
    assert tree_leaves(7) == [7]
    assert tree_leaves("text") == ["text"]
    array = np.ones((2, 2))
    assert tree_leaves(array) == [array]  # an array is a leaf, not a sequence
    assert tree_leaves({"z": 1, "a": 2}) == [1, 2]  # a dict keeps its own order


def test_map_keeps_the_structure_and_the_types():
    mapped = tree_map(lambda v: 10 * v, TREE)
    assert mapped == {"a": 10, "b": [20, (30, None)], "c": Pair(40, {"d": 50}), "e": (), "f": {}}
    assert type(mapped["c"]) is Pair
    assert type(mapped["b"]) is list
    assert type(mapped["b"][1]) is tuple
    assert TREE["a"] == 1
    assert tree_map(lambda v: v, None) is None


def test_map_over_several_trees():
    assert tree_map(lambda *v: v, {"w": 1, "b": [2]}, {"b": [4], "w": 3}, {"w": 5, "b": [6]}) == {
        "w": (1, 3, 5),
        "b": [(2, 4, 6)],
    }
    assert tree_map(lambda a, b: a + b, OrderedDict(x=1), {"x": 2}) == {"x": 3}


@pytest.mark.parametrize(
    ("tree", "other", "place"),
    [
        ({"w": 1}, {"v": 1}, "keys 'w' at tree; got a dict with keys 'v'"),
        ({"w": [1, 2]}, {"w": [1]}, r"a list of 2 at tree\['w'\]; got a list of 1"),
        ([1, (2, 3)], [1, [2, 3]], r"a tuple of 2 at tree\[1\]; got a list of 2"),
        ([1, None], [1, 2], r"None at tree\[1\]; got a leaf"),
        ([1], 1, "a list of 1 at tree; got a leaf"),
        (Pair(1, 2), (1, 2), "a Pair of 2 at tree; got a tuple of 2"),
    ],
)
def test_other_structures_are_refused_with_the_place(tree, other, place):
    with pytest.raises(ValueError, match="tree_map: others must have the structure.*" + place):
        tree_map(lambda a, b: a, tree, other)


def test_unflatten_is_the_inverse_of_leaves():
    assert tree_unflatten(TREE, tree_leaves(TREE)) == TREE
    assert tree_unflatten(TREE, (5, 4, 3, 2, 1))["c"] == Pair(2, {"d": 1})
    np.testing.assert_array_equal(tree_unflatten([0, 0], np.array([3.0, 4.0])), [3, 4])
    with pytest.raises(ValueError, match="as many as the tree has, 5; got 4"):
        tree_unflatten(TREE, [1, 2, 3, 4])


def test_deep_nesting():
    tree = 1
    for _ in range(200):
        tree = [tree, {"x": 0}]
    assert sum(tree_leaves(tree)) == 1
    assert tree_leaves(tree_map(lambda v: -v, tree))[0] == -1
