"""Families of solutions, each followed along an axis from weights of its own.

A local minimum moves as the axis does, and so far as it remains one it can be followed: the weights of one cell are
the start of the next. So the losses of two kinds of solution can be compared where training would only find one.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, PyTree

from superjax import analysis
from superjax.spec import Case, Family, SweepError
from superjax.spec.grid import Grid


class Followed(NamedTuple):
    """Weights with leaves (cells, families, ...), and the loss of each."""

    models: PyTree
    loss: Float[np.ndarray, "cells families"]


Start = Callable[[Int[np.ndarray, " models"], Int[np.ndarray, " models"]], PyTree]
Refine = Callable[[PyTree, Int[np.ndarray, " models"]], tuple[PyTree, Float[np.ndarray, " models"]]]


def starts(case: Case) -> Float[np.ndarray, "families n_hidden n_features"]:
    """The weights from which the families of a case start. Raises SweepError if there are no such solutions."""
    found = []
    for name, family in case.families.items():
        given = family.W
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
        refine: weights and their cells -> weights trained there, and their losses.
    """
    paths = [_path(grid, family) for family in grid.case.families.values()]
    shape = (grid.n_cells, len(paths))
    models, loss = None, np.zeros(shape, np.float32)
    for step in range(max(map(len, paths))):
        now = [(number, *path[step]) for number, path in enumerate(paths) if step < len(path)]
        family = np.concatenate([np.full(len(cells), number) for number, cells, _ in now])
        cell, before = (np.concatenate(arrays) for arrays in list(zip(*now, strict=True))[1:])
        given = first(family, cell) if models is None else jax.tree.map(lambda x, i=(before, family): x[i], models)
        found, loss[cell, family] = refine(given, cell.astype(np.int32))
        if models is None:
            models = jax.tree.map(lambda x: np.zeros((*shape, *x.shape[1:]), x.dtype), found)
        for kept, new in zip(jax.tree.leaves(models), jax.tree.leaves(found), strict=True):
            kept[cell, family] = new
    return Followed(models, loss)


def _path(grid: Grid, family: Family) -> list[tuple[Int[np.ndarray, " cells"], Int[np.ndarray, " cells"]]]:
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
