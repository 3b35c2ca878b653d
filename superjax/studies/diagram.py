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

TOO_COARSE = 0.9  # relative tolerance above which no boundary is compared: the claim would hold of almost any
_PRECISION = 0.01  # to which boundaries equal the reference, besides what coarse cells do
SETTLED = 1e-3  # a model whose gradient is below this fraction of its loss has come to rest
_NEGLIGIBLE = 1e-4  # a loss below this fraction of that of predicting the means counts as so much


class Boundary(NamedTuple):
    """What decides where a boundary lies in every column, arrays (importance, density).

    `inside` says which cells are inside; `gain` what the optimum's kind gains there over that on the dense side, in
    units of the variance, NaN where one of both is no minimum; `excess` by how much the norm that decides exceeds its
    threshold.
    """

    density: np.ndarray
    inside: np.ndarray
    gain: np.ndarray
    excess: np.ndarray

    def position(self) -> np.ndarray:
        """The density of the boundary, for every importance; NaN where the column does not cross it.

        Where the minima of both sides are known in the cells beside it, it is interpolated to the crossing of their
        losses; else, as where the norm that decides grows continuously, to the threshold of that norm.
        """
        return analysis.boundary(self.density, self.inside, self.gain, self.excess)

    def loss_crosses(self) -> np.ndarray:
        """At which importances it is interpolated to a crossing of losses."""
        crossing = analysis.boundary(self.density, self.inside, self.gain)
        return crossing != analysis.boundary(self.density, self.inside)


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
        numbers = (grid.unflatten(grid.numbers()[name]) for name in ("importance", "data.density"))
        # a further axis, as the correlation, changes neither
        importance, density = (values.reshape(*values.shape[:2], -1, values.shape[-1])[:, :, 0] for values in numbers)
        return importance, density

    def theory_phase(self) -> np.ndarray:
        return theory.extra_phase(
            self.importance[:, None], self.density[None, :], self.case.n_features, self.case.n_hidden
        )

    def boundary(self) -> Boundary:
        """Where the optimum begins to have superposition, for every importance."""
        m, represented = self.case.n_hidden, self.case.phases.represented
        phase, loss = self.minima()
        importance, density = self.numbers()
        kind = analysis.phase_signature(phase, importance[..., None, :], density[..., None, :])
        excess = analysis.superposition_excess(self.data["optimum_norm"].values, m, represented)
        return self.boundary_of(self.superposed(), kind, loss, excess)

    def boundary_of(self, inside: np.ndarray, kind: np.ndarray, loss: np.ndarray, excess: np.ndarray) -> Boundary:
        """The boundary of the cells `inside`, between solutions of `kind` (importance, density, solution), the optimum
        first, with these losses, where `excess` is what the norm that decides exceeds its threshold by."""
        gain = self._gain(inside, kind, loss)
        gain[(excess < 0) & (excess > -self.case.phases.represented / 2)] = np.nan  # the norm may grow continuously
        return Boundary(self.density, inside, gain, excess)

    def _gain(self, inside: np.ndarray, kind: np.ndarray, loss: np.ndarray) -> np.ndarray:
        """What the optimum's kind inside a boundary gains over that outside of it, in units of the variance. Of
        solutions (importance, density, solution), the optimum first.

        A kind may be a minimum on its own side alone: then its loss beyond is continued as a straight line from the two
        cells beside the boundary. NaN where it is not known there either.
        """
        order = np.argsort(-self.density)
        enters = np.argmax(~inside[:, order[:-1]] & inside[:, order[1:]], axis=1)
        columns, last = np.arange(len(enters)), len(order) - 1
        losses = []
        for side, beside, beyond in ((enters, enters - 1, enters + 1), (enters + 1, enters + 2, enters)):
            same = kind == kind[columns, order[side], 0][:, None, None]
            found = np.min(loss, axis=-1, where=same & np.isfinite(loss), initial=np.inf)
            found = np.where(np.isinf(found), np.nan, found) / theory.variance(self.density)
            straight = 2 * found[columns, order[side]] - found[columns, order[np.clip(beside, 0, last)]]
            there = order[beyond]
            found[columns, there] = np.where(np.isnan(found[columns, there]), straight, found[columns, there])
            losses.append(found)
        return losses[0] - losses[1]

    def typical_phase(self) -> np.ndarray:
        """The phase that most restarts give the extra feature."""
        return self.extra("typical_phase")

    @property
    def minimised(self) -> str:
        """The variable that is minimised: the loss, or all terms together."""
        return "objective" if "objective" in self.data else "loss"

    def success(self) -> tuple[float, float]:
        """The fraction of restarts that reach the optimum, and its standard error."""
        what = self.minimised
        reached = analysis.reached(self.data[what].values, self.data[f"optimum_{what}"].values)
        return float(reached.mean()), analysis.standard_error(reached, self.common_starts)

    @property
    def common_starts(self) -> bool:
        """Whether a restart has the same luck in all cells: its initial weights, or its stream of batches."""
        train = self.case.train
        return train.starts == "common" or train.objective == "minibatch"

    def success_in_words(self) -> str:
        share, error = self.success()
        return f"{share:.1%}" + (f" ± {error:.1%}" if np.isfinite(error) else "")

    def superposed(self) -> np.ndarray:
        """Where the optimum has superposition, of any features."""
        return analysis.has_superposition(self.data["optimum_phase"].values, self.case.n_hidden)

    def at(self, boundary: np.ndarray, r: float) -> float | None:
        """A boundary at an importance, interpolated between columns; None if the nearest column has none."""
        column = self.column(r)
        if not np.isfinite(boundary[column]):
            return None
        if self.has_column(r):
            return float(boundary[column])
        found = analysis.at_importance(self.importance, boundary, r)
        return found if np.isfinite(found) else None

    def covers(self, r: float) -> bool:
        return bool(self.importance.min() * 0.999 <= r <= self.importance.max() * 1.001)

    def has_column(self, r: float) -> bool:
        return bool(abs(np.log(self.importance[self.column(r)] / r)) < 1e-6)

    def precision(self, r: float, boundary: Boundary) -> tuple[float, str]:
        """To which fraction a boundary at an importance should equal the reference, and why, in words.

        The losses' second derivative in ln(density) is up to three times the first, so that straight lines within or
        beyond a cell miss their crossing by up to about twice the square of the cell.
        """
        step, column = self.step, self.column(r)
        order = np.argsort(self.importance)
        bend = np.abs(np.diff(np.log(boundary.position()[order]), 2)) / 8
        between = 0.0 if self.has_column(r) else float(bend[np.clip(np.argsort(order)[column] - 1, 0, len(bend) - 1)])
        between = between if np.isfinite(between) else 0.0
        if boundary.loss_crosses()[column]:
            coarse, why = 2 * step**2, "the curvature of losses"
        else:
            coarse, why = step, "one cell, as no losses of two minima cross there"
        allowed = _PRECISION + coarse + between
        text = f"{allowed:.2%}: {_PRECISION:.0%}, {coarse:.2%} for cells of {step:.1%} ({why})"
        return allowed, text + (f", {between:.2%} for the boundary's bend between columns" if between else "")

    def shares(self) -> np.ndarray:
        """Part of the restarts that have superposition, (importance, density)."""
        return analysis.has_superposition(self.data["phase"].values, self.case.n_hidden).mean(-1)

    def single_restarts(self) -> np.ndarray:
        """Densities at which a tenth, half and nine tenths of the restarts have superposition, (3, importance)."""
        levels, shares = (0.1, 0.5, 0.9), self.shares()
        return np.array([[analysis.share_reaches(self.density, row, level) for row in shares] for level in levels])

    def branch_losses(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest loss found of a solution with superposition and of one without, NaN where none was found."""
        phase, loss = self.minima()
        inside = analysis.has_superposition(phase, self.case.n_hidden)
        usable = np.isfinite(loss)
        with_it, without_it = (
            np.min(loss, axis=-1, where=usable & which, initial=np.inf) for which in (inside, ~inside)
        )
        return np.where(np.isinf(with_it), np.nan, with_it), np.where(np.isinf(without_it), np.nan, without_it)

    def minima(self) -> tuple[np.ndarray, np.ndarray]:
        """Phases and losses of all solutions of a cell: the optimum, the best in other phases, and those restarts that
        have come to rest; the loss of others, which may be on their way to other phases, is NaN."""
        data, what = self.data, self.minimised
        loss = data[what].values
        settled = np.where(data["grad_norm"].values < SETTLED * loss, loss, np.nan)
        W = [data[name].transpose(..., "hidden", "feature").values for name in ("optimum_W", "optimum_other_W")]
        found, _ = analysis.classify(np.stack(W, axis=-3), **self.case.phases.thresholds())
        losses = (data[f"optimum_{what}"].values[..., None], data[f"optimum_other_{what}"].values[..., None], settled)
        return np.concatenate([found, data["phase"].values], axis=-2), np.concatenate(losses, axis=-1)

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
    """Raise SweepError unless the case spans the phase diagram's two axes and has the optimum."""
    check_plane(case)
    check_optimum(case)


def check_plane(case: Case) -> None:
    """Raise SweepError unless the case spans the phase diagram's two axes, in a shape whose theory is known."""
    axes = {name: axis.names for name, axis in case.axes.items()}
    if list(axes.items()) != [("importance", ("importance[-1]",)), ("density", ("data.density",))]:
        raise SweepError("needs exactly the axes importance (importance[-1]) and density (data.density), in this order")
    if case.data.kind != "independent":
        raise SweepError('knows the theory of data.kind = "independent" only')
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
    check_relative(case)


def check_relative(case: Case) -> None:
    """Raise SweepError unless importances are relative."""
    if any(value != 1 for value in case.importance_vector()[:-1]):
        raise SweepError("needs importance 1 of all features but the last: the axis is the relative importance")


def boundary_claims(diagram: Diagram) -> list[Claim]:
    """The measured boundary beside the float64 reference, at the importances that it knows and the sweep covers."""
    case = diagram.case
    if case.phases.represented != boundaries.REPRESENTED or case.model.kind != "relu_output":
        return []
    found, boundary = [], diagram.boundary()
    for r, expected in boundaries.SUPERPOSED[case.n_features, case.n_hidden].items():
        words = f"{diagram.name}: density at which superposition begins in the optimum, relative importance {r:g}"
        if not diagram.covers(r) or (expected is None and not diagram.has_column(r)):
            continue
        measured = diagram.at(boundary.position(), r)
        if expected is None:
            share = float(diagram.superposed()[diagram.column(r)].mean())
            found.append(
                equal(f"{words} (null: at every density)", "float64 reference", None, measured, also=share == 1,
                      note=f"fraction of the column's cells with superposition: {share:.3f}")
            )  # fmt: skip
            continue
        allowed, why = diagram.precision(r, boundary)
        if allowed > TOO_COARSE:
            continue
        if measured is None:
            note = "the optimum has no boundary in the column beside"
            found.append(equal(words, "float64 reference", expected, None, tolerance=why, note=note))
            continue
        closed = float(theory.superposition_boundary(r, case.n_features, case.n_hidden))
        found.append(
            close(
                words, "float64 reference", expected, measured, relative=allowed, tolerance=why,
                note=f"the measured one is {_off(measured, expected)} off the reference; the closed form of unit "
                f"weights and no bias says {closed:.4f}, {_off(closed, expected)} off it",
            )
        )  # fmt: skip
    return found


def _off(value: float, expected: float) -> str:
    return f"{value / expected - 1:+.2%}"
