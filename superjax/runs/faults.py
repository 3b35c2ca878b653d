"""What can be wrong with a class of the user, said before any training.

Everything that will be traced later is traced here, so that what the user's code raises is told from a fault of
superjax.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from superjax.problem import proof
from superjax.problem.data import Distribution
from superjax.problem.members import BUILT_IN
from superjax.problem.models.base import with_numbers
from superjax.problem.problem import Problem
from superjax.problem.user_code import refusal, said, tried
from superjax.runs.problems import closed_form
from superjax.spec import RESERVED, RESERVED_STEMS, Case
from superjax.spec.emit import toml
from superjax.spec.parts import kinds_of

_LARGE = 2**20  # entries of a model that is not tried with numbers


def check_problem(case: Case, problem: Problem) -> None:
    """Try the parts of the problem of a case, almost without computing anything. Raises SweepError if they cannot be
    trained or labelled."""
    kinds = kinds_of(case.model_dump(include={"model", "data", "target", "terms"}))
    found = {
        "data.kind": lambda: _data_faults(problem),
        "target.kind": lambda: _target_faults(problem),
        "model.kind": lambda: faults(case, problem, case.model.kind not in BUILT_IN["model"]),
        **{f"terms.{name}.kind": lambda k=k: _term_faults(problem, k) for k, name in enumerate(problem.names)},
    }
    swept = {path for axis in case.axes.values() for path in axis.names}
    if "n_hidden" in swept and not any("hidden" in dims for dims in problem.model.dims.values()):
        raise refusal("model.kind", case.model.kind, "has no dimension hidden, which an axis over n_hidden sweeps")
    for path, of_part in found.items():
        kind = kinds.get(path, ("terms", "squared"))[1]
        for fault in of_part():  # the first one: each relies on those before
            raise refusal(path, kind, fault)


def _shape(*size: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(size, jnp.float32)


def _data_faults(problem: Problem) -> Iterator[str]:
    """What is wrong with a distribution."""
    n, data = problem.n_features, problem.laws().data
    count, error = tried(problem.data.n_uniforms, n)
    if error is not None or not isinstance(count, int) or count < 1:
        why = said(error) if error is not None else f"is {count!r}"
        yield f"n_uniforms({n}) must be a whole number of 1 or more, {why}"
        return
    yield from _wrong_shape("sample(uniforms)", (n,), lambda data, u: data.sample(u), data, _shape(count))
    yield from _wrong_shape("activity()", (), lambda data: data.activity(), data)
    yield from _stale_methods(problem.data)
    if problem.data.skips_empty:
        yield from _wrong_shape("some_active()", (), lambda data: data.some_active(), data)
        more = _shape(count + 1)
        yield from _wrong_shape("sample_active(uniforms)", (n,), lambda data, u: data.sample_active(u), data, more)
    if problem.data.enumerable:
        active = np.zeros((3, n), bool)
        yield from _wrong_shape("probability(active)", (3,), lambda data: data.probability(active), data)
        rows, error = tried(problem.data.n_rows, n, 2, False)
        if error is not None or not isinstance(rows, int):
            yield f"n_rows({n}, 2, False) must be a whole number, {said(error) if error else f'is {rows!r}'}"
            return
        table, error = tried(problem.data.segments, n, 1, False) if rows <= _LARGE else (None, None)
        if error is not None:
            yield f"segments({n}, 1, False) raises {said(error)}"


def _target_faults(problem: Problem) -> Iterator[str]:
    n, target = problem.n_features, problem.laws().target
    output, error = tried(jax.eval_shape, lambda target, x: target(x), target, _shape(n))
    if error is not None:
        yield f"the target of an x of shape ({n},) raises {said(error)}"
    elif not isinstance(output, jax.ShapeDtypeStruct) or len(output.shape) != 1 or output.dtype != jnp.float32:
        yield f"the target of an x of shape ({n},) is {output}, must be a float32 array of one dimension"


def _term_faults(problem: Problem, k: int) -> Iterator[str]:
    term, model = problem.laws().terms[k], problem.called()
    if problem.terms[k].of_hidden and not hasattr(problem.model, "hidden"):
        yield "needs a model with a method hidden(x), its hidden activations"
        return
    x, y = _shape(problem.n_features), _shape(problem.n_outputs)
    weights, error = tried(jax.eval_shape, lambda term: term.weights(), term)
    if error is not None or not isinstance(weights, jax.ShapeDtypeStruct) or len(weights.shape) != 1:
        why = f"raises {said(error)}" if error is not None else f"is {weights}"
        yield f"weights() must be an array of one dimension, {why}"
        return
    if problem.terms[k].error and weights.shape != (problem.n_outputs,):
        yield f"weights() has shape {weights.shape}, an error has one for every output, ({problem.n_outputs},)"
    yield from _wrong_shape(
        "values(model, x, y)", weights.shape, lambda term, model, x, y: term.values(model, x, y), term, model, x, y
    )
    if problem.terms[k].has_segment and closed_form(problem).holds:
        yield from _wrong_shape(
            "segment(model, start, end, y_start, y_end)",
            weights.shape,
            lambda term, model, *ends: term.segment(model, *ends),
            *(term, model, x, x, y, y),
        )


# What a distribution says of itself in another way than by `sample`, and the attribute that asks for it.
_OTHER_WAYS = {"probability": "enumerable", "sample_active": "skips_empty", "some_active": "skips_empty", "moments": ""}


def _stale_methods(data: type[Distribution]) -> Iterator[str]:
    """What a user's distribution inherits from one whose `sample` it replaces."""
    sampler = _owner(data, "sample")
    for method, flag in _OTHER_WAYS.items() if not sampler.__module__.startswith("superjax.") else ():
        inherited = _owner(data, method)
        stale = inherited is not Distribution and sampler is not inherited and issubclass(sampler, inherited)
        if stale and (not flag or getattr(data, flag)):
            instead = f"set {flag} = False" if flag else "let it return None"
            yield f"overrides sample but not {method}, which says of what: override it too, or {instead}"


