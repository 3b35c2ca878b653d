"""The toy models, one unbatched Equinox module each.

A model holds the arrays of ONE model; the engine vectorises over models. A user's own class follows the same
protocol: `Class(n_features, n_hidden, init_std, key=key)` builds it, `model(x)` maps one input of shape
(n_features,) to its reconstruction, and the class attribute `dims` names the dimensions of every trained array
(`feature` and `hidden` are known; any other name becomes a dimension of its own). What is no trained array is a
field with `eqx.field(static=True)`.
"""

import importlib
import inspect
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from superjax.files import checksum
from superjax.spec import RESERVED, RESERVED_STEMS, Case, SweepError
from superjax.spec.emit import toml
from superjax.spec.errors import clip


class ToyModel(eqx.Module):
    """What a model has. A user's class need not inherit it: any Equinox module class with a table `dims` counts."""

    dims: ClassVar[dict[str, tuple[str, ...]]]

    @abstractmethod
    def __init__(self, n_features: int, n_hidden: int, init_std: float | Float[Array, ""], *, key: Key[Array, ""]): ...

    @abstractmethod
    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]: ...

    @classmethod
    def __subclasshook__(cls, other: type):
        if cls is not ToyModel:  # its subclasses are those that inherit
            return super().__subclasshook__(other)
        return eqx.Module in other.__mro__ and isinstance(getattr(other, "dims", None), dict)


class Linear(ToyModel):
    """Linear model, x' = WᵀWx + b (paper, "Demonstrating Superposition").

    Weights start normal with standard deviation `init_std`, the bias at 0.
    """

    W: Float[Array, "n_hidden n_features"]
    b: Float[Array, " n_features"]

    dims: ClassVar[dict[str, tuple[str, ...]]] = {"W": ("hidden", "feature"), "b": ("feature",)}
    rectified: ClassVar[bool] = False

    def __init__(self, n_features: int, n_hidden: int, init_std: float | Float[Array, ""], *, key: Key[Array, ""]):
        self.W = init_std * jax.random.normal(key, (n_hidden, n_features))
        self.b = jnp.zeros(n_features)

    def preactivation(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        """WᵀWx + b. A model that has this method and `rectified` gets the closed innermost integral."""
        return self.W.T @ (self.W @ x) + self.b

    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        return self.preactivation(x)


class ReLUOutput(Linear):
    """ReLU output model, x' = ReLU(WᵀWx + b) (paper, "Demonstrating Superposition")."""

    rectified: ClassVar[bool] = True

    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        return jax.nn.relu(self.preactivation(x))


KINDS: dict[str, type[ToyModel]] = {"linear": Linear, "relu_output": ReLUOutput}


def code_of(kind: str) -> str:
    """SHA-256 of the file with the user's class, "" for a built-in kind. Raises SweepError as `model_class`."""
    if kind in KINDS:
        return ""
    return checksum(Path(inspect.getfile(model_class(kind))))


def model_class(kind: str) -> type[ToyModel]:
    """The class of a model kind: a built-in name or `pkg.module:Class`.

    Raises SweepError if there is no such module or class, or if the class does not declare `dims`.
    """
    if kind in KINDS:
        return KINDS[kind]
    module, _, name = kind.partition(":")
    try:
        cls = getattr(importlib.import_module(module), name)
    except Exception as error:  # the user's module may do anything
        allowed = f"{', '.join(KINDS)} or pkg.module:Class"
        raise _refusal(kind, f"cannot be imported, {_one_line(error)}\n  allowed: {allowed}") from error
    if not (isinstance(cls, type) and issubclass(cls, ToyModel)):
        raise _refusal(kind, "must be an equinox.Module class with a `dims` table of its arrays")
    return cls


def check_model(case: Case) -> None:
    """Try the model of a case without computing anything. Raises SweepError if it cannot be trained or labelled."""
    for fault in _faults(case, model_class(case.model.kind)):  # the first one: each relies on those before
        raise _refusal(case.model.kind, fault)


def _faults(case: Case, cls: type[ToyModel]) -> Iterator[str]:
    n, m, dims = case.n_features, case.n_hidden, cls.dims
    number = jax.ShapeDtypeStruct((), jnp.float32)
    try:
        model = jax.eval_shape(lambda key, init_std: cls(n, m, init_std, key=key), jax.random.key(0), number)
    except Exception as error:
        yield (
            f"Class({n}, {m}, init_std, key=key) raises {_one_line(error)}\n  init_std is traced, for jax.vmap; "
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
    try:
        output = jax.eval_shape(lambda model, x: model(x), model, jax.ShapeDtypeStruct((n,), jnp.float32))
    except Exception as error:
        yield f"model(x) of an x of shape ({n},) raises {_one_line(error)}"
        return
    if not isinstance(output, jax.ShapeDtypeStruct):
        yield f"model(x) is a {type(output).__name__}, must be an array of shape ({n},)"
    elif output.shape != (n,):
        yield f"model(x) has shape {output.shape}, must have the shape of x, ({n},)"


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


def _refusal(kind: str, fault: str) -> SweepError:
    return SweepError(f"model.kind = {toml(kind)}: {fault}")


def _one_line(error: Exception) -> str:
    return clip(f"{type(error).__name__}: {error}", 300)


def notebook_init_std(n_features: int, n_hidden: int, n_models: int) -> float:
    """Initial standard deviation of the authors' notebook, sqrt(2 / ((n + n_models) m)).

    Its Xavier initialisation of one tensor (n_models, n, m) counts the models trained side by side as outputs, so the
    result depends on how many there are; a number does not.
    """
    return (2 / ((n_features + n_models) * n_hidden)) ** 0.5
