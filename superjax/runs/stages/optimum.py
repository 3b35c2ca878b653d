"""The best solution of every cell: neighbour transplant and polish.

Restarts alone are not the optimum: in the worst cells a quarter of them reach it. But a good solution of one cell is
a good start in the next. Each cell keeps its best few solutions of different phases; every new one is tried in the
cells beside it and a few cells further on, polished there if it promises to win, and kept where it wins, until nothing
changes.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, PyTree, UInt64

from superjax.spec.grid import Grid

KEPT = 3  # solutions of different phases per cell
MARGIN = 3e-3  # relative excess in loss up to which a transplant is worth polishing
STRIDES = (1, 8)  # cells from a solution to where it is tried
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


def find_optimum(grid: Grid, found: Solutions, score: Solve, polish: Solve, finish: Solve) -> Optimum:
    """Improve the solutions `found` by training until no transplant helps.

    Args:
        found: solutions of any cells; those whose loss is not finite are ignored.
        score: what given weights are in given cells; `polish` trains them a little there, `finish` to convergence.
    """
    pool, _ = _merge(_nothing(found), found)
    if not len(pool.cell):
        return _summary(grid, pool, 0)
    neighbours, fresh = _neighbours(grid), pool
    rounds = 0
    while True:
        targets = np.concatenate([table[fresh.cell] for table in neighbours]) if neighbours else np.array([], int)
        source = np.tile(np.arange(len(fresh.cell)), len(neighbours))
        inside = targets >= 0
        if not inside.any():
            break
        transplants = score(jax.tree.map(lambda x, i=source[inside]: x[i], fresh.models), targets[inside])
        transplants = _promising(pool, transplants)
        if not len(transplants.cell):
            break
        rounds += 1
        pool, fresh = _merge(pool, polish(transplants.models, transplants.cell))
    pool, _ = _merge(pool, finish(pool.models, pool.cell))
    return _summary(grid, pool, rounds)


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
    rank_order = np.lexsort((both.loss[best], both.cell[best]))
    cells = both.cell[best][rank_order]
    first = np.flatnonzero(_changes(cells))
    rank = np.arange(len(cells)) - np.repeat(first, np.diff([*first, len(cells)]))
    keep = rank_order[(rank < KEPT) & np.isfinite(both.loss[best][rank_order])]
    chosen = best[keep]
    gained = both.loss[chosen] < before[keep] * (1 - MIN_GAIN)
    return _concatenate(untouched, both.take(chosen)), both.take(chosen[gained & (chosen >= known)])


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
