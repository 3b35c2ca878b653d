"""More restarts or points for a finished run: its models are taken over, only the others are trained.

A model's numbers follow from those of its cell, its restart and its stream, whatever others there are. So a model of
the finished run is one of the larger sweep where all of these are equal, bit for bit. What a cell has from others (the
optimum, families) is not taken over.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Int, PyTree
from pydantic import ValidationError

from superjax.engine.train import Evaluation
from superjax.problem.problem import Problem
from superjax.runs import reading
from superjax.runs.chunks import Scored, Trained
from superjax.runs.netcdf import open_dataset
from superjax.spec import Case, SweepError
from superjax.spec.parts import with_own_options


class Earlier(NamedTuple):
    """The finished run of a case that has grown since: the case as it was, and its dataset."""

    case: Case
    dataset: xr.Dataset

    @property
    def loss_error(self) -> float:
        """The largest relative error of its losses."""
        return float(self.dataset["loss"].attrs["loss_error"])

    def scored(self, problem: Problem, model: PyTree, snapshots: int) -> Scored:
        """Its models as they were trained and evaluated, leaves (models, ...), with so many snapshots.

        `model` has the types and shapes of one model. Of the second loss nothing is known any more but its largest
        deviation, `loss_error`: here it is the loss.
        """
        loss = self._flat("loss")
        second = self._flat("test_loss") if problem.data.points else loss
        terms = np.stack([self._flat(f"term_{name}") for name in problem.names], axis=-1) if problem.names[1:] else None
        evaluation = Evaluation(loss, self._flat("feature_loss", 1), self._flat("grad_norm"), second, terms)
        kept = self._models(model, "_snapshots", 1) if snapshots else None
        losses = self._flat("loss_snapshots", 1) if snapshots else None
        return Scored(Trained(self._models(model), self._flat("diverged_at"), kept), (evaluation, losses))

    def models(self, model: PyTree) -> PyTree:
        """Its models as they were trained, leaves (models, ...); `model` has the types and shapes of one."""
        return self._models(model)

    def _models(self, model: PyTree, suffix: str = "", more: int = 0) -> PyTree:
        names = {id(getattr(model, name)): name for name in type(model).dims}
        return jax.tree.map(lambda own: self._flat(f"{names[id(own)]}{suffix}", own.ndim + more), model)

    def _flat(self, name: str, own: int = 0) -> np.ndarray:
        """A variable as (models, ...), where a model has `own` dimensions of it."""
        values = self.dataset[name].values
        return values.reshape(-1, *values.shape[values.ndim - own :])


def open_earlier(path: Path) -> Earlier:
    """The finished run whose dataset is at `path`. Raises SweepError if it cannot be read, or is none."""
    dataset = open_dataset(path)
    try:
        tree = json.loads(dataset.attrs.get("case", ""))
        case = with_own_options(Case, tree).model_validate(tree)
    except (ValidationError, ValueError, AttributeError) as error:
        raise SweepError(f"{path}: does not say of which case it is") from error
    if why := reading.misfit(dataset, case):
        raise SweepError(f"{path}: is not of the case that it names, {why}")
    return Earlier(case, dataset)


def matched(
    earlier: Mapping[str, Any], earlier_restarts: int, numbers: Mapping[str, Any], restarts: int
) -> Int[np.ndarray, " models"]:
    """For every model of a case the number of the earlier one of equal numbers and restart, -1 if there is none.

    `numbers` are arrays (cells, ...), and so are the `earlier` ones."""
    cells = {row: number for number, row in enumerate(_rows(earlier))}
    cell = np.array([cells.get(row, -1) for row in _rows(numbers)])[:, None]
    restart = np.arange(restarts)
    return np.where((cell >= 0) & (restart < earlier_restarts), cell * earlier_restarts + restart, -1).ravel()


def same_models(
    earlier: Mapping[str, Any], earlier_restarts: int, numbers: Mapping[str, Any], restarts: int
) -> Int[np.ndarray, " models"]:
    """For every model of a case the number of the earlier one that is the same, -1 if there is none.

    `numbers` are all that decide the training of a cell, as for `matched`. Raises SweepError if an earlier model is not
    among those of the case: it would be lost.
    """
    same = matched(earlier, earlier_restarts, numbers, restarts)
    total = len(set(_rows(earlier))) * earlier_restarts
    if lost := total - len(np.unique(same[same >= 0])):
        fewer = f"  restarts={earlier_restarts} has those that are trained; the sweep asks for {restarts}\n"
        raise SweepError(
            f"{lost:,} of the {total:,} models that are trained are not in the sweep any more\n"
            f"{fewer if restarts < earlier_restarts else ''}"
            "  start over with --fresh, or choose another folder with --out"
        )
    return same


def _rows(numbers: Mapping[str, Any]) -> list[bytes]:
    """The numbers of every cell as bytes."""
    arrays = [np.ascontiguousarray(array) for array in jax.tree.leaves(numbers)]
    columns = [array.reshape(len(array), -1).view(np.uint8) for array in arrays]
    table = np.concatenate(columns, axis=1)
    content, width = table.tobytes(), table.shape[1]
    return [content[start : start + width] for start in range(0, len(content), width)]


def mixed(same: Int[np.ndarray, " models"], earlier: Scored, new: Scored | None) -> Scored:
    """All models in their order: the earlier ones that are the `same`, and the new ones in place of the others."""
    old = same >= 0

    def merge(before: np.ndarray, now: np.ndarray | None) -> np.ndarray:
        whole = np.empty((len(same), *before.shape[1:]), before.dtype)
        whole[old] = before[same[old]]
        if now is not None:
            whole[~old] = now
        return whole

    if new is None:
        return jax.tree.map(lambda before: merge(before, None), earlier)
    return jax.tree.map(merge, earlier, new)
