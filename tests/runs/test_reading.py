"""What a run's folder may hold instead of what a run wrote: it is refused or trained again, and nothing outside it is
read, changed or waited for."""

import errno
import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import superjax
from superjax import SweepError
from superjax.disk import files, lock
from superjax.runs import checkpoint, netcdf, page, reading
from superjax.runs.case_run import CaseRun, key_of
from superjax.runs.checkpoint import Folder, Saved
from superjax.runs.folder import Run, chunk_folder
from tests.runs.test_store import SMALL

CASE = "n2_m1"
SWEEP = superjax.load("phase_diagram", *SMALL)
CHUNK = f"chunks/{CASE}/0123/train-4567/000000.chunk"


def open_run(folder: Path, fresh: bool = False, warn=pytest.fail) -> Run:
    return Run(folder, SWEEP, fresh, warn)


def begun(folder: Path) -> Path:
    run = open_run(folder)
    try:
        run.begin(0, {CASE: {"chunks": {"train": 16}, "key": "0" * 64, "code": ""}})
    finally:
        run.end()
    return folder


def tree(folder: Path) -> dict[str, object]:
    """All that is in a folder: kinds, contents of files, permissions."""
    paths = sorted(folder.rglob("*"))
    return {
        str(path): (os.lstat(path).st_mode, path.read_bytes() if files.kind_of(path) == "file" else None)
        for path in paths
    }


@pytest.fixture
def outside(tmp_path) -> Path:
    """A folder outside the run's, with files that have the names of a run's."""
    (folder := tmp_path / "outside").mkdir()
    for name in ("victim.nc", "victim.png", "claims.json", "manifest.json", "000000.chunk", ".superjax-0.tmp"):
        (folder / name).write_text("somebody else's")
    return folder


def write_sealed(folder: Path, content: object) -> None:
    seal = {"sha256": reading.seal(content)} if isinstance(content, dict) else {}
    text = json.dumps({**content, **seal} if isinstance(content, dict) else content)
    (folder / "manifest.json").write_text(text)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("../../outside/victim"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DIGEST = "a" * 64


def or_any(right):
    return st.sampled_from([right] * 3) | ANY_JSON


ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "done": or_any(True), "chunks": or_any({"train": 16}), "sha256": or_any(DIGEST), "coming": or_any(DIGEST),
        "key": or_any(DIGEST), "code": or_any(""), "seconds": or_any({"train": 1.5}), "models": or_any(3),
    },
)  # fmt: skip
MANIFEST = st.fixed_dictionaries(
    {},
    optional={
        "cases": st.dictionaries(st.sampled_from([CASE, "../../outside/victim", "/etc/x", "a\0", "..", ""]), ENTRY),
        "files": or_any(["n2_m1.png", "claims.json"]) | st.just(["../../outside/victim.png"]),
        "finished": or_any(True), "settings": or_any(SWEEP.to_toml()), "starts": or_any(1),
        "environment": or_any({"versions": {"jax": "1"}, "device": "1 x cpu"}), "continued": ANY_JSON,
    },
)  # fmt: skip


@settings(max_examples=60)
@given(ANY_JSON | MANIFEST, st.booleans())
def test_a_sealed_manifest_may_say_anything(tmp_path_factory, content, fresh):
    """It is refused with a SweepError, or taken for what it says; nothing outside the folder is touched."""
    place = tmp_path_factory.mktemp("place")
    (place / "outside").mkdir()
    for suffix in (".nc", ".png"):
        (place / "outside" / f"victim{suffix}").write_text("somebody else's")
    before = tree(place / "outside")
    begun(folder := place / "out" / "run")
    write_sealed(folder, content)
    run = None
    try:
        run = open_run(folder, fresh, lambda message: None)
        assert len(run.missing(CASE)) < 99
        run.begin(10**3)
        run.note({"versions": {"jax": "2"}, "device": "1 x cpu"})
        page._finished(folder)
    except SweepError as error:
        assert len(str(error).splitlines()) <= 6 and not fresh
    finally:
        if run:
            run.end()
    assert tree(place / "outside") == before and not (folder / ".lock").exists()
    shutil.rmtree(place)


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 40 + b"]" * 40, b"\xff", b'{"starts": ' + b"1" * 5000 + b"}",
     b'{"cases": {}, "cases": {}}', b'{"starts": NaN}', b'{"settings": "\\ud800"}', b"0" * 2**20],
)  # fmt: skip
def test_what_is_no_manifest_is_damaged(tmp_path, content):
    (begun(tmp_path / "run") / "manifest.json").write_bytes(content)
    with pytest.raises(SweepError, match="manifest.json: is damaged, .*--fresh"):
        open_run(tmp_path / "run")
    open_run(tmp_path / "run", fresh=True).end()


