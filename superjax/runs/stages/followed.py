"""The best solutions of the points of a plane, of several classes each, found by following those of points nearby."""

import itertools
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, PyTree, Shaped

from superjax.runs.problems import cells_of
from superjax.runs.stages.base import Running, Trainee
from superjax.runs.stages.classes import DIVERGED, Classes
from superjax.runs.stages.optimum import Solutions, find_optimum
from superjax.runs.stages.plane import Plane
from superjax.runs.stages.refine import Refinement
from superjax.spec import Train
from superjax.spec.grid import Grid

FOLLOW = Train(steps=200, learning_rate=0.003)
FINISH = Train(steps=500, learning_rate=0.01)
KEPT = 4  # solutions of different classes per point


class Followed:
    """Of every point the solutions that are known, one for each class, best first: `label` and `loss` (points, KEPT),
    the loss infinite where there are fewer. `trained` counts the models."""

    label: Int[np.ndarray, "points kept"]
    loss: Float[np.ndarray, "points kept"]

    def __init__(self, running: Running, classes: Classes, plane: Plane):
        self._running, self._classes, self._plane = running, classes, plane
        self._refinement, self._tasks, self.trained = Refinement(running), itertools.count(1), 0
        running.chunk(
            "boundary", self._refinement.program, self._refinement.fine, running.grid.n_cells,
            self._refinement.under(FOLLOW),
        )  # fmt: skip

    def begin(self, trained: Trainee) -> Int[np.ndarray, "points 1"]:
        """The classes of the coarse grid, from the restarts of the case and what their solutions come to in the cells
        beside."""
        running, grid = self._running, self._running.grid

        def solutions(models: PyTree, cell: Int[np.ndarray, " models"], loss: Any) -> Solutions:
            label = self._classes(models, loss, cell, grid)
            return Solutions(models, cell, np.asarray(loss), label.astype(np.uint64))  # a class is a kind of solution

        def score(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            return solutions(models, cell, self._refinement.loss(models, running.cells, cell))

        def polish(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            trained, loss = self._train(FOLLOW, models, cell)
            return solutions(trained, cell, loss)

        def finish(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            trained, loss = self._train(FINISH, models, cell)
            return solutions(trained, cell, loss)

        found = find_optimum(grid, solutions(trained.models, trained.cell, trained.loss), score, polish, finish)
        cell = np.tile(np.arange(grid.n_cells, dtype=np.int32), 2)
        models = jax.tree.map(lambda *both: np.concatenate(both), found.models, found.other_models)
        loss = np.concatenate([found.loss, found.other_loss])
        order = np.argsort(self._plane.cells).astype(np.int32)  # of every cell its point
        self._models = self.label = self.loss = None
        return self._keep(grid.n_cells, order[cell], models, loss, self._classes(models, loss, cell, grid))

    def classify(
        self, points: Int[np.ndarray, "new 3"], beside: Int[np.ndarray, "new 9"]
    ) -> Int[np.ndarray, "new 1"]:
        """The classes of new points, which are tried with the nearest solution of every class of those beside."""
        grid = self._plane.grid(points)
        row, number, rank = self._nearest(beside)
        models = jax.tree.map(lambda x: x[number, rank], self._models)
        trained, loss = self._train(FOLLOW, models, row, grid)
        return self._keep(len(points), row, trained, loss, self._classes(trained, loss, row, grid))

    def _nearest(self, beside: Int[np.ndarray, "new 9"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which solutions are tried: the number of the new point, that of the known one, and the rank of its solution
        there. Of every class the nearest, of best solutions before others."""
        rank, nearby = (index.ravel() for index in np.indices((KEPT, beside.shape[1])))
        source = beside[:, nearby]
        label, free = self.label[source, rank], (source >= 0) & np.isfinite(self.loss[source, rank])
        found = []
        for _ in range(KEPT):
            row = np.flatnonzero(free.any(1))
            at = np.argmax(free[row], axis=1)
            found.append((row.astype(np.int32), source[row, at], rank[at]))
            free[row] &= label[row] != label[row, at][:, None]
        row, number, rank = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return row, number, rank

    def _train(
        self, train: Train, models: PyTree, cell: Int[np.ndarray, " models"], grid: Grid | None = None
    ) -> tuple[PyTree, np.ndarray]:
        """Models trained on in cells of the case, or of another grid."""
        self.trained += len(cell)
        cells = cells_of(self._running.problem, grid) if grid else None
        task = f"boundary-{next(self._tasks)}"
        return self._refinement.run(task, "boundary", train, self._refinement.fine, models, cell, cells)

    def _keep(
        self, points: int, row: Int[np.ndarray, " models"], models: PyTree, loss: np.ndarray, label: np.ndarray
    ) -> Int[np.ndarray, "points 1"]:
        """Add so many points, of which models are given by number: the best of every class, best first."""
        loss = np.where(np.isfinite(loss), loss, np.inf)
        order = np.lexsort((loss, label, row))
        first = np.r_[True, (np.diff(row[order]) != 0) | (np.diff(label[order]) != 0)]
        best = order[first & np.isfinite(loss[order])]
        best = best[np.lexsort((loss[best], row[best]))]
        _, start, count = np.unique(row[best], return_index=True, return_counts=True)
        rank = np.arange(len(best)) - np.repeat(start, count)
        best, rank = best[rank < KEPT], rank[rank < KEPT]

        def table(values: Shaped[np.ndarray, "models ..."], empty: float) -> np.ndarray:
            whole = np.full((points, KEPT, *values.shape[1:]), empty, values.dtype)
            whole[row[best], rank] = values[best]
            return whole

        new = (jax.tree.map(lambda x: table(np.asarray(x), 0), models), table(label, DIVERGED), table(loss, np.inf))
        if self._models is not None:
            known = (self._models, self.label, self.loss)
            new = jax.tree.map(lambda old, more: np.concatenate([old, more]), known, new)
        self._models, self.label, self.loss = new
        return self.label[-points:, :1]
