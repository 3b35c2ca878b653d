"""Training that goes on from the models of a finished run, under new settings.

It is another training, not the end of the first: the optimiser starts anew, and so does the schedule. A longer first
training would be no continuation of a shorter one either, since schedules and what the exact loss is taken with depend
on the number of steps.
"""

from pathlib import Path

import numpy as np
from jaxtyping import PyTree

from superjax.disk.files import checksum
from superjax.errors import SweepError, clip
from superjax.problem.problem import Problem
from superjax.runs.growth import Earlier, matched, open_earlier
from superjax.runs.problems import laws_of
from superjax.spec import Case
from superjax.spec.grid import Grid

STARTED_FROM = "started_from"  # attribute of a dataset: the folder, and the checksum of the dataset there


def dataset_of(name: str, case: Case) -> Path:
    """The dataset that a case starts from: that of its name, or the only one there is."""
    folder = Path(case.start_from).expanduser()
    path, there = folder / f"{name}.nc", sorted(folder.glob("*.nc"))
    return there[0] if len(there) == 1 and path not in there else path


def starting_weights(name: str, case: Case, problem: Problem, model: PyTree) -> tuple[dict[str, np.ndarray], str]:
    """The weights that all models of a case start from, by array, and the checksum of the dataset that has them.
    Raises SweepError if there is no such run, or if it has no model for one of the case."""
    path, where = dataset_of(name, case), f"{name}: start_from = {clip(case.start_from)}"
    if not path.is_file():
        if not path.parent.is_dir():
            raise SweepError(f"{where}: there is no folder {path.parent.absolute()}")
        there = ", ".join(sorted(file.name for file in path.parent.glob("*.nc"))) or "no dataset"
        raise SweepError(f"{where}: must be the folder of a finished run with a case {name}; it has {clip(there, 300)}")
    earlier = open_earlier(path)
    arrays = type(model).dims
    for array in arrays:
        there = earlier.dataset.get(array)
        if there is None or there.shape[len(there.shape) - len(arrays[array]) :] != getattr(model, array).shape:
            raise SweepError(f"{where}: {path} has another model, without {array} {getattr(model, array).shape}")
    before, now = ({"laws": laws_of(problem, Grid(one)), "m": _n_hidden(one)} for one in (earlier.case, case))
    same, restarts = matched(before, earlier.case.restarts, now, case.restarts), earlier.case.restarts
    if case.restarts > restarts:
        raise SweepError(
            f"{where}: {path} has {restarts} restarts, this sweep has {case.restarts}; give that run more first"
        )
    if missing := int((same < 0).sum()) // case.restarts:
        raise SweepError(
            f"{where}: {missing:,} of {len(same) // case.restarts:,} cells are not in {path}\n"
            "  every point needs one there of equal importances, densities and other numbers of the problem"
        )
    models = earlier.models(model)
    return {array: np.asarray(getattr(models, array))[same] for array in arrays}, checksum(path)


def check_same_start(name: str, case: Case, earlier: Earlier | None, checksum: str) -> None:
    """Raise SweepError if the models that are taken over started from other weights than the new ones will."""
    if earlier is not None and not str(earlier.dataset.attrs.get(STARTED_FROM)).endswith(checksum):
        raise SweepError(
            f"{name}: start_from = {case.start_from} has other models now than when this run began\n"
            "  start over with --fresh, or choose another folder with --out"
        )


def _n_hidden(case: Case) -> np.ndarray:
    """How many hidden dimensions every cell has."""
    grid = Grid(case)
    return np.broadcast_to(np.asarray(grid.fields.get("n_hidden", case.n_hidden), float), grid.n_cells)
