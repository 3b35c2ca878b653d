"""The contract of every study: whatever the thresholds, whatever diverged, however small the grid, its figures are
drawn and its claims are claims. The data are made up, nothing is trained."""

import importlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import superjax
from superjax import analysis, plots, spec, studies
from superjax.disk.files import finite
from superjax.plots import canvas
from superjax.runs.case_run import snapshot_steps
from superjax.runs.dataset import derive
from superjax.runs.stages.attack import KINDS
from superjax.spec import Case, Sweep, SweepError, packaged
from superjax.spec.grid import Grid
from superjax.studies import Results, basic_results
from superjax.studies.results import at_points, in_order

SMALL = {  # overrides that keep data and drawings small
    "absolute_value": ["restarts=2", "axes.density.values=[1, 0.1, 0.001]", "case.computation.n_features=12",
                       "case.computation.n_hidden=5"],
    "adversarial": ["restarts=2", "axes.density.points=3"],
    "activation_functions": ["restarts=2", "train.streams=2", "axes.importance.points=4", "axes.density.points=4",
                             "cases=relu,silu,identity"],
    "basic_results": ["restarts=2", "axes.density.values=[1, 0.1, 0.003]", "cases=A_linear,A_notebook,A_best"],
    "correlated_features": ["restarts=2", "axes.density.values=[0.5, 0.3, 0.1, 0.01]"],
    "correlated_phase_diagram": ["restarts=2", "axes.importance.points=4", "axes.density.points=4",
                                 "axes.correlation.values=[-1, 0, 1]"],
    "features_and_dimensions": ["restarts=2", "n_features=20", "n_hidden=4", "axes.dimensions.values=[1, 2, 4]",
                                "axes.density.points=4"],
    "dictionary_learning": ["restarts=2", "axes.density.values=[1, 0.5, 0.05]", "axes.correlation.values=[0, 1]",
                            "cases=narrow,true_width,wide,true_start,true_directions,random_directions,top_1,top_3",
                            *(f"case.{name}.axes.penalty.points=2" for name in ("narrow", "true_width", "wide",
                              "true_start", "true_directions", "random_directions"))],
    "five_features": ["restarts=2", "axes.density.values=[1, 0.5, 0.2, 0.1]"],
    "l1_penalty": ["axes.penalty.points=4", "axes.density.points=4", "case.many.axes.penalty.points=3",
                   "case.many.axes.density.points=3", "cases=equal,many"],
    "learning_dynamics": ["restarts=2", "train.snapshots=12", "train.steps=2000"],
    "perturbed_feature": ["restarts=2", "axes.perturbed.points=5", "cases=density_02,density_05"],
    "phase_diagram": ["restarts=2", "axes.importance.points=4", "axes.density.points=4"],
    "phase_boundary": ["restarts=2", "axes.importance.points=4", "axes.density.points=4"],
    "privileged_basis": ["restarts=2", "axes.density.values=[1, 0.15, 0.02]"],
    "protocols": ["restarts=2", "axes.importance.points=4", "axes.density.points=4",
                  "cases=n2_m1_minibatch,n3_m2_notebook"],
    "transition_order": ["restarts=2", "case.along_density.axes.importance.points=5",
                         "case.along_density.axes.density.points=6", "case.along_importance.axes.importance.points=6",
                         "case.along_importance.axes.density.points=4"],
    "uniform_geometry": ["restarts=2", "n_features=24", "n_hidden=4", "axes.density.points=9"],
}  # fmt: skip
ONE_POINT = {  # the smallest grid that a study takes, and a single case
    "absolute_value": ["restarts=1", "axes.density.values=[0.1]", "cases=motif"],
    "adversarial": ["restarts=1", "axes.density.points=1", "cases=n20_m5"],
    "activation_functions": ["restarts=1", "train.streams=1", "axes.importance.points=3", "axes.density.points=3",
                             "cases=tanh"],
    "basic_results": ["restarts=1", "axes.density.values=[0.1]", "cases=A_best"],
    "correlated_features": ["restarts=1", "axes.density.values=[0.3]", "cases=correlated_pairs,local_bases"],
    "correlated_phase_diagram": ["restarts=1", "axes.importance.points=3", "axes.density.points=3",
                                 "axes.correlation.values=[0.3]"],
    "features_and_dimensions": ["restarts=1", "n_features=8", "n_hidden=2", "axes.dimensions.values=[2]",
                                "axes.density.values=[0.2]"],
    "dictionary_learning": ["restarts=1", "axes.density.values=[0.05]", "axes.correlation.values=[0]", "cases=narrow",
                            "case.narrow.axes.penalty.points=1"],
    "five_features": ["restarts=1", "axes.density.values=[0.2]"],
    "l1_penalty": ["case.less_important.restarts=1", "case.less_important.train.streams=1", "axes.penalty.points=3",
                   "axes.density.points=3", "cases=less_important"],
    "learning_dynamics": ["restarts=1", "train.snapshots=[1, 5, 9]", "cases=octahedron"],
    "perturbed_feature": ["restarts=1", "axes.perturbed.points=1", "cases=density_05"],
    "phase_diagram": ["restarts=1", "axes.importance.points=3", "axes.density.points=3", "cases=n3_m2"],
    "phase_boundary": ["restarts=1", "axes.importance.points=2", "axes.density.points=2", "cases=n3_m2"],
    "privileged_basis": ["restarts=1", "axes.density.values=[0.1]", "cases=relu_hidden"],
    "protocols": ["restarts=1", "axes.importance.points=3", "axes.density.points=3", "cases=n2_m1_notebook"],
    "transition_order": ["restarts=1", "cases=along_density", "case.along_density.axes.importance.points=1",
                         "case.along_density.axes.density.points=1"],
    "uniform_geometry": ["restarts=1", "n_features=8", "n_hidden=4", "axes.density.points=1", "cases=n400_m30"],
}  # fmt: skip
TWO_POINTS = {
    name: ["axes.density.values=[1, 0.05]"]
    for name in (
        "absolute_value",
        "adversarial",
        "basic_results",
        "correlated_features",
        "dictionary_learning",
        "five_features",
        "privileged_basis",
    )
} | {"perturbed_feature": ["axes.perturbed.points=2"], "uniform_geometry": ["axes.density.points=2"]}
TINY, HUGE = ([f"phases.{name}={value}" for name in ("represented", "superposed")] for value in (1e-18, 1e18))
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
        found = {stem.format(name): (own, values.astype(np.float32)) for (name, own), values in pairs}
        if case.model.kind == "two_layer":
            own, W = found.pop(stem.format("W"))
            W2 = W[..., ::-1].swapaxes(-1, -2).copy()
            found |= {stem.format("W1"): (own, W), stem.format("W2"): ((*own[:-2], *own[:-3:-1]), W2)}
        return found

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
    if case.autoencoder:
        coordinates["latent"] = np.arange(width := case.autoencoder.width)
        data |= {
            f"autoencoder_{name}": ((*dims, *own), rng.uniform(-low, 1, (*models, *sizes)).astype(np.float32))
            for name, own, sizes, low in (
                ("decoder", ("hidden", "latent"), (m, width), 1), ("firing", ("latent",), (width,), 0),
                *((name, (), (), 0) for name in ("loss", "objective", "fvu", "l0", "dead")),
            )
        }  # fmt: skip
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
        data["family_grad_norm"] = ((*grid.dims, "family"), 1e-5 * data["family_loss"][1])
        data["family_slope"] = ((*grid.dims, "family"), rng.normal(size=shape).astype(np.float32))
    if case.attack:
        data |= attacks(rng, dims, lost, value, n)
        coordinates["attack"] = list(KINDS)
    if case.boundary:
        data |= lines(case, grid, lost.all())
        phases = ("not represented", "dedicated", "superposed")
        coordinates["boundary_kind"] = (
            ["diverged", *(", ".join([phases[k], *phases[: n - 1]]) for k in range(3))]
            if case.boundary.of == "phases" else ["diverged", "no superposition", "superposition"]
        )  # fmt: skip
    dataset = xr.Dataset(data, coordinates)
    dataset["loss"].attrs["loss_error"] = 0.0
    return derive(dataset, case)


