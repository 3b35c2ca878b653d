"""More restarts or points for a finished run: only what is new is trained, and the result is that of a straight run."""

import itertools
from pathlib import Path

import pytest
import xarray as xr
from matplotlib.figure import Figure

import superjax
from superjax import explorer, sweep
from superjax.engine import chunk_sizes
from superjax.runs.checkpoint import Folder
from superjax.studies import overview
from tests.runs.test_checkpoint import assert_identical
from tests.runs.test_faults import Disk, Killed, Steps
from tests.runs.test_processes import compiled, start, together, wait  # noqa: F401 (a fixture)

GROWING = """
n_features = 2
n_hidden = 1
restarts = 3
optimum = true
train.steps = 30
train.snapshots = 3
plot.dpi = 20
[axes.importance]
field = "importance[-1]"
scale = "log"
range = [0.25, 4]
points = 3
[axes.density]
field = "data.density"
values = [1, 0.3]
"""
MORE = ("restarts=5", "axes.importance.points=5", "axes.density.values=[0.1, 1, 0.5, 0.3]")
SAMPLED = ("optimum=false", "train.objective=minibatch", "train.batch=64", "train.streams=2")


@pytest.fixture
def growing(tmp_path, monkeypatch):
    """A sweep file of several chunks, saved after every call; runs in this process, draws next to nothing."""
    monkeypatch.setattr(Folder, "due", lambda self: True)
    monkeypatch.setattr(chunk_sizes, "_CHUNK_MODELS", {"cpu": 16})
    monkeypatch.setattr(overview, "overview", lambda *_: Figure(figsize=(1, 1)))
    monkeypatch.setattr(explorer, "page", lambda results: "a page")
    monkeypatch.chdir(tmp_path)
    Path("growing.toml").write_text(GROWING)


def run(out: str, *overrides: str) -> int:
    return sweep.main(["growing.toml", "--out", out, *overrides])


def stopped(monkeypatch, out: str, *overrides: str) -> None:
    """A run that is killed after its first saving."""
    save, saved = Folder.save, []

    def once(*arguments):
        if saved:
            raise Killed
        saved.append(save(*arguments))

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Folder, "save", once)
        run(out, *overrides)


def result(out: str) -> xr.Dataset:
    return superjax.open(Path(out) / "growing" / "growing.nc")


def trained(monkeypatch, out: str, *overrides: str) -> int:
    """Steps of models that a run takes."""
    with monkeypatch.context() as patch:
        steps = Steps(patch)
        assert run(out, *overrides) == 0
    return steps.total


@pytest.mark.parametrize(
    "own",
    [
        (),
        pytest.param(SAMPLED, marks=pytest.mark.heavy),
        pytest.param(("train.objective=quasi", "train.batch=128", "optimum=false"), marks=pytest.mark.heavy),
    ],
)
def test_a_grown_run_is_the_straight_one(own, growing, monkeypatch, capsys):
    assert run("grown", *own) == 0
    before = result("grown")
    capsys.readouterr()
    assert run("grown", *own, *MORE) == 0
    assert "growing: 18 of 100 models are taken over from the finished run, 82 are trained" in capsys.readouterr().out
    assert run("straight", *own, *MORE) == 0
    assert_identical(result("grown"), result("straight"))
    taken = result("grown").sel(density=before["density"]).isel(importance=[0, 2, 4], restart=slice(3))
    for name in ("W", "b", "loss", "feature_loss", "W_snapshots", "loss_snapshots"):
        assert taken[name].values.tobytes() == before[name].values.tobytes()
    assert not Path("grown/growing/chunks").exists()
    capsys.readouterr()
    assert run("grown", *own, *MORE) == 0 and "100 models redrawn" in capsys.readouterr().out


def test_only_new_models_are_trained(growing, monkeypatch):
    own = ("optimum=false",)
    assert trained(monkeypatch, "out", *own) == 18 * 30
    assert trained(monkeypatch, "out", *own, "restarts=4") == 6 * 30
    assert trained(monkeypatch, "out", *own, "restarts=4", "axes.density.values=[1, 0.3, 0.2]") == 12 * 30


@pytest.mark.parametrize("every", [61, pytest.param(7, marks=pytest.mark.heavy)])
def test_killed_while_it_grows_it_goes_on_and_loses_nothing(growing, monkeypatch, every):
    more = ("restarts=5", "optimum=false")
    assert run("straight", *more) == 0
    dataset = result("straight")
    for fatal in itertools.count(1, every):
        out = f"killed-{fatal}"
        assert run(out, *more[1:]) == 0
        with monkeypatch.context() as patch:
            before = Steps(patch)
            Disk(patch, fatal)
            try:
                run(out, *more)
                break
            except Killed:
                pass
        assert result(out)["loss"].sizes["restart"] in (3, 5)
        after = trained(monkeypatch, out, *more)
        assert before.total + after <= 12 * 30 + before.largest
        assert_identical(result(out), dataset)
    assert fatal > 50


