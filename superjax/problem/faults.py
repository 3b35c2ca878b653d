"""What can be wrong with a class of the user, said before any training.

Everything that will be traced later is traced here, so that what the user's code raises is told from a fault of
superjax.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from superjax.errors import clip
from superjax.problem import proof
from superjax.spec import RESERVED, RESERVED_STEMS, Case, SweepError
from superjax.spec.emit import toml
from superjax.system.interrupt import Interrupted
from superjax.system.terminal import plain

_LARGE = 2**20  # entries of a model that is not tried with numbers


def tried(function: Callable[..., Any], *arguments: Any) -> tuple[Any, BaseException | None]:
    """What code of the user returns, and what it raises: anything but a signal, `sys.exit` too."""
    try:
        return function(*arguments), None
    except (KeyboardInterrupt, Interrupted):
        raise
    except BaseException as error:
        return None, error


def one_line(error: BaseException) -> str:
    """An exception of the user's code as a phrase, without what a terminal would obey."""
    said, failed = tried(str, error)
    return plain(clip(type(error).__name__ if failed else f"{type(error).__name__}: {said}", 300))


def refusal(kind: str, fault: str) -> SweepError:
    return SweepError(f"model.kind = {toml(kind)}: {fault}")


def faults(case: Case, cls: Any, thorough: bool = True) -> Iterator[str]:
    """What is wrong with a class that is to be the model of a case; `thorough` for those that are not built in."""
    n, m, dims = case.n_features, case.n_hidden, cls.dims
    number, x = jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((n,), jnp.float32)

    def build(key: Any, init_std: Any) -> Any:
        return cls(n, m, init_std, key=key)

    def call(model: Any, x: Any) -> Any:
        return model(x)

    model, error = tried(jax.eval_shape, build, jax.random.key(0), number)
    if error is not None:
        yield (
            f"Class({n}, {m}, init_std, key=key) raises {one_line(error)}\n  init_std is traced, for jax.vmap; "
            "a field that holds no array must be eqx.field(static=True)"
        )
        return
    arrays = {jax.tree_util.keystr(path)[1:]: x for path, x in jax.tree_util.tree_leaves_with_path(model)}
    yield from _array_faults(arrays, dims)
    yield from _size_faults(arrays, dims, {"feature": n, "hidden": m})
    yield from _name_faults(case, dims)
    wish = "optimum = true" if case.optimum else "families" if case.families else ""
    if wish and dims.get("W") != ("hidden", "feature"):
        has = ", ".join(dims)
        yield f'{wish} needs a model with weights W, ("hidden", "feature"); {case.model.kind} has {has}'
    output, error = tried(jax.eval_shape, call, model, x)
    if error is not None:
        yield f"model(x) of an x of shape ({n},) raises {one_line(error)}"
        return
    yield from _output_faults(output, n)
    if thorough:
        yield from _static_faults(build)
        yield from _gradient_faults(call, model, x)
        yield from _repetition_faults(build, call, model, x)
        yield from _number_faults(build, call, case, arrays)


def _array_faults(arrays: dict[str, Any], dims: dict[str, Any]) -> Iterator[str]:
    """Each array is an attribute of the model, trainable, and in `dims`; nothing else is there."""
    if not arrays:
        yield "has no array to train"
    for name, own in dims.items():
        if name not in arrays:
            yield f"dims names {toml(str(name))}, the arrays of the model are {', '.join(arrays)}"
        if not isinstance(own, tuple) or not all(isinstance(dim, str) and dim.isidentifier() for dim in own):
            yield f'dims[{toml(str(name))}] = {own!r}, must be a tuple of names, as ("feature",)'
    for name, array in arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            yield f"{name} is {array.dtype}, only floats are trained; make it eqx.field(static=True)"
        if array.dtype != jnp.float32:
            yield f"{name} is {array.dtype}, must be float32"
        if not array.size:
            yield f"{name} has shape {array.shape}, no entry to train"
        if not name.isidentifier():
            yield f"{name} is an array inside an attribute; make it an attribute of the model itself, named in dims"
        if name not in dims:
            yield f"dims lacks the array {name}, of shape {array.shape}"