def attacks(rng: np.random.Generator, dims: tuple[str, ...], lost: np.ndarray, value: float, n: int) -> dict:
    """What random attacks do to models of which some are lost."""
    shape, excess = lost.shape, rng.uniform(0.1, 1, (*lost.shape, len(KINDS)))
    found = {"attack_excess": excess, "attack_loss": 1 + excess, "attack_vulnerability": excess.max(-1) / 0.1,
             "attack_each_vulnerability": 5 * excess.max(-1), "attack_clean_loss": np.ones(shape),
             "attack_on": rng.uniform(0, 1, (*shape, n))}  # fmt: skip
    found |= {"attack_less": excess.max(-1, keepdims=True) - excess, "attack_worst": excess.argmax(-1).astype(float)}
    found |= {f"{name}_error": 0.01 * found[name] for name in ("attack_excess", "attack_less", "attack_vulnerability")}
    for values in found.values():
        values[lost] = value
    own = {"attack_excess": ("attack",), "attack_excess_error": ("attack",), "attack_loss": ("attack",),
           "attack_less": ("attack",), "attack_less_error": ("attack",), "attack_on": ("feature",)}  # fmt: skip
    return {name: ((*dims, *own.get(name, ())), values) for name, values in found.items()} | {
        f"attack_{name}": (dims[:-1], np.full(shape[:-1], 0.1)) for name in ("baseline", "radius")
    }


