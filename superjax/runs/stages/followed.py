"""The best solutions of the points of a plane, of several classes each, found by following those of points nearby."""

import itertools
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, PyTree, Shaped, UInt64

from superjax import analysis
from superjax.runs.problems import boundary_objective, cells_of
from superjax.runs.stages.base import Running, Trainee
from superjax.runs.stages.classes import DIVERGED, Classes
from superjax.runs.stages.optimum import Solutions, find_optimum
from superjax.runs.stages.plane import Plane
from superjax.runs.stages.refine import Refinement
from superjax.spec import Train
from superjax.spec.grid import Grid

POLISH = Train(steps=200, learning_rate=0.003)
FINISH = Train(steps=300, learning_rate=0.01)
SETTLE = Train(steps=600, learning_rate=0.001)
# A solution moves by about the distance to the point where it is tried, and the first steps of Adam are as long as the
# learning rate: longer ones would only take it away from where it was at rest. Directions in which the loss is flat
# take the more steps the more numbers a model has.
STEPS_PER_NUMBER, PER_DISTANCE = 38, 1 / 20
KEPT = 5  # solutions of different kinds per point


class Followed:
    """Of every point the solutions that are known, one of each kind, best first: class `label` and `loss` (points,
    KEPT), the loss infinite where there are fewer. A class has several kinds of solution, which are followed apart:
    those of other phases, or with another feature as the strongest. `trained` counts the models."""

    label: Int[np.ndarray, "points kept"]
    loss: Float[np.ndarray, "points kept"]

    def __init__(self, running: Running, classes: Classes, plane: Plane):
        self._running, self._classes, self._plane = running, classes, plane
        self._refinement, self._tasks, self.trained = Refinement(running), itertools.count(1), 0
        self._steps = STEPS_PER_NUMBER * sum(array.size for array in jax.tree.leaves(self._refinement.program.model))
        self._objective = boundary_objective(running.problem, running.case)
        running.chunk(
            "boundary", self._refinement.program, self._objective, running.grid.n_cells,
            self._refinement.under(POLISH),
        )  # fmt: skip

    def begin(self, trained: Trainee) -> Int[np.ndarray, "points 1"]:
        """The classes of the coarse grid, from the restarts of the case and what their solutions come to in the cells
        beside."""
        running, grid = self._running, self._running.grid

        def solutions(models: PyTree, cell: Int[np.ndarray, " models"], loss: Any) -> Solutions:
            label = self._classes(models, loss, cell, grid)
            return Solutions(models, cell, np.asarray(loss), self._kinds(models, label))

        def score(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            return solutions(models, cell, self._refinement.loss(models, running.cells, cell))

        def polish(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            trained, loss = self._train(POLISH, models, cell)
            return solutions(trained, cell, loss)

        def finish(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            trained, _ = self._train(FINISH, models, cell)
            trained, loss = self._train(SETTLE, trained, cell)
            return solutions(trained, cell, loss)

        found = find_optimum(grid, solutions(trained.models, trained.cell, trained.loss), score, polish, finish)
        cell = np.tile(np.arange(grid.n_cells, dtype=np.int32), 2)
        models = jax.tree.map(lambda *both: np.concatenate(both), found.models, found.other_models)
        loss = np.concatenate([found.loss, found.other_loss])
        order = np.argsort(self._plane.cells).astype(np.int32)  # of every cell its point
        self._models, self._points = None, self._plane.lattice.coarse()
        return self._keep(grid.n_cells, order[cell], models, loss, self._classes(models, loss, cell, grid))

    def classify(self, points: Int[np.ndarray, "new 3"], beside: Int[np.ndarray, "new 9"]) -> Int[np.ndarray, "new 1"]:
        """The classes of new points, which are tried with the nearest solution of every class of those beside."""
        grid = self._plane.grid(points)
        row, number, rank = self._nearest(beside)
        models = jax.tree.map(lambda x: x[number, rank], self._models)
        moved = np.abs(points[row, 1:] - self._points[number, 1:]).max(initial=0) / self._plane.lattice.side
        rate = min(POLISH.learning_rate, PER_DISTANCE * float(moved) * self._plane.widest)
        trained, loss = self._train(Train(steps=self._steps, learning_rate=rate), models, row, grid)
        self._points = np.concatenate([self._points, points])
        return self._keep(len(points), row, trained, loss, self._classes(trained, loss, row, grid))

    def _nearest(self, beside: Int[np.ndarray, "new 9"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which solutions are tried: the number of the new point, that of the known one, and the rank of its solution
        there. Of every kind the nearest, of best solutions before others."""
        rank, nearby = (index.ravel() for index in np.indices((KEPT, beside.shape[1])))
        source = beside[:, nearby]
        kind, free = self._kind[source, rank], (source >= 0) & np.isfinite(self.loss[source, rank])
        found = []
        for _ in range(KEPT):
            row = np.flatnonzero(free.any(1))
            at = np.argmax(free[row], axis=1)
            found.append((row.astype(np.int32), source[row, at], rank[at]))
            free[row] &= kind[row] != kind[row, at][:, None]
        row, number, rank = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return row, number, rank

    def _train(
        self, train: Train, models: PyTree, cell: Int[np.ndarray, " models"], grid: Grid | None = None
    ) -> tuple[PyTree, np.ndarray]:
        """Models trained on in cells of the case, or of another grid."""
        self.trained += len(cell)
        cells = cells_of(self._running.problem, grid) if grid else None
        task = f"boundary-{next(self._tasks)}"
        return self._refinement.run(task, "boundary", train, self._objective, models, cell, cells)

    def _keep(
        self, points: int, row: Int[np.ndarray, " models"], models: PyTree, loss: np.ndarray, label: np.ndarray
    ) -> Int[np.ndarray, "points 1"]:
        """Add so many points, of which models are given by number: the best of every class, best first."""
        loss, kind = np.where(np.isfinite(loss), loss, np.inf), self._kinds(models, label)
        order = np.lexsort((loss, kind, row))
        first = np.r_[True, (row[order][1:] != row[order][:-1]) | (kind[order][1:] != kind[order][:-1])]
        best = order[first & np.isfinite(loss[order])]
        best = best[np.lexsort((loss[best], row[best]))]
        _, start, count = np.unique(row[best], return_index=True, return_counts=True)
        rank = np.arange(len(best)) - np.repeat(start, count)
        best, rank = best[rank < KEPT], rank[rank < KEPT]

        def table(values: Shaped[np.ndarray, "models ..."], empty: int | float) -> np.ndarray:
            whole = np.full((points, KEPT, *values.shape[1:]), empty, values.dtype)
            whole[row[best], rank] = values[best]
            return whole

        arrays = jax.tree.map(lambda x: table(np.asarray(x), 0), models)
        new = (arrays, table(label, DIVERGED), table(kind, 0), table(loss, np.inf))
        if self._models is not None:
            known = (self._models, self.label, self._kind, self.loss)
            new = jax.tree.map(lambda old, more: np.concatenate([old, more]), known, new)
        self._models, self.label, self._kind, self.loss = new
        return self.label[-points:, :1]

    def _kinds(self, models: PyTree, label: Int[np.ndarray, " models"]) -> UInt64[np.ndarray, " models"]:
        """A number for the class, the phases of all features and the strongest feature; for the class alone where a
        model has no directions."""
        phases, kind = self._running.case.phases, label.astype(np.uint64)
        own = type(models).dims.get(phases.array, ())
        if {*own} != {"hidden", "feature"}:
            return kind
        W = np.asarray(getattr(models, phases.array))
        W = W if own == ("hidden", "feature") else W.swapaxes(-1, -2)
        every = np.arange(W.shape[-1], dtype=np.float32)  # no two features are alike
        signature = analysis.phase_signature(analysis.classify(W, **phases.thresholds())[0], every, every)
        strongest = np.argmax(analysis.norm(W), axis=-1).astype(np.uint64)
        return signature ^ (kind << np.uint64(32)) ^ (strongest << np.uint64(16))

    def other_loss(self) -> Float[np.ndarray, " points"]:
        """The loss of the best solution of every point in another class than its best, infinite if there is none."""
        return np.where(self.label == self.label[:, :1], np.inf, self.loss).min(1)
