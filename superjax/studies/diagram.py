"""A view of a dataset whose axes are `importance` (of the last, the extra feature) and `density` (of all)."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from superjax import analysis
from superjax.reference import boundaries, theory
from superjax.spec import Case, SweepError
from superjax.spec.grid import Grid
from superjax.studies.claim import Claim, close, equal
from superjax.studies.results import Results

_PRECISION = 0.01  # to which boundaries equal the reference, besides what coarse cells do
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
        inside, gain, excess = self._sides()
        return analysis.boundary(self.density, inside, gain, excess)

    def loss_crosses(self) -> np.ndarray:
        """At which importances the boundary is interpolated to a crossing of losses."""
        inside, gain, _ = self._sides()
        return analysis.boundary(self.density, inside, gain) != analysis.boundary(self.density, inside)

    def _sides(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the optimum has superposition, what it gains in units of the variance, and by how much the norm that
        decides exceeds its threshold."""
        with_it, without_it = self.branch_losses()
        m, represented = self.case.n_hidden, self.case.phases.represented
        excess = analysis.superposition_excess(self.data["optimum_norm"].values, m, represented)
        gain = (without_it - with_it) / theory.variance(self.density)
        gain[(excess < 0) & (excess > -represented / 2)] = np.nan
        return self.superposed(), gain, excess

    def typical_phase(self) -> np.ndarray:
        """The phase that most restarts give the extra feature."""
        return self.extra("typical_phase")

    def success(self) -> tuple[float, float]:
        """The fraction of restarts that reach the optimum, and its standard error."""
        what = "objective" if "objective" in self.data else "loss"
        reached = analysis.reached(self.data[what].values, self.data[f"optimum_{what}"].values)
        train = self.case.train
        common = getattr(train, "starts", "common") == "common" or train.objective == "minibatch"
        return float(reached.mean()), analysis.standard_error(reached, common)

    def success_in_words(self) -> str:
        share, error = self.success()
        return f"{share:.1%}" + (f" ± {error:.1%}" if np.isfinite(error) else "")

    def superposed(self) -> np.ndarray:
        """Where the optimum has superposition, of any features."""
        return analysis.has_superposition(self.data["optimum_phase"].values, self.case.n_hidden)

    def boundary_at(self, r: float) -> float | None:
        """The boundary at an importance, interpolated between columns; None if the nearest column has none."""
        boundary, column = self.boundary(), self.column(r)
        if not np.isfinite(boundary[column]):
            return None
        if abs(np.log(self.importance[column] / r)) < 1e-6:
            return float(boundary[column])
        return analysis.at_importance(self.importance, boundary, r)

    def precision(self, r: float) -> tuple[float, str]:
        """To which fraction the boundary at an importance should equal the reference, and why, in words."""
        step, column = self.step, self.column(r)
        apart = float(np.max(np.abs(np.diff(np.log(np.sort(self.importance))))))
        between = 0 if abs(np.log(self.importance[column] / r)) < 1e-6 else apart**2 / 32
        if self.loss_crosses()[column]:
            coarse, why = step**2 / 2, "the curvature of losses"
        else:
            coarse, why = step, "one cell, as the norm passes its threshold without a crossing of losses"
        allowed = _PRECISION + coarse + between
        return allowed, f"{allowed:.2%}: {_PRECISION:.0%}, and within cells of {step:.1%} {why}"

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


def boundary_claims(diagram: Diagram) -> list[Claim]:
    """The measured boundary beside the float64 reference, at the importances that it knows and the sweep covers."""
    case = diagram.case
    if case.phases.represented != boundaries.REPRESENTED or case.model.kind != "relu_output":
        return []
    found = []
    for r, expected in boundaries.SUPERPOSED[case.n_features, case.n_hidden].items():
        words = f"{diagram.name}: density at which superposition begins in the optimum, relative importance {r:g}"
        exact = abs(np.log(diagram.importance[diagram.column(r)] / r)) < 1e-6
        covered = diagram.importance.min() * 0.999 <= r <= diagram.importance.max() * 1.001
        if not covered or (expected is None and not exact):
            continue
        measured = diagram.boundary_at(r)
        if expected is None:
            share = float(diagram.superposed()[diagram.column(r)].mean())
            found.append(
                equal(f"{words} (null: at every density)", "float64 reference", None, measured, also=share == 1,
                      note=f"fraction of the column's cells with superposition: {share:.3f}")
            )  # fmt: skip
            continue
        allowed, why = diagram.precision(r)
        closed = float(theory.superposition_boundary(r, case.n_features, case.n_hidden))
        found.append(
            close(
                words, "float64 reference", expected, measured, relative=allowed, tolerance=why,
                note=f"the measured one is {_off(measured, expected)} off the reference; the closed form of unit "
                f"weights and no bias says {closed:.4f}, {_off(closed, expected)} off it",
            )
        )  # fmt: skip
    return found


def _off(value: float | None, expected: float) -> str:
    return "nowhere" if value is None else f"{value / expected - 1:+.2%}"