def lines(case: Case, grid: Grid, lost: bool) -> dict:
    """A boundary from one side of the plane to the other, a closed one and an end of a band; none if all are lost."""
    share = np.linspace(0, 1, 9)
    around = np.stack([0.5 + 0.2 * np.sin(2 * np.pi * share), 0.5 + 0.2 * np.cos(2 * np.pi * share)])
    drawn = [] if lost else [np.stack([share, 0.2 + 0.5 * share]), around, np.stack([share, 0.3 * share])]
    places = np.concatenate([np.zeros((2, 0)), *drawn], axis=1)
    found = {}
    for (name, (_, values)), place in zip(grid.coordinates.items(), places, strict=True):
        ends = np.log([values[0], values[-1]])
        found[f"boundary_{name}"] = (("boundary_vertex",), np.exp(ends[0] + (ends[1] - ends[0]) * place))
        found[f"boundary_point_{name}"] = (("boundary_point",), values)
    points = len(case.axes["importance"].table())
    of_lines = {"vertices": [9, 9, 9], "lower": [1, 1, 2], "upper": [2, 2, 2], "share": [np.nan, np.nan, 0.1],
                "closed": [0, 1, 0]}  # fmt: skip
    found |= {
        f"boundary_{name}": (("boundary_line",), np.array(values[: len(drawn)], np.float32 if name == "share" else int))
        for name, values in of_lines.items()
    }
    found["boundary_point_class"] = (("boundary_point",), np.arange(points) % 3 * (not lost))
    numbers = {"resolution": 0.001, "band_resolution": 0.03, "models": 1000, "full_grid": 1e6}
    return found | {f"boundary_{name}": ((), value) for name, value in numbers.items()}


def results_of(sweep: Sweep, *wild) -> Results:
    with np.errstate(all="ignore"):
        datasets = {name: made_up(case, *wild) for name, case in sweep.cases.items()}
    return Results(sweep, datasets, {})


@pytest.fixture(autouse=True)
def small_sample(monkeypatch):
    """The reference searches are tested elsewhere."""
    monkeypatch.setattr(importlib.import_module("superjax.studies.privileged_basis.view"), "POINTS", 64)
    monkeypatch.setattr(importlib.import_module("superjax.studies.phase_diagram.claims"), "SAMPLE", {2: 1, 3: 1})


def check_contract(results: Results, folder) -> None:
    """Figures are drawn, claims well-formed, and what is written is JSON of finite numbers."""
    paths = studies.draw(results, folder)
    assert paths
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG"), path
    for claim in studies.claims(results):
        assert claim.claim and isinstance(claim.claim, str) and isinstance(claim.note, str)
        assert type(claim.holds) is bool, claim
        json.dumps(finite(claim._asdict()), allow_nan=False)


def tried(name: str, *overrides: list[str]) -> Sweep:
    """A packaged sweep with overrides that may repeat each other's keys."""
    sweep = superjax.load(name, "plot.dpi=12")
    for batch in overrides:
        sweep = sweep.override(*batch)
    studies.check(sweep)
    return sweep


CASES = {  # grid, thresholds, which models diverged, and to what; the size of the others' weights
    "all diverged": (SMALL, [], "all", np.inf, 1.0),
    "all but one diverged": (SMALL, TINY, "most", np.inf, 1.0),
    "nothing is represented": (SMALL, HUGE, "half", np.nan, 1.0),
    "weights of 0": (SMALL, [], "none", np.nan, 0.0),
    "one point": (ONE_POINT, [], "none", np.nan, 1.0),
    "two points": (TWO_POINTS, [], "first", np.nan, 1.0),
}


def test_every_study_has_its_functions_and_a_sweep():
    """A folder of `superjax/studies` is tested here by being there."""
    assert {superjax.load(name).study for name in spec.available()} == set(packaged.studies()) == set(SMALL)
    for name in packaged.studies():
        study = importlib.import_module(f"superjax.studies.{name}")
        assert study.__doc__ and all(callable(getattr(study, what)) for what in ("check", "figures", "claims"))


