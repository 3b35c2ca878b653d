"""The paths of families: along their axes from cell to cell, all at once, and how the loss changes along them."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, PyTree

from superjax.spec import Family
from superjax.spec.grid import Grid


class Followed(NamedTuple):
    """Weights with leaves (cells, families, ...), and the loss of each."""

    models: PyTree
    loss: Float[np.ndarray, "cells families"]


Start = Callable[[Int[np.ndarray, " models"], Int[np.ndarray, " models"]], PyTree]
Refine = Callable[
    [PyTree, Int[np.ndarray, " models"], Int[np.ndarray, " models"]], tuple[PyTree, Float[np.ndarray, " models"]]
]


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
        values, number = _rising(grid, family)
        for place, distance in enumerate((-1, 0, 1)):
            beside = np.clip(np.arange(len(values)) + distance, 0, len(values) - 1)
            cells[place, number, k], x[place, number, k] = number[beside], values[beside][:, None]
    below, above = (loss_in(cells[place].ravel()).reshape(loss.shape).astype(float) for place in (0, 2))
    here = loss.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (here - below) / (x[1] - x[0]), (above - here) / (x[2] - x[1])
        middle = ((x[2] - x[1]) * left + (x[1] - x[0]) * right) / (x[2] - x[0])
    return np.where(x[0] == x[1], right, np.where(x[1] == x[2], left, middle)).astype(np.float32)


Path = list[tuple[Int[np.ndarray, " cells"], Int[np.ndarray, " cells"]]]


def most_at_once(grid: Grid, families: Sequence[Family]) -> int:
    """Models of some families that are followed side by side, 0 without any."""
    steps = itertools.zip_longest(*(_path(grid, family) for family in families), fillvalue=((), ()))
    both_ways = 2 if any(family.kick for family in families) else 1
    return both_ways * max((sum(len(cells) for cells, _ in now) for now in steps), default=0)


def longest_path(grid: Grid, families: Sequence[Family]) -> int:
    """In how many rounds families are followed."""
    return max(len(_path(grid, family)) for family in families)


def _rising(grid: Grid, family: Family) -> tuple[Float[np.ndarray, " values"], Int[np.ndarray, "values others"]]:
    """The values of the axis of a family in order, and of each the cells that have it."""
    values = grid.case.axes[family.along].table()[:, 0]
    order = np.argsort(values, kind="stable")
    number = np.moveaxis(np.arange(grid.n_cells).reshape(grid.shape), grid.dims.index(family.along), 0)
    return values[order], number.reshape(len(values), -1)[order]


def _path(grid: Grid, family: Family) -> Path:
    """The cells that are reached with every step of a family, and those that they are reached from, itself at first."""
    values, number = _rising(grid, family)
    begin = int(np.argmin(np.abs(values - family.start)))
    path = [(number[begin], number[begin])]
    for distance in range(1, len(values)):
        points = [(begin + sign * distance, begin + sign * (distance - 1)) for sign in (-1, 1)]
        inside = [(to, source) for to, source in points if 0 <= to < len(values)]
        if inside:
            path.append(tuple(np.concatenate([number[k] for k in ends]) for ends in zip(*inside, strict=True)))
    return path
