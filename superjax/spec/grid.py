"""Named axes <-> a flat batch of cells.

A cell is one point of the grid that a case's axes span, the last axis fastest. `Grid` flattens and labels, and is
inverse to itself; `cells` writes out every number of every cell, ready for `vmap`.
"""

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from superjax.spec import Case
from superjax.spec.numbers import SMALLEST

HYPER = ("learning_rate", "weight_decay", "b1", "b2", "eps", "momentum", "clip_norm")


@dataclass(frozen=True)
class Grid:
    """The grid of one case: dimension names, and for every swept field its value along its dimension."""

    case: Case

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple(self.case.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.case.shape

    @property
    def n_cells(self) -> int:
        return math.prod(self.shape)

    @property
    def coordinates(self) -> dict[str, tuple[str, Float[np.ndarray, " points"]]]:
        """Coordinate name -> (dimension, values). A zipped axis has one dimension and several coordinates."""
        return {
            name: (dim, column)
            for dim, axis in self.case.axes.items()
            for name, column in zip(axis.coordinates(dim), axis.table().T, strict=True)
        }

    @cached_property
    def fields(self) -> dict[str, Float[np.ndarray, " cells"]]:
        """Path of every swept field -> its value in every cell."""
        flat = {}
        for dim, axis in self.case.axes.items():
            for path, column in zip(axis.names, axis.table().T, strict=True):
                along = [1] * len(self.shape)
                along[self.dims.index(dim)] = -1
                flat[path] = np.broadcast_to(column.reshape(along), self.shape).ravel()
        return flat

    def unflatten(self, flat: Shaped[np.ndarray, "cells ..."]) -> Shaped[np.ndarray, "..."]:
        """(cells, ...) -> (*shape, ...)."""
        return flat.reshape((*self.shape, *flat.shape[1:]))

    def flatten(self, labelled: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "cells ..."]:
        """(*shape, ...) -> (cells, ...)."""
        return labelled.reshape((self.n_cells, *labelled.shape[len(self.shape) :]))

    def numbers(self) -> dict[str, Any]:
        """Every number of every cell: `importance` and `density` of shape (cells, n_features), the rest (cells,) if
        swept and a scalar if not."""
        case, n = self.case, self.case.n_features
        importance = np.tile(case.importance_vector(), (self.n_cells, 1)).astype(float)
        if (ratio := self.fields.get("importance.ratio")) is not None:
            powers = ratio[:, None] ** np.arange(n)
            importance = np.where(powers.astype(np.float32) < SMALLEST, 0, powers)
        density = np.tile(case.density_vector(), (self.n_cells, 1)).astype(float)
        self._set("importance", importance)
        self._set("data.density", density)
        scalars = {name: self.fields.get(f"train.{name}", self._default(name)) for name in HYPER}
        init_std = self.fields.get("model.init_std", case.model.init_std)
        correlation = np.broadcast_to(self.fields.get("data.correlation", case.data.correlation), self.n_cells)
        return {
            "importance": importance, "density": density, "correlation": correlation, "init_std": init_std, **scalars
        }  # fmt: skip

    def _default(self, name: str) -> float:
        value = getattr(self.case.train, name)
        return np.inf if value is None else float(value)

    def _set(self, path: str, entries: np.ndarray) -> None:
        """Write a swept per-feature field, the whole first, then single entries."""
        if path in self.fields:
            entries[:] = self.fields[path][:, None]
        for field, values in self.fields.items():
            if match := re.fullmatch(re.escape(path) + r"\[(-?\d+)\]", field):
                entries[:, int(match[1])] = values
