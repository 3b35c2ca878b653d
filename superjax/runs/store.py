"""Results on disk: datasets as netCDF, and the manifest of a run.

The folder of a run holds `CASE.nc`, figures, `claims.json`, `sweep.toml` (the resolved sweep) and `manifest.json`, and
until all is done `chunks/`. A case is done when the manifest says so and the file's checksum agrees, never because a
file exists.

Nothing that was trained is deleted unless `--fresh` says so: chunks are kept under a key of all that decides them,
those of other settings or code lie beside them, and a dataset that the manifest does not know is refused, not replaced.
A case's own chunks go once its dataset is written. The folder, which may be a link, is the user's choice; within it no
link is followed.
"""

import errno
import hashlib
import json
import os
import platform
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from superjax.disk import lock
from superjax.disk.files import (
    checksum,
    finite,
    inside,
    kind_of,
    make_folders,
    remove_if_empty,
    remove_leftovers,
    weaknesses,
    write_atomically,
    write_json,
    write_text,
)
from superjax.disk.lock import Lock
from superjax.errors import clip
from superjax.runs import checkpoint, reading
from superjax.spec import Case, Sweep, SweepError, parse
from superjax.system import machine

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


def open_dataset(path: str | os.PathLike[str], case: Case | None = None) -> "xr.Dataset":
    """A dataset that a run wrote, loaded into memory, compared with the checksum that it carries, and with that of the
    file in the manifest beside it, if there is one. Others that xarray can read are opened unchecked, but if it must
    be that of a `case`.

    Raises SweepError if there is no such file, it is no dataset, or not what the run wrote.
    """
    import xarray as xr

    shown = os.fspath(path)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise SweepError(f"{shown}: no such file") from None
    except (OSError, ValueError) as error:
        raise SweepError(f"{shown!r}: cannot be read: {clip(str(error))}") from None
    if not stat.S_ISREG(found.st_mode):
        raise SweepError(f"{shown}: is no file, must be a dataset")
    _refuse_another_file(Path(path))
    try:
        with xr.open_dataset(path, engine="h5netcdf") as file:
            seal = file.attrs.pop(_SEAL, None)
            small = seal is None or file.nbytes < 8 * found.st_size  # nothing is compressed
            dataset = file.load() if small else file
        intact = small and (case is None if seal is None else bool(seal == _digest_of(dataset)))
    except Exception as error:  # h5netcdf lets many kinds through where the structure of a file is damaged
        raise SweepError(f"{shown}: is damaged, or no dataset: {clip(str(error))}") from None
    if not intact:
        raise _not_what_was_written(shown)
    if case is not None and (why := reading.misfit(dataset, case)):
        raise SweepError(f"{shown}: is not of the run's settings, {why}; start over with --fresh")
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
        known = _checksums(reading.manifest(path.parent / MANIFEST)["cases"].get(path.stem, {}))
    except (OSError, reading.Damaged):
        return
    if known and checksum(path) not in known:
        raise _not_what_was_written(str(path))


def _not_what_was_written(path: str) -> SweepError:
    return SweepError(f"{path}: is damaged, it is not what the run wrote; the sweep's command makes it again")


@contextmanager
def timed(seconds: dict[str, float], phase: str):
    """Add the seconds that the body takes to a phase."""
    start = time.perf_counter()
    yield
    seconds[phase] = seconds.get(phase, 0.0) + time.perf_counter() - start


def chunk_folder(folder: Path, case: str, key: str) -> Path:
    """Where a run keeps the chunks of a case until its dataset is written; `key` names all that decides them."""
    return folder / "chunks" / case / key[:16]


