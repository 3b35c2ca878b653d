"""Models of the user: what is wrong with a class is said before any training, in one message."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array

from superjax.models import KINDS, ReLUOutput, ToyModel, check_model, model_class
from superjax.spec import Case, SweepError

# n = 2, m = 1 of `make_case`; the grid has the axes importance and density.


class Free(eqx.Module):
    """A correct model with a dimension of its own that inherits nothing."""

    U: Array
    c: Array
    dims: ClassVar = {"U": ("neuron", "feature"), "c": ("feature",)}

    def __init__(self, n_features, n_hidden, init_std, *, key):
        self.U = init_std * jax.random.normal(key, (3, n_features))
        self.c = jnp.zeros(n_features)

    def __call__(self, x):
        return self.U.T @ jnp.tanh(self.U @ x) + self.c


def variant(**members: Any) -> type[eqx.Module]:
    return type("Variant", (Free,), {"__module__": __name__, **members})


def building(build: Callable[..., Any], **members: Any) -> type[eqx.Module]:
    """A variant whose arrays `build(n_features, n_hidden, init_std)` makes by name."""

    def __init__(self, n_features, n_hidden, init_std, *, key):
        Free.__init__(self, n_features, n_hidden, init_std, key=key)
        for name, value in build(n_features, n_hidden, init_std).items():
            setattr(self, name, value)

    return variant(__init__=__init__, **members)


def with_array(value: Any, **members: Any) -> type[eqx.Module]:
    """A variant with one more attribute, V."""
    return building(lambda *shape: {"V": value}, __annotations__={"V": Any}, **members)


def fail(*arguments: Any) -> Any:
    raise ValueError("two\nlines")


@pytest.fixture
def check(make_case: Callable[..., Case], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def check(cls: Any, *overrides: str, **text: str) -> None:
        monkeypatch.setitem(globals(), "Given", cls)
        check_model(make_case(*overrides, f"model.kind={__name__}:Given", **text))

    return check


@pytest.mark.parametrize("kind", KINDS)
def test_built_in_models_pass(make_case: Callable[..., Case], kind: str) -> None:
    check_model(make_case(f"model.kind={kind}", "optimum=true", "train.snapshots=3"))


def test_models_of_the_user_pass(check: Callable[..., None]) -> None:
    check(Free)
    check(Free, "n_features=4", "n_hidden=7", "importance=1")
    check(variant(dims={"U": ("hidden", "feature"), "c": ("feature",)}), "n_hidden=3")
    check(type("Own", (ReLUOutput,), {}), "optimum=true")
    check(building(lambda *shape: {"s": 3}, __annotations__={"s": Any}, s=eqx.field(static=True)))


def test_any_module_with_dims_is_a_toy_model() -> None:
    assert issubclass(Free, ToyModel) and issubclass(ReLUOutput, ToyModel)
    assert not issubclass(eqx.nn.Linear, ToyModel) and not issubclass(dict, ToyModel)
    assert not issubclass(Free, ReLUOutput)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def f(:", "SyntaxError: "),
        ("x = undefined", "NameError: name 'undefined' is not defined"),
        ("raise ValueError('a\\n' * 500)", "ValueError: a a a"),
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("", "AttributeError: module '{}' has no attribute 'Model'"),
        ("assert False", "AssertionError:"),
    ],
)
def test_a_module_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, source: str, says: str
) -> None:
    module = f"users_{abs(hash(request.node.name))}"
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SweepError) as error:
        model_class(f"{module}:Model")
    message = str(error.value)
    assert message.startswith(f'model.kind = "{module}:Model": cannot be imported, ' + says.format(module))
    assert message.endswith("\n  allowed: linear, relu_output or pkg.module:Class")
    assert len(message.splitlines()) == 2 and len(message) < 500


DIMS = Free.dims


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (3, "must be an equinox.Module class with a `dims` table"),
        (type("Plain", (), {"dims": DIMS}), "must be an equinox.Module class with a `dims` table"),
        (eqx.nn.Linear, "must be an equinox.Module class with a `dims` table"),
        (variant(dims=["U"]), "must be an equinox.Module class with a `dims` table"),
        (building(fail), "Class(2, 1, init_std, key=key) raises ValueError: two lines\n"),
        (building(lambda n, m, std: {"U": float(std) * jnp.ones((3, n))}), "raises ConcretizationTypeError: "),
        (variant(__init__=lambda self: None), "Class(2, 1, init_std, key=key) raises TypeError: "),
        (with_array(jnp.tanh), "must be eqx.field(static=True)"),
        (type("Empty", (eqx.Module,), {"dims": {}, "__init__": lambda self, *a, key: None}), "no array to train"),
        (variant(dims={**DIMS, "V": ("feature",)}), 'dims names "V", the arrays of the model are U, c'),
        (with_array(None, dims={**DIMS, "V": ("feature",)}), 'dims names "V", the arrays of the model are U, c'),
        (variant(dims={"U": ("neuron", "feature")}), "dims lacks the array c, of shape (2,)"),
        (with_array(jnp.zeros((2, 5))), "dims lacks the array V, of shape (2, 5)"),
        (with_array([jnp.zeros(2)]), "V[0] is an array inside an attribute"),
        (with_array(3), "V is int32, only floats are trained; make it eqx.field(static=True)"),
        (
            variant(dims={**DIMS, "c": "feature"}),
            """dims["c"] = 'feature', must be a tuple of names, as ("feature",)""",
        ),
        (variant(dims={**DIMS, "c": (0,)}), 'dims["c"] = (0,), must be a tuple of names'),
        (variant(dims={**DIMS, "c": ("a/b",)}), "must be a tuple of names"),
        (variant(dims={**DIMS, "c": ()}), 'dims["c"] = (), c has shape (2,)'),
        (variant(dims={**DIMS, "U": ("feature",)}), "dims[\"U\"] = ('feature',), U has shape (3, 2)"),
        (variant(dims={**DIMS, "U": ("feature", "neuron")}), "U has shape (3, 2), feature must be 2"),
        (variant(dims={**DIMS, "U": ("hidden", "feature")}), "U has shape (3, 2), hidden must be 1"),
        (variant(dims={**DIMS, "U": ("out", "out")}), "must name each dimension once"),
        (
            with_array(jnp.zeros(5), dims={**DIMS, "V": ("neuron",)}),
            "dims[\"V\"] = ('neuron',), V has shape (5,), neuron must be 3",
        ),
        (variant(dims={**DIMS, "U": ("density", "feature")}), 'dims and axes.density both use the name "density"'),
        (variant(dims={**DIMS, "U": ("restart", "feature")}), 'dims cannot use the name "restart": reserved or taken'),
        (variant(dims={**DIMS, "U": ("W", "feature")}), 'dims cannot use the name "W"'),
        (variant(dims={**DIMS, "U": ("c", "feature")}), 'dims cannot use the name "c"'),
        (variant(dims={**DIMS, "U": ("optimum_c", "feature")}), 'dims cannot use the name "optimum_c"'),
        (variant(dims={**DIMS, "U": ("c_snapshots", "feature")}), 'dims cannot use the name "c_snapshots"'),
        (variant(__call__=lambda self, x: fail()), "model(x) of an x of shape (2,) raises ValueError: two lines"),
        (variant(__call__=lambda self, x: x if x[0] > 0 else -x), "raises TracerBoolConversionError: "),
        (variant(__call__=lambda self, x: self.U @ x), "model(x) has shape (3,), must have the shape of x, (2,)"),
        (variant(__call__=lambda self, x: x.sum()), "model(x) has shape (), must have the shape of x, (2,)"),
        (variant(__call__=lambda self, x: (x, x)), "model(x) is a tuple, must be an array of shape (2,)"),
    ],
)
def test_what_is_wrong_with_a_class(check: Callable[..., None], cls: Any, says: str) -> None:
    with pytest.raises(SweepError) as error:
        check(cls)
    message = str(error.value)
    assert message.startswith(f'model.kind = "{__name__}:Given": ') and says in message
    assert len(message.splitlines()) <= 2


def test_names_of_arrays(check: Callable[..., None]) -> None:
    for name, says in ("loss", 'the name "loss": reserved'), ("density", "axes.density both use"):
        with pytest.raises(SweepError, match=says):
            check(
                building(
                    lambda n, *rest, name=name: {name: jnp.zeros(n)},
                    __annotations__={name: Array},
                    dims={**DIMS, name: ("feature",)},
                )
            )


def test_names_of_coordinates(check: Callable[..., None]) -> None:
    text = "n_features = 2\nn_hidden = 1\n[axes.z]\nfields = ['data.density[0]', 'train.b1']\nvalues = [[0.5, 0.9]]\n"
    for own in "z", "b1", "density_0":
        with pytest.raises(SweepError, match=f'dims and axes.z both use the name "{own}"; rename one'):
            check(variant(dims={**DIMS, "U": (own, "feature")}), text=text)
    with pytest.raises(SweepError, match='dims and axes.U_snapshots both use the name "U_snapshots"'):
        check(Free, text=text.replace("axes.z", "axes.U_snapshots"))


def test_the_optimum_needs_weights_whose_phases_are_known(check: Callable[..., None]) -> None:
    with pytest.raises(SweepError, match="optimum = true needs a model with weights W, .*Given has U, c"):
        check(Free, "optimum=true")
