"""Chunks of models, kept while a run is under way, so that one that is killed goes on where it was.

A chunk is kept once it is trained and evaluated, and from time to time while it trains. `Memory` keeps chunks in this
process; `Folder` in one file each, written in one step and checked when read: a file that is damaged, or another
run's, counts for nothing.
"""

import hashlib
import io
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from superjax import interrupt
from superjax.files import write_bytes

_MAGIC = b"superjax chunk 1\n"
_SECONDS = 0.25  # between two savings of chunks that train, less than a call takes; or more, so that it takes at most
_SHARE = 0.05  # of the time


class Saved(NamedTuple):
    """A chunk after `step` steps: the state of training, or, if `done`, the trained and evaluated models."""

    done: bool
    step: int
    arrays: list[np.ndarray]


@runtime_checkable
class Keep(Protocol):
    """Where the chunks of one training are kept, by number."""

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


class Memory:
    """Keeps finished chunks until they are asked for."""

    def __init__(self):
        self._saved: dict[int, Saved] = {}

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
    """Keeps chunks in files. `key` names the training: a file with another key is another's, and does not count."""

    def __init__(self, path: Path, key: str, warn: Callable[[str], object]):
        self.path, self.key, self._warn = path, key, warn
        self._due = time.monotonic() + _SECONDS
        self._done: set[int] = set()
        self._settled: set[int] = set()
        self._seen: dict[int, int] = {}  # when a file that is not settled was written

    def file(self, chunk: int) -> Path:
        return self.path / f"{chunk:06d}.chunk"

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
            if (written := self.file(chunk).stat().st_mtime_ns) == self._seen.get(chunk):
                return False
            self._seen[chunk] = written
            settled = _unpack(self.file(chunk).read_bytes(), self.key, chunk).done
        except FileNotFoundError:
            return False
        except (OSError, ValueError):
            settled = True
        if settled:
            self._settled.add(chunk)
        return settled

    def load(self, chunk: int) -> Saved | None:
        file = self.file(chunk)
        try:
            return _unpack(file.read_bytes(), self.key, chunk)
        except FileNotFoundError:
            return None
        except ValueError as error:
            self._warn(f"{file}: {error}; these models are trained again")
        except OSError as error:
            self._warn(f"{file}: cannot be read, {error.strerror}; these models are trained again")
        with suppress(OSError):
            file.unlink()
        return None

    def save(self, chunk: int, saved: Saved) -> None:
        """Raises OSError with the path and the size if there is no room."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_bytes(self.file(chunk), _pack(saved, self.key, chunk))

    def due(self) -> bool:
        return interrupt.pending() or time.monotonic() >= self._due

    def took(self, seconds: float) -> None:
        self._due = time.monotonic() + max(_SECONDS, seconds / _SHARE)


def _pack(saved: Saved, key: str, chunk: int) -> bytes:
    """Magic line, SHA-256 of the rest, and an `.npz` of whose chunk it is and its arrays."""
    head = {"key": np.array(key), "chunk": np.array(chunk), "done": np.array(saved.done), "step": np.array(saved.step)}
    buffer = io.BytesIO()
    np.savez(buffer, **head, **{f"array{i}": array for i, array in enumerate(saved.arrays)})
    content = buffer.getvalue()
    return b"".join([_MAGIC, hashlib.sha256(content).digest(), content])


def _unpack(content: bytes, key: str, chunk: int) -> Saved:
    """Raises ValueError that says why it is not this chunk."""
    start = len(_MAGIC) + hashlib.sha256().digest_size
    digest, payload = content[len(_MAGIC) : start], memoryview(content)[start:]
    if content[: len(_MAGIC)] != _MAGIC or hashlib.sha256(payload).digest() != digest:
        raise ValueError("is damaged")
    with np.load(io.BytesIO(payload), allow_pickle=False) as stored:
        if (str(stored["key"]), int(stored["chunk"])) != (key, chunk):
            raise ValueError("belongs to another run")
        arrays = [stored[f"array{i}"] for i in range(len(stored.files) - 4)]
        return Saved(bool(stored["done"]), int(stored["step"]), arrays)