class Run:
    """The folder of one run, its manifest (`reading.Manifest`) and its lock. Nothing is written before `begin`."""

    def __init__(self, folder: Path, sweep: Sweep, fresh: bool = False, warn: Callable[[str], object] = print):
        """Raises SweepError if another process is at work in the folder, or if it holds a run with other settings
        (unless `fresh`), an unreadable one, datasets of an unknown one (unless `fresh`), or links."""
        self.folder, self.sweep, self._fresh, self.warn = folder, sweep, fresh, warn
        self._lock: Lock | None = None
        self._stale: list[Path] = []
        self.manifest: dict[str, Any] = {"cases": {}, "files": [], "finished": False}
        try:
            if folder.exists() and not folder.is_dir():
                raise SweepError(f"{folder}: is a file, must be a folder for results; choose another with --out")
            if folder.exists():
                _refuse_strangers(folder)
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
        own = self.folder / "sweep.toml"
        if own.exists() and self.sweep.path.exists() and own.samefile(self.sweep.path):
            raise SweepError(f"{own}: is where the run would write its own; rename it, or choose another --out")
        manifest = None
        if kind_of(self.folder / MANIFEST):
            try:
                manifest = _read_manifest(self.folder / MANIFEST)
            except SweepError:
                if not self._fresh:
                    raise
        if self._fresh:
            names = manifest or self.manifest
            self._stale = [self.folder / name for name in names["files"]]
            self._stale += [self.path(case) for case in {*names["cases"], *self.sweep.cases}]
            return
        if manifest:
            _refuse_differences(self.folder, self.sweep, manifest)
            self.manifest = manifest
        for case in self.sweep.cases:
            there = [name for name in (f"{case}.nc", f"{case}.png") if kind_of(self.folder / name)]  # and names fit
            if f"{case}.nc" in there and not {"sha256", "coming"}.intersection(self.entry(case)):
                raise SweepError(
                    f"{self.path(case)}: the manifest does not say what made it, and it is not replaced\n"
                    "  move it away, start over with --fresh, or choose another folder with --out"
                )

    def begin(self, size: int = 0, cases: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Make the folder, clear it of the run that `fresh` replaces, and record the settings, and of `cases` that are
        to be trained what is known beforehand (`reading.Entry`).

        Raises SweepError if the folder cannot be written or has no room for about `size` bytes, or another process
        was faster.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._lock is None:
                self._lock = Lock(self.folder)
                if kind_of(self.folder / MANIFEST):
                    raise SweepError(f"{self.folder}: another process has just been at work here; try again")
            for folder in (self.folder, *inside(self._chunks)):
                remove_leftovers(folder)
            self._refuse_without_room(size)
            if self._fresh:
                (self.folder / MANIFEST).unlink(missing_ok=True)  # the old run ends here
                checkpoint.remove(self._chunks)
            for file in self._stale:
                file.unlink(missing_ok=True)
            self.manifest["cases"] = {case: self.entry(case) for case in self.sweep.cases}
            for case, entries in (cases or {}).items():
                self.manifest["cases"][case].update(entries, done=False)
                make_folders(chunk_folder(self.folder, case, entries["key"]), self.folder)
            for case, entry in self.manifest["cases"].items():
                if entry["done"]:
                    self._remove_chunks(case)  # of a process that was killed just before
            others = [case for case in self.sweep.cases if self._chunks_of_others(case)]
            if others:
                self.warn(
                    f"{self._chunks}: keeps chunks of {clip(', '.join(others))} that were trained with other settings "
                    "or code, and are not used; --fresh removes them"
                )
            if not all(entry["done"] for entry in self.manifest["cases"].values()):
                self.manifest["finished"] = False
            settings = self.sweep.to_toml()
            write_text(self.folder / "sweep.toml", settings)
            self.save(settings=settings)
        except NotADirectoryError as error:
            raise SweepError(f"{error.filename}: {error.strerror}; choose another folder with --out") from None
        except OSError as error:
            raise self._unwritable(error) from None

    def _refuse_without_room(self, size: int) -> None:
        try:
            total, _, free = shutil.disk_usage(self.folder)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
                raise
            return
        free += sum(os.lstat(file).st_size for file in self._stale if kind_of(file))
        if total and free < size:  # some network mounts say 0 for "unknown"
            raise SweepError(
                f"{self.folder}: needs about {size:,} bytes, {free:,} are free; make room, or choose another "
                "folder with --out"
            )

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

    def refuse_other_code(self, codes: Mapping[str, str]) -> None:
        """Raises SweepError if a case was trained, or begun, with other code of its model than that in `codes`."""
        for case, code in codes.items():
            if self.entry(case).get("code", code) != code:
                raise SweepError(
                    f"{self.folder}: holds a run of another {self.sweep.cases[case].model.kind}, its code has changed "
                    "since\n  start over with --fresh, or choose another folder with --out"
                )

    def save(self, **entries: Any) -> None:
        self.manifest |= entries
        manifest = finite(self.manifest)
        write_json(self.folder / MANIFEST, {**manifest, "sha256": reading.seal(manifest)})
        for weakness in weaknesses():
            self.warn(f"{self.folder}: {weakness}")

    def entry(self, case: str) -> dict[str, Any]:
        """What the manifest says of a case (`reading.Entry`)."""
        return self.manifest["cases"].get(case, {"done": False, "chunks": {}})

    def path(self, case: str) -> Path:
        return self.folder / f"{case}.nc"

    def missing(self, case: str) -> str:
        """Why there is nothing to draw of a case: "" if it is recorded as done and its dataset is what was written."""
        entry, path = self.entry(case), self.path(case)
        if not entry["done"]:
            return f"{case} has not been run"
        if kind_of(path) != "file":
            return f"{path.name} is gone"
        return "" if checksum(path) in _checksums(entry) else f"{path.name} is damaged"

    def store(self, case: str, dataset: "xr.Dataset") -> None:
        """Write a case's dataset, read it back, record it as done, and remove the chunks it was made of."""
        entry = self.manifest["cases"][case]

        def announce(coming: str) -> None:  # or a death before the last line would leave a file that is not recorded
            path = self.path(case)
            if "coming" in entry and kind_of(path) == "file" and checksum(path) == entry["coming"]:
                entry["sha256"] = entry["coming"]  # after such a death
            entry["coming"] = coming
            self.save()

        write_dataset(self.path(case), dataset, announce)
        entry.update(done=True, sha256=entry.pop("coming"))
        self.save()
        self._remove_chunks(case)

    def record(self, case: str, entries: Mapping[str, Any]) -> None:
        """More of what the manifest says of a case."""
        self.manifest["cases"][case].update(entries)
        self.save()

    @property
    def _chunks(self) -> Path:
        return self.folder / "chunks"

    def _remove_chunks(self, case: str) -> None:
        if key := self.entry(case).get("key"):
            own = chunk_folder(self.folder, case, key)
            checkpoint.remove(own)
            for folder in (own.parent, self._chunks):
                remove_if_empty(folder)

    def _chunks_of_others(self, case: str) -> bool:
        own = chunk_folder(self.folder, case, self.entry(case).get("key", ""))
        folder = self._chunks / case
        return any(checkpoint.any_in(path) for path in folder.glob("*/") if path != own) if folder.is_dir() else False


def _refuse_strangers(folder: Path) -> None:
    """Raises SweepError if in the place of something that a run would write, or remove, there is no file or folder:
    what a link leads to is somebody else's."""
    places = [(folder / "chunks", "folder")]
    for path in folder.iterdir():
        if path.suffix in (".nc", ".png") or path.name in (MANIFEST, lock.NAME, "sweep.toml", "claims.json"):
            places.append((path, "file"))
    for path, folders, files in os.walk(folder / "chunks"):
        places += [(Path(path, name), "file" if name.endswith(checkpoint.SUFFIX) else "folder") for name in folders]
        places += [(Path(path, name), "file") for name in files]
    for path, must in places:
        if (kind := kind_of(path)) not in ("", must):
            raise SweepError(
                f"{path}: is a {kind}, must be a {must}; links are not followed\n"
                "  move it away, or choose another folder with --out"
            )


def environment() -> dict[str, Any]:
    """Versions and devices of this process."""
    import jax

    devices = jax.devices()
    packages = ("superjax", "jax", "jaxlib", "optax", "equinox", "numpy", "xarray")
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "cores": machine.usable_cores(),
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
        return reading.manifest(path)
    except OSError as error:
        raise SweepError(f"{path}: cannot be read: {error.strerror}") from None
    except reading.Damaged as error:
        raise SweepError(
            f"{path}: is damaged, {error}; start over with --fresh, or choose another folder with --out\n"
            "  if it is moved away, and every CASE.nc there is, an unfinished run goes on with its chunks"
        ) from None


def _checksums(entry: Mapping[str, Any]) -> set[str]:
    """Of the dataset that is recorded, and of one that was about to replace it."""
    return {entry[key] for key in ("sha256", "coming") if key in entry}


def _refuse_differences(folder: Path, sweep: Sweep, manifest: Mapping[str, Any]) -> None:
    advice = "  start over with --fresh, or choose another folder with --out"
    try:
        stored = parse(manifest["settings"], folder / "sweep.toml")
    except SweepError as error:
        raise SweepError(
            f"{folder}: holds a run whose settings are refused: {clip(str(error), 300)}\n{advice}"
        ) from None
    if unknown := manifest["cases"].keys() - stored.cases:
        raise SweepError(f"{folder / MANIFEST}: is damaged, has no settings of {clip(min(unknown))}\n{advice}")
    differences = sweep.differences(stored)
    if differences:
        shown = differences[:3] + ([f"and {len(differences) - 3} more"] if len(differences) > 3 else [])
        lines = "\n".join(f"  {line}" for line in shown)
        raise SweepError(f"{folder}: holds a run with other settings\n{lines}\n{advice}")
