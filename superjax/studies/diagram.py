"""A view of a dataset whose axes are `importance` (of the last, the extra feature) and `density` (of all)."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from superjax import analysis
from superjax.reference import theory
from superjax.spec import Case, SweepError
from superjax.spec.grid import Grid
from superjax.studies.claim import Claim, between
from superjax.studies.results import Results

IMPORTANCES = (0.1, 0.3, 1.0, 3.0, 10.0)
_NEGLIGIBLE = 1e-4  # a loss below this fraction of that of predicting the means counts as so much


class Diagram(NamedTuple):
    """One case of the sweep, arrays (importance, density, ...)."""

    name: str
    case: Case
    data: xr.Dataset

    @property
    def importance(self) -> np.ndarray:
        return self.data["importance"].values

    @property
    def density(self) -> np.ndarray:
        return self.data["density"].values

    @property
    def title(self) -> str:
        return f"n = {self.case.n_features}, m = {self.case.n_hidden}"

    @property
    def step(self) -> float:
        """The largest cell of the density axis, in ln(density)."""
        return float(np.max(np.abs(np.diff(np.log(np.sort(self.density))))))

    def column(self, r: float) -> int:
        """The column whose importance is nearest to r."""
        return int(np.argmin(np.abs(np.log(self.importance / r))))

    def extra(self, name: str) -> np.ndarray:
        """A variable of the extra feature, the last one."""
        return self.data[name].isel(feature=-1).values

    def best(self, name: str) -> np.ndarray:
        """A variable of the best restart of every cell."""
        return self.data[name].isel(restart=self.data["best"]).transpose(..., "feature").values

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Importance and density of every feature, (importance, density, feature)."""
        grid = Grid(self.case)
        numbers = grid.numbers()
        return grid.unflatten(numbers["importance"]), grid.unflatten(numbers["data.density"])

    def theory_phase(self) -> np.ndarray:
        return theory.extra_phase(
            self.importance[:, None], self.density[None, :], self.case.n_features, self.case.n_hidden
        )

    def boundary(self) -> np.ndarray:
        """Density at which the optimum begins to have superposition, for every importance.

        Where the norm that decides jumps there from near 0, it is interpolated to the crossing of the losses of the
        two branches; where the norm grows continuously, to its threshold.
        """
        with_it, without_it = self.branch_losses()
        m, represented = self.case.n_hidden, self.case.phases.represented
        excess = analysis.superposition_excess(self.data["optimum_norm"].values, m, represented)
        gain = (without_it - with_it) / self.data["optimum_loss"].values
        gain[(excess < 0) & (excess > -represented / 2)] = np.nan
        inside = analysis.has_superposition(self.data["optimum_phase"].values, m)
        return analysis.boundary(self.density, inside, gain, excess)

    def stream_boundaries(self) -> np.ndarray:
        """The boundary as every single restart has it, (restart, importance): its spread over independent streams."""
        m, represented = self.case.n_hidden, self.case.phases.represented
        norm = np.moveaxis(self.data["norm"].values, 2, 0)
        phase = np.moveaxis(self.data["phase"].values, 2, 0)
        excess = analysis.superposition_excess(norm, m, represented)
        return analysis.boundary(self.density, analysis.has_superposition(phase, m), excess)

    def branch_losses(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest loss found of a solution with superposition and of one without, NaN where none was found."""
        m = self.case.n_hidden
        loss = np.concatenate(
            [self.data[name].values.reshape(*self.data["best"].shape, -1)
             for name in ("optimum_loss", "optimum_other_loss", "loss")], axis=-1,
        )  # fmt: skip
        W = [self.data[name].transpose(..., "hidden", "feature").values for name in ("optimum_W", "optimum_other_W")]
        found, _ = analysis.classify(np.stack(W, axis=-3), **self.case.phases.model_dump())
        inside = analysis.has_superposition(np.concatenate([found, self.data["phase"].values], axis=-2), m)
        usable = np.isfinite(loss)
        with_it, without_it = (
            np.min(loss, axis=-1, where=usable & which, initial=np.inf) for which in (inside, ~inside)
        )
        return np.where(np.isinf(with_it), np.nan, with_it), np.where(np.isinf(without_it), np.nan, without_it)

    def concavity_violation(self) -> float:
        """By how much the optimal loss falls below a chord between two importances (largest, relative)."""
        order = np.argsort(self.importance)
        x, y = self.importance[order], self._optimal_loss()[order]
        share = ((x[1:-1] - x[:-2]) / (x[2:] - x[:-2]))[:, None]
        chord = (1 - share) * y[:-2] + share * y[2:]
        return float(np.max((chord - y[1:-1]) / y[1:-1]))

    def asymmetry(self) -> float | None:
        """n = 2, m = 1: largest relative deviation from L*(1/r) = L*(r) / r, None if the axis is not symmetric."""
        order = np.argsort(self.importance)
        x, y = self.importance[order], self._optimal_loss()[order]
        if self.case.n_features != 2 or not np.allclose(x * x[::-1], 1):
            return None
        return float(np.max(np.abs(y[::-1] * x[:, None] / y - 1)))

    def _optimal_loss(self) -> np.ndarray:
        """The optimum's loss in float64, at least a negligible part of that of predicting the means."""
        nothing = (self.case.n_features - 1 + self.importance[:, None]) * theory.variance(self.density)
        return np.maximum(self.data["optimum_loss"].values.astype(float), _NEGLIGIBLE * nothing)


def check(case: Case) -> None:
    """Raise SweepError unless the case spans the phase diagram's two axes, in a shape whose theory is known."""
    axes = {name: axis.names for name, axis in case.axes.items()}
    if list(axes.items()) != [("importance", ("importance[-1]",)), ("density", ("data.density",))]:
        raise SweepError("needs exactly the axes importance (importance[-1]) and density (data.density), in this order")
    if case.data.kind != "independent":
        raise SweepError('knows the theory of data.kind = "independent" only')
    check_optimum(case)
    if (case.n_features, case.n_hidden) not in ((2, 1), (3, 2)):
        raise SweepError("knows the theory of n_features, n_hidden = 2, 1 and 3, 2 only")


def diagrams(results: Results) -> list[Diagram]:
    return [Diagram(name, results.sweep.cases[name], data) for name, data in results.datasets.items()]


def check_optimum(case: Case) -> None:
    """Raise SweepError unless there is an optimum to compare with, on enough points, at relative importances."""
    if any(len(case.axes[name].table()) < 3 for name in ("importance", "density")):
        raise SweepError("needs at least 3 points on both axes")
    if not case.optimum:
        raise SweepError("needs optimum = true")
    if any(value != 1 for value in case.importance_vector()[:-1]):
        raise SweepError("needs importance 1 of all features but the last: the axis is the relative importance")


def boundary_claims(diagram: Diagram, section: str) -> list[Claim]:
    """The measured boundary beside the theory's, at the importances that the sweep covers. It can only be denser: free
    weights and biases only help both branches, and help the superposed one more."""
    case, measured, cell = diagram.case, diagram.boundary(), diagram.step
    closed = theory.superposition_boundary(diagram.importance, case.n_features, case.n_hidden)
    found = []
    for r in IMPORTANCES:
        if not diagram.importance.min() * 0.999 <= r <= diagram.importance.max() * 1.001:
            continue
        expected = float(theory.superposition_boundary(r, case.n_features, case.n_hidden))
        at = np.clip(r, *_ends(diagram.importance))
        position = analysis.at_importance(diagram.importance, measured, at)
        # between coarse importances the closed form itself is not what is interpolated
        missed = abs(float(np.log(analysis.at_importance(diagram.importance, closed, at) / expected)))
        either = np.exp(cell + missed)
        found.append(
            between(
                f"{diagram.name}: density at which superposition begins, relative importance {r:g}",
                section, expected, position, expected / either, 1.3 * expected * either,
                tolerance=f"30% above the theory, and one cell ({cell + missed:.0%}) either way",
                note=f"the optimum's is {position / expected - 1:+.0%} off the closed form, {_weakest(diagram, r)}",
            )
        )  # fmt: skip
    return found


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _weakest(diagram: Diagram, r: float) -> str:
    """The norm that decides, near r and on either side of the theory's boundary, as evidence."""
    column, case = diagram.column(r), diagram.case
    norm = np.sort(diagram.data["optimum_norm"].values[column], axis=-1)[:, -(case.n_hidden + 1)]
    denser = diagram.density > theory.superposition_boundary(r, case.n_features, case.n_hidden)
    if not denser.any() or denser.all():
        return "all densities lie on one side of it"
    return (
        f"whose unit weights are not optimal: at importance {diagram.importance[column]:.3g} the least represented of "
        f"{case.n_hidden + 1} features has norm {norm[denser].min():.2f} to {norm[denser].max():.2f} on its dense "
        f"side, {norm[~denser].min():.2f} to {norm[~denser].max():.2f} on its sparse side"
    )
