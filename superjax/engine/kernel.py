"""Sums over samples or quadrature rows of an unbatched function: the one home of the fast kernel.

A toy model is a few tiny matrix products. Vectorised plainly they become batched products of 2 x 1 matrices that
no library runs well, and every intermediate is stored. Three forms, equal to rounding:

* *fused*, for small models: the function of one row and its gradient are rewritten into scalar arithmetic (a small
  interpreter of their jaxpr), so that `vmap` over rows and models leaves nothing but elementwise work, and all outputs
  (every sum and gradient entry) go into one variadic `lax.reduce`: XLA then emits a single loop over the rows that
  keeps everything in vector registers and stores nothing of size models x rows.
* *mapped*, for large models on CPU: one model after the other, each a few products of matrices that are wide enough,
  with the rows last. Each device does its share of the models.
* *plain*: `vmap` and autodiff as anybody would write them.

Rows are on the trailing axis everywhere, which accelerators want long: the features of a toy model, 2 or 5, would be
padded to 128 there on TPU, and threads of a GPU read neighbouring rows.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.core
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import sequential_vmap

from superjax.system.machine import usable_cores

Form = Literal["fused", "mapped", "plain"]
FORMS: tuple[Form, ...] = ("fused", "mapped", "plain")

# Above this many scalar operations a row registers overflow and compiling takes long: at n = 20, m = 5 (1090) the
# mapped form is as fast and compiles in a third of the time, at n = 40, m = 8 (3264) the fused one takes 26 s.
MAX_SCALAR_OPERATIONS = 1000
_BLOCK_ROWS = 2**12  # of the mapped form

_ELEMENTWISE = frozenset(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type copy cos cosh div "
    "eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p log2 logistic lt max min mul ne "
    "neg not one_minus_square or pow rem round rsqrt select_n sign sin sinh sqrt square stop_gradient sub tan "
    "tanh".split()
)

_NESTED = frozenset({"jit", "pjit", "closed_call"})


class Unsupported(NotImplementedError):
    """The function uses an operation that the fused form cannot write as scalar arithmetic."""


def compiler_options(backend: str, devices: int = 1) -> dict[str, bool | int]:
    """XLA options that the fused form needs on a backend.

    On CPU a float sum may only be reordered, hence vectorised, under fast math. NaN and infinity stay honoured. Where
    there is a device for every core, handing parts of its work to other threads only costs.
    """
    if backend != "cpu":
        return {}
    options: dict[str, bool | int] = {"xla_cpu_enable_fast_math": True, "xla_cpu_prefer_vector_width": 512}
    return options | ({"xla_cpu_multi_thread_eigen": False} if 1 < usable_cores() <= devices else {})


def row_sum(function: Callable, form: Form) -> Callable:
    """`(params, shared, rows) -> sums` of `function(params, shared, row)` over the trailing axis of `rows`."""
    if form == "fused":
        return lambda params, shared, rows: _fused_sum(lambda s, row: function(*s, row), (params, shared), rows)
    return _one_by_one(_array_sum(function, form), form)


def vjp(function: Callable, form: Form) -> Callable:
    """`(params, shared, rows, weights) -> gradient` of a function with one array as output.

    The gradient is that of `weights` times the sum of `function(params, shared, row)` over the trailing axis of
    `rows`, with respect to `params`. Weights applied to the sum cost nothing a row.
    """
    if form == "fused":
        row_vjp = _row_vjp(function)
        gradient_of_row = lambda arguments, row: row_vjp(arguments, row)[1]  # noqa: E731
        return lambda params, shared, rows, weights: _fused_sum(gradient_of_row, (params, shared, weights), rows)
    with_value = value_and_vjp(function, form)  # whose unused sums are dropped by XLA
    return lambda *arguments: with_value(*arguments)[1]


def value_and_vjp(function: Callable, form: Form) -> Callable:
    """`(params, shared, rows, weights) -> (sums, gradient)`: `row_sum` and `vjp` in one."""
    if form == "fused":
        row_vjp = _row_vjp(function)
        return lambda params, shared, rows, weights: _fused_sum(row_vjp, (params, shared, weights), rows)
    array_sum = _array_sum(function, form)

    def with_gradient(params, shared, rows, weights):
        sums, pull_back = jax.vjp(lambda params: array_sum(params, shared, rows), params)
        return sums, pull_back(weights)[0]

    return _one_by_one(with_gradient, form)


def _array_sum(function, form):
    def plain(params, shared, rows):
        with jax.default_matmul_precision("highest"):  # accelerators round to 10 bits or less by default
            return jnp.sum(jax.vmap(function, (None, None, -1), -1)(params, shared, rows), axis=-1)

    def mapped(params, shared, rows):
        out = _rows_last(function)(params, shared, rows)
        return out @ jnp.ones(out.shape[-1], out.dtype)  # a product, see _along_rows

    return mapped if form == "mapped" else plain


def _one_by_one(function, form):
    """Mapped functions run for one model after the other under `vmap`: small matrix products are slow in batches."""
    return sequential_vmap(_in_blocks(function)) if form == "mapped" else function


def _in_blocks(function):
    """A sum over rows, block after block where there are many: intermediates stay in the cache."""

    def blocked(params, shared, rows, *weights):
        n_rows = jax.tree.leaves(rows)[0].shape[-1]
        if n_rows <= _BLOCK_ROWS or n_rows % _BLOCK_ROWS:
            return function(params, shared, rows, *weights)

        def sums_of(k):
            block = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, k * _BLOCK_ROWS, _BLOCK_ROWS, -1), rows)
            return function(params, shared, block, *weights)

        def add(k, sums):
            return jax.tree.map(jnp.add, sums, sums_of(k))

        return lax.fori_loop(1, n_rows // _BLOCK_ROWS, add, sums_of(0))

    return blocked


def _rows_last(function):
    """`jax.vmap(function, (None, None, -1), -1)` that keeps the rows on the trailing axis throughout.

    `vmap` itself moves them to the front wherever an operand has none; the copies then cost more than the products.
    """

    def mapped(params, shared, rows):
        row = jax.tree.map(_first_row, rows)
        closed = jax.make_jaxpr(function)(*jax.tree.map(_struct, (params, shared, row)))
        held = [(x, False) for x in jax.tree.leaves((params, shared))] + [(x, True) for x in jax.tree.leaves(rows)]
        n_rows = jax.tree.leaves(rows)[0].shape[-1]
        [(output, has_rows)] = _evaluate_rows(closed.jaxpr, closed.consts, held, n_rows)
        return output if has_rows else _along_rows(output, n_rows)

    return mapped


def _evaluate_rows(jaxpr, consts, arguments, n_rows):
    """As `_evaluate`, of pairs: an array, and whether it has the trailing axis of rows."""
    environment = dict(zip(jaxpr.constvars, [(x, False) for x in consts], strict=True))
    environment.update(zip(jaxpr.invars, arguments, strict=True))

    def read(variable):
        if isinstance(variable, jex.Literal):
            return jnp.asarray(variable.val), False
        return environment[variable]

    for equation in jaxpr.eqns:
        inputs = [read(v) for v in equation.invars]
        if equation.primitive.name in _NESTED:
            inner = equation.params["jaxpr"]
            outputs = _evaluate_rows(inner.jaxpr, inner.consts, inputs, n_rows)
        else:
            outputs = _bind_rows(jaxpr, equation, inputs, n_rows)
        environment.update(zip(equation.outvars, outputs, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _bind_rows(jaxpr, equation, inputs, n_rows):
    """One operation of `jaxpr`, vectorised over the rows if any of its inputs has them."""
    alone = jaxpr.replace(
        constvars=[],
        eqns=[equation],
        invars=_variables(equation.invars),
        outvars=equation.outvars,
        debug_info=jaxpr.debug_info.with_unknown_names(),
    )
    bind = functools.partial(jax.core.eval_jaxpr, alone, ())
    variables = [x for x, v in zip(inputs, equation.invars, strict=True) if not isinstance(v, jex.Literal)]
    values, has_rows = [x for x, _ in variables], [has for _, has in variables]
    if not any(has_rows):
        return [(output, False) for output in bind(*values)]
    if equation.primitive.name != "dot_general":
        values = [x if has else _along_rows(x, n_rows) for x, has in zip(values, has_rows, strict=True)]
        has_rows = [True] * len(values)
    outputs = jax.vmap(bind, [-1 if has else None for has in has_rows], -1)(*values)
    return [(output, True) for output in outputs]


def _along_rows(x, n_rows):
    """Broadcast, of floats as a product: its transpose is one too, and on CPU several times faster than a sum."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.broadcast_to(x[..., None], (*x.shape, n_rows))
    return jnp.tensordot(x[..., None], jnp.ones((1, n_rows), x.dtype), 1)


