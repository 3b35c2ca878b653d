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
# Norm of the gradient, relative to the loss, up to which a family is a minimum: weights that move by 0.1 then change
# the loss by 0.3%, the tolerance of the losses that are claimed.
CONVERGED = 0.03


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

    def own(self, family: str) -> np.ndarray:
        """Where a family is a converged minimum of its own kind: a pentagon represents all features, two digons all but
        the perturbed one."""
        data = self.data.sel(family=family)
        if family == "digons":
            name = names(self.data, "family_solution")[data["family_solution"].values]
            left_out = data["family_norm"].isel(feature=self.feature).values < self.case.phases.represented
            kind = np.asarray((name == DIGONS) & left_out)
        else:
            kind = np.asarray((data["family_norm"].values >= self.case.phases.represented).all(-1))
        if "family_grad_norm" not in data:  # of an earlier version
            return kind
        return np.asarray(kind & (data["family_grad_norm"].values <= CONVERGED * np.abs(self.loss(family))))

    def own_loss(self, family: str) -> np.ndarray:
        """The loss of a family as far as it is one; NaN elsewhere."""
        return np.where(self.own(family), self.loss(family), np.nan)

    def neighbours(self) -> np.ndarray:
        """The angle between the perturbed feature and its two neighbours in the pentagon, their mean, in degrees; NaN
        where that family is none."""
        W = self.data["family_W"].sel(family="pentagon").transpose(..., "hidden", "feature").values
        units = W / np.maximum(analysis.norm(W), 1e-30)[:, None, :]
        cosines = np.einsum("ph,phf->pf", units[..., self.feature], np.delete(units, self.feature, axis=-1))
        angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
        return np.where(self.own("pentagon"), np.sort(angles, axis=-1)[:, :2].mean(-1), np.nan)

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
    """By how much the digons are worse; NaN where one of the families is none."""
    pentagon, digons = (view.own_loss(family) for family in FAMILIES)
    return digons - pentagon


def perturbed(case: Case) -> int:
    """The number of the perturbed feature, the one whose density the axis sets."""
    ((*_, feature),) = case.swept()
    return int(feature)


def views(results: Results) -> list[View]:
    return [View(name, results.sweep.cases[name], data) for name, data in results.datasets.items()]
