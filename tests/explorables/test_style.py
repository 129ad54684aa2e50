"""Helpers of drawing."""

import numpy as np

from explorables.style import boxes


def test_boxes_go_around_each_rectangle():
    path = boxes([0, 2], [1, 5], 0, [1, 2])
    corners = path.vertices.reshape(2, 5, 2)
    np.testing.assert_array_equal(corners[1], [[2, 0], [5, 0], [5, 2], [2, 2], [2, 0]])
    np.testing.assert_array_equal(corners[0], [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    assert path.codes.tolist() == [path.MOVETO, *[path.LINETO] * 3, path.CLOSEPOLY] * 2


def test_no_boxes_are_nothing_to_draw():
    assert boxes([], [], 0, 1).codes.tolist() == [boxes(0, 1, 0, 1).MOVETO]
