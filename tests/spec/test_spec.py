"""Sweep files and overrides: what a value is, where it comes from, and what a wrong one is told."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from superjax import spec
from superjax.spec import Axis, Case, SweepError, emit, load, packaged

PHASE_DIAGRAM = """
title = "What happens to an extra feature?"
section = "Superposition as a Phase Change"
restarts = 10
seed = 0
[model]                     # kind = a built-in name, or "pkg.module:Class" for the user's own
kind = "relu_output"
[data]
kind = "independent"        # later: correlated sets, anticorrelated sets, one_sparse, finite, signed
density = 1.0
[train]
objective = "exact"         # or "quasi", "minibatch"
steps = 1000
optimizer = "adam"
learning_rate = 0.03
schedule = "cosine"
[axes.importance]           # name of the dimension; the field (or fields) it sets
field = "importance[-1]"
scale = "log"
range = [0.1, 10]
points = 100
[axes.density]
field = "data.density"
scale = "log"
range = [1, 0.01]
points = 100
[case.n2_m1]                # [case.NAME] may set any field; cases = [...] selects (default all)
n_features = 2
n_hidden = 1
[case.n3_m2]
n_features = 3
n_hidden = 2
axes.importance.points = 60
axes.density.points = 60
"""
SMALL = "n_features = 3\nn_hidden = 2\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the phase diagram, and a checkout with two packaged sweeps and one study."""
    package = tmp_path / "checkout" / "superjax"
    for name in "studies", "sweeps":
        (package / name).mkdir(parents=True)
    (package / "sweeps" / "phase_diagram.toml").write_text(f'study = "phase_diagram"\n{PHASE_DIAGRAM}')
    (package / "sweeps" / "geometry.toml").write_text(SMALL)
    (package / "studies" / "phase_diagram").mkdir()
    for folder in "", "phase_diagram":
        (package / "studies" / folder / "__init__.py").touch()
    monkeypatch.setattr(packaged, "_PACKAGE", package)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("x.toml").write_text(PHASE_DIAGRAM)
    return tmp_path


def sweep(text: str, *overrides: str) -> spec.Sweep:
    Path("s.toml").write_text(text)
    return load("s.toml", *overrides)


def case(text: str, *overrides: str) -> Case:
    (only,) = sweep(text, *overrides).cases.values()
    return only


def refused(text: str, *overrides: str) -> str:
    with pytest.raises(SweepError) as error:
        sweep(text, *overrides)
    message = str(error.value)
    assert len(message.splitlines()) <= 6 and "Traceback" not in message
    return message


def test_the_example_of_the_documentation() -> None:
    result = load("x.toml")
    assert (result.name, result.path, result.study) == ("x", Path("x.toml"), None)
    assert (result.title, result.section) == (
        "What happens to an extra feature?",
        "Superposition as a Phase Change",
    )
    assert list(result.cases) == ["n2_m1", "n3_m2"]
    small, large = result.cases.values()
    assert (small.n_features, small.n_hidden, large.n_features, large.n_hidden) == (2, 1, 3, 2)
    assert [axis.points for axis in (*small.axes.values(), *large.axes.values())] == [100, 100, 60, 60]
    assert list(large.axes) == ["importance", "density"]
    assert large.axes["importance"].names == ("importance[-1]",)
    assert (large.restarts, large.train.learning_rate, large.train.schedule) == (10, 0.03, "cosine")


def test_defaults() -> None:
    result = case(SMALL)
    assert result == Case(n_features=3, n_hidden=2)
    assert (result.importance_vector(), result.density_vector()) == ([1.0] * 3, [1.0] * 3)
    assert (result.train.snapshots, result.axes, result.train.nodes, result.train.clip_norm) == (
        [],
        {},
        None,
        None,
    )
    assert case(SMALL + "importance = {ratio = 0.5}").importance_vector() == [1.0, 0.5, 0.25]
    assert case(SMALL + "importance = [2, 1, 0]").importance_vector() == [2.0, 1.0, 0.0]
    assert list(sweep(SMALL).cases) == ["s"]


def test_frozen() -> None:
    result = load("x.toml")
    for target, key in (
        (result, "name"),
        (result.cases["n2_m1"], "restarts"),
        (result.cases["n2_m1"].train, "steps"),
    ):
        with pytest.raises((AttributeError, ValidationError)):
            setattr(target, key, 3)


# Where sweeps are.


def test_available_and_packaged(folder: Path) -> None:
    assert spec.available() == {"geometry": "", "phase_diagram": "What happens to an extra feature?"}
    result = load("phase_diagram")
    assert result.study == "phase_diagram" and result.path.is_absolute()
    own = folder / "checkout" / "sweeps"
    own.mkdir()
    (own / "mine.toml").write_text(SMALL)
    assert "mine" not in spec.available()  # not a checkout without pyproject.toml
    (folder / "checkout" / "pyproject.toml").touch()
    assert list(spec.available()) == ["mine"]


def test_a_bare_name_is_never_a_file_here() -> None:
    Path("phase_diagram.toml").write_text(SMALL)
    Path("only_here.toml").write_text(SMALL)
    assert len(load("phase_diagram").cases) == 2
    assert len(load("phase_diagram.toml").cases) == len(load(Path("only_here.toml")).cases) == 1
    with pytest.raises(SweepError, match=r'^"only_here": unknown sweep; the file in this folder is only_here.toml'):
        load("only_here")
    with pytest.raises(
        SweepError, match=r'"phase_diagrm": unknown sweep; did you mean phase_diagram\?\n  allowed: geo'
    ):
        load("phase_diagrm")


