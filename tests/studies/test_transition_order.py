"""The order of the transition: the branches of a few lines, what is claimed of them, and what is drawn."""

import numpy as np
import pytest
import xarray as xr

import superjax
from superjax import studies
from superjax.reference import boundaries, branches
from superjax.spec import SweepError
from superjax.studies import Results, transition_order
from superjax.studies.transition_order.agreement import crossings
from superjax.studies.transition_order.view import NEGLIGIBLE, Line, View, views

SMALL = ("cases=along_density", "train.steps=300",
         "case.along_density.axes.importance.range=[0.3, 1.0]", "case.along_density.axes.importance.points=5",
         "case.along_density.axes.density.range=[0.9, 0.25]", "case.along_density.axes.density.points=121",
         "case.along_density.families.rising.start=0.25", "case.along_density.families.falling.start=0.9")  # fmt: skip


@pytest.fixture(scope="module")
def results():
    sweep = superjax.load("transition_order", *SMALL)
    return Results(sweep, superjax.run(sweep), {})


def test_transitions_are_those_of_the_float64_reference(results):
    (view,) = views(results)
    less, *_, near, equal = view.lines  # 0.3, 0.405, 0.548, 0.740, 1
    assert less.main.position == pytest.approx(boundaries.SUPERPOSED[2, 1][0.3], rel=1e-3)
    assert less.beside(less.main, less.weaker) == pytest.approx((0.724, 0), abs=0.01)
    assert near.beside(near.main, near.weaker) == pytest.approx((0.73, 0.315), abs=0.01)
    assert equal.beside(equal.main, equal.weaker) == pytest.approx((0.756, 0.51), abs=0.02)
    assert all(len(line.large) == 1 and line.main.jump > 5 * NEGLIGIBLE for line in view.lines)
    for one in crossings(view):
        assert one.change.position == pytest.approx(one.position, rel=1e-3)
        assert one.change.jump == pytest.approx(one.jump, abs=0.02)
    assert not less.onsets and not equal.onsets
    (begin,) = near.onsets
    assert branches.onset_importance(begin.position) == pytest.approx(near.at, rel=5e-3)
    assert abs(near.jump_at_onset(begin)) < NEGLIGIBLE


def test_all_claims_of_these_lines_hold_and_notice_wrong_data(results):
    held = [claim.claim for claim in studies.claims(results) if claim.holds]
    assert len(held) == len(studies.claims(results)) > 10
    data = results.datasets["along_density"].copy(deep=True)
    data["family_loss"].loc[{"family": "rising"}] *= 1.01
    lost = set(held) - {c.claim for c in studies.claims(results._replace(datasets={"along_density": data})) if c.holds}
    for part in ("losses cross", "loss of a branch", "better branch above"):
        assert any(part in claim for claim in lost), part
    data = results.datasets["along_density"].copy(deep=True)
    data["family_slope"][:] = 0
    lost = set(held) - {c.claim for c in studies.claims(results._replace(datasets={"along_density": data})) if c.holds}
    assert any("transition of first order" in claim for claim in lost)


def test_equal_features_that_are_exchanged_are_no_other_solution():
    x = np.array([0.5, 0.6])
    W = np.array([[[[1.0, -0.4]], [[0.8, -0.8]]], [[[-0.4, 1.0]], [[0.8, -0.8]]]])
    ones = np.ones((2, 2))
    for alike, apart in ((True, [False, False]), (False, [True, False])):
        line = Line(1.0, x, ones, ones, np.abs(W[:, :, 0]), W, np.zeros((2, 2, 2)), ones[0], alike)
        assert line.apart.tolist() == apart


def test_the_figures_show_the_branches_and_their_transitions(results):
    figures = transition_order.figures(results)
    (view,) = views(results)
    map_ax = figures["transition_order"].axes[0]
    drawn = np.array([line.get_xydata()[0] for line in map_ax.lines if len(line.get_xdata()) == 1])
    for line in view.lines:
        assert (np.abs(drawn - (line.at, line.main.position)).max(-1) < 1e-9).any()
    tops = [ax for ax in figures["hysteresis"].axes if ax.get_title()]
    assert [ax.get_title() for ax in tops] == [f"importance {r}" for r in ("0.3", "0.548", "0.74", "1")]
    for ax in tops:
        line = view.line(float(ax.get_title().split()[1]))
        for family in (0, 1):
            norm = np.where(np.isfinite(line.loss[family]), line.weaker[family], np.nan)
            assert any(np.array_equal(curve.get_ydata(), norm, equal_nan=True) for curve in ax.lines)
        assert any(np.allclose(curve.get_xdata(), line.main.position) for curve in ax.lines)


def test_a_line_is_followed_along_either_axis():
    sweep = superjax.load("transition_order")
    along = {name: View(name, case, xr.Dataset()) for name, case in sweep.cases.items()}
    assert [(view.along, view.across) for view in along.values()] == [
        ("density", "importance"),
        ("importance", "density"),
    ]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("axes.density.field=data.density[-1]", "needs exactly the axes importance"),
        ("n_features=3", "knows the theory of n_features, n_hidden = 2, 1"),
        ("importance=[2, 1]", "needs importance 1 of all features but the last"),
        ("model.kind=linear", 'the model "relu_output"'),
        ("case.along_density.families.rising.along=importance", "needs both families along the same axis"),
        ("case.along_density.families.rising.start=0.5", "start at the lowest value"),
        ('families.third={W = "best", along = "density", start = 1}', "needs the families rising and falling"),
    ],
)
def test_refusals(override, said):
    with pytest.raises(SweepError, match=said):
        studies.check(superjax.load("transition_order", override))
