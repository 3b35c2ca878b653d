"""A view of a dataset whose families `rising` and `falling` go along one axis, from either end, on every line."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from superjax import analysis
from superjax.analysis import Coexistence, Onset
from superjax.spec import Case
from superjax.studies.results import Results

FAMILIES = ("rising", "falling")
# Norm of the gradient, relative to the loss, up to which a solution is a minimum: weights that move by 0.1 then change
# the loss by 0.01%.
CONVERGED = 1e-3
APART = 0.02  # largest difference of two entries of WᵀW from which solutions are different ones
NEGLIGIBLE = 0.02  # a latent jump below this counts as none


@dataclass(frozen=True)
class Line:
    """One line: the coordinate along it rises; arrays have the families first.

    Attributes:
        at: where the line is, on the other axis.
        x: the coordinate.
        loss, slope: d ln(loss) / d ln(x); NaN where a family is no converged minimum.
        norm: of both features.
        W, b: weights and biases.
        fits: lowest loss of all restarts.
        alike: whether the features are, all along.
    """

    at: float
    x: Float[np.ndarray, " points"]
    loss: Float[np.ndarray, "2 points"]
    slope: Float[np.ndarray, "2 points"]
    norm: Float[np.ndarray, "2 points features"]
    W: Float[np.ndarray, "2 points hidden features"]
    b: Float[np.ndarray, "2 points features"]
    fits: Float[np.ndarray, " points"]
    alike: bool = False

    @property
    def weaker(self) -> Float[np.ndarray, "2 points"]:
        """The norm of the weaker feature."""
        return self.norm.min(-1)

    @cached_property
    def best(self) -> Int[np.ndarray, " points"]:
        """The number of the family with the lower loss; where that is known of none, the first."""
        return np.where(np.isfinite(self.loss), self.loss, np.inf).argmin(0)

    def of_best(self, values: Float[np.ndarray, "2 points"]) -> Float[np.ndarray, " points"]:
        return np.take_along_axis(values, self.best[None], 0)[0]

    @cached_property
    def apart(self) -> Bool[np.ndarray, " points"]:
        """Where the families are different solutions, whatever their direction: by WᵀW. On a line of equal features
        those are not different that differ by an exchange of features."""
        one, other = np.einsum("fphi,fphj->fpij", self.W, self.W)
        apart = np.abs(one - other).max((-1, -2))
        if self.alike:
            apart = np.minimum(apart, np.abs(one - other[:, ::-1, ::-1]).max((-1, -2)))
        return np.asarray(apart > APART)

    @cached_property
    def coexistences(self) -> list[Coexistence]:
        """Where both are minima, and different ones."""
        return analysis.coexistences(self.x, self.loss, self.slope, self.apart)

    @cached_property
    def changes(self) -> list[Coexistence]:
        """The transitions of first order: those of the coexistences in which the losses cross. Not one point at which
        they nearly agree: there a branch leaves a step late what has just ceased to be a minimum."""
        crossing = [found for found in self.coexistences if np.isfinite(found.position)]
        return [found for found in crossing if found.jump >= NEGLIGIBLE or found.last > found.first]

    @property
    def large(self) -> list[Coexistence]:
        """Those of them with a latent jump that counts."""
        return [change for change in self.changes if change.jump >= NEGLIGIBLE]

    @cached_property
    def main(self) -> Coexistence | None:
        """The transition with the largest latent jump."""
        return max(self.changes, key=lambda change: change.jump, default=None)

    @cached_property
    def onsets(self) -> list[Onset]:
        """Where the weaker feature of the better family begins to be represented, continuously: not where it jumps a
        little, within two steps of such a transition."""
        found, room = analysis.onsets(self.x, self.of_best(self.weaker)), np.exp(2 * self.step)
        weak = [part for part in self.changes if part.jump < NEGLIGIBLE]
        jumps = [(self.x[part.first] / room, self.x[part.last] * room) for part in weak]
        return [begin for begin in found if not any(low < begin.position < high for low, high in jumps)]

    def jump_at_onset(self, onset: Onset) -> float:
        """By how much the slope of the better family jumps there: about 0 if the onset is continuous."""
        return analysis.jump_at(self.x, self.of_best(self.slope), onset.position)

    def beside(self, change: Coexistence, values: Float[np.ndarray, "2 points"]) -> tuple[float, float]:
        """What both families have at a transition."""
        part = slice(change.first, change.last + 1)
        at = np.log(change.position)
        one, other = (float(np.interp(at, np.log(self.x[part]), own[part])) for own in values)
        return one, other

    @property
    def step(self) -> float:
        """The largest step, in ln(x); 0 if there is one point only."""
        return float(np.diff(np.log(self.x)).max(initial=0.0))


@dataclass(frozen=True)
class View:
    """One case: lines along one axis, at the values of the other."""

    name: str
    case: Case
    data: xr.Dataset

    @property
    def along(self) -> str:
        return self.case.families[FAMILIES[0]].along

    @property
    def across(self) -> str:
        return "density" if self.along == "importance" else "importance"

    @cached_property
    def lines(self) -> list[Line]:
        """From the lowest value of the other axis on."""
        data = self.data.sortby([self.across, self.along])
        loss = data["family_loss"].transpose(self.across, "family", self.along).values.astype(float)
        names = ("grad_norm", "slope")
        gradient, slope = (
            data[f"family_{name}"].transpose(self.across, "family", self.along).values.astype(float) for name in names
        )
        settled = gradient <= CONVERGED * loss  # false of NaN
        x = data[self.along].values.astype(float)
        norm = data["family_norm"].transpose(self.across, "family", self.along, "feature").values
        W = data["family_W"].transpose(self.across, "family", self.along, "hidden", "feature").values
        b = data["family_b"].transpose(self.across, "family", self.along, "feature").values
        fits = data["loss"].min("restart").transpose(self.across, self.along).values
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(settled, slope * x / loss, np.nan)
        loss = np.where(settled, loss, np.nan)
        return [
            Line(
                float(at),
                x,
                *(values[k] for values in (loss, slope, norm, W, b, fits)),
                alike=self.across == "importance" and bool(abs(np.log(at)) < 1e-6),
            )
            for k, at in enumerate(data[self.across].values)
        ]

    def line(self, at: float) -> Line:
        """The line nearest to a value of the other axis."""
        return min(self.lines, key=lambda line: abs(np.log(line.at / at)))

    def has_line(self, at: float) -> bool:
        return bool(abs(np.log(self.line(at).at / at)) < 1e-6)

    def importance(self, line: Line, x: float) -> float:
        """The importance of a point on a line, along whichever axis it goes."""
        return x if self.along == "importance" else line.at

    def density(self, line: Line, x: float) -> float:
        return x if self.along == "density" else line.at


def views(results: Results) -> list[View]:
    return [View(name, results.sweep.cases[name], data) for name, data in results.datasets.items()]
