"""Where a classification of a plane changes, found by classifying few of its points.

The plane is a coarse grid whose squares can be halved. A square whose corners differ in class is; so is one beside it
if an edge between them turns out to differ, so that a boundary is followed wherever it goes from where it was seen. An
island between the points of the coarse grid, connected to no boundary that they show, is missed.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

_CORNERS = np.array([[0, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]])  # of a square, one after the other around it
_ACROSS = np.array([[0, 0, -1], [0, 1, 0], [0, 0, 1], [0, -1, 0]])  # the square beyond the edge that begins there
_NINE = np.array([[0, i, j] for i in range(3) for j in range(3)])  # points of a square that is halved

Classify = Callable[[Int[np.ndarray, "new 3"], Int[np.ndarray, "new 9"]], Int[np.ndarray, "new labelings"]]


class Lattice(NamedTuple):
    """All points that there can be: of so many planes alike, each a coarse grid of `columns` x `rows` points whose
    squares are halved at most `depth` times. A point is its plane, column and row, counted in smallest squares."""

    planes: int
    columns: int
    rows: int
    depth: int

    @property
    def side(self) -> int:
        """How many smallest squares there are along a coarse one."""
        return 2**self.depth

    def coarse(self, beyond: int = 0) -> Int[np.ndarray, "points 3"]:
        """The points of the coarse grids, the row fastest, without so many last columns and rows."""
        sizes = (self.planes, self.columns - beyond, self.rows - beyond)
        return np.indices(sizes).reshape(3, -1).T * [1, self.side, self.side]

    def keys(self, points: Int[np.ndarray, "*points 3"]) -> Int[np.ndarray, "*points"]:
        """A number for every point."""
        width, height = (self.columns - 1) * self.side + 1, (self.rows - 1) * self.side + 1
        return (points[..., 0] * width + points[..., 1]) * height + points[..., 2]

    def has_square(self, squares: Int[np.ndarray, "squares 3"]) -> Bool[np.ndarray, " squares"]:
        """Whether squares, given by the corner of lowest numbers, lie in the plane."""
        ends = np.array([self.columns - 1, self.rows - 1]) * self.side
        return np.all((squares[:, 1:] >= 0) & (squares[:, 1:] < ends), axis=1)


class Mesh(NamedTuple):
    """What was classified: points in the order in which they were, the classes of each by one or more `labelings`, and
    the squares of one `size` whose corners differ, by the number of each corner around it."""

    lattice: Lattice
    points: Int[np.ndarray, "points 3"]
    labels: Int[np.ndarray, "points labelings"]
    squares: Int[np.ndarray, "squares 4"]
    size: int


class _Known:
    """The points that are classified."""

    def __init__(self, lattice: Lattice, labels: Int[np.ndarray, "points labelings"]):
        self.lattice, self.points, self.labels = lattice, lattice.coarse(), labels
        self._index()

    def _index(self) -> None:
        keys = self.lattice.keys(self.points)
        self._order = np.argsort(keys)
        self._sorted = keys[self._order]

    def number(self, points: Int[np.ndarray, "*points 3"]) -> Int[np.ndarray, "*points"]:
        """The number of a point, -1 if it is not classified yet."""
        keys = self.lattice.keys(points)
        place = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return np.where(self._sorted[place] == keys, self._order[place], -1)

    def add(self, points: Int[np.ndarray, "new 3"], labels: Int[np.ndarray, "new labelings"]) -> None:
        self.points, self.labels = np.concatenate([self.points, points]), np.concatenate([self.labels, labels])
        self._index()

    def corners(self, squares: Int[np.ndarray, "squares 3"], size: int) -> Int[np.ndarray, "squares 4"]:
        return self.number(squares[:, None] + size * _CORNERS)

    def differ(self, squares: Int[np.ndarray, "squares 3"], size: int) -> Bool[np.ndarray, "squares 4"]:
        """Whether the two ends of the edge that begins at a corner differ."""
        labels = self.labels[self.corners(squares, size)]
        return np.any(labels != np.roll(labels, -1, axis=1), axis=-1)


def refine(lattice: Lattice, labels: Int[np.ndarray, "points labelings"], classify: Classify, most: int) -> Mesh:
    """Halve squares to the depth of the lattice, wherever any of the labelings changes.

    Args:
        labels: the classes of the points of the coarse grid, in the order of `lattice.coarse()`.
        classify: new points, and of each the numbers of known points of the square that is halved, nearest first, -1
            for none -> their classes. All that a round asks for are asked for at once.
        most: classify no more points than these; a search that would, ends at the larger squares it has.
    """
    known, size = _Known(lattice, labels), lattice.side
    squares = lattice.coarse(beyond=1)
    squares = squares[known.differ(squares, size).any(1)]
    while size > 1 and len(squares):
        found = _halved(known, squares, size, classify, most)
        if found is None:
            break
        squares, size = found, size // 2
    return Mesh(lattice, known.points, known.labels, known.corners(squares, size), size)


def _halved(
    known: _Known, todo: Int[np.ndarray, "squares 3"], size: int, classify: Classify, most: int
) -> Int[np.ndarray, "halves 3"] | None:
    """The halves whose corners differ, of some squares and all that their boundaries lead to; None if there would be
    too many points."""
    half, lattice = size // 2, known.lattice
    done, halves = np.array([], int), []
    while len(todo):
        nine = todo[:, None] + half * _NINE
        numbers = known.number(nine).reshape(-1)
        _, first = np.unique(np.where(numbers < 0, lattice.keys(nine).reshape(-1), -1), return_index=True)
        first = first[numbers[first] < 0]
        if len(known.points) + len(first) > most:
            return None
        new, square = nine.reshape(-1, 3)[first], first // 9
        if len(new):
            known.add(new, classify(new, _nearest_first(new, nine[square], numbers.reshape(-1, 9)[square])))
        children = (todo[:, None] + half * _CORNERS).reshape(-1, 3)
        differ = known.differ(children, half)
        halves.append(children[differ.any(1)])
        done = np.concatenate([done, lattice.keys(todo)])
        beyond = (children[:, None] + half * _ACROSS)[differ]
        beyond = beyond[lattice.has_square(beyond)]
        parents = np.unique(beyond // [1, size, size] * [1, size, size], axis=0)
        todo = parents[~np.isin(lattice.keys(parents), done)]
    return np.concatenate(halves)


def _nearest_first(
    new: Int[np.ndarray, "new 3"], nine: Int[np.ndarray, "new 9 3"], numbers: Int[np.ndarray, "new 9"]
) -> Int[np.ndarray, "new 9"]:
    distance = np.where(numbers < 0, np.inf, np.sum((nine - new[:, None]) ** 2, axis=-1))
    return np.take_along_axis(numbers, np.argsort(distance, axis=1, kind="stable"), axis=1)
