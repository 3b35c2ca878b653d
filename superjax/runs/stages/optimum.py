"""The best solution of every cell: neighbour transplant and polish.

Restarts alone are not the optimum: in the worst cells a quarter of them reach it. But a good solution of one cell is
a good start in the next. Each cell keeps its best few solutions of different phases; every new one is tried in the
cells beside it and a few cells further on, polished there if it promises to win, and kept where it wins, until nothing
changes.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int, PyTree, UInt64

from superjax import analysis
from superjax.errors import SweepError
from superjax.problem.expectation import Objective
from superjax.problem.problem import Problem
from superjax.runs.chunks import Tried
from superjax.runs.problems import exchangeable, laws_of, optimum_objectives, problem_of
from superjax.runs.stages.base import Found, Running, Stage, Trainee, Variables
from superjax.runs.stages.refine import Refinement
from superjax.spec import Case, Train
from superjax.spec.grid import Grid

POLISH = Train(steps=100, learning_rate=0.01)
FINISH = Train(steps=500, learning_rate=0.01)

KEPT = 3  # solutions of different phases per cell
STUCK = 0.01  # solutions that are stuck at kinks, as a part of all cells, from which they are trained by gradient steps
MARGIN = 3e-3  # relative excess in loss up to which a transplant is worth polishing
STRIDES = (1, 8)  # cells from a solution to where it is tried
SEARCH = 10.0  # times the seconds in which one solution of every cell is trained to the end, by the packaged sweeps
MIN_GAIN = 1e-5  # relative gain in loss for which a solution is passed on again


class Solutions(NamedTuple):
    """A list of solutions, each of one cell: weights with leaves (solutions, ...), loss, and what its phases are."""

    models: PyTree
    cell: Int[np.ndarray, " solutions"]
    loss: Float[np.ndarray, " solutions"]
    signature: UInt64[np.ndarray, " solutions"]

    def take(self, which: Int[np.ndarray, " chosen"] | Bool[np.ndarray, " solutions"]) -> "Solutions":
        return jax.tree.map(lambda x: x[which], self)


class Optimum(NamedTuple):
    """Best solution of every cell and its best solution in other phases, leaves (cells, ...); NaN if none was found."""

    models: PyTree
    loss: Float[np.ndarray, " cells"]
    other_models: PyTree
    other_loss: Float[np.ndarray, " cells"]
    rounds: int


Solve = Callable[[PyTree, Int[np.ndarray, " models"]], Solutions]


def find_optimum(
    grid: Grid, found: Solutions, score: Solve, polish: Solve, finish: Solve, settles: bool = False
) -> Optimum:
    """Improve the solutions `found` by training until no transplant helps, then train those that are left to the end.

    Where polishing `settles` solutions, no more is to be done. Else one may be polished in other phases than it ends
    in. It then stood for its phases in place of one that stays in them, so those of the cells beside are tried once
    more. They are trained to the end at once: polished first, some do not win that would.

    Args:
        found: solutions of any cells; those whose loss is not finite are ignored.
        score: what given weights are in given cells; `polish` trains them a little there, `finish` to convergence.
    """
    pool, _ = _merge(_nothing(found), found)
    if not len(pool.cell):
        return _summary(grid, pool, 0)
    if settles:
        pool = _settled(_nothing(pool), pool, polish)
    neighbours, fresh = _neighbours(grid), pool
    rounds = 0
    while len((transplants := _transplants(neighbours, pool, fresh, score)).cell):
        rounds += 1
        pool, fresh = _merge(pool, polish(transplants.models, transplants.cell))
    if settles:
        return _summary(grid, _finished(pool, finish), rounds)
    pool = _settled(_nothing(pool), pool, finish)
    if len((transplants := _transplants(neighbours, pool, pool, score)).cell):
        pool = _settled(pool, transplants, finish)
    return _summary(grid, pool, rounds)


def _transplants(neighbours: list[np.ndarray], pool: Solutions, fresh: Solutions, score: Solve) -> Solutions:
    """The `fresh` solutions in the cells beside them, where they promise to improve the pool."""
    targets = np.concatenate([table[fresh.cell] for table in neighbours]) if neighbours else np.array([], int)
    source = np.tile(np.arange(len(fresh.cell)), len(neighbours))
    inside = targets >= 0
    if not inside.any():
        return _nothing(pool)
    return _promising(pool, score(jax.tree.map(lambda x: x[source[inside]], fresh.models), targets[inside]))


def _settled(pool: Solutions, new: Solutions, finish: Solve) -> Solutions:
    """The pool with solutions trained to the end; what they were before counts only where training made them worse."""
    ended = finish(new.models, new.cell)
    worse = ~(ended.loss <= new.loss)
    pool, _ = _merge(pool, _concatenate(new.take(worse), ended))
    return pool


def _nothing(like: Solutions) -> Solutions:
    return like.take(np.array([], int))


def _promising(pool: Solutions, transplants: Solutions) -> Solutions:
    """The best of the transplants of equal (cell, phases), where it is not clearly worse than what is known there.

    Untrained in its new cell, a transplant of the same solution is off by the square of the distance only.
    """
    known = pool.take(np.isin(pool.cell, transplants.cell))
    both = _concatenate(known, transplants)
    margin = np.where(np.arange(len(both.cell)) < len(known.cell), 1 + MARGIN, 1)
    order = np.lexsort((both.loss * margin, both.signature, both.cell))
    best = order[_changes(both.cell[order], both.signature[order])]
    return both.take(best[best >= len(known.cell)])


def _merge(pool: Solutions, new: Solutions) -> tuple[Solutions, Solutions]:
    """The best solution of every (cell, phases), at most KEPT per cell, and those of them that are new or clearly
    better than before."""
    concerned = np.isin(pool.cell, new.cell)
    untouched, pool = pool.take(~concerned), pool.take(concerned)
    known = len(pool.cell)
    both = _concatenate(pool, new)
    both = both._replace(loss=np.where(np.isfinite(both.loss), both.loss, np.inf))
    order = np.lexsort((both.loss, both.signature, both.cell))
    starts = _changes(both.cell[order], both.signature[order])
    best = order[starts]
    # the previous loss of the same (cell, phases): the pool holds at most one
    group = np.cumsum(starts) - 1
    before = np.full(len(best), np.inf)
    old = order < known
    before[group[old]] = both.loss[order[old]]
    keep = _lowest(both.cell[best], both.loss[best], KEPT)
    keep = keep[np.isfinite(both.loss[best][keep])]
    chosen = best[keep]
    gained = both.loss[chosen] < before[keep] * (1 - MIN_GAIN)
    return _concatenate(untouched, both.take(chosen)), both.take(chosen[gained & (chosen >= known)])


def _finished(pool: Solutions, finish: Solve) -> Solutions:
    """The two best solutions of every cell trained to the end, and where they end in the same phases others as well."""
    order = _lowest(pool.cell, pool.loss, KEPT)
    pool, second = pool.take(order), _lowest(pool.cell[order], pool.loss[order], 2)
    ended = _settled(_nothing(pool), pool.take(second), finish)
    cells, count = np.unique(ended.cell, return_counts=True)
    others = np.isin(pool.cell, cells[count < 2])
    others[second] = False
    return _settled(ended, pool.take(others), finish) if others.any() else ended


def _lowest(cell: np.ndarray, loss: np.ndarray, count: int) -> Int[np.ndarray, " lowest"]:
    """Which losses are among the lowest of their cell, cell by cell and lowest first."""
    order = np.lexsort((loss, cell))
    first = np.flatnonzero(_changes(cell[order]))
    rank = np.arange(len(order)) - np.repeat(first, np.diff([*first, len(order)]))
    return order[rank < count]


def _concatenate(*solutions: Solutions) -> Solutions:
    return jax.tree.map(lambda *parts: np.concatenate(parts), *solutions)


def _changes(*sorted_keys: np.ndarray) -> Bool[np.ndarray, " entries"]:
    """True at the first entry of every run of equal keys."""
    changed = np.zeros(len(sorted_keys[0]), bool)
    changed[:1] = True
    for key in sorted_keys:
        changed[1:] |= key[1:] != key[:-1]
    return changed


def _neighbours(grid: Grid) -> list[Int[np.ndarray, " cells"]]:
    """For each direction and stride the neighbouring cell of every cell, -1 where the grid ends.

    A direction is one along an axis whose values, put in order by the first of its fields, all rise or all fall;
    scattered points have no neighbours.
    """
    number = np.arange(grid.n_cells).reshape(grid.shape)
    tables = []
    for k, axis in enumerate(grid.case.axes.values()):
        values = axis.table()
        in_order = np.arange(len(values))
        if not _monotone(values):
            in_order = np.argsort(values[:, 0], kind="stable")
        if not _monotone(values[in_order]):
            continue
        place = np.argsort(in_order)  # of every point among those in order
        along = np.moveaxis(number, k, 0)[in_order]
        for stride in STRIDES:
            up, down = slice(stride, None), slice(None, -stride)
            for to, source in ((up, down), (down, up)):
                table = np.full_like(along, -1)
                table[to] = along[source]
                tables.append(np.moveaxis(table[place], 0, k).ravel())
    return tables


def _monotone(values: Float[np.ndarray, "points fields"]) -> bool:
    steps = np.diff(values, axis=0)
    return bool(((steps > 0).all(0) | (steps < 0).all(0)).all())


def _summary(grid: Grid, pool: Solutions, rounds: int) -> Optimum:
    order = np.lexsort((pool.loss, pool.cell))
    first = _changes(pool.cell[order])
    second = np.roll(first, 1) & ~first

    def per_cell(which, values):
        out = np.full((grid.n_cells, *values.shape[1:]), np.nan, values.dtype)
        out[pool.cell[order[which]]] = values[order[which]]
        return out

    return Optimum(
        jax.tree.map(lambda x: per_cell(first, x), pool.models),
        per_cell(first, pool.loss),
        jax.tree.map(lambda x: per_cell(second, x), pool.models),
        per_cell(second, pool.loss),
        rounds,
    )


class Optima(Stage):
    """The stage `optimum`: neighbour transplant under the exact objective, whatever the restarts were trained with."""

    name = stem = "optimum"
    doing = "searching the optimum"
    labels = {
        "optimum_W": "weights of the best solution found",
        "optimum_b": "bias of the best solution found",
        "optimum_loss": "loss of the best solution found",
        "optimum_objective": "all terms that are minimised, of the best solution found",
        "optimum_other_W": "weights of the best solution found whose phases differ from the optimum's",
        "optimum_other_b": "bias of the best solution found whose phases differ from the optimum's",
        "optimum_other_loss": "loss of the best solution found whose phases differ from the optimum's",
        "optimum_other_objective": "all terms, of the best solution found whose phases differ from the optimum's",
        "optimum_norm": "norm of the feature's direction in the best solution found",
        "optimum_interference": "interference of the feature in the best solution found",
        "optimum_phase": "how the feature is represented in the best solution found",
        "optimum_margin": "margin of optimum_phase",
        "gap": "(optimum_other_loss - optimum_loss) / optimum_loss",
        "success": f"fraction of restarts whose loss is within {analysis.REACHED:.0%} of the optimum's",
        "agreement": "fraction of restarts with the phases of the optimum, up to interchangeable features",
    }

    @staticmethod
    def asked(case: Case) -> bool:
        return case.optimum

    @staticmethod
    def check(case: Case, problem: Problem) -> None:
        optimum_objectives(problem, case)

    def __init__(self, running: Running):
        self._running, self._refinement = running, Refinement(running)
        if not self._refinement.settles or jax.default_backend() != "cpu":  # where forms are to be chosen
            self._choose_chunks()

    def _choose_chunks(self) -> None:
        running, refinement = self._running, self._refinement
        if running.case.train.objective == "exact":  # spares compiling for another size
            running.shares_chunks("polish", "train", KEPT * running.grid.n_cells)
        running.chunk(
            "polish", refinement.program, refinement.search, running.grid.n_cells, refinement.under(POLISH),
            refinement.fine,
        )  # fmt: skip

    def tried(self, untrained: Trainee) -> Tried:
        """One solution of every cell trained to the end, times what searches took beside that (`SEARCH`)."""
        self._choose_chunks()
        first = np.arange(0, len(untrained.cell), self._running.case.restarts)
        models = jax.tree.map(lambda x: x[first], untrained.models)
        fine = self._refinement.fine
        found = self._refinement.tried("polish", FINISH, fine, models, untrained.cell[first])
        return found._replace(training=SEARCH * found.training)

    def run(self, trained: Trainee) -> Found:
        grid, dims = self._running.grid, type(trained.models).dims
        optimum, variables = self.find(trained), {}
        for prefix, models, loss in (
            ("optimum", optimum.models, optimum.loss),
            ("optimum_other", optimum.other_models, optimum.other_loss),
        ):
            if self._refinement.several_terms:
                variables[f"{prefix}_objective"] = (grid.dims, grid.unflatten(loss))
                cell = np.arange(grid.n_cells, dtype=np.int32)
                loss = self._refinement.loss(models, self._refinement.under(FINISH), cell, error=True)
            variables[f"{prefix}_loss"] = (grid.dims, grid.unflatten(loss))
            for name, own in dims.items():
                variables[f"{prefix}_{name}"] = ((*grid.dims, *own), grid.unflatten(getattr(models, name)))
        return Found(variables)

    def find(self, trained: Trainee) -> Optimum:
        """The best solution of every cell."""
        running, refinement = self._running, self._refinement
        importance, alike, size = exchangeable(running.problem, running.cells.laws)

        def solutions(models: PyTree, cell: Int[np.ndarray, " models"], loss) -> Solutions:
            phase, _ = analysis.classify(models.W, **running.case.phases.thresholds())
            return Solutions(models, cell, loss, analysis.phase_signature(phase, importance[cell], alike[cell], size))

        def score(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            return solutions(models, cell, refinement.loss(models, refinement.under(POLISH), cell))

        def polish(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            return moved(f"polish-{next(rounds)}", POLISH, refinement.search, models, cell)

        def finish(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            return moved(f"finish-{next(finishes)}", FINISH, refinement.fine, models, cell)

        def moved(task: str, train: Train, objective: Objective, models: PyTree, cell: np.ndarray) -> Solutions:
            found, loss, left = jax.tree.map(np.array, models), np.full(len(cell), np.inf), np.ones(len(cell), bool)
            if refinement.settles:
                found, loss, left = refinement.settle(task, models, cell, thoroughly=train is FINISH)
            if not refinement.settles or left.sum() >= STUCK * running.grid.n_cells:
                self._choose_chunks()
                own = jax.tree.map(lambda x: x[left], models)
                trained, reached = refinement.run(f"{task}-trained", "polish", train, objective, own, cell[left])
                _put_better(found, loss, left, trained, reached)
            return solutions(found, cell, loss)

        rounds, finishes = itertools.count(1), itertools.count(1)
        found = solutions(trained.models, trained.cell, trained.loss)
        return find_optimum(running.grid, found, score, polish, finish, refinement.settles)

    @staticmethod
    def derive(dataset: xr.Dataset, case: Case) -> Variables:
        if "optimum_W" not in dataset:
            return {}
        grid = Grid(case)
        thresholds = case.phases.thresholds()
        best = analysis.measure(dataset["optimum_W"].values, **thresholds)
        phase, _ = analysis.classify(dataset["W"].values, **thresholds)
        importance, alike, size = _exchangeable(case, grid)
        signature = analysis.phase_signature(phase, importance[..., None, :], alike[..., None, :], size)
        reference = analysis.phase_signature(best.phase, importance, alike, size)
        what = "objective" if "objective" in dataset else "loss"
        loss, optimum_loss = dataset[what].values, dataset[f"optimum_{what}"].values
        least = np.finfo(np.float32).tiny  # of a loss by which is divided: it may be 0
        gap = (dataset[f"optimum_other_{what}"].values - optimum_loss) / np.maximum(optimum_loss, least)
        per_feature = (*grid.dims, "feature")
        return {
            "optimum_norm": (per_feature, best.norm),
            "optimum_interference": (per_feature, best.interference),
            "optimum_phase": (per_feature, best.phase),
            "optimum_margin": (per_feature, best.margin),
            "gap": (grid.dims, gap),
            "success": (grid.dims, analysis.reached(loss, optimum_loss).mean(-1).astype(np.float32)),
            "agreement": (grid.dims, analysis.agreement(signature, reference).astype(np.float32)),
        }


def _put_better(
    models: PyTree, loss: Float[np.ndarray, " models"], where: Bool[np.ndarray, " models"], others: PyTree,
    other_loss: Float[np.ndarray, " others"],
) -> None:  # fmt: skip
    """Replace some of the models by others, where those are lower."""
    lower = other_loss < loss[where]
    which = np.flatnonzero(where)[lower]
    for kept, new in zip(jax.tree.leaves(models), jax.tree.leaves(others), strict=True):
        kept[which] = new[lower]
    loss[which] = other_loss[lower]


def _exchangeable(case: Case, grid: Grid) -> tuple[np.ndarray, np.ndarray, int]:
    """Which features may be exchanged, in the shape of the grid; none if a distribution of the user's is gone."""
    try:
        problem = problem_of(case)
    except SweepError:
        numbers = np.arange(case.n_features, dtype=np.float32)
        return numbers, numbers, 1
    importance, alike, size = exchangeable(problem, laws_of(problem, grid))
    return grid.unflatten(importance), grid.unflatten(alike), size