def test_study() -> None:
    assert sweep(SMALL).study is None
    assert sweep(SMALL + 'study = "phase_diagram"').study == "phase_diagram"
    assert load("phase_diagram", "study=''").study is None
    Path("phase_diagram.toml").write_text(PHASE_DIAGRAM)  # a name makes no study
    assert load("phase_diagram.toml").study is load(Path("phase_diagram.toml")).study is None
    assert load("phase_diagram.toml", "seed=1").override("study=phase_diagram").study == "phase_diagram"
    assert load("phase_diagram").override("seed=1").study == "phase_diagram"
    Path("copy.toml").write_text(load("phase_diagram").path.read_text())
    assert load("copy.toml").study == load(load("phase_diagram").path).study == "phase_diagram"
    Path("phase_diagram.toml").write_text(load("phase_diagram").to_toml())
    assert load("phase_diagram.toml").study == "phase_diagram"
    message = refused(SMALL + 'study = "phase_diagrm"')
    first = 's.toml: study = "phase_diagrm", no such study; did you mean phase_diagram?'
    assert message.splitlines()[0] == first and "\n  allowed: phase_diagram" in message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "s.toml: is empty"),
        (b"# nothing\n", "s.toml: is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "s.toml: is not UTF-8 text"),
        (b"n_features = 3\nn_hidden 2\n", "s.toml: is not valid TOML: Expected '=' after a key"),
        (b"n_features = 3\nn_hidden 2\n", "(at line 2, column 10)"),
        (b"seed = 1\nseed = 2\n", "s.toml: is not valid TOML: Cannot overwrite a value (at line 2"),
        (b"[axes.a]\n[axes.a]\n", "s.toml: is not valid TOML: Cannot declare ('axes', 'a') twice (at line 2"),
        (b"a = " + 9999 * b"[", "s.toml: is not valid TOML"),
    ],
)
def test_no_sweep_file(content: bytes, says: str) -> None:
    Path("s.toml").write_bytes(content)
    with pytest.raises(SweepError) as error:
        load("s.toml")
    assert says in str(error.value) and len(str(error.value).splitlines()) == 1


def test_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("folder.toml").mkdir()
    for name, says in (
        ("none.toml", "No such file"),
        ("folder.toml", "Is a directory"),
        ("a/", "No such file"),
    ):
        with pytest.raises(SweepError, match=f"^{name}: cannot be read, must be a sweep file: {says}"):
            load(name)
    with pytest.raises(SweepError, match="the packaged sweep is geometry, without .toml"):
        load("geometry.toml")

    def deny(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", deny)
    with pytest.raises(SweepError, match="^./x.toml: cannot be read, must be a sweep file: Permission denied$"):
        load("./x.toml")


def test_byte_order_mark() -> None:
    Path("s.toml").write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    assert load("s.toml").cases["s"].n_features == 3


# Wrong values: the same by file and by command line.

AXIS = {"field": '"data.density"', "range": "[0.1, 1]", "points": "3"}


def axis(name: str = "d", **keys: str | None) -> str:
    lines = (f"{key} = {value}\n" for key, value in {**AXIS, **keys}.items() if value)
    return f"[axes.{name}]\n{''.join(lines)}"


WRONG = [
    ("train.steps", "0", "must be >= 1"),
    ("train.steps", "1.5", "must be a whole number"),
    ("train.steps", "3.0", "must be a whole number"),
    ("train.steps", "true", "must be a whole number"),
    ("train.steps", '"100"', "must be a whole number"),
    ("restarts", "-1", "must be >= 1"),
    ("restarts", "0", "must be >= 1"),
    ("seed", "-1", "must be >= 0"),
    ("seed", "4294967296", "must be < 4294967296"),
    ("n_hidden", "0", "must be >= 1"),
    ("optimum", "1", "must be true or false"),
    ("train", "5", "must be a table"),
    ("axes", "5", "must be a table"),
    ("title", "5", "must be a string"),
    ("data.density", "0", "must be > 0"),
    ("data.density", "1.5", "must be <= 1"),
    ("data.density", "nan", "must be a finite number"),
    (
        "data.density",
        "true",
        "must be a number in (0, 1], a list of them, one a feature, or {ratio = ...} or {zipf = ...}",
    ),
    (
        "data.density",
        '"abc"',
        "must be a number in (0, 1], a list of them, one a feature, or {ratio = ...} or {zipf = ...}",
    ),
    ("data.density", "[0.5, 0.5]", "must have n_features = 3 entries, has 2"),
    ("data.kind", '"independant"', '"finite" or "pkg.module:Class"; did you mean independent?'),
    ("data.set_size", "3", 'has no effect with data.kind = "independent"; it needs data.kind = "sets" (case s)'),
    ("data.correlation", "0.5", 'has no effect with data.kind = "independent"; it needs data.kind = "sets"'),
    ("data.correlation", "1.5", "must be <= 1"),
    ("importance", "[1, 2]", "must have n_features = 3 entries, has 2"),
    ("importance", "0", "must be > 0"),
    ("importance", "[0, 0, 0.0]", "must have at least one entry > 0"),
    ("importance", '"abc"', "must be a number > 0, a list of numbers >= 0, or {ratio = a number > 0}"),
    ("importance.ratio", "-1", "must be > 0"),
    ("importance.ratio", "1e+300", "must not overflow at n_features = 3"),
    ("model.kind", '"relu_ouput"', "did you mean relu_output?"),
    ("model.kind", '"pkg.module"', 'must be "linear", "relu_output", "relu_hidden", "two_layer" or "pkg.module:Class"'),
    ("model.init_std", '"notebok"', 'must be a number > 0 or "notebook"'),
    ("model.init_std", "0", "must be > 0"),
    ("train.optimizer", '"adan"', "did you mean adam?"),
    ("train.learning_rate", "inf", "must be a finite number"),
    ("train.learning_rate", '"fast"', "must be a number"),
    ("train.learning_rate", "true", "must be a number"),
    ("train.weight_decay", "0.1", 'has no effect with train.optimizer = "adam"; it needs train.optimizer = "adamw" or'),
    ("train.momentum", "0.9", 'has no effect with train.optimizer = "adam"; it needs train.optimizer = "sgd"'),
    ("train.b1", "1", "must be < 1"),
    ("train.warmup_steps", "1001", "must be <= train.steps = 1000"),
    ("train.snapshots", "0", "must be >= 1"),
    ("train.snapshots", "[0, 0]", "must increase strictly, to at most train.steps = 1000"),
    ("train.snapshots", "[0, 1001]", "must increase strictly, to at most train.steps = 1000"),
    ("train.snapshots", '"all"', "must be a number of log-spaced steps or an increasing list of steps"),
    ("train.clip_norm", "0", "must be > 0"),
    ("phases.represented", "0", "must be > 0"),
    ("plot.threshold", "1", "must be < 1"),
    ("plot.dpi", "0", "must be >= 1"),
    ("plot.dpi", "1201", "must be <= 1200"),
    ("trian", "1", "unknown key; did you mean train?\n  allowed: restarts, seed, "),
    ("steps", "1", "unknown key; did you mean train.steps?"),
    ("train.lerning_rate", "1", "unknown key; did you mean train.learning_rate?\n  allowed: objective, steps, "),
    ("importance.ration", "1", "unknown key; did you mean importance.ratio?"),
    ("cases", "[]", "must list one case or more, each once"),
    ("cases", '["s", "s"]', "must list one case or more, each once"),
]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("data.set_size = 2", "data.set_size = 2, must divide n_features = 3"),
        ("data.set_size = 3\ndata.density = [0.1, 0.2, 0.1]", "must be equal in every set of 3 features"),
        ("train = {skip_empty = true, objective = 'minibatch'}", "train.skip_empty = true, has no effect with data.k"),
        ("data.set_size = 3\naxes.d = {field = 'data.density[1]', values = [0.1, 1]}", "must be equal in every set"),
    ],
)
def test_wrong_sets(lines: str, says: str) -> None:
    assert says in refused(f"data.kind = 'sets'\n{lines}\n{SMALL}")


