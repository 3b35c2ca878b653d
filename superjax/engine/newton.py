"""A model moved to the minimum nearby by damped Newton steps: for small models, where gradient steps take long.

Near the end of a branch of minima, and where one begins to grow, the loss is flat along one direction, and steps along
the gradient are many. The Hessian is that of differences of the gradient, which the fast kernel has: the second
derivative jumps at the kinks of a ReLU, over which differences average.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from superjax.engine import kernel
from superjax.engine.train import Cell, masked, values_and_gradient
from superjax.problem.expectation import Objective

MAX_NUMBERS = 64  # of a model, each of which costs two gradients a step
_STEPS = 60
_DIFFERENCE = 5e-4  # of weights, over which gradients are subtracted
_LONGEST = 0.05  # step: a longer one may leave a basin for the next but one
_ROUNDING = 3e-7  # relative, of a loss in float32
_SETTLED = 3e-6  # norm of the gradient, relative to the loss, at which a model is at rest, if not on a saddle
_GAIN = 1e-9  # of a step, relative to the loss, at which it is as well
_LEAST, _MOST = 1e-5, 30.0  # damping; curvatures are of order 1


class _Walk(NamedTuple):
    """A model on its way, flat, with what is minimised, its gradient, eigenvalues and eigenvectors of the Hessian, the
    damping, and how many steps are left."""

    x: Float[Array, " numbers"]
    loss: Float[Array, ""]
    gradient: Float[Array, " numbers"]
    curvature: Float[Array, " numbers"]
    axes: Float[Array, "numbers numbers"]
    damping: Float[Array, ""]
    left: Int[Array, ""]


def relax_one(
    objective: Objective, form: kernel.Form, model: PyTree, cell: Cell, draw: PyTree
) -> tuple[PyTree, Float[Array, ""]]:
    """The minimum that a model falls to, and what is minimised there, under an objective with fixed rows.

    Every step solves (|H| + λ) step = -gradient, where |H| has the sizes of the eigenvalues of the Hessian: it goes
    downhill also where the Hessian is not positive, and so leaves saddles. One that raises the loss is not taken, and λ
    grows. Losses that agree to rounding say nothing: then the slope along the step must not go up as much as it went
    down.
    """
    start, unravel = ravel_pytree(masked(model, cell))
    scale, weights = cell.laws.data.activity(), cell.laws.weights()
    evaluate = values_and_gradient(objective, form)

    def evaluated(x: Float[Array, " numbers"]) -> tuple[Float[Array, ""], Float[Array, " numbers"]]:
        values, gradient = evaluate(unravel(x), cell, draw, scale)
        return jnp.sum(weights * values) / scale, ravel_pytree(masked(gradient, cell))[0]

    size = start.size
    moves = _DIFFERENCE * jnp.eye(size, dtype=start.dtype)
    around = jnp.concatenate([0 * moves[:1], moves, -moves])  # where the loss is evaluated for every step, all at once

    def under_way(walk: _Walk) -> Bool[Array, ""]:
        gain = jnp.sum(jnp.square(walk.axes.T @ walk.gradient) / (jnp.abs(walk.curvature) + _LEAST)) / 2
        settled = (jnp.linalg.norm(walk.gradient) <= _SETTLED * walk.loss) | (gain <= _GAIN * walk.loss)
        settled = settled & (walk.curvature[0] > 0)
        return (walk.left == _STEPS) | (walk.left > 0) & ~settled & (walk.damping < _MOST)

    def step(walk: _Walk) -> _Walk:
        move = -walk.axes @ ((walk.axes.T @ walk.gradient) / (jnp.abs(walk.curvature) + walk.damping))
        move = move * jnp.minimum(1.0, _LONGEST / jnp.maximum(jnp.linalg.norm(move), 1e-30))
        losses, gradients = jax.vmap(lambda by: evaluated(walk.x + move + by))(around)
        loss, gradient = losses[0], gradients[0]
        hessian = (gradients[1 : size + 1] - gradients[size + 1 :]) / (2 * _DIFFERENCE)
        slack, up, down = _ROUNDING * jnp.abs(loss), jnp.vdot(move, gradient), -jnp.vdot(move, walk.gradient)
        better = (loss < walk.loss - slack) | ((loss <= walk.loss + slack) & (up < 0.9 * down))  # false of NaN
        reached = _Walk(
            walk.x + move, loss, gradient, *jnp.linalg.eigh((hessian + hessian.T) / 2),
            jnp.maximum(walk.damping / 10, _LEAST), walk.left - 1,
        )  # fmt: skip
        stayed = walk._replace(damping=walk.damping * 10, left=walk.left - 1)
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), reached, stayed)

    nothing, zeros = jnp.array(jnp.inf, start.dtype), jnp.zeros_like(start)
    first = _Walk(start, nothing, zeros, zeros, 0 * moves, jnp.array(1e-3, start.dtype), jnp.array(_STEPS, jnp.int32))
    walk = lax.while_loop(under_way, step, first)
    return unravel(walk.x), walk.loss * scale
