"""The unit cube as a table of quadrature: every set of active features, enumerated."""

import functools
import itertools
import math

import numpy as np

from superjax.problem.data.base import MANY, Nodes, Segments


def nodes_by_active(n_features: int, nodes: Nodes) -> list[int]:
    """Nodes a feature of the sets of 0, 1, ... active features."""
    given = nodes if isinstance(nodes, tuple) else (nodes,)
    return [1, *given, *[given[-1]] * n_features][: n_features + 1]


def segment_rows(n_features: int, nodes: Nodes, closed: bool = True, signs: int = 1) -> int:
    """Number of rows of `unit_segments`, at most MANY: there are 2ⁿ active sets at least. With 2 `signs` there is one
    for every sign of every active feature."""
    if n_features >= MANY.bit_length():
        return MANY
    rows = sum(
        math.comb(n_features, active) * signs**active * k ** max(active - closed, 0)
        for active, k in enumerate(nodes_by_active(n_features, nodes))
    )
    return min(rows, MANY)


@functools.cache
def gauss(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre points and weights on [0, 1]."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return (points + 1) / 2, weights / 2


def unit_segments(n_features: int, nodes: Nodes, closed: bool = True) -> Segments:
    """The faces of the unit cube: every set of active features, each at its number of Gauss-Legendre points.

    With `closed` the last active feature runs along the whole of [0, 1] instead, to be integrated in closed form: k
    nodes make ((1 + k)ⁿ - 1) / k + 1 rows then instead of (1 + k)ⁿ.
    """
    by_active = nodes_by_active(n_features, nodes)
    rows = []
    for active in itertools.product([False, True], repeat=n_features):
        features = np.flatnonzero(active)
        outer = features[:-1] if closed else features
        points, weights = gauss(by_active[len(features)])
        for choice in itertools.product(range(len(points)), repeat=len(outer)):
            start = np.zeros(n_features)
            start[outer] = points[list(choice)]
            end = start.copy()
            end[features[len(outer) :]] = 1.0
            rows.append((start, end, active, np.prod(weights[list(choice)])))
    start, end, active, weight = map(np.array, zip(*rows, strict=True))
    return Segments(start, end, active, weight)


def signed_segments(n_features: int, nodes: Nodes, closed: bool = True) -> Segments:
    """The same of the cube [-1, 1]ⁿ: every face of the unit cube with every choice of signs of its active features."""
    start, end, active, weight = unit_segments(n_features, nodes, closed)
    rows = []
    for k, on in enumerate(active):
        features = np.flatnonzero(on)
        for signs in itertools.product([1.0, -1.0], repeat=len(features)):
            sign = np.ones(n_features)
            sign[features] = signs
            rows.append((sign * start[k], sign * end[k], on, weight[k] / 2 ** len(features)))
    start, end, active, weight = map(np.array, zip(*rows, strict=True))
    return Segments(start, end, active, weight)
