"""What is shown of a function from its traced program, without computing anything: it holds for all weights and inputs.

A function is affine in an argument if every operation on the way is. Two functions are the same if they are the same
operations on the same constants. What is true but not shown so counts as not shown.
"""

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from superjax.problem.models.base import with_numbers
from superjax.problem.options import Options, number_names

# Linear in all operands together, so that the sum of a constant and something affine is affine.
_LINEAR = frozenset(
    "add add_any broadcast_in_dim concatenate convert_element_type copy cumsum expand_dims neg pad reduce_sum reshape "
    "rev slice split squeeze stack sub transpose unstack".split()
)
_BILINEAR = frozenset("conv_general_dilated dot_general mul".split())  # affine if one operand does not depend on x
# Affine if these operands, places or divisors, do not depend on x.
_OTHERS = {
    "div": slice(1, None), "dynamic_slice": slice(1, None), "gather": slice(1, None),
    "dynamic_update_slice": slice(2, None), "scatter": slice(1, 2), "scatter-add": slice(1, 2),
}  # fmt: skip
_CALLS = frozenset("checkpoint closed_call custom_jvp_call custom_vjp_call jit pjit remat remat2".split())
_ADDRESS = re.compile(r"\b0x[0-9a-f]+\b")
_RELUS = (
    jax.nn.relu,
    lambda z: jnp.maximum(z, 0),
    lambda z: jnp.maximum(0, z),
    lambda z: jnp.where(z > 0, z, 0),
    lambda z: jnp.clip(z, 0),
)


class Closed(NamedTuple):
    """Whether models are shown to be a ReLU of an affine map (`rectified`) or an affine map; if not, `because` says
    why, "" of those that do not claim to be."""

    holds: bool
    rectified: bool = False
    because: str = ""


@functools.lru_cache(maxsize=64)
def closed(kind: type[eqx.Module], n_features: int, n_hidden: int) -> Closed:
    """Whether the loss along a segment has a closed form under models of a class.

    It has if the class says so, by `preactivation` and `rectified`, and its traced program shows it: the first is
    affine in x, and a call is just that, or the ReLU of it. Whatever is not shown takes product nodes.
    """
    if not (hasattr(kind, "preactivation") and hasattr(kind, "rectified")):
        return Closed(False)
    x = jax.ShapeDtypeStruct((n_features,), jnp.float32)

    def affine(model: Any, x: Any) -> Any:
        return model.preactivation(x)

    try:  # the user's code alone
        model = _shapes(kind, n_features, n_hidden)
        if model.rectified is None:  # it has another activation, and claims nothing
            return Closed(False)
        rectified = bool(model.rectified)
        jax.eval_shape(affine, model, x)
    except Exception as error:
        return Closed(False, False, f"its preactivation raises {type(error).__name__}")
    if operation := nonlinear(affine, model, x):
        return Closed(False, rectified, f"its preactivation is not shown to be affine in x: it takes {operation} of it")
    outputs = [lambda m, x, relu=relu: relu(affine(m, x)) for relu in _RELUS] if rectified else [affine]
    if not any(same(lambda m, x: m(x), output, model, x) for output in outputs):
        what = "the ReLU of its preactivation" if rectified else "its preactivation"
        return Closed(False, rectified, f"its call is not shown to be {what}")
    return Closed(True, rectified)


@functools.lru_cache(maxsize=64)
def not_affine_hidden(kind: type[eqx.Module], n_features: int, n_hidden: int) -> str:
    """Why the hidden activations of models of a class may not be affine in x, "" if they are shown to be."""
    model, x = _shapes(kind, n_features, n_hidden), jax.ShapeDtypeStruct((n_features,), jnp.float32)
    if operation := nonlinear(lambda model, x: model.hidden(x), model, x):
        return f"hidden(x) is not shown to be affine in x: it takes {operation} of it"
    return ""


def _shapes(kind: Any, n_features: int, n_hidden: int) -> Any:
    """A model as it is called, as shapes."""
    number = jax.ShapeDtypeStruct((), jnp.float32)
    model = jax.eval_shape(lambda key, std: kind(n_features, n_hidden, std, key=key), jax.random.key(0), number)
    return with_numbers(model, dict.fromkeys(number_names(getattr(kind, "Options", Options)), number))