def _variables(atoms) -> list:
    return [v for v in atoms if not isinstance(v, jex.Literal)]


def _row_vjp(function):
    """Value of one row, and gradient of `weights` times it."""

    def row_vjp(arguments, row):
        params, shared, weights = arguments
        value, pull_back = jax.vjp(lambda params: function(params, shared, row), params)
        return value, pull_back(weights)[0]

    return row_vjp


def refusal(function: Callable, params: Any, shared: Any, rows: Any) -> str | None:
    """Why the fused form cannot or should not run `function(params, shared, row)`, None if it can and should.

    Arguments may be shape structs.
    """
    numbers = sum(x.size for x in jax.tree.leaves(params))
    if numbers > MAX_SCALAR_OPERATIONS:  # each takes an operation at least; counting them one by one takes long
        return f"a model of {numbers} numbers, more than {MAX_SCALAR_OPERATIONS}, is left to array code"
    try:
        operations = row_operations(function, params, shared, rows)
    except Unsupported as error:
        return str(error)
    if operations > MAX_SCALAR_OPERATIONS:
        return f"a row of {operations} scalar operations, more than {MAX_SCALAR_OPERATIONS}, is left to array code"
    return None


def row_operations(function: Callable, params: Any, shared: Any, rows: Any) -> int:
    """How many scalar operations a row costs in the fused form of `value_and_vjp`. Raises Unsupported."""
    row = jax.tree.map(_first_row, rows)
    weights = jax.eval_shape(function, params, shared, row)
    return scalar_operations(_row_vjp(function), (params, shared, weights), row)


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
    columns = jax.vmap(lambda r: _scalar_outputs(function, (shared, row), (*leaves, *jax.tree.leaves(r))), -1)(rows)
    zeros = tuple(jnp.zeros((), c.dtype) for c in columns)
    totals = iter(lax.reduce(tuple(columns), zeros, lambda a, b: tuple(map(jnp.add, a, b)), (0,)))
    return jax.tree.map(
        lambda leaf: jnp.stack([next(totals) for _ in range(math.prod(leaf.shape))]).reshape(leaf.shape), shape
    )


def _struct(x):
    return jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x))


def _first_row(x):
    return jax.ShapeDtypeStruct(jnp.shape(x)[:-1], jnp.result_type(x))


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
    if inner is not None and name in {*_NESTED, "custom_jvp_call", "custom_vjp_call"}:
        return _evaluate(inner.jaxpr, inner.consts, inputs)
    if name in _ELEMENTWISE:
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
