"""Array code as scalar arithmetic: a small interpreter of a jaxpr, entry by entry.

An array of the jaxpr is held as a numpy object array of scalars: moving axes costs nothing and adds no operation.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

# Above this many scalar operations a row registers overflow and compiling takes long: at n = 20, m = 5 (1090) the
# mapped form is as fast and compiles in a third of the time, at n = 40, m = 8 (3264) the fused one takes 26 s.
MAX_SCALAR_OPERATIONS = 1000
ELEMENTWISE = frozenset(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type copy cos cosh div "
    "eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p log2 logistic lt max min mul ne "
    "neg not one_minus_square or pow rem round rsqrt select_n sign sin sinh sqrt square stop_gradient sub tan "
    "tanh".split()
)

NESTED = frozenset({"jit", "pjit", "closed_call"})


class Unsupported(NotImplementedError):
    """The function uses an operation that the fused form cannot write as scalar arithmetic."""


def scalar_operations(function: Callable, *arguments: Any) -> int:
    """How many scalar operations the scalar form of `function` has. Raises Unsupported."""
    scalars = lambda *xs: scalar_outputs(function, arguments, xs)  # noqa: E731
    leaves = jax.tree.leaves(arguments)
    closed = jax.make_jaxpr(scalars)(*[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves])
    return sum(equation.primitive.name in ELEMENTWISE for equation in closed.jaxpr.eqns)


def struct(x):
    return jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x))


def scalar_outputs(function, arguments, leaves) -> list:
    """The entries of all outputs of `function(*arguments)` as scalars, computed from `leaves` entry by entry."""
    closed = jax.make_jaxpr(function)(*jax.tree.map(struct, arguments))
    outputs = _evaluate(closed.jaxpr, closed.consts, [_entries(x) for x in leaves])
    return [jnp.asarray(entry) for output in outputs for entry in output.ravel()]


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
    if inner is not None and name in {*NESTED, "custom_jvp_call", "custom_vjp_call"}:
        return _evaluate(inner.jaxpr, inner.consts, inputs)
    if name in ELEMENTWISE:
        return [_elementwise(primitive, params, inputs)]
    if name in _STRUCTURAL:
        return [_STRUCTURAL[name](*inputs, **params)]
    if name in _DIVIDING:
        return _DIVIDING[name](*inputs, **params)
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


def _reduce(operation, x, axes) -> np.ndarray:
    x = np.moveaxis(x, axes, range(len(axes)))
    rest = x.shape[len(axes) :]
    return operation.reduce(x.reshape(-1, math.prod(rest)), axis=0).reshape(rest)


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
    return _reduce(np.add, x * y, (0,)).reshape(rest)


def _broadcast_in_dim(x, shape, broadcast_dimensions, **_) -> np.ndarray:
    aligned = [1] * len(shape)
    for dimension, size in zip(broadcast_dimensions, x.shape, strict=True):
        aligned[dimension] = size
    return np.broadcast_to(x.reshape(aligned), shape)


def _slice(x, start_indices, limit_indices, strides, **_) -> np.ndarray:
    strides = strides or (1,) * x.ndim
    return x[tuple(slice(*span) for span in zip(start_indices, limit_indices, strides, strict=True))]


def _place(shape, starts, sizes) -> tuple[slice, ...]:
    """Where a dynamic slice lies, if that is known: inside the array, as XLA has it."""
    starts = [start.item() for start in starts]
    if any(isinstance(start, jax.core.Tracer) for start in starts):
        raise Unsupported("a slice at a computed place has no scalar form")
    first = [min(max(int(s), 0), n - size) for s, n, size in zip(starts, shape, sizes, strict=True)]
    return tuple(slice(s, s + size) for s, size in zip(first, sizes, strict=True))


def _dynamic_update_slice(x, update, *starts, **_) -> np.ndarray:
    x = x.copy()
    x[_place(x.shape, starts, update.shape)] = update
    return x


def _pad(x, value, padding_config) -> np.ndarray:
    low, high, between = (np.array(column, int) for column in zip(*padding_config, strict=True))
    spread = np.maximum((np.array(x.shape) - 1) * (between + 1) + 1, 0)
    out = np.full(np.maximum(low, 0) + spread + np.maximum(high, 0), value.item(), object)
    start = np.maximum(low, 0)
    out[tuple(slice(*span) for span in zip(start, start + spread, between + 1, strict=True))] = x
    return out[tuple(slice(max(-a, 0), size + min(b, 0)) for a, b, size in zip(low, high, out.shape, strict=True))]


def _cumulative(operation, x, axis, reverse) -> np.ndarray:
    x = np.flip(x, axis) if reverse else x
    out = operation.accumulate(x, axis)
    return np.flip(out, axis) if reverse else out


_STRUCTURAL = {
    "broadcast_in_dim": _broadcast_in_dim,
    "cumprod": lambda x, axis, reverse: _cumulative(np.multiply, x, axis, reverse),
    "cumsum": lambda x, axis, reverse: _cumulative(np.add, x, axis, reverse),
    "concatenate": lambda *xs, dimension, **_: np.concatenate(xs, axis=dimension),
    "dot_general": _dot_general,
    "dynamic_slice": lambda x, *starts, slice_sizes: x[_place(x.shape, starts, slice_sizes)],
    "dynamic_update_slice": _dynamic_update_slice,
    "pad": _pad,
    "reduce_prod": lambda x, axes, **_: _reduce(np.multiply, x, axes),
    "reduce_sum": lambda x, axes, **_: _reduce(np.add, x, axes),
    "reshape": lambda x, new_sizes, **_: x.reshape(new_sizes),
    "rev": lambda x, dimensions, **_: np.flip(x, dimensions),
    "slice": _slice,
    "squeeze": lambda x, dimensions, **_: np.squeeze(x, tuple(dimensions)),
    "stack": lambda *xs, axis, **_: np.stack(xs, axis),
    "transpose": lambda x, permutation, **_: np.transpose(x, permutation),
}

_DIVIDING = {
    "split": lambda x, sizes, axis: np.split(x, np.cumsum(sizes)[:-1], axis),
    "unstack": lambda x, axis: list(np.moveaxis(x, axis, 0)),
}
