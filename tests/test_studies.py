"""The contract of every study: whatever the thresholds, whatever diverged, however small the grid, its figures are
drawn and its claims are claims. The data are made up, nothing is trained."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from matplotlib.text import Text

import superjax
from superjax import spec, studies
from superjax.dataset import derive
from superjax.files import finite
from superjax.grid import Grid
from superjax.plots import canvas, overview
from superjax.runner import snapshot_steps
from superjax.spec import Case, Sweep
from superjax.studies import Results, phase_diagram

SMALL = {  # overrides that keep shapes, data and drawings small
    "basic_results": ["restarts=3", "case.B_linear.n_features=9", "case.B_linear.n_hidden=3",
                      "case.B_notebook.n_features=9", "case.B_notebook.n_hidden=3",
                      "case.B_best.n_features=9", "case.B_best.n_hidden=3"],
    "correlated_features": ["restarts=3"],
    "correlated_phase_diagram": ["restarts=2", "axes.importance.points=4", "axes.density.points=5",
                                 "axes.correlation.values=[-1, 0, 0.4, 1]"],
    "five_features": ["restarts=3"],
    "learning_dynamics": ["restarts=3", "train.snapshots=30", "train.steps=2000"],
    "perturbed_feature": ["restarts=3", "axes.perturbed.points=5"],
    "phase_diagram": ["restarts=3", "axes.importance.points=4", "axes.density.points=5"],
    "protocols": ["restarts=3", "axes.importance.points=4", "axes.density.points=5"],
    "uniform_geometry": ["restarts=2", "n_features=24", "n_hidden=4", "axes.density.points=6"],
}  # fmt: skip
ONE_POINT = {  # the smallest grid that a study takes, and a single case
    "basic_results": ["restarts=1", "axes.density.values=[0.1]", "cases=A_best"],
    "correlated_features": ["restarts=1", "axes.density.values=[0.3]", "cases=correlated_pairs,local_bases"],
    "correlated_phase_diagram": ["restarts=1", "axes.importance.points=3", "axes.density.points=3",
                                 "axes.correlation.values=[0.3]"],
    "five_features": ["restarts=1", "axes.density.values=[0.2]"],
    "learning_dynamics": ["restarts=1", "train.snapshots=[1, 5, 9]", "cases=octahedron"],
    "perturbed_feature": ["restarts=1", "axes.perturbed.points=1", "cases=density_05"],
    "phase_diagram": ["restarts=1", "axes.importance.points=3", "axes.density.points=3", "cases=n3_m2"],
    "protocols": ["restarts=1", "axes.importance.points=3", "axes.density.points=3", "cases=n2_m1_notebook"],
    "uniform_geometry": ["restarts=1", "n_features=8", "n_hidden=4", "axes.density.points=1",
                         "axes.start.values=[0.1]"],
}  # fmt: skip
TWO_POINTS = {
    name: ["axes.density.values=[1, 0.05]"] for name in ("basic_results", "correlated_features", "five_features")
} | {"perturbed_feature": ["axes.perturbed.points=2"], "uniform_geometry": ["axes.density.points=2"]}
TINY, HUGE = (["phases.represented=1e-30", "phases.superposed=1e-30"], ["phases.represented=1e30", "phases.superposed=1e30"])  # fmt: skip
WILD: dict[str, Callable[[xr.DataArray], np.ndarray]] = {  # which models diverged, of (cells, restarts)
    "none": lambda loss: np.zeros(loss.shape, bool),
    "all": lambda loss: np.ones(loss.shape, bool),
    "first": lambda loss: np.arange(loss.size).reshape(loss.shape) < loss.shape[-1],  # of one cell
    "half": lambda loss: np.arange(loss.size).reshape(loss.shape) % 2 == 0,
    "most": lambda loss: np.arange(loss.size).reshape(loss.shape) > 0,
}


def made_up(case: Case, wild: str = "none", value: float = np.nan, weights: float = 1.0) -> xr.Dataset:
    """A dataset of random weights of a size and random losses, as the runner's, in which some models diverged."""
    rng, grid = np.random.default_rng(0), Grid(case)
    cells, n, m = grid.shape, case.n_features, case.n_hidden
    dims, models = (*grid.dims, "restart"), (*cells, case.restarts)
    coordinates = {**grid.coordinates, "restart": np.arange(case.restarts), "feature": np.arange(n)}

    def arrays(stem: str, dims: tuple, shape: tuple, lost: np.ndarray | None = None, value: float = np.nan) -> dict:
        W, b = weights * rng.normal(size=(*shape, m, n)), 0.1 * rng.normal(size=(*shape, n))
        loss = rng.uniform(0.01, 0.1, shape)
        lost = np.zeros(shape, bool) if lost is None else lost
        W[lost], b[lost], loss[lost] = value, value, value
        kinds = {"W": (*dims, "hidden", "feature"), "b": (*dims, "feature"), "loss": dims}
        pairs = zip(kinds.items(), (W, b, loss), strict=True)
        return {stem.format(name): (own, values.astype(np.float32)) for (name, own), values in pairs}

    lost = WILD[wild](np.empty(models))
    data = arrays("{}", dims, models, lost, value)
    feature_loss = rng.uniform(0, 0.01, (*models, n)).astype(np.float32)
    feature_loss[lost] = value
    data |= {
        "feature_loss": ((*dims, "feature"), feature_loss),
        "explained": ((*dims, "feature"), 1 - feature_loss),
        "grad_norm": (dims, np.where(lost, value, 0).astype(np.float32)),
        "diverged_at": (dims, np.where(lost, 2, -1).astype(np.int32)),
    }
    if steps := snapshot_steps(case.train):
        coordinates["step"] = ("snapshot", np.array(steps))
        shape = (*models, len(steps))
        data |= arrays("{}_snapshots", (*dims, "snapshot"), shape, np.repeat(lost[..., None], len(steps), -1), value)
    if case.optimum:  # nothing is stored where nothing was found
        data |= arrays("optimum_{}", grid.dims, cells, lost.all(-1))
        data |= arrays("optimum_other_{}", grid.dims, cells, lost.any(-1))
    if case.families:
        coordinates["family"] = list(case.families)
        shape = (*cells, len(case.families))
        gone = np.broadcast_to(lost.all(-1)[..., None], shape)
        data |= arrays("family_{}", (*grid.dims, "family"), shape, gone, value)
    dataset = xr.Dataset(data, coordinates)
    dataset["loss"].attrs["loss_error"] = 0.0
    return derive(dataset, case)


def results_of(sweep: Sweep, *wild) -> Results:
    with np.errstate(all="ignore"):
        datasets = {name: made_up(case, *wild) for name, case in sweep.cases.items()}
    return Results(sweep, datasets, {})


@pytest.fixture(autouse=True)
def small_sample(monkeypatch):
    """The reference search is tested elsewhere."""
    monkeypatch.setattr(phase_diagram, "SAMPLE", {2: 1, 3: 1})


def check_contract(results: Results, folder) -> None:
    """Figures are drawn, claims well-formed, and what is written is JSON of finite numbers."""
    for path in studies.draw(results, folder):
        assert path.read_bytes().startswith(b"\x89PNG"), path
    for claim in studies.claims(results):
        assert claim.claim and isinstance(claim.claim, str) and isinstance(claim.note, str)
        assert type(claim.holds) is bool, claim
        json.dumps(finite(claim._asdict()), allow_nan=False)
