"""One case of a sweep under way: cells and restarts into models, models trained and evaluated, everything labelled."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Int, PyTree

from superjax.engine.choice import choice_of
from superjax.engine.engine import Program, Shape, program
from superjax.engine.kernel import FORMS, Form
from superjax.engine.plan import Plan, schedule_factors
from superjax.engine.train import Cell, Method
from superjax.engine.vectorised import Compiled
from superjax.errors import SweepError, clip
from superjax.problem.expectation import Exact, Objective
from superjax.problem.members import BUILT_IN
from superjax.problem.problem import Problem
from superjax.runs.checkpoint import Fits, Keep, Memory
from superjax.runs.chunks import Scored, Trained, Training, Tried
from superjax.runs.dataset import assemble, derive, merged
from superjax.runs.faults import check_problem
from superjax.runs.growth import Earlier, mixed, same_models
from superjax.runs.problems import cells_of, closed_form, evaluation_objectives, problem_of, training_parts
from superjax.runs.prolonging import STARTED_FROM, check_same_start, starting_weights
from superjax.runs.stages import Trainee, stages_of
from superjax.runs.starting import draws, given_weights, initial, with_arrays
from superjax.spec import Case
from superjax.spec.grid import HYPER, Grid
from superjax.spec.snapshots import snapshot_steps
from superjax.spec.sweep import decisive
from superjax.system import machine, terminal
from superjax.system.clock import timed

_FILLED = 0.25  # part of a shared chunk that is used: for less, another size is worth compiling


@dataclass
class Report:
    """What a run cost: seconds by phase, and what the engine chose."""

    seconds: dict[str, float] = field(default_factory=dict)
    models: int = 0
    taken_over: int = 0  # of the models, from a finished run with fewer
    started_from: str = ""  # the checksum of the dataset that they started from
    form: str = ""  # of the kernel: fused, mapped or plain
    plain_because: str = ""
    nodes_because: str = ""  # why an exact loss takes product nodes, where the model claims a closed form
    compile_seconds: float = 0.0

    def timed(self, phase: str):
        return timed(self.seconds, phase)


def _in_memory(task: str, key: str) -> Keep:
    return Memory()


class CaseRun:
    """One case under way: `train` its models, or this process's share of them, then gather and label all (`finish`).

    `keep(task, key)` says where the chunks of a training are kept: `key` names what would be trained, exactly.
    `chunks` are the sizes of chunks of an earlier start of the run, by task; the attribute has all, also those chosen
    here. `code` is a digest of the code of the user's members of the problem, "" if all are built in. `earlier` is a
    finished run of the case with fewer restarts or points, whose models are taken over.
    """

    def __init__(
        self,
        name: str,
        case: Case,
        devices: int | None = None,
        keep: Callable[[str, str], Keep] = _in_memory,
        chunks: dict[str, int] | None = None,
        init: Mapping[str, Any] | None = None,
        code: str = "",
        earlier: Earlier | None = None,
    ):
        self.name, self.case, self.devices, self.report, self._keep = name, case, devices, Report(), keep
        self.key, self.chunks = key_of(case, code), dict(chunks or {})
        self.grid = grid = Grid(case)
        self.report.models = case.n_models
        self.problem = problem = problem_of(case)
        self._check_size(case.n_features * case.n_hidden if case.model.kind in BUILT_IN["model"] else 0)
        with terminal.doing(f"{name}: tracing the model"):
            self.own = "" if jax.default_backend() == "cpu" else self.key
            self.program = compiled = program_of(case, problem, devices, self.own)
        self.bytes = self._check_size(sum(x.size for x in jax.tree.leaves(compiled.model)))
        self._steps = snapshot_steps(case.train)
        self.cells = cells_of(problem, grid)
        parts = training_parts(problem, case)
        self._cell = cell = np.repeat(np.arange(grid.n_cells, dtype=np.int32), case.restarts)
        restart = np.tile(np.arange(case.restarts, dtype=np.int32), grid.n_cells)
        self._earlier, self._same, others, trained = earlier, None, (), slice(None)
        if earlier is not None:
            before = numbers_of(problem, Grid(earlier.case))
            self._same = same_models(before, earlier.case.restarts, numbers_of(problem, grid), case.restarts)
            trained = np.flatnonzero(self._same < 0)
            cell, restart, others = cell[trained], restart[trained], (trained,)
            self.report.taken_over = self.report.models - len(trained)
        given = given_weights(init, compiled.model, grid, case)
        if case.start_from:
            found, self.report.started_from = starting_weights(name, case, problem, compiled.model)
            check_same_start(name, case, earlier, self.report.started_from)
            given = {**found, **given}
            others = (*others, *given.values())
        given = {array: values[trained] for array, values in given.items()}
        if isinstance(compiled.fine, Exact):
            self.report.nodes_because = closed_form(problem).because
        in_stream = int(np.bincount(restart % case.train.streams).max(initial=1))
        chunk = self.chunk(
            "train", compiled, parts[0].objective, in_stream, self.cells, *(part.objective for part in parts[1:])
        )
        self.report.form = compiled.form(parts[0].objective)
        if self.report.form == "plain":
            self.report.plain_because = compiled.refusal(parts[0].objective) or ""
        if "evaluate" not in self.chunks:
            side_by_side = min(self.report.models, chunk * case.train.streams * compiled.mesh.size)
            with terminal.doing(f"{name}: compiling the evaluation"):
                self.chunks["evaluate"] = choice_of(compiled).evaluated_models(side_by_side, self.cells)
        self._plan = Plan(parts, schedule_factors(case.train), case.seed, self._steps)
        self._training = Training(
            compiled, self._plan, self.cells, cell, restart % case.train.streams, chunk,
            self._starts(grid, cell, restart, given), self._evaluate,
            (compiled.evaluation, jax.ShapeDtypeStruct((len(self._steps),), np.float32) if self._steps else None),
        )  # fmt: skip
        self._kept = self.kept_in("train", self._training, *others)
        self._stages = [stage(self) for stage in stages_of(case)]

    def _starts(
        self, grid: Grid, cell: np.ndarray, restart: np.ndarray, given: Mapping[str, np.ndarray]
    ) -> Callable[[Int[np.ndarray, "..."]], PyTree]:
        """Model numbers of any shape -> the weights that they start from, in the cells of a grid."""
        case, compiled = self.case, self.program
        init_std, init_bias = initial(case, grid)
        numbers = draws(case, grid, cell, restart)

        def first(index: Int[np.ndarray, "..."]) -> PyTree:
            flat, chunk = index.ravel(), self.chunks["train"]
            models = compiled.initialise(case.seed, numbers[flat], init_std[cell[flat]], init_bias[cell[flat]], chunk)
            models = with_arrays(models, {array: values[flat] for array, values in given.items()})
            return jax.tree.map(lambda x: x.reshape(*index.shape, *x.shape[1:]), models)

        return first

    def trained_at(self, task: str, grid: Grid) -> Trainee:
        """The restarts of the case at other points, trained as its own are, from the same starts."""
        case, cells = self.case, cells_of(self.problem, grid)
        cell = np.repeat(np.arange(grid.n_cells, dtype=np.int32), case.restarts)
        restart = np.tile(np.arange(case.restarts, dtype=np.int32), grid.n_cells)
        training = Training(
            self.program, replace(self._plan, snapshots=()), cells, cell, restart % case.train.streams,
            self.chunks["train"], self._starts(grid, cell, restart, {}),
            lambda trained, cell: self.program.loss(trained.models, cells, cell, self.chunks["evaluate"]),
            jax.ShapeDtypeStruct((), np.float32),
        )  # fmt: skip
        keep = self.kept_in(task, training, *grid.fields.values())
        training.run(keep)
        (models, _, _), loss = training.gather(keep)
        return Trainee(models, cell, loss)

    def kept_in(self, task: str, training: Training, *inputs: np.ndarray) -> Keep:
        layout = [[leaf.shape, leaf.dtype.name] for leaf in jax.tree.leaves(training.program.state)]
        parts = [[part.end, repr(part.objective)] for part in training.plan.parts]
        numbers = map(np.asarray, (training.plan.factors, *jax.tree.leaves(training.cells.hyper)))
        return self.kept(task, [training.chunk, layout, parts], training.fits, *numbers, *inputs)

    def kept(self, task: str, about: list, fits: Fits, *inputs: np.ndarray) -> Keep:
        """Where what is found from the inputs is kept; `about` says all else that decides it and how it is laid out."""
        digest = hashlib.sha256(json.dumps([self.key, task, *about]).encode())
        for array in inputs:
            digest.update(np.ascontiguousarray(array).data)
        keep = self._keep(task, digest.hexdigest())
        keep.fits = fits
        return keep

    def tried(self) -> Tried:
        """What training would take, from a moment of it."""
        return self._training.tried()

    def tried_stages(self) -> dict[str, Tried | None]:
        """What each stage would take, None if that cannot be told."""
        if not self._stages:
            return {}
        restart = np.tile(np.arange(self.case.restarts, dtype=np.int32), self.grid.n_cells)
        starts = self._starts(self.grid, self._cell, restart, {})(np.arange(len(restart)))
        untrained = Trainee(starts, self._cell, np.full(len(restart), np.nan, np.float32))
        return {stage.name: stage.tried(untrained) for stage in self._stages}

    def train(self, process: int = 0, processes: int = 1) -> None:
        """Train and evaluate the chunks that fall to a process of several."""
        bar = terminal.bar(self.name, self.report.models - self.report.taken_over)
        with self._counted_compilation(), self.report.timed("train"), bar as tell:
            self._training.run(self._kept, tell, process, processes)
        self.report.seconds["train"] -= self.report.seconds.get("evaluate", 0.0)

    def _check_size(self, weights: int) -> int:
        """About as many bytes as chunks and dataset of models with so many weights take on disk: arithmetic alone.
        Raises SweepError if memory is too small for them, or for what training needs besides."""
        case, models, n = self.case, self.report.models, self.case.n_features
        train, snapshots = case.train, case.train.snapshots
        kept = 1 + (len(snapshots) if isinstance(snapshots, list) else snapshots)
        more = sum(stage.numbers(case) for stage in stages_of(case))
        stored = 4 * models * (2 * (kept * (weights + 1) + n + 3 + more) + (6 + 4 * (kept - 1)) * n)
        cells = models // case.restarts
        needed = {"fewer points, restarts or snapshots": stored + 40 * cells * n, "fewer train.steps": 16 * train.steps}
        if train.objective != "exact":
            drawn = self.problem.data.n_uniforms(n) * (train.streams if train.objective == "minibatch" else 1)
            needed["a smaller train.batch"] = 4 * train.batch * (drawn + 2 * n)
        if points := self.problem.data.points:  # inputs are made for every model, of which many are side by side
            needed["fewer data.points"] = 4 * 16 * points * n
        size, there = sum(needed.values()), machine.usable_memory()
        if size > there:
            raise SweepError(
                f"{self.name}: {models:,} models need about {size:,} bytes of memory, there are {there:,}; "
                f"take {max(needed, key=lambda part: needed[part])}"
            )
        self.memory = size
        return stored

    def trained(self) -> float:
        """Which part of the training is done, from 0 to 1."""
        return self._training.share_done(self._kept)

    def complete(self) -> bool:
        """Whether all processes have trained their share."""
        return self._training.complete(self._kept)

    def finish(self) -> xr.Dataset:
        """The labelled dataset, once all is trained; searches the optimum if the case asks for it."""
        with self._counted_compilation():
            with terminal.doing(f"{self.name}: gathering what was trained"):
                (models, diverged_at, snapshots), (evaluation, losses) = self._gathered()
            late = (diverged_at < 0) & ~np.isfinite(evaluation.loss)  # weights so large
            trained = Trained(models, np.where(late, np.int32(self.case.train.steps), diverged_at), snapshots)
            trainee, found = Trainee(models, self._cell, np.asarray(evaluation.minimised)), []
            for stage in self._stages:
                with self.report.timed(stage.name), terminal.doing(f"{self.name}: {stage.doing}"):
                    found.append(stage.run(trainee))
            with self.report.timed("analyse"), terminal.doing(f"{self.name}: analysing"):
                moments = self.program.moments(self.cells.laws)
                dataset = assemble(
                    self.case, self.problem, trained, evaluation, losses, moments, self.cells, self._steps
                )
                dataset = derive(merged(dataset, found), self.case)
                dataset["loss"].attrs["loss_kind"] = self.program.fine.name
                if self.report.started_from:
                    dataset.attrs[STARTED_FROM] = f"{self.case.start_from}, SHA-256 {self.report.started_from}"
                if self._earlier is not None:
                    error = max(dataset["loss"].attrs["loss_error"], self._earlier.loss_error)
                    dataset["loss"].attrs["loss_error"] = error
        return dataset

    def _gathered(self) -> Scored:
        """All models in their order, those that were taken over among them."""
        if self._earlier is None or self._same is None:
            return self._training.gather(self._kept)
        before = self._earlier.scored(self.problem, self.program.model, len(self._steps))
        return mixed(self._same, before, self._training.gather(self._kept) if len(self._training.cell) else None)

    def chunk(
        self, task: str, compiled: Program, objective: Objective, models: int, cells: Cell, *then: Objective
    ) -> int:
        """The size of chunks of a task that minimises an objective, and then others. On an accelerator also the forms
        in which it is trained and evaluated. Both are chosen once in a run.

        On CPU the form is that of the shape, as was measured; elsewhere forms and sizes are tried."""
        tries = jax.default_backend() != "cpu"
        if task not in self.chunks:
            with terminal.doing(f"{self.name}: compiling, choosing the size of chunks"):
                if tries:
                    form, size = choice_of(compiled).fastest((objective, *then), models, cells, self._passed_over)
                    self.chunks |= {task: size, f"{task} form": FORMS.index(form) + 1}
                else:
                    self.chunks[task] = choice_of(compiled).trained_models(objective, models, cells)
        elif tries and (form := self._recorded_form(task)):
            for one in (objective, *then):
                compiled.use("train", one, form)
        if tries and (task == "train" or compiled is not self.program):
            self._choose_evaluation(f"{task} evaluation", compiled, models, cells)
        return self.chunks[task]

    def shares_chunks(self, task: str, other: str, models: int) -> None:
        """A task with so many models at once has chunks of the size of another's, which spares compiling; not if these
        were mostly empty, and not where its forms are to be tried."""
        room = self.program.mesh.size * self.chunks[other]
        if jax.default_backend() == "cpu" and models >= _FILLED * room:
            self.chunks.setdefault(task, self.chunks[other])

    def _choose_evaluation(self, task: str, compiled: Program, models: int, cells: Cell) -> None:
        """Choose the form of the evaluation on an accelerator, once in a run."""
        if form := self._recorded_form(task):
            compiled.use("evaluate", compiled.fine, form)
            return
        with terminal.doing(f"{self.name}: compiling the evaluation"):
            form = choice_of(compiled).evaluation_form(models, cells, self._passed_over)
        self.chunks[f"{task} form"] = FORMS.index(form) + 1

    def _recorded_form(self, task: str) -> Form | None:
        number = self.chunks.get(f"{task} form", 0)
        return FORMS[number - 1] if 0 < number <= len(FORMS) else None

    def _passed_over(self, form: str, why: str) -> None:
        terminal.say(f"{self.name}: the {form} form is passed over on this {jax.default_backend()}: {clip(why, 200)}")

    @contextmanager
    def _counted_compilation(self):
        before = Compiled.seconds
        yield
        self.report.compile_seconds += Compiled.seconds - before

    def _evaluate(self, trained: Trained, cell: Int[np.ndarray, " models"]):
        """Evaluation of trained models, and the losses (models, snapshots) of their snapshots."""
        with self.report.timed("evaluate"):
            chunk = self.chunks["evaluate"]
            evaluation = self.program.evaluate(trained.models, self.cells, cell, chunk)
            if trained.snapshots is None:
                return evaluation, None
            series = [jax.tree.map(lambda x, i=i: x[:, i], trained.snapshots) for i in range(len(self._steps))]
            losses = [self.program.loss(models, self.cells, cell, chunk, error=True) for models in series]
            return evaluation, np.stack(losses, axis=1)


def key_of(case: Case, code: str) -> str:
    """A digest of what decides the results of a case: its settings and the code of its model."""
    return hashlib.sha256(json.dumps([sorted(decisive(case).items()), code]).encode()).hexdigest()


def numbers_of(problem: Problem, grid: Grid) -> dict[str, Any]:
    """Everything that decides the training of a cell, leaves (cells, ...)."""
    cells = cells_of(problem, grid)
    every = {name: np.broadcast_to(value, grid.n_cells) for name, value in cells.hyper.items()}
    started = draws(grid.case, grid, np.arange(grid.n_cells), np.zeros(grid.n_cells, int))
    return {"cells": cells._replace(hyper=every), "initial": initial(grid.case, grid), "draws": started}


def program_of(case: Case, problem: Problem, devices: int | None = None, own: str = "") -> Program:
    """The compiled program of a case. Raises SweepError if its problem or objective is impossible."""
    check_problem(case, problem)
    fields = {path for axis in case.axes.values() for path in axis.names}
    for stage in stages_of(case):  # first: it says what asked for the exact loss
        stage.check(case, problem)
    training_parts(problem, case)
    swept = frozenset(name for name in HYPER if f"train.{name}" in fields)
    clip = case.train.clip_norm is not None or "clip_norm" in swept
    method = Method(case.train.optimizer, clip, case.train.normalize, case.train.decayed)
    shape = Shape(problem, case.train.streams, swept, "n_hidden" in fields)
    return program(shape, method, *evaluation_objectives(problem, case), devices, own)
