"""The basic results: linear models against their closed form, counts, and what is drawn."""

import json

import numpy as np
import pytest

import superjax
from superjax import studies
from superjax.reference import active_counts
from superjax.runs import problems
from superjax.runs.netcdf import write_dataset
from superjax.spec import SweepError
from superjax.studies import Results, basic_results
from superjax.studies.basic_results import view
from superjax.studies.basic_results.figures import weights

SMALL = (
    "cases=A_linear,A_notebook,A_best", "restarts=2", "case.A_linear.train.steps=1500",
    "case.A_notebook.train.steps=40", "case.A_best.train.steps=400", "case.A_best.train.learning_rate=0.03",
    "axes.density.values=[1, 0.3, 0.003]",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def small_evaluation_sample():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problems, "_EVALUATION_SAMPLES", 2**10)
        patch.setattr(view, "SAMPLED_NUMBERS", 2**15)
        yield


@pytest.fixture(scope="module")
def results():
    sweep = superjax.load("basic_results", *SMALL, "case.A_notebook.train.streams=2")
    return Results(sweep, superjax.run(sweep), {})


def test_the_linear_model_is_principal_component_analysis(results):
    found = [claim for claim in studies.claims(results) if "linear model: " in claim.claim]
    assert len(found) == 4
    for claim in found:
        assert claim.holds, claim


def test_the_best_fit_is_the_lowest_of_all_relu_models_by_enumerated_losses(results):
    (group,) = view.groups(results)
    best, fits = group.best_found(), group.fits()
    assert fits.sizes["fit"] == 4 and fits["kind"].values.tolist() == ["notebook"] * 2 + ["best"] * 2
    np.testing.assert_array_equal(best["loss"].values, fits["loss"].values.min(1))
    for point, density in enumerate(group.density):
        W, b = fits["W"].values[point], fits["b"].values[point]
        again = active_counts.compare(W, b, group.importance, density, samples=2**14, seed=1)
        error = np.hypot(again.error, fits["error"].values[point])
        assert (np.abs(again.loss - fits["loss"].values[point]) < 5 * error).all()
        stored = np.concatenate([group.data[kind]["loss"].values[point] for kind in group.relu])
        np.testing.assert_allclose(again.loss, stored, rtol=0.3)  # the stored ones are of a small sample


def test_where_features_depend_on_each_other_the_stored_losses_decide():
    small = ("cases=A_best", "restarts=2", "train.steps=2", "axes.density.values=[0.3]", "data.kind=sets")
    sweep = superjax.load("basic_results", *small, "data.correlation=1", "data.set_size=2")
    (group,) = view.groups(Results(sweep, superjax.run(sweep), {}))
    np.testing.assert_array_equal(group.fits()["loss"], group.data["best"]["loss"])


def test_published_counts_are_compared_with_the_median_of_the_fits(results):
    (claim,) = [one for one in studies.claims(results) if "features, published protocol" in one.claim]
    measured = np.median(view.count(results.datasets["A_notebook"]["phase"]).transpose("density", "restart"), axis=1)
    assert claim.expected == [5, 7, 13] and claim.measured == measured.tolist() and claim.kind == "paper"
    assert claim.holds == (np.abs(measured - [5, 7, 13]) <= 1).all()
    assert claim.claim.endswith("densities 1, 0.3, 0.003")


def test_a_choice_within_the_noise_is_no_choice(results):
    """Fits said to have other numbers of features, with the weights of the best one."""
    (group,) = view.groups(results)
    named = "standard errors by which the best fit"
    (before,) = [claim for claim in studies.claims(results) if named in claim.claim]
    data = {name: data.copy(deep=True) for name, data in results.datasets.items()}
    point, best = 1, group.best_found().isel(density=1)
    for name in ("A_notebook", "A_best"):
        for restart in range(2):
            data[name]["W"][point, restart] = best["W"].values
            data[name]["b"][point, restart] = best["b"].values
            data[name]["phase"][point, restart] = restart
    (after,) = [claim for claim in studies.claims(results._replace(datasets=data)) if named in claim.claim]
    assert before.measured > 0 and after.measured == 0 and not after.holds