def nonlinear(function: Callable[[Any, Any], Any], model: Any, x: Any) -> str:
    """The operation that may keep `function(model, x)` from being affine in `x`, "" if it is shown to be so."""
    closed = jax.make_jaxpr(function)(model, x)
    try:
        _dependent(closed.jaxpr, [False] * len(jax.tree.leaves(model)) + [True] * len(jax.tree.leaves(x)))
    except _NotAffine as found:
        return str(found)
    return ""


class _NotAffine(Exception):
    """Names the operation."""


def _dependent(jaxpr: Any, arguments: list[bool]) -> list[bool]:
    """Which outputs depend on the arguments that do; whatever does is affine. Raises _NotAffine."""
    known = dict(zip(jaxpr.invars, arguments, strict=True)) | dict.fromkeys(jaxpr.constvars, False)
    for equation in jaxpr.eqns:
        depends = [not isinstance(v, jex.Literal) and known[v] for v in equation.invars]
        if inner := _called(equation):
            outputs = _dependent(inner.jaxpr, depends)
        else:
            if any(depends) and not _is_affine(equation, depends):
                raise _NotAffine(equation.primitive.name)
            outputs = [any(depends)] * len(equation.outvars)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [not isinstance(v, jex.Literal) and known[v] for v in jaxpr.outvars]


def _called(equation: Any) -> Any:
    """The program that an operation stands for, if it does."""
    if equation.primitive.name not in _CALLS:
        return None
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    return inner if hasattr(inner, "jaxpr") else jex.ClosedJaxpr(inner, ())


def _is_affine(equation: Any, depends: list[bool]) -> bool:
    name = equation.primitive.name
    if any(out.aval.dtype not in (np.float32, np.float64) for out in equation.outvars):
        return False  # rounding to fewer digits, or to integers
    if name == "select_n":
        return not depends[0]
    if name in _BILINEAR:
        return sum(depends) == 1
    if name in _OTHERS:
        return not any(depends[_OTHERS[name]])
    return name in _LINEAR


def same(one: Callable[[Any, Any], Any], other: Callable[[Any, Any], Any], model: Any, x: Any) -> bool:
    """Whether two functions of a model and an input are shown to be the same, and so their gradients by the model."""
    weights = jax.eval_shape(one, model, x)

    def with_gradient(function):
        def both(model, x, weights):
            value, pull_back = jax.vjp(lambda model: function(model, x), model)
            return value, pull_back(weights)

        return program(both, model, x, weights)

    return weights == jax.eval_shape(other, model, x) and with_gradient(one) == with_gradient(other)


def program(function: Callable[..., Any], *arguments: Any) -> tuple[str, tuple[bytes, ...]]:
    """The operations of a function, and its constants: equal for functions that compute the same in the same way."""
    closed = jax.make_jaxpr(function)(*arguments)
    return _ADDRESS.sub("", str(closed.jaxpr)), tuple(_constants(closed.jaxpr, closed.consts))


def _constants(jaxpr: Any, constants: Any) -> Iterator[bytes]:
    yield from map(_bytes, constants)
    for equation in jaxpr.eqns:
        yield from (_bytes(v.val) for v in equation.invars if isinstance(v, jex.Literal))
        for inner in inner_programs(equation):
            yield from _constants(inner.jaxpr, inner.consts)


def _bytes(constant: Any) -> bytes:
    if jnp.issubdtype(jnp.result_type(constant), jax.dtypes.prng_key):
        constant = jax.random.key_data(constant)
    array = np.asarray(constant)
    return str((array.shape, array.dtype)).encode() + array.tobytes()


def inner_programs(equation: Any) -> Iterator[Any]:
    """The programs that an operation has among its parameters, as closed ones."""
    for parameter in equation.params.values():
        for inner in parameter if isinstance(parameter, tuple | list) else (parameter,):
            if isinstance(inner, jex.ClosedJaxpr):
                yield inner
            elif isinstance(inner, jex.Jaxpr):
                yield jex.ClosedJaxpr(inner, ())


def operations(jaxpr: Any) -> Iterator[str]:
    """The names of all operations of a program, those of inner ones too."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for inner in inner_programs(equation):
            yield from operations(inner.jaxpr)


def depends(jaxpr: Any) -> list[bool]:
    """Which outputs of a program depend on its arguments."""
    known = set(jaxpr.invars)
    for equation in jaxpr.eqns:
        if any(not isinstance(v, jex.Literal) and v in known for v in equation.invars):
            known.update(equation.outvars)
    return [not isinstance(v, jex.Literal) and v in known for v in jaxpr.outvars]