@pytest.mark.parametrize(("key", "value", "says"), WRONG)
def test_wrong_value(key: str, value: str, says: str) -> None:
    base = SMALL.replace("n_hidden = 2\n", "") if key == "n_hidden" else SMALL
    message = refused(f"{key} = {value}\n{base}")
    assert message.startswith("s.toml: ") and f"{key} = {value}, " in message and says in message
    message = refused(SMALL, f"{key}={value}")
    assert message.startswith(f"{key}={value} (command line): ") and says in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (axis(points="0"), "axes.d.points = 0, must be >= 1"),
        (axis(points=None), "axes.d has range without points"),
        (axis(range=None, values="[1]"), "axes.d has values, and points are of a range: set axes.d.values=[...]"),
        (axis(values="[1]"), "axes.d has both range and values, must have one of them"),
        (axis(range=None, points=None), "axes.d has neither range nor values"),
        (axis(field=None), "axes.d has neither field nor fields"),
        (axis(fields='["importance"]'), "axes.d has both field and fields"),
        (axis(range="[0.1]"), "axes.d.range = [0.1], must have 2 or more entries"),
        (axis(range="[0.1, 0.2, 0.3]"), "axes.d.range = [0.1, 0.2, 0.3], must have 2 entries"),
        (axis(range="[0.1, nan]"), "axes.d.range[1] = nan, must be a finite number"),
        (
            axis(range="[0, 1]", scale='"log"'),
            'axes.d.range = [0, 1], 0.0 is refused: must be > 0 with scale = "log"',
        ),
        (axis(range="[0, 1]"), "axes.d.range = [0, 1], 0.0 is refused: data.density must be > 0"),
        (axis(range="[1, 1.5]"), "axes.d.range = [1, 1.5], 1.5 is refused: data.density must be <= 1"),
        (
            axis(range=None, points=None, values="[1, 2, 0.5]"),
            "axes.d.values = [1, 2, 0.5], 2.0 is refused: data.dens",
        ),
        (axis(range=None, points=None, values="[]"), "axes.d.values = [], must have 1 or more entries"),
        (
            axis(range=None, points=None, values="[[1, 2]]"),
            "must have 1 numbers a row, one per field, [1.0, 2.0] has not",
        ),
        (axis(range=None, points=None, values='["a"]'), 'axes.d.values[0] = "a", must be a number'),
        (axis(scale='"lgo"'), 'axes.d.scale = "lgo", must be one of "linear" or "log"; did you mean log?'),
        (axis(pionts="3"), "axes.d.pionts = 3, unknown key; did you mean axes.d.points?"),
        (axis(field='"data.densty"'), 'axes.d.field = "data.densty", no such field; did you mean data.density?'),
        (axis(field='"density"'), 'axes.d.field = "density", no such field; did you mean data.density?'),
        (
            axis(field='"train.steps"'),
            'axes.d.field = "train.steps", is static, the same in all cells; make it a case',
        ),
        (axis(field='"n_features"'), 'axes.d.field = "n_features", is static'),
        (
            axis(field='"n_hidden"'),
            "axes.d.range = [0.1, 1], 0.1 is refused: an axis over n_hidden has whole numbers from 1 to n_hidden = 2",
        ),
        (axis(field='"train.optimizer"'), "is static"),
        (axis(field='"optimum"'), "is static"),
        (axis(field='"train"'), "is static"),
        (axis(field='"phases.represented"'), "does not concern training, cannot be swept"),
        (axis(field='"axes.d.points"'), 'axes.d.field = "axes.d.points", does not concern'),
        (axis(field='"data.density[3]"'), 'axes.d.field = "data.density[3]", index must be in -3 ... 2'),
        (axis(field='"data.density[-4]"'), 'axes.d.field = "data.density[-4]", index must be in -3 ... 2'),
        (axis(field='"train.b1[0]"'), "train.b1 has no entries"),
        (axis(field='"importance.ratio"'), "needs importance = {ratio = ...}"),
        (
            axis(field='"train.weight_decay"'),
            'axes.d.field = "train.weight_decay", has no effect with train.optimizer = "adam"; it needs',
        ),
        (axis(field='"train.b1"'), "axes.d.range = [0.1, 1], 1.0 is refused: train.b1 must be < 1"),
        (axis() + axis("e"), 'axes.e.field = "data.density", axes.d sets it already'),
        (axis(field='"importance[-1]"') + axis("e", field='"importance[2]"'), "axes.d sets it already"),
        (
            axis(field=None, fields='["importance[0]", "importance[-3]"]'),
            'axes.d.fields[1] = "importance[-3]", axes.d',
        ),
        (axis("loss"), 'axes.loss cannot use the name "loss": reserved or taken'),
        (axis("optimum_W"), 'axes.optimum_W cannot use the name "optimum_W": reserved or taken'),
        (axis("a-b"), "axes.a-b must have a Python identifier as its name"),
        (axis("class"), "axes.class must have a Python identifier as its name"),
        (
            axis("density_1", field='"importance"') + axis(field=None, fields='["data.density[0]", "data.density[1]"]'),
            'axes.d cannot use the name "density_1": reserved or taken',
        ),
    ],
)
def test_wrong_axis(text: str, says: str) -> None:
    message = refused(SMALL + text)
    assert message.startswith("s.toml: ") and says in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("n_hidden = 2", "s.toml: n_features is missing (case s)"),
        ("n_feature = 3\nn_hidden = 2", "s.toml: n_feature = 3, unknown key; did you mean n_features?"),
        (SMALL + "importance = {}", "s.toml: importance = {}, must have one of ratio and zipf"),
        (SMALL + "case = 3", "s.toml: case = 3, must be tables [case.NAME]"),
        (SMALL + "[case]\na = 3", "s.toml: case = {a = 3}, must be tables [case.NAME]"),
        (SMALL + '[case."a/b"]', 's.toml: case "a/b" is no file name'),
        (SMALL + "[case.a]\ntrain.steps = 0", "s.toml: case.a.train.steps = 0, must be >= 1"),
        (SMALL + "[case.a]\ntitle = 'x'", 's.toml: case.a.title = "x", unknown key\n'),
        (SMALL + "cases = 3", "s.toml: cases = 3, must list one case or more"),
        (
            SMALL + "cases = ['alpha', 'bete']\n[case.alpha]\n[case.beta]",
            's.toml: unknown case "bete"; did you mean beta?\n',
        ),
        (SMALL + "cases = ['a']", 's.toml: unknown case "a"\n  allowed: s'),
        (
            "n_features = 3\n[cases]\nn_hidden = []",
            "s.toml: cases.n_hidden = [], must list one value or more, each once",
        ),
        (
            "n_features = 3\n[cases]\nn_hidden = 2",
            "s.toml: cases.n_hidden = 2, must list one value or more, each once",
        ),
        ("n_features = 3\n[cases]\nn_hidden = [1, 1]", "must list one value or more, each once"),
        ("n_features = 3\n[cases]\nn_hidden = [1, 0]", "s.toml: cases.n_hidden = 0, must be >= 1"),
        (SMALL + "[cases]\nn_hiden = [1]", "s.toml: cases.n_hiden = 1, unknown key; did you mean n_hidden?"),
        (SMALL + "[cases]\n'importance[0]' = [1]", 's.toml: case "importance[0]1" is no file name'),
        (SMALL + "[cases]\nimportance = [[1, 1, 2]]", "is no file name, write [case.NAME]"),
        (SMALL + "[cases]\nn_hidden = [1]\n[case.a]", 's.toml: unknown case "a"'),
        (SMALL + "[cases]\n'data.density' = [1]\n" + axis(), "s.toml: cases.data.density: an axis sweeps it"),
        (
            SMALL + "preset = 'notbook'",
            's.toml: unknown preset "notbook"; did you mean notebook?\n  allowed: notebook',
        ),
        (SMALL + "preset = 1", "s.toml: unknown preset 1"),
        (
            SMALL + axis("density") + "[case.a.axes.densty]\npoints = 4",
            "case.a.axes.densty has neither field nor fields, must have one of them; did you mean density?",
        ),
    ],
)
def test_wrong_file(text: str, says: str) -> None:
    assert refused(text).startswith("s.toml: ") and says in refused(text)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["train.steps"], "train.steps (command line): no =, must be KEY=VALUE"),
        (["=3"], "=3 (command line): no key before the =, must be KEY=VALUE"),
        (["axes[0].points=3"], "axes[0].points=3 (command line): no key before the =, must be KEY=VALUE"),
        (["seed=1", "seed=1"], "seed=1 (command line): the key is given twice, also by seed=1"),
        (["train={steps=1}", "train.steps=1"], "train.steps=1 (command line): the key is given twice"),
        (
            ["importance[2]=1", "importance[-1]=2"],
            "importance[-1]=2 (command line): the key is given twice, it is ",
        ),
        (["train={steps=0}"], "train={steps=0} (command line): train.steps = 0, must be >= 1"),
        (["case.s={seed=0}"], "case.s={seed=0} (command line): must be case.NAME.KEY=VALUE"),
        (["case.t.seed=0"], 'case.t.seed=0 (command line): unknown case "t"\n  allowed: s'),
        (
            ["case.s.train={steps=0}"],
            "case.s.train={steps=0} (command line): case.s.train.steps = 0, must be >= 1",
        ),
        (["cases="], "cases= (command line): cases = [], must list one case or more"),
        (["cases=s,t"], 'cases=s,t (command line): unknown case "t"'),
        (["importance[3]=1"], "importance[3]=1 (command line): index must be in -3 ... 2"),
        (["importance[-1]=-2"], "importance[-1]=-2 (command line): must be >= 0"),
        (["importance=[1,-2,1]"], "importance=[1,-2,1] (command line): importance[1] = -2, must be >= 0"),
        (["train.steps[0]=1"], "train.steps[0]=1 (command line): train.steps has no entries"),
        (["importnace[0]=1"], "importnace[0]=1 (command line): unknown key; did you mean importance?"),
        (["data.density=abc"], "data.density=abc (command line): must be a number in (0, 1]"),
        (
            ["axes.densty.points=4"],
            "axes.densty.points=4 (command line): axes.densty has neither field nor fields",
        ),
        (["cases.n_hidden=[0]"], "cases.n_hidden=[0] (command line): cases.n_hidden = 0, must be >= 1"),
        (["title=1"], "title=1 (command line): must be a string"),
        (["title=caf\udce9"], r"'title=caf\udce9' (command line): is not UTF-8 text"),
        (["train.snapshots[0]=1"], "train.snapshots[0]=1 (command line): train.snapshots has no entries"),
        (["cases=[[1]]"], "cases=[[1]] (command line): unknown case [1]"),
        (["preset=none"], 'preset=none (command line): unknown preset "none"'),
        (["seed=" + "9" * 5000], "9... (command line): must be a whole number"),
    ],
)
def test_wrong_override(overrides: list[str], says: str) -> None:
    message = refused(SMALL, *overrides)
    assert says in message


