"""Runs the cases of a sweep in memory, from Python."""

import warnings
from collections.abc import Mapping
from typing import Any

import xarray as xr

from superjax.errors import SweepError
from superjax.runs.case_run import CaseRun, Report
from superjax.runs.starting import by_case
from superjax.spec import Case, Sweep
from superjax.system import machine, terminal
from superjax.system.modules import beside


def run(
    sweep: Sweep, init: Mapping[str, Any] | None = None, devices: int | None = None, progress: bool = False
) -> dict[str, xr.Dataset]:
    """Train, evaluate and classify every model of every case.

    Args:
        init: starting weights by case, a mapping from array names to values of shape (*grid, restart, *array).
            Arrays left out start as usual.
        devices: how many of JAX's devices to use, all by default.
        progress: tell what is being done, with a progress bar of the training.

    Returns:
        One labelled dataset per case. Warns of cases that had to be trained in the plain, slow form.

    Raises:
        SweepError: the sweep asks for something that cannot be run, or JAX has not so many devices, or it draws other
            random numbers (`jax_default_prng_impl`, `jax_random_seed_offset`). Its other settings do not matter.
    """
    if not isinstance(sweep, Sweep):
        raise SweepError(f"run takes a sweep, not {sweep!r}: superjax.run(superjax.load({str(sweep)!r}))")
    given, datasets = by_case(init, sweep), {}
    for name, case in sweep.cases.items():
        with beside(sweep.path):
            datasets[name], report = run_case(name, case, given.get(name), devices, progress)
        if report.form == "plain":
            warnings.warn(plain_message(name, report), stacklevel=2)
        if report.nodes_because:
            warnings.warn(nodes_message(name, report), stacklevel=2)
    return datasets


def plain_message(name: str, report: Report) -> str:
    """That a case fell off the fast path, and why."""
    return f"{name}: trained in the plain form, several times slower than the fused one: {report.plain_because}"


def nodes_message(name: str, report: Report) -> str:
    """That a case has no closed form, and why."""
    return f"{name}: no closed form, the exact loss is less exact: {report.nodes_because}"


def run_case(
    name: str,
    case: Case,
    init: Mapping[str, Any] | None = None,
    devices: int | None = None,
    progress: bool = False,
) -> tuple[xr.Dataset, Report]:
    """One case of a sweep, with what it cost."""
    with machine.settled(devices), terminal.telling(progress):
        running = CaseRun(name, case, devices, init=init)
        running.train()
        return running.finish(), running.report
