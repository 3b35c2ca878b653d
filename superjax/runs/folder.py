"""The folder of a run, its manifest and its lock.

The folder of a run holds `CASE.nc`, figures, `claims.json`, `sweep.toml` (the resolved sweep) and `manifest.json`, and
until all is done `chunks/`. A case is done when the manifest says so and the file's checksum agrees, never because a
file exists.

Nothing that was trained is deleted unless `--fresh` says so: chunks are kept under a key of all that decides them,
those of other settings or code lie beside them, and a dataset that the manifest does not know is refused, not replaced.
A case's own chunks go once its dataset is written. The folder, which may be a link, is the user's choice; within it no
link is followed.
"""

import copy
import errno
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superjax.disk.files import (
    checksum,
    finite,
    inside,
    kind_of,
    make_folders,
    remove_if_empty,
    remove_leftovers,
    weaknesses,
    write_json,
    write_text,
)
from superjax.disk.lock import Lock
from superjax.errors import clip
from superjax.runs import checkpoint, reading
from superjax.runs.earlier_runs import read_manifest, refuse_differences, refuse_strangers, stored_sweep
from superjax.runs.environment import what_decides_digits
from superjax.runs.netcdf import write_dataset
from superjax.runs.prolonging import dataset_of
from superjax.runs.reading import CLAIMS, EXPLORER, FIGURES, MANIFEST, SETTINGS
from superjax.spec import Sweep, SweepError
from superjax.spec.sweep import grows

if TYPE_CHECKING:
    import xarray as xr


def chunk_folder(folder: Path, case: str, key: str) -> Path:
    """Where a run keeps the chunks of a case until its dataset is written; `key` names all that decides them."""
    return folder / "chunks" / case / key[:16]


