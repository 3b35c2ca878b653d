"""A view of the boundaries of a case: which are those of superposition, and where they are."""

from functools import cached_property

import numpy as np
import xarray as xr

from superjax.analysis import has_superposition
from superjax.reference import boundaries
from superjax.spec import Case
from superjax.studies.boundaries import BoundaryLine, boundary_lines, crossings
from superjax.studies.results import Results


class Search:
    """The boundaries of one case."""

    def __init__(self, name: str, case: Case, data: xr.Dataset):
        self.name, self.case, self.data = name, case, data
        every = boundary_lines(data)
        self.lines = [line for line in every if not line.is_band]
        self.band = [line for line in every if line.is_band]
        self.kinds = [str(kind) for kind in data["boundary_kind"].values]

    @property
    def title(self) -> str:
        return f"n = {self.case.n_features}, m = {self.case.n_hidden}"

    @property
    def resolution(self) -> float:
        """The side of the smallest squares, in the logarithm of both axes."""
        return float(self.data["boundary_resolution"])

    @property
    def wanted(self) -> float:
        """The resolution that was asked for."""
        return self.case.boundary.resolution if self.case.boundary else np.nan

    @property
    def share(self) -> float:
        """The models that were trained, as a fraction of those of the full grid of the resolution."""
        return float(self.data["boundary_models"] / self.data["boundary_full_grid"])

    @property
    def share_superposed(self) -> np.ndarray | None:
        """Of every point of the grid, the share of the restarts with superposition, (importance, density), where that
        is what is classified."""
        if self.case.boundary is None or self.case.boundary.of != "superposition":
            return None
        phase = self.data["phase"].transpose("importance", "density", "restart", "feature").values
        return has_superposition(phase, self.case.n_hidden).mean(-1)

    def superposed(self, kind: str) -> bool:
        """Whether a class has more features than dimensions."""
        words = kind.split(", ")
        if len(words) == 1:
            return kind == "superposition"
        return sum(word in ("dedicated", "superposed") for word in words) > self.case.n_hidden

    @cached_property
    def begins(self) -> list[BoundaryLine]:
        """The lines at which superposition begins."""
        return [line for line in self.lines if self.superposed(line.lower) != self.superposed(line.upper)]

    def density(self, importance: float) -> float:
        """The largest density at which superposition begins at an importance, NaN if there is none."""
        found = [crossings(line, "importance", importance, "density") for line in self.begins]
        return float(np.max(np.concatenate([[-np.inf], *found]))) if any(map(len, found)) else np.nan

    @property
    def reference(self) -> dict[float, float]:
        """The float64 reference, by importance, where the case has it."""
        case = self.case
        if case.phases.represented != boundaries.REPRESENTED or case.model.kind != "relu_output":
            return {}
        low, high = self.data["importance"].values.min(), self.data["importance"].values.max()
        known = boundaries.BEGINS.get((case.n_features, case.n_hidden), {})
        return {r: s for r, s in known.items() if low < r < high and s > self.data["density"].values.min()}

    def deviation(self) -> tuple[np.ndarray, np.ndarray]:
        """At the importances of the reference, by how much ln(density) of the boundary exceeds it."""
        known = self.reference
        found = np.array([self.density(r) for r in known])
        return np.array([*known]), np.log(found / np.array([*known.values()]))

    @property
    def exchanged(self) -> list[BoundaryLine]:
        """The lines between classes whose features have the same phases, others each: the extra one changes places."""
        words = [(sorted(line.lower.split(", ")), sorted(line.upper.split(", "))) for line in self.lines]
        return [line for line, (lower, upper) in zip(self.lines, words, strict=True) if lower == upper]


def searches(results: Results) -> list[Search]:
    return [Search(name, results.sweep.cases[name], data) for name, data in results.datasets.items()]
