"""Counts of features by hidden dimensions and density, and the constants of the scaling that are fitted to them."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from superjax import analysis
from superjax.spec import Case
from superjax.studies.results import Results

AXES = {"dimensions": ("n_hidden",), "density": ("data.density",)}
FULL = 0.9  # from this fraction of all features on a model cannot show how many more it would hold
SPARSE = float(np.exp(-1))  # −s ln s rises with s up to here: only sparser data are in the regime of the bound


def scaling(density: Float[np.ndarray, " density"]) -> Float[np.ndarray, " density"]:
    """Features per dimension up to a constant, 1 / (−s ln s).

    >>> scaling(np.array([0.1])).round(3).tolist()
    [4.343]
    """
    return 1 / (-density * np.log(density))


class Line(NamedTuple):
    """count = intercept + slope m by least squares, and the fraction of the variance of the counts that it leaves."""

    slope: float
    intercept: float
    left: float


def line(m: Float[np.ndarray, " points"], count: Float[np.ndarray, " points"], through_0: bool = False) -> Line:
    """The line of the counts that are known; NaN for fewer than three of them, or if all are the same.

    >>> line(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0]))
    Line(slope=2.0, intercept=1.0, left=0.0)
    """
    known = np.isfinite(count)
    m, count = m[known], count[known]
    if len(m) < 3 or np.ptp(count) == 0:
        return Line(np.nan, np.nan, np.nan)
    middle, height = (0.0, 0.0) if through_0 else (m.mean(), count.mean())
    slope = float((m - middle) @ (count - height) / np.sum((m - middle) ** 2))
    intercept = float(height - slope * middle)
    left = np.sum((count - intercept - slope * m) ** 2) / np.sum((count - count.mean()) ** 2)
    return Line(slope, intercept, float(left))


class Counts(NamedTuple):
    """One case of the sweep, arrays (dimensions, density, ...)."""

    name: str
    case: Case
    data: xr.Dataset

    @property
    def m(self) -> Float[np.ndarray, " dimensions"]:
        return self.data["dimensions"].values.astype(float)

    @property
    def density(self) -> Float[np.ndarray, " density"]:
        return self.data["density"].values.astype(float)

    @property
    def by_restart(self) -> Float[np.ndarray, "dimensions density restart"]:
        """How many features every model represents; NaN where it diverged."""
        phase = self.data["phase"].transpose("dimensions", "density", "restart", "feature").values
        loss = self.data["loss"].transpose("dimensions", "density", "restart").values
        return np.where(np.isfinite(loss), analysis.represented(phase).sum(-1), np.nan)

    @property
    def best(self) -> Float[np.ndarray, "dimensions density"]:
        """How many the restart of lowest loss represents."""
        which = self.data["best"].transpose("dimensions", "density").values
        return analysis.take_restart(self.by_restart, which)

    def full(self) -> Bool[np.ndarray, "dimensions density"]:
        """Where nearly all features there are are represented: the count is that of n, not of m."""
        return self.best >= FULL * self.case.n_features

    def open_counts(self) -> Float[np.ndarray, "dimensions density"]:
        """The counts of the best restarts, NaN where a model is full."""
        return np.where(self.full(), np.nan, self.best)

    def lines(self, through_0: bool = False) -> list[Line]:
        """The line of every density, through the models that are not full."""
        return [line(self.m, count, through_0) for count in self.open_counts().T]

    def slopes(self) -> Float[np.ndarray, " density"]:
        """How many features a further dimension adds at every density: the slopes of the lines."""
        return np.array([one.slope for one in self.lines()])

    def slopes_by_restart(self) -> Float[np.ndarray, "density restart"]:
        """The same slopes of every restart alone."""
        counts = np.where(self.full()[..., None], np.nan, self.by_restart)
        return np.array([[line(self.m, one).slope for one in at.T] for at in np.moveaxis(counts, 1, 0)])

    def held(self) -> Float[np.ndarray, " density"]:
        """How many features a dimension holds: the count over m of the largest model, NaN where that is full."""
        return self.open_counts()[self.largest] / self.m[self.largest]

    def held_by_restart(self) -> Float[np.ndarray, "density restart"]:
        """The same of every restart alone."""
        full = self.full()[self.largest]
        return np.where(full[:, None], np.nan, self.by_restart[self.largest] / self.m[self.largest])

    @property
    def largest(self) -> int:
        return int(np.argmax(self.m))

    def constants(self, values: Float[np.ndarray, "density ..."]) -> Float[np.ndarray, "density ..."]:
        """Features per dimension, by either measure, over 1 / (−s ln s), at sparse densities; NaN at others."""
        sparse = self.density < SPARSE
        per = np.where(sparse, scaling(np.where(sparse, self.density, 0.1)), np.nan)
        return values / per.reshape(-1, *[1] * (values.ndim - 1))

    def constant(self, values: Float[np.ndarray, " density"]) -> float:
        """The constant that fits best on a logarithmic scale: the geometric mean."""
        found = self.constants(values)
        known = found > 0
        return float(np.exp(np.mean(np.log(found[known])))) if known.any() else float("nan")

    def squared_norms(self) -> Float[np.ndarray, "dimensions density"]:
        """‖W‖² of the best restarts, a count of features that needs no threshold."""
        norm = self.data["norm"].isel(restart=self.data["best"])
        return np.square(norm.transpose("dimensions", "density", "feature").values.astype(float)).sum(-1)

    def exponent(self, values: Float[np.ndarray, " density"]) -> float:
        """p of features per dimension ~ (−s ln s)^−p at sparse densities, by least squares on logarithmic scales; 1 is
        the scaling."""
        known = self.constants(values) > 0
        if known.sum() < 2:
            return float("nan")
        return float(np.polyfit(np.log(scaling(self.density[known])), np.log(values[known]), 1)[0])


def every(results: Results) -> list[Counts]:
    return [Counts(name, results.sweep.cases[name], data) for name, data in results.datasets.items()]
