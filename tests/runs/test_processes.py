"""Runs as processes: killed, stopped by signals, several at once; nothing is lost, nothing silent."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import superjax
from superjax.disk.files import checksum
from superjax.runs import hosts
from tests.conftest import settled
from tests.runs.test_checkpoint import assert_identical
from tests.runs.test_faults import STUDY, result


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """An environment in which programs are compiled once for all processes, in the user's compilation cache."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return os.environ | cache


GRID = ("axes.importance.points=40", "axes.density.points=40")
LONG = (*GRID, "train.steps=3000")
ENDLESS = (*GRID, "train.steps=2000000")


def start(out, *arguments, cwd, env, under=()):
    return subprocess.Popen(
        [*under, sys.executable, "-m", "superjax.sweep", "study.toml", "--out", out, *arguments],
        cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait(process) -> tuple[int, str]:
    _, said = process.communicate()
    return process.returncode, settled(said)


@pytest.fixture(scope="module")
def long_run(tmp_path_factory, compiled) -> tuple[Path, float]:
    """A folder with a run of some seconds, and how long it took with its programs compiled before."""
    (folder := tmp_path_factory.mktemp("long")).joinpath("study.toml").write_text(STUDY)
    for out in ("compiling", "straight"):
        begun = time.monotonic()
        assert wait(start(out, *LONG, cwd=folder, env=compiled)) == (0, "")
        programs = sorted(path.name for path in Path(compiled["JAX_COMPILATION_CACHE_DIR"]).glob("*-cache"))
        (folder / f"{out}.json").write_text(json.dumps(programs))
    return folder, time.monotonic() - begun


@pytest.mark.heavy
def test_without_permission_a_run_is_refused_and_nothing_is_changed(compiled, tmp_path):
    """A folder that may not be written, or read; as root without the right to do it all the same."""
    under = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if under and subprocess.run([*under, "true"], capture_output=True).returncode:
        pytest.skip("root may do everything here")
    (tmp_path / "study.toml").write_text(STUDY)
    for name, mode in (("closed", 0o000), ("locked", 0o555)):
        (folder := tmp_path / name).mkdir()
        folder.chmod(mode)
        status, said = wait(start(name, cwd=tmp_path, env=compiled, under=under))
        folder.chmod(0o755)
        assert status == 2 and name in said and "Permission denied" in said and "Traceback" not in said, said
        assert said.count("\n") <= 6 and not list(folder.iterdir())
    (tmp_path / "ours" / "study").mkdir(parents=True)
    (tmp_path / "ours" / "study").chmod(0o555)
    status, said = wait(start("ours", cwd=tmp_path, env=compiled, under=under))
    assert status == 2 and "ours/study: cannot be written: Permission denied" in said
    (tmp_path / "study.toml").chmod(0o000)
    status, said = wait(start("out", cwd=tmp_path, env=compiled, under=under))
    assert status == 2 and "study.toml" in said and "Permission denied" in said


def test_the_users_compilation_cache_is_used(long_run, compiled):
    """The second run adds no program to it."""
    first, second = (json.loads((long_run[0] / f"{out}.json").read_text()) for out in ("compiling", "straight"))
    assert len(first) > 5 and second == first


@pytest.mark.heavy
def test_killed_at_random_moments_it_goes_on_bitwise(long_run, compiled):
    """Twice, with SIGKILL."""
    kill_at_random_moments(*long_run, compiled, 2)


@pytest.mark.heavy
def test_killed_at_50_random_moments_it_goes_on_bitwise(long_run, compiled):
    kill_at_random_moments(*long_run, compiled, 50)


def kill_at_random_moments(folder, seconds, env, times):
    random = np.random.default_rng(times)
    dataset = superjax.open(folder / "straight" / "study" / "study.nc")
    for moment in random.uniform(0.2, 1, times) * seconds:
        out = f"killed-{moment:.3f}"
        process = start(out, *LONG, cwd=folder, env=env)
        time.sleep(moment)
        process.kill()
        wait(process)
        assert wait(start(out, *LONG, cwd=folder, env=env)) == (0, "")
        assert_identical(superjax.open(folder / out / "study" / "study.nc"), dataset)
        assert not list((folder / out).rglob(".*")) and not (folder / out / "study" / "chunks").exists()


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(other, marks=pytest.mark.heavy) for other in (signal.SIGTERM, signal.SIGHUP))],
)
def test_a_signal_is_obeyed_within_a_block_and_what_was_trained_is_kept(long_run, compiled, number):
    folder, out = long_run[0], f"signal-{number}"
    process = start(out, *ENDLESS, cwd=folder, env=compiled)
    while not list((folder / out).rglob("*.chunk")):
        time.sleep(0.05)
        assert process.poll() is None
    begun = time.monotonic()
    process.send_signal(number)
    status, said = wait(process)
    assert time.monotonic() - begun < 5 and status == 128 + number
    assert f"Resume with\n  python -m superjax.sweep study.toml --out {out} " in said
    assert list((folder / out).rglob("*.chunk"))


