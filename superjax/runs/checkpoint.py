"""Chunks of models, kept while a run is under way, so that one that is killed goes on where it was.

A chunk is kept once it is trained and evaluated, and from time to time while it trains. `Memory` keeps chunks in this
process; `Folder` in one file each, written in one step and checked when read: a file that is damaged, or another
run's, counts for nothing.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from superjax.disk.files import (
    inside,
    kind_of,
    make_folders,
    open_plain,
    remove_if_empty,
    remove_leftovers,
    write_bytes,
)
from superjax.runs import reading
from superjax.runs.reading import Damaged
from superjax.system import interrupt

_MAGIC = b"superjax chunk 2\n"
_LONGEST = 2**20  # bytes of what a chunk says of itself
SUFFIX, _DAMAGED = ".chunk", ".damaged"
_SECONDS = 0.25  # between two savings of chunks that train, less than a call takes; or more, so that it takes at most
_SHARE = 0.05  # of the time


class Saved(NamedTuple):
    """A chunk after `step` steps: the state of training, or, if `done`, the trained and evaluated models."""

    done: bool
    step: int
    arrays: list[np.ndarray]


class Layout(NamedTuple):
    """What a chunk is found to be before its arrays are read: their types and shapes."""

    done: bool
    step: int
    arrays: list[tuple[np.dtype, tuple[int, ...]]]


Fits = Callable[[int, Layout], bool]


@runtime_checkable
class Keep(Protocol):
    """Where the chunks of one training are kept, by number. `fits` says whether a chunk can be the one of a number."""

    fits: Fits

    def done(self, chunk: int) -> bool:
        """Whether the chunk is trained and evaluated."""
        ...

    def settled(self, chunk: int) -> bool:
        """Whether another process has nothing more to do for the chunk: done, or saved and unusable."""
        ...

    def load(self, chunk: int) -> Saved | None:
        """The chunk as last saved, None if there is nothing usable. Done ones are asked for once."""
        ...

    def save(self, chunk: int, saved: Saved) -> None: ...

    def due(self) -> bool:
        """Whether chunks that train should be saved now."""
        ...

    def took(self, seconds: float) -> None:
        """So long it took to save all that train."""
        ...


def _anything(chunk: int, layout: Layout) -> bool:
    return True


class Memory:
    """Keeps finished chunks until they are asked for."""

    def __init__(self):
        self._saved: dict[int, Saved] = {}
        self.fits: Fits = _anything

    def done(self, chunk: int) -> bool:
        return chunk in self._saved

    settled = done

    def load(self, chunk: int) -> Saved | None:
        return self._saved.pop(chunk, None)

    def save(self, chunk: int, saved: Saved) -> None:
        self._saved[chunk] = saved

    def due(self) -> bool:
        return False

    def took(self, seconds: float) -> None:
        pass


class Folder:
    """Keeps chunks in files. `key` names the training: a file with another key is another's, and does not count.

    Nothing that was trained is deleted: a damaged file is set aside, and removed with the others, or stays where it is
    if this is to `look_only`. Folders are made below `root`, that in which `path` is unless it is given.
    """

    def __init__(
        self, path: Path, key: str, warn: Callable[[str], object], root: Path | None = None, look_only: bool = False
    ):
        self.path, self.key, self._warn, self._root = path, key, warn, root or path.parent
        self._look_only = look_only
        self.fits: Fits = _anything
        self._due = time.monotonic() + _SECONDS
        self._done: set[int] = set()
        self._settled: set[int] = set()
        self._seen: dict[int, int] = {}  # when a file that is not settled was written

    def file(self, chunk: int) -> Path:
        return self.path / f"{chunk:06d}{SUFFIX}"

    def done(self, chunk: int) -> bool:
        if chunk not in self._done:
            saved = self.load(chunk)
            if saved is not None and saved.done:
                self._done.add(chunk)
        return chunk in self._done

    def settled(self, chunk: int) -> bool:
        if chunk in self._settled or chunk in self._done:
            return True
        try:
            if (written := os.lstat(self.file(chunk)).st_mtime_ns) == self._seen.get(chunk):
                return False
            self._seen[chunk] = written
            settled = self._read(chunk).done
        except FileNotFoundError:
            return False
        except (OSError, Damaged):
            settled = True
        if settled:
            self._settled.add(chunk)
        return settled

    def load(self, chunk: int) -> Saved | None:
        file = self.file(chunk)
        try:
            return self._read(chunk)
        except FileNotFoundError:
            return None
        except Damaged as error:
            self._warn(f"{file}: {error}; these models are trained again")
        except OSError as error:
            self._warn(f"{file}: cannot be read, {error.strerror}; these models are trained again")
        with suppress(OSError):
            if kind_of(file) == "file" and not self._look_only:
                file.replace(file.with_suffix(_DAMAGED))
        return None

    def _read(self, chunk: int) -> Saved:
        with open_plain(self.file(chunk)) as file:
            return _unpack(file, self.key, chunk, self.fits)

    def save(self, chunk: int, saved: Saved) -> None:
        """Raises OSError with the path and the size if there is no room."""
        make_folders(self.path, self._root)
        write_bytes(self.file(chunk), _pack(saved, self.key, chunk))

    def due(self) -> bool:
        return interrupt.pending() or time.monotonic() >= self._due

    def took(self, seconds: float) -> None:
        self._due = time.monotonic() + max(_SECONDS, seconds / _SHARE)


def any_in(folder: Path) -> bool:
    """Whether there are chunks anywhere in a folder."""
    return any(next(path.glob(f"*{SUFFIX}"), None) for path in inside(folder))


def remove(folder: Path) -> None:
    """Remove all chunks in a folder, and the folders, itself too, in which there is nothing of somebody else's."""
    for path in inside(folder):
        for suffix in (SUFFIX, _DAMAGED):
            for file in path.glob(f"*{suffix}"):
                if kind_of(file) not in ("folder", ""):
                    file.unlink(missing_ok=True)
        remove_leftovers(path)
        remove_if_empty(path)


