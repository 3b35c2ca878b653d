"""Sizes are known by arithmetic and refused before anything of that size is made; names become files."""

import os
from pathlib import Path

import jaxtyping
import pytest

from superjax.runs import case_run
from superjax.spec import Case, SweepError, load
from superjax.spec.names import fault, of_stem
from superjax.sweep import main, parser

SMALL = "n_features = 3\nn_hidden = 2\n"
AXIS = "[axes.a]\nfield = 'data.density'\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(text: str, *overrides: str) -> str:
    Path("s.toml").write_text(text)
    with pytest.raises(SweepError) as error:
        load("s.toml", *overrides)
    assert len(str(error.value).splitlines()) <= 2 and len(str(error.value)) < 500
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (AXIS + "range = [0.1, 1]\npoints = 1000000000", "must be so wide that its 1000000000 points differ"),
        (AXIS + "range = [0.1, 1]\npoints = 1000000\n[axes.b]\nfield = 'train.b1'\nrange = [0.1, 0.9]\npoints = 1000",
         "axes.a.points = 1000000, makes 1,000,000,000 cells of 10 restarts, a case may have 2,147,483,647 models"),
        ("n_features = 2147483647\nn_hidden = 1", "must be <= 1048576"),
        ("n_features = 1000000\nn_hidden = 1000000", "n_hidden = 1000000, must be at most 2,147 at n_features = "),
        ("[cases]\nseed = [0, 1]\n" + "".join(f"{key} = {list(range(1, 101))}\n" for key in ("restarts", "n_hidden")),
         "cases makes a product of 20,000 cases"),
        ("seed = 0x" + "f" * 5000, "seed is a whole number of more than 64 bits"),
        (".".join("a" * 900) + " = 1", "a.a.a is nested more than 16 levels deep"),
        ("[" + ".".join("a" * 900) + "]\nx = 1", "a.a.a is nested more than 16 levels deep"),
        ("x = " + "[" * 100 + "]" * 100, "is nested more than 16 levels deep"),
        ("x = " + "[" * 100_000 + "]" * 100_000, "not valid TOML"),
        ("a" * 100_000 + " = 1", "... = 1, unknown key"),
        (f"x = '{2**20 * 'x'}'", "has more than 1,048,576 bytes"),
        ("title = '" + "x" * 1001 + "'", "must have at most 1000 characters"),
    ],
)  # fmt: skip
def test_too_large_a_file(text: str, says: str) -> None:
    assert says in refused(text if "n_features" in text else SMALL + text)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.snapshots=2147483647", "must be <= train.steps = 1000"),
        ("train.nodes=8000", "must be <= 500"),
        ("train.streams=2147483647", "must be <= restarts = 10"),
        ("seed=0x" + "f" * 5000, "the value is a whole number of more than 64 bits"),
        (".".join("a" * 3000) + "=1", "unknown key, nested more than 16 levels deep"),
        ("a" * 100_000 + "=1", "... (command line): unknown key"),
        ("title=" + "x" * 2**20, "1,048,582 characters, at most 1,048,576 are read"),
        ("x=" + "[" * 100 + "]" * 100, "nested more than 16 levels deep"),
    ],
)
def test_too_large_an_override(override: str, says: str) -> None:
    assert says in refused(SMALL, override)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"train": {"steps": 2**31 - 1}}, "take fewer train.steps"),
        ({"train": {"objective": "quasi", "batch": 2**31 - 1}}, "take a smaller train.batch"),
        ({"train": {"objective": "minibatch", "batch": 2**31 - 1}}, "take a smaller train.batch"),
        ({"restarts": 2**31 - 1}, "take fewer points, restarts or snapshots"),
        ({"data": {"kind": "finite", "points": 2**31 - 1}}, "take fewer data.points"),
        ({"autoencoder": {"width": 2**20}, "restarts": 1000}, "take fewer points, restarts or snapshots"),
        ({"train": {"steps": 10**6, "snapshots": 10**6}, "restarts": 10**4}, "fewer points, restarts or snapshots"),
        ({"n_features": 10**6, "n_hidden": 2000, "train": {"objective": "minibatch"}}, "points, restarts or snapshots"),
    ],
)
def test_memory_is_checked_before_anything_is_made(settings, says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_run.machine, "usable_memory", lambda: 2**33)
    monkeypatch.setattr(case_run, "program_of", lambda *arguments: pytest.fail("a program was made"))
    case = Case.model_validate({"n_features": 3, "n_hidden": 2, **settings})
    with pytest.raises(SweepError, match=f"models need about [0-9,]+ bytes of memory.*{says}"):
        case_run.CaseRun("s", case)


def test_devices_and_pipes_are_not_read() -> None:
    os.mkfifo("pipe.toml")
    for name in "/dev/zero", "pipe.toml":
        with pytest.raises(SweepError, match="is a device or a pipe"):
            load(name)
    with pytest.raises(SweepError, match="embedded null byte"):
        load("\0.toml")


