"""Trained models as labelled data: one xarray dataset per case, in the terms of the paper."""

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import numpy as np
import xarray as xr
from jaxtyping import Shaped

from superjax import analysis
from superjax.engine.train import Cell, Evaluation
from superjax.problem.problem import Problem
from superjax.problem.terms import Squared
from superjax.runs.chunks import Trained
from superjax.runs.stages import STAGES, Found
from superjax.runs.stages.base import Variables
from superjax.spec import Case, Phases
from superjax.spec.grid import Grid
from superjax.studies.results import directions

OF_SNAPSHOTS = ("norm", "interference", "dimensionality", "phase")
OF_WEIGHTS = (
    *analysis.Measures._fields, *(f"{name}_snapshots" for name in OF_SNAPSHOTS), "typical_norm", "typical_interference",
    "typical_phase", "phase_fraction", "solution", "solution_deviation", "has_superposition", "superposition_fraction",
)  # fmt: skip
NEGLIGIBLE = 1e-4  # a loss below this fraction of that of predicting the means counts as so much in `loss_error`
_LABELS = {
    "restart": "number of the independent initialisation",
    "feature": "number of the feature",
    "output": "number of the output",
    "step": "steps trained",
    "phase_kind": "phase",
    "W": "weights, column i is the direction of feature i",
    "b": "bias",
    "W1": "weights of the first layer, column i is the direction of feature i",
    "W2": "weights of the second layer",
    "loss": "importance-weighted squared error, summed over features",
    "objective": "all terms that are minimised, the loss among them",
    "test_loss": "the same as loss for fresh inputs of the law that the points were drawn from",
    "feature_loss": "mean squared error of the feature, unweighted",
    "explained": "explained fraction of the feature's variance",
    "grad_norm": "norm of the gradient of the loss",
    "diverged_at": "first step whose gradient was not finite (all steps: only the last loss), -1 if there is none",
    "best": "restart of lowest loss (the first if all diverged)",
    "norm": "norm of the feature's direction",
    "interference": "sum over all j != i of (unit W_i . W_j)^2",
    "dimensionality": "fraction of a hidden dimension the feature has for itself",
    "phase": "how the feature is represented",
    "solution": "polytopes that the represented features form, as a tegum product",
    "solution_deviation": "largest deviation of a component from its polytope, in overlaps of unit vectors",
    "margin": "distance of the deciding quantity to its threshold, divided by the threshold",
    "typical_norm": "norm, the worst tenth of the restarts (rounded) dropped, the others averaged",
    "typical_interference": "interference, the worst tenth of the restarts (rounded) dropped, the others averaged",
    "typical_phase": "phase of most restarts; of equally many, that of the restart of lower loss",
    "phase_fraction": "fraction of restarts in each phase",
    "has_superposition": "1 if more features than n_hidden are represented",
    "superposition_fraction": "fraction of the restarts that did not diverge with superposition",
}


def assemble(
    case: Case,
    problem: Problem,
    trained: Trained,
    evaluation: Evaluation,
    snapshot_losses: Shaped[np.ndarray, "models snapshots"] | None,
    moments: tuple[Shaped[np.ndarray, "cells n_outputs"], Shaped[np.ndarray, "cells n_outputs"]],
    cells: Cell,
    steps: list[int],
) -> xr.Dataset:
    """Label what was trained: dims are the axis names, then `restart`, then those that the model declares. `moments`
    are mean and variance of every output's target."""
    grid = Grid(case)
    by_restart = partial(_by_restart, grid)
    array_dims = type(trained.models).dims
    dims, output = (*grid.dims, "restart"), problem.output

    _, variance = moments
    feature_loss = by_restart(evaluation.feature_loss)
    data: Variables = {
        name: ((*dims, *own), by_restart(getattr(trained.models, name))) for name, own in array_dims.items()
    }
    data |= {
        "loss": (dims, by_restart(evaluation.loss)),
        "feature_loss": ((*dims, output), feature_loss),
        "grad_norm": (dims, by_restart(evaluation.grad_norm)),
        "diverged_at": (dims, by_restart(trained.diverged_at)),
    }
    if issubclass(problem.terms[0], Squared):
        variances = grid.unflatten(np.where(variance > 0, variance, np.nan))[..., None, :]
        data["explained"] = ((*dims, output), 1 - feature_loss / variances)
    if evaluation.terms is not None:
        data["objective"] = (dims, by_restart(np.sum(evaluation.terms, axis=-1)))
        data |= {f"term_{name}": (dims, by_restart(evaluation.terms[:, k])) for k, name in enumerate(problem.names)}
    if problem.data.points:
        data["test_loss"] = (dims, by_restart(evaluation.second_loss))
    coordinates = {**grid.coordinates, "restart": np.arange(case.restarts), "feature": np.arange(case.n_features)}
    if output == "output":
        coordinates["output"] = np.arange(problem.n_outputs)
    if trained.snapshots is not None:
        coordinates["step"] = ("snapshot", np.array(steps))
        for name, ds in array_dims.items():
            data[f"{name}_snapshots"] = ((*dims, "snapshot", *ds), by_restart(getattr(trained.snapshots, name)))
        data["loss_snapshots"] = ((*dims, "snapshot"), by_restart(snapshot_losses))
    dataset = xr.Dataset(data, coordinates)
    dataset["loss"].attrs["loss_error"] = 0.0 if problem.data.points else _loss_error(case, evaluation, variance, cells)
    return dataset


