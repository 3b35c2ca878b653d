"""A view of a dataset whose only axis is the density of one feature, with its two families."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from superjax import analysis
from superjax.spec import Case
from superjax.studies.results import Results
from superjax.studies.solutions import names

FAMILIES = ("pentagon", "digons")
DIGONS = "2 digons"
KEPT = 0.01  # fits are kept whose loss is at most this fraction above the lowest


class View(NamedTuple):
    """One case: a baseline density, and the density of the perturbed feature along the axis."""

    name: str
    case: Case
    data: xr.Dataset

    @property
    def feature(self) -> int:
        """The number of the perturbed feature."""
        return perturbed(self.case)

    @property
    def density(self) -> np.ndarray:
        """Of the perturbed feature."""
        return self.data[next(iter(self.case.axes))].values

    @property
    def baseline(self) -> float:
        """Density of the others."""
        return self.case.density_vector()[self.feature - 1]

    def loss(self, family: str) -> np.ndarray:
        return self.data["family_loss"].sel(family=family).values

    def own_loss(self, family: str) -> np.ndarray:
        """The loss of a family as far as it is one; NaN where it has fallen to the other."""
        solution = names(self.data, "family_solution")[self.data["family_solution"].sel(family=family).values]
        return np.where((solution == DIGONS) == (family == "digons"), self.loss(family), np.nan)

    def crossing(self) -> float:
        """Density of the perturbed feature at which the losses of the families cross; NaN if they do not."""
        found = analysis.crossings(self.density, _gap(self))
        return float(found[-1]) if len(found) else float("nan")

    @property
    def step(self) -> float:
        """The largest step between two densities, in ln(density); 0 if there is one density only."""
        return float(np.abs(np.diff(np.log(np.sort(self.density)))).max(initial=0.0))

    def at(self, density: float) -> int | None:
        """The point of the axis at a density, if there is one."""
        distance = np.abs(np.log(self.density / density))
        return int(np.argmin(distance)) if distance.min() < 0.01 else None


def _gap(view: View) -> np.ndarray:
    """By how much the digons are worse; NaN where one of the families has fallen to the other."""
    pentagon, digons = (view.own_loss(family) for family in FAMILIES)
    return digons - pentagon


def perturbed(case: Case) -> int:
    """The number of the perturbed feature, the one whose density the axis sets."""
    ((*_, feature),) = case.swept()
    return int(feature)


def views(results: Results) -> list[View]:
    return [View(name, results.sweep.cases[name], data) for name, data in results.datasets.items()]
