"""The training loop of one model; `engine` vectorises it over cells and restarts.

It reads like the method section of a paper: an objective, an optax optimiser, a loop over steps. It knows no toy
model. Everything that is a number comes in through a `Cell`, everything static through an objective and a `Method`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key, PyTree

from superjax.engine import kernel
from superjax.problem.data import Distribution
from superjax.problem.loss import Objective


class Cell(NamedTuple):
    """Everything about one model that is a number, so that it can be swept inside one compiled program.

    `hyper` holds the optimiser's numbers by name (learning_rate, weight_decay, b1, ...).
    """

    importance: Float[Array, " n_features"]
    data: Distribution
    hyper: dict[str, Float[Array, ""]]


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


def optimizer(kind: str, hyper: dict[str, Any], clip: bool, factor: Float[Array, ""]) -> optax.GradientTransformation:
    """The optax optimiser of a sweep file, with the schedule's factor at this step."""
    learning_rate = hyper["learning_rate"] * factor
    betas = {"b1": hyper["b1"], "b2": hyper["b2"]}
    make = {
        "adam": lambda: optax.adam(learning_rate, **betas, eps=hyper["eps"]),
        "adamw": lambda: optax.adamw(learning_rate, **betas, eps=hyper["eps"], weight_decay=hyper["weight_decay"]),
        "lion": lambda: optax.lion(learning_rate, **betas, weight_decay=hyper["weight_decay"]),
        "rmsprop": lambda: optax.rmsprop(learning_rate, decay=hyper["b2"], eps=hyper["eps"]),
        "sgd": lambda: optax.sgd(learning_rate, momentum=hyper["momentum"]),
    }[kind]()
    return optax.chain(optax.clip_by_global_norm(hyper["clip_norm"]), make) if clip else make


def begin(method: Method, model: PyTree, cell: Cell) -> TrainState:
    state = optimizer(method.optimizer, cell.hyper, method.clip, jnp.ones(())).init(model)
    return TrainState(model, state, jnp.array(-1, jnp.int32))


def gradient(objective: Objective, form: kernel.Form):
    """`(model, cell, draw, scale) -> gradient` of L / scale, where L = Σᵢ Iᵢ E[(xᵢ - x'ᵢ)²] is the paper's loss."""
    return _weighted(objective, kernel.vjp(objective.row_losses, form))


def loss_and_gradient(objective: Objective, form: kernel.Form):
    """`(model, cell, draw, scale) -> (feature_loss, gradient)`: every E[(xᵢ - x'ᵢ)²], the gradient of L / scale."""
    evaluate = _weighted(objective, kernel.value_and_vjp(objective.row_losses, form))

    def with_loss(model, cell: Cell, draw, scale=1.0):
        sums, gradient = evaluate(model, cell, draw, scale)
        return sums * objective.row_weight, gradient

    return with_loss


def _weighted(objective: Objective, function):
    """A function of the kernel, every feature's loss weighted by importance."""

    def evaluate(model, cell: Cell, draw, scale=1.0):
        weights = cell.importance * (objective.row_weight / scale)
        return function(model, cell.data, objective.rows(cell.data, draw), weights)

    return evaluate


def train_one(
    method: Method,
    objective: Objective,
    form: kernel.Form,
    state: TrainState,
    cell: Cell,
    key: Key[Array, ""],
    first_step: Int[Array, ""],
    count: Int[Array, ""],
    factors: Float[Array, " block"],
) -> TrainState:
    """Advance one model through `count` steps from `first_step`, with the schedule's factor at each.

    The loss is divided by a constant of the model first (`normalize`): losses fall with the density, to 1e-5, and
    Adam's epsilon would see it. Minibatches come from (key, step), so models with one key share them. The number of
    steps is traced: blocks of any length, hence snapshots at any steps, run the same program.
    """
    gradient_of = gradient(objective, form)
    n_features = cell.importance.shape[-1]
    scale = {"density": cell.data.activity(), "features": float(n_features), "none": 1.0}[method.normalize]

    def draw_of(step):
        return objective.draw(jax.random.fold_in(key, step))

    def advance(state: TrainState, step, factor, draw) -> TrainState:
        grads = gradient_of(state.model, cell, draw, scale)
        transform = optimizer(method.optimizer, cell.hyper, method.clip, factor)
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
            updates, optimizer_state = transform.update(grads, state.optimizer, state.model)
        first = (state.diverged_at < 0) & ~jnp.isfinite(optax.tree.sum(grads))
        return TrainState(
            optax.apply_updates(state.model, updates),
            optimizer_state,
            jnp.where(first, step, state.diverged_at),
        )

    def body(i, carry):
        state, draw = carry
        # The next draw is carried: drawn where it is used, it would be drawn anew for every model.
        following = draw if objective.fixed else draw_of(first_step + i + 1)
        return advance(state, first_step + i, factors[i], draw), following

    return lax.fori_loop(0, count, body, (state, draw_of(first_step)))[0]


class Evaluation(NamedTuple):
    """A trained model's loss, unweighted error of each feature, and the norm of the loss gradient.

    `second_loss` is the loss under another objective: how far it is off bounds the error of `loss`.
    """

    loss: Float[Array, ""]
    feature_loss: Float[Array, " n_features"]
    grad_norm: Float[Array, ""]
    second_loss: Float[Array, ""]


def evaluate_one(
    fine: Objective, second: Objective, form: kernel.Form, model: PyTree, cell: Cell, draws: tuple[Any, Any]
) -> Evaluation:
    """Loss of one model under an objective that is finer than the one it was trained with. `draws` are those of both
    objectives: large samples, which as constants of the program would take minutes to compile."""

    losses, grads = loss_and_gradient(fine, form)(model, cell, draws[0])
    second_loss = loss_one(second, form, model, cell, draws[1])
    return Evaluation(jnp.sum(cell.importance * losses), losses, optax.tree.norm(grads), second_loss)


def loss_one(objective: Objective, form: kernel.Form, model: PyTree, cell: Cell, draw: Any) -> Float[Array, ""]:
    """Loss of one model under an objective with fixed rows."""
    rows = objective.rows(cell.data, draw)
    sums = kernel.row_sum(objective.row_losses, form)(model, cell.data, rows)
    return jnp.sum(cell.importance * sums) * objective.row_weight
