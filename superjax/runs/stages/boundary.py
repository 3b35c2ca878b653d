"""Where a classification of models changes: the grid of the case is refined there, the plane is never filled.

The class of a point is that of its best solution, or of its restarts. The best solution is found by continuation: a
new point is tried with the nearest solution of every class that its square is known to have, each trained on there. So
both sides of a boundary are followed along it, and their losses decide, not the luck of restarts.
"""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from superjax import analysis
from superjax.problem.problem import Problem
from superjax.runs.problems import optimum_objectives
from superjax.runs.stages.base import Found, Running, Stage, Trainee, Variables
from superjax.runs.stages.classes import Classes
from superjax.runs.stages.followed import Followed
from superjax.runs.stages.plane import Plane
from superjax.spec import Case
from superjax.spec.fields import Boundary
from superjax.spec.grid import Grid
from superjax.system import terminal

SHARES = (0.1, 0.9)  # of the restarts, between which lies the band
_MOST_BANDS = 8  # classes that have one


class Line(NamedTuple):
    """A boundary between two classes, or one end of the band of a class, which it has twice, and a share."""

    curve: analysis.Curve
    classes: tuple[int, int]
    share: float


class Restarts:
    """The restarts of the points of a plane: `label` and `loss` (points, restarts)."""

    def __init__(self, running: Running, classes: Classes, plane: Plane, task: str):
        self._running, self._classes, self._plane, self._task = running, classes, plane, task
        self._tasks, self.trained = itertools.count(1), 0

    def begin(self, trained: Trainee) -> None:
        order = self._plane.cells
        label, loss = self._of(trained, self._running.grid)
        self.label, self.loss = label[order], loss[order]

    def add(self, points: Int[np.ndarray, "new 3"]) -> None:
        """Train the restarts of new points."""
        grid = self._plane.grid(points)
        found = self._of(self._running.trained_at(f"{self._task}-{next(self._tasks)}", grid), grid)
        self.trained += found[0].size
        self.label, self.loss = (np.concatenate(both) for both in zip((self.label, self.loss), found, strict=True))

    def _of(self, trained: Trainee, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        label = self._classes(trained.models, trained.loss, trained.cell, grid)
        shape = (grid.n_cells, self._running.case.restarts)
        return label.reshape(shape), np.asarray(trained.loss).reshape(shape)

    def best(self, start: int = 0) -> Int[np.ndarray, "points 1"]:
        """The class of the best restart of every point from number `start` on."""
        label, loss = self.label[start:], self.loss[start:]
        return np.take_along_axis(label, analysis.best_restart(loss)[:, None], axis=1)

    def most(self, start: int = 0) -> Int[np.ndarray, "points 1"]:
        """The class of most restarts; of equally many, that of the restart of lower loss."""
        label, loss = self.label[start:], np.where(np.isfinite(self.loss[start:]), self.loss[start:], np.inf)
        same = label[:, :, None] == label[:, None, :]
        chosen = np.lexsort((loss, -same.sum(-1)), axis=-1)[:, :1]
        return np.take_along_axis(label, chosen, axis=1)

    def inside(self, classes: Int[np.ndarray, " bands"], start: int = 0) -> Bool[np.ndarray, "points ends"]:
        """Whether classes have at least each of the SHARES of the restarts."""
        share = np.mean(self.label[start:, :, None] == classes, axis=1)
        return np.concatenate([share >= least for least in SHARES], axis=1)


class Boundaries(Stage):
    """The stage `boundary`."""

    name = stem = "boundary"
    doing = "searching the boundary"
    labels = {
        "boundary_kind": "class",
        "boundary_vertices": "how many of the vertices, in their order, are those of the line",
        "boundary_lower": "number of the class on one side of the line",
        "boundary_upper": "number of the class on the other side; of an end of a band the same",
        "boundary_share": "which share of the restarts has the class from this line on; NaN: the boundary itself",
        "boundary_closed": "1 if the line ends where it began",
        "boundary_point_class": "number of the class of a point that was tried",
        "boundary_point_loss": "what is minimised, of the best model of the point",
        "boundary_point_other_loss": "the same of its best model of another class, NaN if there is none",
        "boundary_resolution": "the largest side of the smallest squares, in ln of a logarithmic axis, else as a "
        "fraction of its length",
        "boundary_band_resolution": "the same of the band, NaN if there is none",
        "boundary_models": "how many models were trained for it, those of the grid included",
        "boundary_full_grid": "how many models a full grid of that resolution has, with as many restarts",
    }

    @classmethod
    def labels_of(cls, case: Case) -> Mapping[str, str]:
        found = dict(cls.labels)
        for name, (dim, _) in Grid(case).coordinates.items() if case.boundary else ():
            words = case.axes[dim].label or " and ".join(case.axes[dim].names)
            found |= {f"boundary_{name}": f"{words}, of the vertex", f"boundary_point_{name}": f"{words}, of the point"}
        return found

    @staticmethod
    def asked(case: Case) -> bool:
        return case.boundary is not None

    @staticmethod
    def check(case: Case, problem: Problem) -> None:
        Classes(case, problem)
        if case.boundary and case.boundary.by == "optimum":
            optimum_objectives(problem, case)

    def __init__(self, running: Running):
        self._running = running
        self._options = running.case.boundary or Boundary()
        self._classes = Classes(running.case, running.problem)
        self._plane = Plane(running.case, self._options.resolution)
        self._followed = Followed(running, self._classes, self._plane) if self._options.by == "optimum" else None

    def run(self, trained: Trainee) -> Found:
        running, options, plane = self._running, self._options, self._plane
        mesh, loss, other, models = self._search(trained)
        lines = [Line(curve, curve.classes, np.nan) for curve in analysis.trace(mesh) if not _around_a_point(curve)]
        band_resolution = np.nan
        if options.band and running.case.restarts > 1:
            band, more, band_resolution = self._band(trained, np.unique(mesh.labels))
            lines, models = lines + band, models + more
        resolution = mesh.size * plane.widest / plane.lattice.side
        if resolution > options.resolution:
            terminal.warn(
                f"{running.name}: the boundary is known to {resolution:.2g}, not to boundary.resolution = "
                f"{options.resolution:g}, which needs more than boundary.points = {options.points:,} points"
            )
        side = np.array([plane.lattice.columns - 1, plane.lattice.rows - 1], float) * plane.lattice.side / mesh.size
        full = float(np.prod(side + 1)) * plane.lattice.planes * running.case.restarts
        seen = np.unique([*mesh.labels[:, 0], *(label for line in lines for label in line.classes)])
        place = mesh.points / [1, plane.lattice.side, plane.lattice.side]
        of_points = plane.coordinates(mesh.points[:, 0], place[:, 1:])
        variables: dict[str, Any] = {
            **{f"boundary_point_{name}": (("boundary_point",), values) for name, values in of_points.items()},
            "boundary_point_class": (("boundary_point",), np.searchsorted(seen, mesh.labels[:, 0]).astype(np.int32)),
            "boundary_point_loss": (("boundary_point",), loss),
            "boundary_point_other_loss": (("boundary_point",), other),
            **_of_lines(lines, seen, plane),
            "boundary_resolution": ((), np.float64(resolution)),
            "boundary_band_resolution": ((), np.float64(band_resolution)),
            "boundary_models": ((), np.int64(running.case.n_models + models)),
            "boundary_full_grid": ((), np.float64(full)),
        }
        return Found(variables, {"boundary_kind": [self._classes.name(int(label)) for label in seen]})

    def _search(self, trained: Trainee) -> tuple[analysis.Mesh, np.ndarray, np.ndarray, int]:
        """The mesh, the losses of the best solutions of its points and of the best of another class, and how many
        models were trained."""
        options, lattice = self._options, self._plane.lattice
        if followed := self._followed:
            mesh = analysis.refine(lattice, followed.begin(trained), followed.classify, options.points)
            return mesh, _known(followed.loss[:, 0]), _known(followed.other_loss()), followed.trained
        restarts = Restarts(self._running, self._classes, self._plane, "boundary")
        restarts.begin(trained)
        labels = restarts.best if options.by == "best" else restarts.most

        def classify(points: Int[np.ndarray, "new 3"], beside: Int[np.ndarray, "new 9"]) -> Int[np.ndarray, "new 1"]:
            restarts.add(points)
            return labels(-len(points))

        mesh = analysis.refine(lattice, labels(), classify, options.points)
        loss = np.where(np.isfinite(restarts.loss), restarts.loss, np.inf)
        others = np.where(restarts.label == mesh.labels, np.inf, loss).min(1)
        best = np.where(restarts.label == mesh.labels, loss, np.inf).min(1)
        return mesh, _known(best), _known(others), restarts.trained

    def _band(self, trained: Trainee, seen: Int[np.ndarray, " classes"]) -> tuple[list[Line], int, float]:
        """The ends of the bands of classes, how many models were trained for them, and their resolution. Of two classes
        one has a band: where the share of one falls, that of the other rises."""
        plane = Plane(self._running.case, self._options.band)
        restarts = Restarts(self._running, self._classes, plane, "band")
        restarts.begin(trained)
        classes, counts = np.unique(restarts.label, return_counts=True)
        every = np.union1d(seen, classes)
        commonest = classes[np.argsort(-counts, kind="stable")][:_MOST_BANDS]
        classes = every[-1:] if len(every) == 2 else np.sort(commonest)

        def classify(points: Int[np.ndarray, "new 3"], beside: Int[np.ndarray, "new 9"]) -> Int[np.ndarray, "new ends"]:
            restarts.add(points)
            return restarts.inside(classes, -len(points)).astype(np.int64)

        mesh = analysis.refine(plane.lattice, restarts.inside(classes).astype(np.int64), classify, self._options.points)
        lines = [
            Line(curve, (int(label), int(label)), share)
            for end, (share, label) in enumerate(itertools.product(SHARES, classes))
            for curve in analysis.trace(mesh, end)
            if not _around_a_point(curve)
        ]
        return lines, restarts.trained, mesh.size * plane.widest / plane.lattice.side


def _known(loss: np.ndarray) -> np.ndarray:
    """Losses, NaN where there is none."""
    return np.where(np.isfinite(loss), loss, np.nan)


def _around_a_point(curve: analysis.Curve) -> bool:
    """Whether a curve encloses a single point: smaller than what the search resolves, as where both sides of a boundary
    are equal to the last digits."""
    return curve.closed and len(curve.points) <= 5


def _of_lines(lines: list[Line], seen: Int[np.ndarray, " classes"], plane: Plane) -> Variables:
    """The vertices of all lines, one line after the other, and what each line is."""
    count = np.array([len(line.curve.points) for line in lines], np.int32)
    number = np.repeat(np.array([line.curve.plane for line in lines], int), count)
    place: Float[np.ndarray, "vertices 2"] = np.concatenate([np.zeros((0, 2)), *(line.curve.points for line in lines)])
    classes = np.array([line.classes for line in lines], int).reshape(-1, 2)
    lower, upper = np.searchsorted(seen, classes).astype(np.int32).T
    return {
        **{f"boundary_{name}": (("boundary_vertex",), v) for name, v in plane.coordinates(number, place).items()},
        "boundary_vertices": (("boundary_line",), count),
        "boundary_lower": (("boundary_line",), lower),
        "boundary_upper": (("boundary_line",), upper),
        "boundary_share": (("boundary_line",), np.array([line.share for line in lines], np.float32)),
        "boundary_closed": (("boundary_line",), np.array([line.curve.closed for line in lines], np.int8)),
    }
