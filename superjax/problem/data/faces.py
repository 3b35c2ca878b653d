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


@functools.lru_cache(maxsize=4)  # arrays that are not to be written to
def unit_segments(n_features: int, nodes: Nodes, closed: bool = True) -> Segments:
    """The faces of the unit cube: every set of active features, each at its number of Gauss-Legendre points.

    With `closed` the last active feature runs along the whole of [0, 1] instead, to be integrated in closed form: k
    nodes make ((1 + k)ⁿ - 1) / k + 1 rows then instead of (1 + k)ⁿ.
    """
    by_active = nodes_by_active(n_features, nodes)
    faces = []
    for active in itertools.product([False, True], repeat=n_features):
        features = np.flatnonzero(active)
        outer = features[:-1] if closed else features
        points, weights = gauss(by_active[len(features)])
        choices = _choices(len(points), len(outer))
        start = np.zeros((len(choices), n_features))
        start[:, outer] = points[choices]
        end = start.copy()
        end[:, features[len(outer) :]] = 1.0
        faces.append((start, end, np.tile(active, (len(choices), 1)), np.prod(weights[choices], axis=1)))
    return _joined(faces)


@functools.lru_cache(maxsize=4)
def signed_segments(n_features: int, nodes: Nodes, closed: bool = True) -> Segments:
    """The same of the cube [-1, 1]ⁿ: every face of the unit cube with every choice of signs of its active features."""
    faces = []
    for start, end, active, weight in zip(*unit_segments(n_features, nodes, closed), strict=True):
        signs = 1.0 - 2 * _choices(2, int(active.sum()))
        sign = np.ones((len(signs), n_features))
        sign[:, active] = signs
        faces.append(
            (sign * start, sign * end, np.tile(active, (len(signs), 1)), np.full(len(signs), weight / len(signs)))
        )
    return _joined(faces)


def _choices(options: int, places: int) -> np.ndarray:
    """Every way to choose one of the options in every place, (ways, places), the last place changing fastest."""
    return np.indices((options,) * places).reshape(places, -1).T if places else np.zeros((1, 0), int)


def _joined(faces: list[tuple[np.ndarray, ...]]) -> Segments:
    arrays = [np.concatenate(parts) for parts in zip(*faces, strict=True)]
    for array in arrays:
        array.flags.writeable = False
    return Segments(*arrays)
