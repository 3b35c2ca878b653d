"""The one place that knows the machine: its cores and memory, whatever limits them, and JAX's devices and settings."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from superjax.errors import SweepError, clip

_ROOT = Path("/")
_UNLIMITED = 2**60  # from here on a limit is the kernel's way to say none
# JAX's settings that could change a result or fail a run, and what superjax computes under; a name that a version of
# JAX does not know is skipped. Others are the user's: those of devices and of the compilation cache, what is logged
# and dumped, and checks that superjax passes (dtype and rank promotion, reuse of keys, checks of JAX itself).
_SETTINGS = {
    "jax_enable_x64": False,
    "jax_disable_jit": False,
    "jax_debug_nans": False,  # a model that diverges is data
    "jax_debug_infs": False,
    "jax_check_tracer_leaks": False,
    "jax_default_matmul_precision": "highest",  # accelerators round to 10 bits or less by default
    "jax_default_device": None,
    "jax_threefry_partitionable": True,
    "jax_use_direct_linearize": True,
    "jax_disable_most_optimizations": False,
    "jax_compiler_enable_remat_pass": True,
    "jax_exec_time_optimization_effort": 0.0,
    "jax_memory_fitting_effort": 0.0,
    "jax_optimization_level": "UNKNOWN",
    "jax_memory_fitting_level": "O2",
    "jax_raise_persistent_cache_errors": False,
    "jax_no_tracing": False,
    "jax_no_execution": False,
    "jax_error_checking_behavior_nan": "ignore",
    "jax_error_checking_behavior_divide": "ignore",
    "jax_error_checking_behavior_oob": "ignore",
    "jax_transfer_guard_host_to_device": "allow",
    "jax_transfer_guard_device_to_device": "allow",
    "jax_transfer_guard_device_to_host": "allow",
}
# What would change every random number, and so is refused unless it is this, and why.
_REFUSED = {
    "jax_default_prng_impl": ("threefry2x32", "others draw a batch from its first key"),
    "jax_random_seed_offset": (0, "with another the weights of a seed would not be those of the seed"),
}


def usable_cores(root: Path = _ROOT) -> int:
    """Cores this process may run on, fewer if a control group allows less of their time (rounded up); at least 1."""
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for group in _groups(root, "cpu"):
        for time, period in (_words(group / "cpu.max"), _words(group / "cpu.cfs_quota_us", "cpu.cfs_period_us")):
            if time and period:
                counts.append(-(-time // period))
    return max(1, min(counts))


def usable_memory(root: Path = _ROOT) -> int:
    """Bytes of main memory that this process may use: of the machine, or what the limits of the process and of its
    control groups leave over what is in use there already. 4 GiB if the system does not say."""
    sizes = []
    with suppress(AttributeError, ValueError, OSError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    sizes += _process_limits()
    for group in _groups(root, "memory"):
        limits = [_words(group / name)[0] for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
        if known := [limit for limit in limits if limit is not None and limit < _UNLIMITED]:
            sizes.append(max(0, min(known) - _in_use(group)))
    return min(sizes, default=2**32)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of Python, or of JAX, means that there was no more memory."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _process_limits() -> Iterator[int]:
    """What is left of the address space that this process may have (ulimit -v)."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            yield max(0, limit - pages * resource.getpagesize())


def _in_use(group: Path) -> int:
    """Bytes that a control group cannot give back: without its cache of files."""
    with suppress(OSError, ValueError):
        entries = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(entries.get("total_rss", entries.get("anon", 0)))
    return 0


def _words(file: Path, second: str = "") -> tuple[int | None, int | None]:
    """The first two numbers of a file, or the first of it and of a second one beside it; None for none, or "max"."""
    words: list[int | None] = []
    for path in (file, file.parent / second)[: 2 if second else 1]:
        with suppress(OSError, UnicodeDecodeError):
            words += [int(word) if word.isdecimal() else None for word in path.read_text().split()[:2]]
    first, second_word = (*words, None, None)[:2]
    return first, second_word


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the control groups that this process is in, from its own up to the highest that is seen, in
    both versions of the kernel's interface."""
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    paths = {}  # by controller, "" for version 2
    for line in memberships:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        paths |= {name: path for name in controllers.split(",")}
    for line in mounts:
        here, _, there = line.partition(" - ")
        fields, kind = here.split(), there.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup" and controller in kind[2].split(","):
            path = paths.get(controller)
        elif kind[0] == "cgroup2":
            path = paths.get("")
        else:
            continue
        if path is None:
            continue
        mounted, point = (re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), field) for field in fields[3:5])
        top = root / point.lstrip("/")
        inside = Path(os.path.relpath(path, mounted))
        group = top if ".." in inside.parts else top / inside  # another's view of the groups
        yield group
        while group != top:
            group = group.parent
            yield group


