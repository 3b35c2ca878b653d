"""What a toy model is.

A model holds the arrays of ONE model; the engine vectorises over models. A user's own class follows the same
protocol: `Class(n_features, n_hidden, init_std, key=key)` builds it, `model(x)` maps one input of shape (n_features,)
to its output, and the class attribute `dims` names the dimensions of every trained array (`feature`, `hidden` and
`output` are known; any other name becomes a dimension of its own). What is no trained array is a field with
`eqx.field(static=True)`. Where the output has another length than the input, `n_outputs` is given too.

A class may offer more: `hidden(x)`, its hidden activations (n_hidden,); `preactivation(x)` and `rectified`, which
claim that the model is the ReLU of an affine map, or one (`superjax.problem.proof` looks whether it is); `Options`, a
table of options. Static ones become attributes of the class. Numbers are attributes of the model when it is called:
they belong to a cell and are not trained, so `__init__` does not know them.
"""

import dataclasses
import functools
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float, Key

from superjax.problem import options


class ToyModel(eqx.Module):
    """What a model has. A user's class need not inherit it: any Equinox module class with a table `dims` counts."""

    dims: ClassVar[dict[str, tuple[str, ...]]]
    Options: ClassVar[type[options.Options]] = options.Options

    @abstractmethod
    def __init__(self, n_features: int, n_hidden: int, init_std: float | Float[Array, ""], *, key: Key[Array, ""]): ...

    @abstractmethod
    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_outputs"]: ...

    @classmethod
    def __subclasshook__(cls, other: type):
        if cls is not ToyModel:  # its subclasses are those that inherit
            return super().__subclasshook__(other)
        return eqx.Module in other.__mro__ and isinstance(getattr(other, "dims", None), dict)


def with_numbers(model: Any, numbers: Mapping[str, Any]) -> Any:
    """A model as it is called: its trained arrays, and the numbers of its options beside them."""
    if not numbers:
        return model
    whole = object.__new__(_with_fields(type(model), tuple(sorted(numbers))))
    trained = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    for name, value in {**trained, **numbers}.items():
        object.__setattr__(whole, name, value)
    return whole


@functools.lru_cache(maxsize=256)
def _with_fields(cls: type, names: tuple[str, ...]) -> type:
    """The class of a model with more fields, which are arrays."""
    about = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls)(cls.__name__, (cls,), {**about, "__annotations__": dict.fromkeys(names, jax.Array)})


def notebook_init_std(n_features: int, n_hidden: int, instances: int) -> float:
    """Initial standard deviation of the authors' notebook, sqrt(2 / ((n + instances) m)).

    Its Xavier initialisation of one tensor (instances, n, m) counts the models trained side by side as outputs, so the
    result depends on how many there are: here a setting, not the number of models of a sweep.
    """
    return (2 / ((n_features + instances) * n_hidden)) ** 0.5
