"""Lines on which a function, given on a grid, has some value: marching squares.

Written out, since libraries differ in where a line starts, and the page shall show the same lines
wherever it is computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Edge = tuple[int, int, int]  # row and column of a grid point; 0: to its right, 1: upward


def _pairs(edges: list[Edge], corners: list[float], level: float) -> list[tuple[Edge, Edge]]:
    """Which sides of a cell a line joins: corners 0 … 3 go around it, side k is between k, k+1."""
    above = [value > level for value in corners]
    crossed = [k for k in range(4) if above[k] != above[(k + 1) % 4]]
    if len(crossed) == 4:  # a saddle: the mean of the corners decides which two are connected
        crossed = [0, 1, 2, 3] if above[0] == (sum(corners) > 4 * level) else [3, 0, 1, 2]
    return [(edges[one], edges[two]) for one, two in zip(crossed[::2], crossed[1::2], strict=True)]


def _links(z: Array, level: float) -> dict[Edge, list[Edge]]:
    """Neighbors of each crossed edge: one at the border of the grid, two elsewhere."""
    above = z > level
    number = above[:-1, :-1].astype(int) + above[:-1, 1:] + above[1:, :-1] + above[1:, 1:]
    values = z.tolist()  # numbers of Python: this loop is faster with them
    links: dict[Edge, list[Edge]] = {}
    for i, j in np.argwhere((number > 0) & (number < 4)).tolist():
        corners = [values[i][j], values[i][j + 1], values[i + 1][j + 1], values[i + 1][j]]
        edges = [(i, j, 0), (i, j + 1, 1), (i + 1, j, 0), (i, j, 1)]
        for one, two in _pairs(edges, corners, level):
            links.setdefault(one, []).append(two)
            links.setdefault(two, []).append(one)
    return links


def _chains(links: dict[Edge, list[Edge]]) -> list[list[Edge]]:
    """Lines from border to border first, then closed ones, whose last edge is their first."""
    ends = [edge for edge, near in links.items() if len(near) == 1]
    left = {edge: list(near) for edge, near in links.items()}
    chains = []
    for start in [*ends, *links]:
        if not left[start]:
            continue
        chain = [start]
        while left[chain[-1]]:
            here = chain[-1]
            following = left[here].pop(0)
            left[following].remove(here)
            chain.append(following)
        chains.append(chain)
    return chains


def contour_lines(x: Any, y: Any, z: Any, level: float) -> list[Array]:
    """Return one (points, 2) for each line of z (len(y), len(x)) = level."""
    x, y, z = (np.asarray(v, float) for v in (x, y, z))
    lines = []
    for chain in _chains(_links(z, level)):
        i, j, up = np.array(chain).T
        k, m = i + up, j + 1 - up
        share = (level - z[i, j]) / (z[k, m] - z[i, j])
        lines.append(np.stack([x[j] + share * (x[m] - x[j]), y[i] + share * (y[k] - y[i])], axis=1))
    return lines
