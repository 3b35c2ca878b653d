"""A sweep run from Python: in memory and in a folder."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

import superjax
from superjax.engine import chunk_sizes, engine
from superjax.errors import in_python
from superjax.problem.models import Linear
from superjax.runs import chunks
from superjax.runs.checkpoint import Folder
from superjax.spec import SweepError
from superjax.sweep import main
from superjax.system import terminal
from tests.runs.test_checkpoint import assert_identical
from tests.runs.test_faults import STUDY


@pytest.fixture
def study(tmp_path, monkeypatch) -> superjax.Sweep:
    """A sweep of several chunks, saved after every call."""
    monkeypatch.setattr(Folder, "due", lambda self: True)
    monkeypatch.setattr(chunk_sizes, "_CHUNK_MODELS", {"cpu": 16})
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(STUDY)
    return superjax.load("study.toml")


def test_a_run_in_a_folder_is_that_in_memory_and_is_there_afterwards(study, monkeypatch, capsys):
    (in_memory,) = superjax.run(study).values()
    assert [path.name for path in Path().iterdir()] == ["study.toml"]
    (in_folder,) = superjax.run(study, out="out").values()
    assert capsys.readouterr() == ("", "")
    assert_identical(in_folder, in_memory)
    assert {"study.nc", "study.png", "claims.json", "manifest.json"} <= {
        path.name for path in Path("out/study").iterdir()
    }
    monkeypatch.setattr(engine.Program, "advance", lambda *_: pytest.fail("trains"))
    (again,) = superjax.run(study, out=Path("out")).values()
    assert capsys.readouterr() == ("", "superjax: out/study: holds this run; drawn again\n")
    assert again.identical(in_memory)


def test_an_interrupt_keeps_what_was_trained(study, monkeypatch, capsys):
    trained, train = [], chunks.Training._train

    def interrupted(training, *arguments):
        if len(trained) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        trained.append(training)
        train(training, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(chunks.Training, "_train", interrupted)
        with pytest.raises(KeyboardInterrupt, match="what was trained is kept; the same call goes on"):
            superjax.run(study, out="out")
    assert list(Path("out/study").rglob("*.chunk"))
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_DFL
    (whole,) = superjax.run(study, out="whole").values()
    capsys.readouterr()
    (resumed,) = superjax.run(study, out="out").values()
    said = capsys.readouterr()
    where = "superjax: out/study: goes on with the run that is there"
    assert re.fullmatch(rf"{where}, \d+% of the training is done\n", said.err)
    assert said.out == ""
    assert_identical(resumed, whole)


def test_what_cannot_be_is_refused(study):
    for keywords, said in (
        ({"fresh": True}, "say which one by out"),
        ({"out": "out", "init": {"study": {}}}, "leave init out"),
        ({"out": "out", "devices": 99}, "99"),
        ({"out": "/proc/nowhere"}, "/proc/nowhere"),
    ):
        with pytest.raises(SweepError, match=said):
            superjax.run(study, **keywords)
    superjax.run(study, out="out")
    with pytest.raises(SweepError, match="steps = 41, was 40") as error:
        superjax.run(study.override("train.steps=41"), out="out")
    assert "start over with fresh=True, which deletes it, or choose another folder with out=" in str(error.value)
    assert f"repeat its settings, recorded in {Path('out', 'study', 'sweep.toml')}, to go on" in str(error.value)
    assert "add start_from=out/study and take another out=" in str(error.value)
    with pytest.raises(SweepError, match="seed = 7") as error:
        superjax.run(study.override("seed=7"), out="out")
    assert "start_from" not in str(error.value)
    superjax.run(study.override("train.steps=41"), out="out", fresh=True)


def test_progress_is_told_when_asked_for(study, capsys):
    superjax.run(study)
    assert capsys.readouterr() == ("", "")
    superjax.run(study, progress=True)
    assert "study: training 48 models" in capsys.readouterr().out


def test_messages_from_python_name_no_options_of_the_command_line(study, capsys):
    """What the command line calls its own way, also in what is warned of."""
    for call in (lambda: superjax.load("study.toml", "train.stepz=1"), lambda: study.override("train.stepz=1")):
        with pytest.raises(SweepError, match=r"^train\.stepz=1 \(override\): unknown key; did you mean train\.steps\?"):
            call()
    with pytest.raises(SweepError, match=r"^devices = 0: must be at least 1"):
        superjax.run(study, devices=0, out="out")
    with in_python():
        terminal.warn("--fresh removes them; my--out and --output stay")
    assert capsys.readouterr().err == "superjax: warning: fresh=True removes them; my--out and --output stay\n"
    assert main(["study.toml", "train.stepz=1"]) == 2
    assert "train.stepz=1 (command line): unknown key" in capsys.readouterr().err


class Mine(Linear):
    pass


def test_overrides_may_be_pairs_with_a_class_as_value(study, monkeypatch):
    pairs = ("model.kind", Mine), ("train.steps", np.int64(7)), ("axes.density.range", np.array([1.0, 0.5]))
    given = study.override(*pairs, "seed=3")
    (case,) = given.cases.values()
    assert (case.model.kind, case.train.steps, case.seed) == (f"{__name__}:Mine", 7, 3)
    assert case.axes["density"].range == [1.0, 0.5]

    class Within(Linear):
        pass

    for pair, said in (
        (("model.kind", Within), "is within a function"),
        (("train.stepz", 7), "did you mean train.steps"),
        (("train.steps",), "is no override"),
        ((1, 2), "is no override"),
    ):
        with monkeypatch.context() as patch, pytest.raises(SweepError, match=said):
            patch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users have no checked annotations
            study.override(pair)


OWN = """
from superjax.problem.models import Linear
SLOPE = {slope}


