"""The lock on a run's folder: one process at a time."""

import errno
import os
import socket
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from superjax.disk.files import NO_SURPRISES, weakness
from superjax.errors import SweepError, clip

NAME = ".lock"
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


class Lock:
    """The kernel's lock on a folder: held by one process, and free however that process ends.

    Nothing is written to a file that is not a lock: a link, also a hard one, or a text of somebody else's."""

    def __init__(self, folder: Path):
        """Raises SweepError, with the holder's name, if another process holds it, or what is there is no lock; OSError
        if it cannot be made."""
        self._path = folder / NAME
        while True:
            self._file = self._open()
            if not _try_lock(self._file):
                holder = clip(_read(self._file), 200) or "another process"
                os.close(self._file)
                raise SweepError(
                    f"{folder}: {holder} is at work here; wait for it, or choose another folder with --out"
                )
            if self._is_ours():
                break
            os.close(self._file)  # the holder before removed the file that this one locked
        os.truncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError):  # no room: the lock holds without a name
            os.write(self._file, f"process {os.getpid()} on {socket.gethostname()}, started {started},".encode())

    def _open(self) -> int:
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | NO_SURPRISES, 0o666)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise self._no_lock() from None
            raise
        found = os.fstat(file)
        if (
            not stat.S_ISREG(found.st_mode)
            or found.st_nlink > 1
            or _read(file).partition(" ")[0] not in ("process", "")
        ):
            os.close(file)
            raise self._no_lock()
        return file

    def _no_lock(self) -> SweepError:
        return SweepError(f"{self._path}: is no lock of superjax's; move it away, or choose another folder with --out")

    def _is_ours(self) -> bool:
        """Whether the file that is open is the one at the path."""
        try:
            return os.path.samestat(os.fstat(self._file), os.lstat(self._path))
        except OSError:  # gone, perhaps with its folder
            return False

    def release(self) -> None:
        try:
            if self._is_ours():
                with suppress(FileNotFoundError):
                    self._path.unlink()
        finally:
            os.close(self._file)


def _read(file: int) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    return os.read(file, 300).decode(errors="replace")


def _try_lock(file: int) -> bool:
    try:
        import fcntl
    except ImportError:  # not on Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        weakness("files cannot be locked here: a second process at work in the folder is not noticed")
    return True
