"""Results on disk: datasets as netCDF, and the manifest of a run.

The folder of a run holds `CASE.nc`, figures, `claims.json`, `sweep.toml` (the resolved sweep) and `manifest.json`, and
until all is done `chunks/`. A case is done when the manifest says so and the file's checksum agrees, never because a
file exists.
"""

import errno
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from superjax.files import checksum, finite, remove_if_empty, remove_leftovers, write_atomically, write_json, write_text
from superjax.lock import Lock
from superjax.spec import Sweep, SweepError, parse
from superjax.spec.errors import clip

if TYPE_CHECKING:
    import xarray as xr

MANIFEST = "manifest.json"
_SEAL = "sha256"  # the attribute of a file with the checksum of its contents
_PIECE = 2**22  # bytes written at a time


def write_dataset(path: Path, dataset: "xr.Dataset", announce: Callable[[str], object] = lambda checksum: None) -> None:
    """netCDF-4 with a checksum of everything in it, read back before it replaces what is at `path`; `announce` is told
    the checksum of the file then. Raises OSError as `write_atomically` does, also if the file holds something else
    than was written."""
    encoding = {name: _storage(v) for name, v in dataset.variables.items() if v.ndim and v.dtype.kind != "U"}
    sealed = dataset.assign_attrs({_SEAL: _digest_of(dataset)})

    size = int(1.1 * dataset.nbytes) + 2**19

    def write(temporary: Path) -> None:
        _fill(temporary, size)
        sealed.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
        _verify(temporary, sealed.attrs[_SEAL])
        announce(checksum(temporary))

    write_atomically(path, write, size)


