"""A privileged basis: kinds of solution and their minima of weights that are known, what figures draw, what claims
notice. Weights are made by hand and at random, nothing is trained."""

import json

import numpy as np
import pytest

import superjax
from superjax import analysis, studies
from superjax.disk.files import write_json
from superjax.reference import hidden_losses
from superjax.runs.netcdf import write_dataset
from superjax.spec import SweepError
from superjax.studies import privileged_basis
from superjax.studies.privileged_basis import view
from superjax.studies.privileged_basis.view import PAPER, boundaries, kinds, minima, turned
from tests.analysis.test_neurons import REGIMES, of_sets
from tests.studies.test_studies import results_of

REDUCED = ("restarts=4", "axes.density.values=[0.7, 0.15, 0.02]", "plot.dpi=30")


@pytest.fixture(scope="module", autouse=True)
def few_points():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view, "POINTS", 64)
        patch.setattr(view, "TRIED", 2)
        patch.setattr(view, "ASKED", 2)
        patch.setattr(view, "BISECTIONS", 2)
        yield


@pytest.fixture(scope="module")
def results() -> studies.Results:
    return results_of(superjax.load("privileged_basis", *REDUCED))


def with_weights(results, regimes: list[str]) -> studies.Results:
    """The results with the first restart of each density made by hand, and its loss the lowest."""
    data = results.datasets["relu_hidden"].copy(deep=True)
    for point, regime in enumerate(regimes):
        sets = [*REGIMES[regime], *[()] * 10][:10]
        W = of_sets(sets, 5)
        W[:, [not own for own in sets]] = 0.0
        data["W"].loc[{"restart": 0}].values[point] = W
        data["loss"].values[point, 0] = 0.0
    data["best"].values[:] = 0
    return results._replace(datasets=results.datasets | {"relu_hidden": data})


def test_kinds_are_those_of_the_weights(results):
    named = ["5 dedicated", "2 dedicated + 5 in 3", "10 in 5"]
    given = with_weights(results, named)
    case, data = given.sweep.cases["relu_hidden"], given.datasets["relu_hidden"]
    data["loss"].values[1, 3] = np.nan
    found = kinds(case, data)
    assert found[:, 0].tolist() == named and found[1, 3] == "diverged"
    for point in range(3):
        for restart in (1, 2):
            W = data["W"].values[point, restart].astype(float)
            assert found[point, restart] == analysis.regime(analysis.service(analysis.gains(W, W.T)).serves)
    squares = kinds(given.sweep.cases["linear_hidden"], data)  # a linear layer has no inhibition
    assert squares[0, 0] == "5 dedicated"


def test_minima_are_lower_than_what_was_trained_and_of_different_kinds(results):
    case, data = results.sweep.cases["relu_hidden"], results.datasets["relu_hidden"]
    found = minima(case, data)
    importance = np.array(case.importance_vector())
    for density, here in zip(data["density"].values, found, strict=True):
        losses = [one.loss for one in here]
        assert losses == sorted(losses) and here[0].error == 0
        assert len({one.kind for one in here}) == len(here) <= view.SHOWN
        for one in here:
            assert one.loss < one.trained
            given = hidden_losses.inputs(10, float(density), 4000, seed=9)
            direct = hidden_losses.losses(one.W[None], one.b[None], importance, given)
            np.testing.assert_allclose(direct, one.loss, rtol=0.2)


def test_where_two_minima_cross(results):
    """Dedicated neurons against three features in two: the closed form of neither is needed to see which is lower."""
    case = results.sweep.cases["relu_hidden"]
    importance = tuple(case.importance_vector())

    def minimum(regime):
        W = of_sets([*REGIMES[regime], *[()] * 10][:10], 5)
        W[:, [not own for own in [*REGIMES[regime], *[()] * 10][:10]]] = 0
        arrays = W.tobytes(), np.zeros(10).tobytes(), W.shape, "float64", importance, 0.4, 512
        return view.Minimum(regime, 0, *view._finish(*arrays), None, 0.0, 0.0, 0.0)

    dense, sparse = minimum("5 dedicated"), minimum("3 dedicated + 3 in 2")
    at = view.crossing([dense], [sparse], (0.7, 0.25), importance)
    assert 0.25 < at < 0.7
    given = [hidden_losses.inputs(10, s, 512) for s in (0.7, 0.25)]
    for inputs, lower in zip(given, (dense, sparse), strict=True):
        loss = {one.kind: hidden_losses.losses(*(a[None] for a in hidden_losses.polish(
            one.W, one.b, np.array(importance), inputs)), np.array(importance), inputs)[0]
            for one in (dense, sparse)}  # fmt: skip
        assert min(loss, key=loss.get) == lower.kind
    other, nothing = (one._replace(kind="no such") for one in (dense, sparse))
    assert np.isnan(view.crossing([other], [nothing], (0.7, 0.25), importance))
    assert 0.58 < view.crossing([other], [sparse], (0.7, 0.25), importance) < 0.7  # one that is lost is left behind
    assert view.crossing([dense], [sparse, nothing], (0.7, 0.25), importance) == pytest.approx(at)


def test_only_a_linear_hidden_layer_may_be_turned(results):
    W, b = of_sets(REGIMES["10 in 5"], 5), np.zeros(10)
    linear, relu = (turned(results.sweep.cases[name], W, b, 0.1) for name in ("linear_hidden", "relu_hidden"))
    np.testing.assert_allclose(linear, 1, rtol=1e-9)
    assert len(relu) == view.TURNS and np.median(relu) > 1.2