def _owner(cls: type, name: str) -> type:
    """The class that defines a method, of a class that has it."""
    return next(one for one in cls.__mro__ if name in vars(one))


def _wrong_shape(what: str, wanted: tuple[int, ...], call: Callable[..., Any], *arguments: Any) -> Iterator[str]:
    output, error = tried(jax.eval_shape, call, *arguments)
    if error is not None:
        yield f"{what} raises {said(error)}"
    elif not isinstance(output, jax.ShapeDtypeStruct):
        yield f"{what} is a {type(output).__name__}, must be an array of shape {wanted}"
    elif output.shape != wanted:
        yield f"{what} has shape {output.shape}, must be {wanted}"
    elif output.dtype != jnp.float32:
        yield f"{what} is {output.dtype}, must be float32"


def faults(case: Case, problem: Problem, thorough: bool = True) -> Iterator[str]:
    """What is wrong with the model of a case; `thorough` for those that are not built in."""
    n, m, cls, outputs = case.n_features, case.n_hidden, problem.model, problem.n_outputs
    dims = cls.dims
    number, x = jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((n,), jnp.float32)
    more = {} if outputs == n else {"n_outputs": outputs}

    def build(key: Any, init_std: Any) -> Any:
        return cls(n, m, init_std, key=key, **more)

    defaults = {name: np.float32(getattr(case.model, name)) for name in problem.laws().model}

    def call(model: Any, x: Any) -> Any:
        return with_numbers(model, defaults)(x)

    if more and not _takes_outputs(cls):
        yield f"has as many outputs as features, {n}, the target has {outputs}; take one with n_outputs, as two_layer"
        return
    model, error = tried(jax.eval_shape, build, jax.random.key(0), number)
    if error is not None:
        yield (
            f"Class({n}, {m}, init_std, key=key{f', n_outputs={outputs}' if more else ''}) raises {said(error)}\n"
            "  init_std is traced, for jax.vmap; "
            "a field that holds no array must be eqx.field(static=True)"
        )
        return
    arrays = {jax.tree_util.keystr(path)[1:]: x for path, x in jax.tree_util.tree_leaves_with_path(model)}
    yield from _array_faults(arrays, dims)
    yield from _size_faults(arrays, dims, {"feature": n, "hidden": m, "output": outputs})
    yield from _name_faults(case, dims)
    wish = "optimum = true" if case.optimum else "families" if case.families else ""
    if wish and dims.get("W") != ("hidden", "feature"):
        has = ", ".join(dims)
        yield f'{wish} needs a model with weights W, ("hidden", "feature"); {case.model.kind} has {has}'
    output, error = tried(jax.eval_shape, lambda model, x: model(x), with_numbers(model, problem.laws().model), x)
    if error is not None:
        yield f"model(x) of an x of shape ({n},) raises {said(error)}"
        return
    yield from _output_faults(output, n, outputs)
    if thorough:
        yield from _static_faults(build)
        yield from _gradient_faults(call, model, x, outputs)
        yield from _repetition_faults(build, call, model, x)
        yield from _number_faults(build, call, case, arrays)