@pytest.mark.parametrize(
    ("text", "override", "says"),
    [
        (axis(range=None, points=None, values="[0.1, 1]"), "axes.d.points=6", "has values, and points are of a range"),
        (axis(range=None, points=None, values="[0.1, 1]"), "axes.d.range=[0.1, 1]", "axes.d.points too, or axes.d.v"),
        ("axes.density.values = [0.1, 1]\n", "seed=1", 'did you mean field = "data.density"?'),
        ("axes.eps = {values = [0.1, 1]}\n", "seed=1", 'did you mean field = "train.eps"?'),
        (axis(), "axes.d.values=[0.9,90%]", "begins like a list, but is not valid TOML"),
        ("", "model={kind=linear}", "begins like a table, but is not valid TOML; text in it needs quotes"),
        ("", "title='open", "begins like a quoted text, but is not"),
        ("", "cases=[a,b]", "begins like a list"),
        ("train.objective = 'minibatch'\n", "train.streams=11", "must be <= restarts = 10: a stream of batches needs"),
    ],
)  # fmt: skip
def test_the_way_out(text: str, override: str, says: str) -> None:
    assert says in refused(text + SMALL if text.startswith(("train", "axes")) else SMALL + text, override)


def test_keyword_arguments_are_shown_as_overrides() -> None:
    for call in load, sweep(SMALL).override:
        with pytest.raises(SweepError, match='restarts: is no argument; give overrides as text: "restarts=2", "t=.*a'):
            call(*["phase_diagram"] * (call is load), restarts=2, t="a")