def test_a_manifest_of_gigabytes_is_not_read(tmp_path):
    os.truncate(begun(tmp_path / "run") / "manifest.json", 10 * 2**30)  # sparse
    with pytest.raises(SweepError, match="is damaged, is too large"):
        open_run(tmp_path / "run")


STRANGERS = {
    "link": lambda path, outside: path.symlink_to(outside / "manifest.json"),
    "link to a folder": lambda path, outside: path.symlink_to(outside),
    "link to nothing": lambda path, outside: path.symlink_to(outside / "not there"),
    "pipe": lambda path, outside: os.mkfifo(path),
}
PLACES = [".lock", "manifest.json", "sweep.toml", "claims.json", f"{CASE}.nc", f"{CASE}.png", "any.png", "chunks",
          f"chunks/{CASE}", f"chunks/{CASE}/0123", CHUNK]  # fmt: skip


@pytest.mark.parametrize("kind", STRANGERS)
@pytest.mark.parametrize("fresh", [False, True])
def test_links_are_not_followed_and_pipes_not_waited_for(tmp_path, outside, kind, fresh):
    for i, place in enumerate(PLACES):
        folder = begun(tmp_path / f"run-{i}")
        shutil.rmtree(folder / "chunks")
        path = folder / place
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        STRANGERS[kind](path, outside)
        before = tree(tmp_path)
        with pytest.raises(SweepError) as caught:
            open_run(folder, fresh)
        assert str(path) in str(caught.value) and len(str(caught.value).splitlines()) <= 6
        assert tree(tmp_path) == before


def test_a_folder_in_the_place_of_a_file_is_refused_before_training(tmp_path):
    for place in (place for place in PLACES if "." in place):
        folder = begun(tmp_path / place.replace("/", "-"))
        (folder / place).unlink(missing_ok=True)
        (folder / place).mkdir(parents=True)
        with pytest.raises(SweepError, match="must be a file"):
            open_run(folder)
    for place in ("chunks", f"chunks/{CASE}", f"chunks/{CASE}/{'0' * 16}"):
        shutil.rmtree(begun(folder := tmp_path / f"of-{place.count('/')}") / "chunks")
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).touch()
        with pytest.raises(SweepError, match=f"{place}: is a file, must be a folder"):
            begun(folder)


def test_a_lock_that_is_somebody_elses_file_keeps_its_content(tmp_path, outside):
    """A hard link to it, and a text that no superjax wrote."""
    folder = begun(tmp_path / "run")
    os.link(outside / "claims.json", folder / ".lock")
    with pytest.raises(SweepError, match=r"\.lock: is no lock of superjax"):
        open_run(folder)
    (folder / ".lock").unlink()
    assert (outside / "claims.json").read_text() == "somebody else's"
    (folder / ".lock").write_text("PID 12")
    with pytest.raises(SweepError, match=r"\.lock: is no lock of superjax"):
        open_run(folder)
    assert (folder / ".lock").read_text() == "PID 12"
    (folder / ".lock").write_text("process 12 on node, started then,")  # of one that was killed
    open_run(folder).end()
    assert not (folder / ".lock").exists()


def test_the_runs_folder_may_be_a_link(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "scratch")
    begun(tmp_path / "run")
    open_run(tmp_path / "run").end()
    assert (tmp_path / "scratch" / "manifest.json").is_file() and (tmp_path / "run").is_symlink()


