"""The lock on a run's folder: one process at a time."""

import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from superjax.spec import SweepError


class Lock:
    """The kernel's lock on a folder: held by one process, and free however that process ends."""

    def __init__(self, folder: Path):
        """Raises SweepError, with the holder's name, if another process holds it; OSError if it cannot be made."""
        self._path = folder / ".lock"
        while True:
            self._file = open(self._path, "a+", encoding="utf-8")  # noqa: SIM115, closed by release
            if not _try_lock(self._file):
                self._file.seek(0)
                holder = self._file.read().strip() or "another process"
                self._file.close()
                raise SweepError(
                    f"{folder}: {holder} is at work here; wait for it, or choose another folder with --out"
                )
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path)):
                    break
            self._file.close()  # the holder before removed the file that this one locked
        self._file.truncate(0)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}, started {started},")
        self._file.flush()

    def release(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        finally:
            self._file.close()


def _try_lock(file: IO[str]) -> bool:
    try:
        import fcntl
    except ImportError:  # not on Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