def _loss_error(case: Case, evaluation: Evaluation, variance: np.ndarray, cells: Cell) -> float:
    """About the largest relative error of all losses."""
    weights = np.asarray(jax.vmap(lambda error: error.weights())(cells.laws.terms[0]))
    nothing = np.sum(weights * variance, axis=-1)  # the loss of a model that predicts the means
    floor = np.repeat(NEGLIGIBLE * nothing, case.restarts)
    error = np.abs(evaluation.second_loss - evaluation.loss) / np.maximum(evaluation.loss, floor)
    return float(np.max(error, where=np.isfinite(error), initial=0.0))


def merged(dataset: xr.Dataset, found: Sequence[Found]) -> xr.Dataset:
    """The dataset with what stages have found."""
    for stage in found:
        dataset = dataset.assign(stage.variables).assign_coords(stage.coordinates)
    return dataset


def derive(dataset: xr.Dataset, case: Case) -> xr.Dataset:
    """The dataset with everything that follows from its weights and losses, under the case's phase thresholds.

    Replaces what is there, so thresholds can be changed after the run. Which other solution of a cell was kept
    (`optimum_other_W`, hence `gap`) was decided under the thresholds of the run.
    """
    grid = Grid(case)
    loss = dataset["objective" if "objective" in dataset else "loss"].values
    data: Variables = {"best": (grid.dims, analysis.best_restart(loss).astype(np.int32))}
    named: dict[str, analysis.Solutions] = {}
    dataset = dataset.drop_vars(OF_WEIGHTS, errors="ignore")  # perhaps of another array
    if (found := directions(case, dataset)) is not None:
        W, per_feature = found.values, (*grid.dims, "restart", "feature")
        measures = analysis.measure(W, **case.phases.thresholds())
        data |= {name: (per_feature, values) for name, values in measures._asdict().items()}
        for name in ("norm", "interference"):
            outcome = analysis.typical_outcome(loss, data[name][1])
            data[f"typical_{name}"] = ((*grid.dims, "feature"), outcome)
        data["typical_phase"] = ((*grid.dims, "feature"), analysis.typical_phase(loss, measures.phase))
        named["solution"] = analysis.solutions(W, case.phases.represented)
        fractions = analysis.phase_fractions(measures.phase).astype(np.float32)
        n_hidden = grid.fields.get("n_hidden", np.full(1, case.n_hidden)).reshape(-1, 1)
        kept = analysis.represented(measures.phase).sum(-1)
        has = (kept.reshape(grid.n_cells, -1) > n_hidden).reshape(kept.shape)
        data["has_superposition"] = ((*grid.dims, "restart"), has.astype(np.int8))
        finite = np.isfinite(loss)
        share = has.sum(-1, where=finite) / np.maximum(finite.sum(-1), 1)
        data["superposition_fraction"] = (grid.dims, np.where(finite.any(-1), share, np.nan).astype(np.float32))
        data["phase_fraction"] = ((*grid.dims, "feature", "phase_kind"), fractions)
    if (found := directions(case, dataset, "_snapshots")) is not None:
        own = (*grid.dims, "restart", "snapshot", "feature")
        measures = analysis.measure(found.values, **case.phases.thresholds())
        data |= {f"{name}_snapshots": (own, getattr(measures, name)) for name in OF_SNAPSHOTS}
    if "family_W" in dataset:
        named["family_solution"] = analysis.solutions(dataset["family_W"].values, case.phases.represented)
    for name, found in named.items():
        own = (*grid.dims, "family" if name.startswith("family") else "restart")
        data[name] = (own, found.number.astype(np.int16))
        data[f"{name}_deviation"] = (own, found.deviation)
    for stage in STAGES:
        data |= stage.derive(dataset, case)
    dataset = dataset.assign(data).assign_coords(phase_kind=list(analysis.PHASES))
    labels = {**_LABELS, **{name: label for stage in STAGES for name, label in stage.labels_of(case).items()}} | {
        coordinate: case.axes[dim].label or f"{' and '.join(case.axes[dim].names)}"
        for coordinate, (dim, _) in grid.coordinates.items()
    }
    for name, variable in dataset.variables.items():
        label = labels.get(str(name).removesuffix("_snapshots"), f"array {name} of the model")
        if str(name).startswith("term_"):
            label = f"the term {str(name).removeprefix('term_')} of what is minimised, with its weight"
        variable.attrs |= {"long_name": label, "units": "1"}
        if str(name).removesuffix("_snapshots").endswith("phase"):
            variable.attrs |= {
                "flag_values": np.arange(len(analysis.PHASES), dtype=np.int8),
                "flag_meanings": " ".join(analysis.PHASES),
                **case.phases.model_dump(),
            }
    for name, found in named.items():
        words = [word.replace(" + ", "+").replace(" ", "_") for word in found.names]
        flags = {"flag_values": np.arange(len(words), dtype=np.int16), "flag_meanings": " ".join(words)}
        dataset[name].attrs |= flags
    dataset.attrs |= {"Conventions": "CF-1.11", **_attributes(case)}
    return dataset


def thresholds(dataset: xr.Dataset) -> Phases | None:
    """The thresholds that a dataset's phases were decided with, and the array, None if it has no phases."""
    if "phase" not in dataset:
        return None
    known = dataset["phase"].attrs
    return Phases(**{name: float(known[name]) for name in Phases().thresholds()}, array=str(known.get("array", "W")))


def _attributes(case: Case) -> Mapping[str, object]:
    return {
        "n_features": case.n_features,
        "n_hidden": case.n_hidden,
        "model": case.model.kind,
        "objective": case.train.objective,
        "steps": case.train.steps,
        "restarts": case.restarts,
        "seed": case.seed,
        "case": case.model_dump_json(exclude_none=True),
    }


def _by_restart(grid: Grid, flat: Shaped[np.ndarray, "models ..."]) -> Shaped[np.ndarray, "..."]:
    return grid.unflatten(flat.reshape(grid.n_cells, -1, *flat.shape[1:]))