class Run:
    """The folder of one run, its manifest (`reading.Manifest`) and its lock. Nothing is written before `begin`."""

    def __init__(self, folder: Path, sweep: Sweep, fresh: bool = False, warn: Callable[[str], object] = print):
        """Raises SweepError if another process is at work in the folder, or if it holds a run with other settings
        (unless `fresh`), an unreadable one, datasets of an unknown one (unless `fresh`), or links, or is what the
        sweep starts from."""
        self.folder, self.sweep, self._fresh, self.warn = folder, sweep, fresh, warn
        self._lock: Lock | None = None
        self._stale: list[Path] = []
        self._of_no_run: list[str] = []
        self._manifest: dict[str, Any] = {"cases": {}, "files": [], "finished": False}
        try:
            if folder.exists() and not folder.is_dir():
                raise SweepError(f"{folder}: is a file, must be a folder for results; choose another with --out")
            if folder.exists():
                refuse_strangers(folder)
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
        own = self.folder / SETTINGS
        if own.exists() and self.sweep.path.exists() and own.samefile(self.sweep.path):
            raise SweepError(f"{own}: is where the run would write its own; rename it, or choose another --out")
        for name, case in self.sweep.cases.items():
            if case.start_from and dataset_of(name, case).resolve() == self.path(name).resolve():
                raise SweepError(
                    f"{self.folder}: start_from = {clip(case.start_from)}: a run cannot start from its own folder\n"
                    "  choose another one with --out, or copy the sweep file under another name"
                )
        manifest = None
        if kind_of(self.folder / MANIFEST):
            try:
                manifest = read_manifest(self.folder / MANIFEST)
            except SweepError:
                if not self._fresh:
                    raise
        if self.folder.is_dir() and not (manifest or {}).get("starts"):
            every = sorted(path.name for path in self.folder.iterdir())
            self._of_no_run = [name for name in every if name.endswith(FIGURES) or name in (CLAIMS, EXPLORER)]
        if self._fresh:
            names = manifest or self._manifest
            self._stale = [self.folder / name for name in names["files"]]
            self._stale += [self.path(case) for case in {*names["cases"], *self.sweep.cases}]
            return
        if manifest:
            self._manifest = manifest
            self._grow(stored_sweep(self.folder, manifest))
        for case in self.sweep.cases:
            there = [name for name in (f"{case}.nc", f"{case}.png") if kind_of(self.folder / name)]  # and names fit
            if f"{case}.nc" in there and not {"sha256", "coming"}.intersection(self.entry(case)):
                raise SweepError(
                    f"{self.path(case)}: the manifest does not say what made it, and it is not replaced\n"
                    "  move it away, start over with --fresh, or choose another folder with --out"
                )

    def _grow(self, stored: Sweep) -> None:
        """Refuse other settings than those that are `stored`, but for more restarts or points of cases that are
        finished: these are to be run again."""
        grown = {
            name: case
            for name, case in self.sweep.cases.items()
            if name in stored.cases and grows(stored.cases[name], case) and self._is_there(name)
        }
        there = all(map(self._is_there, stored.cases))
        refuse_differences(self.folder, self.sweep, replace(stored, cases=stored.cases | grown), there)
        for name in grown:
            self._manifest["cases"][name] |= {"done": False, "chunks": {}}

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
            self._manifest["cases"] = {case: self.entry(case) for case in self.sweep.cases}
            for case, entries in (cases or {}).items():
                self._manifest["cases"][case].update(entries, done=False)
                make_folders(chunk_folder(self.folder, case, entries["key"]), self.folder)
            for case, entry in self._manifest["cases"].items():
                if entry["done"]:
                    self._remove_chunks(case)  # of a process that was killed just before
            if self._of_no_run:
                names = clip(", ".join(self._of_no_run), 300)
                self.warn(f"{self.folder}: may replace figures and claims that belong to no run: {names}")
            others = [case for case in self.sweep.cases if self._chunks_of_others(case)]
            if others:
                self.warn(
                    f"{self._chunks}: keeps chunks of {clip(', '.join(others))} that were trained with other settings "
                    "or code, and are not used; --fresh removes them"
                )
            if not all(entry["done"] for entry in self._manifest["cases"].values()):
                self._manifest["finished"] = False
            settings = self.sweep.to_toml()
            write_text(self.folder / SETTINGS, settings)
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

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """Let another process have the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def note(self, environment: dict[str, Any]) -> None:
        """Record what the run is made with; warn if it was begun with other versions."""
        self._manifest["starts"] = self._manifest.get("starts", 0) + 1
        here, began = map(what_decides_digits, (environment, self._manifest.setdefault("environment", environment)))
        changed = [f"{name} {began.get(name)}, now {here[name]}" for name in here if began.get(name) != here[name]]
        if changed:
            self.warn(f"{self.folder}: begun with {'; '.join(changed)}: numbers may differ in the last digits")
            self._manifest.setdefault("continued", []).append(environment)
        self.save()

    def refuse_other_code(self, codes: Mapping[str, str]) -> None:
        """Raises SweepError if a case was trained, or begun, with other code of its model than that in `codes`."""
        for case in self.of_other_code(codes):
            raise SweepError(
                f"{self.folder}: holds a run of another {self.sweep.cases[case].model.kind}, its code has changed "
                "since\n  start over with --fresh, or choose another folder with --out"
            )

    def of_other_code(self, codes: Mapping[str, str]) -> list[str]:
        """The cases that were trained, or begun, with other code than that in `codes`."""
        return [case for case, code in codes.items() if self.entry(case).get("code", code) != code]

    def save(self, **entries: Any) -> None:
        self._manifest |= entries
        manifest = finite(self._manifest)
        write_json(self.folder / MANIFEST, {**manifest, "sha256": reading.seal(manifest)})
        for weakness in weaknesses():
            self.warn(f"{self.folder}: {weakness}")

    @property
    def manifest(self) -> dict[str, Any]:
        """A copy of the manifest as it is now."""
        return copy.deepcopy(self._manifest)

    def entry(self, case: str) -> dict[str, Any]:
        """What the manifest says of a case (`reading.Entry`)."""
        return copy.deepcopy(self._manifest["cases"].get(case, {"done": False, "chunks": {}}))

    def path(self, case: str) -> Path:
        return self.folder / f"{case}.nc"

    def missing(self, case: str) -> str:
        """Why there is nothing to draw of a case: "" if it is recorded as done and its dataset is what was written."""
        entry, path = self.entry(case), self.path(case)
        if self._is_there(case):
            return "" if entry["done"] else f"{case} has other restarts or points than were run"
        if "sha256" not in entry:
            return f"{case} has not been run"
        return f"{path.name} is {'damaged' if kind_of(path) == 'file' else 'gone'}"

    def lost(self, case: str) -> bool:
        """Whether a dataset that was recorded is gone or damaged."""
        return "sha256" in self.entry(case) and not self._is_there(case)

    def earlier(self, case: str) -> str:
        """The checksum of the dataset of a case that was finished and has grown since, "" if there is none."""
        return checksum(self.path(case)) if self._is_there(case) and not self.entry(case)["done"] else ""

    def _is_there(self, case: str) -> bool:
        """Whether a dataset is what was written."""
        path, known = self.path(case), reading.checksums(self.entry(case))
        return bool(known) and kind_of(path) == "file" and checksum(path) in known

    def store(self, case: str, dataset: "xr.Dataset") -> None:
        """Write a case's dataset, read it back, record it as done, and remove the chunks it was made of."""
        entry = self._manifest["cases"][case]

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
        self._manifest["cases"][case].update(entries)
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
