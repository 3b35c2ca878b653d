"""Runs the compiled program of a case over any number of models, a chunk at a time.

Memory stays bounded whatever the grid, and one compilation for every objective and size of a chunk serves all blocks
of steps and every snapshot schedule. Chunks come in few sizes, none of which changes a model's numbers (unless it runs
in the plain form): a grown grid leaves the old cells bitwise unchanged. The models of a chunk are split evenly over
the devices; they never communicate.
"""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec
from jaxtyping import Float, Int, PyTree

from superjax import kernel, spec
from superjax.data import KINDS
from superjax.grid import HYPER
from superjax.loss import Objective, Stage
from superjax.models import model_class
from superjax.random import root_key
from superjax.train import Cell, Evaluation, Method, TrainState, begin, evaluate_one, loss_one, train_one

BLOCK = 1000  # steps of one call at most
_CALL_SECONDS = 0.3
# The sizes for CPU are measured; those for accelerators only say that large chunks are wanted there.
# Of a chunk on one device: rows x features x models if each model has a weight of its own for every row and feature,
# which should stay in the cache (but it takes some models to make up for a call); rows x models if not, where nothing
# of that size is stored.
_CHUNK_WEIGHTS = {"cpu": 2**19, "gpu": 2**29, "tpu": 2**27}
_CHUNK_ROWS = {"cpu": 2**20, "gpu": 2**30, "tpu": 2**28}
_CHUNK_MODELS = {"cpu": 2**13, "gpu": 2**19, "tpu": 2**17}
_FEWEST_FUSED = 2**9
_MAPPED_ENTRIES = 2**13  # rows x parameters of a model from which one by one is faster than all in one product


@dataclass(frozen=True)
class Shape:
    """What the models of a program have in common; `swept` names the optimiser's numbers that differ."""

    kind: str
    data: str
    n_features: int
    n_hidden: int
    streams: int = 1
    swept: frozenset[str] = frozenset()


class Batch(NamedTuple):
    """Models to work on: weights with leaves (models, ...), and for each its cell and stream of minibatches."""

    models: PyTree
    cell: Int[np.ndarray, " models"]
    stream: Int[np.ndarray, " models"]


class Trained(NamedTuple):
    """Trained weights (models, ...), first step that was not finite or -1, snapshots (models, snapshots, ...)."""

    models: PyTree
    diverged_at: Int[np.ndarray, " models"]
    snapshots: PyTree | None