def test_hard_links_are_replaced_not_written_through(tmp_path, outside):
    folder = begun(tmp_path / "run")
    for name in ("sweep.toml", "manifest.json"):
        os.link(folder / name, outside / f"{name}.old")
    old = tree(outside)
    run = open_run(folder)
    run.begin()
    run.note({"versions": {"jax": "2"}, "device": "1 x cpu"})
    run.end()
    assert {path: content for path, (_, content) in tree(outside).items()} == {
        path: content for path, (_, content) in old.items()
    }


@pytest.mark.parametrize("claims", ["null", "[1]", "{}", '[{"claim": 1}]', "[" * 99_999, '[{"holds": NaN}]', "\0"])
def test_the_page_shows_no_damaged_claims(tmp_path, claims):
    write_sealed(tmp_path, {"finished": True, "files": ["a.png"], "cases": {}})
    (tmp_path / "claims.json").write_text("[]")
    assert page._finished(tmp_path) is not None
    (tmp_path / "claims.json").write_text(claims)
    assert page._finished(tmp_path) is None


# --- chunks ---------------------------------------------------------------------------------------


def forged(line: bytes, payload: bytes = b"") -> bytes:
    """A chunk with a valid checksum."""
    content = line + b"\n" + payload
    return checkpoint._MAGIC + hashlib.sha256(content).digest() + content


HEAD = {"key": "key", "chunk": 0, "done": True, "step": 5, "arrays": [["float32", [2]]]}


@pytest.mark.parametrize(
    "change",
    [{"key": None}, {"key": ["key"]}, {"chunk": "0"}, {"chunk": 0.0}, {"done": 1}, {"done": None}, {"step": -1},
     {"step": 2**70}, {"step": 1.5}, {"arrays": None}, {"arrays": [["float32"]]}, {"arrays": [["float32", [-2]]]},
     {"arrays": [["float32", [2**40]]]}, {"arrays": [["float32", [2**47, 2**47]]]}, {"arrays": [["object", [1]]]},
     {"arrays": [["float99", [2]]]}, {"arrays": [["str", [2]]]}, {"arrays": [["float32", [3]]]},
     {"arrays": [["float32", 2]]}, {"arrays": [["i4,i4", [1]]]}, {"arrays": [["void8", [1]]]}],
)  # fmt: skip
def test_a_sealed_chunk_of_no_sense_is_damaged(tmp_path, change):
    file = tmp_path / "000000.chunk"
    file.write_bytes(forged(json.dumps(HEAD).encode(), bytes(8)))
    assert Folder(tmp_path, "key", pytest.fail).load(0) is not None
    said = []
    file.write_bytes(forged(json.dumps({**HEAD, **change}).encode(), bytes(8)))
    assert Folder(tmp_path, "key", said.append).load(0) is None and len(said) == 1
    file.write_bytes(forged(b"[" * 10_000))
    assert Folder(tmp_path, "key", said.append).load(0) is None and len(said) == 2


def test_chunks_of_other_shapes_types_and_steps_are_trained_again(make_case, tmp_path):
    """Each with the right key and checksum."""
    case, said = make_case("train.steps=20", "train.snapshots=[0, 20]"), []

    def keep(task, key):
        return Folder(tmp_path / task, key, said.append)

    running = CaseRun("case", case, keep=keep)
    running.train()
    first = running.finish()
    kept = running._kept
    right = kept.load(0)
    state = [np.zeros(shape, dtype) for dtype, shape in layout_of_state(running._training)]
    assert running._training.fits(0, checkpoint.Layout(False, 7, [(x.dtype, x.shape) for x in state]))
    wrong = [
        right._replace(step=19), right._replace(arrays=right.arrays[:-1]), right._replace(arrays=[]),
        right._replace(arrays=[x[:-1] for x in right.arrays]), right._replace(done=False),
        right._replace(arrays=[x.astype(np.float64) for x in right.arrays]),
        right._replace(arrays=[*right.arrays[:-1], right.arrays[-1][..., None]]),
        Saved(False, 21, state), Saved(False, 3, [x[:-1] if x.ndim else x for x in state]),
    ]  # fmt: skip
    for i, saved in enumerate(wrong):
        kept.save(0, saved)
        again = CaseRun("case", case, keep=keep)
        assert again.trained() == 0.0 and len(said) == i + 1 and "other models or steps" in said[-1], i
    again.train()
    assert again.finish()["W"].values.tobytes() == first["W"].values.tobytes()


