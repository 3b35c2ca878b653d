"""A study that is a module of the user's: its three functions are called, and what is wrong with them is said.

Before training that is all that can be known: that the module is imported, and has the functions. What fails later
costs what the study would have made, never the datasets.
"""

import json
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from superjax.disk.files import finite
from superjax.errors import clip
from superjax.problem.user_code import said, tried
from superjax.spec import Case, SweepError, names
from superjax.spec.emit import toml
from superjax.studies.claim import KINDS, Claim, plain
from superjax.studies.results import Results
from superjax.system import modules

Failed = Callable[[str], object]


def load(name: str) -> ModuleType:
    """The module, as `system.modules` finds it. Raises SweepError if it cannot be imported or lacks a function."""
    module, error = tried(modules.load, name)
    if error is not None:
        raise _refusal(name, f"cannot be imported, {said(error)}") from error
    for function in "figures", "claims":
        if not callable(getattr(module, function, None)):
            there = getattr(module, "__file__", None) or "the module"
            raise _refusal(name, f"{there} has no function {function}(results)")
    if not callable(getattr(module, "check", _accept)):
        raise _refusal(name, "its check is no function check(case)")
    return module


def check(study: ModuleType, case: Case) -> None:
    """Raises SweepError as the study does, and if it raises anything else."""
    _, error = tried(getattr(study, "check", _accept), case)
    if isinstance(error, SweepError):
        raise error
    if error is not None:
        raise SweepError(f"cannot check it: check(case) raises {said(error)}") from error


def claims(study: ModuleType, results: Results, failed: Failed) -> list[Claim]:
    """The claims of the study that can be written; `failed` is told what is wrong with it or with others."""
    found, error = tried(study.claims, _apart(results))
    if error is not None:
        failed(f"{_said(study)} claims(results) raises {said(error)}")
        return []
    if not isinstance(found, list | tuple):
        failed(f"{_said(study)} claims(results) returns {_kind(found)}, must be a list of claims")
        return []
    faults = {k: fault for k, claim in enumerate(found) if (fault := _fault(claim))}
    if faults:
        k, fault = next(iter(faults.items()))
        others = f"; {len(faults) - 1} more are wrong" if len(faults) > 1 else ""
        failed(f"{_said(study)} claims(results)[{k}] {fault}{others}")
    return [claim._replace(holds=bool(claim.holds)) for k, claim in enumerate(found) if k not in faults]


def figures(study: ModuleType, results: Results, failed: Failed) -> dict[str, Any]:
    """The figures of the study by name; `failed` is told what is wrong with it or with others."""
    from matplotlib.figure import Figure

    found, error = tried(study.figures, _apart(results))
    if error is not None:
        failed(f"{_said(study)} figures(results) raises {said(error)}")
        return {}
    if not isinstance(found, Mapping):
        failed(f"{_said(study)} figures(results) returns {_kind(found)}, must be a table of names and figures")
        return {}
    drawn = {}
    for name, figure in found.items():
        fault = names.fault(name) if isinstance(name, str) else "is no string"
        if fault:
            failed(f"{_said(study)} figures(results) has the name {clip(repr(name))}, which {fault}")
        elif not isinstance(figure, Figure):
            failed(f"{_said(study)} figures(results)[{toml(name)}] is {_kind(figure)}, must be a matplotlib Figure")
        else:
            drawn[name] = figure
    return drawn


def image(name: str, figure: Any, dpi: float, kind: str, failed: Failed) -> bytes | None:
    """The picture of a figure, None if it cannot be drawn, which `failed` is told."""
    from superjax.plots import canvas

    image, error = tried(canvas.image, figure, dpi, kind)
    if error is not None:
        failed(f"the figure {toml(name)} cannot be drawn, it raises {said(error)}")
    return image


def _fault(claim: Any) -> str:
    """What is wrong with a claim, "" if nothing is."""
    if not isinstance(claim, Claim):
        return f"is {_kind(claim)}, must be a Claim"
    for field in "claim", "source", "note":
        if not isinstance(getattr(claim, field), str):
            return f"has {_kind(getattr(claim, field))} as {field}, must be a string"
    if claim.kind not in KINDS:
        return f"has kind = {toml(claim.kind)}, must be one of {', '.join(map(toml, KINDS))}"
    if not isinstance(plain(claim.holds), bool):
        return f"has {_kind(claim.holds)} as holds, must be True or False"
    for field in "expected", "measured", "tolerance":
        value = getattr(claim, field)
        if tried(lambda value=value: json.dumps(finite(plain(value)), allow_nan=False))[1] is not None:
            return f"has {_kind(value)} as {field}, must be numbers, strings, lists or tables of these"
    return ""


def _accept(case: Case) -> None:
    """The check of a study that has none."""


def _apart(results: Results) -> Results:
    """The results with datasets of which variables can be changed without others seeing it."""
    return results._replace(datasets={name: data.copy() for name, data in results.datasets.items()})


def _refusal(name: str, fault: str) -> SweepError:
    return SweepError(f"study = {toml(name)}: {fault}")


def _said(study: ModuleType) -> str:
    return f"the study {study.__name__}:"


def _kind(value: Any) -> str:
    return f"a value of type {type(value).__name__}"
