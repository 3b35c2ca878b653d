"""The plane of a boundary: points of a lattice, and their numbers on the axes of a case."""

import math
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from superjax import analysis
from superjax.spec import Case
from superjax.spec.axis import Axis
from superjax.spec.grid import Grid


class Plane:
    """The two axes of the boundary of a case, halved until squares have sides of at most `resolution`. Each point of
    the further axes has a plane of its own."""

    def __init__(self, case: Case, resolution: float):
        self.case, self.names = case, case.plane
        self.further = [name for name in case.axes if name not in self.names]
        columns, rows = (case.axes[name].size for name in self.names)
        self.widest = max(self._widest(case.axes[name]) for name in self.names)
        depth = max(0, math.ceil(math.log2(self.widest / resolution) - 1e-9))
        planes = math.prod(case.axes[name].size for name in self.further)
        self.lattice = analysis.Lattice(planes, columns, rows, depth)

    @staticmethod
    def _widest(axis: Axis) -> float:
        """The largest step of an axis: in its logarithm, or as a fraction of its length."""
        values = axis.table()[:, 0]
        if axis.scale == "log":
            return float(np.max(np.abs(np.diff(np.log(values)))))
        return float(np.max(np.abs(np.diff(values))) / np.ptp(values))

    @cached_property
    def cells(self) -> Int[np.ndarray, " coarse"]:
        """The cells of the case at the points of the coarse grids, in the order of the lattice."""
        shape, order = self.case.shape, [list(self.case.axes).index(name) for name in (*self.further, *self.names)]
        return np.arange(math.prod(shape)).reshape(shape).transpose(order).ravel()

    def grid(self, points: Int[np.ndarray, "points 3"]) -> Grid:
        """The points as the cells of a grid of one axis, which sets all fields."""
        place = points / [1, self.lattice.side, self.lattice.side]
        tables = self.table(place[:, 0].astype(int), place[:, 1:])
        fields = [path for axis in self.case.axes.values() for path in axis.names]
        rows = np.concatenate([tables[name] for name in self.case.axes], axis=1)
        axis = Axis.model_construct(fields=fields, values=rows.tolist())  # not validated: they may be near as float32
        return Grid(self.case.model_copy(update={"axes": {"point": axis}}))

    def table(
        self, plane: Int[np.ndarray, " points"], place: Float[np.ndarray, "points 2"]
    ) -> dict[str, Float[np.ndarray, "points fields"]]:
        """The values of every axis by its name, at places counted in points of the coarse grids, with fractions."""
        found = {}
        sizes = [self.case.axes[name].size for name in self.further]
        numbers = np.unravel_index(plane, sizes) if sizes else ()
        for name, number in zip(self.further, numbers, strict=True):
            found[name] = self.case.axes[name].table()[number]
        for name, at in zip(self.names, place.T, strict=True):
            found[name] = _between(self.case.axes[name], at)
        return found

    def coordinates(
        self, plane: Int[np.ndarray, " points"], place: Float[np.ndarray, "points 2"]
    ) -> dict[str, Float[np.ndarray, " points"]]:
        """The same by the names of the coordinates."""
        table = self.table(plane, place)
        return {
            name: column
            for dim, axis in self.case.axes.items()
            for name, column in zip(axis.coordinates(dim), table[dim].T, strict=True)
        }


def _between(axis: Axis, at: Float[np.ndarray, " points"]) -> Float[np.ndarray, "points fields"]:
    """The values of an axis at its points, counted with fractions, in between along its scale."""
    values = axis.table()
    scaled = np.log(values) if axis.scale == "log" else values
    low = np.minimum(at.astype(int), len(values) - 2)
    share = (at - low)[:, None]
    found = (1 - share) * scaled[low] + share * scaled[low + 1]
    found = np.exp(found) if axis.scale == "log" else found
    exact = np.rint(at).astype(int)
    return np.where((at == exact)[:, None], values[exact], found)
