"""The compiled program of a case: initialises, trains and evaluates models, a chunk on every device at a time.

One compilation for every objective and size of a chunk serves all blocks of steps and every snapshot schedule. Chunks
come in few sizes, none of which changes a model's numbers (unless it runs in the plain form): a grown grid leaves the
old cells bitwise unchanged. Devices never communicate.
"""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Float, Int, Integer, PyTree

from superjax.engine import bfgs, kernel
from superjax.engine.newton import relax_one
from superjax.engine.pace import BLOCK, Pace
from superjax.engine.plan import Plan
from superjax.engine.random import root_key
from superjax.engine.train import (
    Cell,
    Evaluation,
    Method,
    TrainState,
    begin,
    evaluate_one,
    loss_one,
    moments_one,
    train,
)
from superjax.engine.vectorised import Compiled, vectorised
from superjax.problem.expectation import Objective
from superjax.problem.problem import Problem
from superjax.spec.grid import HYPER

_TURN = 16  # steps between which an accelerator need not ask whether to go on, as it waits for the answer each time
_MAPPED_ENTRIES = 2**13  # rows x parameters of a model from which one by one is faster than all in one product
Role = Literal["train", "evaluate"]


@dataclass(frozen=True)
class Shape:
    """What the models of a program have in common: their problem; `swept` names the optimiser's numbers that differ,
    `masked` says that the number of hidden dimensions does."""

    problem: Problem
    streams: int = 1
    swept: frozenset[str] = frozenset()
    masked: bool = False


class Progress(NamedTuple):
    """Models in training, leaves (streams, models, ...); the optimiser's counters have no axes.

    `snapshots` has leaves (streams, models, snapshots, ...), 0 where they are still to come; None without any.
    """

    state: TrainState
    snapshots: PyTree | None


def _refusal(objective: Objective, model: PyTree, cell: Cell) -> str | None:
    """Why the model does not run in the fused form, if it does not."""
    rows = jax.eval_shape(lambda laws: objective.rows(laws, objective.draw(jax.random.key(0))), cell.laws)
    return kernel.refusal(objective.row_values, model, cell.laws, rows)


def _choose_form(objective: Objective, model: PyTree, refusal: str | None) -> kernel.Form:
    """Fused where the model is a modest number of scalar operations; one by one where it is large; else plain."""
    if refusal is None:
        return "fused"
    entries = objective.n_rows * sum(x.size for x in jax.tree.leaves(model))
    return "mapped" if jax.default_backend() == "cpu" and entries >= _MAPPED_ENTRIES else "plain"


def _turn() -> int:
    return 1 if jax.default_backend() == "cpu" else _TURN


@functools.lru_cache(maxsize=16)
def program(
    shape: Shape, method: Method, fine: Objective, second: Objective, devices: int | None = None, own: str = ""
) -> "Program":
    """The program of a shape and method on the first `devices` devices of this process, one in a process, or one for
    every `own` name: where forms are chosen, they are those of a case."""
    return Program(shape, method, fine, second, jax.local_devices()[:devices])


