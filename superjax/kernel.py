"""Sums over samples or quadrature rows of an unbatched function: the one home of the fast kernel.

A toy model is a few tiny matrix products. Vectorised plainly they become batched products of 2 x 1 matrices that
no library runs well, and every intermediate is stored. The *fused* form rewrites the function of one row into
scalar arithmetic (a small interpreter of its jaxpr), so that `vmap` over rows and models leaves nothing but
elementwise work, and puts all outputs (loss and every gradient entry) into one variadic `lax.reduce`: XLA then
emits a single loop over the rows that keeps everything in vector registers and stores nothing of size
models x rows. The *plain* form is `vmap` and autodiff as anybody would write them; the two agree to rounding.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax

Form = Literal["fused", "plain"]

# Above this many scalar operations a row the fused form takes too long to compile: 26 s at n = 40, m = 8. At n = 20,
# m = 5, below it, it still trains 2.5 times faster than the plain one.
MAX_SCALAR_OPERATIONS = 2000

_ELEMENTWISE = frozenset(
    "abs add add_any and ceil clamp convert_element_type copy cos div eq erf exp exp2 expm1 floor ge gt integer_pow "
    "is_finite le log log1p logistic lt max min mul ne neg not or pow rem rsqrt select_n sign sin sqrt square "
    "stop_gradient sub tanh".split()
)


class Unsupported(NotImplementedError):
    """The function uses an operation that the fused form cannot write as scalar arithmetic."""


def compiler_options(backend: str) -> dict[str, bool | int]:
    """XLA options that the fused form needs on a backend.

    On CPU a float sum may only be reordered, hence vectorised, under fast math. NaN and infinity stay honoured.
    """
    if backend != "cpu":
        return {}
    return {"xla_cpu_enable_fast_math": True, "xla_cpu_prefer_vector_width": 512}


def row_sum(function: Callable, form: Form) -> Callable:
    """Sum of `function(shared, row)`, a tree of arrays, over the leading axis of `rows`."""
    if form == "fused":
        return lambda shared, rows: _fused_sum(function, shared, rows)

    def plain(shared, rows):
        outputs = jax.vmap(function, (None, 0))(shared, rows)
        return jax.tree.map(lambda x: jnp.sum(x, axis=0), outputs)

    return plain


def value_and_grad(row_loss: Callable, form: Form) -> Callable:
    """`(params, shared, rows) -> (loss, gradient)` of the sum over rows of `row_loss(params, shared, row)`."""
    if form == "fused":

        def one_row(arguments, row):
            params, shared = arguments
            return jax.value_and_grad(row_loss)(params, shared, row)

        return lambda params, shared, rows: _fused_sum(one_row, (params, shared), rows)

    def total(params, shared, rows):
        return jnp.sum(jax.vmap(row_loss, (None, None, 0))(params, shared, rows))

    return jax.value_and_grad(total)


def supports(function: Callable, shared: Any, rows: Any) -> bool:
    """Whether the fused form can and should run `function(shared, row)`; arguments may be shape structs."""
    count = 0

    def counting(function):
        nonlocal count
        count = scalar_operations(function, shared, jax.tree.map(_first_row, rows))

    try:
        counting(function)
    except Unsupported:
        return False
    return count <= MAX_SCALAR_OPERATIONS


def scalar_operations(function: Callable, *arguments: Any) -> int:
    """How many scalar operations the scalar form of `function` has. Raises Unsupported."""
    scalars = lambda *xs: _scalar_outputs(function, arguments, xs)  # noqa: E731
    leaves = jax.tree.leaves(arguments)
    closed = jax.make_jaxpr(scalars)(*[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves])
    return sum(equation.primitive.name in _ELEMENTWISE for equation in closed.jaxpr.eqns)


def _fused_sum(function, shared, rows):
    row = jax.tree.map(_first_row, rows)
    shape = jax.eval_shape(function, jax.tree.map(_struct, shared), row)
    leaves = jax.tree.leaves(shared)
    columns = jax.vmap(lambda r: _scalar_outputs(function, (shared, row), (*leaves, *jax.tree.leaves(r))))(rows)
    zeros = tuple(jnp.zeros((), c.dtype) for c in columns)
    totals = iter(lax.reduce(tuple(columns), zeros, lambda a, b: tuple(map(jnp.add, a, b)), (0,)))
    return jax.tree.map(
        lambda leaf: jnp.stack([next(totals) for _ in range(math.prod(leaf.shape))]).reshape(leaf.shape), shape
    )


def _struct(x):
    return jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x))


def _first_row(x):
    return jax.ShapeDtypeStruct(jnp.shape(x)[1:], jnp.result_type(x))


def _scalar_outputs(function, arguments, leaves) -> list:
    """The entries of all outputs of `function(*arguments)` as scalars, computed from `leaves` entry by entry."""
    closed = jax.make_jaxpr(function)(*jax.tree.map(_struct, arguments))
    outputs = _evaluate(closed.jaxpr, closed.consts, [_entries(x) for x in leaves])
    return [jnp.asarray(entry) for output in outputs for entry in output.ravel()]


# An array of the jaxpr is held as a numpy object array of scalars: moving axes costs nothing and adds no operation.


def _entries(x) -> np.ndarray:
    out = np.empty(np.shape(x), object)
    for index in np.ndindex(out.shape):
        out[index] = x[index] if index else x
    return out


def _evaluate(jaxpr, consts, arguments) -> list[np.ndarray]:
    environment = dict(zip(jaxpr.constvars, map(_entries, consts), strict=True))
    environment.update(zip(jaxpr.invars, arguments, strict=True))

    def read(variable):
        return _entries(variable.val) if isinstance(variable, jex.Literal) else environment[variable]

    for equation in jaxpr.eqns:
        inputs = [read(v) for v in equation.invars]
        outputs = _apply(equation.primitive, equation.params, inputs)
        environment.update(zip(equation.outvars, outputs, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _apply(primitive, params, inputs) -> list[np.ndarray]:
    name = primitive.name
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    if inner is not None and name in ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call"):
        return _evaluate(inner.jaxpr, inner.consts, inputs)
    if name in _ELEMENTWISE:
        return [_elementwise(primitive, params, inputs)]
    if name in _STRUCTURAL:
        return [_STRUCTURAL[name](*inputs, **params)]
    raise Unsupported(f"the operation {name!r} has no scalar form")


def _refuse_large(operations: int) -> None:
    if operations > MAX_SCALAR_OPERATIONS:
        raise Unsupported(f"an operation on {operations} scalars is left to array code")


def _elementwise(primitive, params, inputs) -> np.ndarray:
    shape = np.broadcast_shapes(*(x.shape for x in inputs))
    _refuse_large(math.prod(shape))
    inputs = [np.broadcast_to(x, shape) for x in inputs]
    out = np.empty(shape, object)
    for index in np.ndindex(shape):
        out[index] = primitive.bind(*(jnp.asarray(x[index]) for x in inputs), **params)
    return out


def _sum_leading(terms: np.ndarray) -> np.ndarray:
    """Sum over axis 0 of an object array of shape (terms, rest)."""
    out = np.empty(terms.shape[1], object)
    for column in range(out.size):
        out[column] = sum(terms[1:, column], start=terms[0, column])
    return out


def _reduce_sum(x, axes, **_) -> np.ndarray:
    x = np.moveaxis(x, axes, range(len(axes)))
    rest = x.shape[len(axes) :]
    return _sum_leading(x.reshape(-1, math.prod(rest))).reshape(rest)


def _dot_general(x, y, dimension_numbers, **_) -> np.ndarray:
    (x_contract, y_contract), (x_batch, _) = dimension_numbers
    if x_batch:
        raise Unsupported("a batched matrix product has no scalar form")
    x = np.moveaxis(x, x_contract, range(len(x_contract)))
    y = np.moveaxis(y, y_contract, range(len(y_contract)))
    rest = x.shape[len(x_contract) :] + y.shape[len(y_contract) :]
    terms = math.prod(x.shape[: len(x_contract)])
    _refuse_large(terms * math.prod(rest))
    x, y = x.reshape(terms, -1, 1), y.reshape(terms, 1, -1)
    return _sum_leading((x * y).reshape(terms, -1)).reshape(rest)


def _broadcast_in_dim(x, shape, broadcast_dimensions, **_) -> np.ndarray:
    aligned = [1] * len(shape)
    for dimension, size in zip(broadcast_dimensions, x.shape, strict=True):
        aligned[dimension] = size
    return np.broadcast_to(x.reshape(aligned), shape)


def _slice(x, start_indices, limit_indices, strides, **_) -> np.ndarray:
    strides = strides or (1,) * x.ndim
    return x[tuple(slice(*span) for span in zip(start_indices, limit_indices, strides, strict=True))]


_STRUCTURAL = {
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": lambda *xs, dimension, **_: np.concatenate(xs, axis=dimension),
    "dot_general": _dot_general,
    "reduce_sum": _reduce_sum,
    "reshape": lambda x, new_sizes, **_: x.reshape(new_sizes),
    "rev": lambda x, dimensions, **_: np.flip(x, dimensions),
    "slice": _slice,
    "squeeze": lambda x, dimensions, **_: np.squeeze(x, tuple(dimensions)),
    "stack": lambda *xs, axis, **_: np.stack(xs, axis),
    "transpose": lambda x, permutation, **_: np.transpose(x, permutation),
}
