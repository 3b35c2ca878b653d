"""Datasets as netCDF files that carry a checksum of everything in them."""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from superjax.disk.files import checksum, write_atomically
from superjax.errors import clip
from superjax.runs import reading
from superjax.spec import Case, SweepError

if TYPE_CHECKING:
    import xarray as xr

_SEAL = "sha256"  # the attribute of a file with the checksum of its contents
_PIECE = 2**22  # bytes written at a time


def write_dataset(path: Path, dataset: "xr.Dataset", announce: Callable[[str], object] = lambda checksum: None) -> None:
    """netCDF-4 with a checksum of everything in it, read back before it replaces what is at `path`; `announce` is told
    the checksum of the file then. Raises OSError as `write_atomically` does, also if the file holds something else
    than was written."""
    encoding = {name: _storage(v) for name, v in dataset.variables.items() if v.size and v.ndim and v.dtype.kind != "U"}
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
        known = reading.checksums(reading.manifest(path.parent / reading.MANIFEST)["cases"].get(path.stem, {}))
    except (OSError, reading.Damaged):
        return
    if known and checksum(path) not in known:
        raise _not_what_was_written(str(path))


def _not_what_was_written(path: str) -> SweepError:
    return SweepError(f"{path}: is damaged, it is not what the run wrote; the sweep's command makes it again")