def import_jax() -> Any:
    """JAX, with one CPU device per core unless the user or an earlier use has decided that.

    Raises SweepError if the environment does not let it be imported. It changes nothing where there is an accelerator.
    """
    try:
        import jax
    except Exception as error:  # its own modules, under whatever JAX_... says
        raise SweepError(f"JAX cannot be imported: {clip(f'{type(error).__name__}: {error}', 300)}") from error
    if jax.config.values.get("jax_num_cpu_devices", 0) == -1:
        with suppress(RuntimeError):  # it has been used already
            jax.config.update("jax_num_cpu_devices", usable_cores())
    return jax


def devices() -> list[Any]:
    """JAX's devices of this process. Raises SweepError if it has none, or the user's settings do not let it start."""
    import jax

    _try_flags()
    try:
        return jax.local_devices()
    except Exception as error:  # of any driver or plugin
        reason = clip(str(error), 400) or "none of the wanted kind is here"
        told = clip(", ".join(f"{name}={os.environ[name]}" for name in _DECIDE_DEVICES if name in os.environ), 300)
        raise SweepError(f"JAX has no device: {reason}" + (f"\n  set are {told}" if told else "")) from error


_DECIDE_DEVICES = (
    "JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_NUM_CPU_DEVICES", "CUDA_VISIBLE_DEVICES", "JAX_CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES", "TPU_VISIBLE_DEVICES",
)  # fmt: skip


def _try_flags() -> None:
    """Raise SweepError if XLA does not take XLA_FLAGS: it would end the process without a word from Python."""
    flags, xla_bridge = os.environ.get("XLA_FLAGS", ""), sys.modules.get("jax._src.xla_bridge")
    if not flags or getattr(xla_bridge, "_backends", None):  # it has taken them
        return
    code = "from jaxlib import xla_client; xla_client.CompileOptions()"
    tried = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, errors="replace")
    words = re.findall(r"^[EF]\d+ .*?\] (.*)", tried.stderr, re.MULTILINE)  # as XLA logs what ends it
    if tried.returncode and words:
        raise SweepError(f"XLA_FLAGS = {clip(flags, 200)}: refused by XLA: {clip(words[0], 200)}")


def check_devices(wanted: Any, there: int | None = None, option: str = "devices =") -> None:
    """Raise SweepError unless so many devices, None for all, can be used where so many are `there`."""
    if wanted is None:
        return
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        raise SweepError(f"{option} {clip(repr(wanted))}: must be a whole number, or None for all")
    if wanted < 1:
        raise SweepError(f"{option} {wanted}: must be at least 1")
    if there is not None and wanted > there:
        raise SweepError(f"{option} {wanted}: this machine has {there}")


@contextmanager
def settled(wanted: int | None = None, option: str = "devices =") -> Iterator[None]:
    """Compute under superjax's own settings of JAX, whatever the user's are, which come back afterwards.

    Args:
        wanted: how many devices are to be used, None for all.
        option: how a message names that.

    Raises:
        SweepError: JAX has no devices, or not so many, or a setting is one that would change all random numbers.
    """
    check_devices(wanted, None, option)
    jax = import_jax()
    for name, (only, why) in _REFUSED.items():
        if (value := jax.config.values.get(name, only)) != only:
            raise SweepError(
                f"{name} = {value}: superjax draws under {only} alone, since {why}; leave {name.upper()} unset"
            )
    check_devices(wanted, len(devices()), option)
    with ExitStack() as stack:
        if not jax.sharding.get_abstract_mesh().empty:
            stack.enter_context(jax.set_mesh(None))
        for name, value in _SETTINGS.items():
            if jax.config.values.get(name, value) != value:
                stack.enter_context(_set(jax, name, value))
        yield


@contextmanager
def _set(jax: Any, name: str, value: Any) -> Iterator[None]:
    """A setting of JAX: of this thread alone if it is one of those that JAX keeps for each."""
    holder = jax.config._value_holders[name]
    if hasattr(holder, "swap_local"):
        with holder(value):
            yield
        return
    before = jax.config.values[name]
    jax.config.update(name, value)
    try:
        yield
    finally:
        jax.config.update(name, before)
