"""Runs that are killed, run out of room, meet another or find files damaged: nothing is lost, nothing silent."""

import errno
import itertools
import json
import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import superjax
from superjax import explorer, sweep
from superjax.disk import files as disk
from superjax.engine import choice, chunk_sizes, engine
from superjax.runs import chunks, netcdf, reading
from superjax.runs.checkpoint import Folder, Saved
from superjax.spec import SweepError
from superjax.studies import overview
from tests.runs.test_checkpoint import assert_identical

STUDY = """
n_features = 2
n_hidden = 1
restarts = 4
optimum = true
train.steps = 40
[axes.importance]
field = "importance[-1]"
scale = "log"
range = [0.2, 5]
points = 4
[axes.density]
field = "data.density"
scale = "log"
range = [1, 0.1]
points = 3
"""
# What a process does to the disk. A killed one does none of it any more.
WRITES = [
    (disk, "create_beside"), (Path, "write_bytes"), (os, "fsync"), (netcdf, "_fill"), (xr.Dataset, "to_netcdf"),
    (Path, "replace"),
]  # fmt: skip
POINTS = [*WRITES, (Path, "unlink"), (Path, "rmdir")]


class Killed(BaseException):
    """As SIGKILL: nothing of superjax runs after it."""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A sweep file of several chunks, saved after every call; runs in this process, draws next to nothing."""
    monkeypatch.setattr(Folder, "due", lambda self: True)
    monkeypatch.setattr(chunk_sizes, "_CHUNK_MODELS", {"cpu": 16})
    monkeypatch.setattr(overview, "overview", lambda *_: Figure(figsize=(1, 1)))
    monkeypatch.setattr(explorer, "page", lambda results: "a page")
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(STUDY)
    return tmp_path


def run(out, *arguments) -> int:
    return sweep.main(["study.toml", "--out", out, *arguments])


def result(out):
    return superjax.open(Path(out) / "study" / "study.nc")


def files(out):
    return {str(path.relative_to(out)) for path in Path(out).rglob("*")}


class Disk:
    """Counts what is done to the disk; fails at the `fatal`-th time, and from then on if that is a death."""

    def __init__(self, patch, fatal: int | None, death: bool = True):
        self.count, self.failed_at, self._fatal, self._death, self._dead = 0, 0.0, fatal, death, False
        for owner, name in POINTS if death else WRITES:
            patch.setattr(owner, name, self._wrapped(owner, name))

    def _wrapped(self, owner, name):
        original = getattr(owner, name)

        def wrapped(*arguments, **keywords):
            if self._dead:
                raise Killed
            self.count += 1
            if self.count == self._fatal:
                if not self._death:
                    self.failed_at = time.monotonic()
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._dead = True
                if name == "write_bytes":  # in the middle of it
                    original(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise Killed
            return original(*arguments, **keywords)

        return wrapped


class Steps:
    """Counts the steps of models that calls take, and remembers the largest call."""

    def __init__(self, patch):
        self.total, self.largest, self._models = 0, 0, 0
        self._train, self._advance = chunks.Training._train, engine.Program.advance
        patch.setattr(chunks.Training, "_train", lambda *arguments: self._training(*arguments))
        patch.setattr(engine.Program, "advance", lambda *arguments: self._advancing(*arguments))

    def _training(self, training, group, *rest):
        self._models = sum(training._models(number) for number in group)
        self._train(training, group, *rest)

    def _advancing(self, program, progress, step, *rest):
        for after, following in self._advance(program, progress, step, *rest):
            size = (after - step) * self._models
            self.total, self.largest, step = self.total + size, max(self.largest, size), after
            yield after, following


@pytest.fixture
def straight(study, monkeypatch):
    """The dataset and files of an uninterrupted run, and how many steps of models its calls took."""
    with monkeypatch.context() as patch:
        steps = Steps(patch)
        assert run("straight") == 0
    return result("straight"), files("straight"), steps.total


def test_killed_at_points_of_writing_it_goes_on_bitwise(straight, monkeypatch):
    """At every 149th thing that a run does to the disk: writing, merging, clearing up."""
    kill_at_points(*straight, monkeypatch, every=149)


@pytest.mark.heavy
def test_killed_at_any_point_of_any_write_it_goes_on_bitwise(straight, monkeypatch):
    kill_at_points(*straight, monkeypatch, every=1)


def kill_at_points(dataset, names, total, monkeypatch, every):
    for fatal in itertools.count(1, every):
        out = f"killed-{fatal}"
        with monkeypatch.context() as patch:
            before = Steps(patch)
            Disk(patch, fatal)
            try:
                run(out)
                break
            except Killed:
                pass
        with monkeypatch.context() as patch:
            after = Steps(patch)
            assert run(out) == 0
        assert before.total + after.total <= total + before.largest  # at most one call is made again
        assert_identical(result(out), dataset)
        assert files(out) == names
    assert fatal > 100


def test_a_disk_that_fills_up_ends_the_run_with_path_and_bytes_and_it_goes_on_bitwise(straight, monkeypatch, capsys):
    """Whatever it is that fails first, every 149th thing done to the disk."""
    fill_up_at_points(*straight[:2], monkeypatch, capsys, every=149)


@pytest.mark.heavy
def test_a_disk_full_at_any_write_ends_the_run_with_path_and_bytes(straight, monkeypatch, capsys):
    fill_up_at_points(*straight[:2], monkeypatch, capsys, every=1)


def fill_up_at_points(dataset, names, monkeypatch, capsys, every):
    failed = 0
    for fatal in itertools.count(1, every):
        out = f"full-{fatal}"
        with monkeypatch.context() as patch:
            disk = Disk(patch, fatal, death=False)
            status = run(out)
        ended = time.monotonic()
        said = capsys.readouterr().err
        assert status in (0, 1, 2) and said.count("\n") <= 6, said
        if status:
            failed += 1
            assert out in said and "No space left on device" in said and ended - disk.failed_at < 5
            resume = f"Resume with\n  python -m superjax.sweep study.toml --out {out}\n"
            assert "bytes were to be written" in said and (status == 2 or said.endswith(resume)), said
        assert run(out) == 0
        assert_identical(result(out), dataset)
        assert files(out) == names
        capsys.readouterr()
        if disk.count < fatal:
            break
    assert failed * every > 140


@pytest.mark.parametrize("every", [61, pytest.param(3, marks=pytest.mark.heavy)])
def test_new_thresholds_lose_nothing_when_killed(straight, monkeypatch, capsys, every):
    """The dataset is written again then, and there are no chunks any more."""
    assert run("straight", "phases.represented=0.8") == 0
    dataset = result("straight")
    assert "study: phases anew under the thresholds represented=0.8" in capsys.readouterr().out
    assert run("straight") == 0
    for fatal, death in ((number, death) for number in itertools.count(1, every) for death in (True, False)):
        with monkeypatch.context() as patch:
            disk = Disk(patch, fatal, death)
            with suppress(Killed):
                run("straight", "phases.represented=0.8")
        with monkeypatch.context() as patch:
            patch.setattr(engine.Program, "advance", lambda *_: pytest.fail("trains"))
            superjax.open("straight/study/study.nc")  # whichever of the two it is
            assert run("straight", "phases.represented=0.8") == 0
            assert_identical(result("straight"), dataset)
            assert run("straight") == 0
            assert_identical(result("straight"), straight[0])
        assert "trained again" not in capsys.readouterr().err
        if disk.count < fatal:
            break
    assert fatal > 20


def test_what_decides_nothing_can_be_changed_in_an_unfinished_run(straight, monkeypatch, capsys):
    """Labels, titles, drawing and thresholds. Other settings are refused, and cost nothing either."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        before = Steps(patch)
        Disk(patch, 60)
        run("out")
    assert (kept := {path: path.read_bytes() for path in Path("out").rglob("*.chunk")})
    assert run("out", "train.steps=41") == 2 and "train.steps = 41, was 40" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path("out").rglob("*.chunk")} == kept
    Path("out/study/manifest.json").unlink()  # without it, too
    with monkeypatch.context() as patch:
        after = Steps(patch)
        assert run("out", "axes.density.label=Density", "title=New", "section=New", "plot.dpi=20") == 0
    assert before.total + after.total <= straight[2] + before.largest
    assert result("out")["optimum_W"].values.tobytes() == straight[0]["optimum_W"].values.tobytes()
    assert not Path("out/study/chunks").exists()