def test_at_most_three_errors() -> None:
    message = refused("a = 1\nb = 2\nc = 3\nd = 4\ntrain.steps = 0\n" + SMALL)
    lines = message.splitlines()
    assert [line[:13] for line in lines] == [
        "s.toml: a = 1",
        "s.toml: b = 2",
        "s.toml: c = 3",
        "  allowed: re",
        "and 2 more",
    ]
    message = refused("a = 1\ntrain.b = 2\ndata.c = 3\ntrain.steps = 0\n" + SMALL)
    assert message.count("  allowed: ") == 2 and message.splitlines()[4:] == ["and 2 more"]
    assert refused("a = 1\ntrain.b = 2\ndata.c = 3\n" + SMALL).count("  allowed: ") == 3  # in six lines


# Where a value comes from.


@pytest.mark.parametrize(
    ("text", "overrides", "steps"),
    [
        ("", [], 1000),
        ("preset = 'notebook'", [], 10_000),
        ("preset = 'notebook'\ntrain.steps = 1", [], 1),
        ("train.steps = 1\n[case.a]\npreset = 'notebook'", [], 1),
        ("[case.a]\npreset = 'notebook'", [], 10_000),
        ("preset = 'notebook'\ntrain.steps = 1\n[case.a]\ntrain.steps = 2", [], 2),
        ("[case.a]\ntrain.steps = 2", ["train.steps=3"], 3),
        ("[case.a]\ntrain.steps = 2", ["case.a.train.steps=4", "train.steps=3"], 4),
        ("[case.a]", ["preset=notebook"], 10_000),
        ("[case.a]", ["preset=notebook", "train.steps=5"], 5),
        ("train.steps = 1", ["preset=notebook"], 1),
        ("[cases]\n'train.steps' = [6]", [], 6),
        ("train.steps = 1\n[cases]\ntrain.steps = [6]\n[case.steps6]\ntrain.steps = 7", [], 7),
        ("[cases]\ntrain.steps = [6]", ["cases.train.steps=[8]"], 8),
    ],
)
def test_precedence(text: str, overrides: list[str], steps: int) -> None:
    assert case(SMALL + text, *overrides).train.steps == steps


def test_preset_notebook() -> None:
    result = case(SMALL + "preset = 'notebook'")
    expected = {
        "objective": "minibatch",
        "batch": 1024,
        "steps": 10_000,
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "normalize": "features",
    }
    assert result.train.model_dump(include=set(expected)) == expected
    assert result.model.init_std == "notebook"


def test_override_is_stronger_than_those_before() -> None:
    first = load("x.toml", "case.n2_m1.seed=1", "importance[0]=0.5", "restarts=2")
    assert first.override("seed=2").cases["n2_m1"].seed == 2
    assert first.override("restarts=3").cases["n3_m2"].importance_vector() == [0.5, 1, 1]
    assert first.override("importance=0.25").cases["n3_m2"].importance == 0.25
    assert first.override() == first and first.cases["n2_m1"].seed == 1