def test_what_draws_and_what_is_drawn_are_apart():
    """The primitives know neither studies nor sweeps."""
    for module in Path(plots.__file__).parent.glob("*.py"):
        assert not re.search(r"superjax(\.| import )(studies|spec|runs|problem|engine)", module.read_text()), module


@pytest.mark.parametrize("name", packaged.studies())
@pytest.mark.parametrize("case", CASES)
def test_every_study_draws_and_judges(name, case, tmp_path, monkeypatch):
    """Without matplotlib's layout, which takes longest; pixels of the smallest and the emptiest figures only."""
    (grid, phases, *wild), image = CASES[case], canvas.image

    def quick(figure, dpi, kind):
        figure.set_layout_engine("none")
        return image(figure, dpi, kind) if case in ("all diverged", "one point") else b"\x89PNG"

    monkeypatch.setattr(canvas, "image", quick)
    overrides = [SMALL[name], TWO_POINTS.get(name, [])] if grid is TWO_POINTS else [grid[name]]
    check_contract(results_of(tried(name, *overrides, phases), *wild), tmp_path)


def test_thresholds_of_any_size_are_written():
    """A threshold beyond all norms, given after the run: no feature is represented, no cosine known."""
    sweep = tried("correlated_features", SMALL["correlated_features"], ["phases.represented=30"])
    claims = studies.claims(results_of(sweep))
    unknown = [claim for claim in claims if isinstance(claim.measured, float) and np.isnan(claim.measured)]
    assert unknown and not any(claim.holds for claim in unknown)


def test_what_diverged_is_not_represented():
    """Where the only model diverged nothing is counted and nothing is claimed."""
    sweep = tried("basic_results", ONE_POINT["basic_results"])
    lost, fine = results_of(sweep, "all"), results_of(sweep)
    assert not analysis.represented(lost.datasets["A_best"]["phase"].values).any()
    assert basic_results.figures(lost).keys() == basic_results.figures(fine).keys()
    assert len(studies.claims(lost)) == 2 < len(studies.claims(fine))  # those of any sweep


@pytest.mark.parametrize("name", ["five_features", "perturbed_feature", "uniform_geometry"])
def test_captions_say_what_is_not_drawn(name):
    sweep = tried(name, ["restarts=2"], SMALL[name] if name == "uniform_geometry" else [])
    for wild in ("none", "first"):
        results = results_of(sweep, wild)
        with canvas.plain():
            figures = importlib.import_module(f"superjax.studies.{sweep.study}").figures(results)
            captions = [" ".join(figure.get_supxlabel().split()) for figure in figures.values()]
        diverged = sum(int((data["diverged_at"] >= 0).sum()) for data in results.datasets.values())
        assert any("Drawn: " in caption for caption in captions)
        assert all((f"of which {diverged} diverged" in caption) == (wild == "first") for caption in captions)


# --- models of the user -----------------------------------------------------------------------------

ODD = {  # arrays of models that can be trained; whether their phases are known
    "no bias": ({"W": ("hidden", "feature")}, True),
    "two weights": ({"W": ("hidden", "feature"), "D": ("feature", "hidden")}, True),
    "a hidden bias": ({"W": ("hidden", "feature"), "b": ("hidden",)}, True),
    "one bias": ({"W": ("hidden", "feature"), "b": ()}, True),
    "a table as bias": ({"W": ("hidden", "feature"), "b": ("hidden", "feature")}, True),
    "turned": ({"W": ("feature", "hidden"), "b": ("feature",)}, True),
    "experts": ({"W": ("expert", "hidden", "feature"), "b": ("feature",)}, False),
    "one row": ({"W": ("feature",)}, False),
    "other names": ({"V": ("neuron", "feature")}, False),
}
AXES = {
    "density": ("data.density", [0.3, 1.0, 0.1]),
    "rate": ("train.learning_rate", [0.01, 0.02]),
    "extra": ("importance[-1]", [0.5, 1.0, 2.0]),
}


def swept(folder: Path, axes: dict[str, tuple[str, list[float]]], *overrides: str) -> Sweep:
    text = "n_features = 3\nn_hidden = 2\nrestarts = 2\ntrain.steps = 9\nplot.dpi = 12\n"
    for name, (field, values) in axes.items():
        text += f'[axes.{name}]\nfield = "{field}"\nvalues = {values}\n'
    (folder / "mine.toml").write_text(text)
    return superjax.load(folder / "mine.toml", *overrides)


