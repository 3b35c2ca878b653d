"""Files of a run: all or nothing, and refused when damaged."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr

import superjax
from superjax import SweepError
from superjax.disk import files
from superjax.runs import netcdf, reading
from superjax.runs.folder import Run

SMALL = ("axes.importance.points=2", "axes.density.points=2", "restarts=2", "train.steps=20", "cases=n2_m1")


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "phase_diagram", superjax.load("phase_diagram", *SMALL))
    run.begin()
    yield run
    run.end()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "old")

    def fail(temporary):
        temporary.write_text("half of the new")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device") as caught:
        files.write_atomically(path, fail, 17)
    assert caught.value.filename == str(path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_the_sweep_file_itself_is_not_replaced(tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "sweep.toml").write_text("n_features = 2\nn_hidden = 1  # mine\n")
    for fresh in (False, True):
        with pytest.raises(SweepError, match="is where the run would write its own; rename it"):
            Run(folder, superjax.load(folder / "sweep.toml"), fresh)
    assert "mine" in (folder / "sweep.toml").read_text()


def test_a_case_is_done_only_if_recorded_and_unchanged(run):
    data = xr.Dataset({"loss": ("restart", np.arange(4.0))})
    assert run.missing("n2_m1") == "n2_m1 has not been run"
    netcdf.write_dataset(run.path("n2_m1"), data)
    assert run.missing("n2_m1") == "n2_m1 has not been run"  # a file is no record
    run.store("n2_m1", data)
    assert not run.missing("n2_m1")
    run.end()
    again = Run(run.folder, run.sweep)
    assert not again.missing("n2_m1")
    content = bytearray(run.path("n2_m1").read_bytes())
    content[100] ^= 4
    run.path("n2_m1").write_bytes(content)
    assert again.missing("n2_m1") == "n2_m1.nc is damaged"
    again.path("n2_m1").unlink()
    assert again.missing("n2_m1") == "n2_m1.nc is gone"
    again.end()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cases": {}, "finished": true}', '{"sha256": 3}', "\0\1\2"])
def test_a_damaged_manifest_is_refused_by_name(run, text):
    (run.folder / reading.MANIFEST).write_text(text)
    run.end()
    with pytest.raises(SweepError, match="damaged.*--fresh"):
        Run(run.folder, run.sweep)
    Run(run.folder, run.sweep, fresh=True).end()


def test_a_lost_record_of_the_settings_is_written_again(run):
    """The manifest has them too, with a checksum."""
    (run.folder / "sweep.toml").unlink()
    run.end()
    with pytest.raises(SweepError, match="train.steps = 21, was 20"):
        Run(run.folder, run.sweep.override("train.steps=21"))
    again = Run(run.folder, run.sweep)
    again.begin()
    again.end()
    assert superjax.load(run.folder / "sweep.toml").cases == run.sweep.cases


def test_the_manifest_is_handed_over_and_not_shared(run):
    before = run.manifest
    run.manifest["cases"].clear()
    run.entry("n2_m1")["done"] = True
    assert run.manifest == before and not run.manifest["cases"]["n2_m1"]["done"]


def test_another_kind_of_device_is_warned_of_but_not_another_number(run):
    warnings = []
    run.warn = warnings.append
    run.note({"versions": {"jax": "1"}, "device": "2 x cpu (cpu)"})
    run.note({"versions": {"jax": "1"}, "device": "4 x cpu (cpu)"})
    assert not warnings
    run.note({"versions": {"jax": "1"}, "device": "1 x NVIDIA H100 (gpu)"})
    assert len(warnings) == 1 and "begun with device cpu (cpu), now NVIDIA H100 (gpu)" in warnings[0]


def test_a_fresh_start_without_room_keeps_the_old_run(run, monkeypatch):
    run.store("n2_m1", xr.Dataset({"loss": ("restart", np.arange(4.0))}))
    run.end()
    fresh = Run(run.folder, run.sweep, fresh=True)
    with monkeypatch.context() as patch, pytest.raises(SweepError, match="0 are free|are free; make room"):
        patch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 9, 0))
        fresh.begin(10**9)
    fresh.end()
    again = Run(run.folder, run.sweep)
    assert not again.missing("n2_m1")
    again.end()


def test_drawing_and_thresholds_are_no_difference_but_training_is(run):
    run.end()
    Run(run.folder, run.sweep.override("plot.dpi=50", "phases.represented=0.4")).end()
    with pytest.raises(SweepError, match="train.steps = 21, was 20"):
        Run(run.folder, run.sweep.override("train.steps=21"))


def test_the_resolved_sweep_beside_the_results_loads_to_the_same_cases(run):
    assert superjax.load(run.folder / "sweep.toml").cases == run.sweep.cases


def test_datasets_carry_checksums(tmp_path):
    data = xr.Dataset({"loss": ("restart", np.arange(1000.0))}, attrs={"n_features": 2})
    netcdf.write_dataset(tmp_path / "data.nc", data)
    assert netcdf.open_dataset(tmp_path / "data.nc").identical(data)
    content = bytearray((tmp_path / "data.nc").read_bytes())
    content[len(content) - 4000] ^= 1  # inside the array
    (tmp_path / "data.nc").write_bytes(content)
    with pytest.raises(SweepError, match="is damaged"):
        netcdf.open_dataset(tmp_path / "data.nc")


@pytest.mark.parametrize("content", [None, b"", b"not a dataset"])
def test_what_is_no_dataset_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "data.nc").write_bytes(content)
    with pytest.raises(SweepError, match="data.nc"):
        superjax.open(tmp_path / "data.nc")


def test_json_is_readable_and_complete(tmp_path):
    files.write_json(tmp_path / "claims.json", [{"claim": "L*(1/r) = L*(r) / r", "holds": True}])
    assert json.loads((tmp_path / "claims.json").read_text())[0]["holds"] is True


def test_a_disk_too_small_is_noticed_before_any_work(tmp_path):
    run = Run(tmp_path / "run", superjax.load("phase_diagram", *SMALL))
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(SweepError, match=r"needs about [\d,]+ bytes, [\d,]+ are free"):
        run.begin(2 * free)
    run.end()


def test_every_flipped_bit_of_a_manifest_is_noticed(run):
    """But for spaces, which say nothing."""
    manifest = run.folder / reading.MANIFEST
    content, said = manifest.read_bytes(), json.loads(manifest.read_text())
    run.end()
    for place in np.random.default_rng(2).integers(0, len(content), 100):
        damaged = bytearray(content)
        damaged[place] ^= 4
        manifest.write_bytes(damaged)
        try:
            assert json.loads(bytes(damaged)) != said
        except ValueError:
            pass
        except AssertionError:
            continue
        with pytest.raises(SweepError, match="manifest.json: is damaged"):
            Run(run.folder, run.sweep)