OWN = "from superjax.problem.models import {base}\n\n\nclass Own({base}):\n    pass\n"


@pytest.mark.heavy
def test_chunks_of_other_code_are_kept_and_not_mixed_with_those_of_new_code(study, capsys, monkeypatch):
    """Also without the manifest, which says so. A finished run needs no code to be redrawn."""
    own = ("model.kind=own_model:Own", "optimum=false", "train.steps=20")
    monkeypatch.syspath_prepend(study)

    def write_model(base):
        Path("own_model.py").write_text(OWN.format(base=base))
        sys.modules.pop("own_model", None)
        engine.program.cache_clear()

    write_model("ReLUOutput")
    assert run("old", *own) == 0
    with monkeypatch.context() as patch, pytest.raises(Killed):
        Disk(patch, 30)
        run("out", *own)
    assert (kept := list(Path("out").rglob("*.chunk")))
    write_model("Linear")
    capsys.readouterr()
    assert run("out", *own) == 2
    assert "holds a run of another own_model:Own, its code has changed since" in capsys.readouterr().err
    Path("out/study/manifest.json").unlink()
    assert run("out", *own) == 0
    assert "keeps chunks of study that were trained with other settings or code" in capsys.readouterr().err
    assert all(path.exists() for path in kept)
    assert run("new", *own) == 0
    assert_identical(result("out"), result("new"))
    assert run("old", *own) == 0 and run("old", *own, "phases.represented=0.6") == 0  # redrawn
    Path("own_model.py").unlink()
    sys.modules.pop("own_model")
    assert run("old", *own) == 0
    write_model("Linear")
    Path("old/study/study.nc").unlink()
    capsys.readouterr()
    assert run("old", *own) == 2 and "its code has changed since" in capsys.readouterr().err
    assert run("old", *own, "--fresh") == 0


