"""Sums over samples or quadrature rows of an unbatched function: the one home of the fast kernel.

A toy model is a few tiny matrix products. Vectorised plainly they become batched products of 2 x 1 matrices that
no library runs well, and every intermediate is stored. Three forms, equal to rounding:

* *fused*, for small models: the function of one row and its gradient are rewritten into scalar arithmetic (a small
  interpreter of their jaxpr), so that `vmap` over rows and models leaves nothing but elementwise work, and all outputs
  (every sum and gradient entry) go into one variadic `lax.reduce`: XLA then emits a single loop over the rows that
  keeps everything in vector registers and stores nothing of size models x rows.
* *mapped*, for large models on CPU: one model after the other, each a few products of matrices that are wide enough,
  with the rows last. Each device does its share of the models.
* *plain*, for everything else, and large models on an accelerator: arrays of all models at once, with the rows last.

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
from jax import lax
from jax.custom_batching import sequential_vmap

from superjax.engine.scalars import (
    ELEMENTWISE,
    MAX_SCALAR_OPERATIONS,
    NESTED,
    Unsupported,
    scalar_operations,
    scalar_outputs,
    struct,
)
from superjax.system.machine import usable_cores

Form = Literal["fused", "mapped", "plain"]
FORMS: tuple[Form, ...] = ("fused", "mapped", "plain")

_BLOCK_ROWS = 2**12  # of the mapped form


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
        return _fused_with_weights(gradient_of_row)
    with_value = value_and_vjp(function, form)  # whose unused sums are dropped by XLA
    return lambda *arguments: with_value(*arguments)[1]


def value_and_vjp(function: Callable, form: Form) -> Callable:
    """`(params, shared, rows, weights) -> (sums, gradient)`: `row_sum` and `vjp` in one."""
    if form == "fused":
        return _fused_with_weights(_row_vjp(function))
    array_sum = _array_sum(function, form)

    def with_gradient(params, shared, rows, weights):
        sums, pull_back = jax.vjp(lambda params: array_sum(params, shared, rows), params)
        return sums, pull_back(weights)[0]

    return _one_by_one(with_gradient, form)


def _fused_with_weights(function):
    """A fused sum of `function((params, shared, weights), row)`."""

    def with_weights(params, shared, rows, weights):
        # The barrier keeps XLA from multiplying weights, the same at all steps, into rows once for all: there would be
        # a copy of all rows for every output to read.
        params, weights = lax.optimization_barrier((params, weights))
        return _fused_sum(function, (params, shared, weights), rows)

    return with_weights


def _array_sum(function, form):
    def array_sum(params, shared, rows):
        out = _rows_last(function)(params, shared, rows)
        if form == "mapped":
            return out @ jnp.ones(out.shape[-1], out.dtype)  # a product, see _along_rows
        return jnp.sum(out, axis=-1)

    return array_sum


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
        closed = jax.make_jaxpr(function)(*jax.tree.map(struct, (params, shared, row)))
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
        if equation.primitive.name in NESTED:
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
    if equation.primitive.name in ELEMENTWISE:  # of others, as a scan, each would hold a copy for every row
        values = [x if has else _along_rows(x, n_rows) for x, has in zip(values, has_rows, strict=True)]
        has_rows = [True] * len(values)
    outputs = jax.vmap(bind, [-1 if has else None for has in has_rows], -1)(*values)
    return [(output, True) for output in outputs]


def _along_rows(x, n_rows):
    """Broadcast, on CPU of floats as a product: its transpose is one too, and several times faster than a sum."""
    if jax.default_backend() != "cpu" or not jnp.issubdtype(x.dtype, jnp.floating):
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


def _fused_sum(function, shared, rows):
    row = jax.tree.map(_first_row, rows)
    shape = jax.eval_shape(function, jax.tree.map(struct, shared), row)
    leaves = jax.tree.leaves(shared)
    columns = jax.vmap(lambda r: scalar_outputs(function, (shared, row), (*leaves, *jax.tree.leaves(r))), -1)(rows)
    zeros = tuple(jnp.zeros((), c.dtype) for c in columns)
    totals = iter(lax.reduce(tuple(columns), zeros, lambda a, b: tuple(map(jnp.add, a, b)), (0,)))
    return jax.tree.map(
        lambda leaf: jnp.stack([next(totals) for _ in range(math.prod(leaf.shape))]).reshape(leaf.shape), shape
    )


def _first_row(x):
    return jax.ShapeDtypeStruct(jnp.shape(x)[:-1], jnp.result_type(x))