@pytest.mark.parametrize("axes", range(4))
@pytest.mark.parametrize("model", ODD)
def test_a_model_of_any_arrays_is_drawn(model, axes, tmp_path, monkeypatch):
    dims, has_phases = ODD[model]
    sweep = swept(tmp_path, dict(list(AXES.items())[:axes]))
    (case,) = sweep.cases.values()
    data = made_up(case)[["loss", "feature_loss", "explained", "grad_norm", "diverged_at"]]
    sizes, rng = {"feature": 3, "hidden": 2, "expert": 2, "neuron": 4}, np.random.default_rng(0)
    for name, own in dims.items():
        shape = (*data["loss"].shape, *(sizes[dim] for dim in own))
        data[name] = (*data["loss"].dims, *own), rng.normal(size=shape).astype(np.float32)
    data = derive(data, case)
    assert ("phase" in data) == has_phases
    monkeypatch.setattr(canvas, "image", lambda figure, dpi, kind: b"\x89PNG")
    check_contract(Results(sweep, {"mine": data}, {}), tmp_path)
    assert (tmp_path / "mine.png").is_file()


OWN = """
import equinox, jax

class Own(equinox.Module):
    W: jax.Array
    dims = {"W": %s}
"""


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", packaged.studies())
def test_a_study_refuses_a_model_that_it_cannot_draw(name, turned, tmp_path, monkeypatch):
    """One without a bias is either refused or drawn; one whose phases are not known is always refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(canvas, "image", lambda figure, dpi, kind: b"\x89PNG")
    dims = ("feature", "hidden") if turned else ("hidden", "feature")
    (module := tmp_path / f"odd_{name}_{turned}.py").write_text(OWN % (dims,))
    importlib.invalidate_caches()
    sweep = superjax.load(name, *SMALL[name]).override(f"model.kind={module.stem}:Own", "plot.dpi=12")
    try:
        studies.check(sweep)
    except SweepError as error:
        if name in ("phase_diagram", "protocols", "five_features", "correlated_phase_diagram"):
            assert turned and "needs a model with W ('hidden', 'feature')" in str(error)
        assert f"the study {sweep.study} " in str(error)
        return
    assert not turned
    results = results_of(sweep)
    datasets = {case: data.drop_vars([v for v in data if str(v).endswith(("b", "b_snapshots"))])
                for case, data in results.datasets.items()}  # fmt: skip
    check_contract(results._replace(datasets=datasets), tmp_path)


# --- the order of an axis -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["phase_diagram", "five_features", ""])
def test_axes_that_go_up_and_down_are_drawn_and_judged_in_order(name, tmp_path, monkeypatch):
    """Figures and claims are those of the rising axes; what is stored keeps its order."""
    drawn: list[list[np.ndarray]] = []

    def lines(figure, dpi, kind):
        figures = [figure, *getattr(figure, "subfigs", [])]
        drawn[-1] += [line.get_xydata() for part in figures for ax in part.axes for line in ax.lines]
        return b"\x89PNG"

    sweep = tried(name, SMALL[name]) if name else swept(tmp_path, {"density": AXES["density"]})
    monkeypatch.setattr(canvas, "image", lines)
    results = results_of(sweep)
    told = []
    for order in (lambda points: points, lambda points: np.roll(points, 1)):
        cases, datasets = dict(results.sweep.cases), dict(results.datasets)
        for key, case in sweep.cases.items():
            for dim, axis in case.axes.items():
                points = order(np.argsort(axis.table()[:, 0]))
                cases[key], datasets[key] = at_points(cases[key], datasets[key], dim, points)
        given = results._replace(sweep=replace(sweep, cases=cases), datasets=datasets)
        stored = {key: data.copy(deep=True) for key, data in datasets.items()}
        drawn.append([])
        studies.draw(given, tmp_path)
        told.append([tuple(claim) for claim in studies.claims(given)])
        assert all(data.identical(stored[key]) for key, data in datasets.items())
    assert drawn[0]
    np.testing.assert_equal(*drawn)
    np.testing.assert_equal(*told)


@pytest.mark.parametrize("name", packaged.studies())
def test_axes_that_rise_or_fall_stay_as_they_are(name):
    results = results_of(tried(name, SMALL[name]))
    given = in_order(results)
    for case, data in results.datasets.items():
        assert given.datasets[case] is data and given.sweep.cases[case] is results.sweep.cases[case]