class Program:
    """The compiled functions of one shape: `initialise`, `start` and `advance`, `evaluate` and `loss`.

    `model` and `state` have the shapes of one model's arrays, and of it in training. Counters of the optimiser and
    numbers that no axis sweeps are common to all models and stay unbatched. Every objective and size of a chunk is
    compiled once, at its first use.
    """

    def __init__(self, shape: Shape, method: Method, fine: Objective, second: Objective, devices: Sequence[Any]):
        self.shape, self.method, self.fine, self.second = shape, method, fine, second
        self.mesh = _mesh(devices)

        number = jax.ShapeDtypeStruct((), jnp.float32)
        laws = shape.problem.laws()
        cell = Cell(laws, dict.fromkeys(HYPER, number), number if shape.masked else None)
        self.model = model = shape.problem.shapes()
        self._chosen: dict[tuple[Role, Objective], kernel.Form] = {}
        self.choice: Any = None  # kept for `choice.choice_of`
        self.refusal = functools.cache(lambda objective: _refusal(objective, model, cell))

        self.state = state = jax.eval_shape(functools.partial(begin, method), model, cell)
        counters = jax.tree.map(lambda x: 0 if jnp.issubdtype(x.dtype, jnp.inexact) else None, state.optimizer)
        state_axes = TrainState(0, counters, 0)
        cell_axes = Cell(0, {name: 0 if name in shape.swept else None for name in HYPER}, 0 if shape.masked else None)

        def steps_under(objective, form) -> Compiled:
            advance = functools.partial(train, method, objective, form, (state_axes, cell_axes), turn=_turn())

            def steps(state, cell, root, stream, *block):
                return advance(state, cell, jax.random.fold_in(jax.random.fold_in(root, 1), stream), *block)

            in_axes = (state_axes, cell_axes, None, "stream", None, None, None)
            return self._vectorise("steps", steps, in_axes, state_axes, of_many=True)

        self._initialise = self._vectorise("initialise", self._first, (None, 0, 0, 0), 0, 1)
        self._begin = self._vectorise("begin", functools.partial(begin, method), (0, cell_axes), state_axes)
        self._steps_in = functools.cache(steps_under)

        def evaluation_in(form) -> Compiled:
            evaluate = functools.partial(evaluate_one, fine, second, form)
            return self._vectorise("evaluate", evaluate, (0, cell_axes, None), 0, 1)

        def loss_in(form, error) -> Compiled:
            return self._vectorise("loss", functools.partial(loss_one, fine, form, error), (0, cell_axes, None), 0, 1)

        def relaxation_in(form) -> Compiled:
            # On one device: with several on a CPU, eigenvalues of large batches wait for one another for ever.
            relax = functools.partial(relax_one, fine, form)
            return self._vectorise("relax", relax, (0, cell_axes, None), 0, 1, mesh=_mesh(devices[:1]))

        def descent_under(objectives, side_by_side) -> Compiled:
            forms = tuple((objective, self._form_of_descent(objective)) for objective in objectives)
            descend = functools.partial(bfgs.descend, forms, model, cell_axes, side_by_side)
            return self._vectorise("descend", descend, (0, cell_axes, *[None] * 4), 0, 1, of_many=True)

        def beside(objective, side_by_side, by) -> Compiled:
            form = self._form_of_descent(objective)
            lowest = functools.partial(bfgs.lowest_beside, objective, form, model, cell_axes, side_by_side, by)
            return self._vectorise("beside", lowest, (0, cell_axes, *[None] * 2), 0, 1, of_many=True)

        self._descent_under, self._beside = functools.cache(descent_under), functools.cache(beside)
        self._evaluation_in, self._loss_in = functools.cache(evaluation_in), functools.cache(loss_in)
        self._relaxation_in = functools.cache(relaxation_in)
        self._moments = jax.jit(lambda laws, draw: lax.map(lambda one: moments_one(fine, one, draw), laws))

    def form(self, objective: Objective, role: Role = "train") -> kernel.Form:
        """The form in which an objective is minimised or evaluated: that which was chosen, else by the shape."""
        return self.chosen(role, objective) or _choose_form(objective, self.model, self.refusal(objective))

    def chosen(self, role: Role, objective: Objective) -> kernel.Form | None:
        """The form that was chosen, if any was."""
        return self._chosen.get((role, objective))

    def _form_of_descent(self, objective: Objective) -> kernel.Form:
        """What losses are evaluated under has a form of its own, chosen for that."""
        return self.form(objective, "evaluate" if objective == self.fine else "train")

    def use(self, role: Role, objective: Objective, form: kernel.Form) -> None:
        """Choose the form of an objective that is minimised or evaluated."""
        self._chosen[role, objective] = form

    def forms(self, objective: Objective) -> list[kernel.Form]:
        """The forms that an accelerator tries, that of the shape first."""
        return ["fused", "plain"] if self.refusal(objective) is None else ["plain"]

    def _steps_under(self, objective: Objective) -> Compiled:
        return self._steps_in(objective, self.form(objective))

    @functools.cached_property
    def _draws(self) -> tuple[Any, Any]:
        """What the fine and the second objective draw, on every device."""
        drawn = tuple(objective.draw(jax.random.key(0)) for objective in (self.fine, self.second))
        return jax.device_put(drawn, jax.sharding.NamedSharding(self.mesh, PartitionSpec()))

    @functools.cached_property
    def evaluation(self) -> Evaluation:
        """What is found of one model under evaluation, as shapes."""
        problem, number = self.shape.problem, jax.ShapeDtypeStruct((), jnp.float32)
        terms = jax.ShapeDtypeStruct((len(problem.terms),), jnp.float32) if len(problem.terms) > 1 else None
        return Evaluation(number, jax.ShapeDtypeStruct((problem.n_outputs,), jnp.float32), number, number, terms)

    def _first(self, root, numbers, init_std, init_bias):
        key = jax.random.fold_in(root, 0)
        for number in numbers:
            key = jax.random.fold_in(key, number)
        return self.shape.problem.new(key, init_std, init_bias)

    def _vectorise(
        self,
        name: str,
        function: Callable,
        in_axes: tuple,
        out_axes: Any,
        streams: int | None = None,
        of_many: bool = False,
        mesh: jax.sharding.Mesh | None = None,
    ) -> Compiled:
        mesh = mesh or self.mesh
        options = kernel.compiler_options(jax.default_backend(), mesh.size)
        return vectorised(name, function, in_axes, out_axes, mesh, streams or self.shape.streams, options, of_many)

    def steps_of(
        self, objective: Objective, form: kernel.Form, cells: Cell, cell: Int[np.ndarray, "streams models"], count: int
    ) -> tuple[Compiled, tuple]:
        """The steps under an objective in a form, and what they are called with for `count` steps of models of 0."""
        models, cells = self._zeros(cell), self._cells_of(cells, cell)
        streams, factors = np.arange(self.shape.streams, dtype=np.int32), np.zeros(BLOCK, np.float32)
        state, root = self._begin(models, cells), root_key(0)
        arguments = state, cells, root, streams, np.int32(0), np.int32(count), factors
        return self._steps_in(objective, form), arguments

    def evaluation_of(
        self, form: kernel.Form, cells: Cell, cell: Int[np.ndarray, "1 models"]
    ) -> tuple[Compiled, tuple]:
        """The evaluation in a form, and what it is called with for models of 0."""
        return self._evaluation_in(form), (self._zeros(cell), self._cells_of(cells, cell), self._draws)

    def _zeros(self, cell: np.ndarray) -> PyTree:
        return jax.tree.map(lambda x: np.zeros((*cell.shape, *x.shape), x.dtype), self.model)

    def initialise(
        self,
        seed: int,
        numbers: Integer[np.ndarray, "models numbers"],
        init_std: Float[np.ndarray, " models"],
        init_bias: Float[np.ndarray, " models"],
        chunk: int,
    ) -> PyTree:
        """Initial weights from the seed and the numbers of a model, leaves (models, ...): models with the same numbers
        start alike, up to their scale and what is added to the bias."""
        root, numbers = root_key(seed), numbers.astype(np.uint32)
        return self._in_chunks(
            lambda i, _: self._initialise(root, numbers[i], init_std[i], init_bias[i]), len(numbers), chunk
        )

    def start(self, models: PyTree, cells: Cell, cell: Int[np.ndarray, "streams models"], plan: Plan) -> Progress:
        """Models, leaves (streams, models, ...), of the given cells before their first step."""
        state = self._begin(models, self._cells_of(cells, cell))
        if not plan.snapshots:
            return Progress(state, None)
        count = len(plan.snapshots)
        snapshots = jax.tree.map(lambda x: np.zeros((*x.shape[:2], count, *x.shape[2:]), x.dtype), models)
        return _with_snapshot(Progress(state, snapshots), 0, plan)

    def advance(
        self,
        progress: Progress,
        step: int,
        cells: Cell,
        cell: Int[np.ndarray, "streams models"],
        plan: Plan,
        pace: Pace,
    ) -> Iterator[tuple[int, Progress]]:
        """Train models from a step on to the end; after every call, which `pace` sizes, the step and how they are."""
        root, streams = root_key(plan.seed), np.arange(self.shape.streams, dtype=np.int32)
        stops = [*plan.snapshots, *(part.end for part in plan.parts)]
        cells = self._cells_of(cells, cell)
        while step < len(plan.factors):
            start, end = time.perf_counter(), pace.end(step, stops)
            factor = np.resize(plan.factors[step:end], BLOCK)
            advance = self._steps_under(next(part.objective for part in plan.parts if end <= part.end))
            state = advance(progress.state, cells, root, streams, np.int32(step), np.int32(end - step), factor)
            jax.block_until_ready(state)
            pace.record(end - step, time.perf_counter() - start)
            progress, step = _with_snapshot(progress._replace(state=state), end, plan), end
            yield step, progress

    def evaluate(self, models: PyTree, cells: Cell, cell: Int[np.ndarray, " models"], chunk: int) -> Evaluation:
        """Loss, feature losses and gradient norm of every model under the evaluation objective."""
        return self._under_evaluation(
            self._evaluation_in(self.form(self.fine, "evaluate")), self._draws, models, cells, cell, chunk
        )

    def loss(
        self, models: PyTree, cells: Cell, cell: Int[np.ndarray, " models"], chunk: int, error: bool = False
    ) -> Float[np.ndarray, " models"]:
        """What is minimised of every model under the evaluation objective, or of it the `error` alone."""
        return self._under_evaluation(
            self._loss_in(self.form(self.fine, "evaluate"), error), self._draws[0], models, cells, cell, chunk
        )

    def relax(
        self, models: PyTree, cells: Cell, cell: Int[np.ndarray, " models"], chunk: int
    ) -> tuple[PyTree, Float[np.ndarray, " models"]]:
        """The minima of the evaluation objective that models fall to, by Newton's method, and what is minimised there.
        For models of few numbers."""
        relaxation = self._relaxation_in(self.form(self.fine, "evaluate"))
        draw = self.fine.draw(jax.random.key(0))
        return self._under_evaluation(relaxation, draw, models, cells, cell, -(-chunk // self.mesh.size))

    def descend(
        self, objectives: tuple[Objective, ...], which: int, walks: bfgs.Walk, cells: Cell,
        cell: Int[np.ndarray, " models"], chunk: int, side_by_side: int, steps: int,
    ) -> bfgs.Walk:  # fmt: skip
        """So many steps of BFGS under one of some objectives with fixed rows; a chunk is a multiple of `side_by_side`,
        the models of a group."""
        function = self._descent_under(objectives, side_by_side)
        draws = [objective.draw(jax.random.key(0)) for objective in objectives]
        numbers = np.int32(which), np.int32(steps)

        def one_chunk(index, used):
            own = jax.tree.map(lambda x: x[index], walks)
            return function(own, self._cells_of(cells, cell[index]), np.int32(used), draws, *numbers)

        return self._in_chunks(one_chunk, len(cell), chunk)

    def lowest_beside(
        self, objective: Objective, by: float, x: Float[np.ndarray, "models numbers"], cells: Cell,
        cell: Int[np.ndarray, " models"], chunk: int, side_by_side: int,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
        """The lowest place beside each flat model, and what is minimised there and where the model is."""
        function, draw = self._beside(objective, side_by_side, by), objective.draw(jax.random.key(0))

        def one_chunk(index, used):
            return function(x[index], self._cells_of(cells, cell[index]), np.int32(used), draw)

        return self._in_chunks(one_chunk, len(cell), chunk)

    def moments(
        self, laws: PyTree
    ) -> tuple[Float[np.ndarray, "cells n_outputs"], Float[np.ndarray, "cells n_outputs"]]:
        """Mean and variance of every output's target in every cell: in closed form where the input is the target and
        has one, else under the evaluation objective."""
        if self.shape.problem.target.identity and (found := jax.vmap(lambda laws: laws.data.moments())(laws)):
            mean, variance = found
        else:
            mean, variance = self._moments(laws, self._draws[0])
        return np.asarray(mean), np.asarray(variance)

    def _under_evaluation(
        self, function: Callable, draws: Any, models: PyTree, cells: Cell, cell: np.ndarray, chunk: int
    ) -> Any:

        def one_chunk(index, _):
            return function(jax.tree.map(lambda x: x[index], models), self._cells_of(cells, cell[index]), draws)

        return self._in_chunks(one_chunk, len(cell), chunk)

    def _cells_of(self, cells: Cell, index: Int[np.ndarray, "streams models"]) -> Cell:
        hyper = {k: v[index] if k in self.shape.swept else v for k, v in cells.hyper.items()}
        n_hidden = None if cells.n_hidden is None else cells.n_hidden[index]
        return Cell(jax.tree.map(lambda x: x[index], cells.laws), hyper, n_hidden)

    def _in_chunks(self, one_chunk: Callable, models: int, chunk: int) -> PyTree:
        """A function of model numbers (1, models), and of how many are used on a device, over all models: a chunk on
        every device at a time, and of fewer models as many on each."""
        devices, parts, number = self.mesh.size, [], np.arange(chunk)
        for start in range(0, models, chunk * devices):
            here = min(chunk * devices, models - start)
            used = -(-here // devices)
            place = used * np.arange(devices)[:, None] + number
            index, wanted = start + np.minimum(place, here - 1).ravel(), ((number < used) & (place < here)).ravel()
            found = one_chunk(index[None], used)
            parts.append(jax.tree.map(lambda x, wanted=wanted: np.asarray(x)[0, wanted], found))
        return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)


def _mesh(devices: Sequence[Any]) -> jax.sharding.Mesh:
    return jax.make_mesh((len(devices),), ("models",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices)


def _with_snapshot(progress: Progress, step: int, plan: Plan) -> Progress:
    if step in plan.snapshots:
        position = list(plan.snapshots).index(step)
        for kept, now in zip(jax.tree.leaves(progress.snapshots), jax.tree.leaves(progress.state.model), strict=True):
            kept[:, :, position] = np.asarray(now)
    return progress
