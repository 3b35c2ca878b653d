"""Runs the compiled program of a case over any number of models, a fixed-size chunk at a time.

The size of a chunk depends on shapes and device, never on the number of models: memory stays bounded whatever the
grid, a grown grid leaves the old cells bitwise unchanged, and one compilation serves all chunks, all blocks of steps
and every snapshot schedule. The models of a chunk are split evenly over the devices; they never communicate.
"""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
from superjax.loss import Objective
from superjax.models import model_class
from superjax.train import Cell, Evaluation, Method, TrainState, begin, evaluate_one, train_one, weighted_loss

BLOCK = 100  # steps of one call: progress, snapshots and interrupts happen between blocks
# The sizes for CPU are measured; those for accelerators only say that large chunks are wanted there.
_CHUNK_ENTRIES = {"cpu": 2**20, "gpu": 2**29, "tpu": 2**27}  # rows x parameters x models of a chunk on one device
_CHUNK_MODELS = {"cpu": 2**11, "gpu": 2**19, "tpu": 2**17}


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


def _chunk_size(rows: int, parameters: int) -> int:
    """Models of one chunk and stream on one device: a power of two, 8 at least.

    Streams do not share it: each draws its own minibatches, and only many models make up for the draw.
    """
    backend = jax.default_backend()
    models = min(_CHUNK_ENTRIES[backend] // (rows * parameters), _CHUNK_MODELS[backend])
    return max(8, 1 << max(models, 1).bit_length() - 1)


def schedule_factors(train: spec.Train) -> Float[np.ndarray, " steps"]:
    """The learning rate's factor at every step: linear warm-up from 0, then the schedule."""
    decay = train.steps - train.warmup_steps
    after = {
        "constant": lambda: optax.constant_schedule(1.0),
        "cosine": lambda: optax.cosine_decay_schedule(1.0, max(decay, 1)),
        "linear": lambda: optax.linear_schedule(1.0, 0.0, max(decay, 1)),
    }[train.schedule]()
    warmup = optax.linear_schedule(0.0, 1.0, max(train.warmup_steps, 1))
    schedule = optax.join_schedules([warmup, after], [train.warmup_steps])
    return np.broadcast_to(schedule(jnp.arange(train.steps, dtype=jnp.float32)), (train.steps,))


def blocks(steps: int, snapshots: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first step, end) of each call: at most BLOCK steps, ending at every snapshot."""
    ends = sorted({*range(BLOCK, steps, BLOCK), *(s for s in snapshots if s > 0), steps})
    return zip([0, *ends[:-1]], ends, strict=True)


@functools.lru_cache(maxsize=16)
def program(shape: Shape, method: Method, fine: Objective, coarse: Objective, devices: int | None = None) -> "Program":
    """The program of a shape and method on the first `devices` devices, compiled at most once in a process."""
    return Program(shape, method, fine, coarse, jax.devices()[:devices])


def _choose_form(objective: Objective, model: PyTree, cell: Cell) -> kernel.Form:
    """The fused form where the model can be written as a modest number of scalar operations, else the plain one."""
    rows = jax.eval_shape(lambda data: objective.rows(data, objective.draw(jax.random.key(0))), cell.data)

    def row_gradient(shared, row):
        return jax.value_and_grad(weighted_loss(objective))(*shared, row)

    return "fused" if kernel.supports(row_gradient, (model, cell), rows) else "plain"


class Program:
    """The compiled functions of one shape: `initialise`, `train` and `evaluate`.

    Leaves of a chunk are (streams, models, ...). Counters of the optimiser and numbers that no axis sweeps are common
    to all models and stay unbatched. `compile_seconds` is what all programs of this process have cost to compile.
    """

    compile_seconds: ClassVar[float] = 0.0

    def __init__(self, shape: Shape, method: Method, fine: Objective, coarse: Objective, devices: Sequence[Any]):
        self.shape, self.fine = shape, fine
        self.mesh = jax.make_mesh(
            (len(devices),), ("models",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices
        )

        number = jax.ShapeDtypeStruct((), jnp.float32)
        numbers = jax.ShapeDtypeStruct((shape.n_features,), jnp.float32)
        data = jax.eval_shape(functools.partial(KINDS[shape.data].example, shape.n_features))
        cell = Cell(numbers, data, dict.fromkeys(HYPER, number))
        model = jax.eval_shape(self._new, jax.random.key(0), number)
        method = replace(method, form=_choose_form(method.objective, model, cell))
        parameters = sum(x.size for x in jax.tree.leaves(model))
        self.method = method
        self.chunk = _chunk_size(method.objective.n_rows, parameters) * len(devices)

        state = jax.eval_shape(functools.partial(begin, method), model, cell)
        counters = jax.tree.map(lambda x: 0 if jnp.issubdtype(x.dtype, jnp.inexact) else None, state.optimizer)
        state_axes = TrainState(0, counters, 0)
        cell_axes = Cell(0, 0, {name: 0 if name in shape.swept else None for name in HYPER})
        self._initialise = self._vectorise(self._new, (0, 0), 0)
        self._begin = self._vectorise(functools.partial(begin, method), (0, cell_axes), state_axes)
        self._advance = self._vectorise(
            functools.partial(train_one, method), (state_axes, cell_axes, "stream", None, None, None), state_axes
        )
        self._evaluate = self._vectorise(functools.partial(evaluate_one, fine, coarse, method.form), (0, cell_axes), 0)

    def _new(self, key, init_std):
        return model_class(self.shape.kind)(self.shape.n_features, self.shape.n_hidden, init_std, key=key)

    def _vectorise(self, function: Callable, in_axes: tuple, out_axes: Any) -> Callable:
        """The function of one model over (streams, models), models sharded over the devices, compiled once.

        Axes are 0 (its own for every model), "stream" (common to a stream) or None (common to all)."""
        common = [None if axes == "stream" else axes for axes in in_axes]
        over_streams = [0 if axes == "stream" else axes for axes in in_axes]
        mapped = jax.vmap(jax.vmap(function, tuple(common), out_axes), tuple(over_streams), out_axes)
        specs = tuple(_partition(axes) for axes in common)
        sharded = jax.shard_map(mapped, mesh=self.mesh, in_specs=specs, out_specs=_partition(out_axes), check_vma=False)
        options = kernel.compiler_options(jax.default_backend())
        return self._timed(jax.jit(sharded, compiler_options=options))

    def _timed(self, jitted) -> Callable:
        compiled = None

        def call(*arguments):
            nonlocal compiled
            if compiled is None:
                start = time.perf_counter()
                compiled = jitted.lower(*arguments).compile()
                Program.compile_seconds += time.perf_counter() - start
            return compiled(*arguments)

        return call

    def initialise(
        self, seed: int, restart: Int[np.ndarray, " models"], init_std: Float[np.ndarray, " models"]
    ) -> PyTree:
        """Initial weights from (seed, restart): equal in all cells, up to their scale."""
        key = jax.random.fold_in(root_key(seed), 0)
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))

        def one_chunk(index):
            return self._initialise(keys(restart[index].ravel()).reshape(index.shape), init_std[index])

        return self._gather(one_chunk, np.zeros(len(restart), int))

    def train(
        self,
        batch: Batch,
        cells: Cell,
        factors: Float[np.ndarray, " steps"],
        seed: int,
        snapshots: Sequence[int] = (),
        progress: Callable[[float], None] = lambda models: None,
    ) -> Trained:
        """Train every model of the batch; `progress` is told of the models (and fractions of one) just finished."""
        key = jax.random.fold_in(root_key(seed), 1)
        stream_keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(self.shape.streams))

        def one_chunk(index):
            chunk_cells = self._cells_of(cells, batch.cell[index])
            models = jax.tree.map(lambda x: x[index], batch.models)
            state = self._begin(models, chunk_cells)
            kept = {0: models} if 0 in snapshots else {}
            for first, end in blocks(len(factors), snapshots):
                factor = np.resize(factors[first:end], BLOCK)
                state = self._advance(state, chunk_cells, stream_keys, np.int32(first), np.int32(end - first), factor)
                if end in snapshots:
                    kept[end] = jax.tree.map(np.asarray, state.model)
                jax.block_until_ready(state)
                progress(np.sum(index >= 0) * (end - first) / len(factors))
            history = jax.tree.map(lambda *xs: np.stack(xs, axis=2), *kept.values()) if kept else None
            return Trained(state.model, state.diverged_at, history)

        return self._gather(one_chunk, batch.stream)

    def evaluate(self, batch: Batch, cells: Cell) -> Evaluation:
        """Loss, feature losses and gradient norm of every model under the evaluation objective."""

        def one_chunk(index):
            models = jax.tree.map(lambda x: x[index], batch.models)
            return self._evaluate(models, self._cells_of(cells, batch.cell[index]))

        return self._gather(one_chunk, batch.stream)

    def _cells_of(self, cells: Cell, index: Int[np.ndarray, "streams models"]) -> Cell:
        hyper = {k: v[index] if k in self.shape.swept else v for k, v in cells.hyper.items()}
        return Cell(cells.importance[index], jax.tree.map(lambda x: x[index], cells.data), hyper)

    def _gather(self, one_chunk: Callable, stream: Int[np.ndarray, " models"]) -> PyTree:
        """Run all models chunk by chunk and put the results, leaves (models, ...), back in their order."""
        order = _by_stream(stream, self.shape.streams)
        out = None
        for start in range(0, order.shape[1], self.chunk):
            index = order[:, start : start + self.chunk]
            index = np.pad(index, ((0, 0), (0, self.chunk - index.shape[1])), constant_values=-1)
            result = jax.tree.map(np.asarray, one_chunk(index))
            if out is None:
                out = jax.tree.map(lambda x: np.empty((len(stream), *x.shape[2:]), x.dtype), result)
            used = index >= 0
            for whole, part in zip(jax.tree.leaves(out), jax.tree.leaves(result), strict=True):
                whole[index[used]] = part[used]
        return out


def root_key(seed: int):
    return jax.random.key(seed, impl="threefry2x32")


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