def test_the_figures_draw_weights_norms_and_counts(results):
    (group,) = view.groups(results)
    figure = weights(results, group)
    panels = [ax for ax in figure.axes if ax.images or ax.patches]
    best = group.best_found()
    for point in range(3):
        gram, bars = panels[1 + 2 * 3 + point], panels[1 + 3 * 3 + point]
        W, b = best["W"].values[point], best["b"].values[point]
        np.testing.assert_allclose(gram.images[0].get_array()[:, :20], W.T @ W, atol=1e-6)
        np.testing.assert_allclose(gram.images[0].get_array()[:, -1], b)
        np.testing.assert_allclose([bar.get_width() for bar in bars.patches], best["norm"].values[point])
        assert bars.get_title().startswith(f"{(best['phase'].values[point] > 0).sum()} in, ")
    assert sum(bool(ax.images) for ax in panels) == 1 + 2 * 3  # the linear model once
    (ax, *_) = basic_results.figures(results)["counts"].axes
    drawn = {line.get_label(): line for line in ax.lines}
    np.testing.assert_array_equal(drawn["represented: best fit found"].get_ydata(), view.count(best["phase"]))
    published = dict(zip(*drawn["represented: bars of the paper's figure"].get_data(), strict=True))
    assert published == {1.0: 5, 0.3: 7, 0.003: 13}


@pytest.mark.parametrize(
    "cases", ["A_linear", *(pytest.param(case, marks=pytest.mark.heavy) for case in ("B_best", "A_notebook"))]
)
def test_some_of_the_cases_suffice(cases):
    sweep = superjax.load("basic_results", f"cases={cases}", "restarts=1", "train.steps=2")
    results = Results(sweep, superjax.run(sweep), {})
    assert studies.claims(results) and basic_results.figures(results)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("axes.density.field=data.density[0]", "needs exactly the axis density"),
        ("model.kind=tests.runs.test_families:NoWeights", "compares the models linear and relu_output only"),
    ],
)
def test_refusals(override, said):
    with pytest.raises(SweepError, match=said):
        studies.check(superjax.load("basic_results", override))


def test_claims_can_be_recomputed_from_the_stored_datasets(results, tmp_path):
    for name, data in results.datasets.items():
        write_dataset(tmp_path / f"{name}.nc", data)
    stored = {name: superjax.open(tmp_path / f"{name}.nc") for name in results.datasets}
    first, again = (studies.claims(results._replace(datasets=found)) for found in (results.datasets, stored))
    assert json.dumps([claim._asdict() for claim in first]) == json.dumps([claim._asdict() for claim in again])


def test_claims_notice_wrong_data(results):
    """A feature of the linear model replaced by another, and one more represented than the paper's figure has."""
    data = {name: data.copy(deep=True) for name, data in results.datasets.items()}
    W = data["A_linear"]["W"].values
    W[..., [0, 9]] = W[..., [9, 0]]
    data["A_notebook"]["phase"].values[0] = 2
    held = {claim.claim for claim in studies.claims(results) if claim.holds}
    lost = held - {claim.claim for claim in studies.claims(results._replace(datasets=data)) if claim.holds}
    assert any("angle between its rows" in claim for claim in lost) and any("WᵀW is 1" in claim for claim in lost)
    claims = {claim.claim: claim for claim in studies.claims(results._replace(datasets=data))}
    (published,) = [claim for name, claim in claims.items() if "features, published protocol" in name]
    assert published.measured[0] == 20 and not published.holds


@pytest.mark.heavy
def test_odd_cases_are_drawn_by_themselves_or_left_out():
    """A linear model under the name of the protocol, another shape in a group, models that all diverged."""
    small = ("restarts=1", "train.steps=2", "axes.density.values=[0.3, 0.1]")
    for overrides, shown in (
        (("cases=A_linear,A_notebook", "model.kind=linear"), ["A"]),
        (("cases=A_notebook,A_best", "case.A_best.n_features=10"), ["A", "A_best"]),
        (("cases=A_best", "train.learning_rate=1e30"), ["A"]),
    ):
        sweep = superjax.load("basic_results", *small, *overrides)
        results = Results(sweep, superjax.run(sweep), {})
        assert [group.name for group in view.groups(results)] == shown
        assert {f"weights_{name}" for name in shown} <= set(basic_results.figures(results))
        assert all(isinstance(claim.holds, bool) for claim in studies.claims(results))
