"""What a study works on; and results at some points of their axes: where all models of a cell diverged, studies of one
axis draw and judge the rest."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int

from superjax.spec import Case, Sweep


class Results(NamedTuple):
    """What a study works on: the sweep, a dataset per case, and the run's manifest; `every` has all that was trained
    where `datasets` do not."""

    sweep: Sweep
    datasets: Mapping[str, xr.Dataset]
    manifest: Mapping[str, Any]
    every: Mapping[str, xr.Dataset] | None = None


def directions(case: Case, data: xr.Dataset, of: str = "") -> xr.DataArray | None:
    """The directions of the features (..., hidden, feature): the array that `phases.array` names, or its `_snapshots`.
    None if the model has no such array."""
    array = data.get(case.phases.array + of)
    models = {*case.axes, "restart", *(["snapshot"] if of else [])}
    if array is None or {*array.dims} != {*models, "hidden", "feature"}:
        return None
    return array.transpose(..., "hidden", "feature")


def known_points(data: xr.Dataset, dim: str) -> Bool[np.ndarray, " points"]:
    """Along an axis, where there is a model that did not diverge."""
    finite = xr.DataArray(np.isfinite(data["loss"]))
    for name in data.variables.keys() & {"W", "W1", "W2"}:
        array = xr.DataArray(np.isfinite(data[name]))
        finite = finite & array.all([dim for dim in array.dims if dim not in finite.dims])
    if "optimum_loss" in data:
        finite = finite & np.isfinite(data["optimum_loss"])
    return finite.any([name for name in finite.dims if name != dim]).values


def at_points(case: Case, data: xr.Dataset, dim: str, points: Int[np.ndarray, " points"]) -> tuple[Case, xr.Dataset]:
    """A case and its data at some points of an axis alone, given by their numbers."""
    if np.array_equal(points, np.arange(data.sizes[dim])):
        return case, data
    rows = case.axes[dim].table()[points].tolist()
    axis = case.axes[dim].model_copy(update={"range": None, "points": None, "values": rows})
    return case.model_copy(update={"axes": {**case.axes, dim: axis}}), data.isel({dim: points})


def known(results: Results) -> Results:
    """The results at the points of every case's first axis at which some model did not diverge, without the cases that
    have none."""
    cases, datasets = dict(results.sweep.cases), {}
    for name, data in results.datasets.items():
        dim = next(iter(cases[name].axes))
        if (points := known_points(data, dim)).any():
            cases[name], datasets[name] = at_points(cases[name], data, dim, np.flatnonzero(points))
    sweep = replace(results.sweep, cases=cases)
    return results._replace(sweep=sweep, datasets=datasets, every=results.every or results.datasets)


def only(results: Results, *names: str, title: str = "") -> Results:
    """The results of some cases, for a figure that shows no others: its caption counts the models of these. Another
    title, if that of the sweep is not about them."""
    sweep = replace(results.sweep, title=title or results.sweep.title)
    every = results.every or results.datasets
    return results._replace(sweep=sweep, datasets={name: results.datasets[name] for name in names},
                            every={name: every[name] for name in names})  # fmt: skip


def in_order(results: Results) -> Results:
    """The results with the values of every axis of one field rising or falling, as lines and maps need them."""
    cases, datasets = dict(results.sweep.cases), dict(results.datasets)
    for name in datasets:
        for dim, axis in cases[name].axes.items():
            values = axis.table()[:, 0]
            rises = np.diff(values) > 0
            if len(axis.names) == 1 and rises.any() and not rises.all():
                cases[name], datasets[name] = at_points(cases[name], datasets[name], dim, np.argsort(values))
    return results._replace(sweep=replace(results.sweep, cases=cases), datasets=datasets)