def test_figures_draw_the_neurons(results):
    figures = privileged_basis.figures(results)
    assert list(figures) == ["relu_hidden_neurons", "relu_hidden_solutions", "linear_hidden_neurons"]
    case, data = results.sweep.cases["relu_hidden"], results.datasets["relu_hidden"]
    found = minima(case, data)
    axes = figures["relu_hidden_neurons"].axes
    pictures = [ax.images[0].get_array() for ax in axes if ax.images and ax.images[0].get_array().shape == (10, 5)]
    for picture, (best, *_) in zip(pictures, found, strict=True):
        np.testing.assert_allclose(sorted(picture.T.tolist()), sorted(best.W.tolist()))
    titles = [ax.get_title().replace("\n", " ") for ax in axes if ax.get_title()]
    densities = data["density"].values
    assert titles == [f"density {s:.3g} {best.kind}" for s, (best, *_) in zip(densities, found, strict=True)]
    counts = figures["relu_hidden_solutions"].axes[0]
    drawn = {line.get_label(): list(line.get_ydata()) for line in counts.lines}
    assert drawn["monosemantic neurons"] == [best.monosemantic for best, *_ in found]
    assert drawn["features represented"] == [best.serves.any(0).sum() for best, *_ in found]
    written = {text.get_text().replace("\n", " ") for text in counts.texts}
    assert {"5 dedicated", "2 + 5 in 3", "10 in 5"} <= written  # the paper's, at these densities
    shares = figures["relu_hidden_solutions"].axes[2]
    np.testing.assert_allclose(sum(bar.get_height() for bar in shares.patches), 3)


def test_claims_notice_another_regime(results, tmp_path, monkeypatch):
    """Of weights made by hand, left as they are: the paper's regimes hold, another does not."""
    monkeypatch.setattr(view, "_finish", lambda W, b, shape, dtype, *rest: (
        np.frombuffer(W, dtype).reshape(shape).astype(float), np.frombuffer(b, dtype).astype(float)))  # fmt: skip
    given = with_weights(results, ["5 dedicated", "8 in 5", "10 in 5"])
    right = {claim.claim: claim for claim in studies.claims(given)}
    dense, middle, sparse, pairs = (
        next(claim for words, claim in right.items() if words.startswith(f"relu_hidden: {start}"))
        for start in ("the best solution at density 0.7", "the best solution at density 0.15",
                      "the best solution at density 0.02", "features that are a pair of neurons of their own")
    )  # fmt: skip
    assert dense.holds and dense.expected == ["5 dedicated"] and not middle.holds
    assert sparse.holds and sparse.expected == ["10 in 5"] and pairs.holds and pairs.measured == [10]
    turned_linear = next(c for words, c in right.items() if words.startswith("linear_hidden: change of the loss"))
    assert turned_linear.holds
    data = results.datasets["relu_hidden"]
    write_dataset(tmp_path / "x.nc", data)
    write_json(tmp_path / "claims.json", [claim._asdict() for claim in right.values()])
    assert len(json.loads((tmp_path / "claims.json").read_text())) == len(right)


def test_a_linear_layer_of_dedicated_neurons_is_noticed(results):
    """Weights that no training would leave: their neurons are what turned ones are not."""
    data = results.datasets["linear_hidden"].copy(deep=True)
    given, start = results._replace(datasets={"linear_hidden": data}), "linear_hidden: monosemantic neurons"
    untouched = next(claim for claim in studies.claims(given) if claim.claim.startswith(start))
    assert untouched.holds and 0 < untouched.tolerance < 0.3
    data["W"].values[:] = np.eye(5, 10)
    noticed = next(claim for claim in studies.claims(given) if claim.claim.startswith(start))
    assert noticed.measured == 1 and not noticed.holds


def test_a_figure_of_one_case_has_its_title_and_counts_its_models(results):
    figures = privileged_basis.figures(results)
    for name, title in (("linear_hidden_neurons", "Linear neurons"), ("relu_hidden_neurons", "ReLU neurons")):
        written = [text.get_text() for text in figures[name].findobj(match=lambda part: hasattr(part, "get_text"))]
        assert any(text.startswith(title) for text in written)
        assert any(text.replace("\n", " ").endswith(" 12 models.") for text in written)


def test_every_density_of_the_paper_has_one_regime():
    for density in (1, 0.5, 0.49, 0.2, 0.15, 0.12, 0.08, 0.05, 0.04, 0.001):
        assert sum(low <= density <= high for low, high, _ in PAPER) == 1


def test_boundaries_are_between_densities_of_different_kinds(results):
    case, data = results.sweep.cases["relu_hidden"], results.datasets["relu_hidden"]
    found = minima(case, data)
    for boundary in boundaries(case, data, found):
        high, low = boundary.between
        assert boundary.dense != boundary.sparse and high > low
        assert np.isnan(boundary.density) or low < boundary.density < high


@pytest.mark.parametrize("override", ["model.kind=two_layer", "data.kind=signed", "axes.density.field=importance",
                                      "n_features=15"])  # fmt: skip
def test_other_problems_are_refused(override):
    sweep = superjax.load("privileged_basis", "cases=relu_hidden")
    with pytest.raises(SweepError, match="the study privileged_basis"):
        studies.check(sweep.override(override, *(["data.density=0.1"] if "importance" in override else [])))
