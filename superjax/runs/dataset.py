"""Trained models as labelled data: one xarray dataset per case, in the terms of the paper."""

from collections.abc import Mapping
from functools import partial

import jax
import numpy as np
import xarray as xr
from jaxtyping import Shaped

from superjax import analysis
from superjax.engine.train import Cell, Evaluation
from superjax.runs.chunks import Trained
from superjax.runs.stages.families import Followed
from superjax.runs.stages.optimum import Optimum
from superjax.spec import Case, Phases
from superjax.spec.grid import Grid

NEGLIGIBLE = 1e-4  # a loss below this fraction of that of predicting the means counts as so much in `loss_error`
REACHED = 0.01  # a restart reaches the optimum if its loss is at most this fraction above it
_LABELS = {
    "restart": "number of the independent initialisation",
    "feature": "number of the feature",
    "step": "steps trained",
    "phase_kind": "phase",
    "W": "weights, column i is the direction of feature i",
    "b": "bias",
    "loss": "importance-weighted squared error, summed over features",
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
    "phase_fraction": "fraction of restarts in each phase",
    "optimum_W": "weights of the best solution found",
    "optimum_b": "bias of the best solution found",
    "optimum_loss": "loss of the best solution found",
    "optimum_other_W": "weights of the best solution found whose phases differ from the optimum's",
    "optimum_other_b": "bias of the best solution found whose phases differ from the optimum's",
    "optimum_other_loss": "loss of the best solution found whose phases differ from the optimum's",
    "optimum_norm": "norm of the feature's direction in the best solution found",
    "optimum_interference": "interference of the feature in the best solution found",
    "optimum_phase": "how the feature is represented in the best solution found",
    "optimum_margin": "margin of optimum_phase",
    "family": "solutions followed along an axis, each from weights of its own",
    "family_W": "weights of the family's solution",
    "family_b": "bias of the family's solution",
    "family_loss": "loss of the family's solution",
    "family_norm": "norm of the feature's direction in the family's solution",
    "family_solution": "polytopes that the represented features of the family's solution form",
    "family_solution_deviation": "largest deviation of a component of the family's solution from its polytope",
    "gap": "(optimum_other_loss - optimum_loss) / optimum_loss",
    "success": f"fraction of restarts whose loss is within {REACHED:.0%} of the optimum's",
    "agreement": "fraction of restarts with the phases of the optimum, up to interchangeable features",
}

Variables = dict[str, tuple[tuple[str, ...], Shaped[np.ndarray, "..."]]]


def assemble(
    case: Case,
    trained: Trained,
    evaluation: Evaluation,
    snapshot_losses: Shaped[np.ndarray, "models snapshots"] | None,
    optimum: Optimum | None,
    families: Followed | None,
    cells: Cell,
    steps: list[int],
) -> xr.Dataset:
    """Label what was trained: dims are the axis names, then `restart`, then those that the model declares."""
    grid = Grid(case)
    by_restart = partial(_by_restart, grid)
    array_dims = type(trained.models).dims
    dims = (*grid.dims, "restart")

    variance = np.asarray(jax.vmap(lambda distribution: distribution.variance())(cells.data))
    feature_loss = by_restart(evaluation.feature_loss)
    data: Variables = {
        name: ((*dims, *own), by_restart(getattr(trained.models, name))) for name, own in array_dims.items()
    }
    data |= {
        "loss": (dims, by_restart(evaluation.loss)),
        "feature_loss": ((*dims, "feature"), feature_loss),
        "explained": ((*dims, "feature"), 1 - feature_loss / grid.unflatten(variance)[..., None, :]),
        "grad_norm": (dims, by_restart(evaluation.grad_norm)),
        "diverged_at": (dims, by_restart(trained.diverged_at)),
    }
    coordinates = {**grid.coordinates, "restart": np.arange(case.restarts), "feature": np.arange(case.n_features)}
    if trained.snapshots is not None:
        coordinates["step"] = ("snapshot", np.array(steps))
        for name, ds in array_dims.items():
            data[f"{name}_snapshots"] = ((*dims, "snapshot", *ds), by_restart(getattr(trained.snapshots, name)))
        data["loss_snapshots"] = ((*dims, "snapshot"), by_restart(snapshot_losses))
    if optimum is not None:
        for prefix, models, loss in (
            ("optimum", optimum.models, optimum.loss),
            ("optimum_other", optimum.other_models, optimum.other_loss),
        ):
            data[f"{prefix}_loss"] = (grid.dims, grid.unflatten(loss))
            for name, ds in array_dims.items():
                data[f"{prefix}_{name}"] = ((*grid.dims, *ds), grid.unflatten(getattr(models, name)))
    if families is not None:
        coordinates["family"] = list(case.families)
        data["family_loss"] = ((*grid.dims, "family"), grid.unflatten(families.loss))
        for name, ds in array_dims.items():
            data[f"family_{name}"] = ((*grid.dims, "family", *ds), grid.unflatten(getattr(families.models, name)))
    dataset = xr.Dataset(data, coordinates)
    nothing = np.sum(cells.importance * variance, axis=-1)  # the loss of a model that predicts the means
    floor = np.repeat(NEGLIGIBLE * nothing, case.restarts)
    error = np.abs(evaluation.second_loss - evaluation.loss) / np.maximum(evaluation.loss, floor)
    dataset["loss"].attrs["loss_error"] = float(np.max(error, where=np.isfinite(error), initial=0.0))
    return derive(dataset, case)


