"""The perturbed feature: the crossing of both families, and what is drawn."""

import numpy as np
import pytest

import superjax
from superjax import analysis, studies
from superjax.spec import SweepError
from superjax.studies import Results, perturbed_feature
from superjax.studies.perturbed_feature.figures import SHOWN
from superjax.studies.perturbed_feature.view import views

SMALL = ("cases=density_05", "restarts=6", "train.steps=300", "axes.perturbed.points=5",
         "axes.perturbed.range=[0.01, 0.05]")  # fmt: skip


@pytest.fixture(scope="module")
def results():
    sweep = superjax.load("perturbed_feature", *SMALL)
    return Results(sweep, superjax.run(sweep), {})


def test_the_families_cross_where_the_exact_loss_says(results):
    """Five points suffice to see the derived 3.7 within a tenth."""
    (view,) = views(results)
    assert view.baseline == 0.05 and view.feature == 4
    assert view.baseline / view.crossing() == pytest.approx(3.7, rel=0.1)
    held = {claim.claim: claim for claim in studies.claims(results) if claim.source.startswith("exact loss")}
    for part in ("norm of the features", "their bias", "loss of the pentagon", "loss of the digons", "norm² = 1 / (1"):
        (claim,) = [held[name] for name in held if part in name]
        assert claim.holds, claim
    (paper,) = [claim for claim in studies.claims(results) if "norm = 1 / (1 - b)" in claim.claim]
    assert not paper.holds and paper.note


def test_a_claim_notices_wrong_data(results):
    name, data = "density_05", results.datasets["density_05"].copy(deep=True)
    data["family_loss"].loc[{"family": "digons"}] *= 1.3
    broken = Results(results.sweep, {name: data}, {})
    lost = {c.claim for c in studies.claims(results) if c.holds} - {c.claim for c in studies.claims(broken) if c.holds}
    assert any("cross" in claim for claim in lost) and any("loss of the digons" in claim for claim in lost)


def test_the_pentagon_deforms_as_the_paper_says(results):
    """Neighbours come nearer to a sparser feature, and draw back from a denser one; all of it is noticed."""
    (view,) = views(results)
    angle = view.neighbours()[np.argsort(view.density)]
    angle = angle[np.isfinite(angle)]
    assert (np.diff(angle) > 0).all() and angle[-1] == pytest.approx(72, abs=0.2)  # the last is not perturbed
    crowd = "its neighbours crowd it"
    (claim,) = [claim for claim in studies.claims(results) if crowd in claim.claim]
    assert claim.holds and claim.kind == "paper"
    name, data = "density_05", results.datasets["density_05"].copy(deep=True)
    data["family_W"][:] = data["family_W"].isel(perturbed=-1)
    (claim,) = [c for c in studies.claims(Results(results.sweep, {name: data}, {})) if crowd in c.claim]
    assert not claim.holds  # of regular pentagons


def test_a_family_is_one_where_it_is_a_converged_minimum_of_its_own_kind(results):
    (view,) = views(results)
    own = view.own("pentagon")
    assert own[view.at(0.05)] and view.own("digons")[view.at(0.01)]
    data = view.data.copy(deep=True)
    data["family_grad_norm"].loc[{"family": "pentagon", "perturbed": view.density[own][0]}] = 1.0
    assert view._replace(data=data).own("pentagon").sum() == own.sum() - 1
    data = view.data.copy(deep=True)
    data["family_norm"].loc[{"family": "digons", "feature": view.feature}] = 1.0
    assert not view._replace(data=data).own("digons").any()
    assert view._replace(data=data.drop_vars("family_grad_norm")).own("pentagon").any()  # of an earlier version


def test_the_figure_draws_the_best_fit_before_all_fits_and_both_families(results):
    (figure,) = perturbed_feature.figures(results).values()
    (view,) = views(results)
    *panels, losses = figure.axes
    assert len(panels) == len(SHOWN)
    for ratio, ax in zip(SHOWN, panels, strict=True):
        point = int(np.argmin(np.abs(np.log(view.density / view.baseline / ratio))))
        loss = view.data["loss"].values[point]
        assert f"{(loss <= loss.min() * 1.01).sum()} of 6 within 1%" in ax.get_title()
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        assert len(dots) == 6 * view.case.n_features
        ends = np.array([line.get_xydata()[-1] for line in dots[-view.case.n_features :]])
        norms = analysis.norm(view.data["W"].values[point, loss.argmin()])[[4, 0, 1, 2, 3]]
        np.testing.assert_allclose(np.linalg.norm(ends, axis=-1), norms, rtol=1e-5, atol=1e-7)
        if norms[0] > 0.5:  # the perturbed feature points right
            np.testing.assert_allclose(ends[0], [norms[0], 0], atol=1e-5)
        assert any(getattr(patch, "radius", None) == 1 for patch in ax.patches)
    drawn = {line.get_label(): line.get_ydata() for line in losses.lines}
    for family in ("pentagon", "digons"):
        np.testing.assert_array_equal(drawn[family], view.own_loss(family))
        own = np.isfinite(view.own_loss(family))
        assert own.any() and (view.own_loss(family)[own] == view.loss(family)[own]).all()
    assert any(f"1/{view.baseline / view.crossing():.2f}" in text.get_text() for text in losses.texts)


@pytest.mark.parametrize(
    "override", ["axes.perturbed.range=[0.06, 0.09]", pytest.param("n_features=6", marks=pytest.mark.heavy)]
)
def test_other_ranges_and_numbers_are_drawn_too(override):
    """No point up to the baseline; too many features for the float64 reference."""
    small = ("cases=density_05", "restarts=2", "train.steps=2", "axes.perturbed.points=3")
    sweep = superjax.load("perturbed_feature", *small, override)
    results = Results(sweep, superjax.run(sweep), {})
    assert perturbed_feature.figures(results) and studies.claims(results)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("axes.perturbed.field=data.density", "needs exactly one axis, the density of one feature"),
        ("importance=0.5", "needs importance 1"),
        ("n_hidden=3", "draws n_hidden = 2 only"),
        ("data.density=[0.1, 0.2, 0.1, 0.1, 0.1]", "the same density of all other features"),
        ('families.third={W = "digon", along = "perturbed", start = 1}', "needs the families pentagon and digons"),
    ],
)
def test_refusals(override, said):
    with pytest.raises(SweepError, match=said):
        studies.check(superjax.load("perturbed_feature", override))
