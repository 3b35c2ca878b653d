"""Models of the user: what is wrong with a class is said before any training, in one message."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from superjax.problem import members
from superjax.problem.members import BUILT_IN, member
from superjax.problem.models import ReLUOutput, ToyModel
from superjax.runs.faults import check_problem
from superjax.runs.problems import problem_of
from superjax.spec import Case, SweepError
from superjax.system import modules

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


def check_model(case: Case) -> None:
    check_problem(case, problem_of(case))


def code_of(kind: str) -> str:
    return members.code_of({"model.kind": ("model", kind)})


def fail(*arguments: Any) -> Any:
    raise ValueError("two\nlines")


@pytest.fixture
def check(make_case: Callable[..., Case], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def check(cls: Any, *overrides: str, **text: str) -> None:
        monkeypatch.setitem(globals(), "Given", cls)
        check_model(make_case(*overrides, f"model.kind={__name__}:Given", **text))

    return check


@pytest.mark.parametrize("kind", BUILT_IN["model"])
def test_built_in_models_pass(make_case: Callable[..., Case], kind: str) -> None:
    optimum = "W" in BUILT_IN["model"][kind].dims
    check_model(make_case(f"model.kind={kind}", *["optimum=true"][:optimum], "train.snapshots=3"))


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
        member("model", f"{module}:Model")
    message = str(error.value)
    assert message.startswith(f'model.kind = "{module}:Model": cannot be imported, ' + says.format(module))
    assert message.endswith("\n  allowed: linear, relu_output, relu_hidden, two_layer or pkg.module:Class")
    assert len(message.splitlines()) in (2, 3) and len(message) < 600  # with the line of the file, where there is one


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
    assert len(message.splitlines()) <= 3


class Callback(Free):
    def __call__(self, x):
        jax.debug.print("{}", x)
        return super().__call__(x)


def exits(*arguments: Any) -> Any:
    raise SystemExit(3)


def escapes(*arguments: Any) -> Any:
    raise ValueError("\x1b[31mred\a")


def with_static(make: Callable[[], Any]) -> type[eqx.Module]:
    return building(lambda *shape: {"s": make()}, __annotations__={"s": Any}, s=eqx.field(static=True))


def with_call(call: Callable[[Any], Any]) -> type[eqx.Module]:
    """A variant whose output is that of a right model after `call`."""
    return variant(__call__=lambda self, x: call(Free.__call__(self, x)))


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (with_array(jnp.zeros(2, jnp.bfloat16)), "V is bfloat16, must be float32"),
        (with_array(jnp.zeros(2, jnp.float16)), "V is float16, must be float32"),
        (with_array(jnp.zeros(2, jnp.complex64)), "V is complex64, only floats are trained"),
        (with_array(jnp.zeros(2, bool)), "V is bool, only floats are trained"),
        (with_array(jax.random.key(0)), "V is key<fry>, only floats are trained"),
        (with_array(jnp.zeros((0,)), dims={**DIMS, "V": ("own",)}), "V has shape (0,), no entry to train"),
        (variant(__init__=exits), "Class(2, 1, init_std, key=key) raises "),
        (with_call(exits), "raises SystemExit: 3"),
        (with_call(escapes), r"raises ValueError: \x1b[31mred\x07"),
        (with_call(lambda z: z.astype(jnp.float16)), "model(x) is float16, must be float32 as x is"),
        (with_call(lambda z: z.astype(int)), "model(x) is int32, must be float32 as x is"),
        (with_call(lambda z: z.astype(jnp.complex64)), "model(x) is complex64, must be float32 as x is"),
        (with_call(lambda z: [z]), "model(x) is a list"),
        (with_call(lambda z: None), "model(x) is a NoneType"),
        (
            with_call(lambda z: jax.lax.while_loop(lambda c: c.sum() < 0, lambda c: c + 1, z)),
            "the gradient of model(x)",
        ),
        (with_call(lambda z: jax.pure_callback(np.tanh, jax.ShapeDtypeStruct((2,), "f4"), z)), "do not support JVP"),
        (Callback, "no callback, no jax.debug.print"),
        (with_call(lambda z: jax.nn.one_hot(jnp.argmax(z), 2)), "model(x) has no gradient"),
        (with_call(jax.lax.stop_gradient), "model(x) has no gradient"),
        (with_call(lambda z: z + np.float32(np.random.rand())), "model(x) does not do the same twice"),
        (with_call(lambda z: z * np.random.rand(2).astype("f4")), "model(x) does not do the same twice"),
        (
            building(lambda n, *rest: {"c": jnp.asarray(np.random.rand(n), jnp.float32)}),
            "__init__ does not do the same",
        ),
        (building(lambda n, *rest: {"c": jnp.full(n, jnp.nan)}), "c is not finite at the start, with init_std = 0.4"),
        (building(lambda n, m, std: {"c": jnp.log(-std) + jnp.zeros(n)}), "c is not finite at the start"),
        (with_call(lambda z: jnp.log(-1 - jnp.abs(z))), "model(x) is not finite at the start"),
        (with_static(lambda: object()), "its static fields must be equal in all models"),
        (with_static(lambda: lambda: 1), "its static fields must be equal in all models"),
        (variant(__call__=lambda self, x, key: x), "raises TypeError: "),
        (variant(__call__=lambda self, x: jax.lax.pmean(x, "models")), "raises NameError: "),
    ],
)
def test_what_cannot_be_trained(check: Callable[..., None], cls: Any, says: str) -> None:
    with pytest.raises(SweepError) as error:
        check(cls)
    message = str(error.value)
    assert message.startswith(f'model.kind = "{__name__}:Given": ') and says in message
    assert len(message.splitlines()) <= 2 and message.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "cls",
    [
        with_call(lambda z: jax.lax.fori_loop(0, 3, lambda i, c: jnp.tanh(c), z)),
        with_call(lambda z: jax.lax.scan(lambda c, _: (jnp.sin(c), None), z, None, length=2)[0]),
        with_call(lambda z: jax.lax.cond(z.sum() > 0, jnp.tanh, jnp.sin, z)),
        with_call(jax.jit(jnp.tanh)),
        with_call(jax.checkpoint(jnp.tanh)),
        with_call(jax.vmap(jnp.tanh)),
        with_call(lambda z: z + jax.random.normal(jax.random.key(1), (2,))),
        with_array(jnp.ones(()), dims={**DIMS, "V": ()}),
        with_array(jnp.ones((2, 4, 3)), dims={**DIMS, "V": ("feature", "slot", "neuron")}),
        with_array(jnp.full((2,), 0.5), dims={**DIMS, "V": ("feature",)}),
        with_static(lambda: jnp.tanh),
        with_static(lambda: (1, "two")),
    ],
)
def test_what_can_be_trained(check: Callable[..., None], cls: Any) -> None:
    check(cls)


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


# --- where a class is found, and what its code is --------------------------------------------------

OWN = """
import equinox as eqx
import jax