@pytest.mark.parametrize(
    ("overrides", "importance", "density"),
    [
        (["data.density=0.5", "data.density[2]=0.1"], [1, 1, 1], [0.5, 0.5, 0.1]),
        (["data.density[2]=0.1", "data.density=0.5"], [1, 1, 1], [0.5, 0.5, 0.1]),
        (["importance[-1]=3", "importance[0]=0"], [0, 1, 3], [1, 1, 1]),
        (["importance={ratio=0.5}", "importance[1]=7"], [1, 7, 0.25], [1, 1, 1]),
        (["importance.ratio=0.5"], [1, 0.5, 0.25], [1, 1, 1]),
        (["importance[1]=7", "case.s.importance=2"], [2, 2, 2], [1, 1, 1]),
        (["importance[1]=7", "case.s.importance[1]=8"], [1, 8, 1], [1, 1, 1]),
    ],
)
def test_entries(overrides: list[str], importance: list[float], density: list[float]) -> None:
    result = case(SMALL, *overrides)
    assert (result.importance_vector(), result.density_vector()) == (importance, density)


def test_values_and_range_replace_each_other() -> None:
    density = load("x.toml", "axes.density.values=[1, 0.5]").cases["n3_m2"].axes["density"]
    assert density.table().tolist() == [[1], [0.5]]
    text = SMALL + axis() + "[case.a.axes.d]\nvalues = [1, 0.5]\n[case.b]\n"
    result = sweep(text, "case.a.axes.d.range=[0.5, 0.25]", "case.a.axes.d.points=2")
    assert result.cases["a"].axes["d"].table().tolist() == [[0.5], [0.25]]
    assert len(result.cases["b"].axes["d"].table()) == 3
    assert "has both range and values" in refused(text, "axes.d.values=[1]", "axes.d.range=[1,0.5]")
    assert sweep(text, "case.b.axes.d.range[0]=0.2").cases["b"].axes["d"].range == [0.2, 1.0]
    assert "axes.d.range has no entries" in refused(text, "axes.d.range[0]=0.2")  # case a has values


@pytest.mark.parametrize(
    ("axes", "override", "says"),
    [
        (axis(), "data.density=0.5", "axes.d sweeps data.density (case s)\n  {}: axes.d.values=[0.5]"),
        (axis(), "case.s.data.density=0.5", "axes.d sweeps data.density (case s)\n  {}: case.s.axes.d.values=[0.5]"),
        (axis(), "data.density=[1, 1, 0.5]", "axes.d sweeps data.density (case s)\n  {}: axes.d.values=[...]"),
        (axis(), "data.density[0]=0.5", "axes.d sweeps data.density (case s)\n  {}: axes.d.values=[...]"),
        (axis(), "data={density = 0.5}", "axes.d sweeps data.density (case s)\n  {}: axes.d.values=[0.5]"),
        (axis(field='"data.density[-1]"'), "data.density[2]=1", "data.density[-1] (case s)\n  {}: axes.d.values=[1]"),
        (axis(field='"train.eps"'), "train={eps = 1, steps = 9}", "axes.d sweeps train.eps (case s)\n"),
        (
            axis(field=None, fields='["train.eps", "train.b1"]', range="[0.1, 0.5]"),
            "train.b1=0.5",
            "axes.d sweeps train.b1 (case s)\n  {}: axes.d.values=[...]",
        ),
        (
            "importance.ratio = 0.5\n" + axis(field='"importance.ratio"'),
            "importance={ratio=0.7}",
            "axes.d sweeps importance.ratio (case s)\n  {}: axes.d.values=[0.7]",
        ),
        (
            axis(field=None, fields='["importance[0]", "importance[1]", "importance[-1]"]'),
            "importance=2",
            "axes.d sweeps importance[0] (case s)\n  {}: axes.d.values=[...]",
        ),
    ],
)
def test_an_override_of_what_an_axis_sweeps_is_refused(axes: str, override: str, says: str) -> None:
    message = refused(SMALL + axes, override)
    assert message.startswith(f"{override} (command line): has no effect, axes.d sweeps ")
    assert says.format("change the axis instead") in message


def test_what_an_axis_leaves_may_be_overridden() -> None:
    text = SMALL + axis(field='"importance[-1]"')
    assert case(text, "importance=[2, 3, 4]").importance_vector() == [2, 3, 4]
    assert case(text, "importance[0]=2").importance_vector() == [2, 1, 1]
    assert case("data.density = 0.5\n" + SMALL + axis()).data.density == 0.5  # a file may spell out the baseline
    assert "0.0 is refused: importance[0] must have at least one entry > 0" in refused(
        "importance = [1, 0, 0]\n" + SMALL + axis(field='"importance[0]"', range="[0, 1]")
    )
    text = SMALL + "[case.a]\n" + axis().replace("[axes", "[case.a.axes") + "[case.b]\n"
    assert sweep(text, "case.b.data.density=0.5").cases["b"].data.density == 0.5
    assert "(case a)" in refused(text, "data.density=0.5")


def test_what_a_value_is() -> None:
    assert case(SMALL, "train.optimizer=sgd").train.optimizer == "sgd"
    assert case(SMALL, "train.optimizer='sgd'").train.optimizer == "sgd"
    assert case(SMALL, "train.learning_rate=1e-3 # slow").train.learning_rate == 1e-3
    assert sweep(SMALL, "title=a = b").title == "a = b"
    assert sweep(SMALL, "title=1\nseed=2").title == "1\nseed=2"
    assert sweep(SMALL, 'case."s".seed=3', "title=").cases["s"].seed == 3


def test_model_of_the_user() -> None:
    assert case(SMALL, "model.kind=pkg.module:Class").model.kind == "pkg.module:Class"


# Cases.


