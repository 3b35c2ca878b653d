"""Files written all or nothing, their checksums, and what a process that was killed leaves of them."""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_TEMPORARY = ".tmp"


def write_atomically(path: Path, write: Callable[[Path], object], size: int) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place: readers see all of it or the old one.

    Raises OSError with the path, and the `size` in bytes it was to have, if there is no room or no permission.
    """
    temporary = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_TEMPORARY, dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if "bytes were to be written" in (reason := error.strerror or str(error)):  # of another file meanwhile
            raise
        raise OSError(error.errno, f"{reason} ({size:,} bytes were to be written)", str(path)) from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


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


def checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of a process that was killed."""
    for file in folder.glob(f".*{_TEMPORARY}"):
        file.unlink(missing_ok=True)


def remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # not there, or not empty
        folder.rmdir()
