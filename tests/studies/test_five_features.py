"""Five features in the plane: what is drawn and claimed, from a small run that finds the paper's solutions."""

import numpy as np
import pytest

import superjax
from superjax import studies
from superjax.spec import SweepError
from superjax.studies import Results, five_features
from superjax.studies.five_features.view import losses_of_the_most_important, switches
from superjax.studies.solutions import best, best_names, lowest_losses

SMALL = ("restarts=12", "train.steps=400", "optimum=false", "axes.density.values=[0.2, 1, 0.1, 0.14, 0.17]")


@pytest.fixture(scope="module")
def results():
    sweep = superjax.load("five_features", *SMALL)
    return Results(sweep, superjax.run(sweep), {})


def test_the_papers_solutions_are_found(results):
    data = results.datasets["five_features"]
    assert best_names(data).tolist() == ["2 digons", "2 singles", "pentagon", "pentagon", "2 digons"]
    held = {claim.claim: claim.holds for claim in studies.claims(results)}
    assert sum("at S = " in claim for claim in held) == 7 and all(held.values()), held


def test_switches_are_where_the_lowest_losses_cross(results):
    data = results.datasets["five_features"].sortby("density", ascending=False)
    dense, sparse = switches(results.datasets["five_features"])
    assert (dense.dense, dense.sparse, sparse.dense, sparse.sparse) == ("2 singles", "2 digons", "2 digons", "pentagon")
    assert sparse.exact and 0.14 < sparse.density < 0.17
    losses = lowest_losses(data)
    gap = losses["pentagon"] - losses["2 digons"]
    at = np.interp(-np.log(sparse.density), -np.log(data["density"].values[2:4]), gap[2:4])
    assert abs(at) < 1e-6
    assert not dense.exact and dense.density == pytest.approx(np.sqrt(0.2))  # two singles are no minimum there any more


def test_the_switch_to_the_pentagon_is_claimed(results):
    """Three densities around it suffice to find it within the tolerance that is stated."""
    paper, derived = [claim for claim in studies.claims(results) if "to the pentagon" in claim.claim]
    assert (paper.kind, derived.kind) == ("paper", "derived") and derived.expected == 0.1605
    assert paper.holds and derived.measured == paper.measured == switches(results.datasets["five_features"])[1].density


def test_the_forming_of_the_pairs_is_claimed(results):
    (claim,) = [claim for claim in studies.claims(results) if "pairs have formed" in claim.claim]
    assert claim.holds and claim.expected == 0.5722 and "0.517" in claim.note
    assert claim.measured == switches(results.datasets["five_features"])[0].density


def test_a_curve_of_losses_is_one_solution(results):
    """Pairs of other features than the most important four are none of it."""
    data, importance = results.datasets["five_features"].copy(deep=True), 0.9 ** np.arange(5)
    known = losses_of_the_most_important(data, importance)["2 digons"]
    data["norm"].values[..., [0, 4]] = data["norm"].values[..., [4, 0]]
    others = losses_of_the_most_important(data, importance).get("2 digons", np.full(len(known), np.nan))
    assert np.isfinite(known).any() and not (others == known).any()
    restored = losses_of_the_most_important(data, importance[[4, 1, 2, 3, 0]])["2 digons"]
    np.testing.assert_array_equal(restored, known)


def test_the_figure_draws_the_columns_of_the_best_weights(results):
    (figure,) = studies.five_features.figures(results).values()
    data = results.datasets["five_features"]
    top, bottom = figure.subfigs
    panels = [ax for ax in top.axes if "density" in ax.get_title()]
    W = best(data, "W").values
    for ax in panels:
        density, _, name = ax.get_title().split("\n")
        cell = int(np.argmin(np.abs(data["density"].values - float(density.split()[1]))))
        assert name == best_names(data)[cell]
        ends = np.array([line.get_xydata()[-1] for line in ax.lines if line.get_marker() == "o"]).T
        np.testing.assert_allclose(ends.T @ ends, W[cell].T @ W[cell], atol=1e-5)
        colours = {str(line.get_color()) for line in ax.lines if line.get_marker() == "o"}
        assert len(colours) == 5  # by importance
    (losses,) = bottom.axes
    drawn = {line.get_label(): line.get_ydata() for line in losses.lines}
    assert {"2 singles", "2 digons", "pentagon"} <= set(drawn)
    unit = sum(0.9**i for i in range(5)) * superjax.theory.variance(data["density"].values)
    lowest = np.nanmin([values for label, values in drawn.items() if not label.startswith("_")], axis=0)
    np.testing.assert_allclose(lowest, data["loss"].min("restart").values / unit, rtol=1e-6)


def test_a_claim_notices_wrong_data(results):
    name, data = "five_features", results.datasets["five_features"].copy(deep=True)
    data["solution"].values[data["density"].values == 0.1] = data["solution"].values[data["density"].values == 0.2]
    broken = Results(results.sweep, {name: data}, {})
    lost = {c.claim for c in studies.claims(results) if c.holds} - {c.claim for c in studies.claims(broken) if c.holds}
    assert any("at S = 0.9 the best solution is a pentagon" in claim for claim in lost)


@pytest.mark.parametrize("n_features", [3, pytest.param(6, marks=pytest.mark.heavy)])
def test_other_numbers_of_features_are_drawn_too(n_features):
    """Three are too few for two pairs, six too many for the float64 reference."""
    sweep = superjax.load("five_features", *SMALL[2:], f"n_features={n_features}", "restarts=1", "train.steps=2")
    results = Results(sweep, superjax.run(sweep), {})
    assert five_features.figures(results) and len(studies.claims(results)) >= 4


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["n_hidden=3"], "draws n_hidden = 2 only"),
        (["axes.rate.field=train.learning_rate", "axes.rate.values=[0.1]"], "needs exactly the axis density"),
    ],
)
def test_refusals(overrides, said):
    with pytest.raises(SweepError, match=said):
        studies.check(superjax.load("five_features", *overrides))