def test_selection() -> None:
    for override in "cases=n3_m2,n2_m1", 'cases=["n3_m2", "n2_m1"]', "cases= 'n3_m2' , n2_m1":
        assert list(load("x.toml", override).cases) == ["n3_m2", "n2_m1"]
    assert list(load("x.toml", "cases=n3_m2").override("cases=n2_m1").cases) == ["n2_m1"]
    assert list(sweep(SMALL + "cases = ['b']\n[case.a]\n[case.b]").cases) == ["b"]
    # what only concerns other cases does not stop a run
    assert load("x.toml", "cases=n2_m1", "importance=[1, 2]").cases["n2_m1"].importance == [1, 2]


def test_product() -> None:
    text = "n_features = 3\n[cases]\nn_hidden = [1, 2]\n'train.optimizer' = ['adam', 'sgd']\n"
    result = sweep(
        text + "[case.n_hidden1_optimizer_sgd]\ntrain.momentum = 0.5", "case.n_hidden2_optimizer_adam.seed=4"
    )
    assert {name: (c.n_hidden, c.train.optimizer, c.train.momentum, c.seed) for name, c in result.cases.items()} == {
        "n_hidden1_optimizer_adam": (1, "adam", 0.0, 0),
        "n_hidden1_optimizer_sgd": (1, "sgd", 0.5, 0),
        "n_hidden2_optimizer_adam": (2, "adam", 0.0, 4),
        "n_hidden2_optimizer_sgd": (2, "sgd", 0.0, 0),
    }
    assert list(sweep("[cases]\nn_hidden = [1, 2]\nn_features = [5]").cases) == [
        "n_hidden1_n_features5",
        "n_hidden2_n_features5",
    ]
    assert list(sweep(text, "cases=n_hidden2_optimizer_sgd").cases) == ["n_hidden2_optimizer_sgd"]
    assert list(sweep(SMALL, "cases.train.learning_rate=[0.1, 1e-5]").cases) == [
        "learning_rate0.1",
        "learning_rate1e-05",
    ]


# Axes.