def layout_of_state(training):
    import jax

    start = training.program.start(
        training.first(training.chunks[0]), training.cells, training.cell[training.chunks[0]], training.plan
    )
    return [(np.dtype(leaf.dtype), leaf.shape) for leaf in jax.tree.leaves(start)]


def test_a_damaged_chunk_is_set_aside_until_the_new_one_is_done(tmp_path):
    folder, said = Folder(tmp_path, "key", lambda message: said.append(message)), []
    folder.save(0, Saved(True, 5, [np.arange(9.0)]))
    content = folder.file(0).read_bytes()[:-1] + b"x"
    folder.file(0).write_bytes(content)
    assert folder.load(0) is None and len(said) == 1 and folder.load(0) is None and len(said) == 1
    assert (tmp_path / "000000.damaged").read_bytes() == content
    folder.save(0, Saved(True, 5, [np.arange(9.0)]))
    checkpoint.remove(tmp_path)
    assert not tmp_path.exists()


def test_chunks_are_kept_in_no_folder_that_a_link_leads_to(tmp_path, outside):
    """Not even if it was put there meanwhile."""
    (run := tmp_path / "run").mkdir()
    folder = Folder(run / "chunks" / CASE / "train", "key", pytest.fail, run)
    (run / "chunks").symlink_to(outside)
    before = tree(outside)
    with pytest.raises(OSError, match="is a link, must be a folder"):
        folder.save(0, Saved(True, 5, []))
    checkpoint.remove(run / "chunks")
    assert tree(outside) == before


# --- datasets -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset():
    return superjax.run(SWEEP.override("train.steps=1", "optimum=false"))[CASE]


def test_a_sealed_dataset_must_be_that_of_the_case(tmp_path, dataset):
    """Redrawing refuses what is intact, but has other dimensions, coordinates, types or attributes."""
    case = SWEEP.override("train.steps=1", "optimum=false").cases[CASE]
    path = tmp_path / "data.nc"
    assert reading.misfit(dataset, case) == ""
    bare, unsure = dataset.copy(deep=True), dataset.copy(deep=True)
    del bare["loss"].attrs["loss_error"]
    del unsure["phase"].attrs["represented"]
    changed = [
        dataset.isel(restart=[0]), dataset.isel(density=0), dataset.isel(feature=[0]), dataset.drop_vars("loss"),
        dataset.transpose(), dataset.rename(density="sparsity"), dataset.assign(loss=dataset["loss"].astype(str)),
        dataset.assign(diverged_at=dataset["loss"]), dataset.assign_coords(density=2 * dataset["density"]),
        xr.Dataset(), dataset.drop_vars("W"), bare, unsure,
    ]  # fmt: skip
    for other in changed:
        assert reading.misfit(other, case), other
    netcdf.write_dataset(path, dataset)
    assert reading.misfit(netcdf.open_dataset(path, case), case) == ""
    netcdf.write_dataset(path, changed[0])
    with pytest.raises(SweepError, match="is not of the run's settings, has 1 of restart, must have 2"):
        netcdf.open_dataset(path, case)
    superjax.open(path)
    dataset.drop_attrs().to_netcdf(path, engine="h5netcdf")
    with pytest.raises(SweepError, match="not what the run wrote"):
        netcdf.open_dataset(path, case)


def test_what_is_no_file_is_no_dataset(tmp_path):
    os.mkfifo(tmp_path / "pipe.nc")
    for path in (tmp_path, tmp_path / "pipe.nc", "/dev/zero", "a\0b", tmp_path / ("x" * 300)):
        with pytest.raises(SweepError):
            superjax.open(path)


