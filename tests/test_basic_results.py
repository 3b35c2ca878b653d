"""The basic results: linear models against their closed form, counts, and what is drawn."""

import json

import numpy as np
import pytest

import superjax
from superjax import studies
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
        yield


@pytest.fixture(scope="module")
def results():
    sweep = superjax.load("basic_results", *SMALL, "case.A_notebook.train.streams=2")
    return Results(sweep, superjax.run(sweep), {})


def test_the_linear_model_is_principal_component_analysis(results):
    found = [claim for claim in studies.claims(results) if "linear" in claim.claim and "A: " in claim.claim]
    assert len(found) == 4
    for claim in found:
        assert claim.holds, claim


def test_the_best_fit_is_the_lowest_of_all_relu_cases(results):
    (group,) = view.groups(results)
    best = group.best_found()
    lowest = np.minimum(*(group.data[kind]["loss"].min("restart").values for kind in ("notebook", "best")))
    np.testing.assert_array_equal(best["loss"].values, lowest)
    assert set(best["kind"].values) <= {"notebook", "best"} and best.sizes["density"] == 3
    for point, kind in enumerate(best["kind"].values):
        np.testing.assert_array_equal(best["W"][point], group.best(kind)["W"][point])


def test_published_counts_are_compared_with_the_median_of_the_fits(results):
    claims = {claim.claim: claim for claim in studies.claims(results)}
    claim = claims["A: represented features at density 0.3, published protocol (median)"]
    phase = results.datasets["A_notebook"]["phase"].sel(density=0.3)
    assert claim.expected == 7 and claim.measured == np.median(view.count(phase))
    assert claim.holds == (abs(claim.measured - 7) <= 1)
    assert not any("density 0.1," in name for name in claims)  # not among the densities of this run


def test_the_figures_draw_weights_norms_and_counts(results):
    (group,) = view.groups(results)
    figure = weights(results, group)
    panels = [ax for ax in figure.axes if ax.images or ax.patches]
    best = group.best_found()
    for point in range(3):
        gram, bars = panels[3 * 3 + point], panels[4 * 3 + point]
        W, b = best["W"].values[point], best["b"].values[point]
        np.testing.assert_allclose(gram.images[0].get_array()[:, :20], W.T @ W, atol=1e-6)
        np.testing.assert_allclose(gram.images[0].get_array()[:, -1], b)
        np.testing.assert_allclose([bar.get_width() for bar in bars.patches], best["norm"].values[point])
        assert bars.texts[0].get_text().startswith(f"{(best['phase'].values[point] > 0).sum()} represented")
    (ax, *_) = basic_results.figures(results)["counts"].axes
    drawn = {line.get_label(): line for line in ax.lines}
    np.testing.assert_array_equal(drawn["represented: best fit found"].get_ydata(), view.count(best["phase"]))
    published = dict(zip(*drawn["represented: bars of the paper's figure"].get_data(), strict=True))
    assert published == {1.0: 5, 0.3: 7, 0.003: 12}


@pytest.mark.parametrize("cases", ["A_linear", "B_best", "A_notebook"])
def test_some_of_the_cases_suffice(cases):
    sweep = superjax.load("basic_results", f"cases={cases}", "restarts=1", "train.steps=2")
    results = Results(sweep, superjax.run(sweep), {})
    assert studies.claims(results) and basic_results.figures(results)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("axes.density.field=data.density[0]", "needs exactly the axis density"),
        ("model.kind=tests.test_families:NoWeights", "compares the models linear and relu_output only"),
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
    assert any("principal angle" in claim for claim in lost) and any("WᵀW is 1" in claim for claim in lost)
    claims = {claim.claim: claim for claim in studies.claims(results._replace(datasets=data))}
    assert claims["A: represented features at density 1, published protocol (median)"].measured == 20


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
