"""How many processor cores and how much memory there are to use."""

import os
from contextlib import suppress
from pathlib import Path

_CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory() -> int:
    """Bytes of main memory, of the container if that has less; 4 GiB if the system does not say."""
    sizes = []
    with suppress(AttributeError, ValueError, OSError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in _CONTAINER:
        with suppress(OSError, ValueError):  # no such file, or "max"
            sizes.append(int(Path(file).read_text()))
    return min(sizes, default=2**32)
