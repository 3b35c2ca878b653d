"""The training loop of many models, written for one; `engine` vectorises it over streams and devices.

It reads like the method section of a paper: an objective, an optax optimiser, a loop over steps. It knows no toy
model. Everything that is a number comes in through a `Cell`, everything static through an objective and a `Method`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key, PyTree

from superjax.engine import kernel
from superjax.engine.vectorised import moved, placed
from superjax.problem.expectation import Objective
from superjax.problem.problem import Laws


class Cell(NamedTuple):
    """Everything about one model that is a number, so that it can be swept inside one compiled program.

    `hyper` holds the optimiser's numbers by name (learning_rate, weight_decay, b1, ...); `n_hidden`, where an axis
    sweeps it, how many of the hidden dimensions the model has: the others are kept at 0.
    """

    laws: Laws
    hyper: dict[str, Float[Array, ""]]
    n_hidden: Float[Array, ""] | None = None


class TrainState(NamedTuple):
    """A model in training. `diverged_at` is the first step whose gradient (its sum) was not finite, -1 if none was."""

    model: PyTree
    optimizer: PyTree
    diverged_at: Int[Array, ""]


@dataclass(frozen=True)
class Method:
    """What is static in training: it selects a compiled program, no number of it is swept."""

    optimizer: str = "adam"
    clip: bool = False
    normalize: str = "density"
    decayed: str = "all"


def optimizer(
    kind: str, hyper: dict[str, Any], clip: bool, factor: Float[Array, ""], decayed: str = "all"
) -> optax.GradientTransformation:
    """The optax optimiser of a sweep file, with the schedule's factor at this step. Weight decay concerns the arrays
    that are `decayed`: all, or weights alone, which have two dimensions or more."""
    of_weights = None if decayed == "all" else lambda arrays: jax.tree.map(lambda x: x.ndim > 1, arrays)
    decay = {"weight_decay": hyper["weight_decay"], "mask": of_weights}
    learning_rate = hyper["learning_rate"] * factor
    betas = {"b1": hyper["b1"], "b2": hyper["b2"]}
    make = {
        "adam": lambda: optax.adam(learning_rate, **betas, eps=hyper["eps"]),
        "adamw": lambda: optax.adamw(learning_rate, **betas, eps=hyper["eps"], **decay),
        "lion": lambda: optax.lion(learning_rate, **betas, **decay),
        "rmsprop": lambda: optax.rmsprop(learning_rate, decay=hyper["b2"], eps=hyper["eps"]),
        "sgd": lambda: optax.sgd(learning_rate, momentum=hyper["momentum"]),
    }[kind]()
    return optax.chain(optax.clip_by_global_norm(hyper["clip_norm"]), make) if clip else make


def begin(method: Method, model: PyTree, cell: Cell) -> TrainState:
    model = masked(model, cell)
    state = optimizer(method.optimizer, cell.hyper, method.clip, jnp.ones(()), method.decayed).init(model)
    return TrainState(model, state, jnp.array(-1, jnp.int32))


def masked(arrays: PyTree, cell: Cell) -> PyTree:
    """Arrays of a model, or gradients, with 0 in the hidden dimensions that the cell has not."""
    if cell.n_hidden is None:
        return arrays
    found = []
    for array, dims in _with_dims(arrays):
        for axis in (k for k, dim in enumerate(dims) if dim == "hidden"):
            there = jnp.arange(array.shape[axis], dtype=jnp.float32) < cell.n_hidden
            array = jnp.where(there.reshape([-1 if k == axis else 1 for k in range(array.ndim)]), array, 0.0)
        found.append(array)
    return jax.tree.unflatten(jax.tree.structure(arrays), found)


def _with_dims(arrays: PyTree) -> list[tuple[Any, tuple[str, ...]]]:
    """The arrays of a model with the names of their dimensions."""
    dims, leaves = type(arrays).dims, jax.tree_util.tree_leaves_with_path(arrays)
    return [(array, dims[jax.tree_util.keystr(path)[1:]]) for path, array in leaves]


def gradient(objective: Objective, form: kernel.Form):
    """`(model, cell, draw, scale) -> gradient` of L / scale, where L is the weighted sum of the means of all terms'
    values: Σᵢ Iᵢ E[(xᵢ - x'ᵢ)²] with the paper's loss alone."""
    return _weighted(objective, kernel.vjp(objective.row_values, form))


def values_and_gradient(objective: Objective, form: kernel.Form):
    """`(model, cell, draw, scale) -> (values, gradient)`: the mean of every value of the terms, the gradient of
    L / scale."""
    evaluate = _weighted(objective, kernel.value_and_vjp(objective.row_values, form))

    def with_values(model, cell: Cell, draw, scale=1.0):
        sums, gradient = evaluate(model, cell, draw, scale)
        return sums * objective.row_weight, gradient

    return with_values


def _weighted(objective: Objective, function):
    """A function of the kernel, every value with its weight."""

    def evaluate(model, cell: Cell, draw, scale=1.0):
        weights = cell.laws.weights() * (objective.row_weight / scale)
        return function(model, cell.laws, objective.rows(cell.laws, draw), weights)

    return evaluate


def train(
    method: Method,
    objective: Objective,
    form: kernel.Form,
    axes: tuple[Any, Any],
    states: TrainState,
    cells: Cell,
    key: Key[Array, ""],
    first_step: Int[Array, ""],
    count: Int[Array, ""],
    factors: Float[Array, " block"],
    turn: int = 1,
) -> TrainState:
    """Advance the models of a stream through `count` steps from `first_step`, with the schedule's factor at each.

    `axes` say what of states and cells has a leading axis of models (0) and what is common to all (None). The loss is
    divided by a constant of the model first (`normalize`): losses fall with the density, to 1e-5, and Adam's epsilon
    would see it. Minibatches come from (key, step), so models with one key share them. The number of steps is traced:
    blocks of any length, hence snapshots at any steps, run the same program. Whether to go on is asked once in `turn`
    steps, and of the last ones, fewer than that, after each.
    """
    gradient_of = gradient(objective, form)

    def draw_of(step):
        return objective.draw(jax.random.fold_in(key, step))

    def slopes_of(model: PyTree, cell: Cell, draw) -> PyTree:
        n_outputs = cell.laws.terms[0].weights().shape[-1]
        scale = {"density": cell.laws.data.activity(), "features": float(n_outputs), "none": 1.0}[method.normalize]
        return masked(gradient_of(model, cell, draw, scale), cell)

    def advance(state: TrainState, grads: PyTree, cell: Cell, step, factor) -> TrainState:
        transform = optimizer(method.optimizer, cell.hyper, method.clip, factor, method.decayed)
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
            updates, optimizer_state = transform.update(grads, state.optimizer, state.model)
        first = (state.diverged_at < 0) & ~jnp.isfinite(optax.tree.sum(grads))
        return TrainState(
            optax.apply_updates(state.model, updates),
            optimizer_state,
            jnp.where(first, step, state.diverged_at),
        )

    # The sums of the fused form have the models last: where all arrays do, the optimiser is vectorised over models.
    inside = -1 if form == "fused" else 0
    state_axes, cell_axes = placed(axes, inside)
    slopes = jax.vmap(slopes_of, (inside, cell_axes, None), inside)
    advanced = jax.vmap(advance, (state_axes, inside, cell_axes, None, None), state_axes)
    cells = moved(axes[1], cells, 0, inside)

    def body(i, carry):
        states, draw = carry
        # The next draw is carried: drawn where it is used, it would be drawn anew for every model.
        following = draw if objective.fixed else draw_of(first_step + i + 1)
        grads = slopes(states.model, cells, draw)
        return advanced(states, grads, cells, first_step + i, factors[i]), following

    def several(j, carry):
        return lax.fori_loop(0, turn, lambda k, carry: body(j * turn + k, carry), carry)

    carry, begin = (moved(axes[0], states, 0, inside), draw_of(first_step)), 0
    if turn > 1:
        carry = lax.fori_loop(0, count // turn, several, carry)
        begin = count // turn * turn
    return moved(axes[0], lax.fori_loop(begin, count, body, carry)[0], inside, 0)


class Evaluation(NamedTuple):
    """A trained model's loss, unweighted error of each output, and the norm of the gradient of all that is minimised.

    `loss` is the error alone. `terms` are the weighted means of all terms if there are several, else None; their sum is
    what is minimised. `second_loss` is the loss under another objective: how far it is off bounds the error of `loss`.
    """

    loss: Float[Array, ""]
    feature_loss: Float[Array, " n_outputs"]
    grad_norm: Float[Array, ""]
    second_loss: Float[Array, ""]
    terms: Float[Array, " terms"] | None = None

    @property
    def minimised(self) -> Float[Array | np.ndarray, "*models"]:
        """What is minimised: the loss, or the sum of all terms."""
        return self.loss if self.terms is None else self.terms.sum(-1)


def evaluate_one(
    fine: Objective, second: Objective, form: kernel.Form, model: PyTree, cell: Cell, draws: tuple[Any, Any]
) -> Evaluation:
    """Loss of one model under an objective that is finer than the one it was trained with. `draws` are those of both
    objectives: large samples, which as constants of the program would take minutes to compile."""
    model = masked(model, cell)
    values, grads = values_and_gradient(fine, form)(model, cell, draws[0])
    second_loss = loss_one(second, form, True, model, cell, draws[1])
    parts = _by_term(cell, values)
    terms = jnp.stack([jnp.sum(term.weights() * part) for term, part in parts]) if len(parts) > 1 else None
    error, errors = parts[0]
    return Evaluation(jnp.sum(error.weights() * errors), errors, optax.tree.norm(grads), second_loss, terms)


def loss_one(
    objective: Objective, form: kernel.Form, error: bool, model: PyTree, cell: Cell, draw: Any
) -> Float[Array, ""]:
    """What is minimised of one model under an objective with fixed rows, or of it the `error` alone."""
    rows = objective.rows(cell.laws, draw)
    sums = kernel.row_sum(objective.row_values, form)(masked(model, cell), cell.laws, rows)
    parts = _by_term(cell, sums)
    losses = [jnp.sum(term.weights() * part) * objective.row_weight for term, part in parts]
    return losses[0] if error else sum(losses[1:], losses[0])


def _by_term(cell: Cell, values: Float[Array, " values"]) -> list[tuple[Any, Float[Array, " _"]]]:
    """The terms, and of all values side by side those of each."""
    sizes = [term.weights().shape[-1] for term in cell.laws.terms]
    parts = jnp.split(values, np.cumsum(sizes)[:-1]) if len(sizes) > 1 else [values]
    return list(zip(cell.laws.terms, parts, strict=True))


def moments_one(
    objective: Objective, laws: Laws, draw: Any
) -> tuple[Float[Array, " n_outputs"], Float[Array, " n_outputs"]]:
    """Mean and variance of every output's target under an objective with fixed rows."""
    rows = objective.rows(laws, draw)
    sums = jnp.sum(jax.vmap(lambda row: objective.targets(laws, row), -1, -1)(rows), axis=-1) * objective.row_weight
    return sums[0], jnp.maximum(sums[1] - sums[0] ** 2, 0.0)