@pytest.mark.heavy
def test_growth_that_is_under_way_may_go_further_or_be_given_up(growing, monkeypatch, capsys):
    own = ("optimum=false",)
    assert run("out", *own) == 0
    first = result("out")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        Disk(patch, 30)
        run("out", *own, "restarts=5")
    assert list(Path("out").rglob("*.chunk"))
    capsys.readouterr()
    assert sweep.main(["growing.toml", "--out", "out", *own, "restarts=5", "--figures-only"]) == 2
    assert "growing has other restarts or points than were run" in capsys.readouterr().err
    assert trained(monkeypatch, "out", *own) == 0
    assert_identical(result("out"), first)
    assert trained(monkeypatch, "out", *own, "restarts=6") == 18 * 30


def test_an_unfinished_run_says_when_it_takes_more(growing, monkeypatch, capsys):
    """And does not where other settings differ too: no run takes those."""
    own, hint = ["optimum=false"], "a run takes more restarts or points once it is finished"
    stopped(monkeypatch, "out", *own)
    for more in (["restarts=5"], ["axes.importance.points=5"], ["axes.density.values=[1, 0.3, 0.1]"]):
        assert run("out", *own, *more) == 2
        assert hint in capsys.readouterr().err
    assert run("out", *own, "restarts=5", "train.steps=31") == 2
    assert hint not in (said := capsys.readouterr().err) and "restarts = 5, was 3" in said
    assert trained(monkeypatch, "out", *own) > 0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["restarts=2"], "6 of the 18 models that are trained are not in the sweep any more"),
        (["restarts=9", "axes.density.values=[1, 0.2]"], "9 of the 18 models"),
        (["restarts=9", "train.steps=31"], "train.steps = 31, was 30"),
        (["restarts=9", "seed=1"], "seed = 1, was 0"),
        (["restarts=9", "optimum=true"], "optimum = true, was false"),
    ],
    ids=" ".join,
)
def test_what_would_lose_models_or_change_them_is_refused(overrides, said, growing, capsys):
    own = ["optimum=false"]
    assert run("out", *own) == 0
    names = {override.partition("=")[0] for override in overrides}
    kept = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run("out", *(word for word in own if word.partition("=")[0] not in names), *overrides) == 2
    error = capsys.readouterr().err
    assert said in error and "--fresh" in error and error.count("\n") <= 6
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == kept


@pytest.mark.heavy
@pytest.mark.parametrize(
    "more", [pytest.param("model.init_std=notebook", marks=pytest.mark.heavy), "train.starts=independent"]
)
def test_starts_that_do_not_depend_on_the_number_of_models_grow(growing, more):
    own = ("optimum=false", more)
    assert run("out", *own) == 0 and run("whole", *own, "restarts=4") == 0
    assert run("out", *own, "restarts=4") == 0
    grown, whole = (xr.load_dataset(f"{folder}/growing/growing.nc") for folder in ("out", "whole"))
    assert (grown["W"] == whole["W"]).all()


def test_an_unfinished_run_does_not_grow(growing, monkeypatch, capsys):
    own = ("optimum=false",)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        Disk(patch, 30)
        run("out", *own)
    assert run("out", *own, "restarts=4") == 2 and "restarts = 4, was 3" in capsys.readouterr().err


@pytest.mark.heavy
def test_a_dataset_damaged_while_it_grows_is_trained_again(growing, monkeypatch, capsys):
    own = ("optimum=false", "restarts=4")
    assert run("out", *own[:1]) == 0
    with monkeypatch.context() as patch, pytest.raises(Killed):
        Disk(patch, 30)
        run("out", *own)
    Path("out/growing/growing.nc").write_bytes(b"damaged")
    capsys.readouterr()
    assert run("out", *own) == 0
    assert "growing.nc is damaged; growing is trained again" in capsys.readouterr().err
    assert run("straight", *own) == 0
    assert_identical(result("out"), result("straight"))


@pytest.mark.heavy
def test_two_processes_grow_a_run(growing, compiled, tmp_path):  # noqa: F811
    Path("study.toml").write_text(GROWING)
    own = ("optimum=false", "restarts=4")
    for out, *settings in (("grown", own[0]), ("straight", *own)):  # with chunks of the size that the two have
        assert wait(start(out, *settings, cwd=tmp_path, env=compiled))[0] == 0
    ended = [wait(process) for process in together(2, "grown", *own, cwd=tmp_path, env=compiled)]
    assert [status for status, _ in ended] == [0, 0], ended
    grown, straight = (superjax.open(Path(out) / "study" / "study.nc") for out in ("grown", "straight"))
    assert_identical(grown, straight)