def test_tables() -> None:
    linear = Axis(field="data.density", range=[0.1, 0.7], points=7)
    np.testing.assert_allclose(linear.table()[:, 0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    log = Axis(field="data.density", scale="log", range=[1, 0.01], points=3)
    np.testing.assert_allclose(log.table(), [[1], [0.1], [0.01]])
    rows = Axis(fields=["data.density[4]", "importance[-1]", "importance[-2]"], values=[[0.1, 2, 3], [0.3, 4, 5]])
    assert rows.table().tolist() == [[0.1, 2, 3], [0.3, 4, 5]] and rows.table().dtype == np.float64
    assert rows.names == ("data.density[4]", "importance[-1]", "importance[-2]")
    assert rows.coordinates("any") == ["density_4", "importance_last", "importance_last2"]
    assert log.coordinates("any") == Axis(fields=["train.b1"], values=[0.5]).coordinates("any") == ["any"]
    both = Axis(fields=["data.density[0]", "data.density[1]"], range=[0.5, 1], points=2)
    assert both.table().tolist() == [[0.5, 0.5], [1, 1]]
    assert Axis(field="importance", values=[1, 2]).table().tolist() == [[1], [2]]


@given(
    ends=st.lists(st.floats(1e-9, 1e9), min_size=2, max_size=2),
    points=st.integers(1, 40),
    scale=st.sampled_from(["linear", "log"]),
)
def test_both_ends_are_exact(ends: list[float], points: int, scale: str) -> None:
    assume(points == 1 or abs(ends[0] - ends[1]) > 1e-4 * max(ends))  # others are equal points
    table = Axis.model_validate({"field": "importance", "scale": scale, "range": ends, "points": points}).table()
    assert table.shape == (points, 1)
    assert table[0, 0] == ends[0] and (points == 1 or table[-1, 0] == ends[1])


@pytest.mark.parametrize(
    "path",
    [
        "importance",
        "importance[0]",
        "importance[-3]",
        "importance.ratio",
        "data.density",
        "data.density[2]",
        "model.init_std",
        "train.learning_rate",
        "train.b1",
        "train.b2",
        "train.eps",
        "train.clip_norm",
    ],
)
def test_sweepable(path: str) -> None:
    text = SMALL + "importance.ratio = 0.5\n" + axis(field=f'"{path}"', range="[0.1, 0.9]")
    assert case(text).axes["d"].names == (path,)


def test_reserved_names_are_those_of_a_dataset() -> None:
    from superjax.runs.dataset import _LABELS, OF_SNAPSHOTS
    from superjax.runs.stages import STAGES

    names = {*_LABELS, *(name for stage in STAGES for name in stage.labels)}
    own = {"W1", "W2"}  # of a model that other models need not mind; axes beside it are checked against its dims
    variables = {name for name in names - own if not name.startswith(spec.RESERVED_STEMS)}
    rest = "restart feature hidden snapshot step phase_kind W_snapshots b_snapshots loss_snapshots solution".split()
    rest += [f"{name}_snapshots" for name in OF_SNAPSHOTS]
    assert variables.union(rest) == spec.RESERVED
    assert list(case(SMALL + axis("superposition")).axes) == ["superposition"]


def test_sweepable_with_its_optimizer() -> None:
    for path, optimizer in ("train.weight_decay", "adamw"), ("train.momentum", "sgd"):
        text = SMALL + f"train.optimizer = '{optimizer}'\n" + axis(field=f'"{path}"', range="[0, 0.5]")
        assert case(text).axes["d"].names == (path,)


def test_a_field_and_one_of_its_entries() -> None:
    result = case(SMALL + axis() + axis("e", field='"data.density[0]"'))
    assert list(result.axes) == ["d", "e"]
    text = SMALL + "importance.ratio = 0.5\n" + axis(field='"importance.ratio"')
    assert list(case(text + axis("e", field='"importance[1]"')).axes) == ["d", "e"]
    assert "axes.d sets it already" in refused(text + axis("e", field='"importance"'))


FAMILY = "[families.pair]\nalong = 'd'\nstart = 0.3\n"


def test_families() -> None:
    text = SMALL + axis(range="[0.1, 0.9]")
    named, given = (
        case(text + FAMILY + f"W = {W}\n").families["pair"].W for W in ("'digon'", "[[1, -1, 0], [0, 0, 1]]")
    )
    assert (named, given) == ("digon", [[1, -1, 0], [0, 0, 1]])
    for W, said in (
        ("[[1, -1]]", "must have 2 rows of 3 numbers"),
        ("3", "must be the name of a solution"),
        ("[1, 2, 3]", "must be"),
    ):
        assert said in refused(text + FAMILY + f"W = {W}\n"), W
    assert "families.pair.along" in refused(SMALL + FAMILY + "W = 'digon'\n")
    assert "unknown key" in refused(text + FAMILY + "W = 'digon'\nwhere = 3\n")
    assert "families.pair.start is missing" in refused(text + "[families.pair]\nalong = 'd'\nW = 'digon'\n")


# Out again.

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cf"]), max_size=9)
OVERRIDES = {
    "restarts": st.integers(1, 5),
    "seed": st.integers(0, 2**32 - 1),
    "importance": st.one_of(st.floats(1e-18, 1e18), st.just([0.5, 1, 0]), st.just({"ratio": 0.7})),
    "importance[-2]": st.floats(1e-37, 1e18),
    "data.density[0]": st.floats(1e-18, 1),
    "model.init_std": st.one_of(st.floats(1e-9, 9), st.just("notebook")),
    "train.learning_rate": st.floats(1e-18, 1e18),
    "train.snapshots": st.one_of(st.integers(1, 9), st.just([0, 3, 9])),
    "train.clip_norm": st.floats(1e-9, 1e9),
    "optimum": st.booleans(),
    "case.a.restarts": st.integers(1, 5),
    "case.b.importance": st.just({"ratio": 0.25}),
    "case.b.axes.d.values": st.lists(st.floats(0.0625, 1, width=32), min_size=1, max_size=3, unique=True),
    "case.b.train": st.just({"nodes": 4, "clip_norm": 2.5}),
    "axes.d.label": TEXTS,
    "title": TEXTS,
    "cases": st.sampled_from([["a"], ["b", "a"]]),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10)
@given(st.fixed_dictionaries({}, optional=OVERRIDES))
def test_round_trip(values: dict[str, object]) -> None:
    text = (
        SMALL
        + axis(field='"data.density[2]"')
        + axis("e", field='"train.b1"', range="[0, 0.5]")
        + "[case.a]\n[case.b]\n"
    )
    text += "[case.b.axes.f]\nfields = ['train.eps', 'importance[0]']\nvalues = [[1, 2], [3, 4]]\n"
    first = sweep(text, *(f"{key}={emit.toml(value)}" for key, value in values.items()))
    Path("again.toml").write_text(first.to_toml(), encoding="utf-8", newline="")
    second = load("again.toml")
    assert second.cases == first.cases and list(second.cases) == list(first.cases)
    assert [list(c.axes) for c in second.cases.values()] == [list(c.axes) for c in first.cases.values()]
    assert (second.title, second.study, second.differences(first)) == (first.title, first.study, [])
    assert second.to_toml() == first.to_toml()


def test_to_toml_keeps_a_sweep_without_cases_under_any_name() -> None:
    Path("phase_diagram.toml").write_text(sweep(SMALL).to_toml())
    again = load("phase_diagram.toml")
    assert list(again.cases) == ["s"] and again.study is None
    assert "learning_rate = 0.03" in sweep(SMALL).to_toml()  # defaults are spelled out


@pytest.mark.parametrize("key", ["<table>", "[key]", "train.<number>", "axes.density.field=<table>"])
def test_a_key_may_be_called_as_a_kind_of_value(key: str) -> None:
    name = key.rpartition("=")[2].rpartition(".")[2]
    with pytest.raises(SweepError, match=re.escape(name)):
        load("phase_diagram", f"{key}=1" if "=" not in key else key)


@given(st.text(max_size=30), st.text(max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_gives_a_sweep_or_one_message(key: str, value: str) -> None:
    for text in (
        f"{key}={value}",
        f"axes.density.field={value}",
        f"axes.density.values={value}",
        f"cases={value}",
    ):
        try:
            assert load("x.toml", text).cases
        except SweepError as error:
            assert len(str(error).splitlines()) <= 6


def test_differences() -> None:
    first = load("x.toml")
    drawing = [
        "title=a",
        "section=b",
        "study=phase_diagram",
        "phases.represented=0.6",
        "plot.dpi=9",
        "axes.density.label=Density",
    ]
    assert first.override(*drawing).differences(first) == []
    second = first.override("case.n2_m1.train.steps=500", "importance[0]=0.5", "axes.density.values=[1, 0.5]", "seed=1")
    assert second.differences(first)[:4] == [
        "n2_m1: seed = 1, was 0",
        "n2_m1: importance = [0.5, 1.0], was 1.0",
        "n2_m1: train.steps = 500, was 1000",
        "n2_m1: axes.density.values = [1.0, 0.5], was unset",
    ]
    assert "n2_m1: axes.density.range = unset, was [1.0, 0.01]" in second.differences(first)
    assert first.differences(second)[0] == "n2_m1: seed = 0, was 1"
    one = load("x.toml", "cases=n2_m1")
    assert (first.differences(one), one.differences(first)) == (
        ["n3_m2: a new case"],
        ["n3_m2: not among the cases"],
    )
    left, right = axis(), axis("e", field='"train.b1"', range="[0, 0.5]")
    swapped = sweep(SMALL + left + right).differences(sweep(SMALL + right + left))
    assert swapped == ['s: axes = ["d", "e"], was ["e", "d"]']


def test_import_is_light() -> None:
    code = "import sys, superjax.spec; sys.exit(not {'jax', 'numpy', 'xarray', 'matplotlib'}.isdisjoint(sys.modules))"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