@pytest.mark.heavy
def test_a_second_process_is_refused_by_name_of_the_first(long_run, compiled):
    folder = long_run[0]
    first = start("locked", *ENDLESS, cwd=folder, env=compiled)
    while not list((folder / "locked").rglob("*.chunk")):
        time.sleep(0.05)
        assert first.poll() is None
    status, said = wait(start("locked", *ENDLESS, cwd=folder, env=compiled))
    assert status == 2 and f"process {first.pid} on " in said and "is at work here" in said
    first.kill()
    wait(first)
    assert wait(start("locked", *LONG, "--fresh", cwd=folder, env=compiled)) == (0, "")


@pytest.mark.parametrize(
    ("limit", "file"), [(1, "study"), pytest.param(60, ".chunk", marks=pytest.mark.heavy), (700, "study.nc")]
)
@pytest.mark.heavy
def test_a_file_that_may_not_grow_ends_the_run_with_path_and_bytes(long_run, compiled, limit, file):
    """A limit in KiB as a full disk: of the settings, a chunk, the dataset."""
    folder, out = long_run[0], f"limit-{limit}"
    env = {name: value for name, value in compiled.items() if not name.startswith("JAX_")}
    limited = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "bash"]
    status, said = wait(start(out, *LONG, cwd=folder, env=env, under=limited))
    assert status in (1, 2) and "File too large" in said and file in said, said
    assert status == 2 or "bytes were to be written" in said
    assert wait(start(out, *LONG, cwd=folder, env=compiled)) == (0, "")
    assert_identical(superjax.open(folder / out / "study" / "study.nc"), result(folder / "straight"))


@pytest.mark.heavy
def test_processes_share_a_run_and_another_number_goes_on_with_it(long_run, compiled):
    """Three processes, one of which is killed and the others stopped, then two; the dataset is that of one."""
    folder = long_run[0]
    three = together(3, "shared", "--devices", "2", *LONG, cwd=folder, env=compiled)
    while not list((folder / "shared").rglob("*.chunk")):
        time.sleep(0.02)
        assert three[0].poll() is None
    three[1].kill()
    three[2].terminate()
    three[0].terminate()
    assert [wait(process)[0] for process in three] == [143, -9, 143]
    ended = [wait(process) for process in together(2, "shared", "--devices", "2", *LONG, cwd=folder, env=compiled)]
    assert [status for status, _ in ended] == [0, 0], ended
    assert_identical(superjax.open(folder / "shared" / "study" / "study.nc"), result(folder / "straight"))


def together(count, out, *arguments, more=((), (), ()), under=((), (), ()), cwd, env):
    """So many processes of one run, each with `more` arguments and `under` a command."""
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        address = f"localhost:{unused.getsockname()[1]}"
    return [
        start(
            out,
            *arguments,
            *more[i],
            "--distributed",
            f"{address},{count},{i}",
            cwd=cwd,
            under=under[i],
            env=env[i] if isinstance(env, list) else env,
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.heavy)])
def test_any_number_of_processes_makes_the_same_dataset(long_run, compiled, count):
    folder, out = long_run[0], f"processes-{count}"
    ended = [wait(process) for process in together(count, out, "--devices", "2", *LONG, cwd=folder, env=compiled)]
    assert [status for status, _ in ended] == [0] * count, ended
    assert_identical(superjax.open(folder / out / "study" / "study.nc"), result(folder / "straight"))