def _takes_outputs(cls: Any) -> bool:
    """Whether a class of models can be built with another number of outputs than of features."""
    taken, error = tried(lambda: inspect.signature(cls.__init__).parameters.values())
    return error is not None or any(one.name == "n_outputs" or one.kind is one.VAR_KEYWORD for one in taken)


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
    own = {dim for names in dims.values() for dim in names} - {"feature", "hidden", "output"}
    words = [*dims, *own, *(f"{name}_snapshots" for name in dims)]
    for word in sorted((dims.keys() - {"W", "b"}) | own):
        if word in RESERVED or word.startswith(RESERVED_STEMS) or words.count(word) > 1:
            yield f"dims cannot use the name {toml(word)}: reserved or taken"
    for axis, swept in case.axes.items():
        for word in {axis, *swept.coordinates(axis)}.intersection(words):
            yield f"dims and axes.{axis} both use the name {toml(word)}; rename one"


def _output_faults(output: Any, n: int, outputs: int) -> Iterator[str]:
    if not isinstance(output, jax.ShapeDtypeStruct):
        yield f"model(x) is a {type(output).__name__}, must be an array of shape ({outputs},)"
    elif output.shape != (outputs,):
        like = f"the shape of x, ({n},)" if n == outputs else f"that of the target, ({outputs},)"
        yield f"model(x) has shape {output.shape}, must have {like}"
    elif output.dtype != jnp.float32:
        yield f"model(x) is {output.dtype}, must be float32 as x is"


def _static_faults(build: Callable[..., Any]) -> Iterator[str]:
    """Fields that are no arrays select the compiled program: they are compared and hashed."""
    number = jax.ShapeDtypeStruct((), jnp.float32)

    def shapes() -> Any:
        return jax.tree.structure(jax.eval_shape(lambda *a: build(*a), jax.random.key(0), number))  # JAX keeps traces

    same, error = tried(lambda: shapes() == shapes() and hash(shapes()) == hash(shapes()))
    if error is not None:
        yield f"its static fields must be hashable and comparable, they raise {said(error)}"
    elif not same:
        yield "its static fields must be equal in all models; a function must not be made in __init__"


def _gradient_faults(call: Callable[..., Any], model: Any, x: Any, outputs: int) -> Iterator[str]:
    def gradient(model: Any, x: Any) -> Any:
        return jax.grad(lambda model: jnp.sum(jnp.square(call(model, x) - jnp.ones(outputs))))(model)

    many = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype), (model, x))
    traced, error = tried(jax.make_jaxpr(gradient), model, x)
    if error is not None:
        yield f"the gradient of model(x) raises {said(error)}"
        return
    _, error = tried(jax.eval_shape, jax.vmap(jax.vmap(gradient, (None, 0)), (0, None)), *many)
    if error is not None:
        yield f"model(x) cannot be vectorised (jax.vmap), it raises {said(error)}"
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
        yield f"a model cannot be made and called, it raises {said(error)}"
        return
    for name, finite in zip((*arrays, "model(x)"), found, strict=True):
        if not finite:
            yield f"{name} is not finite at the start, with init_std = {std}"