# --- file systems ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_new_files_have_the_permissions_that_the_umask_leaves(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        begun(tmp_path / "run")
        run = open_run(tmp_path / "run")
        assert stat.S_IMODE((tmp_path / "run" / ".lock").stat().st_mode) == mode
        run.begin()
        run.store(CASE, xr.Dataset({"loss": ("restart", np.arange(4.0))}))
        run.end()
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").iterdir()} == {mode}


@pytest.mark.parametrize(
    ("missing", "code"),
    [("fsync", errno.EINVAL), ("fsync", errno.ENOSYS), ("fsync of folders", errno.EINVAL),
     ("fsync of folders", errno.EPERM), ("flock", errno.ENOLCK), ("flock", errno.ENOTSUP), ("statvfs", errno.ENOSYS)],
)  # fmt: skip
def test_a_file_system_may_lack_what_makes_a_promise_hold(tmp_path, monkeypatch, code, missing):
    """It is said once, and the run goes on."""
    fsync = os.fsync

    def unsupported(descriptor, *_):
        if missing != "fsync of folders" or stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        return fsync(descriptor)

    if missing == "flock":
        monkeypatch.setattr("fcntl.flock", unsupported)
    elif missing == "statvfs":
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: unsupported(0))
    else:
        monkeypatch.setattr(os, "fsync", unsupported)
    monkeypatch.setattr(files, "_weak", {})
    said = []
    run = open_run(tmp_path / "run", warn=said.append)
    run.begin(10)
    run.store(CASE, xr.Dataset({"loss": ("restart", np.arange(4.0))}))
    run.end()
    run = open_run(tmp_path / "run", warn=said.append)
    assert not run.missing(CASE)
    run.begin(10)
    run.end()
    expected = {"fsync": 2, "fsync of folders": 1, "flock": 1, "statvfs": 0}[missing]
    assert len(said) == expected and all("here:" in message for message in said), said


