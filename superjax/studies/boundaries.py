"""The boundaries of a dataset as lines, from the variables that the stage `boundary` leaves."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from superjax.errors import SweepError
from superjax.spec import Case
from superjax.studies.axes import axis_of, split


class BoundaryLine(NamedTuple):
    """A boundary between two classes, in words, as an ordered line; or an end of the band of the restarts, where a
    `share` of them begins to have a class (`lower` and `upper` are the same). `share` is NaN for a boundary itself.
    `at` has the vertices: for every coordinate of the case its values along the line. A `closed` one ends where it
    began."""

    lower: str
    upper: str
    share: float
    closed: bool
    at: Mapping[str, Float[np.ndarray, " vertices"]]

    @property
    def is_band(self) -> bool:
        return bool(np.isfinite(self.share))


def boundary_lines(dataset: xr.Dataset) -> list[BoundaryLine]:
    """All boundaries and ends of bands of a case. Raises SweepError if none were searched.

    Example:
        >>> found = boundary_lines(superjax.boundary(sweep)["n2_m1"])  # doctest: +SKIP
        >>> [(line.lower, line.upper, line.at["density"]) for line in found]  # doctest: +SKIP
    """
    if "boundary_vertices" not in dataset:
        raise SweepError("the dataset has no boundary: it is of a case without [boundary]")
    kinds = [str(kind) for kind in dataset["boundary_kind"].values]
    ends = np.cumsum(dataset["boundary_vertices"].values)
    prefix = "boundary_"
    of_vertices = {
        str(name).removeprefix(prefix): variable.values
        for name, variable in dataset.variables.items()
        if variable.dims == ("boundary_vertex",)
    }
    columns = zip(*(dataset[f"boundary_{name}"].values for name in ("lower", "upper", "share", "closed")), strict=True)
    return [
        BoundaryLine(
            kinds[lower], kinds[upper], float(share), bool(closed),
            {name: values[end - count : end] for name, values in of_vertices.items()},
        )
        for (lower, upper, share, closed), end, count in zip(
            columns, ends, dataset["boundary_vertices"].values, strict=True
        )
    ]  # fmt: skip


def lines_of_map(case: Case, dataset: xr.Dataset) -> list[BoundaryLine]:
    """The boundaries that belong on a map of a case: none if there are further axes, or if the map has the numbers of
    points of an axis, where lines have its values."""
    further, *shown = split(case)
    by_number = any(axis_of(case, dataset, dim)[1].startswith("point of") for dim in shown)
    return [] if further or by_number or "boundary_vertices" not in dataset else boundary_lines(dataset)


def crossings(line: BoundaryLine, name: str, value: float, of: str) -> Float[np.ndarray, " crossings"]:
    """Where a line has a value of a coordinate: what the other coordinate `of` is there. Both are positive, and
    interpolated in their logarithms between the vertices."""
    x, y = np.log(line.at[name]) - np.log(value), np.log(line.at[of])
    k = np.flatnonzero((x[:-1] < 0) != (x[1:] < 0))
    return np.exp(y[k] + (y[k + 1] - y[k]) * x[k] / (x[k] - x[k + 1]))