def _chunk_size(objective: Objective, n_features: int, form: kernel.Form, models: int | None) -> int:
    """Models of one chunk and stream on one device, which gets so many in all (None: whatever it gets).

    Chunks are about equal, in a few sizes if rows are fixed, as padding costs less there than compiling for another
    size. Streams do not share a chunk: each draws its own minibatches, and only many models make up for the draw. A
    multiple of 16 (4 of the large models of the mapped form) fills vector registers, so that a model's numbers do not
    depend on how many others there are; in the plain form they may, by rounding.
    """
    backend = jax.default_backend()
    least = 4 if form == "mapped" else 16
    if objective.weighted:
        affordable = _CHUNK_WEIGHTS[backend] // (objective.n_rows * n_features)
        wanted = max(affordable, min(_FEWEST_FUSED, 8 * affordable)) if form == "fused" else affordable
    else:
        wanted = _CHUNK_ROWS[backend] // objective.n_rows
    most = max(least, min(wanted, _CHUNK_MODELS[backend]) // least * least)
    if models is None:
        return most
    unit = max(least, most // 16 // least * least) if objective.fixed else least
    share = -(-models // -(-models // most))
    return min(most, -(-share // unit) * unit)


def schedule_factors(train: spec.Train) -> Float[np.ndarray, " steps"]:
    """The learning rate's factor at every step: linear warm-up from 0, then the schedule."""
    return _factors(train.schedule, train.steps, train.warmup_steps)


@functools.lru_cache(maxsize=16)
def _factors(kind: str, steps: int, warmup_steps: int) -> Float[np.ndarray, " steps"]:
    decay = steps - warmup_steps
    after = {
        "constant": lambda: optax.constant_schedule(1.0),
        "cosine": lambda: optax.cosine_decay_schedule(1.0, max(decay, 1)),
        "linear": lambda: optax.linear_schedule(1.0, 0.0, max(decay, 1)),
    }[kind]()
    warmup = optax.linear_schedule(0.0, 1.0, max(warmup_steps, 1))
    schedule = optax.join_schedules([warmup, after], [warmup_steps])
    return np.broadcast_to(jax.jit(schedule)(jnp.arange(steps, dtype=jnp.float32)), (steps,))


class Pace:
    """How many steps a call takes: about a third of a second's, at most BLOCK.

    Between calls there is progress, interrupts and snapshots. On CPU they also cost: devices that wait for the next
    call may wake up on the same core.
    """

    def __init__(self):
        self.steps = 100

    def end(self, first: int, stops: Sequence[int]) -> int:
        """Where a call from step `first` ends: at the next of the stops, or before."""
        return min(first + self.steps, min(stop for stop in stops if stop > first))

    def record(self, steps: int, seconds: float) -> None:
        """What a call of so many steps took."""
        self.steps = int(np.clip(steps * _CALL_SECONDS / max(seconds, 1e-9), 1, BLOCK))


def _refusal(objective: Objective, model: PyTree, cell: Cell) -> str | None:
    """Why the model does not run in the fused form, if it does not."""
    rows = jax.eval_shape(lambda data: objective.rows(data, objective.draw(jax.random.key(0))), cell.data)
    return kernel.refusal(objective.row_losses, model, cell.data, rows)


def _choose_form(objective: Objective, model: PyTree, cell: Cell) -> kernel.Form:
    """Fused where the model is a modest number of scalar operations; one by one where it is large; else plain."""
    if _refusal(objective, model, cell) is None:
        return "fused"
    entries = objective.n_rows * sum(x.size for x in jax.tree.leaves(model))
    return "mapped" if jax.default_backend() == "cpu" and entries >= _MAPPED_ENTRIES else "plain"


@functools.lru_cache(maxsize=16)
def program(shape: Shape, method: Method, fine: Objective, coarse: Objective, devices: int | None = None) -> "Program":
    """The program of a shape and method on the first `devices` devices, one in a process."""
    return Program(shape, method, fine, coarse, jax.devices()[:devices])


class Program:
    """The compiled functions of one shape: `initialise`, `train`, `evaluate` and `loss`.

    Leaves of a chunk are (streams, models, ...). Counters of the optimiser and numbers that no axis sweeps are common
    to all models and stay unbatched. Every objective and size of a chunk is compiled once, at its first use;
    `compile_seconds` is what all programs of this process have cost.
    """

    compile_seconds: ClassVar[float] = 0.0

    def __init__(self, shape: Shape, method: Method, fine: Objective, coarse: Objective, devices: Sequence[Any]):
        self.shape, self.method, self.fine = shape, method, fine
        self.mesh = jax.make_mesh(
            (len(devices),), ("models",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices
        )

        number = jax.ShapeDtypeStruct((), jnp.float32)
        numbers = jax.ShapeDtypeStruct((shape.n_features,), jnp.float32)
        data = jax.eval_shape(functools.partial(KINDS[shape.data].example, shape.n_features))
        cell = Cell(numbers, data, dict.fromkeys(HYPER, number))
        model = jax.eval_shape(self._new, jax.random.key(0), number)
        self.form = functools.cache(lambda objective: _choose_form(objective, model, cell))
        self.refusal = lambda objective: _refusal(objective, model, cell)

        state = jax.eval_shape(functools.partial(begin, method), model, cell)
        counters = jax.tree.map(lambda x: 0 if jnp.issubdtype(x.dtype, jnp.inexact) else None, state.optimizer)
        state_axes = TrainState(0, counters, 0)
        cell_axes = Cell(0, 0, {name: 0 if name in shape.swept else None for name in HYPER})

        def steps_under(objective):
            advance = functools.partial(train_one, method, objective, self.form(objective))

            def steps(state, cell, root, stream, *block):
                return advance(state, cell, jax.random.fold_in(jax.random.fold_in(root, 1), stream), *block)

            return self._vectorise(steps, (state_axes, cell_axes, None, "stream", None, None, None), state_axes)

        self._initialise = self._vectorise(self._first, (None, 0, 0), 0)
        self._begin = self._vectorise(functools.partial(begin, method), (0, cell_axes), state_axes)
        self._steps_under = functools.cache(steps_under)
        evaluate = functools.partial(evaluate_one, fine, coarse, self.form(fine))
        self._evaluate = self._vectorise(evaluate, (0, cell_axes), 0)
        self._loss = self._vectorise(functools.partial(loss_one, fine, self.form(fine)), (0, cell_axes), 0)

    def _new(self, key, init_std):
        return model_class(self.shape.kind)(self.shape.n_features, self.shape.n_hidden, init_std, key=key)

    def _first(self, root, restart, init_std):
        return self._new(jax.random.fold_in(jax.random.fold_in(root, 0), restart), init_std)

    def _vectorise(self, function: Callable, in_axes: tuple, out_axes: Any) -> Callable:
        """The function of one model over (streams, models), models sharded over the devices, compiled once.

        Axes are 0 (its own for every model), "stream" (common to a stream) or None (common to all)."""
        common = tuple(None if axes == "stream" else axes for axes in in_axes)
        over_streams = tuple(0 if axes == "stream" else axes for axes in in_axes)
        over = jax.vmap if self.shape.streams > 1 else _only_one
        mapped = over(jax.vmap(function, common, out_axes), over_streams, out_axes)
        specs, out_specs = _partition(common), _partition(out_axes)
        sharded = jax.shard_map(mapped, mesh=self.mesh, in_specs=specs, out_specs=out_specs, check_vma=False)
        options = kernel.compiler_options(jax.default_backend(), self.mesh.size)
        return self._timed(jax.jit(sharded, compiler_options=options))

    def _timed(self, jitted) -> Callable:
        compiled = {}

        def call(*arguments):
            shapes = tuple(np.shape(x) for x in jax.tree.leaves(arguments))
            if shapes not in compiled:
                start = time.perf_counter()
                compiled[shapes] = jitted.lower(*arguments).compile()
                Program.compile_seconds += time.perf_counter() - start
            return compiled[shapes](*arguments)

        return call

    def chunk_models(self, objective: Objective, models: int) -> int:
        """Models of one chunk and stream where a stream has so many to be trained."""
        devices = self.mesh.size
        share = -(-models // devices)
        return _chunk_size(objective, self.shape.n_features, self.form(objective), share) * devices

    def _evaluation_chunk(self, stream: Int[np.ndarray, " models"]) -> int:
        """One size for all but large models: a loss must not depend on the number of others."""
        devices, form = self.mesh.size, self.form(self.fine)
        longest = int(np.bincount(stream).max())
        share = -(-longest // devices) if form == "mapped" else None
        return _chunk_size(self.fine, self.shape.n_features, form, share) * devices

    def initialise(
        self,
        seed: int,
        restart: Int[np.ndarray, " models"],
        stream: Int[np.ndarray, " models"],
        init_std: Float[np.ndarray, " models"],
        chunk: int,
    ) -> PyTree:
        """Initial weights from (seed, restart): equal in all cells, up to their scale."""
        root = root_key(seed)
        restart = restart.astype(np.int32)
        return self._gather(lambda index: self._initialise(root, restart[index], init_std[index]), stream, chunk)

    def train(
        self,
        batch: Batch,
        cells: Cell,
        stages: Sequence[Stage],
        factors: Float[np.ndarray, " steps"],
        seed: int,
        chunk: int,
        snapshots: Sequence[int] = (),
        progress: Callable[[float], None] = lambda models: None,
    ) -> Trained:
        """Train every model of the batch through all stages, in chunks of so many models of a stream.

        `progress` is told of the models (and fractions of one) just finished.
        """
        root, streams = root_key(seed), np.arange(self.shape.streams, dtype=np.int32)
        stops, pace = [*snapshots, *(stage.end for stage in stages)], Pace()

        def one_chunk(index):
            chunk_cells = self._cells_of(cells, batch.cell[index])
            models = jax.tree.map(lambda x: x[index], batch.models)
            state = self._begin(models, chunk_cells)
            kept = {0: models} if 0 in snapshots else {}
            first = 0
            while first < len(factors):
                start, end = time.perf_counter(), pace.end(first, stops)
                factor = np.resize(factors[first:end], BLOCK)
                advance = self._steps_under(next(stage.objective for stage in stages if end <= stage.end))
                state = advance(state, chunk_cells, root, streams, np.int32(first), np.int32(end - first), factor)
                jax.block_until_ready(state)
                if end in snapshots:
                    kept[end] = jax.tree.map(np.asarray, state.model)
                pace.record(end - first, time.perf_counter() - start)
                progress(np.sum(index >= 0) * (end - first) / len(factors))
                first = end
            history = jax.tree.map(lambda *xs: np.stack(xs, axis=2), *kept.values()) if kept else None
            return Trained(state.model, state.diverged_at, history)

        return self._gather(one_chunk, batch.stream, chunk)

    def evaluate(self, batch: Batch, cells: Cell) -> Evaluation:
        """Loss, feature losses and gradient norm of every model under the evaluation objective."""

        def one_chunk(index):
            models = jax.tree.map(lambda x: x[index], batch.models)
            return self._evaluate(models, self._cells_of(cells, batch.cell[index]))

        return self._gather(one_chunk, batch.stream, self._evaluation_chunk(batch.stream))

    def loss(self, batch: Batch, cells: Cell) -> Float[np.ndarray, " models"]:
        """Loss alone of every model under the evaluation objective."""

        def one_chunk(index):
            models = jax.tree.map(lambda x: x[index], batch.models)
            return self._loss(models, self._cells_of(cells, batch.cell[index]))

        return self._gather(one_chunk, batch.stream, self._evaluation_chunk(batch.stream))

    def _cells_of(self, cells: Cell, index: Int[np.ndarray, "streams models"]) -> Cell:
        hyper = {k: v[index] if k in self.shape.swept else v for k, v in cells.hyper.items()}
        return Cell(cells.importance[index], jax.tree.map(lambda x: x[index], cells.data), hyper)

    def _gather(self, one_chunk: Callable, stream: Int[np.ndarray, " models"], chunk: int) -> PyTree:
        """Run all models chunk by chunk and put the results, leaves (models, ...), back in their order."""
        order = _by_stream(stream, self.shape.streams)
        out = None
        for start in range(0, order.shape[1], chunk):
            index = order[:, start : start + chunk]
            index = np.pad(index, ((0, 0), (0, chunk - index.shape[1])), constant_values=-1)
            result = jax.tree.map(np.asarray, one_chunk(index))
            if out is None:
                out = jax.tree.map(lambda x: np.empty((len(stream), *x.shape[2:]), x.dtype), result)
            used = index >= 0
            for whole, part in zip(jax.tree.leaves(out), jax.tree.leaves(result), strict=True):
                whole[index[used]] = part[used]
        return out


def _only_one(function: Callable, in_axes: tuple, out_axes: Any) -> Callable:
    """`jax.vmap` over axes of length 1, without tracing the function once more."""

    def call(*arguments):
        take = lambda axis, x: x if axis is None else jax.tree.map(lambda leaf: leaf[0], x)  # noqa: E731
        add = lambda axis, x: x if axis is None else jax.tree.map(lambda leaf: leaf[None], x)  # noqa: E731
        arguments = [_along(take, axes, argument) for axes, argument in zip(in_axes, arguments, strict=True)]
        return _along(add, out_axes, function(*arguments))

    return call


def _along(function: Callable, axes: Any, tree: PyTree) -> PyTree:
    """`function(axis, subtree)` for every axis of a prefix of the tree."""
    return jax.tree.map(function, axes, tree, is_leaf=lambda axis: axis is None)


def _partition(axes: Any) -> Any:
    """Sharding of (streams, models, ...) leaves: models over devices where there are any."""
    return jax.tree.map(
        lambda axis: PartitionSpec() if axis is None else PartitionSpec(None, "models"),
        axes,
        is_leaf=lambda axis: axis is None,
    )


def _by_stream(stream: Int[np.ndarray, " models"], streams: int) -> Int[np.ndarray, "streams longest"]:
    """Model numbers of each stream, filled up with -1."""
    members = [np.flatnonzero(stream == s) for s in range(streams)]
    order = np.full((streams, max(map(len, members))), -1)
    for row, numbers in zip(order, members, strict=True):
        row[: len(numbers)] = numbers
    return order
