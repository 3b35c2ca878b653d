"""What limits cores and memory is seen, and JAX's settings do not matter: results are superjax's own, bit for bit."""

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import superjax
from superjax.engine import engine, plan
from superjax.spec import SweepError
from superjax.system import machine
from tests.conftest import settled

SWEEP = """
n_features = 2
n_hidden = 1
restarts = 2
train.steps = 10
train.learning_rate = 3
train.optimizer = "sgd"
train.schedule = "constant"
[axes.importance]
field = "importance[-1]"
values = [0.5, 1e18]
"""
V1 = "30 25 0:29 {mounted} /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}"
V2 = "30 25 0:29 {mounted} /sys/fs/cgroup rw shared:4 - cgroup2 cgroup rw,nsdelegate"


def write(root: Path, files: dict[str, object]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def nested(root: Path, version: int, own: str, files: dict[str, object], mounted: str = "/") -> Path:
    """A system whose process is in the control group `own`, with files below the mounts."""
    names = ("cpu,cpuacct", "memory")
    cgroup = ["0::" + own] if version == 2 else [f"{i}:{name}:{own}" for i, name in enumerate(names)]
    mounts = [V2.format(mounted=mounted)] if version == 2 else [V1.format(mounted=mounted, name=n) for n in names]
    proc = {
        "proc/self/cgroup": "\n".join(cgroup),
        "proc/self/mountinfo": "\n".join(["24 1 8:1 / / rw - ext4 a", *mounts]),
    }
    return write(root, proc | {f"sys/fs/cgroup/{name}": text for name, text in files.items()})


GIB = 2**30


@pytest.mark.parametrize(
    ("version", "own", "mounted", "files", "expected"),
    [
        (2, "/system.slice/job.scope", "/", {"memory.max": "max", "system.slice/memory.max": GIB}, GIB),
        (2, "/a/b/c", "/", {"a/memory.max": 3 * GIB, "a/b/memory.high": GIB, "a/b/c/memory.max": "max"}, GIB),
        (2, "/a", "/", {"a/memory.max": GIB, "a/memory.stat": "file 9999\nanon 1000"}, GIB - 1000),
        (2, "/a", "/", {"a/memory.max": GIB, "a/memory.stat": f"anon {2 * GIB}"}, 0),
        (2, "/docker/0123", "/docker/0123", {"memory.max": GIB}, GIB),  # a container without its own view
        (2, "/../../elsewhere", "/", {"memory.max": GIB}, GIB),
        (2, "/a b", "/", {"a b/memory.max": GIB}, GIB),
        (2, "/", "/", {"memory.max": "nonsense"}, None),
        (1, "/slurm/uid_0/job_1/step_0", "/", {"memory/slurm/uid_0/job_1/memory.limit_in_bytes": GIB}, GIB),
        (1, "/x", "/", {"memory/x/memory.limit_in_bytes": GIB, "memory/x/memory.stat": "rss 1\ntotal_rss 7"}, GIB - 7),
        (1, "/x", "/", {"memory/memory.limit_in_bytes": 9223372036854771712}, None),
        (1, "/x", "/", {"memory/memory.limit_in_bytes": 2**64 - 1}, None),
        (1, "/gone", "/", {}, None),
    ],
)  # fmt: skip
def test_the_least_limit_of_nested_control_groups_is_the_memory(version, own, mounted, files, expected, tmp_path):
    whole = machine.usable_memory(tmp_path)
    there = machine.usable_memory(nested(tmp_path, version, own, files, mounted))
    assert there == whole if expected is None else there == expected < whole


@pytest.mark.parametrize(
    ("version", "files", "expected"),
    [
        (2, {"a/cpu.max": "100000 100000"}, 1),
        (2, {"a/b/cpu.max": "max 100000", "cpu.max": "50000 100000"}, 1),
        (2, {"a/b/cpu.max": "150000 100000"}, 2),
        (2, {"a/b/cpu.max": "max 100000"}, 8),
        (2, {"a/b/cpu.max": "100000"}, 8),
        (1, {"cpu,cpuacct/a/cpu.cfs_quota_us": 200000, "cpu,cpuacct/a/cpu.cfs_period_us": 100000}, 2),
        (1, {"cpu,cpuacct/a/cpu.cfs_quota_us": -1, "cpu,cpuacct/a/cpu.cfs_period_us": 100000}, 8),
        (1, {"cpu,cpuacct/a/cpu.cfs_quota_us": 1000, "cpu,cpuacct/a/cpu.cfs_period_us": 0}, 8),
    ],
)
def test_the_least_quota_of_nested_control_groups_is_the_cores(version, files, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert machine.usable_cores(nested(tmp_path, version, "/a/b", files)) == expected


def test_a_system_that_says_nothing_has_some_memory_and_a_core(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: (_ for _ in ()).throw(ValueError))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.usable_memory(tmp_path) == 2**32 and machine.usable_cores(tmp_path) == 1
    write(tmp_path, {"proc/self/cgroup": "broken", "proc/self/mountinfo": "1 2\n3 - 4"})
    assert machine.usable_memory(tmp_path) == 2**32 and machine.usable_cores(tmp_path) == 1


def test_the_limit_of_the_address_space_is_the_memory(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + GIB, before[1]))
    try:
        assert 0.8 * GIB < machine.usable_memory(tmp_path) <= GIB
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def numbers(file: Path) -> dict[str, np.ndarray]:
    engine.program.cache_clear()
    plan._factors.cache_clear()
    (data,) = superjax.run(superjax.load(file)).values()
    engine.program.cache_clear()
    return {str(name): data[name].values for name in data.data_vars}


@pytest.mark.parametrize("users", [None, "bfloat16"])
def test_products_are_of_full_precision_on_every_device(users):
    """An accelerator would round the factors to 10 bits or less: what is compiled says that it must not."""
    product = jax.ShapeDtypeStruct((2, 2), np.float32)
    with jax.default_matmul_precision(users):
        with machine.settled():
            text = jax.jit(jnp.matmul).lower(product, product).as_text()
        assert "precision = [HIGHEST, HIGHEST]" in text and jax.config.values["jax_default_matmul_precision"] == users


@pytest.mark.heavy
def test_no_setting_of_jax_changes_a_bit_and_all_come_back(tmp_path):
    """Set for the process, in this thread alone, in another one, and a mesh; one of the models diverges."""
    (file := tmp_path / "small.toml").write_text(SWEEP)
    expected = numbers(file)
    assert (expected["diverged_at"] >= 0).any() and expected["W"].dtype == np.float32

    def check() -> None:
        before = dict(jax.config.values)
        found = numbers(file)
        assert jax.config.values == before
        for name, values in expected.items():
            assert found[name].dtype == values.dtype and found[name].tobytes() == values.tobytes(), name

    mesh = jax.make_mesh((2,), ("mine",), axis_types=(jax.sharding.AxisType.Explicit,))
    with (
        jax.enable_x64(True), jax.disable_jit(), jax.debug_nans(True), jax.debug_infs(True), jax.set_mesh(mesh),
        jax.transfer_guard("disallow"), jax.default_matmul_precision("bfloat16"), jax.checking_leaks(),
        jax.default_device(jax.devices()[1]), jax.threefry_partitionable(False),
    ):  # fmt: skip
        check()
    wild = {
        "jax_enable_x64": True, "jax_debug_nans": True, "jax_disable_jit": True, "jax_transfer_guard": "disallow",
        "jax_disable_most_optimizations": True, "jax_no_execution": True,
    }  # fmt: skip
    before = {name: jax.config.values[name] for name in wild}
    failures = []

    def elsewhere() -> None:
        try:
            check()
        except BaseException as error:
            failures.append(error)

    try:
        for name, value in wild.items():
            jax.config.update(name, value)
        check()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert not failures, failures
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        (99, "this machine has 2"),
        (0, "at least 1"),
        (-1, "at least 1"),
        (True, "whole"),
        (1.5, "whole"),
        ("2", "whole"),
    ],
)
def test_devices_that_are_not_there_are_refused(devices, said, tmp_path, two_devices):
    (tmp_path / "small.toml").write_text(SWEEP)
    with pytest.raises(SweepError, match=said):
        if isinstance(devices, int):
            superjax.run(superjax.load(tmp_path / "small.toml"), devices=devices)
        machine.check_devices(devices, 2)  # types are checked in these tests


