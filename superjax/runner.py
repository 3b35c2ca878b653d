"""Runs the cases of a sweep: cells and restarts into models, models trained and evaluated, everything labelled."""

import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, Int, PyTree
from tqdm.auto import tqdm

from superjax import analysis
from superjax.data import KINDS
from superjax.dataset import assemble
from superjax.engine import Batch, Program, Shape, program, schedule_factors
from superjax.grid import HYPER, Grid
from superjax.loss import Objective, Stage, evaluation_objectives, optimum_objectives, training_stages
from superjax.models import check_model, model_class, notebook_init_std
from superjax.optimum import Optimum, Solutions, Solve, find_optimum
from superjax.spec import Case, Sweep, SweepError, Train
from superjax.store import timed
from superjax.train import Cell, Method

POLISH = Train(steps=100, learning_rate=0.01)
FINISH = Train(steps=500, learning_rate=0.01)


@dataclass
class Report:
    """What a run cost: seconds by phase, and what the engine chose."""

    seconds: dict[str, float] = field(default_factory=dict)
    models: int = 0
    chunk_models: int = 0
    form: str = ""  # of the kernel: fused, mapped or plain
    plain_because: str = ""
    compile_seconds: float = 0.0

    def timed(self, phase: str):
        return timed(self.seconds, phase)


def run(
    sweep: Sweep, init: Mapping[str, Any] | None = None, devices: int | None = None, progress: bool = False
) -> dict[str, xr.Dataset]:
    """Train, evaluate and classify every model of every case.

    Args:
        init: starting weights by case, a mapping from array names to values of shape (*grid, restart, *array).
            Arrays left out start as usual.
        devices: how many of JAX's devices to use, all by default.
        progress: show a progress bar.

    Returns:
        One labelled dataset per case. Warns of cases that had to be trained in the plain, slow form.

    Raises:
        SweepError: the sweep asks for something that cannot be run.
    """
    if not isinstance(sweep, Sweep):
        raise SweepError(f"run takes a sweep, not {sweep!r}: superjax.run(superjax.load({str(sweep)!r}))")
    datasets = {}
    for name, case in sweep.cases.items():
        datasets[name], report = run_case(name, case, (init or {}).get(name), devices, progress)
        if report.form == "plain":
            warnings.warn(plain_message(name, report), stacklevel=2)
    return datasets


def plain_message(name: str, report: Report) -> str:
    """That a case fell off the fast path, and why."""
    return f"{name}: trained in the plain form, several times slower than the fused one: {report.plain_because}"


