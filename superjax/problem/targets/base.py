"""What a target is: the function of an input that a model should compute.

A user's own target is such a class, or just a function of one input x of shape (n_features,), made of `jax.numpy`.
"""

import dataclasses
import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from superjax.problem import options


class Target(eqx.Module):
    """The target of one model. Fields are numbers of `Options`; its other options are attributes of the class."""

    Options: ClassVar[type[options.Options]] = options.Options
    linear: ClassVar[bool] = False  # along line segments on which no entry of the input changes its sign
    identity: ClassVar[bool] = False
    symmetric: ClassVar[bool] = False  # features that are exchanged exchange their outputs

    @classmethod
    def n_outputs(cls, n_features: int) -> int:
        """How many outputs there are: as many as features if it is symmetric, else they are counted by tracing it."""
        return n_features if cls.symmetric else _traced_outputs(cls, n_features)

    @abstractmethod
    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_outputs"]: ...


@functools.lru_cache(maxsize=64)
def _traced_outputs(cls: type[Target], n_features: int) -> int:
    x, number = jax.ShapeDtypeStruct((n_features,), jnp.float32), jax.ShapeDtypeStruct((), jnp.float32)
    numbers = {field.name: number for field in dataclasses.fields(cls)}
    return jax.eval_shape(lambda numbers, x: cls(**numbers)(x), numbers, x).shape[0]


@functools.lru_cache(maxsize=64)
def of_function(function: Callable[[Any], Any]) -> type[Target]:
    """The target that is a function of the user's."""

    class Function(Target):
        def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_outputs"]:
            return function(x)

    Function.__name__ = Function.__qualname__ = getattr(function, "__name__", "Function")
    Function.__module__ = getattr(function, "__module__", __name__)
    return Function