class Own(Linear):
    def __call__(self, x):
        return SLOPE * super().__call__(x)
"""


@pytest.mark.heavy
def test_a_finished_run_of_other_code_is_refused_and_the_command_line_warns(study, monkeypatch, capsys):
    """Globals that the class refers to are code too."""
    own = study.override("model.kind=own_slope:Own", "optimum=false", "train.steps=5")
    Path("own_slope.py").write_text(OWN.format(slope=1.0))
    superjax.run(own, out="out")
    Path("own_slope.py").write_text(OWN.format(slope=0.2))
    with pytest.raises(SweepError, match="holds a run of another own_slope:Own, its code has changed"):
        superjax.run(own, out="out")
    arguments = ["study.toml", "model.kind=own_slope:Own", "optimum=false", "train.steps=5", "--out", "out"]
    assert main(arguments) == 0
    assert "drawn as trained before the code of own_slope:Own changed; --fresh trains anew" in capsys.readouterr().err
    superjax.run(own, out="out", fresh=True)
    Path("own_slope.py").write_text(OWN.format(slope=0.2) + "# a comment\n")
    assert main(arguments) == 0 and "warning" not in capsys.readouterr().err


SCRIPT = """
import sys
import superjax
from superjax.problem.models import Linear


class Mine(Linear):
    pass


sweep = superjax.load("study.toml", ("model.kind", Mine), "optimum=false", "train.steps=2", "restarts=1")
superjax.run(sweep, out="out")
superjax.load("out/study/sweep.toml")
"""


def test_a_stored_sweep_says_what_is_of_a_script(study):
    """There it loads; elsewhere one message says what is missing."""
    Path("script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, *_ = Path("out/study/sweep.toml").read_text().splitlines()
    assert first == "# __main__:Mine is of the script script.py: give it from there, or put it into a file"
    with pytest.raises(SweepError) as error:
        superjax.load("out/study/sweep.toml")
    said, hint = str(error.value).splitlines()
    assert said.startswith('out/study/sweep.toml: model.kind = "__main__:Mine": is of a script or a notebook that')
    assert hint == '  put it into a file and give it as "pkg.module:Class"'
    superjax.run(superjax.load("out/study/sweep.toml", "model.kind=linear", "train.steps=1"))
