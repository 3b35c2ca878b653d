"""Runs the cases of a sweep: cells and restarts into models, models trained and evaluated, everything labelled."""

import bisect
import hashlib
import itertools
import json
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, Int, PyTree

from superjax import analysis
from superjax.engine.engine import Plan, Program, Shape, program, schedule_factors
from superjax.engine.train import Cell, Evaluation, Method
from superjax.errors import clip, near
from superjax.problem.data import family
from superjax.problem.loss import Exact, Objective, Stage, evaluation_objectives, optimum_objectives, training_stages
from superjax.problem.models import check_model, model_class, notebook_init_std
from superjax.problem.proof import closed
from superjax.runs.checkpoint import Keep, Memory
from superjax.runs.chunks import Scored, Trained, Training
from superjax.runs.dataset import assemble
from superjax.runs.growth import Earlier, merged, same_models
from superjax.runs.stages.families import Followed, follow, starts
from superjax.runs.stages.optimum import Optimum, Solutions, find_optimum
from superjax.spec import MODELS, Case, Sweep, SweepError, Train
from superjax.spec.grid import HYPER, Grid
from superjax.spec.modules import beside
from superjax.spec.sweep import decisive
from superjax.system import machine, terminal
from superjax.system.clock import timed

POLISH = Train(steps=100, learning_rate=0.01)
FINISH = Train(steps=500, learning_rate=0.01)
# Small steps without momentum: a feature that is left out has a bias of half its density, and once that is negative
# its output is dead for good.
FOLLOW = Train(steps=1000, learning_rate=0.001, b1=0.0, b2=0.9)