def test_a_disk_too_small_for_the_run_is_refused_before_any_training(study, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**6, 10**6 - 999, 999))
    monkeypatch.setattr(engine.Program, "advance", lambda *_: pytest.fail("trains"))
    assert run("out") == 2
    assert "out/study: needs about" in (said := capsys.readouterr().err) and "999 are free" in said


@pytest.mark.heavy
def test_the_size_of_chunks_that_had_room_is_kept(study, monkeypatch):
    """When the run goes on where there is more memory."""
    with monkeypatch.context() as patch:
        patch.setattr(chunk_sizes, "_CHUNK_MODELS", {"cpu": 64})
        patch.setattr(choice, "memory_of_a_device", lambda device: 1)
        with pytest.raises(Killed):
            Disk(patch, 60)
            run("out")
    manifest = Path("out/study/manifest.json")
    began = json.loads(manifest.read_text())["cases"]["study"]["chunks"]
    assert set(began.values()) == {16}
    monkeypatch.setattr(chunk_sizes, "_CHUNK_MODELS", {"cpu": 64})
    engine.program.cache_clear()
    assert run("out") == 0 and json.loads(manifest.read_text())["cases"]["study"]["chunks"] == began
    assert run("roomy") == 0
    roomy = json.loads(Path("roomy/study/manifest.json").read_text())["cases"]["study"]["chunks"]
    assert all(roomy[task] > 16 for task in began)


@pytest.mark.parametrize("flips", [5, pytest.param(200, marks=pytest.mark.heavy)])
def test_every_flipped_bit_of_a_dataset_is_noticed(straight, capsys, flips):
    file = Path("straight/study/study.nc")
    content, random = file.read_bytes(), np.random.default_rng(1)
    places = random.integers(0, len(content), flips)
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << random.integers(8)
        file.write_bytes(damaged)
        with pytest.raises(SweepError, match="study.nc: is damaged"):
            superjax.open(file)
    Path("straight/study/manifest.json").rename("manifest.json")
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << random.integers(8)
        file.write_bytes(damaged)
        try:  # without a manifest it carries its own checksum, of all that can be read
            assert_identical(superjax.open(file), straight[0])
        except SweepError:
            pass
    Path("manifest.json").rename("straight/study/manifest.json")
    assert run("straight", "--figures-only") == 2
    assert run("straight") == 0 and "is damaged; study is trained again" in capsys.readouterr().err
    assert_identical(result("straight"), straight[0])


def test_other_versions_are_warned_of(study, monkeypatch, capsys):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        Disk(patch, 60)
        run("out")
    manifest = Path("out/study/manifest.json")
    said = json.loads(manifest.read_text())
    said["environment"]["versions"]["jax"] = "0.1.2"
    del said["sha256"]
    manifest.write_text(json.dumps(said | {"sha256": reading.seal(said)}))
    assert run("out") == 0
    warning = capsys.readouterr().err
    assert "warning: out/study: begun with jax 0.1.2, now " in warning and warning.count("\n") == 1


def test_what_another_process_left_damaged_is_trained_again(study):
    """A run of several processes does not wait for a chunk that is there, but unusable."""
    folder, case = Folder(study, "key", pytest.fail), 0
    folder.save(case, Saved(False, 3, []))
    assert not folder.settled(case) and not folder.settled(1)
    folder.save(case, Saved(True, 3, []))
    assert folder.settled(case)
    folder.file(1).write_bytes(b"half of it")
    assert folder.settled(1)


def test_figures_of_no_run_are_replaced_and_that_is_said(study, capsys):
    """As in a clone, whose reference figures have no manifest."""
    folder = Path("out/study")
    folder.mkdir(parents=True)
    (folder / "claims.json").write_text("[]")
    (folder / "study.png").write_bytes(b"reference")
    said = "may replace figures and claims that belong to no run: claims.json, study.png"
    assert run("out") == 0 and said in capsys.readouterr().err
    assert run("out") == 0 and "belong to no run" not in capsys.readouterr().err
