"""Runs the cases of a sweep in memory."""

from collections.abc import Mapping
from typing import Any

import jax
import xarray as xr

from superjax.runs.case_run import CaseRun, Report
from superjax.spec import Case
from superjax.system import machine, terminal


def plain_message(name: str, report: Report) -> str:
    """That a case fell off the fast path, and why; "" if it did not, as on an accelerator no form is fast as a rule."""
    if not report.plain_because or jax.default_backend() != "cpu":
        return ""
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
