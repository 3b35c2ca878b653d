"""A view of a dataset whose axes are `importance` (of the last, the extra feature) and `density` (of all)."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from superjax import analysis, theory
from superjax.grid import Grid
from superjax.spec import Case, SweepError
from superjax.studies import Results


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
        return grid.unflatten(numbers["importance"]), grid.unflatten(numbers["density"])

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


def check(case: Case) -> None:
    """Raise SweepError unless the case spans the phase diagram's two axes, in a shape whose theory is known."""
    axes = {name: axis.names for name, axis in case.axes.items()}
    if list(axes.items()) != [("importance", ("importance[-1]",)), ("density", ("data.density",))]:
        raise SweepError("needs exactly the axes importance (importance[-1]) and density (data.density), in this order")
    if any(len(axis.table()) < 3 for axis in case.axes.values()):
        raise SweepError("needs at least 3 points on both axes")
    if not case.optimum:
        raise SweepError("needs optimum = true")
    if case.data.kind != "independent":
        raise SweepError('knows the theory of data.kind = "independent" only')
    if any(value != 1 for value in case.importance_vector()[:-1]):
        raise SweepError("needs importance 1 of all features but the last: the axis is the relative importance")
    if (case.n_features, case.n_hidden) not in ((2, 1), (3, 2)):
        raise SweepError("knows the theory of n_features, n_hidden = 2, 1 and 3, 2 only")


def diagrams(results: Results) -> list[Diagram]:
    return [Diagram(name, results.sweep.cases[name], data) for name, data in results.datasets.items()]
