"""Families of solutions, each followed along an axis from weights of its own, or from the best of the restarts.

A local minimum moves as the axis does, and so far as it remains one it can be followed: the weights of one cell are
the start of the next. So the losses of two kinds of solution can be compared where training would only find one. Two
families that begin with the best at either end of an axis show hysteresis: where they differ, each is a minimum that
the other side does not lead to.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, Int, PyTree

from superjax import analysis
from superjax.engine.newton import MAX_NUMBERS
from superjax.errors import SweepError
from superjax.problem.problem import Problem
from superjax.runs.problems import optimum_objectives
from superjax.runs.stages.base import Found, Running, Stage, Trainee, Variables
from superjax.runs.stages.refine import Refinement
from superjax.runs.starting import with_arrays
from superjax.spec import Case, Family, Train
from superjax.spec.grid import Grid

# Small steps without momentum: a feature that is left out has a bias of half its density, and once that is negative
# its output is dead for good.
FOLLOW = Train(steps=1000, learning_rate=0.001, b1=0.0, b2=0.9)
BEST = "best"  # as the start of a family: the restart of lowest loss in the cell where it begins
_OTHERS = 16  # cells whose best restarts are tried besides, where a family begins
_KICKS = 3  # of the random numbers of kicks; 0 has initial weights, 1 minibatches, 2 attacks


class Followed(NamedTuple):
    """Weights with leaves (cells, families, ...), and the loss of each."""

    models: PyTree
    loss: Float[np.ndarray, "cells families"]


Start = Callable[[Int[np.ndarray, " models"], Int[np.ndarray, " models"]], PyTree]
Refine = Callable[
    [PyTree, Int[np.ndarray, " models"], Int[np.ndarray, " models"]], tuple[PyTree, Float[np.ndarray, " models"]]
]


def starts(case: Case) -> Float[np.ndarray, "families n_hidden n_features"]:
    """The weights from which the families of a case start, 0 where that is the best that is found. Raises SweepError if
    there are no such solutions."""
    found = []
    for name, family in case.families.items():
        given = family.W if family.W != BEST else [[0.0] * case.n_features] * case.n_hidden
        try:
            rows = analysis.ideal(given, case.n_hidden, case.n_features) if isinstance(given, str) else given
        except ValueError as error:
            raise SweepError(f"families.{name}.W: {error}") from None
        found.append(np.array(rows, np.float32))
    return np.stack(found)


def follow(grid: Grid, first: Start, refine: Refine) -> Followed:
    """Follow all families both ways at once, in all cells of the other axes.

    Args:
        first: families and cells -> weights with which these families start in these cells.
        refine: weights, their families and cells -> weights trained there, and their losses.
    """
    paths = [_path(grid, family) for family in grid.case.families.values()]
    shape = (grid.n_cells, len(paths))
    models, loss = None, np.zeros(shape, np.float32)
    for step in range(max(map(len, paths))):
        now = [(number, *path[step]) for number, path in enumerate(paths) if step < len(path)]
        family = np.concatenate([np.full(len(cells), number) for number, cells, _ in now])
        cell, before = (np.concatenate(arrays) for arrays in list(zip(*now, strict=True))[1:])
        given = first(family, cell) if models is None else jax.tree.map(lambda x, i=(before, family): x[i], models)
        found, loss[cell, family] = refine(given, family, cell.astype(np.int32))
        if models is None:
            models = jax.tree.map(lambda x: np.zeros((*shape, *x.shape[1:]), x.dtype), found)
        for kept, new in zip(jax.tree.leaves(models), jax.tree.leaves(found), strict=True):
            kept[cell, family] = new
    return Followed(models, loss)


def slopes(
    grid: Grid,
    families: Sequence[Family],
    loss: Float[np.ndarray, "cells families"],
    loss_in: Callable[[Int[np.ndarray, " models"]], Float[np.ndarray, " models"]],
) -> Float[np.ndarray, "cells families"]:
    """The derivative of the loss along the axis of each family, at fixed weights: from the losses of its weights in the
    cells on either side, to second order. At a minimum it is that of the loss of the family itself. At an end of the
    axis the difference to the one neighbour; NaN if there is none.

    Args:
        loss: of the families, in their cells.
        loss_in: a cell for every family of every cell -> the losses that its weights have there.
    """
    x, cells = np.empty((3, *loss.shape)), np.empty((3, *loss.shape), np.int32)
    for k, family in enumerate(families):
        values, axis = grid.case.axes[family.along].table()[:, 0], grid.dims.index(family.along)
        order = np.argsort(values, kind="stable")
        number = np.moveaxis(np.arange(grid.n_cells).reshape(grid.shape), axis, 0).reshape(len(values), -1)[order]
        for place, distance in enumerate((-1, 0, 1)):
            beside = np.clip(np.arange(len(values)) + distance, 0, len(values) - 1)
            cells[place, number, k], x[place, number, k] = number[beside], values[order][beside][:, None]
    below, above = (loss_in(cells[place].ravel()).reshape(loss.shape).astype(float) for place in (0, 2))
    here = loss.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (here - below) / (x[1] - x[0]), (above - here) / (x[2] - x[1])
        middle = ((x[2] - x[1]) * left + (x[1] - x[0]) * right) / (x[2] - x[0])
    return np.where(x[0] == x[1], right, np.where(x[1] == x[2], left, middle)).astype(np.float32)


Path = list[tuple[Int[np.ndarray, " cells"], Int[np.ndarray, " cells"]]]


def _most_at_once(grid: Grid, families: Sequence[Family]) -> int:
    """Models of some families that are followed side by side, 0 without any."""
    steps = itertools.zip_longest(*(_path(grid, family) for family in families), fillvalue=((), ()))
    both_ways = 2 if any(family.kick for family in families) else 1
    return both_ways * max((sum(len(cells) for cells, _ in now) for now in steps), default=0)


def _path(grid: Grid, family: Family) -> Path:
    """The cells that are reached with every step of a family, and those that they are reached from, itself at first."""
    values = grid.case.axes[family.along].table()[:, 0]
    number = np.moveaxis(np.arange(grid.n_cells).reshape(grid.shape), grid.dims.index(family.along), 0)
    number = number.reshape(len(values), -1)[np.argsort(values, kind="stable")]
    begin = int(np.argmin(np.abs(np.sort(values) - family.start)))
    path = [(number[begin], number[begin])]
    for distance in range(1, len(values)):
        points = [(begin + sign * distance, begin + sign * (distance - 1)) for sign in (-1, 1)]
        inside = [(to, source) for to, source in points if 0 <= to < len(values)]
        if inside:
            path.append(tuple(np.concatenate([number[k] for k in ends]) for ends in zip(*inside, strict=True)))
    return path


class Families(Stage):
    """The stage `families`: the case's families under the exact objective."""

    name, stem = "families", "family"
    doing = "following the families"
    labels = {
        "family": "solutions followed along an axis, each from weights of its own",
        "family_W": "weights of the family's solution",
        "family_b": "bias of the family's solution",
        "family_loss": "loss of the family's solution",
        "family_objective": "all terms that are minimised, of the family's solution",
        "family_grad_norm": "norm of the gradient at the family's solution, near 0 where it is a minimum",
        "family_slope": "derivative of what is minimised along the family's axis, at fixed weights",
        "family_norm": "norm of the feature's direction in the family's solution",
        "family_solution": "polytopes that the represented features of the family's solution form",
        "family_solution_deviation": "largest deviation of a component of the family's solution from its polytope",
    }

    @staticmethod
    def asked(case: Case) -> bool:
        return bool(case.families)

    @staticmethod
    def check(case: Case, problem: Problem) -> None:
        optimum_objectives(problem, case)
        starts(case)
        for name, family in case.families.items():
            if "n_hidden" in case.axes[family.along].names:
                raise SweepError(f"families.{name}.along: no solution can be followed to other numbers of dimensions")
            size = sum(array.size for array in jax.tree.leaves(problem.shapes()))
            if family.method == "newton" and size > MAX_NUMBERS:
                raise SweepError(
                    f"families.{name}.method: newton takes models of {MAX_NUMBERS} numbers, this has {size}"
                )

    def __init__(self, running: Running):
        self._running, self._refinement, self._starts = running, Refinement(running), starts(running.case)
        if running.case.train.objective == "exact":  # spares compiling for another size
            running.shares_chunks("polish", "train")
        families = running.case.families.values()
        self._newton, by_steps = (
            _most_at_once(running.grid, [family for family in families if (family.method == "newton") == newton])
            for newton in (True, False)
        )
        refinement = self._refinement
        if by_steps:
            running.chunk("follow", refinement.program, refinement.fine, by_steps, refinement.under(FOLLOW))

    def run(self, trained: Trainee) -> Found:
        grid, variables = self._running.grid, {}
        followed, dims = self.follow(trained), (*self._running.grid.dims, "family")
        loss, under = followed.loss, self._refinement.under(FOLLOW)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), followed.models)
        cell = np.repeat(np.arange(grid.n_cells, dtype=np.int32), loss.shape[1])
        if self._refinement.several_terms:
            variables["family_objective"] = (dims, grid.unflatten(loss))
            loss = self._refinement.loss(flat, under, cell, error=True).reshape(loss.shape)
        variables["family_loss"] = (dims, grid.unflatten(loss))
        gradient = self._refinement.gradient(flat, under, cell).reshape(loss.shape)
        variables["family_grad_norm"] = (dims, grid.unflatten(gradient))
        families, minimised = list(grid.case.families.values()), followed.loss
        along = slopes(grid, families, minimised, lambda cells: self._refinement.loss(flat, under, cells))
        variables["family_slope"] = (dims, grid.unflatten(along))
        for name, own in type(followed.models).dims.items():
            variables[f"family_{name}"] = ((*dims, *own), grid.unflatten(getattr(followed.models, name)))
        return Found(variables, {"family": list(self._running.case.families)})

    def follow(self, trained: Trainee) -> Followed:
        """Biases, where the model has them and weights are given, start at 0, those of features that are left out at
        their mean: a ReLU at 0 would be dead."""
        W, running, refinement, rounds, kicks = (
            self._starts,
            self._running,
            self._refinement,
            itertools.count(1),
            itertools.count(),
        )
        mean, _ = refinement.program.moments(running.cells.laws)
        families = list(running.case.families.values())
        is_best = np.array([family.W == BEST for family in families])
        strength = np.array([family.kick or 0.0 for family in families], np.float32)
        by_cell = np.where(np.isfinite(trained.loss), trained.loss, np.inf).reshape(running.grid.n_cells, -1)
        best = np.arange(len(trained.loss)).reshape(by_cell.shape)[np.arange(len(by_cell)), by_cell.argmin(-1)]

        def first(family: Int[np.ndarray, " models"], cell: Int[np.ndarray, " models"]) -> PyTree:
            numbers, one = np.arange(len(family), dtype=np.int32), np.ones(len(family), np.float32)
            models = refinement.program.initialise(running.case.seed, numbers[:, None], one, 0 * one, len(family))
            given = {"W": W[family]}
            if type(models).dims.get("b") == ("feature",):
                given["b"] = np.where(analysis.norm(W[family]) == 0, mean[cell], np.float32(0))
            models = jax.tree.map(np.array, with_arrays(models, given))
            for number in np.flatnonzero(is_best):
                found = best_among(int(number), cell[family == number])
                for kept, new in zip(jax.tree.leaves(models), jax.tree.leaves(found), strict=True):
                    kept[family == number] = new
            return models

        def best_among(number: int, cell: Int[np.ndarray, " cells"]) -> PyTree:
            """For every cell the best of its restarts and of those of some other cells, which may have found what it
            missed, each followed to where it comes to rest in the cell."""
            others = best[cell[np.unique(np.linspace(0, len(cell) - 1, _OTHERS).round().astype(int))]]
            own = np.arange(len(trained.loss)).reshape(by_cell.shape)[cell]
            tried = np.concatenate([own, np.tile(others, (len(cell), 1))], axis=1)
            models = jax.tree.map(lambda x: x[tried.ravel()], trained.models)
            where = np.repeat(cell, tried.shape[1]).astype(np.int32)
            found, loss = settle(models, np.full(len(where), number), where)
            loss = np.where(np.isfinite(loss), loss, np.inf).reshape(tried.shape)
            lowest = np.arange(len(cell)) * tried.shape[1] + loss.argmin(-1)
            return jax.tree.map(lambda x: x[lowest], found)

        newton = np.array([family.method == "newton" for family in families])

        def settle(
            models: PyTree, family: Int[np.ndarray, " models"], cell: Int[np.ndarray, " models"]
        ) -> tuple[PyTree, Float[np.ndarray, " models"]]:
            found, loss, number = jax.tree.map(np.array, models), np.zeros(len(cell), np.float32), next(rounds)
            for which in (newton[family], ~newton[family]):
                if not which.any():
                    continue
                own = jax.tree.map(lambda x, w=which: x[w], models)
                if newton[family][which].all():
                    under = refinement.under(FOLLOW)
                    refined, loss[which] = refinement.program.relax(own, under, cell[which], self._newton)
                else:
                    task = f"follow-{number}"
                    refined, loss[which] = refinement.run(task, "follow", FOLLOW, refinement.fine, own, cell[which])
                for kept, new in zip(jax.tree.leaves(found), jax.tree.leaves(refined), strict=True):
                    kept[which] = new
            return found, loss

        def refine(
            models: PyTree, family: Int[np.ndarray, " models"], cell: Int[np.ndarray, " models"]
        ) -> tuple[PyTree, Float[np.ndarray, " models"]]:
            """Kicked both ways, where a family is kicked, and the better one kept: at a kink of the loss a solution may
            cease to be a minimum on one side alone."""
            if not strength[family].any():
                return settle(models, family, cell)
            rng = np.random.default_rng([running.case.seed, _KICKS, next(kicks)])

            def kicked(x: np.ndarray) -> np.ndarray:
                """Weights, not biases: one that a kick makes negative may be that of an output that is then dead."""
                if x.ndim < 3:
                    return np.concatenate([x, x])
                by = strength[family].reshape(-1, *[1] * (x.ndim - 1)) * rng.standard_normal(x.shape[1:])
                return np.concatenate([x + by, x - by]).astype(x.dtype)

            found, loss = settle(jax.tree.map(kicked, models), np.tile(family, 2), np.tile(cell, 2))
            one, other = loss.reshape(2, -1)
            better = np.arange(len(cell)) + len(cell) * ~(one <= other)  # the other one of NaN
            return jax.tree.map(lambda x: x[better], found), loss[better]

        return follow(running.grid, first, refine)

    @staticmethod
    def derive(dataset: xr.Dataset, case: Case) -> Variables:
        if "family_W" not in dataset:
            return {}
        return {"family_norm": ((*case.axes, "family", "feature"), analysis.norm(dataset["family_W"].values))}