def _size_faults(arrays: dict[str, Any], dims: dict[str, tuple[str, ...]], sizes: dict[str, int]) -> Iterator[str]:
    """Every dimension has one size; those of the names in `sizes` are known."""
    for name, own in dims.items():
        shape, where = arrays[name].shape, f"dims[{toml(name)}] = {own!r}"
        if len(own) != len(shape):
            yield f"{where}, {name} has shape {shape}"
        if len(set(own)) < len(own):
            yield f"{where}, must name each dimension once"
        for dim, size in zip(own, shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                yield f"{where}, {name} has shape {shape}, {dim} must be {sizes[dim]}"


def _name_faults(case: Case, dims: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """Arrays and own dimensions have names that nothing else in the dataset has."""
    own = {dim for names in dims.values() for dim in names} - {"feature", "hidden"}
    words = [*dims, *own, *(f"{name}_snapshots" for name in dims)]
    for word in sorted((dims.keys() - {"W", "b"}) | own):
        if word in RESERVED or word.startswith(RESERVED_STEMS) or words.count(word) > 1:
            yield f"dims cannot use the name {toml(word)}: reserved or taken"
    for axis, swept in case.axes.items():
        for word in {axis, *swept.coordinates(axis)}.intersection(words):
            yield f"dims and axes.{axis} both use the name {toml(word)}; rename one"


def _output_faults(output: Any, n: int) -> Iterator[str]:
    if not isinstance(output, jax.ShapeDtypeStruct):
        yield f"model(x) is a {type(output).__name__}, must be an array of shape ({n},)"
    elif output.shape != (n,):
        yield f"model(x) has shape {output.shape}, must have the shape of x, ({n},)"
    elif output.dtype != jnp.float32:
        yield f"model(x) is {output.dtype}, must be float32 as x is"


def _static_faults(build: Callable[..., Any]) -> Iterator[str]:
    """Fields that are no arrays select the compiled program: they are compared and hashed."""
    number = jax.ShapeDtypeStruct((), jnp.float32)

    def shapes() -> Any:
        return jax.tree.structure(jax.eval_shape(lambda *a: build(*a), jax.random.key(0), number))  # JAX keeps traces

    same, error = tried(lambda: shapes() == shapes() and hash(shapes()) == hash(shapes()))
    if error is not None:
        yield f"its static fields must be hashable and comparable, they raise {one_line(error)}"
    elif not same:
        yield "its static fields must be equal in all models; a function must not be made in __init__"


def _gradient_faults(call: Callable[..., Any], model: Any, x: Any) -> Iterator[str]:
    def gradient(model: Any, x: Any) -> Any:
        return jax.grad(lambda model: jnp.sum(jnp.square(call(model, x) - x)))(model)

    many = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype), (model, x))
    traced, error = tried(jax.make_jaxpr(gradient), model, x)
    if error is not None:
        yield f"the gradient of model(x) raises {one_line(error)}"
        return
    _, error = tried(jax.eval_shape, jax.vmap(jax.vmap(gradient, (None, 0)), (0, None)), *many)
    if error is not None:
        yield f"model(x) cannot be vectorised (jax.vmap), it raises {one_line(error)}"
    if traced.effects or any("callback" in name for name in proof.operations(traced.jaxpr)):
        yield "model(x) must be computed by JAX alone: no callback, no jax.debug.print"
    if not any(proof.depends(traced.jaxpr)):
        yield "model(x) has no gradient with respect to any array: nothing would be trained"


def _repetition_faults(build: Callable[..., Any], call: Callable[..., Any], model: Any, x: Any) -> Iterator[str]:
    """The same arguments give the same: chance comes from the key alone."""
    number = jax.ShapeDtypeStruct((), jnp.float32)
    leaves = lambda *arguments: jax.tree.leaves(build(*arguments))  # noqa: E731
    for what, function, arguments in ("__init__", leaves, (jax.random.key(0), number)), ("model(x)", call, (model, x)):
        first, again = (proof.program(lambda *a, f=function: f(*a), *arguments) for _ in range(2))
        if first != again:
            yield f"{what} does not do the same twice; random numbers must come from the key, by jax.random"


def _number_faults(
    build: Callable[..., Any], call: Callable[..., Any], case: Case, arrays: dict[str, Any]
) -> Iterator[str]:
    """One model is made and called: what is not finite at the start stays so."""
    if sum(array.size for array in arrays.values()) > _LARGE:
        return
    std = 0.4 if isinstance(case.model.init_std, str) else case.model.init_std

    def are_finite(key: Any, std: Any) -> Any:
        model = build(key, std)
        output = call(model, jax.random.uniform(key, (case.n_features,)))
        return [jnp.all(jnp.isfinite(x)) for x in (*jax.tree.leaves(model), output)]

    found, error = tried(jax.jit(are_finite), jax.random.key(0), np.float32(std))
    if error is not None:
        yield f"a model cannot be made and called, it raises {one_line(error)}"
        return
    for name, finite in zip((*arrays, "model(x)"), found, strict=True):
        if not finite:
            yield f"{name} is not finite at the start, with init_std = {std}"
