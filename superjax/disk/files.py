"""Files written all or nothing and read without following links; what a process that was killed leaves of them.

Network mounts may lack what makes a promise hold (syncing to disk, locks): they are used all the same, and
`weaknesses` says once what that costs.
"""

import errno
import hashlib
import json
import math
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

_TEMPORARY = ".superjax-{}.tmp"  # short, whatever the file's name, which may be as long as a name can be
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EBADF)
_KINDS = {stat.S_IFDIR: "folder", stat.S_IFLNK: "link", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
# Links are not followed, pipes not waited for. Other systems than POSIX may lack these.
NO_SURPRISES = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))
_weak: dict[str, bool] = {}  # what a file system lacks, and whether it was said


def write_atomically(path: Path, write: Callable[[Path], object], size: int) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place: readers see all of it or the old one.
    What is at `path` is replaced, a link too; the new file has the permissions that the user's umask leaves.

    Raises OSError with the path, and the `size` in bytes it was to have, if there is no room or no permission.
    """
    temporary = None
    try:
        temporary = create_beside(path)
        write(temporary)
        with open(temporary, "rb+") as file, _where_there_is("files"):
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if "bytes were to be written" in (reason := error.strerror or str(error)):  # of another file meanwhile
            raise
        raise OSError(error.errno, f"{reason} ({size:,} bytes were to be written)", str(path)) from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def create_beside(path: Path) -> Path:
    """A new, empty temporary file in the folder of `path`."""
    temporary = path.parent / _TEMPORARY.format(secrets.token_hex(8))
    os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_SURPRISES, 0o666))
    return temporary


@contextmanager
def _where_there_is(what: str):
    try:
        yield
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        weakness(f"{what} cannot be synced to the disk here: a power cut may undo what was just written")


def _sync_folder(path: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    with _where_there_is("folders"):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def weakness(what: str) -> None:
    """Note that the file system lacks something."""
    _weak.setdefault(what, False)


def weaknesses() -> list[str]:
    """What was noted and not yet said."""
    new = [what for what, said in _weak.items() if not said]
    _weak.update(dict.fromkeys(new, True))
    return new


def write_bytes(path: Path, content: bytes) -> None:
    write_atomically(path, lambda temporary: temporary.write_bytes(content), len(content))


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """JSON as every parser reads it: what is not finite becomes null."""
    write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """The same for JSON, null for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def open_plain(path: Path) -> BufferedReader:
    """A file for reading. Raises OSError if there is none, or a link, a pipe or the like in its place."""
    descriptor = os.open(path, os.O_RDONLY | NO_SURPRISES | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no file", str(path))
    return os.fdopen(descriptor, "rb")


def kind_of(path: Path) -> str:
    """What is at a path, without following links: "file", "folder", "link", ..., "" if there is nothing."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return ""
    return "file" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "device")


def make_folders(path: Path, root: Path) -> None:
    """Make a folder and those between it and `root`, which must be there. Raises OSError if one is a link."""
    for folder in [*(up for up in reversed(path.parents) if up.is_relative_to(root)), path]:
        if (kind := kind_of(folder)) == "" and folder != root:
            with suppress(FileExistsError):  # another process was faster
                folder.mkdir()
        elif kind != "folder" and folder != root:
            raise NotADirectoryError(errno.ENOTDIR, f"is a {kind}, must be a folder", str(folder))


def checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(folder: Path) -> Iterator[Path]:
    """All folders in a folder, deepest first, and itself at the end; none if it is a link, nor what links lead to."""
    if kind_of(folder) == "folder":
        for path, _, _ in os.walk(folder, topdown=False):
            yield Path(path)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of a process that was killed."""
    for file in folder.glob(_TEMPORARY.format("*")):
        if kind_of(file) == "file":
            file.unlink(missing_ok=True)


def remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # not there, or not empty
        folder.rmdir()
