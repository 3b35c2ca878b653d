"""Results on disk: datasets as netCDF, everything written atomically, and the manifest of a run.

The folder of a run holds `CASE.nc`, figures, `claims.json`, `sweep.toml` (the resolved sweep) and `manifest.json`.
A case is done when the manifest says so and the file's checksum agrees, never because a file exists.
"""

import hashlib
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superjax.spec import Sweep, SweepError, load

if TYPE_CHECKING:
    import xarray as xr

MANIFEST = "manifest.json"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place: readers see all of it or the old one.

    Raises OSError with the path if the disk is full or the folder cannot be written.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_text(path: Path, text: str) -> None:
    write_atomically(path, partial(Path.write_text, data=text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """JSON as every parser reads it: what is not finite becomes null."""
    write_text(path, json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_dataset(path: Path, dataset: "xr.Dataset") -> None:
    """netCDF-4 with a checksum on every variable."""
    encoding = {name: {"fletcher32": True} for name, v in dataset.variables.items() if v.ndim and v.dtype.kind != "U"}
    write_atomically(path, lambda temporary: dataset.to_netcdf(temporary, engine="h5netcdf", encoding=encoding))


def open_dataset(path: str | os.PathLike[str]) -> "xr.Dataset":
    """A dataset that a run wrote, loaded into memory.

    Raises SweepError if there is no such file or it is no dataset.
    """
    import xarray as xr

    try:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            return dataset.load()
    except FileNotFoundError:
        raise SweepError(f"{os.fspath(path)}: no such file") from None
    except (OSError, ValueError) as error:
        raise SweepError(f"{os.fspath(path)}: cannot be read as a dataset: {error}") from None


def checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def timed(seconds: dict[str, float], phase: str):
    """Add the seconds that the body takes to a phase."""
    start = time.perf_counter()
    yield
    seconds[phase] = seconds.get(phase, 0.0) + time.perf_counter() - start


class Run:
    """The folder of one run and its manifest. Nothing is written before `begin`."""

    def __init__(self, folder: Path, sweep: Sweep, fresh: bool = False):
        """Raises SweepError if the folder holds a run with other settings (unless `fresh`) or an unreadable one."""
        self.folder, self.sweep = folder, sweep
        self.manifest: dict[str, Any] = {"cases": {}, "files": [], "finished": False}
        self._stale: list[str] = []
        if folder.exists() and not folder.is_dir():
            raise SweepError(f"{folder}: is a file, must be a folder for results; choose another with --out")
        if (folder / MANIFEST).exists():
            try:
                manifest = _read_manifest(folder / MANIFEST)
            except SweepError:
                if not fresh:
                    raise
                return
            if fresh:
                self._stale = [f"{case}.nc" for case in manifest["cases"]] + manifest["files"]
            else:
                _refuse_differences(folder, sweep)
                self.manifest = manifest

    def begin(self) -> None:
        """Make the folder, clear it of the run that `fresh` replaces, and record the settings.

        Raises SweepError if the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in self._stale:
                (self.folder / Path(name).name).unlink(missing_ok=True)
            write_text(self.folder / "sweep.toml", self.sweep.to_toml())
            self.save()
        except OSError as error:
            raise SweepError(f"{self.folder}: cannot be written: {error.strerror}; choose another with --out") from None

    def save(self, **entries: Any) -> None:
        self.manifest |= entries
        write_json(self.folder / MANIFEST, self.manifest)

    def path(self, case: str) -> Path:
        return self.folder / f"{case}.nc"

    def is_done(self, case: str) -> bool:
        """Whether the case is recorded as done and its dataset is what was written."""
        entry, path = self.manifest["cases"].get(case, {}), self.path(case)
        return entry.get("done", False) and path.is_file() and checksum(path) == entry["sha256"]

    def store(self, case: str, dataset: "xr.Dataset", **entries: Any) -> None:
        """Write a case's dataset and record it as done."""
        write_dataset(self.path(case), dataset)
        self.manifest["cases"][case] = {**entries, "done": True, "sha256": checksum(self.path(case))}
        self.save()


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


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest["finished"], bool) or not isinstance(manifest.get("files", []), list):
            raise TypeError
        for entry in manifest["cases"].values():
            if not (entry["done"] is True and isinstance(entry["sha256"], str)):
                raise TypeError
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise _damaged(path) from None
    return manifest


def _damaged(path: Path) -> SweepError:
    return SweepError(f"{path}: is damaged; start over with --fresh, or choose another folder with --out")


def _refuse_differences(folder: Path, sweep: Sweep) -> None:
    try:
        stored = load(folder / "sweep.toml")
    except SweepError:
        raise _damaged(folder / "sweep.toml") from None
    differences = sweep.differences(stored)
    if differences:
        shown = differences[:3] + ([f"and {len(differences) - 3} more"] if len(differences) > 3 else [])
        lines = "\n".join(f"  {line}" for line in shown)
        raise SweepError(
            f"{folder}: holds a run with other settings\n{lines}\n"
            "  start over with --fresh, or choose another folder with --out"
        )
