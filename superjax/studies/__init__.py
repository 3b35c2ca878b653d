"""One module per sweep of the atlas: which figures it draws, which claims it checks.

A study has `check(case)`, which refuses with a SweepError what it cannot draw, and two functions of its `Results`:
`figures`, a table of file names (without suffix) and matplotlib figures, and `claims`. A sweep without a study gets the
overview of `superjax.plots.overview` and the general claims. What both get has no axis whose values go up and down.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from superjax.disk.files import write_bytes
from superjax.spec import Case, Sweep, SweepError
from superjax.system import terminal
from superjax.system.modules import beside


class Results(NamedTuple):
    """What a study works on: the sweep, a dataset per case, and the run's manifest; `every` has all that was trained
    where `datasets` do not."""

    sweep: Sweep
    datasets: Mapping[str, xr.Dataset]
    manifest: Mapping[str, Any]
    every: Mapping[str, xr.Dataset] | None = None


class Claim(NamedTuple):
    """A statement of the paper, or a certificate of ours, beside what was measured from the datasets."""

    claim: str
    source: str
    expected: Any
    measured: Any
    tolerance: Any
    holds: bool
    note: str = ""


def check(sweep: Sweep) -> None:
    """Refuse, before any training, a sweep that its study cannot draw, or a matplotlib that can draw nothing. Raises
    SweepError."""
    _try_matplotlib()
    study = _study(sweep)
    for name, case in sweep.cases.items() if study else ():
        try:
            with beside(sweep.path):
                study.check(case)
                needs_array(case, "W")
        except SweepError as error:
            raise SweepError(
                f"{name}: the study {sweep.study} {error}\n"
                '  study = "" in the file, or study=\'""\' on the command line, draws the sweep without it'
            ) from error


def needs_array(case: Case, name: str) -> None:
    """Raise SweepError if the model of a case is known not to have W or b as the built-in models have them."""
    from superjax.problem.members import BUILT_IN, member

    if case.model.kind in ("linear", "relu_output", "relu_hidden"):
        return
    try:
        dims = member("model", case.model.kind).dims
    except SweepError:  # its code is gone: what it has trained may be drawn, anything else is refused elsewhere
        return
    wanted = BUILT_IN["model"]["relu_output"].dims[name]
    if dims.get(name) != wanted:
        raise SweepError(f"needs a model with {name} {wanted}; {case.model.kind} has dims = {dims}")


def claims(results: Results) -> list[Claim]:
    """The claims of the sweep's study, then those that any sweep must meet. Their values are plain numbers."""
    study, results = _study(results.sweep), _in_order(results)
    with _quiet():
        found = [*(study.claims(results) if study else []), *_general(results)]
    return [Claim(*map(_plain, claim)) for claim in found]


def draw(results: Results, folder: Path, warn: Callable[[str], None] = terminal.warn) -> list[Path]:
    """Draw all figures into a folder as PNGs; `warn` is told of one that has other dots per inch than was asked for,
    and if there is none."""
    from superjax.plots import canvas, overview

    study, results = _study(results.sweep), _in_order(results)
    paths = []
    wanted = float(next(iter(results.sweep.cases.values())).plot.dpi)
    with canvas.plain(), _quiet():
        figures = study.figures(results) if study else {}
        for name, figure in (figures or overview.figures(results)).items():  # there are none if all models diverged
            paths.append(folder / f"{name}.png")
            dpi = canvas.resolution(figure, wanted)
            if dpi != wanted:
                why = "large" if dpi < wanted else "small"
                warn(f"{paths[-1]}: drawn with {dpi:.0f} dots per inch; {wanted:g} would make it too {why}")
            write_bytes(paths[-1], canvas.png(figure, dpi))
    if not paths:
        warn(f"{folder}: no figure, as too few models are finite; claims.json says how many diverged")
    return paths


def _in_order(results: Results) -> Results:
    """The results with the values of every axis of one field rising or falling, as lines and maps need them."""
    from superjax.studies._known import at_points

    cases, datasets = dict(results.sweep.cases), dict(results.datasets)
    for name in datasets:
        for dim, axis in cases[name].axes.items():
            values = axis.table()[:, 0]
            rises = np.diff(values) > 0
            if len(axis.names) == 1 and rises.any() and not rises.all():
                cases[name], datasets[name] = at_points(cases[name], datasets[name], dim, np.argsort(values))
    return results._replace(sweep=replace(results.sweep, cases=cases), datasets=datasets)


def _try_matplotlib() -> None:
    """Draw an empty figure. Raises SweepError."""
    try:
        from superjax.plots import canvas

        canvas.try_out()
    except (ImportError, ValueError, OSError, RuntimeError) as error:  # no folder for its fonts, a broken installation
        reason = " ".join(str(error).split())[:200]
        raise SweepError(f"matplotlib cannot draw: {type(error).__name__}: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of numbers that are not finite: what diverged is NaN, and so is all that follows from it."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _plain(value: Any) -> Any:
    """The same without numpy's types."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _study(sweep: Sweep) -> Any:
    if not sweep.study:
        return None
    importlib.import_module("superjax.plots.canvas")  # before anything imports matplotlib
    return importlib.import_module(f"superjax.studies.{sweep.study}")


def _general(results: Results) -> list[Claim]:
    found = []
    for name, dataset in results.datasets.items():
        diverged = int((dataset["diverged_at"] >= 0).sum())
        found.append(
            Claim(f"{name}: no model diverges", "training", 0, diverged, 0, diverged == 0,
                  "" if diverged == 0 else "diverged_at in the dataset says at which step")
        )  # fmt: skip
        if "dimensionality" in dataset:
            excess = float(np.nanmax(dataset["dimensionality"].sum("feature") - dataset.attrs["n_hidden"]))
            found.append(
                Claim(f"{name}: sum of the dimensionalities of a model's features minus n_hidden (largest)",
                      "The Geometry of Superposition", "<= 0", excess, 1e-4, excess <= 1e-4)
            )  # fmt: skip
    return found
