"""What a folder may hold of an earlier run, and what is refused: strangers' files, a damaged record, other settings."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from superjax.disk import lock
from superjax.disk.files import kind_of
from superjax.errors import clip
from superjax.runs import checkpoint, reading
from superjax.runs.reading import CLAIMS, EXPLORER, FIGURES, MANIFEST, SETTINGS
from superjax.spec import Sweep, SweepError, parse

_ADVICE = "  start over with --fresh, which deletes it, or choose another folder with --out"


def refuse_strangers(folder: Path) -> None:
    """Raises SweepError if in the place of something that a run would write, or remove, there is no file or folder:
    what a link leads to is somebody else's."""
    names = (MANIFEST, lock.NAME, SETTINGS, CLAIMS, EXPLORER)
    places = [(folder / "chunks", "folder")]
    for path in folder.iterdir():
        if path.name.endswith((".nc", *FIGURES)) or path.name in names:
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


def read_manifest(path: Path) -> dict[str, Any]:
    try:
        return reading.manifest(path)
    except OSError as error:
        raise SweepError(f"{path}: cannot be read: {error.strerror}") from None
    except reading.Damaged as error:
        raise SweepError(
            f"{path}: is damaged, {error}; start over with --fresh, or choose another folder with --out\n"
            "  if it is moved away, and every CASE.nc there is, an unfinished run goes on with its chunks"
        ) from None


def stored_sweep(folder: Path, manifest: Mapping[str, Any]) -> Sweep:
    """The settings of the run in a folder."""
    try:
        stored = parse(manifest["settings"], folder / SETTINGS)
    except SweepError as error:
        raise SweepError(
            f"{folder}: holds a run whose settings are refused: {clip(str(error), 300)}\n{_ADVICE}"
        ) from None
    if unknown := manifest["cases"].keys() - stored.cases:
        raise SweepError(f"{folder / MANIFEST}: is damaged, has no settings of {clip(min(unknown))}\n{_ADVICE}")
    return stored


def refuse_differences(folder: Path, sweep: Sweep, stored: Sweep, finished: bool) -> None:
    differences = sweep.differences(stored)
    if differences:
        shown = differences[:3] + ([f"and {len(differences) - 3} more"] if len(differences) > 3 else [])
        lines = "\n".join(f"  {line}" for line in [*shown, *_ways_on(folder, sweep, stored, differences, finished)])
        raise SweepError(f"{folder}: holds a run with other settings\n{lines}\n{_ADVICE}")


def _ways_on(folder: Path, sweep: Sweep, stored: Sweep, differences: list[str], finished: bool) -> list[str]:
    """What may have been meant: the settings of the run, or, if these alone differ, more restarts or points of an
    unfinished run, or to train the models of a finished one on."""
    ways = [f"repeat its settings, recorded in {folder / SETTINGS}, to go on with it or to draw it again"]
    plain = not any(case.boundary or case.start_from for case in (*sweep.cases.values(), *stored.cases.values()))
    if not finished and all(
        re.match(r"[^:]*: (restarts|axes\.\w+\.(points|range|values)) =", line) for line in differences
    ):
        ways.append("a run takes more restarts or points once it is finished with its own")
    if finished and plain and all(re.match(r"[^:]*: train\.(?!snapshots)", line) for line in differences):
        ways.append(f"to train its models on, for train.steps more, add start_from={folder} and take another --out")
    return ways