def _pack(saved: Saved, key: str, chunk: int) -> bytes:
    """Magic line, SHA-256 of the rest: a line of JSON with whose chunk it is and what its arrays are, the arrays."""
    arrays = [np.ascontiguousarray(array).reshape(np.shape(array)) for array in saved.arrays]
    head = {"key": key, "chunk": chunk, "done": saved.done, "step": saved.step}
    head["arrays"] = [[array.dtype.name, array.shape] for array in arrays]
    content = b"".join([json.dumps(head).encode(), b"\n", *(array.tobytes() for array in arrays)])
    return b"".join([_MAGIC, hashlib.sha256(content).digest(), content])


def _unpack(file: BufferedReader, key: str, chunk: int, fits: Fits) -> Saved:
    """Raises ValueError that says why it is not this chunk. Its arrays are read only if the file is as long as they
    are, and they as large as they should be."""
    magic, digest = file.read(len(_MAGIC)), file.read(hashlib.sha256().digest_size)
    if magic != _MAGIC:
        raise Damaged("is damaged")
    head = reading.chunk(line := file.readline(_LONGEST))
    layout = Layout(head.done, head.step, head.layout())
    size = sum(dtype.itemsize * math.prod(shape) for dtype, shape in layout.arrays)
    if os.fstat(file.fileno()).st_size != file.tell() + size:
        raise Damaged("is damaged")
    if (head.key, head.chunk) != (key, chunk):
        raise Damaged("belongs to another run")
    if not fits(chunk, layout):
        raise Damaged("has other models or steps than this run")
    whole, arrays = hashlib.sha256(line), []
    for dtype, shape in layout.arrays:
        arrays.append(np.empty(shape, dtype))
        content = arrays[-1].reshape(-1).view(np.uint8)
        file.readinto(content)
        whole.update(content)
    if whole.digest() != digest:
        raise Damaged("is damaged")
    return Saved(layout.done, layout.step, arrays)
