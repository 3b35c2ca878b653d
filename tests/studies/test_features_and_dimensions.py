"""Features against dimensions: slopes and constants of made-up counts, the figure, claims that notice errors."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

import superjax
from superjax import studies
from superjax.disk.files import write_json
from superjax.runs.netcdf import write_dataset
from superjax.spec import SweepError
from superjax.studies import features_and_dimensions
from superjax.studies.features_and_dimensions import view

NAME = "features_and_dimensions"
M, DENSITY = [2, 4, 6], [0.5, 0.2, 0.05]


@pytest.fixture(scope="module")
def results() -> studies.Results:
    sweep = superjax.load(NAME, "n_features=40", "n_hidden=6", f"axes.dimensions.values={M}", "restarts=2",
                          "axes.density.points=3", "train.steps=60", "train.batch=64")  # fmt: skip
    return studies.Results(sweep, superjax.run(sweep), {})


def made(results, constant: float = 0.8, wiggle: float = 0.0) -> studies.Results:
    """The results with counts that are constant * m / (-s ln s), rounded, of both restarts."""
    data = results.datasets[NAME].copy(deep=True).assign_coords(density=DENSITY)
    phase = np.zeros(data["phase"].shape, np.int8)
    for i, m in enumerate(M):
        for j, s in enumerate(DENSITY):
            phase[i, j, :, : round(constant * m * (1 + wiggle * (-1) ** i) / (-s * np.log(s)))] = 2
    data["phase"] = data["phase"].dims, phase
    return results._replace(datasets={NAME: data})


def held(results) -> dict[str, bool]:
    return {claim.claim: claim.holds for claim in studies.claims(results)}


def test_smaller_models_are_masked_in_one_program(results):
    """Rows of W beyond m are 0."""
    W = results.datasets[NAME]["W"].transpose("dimensions", "density", "restart", "hidden", "feature").values
    for i, m in enumerate(M):
        assert (W[i, :, :, m:] == 0).all() and (W[i, :, :, :m] != 0).any((-1, -2)).all()


def test_slopes_and_constants_of_known_counts(results):
    (counts,) = view.every(made(results))
    np.testing.assert_array_equal(counts.best[:, 0], [5, 9, 14])
    np.testing.assert_allclose(counts.slopes()[:2], 0.8 * view.scaling(np.array(DENSITY[:2])), rtol=0.05)
    assert [one.left for one in counts.lines()][:2] == pytest.approx([0, 0], abs=0.01)
    assert counts.lines(through_0=True)[1].intercept == 0
    assert counts.full()[:, 2].tolist() == [False, False, False] and counts.best[-1, 2] == 32
    np.testing.assert_allclose(counts.held(), [14 / 6, 15 / 6, 32 / 6])
    for best, single in ((counts.slopes(), counts.slopes_by_restart()), (counts.held(), counts.held_by_restart())):
        assert counts.constant(best) == pytest.approx(0.8, rel=0.03)
        assert counts.exponent(best) == pytest.approx(1, abs=0.05)
        assert np.isnan(counts.constants(single)[0]).all()  # 0.5 is not sparse
        np.testing.assert_allclose(counts.constants(single)[1:], 0.8, rtol=0.05)
    assert all(held(made(results)).values())


def test_full_models_are_not_fitted(results):
    (counts,) = view.every(made(results, constant=1.5))
    assert counts.full()[:, 2].tolist() == [False, True, True]
    assert np.isnan(counts.slopes()[2]) and np.isnan(counts.held()[2]) and counts.held()[1] == 28 / 6
    (claim,) = (c for c in studies.claims(made(results, constant=1.5)) if "straight line" in c.claim)
    assert "2 cells" in claim.note


def test_claims_notice_counts_that_are_not_linear_or_do_not_scale(results):
    good, bent = held(made(results)), held(made(results, wiggle=0.2))
    assert any("straight line" in claim for claim in good if good[claim] and not bent.get(claim, False))
    data = made(results).datasets[NAME].copy(deep=True)
    data["phase"][:, 2] = data["phase"][:, 1].values  # no more features in sparser data
    flat = held(results._replace(datasets={NAME: data}))
    failed = [claim for claim in good if good[claim] and not flat.get(claim, False)]
    for part in ("rise from one density", "m = 6) over 1", "line) over 1", "m = 6) follow", "line) follow"):
        assert any(part in claim for claim in failed), part


def test_an_intercept_changes_slopes_and_not_what_models_hold(results):
    """Two features more in every model: the same slopes, and more features per dimension."""
    (counts,), data = view.every(made(results)), made(results).datasets[NAME].copy(deep=True)
    phase = data["phase"].values
    for cell in np.ndindex(phase.shape[:2]):
        phase[cell][:, : int((phase[cell][0] == 2).sum()) + 2] = 2
    (more,) = view.every(results._replace(datasets={NAME: data}))
    np.testing.assert_allclose(more.slopes()[:2], counts.slopes()[:2])
    np.testing.assert_allclose(more.held()[:2], counts.held()[:2] + 2 / 6)
    for cell in np.ndindex(phase.shape[:2]):
        phase[cell][:, int((phase[cell][0] == 2).sum()) - 4 :] = 0  # now two fewer than they were
    (note,) = (c.note for c in studies.claims(results._replace(datasets={NAME: data})) if "straight line" in c.claim)
    assert "m −" in note and " -" not in note  # minus signs


def test_counts_slopes_and_constants_are_drawn(results):
    given = made(results)
    (counts,) = view.every(given)
    figure: Figure = features_and_dimensions.figures(given)[NAME]
    left, middle, right = figure.axes[:3]
    dots = [line for line in left.lines if line.get_label() in ("0.5", "0.2", "0.05")]
    for line, label, column in zip(dots, ("0.5", "0.2", "0.05"), counts.best.T, strict=True):
        assert line.get_label() == label
        np.testing.assert_array_equal(line.get_ydata(), column)
    for k, best in ((0, counts.held()), (2, counts.slopes())):
        dots, curve = middle.lines[k : k + 2]
        np.testing.assert_allclose(dots.get_ydata(), best)
        drawn = np.asarray(curve.get_xdata())
        np.testing.assert_allclose(curve.get_ydata(), counts.constant(best) * view.scaling(drawn))
    assert middle.get_xlim()[0] > middle.get_xlim()[1]  # sparser data to the right
    np.testing.assert_allclose(right.lines[0].get_ydata(), counts.constants(counts.held_by_restart()).ravel())
    np.testing.assert_allclose(right.lines[2].get_ydata(), counts.constants(counts.slopes_by_restart()).ravel())


def test_claims_can_be_recomputed_from_the_stored_dataset(results, tmp_path):
    first = [claim._asdict() for claim in studies.claims(results)]
    write_dataset(tmp_path / "stored.nc", results.datasets[NAME])
    stored = {NAME: superjax.open(tmp_path / "stored.nc")}
    again = [claim._asdict() for claim in studies.claims(results._replace(datasets=stored))]
    write_json(tmp_path / "claims.json", again)
    assert json.loads((tmp_path / "claims.json").read_text()) == json.loads((tmp_path / "claims.json").read_text())
    assert len(first) == len(again) and [c["claim"] for c in first] == [c["claim"] for c in again]


@pytest.mark.parametrize(
    ("override", "message"),
    [("importance={ratio=0.9}", "one importance"), ("data.kind=signed", "independent")],
)
def test_what_cannot_be_drawn_is_refused(override, message):
    with pytest.raises(SweepError, match=message):
        studies.check(superjax.load(NAME, override))