@pytest.mark.parametrize("stopped", [pytest.param(0, marks=pytest.mark.heavy), 1])
@pytest.mark.heavy
def test_a_signal_to_one_process_stops_all(long_run, compiled, stopped):
    """Each says which one it was, and how to go on."""
    folder, out = long_run[0], f"stopped-{stopped}"
    two = together(2, out, *ENDLESS, "--fresh", cwd=folder, env=compiled)
    while len(list((folder / out).rglob("*.chunk"))) < 2:
        time.sleep(0.02)
        assert two[0].poll() is None
    begun = time.monotonic()
    two[stopped].send_signal(signal.SIGINT)
    ended = [wait(process) for process in two]
    assert time.monotonic() - begun < 10
    assert ended[stopped][0] == 130 and "superjax: interrupted; what was" in ended[stopped][1], ended
    status, said = ended[1 - stopped]
    assert status == 143 and f"superjax: process {stopped} was interrupted; what was trained is kept" in said, ended
    assert all("Resume with\n  python -m superjax.sweep study.toml" in said for _, said in ended)
    assert not any("--fresh" in said for _, said in ended)


@pytest.mark.heavy
def test_what_one_process_cannot_do_is_refused_by_all(long_run, compiled):
    two = together(2, "few", *GRID, more=((), ("--devices", "99")), cwd=long_run[0], env=compiled)
    ended = [wait(process) for process in two]
    assert [status for status, _ in ended] == [2, 2], ended
    assert all("--devices 99: this machine has" in said and "Traceback" not in said for _, said in ended)


@pytest.mark.parametrize("broken", [0, pytest.param(1, marks=pytest.mark.heavy)])
@pytest.mark.heavy
def test_a_bug_in_one_process_ends_all(long_run, compiled, tmp_path, broken):
    """None waits for it until JAX notices."""
    module, what = {0: ("superjax.studies", "draw"), 1: ("superjax.runs.chunks", "Training.run")}[broken]
    (tmp_path / "sitecustomize.py").write_text(
        f"import {module}\ndef bug(*_): raise ZeroDivisionError\n{module}.{what} = bug\n"
    )
    env = [dict(compiled), dict(compiled)]
    env[broken]["PYTHONPATH"] = os.pathsep.join([str(tmp_path), compiled.get("PYTHONPATH", "")])
    begun = time.monotonic()
    two = together(2, f"broken-{broken}", *LONG, cwd=long_run[0], env=env)
    ended = [wait(process) for process in two]
    assert ended[broken][0] == 1 and "ZeroDivisionError" in ended[broken][1], ended
    assert ended[1 - broken][0] in (1, 143) and f"process {broken} failed" in ended[1 - broken][1], ended
    assert time.monotonic() - begun < 60


def test_another_hosts_file_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "_UNSEEN", 0.5)
    assert not hosts.sees(tmp_path / "manifest.json", "digest")
    (tmp_path / "manifest.json").write_text("{}")
    assert not hosts.sees(tmp_path / "manifest.json", "digest")
    assert hosts.sees(tmp_path / "manifest.json", checksum(tmp_path / "manifest.json"))


@pytest.mark.heavy
def test_a_process_without_room_stops_all(long_run, compiled):
    folder = long_run[0]
    limited = ["bash", "-c", 'ulimit -f 60; exec "$@"', "bash"]
    env = {name: value for name, value in compiled.items() if not name.startswith("JAX_")}
    two = together(2, "narrow", *ENDLESS, under=((), limited), cwd=folder, env=env)
    (first, said), (second, reason) = (wait(process) for process in two)
    assert second == 1 and "File too large" in reason and "make room" in reason, reason
    assert first == 143 and "process 1 failed: " in said and "File too large" in said, said


@pytest.mark.heavy
def test_processes_stop_together_and_refuse_together(long_run, compiled):
    folder = long_run[0]
    two = together(2, "two", *ENDLESS, cwd=folder, env=compiled)
    while len(list((folder / "two").rglob("*.chunk"))) < 2:
        time.sleep(0.02)
        assert two[0].poll() is None
    begun = time.monotonic()
    for process in two:
        process.terminate()
    assert [wait(process)[0] for process in two] == [143, 143] and time.monotonic() - begun < 5
    refused = [wait(process) for process in together(2, "two", *LONG, cwd=folder, env=compiled)]
    assert [status for status, _ in refused] == [2, 2]
    assert all("train.steps = 3000, was 2000000" in said for _, said in refused)
    odd = together(2, "odd", *GRID, more=(("train.steps=9",), ("train.steps=8",)), cwd=folder, env=compiled)
    refused = [wait(process) for process in odd]
    assert [status for status, _ in refused] == [2, 2]
    assert all("has other settings than the first process" in said for _, said in refused)
    assert all(
        "steps = 8 here, steps = 9 in the first process" in said and "Traceback" not in said for _, said in refused
    )