def test_settings_that_change_every_random_number_are_refused(tmp_path):
    (tmp_path / "small.toml").write_text(SWEEP)
    for name, value in (("jax_random_seed_offset", 5), ("jax_default_prng_impl", "rbg")):
        before = jax.config.values[name]
        jax.config.update(name, value)
        try:
            with pytest.raises(SweepError, match=name):
                superjax.run(superjax.load(tmp_path / "small.toml"))
        finally:
            jax.config.update(name, before)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("JAX_PLATFORMS=cuda", "JAX has no device: "),
        ("JAX_PLATFORMS=nonsense", "nonsense"),
        ("JAX_NUM_CPU_DEVICES=several", "several"),
        ("JAX_ENABLE_X64=maybe", "maybe"),
        pytest.param("XLA_FLAGS=--nonsense", "Unknown flag in XLA_FLAGS: --nonsense", marks=pytest.mark.heavy),
        pytest.param("XLA_FLAGS=--xla_cpu_enable_fast_math=5", "xla_cpu_enable_fast_math", marks=pytest.mark.heavy),
    ],
)
def test_an_environment_without_devices_gets_one_message(setting, said, tmp_path):
    """A process each, of some two seconds: XLA would end it."""
    (tmp_path / "small.toml").write_text(SWEEP)
    name, _, value = setting.partition("=")
    command = [sys.executable, "-m", "superjax.sweep", "small.toml"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {name: value})
    assert result.returncode == 2, result.stderr
    told = settled(result.stderr)
    assert told.startswith("superjax: ") and said in told and told.count("\n") <= 6
    assert not (tmp_path / "results").exists() and not result.stdout
