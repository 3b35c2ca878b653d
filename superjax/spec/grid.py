"""Named axes <-> a flat batch of cells.

A cell is one point of the grid that a case's axes span, the last axis fastest. `Grid` flattens and labels, and is
inverse to itself; `numbers` writes out every number of every cell, ready for `vmap`.
"""

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from superjax.problem.members import own_options
from superjax.problem.numbers import SMALLEST
from superjax.problem.options import Powers, is_number
from superjax.spec.case import Case, lookup_field
from superjax.spec.trees import Keys

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
        """Every number of every cell by its path in the sweep file, of the optimiser by its name: importance, densities
        and other fields with a number for every feature of shape (cells, n_features); the other numbers of a problem
        (cells,); the rest (cells,) if swept and a scalar if not."""
        case = self.case
        found: dict[str, Any] = {".".join(path): self._vectors(path) for path in case.per_feature()}
        for part in "data", "target":
            found |= self._scalars((part,), getattr(case, part).kind, getattr(case, part))
        for name, kind in case.term_kinds().items():
            found |= self._scalars(("terms", name), kind, case.terms.get(name))
        found["model.init_std"] = self.fields.get("model.init_std", case.model.init_std)
        found["model.init_bias"] = self.fields.get("model.init_bias", case.model.init_bias)
        return found | {name: self.fields.get(f"train.{name}", self._default(name)) for name in HYPER}

    def model_numbers(self) -> dict[str, Float[np.ndarray, " cells"]]:
        """The numbers of the options of the model by name, (cells,). Raises SweepError if it cannot be imported."""
        found = self._scalars(("model",), self.case.model.kind, self.case.model)
        return {name.removeprefix("model."): values for name, values in found.items()}

    def _scalars(self, path: Keys, kind: str, table: Any) -> dict[str, Float[np.ndarray, " cells"]]:
        """The numbers of the options of a member, (cells,)."""
        options = own_options(path[0], kind, table)
        return {
            ".".join((*path, name)): np.broadcast_to(
                np.asarray(self.fields.get(".".join((*path, name)), getattr(options, name)), float), self.n_cells
            )
            for name, field in type(options).model_fields.items()
            if is_number(field)
        }

    def _vectors(self, path: Keys) -> Float[np.ndarray, "cells entries"]:
        """A field with a number for every feature in every cell: the whole or its power law first, then single
        entries."""
        text, size, value = ".".join(path), self.case.size_of(path), lookup_field(self.case, path)
        entries = np.tile(self.case.vector(*path), (self.n_cells, 1)).astype(float)
        law = {name: self.fields.get(f"{text}.{name}") for name in Powers.model_fields}
        if isinstance(value, Powers) and any(column is not None for column in law.values()):
            place = np.arange(size)
            ratio, zipf, first = (self._law(value, name, law[name]) for name in ("ratio", "zipf", "first"))
            powers = ratio[:, None] ** place if ratio is not None else (place + 1.0) ** -zipf[:, None]
            powers = powers if law["first"] is None and value.first == 1 else first[:, None] * powers
            entries = np.where(powers.astype(np.float32) < SMALLEST, 0, powers)
        if text in self.fields:
            entries[:] = self.fields[text][:, None]
        for field, values in self.fields.items():
            if match := re.fullmatch(re.escape(text) + r"\[(-?\d+)\]", field):
                entries[:, int(match[1])] = values
        return entries

    def _law(self, value: Powers, name: str, swept: np.ndarray | None) -> Any:
        """One number of a power law in every cell, None if the law has it not."""
        given = getattr(value, name)
        return None if given is None else np.full(self.n_cells, given) if swept is None else swept

    def _default(self, name: str) -> float:
        value = getattr(self.case.train, name)
        return np.inf if value is None else float(value)