def _storage(variable: "xr.Variable") -> dict[str, Any]:
    """With checksums, in equal pieces along the first dimension."""
    length, *rest = variable.shape
    pieces = min(length, -(-variable.nbytes // _PIECE))
    return {"fletcher32": True, "chunksizes": (-(-length // max(pieces, 1)), *rest)}


def _fill(file: Path, size: int) -> None:
    """Raises OSError if a file cannot be so large: HDF5 takes the process with it when it finds out itself."""
    zeros = bytes(min(size, _PIECE))
    with open(file, "wb") as full:
        for start in range(0, size, len(zeros)):
            full.write(zeros[: size - start])


def open_dataset(path: str | os.PathLike[str]) -> "xr.Dataset":
    """A dataset that a run wrote, loaded into memory, compared with the checksum that it carries, and with that of the
    file in the manifest beside it, if there is one. Others that xarray can read are opened unchecked.

    Raises SweepError if there is no such file, it is no dataset, or not what the run wrote.
    """
    import xarray as xr

    _refuse_another_file(Path(path))
    try:
        with xr.open_dataset(path, engine="h5netcdf") as file:
            dataset = file.load()
        seal = dataset.attrs.pop(_SEAL, None)
        intact = seal is None or seal == _digest_of(dataset)
    except FileNotFoundError:
        raise SweepError(f"{os.fspath(path)}: no such file") from None
    except Exception as error:  # h5netcdf lets many kinds through where the structure of a file is damaged
        raise SweepError(f"{os.fspath(path)}: is damaged, or no dataset: {clip(str(error))}") from None
    if not intact:
        raise _not_what_was_written(os.fspath(path))
    return dataset


def _verify(path: Path, seal: str) -> None:
    """Raises OSError if the contents of a file are not those with that checksum."""
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf", cache=False) as stored:
        if stored.attrs.pop(_SEAL) != seal or _digest_of(stored) != seal:
            raise OSError(errno.EIO, "reads back differently from what was written", str(path))


def _digest_of(dataset: "xr.Dataset") -> str:
    """SHA-256 of all names, dimensions, attributes and arrays, the same before and after they are stored."""
    digest = hashlib.sha256(_canonical(dataset.attrs))
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        values, text = np.asarray(variable.values), variable.dtype.kind in "OTU"
        head = [name, variable.dims, values.shape, "text" if text else values.dtype.str]
        digest.update(json.dumps(head).encode() + _canonical(variable.attrs))
        digest.update(json.dumps(values.tolist()).encode() if text else np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _canonical(attributes: Mapping[Any, Any]) -> bytes:
    values = {str(key): np.asarray(value).tolist() for key, value in attributes.items()}
    return json.dumps(values, sort_keys=True).encode()


def _refuse_another_file(path: Path) -> None:
    try:
        entry = _read_manifest(path.parent / MANIFEST)["cases"][path.stem]
    except (SweepError, TypeError, KeyError):
        return
    if "sha256" in entry and path.is_file() and checksum(path) not in (entry["sha256"], entry.get("coming")):
        raise _not_what_was_written(str(path))


def _not_what_was_written(path: str) -> SweepError:
    return SweepError(f"{path}: is damaged, it is not what the run wrote; the sweep's command makes it again")


@contextmanager
def timed(seconds: dict[str, float], phase: str):
    """Add the seconds that the body takes to a phase."""
    start = time.perf_counter()
    yield
    seconds[phase] = seconds.get(phase, 0.0) + time.perf_counter() - start


def chunk_folder(folder: Path, case: str) -> Path:
    """Where a run keeps the chunks of a case until its dataset is written."""
    return folder / "chunks" / case


class Run:
    """The folder of one run, its manifest and its lock. Nothing is written before `begin`.

    An entry of the manifest's `cases` has `done`; of a case that is, the SHA-256 of its file; and `chunks`, how many
    models were trained at once, which a run keeps that goes on.
    """

    def __init__(self, folder: Path, sweep: Sweep, fresh: bool = False, warn: Callable[[str], object] = print):
        """Raises SweepError if another process is at work in the folder, or if it holds a run with other settings
        (unless `fresh`) or an unreadable one."""
        self.folder, self.sweep, self._fresh, self.warn = folder, sweep, fresh, warn
        self._lock: Lock | None = None
        self._stale: list[Path] = []
        self.manifest: dict[str, Any] = {}
        try:
            if folder.exists() and not folder.is_dir():
                raise SweepError(f"{folder}: is a file, must be a folder for results; choose another with --out")
            if folder.exists():
                self._lock = Lock(folder)
            self._read()
        except SweepError:
            self.end()
            raise
        except OSError as error:
            self.end()
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> SweepError:
        return SweepError(f"{self.folder}: cannot be written: {error.strerror}; choose another with --out")

    def _read(self) -> None:
        self.manifest = {"cases": {}, "files": [], "finished": False}
        if not (self.folder / MANIFEST).exists():
            return
        try:
            manifest = _read_manifest(self.folder / MANIFEST)
        except SweepError:
            if not self._fresh:
                raise
            return
        if self._fresh:
            self._stale = [self.folder / Path(name).name for name in manifest["files"]]
            self._stale += [self.path(case) for case in manifest["cases"]]
        else:
            _refuse_differences(self.folder, self.sweep, parse(manifest["settings"], self.folder / "sweep.toml"))
            self.manifest = manifest

    def begin(self, size: int = 0) -> None:
        """Make the folder, clear it of the run that `fresh` replaces, and record the settings.

        Raises SweepError if the folder cannot be written or has no room for about `size` bytes, or another process
        was faster.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._lock is None:
                self._lock = Lock(self.folder)
                if (self.folder / MANIFEST).exists():
                    raise SweepError(f"{self.folder}: another process has just been at work here; try again")
            remove_leftovers(self.folder)
            free = shutil.disk_usage(self.folder).free
            free += sum(file.stat().st_size for file in self._stale if file.exists())
            if free < size:
                raise SweepError(
                    f"{self.folder}: needs about {size:,} bytes, {free:,} are free; make room, or choose another "
                    "folder with --out"
                )
            if self._fresh:
                (self.folder / MANIFEST).unlink(missing_ok=True)  # the old run ends here
            for file in self._stale:
                file.unlink(missing_ok=True)
            for case in (path.name for path in chunk_folder(self.folder, "").glob("*/")):
                if self._fresh or self.manifest["cases"].get(case, {"done": True})["done"]:
                    self.remove_chunks(case)
            remove_if_empty(chunk_folder(self.folder, ""))
            if not all(self.entry(case)["done"] for case in self.sweep.cases):
                self.manifest["finished"] = False
            settings = self.sweep.to_toml()
            write_text(self.folder / "sweep.toml", settings)
            self.save(settings=settings)
        except OSError as error:
            raise self._unwritable(error) from None

    def end(self) -> None:
        """Let another process have the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def note(self, environment: dict[str, Any]) -> None:
        """Record what the run is made with; warn if it was begun with other versions."""
        self.manifest["starts"] = self.manifest.get("starts", 0) + 1
        here, began = map(_what_decides_digits, (environment, self.manifest.setdefault("environment", environment)))
        changed = [f"{name} {began.get(name)}, now {here[name]}" for name in here if began.get(name) != here[name]]
        if changed:
            self.warn(f"{self.folder}: begun with {'; '.join(changed)}: numbers may differ in the last digits")
            self.manifest.setdefault("continued", []).append(environment)
        self.save()

    def check_code(self, case: str, kind: str, code: str) -> None:
        """Record the code of a case's model. Raises SweepError if it was trained, or begun, with another."""
        if self.entry(case).setdefault("code", code) != code:
            raise SweepError(
                f"{self.folder}: holds a run of another {kind}, its file has changed since\n"
                "  start over with --fresh, or choose another folder with --out"
            )

    def save(self, **entries: Any) -> None:
        self.manifest |= entries
        manifest = finite(self.manifest)
        write_json(self.folder / MANIFEST, {**manifest, "sha256": _digest(manifest)})

    def entry(self, case: str) -> dict[str, Any]:
        """What the manifest says of a case; can be changed before the next `save`."""
        return self.manifest["cases"].setdefault(case, {"done": False, "chunks": {}})

    def path(self, case: str) -> Path:
        return self.folder / f"{case}.nc"

    def missing(self, case: str) -> str:
        """Why there is nothing to draw of a case: "" if it is recorded as done and its dataset is what was written."""
        entry, path = self.entry(case), self.path(case)
        if not entry["done"]:
            return f"{case} has not been run"
        if not path.is_file():
            return f"{path.name} is gone"
        if (there := checksum(path)) == entry.get("coming"):
            entry["sha256"] = entry.pop("coming")
        return "" if there == entry["sha256"] else f"{path.name} is damaged"

    def undo(self, case: str) -> None:
        """A case is to be trained again."""
        self.entry(case)["done"] = False

    def store(self, case: str, dataset: "xr.Dataset", **entries: Any) -> None:
        """Write a case's dataset, read it back, record it as done, and remove the chunks it was made of."""
        entry = self.entry(case)

        def announce(coming: str) -> None:  # or a death before the last line would leave a file that is not recorded
            entry["coming"] = coming
            self.save()

        write_dataset(self.path(case), dataset, announce)
        entry.update(entries, done=True, sha256=entry.pop("coming"))
        self.save()
        self.remove_chunks(case)

    def remove_chunks(self, case: str) -> None:
        """Remove the files of a case's chunks, and their folders if nothing of somebody else's is there."""
        whole = chunk_folder(self.folder, case)
        for task in [*whole.glob("*/"), whole, whole.parent]:
            for file in task.glob("*.chunk"):
                file.unlink(missing_ok=True)
            remove_leftovers(task)
            remove_if_empty(task)


def environment() -> dict[str, Any]:
    """Versions and devices of this process."""
    import jax

    devices = jax.devices()
    packages = ("superjax", "jax", "jaxlib", "optax", "equinox", "numpy", "xarray")
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "cores": os.cpu_count(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _what_decides_digits(environment: dict[str, Any]) -> dict[str, str]:
    """Versions, and the kind of device without how many there are."""
    return {**environment["versions"], "device": environment["device"].partition(" x ")[2]}


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
        if manifest.pop("sha256") != _digest(manifest):
            raise ValueError
    except OSError as error:
        raise SweepError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise SweepError(
            f"{path}: is damaged; start over with --fresh, or choose another folder with --out; without it the run "
            "goes on with its chunks"
        ) from None
    return manifest


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _refuse_differences(folder: Path, sweep: Sweep, stored: Sweep) -> None:
    differences = sweep.differences(stored)
    if differences:
        shown = differences[:3] + ([f"and {len(differences) - 3} more"] if len(differences) > 3 else [])
        lines = "\n".join(f"  {line}" for line in shown)
        raise SweepError(
            f"{folder}: holds a run with other settings\n{lines}\n"
            "  start over with --fresh, or choose another folder with --out"
        )
