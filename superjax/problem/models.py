"""The toy models, one unbatched Equinox module each.

A model holds the arrays of ONE model; the engine vectorises over models. A user's own class follows the same
protocol: `Class(n_features, n_hidden, init_std, key=key)` builds it, `model(x)` maps one input of shape
(n_features,) to its reconstruction, and the class attribute `dims` names the dimensions of every trained array
(`feature` and `hidden` are known; any other name becomes a dimension of its own). What is no trained array is a
field with `eqx.field(static=True)`.
"""

import functools
import sys
from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from superjax.problem import source
from superjax.problem.faults import faults, one_line, refusal, tried
from superjax.spec import Case, modules


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
    """SHA-256 of the code of the user's class and of all that it imports from the user's files, "" for a built-in kind.
    Raises SweepError as `model_class`."""
    return "" if kind in KINDS else source.digest(model_class(kind), kind.partition(":")[0])


def model_class(kind: str | type[ToyModel]) -> type[ToyModel]:
    """The class of a model kind: a built-in name or `pkg.module:Class`, as `modules` finds it; a class is itself.

    Raises SweepError if there is no such module or class, or if the class does not declare `dims`.
    """
    if not isinstance(kind, str):
        return kind
    if kind in KINDS:
        return KINDS[kind]
    module, _, name = kind.partition(":")
    cls, error = tried(lambda: functools.reduce(getattr, name.split("."), modules.load(module)))
    if error is not None:
        hint = f"\n  allowed: {', '.join(KINDS)} or pkg.module:Class"
        if isinstance(error, ModuleNotFoundError) and module.startswith(error.name or "-"):
            folders = ", ".join(map(str, modules.folders()))
            hint = f"\n  looked for {module.replace('.', '/')}.py in {folders} and the installed packages{hint}"
        elif isinstance(error, AttributeError) and (found := modules.find(module)):
            if not found[1].samefile(getattr(sys.modules.get(module), "__file__", None) or "/"):
                hint = f"\n  {module} is a module of Python or superjax itself; give {found[1].name} another name{hint}"
        raise refusal(kind, f"cannot be imported, {one_line(error)}{hint}") from error
    if not (isinstance(cls, type) and issubclass(cls, ToyModel)):
        raise refusal(kind, "must be an equinox.Module class with a `dims` table of its arrays")
    return cls


def check_model(case: Case) -> None:
    """Try the model of a case, almost without computing anything. Raises SweepError if it cannot be trained or
    labelled."""
    kind = case.model.kind
    for fault in faults(case, model_class(kind), kind not in KINDS):  # the first one: each relies on those before
        raise refusal(kind, fault)


def notebook_init_std(n_features: int, n_hidden: int, n_models: int) -> float:
    """Initial standard deviation of the authors' notebook, sqrt(2 / ((n + n_models) m)).

    Its Xavier initialisation of one tensor (n_models, n, m) counts the models trained side by side as outputs, so the
    result depends on how many there are; a number does not.
    """
    return (2 / ((n_features + n_models) * n_hidden)) ** 0.5
