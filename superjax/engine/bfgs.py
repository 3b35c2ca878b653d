"""Models of few numbers moved to the minimum nearby by the method of Broyden, Fletcher, Goldfarb and Shanno (BFGS;
Nocedal and Wright, "Numerical Optimization", 2006, section 6.1), all side by side.

A step of a model is one gradient, where it would move to. If the loss rises there it stays, and its next step is
shorter: a search along lines would let all models wait for the one that searches longest.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from superjax.engine import kernel
from superjax.engine.train import Cell, masked, values_and_gradient
from superjax.engine.vectorised import along, moved, placed
from superjax.problem.expectation import Objective

MAX_NUMBERS = 64  # of a model: the estimate of the inverse Hessian has their square
_DECREASE = 1e-4  # of the loss in a step, relative to that of its slope, from which it counts
_ROUNDING = 3e-7  # relative, of a loss in float32
_LONGEST = 0.1  # step: a longer one may leave a basin for the next but one
_SHORTER, _TRIES = 0.3, 6  # of a step that raised the loss; after so many the estimate is dropped
_SQUARED = 12  # times that a matrix is squared, after which its largest eigenvector is what is left
_CURVED = 1e-4  # cosine of the angle between a step and the change of the gradient, from which the loss curves upwards
_FLATTER = 2.0  # how much longer steps become where it does not
_SETTLED = 3e-6  # norm of the gradient, relative to the loss, at which a model is at rest


class Walk(NamedTuple):
    """A model on its way, flat: what is minimised there and its gradient, the estimate of the inverse Hessian, the step
    that comes next, how often it was made shorter, and whether there is no estimate yet."""

    x: Float[Array | np.ndarray, "*models numbers"]
    loss: Float[Array | np.ndarray, "*models"]
    gradient: Float[Array | np.ndarray, "*models numbers"]
    inverse: Float[Array | np.ndarray, "*models numbers numbers"]
    move: Float[Array | np.ndarray, "*models numbers"]
    tries: Int[Array | np.ndarray, "*models"]
    fresh: Bool[Array | np.ndarray, "*models"]


def flat(models: PyTree) -> Float[np.ndarray, "models numbers"]:
    """Models, leaves (models, ...), one after the other."""
    return np.concatenate([np.asarray(x).reshape(len(x), -1) for x in jax.tree.leaves(models)], axis=1)


def unflat(like: PyTree, x: Float[np.ndarray, "models numbers"]) -> PyTree:
    """The models, with the shapes of one."""
    leaves, structure = jax.tree.flatten(like)
    parts = np.split(x, np.cumsum([leaf.size for leaf in leaves])[:-1], axis=1)
    return structure.unflatten(part.reshape(-1, *leaf.shape) for part, leaf in zip(parts, leaves, strict=True))


def begin(x: Float[np.ndarray, "models numbers"]) -> Walk:
    """Models before their first step."""
    nothing, inverse = np.zeros_like(x), np.broadcast_to(np.eye(x.shape[1], dtype=x.dtype), (*x.shape, x.shape[1]))
    loss, fresh = np.full(len(x), np.inf, x.dtype), np.ones(len(x), bool)
    return Walk(x, loss, nothing, inverse.copy(), nothing.copy(), np.zeros(len(x), np.int32), fresh)


def gain(walks: Walk) -> Float[np.ndarray, " models"]:
    """How much lower the loss would be after the next step, by the estimate and relative to its size. NaN where there
    is no loss, 0 where the gradient is 0 to rounding."""
    lower = np.einsum("ki,kij,kj->k", walks.gradient, walks.inverse, walks.gradient) / 2
    flat_there = np.linalg.norm(walks.gradient, axis=-1) <= _SETTLED * np.abs(walks.loss)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isfinite(walks.loss), np.where(flat_there, 0.0, lower / np.abs(walks.loss)), np.nan)


def descend(
    objectives: Sequence[tuple[Objective, kernel.Form]], like: PyTree, cell_axes: Any, side_by_side: int, walks: Walk,
    cells: Cell, used: Int[Array, ""], draws: Sequence[PyTree], which: Int[Array, ""], count: Int[Array, ""],
) -> Walk:  # fmt: skip
    """Take `count` steps with models (models, ...) of the shapes of `like` under one of some objectives with fixed
    rows: in one program, as it takes long to compile. The first models are `used`, in groups of so many
    `side_by_side`."""

    def of_group(walks: Walk, cells: Cell) -> Walk:
        def under(one: tuple[Objective, kernel.Form], draw: PyTree) -> Callable:
            evaluate = _of_many(*one, like, cell_axes)
            return lambda x: evaluate(x, cells, draw)

        found = list(map(under, objectives, draws))

        def step(_, walks: Walk) -> Walk:
            x = walks.x + walks.move
            return _step(walks, x, *lax.switch(which, found, x))

        return lax.fori_loop(0, count, step, walks)

    return _in_groups(of_group, side_by_side, used, walks, cell_axes, cells)


def lowest_beside(
    objective: Objective, form: kernel.Form, like: PyTree, cell_axes: Any, side_by_side: int, by: float,
    x: Float[Array, "models numbers"], cells: Cell, used: Int[Array, ""], draw: PyTree,
) -> tuple[Float[Array, "models numbers"], Float[Array, " models"], Float[Array, " models"]]:  # fmt: skip
    """Where what is minimised is lowest of the places beside each of `x`, how low it is there, and at `x`, on the scale
    of training. In each place one number is larger or smaller `by` so much, or it is that far along the direction in
    which the loss curves least, either way. The first models are `used`, in groups of so many `side_by_side`.

    On one side of a kink of a ReLU a model may be on a saddle that its Hessian does not show. That is of differences of
    gradients, and its lowest eigenvector from a high power of a matrix: LAPACK's is not for large batches here.
    """
    of_many, size = _of_many(objective, form, like, cell_axes), x.shape[1]
    axes = by * jnp.eye(size, dtype=x.dtype)
    along_axes = jnp.concatenate([jnp.zeros_like(axes[:1]), axes, -axes])[..., None]

    def of_group(found: tuple[Array, Array, Array], cells: Cell) -> tuple[Array, Array, Array]:
        x = found[0]
        evaluate = functools.partial(lax.map, lambda move: of_many(x + move, cells, draw))
        losses, gradients = evaluate(along_axes)
        move = by * _flattest((gradients[1 : size + 1] - gradients[size + 1 :]) / (2 * by))
        along_it = jnp.stack([move, -move])
        losses = jnp.concatenate([losses, evaluate(along_it)[0]])
        moves = jnp.concatenate([jnp.broadcast_to(along_axes, (len(along_axes), *x.shape)), along_it])
        lowest = 1 + jnp.argmin(losses[1:], axis=0)
        place = x + jnp.take_along_axis(moves, lowest[None, None], axis=0)[0]
        return place, jnp.take_along_axis(losses, lowest[None], axis=0)[0], losses[0]

    nothing = jnp.zeros(len(x), x.dtype)
    return _in_groups(of_group, side_by_side, used, (x, nothing, nothing), cell_axes, cells)


def _flattest(hessian: Float[Array, "numbers numbers models"]) -> Float[Array, "numbers models"]:
    """The direction in which each loss curves least, of length 1."""
    size, hessian = len(hessian), (hessian + hessian.swapaxes(0, 1)) / 2
    largest = jnp.max(jnp.sum(jnp.abs(hessian), axis=1, keepdims=True), axis=0, keepdims=True)

    def squared(_, matrix: Array) -> Array:  # entry by entry of all models: matrix products are slow in batches
        add = lambda k, sums: sums + matrix[:, k][:, None] * matrix[k][None]  # noqa: E731
        matrix = lax.fori_loop(0, size, add, jnp.zeros_like(matrix))
        return matrix / jnp.maximum(jnp.max(jnp.abs(matrix), axis=(0, 1), keepdims=True), 1e-30)

    power = jnp.eye(size, dtype=hessian.dtype)[..., None] - hessian / jnp.maximum(largest, 1e-30)
    power = lax.fori_loop(0, _SQUARED, squared, power)
    found = jnp.sum(power * jnp.cos(jnp.arange(size, dtype=hessian.dtype))[None, :, None], axis=1)
    return found / jnp.maximum(jnp.sqrt(jnp.sum(found * found, axis=0, keepdims=True)), 1e-30)


def _in_groups(
    of_group: Callable[[PyTree, Cell], PyTree], side_by_side: int, used: Int[Array, ""], models: PyTree, cell_axes: Any,
    cells: Cell,
) -> PyTree:  # fmt: skip
    """A function of models and cells, whose last axis is that of models, over models (models, ...) in groups of so many
    `side_by_side`: their number is a multiple of it. Groups after the last that is `used` stay as they are."""
    models, cells = moved(0, models, 0, -1), moved(cell_axes, cells, 0, -1)

    def one_group(k: Array, models: PyTree) -> PyTree:
        first = k * side_by_side
        take = lambda leaf: lax.dynamic_slice_in_dim(leaf, first, side_by_side, -1)  # noqa: E731
        put = lambda leaf, part: lax.dynamic_update_slice_in_dim(leaf, part, first, -1)  # noqa: E731
        own = along(lambda axis, x: x if axis is None else jax.tree.map(take, x), cell_axes, cells)
        return jax.tree.map(put, models, of_group(jax.tree.map(take, models), own))

    return moved(0, lax.fori_loop(0, -(-used // side_by_side), one_group, models), -1, 0)


def _of_many(objective: Objective, form: kernel.Form, like: PyTree, cell_axes: Any) -> Callable:
    """`_flat_objective` of models on the last axis."""
    return jax.vmap(_flat_objective(objective, form, like), (-1, placed(cell_axes, -1), None), -1)


def _flat_objective(objective: Objective, form: kernel.Form, like: PyTree) -> Callable:
    """`(x, cell, draw) -> (loss, gradient)` of a flat model: what is minimised, as in training."""
    unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like))[1]
    evaluate = values_and_gradient(objective, form)

    def value_and_gradient(x: Array, cell: Cell, draw: PyTree) -> tuple[Array, Array]:
        scale = cell.laws.data.activity()
        values, gradient = evaluate(masked(unravel(x), cell), cell, draw, scale)
        return jnp.sum(cell.laws.weights() * values) / scale, ravel_pytree(masked(gradient, cell))[0]

    return value_and_gradient


def _step(walk: Walk, x: Array, loss: Array, gradient: Array) -> Walk:
    """What follows from the loss and its gradient at `x`, where walks would move to. Models are on the last axis."""
    change, first = gradient - walk.gradient, ~jnp.isfinite(walk.loss)
    slope, slope_there, curvature, size, turn = _dots(
        (walk.gradient, walk.move), (gradient, walk.move), (walk.move, change), (walk.move, walk.move), (change, change)
    )
    equal = (jnp.abs(loss - walk.loss) <= _ROUNDING * jnp.abs(walk.loss)) & (
        jnp.abs(slope_there) <= 0.9 * jnp.abs(slope)
    )
    better = (loss <= walk.loss + _DECREASE * slope) | equal  # false of NaN
    tries = jnp.where(better, 0, walk.tries + 1)
    lost = tries >= _TRIES

    curved = better & ~first & (curvature > _CURVED * jnp.sqrt(size * turn))
    sized = jnp.where(curved & walk.fresh, curvature / jnp.where(curved, turn, 1.0), 0.0)  # the first estimate
    rho = jnp.where(curved, 1.0 / jnp.where(curved, curvature, 1.0), 0.0)
    longer = jnp.where(better & ~curved & ~first, _FLATTER, 1.0)
    of_change = _where(sized > 0, sized[None] * change, _times(walk.inverse, change))
    turned, _ = _dots((change, of_change), (change, change))
    identity = jnp.broadcast_to(jnp.eye(len(x), dtype=x.dtype)[..., None], walk.inverse.shape)
    inverse = _where(sized > 0, identity * sized[None, None], longer[None, None] * walk.inverse)
    inverse -= _outer(rho[None] * walk.move, of_change) + _outer(of_change, rho[None] * walk.move)
    inverse += _outer(((rho * turned + 1.0) * rho)[None] * walk.move, walk.move)

    here = [_where(better, new, old) for new, old in zip((x, loss, gradient), walk[:3], strict=True)]
    direction = -_times(inverse, here[2])
    downhill, length, steepest = _dots((direction, here[2]), (direction, direction), (here[2], here[2]))
    uphill = ~(downhill <= 0) | lost
    short = jnp.minimum(1.0, _LONGEST / jnp.maximum(jnp.sqrt(jnp.where(uphill, steepest, length)), 1e-30))
    move = _where(better | lost, short[None] * _where(uphill, -here[2], direction), _SHORTER * walk.move)
    inverse, fresh = _where(uphill, identity, inverse), uphill | (walk.fresh & ~curved)
    return Walk(*here, inverse, move, jnp.where(lost, 0, tries), fresh)


def _where(which: Array, x: Array, y: Array) -> Array:
    return jnp.where(jnp.broadcast_to(which, x.shape), x, y)


def _outer(a: Array, b: Array) -> Array:
    return a[:, None] * b[None]


def _dots(*pairs: tuple[Array, Array]) -> Sequence[Array]:
    """Scalar products of at least two pairs. One reduction with several results is computed once; XLA would compute
    what is elementwise, or a single sum, anew for every entry of a matrix that it is in."""
    products = tuple(a * b for a, b in pairs)
    zeros = tuple(jnp.zeros((), x.dtype) for x in products)
    return lax.reduce(products, zeros, lambda a, b: tuple(map(jnp.add, a, b)), (0,))


def _times(matrix: Array, vector: Array) -> Array:
    """A product as a sum of columns, elementwise over the models."""
    return functools.reduce(jnp.add, [matrix[:, k] * vector[k][None] for k in range(len(vector))])