from helper import SCALE

dims = {"W": ("hidden", "feature")}


class Own(eqx.Module):
    W: jax.Array
    dims = dims

    def __init__(self, n_features, n_hidden, init_std, *, key):
        self.W = SCALE * init_std * jax.random.normal(key, (n_hidden, n_features))

    def __call__(self, x):
        return act(self.W.T @ self.W @ x)


def act(z):
    return jax.numpy.tanh(z)


class Outer:
    Inner = Own
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty; no module of the user is left imported."""
    monkeypatch.setattr(modules, "_imported", {})
    before, path = dict(sys.modules), list(sys.path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "here"
    assert sys.path == path
    for name in sys.modules.keys() - before.keys():
        if modules.is_own(sys.modules[name]):
            del sys.modules[name]


def write(folder: Path, source: str = OWN, name: str = "mine_xyz", scale: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(source)
    (folder / "helper.py").write_text(f"SCALE = {scale}\n")
    return folder / "sweep.toml"


def scale_of(kind: str = "mine_xyz:Own") -> int:
    return sys.modules[member("model", kind).__module__].SCALE


def test_a_class_is_looked_for_here_then_beside_the_sweep(folder: Path, tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", scale=1), write(tmp_path / "other", scale=2)
    with pytest.raises(SweepError) as error:
        member("model", "mine_xyz:Own")
    assert f"looked for mine_xyz.py in {folder} and the installed packages" in str(error.value)
    with modules.beside(one):
        assert scale_of() == 1
        first = member("model", "mine_xyz:Own")
        assert member("model", "mine_xyz:Outer.Inner") is first
    with modules.beside(write(folder / "below", scale=4)):  # a folder in the current one
        assert scale_of() == 4
        write(folder, scale=6)
        assert scale_of() == 6
        (folder / "mine_xyz.py").unlink()
    with modules.beside(other):  # another module of that name, and its own helper
        assert scale_of() == 2
        write(folder, scale=3)
        assert scale_of() == 3


def test_a_module_that_was_edited_is_imported_anew(folder: Path) -> None:
    write(folder)
    assert scale_of() == 1 and member("model", "mine_xyz:Own") is member("model", "mine_xyz:Own")
    write(folder, scale=5)
    assert scale_of() == 5


def test_packages_and_relative_imports(folder: Path) -> None:
    write(folder / "pkg_xyz" / "inner", OWN.replace("from helper", "from .helper"))
    assert member("model", "pkg_xyz.inner.mine_xyz:Own").__module__ == "pkg_xyz.inner.mine_xyz"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("json", "json is a module of Python or superjax itself; give json.py another name"),
        ("superjax", "superjax is a module of Python or superjax itself"),
        ("optax", "optax is imported already, from "),
    ],
)
def test_other_modules_are_not_replaced(folder: Path, name: str, says: str) -> None:
    there = importlib.import_module(name)
    write(folder, name=name)
    with pytest.raises(SweepError, match=says):
        member("model", f"{name}:Own")
    assert sys.modules[name] is there


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("def act(z):", "def act(z):\n    # why\n    'What it does.'", True),
        ("class Own(eqx.Module):", "class Own( eqx.Module ):", True),
        ("tanh(z)", "sin(z)", False),
        ("self.W @ x)", "self.W @ x + 1)", False),
        ('dims = {"W"', 'dims = {"V"', False),
        ("class Outer", "Own.__call__ = None\n\n\nclass Outer", False),
    ],
)
def test_the_code_of_a_class_is_that_of_its_file(folder: Path, old: str, new: str, same: bool) -> None:
    write(folder)
    before = code_of("mine_xyz:Own")
    assert before == code_of("mine_xyz:Own") and old in OWN
    write(folder, OWN.replace(old, new))
    assert (code_of("mine_xyz:Own") == before) is same


@pytest.mark.parametrize(
    "said",
    ["from helper import *", "import helper", "from pkg_xyz import layers", "import pkg_xyz as p",
     "import pkg_xyz.layers", "def late():\n    from helper import scale", "if 0:\n    import pkg_xyz.layers as a"],
)  # fmt: skip
def test_whatever_a_class_imports_is_its_code(folder: Path, said: str) -> None:
    """However it is said, and whether or not it has been imported already."""
    write(folder, OWN + "\n" + said + "\n")
    (folder / "pkg_xyz").mkdir()
    (folder / "pkg_xyz" / "__init__.py").write_text("from . import layers\n")
    used = folder / ("helper.py" if "helper" in said else "pkg_xyz/layers.py")
    used.write_text(f"scale = 1\n{used.read_text() if used.exists() else ''}")
    first = code_of("mine_xyz:Own")
    for name in ("pkg_xyz", "pkg_xyz.layers"):
        sys.modules.pop(name, None)
    assert code_of("mine_xyz:Own") == first
    used.write_text(used.read_text() + "more = 2\n")
    assert code_of("mine_xyz:Own") != first


def test_the_code_of_a_helper_counts(folder: Path) -> None:
    write(folder)
    before = code_of("mine_xyz:Own")
    write(folder, scale=2)
    assert code_of("mine_xyz:Own") != before


def test_a_class_without_a_file_has_the_code_of_all_it_refers_to(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
import equinox as eqx
SCALE = {}
def act(z): return z ** {}
class Base(eqx.Module):
    def out(self, z): return z * {}
class Own(Base):
    dims = {{"W": ("hidden", "feature")}}
    def __call__(self, x):
        inner = lambda z: (z, {})
        return act(self.out(inner(x)[0])) * SCALE
"""
    codes = []
    for numbers in (1, 2, 3, 4), (1, 2, 3, 4), (5, 2, 3, 4), (1, 5, 3, 4), (1, 2, 5, 4), (1, 2, 3, 5):
        module = ModuleType("made_xyz")
        exec(text.format(*numbers), module.__dict__)
        monkeypatch.setitem(sys.modules, "made_xyz", module)
        codes.append(code_of("made_xyz:Own"))
    assert codes[0] == codes[1] and len(set(codes)) == 5 and code_of("linear") == ""