def run_case(
    name: str,
    case: Case,
    init: Mapping[str, Any] | None = None,
    devices: int | None = None,
    progress: bool = False,
) -> tuple[xr.Dataset, Report]:
    """One case of a sweep, with what it cost."""
    report, grid, steps = Report(), Grid(case), snapshot_steps(case.train)
    cells = cells_of(grid)
    cell_of = np.repeat(np.arange(grid.n_cells), case.restarts)
    restart_of = np.tile(np.arange(case.restarts), grid.n_cells)
    compiled, stages = program_of(case, devices), training_stages(case, model_class(case.model.kind))
    report.models, report.form = len(cell_of), compiled.form(stages[0].objective)
    if report.form == "plain":
        report.plain_because = compiled.refusal(stages[0].objective) or ""
    in_stream = grid.n_cells * -(-case.restarts // case.train.streams)
    report.chunk_models = chunk = compiled.chunk_models(stages[0].objective, in_stream)
    compiled_before = Program.compile_seconds

    with report.timed("train"), _bar(name, len(cell_of), progress) as bar:
        stream = restart_of % case.train.streams
        models = compiled.initialise(case.seed, restart_of, stream, _init_std(case, grid, len(cell_of))[cell_of], chunk)
        batch = Batch(_with_given(models, init, grid, case), cell_of, stream)
        trained = compiled.train(batch, cells, stages, schedule_factors(case.train), case.seed, chunk, steps, bar)
    with report.timed("evaluate"):
        batch = batch._replace(models=trained.models)
        evaluation = compiled.evaluate(batch, cells)
        late = (trained.diverged_at < 0) & ~np.isfinite(evaluation.loss)  # weights so large
        trained = trained._replace(diverged_at=np.where(late, np.int32(case.train.steps), trained.diverged_at))
        history = None
        if trained.snapshots is not None:
            series = [jax.tree.map(lambda x, i=i: x[:, i], trained.snapshots) for i in range(len(steps))]
            losses = [compiled.loss(batch._replace(models=models), cells) for models in series]
            history = np.stack(losses, axis=1)
    optimum = None
    if case.optimum:
        with report.timed("optimum"):
            same_program = case.train.objective == "exact"
            optimum = _optimum(case, grid, cells, batch, evaluation.loss, devices, chunk if same_program else None)
    with report.timed("analyse"):
        dataset = assemble(case, trained, evaluation, history, optimum, cells, steps)
        dataset["loss"].attrs["loss_kind"] = type(compiled.fine).__name__.lower()
    report.compile_seconds = Program.compile_seconds - compiled_before
    return dataset, report


def cells_of(grid: Grid) -> Cell:
    """All numbers of all cells, leaves (cells, ...), those of the optimiser that no axis sweeps scalars."""
    numbers = grid.numbers()
    importance, density = (np.asarray(numbers[name], np.float32) for name in ("importance", "density"))
    data = jax.tree.map(np.asarray, jax.vmap(KINDS[grid.case.data.kind])(density))
    return Cell(importance, data, {name: np.asarray(numbers[name], np.float32) for name in HYPER})


def program_of(case: Case, devices: int | None = None) -> Program:
    """The compiled program of a case. Raises SweepError if its model or objective is impossible."""
    check_model(case)
    kind, fields = case.model.kind, Grid(case).fields
    model = model_class(kind)
    if case.optimum:
        optimum_objectives(case, model)
    swept = frozenset(name for name in HYPER if f"train.{name}" in fields)
    clip = case.train.clip_norm is not None or "clip_norm" in swept
    method = Method(case.train.optimizer, clip, case.train.normalize)
    shape = Shape(kind, case.data.kind, case.n_features, case.n_hidden, case.train.streams, swept)
    return program(shape, method, *evaluation_objectives(case, model), devices)


def snapshot_steps(train: Train) -> list[int]:
    """The steps after which weights are kept: as listed, or that many log-spaced ones up to the last."""
    if isinstance(train.snapshots, list):
        return train.snapshots
    return sorted({int(round(step)) for step in np.geomspace(train.steps, 1, train.snapshots)})


def _init_std(case: Case, grid: Grid, n_models: int) -> Float[np.ndarray, " cells"]:
    std = grid.numbers()["init_std"]
    if isinstance(std, str):
        std = notebook_init_std(case.n_features, case.n_hidden, n_models)
    return np.broadcast_to(np.asarray(std, np.float32), (grid.n_cells,))


def _with_given(models: PyTree, init: Mapping[str, Any] | None, grid: Grid, case: Case) -> PyTree:
    for name, values in (init or {}).items():
        if name not in type(models).dims:
            raise SweepError(f"init: {name} is no array of the model, it has {', '.join(type(models).dims)}")
        own = getattr(models, name)
        expected = (*grid.shape, case.restarts, *own.shape[1:])
        if np.shape(values) != expected:
            raise SweepError(f"init: {name} has shape {np.shape(values)}, must be {expected}")
        values = np.asarray(values, own.dtype).reshape(own.shape)
        models = jax.tree.unflatten(
            jax.tree.structure(models), [values if leaf is own else leaf for leaf in jax.tree.leaves(models)]
        )
    return models


def _polish_program(case: Case, devices: int | None) -> Program:
    """The program that improves given models under the exact objective."""
    shape = Shape(case.model.kind, case.data.kind, case.n_features, case.n_hidden)
    return program(shape, Method(), *evaluation_objectives(case, model_class(case.model.kind)), devices)


def _optimum(
    case: Case,
    grid: Grid,
    cells: Cell,
    batch: Batch,
    loss: Float[np.ndarray, " models"],
    devices: int | None,
    chunk: int | None,
) -> Optimum:
    """Neighbour transplant under the exact objective, whatever the restarts were trained with.

    A `chunk` as in training spares compiling for another size.
    """
    compiled = _polish_program(case, devices)
    search, fine = optimum_objectives(case, model_class(case.model.kind))
    chunk = chunk or compiled.chunk_models(search, grid.n_cells)

    def solutions(models: PyTree, cell: Int[np.ndarray, " models"], loss) -> Solutions:
        phase, _ = analysis.classify(models.W, **case.phases.model_dump())
        density = cells.data.density
        return Solutions(models, cell, loss, analysis.phase_signature(phase, cells.importance[cell], density[cell]))

    def hyper_of(train: Train) -> dict[str, np.float32]:
        return {name: np.float32(np.inf if getattr(train, name) is None else getattr(train, name)) for name in HYPER}

    def score(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
        batch = Batch(models, cell, np.zeros(len(cell), int))
        return solutions(models, cell, compiled.loss(batch, cells._replace(hyper=hyper_of(POLISH))))

    def polish_with(train: Train, objective: Objective) -> Solve:
        polish_cells, factors = cells._replace(hyper=hyper_of(train)), schedule_factors(train)

        def polish(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            batch = Batch(models, cell, np.zeros(len(cell), int))
            trained = compiled.train(batch, polish_cells, [Stage(objective, train.steps)], factors, case.seed, chunk)
            return score(trained.models, cell)

        return polish

    found = solutions(batch.models, batch.cell, loss)
    return find_optimum(grid, found, score, polish_with(POLISH, search), polish_with(FINISH, fine))


@contextmanager
def _bar(name: str, models: int, show: bool):
    """A progress bar in models, with their rate and the time left; none where nobody watches (no terminal)."""
    finished = 0.0
    with tqdm(total=models, desc=name, unit=" models", unit_scale=True, disable=None if show else True) as bar:

        def update(newly_finished: float) -> None:
            nonlocal finished
            finished += newly_finished
            bar.update(min(round(finished), models) - bar.n)

        yield update
