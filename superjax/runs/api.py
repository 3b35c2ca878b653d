"""A sweep run from Python: in memory, or in a folder as the command line has it."""

import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from superjax.errors import SweepError, in_python
from superjax.problem.members import OWN
from superjax.runs import one_sweep, runner
from superjax.runs.options import Options
from superjax.runs.planning import Todo
from superjax.runs.starting import by_case
from superjax.spec import Sweep
from superjax.system import interrupt, terminal
from superjax.system.modules import beside


def run(
    sweep: Sweep,
    init: Mapping[str, Any] | None = None,
    devices: int | None = None,
    progress: bool | None = None,
    out: Path | str | None = None,
    fresh: bool = False,
) -> dict[str, xr.Dataset]:
    """Train, evaluate and classify every model of every case.

    Args:
        init: starting weights by case, a mapping from array names to values of shape (*grid, restart, *array).
            Arrays left out start as usual. Not with `out`.
        devices: how many of JAX's devices to use, all by default.
        progress: tell what is being done, with a progress bar of the training; by default in a notebook alone.
        out: the folder of all results. The run gets the folder `out/NAME` with datasets, claims and figures, goes on
            with what is there, and keeps what is trained when it is interrupted, as the command line does. It says in
            one line, on the standard error stream, if something is there. Without `out` nothing is written.
        fresh: start over if the folder holds another run.

    Returns:
        One labelled dataset per case. Without `out`, warns of cases that had to be trained in the plain, slow form.

    Raises:
        SweepError: the sweep asks for something that cannot be run, or JAX has not so many devices, or it draws other
            random numbers (`jax_default_prng_impl`, `jax_random_seed_offset`), or the folder holds another run, also
            one of other code of a class of yours, or cannot be written. JAX's other settings do not matter.
        KeyboardInterrupt: the run in a folder was interrupted, and what was trained is kept.
    """
    if not isinstance(sweep, Sweep):
        raise SweepError(f"run takes a sweep, not {sweep!r}: superjax.run(superjax.load({str(sweep)!r}))")
    progress = terminal.is_notebook() if progress is None else progress
    if out is None and fresh:
        raise SweepError("fresh = True clears a folder of results: say which one by out")
    if out is not None and init is not None:
        raise SweepError("init: a run in a folder starts from its own weights; leave init out, or out")
    with in_python():
        if out is None:
            return _in_memory(sweep, init, devices, progress)
        return _in_folder(sweep, Options(Path(out).expanduser(), devices, fresh, same_code=True), progress)


def boundary(
    sweep: Sweep,
    of: str | Callable[[xr.Dataset], Any] | None = None,
    by: str | None = None,
    resolution: float | None = None,
    x: str | None = None,
    y: str | None = None,
    **settings: Any,
) -> dict[str, xr.Dataset]:
    """Where a classification of models changes over two axes of a sweep, in every case.

    The grid of the sweep is the coarse one; `superjax.boundary_lines` gives the lines of a dataset.

    Args:
        of: what is classified, as `boundary.of` of a sweep file; or a function of a script, a notebook or a module:
            a dataset of models (dimension `model`; the arrays of the model, its `loss`, the values of the axes) -> a
            whole number for each.
        by, resolution, x, y: as in the table `[boundary]`. What is None is that of the sweep, else the default.
        settings: as for `run`.

    Returns:
        What `run` returns.

    Raises:
        SweepError: as `run`; or `of` is a function without a name of its own, as a lambda.
    """
    if callable(of):
        name = f"{of.__module__}:{of.__qualname__}"
        if not OWN.fullmatch(name):
            raise SweepError(f"boundary: of = {name}: must be a function that its module knows by name, no lambda")
        of = name
    given = {"of": of, "by": by, "resolution": resolution, "x": x, "y": y}
    wanted: list[str | tuple[str, object]] = [
        (f"boundary.{key}", value) for key, value in given.items() if value is not None
    ]
    if not wanted and any(case.boundary is None for case in sweep.cases.values()):
        wanted = [("boundary.of", "superposition")]
    return run(sweep.override(*wanted) if wanted else sweep, **settings)


def _in_memory(
    sweep: Sweep, init: Mapping[str, Any] | None, devices: int | None, progress: bool
) -> dict[str, xr.Dataset]:
    given, datasets = by_case(init, sweep), {}
    for name, case in sweep.cases.items():
        with beside(sweep.path):
            datasets[name], report = runner.run_case(name, case, given.get(name), devices, progress)
        if message := runner.plain_message(name, report):
            warnings.warn(message, stacklevel=3)
        if report.nodes_because:
            warnings.warn(runner.nodes_message(name, report), stacklevel=3)
    return datasets


def _in_folder(sweep: Sweep, options: Options, progress: bool) -> dict[str, xr.Dataset]:
    options.check()

    def ready(work: Todo) -> None:
        if terminal.is_notebook() or progress and work.running:  # a bar shows it
            return
        done = sum(dataset["loss"].size for dataset in work.stored.values())
        done += sum(running.trained() * running.report.models for running in work.running.values())
        if done:
            share = done / sum(case.n_models for case in sweep.cases.values())
            goes_on = f"goes on with the run that is there, {share:.0%} of the training is done"
            terminal.note(f"{options.out / sweep.name}: {goes_on if work.running else 'holds this run; drawn again'}")

    try:
        with interrupt.installed(), terminal.telling(progress):
            finished = one_sweep.run(sweep, sweep.name, options, time.perf_counter(), ready=ready)
    except interrupt.Interrupted:
        interrupt.caught()
        raise KeyboardInterrupt("what was trained is kept; the same call goes on with it") from None
    for failure in finished.failures:
        warnings.warn(failure, stacklevel=3)
    return finished.datasets