@pytest.mark.parametrize("name", [None, 3, b"phase_diagram", [], Path])
def test_what_is_no_sweep(name, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users have no checked annotations
    with pytest.raises(SweepError, match="is no sweep, must be the name of one or the path of a file"):
        load(name)
    with pytest.raises(SweepError, match="is no override, must be a string KEY=VALUE"):
        load("phase_diagram", name)


# Names.


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("mine (1).toml", "mine (1)"), ("mine.TOML", "mine"), ("mine [2].toml", "mine _2_"), ("-x.toml", "-x"),
        ("a b .toml", "a b_"), ("..x.toml", "_.x"), ("u\u0308ber.toml", "\u00fcber"), ("日本.toml", "日本"),
        ("x;$y\x1b.toml", "x__y_"), ("a\u202eb.toml", "a_b"), ("\udce9.toml", "_"), ("x'&y!.toml", "x'&y!"),
    ],
)  # fmt: skip
def test_any_name_of_a_file_is_one_of_a_case(file: str, name: str) -> None:
    Path(file).write_text(SMALL)
    sweep = load(file)
    assert (sweep.name, list(sweep.cases)) == (name, [name]) and fault(name) == "" and of_stem(name) == name
    assert list(sweep.override(f'case."{name}".seed=1').cases) == [name]


def test_names_that_are_too_long_or_no_file_names() -> None:
    assert fault("x" * 230) == "" and len(f".{'x' * 230}.nc.12345678.tmp") <= 255
    for name in "x" * 231, "ü" * 116:
        assert "bytes where 230 are allowed" in refused(f"{SMALL}[case.{name!r}]")
    for name in "a/b", "a.", "a ", " a", ".a", "a[1]", "", "..":
        assert "is no file name" in refused(f"{SMALL}[case.{name!r}]")
    Path("x" * 231 + ".toml").write_text(SMALL)
    with pytest.raises(SweepError, match="the name of a sweep is no file name, of 231 bytes"):
        load("x" * 231 + ".toml")


def test_a_file_of_another_ending_is_said_to_be_there() -> None:
    Path("mine.yaml").write_text(SMALL)
    with pytest.raises(SweepError, match='"mine.yaml": unknown sweep; a file or folder in this folder has that name'):
        load("mine.yaml")


@pytest.mark.parametrize("text", ["a\\u0007", "a\\u0000", "\\u001b[31m", "a\\u009b", "a\\u202e", "a\\u2067b"])
def test_control_characters_in_what_is_drawn(text: str) -> None:
    for key in "title", "section":
        assert "must have no control characters" in refused(f'{key} = "{text}"\n{SMALL}')
    assert "must have no control characters" in refused(f'{SMALL}{AXIS}values = [0.1, 0.2]\nlabel = "{text}"')
    family = f'{SMALL}{AXIS}values = [0.1, 0.2]\n[families."{text}"]\nW = "digon"\nalong = "a"\nstart = 1'
    assert "must have no control characters" in refused(family)


# The names that other code has for fields.


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        ("lr", "train.learning_rate"), ("train.lr", "train.learning_rate"), ("wd", "train.weight_decay"),
        ("sparsity", "data.density, which is 1 - sparsity"), ("activation", "model.kind"), ("hidden", "n_hidden"),
        ("feature_probability", "data.density"), ("d_hidden", "n_hidden"), ("n_instances", "restarts"),
        ("num_steps", "train.steps"), ("epochs", "train.steps"), ("batch_size", "train.batch"),
        ("optim", "train.optimizer"), ("n_feature", "n_features"), ("betas", "train.b1 and train.b2"),
    ],
)  # fmt: skip
def test_hints_for_the_names_of_others(key: str, ours: str) -> None:
    assert f"unknown key; did you mean {ours}?" in refused(SMALL, f"{key}=1")


def test_hints_for_axes() -> None:
    assert "no such field; did you mean train.learning_rate?" in refused(SMALL + "[axes.a]\nfield='lr'\nvalues=[1, 2]")
    message = refused(SMALL + "[axes.a]\nfield='seed'\nvalues=[1, 2]")
    assert message.endswith("is static, the same in all cells; make it a case, or take more restarts")


# On the command line.


def test_names_that_begin_with_a_dash_or_a_tilde(folder: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("-x.toml").write_text(SMALL)
    assert main(["--", "-x.toml", "train.steps=0"]) == 2
    assert "train.steps=0 (command line): must be >= 1" in capsys.readouterr().err
    monkeypatch.setenv("HOME", str(folder))
    assert parser().parse_args(["x", "--out=~/r"]).out == folder / "r"
    assert main(["x.toml", "--out=~nobody_at_all/r"]) == 2
    assert "there is no such user" in capsys.readouterr().err


def test_what_the_user_wrote_is_never_repeated_at_length() -> None:
    for text in f"study = '{'x' * 5000}'\n" + SMALL, f"n_features = 2\nn_hidden = 2\ncases.{'x' * 5000} = [1, 1]\n":
        Path("long.toml").write_text(text)
        with pytest.raises(SweepError) as error:
            load("long.toml")
        assert max(map(len, str(error.value).splitlines())) <= 600
