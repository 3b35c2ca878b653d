"""What is to be done in the folder of a run: which cases are trained, and which are there already."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from superjax import studies
from superjax.errors import clip
from superjax.problem.source import combined
from superjax.runs.case_run import CaseRun, key_of
from superjax.runs.checkpoint import Folder
from superjax.runs.folder import Run, chunk_folder
from superjax.runs.growth import Earlier, open_earlier
from superjax.runs.netcdf import open_dataset
from superjax.runs.options import Options
from superjax.runs.problems import code_of_case
from superjax.runs.stages import classes
from superjax.spec import Sweep, SweepError
from superjax.system import terminal
from superjax.system.modules import beside


class Todo(NamedTuple):
    """By name: the cases that are to be run, the digests of their code, what is wrong with those that were done, and
    the datasets of the other cases."""

    running: dict[str, CaseRun]
    codes: dict[str, str]
    lost: dict[str, str]
    stored: dict[str, xr.Dataset]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(case_run.bytes for case_run in self.running.values())

    def entries(self) -> dict[str, dict[str, Any]]:
        """What the manifest is to say of the cases that are to be run."""
        return {
            name: {"chunks": case_run.chunks, "key": case_run.key, "code": self.codes[name]}
            for name, case_run in self.running.items()
        }


def todo(sweep: Sweep, shown: str, run: Run, options: Options) -> Todo:
    """What is to be done for a sweep that messages call `shown`. Changes nothing. Raises SweepError if it cannot be
    done."""
    missing = {name: why for name in sweep.cases if (why := run.missing(name))}
    if options.figures_only and missing:
        what = "; ".join(missing.values())
        raise SweepError(f"{run.folder}: cannot be redrawn, {what}; leave --figures-only out")
    try:
        codes = codes_of(sweep, sweep.cases, missing)
        if missing or options.same_code:
            run.refuse_other_code(codes)  # all cases of a run have the same
        elif others := run.of_other_code(codes):
            run.warn(
                f"{run.folder}: {clip(', '.join(others))}: drawn as trained before the code of "
                f"{clip(sweep.cases[others[0]].model.kind)} changed; --fresh trains anew"
            )
        studies.check(sweep)
        running = begun(sweep, missing, run, codes, options.devices)
    except SweepError as error:
        raise SweepError(f"{shown}: {error}") from error
    stored = {name: open_dataset(run.path(name), case) for name, case in sweep.cases.items() if name not in missing}
    return Todo(running, codes, {name: why for name, why in missing.items() if run.lost(name)}, stored)


def begun(
    sweep: Sweep,
    names: Iterable[str],
    run: Run,
    codes: Mapping[str, str],
    devices: int | None,
    look_only: bool = False,
) -> dict[str, CaseRun]:
    """Cases that are missing, by name, as far as the folder of a run has them; to `look_only` changes no file."""
    chunks = {name: run.entry(name)["chunks"] for name in names}
    earlier = {name: open_earlier(run.path(name)) for name in chunks if run.earlier(name)}
    return case_runs(run.folder, sweep, chunks, codes, devices, earlier, look_only)


def codes_of(sweep: Sweep, names: Iterable[str], needed: Iterable[str]) -> dict[str, str]:
    """The digests of the code of cases, by name. Code that is gone is left out unless it is `needed`."""
    codes = {}
    for name in names:
        try:
            with beside(sweep.path):
                case = sweep.cases[name]
                parts = {"parts": code_of_case(case), **classes.code_of(case)}
                codes[name] = combined({path: code for path, code in parts.items() if code})
        except SweepError:
            if name in needed:
                raise
    return codes


def case_runs(
    folder: Path,
    sweep: Sweep,
    chunks: Mapping[str, dict[str, int]],
    codes: Mapping[str, str],
    devices: int | None,
    earlier: Mapping[str, Earlier],
    look_only: bool = False,
) -> dict[str, CaseRun]:
    """The cases to be run, by name, with the sizes of their chunks, which are kept in the folder, and what was there of
    those that have grown."""

    def keep(case: str, task: str, key: str) -> Folder:
        own = chunk_folder(folder, case, key_of(sweep.cases[case], codes[case]))
        return Folder(own / f"{task}-{key[:16]}", key, terminal.warn, folder, look_only)

    with beside(sweep.path):
        return {
            name: CaseRun(
                name, sweep.cases[name], devices, partial(keep, name), sizes, None, codes[name], earlier.get(name)
            )
            for name, sizes in chunks.items()
        }
