"""What a sweep would cost: sizes as they come out, and nothing is left behind."""

import re
from pathlib import Path

import pytest

import superjax
from superjax import sweep
from superjax.engine.engine import Program
from superjax.runs import dry_run
from superjax.runs.case_run import CaseRun
from superjax.runs.options import Options
from superjax.runs.stages import optimum
from superjax.runs.stages.families import FOLLOW
from tests.conftest import SMALL
from tests.runs.test_growth import growing, run, stopped  # noqa: F401 (a fixture)

SEVERAL = """
[case.exact]
[case.sampled]
train = {objective = "minibatch", batch = 32, streams = 2, steps = 40, snapshots = [0, 20]}
[case.short]
train.steps = 3
[case.searched]
optimum = true
train.steps = 40
"""


def test_every_case_is_tried_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SMALL + SEVERAL)
    assert sweep.main(["small.toml", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "small: 96 models in 4 cases; nothing is trained or written\n" in said
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]
    for name in ("exact", "sampled", "short", "searched"):
        assert re.search(rf"  {name}: 24 models, form (fused|mapped|plain), 1 chunk of \d+; memory \d", said), said
    assert len(re.findall(r", optimum [\d.]+ (?:s|min)\n", said)) == 1
    assert re.search(r"  about [\d.]+ (s|min) in all\n", said)


def test_sizes_are_those_of_the_run(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    loaded = superjax.load(tmp_path / "small.toml", "axes.importance.points=60", "axes.density.points=60")
    (cost,) = dry_run.found(loaded, "small.toml", Options(tmp_path)).costs
    (case,) = loaded.cases.values()
    running = CaseRun("small", case)
    assert (cost.models, cost.chunk, cost.disk) == (14_400, running.chunks["train"], running.bytes)
    assert cost.chunks == len(running._training.chunks) == -(-14_400 // cost.chunk) > 1
    assert cost.memory >= cost.disk and cost.training > 0 and cost.evaluation > 0
    low, typical, high = cost.seconds
    assert low == typical == high == cost.compiling + cost.training + cost.evaluation


@pytest.fixture
def clock(monkeypatch):
    """A clock that a call of k steps moves on by k seconds."""
    passed, advance = [0.0], Program.advance

    def counted(self, state, step, *rest):
        for after, following in advance(self, state, step, *rest):
            passed[0] += after - step
            step = after
            yield after, following

    monkeypatch.setattr(Program, "advance", counted)
    monkeypatch.setattr("superjax.runs.chunks.time.perf_counter", lambda: passed[0])


def test_what_is_timed_is_the_steps_of_the_plan(make_case, clock):
    """Training takes its steps times its groups."""
    running = CaseRun("small", make_case("train.steps=50", "axes.importance.points=60", "axes.density.points=60"))
    assert running.tried().training == pytest.approx(50 * len(running._training.chunks))


def test_stages_are_timed_as_training_is(make_case, clock):
    """Dictionaries take their steps, families those of every cell of a path one after the other, the optimum those of
    its end so many times."""
    families = (
        'families.pair={W = [[1, -1]], along = "density", start = 1}',
        'families.alone={W = [[1, 0]], along = "importance", start = 5}',
    )
    case = make_case("optimum=true", "autoencoder={width = 2, steps = 40}", *families)
    tried = CaseRun("small", case).tried_stages()
    assert {name: round(one.training) for name, one in tried.items()} == {
        "optimum": optimum.SEARCH * optimum.FINISH.steps, "families": 3 * FOLLOW.steps, "autoencoder": 40,
    }  # fmt: skip


def test_an_attack_is_tried_and_what_searches_until_it_is_done_is_not(make_case):
    attacked = CaseRun("small", make_case("attack={steps = 2, starts = 2}")).tried_stages()
    assert attacked["attack"].training > 0
    newton = 'families.rising={W = "best", along = "density", start = 0.1, method = "newton"}'
    assert CaseRun("small", make_case(newton)).tried_stages() == {"families": None}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["phase_diagram", "--dry-run", "--fresh"], "tries one sweep out and writes nothing"),
        (["--all", "--dry-run"], "tries one sweep out and writes nothing"),
        (["--dry-run"], "which sweep?"),
        (["phase_diagram", "--dry-run", "--devices", "99"], "99"),
        (["phase_diagram", "--dry-run", "nonsense=1"], "nonsense"),
    ],
)
def test_what_cannot_be_tried_is_refused(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert sweep.main(words) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_times_are_short_to_read():
    assert [dry_run._bytes(size) for size in (12, 4e4, 3e7, 2.5e9)] == ["12 B", "40 kB", "30 MB", "2.5 GB"]


def times() -> dict[str, int]:
    """When the files of a folder were written; a killed process left its lock."""
    files = (path for path in Path("out").rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path): path.stat().st_mtime_ns for path in files}


def tried(capsys, *overrides: str) -> str:
    """What a dry run says, having left the folder as it was."""
    before = times()
    capsys.readouterr()
    assert sweep.main(["growing.toml", "--out", "out", *overrides, "--dry-run"]) == 0
    assert times() == before
    return capsys.readouterr().out


def test_what_the_folder_has_costs_nothing(growing, monkeypatch, capsys):  # noqa: F811
    """A run that goes on, one that is finished, one that grows, and one that the folder does not take."""
    own = ("optimum=false",)
    stopped(monkeypatch, "out", *own)
    said = tried(capsys, *own)
    part = re.search(r"growing: 18 models, ([\d.]+)% of the training is done, form fused", said)
    assert part and 0 < float(part[1]) < 100
    for chunk in Path("out").rglob("*.chunk"):
        chunk.write_bytes(chunk.read_bytes()[:-9])  # damaged, and left where it is
    assert "% of the training" not in tried(capsys, *own)
    assert run("out", *own) == 0
    said = tried(capsys, *own)
    assert (
        "growing: 18 models in 1 case; nothing" in said and "  growing: has been trained, would only be drawn\n" in said
    )
    assert "chunk" not in said and re.search(r"  about \d+ s in all\n", said)
    assert "growing: 24 models, 18 of them from the finished run, form" in tried(capsys, *own, "restarts=4")
    said = tried(capsys, *own, "seed=1")
    assert "refused: out/growing: holds a run with other settings" in said and "in an empty folder it would" in said
    assert re.search(r"  growing: 18 models, form fused, 2 chunks of 16", said)


def test_stages_of_a_run_that_grows_are_those_of_all_models(growing, capsys):  # noqa: F811
    """They are made anew, also where no model has to be trained."""
    own = ("boundary={resolution=0.9, band=0}", "optimum=true")
    whole = superjax.load("growing.toml", *own)
    empty, options = dry_run.found(whole, "growing", Options(Path("out"))).costs, Options(Path("out"))
    assert run("out", *own) == 0
    assert dry_run.found(whole, "growing", options).drawn == ["growing"]
    (turned,) = dry_run.found(whole.override("axes.density.values=[0.3, 1]"), "growing", options).costs
    assert turned.taken_over == turned.models and turned.training == 0 and turned.stages["optimum"] > 0
    assert turned.stages.keys() == empty[0].stages.keys() == {"optimum", "boundary"}
    assert "models that are trained are not in the sweep" in tried(capsys, *own, "restarts=2")