def test_no_room_on_an_odd_file_system_is_no_error(tmp_path, monkeypatch):
    """Some mounts say 0 of everything."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, 0))
    run = open_run(tmp_path / "run")
    run.begin(10**9)
    run.end()


def test_the_longest_names_work_and_longer_ones_are_refused_before(tmp_path):
    longest = "x" * 251  # and .png
    files.write_text(tmp_path / f"{longest}.png", "new")
    netcdf.write_dataset(tmp_path / f"{longest}x.nc", xr.Dataset({"loss": ("restart", np.arange(4.0))}))
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "run").mkdir()
    text = f"n_features = 2\nn_hidden = 1\n[case.{longest}x]\n"
    (tmp_path / "long.toml").write_text(text)
    with pytest.raises(SweepError, match="File name too long|is no file name|too long"):
        Run(tmp_path / "run", superjax.load(tmp_path / "long.toml"))


def test_only_own_leftovers_are_removed(tmp_path):
    with pytest.raises(ZeroDivisionError):
        files.write_atomically(tmp_path / "file", lambda temporary: 1 / 0, 1)
    assert not list(tmp_path.iterdir())
    left = files.create_beside(tmp_path / "file")
    (tmp_path / ".theirs.tmp").touch()
    (tmp_path / ".superjax-folder.tmp").mkdir()
    files.remove_leftovers(tmp_path)
    assert not left.exists() and len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_vanishes_is_named(tmp_path):
    run = open_run(begun(tmp_path / "run"))
    run.begin()
    shutil.rmtree(tmp_path / "run")
    folder = Folder(chunk_folder(run.folder, CASE, "k") / "train", "key", pytest.fail, run.folder)
    for write in (lambda: folder.save(0, Saved(True, 5, [])), run.save):
        with pytest.raises(FileNotFoundError) as caught:
            write()
        assert "run" in caught.value.filename
    run.end()
    assert not (tmp_path / "run").exists()


def test_a_lock_is_not_released_twice(tmp_path):
    """What another process has put there since is left."""
    held = lock.Lock(tmp_path)
    (tmp_path / ".lock").unlink()
    other = lock.Lock(tmp_path)
    held.release()
    assert (tmp_path / ".lock").exists()
    other.release()
    assert not (tmp_path / ".lock").exists()


# --- work is kept ---------------------------------------------------------------------------------


def with_chunk(folder: Path, case: str, key: str) -> Path:
    kept = Folder(chunk_folder(folder, case, key) / "train", key, pytest.fail, folder)
    kept.save(0, Saved(True, 5, []))
    return kept.file(0)


def test_chunks_of_other_settings_code_and_cases_are_kept_until_fresh(tmp_path):
    """Also after the run in the folder is done; its own go then."""
    folder, said = begun(tmp_path / "run"), []
    own, other, deselected = (with_chunk(folder, *of) for of in ((CASE, "0" * 64), (CASE, "1" * 64), ("b", "0" * 64)))
    run = open_run(folder, warn=said.append)
    run.begin()
    assert len(said) == 1 and "keeps chunks of n2_m1" in said[0]
    run.store(CASE, xr.Dataset({"loss": ("restart", np.arange(4.0))}))
    run.end()
    assert not own.exists() and other.exists() and deselected.exists()
    own = with_chunk(folder, CASE, "0" * 64)  # as one that was killed just before leaves it
    again = open_run(folder, warn=said.append)
    again.begin()
    again.end()
    assert not own.exists() and other.exists() and deselected.exists()
    fresh = open_run(folder, fresh=True)
    assert other.exists()
    fresh.begin()
    fresh.end()
    assert not (folder / "chunks").exists() and not (folder / f"{CASE}.nc").exists()


def test_a_dataset_that_the_manifest_does_not_know_is_not_replaced(tmp_path):
    run = open_run(begun(tmp_path / "run"))
    run.begin()
    run.store(CASE, xr.Dataset({"loss": ("restart", np.arange(4.0))}))
    run.end()
    content = run.path(CASE).read_bytes()
    (run.folder / "manifest.json").unlink()
    with pytest.raises(SweepError, match="n2_m1.nc: the manifest does not say what made it"):
        open_run(run.folder)
    assert run.path(CASE).read_bytes() == content
    for damaged in (False, True):  # `--fresh` removes it, so that the new run can be taken up
        run.path(CASE).write_bytes(content)
        if damaged:
            (run.folder / "manifest.json").write_text("{")
        fresh = open_run(run.folder, fresh=True)
        fresh.begin()
        fresh.end()
        open_run(run.folder).end()


def test_selecting_cases_of_a_finished_run_loses_nothing(tmp_path):
    one, two = (superjax.load("phase_diagram", *SMALL[:-1], f"cases={cases}") for cases in ("n2_m1", "n2_m1,n3_m2"))
    run = Run(tmp_path / "run", two, warn=pytest.fail)
    run.begin()
    for case in two.cases:
        run.store(case, xr.Dataset({"loss": ("restart", np.arange(4.0))}))
    run.end()
    before = tree(tmp_path)
    with pytest.raises(SweepError, match="n3_m2: not among the cases"):
        Run(tmp_path / "run", one)
    assert tree(tmp_path) == before
    again = Run(tmp_path / "run", two)
    assert not any(map(again.missing, two.cases))
    again.end()


def test_what_decides_results_is_in_one_place(make_case):
    """Keys of chunks and the comparison of runs agree; labels, drawing and thresholds are in neither."""
    case = make_case()
    key = key_of(case, "")
    same = ["axes.density.label=Density", "axes.importance.label=x", "phases.represented=0.4", "plot.dpi=9",
            "importance=1", "importance=1.0"]  # fmt: skip
    other = ["seed=1", "train.steps=9", "axes.density.points=3", "importance=2", "train.b1=0.5", "restarts=5"]
    assert all(key_of(make_case(override), "") == key for override in same)
    keys = [key_of(make_case(override), "") for override in other]
    assert len({key, key_of(case, "code"), *keys}) == len(keys) + 2
