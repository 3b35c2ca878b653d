"""The training loop of one model; `engine` vectorises it over cells and restarts.

It reads like the method section of a paper: an objective, an optax optimiser, a scan over steps. It knows no toy
model. Everything that is a number comes in through a `Cell`, everything static through a `Method`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key, PyTree

from superjax import kernel
from superjax.data import Independent
from superjax.loss import Objective


class Cell(NamedTuple):
    """Everything about one model that is a number, so that it can be swept inside one compiled program.

    `hyper` holds the optimiser's numbers by name (learning_rate, weight_decay, b1, ...).
    """

    importance: Float[Array, " n_features"]
    data: Independent
    hyper: dict[str, Float[Array, ""]]


class TrainState(NamedTuple):
    """A model in training. `diverged_at` is the first step whose loss was not finite, -1 if none was."""

    model: PyTree
    optimizer: PyTree
    diverged_at: Int[Array, ""]


@dataclass(frozen=True)
class Method:
    """What is static in training: it selects a compiled program, no number of it is swept."""

    objective: Objective
    optimizer: str = "adam"
    clip: bool = False
    normalize: str = "density"
    form: kernel.Form = "plain"


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


def weighted_loss(objective: Objective):
    """One row's contribution to L = Σᵢ Iᵢ E[(xᵢ - x'ᵢ)²], the paper's sum over features."""

    def row_loss(model, cell: Cell, row):
        return jnp.sum(cell.importance * objective.row_losses(model, cell.data, row))

    return row_loss


def train_one(
    method: Method,
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
    objective = method.objective
    loss_and_grad = kernel.value_and_grad(weighted_loss(objective), method.form)
    n_features = cell.importance.shape[-1]
    scale = {"density": cell.data.activity(), "features": float(n_features), "none": 1.0}[method.normalize]
    fixed_rows = objective.rows(cell.data, objective.draw(key)) if objective.fixed else None

    def advance(state: TrainState, step, factor) -> TrainState:
        rows = fixed_rows
        if not objective.fixed:
            rows = objective.rows(cell.data, objective.draw(jax.random.fold_in(key, step)))
        loss, grads = loss_and_grad(state.model, cell, rows)
        grads = jax.tree.map(lambda g: g / scale, grads)
        transform = optimizer(method.optimizer, cell.hyper, method.clip, factor)
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
            updates, optimizer_state = transform.update(grads, state.optimizer, state.model)
        first = (state.diverged_at < 0) & ~jnp.isfinite(loss)
        return TrainState(
            optax.apply_updates(state.model, updates),
            optimizer_state,
            jnp.where(first, step, state.diverged_at),
        )

    return lax.fori_loop(0, count, lambda i, state: advance(state, first_step + i, factors[i]), state)


class Evaluation(NamedTuple):
    """A trained model's loss, unweighted error of each feature, and the norm of the loss gradient.

    `coarse_loss` is the loss under a coarser objective: how far it is off bounds the error of `loss`.
    """

    loss: Float[Array, ""]
    feature_loss: Float[Array, " n_features"]
    grad_norm: Float[Array, ""]
    coarse_loss: Float[Array, ""]


def evaluate_one(fine: Objective, coarse: Objective, form: kernel.Form, model: PyTree, cell: Cell) -> Evaluation:
    """Loss of one model under an objective that is finer than the one it was trained with."""

    def feature_loss(objective):
        rows = objective.rows(cell.data, objective.draw(jax.random.key(0)))
        summed = kernel.row_sum(lambda shared, row: objective.row_losses(*shared, row), form)
        return summed((model, cell.data), rows), rows

    losses, rows = feature_loss(fine)
    coarse_losses, _ = feature_loss(coarse)
    _, grads = kernel.value_and_grad(weighted_loss(fine), form)(model, cell, rows)
    return Evaluation(
        jnp.sum(cell.importance * losses),
        losses,
        optax.tree.norm(grads),
        jnp.sum(cell.importance * coarse_losses),
    )
