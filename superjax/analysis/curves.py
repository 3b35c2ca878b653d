"""Boundaries between classes as curves, traced through the squares of a mesh (marching squares, of several classes)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from superjax.analysis.adaptive import Mesh

_OPEN_END = -1


class Curve(NamedTuple):
    """A boundary between two classes, the lower one first: an ordered line through `points`, columns and rows of the
    coarse grid with fractions, in one of several planes. A closed one ends where it began."""

    plane: int
    classes: tuple[int, int]
    points: Float[np.ndarray, "vertices 2"]
    closed: bool


def trace(mesh: Mesh, labeling: int = 0) -> list[Curve]:
    """All boundaries of one labeling of a mesh.

    A vertex is the middle of an edge whose ends differ, so within half a square of the boundary along that edge. Where
    three or four classes meet in a square, their curves end in its middle. Where two alternate around it, the lower one
    is taken to be connected.
    """
    label = mesh.labels[mesh.squares, labeling]
    following = np.roll(label, -1, axis=1)
    # of every edge: the two classes, which make up its kind, and its middle, in halves of smallest squares
    kinds = np.stack([np.minimum(label, following), np.maximum(label, following)], axis=-1)
    corner = mesh.points[mesh.squares]
    middle = corner + np.roll(corner, -1, axis=1)
    centre = np.broadcast_to((corner.sum(1) // 2)[:, None], middle.shape)
    square, edge = np.nonzero(label != following)
    kind = kinds[square, edge]
    segments = []
    for own in np.unique(kind, axis=0):
        same = np.zeros(label.shape, bool)
        at = (kind == own).all(1)
        same[square[at], edge[at]] = True
        count = same.sum(1)
        segments.append((own, np.concatenate([
            np.stack([middle[(count == 1)[:, None] & same], centre[(count == 1)[:, None] & same]], axis=1),
            middle[(count == 2)[:, None] & same].reshape(-1, 2, 3),
            *(np.stack([middle[some, a], middle[some, b]], axis=1) for some, a, b in _alternating(label, count == 4)),
        ])))  # fmt: skip
    scale = 2 * mesh.lattice.side
    return [
        Curve(int(line[0, 0]) // 2, (int(own[0]), int(own[1])), line[:, 1:] / scale, closed)
        for own, pairs in segments for line, closed in _chained(pairs)
    ]  # fmt: skip


def _alternating(label: np.ndarray, four: np.ndarray) -> list[tuple[np.ndarray, int, int]]:
    """Which edges of the squares where two classes alternate are joined: those around the corners of the higher one."""
    higher = label[:, 0] > label[:, 1]
    first, second = np.flatnonzero(four & higher), np.flatnonzero(four & ~higher)
    return [(first, 3, 0), (first, 1, 2), (second, 0, 1), (second, 2, 3)]


def _chained(pairs: Int[np.ndarray, "segments 2 3"]) -> list[tuple[Int[np.ndarray, "vertices 3"], bool]]:
    """Segments joined to lines, in order, and whether each is closed. No point is on more than two of them."""
    points, number = np.unique(pairs.reshape(-1, 3), axis=0, return_inverse=True)
    number = number.reshape(-1, 2)
    beside = np.full((len(points), 2), _OPEN_END)
    ends, others = np.concatenate([number[:, 0], number[:, 1]]), np.concatenate([number[:, 1], number[:, 0]])
    order = np.argsort(ends, kind="stable")
    second = np.r_[False, np.diff(ends[order]) == 0]
    beside[ends[order], second.astype(int)] = others[order]
    links, seen, lines = beside.tolist(), [False] * len(points), []
    free = np.flatnonzero((beside == _OPEN_END).any(1)).tolist()
    for start in [*free, *range(len(points))]:
        if seen[start]:
            continue
        line, before, at = [], _OPEN_END, start
        while at != _OPEN_END and not seen[at]:
            seen[at] = True
            line.append(at)
            one, other = links[at]
            before, at = at, other if one == before else one
        closed = at == start and len(line) > 2
        lines.append((points[[*line, start] if closed else line], closed))
    return lines