@dataclass
class Report:
    """What a run cost: seconds by phase, and what the engine chose."""

    seconds: dict[str, float] = field(default_factory=dict)
    models: int = 0
    taken_over: int = 0  # of the models, from a finished run with fewer
    form: str = ""  # of the kernel: fused, mapped or plain
    plain_because: str = ""
    nodes_because: str = ""  # why an exact loss takes product nodes, where the model claims a closed form
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
        progress: tell what is being done, with a progress bar of the training.

    Returns:
        One labelled dataset per case. Warns of cases that had to be trained in the plain, slow form.

    Raises:
        SweepError: the sweep asks for something that cannot be run, or JAX has not so many devices, or it draws other
            random numbers (`jax_default_prng_impl`, `jax_random_seed_offset`). Its other settings do not matter.
    """
    if not isinstance(sweep, Sweep):
        raise SweepError(f"run takes a sweep, not {sweep!r}: superjax.run(superjax.load({str(sweep)!r}))")
    given, datasets = _by_case(init, sweep), {}
    for name, case in sweep.cases.items():
        with beside(sweep.path):
            datasets[name], report = run_case(name, case, given.get(name), devices, progress)
        if report.form == "plain":
            warnings.warn(plain_message(name, report), stacklevel=2)
        if report.nodes_because:
            warnings.warn(nodes_message(name, report), stacklevel=2)
    return datasets


def plain_message(name: str, report: Report) -> str:
    """That a case fell off the fast path, and why."""
    return f"{name}: trained in the plain form, several times slower than the fused one: {report.plain_because}"


def nodes_message(name: str, report: Report) -> str:
    """That a case has no closed form, and why."""
    return f"{name}: no closed form, the exact loss is less exact: {report.nodes_because}"


def run_case(
    name: str,
    case: Case,
    init: Mapping[str, Any] | None = None,
    devices: int | None = None,
    progress: bool = False,
) -> tuple[xr.Dataset, Report]:
    """One case of a sweep, with what it cost."""
    with machine.settled(devices), terminal.telling(progress):
        running = CaseRun(name, case, devices, init=init)
        running.train()
        return running.finish(), running.report


def _in_memory(task: str, key: str) -> Keep:
    return Memory()


class CaseRun:
    """One case under way: `train` its models, or this process's share of them, then gather and label all (`finish`).

    `keep(task, key)` says where the chunks of a training are kept: `key` names what would be trained, exactly.
    `chunks` are the sizes of chunks of an earlier start of the run, by task; the attribute has all, also those chosen
    here. `code` is a digest of the code of a model of the user's, "" for a built-in one. `earlier` is a finished run of
    the case with fewer restarts or points, whose models are taken over.
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
        self.name, self.case, self.report, self._keep = name, case, Report(), keep
        self.key, self.chunks = key_of(case, code), dict(chunks or {})
        self._grid = grid = Grid(case)
        self.report.models = case.n_models
        self._check_size(case.n_features * case.n_hidden if case.model.kind in MODELS else 0)
        with terminal.doing(f"{name}: tracing the model"):
            self._program = compiled = program_of(case, devices)
        self.bytes = self._check_size(sum(x.size for x in jax.tree.leaves(compiled.model)))
        self._steps = snapshot_steps(case.train)
        self._cells = cells_of(grid)
        kind = model_class(case.model.kind)
        stages = training_stages(case, kind)
        self._cell = cell = np.repeat(np.arange(grid.n_cells, dtype=np.int32), case.restarts)
        restart = np.tile(np.arange(case.restarts, dtype=np.int32), grid.n_cells)
        self._earlier, self._same, others = earlier, None, ()
        if earlier is not None:
            before = Grid(earlier.case)
            self._same = same_models(numbers_of(before), earlier.case.restarts, numbers_of(grid), case.restarts)
            trained = np.flatnonzero(self._same < 0)
            cell, restart, others = cell[trained], restart[trained], (trained,)
            self.report.taken_over = self.report.models - len(trained)
        self.report.form = compiled.form(stages[0].objective)
        if self.report.form == "plain":
            self.report.plain_because = compiled.refusal(stages[0].objective) or ""
        if isinstance(compiled.fine, Exact):
            self.report.nodes_because = closed(kind, case.n_features, case.n_hidden).because
        in_stream = int(np.bincount(restart % case.train.streams).max(initial=1))
        chunk = self._chunk("train", compiled, stages[0].objective, in_stream, self._cells)
        if "evaluate" not in self.chunks:
            side_by_side = min(self.report.models, chunk * case.train.streams * compiled.mesh.size)
            with terminal.doing(f"{name}: compiling the evaluation"):
                self.chunks["evaluate"] = compiled.evaluated_models(side_by_side, self._cells)
        self._plan = Plan(stages, schedule_factors(case.train), case.seed, self._steps)
        init_std, given = _init_std(case, grid), _given(init, compiled.model, grid, case)

        def first(index: Int[np.ndarray, "..."]) -> PyTree:
            flat = index.ravel()
            models = compiled.initialise(case.seed, restart[flat], init_std[cell[flat]], chunk)
            models = _with_arrays(models, {array: values[flat] for array, values in given.items()})
            return jax.tree.map(lambda x: x.reshape(*index.shape, *x.shape[1:]), models)

        self._training = Training(
            compiled, self._plan, self._cells, cell, restart % case.train.streams, chunk, first, self._evaluate,
            _score_like(case.n_features, len(self._steps)),
        )  # fmt: skip
        self._kept = self._kept_in("train", self._training, *others)
        if case.optimum or case.families:
            shape = Shape(kind, family(case.data), case.n_features, case.n_hidden)
            self._polishing = program(shape, Method(), *evaluation_objectives(case, kind), devices)
            self._search, self._fine = optimum_objectives(case, kind)
            if case.train.objective == "exact":  # spares compiling for another size
                self.chunks.setdefault("polish", chunk)
        if case.optimum:
            self._chunk("polish", self._polishing, self._search, grid.n_cells, self._under(POLISH))
        if case.families:
            self._chunk("follow", self._polishing, self._fine, 2 * len(case.families), self._under(FOLLOW))

    def _kept_in(self, task: str, training: Training, *inputs: np.ndarray) -> Keep:
        keep = self._keep(task, self._key(task, training, *inputs))
        keep.fits = training.fits
        return keep

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
        stored = 4 * models * (2 * (kept * (weights + 1) + n + 3) + 6 * n)
        cells = models // case.restarts
        needed = {"fewer points, restarts or snapshots": stored + 40 * cells * n, "fewer train.steps": 16 * train.steps}
        if train.objective != "exact":
            drawn = family(case.data).n_uniforms(n) * (train.streams if train.objective == "minibatch" else 1)
            needed["a smaller train.batch"] = 4 * train.batch * (drawn + 2 * n)
        size, there = sum(needed.values()), machine.usable_memory()
        if size > there:
            raise SweepError(
                f"{self.name}: {models:,} models need about {size:,} bytes of memory, there are {there:,}; "
                f"take {max(needed, key=lambda part: needed[part])}"
            )
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
            optimum = families = None
            if self.case.optimum:
                with self.report.timed("optimum"), terminal.doing(f"{self.name}: searching the optimum"):
                    optimum = self._optimum(models, evaluation.loss)
            if self.case.families:
                with self.report.timed("families"), terminal.doing(f"{self.name}: following the families"):
                    families = self._families()
            with self.report.timed("analyse"), terminal.doing(f"{self.name}: analysing"):
                dataset = assemble(self.case, trained, evaluation, losses, optimum, families, self._cells, self._steps)
                dataset["loss"].attrs["loss_kind"] = self._program.fine.name
                if self._earlier is not None:
                    error = max(dataset["loss"].attrs["loss_error"], self._earlier.loss_error)
                    dataset["loss"].attrs["loss_error"] = error
        return dataset

    def _gathered(self) -> Scored:
        """All models in their order, those that were taken over among them."""
        if self._earlier is None or self._same is None:
            return self._training.gather(self._kept)
        before = self._earlier.scored(self._program.model, len(self._steps))
        return merged(self._same, before, self._training.gather(self._kept) if len(self._training.cell) else None)

    def _under(self, train: Train) -> Cell:
        """The cells with the optimiser's numbers of a training that no axis sweeps."""
        return self._cells._replace(hyper=_hyper_of(train))

    def _chunk(self, task: str, compiled: Program, objective: Objective, models: int, cells: Cell) -> int:
        if task not in self.chunks:
            with terminal.doing(f"{self.name}: compiling, choosing the size of chunks"):
                self.chunks[task] = compiled.chunk_models(objective, models, cells)
        return self.chunks[task]

    def _key(self, task: str, training: Training, *inputs: np.ndarray) -> str:
        """A digest of everything that decides the numbers of a training, and how they are laid out."""
        layout = [[leaf.shape, leaf.dtype.name] for leaf in jax.tree.leaves(training.program.state)]
        digest = hashlib.sha256(json.dumps([self.key, task, training.chunk, layout]).encode())
        for array in inputs:
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @contextmanager
    def _counted_compilation(self):
        before = Program.compile_seconds
        yield
        self.report.compile_seconds += Program.compile_seconds - before

    def _evaluate(self, trained: Trained, cell: Int[np.ndarray, " models"]):
        """Evaluation of trained models, and the losses (models, snapshots) of their snapshots."""
        with self.report.timed("evaluate"):
            chunk = self.chunks["evaluate"]
            evaluation = self._program.evaluate(trained.models, self._cells, cell, chunk)
            if trained.snapshots is None:
                return evaluation, None
            series = [jax.tree.map(lambda x, i=i: x[:, i], trained.snapshots) for i in range(len(self._steps))]
            losses = [self._program.loss(models, self._cells, cell, chunk) for models in series]
            return evaluation, np.stack(losses, axis=1)

    def _optimum(self, models: PyTree, loss: Float[np.ndarray, " models"]) -> Optimum:
        """Neighbour transplant under the exact objective, whatever the restarts were trained with."""
        case, cells = self.case, self._cells

        def solutions(models: PyTree, cell: Int[np.ndarray, " models"], loss) -> Solutions:
            phase, _ = analysis.classify(models.W, **case.phases.model_dump())
            density = cells.data.density
            importance, size = cells.importance[cell], case.data.set_size
            return Solutions(models, cell, loss, analysis.phase_signature(phase, importance, density[cell], size))

        def score(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            return solutions(models, cell, self._loss(models, self._under(POLISH), cell))

        def polish(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            polished, loss = self._refine(f"polish-{next(rounds)}", "polish", POLISH, self._search, models, cell)
            return solutions(polished, cell, loss)

        def finish(models: PyTree, cell: Int[np.ndarray, " models"]) -> Solutions:
            finished, loss = self._refine("finish", "polish", FINISH, self._fine, models, cell)
            return solutions(finished, cell, loss)

        rounds = itertools.count(1)
        found = solutions(models, self._cell, loss)
        return find_optimum(self._grid, found, score, polish, finish)

    def _families(self) -> Followed:
        """The case's families under the exact objective. Biases, where the model has them, start at 0, those of
        features that are left out at their mean: a ReLU at 0 would be dead."""
        W, rounds = starts(self.case), itertools.count(1)
        mean = np.asarray(jax.vmap(lambda distribution: distribution.mean())(self._cells.data))

        def first(family: Int[np.ndarray, " models"], cell: Int[np.ndarray, " models"]) -> PyTree:
            numbers = np.arange(len(family), dtype=np.int32)
            models = self._polishing.initialise(self.case.seed, numbers, np.ones(len(family), np.float32), len(family))
            given = {"W": W[family]}
            if type(models).dims.get("b") == ("feature",):
                given["b"] = np.where(analysis.norm(W[family]) == 0, mean[cell], np.float32(0))
            return _with_arrays(models, given)

        def refine(models: PyTree, cell: Int[np.ndarray, " models"]) -> tuple[PyTree, Float[np.ndarray, " models"]]:
            return self._refine(f"follow-{next(rounds)}", "follow", FOLLOW, self._fine, models, cell)

        return follow(self._grid, first, refine)

    def _refine(
        self,
        task: str,
        chunks: str,
        train: Train,
        objective: Objective,
        models: PyTree,
        cell: Int[np.ndarray, " models"],
    ) -> tuple[PyTree, Float[np.ndarray, " models"]]:
        """Given weights trained further in given cells, and their losses; `chunks` names the size of the chunks."""
        compiled, chunk = self._polishing, self.chunks[chunks]
        cells = self._under(train)
        refining = Training(
            compiled, Plan([Stage(objective, train.steps)], schedule_factors(train), self.case.seed), cells, cell,
            np.zeros(len(cell), np.int32), chunk,
            lambda index: jax.tree.map(lambda x: x[index], models),
            lambda trained, cell: self._loss(trained.models, cells, cell),
            _float32(),
        )  # fmt: skip
        keep = self._kept_in(task, refining, cell, *jax.tree.leaves(models))
        refining.run(keep)
        (refined, _, _), loss = refining.gather(keep)
        return refined, loss

    def _loss(self, models: PyTree, cells: Cell, cell: Int[np.ndarray, " models"]) -> Float[np.ndarray, " models"]:
        return self._polishing.loss(models, cells, cell, self.chunks["evaluate"])


def key_of(case: Case, code: str) -> str:
    """A digest of what decides the results of a case: its settings and the code of its model."""
    return hashlib.sha256(json.dumps([sorted(decisive(case).items()), code]).encode()).hexdigest()


def cells_of(grid: Grid) -> Cell:
    """All numbers of all cells, leaves (cells, ...), those of the optimiser that no axis sweeps scalars."""
    numbers = grid.numbers()
    law = {name: np.asarray(numbers[name], np.float32) for name in ("density", "correlation")}
    data = jax.tree.map(np.asarray, jax.vmap(family(grid.case.data).of)(law))
    return Cell(
        np.asarray(numbers["importance"], np.float32),
        data,
        {name: np.asarray(numbers[name], np.float32) for name in HYPER},
    )


def program_of(case: Case, devices: int | None = None) -> Program:
    """The compiled program of a case. Raises SweepError if its model or objective is impossible."""
    check_model(case)
    kind, fields = case.model.kind, {path for axis in case.axes.values() for path in axis.names}
    model = model_class(kind)
    if case.optimum or case.families:
        optimum_objectives(case, model)
    if case.families:
        starts(case)
    swept = frozenset(name for name in HYPER if f"train.{name}" in fields)
    clip = case.train.clip_norm is not None or "clip_norm" in swept
    method = Method(case.train.optimizer, clip, case.train.normalize)
    shape = Shape(model, family(case.data), case.n_features, case.n_hidden, case.train.streams, swept)
    return program(shape, method, *evaluation_objectives(case, model), devices)


def snapshot_steps(train: Train) -> list[int]:
    """The steps after which weights are kept: as listed, or that many log-spaced ones up to the last. Where these
    would be less than a step apart, every step is one, and only what follows is log-spaced."""
    if isinstance(train.snapshots, list):
        return train.snapshots
    count, last = train.snapshots, train.steps
    if len(spaced := _log_spaced(1, last, count)) == count:
        return spaced
    # The first of the log-spaced: the smallest step from which they are a step apart or more.
    first = 1 + bisect.bisect_left(
        range(1, count), True, key=lambda first: (last / first) ** (1 / (count - first)) * first >= first + 1
    )
    return [*range(1, first), *_log_spaced(first, last, count - first + 1)]


def _log_spaced(first: int, last: int, count: int) -> list[int]:
    return sorted({int(round(step)) for step in np.geomspace(last, first, count)})


def numbers_of(grid: Grid) -> dict[str, Any]:
    """Everything that decides the training of a cell, leaves (cells, ...)."""
    cells = cells_of(grid)
    every = {name: np.broadcast_to(value, grid.n_cells) for name, value in cells.hyper.items()}
    return {"cells": cells._replace(hyper=every), "init_std": _init_std(grid.case, grid)}


def _init_std(case: Case, grid: Grid) -> Float[np.ndarray, " cells"]:
    std = grid.numbers()["init_std"]
    if isinstance(std, str):
        std = notebook_init_std(case.n_features, case.n_hidden, case.n_models)
    return np.broadcast_to(np.asarray(std, np.float32), (grid.n_cells,))


def _by_case(init: Any, sweep: Sweep) -> Mapping[str, Any]:
    """Given starting weights, by case. Raises SweepError unless they are a table of tables for cases of the sweep."""
    if not (init is None or isinstance(init, Mapping) and all(isinstance(own, Mapping) for own in init.values())):
        raise SweepError('init: must be {case: {array: values}}, as {"n2_m1": {"W": array}}')
    for name in init or {}:
        if name not in sweep.cases:
            allowed = clip(", ".join(sweep.cases), 300)
            raise SweepError(f"init: unknown case {clip(repr(name))}{near(name, sweep.cases)}\n  allowed: {allowed}")
    return init or {}


def _given(init: Mapping[str, Any] | None, model: PyTree, grid: Grid, case: Case) -> dict[str, np.ndarray]:
    """Given starting weights, (models, ...), by the name of the array. Raises SweepError if they do not fit."""
    given = {}
    for name, values in (init or {}).items():
        if name not in type(model).dims:
            raise SweepError(f"init: {clip(str(name))} is no array of the model, it has {', '.join(type(model).dims)}")
        own = getattr(model, name)
        expected = (*grid.shape, case.restarts, *own.shape)
        try:
            array = np.asarray(values)
        except (TypeError, ValueError):  # rows of several lengths, or what cannot become an array
            raise SweepError(f"init: {name} must be an array of shape {expected}") from None
        if array.shape != expected:
            raise SweepError(f"init: {name} has shape {array.shape}, must be {expected}")
        if not any(jax.numpy.issubdtype(array.dtype, kind) for kind in (np.floating, np.integer, np.bool_)):
            raise SweepError(f"init: {name} has numbers of type {array.dtype}, must be real")
        with np.errstate(over="ignore"):
            array = array.astype(own.dtype)
        if not np.isfinite(array).all():
            raise SweepError(f"init: {name} must be finite as {own.dtype}")
        given[name] = array.reshape(-1, *own.shape)
    return given


def _with_arrays(models: PyTree, arrays: Mapping[str, np.ndarray]) -> PyTree:
    """The models with arrays replaced, by name."""
    leaves = jax.tree.leaves(models)
    for name, values in arrays.items():
        own = getattr(models, name)
        leaves = [values if leaf is own else leaf for leaf in leaves]
    return jax.tree.unflatten(jax.tree.structure(models), leaves)


def _float32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float32)


def _score_like(n_features: int, snapshots: int) -> PyTree:
    """Evaluation of one model, and the losses of its snapshots."""
    evaluation = Evaluation(_float32(), _float32(n_features), _float32(), _float32())
    return evaluation, _float32(snapshots) if snapshots else None


def _hyper_of(train: Train) -> dict[str, np.float32]:
    return {name: np.float32(np.inf if getattr(train, name) is None else getattr(train, name)) for name in HYPER}