def derive(dataset: xr.Dataset, case: Case) -> xr.Dataset:
    """The dataset with everything that follows from its weights and losses, under the case's phase thresholds.

    Replaces what is there, so thresholds can be changed after the run. Which other solution of a cell was kept
    (`optimum_other_W`, hence `gap`) was decided under the thresholds of the run.
    """
    grid = Grid(case)
    loss = dataset["loss"].values
    data: Variables = {"best": (grid.dims, analysis.best_restart(loss).astype(np.int32))}
    named: dict[str, analysis.Solutions] = {}
    if "W" in dataset and dataset["W"].dims == (*grid.dims, "restart", "hidden", "feature"):
        per_feature = (*grid.dims, "restart", "feature")
        measures = analysis.measure(dataset["W"].values, **case.phases.model_dump())
        data |= {name: (per_feature, values) for name, values in measures._asdict().items()}
        for name in ("norm", "interference"):
            outcome = analysis.typical_outcome(loss, data[name][1])
            data[f"typical_{name}"] = ((*grid.dims, "feature"), outcome)
        named["solution"] = analysis.solutions(dataset["W"].values, case.phases.represented)
        fractions = analysis.phase_fractions(measures.phase).astype(np.float32)
        data["phase_fraction"] = ((*grid.dims, "feature", "phase_kind"), fractions)
    if "family_W" in dataset:
        norm = analysis.norm(dataset["family_W"].values)
        data["family_norm"] = ((*grid.dims, "family", "feature"), norm)
        named["family_solution"] = analysis.solutions(dataset["family_W"].values, case.phases.represented)
    for name, found in named.items():
        own = (*grid.dims, "family" if name.startswith("family") else "restart")
        data[name] = (own, found.number.astype(np.int16))
        data[f"{name}_deviation"] = (own, found.deviation)
    if "optimum_W" in dataset:
        data |= _derive_optimum(dataset, case, grid, data["phase"][1])
    dataset = dataset.assign(data).assign_coords(phase_kind=list(analysis.PHASES))
    labels = _LABELS | {
        coordinate: case.axes[dim].label or f"{' and '.join(case.axes[dim].names)}"
        for coordinate, (dim, _) in grid.coordinates.items()
    }
    for name, variable in dataset.variables.items():
        label = labels.get(str(name).removesuffix("_snapshots"), f"array {name} of the model")
        variable.attrs |= {"long_name": label, "units": "1"}
        if str(name).endswith("phase"):
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
    """The thresholds that a dataset's phases were decided with, None if it has no phases."""
    if "phase" not in dataset:
        return None
    return Phases(**{name: float(dataset["phase"].attrs[name]) for name in Phases.model_fields})


def _derive_optimum(dataset: xr.Dataset, case: Case, grid: Grid, phase: np.ndarray) -> Variables:
    numbers = grid.numbers()
    importance, density = (grid.unflatten(numbers[name]) for name in ("importance", "density"))
    best = analysis.measure(dataset["optimum_W"].values, **case.phases.model_dump())
    size = case.data.set_size
    signature = analysis.phase_signature(phase, importance[..., None, :], density[..., None, :], size)
    reference = analysis.phase_signature(best.phase, importance, density, size)
    loss, optimum_loss = dataset["loss"].values, dataset["optimum_loss"].values
    gap = (dataset["optimum_other_loss"].values - optimum_loss) / optimum_loss
    per_feature = (*grid.dims, "feature")
    return {
        "optimum_norm": (per_feature, best.norm),
        "optimum_interference": (per_feature, best.interference),
        "optimum_phase": (per_feature, best.phase),
        "optimum_margin": (per_feature, best.margin),
        "gap": (grid.dims, gap),
        "success": (grid.dims, analysis.reached(loss, optimum_loss, REACHED).mean(-1).astype(np.float32)),
        "agreement": (grid.dims, analysis.agreement(signature, reference).astype(np.float32)),
    }


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
