"""The command line, from another folder, as a user has it: in a process of its own where that may matter."""

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import superjax
from superjax import sweep
from tests.conftest import settled

SMALL = ("axes.importance.points=6", "axes.density.points=5", "restarts=3", "train.steps=150", "plot.dpi=40",
         "cases=n2_m1")  # fmt: skip
FILE = """
restarts = 2
n_features = 3
n_hidden = 2
[train]
steps = 60
"""
SWEPT = """
[axes.learning_rate]
field = "train.learning_rate"
scale = "log"
range = [0.003, 0.1]
points = 4
"""
DENSITY = """
[axes.density]
field = "data.density"
values = [0.05, 0.2, 1.0]
"""
SCATTERED = """
[axes.point]
fields = ["data.density", "importance[-1]"]
values = [[0.05, 0.1], [0.2, 3.0], [1.0, 2.0]]
"""


def command(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    """In a process of its own."""
    words = [sys.executable, "-m", "superjax.sweep", *arguments]
    result = subprocess.run(words, cwd=cwd, env=os.environ | env, capture_output=True, text=True)
    result.stderr = settled(result.stderr)
    return result


def here(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """The same in this process, which has imported JAX and compiled programs of the same shape before."""
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        status = sweep.main(list(arguments))
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), settled(err.getvalue()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A small phase diagram, run once."""
    folder = tmp_path_factory.mktemp("finished")
    result = command("phase_diagram", *SMALL, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_a_run_leaves_what_the_contract_says(finished):
    folder = finished / "results" / "phase_diagram"
    names = {"n2_m1.nc", "phase_diagram.png", "cuts.png", "explore.html", "claims.json", "sweep.toml", "manifest.json"}
    assert {path.name for path in folder.iterdir()} == names
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["finished"] and manifest["cases"]["n2_m1"]["models"] == 6 * 5 * 3
    assert {"versions", "device"} <= set(manifest["environment"])
    assert {"train", "evaluate", "optimum"} <= set(manifest["cases"]["n2_m1"]["seconds"])
    parts = {"import", "prepare", "claims", "draw", "all"}
    assert manifest["seconds"].keys() == parts and manifest["seconds"]["prepare"] > 0
    data = superjax.open(folder / "n2_m1.nc")
    assert data["W"].dims == ("importance", "density", "restart", "hidden", "feature")
    assert data["phase"].attrs["flag_meanings"] == "not_represented dedicated superposed diverged"
    assert data["loss"].attrs["loss_kind"] == "exact" and 0 < data["loss"].attrs["loss_error"] < 0.02
    for name in ("optimum_W", "optimum_phase", "gap", "success", "agreement", "typical_norm", "explained"):
        assert np.isfinite(data[name]).any(), name
    claims = json.loads((folder / "claims.json").read_text())
    assert set(claims[0]) == {"claim", "source", "expected", "measured", "tolerance", "holds", "note", "kind"}


def test_a_finished_run_is_redrawn_and_nothing_is_trained_or_compiled(finished, tmp_path):
    folder = finished / "results" / "phase_diagram"
    before = (folder / "n2_m1.nc").read_bytes()
    (folder / "cuts.png").unlink()
    (programs := tmp_path / "programs").mkdir()
    result = command("phase_diagram", *SMALL, "--figures-only", cwd=finished, JAX_COMPILATION_CACHE_DIR=str(programs))
    assert result.returncode == 0, result.stderr
    assert (folder / "cuts.png").exists() and (folder / "n2_m1.nc").read_bytes() == before
    assert not list(programs.iterdir())


def test_other_settings_are_refused_and_the_difference_named(finished):
    result = here("phase_diagram", *SMALL, "train.learning_rate=0.02", cwd=finished)
    assert result.returncode == 2
    assert "train.learning_rate = 0.02, was 0.03" in result.stderr and "--fresh" in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 6


def test_thresholds_can_change_after_the_run(finished, tmp_path):
    """The stored dataset follows: what is opened agrees with the figures and claims beside it."""
    path = finished / "results" / "phase_diagram" / "n2_m1.nc"
    before = superjax.open(path)
    result = here("phase_diagram", *SMALL, "phases.represented=0.9", cwd=finished)
    assert result.returncode == 0 and "redrawn" in result.stdout, result.stderr
    changed = superjax.open(path)
    assert changed["phase"].attrs["represented"] == 0.9 and changed["W"].equals(before["W"])
    assert ((changed["phase"] == 0) == (changed["norm"] < 0.9)).all()
    assert here("phase_diagram", *SMALL, cwd=finished).returncode == 0
    assert superjax.open(path).equals(before)


@pytest.mark.heavy
def test_a_damaged_dataset_is_trained_again(finished, tmp_path):
    folder = finished / "results" / "phase_diagram"
    good = superjax.open(folder / "n2_m1.nc")
    content = bytearray((folder / "n2_m1.nc").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "n2_m1.nc").write_bytes(content)
    result = here("phase_diagram", *SMALL, cwd=finished)
    assert result.returncode == 0, result.stderr
    assert superjax.open(folder / "n2_m1.nc").equals(good)


def test_figures_only_without_a_run(tmp_path):
    result = here("phase_diagram", "--figures-only", cwd=tmp_path)
    assert result.returncode == 2 and "cannot be redrawn, n2_m1 has not been run" in result.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("text", "figure_dims"),
    [
        pytest.param(FILE, 0, marks=pytest.mark.heavy),
        (FILE + DENSITY, 1),
        pytest.param(FILE + SCATTERED, 1, marks=pytest.mark.heavy),
        pytest.param(FILE + SWEPT + DENSITY, 2, marks=pytest.mark.heavy),
        (FILE + SWEPT + DENSITY + SCATTERED.replace("data.density", "model.init_std"), 3),
    ],
    ids=["no axis", "lines", "scattered", "maps", "panels"],
)
def test_a_users_file_runs_from_any_folder(text, figure_dims, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    result = here(str(tmp_path / "mine.toml"), cwd=elsewhere)
    assert result.returncode == 0, result.stderr
    folder = elsewhere / "results" / "mine"
    assert (folder / "mine.png").stat().st_size > 10_000
    data = superjax.open(folder / "mine.nc")
    assert len(data["loss"].dims) == figure_dims + 1
    assert json.loads((folder / "claims.json").read_text())[0]["holds"]


@pytest.mark.heavy
def test_falling_off_the_fast_form_is_said(tmp_path):
    (tmp_path / "large.toml").write_text("n_features = 40\nn_hidden = 8\nrestarts = 1\ntrain.steps = 2\n"
                                         'train.batch = 16\ntrain.objective = "minibatch"\n')  # fmt: skip
    result = here("large.toml", cwd=tmp_path)
    assert result.returncode == 0 and "large: trained in the plain form" in result.stdout, result.stderr
    (tmp_path / "small.toml").write_text(FILE)
    assert "plain form" not in here("small.toml", cwd=tmp_path).stdout


def test_a_new_sweep_file_runs_and_is_never_overwritten(tmp_path):
    result = here("--new", "my sweep.toml", cwd=tmp_path)
    assert result.returncode == 0 and "python -m superjax.sweep 'my sweep.toml'" in result.stdout, result.stderr
    text = (tmp_path / "my sweep.toml").read_text()
    result = here("--new", "my sweep.toml", cwd=tmp_path)
    assert result.returncode == 2 and "is there already" in result.stderr
    assert (tmp_path / "my sweep.toml").read_text() == text
    for kind in ("linear", "relu_hidden", "two_layer"):
        assert kind in text and superjax.load(tmp_path / "my sweep.toml", f"model.kind={kind}").cases
    for kind in ("sets", "signed", "finite"):
        assert kind in text and superjax.load(tmp_path / "my sweep.toml", f"data.kind={kind}").cases
    few = ("axes.density.points=3", "axes.extra.points=3", "restarts=2", "train.steps=20")
    result = here("my sweep.toml", *few, cwd=tmp_path)
    assert result.returncode == 0 and "2 of 2 claims hold" in result.stdout, result.stderr
    for name, said in (("mine.txt", "must end in .toml"), ("no/where.toml", "cannot be written"), ("-.toml", "")):
        result = here(f"--new={name}", cwd=tmp_path)
        assert result.returncode == (2 if said else 0) and said in result.stderr
    assert here("--new", "b.toml", "phase_diagram", cwd=tmp_path).returncode == 2
    assert not (tmp_path / "b.toml").exists()


def test_list_and_version_need_no_jax(tmp_path):
    code = (
        "import sys; from superjax.sweep import main; status = main(['--list']); "
        "assert 'jax' not in sys.modules and 'matplotlib' not in sys.modules; sys.exit(status)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "phase_diagram: What happens to an extra feature?\n    the phase change, n = 2, m = 1" in result.stdout
    assert superjax.__version__ in command("--version", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "which sweep"),
        (("phase_diagramm",), "phase_diagram"),
        (("phase_diagram", "--frehs"), "did you mean --fresh"),
        (("phase_diagram", "--resume"), "the same command goes on"),
        (("phase_diagram", "--devices", "99"), "99"),
        (("phase_diagram", "--devices", "0"), "at least 1"),
        (("phase_diagram", "--devices", "two"), "invalid int value: 'two'\n"),
        (("phase_diagram", "train.stepz=3"), "did you mean train.steps"),
        (("phase_diagram", "data.density=0"), "data.density"),
        (("phase_diagram", "train.steps=3", "train.steps=4"), "twice"),
        (("phase_diagram", "cases=n2_m9"), "n2_m1"),
        (("phase_diagram", "model.kind=nowhere:Model"), "nowhere"),
        (("phase_diagram", "case.n3_m2.n_features=12"), "knows the theory"),
        (("phase_diagram", "optimum=false"), "needs optimum = true"),
        (("phase_diagram", "importance=2"), "relative importance"),
        (("phase_diagram", "axes.density.points=1"), "3 points"),
        (("phase_diagram", "study=''", "case.n3_m2.n_features=12"), "too large to enumerate"),
        (("phase_diagram", "study=''", "optimum=false", "case.n3_m2.n_features=12"), "quadrature rows"),
        (("phase_diagram", "--fresh", "--figures-only"), "give one of them"),
        (("missing.toml",), "missing.toml"),
        (("phase_diagram", "--out", "a_file"), "a_file"),
        (("phase_diagram", "--out", "/proc/nowhere"), "/proc/nowhere"),
        (("phase_diagram", "--distributed", "here"), "HOST:PORT,PROCESSES,PROCESS"),
        (("phase_diagram", "--distributed", "localhost:1,2,two"), "HOST:PORT,PROCESSES,PROCESS"),
        (("phase_diagram", "--distributed", "auto"), "--distributed auto"),
        (("phase_diagram", "restarts=0"), "restarts"),
        (("phase_diagram", "train.learning_rate=-1"), "learning_rate"),
        (("phase_diagram", "train.steps=many"), "many"),
        (("phase_diagram", "axes.density.range=[1, 0]"), "density"),
        (("phase_diagram", "restarts=1000000", "cases=n2_m1"), "a case may have 2,147,483,647 models"),
        (("phase_diagram", "restarts=50000", "train.steps=2", "cases=n2_m1"), "bytes of memory"),
        (("binary.toml",), "binary.toml"),
        (("empty.toml",), "is empty"),
        (("broken.toml",), "not valid TOML"),
        (("folder.toml",), "folder.toml"),
        (("mine.toml", "--out", "damaged"), "manifest.json: is damaged"),
        (("mine.toml", "--out", "damaged", "--figures-only"), "manifest.json: is damaged"),
        (("mine.toml", "--figures-only"), "has not been run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_gets_one_message_and_status_2(arguments, said, tmp_path):
    (tmp_path / "a_file").mkdir()
    (tmp_path / "a_file" / "phase_diagram").write_text("in the way")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.toml").touch()
    (tmp_path / "broken.toml").write_text("n_features = = 3")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "mine.toml").write_text(FILE)
    (tmp_path / "damaged" / "mine").mkdir(parents=True)
    (tmp_path / "damaged" / "mine" / "manifest.json").write_text('{"cases": {}}')
    result = here(*arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert said in result.stderr and "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 6 and not result.stdout


@pytest.mark.heavy
def test_ten_million_models_need_less_than_3_gib(tmp_path):
    text = "n_features = 2\nn_hidden = 1\nrestarts = 10\ntrain.steps = 20\n"
    for name, field, ends in (("importance", "importance[-1]", [0.2, 5]), ("density", "data.density", [1, 0.01])):
        text += f'[axes.{name}]\nfield = "{field}"\nscale = "log"\nrange = {ends}\npoints = 1000\n'
    (tmp_path / "many.toml").write_text(text)
    result = command("many.toml", cwd=tmp_path)
    assert result.returncode == 0 and "10,000,000 models" in result.stdout, result.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 3 * 2**30  # of any process run here


def test_strict_fails_if_a_model_diverges(tmp_path):
    (tmp_path / "wild.toml").write_text(FILE + 'optimizer = "sgd"\nschedule = "constant"\n' + SWEPT)
    wild = "axes.learning_rate.range=[0.1, 1e20]"
    assert here("wild.toml", wild, cwd=tmp_path).returncode == 0
    result = here("wild.toml", wild, "--strict", cwd=tmp_path)
    assert result.returncode == 1 and "superjax: --strict: " in result.stderr and "diverged" in result.stdout
    data = superjax.open(tmp_path / "results" / "wild" / "wild.nc")
    assert (data["diverged_at"].isel(learning_rate=-1) >= 0).all()
    assert (data["diverged_at"].isel(learning_rate=0) == -1).all()
    assert (data["phase"].isel(learning_rate=-1) == 3).all()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.heavy)])
def test_an_interrupted_run_keeps_finished_cases_and_says_how_to_resume(number, tmp_path):
    small = ("axes.importance.points=4", "axes.density.points=4", "restarts=2", "train.steps=50")
    long = ("case.n3_m2.train.steps=1000000",)
    process = subprocess.Popen(
        [sys.executable, "-m", "superjax.sweep", "phase_diagram", *small, *long],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    manifest = tmp_path / "results" / "phase_diagram" / "manifest.json"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if manifest.exists() and json.loads(manifest.read_text())["cases"].get("n2_m1", {}).get("done"):
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "python -m superjax.sweep phase_diagram" in said and "Traceback" not in said
    assert superjax.open(manifest.parent / "n2_m1.nc")["loss"].size == 4 * 4 * 2


def test_fresh_clears_what_it_replaces_and_a_redraw_keeps_the_record(finished, tmp_path):
    folder = tmp_path / "results" / "two"
    (tmp_path / "two.toml").write_text(f"{FILE}[case.n2]\n[case.n3]\nn_features = 3\n")
    both = ("two.toml", "restarts=2", "train.steps=4")
    assert here(*both, cwd=tmp_path).returncode == 0
    (folder / "mine.txt").write_text("not superjax's")
    trained = json.loads((folder / "manifest.json").read_text())["seconds"]
    assert here(*both, cwd=tmp_path).returncode == 0
    assert json.loads((folder / "manifest.json").read_text())["seconds"] == trained
    assert (folder / "n3.nc").exists()
    result = here(*both, "cases=n2", "--fresh", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert not (folder / "n3.nc").exists() and (folder / "n2.nc").exists() and (folder / "mine.txt").exists()


def test_claims_are_strict_json(tmp_path):
    result = here("phase_diagram", *SMALL, "axes.importance.range=[0.5, 0.9]", cwd=tmp_path)
    assert result.returncode == 0 and "Warning" not in result.stderr, result.stderr

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    json.loads((tmp_path / "results" / "phase_diagram" / "claims.json").read_text(), parse_constant=refuse)
